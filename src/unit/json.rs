//! The unit graph as cargo's `--unit-graph` prints it: schema version 1.

use serde::{Serialize, Serializer};

use crate::manifest::model::{CrateType, Target, TargetKind};
use crate::package::FeatureName;
use crate::unit::graph::{
    DebugInfo, Lto, Mode, PanicStrategy, Platform, Strip, StripInner, Unit, UnitDependency,
    UnitGraph, UnitProfile,
};
use crate::unit::spec::package_id_spec;

#[derive(Serialize)]
struct GraphJson<'a> {
    version: u32,
    units: Vec<UnitJson<'a>>,
    roots: Vec<usize>,
}

#[derive(Serialize)]
struct UnitJson<'a> {
    pkg_id: String,
    target: TargetJson<'a>,
    profile: ProfileJson<'a>,
    platform: Option<&'a str>,
    mode: &'static str,
    features: &'a [FeatureName],
    dependencies: Vec<DependencyJson<'a>>,
}

/// A target as cargo describes it, in the unit graph and in `cargo metadata`.
#[derive(Serialize)]
pub(crate) struct TargetJson<'a> {
    kind: Vec<&'a str>,
    crate_types: Vec<String>,
    name: &'a str,
    src_path: &'a std::path::Path,
    edition: &'static str,
    #[serde(rename = "required-features", skip_serializing_if = "Option::is_none")]
    required_features: Option<&'a [String]>,
    doc: bool,
    doctest: bool,
    test: bool,
}

#[derive(Serialize)]
struct ProfileJson<'a> {
    name: &'a str,
    opt_level: &'a str,
    lto: &'a str,
    codegen_backend: Option<&'a str>,
    codegen_units: Option<u32>,
    debuginfo: DebugJson,
    split_debuginfo: Option<&'a str>,
    debug_assertions: bool,
    overflow_checks: bool,
    rpath: bool,
    incremental: bool,
    panic: &'static str,
    strip: StripJson<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rustflags: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint_mostly_unused: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum StripJson<'a> {
    Resolved(StripInnerJson<'a>),
    Deferred(StripInnerJson<'a>),
}

#[derive(Serialize)]
enum StripInnerJson<'a> {
    None,
    Named(&'a str),
}

struct DebugJson(DebugInfo);

impl Serialize for DebugJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            DebugInfo::None => serializer.serialize_u8(0),
            DebugInfo::LineDirectivesOnly => serializer.serialize_str("line-directives-only"),
            DebugInfo::LineTablesOnly => serializer.serialize_str("line-tables-only"),
            DebugInfo::Limited => serializer.serialize_u8(1),
            DebugInfo::Full => serializer.serialize_u8(2),
        }
    }
}

#[derive(Serialize)]
struct DependencyJson<'a> {
    index: usize,
    extern_crate_name: &'a str,
    public: bool,
    noprelude: bool,
}

/// `graph` in cargo's schema, on one line without a line break at its end.
///
/// # Errors
/// If the path of a source file is not UTF-8.
pub fn unit_graph_json(graph: &UnitGraph) -> Result<String, serde_json::Error> {
    serde_json::to_string(&GraphJson {
        version: 1,
        units: graph.units.iter().map(unit).collect(),
        roots: graph.roots.iter().map(|root| root.0).collect(),
    })
}

fn unit(unit: &Unit) -> UnitJson<'_> {
    UnitJson {
        pkg_id: package_id_spec(&unit.package),
        target: target(&unit.target),
        profile: profile(&unit.profile),
        platform: match &unit.platform {
            Platform::Host => None,
            Platform::Target(triple) => Some(triple),
        },
        mode: match unit.mode {
            Mode::Test => "test",
            Mode::Build => "build",
            Mode::Check { .. } => "check",
            Mode::Doc => "doc",
            Mode::Doctest => "doctest",
            Mode::RunCustomBuild => "run-custom-build",
        },
        features: &unit.features,
        dependencies: unit.dependencies.iter().map(dependency).collect(),
    }
}

fn dependency(dependency: &UnitDependency) -> DependencyJson<'_> {
    DependencyJson {
        index: dependency.unit.0,
        extern_crate_name: &dependency.extern_crate_name,
        public: dependency.public,
        noprelude: dependency.noprelude,
    }
}

pub(crate) fn target(target: &Target) -> TargetJson<'_> {
    TargetJson {
        kind: match &target.kind {
            TargetKind::Lib(types) => types.iter().map(CrateType::as_str).collect(),
            TargetKind::Bin => vec!["bin"],
            TargetKind::ExampleBin | TargetKind::ExampleLib(_) => vec!["example"],
            TargetKind::Test => vec!["test"],
            TargetKind::Bench => vec!["bench"],
            TargetKind::CustomBuild => vec!["custom-build"],
        },
        crate_types: target
            .crate_types()
            .iter()
            .map(|kind| kind.as_str().to_owned())
            .collect(),
        name: &target.name,
        src_path: &target.src_path,
        edition: target.edition.as_str(),
        required_features: target.required_features.as_deref(),
        doc: target.documented,
        doctest: target.doctested,
        test: target.tested,
    }
}

fn profile(profile: &UnitProfile) -> ProfileJson<'_> {
    fn inner(inner: &StripInner) -> StripInnerJson<'_> {
        match inner {
            StripInner::None => StripInnerJson::None,
            StripInner::Named(name) => StripInnerJson::Named(name),
        }
    }
    ProfileJson {
        name: &profile.name,
        opt_level: &profile.opt_level,
        lto: match &profile.lto {
            Lto::Off => "off",
            Lto::Bool(false) => "false",
            Lto::Bool(true) => "true",
            Lto::Named(name) => name,
        },
        codegen_backend: None,
        codegen_units: profile.codegen_units,
        debuginfo: DebugJson(profile.debug),
        split_debuginfo: profile.split_debuginfo.as_deref(),
        debug_assertions: profile.debug_assertions,
        overflow_checks: profile.overflow_checks,
        rpath: profile.rpath,
        incremental: profile.incremental,
        panic: match profile.panic {
            PanicStrategy::Unwind => "unwind",
            PanicStrategy::Abort => "abort",
            PanicStrategy::ImmediateAbort => "immediate-abort",
        },
        strip: match &profile.strip {
            Strip::Resolved(strip) => StripJson::Resolved(inner(strip)),
            Strip::Deferred(strip) => StripJson::Deferred(inner(strip)),
        },
        rustflags: profile.rustflags.iter().map(AsRef::as_ref).collect(),
        hint_mostly_unused: profile.hint_mostly_unused,
    }
}
