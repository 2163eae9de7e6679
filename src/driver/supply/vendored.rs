//! Directories that stand for registries and repositories, as `cargo vendor` leaves them (`[source.NAME] directory`).
//!
//! ```text
//! <directory>/<any name>/Cargo.toml               a package
//!                        .cargo-checksum.json     the SHA-256 of its files, and of the archive that it came from
//! <home>/vendored/<tree>-<hash of the checksums>  that the files of a tree are what the checksums say
//! <home>/src/<hash of the directory>/<name>-<version> -> the tree in the store
//! ```
//! What is built is the copy in the store, and that copy is what is compared with the checksums.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use crate::digest::{Claimed, Sha256};
use crate::driver::supply::links::link_to_tree;
use crate::manifest::model::Package;
use crate::manifest::{ManifestContext, ManifestError, read_package};
use crate::package::{PackageId, PackageName, SourceId, Summary};
use crate::path::RelPath;
use crate::store::{Store, StoreError};
use crate::tree::TreeRef;

/// The file that has the checksums.
pub(in crate::driver) const CHECKSUMS: &str = ".cargo-checksum.json";

/// Why a vendored package cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VendoredError {
    /// A file or directory of the user's cannot be read.
    #[error("the vendored `{path}` cannot be read", path = path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A manifest is wrong.
    #[error(transparent)]
    Manifest(Box<ManifestError>),
    /// The checksums are not what they should be.
    #[error("`{path}` cannot be used: {why}", path = path.display())]
    Checksums {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file was changed.
    #[error("the vendored `{path}` is not what its checksum says", path = path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What `.cargo-checksum.json` says, and what the file has.
        #[source]
        difference: Difference,
    },
    /// The packages of a repository are vendored, and nothing says which commit they are of.
    #[error(
        "`{source_text}` is replaced by a directory, which does not say which commit it has; a lock has to"
    )]
    NoLock {
        /// The repository.
        source_text: String,
    },
    /// What takes a source's place cannot.
    #[error("the git repository `{replacement}` cannot take the place of `{source_text}`")]
    Unsupported {
        /// The source.
        source_text: String,
        /// What is to take its place.
        replacement: String,
    },
    /// The directory has no such package.
    #[error("the directory `{path}` has no `{id}`", path = path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
        /// The package.
        id: PackageId,
    },
    /// The store does not take the files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Configuration makes no sense.
    #[error(transparent)]
    Config(#[from] crate::manifest::config::ConfigError),
    /// A file of kiln's own cannot be written.
    #[error("`{path}` could not be written", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// Two digests that should be one.
#[derive(Debug, thiserror::Error)]
#[error("`.cargo-checksum.json` has sha256 `{expected}`, the file `{actual}`; nothing was built")]
pub struct Difference {
    expected: String,
    actual: String,
}

impl VendoredError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::Read { .. } => {
                "look at `directory` of `[source]` in `.cargo/config.toml`, or vendor again: `kiln vendor`"
            }
            Self::Manifest(error) => return error.help(),
            Self::Checksums { .. } | Self::Missing { .. } => "vendor again: `kiln vendor`",
            Self::Changed { .. } => {
                "vendored files are not to be edited: use a copy elsewhere through `[patch]`, or vendor again: `kiln vendor`"
            }
            Self::NoLock { .. } => {
                "take the replacement out of `.cargo/config.toml`, run `kiln generate-lockfile`, and put it back"
            }
            Self::Unsupported { .. } => {
                "let `replace-with` name a directory, a local registry or a sparse registry; or use `[patch]`"
            }
            Self::Store(error) => return error.help(),
            Self::Config(error) => return error.help(),
            Self::Write { source, .. } => return crate::driver::files::help(source),
        };
        Some(text.to_owned())
    }
}

impl From<ManifestError> for VendoredError {
    fn from(error: ManifestError) -> Self {
        Self::Manifest(Box::new(error))
    }
}

/// `.cargo-checksum.json`.
#[derive(Debug, serde::Deserialize)]
struct Checksums {
    package: Option<String>,
    files: BTreeMap<String, String>,
}

/// A package of the directory.
#[derive(Debug)]
struct Entry {
    directory: PathBuf,
    name: PackageName,
    /// As the first source that asked has it.
    package: Arc<Package>,
    archive: Option<Claimed<Sha256>>,
    checksums: Checksums,
    hash: blake3::Hash,
}

/// A vendored package in the store.
#[derive(Debug, Clone)]
pub struct VendoredPackage {
    /// Its manifest, read from the store.
    pub package: Arc<Package>,
    /// Where it was vendored.
    pub directory: PathBuf,
    /// Its files.
    pub tree: TreeRef,
}

/// See the module.
#[derive(Debug)]
pub(in crate::driver) struct Directory {
    path: PathBuf,
    /// The source that the packages were read for.
    source: SourceId,
    manifests: ManifestContext,
    entries: Vec<Entry>,
}

impl Directory {
    /// Reads the packages in `path`, as those of `source`.
    pub(in crate::driver) fn read(
        path: &Path,
        source: &SourceId,
        manifests: &ManifestContext,
    ) -> Result<Self, VendoredError> {
        let fail = |path: &Path, source| VendoredError::Read {
            path: path.to_owned(),
            source,
        };
        let mut directories = Vec::new();
        for entry in std::fs::read_dir(path).map_err(|error| fail(path, error))? {
            let entry = entry.map_err(|error| fail(path, error))?;
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !is_hidden && entry.path().join("Cargo.toml").is_file() {
                directories.push(entry.path());
            }
        }
        directories.sort();
        let mut manifests = manifests.clone();
        manifests.barriers.push(path.to_owned());
        let entries = directories
            .into_par_iter()
            .map(|directory| {
                let file = directory.join(CHECKSUMS);
                let text = std::fs::read(&file).map_err(|error| fail(&file, error))?;
                let wrong = |why: String| VendoredError::Checksums {
                    path: file.clone(),
                    why,
                };
                let checksums: Checksums =
                    serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
                let archive = match &checksums.package {
                    None => None,
                    Some(text) => Some(Claimed(
                        text.parse()
                            .map_err(|_| wrong("`package` is no SHA-256".to_owned()))?,
                    )),
                };
                let package = read_in(&directory, source, &manifests)?;
                Ok(Entry {
                    name: package.id().name().clone(),
                    directory,
                    package: Arc::new(package),
                    archive,
                    checksums,
                    hash: blake3::hash(&text),
                })
            })
            .collect::<Result<Vec<_>, VendoredError>>()?;
        Ok(Self {
            path: path.to_owned(),
            source: source.clone(),
            manifests,
            entries,
        })
    }

    /// Where it is.
    pub(in crate::driver) fn path(&self) -> &Path {
        &self.path
    }

    /// The names of its packages.
    pub(in crate::driver) fn names(&self) -> impl Iterator<Item = &PackageName> {
        self.entries.iter().map(|entry| &entry.name)
    }

    /// The summaries of the packages named `name`, as those of `source`.
    pub(in crate::driver) fn summaries(
        &self,
        name: &PackageName,
        source: &SourceId,
    ) -> Result<Vec<Arc<Summary>>, VendoredError> {
        self.entries
            .iter()
            .filter(|entry| entry.name == *name)
            .map(|entry| {
                let mut summary = if *source == self.source {
                    entry.package.summary.clone()
                } else {
                    read_in(&entry.directory, source, &self.manifests)?.summary
                };
                summary.checksum = entry.archive;
                Ok(Arc::new(summary))
            })
            .collect()
    }

    /// Brings a package into the store and compares its files with their checksums.
    pub(in crate::driver) fn obtain(
        &self,
        store: &Store,
        id: &PackageId,
    ) -> Result<VendoredPackage, VendoredError> {
        let is_it = |entry: &&Entry| {
            entry.name == *id.name() && entry.package.id().version() == id.version()
        };
        let Some(entry) = self.entries.iter().find(is_it) else {
            return Err(VendoredError::Missing {
                path: self.path.clone(),
                id: id.clone(),
            });
        };
        let tree = snapshot(store, &entry.directory)?;
        let files = store.materialize(&tree)?;
        self.verify(store, entry, &tree, &files)?;
        let hash = blake3::hash(self.path.as_os_str().as_encoded_bytes()).to_hex();
        let parent = store.home().join("src").join(&hash[..16]);
        let name = format!("{}-{}", id.name(), id.version());
        let link = link_to_tree(&parent, &name, &files)
            .map_err(|(path, source)| VendoredError::Write { path, source })?;
        let mut manifests = self.manifests.clone();
        manifests.barriers.push(link.clone());
        Ok(VendoredPackage {
            package: Arc::new(read_in(&link, id.source(), &manifests)?),
            directory: entry.directory.clone(),
            tree,
        })
    }

    /// Compares every listed file of the tree at `files` with its checksum, unless that was done before.
    fn verify(
        &self,
        store: &Store,
        entry: &Entry,
        tree: &TreeRef,
        files: &Path,
    ) -> Result<(), VendoredError> {
        let record =
            store
                .home()
                .join("vendored")
                .join(format!("{}-{}", tree.digest, entry.hash.to_hex()));
        if record.exists() {
            return Ok(());
        }
        let file_of_checksums = entry.directory.join(CHECKSUMS);
        entry
            .checksums
            .files
            .par_iter()
            .try_for_each(|(name, expected)| {
                let relative =
                    RelPath::new(name.as_str()).map_err(|error| VendoredError::Checksums {
                        path: file_of_checksums.clone(),
                        why: error.to_string(),
                    })?;
                let bytes = std::fs::read(files.join(relative.as_str())).map_err(|source| {
                    VendoredError::Read {
                        path: entry.directory.join(relative.as_str()),
                        source,
                    }
                })?;
                let actual = Sha256::of(&bytes).to_string();
                if actual == *expected {
                    return Ok(());
                }
                Err(VendoredError::Changed {
                    path: entry.directory.join(relative.as_str()),
                    difference: Difference {
                        expected: expected.chars().take(64).collect(),
                        actual,
                    },
                })
            })?;
        crate::driver::files::write(&record, b"").map_err(|source| VendoredError::Write {
            path: record.clone(),
            source,
        })
    }
}

/// The files of a vendored package, as they are now, in the store.
pub(in crate::driver) fn snapshot(store: &Store, directory: &Path) -> Result<TreeRef, StoreError> {
    let exclude = |relative: &str, _is_directory: bool| relative == CHECKSUMS;
    Ok(store.snapshot(directory, &exclude, directory)?.tree)
}

fn read_in(
    directory: &Path,
    source: &SourceId,
    manifests: &ManifestContext,
) -> Result<Package, ManifestError> {
    read_package(&directory.join("Cargo.toml"), source, manifests)
}
