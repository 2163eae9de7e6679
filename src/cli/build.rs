//! `build` and `check`.

use std::process::ExitCode;

use crate::cli::args::BuildArgs;
use crate::cli::compile::{Compilation, request};
use crate::cli::shell::Shell;
use crate::driver::{Context, DriverError};
use crate::unit::Intent;

/// `kiln build` and `kiln check`.
pub(super) fn build(
    context: &Context,
    shell: &Shell,
    arguments: &BuildArgs,
    check: bool,
) -> Result<ExitCode, DriverError> {
    let intent = if check {
        Intent::Check { test: false }
    } else {
        Intent::Build
    };
    let request = request(context, arguments, intent)?;
    Compilation::new(context, shell, arguments, request)?.run_unless_repeated()?;
    Ok(ExitCode::SUCCESS)
}
