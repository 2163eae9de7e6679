//! The driver runs the stages in their order and owns what they share: the store, the network, the toolchains, the
//! threads. It decides nothing that a stage can decide, and it neither prints nor reads the environment: values come in
//! through [`Context`], what is to be told goes out through [`Reporter`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diag::{Report, Snippet};
use crate::manifest::ManifestContext;
use crate::message::text::harmless_line;
use crate::registry::Event;

pub mod approving;
pub mod building;
mod changes;
pub mod cleaning;
pub mod comparing;
pub mod explaining;
mod files;
mod inputs;
pub mod install;
pub mod installed;
pub mod packaging;
pub mod planned;
pub mod planning;
pub mod policies;
pub mod resolution;
pub mod suggesting;
pub mod supply;
pub mod toolchains;
pub mod updating;
pub mod vendoring;
pub mod viewing;

pub use planned::Planned;

/// What the user's environment and the flags of every command come to.
#[derive(Debug, Clone)]
pub struct Context {
    /// The directory of the store.
    pub home: PathBuf,
    /// The working directory.
    pub directory: PathBuf,
    /// `--manifest-path`, absolute.
    pub manifest_path: Option<PathBuf>,
    /// The command line, without the program's name.
    pub arguments: Vec<String>,
    /// The environment that kiln was started with.
    pub variables: BTreeMap<String, String>,
    /// kiln's own program, which unpacks archives in a process of its own.
    pub program: PathBuf,
    /// Whether the lock may be written.
    pub lock: LockMode,
    /// `--ignore-rust-version`: what packages say of the rustc that they need does not count.
    pub ignore_rust_version: bool,
    /// How to use the network, `--offline` included.
    pub network: crate::registry::NetworkConfig,
    /// The toolchain that the user named.
    pub toolchain: Option<String>,
    /// Whether the manifest's package is a workspace of its own, wherever its directory lies.
    pub alone: bool,
    /// Packages that are about to be published, and count as if they were.
    pub overlay: Arc<supply::registries::Overlay>,
    /// Cargo's configuration: its files, `CARGO_*` and `--config`.
    pub config: Arc<crate::manifest::config::Config>,
}

impl Context {
    /// What reading manifests needs to know.
    pub fn manifest_context(&self) -> ManifestContext {
        let mut barriers: Vec<PathBuf> = Vec::new();
        if let Some(home) = cargo_home(&self.variables) {
            barriers.push(home);
        }
        barriers.push(self.home.clone());
        if self.alone {
            let manifest = self.manifest_path.as_deref();
            barriers.extend(manifest.and_then(Path::parent).map(Path::to_owned));
        }
        self.config.manifest_context(barriers)
    }
}

/// Whether `Cargo.lock` may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// It is made or repaired where that is needed.
    Update,
    /// It counts as far as it fits; what is made or repaired is for this build only, and is not written.
    Keep,
    /// `--locked`, `--frozen`, `--hermetic`: it must be there and fit. The flag is what to name in the error.
    Demand(&'static str),
}

/// Whoever tells the user what is going on.
pub trait Reporter {
    /// A step that is worth a line: `Locking`, `23 packages to latest compatible versions`.
    fn status(&mut self, verb: &str, message: &str);

    /// Something that the user should know, a whole message.
    fn warning(&mut self, message: &str);

    /// Something happened while fetching.
    fn fetching(&mut self, event: Event);
}

macro_rules! stages {
    ($($(#[$doc:meta])* $variant:ident($error:ty) = $code:literal,)*) => {
        /// Why a command could not be carried out: the error of the stage that failed.
        #[derive(Debug, thiserror::Error)]
        pub enum DriverError {
            $($(#[$doc])* #[error(transparent)] $variant(#[from] $error),)*
            /// The lock does not fit, and must not be changed.
            #[error("`{path}` needs to be updated but `{flag}` was passed", path = path.display())]
            LockNeedsUpdate {
                /// The file.
                path: PathBuf,
                /// The flag.
                flag: &'static str,
                /// Why it does not fit.
                why: String,
                /// What to do.
                help: String,
            },
            /// A file of the user's could not be read or written.
            #[error("`{path}` could not be {verb}", path = path.display())]
            File {
                /// The file.
                path: PathBuf,
                /// `read`, `written`.
                verb: &'static str,
                /// Why.
                #[source]
                source: std::io::Error,
            },
            /// An artifact was made and cannot be put where it belongs.
            #[error("`{path}` could not be written", path = path.display())]
            HandOut {
                /// Where it belongs.
                path: PathBuf,
                /// Why.
                #[source]
                source: crate::store::StoreError,
            },
            /// Actions failed; what there is to say about them has been said.
            #[error("{count} action(s) failed")]
            ActionsFailed {
                /// How many.
                count: usize,
            },
            /// The user interrupted.
            #[error("interrupted")]
            Interrupted,
            /// Something that is asked for does not exist or cannot be.
            #[error("{message}")]
            Request {
                /// What.
                message: String,
                /// What to do.
                help: Option<String>,
            },
        }

        impl DriverError {
            fn code(&self) -> &'static str {
                match self {
                    $(DriverError::$variant(_) => $code,)*
                    DriverError::LockNeedsUpdate { .. } => "lock::outdated",
                    DriverError::File { .. } => "file",
                    DriverError::HandOut { .. } => "artifact",
                    DriverError::ActionsFailed { .. } => "build::failed",
                    DriverError::Interrupted => "interrupted",
                    DriverError::Request { .. } => "request",
                }
            }

            fn help(&self) -> Option<String> {
                match self {
                    $(DriverError::$variant(error) => error.help(),)*
                    DriverError::LockNeedsUpdate { help, .. } => Some(help.clone()),
                    DriverError::Request { help, .. } => help.clone(),
                    DriverError::File { source, .. } => files::help(source),
                    DriverError::HandOut { source, .. } => files::help_with_artifact(source),
                    DriverError::ActionsFailed { .. } | DriverError::Interrupted => None,
                }
            }
        }
    };
}

stages! {
    /// Reading configuration.
    Config(crate::manifest::config::ConfigError) = "config",
    /// Reading manifests.
    Manifest(crate::manifest::ManifestError) = "manifest",
    /// Reading the lock.
    Lock(crate::manifest::lock::LockError) = "lock",
    /// Talking to a registry.
    Registry(crate::registry::RegistryError) = "registry",
    /// Choosing versions.
    Resolve(crate::resolve::ResolveError) = "resolve",
    /// Fetching and unpacking sources.
    Source(crate::source::SourceError) = "source",
    /// Fetching and reading git repositories.
    Repository(crate::driver::supply::repositories::RepositoryError) = "git",
    /// Reading vendored packages.
    Vendored(crate::driver::supply::vendored::VendoredError) = "vendored",
    /// Reading the workspace's own repository.
    GitMetadata(crate::source::git::MetadataError) = "git::metadata",
    /// Making the unit graph.
    Unit(crate::unit::UnitError) = "unit",
    /// Finding toolchains.
    Toolchain(crate::toolchain::ToolchainError) = "toolchain",
    /// Reading policy.
    Policy(crate::policy::PolicyError) = "policy",
    /// Telling about a workspace.
    Metadata(crate::inspect::metadata::MetadataError) = "metadata",
    /// Drawing the tree of dependencies.
    Tree(crate::inspect::tree::TreeError) = "tree",
    /// Planning actions.
    Plan(crate::plan::PlanError) = "plan",
    /// The store.
    Store(crate::store::StoreError) = "store",
    /// What the machine offers.
    Sandbox(crate::sandbox::SandboxError) = "sandbox",
    /// Sandbox profiles.
    Profile(crate::sandbox::ProfileError) = "sandbox::profile",
    /// Scheduling.
    Schedule(crate::execute::schedule::ScheduleError) = "execute",
}

impl DriverError {
    /// Whether it is the store's disk that does not take or give something.
    pub fn concerns_store(&self) -> bool {
        use crate::store::StoreError;
        let error = match self {
            DriverError::Store(error) => error,
            DriverError::Toolchain(crate::toolchain::ToolchainError::Store(error)) => error,
            _ => return false,
        };
        matches!(
            error,
            StoreError::DiskFull { .. }
                | StoreError::ReadOnly { .. }
                | StoreError::Permission { .. }
                | StoreError::Io { .. }
        )
    }

    /// What to tell the user.
    pub fn report(&self) -> Report {
        let mut report = Report::new(self.code(), self).with_help(self.help());
        match self {
            DriverError::LockNeedsUpdate { why, .. } => report.causes.push(why.clone()),
            DriverError::Resolve(crate::resolve::ResolveError::NoSolution(_))
                if report.help.is_none() =>
            {
                report.help = Some(
                    "check the name, the version and the registry of the dependency in the `Cargo.toml` that asks for it"
                        .to_owned(),
                );
            }
            DriverError::Resolve(crate::resolve::ResolveError::Versions(error)) => {
                if let Some(cause) = error
                    .source
                    .downcast_ref::<crate::registry::RegistryError>()
                {
                    report.code = cause.code().to_owned();
                    report.help = cause.help().or(report.help);
                }
                if let Some(cause) = error
                    .source
                    .downcast_ref::<supply::vendored::VendoredError>()
                {
                    report.code = "vendored".to_owned();
                    report.help = cause.help().or(report.help);
                }
                if let Some(cause) = error
                    .source
                    .downcast_ref::<supply::repositories::RepositoryError>()
                {
                    report.code = cause.code().to_owned();
                    report.help = cause.help().or(report.help);
                }
            }
            DriverError::Registry(error) => report = error.report(),
            DriverError::Source(error) => report = error.report(),
            DriverError::Config(error) => {
                report.snippet = error.place().map(|place| snippet(place, &report.message))
            }
            DriverError::Repository(error) => report.code = error.code().to_owned(),
            DriverError::Policy(crate::policy::PolicyError::Syntax {
                file,
                why,
                place: Some((text, range)),
            }) => {
                report.snippet = Some(Snippet {
                    path: file.into(),
                    text: text.clone(),
                    range: range.clone(),
                    label: why.clone(),
                });
            }
            DriverError::Policy(crate::policy::PolicyError::Approvals {
                why,
                place: Some((text, range)),
            }) => {
                report.snippet = Some(Snippet {
                    path: crate::policy::APPROVED_FILE.into(),
                    text: text.clone(),
                    range: range.clone(),
                    label: why.clone(),
                });
            }
            DriverError::Policy(crate::policy::PolicyError::NotApproved { missing }) => {
                report.code = "policy::approval".to_owned();
                report.causes = missing
                    .iter()
                    .map(|one| harmless_line(&one.to_string()))
                    .collect();
            }
            DriverError::Manifest(error) => {
                report.snippet = error.place().map(|place| snippet(place, &report.message))
            }
            DriverError::Lock(error) => {
                report.snippet = error.place().map(|place| snippet(place, &report.message))
            }
            _ => {}
        }
        report
    }
}

/// cargo's own directory: `CARGO_HOME`, or `~/.cargo`.
pub fn cargo_home(variables: &BTreeMap<String, String>) -> Option<PathBuf> {
    let variable = |name: &str| variables.get(name).map(PathBuf::from);
    variable("CARGO_HOME").or_else(|| variable("HOME").map(|home| home.join(".cargo")))
}

fn snippet(place: &crate::manifest::text::Place, message: &str) -> Snippet {
    let first = message.lines().next().unwrap_or_default();
    Snippet {
        path: place.path.clone(),
        text: place.text.to_string(),
        range: place.range.clone(),
        label: first
            .rsplit_once(": ")
            .map_or(first, |(_, last)| last)
            .to_owned(),
    }
}
