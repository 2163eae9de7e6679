//! A lock taken at its word: the graph that it describes, or the first reason why it is not (any more) what this
//! workspace needs. Nothing is chosen here, so no registry has to be asked for more than the locked versions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use semver::{Version, VersionReq};

use super::catalog::Compatibility;
use super::error::ResolveError;
use super::graph::Resolve;
use super::preference::{matches, matches_elsewhere, satisfies, without_commit};
use super::versions::VersionsError;
use super::walk::{NoSuchFeature, Root, walk};
use crate::manifest::lock::LocatedLock;
use crate::manifest::model::Workspace;
use crate::package::{FeatureName, PackageId, PackageName, SourceId, Summary};

/// Where the summaries of locked packages come from.
pub trait Summaries {
    /// Says that all of these will be asked for, so that they can be fetched at once. Errors wait for that.
    fn prefetch(&mut self, packages: &[PackageId]) {
        let _ = packages;
    }

    /// The summary of `package`, which is no path package; none if its source does not have it.
    fn summary(&mut self, package: &PackageId) -> Result<Option<Arc<Summary>>, VersionsError>;
}

/// Why a lock cannot be used as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutOfDate {
    /// A path package is not in it.
    #[error("package `{package}` is not in it")]
    PackageMissing {
        /// The package.
        package: PackageId,
    },
    /// A path package has another version by now.
    #[error(
        "package `{}` is at version `{}`, but it has version `{}`", .package.name(), .package.version(), .locked
    )]
    PathVersion {
        /// The package as its manifest describes it.
        package: PackageId,
        /// The version that the lock has.
        locked: Version,
    },
    /// It has nothing for a dependency.
    #[error("{}", describe_dependency(.package, .dependency, .requirement, .locked))]
    DependencyMissing {
        /// The package that has the dependency.
        package: PackageId,
        /// The package depended on.
        dependency: PackageName,
        /// The versions that would do.
        requirement: VersionReq,
        /// The versions of that name that the lock has.
        locked: Vec<Version>,
    },
    /// It has a package that nothing depends on.
    #[error("package `{package}` is in it, but nothing depends on it (any more)")]
    PackageUnused {
        /// The package.
        package: PackageId,
    },
    /// It says that a package depends on another, which it does not.
    #[error("it says that `{package}` depends on `{dependency}`, which it does not (any more)")]
    DependencyUnused {
        /// The package.
        package: PackageId,
        /// The other.
        dependency: PackageId,
    },
    /// A package is asked for a feature that it does not have in the locked version.
    #[error("`{package}` in it has no feature `{feature}`, which is asked for")]
    FeatureMissing {
        /// The package.
        package: PackageId,
        /// The feature.
        feature: FeatureName,
    },
    /// The source of a package does not have it.
    #[error("package `{package}` is in it, but not in `{}`", .package.source().canonical_address())]
    PackageGone {
        /// The package.
        package: PackageId,
    },
    /// It has two versions of a package of which one would do.
    #[error("it has both `{first}` and `{second}`, which are compatible: there can be only one")]
    Compatible {
        /// One.
        first: PackageId,
        /// The other.
        second: PackageId,
    },
    /// It has two packages that link the same native library.
    #[error("it has both `{first}` and `{second}`, which link the native library `{links}`")]
    Links {
        /// The native library.
        links: String,
        /// One.
        first: PackageId,
        /// The other.
        second: PackageId,
    },
    /// It does not state the checksum of a package from a registry.
    #[error("it does not state the checksum of `{package}`")]
    ChecksumMissing {
        /// The package.
        package: PackageId,
    },
    /// An entry of `[patch]` is not reflected in it.
    #[error("the patch of `{name}` is not reflected in it")]
    Patch {
        /// The package that the entry names.
        name: PackageName,
    },
}

fn describe_dependency(
    package: &PackageId,
    dependency: &PackageName,
    requirement: &VersionReq,
    locked: &[Version],
) -> String {
    let has = match locked {
        [] => "it has no package of that name".to_owned(),
        versions => {
            let texts: Vec<String> = versions.iter().map(|v| format!("`{v}`")).collect();
            format!("it has {}", texts.join(", "))
        }
    };
    format!("`{package}` depends on `{dependency} = \"{requirement}\"`, for which {has}")
}

impl OutOfDate {
    /// What the user can do about it.
    pub fn help(&self) -> String {
        "build once without `--locked` (and `--hermetic`), look at what changed in `Cargo.lock`, and commit it"
            .to_owned()
    }
}

enum Stop {
    OutOfDate(OutOfDate),
    Failed(ResolveError),
}

impl From<NoSuchFeature> for Stop {
    fn from(NoSuchFeature { package, feature }: NoSuchFeature) -> Self {
        Self::OutOfDate(OutOfDate::FeatureMissing { package, feature })
    }
}

impl From<VersionsError> for Stop {
    fn from(error: VersionsError) -> Self {
        Self::Failed(error.into())
    }
}

/// The graph that `lock` describes, or why it does not fit `workspace`.
pub fn from_lock(
    workspace: &Workspace,
    lock: &LocatedLock,
    summaries: &mut dyn Summaries,
) -> Result<Result<Resolve, OutOfDate>, ResolveError> {
    match check(workspace, lock, summaries) {
        Ok(resolve) => Ok(Ok(resolve)),
        Err(Stop::OutOfDate(reason)) => Ok(Err(reason)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn check(
    workspace: &Workspace,
    lock: &LocatedLock,
    summaries: &mut dyn Summaries,
) -> Result<Resolve, Stop> {
    for id in workspace.members.iter() {
        if !lock.packages.contains_key(id) {
            let locked = lock
                .packages
                .keys()
                .find(|other| other.name() == id.name() && other.source() == id.source());
            return outdated(match locked {
                Some(locked) => OutOfDate::PathVersion {
                    package: id.clone(),
                    locked: locked.version().clone(),
                },
                None => OutOfDate::PackageMissing {
                    package: id.clone(),
                },
            });
        }
    }
    let known = load(workspace, lock, summaries)?;
    let patches = LockedPatches::new(workspace, lock)?;
    let mut used: BTreeSet<(&PackageId, &PackageId)> = BTreeSet::new();
    let roots = workspace
        .members
        .iter()
        .map(|id| (known[id].clone(), Root::everything(id.clone())))
        .collect();
    let mut resolve = walk(roots, &mut |parent, index| {
        let dependency = &parent.dependencies[index];
        let missing = || {
            Stop::OutOfDate(OutOfDate::DependencyMissing {
                package: parent.id.clone(),
                dependency: dependency.package.clone(),
                requirement: dependency.requirement.clone(),
                locked: lock
                    .packages
                    .keys()
                    .filter(|id| *id.name() == dependency.package)
                    .map(|id| id.version().clone())
                    .collect(),
            })
        };
        let (parent_id, locked) = lock
            .packages
            .get_key_value(&parent.id)
            .ok_or_else(missing)?;
        let fits = |id: &&PackageId| {
            matches(dependency, id)
                || (matches_elsewhere(dependency, id)
                    && (patches.has(&dependency.source, id)
                        || lock.replaced.iter().any(|(original, replaced)| {
                            replaced.by == **id && matches(dependency, original)
                        })))
        };
        let id = locked.dependencies.iter().find(fits).ok_or_else(missing)?;
        // A patch of the very version that is locked takes its place.
        if let Some(patch) = patches.overriding(&dependency.source, id) {
            return outdated(OutOfDate::Patch {
                name: patch.name().clone(),
            });
        }
        let mut replacements = workspace.replacements.iter();
        if replacements.any(|each| each.replaces(id)) {
            return outdated(OutOfDate::Patch {
                name: id.name().clone(),
            });
        }
        used.insert((parent_id, id));
        match known.get(id) {
            Some(summary) => Ok(vec![summary.clone()]),
            None => Err(missing()),
        }
    })?;

    for (id, package) in &lock.packages {
        if !resolve.packages.contains_key(id) {
            return outdated(OutOfDate::PackageUnused {
                package: id.clone(),
            });
        }
        for dependency in &package.dependencies {
            if !used.contains(&(id, dependency)) {
                return outdated(OutOfDate::DependencyUnused {
                    package: id.clone(),
                    dependency: dependency.clone(),
                });
            }
        }
    }
    resolve.replaced.clone_from(&lock.replaced);
    resolve.keep_used_replacements();
    if let Some(original) = lock
        .replaced
        .keys()
        .find(|original| !resolve.replaced.contains_key(*original))
    {
        return outdated(OutOfDate::PackageUnused {
            package: original.clone(),
        });
    }
    check_uniqueness(&resolve)?;
    check_checksums(lock, &resolve)?;
    resolve.unused_patches = patches.unused(lock, &resolve)?;
    super::check_cycles(&resolve).map_err(Stop::Failed)?;
    Ok(resolve)
}

fn outdated<T>(reason: OutOfDate) -> Result<T, Stop> {
    Err(Stop::OutOfDate(reason))
}

/// The summaries of everything in the lock.
fn load(
    workspace: &Workspace,
    lock: &LocatedLock,
    summaries: &mut dyn Summaries,
) -> Result<HashMap<PackageId, Arc<Summary>>, Stop> {
    let remote: Vec<PackageId> = lock
        .packages
        .keys()
        .filter(|id| !id.source().is_path())
        .cloned()
        .collect();
    summaries.prefetch(&remote);
    let mut known = HashMap::with_capacity(lock.packages.len());
    for id in lock.packages.keys() {
        let summary = if !id.source().is_path() {
            summaries
                .summary(id)?
                .ok_or_else(|| OutOfDate::PackageGone {
                    package: id.clone(),
                })
        } else if let Some(package) = workspace.packages.get(id) {
            Ok(Arc::new(package.summary.clone()))
        } else {
            let now = workspace
                .packages
                .keys()
                .find(|now| now.name() == id.name() && now.source() == id.source());
            Err(match now {
                Some(now) => OutOfDate::PathVersion {
                    package: now.clone(),
                    locked: id.version().clone(),
                },
                None => OutOfDate::PackageUnused {
                    package: id.clone(),
                },
            })
        };
        known.insert(id.clone(), summary.map_err(Stop::OutOfDate)?);
    }
    Ok(known)
}

fn check_uniqueness(resolve: &Resolve) -> Result<(), Stop> {
    let mut buckets: HashMap<(&PackageName, Compatibility, SourceId), &PackageId> = HashMap::new();
    let mut links: HashMap<&str, &PackageId> = HashMap::new();
    for (id, summary) in &resolve.packages {
        let bucket = (
            id.name(),
            Compatibility::of(id.version()),
            id.source().with_precise(None),
        );
        if let Some(first) = buckets.insert(bucket, id) {
            return Err(Stop::OutOfDate(OutOfDate::Compatible {
                first: first.clone(),
                second: id.clone(),
            }));
        }
        if let Some(name) = &summary.links
            && let Some(first) = links.insert(name, id)
        {
            return Err(Stop::OutOfDate(OutOfDate::Links {
                links: name.clone(),
                first: first.clone(),
                second: id.clone(),
            }));
        }
    }
    Ok(())
}

fn check_checksums(lock: &LocatedLock, resolve: &Resolve) -> Result<(), Stop> {
    for (id, package) in &lock.packages {
        let Some(found) = resolve
            .packages
            .get(id)
            .and_then(|summary| summary.checksum)
        else {
            continue;
        };
        match package.checksum {
            None => {
                return Err(Stop::OutOfDate(OutOfDate::ChecksumMissing {
                    package: id.clone(),
                }));
            }
            Some(locked) if locked != found => {
                return Err(Stop::Failed(ResolveError::ChecksumChanged {
                    package: id.clone(),
                    locked,
                    found,
                }));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// What the entries of `[patch]` mean, as far as the lock knows.
struct LockedPatches {
    by_address: BTreeMap<String, Vec<PackageId>>,
}

impl LockedPatches {
    fn new(workspace: &Workspace, lock: &LocatedLock) -> Result<Self, Stop> {
        let mut by_address: BTreeMap<String, Vec<PackageId>> = BTreeMap::new();
        for (address, entries) in &workspace.patches {
            for entry in entries {
                let id = if entry.source.is_path() {
                    workspace.packages.keys().find(|id| {
                        *id.name() == entry.package
                            && *id.source() == entry.source
                            && satisfies(entry, id.version())
                    })
                } else {
                    let unused = lock.unused_patches.iter();
                    lock.packages
                        .keys()
                        .chain(unused)
                        .find(|id| matches(entry, id))
                };
                let id = id.ok_or_else(|| {
                    Stop::OutOfDate(OutOfDate::Patch {
                        name: entry.package.clone(),
                    })
                })?;
                by_address
                    .entry(address.clone())
                    .or_default()
                    .push(id.clone());
            }
        }
        Ok(Self { by_address })
    }

    fn of(&self, source: &SourceId) -> &[PackageId] {
        self.by_address
            .get(source.canonical_address())
            .map_or(&[], Vec::as_slice)
    }

    fn has(&self, source: &SourceId, id: &PackageId) -> bool {
        let id = without_commit(id);
        self.of(source)
            .iter()
            .any(|patch| without_commit(patch) == id)
    }

    /// The patch that would have to be used where the lock has `id` from `source`.
    fn overriding(&self, source: &SourceId, id: &PackageId) -> Option<&PackageId> {
        self.of(source).iter().find(|patch| {
            patch.name() == id.name() && patch.version() == id.version() && *patch != id
        })
    }

    /// The patches that nothing in `resolve` uses; the lock has to list the same.
    fn unused(&self, lock: &LocatedLock, resolve: &Resolve) -> Result<Vec<PackageId>, Stop> {
        let unused: BTreeSet<&PackageId> = self
            .by_address
            .values()
            .flatten()
            .filter(|id| !resolve.packages.contains_key(*id))
            .collect();
        let listed: BTreeSet<&PackageId> = lock.unused_patches.iter().collect();
        match unused.symmetric_difference(&listed).next() {
            Some(id) => Err(Stop::OutOfDate(OutOfDate::Patch {
                name: id.name().clone(),
            })),
            None => Ok(unused.into_iter().cloned().collect()),
        }
    }
}
