//! What a program that was built needs in order to be run by its user: its place, its environment, and the dynamic
//! libraries that it loads.
//!
//! Cargo runs it beside what it was linked with, so it does the same here: dynamic libraries that the build made go
//! into `deps` beside the program, and the loader is told where they, the standard library's and those of build scripts
//! are.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::driver::building::build::Built;
use crate::driver::inputs::configured;
use crate::driver::{Context, DriverError, Planned};
use crate::execute::outcome::Outcome;
use crate::path::RelPath;
use crate::plan::env::{Common, Process};
use crate::plan::graph::ActionIndex;
use crate::unit::graph::{Mode, Platform, UnitIndex};

/// A program to be run outside of the sandbox.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// What is set in its environment, over the user's.
    pub environment: BTreeMap<String, String>,
    /// What runs it, if configuration says so: a program and its arguments.
    pub runner: Vec<String>,
    /// The dynamic libraries that were put beside it.
    pub libraries: Vec<PathBuf>,
    /// The directories of build scripts that its environment names.
    pub directories: Vec<PathBuf>,
}

impl Program {
    /// Replaces this process by the program, called `name` there; returns only why that cannot be done.
    pub fn replace_this(
        &self,
        name: &Path,
        arguments: &[OsString],
        directory: &Path,
    ) -> DriverError {
        let words = self.runner.iter().map(OsString::from);
        let mut words = words.chain([name.as_os_str().to_owned()]);
        let first = words.next().expect("the program at least");
        let path = match self.runner.first() {
            Some(runner) => PathBuf::from(runner),
            None => self.path.clone(),
        };
        let source = Command::new(first)
            .args(words)
            .args(arguments)
            .envs(&self.environment)
            .current_dir(directory)
            .exec();
        DriverError::File {
            path,
            verb: "run",
            source,
        }
    }
}

/// Shows `page` with the user's browser: `$BROWSER`, or whatever the desktop has.
///
/// # Errors
/// There is none, or it fails.
pub fn open(context: &Context, page: &Path) -> Result<(), DriverError> {
    let named = context.variables.get("BROWSER").map(String::as_str);
    let candidates = match named.filter(|browser| !browser.is_empty()) {
        Some(browser) => vec![browser],
        None => vec!["xdg-open", "gnome-open", "kde-open"],
    };
    for browser in &candidates {
        if Command::new(browser)
            .arg(page)
            .status()
            .is_ok_and(|status| status.success())
        {
            return Ok(());
        }
    }
    Err(DriverError::Request {
        message: format!("no browser could be started for `{}`", page.display()),
        help: Some("set `BROWSER` to the program that shows pages".to_owned()),
    })
}

/// The one program among what was built.
///
/// # Errors
/// There is none, or its libraries cannot be written.
pub fn program(
    context: &Context,
    planned: &Planned,
    built: &Built,
    destination: &Path,
) -> Result<Program, DriverError> {
    let root = planned
        .units
        .roots
        .iter()
        .copied()
        .find(|root| {
            let unit = planned.units.unit(*root);
            unit.mode == Mode::Build && unit.target.is_executable()
        })
        .ok_or_else(|| DriverError::Request {
            message: "no program was built".to_owned(),
            help: Some("name one with `--bin` or `--example`".to_owned()),
        })?;
    let action = action_of(planned, root);
    let path = built
        .artifacts
        .iter()
        .find(|(artifact, _)| artifact.action == action && artifact.executable)
        .map(|(_, path)| path.clone())
        .ok_or_else(|| DriverError::Request {
            message: "the program is not there".to_owned(),
            help: Some("build again".to_owned()),
        })?;
    let unit = planned.units.unit(root);
    let package = &planned.packages[&unit.package];
    let script = own_script(planned, root);
    let outcome = script.and_then(|script| built.outcome(script));
    let out_dir = outcome.map(|outcome| planned.out_dir_for_user(outcome).display().to_string());
    let Libraries {
        paths,
        native,
        files,
    } = library_path(context, planned, built, root, destination)?;
    let manifest_dir = package.root().display().to_string();
    let cargo = planned.rust.root.join("bin/cargo").display().to_string();
    let configured = configured::environment_of_user(context)?;
    let mut environment = Process {
        common: Common {
            package,
            manifest_dir: &manifest_dir,
            cargo,
            library_path: paths,
            configured: &configured,
        },
        target: &unit.target,
        out_dir: out_dir.as_deref(),
        executables: &BTreeMap::new(),
        script: outcome.and_then(|outcome| outcome.directives.as_deref()),
    }
    .variables();
    environment.retain(|_, value| !value.contains('\0'));
    let runner = configured::runner(context, &planned.rust, &unit.platform)?;
    Ok(Program {
        path,
        environment,
        runner,
        libraries: files,
        directories: native
            .into_iter()
            .chain(out_dir)
            .map(PathBuf::from)
            .collect(),
    })
}

/// The action that makes or runs `unit`.
fn action_of(planned: &Planned, unit: UnitIndex) -> ActionIndex {
    let found = planned
        .graph
        .actions
        .iter()
        .position(|action| action.unit == unit);
    ActionIndex(found.expect("every unit that is compiled has an action"))
}

/// The run of the build script of the package that `unit` is of.
fn own_script(planned: &Planned, unit: UnitIndex) -> Option<ActionIndex> {
    let package = &planned.units.unit(unit).package;
    planned
        .units
        .unit(unit)
        .dependencies
        .iter()
        .map(|dependency| dependency.unit)
        .find(|dependency| {
            let other = planned.units.unit(*dependency);
            other.mode == Mode::RunCustomBuild && other.package == *package
        })
        .map(|script| action_of(planned, script))
}

/// Everything that `root` is made of, in the order in which it is met.
fn closure(planned: &Planned, root: UnitIndex) -> Vec<UnitIndex> {
    let mut seen = BTreeSet::new();
    let mut order = Vec::new();
    let mut stack = vec![root];
    while let Some(index) = stack.pop() {
        if seen.insert(index) {
            order.push(index);
            let dependencies = &planned.units.unit(index).dependencies;
            stack.extend(dependencies.iter().map(|dependency| dependency.unit));
        }
    }
    order
}

/// The dynamic libraries of a program.
struct Libraries {
    /// `LD_LIBRARY_PATH`.
    paths: Vec<String>,
    /// The directories of build scripts among them.
    native: BTreeSet<String>,
    /// What was put beside the program.
    files: Vec<PathBuf>,
}

/// `LD_LIBRARY_PATH`: the directories of build scripts' libraries, those of the build, the standard library's, and what
/// the user has there already.
fn library_path(
    context: &Context,
    planned: &Planned,
    built: &Built,
    root: UnitIndex,
    destination: &Path,
) -> Result<Libraries, DriverError> {
    let mut native = BTreeSet::new();
    let mut files = Vec::new();
    for index in closure(planned, root) {
        let unit = planned.units.unit(index);
        let action = action_of(planned, index);
        let Some(outcome) = built.outcome(action) else {
            continue;
        };
        if unit.mode == Mode::RunCustomBuild {
            native.extend(native_directories(planned, action, outcome));
        } else if unit.mode == Mode::Build && unit.target.is_linkable() && index != root {
            files.extend(hand_out_dynamic(planned, index, outcome, destination)?);
        }
    }
    let unit = planned.units.unit(root);
    let triple = match &unit.platform {
        Platform::Host => None,
        Platform::Target(triple) => Some(&**triple),
    };
    let directory = planned.artifact_directory(destination, triple);
    let standard = planned
        .rust
        .root
        .join("lib/rustlib")
        .join(triple.unwrap_or(&planned.rust.version.host))
        .join("lib");
    let mut paths: Vec<String> = native.iter().cloned().collect();
    for path in [directory.clone(), directory.join("deps"), standard] {
        paths.push(path.display().to_string());
    }
    if let Some(inherited) = context.variables.get("LD_LIBRARY_PATH")
        && !inherited.is_empty()
    {
        paths.push(inherited.clone());
    }
    Ok(Libraries {
        paths,
        native,
        files,
    })
}

/// Where, on the host, a build script's search paths are that lie in its own `OUT_DIR`; no others are searched, as in
/// cargo.
fn native_directories(planned: &Planned, script: ActionIndex, outcome: &Outcome) -> Vec<String> {
    let Some(directives) = &outcome.directives else {
        return Vec::new();
    };
    let inside = planned.graph.action(script).output_directory.as_str();
    let outside = planned.out_dir_for_user(outcome);
    directives
        .library_directories(inside)
        .map(|path| {
            let relative = path.strip_prefix(inside).unwrap_or_default();
            outside
                .join(relative.trim_start_matches('/'))
                .display()
                .to_string()
        })
        .collect()
}

/// Puts the dynamic libraries of a dependency into `deps`.
fn hand_out_dynamic(
    planned: &Planned,
    index: UnitIndex,
    outcome: &Outcome,
    destination: &Path,
) -> Result<Vec<PathBuf>, DriverError> {
    let mut files = Vec::new();
    let unit = planned.units.unit(index);
    let triple = match &unit.platform {
        Platform::Host => None,
        Platform::Target(triple) => Some(&**triple),
    };
    for (name, entry) in &outcome.files {
        if !name.ends_with(".so") || unit.target.is_proc_macro() {
            continue;
        }
        let directory = planned.artifact_directory(Path::new(""), triple);
        let relative = directory.join("deps").join(name);
        let Ok(relative) = RelPath::new(relative.to_string_lossy()) else {
            continue;
        };
        planned
            .store
            .export(&entry.blob, entry.executable, destination, &relative)
            .map_err(|source| DriverError::HandOut {
                path: destination.join(relative.as_str()),
                source,
            })?;
        files.push(destination.join(relative.as_str()));
    }
    Ok(files)
}
