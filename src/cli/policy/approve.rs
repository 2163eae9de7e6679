//! `policy approve`: what may run while the workspace is built.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::cli::compile::configure;
use crate::cli::report::FetchView;
use crate::cli::shell::Shell;
use crate::driver::approving;
use crate::driver::{Context, DriverError};
use crate::message::text::harmless_line;
use crate::store::Store;
use crate::unit::{BuildRequest, Intent, PackageSelection};

/// Flags of `policy approve`.
#[derive(Debug, Clone, Args)]
pub struct ApproveArgs {
    /// The packages, as the lock names them: `cc`, `cc@1.2.30` (default: all that run code in a build)
    #[arg(value_name = "CRATE[@VERSION]")]
    pub crates: Vec<String>,
    /// Build for this target triple
    #[arg(long, value_name = "TRIPLE")]
    pub target: Vec<String>,
    /// Only say what would be approved
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

pub(super) fn approve(
    context: &Context,
    shell: &Shell,
    arguments: &ApproveArgs,
) -> Result<ExitCode, DriverError> {
    let mut request = BuildRequest::new(Intent::Test);
    request.packages = PackageSelection::Workspace(Vec::new());
    request.features.all_features = true;
    request.platforms.clone_from(&arguments.target);
    configure(context, &mut request);
    let store = Arc::new(Store::open(&context.home)?);
    let mut view = FetchView::new(shell);
    let (named, dry_run) = (&arguments.crates, arguments.dry_run);
    let approved = approving::approve(context, &store, &request, named, dry_run, &mut view)?;
    view.end();
    for package in &approved.packages {
        let verb = if dry_run { "Unapproved" } else { "Approved" };
        shell.status(verb, &harmless_line(&package.to_string()));
    }
    if approved.packages.is_empty() {
        let path = approved.path.display();
        shell.status("Unchanged", &format!("nothing is missing in `{path}`"));
    }
    Ok(ExitCode::SUCCESS)
}
