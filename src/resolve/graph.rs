//! The outcome of resolution: which packages, and which of them each dependency means.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::package::{FeatureName, PackageId, Summary};

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
    /// `[patch]` entries that nothing used.
    pub unused_patches: Vec<PackageId>,
}

impl Resolve {
    /// What `package` depends on.
    pub fn dependencies_of(&self, package: &PackageId) -> &[ResolvedDependency] {
        self.dependencies.get(package).map_or(&[], Vec::as_slice)
    }
}
