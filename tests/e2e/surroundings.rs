//! What members read of their workspace outside of their own directories.

use std::os::unix::fs::symlink;

use crate::support::{Workspace, manifest};

const WORKSPACE: &str = "[workspace]\nmembers = [\"crates/*\"]\nresolver = \"3\"\n";

/// A workspace whose member `name` reads what lies around it, in each of the ways that real ones do.
fn workspace(name: &str) -> Workspace {
    let workspace = Workspace::new(&[
        ("Cargo.toml", WORKSPACE),
        ("kiln.toml", "[workspace]\nreferences = true\n"),
        ("README.md", "# the workspace's read-me\n"),
        (".env", "TOKEN=of-the-user\n"),
        ("notes.txt", "not named\n"),
        (
            "shared/table.rs",
            "pub const TABLE: &str = include_str!(\"../data/table.txt\");\nmod inner;\npub use inner::INNER;\n",
        ),
        (
            "shared/inner.rs",
            "pub const INNER: &str = \"a module beside it\";\n",
        ),
        ("data/table.txt", "a table"),
        ("data/.hidden", "hidden"),
        ("proto/one.proto", "import \"two.proto\";"),
        ("proto/two.proto", "two"),
        (
            "tests/common/mod.rs",
            "pub fn common() -> &'static str { \"common\" }\n",
        ),
        ("tests/whole.rs", "#[test]\nfn whole() {}\n"),
        (
            &format!("crates/{name}/Cargo.toml"),
            &manifest(
                name,
                "build = \"build.rs\"\n[[test]]\nname = \"whole\"\npath = \"../../tests/whole.rs\"\n",
            ),
        ),
        (
            &format!("crates/{name}/build.rs"),
            "fn main() {\n    let one = std::fs::read_to_string(\"../../proto/one.proto\").unwrap();\n    \
             let directory = concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/../../proto\");\n    \
             let two = std::fs::read_to_string(format!(\"{directory}/two.proto\")).unwrap();\n    \
             for secret in [\"../../.env\", \"../../notes\"] {\n        let secret = format!(\"{secret}{}\", if secret.ends_with(\"v\") { \"\" } else { \".txt\" });\n        \
             println!(\"cargo::rustc-env=SAW_{}={}\", secret.len(), std::path::Path::new(&secret).exists());\n    }\n    \
             println!(\"cargo::rustc-env=HIDDEN={}\", std::path::Path::new(\"../../data\").join(\".hidden\").exists());\n    \
             println!(\"cargo::rustc-env=PROTO={one}{two}\");\n}\n",
        ),
        (
            &format!("crates/{name}/src/main.rs"),
            "#[path = \"../../../shared/table.rs\"]\nmod table;\n\
             fn main() {\n    print!(\"{}\", include_str!(\"../../../README.md\"));\n    println!(\"{} {}\", table::TABLE, table::INNER);\n    \
             println!(\"{}\", env!(\"PROTO\"));\n    println!(\"{} {} {}\", env!(\"SAW_10\"), env!(\"SAW_15\"), env!(\"HIDDEN\"));\n    \
             println!(\"{} {}\", file!(), include_str!(\"../LICENSE\"));\n}\n",
        ),
        (
            &format!("crates/{name}/tests/it.rs"),
            "#[path = \"../../../tests/common/mod.rs\"]\nmod common;\n#[test]\nfn it() { assert_eq!(common::common(), \"common\"); }\n",
        ),
    ]);
    workspace.write("LICENSE", "the licence");
    symlink(
        "../../LICENSE",
        workspace.root().join(format!("crates/{name}/LICENSE")),
    )
    .expect("linked");
    workspace
}

#[test]
fn what_a_members_text_names_is_there_as_under_cargo_and_nothing_else() {
    let name = "surroundings-named";
    let workspace = workspace(name);
    workspace.kiln(["build"]).ok();
    let kiln = workspace.run(&format!("target/kiln/debug/{name}"));
    workspace.cargo(["build", "--offline"]).ok();
    let cargo = workspace.run(&format!("target/debug/{name}"));
    // Cargo hides nothing.
    assert!(cargo.contains("true true true\n"), "{cargo}");
    assert_eq!(
        kiln,
        cargo.replace("true true true\n", "false false false\n")
    );
    workspace.kiln(["test"]).ok();
    // The same paths, wherever the checkout is.
    let copy = workspace.copy();
    symlink(
        "../../LICENSE",
        copy.root().join(format!("crates/{name}/LICENSE")),
    )
    .expect("linked");
    assert_eq!(copy.kiln(["build"]).ok().actions().0, 0);
    // Without namespaces, too.
    workspace.kiln(["build", "--isolation", "landlock"]).ok();
    let landlock = workspace.run(&format!("target/kiln/debug/{name}"));
    assert_eq!(landlock, kiln);
}

/// A macro that makes code for `wanted` asks manifests what the crate is called where it is used.
#[test]
fn macros_learn_what_a_renamed_dependency_is_called() {
    let member = |name: &str, key: &str| {
        manifest(
            name,
            &format!("[dependencies]\nasking.workspace = true\n{key}.workspace = true\n"),
        )
    };
    let asking = "extern crate proc_macro;\nuse proc_macro::TokenStream;\n#[proc_macro]\npub fn make(_: TokenStream) -> TokenStream {\n    \
        let own = std::env::var(\"CARGO_MANIFEST_DIR\").unwrap();\n    let root = std::fs::read_to_string(format!(\"{own}/../../Cargo.toml\"));\n    \
        let renamed = root.is_ok_and(|root| root.contains(\"called = { package = \\\"wanted\\\"\"));\n    \
        let name = if renamed { \"called\" } else { \"wanted\" };\n    format!(\"{name}::NUMBER\").parse().unwrap()\n}\n";
    let users = "fn main() { println!(\"{}\", asking::make!()); }\n";
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"crates/*\"]\nresolver = \"3\"\n[workspace.dependencies]\nasking = { path = \"crates/asking\" }\n\
             called = { package = \"wanted\", path = \"crates/wanted\" }\nwanted = { path = \"crates/wanted\" }\n",
        ),
        (
            "crates/asking/Cargo.toml",
            &manifest("asking", "[lib]\nproc-macro = true\n"),
        ),
        ("crates/asking/src/lib.rs", asking),
        ("crates/wanted/Cargo.toml", &manifest("wanted", "")),
        ("crates/wanted/src/lib.rs", "pub const NUMBER: u32 = 42;\n"),
        ("crates/one/Cargo.toml", &member("one", "called")),
        ("crates/one/src/main.rs", users),
        // It names nothing by another name, so it sees no manifest but its own.
        ("crates/two/Cargo.toml", &member("two", "wanted")),
        ("crates/two/src/main.rs", users),
    ]);
    workspace.cargo(["generate-lockfile"]).ok();
    workspace.kiln(["build", "--hermetic", "--workspace"]).ok();
    for program in ["one", "two"] {
        assert_eq!(
            workspace.run(&format!("target/kiln/debug/{program}")),
            "42\n"
        );
    }
}

#[test]
fn without_a_word_of_the_user_members_see_documents_only() {
    let name = "surroundings-documents";
    let source =
        |path: &str| format!("fn main() {{ print!(\"{{}}\", include_str!(\"{path}\")); }}\n");
    let workspace = Workspace::new(&[
        ("Cargo.toml", WORKSPACE),
        ("README.md", "read me\n"),
        ("docs/LICENSE-MIT", "licence\n"),
        ("secret.txt", "secret\n"),
        ("README.d/key.md", "secret\n"),
        (&format!("crates/{name}/Cargo.toml"), &manifest(name, "")),
        (
            &format!("crates/{name}/src/main.rs"),
            &source("../../../README.md"),
        ),
    ]);
    let main = format!("crates/{name}/src/main.rs");
    let program = format!("target/kiln/debug/{name}");
    workspace.kiln(["build"]).ok();
    assert_eq!(workspace.run(&program), "read me\n");
    workspace.write(&main, &source("../../../docs/LICENSE-MIT"));
    workspace.kiln(["build"]).ok();
    assert_eq!(workspace.run(&program), "licence\n");
    for path in ["secret.txt", "README.d/key.md"] {
        workspace.write(&main, &source(&format!("../../../{path}")));
        workspace.cargo(["build", "--offline"]).ok();
        let refused = workspace.kiln(["build"]).run();
        assert_eq!(refused.code, Some(101), "{refused}");
        refused.says(&[
            "couldn't read",
            &format!("--workspace {path}"),
            "references = true",
        ]);
    }
    // A link with such a name leads nowhere else.
    std::fs::remove_file(workspace.root().join("README.md")).expect("removed");
    symlink("secret.txt", workspace.root().join("README.md")).expect("linked");
    workspace.write(&main, &source("../../../README.md"));
    assert_eq!(workspace.kiln(["build"]).run().code, Some(101));
}

#[test]
fn a_change_of_what_is_named_is_seen_and_one_of_anything_else_is_not() {
    let name = "surroundings-changed";
    let workspace = workspace(name);
    let home = crate::support::directory();
    let build = || {
        let run = workspace.kiln(["build"]).env("KILN_HOME", home.path()).ok();
        run.actions().0
    };
    build();
    std::thread::sleep(std::time::Duration::from_millis(60));
    assert_eq!((build(), build()), (0, 0));
    workspace.write("notes.txt", "changed");
    workspace.write(".env", "TOKEN=another");
    assert_eq!(build(), 0);
    workspace.write("README.md", "changed\n");
    assert_eq!(build(), 3, "build script, its run, the program");
    assert!(
        workspace
            .run(&format!("target/kiln/debug/{name}"))
            .starts_with("changed\n")
    );
}

#[test]
fn what_text_names_in_part_takes_a_grant() {
    let name = "surroundings-granted";
    let workspace = Workspace::new(&[
        ("Cargo.toml", WORKSPACE),
        ("schema/a.txt", "schema"),
        (".settings/b", "hidden"),
        (
            &format!("crates/{name}/Cargo.toml"),
            &manifest(name, "build = \"build.rs\"\n"),
        ),
        (
            &format!("crates/{name}/build.rs"),
            "use std::path::Path;\nfn main() {\n    let root = Path::new(env!(\"CARGO_MANIFEST_DIR\")).parent().unwrap().parent().unwrap();\n    \
             let schema = std::fs::read_to_string(root.join(\"schema\").join(\"a.txt\")).unwrap_or_else(|error| panic!(\"{}: {error}\", root.join(\"schema/a.txt\").display()));\n    \
             let hidden = std::fs::read_to_string(root.join(\".settings/b\")).unwrap_or_default();\n    \
             println!(\"cargo::rustc-env=SCHEMA={schema} {hidden}\");\n}\n",
        ),
        (
            &format!("crates/{name}/src/main.rs"),
            "fn main() { println!(\"{}\", env!(\"SCHEMA\")); }\n",
        ),
    ]);
    let refused = workspace.kiln(["build"]).run();
    assert_eq!(refused.code, Some(101));
    refused.says(&[&format!(
        "kiln policy grant {name} --workspace schema/a.txt"
    )]);
    let policy =
        |paths: &str| format!("[crate.{name}]\nworkspace = [{paths}]\nreason = \"a schema\"\n");
    workspace.write("kiln.toml", &policy("\"schema\""));
    workspace.kiln(["build", "--hermetic"]).ok();
    let program = format!("target/kiln/debug/{name}");
    assert_eq!(workspace.run(&program), "schema\n");
    let statement = String::from_utf8(workspace.read("target/kiln/debug/kiln-attestation.json"));
    assert!(
        statement
            .expect("UTF-8")
            .contains("workspace schema (kiln.toml)")
    );
    workspace.write("kiln.toml", &policy("\"schema\", \".settings\""));
    workspace.kiln(["build"]).ok();
    assert_eq!(workspace.run(&program), "schema hidden\n");
    workspace.write("kiln.toml", &policy("\".\""));
    workspace.kiln(["build"]).ok();
    assert_eq!(workspace.run(&program), "schema hidden\n");
    workspace.write("kiln.toml", &policy("\"nothing\""));
    workspace
        .kiln(["build"])
        .run()
        .refuses(&["which is not there"]);
    workspace.write("kiln.toml", &policy("\"../x\""));
    workspace
        .kiln(["build"])
        .run()
        .refuses(&["below the root of the workspace"]);
}
