//! `doc` and `clippy`: the same pages and the same lints as under cargo.

use crate::skip::skip;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::{Run, Workspace, manifest};

/// Every file below `root`, but for those whose names are digests of what all crates share.
fn pages(root: &Path) -> BTreeSet<String> {
    walkdir::WalkDir::new(root)
        .into_iter()
        .map(|entry| entry.expect("readable"))
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let relative = entry.path().strip_prefix(root).expect("below");
            relative.to_str().expect("UTF-8").to_owned()
        })
        .map(|path| match path.strip_prefix("search.index/") {
            Some(rest) if !rest.starts_with("root") => match rest.split_once('/') {
                Some((directory, _)) => format!("search.index/{directory}"),
                None => "search.index/…".to_owned(),
            },
            _ => path,
        })
        .filter(|path| !path.starts_with('.'))
        .collect()
}

/// Three crates and a program; one depends on another, one has a build script.
fn documented() -> Workspace {
    Workspace::new(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"app\", \"lib\", \"base\"]\nresolver = \"3\"\n",
        ),
        (
            "app/Cargo.toml",
            &manifest(
                "documents",
                "[features]\nmore = []\n[dependencies]\ndocuments-lib = { path = \"../lib\" }",
            ),
        ),
        (
            "app/build.rs",
            "fn main() {\n    println!(\"cargo::rustc-cfg=shown\");\n    println!(\"cargo::rustc-env=TEXT=seven\");\n    \
             println!(\"cargo::rustc-check-cfg=cfg(shown)\");\n}\n",
        ),
        (
            "app/src/main.rs",
            "//! The program: [`documents_lib::Thing`].\n#![doc = env!(\"TEXT\")]\nfn main() {}\n/// Private.\nstruct Own;\n#[cfg(shown)] fn shown() {}\n",
        ),
        (
            "lib/Cargo.toml",
            &manifest(
                "documents-lib",
                "[dependencies]\ndocuments-base = { path = \"../base\" }",
            ),
        ),
        (
            "lib/src/lib.rs",
            "//! The library: [`nothing`].\n/// A [`documents_base::Base`].\npub struct Thing(pub documents_base::Base);\n\
             impl documents_base::Named for Thing {}\nstruct Hidden;\npub use documents_base::Named;\n",
        ),
        ("base/Cargo.toml", &manifest("documents-base", "")),
        (
            "base/src/lib.rs",
            "/// The base.\npub struct Base;\n/// Named.\npub trait Named {}\nimpl Named for Base {}\n",
        ),
    ])
}

#[test]
fn pages_are_those_of_cargo() {
    let workspace = documented();
    for arguments in [
        &["doc"][..],
        &["doc", "-p", "documents-lib", "--no-deps"],
        &["doc", "-p", "documents-lib", "--document-private-items"],
        &["doc", "--workspace", "--exclude", "documents", "--lib"],
    ] {
        let root = workspace.root().join("target");
        for old in [root.join("doc"), root.join("kiln/doc")] {
            let _ = fs::remove_dir_all(old);
        }
        let kiln = workspace.kiln(arguments.iter().copied()).ok();
        let cargo = workspace.cargo(arguments.iter().copied()).ok();
        assert_eq!(
            pages(&root.join("kiln/doc")),
            pages(&root.join("doc")),
            "{kiln}\n{cargo}"
        );
        let generated = |run: &Run| -> Option<String> {
            let line = run.stderr.lines().find(|line| line.contains("Generated"))?;
            Some(
                line.replace("target/kiln/doc", "target/doc")
                    .trim()
                    .to_owned(),
            )
        };
        assert_eq!(generated(&kiln), generated(&cargo), "{kiln}\n{cargo}");
        assert_eq!(
            kiln.stderr.contains("unresolved link to `nothing`"),
            cargo.stderr.contains("unresolved link to `nothing`"),
        );
    }
    let doc = workspace.root().join("target/kiln/doc");
    workspace.kiln(["doc"]).ok();
    let page = |path: &str| fs::read_to_string(doc.join(path)).expect(path);
    // Pages link to those of crates that were documented by other actions.
    assert!(page("documents_lib/struct.Thing.html").contains("../documents_base/struct.Base.html"));
    assert!(page("documents/index.html").contains("seven"));
    assert!(page("crates.js").contains(r#"["documents","documents_base","documents_lib"]"#));
    assert!(page("trait.impl/documents_base/trait.Named.js").contains("documents_lib"));

    // Nothing is made twice, and what changed alone is made again.
    let again = workspace.kiln(["doc"]).ok();
    assert_eq!(again.actions().0, 0, "{again}");
    workspace.write(
        "base/src/lib.rs",
        "/// Another.\npub struct Base;\npub trait Named {}\n",
    );
    workspace.kiln(["doc"]).ok();
    assert!(page("documents_base/struct.Base.html").contains("Another."));
    workspace
        .kiln(["doc", "--unit-graph"])
        .run()
        .refuses(&["`--unit-graph` is not supported"]);
}

#[test]
fn lints_are_those_of_cargo() {
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"app\", \"lib\"]\nresolver = \"3\"\n[workspace.lints.clippy]\ndbg_macro = \"warn\"\n",
        ),
        ("clippy.toml", "disallowed-names = [\"wrong\"]\n"),
        (
            "app/Cargo.toml",
            &manifest(
                "lints",
                "[lints]\nworkspace = true\n[dependencies]\nlints-lib = { path = \"../lib\" }",
            ),
        ),
        (
            "app/src/main.rs",
            "fn main() {\n    let wrong = dbg!(lints_lib::seven());\n    println!(\"{}\", wrong);\n}\n",
        ),
        ("lib/Cargo.toml", &manifest("lints-lib", "")),
        (
            "lib/src/lib.rs",
            "pub fn seven() -> u32 {\n    let x = 7;\n    return x;\n}\n",
        ),
    ]);
    let found = |run: &Run| -> BTreeSet<String> {
        let lints = run.stderr.lines().filter_map(|line| {
            let name = line.split("index.html#").nth(1)?;
            Some(name.to_owned())
        });
        // Which of two targets says first what both have to say is chance.
        let generated = run
            .stderr
            .lines()
            .filter(|line| line.starts_with("warning: `") || line.starts_with("error: could not"))
            .map(|line| {
                let end = line.find(" warning").map_or(line.len(), |start| start + 8);
                line[..end].to_owned()
            });
        lints.chain(generated).collect()
    };
    // cargo tells each clippy of its own what is fresh: start with nothing.
    for arguments in [
        &["clippy"][..],
        &["clippy", "--no-deps", "-p", "lints"],
        &[
            "clippy",
            "--all-targets",
            "--",
            "-W",
            "clippy::uninlined_format_args",
        ],
        &["clippy", "--", "-D", "clippy::needless_return"],
    ] {
        let _ = fs::remove_dir_all(workspace.root().join("target/debug"));
        let kiln = workspace.kiln(arguments.iter().copied()).run();
        let cargo = workspace.cargo(arguments.iter().copied()).run();
        if cargo.stderr.contains("is not installed") {
            skip("there is no clippy here");
            return;
        }
        assert_eq!(kiln.code, cargo.code, "{kiln}\n{cargo}");
        assert_eq!(found(&kiln), found(&cargo), "{kiln}\n{cargo}");
    }
    let run = workspace.kiln(["clippy"]).ok();
    run.says(&["dbg_macro", "placeholder name `wrong`", "needless_return"]);
    // check makes nothing that clippy could be served, nor the other way round.
    let check = workspace.kiln(["check"]).ok();
    assert!(!check.stderr.contains("dbg_macro"), "{check}");
    for flag in ["--fix", "--explain=dbg_macro"] {
        let name = flag.split('=').next().unwrap_or(flag);
        let refused = workspace.kiln(["clippy", flag]).run();
        refused.refuses(&[&format!("`{name}` is not supported")]);
    }
}
