//! What can go wrong between a locked package and its unpacked source.

use std::path::PathBuf;

use crate::diag::Report;
use crate::digest::Sha256;
use crate::package::PackageId;
use crate::registry::RegistryError;
use crate::store::StoreError;

/// Who stated the SHA-256 of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimant {
    /// The lock file; where in it, such as `Cargo.lock:412`.
    Lock(String),
    /// The registry's index.
    Index,
}

impl std::fmt::Display for Claimant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lock(_) => f.write_str("the lock file"),
            Self::Index => f.write_str("the registry's index"),
        }
    }
}

/// Why the source of a package could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The archive is not the one that was locked.
    #[error(
        "archive of `{} {}` does not match {claimant}",
        id.name(),
        id.version()
    )]
    Checksum {
        /// The package.
        id: PackageId,
        /// Who stated the expected digest.
        claimant: Claimant,
        /// What was stated.
        expected: Sha256,
        /// What the bytes hash to.
        received: Sha256,
        /// Where they came from.
        url: String,
    },
    /// Lock file and index state different digests.
    #[error(
        "lock file and registry disagree about the archive of `{} {}`",
        id.name(),
        id.version()
    )]
    ClaimsDisagree {
        /// The package.
        id: PackageId,
        /// Where in the lock file.
        lock_place: String,
        /// What the lock file states.
        lock: Sha256,
        /// What the index states.
        index: Sha256,
    },
    /// Neither lock file nor index states a digest.
    #[error("nothing states the sha256 of `{} {}`, so its archive cannot be trusted", id.name(), id.version())]
    NoChecksum {
        /// The package.
        id: PackageId,
    },
    /// No client was given for the package's registry.
    #[error("the registry of `{} {}` is not configured", id.name(), id.version())]
    NoRegistry {
        /// The package.
        id: PackageId,
    },
    /// Archives are missing, and the network may not be used.
    #[error("offline, and not downloaded before: {}", missing_text(missing))]
    Offline {
        /// The packages.
        missing: Vec<PackageId>,
    },
    /// The transfer failed.
    #[error("cannot download `{} {}`", id.name(), id.version())]
    Download {
        /// The package.
        id: PackageId,
        /// The cause.
        #[source]
        source: RegistryError,
    },
    /// The archive has an entry that kiln does not unpack.
    #[error("archive of `{} {}` is refused: entry `{entry}` {why}; nothing was stored", id.name(), id.version())]
    Refused {
        /// The package.
        id: PackageId,
        /// The entry's path, made printable.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
    /// The archive cannot be read.
    #[error("archive of `{} {}` is damaged: {why}; nothing was stored", id.name(), id.version())]
    Damaged {
        /// The package.
        id: PackageId,
        /// What is wrong with it.
        why: String,
    },
    /// The confined process that unpacks did not do its work.
    #[error("the confined unpacker failed on `{} {}`: {why}", id.name(), id.version())]
    Worker {
        /// The package.
        id: PackageId,
        /// What it said, or how it ended.
        why: String,
    },
    /// The store did not take the unpacked tree.
    #[error("cannot store the source of `{} {}`", id.name(), id.version())]
    Store {
        /// The package.
        id: PackageId,
        /// The cause.
        #[source]
        source: StoreError,
    },
    /// A file of kiln's own cannot be used.
    #[error("cannot {what} `{}`", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

fn missing_text(missing: &[PackageId]) -> String {
    const SHOWN: usize = 10;
    let mut text = missing
        .iter()
        .take(SHOWN)
        .map(|id| format!("`{} {}`", id.name(), id.version()))
        .collect::<Vec<_>>()
        .join(", ");
    if missing.len() > SHOWN {
        text.push_str(&format!(" and {} more", missing.len() - SHOWN));
    }
    text
}

fn because(mut report: Report, why: String) -> Report {
    report.causes.push(why);
    report
}

impl SourceError {
    /// The whole of it for a person: where and why included, which the error's own text leaves out.
    pub fn report(&self) -> Report {
        let report = Report::new(self.code(), self).with_help(self.help());
        match self {
            Self::Checksum {
                claimant,
                expected,
                received,
                url,
                ..
            } => {
                let (report, stated) = match claimant {
                    Claimant::Lock(place) => (report.at(format!("`{place}`")), "locked"),
                    Claimant::Index => (report, "the index states"),
                };
                because(
                    report.at(format!("downloaded from `{url}`")),
                    format!(
                        "{stated} sha256 `{expected}`, received `{received}`; nothing was stored"
                    ),
                )
            }
            Self::ClaimsDisagree {
                lock_place,
                lock,
                index,
                ..
            } => because(
                report.at(format!("`{lock_place}`")),
                format!(
                    "locked sha256 `{lock}`, the index states `{index}`; nothing was downloaded"
                ),
            ),
            _ => report,
        }
    }

    /// A short stable code for the heading of a message.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Checksum { .. } | Self::ClaimsDisagree { .. } | Self::NoChecksum { .. } => {
                "source::checksum"
            }
            Self::NoRegistry { .. } => "source::registry",
            Self::Offline { .. } => "source::offline",
            Self::Download { source, .. } => source.code(),
            Self::Refused { .. } => "source::refused",
            Self::Damaged { .. } => "source::damaged",
            Self::Worker { .. } => "source::unpacker",
            Self::Store { .. } => "source::store",
            Self::Io { .. } => "source::io",
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::Checksum {
                claimant: Claimant::Lock(_),
                ..
            }
            | Self::ClaimsDisagree { .. } => {
                "fetch again; if it persists, registry and lock file disagree: re-lock this package and review the diff"
            }
            Self::Checksum { .. } => {
                "fetch again; if it persists, the registry serves something else than its index states: tell its operator"
            }
            Self::NoChecksum { .. } => "re-lock this package, so that its checksum is recorded",
            Self::NoRegistry { .. } => "name the registry in `.cargo/config.toml` (`[registries]`)",
            Self::Offline { .. } => "run `kiln fetch` once without `--offline`",
            Self::Download { source, .. } => return source.help(),
            Self::Refused { .. } | Self::Damaged { .. } => {
                "its sha256 is the published one, so the crate itself is at fault: use another version and tell its authors"
            }
            Self::Worker { .. } => "`kiln doctor` shows what the kernel offers for confinement",
            Self::Store { .. } | Self::Io { .. } => {
                "check permissions and free space, or name another directory with `KILN_HOME`"
            }
        };
        Some(text.to_owned())
    }
}
