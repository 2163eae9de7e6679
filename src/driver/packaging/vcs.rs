//! What git knows of a package's files: which it tracks, of which commit they are, and whether they are as committed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use gix_index::entry::{Mode, Stage};

use crate::driver::DriverError;
use crate::manifest::model::Package;

/// What an archive says of the commit that it was made from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct VcsInfo {
    git: Commit,
    /// The package's directory in the repository.
    path_in_vcs: String,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
struct Commit {
    sha1: String,
    /// Whether files differ from it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dirty: bool,
}

/// A repository with a directory for its files.
pub(super) struct Repository {
    repository: gix::Repository,
    root: PathBuf,
    index: Option<gix_index::File>,
}

impl Repository {
    /// The repository that `directory` lies in.
    pub(super) fn discover(directory: &Path) -> Result<Option<Self>, DriverError> {
        let Ok(repository) = gix::discover(directory) else {
            return Ok(None);
        };
        let Some(root) = repository
            .workdir()
            .and_then(|root| std::path::absolute(root).ok())
        else {
            return Ok(None);
        };
        let path = repository.git_dir().join("index");
        let index = if path.exists() {
            let kind = repository.object_hash();
            let file = gix_index::File::at(&path, kind, false, Default::default());
            Some(file.map_err(|error| DriverError::Request {
                message: format!("git's index `{}` cannot be read: {error}", path.display()),
                help: Some("`git status` may tell what is wrong with it".to_owned()),
            })?)
        } else {
            None
        };
        Ok(Some(Self {
            repository,
            root,
            index,
        }))
    }

    /// The files of the index, absolute, each with what it is there.
    fn entries(&self) -> BTreeMap<PathBuf, (gix::ObjectId, Mode)> {
        let Some(index) = &self.index else {
            return BTreeMap::new();
        };
        index
            .entries()
            .iter()
            .filter(|entry| entry.stage() == Stage::Unconflicted)
            .map(|entry| {
                let path = std::ffi::OsStr::from_bytes(entry.path(index));
                (self.root.join(path), (entry.id, entry.mode))
            })
            .collect()
    }

    /// The files below `directory` that git tracks.
    pub(super) fn tracked_below(&self, directory: &Path) -> BTreeSet<PathBuf> {
        self.entries()
            .into_keys()
            .filter(|path| path.starts_with(directory))
            .collect()
    }

    /// Whether git ignores a file.
    fn ignores(&self, path: &Path) -> bool {
        let walk = ignore::WalkBuilder::new(path.parent().unwrap_or(path))
            .hidden(false)
            .ignore(false)
            .max_depth(Some(1))
            .build();
        !walk.flatten().any(|entry| entry.path() == path)
    }

    /// What the package's archive says of the commit: nothing if git ignores its manifest, or has no commit.
    ///
    /// # Errors
    /// If files differ from what is committed, and must not.
    pub(super) fn check(
        &self,
        package: &Package,
        root_manifest: &Path,
        files: &BTreeSet<PathBuf>,
        allow_dirty: bool,
    ) -> Result<Option<VcsInfo>, DriverError> {
        let entries = self.entries();
        let manifest = &package.manifest_path;
        if !entries.contains_key(manifest) && self.ignores(manifest) {
            return Ok(None);
        }
        let outside = [&package.metadata.license_file, &package.metadata.readme]
            .into_iter()
            .flatten()
            .map(|path| super::normalized(&package.root().join(path)))
            .chain([root_manifest.to_owned()])
            .filter(|path| path.starts_with(&self.root) && !path.starts_with(package.root()));
        let head = self.repository.head_id().ok();
        let tree = self.repository.head_tree().ok();
        let mut dirty: Vec<String> = files
            .iter()
            .cloned()
            .chain(outside)
            .filter(|path| !self.is_clean(path, &entries, tree.as_ref()))
            .map(|path| {
                let relative = path.strip_prefix(package.root()).unwrap_or(&path);
                relative.display().to_string()
            })
            .collect();
        dirty.sort();
        dirty.dedup();
        if !dirty.is_empty() && !allow_dirty {
            return Err(DriverError::Request {
                message: format!(
                    "{} files of `{}` are not as they are committed: {}",
                    dirty.len(),
                    package.id().name(),
                    dirty.join(", ")
                ),
                help: Some(
                    "commit them, or pass `--allow-dirty` to package what is there".to_owned(),
                ),
            });
        }
        let directory = package.root().strip_prefix(&self.root);
        Ok(head.map(|id| VcsInfo {
            git: Commit {
                sha1: id.to_string(),
                dirty: !dirty.is_empty(),
            },
            path_in_vcs: directory
                .ok()
                .and_then(Path::to_str)
                .unwrap_or_default()
                .to_owned(),
        }))
    }

    /// Whether a file is in the last commit, in the index and on the disk with the same content and mode.
    fn is_clean(
        &self,
        path: &Path,
        entries: &BTreeMap<PathBuf, (gix::ObjectId, Mode)>,
        head: Option<&gix::Tree<'_>>,
    ) -> bool {
        let Some((id, mode)) = entries.get(path) else {
            // Through a link to a directory of the repository, it is another file that counts.
            if let Ok(real) = std::fs::canonicalize(path)
                && real != path
                && entries.contains_key(&real)
            {
                return self.is_clean(&real, entries, head);
            }
            // A lock may be ignored and is packaged all the same.
            return path.file_name().is_some_and(|name| name == "Cargo.lock") && self.ignores(path);
        };
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        let committed = head
            .and_then(|tree| tree.lookup_entry_by_path(relative).ok().flatten())
            .is_some_and(|entry| entry.object_id() == *id);
        committed && self.is_on_disk(path, *id, *mode)
    }

    fn is_on_disk(&self, path: &Path, id: gix::ObjectId, mode: Mode) -> bool {
        let Ok(metadata) = std::fs::symlink_metadata(path) else {
            return false;
        };
        let content = if metadata.is_symlink() {
            std::fs::read_link(path).map(|target| target.as_os_str().as_bytes().to_vec())
        } else {
            std::fs::read(path)
        };
        let is_program = metadata.permissions().mode() & 0o100 != 0;
        let same_mode = match mode {
            Mode::SYMLINK => metadata.is_symlink(),
            Mode::FILE_EXECUTABLE => metadata.is_file() && is_program,
            _ => metadata.is_file() && !is_program,
        };
        let hash = |content: Vec<u8>| {
            gix::objs::compute_hash(
                self.repository.object_hash(),
                gix::objs::Kind::Blob,
                &content,
            )
            .ok()
        };
        same_mode && content.ok().and_then(hash) == Some(id)
    }
}
