//! A lock within its workspace: path packages get the directories that they have there.

use std::collections::{BTreeMap, HashMap};

use semver::Version;

use super::{Lock, LockVersion, LockedId};
use crate::digest::{Claimed, Sha256};
use crate::manifest::model::Workspace;
use crate::manifest::replace::Replacement;
use crate::package::{PackageId, PackageName, SourceId};
use crate::resolve::graph::Replaced;

/// The directories of a workspace's path packages, by name and version.
pub(super) struct PathPackages<'a> {
    by_name: HashMap<&'a str, BTreeMap<&'a Version, &'a SourceId>>,
}

impl<'a> PathPackages<'a> {
    pub(super) fn of(workspace: &'a Workspace) -> Self {
        let mut by_name: HashMap<&str, BTreeMap<&Version, &SourceId>> = HashMap::new();
        for id in workspace.packages.keys().filter(|id| id.source().is_path()) {
            by_name
                .entry(id.name().as_str())
                .or_default()
                .insert(id.version(), id.source());
        }
        Self { by_name }
    }

    /// The directory of the package `name`. If there is only one, the version that the lock states may be outdated.
    pub(super) fn find(&self, name: &PackageName, version: &Version) -> Option<&'a SourceId> {
        let versions = self.by_name.get(name.as_str())?;
        match versions.len() {
            1 => versions.values().next().copied(),
            _ => versions.get(version).copied(),
        }
    }
}

/// What a lock says of one package, with whole ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocatedPackage {
    /// The SHA-256 that its archive is claimed to have.
    pub checksum: Option<Claimed<Sha256>>,
    /// The packages that it depends on, sorted.
    pub dependencies: Vec<PackageId>,
}

/// A lock whose packages are named by whole ids. A path package's version is the lock's, which may be outdated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocatedLock {
    /// The file's format.
    pub version: LockVersion,
    /// The packages. Path packages that the workspace has not any more are left out, here and as dependencies.
    pub packages: BTreeMap<PackageId, LocatedPackage>,
    /// `[[patch.unused]]`.
    pub unused_patches: Vec<PackageId>,
    /// Packages in whose place `[replace]` puts others; they are not among the packages, nor depended on.
    pub replaced: BTreeMap<PackageId, Replaced>,
}

impl Lock {
    /// Gives every package of this lock its whole id.
    pub fn locate(&self, workspace: &Workspace) -> LocatedLock {
        let paths = PathPackages::of(workspace);
        let locate = |id: &LockedId| {
            let source = match &id.source {
                Some(source) => source,
                None => paths.find(&id.name, &id.version)?,
            };
            Some(PackageId::new(
                id.name.clone(),
                id.version.clone(),
                source.clone(),
            ))
        };
        let ids: HashMap<&LockedId, PackageId> = self
            .packages
            .keys()
            .filter_map(|id| Some((id, locate(id)?)))
            .collect();
        // A replacement that the workspace has not any more leaves the package that was replaced.
        let replaced: BTreeMap<PackageId, Replaced> = self
            .packages
            .iter()
            .filter_map(|(id, package)| {
                let (original, by) = (ids.get(id)?, ids.get(package.replace.as_ref()?)?);
                let mut replacements = workspace.replacements.iter();
                let is_meant = |each: &Replacement| {
                    each.replaces(original) && each.is_in_place_of(original.source(), by)
                };
                replacements.find(|each| is_meant(each))?;
                let replaced = Replaced {
                    by: by.clone(),
                    checksum: package.checksum,
                };
                Some((original.clone(), replaced))
            })
            .collect();
        let taken = |id: &PackageId| match replaced.get(id) {
            Some(replaced) => replaced.by.clone(),
            None => id.clone(),
        };
        let packages = self
            .packages
            .iter()
            .filter(|(id, _)| ids.get(id).is_none_or(|id| !replaced.contains_key(id)))
            .filter_map(|(id, package)| {
                let mut dependencies: Vec<PackageId> = package
                    .dependencies
                    .iter()
                    .chain(&package.replace)
                    .filter_map(|id| ids.get(id).map(taken))
                    .collect();
                dependencies.sort();
                let located = LocatedPackage {
                    checksum: package.checksum,
                    dependencies,
                };
                Some((ids.get(id)?.clone(), located))
            })
            .collect();
        LocatedLock {
            version: self.version,
            packages,
            unused_patches: self.unused_patches.iter().filter_map(locate).collect(),
            replaced,
        }
    }
}
