//! Where the inputs of an action are on the host, so that the action finds them at their canonical paths.
//!
//! With a mount namespace nothing has to be anywhere: directories of the store are mounted where the action expects
//! them. Without one, the paths that an action sees are the host's own, and everything is laid out beneath the real
//! prefix as copies, which an action may not write (copies and no links: what an action can do to a file that it may
//! only read, such as changing its times, must not reach the store). One kiln at a time uses a prefix.
//!
//! ```text
//! <prefix>/.lock                        held by the kiln that uses it
//! <prefix>/toolchain/{bin,lib}          links to the installed toolchain
//! <prefix>/{workspace,src,out,target,tmp}/…    emptied when a build begins
//! ```
//!
//! The machine's own part (`/usr`, `/lib64`) is where it is: the host's files of which the system tree is a copy are
//! granted, and nothing besides.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::execute::bind::BoundAction;
use crate::execute::failure::ActionFailure;
use crate::path::SandboxPath;
use crate::plan::graph::{ActionKind, PlannedAction};
use crate::plan::layout::around_script_out;
use crate::sandbox::{Access, Mount};
use crate::store::{Store, StoreError, WorkDir, remove_tree};
use crate::toolchain::model::{RustToolchain, SystemTree};
use crate::tree::{Entry, TreeRef};

/// How the inputs of actions get where actions expect them.
#[derive(Debug)]
pub enum Placement {
    /// By mounts of the action's own.
    Mounted,
    /// By being there.
    InPlace(InPlace),
}

/// A real prefix, held by this process.
#[derive(Debug)]
pub struct InPlace {
    prefix: PathBuf,
    /// What lies where; guards the laying out as well.
    placed: Mutex<BTreeMap<SandboxPath, TreeRef>>,
    _lock: File,
}

/// An action's own directories on the host, removed when the value is dropped.
#[derive(Debug)]
pub struct Workplace {
    /// Where it writes its outputs.
    pub out: PathBuf,
    /// Its private temporary directory, where it has no file system of its own for that.
    pub tmp: Option<PathBuf>,
    /// What lies around a build script's outputs, where cargo has `target`, and where it is seen. It may write there, and
    /// it is thrown away.
    pub around: Option<(PathBuf, SandboxPath)>,
    _work: Option<WorkDir>,
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // A directory of the store's goes with its `WorkDir`; those beneath a prefix are emptied by the next build.
        if self._work.is_none() {
            let _ = remove_tree(&self.out);
        }
        if let Some(tmp) = &self.tmp {
            let _ = remove_tree(tmp);
        }
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |error| StoreError::io("prepare", &path, error)
}

impl InPlace {
    /// Takes `prefix`, waiting for another kiln that uses it, and empties it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn take(prefix: &Path, rust: &RustToolchain) -> Result<Self, StoreError> {
        std::fs::create_dir_all(prefix).map_err(io(prefix))?;
        let path = prefix.join(".lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io(&path))?;
        lock.lock().map_err(io(&path))?;
        for name in [
            "workspace",
            "src",
            "out",
            "target",
            "tmp",
            "toolchain",
            "clippy",
            "clippy-configuration",
        ] {
            let directory = prefix.join(name);
            remove_tree(&directory)?;
            std::fs::create_dir(&directory).map_err(io(&directory))?;
        }
        for entry in &rust.visible {
            let link = prefix.join("toolchain").join(entry);
            if let Some(parent) = link.parent() {
                std::fs::create_dir_all(parent).map_err(io(parent))?;
            }
            std::os::unix::fs::symlink(rust.root.join(entry), &link).map_err(io(&link))?;
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            placed: Mutex::default(),
            _lock: lock,
        })
    }

    fn place(
        &self,
        store: &Store,
        at: &SandboxPath,
        tree: &TreeRef,
    ) -> Result<PathBuf, StoreError> {
        let path = PathBuf::from(at.as_str());
        let mut placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        if placed.get(at) == Some(tree) || is_part_of(&placed, store, at, tree)? {
            return Ok(path);
        }
        if path.exists() {
            remove_tree(&path)?;
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(io(parent))?;
        }
        store.materialize_copy(tree, &path)?;
        placed.insert(at.clone(), *tree);
        Ok(path)
    }

    /// As [`InPlace::place`], a copy that will not be what it was: whoever needs the tree next gets a new one.
    fn place_for_writing(
        &self,
        store: &Store,
        at: &SandboxPath,
        tree: &TreeRef,
    ) -> Result<PathBuf, StoreError> {
        let path = self.place(store, at, tree)?;
        self.placed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(at);
        Ok(path)
    }

    /// As [`InPlace::place_for_writing`], where something is already that is not to be there.
    fn place_on_top(
        &self,
        store: &Store,
        at: &SandboxPath,
        tree: &TreeRef,
    ) -> Result<PathBuf, StoreError> {
        let beneath = format!("{at}/");
        self.placed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|placed, _| {
                // Whatever holds it or lies in it is no longer what it was.
                !placed.as_str().starts_with(&beneath)
                    && !at.as_str().starts_with(&format!("{placed}/"))
            });
        self.place_for_writing(store, at, tree)
    }

    /// A fresh directory at `at`.
    fn fresh(&self, at: &SandboxPath) -> Result<PathBuf, StoreError> {
        let path = PathBuf::from(at.as_str());
        debug_assert!(path.starts_with(&self.prefix));
        self.placed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(at);
        if path.exists() {
            remove_tree(&path)?;
        }
        std::fs::create_dir_all(&path).map_err(io(&path))?;
        Ok(path)
    }
}

impl Placement {
    /// The action's own directories, with those that are to be in its output directory when it starts.
    pub(super) fn workplace(
        &self,
        store: &Store,
        bound: &BoundAction<'_>,
    ) -> Result<Workplace, ActionFailure> {
        let workplace = match self {
            Placement::Mounted => {
                let work = store.work_dir()?;
                let out = work.path().join("out");
                std::fs::create_dir(&out).map_err(io(&out))?;
                Workplace {
                    around: around(bound.planned, work.path())?,
                    out,
                    tmp: None,
                    _work: Some(work),
                }
            }
            Placement::InPlace(place) => Workplace {
                out: place.fresh(&bound.planned.output_directory)?,
                tmp: Some(place.fresh(&bound.planned.temporary_directory)?),
                // Who can write to the directory that the outputs lie in can put another one in their place.
                around: None,
                _work: None,
            },
        };
        for directory in &bound.planned.prepared {
            let path = workplace.out.join(directory.as_str());
            std::fs::create_dir_all(&path)
                .map_err(|error| StoreError::io("prepare", &path, error))?;
        }
        Ok(workplace)
    }

    /// What the action sees of the store and of the machine, from the outside in.
    pub(super) fn mounts(
        &self,
        store: &Store,
        bound: &BoundAction<'_>,
        workplace: &Workplace,
        system: &SystemTree,
        rust: &RustToolchain,
        toolchain: &SandboxPath,
    ) -> Result<Vec<Mount>, ActionFailure> {
        let read = |host: PathBuf, at: SandboxPath| Mount {
            host,
            at,
            access: Access::Read,
        };
        let mut mounts = Vec::new();
        match self {
            Placement::Mounted => {
                // Checked where it is used first; the store remembers that.
                store.materialize(&bound.planned.system)?;
                for entry in &system.entries {
                    mounts.push(read(
                        system.root.join(entry),
                        sandbox_path(format!("/{entry}"))?,
                    ));
                }
            }
            Placement::InPlace(_) => {
                for path in &system.cover {
                    mounts.push(read(PathBuf::from(path), sandbox_path(path.clone())?));
                }
            }
        }
        for input in &bound.inputs {
            let scratch = !bound.planned.scratch.is_empty()
                && input.at != *toolchain
                && bound.planned.directory.is_within(&input.at);
            if input.at == *toolchain {
                for entry in &rust.visible {
                    let at = sandbox_path(format!("{}/{entry}", input.at))?;
                    mounts.push(read(rust.root.join(entry), at));
                }
                continue;
            }
            if let Some(made) = &input.made {
                store.put_tree(made)?;
            }
            let host = match self {
                Placement::Mounted if scratch => {
                    let copy = workplace.out.with_file_name("scratch");
                    store.materialize_copy(&input.tree, &copy)?;
                    copy
                }
                Placement::Mounted => store.materialize(&input.tree)?,
                Placement::InPlace(place) if scratch => {
                    place.place_for_writing(store, &input.at, &input.tree)?
                }
                Placement::InPlace(place) => place.place(store, &input.at, &input.tree)?,
            };
            let scratch_paths = if scratch {
                scratch_within(&bound.planned.scratch, &bound.planned.directory, &input.at)
            } else {
                Vec::new()
            };
            mounts.extend(writable(&scratch_paths, &host, &input.at)?);
            mounts.push(Mount {
                host,
                at: input.at.clone(),
                access: if scratch_paths.iter().any(|path| path == ".") {
                    Access::Write
                } else {
                    Access::Read
                },
            });
        }
        if let Some(run) = &bound.planned.run {
            let (at, tree) = &run.package;
            let host = match self {
                Placement::Mounted => {
                    let copy = workplace.out.with_file_name("package");
                    store.materialize_copy(tree, &copy)?;
                    copy
                }
                Placement::InPlace(place) => place.place_on_top(store, at, tree)?,
            };
            mounts.push(Mount {
                host,
                at: at.clone(),
                access: Access::Write,
            });
        }
        Ok(mounts)
    }
}

/// Makes the directory around a build script's `OUT_DIR` in `work`, with the place for what is mounted in it.
fn around(
    planned: &PlannedAction,
    work: &Path,
) -> Result<Option<(PathBuf, SandboxPath)>, ActionFailure> {
    let out = &planned.output_directory;
    if planned.kind != ActionKind::RunBuildScript {
        return Ok(None);
    }
    let Some(at) = around_script_out(out) else {
        return Ok(None);
    };
    let host = work.join("around");
    let below = out.as_str()[at.as_str().len()..].trim_start_matches('/');
    let place = host.join(below);
    std::fs::create_dir_all(&place).map_err(io(&place))?;
    Ok(Some((host, at)))
}

/// Whether the tree that is wanted at `at` is there already, as part of another.
fn is_part_of(
    placed: &BTreeMap<SandboxPath, TreeRef>,
    store: &Store,
    at: &SandboxPath,
    tree: &TreeRef,
) -> Result<bool, StoreError> {
    for (outer, whole) in placed {
        let Some(rest) = at
            .as_str()
            .strip_prefix(outer.as_str())
            .and_then(|rest| rest.strip_prefix('/'))
        else {
            continue;
        };
        let mut level = *whole;
        let mut is_there = true;
        for part in rest.split('/') {
            let directory = store.read_directory(&level)?;
            match directory.as_ref().and_then(|directory| directory.get(part)) {
                Some(Entry::Directory(next)) => level = *next,
                _ => {
                    is_there = false;
                    break;
                }
            }
        }
        if is_there && level == *tree {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Paths that start at `directory`, as they start at `at`, in which it lies; `.` is all of it.
fn scratch_within(scratch: &[String], directory: &SandboxPath, at: &SandboxPath) -> Vec<String> {
    let prefix = directory
        .as_str()
        .strip_prefix(at.as_str())
        .unwrap_or_default()
        .trim_start_matches('/');
    scratch
        .iter()
        .map(|path| match (prefix, path.as_str()) {
            ("", path) => path.to_owned(),
            (prefix, ".") => prefix.to_owned(),
            (prefix, path) => format!("{prefix}/{path}"),
        })
        .collect()
}

/// The parts of the copy `host` of a package, seen at `at`, that may be written to. What is not there is made.
fn writable(
    scratch: &[String],
    host: &Path,
    at: &SandboxPath,
) -> Result<Vec<Mount>, ActionFailure> {
    let mut mounts = Vec::new();
    for path in scratch.iter().filter(|path| *path != ".") {
        let place = below(host, path)?;
        mounts.push(Mount {
            host: place,
            at: sandbox_path(format!("{at}/{path}"))?,
            access: Access::Write,
        });
    }
    Ok(mounts)
}

/// `path` below the directory `root`, made where it is not there. A link on the way could lead anywhere.
fn below(root: &Path, path: &str) -> Result<PathBuf, ActionFailure> {
    let mut place = root.to_owned();
    for component in path.split('/') {
        place.push(component);
        match std::fs::symlink_metadata(&place) {
            Ok(data) if data.is_symlink() => {
                return Err(ActionFailure::ScratchLink {
                    path: path.to_owned(),
                });
            }
            Ok(_) => {}
            Err(_) => std::fs::create_dir(&place).map_err(io(&place))?,
        }
    }
    Ok(place)
}

fn sandbox_path(path: String) -> Result<SandboxPath, ActionFailure> {
    SandboxPath::new(path).map_err(|error| ActionFailure::MissingOutput {
        name: error.to_string(),
    })
}
