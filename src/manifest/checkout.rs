//! The packages of a directory that is no workspace of the user's: every `Cargo.toml` beneath it, found as cargo finds
//! the packages of a git repository.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::ManifestError;
use super::model::Package;
use super::package::{lower, path_source};
use super::paths::normalize;
use super::read::{ManifestContext, Reader};
use crate::package::{DependencyKind, PackageId, SourceId, SourceKind};

/// The packages that were found.
#[derive(Debug, Default)]
pub struct FoundPackages {
    /// By their ids.
    pub packages: BTreeMap<PackageId, Arc<Package>>,
    /// What the user of such a package is to be told.
    pub warnings: BTreeMap<PackageId, Vec<String>>,
    /// Why manifests were passed over.
    pub errors: Vec<ManifestError>,
}

/// Reads all packages beneath `root`, which come from `source`. Hidden directories, `target` beside a manifest and the
/// directories of `submodules` are looked into only if a package there depends on them by path; manifests that cannot
/// be read are passed over.
pub fn read_packages(
    root: &Path,
    source: &SourceId,
    submodules: &BTreeSet<PathBuf>,
    context: &ManifestContext,
) -> FoundPackages {
    let mut context = context.clone();
    context.barriers.push(root.to_owned());
    let reader = Reader::new(&context);
    let mut search = Search {
        reader: &reader,
        root,
        source,
        visited: BTreeSet::new(),
        found: FoundPackages::default(),
    };
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        if directory != root {
            let name = directory.file_name().and_then(|name| name.to_str());
            let is_hidden = name.is_some_and(|name| name.starts_with('.'));
            let is_target = name == Some("target")
                && directory
                    .parent()
                    .is_some_and(|parent| parent.join("Cargo.toml").is_file());
            let is_submodule = directory
                .strip_prefix(root)
                .is_ok_and(|relative| submodules.contains(relative));
            if is_hidden || is_target || is_submodule {
                continue;
            }
        }
        search.package(&directory);
        let mut below: Vec<PathBuf> = std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        below.sort_by(|a, b| b.cmp(a));
        open.extend(below);
    }
    search.found
}

struct Search<'a> {
    reader: &'a Reader<'a>,
    root: &'a Path,
    source: &'a SourceId,
    visited: BTreeSet<PathBuf>,
    found: FoundPackages,
}

impl Search<'_> {
    /// Reads the package of `directory`, if it is one, and those that it depends on by path.
    fn package(&mut self, directory: &Path) {
        // As if by recursion, so that an earlier package's neighbours come before the next directory.
        let mut open = vec![directory.to_owned()];
        while let Some(directory) = open.pop() {
            let manifest = directory.join("Cargo.toml");
            if !directory.starts_with(self.root)
                || !manifest.is_file()
                || !self.visited.insert(directory)
            {
                continue;
            }
            match self.read(&manifest) {
                Ok(nested) => open.extend(nested.into_iter().rev()),
                Err(error) => self.found.errors.push(error),
            }
        }
    }

    /// Reads one manifest; gives the directories that its package depends on.
    fn read(&mut self, manifest: &Path) -> Result<Vec<PathBuf>, ManifestError> {
        let document = self.reader.read(manifest)?;
        if document.toml.package().is_none() && document.toml.workspace.is_some() {
            return Ok(Vec::new());
        }
        // As a package of the machine its neighbours are directories; as one of the repository they are not.
        let by_path = lower(self.reader, &document, &path_source(manifest))?.package;
        let nested = [
            DependencyKind::Normal,
            DependencyKind::Build,
            DependencyKind::Development,
        ]
        .into_iter()
        .flat_map(|kind| {
            by_path
                .summary
                .dependencies
                .iter()
                .filter(move |dependency| dependency.kind == kind)
        })
        .filter_map(|dependency| match dependency.source.kind() {
            SourceKind::Path(path) => Some(normalize(path)),
            _ => None,
        })
        .collect();
        let package = lower(self.reader, &document, self.source)?.package;
        let id = package.id().clone();
        if let Some(first) = self.found.packages.get(&id) {
            if package.publish.is_none() {
                let warning = format!(
                    "the package `{id}` is there twice: `{}` is used, `{}` is not",
                    self.relative(&first.manifest_path),
                    self.relative(manifest),
                );
                self.found.warnings.entry(id).or_default().push(warning);
            }
        } else {
            self.found.packages.insert(id, Arc::new(package));
        }
        Ok(nested)
    }

    fn relative(&self, path: &Path) -> String {
        path.strip_prefix(self.root)
            .unwrap_or(path)
            .display()
            .to_string()
    }
}
