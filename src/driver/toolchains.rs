//! The toolchains of one build, as configuration and the command line choose them.

use std::path::{Path, PathBuf};

use super::inputs::configured;
use super::{Context, DriverError};
use crate::store::Store;
use crate::toolchain;
use crate::toolchain::c::CRequest;
use crate::toolchain::model::{CToolchain, RustToolchain};
use crate::toolchain::rustup::RustRequest;

/// The Rust toolchain for the directory `root`, with what it says of `targets`.
pub fn rust_toolchain(
    context: &Context,
    store: &Store,
    root: &Path,
    targets: &[String],
) -> Result<RustToolchain, DriverError> {
    let request = RustRequest {
        env: context
            .variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        cwd: root.to_owned(),
        toolchain_override: context.toolchain.clone(),
        rustc: configured::rustc(context)?,
        allow_toolchain_path: false,
    };
    let choice = toolchain::rustup::choose(&request)?;
    // The host's platform is there in any case, whatever name it is asked for by.
    let triples: Vec<String> = targets
        .iter()
        .filter(|triple| *triple != "host-tuple")
        .cloned()
        .collect();
    let mut rust = toolchain::rust::load(store, &choice, &triples)?;
    configured::probe_with_flags(context, store, &mut rust, targets)?;
    Ok(rust)
}

/// The C toolchain of the machine.
pub fn c_toolchain(store: &Store, rust: &RustToolchain) -> Result<CToolchain, DriverError> {
    Ok(toolchain::c::discover(&CRequest {
        store,
        compiler: None,
        search: &system_search(),
        rust,
    })?)
}

/// Where programs of the machine are looked for: never along the user's `PATH`.
pub(super) fn system_search() -> Vec<PathBuf> {
    toolchain::SYSTEM_SEARCH.iter().map(PathBuf::from).collect()
}
