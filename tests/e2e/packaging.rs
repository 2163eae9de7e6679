//! `package --list` side by side with the installed cargo: `include`, `exclude`, hidden files, git's rules, other
//! packages below, links.

use crate::skip::skip;
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
        skip("there is no git to make a repository with");
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
}

/// What an archive holds, in its order: name, mode, time and bytes.
fn contents(path: &Path) -> Vec<(String, u32, u64, String)> {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let entries = archive.entries().expect("an archive");
    entries
        .map(|entry| {
            let mut entry = entry.expect("an entry");
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).expect("readable");
            let header = entry.header();
            (
                entry
                    .path()
                    .expect("a path")
                    .to_str()
                    .expect("UTF-8")
                    .to_owned(),
                header.mode().expect("a mode"),
                header.mtime().expect("a time"),
                String::from_utf8_lossy(&bytes).into_owned(),
            )
        })
        .collect()
}

/// Packages with both and compares every byte of every file.
fn compare_archives(workspace: &Workspace, arguments: &str, names: &[&str]) {
    let arguments = || {
        ["package", "--offline"]
            .into_iter()
            .chain(arguments.split_whitespace())
    };
    let lock = workspace.root().join("Cargo.lock");
    let before = std::fs::read(&lock).ok();
    workspace.cargo(arguments()).ok();
    match before {
        Some(bytes) => std::fs::write(&lock, bytes).expect("written"),
        None => drop(std::fs::remove_file(&lock)),
    }
    workspace.kiln(arguments()).ok();
    for name in names {
        let cargos = contents(
            &workspace
                .root()
                .join(format!("target/package/{name}.crate")),
        );
        let path = workspace
            .root()
            .join(format!("target/kiln/package/{name}.crate"));
        let ours = contents(&path);
        assert_eq!(ours, cargos, "{name}");
        let first = std::fs::read(&path).expect("readable");
        workspace.kiln(arguments()).ok();
        let again = std::fs::read(&path).expect("readable");
        assert!(
            first == again,
            "{name} is made of other bytes the second time"
        );
    }
}

#[test]
fn archives_hold_cargos_bytes() {
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"a\", \"b\", \"c\"]\nresolver = \"1\"\n\
             [workspace.package]\nversion = \"0.3.0\"\nreadme = \"README.md\"\nlicense-file = \"LICENCE\"\nrust-version = \"1.80\"\n\
             [workspace.lints.rust]\nunused = \"warn\"\n\
             [workspace.dependencies]\npackaged-a = { path = \"a\", version = \"0.3\", default-features = false }\n\
             [profile.release]\nlto = true\n",
        ),
        ("README.md", "read me\n"),
        ("LICENCE", "mine\n"),
        (
            "a/Cargo.toml",
            "[package]\nname = \"packaged-a\"\nversion.workspace = true\nedition = \"2021\"\nreadme.workspace = true\n\
             license-file.workspace = true\ndescription = \"a\"\nautobins = false\nkeywords = [\"x\", \"y\"]\n\
             [features]\ndefault = [\"std\"]\nstd = []\ndev = [\"packaged-c/x\"]\n[lints]\nworkspace = true\n\
             [dev-dependencies]\npackaged-c = { path = \"../c\" }\n\
             [[example]]\nname = \"e\"\nrequired-features = [\"std\"]\n[badges]\nmaintenance = { status = \"none\" }\n\
             [package.metadata.docs]\nall = true\nlist = [1, 2]\n",
        ),
        ("a/src/lib.rs", "pub fn a() {}\n"),
        ("a/src/main.rs", "fn main() {}\n"),
        ("a/examples/e.rs", "fn main() {}\n"),
        ("a/tests/t.rs", ""),
        (
            "b/Cargo.toml",
            "[package]\nname = \"packaged-b\"\nversion = \"1.0.0-beta.1+meta\"\nedition = \"2018\"\nexclude = [\"tests\"]\n\
             rust-version.workspace = true\nbuild = \"build.rs\"\n[lib]\ncrate-type = [\"rlib\", \"cdylib\"]\n\
             [features]\nuse = [\"dep:packaged-a\", \"packaged-a?/std\"]\n\
             [dependencies]\npackaged-a = { workspace = true, optional = true, features = [\"std\"] }\n\
             [target.'cfg(unix)'.dependencies.renamed]\npackage = \"packaged-a\"\npath = \"../a\"\nversion = \"0.3.0\"\n\
             [[test]]\nname = \"gone\"\npath = \"tests/gone.rs\"\n[[bin]]\nname = \"two-words\"\npath = \"src/bin/two.rs\"\n",
        ),
        (
            "b/build.rs",
            "fn main() { println!(\"cargo::rustc-cfg=built\"); println!(\"cargo::rustc-check-cfg=cfg(built)\"); }\n",
        ),
        (
            "b/src/lib.rs",
            "#[cfg(not(built))]\ncompile_error!(\"\");\npub fn b() {}\n",
        ),
        ("b/src/bin/two.rs", "fn main() { packaged_b::b() }\n"),
        ("b/tests/gone.rs", ""),
        ("b/script.sh", "#!/bin/sh\n"),
        (
            "c/Cargo.toml",
            "[package]\nname = \"packaged-c\"\nversion = \"0.1.0\"\nedition = \"2024\"\npublish = false\n[features]\nx = []\n",
        ),
        ("c/src/lib.rs", ""),
    ]);
    let script = workspace.root().join("b/script.sh");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(script, mode).expect("allowed");
    let names = [
        "packaged-a-0.3.0",
        "packaged-b-1.0.0-beta.1+meta",
        "packaged-c-0.1.0",
    ];
    compare_archives(&workspace, "-p packaged-c", &names[2..]);
    compare_archives(
        &workspace,
        "-p packaged-a --no-verify --no-metadata",
        &names[..1],
    );
    compare_archives(&workspace, "-p packaged-c --exclude-lockfile", &names[2..]);
    let root = workspace.root();
    if git(&root, &["init", "-q"]) && git(&root, &["add", "."]) {
        assert!(git(&root, &["commit", "-qm", "first"]));
        compare_archives(&workspace, "-p packaged-c", &names[2..]);
        workspace.write("c/src/lib.rs", "// changed\n");
        compare_archives(&workspace, "-p packaged-c --allow-dirty", &names[2..]);
    }
}

#[test]
fn what_cannot_be_packaged_is_told() {
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            &format!(
                "{}[workspace]\n",
                manifest("unpackaged", "[dependencies]\nother = { path = \"other\" }")
            ),
        ),
        ("src/lib.rs", ""),
        ("other/Cargo.toml", &manifest("other", "")),
        ("other/src/lib.rs", ""),
    ]);
    workspace.cargo(["package", "--offline"]).run();
    workspace
        .kiln(["package", "--offline"])
        .run()
        .refuses(&["must have a version", "`other`"]);
    workspace
        .kiln(["package", "--registry", "x"])
        .run()
        .refuses(&["--registry"]);
    // What does not build is found.
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            &manifest("unpackaged-broken", "exclude = [\"src/part.rs\"]"),
        ),
        ("src/lib.rs", "mod part;\n"),
        ("src/part.rs", ""),
    ]);
    workspace.kiln(["build"]).ok();
    let refused = workspace.kiln(["package", "--offline"]).run();
    assert_eq!(refused.code, Some(101), "{refused}");
    refused.says(&["part"]);
    workspace.kiln(["package", "--offline", "--no-verify"]).ok();
}
