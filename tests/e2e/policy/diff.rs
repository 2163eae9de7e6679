//! `policy diff` on what is no attack, or a cruder one.

use super::registry::{Crate, Registry, json};

fn kinds(told: &serde_json::Value, name: &str) -> Vec<String> {
    let changes = told["changes"].as_array().expect("a list");
    let change = changes
        .iter()
        .find(|change| change["new"]["name"] == *name)
        .unwrap_or_else(|| panic!("{name}: {told}"));
    let findings = change["findings"].as_array().expect("a list");
    findings
        .iter()
        .map(|finding| finding["kind"].as_str().expect("a text").to_owned())
        .collect()
}

#[test]
fn what_an_update_changes_is_told_and_nothing_is_run() {
    let registry = Registry::new(&[
        Crate::new("grows", "1.0.0"),
        Crate::new("goes", "1.0.0"),
        Crate::new("stays", "1.0.0"),
    ]);
    let user = registry.workspace(
        "policy-diffs",
        &["grows", "goes", "stays"],
        "fn main() {}\n",
    );
    user.kiln(["generate-lockfile"]).ok();
    user.workspace.write("old.lock", &user.text("Cargo.lock"));
    let same = user
        .kiln(["policy", "diff", "old.lock", "--deny", "all"])
        .ok();
    assert!(same.stdout.contains("the same packages"), "{same}");
    same.says(&["maintainers"]);
    registry.change(|crates| {
        crates.push(
            Crate::new("grows", "1.1.0")
                .manifest("links = \"z\"")
                .file("build.rs", "fn main() { panic!(\"it ran\"); }\n")
                .needs("helps", "build")
                .needs("cmake", "build"),
        );
        crates.push(Crate::new("helps", "1.0.0"));
        crates.push(Crate::new("cmake", "0.1.0"));
    });
    let manifest = user.text("Cargo.toml").replace("goes = \"*\"\n", "");
    user.workspace.write("Cargo.toml", &manifest);
    user.kiln(["update"]).ok();
    let run = user
        .kiln(["policy", "diff", "old.lock", "--format", "json"])
        .ok();
    let told = json(&run.stdout);
    assert_eq!(
        kinds(&told, "grows"),
        ["new-build-scripts", "new-links", "new-grants"]
    );
    assert!(
        kinds(&told, "helps").contains(&"new-build-dependencies".to_owned()),
        "{told}"
    );
    assert!(
        kinds(&told, "cmake").contains(&"new-grants".to_owned()),
        "{told}"
    );
    assert!(
        told["changes"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|change| { change["old"]["name"] == "goes" && change["new"].is_null() })
    );
    assert_eq!(told["notShown"][0], "maintainers");
    assert!(!run.stdout.contains("stays"), "{run}");
    // Two locks by name, the other way round; and one from standard input.
    let back = user
        .kiln(["policy", "diff", "Cargo.lock", "old.lock"])
        .ok()
        .stdout;
    assert!(
        back.contains("updated  grows 1.1.0 -> 1.0.0") && back.contains("removed  helps"),
        "{back}"
    );
    user.kiln([
        "policy",
        "diff",
        "old.lock",
        "--deny",
        "yanked,source-changes",
    ])
    .ok();
    user.kiln(["policy", "diff", "old.lock", "--deny", "new-links"])
        .run()
        .refuses(&["new-links"]);
    let wrong = user
        .kiln(["policy", "diff", "old.lock", "--deny", "nothing"])
        .run();
    assert_eq!(wrong.code, Some(1));
    wrong.says(&["new-build-scripts"]);
}

#[test]
fn archives_that_change_and_packages_that_vanish() {
    let registry = Registry::new(&[
        Crate::new("changes", "1.0.0"),
        Crate::new("vanishes", "1.0.0"),
    ]);
    let user = registry.workspace(
        "policy-diff-odd",
        &["changes", "vanishes"],
        "fn main() {}\n",
    );
    user.kiln(["generate-lockfile"]).ok();
    let lock = user.text("Cargo.lock");
    let mut lines: Vec<String> = lock.lines().map(str::to_owned).collect();
    let at = lines
        .iter()
        .position(|line| line == "name = \"changes\"")
        .expect("there");
    lines[at + 3] = format!("checksum = \"{}\"", "0".repeat(64));
    user.workspace.write("old.lock", &lines.join("\n"));
    let run = user
        .kiln(["policy", "diff", "old.lock", "--format", "json"])
        .ok();
    assert_eq!(kinds(&json(&run.stdout), "changes"), ["checksum-changes"]);
    user.kiln(["policy", "diff", "old.lock", "--deny", "checksum-changes"])
        .run()
        .refuses(&["checksum-changes"]);
    // What cannot be looked at is never passed over.
    user.workspace.write("empty.lock", "version = 4\n");
    registry.change(|crates| drop(crates.pop()));
    let store = crate::support::directory();
    let run = user
        .kiln(["policy", "diff", "empty.lock"])
        .env("KILN_HOME", store.path())
        .run();
    run.refuses(&["unavailable"]);
    assert!(run.stdout.contains("added    changes 1.0.0"), "{run}");
    // A registry that withdraws.
    registry.change(|crates| crates[0].yanked = true);
    let run = user
        .kiln(["policy", "diff", "empty.lock", "--format", "json"])
        .env("KILN_HOME", store.path())
        .run();
    assert!(
        kinds(&json(&run.stdout), "changes").contains(&"yanked".to_owned()),
        "{run}"
    );
}
