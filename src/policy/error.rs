//! What can be wrong with a policy.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use super::approve::Unapproved;

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
    /// The list of what is approved is not one.
    #[error("`kiln-approved.toml` is not valid: {why}")]
    Approvals {
        /// What is wrong.
        why: String,
        /// The text of the file, and the bytes of it that are meant.
        place: Option<(String, Range<usize>)>,
    },
    /// Code would run that nobody has approved.
    #[error("{}", not_approved(missing.len()))]
    NotApproved {
        /// The packages.
        missing: Vec<Unapproved>,
    },
    /// A change that cannot be made to the text of the file.
    #[error("`kiln.toml` cannot be changed: {why}")]
    Edit {
        /// What is in the way.
        why: String,
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

fn not_approved(count: usize) -> String {
    let packages = match count {
        1 => "1 package".to_owned(),
        count => format!("{count} packages"),
    };
    format!(
        "code of {packages} would run in this build, and nobody has approved it; nothing was run"
    )
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
                "there are `[crate.NAME]` with `version`, `source`, `reason`, `use`, `exec`, `read`, `pkg-config`, `link`, \
                 `write`, `env`, `set-env`, `limits`, `defaults`, `applies-to`; `[bundle.NAME]`; `[policy]`; `[toolchain]`; \
                 `[dev.crate.NAME]`; `kiln policy schema` prints all of it for editors"
                    .to_owned(),
            ),
            Self::Approvals { .. } => Some(
                "it has one table, `[approved]`, with lines as `kiln policy approve` writes them".to_owned(),
            ),
            Self::NotApproved { missing } => {
                let names: Vec<String> = missing
                    .iter()
                    .map(|one| &one.running.package)
                    .map(|id| format!("{}@{}", id.name(), id.version()))
                    .collect();
                Some(format!(
                    "look at what they do (`kiln fetch` unpacks them to `src` in the store, `kiln policy diff` compares \
                     locks), then say so:\nkiln policy approve {}",
                    names.join(" ")
                ))
            }
            Self::Edit { .. } => Some("edit the file by hand; `kiln policy --help` shows a section".to_owned()),
            Self::Read { .. } | Self::BundleCycle { .. } => None,
        }
    }
}
