//! `policy suggest`: a policy that the build passes with, and no more than it takes.

use crate::support::{Workspace, manifest};

/// A program whose build script wants this, one thing after the other.
fn wanting(name: &str, script: &str) -> Workspace {
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest(name, "")),
        ("build.rs", script),
        ("src/main.rs", "fn main() {}\n"),
    ]);
    workspace.cargo(["generate-lockfile", "--offline"]).ok();
    workspace
}

const SED: &str = "let sed = std::process::Command::new(\"sed\").arg(\"--version\").output();\n\
    if sed.is_err() { eprintln!(\"could not find `sed`: not found\"); std::process::exit(1); }\n";

#[test]
fn what_is_missing_is_learnt_one_thing_after_the_other() {
    let name = "policy-suggests";
    let script = format!(
        "fn main() {{ {SED} if let Err(error) = std::fs::write(\"src/made.txt\", \"x\") {{ panic!(\"{{error}}\"); }} }}\n"
    );
    let workspace = wanting(name, &script);
    workspace.write("kiln.toml", "# mine\n");
    workspace.kiln(["build"]).run().refuses(&["sed"]);
    let suggested = workspace.kiln(["policy", "suggest"]).ok().stdout;
    assert_eq!(
        suggested.trim(),
        format!("[crate.{name}]\nexec = [\"sed\"]\nwrite = [\".\"]")
    );
    assert_eq!(workspace.read("kiln.toml"), b"# mine\n");
    assert!(!workspace.root().join("target/kiln/debug").exists());
    workspace.kiln(["policy", "suggest", "--write"]).ok();
    workspace.kiln(["build"]).ok();
    workspace
        .kiln(["policy", "suggest"])
        .ok()
        .says(&["passes with the policy as it is"]);
    let text = String::from_utf8(workspace.read("kiln.toml")).expect("UTF-8");
    assert!(text.contains("# mine"), "{text}");
}

#[test]
fn what_no_grant_helps_is_said() {
    let script = format!("fn main() {{ {SED} panic!(\"error trying to connect: dns error\"); }}\n");
    let workspace = wanting("policy-suggests-nothing", &script);
    let run = workspace.kiln(["policy", "suggest"]).run();
    run.refuses(&["no policy was found", "dns error"]);
}
