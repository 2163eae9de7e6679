//! The C toolchain, and trees with more programs of the machine beside it: discovered once, kept as a snapshot in the
//! store, and found again by the identity of what was looked at, without running anything.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::compiler::{self, Compiler};
use super::elf::{Closure, find_program};
use super::error::ToolchainError;
use super::identity;
use super::layout::Layout;
use super::model::{CToolchain, RustToolchain, SystemTree};
use super::packages::{DevelopmentPackages, Packages};
use super::snapshot;
use super::{ask, runtime};
use crate::path::SandboxPath;
use crate::store::Store;

/// Counts up when what is selected of a machine changes, so that older memos are not believed.
const SELECTION: u32 = 1;

/// Which C toolchain is wanted.
#[derive(Debug, Clone, Copy)]
pub struct CRequest<'a> {
    /// Where the tree and the memos are kept.
    pub store: &'a Store,
    /// The compiler by name or absolute path (`CC`); `None` takes the first of `cc`, `gcc`, `clang`.
    pub compiler: Option<&'a str>,
    /// Where programs are looked for; see [`super::SYSTEM_SEARCH`].
    pub search: &'a [PathBuf],
    /// The Rust toolchain whose programs are to run in the tree: the libraries that they need become part of it.
    pub rust: &'a RustToolchain,
}

/// What the tree of one action holds besides the C toolchain: what policy grants.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SystemGrants {
    /// Programs by name or absolute path; one that is missing is an error.
    pub programs: Vec<String>,
    /// Programs that are there if the machine has them.
    pub programs_if_present: Vec<String>,
    /// Absolute paths, with `*` and `?` as in a shell; a directory stands for all below it. One that is missing is an
    /// error.
    pub paths: Vec<String>,
    /// Paths that are there if the machine has them.
    pub paths_if_present: Vec<String>,
    /// Libraries by their name in pkg-config: the `.pc` file, those that it requires, and the headers and libraries
    /// of the packages that hold them.
    pub pkg_config: Vec<String>,
    /// Such libraries that are there if the machine has them.
    pub pkg_config_if_present: Vec<String>,
    /// Libraries by their name for the linker (`ssl` for `-lssl`), or absolute paths as above.
    pub libraries: Vec<String>,
    /// Such libraries that are there if the machine has them.
    pub libraries_if_present: Vec<String>,
}

impl SystemGrants {
    /// Whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn memo_file(store: &Store, what: &str, key: &impl serde::Serialize) -> PathBuf {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&SELECTION.to_le_bytes());
    hasher.update(what.as_bytes());
    // A key that has no JSON has no memo: it is then the same as that of every other such key, and never valid.
    hasher.update(&serde_json::to_vec(key).unwrap_or_default());
    let name = format!("{what}-{}", hasher.finalize().to_hex());
    store.home().join("toolchain/memo").join(name)
}

/// Discovers the C toolchain, or finds it as it was discovered before.
///
/// # Errors
/// If there is no compiler, or it lacks a part without which nothing links.
pub fn discover(request: &CRequest<'_>) -> Result<CToolchain, ToolchainError> {
    let key = (
        request.compiler,
        request.search,
        &request.rust.root,
        request.rust.tree,
    );
    let memo = memo_file(request.store, "c", &key);
    if let Some(recalled) = identity::recall(&memo)
        && let Ok(toolchain) = serde_json::from_str::<CToolchain>(&recalled)
        && is_there(request.store, &toolchain.system)
    {
        return Ok(toolchain);
    }
    let mut layout = Layout::new(Path::new("/"));
    for merged in ["/bin", "/sbin", "/lib", "/lib64"] {
        // Where `/bin` is a link to `usr/bin`, scripts and makefiles may still say `/bin/sh`.
        if fs::symlink_metadata(merged).is_ok_and(|data| data.is_symlink()) {
            layout.add(Path::new(merged))?;
        }
    }
    let compiler = compiler::find(&mut layout, request.compiler, request.search)?;
    let mut closure = Closure::new(vec![request.rust.root.clone()]);
    let selected = compiler::select(&compiler, &mut layout, &mut closure, request.search)?;
    for program in request.rust.programs() {
        closure.libraries_of(&mut layout, &program)?;
    }
    let (system, witness) = stable_snapshot(request.store, &layout, None)?;
    let seen = |path: &Path| sandbox_path(path);
    let toolchain = CToolchain {
        cc: seen(&compiler.path)?,
        cxx: selected.cxx.as_deref().map(seen).transpose()?,
        ar: selected.ar.as_deref().map(seen).transpose()?,
        path: system.path_variable(request.search),
        version: compiler.version()?,
        machine: compiler.machine()?,
        system,
    };
    witness.remember(&memo, &toolchain);
    Ok(toolchain)
}

/// The files that something was computed from, as they were then.
struct Witness {
    watched: Vec<PathBuf>,
    /// `None`: they kept changing, so what was computed is true of what was copied, and not to be remembered.
    identity: Option<[u8; 32]>,
}

impl Witness {
    /// Remembers what was computed. A memo that cannot be written costs time later on, not correctness now.
    fn remember(&self, memo: &Path, value: &impl serde::Serialize) {
        if let Some(identity) = &self.identity {
            drop(identity::remember(memo, &self.watched, identity, value));
        }
    }
}

/// Snapshots `layout`, once more if its files change meanwhile.
fn stable_snapshot(
    store: &Store,
    layout: &Layout,
    base: Option<&SystemTree>,
) -> Result<(SystemTree, Witness), ToolchainError> {
    let mut watched: Vec<PathBuf> = layout.watched().cloned().collect();
    identity::order(&mut watched);
    let mut identity = identity::combined(&watched);
    let mut system = snapshot::create(store, layout, base)?;
    for _ in 0..2 {
        let after = identity::combined(&watched);
        if identity == after {
            let identity = Some(identity);
            return Ok((system, Witness { watched, identity }));
        }
        identity = after;
        system = snapshot::create(store, layout, base)?;
    }
    let identity = Some(identity).filter(|before| *before == identity::combined(&watched));
    Ok((system, Witness { watched, identity }))
}

fn sandbox_path(path: &Path) -> Result<SandboxPath, ToolchainError> {
    SandboxPath::new(path.to_string_lossy().into_owned()).map_err(|error| {
        ToolchainError::UnsupportedPath {
            path: path.to_owned(),
            why: error.to_string(),
        }
    })
}

impl SystemTree {
    /// The value of `PATH` with which actions find the programs of the tree: the directories of `search` that it has,
    /// links (`/bin`) left out.
    pub fn path_variable(&self, search: &[PathBuf]) -> String {
        let holds_programs = |directory: &&PathBuf| {
            let Ok(place) = directory.strip_prefix("/") else {
                return false;
            };
            let top = place.iter().next().unwrap_or_default();
            self.links.iter().all(|(link, _)| top != link.as_str())
                && fs::read_dir(self.root.join(place))
                    .is_ok_and(|mut entries| entries.next().is_some())
        };
        let inside: Vec<String> = search
            .iter()
            .filter(holds_programs)
            .map(|directory| directory.display().to_string())
            .collect();
        inside.join(":")
    }
}

/// The tree that rustc needs where it links nothing: the dynamic loader and the libraries that the toolchain's programs
/// are linked with. No C toolchain has to be there for it.
///
/// # Errors
/// If one of these libraries is missing.
pub fn runtime_tree(store: &Store, rust: &RustToolchain) -> Result<SystemTree, ToolchainError> {
    let memo = memo_file(store, "runtime", &(&rust.root, rust.tree));
    if let Some(system) = recall_system(store, &memo) {
        return Ok(system);
    }
    let mut layout = Layout::new(Path::new("/"));
    let mut closure = Closure::new(vec![rust.root.clone()]);
    for program in rust.programs() {
        closure.libraries_of(&mut layout, &program)?;
    }
    let (system, witness) = stable_snapshot(store, &layout, None)?;
    witness.remember(&memo, &system);
    Ok(system)
}

fn recall_system(store: &Store, memo: &Path) -> Option<SystemTree> {
    let system: SystemTree = serde_json::from_str(&identity::recall(memo)?).ok()?;
    is_there(store, &system).then_some(system)
}

/// Whether the store still has the tree that a memo speaks of: it may have been collected, or the store moved.
fn is_there(store: &Store, system: &SystemTree) -> bool {
    system.root.starts_with(store.home()) && system.root.is_dir()
}

/// The tree of `base` with what `grants` adds, or the one that was made before.
///
/// # Errors
/// If something that is granted is not there.
pub fn system_tree(
    store: &Store,
    base: &CToolchain,
    grants: &SystemGrants,
    search: &[PathBuf],
) -> Result<SystemTree, ToolchainError> {
    if grants.is_empty() {
        return Ok(base.system.clone());
    }
    let memo = memo_file(store, "grants", &(base.system.tree, grants, search));
    if let Some(system) = recall_system(store, &memo) {
        return Ok(system);
    }
    let mut layout = Layout::new(Path::new("/"));
    // Something to watch even if nothing that is granted exists.
    layout.add(Path::new(base.cc.as_str()))?;
    let compiler = Compiler {
        path: PathBuf::from(base.cc.as_str()),
    };
    let mut closure = Closure::new(Vec::new());
    // The compiler names the loader that shared libraries are listed with.
    closure.program(&mut layout, &compiler.path, search)?;
    let mut granting = Granting {
        layout: &mut layout,
        closure: &mut closure,
        compiler: &compiler,
        search,
        described: BTreeSet::new(),
        packages: None,
    };
    granting.all(grants)?;
    let (system, witness) = stable_snapshot(store, &layout, Some(&base.system))?;
    witness.remember(&memo, &system);
    Ok(system)
}

/// Adds what is granted to a layout.
struct Granting<'a> {
    layout: &'a mut Layout,
    closure: &'a mut Closure,
    compiler: &'a Compiler,
    search: &'a [PathBuf],
    /// The libraries of pkg-config that are granted already.
    described: BTreeSet<String>,
    /// What the package manager knows, once it was asked.
    packages: Option<Option<DevelopmentPackages>>,
}

impl Granting<'_> {
    fn all(&mut self, grants: &SystemGrants) -> Result<(), ToolchainError> {
        for name in &grants.programs {
            if !self.program(name)? {
                return Err(ToolchainError::GrantMissing {
                    what: "the program",
                    name: name.clone(),
                    searched: if name.starts_with('/') {
                        Vec::new()
                    } else {
                        self.search.to_vec()
                    },
                });
            }
        }
        for name in &grants.programs_if_present {
            self.program(name)?;
        }
        for pattern in &grants.paths {
            if !self.path(pattern)? {
                return Err(ToolchainError::GrantMissing {
                    what: "the path",
                    name: pattern.clone(),
                    searched: Vec::new(),
                });
            }
        }
        for pattern in &grants.paths_if_present {
            self.path(pattern)?;
        }
        for name in &grants.pkg_config {
            self.pkg_config(name)?;
        }
        for name in &grants.pkg_config_if_present {
            self.pkg_config_if_present(name)?;
        }
        for name in &grants.libraries {
            if !self.library(name)? {
                return Err(ToolchainError::GrantMissing {
                    what: "the library",
                    name: name.clone(),
                    searched: Vec::new(),
                });
            }
        }
        for name in &grants.libraries_if_present {
            self.library(name)?;
        }
        Ok(())
    }

    /// Adds a library for the linker, by its name or its paths; false if there is none.
    fn library(&mut self, name: &str) -> Result<bool, ToolchainError> {
        if name.starts_with('/') {
            return self.path(name);
        }
        compiler::library(self.compiler, self.layout, self.closure, name)
    }

    /// Adds a program with all it needs; false if there is none.
    fn program(&mut self, name: &str) -> Result<bool, ToolchainError> {
        let Some(path) = find_program(self.layout, name, self.search) else {
            if !name.contains('/') {
                for directory in self.search {
                    self.layout.watch(directory.join(name));
                }
            }
            return Ok(false);
        };
        self.closure.program(self.layout, &path, self.search)?;
        let short = path.file_name().unwrap_or_default().to_string_lossy();
        if compiler::is_compiler_name(&short) && path != self.compiler.path {
            // Another compiler, such as one for another machine, is granted with its parts.
            let compiler = Compiler { path: path.clone() };
            compiler::select(&compiler, self.layout, self.closure, self.search)?;
        }
        for directory in runtime::directories(&path)? {
            self.directory(&directory, &runtime::is_kept)?;
        }
        Ok(true)
    }

    fn directory(
        &mut self,
        directory: &Path,
        keep: &dyn Fn(&str) -> bool,
    ) -> Result<(), ToolchainError> {
        let known: BTreeSet<String> = self.layout.nodes().keys().cloned().collect();
        self.layout.add_whole(directory, keep)?;
        let new: Vec<String> = self
            .layout
            .nodes()
            .keys()
            .filter(|place| !known.contains(*place))
            .filter(|place| place.contains(".so") || place.contains("/bin/"))
            .cloned()
            .collect();
        for place in new {
            self.closure
                .needs(self.layout, &place, self.search, false)?;
        }
        Ok(())
    }

    /// Adds what matches `pattern`; false if nothing does.
    fn path(&mut self, pattern: &str) -> Result<bool, ToolchainError> {
        let unsupported = |why: String| ToolchainError::UnsupportedPath {
            path: pattern.into(),
            why,
        };
        if !pattern.starts_with('/') {
            return Err(unsupported("a granted path is absolute".to_owned()));
        }
        // What does not change with the match: its modification tells when something new may match.
        let fixed: PathBuf = Path::new(pattern)
            .iter()
            .take_while(|part| !part.to_string_lossy().contains(['*', '?', '[']))
            .collect();
        self.layout.watch(fixed);
        let matches = glob::glob(pattern).map_err(|error| unsupported(error.to_string()))?;
        let mut any = false;
        for path in matches {
            let path = path.map_err(|error| {
                let path = error.path().to_owned();
                ToolchainError::io("read", &path)(error.into())
            })?;
            any = true;
            if path.is_dir() {
                self.directory(&path, &|_| true)?;
            } else {
                let place = self.layout.add(&path)?;
                self.closure
                    .needs(self.layout, &place, self.search, false)?;
            }
        }
        Ok(any)
    }

    /// Adds a library if pkg-config knows it, and pkg-config itself if it is there: the answer that a library is
    /// missing is an answer, too.
    fn pkg_config_if_present(&mut self, name: &str) -> Result<(), ToolchainError> {
        // A `.pc` file that is installed later appears in one of these.
        for directory in self.pkg_config_directories()? {
            self.layout.watch(directory);
        }
        match self.pkg_config(name) {
            Err(ToolchainError::GrantMissing { .. }) => Ok(()),
            other => other,
        }
    }

    /// Where pkg-config looks.
    fn pkg_config_directories(&mut self) -> Result<Vec<PathBuf>, ToolchainError> {
        if !self.program("pkg-config")? {
            return Ok(Vec::new());
        }
        let Some(program) = find_program(self.layout, "pkg-config", self.search) else {
            return Ok(Vec::new());
        };
        let answer = ask::ask_any(&program, &["--variable", "pc_path", "pkg-config"])?;
        Ok(std::env::split_paths(answer.line())
            .filter(|path| path.is_absolute())
            .collect())
    }

    /// Adds a library that pkg-config knows, as its own package manager packs it.
    fn pkg_config(&mut self, name: &str) -> Result<(), ToolchainError> {
        let missing = |what| ToolchainError::GrantMissing {
            what,
            name: name.to_owned(),
            searched: Vec::new(),
        };
        let plain = !name.is_empty()
            && !name.starts_with('-')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-_.".contains(&byte));
        if !plain {
            return Err(missing("the pkg-config library"));
        }
        let program = ["pkg-config", "pkgconf"]
            .iter()
            .find_map(|program| find_program(self.layout, program, self.search))
            .ok_or_else(|| ToolchainError::GrantMissing {
                what: "the program",
                name: "pkg-config".to_owned(),
                searched: self.search.to_vec(),
            })?;
        self.closure.program(self.layout, &program, self.search)?;
        let mut queue = vec![name.to_owned()];
        while let Some(library) = queue.pop() {
            if self.described.contains(&library) {
                continue;
            }
            let answer = ask::ask_any(&program, &["--path", &library])?;
            let file = if answer.success {
                PathBuf::from(answer.line())
            } else {
                // The older pkg-config has no `--path`; it says the directory.
                let answer = ask::ask_any(&program, &["--variable=pcfiledir", &library])?;
                if !answer.success || answer.line().is_empty() {
                    if library != name {
                        // Required for static linking only, it may be absent.
                        continue;
                    }
                    return Err(missing("the pkg-config library"));
                }
                Path::new(answer.line()).join(format!("{library}.pc"))
            };
            self.described.insert(library.clone());
            self.layout.add(&file)?;
            // A choice between several builds of a library is a link, which no package has.
            let owned = std::fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
            let host = self.layout.host("");
            let packages = self
                .packages
                .get_or_insert_with(|| Packages::detect(&host).map(DevelopmentPackages::of));
            let beside = packages
                .as_mut()
                .and_then(|packages| packages.files_with(&owned));
            for path in beside.iter().flatten() {
                self.development_file(path)?;
            }
            let flags = ask::ask(
                &program,
                &[
                    "--cflags-only-I",
                    "--libs-only-l",
                    "--libs-only-L",
                    &library,
                ],
            )?;
            let flags: Vec<&str> = flags.line().split_whitespace().collect();
            let directories = flags.iter().filter_map(|flag| flag.strip_prefix("-L"));
            for flag in &flags {
                if let Some(library) = flag.strip_prefix("-l") {
                    self.library_in(directories.clone(), library)?;
                } else if let Some(directory) = flag.strip_prefix("-I")
                    && beside.is_none()
                    && Path::new(directory).is_dir()
                {
                    self.directory(Path::new(directory), &|_| true)?;
                }
            }
            let requires = ask::ask_any(
                &program,
                &["--print-requires", "--print-requires-private", &library],
            )?;
            queue.extend(
                requires
                    .stdout
                    .lines()
                    .filter_map(|line| line.split_whitespace().next())
                    .map(str::to_owned),
            );
        }
        Ok(())
    }

    /// A library in one of `directories`, or where the compiler looks.
    fn library_in<'d>(
        &mut self,
        directories: impl Iterator<Item = &'d str>,
        name: &str,
    ) -> Result<(), ToolchainError> {
        let endings = ["so", "a"];
        let found = directories
            .flat_map(|directory| endings.map(|ending| format!("{directory}/lib{name}.{ending}")))
            .map(PathBuf::from)
            .find(|path| path.is_absolute() && path.is_file());
        match found {
            Some(path) => compiler::link_input(self.compiler, self.layout, self.closure, &path, 8),
            None => compiler::library(self.compiler, self.layout, self.closure, name).map(drop),
        }
    }

    /// One file of a development package: headers, libraries and `.pc` files are taken, documentation is not.
    fn development_file(&mut self, path: &str) -> Result<(), ToolchainError> {
        let parts = ["/include/", "/lib/", "/lib64/", "/pkgconfig/"];
        let file = Path::new(path);
        if !parts.iter().any(|part| path.contains(part))
            || !self.layout.exists(file)
            || file.is_dir()
        {
            return Ok(());
        }
        compiler::link_input(self.compiler, self.layout, self.closure, file, 8)
    }
}
