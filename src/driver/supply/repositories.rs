//! The git repositories of one command: their commits in the store, and the packages in them.
//!
//! ```text
//! <home>/src/<name>-<hash>/<commit> -> the tree in the store
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::driver::Reporter;
use crate::driver::supply::links::link_to_tree;
use crate::manifest::model::Package;
use crate::manifest::{ManifestContext, ManifestError, read_packages};
use crate::package::{PackageId, PackageName, SourceId, Summary};
use crate::registry::Network;
use crate::source::git::{Checkout, GitError, Repositories as GitRepositories, directory_name};
use crate::store::{Store, StoreError};

/// Why the packages of a repository cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The repository or the commit.
    #[error(transparent)]
    Git(Box<GitError>),
    /// The store does not give its files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The name of its directory cannot be made.
    #[error("`{path}` could not be written", path = path.display())]
    Link {
        /// The name.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No manifest in it can be read.
    #[error("the git repository `{url}` has no package")]
    NoPackage {
        /// The address.
        url: String,
        /// Why not, if there are manifests.
        #[source]
        source: Option<Box<ManifestError>>,
    },
}

impl From<GitError> for RepositoryError {
    fn from(error: GitError) -> Self {
        Self::Git(Box::new(error))
    }
}

impl RepositoryError {
    /// A short stable code for the heading of a message.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Git(error) => error.code(),
            Self::Store(_) => "store",
            Self::Link { .. } => "file",
            Self::NoPackage { .. } => "git::package",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Git(error) => error.help(),
            Self::Store(error) => error.help(),
            Self::Link { source, .. } => crate::driver::files::help(source),
            Self::NoPackage { source, .. } => match source {
                Some(error) => error.help(),
                None => Some("look for `Cargo.toml` in the repository at that commit".to_owned()),
            },
        }
    }
}

/// A commit of a repository and the packages in it.
#[derive(Debug)]
pub struct Repository {
    /// The commit's files.
    pub checkout: Checkout,
    /// Where they are on this machine.
    pub directory: PathBuf,
    /// Their packages.
    pub packages: BTreeMap<PackageId, Arc<Package>>,
    warnings: BTreeMap<PackageId, Vec<String>>,
}

impl Repository {
    /// The summaries of the packages that are named `name`.
    pub(in crate::driver) fn summaries(&self, name: &PackageName) -> Arc<[Arc<Summary>]> {
        self.packages
            .values()
            .filter(|package| package.id().name() == name)
            .map(|package| Arc::new(package.summary.clone()))
            .collect()
    }
}

/// See the module.
pub(in crate::driver) struct Repositories {
    store: Arc<Store>,
    manifests: ManifestContext,
    git: GitRepositories,
    /// What the user asked for and is to be told that he does not get.
    remark: Option<&'static str>,
    known: BTreeMap<SourceId, Arc<Repository>>,
    /// The packages of which the user was told.
    told: BTreeSet<PackageId>,
}

impl Repositories {
    pub(in crate::driver) fn new(
        store: Arc<Store>,
        network: Arc<Network>,
        manifests: ManifestContext,
        with_cli: bool,
    ) -> Self {
        Self {
            remark: with_cli.then_some(
                "`net.git-fetch-with-cli` is not heeded: kiln fetches repositories itself and runs no `git`",
            ),
            git: GitRepositories::new(store.clone(), network),
            store,
            manifests,
            known: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    /// Tells what there is to be told to whoever uses `package`, once.
    pub(in crate::driver) fn tell(
        &mut self,
        repository: &Repository,
        package: &PackageId,
        reporter: &mut dyn Reporter,
    ) {
        if let Some(warnings) = repository.warnings.get(package)
            && self.told.insert(package.clone())
        {
            for warning in warnings {
                reporter.warning(warning);
            }
        }
    }

    /// The repositories that were used, by source.
    pub(in crate::driver) fn known(&self) -> &BTreeMap<SourceId, Arc<Repository>> {
        &self.known
    }

    /// The packages of `source`, a git source with or without a commit.
    pub(in crate::driver) fn repository(
        &mut self,
        source: &SourceId,
        reporter: &mut dyn Reporter,
    ) -> Result<Arc<Repository>, RepositoryError> {
        if let Some(known) = self.known.get(source) {
            return Ok(known.clone());
        }
        let remark = &mut self.remark;
        let checkout = self.git.checkout(source, &mut |url| {
            if let Some(remark) = remark.take() {
                reporter.warning(remark);
            }
            reporter.status("Updating", &format!("git repository `{url}`"));
        })?;
        if let Some(known) = self.known.get(&checkout.source).cloned() {
            self.known.insert(source.clone(), known.clone());
            return Ok(known);
        }
        for (path, target) in &checkout.left_out {
            reporter.warning(&format!(
                "`{path}` of the git repository `{}` is not part of the build: it is a symbolic link to `{target}`, \
                 outside of the repository",
                source.canonical_address()
            ));
        }
        let tree = self.store.materialize(&checkout.tree)?;
        let commit = checkout.source.precise().unwrap_or_default().to_owned();
        let parent = self
            .store
            .home()
            .join("src")
            .join(directory_name(source.canonical_address()));
        let directory = link_to_tree(&parent, &commit, &tree)
            .map_err(|(path, source)| RepositoryError::Link { path, source })?;
        let found = read_packages(
            &directory,
            &checkout.source,
            &checkout.submodules,
            &self.manifests,
        );
        if found.packages.is_empty() {
            return Err(RepositoryError::NoPackage {
                url: source.canonical_address().to_owned(),
                source: found.errors.into_iter().next_back().map(Box::new),
            });
        }
        let repository = Arc::new(Repository {
            checkout,
            directory,
            packages: found.packages,
            warnings: found.warnings,
        });
        self.known
            .insert(repository.checkout.source.clone(), repository.clone());
        self.known.insert(source.clone(), repository.clone());
        Ok(repository)
    }
}
