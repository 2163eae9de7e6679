//! `update` and `generate-lockfile`: versions chosen anew, and what is told about what changed in the lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use semver::Version;

use crate::driver::changes::{locking, notes, prefetch, tell_of_changes, words};
use crate::driver::resolution;
use crate::driver::supply::registries::Registries;
use crate::driver::{Context, DriverError, LockMode, Reporter, toolchains};
use crate::manifest::lock::{LocatedLock, Lock};
use crate::manifest::model::Workspace;
use crate::message::text::harmless_line;
use crate::package::{PackageId, PackageName, SourceId, SourceKind};
use crate::resolve::changes::{Change, ChangeKind, changes};
use crate::resolve::{LetGo, Options, Precise, Resolve, Versions as _, fresh};
use crate::store::Store;
use crate::unit;

/// What `update` was asked to do.
#[derive(Debug, Clone, Default)]
pub struct UpdateRequest {
    /// The packages; none: all.
    pub specs: Vec<String>,
    /// The version or commit that the package is to have.
    pub precise: Option<String>,
    /// Also what they depend on.
    pub recursive: bool,
    /// Nothing but what the members changed.
    pub workspace: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// A status line about one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeLine {
    /// `Adding`, `Updating` and so on.
    pub verb: &'static str,
    /// The package and what there is to say of it.
    pub text: String,
    /// Whether the package is as it was: only those who ask for details want to know.
    pub is_detail: bool,
}

/// What an update did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Updated {
    /// What `Locking` says, if that is said.
    pub locking: Option<String>,
    /// Line by line.
    pub lines: Vec<ChangeLine>,
    /// How many packages stay behind the latest version.
    pub behind: usize,
    /// Whether the lock would have been written.
    pub dry_run: bool,
}

/// `kiln update`.
///
/// # Errors
/// If any stage fails, or a package that is named is not in the lock.
pub fn update(
    context: &Context,
    store: &Arc<Store>,
    request: &UpdateRequest,
    reporter: &mut dyn Reporter,
) -> Result<Updated, DriverError> {
    let workspace = load(context, reporter)?;
    let rust = toolchains::rust_toolchain(context, store, &workspace.root, &[])?;
    let mut registries = Registries::new(context, store, reporter)?;
    let mut options = resolution::options(context, &rust.version.release);
    let previous =
        Lock::read(&workspace)?.map(|(lock, text)| (lock.locate(&workspace), lock, text));
    let Some((located, lock, text)) = previous else {
        return first_lock(context, &workspace, request, options, &mut registries);
    };
    (options.let_go, options.precise) = wanted(&workspace, &located, request)?;
    check_precise(&options.precise, &mut registries)?;
    let resolve = fresh(&workspace, Some(&located), &mut registries, &options)?;
    let updated = describe(
        &workspace,
        &located,
        &resolve,
        &options,
        request,
        &mut registries,
    )?;
    if !request.dry_run
        && let Some(new) = Lock::rewrite(&resolve, &workspace, Some((&lock, &text)))
    {
        write(context, &workspace, &new)?;
    }
    Ok(updated)
}

/// There is no lock yet: then everything is new, and a package can be updated only from what would be chosen.
fn first_lock(
    context: &Context,
    workspace: &Workspace,
    request: &UpdateRequest,
    mut options: Options,
    registries: &mut Registries<'_>,
) -> Result<Updated, DriverError> {
    let resolve = fresh(workspace, None, registries, &options)?;
    if request.precise.is_none() {
        if !request.dry_run {
            store_new(context, workspace, &resolve)?;
        }
        tell_of_changes(workspace, None, &resolve, &options, registries)?;
        return Ok(Updated {
            dry_run: request.dry_run,
            ..Updated::default()
        });
    }
    let text = Lock::of_resolve(&resolve, workspace, None).encode();
    let lock = Lock::parse_for(&workspace.lock_path(), &text, workspace)?;
    let located = lock.locate(workspace);
    (options.let_go, options.precise) = wanted(workspace, &located, request)?;
    check_precise(&options.precise, registries)?;
    let resolve = fresh(workspace, Some(&located), registries, &options)?;
    let updated = describe(workspace, &located, &resolve, &options, request, registries)?;
    if !request.dry_run {
        store_new(context, workspace, &resolve)?;
    }
    Ok(updated)
}

/// `kiln generate-lockfile`: chooses every version anew.
///
/// # Errors
/// If any stage fails.
pub fn generate(
    context: &Context,
    store: &Arc<Store>,
    reporter: &mut dyn Reporter,
) -> Result<(), DriverError> {
    let workspace = load(context, reporter)?;
    let rust = toolchains::rust_toolchain(context, store, &workspace.root, &[])?;
    let mut registries = Registries::new(context, store, reporter)?;
    let options = resolution::options(context, &rust.version.release);
    let resolve = fresh(&workspace, None, &mut registries, &options)?;
    store_new(context, &workspace, &resolve)?;
    tell_of_changes(&workspace, None, &resolve, &options, &mut registries)
}

fn load(context: &Context, reporter: &mut dyn Reporter) -> Result<Workspace, DriverError> {
    let workspace = resolution::load(context)?;
    for warning in &workspace.warnings {
        reporter.warning(warning);
    }
    Ok(workspace)
}

/// What is to be chosen anew.
fn wanted(
    workspace: &Workspace,
    lock: &LocatedLock,
    request: &UpdateRequest,
) -> Result<(LetGo, Vec<Precise>), DriverError> {
    if request.specs.is_empty() {
        let what = if request.workspace {
            LetGo::Nothing
        } else {
            LetGo::Everything
        };
        return Ok((what, Vec::new()));
    }
    let mut packages = BTreeSet::new();
    let mut precise = BTreeMap::new();
    for spec in &request.specs {
        let id = unit::find_package(spec, lock.packages.keys())?;
        if let Some(text) = &request.precise {
            let is_member = workspace
                .members
                .iter()
                .any(|member| member.name() == id.name() && member.source() == id.source());
            if !is_member {
                // As in cargo it holds for the first package of each source, and the others are just updated.
                let one = precisely(id, text)?;
                precise.entry(id.source().with_precise(None)).or_insert(one);
            }
        }
        packages.insert(id.clone());
        if let Ok(unused) = unit::find_package(spec, &lock.unused_patches) {
            packages.insert(unused.clone());
        }
    }
    let let_go = LetGo::Packages {
        packages,
        recursive: request.recursive,
    };
    Ok((let_go, precise.into_values().collect()))
}

fn precisely(id: &PackageId, text: &str) -> Result<Precise, DriverError> {
    match id.source().kind() {
        SourceKind::Registry { .. } => {
            let to = Version::parse(text).map_err(|error| DriverError::Request {
                message: format!(
                    "`--precise {}` is not a version: {error}",
                    harmless_line(text)
                ),
                help: Some("give a whole version, such as `1.2.3`".to_owned()),
            })?;
            Ok(Precise::Version {
                name: id.name().clone(),
                source: id.source().clone(),
                from: id.version().clone(),
                to,
            })
        }
        SourceKind::Git { .. } => Ok(Precise::Commit {
            source: id.source().with_precise(None),
            commit: text.to_owned(),
        }),
        SourceKind::Path(path) => Err(DriverError::Request {
            message: format!(
                "`{id}` is the directory `{}`, of which there is only one version",
                path.display()
            ),
            help: Some("leave `--precise` out".to_owned()),
        }),
    }
}

/// Makes sure that the registry has the version that is asked for.
fn check_precise(precise: &[Precise], registries: &mut Registries<'_>) -> Result<(), DriverError> {
    for one in precise {
        if let Precise::Version {
            name, source, to, ..
        } = one
        {
            check_version(name, source, to, registries)?;
        }
    }
    Ok(())
}

fn check_version(
    name: &PackageName,
    source: &SourceId,
    to: &Version,
    registries: &mut Registries<'_>,
) -> Result<(), DriverError> {
    let versions = registries
        .versions(name, source)
        .map_err(crate::resolve::ResolveError::from)?;
    let same = |version: &Version| {
        to.cmp_precedence(version).is_eq() && (to.build.is_empty() || to.build == version.build)
    };
    if versions.iter().any(|offer| same(offer.version())) {
        return Ok(());
    }
    let mut known: Vec<&Version> = versions.iter().map(|offer| offer.version()).collect();
    known.sort();
    let latest: Vec<String> = known
        .iter()
        .rev()
        .take(5)
        .map(|version| format!("`{version}`"))
        .collect();
    Err(DriverError::Request {
        message: format!(
            "there is no version `{to}` of `{name}` in {}",
            harmless_line(&source.words())
        ),
        help: Some(format!("the latest versions are {}", latest.join(", "))),
    })
}

/// Writes a lock that owes nothing to the one before but the comments at its top.
fn store_new(
    context: &Context,
    workspace: &Workspace,
    resolve: &Resolve,
) -> Result<(), DriverError> {
    let path = workspace.lock_path();
    let old = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(source) => {
            return Err(DriverError::File {
                path,
                verb: "read",
                source,
            });
        }
    };
    match Lock::renew(resolve, workspace, old.as_deref()) {
        Some(text) => write(context, workspace, &text),
        None => Ok(()),
    }
}

fn write(context: &Context, workspace: &Workspace, text: &str) -> Result<(), DriverError> {
    let path = workspace.lock_path();
    if let LockMode::Demand(flag) = context.lock {
        return Err(DriverError::LockNeedsUpdate {
            path,
            flag,
            why: "other versions would be chosen now".to_owned(),
            help: format!(
                "leave `{flag}` out, or add `--dry-run` to `update` to see what would change"
            ),
        });
    }
    super::files::write(&path, text.as_bytes()).map_err(|source| DriverError::File {
        path,
        verb: "written",
        source,
    })
}

/// What `update` tells: every package that changed.
fn describe(
    workspace: &Workspace,
    previous: &LocatedLock,
    resolve: &Resolve,
    options: &Options,
    request: &UpdateRequest,
    registries: &mut Registries<'_>,
) -> Result<Updated, DriverError> {
    let changes = changes(workspace, previous.packages.keys(), resolve, options);
    prefetch(&changes, registries);
    let new = changes.iter().filter(|change| change.kind.is_new()).count();
    let mut updated = Updated {
        locking: request
            .precise
            .is_none()
            .then(|| locking(workspace, options, new)),
        dry_run: request.dry_run,
        ..Updated::default()
    };
    for change in &changes {
        let (too_new, later) = notes(change, resolve, registries)?;
        // Who names a version knows that there are others.
        let later = later.filter(|_| !is_named(change, &options.precise));
        let is_detail = change.kind == ChangeKind::Unchanged;
        let note = match change.kind {
            ChangeKind::Removed => String::new(),
            _ => match too_new.or_else(|| later.clone()) {
                Some(note) => note,
                None if is_detail => continue,
                None => String::new(),
            },
        };
        updated.behind += usize::from(is_detail && later.is_some());
        updated.lines.push(ChangeLine {
            verb: change.kind.verb(),
            text: format!("{}{note}", words(change)),
            is_detail,
        });
    }
    Ok(updated)
}

/// Whether the user named the version that the package has now.
fn is_named(change: &Change, precise: &[Precise]) -> bool {
    let id = &change.package;
    precise.iter().any(|one| {
        matches!(one, Precise::Version { name, source, .. }
            if change.kind.is_new() && name == id.name() && source == id.source())
    })
}
