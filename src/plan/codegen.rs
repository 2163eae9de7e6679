//! Values of a build profile as rustc takes them.

use crate::unit::graph::{DebugInfo, Lto, PanicStrategy, Strip, StripInner};
use crate::unit::lto::LtoMode;

/// The values of `debug` as `-C debuginfo` takes them; `None` for none.
pub(super) fn debuginfo_value(debug: DebugInfo) -> Option<&'static str> {
    match debug {
        DebugInfo::None => None,
        DebugInfo::LineDirectivesOnly => Some("line-directives-only"),
        DebugInfo::LineTablesOnly => Some("line-tables-only"),
        DebugInfo::Limited => Some("1"),
        DebugInfo::Full => Some("2"),
    }
}

pub(super) fn panic_value(panic: PanicStrategy) -> &'static str {
    match panic {
        PanicStrategy::Unwind => "unwind",
        PanicStrategy::Abort => "abort",
        PanicStrategy::ImmediateAbort => "immediate-abort",
    }
}

pub(super) fn strip_value(strip: &Strip) -> Option<&str> {
    match strip {
        Strip::Resolved(StripInner::Named(name)) | Strip::Deferred(StripInner::Named(name)) => {
            Some(name)
        }
        Strip::Resolved(StripInner::None) | Strip::Deferred(StripInner::None) => None,
    }
}

pub(super) fn lto_value(lto: &Lto) -> &str {
    match lto {
        Lto::Off => "off",
        Lto::Bool(true) => "true",
        Lto::Bool(false) => "false",
        Lto::Named(name) => name,
    }
}

/// What decides how LTO is done for one unit, as text; also part of the unit's identity.
pub(super) fn lto_arguments(lto: &LtoMode) -> Vec<String> {
    match lto {
        LtoMode::Run(None) => vec!["lto".to_owned()],
        LtoMode::Run(Some(kind)) => vec![format!("lto={kind}")],
        LtoMode::Off => vec!["lto=off".to_owned(), "embed-bitcode=no".to_owned()],
        LtoMode::ObjectAndBitcode => vec![],
        LtoMode::OnlyBitcode => vec!["linker-plugin-lto".to_owned()],
        LtoMode::OnlyObject => vec!["embed-bitcode=no".to_owned()],
    }
}
