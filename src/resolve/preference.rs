//! Which version of a package is tried first: one that the lock or a `[patch]` names, then one that the workspace's
//! Rust version can compile, then the highest.

use std::cmp::Ordering;
use std::collections::HashSet;

use cargo_util_schemas::core::PartialVersion;
use semver::Version;

use crate::package::{Dependency, Offer, PackageId};

/// What makes one version preferable to another.
#[derive(Debug, Default)]
pub(super) struct Preference {
    /// The packages of the previous lock that may stay, without the commits of git sources.
    pub(super) previous: HashSet<PackageId>,
    /// The entries of `[patch]`.
    pub(super) patches: Vec<Dependency>,
    /// The Rust versions that a package should be compatible with; empty if that does not matter.
    pub(super) rust_versions: Vec<PartialVersion>,
}

impl Preference {
    /// How two versions of one package compare: the preferred one is less.
    pub(super) fn compare(&self, a: &Offer, b: &Offer) -> Ordering {
        let known = self.is_known(b.id()).cmp(&self.is_known(a.id()));
        known
            .then_with(|| self.compatible(b).cmp(&self.compatible(a)))
            .then_with(|| b.version().cmp(a.version()))
    }

    fn is_known(&self, id: &PackageId) -> bool {
        self.previous.contains(&without_commit(id))
            || self.patches.iter().any(|patch| matches(patch, id))
    }

    fn compatible(&self, offer: &Offer) -> usize {
        match offer.rust_version() {
            None => self.rust_versions.len(),
            Some(rust_version) => self
                .rust_versions
                .iter()
                .filter(|version| rust_version.is_compatible_with(version))
                .count(),
        }
    }
}

/// `id` without the commit of its git source: what a dependency can be compared with.
pub(super) fn without_commit(id: &PackageId) -> PackageId {
    if id.source().precise().is_none() {
        return id.clone();
    }
    PackageId::new(
        id.name().clone(),
        id.version().clone(),
        id.source().with_precise(None),
    )
}

/// Whether `dependency` takes `version`. One without a requirement (a path, a repository) takes pre-releases as well.
pub(super) fn satisfies(dependency: &Dependency, version: &Version) -> bool {
    !dependency.has_version || dependency.requirement.matches(version)
}

/// Whether `id` has the name and a version that `dependency` asks for, wherever it comes from.
pub(super) fn matches_elsewhere(dependency: &Dependency, id: &PackageId) -> bool {
    dependency.package == *id.name() && satisfies(dependency, id.version())
}

/// Whether `id` is a package that `dependency` asks for.
pub(super) fn matches(dependency: &Dependency, id: &PackageId) -> bool {
    matches_elsewhere(dependency, id)
        && dependency.source.with_precise(None) == id.source().with_precise(None)
}
