//! What can be wrong with a lock file.

use std::path::PathBuf;

use crate::manifest::text::Place;

/// Why a `Cargo.lock` cannot be used. The texts give the place as `path:line:column`.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file could not be read.
    #[error("`{path}` could not be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A merge left its markers in the file.
    #[error("{0}: the lock file holds the marks of an unresolved merge")]
    Conflict(Place),
    /// It is not TOML, or not of a lock file's shape.
    #[error("{place}: not a lock file: {message}")]
    Toml {
        /// Where.
        place: Place,
        /// What the parser says.
        message: String,
    },
    /// A newer format.
    #[error("{place}: lock file version `{version}` is not understood; versions up to 4 are")]
    Version {
        /// Where.
        place: Place,
        /// The number that the file states.
        version: u32,
    },
    /// One entry is not right.
    #[error("{place}: {message}")]
    Entry {
        /// Where.
        place: Place,
        /// What is wrong.
        message: String,
    },
}

impl LockError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::Conflict(_) => Some(
                "take one side of the merge whole (`git checkout --ours Cargo.lock` or `--theirs`), then let \
                 `kiln update --workspace` add what the manifests ask for"
                    .to_owned(),
            ),
            Self::Toml { .. } | Self::Entry { .. } => Some(
                "restore the file from version control, or remove it and make a new one with \
                 `kiln generate-lockfile`"
                    .to_owned(),
            ),
            Self::Version { .. } => {
                Some("a newer cargo wrote it; use a newer kiln, or make the lock anew".to_owned())
            }
        }
    }

    /// Where in the file, if a place is known.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Read { .. } => None,
            Self::Conflict(place) => Some(place),
            Self::Toml { place, .. } | Self::Version { place, .. } | Self::Entry { place, .. } => {
                Some(place)
            }
        }
    }
}
