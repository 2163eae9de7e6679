//! `update` and `generate-lockfile` side by side with the installed cargo: the bytes of the lock, and the lines that
//! tell what changed. Needs the network; without it the test says so and ends.

use crate::skip::skip;
use crate::support::{Run, Workspace};

/// The lines about the lock.
fn told(run: &Run) -> Vec<String> {
    let words = [
        "Locking",
        "Adding",
        "Removing",
        "Updating",
        "Downgrading",
        "Unchanged",
    ];
    run.stderr
        .lines()
        .filter(|line| {
            line.starts_with("note: pass")
                || words.iter().any(|word| {
                    line.trim_start()
                        .strip_prefix(word)
                        .is_some_and(|rest| rest.starts_with(' ') && !rest.contains("index"))
                })
        })
        .map(str::to_owned)
        .collect()
}

const OLD: &str = "serde = \"=1.0.150\"\nserde_json = \"=1.0.80\"\nregex = \"=1.7.0\"\nhome = \"0.5\"\nrand = \"0.7\"\n\
    hashbrown = \"=0.14.0\"\n";
const OPEN: &str = "serde = \"1\"\nserde_json = \"1\"\nregex = \"1\"\nhome = \"0.5\"\nrand = \"0.7\"\nhashbrown = \"0.14\"\n";

fn manifest(edition: &str, dependencies: &str) -> String {
    format!(
        "[package]\nname = \"locks\"\nversion = \"0.1.0\"\nedition = \"{edition}\"\n[dependencies]\n{dependencies}"
    )
}

/// Runs both, compares, and goes on from cargo's lock; false if there is no network.
fn step(cargos: &Workspace, ours: &Workspace, command: &str) -> bool {
    compare(cargos, ours, command, true)
}

/// The same; with `words`, what is told as well.
fn compare(cargos: &Workspace, ours: &Workspace, command: &str, words: bool) -> bool {
    let arguments = || command.split_whitespace();
    let theirs = cargos.cargo(arguments()).run();
    for sign in [
        "spurious network error",
        "resolve host",
        "download of config",
    ] {
        if theirs.code != Some(0) && theirs.stderr.contains(sign) {
            skip(&format!("cargo cannot reach its registry: {theirs}"));
            return false;
        }
    }
    let run = ours.kiln(arguments()).run();
    assert_eq!(run.code, theirs.code, "{run}\n{theirs}");
    if words && run.code == Some(0) {
        assert_eq!(told(&run), told(&theirs), "{command}");
    }
    assert_eq!(
        String::from_utf8(ours.read("Cargo.lock")).expect("UTF-8"),
        String::from_utf8(cargos.read("Cargo.lock")).expect("UTF-8"),
        "{command}"
    );
    true
}

#[test]
fn locks_change_as_cargo_changes_them() {
    for edition in ["2021", "2024"] {
        let old = manifest(edition, OLD);
        let open = manifest(edition, OPEN);
        let cargos = Workspace::new(&[("Cargo.toml", &old), ("src/lib.rs", "")]);
        let ours = cargos.copy();
        for command in ["generate-lockfile", "generate-lockfile --locked", "update"] {
            if !step(&cargos, &ours, command) {
                return;
            }
        }
        for workspace in [&cargos, &ours] {
            workspace.write("Cargo.toml", &open);
        }
        for command in [
            "update --dry-run",
            "update -w",
            "update serde --precise 1.0.160",
            "update -p regex --precise 1.8.4",
            "update regex --precise 1.6.0",
            "update serde_json --recursive --dry-run",
            "update serde_json --recursive",
            "update hashbrown -v",
            "update nothing",
            "update regex@1.6",
            "update regex serde --precise 1.8.0",
            "update serde regex --precise 1.0.170",
            "update --locked",
            "update --breaking",
            "update serde --precise no-version",
            "update serde --precise 1.99999.0",
            "update serde --precise",
            "update serde --recursive --precise 1.0.160",
            "update --precise 1.0.160",
            "update +nightly",
            "update -v",
            "update locks",
            "generate-lockfile --publish-time 2024-01-01T00:00:00Z",
        ] {
            step(&cargos, &ours, command);
        }
        // Comments at the top stay; what is broken is made anew.
        let commented = String::from_utf8(cargos.read("Cargo.lock")).expect("UTF-8");
        for text in [
            format!(
                "# mine\n{}",
                commented.replace("version = 4", "version = 3")
            ),
            "broken".to_owned(),
        ] {
            for workspace in [&cargos, &ours] {
                workspace.write("Cargo.lock", &text);
            }
            step(&cargos, &ours, "update");
            step(&cargos, &ours, "generate-lockfile --ignore-rust-version");
        }
    }
}

#[test]
fn replaced_packages_are_locked_and_built_as_under_cargo() {
    let manifest = |log: &str, rest: &str| {
        format!(
            "[package]\nname = \"replaces\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nlog = \"{log}\"\n\
             itoa = \"1\"\n{rest}"
        )
    };
    let replace = "[replace]\n\"log:0.4.20\" = { path = \"local\" }\n\
        \"itoa@0.1.0\" = { path = \"other\" }\n";
    let package = |name: &str, version: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n")
    };
    let cargos = Workspace::new(&[
        ("Cargo.toml", &manifest("=0.4.20", replace)),
        ("src/lib.rs", ""),
        (
            "local/Cargo.toml",
            &format!(
                "{}[dependencies]\ncfg-if = \"1\"\n",
                package("log", "0.4.20")
            ),
        ),
        ("local/src/lib.rs", ""),
        ("other/Cargo.toml", &package("itoa", "0.1.0")),
        ("other/src/lib.rs", ""),
    ]);
    let ours = cargos.copy();
    if !compare(&cargos, &ours, "generate-lockfile", false) {
        return;
    }
    let lock = String::from_utf8(ours.read("Cargo.lock")).expect("UTF-8");
    assert!(lock.contains("replace = \"log 0.4.20\""), "{lock}");
    // The same but for where the workspaces and the sources are.
    let graph = |run: &Run, workspace: &Workspace| -> serde_json::Value {
        let root = workspace.root().to_string_lossy().into_owned();
        let text = run.stdout.replace(&root, "/workspace");
        let mut graph: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        for unit in graph["units"].as_array_mut().expect("units") {
            unit["target"]["src_path"] = serde_json::Value::Null;
        }
        graph
    };
    let theirs = cargos
        .cargo(["build", "-Zunstable-options", "--unit-graph", "--locked"])
        .env("RUSTC_BOOTSTRAP", "1")
        .ok();
    let mine = ours
        .kiln(["plan", "--format", "unit-graph", "--locked"])
        .ok();
    assert_eq!(graph(&mine, &ours), graph(&theirs, &cargos));
    ours.kiln(["check", "--locked"]).ok();
    // What is replaced stays where it was, and comes back when nothing replaces it.
    for (log, rest, command) in [
        ("0.4", replace, "update -w"),
        ("0.4", "", "update -w"),
        ("0.4", replace, "update -w"),
        ("0.4", replace, "update"),
        ("=0.4.20", replace, "update -w"),
        ("=0.4.20", "", "update"),
    ] {
        for workspace in [&cargos, &ours] {
            workspace.write("Cargo.toml", &manifest(log, rest));
        }
        compare(&cargos, &ours, command, false);
    }
}
