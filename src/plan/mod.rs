//! Planning: units, sources, toolchains and grants become the locked action graph.
//!
//! Planning is pure. Everything it needs comes in as values in a [`PlanInput`]; it writes nothing, runs nothing and
//! reads nothing, and equal inputs give byte-identical graphs.
//!
//! Each compilation and each run of a build script is one action. What it sees at which path is decided in
//! [`layout`]; which name a unit has there in [`identity`]; which arguments `rustc` gets in `rustc`; what build scripts
//! are given and what they print comes to in `scripts`; and the ids are computed in `encode`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::digest::ActionId;
use crate::directive::LinkArgTarget;
use crate::manifest::model::{Package, Target, TargetKind, Workspace};
use crate::package::{PackageId, SourceId};
use crate::path::{RelPath, SandboxPath};
use crate::plan::graph::{
    ActionGraph, ActionIndex, ActionKind, Argument, Input, InputSource, Needs, OutputRole, Outputs,
    PlannedAction,
};
use crate::plan::identity::UnitIdentity;
use crate::plan::layout::Layout;
use crate::plan::rustc::{Compilation, requires_upstream_objects};
use crate::plan::settings::Settings;
use crate::toolchain::model::{RustToolchain, SystemTree, TargetInfo};
use crate::tree::TreeRef;
use crate::unit::graph::{Mode, Platform, Unit, UnitGraph, UnitIndex};
use crate::unit::lto::LtoMode;

mod artifacts;
pub mod clippy;
mod codegen;
pub mod docs;
mod encode;
pub mod env;
mod given;
pub mod graph;
pub mod identity;
pub mod layout;
pub mod print;
mod runs;
mod rustc;
mod scripts;
pub mod settings;

/// The descriptors under which every action knows the jobserver; fixed, since they stand in its environment.
pub const JOBSERVER_DESCRIPTORS: (i32, i32) = (3, 4);

/// How many jobs a build script is told that it may run. The number is part of the key of its run, so it cannot be
/// the number of this machine; what really runs at once is decided by the jobserver.
const NUM_JOBS: u32 = 4;

/// All that planning looks at.
#[derive(Debug)]
pub struct PlanInput<'a> {
    /// The workspace.
    pub workspace: &'a Workspace,
    /// The units to plan.
    pub units: &'a UnitGraph,
    /// How LTO is done for each unit, by index.
    pub lto: &'a [LtoMode],
    /// The packages of the units.
    pub packages: &'a BTreeMap<PackageId, Arc<Package>>,
    /// The content of each of these packages; of one from a repository, that of the repository.
    pub sources: &'a BTreeMap<PackageId, TreeRef>,
    /// What a package of the workspace sees of that besides its own directory: a tree of the workspace's root that has
    /// both.
    pub surroundings: &'a BTreeMap<PackageId, TreeRef>,
    /// The directories of repositories, by source: the packages of such a source lie in it.
    pub checkouts: &'a BTreeMap<SourceId, PathBuf>,
    /// The Rust toolchain.
    pub rust: &'a RustToolchain,
    /// What a compilation that links nothing sees at `/`: the libraries that rustc itself is linked with.
    pub runtime: &'a SystemTree,
    /// What a linking compilation or a build script sees at `/`: the C toolchain as well.
    pub system: &'a SystemTree,
    /// `PATH` of the programs in [`PlanInput::system`].
    pub search_path: &'a str,
    /// Whether the lints of the workspace's own packages are capped as well.
    pub caps_lints: bool,
    /// Packages that are granted more: what their build scripts see at `/`, and variables.
    pub granted: &'a BTreeMap<PackageId, Granted>,
    /// Where things are seen.
    pub layout: &'a Layout,
    /// What configuration says.
    pub settings: &'a Settings,
    /// The value of rustc's `--json`: it depends on the message format.
    pub rustc_json: &'a str,
    /// Which layers are demanded of the sandbox. It is part of every action, so that a result that was made behind
    /// fewer walls is never taken for another.
    pub isolation: &'a str,
    /// Digest of each sandbox profile, by name.
    pub profile_digests: &'a BTreeMap<String, String>,
    /// The packages that the user asked for.
    pub primary: &'a BTreeSet<PackageId>,
    /// The name of the directory of the build profile: `debug`, `release`, `<name>`.
    pub profile_directory: &'a str,
    /// How the tests among the units are run, if they are.
    pub tests: Option<&'a Tests>,
    /// What the workspace's own packages are checked with besides rustc.
    pub clippy: Option<&'a Clippy>,
    /// Whether what is private is documented, too.
    pub private_items: bool,
}

pub use clippy::Clippy;

/// How tests and benchmarks are run.
#[derive(Debug, Clone, Default)]
pub struct Tests {
    /// The arguments for each of their programs.
    pub arguments: Vec<String>,
    /// Whether they are to say little.
    pub quiet: bool,
    /// rustdoc's `--color`.
    pub color: &'static str,
    /// Variables of the user's that are passed on.
    pub environment: BTreeMap<String, String>,
    /// The content of the whole workspace, packages or not.
    pub workspace: Option<TreeRef>,
}

/// What policy grants to one package.
#[derive(Debug, Clone)]
pub struct Granted {
    /// What its build script sees at `/`.
    pub system: SystemTree,
    /// `PATH` of the programs in it.
    pub search_path: String,
    /// Variables of its build script and its tests.
    pub running: GrantedVariables,
    /// Variables of the compilers of its own crates: without those that only concern what acts within its build script.
    pub compiling: GrantedVariables,
    /// `PATH`, and what its compilers see at `/`, where that is more than others see.
    pub compilers: Option<(String, SystemTree)>,
    /// Paths below the package that the build script may write to, `.` for all of it.
    pub scratch: Vec<String>,
}

/// Variables that policy grants, besides those of every action.
#[derive(Debug, Clone, Default)]
pub struct GrantedVariables {
    /// Those that are passed on, with their values.
    pub passed_on: BTreeMap<String, String>,
    /// Those that policy sets. `$OUT_DIR` in a value is the directory of the package's build script.
    pub set: BTreeMap<String, String>,
}

impl GrantedVariables {
    /// Adds them to `environment`. Without an `out_dir` those that name it mean nothing.
    fn add_to(&self, environment: &mut BTreeMap<String, String>, out_dir: Option<&str>) {
        environment.extend(self.passed_on.clone());
        for (name, value) in &self.set {
            let value = match out_dir {
                Some(out_dir) => value.replace("$OUT_DIR", out_dir),
                None if value.contains("$OUT_DIR") => continue,
                None => value.clone(),
            };
            environment.insert(name.clone(), value);
        }
    }
}

/// Why a graph cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A target's source lies outside its package.
    #[error(
        "the source file `{path}` of target `{target}` lies outside its package `{package}`",
        path = path.display()
    )]
    SourceOutsidePackage {
        /// The package.
        package: PackageId,
        /// The target.
        target: String,
        /// The file.
        path: std::path::PathBuf,
    },
    /// The target platform cannot make this crate type.
    #[error(
        "`{package}`: target `{target}` is a `{crate_type}`, which `{triple}` does not support"
    )]
    UnsupportedCrateType {
        /// The package.
        package: PackageId,
        /// The target.
        target: String,
        /// The crate type.
        crate_type: String,
        /// The platform.
        triple: String,
    },
    /// A unit's mode has no action yet.
    #[error("{what} cannot be planned as an action yet")]
    UnsupportedMode {
        /// The kind of unit.
        what: &'static str,
    },
    /// A path of a package is not a valid path for an action.
    #[error("a path of package `{package}` cannot be given to an action")]
    Path {
        /// The package.
        package: PackageId,
        /// Why.
        #[source]
        source: crate::path::PathError,
    },
}

impl PlanError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            PlanError::SourceOutsidePackage { .. } => {
                "an action sees its own package and files of the workspace that the package's manifest or text names: \
                 move the file into the workspace"
                    .to_owned()
            }
            PlanError::UnsupportedCrateType { .. } => {
                "leave the crate type out for this platform, or build for another `--target`"
                    .to_owned()
            }
            PlanError::UnsupportedMode { .. } => {
                "use cargo for this one until kiln can do it".to_owned()
            }
            PlanError::Path { .. } => "rename the directory".to_owned(),
        })
    }
}

/// Plans all of `input`.
pub fn plan(input: &PlanInput<'_>) -> Result<ActionGraph, PlanError> {
    let identities = identity::identities(
        input.workspace,
        input.units,
        input.lto,
        &input.rust.version.verbose,
        input.settings,
    );
    let mut planner = Planner {
        input,
        identities,
        by_unit: BTreeMap::new(),
        actions: Vec::new(),
        last_documented: docs::last_documented(input.units),
    };
    for unit in identity::topological(input.units) {
        if input.units.unit(unit).mode == Mode::Doctest {
            // Run once everything is built.
            continue;
        }
        let action = planner.action(unit)?;
        planner
            .by_unit
            .insert(unit, ActionIndex(planner.actions.len()));
        planner.actions.push(action);
    }
    encode::assign_ids(&mut planner.actions);
    let artifacts = planner.artifacts()?;
    let mut runs = match input.tests {
        Some(tests) => planner.runs(tests, &artifacts)?,
        None => Vec::new(),
    };
    encode::assign_run_ids(&planner.actions, &mut runs);
    Ok(ActionGraph {
        documentation: planner.documentation(),
        actions: planner.actions,
        artifacts,
        runs,
    })
}

struct Planner<'a> {
    input: &'a PlanInput<'a>,
    identities: Vec<UnitIdentity>,
    by_unit: BTreeMap<UnitIndex, ActionIndex>,
    actions: Vec<PlannedAction>,
    /// For each platform the unit that is documented last.
    last_documented: BTreeMap<Platform, UnitIndex>,
}

/// Where a package is seen.
struct Place {
    /// The package's directory.
    root: SandboxPath,
    /// Where its source is seen: its own directory, or that of the repository that it lies in.
    source: SandboxPath,
    /// Where that and its surroundings are seen.
    seen: SandboxPath,
    /// The working directory of its rustc.
    directory: SandboxPath,
}

impl Planner<'_> {
    fn package(&self, unit: &Unit) -> &Arc<Package> {
        &self.input.packages[&unit.package]
    }

    fn place(&self, package: &Package) -> Result<Place, PlanError> {
        let layout = self.input.layout;
        let source = package.id().source();
        if let Some(directory) = self.input.checkouts.get(source)
            && let Ok(relative) = package.root().strip_prefix(directory)
        {
            let relative = relative_path(relative).map_err(|source| PlanError::Path {
                package: package.id().clone(),
                source,
            })?;
            let source = layout.repository(source);
            let root = relative.map_or(source.clone(), |relative| source.join(&relative));
            return Ok(Place {
                directory: root.clone(),
                root,
                seen: source.clone(),
                source,
            });
        }
        match package.root().strip_prefix(&self.input.workspace.root) {
            Ok(relative) => {
                let relative = relative_path(relative).map_err(|source| PlanError::Path {
                    package: package.id().clone(),
                    source,
                })?;
                let root = layout.member(relative.as_ref());
                let has_surroundings = self.input.surroundings.contains_key(package.id());
                Ok(Place {
                    seen: if has_surroundings {
                        layout.workspace()
                    } else {
                        root.clone()
                    },
                    source: root.clone(),
                    root,
                    directory: layout.workspace(),
                })
            }
            Err(_) => {
                let root = layout.source(package.id());
                Ok(Place {
                    directory: root.clone(),
                    source: root.clone(),
                    seen: root.clone(),
                    root,
                })
            }
        }
    }

    fn target_info(&self, unit: &Unit) -> &TargetInfo {
        match &unit.platform {
            Platform::Host => self.input.rust.host(),
            Platform::Target(triple) => self
                .input
                .rust
                .targets
                .get(&**triple)
                .unwrap_or_else(|| self.input.rust.host()),
        }
    }

    fn out(&self, index: UnitIndex) -> SandboxPath {
        let unit = self.input.units.unit(index);
        self.input.layout.out(
            unit.package.name().as_str(),
            self.identities[index.0].as_str(),
        )
    }

    fn temporary(&self, index: UnitIndex) -> SandboxPath {
        let unit = self.input.units.unit(index);
        self.input.layout.temporary(
            unit.package.name().as_str(),
            self.identities[index.0].as_str(),
        )
    }

    /// Where a run of a build script writes: a directory of its own below the unit's.
    fn out_dir(&self, index: UnitIndex) -> SandboxPath {
        let unit = self.input.units.unit(index);
        self.out(index).join(&Layout::script_out(
            unit.package.name().as_str(),
            env::profile_name(unit),
        ))
    }

    fn action(&self, index: UnitIndex) -> Result<PlannedAction, PlanError> {
        let unit = self.input.units.unit(index);
        match unit.mode {
            Mode::Build | Mode::Test | Mode::Check { .. } => self.compile(index),
            Mode::RunCustomBuild => self.run_build_script(index),
            Mode::Doc => self.document(index),
            Mode::Doctest => Err(PlanError::UnsupportedMode {
                what: "a documentation test",
            }),
        }
    }

    /// What every action of `unit` sees: toolchain, package, and the machine's part as the action's system tree.
    fn common_inputs(&self, package: &Package, place: &Place) -> Vec<Input> {
        let rust = self.input.rust;
        vec![
            Input {
                at: self.input.layout.toolchain(),
                source: InputSource::Tree(TreeRef {
                    digest: rust.tree,
                    size_bytes: rust.tree_size_bytes,
                }),
            },
            Input {
                at: place.seen.clone(),
                source: InputSource::Tree(
                    *self
                        .input
                        .surroundings
                        .get(package.id())
                        .unwrap_or(&self.input.sources[package.id()]),
                ),
            },
        ]
    }

    fn platform(&self, kind: ActionKind, scratch: &[String]) -> BTreeMap<String, String> {
        let profile = kind.profile();
        let digest = self
            .input
            .profile_digests
            .get(profile)
            .cloned()
            .unwrap_or_default();
        let mut platform = BTreeMap::from([
            (
                "ISA".to_owned(),
                isa(&self.input.rust.version.host).to_owned(),
            ),
            ("OSFamily".to_owned(), "linux".to_owned()),
            (
                "kiln-sandbox".to_owned(),
                format!("{}:{profile}:{digest}", self.input.isolation),
            ),
        ]);
        if !scratch.is_empty() {
            platform.insert("kiln-scratch".to_owned(), scratch.join("\n"));
        }
        platform
    }

    /// The units whose crates rustc may have to load for `index`, in the order in which they are first met. What a
    /// procedural macro is made of stays out: it is loaded as a whole.
    fn linkable_closure(&self, index: UnitIndex) -> Vec<UnitIndex> {
        let mut seen = BTreeSet::new();
        let mut order = Vec::new();
        let mut stack: Vec<UnitIndex> = vec![index];
        while let Some(next) = stack.pop() {
            let unit = self.input.units.unit(next);
            if next != index {
                if !seen.insert(next) {
                    continue;
                }
                order.push(next);
                if unit.target.is_proc_macro() {
                    continue;
                }
            }
            for dependency in &unit.dependencies {
                let target = &self.input.units.unit(dependency.unit).target;
                if target.is_linkable() && !seen.contains(&dependency.unit) {
                    stack.push(dependency.unit);
                }
            }
        }
        order
    }

    fn compile(&self, index: UnitIndex) -> Result<PlannedAction, PlanError> {
        let unit = self.input.units.unit(index);
        let package = self.package(unit);
        let place = self.place(package)?;
        let out = self.out(index);
        let info = self.target_info(unit);
        let settings = self.input.settings.of(&unit.platform);
        let identity = &self.identities[index.0];
        let files = rustc::output_files(package, unit, identity, info).map_err(|error| {
            PlanError::UnsupportedCrateType {
                package: unit.package.clone(),
                target: unit.target.name.clone(),
                crate_type: error.crate_type,
                triple: info.triple.clone(),
            }
        })?;
        let is_primary = self.input.primary.contains(&unit.package);
        let toolchain = self.input.layout.toolchain();
        let compilation = Compilation {
            unit,
            package,
            identity,
            lto: &self.input.lto[index.0],
            source: self.source_argument(package, &unit.target, &place)?,
            out: &out,
            is_primary,
            target_info: info,
            linker: settings.linker.as_deref(),
            toolchain: &toolchain,
            json: self.input.rustc_json,
        };
        let is_member = self.input.workspace.is_member(&unit.package);
        let rustc = self.tool("rustc");
        let mut programs: Vec<&str> = self.input.settings.wrappers(is_member).collect();
        let is_wrapped = !programs.is_empty();
        programs.push(rustc.as_str());
        let mut arguments: Vec<Argument> = programs.iter().skip(1).map(|name| text(name)).collect();
        let program = SandboxPath::new(programs[0]).map_err(|source| PlanError::Path {
            package: unit.package.clone(),
            source,
        })?;
        arguments.extend(
            rustc::base_arguments(&compilation)
                .into_iter()
                .map(Argument::Text),
        );
        let mut inputs = self.common_inputs(package, &place);
        let mut dependencies = BTreeMap::new();

        self.crates(index, &mut arguments, &mut inputs, &mut dependencies);
        if self.input.caps_lints || !unit.package.source().is_path() {
            arguments.extend(["--cap-lints", "allow"].map(text));
        }
        if !self.input.layout.is_canonical() {
            let prefix = self.input.layout.prefix();
            let remap = format!("--remap-path-prefix={prefix}={}", layout::CANONICAL_PREFIX);
            arguments.push(Argument::Text(remap));
        }
        arguments.extend(settings.rustflags.iter().map(|flag| text(flag)));
        let environment_of =
            self.build_script_results(index, &mut arguments, &mut inputs, &mut dependencies);
        if rustc::is_linked(unit) {
            let packages = self
                .scripts_to_link(index)
                .into_iter()
                .map(|script| &self.input.units.unit(script).package)
                .collect();
            self.add_sources(&place, &packages, InputSource::Searched, &mut inputs)?;
        }

        let out_dir = self
            .own_build_script(unit)
            .map(|script| self.out_dir(script));
        let mut environment = env::Compile {
            common: self.common_environment(package, &place, vec![self.library_path()]),
            unit,
            is_primary,
            out_dir: out_dir.as_ref().map(SandboxPath::as_str),
            target_tmpdir: Some(self.input.layout.target_tmpdir().as_str()),
            executables: &self.binaries(index, &mut inputs, &mut dependencies),
            makeflags: Some(&makeflags()),
            script: None,
        }
        .variables();
        if let Some(granted) = self.input.granted.get(&unit.package) {
            let out_dir = out_dir.as_ref().map(SandboxPath::as_str);
            granted.compiling.add_to(&mut environment, out_dir);
        }
        if is_member && let Some(clippy) = self.input.clippy {
            self.add_clippy(clippy, &unit.package, &mut environment, &mut inputs);
        }
        let temporary = self.temporary(index);
        let (search_path, system) = self.compiler_sees(unit, is_wrapped || rustc::is_linked(unit));
        add_process_environment(&mut environment, &toolchain, &temporary, search_path);
        inputs.sort_by(|left, right| left.at.cmp(&right.at));
        Ok(PlannedAction {
            id: ActionId::from_bytes([0; 32]),
            kind: ActionKind::Rustc,
            unit: index,
            label: label(unit),
            program,
            arguments,
            environment,
            environment_of,
            metadata_of: Vec::new(),
            directory: place.directory,
            inputs,
            output_directory: out,
            outputs: Outputs::Files(files),
            temporary_directory: temporary,
            dependencies,
            platform: self.platform(ActionKind::Rustc, &[]),
            scratch: Vec::new(),
            system: tree_ref(system),
            run: None,
            given: None,
            prepared: Vec::new(),
        })
    }

    /// `PATH` of a compiler of `unit`, and what it sees at `/`: more if it starts other programs.
    fn compiler_sees(&self, unit: &Unit, starts_programs: bool) -> (&str, &SystemTree) {
        let granted = self.input.granted.get(&unit.package);
        match granted.and_then(|granted| granted.compilers.as_ref()) {
            Some((search_path, system)) => (search_path, system),
            None if starts_programs => (self.input.search_path, self.input.system),
            None => (self.input.search_path, self.input.runtime),
        }
    }

    fn tool(&self, name: &str) -> SandboxPath {
        let relative = RelPath::new(format!("bin/{name}")).expect("a plain path");
        self.input.layout.toolchain().join(&relative)
    }

    fn cargo(&self) -> SandboxPath {
        self.tool("cargo")
    }

    /// Where the libraries of rustc itself are, which procedural macros are linked with.
    fn library_path(&self) -> String {
        format!("{}/lib", self.input.layout.toolchain())
    }

    fn common_environment<'e>(
        &'e self,
        package: &'e Package,
        place: &'e Place,
        library_path: Vec<String>,
    ) -> env::Common<'e> {
        env::Common {
            package,
            manifest_dir: place.root.as_str(),
            cargo: self.cargo().to_string(),
            library_path,
            configured: &self.input.settings.environment,
        }
    }

    /// The crate root as cargo gives it: relative to the workspace for what lies in it, absolute elsewhere.
    fn source_argument(
        &self,
        package: &Package,
        target: &Target,
        place: &Place,
    ) -> Result<String, PlanError> {
        let outside = || PlanError::SourceOutsidePackage {
            package: package.id().clone(),
            target: target.name.clone(),
            path: target.src_path.clone(),
        };
        let below_package = target.src_path.strip_prefix(package.root()).ok();
        let below_workspace = || {
            let relative = target.src_path.strip_prefix(&self.input.workspace.root);
            relative
                .ok()
                .filter(|_| self.input.surroundings.contains_key(package.id()))
        };
        let (root, relative) = match (below_package, below_workspace()) {
            (Some(relative), _) => (&place.root, relative),
            (None, Some(relative)) => (&place.seen, relative),
            (None, None) => return Err(outside()),
        };
        // As cargo does, with each `..` of the manifest in it.
        let absolute = format!("{root}/{}", relative.to_string_lossy());
        let leads_to = normalised(&absolute).ok_or_else(outside)?;
        let leads_to = SandboxPath::new(leads_to).map_err(|source| PlanError::Path {
            package: package.id().clone(),
            source,
        })?;
        if !leads_to.is_within(&place.seen) || leads_to == place.seen {
            return Err(outside());
        }
        let beneath = format!("{}/", self.input.layout.workspace());
        Ok(match absolute.strip_prefix(&beneath) {
            Some(relative) if place.directory == self.input.layout.workspace() => {
                relative.to_owned()
            }
            _ => absolute,
        })
    }

    /// `-L dependency=…` and `--extern …`, and the inputs and edges behind them.
    fn crates(
        &self,
        index: UnitIndex,
        arguments: &mut Vec<Argument>,
        inputs: &mut Vec<Input>,
        dependencies: &mut BTreeMap<ActionIndex, Needs>,
    ) {
        let unit = self.input.units.unit(index);
        let mut searched: Vec<String> = Vec::new();
        for dependency in self.linkable_closure(index) {
            let action = self.by_unit[&dependency];
            let needs = self.needs(unit, self.input.units.unit(dependency));
            let names = self.crate_files(action, needs);
            if names.is_empty() {
                continue;
            }
            let at = self.out(dependency);
            searched.push(format!("dependency={at}"));
            inputs.push(Input {
                at,
                source: InputSource::Files { action, names },
            });
            add_need(dependencies, action, needs);
        }
        searched.sort_unstable();
        for path in searched {
            arguments.extend([text("-L"), Argument::Text(path)]);
        }
        for dependency in &unit.dependencies {
            let other = self.input.units.unit(dependency.unit);
            if !other.target.is_linkable() || other.mode == Mode::Doc {
                continue;
            }
            let action = self.by_unit[&dependency.unit];
            let out = self.out(dependency.unit);
            let prelude = if dependency.noprelude {
                "noprelude:"
            } else {
                ""
            };
            for name in self.extern_files(action, self.needs(unit, other)) {
                let value = format!("{prelude}{}={out}/{name}", dependency.extern_crate_name);
                arguments.extend([text("--extern"), Argument::Text(value)]);
            }
        }
        if unit.target.is_proc_macro() {
            arguments.extend(["--extern", "proc_macro"].map(text));
        }
    }

    /// Whether `dependent` can start at the metadata of `dependency`.
    fn needs(&self, dependent: &Unit, dependency: &Unit) -> Needs {
        let pipelined = !self.input.layout.is_real()
            && !requires_upstream_objects(dependent)
            && dependent.mode == Mode::Build
            && !requires_upstream_objects(dependency)
            && dependency.mode == Mode::Build;
        if pipelined {
            Needs::Metadata
        } else {
            Needs::Everything
        }
    }

    /// The files of `action` that a search for crates must find.
    fn crate_files(&self, action: ActionIndex, needs: Needs) -> Vec<String> {
        self.extern_files(action, needs)
    }

    fn extern_files(&self, action: ActionIndex, needs: Needs) -> Vec<String> {
        let Outputs::Files(files) = &self.actions[action.0].outputs else {
            return Vec::new();
        };
        let only_metadata =
            needs == Needs::Metadata || files.iter().all(|file| file.role == OutputRole::Metadata);
        let wanted = if only_metadata {
            OutputRole::Metadata
        } else {
            OutputRole::Linkable
        };
        files
            .iter()
            .filter(|file| file.role == wanted)
            .map(|file| file.name.clone())
            .collect()
    }

    /// `CARGO_BIN_EXE_<name>` of a test or benchmark, and the binaries as its inputs.
    fn binaries(
        &self,
        index: UnitIndex,
        inputs: &mut Vec<Input>,
        dependencies: &mut BTreeMap<ActionIndex, Needs>,
    ) -> BTreeMap<String, String> {
        let unit = self.input.units.unit(index);
        let mut binaries = BTreeMap::new();
        if !(unit.target.is_test() || unit.target.is_bench()) {
            return binaries;
        }
        for dependency in &unit.dependencies {
            let other = self.input.units.unit(dependency.unit);
            if !other.target.is_bin() || other.mode != Mode::Build {
                continue;
            }
            let action = self.by_unit[&dependency.unit];
            let Outputs::Files(files) = &self.actions[action.0].outputs else {
                continue;
            };
            let Some(program) = files.first() else {
                continue;
            };
            let at = self.out(dependency.unit);
            binaries.insert(other.target.name.clone(), format!("{at}/{}", program.name));
            inputs.push(Input {
                at,
                source: InputSource::Files {
                    action,
                    names: vec![program.name.clone()],
                },
            });
            add_need(dependencies, action, Needs::Everything);
        }
        binaries
    }
}

/// `CARGO_MAKEFLAGS`, the same on every machine.
fn makeflags() -> String {
    let (read, write) = JOBSERVER_DESCRIPTORS;
    format!("-j --jobserver-fds={read},{write} --jobserver-auth={read},{write}")
}

/// What every process of a build gets, whatever it is.
fn add_process_environment(
    environment: &mut BTreeMap<String, String>,
    toolchain: &SandboxPath,
    temporary: &SandboxPath,
    search_path: &str,
) {
    let fixed = [
        // Cargo, which build scripts and macros ask for metadata, does not start without one.
        ("HOME", temporary.to_string()),
        ("LANG", "C.UTF-8".to_owned()),
        ("PATH", format!("{toolchain}/bin:{search_path}")),
        // The date that tools stamp into what they make: the first that zip archives can express.
        ("SOURCE_DATE_EPOCH", "315532800".to_owned()),
        ("TMPDIR", temporary.to_string()),
        ("TZ", "UTC".to_owned()),
    ];
    for (name, value) in fixed {
        environment.entry(name.to_owned()).or_insert(value);
    }
}

fn text(argument: &str) -> Argument {
    Argument::Text(argument.to_owned())
}

fn tree_ref(system: &SystemTree) -> TreeRef {
    TreeRef {
        digest: system.tree,
        size_bytes: system.tree_size_bytes,
    }
}

fn add_need(dependencies: &mut BTreeMap<ActionIndex, Needs>, action: ActionIndex, needs: Needs) {
    let entry = dependencies.entry(action).or_insert(needs);
    *entry = (*entry).max(needs);
}

/// An absolute path without its `.` and `..`, as text; `None` if it leads above `/`.
fn normalised(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

/// A relative host path as text; `None` for the empty path.
fn relative_path(path: &Path) -> Result<Option<RelPath>, crate::path::PathError> {
    if path.as_os_str().is_empty() {
        Ok(None)
    } else {
        RelPath::new(path.to_string_lossy()).map(Some)
    }
}

/// The kinds of link arguments that count for a target.
fn link_arg_targets(target: &Target, mode: Mode) -> Vec<LinkArgTarget> {
    [
        LinkArgTarget::All,
        LinkArgTarget::Cdylib,
        LinkArgTarget::Bins,
        LinkArgTarget::Bin(target.name.clone()),
        LinkArgTarget::Tests,
        LinkArgTarget::Benches,
        LinkArgTarget::Examples,
    ]
    .into_iter()
    .filter(|kind| kind.applies_to(target, mode))
    .collect()
}

/// The instruction set of a triple, by REAPI's names.
fn isa(triple: &str) -> &str {
    match triple.split('-').next().unwrap_or(triple) {
        "x86_64" => "x86-64",
        "aarch64" => "arm-a64",
        other => other,
    }
}

fn label(unit: &Unit) -> String {
    let what = match (unit.mode, &unit.target.kind) {
        (Mode::RunCustomBuild, _) => "run build script".to_owned(),
        (_, TargetKind::CustomBuild) => "build script".to_owned(),
        (Mode::Doc, TargetKind::Lib(_)) => "lib doc".to_owned(),
        (Mode::Doc, _) => format!("\"{}\" doc", unit.target.name),
        (Mode::Test | Mode::Check { test: true }, TargetKind::Lib(_)) => "lib test".to_owned(),
        (_, TargetKind::Lib(_)) => "lib".to_owned(),
        (Mode::Test | Mode::Check { test: true }, TargetKind::Bin) => {
            format!("bin \"{}\" test", unit.target.name)
        }
        (_, TargetKind::Bin) => format!("bin \"{}\"", unit.target.name),
        (_, TargetKind::Test) => format!("test \"{}\"", unit.target.name),
        (_, TargetKind::Bench) => format!("bench \"{}\"", unit.target.name),
        (_, TargetKind::ExampleBin | TargetKind::ExampleLib(_)) => {
            format!("example \"{}\"", unit.target.name)
        }
    };
    format!(
        "{} {} ({what})",
        unit.package.name(),
        unit.package.version()
    )
}
