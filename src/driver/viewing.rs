//! From the user's directory to a resolved workspace with the manifests that a command shows; nothing is built.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::driver::resolution::{self, Resolved};
use crate::driver::supply::packages;
use crate::driver::supply::registries::Registries;
use crate::driver::toolchains;
use crate::driver::{Context, DriverError, Reporter};
use crate::manifest::model::Package;
use crate::package::PackageId;
use crate::resolve::Resolve;
use crate::store::Store;
use crate::toolchain::model::RustToolchain;
use crate::unit::{self, BuildRequest, Platforms};

/// A resolved workspace, and what of it a request reaches.
#[derive(Debug)]
pub struct Viewed {
    /// The workspace and its lock.
    pub resolved: Resolved,
    /// What of the lock the request reaches.
    pub narrowed: Resolve,
    /// The manifests of what is reached on the platforms that count, and of the workspace's own packages.
    pub packages: BTreeMap<PackageId, Arc<Package>>,
    /// The Rust toolchain.
    pub rust: RustToolchain,
}

/// Resolves the user's workspace and reads the manifests that `request` reaches: on the platforms that it names, or on
/// all (`everywhere`).
///
/// # Errors
/// If any stage fails.
pub fn view(
    context: &Context,
    store: &Arc<Store>,
    request: &BuildRequest,
    everywhere: bool,
    reporter: &mut dyn Reporter,
) -> Result<Viewed, DriverError> {
    let workspace = resolution::load(context)?;
    for warning in &workspace.warnings {
        reporter.warning(warning);
    }
    let rust = toolchains::rust_toolchain(context, store, &workspace.root, &request.platforms)?;
    let mut registries = Registries::new(context, store, reporter)?;
    let resolved = resolution::resolve(context, workspace, &rust.version.release, &mut registries)?;
    let platforms = Platforms::of(&rust);
    let narrowed = unit::narrowed(&resolved.workspace, &resolved.resolve, platforms, request)?;
    let wanted = if everywhere {
        unit::all_packages(&narrowed)
    } else {
        unit::accessible_packages(&resolved.workspace, &resolved.resolve, platforms, request)?
    };
    let packages = packages::obtain(context, store, &resolved, &wanted, &mut registries)?;
    Ok(Viewed {
        resolved,
        narrowed,
        packages: packages.packages,
        rust,
    })
}
