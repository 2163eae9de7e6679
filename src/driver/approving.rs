//! `policy approve`: says that the code of packages may run.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::digest::TreeDigest;
use crate::driver::inputs::approvals::running;
use crate::driver::supply::packages;
use crate::driver::supply::packages::Packages;
use crate::driver::supply::registries::Registries;
use crate::driver::{Context, DriverError, Reporter, files, planning, resolution, toolchains};
use crate::package::PackageId;
use crate::policy::{APPROVED_FILE, Approvals, Role, Running, Unapproved, approved_text};
use crate::store::Store;
use crate::unit::BuildRequest;

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
    let text = files::read_text(&path)?;
    let missing = Approvals::parse(&text)?.missing(running);
    let new: Vec<(PackageId, TreeDigest)> = missing
        .iter()
        .map(|one| (one.running.package.clone(), one.running.digest))
        .collect();
    let edited = approved_text(&text, &new, only.as_ref())?;
    if edited != text && !dry_run && !(text.is_empty() && new.is_empty()) {
        files::replace(&path, &edited)?;
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
    let rust = toolchains::rust_toolchain(context, store, &workspace.root, &[])?;
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
