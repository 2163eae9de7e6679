//! Variables for compilers: of the crate that is granted them, and of no other.

use crate::support::{Workspace, manifest};

/// The value of `WORD`, as a macro of another crate finds it while it expands.
const MACRO: &str = "use proc_macro::TokenStream;\n\
    #[proc_macro]\n\
    pub fn word(_: TokenStream) -> TokenStream {\n\
        format!(\"{:?}\", std::env::var(\"POLICY_WORD\").unwrap_or_default()).parse().unwrap()\n\
    }\n";

/// A program, a library that it uses, and a macro that both use.
fn workspace(name: &str) -> Workspace {
    let member = |part: &str, rest: &str| manifest(&format!("{name}-{part}"), rest);
    let macros = format!("{name}-macros").replace('-', "_");
    let other = format!("{name}-other").replace('-', "_");
    let depends = |on: &[&str]| {
        let lines = on
            .iter()
            .map(|part| format!("{name}-{part} = {{ path = \"../{part}\" }}\n"));
        format!("[dependencies]\n{}", lines.collect::<String>())
    };
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"app\", \"other\", \"macros\"]\nresolver = \"3\"\n",
        ),
        (
            "app/Cargo.toml",
            &member("app", &depends(&["other", "macros"])),
        ),
        (
            "app/src/main.rs",
            &format!(
                "fn main() {{ println!(\"app {{}} {{}}, other {{}}\", {macros}::word!(), \
                 option_env!(\"POLICY_WORD\").unwrap_or(\"\"), {other}::words()); }}\n"
            ),
        ),
        ("other/Cargo.toml", &member("other", &depends(&["macros"]))),
        (
            "other/src/lib.rs",
            &format!(
                "pub fn words() -> String {{ format!(\"{{}} {{}}\", {macros}::word!(), \
                 option_env!(\"POLICY_WORD\").unwrap_or(\"\")) }}\n"
            ),
        ),
        (
            "macros/Cargo.toml",
            &member("macros", "[lib]\nproc-macro = true"),
        ),
        ("macros/src/lib.rs", MACRO),
    ]);
    workspace.cargo(["generate-lockfile", "--offline"]).ok();
    workspace
}

#[test]
fn a_compiler_gets_what_its_crate_is_granted_and_no_other_does() {
    let name = "policy-variable";
    let workspace = workspace(name);
    let said = |word: &str| {
        let built = workspace
            .kiln(["build", "--hermetic"])
            .env("POLICY_WORD", word)
            .ok();
        let program = format!("target/kiln/debug/{name}-app");
        (workspace.run(&program), built.actions().0)
    };
    // The control: under cargo everybody sees it.
    workspace
        .cargo(["build", "--offline"])
        .env("POLICY_WORD", "hi")
        .ok();
    let control = workspace.run(&format!("target/debug/{name}-app"));
    assert_eq!(control, "app hi hi, other hi hi\n");
    assert_eq!(said("hi").0, "app  , other  \n");
    let grant = format!("[crate.{name}-app]\nsource = \"path\"\nenv = [\"POLICY_WORD\"]\n");
    workspace.write("kiln.toml", &grant);
    assert_eq!(said("hi").0, "app hi hi, other  \n");
    // It is an input of that crate's actions: another value makes them again, and nothing else.
    assert_eq!(said("hi").1, 0);
    assert_eq!(said("ho"), ("app ho ho, other  \n".to_owned(), 1));
    let statement = workspace.read("target/kiln/debug/kiln-attestation.json");
    let statement = String::from_utf8(statement).expect("UTF-8");
    assert!(
        statement.contains("env POLICY_WORD (kiln.toml)"),
        "{statement}"
    );
    // What policy sets is the crate's own, too, and needs nothing of the user's.
    let grant = format!("[crate.{name}-other]\nset-env = {{ POLICY_WORD = \"set\" }}\n");
    workspace.write("kiln.toml", &grant);
    assert_eq!(said("hi").0, "app  , other set set\n");
    // What the macro's crate is granted is for compiling the macro, not for those who use it.
    let grant = format!("[crate.{name}-macros]\nenv = [\"POLICY_WORD\"]\n");
    workspace.write("kiln.toml", &grant);
    assert_eq!(said("hi").0, "app  , other  \n");
}

#[test]
fn documentation_and_tests_are_compiled_with_it_too() {
    let name = "policy-variable-tested";
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest(name, "")),
        (
            "src/lib.rs",
            "/// ```\n/// assert_eq!(env!(\"POLICY_WORD\"), \"hi\");\n/// ```\npub fn word() -> &'static str { env!(\"POLICY_WORD\") }\n\
             #[test]\nfn is_there() { assert_eq!(word(), std::env::var(\"POLICY_WORD\").unwrap()); }\n",
        ),
        (
            "kiln.toml",
            &format!(
                "[crate.{name}]\nset-env = {{ POLICY_WORD = \"hi\", ELSEWHERE = \"$OUT_DIR/x\" }}\n"
            ),
        ),
    ]);
    workspace.cargo(["generate-lockfile", "--offline"]).ok();
    workspace.kiln(["test"]).ok();
    workspace.kiln(["doc"]).ok();
}

#[test]
fn the_variable_that_a_compiler_lacked_is_found_by_trying() {
    let name = "policy-variable-missing";
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest(name, "")),
        (
            "src/main.rs",
            "fn main() { println!(\"{}\", env!(\"POLICY_PLACE\")); }\n",
        ),
    ]);
    workspace.cargo(["generate-lockfile", "--offline"]).ok();
    let build = |name: &str| {
        workspace
            .kiln(["build"])
            .env(name, "here")
            .env("POLICY_UNUSED", "x")
    };
    let command = format!("kiln policy grant {name} --env POLICY_PLACE");
    let failed = build("POLICY_PLACE").run();
    assert_eq!(failed.code, Some(101), "{failed}");
    failed.says(&["POLICY_PLACE", &command, "kiln has tried this"]);
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    workspace.kiln(words).ok();
    build("POLICY_PLACE").ok();
    assert_eq!(
        workspace.run(&format!("target/kiln/debug/{name}")),
        "here\n"
    );
    // Where granting it does not help, and where it is a secret by its name, nothing is proposed.
    workspace.write("kiln.toml", "");
    workspace.write(
        "src/main.rs",
        "fn main() { println!(\"{}\", env!(\"POLICY_TOKEN\")); }\n",
    );
    let failed = build("POLICY_TOKEN").run();
    assert!(!failed.stderr.contains("policy grant"), "{failed}");
    workspace.write(
        "src/main.rs",
        "fn main() { println!(\"{}\", POLICY_UNUSED); }\n",
    );
    let failed = build("POLICY_PLACE").run();
    assert!(!failed.stderr.contains("policy grant"), "{failed}");
}
