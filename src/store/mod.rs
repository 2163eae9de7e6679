//! The store: blobs and directory trees by BLAKE3, results of actions by key, on one local disk.
//!
//! Everything in it can be made again, so nothing is synced to the disk; instead, what is read back is checked.
//! Whatever comes in is hashed here, appears under its name by one rename or link, and never changes afterwards. At
//! whatever point a process is killed, the store works: a name is there with all of its content, or it is not there.
//!
//! # Layout
//! ```text
//! <home>/
//!   VERSION                the layout, `1`
//!   lock                   held shared while a store is open, alone while it is collected
//!   digests                digests of files by identity (see `memo`), digests.lock for its writers
//!   blobs/ab/cdef…         content by BLAKE3, mode 0644: files, directory messages, what actions printed
//!   exec/ab/cdef…          content of executable files, mode 0755
//!   trees/<digest>/        a materialised tree: directories 0755, files are hard links into blobs/ and exec/
//!   manifests/<digest>     the same tree as a REAPI `Tree`, and the identity of each of its directories
//!   actions/<name space>/ab/cdef…    results by action key
//!   history/<name space>/… what actions were bound to when they ran last (see `execute::record`); may be lost
//!   tmp/<session>/         what is being made; renamed out of here, so on the same file system
//! ```
//! Executables lie apart because hard links share their mode bits. A tree that was adopted (an unpacked crate) has
//! its files in `trees/` only. Every file and directory has the same time of modification, since actions see it.
//!
//! # How content is checked
//! A file whose identity (device, inode, size, mtime, ctime) is the one under which it was hashed has that content;
//! any other is hashed again. So a store that nobody touched is checked by `stat` alone. What turns out to be wrong
//! is reported as a [`StoreEvent`], discarded, and absent from then on: a miss, that the caller makes again.
//!
//! # Processes
//! Any number of them share a store, without a server. Two that make the same thing make the same bytes, and the
//! later rename wins or is dropped. Only collecting garbage needs the store for itself.
//!
//! Absent on purpose: what an action is ([`crate::reapi::ActionResult`] is stored, not understood beyond the digests
//! it names), network, compression.

mod actions;
mod blobs;
mod capture;
mod disk;
mod error;
mod export;
mod maintain;
mod memo;
mod snapshot;
mod trees;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

pub use self::actions::Namespace;
pub use self::blobs::Ingest;
pub use self::capture::CaptureLimits;
pub use self::error::{Refusal, StoreError, StoreEvent};
pub use self::export::Exported;
pub use self::maintain::{GcPolicy, GcReport, StoreStat, VerifyReport, collect_garbage, stat};
pub use self::snapshot::{LeftOut, Snapshot, WhyLeftOut};
pub use crate::tree::{BlobRef, TreeRef};

use self::disk::Identity;
use self::memo::Memo;
use crate::digest::{BlobDigest, TreeDigest};

/// Removes a directory that an action filled, whatever it made of it: however deep, and whatever its modes forbid.
///
/// # Errors
/// It is another user's, or the disk's.
pub fn remove_tree(path: &Path) -> Result<(), StoreError> {
    disk::remove_tree(path).map_err(|error| StoreError::io("remove", path, error))
}

/// The layout that this module reads and writes.
const LAYOUT: &str = "1";

/// An open store. Shared by threads as it is; processes open one each.
#[derive(Debug)]
pub struct Store {
    home: PathBuf,
    memo: Memo,
    /// Where this process makes things, beneath `tmp/`.
    session: PathBuf,
    counter: AtomicU64,
    events: Mutex<Vec<StoreEvent>>,
    /// Trees that this process has checked: once is enough, while the lock keeps the collector out.
    checked: Mutex<BTreeSet<TreeDigest>>,
    /// Held shared for as long as the store is open; the kernel lets go of it however the process ends.
    _lock: File,
}

impl Store {
    /// Opens the store at `home`, and makes it if it is not there. Waits while another process collects garbage.
    ///
    /// # Errors
    /// `home` cannot be written, or has another layout.
    pub fn open(home: &Path) -> Result<Self, StoreError> {
        let lock = prepare(home)?;
        // Alone in the store: whatever lies in tmp/ belongs to processes that were killed.
        if lock.try_lock().is_ok() {
            let tmp = home.join("tmp");
            disk::remove_tree(&tmp).map_err(|error| StoreError::io("clear", &tmp, error))?;
        }
        let path = home.join("lock");
        lock.lock_shared()
            .map_err(|error| StoreError::io("lock", &path, error))?;
        Self::with_lock(home, lock)
    }

    /// Opens the store for this process alone.
    fn open_alone(home: &Path) -> Result<Self, StoreError> {
        let lock = prepare(home)?;
        match lock.try_lock() {
            Ok(()) => Self::with_lock(home, lock),
            Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse {
                home: home.to_owned(),
            }),
            Err(std::fs::TryLockError::Error(error)) => {
                Err(StoreError::io("lock", &home.join("lock"), error))
            }
        }
    }

    fn with_lock(home: &Path, lock: File) -> Result<Self, StoreError> {
        let home = home
            .canonicalize()
            .map_err(|error| StoreError::io("look up", home, error))?;
        let tmp = home.join("tmp");
        create_directory(&tmp)?;
        let session = tempfile::Builder::new()
            .prefix("s-")
            .tempdir_in(&tmp)
            .map_err(|error| StoreError::io("make a directory in", &tmp, error))?
            .keep();
        let memo = Memo::open(
            home.join("digests"),
            home.join("digests.lock"),
            session.join("digests"),
        );
        let store = Self {
            home,
            memo,
            session,
            counter: AtomicU64::new(0),
            events: Mutex::default(),
            checked: Mutex::default(),
            _lock: lock,
        };
        if store.memo.is_damaged() {
            store.report(StoreEvent::CorruptMemo {
                path: store.memo.path().to_owned(),
            });
        }
        Ok(store)
    }

    /// Where the store is, without symbolic links.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// What the store noticed since this was last called.
    pub fn take_events(&self) -> Vec<StoreEvent> {
        std::mem::take(&mut *unpoisoned(&self.events))
    }

    fn report(&self, event: StoreEvent) {
        unpoisoned(&self.events).push(event);
    }

    /// Writes down the digests of files that were learnt so far. Happens by itself when the store is dropped.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.memo
            .flush()
            .map_err(|error| StoreError::io("write", self.memo.path(), error))
    }

    /// A new, empty, private directory on the store's file system, removed when the value is dropped. What is
    /// captured from it moves into the store without being copied.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn work_dir(&self) -> Result<WorkDir, StoreError> {
        let path = self.scratch();
        create_directory(&path)?;
        Ok(WorkDir { path })
    }

    /// A path in `tmp/` that nothing else uses.
    fn scratch(&self) -> PathBuf {
        self.session.join(self.next_number().to_string())
    }

    fn next_number(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    /// The digest of a file's content, remembered by the file's identity: reading is needed only if it is new or has
    /// changed. Follows a symbolic link at `path`.
    ///
    /// # Errors
    /// The file cannot be read, or keeps changing.
    pub fn digest_file(&self, path: &Path) -> Result<BlobRef, StoreError> {
        let fail = |error: std::io::Error| StoreError::io("read", path, error);
        if let Ok(stat) = rustix::fs::stat(path) {
            let identity = Identity::from(&stat);
            if let Some(digest) = self.memo.lookup(&identity) {
                return Ok(BlobRef {
                    digest,
                    size_bytes: identity.size_bytes,
                });
            }
        }
        let file = File::open(path).map_err(fail)?;
        self.hash_foreign(&file, path)
    }

    /// Hashes a file that others may write to, and remembers the digest.
    fn hash_foreign(&self, file: &File, path: &Path) -> Result<BlobRef, StoreError> {
        let fail = |error: std::io::Error| StoreError::io("read", path, error);
        for _ in 0..4 {
            let began = disk::now_ns();
            let stat = rustix::fs::fstat(file).map_err(|error| fail(error.into()))?;
            if disk::kind(&stat) == rustix::fs::FileType::Directory {
                return Err(fail(rustix::io::Errno::ISDIR.into()));
            }
            let before = Identity::from(&stat);
            let (digest, size_bytes) = disk::hash(file, before.size_bytes).map_err(fail)?;
            let stat = rustix::fs::fstat(file).map_err(|error| fail(error.into()))?;
            if Identity::from(&stat) == before && before.size_bytes == size_bytes {
                self.memo.record(&before, digest, began);
                return Ok(BlobRef { digest, size_bytes });
            }
        }
        Err(StoreError::Changing {
            path: path.to_owned(),
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The memo is written through the session's directory; what remains is removed by whoever opens next.
        let _ = self.memo.flush();
        let _ = disk::remove_tree(&self.session);
    }
}

/// A private directory in the store's `tmp/`; removed when dropped.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
}

impl WorkDir {
    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the store is opened next.
        let _ = disk::remove_tree(&self.path);
    }
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn create_directory(path: &Path) -> Result<(), StoreError> {
    std::fs::create_dir_all(path).map_err(|error| StoreError::io("make the directory", path, error))
}

/// Makes what every store has, checks the layout, and opens the lock file.
fn prepare(home: &Path) -> Result<File, StoreError> {
    create_directory(home)?;
    let version = home.join("VERSION");
    match std::fs::read_to_string(&version) {
        Ok(text) if text.trim_end() == LAYOUT => {}
        Ok(text) if !text.is_empty() => {
            return Err(StoreError::Layout {
                home: home.to_owned(),
                found: disk::printable(text.trim_end().as_bytes())
                    .chars()
                    .take(40)
                    .collect(),
                known: LAYOUT,
            });
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(StoreError::io("read", &version, error));
        }
        // Absent, or cut short when it was written first.
        _ => {
            for name in ["blobs", "exec", "trees", "manifests", "actions"] {
                create_directory(&home.join(name))?;
            }
            let file = tempfile::NamedTempFile::new_in(home)
                .map_err(|error| StoreError::io("make a file in", home, error))?;
            std::io::Write::write_all(&mut file.as_file(), format!("{LAYOUT}\n").as_bytes())
                .map_err(|error| StoreError::io("write", &version, error))?;
            file.persist(&version)
                .map_err(|error| StoreError::io("write", &version, error.error))?;
        }
    }
    let path = home.join("lock");
    File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|error| StoreError::io("open", &path, error))
}

/// `ab/cdef…` beneath `parent`.
fn sharded(parent: PathBuf, hex: &str) -> PathBuf {
    let mut path = parent;
    path.push(&hex[..2]);
    path.push(&hex[2..]);
    path
}

/// The digest under which a directory message is stored as a blob.
fn message_digest(tree: &TreeDigest) -> BlobDigest {
    BlobDigest::from_bytes(*tree.as_bytes())
}

#[cfg(test)]
mod tests;
