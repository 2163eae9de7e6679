//! `.cargo/config.toml`, `CARGO_*` and `--config`: what they mean to kiln is what they mean to the installed cargo.

use crate::support::{Kiln, Workspace, manifest};

/// A program with a build script, a library and a procedural macro below it.
fn workspace(name: &str) -> Workspace {
    let members = "[workspace]\nmembers = ['lib', 'mac']\n";
    let dependencies = format!(
        "[dependencies]\n{name}-lib = {{ path = 'lib' }}\n{name}-mac = {{ path = 'mac' }}\n"
    );
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            &manifest(name, &format!("{members}{dependencies}")),
        ),
        ("src/main.rs", "fn main() {}\n"),
        ("build.rs", "fn main() {}\n"),
        ("lib/Cargo.toml", &manifest(&format!("{name}-lib"), "")),
        ("lib/src/lib.rs", "pub fn f() -> u8 { 1 }\n"),
        (
            "mac/Cargo.toml",
            &manifest(&format!("{name}-mac"), "[lib]\nproc-macro = true\n"),
        ),
        ("mac/src/lib.rs", ""),
    ]);
    workspace.cargo(["generate-lockfile", "--offline"]).ok();
    workspace
}

/// The unit graphs of kiln and of cargo are one, under these arguments and variables.
fn same_units(workspace: &Workspace, arguments: &[&str], variables: &[(&str, &str)]) {
    let with = |mut kiln: Kiln| {
        for (name, value) in variables {
            kiln = kiln.env(name, value);
        }
        kiln
    };
    let ours = with(
        workspace.kiln(
            ["plan", "--format", "unit-graph"]
                .iter()
                .chain(arguments)
                .copied(),
        ),
    );
    let theirs = ["build", "-Zunstable-options", "--unit-graph", "--offline"];
    let theirs =
        with(workspace.cargo(theirs.iter().chain(arguments).copied())).env("RUSTC_BOOTSTRAP", "1");
    let json = |text: &str| -> serde_json::Value { serde_json::from_str(text).expect("JSON") };
    assert_eq!(
        json(&ours.ok().stdout),
        json(&theirs.ok().stdout),
        "{arguments:?} {variables:?}"
    );
}

#[test]
fn profiles_and_targets_of_configuration_decide_the_units() {
    let workspace = workspace("configured-units");
    let host = workspace.kiln(["doctor"]).run();
    let triple = if host.stdout.contains("aarch64") {
        "aarch64-unknown-linux-gnu"
    } else {
        "x86_64-unknown-linux-gnu"
    };
    workspace.write(
        ".cargo/config.toml",
        "[profile.dev]\nopt-level = 1\n[profile.release.build-override]\nopt-level = 2\n\
         [profile.own]\ninherits = 'release'\nlto = 'thin'\n[profile.dev.package.configured-units-lib]\ndebug = 0\n",
    );
    let target = format!("build.target='{triple}'");
    let targets = format!("build.target=['{triple}']");
    for arguments in [
        &[] as &[&str],
        &["--release"],
        &["--profile", "own"],
        &["--config", "profile.dev.opt-level=3"],
        &["--config", &target],
        &["--config", &targets],
        &["--config", "build.target='host-tuple'"],
        &["--config", "build.incremental=false"],
    ] {
        same_units(&workspace, arguments, &[]);
    }
    for variables in [
        ("CARGO_PROFILE_DEV_OPT_LEVEL", "2"),
        ("CARGO_PROFILE_DEV_DEBUG", "line-tables-only"),
        ("CARGO_PROFILE_DEV_BUILD_OVERRIDE_OPT_LEVEL", "1"),
        ("CARGO_BUILD_TARGET", triple),
        ("CARGO_INCREMENTAL", "0"),
        ("CARGO_BUILD_INCREMENTAL", "false"),
    ] {
        same_units(&workspace, &[], &[variables]);
        same_units(
            &workspace,
            &["--config", "profile.dev.opt-level='s'"],
            &[variables],
        );
    }
}

#[test]
fn files_variables_and_flags_in_cargos_order() {
    let workspace = workspace("configured-order");
    workspace.write(
        ".cargo/config.toml",
        "include = ['more.toml']\n[build]\ntarget-dir = 'from-file'\n",
    );
    workspace.write(".cargo/more.toml", "[term]\nquiet = true\n");
    workspace.write(
        "conf/other.toml",
        "build.target-dir = 'from-argument'\nterm.quiet = false\n",
    );
    let built = workspace.kiln(["check"]).ok();
    assert_eq!(built.stderr, "", "`term.quiet` counts: {built}");
    assert!(workspace.root().join("from-file").exists());
    let built = workspace
        .kiln(["check", "--config", "conf/other.toml"])
        .env("CARGO_BUILD_TARGET_DIR", "no")
        .ok();
    built.says(&["Finished"]);
    assert!(workspace.root().join("from-argument").exists());
    workspace
        .kiln(["check"])
        .env("CARGO_BUILD_TARGET_DIR", "from-variable")
        .ok();
    assert!(workspace.root().join("from-variable").exists());
    assert!(
        !workspace.root().join("no").exists() && !workspace.root().join("target/kiln").exists()
    );
}

#[test]
fn broken_configuration_is_an_error_with_its_place() {
    let workspace = workspace("configured-badly");
    for (text, expected) in [
        ("[build]\njobs = \n", "config.toml:2"),
        ("[build]\ntarget-dir = 1\n", "`build.target-dir`"),
        ("[target.'cfg(unix)']\nrustflags = [1]\n", "rustflags"),
        ("[env]\nCARGO_HOME = 'x'\n", "`env.CARGO_HOME`"),
        ("[env]\nX = { force = true }\n", "`env.X`"),
        ("[term]\nquiet = true\nverbose = true\n", "`term.quiet`"),
        ("[term]\ncolor = 'purple'\n", "`term.color`"),
        ("[profile.dev]\nopt-level = true\n", "profile.dev"),
    ] {
        workspace.write(".cargo/config.toml", text);
        let run = workspace.kiln(["check"]).run();
        assert_eq!(run.code, Some(101), "{text}: {run}");
        run.says(&[expected]);
        assert!(!run.stderr.contains("panicked"), "{run}");
        assert_eq!(
            workspace.cargo(["check"]).run().code,
            Some(101),
            "cargo takes {text}"
        );
    }
    // Cargo looks at these when it needs them.
    for (text, expected) in [
        ("[net]\noffline = 'perhaps'\n", "`net.offline`"),
        ("[http]\ntimeout = -1\n", "`http.timeout`"),
    ] {
        workspace.write(".cargo/config.toml", text);
        workspace.kiln(["check"]).run().says(&[expected]);
    }
}

#[test]
fn keys_that_nobody_knows_are_told_as_by_cargo() {
    let workspace = workspace("unknown-keys");
    let tables = [
        "build",
        "http",
        "net",
        "term",
        "term.progress",
        "profile.dev",
        "profile.dev.build-override",
        "profile.dev.package.serde",
        "source.mirror",
        "target.'cfg(unix)'",
        "resolver",
        "future-incompat-report",
        "cargo-new",
        "alias-of-mine",
        "env",
    ];
    let text: String = tables
        .iter()
        .map(|table| match *table {
            "source.mirror" => "[source.mirror]\nlocal-registry = 'x'\nodd-key = 1\n".to_owned(),
            "env" => "[env]\nODD = 'x'\n".to_owned(),
            table => format!("[{table}]\nodd-key = 1\n"),
        })
        .collect();
    workspace.write(".cargo/config.toml", &text);
    let told = |run: &crate::support::Run| {
        let lines = run.stderr.lines().filter(|line| line.contains("unused "));
        lines
            .map(str::to_owned)
            .collect::<std::collections::BTreeSet<_>>()
    };
    // Cargo looks at some of them in some commands only.
    let theirs = workspace.cargo(["check"]).run();
    let ours = workspace.kiln(["check"]).run();
    let (theirs, ours) = (told(&theirs), told(&ours));
    assert!(theirs.len() > 8, "{theirs:?}");
    let missing: Vec<_> = theirs.difference(&ours).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let more: Vec<_> = ours.difference(&theirs).collect();
    assert!(
        more.iter().all(|line| line.contains("net.odd-key")
            || line.contains("cargo-new.odd-key")
            || line.contains("source.mirror.odd-key")),
        "{more:?}"
    );
}
