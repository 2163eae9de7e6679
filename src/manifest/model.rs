//! What a manifest says once it has been read, inherited, checked and discovered: a [`Package`] and its
//! [`Target`]s, and the [`Workspace`] around them. Values only.

use super::replace::Replacement;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cargo_util_schemas::manifest::{TomlProfile, TomlProfiles};

use crate::package::{Dependency, PackageId, Summary};

/// The edition of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edition {
    /// 2015, the default.
    E2015,
    /// 2018.
    E2018,
    /// 2021.
    E2021,
    /// 2024.
    E2024,
}

impl Edition {
    /// As rustc's `--edition` takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Edition::E2015 => "2015",
            Edition::E2018 => "2018",
            Edition::E2021 => "2021",
            Edition::E2024 => "2024",
        }
    }
}

/// Which feature resolver the workspace uses (`resolver = "…"`, or the root package's edition).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResolverVersion {
    /// One feature set for all uses of a package.
    V1,
    /// Host, target and dev features apart.
    V2,
    /// As `V2`, and versions are chosen with `rust-version` in mind.
    V3,
}

/// A crate type as `crate-type` and `--crate-type` name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CrateType {
    /// `bin`
    Bin,
    /// `lib`
    Lib,
    /// `rlib`
    Rlib,
    /// `dylib`
    Dylib,
    /// `cdylib`
    Cdylib,
    /// `staticlib`
    Staticlib,
    /// `proc-macro`
    ProcMacro,
    /// Anything else a manifest names; rustc will refuse it.
    Other(String),
}

impl CrateType {
    /// As rustc's `--crate-type` takes it.
    pub fn as_str(&self) -> &str {
        match self {
            CrateType::Bin => "bin",
            CrateType::Lib => "lib",
            CrateType::Rlib => "rlib",
            CrateType::Dylib => "dylib",
            CrateType::Cdylib => "cdylib",
            CrateType::Staticlib => "staticlib",
            CrateType::ProcMacro => "proc-macro",
            CrateType::Other(name) => name,
        }
    }
}

/// What kind of thing a target is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetKind {
    /// `[lib]`, with its crate types in the order of the manifest.
    Lib(Vec<CrateType>),
    /// `[[bin]]`.
    Bin,
    /// `[[test]]`.
    Test,
    /// `[[bench]]`.
    Bench,
    /// `[[example]]` that is a library.
    ExampleLib(Vec<CrateType>),
    /// `[[example]]` that is a program.
    ExampleBin,
    /// The build script.
    CustomBuild,
}

/// One `[lib]`, `[[bin]]`, `[[example]]`, `[[test]]`, `[[bench]]` or build script.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Its name as the manifest gives it (dashes kept; a library's are underscores already unless it was named).
    pub name: String,
    /// What it is.
    pub kind: TargetKind,
    /// The file of its crate root, absolute.
    pub src_path: PathBuf,
    /// Its edition.
    pub edition: Edition,
    /// `test`: whether `cargo test` builds it as a test.
    pub tested: bool,
    /// `bench`.
    pub benched: bool,
    /// `doc`.
    pub documented: bool,
    /// `doctest` (and the kind of target allows it).
    pub doctested: bool,
    /// `harness`: whether the test harness is used.
    pub harness: bool,
    /// `proc-macro = true` (or the build script).
    pub for_host: bool,
    /// `required-features`.
    pub required_features: Option<Vec<String>>,
    /// `doc-scrape-examples = true`: `cargo doc` then counts dev-dependencies, if this is an example.
    pub doc_scrape_examples: bool,
}

impl Target {
    /// The crate's name as rustc knows it: dashes are underscores.
    pub fn crate_name(&self) -> String {
        self.name.replace('-', "_")
    }

    /// Whether it is (also) a C dynamic library.
    pub fn is_cdylib(&self) -> bool {
        matches!(&self.kind, TargetKind::Lib(types) if types.contains(&CrateType::Cdylib))
    }

    /// The crate types that rustc is asked for when this is not built as a test.
    pub fn crate_types(&self) -> Vec<CrateType> {
        match &self.kind {
            TargetKind::Lib(types) | TargetKind::ExampleLib(types) => types.clone(),
            TargetKind::Bin
            | TargetKind::Test
            | TargetKind::Bench
            | TargetKind::ExampleBin
            | TargetKind::CustomBuild => vec![CrateType::Bin],
        }
    }

    /// Whether it is the package's library (a proc macro is one).
    pub fn is_lib(&self) -> bool {
        matches!(self.kind, TargetKind::Lib(_))
    }

    /// Whether it is a `[[bin]]`.
    pub fn is_bin(&self) -> bool {
        matches!(self.kind, TargetKind::Bin)
    }

    /// Whether it is a program: a `[[bin]]`, or an example that is no library.
    pub fn is_executable(&self) -> bool {
        matches!(self.kind, TargetKind::Bin | TargetKind::ExampleBin)
    }

    /// Whether it is an example of either kind.
    pub fn is_example(&self) -> bool {
        matches!(
            self.kind,
            TargetKind::ExampleBin | TargetKind::ExampleLib(_)
        )
    }

    /// Whether it is a `[[test]]`.
    pub fn is_test(&self) -> bool {
        matches!(self.kind, TargetKind::Test)
    }

    /// Whether it is a `[[bench]]`.
    pub fn is_bench(&self) -> bool {
        matches!(self.kind, TargetKind::Bench)
    }

    /// Whether it is the build script.
    pub fn is_custom_build(&self) -> bool {
        matches!(self.kind, TargetKind::CustomBuild)
    }

    /// Whether it is a procedural macro.
    pub fn is_proc_macro(&self) -> bool {
        matches!(&self.kind, TargetKind::Lib(types) if types.contains(&CrateType::ProcMacro))
    }

    /// Whether another crate can be compiled against it (`lib`, `rlib`, `dylib`, `proc-macro`).
    pub fn is_linkable(&self) -> bool {
        matches!(&self.kind, TargetKind::Lib(types) if types.iter().any(|t| matches!(
            t, CrateType::Lib | CrateType::Rlib | CrateType::Dylib | CrateType::ProcMacro)))
    }
}

/// What `CARGO_PKG_*` and `cargo metadata` tell of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageMetadata {
    /// `authors`
    pub authors: Vec<String>,
    /// `description`
    pub description: Option<String>,
    /// `homepage`
    pub homepage: Option<String>,
    /// `documentation`
    pub documentation: Option<String>,
    /// `repository`
    pub repository: Option<String>,
    /// `license`
    pub license: Option<String>,
    /// `license-file`
    pub license_file: Option<String>,
    /// `readme`: the file's path relative to the package, as cargo finds it.
    pub readme: Option<String>,
    /// `keywords`
    pub keywords: Vec<String>,
    /// `categories`
    pub categories: Vec<String>,
}

/// `[hints]`: advice to the compiler that stable cargo carries along and does not heed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hints {
    /// `mostly-unused`
    pub mostly_unused: Option<toml::Value>,
}

/// Which files `kiln package` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackagedFiles {
    /// `include`: patterns of the only files that are taken.
    pub include: Vec<String>,
    /// `exclude`: patterns of files that are not.
    pub exclude: Vec<String>,
}

/// A package: its summary, its targets and what else its manifest says.
#[derive(Debug, Clone, PartialEq)]
pub struct Package {
    /// What resolution needs to know of it.
    pub summary: Summary,
    /// Its `Cargo.toml`, absolute.
    pub manifest_path: PathBuf,
    /// Its targets in cargo's order: library, binaries, examples, tests, benches, build script.
    pub targets: Vec<Arc<Target>>,
    /// The edition of the package.
    pub edition: Edition,
    /// `CARGO_PKG_*`.
    pub metadata: PackageMetadata,
    /// `default-run`
    pub default_run: Option<String>,
    /// `[lints]` (inherited ones resolved) as the flags that rustc is given, in cargo's order.
    pub lint_rustflags: Vec<String>,
    /// `[package.metadata]`
    pub custom_metadata: Option<toml::Value>,
    /// `publish`: `None` anywhere, else the registries allowed.
    pub publish: Option<Vec<String>>,
    /// `include` and `exclude`: which files are packaged.
    pub packaged: PackagedFiles,
    /// `[hints]`
    pub hints: Option<Hints>,
    /// `default-target` and `forced-target` are nightly-only in cargo; kept to refuse them by name.
    pub unstable_keys: Vec<String>,
}

impl Package {
    /// Which package it is.
    pub fn id(&self) -> &PackageId {
        &self.summary.id
    }

    /// Its directory, absolute.
    pub fn root(&self) -> &Path {
        self.manifest_path
            .parent()
            .expect("a manifest's path is absolute and names a file")
    }

    /// Its library, if it has one.
    pub fn library(&self) -> Option<&Arc<Target>> {
        self.targets.iter().find(|target| target.is_lib())
    }

    /// Its build script, if it has one.
    pub fn build_script(&self) -> Option<&Arc<Target>> {
        self.targets.iter().find(|target| target.is_custom_build())
    }

    /// Whether it has a procedural macro.
    pub fn is_proc_macro(&self) -> bool {
        self.targets.iter().any(|target| target.is_proc_macro())
    }
}

/// `[profile.*]` of the root manifest, by name, as written; lowering to the profile of a unit happens in `unit`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BuildProfiles {
    /// The tables, the built-in ones only where the manifest or configuration mentions them.
    pub tables: BTreeMap<String, TomlProfile>,
}

impl From<TomlProfiles> for BuildProfiles {
    fn from(profiles: TomlProfiles) -> Self {
        let tables = profiles
            .0
            .into_iter()
            .map(|(name, profile)| (name.to_string(), profile))
            .collect();
        Self { tables }
    }
}

/// A workspace as read from disk: its members and the path packages that they reach.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// The directory of the root manifest, absolute.
    pub root: PathBuf,
    /// The root manifest, absolute.
    pub root_manifest: PathBuf,
    /// Every member and every path dependency reached from one, by package id.
    pub packages: BTreeMap<PackageId, Arc<Package>>,
    /// The members, in cargo's order.
    pub members: Vec<PackageId>,
    /// What `kiln build` without `-p` builds in the root directory.
    pub default_members: Vec<PackageId>,
    /// The package whose manifest is the root manifest (none in a virtual workspace).
    pub root_package: Option<PackageId>,
    /// The package of the directory that the user is in, or of `--manifest-path`, if that is not a virtual manifest.
    pub current_package: Option<PackageId>,
    /// Which feature resolver applies.
    pub resolver: ResolverVersion,
    /// `[profile.*]`.
    pub profiles: BuildProfiles,
    /// `[patch]`: for each source's canonical address, the dependencies that replace.
    pub patches: BTreeMap<String, Vec<Dependency>>,
    /// `[replace]`.
    pub replacements: Vec<Replacement>,
    /// `[workspace.metadata]`.
    pub custom_metadata: Option<toml::Value>,
    /// What the user is to be told (unknown keys and such), each already a whole message.
    pub warnings: Vec<String>,
}

impl Workspace {
    /// Where the lock lies.
    pub fn lock_path(&self) -> PathBuf {
        self.root.join("Cargo.lock")
    }

    /// The package that `id` names.
    ///
    /// # Panics
    /// If `id` is not of this workspace.
    pub fn package(&self, id: &PackageId) -> &Arc<Package> {
        &self.packages[id]
    }

    /// Whether `id` is a member.
    pub fn is_member(&self, id: &PackageId) -> bool {
        self.members.contains(id)
    }
}

/// Which features the user asked for on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestedFeatures {
    /// `--features`, split at commas and spaces: `feature`, `package/feature`, `dep?/feature`.
    pub features: BTreeSet<String>,
    /// `--all-features`
    pub all_features: bool,
    /// `--no-default-features`
    pub no_default_features: bool,
}
