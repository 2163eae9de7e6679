//! The `kiln` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments
        .next()
        .is_some_and(|first| first == "unpack-worker")
    {
        return kiln::source::run_worker(arguments, kiln::source::confine_to);
    }
    ExitCode::SUCCESS
}
