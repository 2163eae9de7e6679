//! Commands that cargo has and kiln has not: each is known by its name, so that the user learns what to do instead.

/// What to do instead of `kiln COMMAND`, if it is one of cargo's.
pub(super) fn instead(command: &str) -> Option<String> {
    let runs_nothing = "it runs no code of dependencies";
    let help = match command {
        "add" | "remove" | "rm" | "init" | "new" | "search" | "info" | "login" | "logout" | "owner"
        | "yank" | "uninstall" | "fmt" | "report" => {
            format!("use `cargo {command}`: {runs_nothing}")
        }
        "config" | "help" => format!("use `cargo {command}`"),
        "publish" => "make the archive with `kiln package`, which builds it in the sandbox, and upload that with \
             `cargo publish --no-verify`, which builds nothing"
            .to_owned(),
        "fix" => "kiln changes no sources; `cargo fix` and `cargo clippy --fix` do, but run build scripts and macros without \
             a sandbox"
            .to_owned(),
        "rustc" | "rustdoc" => format!(
            "set the flags as `RUSTFLAGS`, `RUSTDOCFLAGS` or in a profile, and use `kiln {}`",
            if command == "rustc" { "build" } else { "doc" }
        ),
        "nextest" => "use `kiln test`, which runs each test program in a sandbox of its own".to_owned(),
        "miri" | "fuzz" | "udeps" | "expand" => format!(
            "use `cargo {command}`; what it builds is built by cargo, without a sandbox"
        ),
        _ => return None,
    };
    Some(help)
}
