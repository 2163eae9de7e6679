//! `install`: where a crate comes from, which package of it is meant, and its units, by the lock that it ships.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use semver::{Version, VersionReq};

use crate::diag::chain;
use crate::driver::planning::{Lowered, PolicyFrom, lower_resolved};
use crate::driver::supply::links::named_directory;
use crate::driver::supply::packages;
use crate::driver::supply::registries::{self, Registries};
use crate::driver::toolchains;
use crate::driver::{Context, DriverError, LockMode, resolution};
use crate::manifest::model::{Package, Target, TargetKind, Workspace};
use crate::manifest::{ManifestContext, load_workspace};
use crate::package::{PackageId, PackageName, SourceId, Summary};
use crate::resolve::Versions as _;
use crate::source::{Fetched, Wanted};
use crate::store::Store;
use crate::toolchain::model::RustToolchain;
use crate::unit::{BuildRequest, TargetNames, TargetSelection};

/// Which crate.
#[derive(Debug, Clone)]
pub struct CrateSpec {
    /// Its name.
    pub name: PackageName,
    /// Which version; the newest that is no pre-release if nothing is said.
    pub version: Option<VersionReq>,
}

impl CrateSpec {
    /// Parses `NAME` or `NAME@VERSION`; `version` is what `--version` says. A plain version means exactly that one.
    pub fn parse(text: &str, version: Option<&str>) -> Result<Self, DriverError> {
        let request = |message: String, help: &str| DriverError::Request {
            message,
            help: Some(help.to_owned()),
        };
        let (name, given) = match text.split_once('@') {
            Some((name, given)) => (name, Some(given)),
            None => (text, None),
        };
        if given.is_some() && version.is_some() {
            return Err(request(
                "the version is given twice".to_owned(),
                "use `NAME@VERSION` or `--version`",
            ));
        }
        let name = PackageName::new(name).map_err(|error| {
            request(
                error.to_string(),
                "give the crate's name as the registry has it",
            )
        })?;
        let version = given.or(version).map(requirement).transpose()?;
        Ok(Self { name, version })
    }
}

fn requirement(text: &str) -> Result<VersionReq, DriverError> {
    let exact = Version::parse(text).map(|_| format!("={text}"));
    let text = exact.unwrap_or_else(|_| text.to_owned());
    VersionReq::parse(&text).map_err(|error| DriverError::Request {
        message: format!("`{text}` is not a version requirement: {error}"),
        help: Some("give a version such as `1.2.3`, or a requirement such as `^1.2`".to_owned()),
    })
}

/// Where the crate is.
#[derive(Debug, Clone)]
pub enum Origin {
    /// In a registry.
    Registry(SourceId, CrateSpec),
    /// In a git repository; the package of this name, or the only one with programs.
    Repository(SourceId, Option<PackageName>),
    /// In a directory.
    Directory(PathBuf),
}

/// A crate's own workspace, fetched.
#[derive(Debug)]
pub struct Candidate {
    /// The package, by where it comes from.
    pub package: PackageId,
    /// The workspace that it is in.
    pub workspace: Workspace,
    /// The package in that workspace.
    pub member: PackageId,
    /// What was unpacked, of a crate of a registry.
    fetched: Option<Fetched>,
    /// What it sees of its repository.
    policy: PolicyFrom,
}

impl Candidate {
    /// Whose word counts on what the crate is granted: the user's for a directory of his, and never a stranger's.
    pub fn policy(&self) -> PolicyFrom {
        self.policy.clone()
    }

    /// Whether it brings a lock.
    pub fn has_lock(&self) -> bool {
        self.workspace.lock_path().is_file()
    }

    /// The programs that `targets` choose of it.
    pub fn programs(&self, targets: &TargetSelection) -> BTreeSet<String> {
        let chosen =
            |names: &TargetNames, target: &Target| names.all || names.names.contains(&target.name);
        let package = self.workspace.package(&self.member);
        let all = package.targets.iter();
        all.filter(|target| match target.kind {
            TargetKind::Bin => chosen(&targets.bins, target),
            TargetKind::ExampleBin => chosen(&targets.examples, target),
            _ => false,
        })
        .map(|target| target.name.clone())
        .collect()
    }
}

/// Finds and fetches the crate that `origin` means.
///
/// # Errors
/// If there is no such crate, or if it cannot be had.
pub fn find(
    context: &Context,
    store: &Arc<Store>,
    origin: &Origin,
    registries: &mut Registries<'_>,
) -> Result<Candidate, DriverError> {
    match origin {
        Origin::Registry(source, spec) => in_registry(context, store, source, spec, registries),
        Origin::Repository(source, name) => {
            in_repository(context, source, name.as_ref(), registries)
        }
        Origin::Directory(directory) => in_directory(context, directory),
    }
}

fn in_registry(
    context: &Context,
    store: &Arc<Store>,
    source: &SourceId,
    spec: &CrateSpec,
    registries: &mut Registries<'_>,
) -> Result<Candidate, DriverError> {
    let summary = choose(spec, source, registries)?;
    let wanted = [Wanted {
        id: summary.id.clone(),
        locked: None,
        indexed: summary.checksum,
    }];
    let fetched = packages::fetch(context, store, &wanted, registries)?;
    let fetched = fetched
        .into_iter()
        .next()
        .ok_or_else(|| DriverError::Request {
            message: format!("`{}` could not be fetched", summary.id),
            help: None,
        })?;
    let directory = named_directory(context, store, &fetched)?;
    let (workspace, member) = alone(context, &directory, &directory.join("Cargo.toml"))?;
    Ok(Candidate {
        package: summary.id.clone(),
        workspace,
        member,
        fetched: Some(fetched),
        policy: PolicyFrom::Kiln,
    })
}

fn in_repository(
    context: &Context,
    source: &SourceId,
    name: Option<&PackageName>,
    registries: &mut Registries<'_>,
) -> Result<Candidate, DriverError> {
    let repository = registries.repository(source)?;
    let fits = |package: &Package| match name {
        Some(name) => package.id().name() == name,
        None => package
            .targets
            .iter()
            .any(|target| target.kind == TargetKind::Bin),
    };
    let found: Vec<&Arc<Package>> = repository
        .packages
        .values()
        .filter(|package| fits(package))
        .collect();
    let [package] = found[..] else {
        let address = source.canonical_address();
        let (message, named) = match (name, found.is_empty()) {
            (Some(name), true) => {
                let all = repository.packages.values().collect();
                (format!("there is no package `{name}` in `{address}`"), all)
            }
            (Some(name), false) => {
                let message = format!("there are several packages `{name}` in `{address}`");
                (message, found)
            }
            (None, true) => {
                let message = format!("there is no package with programs in `{address}`");
                (message, found)
            }
            (None, false) => {
                let message = format!("there are several packages with programs in `{address}`");
                (message, found)
            }
        };
        let named: Vec<String> = named
            .iter()
            .map(|package| format!("`{}`", package.id().name()))
            .collect();
        return Err(DriverError::Request {
            message,
            help: Some(match named.is_empty() {
                true => {
                    "`install` is for programs; look at `--branch`, `--tag` and `--rev`".to_owned()
                }
                false => format!("there are {}: name the one that you want", named.join(", ")),
            }),
        });
    };
    registries.tell_of(&repository, package.id());
    let (workspace, member) = alone(context, &repository.directory, &package.manifest_path)?;
    // Nothing of the user's is in a checkout: its packages may see all of it, as those of git dependencies do.
    let members = workspace.packages.keys().map(PackageId::name);
    let policy: String = members
        .map(|name| format!("[crate.\"{name}\"]\nworkspace = [\".\"]\n"))
        .collect();
    Ok(Candidate {
        package: package.id().clone(),
        workspace,
        member,
        fetched: None,
        policy: PolicyFrom::Text(policy),
    })
}

fn in_directory(context: &Context, directory: &Path) -> Result<Candidate, DriverError> {
    let manifest = directory.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(DriverError::Request {
            message: format!("there is no `Cargo.toml` in `{}`", directory.display()),
            help: Some("name the directory of a package with `--path`".to_owned()),
        });
    }
    let workspace = load_workspace(&manifest, &context.manifest_context())?;
    let member = resolution::current_package(&workspace)?.clone();
    Ok(Candidate {
        package: member.clone(),
        workspace,
        member,
        fetched: None,
        policy: PolicyFrom::Workspace,
    })
}

/// The workspace at `manifest`, which ends at `directory`, and the package there.
fn alone(
    context: &Context,
    directory: &Path,
    manifest: &Path,
) -> Result<(Workspace, PackageId), DriverError> {
    let manifests = ManifestContext {
        barriers: vec![directory.to_owned()],
        ..context.manifest_context()
    };
    let workspace = load_workspace(manifest, &manifests)?;
    let member = resolution::current_package(&workspace)?.clone();
    Ok((workspace, member))
}

/// The registry that configuration names `name`.
///
/// # Errors
/// If none is.
pub fn registry(context: &Context, name: &str) -> Result<SourceId, DriverError> {
    let manifests = context.manifest_context();
    registries::named(&manifests, name).ok_or_else(|| DriverError::Request {
        message: match manifests.unusable_registries.get(name) {
            Some(why) => format!("the registry `{name}` cannot be used: {why}"),
            None => format!("there is no registry `{name}`"),
        },
        help: Some(format!(
            "set `registries.{name}.index` in `.cargo/config.toml`"
        )),
    })
}

/// The toolchain that `candidate` is built with: a directory of the user's may say so itself.
///
/// # Errors
/// If there is none.
pub fn toolchain(
    context: &Context,
    store: &Store,
    candidate: &Candidate,
    request: &BuildRequest,
) -> Result<RustToolchain, DriverError> {
    let root = match &candidate.policy {
        PolicyFrom::Workspace => &candidate.workspace.root,
        PolicyFrom::Kiln | PolicyFrom::Text(_) => &context.directory,
    };
    toolchains::rust_toolchain(context, store, root, &request.platforms)
}

/// Decides the dependencies of `candidate` by its lock, and makes the units of `request`.
///
/// # Errors
/// If any stage fails; if a lock is demanded, and there is none or it does not fit.
pub fn lower(
    context: &Context,
    store: &Arc<Store>,
    candidate: Candidate,
    rust: RustToolchain,
    request: &BuildRequest,
    registries: &mut Registries<'_>,
) -> Result<Lowered, DriverError> {
    let has_lock = candidate.has_lock();
    let lock = match context.lock {
        LockMode::Demand(_) if !has_lock => return Err(no_lock(&candidate.package)),
        LockMode::Demand(flag) => LockMode::Demand(flag),
        LockMode::Update | LockMode::Keep => LockMode::Keep,
    };
    if !has_lock {
        registries.reporter().warning(&format!(
            "`{}` has no `Cargo.lock`: versions are chosen now, for this build only",
            candidate.package
        ));
    }
    let context = Context {
        lock,
        ..context.clone()
    };
    let release = &rust.version.release;
    let resolved = resolution::resolve(&context, candidate.workspace, release, registries)?;
    let mut lowered = lower_resolved(&context, store, resolved, rust, request, registries)?;
    if let Some(fetched) = candidate.fetched {
        let packages = &mut lowered.packages;
        packages.fetched.insert(candidate.member, fetched);
    }
    Ok(lowered)
}

fn no_lock(package: &PackageId) -> DriverError {
    DriverError::Request {
        message: format!(
            "`{package}` has no `Cargo.lock`, so nobody has said what it is to be built from"
        ),
        help: Some(
            "leave `--hermetic` or `--locked` out to have versions chosen now; or unpack it, run `kiln generate-lockfile` \
             and `kiln build --hermetic` there, and keep the lock"
                .to_owned(),
        ),
    }
}

/// The newest version that fits.
fn choose(
    spec: &CrateSpec,
    source: &SourceId,
    registries: &mut Registries<'_>,
) -> Result<Arc<Summary>, DriverError> {
    let versions =
        registries
            .versions(&spec.name, source)
            .map_err(|error| DriverError::Request {
                message: format!(
                    "the versions of `{}` cannot be had: {}",
                    spec.name,
                    chain(&error)
                ),
                help: Some(
                    "check the network, or use `--offline` with what was fetched before".to_owned(),
                ),
            })?;
    let fits = |version: &Version| match &spec.version {
        Some(requirement) => requirement.matches(version),
        None => version.pre.is_empty(),
    };
    let exact = spec
        .version
        .as_ref()
        .is_some_and(|requirement| requirement.to_string().starts_with('='));
    let newest = versions
        .iter()
        .filter(|offer| fits(offer.version()) && (exact || !offer.yanked()))
        .max_by_key(|offer| offer.version());
    newest.map(|offer| offer.summary().clone()).ok_or_else(|| {
        let near = registries.similar_names(&spec.name, source);
        if versions.is_empty() {
            let near: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
            DriverError::Request {
                message: format!("there is no crate `{}` in the registry", spec.name),
                help: (!near.is_empty()).then(|| format!("did you mean {}?", near.join(" or "))),
            }
        } else {
            let mut known: BTreeMap<&Version, bool> = versions
                .iter()
                .map(|offer| (offer.version(), offer.yanked()))
                .collect();
            let shown: Vec<String> = std::iter::from_fn(|| known.pop_last())
                .take(5)
                .map(|(version, yanked)| {
                    if yanked {
                        format!("`{version}` (yanked)")
                    } else {
                        format!("`{version}`")
                    }
                })
                .collect();
            let wanted = spec
                .version
                .as_ref()
                .map_or(String::new(), |version| format!(" `{version}`"));
            DriverError::Request {
                message: format!(
                    "`{}` has no version{wanted} that could be installed",
                    spec.name
                ),
                help: Some(format!("the newest are {}", shown.join(", "))),
            }
        }
    })
}

/// Where programs go: what the user says, or cargo's place.
pub fn root(context: &Context, given: Option<PathBuf>) -> Result<PathBuf, DriverError> {
    let root = given
        .or_else(|| {
            context
                .variables
                .get("CARGO_INSTALL_ROOT")
                .map(PathBuf::from)
        })
        .or_else(|| context.config.install_root.clone())
        .or_else(|| super::cargo_home(&context.variables))
        .ok_or_else(|| DriverError::Request {
            message: "there is no place to install to".to_owned(),
            help: Some("say `--root DIR`".to_owned()),
        })?;
    Ok(context.directory.join(root))
}

/// Copies a file to where the user gets it.
pub fn hand_over(from: &std::path::Path, to: &std::path::Path) -> Result<(), DriverError> {
    super::files::copy(from, to).map_err(|source| DriverError::File {
        path: to.to_owned(),
        verb: "written",
        source,
    })
}
