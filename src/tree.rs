//! Directory trees as the Remote Execution API encodes them (`Directory`): one message per level, entries sorted by
//! name, sub-directories named by digest. A [`TreeDigest`] is the digest of the top level.
//!
//! Everything here is a value: nothing is read from a disk. [`Directory`] is one level, [`Tree`] a closed tree of
//! which every level is known, and [`TreeBuilder`] composes an input tree from files at paths, symbolic links, empty
//! directories and whole sub-trees of which only the digest needs to be known.
//!
//! A directory is a map from name to entry, so the order in which entries were added cannot reach the bytes, and
//! a name cannot be there twice. Canonical form as in [`crate::reapi`]; modes, times and owners are absent on purpose,
//! except for one bit per file: whether it may be executed.

use std::collections::BTreeMap;

use prost::Message as _;

use crate::digest::{BlobDigest, TreeDigest};
use crate::path::RelPath;
use crate::reapi;

/// How many levels a tree may have.
pub const MAX_DEPTH: usize = 256;
/// How many bytes the name of an entry may have (Linux `NAME_MAX`).
pub const MAX_NAME_BYTES: usize = 255;
/// How many bytes the target of a symbolic link may have (Linux `PATH_MAX`, without the final NUL).
pub const MAX_TARGET_BYTES: usize = 4095;

/// A blob: the digest of its content, and its size.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct BlobRef {
    /// BLAKE3 of the content.
    pub digest: BlobDigest,
    /// Size of the content in bytes.
    pub size_bytes: u64,
}

impl BlobRef {
    /// The blob whose content is `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            digest: BlobDigest::of(bytes),
            size_bytes: bytes.len() as u64,
        }
    }
}

impl From<BlobRef> for reapi::Digest {
    fn from(blob: BlobRef) -> Self {
        Self::of_blob(&blob.digest, blob.size_bytes)
    }
}

impl TryFrom<&reapi::Digest> for BlobRef {
    type Error = reapi::DigestError;

    fn try_from(digest: &reapi::Digest) -> Result<Self, Self::Error> {
        let (digest, size_bytes) = digest.to_blob()?;
        Ok(Self { digest, size_bytes })
    }
}

/// A whole directory tree: the digest of its top level's canonical bytes, and how many bytes those are (not the size
/// of the files).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct TreeRef {
    /// BLAKE3 of the canonical bytes of the top level.
    pub digest: TreeDigest,
    /// Size of those bytes.
    pub size_bytes: u64,
}

impl TreeRef {
    /// The top-level message as a blob: that is how it is stored and sent.
    pub fn message(&self) -> BlobRef {
        BlobRef {
            digest: BlobDigest::from_bytes(*self.digest.as_bytes()),
            size_bytes: self.size_bytes,
        }
    }

    fn of_canonical(bytes: &[u8]) -> Self {
        Self {
            digest: TreeDigest::of_canonical(bytes),
            size_bytes: bytes.len() as u64,
        }
    }
}

impl From<TreeRef> for reapi::Digest {
    fn from(tree: TreeRef) -> Self {
        Self::of_tree(&tree.digest, tree.size_bytes)
    }
}

impl TryFrom<&reapi::Digest> for TreeRef {
    type Error = reapi::DigestError;

    fn try_from(digest: &reapi::Digest) -> Result<Self, Self::Error> {
        let (digest, size_bytes) = digest.to_tree()?;
        Ok(Self { digest, size_bytes })
    }
}

/// Why something is not a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Two different things are to be at one path.
    #[error("`{path}` is declared twice, as {first} and as {second}")]
    Conflict {
        /// The path, from the root of the tree.
        path: String,
        /// What was there.
        first: &'static str,
        /// What was to be put there.
        second: &'static str,
    },
    /// A path leads through something that is not an open directory.
    #[error("`{path}` cannot be put into the tree: `{parent}` is {what}")]
    NotADirectory {
        /// The path that was to be added.
        path: String,
        /// The part of it that is in the way.
        parent: String,
        /// What that is.
        what: &'static str,
    },
    /// A name that cannot be the name of an entry.
    #[error("`{name}` cannot be the name of a directory entry: {why}")]
    Name {
        /// The name, shortened.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The target of a symbolic link is empty, too long, or contains a NUL byte.
    #[error("the target of the symbolic link `{name}` is empty, too long, or contains a NUL byte")]
    Target {
        /// Name of the link.
        name: String,
    },
    /// More than [`MAX_DEPTH`] levels.
    #[error("the directory tree has more than {MAX_DEPTH} levels")]
    TooDeep,
    /// The bytes are not a `Directory` or `Tree` message.
    #[error("the bytes are not a directory message")]
    Decode(#[from] prost::DecodeError),
    /// The bytes are a `Directory` message, but not in canonical form.
    #[error("the directory message is not in canonical form: {0}")]
    NotCanonical(&'static str),
    /// An entry's digest is absent or malformed.
    #[error("the entry `{name}` of a directory message has no usable digest")]
    Digest {
        /// Name of the entry.
        name: String,
        /// What is wrong with the digest.
        #[source]
        source: reapi::DigestError,
    },
    /// A level that the tree names is not in the message.
    #[error("the tree is incomplete: the directory `{0}` is not part of it")]
    MissingLevel(TreeDigest),
}

impl TreeError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Conflict { path, .. } | Self::NotADirectory { path, .. } => Some(format!(
                "two inputs of one action claim `{path}`: give one of them another place"
            )),
            Self::Name { .. } | Self::Target { .. } => {
                Some("rename the file, or exclude it from the package".to_owned())
            }
            _ => None,
        }
    }
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// A regular file.
    File {
        /// Its content.
        blob: BlobRef,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A sub-directory.
    Directory(TreeRef),
    /// A symbolic link, never followed.
    Symlink {
        /// Its target, as it is.
        target: String,
    },
}

fn check_name(name: &str) -> Result<(), TreeError> {
    let fail = |why| {
        Err(TreeError::Name {
            name: name.chars().take(80).collect(),
            why,
        })
    };
    match name {
        "" => fail("it is empty"),
        "." | ".." => fail("it is `.` or `..`"),
        _ if name.len() > MAX_NAME_BYTES => fail("it is longer than 255 bytes"),
        _ if name.contains('/') => fail("it contains a slash"),
        _ if name.contains('\0') => fail("it contains a NUL byte"),
        _ => Ok(()),
    }
}

fn check_target(name: &str, target: &str) -> Result<(), TreeError> {
    if target.is_empty() || target.len() > MAX_TARGET_BYTES || target.contains('\0') {
        return Err(TreeError::Target {
            name: name.to_owned(),
        });
    }
    Ok(())
}

/// One level of a tree: entries by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    entries: BTreeMap<String, Entry>,
}

impl Directory {
    /// A directory without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry. Adding what is there already changes nothing.
    ///
    /// # Errors
    /// The name or target is malformed, or the name is taken by something else.
    pub fn insert(&mut self, name: &str, entry: Entry) -> Result<(), TreeError> {
        check_name(name)?;
        if let Entry::Symlink { target } = &entry {
            check_target(name, target)?;
        }
        match self.entries.get(name) {
            None => {
                self.entries.insert(name.to_owned(), entry);
                Ok(())
            }
            Some(present) if *present == entry => Ok(()),
            Some(present) => Err(TreeError::Conflict {
                path: name.to_owned(),
                first: describe(present),
                second: describe(&entry),
            }),
        }
    }

    /// The entry of that name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// All entries, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries
            .iter()
            .map(|(name, entry)| (name.as_str(), entry))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The wire form, canonical.
    pub fn to_message(&self) -> reapi::Directory {
        let mut message = reapi::Directory::default();
        for (name, entry) in &self.entries {
            let name = name.clone();
            match entry {
                Entry::File { blob, executable } => message.files.push(reapi::FileNode {
                    name,
                    digest: Some((*blob).into()),
                    is_executable: *executable,
                    node_properties: None,
                }),
                Entry::Directory(tree) => message.directories.push(reapi::DirectoryNode {
                    name,
                    digest: Some((*tree).into()),
                }),
                Entry::Symlink { target } => message.symlinks.push(reapi::SymlinkNode {
                    name,
                    target: target.clone(),
                    node_properties: None,
                }),
            }
        }
        message
    }

    /// Reads the wire form. Attributes (`node_properties`) are dropped, so the digest of the value that is returned
    /// may differ from that of the message.
    ///
    /// # Errors
    /// Names are malformed, repeated or not sorted, or a digest is not one.
    pub fn from_message(message: &reapi::Directory) -> Result<Self, TreeError> {
        let sorted = |names: &mut dyn Iterator<Item = &String>| names.is_sorted();
        if !sorted(&mut message.files.iter().map(|node| &node.name))
            || !sorted(&mut message.directories.iter().map(|node| &node.name))
            || !sorted(&mut message.symlinks.iter().map(|node| &node.name))
        {
            return Err(TreeError::NotCanonical("entries are not sorted by name"));
        }
        let mut directory = Self::new();
        let mut add = |name: &str, entry: Entry| {
            if directory.entries.contains_key(name) {
                return Err(TreeError::NotCanonical("two entries have the same name"));
            }
            directory.insert(name, entry)
        };
        for node in &message.files {
            let blob = wire_digest(&node.name, node.digest.as_ref())?;
            add(
                &node.name,
                Entry::File {
                    blob,
                    executable: node.is_executable,
                },
            )?;
        }
        for node in &message.directories {
            let tree = wire_digest(&node.name, node.digest.as_ref())?;
            add(&node.name, Entry::Directory(tree))?;
        }
        for node in &message.symlinks {
            let target = node.target.clone();
            add(&node.name, Entry::Symlink { target })?;
        }
        Ok(directory)
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.to_message().encode_to_vec()
    }

    /// Reads canonical bytes: encoding the result gives the same bytes again.
    ///
    /// # Errors
    /// The bytes are no `Directory`, or one in another than the canonical form.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        let directory = Self::from_message(&reapi::Directory::decode(bytes)?)?;
        if directory.encode() != bytes {
            return Err(TreeError::NotCanonical(
                "it holds more than names, digests and targets",
            ));
        }
        Ok(directory)
    }

    /// The tree whose top level this is.
    pub fn tree_ref(&self) -> TreeRef {
        TreeRef::of_canonical(&self.encode())
    }
}

fn wire_digest<'a, T>(name: &str, digest: Option<&'a reapi::Digest>) -> Result<T, TreeError>
where
    T: TryFrom<&'a reapi::Digest, Error = reapi::DigestError>,
{
    digest
        .ok_or(reapi::DigestError::Absent)
        .and_then(T::try_from)
        .map_err(|source| TreeError::Digest {
            name: name.chars().take(80).collect(),
            source,
        })
}

fn describe(entry: &Entry) -> &'static str {
    match entry {
        Entry::File {
            executable: false, ..
        } => "a file",
        Entry::File {
            executable: true, ..
        } => "an executable file",
        Entry::Directory(_) => "a directory",
        Entry::Symlink { .. } => "a symbolic link",
    }
}

/// A closed tree: every level that it names is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    root: TreeRef,
    levels: BTreeMap<TreeDigest, Directory>,
}

impl Tree {
    /// The tree below `root`, whose levels `load` gives.
    ///
    /// # Errors
    /// What `load` fails with, or [`TreeError::TooDeep`] made into it.
    pub fn load<E: From<TreeError>>(
        root: TreeRef,
        load: &mut dyn FnMut(&TreeRef) -> Result<Directory, E>,
    ) -> Result<Self, E> {
        let mut levels = BTreeMap::new();
        let mut waiting = vec![(root, 1)];
        while let Some((tree, depth)) = waiting.pop() {
            if depth > MAX_DEPTH {
                return Err(TreeError::TooDeep.into());
            }
            if levels.contains_key(&tree.digest) {
                continue;
            }
            let level = load(&tree)?;
            waiting.extend(level.iter().filter_map(|(_, entry)| match entry {
                Entry::Directory(child) => Some((*child, depth + 1)),
                _ => None,
            }));
            levels.insert(tree.digest, level);
        }
        let tree = Self { root, levels };
        tree.check_depth()?;
        Ok(tree)
    }

    /// Levels are visited once above, at the depth where they were met first; this looks at the longest way down.
    fn check_depth(&self) -> Result<(), TreeError> {
        fn depth(
            tree: &Tree,
            digest: &TreeDigest,
            above: usize,
            known: &mut BTreeMap<TreeDigest, usize>,
        ) -> Result<usize, TreeError> {
            if above > MAX_DEPTH {
                return Err(TreeError::TooDeep);
            }
            if let Some(depth) = known.get(digest) {
                return Ok(*depth);
            }
            let level = tree
                .levels
                .get(digest)
                .ok_or(TreeError::MissingLevel(*digest))?;
            let mut deepest = 0;
            for (_, entry) in level.iter() {
                if let Entry::Directory(child) = entry {
                    deepest = deepest.max(depth(tree, &child.digest, above + 1, known)?);
                }
            }
            known.insert(*digest, deepest + 1);
            Ok(deepest + 1)
        }
        let depth = depth(self, &self.root.digest, 1, &mut BTreeMap::new())?;
        if depth > MAX_DEPTH {
            return Err(TreeError::TooDeep);
        }
        Ok(())
    }

    /// The digest and size of the top level.
    pub fn root(&self) -> TreeRef {
        self.root
    }

    /// The top level itself.
    pub fn root_directory(&self) -> &Directory {
        // The constructors put the root among the levels.
        &self.levels[&self.root.digest]
    }

    /// The level of that digest.
    pub fn level(&self, digest: &TreeDigest) -> Option<&Directory> {
        self.levels.get(digest)
    }

    /// Every level once, by digest.
    pub fn levels(&self) -> impl Iterator<Item = (&TreeDigest, &Directory)> {
        self.levels.iter()
    }

    /// What is at `path`; symbolic links are not followed.
    pub fn get(&self, path: &RelPath) -> Option<&Entry> {
        let mut level = self.root_directory();
        let mut parts = path.components().peekable();
        while let Some(name) = parts.next() {
            match level.get(name)? {
                entry if parts.peek().is_none() => return Some(entry),
                Entry::Directory(child) => level = self.levels.get(&child.digest)?,
                _ => return None,
            }
        }
        None
    }

    /// How many entries the tree has once it is written out, at every level. A level that several directories share
    /// counts once for each, so a message of a few bytes may have more than fit on a disk: look before writing out.
    pub fn expanded_entries(&self) -> u64 {
        fn count(tree: &Tree, digest: &TreeDigest, known: &mut BTreeMap<TreeDigest, u64>) -> u64 {
            if let Some(count) = known.get(digest) {
                return *count;
            }
            let mut total = 0_u64;
            for (_, entry) in tree
                .levels
                .get(digest)
                .into_iter()
                .flat_map(Directory::iter)
            {
                total = total.saturating_add(1);
                if let Entry::Directory(child) = entry {
                    total = total.saturating_add(count(tree, &child.digest, known));
                }
            }
            known.insert(*digest, total);
            total
        }
        count(self, &self.root.digest, &mut BTreeMap::new())
    }

    /// Calls `visit` with the path of every entry at every level, a directory before what is in it, names in order.
    ///
    /// # Errors
    /// The first that `visit` returns.
    pub fn walk<E>(&self, visit: &mut dyn FnMut(&str, &Entry) -> Result<(), E>) -> Result<(), E> {
        fn level<E>(
            tree: &Tree,
            directory: &Directory,
            path: &mut String,
            visit: &mut dyn FnMut(&str, &Entry) -> Result<(), E>,
        ) -> Result<(), E> {
            for (name, entry) in directory.iter() {
                let length = path.len();
                if !path.is_empty() {
                    path.push('/');
                }
                path.push_str(name);
                visit(path, entry)?;
                if let Entry::Directory(child) = entry
                    && let Some(directory) = tree.levels.get(&child.digest)
                {
                    level(tree, directory, path, visit)?;
                }
                path.truncate(length);
            }
            Ok(())
        }
        level(self, self.root_directory(), &mut String::new(), visit)
    }

    /// Every regular file: its path from the root, its content and whether it may be executed; sorted by level, then
    /// by name.
    pub fn files(&self) -> Vec<(String, BlobRef, bool)> {
        let mut files = Vec::new();
        let Ok(()) = self.walk::<std::convert::Infallible>(&mut |path, entry| {
            if let Entry::File { blob, executable } = entry {
                files.push((path.to_owned(), *blob, *executable));
            }
            Ok(())
        });
        files
    }

    /// The wire form: every level once, parents before children (`is_topologically_sorted` holds), else in the order
    /// of names, so equal trees give equal bytes.
    pub fn to_message(&self) -> reapi::Tree {
        // Reverse post-order of a depth-first walk is a topological order.
        fn visit<'a>(
            tree: &'a Tree,
            digest: &TreeDigest,
            seen: &mut std::collections::BTreeSet<TreeDigest>,
            order: &mut Vec<&'a Directory>,
        ) {
            let Some(level) = tree.levels.get(digest) else {
                return;
            };
            if !seen.insert(*digest) {
                return;
            }
            let children: Vec<_> = level
                .iter()
                .filter_map(|(_, entry)| match entry {
                    Entry::Directory(child) => Some(child.digest),
                    _ => None,
                })
                .collect();
            for child in children.iter().rev() {
                visit(tree, child, seen, order);
            }
            order.push(level);
        }
        let mut order = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        visit(self, &self.root.digest, &mut seen, &mut order);
        let mut levels = order.into_iter().rev().map(Directory::to_message);
        reapi::Tree {
            root: levels.next(),
            children: levels.collect(),
        }
    }

    /// Reads the wire form, from anybody. Attributes are dropped and the digests of levels that had any are computed
    /// anew, so that the result is canonical whatever the sender put in.
    ///
    /// # Errors
    /// A level is malformed or absent, or there are too many on top of each other.
    pub fn from_message(message: &reapi::Tree) -> Result<Self, TreeError> {
        struct Reader<'a> {
            given: BTreeMap<TreeDigest, &'a reapi::Directory>,
            read: BTreeMap<TreeDigest, TreeRef>,
            levels: BTreeMap<TreeDigest, Directory>,
        }
        impl Reader<'_> {
            fn read(
                &mut self,
                message: &reapi::Directory,
                depth: usize,
            ) -> Result<TreeRef, TreeError> {
                if depth > MAX_DEPTH {
                    return Err(TreeError::TooDeep);
                }
                let mut level = Directory::from_message(message)?;
                for entry in level.entries.values_mut() {
                    let Entry::Directory(child) = entry else {
                        continue;
                    };
                    let claimed = child.digest;
                    if let Some(known) = self.read.get(&claimed) {
                        *child = *known;
                        continue;
                    }
                    let message = *self
                        .given
                        .get(&claimed)
                        .ok_or(TreeError::MissingLevel(claimed))?;
                    *child = self.read(message, depth + 1)?;
                    self.read.insert(claimed, *child);
                }
                let tree = level.tree_ref();
                self.levels.insert(tree.digest, level);
                Ok(tree)
            }
        }
        let mut reader = Reader {
            given: message
                .children
                .iter()
                .map(|child| (TreeDigest::of_canonical(&child.encode_to_vec()), child))
                .collect(),
            read: BTreeMap::new(),
            levels: BTreeMap::new(),
        };
        let empty = reapi::Directory::default();
        let root = reader.read(message.root.as_ref().unwrap_or(&empty), 1)?;
        let tree = Self {
            root,
            levels: reader.levels,
        };
        tree.check_depth()?;
        Ok(tree)
    }

    /// Decodes an encoded `Tree` message, from anybody; see [`Tree::from_message`].
    ///
    /// # Errors
    /// As [`Tree::from_message`], or the bytes are no such message.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        Self::from_message(&reapi::Tree::decode(bytes)?)
    }
}

/// What [`TreeBuilder::encode`] makes: the tree's name, and the canonical bytes of every level that was composed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedTree {
    /// Digest and size of the top level.
    pub root: TreeRef,
    /// Canonical bytes of each composed level. Levels of mounted sub-trees are not among them.
    pub levels: BTreeMap<TreeDigest, Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Open(BTreeMap<String, Node>),
    Leaf(Entry),
}

impl Node {
    fn describe(&self) -> &'static str {
        match self {
            Self::Open(_) => "a directory",
            Self::Leaf(Entry::Directory(_)) => "a directory given by its digest",
            Self::Leaf(entry) => describe(entry),
        }
    }
}

/// Composes a tree from parts at paths. The order in which parts are added does not matter; parts that contradict
/// each other are an error, wherever they are.
///
/// A sub-tree mounted by digest is closed: nothing can be added beneath it, since its levels are not known here. One
/// that is loaded ([`TreeBuilder::merge`]) is open, and is merged with what else is put there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeBuilder {
    root: BTreeMap<String, Node>,
}

impl TreeBuilder {
    /// A tree without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a file at `path`.
    ///
    /// # Errors
    /// Something else is at `path` or in its way.
    pub fn file(
        &mut self,
        path: &RelPath,
        blob: BlobRef,
        executable: bool,
    ) -> Result<&mut Self, TreeError> {
        self.put(path, Node::Leaf(Entry::File { blob, executable }))
    }

    /// Puts a symbolic link at `path`.
    ///
    /// # Errors
    /// Something else is at `path` or in its way, or the target is malformed.
    pub fn symlink(&mut self, path: &RelPath, target: &str) -> Result<&mut Self, TreeError> {
        check_target(path.as_str(), target)?;
        let target = target.to_owned();
        self.put(path, Node::Leaf(Entry::Symlink { target }))
    }

    /// Makes sure that there is a directory at `path`; it may be empty.
    ///
    /// # Errors
    /// Something else is at `path` or in its way.
    pub fn directory(&mut self, path: &RelPath) -> Result<&mut Self, TreeError> {
        self.put(path, Node::Open(BTreeMap::new()))
    }

    /// Mounts a whole tree at `path` by its digest.
    ///
    /// # Errors
    /// Something else is at `path`, in its way or beneath it.
    pub fn subtree(&mut self, path: &RelPath, tree: TreeRef) -> Result<&mut Self, TreeError> {
        self.put(path, Node::Leaf(Entry::Directory(tree)))
    }

    /// Merges the entries of `tree` into the directory at `path` (`None`: the root), level by level.
    ///
    /// # Errors
    /// Two parts contradict each other.
    pub fn merge(&mut self, path: Option<&RelPath>, tree: &Tree) -> Result<&mut Self, TreeError> {
        if let Some(path) = path {
            self.directory(path)?;
        }
        let prefix = path.map_or(String::new(), |path| format!("{path}/"));
        tree.walk(&mut |below, entry| {
            let full = format!("{prefix}{below}");
            let path = RelPath::new(full).map_err(|_| TreeError::TooDeep)?;
            match entry {
                Entry::Directory(_) => self.directory(&path).map(|_| ()),
                leaf => self.put(&path, Node::Leaf(leaf.clone())).map(|_| ()),
            }
        })?;
        Ok(self)
    }

    fn put(&mut self, path: &RelPath, node: Node) -> Result<&mut Self, TreeError> {
        let mut level = &mut self.root;
        let mut parts = path.components().peekable();
        let (mut length, mut depth) = (0, 0);
        while let Some(name) = parts.next() {
            check_name(name)?;
            length += name.len() + 1;
            depth += 1;
            if depth >= MAX_DEPTH {
                return Err(TreeError::TooDeep);
            }
            if parts.peek().is_none() {
                match level.get(name) {
                    None => {
                        level.insert(name.to_owned(), node);
                    }
                    Some(present) if *present == node => {}
                    // An open directory that is declared (again) keeps what it has.
                    Some(Node::Open(_)) if matches!(&node, Node::Open(new) if new.is_empty()) => {}
                    Some(present) => {
                        return Err(TreeError::Conflict {
                            path: path.as_str().to_owned(),
                            first: present.describe(),
                            second: node.describe(),
                        });
                    }
                }
                break;
            }
            let next = level
                .entry(name.to_owned())
                .or_insert_with(|| Node::Open(BTreeMap::new()));
            level = match next {
                Node::Open(children) => children,
                leaf @ Node::Leaf(_) => {
                    return Err(TreeError::NotADirectory {
                        path: path.as_str().to_owned(),
                        parent: path.as_str()[..length - 1].to_owned(),
                        what: leaf.describe(),
                    });
                }
            };
        }
        Ok(self)
    }

    /// The digest of the tree, its size, and the canonical bytes of each level that was composed here.
    pub fn encode(&self) -> EncodedTree {
        fn level(
            children: &BTreeMap<String, Node>,
            levels: &mut BTreeMap<TreeDigest, Vec<u8>>,
        ) -> TreeRef {
            // Names and targets were checked when they were put in.
            let directory = Directory {
                entries: children
                    .iter()
                    .map(|(name, node)| {
                        let entry = match node {
                            Node::Leaf(entry) => entry.clone(),
                            Node::Open(children) => Entry::Directory(level(children, levels)),
                        };
                        (name.clone(), entry)
                    })
                    .collect(),
            };
            let bytes = directory.encode();
            let tree = TreeRef::of_canonical(&bytes);
            levels.insert(tree.digest, bytes);
            tree
        }
        let mut levels = BTreeMap::new();
        let root = level(&self.root, &mut levels);
        EncodedTree { root, levels }
    }
}

#[cfg(test)]
mod tests;
