//! `cargo metadata --format-version 1`: packages as their manifests describe them, and the graph that one command
//! uses. Fields and their order are cargo's; `target_directory` and `build_directory` are where kiln puts artifacts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use cargo_platform::Platform as PlatformExpression;
use serde::Serialize;

use crate::manifest::model::{Package, Target, Workspace};
use crate::manifest::source_text::{UrlEncoding, source_text};
use crate::package::{
    Dependency, DependencyKind, FeatureName, PackageId, SourceId, SourceKind, Summary,
};
use crate::resolve::graph::Resolve;
use crate::unit::json::{self, TargetJson};
use crate::unit::{Activation, package_id_spec};

/// Why there is no metadata.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// A package of the graph was not fetched.
    #[error("the manifest of `{package}` was not read")]
    NotLoaded {
        /// The package.
        package: PackageId,
    },
    /// The tables of a package name one dependency differently.
    #[error("the crate `{from}` depends on crate `{to}` multiple times with different names")]
    ConflictingNames {
        /// The package.
        from: PackageId,
        /// What it depends on.
        to: PackageId,
    },
    /// Something has no JSON form.
    #[error("the metadata has no JSON form")]
    Json(#[from] serde_json::Error),
}

impl MetadataError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Self::NotLoaded { .. } => "this is a bug of kiln's: please report it",
            Self::ConflictingNames { .. } => {
                "give the dependency the same name in all tables of the manifest"
            }
            Self::Json(_) => "rename files whose names are not UTF-8",
        };
        Some(help.to_owned())
    }
}

/// What the metadata is about.
#[derive(Debug)]
pub struct MetadataInput<'a> {
    /// The workspace.
    pub workspace: &'a Workspace,
    /// The graph and the packages in it; without it (`--no-deps`), members only.
    pub graph: Option<MetadataGraph<'a>>,
    /// Where artifacts go.
    pub target_directory: &'a Path,
}

/// The graph that is shown.
#[derive(Debug)]
pub struct MetadataGraph<'a> {
    /// What of the lock the flags reach.
    pub resolve: &'a Resolve,
    /// The manifests of at least what `activation` leaves of it.
    pub packages: &'a BTreeMap<PackageId, Arc<Package>>,
    /// Which platforms count (`--filter-platform`).
    pub activation: Activation<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    packages: Vec<PackageJson<'a>>,
    workspace_members: Vec<String>,
    workspace_default_members: Vec<String>,
    resolve: Option<ResolveJson<'a>>,
    target_directory: &'a Path,
    build_directory: &'a Path,
    version: u32,
    workspace_root: &'a Path,
    metadata: Option<&'a toml::Value>,
}

#[derive(Serialize)]
struct PackageJson<'a> {
    name: &'a str,
    version: String,
    id: String,
    license: Option<&'a str>,
    license_file: Option<&'a str>,
    description: Option<&'a str>,
    source: Option<String>,
    dependencies: Vec<DependencyJson<'a>>,
    targets: Vec<TargetJson<'a>>,
    features: BTreeMap<&'a str, Vec<String>>,
    manifest_path: &'a Path,
    metadata: Option<&'a toml::Value>,
    publish: Option<&'a [String]>,
    authors: &'a [String],
    categories: &'a [String],
    keywords: &'a [String],
    readme: Option<&'a str>,
    repository: Option<&'a str>,
    homepage: Option<&'a str>,
    documentation: Option<&'a str>,
    edition: &'a str,
    links: Option<&'a str>,
    default_run: Option<&'a str>,
    rust_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hints: Option<HintsJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct HintsJson<'a> {
    mostly_unused: Option<&'a toml::Value>,
}

#[derive(Serialize)]
struct DependencyJson<'a> {
    name: &'a str,
    source: Option<String>,
    req: String,
    kind: Option<&'static str>,
    rename: Option<&'a str>,
    optional: bool,
    uses_default_features: bool,
    features: &'a [FeatureName],
    target: Option<String>,
    registry: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a Path>,
}

#[derive(Serialize)]
struct ResolveJson<'a> {
    nodes: Vec<NodeJson<'a>>,
    root: Option<String>,
}

#[derive(Serialize)]
struct NodeJson<'a> {
    id: String,
    dependencies: Vec<String>,
    deps: Vec<EdgeJson>,
    features: Vec<&'a FeatureName>,
}

#[derive(Serialize)]
struct EdgeJson {
    name: String,
    pkg: String,
    dep_kinds: Vec<KindJson>,
}

#[derive(Serialize)]
struct KindJson {
    kind: Option<&'static str>,
    target: Option<String>,
}

/// The JSON that `cargo metadata` prints, in one line.
///
/// # Errors
/// See [`MetadataError`].
pub fn metadata_json(input: &MetadataInput<'_>) -> Result<String, MetadataError> {
    let workspace = input.workspace;
    let specs = |ids: &[PackageId]| ids.iter().map(package_id_spec).collect();
    let (packages, resolve) = match &input.graph {
        None => (
            workspace
                .members
                .iter()
                .map(|id| package_json(workspace.package(id)))
                .collect(),
            None,
        ),
        Some(graph) => {
            let nodes = nodes(workspace, graph)?;
            let packages = nodes
                .keys()
                .map(|id| Ok(package_json(graph.package(workspace, id)?)))
                .collect::<Result<_, MetadataError>>()?;
            let resolve = ResolveJson {
                nodes: nodes.into_values().collect(),
                root: workspace.current_package.as_ref().map(package_id_spec),
            };
            (packages, Some(resolve))
        }
    };
    let metadata = Metadata {
        packages,
        workspace_members: specs(&workspace.members),
        workspace_default_members: specs(&workspace.default_members),
        resolve,
        target_directory: input.target_directory,
        build_directory: input.target_directory,
        version: 1,
        workspace_root: &workspace.root,
        metadata: workspace.custom_metadata.as_ref(),
    };
    Ok(serde_json::to_string(&metadata)?)
}

/// What `cargo read-manifest` prints of one package.
///
/// # Errors
/// See [`MetadataError`].
pub fn manifest_json(package: &Package) -> Result<String, MetadataError> {
    Ok(serde_json::to_string(&package_json(package))?)
}

impl<'a> MetadataGraph<'a> {
    fn package(
        &self,
        workspace: &'a Workspace,
        id: &PackageId,
    ) -> Result<&'a Package, MetadataError> {
        workspace
            .packages
            .get(id)
            .or_else(|| self.packages.get(id))
            .map(|package| &**package)
            .ok_or_else(|| MetadataError::NotLoaded {
                package: id.clone(),
            })
    }
}

/// Every package that the members lead to, with what it depends on.
fn nodes<'a>(
    workspace: &'a Workspace,
    graph: &MetadataGraph<'a>,
) -> Result<BTreeMap<&'a PackageId, NodeJson<'a>>, MetadataError> {
    let mut nodes = BTreeMap::new();
    let mut open: Vec<&PackageId> = workspace.members.iter().collect();
    let mut seen: BTreeSet<&PackageId> = open.iter().copied().collect();
    while let Some(id) = open.pop() {
        let Some((id, summary)) = graph.resolve.packages.get_key_value(id) else {
            continue;
        };
        let mut node = NodeJson {
            id: package_id_spec(id),
            dependencies: Vec::new(),
            deps: Vec::new(),
            features: graph
                .resolve
                .features
                .get(id)
                .into_iter()
                .flatten()
                .collect(),
        };
        for edge in graph.resolve.dependencies_of(id) {
            let declared = declared(summary, &edge.declared);
            if !graph.activation.any(&declared) {
                continue;
            }
            let package = graph.package(workspace, &edge.package)?;
            // A package without a library is nothing that code can use.
            let Some(library) = package.library() else {
                continue;
            };
            let pkg = package_id_spec(&edge.package);
            node.dependencies.push(pkg.clone());
            node.deps.push(EdgeJson {
                name: extern_name(id, package.id(), library, &declared)?,
                pkg,
                dep_kinds: kinds(&declared),
            });
            if seen.insert(&edge.package) {
                open.push(&edge.package);
            }
        }
        nodes.insert(id, node);
    }
    Ok(nodes)
}

/// The dependencies of `summary` with these indices, each once.
fn declared<'a>(summary: &'a Summary, indices: &[usize]) -> Vec<&'a Dependency> {
    let mut all: Vec<&Dependency> = Vec::with_capacity(indices.len());
    for dependency in indices
        .iter()
        .filter_map(|index| summary.dependencies.get(*index))
    {
        if !all.contains(&dependency) {
            all.push(dependency);
        }
    }
    all
}

fn kinds(declared: &[&Dependency]) -> Vec<KindJson> {
    let mut kinds: Vec<(DependencyKind, Option<&PlatformExpression>)> = declared
        .iter()
        .map(|dependency| (dependency.kind, dependency.platform.as_ref()))
        .collect();
    kinds.sort();
    kinds
        .into_iter()
        .map(|(kind, platform)| KindJson {
            kind: kind_word(kind),
            target: platform.map(ToString::to_string),
        })
        .collect()
}

fn kind_word(kind: DependencyKind) -> Option<&'static str> {
    match kind {
        DependencyKind::Normal => None,
        DependencyKind::Development => Some("dev"),
        DependencyKind::Build => Some("build"),
    }
}

/// The name by which the code of `from` knows the library of `to`.
fn extern_name(
    from: &PackageId,
    to: &PackageId,
    library: &Target,
    declared: &[&Dependency],
) -> Result<String, MetadataError> {
    let mut names = declared.iter().map(|dependency| match &dependency.renamed {
        Some(name) => name.as_str().replace('-', "_"),
        None => library.crate_name(),
    });
    let first = names.next().unwrap_or_else(|| library.crate_name());
    if names.any(|name| name != first) {
        return Err(MetadataError::ConflictingNames {
            from: from.clone(),
            to: to.clone(),
        });
    }
    Ok(first)
}

/// A source as cargo's JSON has it; none for a directory.
fn source_json(source: &SourceId) -> Option<String> {
    (!source.is_path()).then(|| source_text(source, UrlEncoding::Encoded))
}

fn package_json(package: &Package) -> PackageJson<'_> {
    let summary = &package.summary;
    let about = &package.metadata;
    PackageJson {
        name: summary.id.name().as_str(),
        version: summary.id.version().to_string(),
        id: package_id_spec(&summary.id),
        license: about.license.as_deref(),
        license_file: about.license_file.as_deref(),
        description: about.description.as_deref(),
        source: source_json(summary.id.source()),
        dependencies: summary.dependencies.iter().map(dependency_json).collect(),
        targets: package
            .targets
            .iter()
            .map(|target| json::target(target))
            .collect(),
        features: summary
            .features
            .iter()
            .map(|(name, values)| {
                let values = values.iter().map(ToString::to_string).collect();
                (name.as_str(), values)
            })
            .collect(),
        manifest_path: &package.manifest_path,
        metadata: package.custom_metadata.as_ref(),
        publish: package.publish.as_deref(),
        authors: &about.authors,
        categories: &about.categories,
        keywords: &about.keywords,
        readme: about.readme.as_deref(),
        repository: about.repository.as_deref(),
        homepage: about.homepage.as_deref(),
        documentation: about.documentation.as_deref(),
        edition: package.edition.as_str(),
        links: summary.links.as_deref(),
        default_run: package.default_run.as_deref(),
        rust_version: summary.rust_version.as_ref().map(ToString::to_string),
        hints: package.hints.as_ref().map(|hints| HintsJson {
            mostly_unused: hints.mostly_unused.as_ref(),
        }),
    }
}

fn dependency_json(dependency: &Dependency) -> DependencyJson<'_> {
    let requirement = if dependency.has_version {
        dependency.requirement.to_string()
    } else {
        "*".to_owned()
    };
    let (registry, path) = match dependency.source.kind() {
        SourceKind::Registry {
            is_crates_io: false,
            url,
        } => (Some(format!("sparse+{url}")), None),
        SourceKind::Path(path) => (None, Some(path.as_path())),
        SourceKind::Registry { .. } | SourceKind::Git { .. } => (None, None),
    };
    DependencyJson {
        name: dependency.package.as_str(),
        source: source_json(&dependency.source),
        req: requirement,
        kind: kind_word(dependency.kind),
        rename: dependency.renamed.as_ref().map(|name| name.as_str()),
        optional: dependency.optional,
        uses_default_features: dependency.default_features,
        features: &dependency.features,
        target: dependency.platform.as_ref().map(ToString::to_string),
        registry,
        path,
    }
}
