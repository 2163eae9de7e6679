//! Why a repository cannot be used.

use crate::registry::RegistryError;
use crate::store::StoreError;

/// Why a git repository, or a commit of it, cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The address is one that kiln does not fetch from.
    #[error("the git repository `{url}` cannot be fetched: {why}")]
    Address {
        /// The address, without credentials.
        url: String,
        /// What is wrong with it.
        why: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// The repository did not answer, or not as one does.
    #[error("the git repository `{url}` cannot be fetched: {why}")]
    Fetch {
        /// The address.
        url: String,
        /// What went wrong, from the outermost to the innermost cause.
        why: String,
    },
    /// A request to its server failed.
    #[error("the git repository `{url}` cannot be fetched")]
    Request {
        /// The address.
        url: String,
        /// The cause.
        #[source]
        source: Box<RegistryError>,
    },
    /// What is asked for is not in it.
    #[error("the git repository `{url}` has no {what}")]
    NotFound {
        /// The address.
        url: String,
        /// ``branch `x` ``
        what: String,
    },
    /// It would have to be fetched.
    #[error("the git repository `{url}` has to be fetched for {what}, but kiln is offline")]
    Offline {
        /// The address.
        url: String,
        /// ``branch `x` ``
        what: String,
    },
    /// The commit has something that no build may see.
    #[error(
        "commit `{commit}` of the git repository `{url}` is refused: `{entry}` {why}; nothing was stored"
    )]
    Refused {
        /// The address.
        url: String,
        /// The commit.
        commit: String,
        /// The path in it, made printable.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
    /// An object cannot be read.
    #[error("commit `{commit}` of the git repository `{url}` cannot be read: {why}")]
    Damaged {
        /// The address.
        url: String,
        /// The commit.
        commit: String,
        /// What git's objects say.
        why: String,
    },
    /// A submodule cannot be had.
    #[error("the submodule `{path}` of the git repository `{url}` cannot be had")]
    Submodule {
        /// The address of the repository that has it.
        url: String,
        /// Where it belongs.
        path: String,
        /// The cause.
        #[source]
        source: Box<GitError>,
    },
    /// The store did not take the files.
    #[error("the files of the git repository `{url}` cannot be stored")]
    Store {
        /// The address.
        url: String,
        /// The cause.
        #[source]
        source: StoreError,
    },
    /// A file of kiln's own cannot be used.
    #[error("cannot {what} `{path}`", path = path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: std::path::PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

impl GitError {
    /// A short stable code for the heading of a message.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "git::address",
            Self::Fetch { .. } => "git::fetch",
            Self::Request { source, .. } => source.code(),
            Self::NotFound { .. } => "git::reference",
            Self::Offline { .. } => "git::offline",
            Self::Refused { .. } => "git::refused",
            Self::Damaged { .. } => "git::damaged",
            Self::Submodule { source, .. } => source.code(),
            Self::Store { .. } => "git::store",
            Self::Io { .. } => "git::io",
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::Address { help, .. } => help,
            Self::Fetch { .. } => {
                "check the address and whether it can be read without logging in: kiln runs no credential helpers"
            }
            Self::Request { source, .. } => return source.help(),
            Self::NotFound { .. } => {
                "look for a typo in `branch`, `tag` or `rev`; what the lock names may have been removed: `kiln update` looks again"
            }
            Self::Offline { .. } => "run `kiln fetch` once without `--offline`",
            Self::Refused { .. } => {
                "it is the repository's fault: use another commit and tell its authors"
            }
            Self::Damaged { .. } => {
                "remove the directory `git` of kiln's home; if it persists, the repository itself is damaged"
            }
            Self::Submodule { source, .. } => return source.help(),
            Self::Store { .. } | Self::Io { .. } => {
                "check permissions and free space, or name another directory with `KILN_HOME`"
            }
        };
        Some(text.to_owned())
    }
}

/// The whole chain of causes on one line; none of it can move a terminal's cursor.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    printable(&text, 600)
}

/// `text` without line breaks and control characters, shortened.
pub(super) fn printable(text: &str, most: usize) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(most)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
