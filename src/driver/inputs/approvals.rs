//! Which packages run code in a build, and whether somebody has approved them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::digest::TreeDigest;
use crate::driver::{DriverError, files};
use crate::package::PackageId;
use crate::policy::{APPROVED_FILE, Approvals, BuildScripts, Policy, PolicyError, Role, Running};
use crate::tree::TreeRef;
use crate::unit::UnitGraph;
use crate::unit::graph::{Mode, Unit, UnitIndex};

/// What is approved in the workspace at `root`.
pub(in crate::driver) fn load(root: &Path) -> Result<Approvals, DriverError> {
    let text = files::read_text(&root.join(APPROVED_FILE))?;
    Ok(Approvals::parse(&text)?)
}

/// Stops a build before anything runs that nobody has approved, if policy wants that.
pub(in crate::driver) fn gate(
    policy: &Policy,
    approvals: &Approvals,
    units: &UnitGraph,
    sources: &BTreeMap<PackageId, TreeRef>,
) -> Result<(), PolicyError> {
    if policy.general().build_scripts == BuildScripts::Allowed {
        return Ok(());
    }
    let missing = approvals.missing(running(units, &|id| {
        sources.get(id).map(|tree| tree.digest)
    }));
    if missing.is_empty() {
        return Ok(());
    }
    Err(PolicyError::NotApproved { missing })
}

/// The packages whose code runs while `units` are built, by what runs them.
pub(in crate::driver) fn running(
    units: &UnitGraph,
    digest: &dyn Fn(&PackageId) -> Option<TreeDigest>,
) -> Vec<Running> {
    let mut roles: BTreeMap<&PackageId, BTreeSet<Role>> = BTreeMap::new();
    for (index, unit) in units.units.iter().enumerate() {
        let Some((role, part)) = role(unit) else {
            continue;
        };
        roles.entry(&unit.package).or_default().insert(role);
        for id in made_of(units, UnitIndex(index)) {
            if *id != unit.package {
                roles.entry(id).or_default().insert(part.clone());
            }
        }
    }
    roles
        .into_iter()
        .filter_map(|(id, roles)| {
            Some(Running {
                package: id.clone(),
                digest: digest(id)?,
                roles,
            })
        })
        .collect()
}

/// How a unit runs when it has been compiled, and what all that it is made of is then.
fn role(unit: &Unit) -> Option<(Role, Role)> {
    let name = unit.package.name().to_string();
    if unit.target.is_custom_build() && unit.mode == Mode::Build {
        Some((Role::BuildScript, Role::PartOfScript(name)))
    } else if unit.target.is_proc_macro() {
        Some((Role::ProcMacro, Role::PartOfMacro(name)))
    } else {
        None
    }
}

/// The packages of the libraries that `root` is compiled against, directly or not.
fn made_of(units: &UnitGraph, root: UnitIndex) -> BTreeSet<&PackageId> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut stack = vec![root];
    while let Some(index) = stack.pop() {
        let unit = units.unit(index);
        // A build script that only prints what another is compiled with is no part of that.
        if unit.mode == Mode::RunCustomBuild || !seen.insert(index) {
            continue;
        }
        found.insert(&unit.package);
        stack.extend(unit.dependencies.iter().map(|dependency| dependency.unit));
    }
    found
}
