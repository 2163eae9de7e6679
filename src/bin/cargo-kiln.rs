//! `cargo kiln …`: the same program under the name that cargo looks for.

fn main() -> std::process::ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    // Cargo passes the name of the subcommand on.
    if arguments.get(1).is_some_and(|argument| argument == "kiln") {
        arguments.remove(1);
    }
    kiln::cli::main(arguments)
}
