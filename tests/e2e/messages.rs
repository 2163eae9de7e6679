//! What is said while building, to people and to programs.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Workspace, directory, manifest};

#[test]
fn warnings_name_their_crate_and_stay() {
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            &manifest("warned", "[dependencies]\nwarned-lib = { path = \"lib\" }"),
        ),
        (
            "build.rs",
            "fn main() { println!(\"cargo::warning=the script is worried\"); }\n",
        ),
        (
            "src/main.rs",
            "fn main() { let unused = warned_lib::ONE; }\n",
        ),
        ("lib/Cargo.toml", &manifest("warned-lib", "")),
        (
            "lib/src/lib.rs",
            "pub const ONE: u32 = 1;\nfn nobody() {}\n",
        ),
    ]);
    // The second time all of it comes from the store.
    for _ in 0..2 {
        let run = workspace.kiln(["build"]).ok();
        let root = workspace.root();
        run.says(&[
            "warning: unused variable: `unused`",
            "--> src/main.rs:1:17",
            "warning: function `nobody` is never used",
            "--> lib/src/lib.rs:2:4",
            "warning: `warned` (bin \"warned\") generated 1 warning",
            "warning: `warned-lib` (lib) generated 1 warning",
            "warning: warned@0.1.0: the script is worried",
        ]);
        assert!(!run.stderr.contains("/kiln/"), "{run}");
        assert!(
            !run.stderr.contains(&format!("--> {}", root.display())),
            "{run}"
        );
    }
}

#[test]
fn nothing_that_is_built_steers_the_terminal() {
    let bad = |text: &str| {
        text.chars()
            .any(|c| c.is_control() && c != '\n' && c != '\t')
    };
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest("harmless", "")),
        (
            "build.rs",
            "fn main() { println!(\"cargo::warning=before\\x1b]0;title\\x07\\u{9b}31m\\rafter\"); }\n",
        ),
        (
            "src/main.rs",
            "#[must_use = \"red \\x1b[31m bell \\x07 and \\u{9b}2J\"]\nstruct Must;\nfn make() -> Must { Must }\nfn main() { make(); }\n",
        ),
    ]);
    for _ in 0..2 {
        let run = workspace.kiln(["build"]).ok();
        run.says(&["warning: harmless@0.1.0: before", "after", "unused `Must`"]);
        assert!(!bad(&run.stderr), "{:?}", run.stderr);
    }
    workspace.write(
        "build.rs",
        "fn main() { println!(\"out \\x1b[2J\"); eprintln!(\"err \\x1b]8;;x\\x07\"); std::process::exit(3); }\n",
    );
    let run = workspace.kiln(["build"]).run();
    assert_eq!(run.code, Some(101), "{run}");
    run.says(&[
        "the build script of `harmless v0.1.0",
        "--- stdout",
        "--- stderr",
        "err ",
    ]);
    assert!(!bad(&run.stderr), "{:?}", run.stderr);
    workspace.write("build.rs", "fn main() {}\n");
    workspace.write(
        "src/main.rs",
        "fn main() { compile_error!(\"no \\x1b[31m\\x07\"); }\n",
    );
    let run = workspace.kiln(["build"]).run();
    assert_eq!(run.code, Some(101), "{run}");
    run.says(&["could not compile `harmless` (bin \"harmless\") due to 1 previous error"]);
    assert!(!bad(&run.stderr), "{:?}", run.stderr);
}

#[test]
fn the_others_go_on() {
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"a\", \"b\", \"c\"]\n",
        ),
        ("a/Cargo.toml", &manifest("goes-a", "")),
        ("a/src/lib.rs", "pub fn broken( {}\n"),
        ("b/Cargo.toml", &manifest("goes-b", "")),
        ("b/src/main.rs", "fn main() { println!(\"b\"); }\n"),
        (
            "c/Cargo.toml",
            &manifest("goes-c", "[dependencies]\ngoes-a = { path = \"../a\" }"),
        ),
        ("c/src/main.rs", "fn main() {}\n"),
    ]);
    let run = workspace.kiln(["build", "--keep-going", "-j1"]).run();
    assert_eq!(run.code, Some(101), "{run}");
    run.says(&["could not compile `goes-a` (lib)"]);
    assert_eq!(workspace.run("target/kiln/debug/goes-b"), "b\n");
    assert!(!workspace.root().join("target/kiln/debug/goes-c").exists());
}

/// The JSON lines of a run, without what has to differ: directories and hashes. By reason, package and target.
fn lines(text: &str) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let mut value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let parts = [
            &value["reason"],
            &value["package_id"],
            &value["target"]["name"],
            &value["target"]["kind"],
            &value["profile"]["test"],
            &value["message"]["message"],
        ];
        let key = parts.map(Value::to_string).join(" ");
        if let Some(names) = value.get_mut("filenames").and_then(Value::as_array_mut) {
            // cargo also names the metadata of a library, which is no artifact of kiln's.
            names.iter_mut().for_each(|name| *name = base(name));
            names.retain(|name| !name.as_str().is_some_and(|name| name.ends_with(".rmeta")));
        }
        if let Some(executable) = value.get_mut("executable") {
            *executable = base(executable);
        }
        if let Some(directory) = value.get_mut("out_dir") {
            let there = directory
                .as_str()
                .is_some_and(|path| std::path::Path::new(path).is_dir());
            *directory = Value::from(there);
        }
        // A program and its tests may both be warned about.
        let times = (1..)
            .find(|times| !found.contains_key(&format!("{key} {times}")))
            .expect("endless");
        found.insert(format!("{key} {times}"), value);
    }
    found
}

/// The last part of a path, without cargo's hash. A build script is `build-script-build` to cargo, which links it to
/// another name when it is compiled, and `build_script_build` to rustc.
fn base(path: &Value) -> Value {
    let Some(path) = path.as_str() else {
        return path.clone();
    };
    let name = path.rsplit('/').next().unwrap_or_default();
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let stem = match stem.rsplit_once('-') {
        Some((stem, hash)) if hash.len() == 16 => stem,
        _ => stem,
    };
    Value::from(format!("{}.{extension}", stem.replace('_', "-")))
}

#[test]
fn programs_read_what_cargo_writes() {
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            &manifest(
                "lines",
                "[features]\ndefault = [\"one\"]\none = []\n[dependencies]\nlines-lib = { path = \"lib\" }\nlines-macro = { path = \"macro\" }",
            ),
        ),
        (
            "src/main.rs",
            "use lines_macro as _;\nfn main() { let unused = lines_lib::ONE; }\n",
        ),
        (
            "lib/Cargo.toml",
            &manifest("lines-lib", "[lib]\ndoctest = false"),
        ),
        (
            "lib/build.rs",
            "fn main() {\n    println!(\"cargo::rustc-check-cfg=cfg(x)\");\n    println!(\"cargo::rustc-cfg=x\");\n    println!(\"cargo::rustc-env=A=b\");\n}\n",
        ),
        (
            "lib/src/lib.rs",
            "pub const ONE: u32 = 1;\nfn nobody() {}\n",
        ),
        (
            "macro/Cargo.toml",
            &manifest("lines-macro", "[lib]\nproc-macro = true"),
        ),
        (
            "macro/src/lib.rs",
            "#[proc_macro]\npub fn nothing(_: proc_macro::TokenStream) -> proc_macro::TokenStream { Default::default() }\n",
        ),
    ]);
    let target = directory();
    for arguments in [
        &["build", "--message-format", "json"][..],
        &["build", "--message-format", "json", "--release"],
        &["check", "--message-format=json", "--all-targets"],
    ] {
        let cargo = workspace
            .cargo(arguments.iter().copied())
            .env("CARGO_TARGET_DIR", target.path().join("target"))
            .env("CARGO_HOME", target.path().join("cargo"))
            .ok();
        let kiln = workspace.kiln(arguments.iter().copied()).ok();
        let (cargo, kiln) = (lines(&cargo.stdout), lines(&kiln.stdout));
        let keys = |lines: &BTreeMap<String, Value>| lines.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&cargo), keys(&kiln), "{arguments:?}");
        for (key, line) in &cargo {
            assert_eq!(
                serde_json::to_string_pretty(line).expect("JSON"),
                serde_json::to_string_pretty(&kiln[key]).expect("JSON"),
                "{arguments:?}: {key}"
            );
        }
    }
    // What was built before is fresh; what fails says so.
    let again = workspace.kiln(["build", "--message-format", "json"]).ok();
    for line in lines(&again.stdout).values() {
        assert_ne!(line["fresh"], Value::from(false), "{line}");
    }
    workspace.write("src/main.rs", "fn main() { nowhere(); }\n");
    let failed = workspace.kiln(["build", "--message-format", "json"]).run();
    assert_eq!(failed.code, Some(101), "{failed}");
    let found = lines(&failed.stdout);
    let finished = &found["\"build-finished\" null null null null null 1"];
    assert_eq!(finished["success"], Value::from(false));
}
