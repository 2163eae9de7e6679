//! The workspace's own policy, as a file of the user's: what it comes to for each package, and changes to it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::driver::inputs::granting;
use crate::driver::planning;
use crate::driver::{Context, DriverError, Reporter, files, resolution};
use crate::manifest::model::Workspace;
use crate::package::PackageId;
use crate::policy::edit::{self, Asked};
use crate::policy::{BuildMode, FILE_NAME, Grants, Policy};
use crate::store::Store;
use crate::unit::BuildRequest;

/// A change to the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The file.
    pub path: PathBuf,
    /// Whether anything had to be changed; if so, it has been, unless only the outcome was asked for.
    pub changed: bool,
    /// What the user should know besides.
    pub warnings: Vec<String>,
}

/// `kiln policy grant`: adds all of `asked` to `kiln.toml`, or with `dry_run` sees whether that can be done.
///
/// # Errors
/// If the file cannot be read, changed or written, or if nothing grants what is asked.
pub fn grant(context: &Context, asked: &[Asked], dry_run: bool) -> Result<Changed, DriverError> {
    let workspace = resolution::load(context)?;
    let path = workspace.root.join(FILE_NAME);
    let before = files::read_text(&path)?;
    let mut text = before.clone();
    for each in asked {
        text = edit::grant(&text, each)?.text;
    }
    let changed = text != before;
    if changed && !dry_run {
        files::replace(&path, &text)?;
    }
    let names = locked_names(&workspace)?;
    let warnings = asked
        .iter()
        .filter(|asked| !names.is_empty() && !names.contains(&asked.name))
        .map(|asked| {
            let near = names
                .iter()
                .map(|name| (strsim::damerau_levenshtein(name, &asked.name), name))
                .filter(|(distance, _)| *distance <= 2)
                .min();
            let near = near.map_or(String::new(), |(_, name)| {
                format!("; did you mean `{name}`?")
            });
            format!("`Cargo.lock` has no package `{}`{near}", asked.name)
        })
        .collect();
    Ok(Changed {
        path,
        changed,
        warnings,
    })
}

/// The names of all packages of the lock and the workspace; none if there is no lock.
fn locked_names(workspace: &Workspace) -> Result<BTreeSet<String>, DriverError> {
    let Some(lock) = resolution::lock_as_it_is(workspace)? else {
        return Ok(BTreeSet::new());
    };
    let ids = lock.packages.keys().chain(workspace.packages.keys());
    Ok(ids.map(|id| id.name().as_str().to_owned()).collect())
}

/// What the packages of a build are granted.
#[derive(Debug)]
pub struct Effective {
    /// Every package that is granted anything.
    pub packages: Vec<(PackageId, Grants)>,
    /// The sections of `kiln.toml` that are for no package of the build.
    pub unused: Vec<String>,
}

/// `kiln policy show`: what the packages that `request` needs are granted.
///
/// # Errors
/// If any stage fails.
pub fn effective(
    context: &Context,
    store: &Arc<Store>,
    request: &BuildRequest,
    mode: BuildMode,
    reporter: &mut dyn Reporter,
) -> Result<Effective, DriverError> {
    let lowered = planning::lower(context, store, request, reporter)?;
    let policy = Policy::load(&lowered.resolved.workspace.root)?;
    let uses = granting::uses(&lowered.units);
    let unused = policy.unused_sections(uses.keys().copied());
    let packages = uses
        .into_iter()
        .map(|(id, uses)| (id.clone(), policy.grants_for(id, uses, mode)))
        .filter(|(_, grants)| !grants.is_empty())
        .collect();
    Ok(Effective { packages, unused })
}
