//! `Cargo.lock`: what it says, as a value, and its bytes as cargo writes them.
//!
//! A [`Lock`] is the file by itself: packages without a source are path packages, and which directory each one is
//! only the workspace knows ([`Lock::locate`]). [`Lock::parse`] takes versions 1 to 4 and follows cargo in what it
//! forgives (a dependency that no package or more than one answers to, the leavings of a bad merge);
//! [`Lock::encode`] writes any of the four. Whether and how the file is to be rewritten says [`Lock::rewrite`].

mod decode;
mod encode;
mod error;
mod locate;
#[cfg(test)]
#[expect(clippy::print_stderr, reason = "tests say what they skipped")]
mod tests;

use std::collections::BTreeMap;

use cargo_util_schemas::manifest::RustVersion;
use semver::Version;

use crate::digest::{Claimed, Sha256};
use crate::package::{PackageName, SourceId};

pub use error::LockError;
pub use locate::{LocatedLock, LocatedPackage};

/// The format of a lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockVersion {
    /// Checksums in `[metadata]`, dependencies in full; no version line.
    V1,
    /// Checksums beside the packages, dependencies as short as they are unambiguous; no version line.
    V2,
    /// `version = 3`: `branch = "master"` is told from no branch.
    V3,
    /// `version = 4`: references of git sources are URL-encoded.
    V4,
}

impl LockVersion {
    /// The version of a new lock in a workspace whose members' lowest `rust-version` is `lowest`.
    pub fn for_rust_version(lowest: Option<&RustVersion>) -> Self {
        match lowest {
            Some(lowest) if *lowest < minor(41) => Self::V1,
            Some(lowest) if *lowest < minor(53) => Self::V2,
            Some(lowest) if *lowest < minor(83) => Self::V3,
            _ => Self::V4,
        }
    }

    /// The number of the version line, where the format has one.
    pub fn number(self) -> Option<u32> {
        match self {
            Self::V1 | Self::V2 => None,
            Self::V3 => Some(3),
            Self::V4 => Some(4),
        }
    }
}

/// `1.minor`, without a patch number: it sorts before `1.minor.0`, as in cargo.
fn minor(minor: u32) -> RustVersion {
    format!("1.{minor}")
        .parse()
        .expect("two numbers are a Rust version")
}

/// Which package an entry of the lock is. Ordered as `Cargo.lock` orders its entries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockedId {
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// Its source, with the commit of a git source; none for a path package.
    pub source: Option<SourceId>,
}

/// What the lock says of one package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockedPackage {
    /// The SHA-256 that its archive is claimed to have.
    pub checksum: Option<Claimed<Sha256>>,
    /// The packages that it depends on, sorted, each once.
    pub dependencies: Vec<LockedId>,
    /// The package that takes its place (`[replace]`); then [`LockedPackage::dependencies`] is empty.
    pub replace: Option<LockedId>,
}

/// A lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Its format.
    pub version: LockVersion,
    /// Its packages.
    pub packages: BTreeMap<LockedId, LockedPackage>,
    /// `[[patch.unused]]`, in the order of the file.
    pub unused_patches: Vec<LockedId>,
    /// `[metadata]` without the checksums of version 1.
    pub metadata: BTreeMap<String, String>,
    /// The lines of comment at its top that are not the ones that cargo writes itself.
    pub comments: Vec<String>,
}
