//! What code sees: every variable of compilations and build scripts, and every argument of rustc, under cargo and under
//! kiln, side by side.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Workspace, manifest};

type Variables = BTreeMap<String, String>;

/// A procedural macro that expands to the environment of the compiler that runs it.
const DUMPER: &str = r#"
#[proc_macro]
pub fn environment(_: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let mut text = String::new();
    for (name, value) in std::env::vars() { text += &format!("{name}={value}\u{1}"); }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    text += &format!("ARGUMENTS={}\u{1}", arguments.join("\u{2}"));
    format!("{text:?}").parse().unwrap()
}
"#;

const SCRIPT: &str = r#"
fn main() {
    let mut text = String::new();
    for (name, value) in std::env::vars() { text += &format!("{name}={value}\u{1}"); }
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::write(format!("{out}/environment"), text).unwrap();
    println!("cargo::rustc-env=FROM_SCRIPT=a=b");
    println!("cargo::rustc-env=CARGO_PKG_HOMEPAGE=overridden");
    println!("cargo:rustc-cfg=from_script");
    println!("cargo::rustc-check-cfg=cfg(from_script)");
    println!("cargo::rustc-link-search=/usr/lib\ncargo:rustc-link-search=native={out}/native\ncargo:rustc-flags=-L {out} -l dylib=m");
    println!("cargo::rustc-link-search=native={out}/native");
    println!("cargo::rustc-link-arg=-Wl,-O1\ncargo::rustc-link-arg=-Wl,-O1");
    println!("cargo::rustc-link-arg-bins=-Wl,--as-needed\ncargo::rustc-link-arg-bin=second-bin=-Wl,-z,now");
    println!("cargo::rustc-link-arg-tests=-Wl,-z,relro\ncargo:rustc-link-arg-benches=-Wl,--no-undefined");
    println!("cargo::rustc-link-arg-examples=-Wl,--build-id");
    println!("cargo::warning=careful\ncargo:warning=old");
}
"#;

const GAMMA_SCRIPT: &str = r#"
fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    println!("cargo:some-key=value");
    println!("cargo::metadata=root={out}");
    println!("cargo:Mixed_Case-key=twice\ncargo:Mixed_Case-key=later");
    println!("cargo:include=/usr/include");
    println!("cargo::rustc-link-search=native={out}\ncargo::rustc-link-search=/usr/share\ncargo::rustc-link-lib=dylib=dl");
    println!("cargo::rustc-link-arg-cdylib=-Wl,-z,defs");
}
"#;

const ALPHA: &str = r#"
[package]
name = "env-alpha"
version = "1.2.3-rc.4+build.5"
edition = "2021"
authors = ["A <a@example.com>", "B"]
description = "Says\nthings"
homepage = "https://example.com/home"
repository = "https://example.com/repo"
license = "MIT"
readme = "../README.md"
rust-version = "1.80"
links = "Alpha-Native"

[features]
default = ["with-dash", "dep:env-delta"]
with-dash = []
unused = []

[lib]
name = "alpha_renamed"

[[bin]]
name = "env-alpha"

[[bin]]
name = "second-bin"
path = "src/second.rs"

[[test]]
name = "integration"
harness = false

[[bench]]
name = "measure"
harness = false

[lints.rust]
unexpected_cfgs = { level = "warn", check-cfg = ['cfg(known)', 'cfg(other, values("x"))'] }
unsafe_code = "forbid"

[lints.clippy]
all = { level = "warn", priority = -1 }
dbg_macro = "allow"

[dependencies]
env-dumper = { path = "../dumper" }
env-gamma = { path = "../gamma" }
env-delta = { path = "../delta", optional = true }
"#;

fn workspace() -> Workspace {
    let say = "print!(\"{}\", env_dumper::environment!())";
    let library = "pub const ENVIRONMENT: &str = env_dumper::environment!();\n\
                   pub const SCRIPT: &str = include_str!(concat!(env!(\"OUT_DIR\"), \"/environment\"));\n";
    let main = format!("fn main() {{ {say} }}\n");
    let example = "fn main() {\n    let which = std::env::args().nth(1).unwrap();\n    print!(\"{}\", match which.as_str() {\n\
                   \x20       \"lib\" => alpha_renamed::ENVIRONMENT, \"script\" => alpha_renamed::SCRIPT, _ => env_dumper::environment!() });\n}\n";
    let gamma = "[package]\nname = \"env-gamma\"\nversion = \"0.1.0\"\nedition = \"2021\"\nlinks = \"g-lib\"\n";
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = ['alpha', 'dumper', 'gamma', 'delta']\nresolver = '2'\n\
             [profile.release]\ndebug = 1\nopt-level = 's'\npanic = 'abort'\n",
        ),
        ("README.md", "all\n"),
        ("alpha/Cargo.toml", ALPHA),
        ("alpha/build.rs", SCRIPT),
        ("alpha/src/lib.rs", library),
        ("alpha/src/main.rs", &main),
        ("alpha/src/second.rs", &main),
        ("alpha/examples/shown.rs", example),
        ("alpha/tests/integration.rs", &main),
        ("alpha/benches/measure.rs", &main),
        (
            "dumper/Cargo.toml",
            &manifest("env-dumper", "[lib]\nproc-macro = true\n"),
        ),
        ("dumper/src/lib.rs", DUMPER),
        ("gamma/Cargo.toml", gamma),
        ("gamma/build.rs", GAMMA_SCRIPT),
        ("gamma/src/lib.rs", ""),
        ("delta/Cargo.toml", &manifest("env-delta", "")),
        ("delta/src/lib.rs", ""),
    ]);
    workspace.cargo(["generate-lockfile", "--offline"]).ok();
    workspace
}

fn parse(text: &str) -> Variables {
    text.split_terminator('\u{1}')
        .map(|entry| {
            let (name, value) = entry.split_once('=').expect("a variable");
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

/// The program `deps/NAME-…` that is newest.
fn in_deps(directory: &Path, name: &str) -> PathBuf {
    let prefix = format!("{name}-");
    let entries = std::fs::read_dir(directory.join("deps")).expect("a directory");
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| {
            path.extension().is_none()
                && path
                    .file_name()
                    .is_some_and(|file| file.to_string_lossy().starts_with(&prefix))
        })
        .collect();
    found.sort_by_key(|path| {
        std::fs::metadata(path)
            .and_then(|data| data.modified())
            .ok()
    });
    found.pop().expect("a program")
}

/// What each of the compilations and the build script saw.
fn seen(directory: &Path) -> BTreeMap<&'static str, Variables> {
    let run = |program: PathBuf, argument: &str| {
        let output = Command::new(&program)
            .arg(argument)
            .output()
            .expect("started");
        parse(&String::from_utf8(output.stdout).expect("UTF-8"))
    };
    let example = directory.join("examples/shown");
    BTreeMap::from([
        ("lib", run(example.clone(), "lib")),
        ("script", run(example.clone(), "script")),
        ("example", run(example, "own")),
        ("bin", run(directory.join("env-alpha"), "")),
        ("second bin", run(directory.join("second-bin"), "")),
        ("test", run(in_deps(directory, "integration"), "")),
        ("bench", run(in_deps(directory, "measure"), "")),
    ])
}

/// rustc's arguments without what differs: kiln has a directory for each crate, hashes of its own, no incremental
/// compilation and no dep-info, and says where the toolchain is.
fn arguments_of(joined: &str) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = joined.split('\u{2}');
    let is_hash =
        |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let without_hash = |text: &str| -> String {
        let parts: Vec<&str> = text
            .split('-')
            .map(|part| {
                if is_hash(part.split('.').next().unwrap_or(part)) {
                    part.get(16..).unwrap_or("")
                } else {
                    part
                }
            })
            .collect();
        parts.join("-").replace("-.", ".")
    };
    while let Some(word) = words.next() {
        let mut next = || words.next().unwrap_or_default().to_owned();
        match word {
            "--sysroot" | "--out-dir" => drop(next()),
            "-C" => {
                let value = next();
                let own = ["incremental=", "metadata=", "extra-filename="];
                if !own.iter().any(|own| value.starts_with(own)) {
                    kept.push(format!("-C {value}"));
                }
            }
            "-L" => {
                let value = next();
                if value.starts_with("dependency=") {
                    continue;
                }
                // Below `OUT_DIR`, wherever that is.
                let place = value
                    .split_once("/out")
                    .map(|(_, rest)| rest.rsplit_once("/out").map_or(rest, |(_, rest)| rest));
                kept.push(match place {
                    Some(rest) => format!(
                        "-L {}OUT{rest}",
                        if value.starts_with("native=") {
                            "native="
                        } else {
                            ""
                        }
                    ),
                    None => format!("-L {value}"),
                });
            }
            "--extern" => {
                let value = next();
                let (name, path) = value.split_once('=').unwrap_or((&value, ""));
                let file = path.rsplit('/').next().unwrap_or_default();
                kept.push(format!("--extern {name}={}", without_hash(file)));
            }
            _ if word.starts_with("--diagnostic-width") => {}
            _ => kept.push(word.replace("--emit=dep-info,", "--emit=")),
        }
    }
    kept
}

/// Variables whose values are kiln's own; DIFFERENCES.md says so.
const OWN: [&str; 8] = [
    "CARGO_MAKEFLAGS",
    "LANG",
    "LD_LIBRARY_PATH",
    "NUM_JOBS",
    "PATH",
    "SOURCE_DATE_EPOCH",
    "TMPDIR",
    "TZ",
];

/// Variables that cargo passes on from its own environment.
const INHERITED: [&str; 9] = [
    "CARGO_HOME",
    "HOME",
    "KILN_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUSTUP_TOOLCHAIN_SOURCE",
    "RUST_RECURSION_COUNT",
    "TERM",
    "RUSTFLAGS",
];

fn compare(workspace: &Workspace, arguments: &[&str], directory: &str, variables: &[(&str, &str)]) {
    let command = [
        "build",
        "-p",
        "env-alpha",
        "--lib",
        "--bins",
        "--examples",
        "--tests",
        "--benches",
    ];
    let command = || command.iter().chain(arguments).copied();
    let (mut kiln, mut cargo) = (workspace.kiln(command()), workspace.cargo(command()));
    for (name, value) in variables {
        kiln = kiln.env(name, value);
        cargo = cargo.env(name, value);
    }
    kiln.ok();
    cargo.ok();
    let root = workspace.root().canonicalize().expect("there");
    let ours = seen(&root.join("target/kiln").join(directory));
    let theirs = seen(&root.join("target").join(directory));
    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .expect("rustc");
    let sysroot = String::from_utf8(sysroot.stdout).expect("UTF-8");
    let mut problems = Vec::new();
    for (what, theirs) in &theirs {
        let ours = &ours[what];
        let canonical = |value: &str| {
            value
                .replace(&format!("{}/target", root.display()), "TARGET")
                .replace(root.to_str().expect("UTF-8"), "/kiln/workspace")
                .replace(sysroot.trim(), "/kiln/toolchain")
        };
        for (name, value) in theirs {
            if INHERITED.contains(&name.as_str())
                || name.starts_with("SSL_CERT_")
                || OWN.contains(&name.as_str())
            {
                continue;
            }
            let expected = canonical(value);
            match ours.get(name) {
                None => problems.push(format!("{what}: no `{name}` (`{value}`)")),
                // Where the build puts things is kiln's own, but what is there is the same.
                Some(value) if name == "ARGUMENTS" => {
                    let (ours, theirs) = (arguments_of(value), arguments_of(&expected));
                    if ours != theirs {
                        problems.push(format!(
                            "{what}: rustc\n  {}\ncargo's\n  {}",
                            ours.join(" "),
                            theirs.join(" ")
                        ));
                    }
                }
                Some(value) if expected.contains("TARGET") => {
                    // The file of a program has underscores, as rustc writes it.
                    let file =
                        |path: &str| path.rsplit('/').next().map(|file| file.replace('-', "_"));
                    if !value.starts_with("/kiln/") || file(value) != file(&expected) {
                        problems.push(format!(
                            "{what}: `{name}` is `{value}`, not like `{expected}`"
                        ));
                    }
                }
                // Through rustup the programs are named, not placed.
                Some(value) if ["RUSTC", "RUSTDOC", "CARGO"].contains(&name.as_str()) => {
                    let file = name.to_lowercase();
                    if *value != format!("/kiln/toolchain/bin/{file}") || !expected.ends_with(&file)
                    {
                        problems.push(format!("{what}: `{name}` is `{value}`, not `{expected}`"));
                    }
                }
                Some(value) if *value != expected => {
                    problems.push(format!("{what}: `{name}` is `{value}`, not `{expected}`"));
                }
                Some(_) => {}
            }
        }
        for name in ours.keys() {
            if !theirs.contains_key(name) && !OWN.contains(&name.as_str()) {
                problems.push(format!("{what}: cargo sets no `{name}` (`{}`)", ours[name]));
            }
        }
    }
    assert!(
        problems.is_empty(),
        "{arguments:?}:\n{}",
        problems.join("\n")
    );
}

#[test]
fn code_sees_the_variables_that_cargo_gives() {
    let workspace = workspace();
    let output = Command::new("rustc").arg("-vV").output().expect("rustc");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let host = text
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("a host");
    compare(&workspace, &[], "debug", &[]);
    let target = format!("--target={host}");
    compare(
        &workspace,
        &["--release", "--no-default-features", &target],
        &format!("{host}/release"),
        &[("RUSTFLAGS", "-Ctarget-feature=+popcnt --cfg=extra")],
    );
}
