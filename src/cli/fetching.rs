//! `fetch`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use crate::cli::args::FetchArgs;
use crate::cli::report::FetchView;
use crate::cli::shell::Shell;
use crate::driver::supply::packages;
use crate::driver::supply::registries::Registries;
use crate::driver::{Context, DriverError, resolution, toolchains};
use crate::package::PackageId;
use crate::store::Store;
use crate::unit::{self, BuildRequest, Intent, PackageSelection, Platforms};

/// `kiln fetch`: every package of the lock, or with `--target` those that the platforms need.
pub(super) fn fetch(
    context: &Context,
    shell: &Shell,
    arguments: &FetchArgs,
) -> Result<ExitCode, DriverError> {
    let store = Arc::new(Store::open(&context.home)?);
    let mut view = FetchView::new(shell);
    let workspace = resolution::load(context)?;
    for warning in &workspace.warnings {
        shell.warning(warning);
    }
    let rust = toolchains::rust_toolchain(context, &store, &workspace.root, &arguments.target)?;
    let mut registries = Registries::new(context, &store, &mut view)?;
    let resolved = resolution::resolve(context, workspace, &rust.version.release, &mut registries)?;
    let wanted: BTreeSet<PackageId> = if arguments.target.is_empty() {
        resolved.resolve.packages.keys().cloned().collect()
    } else {
        let mut request = BuildRequest::new(Intent::Test);
        request.packages = PackageSelection::Workspace(Vec::new());
        request.features.all_features = true;
        request.platforms.clone_from(&arguments.target);
        unit::accessible_packages(
            &resolved.workspace,
            &resolved.resolve,
            Platforms::of(&rust),
            &request,
        )?
    };
    packages::obtain(context, &store, &resolved, &wanted, &mut registries)?;
    drop(registries);
    view.end();
    Ok(ExitCode::SUCCESS)
}
