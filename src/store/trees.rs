//! Trees: directory messages as blobs, and directories on the disk that were made from them.
//!
//! A manifest lies beside each materialised tree: the tree as a REAPI `Tree` message (so it proves itself: its root
//! has to hash to the tree's name), and the identity of each directory. A directory whose identity is unchanged has
//! the entries that it had; a file is checked by its own identity. So checking an untouched tree reads one file and
//! calls `stat` for each entry.
//!
//! ```text
//! manifest   magic (8)  length of the message (8)  message  count of directories (8)
//!            device inode mtime ctime (8 each) of each directory, parents first, names in order
//!            BLAKE3 of all before it (32)
//! ```

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use prost::Message as _;
use rustix::fs::{AtFlags, FileType, Mode};

use super::disk::{self, Identity};
use super::{Store, StoreError, StoreEvent, message_digest, unpoisoned};
use crate::digest::{BlobDigest, TreeDigest};
use crate::path::RelPath;
use crate::tree::{BlobRef, Directory, EncodedTree, Entry, Tree, TreeError, TreeRef};

const MAGIC: [u8; 8] = *b"kilntre1";
/// No tree with more entries is written out.
const MOST_ENTRIES: u64 = 5_000_000;

/// Device, inode, mtime, ctime.
type DirectoryIdentity = [u64; 4];

fn directory_identity(fd: impl AsFd) -> std::io::Result<DirectoryIdentity> {
    let identity = Identity::from(&rustix::fs::fstat(fd)?);
    Ok([
        identity.device,
        identity.inode,
        identity.mtime_ns.cast_unsigned(),
        identity.ctime_ns.cast_unsigned(),
    ])
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Manifest {
    tree: Tree,
    directories: Vec<DirectoryIdentity>,
}

impl Manifest {
    fn encode(&self) -> Vec<u8> {
        let message = self.tree.to_message().encode_to_vec();
        let mut bytes = MAGIC.to_vec();
        bytes.extend((message.len() as u64).to_le_bytes());
        bytes.extend(message);
        bytes.extend((self.directories.len() as u64).to_le_bytes());
        for word in self.directories.iter().flatten() {
            bytes.extend(word.to_le_bytes());
        }
        let sum = blake3::hash(&bytes);
        bytes.extend(sum.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8], name: &TreeDigest) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<32>()?;
        if blake3::hash(body) != *sum {
            return None;
        }
        let (length, rest) = body.strip_prefix(&MAGIC)?.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (message, rest) = rest.split_at_checked(length)?;
        let (count, rest) = rest.split_first_chunk::<8>()?;
        let (words, odd) = rest.as_chunks::<8>();
        let (directories, odd_words) = words.as_chunks::<4>();
        if !odd.is_empty()
            || !odd_words.is_empty()
            || u64::from_le_bytes(*count) != directories.len() as u64
        {
            return None;
        }
        let tree = Tree::decode(message).ok()?;
        (tree.root().digest == *name).then(|| Self {
            tree,
            directories: directories
                .iter()
                .map(|words| words.map(u64::from_le_bytes))
                .collect(),
        })
    }
}

/// What a look at a materialised tree found.
enum Finding {
    /// All is right; the directories' identities, and whether they are the recorded ones.
    Intact {
        directories: Vec<DirectoryIdentity>,
        recorded: bool,
    },
    /// The first entry that is wrong.
    Wrong(String),
}

/// Renames a directory to a place where there is none. A plain rename replaces a directory that is empty, and whoever
/// is about to mount that one would find it gone.
fn move_to_free_place(from: &Path, to: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can do that.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => std::fs::rename(from, to),
        result => Ok(result?),
    }
}

impl Store {
    /// Where the tree is once it is materialised; [`Store::materialize`] makes and checks it.
    pub fn tree_path(&self, digest: &TreeDigest) -> PathBuf {
        self.home.join("trees").join(digest.to_hex())
    }

    pub(super) fn manifest_path(&self, digest: &TreeDigest) -> PathBuf {
        self.home.join("manifests").join(digest.to_hex())
    }

    /// Stores the directory messages of a tree that was composed. The trees and files that it names need not be
    /// there yet.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn put_tree(&self, tree: &EncodedTree) -> Result<TreeRef, StoreError> {
        // The top level comes last: where it is, the others are.
        let (root, rest): (Vec<_>, Vec<_>) = tree
            .levels
            .iter()
            .partition(|(digest, _)| **digest == tree.root.digest);
        for (_, bytes) in rest.into_iter().chain(root) {
            self.put_bytes(bytes)?;
        }
        Ok(tree.root)
    }

    pub(super) fn put_levels(&self, tree: &Tree) -> Result<(), StoreError> {
        let levels: BTreeMap<_, _> = tree
            .levels()
            .map(|(digest, level)| (*digest, level.encode()))
            .collect();
        self.put_tree(&EncodedTree {
            root: tree.root(),
            levels,
        })?;
        Ok(())
    }

    /// Whether the store has the tree, judged by its top level: what is cheap to know.
    pub fn has_tree(&self, tree: &TreeRef) -> bool {
        self.manifest_path(&tree.digest).exists() || self.has_blob(&tree.message())
    }

    /// One level of a tree, checked. `None`: the store does not have it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn read_directory(&self, tree: &TreeRef) -> Result<Option<Directory>, StoreError> {
        let Some(bytes) = self.read_blob(&tree.message())? else {
            return Ok(None);
        };
        Directory::decode(&bytes)
            .map(Some)
            .map_err(|source| self.not_a_tree(&tree.digest, source))
    }

    fn not_a_tree(&self, digest: &TreeDigest, source: TreeError) -> StoreError {
        StoreError::Tree {
            path: self.blob_file(&message_digest(digest), false),
            source,
        }
    }

    /// All levels of a tree, checked. `None`: the store does not have it, or not all of it.
    ///
    /// # Errors
    /// The store cannot be read, or what has that name is no tree.
    pub fn read_tree(&self, tree: &TreeRef) -> Result<Option<Tree>, StoreError> {
        if let Some(manifest) = self.read_manifest(&tree.digest)? {
            return Ok(Some(manifest.tree));
        }
        enum Stop {
            Store(StoreError),
            Missing,
            Tree(TreeError),
        }
        impl From<TreeError> for Stop {
            fn from(error: TreeError) -> Self {
                Self::Tree(error)
            }
        }
        let loaded = Tree::load(*tree, &mut |level| {
            self.read_directory(level)
                .map_err(Stop::Store)?
                .ok_or(Stop::Missing)
        });
        match loaded {
            Ok(tree) => Ok(Some(tree)),
            Err(Stop::Missing) => Ok(None),
            Err(Stop::Store(error)) => Err(error),
            Err(Stop::Tree(source)) => Err(self.not_a_tree(&tree.digest, source)),
        }
    }

    pub(super) fn is_materialised(&self, tree: &TreeRef) -> bool {
        self.manifest_path(&tree.digest).exists()
    }

    pub(super) fn manifest_tree(&self, digest: &TreeDigest) -> Result<Option<Tree>, StoreError> {
        Ok(self.read_manifest(digest)?.map(|manifest| manifest.tree))
    }

    /// Checks a materialised tree without relying on remembered digests: `read` has those of files that were just
    /// read. What is damaged is reported and discarded.
    pub(super) fn verify_tree_fully(
        &self,
        digest: &TreeDigest,
        read: &HashMap<(u64, u64), BlobDigest>,
    ) -> Result<(), StoreError> {
        let path = self.tree_path(digest);
        let finding = match self.read_manifest(digest)? {
            None => Finding::Wrong(String::new()),
            Some(manifest) => self.inspect(&manifest.tree, &path, None, Some(read))?,
        };
        if let Finding::Wrong(entry) = finding {
            self.discard_tree(digest, &entry)?;
        }
        Ok(())
    }

    fn read_manifest(&self, digest: &TreeDigest) -> Result<Option<Manifest>, StoreError> {
        let path = self.manifest_path(digest);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("read", &path, error)),
        };
        // A broken manifest is none: the tree is looked through and gets a new one.
        Ok(Manifest::decode(&bytes, digest))
    }

    fn write_manifest(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let path = self.manifest_path(&manifest.tree.root().digest);
        let scratch = self.scratch();
        std::fs::write(&scratch, manifest.encode())
            .and_then(|()| std::fs::rename(&scratch, &path))
            .map_err(|error| StoreError::io("write", &path, error))
    }

    /// The directory on the disk that holds a tree, made from blobs if it is not there, and checked: for mounting
    /// read-only; it must not be written to.
    ///
    /// # Errors
    /// [`StoreError::MissingTree`] or [`StoreError::MissingBlob`] if it has to be made first; else the disk.
    pub fn materialize(&self, tree: &TreeRef) -> Result<PathBuf, StoreError> {
        match self.verify_tree(tree) {
            Ok(path) => return Ok(path),
            Err(StoreError::MissingTree(_) | StoreError::CorruptTree { .. }) => {}
            Err(error) => return Err(error),
        }
        let closed = self
            .read_tree(tree)?
            .ok_or(StoreError::MissingTree(tree.digest))?;
        let entries = closed.expanded_entries();
        if entries > MOST_ENTRIES {
            return Err(StoreError::TreeTooLarge {
                digest: tree.digest,
                entries,
                limit: MOST_ENTRIES,
            });
        }
        let scratch = self.scratch();
        let made = self
            .build(&closed, &scratch)
            .and_then(|()| self.place(&closed, &scratch));
        if made.is_err() {
            let _ = disk::remove_tree(&scratch);
        }
        made
    }

    /// Writes a tree out as a private copy at `dest`, which must not exist: to be written to, or to be seen by a
    /// process that could change what it is given. Blocks are shared where the file system can.
    ///
    /// # Errors
    /// As [`Store::materialize`].
    pub fn materialize_copy(&self, tree: &TreeRef, dest: &Path) -> Result<(), StoreError> {
        let source = self.materialize(tree)?;
        let closed = self
            .read_tree(tree)?
            .ok_or(StoreError::MissingTree(tree.digest))?;
        let root = disk::open_directory(&source)
            .map_err(|error| StoreError::io("read", &source, error))?;
        copy_level(&closed, closed.root_directory(), &root, &source, dest)
    }

    /// Checks a materialised tree and gives its path. What this process has checked once is not looked at again.
    ///
    /// # Errors
    /// [`StoreError::MissingTree`] if it is not materialised; [`StoreError::CorruptTree`] if it is damaged, in which
    /// case it was discarded.
    pub fn verify_tree(&self, tree: &TreeRef) -> Result<PathBuf, StoreError> {
        let path = self.tree_path(&tree.digest);
        if unpoisoned(&self.checked).contains(&tree.digest) {
            return Ok(path);
        }
        let Some(manifest) = self.read_manifest(&tree.digest)? else {
            return Err(StoreError::MissingTree(tree.digest));
        };
        match self.inspect(&manifest.tree, &path, Some(&manifest.directories), None)? {
            Finding::Intact {
                directories,
                recorded,
            } => {
                if recorded {
                    self.touch(&self.manifest_path(&tree.digest));
                } else {
                    self.write_manifest(&Manifest {
                        directories,
                        ..manifest
                    })?;
                }
                unpoisoned(&self.checked).insert(tree.digest);
                Ok(path)
            }
            Finding::Wrong(entry) => {
                self.discard_tree(&tree.digest, &entry)?;
                Err(StoreError::CorruptTree {
                    digest: tree.digest,
                    entry,
                })
            }
        }
    }

    /// Opens a file of a materialised tree. Call [`Store::verify_tree`] or [`Store::materialize`] before.
    ///
    /// # Errors
    /// The tree is not materialised, or has no such file.
    pub fn open_tree_file(
        &self,
        tree: &TreeRef,
        path: &RelPath,
    ) -> Result<std::fs::File, StoreError> {
        let root = self.verify_tree(tree)?;
        let at = root.join(path.as_str());
        let fail = |error: std::io::Error| StoreError::io("open", &at, error);
        let mut parent = disk::open_directory(&root).map_err(fail)?;
        let mut parts = path.components().peekable();
        loop {
            let Some(part) = parts.next() else {
                return Err(fail(rustix::io::Errno::NOENT.into()));
            };
            if parts.peek().is_none() {
                return disk::open_file_at(&parent, part).map_err(fail);
            }
            parent = disk::open_directory_at(&parent, part).map_err(fail)?;
        }
    }

    /// Gives every file of a materialised tree a name among the blobs, as a remote cache needs it.
    ///
    /// # Errors
    /// The tree is not materialised, or the store cannot be written.
    pub fn link_blobs_of_tree(&self, tree: &TreeRef) -> Result<(), StoreError> {
        let Some(closed) = self.read_tree(tree)? else {
            return Err(StoreError::MissingTree(tree.digest));
        };
        for (path, blob, executable) in closed.files() {
            if self.has_blob_as(&blob, executable) {
                continue;
            }
            let path = RelPath::new(path).map_err(|_| StoreError::MissingTree(tree.digest))?;
            let file = self.open_tree_file(tree, &path)?;
            if self.put_copy(&file, Path::new(path.as_str()), executable)? != blob {
                return Err(StoreError::MissingBlob(blob.digest));
            }
        }
        Ok(())
    }

    fn discard_tree(&self, digest: &TreeDigest, entry: &str) -> Result<(), StoreError> {
        self.report(StoreEvent::CorruptTree {
            digest: *digest,
            entry: entry.to_owned(),
        });
        let manifest = self.manifest_path(digest);
        match std::fs::remove_file(&manifest) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io("discard", &manifest, error));
            }
            _ => {}
        }
        self.move_away(&self.tree_path(digest))
    }

    /// Takes a directory out of the way at once, and removes it then.
    pub(super) fn move_away(&self, path: &Path) -> Result<(), StoreError> {
        let scratch = self.scratch();
        match std::fs::rename(path, &scratch) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StoreError::io("discard", path, error)),
            Ok(()) => {
                disk::remove_tree(&scratch).map_err(|error| StoreError::io("discard", path, error))
            }
        }
    }

    /// Makes a tree's directories, links and files at `path`.
    fn build(&self, tree: &Tree, path: &Path) -> Result<(), StoreError> {
        let fail = |error: std::io::Error| StoreError::io("write", path, error);
        std::fs::create_dir(path).map_err(fail)?;
        let root = disk::open_directory(path).map_err(fail)?;
        self.build_level(tree, tree.root_directory(), path, &root, None)
    }

    /// `near` is the same directory in a tree that is materialised and checked: it may have files that are nowhere
    /// else.
    fn build_level(
        &self,
        tree: &Tree,
        directory: &Directory,
        path: &Path,
        fd: &OwnedFd,
        near: Option<&Path>,
    ) -> Result<(), StoreError> {
        let fail =
            |name: &str, error: std::io::Error| StoreError::io("write", &path.join(name), error);
        for (name, entry) in directory.iter() {
            match entry {
                Entry::File { blob, executable } => {
                    let made = self.link_blob(blob, *executable, fd, name, path)?
                        || match near {
                            None => false,
                            Some(near) => self
                                .link_file(&near.join(name), blob, *executable, fd, name)
                                .map_err(|error| fail(name, error))?,
                        };
                    if !made {
                        return Err(StoreError::MissingBlob(blob.digest));
                    }
                }
                Entry::Symlink { target } => {
                    rustix::fs::symlinkat(target.as_str(), fd, name)
                        .map_err(|error| fail(name, error.into()))?;
                    let _ = disk::normalise_link(fd, name);
                }
                Entry::Directory(below_ref) => {
                    let below = tree
                        .level(&below_ref.digest)
                        .ok_or(StoreError::MissingTree(below_ref.digest))?;
                    rustix::fs::mkdirat(fd, name, Mode::from_raw_mode(0o755))
                        .map_err(|error| fail(name, error.into()))?;
                    let child =
                        disk::open_directory_at(fd, name).map_err(|error| fail(name, error))?;
                    let near = match near {
                        Some(near) => Some(near.join(name)),
                        None if self.tree_path(&below_ref.digest).exists() => {
                            self.verify_tree(below_ref).ok()
                        }
                        None => None,
                    };
                    self.build_level(tree, below, &path.join(name), &child, near.as_deref())?;
                }
            }
        }
        disk::normalise(fd, 0o755).map_err(|error| fail("", error))
    }

    /// Moves a finished directory to the tree's place, unless an intact one is there, and writes its manifest.
    pub(super) fn place(&self, tree: &Tree, scratch: &Path) -> Result<PathBuf, StoreError> {
        let digest = tree.root().digest;
        let path = self.tree_path(&digest);
        for _ in 0..16 {
            match move_to_free_place(scratch, &path) {
                Ok(()) => break,
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::DirectoryNotEmpty | std::io::ErrorKind::AlreadyExists
                    ) =>
                {
                    // Another process was faster, or one was killed before it wrote the manifest.
                    let known = self.read_manifest(&digest)?;
                    let known = known.as_ref().map(|known| known.directories.as_slice());
                    if matches!(
                        self.inspect(tree, &path, known, None)?,
                        Finding::Intact { .. }
                    ) {
                        disk::remove_tree(scratch)
                            .map_err(|error| StoreError::io("remove", scratch, error))?;
                        break;
                    }
                    self.move_away(&path)?;
                }
                Err(error) => return Err(StoreError::io("write", &path, error)),
            }
        }
        // The move changed the identity of the top directory, so it is looked at where it is now.
        match self.inspect(tree, &path, None, None)? {
            Finding::Intact { directories, .. } => {
                self.write_manifest(&Manifest {
                    tree: tree.clone(),
                    directories,
                })?;
                unpoisoned(&self.checked).insert(digest);
                Ok(path)
            }
            Finding::Wrong(entry) => Err(StoreError::CorruptTree { digest, entry }),
        }
    }

    /// Compares a directory with the tree that it should be. `known` are the recorded identities of its directories,
    /// which spare reading those that are unchanged. With `read`, only these digests of files are relied on, not
    /// the remembered ones.
    fn inspect(
        &self,
        tree: &Tree,
        path: &Path,
        known: Option<&[DirectoryIdentity]>,
        read: Option<&HashMap<(u64, u64), BlobDigest>>,
    ) -> Result<Finding, StoreError> {
        let root = match disk::open_directory(path) {
            Ok(root) => root,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Finding::Wrong(String::new()));
            }
            Err(error) => return Err(StoreError::io("read", path, error)),
        };
        let mut inspection = Inspection {
            store: self,
            tree,
            known,
            read,
            directories: Vec::new(),
            recorded: known.is_some(),
        };
        let wrong = inspection
            .level(tree.root_directory(), &root, &mut String::new())
            .map_err(|error| StoreError::io("read", path, error))?;
        Ok(match wrong {
            Some(entry) => Finding::Wrong(entry),
            None => Finding::Intact {
                recorded: inspection.recorded
                    && known.is_some_and(|known| known.len() == inspection.directories.len()),
                directories: inspection.directories,
            },
        })
    }
}

struct Inspection<'a> {
    store: &'a Store,
    tree: &'a Tree,
    known: Option<&'a [DirectoryIdentity]>,
    read: Option<&'a HashMap<(u64, u64), BlobDigest>>,
    directories: Vec<DirectoryIdentity>,
    recorded: bool,
}

impl Inspection<'_> {
    /// Looks at one directory and all below it. `Some`: the path of the first entry that is wrong.
    fn level(
        &mut self,
        directory: &Directory,
        fd: &OwnedFd,
        path: &mut String,
    ) -> std::io::Result<Option<String>> {
        let index = self.directories.len();
        let mut identity = directory_identity(fd)?;
        let unchanged = self
            .known
            .is_some_and(|known| known.get(index) == Some(&identity));
        if !unchanged {
            self.recorded = false;
            let names = disk::names(fd)?;
            let expected = directory.iter().map(|(name, _)| name.as_bytes());
            if !expected.eq(names.iter().map(Vec::as_slice)) {
                return Ok(Some(path.clone()));
            }
            let stat = rustix::fs::fstat(fd)?;
            let wanted = Identity::from(&stat).mtime_ns == disk::MTIME_SECONDS * 1_000_000_000;
            if stat.st_mode & 0o7777 != 0o755 || !wanted {
                disk::normalise(fd, 0o755)?;
                identity = directory_identity(fd)?;
            }
        }
        self.directories.push(identity);
        for (name, entry) in directory.iter() {
            let length = path.len();
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(name);
            let right = match entry {
                Entry::File { blob, executable } => self.file(fd, name, blob, *executable)?,
                // A link cannot be changed, only replaced, which would have shown in the directory.
                Entry::Symlink { .. } if unchanged => true,
                Entry::Symlink { target } => rustix::fs::readlinkat(fd, name, Vec::new())
                    .is_ok_and(|found| found.as_bytes() == target.as_bytes()),
                Entry::Directory(child) => {
                    match (
                        self.tree.level(&child.digest),
                        disk::open_directory_at(fd, name),
                    ) {
                        (Some(below), Ok(child)) => {
                            let wrong = self.level(below, &child, path)?;
                            if wrong.is_some() {
                                return Ok(wrong);
                            }
                            true
                        }
                        _ => false,
                    }
                }
            };
            if !right {
                return Ok(Some(path.clone()));
            }
            path.truncate(length);
        }
        Ok(None)
    }

    fn file(
        &self,
        fd: &OwnedFd,
        name: &str,
        blob: &BlobRef,
        executable: bool,
    ) -> std::io::Result<bool> {
        let Some(stat) = disk::stat_at(fd, name)? else {
            return Ok(false);
        };
        let identity = Identity::from(&stat);
        if disk::kind(&stat) != FileType::RegularFile || identity.size_bytes != blob.size_bytes {
            return Ok(false);
        }
        let mode = disk::file_mode(executable);
        let right_mode = stat.st_mode & 0o7777 == mode;
        let known = match self.read {
            None => self.store.memo.lookup(&identity),
            Some(read) => read.get(&(identity.device, identity.inode)).copied(),
        };
        if right_mode && known == Some(blob.digest) {
            return Ok(true);
        }
        if !right_mode {
            rustix::fs::chmodat(fd, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
        }
        let file = disk::open_file_at(fd, name)?;
        // An answer of the disk that the bytes are lost (EIO) is as good as wrong bytes.
        if !disk::hash(&file, blob.size_bytes).is_ok_and(|(digest, _)| digest == blob.digest) {
            return Ok(false);
        }
        if !right_mode || identity.mtime_ns != disk::MTIME_SECONDS * 1_000_000_000 {
            disk::normalise(&file, mode)?;
        }
        let stat = rustix::fs::fstat(&file)?;
        self.store
            .memo
            .record_owned(&Identity::from(&stat), blob.digest);
        Ok(true)
    }
}

/// Copies one level of a materialised tree, and all below it, to `dest`.
fn copy_level(
    tree: &Tree,
    directory: &Directory,
    from: &OwnedFd,
    source: &Path,
    dest: &Path,
) -> Result<(), StoreError> {
    let fail = |error: std::io::Error| StoreError::io("write", dest, error);
    std::fs::create_dir(dest).map_err(fail)?;
    let to = disk::open_directory(dest).map_err(fail)?;
    for (name, entry) in directory.iter() {
        match entry {
            Entry::File { executable, .. } => {
                let file = disk::open_file_at(from, name)
                    .map_err(|error| StoreError::io("read", &source.join(name), error))?;
                let copy = disk::create_file_at(&to, name).map_err(fail)?;
                disk::copy(&file, &copy)
                    .and_then(|()| disk::normalise(&copy, disk::file_mode(*executable)))
                    .map_err(|error| StoreError::io("write", &dest.join(name), error))?;
            }
            Entry::Symlink { target } => {
                rustix::fs::symlinkat(target.as_str(), &to, name)
                    .map_err(|error| fail(error.into()))?;
                let _ = disk::normalise_link(&to, name);
            }
            Entry::Directory(child) => {
                let below = tree
                    .level(&child.digest)
                    .ok_or(StoreError::MissingTree(child.digest))?;
                let at = source.join(name);
                let child = disk::open_directory_at(from, name)
                    .map_err(|error| StoreError::io("read", &at, error))?;
                copy_level(tree, below, &child, &at, &dest.join(name))?;
            }
        }
    }
    disk::normalise(&to, 0o755).map_err(fail)
}
