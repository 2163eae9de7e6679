//! The lines of `cargo build --message-format=json`: what editors and other tools read.
//!
//! The structures only hold plain values; their fields, and the order of the fields, are cargo's. [`Line::to_json`]
//! gives one line without its line feed.
//!
//! Source: cargo 1.95, `machine_message.rs`, and "External tools" in the Cargo book.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::manifest::model::{CrateType, Target, TargetKind};
use crate::unit::graph::{DebugInfo, Mode, UnitProfile};

/// One line.
#[derive(Debug, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Line {
    /// A diagnostic of rustc's.
    CompilerMessage(CompilerMessage),
    /// A unit was compiled, or was found compiled.
    CompilerArtifact(CompilerArtifact),
    /// A build script has run, or what it once said was found.
    BuildScriptExecuted(BuildScriptExecuted),
    /// The last line.
    BuildFinished {
        /// Whether everything was built.
        success: bool,
    },
}

impl Line {
    /// Compact JSON, without a line feed.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts, numbers and valid JSON have a JSON form")
    }
}

/// `compiler-message`
#[derive(Debug, Serialize)]
pub struct CompilerMessage {
    /// The package, as a package id specification.
    pub package_id: String,
    /// Its `Cargo.toml`.
    pub manifest_path: String,
    /// The target that was compiled.
    pub target: TargetObject,
    /// The diagnostic: [`super::rustc::Diagnostic::cargo_json`].
    pub message: Box<RawValue>,
}

/// `compiler-artifact`
#[derive(Debug, Serialize)]
pub struct CompilerArtifact {
    /// The package, as a package id specification.
    pub package_id: String,
    /// Its `Cargo.toml`.
    pub manifest_path: String,
    /// The target that was compiled.
    pub target: TargetObject,
    /// How it was compiled.
    pub profile: ArtifactProfile,
    /// With which features.
    pub features: Vec<String>,
    /// The files that it consists of, as the user finds them.
    pub filenames: Vec<String>,
    /// The program, if it is one.
    pub executable: Option<String>,
    /// Whether there was nothing to do.
    pub fresh: bool,
}

/// `build-script-executed`
#[derive(Debug, Serialize)]
pub struct BuildScriptExecuted {
    /// The package, as a package id specification.
    pub package_id: String,
    /// [`crate::directive::BuildScriptOutput::library_links`]
    pub linked_libs: Vec<String>,
    /// [`crate::directive::BuildScriptOutput::library_paths`]
    pub linked_paths: Vec<String>,
    /// [`crate::directive::BuildScriptOutput::cfgs`]
    pub cfgs: Vec<String>,
    /// [`crate::directive::BuildScriptOutput::env`]
    pub env: Vec<(String, String)>,
    /// Where the user finds what it wrote.
    pub out_dir: String,
}

/// A target of a package, as cargo describes it here and in `cargo metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetObject {
    /// `lib` and the like (a library's crate types), `bin`, `example`, `test`, `bench`, `custom-build`.
    pub kind: Vec<String>,
    /// Its crate types.
    pub crate_types: Vec<String>,
    /// Its name.
    pub name: String,
    /// The file of its crate root.
    pub src_path: String,
    /// Its edition.
    pub edition: String,
    /// `required-features`, if it has any such key.
    #[serde(rename = "required-features", skip_serializing_if = "Option::is_none")]
    pub required_features: Option<Vec<String>>,
    /// Whether it is documented.
    pub doc: bool,
    /// Whether it has documentation tests.
    pub doctest: bool,
    /// Whether it is tested.
    pub test: bool,
}

impl From<&Target> for TargetObject {
    fn from(target: &Target) -> Self {
        let names = |types: &[CrateType]| -> Vec<String> {
            types
                .iter()
                .map(|crate_type| crate_type.as_str().to_owned())
                .collect()
        };
        let kind = match &target.kind {
            TargetKind::Lib(types) => names(types),
            TargetKind::Bin => vec!["bin".to_owned()],
            TargetKind::Test => vec!["test".to_owned()],
            TargetKind::Bench => vec!["bench".to_owned()],
            TargetKind::ExampleLib(_) | TargetKind::ExampleBin => vec!["example".to_owned()],
            TargetKind::CustomBuild => vec!["custom-build".to_owned()],
        };
        Self {
            kind,
            crate_types: names(&target.crate_types()),
            name: target.name.clone(),
            src_path: target.src_path.display().to_string(),
            edition: target.edition.as_str().to_owned(),
            required_features: target.required_features.clone(),
            doc: target.documented,
            doctest: target.doctested,
            test: target.tested,
        }
    }
}

/// The profile of a `compiler-artifact`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArtifactProfile {
    /// `0` to `3`, `s`, `z`.
    pub opt_level: String,
    /// How much debug information.
    pub debuginfo: ArtifactDebugInfo,
    /// Whether debug assertions are on.
    pub debug_assertions: bool,
    /// Whether overflow is checked.
    pub overflow_checks: bool,
    /// Whether it was compiled as a test.
    pub test: bool,
}

/// `debuginfo`: a number where there is one, for the sake of tools that know only numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ArtifactDebugInfo {
    /// `0`, `1`, `2`.
    Number(u32),
    /// `line-directives-only`, `line-tables-only`.
    Name(&'static str),
}

impl From<DebugInfo> for ArtifactDebugInfo {
    fn from(debug: DebugInfo) -> Self {
        match debug {
            DebugInfo::None => ArtifactDebugInfo::Number(0),
            DebugInfo::Limited => ArtifactDebugInfo::Number(1),
            DebugInfo::Full => ArtifactDebugInfo::Number(2),
            DebugInfo::LineDirectivesOnly => ArtifactDebugInfo::Name("line-directives-only"),
            DebugInfo::LineTablesOnly => ArtifactDebugInfo::Name("line-tables-only"),
        }
    }
}

impl ArtifactProfile {
    /// That of a unit compiled with `profile` in `mode`.
    pub fn new(profile: &UnitProfile, mode: Mode) -> Self {
        Self {
            opt_level: profile.opt_level.to_string(),
            debuginfo: profile.debug.into(),
            debug_assertions: profile.debug_assertions,
            overflow_checks: profile.overflow_checks,
            test: matches!(
                mode,
                Mode::Test | Mode::Check { test: true } | Mode::Doctest
            ),
        }
    }
}

#[cfg(test)]
#[path = "cargo_json_tests.rs"]
mod tests;
