//! `explain`.

use std::process::ExitCode;

use clap::Args;

use crate::cli::args::{BuildArgs, PlanMode};
use crate::cli::compile::{Compilation, request};
use crate::cli::shell::Shell;
use crate::driver::explaining::{self, ExplainOptions};
use crate::driver::{Context, DriverError};
use crate::message::text::harmless_line;

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
    let request = request(context, &arguments.build, arguments.mode.intent())?;
    let compilation = Compilation::new(context, shell, &arguments.build, request)?;
    let planned = compilation.plan(compilation.lower()?)?;
    let options = ExplainOptions {
        isolation: compilation.options.isolation,
        hermetic: arguments.build.common.hermetic.hermetic,
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
