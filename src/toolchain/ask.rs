//! Asking a program of the toolchain: run it with no environment of the user's, and read what it prints.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::ToolchainError;

/// Where the programs that toolchains call are looked for, when nothing else is said.
pub const SYSTEM_SEARCH: [&str; 6] = [
    "/usr/local/bin",
    "/usr/bin",
    "/bin",
    "/usr/local/sbin",
    "/usr/sbin",
    "/sbin",
];

/// What a program printed.
pub(crate) struct Answer {
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
    /// Whether it exited with 0.
    pub(crate) success: bool,
}

impl Answer {
    /// Standard output without its trailing newline.
    pub(crate) fn line(&self) -> &str {
        self.stdout.trim_end_matches('\n')
    }
}

fn text(program: &Path, args: &[&OsStr]) -> String {
    let mut text = program.display().to_string();
    for arg in args {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}

/// Runs `program` with `args` in an empty environment (but for `PATH` and `LC_ALL=C`) and returns what it printed,
/// whether or not it failed.
pub(crate) fn ask_any<S: AsRef<OsStr>>(
    program: &Path,
    args: &[S],
) -> Result<Answer, ToolchainError> {
    let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
    let output = Command::new(program)
        .args(&args)
        .env_clear()
        .env("PATH", SYSTEM_SEARCH.join(":"))
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| ToolchainError::Probe {
            command: text(program, &args),
            why: format!("could not be run: {error}"),
        })?;
    Ok(Answer {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        success: output.status.success(),
    })
}

/// Like [`ask_any`]; a failure is an error that quotes what the program said.
pub(crate) fn ask<S: AsRef<OsStr>>(program: &Path, args: &[S]) -> Result<Answer, ToolchainError> {
    let answer = ask_any(program, args)?;
    if answer.success {
        return Ok(answer);
    }
    let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
    Err(ToolchainError::Probe {
        command: text(program, &args),
        why: format!("failed: {}", answer.stderr.trim()),
    })
}

/// An error that says that `program` answered something that is not understood.
pub(crate) fn odd_answer<S: AsRef<OsStr>>(
    program: &Path,
    args: &[S],
    why: impl Into<String>,
) -> ToolchainError {
    let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
    ToolchainError::Probe {
        command: text(program, &args),
        why: why.into(),
    }
}
