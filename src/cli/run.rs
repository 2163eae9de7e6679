//! `run`: builds a program in the sandbox and becomes it, outside of any.
//!
//! The program is the user's own, and was asked for: it has the user's terminal, environment and working directory, as
//! under cargo. kiln is replaced by it, so that signals and the exit status are its own.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::args::RunArgs;
use crate::cli::compile::{Compilation, request};
use crate::cli::shell::Shell;
use crate::driver::building::programs;
use crate::driver::{Context, DriverError, resolution};
use crate::unit::{Intent, choose_program};

/// `kiln run`.
pub(super) fn run(
    context: &Context,
    shell: &Shell,
    arguments: &RunArgs,
) -> Result<ExitCode, DriverError> {
    let build = arguments.to_build();
    let mut request = request(context, &build, Intent::Build)?;
    choose_program(&resolution::load(context)?, &mut request)?;
    let compiled = Compilation::new(context, shell, &build, request)?.run()?;
    let program = programs::program(
        context,
        &compiled.planned,
        &compiled.built,
        &compiled.destination,
    )?;
    let path = shown(&program.path, &context.directory);
    let mut words: Vec<String> = program.runner.iter().map(|word| quoted(word)).collect();
    words.push(quoted(&path.to_string_lossy()));
    words.extend(
        arguments
            .arguments
            .iter()
            .map(|argument| quoted(&argument.to_string_lossy())),
    );
    shell.status("Running", &format!("`{}`", words.join(" ")));
    shell.clear_progress();
    // Returns only if it cannot be done.
    Err(program.replace_this(&path, &arguments.arguments, &context.directory))
}

/// `path` as it is reached from `directory`.
pub(super) fn shown(path: &Path, directory: &Path) -> std::path::PathBuf {
    match path.strip_prefix(directory) {
        Ok(relative) if relative.components().count() == 1 => Path::new(".").join(relative),
        Ok(relative) => relative.to_owned(),
        Err(_) => path.to_owned(),
    }
}

/// `word` as one would type it.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=/,.+:@%^".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
