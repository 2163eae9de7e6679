//! Denials explain themselves: what is told of an action that failed for want of something, and that it is true.

use crate::support::{Kiln, Workspace, manifest};

/// A workspace with one package, its build script being `body`.
fn package(name: &str, body: &str) -> Workspace {
    Workspace::new(&[
        ("Cargo.toml", &manifest(name, "")),
        ("src/main.rs", "fn main() {}\n"),
        ("build.rs", &format!("fn main() {{\n{body}\n}}\n")),
    ])
}

const TRIED: &str = "kiln has tried this: with it the action that failed passes";

/// Builds, expecting it to fail; what is said.
fn fails(kiln: Kiln) -> String {
    let run = kiln.run();
    assert_eq!(run.code, Some(101), "{run}");
    run.stderr
}

/// The command that is proposed, without `kiln`.
fn proposed(said: &str) -> Vec<String> {
    let line = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("to grant it: kiln "))
        .unwrap_or_else(|| panic!("no command in {said}"));
    line.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_program_that_was_denied_is_named_and_the_grant_makes_it_pass() {
    // The first one is looked for and gone on without: it is no part of the advice.
    let workspace = package(
        "denied-program",
        "let _ = std::process::Command::new(\"tac\").status();\n\
         let sorted = std::process::Command::new(\"sort\").arg(\"Cargo.toml\").output().expect(\"it was there\");\n\
         assert!(sorted.status.success());",
    );
    let said = fails(workspace.kiln(["build"]));
    assert!(
        said.contains("`denied-program v0.1.0")
            && said.contains("wanted to run the program `sort`"),
        "{said}"
    );
    assert!(
        said.contains(TRIED) && !said.contains("program `tac`"),
        "{said}"
    );
    let command = proposed(&said);
    assert_eq!(command.join(" "), "policy grant denied-program --exec sort");
    workspace.kiln(command.iter().map(String::as_str)).ok();
    workspace.kiln(["build"]).ok();
}

#[test]
fn several_denials_one_after_the_other_are_found_at_once() {
    let workspace = package(
        "denied-several",
        "std::fs::write(\"src/made.rs\", \"\").unwrap();\n\
         assert!(std::process::Command::new(\"sort\").arg(\"Cargo.toml\").output().unwrap().status.success());\n\
         assert_eq!(std::env::var(\"DENIED_SEVERAL\").expect(\"DENIED_SEVERAL is not set\"), \"yes\");",
    );
    let said = fails(workspace.kiln(["build"]).env("DENIED_SEVERAL", "yes"));
    assert!(
        said.contains("wanted to write to its own sources, at `src/made.rs`"),
        "{said}"
    );
    let command = proposed(&said);
    assert_eq!(
        command.join(" "),
        "policy grant denied-several --write --exec sort --env DENIED_SEVERAL"
    );
    workspace.kiln(command.iter().map(String::as_str)).ok();
    workspace.kiln(["build"]).env("DENIED_SEVERAL", "yes").ok();
}

#[test]
fn what_nothing_grants_gets_no_command() {
    let workspace = package(
        "denied-network",
        "std::net::TcpStream::connect(\"127.0.0.1:9\").unwrap();",
    );
    let said = fails(workspace.kiln(["build"]));
    assert!(said.contains("wanted to use the network"), "{said}");
    assert!(!said.contains("kiln policy grant"), "{said}");

    // It fails with the grant, too: then that is said, and the grant is not proposed.
    let workspace = package(
        "denied-hopeless",
        "let _ = std::process::Command::new(\"sort\").status().unwrap();\npanic!(\"always\");",
    );
    let said = fails(workspace.kiln(["build"]));
    assert!(said.contains("wanted to run the program `sort`"), "{said}");
    assert!(
        said.contains("still fails, so it takes something besides"),
        "{said}"
    );
    assert!(
        !said.contains("to grant it") && !said.contains(TRIED),
        "{said}"
    );

    let workspace = package("denied-secret", "std::fs::read(\"/etc/shadow\").unwrap();");
    let said = fails(workspace.kiln(["build"]));
    assert!(said.contains("wanted to read `/etc/shadow`"), "{said}");
    assert!(
        said.contains("no build needs a file from there") && !said.contains("to grant it"),
        "{said}"
    );

    // A failure of its own is not explained away.
    let workspace = package("denied-nothing", "panic!(\"its own\");");
    let said = fails(workspace.kiln(["build"]));
    assert!(
        said.contains("its own") && !said.contains("help:"),
        "{said}"
    );
}

#[test]
fn a_program_that_is_not_installed_is_told_as_such() {
    let workspace = package(
        "denied-absent",
        "std::process::Command::new(\"kiln-has-no-such-program\").status().unwrap();",
    );
    let said = fails(workspace.kiln(["build"]));
    assert!(
        said.contains("wanted to run the program `kiln-has-no-such-program`"),
        "{said}"
    );
    assert!(
        said.contains("this machine does not have it") && !said.contains("to grant it"),
        "{said}"
    );
}

/// A crate cannot make kiln propose what it likes: control characters and quotes in a name, and a link to a private file.
#[test]
fn names_from_an_action_are_harmless() {
    let workspace = package(
        "denied-hostile",
        "let _ = std::fs::read(\"/usr/share/x'; rm -rf ~; echo '\\u{1b}[2J\");\n\
         let _ = std::process::Command::new(\"evil\\u{202e}name\").status();\n\
         let _ = std::process::Command::new(\"$(reboot)\").status();\n\
         panic!();",
    );
    let said = fails(workspace.kiln(["build"]));
    assert!(
        !said.contains('\u{1b}') && !said.contains('\u{202e}'),
        "{said}"
    );
    assert!(!said.contains("to grant it"), "{said}");
}

#[test]
fn both_isolations_explain() {
    let workspace = package(
        "denied-landlock",
        "assert!(std::process::Command::new(\"sort\").arg(\"Cargo.toml\").output().unwrap().status.success());",
    );
    let said = fails(workspace.kiln(["build", "--isolation", "landlock"]));
    assert!(
        said.contains("policy grant denied-landlock --exec sort"),
        "{said}"
    );
    assert!(said.contains(TRIED), "{said}");
}
