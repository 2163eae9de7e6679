//! What can go wrong in the store, sorted by who has to act.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::{ActionKey, BlobDigest, TreeDigest};
use crate::tree::TreeError;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, or the user's share of it, is full.
    #[error("cannot {action} `{}`: no space left", path.display())]
    DiskFull {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The file system is mounted read-only.
    #[error("cannot {action} `{}`: the file system is read-only", path.display())]
    ReadOnly {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The user may not do that.
    #[error("cannot {action} `{}`: permission denied", path.display())]
    Permission {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Any other answer of the kernel.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A blob is not in the store (any more): a miss, to be made again.
    #[error("the store does not have the blob `{0}`")]
    MissingBlob(BlobDigest),
    /// A tree is not in the store (any more), or not all of it: a miss, to be made again.
    #[error("the store does not have all of the tree `{0}`")]
    MissingTree(TreeDigest),
    /// A materialised tree was not what its name says; it was discarded.
    #[error("the tree `{digest}` in the store was damaged at `{entry}`; it was discarded")]
    CorruptTree {
        /// The tree.
        digest: TreeDigest,
        /// The first entry that is wrong; empty for the tree as a whole.
        entry: String,
    },
    /// An action left something that the store does not take.
    #[error("the output `{path}` is refused: {why}")]
    Refused {
        /// Path beneath the captured directory, made printable.
        path: String,
        /// What is wrong with it.
        why: Refusal,
    },
    /// A file was written to while it was being read.
    #[error("`{}` keeps changing while it is read", path.display())]
    Changing {
        /// The file.
        path: PathBuf,
    },
    /// The way to where a file is to be exported leads through a symbolic link.
    #[error("cannot export to `{}`: `{component}` is a symbolic link", path.display())]
    SymlinkInTheWay {
        /// Where to.
        path: PathBuf,
        /// The part that is a link.
        component: String,
    },
    /// The store is used by running builds, and the operation needs it for itself.
    #[error("the store `{}` is in use by another kiln", home.display())]
    InUse {
        /// The store.
        home: PathBuf,
    },
    /// The store was made by a kiln with another layout.
    #[error("the store `{}` has layout `{found}`, this kiln knows `{known}`", home.display())]
    Layout {
        /// The store.
        home: PathBuf,
        /// The layout that it states, shortened.
        found: String,
        /// The layout that is understood.
        known: &'static str,
    },
    /// A result was to be recorded whose outputs are not all in the store: a bug of the caller.
    #[error("the result of action `{key}` names `{digest}`, which the store does not have")]
    IncompleteResult {
        /// The action.
        key: ActionKey,
        /// The first digest that is absent or malformed.
        digest: String,
    },
    /// A directory cannot be represented as a tree.
    #[error("`{}` cannot be stored as a tree", path.display())]
    Tree {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: TreeError,
    },
    /// A tree is larger than what may be written out.
    #[error("the tree `{digest}` has {entries} entries, more than {limit}")]
    TreeTooLarge {
        /// The tree.
        digest: TreeDigest,
        /// How many entries it has.
        entries: u64,
        /// The bound.
        limit: u64,
    },
}

impl StoreError {
    /// Sorts the kernel's answer to doing `action` on `path`.
    pub(crate) fn io(action: &'static str, path: &Path, error: impl Into<io::Error>) -> Self {
        let source = error.into();
        let path = path.to_owned();
        match source.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => Self::DiskFull {
                action,
                path,
                source,
            },
            Some(libc::EROFS) => Self::ReadOnly {
                action,
                path,
                source,
            },
            Some(libc::EACCES | libc::EPERM) => Self::Permission {
                action,
                path,
                source,
            },
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }

    /// Whether making the thing again would help: the store lost it or found it damaged.
    pub fn is_miss(&self) -> bool {
        matches!(
            self,
            Self::MissingBlob(_) | Self::MissingTree(_) | Self::CorruptTree { .. }
        )
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::DiskFull { .. } => "free some space: `kiln cache gc --keep-size 5G` removes what was used least recently; or put the store elsewhere with `KILN_HOME`".to_owned(),
            Self::ReadOnly { .. } => "put the store on a writable file system: set `KILN_HOME`".to_owned(),
            Self::Permission { path, .. } => format!(
                "look at owner and mode of `{}` (`ls -ld`); a store belongs to one user",
                path.display()
            ),
            Self::MissingBlob(_) | Self::MissingTree(_) | Self::CorruptTree { .. } => {
                "build again: what is missing is made again; `kiln cache verify` checks the rest of the store".to_owned()
            }
            Self::Refused { why, .. } => why.help().to_owned(),
            Self::Changing { .. } => "let the program that writes to it finish, then build again".to_owned(),
            Self::SymlinkInTheWay { component, .. } => {
                format!("remove the link `{component}`, or choose another target directory")
            }
            Self::InUse { .. } => "wait until the running builds have ended, then try again".to_owned(),
            Self::Layout { home, .. } => format!(
                "it was made by another version of kiln: remove `{}`, or set `KILN_HOME` to another directory",
                home.display()
            ),
            Self::Tree { source, .. } => return source.help(),
            Self::TreeTooLarge { .. } => "whoever made that tree did not mean well, or made a mistake: do not use it".to_owned(),
            Self::Io { source, .. }
                if matches!(
                    source.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                "look at the path: each part of it has to be there and be a directory; `KILN_HOME` says where the store is".to_owned()
            }
            Self::Io { .. } | Self::IncompleteResult { .. } => return None,
        })
    }
}

/// Why an output of an action is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A character or block device.
    #[error("it is a device")]
    Device,
    /// A socket.
    #[error("it is a socket")]
    Socket,
    /// A named pipe.
    #[error("it is a named pipe")]
    Fifo,
    /// A file that would run with another user's or group's rights.
    #[error("it has the setuid or setgid bit")]
    SetId,
    /// A name or link target that is not UTF-8.
    #[error("its name or target is not UTF-8")]
    NotUtf8,
    /// A name, path or link target that is too long.
    #[error("its name, path or target is longer than {0} bytes")]
    TooLong(usize),
    /// Too many levels of directories.
    #[error("it is more than {0} directories deep")]
    TooDeep(usize),
    /// Too many entries.
    #[error("there are more than {0} entries")]
    TooMany(u64),
    /// A file that is too large.
    #[error("it is larger than {0} bytes")]
    FileTooLarge(u64),
    /// All files together are too large.
    #[error("all files together are larger than {0} bytes")]
    TotalTooLarge(u64),
    /// It is not the regular file that was declared.
    #[error("it is not a regular file")]
    NotAFile,
    /// It is not the directory that was declared.
    #[error("it is not a directory")]
    NotADirectory,
}

impl Refusal {
    fn help(&self) -> &'static str {
        match self {
            Self::Device | Self::Socket | Self::Fifo | Self::SetId | Self::NotAFile => {
                "an action may leave regular files, directories and symbolic links; what the crate does here needs a look"
            }
            Self::NotADirectory => {
                "the action replaced its output directory; what the crate does here needs a look"
            }
            Self::NotUtf8 => "the crate has to write names that are UTF-8",
            Self::TooLong(_)
            | Self::TooDeep(_)
            | Self::TooMany(_)
            | Self::FileTooLarge(_)
            | Self::TotalTooLarge(_) => {
                "if the crate really needs that much, raise the limit in `kiln.toml`"
            }
        }
    }
}

/// Something that the store noticed and dealt with, worth telling the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreEvent {
    /// A blob's content was not what its name says; it was discarded and counts as absent.
    CorruptBlob {
        /// Its name.
        digest: BlobDigest,
        /// Where it was.
        path: PathBuf,
    },
    /// A materialised tree was not what its name says; it was discarded and counts as absent.
    CorruptTree {
        /// Its name.
        digest: TreeDigest,
        /// The first entry that is wrong.
        entry: String,
    },
    /// A record of the action cache could not be read; it was discarded and counts as absent.
    CorruptRecord {
        /// The action.
        key: ActionKey,
        /// Where it was.
        path: PathBuf,
    },
    /// The memory of file digests could not be read; files are hashed again.
    CorruptMemo {
        /// Where it is.
        path: PathBuf,
    },
}
