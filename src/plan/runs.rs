//! Runs of the workspace's own programs: tests, benchmarks, and the examples of documentation.
//!
//! A run sees what cargo would give it at canonical paths: the workspace, its own package as a copy that it may change,
//! the artifacts of the build laid out as in `target`, the binaries of its package where `CARGO_BIN_EXE_*` said that
//! they would be, and the libraries that it loads. It is no action of the graph: nothing depends on it, and what comes
//! of it is told and not kept.

use std::collections::BTreeMap;

use super::{
    Place, PlanError, Planner, Tests, add_need, add_process_environment, env, label,
    link_arg_targets, rustc, text, tree_ref,
};
use crate::digest::ActionId;
use crate::directive::LinkArgTarget;
use crate::manifest::model::Package;
use crate::path::{RelPath, SandboxPath};
use crate::plan::codegen;
use crate::plan::graph::{
    ActionIndex, ActionKind, Argument, Artifact, Input, InputSource, LaidOut, Needs, OutputRole,
    Outputs, PlannedAction, RunOptions,
};
use crate::tree::TreeRef;
use crate::unit::graph::{Mode, PanicStrategy, Platform, Unit, UnitIndex};

impl Planner<'_> {
    /// The runs in cargo's order: programs by unit, then documentation.
    pub(super) fn runs(
        &self,
        tests: &Tests,
        artifacts: &[Artifact],
    ) -> Result<Vec<PlannedAction>, PlanError> {
        let mut programs: Vec<UnitIndex> = self
            .input
            .units
            .roots
            .iter()
            .copied()
            .filter(|root| self.input.units.unit(*root).mode == Mode::Test)
            .collect();
        programs.sort_unstable();
        programs.dedup();
        let documented = self
            .input
            .units
            .roots
            .iter()
            .copied()
            .filter(|root| self.input.units.unit(*root).mode == Mode::Doctest);
        let mut runs = Vec::new();
        for unit in programs {
            runs.push(self.test(unit, tests, artifacts)?);
        }
        for unit in documented {
            runs.push(self.examples_of_documentation(unit, tests, artifacts)?);
        }
        Ok(runs)
    }

    fn test(
        &self,
        index: UnitIndex,
        tests: &Tests,
        artifacts: &[Artifact],
    ) -> Result<PlannedAction, PlanError> {
        let unit = self.input.units.unit(index);
        let mut run = self.run(index, tests, artifacts)?;
        let action = self.by_unit[&index];
        let artifact = artifacts
            .iter()
            .find(|artifact| artifact.action == action)
            .ok_or(PlanError::UnsupportedMode {
                what: "a test without a program",
            })?;
        run.program = self
            .target_directory(artifact.triple.as_deref())
            .join(&artifact.path);
        run.arguments = tests
            .arguments
            .iter()
            .map(|argument| text(argument))
            .collect();
        if tests.quiet && unit.target.harness {
            run.arguments.push(text("--quiet"));
        }
        if let Some((runner, first)) = self.input.settings.of(&unit.platform).runner.split_first() {
            let runner = SandboxPath::new(runner).map_err(|source| PlanError::Path {
                package: unit.package.clone(),
                source,
            })?;
            let program = std::mem::replace(&mut run.program, runner);
            let mut arguments: Vec<Argument> =
                first.iter().map(|argument| text(argument)).collect();
            arguments.push(text(program.as_str()));
            arguments.append(&mut run.arguments);
            run.arguments = arguments;
        }
        Ok(run)
    }

    fn examples_of_documentation(
        &self,
        index: UnitIndex,
        tests: &Tests,
        artifacts: &[Artifact],
    ) -> Result<PlannedAction, PlanError> {
        let unit = self.input.units.unit(index);
        let package = self.package(unit);
        let place = self.place(package)?;
        let mut run = self.run(index, tests, artifacts)?;
        let mut arguments: Vec<Argument> = Vec::new();
        let mut push = |argument: &str| arguments.push(text(argument));
        push(&format!("--edition={}", unit.target.edition.as_str()));
        for crate_type in unit.target.crate_types() {
            push("--crate-type");
            push(crate_type.as_str());
        }
        push("--color");
        push(tests.color);
        push("--crate-name");
        push(&unit.target.crate_name());
        push("--test");
        push(&self.source_argument(package, &unit.target, &place)?);
        push("--test-run-directory");
        push(place.root.as_str());
        if let Platform::Target(triple) = &unit.platform {
            push("--target");
            push(triple);
        }
        if unit.profile.panic != PanicStrategy::Unwind {
            push("-C");
            push(&format!(
                "panic={}",
                codegen::panic_value(unit.profile.panic)
            ));
        }
        for argument in &tests.arguments {
            push("--test-args");
            push(argument);
        }
        if tests.quiet {
            push("--test-args");
            push("--quiet");
        }
        for flag in &package.lint_rustflags {
            push(flag);
        }
        let settings = self.input.settings.of(&unit.platform);
        if let Some(linker) = &settings.linker {
            push("-C");
            push(&format!("linker={linker}"));
        }
        if let Some((runner, first)) = settings.runner.split_first() {
            push("--test-runtool");
            push(runner);
            for argument in first {
                push("--test-runtool-arg");
                push(argument);
            }
        }
        for option in codegen::lto_arguments(&self.input.lto[index.0]) {
            push("-C");
            push(&option);
        }
        for argument in rustc::feature_arguments(unit, package) {
            push(&argument);
        }
        push("--sysroot");
        push(self.input.layout.toolchain().as_str());
        for flag in &settings.rustdocflags {
            push(flag);
        }
        push("--error-format");
        push("human");
        let scripts: Vec<ActionIndex> = self
            .scripts_to_link(index)
            .iter()
            .map(|script| self.by_unit[script])
            .collect();
        if !scripts.is_empty() {
            arguments.push(Argument::LibraryPaths(scripts));
        }
        if let Some(own) = self.own_build_script(unit) {
            let own = self.by_unit[&own];
            arguments.push(Argument::Cfgs(own));
            let targets: Vec<LinkArgTarget> = link_arg_targets(&unit.target, unit.mode);
            if !targets.is_empty() {
                arguments.push(Argument::LinkArgs { of: own, targets });
            }
        }
        let mut inputs = std::mem::take(&mut run.inputs);
        // What is there already as a dynamic library comes again as something to link.
        self.crates(index, &mut arguments, &mut inputs, &mut run.dependencies);
        let mut seen = BTreeMap::new();
        for input in inputs {
            merge(&mut seen, input);
        }
        run.inputs = seen.into_values().collect();
        run.program = self.tool("rustdoc");
        run.directory = place.directory;
        run.arguments = arguments;
        Ok(run)
    }

    /// What both kinds of runs have in common; program and arguments are missing.
    fn run(
        &self,
        index: UnitIndex,
        tests: &Tests,
        artifacts: &[Artifact],
    ) -> Result<PlannedAction, PlanError> {
        let unit = self.input.units.unit(index);
        let package = self.package(unit);
        let place = self.place(package)?;
        let mut inputs: BTreeMap<SandboxPath, Input> = BTreeMap::new();
        let mut dependencies = BTreeMap::new();
        for input in self.surroundings(package, &place, tests) {
            merge(&mut inputs, input);
        }
        let triple = match &unit.platform {
            Platform::Host => None,
            Platform::Target(triple) => Some(triple.to_string()),
        };
        let laid_out: Vec<LaidOut> = artifacts
            .iter()
            .filter(|artifact| artifact.triple == triple)
            .map(|artifact| LaidOut {
                path: artifact.path.clone(),
                action: artifact.action,
                output: artifact.output.clone(),
            })
            .collect();
        for file in &laid_out {
            add_need(&mut dependencies, file.action, Needs::Everything);
        }
        let target = self.target_directory(triple.as_deref());
        if !laid_out.is_empty() {
            merge(
                &mut inputs,
                Input {
                    at: target.clone(),
                    source: InputSource::Artifacts(laid_out),
                },
            );
        }
        let mut more = Vec::new();
        let executables = self.binaries(index, &mut more, &mut dependencies);
        let mut libraries = vec![target.as_str().to_owned(), format!("{target}/deps")];
        self.dynamic_libraries(index, &mut libraries, &mut more, &mut dependencies);
        let scripts = self.scripts_to_link(index);
        let own = self.own_build_script(unit);
        for script in scripts.iter().chain(&own) {
            let action = self.by_unit[script];
            add_need(&mut dependencies, action, Needs::Everything);
            more.push(Input {
                at: self.out_dir(*script),
                source: InputSource::OutDir(action),
            });
        }
        for input in more {
            merge(&mut inputs, input);
        }
        let toolchain = self.input.layout.toolchain();
        libraries.push(format!(
            "{toolchain}/lib/rustlib/{}/lib",
            self.target_info(unit).triple
        ));
        if unit.mode == Mode::Doctest {
            libraries.push(self.library_path());
        }
        let out_dir = own.map(|script| self.out_dir(script));
        let mut environment = env::Process {
            common: self.common_environment(package, &place, libraries),
            target: &unit.target,
            out_dir: out_dir.as_ref().map(SandboxPath::as_str),
            executables: &executables,
            script: None,
        }
        .variables();
        let granted = self.input.granted.get(&unit.package);
        let temporary = self.temporary(index);
        let search_path = granted.map_or(self.input.search_path, |granted| &granted.search_path);
        environment.extend(tests.environment.clone());
        add_process_environment(&mut environment, &toolchain, &temporary, search_path);
        // A date for what is made, not for what is tested.
        if !tests.environment.contains_key("SOURCE_DATE_EPOCH") {
            environment.remove("SOURCE_DATE_EPOCH");
        }
        if let Some(granted) = granted {
            let out_dir = out_dir.as_ref().map(SandboxPath::as_str);
            granted.running.add_to(&mut environment, out_dir);
        }
        Ok(PlannedAction {
            id: ActionId::from_bytes([0; 32]),
            kind: ActionKind::Test,
            unit: index,
            label: label(unit),
            program: self.tool("rustdoc"),
            arguments: Vec::new(),
            environment,
            environment_of: own.iter().map(|script| self.by_unit[script]).collect(),
            metadata_of: Vec::new(),
            directory: place.root.clone(),
            inputs: inputs.into_values().collect(),
            output_directory: self.input.layout.target_tmpdir(),
            outputs: Outputs::Directory,
            temporary_directory: temporary,
            dependencies,
            platform: self.platform(ActionKind::Test, &[]),
            scratch: Vec::new(),
            prepared: Vec::new(),
            system: tree_ref(granted.map_or(self.input.system, |granted| &granted.system)),
            run: Some(RunOptions {
                package: (place.source, self.input.sources[package.id()]),
                libraries_of: scripts.iter().map(|script| self.by_unit[script]).collect(),
            }),
            given: None,
        })
    }

    /// The toolchain, and the workspace around the package, unless the package is all of it.
    fn surroundings(&self, package: &Package, place: &Place, tests: &Tests) -> Vec<Input> {
        let rust = self.input.rust;
        let mut inputs = vec![Input {
            at: self.input.layout.toolchain(),
            source: InputSource::Tree(TreeRef {
                digest: rust.tree,
                size_bytes: rust.tree_size_bytes,
            }),
        }];
        let workspace = self.input.layout.workspace();
        let is_inside = package.root().starts_with(&self.input.workspace.root);
        if let Some(tree) = tests.workspace
            && is_inside
            && place.root != workspace
        {
            inputs.push(Input {
                at: workspace,
                source: InputSource::Tree(tree),
            });
        }
        inputs
    }

    /// Where artifacts of a platform are laid out.
    fn target_directory(&self, triple: Option<&str>) -> SandboxPath {
        let directory = match triple {
            Some(triple) => format!("{triple}/{}", self.input.profile_directory),
            None => self.input.profile_directory.to_owned(),
        };
        let directory = RelPath::new(directory)
            .expect("a triple and the name of a profile are whole components");
        self.input.layout.target(&directory)
    }

    /// The dynamic libraries that `index` may load, as inputs, and the directories to search for them.
    fn dynamic_libraries(
        &self,
        index: UnitIndex,
        searched: &mut Vec<String>,
        inputs: &mut Vec<Input>,
        dependencies: &mut BTreeMap<ActionIndex, Needs>,
    ) {
        for dependency in self.linkable_closure(index) {
            let is_macro = |unit: &Unit| unit.target.is_proc_macro();
            let Some(action) = self.by_unit.get(&dependency).copied() else {
                continue;
            };
            let Outputs::Files(files) = &self.actions[action.0].outputs else {
                continue;
            };
            let names: Vec<String> = files
                .iter()
                .filter(|file| file.role == OutputRole::Linkable && file.name.ends_with(".so"))
                .map(|file| file.name.clone())
                .collect();
            if names.is_empty() || is_macro(self.input.units.unit(dependency)) {
                continue;
            }
            let at = self.out(dependency);
            searched.push(at.as_str().to_owned());
            inputs.push(Input {
                at,
                source: InputSource::Files { action, names },
            });
            add_need(dependencies, action, Needs::Everything);
        }
    }
}

/// Adds an input; files of one action that are there already are joined with it.
fn merge(inputs: &mut BTreeMap<SandboxPath, Input>, input: Input) {
    use std::collections::btree_map::Entry;
    match inputs.entry(input.at.clone()) {
        Entry::Vacant(vacant) => {
            vacant.insert(input);
        }
        Entry::Occupied(mut occupied) => {
            if let (InputSource::Files { names, .. }, InputSource::Files { names: more, .. }) =
                (&mut occupied.get_mut().source, input.source)
            {
                for name in more {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
        }
    }
}
