//! `install`: a crate of the default registry, built from the lock that it ships.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use semver::{Version, VersionReq};

use crate::diag::chain;
use crate::driver::planning::Lowered;
use crate::driver::supply::links::named_directory;
use crate::driver::supply::packages;
use crate::driver::supply::registries::Registries;
use crate::driver::toolchains;
use crate::driver::{Context, DriverError, LockMode, Reporter, resolution};
use crate::manifest::{ManifestContext, load_workspace};
use crate::package::{PackageId, PackageName, SourceId, Summary};
use crate::resolve::Versions as _;
use crate::source::Wanted;
use crate::store::Store;
use crate::unit::{self, BuildRequest, Platforms};

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

/// A crate's own workspace, fetched and lowered.
#[derive(Debug)]
pub struct InstallPlan {
    /// Which package it is on the registry.
    pub package: PackageId,
    /// The workspace and its units.
    pub lowered: Lowered,
}

/// Fetches the crate that `spec` means, takes its lock, and lowers `request` for it.
pub fn lower(
    context: &Context,
    store: &Arc<Store>,
    spec: &CrateSpec,
    request: &BuildRequest,
    reporter: &mut dyn Reporter,
) -> Result<InstallPlan, DriverError> {
    let mut registries = Registries::new(context, store, reporter)?;
    let summary = choose(spec, &mut registries)?;
    registries
        .reporter()
        .status("Installing", &summary.id.to_string());
    let wanted = [Wanted {
        id: summary.id.clone(),
        locked: None,
        indexed: summary.checksum,
    }];
    let fetched = packages::fetch(context, store, &wanted, &mut registries)?;
    let fetched = fetched
        .into_iter()
        .next()
        .ok_or_else(|| DriverError::Request {
            message: format!("`{}` could not be fetched", summary.id),
            help: None,
        })?;
    let directory = named_directory(context, store, &fetched)?;
    let manifests = ManifestContext {
        barriers: vec![directory.clone()],
        ..context.manifest_context()
    };
    let workspace = load_workspace(&directory.join("Cargo.toml"), &manifests)?;
    let rust = toolchains::rust_toolchain(context, store, &context.directory, &request.platforms)?;
    if !workspace.lock_path().is_file() {
        return Err(no_lock(&summary.id));
    }
    let context = Context {
        lock: LockMode::Demand("--hermetic"),
        ..context.clone()
    };
    let resolved =
        resolution::resolve(&context, workspace, &rust.version.release, &mut registries)?;
    let platforms = Platforms::of(&rust);
    let wanted =
        unit::accessible_packages(&resolved.workspace, &resolved.resolve, platforms, request)?;
    let mut packages = packages::obtain(&context, store, &resolved, &wanted, &mut registries)?;
    if let Some(root) = &resolved.workspace.root_package {
        packages.fetched.insert(root.clone(), fetched);
    }
    let units = unit::lower(
        &resolved.workspace,
        &resolved.resolve,
        &packages.packages,
        platforms,
        request,
    )?;
    Ok(InstallPlan {
        package: summary.id.clone(),
        lowered: Lowered {
            resolved,
            packages,
            units,
            rust,
        },
    })
}

fn no_lock(package: &PackageId) -> DriverError {
    DriverError::Request {
        message: format!("`{package}` ships no `Cargo.lock`, so nobody has said what it is to be built from"),
        help: Some(
            "unpack it, run `kiln generate-lockfile` and `kiln build --hermetic` there, and keep the lock".to_owned(),
        ),
    }
}

/// The newest version that fits.
fn choose(spec: &CrateSpec, registries: &mut Registries<'_>) -> Result<Arc<Summary>, DriverError> {
    let source = SourceId::default_registry();
    let versions =
        registries
            .versions(&spec.name, &source)
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
        let near = registries.similar_names(&spec.name, &source);
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
