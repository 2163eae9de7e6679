//! Which packages run code in a build, and whether somebody has approved them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::TreeDigest;
use crate::driver::supply::packages;
use crate::driver::supply::packages::Packages;
use crate::driver::supply::registries::Registries;
use crate::driver::{Context, DriverError, Reporter, planning, policies, resolution};
use crate::package::PackageId;
use crate::policy::{
    APPROVED_FILE, Approvals, BuildScripts, Policy, PolicyError, Role, Running, Unapproved,
    approved_text,
};
use crate::store::Store;
use crate::tree::TreeRef;
use crate::unit::graph::{Mode, Unit, UnitIndex};
use crate::unit::{BuildRequest, UnitGraph};

/// What is approved in the workspace at `root`.
pub(super) fn load(root: &Path) -> Result<Approvals, DriverError> {
    let text = policies::read(&root.join(APPROVED_FILE))?;
    Ok(Approvals::parse(&text)?)
}

/// Stops a build before anything runs that nobody has approved, if policy wants that.
pub(super) fn gate(
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
fn running(units: &UnitGraph, digest: &dyn Fn(&PackageId) -> Option<TreeDigest>) -> Vec<Running> {
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

/// What was approved.
#[derive(Debug)]
pub struct Approved {
    /// The file.
    pub path: PathBuf,
    /// What it has now that it did not have.
    pub packages: Vec<Unapproved>,
}

/// `kiln policy approve`: the packages that are named, or all that run when `request` is built. Nothing is run.
///
/// # Errors
/// If any stage fails, or if a name means no package of the lock.
pub fn approve(
    context: &Context,
    store: &Arc<Store>,
    request: &BuildRequest,
    named: &[String],
    dry_run: bool,
    reporter: &mut dyn Reporter,
) -> Result<Approved, DriverError> {
    let (root, running, only) = if named.is_empty() {
        let lowered = planning::lower(context, store, request, reporter)?;
        let packages = &lowered.packages;
        let digest = |id: &PackageId| Some(packages.tree(id)?.digest);
        let running = running(&lowered.units, &digest);
        let locked = lowered.resolved.resolve.packages.keys().cloned().collect();
        (lowered.resolved.workspace.root, running, Some(locked))
    } else {
        let (root, running) = named_packages(context, store, named, reporter)?;
        (root, running, None)
    };
    let path = root.join(APPROVED_FILE);
    let text = policies::read(&path)?;
    let missing = Approvals::parse(&text)?.missing(running);
    let new: Vec<(PackageId, TreeDigest)> = missing
        .iter()
        .map(|one| (one.running.package.clone(), one.running.digest))
        .collect();
    let edited = approved_text(&text, &new, only.as_ref())?;
    if edited != text && !dry_run && !(text.is_empty() && new.is_empty()) {
        policies::write(&path, &edited)?;
    }
    Ok(Approved {
        path,
        packages: missing,
    })
}

/// The packages of the lock that are named, whatever they are; the workspace's root comes with them.
fn named_packages(
    context: &Context,
    store: &Arc<Store>,
    named: &[String],
    reporter: &mut dyn Reporter,
) -> Result<(PathBuf, Vec<Running>), DriverError> {
    let workspace = resolution::load(context)?;
    let rust = planning::rust_toolchain(context, store, &workspace.root, &[])?;
    let mut registries = Registries::new(context, store, reporter)?;
    let resolved = resolution::resolve(context, workspace, &rust.version.release, &mut registries)?;
    let mut wanted = BTreeSet::new();
    for spec in named {
        let (name, version) = match spec.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (spec.as_str(), None),
        };
        let before = wanted.len();
        let all = resolved.resolve.packages.keys();
        wanted.extend(
            all.filter(|id| id.name() == name)
                .filter(|id| version.is_none_or(|version| id.version().to_string() == version))
                .cloned(),
        );
        if wanted.len() == before {
            return Err(DriverError::Request {
                message: format!(
                    "`Cargo.lock` has no package `{spec}` besides those that are named already"
                ),
                help: Some("give names as the lock has them: `cc`, or `cc@1.2.30`".to_owned()),
            });
        }
    }
    let packages: Packages = packages::obtain(context, store, &resolved, &wanted, &mut registries)?;
    let running = wanted
        .into_iter()
        .filter_map(|id| {
            let package = packages.packages.get(&id)?;
            let roles = [
                (package.build_script().is_some(), Role::BuildScript),
                (package.is_proc_macro(), Role::ProcMacro),
            ];
            Some(Running {
                digest: packages.tree(&id)?.digest,
                roles: roles
                    .into_iter()
                    .filter(|(is, _)| *is)
                    .map(|(_, role)| role)
                    .collect(),
                package: id,
            })
        })
        .collect();
    Ok((resolved.workspace.root, running))
}
