//! Grants: written by `policy grant`, shown by `policy show`, counted by builds.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::registry::{Crate, Registry, by, json};
use crate::support::{Workspace, manifest};

/// A program whose build script says whether it got what it wants.
fn wanting(name: &str, script: &str) -> Workspace {
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest(name, "")),
        ("build.rs", script),
        (
            "src/main.rs",
            "fn main() { println!(\"{}\", env!(\"GOT\")); }\n",
        ),
    ]);
    workspace.cargo(["generate-lockfile", "--offline"]).ok();
    workspace
}

fn attestation(workspace: &Workspace) -> serde_json::Value {
    let text = workspace.read("target/kiln/debug/kiln-attestation.json");
    json(std::str::from_utf8(&text).expect("UTF-8"))
}

fn granted(workspace: &Workspace) -> Vec<String> {
    let text = attestation(workspace).to_string();
    let mut found = Vec::new();
    for part in text.split("\"granted\":").skip(1) {
        let end = part.find(']').or_else(|| part.find('}')).expect("an end");
        found.push(part[..end].to_owned());
    }
    found
}

#[test]
fn a_grant_is_written_shown_built_with_and_recorded() {
    let outside = crate::support::directory();
    // Not below `/tmp`, which is the action's own.
    let file = std::path::Path::new("/var/tmp").join(format!("kiln-e2e-{}", std::process::id()));
    fs::write(&file, "first").expect("written");
    let path = file.display().to_string();
    let script = format!(
        "fn main() {{ let got = std::fs::read_to_string({path:?}).unwrap_or(\"nothing\".into());\n\
         let word = std::env::var(\"WORD_OF_THE_USER\").unwrap_or(\"no word\".into());\n\
         let sed = std::process::Command::new(\"sed\").arg(\"--version\").output().is_ok();\n\
         println!(\"cargo::rustc-env=GOT={{got}}, {{word}}, {{sed}}\"); }}\n"
    );
    let name = "policy-grant-all";
    let workspace = wanting(name, &script);
    let program = format!("target/kiln/debug/{name}");
    let build = |word: &str| {
        workspace
            .kiln(["build", "--hermetic"])
            .env("WORD_OF_THE_USER", word)
            .ok()
    };
    build("hello");
    assert_eq!(workspace.run(&program), "nothing, no word, false\n");
    workspace
        .kiln([
            "policy",
            "grant",
            name,
            "--read",
            &path,
            "--exec",
            "sed",
            "--env",
            "WORD_OF_THE_USER",
            "--reason",
            "a test",
        ])
        .ok()
        .says(&["Granted", "kiln.toml"]);
    build("hello");
    assert_eq!(workspace.run(&program), "first, hello, true\n");
    let recorded = granted(&workspace).join("\n");
    for word in [
        &format!("read {path} (kiln.toml)"),
        "exec sed",
        "env WORD_OF_THE_USER",
    ] {
        assert!(recorded.contains(word), "{word}: {recorded}");
    }
    // What is granted is an input: its content is in the key, and in what is recorded.
    let before = attestation(&workspace);
    assert_eq!(build("hello").actions().0, 0);
    assert_ne!(build("other").actions().0, 0);
    assert_eq!(workspace.run(&program), "first, other, true\n");
    fs::write(&file, "second").expect("written");
    assert_ne!(build("hello").actions().0, 0);
    assert_eq!(workspace.run(&program), "second, hello, true\n");
    let after = attestation(&workspace);
    let dependencies = |statement: &serde_json::Value| {
        statement["predicate"]["buildDefinition"]["resolvedDependencies"].to_string()
    };
    assert_ne!(dependencies(&before), dependencies(&after));
    // Shown, with who says so and why.
    let shown = workspace.kiln(["policy", "show"]).ok().stdout;
    for text in [
        name,
        "exec sed",
        "kiln.toml, crate.policy-grant-all: a test",
    ] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    let shown = json(
        &workspace
            .kiln(["policy", "show", "--format", "json"])
            .ok()
            .stdout,
    );
    let packages = by(&shown["packages"], "name");
    assert_eq!(packages[name]["grants"]["exec"]["sed"]["required"], true);
    fs::remove_file(&file).expect("removed");
    drop(outside);
}

#[test]
fn a_copy_of_the_sources_can_be_written_to() {
    let script = "fn main() { let wrote = std::fs::write(\"src/made.txt\", \"x\").is_ok();\n\
                  println!(\"cargo::rustc-env=GOT={wrote}\"); }\n";
    let name = "policy-grant-write";
    let workspace = wanting(name, script);
    let program = format!("target/kiln/debug/{name}");
    workspace.kiln(["build"]).ok();
    assert_eq!(workspace.run(&program), "false\n");
    workspace.kiln(["policy", "grant", name, "--write"]).ok();
    workspace.kiln(["build"]).ok();
    assert_eq!(workspace.run(&program), "true\n");
    assert!(!workspace.root().join("src/made.txt").exists());
}

#[test]
fn what_cannot_be_granted_or_written_is_said() {
    let name = "policy-grant-refused";
    let workspace = wanting(name, "fn main() { println!(\"cargo::rustc-env=GOT=\"); }\n");
    let grant = |arguments: &[&str]| {
        let arguments = [&["policy", "grant", name], arguments].concat();
        workspace.kiln(arguments).run()
    };
    grant(&[]).refuses(&["nothing says what to grant"]);
    grant(&["--read", "/usr"]).refuses(&["more than any one crate can need"]);
    grant(&["--env", "LD_PRELOAD"]).refuses(&["LD_PRELOAD"]);
    grant(&["--bundle", "nothing"]).refuses(&["does not exist", "`cmake`"]);
    assert!(!workspace.root().join("kiln.toml").exists());
    let shown = grant(&["--exec", "sed", "--dry-run"]).stdout;
    assert_eq!(shown, format!("[crate.{name}]\nexec = [\"sed\"]\n"));
    assert!(!workspace.root().join("kiln.toml").exists());
    // A name that is nobody's is taken, and said.
    workspace
        .kiln(["policy", "grant", "policy-grant-refuse", "--exec", "sed"])
        .ok()
        .says(&["warning", "did you mean `policy-grant-refused`"]);
    let shown = workspace.kiln(["policy", "show"]).ok();
    shown.says(&["`[crate.policy-grant-refuse]`"]);
    // Unknown keys are refused by who reads and by who writes.
    let odd = "# mine\n[crate.a]\nunknown = 1\n";
    workspace.write("kiln.toml", odd);
    for arguments in [&["build"][..], &["policy", "grant", name, "--exec", "sed"]] {
        workspace
            .kiln(arguments.iter().copied())
            .run()
            .refuses(&["unknown field `unknown`", "kiln policy schema"]);
    }
    assert_eq!(workspace.read("kiln.toml"), odd.as_bytes());
    // A file that is read-only stays as it is, also for root, and a link stays a link.
    workspace.write("kiln.toml", "# mine\n");
    let file = workspace.root().join("kiln.toml");
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
    mode(0o444);
    grant(&["--exec", "sed"]).refuses(&["kiln.toml", "read-only"]);
    mode(0o644);
    fs::rename(&file, workspace.root().join("shared.toml")).expect("moved");
    std::os::unix::fs::symlink("shared.toml", &file).expect("linked");
    assert_eq!(grant(&["--exec", "sed"]).code, Some(0));
    assert!(fs::symlink_metadata(&file).expect("there").is_symlink());
    let text = String::from_utf8(workspace.read("shared.toml")).expect("UTF-8");
    assert!(
        text.contains("exec = [\"sed\"]") && text.contains("# mine"),
        "{text}"
    );
    grant(&["--exec", "sed"]).says(&["Unchanged"]);
}

#[test]
fn what_kiln_ships_can_be_switched_off() {
    // The name of a crate that kiln grants `make` to, which a path package of that name gets, too.
    let script = "fn main() { let make = std::process::Command::new(\"make\").arg(\"--version\").output().is_ok();\n\
                  println!(\"cargo::rustc-env=GOT={make}\"); }\n";
    let workspace = wanting("tikv-jemalloc-sys", script);
    for (policy, expected) in [
        ("", "true\n"),
        ("[policy]\ndefaults = false\n", "false\n"),
        ("[crate.tikv-jemalloc-sys]\ndefaults = false\n", "false\n"),
    ] {
        workspace.write("kiln.toml", policy);
        workspace.kiln(["build"]).ok();
        let said = workspace.run("target/kiln/debug/tikv-jemalloc-sys");
        assert_eq!(said, expected, "{policy}");
        let shown = workspace.kiln(["policy", "show"]).ok().stdout;
        assert_eq!(
            shown.contains("policy/jemalloc.toml"),
            expected == "true\n",
            "{shown}"
        );
    }
}

#[test]
fn the_schema_is_printed() {
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest("policy-schema", "")),
        ("src/lib.rs", ""),
    ]);
    let schema = json(&workspace.kiln(["policy", "schema"]).ok().stdout);
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["$defs"]["Crate"]["properties"]["exec"].is_object());
}

#[test]
fn a_crate_that_is_installed_grants_itself_nothing() {
    let secret =
        std::path::Path::new("/var/tmp").join(format!("kiln-e2e-own-{}", std::process::id()));
    fs::write(&secret, "secret").expect("written");
    let path = secret.display();
    let script = format!(
        "fn main() {{ println!(\"cargo::rustc-env=GOT={{}}\", std::fs::read_to_string(\"{path}\").unwrap_or(\"nothing\".into())); }}\n"
    );
    let policy = format!("[crate.policy-installs]\nread = [\"{path}\"]\n");
    let main = "fn main() { println!(\"{}\", env!(\"GOT\")); }\n";
    let registry = Registry::new(&[Crate::new("policy-installs", "1.0.0")
        .file("build.rs", &script)
        .file("kiln.toml", &policy)
        .file("src/main.rs", main)
        .file(
            "Cargo.lock",
            "version = 4\n\n[[package]]\nname = \"policy-installs\"\nversion = \"1.0.0\"\n",
        )]);
    // The control: in a workspace of the user's own, the same file grants it.
    let own = wanting("policy-installs", &script);
    own.write("kiln.toml", &policy);
    own.kiln(["build"]).ok();
    assert_eq!(own.run("target/kiln/debug/policy-installs"), "secret\n");
    let user = registry.workspace("policy-installer", &[], "fn main() {}\n");
    let config = user.workspace.root().join(".cargo/config.toml");
    fs::create_dir_all(user.home.path().join(".cargo")).expect("made");
    fs::copy(config, user.home.path().join(".cargo/config.toml")).expect("copied");
    user.kiln(["install", "policy-installs", "--root", "installed"])
        .ok();
    assert_eq!(
        user.workspace.run("installed/bin/policy-installs"),
        "nothing\n"
    );
    fs::remove_file(&secret).expect("removed");
}
