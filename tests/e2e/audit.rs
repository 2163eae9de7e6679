//! `--audit` and `kiln explain`: what actions used is recorded, compared with what was declared, and told.

use crate::support::{Workspace, manifest};

#[test]
fn what_actions_used_is_recorded_and_was_declared() {
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest("audited", "")),
        ("data.txt", "one"),
        (
            "src/main.rs",
            "fn main() { print!(\"{}\", include_str!(concat!(env!(\"OUT_DIR\"), \"/made\"))) }\n",
        ),
        (
            "build.rs",
            "fn main() {\n    let text = std::fs::read_to_string(\"data.txt\").unwrap();\n    \
             let out = std::env::var(\"OUT_DIR\").unwrap();\n    std::fs::write(format!(\"{out}/made\"), text).unwrap();\n    \
             assert!(std::process::Command::new(\"sort\").arg(\"data.txt\").status().unwrap().success());\n}\n",
        ),
        (
            "kiln.toml",
            "[crate.audited]\nreason = \"a test\"\nexec = [\"sort\", \"tac\"]\n",
        ),
    ]);
    let said = workspace.kiln(["build"]).ok();
    assert!(!said.stderr.contains("Audited"), "{said}");
    let unit = "audited@0.1.0 (build script run)";
    let told = workspace.kiln(["explain", unit]).ok().stdout;
    assert!(told.contains("not known: build with `--audit`"), "{told}");

    // What has no record runs again; what has one does not.
    for isolation in ["full", "landlock"] {
        let build = ["build", "--hermetic", "--audit", "--isolation", isolation];
        workspace.kiln(["build"]).ok();
        let run = workspace.kiln(build).ok();
        run.says(&["Audited 3 actions: nothing of what they used was not declared"]);
        assert_eq!(run.actions(), (3, 3));
        let run = workspace.kiln(build).ok();
        run.says(&["Audited 3 actions"]);
        assert_eq!(run.actions(), (0, 3));
        let flags = ["explain", unit, "--hermetic", "--isolation", isolation];
        let told = workspace.kiln(flags).ok().stdout;
        for text in [
            "audited 0.1.0 (run build script)",
            "key ",
            "its result is stored",
            "exec sort, exec tac (by kiln.toml [crate.audited]: a test)",
            "granted and never used\n    exec tac\n",
            "/usr/bin/sort",
        ] {
            assert!(told.contains(text), "`{text}` is missing in {told}");
        }
        assert!(!told.contains("used and not declared"), "{told}");
    }

    // What changed is told, and what was denied.
    workspace.write("data.txt", "two");
    workspace.kiln(["build", "--hermetic", "--audit"]).ok();
    let told = workspace.kiln(["explain", unit, "--hermetic"]).ok().stdout;
    assert!(
        told.contains("the input `/kiln/workspace` has changed"),
        "{told}"
    );
    workspace.write("kiln.toml", "");
    assert_eq!(workspace.kiln(["build"]).run().code, Some(101));
    let told = workspace.kiln(["explain", unit]).ok().stdout;
    assert!(told.contains("denied when it failed last"), "{told}");
    assert!(told.contains("wanted to run the program `sort`"), "{told}");
    let wrong = workspace.kiln(["explain", "nobody"]).run();
    wrong.refuses(&["no unit of this build is `nobody`"]);
}
