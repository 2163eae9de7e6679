//! What can be wrong with configuration.

use std::path::PathBuf;

use crate::manifest::text::Place;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("the configuration file `{path}` could not be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// It is not TOML.
    #[error("{place}: {message}")]
    Toml {
        /// Where.
        place: Box<Place>,
        /// What the parser says.
        message: String,
    },
    /// A key has a value that it cannot have.
    #[error("{origin}: `{key}`: {message}")]
    Value {
        /// The file, variable or argument that sets it.
        origin: String,
        /// The key.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// An argument of `--config` is neither a file nor `key=value`.
    #[error("`--config {argument}`: {message}")]
    Override {
        /// The argument.
        argument: String,
        /// What is wrong.
        message: String,
    },
}

impl ConfigError {
    /// Where in a file it is wrong, if that is known.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Toml { place, .. } => Some(place),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Override { .. } => Some(
                "give the path of a TOML file, or one `key=value` in TOML: `--config 'net.offline=true'`".to_owned(),
            ),
            Self::Read { .. } | Self::Toml { .. } | Self::Value { .. } => None,
        }
    }
}
