//! Commands that tell about a workspace, side by side with the installed cargo: `metadata`, `locate-project`, `pkgid`.

use serde_json::Value;

use crate::support::{Run, Workspace, manifest};

/// A workspace with one of everything that a manifest can say, without a registry.
pub(crate) fn everything() -> Workspace {
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            r#"
            [workspace]
            members = ["a", "b", "m"]
            exclude = ["outside"]
            default-members = ["b"]
            resolver = "2"
            [workspace.metadata.tool]
            y = 1
            z = [1, 2.5, "s"]
            d = 1979-05-27T07:32:00Z
            [workspace.package]
            version = "1.2.3-pre.1+build.5"
            authors = ["A <a@example.com>"]
            "#,
        ),
        (
            "a/Cargo.toml",
            r#"
            [package]
            name = "a-b"
            version.workspace = true
            authors.workspace = true
            edition = "2021"
            rust-version = "1.70"
            license = "MIT"
            description = "d"
            repository = "https://example.com/x"
            keywords = ["k"]
            categories = ["c"]
            publish = ["somewhere"]
            links = "zz"
            default-run = "two"
            readme = false
            [package.metadata.zeta]
            b = 1
            a = { c = true }
            [features]
            default = ["x"]
            x = ["b?/f", "m/g"]
            y = ["dep:o"]
            [dependencies]
            b = { path = "../b", optional = true }
            m = { path = "../m", version = "0.1" }
            o = { package = "outside", path = "../outside", optional = true }
            [dev-dependencies]
            b = { path = "../b" }
            [build-dependencies]
            only-windows = { path = "../windows" }
            [target.'cfg(windows)'.dependencies]
            only-windows = { path = "../windows" }
            [target.x86_64-unknown-linux-gnu.dependencies]
            deep = { path = "../deep", default-features = false }
            [target.'cfg(unix)'.dependencies]
            deep = { path = "../deep", features = ["one"] }
            [lib]
            crate-type = ["cdylib", "rlib"]
            name = "weird"
            doctest = false
            [[bin]]
            name = "one"
            path = "src/one.rs"
            required-features = ["x"]
            [[bin]]
            name = "two"
            path = "src/two.rs"
            test = false
            doc = false
            [[example]]
            name = "ex"
            path = "src/one.rs"
            crate-type = ["staticlib"]
            "#,
        ),
        (
            "b/Cargo.toml",
            "[package]\nname = \"b\"\nversion = \"0.1.0\"\nedition = \"2018\"\nreadme = \"R.md\"\n[features]\nf = []\n",
        ),
        (
            "m/Cargo.toml",
            "[package]\nname = \"m\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[lib]\nproc-macro = true\n[features]\n\
             g = []\n[dependencies]\ndeep = { path = \"../deep\" }\n",
        ),
        (
            "outside/Cargo.toml",
            "[package]\nname = \"outside\"\n[workspace]\n",
        ),
        (
            "windows/Cargo.toml",
            "[package]\nname = \"only-windows\"\nversion = \"2.0.0\"\n[dependencies]\ndeep = { path = \"../deep\" }\n",
        ),
        (
            "deep/Cargo.toml",
            "[package]\nname = \"deep\"\nversion = \"0.0.7\"\nedition = \"2021\"\n[hints]\nmostly-unused = true\n[features]\n\
             default = [\"two\"]\none = []\ntwo = []\n",
        ),
    ]);
    for library in ["a", "b", "m", "outside", "windows", "deep"] {
        workspace.write(&format!("{library}/src/lib.rs"), "");
    }
    for program in [
        "a/src/one.rs",
        "a/src/two.rs",
        "a/build.rs",
        "b/src/main.rs",
    ] {
        workspace.write(program, "fn main() {}\n");
    }
    for other in [
        "b/R.md",
        "b/README.md",
        "m/README.md",
        "a/tests/t.rs",
        "a/benches/q.rs",
    ] {
        workspace.write(other, "");
    }
    workspace
}

/// Without what kiln has elsewhere.
fn comparable(run: &Run) -> Value {
    let mut value: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{run}"));
    if let Some(object) = value.as_object_mut() {
        for elsewhere in ["target_directory", "build_directory"] {
            let directory = object.remove(elsewhere).expect("a directory");
            assert!(
                directory
                    .as_str()
                    .is_some_and(|path| path.contains("/target"))
            );
        }
    }
    value
}

#[test]
fn metadata_is_cargos() {
    let workspace = everything();
    let flags: [&[&str]; 8] = [
        &[],
        &["--no-deps"],
        &["--filter-platform", "x86_64-unknown-linux-gnu"],
        &["--filter-platform", "host-tuple"],
        &["--all-features"],
        &["--no-default-features"],
        &["--features", "a-b/y,b/f", "--manifest-path", "a/Cargo.toml"],
        &["--manifest-path", "m/Cargo.toml", "--locked", "--offline"],
    ];
    for flags in flags {
        let arguments = || {
            ["metadata", "--format-version", "1"]
                .into_iter()
                .chain(flags.iter().copied())
        };
        let cargos = workspace.cargo(arguments()).ok();
        let ours = workspace.kiln(arguments()).ok();
        assert_eq!(comparable(&ours), comparable(&cargos), "{flags:?}");
    }
    let run = workspace.kiln(["metadata", "--format-version", "2"]).run();
    assert_ne!(run.code, Some(0), "{run}");
    workspace
        .kiln(["metadata", "--format-version", "1", "--features", "nowhere"])
        .run()
        .refuses(&["nowhere"]);
}

/// Commands whose output is the same, byte for byte, and whose status is.
#[test]
fn projects_and_packages_are_found_where_cargo_finds_them() {
    let workspace = everything();
    workspace.cargo(["generate-lockfile"]).ok();
    let same: [&[&str]; 13] = [
        &["locate-project"],
        &["locate-project", "--workspace"],
        &[
            "locate-project",
            "--workspace",
            "--message-format",
            "json",
            "--manifest-path",
            "a/Cargo.toml",
        ],
        &[
            "locate-project",
            "--message-format",
            "plain",
            "--manifest-path",
            "a/Cargo.toml",
        ],
        &[
            "locate-project",
            "--workspace",
            "--manifest-path",
            "outside/Cargo.toml",
        ],
        &["pkgid", "--manifest-path", "a/Cargo.toml"],
        &["pkgid", "deep"],
        &["pkgid", "-p", "b@0.1.0"],
        &["pkgid", "only-windows@2"],
        &["pkgid", "nothing"],
        &["pkgid"],
        &["verify-project"],
        &["read-manifest", "--manifest-path", "m/Cargo.toml"],
    ];
    for arguments in same {
        let cargos = workspace.cargo(arguments.iter().copied()).run();
        let ours = workspace.kiln(arguments.iter().copied()).run();
        assert_eq!(ours.code, cargos.code, "{ours}\n{cargos}");
        assert_eq!(ours.stdout, cargos.stdout, "{arguments:?}");
    }
}

#[test]
fn trees_are_cargos() {
    let workspace = everything();
    let commands = [
        "",
        "--workspace",
        "--workspace -e features",
        "--workspace -e features --all-features",
        "--workspace -e all --prefix depth",
        "--workspace -e no-dev",
        "--workspace -e normal,dev",
        "--workspace -e no-proc-macro,no-build",
        "--workspace -d --target all",
        "--workspace -d",
        "--workspace --charset ascii --depth 1",
        "--workspace --depth workspace",
        "--workspace --no-dedupe --prefix none",
        "--target all --manifest-path a/Cargo.toml --format {p}/{l}/{r}/{f}/{lib}",
        "--target x86_64-unknown-linux-gnu --workspace",
        "--target x86_64-pc-windows-gnu --workspace --manifest-path a/Cargo.toml",
        "--manifest-path a/Cargo.toml --no-default-features -F y -e features",
        "-i deep --workspace",
        "-i deep --workspace -e features --features a-b/y",
        "-i -p deep",
        "-p a-b -p m --exclude b",
        "--workspace --exclude a-b",
        "--workspace --prune deep",
        "-i nothing",
        "-i",
        "--format {x}",
        "-d -e features",
        "-e dev,no-dev",
        "-e public",
    ];
    for command in commands {
        let arguments = || std::iter::once("tree").chain(command.split_whitespace());
        let cargos = workspace.cargo(arguments()).run();
        let ours = workspace.kiln(arguments()).run();
        assert_eq!(ours.code, cargos.code, "{ours}\n{cargos}");
        assert_eq!(ours.stdout, cargos.stdout, "{command}");
    }
}

/// A built workspace is cleaned of what kiln put there, and of nothing else.
#[test]
fn cleaning_takes_what_is_kilns_and_nothing_else() {
    let workspace = Workspace::new(&[
        ("Cargo.toml", &crate::support::manifest("cleaned", "")),
        ("src/main.rs", "fn main() {}\n"),
        ("target/kept/by-the-user.txt", "mine"),
        ("elsewhere/mine.txt", "mine"),
    ]);
    workspace.cargo(["generate-lockfile"]).ok();
    let exists = |path: &str| workspace.root().join(path).exists();
    // What no build has marked is not ours.
    workspace.write("target/kiln/who/knows.txt", "mine");
    workspace
        .kiln(["clean"])
        .run()
        .refuses(&["CACHEDIR.TAG", "is not cleaned"]);
    assert!(exists("target/kiln/who/knows.txt"));
    std::fs::remove_dir_all(workspace.root().join("target/kiln")).expect("removed");
    std::os::unix::fs::symlink(
        workspace.root().join("elsewhere"),
        workspace.root().join("target/kiln"),
    )
    .expect("linked");
    workspace.kiln(["clean"]).run().refuses(&["link"]);
    assert!(exists("elsewhere/mine.txt"));
    std::fs::remove_file(workspace.root().join("target/kiln")).expect("removed");

    workspace.kiln(["clean"]).ok().says(&["Removed 0 files"]);
    workspace.kiln(["build"]).ok();
    workspace.kiln(["build", "--release"]).ok();
    let dry = workspace.kiln(["clean", "-n"]).ok();
    dry.says(&["Summary", "no files deleted due to --dry-run"]);
    assert!(exists("target/kiln/debug/cleaned"));
    workspace.kiln(["clean", "-p", "cleaned"]).ok();
    assert!(!exists("target/kiln/debug/cleaned") && exists("target/kiln/release/cleaned"));
    workspace.kiln(["clean", "--release"]).ok();
    assert!(!exists("target/kiln/release") && exists("target/kiln"));
    workspace
        .kiln(["clean", "--profile", "nowhere"])
        .run()
        .refuses(&["nowhere"]);
    workspace
        .kiln(["clean", "-p", "nothing"])
        .run()
        .refuses(&["nothing"]);
    workspace
        .kiln(["clean", "--target", "../elsewhere"])
        .run()
        .refuses(&["target triple"]);
    workspace.kiln(["clean"]).ok();
    assert!(!exists("target/kiln") && exists("target/kept/by-the-user.txt"));
}

#[test]
fn versions_are_told_with_and_without_details() {
    let workspace = Workspace::new(&[("nothing", "")]);
    let first = format!("kiln {}\n", env!("CARGO_PKG_VERSION"));
    for arguments in [&["-V"][..], &["--version"], &["version"]] {
        let run = workspace.kiln(arguments.iter().copied()).ok();
        assert_eq!(run.stdout, first);
    }
    for arguments in [
        &["-vV"][..],
        &["--version", "--verbose"],
        &["version", "-v"],
    ] {
        let run = workspace.kiln(arguments.iter().copied()).ok();
        assert!(run.stdout.starts_with(&first), "{run}");
        assert!(run.stdout.contains("\nhost: "), "{run}");
    }
    let help = workspace.kiln(["help", "tree"]).ok();
    assert!(help.stdout.contains("--no-dedupe"), "{help}");
}

/// Calls of rust-analyzer's after whose failure it goes on without the answer, or asks rustc; they have to fail. The others
/// are compared with cargo's above and below.
#[test]
fn editors_are_refused_what_is_not_there() {
    let workspace = Workspace::new(&[("Cargo.toml", &manifest("asked", "")), ("src/lib.rs", "")]);
    for call in [
        "-Z unstable-options config get --format toml --show-origin",
        "rustc -Z unstable-options --print cfg --target x86_64-unknown-linux-gnu -- -O",
        "rustc -Z unstable-options --print target-spec-json -- -Z unstable-options",
    ] {
        let run = workspace
            .kiln(call.split(' '))
            .env("RUSTC_BOOTSTRAP", "1")
            .run();
        assert!(
            run.code != Some(0) && run.stdout.is_empty(),
            "{call}: {run}"
        );
    }
    let told = workspace
        .kiln([
            "locate-project",
            "--workspace",
            "--manifest-path",
            "Cargo.toml",
        ])
        .ok();
    let told: Value = serde_json::from_str(&told.stdout).expect("JSON");
    assert!(
        told["root"]
            .as_str()
            .expect("a path")
            .ends_with("/Cargo.toml")
    );
    workspace
        .kiln(
            "check --workspace --message-format=json-diagnostic-rendered-ansi --manifest-path Cargo.toml --keep-going \
             --all-targets"
                .split_whitespace(),
        )
        .ok();
}

/// What rust-analyzer runs to learn of build scripts and procedural macros: the same messages as cargo's, with files
/// that are there.
#[test]
fn editors_get_the_messages_that_they_ask_for() {
    let workspace = everything();
    let arguments = || {
        "check --quiet --workspace --message-format=json --all-targets --keep-going --manifest-path Cargo.toml".split(' ')
    };
    type Message = (String, Option<String>, Option<String>, bool);
    let messages = |run: &Run| -> Vec<(Message, Value)> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let mut all: Vec<(Message, Value)> = run
            .stdout
            .lines()
            .map(|line| {
                let json: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{run}"));
                let key = (
                    text(&json["reason"]).unwrap_or_default(),
                    text(&json["package_id"]),
                    // A library is compiled twice where its features differ, in whatever order.
                    Some(format!("{} {}", json["target"], json["features"])),
                    json["profile"]["test"] == true,
                );
                (key, json)
            })
            .collect();
        // One library for the host and for the target differs in these only, and either may be first.
        all.sort_by_cached_key(|(key, json)| {
            (
                key.clone(),
                json["features"].to_string(),
                json["profile"].to_string(),
            )
        });
        all
    };
    let cargos = messages(&workspace.cargo(arguments()).ok());
    let ours = messages(&workspace.kiln(arguments()).ok());
    let keys = |all: &[(Message, Value)]| -> Vec<Message> {
        all.iter().map(|(key, _)| key.clone()).collect()
    };
    assert_eq!(keys(&ours), keys(&cargos));
    let mut libraries = 0;
    for ((_, ours), (_, cargos)) in ours.iter().zip(&cargos) {
        for same in [
            "target",
            "features",
            "profile",
            "manifest_path",
            "cfgs",
            "env",
            "linked_libs",
        ] {
            assert_eq!(ours[same], cargos[same], "{same} of {ours}");
        }
        for file in ours["filenames"].as_array().into_iter().flatten() {
            let path = std::path::Path::new(file.as_str().expect("a path"));
            let content = std::fs::read(path).unwrap_or_else(|error| panic!("{file}: {error}"));
            if path.extension().is_some_and(|extension| extension == "so") {
                libraries += 1;
                assert!(content.starts_with(b"\x7fELF"), "{file}");
            }
        }
        if let Some(directory) = ours["out_dir"].as_str() {
            assert!(std::path::Path::new(directory).is_dir(), "{directory}");
        }
    }
    assert_eq!(libraries, 1, "one procedural macro");
}
