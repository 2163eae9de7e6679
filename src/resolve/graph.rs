//! The outcome of resolution: which packages, and which of them each dependency means.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::digest::{Claimed, Sha256};
use crate::package::{FeatureName, PackageId, SourceId, Summary};

/// One edge of the graph: a package, and which of the declaring package's dependencies led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedDependency {
    /// The package that was chosen.
    pub package: PackageId,
    /// Indices into [`Summary::dependencies`] of the declaring package (several tables may name one package).
    pub declared: Vec<usize>,
}

/// The packages that a workspace's lock names, and how they depend on each other. All platforms, all features of the
/// members and dev-dependencies of the members are in it, as in `Cargo.lock`.
#[derive(Debug, Clone, Default)]
pub struct Resolve {
    /// Every package of the graph.
    pub packages: BTreeMap<PackageId, Arc<Summary>>,
    /// The edges, by declaring package, sorted by the package depended on.
    pub dependencies: BTreeMap<PackageId, Vec<ResolvedDependency>>,
    /// The features that the resolver itself activated, for every platform at once (resolver 1 uses these).
    pub features: BTreeMap<PackageId, BTreeSet<FeatureName>>,
    /// The packages in whose place `[replace]` put others: the lock names them, and nothing else knows them.
    pub replaced: BTreeMap<PackageId, Replaced>,
    /// `[patch]` entries that nothing used.
    pub unused_patches: Vec<PackageId>,
}

/// What took the place of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The other package.
    pub by: PackageId,
    /// What the index says of the archive that is not used.
    pub checksum: Option<Claimed<Sha256>>,
}

impl Resolve {
    /// The package that `edge` would lead to if nothing were replaced.
    pub fn original(&self, parent: &PackageId, edge: &ResolvedDependency) -> PackageId {
        let summary = self.packages.get(parent);
        let is_from = |source: &SourceId| {
            edge.declared.iter().any(|&index| {
                summary
                    .and_then(|summary| summary.dependencies.get(index))
                    .is_some_and(|dependency| dependency.source == *source)
            })
        };
        self.replaced
            .iter()
            .find(|(original, replaced)| {
                replaced.by == edge.package && is_from(&original.source().with_precise(None))
            })
            .map_or(&edge.package, |(original, _)| original)
            .clone()
    }

    /// Forgets what was replaced, but nothing needed.
    pub(super) fn keep_used_replacements(&mut self) {
        let used: BTreeSet<PackageId> = self
            .dependencies
            .iter()
            .flat_map(|(parent, edges)| edges.iter().map(|edge| self.original(parent, edge)))
            .collect();
        self.replaced.retain(|original, _| used.contains(original));
    }

    /// What `package` depends on.
    pub fn dependencies_of(&self, package: &PackageId) -> &[ResolvedDependency] {
        self.dependencies.get(package).map_or(&[], Vec::as_slice)
    }
}
