//! Git repositories: from an address and a reference to a commit, and from a commit to a tree of the store.
//!
//! ```text
//! <home>/git/db/<name>-<hash>          what was fetched from a server: single commits without history
//!               <name>-<hash>-whole    the same with all branches, tags and history, where that was needed
//!               <name>-<hash>.lock     held while fetching
//! <home>/git/trees/<commit>            the tree of the store that has the commit's files, and where submodules are in it
//! ```
//! A commit's id covers its content, so what one repository gave for it is good for any other. Its files go from git's
//! objects to the store through checked types; no directory is filled on the way that a repository could lead out of.
//!
//! Absent on purpose: running `git`, `ssh` or credential helpers, hooks, filters and line-ending conversion of
//! `.gitattributes`, and the user's git configuration.

mod address;
mod checkout;
mod committed;
mod database;
mod error;
mod http;
mod metadata;
mod nodes;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::package::{GitReference, SourceId, SourceKind};
use crate::registry::Network;
use crate::store::Store;
use crate::tree::TreeRef;

use address::Address;
use checkout::Reader;
pub use committed::committed;
use database::{Databases, Wanted};
pub use error::GitError;
pub use metadata::{Metadata, MetadataError, metadata};
pub use rules::Rules;

pub(crate) use address::directory_name;

/// The files of a commit.
#[derive(Debug, Clone)]
pub struct Checkout {
    /// The source, with the commit.
    pub source: SourceId,
    /// The commit's files in the store.
    pub tree: TreeRef,
    /// Links that are not among them since they lead outside: their path, and where they lead. Told once, when the
    /// commit is read.
    pub left_out: Vec<(String, String)>,
    /// The directories of submodules.
    pub submodules: BTreeSet<PathBuf>,
}

/// The repositories of one command.
pub struct Repositories {
    home: PathBuf,
    store: Arc<Store>,
    databases: Databases,
    /// What was found, by source with or without the commit.
    known: BTreeMap<SourceId, Checkout>,
}

impl Repositories {
    /// Repositories kept in the home of `store`.
    pub fn new(store: Arc<Store>, network: Arc<Network>) -> Self {
        let home = store.home().join("git");
        Self {
            databases: Databases::new(home.join("db"), network),
            home,
            store,
            known: BTreeMap::new(),
        }
    }

    /// The files that `source`, a git source, means: those of its commit, or of the newest commit of its reference.
    /// `fetching` is called before the network is used.
    pub fn checkout(
        &mut self,
        source: &SourceId,
        fetching: &mut dyn FnMut(&str),
    ) -> Result<Checkout, GitError> {
        if let Some(known) = self.known.get(source) {
            return Ok(known.clone());
        }
        let SourceKind::Git {
            url,
            reference,
            precise,
        } = source.kind()
        else {
            return Err(GitError::NotFound {
                url: source.canonical_address().to_owned(),
                what: "repository: it is no git source".to_owned(),
            });
        };
        let address = Address::new(url)?;
        let checkout = match precise {
            Some(commit) if database::is_commit(commit) => match self.recorded(commit) {
                Some((tree, submodules)) => Checkout {
                    source: source.clone(),
                    tree,
                    left_out: Vec::new(),
                    submodules,
                },
                None => self.read(
                    source,
                    &address,
                    Wanted::Commit(commit, reference),
                    fetching,
                )?,
            },
            // What a user gives as the precise commit may be short for one, or the name of one.
            Some(revision) => {
                let revision = GitReference::Rev(revision.clone());
                self.read(source, &address, Wanted::Newest(&revision), fetching)?
            }
            None => self.read(source, &address, Wanted::Newest(reference), fetching)?,
        };
        self.known.insert(checkout.source.clone(), checkout.clone());
        self.known.insert(source.clone(), checkout.clone());
        Ok(checkout)
    }

    fn read(
        &self,
        source: &SourceId,
        address: &Address,
        wanted: Wanted<'_>,
        fetching: &mut dyn FnMut(&str),
    ) -> Result<Checkout, GitError> {
        fetching(&address.shown());
        let found = self.databases.find(address, wanted)?;
        let commit = found.commit.to_string();
        let source = source.with_precise(Some(commit.clone()));
        if let Some((tree, submodules)) = self.recorded(&commit) {
            return Ok(Checkout {
                source,
                tree,
                left_out: Vec::new(),
                submodules,
            });
        }
        let reader = Reader {
            store: &self.store,
            databases: &self.databases,
        };
        let stored = reader.store(address, &found)?;
        self.record(&commit, &stored.tree, &stored.submodules)?;
        Ok(Checkout {
            source,
            tree: stored.tree,
            left_out: stored.left_out,
            submodules: stored.submodules.into_iter().map(PathBuf::from).collect(),
        })
    }

    fn record_path(&self, commit: &str) -> PathBuf {
        self.home.join("trees").join(commit)
    }

    /// The tree of a commit and its submodules, if the store still has it whole.
    fn recorded(&self, commit: &str) -> Option<(TreeRef, BTreeSet<PathBuf>)> {
        let text = std::fs::read_to_string(self.record_path(commit)).ok()?;
        let mut lines = text.strip_suffix('\n')?.lines();
        let (digest, size_bytes) = lines.next()?.split_once(' ')?;
        let tree = TreeRef {
            digest: digest.parse().ok()?,
            size_bytes: size_bytes.parse().ok()?,
        };
        let submodules = lines.map(PathBuf::from).collect();
        self.store
            .materialize(&tree)
            .is_ok()
            .then_some((tree, submodules))
    }

    fn record(
        &self,
        commit: &str,
        tree: &TreeRef,
        submodules: &BTreeSet<String>,
    ) -> Result<(), GitError> {
        let path = self.record_path(commit);
        let write = |path: &Path| -> std::io::Result<()> {
            let parent = path.parent().unwrap_or(&self.home);
            std::fs::create_dir_all(parent)?;
            let mut file = tempfile::NamedTempFile::new_in(parent)?;
            writeln!(file, "{} {}", tree.digest, tree.size_bytes)?;
            for submodule in submodules.iter().filter(|path| !path.contains('\n')) {
                writeln!(file, "{submodule}")?;
            }
            file.persist(path)?;
            Ok(())
        };
        write(&path).map_err(|source| GitError::Io {
            what: "write",
            path,
            source,
        })
    }
}
