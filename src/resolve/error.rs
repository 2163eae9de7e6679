//! What can go wrong in resolution.

use semver::Version;

use super::explain::Explanation;
use super::versions::VersionsError;
use crate::digest::{Claimed, Sha256};
use crate::package::{FeatureName, PackageId, PackageName};

/// Why there is no resolution.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No choice of versions meets all requirements.
    #[error("{0}")]
    NoSolution(Box<Explanation>),
    /// A registry or repository did not answer.
    #[error(transparent)]
    Versions(#[from] VersionsError),
    /// A `[patch]` entry names nothing that could be used.
    #[error("the patch of `{name}` for `{address}` cannot be used: {why}")]
    Patch {
        /// The package to be patched.
        name: PackageName,
        /// The source to be patched.
        address: String,
        /// What is wrong with the entry.
        why: String,
        /// The versions that were found where the entry points, in whose choice it errs.
        found: Vec<Version>,
    },
    /// Packages depend on each other in a circle (dev-dependencies aside).
    #[error("cyclic package dependency: {}", describe_cycle(.cycle))]
    CyclicDependency {
        /// The circle: each depends on the next, the last on the first.
        cycle: Vec<PackageId>,
    },
    /// The list of a feature of a member names a feature that is not there.
    #[error("`{package}` has no feature `{feature}`, which its own features name")]
    MissingFeature {
        /// The package.
        package: PackageId,
        /// The feature that is missing.
        feature: FeatureName,
    },
    /// A feature implies itself directly.
    #[error("cyclic feature dependency: feature `{feature}` of `{package}` names itself")]
    CyclicFeature {
        /// The package.
        package: PackageId,
        /// The feature.
        feature: FeatureName,
    },
    /// The registry states another checksum than the lock for the same package.
    #[error(
        "the checksum of `{package}` changed: the lock states `{}`, its registry `{}`",
        .locked.0, .found.0
    )]
    ChecksumChanged {
        /// The package.
        package: PackageId,
        /// What the lock says.
        locked: Claimed<Sha256>,
        /// What the registry says.
        found: Claimed<Sha256>,
    },
    /// Two packages of the graph could not be told apart in `Cargo.lock`.
    #[error("`{}` from `{}` and from `{}` cannot both be written to the lock file", .first, .first.source().canonical_address(), .second.source().canonical_address())]
    Collision {
        /// One.
        first: PackageId,
        /// The other.
        second: PackageId,
    },
    /// The search and the solver disagree: a bug in this program.
    #[error("internal error in resolution: {0}")]
    Internal(&'static str),
}

fn describe_cycle(cycle: &[PackageId]) -> String {
    let mut text: Vec<String> = cycle.iter().map(|id| format!("`{id}`")).collect();
    text.extend(text.first().cloned());
    text.join(" depends on ")
}

impl ResolveError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NoSolution(explanation) => explanation.help(),
            Self::Versions(_) => None,
            Self::Patch { name, found, .. } => Some(match &**found {
                [] => format!("check where the `[patch]` entry of `{name}` points"),
                [.., latest] => {
                    format!("select one package of `{name}` with `version = \"={latest}\"`")
                }
            }),
            Self::CyclicDependency { cycle } => cycle.first().map(|id| {
                format!(
                    "move what `{}` and the others share to a package of its own",
                    id.name()
                )
            }),
            Self::MissingFeature { package, feature } => Some(format!(
                "add `{feature}` to `[features]` in the manifest of `{}`, or take it out of the lists there",
                package.name()
            )),
            Self::CyclicFeature { package, feature } => Some(format!(
                "take `{feature}` out of its own list in the manifest of `{}`",
                package.name()
            )),
            Self::ChecksumChanged { package, .. } => Some(format!(
                "a published version never changes: either the lock file is damaged, or the registry (or a mirror) \
                 serves something else than `{package}`; find out which before you update the lock"
            )),
            Self::Collision { first, .. } => Some(format!(
                "give one of the packages `{}` another version or another name",
                first.name()
            )),
            Self::Internal(_) => Some("please report this with the manifests involved".to_owned()),
        }
    }
}
