//! `[patch]`: the packages that take part in another source's choice of versions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use semver::Version;

use super::error::ResolveError;
use super::preference::{matches, matches_elsewhere, satisfies, without_commit};
use super::versions::Versions;
use crate::manifest::model::Workspace;
use crate::package::{Dependency, PackageId, PackageName, SourceId, Summary};

/// The patches of a workspace, each resolved to one package.
#[derive(Debug, Default)]
pub(super) struct Patches {
    by_address: BTreeMap<String, Vec<Arc<Summary>>>,
}

impl Patches {
    /// The patches that are named `name` and apply to `source`.
    pub(super) fn of<'a>(
        &'a self,
        source: &SourceId,
        name: &'a PackageName,
    ) -> impl Iterator<Item = &'a Arc<Summary>> {
        self.by_address
            .get(source.canonical_address())
            .into_iter()
            .flatten()
            .filter(move |summary| summary.id.name() == name)
    }

    /// Whether `id` is a patch for `source`.
    pub(super) fn has(&self, source: &SourceId, id: &PackageId) -> bool {
        let id = without_commit(id);
        self.by_address
            .get(source.canonical_address())
            .is_some_and(|list| list.iter().any(|summary| without_commit(&summary.id) == id))
    }

    /// All patches.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Summary>> {
        self.by_address.values().flatten()
    }

    /// Finds the package that each entry of `[patch]` means: the version that the lock (`previous`, of which `keep`
    /// may be used) has for it, or else the only one there is. Also returns what of the lock has to be let go since an
    /// entry now means something else.
    pub(super) fn find(
        workspace: &Workspace,
        versions: &mut dyn Versions,
        previous: &[&PackageId],
        keep: impl Fn(&PackageId) -> bool,
    ) -> Result<(Self, BTreeSet<PackageId>), ResolveError> {
        let mut by_address: BTreeMap<String, Vec<Arc<Summary>>> = BTreeMap::new();
        let mut outdated = BTreeSet::new();
        for (address, entries) in &workspace.patches {
            let list = by_address.entry(address.clone()).or_default();
            for entry in entries {
                let failed = |why: String, found: Vec<Version>| ResolveError::Patch {
                    name: entry.package.clone(),
                    address: address.clone(),
                    why,
                    found,
                };
                let locked = previous
                    .iter()
                    .find(|id| keep(id) && matches(entry, id))
                    .copied();
                let available = available(workspace, versions, entry, locked)?;
                let of_lock = locked.and_then(|id| {
                    available
                        .iter()
                        .find(|summary| summary.id.version() == id.version())
                });
                let summary = match of_lock {
                    Some(summary) => summary.clone(),
                    None => {
                        let summary =
                            only(entry, &available).map_err(|(why, found)| failed(why, found))?;
                        if let Some(id) = locked {
                            outdated.insert(id.clone());
                            outdated.extend(
                                previous
                                    .iter()
                                    .filter(|id| {
                                        matches_elsewhere(entry, id)
                                            && id.source().canonical_address() == address
                                    })
                                    .map(|id| (*id).clone()),
                            );
                        }
                        summary
                    }
                };
                if summary.id.source().canonical_address() == address {
                    return Err(failed(
                        "it points to the very source that it is to patch".to_owned(),
                        Vec::new(),
                    ));
                }
                let is_double = |other: &Arc<Summary>| {
                    other.id.name() == summary.id.name()
                        && other.id.version() == summary.id.version()
                };
                if list.iter().any(is_double) {
                    return Err(failed(
                        format!("another entry is `{}` too", summary.id),
                        Vec::new(),
                    ));
                }
                list.push(summary);
            }
        }
        Ok((Self { by_address }, outdated))
    }
}

/// All usable versions where `entry` points, whatever version it asks for.
fn available(
    workspace: &Workspace,
    versions: &mut dyn Versions,
    entry: &Dependency,
    locked: Option<&PackageId>,
) -> Result<Vec<Arc<Summary>>, ResolveError> {
    if entry.source.is_path() {
        return Ok(workspace
            .packages
            .values()
            .filter(|package| {
                *package.id().name() == entry.package && *package.id().source() == entry.source
            })
            .map(|package| Arc::new(package.summary.clone()))
            .collect());
    }
    let source = locked.map_or(&entry.source, |id| id.source());
    let mut all: Vec<_> = versions
        .versions(&entry.package, source)?
        .iter()
        .filter(|offer| !offer.yanked() || locked.is_some_and(|id| id.version() == offer.version()))
        .map(|offer| offer.summary().clone())
        .collect();
    all.sort_by(|a, b| a.id.version().cmp(b.id.version()));
    Ok(all)
}

/// The only version that `entry` asks for, or why there is none.
fn only(
    entry: &Dependency,
    available: &[Arc<Summary>],
) -> Result<Arc<Summary>, (String, Vec<Version>)> {
    let found: Vec<&Arc<Summary>> = available
        .iter()
        .filter(|summary| satisfies(entry, summary.id.version()))
        .collect();
    let list = |versions: &[Version]| {
        let texts: Vec<String> = versions.iter().map(|v| format!("`{v}`")).collect();
        texts.join(", ")
    };
    match &*found {
        [one] => Ok((*one).clone()),
        [] if available.is_empty() => Err((
            format!(
                "there is no package `{}` in `{}`",
                entry.package,
                entry.source.canonical_address()
            ),
            Vec::new(),
        )),
        [] => {
            let versions: Vec<Version> = available.iter().map(|s| s.id.version().clone()).collect();
            Err((
                format!(
                    "it asks for version `{}`, but `{}` has {}",
                    entry.requirement,
                    entry.source.canonical_address(),
                    list(&versions)
                ),
                Vec::new(),
            ))
        }
        several => {
            let versions: Vec<Version> = several.iter().map(|s| s.id.version().clone()).collect();
            Err((
                format!("more than one version will do: {}", list(&versions)),
                versions,
            ))
        }
    }
}
