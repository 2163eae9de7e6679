//! The arguments of `rustc`: those that cargo gives, in cargo's order, with canonical paths.
//!
//! Source: cargo 1.95, `core/compiler/mod.rs` (`build_base_args`, `build_deps_args`). Left out on purpose:
//! `--diagnostic-width` (it would make an action's key depend on the user's terminal) and `dep-info` in `--emit` (an
//! action's inputs are whole trees, so nothing needs to be told which of them was read).

use crate::manifest::model::{CrateType, Package, Target, TargetKind};
use crate::path::SandboxPath;
use crate::plan::codegen::{debuginfo_value, lto_arguments, panic_value, strip_value};
use crate::plan::graph::{OutputFile, OutputRole};
use crate::plan::identity::UnitIdentity;
use crate::toolchain::model::TargetInfo;
use crate::unit::graph::{Mode, PanicStrategy, Platform, Unit, UnitProfile};
use crate::unit::lto::LtoMode;

/// What the arguments of one compilation follow from, besides the unit itself.
pub(super) struct Compilation<'a> {
    pub(super) unit: &'a Unit,
    pub(super) package: &'a Package,
    pub(super) identity: &'a UnitIdentity,
    pub(super) lto: &'a LtoMode,
    /// The crate root, relative to the working directory or absolute.
    pub(super) source: String,
    pub(super) out: &'a SandboxPath,
    /// Whether the user asked for this package by name or by being in it.
    pub(super) is_primary: bool,
    pub(super) target_info: &'a TargetInfo,
    /// `-C linker=…`, where one is configured.
    pub(super) linker: Option<&'a str>,
    pub(super) toolchain: &'a SandboxPath,
    /// The value of `--json`.
    pub(super) json: &'a str,
}

/// Whether compiling `unit` needs the object code of what it depends on, not only metadata.
pub(super) fn requires_upstream_objects(unit: &Unit) -> bool {
    unit.mode.is_any_test()
        || match &unit.target.kind {
            TargetKind::Lib(types) | TargetKind::ExampleLib(types) => types
                .iter()
                .any(|crate_type| !matches!(crate_type, CrateType::Lib | CrateType::Rlib)),
            _ => true,
        }
}

/// Whether `unit` is linked: something that calls the linker.
pub(super) fn is_linked(unit: &Unit) -> bool {
    !unit.mode.is_check()
        && (unit.mode.is_any_test()
            || unit.target.crate_types().iter().any(|crate_type| {
                !matches!(
                    crate_type,
                    CrateType::Lib | CrateType::Rlib | CrateType::Staticlib
                )
            }))
}

/// Whether the files that rustc writes carry the unit's identity in their names. Where cargo leaves it out so do we,
/// and for programs as well: each unit has a directory of its own, so nothing clashes.
fn has_extra_filename(package: &Package, target: &Target, mode: Mode) -> bool {
    if mode.is_check() {
        return true;
    }
    if mode.is_any_test() || target.crate_types() == [CrateType::Bin] {
        return false;
    }
    let shared = target
        .crate_types()
        .iter()
        .any(|crate_type| matches!(crate_type, CrateType::Dylib | CrateType::Cdylib));
    !(shared && package.id().source().is_path())
}

/// What `-C split-debuginfo` is for a profile: what it asks for, where the target can do that and there is any debug information.
fn split_debuginfo<'a>(profile: &'a UnitProfile, info: &TargetInfo) -> Option<&'a str> {
    debuginfo_value(profile.debug)?;
    let asked = profile.split_debuginfo.as_deref()?;
    let mut can_do = info.split_debuginfo.iter();
    can_do.any(|kind| **kind == *asked).then_some(asked)
}

/// The files that a compilation leaves, with cargo's names for them.
pub(super) fn output_files(
    package: &Package,
    unit: &Unit,
    identity: &UnitIdentity,
    info: &TargetInfo,
) -> Result<Vec<OutputFile>, UnsupportedCrateType> {
    let target = &unit.target;
    let stem = if has_extra_filename(package, target, unit.mode) {
        format!("{}-{}", target.crate_name(), identity.as_str())
    } else {
        target.crate_name()
    };
    let metadata = || OutputFile {
        name: format!("lib{stem}.rmeta"),
        role: OutputRole::Metadata,
    };
    if unit.mode.is_check() {
        return Ok(vec![metadata()]);
    }
    let crate_types = if unit.mode.is_any_test() {
        vec![CrateType::Bin]
    } else {
        target.crate_types()
    };
    // A package of debug information lies beside whatever was linked.
    let packed = is_linked(unit) && split_debuginfo(&unit.profile, info) == Some("packed");
    let mut debug_packages = Vec::new();
    let mut files = Vec::new();
    for crate_type in &crate_types {
        // `lib` is the compiler's preferred kind of library, which has been `rlib` everywhere.
        let asked = if *crate_type == CrateType::Lib {
            &CrateType::Rlib
        } else {
            crate_type
        };
        let (prefix, suffix) =
            info.file_names
                .get(asked.as_str())
                .ok_or_else(|| UnsupportedCrateType {
                    crate_type: asked.as_str().to_owned(),
                })?;
        let role = match asked {
            CrateType::Rlib | CrateType::Dylib | CrateType::ProcMacro => OutputRole::Linkable,
            _ => OutputRole::Normal,
        };
        let file = OutputFile {
            name: format!("{prefix}{stem}{suffix}"),
            role,
        };
        if files.contains(&file) {
            continue;
        }
        if packed && !matches!(asked, CrateType::Rlib | CrateType::Staticlib) {
            debug_packages.push(OutputFile {
                name: format!("{}.dwp", file.name),
                role: OutputRole::DebugInfo,
            });
        }
        files.push(file);
    }
    files.extend(debug_packages);
    if !requires_upstream_objects(unit) {
        files.push(metadata());
    }
    Ok(files)
}

/// The target does not support a crate type that the package asks for.
#[derive(Debug)]
pub(super) struct UnsupportedCrateType {
    pub(super) crate_type: String,
}

/// The arguments up to the dependencies.
pub(super) fn base_arguments(compilation: &Compilation<'_>) -> Vec<String> {
    let Compilation { unit, package, .. } = compilation;
    let target = &unit.target;
    let profile = &unit.profile;
    let test = unit.mode.is_any_test();
    let mut arguments: Vec<String> = Vec::new();
    let mut push = |argument: &str| arguments.push(argument.to_owned());

    push("--crate-name");
    push(&target.crate_name());
    push(&format!("--edition={}", target.edition.as_str()));
    push(&compilation.source);
    push("--error-format=json");
    push(&format!("--json={}", compilation.json));

    let mut has_dylib = false;
    if !test {
        for crate_type in target.crate_types() {
            push("--crate-type");
            push(crate_type.as_str());
            has_dylib |= crate_type == CrateType::Dylib;
        }
    }

    push(match unit.mode {
        Mode::Check { .. } => "--emit=metadata",
        _ if requires_upstream_objects(unit) => "--emit=link",
        _ => "--emit=metadata,link",
    });

    if (target.for_host && !target.is_custom_build()) || (has_dylib && !compilation.is_primary) {
        push("-C");
        push("prefer-dynamic");
    }
    codegen_arguments(&mut push, profile, compilation);

    if test && target.harness {
        push("--test");
        if profile.panic != PanicStrategy::Unwind {
            push("-Z");
            push("panic-abort-tests");
        }
    } else if test {
        push("--cfg");
        push("test");
    }

    for argument in feature_arguments(unit, package) {
        push(&argument);
    }

    push("-C");
    push(&format!("metadata={}", compilation.identity.as_str()));
    if has_extra_filename(package, target, unit.mode) {
        push("-C");
        push(&format!(
            "extra-filename=-{}",
            compilation.identity.as_str()
        ));
    }
    if profile.rpath {
        push("-C");
        push("rpath");
    }
    push("--out-dir");
    push(compilation.out.as_str());
    push("--sysroot");
    push(compilation.toolchain.as_str());
    if let Platform::Target(triple) = &unit.platform {
        push("--target");
        push(triple);
    }
    if let Some(linker) = compilation.linker {
        push("-C");
        push(&format!("linker={linker}"));
    }
    if let Some(strip) = strip_value(&profile.strip) {
        push("-C");
        push(&format!("strip={strip}"));
    }
    arguments
}

/// `--cfg feature="…"` for each feature that is on, and `--check-cfg` for those that there are.
pub(super) fn feature_arguments(unit: &Unit, package: &Package) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut push = |argument: &str| arguments.push(argument.to_owned());
    for feature in &unit.features {
        push("--cfg");
        push(&format!("feature=\"{feature}\""));
    }
    push("--check-cfg");
    push("cfg(docsrs,test)");
    push("--check-cfg");
    let features: Vec<String> = package
        .summary
        .features
        .keys()
        .map(|feature| format!("\"{feature}\""))
        .collect();
    push(&format!("cfg(feature, values({}))", features.join(", ")));
    arguments
}

fn codegen_arguments(
    push: &mut impl FnMut(&str),
    profile: &UnitProfile,
    compilation: &Compilation<'_>,
) {
    let optimised = &*profile.opt_level != "0";
    let mut codegen = |option: &str| {
        push("-C");
        push(option);
    };
    if optimised {
        codegen(&format!("opt-level={}", profile.opt_level));
    }
    if profile.panic != PanicStrategy::Unwind {
        codegen(&format!("panic={}", panic_value(profile.panic)));
    }
    for option in lto_arguments(compilation.lto) {
        codegen(&option);
    }
    if let Some(units) = profile.codegen_units {
        codegen(&format!("codegen-units={units}"));
    }
    if let Some(debuginfo) = debuginfo_value(profile.debug) {
        codegen(&format!("debuginfo={debuginfo}"));
        if let Some(split) = split_debuginfo(profile, compilation.target_info) {
            codegen(&format!("split-debuginfo={split}"));
        }
    }
    for flag in compilation.package.lint_rustflags.iter() {
        push(flag);
    }
    for flag in &profile.rustflags {
        push(flag);
    }
    let mut codegen = |option: &str| {
        push("-C");
        push(option);
    };
    // `overflow-checks` follows `debug-assertions`, and that one follows `opt-level`: only differences are said.
    let assertions = profile.debug_assertions;
    if assertions == optimised {
        codegen(if assertions {
            "debug-assertions=on"
        } else {
            "debug-assertions=off"
        });
    }
    if profile.overflow_checks != assertions {
        codegen(if profile.overflow_checks {
            "overflow-checks=on"
        } else {
            "overflow-checks=off"
        });
    }
}
