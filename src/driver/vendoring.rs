//! `vendor`: the sources of every package of a lock in one directory, as cargo lays them out.
//!
//! ```text
//! <directory>/<name>/…                         the files of the newest version of a package
//!             <name>-<version>/…               those of other versions
//!             <either>/.cargo-checksum.json    the SHA-256 of each file, and of the archive
//! ```
//! Each package is put together beside its place and then moved there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use semver::Version;

use crate::digest::Sha256;
use crate::driver::supply::packages;
use crate::driver::supply::registries::Registries;
use crate::driver::supply::repositories::Repository;
use crate::driver::supply::vendored::CHECKSUMS;
use crate::driver::toolchains;
use crate::driver::{Context, DriverError, Reporter, resolution};
use crate::manifest::ManifestContext;
use crate::manifest::config::Config;
use crate::manifest::model::Package;
use crate::manifest::published::{file_rules, standalone};
use crate::manifest::source_text::{UrlEncoding, source_text};
use crate::package::{GitReference, PackageId, PackageName, SourceId, SourceKind};
use crate::source::git::Rules;
use crate::store::Store;
use crate::tree::{Entry, TreeRef};

/// The name that the directory has in configuration.
const MERGED: &str = "vendored-sources";

/// What the user asks for.
#[derive(Debug, Clone)]
pub struct VendorOptions {
    /// The directory, as the user gives it.
    pub directory: PathBuf,
    /// Whether to leave what is there and belongs to no package.
    pub no_delete: bool,
    /// Whether every directory has the version in its name.
    pub versioned_dirs: bool,
    /// The manifests of other workspaces, whose packages are vendored as well.
    pub sync: Vec<PathBuf>,
    /// Whether `[source]` of the configuration counts.
    pub respect_source_config: bool,
}

/// The configuration that makes cargo and kiln use the directory.
#[derive(Debug, serde::Serialize)]
pub struct VendorConfig {
    source: BTreeMap<String, VendorSource>,
}

impl VendorConfig {
    /// Whether nothing was vendored.
    pub fn is_empty(&self) -> bool {
        self.source.is_empty()
    }

    /// It as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_default()
    }
}

#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
enum VendorSource {
    Directory {
        directory: String,
    },
    Registry {
        registry: Option<String>,
        #[serde(rename = "replace-with")]
        replace_with: &'static str,
    },
    Git {
        git: String,
        branch: Option<String>,
        tag: Option<String>,
        rev: Option<String>,
        #[serde(rename = "replace-with")]
        replace_with: &'static str,
    },
}

/// What is to be vendored of one package.
struct Item {
    files: Vec<Source>,
    /// The archive's digest, as the lock states it.
    archive: Option<String>,
}

/// A file to be vendored: its path in the package, and where it comes from.
enum Source {
    File {
        path: String,
        from: PathBuf,
        executable: bool,
    },
    Link {
        path: String,
        target: String,
    },
    /// A file that is made.
    Text {
        path: String,
        text: String,
    },
}

impl Source {
    fn path(&self) -> &str {
        match self {
            Self::File { path, .. } | Self::Link { path, .. } | Self::Text { path, .. } => path,
        }
    }
}

/// Vendors the packages of the user's workspace. Gives the configuration to be told to the user.
pub fn vendor(
    context: &Context,
    store: &Arc<Store>,
    options: &VendorOptions,
    reporter: &mut dyn Reporter,
) -> Result<VendorConfig, DriverError> {
    let context = &without_replacements(context, options);
    let target = context.directory.join(&options.directory);
    let existed = target.exists();
    std::fs::create_dir_all(&target).map_err(|source| failed(&target, source))?;
    let target = target
        .canonicalize()
        .map_err(|source| failed(&target, source))?;
    let mut to_remove = if options.no_delete {
        BTreeSet::new()
    } else {
        visible(&target)?
    };

    let mut items: BTreeMap<PackageId, Item> = BTreeMap::new();
    let mut manifests: Vec<Option<PathBuf>> = options
        .sync
        .iter()
        .map(|path| Some(context.directory.join(path)))
        .collect();
    manifests.push(None);
    for manifest in manifests {
        let context = Context {
            manifest_path: manifest.or_else(|| context.manifest_path.clone()),
            ..context.clone()
        };
        let kept = collect(&context, store, &mut items, reporter)?;
        for directory in kept {
            to_remove.remove(&directory);
        }
    }

    let newest = newest(&items)?;
    let mut sources = BTreeSet::new();
    for (id, item) in &items {
        let has_version = options.versioned_dirs || id.version() != newest[id.name()];
        let name = if has_version {
            format!("{}-{}", id.name(), id.version())
        } else {
            id.name().to_string()
        };
        sources.insert(id.source().with_precise(None));
        let place = target.join(&name);
        to_remove.remove(&place);
        // The files of a version of a registry never change.
        if has_version && id.source().is_registry() && place.join(CHECKSUMS).exists() {
            continue;
        }
        reporter.status("Vendoring", &format!("{id} to {}", place.display()));
        put(item, &target, &place)?;
    }
    for path in to_remove {
        let removed = match std::fs::symlink_metadata(&path) {
            Ok(data) if data.is_dir() => std::fs::remove_dir_all(&path),
            _ => std::fs::remove_file(&path),
        };
        removed.map_err(|source| failed(&path, source))?;
    }
    let config = configuration(&sources, &options.directory);
    if config.is_empty() && !existed {
        std::fs::remove_dir(&target).map_err(|source| failed(&target, source))?;
    }
    Ok(config)
}

/// Vendoring from the sources themselves, unless the user wants otherwise.
fn without_replacements(context: &Context, options: &VendorOptions) -> Context {
    let mut context = context.clone();
    if !options.respect_source_config {
        let mut config: Config = (*context.config).clone();
        config.sources.clear();
        context.config = Arc::new(config);
    }
    context
}

fn failed(path: &Path, source: std::io::Error) -> DriverError {
    DriverError::File {
        path: path.to_owned(),
        verb: "written",
        source,
    }
}

/// What is in the directory and not hidden.
fn visible(directory: &Path) -> Result<BTreeSet<PathBuf>, DriverError> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(directory).map_err(|source| failed(directory, source))? {
        let entry = entry.map_err(|source| failed(directory, source))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            found.insert(entry.path());
        }
    }
    Ok(found)
}

/// Adds the packages of one workspace to `items`; gives the directories of its path packages.
fn collect(
    context: &Context,
    store: &Arc<Store>,
    items: &mut BTreeMap<PackageId, Item>,
    reporter: &mut dyn Reporter,
) -> Result<Vec<PathBuf>, DriverError> {
    let workspace = resolution::load(context)?;
    for warning in &workspace.warnings {
        reporter.warning(warning);
    }
    let rust = toolchains::rust_toolchain(context, store, &workspace.root, &[])?;
    let mut registries = Registries::new(context, store, reporter)?;
    let resolved = resolution::resolve(context, workspace, &rust.version.release, &mut registries)?;
    let wanted: BTreeSet<PackageId> = resolved.resolve.packages.keys().cloned().collect();
    let obtained = packages::obtain(context, store, &resolved, &wanted, &mut registries)?;
    let mut kept = Vec::new();
    for id in wanted {
        if id.source().is_path() {
            let package = obtained.packages.get(&id);
            kept.extend(package.and_then(|package| package.root().canonicalize().ok()));
            continue;
        }
        let files = match (
            obtained.fetched.get(&id),
            obtained.vendored.get(&id),
            obtained.repositories.get(id.source()),
        ) {
            (Some(fetched), ..) => tree_files(store, &fetched.tree)?,
            (None, Some(vendored), _) => tree_files(store, &vendored.tree)?,
            (None, None, Some(repository)) => {
                let package = &obtained.packages[&id];
                let manifests = context.manifest_context();
                repository_files(repository, package, manifests, registries.reporter())?
            }
            (None, None, None) => Vec::new(),
        };
        let archive = resolved
            .lock
            .packages
            .get(&id)
            .and_then(|package| package.checksum)
            .map(|checksum| checksum.0.to_hex());
        items.insert(id, Item { files, archive });
    }
    Ok(kept)
}

/// The files of a tree of the store, without what is never vendored.
fn tree_files(store: &Store, tree: &TreeRef) -> Result<Vec<Source>, DriverError> {
    let directory = store.materialize(tree)?;
    let missing = || crate::store::StoreError::MissingTree(tree.digest);
    let closed = store.read_tree(tree)?.ok_or_else(missing)?;
    let mut files = Vec::new();
    let walked: Result<(), std::convert::Infallible> = closed.walk(&mut |path, entry| {
        if !is_vendored(path) {
            return Ok(());
        }
        match entry {
            Entry::File { executable, .. } => files.push(Source::File {
                path: path.to_owned(),
                from: directory.join(path),
                executable: *executable,
            }),
            Entry::Symlink { target } => files.push(Source::Link {
                path: path.to_owned(),
                target: target.clone(),
            }),
            Entry::Directory(_) => {}
        }
        Ok(())
    });
    match walked {
        Ok(()) => Ok(files),
        Err(never) => match never {},
    }
}

/// The files of a package of a repository: those of its directory that are not of another package, by the rules of
/// `include` and `exclude`, with a manifest that stands alone.
fn repository_files(
    repository: &Repository,
    package: &Package,
    mut manifests: ManifestContext,
    reporter: &mut dyn Reporter,
) -> Result<Vec<Source>, DriverError> {
    manifests.barriers.push(repository.directory.clone());
    let root = package.root();
    let (include, exclude) = file_rules(&package.manifest_path, &manifests)?;
    let by_include = !include.is_empty();
    let rules = Rules::new(if by_include { &include } else { &exclude });
    // Links are followed, as the store has none that leads outside.
    let walk = walkdir::WalkDir::new(root)
        .follow_links(true)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| {
            let is_other = entry.depth() > 0 && entry.path().join("Cargo.toml").exists();
            let is_target = by_include && entry.depth() == 1 && entry.file_name() == "target";
            !(entry.file_type().is_dir() && (is_other || is_target))
        });
    let wanted = |path: &str| {
        let is_named = matches!(path, "Cargo.toml" | "Cargo.lock");
        (is_named || rules.matches(path) == by_include) && is_vendored(path)
    };
    let mut files = Vec::new();
    for submodule in &repository.checkout.submodules {
        // cargo leaves a mark in each submodule that it has fetched, and vendors that as well.
        let directory = repository.directory.join(submodule);
        let is_of_package = directory
            .ancestors()
            .take_while(|above| *above != root)
            .all(|above| !above.join("Cargo.toml").exists());
        let relative = directory.strip_prefix(root).ok().and_then(Path::to_str);
        if let Some(relative) = relative.filter(|relative| !relative.is_empty() && is_of_package) {
            let path = format!("{relative}/.cargo-ok");
            if wanted(&path) {
                let text = String::new();
                files.push(Source::Text { path, text });
            }
        }
    }
    for entry in walk {
        // A link to nothing, or to a directory above itself.
        let Ok(entry) = entry else { continue };
        let relative = entry.path().strip_prefix(root).ok().and_then(Path::to_str);
        let Some(path) = relative.filter(|_| entry.file_type().is_file()) else {
            continue;
        };
        if wanted(path) {
            use std::os::unix::fs::PermissionsExt as _;
            let executable = entry
                .metadata()
                .is_ok_and(|data| data.permissions().mode() & 0o111 != 0);
            files.push(Source::File {
                path: path.to_owned(),
                from: entry.path().to_owned(),
                executable,
            });
        }
    }
    let names: BTreeSet<String> = files.iter().map(|file| file.path().to_owned()).collect();
    let source = package.id().source();
    let (text, warnings) = standalone(&package.manifest_path, source, &manifests, &names)?;
    for warning in &warnings {
        reporter.warning(warning);
    }
    files.retain(|file| {
        let name = file.path().rsplit('/').next();
        name != Some("Cargo.toml")
    });
    files.push(Source::Text {
        path: "Cargo.toml".to_owned(),
        text,
    });
    Ok(files)
}

/// Whether a file belongs to what is vendored: version control's files would make it somebody's repository.
fn is_vendored(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    !path.split('/').any(|component| component == ".git")
        && !matches!(name, ".gitattributes" | ".gitignore")
        && path != ".cargo-ok"
}

/// The newest version of each package; two sources may not have one name and version.
fn newest(
    items: &BTreeMap<PackageId, Item>,
) -> Result<BTreeMap<&PackageName, &Version>, DriverError> {
    let mut newest: BTreeMap<&PackageName, &Version> = BTreeMap::new();
    let mut seen: BTreeMap<(&PackageName, &Version), &SourceId> = BTreeMap::new();
    for id in items.keys() {
        if let Some(first) = seen.insert((id.name(), id.version()), id.source()) {
            return Err(DriverError::Request {
                message: format!(
                    "`{id}` is needed from two sources, `{}` and `{}`, and one directory can hold only one of them",
                    source_text(first, UrlEncoding::Plain),
                    source_text(id.source(), UrlEncoding::Plain),
                ),
                help: Some("let one source serve all, for example through `[patch]`".to_owned()),
            });
        }
        let best = newest.entry(id.name()).or_insert(id.version());
        *best = (*best).max(id.version());
    }
    Ok(newest)
}

/// Puts the files of a package at `place`, below `target`.
fn put(item: &Item, target: &Path, place: &Path) -> Result<(), DriverError> {
    let staging = tempfile::Builder::new()
        .prefix(".vendor-staging")
        .tempdir_in(target)
        .map_err(|source| failed(target, source))?;
    let root = staging.path().join("package");
    let write = |file: &Source| -> std::io::Result<(String, String)> {
        use std::os::unix::fs::PermissionsExt as _;
        let to = root.join(file.path());
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let bytes = match file {
            Source::File {
                from, executable, ..
            } => {
                let bytes = std::fs::read(from)?;
                std::fs::write(&to, &bytes)?;
                let mode = if *executable { 0o755 } else { 0o644 };
                std::fs::set_permissions(&to, std::fs::Permissions::from_mode(mode))?;
                bytes
            }
            Source::Text { text, .. } => {
                std::fs::write(&to, text)?;
                text.clone().into_bytes()
            }
            Source::Link { target, .. } => {
                std::os::unix::fs::symlink(target, &to)?;
                Vec::new()
            }
        };
        Ok((file.path().to_owned(), Sha256::of(&bytes).to_hex()))
    };
    std::fs::create_dir_all(&root).map_err(|source| failed(&root, source))?;
    let mut sums: BTreeMap<String, String> = item
        .files
        .par_iter()
        .map(|file| write(file).map_err(|source| failed(&place.join(file.path()), source)))
        .collect::<Result<_, _>>()?;
    // A link counts by what it leads to, once everything is there.
    for file in &item.files {
        if let Source::Link { path, .. } = file {
            match std::fs::read(root.join(path)) {
                Ok(bytes) => sums.insert(path.clone(), Sha256::of(&bytes).to_hex()),
                Err(_) => sums.remove(path),
            };
        }
    }
    let json = serde_json::json!({ "files": sums, "package": item.archive });
    let checksums = root.join(CHECKSUMS);
    std::fs::write(&checksums, json.to_string())
        .and_then(|()| match std::fs::symlink_metadata(place) {
            Ok(data) if data.is_dir() => std::fs::remove_dir_all(place),
            Ok(_) => std::fs::remove_file(place),
            Err(_) => Ok(()),
        })
        .and_then(|()| std::fs::rename(&root, place))
        .map_err(|source| failed(place, source))
}

/// What the user has to add to his configuration.
fn configuration(sources: &BTreeSet<SourceId>, directory: &Path) -> VendorConfig {
    let mut config = BTreeMap::new();
    for source in sources {
        let (name, entry) = match source.kind() {
            SourceKind::Registry {
                is_crates_io: true, ..
            } => (
                "crates-io".to_owned(),
                VendorSource::Registry {
                    registry: None,
                    replace_with: MERGED,
                },
            ),
            SourceKind::Git { url, reference, .. } => {
                let named = |wanted: &str| match reference {
                    GitReference::Branch(name) if wanted == "branch" => Some(name.clone()),
                    GitReference::Tag(name) if wanted == "tag" => Some(name.clone()),
                    GitReference::Rev(name) if wanted == "rev" => Some(name.clone()),
                    _ => None,
                };
                (
                    source_text(source, UrlEncoding::Plain),
                    VendorSource::Git {
                        git: url.clone(),
                        branch: named("branch"),
                        tag: named("tag"),
                        rev: named("rev"),
                        replace_with: MERGED,
                    },
                )
            }
            SourceKind::Registry { .. } | SourceKind::Path(_) => {
                let text = source_text(source, UrlEncoding::Plain);
                let registry = Some(text.clone());
                (
                    text,
                    VendorSource::Registry {
                        registry,
                        replace_with: MERGED,
                    },
                )
            }
        };
        config.insert(name, entry);
    }
    if !config.is_empty() {
        let directory = directory.to_string_lossy().into_owned();
        config.insert(MERGED.to_owned(), VendorSource::Directory { directory });
    }
    VendorConfig { source: config }
}
