//! Final artifacts, handed out of the store into the user's target directory.
//!
//! They are copies (sharing blocks where the file system can) and not links, since users and their tools write to
//! what they find there. The file appears by one rename, and no symbolic link beneath the target directory is
//! followed: what a build left there earlier must not decide where kiln writes.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode};

use super::disk::{self, Identity};
use super::{Store, StoreError};
use crate::path::RelPath;
use crate::tree::BlobRef;

/// What exporting a file did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exported {
    /// The file is new or replaced.
    Written,
    /// The same content was there already.
    Unchanged,
}

impl Store {
    /// Puts a blob at `path` beneath `root`, which may be anywhere. Directories are made as needed.
    ///
    /// # Errors
    /// [`StoreError::MissingBlob`]; [`StoreError::SymlinkInTheWay`]; else the disk.
    pub fn export(
        &self,
        blob: &BlobRef,
        executable: bool,
        root: &Path,
        path: &RelPath,
    ) -> Result<Exported, StoreError> {
        let content = self
            .open_blob(blob)?
            .ok_or(StoreError::MissingBlob(blob.digest))?;
        self.export_open(&content, blob, executable, root, path)
    }

    /// Puts a file of a materialised tree at `path` beneath `root`; `blob` and `executable` are what the tree says
    /// of it.
    ///
    /// # Errors
    /// As [`Store::export`] and [`Store::open_tree_file`].
    pub fn export_from_tree(
        &self,
        tree: &crate::tree::TreeRef,
        file: &RelPath,
        root: &Path,
        path: &RelPath,
    ) -> Result<Exported, StoreError> {
        let content = self.open_tree_file(tree, file)?;
        let closed = self
            .read_tree(tree)?
            .ok_or(StoreError::MissingTree(tree.digest))?;
        let Some(crate::tree::Entry::File { blob, executable }) = closed.get(file) else {
            return Err(StoreError::MissingTree(tree.digest));
        };
        self.export_open(&content, blob, *executable, root, path)
    }

    fn export_open(
        &self,
        content: &std::fs::File,
        blob: &BlobRef,
        executable: bool,
        root: &Path,
        path: &RelPath,
    ) -> Result<Exported, StoreError> {
        let dest = root.join(path.as_str());
        let fail = |error: std::io::Error| StoreError::io("write", &dest, error);
        std::fs::create_dir_all(root).map_err(|error| StoreError::io("write", root, error))?;
        let mut parent = disk::open_directory(root).map_err(fail)?;
        let mut walked = PathBuf::new();
        let mut parts = path.components().peekable();
        let mut name = "";
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                name = part;
                break;
            }
            walked.push(part);
            match rustix::fs::mkdirat(&parent, part, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(fail(error.into())),
            }
            parent = disk::open_directory_at(&parent, part).map_err(|error| {
                let link = disk::stat_at(&parent, part)
                    .ok()
                    .flatten()
                    .is_some_and(|stat| disk::kind(&stat) == FileType::Symlink);
                if link {
                    StoreError::SymlinkInTheWay {
                        path: dest.clone(),
                        component: walked.display().to_string(),
                    }
                } else {
                    fail(error)
                }
            })?;
        }
        let mode = disk::file_mode(executable);
        if let Some(stat) = disk::stat_at(&parent, name).map_err(fail)? {
            let identity = Identity::from(&stat);
            let plausible = disk::kind(&stat) == FileType::RegularFile
                && stat.st_mode & 0o777 == mode
                && identity.size_bytes == blob.size_bytes;
            if plausible && self.content_at(&parent, name, &identity, &dest) == Some(blob.digest) {
                return Ok(Exported::Unchanged);
            }
        }
        let temporary = format!(".kiln-{}-{}", std::process::id(), self.next_number());
        let copied = (|| {
            let copy = disk::create_file_at(&parent, temporary.as_str())?;
            disk::copy(content, &copy)?;
            rustix::fs::fchmod(&copy, Mode::from_raw_mode(mode))?;
            Ok(rustix::fs::renameat(
                &parent,
                temporary.as_str(),
                &parent,
                name,
            )?)
        })();
        match copied {
            Ok(()) => Ok(Exported::Written),
            Err(error) => {
                let _ = rustix::fs::unlinkat(&parent, temporary.as_str(), AtFlags::empty());
                Err(fail(error))
            }
        }
    }

    /// The digest of what is there already, if it can be had; what cannot be read is replaced.
    fn content_at(
        &self,
        parent: &std::os::fd::OwnedFd,
        name: &str,
        identity: &Identity,
        dest: &Path,
    ) -> Option<crate::digest::BlobDigest> {
        if let Some(digest) = self.memo.lookup(identity) {
            return Some(digest);
        }
        let file = disk::open_file_at(parent, name).ok()?;
        Some(self.hash_foreign(&file, dest).ok()?.digest)
    }
}
