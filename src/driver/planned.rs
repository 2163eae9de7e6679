//! A planned build, and where its things are for the user.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::inputs::surroundings::Surroundings;
use super::resolution::Resolved;
use crate::digest::TreeDigest;
use crate::execute::outcome::Outcome;
use crate::manifest::model::{Package, Workspace};
use crate::package::{PackageId, SourceId};
use crate::path::RelPath;
use crate::plan::graph::{ActionGraph, Artifact};
use crate::plan::layout::Layout;
use crate::plan::settings::Settings;
use crate::policy::Policy;
use crate::sandbox::{Limits, SandboxProfile};
use crate::store::Store;
use crate::toolchain::c::SystemGrants;
use crate::toolchain::model::{CToolchain, RustToolchain, SystemTree};
use crate::tree::{BlobRef, Directory, EncodedTree, Entry, TreeRef};
use crate::unit::{self, UnitGraph};

/// Everything about a planned build.
#[derive(Debug)]
pub struct Planned {
    /// The store that the build uses.
    pub store: Arc<Store>,
    /// The workspace and its lock.
    pub resolved: Resolved,
    /// The packages of the units.
    pub packages: BTreeMap<PackageId, Arc<Package>>,
    /// What was fetched.
    pub fetched: BTreeMap<PackageId, crate::source::Fetched>,
    /// The content of each package; of one from a repository, that of the repository.
    pub sources: BTreeMap<PackageId, TreeRef>,
    /// The directories of the repositories that packages come from.
    pub checkouts: BTreeMap<SourceId, PathBuf>,
    /// The directories of the user's that stand for packages.
    pub vendored: BTreeMap<PackageId, PathBuf>,
    /// The units.
    pub units: UnitGraph,
    /// The actions.
    pub graph: ActionGraph,
    /// Where actions see things.
    pub layout: Layout,
    /// The Rust toolchain.
    pub rust: RustToolchain,
    /// The C toolchain.
    pub c: CToolchain,
    /// Every system tree that an action may see, by its digest.
    pub systems: BTreeMap<TreeRef, SystemTree>,
    /// The sandbox profiles, by name.
    pub profiles: BTreeMap<String, SandboxProfile>,
    /// Every selection of the machine's files that policy made, and the tree that it came to.
    pub granted_systems: Vec<(SystemGrants, TreeDigest)>,
    /// The variables of the user's that policy passes on or sets.
    pub granted_variables: BTreeSet<String>,
    /// The environment that kiln was started with.
    pub variables: BTreeMap<String, String>,
    /// The policy.
    pub policy: Policy,
    /// The limits that policy sets, by package.
    pub limits: BTreeMap<PackageId, Limits>,
    /// What policy granted, in words, and the system tree that holds it, by package.
    pub grants: BTreeMap<PackageId, (Vec<String>, TreeRef)>,
    /// What packages see of the workspace besides their own directories.
    pub(super) surroundings: Surroundings,
    /// What configuration says of the units.
    pub settings: Settings,
    /// The directory of the build profile.
    pub profile_directory: String,
}

impl Planned {
    /// The workspace.
    pub fn workspace(&self) -> &Workspace {
        &self.resolved.workspace
    }

    /// The package id specification that cargo's tools expect.
    pub fn package_id_spec(&self, package: &PackageId) -> String {
        unit::package_id_spec(package)
    }

    /// The host's path of a file that rustc names, if it is one of the user's.
    pub fn host_path(&self, path: &str) -> Option<PathBuf> {
        let workspace = self.layout.workspace();
        if let Some(relative) = path.strip_prefix(&format!("{workspace}/")) {
            return Some(self.workspace().root.join(relative));
        }
        let in_repository = self.checkouts.iter().find_map(|(source, directory)| {
            let beneath = format!("{}/", self.layout.repository(source));
            path.strip_prefix(&beneath)
                .map(|relative| directory.join(relative))
        });
        if in_repository.is_some() {
            return in_repository;
        }
        self.packages.iter().find_map(|(id, package)| {
            let beneath = format!("{}/", self.layout.source(id));
            path.strip_prefix(&beneath)
                .map(|relative| package.root().join(relative))
        })
    }

    /// The directory of a platform's artifacts, below the directory `destination` (`target/kiln`).
    pub fn artifact_directory(&self, destination: &Path, triple: Option<&str>) -> PathBuf {
        let platform =
            triple.map_or_else(|| destination.to_owned(), |triple| destination.join(triple));
        platform.join(&self.profile_directory)
    }

    /// Where an artifact goes, below `target/kiln`.
    pub fn artifact_relative_path(&self, artifact: &Artifact) -> RelPath {
        let triple = artifact
            .triple
            .as_ref()
            .map_or(String::new(), |triple| format!("{triple}/"));
        RelPath::new(format!(
            "{triple}{}/{}",
            self.profile_directory, artifact.path
        ))
        .expect("a triple, a profile's name and a relative path are made of whole components")
    }

    /// Where an artifact goes, below the directory `destination` (`target/kiln`).
    pub fn artifact_path(&self, destination: &Path, artifact: &Artifact) -> PathBuf {
        destination.join(self.artifact_relative_path(artifact).as_str())
    }

    /// Where the user finds what a build script wrote.
    pub fn out_dir_for_user(&self, outcome: &Outcome) -> PathBuf {
        let tree = outcome
            .directory
            .and_then(|tree| self.store.materialize(&tree).ok());
        tree.unwrap_or_default()
    }

    /// Where the user finds output files that are not handed out: in the store, under their own names, since tools
    /// tell by its extension that a file is a proc macro.
    pub fn output_paths_for_user(&self, outcome: &Outcome) -> Vec<String> {
        let mut level = Directory::new();
        for (name, entry) in &outcome.files {
            let file = Entry::File {
                blob: entry.blob,
                executable: entry.executable,
            };
            if level.insert(name, file).is_err() {
                return Vec::new();
            }
        }
        let encoded = EncodedTree {
            root: level.tree_ref(),
            levels: BTreeMap::from([(level.tree_ref().digest, level.encode())]),
        };
        let directory = self
            .store
            .put_tree(&encoded)
            .and_then(|tree| self.store.materialize(&tree));
        match directory {
            Ok(directory) => outcome
                .files
                .keys()
                .map(|name| directory.join(name).display().to_string())
                .collect(),
            Err(_) => Vec::new(),
        }
    }

    /// What an action printed, from the store.
    pub fn stored_output(&self, blob: &BlobRef) -> Option<Vec<u8>> {
        self.store.read_blob(blob).ok()?
    }
}
