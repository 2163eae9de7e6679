//! `install`: from registries, repositories and directories; the lists of what is installed, as the installed cargo
//! writes and reads them.

use std::fs;

use crate::git::Repository;
use crate::policy::registry::{Crate, Registry, UserOf};
use crate::support::{Workspace, manifest};

const LOCK: &str = "version = 4\n\n[[package]]\nname = \"prog\"\nversion = \"1.0.0\"\n";

fn says(text: &str) -> String {
    format!("fn main() {{ println!(\"{text}\"); }}\n")
}

fn program(version: &'static str) -> Crate {
    Crate::new("prog", version)
        .file("src/main.rs", &says(&format!("prog {version}")))
        .file("src/bin/other.rs", &says("other"))
        .file("examples/shown.rs", &says("shown"))
}

/// Somebody with no workspace to speak of, whose configuration is his own.
fn user(registry: &Registry) -> UserOf {
    let user = registry.workspace("installer", &[], "fn main() {}\n");
    let own = user.home.path().join(".cargo");
    fs::create_dir_all(&own).expect("made");
    fs::rename(
        user.workspace.root().join(".cargo/config.toml"),
        own.join("config.toml"),
    )
    .expect("moved");
    user
}

/// Both lists of a root.
fn lists(user: &UserOf, root: &str) -> [String; 2] {
    [".crates.toml", ".crates2.json"].map(|name| user.text(&format!("{root}/{name}")))
}

#[test]
fn what_is_installed_is_noted_as_cargo_notes_it() {
    let registry = Registry::new(&[program("1.0.0"), program("2.0.0")]);
    let user = user(&registry);
    let both = |arguments: &[&str]| {
        let with = |root: &'static str| {
            let mut all = arguments.to_vec();
            all.extend(["--root", root]);
            all
        };
        let cargo = user.cargo(with("theirs")).run();
        let kiln = user.kiln(with("ours")).run();
        assert_eq!(kiln.code, cargo.code, "{arguments:?}\n{kiln}\n{cargo}");
        assert_eq!(
            lists(&user, "ours"),
            lists(&user, "theirs"),
            "{arguments:?}"
        );
        let programs = |root: &str| -> Vec<_> {
            let mut names: Vec<_> = fs::read_dir(user.workspace.root().join(root).join("bin"))
                .expect("there")
                .map(|entry| entry.expect("read").file_name())
                .collect();
            names.sort();
            names
        };
        assert_eq!(programs("ours"), programs("theirs"), "{arguments:?}");
        kiln
    };
    both(&["install", "prog@1.0.0"]);
    assert_eq!(user.workspace.run("ours/bin/prog"), "prog 1.0.0\n");
    let again = both(&["install", "prog@1.0.0"]);
    again.says(&["package `prog v1.0.0` is already installed, use --force to override"]);
    // Other features, another profile, other programs, another version: it is built again.
    both(&["install", "prog@1.0.0", "--debug"]).says(&["Replaced"]);
    both(&["install", "prog", "--bin", "prog"]);
    assert_eq!(user.workspace.run("ours/bin/prog"), "prog 2.0.0\n");
    both(&["install", "prog", "--example", "shown"]);
    both(&["install", "prog", "--force"]);
    // Each reads what the other wrote.
    let list = |program: &str, root: &str| {
        let arguments = ["install", "--list", "--root", root];
        match program {
            "cargo" => user.cargo(arguments).ok().stdout,
            _ => user.kiln(arguments).ok().stdout,
        }
    };
    assert_eq!(list("kiln", "theirs"), list("cargo", "ours"));
    user.cargo(["uninstall", "prog", "--bin", "other", "--root", "ours"])
        .ok();
    assert_eq!(list("kiln", "ours"), "prog v2.0.0:\n    prog\n    shown\n");
}

#[test]
fn programs_of_others_stay_and_orphans_go() {
    let renamed = Crate::new("prog", "2.0.0").file("src/bin/newname.rs", &says("new"));
    let renamed = renamed
        .file("src/main.rs", &says("prog 2.0.0"))
        .file("examples/shown.rs", &says("shown"));
    let clash = Crate::new("clash", "1.0.0").file("src/bin/prog.rs", &says("clash"));
    let registry = Registry::new(&[program("1.0.0"), renamed, clash]);
    let user = user(&registry);
    let install = |what: &'static str, more: &[&'static str]| {
        user.kiln(
            ["install", what, "--root", "r"]
                .into_iter()
                .chain(more.iter().copied()),
        )
        .run()
    };
    assert_eq!(install("prog@1.0.0", &[]).code, Some(0));
    install("clash", &[]).refuses(&["exists already as part of `prog 1.0.0", "--force"]);
    assert_eq!(user.workspace.run("r/bin/prog"), "prog 1.0.0\n");
    // `other` is no program of version 2.
    let run = install("prog@2.0.0", &[]);
    assert_eq!(run.code, Some(0), "{run}");
    run.says(&["Removing", "other"]);
    assert!(!user.workspace.root().join("r/bin/other").exists());
    assert_eq!(user.workspace.run("r/bin/newname"), "new\n");
    assert_eq!(install("clash", &["--force"]).code, Some(0));
    assert_eq!(user.workspace.run("r/bin/prog"), "clash\n");
    // What nobody noted is somebody else's.
    user.workspace.write("r/bin/shown", "mine");
    install("prog", &["--example", "shown"]).refuses(&["r/bin/shown` exists already\n"]);
    assert_eq!(user.text("r/bin/shown"), "mine");
    let run = install("prog", &["--bin", "newname", "--no-track", "--force"]);
    assert_eq!(run.code, Some(0), "{run}");
    assert!(
        !user
            .text("r/.crates.toml")
            .contains("\"newname\", \"newname\"")
    );
    // A broken list loses nothing.
    user.workspace.write("r/.crates.toml", "[v1\n");
    install("prog", &[]).refuses(&[".crates.toml` is broken"]);
    assert_eq!(user.text("r/.crates.toml"), "[v1\n");
}

#[test]
fn a_lock_that_is_missing_is_made_for_the_one_build_or_demanded() {
    let registry = Registry::new(&[
        Crate::new("dep", "1.0.0"),
        Crate::new("prog", "1.0.0").needs("dep", "normal").file(
            "src/main.rs",
            "fn main() { println!(\"{}\", dep::text()); }\n",
        ),
        Crate::new("prog", "0.9.0")
            .file("src/main.rs", &says("locked"))
            .file("Cargo.lock", &LOCK.replace("1.0.0", "0.9.0")),
    ]);
    let user = user(&registry);
    let run = user.kiln(["install", "prog", "--root", "r"]).ok();
    run.says(&["`prog v1.0.0` has no `Cargo.lock`"]);
    assert_eq!(user.workspace.run("r/bin/prog"), "good\n");
    assert!(!user.workspace.root().join("r/share").exists());
    for flag in ["--hermetic", "--locked"] {
        user.kiln(["install", "prog", "--root", "r", "--force", flag])
            .run()
            .refuses(&["`prog v1.0.0` has no `Cargo.lock`", "leave `--hermetic`"]);
    }
    user.kiln(["install", "prog@0.9.0", "--root", "r", "--hermetic"])
        .ok()
        .says(&["hermetic build", "Attested"]);
    assert!(
        user.workspace
            .root()
            .join("r/share/kiln/prog-0.9.0/kiln-attestation.json")
            .is_file()
    );
}

#[test]
fn several_crates_and_what_is_wrong_with_each() {
    let registry = Registry::new(&[
        program("1.0.0"),
        Crate::new("lib-only", "1.0.0"),
        Crate::new("second", "1.0.0").file("src/main.rs", &says("second")),
    ]);
    let user = user(&registry);
    let run = user
        .kiln([
            "install", "prog", "lib-only", "gone", "second", "--root", "r",
        ])
        .run();
    assert_eq!(run.code, Some(101), "{run}");
    run.says(&[
        "there is nothing to install in `lib-only v1.0.0`",
        "there is no crate `gone`",
        "Successfully installed prog, second! Failed to install lib-only, gone",
    ]);
    assert_eq!(user.workspace.run("r/bin/second"), "second\n");
    for (arguments, text) in [
        (&["install"][..], "nothing says what to install"),
        (&["install", "."], "`.` is no crate"),
        (
            &["install", "prog", "--dry-run"],
            "`--dry-run` is not supported",
        ),
        (
            &["install", "prog", "--index", "x"],
            "`--index` is not supported",
        ),
        (
            &["install", "prog", "--timings"],
            "`--timings` is not supported",
        ),
        (
            &["install", "prog", "--registry", "no"],
            "there is no registry `no`",
        ),
        (&["install", "prog", "--path", "."], "says what to install"),
        (
            &["install", "--path", "nowhere"],
            "there is no `Cargo.toml`",
        ),
        (
            &["install", "prog@1.0.0", "--version", "2"],
            "version is given twice",
        ),
        (
            &["install", "--list", "prog"],
            "shows all that is installed",
        ),
    ] {
        let run = user.kiln(arguments.iter().copied()).run();
        assert_eq!(run.code, Some(101), "{run}");
        run.says(&[text, "help:"]);
    }
}

#[test]
fn directories_and_repositories_are_sources() {
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"one\", \"two\"]\nresolver = \"2\"\n",
        ),
        ("one/Cargo.toml", &manifest("one", "")),
        ("one/src/main.rs", &says("one")),
        (
            "two/Cargo.toml",
            &manifest("two", "[dependencies]\none-lib = { path = \"../lib\" }\n"),
        ),
        (
            "two/src/main.rs",
            "fn main() { println!(\"{}\", one_lib::TEXT); }\n",
        ),
        ("lib/Cargo.toml", &manifest("one-lib", "")),
        (
            "lib/src/lib.rs",
            "pub const TEXT: &str = include_str!(\"../../shared/text\");\n",
        ),
        ("shared/text", "shared"),
        ("kiln.toml", "[workspace]\nreferences = true\n"),
    ]);
    let list = |workspace: &Workspace, root: &str| {
        String::from_utf8(workspace.read(&format!("{root}/.crates.toml"))).expect("UTF-8")
    };
    workspace
        .kiln(["install", "--path", "two", "--root", "ours"])
        .ok();
    assert_eq!(workspace.run("ours/bin/two"), "shared\n");
    assert!(
        !workspace.root().join("Cargo.lock").exists(),
        "a lock was written"
    );
    workspace
        .cargo(["install", "--path", "two", "--root", "theirs"])
        .ok();
    assert_eq!(list(&workspace, "ours"), list(&workspace, "theirs"));
    // A directory may have changed since.
    workspace
        .kiln(["install", "--path", "two", "--root", "ours"])
        .ok()
        .says(&["Replaced"]);
    workspace
        .kiln(["install", "--path", ".", "--root", "ours"])
        .run()
        .refuses(&["manifest of a workspace only"]);

    let repository = Repository::new(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"one\", \"two\"]\nresolver = \"2\"\n",
        ),
        ("one/Cargo.toml", &manifest("one", "")),
        (
            "one/src/main.rs",
            "fn main() { println!(\"{}\", include_str!(\"../../shared/text\")); }\n",
        ),
        ("two/Cargo.toml", &manifest("two", "")),
        ("two/src/main.rs", &says("two")),
        ("shared/text", "of the repository"),
        // A stranger's word.
        ("kiln.toml", "[crate.one]\nread = [\"/etc/passwd\"]\n"),
    ]);
    let url = repository.url();
    let git = |more: &[&'static str]| {
        let arguments = ["install", "--root", "ours", "--git", &url];
        workspace
            .kiln(arguments.into_iter().chain(more.iter().copied()))
            .run()
    };
    git(&[]).refuses(&["several packages with programs", "`one`, `two`"]);
    git(&["three"]).refuses(&["there is no package `three`"]);
    let run = git(&["one", "--branch", "main"]);
    assert_eq!(run.code, Some(0), "{run}");
    assert_eq!(workspace.run("ours/bin/one"), "of the repository\n");
    let arguments = [
        "install", "--root", "theirs", "--git", &url, "--branch", "main", "one",
    ];
    workspace.cargo(arguments).ok();
    assert_eq!(list(&workspace, "ours"), list(&workspace, "theirs"));
    git(&["one", "--branch", "main"]).says(&["already installed"]);
    let commit = repository.commit(&[("shared/text", "newer")]);
    assert_eq!(git(&["one", "--branch", "main"]).code, Some(0));
    assert_eq!(workspace.run("ours/bin/one"), "newer\n");
    assert!(list(&workspace, "ours").contains(&commit));
}

/// What lies around where the user is has no say in what a stranger's crate is built with.
#[test]
fn configuration_counts_where_the_package_is() {
    let says = "fn main() { println!(\"{}\", cfg!(configured)); }\n";
    let config = "[build]\nrustflags = [\"--cfg\", \"configured\"]\n";
    let workspace = Workspace::new(&[
        (
            "own/Cargo.toml",
            &manifest("own", "[lints.rust]\nunexpected_cfgs = \"allow\"\n"),
        ),
        ("own/src/main.rs", says),
        ("own/.cargo/config.toml", config),
        ("around/.cargo/config.toml", config),
    ]);
    let repository = Repository::new(&[
        (
            "Cargo.toml",
            &manifest("theirs", "[lints.rust]\nunexpected_cfgs = \"allow\"\n"),
        ),
        ("src/main.rs", says),
        (".cargo/config.toml", config),
    ]);
    let around = workspace.root().join("around");
    for program in [env!("CARGO_BIN_EXE_kiln"), "cargo"] {
        let install = |arguments: &[&str]| {
            let all = ["install", "--root", "../r", "--force"];
            let all = all.into_iter().chain(arguments.iter().copied());
            crate::support::Kiln::new(&around, program, all).ok();
        };
        install(&["--path", "../own"]);
        assert_eq!(workspace.run("r/bin/own"), "true\n", "{program}");
        install(&["--git", &repository.url()]);
        assert_eq!(workspace.run("r/bin/theirs"), "false\n", "{program}");
    }
}
