//! `policy suggest`: the smallest policy that the build passes with.

use std::process::ExitCode;

use clap::Args;

use crate::cli::args::BuildArgs;
use crate::cli::compile::{Compilation, interruption, jobs, request};
use crate::cli::report::FetchView;
use crate::cli::shell::Shell;
use crate::driver::policies;
use crate::driver::suggesting::{self, SuggestOptions};
use crate::driver::{Context, DriverError};
use crate::message::text::harmless_line;
use crate::unit::Intent;

/// Flags of `policy suggest`.
#[derive(Debug, Clone, Args)]
pub struct SuggestArgs {
    /// Add it to kiln.toml
    #[arg(long)]
    pub write: bool,
    /// The build.
    #[command(flatten)]
    pub build: BuildArgs,
}

pub(super) fn suggest(
    context: &Context,
    shell: &Shell,
    arguments: &SuggestArgs,
) -> Result<ExitCode, DriverError> {
    let request = request(context, &arguments.build, Intent::Build)?;
    let compilation = Compilation::new(context, shell, &arguments.build, request)?;
    let interrupted = interruption()?;
    let options = SuggestOptions {
        plan: &compilation.options,
        jobs: jobs(context, arguments.build.common.compile.work.jobs.as_deref())?,
        isolation: compilation.isolation,
        interrupted: &interrupted,
    };
    let mut view = FetchView::new(shell);
    let (store, request) = (&compilation.store, &compilation.request);
    let suggestion = suggesting::suggest(context, store, request, &options, &mut view)?;
    view.end();
    for line in &suggestion.impossible {
        shell.warning(&format!("not suggested: {}", harmless_line(line)));
    }
    for asked in &suggestion.asked {
        shell.line(&asked.section()?);
    }
    if arguments.write && !suggestion.asked.is_empty() {
        let changed = policies::grant(context, &suggestion.asked, false)?;
        shell.status("Granted", &format!("in `{}`", changed.path.display()));
    }
    if suggestion.failures.is_empty() {
        if suggestion.asked.is_empty() {
            shell.status("Unchanged", "the build passes with the policy as it is");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let failures: Vec<String> = suggestion
        .failures
        .iter()
        .map(|failure| format!("\n  {}", harmless_line(failure)))
        .collect();
    Err(DriverError::Request {
        message: format!(
            "no policy was found that the build passes with; these still fail:{}",
            failures.concat()
        ),
        help: Some(
            "`kiln build --keep-going` shows all of what they print; not every failure is for want of a grant"
                .to_owned(),
        ),
    })
}
