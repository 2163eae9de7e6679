//! `explain`.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::cli::args::{BuildArgs, PlanMode};
use crate::cli::compile::{isolation, layout, message_format, request};
use crate::cli::report::FetchView;
use crate::cli::shell::Shell;
use crate::driver::explaining::{self, ExplainOptions};
use crate::driver::planning::{self, PlanOptions, PolicyFrom};
use crate::driver::{Context, DriverError};
use crate::message::text::harmless_line;
use crate::policy::BuildMode;
use crate::store::Store;
use crate::unit::Intent;

/// Flags of `explain`.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// The unit: `name`, `name@version`, `name@version (build script run)`
    #[arg(value_name = "UNIT")]
    pub unit: String,
    /// What is done with the targets
    #[arg(long, value_enum, value_name = "MODE", default_value = "build")]
    pub mode: PlanMode,
    /// The build that it is part of.
    #[command(flatten)]
    pub build: BuildArgs,
}

/// `kiln explain`.
pub(super) fn explain(
    context: &Context,
    shell: &Shell,
    arguments: &ExplainArgs,
) -> Result<ExitCode, DriverError> {
    let intent = match arguments.mode {
        PlanMode::Build => Intent::Build,
        PlanMode::Check => Intent::Check { test: false },
        PlanMode::Test => Intent::Test,
        PlanMode::Bench => Intent::Bench,
        PlanMode::Doc => Intent::Doc { dependencies: true },
    };
    let request = request(context, &arguments.build, intent)?;
    let format = message_format(&arguments.build.message_format)?;
    let store = Arc::new(Store::open(&context.home)?);
    let mut view = FetchView::new(shell);
    let lowered = planning::lower(context, &store, &request, &mut view)?;
    view.end();
    let isolation = isolation(&arguments.build.hermetic)?;
    let hermetic = arguments.build.hermetic.hermetic;
    let options = PlanOptions {
        layout: layout(context, shell, isolation)?,
        rustc_json: format.rustc_json(),
        isolation,
        caps_lints: false,
        policy: PolicyFrom::Workspace,
        mode: match hermetic {
            true => BuildMode::Hermetic,
            false => BuildMode::Development,
        },
        tests: None,
        clippy: None,
        private_items: false,
    };
    let planned = planning::plan_actions(context, &store, lowered, &request, &options, &mut view)?;
    let options = ExplainOptions {
        isolation,
        hermetic,
    };
    for (index, explained) in explaining::explain(&planned, &arguments.unit, options)?
        .into_iter()
        .enumerate()
    {
        if index > 0 {
            shell.line("");
        }
        shell.line(&harmless_line(&explained.label));
        for (heading, lines) in explained.sections {
            shell.line(&format!("  {heading}"));
            for line in lines {
                shell.line(&format!("    {}", harmless_line(&line)));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
