//! A registry in memory, written one version a line:
//!
//! ```text
//! a 1.0.0 | b ^1 +feature -default optional | dev c * | feature f = dep:b b/g | links z | rust 1.60 | yanked
//! ```
//! Members are lines of the same form; `path NAME` as a dependency names another member. `[patch]` entries are lines
//! that begin with `patch`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use semver::{Version, VersionReq};

use crate::manifest::features::feature_map;
use crate::manifest::lock::{LocatedLock, Lock};
use crate::manifest::model::{
    BuildProfiles, Edition, Package, PackageMetadata, ResolverVersion, Workspace,
};
use crate::package::{
    Dependency, DependencyKind, FeatureName, Offer, PackageId, PackageName, SourceId, SourceKind,
    Summary,
};
use crate::resolve::{
    Options, Resolve, ResolveError, Summaries, Versions, VersionsError, fresh, spellings,
};

/// Versions by name.
#[derive(Default, Clone)]
pub(super) struct Memory {
    pub(super) packages: BTreeMap<PackageName, Vec<Arc<Summary>>>,
    /// The names that were asked for, one list for each round.
    pub(super) rounds: Vec<Vec<String>>,
}

impl Versions for Memory {
    fn versions(
        &mut self,
        name: &PackageName,
        source: &SourceId,
    ) -> Result<Arc<[Offer]>, VersionsError> {
        assert!(source.is_registry());
        let asked = self
            .rounds
            .iter()
            .flatten()
            .any(|known| name == known.as_str());
        if !asked {
            self.rounds.push(vec![name.to_string()]);
        }
        let known = self.packages.get(name).into_iter().flatten();
        Ok(known.cloned().map(Offer::from).collect())
    }

    fn prefetch(&mut self, wanted: &[(PackageName, SourceId)]) {
        self.rounds
            .push(wanted.iter().map(|(name, _)| name.to_string()).collect());
    }

    fn similar_names(&mut self, name: &PackageName, _: &SourceId) -> Vec<PackageName> {
        spellings(name)
            .into_iter()
            .filter(|spelling| self.packages.contains_key(spelling))
            .collect()
    }
}

impl Summaries for Memory {
    fn summary(&mut self, package: &PackageId) -> Result<Option<Arc<Summary>>, VersionsError> {
        Ok(self
            .packages
            .get(package.name())
            .and_then(|all| all.iter().find(|summary| summary.id == *package))
            .cloned())
    }
}

fn feature(name: &str) -> FeatureName {
    FeatureName::new(name).unwrap()
}

fn path_source(name: &str) -> SourceId {
    SourceId::new(SourceKind::Path(PathBuf::from(format!("/members/{name}"))))
}

fn dependency(text: &str) -> Dependency {
    let mut words = text.split_whitespace().peekable();
    let mut kind = DependencyKind::Normal;
    let mut is_path = false;
    loop {
        match words.peek() {
            Some(&"dev") => kind = DependencyKind::Development,
            Some(&"build") => kind = DependencyKind::Build,
            Some(&"path") => is_path = true,
            _ => break,
        }
        words.next();
    }
    let name = words.next().unwrap();
    let mut parsed = Dependency {
        package: PackageName::new(name).unwrap(),
        renamed: None,
        requirement: VersionReq::STAR,
        has_version: !is_path,
        source: if is_path {
            path_source(name)
        } else {
            SourceId::default_registry()
        },
        kind,
        optional: false,
        default_features: true,
        features: Vec::new(),
        platform: None,
        public: false,
    };
    for word in words {
        if word == "optional" {
            parsed.optional = true;
        } else if word == "-default" {
            parsed.default_features = false;
        } else if let Some(name) = word.strip_prefix('+') {
            parsed.features.push(feature(name));
        } else if let Some(name) = word.strip_prefix("as:") {
            parsed.renamed = Some(PackageName::new(name).unwrap());
        } else {
            parsed.requirement = VersionReq::parse(word).unwrap();
            parsed.has_version = true;
        }
    }
    parsed
}

/// One line as a summary.
pub(super) fn summary(line: &str, source: Option<SourceId>) -> Summary {
    let mut parts = line.split('|').map(str::trim);
    let (name, version) = parts.next().unwrap().split_once(' ').unwrap();
    let mut dependencies = Vec::new();
    let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut links, mut rust_version, mut yanked) = (None, None, false);
    for part in parts {
        let (first, rest) = part.split_once(' ').unwrap_or((part, ""));
        match first {
            "feature" => {
                let (name, values) = rest.split_once('=').unwrap();
                let values = values.split_whitespace().map(str::to_owned).collect();
                lists.insert(name.trim().to_owned(), values);
            }
            "links" => links = Some(rest.to_owned()),
            "rust" => rust_version = Some(rest.parse().unwrap()),
            "yanked" => yanked = true,
            _ => dependencies.push(dependency(part)),
        }
    }
    let declared = lists
        .iter()
        .map(|(name, list)| (name.as_str(), list.as_slice()));
    let features = feature_map(declared, &dependencies).unwrap();
    Summary {
        id: PackageId::new(
            PackageName::new(name).unwrap(),
            Version::parse(version.trim()).unwrap(),
            source.unwrap_or_else(SourceId::default_registry),
        ),
        dependencies,
        features,
        links,
        checksum: None,
        rust_version,
        yanked,
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// A registry.
pub(super) fn registry(text: &str) -> Memory {
    let mut memory = Memory::default();
    for line in lines(text) {
        let summary = summary(line, None);
        memory
            .packages
            .entry(summary.id.name().clone())
            .or_default()
            .push(Arc::new(summary));
    }
    memory
}

/// A workspace of the members in `text`. A line that begins with `other` is a path package that is no member; `patch
/// NAME REQUIREMENT` replaces packages of the registry by the path package of that name.
pub(super) fn workspace(text: &str) -> Workspace {
    let mut workspace = Workspace {
        root: PathBuf::from("/members"),
        root_manifest: PathBuf::from("/members/Cargo.toml"),
        packages: BTreeMap::new(),
        members: Vec::new(),
        default_members: Vec::new(),
        root_package: None,
        current_package: None,
        resolver: ResolverVersion::V2,
        profiles: BuildProfiles::default(),
        patches: BTreeMap::new(),
        replacements: Vec::new(),
        custom_metadata: None,
        warnings: Vec::new(),
    };
    for line in lines(text) {
        if let Some(patch) = line.strip_prefix("patch ") {
            workspace
                .patches
                .entry(SourceId::default_registry().canonical_address().to_owned())
                .or_default()
                .push(dependency(&format!("path {patch}")));
            continue;
        }
        let (is_member, line) = match line.strip_prefix("other ") {
            Some(line) => (false, line),
            None => (true, line),
        };
        let name = line.split(' ').next().unwrap();
        let summary = summary(line, Some(path_source(name)));
        let id = summary.id.clone();
        if is_member {
            workspace.members.push(id.clone());
        }
        let package = Package {
            summary,
            manifest_path: PathBuf::from(format!("/members/{name}/Cargo.toml")),
            targets: Vec::new(),
            edition: Edition::E2021,
            metadata: PackageMetadata::default(),
            default_run: None,
            lint_rustflags: Vec::new(),
            custom_metadata: None,
            publish: None,
            packaged: Default::default(),
            hints: None,
            unstable_keys: Vec::new(),
        };
        workspace.packages.insert(id, Arc::new(package));
    }
    workspace
}

/// Options under rustc 1.80.
pub(super) fn options() -> Options {
    Options::new(Version::new(1, 80, 0))
}

/// Resolves without a lock.
pub(super) fn resolve(registry_text: &str, members: &str) -> Result<Resolve, ResolveError> {
    fresh(
        &workspace(members),
        None,
        &mut registry(registry_text),
        &options(),
    )
}

/// The packages of a graph that come from elsewhere than the workspace's members: `name version`.
pub(super) fn chosen(resolve: &Resolve) -> Vec<String> {
    resolve
        .packages
        .keys()
        .filter(|id| !id.source().is_path())
        .map(|id| format!("{} {}", id.name(), id.version()))
        .collect()
}

/// The lock of a graph, as it would be read back.
pub(super) fn lock(resolve: &Resolve, workspace: &Workspace) -> LocatedLock {
    Lock::of_resolve(resolve, workspace, None).locate(workspace)
}
