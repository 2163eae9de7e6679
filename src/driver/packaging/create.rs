//! A package as its archive has it: manifest and lock standing alone, in a directory of its own, which is what is packed
//! and what is built to see that it can be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Content, FileList, archive};
use crate::digest::{Claimed, Sha256};
use crate::driver::supply::registries::{self, Registries};
use crate::driver::toolchains;
use crate::driver::{Context, DriverError, Reporter, files, resolution};
use crate::manifest::lock::Lock;
use crate::manifest::model::{Package, Workspace};
use crate::manifest::published::{self, packaged};
use crate::manifest::{ManifestContext, load_workspace};
use crate::package::{DependencyKind, PackageId, SourceId, SourceKind, Summary};
use crate::resolve::fresh;
use crate::store::Store;

/// What packages are made from.
pub struct Packaging<'a> {
    /// The context; what was made counts as published in it.
    pub context: Context,
    /// The store.
    pub store: Arc<Store>,
    /// The workspace.
    pub workspace: &'a Workspace,
    /// The registry that they are for.
    pub registry: SourceId,
    /// Where archives go: `target/kiln/package`.
    pub destination: PathBuf,
}

/// A package that was made.
#[derive(Debug)]
pub struct Created {
    /// The archive.
    pub archive: PathBuf,
    /// Its size in bytes.
    pub archive_bytes: u64,
    /// The size of the files in it.
    pub bytes: u64,
    /// The directory that has the same files.
    pub directory: PathBuf,
}

impl Packaging<'_> {
    /// Makes the archive of `package` from its `list` of files.
    ///
    /// # Errors
    /// A dependency has no version, a file cannot be read or written, or no lock can be made.
    pub fn create(
        &mut self,
        package: &Package,
        list: &FileList,
        reporter: &mut dyn Reporter,
    ) -> Result<Created, DriverError> {
        check_versions(package)?;
        let id = package.id();
        let base = format!("{}-{}", id.name(), id.version());
        let directory = self.destination.join(&base);
        let names: BTreeSet<String> = list.files.iter().map(|file| file.path.clone()).collect();
        let (manifest, warnings) = packaged(
            &package.manifest_path,
            id.source(),
            &self.context.manifest_context(),
            &names,
            published::Packaging {
                resolver: self.workspace.resolver,
                registries: &self.indices(),
            },
        )?;
        for warning in warnings {
            reporter.warning(&warning);
        }
        self.lay_out(&directory, list, &manifest)?;
        let has_lock = list
            .files
            .iter()
            .any(|file| file.content == Content::Lockfile);
        let alone = self.alone(&directory)?;
        let lock = if has_lock {
            let lock = self.lock(package, &alone, reporter)?;
            write(&directory.join("Cargo.lock"), lock.as_bytes())?;
            Some(lock)
        } else {
            None
        };
        let path = self.destination.join(format!("{base}.crate"));
        let bytes = archive::write(&path, &base, &list.files, &|content| match content {
            Content::Manifest => Some(manifest.clone().into_bytes()),
            Content::Lockfile => lock.clone().map(String::into_bytes),
            Content::VcsInfo(info) => serde_json::to_vec_pretty(info).ok(),
            Content::OnDisk(_) => None,
        })?;
        let packed = std::fs::read(&path).map_err(failed(&path, "read"))?;
        if package
            .publish
            .as_ref()
            .is_none_or(|allowed| !allowed.is_empty())
        {
            self.publish(&alone, Sha256::of(&packed), &path);
        }
        Ok(Created {
            archive: path,
            archive_bytes: packed.len() as u64,
            bytes,
            directory,
        })
    }

    /// The addresses of registries by name, as manifests state them.
    fn indices(&self) -> BTreeMap<String, String> {
        let context = self.context.manifest_context();
        context
            .registries
            .iter()
            .map(|(name, source)| (name.clone(), source.canonical_address().to_owned()))
            .collect()
    }

    /// Puts the files of the archive into a fresh directory.
    fn lay_out(
        &self,
        directory: &Path,
        list: &FileList,
        manifest: &str,
    ) -> Result<(), DriverError> {
        match std::fs::remove_dir_all(directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(directory, "written")(error));
            }
            _ => {}
        }
        for file in &list.files {
            let to = directory.join(&file.path);
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent).map_err(failed(parent, "written"))?;
            }
            match &file.content {
                Content::OnDisk(from) => {
                    std::fs::copy(from, &to).map_err(failed(from, "read"))?;
                }
                Content::Manifest => write(&to, manifest.as_bytes())?,
                Content::VcsInfo(info) => {
                    write(&to, &serde_json::to_vec_pretty(info).unwrap_or_default())?;
                }
                Content::Lockfile => {}
            }
        }
        Ok(())
    }

    /// The package in `directory` as a workspace of its own.
    fn alone(&self, directory: &Path) -> Result<Workspace, DriverError> {
        let context = ManifestContext {
            barriers: vec![directory.to_owned()],
            ..self.context.manifest_context()
        };
        Ok(load_workspace(&directory.join("Cargo.toml"), &context)?)
    }

    /// The lock of `alone`, which keeps what that of the workspace says.
    fn lock(
        &self,
        package: &Package,
        alone: &Workspace,
        reporter: &mut dyn Reporter,
    ) -> Result<String, DriverError> {
        let context = &self.context;
        let rust = toolchains::rust_toolchain(context, &self.store, &self.workspace.root, &[])?;
        let mut registries = Registries::new(context, &self.store, reporter)?;
        let previous = Lock::read(self.workspace)?;
        let located = previous.as_ref().map(|(lock, _)| lock.locate(alone));
        let options = resolution::options(context, &rust.version.release);
        let resolve = fresh(alone, located.as_ref(), &mut registries, &options)?;
        // A lock that was not beside the manifest is a new file there.
        let is_own = package.root() == self.workspace.root;
        let before = previous
            .as_ref()
            .map(|(lock, text)| (lock, if is_own { text.as_str() } else { "" }));
        let text = Lock::rewrite(&resolve, alone, before);
        Ok(text.or(previous.map(|(_, text)| text)).unwrap_or_default())
    }

    /// Lets the package count as one of the registry's for those that are made later.
    fn publish(&mut self, alone: &Workspace, sha256: Sha256, archive: &Path) {
        let Some(package) = alone.root_package.as_ref().map(|id| alone.package(id)) else {
            return;
        };
        let id = PackageId::new(
            package.id().name().clone(),
            package.id().version().clone(),
            self.registry.clone(),
        );
        let summary = Summary {
            id,
            checksum: Some(Claimed(sha256)),
            rust_version: None,
            ..package.summary.clone()
        };
        Arc::make_mut(&mut self.context.overlay).add(summary, archive.to_owned());
    }
}

/// The registry that `packages` are for: the only one that all of them allow, or the default one.
///
/// # Errors
/// They allow different ones, or one that is not configured.
pub fn registry_of(packages: &[&Package], context: &Context) -> Result<SourceId, DriverError> {
    let mut named: BTreeSet<&str> = BTreeSet::new();
    for package in packages {
        match package.publish.as_deref() {
            Some([]) => {}
            Some([only]) => {
                named.insert(only);
            }
            Some([..]) | None => return Ok(SourceId::default_registry()),
        }
    }
    let Some(name) = named.pop_first().filter(|_| named.is_empty()) else {
        return Ok(SourceId::default_registry());
    };
    registries::named(&context.manifest_context(), name).ok_or_else(|| DriverError::Request {
        message: format!("`package.publish` names the registry `{name}`, which has no index"),
        help: Some(format!(
            "set `registries.{name}.index` in `.cargo/config.toml`"
        )),
    })
}

/// Whatever is published finds its dependencies by version.
fn check_versions(package: &Package) -> Result<(), DriverError> {
    let without = package.summary.dependencies.iter().find(|dependency| {
        dependency.kind != DependencyKind::Development
            && !dependency.has_version
            && matches!(
                dependency.source.kind(),
                SourceKind::Path(_) | SourceKind::Git { .. }
            )
    });
    match without {
        None => Ok(()),
        Some(dependency) => Err(DriverError::Request {
            message: format!(
                "all dependencies of a package must have a version, and `{}` of `{}` has none",
                dependency.name_in_manifest(),
                package.manifest_path.display()
            ),
            help: Some(format!(
                "add `version = \"…\"` to the dependency `{}`: its path or repository is not part of the package",
                dependency.name_in_manifest()
            )),
        }),
    }
}

fn failed(path: &Path, verb: &'static str) -> impl FnOnce(std::io::Error) -> DriverError {
    let path = path.to_owned();
    move |source| DriverError::File { path, verb, source }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), DriverError> {
    files::write(path, bytes).map_err(failed(path, "written"))
}
