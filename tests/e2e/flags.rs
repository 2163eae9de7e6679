//! Flags for rustc: which unit gets which, and what code sees of them, compared with the installed cargo.

use std::process::Command;

use crate::support::{Kiln, Workspace, manifest};

/// A program that tells which flags reached it, its library, its procedural macro and its build script.
fn workspace(name: &str) -> Workspace {
    let crate_name = name.replace('-', "_");
    let rest = format!(
        "[workspace]\nmembers = ['lib', 'mac']\n[dependencies]\n{name}-lib = {{ path = 'lib' }}\n\
         {name}-mac = {{ path = 'mac' }}\n[target.'cfg(flag_dep)'.dependencies]\n{name}-extra = {{ path = 'extra' }}\n"
    );
    let main = format!(
        "fn main() {{\n    print!(\"main {{}} lib {{}} mac {{}} \", cfg!(flag_a), {crate_name}_lib::seen(), {crate_name}_mac::seen!());\n\
         \x20   #[cfg(flag_dep)] {crate_name}_extra::say();\n\
         \x20   println!(\"script {{}} debug_assertions {{}}\", env!(\"SEEN\"), cfg!(debug_assertions));\n}}\n"
    );
    let script = "fn main() {\n    let var = |name: &str| std::env::var(name).unwrap_or(\"-\".into());\n\
                  \x20   println!(\"cargo::rustc-env=SEEN={} flags {:?} cfg_flag_a {} feature {} panic {}\", cfg!(flag_a), \
                  var(\"CARGO_ENCODED_RUSTFLAGS\"), var(\"CARGO_CFG_FLAG_A\"), \
                  var(\"CARGO_CFG_TARGET_FEATURE\").contains(\"popcnt\"), var(\"CARGO_CFG_PANIC\"));\n}\n";
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest(name, &rest)),
        ("src/main.rs", &main),
        ("build.rs", script),
        ("lib/Cargo.toml", &manifest(&format!("{name}-lib"), "")),
        ("lib/src/lib.rs", "pub fn seen() -> bool { cfg!(flag_a) }\n"),
        ("extra/Cargo.toml", &manifest(&format!("{name}-extra"), "")),
        ("extra/src/lib.rs", "pub fn say() { print!(\"extra \") }\n"),
        (
            "mac/Cargo.toml",
            &manifest(&format!("{name}-mac"), "[lib]\nproc-macro = true\n"),
        ),
        (
            "mac/src/lib.rs",
            "#[proc_macro]\npub fn seen(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n\
             \x20   cfg!(flag_a).to_string().parse().unwrap()\n}\n",
        ),
    ]);
    workspace.cargo(["generate-lockfile", "--offline"]).ok();
    workspace
}

fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("rustc");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("a host").to_owned()
}

struct Case<'a> {
    configuration: &'a str,
    arguments: &'a [&'a str],
    variables: &'a [(&'a str, &'a str)],
}

/// What the program says when kiln, and when cargo has built it.
fn said(workspace: &Workspace, case: &Case<'_>, host: &str) -> (String, String) {
    workspace.write(".cargo/config.toml", case.configuration);
    let with = |mut kiln: Kiln| {
        for (name, value) in case.variables {
            kiln = kiln.env(name, value);
        }
        kiln
    };
    let arguments = || ["build"].iter().chain(case.arguments).copied();
    with(workspace.kiln(arguments())).ok();
    with(workspace.cargo(arguments())).ok();
    let directory = if case
        .arguments
        .iter()
        .any(|argument| argument.contains("target"))
        || case.configuration.contains("target = ")
    {
        format!("{host}/debug")
    } else {
        "debug".to_owned()
    };
    let name = workspace.read("Cargo.toml");
    let name = String::from_utf8(name).expect("UTF-8");
    let name = name.split('"').nth(1).expect("a name").to_owned();
    (
        workspace.run(&format!("target/kiln/{directory}/{name}")),
        workspace.run(&format!("target/{directory}/{name}")),
    )
}

#[test]
fn each_unit_gets_cargos_flags() {
    let workspace = workspace("flags");
    let host = host();
    let by_triple = format!("[target.{host}]\nrustflags = ['--cfg', 'flag_a']\n");
    let both = format!(
        "{by_triple}[target.'cfg(unix)']\nrustflags = ['-C', 'target-feature=+popcnt']\n[build]\nrustflags = ['--cfg=flag_b']\n"
    );
    let target = format!("--target={host}");
    let variable = format!(
        "CARGO_TARGET_{}_RUSTFLAGS",
        host.to_uppercase().replace('-', "_")
    );
    let build = "[build]\nrustflags = ['--cfg', 'flag_a']\n";
    let with_target = format!("{build}target = '{host}'\n");
    let no_arguments: &[&str] = &[];
    let no_variables: &[(&str, &str)] = &[];
    for (configuration, arguments, variables) in [
        ("", no_arguments, no_variables),
        (build, no_arguments, no_variables),
        (build, &[&target], no_variables),
        (&with_target, no_arguments, no_variables),
        (&both, no_arguments, no_variables),
        (&both, &[&target], no_variables),
        (
            &both,
            no_arguments,
            &[("RUSTFLAGS", "-Cpanic=abort  --cfg flag_dep")],
        ),
        (&both, &[&target], &[("RUSTFLAGS", "")]),
        (
            build,
            no_arguments,
            &[("CARGO_ENCODED_RUSTFLAGS", "--cfg\u{1f}flag_a")],
        ),
        (
            build,
            no_arguments,
            &[(
                "CARGO_BUILD_RUSTFLAGS",
                "--cfg flag_dep -Cdebug-assertions=off",
            )],
        ),
        ("", no_arguments, &[(&variable, "--cfg flag_a")]),
        ("", &[&target], &[(&variable, "--cfg flag_dep")]),
        (
            build,
            &["--config", "build.rustflags=['--cfg', 'flag_dep']"],
            &[("CARGO_BUILD_RUSTFLAGS", "--cfg=flag_c")],
        ),
    ] {
        let case = Case {
            configuration,
            arguments,
            variables,
        };
        let (ours, theirs) = said(&workspace, &case, &host);
        assert_eq!(ours, theirs, "{configuration} {arguments:?} {variables:?}");
    }
}

#[test]
fn commands_of_cargos_that_kiln_has_not_are_known() {
    let workspace = Workspace::new(&[("Cargo.toml", &manifest("elsewhere", ""))]);
    for (command, help) in [
        ("add", "use `cargo add`"),
        ("publish", "kiln package"),
        ("rustdoc", "kiln doc"),
        ("fix", "without a sandbox"),
    ] {
        let run = workspace.kiln([command, "--flag", "word"]).run();
        assert_eq!(run.code, Some(101), "{run}");
        run.says(&[&format!("kiln has no command `{command}`"), "help:", help]);
    }
    let run = workspace.kiln(["biuld"]).run();
    assert_eq!(run.code, Some(1), "{run}");
    run.says(&["unrecognized subcommand", "'build'"]);
}
