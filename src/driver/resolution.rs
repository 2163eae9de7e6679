//! From a directory to a resolved workspace: manifests, lock, and the lock's repair where that is allowed.

use crate::driver::supply::registries::Registries;
use crate::driver::{Context, DriverError, LockMode};
use crate::manifest::lock::{LocatedLock, Lock};
use crate::manifest::model::Workspace;
use crate::manifest::{find_manifest, load_workspace};
use crate::package::PackageId;
use crate::resolve::{Options, OutOfDate, Resolve, fresh, from_lock};

/// A workspace whose every dependency is decided.
#[derive(Debug)]
pub struct Resolved {
    /// The workspace.
    pub workspace: Workspace,
    /// The decisions.
    pub resolve: Resolve,
    /// The lock that states them.
    pub lock: LocatedLock,
    /// The lock's text.
    pub lock_text: String,
}

/// Reads the workspace that the user is in.
pub fn load(context: &Context) -> Result<Workspace, DriverError> {
    let manifest = match &context.manifest_path {
        Some(path) => path.clone(),
        None => find_manifest(&context.directory)?,
    };
    Ok(load_workspace(&manifest, &context.manifest_context())?)
}

/// The package that the user is in.
///
/// # Errors
/// If he is in a virtual workspace.
pub fn current_package(workspace: &Workspace) -> Result<&PackageId, DriverError> {
    workspace
        .current_package
        .as_ref()
        .ok_or_else(|| DriverError::Request {
            message: format!(
                "`{}` is the manifest of a workspace only, and this command is about one package",
                workspace.root_manifest.display()
            ),
            help: Some(
                "go to the directory of a member, or name its `Cargo.toml` with `--manifest-path`"
                    .to_owned(),
            ),
        })
}

/// The lock of `workspace` as the file has it, whether it fits or not; none if there is no file.
pub fn lock_as_it_is(workspace: &Workspace) -> Result<Option<LocatedLock>, DriverError> {
    let read = Lock::read(workspace)?;
    Ok(read.map(|(lock, _)| lock.locate(workspace)))
}

/// Decides every dependency of `workspace`: by its lock, or anew where the lock is missing or does not fit and may be
/// written.
pub fn resolve(
    context: &Context,
    workspace: Workspace,
    rustc: &semver::Version,
    registries: &mut Registries<'_>,
) -> Result<Resolved, DriverError> {
    let previous = Lock::read(&workspace)?;
    let mut reason = None;
    if let Some((lock, text)) = &previous {
        let located = lock.locate(&workspace);
        match from_lock(&workspace, &located, registries)? {
            Ok(resolve) => {
                let lock_text = text.clone();
                return Ok(Resolved {
                    workspace,
                    resolve,
                    lock: located,
                    lock_text,
                });
            }
            Err(out_of_date) => reason = Some(out_of_date),
        }
    }
    if let LockMode::Demand(flag) = context.lock {
        return Err(needs_update(&workspace, flag, reason.as_ref()));
    }
    regenerate(context, workspace, previous, rustc, registries)
}

/// How versions are chosen where the lock leaves a choice.
pub(super) fn options(context: &Context, rustc: &semver::Version) -> Options {
    let mut options = Options::new(rustc.clone());
    options.honor_rust_version = context.config.honor_rust_version();
    if context.ignore_rust_version {
        options.honor_rust_version = Some(false);
    }
    options
}

/// Chooses versions, keeping what the previous lock says as far as it fits, and writes the lock.
pub fn regenerate(
    context: &Context,
    workspace: Workspace,
    previous: Option<(Lock, String)>,
    rustc: &semver::Version,
    registries: &mut Registries<'_>,
) -> Result<Resolved, DriverError> {
    let located = previous.as_ref().map(|(lock, _)| lock.locate(&workspace));
    let options = options(context, rustc);
    let resolve = fresh(&workspace, located.as_ref(), registries, &options)?;
    let before = previous.as_ref().map(|(lock, text)| (lock, text.as_str()));
    let path = workspace.lock_path();
    let lock_text = match Lock::rewrite(&resolve, &workspace, before) {
        None => previous.map(|(_, text)| text).unwrap_or_default(),
        Some(text) => {
            if context.lock != LockMode::Keep {
                super::files::write(&path, text.as_bytes()).map_err(|source| {
                    DriverError::File {
                        path: path.clone(),
                        verb: "written",
                        source,
                    }
                })?;
            }
            super::changes::tell_of_changes(
                &workspace,
                located.as_ref(),
                &resolve,
                &options,
                registries,
            )?;
            text
        }
    };
    let lock = Lock::parse_for(&path, &lock_text, &workspace)?.locate(&workspace);
    Ok(Resolved {
        workspace,
        resolve,
        lock,
        lock_text,
    })
}

fn needs_update(
    workspace: &Workspace,
    flag: &'static str,
    reason: Option<&OutOfDate>,
) -> DriverError {
    DriverError::LockNeedsUpdate {
        path: workspace.lock_path(),
        flag,
        why: reason.map_or_else(|| "there is no such file".to_owned(), ToString::to_string),
        help: reason.map_or_else(
            || "write it with `kiln generate-lockfile`, look at it, and commit it".to_owned(),
            OutOfDate::help,
        ),
    }
}
