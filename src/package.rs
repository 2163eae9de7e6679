//! The vocabulary that manifests, registries, resolution and planning share: package names and ids, sources,
//! dependencies, features and summaries. Values only; nothing here reads or writes.

mod offer;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use cargo_platform::Platform;
use semver::{Version, VersionReq};

use crate::digest::{Claimed, Sha256};

pub use offer::{Offer, Reader};

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
pub const DEFAULT_REGISTRY: &str = "crates-io";

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

/// Which commit of a git repository is wanted. The order of the variants is cargo's, and `Cargo.lock` shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GitReference {
    /// `tag = "…"`.
    Tag(String),
    /// `branch = "…"`.
    Branch(String),
    /// `rev = "…"`.
    Rev(String),
    /// The remote's `HEAD`.
    DefaultBranch,
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
        /// The repository's address as the manifest or the lock gives it (normalised as a URL is); sources compare by
        /// [`SourceId::canonical_address`], so `…/a` and `…/a.git` are one.
        url: String,
        /// Which commit the manifest asks for.
        reference: GitReference,
        /// The commit that the lock states, 40 hexadecimal digits.
        precise: Option<String>,
    },
}

/// A source; cheap to clone. Sources are equal when their kind, canonical address and commit are; their order is
/// cargo's, which decides the order of packages of one name and version in `Cargo.lock`.
#[derive(Clone)]
pub struct SourceId(Arc<SourceInner>);

struct SourceInner {
    kind: SourceKind,
    rank: SourceRank,
}

/// What sources compare by. The order of the variants is cargo's.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
enum SourceRank {
    Path(String),
    DefaultRegistry(String),
    SparseRegistry(String),
    Git(GitReference, String, Option<String>),
}

impl SourceRank {
    fn address(&self) -> &str {
        match self {
            Self::Path(url)
            | Self::DefaultRegistry(url)
            | Self::SparseRegistry(url)
            | Self::Git(_, url, _) => url,
        }
    }
}

impl PartialEq for SourceId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.rank == other.0.rank
    }
}

impl Eq for SourceId {}

impl PartialOrd for SourceId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SourceId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return std::cmp::Ordering::Equal;
        }
        self.0.rank.cmp(&other.0.rank)
    }
}

impl std::hash::Hash for SourceId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.rank.hash(state);
    }
}

impl fmt::Debug for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.kind, f)
    }
}

/// What cargo compares addresses by: no slash at the end, no `.git`, and everything in lower case at GitHub, which
/// does not tell cases apart. A text that is no URL stays as it is.
pub fn canonical_url(text: &str) -> String {
    let Ok(mut url) = url::Url::parse(text) else {
        return text.to_owned();
    };
    if url.cannot_be_a_base() {
        return text.to_owned();
    }
    if url.path().ends_with('/')
        && let Ok(mut segments) = url.path_segments_mut()
    {
        segments.pop_if_empty();
    }
    if url.host_str() == Some("github.com") {
        if let Ok(https) = url::Url::parse(&format!("https{}", &url[url::Position::AfterScheme..]))
        {
            url = https;
        }
        url.set_path(&url.path().to_lowercase());
    }
    if let Some(chopped) = url.path().strip_suffix(".git") {
        let chopped = chopped.to_owned();
        url.set_path(&chopped);
    }
    url.into()
}

impl SourceId {
    /// The source that `kind` describes.
    pub fn new(kind: SourceKind) -> Self {
        let rank = match &kind {
            SourceKind::Path(path) => SourceRank::Path(
                url::Url::from_file_path(path)
                    .map_or_else(|()| path.to_string_lossy().into_owned(), String::from),
            ),
            SourceKind::Registry {
                is_crates_io: true,
                url,
            } => SourceRank::DefaultRegistry(canonical_url(url)),
            SourceKind::Registry {
                is_crates_io: false,
                url,
            } => SourceRank::SparseRegistry(canonical_url(url)),
            SourceKind::Git {
                url,
                reference,
                precise,
            } => SourceRank::Git(reference.clone(), canonical_url(url), precise.clone()),
        };
        Self(Arc::new(SourceInner { kind, rank }))
    }

    /// The address by which sources compare: [`canonical_url`] of a registry's index or of a repository, `file://…`
    /// of a directory. The keys of [`crate::manifest::model::Workspace::patches`] are such addresses.
    pub fn canonical_address(&self) -> &str {
        self.0.rank.address()
    }

    /// The same git source with `commit` as the commit (the lock's), or without one; any other source as it is.
    #[must_use]
    pub fn with_precise(&self, commit: Option<String>) -> Self {
        match self.kind() {
            SourceKind::Git {
                url,
                reference,
                precise,
            } if *precise != commit => Self::new(SourceKind::Git {
                url: url.clone(),
                reference: reference.clone(),
                precise: commit,
            }),
            _ => self.clone(),
        }
    }

    /// The commit that the lock states, if this is a git source that has one.
    pub fn precise(&self) -> Option<&str> {
        match self.kind() {
            SourceKind::Git { precise, .. } => precise.as_deref(),
            _ => None,
        }
    }

    /// Whether it is a git repository.
    pub fn is_git(&self) -> bool {
        matches!(self.0.kind, SourceKind::Git { .. })
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
        &self.0.kind
    }

    /// The source as cargo's messages name it. What is in it may be anybody's text.
    pub fn words(&self) -> String {
        match self.kind() {
            SourceKind::Path(path) => path.to_string_lossy().into_owned(),
            SourceKind::Registry {
                is_crates_io: true, ..
            } => format!("registry `{DEFAULT_REGISTRY}`"),
            SourceKind::Registry { url, .. } => format!("registry `{url}`"),
            SourceKind::Git {
                url,
                reference,
                precise,
            } => {
                let encoded = |text: &str| -> String {
                    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
                };
                let reference = match reference {
                    GitReference::DefaultBranch => String::new(),
                    GitReference::Branch(name) => format!("?branch={}", encoded(name)),
                    GitReference::Tag(name) => format!("?tag={}", encoded(name)),
                    GitReference::Rev(name) => format!("?rev={}", encoded(name)),
                };
                let commit = precise.as_deref().map_or(String::new(), |commit| {
                    format!("#{}", commit.get(..8).unwrap_or(commit))
                });
                format!("{url}{reference}{commit}")
            }
        }
    }

    /// Whether it is a directory of the machine.
    pub fn is_path(&self) -> bool {
        matches!(self.0.kind, SourceKind::Path(_))
    }

    /// Whether it is a registry.
    pub fn is_registry(&self) -> bool {
        matches!(self.0.kind, SourceKind::Registry { .. })
    }

    /// Whether it is cargo's default registry.
    pub fn is_crates_io(&self) -> bool {
        matches!(
            self.0.kind,
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
    /// The key in the manifest if it states `package = "…"`, even one that is equal to the key: as in cargo, the crate
    /// then goes by this name, whatever its library is named.
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

impl fmt::Display for FeatureValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feature(name) => fmt::Display::fmt(name, f),
            Self::Dependency(name) => write!(f, "dep:{name}"),
            Self::DependencyFeature {
                dependency,
                feature,
                weak,
            } => {
                let mark = if *weak { "?" } else { "" };
                write!(f, "{dependency}{mark}/{feature}")
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn git(url: &str, reference: GitReference) -> SourceId {
        SourceId::new(SourceKind::Git {
            url: url.to_owned(),
            reference,
            precise: None,
        })
    }

    #[test]
    fn addresses_are_compared_in_their_canonical_form() {
        let plain = git("https://example.com/a/b", GitReference::DefaultBranch);
        for same in ["https://example.com/a/b.git", "https://example.com/a/b/"] {
            assert_eq!(git(same, GitReference::DefaultBranch), plain, "{same}");
        }
        for other in [
            "https://example.com/A/b",
            "http://example.com/a/b",
            "https://example.com/a/b?x",
        ] {
            assert_ne!(git(other, GitReference::DefaultBranch), plain, "{other}");
        }
        assert_eq!(
            git("git://github.com/A/B", GitReference::DefaultBranch),
            git("https://github.com/a/b", GitReference::DefaultBranch)
        );
        assert_ne!(
            git("https://example.com/a/b", GitReference::Branch("c".into())),
            plain
        );
        assert_ne!(plain.with_precise(Some("0".repeat(40))), plain);
        assert_eq!(
            plain.with_precise(Some("0".repeat(40))).with_precise(None),
            plain
        );
    }

    #[test]
    fn sources_are_ordered_as_cargo_orders_them() {
        let url = "https://example.com/x";
        let ordered = [
            SourceId::new(SourceKind::Path("/z".into())),
            SourceId::default_registry(),
            SourceId::new(SourceKind::Registry {
                is_crates_io: false,
                url: "https://example.com/a/".into(),
            }),
            git(url, GitReference::Tag("t".into())),
            git(url, GitReference::Branch("b".into())),
            git(url, GitReference::Rev("a".into())),
            git("https://a.example.com/", GitReference::DefaultBranch),
        ];
        assert!(ordered.is_sorted());
    }
}
