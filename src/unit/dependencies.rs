//! Dependencies of units: what has to be there before a unit can be compiled, run or documented.
//!
//! The resolution says which package needs which; here that becomes which *target* needs which, in which mode, for
//! which platform and with which features. Source: cargo's `core::compiler::unit_dependencies`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::manifest::model::{Package, Target};
use crate::package::{Dependency, DependencyKind};
use crate::unit::UnitError;
use crate::unit::context::{Context, Wanted};
use crate::unit::draft::{
    Draft, DraftDependency, DraftGraph, DraftIndex, Interner, UnitFor, is_any_proc_macro,
};
use crate::unit::graph::{Mode, Platform};
use crate::unit::packages::PackageIndex;
use crate::unit::profiles::Profiles;
use crate::unit::request::Intent;

struct Builder<'c, 'a, 'i> {
    context: &'c Context<'a>,
    interner: &'i mut Interner,
    graph: DraftGraph,
    /// Edges that are there because of a dev-dependency alone.
    dev_edges: HashSet<(DraftIndex, DraftIndex)>,
}

/// Everything that `roots` need, themselves included; each list in cargo's order.
pub(crate) fn build(
    context: &Context<'_>,
    roots: &[DraftIndex],
    interner: &mut Interner,
) -> Result<DraftGraph, UnitError> {
    let mut builder = Builder {
        context,
        interner,
        graph: HashMap::new(),
        dev_edges: HashSet::new(),
    };
    for &root in roots {
        let unit_for = builder.unit_for_root(root);
        builder.reach(root, unit_for)?;
    }
    builder.connect_build_scripts();
    let Builder {
        mut graph,
        interner,
        ..
    } = builder;
    for dependencies in graph.values_mut() {
        dependencies.sort_by(|a, b| interner.compare_dependencies(a, b));
    }
    Ok(graph)
}

/// In which mode a library is built for a unit in `mode`: what is only checked or documented needs metadata only,
/// but what runs during the build has to be built.
fn dependency_mode(mode: Mode, target: &Target) -> Mode {
    match mode {
        Mode::Check { .. } | Mode::Doc if !target.for_host => Mode::Check { test: false },
        _ => Mode::Build,
    }
}

impl<'a> Builder<'_, 'a, '_> {
    fn unit_for_root(&self, root: DraftIndex) -> UnitFor {
        let unit = self.interner.get(root);
        let platform = unit.platform.clone();
        let proc_macro = is_any_proc_macro(&unit.target);
        if unit.mode.is_any_test() || self.context.intent.is_rustc_test() {
            if proc_macro {
                UnitFor::host_test(platform)
            } else {
                UnitFor::test(platform)
            }
        } else if proc_macro {
            UnitFor::host(true, platform)
        } else {
            UnitFor::normal(platform)
        }
    }

    /// Adds `unit` and all that it needs, depth first, as the first to come decides what a unit is for.
    fn reach(&mut self, unit: DraftIndex, unit_for: UnitFor) -> Result<(), UnitError> {
        let mut waiting = vec![(unit, unit_for)];
        while let Some((unit, unit_for)) = waiting.pop() {
            if self.graph.contains_key(&unit) {
                continue;
            }
            let dependencies = self.dependencies(unit, &unit_for)?;
            waiting.extend(
                dependencies
                    .iter()
                    .rev()
                    .map(|dependency| (dependency.unit, dependency.unit_for.clone())),
            );
            self.graph.insert(unit, dependencies);
        }
        Ok(())
    }

    fn dependencies(
        &mut self,
        index: DraftIndex,
        unit_for: &UnitFor,
    ) -> Result<Vec<DraftDependency>, UnitError> {
        let unit = Arc::clone(self.interner.get(index));
        match unit.mode {
            Mode::RunCustomBuild => self.of_build_script_run(&unit, unit_for),
            Mode::Doc => self.of_documentation(&unit, unit_for),
            _ => self.of_compilation(index, &unit, unit_for),
        }
    }

    fn of_compilation(
        &mut self,
        index: DraftIndex,
        unit: &Draft,
        unit_for: &UnitFor,
    ) -> Result<Vec<DraftDependency>, UnitError> {
        let package = self.context.package(unit.package)?;
        let mut out = Vec::new();
        for (to, dependencies) in self.applying(unit, unit_for) {
            let Some(library) = self.context.package(to)?.library() else {
                continue;
            };
            let found = self.library_of(unit, unit_for, to, library, None)?;
            if dependencies
                .iter()
                .all(|dependency| !dependency.is_transitive())
            {
                self.dev_edges.insert((index, found.unit));
            }
            out.push(found);
        }
        let target = &unit.target;
        if target.is_custom_build() {
            return Ok(out);
        }
        out.extend(self.build_script_run(unit, package, unit_for)?);
        if target.is_lib() && unit.mode != Mode::Doctest {
            return Ok(out);
        }
        out.extend(self.own_library(unit, package, unit_for)?);
        // Integration tests and benchmarks run the package's programs.
        if !unit.mode.is_check()
            && unit.mode.is_any_test()
            && (target.is_test() || target.is_bench())
        {
            out.extend(self.own_programs(unit, package, unit_for)?);
        }
        Ok(out)
    }

    /// The library `target` of package `to` as `unit` needs it; in `mode`, or in the one that follows from the unit's.
    fn library_of(
        &mut self,
        unit: &Draft,
        unit_for: &UnitFor,
        to: PackageIndex,
        target: &Arc<Target>,
        mode: Option<Mode>,
    ) -> Result<DraftDependency, UnitError> {
        let wanted = Wanted {
            package: to,
            target,
            unit_for: unit_for.with_dependency(&unit.target, target),
            platform: Context::platform_for(&unit.platform, target),
            mode: mode.unwrap_or_else(|| dependency_mode(unit.mode, target)),
        };
        self.context.dependency(self.interner, unit.package, wanted)
    }

    fn own_library(
        &mut self,
        unit: &Draft,
        package: &Package,
        unit_for: &UnitFor,
    ) -> Result<Option<DraftDependency>, UnitError> {
        let library = package.targets.iter().find(|target| target.is_linkable());
        library
            .map(|library| self.library_of(unit, unit_for, unit.package, library, None))
            .transpose()
    }

    fn own_programs(
        &mut self,
        unit: &Draft,
        package: &Package,
        unit_for: &UnitFor,
    ) -> Result<Vec<DraftDependency>, UnitError> {
        let mut out = Vec::new();
        let mut enabled: Option<HashSet<String>> = None;
        for target in package.targets.iter().filter(|target| target.is_bin()) {
            if let Some(required) = &target.required_features {
                let enabled = match &mut enabled {
                    Some(known) => known,
                    slot => slot.insert(
                        self.context
                            .all_features(
                                unit.package,
                                false,
                                std::slice::from_ref(&unit.platform),
                            )?
                            .into_iter()
                            .collect(),
                    ),
                };
                if !required.iter().all(|feature| enabled.contains(feature)) {
                    continue;
                }
            }
            let wanted = Wanted {
                package: unit.package,
                target,
                unit_for: UnitFor::normal(unit_for.root.clone()),
                platform: Context::platform_for(&unit.platform, target),
                mode: Mode::Build,
            };
            out.push(
                self.context
                    .dependency(self.interner, unit.package, wanted)?,
            );
        }
        Ok(out)
    }

    /// The run of the package's build script on behalf of `unit`.
    fn build_script_run(
        &mut self,
        unit: &Draft,
        package: &Package,
        unit_for: &UnitFor,
    ) -> Result<Option<DraftDependency>, UnitError> {
        let Some(script) = package.build_script() else {
            return Ok(None);
        };
        let profile = Profiles::of_build_script_run(&unit.profile);
        let wanted = Wanted {
            package: unit.package,
            target: script,
            unit_for: unit_for.for_custom_build(),
            platform: unit.platform.clone(),
            mode: Mode::RunCustomBuild,
        };
        self.context
            .dependency_with_profile(self.interner, unit.package, wanted, profile)
            .map(Some)
    }

    /// Running a build script needs the script. That it also needs the runs for packages with `links` is added when
    /// the whole graph is known.
    fn of_build_script_run(
        &mut self,
        unit: &Draft,
        unit_for: &UnitFor,
    ) -> Result<Vec<DraftDependency>, UnitError> {
        let package = self.context.package(unit.package)?;
        if self.context.is_overridden(package, &unit.platform) {
            return Ok(Vec::new());
        }
        let wanted = Wanted {
            package: unit.package,
            target: &unit.target,
            unit_for: unit_for.for_custom_build(),
            platform: Platform::Host,
            mode: Mode::Build,
        };
        Ok(vec![self.context.dependency(
            self.interner,
            unit.package,
            wanted,
        )?])
    }

    fn of_documentation(
        &mut self,
        unit: &Draft,
        unit_for: &UnitFor,
    ) -> Result<Vec<DraftDependency>, UnitError> {
        let package = self.context.package(unit.package)?;
        let with_dependencies = matches!(self.context.intent, Intent::Doc { dependencies: true });
        let mut out = Vec::new();
        for (to, _) in self.applying(unit, unit_for) {
            let Some(library) = self.context.package(to)?.library() else {
                continue;
            };
            out.push(self.library_of(unit, unit_for, to, library, None)?);
            if library.documented && with_dependencies {
                out.push(self.library_of(unit, unit_for, to, library, Some(unit.mode))?);
            }
        }
        out.extend(self.build_script_run(unit, package, unit_for)?);
        if unit.target.is_bin() || unit.target.is_example() {
            out.extend(self.own_library(unit, package, unit_for)?);
            // Links from the program's pages lead to the library's.
            let documented = package
                .targets
                .iter()
                .find(|target| target.is_linkable() && target.documented);
            if let Some(library) = documented {
                let mode = Some(unit.mode);
                out.push(self.library_of(unit, unit_for, unit.package, library, mode)?);
            }
        }
        Ok(out)
    }

    /// The dependencies of the unit's package that are for this unit.
    fn applying(
        &self,
        unit: &Draft,
        unit_for: &UnitFor,
    ) -> Vec<(PackageIndex, Vec<&'a Dependency>)> {
        let context = self.context;
        let target = &unit.target;
        let is_for = |dependency: &Dependency| {
            if target.is_custom_build() != (dependency.kind == DependencyKind::Build) {
                return false;
            }
            if !dependency.is_transitive()
                && !target.is_test()
                && !target.is_example()
                && !unit.mode.is_any_test()
            {
                return false;
            }
            if !context
                .platforms
                .applies(dependency.platform.as_ref(), &unit.platform)
            {
                return false;
            }
            !dependency.optional
                || context.features.is_active(
                    unit.package,
                    unit_for.host_features,
                    dependency.name_in_manifest().as_str(),
                )
        };
        context
            .graph
            .edges(unit.package)
            .iter()
            .filter_map(|edge| {
                let dependencies: Vec<&Dependency> = edge
                    .dependencies
                    .iter()
                    .copied()
                    .filter(|dependency| is_for(dependency))
                    .collect();
                (!dependencies.is_empty()).then_some((edge.to, dependencies))
            })
            .collect()
    }

    /// A build script runs after those of the packages with `links` that the same unit needs: it is told what they
    /// printed.
    fn connect_build_scripts(&mut self) {
        // Sorted, so that what is added does not depend on the order of a hash map.
        let mut run_for: BTreeMap<DraftIndex, Vec<DraftIndex>> = BTreeMap::new();
        let mut units: Vec<DraftIndex> = self.graph.keys().copied().collect();
        units.sort_unstable();
        for &unit in &units {
            for dependency in &self.graph[&unit] {
                if self.interner.get(dependency.unit).mode == Mode::RunCustomBuild {
                    run_for.entry(dependency.unit).or_default().push(unit);
                }
            }
        }
        let mut added: Vec<(DraftIndex, Vec<DraftDependency>)> = Vec::new();
        for (run, parents) in run_for {
            let own = self.interner.get(run).package;
            let mut new: Vec<DraftDependency> = Vec::new();
            let mut seen = HashSet::new();
            for parent in parents {
                for other in &self.graph[&parent] {
                    let unit = self.interner.get(other.unit);
                    let links = &self.context.graph.summary(unit.package).links;
                    if unit.package == own
                        || !unit.target.is_linkable()
                        || links.is_none()
                        || self.dev_edges.contains(&(parent, other.unit))
                    {
                        continue;
                    }
                    let run_of_other = self.graph[&other.unit].iter().find(|dependency| {
                        self.interner.get(dependency.unit).mode == Mode::RunCustomBuild
                    });
                    if let Some(found) = run_of_other {
                        let found = DraftDependency {
                            renamed: Some(other.renamed.clone().unwrap_or_else(|| {
                                self.context.graph.id(unit.package).name().as_str().into()
                            })),
                            ..found.clone()
                        };
                        if seen.insert(found.clone()) {
                            new.push(found);
                        }
                    }
                }
            }
            if !new.is_empty() {
                added.push((run, new));
            }
        }
        for (run, new) in added {
            self.graph.entry(run).or_default().extend(new);
        }
    }
}
