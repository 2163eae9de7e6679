//! The environment that `plan::env` computes is the one that the installed cargo gives: a small workspace is built by
//! cargo, its build script and a procedural macro write down what they are given, and names and values are compared.
//! On the way, cargo's JSON messages are compared with `message`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it says what it skips and measures"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use cargo_platform::Cfg;
use kiln::directive::{self, Bootstrap, BuildScriptOutput, Subject};
use kiln::manifest::model::{CrateType, Edition, Package, PackageMetadata, Target, TargetKind};
use kiln::message::cargo_json::{
    ArtifactProfile, BuildScriptExecuted, CompilerArtifact, Line, TargetObject,
};
use kiln::message::rustc::Message;
use kiln::package::{FeatureName, PackageId, PackageName, SourceId, SourceKind, Summary};
use kiln::plan::env::{BuildScript, Common, Compile, Process, Variables};
use kiln::toolchain::model::TargetInfo;
use kiln::unit::graph::{
    DebugInfo, Lto, Mode, PanicStrategy, Platform, ProfileRoot, Strip, StripInner, Unit,
    UnitProfile,
};

const DUMP: &str = r#"
fn dump(name: &str) {
    let mut text = String::new();
    for (name, value) in std::env::vars_os() {
        text += &format!("{}\u{1}{}\u{2}", name.to_str().unwrap(), value.to_str().unwrap());
    }
    let folder = std::path::PathBuf::from(std::env::var_os("ENV_DUMP").unwrap());
    std::fs::write(folder.join(name), text).unwrap();
}
"#;

const MANIFEST: &str = r#"
[package]
name = "alpha-beta"
version = "1.2.3-rc.4+build.5"
edition = "2021"
authors = ["A <a@example.com>", "B"]
description = "Says\nthings"
homepage = "https://example.com/home"
repository = "https://example.com/repo"
license = "MIT"
license-file = "COPYING"
rust-version = "1.80"
links = "Alpha-Native"
default-run = "alpha-beta"

[features]
default = ["with-dash"]
with-dash = []
unused = []

[lib]
crate-type = ["lib", "cdylib"]

[dependencies]
dumper = { path = "../dumper" }
gamma = { path = "../gamma" }
"#;

/// A workspace in a temporary directory, and a folder for what its members write down.
struct Scratch {
    root: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let this = Self {
            root: tempfile::tempdir().unwrap(),
        };
        let dumper = format!(
            "extern crate proc_macro;
             {DUMP}
             #[proc_macro] pub fn dump_env(name: proc_macro::TokenStream) -> proc_macro::TokenStream {{
                 dump(&name.to_string()); Default::default()
             }}"
        );
        let build_script = format!(
            r#"{DUMP}
            fn main() {{
                dump("build_script");
                println!("cargo::rustc-env=FROM_SCRIPT=a=b");
                println!("cargo::rustc-env=CARGO_PKG_NAME=overridden");
                println!("cargo:rustc-cfg=from_script");
                println!("cargo:rustc-check-cfg=cfg(from_script)");
                println!("cargo:rustc-link-search=native=/nonexistent");
            }}"#
        );
        let library = "[package]\nversion = \"0.0.0\"\nedition = \"2021\"\n";
        let expand = |name: &str, rest: &str| format!("dumper::dump_env!({name});\n{rest}\n");
        for (path, text) in [
            (
                "Cargo.toml",
                "[workspace]\nmembers = [\"alpha\", \"dumper\", \"gamma\"]\nresolver = \"2\"\n"
                    .to_owned(),
            ),
            (
                ".cargo/config.toml",
                "[env]\nCONFIGURED = \"yes\"\nOUT_DIR = \"no\"\nCARGO_PKG_NAME = \"no\"\n"
                    .to_owned(),
            ),
            (
                "dumper/Cargo.toml",
                format!("{library}name = \"dumper\"\n[lib]\nproc-macro = true\n"),
            ),
            ("dumper/src/lib.rs", dumper),
            (
                "gamma/Cargo.toml",
                format!("{library}name = \"gamma\"\nlinks = \"g-lib\"\n"),
            ),
            (
                "gamma/build.rs",
                r#"fn main() { println!("cargo:some-key=value\ncargo::metadata=root=/r\ncargo:root=/later"); }"#
                    .to_owned(),
            ),
            ("gamma/src/lib.rs", String::new()),
            ("alpha/Cargo.toml", MANIFEST.to_owned()),
            ("alpha/README.md", "alpha\n".to_owned()),
            ("alpha/COPYING", "as you like\n".to_owned()),
            ("alpha/build.rs", build_script),
            (
                "alpha/src/lib.rs",
                expand("library", "pub fn f() { let unused_variable = 1; }"),
            ),
            ("alpha/src/main.rs", expand("binary", "fn main() {}")),
            ("alpha/examples/sample.rs", expand("example", "fn main() {}")),
            (
                "alpha/tests/integration.rs",
                expand("test", &format!("{DUMP}\n#[test] fn t() {{ dump(\"process\"); }}")),
            ),
        ] {
            let path = this.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir(this.path("dump")).unwrap();
        this
    }

    fn path(&self, path: &str) -> PathBuf {
        // Cargo resolves the symbolic links of the directory that it runs in.
        self.root.path().canonicalize().unwrap().join(path)
    }

    fn text(&self, path: &str) -> String {
        self.path(path).to_str().unwrap().to_owned()
    }

    fn dumped(&self, name: &str) -> Variables {
        fs::read_to_string(self.path("dump").join(name))
            .unwrap()
            .split_terminator('\u{2}')
            .map(|entry| {
                let (name, value) = entry.split_once('\u{1}').unwrap();
                (name.to_owned(), value.to_owned())
            })
            .collect()
    }

    /// What cargo itself is given and passes on.
    fn outer(&self) -> Variables {
        variables(&[
            ("PATH", &std::env::var("PATH").unwrap()),
            ("HOME", &self.text("")),
            ("CARGO_HOME", &self.text("cargo-home")),
            ("CARGO_TARGET_DIR", &self.text("target")),
            ("ENV_DUMP", &self.text("dump")),
            ("RUSTC", &tool("rustc")),
            ("RUSTDOC", &tool("rustdoc")),
            ("RUSTFLAGS", "--cfg a -C debuginfo=0"),
        ])
    }

    fn cargo(&self, arguments: &[&str]) -> String {
        let output = Command::new(tool("cargo"))
            .args(arguments)
            .args(["--offline", "-j2"])
            .current_dir(self.path(""))
            .env_clear()
            .envs(self.outer())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// The toolchain's own programs, not rustup's proxies.
fn tool(name: &str) -> String {
    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .unwrap();
    let sysroot = String::from_utf8(sysroot.stdout).unwrap();
    let path = Path::new(sysroot.trim()).join("bin").join(name);
    assert!(path.exists(), "no `{name}` in the toolchain");
    path.to_str().unwrap().to_owned()
}

fn package(scratch: &Scratch) -> Package {
    let own = |text: &str| Some(text.to_owned());
    let target = |name: &str, kind: TargetKind, path: &str| {
        let is_lib = matches!(kind, TargetKind::Lib(_));
        let is_script = kind == TargetKind::CustomBuild;
        Arc::new(Target {
            name: name.to_owned(),
            documented: is_lib,
            doctested: is_lib,
            tested: !is_script,
            benched: true,
            harness: true,
            for_host: is_script,
            kind,
            src_path: scratch.path("alpha").join(path),
            edition: Edition::E2021,
            required_features: None,
            doc_scrape_examples: false,
        })
    };
    Package {
        summary: Summary {
            id: PackageId::new(
                PackageName::new("alpha-beta").unwrap(),
                "1.2.3-rc.4+build.5".parse().unwrap(),
                SourceId::new(SourceKind::Path(scratch.path("alpha"))),
            ),
            dependencies: Vec::new(),
            features: BTreeMap::new(),
            links: own("Alpha-Native"),
            checksum: None,
            rust_version: Some("1.80".parse().unwrap()),
            yanked: false,
        },
        manifest_path: scratch.path("alpha/Cargo.toml"),
        targets: vec![
            target(
                "alpha_beta",
                TargetKind::Lib(vec![CrateType::Lib, CrateType::Cdylib]),
                "src/lib.rs",
            ),
            target("alpha-beta", TargetKind::Bin, "src/main.rs"),
            target("sample", TargetKind::ExampleBin, "examples/sample.rs"),
            target("integration", TargetKind::Test, "tests/integration.rs"),
            target("build-script-build", TargetKind::CustomBuild, "build.rs"),
        ],
        edition: Edition::E2021,
        metadata: PackageMetadata {
            authors: vec!["A <a@example.com>".to_owned(), "B".to_owned()],
            description: own("Says\nthings"),
            homepage: own("https://example.com/home"),
            documentation: None,
            repository: own("https://example.com/repo"),
            license: own("MIT"),
            license_file: own("COPYING"),
            readme: own("README.md"),
            keywords: Vec::new(),
            categories: Vec::new(),
        },
        default_run: own("alpha-beta"),
        lint_rustflags: Vec::new(),
        custom_metadata: None,
        publish: None,
        packaged: Default::default(),
        hints: None,
        unstable_keys: Vec::new(),
    }
}

fn profile() -> UnitProfile {
    UnitProfile {
        name: "dev".into(),
        root: ProfileRoot::Debug,
        opt_level: "0".into(),
        lto: Lto::Bool(false),
        codegen_units: None,
        debug: DebugInfo::Full,
        split_debuginfo: None,
        debug_assertions: true,
        overflow_checks: true,
        rpath: false,
        incremental: false,
        panic: PanicStrategy::Unwind,
        strip: Strip::Deferred(StripInner::None),
        rustflags: Vec::new(),
        hint_mostly_unused: None,
    }
}

fn unit(package: &Package, target: usize, mode: Mode) -> Unit {
    Unit {
        package: package.id().clone(),
        target: package.targets[target].clone(),
        profile: profile(),
        platform: Platform::Host,
        mode,
        features: ["default", "with-dash"]
            .map(|name| FeatureName::new(name).unwrap())
            .to_vec(),
        dependencies: Vec::new(),
    }
}

fn target_info() -> TargetInfo {
    let print = |arguments: &[&str]| {
        let output = Command::new(tool("rustc"))
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let version = print(&["-vV"]);
    let triple = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap();
    // With the flags of the build, as cargo asks.
    let cfg = print(&["-", "--print", "cfg", "--cfg", "a", "-C", "debuginfo=0"]);
    TargetInfo {
        triple: triple.to_owned(),
        cfg: cfg
            .lines()
            .map(|line| line.parse::<Cfg>().unwrap())
            .collect(),
        file_names: BTreeMap::new(),
        has_std: true,
        split_debuginfo: Vec::new(),
    }
}

/// Compares; `given` is what cargo was started with and passes on.
fn compare(what: &str, cargo: &Variables, kiln: &Variables, given: &Variables) {
    for (name, value) in cargo {
        // Where certificates are: cargo looks for them for its own downloads, and what it runs inherits the answer.
        if name.starts_with("SSL_CERT_") {
            continue;
        }
        match kiln.get(name) {
            Some(ours) => assert_eq!(ours, value, "{what}: `{name}`"),
            None => assert_eq!(given.get(name), Some(value), "{what}: `{name}` is missing"),
        }
    }
    for name in kiln.keys() {
        assert!(cargo.contains_key(name), "{what}: cargo sets no `{name}`");
    }
}

fn library_path(dumped: &Variables) -> Vec<String> {
    dumped["LD_LIBRARY_PATH"]
        .split(':')
        .map(str::to_owned)
        .collect()
}

#[test]
fn cargo_sets_the_same_variables() {
    let scratch = Scratch::new();
    scratch.cargo(&["test", "--workspace", "--all-targets"]);

    let package = package(&scratch);
    let dumped = scratch.dumped("build_script");
    let out_dir = dumped["OUT_DIR"].clone();
    let configured = variables(&[
        ("CONFIGURED", "yes"),
        ("OUT_DIR", "no"),
        ("CARGO_PKG_NAME", "no"),
    ]);
    let given = scratch.outer();
    let (manifest_dir, cargo) = (scratch.text("alpha"), tool("cargo"));

    // The build script.
    let gamma = directive::parse(
        b"cargo:some-key=value\ncargo::metadata=root=/r\ncargo:root=/later\n",
        &Subject::default(),
        &Bootstrap::default(),
    )
    .unwrap();
    let paths = library_path(&dumped);
    let info = target_info();
    let ours = BuildScript {
        common: Common {
            package: &package,
            manifest_dir: &manifest_dir,
            cargo: cargo.clone(),
            library_path: paths.clone(),
            configured: &configured,
        },
        unit: &unit(&package, 4, Mode::RunCustomBuild),
        target: &info,
        host: &info.triple,
        out_dir: &out_dir,
        jobs: 2,
        rustc: &tool("rustc"),
        rustdoc: &tool("rustdoc"),
        linker: None,
        wrappers: [None, None],
        rustflags: &["--cfg", "a", "-C", "debuginfo=0"].map(str::to_owned),
        makeflags: Some(&dumped["CARGO_MAKEFLAGS"]),
        dependencies: &[("g-lib".to_owned(), &gamma)],
    }
    .variables();
    compare("build script", &dumped, &ours, &given);
    for (name, value) in [
        ("CARGO_CFG_FEATURE", "default,with-dash"),
        ("CARGO_CFG_DEBUG_ASSERTIONS", ""),
        ("CARGO_CFG_UNIX", ""),
        ("CARGO_FEATURE_WITH_DASH", "1"),
        ("CARGO_MANIFEST_LINKS", "Alpha-Native"),
        ("CARGO_PKG_NAME", "alpha-beta"),
        ("CONFIGURED", "yes"),
        ("DEP_G_LIB_ROOT", "/later"),
        ("DEP_G_LIB_SOME_KEY", "value"),
    ] {
        assert_eq!(ours[name], value, "{name}");
    }
    for name in ["CARGO_FEATURE_UNUSED", "RUSTFLAGS", "CARGO_PRIMARY_PACKAGE"] {
        assert!(
            !ours.contains_key(name) && !dumped.contains_key(name),
            "{name}"
        );
    }

    // The compilations.
    let script = BuildScriptOutput {
        env: vec![
            ("FROM_SCRIPT".to_owned(), "a=b".to_owned()),
            ("CARGO_PKG_NAME".to_owned(), "overridden".to_owned()),
        ],
        ..BuildScriptOutput::default()
    };
    let executables = variables(&[("alpha-beta", &scratch.text("target/debug/alpha-beta"))]);
    for (name, target) in [("library", 0), ("binary", 1), ("example", 2), ("test", 3)] {
        let dumped = scratch.dumped(name);
        let paths = library_path(&dumped);
        let ours = Compile {
            common: Common {
                package: &package,
                manifest_dir: &manifest_dir,
                cargo: cargo.clone(),
                library_path: paths.clone(),
                configured: &configured,
            },
            unit: &unit(&package, target, Mode::Build),
            is_primary: true,
            out_dir: Some(&out_dir),
            target_tmpdir: Some(&scratch.text("target/tmp")),
            executables: &executables,
            makeflags: Some(&dumped["CARGO_MAKEFLAGS"]),
            script: Some(&script),
        }
        .variables();
        compare(name, &dumped, &ours, &given);
    }

    // A test as it runs.
    let dumped = scratch.dumped("process");
    let paths = library_path(&dumped);
    let ours = Process {
        common: Common {
            package: &package,
            manifest_dir: &manifest_dir,
            cargo: cargo.clone(),
            library_path: paths.clone(),
            configured: &configured,
        },
        target: &package.targets[3],
        out_dir: Some(&out_dir),
        executables: &executables,
        script: Some(&script),
    }
    .variables();
    compare("process", &dumped, &ours, &given);
}

#[test]
fn cargo_writes_the_same_json() {
    let scratch = Scratch::new();
    let lines = |format: &str| -> Vec<String> {
        let format = format!("--message-format={format}");
        scratch
            .cargo(&["build", "-p", "alpha-beta", "--lib", &format])
            .lines()
            .map(str::to_owned)
            .collect()
    };
    // The first builds; the second finds everything fresh and repeats what was said.
    let plain = lines("json");
    let colourful = lines("json-diagnostic-rendered-ansi");
    let diagnostics = |lines: &[String]| -> Vec<String> {
        let message = ",\"message\":";
        lines
            .iter()
            .filter(|line| line.starts_with("{\"reason\":\"compiler-message\""))
            .map(|line| {
                let start = line.find(message).unwrap() + message.len();
                line[start..line.len() - 1].to_owned()
            })
            .collect()
    };
    let raw = diagnostics(&colourful);
    assert_eq!(raw.len(), 1, "one warning is expected");
    for (plain, raw) in diagnostics(&plain).iter().zip(&raw) {
        let Message::Diagnostic(diagnostic) = Message::parse(raw.as_bytes()) else {
            panic!("{raw}");
        };
        assert_eq!(diagnostic.code.as_deref(), Some("unused_variables"));
        assert_eq!(diagnostic.cargo_json(true).get(), raw);
        assert_eq!(diagnostic.cargo_json(false).get(), plain);
    }

    let package = package(&scratch);
    let package_id = format!(
        "path+file://{}#alpha-beta@1.2.3-rc.4+build.5",
        scratch.text("alpha")
    );
    let find = |start: &str| -> &String {
        plain
            .iter()
            .find(|line| {
                line.starts_with(start)
                    && line.contains(&package_id)
                    && !line.contains("custom-build")
            })
            .unwrap()
    };
    let executed = find("{\"reason\":\"build-script-executed\"");
    let out_dir = executed.split("\"out_dir\":\"").nth(1).unwrap();
    assert_eq!(
        *executed,
        Line::BuildScriptExecuted(BuildScriptExecuted {
            package_id: package_id.clone(),
            linked_libs: Vec::new(),
            linked_paths: vec!["native=/nonexistent".to_owned()],
            cfgs: vec!["from_script".to_owned()],
            env: vec![
                ("FROM_SCRIPT".to_owned(), "a=b".to_owned()),
                ("CARGO_PKG_NAME".to_owned(), "overridden".to_owned()),
            ],
            out_dir: out_dir.trim_end_matches("\"}").to_owned(),
        })
        .to_json()
    );
    assert_eq!(
        *find("{\"reason\":\"compiler-artifact\""),
        Line::CompilerArtifact(CompilerArtifact {
            package_id,
            manifest_path: scratch.text("alpha/Cargo.toml"),
            target: TargetObject::from(&*package.targets[0]),
            profile: ArtifactProfile::new(&profile(), Mode::Build),
            features: vec!["default".to_owned(), "with-dash".to_owned()],
            filenames: vec![
                scratch.text("target/debug/libalpha_beta.rlib"),
                scratch.text("target/debug/libalpha_beta.so"),
            ],
            executable: None,
            fresh: false,
        })
        .to_json()
    );
    assert_eq!(
        plain.last().unwrap(),
        &Line::BuildFinished { success: true }.to_json()
    );
}
