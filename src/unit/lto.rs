//! Link-time optimization: what each unit has to hold, object code or bitcode, so that those that are linked with LTO
//! find what they need and nothing is made twice.
//!
//! A profile says only whether programs are linked with LTO; what that means for a library depends on everybody who
//! uses it. Source: cargo's `core::compiler::lto`.

use crate::manifest::model::CrateType;
use crate::unit::graph::{Lto, Mode, Unit, UnitGraph, UnitIndex};

/// How rustc is run for one unit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LtoMode {
    /// LTO happens here: `-C lto` (fat) or `-C lto=NAME`.
    Run(Option<String>),
    /// `-C lto=off`: not even the local thin kind.
    Off,
    /// Only used by LTO: `-C linker-plugin-lto`.
    OnlyBitcode,
    /// Linked as it is by some and with LTO by others: rustc's default, both embedded.
    ObjectAndBitcode,
    /// No LTO anywhere above: `-C embed-bitcode=no`.
    OnlyObject,
}

/// The mode of each unit of `graph`, by index.
pub fn lto_modes(graph: &UnitGraph) -> Vec<LtoMode> {
    let mut modes: Vec<Option<LtoMode>> = vec![None; graph.units.len()];
    let mut waiting: Vec<(UnitIndex, LtoMode)> = Vec::new();
    for &root in graph.roots.iter().rev() {
        waiting.push((root, mode_of_root(graph.unit(root))));
    }
    while let Some((index, above)) = waiting.pop() {
        let unit = graph.unit(index);
        let own = mode_below(unit, &above);
        let merged = match &modes[index.0] {
            None => own,
            Some(known) => {
                let merged = merge(own, known);
                if merged == *known {
                    continue;
                }
                merged
            }
        };
        modes[index.0] = Some(merged.clone());
        for dependency in unit.dependencies.iter().rev() {
            waiting.push((dependency.unit, merged.clone()));
        }
    }
    modes
        .into_iter()
        .map(|mode| mode.unwrap_or(LtoMode::OnlyObject))
        .collect()
}

fn mode_of_root(unit: &Unit) -> LtoMode {
    match unit.profile.lto {
        Lto::Bool(false) => LtoMode::OnlyObject,
        Lto::Off => LtoMode::Off,
        Lto::Bool(true) | Lto::Named(_) => {
            let types = unit.target.crate_types();
            if unit.target.for_host {
                LtoMode::OnlyObject
            } else if needs_object(&types) {
                where_object_is_needed(&types)
            } else {
                LtoMode::OnlyBitcode
            }
        }
    }
}

/// What a unit does by itself, below one that does `above`.
fn mode_below(unit: &Unit, above: &LtoMode) -> LtoMode {
    let types = match unit.mode {
        Mode::Test | Mode::Doctest => vec![CrateType::Bin],
        _ => unit.target.crate_types(),
    };
    if unit.target.for_host {
        // Programs of the build itself are not worth it.
        return LtoMode::OnlyObject;
    }
    if types.iter().all(can_lto) {
        return match &unit.profile.lto {
            Lto::Named(name) => LtoMode::Run(Some(name.clone())),
            Lto::Bool(true) => LtoMode::Run(None),
            Lto::Bool(false) => LtoMode::OnlyObject,
            Lto::Off => LtoMode::Off,
        };
    }
    match (above, needs_object(&types)) {
        (LtoMode::Run(_), false) => LtoMode::OnlyBitcode,
        (LtoMode::Run(_) | LtoMode::OnlyBitcode, true) => where_object_is_needed(&types),
        (other, _) => other.clone(),
    }
}

/// What serves two users of one unit.
fn merge(own: LtoMode, known: &LtoMode) -> LtoMode {
    use LtoMode::{ObjectAndBitcode, Off, OnlyBitcode, OnlyObject, Run};
    match (own, known) {
        (Run(name), _) => Run(name),
        (_, Run(name)) => Run(name.clone()),
        (Off, _) | (_, Off) => Off,
        (ObjectAndBitcode, _) | (_, ObjectAndBitcode) => ObjectAndBitcode,
        (OnlyBitcode, OnlyBitcode) => OnlyBitcode,
        (OnlyObject, OnlyObject) => OnlyObject,
        (OnlyBitcode, OnlyObject) | (OnlyObject, OnlyBitcode) => ObjectAndBitcode,
    }
}

fn can_lto(kind: &CrateType) -> bool {
    matches!(
        kind,
        CrateType::Bin | CrateType::Staticlib | CrateType::Cdylib
    )
}

fn needs_object(types: &[CrateType]) -> bool {
    types
        .iter()
        .any(|kind| can_lto(kind) || matches!(kind, CrateType::Dylib | CrateType::ProcMacro))
}

fn where_object_is_needed(types: &[CrateType]) -> LtoMode {
    if types.iter().all(|kind| *kind == CrateType::Dylib) {
        // rustc has no LTO with dylibs.
        LtoMode::OnlyObject
    } else {
        LtoMode::ObjectAndBitcode
    }
}
