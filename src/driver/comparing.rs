//! `policy diff`: what changes in capability from one lock to another. Sources are fetched and unpacked as for any
//! build, in confinement; nothing of them is run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::diag::chain;
use crate::digest::{BlobDigest, Claimed, Sha256};
use crate::driver::supply::packages::{self, Claims, Packages};
use crate::driver::supply::registries::Registries;
use crate::driver::{Context, DriverError, Reporter, resolution};
use crate::manifest::lock::{Lock, LockedId};
use crate::manifest::model::{Package, Workspace};
use crate::package::{DependencyKind, PackageId, PackageName, SourceId};
use crate::policy::compare::{Change, Entry, Known, Listing, Locked, changes, pairs};
use crate::policy::{BuildMode, Grants, Policy};
use crate::resolve::{Summaries as _, Versions};
use crate::store::Store;

/// A lock as it was given: where it is from, and its text.
#[derive(Debug, Clone)]
pub struct GivenLock {
    /// What messages call it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Compares two locks; without `new`, the second is that of the workspace.
///
/// # Errors
/// If a lock or the policy cannot be read. A package that cannot be fetched is told of as such.
pub fn compare(
    context: &Context,
    store: &Arc<Store>,
    old: &GivenLock,
    new: Option<&GivenLock>,
    reporter: &mut dyn Reporter,
) -> Result<Vec<Change>, DriverError> {
    let workspace = resolution::load(context)?;
    let policy = Policy::load(&workspace.root)?;
    let current;
    let new = match new {
        Some(new) => new,
        None => {
            let (_, text) = Lock::read(&workspace)?.ok_or_else(|| DriverError::Request {
                message: format!("there is no `{}`", workspace.lock_path().display()),
                help: Some(
                    "name the new lock, or write one with `kiln generate-lockfile`".to_owned(),
                ),
            })?;
            current = GivenLock {
                name: workspace.lock_path().display().to_string(),
                text,
            };
            &current
        }
    };
    let listings = [listing(old, &workspace)?, listing(new, &workspace)?];
    let pairs = pairs(&listings[0], &listings[1]);
    let mut registries = Registries::new(context, store, reporter)?;
    let mut look = |side: usize, wanted: BTreeSet<&Locked>| {
        let looker = Looker {
            context,
            store,
            policy: &policy,
            listing: &listings[side],
        };
        looker.look(&wanted, &mut registries)
    };
    let before = look(0, pairs.iter().filter_map(|pair| pair.0.as_ref()).collect());
    let after = look(1, pairs.iter().filter_map(|pair| pair.1.as_ref()).collect());
    Ok(changes(&listings[0], &listings[1], &|is_new, package| {
        let known = if is_new { &after } else { &before };
        known.get(package).cloned().unwrap_or_default()
    }))
}

fn listing(lock: &GivenLock, workspace: &Workspace) -> Result<Listing, DriverError> {
    let parsed = Lock::parse_for(Path::new(&lock.name), &lock.text, workspace)?;
    let locked = |id: &LockedId| Locked {
        name: id.name.clone(),
        version: id.version.clone(),
        source: id.source.clone(),
    };
    Ok(parsed
        .packages
        .iter()
        .map(|(id, package)| {
            let entry = Entry {
                checksum: package.checksum.map(|claim| claim.0.to_string()),
                dependencies: package.dependencies.iter().map(locked).collect(),
            };
            (locked(id), entry)
        })
        .collect())
}

/// Looks at packages of one lock.
struct Looker<'a> {
    context: &'a Context,
    store: &'a Arc<Store>,
    policy: &'a Policy,
    listing: &'a Listing,
}

impl Looker<'_> {
    fn look(
        &self,
        wanted: &BTreeSet<&Locked>,
        registries: &mut Registries<'_>,
    ) -> BTreeMap<Locked, Known> {
        let ids: BTreeMap<PackageId, &Locked> = wanted
            .iter()
            .filter_map(|locked| Some((locked.id()?, *locked)))
            .collect();
        let all: BTreeSet<PackageId> = ids.keys().cloned().collect();
        // Whether a version is withdrawn is asked anew: a lock alone is content with what was known once.
        let published: Vec<(PackageName, SourceId)> = all
            .iter()
            .filter(|id| id.source().is_registry())
            .map(|id| (id.name().clone(), id.source().clone()))
            .collect();
        Versions::prefetch(registries, &published);
        let together = self.obtain(&all, registries);
        let mut found = BTreeMap::new();
        for (id, locked) in ids {
            let versions = match id.source().is_registry() {
                true => registries.versions(id.name(), id.source()).ok(),
                false => None,
            };
            let mut known = match &together {
                Ok(packages) => self.known(&id, locked, packages),
                // One of them cannot be had; which, only asking for each tells.
                Err(_) => match self.obtain(&BTreeSet::from([id.clone()]), registries) {
                    Ok(packages) => self.known(&id, locked, &packages),
                    Err(error) => Known {
                        problem: Some(chain(&error)),
                        ..Known::default()
                    },
                },
            };
            known.yanked = versions.and_then(|versions| {
                let this = versions.iter().find(|offer| *offer.id() == id)?;
                Some(this.yanked())
            });
            found.insert(locked.clone(), known);
        }
        found
    }

    fn obtain(
        &self,
        wanted: &BTreeSet<PackageId>,
        registries: &mut Registries<'_>,
    ) -> Result<Packages, DriverError> {
        let mut indexed = BTreeMap::new();
        for id in wanted {
            let summary = registries.summary(id).ok().flatten();
            indexed.insert(id.clone(), summary.and_then(|summary| summary.checksum));
        }
        let claims = |id: &PackageId| {
            let locked: Option<Claimed<Sha256>> = self
                .listing
                .iter()
                .find(|(locked, _)| locked.id().as_ref() == Some(id))
                .and_then(|(_, entry)| entry.checksum.as_ref()?.parse().ok())
                .map(Claimed);
            Claims {
                locked: locked.map(|claim| (claim, "the lock".to_owned())),
                indexed: indexed.get(id).copied().flatten(),
            }
        };
        packages::obtain_each(
            self.context,
            self.store,
            BTreeMap::new(),
            wanted,
            &claims,
            registries,
        )
    }

    fn known(&self, id: &PackageId, locked: &Locked, packages: &Packages) -> Known {
        let Some(package) = packages.packages.get(id) else {
            return Known::default();
        };
        let script = package.build_script();
        let made_of = self.made_of(locked, package);
        let names = made_of.iter().map(|part| part.name.clone()).collect();
        let uses: BTreeSet<PackageId> = made_of.iter().filter_map(|part| part.id()).collect();
        let mut grants = self.policy.grants_for(id, &uses, BuildMode::Hermetic);
        grants.extend(&self.policy.grants_to_users_of(id, BuildMode::Hermetic));
        Known {
            build_script: script.map(|script| digest_of(package, &script.src_path)),
            proc_macro: package.is_proc_macro(),
            links: package.summary.links.clone(),
            grants: in_words(&grants),
            made_of: names,
            yanked: None,
            problem: None,
        }
    }

    /// What the build script of a package, or the procedural macro that it is, is made of; all that features and
    /// platforms could bring in, since the lock tells no more.
    fn made_of(&self, locked: &Locked, package: &Package) -> BTreeSet<&Locked> {
        let declared = |kind: DependencyKind| -> BTreeSet<&PackageName> {
            let dependencies = package.summary.dependencies.iter();
            dependencies
                .filter(|dependency| dependency.kind == kind)
                .map(|dependency| &dependency.package)
                .collect()
        };
        let mut names = BTreeSet::new();
        if package.build_script().is_some() {
            names.extend(declared(DependencyKind::Build));
        }
        if package.is_proc_macro() {
            names.extend(declared(DependencyKind::Normal));
        }
        let dependencies = |of: &Locked| {
            let entry = self.listing.get(of);
            entry.map_or(&[][..], |entry| entry.dependencies.as_slice())
        };
        let mut stack: Vec<&Locked> = dependencies(locked)
            .iter()
            .filter(|dependency| names.contains(&dependency.name))
            .collect();
        let mut found = BTreeSet::new();
        while let Some(next) = stack.pop() {
            if let Some((next, _)) = self.listing.get_key_value(next)
                && found.insert(next)
            {
                stack.extend(dependencies(next));
            }
        }
        found
    }
}

/// The digest of a build script: of its file, or of all Rust files beside it where it has a directory of its own.
fn digest_of(package: &Package, script: &Path) -> String {
    let mut files = vec![script.to_owned()];
    if let Some(directory) = script.parent()
        && directory != package.root()
        && directory.starts_with(package.root())
        && let Ok(entries) = std::fs::read_dir(directory)
    {
        files.extend(entries.flatten().map(|entry| entry.path()));
        files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
        files.sort();
        files.dedup();
    }
    let mut all = Vec::new();
    for file in files {
        // What is unpacked is a tree of the store, without links out of it.
        if let Ok(bytes) = std::fs::read(&file)
            && file.starts_with(package.root())
        {
            all.extend((bytes.len() as u64).to_le_bytes());
            all.extend(bytes);
        }
    }
    BlobDigest::of(&all).to_hex()
}

fn in_words(grants: &Grants) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for (what, granted) in grants.lists() {
        words.extend(granted.keys().map(|name| format!("{what} {name}")));
    }
    let fixed = grants.set_env.iter();
    words.extend(fixed.map(|(name, (value, _))| format!("env {name}={value}")));
    words
}
