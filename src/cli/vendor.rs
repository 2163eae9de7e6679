//! `vendor`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crate::cli::report::FetchView;
use crate::cli::shell::{Shell, Verbosity};
use crate::driver::vendoring::{self, VendorOptions};
use crate::driver::{Context, DriverError};
use crate::store::Store;

/// Flags of `vendor`.
#[derive(Debug, Clone, clap::Args)]
pub struct VendorArgs {
    /// Where to vendor to
    #[arg(default_value = "vendor")]
    pub path: PathBuf,
    /// Also what other workspaces need, by their Cargo.toml
    #[arg(short, long, value_name = "TOML")]
    pub sync: Vec<PathBuf>,
    /// Leave what is in the directory and belongs to no package
    #[arg(long)]
    pub no_delete: bool,
    /// Put the version into the name of every directory
    #[arg(long)]
    pub versioned_dirs: bool,
    /// Vendor from what takes the sources' place, if configuration says so
    #[arg(long)]
    pub respect_source_config: bool,
}

/// `kiln vendor`: the sources of every package of the lock in a directory.
pub(super) fn vendor(
    context: &Context,
    shell: &Shell,
    arguments: &VendorArgs,
) -> Result<ExitCode, DriverError> {
    let store = Arc::new(Store::open(&context.home)?);
    let mut view = FetchView::new(shell);
    let options = VendorOptions {
        directory: arguments.path.clone(),
        no_delete: arguments.no_delete,
        versioned_dirs: arguments.versioned_dirs,
        sync: arguments.sync.clone(),
        respect_source_config: arguments.respect_source_config,
    };
    let config = vendoring::vendor(context, &store, &options, &mut view)?;
    view.end();
    if shell.verbosity() > Verbosity::Quiet {
        if config.is_empty() {
            shell.rendered("There is no dependency to vendor in this project.");
        } else {
            shell.rendered(
                "To use vendored sources, add this to your .cargo/config.toml for this project:\n",
            );
            let toml = config.to_toml();
            shell.line(toml.strip_suffix('\n').unwrap_or(&toml));
        }
    }
    Ok(ExitCode::SUCCESS)
}
