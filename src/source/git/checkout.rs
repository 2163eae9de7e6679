//! From a commit to a tree of the store, by reading git's objects: nothing is ever written to a directory that a
//! repository could steer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use gix::bstr::ByteSlice as _;
use gix::object::tree::EntryKind;
use gix::{ObjectId, Repository};
use rayon::prelude::*;

use super::address::Address;
use super::database::{Databases, Found, Wanted};
use super::error::{GitError, printable};
use super::nodes::{Level, Node, join};
use crate::package::GitReference;
use crate::store::Store;
use crate::tree::{BlobRef, MAX_DEPTH, TreeRef};

/// The largest file, bytes.
const LARGEST_FILE: u64 = 2 << 30;
/// The most entries, those of submodules included.
const MOST_ENTRIES: u64 = 1_000_000;
/// How deep submodules may have submodules.
const DEEPEST_SUBMODULE: usize = 16;

/// A commit's files in the store.
pub(super) struct Stored {
    pub(super) tree: TreeRef,
    /// Links that lead outside, with where they lead.
    pub(super) left_out: Vec<(String, String)>,
    /// Where this repository's own submodules are, and theirs.
    pub(super) submodules: BTreeSet<String>,
}

/// Reads commits into the store.
pub(super) struct Reader<'a> {
    pub(super) store: &'a Store,
    pub(super) databases: &'a Databases,
}

impl Reader<'_> {
    /// Stores the files of `found`, those of its submodules included.
    pub(super) fn store(&self, address: &Address, found: &Found) -> Result<Stored, GitError> {
        let mut submodules = BTreeSet::new();
        let root = self.repository(address, found, "", 0, &mut submodules)?;
        let stored = |source| GitError::Store {
            url: address.shown(),
            source,
        };
        let links = root.escaping_links();
        let paths: BTreeSet<String> = links.iter().map(|(path, _)| path.clone()).collect();
        let refused = |error: &dyn std::error::Error| GitError::Damaged {
            url: address.shown(),
            commit: found.commit.to_string(),
            why: super::error::chain(error),
        };
        let encoded = root.encode(&paths).map_err(|error| refused(&error))?;
        let tree = self.store.put_tree(&encoded).map_err(stored)?;
        Ok(Stored {
            tree,
            left_out: links,
            submodules,
        })
    }

    fn repository(
        &self,
        address: &Address,
        found: &Found,
        place: &str,
        submodules_above: usize,
        seen: &mut BTreeSet<String>,
    ) -> Result<Rc<Level>, GitError> {
        let repository = found.repository.to_thread_local();
        let tree = repository
            .find_commit(found.commit)
            .and_then(|commit| Ok(commit.tree_id()?.detach()))
            .map_err(|error| damaged(address, found, &error))?;
        let mut walk = Walk {
            reader: self,
            address,
            found,
            repository: &repository,
            place,
            submodules_above,
            submodules: BTreeMap::new(),
            seen,
            blobs: HashMap::new(),
            levels: HashMap::new(),
            shapes: HashMap::new(),
        };
        walk.shape(tree, "", 1)?;
        walk.store_blobs()?;
        walk.submodules = walk.read_gitmodules(tree)?;
        Ok(walk.level(tree, "")?.0)
    }
}

fn damaged(address: &Address, found: &Found, error: &dyn std::error::Error) -> GitError {
    GitError::Damaged {
        url: address.shown(),
        commit: found.commit.to_string(),
        why: super::error::chain(error),
    }
}

/// One entry of git's.
#[derive(Clone)]
struct Raw {
    name: String,
    kind: EntryKind,
    id: ObjectId,
}

/// A submodule as `.gitmodules` has it.
struct Submodule {
    url: String,
    /// `update = none`
    skipped: bool,
}

struct Walk<'a> {
    reader: &'a Reader<'a>,
    address: &'a Address,
    found: &'a Found,
    repository: &'a Repository,
    /// Where the repository is in the outermost one.
    place: &'a str,
    submodules_above: usize,
    /// The submodules that were met, by their paths in the outermost repository.
    seen: &'a mut BTreeSet<String>,
    /// By path.
    submodules: BTreeMap<String, Submodule>,
    blobs: HashMap<ObjectId, BlobRef>,
    /// Directories that look the same wherever they are.
    levels: HashMap<ObjectId, Rc<Level>>,
    shapes: HashMap<ObjectId, (Vec<Raw>, u64)>,
}

impl Walk<'_> {
    fn refused(&self, entry: &str, why: impl Into<String>) -> GitError {
        GitError::Refused {
            url: self.address.shown(),
            commit: self.found.commit.to_string(),
            entry: printable(entry, 300),
            why: why.into(),
        }
    }

    fn damaged(&self, error: &dyn std::error::Error) -> GitError {
        damaged(self.address, self.found, error)
    }

    /// Reads all directories, each once, checks their names, and counts their entries.
    fn shape(&mut self, id: ObjectId, path: &str, depth: usize) -> Result<u64, GitError> {
        if let Some((_, count)) = self.shapes.get(&id) {
            return Ok(*count);
        }
        if depth > MAX_DEPTH {
            return Err(self.refused(path, format!("lies more than {MAX_DEPTH} directories deep")));
        }
        let tree = self
            .repository
            .find_tree(id)
            .map_err(|error| self.damaged(&error))?;
        let mut entries: Vec<Raw> = Vec::new();
        for entry in tree.iter() {
            let entry = entry.map_err(|error| self.damaged(&error))?;
            let below = join(path, &entry.filename().to_str_lossy());
            let name = entry
                .filename()
                .to_str()
                .map_err(|_| self.refused(&below, "has a name that is not UTF-8"))?;
            if let Some(why) = bad_name(name) {
                return Err(self.refused(&below, why));
            }
            entries.push(Raw {
                name: name.to_owned(),
                kind: entry.mode().kind(),
                id: entry.object_id(),
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(self.refused(&join(path, &pair[0].name), "is there twice"));
        }
        let mut count = 0_u64;
        for entry in &entries {
            count = count.saturating_add(1);
            if entry.kind == EntryKind::Tree {
                let below = join(path, &entry.name);
                count = count.saturating_add(self.shape(entry.id, &below, depth + 1)?);
            }
        }
        if count > MOST_ENTRIES {
            return Err(self.refused(path, format!("holds more than {MOST_ENTRIES} entries")));
        }
        self.shapes.insert(id, (entries, count));
        Ok(count)
    }

    /// Puts every file into the store, each once.
    fn store_blobs(&mut self) -> Result<(), GitError> {
        let wanted: BTreeSet<(ObjectId, String)> = self
            .shapes
            .values()
            .flat_map(|(entries, _)| entries)
            .filter(|entry| matches!(entry.kind, EntryKind::Blob | EntryKind::BlobExecutable))
            .map(|entry| (entry.id, entry.name.clone()))
            .collect();
        let mut wanted: Vec<(ObjectId, String)> = wanted.into_iter().collect();
        wanted.dedup_by_key(|(id, _)| *id);
        let shared = &self.found.repository;
        let (address, found, store) = (self.address, self.found, self.reader.store);
        let stored: Vec<(ObjectId, BlobRef)> = wanted
            .into_par_iter()
            .map_init(
                || shared.to_thread_local(),
                |repository, (id, name)| {
                    let header = repository
                        .find_header(id)
                        .map_err(|error| damaged(address, found, &error))?;
                    if header.size() > LARGEST_FILE {
                        return Err(GitError::Refused {
                            url: address.shown(),
                            commit: found.commit.to_string(),
                            entry: printable(&name, 300),
                            why: format!("has more than {LARGEST_FILE} bytes"),
                        });
                    }
                    let blob = repository
                        .find_blob(id)
                        .map_err(|error| damaged(address, found, &error))?;
                    let blob = store
                        .put_bytes(&blob.data)
                        .map_err(|source| GitError::Store {
                            url: address.shown(),
                            source,
                        })?;
                    Ok((id, blob))
                },
            )
            .collect::<Result<_, GitError>>()?;
        self.blobs.extend(stored);
        Ok(())
    }

    /// What `.gitmodules` says, if it is a file.
    fn read_gitmodules(&self, root: ObjectId) -> Result<BTreeMap<String, Submodule>, GitError> {
        let Some((entries, _)) = self.shapes.get(&root) else {
            return Ok(BTreeMap::new());
        };
        let file = entries.iter().find(|entry| {
            entry.name == ".gitmodules"
                && matches!(entry.kind, EntryKind::Blob | EntryKind::BlobExecutable)
        });
        let Some(file) = file else {
            return Ok(BTreeMap::new());
        };
        let blob = self
            .repository
            .find_blob(file.id)
            .map_err(|error| self.damaged(&error))?;
        let config = gix::config::File::try_from(blob.data.as_bstr()).map_err(|error| {
            self.refused(
                ".gitmodules",
                format!("cannot be read: {}", super::error::chain(&error)),
            )
        })?;
        let mut found = BTreeMap::new();
        for section in config.sections_by_name("submodule").into_iter().flatten() {
            let text = |key: &str| {
                section
                    .value(key)
                    .map(|value| value.to_str_lossy().into_owned())
            };
            if let (Some(path), Some(url)) = (text("path"), text("url")) {
                let skipped = text("update").is_some_and(|update| update == "none");
                found.insert(path, Submodule { url, skipped });
            }
        }
        Ok(found)
    }

    /// The directory `id` at `path`, and whether it is the same wherever it is (no submodule is in it).
    fn level(&mut self, id: ObjectId, path: &str) -> Result<(Rc<Level>, bool), GitError> {
        if let Some(level) = self.levels.get(&id) {
            return Ok((level.clone(), true));
        }
        let entries = self.shapes.get(&id).map(|(entries, _)| entries.clone());
        let mut level = Level::default();
        let mut is_same = true;
        for Raw { name, kind, id } in entries.unwrap_or_default() {
            let below = join(path, &name);
            let node = match kind {
                EntryKind::Blob | EntryKind::BlobExecutable => Node::File {
                    blob: self.blobs[&id],
                    executable: kind == EntryKind::BlobExecutable,
                },
                EntryKind::Link => Node::Link {
                    target: self.link(id, &below)?,
                },
                EntryKind::Tree => {
                    let (level, same) = self.level(id, &below)?;
                    is_same &= same;
                    Node::Directory(level)
                }
                EntryKind::Commit => {
                    is_same = false;
                    Node::Directory(self.submodule(id, &below)?)
                }
            };
            level.insert(name, node);
        }
        if level.expanded() > MOST_ENTRIES {
            return Err(self.refused(path, format!("holds more than {MOST_ENTRIES} entries")));
        }
        let level = Rc::new(level);
        if is_same {
            self.levels.insert(id, level.clone());
        }
        Ok((level, is_same))
    }

    fn link(&self, id: ObjectId, path: &str) -> Result<String, GitError> {
        let blob = self
            .repository
            .find_blob(id)
            .map_err(|error| self.damaged(&error))?;
        String::from_utf8(blob.data.clone())
            .map_err(|_| self.refused(path, "is a link to a name that is not UTF-8"))
    }

    /// The files of the submodule at `path`; none where git would leave the directory empty.
    fn submodule(&mut self, commit: ObjectId, path: &str) -> Result<Rc<Level>, GitError> {
        let submodule = match self.submodules.get(path) {
            Some(submodule) if !submodule.skipped => submodule,
            _ => return Ok(Rc::default()),
        };
        if self.submodules_above >= DEEPEST_SUBMODULE {
            return Err(self.refused(path, "is a submodule of too many submodules"));
        }
        let place = join(self.place, path);
        self.seen.insert(place.clone());
        let read = |seen: &mut BTreeSet<String>| {
            let address = self.address.submodule(&submodule.url)?;
            let commit = commit.to_string();
            let wanted = Wanted::Commit(&commit, &GitReference::DefaultBranch);
            let found = self.reader.databases.find(&address, wanted)?;
            let above = self.submodules_above + 1;
            self.reader
                .repository(&address, &found, &place, above, seen)
        };
        read(self.seen).map_err(|source| GitError::Submodule {
            url: self.address.shown(),
            path: printable(path, 300),
            source: Box::new(source),
        })
    }
}

/// What is wrong with the name of an entry. git itself makes no such entries.
fn bad_name(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("has no name");
    }
    if name == "." || name == ".." || name.contains(['/', '\0']) {
        return Some("has a name that leads elsewhere");
    }
    if name.eq_ignore_ascii_case(".git") {
        return Some("would be a repository's own directory");
    }
    (name.len() > crate::tree::MAX_NAME_BYTES).then_some("has too long a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_tree_has() {
        for name in ["", ".", "..", "a/b", "/", ".git", ".GIT", ".Git", "a\0"] {
            assert!(bad_name(name).is_some(), "{name:?}");
        }
        for name in [".gitignore", "...", "git", "a b", "CON", "é"] {
            assert!(bad_name(name).is_none(), "{name:?}");
        }
    }
}
