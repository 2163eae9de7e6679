//! The unit graph: which crate is compiled (or run) how, and what each compilation needs first.
//!
//! The words and the content are cargo's (`cargo build --unit-graph`, schema version 1).

use std::sync::Arc;

use crate::manifest::model::Target;
use crate::package::{FeatureName, PackageId};

/// For which machine a unit is compiled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Platform {
    /// The machine that builds, by absence of `--target` or because it is for the build itself.
    Host,
    /// `--target TRIPLE`.
    Target(Arc<str>),
}

/// What is done with a target. Source: cargo's `CompileMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Compile with `--test`.
    Test,
    /// Compile.
    Build,
    /// Metadata only; `test`: with `--test`.
    Check {
        /// Whether the test harness is in.
        test: bool,
    },
    /// Documentation.
    Doc,
    /// Documentation tests, run by rustdoc.
    Doctest,
    /// Run the package's build script.
    RunCustomBuild,
}

impl Mode {
    /// Whether it is a test of any kind: cargo gives such units dev-dependencies and unwinding panics.
    pub fn is_any_test(self) -> bool {
        matches!(
            self,
            Mode::Test | Mode::Check { test: true } | Mode::Doctest
        )
    }

    /// Whether only metadata is wanted.
    pub fn is_check(self) -> bool {
        matches!(self, Mode::Check { .. })
    }
}

/// `lto`
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lto {
    /// `"off"`
    Off,
    /// `false`, `true` (fat) as written.
    Bool(bool),
    /// `"thin"`, `"fat"`.
    Named(String),
}

/// `debug`
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DebugInfo {
    /// `0`, `false`, `"none"`
    None,
    /// `"line-directives-only"`
    LineDirectivesOnly,
    /// `"line-tables-only"`
    LineTablesOnly,
    /// `1`, `"limited"`
    Limited,
    /// `2`, `true`, `"full"`
    Full,
}

/// `panic`
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PanicStrategy {
    /// `"unwind"`
    Unwind,
    /// `"abort"`
    Abort,
    /// `"immediate-abort"`
    ImmediateAbort,
}

/// `strip`: cargo distinguishes what was asked for from what it defers to its own default.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strip {
    /// Not stripped, because the profile says so or nothing else does.
    Resolved(StripInner),
    /// Cargo's default, which may still change once the whole graph is known.
    Deferred(StripInner),
}

/// What is stripped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StripInner {
    /// Nothing.
    None,
    /// `"debuginfo"`, `"symbols"`.
    Named(String),
}

/// From which of cargo's two built-in profiles a profile descends in the end: the `PROFILE` of build scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProfileRoot {
    /// `release`
    Release,
    /// `debug`
    Debug,
}

/// The profile of one unit, all overrides applied. Fields and defaults: cargo's `Profile`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitProfile {
    /// The profile's name (`dev`, `release`, …).
    pub name: Arc<str>,
    /// Whether it inherits from `dev` or from `release`.
    pub root: ProfileRoot,
    /// `opt-level`: `0` to `3`, `s`, `z`.
    pub opt_level: Arc<str>,
    /// `lto`
    pub lto: Lto,
    /// `codegen-units`
    pub codegen_units: Option<u32>,
    /// `debug`
    pub debug: DebugInfo,
    /// `split-debuginfo`
    pub split_debuginfo: Option<Arc<str>>,
    /// `debug-assertions`
    pub debug_assertions: bool,
    /// `overflow-checks`
    pub overflow_checks: bool,
    /// `rpath`
    pub rpath: bool,
    /// `incremental`
    pub incremental: bool,
    /// `panic`
    pub panic: PanicStrategy,
    /// `strip`
    pub strip: Strip,
    /// `rustflags` of the profile (nightly-only in cargo's manifest; always empty today).
    pub rustflags: Vec<Arc<str>>,
    /// `hint-mostly-unused` (cargo prints it, but acts on it only under a nightly flag).
    pub hint_mostly_unused: Option<bool>,
}

/// Index of a unit in [`UnitGraph::units`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitIndex(pub usize);

/// How one unit needs another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitDependency {
    /// Which unit.
    pub unit: UnitIndex,
    /// The name by which the dependent's source refers to the crate (`--extern NAME=…`).
    pub extern_crate_name: Arc<str>,
    /// `public = true`.
    pub public: bool,
    /// `--extern noprelude:…`.
    pub noprelude: bool,
}

/// One compilation (or one run of a build script).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Which package.
    pub package: PackageId,
    /// Which of its targets.
    pub target: Arc<Target>,
    /// With which profile.
    pub profile: UnitProfile,
    /// For which machine.
    pub platform: Platform,
    /// What is done.
    pub mode: Mode,
    /// The features it is compiled with, sorted.
    pub features: Vec<FeatureName>,
    /// What it needs, in cargo's order.
    pub dependencies: Vec<UnitDependency>,
}

/// All units of one build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnitGraph {
    /// Every unit, in cargo's order.
    pub units: Vec<Unit>,
    /// What the user asked for.
    pub roots: Vec<UnitIndex>,
    /// What the user is to be told about the request, each a whole message. Not part of cargo's unit graph.
    pub warnings: Vec<String>,
}

impl UnitGraph {
    /// The unit at `index`.
    ///
    /// # Panics
    /// If `index` is of another graph.
    pub fn unit(&self, index: UnitIndex) -> &Unit {
        &self.units[index.0]
    }
}
