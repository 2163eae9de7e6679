//! From a resolved workspace to a locked action graph: units, toolchains, sources, grants.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::TreeDigest;
use crate::driver::approving;
use crate::driver::inputs::clippy;
use crate::driver::inputs::configured;
use crate::driver::inputs::declared::Judge;
use crate::driver::inputs::granting::{self, BuildGrants};
use crate::driver::inputs::surroundings::{self, Surroundings};
use crate::driver::resolution::{self, Resolved};
use crate::driver::supply::packages::{self, Packages};
use crate::driver::supply::registries::Registries;
use crate::driver::{Context, DriverError, Reporter};
use crate::execute::outcome::Outcome;
use crate::manifest::model::{Package, Workspace};
use crate::package::{PackageId, SourceId};
use crate::path::RelPath;
use crate::plan::graph::{ActionGraph, ActionKind, Artifact};
use crate::plan::layout::Layout;
use crate::plan::settings::Settings;
use crate::plan::{Clippy, PlanInput, Tests, plan};
use crate::policy::{Approvals, BuildMode, Policy};
use crate::sandbox::{Isolation, Limits, SandboxProfile};
use crate::store::Store;
use crate::toolchain;
use crate::toolchain::c::{CRequest, SystemGrants};
use crate::toolchain::model::{CToolchain, RustToolchain, SystemTree};
use crate::toolchain::rustup::RustRequest;
use crate::tree::{BlobRef, Directory, EncodedTree, Entry, TreeRef};
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

/// Everything about a planned build.
#[derive(Debug)]
pub struct Planned {
    /// The store that the build uses.
    pub store: Arc<Store>,
    /// The workspace and its lock.
    pub resolved: Resolved,
    /// The packages of the units.
    pub packages: BTreeMap<PackageId, Arc<Package>>,
    /// What was fetched.
    pub fetched: BTreeMap<PackageId, crate::source::Fetched>,
    /// The content of each package; of one from a repository, that of the repository.
    pub sources: BTreeMap<PackageId, TreeRef>,
    /// The directories of the repositories that packages come from.
    pub checkouts: BTreeMap<SourceId, PathBuf>,
    /// The directories of the user's that stand for packages.
    pub vendored: BTreeMap<PackageId, PathBuf>,
    /// The units.
    pub units: UnitGraph,
    /// The actions.
    pub graph: ActionGraph,
    /// Where actions see things.
    pub layout: Layout,
    /// The Rust toolchain.
    pub rust: RustToolchain,
    /// The C toolchain.
    pub c: CToolchain,
    /// Every system tree that an action may see, by its digest.
    pub systems: BTreeMap<TreeRef, SystemTree>,
    /// The sandbox profiles, by name.
    pub profiles: BTreeMap<String, SandboxProfile>,
    /// Every selection of the machine's files that policy made, and the tree that it came to.
    pub granted_systems: Vec<(SystemGrants, TreeDigest)>,
    /// The variables of the user's that policy passes on or sets.
    pub granted_variables: BTreeSet<String>,
    /// The environment that kiln was started with.
    pub variables: BTreeMap<String, String>,
    /// The policy.
    pub policy: Policy,
    /// The limits that policy sets, by package.
    pub limits: BTreeMap<PackageId, Limits>,
    /// What policy granted, in words, and the system tree that holds it, by package.
    pub grants: BTreeMap<PackageId, (Vec<String>, TreeRef)>,
    /// What packages see of the workspace besides their own directories.
    pub(super) surroundings: Surroundings,
    /// What configuration says of the units.
    pub settings: Settings,
    /// The directory of the build profile.
    pub profile_directory: String,
}

impl Planned {
    /// The workspace.
    pub fn workspace(&self) -> &Workspace {
        &self.resolved.workspace
    }

    /// The package id specification that cargo's tools expect.
    pub fn package_id_spec(&self, package: &PackageId) -> String {
        unit::package_id_spec(package)
    }

    /// The host's path of a file that rustc names, if it is one of the user's.
    pub fn host_path(&self, path: &str) -> Option<PathBuf> {
        let workspace = self.layout.workspace();
        if let Some(relative) = path.strip_prefix(&format!("{workspace}/")) {
            return Some(self.workspace().root.join(relative));
        }
        let in_repository = self.checkouts.iter().find_map(|(source, directory)| {
            let beneath = format!("{}/", self.layout.repository(source));
            path.strip_prefix(&beneath)
                .map(|relative| directory.join(relative))
        });
        if in_repository.is_some() {
            return in_repository;
        }
        self.packages.iter().find_map(|(id, package)| {
            let beneath = format!("{}/", self.layout.source(id));
            path.strip_prefix(&beneath)
                .map(|relative| package.root().join(relative))
        })
    }

    /// The directory of a platform's artifacts, below the directory `destination` (`target/kiln`).
    pub fn artifact_directory(&self, destination: &Path, triple: Option<&str>) -> PathBuf {
        let platform =
            triple.map_or_else(|| destination.to_owned(), |triple| destination.join(triple));
        platform.join(&self.profile_directory)
    }

    /// Where an artifact goes, below `target/kiln`.
    pub fn artifact_relative_path(&self, artifact: &Artifact) -> RelPath {
        let triple = artifact
            .triple
            .as_ref()
            .map_or(String::new(), |triple| format!("{triple}/"));
        RelPath::new(format!(
            "{triple}{}/{}",
            self.profile_directory, artifact.path
        ))
        .expect("a triple, a profile's name and a relative path are made of whole components")
    }

    /// Where an artifact goes, below the directory `destination` (`target/kiln`).
    pub fn artifact_path(&self, destination: &Path, artifact: &Artifact) -> PathBuf {
        destination.join(self.artifact_relative_path(artifact).as_str())
    }

    /// Where the user finds what a build script wrote.
    pub fn out_dir_for_user(&self, outcome: &Outcome) -> PathBuf {
        let tree = outcome
            .directory
            .and_then(|tree| self.store.materialize(&tree).ok());
        tree.unwrap_or_default()
    }

    /// Where the user finds output files that are not handed out: in the store, under their own names, since tools
    /// tell by its extension that a file is a proc macro.
    pub fn output_paths_for_user(&self, outcome: &Outcome) -> Vec<String> {
        let mut level = Directory::new();
        for (name, entry) in &outcome.files {
            let file = Entry::File {
                blob: entry.blob,
                executable: entry.executable,
            };
            if level.insert(name, file).is_err() {
                return Vec::new();
            }
        }
        let encoded = EncodedTree {
            root: level.tree_ref(),
            levels: BTreeMap::from([(level.tree_ref().digest, level.encode())]),
        };
        let directory = self
            .store
            .put_tree(&encoded)
            .and_then(|tree| self.store.materialize(&tree));
        match directory {
            Ok(directory) => outcome
                .files
                .keys()
                .map(|name| directory.join(name).display().to_string())
                .collect(),
            Err(_) => Vec::new(),
        }
    }

    /// What an action printed, from the store.
    pub fn stored_output(&self, blob: &BlobRef) -> Option<Vec<u8>> {
        self.store.read_blob(blob).ok()?
    }
}

/// The Rust toolchain for the directory `root`, with what it says of `targets`.
pub fn rust_toolchain(
    context: &Context,
    store: &Store,
    root: &Path,
    targets: &[String],
) -> Result<RustToolchain, DriverError> {
    let request = RustRequest {
        env: context
            .variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        cwd: root.to_owned(),
        toolchain_override: context.toolchain.clone(),
        rustc: configured::rustc(context)?,
        allow_toolchain_path: false,
    };
    let choice = toolchain::rustup::choose(&request)?;
    // The host's platform is there in any case, whatever name it is asked for by.
    let triples: Vec<String> = targets
        .iter()
        .filter(|triple| *triple != "host-tuple")
        .cloned()
        .collect();
    let mut rust = toolchain::rust::load(store, &choice, &triples)?;
    configured::probe_with_flags(context, store, &mut rust, targets)?;
    Ok(rust)
}

/// The C toolchain of the machine.
pub fn c_toolchain(store: &Store, rust: &RustToolchain) -> Result<CToolchain, DriverError> {
    Ok(toolchain::c::discover(&CRequest {
        store,
        compiler: None,
        search: &system_search(),
        rust,
    })?)
}

/// Where programs of the machine are looked for: never along the user's `PATH`.
pub(super) fn system_search() -> Vec<PathBuf> {
    toolchain::SYSTEM_SEARCH.iter().map(PathBuf::from).collect()
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
    let rust = rust_toolchain(context, store, &workspace.root, &request.platforms)?;
    let mut registries = Registries::new(context, store, reporter)?;
    let resolved = resolution::resolve(context, workspace, &rust.version.release, &mut registries)?;
    let platforms = Platforms::of(&rust);
    let wanted =
        unit::accessible_packages(&resolved.workspace, &resolved.resolve, platforms, request)?;
    let packages = packages::obtain(context, store, &resolved, &wanted, &mut registries)?;
    let units = unit::lower(
        &resolved.workspace,
        &resolved.resolve,
        &packages.packages,
        platforms,
        request,
    )?;
    for warning in &units.warnings {
        registries.reporter().warning(warning);
    }
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
        PolicyFrom::Workspace => (Policy::load(root)?, approving::load(root)?),
        PolicyFrom::Text(text) => (Policy::parse(text)?, approving::load(root)?),
        PolicyFrom::Kiln => (Policy::parse("")?, Approvals::default()),
    };
    let profiles = sandbox_profiles(options.tests.is_some())?;
    let c = c_toolchain(store, &rust)?;
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
    approving::gate(&policy, &approvals, &units, &sources)?;
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
    let search = system_search();
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
    let grants = granting::grant(&judge, store, &units, &declared)?;

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
        .chain(grants.packages.values().map(|granted| &granted.system))
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
            .flat_map(|granted| granted.environment.keys().cloned())
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

/// The content of a package of the workspace, without what is no part of it: version control, and what builds leave.
pub(super) fn snapshot(
    store: &Store,
    workspace: &Workspace,
    package: &Package,
    reporter: &mut dyn Reporter,
) -> Result<TreeRef, DriverError> {
    let root = package.root();
    let above = if root.starts_with(&workspace.root) {
        &workspace.root
    } else {
        root
    };
    let snapshot = store.snapshot(root, &excluded(root, workspace), above)?;
    for left_out in &snapshot.left_out {
        reporter.warning(&format!(
            "`{}` of `{}` is not part of the build: {}",
            left_out.path,
            package.id(),
            left_out.why
        ));
    }
    Ok(snapshot.tree)
}

/// What is no part of a snapshot of `root`, which is in `workspace`.
pub(super) fn excluded<'a>(
    root: &'a Path,
    workspace: &Workspace,
) -> impl Fn(&str, bool) -> bool + 'a {
    let target = workspace.root.join("target");
    move |relative, is_directory| {
        if !is_directory {
            return false;
        }
        let path = root.join(relative);
        let name = path.file_name().unwrap_or_default();
        [".git", ".hg", ".jj", ".svn"]
            .iter()
            .any(|control| name == *control)
            || path == target
            || path.join("CACHEDIR.TAG").exists()
    }
}

/// The content of the workspace's directory, what is no package included: tests may read it.
fn workspace_snapshot(store: &Store, workspace: &Workspace) -> Result<TreeRef, DriverError> {
    let root = &workspace.root;
    let snapshot = store.snapshot(root, &excluded(root, workspace), root)?;
    Ok(snapshot.tree)
}
