//! The same values as [`super::metadata`]'s, made by kiln's own stages: manifests read, the lock taken at its word.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln::manifest::lock::Lock;
use kiln::manifest::model::Package;
use kiln::manifest::{ManifestContext, load_workspace, read_package};
use kiln::package::{PackageId, Summary};
use kiln::resolve::{Summaries, VersionsError, from_lock};

use super::metadata::Lowered;

/// Packages as cargo unpacked them.
struct Unpacked {
    directories: Vec<PathBuf>,
    packages: BTreeMap<PackageId, Arc<Package>>,
}

impl Unpacked {
    fn load(&mut self, id: &PackageId) -> Option<Arc<Package>> {
        if let Some(known) = self.packages.get(id) {
            return Some(Arc::clone(known));
        }
        let name = format!("{}-{}", id.name(), id.version());
        let manifest = self
            .directories
            .iter()
            .map(|directory| directory.join(&name).join("Cargo.toml"))
            .find(|path| path.exists())?;
        let package = read_package(&manifest, id.source(), &ManifestContext::default())
            .unwrap_or_else(|error| panic!("{}: {error}", manifest.display()));
        let package = Arc::new(package);
        self.packages.insert(id.clone(), Arc::clone(&package));
        Some(package)
    }
}

impl Summaries for Unpacked {
    fn summary(&mut self, id: &PackageId) -> Result<Option<Arc<Summary>>, VersionsError> {
        Ok(self
            .load(id)
            .map(|package| Arc::new(package.summary.clone())))
    }
}

/// Reads the workspace of `directory` and its lock.
///
/// # Errors
/// Whatever a stage complains about.
pub(crate) fn load(directory: &Path) -> Result<Lowered, String> {
    let manifest = directory
        .canonicalize()
        .expect("a directory")
        .join("Cargo.toml");
    let workspace = load_workspace(&manifest, &ManifestContext::default())
        .map_err(|error| format!("the workspace: {error}"))?;
    let (lock, _) = Lock::read(&workspace)
        .map_err(|error| format!("the lock: {error}"))?
        .ok_or("there is no lock")?;
    let home = std::env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cargo"),
        PathBuf::from,
    );
    let directories = std::fs::read_dir(home.join("registry/src"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    let mut unpacked = Unpacked {
        directories,
        packages: BTreeMap::new(),
    };
    let resolve = from_lock(&workspace, &lock.locate(&workspace), &mut unpacked)
        .map_err(|error| format!("resolution: {error}"))?
        .map_err(|error| format!("the lock is outdated: {error}"))?;
    Ok(Lowered {
        workspace,
        resolve,
        packages: unpacked.packages,
    })
}
