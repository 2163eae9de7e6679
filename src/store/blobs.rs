//! Blobs: content under its own name.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType};

use super::disk::{self, Identity};
use super::{Store, StoreError, StoreEvent, sharded};
use crate::digest::BlobDigest;
use crate::tree::BlobRef;

/// Files up to this size are simply hashed whenever they are read; their identities would fill the memory of
/// digests with directory messages.
const WORTH_REMEMBERING: u64 = 16 * 1024;

/// What becomes of a file that is put into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ingest {
    /// It moves in; afterwards it is gone. From another file system it is copied and removed.
    Move,
    /// It stays, and its content is shared or copied.
    Copy,
}

impl Store {
    pub(super) fn blob_file(&self, digest: &BlobDigest, executable: bool) -> PathBuf {
        let parent = self.home.join(if executable { "exec" } else { "blobs" });
        sharded(parent, &digest.to_hex())
    }

    /// Stores bytes.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<BlobRef, StoreError> {
        let blob = BlobRef::of(bytes);
        if self.check_blob(&blob, false)? {
            return Ok(blob);
        }
        let scratch = self.scratch();
        let fail = |error| StoreError::io("write", &scratch, error);
        let mut file = disk::create_file_at(rustix::fs::CWD, &scratch).map_err(fail)?;
        file.write_all(bytes)
            .and_then(|()| disk::normalise(&file, disk::file_mode(false)))
            .map_err(fail)?;
        self.install(&scratch, &blob, false)?;
        Ok(blob)
    }

    /// Stores a file's content, as an executable or as plain content. The file must not be written to meanwhile;
    /// what is stored is hashed after it was moved or copied, so a writer cannot make the name wrong. A symbolic
    /// link at `path` is refused.
    ///
    /// # Errors
    /// `path` is no regular file or cannot be read, or the store cannot be written.
    pub fn put_file(
        &self,
        path: &Path,
        ingest: Ingest,
        executable: bool,
    ) -> Result<BlobRef, StoreError> {
        let file = disk::open_file_at(rustix::fs::CWD, path)
            .map_err(|error| StoreError::io("open", path, error))?;
        let stat = rustix::fs::fstat(&file).map_err(|error| StoreError::io("read", path, error))?;
        if disk::kind(&stat) != FileType::RegularFile {
            return Err(StoreError::Refused {
                path: disk::printable(path.as_os_str().as_encoded_bytes()),
                why: super::Refusal::NotAFile,
            });
        }
        let scratch = self.scratch();
        // A file with other names is not ours alone: copy it.
        if ingest == Ingest::Move && stat.st_nlink == 1 {
            match std::fs::rename(path, &scratch) {
                Ok(()) => return self.put_private(&scratch, &file, executable),
                Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {}
                Err(error) => return Err(StoreError::io("move into the store", path, error)),
            }
        }
        let blob = self.put_copy(&file, path, executable)?;
        if ingest == Ingest::Move {
            std::fs::remove_file(path).map_err(|error| StoreError::io("remove", path, error))?;
        }
        Ok(blob)
    }

    /// Copies an open file into the store.
    pub(super) fn put_copy(
        &self,
        file: &File,
        path: &Path,
        executable: bool,
    ) -> Result<BlobRef, StoreError> {
        let scratch = self.scratch();
        let copy = disk::create_file_at(rustix::fs::CWD, &scratch)
            .map_err(|error| StoreError::io("write", &scratch, error))?;
        disk::copy(file, &copy)
            .map_err(|error| StoreError::io("copy into the store", path, error))?;
        self.put_private(&scratch, &copy, executable)
    }

    /// Stores a file in `tmp/` that nobody else knows.
    fn put_private(
        &self,
        scratch: &Path,
        file: &File,
        executable: bool,
    ) -> Result<BlobRef, StoreError> {
        let fail = |error| StoreError::io("store", scratch, error);
        let size = file.metadata().map_err(fail)?.len();
        let (digest, size_bytes) = disk::hash(file, size).map_err(fail)?;
        disk::normalise(file, disk::file_mode(executable)).map_err(fail)?;
        let blob = BlobRef { digest, size_bytes };
        if self.check_blob(&blob, executable)? {
            std::fs::remove_file(scratch).map_err(fail)?;
        } else {
            self.install(scratch, &blob, executable)?;
        }
        Ok(blob)
    }

    /// Gives a finished file in `tmp/` its name.
    fn install(&self, scratch: &Path, blob: &BlobRef, executable: bool) -> Result<(), StoreError> {
        let path = self.blob_file(&blob.digest, executable);
        in_directory(&path, || std::fs::rename(scratch, &path))
            .map_err(|error| StoreError::io("write", &path, error))?;
        self.remember(&path, blob);
        Ok(())
    }

    /// Remembers the digest of a blob that was just checked or made.
    fn remember(&self, path: &Path, blob: &BlobRef) {
        if blob.size_bytes >= WORTH_REMEMBERING
            && let Ok(Some(stat)) = disk::stat(path)
        {
            self.memo.record_owned(&Identity::from(&stat), blob.digest);
        }
    }

    /// Whether a blob is there and intact. One that is not intact is reported and discarded.
    pub(super) fn check_blob(&self, blob: &BlobRef, executable: bool) -> Result<bool, StoreError> {
        let path = self.blob_file(&blob.digest, executable);
        let fail = |error| StoreError::io("read", &path, error);
        let Some(stat) = disk::stat(&path).map_err(fail)? else {
            return Ok(false);
        };
        let mode = disk::file_mode(executable);
        let identity = Identity::from(&stat);
        if disk::kind(&stat) == FileType::RegularFile && identity.size_bytes == blob.size_bytes {
            let right_mode = stat.st_mode & 0o7777 == mode;
            if right_mode && self.memo.lookup(&identity) == Some(blob.digest) {
                return Ok(true);
            }
            if !right_mode {
                // Somebody changed the mode, perhaps so that it cannot be read.
                rustix::fs::chmod(&path, rustix::fs::Mode::from_raw_mode(mode))
                    .map_err(|error| fail(error.into()))?;
            }
            let Some(file) = opened(&path).map_err(fail)? else {
                return Ok(false);
            };
            // An answer of the disk that the bytes are lost (EIO) is as good as wrong bytes.
            if disk::hash(&file, blob.size_bytes).is_ok_and(|(digest, _)| digest == blob.digest) {
                disk::normalise(&file, mode).map_err(fail)?;
                self.remember(&path, blob);
                return Ok(true);
            }
        }
        self.discard_blob(&path, &blob.digest)?;
        Ok(false)
    }

    pub(super) fn discard_blob(&self, path: &Path, digest: &BlobDigest) -> Result<(), StoreError> {
        self.report(StoreEvent::CorruptBlob {
            digest: *digest,
            path: path.to_owned(),
        });
        let removed = match std::fs::remove_file(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => {
                disk::remove_tree(path)
            }
            other => other,
        };
        removed.map_err(|error| StoreError::io("discard", path, error))
    }

    /// Whether the store has the blob, by name and size, in either form: what is cheap to know. Its content is
    /// checked when it is used.
    pub fn has_blob(&self, blob: &BlobRef) -> bool {
        *blob == empty()
            || [false, true]
                .into_iter()
                .any(|executable| self.has_blob_as(blob, executable))
    }

    pub(super) fn has_blob_as(&self, blob: &BlobRef, executable: bool) -> bool {
        let path = self.blob_file(&blob.digest, executable);
        disk::stat(&path).is_ok_and(|stat| {
            stat.is_some_and(|stat| {
                disk::kind(&stat) == FileType::RegularFile
                    && Identity::from(&stat).size_bytes == blob.size_bytes
            })
        })
    }

    /// The content of a blob, checked. `None`: the store does not have it, or had it damaged.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn read_blob(&self, blob: &BlobRef) -> Result<Option<Vec<u8>>, StoreError> {
        if *blob == empty() {
            return Ok(Some(Vec::new()));
        }
        for executable in [false, true] {
            let path = self.blob_file(&blob.digest, executable);
            let fail = |error| StoreError::io("read", &path, error);
            let Some(mut file) = opened(&path).map_err(fail)? else {
                continue;
            };
            let mut bytes = Vec::new();
            let read = std::io::Read::read_to_end(&mut file, &mut bytes);
            if read.is_ok() && BlobRef::of(&bytes) == *blob {
                return Ok(Some(bytes));
            }
            self.discard_blob(&path, &blob.digest)?;
        }
        Ok(None)
    }

    /// A blob as an open file, checked. `None`: the store does not have it, or had it damaged.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open_blob(&self, blob: &BlobRef) -> Result<Option<File>, StoreError> {
        if *blob == empty() {
            self.put_bytes(b"")?;
        }
        for executable in [false, true] {
            if self.check_blob(blob, executable)? {
                let path = self.blob_file(&blob.digest, executable);
                return opened(&path).map_err(|error| StoreError::io("open", &path, error));
            }
        }
        Ok(None)
    }

    /// The path of a blob as an executable or as plain content, checked, for mounting; it must not be written to.
    /// Made from the other form if need be. `None`: the store does not have it, or had it damaged.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn blob_path(
        &self,
        blob: &BlobRef,
        executable: bool,
    ) -> Result<Option<PathBuf>, StoreError> {
        if !self.ensure_blob(blob, executable)? {
            return Ok(None);
        }
        Ok(Some(self.blob_file(&blob.digest, executable)))
    }

    /// Whether the blob is there in that form, or could be made from the other.
    pub(super) fn ensure_blob(&self, blob: &BlobRef, executable: bool) -> Result<bool, StoreError> {
        if self.check_blob(blob, executable)? {
            return Ok(true);
        }
        if *blob == empty() {
            self.put_bytes(b"")?;
        }
        if !self.check_blob(blob, !executable)? {
            return self.check_blob(blob, executable);
        }
        let path = self.blob_file(&blob.digest, !executable);
        let Some(file) = opened(&path).map_err(|error| StoreError::io("open", &path, error))?
        else {
            return Ok(false);
        };
        Ok(self.put_copy(&file, &path, executable)? == *blob)
    }

    /// Puts a blob into a directory as a file, as a hard link where possible. `false`: the store does not have it.
    /// `shown` is the directory's path, for messages.
    pub(super) fn link_blob(
        &self,
        blob: &BlobRef,
        executable: bool,
        directory: impl AsFd,
        name: &str,
        shown: &Path,
    ) -> Result<bool, StoreError> {
        let mode = disk::file_mode(executable);
        let fail = |error: std::io::Error| StoreError::io("write", &shown.join(name), error);
        if *blob == empty() {
            // So many files are empty that their links would run out.
            let file = disk::create_file_at(&directory, name).map_err(fail)?;
            disk::normalise(&file, mode).map_err(fail)?;
            return Ok(true);
        }
        let path = self.blob_file(&blob.digest, executable);
        // Where another process puts the same content in its place between the look-up and the link, the kernel does
        // not link the file whose only name is gone: the next look-up finds the other.
        for _ in 0..16 {
            if !self.ensure_blob(blob, executable)? {
                return Ok(false);
            }
            if self
                .link_file(&path, blob, executable, &directory, name)
                .map_err(fail)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Puts a checked file of the store into a directory, as a hard link where possible. `false`: it is not there.
    pub(super) fn link_file(
        &self,
        path: &Path,
        blob: &BlobRef,
        executable: bool,
        directory: impl AsFd,
        name: &str,
    ) -> std::io::Result<bool> {
        let before = disk::stat(path)?;
        match rustix::fs::linkat(rustix::fs::CWD, path, &directory, name, AtFlags::empty()) {
            Ok(()) => {
                // A link moves the ctime. Nobody else writes here, so a file that is otherwise the same is the same.
                let after = disk::stat_at(&directory, name)?;
                if let (Some(before), Some(after)) = (before, after) {
                    self.remember_moved(&Identity::from(&before), &Identity::from(&after), blob);
                }
                Ok(true)
            }
            // Collected by nobody (the lock), but perhaps discarded by a process that found it damaged.
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(rustix::io::Errno::MLINK | rustix::io::Errno::XDEV | rustix::io::Errno::PERM) => {
                let Some(from) = opened(path)? else {
                    return Ok(false);
                };
                let file = disk::create_file_at(&directory, name)?;
                disk::copy(&from, &file)?;
                disk::normalise(&file, disk::file_mode(executable))?;
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// After an operation of the store itself that moved a file's ctime and nothing else.
    pub(super) fn remember_moved(&self, before: &Identity, after: &Identity, blob: &BlobRef) {
        let untouched = Identity {
            ctime_ns: after.ctime_ns,
            ..*before
        };
        if untouched == *after {
            self.memo.record_owned(after, blob.digest);
        }
    }
}

/// The blob without content: always there, as REAPI has it, and in trees never a link.
fn empty() -> BlobRef {
    BlobRef::of(b"")
}

/// Opens a file of the store. `None`: it is not there.
pub(super) fn opened(path: &Path) -> std::io::Result<Option<File>> {
    match disk::open_file_at(rustix::fs::CWD, path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Does what makes `path`, and makes its directory first if that was missing.
pub(super) fn in_directory(
    path: &Path,
    mut make: impl FnMut() -> std::io::Result<()>,
) -> std::io::Result<()> {
    match make() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            make()
        }
        other => other,
    }
}
