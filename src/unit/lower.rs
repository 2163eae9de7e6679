//! The two steps that callers take: which packages a request needs, and its unit graph.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::manifest::model::{Package, Workspace};
use crate::package::PackageId;
use crate::resolve::graph::Resolve;
use crate::unit::UnitError;
use crate::unit::context::{Context, Manifests, accessible_edges};
use crate::unit::draft::{DraftGraph, DraftIndex, Interner};
use crate::unit::features::{self, FeatureOptions};
use crate::unit::graph::{Platform, Unit, UnitDependency, UnitGraph, UnitIndex};
use crate::unit::packages::{self, MemberFeatures, PackageGraph, PackageIndex};
use crate::unit::profiles::Profiles;
use crate::unit::request::{BuildRequest, Intent, Platforms, TargetSelection};
use crate::unit::roots::{self, RootRequest};
use crate::unit::selection::{self, Selected};
use crate::unit::{dependencies, share};

/// What a request names.
pub(super) struct Asked {
    /// The platforms.
    pub(super) requested: Vec<Platform>,
    /// The packages.
    pub(super) selected: Selected,
    /// The members that take part, with what is asked of each.
    pub(super) members: Vec<MemberFeatures>,
}

impl Asked {
    pub(super) fn of(
        workspace: &Workspace,
        resolve: &Resolve,
        platforms: Platforms<'_>,
        request: &BuildRequest,
    ) -> Result<Self, UnitError> {
        let requested = platforms.requested(request)?;
        let selected = selection::select(workspace, &request.packages)?;
        let members = selection::members_with_features(
            workspace,
            resolve,
            &selected.selectors,
            &request.features,
        )?;
        Ok(Self {
            requested,
            selected,
            members,
        })
    }
}

/// What both steps find out first.
pub(super) struct Narrowed {
    /// What of the lock the request can reach.
    pub(super) resolve: Resolve,
    selected: Selected,
    members: Vec<MemberFeatures>,
    requested: Vec<Platform>,
    targets: TargetSelection,
    has_dev_units: bool,
}

impl Narrowed {
    pub(super) fn new(
        workspace: &Workspace,
        resolve: &Resolve,
        platforms: Platforms<'_>,
        request: &BuildRequest,
    ) -> Result<Self, UnitError> {
        let Asked {
            requested,
            selected,
            members,
        } = Asked::of(workspace, resolve, platforms, request)?;
        let targets = request.effective_targets();
        Ok(Self {
            resolve: packages::narrow(resolve, &members)?,
            selected,
            requested,
            has_dev_units: needs_dev_dependencies(request.intent, &targets)
                || (matches!(request.intent, Intent::Doc { .. })
                    && scrapes_examples(workspace, &members)),
            members,
            targets,
        })
    }
}

/// Whether something is built that has dev-dependencies.
fn needs_dev_dependencies(intent: Intent, targets: &TargetSelection) -> bool {
    intent.is_any_test()
        || targets.all_targets
        || targets.examples.is_specific()
        || targets.tests.is_specific()
        || targets.benches.is_specific()
}

/// Whether a selected member asks for its examples to be shown in its documentation. Stable cargo does not do that,
/// but takes the dev-dependencies of the examples into account all the same.
fn scrapes_examples(workspace: &Workspace, members: &[MemberFeatures]) -> bool {
    members
        .iter()
        .filter_map(|member| workspace.packages.get(&member.package))
        .flat_map(|package| &package.targets)
        .any(|target| target.is_example() && target.doc_scrape_examples)
}

/// Which packages of the lock `request` can need: those whose sources have to be at hand for [`lower`]. Cargo
/// downloads the same ones. The workspace's own packages are among them.
///
/// # Errors
/// If the request names packages, features or platforms that do not exist.
pub fn accessible_packages(
    workspace: &Workspace,
    resolve: &Resolve,
    platforms: Platforms<'_>,
    request: &BuildRequest,
) -> Result<BTreeSet<PackageId>, UnitError> {
    let narrowed = Narrowed::new(workspace, resolve, platforms, request)?;
    let graph = PackageGraph::new(&narrowed.resolve)?;
    let to_build = selection::packages_to_build(&narrowed.selected.selectors, &graph)?;
    let mut reached: BTreeSet<PackageIndex> = to_build.into_iter().collect();
    for platform in &narrowed.requested {
        let mut waiting: Vec<PackageIndex> = narrowed
            .members
            .iter()
            .filter_map(|member| graph.index_of(&member.package))
            .collect();
        let mut seen = BTreeSet::new();
        while let Some(package) = waiting.pop() {
            if seen.insert(package) {
                let edges = accessible_edges(
                    &graph,
                    package,
                    narrowed.has_dev_units,
                    std::slice::from_ref(platform),
                    platforms,
                );
                waiting.extend(edges.map(|edge| edge.to));
            }
        }
        reached.append(&mut seen);
    }
    Ok(reached
        .into_iter()
        .map(|package| graph.id(package).clone())
        .collect())
}

/// The unit graph of `request`. `packages` holds the manifests of at least the [`accessible_packages`]; those of
/// `workspace` are found there. Units, edges and their order are cargo's, but for units that differ in nothing but
/// their dependencies: cargo puts these in the order of their addresses in memory.
///
/// # Errors
/// If the request or a manifest asks for something that does not exist, or a manifest is missing.
pub fn lower(
    workspace: &Workspace,
    resolve: &Resolve,
    packages: &BTreeMap<PackageId, Arc<Package>>,
    platforms: Platforms<'_>,
    request: &BuildRequest,
) -> Result<UnitGraph, UnitError> {
    let narrowed = Narrowed::new(workspace, resolve, platforms, request)?;
    let package_graph = PackageGraph::new(&narrowed.resolve)?;
    let to_build = selection::packages_to_build(&narrowed.selected.selectors, &package_graph)?;
    let mut warnings = narrowed.selected.warnings.clone();
    warnings.extend(Profiles::check_packages(
        &workspace.profiles,
        &request.config_profiles,
        &resolve.packages.keys().collect::<Vec<_>>(),
    )?);
    let profiles = Profiles::new(
        &workspace.profiles,
        &request.config_profiles,
        request.profile_name(),
        request.incremental,
    )?;
    let manifests = Manifests::new(&package_graph, workspace, packages);
    let features = features::resolve(
        &package_graph,
        &narrowed.members,
        &manifests,
        platforms,
        &narrowed.requested,
        FeatureOptions::new(workspace.resolver, narrowed.has_dev_units, false),
    );
    let context = Context {
        graph: &package_graph,
        lock: resolve,
        manifests: &manifests,
        features: &features,
        profiles: &profiles,
        platforms,
        requested: &narrowed.requested,
        explicit_host: Platform::Target(platforms.host().into()),
        intent: request.intent,
        has_dev_units: narrowed.has_dev_units,
        overridden_links: &request.overridden_links,
        members: package_graph
            .all_ids()
            .iter()
            .map(|id| workspace.is_member(id))
            .collect(),
    };
    let mut interner = Interner::default();
    let root_request = RootRequest {
        packages: &to_build,
        selection: &request.packages,
        targets: &narrowed.targets,
        workspace,
    };
    let roots = roots::generate(&context, &root_request, &mut interner, &mut warnings)?;
    let mut graph = dependencies::build(&context, &roots, &mut interner)?;
    let host_requested = narrowed.requested.contains(&Platform::Host);
    if matches!(request.intent, Intent::Doc { dependencies: true }) {
        share::remove_duplicate_documentation(
            &package_graph,
            &interner,
            &mut graph,
            &roots,
            host_requested,
        );
    }
    let shared = share::share(
        &package_graph,
        &mut interner,
        &graph,
        &roots,
        host_requested.then_some(&context.explicit_host),
    )?;
    let mut finished = number(&package_graph, &interner, &shared.graph, &shared.roots);
    finished.warnings = warnings;
    if !request.ignore_rust_version {
        check_rust_version(&finished, &context)?;
    }
    Ok(finished)
}

/// Puts the units in order and turns drafts into the final values.
fn number(
    packages: &PackageGraph<'_>,
    interner: &Interner,
    graph: &DraftGraph,
    roots: &[DraftIndex],
) -> UnitGraph {
    let order = ordered(interner, graph);
    let position: HashMap<DraftIndex, UnitIndex> = order
        .iter()
        .enumerate()
        .map(|(index, &unit)| (unit, UnitIndex(index)))
        .collect();
    let units = order
        .iter()
        .map(|unit| {
            let draft = interner.get(*unit);
            Unit {
                package: packages.id(draft.package).clone(),
                target: Arc::clone(&draft.target),
                profile: draft.profile.profile.clone(),
                platform: draft.platform.clone(),
                mode: draft.mode,
                features: draft.features.to_vec(),
                dependencies: graph[unit]
                    .iter()
                    .map(|dependency| UnitDependency {
                        unit: position[&dependency.unit],
                        extern_crate_name: Arc::clone(&dependency.extern_crate_name),
                        public: dependency.public,
                        noprelude: false,
                    })
                    .collect(),
            }
        })
        .collect();
    UnitGraph {
        units,
        roots: roots.iter().map(|root| position[root]).collect(),
        warnings: Vec::new(),
    }
}

/// Cargo's order; units that are alike but for their dependencies follow the order of these, as deep as need be.
fn ordered(interner: &Interner, graph: &DraftGraph) -> Vec<DraftIndex> {
    let mut order: Vec<DraftIndex> = graph.keys().copied().collect();
    order.sort_by(|&a, &b| interner.compare(a, b));
    let mut rank: HashMap<DraftIndex, usize> = HashMap::new();
    let mut classes = 0;
    for (index, &unit) in order.iter().enumerate() {
        if index > 0 && interner.compare(order[index - 1], unit).is_ne() {
            classes = index;
        }
        rank.insert(unit, classes);
    }
    let count = |rank: &HashMap<DraftIndex, usize>| rank.values().collect::<BTreeSet<_>>().len();
    let mut known = count(&rank);
    while known < order.len() {
        let key = |unit: DraftIndex| -> (usize, Vec<usize>) {
            let below = graph[&unit].iter().map(|dependency| rank[&dependency.unit]);
            (rank[&unit], below.collect())
        };
        order.sort_by_cached_key(|&unit| key(unit));
        let mut refined: HashMap<DraftIndex, usize> = HashMap::new();
        let mut class = 0;
        for (index, &unit) in order.iter().enumerate() {
            if index > 0 && key(order[index - 1]) != key(unit) {
                class = index;
            }
            refined.insert(unit, class);
        }
        rank = refined;
        let now = count(&rank);
        if now == known {
            break;
        }
        known = now;
    }
    order
}

/// Refuses packages that say they need a newer rustc.
fn check_rust_version(graph: &UnitGraph, context: &Context<'_>) -> Result<(), UnitError> {
    let rustc = context.platforms.rustc();
    let partial = cargo_util_schemas::core::PartialVersion::from(rustc.clone());
    let mut too_old: BTreeMap<PackageId, String> = BTreeMap::new();
    for unit in &graph.units {
        let Some(index) = context.graph.index_of(&unit.package) else {
            continue;
        };
        let package = context.package(index)?;
        if let Some(required) = &package.summary.rust_version
            && !required.is_compatible_with(&partial)
        {
            too_old.insert(unit.package.clone(), required.to_string());
        }
    }
    if too_old.is_empty() {
        return Ok(());
    }
    Err(UnitError::RustVersion {
        rustc: rustc.clone(),
        local: too_old.keys().any(|id| id.source().is_path()),
        packages: too_old.into_iter().collect(),
    })
}
