//! The packages that a build needs: fetched, unpacked, and their manifests read.
//!
//! The unpacked sources also get names that people and editors can read, as links:
//!
//! ```text
//! <home>/src/<registry>/<name>-<version> -> the tree in the store
//! <home>/src/<repository>/<commit> -> the tree in the store
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;

use crate::digest::{Claimed, Sha256};
use crate::driver::resolution::Resolved;
use crate::driver::supply::links::named_directory;
use crate::driver::supply::providers::Provider;
use crate::driver::supply::registries::{Registries, Reporting};
use crate::driver::supply::repositories::Repository;
use crate::driver::supply::vendored::VendoredPackage;
use crate::driver::{Context, DriverError};
use crate::manifest::model::Package;
use crate::manifest::read_package;
use crate::package::{PackageId, SourceId};
use crate::source::{Fetched, Sources, Wanted, Worker};
use crate::store::Store;
use crate::tree::TreeRef;

/// The packages of a build.
#[derive(Debug, Default)]
pub struct Packages {
    /// Their manifests, members and path packages included.
    pub packages: BTreeMap<PackageId, Arc<Package>>,
    /// What was fetched, by package.
    pub fetched: BTreeMap<PackageId, Fetched>,
    /// The repositories that packages come from, by their source with the commit.
    pub repositories: BTreeMap<SourceId, Arc<Repository>>,
    /// The packages that directories of the user's stand for.
    pub vendored: BTreeMap<PackageId, VendoredPackage>,
}

impl Packages {
    /// The content of a package that is not on the user's disk; of one from a repository, that of the repository.
    pub fn tree(&self, id: &PackageId) -> Option<TreeRef> {
        if let Some(fetched) = self.fetched.get(id) {
            return Some(fetched.tree);
        }
        if let Some(vendored) = self.vendored.get(id) {
            return Some(vendored.tree);
        }
        let repository = self.repositories.get(id.source())?;
        Some(repository.checkout.tree)
    }
}

/// Fetches and unpacks `wanted` and reads their manifests; packages of the workspace are taken as they are.
pub fn obtain(
    context: &Context,
    store: &Arc<Store>,
    resolved: &Resolved,
    wanted: &BTreeSet<PackageId>,
    registries: &mut Registries<'_>,
) -> Result<Packages, DriverError> {
    let claims = |id: &PackageId| {
        let locked = resolved.lock.packages.get(id);
        let locked = locked.and_then(|package| package.checksum);
        let summary = resolved.resolve.packages.get(id);
        Claims {
            locked: locked.map(|claim| (claim, lock_place(resolved, id))),
            indexed: summary.and_then(|summary| summary.checksum),
        }
    };
    let own = resolved.workspace.packages.clone();
    obtain_each(context, store, own, wanted, &claims, registries)
}

/// What is said of the archive of a package.
pub(in crate::driver) struct Claims {
    /// By a lock, and where in it.
    pub(in crate::driver) locked: Option<(Claimed<Sha256>, String)>,
    /// By the index.
    pub(in crate::driver) indexed: Option<Claimed<Sha256>>,
}

/// The same for packages of any lock; those of `packages` are there already.
pub(in crate::driver) fn obtain_each(
    context: &Context,
    store: &Arc<Store>,
    mut packages: BTreeMap<PackageId, Arc<Package>>,
    wanted: &BTreeSet<PackageId>,
    claims: &dyn Fn(&PackageId) -> Claims,
    registries: &mut Registries<'_>,
) -> Result<Packages, DriverError> {
    let missing: Vec<&PackageId> = wanted
        .iter()
        .filter(|id| !packages.contains_key(*id))
        .collect();
    let mut requests = Vec::with_capacity(missing.len());
    let mut vendored = Vec::new();
    let mut result = Packages::default();
    for id in &missing {
        match registries.provider(id.source())? {
            Provider::Repository => {
                let repository = registries.repository(id.source())?;
                let package = repository.packages.get(*id);
                let package = package.ok_or_else(|| DriverError::Request {
                    message: format!("the git repository of `{id}` has no such package any more"),
                    help: Some("`kiln generate-lockfile` chooses anew".to_owned()),
                })?;
                result.packages.insert((*id).clone(), package.clone());
                registries.tell_of(&repository, id);
                let source = repository.checkout.source.clone();
                result.repositories.insert(source, repository);
            }
            Provider::Directory(directory) => vendored.push(((*id).clone(), directory)),
            Provider::Sparse | Provider::Local(_) => {
                let Claims { locked, indexed } = claims(id);
                requests.push(Wanted {
                    id: (*id).clone(),
                    locked,
                    indexed,
                });
            }
        }
    }
    result.vendored = vendored
        .into_par_iter()
        .map(|(id, directory)| {
            let package = directory.obtain(store, &id)?;
            Ok((id, package))
        })
        .collect::<Result<_, DriverError>>()?;
    let of_directories = result.vendored.iter();
    result
        .packages
        .extend(of_directories.map(|(id, vendored)| (id.clone(), vendored.package.clone())));
    let fetched = fetch(context, store, &requests, registries)?;
    let manifests = context.manifest_context();
    let read: Vec<(PackageId, Arc<Package>, Fetched)> = fetched
        .into_par_iter()
        .map(|fetched| {
            let directory = named_directory(context, store, &fetched)?;
            let package = read_package(
                &directory.join("Cargo.toml"),
                fetched.id.source(),
                &manifests,
            )?;
            Ok((fetched.id.clone(), Arc::new(package), fetched))
        })
        .collect::<Result<_, DriverError>>()?;
    for (id, package, fetched) in read {
        packages.insert(id.clone(), package);
        result.fetched.insert(id, fetched);
    }
    packages.append(&mut result.packages);
    result.packages = packages;
    Ok(result)
}

/// Fetches and unpacks what registries have, local ones included.
pub(in crate::driver) fn fetch(
    context: &Context,
    store: &Arc<Store>,
    wanted: &[Wanted],
    registries: &mut Registries<'_>,
) -> Result<Vec<Fetched>, DriverError> {
    let worker = Worker {
        program: context.program.clone(),
        arguments: vec!["unpack-worker".into()],
    };
    let sources = Sources::new(store.clone(), worker);
    for each in wanted {
        if let Some(archive) = context.overlay.archive(&each.id) {
            sources.admit(each, archive)?;
        } else if let Provider::Local(local) = registries.provider(each.id.source())? {
            sources.admit(each, &local.archive(&each.id))?;
        }
    }
    let (network, clients, reporter) = registries.parts();
    Ok(sources.fetch_through(Some(network), clients, wanted, &mut Reporting(reporter))?)
}

/// `Cargo.lock:412`: the line of the package's entry.
fn lock_place(resolved: &Resolved, id: &PackageId) -> String {
    let name = format!("name = \"{}\"", id.name());
    let version = format!("version = \"{}\"", id.version());
    let lines: Vec<&str> = resolved.lock_text.lines().collect();
    let line = lines
        .windows(2)
        .position(|pair| pair[0] == name && pair[1] == version)
        .map_or(1, |index| index + 1);
    format!("{}:{line}", resolved.workspace.lock_path().display())
}
