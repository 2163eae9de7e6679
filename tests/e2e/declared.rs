//! What configuration brings into a build: variables, linkers, wrappers. As cargo in a daily build; only what is declared
//! in one that ships.

use crate::support::{Workspace, manifest};

/// A program that prints variables as its compilation and as its build script saw them.
fn workspace(name: &str) -> Workspace {
    let script = "fn main() {\n    for name in [\"PLAIN\", \"PLACE\", \"FORCED\", \"CARGO_PKG_NAME\", \"RUSTC_LINKER\", \"RUSTC_WRAPPER\"] {\n\
                  \x20       println!(\"cargo::rustc-env=SCRIPT_{name}={}\", std::env::var(name).unwrap_or(\"-\".into()));\n    }\n}\n";
    let main = "fn main() {\n    println!(\"{:?} {:?} {:?} {}\", option_env!(\"PLAIN\"), option_env!(\"PLACE\"), option_env!(\"FORCED\"), env!(\"CARGO_PKG_NAME\"));\n\
                \x20   println!(\"{} {} {}\", env!(\"SCRIPT_PLAIN\"), env!(\"SCRIPT_PLACE\"), env!(\"SCRIPT_FORCED\"));\n\
                \x20   println!(\"{} {}\", env!(\"SCRIPT_CARGO_PKG_NAME\"), env!(\"SCRIPT_RUSTC_LINKER\"));\n}\n";
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest(name, "")),
        ("src/main.rs", main),
        ("build.rs", script),
    ]);
    workspace.cargo(["generate-lockfile", "--offline"]).ok();
    workspace
}

const ENV: &str = "[env]\nPLAIN = 'plain'\nPLACE = { value = 'assets/x', relative = true }\n\
                   FORCED = { value = 'forced', force = true }\nCARGO_PKG_NAME = 'other'\n";

#[test]
fn variables_of_configuration_are_seen_as_under_cargo() {
    let workspace = workspace("declared-env");
    workspace.write(".cargo/config.toml", ENV);
    let built = |variables: &[(&str, &str)]| {
        let (mut kiln, mut cargo) = (workspace.kiln(["build"]), workspace.cargo(["build"]));
        for (name, value) in variables {
            kiln = kiln.env(name, value);
            cargo = cargo.env(name, value);
        }
        kiln.ok();
        // Cargo does not run a build script again for this.
        let _ = std::fs::remove_dir_all(workspace.root().join("target/debug"));
        cargo.ok();
        let theirs = workspace.run("target/debug/declared-env");
        let root = workspace.root().canonicalize().expect("there");
        let root = root.to_str().expect("UTF-8");
        (
            workspace.run("target/kiln/debug/declared-env"),
            theirs.replace(root, "/kiln/workspace"),
        )
    };
    let (ours, theirs) = built(&[]);
    assert_eq!(ours, theirs);
    assert!(ours.contains("/kiln/workspace/assets/x"), "{ours}");
    // A variable that configuration names may come from the user, unless it is forced.
    let (ours, theirs) = built(&[("PLAIN", "users"), ("FORCED", "users")]);
    assert_eq!(ours, theirs);
    // What ships does not depend on who builds it.
    workspace
        .kiln(["build", "--hermetic"])
        .env("PLAIN", "users")
        .ok();
    assert_eq!(
        workspace.run("target/kiln/debug/declared-env"),
        built(&[]).0
    );
    let attestation = workspace.read("target/kiln/debug/kiln-attestation.json");
    let attestation: serde_json::Value = serde_json::from_slice(&attestation).expect("JSON");
    let configuration =
        &attestation["predicate"]["buildDefinition"]["externalParameters"]["configuration"];
    assert_eq!(
        configuration["environment"]["PLAIN"], "plain",
        "{configuration}"
    );
    // A changed file is noticed, and what was built before is known still.
    workspace.write(".cargo/config.toml", &ENV.replace("'plain'", "'other'"));
    let (ours, theirs) = built(&[]);
    assert_eq!(ours, theirs);
    workspace.write(".cargo/config.toml", ENV);
    assert_eq!(workspace.kiln(["build"]).ok().actions().0, 0);
}

#[test]
fn a_linker_is_one_of_the_toolchain_or_declared() {
    let workspace = workspace("declared-linker");
    workspace.write(
        ".cargo/config.toml",
        "[target.'cfg(unix)']\nlinker = 'cc'\n",
    );
    workspace.kiln(["build", "--hermetic"]).ok();
    workspace.cargo(["build"]).ok();
    assert_eq!(
        workspace.run("target/kiln/debug/declared-linker"),
        workspace.run("target/debug/declared-linker")
    );
    for (configuration, texts) in [
        (
            "target.'cfg(unix)'.linker = 'no-such-ld'",
            ["`target.cfg(unix).linker`", "programs = [\"no-such-ld\"]"],
        ),
        (
            "build.rustflags = ['-C', 'link-arg=-fuse-ld=nosuch']",
            ["`ld.nosuch`", "programs = [\"ld.nosuch\"]"],
        ),
        (
            "build.rustflags = ['-Clinker=no-such-ld']",
            ["`rustflags`", "programs = [\"no-such-ld\"]"],
        ),
        (
            "build.rustflags = ['-Ctarget-cpu=native']",
            ["`target-cpu=native`", "name a processor"],
        ),
        (
            "build.rustflags = ['-L', '/root']",
            ["`/root`", "read = [\"/root\"]"],
        ),
        ("env.X = '/root'", ["`env.X`", "read = [\"/root\"]"]),
        (
            "build.rustc-wrapper = 'no-such-cache'",
            ["`build.rustc-wrapper`", "programs = [\"no-such-cache\"]"],
        ),
    ] {
        workspace.write(".cargo/config.toml", configuration);
        workspace
            .kiln(["build", "--hermetic"])
            .run()
            .refuses(&texts);
    }
    // A daily build runs no cache in the place of rustc, and says so.
    workspace
        .kiln(["build"])
        .ok()
        .says(&["warning", "`no-such-cache`"]);
    // Nobody but the user chooses what runs outside of a sandbox.
    workspace.write(".cargo/config.toml", "build.rustc = 'tools/rustc'");
    workspace
        .kiln(["build"])
        .run()
        .refuses(&["`build.rustc`", "checkout"]);
}

#[test]
fn a_declared_wrapper_runs_every_rustc() {
    let workspace = workspace("declared-wrapper");
    workspace.write(".cargo/config.toml", "build.rustc-wrapper = 'env'\n");
    workspace.write("kiln.toml", "[toolchain]\nprograms = ['env']\n");
    let graph = workspace.kiln(["plan"]).ok().stdout;
    assert!(
        graph.contains("\"/usr/bin/env\"") || graph.contains("\"/bin/env\""),
        "{graph}"
    );
    workspace.kiln(["build", "--hermetic"]).ok();
    workspace.run("target/kiln/debug/declared-wrapper");
}
