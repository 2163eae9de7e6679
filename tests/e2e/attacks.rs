//! What a hostile dependency tries through the whole of kiln. Each attack works under cargo, which is the control.

use std::fs;

use crate::support::{Run, Workspace, directory, manifest};

/// Builds the workspace with cargo, and with kiln behind each kind of walls.
struct Attacked {
    cargo: Run,
    kiln: Vec<Run>,
}

fn attack(workspace: &Workspace) -> Attacked {
    let cargo = workspace.cargo(["build"]).run();
    let mut kiln = Vec::new();
    for isolation in ["full", "landlock"] {
        kiln.push(workspace.kiln(["build", "--isolation", isolation]).run());
    }
    Attacked { cargo, kiln }
}

impl Attacked {
    /// The attack works under cargo and not under kiln, which says each of `texts`.
    fn is_stopped(&self, texts: &[&str]) {
        assert_eq!(self.cargo.code, Some(0), "the control: {}", self.cargo);
        for run in &self.kiln {
            assert_eq!(run.code, Some(101), "{run}");
            run.says(texts);
        }
    }
}

const SECRET: &str = "the secret of the user";

#[test]
fn sources_cannot_include_what_is_outside_their_package() {
    let outside = directory();
    let secret = outside.path().join("secret.rs");
    fs::write(&secret, format!("pub const SECRET: &str = \"{SECRET}\";\n")).expect("written");
    let secret = secret.display().to_string();
    let ways = [
        (
            "absolute",
            format!("fn main() {{ println!(\"{{}}\", include_str!(\"{secret}\")); }}\n"),
        ),
        (
            "upwards",
            "fn main() { println!(\"{}\", include_str!(\"../../sibling/Cargo.toml\")); }\n"
                .to_owned(),
        ),
        (
            "path",
            format!(
                "#[path = \"{secret}\"]\nmod stolen;\nfn main() {{ println!(\"{{}}\", stolen::SECRET); }}\n"
            ),
        ),
        (
            "lock",
            "fn main() { println!(\"{}\", include_str!(\"../../Cargo.lock\")); }\n".to_owned(),
        ),
    ];
    for (way, main) in ways {
        let workspace = Workspace::new(&[
            (
                "Cargo.toml",
                "[workspace]\nresolver = \"3\"\nmembers = [\"app\", \"sibling\"]\n",
            ),
            ("app/Cargo.toml", &manifest(&format!("steals-{way}"), "")),
            ("app/src/main.rs", &main),
            ("sibling/Cargo.toml", &manifest("sibling", "")),
            ("sibling/src/lib.rs", ""),
        ]);
        attack(&workspace).is_stopped(&["couldn't read"]);
    }
}

#[test]
fn a_procedural_macro_cannot_read_the_user() {
    let outside = directory();
    let secret = outside.path().join("id_ed25519");
    fs::write(&secret, SECRET).expect("written");
    let source = format!(
        r#"
        extern crate proc_macro;
        #[proc_macro]
        pub fn steal(_: proc_macro::TokenStream) -> proc_macro::TokenStream {{
            let text = std::fs::read_to_string("{}").expect("to read the secret");
            assert!(std::env::var("TOKEN_OF_THE_USER").is_ok(), "no token");
            format!("{{text:?}}").parse().unwrap()
        }}
        "#,
        secret.display()
    );
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"app\", \"thief\"]\n",
        ),
        (
            "app/Cargo.toml",
            &manifest(
                "steals-by-macro",
                "[dependencies]\nthief = { path = \"../thief\" }",
            ),
        ),
        (
            "app/src/main.rs",
            "fn main() { println!(\"{}\", thief::steal!()); }\n",
        ),
        (
            "thief/Cargo.toml",
            &manifest("thief", "[lib]\nproc-macro = true"),
        ),
        ("thief/src/lib.rs", &source),
    ]);
    let control = workspace
        .cargo(["build"])
        .env("TOKEN_OF_THE_USER", "1")
        .run();
    assert_eq!(control.code, Some(0), "the control: {control}");
    for isolation in ["full", "landlock"] {
        let run = workspace
            .kiln(["build", "--isolation", isolation])
            .env("TOKEN_OF_THE_USER", "1")
            .run();
        assert_eq!(run.code, Some(101), "{run}");
        run.says(&["to read the secret"]);
    }
}

#[test]
fn what_a_build_script_leaves_cannot_lead_out() {
    let outside = directory();
    let secret = outside.path().join("secret");
    fs::write(&secret, SECRET).expect("written");
    let script = format!(
        r#"fn main() {{
            let out = std::env::var("OUT_DIR").unwrap();
            std::os::unix::fs::symlink("{}", format!("{{out}}/link")).unwrap();
        }}"#,
        secret.display()
    );
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest("leads-out", "")),
        ("build.rs", &script),
        (
            "src/main.rs",
            "fn main() { println!(\"{}\", include_str!(concat!(env!(\"OUT_DIR\"), \"/link\"))); }\n",
        ),
    ]);
    let attacked = attack(&workspace);
    attacked.is_stopped(&[]);
    for run in &attacked.kiln {
        assert!(
            !run.stderr.contains(SECRET) && !run.stdout.contains(SECRET),
            "{run}"
        );
    }
}

#[test]
fn directives_cannot_steer_the_tools() {
    for (index, variable) in ["LD_PRELOAD", "RUSTC_LOG", "COMPILER_PATH", "PATH"]
        .into_iter()
        .enumerate()
    {
        let script = format!(
            "fn main() {{ println!(\"cargo::rustc-env={variable}={{}}\", std::env::var(\"{variable}\").unwrap_or_default()); }}\n"
        );
        let workspace = Workspace::new(&[
            ("Cargo.toml", &manifest(&format!("steers{index}"), "")),
            ("build.rs", &script),
            ("src/main.rs", "fn main() {}\n"),
        ]);
        attack(&workspace).is_stopped(&[&format!("sets `{variable}`"), "help:"]);
    }
}

#[test]
fn the_linker_reads_no_file_of_the_user() {
    let outside = directory();
    let arguments = outside.path().join("arguments");
    fs::write(&arguments, "-Wl,--defsym=stolen=1\n").expect("written");
    let script = format!(
        "fn main() {{ println!(\"cargo::rustc-link-arg=@{}\"); }}\n",
        arguments.display()
    );
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest("links-outside", "")),
        ("build.rs", &script),
        ("src/main.rs", "fn main() {}\n"),
    ]);
    attack(&workspace).is_stopped(&[]);
}
