//! The example workspace is one that plain cargo builds, with the lock that is there.

use std::path::Path;
use std::process::{Command, Output};

/// Runs `greet` through cargo, into a target directory of its own.
fn greet(target: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO"))
        .args(["run", "--locked", "--quiet", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/workspace/Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .arg("--")
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

#[test]
fn cargo_builds_and_runs_it() {
    let target = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (
            &["--check"][..],
            "fnv1a-32: C says 5de6c228, Rust says 5de6c228\n",
        ),
        (
            &["--json", "--occasion", "journey", "Ada"],
            "{\"language\":\"english\",\"name\":\"Ada\",\"wish\":\"Safe travels!\"}\n",
        ),
    ] {
        let output = greet(target.path(), arguments);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }
}
