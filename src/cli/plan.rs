//! `plan`.

use std::process::ExitCode;
use std::sync::Arc;

use crate::cli::args::{PlanArgs, PlanFormat, PlanMode};
use crate::cli::compile::{isolation, layout, message_format, request};
use crate::cli::report::FetchView;
use crate::cli::shell::Shell;
use crate::driver::planning::{self, PlanOptions, PolicyFrom};
use crate::driver::{Context, DriverError};
use crate::plan::{Tests, print};
use crate::policy::BuildMode;
use crate::store::Store;
use crate::unit::Intent;

/// `kiln plan`.
pub(super) fn plan(
    context: &Context,
    shell: &Shell,
    arguments: &PlanArgs,
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
    if arguments.format == PlanFormat::UnitGraph {
        let json = crate::unit::json::unit_graph_json(&lowered.units).map_err(|error| {
            DriverError::Request {
                message: format!("the unit graph has no JSON form: {error}"),
                help: Some("rename files whose names are not UTF-8".to_owned()),
            }
        })?;
        shell.line(&json);
        return Ok(ExitCode::SUCCESS);
    }
    let isolation = isolation(&arguments.build.hermetic)?;
    let options = PlanOptions {
        layout: layout(context, shell, isolation)?,
        rustc_json: format.rustc_json(),
        isolation,
        caps_lints: false,
        policy: PolicyFrom::Workspace,
        mode: if arguments.build.hermetic.hermetic {
            BuildMode::Hermetic
        } else {
            BuildMode::Development
        },
        tests: matches!(arguments.mode, PlanMode::Test | PlanMode::Bench).then(|| Tests {
            arguments: match arguments.mode {
                PlanMode::Bench => vec!["--bench".to_owned()],
                _ => Vec::new(),
            },
            color: "auto",
            ..Tests::default()
        }),
        clippy: None,
        private_items: false,
    };
    let planned = planning::plan_actions(context, &store, lowered, &request, &options, &mut view)?;
    let text = match arguments.format {
        PlanFormat::Dot => print::dot(&planned.graph),
        PlanFormat::Json | PlanFormat::UnitGraph => print::json(&planned.graph),
    };
    shell.line(text.trim_end());
    Ok(ExitCode::SUCCESS)
}
