//! The vocabulary that manifests, registries, resolution and planning share: package names and ids, sources,
//! dependencies, features and summaries. Values only; nothing here reads or writes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use cargo_platform::Platform;
use semver::{Version, VersionReq};

use crate::digest::{Claimed, Sha256};

/// Why a text is not a name that cargo allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} `{name}`: {why}")]
pub struct NameError {
    what: &'static str,
    name: String,
    why: String,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $schema:ty, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `name` by cargo's rules (`cargo_util_schemas`), and that it is safe as one path component.
            pub fn new(name: &str) -> Result<Self, NameError> {
                let fail = |why: String| NameError {
                    what: $what,
                    name: name.chars().take(100).collect(),
                    why,
                };
                <$schema>::new(name.to_owned()).map_err(|error| fail(error.to_string()))?;
                if name.len() > 255 {
                    return Err(fail("it is longer than 255 bytes".to_owned()));
                }
                Ok(Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a package, or the name by which a manifest refers to one.
    PackageName,
    cargo_util_schemas::manifest::PackageName::<String>,
    "package name"
);
name!(
    /// The name of a feature, without `dep:`, `/` or `?`.
    FeatureName,
    cargo_util_schemas::manifest::FeatureName::<String>,
    "feature name"
);

/// The name that cargo gives the default registry; its addresses are put together from it, here and nowhere else.
const DEFAULT_REGISTRY: &str = "crates-io";

/// The address of the default registry's sparse index, with a slash at the end.
pub fn default_sparse_index() -> String {
    format!("https://index.{}/", DEFAULT_REGISTRY.replace('-', "."))
}

/// The address that names the default registry in `Cargo.lock` (after `registry+`), whatever protocol is used.
pub fn default_registry_in_lock() -> String {
    format!(
        "https://github.com/rust-lang/{}-index",
        DEFAULT_REGISTRY.replace('-', ".")
    )
}

/// Which commit of a git repository is wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GitReference {
    /// The remote's `HEAD`.
    DefaultBranch,
    /// `branch = "…"`.
    Branch(String),
    /// `tag = "…"`.
    Tag(String),
    /// `rev = "…"`.
    Rev(String),
}

/// Where a package comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// A directory of the machine.
    Path(PathBuf),
    /// A registry with a sparse index. `url` is what `Cargo.lock` writes after `registry+` for the default registry
    /// and after `sparse+` (without that prefix) for the others.
    Registry {
        /// Whether it is cargo's `crates-io`.
        is_crates_io: bool,
        /// The registry's address, as the lock names it.
        url: String,
    },
    /// A git repository.
    Git {
        /// The repository's address, canonicalised as cargo does.
        url: String,
        /// Which commit the manifest asks for.
        reference: GitReference,
        /// The commit that the lock states, 40 hexadecimal digits.
        precise: Option<String>,
    },
}

/// A source; cheap to clone and compare.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(Arc<SourceKind>);

impl SourceId {
    /// The source that `kind` describes.
    pub fn new(kind: SourceKind) -> Self {
        Self(Arc::new(kind))
    }

    /// Cargo's default registry.
    pub fn default_registry() -> Self {
        Self::new(SourceKind::Registry {
            is_crates_io: true,
            url: default_registry_in_lock(),
        })
    }

    /// What kind of source it is.
    pub fn kind(&self) -> &SourceKind {
        &self.0
    }

    /// Whether it is a directory of the machine.
    pub fn is_path(&self) -> bool {
        matches!(*self.0, SourceKind::Path(_))
    }

    /// Whether it is a registry.
    pub fn is_registry(&self) -> bool {
        matches!(*self.0, SourceKind::Registry { .. })
    }

    /// Whether it is cargo's default registry.
    pub fn is_crates_io(&self) -> bool {
        matches!(
            *self.0,
            SourceKind::Registry {
                is_crates_io: true,
                ..
            }
        )
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct PackageIdInner {
    name: PackageName,
    version: Version,
    source: SourceId,
}

/// What names one package: its name, version and source. Cheap to clone; ordered by name, version, source.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageId(Arc<PackageIdInner>);

impl PackageId {
    /// Puts the three parts together.
    pub fn new(name: PackageName, version: Version, source: SourceId) -> Self {
        Self(Arc::new(PackageIdInner {
            name,
            version,
            source,
        }))
    }

    /// The package's own name.
    pub fn name(&self) -> &PackageName {
        &self.0.name
    }

    /// The package's version.
    pub fn version(&self) -> &Version {
        &self.0.version
    }

    /// Where the package comes from.
    pub fn source(&self) -> &SourceId {
        &self.0.source
    }
}

impl fmt::Display for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{}", self.name(), self.version())
    }
}

impl fmt::Debug for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which table of the manifest a dependency stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DependencyKind {
    /// `[dependencies]`.
    Normal,
    /// `[dev-dependencies]`.
    Development,
    /// `[build-dependencies]`.
    Build,
}

/// One dependency as a package declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The name of the package that is wanted (`package = "…"`, or the key).
    pub package: PackageName,
    /// The key in the manifest where it differs from [`Dependency::package`] (a renamed dependency).
    pub renamed: Option<PackageName>,
    /// Which versions will do.
    pub requirement: VersionReq,
    /// Whether the manifest stated a version at all (a path or git dependency may not).
    pub has_version: bool,
    /// Where it comes from.
    pub source: SourceId,
    /// Which table it stands in.
    pub kind: DependencyKind,
    /// `optional = true`.
    pub optional: bool,
    /// `default-features`, true where absent.
    pub default_features: bool,
    /// `features = […]`.
    pub features: Vec<FeatureName>,
    /// `[target.'…'.dependencies]`: only for such platforms.
    pub platform: Option<Platform>,
    /// `public = true` (only ever set under a nightly cargo).
    pub public: bool,
}

impl Dependency {
    /// The name by which the manifest refers to it: the key of the table.
    pub fn name_in_manifest(&self) -> &PackageName {
        self.renamed.as_ref().unwrap_or(&self.package)
    }

    /// Whether it matters to somebody who depends on the package (not a dev-dependency).
    pub fn is_transitive(&self) -> bool {
        self.kind != DependencyKind::Development
    }
}

/// One entry of a feature's list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FeatureValue {
    /// `"name"`: another feature of the same package.
    Feature(FeatureName),
    /// `"dep:name"`: activates an optional dependency.
    Dependency(PackageName),
    /// `"name/feature"` or `"name?/feature"` (`weak`): a feature of a dependency.
    DependencyFeature {
        /// The dependency, by its name in the manifest.
        dependency: PackageName,
        /// The feature of that dependency.
        feature: FeatureName,
        /// `?`: only if something else activates the dependency.
        weak: bool,
    },
}

/// The features of a package, those that cargo implies for optional dependencies included.
pub type FeatureMap = BTreeMap<FeatureName, Vec<FeatureValue>>;

/// What resolution needs to know of one version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Which package.
    pub id: PackageId,
    /// Its dependencies of all kinds (an index entry may hold dev-dependencies; resolution ignores them there).
    pub dependencies: Vec<Dependency>,
    /// Its features, with the implicit ones.
    pub features: FeatureMap,
    /// `links = "…"`: the native library that only one package of a graph may link.
    pub links: Option<String>,
    /// The archive's SHA-256 as the index states it.
    pub checksum: Option<Claimed<Sha256>>,
    /// `rust-version`, as the manifest or the index states it (`1.70` or `1.70.0`).
    pub rust_version: Option<cargo_util_schemas::manifest::RustVersion>,
    /// Whether the registry has withdrawn it.
    pub yanked: bool,
}
