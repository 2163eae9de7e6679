//! What policy grants to the packages of one build, made real: system trees that hold the granted programs and
//! libraries, and the values of granted variables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::digest::TreeDigest;
use crate::driver::DriverError;
use crate::driver::inputs::declared::{Declared, Judge};
use crate::package::PackageId;
use crate::plan::{Granted, GrantedVariables};
use crate::policy::{Grant, Grants};
use crate::sandbox::Limits;
use crate::store::Store;
use crate::toolchain::c::{SystemGrants, system_tree};
use crate::toolchain::model::SystemTree;
use crate::unit::UnitGraph;
use crate::unit::graph::{Mode, UnitIndex};

/// The grants of a build.
#[derive(Debug)]
pub(in crate::driver) struct BuildGrants {
    /// What each package is granted that is granted anything.
    pub packages: BTreeMap<PackageId, Granted>,
    /// What everything that is linked sees at `/`: the C toolchain, and the libraries that a package of the build may
    /// link.
    pub linking: SystemTree,
    /// `PATH` of the programs in it.
    pub search_path: String,
    /// Every selection of the machine's files that was asked for, and the tree that it came to.
    pub systems: Vec<(SystemGrants, TreeDigest)>,
    /// The limits of each package that policy sets any for.
    pub limits: BTreeMap<PackageId, Limits>,
    /// The paths of the workspace that packages are granted.
    pub workspace: BTreeMap<PackageId, BTreeMap<String, Grant>>,
    /// Each grant in words, by package, for the attestation.
    pub reasons: BTreeMap<PackageId, Vec<String>>,
}

/// Decides what the packages of `units` are granted, and makes the trees for it.
pub(in crate::driver) fn grant(
    judge: &Judge<'_>,
    store: &Arc<Store>,
    units: &UnitGraph,
    declared: &Declared,
    is_member: impl Fn(&PackageId) -> bool,
) -> Result<BuildGrants, DriverError> {
    let Judge {
        context,
        policy,
        c,
        search,
        mode,
        ..
    } = *judge;
    let uses = uses(units);
    let mut packages = BTreeMap::new();
    let mut reasons = BTreeMap::new();
    let mut limits = BTreeMap::new();
    let mut workspace = BTreeMap::new();
    let mut at_link_time = Grants::default();
    let mut with_programs = Vec::new();
    let mut systems = Vec::new();
    let mut make = |grants: &Grants| {
        let mut wanted = system_grants(grants);
        add(&mut wanted.programs, &declared.programs);
        add(
            &mut wanted.programs_if_present,
            &declared.programs_if_present,
        );
        add(&mut wanted.paths, &declared.paths);
        let system = system_tree(store, c, &wanted, search)?;
        systems.push((wanted, system.tree));
        Ok::<_, DriverError>(system)
    };
    for (package, uses) in uses {
        let grants = policy.grants_for(package, uses, mode);
        if grants.is_empty() {
            continue;
        }
        if grants.limits != Limits::default() {
            limits.insert(package.clone(), grants.limits.clone());
        }
        if !grants.workspace.is_empty() {
            workspace.insert(package.clone(), grants.workspace.clone());
        }
        at_link_time.extend(&grants.at_link_time());
        let system = make(&grants)?;
        let own = policy.grants_for(package, [], mode);
        reasons.insert(package.clone(), in_words(&grants));
        let search_path = system.path_variable(search);
        // What strangers' crates may run, they may run in their build scripts.
        if is_member(package) && !(own.exec.is_empty() && own.read.is_empty()) {
            let exec = own.exec.clone();
            let read = own.read.clone();
            with_programs.push((
                package.clone(),
                Grants {
                    exec,
                    read,
                    ..Grants::default()
                },
            ));
        }
        packages.insert(
            package.clone(),
            Granted {
                system,
                search_path,
                running: variables(&grants, &context.variables),
                compiling: variables(&own, &context.variables),
                compilers: None,
                scratch: grants.write.keys().cloned().collect(),
            },
        );
    }
    for (package, mut grants) in with_programs {
        grants.extend(&at_link_time);
        let system = make(&grants)?;
        if let Some(granted) = packages.get_mut(&package) {
            granted.compilers = Some((system.path_variable(search), system));
        }
    }
    let linking = make(&at_link_time)?;
    Ok(BuildGrants {
        packages,
        search_path: if linking.tree == c.system.tree {
            c.path.clone()
        } else {
            linking.path_variable(search)
        },
        linking,
        systems,
        limits,
        workspace,
        reasons,
    })
}

/// The variables that `grants` come to in the user's `environment`.
fn variables(grants: &Grants, environment: &BTreeMap<String, String>) -> GrantedVariables {
    let passed_on = grants.env.keys().filter_map(|name| {
        let value = environment.get(name)?;
        Some((name.clone(), value.clone()))
    });
    let set = grants.set_env.iter();
    GrantedVariables {
        passed_on: passed_on.collect(),
        set: set
            .map(|(name, (value, _))| (name.clone(), value.clone()))
            .collect(),
    }
}

/// Every package of the units, and the packages that act within its build script.
pub(in crate::driver) fn uses(units: &UnitGraph) -> BTreeMap<&PackageId, BTreeSet<&PackageId>> {
    let mut uses: BTreeMap<&PackageId, BTreeSet<&PackageId>> = BTreeMap::new();
    for (index, unit) in units.units.iter().enumerate() {
        let uses = uses.entry(&unit.package).or_default();
        if unit.mode == Mode::RunCustomBuild {
            uses.extend(used_by_script(units, UnitIndex(index)));
        }
    }
    uses
}

/// The packages that act within the build script which `run` runs: all that it was compiled from.
pub(in crate::driver) fn used_by_script(units: &UnitGraph, run: UnitIndex) -> BTreeSet<&PackageId> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut stack: Vec<UnitIndex> = units
        .unit(run)
        .dependencies
        .iter()
        .map(|dependency| dependency.unit)
        .filter(|index| {
            units.unit(*index).target.is_custom_build() && units.unit(*index).mode == Mode::Build
        })
        .collect();
    while let Some(index) = stack.pop() {
        if seen.insert(index) {
            let unit = units.unit(index);
            found.insert(&unit.package);
            stack.extend(unit.dependencies.iter().map(|dependency| dependency.unit));
        }
    }
    found
}

fn add(list: &mut Vec<String>, more: &BTreeSet<String>) {
    list.extend(more.iter().cloned());
    list.sort();
    list.dedup();
}

/// What of `grants` is of the machine.
pub(in crate::driver) fn system_grants(grants: &Grants) -> SystemGrants {
    let (programs, programs_if_present) = Grants::split(&grants.exec);
    let (paths, paths_if_present) = Grants::split(&grants.read);
    let (pkg_config, pkg_config_if_present) = Grants::split(&grants.pkg_config);
    let (libraries, libraries_if_present) = Grants::split(&grants.link);
    SystemGrants {
        programs,
        programs_if_present,
        paths,
        paths_if_present,
        pkg_config,
        pkg_config_if_present,
        libraries,
        libraries_if_present,
    }
}

fn in_words(grants: &Grants) -> Vec<String> {
    let mut words = Vec::new();
    let mut add = |what: &str, granted: &BTreeMap<String, Grant>| {
        for (name, grant) in granted {
            let by: Vec<&str> = grant
                .origins
                .iter()
                .map(|origin| origin.file.as_str())
                .collect();
            words.push(format!("{what} {name} ({})", by.join(", ")));
        }
    };
    for (what, granted) in grants.lists() {
        add(what, granted);
    }
    for (name, (value, origin)) in &grants.set_env {
        words.push(format!("env {name}={value} ({})", origin.file));
    }
    words
}
