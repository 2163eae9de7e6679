//! What can be wrong with a policy.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// `kiln.toml` is there and cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// It is not TOML, or has a key that means nothing.
    #[error("`{file}` is not valid: {why}")]
    Syntax {
        /// The file.
        file: String,
        /// What is wrong.
        why: String,
        /// The text of the file, and the bytes of it that are meant.
        place: Option<(String, Range<usize>)>,
    },
    /// A value that no grant can have.
    #[error("`{file}`: `[{section}]` has the {what} `{value}`: {why}")]
    Value {
        /// The file.
        file: String,
        /// The section, as it is written.
        section: String,
        /// Which key.
        what: &'static str,
        /// The value.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// `use` names a bundle that nobody defines.
    #[error("`{file}`: `[{section}]` uses the bundle `{bundle}`, which does not exist")]
    UnknownBundle {
        /// The file.
        file: String,
        /// The section that uses it.
        section: String,
        /// The name.
        bundle: String,
        /// The bundles that exist.
        known: Vec<String>,
    },
    /// A bundle uses itself.
    #[error("`{file}`: the bundle `{bundle}` uses itself")]
    BundleCycle {
        /// The file.
        file: String,
        /// The bundle.
        bundle: String,
    },
}

impl PolicyError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::UnknownBundle { known, .. } => {
                let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
                Some(format!(
                    "these exist: {}; define another as `[bundle.NAME]`",
                    known.join(", ")
                ))
            }
            Self::Value { .. } => Some(
                "grant the least that works: single programs, the directory of one library, single variables"
                    .to_owned(),
            ),
            Self::Syntax { .. } => Some(
                "the keys are those of the table in `src/policy/file.rs` of kiln: `[crate.NAME]` with `reason`, `exec`, \
                 `read`, `env`, `pkg-config`, `link`, `write`, `use`, `limits`; `[bundle.NAME]`; `[toolchain]`; \
                 `[dev.crate.NAME]`"
                    .to_owned(),
            ),
            Self::Read { .. } | Self::BundleCycle { .. } => None,
        }
    }
}
