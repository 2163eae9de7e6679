//! What is told of packages that a lock gained, lost or has in another version.

use crate::driver::DriverError;
use crate::driver::supply::registries::Registries;
use crate::manifest::lock::LocatedLock;
use crate::manifest::model::Workspace;
use crate::message::text::harmless_line;
use crate::package::PackageId;
use crate::resolve::changes::{Change, changes, rust_version_chosen_for};
use crate::resolve::{Options, Resolve, Versions as _};

/// What is told when the lock was made or repaired on the way to something else.
pub(super) fn tell_of_changes(
    workspace: &Workspace,
    previous: Option<&LocatedLock>,
    resolve: &Resolve,
    options: &Options,
    registries: &mut Registries<'_>,
) -> Result<(), DriverError> {
    let old = previous.into_iter().flat_map(|lock| lock.packages.keys());
    let mut changes = changes(workspace, old, resolve, options);
    changes.retain(|change| change.kind.is_new() && !change.is_member);
    if changes.is_empty() {
        return Ok(());
    }
    prefetch(&changes, registries);
    let mut lines = vec![("Locking", locking(workspace, options, changes.len()))];
    for change in &changes {
        let (too_new, later) = notes(change, resolve, registries)?;
        let note = too_new.or(later);
        // In a first lock everything is new; only what is remarkable is worth a line.
        if previous.is_some() || note.is_some() {
            let note = note.unwrap_or_default();
            lines.push((change.kind.verb(), format!("{}{note}", words(change))));
        }
    }
    for (verb, text) in lines {
        registries.reporter().status(verb, &text);
    }
    Ok(())
}

pub(super) fn prefetch(changes: &[Change], registries: &mut Registries<'_>) {
    let wanted: Vec<_> = changes
        .iter()
        .filter(|change| change.package.source().is_registry())
        .map(|change| {
            let id = &change.package;
            (id.name().clone(), id.source().clone())
        })
        .collect();
    crate::resolve::Versions::prefetch(registries, &wanted);
}

/// That a package is too new for the Rust version, and that there is a later one.
pub(super) fn notes(
    change: &Change,
    resolve: &Resolve,
    registries: &mut Registries<'_>,
) -> Result<(Option<String>, Option<String>), DriverError> {
    let id = &change.package;
    if !id.source().is_registry() {
        return Ok((None, None));
    }
    let versions = registries
        .versions(id.name(), id.source())
        .map_err(crate::resolve::ResolveError::from)?;
    Ok((change.too_new(resolve), change.later(&versions)))
}

/// `3 packages to latest Rust 1.70 compatible versions`
pub(super) fn locking(workspace: &Workspace, options: &Options, count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    let rust = rust_version_chosen_for(workspace, options)
        .map_or(String::new(), |version| format!(" Rust {version}"));
    format!("{count} package{plural} to latest{rust} compatible version{plural}")
}

/// `serde v1.0.0 -> v1.0.1`
pub(super) fn words(change: &Change) -> String {
    let id = &change.package;
    let Some(previous) = &change.previous else {
        return whole(id);
    };
    match id.source().precise() {
        Some(commit) => format!(
            "{} -> #{}",
            whole(previous),
            commit.get(..8).unwrap_or(commit)
        ),
        None => format!("{} -> v{}", whole(previous), id.version()),
    }
}

/// The package, and its source where that is not the default registry.
fn whole(id: &PackageId) -> String {
    if id.source().is_crates_io() {
        id.to_string()
    } else {
        format!("{id} ({})", harmless_line(&id.source().words()))
    }
}
