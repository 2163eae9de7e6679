//! `[target.TRIPLE.LINKS]` in the place of build scripts, `[alias]`, and runners, compared with the installed cargo.

use crate::support::{Workspace, manifest};

fn host() -> String {
    let output = std::process::Command::new("rustc")
        .arg("-vV")
        .output()
        .expect("rustc");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("a host").to_owned()
}

/// `NAME` uses `NAME-sys`, which links `native` and uses `NAME-base`, which links `base`.
fn workspace(name: &str) -> Workspace {
    let sys = format!("links = \"native\"\n[dependencies]\n{name}-base = {{ path = '../base' }}\n");
    let root = format!(
        "[workspace]\nmembers = ['sys', 'base']\n[dependencies]\n{name}-sys = {{ path = 'sys' }}\n"
    );
    let crate_name = name.replace('-', "_");
    let main = format!(
        "fn main() {{ println!(\"{{}} {{}} {{:?}}\", env!(\"ROOT_SAW\"), {crate_name}_sys::SAW, std::env::var(\"RUN_BY\")); }}\n"
    );
    let root_script = "fn main() { println!(\"cargo::rustc-env=ROOT_SAW={:?}\", std::env::var(\"DEP_NATIVE_KEY\")); }\n";
    let sys_lib = "#[cfg(given)]\npub const SAW: &str = env!(\"GIVEN\");\n#[cfg(not(given))]\npub const SAW: &str = \"script\";\n";
    let sys_script = "fn main() { println!(\"cargo::metadata=key=from-script\"); println!(\"cargo::rustc-check-cfg=cfg(given)\"); }\n";
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest(name, &root)),
        ("src/main.rs", &main),
        ("build.rs", root_script),
        ("sys/Cargo.toml", &manifest(&format!("{name}-sys"), &sys)),
        ("sys/src/lib.rs", sys_lib),
        ("sys/build.rs", sys_script),
        (
            "base/Cargo.toml",
            &manifest(&format!("{name}-base"), "links = 'base'\n"),
        ),
        ("base/src/lib.rs", ""),
        ("base/build.rs", "fn main() {}\n"),
    ]);
    workspace.cargo(["generate-lockfile", "--offline"]).ok();
    workspace
}

#[test]
fn configuration_stands_in_for_a_build_script() {
    let workspace = workspace("overrides");
    let host = host();
    let given = format!(
        "[target.{host}.native]\nrustc-cfg = ['given']\nrustc-check-cfg = ['cfg(given)']\nkey = 'from-file'\nrustc-env = {{ GIVEN = 'file' }}\n"
    );
    let target = format!("--target={host}");
    let unused = given.replace("native", "other");
    for (configuration, arguments, says) in [
        ("", &[] as &[&str], "Ok(\"from-script\") script"),
        (&unused, &[], "Ok(\"from-script\") script"),
        (&given, &[], "Ok(\"from-file\") file"),
        (&given, &[&target], "Ok(\"from-file\") file"),
    ] {
        workspace.write(".cargo/config.toml", configuration);
        let graph = ["plan", "--format", "unit-graph"];
        let ours = workspace.kiln(graph.iter().chain(arguments).copied()).ok();
        let graph = ["build", "-Zunstable-options", "--unit-graph"];
        let theirs = workspace
            .cargo(graph.iter().chain(arguments).copied())
            .env("RUSTC_BOOTSTRAP", "1")
            .ok();
        let json = |text: &str| -> serde_json::Value { serde_json::from_str(text).expect("JSON") };
        assert_eq!(
            json(&ours.stdout),
            json(&theirs.stdout),
            "{configuration} {arguments:?}"
        );
        workspace
            .kiln(["build"].iter().chain(arguments).copied())
            .ok();
        let directory = if arguments.is_empty() {
            "debug".to_owned()
        } else {
            format!("{host}/debug")
        };
        let said = workspace.run(&format!("target/kiln/{directory}/overrides"));
        assert!(said.starts_with(says), "{configuration}: {said}");
        workspace
            .cargo(["build"].iter().chain(arguments).copied())
            .ok();
        assert_eq!(
            said,
            workspace.run(&format!("target/{directory}/overrides"))
        );
    }
    workspace.write(
        ".cargo/config.toml",
        &format!("[target.{host}.native]\nwarning = 'x'\n"),
    );
    workspace
        .kiln(["build"])
        .run()
        .says(&["`target", "override"]);
    workspace.write(
        ".cargo/config.toml",
        &format!("[target.{host}.native]\nrustc-flags = '-X y'\n"),
    );
    workspace
        .kiln(["build"])
        .run()
        .refuses(&["rustc-flags", "`-X`"]);
}

#[test]
fn aliases_and_runners() {
    let workspace = workspace("aliased");
    workspace.write(
        ".cargo/config.toml",
        "[alias]\nstart = 'run --quiet --'\nagain = ['start', 'two words']\nround = 'about'\nabout = 'round'\nr = 'check --quiet'\n\
         [target.'cfg(unix)']\nrunner = ['env', 'RUN_BY=runner']\n[env]\nRUN_BY = 'env'\n",
    );
    let ours = workspace.kiln(["start"]).ok();
    let theirs = workspace.cargo(["start"]).ok();
    assert_eq!(ours.stdout, theirs.stdout);
    assert!(ours.stdout.contains("Ok(\"runner\")"), "{ours}");
    workspace.kiln(["--offline", "again", "more"]).ok();
    // Aliases that cargo brings along can be redefined, its commands cannot.
    assert_eq!(
        workspace.kiln(["r"]).ok().stdout,
        workspace.cargo(["r"]).ok().stdout
    );
    workspace
        .kiln(["check", "--config", "alias.check='build'"])
        .ok();
    for kiln in [workspace.kiln(["round"]), workspace.cargo(["round"])] {
        let run = kiln.run();
        assert_eq!(run.code, Some(101), "{run}");
        run.says(&["round", "about"]);
    }
    workspace.kiln(["nosuch"]).run().says(&["nosuch"]);
    workspace.write(".cargo/config.toml", "[env]\nRUN_BY = 'env'\n");
    assert_eq!(
        workspace.kiln(["run"]).ok().stdout,
        workspace.cargo(["run"]).ok().stdout
    );
    let users = |kiln: crate::support::Kiln| kiln.env("RUN_BY", "user").ok().stdout;
    assert_eq!(
        users(workspace.kiln(["run"])),
        users(workspace.cargo(["run"]))
    );
}

#[test]
fn patches_of_configuration_go_over_the_manifests() {
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            &manifest(
                "patched",
                "[dependencies]\ncfg-if = '1'\n[patch.crates-io]\ncfg-if = { path = 'one' }\n",
            ),
        ),
        (
            "src/main.rs",
            "fn main() { println!(\"{}\", cfg_if::WHICH); }\n",
        ),
        (
            "one/Cargo.toml",
            "[package]\nname = 'cfg-if'\nversion = '1.0.0'\n",
        ),
        ("one/src/lib.rs", "pub const WHICH: u8 = 1;\n"),
        (
            "two/Cargo.toml",
            "[package]\nname = 'cfg-if'\nversion = '1.2.0'\n",
        ),
        ("two/src/lib.rs", "pub const WHICH: u8 = 2;\n"),
        (
            ".cargo/config.toml",
            "[patch.crates-io]\ncfg-if = { path = 'two' }\n",
        ),
    ]);
    workspace.kiln(["build"]).ok();
    let ours = (
        workspace.read("Cargo.lock"),
        workspace.run("target/kiln/debug/patched"),
    );
    std::fs::remove_file(workspace.root().join("Cargo.lock")).expect("there");
    workspace.cargo(["build"]).ok();
    let theirs = (
        workspace.read("Cargo.lock"),
        workspace.run("target/debug/patched"),
    );
    assert_eq!(ours, theirs);
    assert_eq!(ours.1, "2\n");
    workspace.write(
        ".cargo/config.toml",
        "[patch.crates-io]\ncfg-if = { version = 1 }\n",
    );
    workspace
        .kiln(["build"])
        .run()
        .says(&["`patch.crates-io.cfg-if`"]);
}

#[test]
fn runners_run_programs_under_test() {
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest("run-through", "")),
        (
            "src/lib.rs",
            "//! ```\n//! assert_eq!(std::env::var(\"RUN_BY\").unwrap(), \"runner\");\n//! ```\n\
             #[test]\nfn by() { assert_eq!(std::env::var(\"RUN_BY\").unwrap(), \"runner\"); }\n",
        ),
    ]);
    assert_eq!(workspace.kiln(["test"]).run().code, Some(101));
    workspace.write(
        ".cargo/config.toml",
        "[target.'cfg(unix)']\nrunner = ['env', 'RUN_BY=runner']\n",
    );
    for kiln in [
        workspace.cargo(["test", "--offline"]),
        workspace.kiln(["test"]),
        workspace.kiln(["test", "--isolation", "landlock"]),
    ] {
        let run = kiln.ok();
        assert_eq!(run.stdout.matches("1 passed").count(), 2, "{run}");
    }
    workspace.write(
        ".cargo/config.toml",
        "[target.'cfg(unix)']\nrunner = 'no-such-runner'\n",
    );
    workspace.kiln(["test"]).run().refuses(&["no-such-runner"]);
}
