//! `update` and `generate-lockfile`.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::cli::report::FetchView;
use crate::cli::shell::{Shell, Verbosity};
use crate::driver::updating::{self, UpdateRequest};
use crate::driver::{Context, DriverError};
use crate::store::Store;

/// Flags of `update`.
#[derive(Debug, Clone, Default, Args)]
pub struct UpdateArgs {
    /// The packages to update (default: all)
    #[arg(value_name = "SPEC", group = "chosen")]
    pub specs: Vec<String>,
    /// The packages to update
    #[arg(short, long, value_name = "SPEC", hide = true, group = "chosen")]
    pub package: Vec<String>,
    /// Only say what would change
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Also what the packages depend on
    #[arg(long, alias = "aggressive", conflicts_with = "precise")]
    pub recursive: bool,
    /// The version (or commit) that the package is to have
    #[arg(long, value_name = "PRECISE", requires = "chosen")]
    pub precise: Option<String>,
    /// Only what changed in the members of the workspace
    #[arg(short, long)]
    pub workspace: bool,
    /// Ignore the `rust-version` of packages
    #[arg(long)]
    pub ignore_rust_version: bool,
    #[arg(short, long, hide = true)]
    breaking: bool,
}

/// Flags of `generate-lockfile`.
#[derive(Debug, Clone, Default, Args)]
pub struct GenerateLockfileArgs {
    /// Ignore the `rust-version` of packages
    #[arg(long)]
    pub ignore_rust_version: bool,
    #[arg(long, value_name = "TIME", hide = true)]
    publish_time: Option<String>,
}

/// `kiln update`.
pub(super) fn update(
    context: &Context,
    shell: &Shell,
    arguments: &UpdateArgs,
) -> Result<ExitCode, DriverError> {
    let refuse = |message: String, help: &str| {
        Err(DriverError::Request {
            message,
            help: Some(help.to_owned()),
        })
    };
    if arguments.breaking {
        return refuse(
            "`--breaking` is nightly-only in cargo and not supported".to_owned(),
            "change the requirement in `Cargo.toml`, then update",
        );
    }
    let specs = [&*arguments.specs, &*arguments.package].concat();
    if let Some(toolchain) = specs.iter().find_map(|spec| spec.strip_prefix('+')) {
        return refuse(
            format!("`+{toolchain}` is no package"),
            "put the toolchain in front: `kiln +TOOLCHAIN update`",
        );
    }
    let request = UpdateRequest {
        specs,
        precise: arguments.precise.clone(),
        recursive: arguments.recursive,
        workspace: arguments.workspace,
        dry_run: arguments.dry_run,
    };
    let store = Arc::new(Store::open(&context.home)?);
    let mut view = FetchView::new(shell);
    let updated = updating::update(context, &store, &request, &mut view)?;
    view.end();
    if let Some(locking) = &updated.locking {
        shell.status("Locking", locking);
    }
    let details = shell.verbosity() > Verbosity::Normal;
    for line in &updated.lines {
        if details || !line.is_detail {
            shell.status(line.verb, &line.text);
        }
    }
    if updated.locking.is_some() || !updated.lines.is_empty() {
        if details {
            shell.note("to see how you depend on a package, run `kiln tree --invert <dep>@<ver>`");
        } else if updated.behind > 0 {
            shell.note(&format!(
                "pass `--verbose` to see {} unchanged dependencies behind latest",
                updated.behind
            ));
        }
    }
    if updated.dry_run {
        shell.warning("not updating lockfile due to dry run");
    }
    Ok(ExitCode::SUCCESS)
}

/// `kiln generate-lockfile`.
pub(super) fn generate_lockfile(
    context: &Context,
    shell: &Shell,
    arguments: &GenerateLockfileArgs,
) -> Result<ExitCode, DriverError> {
    if arguments.publish_time.is_some() {
        return Err(DriverError::Request {
            message: "`--publish-time` is nightly-only in cargo and not supported".to_owned(),
            help: Some("leave it out".to_owned()),
        });
    }
    let store = Arc::new(Store::open(&context.home)?);
    let mut view = FetchView::new(shell);
    updating::generate(context, &store, &mut view)?;
    view.end();
    Ok(ExitCode::SUCCESS)
}
