//! What a build may know of the repository that its workspace lies in: a `.git` made anew, with nothing in it but that.
//!
//! A repository's own directory is no input: it holds credentials (`config`), programs (`hooks`), what was never meant to
//! be seen (stashes, other branches, reflogs), and bytes that differ between two clones of one commit. What programs ask
//! for while they build is little: the commit, its date, author and message, how many came before it, the branch, the
//! nearest tag, and whether files differ from what is committed. So this makes a repository that answers these and is the same
//! wherever the same is checked out:
//!
//! - `HEAD`, the branch that it is on, and the tags of commits before it;
//! - one pack with these commits, with the tags' objects and with the commit's directories, sorted; no file's content;
//! - an index with the entries of the real one, without times and owners. Those whose files are as they were committed are
//!   marked as not to be looked at, since an action does not see all files; the others are what `git status` finds changed.
//!   Files that nobody added do not count;
//! - a `config` that says what kind of repository it is, and nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use gix::ObjectId;
use gix::objs::{CommitRef, Kind, TagRef, TreeRefIter};
use gix_index::entry::{Flags, Mode, Stage, Stat, stat};

use super::error::chain;
use crate::path::RelPath;
use crate::store::{Store, StoreError};
use crate::tree::{TreeBuilder, TreeRef};

mod pack;

/// No more commits than these: what is older is left out, as from a shallow clone.
const MOST_COMMITS: usize = 100_000;
/// No more bytes of objects.
const MOST_BYTES: usize = 512 << 20;

/// A repository made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The tree of the directory `.git`, in the store.
    pub tree: TreeRef,
    /// The commit, in hexadecimal digits.
    pub commit: String,
    /// Whether files differ from it.
    pub modified: bool,
}

/// Why it cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The repository cannot be read.
    #[error("the git repository of `{}` cannot be read: {why}", .workspace.display())]
    Repository {
        /// The workspace.
        workspace: std::path::PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The store does not take it.
    #[error("what is known of the git repository cannot be stored")]
    Store(#[from] StoreError),
}

impl MetadataError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Repository { .. } => Some(
                "`git fsck` may tell what is wrong with it; `.git` is read because `kiln.toml` grants it (`git-metadata`)"
                    .to_owned(),
            ),
            Self::Store(error) => error.help(),
        }
    }
}

/// What a build may know of the repository that `directory` lies in; `None` if it lies in none, or in one without a commit.
///
/// # Errors
/// If the repository is damaged, or the store cannot be written.
pub fn metadata(store: &Store, directory: &Path) -> Result<Option<Metadata>, MetadataError> {
    let wrong = |why: String| MetadataError::Repository {
        workspace: directory.to_owned(),
        why,
    };
    let isolated = gix::open::Options::isolated;
    let trust = gix::sec::trust::Mapping {
        full: isolated(),
        reduced: isolated(),
    };
    let found = gix::ThreadSafeRepository::discover_opts(directory, Default::default(), trust);
    let Ok(repository) = found.map(|found| found.to_thread_local()) else {
        return Ok(None);
    };
    let Ok(head) = repository.head_id().map(gix::Id::detach) else {
        return Ok(None);
    };
    let files = Files::of(&repository, head).map_err(wrong)?;
    let mut tree = TreeBuilder::new();
    for directory in ["objects/pack", "refs/heads", "refs/tags"] {
        let path = RelPath::new(directory).map_err(|error| wrong(error.to_string()))?;
        tree.directory(&path)
            .map_err(|error| wrong(error.to_string()))?;
    }
    for (name, content) in &files.files {
        let blob = store.put_bytes(content)?;
        let path = RelPath::new(name.as_str()).map_err(|error| wrong(error.to_string()))?;
        tree.file(&path, blob, false)
            .map_err(|error| wrong(error.to_string()))?;
    }
    Ok(Some(Metadata {
        tree: store.put_tree(&tree.encode())?,
        commit: head.to_string(),
        modified: files.modified,
    }))
}

/// The files of a repository made anew.
struct Files {
    files: BTreeMap<String, Vec<u8>>,
    modified: bool,
}

impl Files {
    fn of(repository: &gix::Repository, head: ObjectId) -> Result<Self, String> {
        let mut objects = Objects::new(repository);
        objects.add_history(head)?;
        let tags = objects.add_tags()?;
        let committed = objects.add_directories(head)?;
        let (index, modified) = index(repository, &committed)?;
        let (pack, pack_index, name) = pack::write(&objects.objects)?;
        let mut files = BTreeMap::new();
        let config =
            "[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tlogallrefupdates = false\n";
        files.insert("config".to_owned(), config.as_bytes().to_vec());
        // What nobody added cannot be told from what is not part of the repository's files here.
        files.insert("info/exclude".to_owned(), b"*\n".to_vec());
        files.insert("index".to_owned(), index);
        files.insert(format!("objects/pack/pack-{name}.pack"), pack);
        files.insert(format!("objects/pack/pack-{name}.idx"), pack_index);
        if !objects.shallow.is_empty() {
            let lines = objects.shallow.iter().map(|id| format!("{id}\n"));
            files.insert("shallow".to_owned(), lines.collect::<String>().into_bytes());
        }
        let mut references = tags;
        let branch = repository.head_name().ok().flatten();
        let head_file = match branch {
            Some(branch) => {
                let name = branch.as_bstr().to_string();
                references.insert(name.clone(), (head, None));
                format!("ref: {name}\n")
            }
            None => format!("{head}\n"),
        };
        files.insert("HEAD".to_owned(), head_file.into_bytes());
        let mut packed = "# pack-refs with: peeled fully-peeled sorted \n".to_owned();
        for (name, (id, peeled)) in &references {
            packed.push_str(&format!("{id} {name}\n"));
            if let Some(peeled) = peeled {
                packed.push_str(&format!("^{peeled}\n"));
            }
        }
        files.insert("packed-refs".to_owned(), packed.into_bytes());
        Ok(Self { files, modified })
    }
}

/// References by name, with what they peel to where that is another object.
type References = BTreeMap<String, (ObjectId, Option<ObjectId>)>;

/// The objects that are shown.
struct Objects<'a> {
    repository: &'a gix::Repository,
    objects: BTreeMap<ObjectId, (Kind, Vec<u8>)>,
    shallow: BTreeSet<ObjectId>,
    bytes: usize,
}

impl<'a> Objects<'a> {
    fn new(repository: &'a gix::Repository) -> Self {
        Self {
            repository,
            objects: BTreeMap::new(),
            shallow: BTreeSet::new(),
            bytes: 0,
        }
    }

    fn add(&mut self, id: ObjectId) -> Result<Option<(Kind, Vec<u8>)>, String> {
        let Some(object) = self
            .repository
            .try_find_object(id)
            .map_err(|error| error.to_string())?
        else {
            return Ok(None);
        };
        let (kind, data) = (object.kind, object.data.clone());
        self.bytes += data.len();
        if self.bytes > MOST_BYTES {
            return Err("its history has too many bytes".to_owned());
        }
        self.objects.insert(id, (kind, data.clone()));
        Ok(Some((kind, data)))
    }

    /// The commit `head` and those before it. Where some are missing, or there are too many, it is cut off.
    fn add_history(&mut self, head: ObjectId) -> Result<(), String> {
        let mut waiting = VecDeque::from([head]);
        let mut seen = BTreeSet::from([head]);
        while let Some(id) = waiting.pop_front() {
            let Some((_, data)) = self.add(id)? else {
                return Err(format!("it has no commit {id}"));
            };
            let commit = CommitRef::from_bytes(&data, id.kind()).map_err(|error| chain(&error))?;
            let parents: Vec<ObjectId> = commit.parents().collect();
            let is_there = |parent: &ObjectId| {
                seen.contains(parent)
                    || self
                        .repository
                        .try_find_header(*parent)
                        .is_ok_and(|header| header.is_some())
            };
            if parents.iter().all(is_there) && seen.len() + parents.len() <= MOST_COMMITS {
                let new = parents.into_iter().filter(|parent| seen.insert(*parent));
                waiting.extend(new);
            } else {
                self.shallow.insert(id);
            }
        }
        Ok(())
    }

    /// The tags of the commits that are there.
    fn add_tags(&mut self) -> Result<References, String> {
        let mut found = References::new();
        let platform = self
            .repository
            .references()
            .map_err(|error| error.to_string())?;
        let tags = platform.tags().map_err(|error| error.to_string())?;
        for tag in tags.flatten() {
            let Some(id) = tag.try_id().map(gix::Id::detach) else {
                continue;
            };
            let name = tag.name().as_bstr().to_string();
            if self.objects.contains_key(&id) {
                found.insert(name, (id, None));
                continue;
            }
            // A tag may be of a tag.
            let mut chain = Vec::new();
            let mut next = id;
            let peeled = loop {
                let object = self.repository.try_find_object(next).ok().flatten();
                let Some(object) = object.filter(|object| object.kind == Kind::Tag) else {
                    break None;
                };
                let Ok(target) =
                    TagRef::from_bytes(&object.data, next.kind()).map(|tag| tag.target())
                else {
                    break None;
                };
                chain.push(next);
                if self.objects.contains_key(&target) {
                    break Some(target);
                }
                next = target;
                if chain.len() > 10 {
                    break None;
                }
            };
            if let Some(peeled) = peeled {
                for id in chain {
                    self.add(id)?;
                }
                found.insert(name, (id, Some(peeled)));
            }
        }
        Ok(found)
    }

    /// The directories of `commit`; its files by path.
    fn add_directories(&mut self, commit: ObjectId) -> Result<BTreeMap<Vec<u8>, ObjectId>, String> {
        let commit = self
            .repository
            .find_commit(commit)
            .map_err(|error| error.to_string())?;
        let root = commit.tree_id().map_err(|error| error.to_string())?;
        let mut files = BTreeMap::new();
        let mut waiting = vec![(Vec::new(), root.detach())];
        while let Some((prefix, id)) = waiting.pop() {
            let Some((_, data)) = self.add(id)? else {
                return Err(format!("it has no tree {id}"));
            };
            for entry in TreeRefIter::from_bytes(&data, id.kind()) {
                let entry = entry.map_err(|error| chain(&error))?;
                let mut path: Vec<u8> = prefix.clone();
                path.extend_from_slice(entry.filename);
                if entry.mode.is_tree() {
                    path.push(b'/');
                    waiting.push((path, entry.oid.to_owned()));
                } else {
                    files.insert(path, entry.oid.to_owned());
                }
            }
        }
        Ok(files)
    }
}

/// The index, and whether anything differs from `committed`.
fn index(
    repository: &gix::Repository,
    committed: &BTreeMap<Vec<u8>, ObjectId>,
) -> Result<(Vec<u8>, bool), String> {
    let kind = repository.object_hash();
    let path = repository.git_dir().join("index");
    let root = repository.workdir();
    let mut state = match root.filter(|_| path.exists()) {
        Some(_) => {
            let file = gix_index::File::at(&path, kind, false, Default::default());
            gix_index::State::from(file.map_err(|error| error.to_string())?)
        }
        None => gix_index::State::new(kind),
    };
    let mut modified = false;
    state.remove_entries(|_, _, entry| {
        let conflicts = entry.stage() != Stage::Unconflicted;
        modified |= conflicts;
        conflicts
    });
    let time = state.timestamp();
    let mut seen = 0;
    for (entry, path) in state.entries_mut_with_paths() {
        let is_committed = committed.get(&**path) == Some(&entry.id);
        seen += usize::from(is_committed);
        let unseen = Flags::SKIP_WORKTREE | Flags::ASSUME_VALID;
        let is_clean = entry.flags.intersects(unseen)
            || entry.mode == Mode::COMMIT
            || root.is_some_and(|root| {
                let is_racy = entry.stat.is_racy(time, stat::Options::default());
                let path = root.join(std::ffi::OsStr::from_bytes(path));
                is_on_disk(&path, entry, is_racy)
            });
        modified |= !is_committed || !is_clean;
        entry.stat = Stat::default();
        entry.flags = if is_clean {
            // git goes by one of them, libgit2 by the other where a file is not there.
            Flags::EXTENDED | Flags::SKIP_WORKTREE | Flags::ASSUME_VALID
        } else {
            Flags::empty()
        };
    }
    modified |= seen != committed.len();
    let mut bytes = Vec::new();
    let options = gix_index::write::Options {
        extensions: gix_index::write::Extensions::None,
        skip_hash: false,
    };
    gix_index::File::from_state(state, path)
        .write_to(&mut bytes, options)
        .map_err(|error| error.to_string())?;
    Ok((bytes, modified))
}

/// Whether the file at `path` is what the index says: by its times, as git decides, else by its content.
fn is_on_disk(path: &Path, entry: &gix_index::Entry, is_racy: bool) -> bool {
    let Ok(metadata) = gix_index::fs::Metadata::from_path_no_follow(path) else {
        return false;
    };
    let options = stat::Options::default();
    let same_mode = match entry.mode {
        Mode::SYMLINK => metadata.is_symlink(),
        Mode::FILE_EXECUTABLE => metadata.is_file() && metadata.is_executable(),
        _ => metadata.is_file() && !metadata.is_executable(),
    };
    if !same_mode {
        return false;
    }
    let is_as_it_was = Stat::from_fs(&metadata).is_ok_and(|now| now.matches(&entry.stat, options));
    if is_as_it_was && !is_racy {
        return true;
    }
    let content = if metadata.is_symlink() {
        std::fs::read_link(path).map(|target| target.as_os_str().as_bytes().to_vec())
    } else {
        std::fs::read(path)
    };
    content.is_ok_and(|content| {
        gix::objs::compute_hash(entry.id.kind(), Kind::Blob, &content)
            .is_ok_and(|id| id == entry.id)
    })
}
