//! `run`: the same program, arguments, environment and status as under cargo; and flags that are refused by name.

use std::collections::BTreeMap;

use crate::support::{Run, Workspace, manifest};

/// Two programs, a dynamic library, a build script.
fn programs() -> Workspace {
    Workspace::new(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"app\", \"lib\", \"none\"]\nresolver = \"3\"\n",
        ),
        (
            "app/Cargo.toml",
            &manifest(
                "run-app",
                "default-run = \"shows\"\n[features]\nextra = []\n\
                 [dependencies]\nrun-lib = { path = \"../lib\" }\n\
                 [[bin]]\nname = \"with-extra\"\nrequired-features = [\"extra\"]",
            ),
        ),
        (
            "app/build.rs",
            "fn main() { println!(\"cargo::rustc-env=OF_SCRIPT=7\"); }\n",
        ),
        (
            "app/src/bin/shows.rs",
            r#"
fn main() {
    println!("{} {:?}", run_lib::answer(), std::env::args().skip(1).collect::<Vec<_>>());
    println!("{}", std::env::current_dir().unwrap().display());
    for (name, value) in std::env::vars() {
        if name.starts_with("CARGO_") && name != "CARGO_HOME" || name == "OF_SCRIPT" {
            println!("{name}={value}");
        }
    }
    println!("{}", std::env::var("OUT_DIR").is_ok());
}
"#,
        ),
        (
            "app/src/bin/ends.rs",
            "fn main() { std::process::exit(std::env::args().nth(1).unwrap().parse().unwrap()) }\n",
        ),
        ("app/src/bin/with-extra.rs", "fn main() {}\n"),
        (
            "app/examples/shown.rs",
            "fn main() { println!(\"an example\"); }\n",
        ),
        (
            "lib/Cargo.toml",
            &manifest("run-lib", "[lib]\ncrate-type = [\"dylib\"]"),
        ),
        ("lib/src/lib.rs", "pub fn answer() -> u32 { 42 }\n"),
        ("none/Cargo.toml", &manifest("run-none", "")),
        ("none/src/lib.rs", ""),
    ])
}

#[test]
fn programs_run_as_under_cargo() {
    let workspace = programs();
    for arguments in [
        &["run", "--", "one", "--two"][..],
        &["run", "-p", "run-app", "one", "--two"],
        &["run", "--bin", "ends", "7"],
        &["run", "--example", "shown"],
    ] {
        let kiln = workspace.kiln(arguments.iter().copied()).run();
        let cargo = workspace.cargo(arguments.iter().copied()).run();
        assert_eq!(kiln.code, cargo.code, "{kiln}\n{cargo}");
        assert_eq!(lines(&kiln), lines(&cargo), "{kiln}\n{cargo}");
    }
    // A signal is the program's own.
    workspace.write(
        "app/src/bin/ends.rs",
        "fn main() { std::process::abort() }\n",
    );
    let kiln = workspace.kiln(["run", "--bin", "ends"]).run();
    assert_eq!(kiln.signal, Some(6), "{kiln}");
}

fn lines(run: &Run) -> BTreeMap<&str, usize> {
    let mut lines = BTreeMap::new();
    for line in run.stdout.lines() {
        *lines.entry(line).or_default() += 1;
    }
    lines
}

#[test]
fn what_cannot_be_run_is_told() {
    let workspace = programs();
    for (arguments, expected) in [
        (
            &["run", "--bin", "ends", "--bin", "shows"][..],
            "at most one executable",
        ),
        (&["run", "-p", "run-none"], "a bin target must be available"),
        (
            &["run", "--bin", "with-extra"],
            "requires the features: `extra`",
        ),
        (&["run", "--bin", "end"], "no bin target named `end`"),
        (&["run", "--bin", "*"], "does not support the pattern `*`"),
    ] {
        workspace
            .kiln(arguments.iter().copied())
            .run()
            .refuses(&[expected]);
        let cargo = workspace.cargo(arguments.iter().copied()).run();
        assert_eq!(cargo.code, Some(101), "{cargo}");
    }
    workspace.write("app/Cargo.toml", &manifest("run-app", ""));
    workspace.write("app/src/bin/shows.rs", "fn main() {}\n");
    workspace.kiln(["run"]).run().refuses(&[
        "could not determine which binary to run",
        "ends, shows, with-extra",
    ]);
}

#[test]
fn flags_that_are_not_there_are_refused_by_name() {
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest("refused", "")),
        ("src/main.rs", "fn main() {}\n"),
    ]);
    for command in ["build", "check", "run"] {
        for flag in [
            "--unit-graph",
            "--timings",
            "--timings=html",
            "--future-incompat-report",
            "--artifact-dir=x",
            "-Zunstable-options",
            "--lockfile-path=x",
        ] {
            let name = flag.split('=').next().unwrap_or(flag);
            let name = if name.starts_with("-Z") {
                "-Z unstable-options"
            } else {
                name
            };
            let run = workspace.kiln([command, flag]).run();
            run.refuses(&[&format!("`{name}` is not supported")]);
        }
    }
}
