//! Build scripts: what the run of one is given, and what becomes of what it prints.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    NUM_JOBS, Place, PlanError, Planner, add_need, add_process_environment, env, label,
    link_arg_targets, makeflags, tree_ref,
};
use crate::digest::ActionId;
use crate::directive::LinkArgTarget;
use crate::package::PackageId;
use crate::path::RelPath;
use crate::plan::graph::{
    ActionIndex, ActionKind, Argument, Input, InputSource, Needs, Outputs, PlannedAction,
};
use crate::tree::TreeRef;
use crate::unit::graph::{Mode, Unit, UnitIndex};

impl Planner<'_> {
    /// The run of the build script that belongs to `unit`'s package, if `unit` depends on one.
    pub(super) fn own_build_script(&self, unit: &Unit) -> Option<UnitIndex> {
        unit.dependencies
            .iter()
            .map(|dependency| dependency.unit)
            .find(|index| {
                let other = self.input.units.unit(*index);
                other.mode == Mode::RunCustomBuild && other.package == unit.package
            })
    }

    /// The build scripts whose link directives reach `index`: its package's own, then those of the libraries that it
    /// links, in cargo's order (dependencies by package id, depth first, each once).
    pub(super) fn scripts_to_link(&self, index: UnitIndex) -> Vec<UnitIndex> {
        fn visit(
            planner: &Planner<'_>,
            index: UnitIndex,
            seen: &mut BTreeSet<UnitIndex>,
            found: &mut Vec<UnitIndex>,
        ) {
            if !seen.insert(index) {
                return;
            }
            let unit = planner.input.units.unit(index);
            if !unit.target.is_custom_build()
                && let Some(script) = planner.own_build_script(unit)
                && !found.contains(&script)
            {
                found.push(script);
            }
            let mut dependencies: Vec<UnitIndex> = unit
                .dependencies
                .iter()
                .map(|dependency| dependency.unit)
                .collect();
            dependencies.sort_by(|left, right| {
                planner
                    .input
                    .units
                    .unit(*left)
                    .package
                    .cmp(&planner.input.units.unit(*right).package)
            });
            for dependency in dependencies {
                let target = &planner.input.units.unit(dependency).target;
                if target.is_linkable() && !target.for_host {
                    visit(planner, dependency, seen, found);
                }
            }
        }
        let mut found = Vec::new();
        visit(self, index, &mut BTreeSet::new(), &mut found);
        found
    }

    /// What build scripts contribute to a compilation. Returns those whose `rustc-env` counts.
    pub(super) fn build_script_results(
        &self,
        index: UnitIndex,
        arguments: &mut Vec<Argument>,
        inputs: &mut Vec<Input>,
        dependencies: &mut BTreeMap<ActionIndex, Needs>,
    ) -> Vec<ActionIndex> {
        let unit = self.input.units.unit(index);
        let scripts = self.scripts_to_link(index);
        let own = self.own_build_script(unit);
        for script in &scripts {
            let action = self.by_unit[script];
            inputs.push(Input {
                at: self.out_dir(*script),
                source: InputSource::OutDir(action),
            });
            add_need(dependencies, action, Needs::Everything);
        }
        let actions: Vec<ActionIndex> = scripts.iter().map(|script| self.by_unit[script]).collect();
        if !actions.is_empty() {
            arguments.push(Argument::LibraryPaths(actions));
        }
        let links_libraries = unit.target.is_lib()
            || !self
                .package(unit)
                .targets
                .iter()
                .any(|target| target.is_lib());
        let applicable = link_arg_targets(&unit.target, unit.mode);
        for script in &scripts {
            let action = self.by_unit[script];
            let is_own = self.input.units.unit(*script).package == unit.package;
            if is_own && links_libraries {
                arguments.push(Argument::LibraryLinks(action));
            }
            let mut targets = applicable.clone();
            if !is_own {
                targets.retain(|target| *target == LinkArgTarget::Cdylib);
            }
            if !targets.is_empty() {
                arguments.push(Argument::LinkArgs {
                    of: action,
                    targets,
                });
            }
        }
        let own: Vec<ActionIndex> = own.iter().map(|script| self.by_unit[script]).collect();
        arguments.extend(own.iter().map(|action| Argument::Cfgs(*action)));
        own
    }

    /// The packages whose code is part of the program that `index` makes.
    pub(super) fn acting_within(&self, index: UnitIndex) -> BTreeSet<&PackageId> {
        let mut seen = BTreeSet::from([index]);
        let mut waiting = vec![index];
        let mut packages = BTreeSet::new();
        while let Some(index) = waiting.pop() {
            let unit = self.input.units.unit(index);
            packages.insert(&unit.package);
            waiting.extend(
                unit.dependencies
                    .iter()
                    .map(|dependency| dependency.unit)
                    .filter(|index| {
                        let unit = self.input.units.unit(*index);
                        unit.mode == Mode::Build && !unit.target.is_proc_macro()
                    })
                    .filter(|index| seen.insert(*index)),
            );
        }
        packages
    }

    /// Adds the sources of `packages` to what an action sees besides its own at `own`: crates such as `lua-src` hold what
    /// the build scripts that use them are to compile, and metadata of a dependency names its headers.
    pub(super) fn add_sources(
        &self,
        own: &Place,
        packages: &BTreeSet<&PackageId>,
        source: fn(TreeRef) -> InputSource,
        inputs: &mut Vec<Input>,
    ) -> Result<(), PlanError> {
        for id in packages {
            let at = self.place(&self.input.packages[*id])?.source;
            // Packages of one repository are seen together, and a package within another is seen there.
            let seen = inputs.iter().any(|input| input.at == at);
            if !seen && !at.is_within(&own.seen) && !own.seen.is_within(&at) {
                inputs.push(Input {
                    at,
                    source: source(self.input.sources[*id]),
                });
            }
        }
        Ok(())
    }

    pub(super) fn run_build_script(&self, index: UnitIndex) -> Result<PlannedAction, PlanError> {
        let unit = self.input.units.unit(index);
        let package = self.package(unit);
        let place = self.place(package)?;
        let overrides = &self.input.settings.of(&unit.platform).overrides;
        if let Some(output) = package
            .summary
            .links
            .as_ref()
            .and_then(|links| overrides.get(links))
        {
            return Ok(self.given(index, place, output));
        }
        let out_dir = self.out_dir(index);
        let mut inputs = self.common_inputs(package, &place);
        let mut dependencies = BTreeMap::new();
        let mut metadata_of = Vec::new();
        let mut read = BTreeSet::new();
        let mut program = None;
        for dependency in &unit.dependencies {
            let other = self.input.units.unit(dependency.unit);
            let action = self.by_unit[&dependency.unit];
            add_need(&mut dependencies, action, Needs::Everything);
            if other.mode == Mode::RunCustomBuild {
                // What a build script of a dependency prints may name files in its OUT_DIR (`DEP_Z_INCLUDE`).
                inputs.push(Input {
                    at: self.out_dir(dependency.unit),
                    source: InputSource::OutDir(action),
                });
                if let Some(links) = &self.package(other).summary.links {
                    metadata_of.push((action, links.clone()));
                    read.insert(&other.package);
                }
            } else if other.target.is_custom_build()
                && let Outputs::Files(files) = &self.actions[action.0].outputs
                && let Some(file) = files.first()
            {
                read.extend(self.acting_within(dependency.unit));
                let at = self.out(dependency.unit);
                program = RelPath::new(file.name.clone())
                    .ok()
                    .map(|name| at.join(&name));
                inputs.push(Input {
                    at,
                    source: InputSource::Files {
                        action,
                        names: vec![file.name.clone()],
                    },
                });
            }
        }
        let program = program.ok_or(PlanError::UnsupportedMode {
            what: "a build script without a program",
        })?;
        self.add_sources(&place, &read, InputSource::Tree, &mut inputs)?;
        let granted = self.input.granted.get(&unit.package);
        let settings = self.input.settings.of(&unit.platform);
        let mut environment = env::BuildScript {
            common: self.common_environment(package, &place, vec![self.library_path()]),
            unit,
            target: self.target_info(unit),
            host: &self.input.rust.version.host,
            out_dir: out_dir.as_str(),
            jobs: NUM_JOBS,
            rustc: self.tool("rustc").as_str(),
            rustdoc: self.tool("rustdoc").as_str(),
            linker: settings.linker.as_deref(),
            wrappers: [
                self.input.settings.wrapper.as_deref(),
                self.input
                    .settings
                    .workspace_wrapper
                    .as_deref()
                    .filter(|_| self.input.workspace.is_member(&unit.package)),
            ],
            rustflags: &settings.rustflags,
            makeflags: Some(&makeflags()),
            dependencies: &[],
        }
        .variables();
        let temporary = self.temporary(index);
        let search_path = granted.map_or(self.input.search_path, |granted| &granted.search_path);
        add_process_environment(
            &mut environment,
            &self.input.layout.toolchain(),
            &temporary,
            search_path,
        );
        if let Some(granted) = granted {
            let out_dir = Some(out_dir.as_str());
            granted.running.add_to(&mut environment, out_dir);
        }
        inputs.sort_by(|left, right| left.at.cmp(&right.at));
        Ok(PlannedAction {
            id: ActionId::from_bytes([0; 32]),
            kind: ActionKind::RunBuildScript,
            unit: index,
            label: label(unit),
            program,
            arguments: Vec::new(),
            environment,
            environment_of: Vec::new(),
            metadata_of,
            directory: place.root,
            inputs,
            output_directory: out_dir,
            outputs: Outputs::OutDir,
            temporary_directory: temporary,
            dependencies,
            platform: self.platform(
                ActionKind::RunBuildScript,
                granted.map_or(&[], |granted| &granted.scratch),
            ),
            scratch: granted.map_or_else(Vec::new, |granted| granted.scratch.clone()),
            system: tree_ref(granted.map_or(self.input.system, |granted| &granted.system)),
            run: None,
            given: None,
            prepared: Vec::new(),
        })
    }
}
