//! What the user asked to have built, as a value: the command line of `cargo build`, `check`, `test`, `bench` and
//! `doc` as far as it decides which units there are.

use std::collections::{BTreeMap, BTreeSet};

use cargo_util_schemas::manifest::TomlProfile;
use semver::Version;

use crate::manifest::model::RequestedFeatures;
use crate::toolchain::model::{RustToolchain, TargetInfo};
use crate::unit::UnitError;
use crate::unit::graph::Platform;

/// What is to be done with the targets that were chosen. Source: cargo's `UserIntent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// `build`
    Build,
    /// `check`; `test`: `--profile test`, which checks with the test harness.
    Check {
        /// Whether the test harness is in.
        test: bool,
    },
    /// `test`
    Test,
    /// `bench`
    Bench,
    /// `doc`; `dependencies`: without `--no-deps`.
    Doc {
        /// Whether dependencies are documented too.
        dependencies: bool,
    },
    /// `test --doc`
    Doctest,
}

impl Intent {
    /// The profile that is used where the user named none.
    pub fn default_profile(self) -> &'static str {
        match self {
            Intent::Test | Intent::Doctest => "test",
            Intent::Bench => "bench",
            Intent::Build | Intent::Check { .. } | Intent::Doc { .. } => "dev",
        }
    }

    /// Whether tests, benchmarks or documentation tests are wanted.
    pub(crate) fn is_any_test(self) -> bool {
        self.is_rustc_test() || self == Intent::Doctest
    }

    /// Whether something is compiled with the test harness.
    pub(crate) fn is_rustc_test(self) -> bool {
        matches!(
            self,
            Intent::Test | Intent::Bench | Intent::Check { test: true }
        )
    }
}

/// Which packages were chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PackageSelection {
    /// No flag: the default members.
    #[default]
    Default,
    /// `--workspace`; the list holds what `-p` named besides, which must exist.
    Workspace(Vec<String>),
    /// `--workspace --exclude SPEC…`
    Exclude(Vec<String>),
    /// `-p SPEC…`: package id specifications, or globs over the members' names.
    Packages(Vec<String>),
}

impl PackageSelection {
    /// Puts the flags together as cargo does.
    ///
    /// # Errors
    /// If something is excluded without `--workspace`.
    pub fn from_flags(
        workspace: bool,
        exclude: Vec<String>,
        packages: Vec<String>,
    ) -> Result<Self, UnitError> {
        match (workspace, exclude.is_empty(), packages.is_empty()) {
            (false, false, _) => Err(UnitError::ExcludeWithoutWorkspace),
            (false, true, true) => Ok(Self::Default),
            (false, true, false) => Ok(Self::Packages(packages)),
            (true, true, _) => Ok(Self::Workspace(packages)),
            (true, false, _) => Ok(Self::Exclude(exclude)),
        }
    }
}

/// Which targets of one kind were chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetNames {
    /// The flag without a name: `--bins`, `--examples`, `--tests`, `--benches`.
    pub all: bool,
    /// The names (or globs) of `--bin NAME`, `--example NAME`, `--test NAME`, `--bench NAME`.
    pub names: Vec<String>,
}

impl TargetNames {
    /// Every target of the kind.
    pub fn all() -> Self {
        Self {
            all: true,
            names: Vec::new(),
        }
    }

    /// The targets called so.
    pub fn named<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self {
            all: false,
            names: names.into_iter().map(Into::into).collect(),
        }
    }

    /// Whether the user said anything about the kind.
    pub(crate) fn is_specific(&self) -> bool {
        self.all || !self.names.is_empty()
    }
}

/// Which targets of the chosen packages were chosen; nothing chosen means the defaults of the intent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetSelection {
    /// `--all-targets`, which makes the others irrelevant.
    pub all_targets: bool,
    /// `--lib`
    pub lib: bool,
    /// The library where there is one: what `test NAME` looks at, beside `--tests`.
    pub lib_if_any: bool,
    /// `--bin`, `--bins`
    pub bins: TargetNames,
    /// `--example`, `--examples`
    pub examples: TargetNames,
    /// `--test`, `--tests`
    pub tests: TargetNames,
    /// `--bench`, `--benches`
    pub benches: TargetNames,
}

impl TargetSelection {
    /// Whether anything was chosen at all.
    pub fn is_specific(&self) -> bool {
        self.all_targets
            || self.lib
            || self.lib_if_any
            || self.bins.is_specific()
            || self.examples.is_specific()
            || self.tests.is_specific()
            || self.benches.is_specific()
    }
}

/// One build as the user asked for it.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildRequest {
    /// What is done.
    pub intent: Intent,
    /// Of which packages.
    pub packages: PackageSelection,
    /// Which targets of them.
    pub targets: TargetSelection,
    /// With which features.
    pub features: RequestedFeatures,
    /// `--profile`, `--release`: the profile's name; `None` for the default of the intent.
    pub profile: Option<String>,
    /// `--target TRIPLE…`; none: for the host, sharing units with the build's own programs.
    pub platforms: Vec<String>,
    /// `[profile]` tables of configuration files and `CARGO_PROFILE_*`, already merged: they come over the manifest's.
    pub config_profiles: BTreeMap<String, TomlProfile>,
    /// `CARGO_INCREMENTAL` or `build.incremental`.
    pub incremental: Option<bool>,
    /// The triple and the `links` of each package whose build script configuration stands in for.
    pub overridden_links: BTreeSet<(String, String)>,
    /// `--ignore-rust-version`
    pub ignore_rust_version: bool,
}

impl BuildRequest {
    /// `kiln INTENT` with no flags.
    pub fn new(intent: Intent) -> Self {
        Self {
            intent,
            packages: PackageSelection::default(),
            targets: TargetSelection::default(),
            features: RequestedFeatures::default(),
            profile: None,
            platforms: Vec::new(),
            config_profiles: BTreeMap::new(),
            incremental: None,
            overridden_links: BTreeSet::new(),
            ignore_rust_version: false,
        }
    }

    /// The name of the profile that applies.
    pub fn profile_name(&self) -> &str {
        self.profile
            .as_deref()
            .unwrap_or_else(|| self.intent.default_profile())
    }

    /// The selection of targets that applies: `test --doc` looks at libraries only.
    pub(crate) fn effective_targets(&self) -> TargetSelection {
        if self.intent == Intent::Doctest && !self.targets.is_specific() {
            TargetSelection {
                lib: true,
                ..TargetSelection::default()
            }
        } else {
            self.targets.clone()
        }
    }
}

/// What lowering needs to know of the toolchain: the host, and what rustc says of each platform.
#[derive(Debug, Clone, Copy)]
pub struct Platforms<'a> {
    host: &'a str,
    /// What units for the host see, where that is not what units for a target of that triple see.
    host_info: Option<&'a TargetInfo>,
    targets: &'a BTreeMap<String, TargetInfo>,
    rustc: &'a Version,
}

impl<'a> Platforms<'a> {
    /// From the parts: the host's triple, all platforms including the host, and rustc's version.
    pub fn new(
        host: &'a str,
        targets: &'a BTreeMap<String, TargetInfo>,
        rustc: &'a Version,
    ) -> Self {
        Self {
            host,
            host_info: None,
            targets,
            rustc,
        }
    }

    /// Those of a toolchain.
    pub fn of(toolchain: &'a RustToolchain) -> Self {
        Self {
            host_info: Some(toolchain.host()),
            ..Self::new(
                &toolchain.version.host,
                &toolchain.targets,
                &toolchain.version.release,
            )
        }
    }

    /// The host's triple.
    pub(crate) fn host(self) -> &'a str {
        self.host
    }

    /// The version of rustc.
    pub(crate) fn rustc(self) -> &'a Version {
        self.rustc
    }

    /// The platforms that `request` asks for, sorted and without duplicates; `Host` where it names none.
    pub(crate) fn requested(self, request: &BuildRequest) -> Result<Vec<Platform>, UnitError> {
        self.info(&Platform::Host)?;
        if request.platforms.is_empty() {
            return Ok(vec![Platform::Host]);
        }
        let triples: BTreeSet<&str> = request
            .platforms
            .iter()
            .map(|triple| match triple.as_str() {
                "host-tuple" => self.host,
                other => other,
            })
            .collect();
        triples
            .into_iter()
            .map(|triple| {
                let platform = Platform::Target(triple.into());
                self.info(&platform)?;
                Ok(platform)
            })
            .collect()
    }

    /// The triple that `platform` means.
    pub(crate) fn triple<'p>(&'p self, platform: &'p Platform) -> &'p str {
        match platform {
            Platform::Host => self.host,
            Platform::Target(triple) => triple,
        }
    }

    /// Whether a dependency declared for `on` applies on `platform`.
    pub(crate) fn applies(
        &self,
        on: Option<&cargo_platform::Platform>,
        platform: &Platform,
    ) -> bool {
        let Some(on) = on else { return true };
        let cfg = self
            .known(platform)
            .map_or(&[][..], |info| info.cfg.as_slice());
        on.matches(self.triple(platform), cfg)
    }

    fn known(&self, platform: &Platform) -> Option<&'a TargetInfo> {
        match (platform, self.host_info) {
            (Platform::Host, Some(info)) => Some(info),
            _ => self.targets.get(self.triple(platform)),
        }
    }

    fn info(&self, platform: &Platform) -> Result<&'a TargetInfo, UnitError> {
        self.known(platform)
            .ok_or_else(|| UnitError::UnknownPlatform {
                triple: self.triple(platform).to_owned(),
            })
    }
}
