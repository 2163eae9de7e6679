//! Choosing versions: for a workspace without a lock, or with one that does not fit (any more) or is to be updated.

use std::collections::{BTreeMap, BTreeSet};

use cargo_util_schemas::core::PartialVersion;
use semver::Version;

use super::catalog::{Catalog, Precise};
use super::error::ResolveError;
use super::explain::explain;
use super::graph::{Resolve, ResolvedDependency};
use super::patch::Patches;
use super::preference::Preference;
use super::previous::Previous;
use super::search::{Graph, Outcome, Unguided, search};
use super::solve::{Foresight, solve};
use super::versions::Versions;
use super::{check_collisions, check_cycles};
use crate::manifest::lock::LocatedLock;
use crate::manifest::model::{ResolverVersion, Workspace};
use crate::package::PackageId;

/// Which packages of the previous lock are to be chosen anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LetGo {
    /// Only those that do not fit any more.
    #[default]
    Nothing,
    /// All of them: `cargo update`.
    Everything,
    /// These, and with them the other packages of the same path or repository: `cargo update NAME`. Members stay.
    Packages {
        /// The packages, as the lock names them.
        packages: BTreeSet<PackageId>,
        /// Also all that they depend on: `--recursive`.
        recursive: bool,
    },
}

/// How to choose.
#[derive(Debug, Clone)]
pub struct Options {
    /// The version of the rustc in use. Resolver 3 prefers packages that it can compile, if no member has a
    /// `rust-version`.
    pub rustc: Version,
    /// Whether `rust-version` counts in the choice (`resolver.incompatible-rust-versions = "fallback"`: yes; `"allow"`:
    /// no); if nothing is said, it does under resolver 3.
    pub honor_rust_version: Option<bool>,
    /// What is to be updated.
    pub let_go: LetGo,
    /// `cargo update --precise`, at most one for each source.
    pub precise: Vec<Precise>,
}

impl Options {
    /// For a build: what the lock has stays as far as it fits.
    pub fn new(rustc: Version) -> Self {
        Self {
            rustc,
            honor_rust_version: None,
            let_go: LetGo::Nothing,
            precise: Vec::new(),
        }
    }
}

/// Chooses a version for each package that `workspace` needs, as cargo would, given the `previous` lock.
pub fn fresh(
    workspace: &Workspace,
    previous: Option<&LocatedLock>,
    versions: &mut dyn Versions,
    options: &Options,
) -> Result<Resolve, ResolveError> {
    let graph: BTreeMap<PackageId, Vec<PackageId>> = previous
        .iter()
        .flat_map(|lock| &lock.packages)
        .map(|(id, package)| (id.clone(), package.dependencies.clone()))
        .collect();
    let let_go = let_go(workspace, &graph, &options.let_go);
    let unused = previous.map_or(&[][..], |lock| &lock.unused_patches);
    let known: Vec<&PackageId> = graph.keys().chain(unused).collect();
    let updated = match &options.let_go {
        LetGo::Packages { packages, .. } => packages.clone(),
        LetGo::Nothing | LetGo::Everything => BTreeSet::new(),
    };
    let (patches, outdated) = Patches::find(workspace, versions, &known, |id| {
        !let_go(id) && !updated.contains(id)
    })?;
    let previous_graph = Previous::new(workspace, &graph, |id| let_go(id) || outdated.contains(id));
    let preference = Preference {
        previous: previous_graph.preferred().collect(),
        patches: workspace.patches.values().flatten().cloned().collect(),
        rust_versions: rust_versions(workspace, options),
    };
    let mut catalog = Catalog::new(
        workspace,
        versions,
        preference,
        patches,
        &previous_graph,
        options.precise.clone(),
    );
    let graph = choose(&mut catalog)?;
    let resolve = finish(&catalog, graph);
    check_cycles(&resolve)?;
    check_collisions(&resolve)?;
    if let Some(previous) = previous {
        check_checksums(previous, &resolve)?;
    }
    Ok(resolve)
}

/// Goes as far as the known versions allow and has the unknown ones fetched, all of one depth at once, until nothing
/// is unknown.
fn choose(catalog: &mut Catalog<'_>) -> Result<Graph, ResolveError> {
    loop {
        match search(catalog, &mut Unguided)? {
            Outcome::Complete(graph) => return Ok(graph),
            Outcome::Unknown(packages) => {
                catalog.prefetch(&packages);
                for package in packages {
                    catalog.load(package)?;
                }
            }
            Outcome::Stuck => break,
        }
    }
    let solution = match solve(catalog, &[], None)? {
        Ok(solution) => solution,
        Err(proof) => {
            return Err(ResolveError::NoSolution(Box::new(explain(
                catalog, &proof,
            )?)));
        }
    };
    let mut foresight = Foresight(solution);
    loop {
        match search(catalog, &mut foresight)? {
            Outcome::Complete(graph) => return Ok(graph),
            Outcome::Unknown(packages) => {
                catalog.prefetch(&packages);
                for package in packages {
                    catalog.load(package)?;
                }
                // What was decided with gaps in sight may not be what is decided without.
                foresight = match solve(catalog, &[], None)? {
                    Ok(solution) => Foresight(solution),
                    Err(_) => return Err(ResolveError::Internal("a solution was lost")),
                };
            }
            Outcome::Stuck => {
                return Err(ResolveError::Internal(
                    "there is a solution, but the search got stuck",
                ));
            }
        }
    }
}

/// The Rust versions that packages should be compatible with.
fn rust_versions(workspace: &Workspace, options: &Options) -> Vec<PartialVersion> {
    let honor = options
        .honor_rust_version
        .unwrap_or(workspace.resolver == ResolverVersion::V3);
    if !honor {
        return Vec::new();
    }
    let of_members: Vec<PartialVersion> = workspace
        .members
        .iter()
        .filter_map(|id| workspace.package(id).summary.rust_version.as_ref())
        .map(|version| version.to_partial())
        .collect();
    if of_members.is_empty() {
        vec![options.rustc.clone().into()]
    } else {
        of_members
    }
}

/// Whether a package of the lock is to be given up.
fn let_go<'a>(
    workspace: &'a Workspace,
    graph: &BTreeMap<PackageId, Vec<PackageId>>,
    what: &'a LetGo,
) -> Box<dyn Fn(&PackageId) -> bool + 'a> {
    let (packages, recursive) = match what {
        LetGo::Nothing => return Box::new(|_| false),
        LetGo::Everything => return Box::new(|_| true),
        LetGo::Packages {
            packages,
            recursive,
        } => (packages, *recursive),
    };
    let mut gone = BTreeSet::new();
    let mut open: Vec<&PackageId> = packages.iter().collect();
    while let Some(id) = open.pop() {
        if gone.insert(id.clone()) && recursive {
            open.extend(graph.get(id).into_iter().flatten());
        }
    }
    // The lock may state an outdated version of a member.
    gone.retain(|id| {
        !workspace
            .members
            .iter()
            .any(|member| member.name() == id.name() && member.source() == id.source())
    });
    let sources: BTreeSet<_> = gone
        .iter()
        .map(|id| id.source().clone())
        .filter(|source| !source.is_registry())
        .collect();
    Box::new(move |id| sources.contains(id.source()) || gone.contains(id))
}

fn finish(catalog: &Catalog<'_>, graph: Graph) -> Resolve {
    let mut resolve = Resolve::default();
    for (node, features) in graph.nodes {
        let summary = catalog.summary(node);
        let mut edges: Vec<ResolvedDependency> = graph
            .edges
            .get(&node)
            .into_iter()
            .flatten()
            .map(|(target, declared)| ResolvedDependency {
                package: catalog.id(*target).clone(),
                declared: declared.iter().copied().collect(),
            })
            .collect();
        edges.sort_by(|a, b| a.package.cmp(&b.package));
        resolve.dependencies.insert(summary.id.clone(), edges);
        resolve.features.insert(summary.id.clone(), features);
        resolve.packages.insert(summary.id.clone(), summary.clone());
    }
    let unused: BTreeSet<PackageId> = catalog
        .patches()
        .all()
        .map(|summary| summary.id.clone())
        .filter(|id| !resolve.packages.contains_key(id))
        .collect();
    resolve.unused_patches = unused.into_iter().collect();
    resolve.replaced = catalog.replaced().clone();
    resolve.keep_used_replacements();
    resolve
}

fn check_checksums(previous: &LocatedLock, resolve: &Resolve) -> Result<(), ResolveError> {
    for (id, package) in &previous.packages {
        let found = resolve
            .packages
            .get(id)
            .and_then(|summary| summary.checksum);
        if let (Some(locked), Some(found)) = (package.checksum, found)
            && locked != found
        {
            return Err(ResolveError::ChecksumChanged {
                package: id.clone(),
                locked,
                found,
            });
        }
    }
    Ok(())
}
