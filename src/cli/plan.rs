//! `plan`.

use std::process::ExitCode;
use std::sync::Arc;

use crate::cli::args::{PlanArgs, PlanFormat, PlanMode};
use crate::cli::compile::{Compilation, lower, request};
use crate::cli::shell::Shell;
use crate::driver::{Context, DriverError};
use crate::plan::{Tests, print};
use crate::store::Store;

/// `kiln plan`.
pub(super) fn plan(
    context: &Context,
    shell: &Shell,
    arguments: &PlanArgs,
) -> Result<ExitCode, DriverError> {
    let request = request(context, &arguments.build, arguments.mode.intent())?;
    if arguments.format == PlanFormat::UnitGraph {
        // It says nothing of sandboxes, and takes none.
        let store = Arc::new(Store::open(&context.home)?);
        let lowered = lower(context, shell, &store, &request)?;
        let json = crate::unit::json::unit_graph_json(&lowered.units).map_err(|error| {
            DriverError::Request {
                message: format!("the unit graph has no JSON form: {error}"),
                help: Some("rename files whose names are not UTF-8".to_owned()),
            }
        })?;
        shell.line(&json);
        return Ok(ExitCode::SUCCESS);
    }
    let mut compilation = Compilation::new(context, shell, &arguments.build, request)?;
    if matches!(arguments.mode, PlanMode::Test | PlanMode::Bench) {
        compilation.options.tests = Some(Tests {
            arguments: match arguments.mode {
                PlanMode::Bench => vec!["--bench".to_owned()],
                _ => Vec::new(),
            },
            color: "auto",
            ..Tests::default()
        });
    }
    let planned = compilation.plan(compilation.lower()?)?;
    let text = match arguments.format {
        PlanFormat::Dot => print::dot(&planned.graph),
        PlanFormat::Json | PlanFormat::UnitGraph => print::json(&planned.graph),
    };
    shell.line(text.trim_end());
    Ok(ExitCode::SUCCESS)
}
