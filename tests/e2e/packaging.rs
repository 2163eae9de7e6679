//! `package --list` side by side with the installed cargo: `include`, `exclude`, hidden files, git's rules, other
//! packages below, links.

use std::path::Path;
use std::process::Command;

use crate::support::{Workspace, manifest};

fn package(name: &str, rest: &str) -> Workspace {
    let workspace = Workspace::new(&[
        ("LICENCE", "mine"),
        (
            "sub/Cargo.toml",
            "[package]\nname = \"sub\"\nversion = \"0.1.0\"\n",
        ),
        ("build.rs", "fn main() {}\n"),
    ]);
    workspace.write("Cargo.toml", &manifest(name, rest));
    for path in [
        "src/lib.rs",
        "src/main.rs.bak",
        "data/a.txt",
        "data/b.bin",
        "data/Cargo.lock",
        ".hidden/file",
        ".github/workflow.yml",
        "target/x/y",
        "README.md",
        "sub/src/lib.rs",
        "ignored/tracked",
        "ignored/not-tracked",
        "name with spaces",
    ] {
        workspace.write(path, "");
    }
    workspace.write(".gitignore", "*.bin\nignored/\n/target\n");
    workspace
}

fn compare(workspace: &Workspace, arguments: &str) {
    let arguments = || {
        ["package", "--list"]
            .into_iter()
            .chain(arguments.split_whitespace())
    };
    let cargos = workspace.cargo(arguments()).run();
    let ours = workspace.kiln(arguments()).run();
    assert_eq!(ours.code, cargos.code, "{ours}\n{cargos}");
    assert_eq!(ours.stdout, cargos.stdout, "{ours}\n{cargos}");
}

#[test]
fn packages_without_a_repository_have_cargos_files() {
    for rest in [
        "",
        "license-file = \"LICENCE\"\nreadme = false",
        "exclude = [\"data/*.bin\", \"/src/*.bak\"]",
        "include = [\"src/**/*.rs\", \"/data\", \"!data/b.bin\", \"build.rs\"]",
        "include = [\"src\"]\nexclude = [\"data\"]",
        "readme = \"nowhere.md\"",
        "build = \"../outside.rs\"",
    ] {
        let workspace = package("unversioned", rest);
        workspace.write("../outside.rs", "fn main() {}\n");
        compare(&workspace, "");
        compare(&workspace, "--exclude-lockfile --no-metadata");
    }
}

fn git(directory: &Path, arguments: &[&str]) -> bool {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
    Command::new("git")
        .args(identity)
        .args(arguments)
        .current_dir(directory)
        .output()
        .is_ok_and(|output| output.status.success())
}

#[test]
fn packages_in_a_repository_have_cargos_files() {
    let workspace = package("versioned", "exclude = [\"*.bak\"]");
    let root = workspace.root();
    if !git(&root, &["init", "-q"]) {
        eprintln!("SKIPPED: there is no git to make a repository with");
        return;
    }
    // Nothing is committed: then git does not count.
    compare(&workspace, "");
    compare(&workspace, "--allow-dirty");
    assert!(git(&root, &["add", "."]) && git(&root, &["add", "-f", "ignored/tracked"]));
    compare(&workspace, "--allow-dirty");
    assert!(git(&root, &["commit", "-qm", "first"]));
    compare(&workspace, "");
    workspace.write("untracked", "");
    compare(&workspace, "");
    compare(&workspace, "--allow-dirty");
    std::fs::remove_file(root.join("untracked")).expect("removed");
    workspace.write("src/lib.rs", "// changed\n");
    compare(&workspace, "");
    assert!(git(&root, &["add", "."]));
    compare(&workspace, "");
    assert!(git(&root, &["commit", "-qm", "second"]));
    compare(&workspace, "");
    std::fs::remove_file(root.join("README.md")).expect("removed");
    compare(&workspace, "");
    std::os::unix::fs::symlink("data", root.join("link")).expect("linked");
    compare(&workspace, "--allow-dirty");
    workspace.write("src/a:b.rs", "");
    compare(&workspace, "--allow-dirty");
}

#[test]
fn members_are_listed_in_the_order_of_their_dependencies() {
    let workspace = crate::tell::everything();
    compare(&workspace, "-p deep -p m -p b --allow-dirty");
    compare(&workspace, "-p m -p b --allow-dirty");
    compare(&workspace, "-p nothing");
    workspace
        .kiln(["package"])
        .run()
        .refuses(&["not supported yet", "--list"]);
}
