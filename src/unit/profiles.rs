//! Build profiles: from the `[profile]` tables of the root manifest and the configuration to the profile of one unit.
//!
//! What comes later wins: cargo's built-in `dev` or `release`; the tables along `inherits`, the configuration's over
//! the manifest's; for host units opt-level 0 and `build-override`; `package."*"` for those that are no members;
//! `package.NAME`. Source: cargo's `core::profiles`.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use cargo_util_schemas::core::PackageIdSpec;
use cargo_util_schemas::manifest::{ProfilePackageSpec, StringOrBool, TomlDebugInfo, TomlProfile};

use crate::manifest::model::BuildProfiles;
use crate::package::PackageId;
use crate::unit::UnitError;
use crate::unit::graph::{
    DebugInfo, Lto, PanicStrategy, ProfileRoot, Strip, StripInner, UnitProfile,
};
use crate::unit::spec::{package_id_spec, spec_matches};
use crate::unit::suggest;

/// A profile while the graph is being made: its `debug` may still be lowered once it is known who shares the unit.
/// Equality leaves out what does not change the compilation: the name, and which values are deferred.
#[derive(Debug, Clone)]
pub(crate) struct DraftProfile {
    pub(crate) profile: UnitProfile,
    pub(crate) debug_deferred: bool,
}

impl DraftProfile {
    fn compared(&self) -> impl PartialEq + Hash + '_ {
        let profile = &self.profile;
        (
            (&profile.opt_level, &profile.lto, profile.codegen_units),
            (profile.debug, &profile.split_debuginfo),
            (profile.debug_assertions, profile.overflow_checks),
            (profile.rpath, profile.incremental, profile.panic),
            (strip_inner(&profile.strip), &profile.rustflags),
        )
    }
}

impl PartialEq for DraftProfile {
    fn eq(&self, other: &Self) -> bool {
        self.compared() == other.compared()
    }
}

impl Eq for DraftProfile {}

impl Hash for DraftProfile {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.compared().hash(state);
    }
}

/// What is stripped, deferred or not.
pub(crate) fn strip_inner(strip: &Strip) -> &StripInner {
    match strip {
        Strip::Resolved(inner) | Strip::Deferred(inner) => inner,
    }
}

/// For which unit a profile is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProfileFor<'a> {
    pub(crate) package: &'a PackageId,
    pub(crate) is_member: bool,
    /// For a build script, a procedural macro or what they need.
    pub(crate) for_host: bool,
    /// For tests and the build's own programs, which always unwind.
    pub(crate) always_unwind: bool,
    /// The triple it is compiled for.
    pub(crate) triple: &'a str,
}

/// One chain of `inherits`, merged, over its built-in root.
#[derive(Debug, Clone)]
struct Chain {
    root: UnitProfile,
    table: TomlProfile,
}

/// The profile that a request names, ready to be asked for the profile of each unit.
#[derive(Debug, Clone)]
pub(crate) struct Profiles {
    requested: Chain,
    incremental: Option<bool>,
}

impl Profiles {
    /// Puts the tables of `manifest` and of the configuration together; checks all of them.
    pub(crate) fn new(
        manifest: &BuildProfiles,
        config: &BTreeMap<String, TomlProfile>,
        requested: &str,
        incremental: Option<bool>,
    ) -> Result<Self, UnitError> {
        let mut tables = merge_config(manifest, config, requested);
        for name in ["bench", "doc", "test"] {
            let table = tables.entry(name.to_owned()).or_default();
            if table.inherits.is_none() {
                let parent = if name == "bench" { "release" } else { "dev" };
                table.inherits = Some(parent.to_owned());
            }
        }
        let mut found = None;
        for name in tables.keys().map(String::as_str).chain(["dev", "release"]) {
            let chain = chain(name, &tables)?;
            if name == requested {
                found = Some(chain);
            }
        }
        let requested = found.ok_or_else(|| UnitError::UndefinedProfile {
            name: requested.to_owned(),
            suggestion: suggest::similar(
                requested,
                tables.keys().map(String::as_str).chain(["dev", "release"]),
                "profile",
            ),
        })?;
        Ok(Self {
            requested,
            incremental,
        })
    }

    /// The profile of a unit. Source: cargo's `Profiles::get_profile`.
    pub(crate) fn of(&self, unit: ProfileFor<'_>) -> DraftProfile {
        let Chain { root, table } = &self.requested;
        let mut draft = DraftProfile {
            profile: root.clone(),
            debug_deferred: false,
        };
        merge(&mut draft, table);
        if unit.for_host {
            // What runs during the build is to be built quickly.
            draft.profile.opt_level = "0".into();
            draft.profile.codegen_units = None;
            draft.debug_deferred = true;
            if let Some(table) = &table.build_override {
                merge(&mut draft, table);
            }
        }
        for (spec, table) in table.package.iter().flatten() {
            if !unit.is_member && *spec == ProfilePackageSpec::All {
                merge(&mut draft, table);
            }
        }
        for (spec, table) in table.package.iter().flatten() {
            if let ProfilePackageSpec::Spec(spec) = spec
                && spec_matches(spec, unit.package)
            {
                merge(&mut draft, table);
                break;
            }
        }
        let profile = &mut draft.profile;
        if unit.always_unwind {
            profile.panic = PanicStrategy::Unwind;
        }
        if profile.debug != DebugInfo::None
            && profile.split_debuginfo.is_none()
            && unit.triple.contains("-apple-")
        {
            profile.split_debuginfo = Some("unpacked".into());
        }
        if let Some(incremental) = self.incremental {
            profile.incremental = incremental;
        }
        if !unit.package.source().is_path() {
            profile.incremental = false;
        }
        draft
    }

    /// The profile of the run of a build script, for the unit that it runs for: only what the script can see.
    pub(crate) fn of_build_script_run(unit: &DraftProfile) -> DraftProfile {
        DraftProfile {
            profile: UnitProfile {
                opt_level: Arc::clone(&unit.profile.opt_level),
                debug: unit.profile.debug,
                debug_assertions: unit.profile.debug_assertions,
                ..blank(Arc::clone(&unit.profile.name), unit.profile.root)
            },
            debug_deferred: unit.debug_deferred,
        }
    }

    /// Checks the package overrides of the requested profile against the packages of the lock, and returns warnings
    /// about those that match none. `manifest` is the root manifest's own table.
    pub(crate) fn check_packages(
        manifest: &BuildProfiles,
        config: &BTreeMap<String, TomlProfile>,
        packages: &[&PackageId],
    ) -> Result<Vec<String>, UnitError> {
        let mut warnings = Vec::new();
        let names: BTreeSet<&String> = manifest.tables.keys().chain(config.keys()).collect();
        for name in names {
            let mut table = manifest.tables.get(name).cloned().unwrap_or_default();
            if let Some(over) = config.get(name) {
                table.merge(over);
            }
            let specs: Vec<&PackageIdSpec> = specs_of(&table).collect();
            if specs.is_empty() {
                continue;
            }
            let mut found: BTreeSet<&PackageIdSpec> = BTreeSet::new();
            for id in packages {
                let matching: Vec<&PackageIdSpec> = specs
                    .iter()
                    .copied()
                    .filter(|spec| spec_matches(spec, id))
                    .collect();
                if matching.len() > 1 {
                    let specs: Vec<String> =
                        matching.iter().map(|spec| format!("`{spec}`")).collect();
                    return Err(UnitError::InvalidProfile {
                        name: name.clone(),
                        why: format!(
                            "several package overrides match package `{id}`: {}",
                            specs.join(", ")
                        ),
                    });
                }
                found.extend(matching);
            }
            let own = manifest.tables.get(name);
            for spec in own.into_iter().flat_map(specs_of) {
                if !found.contains(spec) {
                    warnings.push(unmatched(name, spec, packages));
                }
            }
        }
        Ok(warnings)
    }
}

fn specs_of(table: &TomlProfile) -> impl Iterator<Item = &PackageIdSpec> {
    table
        .package
        .iter()
        .flat_map(BTreeMap::keys)
        .filter_map(|spec| match spec {
            ProfilePackageSpec::Spec(spec) => Some(spec),
            ProfilePackageSpec::All => None,
        })
}

fn unmatched(profile: &str, spec: &PackageIdSpec, packages: &[&PackageId]) -> String {
    let same_name: Vec<String> = packages
        .iter()
        .filter(|id| id.name().as_str() == spec.name())
        .map(|id| format!("`{}`", package_id_spec(id)))
        .collect();
    if same_name.is_empty() {
        let suggestion = suggest::similar(
            spec.name(),
            packages.iter().map(|id| id.name().as_str()),
            "package",
        );
        let suggestion = suggestion.map_or_else(String::new, |text| format!("; {text}"));
        format!(
            "profile package spec `{spec}` in profile `{profile}` did not match any packages{suggestion}"
        )
    } else {
        format!(
            "profile package spec `{spec}` in profile `{profile}` has a version or URL that does not match any of \
             the packages: {}",
            same_name.join(", ")
        )
    }
}

/// The manifest's tables with the configuration's over them. Tables that only the configuration has count if they
/// are built in, asked for, or inherited from.
fn merge_config(
    manifest: &BuildProfiles,
    config: &BTreeMap<String, TomlProfile>,
    requested: &str,
) -> BTreeMap<String, TomlProfile> {
    let mut tables = manifest.tables.clone();
    let mut wanted: BTreeSet<String> = ["dev", "release", "test", "bench", requested]
        .map(str::to_owned)
        .into();
    for (name, table) in &mut tables {
        if let Some(over) = config.get(name) {
            table.merge(over);
        }
        wanted.extend(table.inherits.clone());
    }
    while let Some(name) = wanted.pop_first() {
        if !tables.contains_key(&name)
            && let Some(table) = config.get(&name)
        {
            wanted.extend(table.inherits.clone());
            tables.insert(name, table.clone());
        }
    }
    tables
}

/// Follows `inherits` from `name` to the root.
fn chain(name: &str, tables: &BTreeMap<String, TomlProfile>) -> Result<Chain, UnitError> {
    let invalid = |why: String| UnitError::InvalidProfile {
        name: name.to_owned(),
        why,
    };
    let mut line: Vec<&TomlProfile> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut at = name;
    let root = loop {
        let root = matches!(at, "dev" | "release");
        let table = match tables.get(at) {
            Some(table) => table,
            None if root => break at,
            None => {
                return Err(invalid(format!(
                    "it inherits from `{at}`, which is not defined"
                )));
            }
        };
        if !seen.insert(at) {
            return Err(invalid(format!("it inherits from itself through `{at}`")));
        }
        line.push(table);
        match (&table.inherits, root) {
            (None, true) => break at,
            (Some(_), true) => {
                return Err(invalid(format!(
                    "`inherits` must not be specified in root profile `{at}`"
                )));
            }
            (Some(parent), false) => at = parent,
            (None, false) => {
                return Err(invalid(format!(
                    "profile `{at}` is missing an `inherits` directive, which all profiles but `dev` and `release` \
                     need"
                )));
            }
        }
    };
    let mut merged = TomlProfile::default();
    for table in line.into_iter().rev() {
        check(name, table)?;
        merged.merge(table);
    }
    Ok(Chain {
        root: if root == "release" {
            UnitProfile {
                opt_level: "3".into(),
                ..blank(name.into(), ProfileRoot::Release)
            }
        } else {
            UnitProfile {
                debug: DebugInfo::Full,
                debug_assertions: true,
                overflow_checks: true,
                incremental: true,
                ..blank(name.into(), ProfileRoot::Debug)
            }
        },
        table: merged,
    })
}

/// Refuses what cargo refuses on a stable toolchain.
fn check(name: &str, table: &TomlProfile) -> Result<(), UnitError> {
    let invalid = |why: String| {
        Err(UnitError::InvalidProfile {
            name: name.to_owned(),
            why,
        })
    };
    let layers = std::iter::once((None, table))
        .chain(
            table
                .build_override
                .as_deref()
                .map(|table| (Some("build-override"), table)),
        )
        .chain(
            table
                .package
                .iter()
                .flat_map(BTreeMap::values)
                .map(|table| (Some("package"), table)),
        );
    for (layer, table) in layers {
        let unstable = [
            ("codegen-backend", table.codegen_backend.is_some()),
            ("rustflags", table.rustflags.is_some()),
            ("trim-paths", table.trim_paths.is_some()),
        ];
        if let Some((key, _)) = unstable.iter().find(|(_, set)| *set) {
            return invalid(format!("`{key}` is only allowed on a nightly cargo"));
        }
        match table.panic.as_deref() {
            None | Some("unwind" | "abort") => {}
            Some("immediate-abort") => {
                return invalid(
                    "`panic = \"immediate-abort\"` is only allowed on a nightly cargo".to_owned(),
                );
            }
            Some(other) => {
                return invalid(format!(
                    "`panic` setting of `{other}` is not a valid setting, must be `unwind` or `abort`"
                ));
            }
        }
        let Some(layer) = layer else { continue };
        if table.package.is_some() || table.build_override.is_some() {
            return invalid(format!("a `{layer}` profile cannot hold other profiles"));
        }
        let fixed = [
            ("panic", table.panic.is_some()),
            ("lto", table.lto.is_some()),
            ("rpath", table.rpath.is_some()),
        ];
        if let Some((key, _)) = fixed.iter().find(|(_, set)| *set) {
            return invalid(format!(
                "`{key}` may not be specified in a `{layer}` profile"
            ));
        }
    }
    Ok(())
}

/// A profile in which nothing is set.
fn blank(name: Arc<str>, root: ProfileRoot) -> UnitProfile {
    UnitProfile {
        name,
        root,
        opt_level: "0".into(),
        lto: Lto::Bool(false),
        codegen_units: None,
        debug: DebugInfo::None,
        split_debuginfo: None,
        debug_assertions: false,
        overflow_checks: false,
        rpath: false,
        incremental: false,
        panic: PanicStrategy::Unwind,
        strip: Strip::Deferred(StripInner::None),
        rustflags: Vec::new(),
        hint_mostly_unused: None,
    }
}

/// Lays `table` over the profile. `strip` is set by every table, as in cargo: one that does not mention it defers it.
fn merge(draft: &mut DraftProfile, table: &TomlProfile) {
    let profile = &mut draft.profile;
    if let Some(level) = &table.opt_level {
        profile.opt_level = level.0.as_str().into();
    }
    match &table.lto {
        None => {}
        Some(StringOrBool::Bool(on)) => profile.lto = Lto::Bool(*on),
        Some(StringOrBool::String(name)) => {
            profile.lto = match name.as_str() {
                "off" | "n" | "no" | "none" => Lto::Off,
                other => Lto::Named(other.to_owned()),
            };
        }
    }
    if table.codegen_units.is_some() {
        profile.codegen_units = table.codegen_units;
    }
    if let Some(debug) = table.debug {
        profile.debug = match debug {
            TomlDebugInfo::None => DebugInfo::None,
            TomlDebugInfo::LineDirectivesOnly => DebugInfo::LineDirectivesOnly,
            TomlDebugInfo::LineTablesOnly => DebugInfo::LineTablesOnly,
            TomlDebugInfo::Limited => DebugInfo::Limited,
            TomlDebugInfo::Full => DebugInfo::Full,
        };
        draft.debug_deferred = false;
    }
    if let Some(on) = table.debug_assertions {
        profile.debug_assertions = on;
    }
    if let Some(kind) = &table.split_debuginfo {
        profile.split_debuginfo = Some(kind.as_str().into());
    }
    if let Some(on) = table.rpath {
        profile.rpath = on;
    }
    match table.panic.as_deref() {
        Some("unwind") => profile.panic = PanicStrategy::Unwind,
        Some("abort") => profile.panic = PanicStrategy::Abort,
        // Others were refused when the profile was put together.
        _ => {}
    }
    if let Some(on) = table.overflow_checks {
        profile.overflow_checks = on;
    }
    if let Some(on) = table.incremental {
        profile.incremental = on;
    }
    if table.hint_mostly_unused.is_some() {
        profile.hint_mostly_unused = table.hint_mostly_unused;
    }
    profile.strip = match &table.strip {
        None => Strip::Deferred(StripInner::None),
        Some(StringOrBool::Bool(true)) => Strip::Resolved(StripInner::Named("symbols".to_owned())),
        Some(StringOrBool::Bool(false)) => Strip::Resolved(StripInner::None),
        Some(StringOrBool::String(name)) if name == "none" => Strip::Resolved(StripInner::None),
        Some(StringOrBool::String(name)) => Strip::Resolved(StripInner::Named(name.clone())),
    };
}
