//! `clippy`: `check`, with clippy for the packages of the workspace.

use std::process::ExitCode;

use crate::cli::args::ClippyArgs;
use crate::cli::compile::{Compilation, request, unsupported};
use crate::cli::shell::Shell;
use crate::driver::{Context, DriverError};
use crate::unit::Intent;

/// `kiln clippy`.
pub(super) fn clippy(
    context: &Context,
    shell: &Shell,
    arguments: &ClippyArgs,
) -> Result<ExitCode, DriverError> {
    for (given, flag, help) in [
        (
            arguments.fix,
            "--fix",
            "kiln changes no sources; use `cargo clippy --fix`",
        ),
        (
            arguments.explain.is_some(),
            "--explain",
            "use `cargo clippy --explain LINT`, which builds nothing",
        ),
        (
            arguments.allow_dirty,
            "--allow-dirty",
            "it goes with `--fix`",
        ),
        (
            arguments.allow_staged,
            "--allow-staged",
            "it goes with `--fix`",
        ),
        (
            arguments.allow_no_vcs,
            "--allow-no-vcs",
            "it goes with `--fix`",
        ),
    ] {
        if given {
            return Err(unsupported(flag, help));
        }
    }
    let request = request(context, &arguments.build, Intent::Check { test: false })?;
    let mut compilation = Compilation::new(context, shell, &arguments.build, request)?;
    let mut flags = arguments.arguments.clone();
    if arguments.no_deps && !flags.iter().any(|flag| flag == "--no-deps") {
        flags.push("--no-deps".to_owned());
    }
    compilation.options.clippy = Some(flags);
    compilation.run_unless_repeated()?;
    Ok(ExitCode::SUCCESS)
}
