//! What an action left behind, taken into the store.
//!
//! The directory is hostile: names are looked up beneath open directories and links are never followed, nothing but
//! directories, regular files and symbolic links is taken, and everything has bounds. The processes that wrote it
//! must be dead, except where a function says otherwise.
//!
//! Files are not copied: they get a second name in `blobs/` or `exec/`, a fixed mode and time, and the directory as
//! a whole moves into `trees/`. A file that has a name outside of the directory is not the action's alone, and is
//! copied. Symbolic links keep their text, absolute or not: those who read them see them inside of a sandbox only.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use rustix::fs::{AtFlags, FileType, Mode, Stat};

use super::disk::{self, Identity};
use super::{Refusal, Store, StoreError};
use crate::path::RelPath;
use crate::tree::{BlobRef, Directory, Entry, Tree, TreeError, TreeRef};

/// The files of one directory are taken in by several threads if they have so many bytes together.
const WORTH_SHARING: u64 = 4 << 20;

/// Bounds on what one action may leave behind.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct CaptureLimits {
    /// Entries at all levels together.
    pub entries: u64,
    /// Levels of directories.
    pub depth: usize,
    /// Bytes of a path from the captured directory, and of the target of a symbolic link.
    pub path_bytes: usize,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files together.
    pub total_bytes: u64,
}

impl Default for CaptureLimits {
    /// Far above what real crates need: 500 000 entries, 64 levels, 4 GiB a file, 16 GiB in all.
    fn default() -> Self {
        Self {
            entries: 500_000,
            depth: 64,
            path_bytes: 3000,
            file_bytes: 4 << 30,
            total_bytes: 16 << 30,
        }
    }
}

/// What a walk over a directory that is being taken in has to carry.
struct Intake<'a> {
    store: &'a Store,
    limits: &'a CaptureLimits,
    /// Whether files get a name among the blobs.
    blobs: bool,
    entries: u64,
    total_bytes: AtomicU64,
    levels: Vec<Directory>,
}

/// A regular file that was found, before it is hashed.
struct Found {
    name: String,
    stat: Stat,
}

impl Store {
    /// Takes in a directory that an action filled. The directory moves into the store: afterwards it is at
    /// [`Store::materialize`]'s path and no longer at `directory`, whose parent must be on the store's file system
    /// ([`Store::work_dir`] makes such directories; from elsewhere its content is copied).
    ///
    /// # Errors
    /// [`StoreError::Refused`] for what is not taken; else the disk.
    pub fn capture_directory(
        &self,
        directory: &Path,
        limits: &CaptureLimits,
    ) -> Result<TreeRef, StoreError> {
        self.take_in(directory, limits, true)
    }

    /// Takes in a directory of which the files need no names of their own in the store: an unpacked crate. As
    /// [`Store::capture_directory`], but what is damaged later cannot be made again from the store itself.
    ///
    /// # Errors
    /// As [`Store::capture_directory`].
    pub fn adopt_tree(
        &self,
        directory: &Path,
        limits: &CaptureLimits,
    ) -> Result<TreeRef, StoreError> {
        self.take_in(directory, limits, false)
    }

    /// Copies one file beneath `directory` into the store, also while the process that wrote it still runs. Returns
    /// whether it is executable. What is stored is hashed after copying, so a writer cannot make the name wrong.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if there is anything but a regular file, or if a link is on the way.
    pub fn capture_file(
        &self,
        directory: &Path,
        path: &RelPath,
        limits: &CaptureLimits,
    ) -> Result<(BlobRef, bool), StoreError> {
        let full = directory.join(path.as_str());
        let fail = |error: std::io::Error| StoreError::io("read", &full, error);
        let refuse = |why| StoreError::Refused {
            path: disk::printable(path.as_str().as_bytes()),
            why,
        };
        let mut parent = disk::open_directory(directory).map_err(fail)?;
        let mut parts = path.components().peekable();
        let mut last = "";
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                last = part;
                break;
            }
            parent = disk::open_directory_at(&parent, part).map_err(|error| {
                match error.raw_os_error() {
                    Some(libc::ELOOP | libc::ENOTDIR) => refuse(Refusal::NotADirectory),
                    _ => fail(error),
                }
            })?;
        }
        let file =
            disk::open_file_at(&parent, last).map_err(|error| match error.raw_os_error() {
                Some(libc::ELOOP | libc::ENXIO) => refuse(Refusal::NotAFile),
                _ => fail(error),
            })?;
        let stat = rustix::fs::fstat(&file).map_err(|error| fail(error.into()))?;
        if disk::kind(&stat) != FileType::RegularFile {
            return Err(refuse(Refusal::NotAFile));
        }
        if stat.st_mode & 0o6000 != 0 {
            return Err(refuse(Refusal::SetId));
        }
        if Identity::from(&stat).size_bytes > limits.file_bytes {
            return Err(refuse(Refusal::FileTooLarge(limits.file_bytes)));
        }
        let executable = disk::is_executable(&stat);
        Ok((self.put_copy(&file, &full, executable)?, executable))
    }

    fn take_in(
        &self,
        directory: &Path,
        limits: &CaptureLimits,
        blobs: bool,
    ) -> Result<TreeRef, StoreError> {
        let fail = |error: std::io::Error| StoreError::io("read", directory, error);
        let stat = disk::stat(directory)
            .map_err(fail)?
            .ok_or_else(|| fail(rustix::io::Errno::NOENT.into()))?;
        if disk::kind(&stat) != FileType::Directory {
            return Err(StoreError::Refused {
                path: String::new(),
                why: Refusal::NotADirectory,
            });
        }
        // Moved first: what follows happens where only the store looks.
        let scratch = self.scratch();
        // A directory that its maker locked cannot be moved.
        drop(open_or_allow(rustix::fs::CWD, directory).map_err(fail)?);
        match std::fs::rename(directory, &scratch) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
                copy_tree(directory, &scratch, limits)?;
                disk::remove_tree(directory)
                    .map_err(|error| StoreError::io("remove", directory, error))?;
            }
            Err(error) => return Err(StoreError::io("move into the store", directory, error)),
        }
        let taken = self.take_in_scratch(&scratch, limits, blobs);
        if taken.is_err() {
            let _ = disk::remove_tree(&scratch);
        }
        taken
    }

    fn take_in_scratch(
        &self,
        scratch: &Path,
        limits: &CaptureLimits,
        blobs: bool,
    ) -> Result<TreeRef, StoreError> {
        let root = open_or_allow(rustix::fs::CWD, scratch)
            .map_err(|error| StoreError::io("read", scratch, error))?;
        let mut intake = Intake {
            store: self,
            limits,
            blobs,
            entries: 0,
            total_bytes: AtomicU64::new(0),
            levels: Vec::new(),
        };
        let tree = intake.level(root, scratch, "", 1)?;
        let levels: std::collections::BTreeMap<_, _> = intake
            .levels
            .into_iter()
            .map(|level| (level.tree_ref().digest, level))
            .collect();
        let tree = Tree::load(tree, &mut |level: &TreeRef| {
            levels
                .get(&level.digest)
                .cloned()
                .ok_or(TreeError::MissingLevel(level.digest))
        })
        .map_err(|source| StoreError::Tree {
            path: scratch.to_owned(),
            source,
        })?;
        self.put_levels(&tree)?;
        self.place(&tree, scratch)?;
        Ok(tree.root())
    }
}

impl Intake<'_> {
    fn refuse<T>(path: &str, why: Refusal) -> Result<T, StoreError> {
        Err(StoreError::Refused {
            path: disk::printable(path.as_bytes()),
            why,
        })
    }

    /// Takes in one directory and all below it. `host` is where it is, for messages; `path` is its path from the
    /// captured directory.
    fn level(
        &mut self,
        directory: OwnedFd,
        host: &Path,
        path: &str,
        depth: usize,
    ) -> Result<TreeRef, StoreError> {
        if depth > self.limits.depth {
            return Self::refuse(path, Refusal::TooDeep(self.limits.depth));
        }
        let fail = |error: std::io::Error| StoreError::io("read", host, error);
        let mut level = Directory::new();
        let mut files = Vec::new();
        for name in disk::names(&directory).map_err(fail)? {
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Self::refuse(path, Refusal::TooMany(self.limits.entries));
            }
            let Ok(name) = String::from_utf8(name.clone()) else {
                let shown = format!("{path}/{}", disk::printable(&name));
                return Self::refuse(&shown, Refusal::NotUtf8);
            };
            let below = join(path, &name);
            if below.len() > self.limits.path_bytes {
                return Self::refuse(&below, Refusal::TooLong(self.limits.path_bytes));
            }
            let Some(stat) = disk::stat_at(&directory, name.as_str()).map_err(fail)? else {
                continue;
            };
            match disk::kind(&stat) {
                FileType::RegularFile => files.push(Found { name, stat }),
                FileType::Directory => {
                    let child = open_or_allow(&directory, name.as_str()).map_err(fail)?;
                    let tree = self.level(child, &host.join(&name), &below, depth + 1)?;
                    insert(&mut level, host, &name, Entry::Directory(tree))?;
                }
                FileType::Symlink => {
                    let target = self.target(&directory, &name, &below, host)?;
                    // A file system that keeps no times of links is fine.
                    let _ = disk::normalise_link(&directory, &name);
                    insert(&mut level, host, &name, Entry::Symlink { target })?;
                }
                FileType::Socket => return Self::refuse(&below, Refusal::Socket),
                FileType::Fifo => return Self::refuse(&below, Refusal::Fifo),
                _ => return Self::refuse(&below, Refusal::Device),
            }
        }
        // Level by level, so that open descriptors stay few however many directories there are. Waking other threads
        // costs more than it gains where there is little to hash.
        let borrowed = directory.as_fd();
        let take = |found: &Found| self.file(borrowed, host, path, found);
        let bytes: u64 = files
            .iter()
            .map(|found| Identity::from(&found.stat).size_bytes)
            .sum();
        let taken: Vec<_> = if files.len() > 1 && bytes >= WORTH_SHARING {
            files.par_iter().map(take).collect::<Result<_, _>>()?
        } else {
            files.iter().map(take).collect::<Result<_, _>>()?
        };
        for (found, entry) in files.iter().zip(taken) {
            insert(&mut level, host, &found.name, entry)?;
        }
        disk::normalise(&directory, 0o755).map_err(fail)?;
        let tree = level.tree_ref();
        self.levels.push(level);
        Ok(tree)
    }

    fn target(
        &self,
        directory: &OwnedFd,
        name: &str,
        below: &str,
        host: &Path,
    ) -> Result<String, StoreError> {
        let target = rustix::fs::readlinkat(directory, name, Vec::new())
            .map_err(|error| StoreError::io("read", &host.join(name), error))?;
        match target.into_string() {
            Ok(target) if target.len() <= self.limits.path_bytes => Ok(target),
            Ok(_) => Self::refuse(below, Refusal::TooLong(self.limits.path_bytes)),
            Err(_) => Self::refuse(below, Refusal::NotUtf8),
        }
    }

    /// Takes in one regular file.
    fn file(
        &self,
        directory: BorrowedFd<'_>,
        host: &Path,
        path: &str,
        found: &Found,
    ) -> Result<Entry, StoreError> {
        let name = found.name.as_str();
        let at = host.join(name);
        let fail = |error: std::io::Error| StoreError::io("store", &at, error);
        let below = join(path, name);
        if found.stat.st_mode & 0o6000 != 0 {
            return Self::refuse(&below, Refusal::SetId);
        }
        let size = Identity::from(&found.stat).size_bytes;
        if size > self.limits.file_bytes {
            return Self::refuse(&below, Refusal::FileTooLarge(self.limits.file_bytes));
        }
        if self.total_bytes.fetch_add(size, Ordering::Relaxed) + size > self.limits.total_bytes {
            return Self::refuse(&below, Refusal::TotalTooLarge(self.limits.total_bytes));
        }
        let executable = disk::is_executable(&found.stat);
        let mode = disk::file_mode(executable);
        let mut file = match disk::open_file_at(directory, name) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                rustix::fs::chmodat(directory, name, Mode::from_raw_mode(mode), AtFlags::empty())
                    .map_err(|error| fail(error.into()))?;
                disk::open_file_at(directory, name).map_err(fail)?
            }
            other => other.map_err(fail)?,
        };
        if found.stat.st_nlink > 1 {
            // Other names may be outside, so this one gets a file of its own.
            let scratch = self.store.scratch();
            let copy = disk::create_file_at(rustix::fs::CWD, &scratch).map_err(fail)?;
            disk::copy(&file, &copy).map_err(fail)?;
            rustix::fs::renameat(rustix::fs::CWD, &scratch, directory, name)
                .map_err(|error| fail(error.into()))?;
            file = copy;
        }
        disk::normalise(&file, mode).map_err(fail)?;
        let before = identity(&file).map_err(fail)?;
        let (digest, size_bytes) = disk::hash(&file, before.size_bytes).map_err(fail)?;
        if identity(&file).map_err(fail)? != before || size_bytes != before.size_bytes {
            return Err(StoreError::Changing { path: at });
        }
        let blob = BlobRef { digest, size_bytes };
        self.store.memo.record_owned(&before, digest);
        if self.blobs && size_bytes > 0 {
            self.share(directory, name, &at, &blob, executable)?;
        }
        Ok(Entry::File { blob, executable })
    }

    /// Makes the file and the blob of its content one: whichever was there first.
    fn share(
        &self,
        directory: BorrowedFd<'_>,
        name: &str,
        at: &Path,
        blob: &BlobRef,
        executable: bool,
    ) -> Result<(), StoreError> {
        let fail = |error: std::io::Error| StoreError::io("store", at, error);
        let path = self.store.blob_file(&blob.digest, executable);
        let before = disk::stat_at(directory, name)
            .map_err(fail)?
            .map(|stat| Identity::from(&stat));
        let linked = super::blobs::in_directory(&path, || {
            Ok(rustix::fs::linkat(
                directory,
                name,
                rustix::fs::CWD,
                &path,
                AtFlags::empty(),
            )?)
        });
        match linked {
            Ok(()) => {
                let after = disk::stat_at(directory, name).map_err(fail)?;
                if let (Some(before), Some(after)) = (before, after) {
                    self.store
                        .remember_moved(&before, &Identity::from(&after), blob);
                }
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                if !self.store.check_blob(blob, executable)? {
                    // It was damaged and is gone now.
                    return self.share(directory, name, at, blob, executable);
                }
                // Equal content is kept once: the tree takes the blob's file, under a name that it gives up.
                let scratch = self.store.scratch();
                let before = disk::stat(&path).map_err(fail)?;
                if std::fs::hard_link(&path, &scratch).is_err() {
                    // Too many links, or discarded just now: two equal files do no harm.
                    return Ok(());
                }
                rustix::fs::renameat(rustix::fs::CWD, &scratch, directory, name)
                    .map_err(|error| fail(error.into()))?;
                let after = disk::stat_at(directory, name).map_err(fail)?;
                if let (Some(before), Some(after)) = (before, after) {
                    self.store.remember_moved(
                        &Identity::from(&before),
                        &Identity::from(&after),
                        blob,
                    );
                }
                Ok(())
            }
            // Too many links, or a file system without them: the tree has the file, the blob is a copy.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EMLINK | libc::EPERM | libc::EOPNOTSUPP)
                ) =>
            {
                let file = disk::open_file_at(directory, name).map_err(fail)?;
                self.store.put_copy(&file, at, executable).map(|_| ())
            }
            Err(error) => Err(fail(error)),
        }
    }
}

fn insert(level: &mut Directory, host: &Path, name: &str, entry: Entry) -> Result<(), StoreError> {
    level
        .insert(name, entry)
        .map_err(|source| StoreError::Tree {
            path: host.to_owned(),
            source,
        })
}

fn identity(file: &File) -> std::io::Result<Identity> {
    Ok(Identity::from(&rustix::fs::fstat(file)?))
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}/{name}")
    }
}

/// Opens a directory; one that its maker locked is unlocked first.
fn open_or_allow(
    parent: impl AsFd,
    name: impl rustix::path::Arg + Copy,
) -> std::io::Result<OwnedFd> {
    let open = || disk::open_directory_at(parent.as_fd(), name);
    let fd = match open() {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            rustix::fs::chmodat(
                parent.as_fd(),
                name,
                Mode::from_raw_mode(0o755),
                AtFlags::empty(),
            )?;
            open()?
        }
        other => other?,
    };
    // Looking up names needs the x bit and moving files in place the w bit, which reading does not tell.
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o755))?;
    Ok(fd)
}

/// Copies a directory from another file system into `tmp/`: regular files, directories and links; the rest is
/// refused. Modes are kept as far as they matter.
fn copy_tree(from: &Path, to: &Path, limits: &CaptureLimits) -> Result<(), StoreError> {
    let mut entries = 0;
    for entry in walkdir::WalkDir::new(from)
        .follow_links(false)
        .max_depth(limits.depth)
    {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(from).to_owned();
            StoreError::io("read", &path, error)
        })?;
        let path = entry.path();
        let below = path.strip_prefix(from).unwrap_or(path);
        let shown = disk::printable(below.as_os_str().as_encoded_bytes());
        entries += 1;
        if entries > limits.entries {
            return Intake::refuse(&shown, Refusal::TooMany(limits.entries));
        }
        let dest = to.join(below);
        let fail = |error: std::io::Error| StoreError::io("copy into the store", path, error);
        let stat = disk::stat(path)
            .map_err(fail)?
            .ok_or_else(|| fail(rustix::io::Errno::NOENT.into()))?;
        match disk::kind(&stat) {
            FileType::Directory => std::fs::create_dir(&dest).map_err(fail)?,
            FileType::Symlink => {
                let target = std::fs::read_link(path).map_err(fail)?;
                std::os::unix::fs::symlink(target, &dest).map_err(fail)?;
            }
            FileType::RegularFile => {
                if stat.st_mode & 0o6000 != 0 {
                    return Intake::refuse(&shown, Refusal::SetId);
                }
                let source = disk::open_file_at(rustix::fs::CWD, path).map_err(fail)?;
                let file = disk::create_file_at(rustix::fs::CWD, &dest).map_err(fail)?;
                disk::copy(&source, &file).map_err(fail)?;
                let mode = Mode::from_raw_mode(disk::file_mode(disk::is_executable(&stat)));
                rustix::fs::fchmod(&file, mode).map_err(|error| fail(error.into()))?;
            }
            FileType::Socket => return Intake::refuse(&shown, Refusal::Socket),
            FileType::Fifo => return Intake::refuse(&shown, Refusal::Fifo),
            _ => return Intake::refuse(&shown, Refusal::Device),
        }
    }
    Ok(())
}
