//! What the previous lock still says once everything that has to change is taken out of it, by cargo's rules: what is
//! to be updated is let go with all it depends on; a path package whose manifest has changed is let go; and if a
//! dependency of a path package is met by nothing in the lock, the whole source of that dependency is let go. Letting
//! go means that a version is no longer imposed; it stays preferred, so that an outdated lock changes little.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::preference::{matches_elsewhere, without_commit};
use crate::manifest::model::{Package, Workspace};
use crate::package::{PackageId, SourceId};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Previous {
    /// The packages of the lock that the user did not ask to update: preferred, and usable although withdrawn.
    pub(super) kept: Vec<PackageId>,
    /// The packages that are held to their version where they occur, and what each is held to depend on.
    pub(super) locked: BTreeMap<PackageId, Vec<PackageId>>,
}

impl Previous {
    /// Works out what of `packages` (a lock's graph) stays. `let_go` says what the user wants to be rid of.
    pub(super) fn new(
        workspace: &Workspace,
        packages: &BTreeMap<PackageId, Vec<PackageId>>,
        let_go: impl Fn(&PackageId) -> bool,
    ) -> Self {
        let path_packages: HashMap<&SourceId, Vec<&Package>> = {
            let mut by_source: HashMap<&SourceId, Vec<&Package>> = HashMap::new();
            for package in workspace.packages.values() {
                by_source
                    .entry(package.id().source())
                    .or_default()
                    .push(package);
            }
            by_source
        };
        let mut gone = BTreeSet::new();
        for id in packages.keys().filter(|id| let_go(id)) {
            remove(packages, id, &mut gone);
        }
        // The manifests of path packages may have changed: whatever the lock cannot meet frees its whole source.
        let mut open: Vec<&Package> = workspace
            .members
            .iter()
            .map(|id| &**workspace.package(id))
            .collect();
        let mut seen = BTreeSet::new();
        while let Some(package) = open.pop() {
            if !seen.insert(package.id()) {
                continue;
            }
            let is_member = workspace.is_member(package.id());
            for dependency in &package.summary.dependencies {
                if !is_member && (dependency.optional || !dependency.is_transitive()) {
                    continue;
                }
                if let Some(found) = path_packages.get(&dependency.source) {
                    open.extend(
                        found
                            .iter()
                            .filter(|found| *found.id().name() == dependency.package),
                    );
                    continue;
                }
                if packages.keys().any(|id| matches_elsewhere(dependency, id)) {
                    continue;
                }
                let source = dependency.source.with_precise(None);
                for id in packages.keys() {
                    if id.source().with_precise(None) == source {
                        remove(packages, id, &mut gone);
                    }
                }
            }
        }
        for id in packages.keys() {
            let outdated = path_packages
                .get(id.source())
                .is_some_and(|found| found.iter().all(|package| package.id() != id));
            if outdated {
                gone.insert(id.clone());
            }
        }
        let stays = |id: &&PackageId| !let_go(id) && !gone.contains(*id);
        Self {
            kept: packages.keys().filter(|id| !let_go(id)).cloned().collect(),
            locked: packages
                .iter()
                .filter(|(id, _)| stays(id))
                .map(|(id, dependencies)| {
                    let dependencies = dependencies.iter().filter(stays).cloned().collect();
                    (id.clone(), dependencies)
                })
                .collect(),
        }
    }

    /// Which packages are preferred.
    pub(super) fn preferred(&self) -> impl Iterator<Item = PackageId> + '_ {
        self.kept.iter().map(without_commit)
    }
}

/// Lets `id` go, and all that it depends on.
fn remove(
    packages: &BTreeMap<PackageId, Vec<PackageId>>,
    id: &PackageId,
    gone: &mut BTreeSet<PackageId>,
) {
    let mut open = vec![id];
    while let Some(id) = open.pop() {
        if gone.insert(id.clone()) {
            open.extend(packages.get(id).into_iter().flatten());
        }
    }
}
