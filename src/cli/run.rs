//! `run`: builds a program in the sandbox and becomes it, outside of any.
//!
//! The program is the user's own, and was asked for: it has the user's terminal, environment and working directory, as
//! under cargo. kiln is replaced by it, so that signals and the exit status are its own.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::args::RunArgs;
use crate::cli::compile::{Compilation, request};
use crate::cli::shell::Shell;
use crate::driver::building::programs;
use crate::driver::building::repetition::Remembered;
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
    let compilation = Compilation::new(context, shell, &build, request)?;
    let words = words_of_build(&context.arguments, &arguments.arguments);
    let program = compilation.run_or_recall(words, |compiled| {
        let program = programs::program(
            context,
            &compiled.planned,
            &compiled.built,
            &compiled.destination,
        )?;
        Ok(Remembered {
            files: program.libraries.clone(),
            present: program.directories.clone(),
            outcome: program,
        })
    })?;
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

/// The words of a command line without those for the program, where it is plain which these are: an alias may bring
/// some along.
fn words_of_build<'a>(given: &'a [String], for_program: &[OsString]) -> &'a [String] {
    let start = given.len().saturating_sub(for_program.len());
    let (words, rest) = given.split_at(start);
    let is_rest = rest.len() == for_program.len()
        && rest
            .iter()
            .zip(for_program)
            .all(|(word, argument)| *word == argument.to_string_lossy());
    if is_rest && words.iter().any(|word| word == "run" || word == "r") {
        words
    } else {
        given
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_the_program_says_nothing_of_the_build() {
        let words = |given: &str, for_program: &str| {
            let given: Vec<String> = given.split(' ').map(str::to_owned).collect();
            let for_program: Vec<OsString> = for_program
                .split_terminator(' ')
                .map(OsString::from)
                .collect();
            words_of_build(&given, &for_program).join(" ")
        };
        assert_eq!(words("run --release -- a b", "a b"), "run --release --");
        assert_eq!(words("run", ""), "run");
        assert_eq!(words("r x", "x"), "r");
        // An alias, which brings some of the arguments along, or all.
        assert_eq!(words("q x", "y x"), "q x");
        assert_eq!(words("q", "q"), "q");
        assert_eq!(words("q run", "run"), "q run");
    }
}
