//! `Cargo.toml` from disk: parsed once, with the keys that nothing reads, and the workspace root that it belongs to.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cargo_util_schemas::manifest::{TomlManifest, TomlWorkspace};

use super::error::{Checked, Fault, ManifestError};
use super::paths::normalize;
use super::text::Place;
use crate::package::SourceId;

/// What reading manifests needs to know from outside of them.
#[derive(Debug, Clone, Default)]
pub struct ManifestContext {
    /// The registries by name (`[registries.NAME] index`), without the default one.
    pub registries: BTreeMap<String, SourceId>,
    /// Registries that configuration names and kiln cannot use, each with the reason.
    pub unusable_registries: BTreeMap<String, String>,
    /// `[patch]` of the configuration, which goes over the manifest's.
    pub patches: Vec<ConfiguredPatch>,
    /// Directories above which no workspace root is looked for: cargo's home, the root of a checkout.
    pub barriers: Vec<PathBuf>,
}

/// An entry of `[patch]` in the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfiguredPatch {
    /// What is patched: a registry's name, or an address.
    pub source: String,
    /// The name of the dependency.
    pub name: String,
    /// What takes its place.
    pub dependency: toml::Value,
    /// What a relative path in it is relative to.
    pub directory: PathBuf,
    /// The file that says so.
    pub origin: String,
}

/// A manifest as written.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) toml: TomlManifest,
}

/// Where a manifest says that its workspace is.
pub(super) enum Membership<'a> {
    /// It has `[workspace]`.
    Root(&'a TomlWorkspace),
    /// It has not; `package.workspace`, if it says so.
    Member(Option<&'a str>),
}

impl Document {
    /// Its directory.
    pub(super) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    pub(super) fn membership(&self) -> Checked<Membership<'_>> {
        let pointer = self
            .toml
            .package()
            .and_then(|package| package.workspace.as_deref());
        match (&self.toml.workspace, pointer) {
            (Some(_), Some(_)) => Err(Fault::new(
                "`package.workspace` and `[workspace]` exclude each other",
            )
            .help("remove one of them")
            .at(["package", "workspace"])),
            (Some(workspace), None) => Ok(Membership::Root(workspace)),
            (None, pointer) => Ok(Membership::Member(pointer)),
        }
    }

    /// The error for a fault in this file.
    #[expect(clippy::boxed_local, reason = "faults are boxed wherever they occur")]
    pub(super) fn error(&self, fault: Box<Fault>) -> ManifestError {
        fault.in_file(&self.path, &self.text)
    }

    /// If this is a workspace root that does not exclude `manifest`, or points to another root: that root.
    fn root_for(&self, manifest: &Path) -> Result<Option<PathBuf>, ManifestError> {
        match self.membership().map_err(|fault| self.error(fault))? {
            Membership::Root(workspace) => {
                Ok((!excludes(workspace, self.directory(), manifest)).then(|| self.path.clone()))
            }
            Membership::Member(Some(pointer)) => Ok(Some(normalize(
                &self.directory().join(pointer).join("Cargo.toml"),
            ))),
            Membership::Member(None) => Ok(None),
        }
    }
}

/// Whether the workspace in `root` excludes what is at `path`: it is below an excluded directory and not below one
/// that `members` spells out.
pub(super) fn excludes(workspace: &TomlWorkspace, root: &Path, path: &Path) -> bool {
    let covers = |list: &Option<Vec<String>>| {
        list.iter()
            .flatten()
            .any(|entry| path.starts_with(root.join(entry)))
    };
    covers(&workspace.exclude) && !covers(&workspace.members)
}

/// Parses `text` and says which keys nothing reads, each as the path to it.
fn parse(path: &Path, text: &str) -> Result<TomlManifest, ManifestError> {
    let error = |error: toml::de::Error| ManifestError::Toml {
        place: Box::new(Place::new(path, text, error.span().unwrap_or(0..0))),
        message: error.message().to_owned(),
    };
    let deserializer = toml::Deserializer::parse(text).map_err(error)?;
    let mut unused = BTreeSet::new();
    let mut manifest: TomlManifest = serde_ignored::deserialize(deserializer, |key| {
        unused.insert(dotted(&key));
    })
    .map_err(error)?;
    manifest._unused_keys = unused;
    Ok(manifest)
}

fn dotted(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path as Key;
    let join = |parent: &Key<'_>, key: &str| match dotted(parent) {
        parent if parent.is_empty() => key.to_owned(),
        parent => format!("{parent}.{key}"),
    };
    match path {
        Key::Root => String::new(),
        Key::Seq { parent, index } => join(parent, &index.to_string()),
        Key::Map { parent, key } => join(parent, key),
        Key::Some { parent } | Key::NewtypeVariant { parent } | Key::NewtypeStruct { parent } => {
            dotted(parent)
        }
    }
}

/// Reads manifests, each at most once.
pub(super) struct Reader<'c> {
    pub(super) context: &'c ManifestContext,
    documents: RefCell<HashMap<PathBuf, Rc<Document>>>,
}

impl<'c> Reader<'c> {
    pub(super) fn new(context: &'c ManifestContext) -> Self {
        Self {
            context,
            documents: RefCell::new(HashMap::new()),
        }
    }

    /// The manifest at `path`, which is absolute.
    pub(super) fn read(&self, path: &Path) -> Result<Rc<Document>, ManifestError> {
        if let Some(document) = self.documents.borrow().get(path) {
            return Ok(document.clone());
        }
        let text = std::fs::read_to_string(path).map_err(|source| ManifestError::Read {
            path: path.to_owned(),
            source,
        })?;
        let toml = parse(path, &text)?;
        let document = Rc::new(Document {
            path: path.to_owned(),
            text,
            toml,
        });
        self.documents
            .borrow_mut()
            .insert(path.to_owned(), document.clone());
        Ok(document)
    }

    /// The root manifest of the workspace that `manifest` belongs to: itself, the one that it or a manifest above
    /// points to, or the nearest one above that does not exclude it.
    pub(super) fn find_root(&self, manifest: &Path) -> Result<Option<PathBuf>, ManifestError> {
        if let Some(root) = self.read(manifest)?.root_for(manifest)? {
            return Ok(Some(root));
        }
        let mut below: Option<&Path> = None;
        for directory in manifest.ancestors().skip(2) {
            let stops = |path: &Path| self.context.barriers.iter().any(|barrier| barrier == path);
            // What cargo packages lies in `target/package` and is not of the workspace around.
            if directory.ends_with("target/package")
                || below.is_some_and(stops)
                || manifest.parent().is_some_and(stops)
            {
                break;
            }
            below = Some(directory);
            let candidate = directory.join("Cargo.toml");
            if candidate.exists()
                && let Some(root) = self.read(&candidate)?.root_for(manifest)?
            {
                return Ok(Some(root));
            }
        }
        Ok(None)
    }
}

/// The manifest that applies in `start`: `Cargo.toml` there or in the nearest directory above that has one.
pub fn find_manifest(start: &Path) -> Result<PathBuf, ManifestError> {
    let mut misnamed = None;
    for directory in start.ancestors() {
        let manifest = directory.join("Cargo.toml");
        if manifest.exists() {
            return Ok(manifest);
        }
        let lower = directory.join("cargo.toml");
        if misnamed.is_none() && lower.exists() {
            misnamed = Some(lower);
        }
    }
    Err(ManifestError::NotFound {
        start: start.to_owned(),
        misnamed,
    })
}
