//! From a resolved workspace to a locked action graph: units, toolchains, sources, grants.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::driver::inputs::approvals;
use crate::driver::inputs::clippy;
use crate::driver::inputs::configured;
use crate::driver::inputs::declared::Judge;
use crate::driver::inputs::granting::{self, BuildGrants};
use crate::driver::inputs::snapshots::{snapshot, workspace_snapshot};
use crate::driver::inputs::surroundings::{self};
use crate::driver::planned::Planned;
use crate::driver::resolution::{self, Resolved};
use crate::driver::supply::packages::{self, Packages};
use crate::driver::supply::registries::Registries;
use crate::driver::toolchains;
use crate::driver::{Context, DriverError, Reporter};
use crate::package::{PackageId, SourceId};
use crate::plan::graph::ActionKind;
use crate::plan::layout::Layout;
use crate::plan::{Clippy, PlanInput, Tests, plan};
use crate::policy::{Approvals, BuildMode, Policy};
use crate::sandbox::{Isolation, SandboxProfile};
use crate::store::Store;
use crate::toolchain;
use crate::toolchain::model::RustToolchain;
use crate::tree::TreeRef;
use crate::unit::{self, BuildRequest, Platforms, UnitGraph};

/// Whose word counts on what is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyFrom {
    /// The workspace's `kiln.toml`, and what kiln ships.
    Workspace,
    /// What kiln ships: the workspace is a stranger's, and what it grants itself means nothing.
    Kiln,
    /// This text, in the place of the workspace's `kiln.toml`.
    Text(String),
}

/// How a graph is to be planned, besides what is built.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// Where actions see things.
    pub layout: Layout,
    /// The value of rustc's `--json`.
    pub rustc_json: &'static str,
    /// Which layers are demanded of the sandbox.
    pub isolation: Isolation,
    /// Whether the workspace is a stranger's too, whose warnings are nobody's business.
    pub caps_lints: bool,
    /// Whose word counts on what is granted.
    pub policy: PolicyFrom,
    /// Whether what is built ships; only otherwise do the grants of `[dev]` count.
    pub mode: BuildMode,
    /// How tests are run, if they are.
    pub tests: Option<Tests>,
    /// The arguments of clippy, if the workspace's own packages are checked with it.
    pub clippy: Option<Vec<String>>,
    /// Whether what is private is documented, too.
    pub private_items: bool,
}

/// A resolved workspace and the units of one build of it.
#[derive(Debug)]
pub struct Lowered {
    /// The workspace and its lock.
    pub resolved: Resolved,
    /// The packages of the units.
    pub packages: Packages,
    /// The units.
    pub units: UnitGraph,
    /// The Rust toolchain.
    pub rust: RustToolchain,
}

/// Resolves the user's workspace and lowers `request` to units, fetching what that takes.
pub fn lower(
    context: &Context,
    store: &Arc<Store>,
    request: &BuildRequest,
    reporter: &mut dyn Reporter,
) -> Result<Lowered, DriverError> {
    let workspace = resolution::load(context)?;
    for warning in &workspace.warnings {
        reporter.warning(warning);
    }
    let rust = toolchains::rust_toolchain(context, store, &workspace.root, &request.platforms)?;
    let mut registries = Registries::new(context, store, reporter)?;
    let resolved = resolution::resolve(context, workspace, &rust.version.release, &mut registries)?;
    let lowered = lower_resolved(context, store, resolved, rust, request, &mut registries)?;
    for warning in &lowered.units.warnings {
        registries.reporter().warning(warning);
    }
    Ok(lowered)
}

/// Fetches what `request` needs of a resolved workspace, and makes its units.
pub(super) fn lower_resolved(
    context: &Context,
    store: &Arc<Store>,
    resolved: Resolved,
    rust: RustToolchain,
    request: &BuildRequest,
    registries: &mut Registries<'_>,
) -> Result<Lowered, DriverError> {
    let platforms = Platforms::of(&rust);
    let wanted =
        unit::accessible_packages(&resolved.workspace, &resolved.resolve, platforms, request)?;
    let packages = packages::obtain(context, store, &resolved, &wanted, registries)?;
    let units = unit::lower(
        &resolved.workspace,
        &resolved.resolve,
        &packages.packages,
        platforms,
        request,
    )?;
    Ok(Lowered {
        resolved,
        packages,
        units,
        rust,
    })
}

/// Plans the actions of `lowered`.
pub fn plan_actions(
    context: &Context,
    store: &Arc<Store>,
    lowered: Lowered,
    request: &BuildRequest,
    options: &PlanOptions,
    reporter: &mut dyn Reporter,
) -> Result<Planned, DriverError> {
    let Lowered {
        resolved,
        packages,
        units,
        rust,
    } = lowered;
    let root = &resolved.workspace.root;
    let (policy, approvals) = match &options.policy {
        PolicyFrom::Workspace => (Policy::load(root)?, approvals::load(root)?),
        PolicyFrom::Text(text) => (Policy::parse(text)?, approvals::load(root)?),
        PolicyFrom::Kiln => (Policy::parse("")?, Approvals::default()),
    };
    let profiles = sandbox_profiles(options.tests.is_some())?;
    let c = toolchains::c_toolchain(store, &rust)?;
    toolchain::check_pins(&rust, &c, policy.pins().rust_digest, policy.pins().c_digest)?;
    let runtime = toolchain::c::runtime_tree(store, &rust)?;
    let lto = unit::lto::lto_modes(&units);

    let used: BTreeSet<&PackageId> = units.units.iter().map(|unit| &unit.package).collect();
    let mut sources = BTreeMap::new();
    for id in &used {
        let tree = match packages.tree(id) {
            Some(tree) => tree,
            None => snapshot(
                store,
                &resolved.workspace,
                &packages.packages[*id],
                reporter,
            )?,
        };
        sources.insert((*id).clone(), tree);
    }
    approvals::gate(&policy, &approvals, &units, &sources)?;
    let Packages {
        packages,
        fetched,
        repositories,
        vendored,
    } = packages;

    let mut settings = configured::settings(context, &rust, &request.platforms)?;
    let clippy = match &options.clippy {
        Some(arguments) => Some(clippy::clippy(
            store,
            &rust,
            &resolved.workspace,
            arguments,
        )?),
        None => None,
    };
    let search = toolchains::system_search();
    let judge = Judge {
        context,
        workspace: &resolved.workspace,
        layout: &options.layout,
        policy: &policy,
        rust: &rust,
        c: &c,
        search: &search,
        mode: options.mode,
    };
    let mut declared = judge.complete(&mut settings, reporter)?;
    if options.tests.is_some() {
        judge.runners(&mut settings, &mut declared)?;
    }
    if clippy.is_some() {
        settings.workspace_wrapper = Some(Clippy::program(&options.layout));
    }
    let grants = granting::grant(&judge, store, &units, &declared, |package| {
        resolved.workspace.is_member(package)
    })?;

    let surroundings = surroundings::of_units(
        &surroundings::Question {
            store,
            workspace: &resolved.workspace,
            packages: &packages,
            units: &units,
            policy: &policy,
            layout: &options.layout,
        },
        &grants.workspace,
    )?;

    let tests = match &options.tests {
        Some(tests) => Some(Tests {
            workspace: Some(workspace_snapshot(store, &resolved.workspace)?),
            ..tests.clone()
        }),
        None => None,
    };

    let profile_digests: BTreeMap<String, String> = profiles
        .iter()
        .map(|(name, profile)| (name.clone(), profile.digest().to_hex()))
        .collect();
    let primary: BTreeSet<PackageId> = units
        .roots
        .iter()
        .map(|root| units.unit(*root).package.clone())
        .collect();
    let profile_directory = profile_directory(request);
    let checkouts: BTreeMap<SourceId, PathBuf> = repositories
        .iter()
        .map(|(source, repository)| (source.clone(), repository.directory.clone()))
        .collect();
    let graph = plan(&PlanInput {
        workspace: &resolved.workspace,
        units: &units,
        lto: &lto,
        packages: &packages,
        sources: &sources,
        surroundings: &surroundings.trees,
        checkouts: &checkouts,
        rust: &rust,
        runtime: &runtime,
        search_path: &grants.search_path,
        caps_lints: options.caps_lints,
        system: &grants.linking,
        granted: &grants.packages,
        layout: &options.layout,
        settings: &settings,
        rustc_json: options.rustc_json,
        isolation: options.isolation.as_str(),
        profile_digests: &profile_digests,
        primary: &primary,
        profile_directory: &profile_directory,
        tests: tests.as_ref(),
        clippy: clippy.as_ref(),
        private_items: options.private_items,
    })?;
    let systems = [&c.system, &runtime, &grants.linking]
        .into_iter()
        .chain(grants.packages.values().flat_map(|granted| {
            let compilers = granted.compilers.iter().map(|(_, system)| system);
            compilers.chain([&granted.system])
        }))
        .map(|system| {
            (
                TreeRef {
                    digest: system.tree,
                    size_bytes: system.tree_size_bytes,
                },
                system.clone(),
            )
        })
        .collect();
    Ok(Planned {
        store: store.clone(),
        resolved,
        packages,
        fetched,
        sources,
        checkouts,
        vendored: vendored
            .into_iter()
            .map(|(id, vendored)| (id, vendored.directory))
            .collect(),
        units,
        graph,
        layout: options.layout.clone(),
        rust,
        c,
        systems,
        profiles,
        variables: context.variables.clone(),
        granted_variables: grants
            .packages
            .values()
            .flat_map(|granted| granted.running.passed_on.keys().cloned())
            .collect(),
        policy,
        limits: grants.limits.clone(),
        grants: granted_trees(&grants),
        granted_systems: grants.systems,
        surroundings,
        settings,
        profile_directory,
    })
}

/// What was granted to each package, in words, and the tree that holds it.
fn granted_trees(grants: &BuildGrants) -> BTreeMap<PackageId, (Vec<String>, TreeRef)> {
    let tree = |package: &PackageId| {
        let system = &grants.packages.get(package)?.system;
        Some(TreeRef {
            digest: system.tree,
            size_bytes: system.tree_size_bytes,
        })
    };
    grants
        .reasons
        .iter()
        .filter_map(|(package, words)| Some((package.clone(), (words.clone(), tree(package)?))))
        .collect()
}

/// The sandbox profiles that actions run under.
fn sandbox_profiles(tests: bool) -> Result<BTreeMap<String, SandboxProfile>, DriverError> {
    [ActionKind::Rustc, ActionKind::RunBuildScript]
        .into_iter()
        .chain(tests.then_some(ActionKind::Test))
        .map(ActionKind::profile)
        .map(|name| Ok((name.to_owned(), SandboxProfile::shipped(name)?)))
        .collect()
}

/// The name of the directory that a build profile's artifacts go to.
fn profile_directory(request: &BuildRequest) -> String {
    match request.profile_name() {
        "dev" | "test" => "debug".to_owned(),
        "release" | "bench" => "release".to_owned(),
        other => other.to_owned(),
    }
}
