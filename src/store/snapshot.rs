//! The state of a source directory, as a tree.
//!
//! Files that the memory of digests knows cost a `stat`. The others are read, and whatever content the store lacks is
//! copied in (blocks are shared where the file system can). The user may edit meanwhile: a file counts with the
//! content that was hashed, and one that changes between hashing and copying makes the walk start over.
//!
//! Symbolic links whose text stays inside of the directory are kept as links. Those that leave it are common in
//! workspaces (a licence or read-me of the workspace, linked from each package) and are replaced by what they lead
//! to, as long as that is in the workspace. What cannot be represented is left out and listed.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::capture::join;
use super::disk::{self, Identity};
use super::{Store, StoreError};
use crate::tree::{BlobRef, Directory, Entry, MAX_DEPTH, Tree, TreeError, TreeRef};

/// No directory with more entries is taken for a source directory.
const MOST_ENTRIES: usize = 1_000_000;

/// A source directory as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The tree, whose content is in the store.
    pub tree: TreeRef,
    /// What is not in it, sorted by path.
    pub left_out: Vec<LeftOut>,
    /// How many files it has.
    pub files: usize,
    /// How many of them had to be read.
    pub read: usize,
}

/// An entry that is not part of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// Its path from the directory, made printable.
    pub path: String,
    /// Why.
    pub why: WhyLeftOut,
}

/// Why an entry is not part of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum WhyLeftOut {
    /// A symbolic link to something outside of the workspace.
    #[error("it is a symbolic link to `{target}`, outside of the workspace")]
    LeadsOutside {
        /// The link's text, made printable.
        target: String,
    },
    /// A symbolic link to a directory that it lies in.
    #[error("it is a symbolic link to `{target}`, a directory that contains it")]
    Cycle {
        /// The link's text, made printable.
        target: String,
    },
    /// A symbolic link to nothing.
    #[error("it is a symbolic link to `{target}`, which is not there")]
    Dangling {
        /// The link's text, made printable.
        target: String,
    },
    /// Neither file, directory nor link.
    #[error("it is a device, a socket or a named pipe")]
    Special,
    /// A name that is not UTF-8, or too long.
    #[error("its name is not UTF-8")]
    Name,
    /// It cannot be read.
    #[error("you may not read it")]
    Unreadable,
}

/// Which entries are not to be looked at: path from the directory, and whether it is a directory.
type Exclude<'a> = &'a dyn Fn(&str, bool) -> bool;

impl Store {
    /// Records the state of `directory`. `exclude` is asked with each entry's path from there and whether it is a
    /// directory. `workspace` is the root beneath which links may lead; it contains `directory`.
    ///
    /// # Errors
    /// The directory cannot be read, keeps changing, or has more than a million entries; or the store cannot be
    /// written.
    pub fn snapshot(
        &self,
        directory: &Path,
        exclude: Exclude<'_>,
        workspace: &Path,
    ) -> Result<Snapshot, StoreError> {
        let fail = |path: &Path, error| StoreError::io("read", path, error);
        let root = directory
            .canonicalize()
            .map_err(|error| fail(directory, error))?;
        let workspace = workspace
            .canonicalize()
            .map_err(|error| fail(workspace, error))?;
        for _ in 0..4 {
            let mut walk = Walk {
                store: self,
                exclude,
                root: &root,
                workspace: &workspace,
                ancestors: Vec::new(),
                entries: 0,
                levels: Vec::new(),
                files: Vec::new(),
                left_out: Vec::new(),
                read: 0,
            };
            let fd = disk::open_directory(&root).map_err(|error| fail(&root, error))?;
            let tree = walk.level(fd, &root, "", 1)?;
            let Walk {
                levels,
                files,
                mut left_out,
                read,
                ..
            } = walk;
            left_out.sort();
            let snapshot = Snapshot {
                tree,
                left_out,
                files: files.len(),
                read,
            };
            // A materialised tree has its content, and is checked when it is used.
            if self.is_materialised(&tree) {
                return Ok(snapshot);
            }
            if self.bring_in(&files)? {
                self.put_walked(&root, tree, &levels)?;
                return Ok(snapshot);
            }
        }
        Err(StoreError::Changing { path: root })
    }

    /// Copies what the store lacks. `false`: a file is not what it was.
    fn bring_in(&self, files: &[Source]) -> Result<bool, StoreError> {
        for source in files {
            if source.blob.size_bytes == 0 || self.has_blob_as(&source.blob, source.executable) {
                continue;
            }
            let file = match std::fs::File::open(&source.host) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(StoreError::io("read", &source.host, error)),
            };
            if self.put_copy(&file, &source.host, source.executable)? != source.blob {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn put_walked(
        &self,
        root: &Path,
        tree: TreeRef,
        levels: &[(TreeRef, Directory)],
    ) -> Result<(), StoreError> {
        let levels: std::collections::BTreeMap<_, _> = levels
            .iter()
            .map(|(level, directory)| (level.digest, directory))
            .collect();
        let tree = Tree::load(tree, &mut |level| {
            levels
                .get(&level.digest)
                .map(|directory| (*directory).clone())
                .ok_or(TreeError::MissingLevel(level.digest))
        })
        .map_err(|source| StoreError::Tree {
            path: root.to_owned(),
            source,
        })?;
        self.put_levels(&tree)
    }
}

/// A file of the snapshot and where its content is.
struct Source {
    host: PathBuf,
    blob: BlobRef,
    executable: bool,
}

struct Walk<'a> {
    store: &'a Store,
    exclude: Exclude<'a>,
    root: &'a Path,
    workspace: &'a Path,
    /// Device and inode of the directories that are being walked, to stop links from going round.
    ancestors: Vec<(u64, u64)>,
    entries: usize,
    levels: Vec<(TreeRef, Directory)>,
    files: Vec<Source>,
    left_out: Vec<LeftOut>,
    read: usize,
}

impl Walk<'_> {
    fn leave_out(&mut self, path: &str, why: WhyLeftOut) {
        self.left_out.push(LeftOut {
            path: disk::printable(path.as_bytes()),
            why,
        });
    }

    /// Walks a directory. `host` is where it really is; `path` is where it is in the snapshot.
    fn level(
        &mut self,
        fd: OwnedFd,
        host: &Path,
        path: &str,
        depth: usize,
    ) -> Result<TreeRef, StoreError> {
        let fail = |error: std::io::Error| StoreError::io("read", host, error);
        let malformed = |source| StoreError::Tree {
            path: host.to_owned(),
            source,
        };
        if depth > MAX_DEPTH {
            return Err(malformed(TreeError::TooDeep));
        }
        let identity = Identity::from(&rustix::fs::fstat(&fd).map_err(|error| fail(error.into()))?);
        self.ancestors.push((identity.device, identity.inode));
        let mut level = Directory::new();
        for name in disk::names(&fd).map_err(fail)? {
            self.entries += 1;
            if self.entries > MOST_ENTRIES {
                return Err(StoreError::Refused {
                    path: disk::printable(host.as_os_str().as_encoded_bytes()),
                    why: super::Refusal::TooMany(MOST_ENTRIES as u64),
                });
            }
            let Ok(name) = String::from_utf8(name.clone()) else {
                let below = join(path, &disk::printable(&name));
                self.leave_out(&below, WhyLeftOut::Name);
                continue;
            };
            let below = join(path, &name);
            let Some(stat) = disk::stat_at(&fd, name.as_str()).map_err(fail)? else {
                continue;
            };
            let kind = disk::kind(&stat);
            if (self.exclude)(&below, kind == FileType::Directory) {
                continue;
            }
            let at = host.join(&name);
            let entry = match kind {
                FileType::RegularFile => self.file(&stat, at, &below)?,
                FileType::Directory => self.directory(&at, &below, depth)?,
                FileType::Symlink => self.link(&at, &below, depth)?,
                _ => {
                    self.leave_out(&below, WhyLeftOut::Special);
                    None
                }
            };
            if let Some(entry) = entry {
                level.insert(&name, entry).map_err(malformed)?;
            }
        }
        self.ancestors.pop();
        let tree = level.tree_ref();
        self.levels.push((tree, level));
        Ok(tree)
    }

    fn directory(
        &mut self,
        host: &Path,
        below: &str,
        depth: usize,
    ) -> Result<Option<Entry>, StoreError> {
        match disk::open_directory_at(rustix::fs::CWD, host) {
            Ok(fd) => Ok(Some(Entry::Directory(self.level(
                fd,
                host,
                below,
                depth + 1,
            )?))),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                self.leave_out(below, WhyLeftOut::Unreadable);
                Ok(None)
            }
            // Removed or replaced since its name was read.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP)
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(StoreError::io("read", host, error)),
        }
    }

    fn file(
        &mut self,
        stat: &rustix::fs::Stat,
        host: PathBuf,
        below: &str,
    ) -> Result<Option<Entry>, StoreError> {
        let identity = Identity::from(stat);
        let blob = match self.store.memo.lookup(&identity) {
            Some(digest) => BlobRef {
                digest,
                size_bytes: identity.size_bytes,
            },
            None => {
                self.read += 1;
                let file = match disk::open_file_at(rustix::fs::CWD, &host) {
                    Ok(file) => file,
                    Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                        self.leave_out(below, WhyLeftOut::Unreadable);
                        return Ok(None);
                    }
                    Err(error)
                        if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ELOOP)) =>
                    {
                        return Ok(None);
                    }
                    Err(error) => return Err(StoreError::io("read", &host, error)),
                };
                self.store.hash_foreign(&file, &host)?
            }
        };
        let executable = disk::is_executable(stat);
        self.files.push(Source {
            host,
            blob,
            executable,
        });
        Ok(Some(Entry::File { blob, executable }))
    }

    fn link(
        &mut self,
        host: &Path,
        below: &str,
        depth: usize,
    ) -> Result<Option<Entry>, StoreError> {
        let fail = |error: std::io::Error| StoreError::io("read", host, error);
        let text = std::fs::read_link(host).map_err(fail)?;
        let shown = || disk::printable(text.as_os_str().as_encoded_bytes());
        if let Some(target) = text.to_str()
            && stays_inside(below, target)
            && host.starts_with(self.root)
        {
            return Ok(Some(Entry::Symlink {
                target: target.to_owned(),
            }));
        }
        let real = match host.canonicalize() {
            Ok(real) => real,
            Err(error) => {
                let target = shown();
                self.leave_out(
                    below,
                    match error.raw_os_error() {
                        Some(libc::ELOOP) => WhyLeftOut::Cycle { target },
                        Some(libc::EACCES) => WhyLeftOut::Unreadable,
                        _ => WhyLeftOut::Dangling { target },
                    },
                );
                return Ok(None);
            }
        };
        if !real.starts_with(self.workspace) {
            self.leave_out(below, WhyLeftOut::LeadsOutside { target: shown() });
            return Ok(None);
        }
        let Some(stat) = disk::stat(&real).map_err(fail)? else {
            self.leave_out(below, WhyLeftOut::Dangling { target: shown() });
            return Ok(None);
        };
        match disk::kind(&stat) {
            FileType::RegularFile => self.file(&stat, real, below),
            FileType::Directory => {
                let identity = Identity::from(&stat);
                let goes_round = self.root.starts_with(&real)
                    || self.ancestors.contains(&(identity.device, identity.inode));
                if goes_round {
                    self.leave_out(below, WhyLeftOut::Cycle { target: shown() });
                    return Ok(None);
                }
                self.directory(&real, below, depth)
            }
            _ => {
                self.leave_out(below, WhyLeftOut::Special);
                Ok(None)
            }
        }
    }
}

/// Whether the text of a link at `path` leads, as text, to something beneath the directory that paths start from.
fn stays_inside(path: &str, target: &str) -> bool {
    if target.is_empty() || target.starts_with('/') {
        return false;
    }
    let mut depth = path.matches('/').count();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            _ => depth += 1,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::stays_inside;

    #[test]
    fn which_links_stay_inside() {
        for (path, target, inside) in [
            ("l", "a", true),
            ("l", "./a/../b", true),
            ("l", "..", false),
            ("l", "../x", false),
            ("d/l", "../x", true),
            ("d/l", "../../x", false),
            ("d/l", "../../d/x", false),
            ("l", "/x", false),
            ("l", "", false),
        ] {
            assert_eq!(stays_inside(path, target), inside, "{path} {target}");
        }
    }
}
