//! The environment that cargo gives to what it runs: a compiler ([`Compile`]), a build script ([`BuildScript`]), a
//! program that was built ([`Process`]).
//!
//! Each is a set of inputs with one method that gives all variables, complete and sorted. Nothing is inherited here:
//! what an action gets beyond these (`PATH`, `HOME`, granted variables) is added by the caller. Paths are those that
//! the action sees.
//!
//! Left out on purpose, against cargo: what only exists in nightly (`CARGO_TRIM_PATHS`, artifact dependencies,
//! `CARGO_SBOM_PATH`).
//!
//! Source: "Environment Variables" in the Cargo book; cargo 1.95, `compilation.rs`, `custom_build.rs`.

use std::collections::BTreeMap;

use cargo_platform::Cfg;

use crate::directive::BuildScriptOutput;
use crate::manifest::model::{Package, Target, TargetKind};
use crate::toolchain::model::TargetInfo;
use crate::unit::graph::{DebugInfo, ProfileRoot, Unit};

/// Names and values of variables.
pub type Variables = BTreeMap<String, String>;

/// As cargo makes a part of a variable's name: upper case, dashes are underscores.
pub fn envify(name: &str) -> String {
    name.chars()
        .flat_map(char::to_uppercase)
        .map(|c| if c == '-' { '_' } else { c })
        .collect()
}

/// What a build script is told of the build profile: which of the two built-in ones it comes from.
pub(super) fn profile_name(unit: &Unit) -> &'static str {
    match unit.profile.root {
        ProfileRoot::Debug => "debug",
        ProfileRoot::Release => "release",
    }
}

fn set(variables: &mut Variables, name: impl Into<String>, value: impl Into<String>) {
    variables.insert(name.into(), value.into());
}

/// Joined with `:`, or no variable at all where there is nothing to search.
fn set_library_path(variables: &mut Variables, directories: &[String]) {
    if !directories.is_empty() {
        set(variables, "LD_LIBRARY_PATH", directories.join(":"));
    }
}

/// What every process gets to know of the package it is for.
#[derive(Debug, Clone)]
pub struct Common<'a> {
    /// The package.
    pub package: &'a Package,
    /// Its directory as the action sees it.
    pub manifest_dir: &'a str,
    /// `CARGO`: where the action would find cargo.
    pub cargo: String,
    /// `LD_LIBRARY_PATH`: where dynamic libraries that the build made are searched.
    pub library_path: Vec<String>,
    /// `[env]` of the configuration, resolved: never overrides what cargo itself sets.
    pub configured: &'a Variables,
}

impl Common<'_> {
    fn extend(&self, variables: &mut Variables) {
        let Package {
            summary, metadata, ..
        } = self.package;
        let version = summary.id.version();
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let manifest_name = self
            .package
            .manifest_path
            .file_name()
            .map_or("Cargo.toml".into(), |name| name.to_string_lossy());
        for (name, value) in [
            ("CARGO", self.cargo.clone()),
            ("CARGO_MANIFEST_DIR", self.manifest_dir.to_owned()),
            (
                "CARGO_MANIFEST_PATH",
                format!("{}/{manifest_name}", self.manifest_dir),
            ),
            ("CARGO_PKG_NAME", summary.id.name().to_string()),
            ("CARGO_PKG_VERSION", version.to_string()),
            ("CARGO_PKG_VERSION_MAJOR", version.major.to_string()),
            ("CARGO_PKG_VERSION_MINOR", version.minor.to_string()),
            ("CARGO_PKG_VERSION_PATCH", version.patch.to_string()),
            ("CARGO_PKG_VERSION_PRE", version.pre.to_string()),
            ("CARGO_PKG_AUTHORS", metadata.authors.join(":")),
            ("CARGO_PKG_DESCRIPTION", text(&metadata.description)),
            ("CARGO_PKG_HOMEPAGE", text(&metadata.homepage)),
            ("CARGO_PKG_REPOSITORY", text(&metadata.repository)),
            ("CARGO_PKG_LICENSE", text(&metadata.license)),
            ("CARGO_PKG_LICENSE_FILE", text(&metadata.license_file)),
            ("CARGO_PKG_README", text(&metadata.readme)),
            (
                "CARGO_PKG_RUST_VERSION",
                summary
                    .rust_version
                    .map(|version| version.to_string())
                    .unwrap_or_default(),
            ),
        ] {
            set(variables, name, value);
        }
        set_library_path(variables, &self.library_path);
    }
}

/// `CARGO_BIN_EXE_<name>` for each binary of the package, if `target` is a test or a benchmark: `executables` gives the
/// place of each by name. Cargo does not build them when it only checks; the variable is there all the same.
fn set_executables(
    variables: &mut Variables,
    package: &Package,
    target: &Target,
    executables: &BTreeMap<String, String>,
) {
    if !(target.is_test() || target.is_bench()) {
        return;
    }
    for binary in package.targets.iter().filter(|target| target.is_bin()) {
        let name = &binary.name;
        let path = executables
            .get(name)
            .cloned()
            .unwrap_or_else(|| format!("placeholder:{name}"));
        set(variables, format!("CARGO_BIN_EXE_{name}"), path);
    }
}

/// The environment of rustc (or rustdoc) for one unit.
#[derive(Debug, Clone)]
pub struct Compile<'a> {
    /// The package and what all its processes share.
    pub common: Common<'a>,
    /// The unit.
    pub unit: &'a Unit,
    /// Whether the user asked for its package (`CARGO_PRIMARY_PACKAGE`); never for rustdoc.
    pub is_primary: bool,
    /// `OUT_DIR` of the package's build script, if it has one.
    pub out_dir: Option<&'a str>,
    /// `CARGO_TARGET_TMPDIR`; only integration tests and benchmarks get it.
    pub target_tmpdir: Option<&'a str>,
    /// Where each binary of the package is, by name; only integration tests and benchmarks get these.
    pub executables: &'a BTreeMap<String, String>,
    /// `CARGO_MAKEFLAGS`: the jobserver.
    pub makeflags: Option<&'a str>,
    /// What the package's build script said: its `rustc-env` overrides all else.
    pub script: Option<&'a BuildScriptOutput>,
}

impl Compile<'_> {
    /// All variables.
    pub fn variables(&self) -> Variables {
        let mut variables = self.common.configured.clone();
        let target = &self.unit.target;
        self.common.extend(&mut variables);
        set(&mut variables, "CARGO_CRATE_NAME", target.crate_name());
        if matches!(target.kind, TargetKind::Bin | TargetKind::ExampleBin) {
            set(&mut variables, "CARGO_BIN_NAME", &target.name);
        }
        if self.is_primary {
            set(&mut variables, "CARGO_PRIMARY_PACKAGE", "1");
        }
        if let Some(tmpdir) = self.target_tmpdir
            && (target.is_test() || target.is_bench())
        {
            set(&mut variables, "CARGO_TARGET_TMPDIR", tmpdir);
        }
        if let Some(out_dir) = self.out_dir {
            set(&mut variables, "OUT_DIR", out_dir);
        }
        if let Some(makeflags) = self.makeflags {
            set(&mut variables, "CARGO_MAKEFLAGS", makeflags);
        }
        set_executables(
            &mut variables,
            self.common.package,
            target,
            self.executables,
        );
        if let Some(script) = self.script {
            variables.extend(script.env.iter().cloned());
        }
        variables
    }
}

/// The environment of a test or another program of the workspace that is run.
#[derive(Debug, Clone)]
pub struct Process<'a> {
    /// The package and what all its processes share.
    pub common: Common<'a>,
    /// Which target the program is.
    pub target: &'a Target,
    /// `OUT_DIR` of the package's build script, if it has one.
    pub out_dir: Option<&'a str>,
    /// Where each binary of the package is, by name; only integration tests and benchmarks get these.
    pub executables: &'a BTreeMap<String, String>,
    /// What the package's build script said.
    pub script: Option<&'a BuildScriptOutput>,
}

impl Process<'_> {
    /// All variables. `rustc-env` of the build script counts for less than cargo's own here.
    pub fn variables(&self) -> Variables {
        let mut variables = self.common.configured.clone();
        if let Some(out_dir) = self.out_dir {
            set(&mut variables, "OUT_DIR", out_dir);
        }
        if let Some(script) = self.script {
            variables.extend(script.env.iter().cloned());
        }
        self.common.extend(&mut variables);
        set_executables(
            &mut variables,
            self.common.package,
            self.target,
            self.executables,
        );
        variables
    }
}

/// The environment of a build script.
#[derive(Debug, Clone)]
pub struct BuildScript<'a> {
    /// The package and what all its processes share.
    pub common: Common<'a>,
    /// The unit that runs it: its profile and features are those of the package's library.
    pub unit: &'a Unit,
    /// The machine that the package is compiled for.
    pub target: &'a TargetInfo,
    /// The machine that builds: its triple.
    pub host: &'a str,
    /// `OUT_DIR`.
    pub out_dir: &'a str,
    /// `NUM_JOBS`.
    pub jobs: u32,
    /// `RUSTC`.
    pub rustc: &'a str,
    /// `RUSTDOC`.
    pub rustdoc: &'a str,
    /// `RUSTC_LINKER`: `linker` of the configuration for the target.
    pub linker: Option<&'a str>,
    /// `RUSTC_WRAPPER` and `RUSTC_WORKSPACE_WRAPPER`.
    pub wrappers: [Option<&'a str>; 2],
    /// The flags of the unit: `CARGO_ENCODED_RUSTFLAGS`.
    pub rustflags: &'a [String],
    /// `CARGO_MAKEFLAGS`: the jobserver.
    pub makeflags: Option<&'a str>,
    /// For each direct dependency with `links` and a build script that has run: its `links`, and what that said.
    pub dependencies: &'a [(String, &'a BuildScriptOutput)],
}

impl BuildScript<'_> {
    /// All variables. `RUSTFLAGS` is never there: cargo removes it, too.
    pub fn variables(&self) -> Variables {
        let mut variables = self.common.configured.clone();
        for removed in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS"] {
            variables.remove(removed);
        }
        self.common.extend(&mut variables);
        let profile = &self.unit.profile;
        for (name, value) in [
            ("OUT_DIR", self.out_dir.to_owned()),
            ("NUM_JOBS", self.jobs.to_string()),
            ("TARGET", self.target.triple.clone()),
            ("HOST", self.host.to_owned()),
            ("DEBUG", (profile.debug != DebugInfo::None).to_string()),
            ("OPT_LEVEL", profile.opt_level.to_string()),
            ("PROFILE", profile_name(self.unit).to_owned()),
            ("RUSTC", self.rustc.to_owned()),
            ("RUSTDOC", self.rustdoc.to_owned()),
            ("CARGO_ENCODED_RUSTFLAGS", self.rustflags.join("\u{1f}")),
        ] {
            set(&mut variables, name, value);
        }
        for (name, value) in [
            ("CARGO_MAKEFLAGS", self.makeflags),
            ("RUSTC_LINKER", self.linker),
            ("RUSTC_WRAPPER", self.wrappers[0]),
            ("RUSTC_WORKSPACE_WRAPPER", self.wrappers[1]),
            (
                "CARGO_MANIFEST_LINKS",
                self.common.package.summary.links.as_deref(),
            ),
        ] {
            if let Some(value) = value {
                set(&mut variables, name, value);
            }
        }
        for feature in &self.unit.features {
            let name = format!("CARGO_FEATURE_{}", envify(feature.as_str()));
            set(&mut variables, name, "1");
        }
        for (name, values) in self.cfg() {
            let name = format!("CARGO_CFG_{}", envify(name));
            set(&mut variables, name, values.join(","));
        }
        for (links, output) in self.dependencies {
            for (key, value) in &output.metadata {
                let name = format!("DEP_{}_{}", envify(links), envify(key));
                set(&mut variables, name, value);
            }
        }
        variables
    }

    /// What the package is compiled with, as far as `--cfg` goes. `debug_assertions` comes from the profile: asked
    /// for the cfg alone, rustc takes it to be on. `proc_macro` says nothing of the target.
    fn cfg(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut map: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let features = self.unit.features.iter().map(|feature| feature.as_str());
        map.insert("feature", features.collect());
        if self.unit.profile.debug_assertions {
            map.insert("debug_assertions", Vec::new());
        }
        for cfg in &self.target.cfg {
            match cfg {
                Cfg::Name(name) if matches!(name.as_str(), "debug_assertions" | "proc_macro") => {}
                Cfg::Name(name) => {
                    map.insert(name.as_str(), Vec::new());
                }
                Cfg::KeyPair(key, value) => map.entry(key.as_str()).or_default().push(value),
            }
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_variables() {
        for (name, expected) in [
            ("foo-bar", "FOO_BAR"),
            ("a.b+c", "A.B+C"),
            ("straße", "STRASSE"),
        ] {
            assert_eq!(envify(name), expected);
        }
    }
}
