//! The main job: build once, never twice, the same bytes everywhere.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Kiln, Run, Workspace, directory, manifest};

/// A program and the library that it uses; the names begin with `name`.
fn program(name: &str) -> Workspace {
    let dependency = format!("[dependencies]\n{name}-lib = {{ path = \"../lib\" }}");
    let identifier = name.replace('-', "_");
    Workspace::new(&[
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"app\", \"lib\"]\n",
        ),
        ("app/Cargo.toml", &manifest(name, &dependency)),
        (
            "app/src/main.rs",
            &format!("fn main() {{ println!(\"{{}}\", {identifier}_lib::answer()); }}\n"),
        ),
        ("lib/Cargo.toml", &manifest(&format!("{name}-lib"), "")),
        ("lib/src/lib.rs", "pub fn answer() -> u32 { 42 }\n"),
    ])
}

/// What rustc leaves beside its output because a profile or a flag says so is no undeclared output.
#[test]
fn by_products_of_rustc_are_let_pass() {
    let workspace = program("by-products");
    workspace.cargo(["generate-lockfile"]).ok();
    let members = "[workspace]\nresolver = \"3\"\nmembers = [\"app\", \"lib\"]\n";
    let build = |setting: &str, flags: &str| {
        workspace.write(
            "Cargo.toml",
            &format!("{members}[profile.dev]\n{setting}\n"),
        );
        let kiln = workspace.kiln(["build", "--hermetic"]);
        kiln.env("RUSTFLAGS", flags).ok();
        assert_eq!(workspace.run("target/kiln/debug/by-products"), "42\n");
    };
    build("split-debuginfo = \"packed\"", "");
    // Debuggers look for it beside the program; cargo puts it there as well.
    workspace.cargo(["build"]).ok();
    for target in ["target/debug", "target/kiln/debug"] {
        assert!(
            workspace
                .root()
                .join(target)
                .join("by-products.dwp")
                .is_file(),
            "{target}"
        );
    }
    build("split-debuginfo = \"unpacked\"", "");
    build("", "--emit=asm,llvm-ir");
    build("", "-Csave-temps");
}

#[test]
fn the_same_everywhere_and_only_once() {
    let workspace = program("everywhere");
    let first = workspace.kiln(["build"]).ok();
    assert_eq!(first.actions(), (2, 2), "{first}");
    first.says(&[
        "Compiling everywhere-lib v0.1.0",
        "Compiling everywhere v0.1.0",
    ]);
    let artifact = "target/kiln/debug/everywhere";
    assert_eq!(workspace.run(artifact), "42\n");
    let again = workspace.kiln(["build"]).ok();
    assert_eq!(again.actions(), (0, 2), "{again}");

    // Another directory, user's home, zone, mask and modes of the sources.
    let other = workspace.copy();
    for file in other.files() {
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(other.root().join(file), mode).expect("its owner");
    }
    let home = directory();
    let elsewhere = |kiln: Kiln| {
        kiln.through(&["sh", "-c", "umask 077; exec \"$@\"", "sh"])
            .env("HOME", home.path())
            .env("TZ", "Pacific/Auckland")
            .env("LC_ALL", "C")
            .env("RUSTFLAGS_OF_NOBODY", "1")
    };
    let run = elsewhere(other.kiln(["build"])).ok();
    assert_eq!(run.actions(), (0, 2), "{run}");
    assert_eq!(other.read(artifact), workspace.read(artifact));

    // And with a store that knows nothing.
    let third = workspace.copy();
    let run = elsewhere(third.kiln(["build", "-j1"]))
        .env("KILN_HOME", home.path().join("store"))
        .ok();
    assert_eq!(run.actions(), (2, 2), "{run}");
    assert!(third.read(artifact) == workspace.read(artifact));
}

#[test]
fn what_changes_no_output_stops_there() {
    let workspace = program("cutoff");
    workspace.write(
        "lib/build.rs",
        "fn main() { println!(\"cargo::rerun-if-changed=build.rs\"); }\n",
    );
    let first = workspace.kiln(["build"]).ok();
    let all = first.actions().1;
    assert_eq!(first.actions(), (4, 4), "{first}");

    // A file that the compiler does not read: whoever sees the package runs again, and nobody after that.
    workspace.write("lib/README.md", "# The library\n");
    let run = workspace.kiln(["build"]).ok();
    assert_eq!(run.actions(), (3, all), "{run}");
    assert!(!run.stderr.contains("Compiling cutoff v"), "{run}");

    // A comment that leaves the build script's program the same.
    workspace.write(
        "lib/build.rs",
        "fn main() { println!(\"cargo::rerun-if-changed=build.rs\"); }\n// The end.\n",
    );
    let run = workspace.kiln(["build"]).ok();
    assert!(!run.stderr.contains("Compiling cutoff v"), "{run}");

    // A body that a dependent does not see: its object code is linked, and nothing else is compiled.
    workspace.write("lib/src/lib.rs", "pub fn answer() -> u32 { 43 }\n");
    let run = workspace.kiln(["build"]).ok();
    run.says(&["Compiling cutoff v"]);
    assert_eq!(workspace.run("target/kiln/debug/cutoff"), "43\n");

    // Back to what was: everything is known.
    workspace.write("lib/src/lib.rs", "pub fn answer() -> u32 { 42 }\n");
    let run = workspace.kiln(["build"]).ok();
    assert_eq!(run.actions(), (0, all), "{run}");
    assert_eq!(workspace.run("target/kiln/debug/cutoff"), "42\n");
}

#[test]
fn features_macros_scripts_and_c() {
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            &manifest(
                "parts",
                "[features]\nloud = [\"dep:parts-extra\"]\n\
                 [dependencies]\nparts-macro = { path = \"macro\" }\nparts-sys = { path = \"sys\" }\n\
                 parts-extra = { path = \"extra\", optional = true }",
            ),
        ),
        (
            "build.rs",
            r#"
fn main() {
    // The directives of the first generation.
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cfg=first_generation");
    println!("cargo:rustc-env=NATIVE={}", std::env::var("DEP_PARTS_NATIVE_VERSION").unwrap());
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap());
    std::fs::write(out.join("generated.rs"), "pub const GENERATED: u32 = 7;").unwrap();
    println!("cargo:rustc-cfg=loud_{}", std::env::var("CARGO_FEATURE_LOUD").is_ok());
}
"#,
        ),
        (
            "src/main.rs",
            r#"
#![allow(unexpected_cfgs)]
include!(concat!(env!("OUT_DIR"), "/generated.rs"));
#[derive(parts_macro::Name)]
struct Thing;
fn main() {
    let generation = if cfg!(first_generation) { 1 } else { 0 };
    let loud = if cfg!(loud_true) { "loud" } else { "quiet" };
    println!("{} {} {} {} {generation} {loud}", Thing::name(), parts_sys::native(), env!("NATIVE"), GENERATED);
    #[cfg(feature = "loud")]
    println!("{}", parts_extra::EXTRA);
}
"#,
        ),
        ("extra/Cargo.toml", &manifest("parts-extra", "")),
        ("extra/src/lib.rs", "pub const EXTRA: &str = \"extra\";\n"),
        (
            "macro/Cargo.toml",
            &manifest("parts-macro", "[lib]\nproc-macro = true"),
        ),
        (
            "macro/src/lib.rs",
            r#"
#[proc_macro_derive(Name)]
pub fn name(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let name = input.into_iter().nth(1).unwrap().to_string();
    format!("impl {name} {{ fn name() -> &'static str {{ {name:?} }} }}").parse().unwrap()
}
"#,
        ),
        (
            "sys/Cargo.toml",
            &manifest("parts-sys", "links = \"parts-native\""),
        ),
        (
            "sys/build.rs",
            r#"
use std::process::Command;
fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    let object = format!("{out}/native.o");
    let archive = format!("{out}/libparts_native.a");
    let done = Command::new("cc").args(["-c", "-O1", "-fPIC", "native.c", "-o", &object]).status().unwrap();
    assert!(done.success());
    assert!(Command::new("ar").args(["crsD", &archive, &object]).status().unwrap().success());
    println!("cargo::rerun-if-changed=native.c");
    println!("cargo::rustc-link-search=native={out}");
    println!("cargo::rustc-link-lib=static=parts_native");
    println!("cargo::rustc-check-cfg=cfg(second_generation)");
    println!("cargo::rustc-cfg=second_generation");
    println!("cargo::rustc-env=PLACE=sys");
    println!("cargo::metadata=version=1.2.3");
}
"#,
        ),
        ("sys/native.c", "int parts_native(void) { return 5; }\n"),
        (
            "sys/src/lib.rs",
            r#"
unsafe extern "C" { safe fn parts_native() -> std::ffi::c_int; }
#[cfg(second_generation)]
pub fn native() -> String { format!("{}{}", env!("PLACE"), parts_native()) }
"#,
        ),
    ]);
    workspace.kiln(["build"]).ok();
    let artifact = "target/kiln/debug/parts";
    assert_eq!(workspace.run(artifact), "Thing sys5 1.2.3 7 1 quiet\n");
    let quiet = workspace.read(artifact);
    workspace.kiln(["build", "--features", "loud"]).ok();
    assert_eq!(
        workspace.run(artifact),
        "Thing sys5 1.2.3 7 1 loud\nextra\n"
    );
    let run = workspace.kiln(["build"]).ok();
    assert_eq!(run.actions().0, 0, "{run}");
    assert!(workspace.read(artifact) == quiet);

    // The same from nothing, in another directory, with all that C and macros bring.
    let copy = workspace.copy();
    let home = directory();
    let run = copy.kiln(["build"]).env("KILN_HOME", home.path()).ok();
    assert_eq!(run.actions().0, run.actions().1, "{run}");
    assert!(copy.read(artifact) == quiet);

    // cargo's program says the same.
    let cargo = workspace
        .cargo(["run", "--quiet", "--offline"])
        .env("CARGO_TARGET_DIR", home.path().join("target"))
        .env("CARGO_HOME", home.path().join("cargo"))
        .ok();
    assert_eq!(cargo.stdout, workspace.run(artifact));
}

#[test]
fn other_ways_to_call_it() {
    let workspace = program("called");
    let cargo_kiln = env!("CARGO_BIN_EXE_cargo-kiln");
    let root = workspace.root();
    let run = Kiln::new(
        &root,
        cargo_kiln,
        ["kiln", "build", "--release", "--target-dir", "out"],
    )
    .ok();
    run.says(&["`release` profile"]);
    assert_eq!(workspace.run("out/kiln/release/called"), "42\n");

    let run = workspace.kiln(["build", "-q"]).ok();
    assert_eq!(
        (run.stdout.as_str(), run.stderr.as_str()),
        ("", ""),
        "{run}"
    );

    let run = workspace.kiln(["check"]).ok();
    run.says(&["Checking called v0.1.0"]);

    let lib = root.join("lib");
    let run = Kiln::new(
        &lib,
        env!("CARGO_BIN_EXE_kiln"),
        ["build", "--manifest-path", "../Cargo.toml"],
    )
    .ok();
    assert_eq!(run.actions(), (0, 2), "{run}");
}

#[test]
fn the_plan_knows_no_directory() {
    let workspace = program("planned");
    workspace.kiln(["generate-lockfile"]).ok();
    let plan = |workspace: &Workspace, arguments: &[&str]| {
        let arguments = ["plan"].into_iter().chain(arguments.iter().copied());
        workspace.kiln(arguments).ok().stdout
    };
    let copy = workspace.copy();
    for arguments in [
        &[][..],
        &["--release"],
        &["--mode", "test", "--all-targets"],
        &["--hermetic"],
    ] {
        let here = plan(&workspace, arguments);
        let _: serde_json::Value = serde_json::from_str(&here).expect("JSON");
        assert_eq!(here, plan(&copy, arguments));
        let root = workspace.root();
        assert!(!here.contains(root.to_str().expect("UTF-8")), "{here}");
    }
    assert!(
        !workspace.root().join("target").exists(),
        "planning writes nothing"
    );
}

#[test]
fn the_attestation_names_what_was_made() {
    let workspace = program("attested");
    workspace.kiln(["generate-lockfile"]).ok();
    workspace.kiln(["build", "--hermetic", "--release"]).ok();
    let text = workspace.read("target/kiln/release/kiln-attestation.json");
    let statement: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    let subjects = statement["subject"].as_array().expect("subjects");
    let names: Vec<_> = subjects.iter().map(|subject| &subject["name"]).collect();
    assert_eq!(names, ["release/attested", "release/libattested_lib.rlib"]);
    for subject in subjects {
        let path = format!("target/kiln/{}", subject["name"].as_str().expect("a name"));
        let bytes = workspace.read(&path);
        let sha256 = kiln::digest::Sha256::of(&bytes).to_string();
        assert_eq!(subject["digest"]["sha256"].as_str(), Some(sha256.as_str()));
        let blake3 = blake3::hash(&bytes).to_hex().to_string();
        assert_eq!(subject["digest"]["blake3"].as_str(), Some(blake3.as_str()));
    }
    // Nothing in it depends on where or when it was made.
    let copy = workspace.copy();
    copy.kiln(["build", "--hermetic", "--release"]).ok();
    assert_eq!(
        String::from_utf8_lossy(&copy.read("target/kiln/release/kiln-attestation.json")),
        String::from_utf8_lossy(&text)
    );
}

/// The processes below `ancestor`, by id and name.
fn descendants(ancestor: u32) -> Vec<(u32, String)> {
    let mut processes = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok());
        let stat = std::fs::read_to_string(entry.path().join("stat"));
        if let (Some(pid), Ok(stat)) = (pid, stat)
            && let Some((before, after)) = stat.rsplit_once(')')
            && let Some((_, name)) = before.split_once('(')
            && let Some(parent) = after
                .split_whitespace()
                .nth(1)
                .and_then(|parent| parent.parse::<u32>().ok())
        {
            processes.push((pid, parent, name.to_owned()));
        }
    }
    let mut found: Vec<u32> = vec![ancestor];
    let mut index = 0;
    while index < found.len() {
        let above = found[index];
        found.extend(
            processes
                .iter()
                .filter(|(_, parent, _)| *parent == above)
                .map(|(pid, _, _)| *pid),
        );
        index += 1;
    }
    processes
        .into_iter()
        .filter(|(pid, _, _)| found[1..].contains(pid))
        .map(|(pid, _, name)| (pid, name))
        .collect()
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest("interrupted", "")),
        (
            "build.rs",
            "fn main() {\n    let child = std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_secs(3600)));\n    child.join().unwrap();\n}\n",
        ),
        ("src/main.rs", "fn main() {}\n"),
    ]);
    let mut kiln = workspace.kiln(["build"]).command;
    let child = kiln
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let pid = child.id();
    let patience = Instant::now() + Duration::from_secs(300);
    let running = loop {
        let running = descendants(pid);
        if running
            .iter()
            .any(|(_, name)| name.starts_with("build-script") || name.starts_with("build_script"))
        {
            break running;
        }
        assert!(
            Instant::now() < patience,
            "the build script does not start: {running:?}"
        );
        std::thread::sleep(Duration::from_millis(50));
    };
    let signalled = Command::new("kill")
        .args(["-INT", &pid.to_string()])
        .status();
    assert!(signalled.is_ok_and(|status| status.success()));
    let run = Run::new(
        "interrupted build".to_owned(),
        child.wait_with_output().expect("waited for"),
    );
    assert_eq!(run.code, Some(130), "{run}");
    for (pid, name) in running {
        let left = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm"));
        assert!(
            !left.is_ok_and(|left| left.trim() == name),
            "`{name}` ({pid}) is still there: {run}"
        );
    }
    assert!(
        !workspace
            .root()
            .join("target/kiln/debug/interrupted")
            .exists()
    );

    // And the store is as good as before.
    workspace.write("build.rs", "fn main() {}\n");
    workspace.kiln(["build"]).ok();
}

#[test]
fn a_build_script_writes_among_its_sources_only_by_a_grant_and_then_to_a_copy() {
    let script = r#"
        fn main() -> std::io::Result<()> {
            std::fs::create_dir_all("completions/deep")?;
            std::fs::write("completions/deep/made", "made")?;
            let seen = std::fs::read_to_string("completions/deep/made")?;
            println!("cargo::rustc-env=SEEN={seen}");
            // Beside what was granted.
            if std::fs::write("src/other.rs", "").is_ok() { println!("cargo::rustc-env=SEEN=too much"); }
            Ok(())
        }
    "#;
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest("scribbler", "")),
        ("build.rs", script),
        (
            "src/main.rs",
            "fn main() { println!(\"{} {}\", env!(\"SEEN\"), option_env!(\"NONE\").is_none()); }\n",
        ),
    ]);
    let refused = workspace.kiln(["build"]).run();
    refused.refuses(&[
        "the build script of `scribbler v0.1.0` failed",
        "kiln policy grant scribbler --write",
    ]);
    let policy = "[crate.scribbler]\nreason = \"completions\"\nwrite = [\"completions\"]\n";
    workspace.write("kiln.toml", policy);
    let before = workspace.files();
    workspace.kiln(["build"]).ok();
    assert_eq!(workspace.run("target/kiln/debug/scribbler"), "made true\n");
    // The user's sources and the store's copy of them are what they were.
    assert_eq!(workspace.files(), before);
    // A link cannot lead the grant elsewhere, neither out of the package nor to another part of it.
    let outside = directory();
    let link = workspace.root().join("completions");
    std::os::unix::fs::symlink(outside.path(), &link).expect("made");
    workspace.kiln(["build"]).ok();
    let mut entries = std::fs::read_dir(outside.path()).expect("readable");
    assert!(entries.next().is_none());
    std::fs::remove_file(&link).expect("removed");
    std::os::unix::fs::symlink("src", &link).expect("made");
    let refused = workspace.kiln(["build"]).run();
    refused.refuses(&["is a symbolic link or below one"]);
}

/// Where cargo has `target`, a build script has directories that are its own: what it puts there is seen by nobody, and
/// is gone when it ends.
#[test]
fn a_build_script_counts_directories_from_its_out_dir() {
    let script = r#"
use std::path::{Path, PathBuf};
fn main() {
    let out = PathBuf::from(std::env::var("OUT_DIR").unwrap());
    let profile = std::env::var("PROFILE").unwrap();
    assert!(out.ends_with("out"));
    assert_eq!(out.ancestors().nth(2).and_then(Path::file_name).unwrap(), "build");
    let found = out.ancestors().find(|path| path.ends_with(&profile)).unwrap();
    assert_eq!(found, out.ancestors().nth(3).unwrap());
    let target = out.ancestors().nth(4).unwrap();
    assert!(target.ends_with("target"));
    for (place, name) in [(found, "libother.so"), (target, "completions/_program"), (&out, "number")] {
        let file = place.join(name);
        assert!(!file.exists(), "{}", file.display());
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "42").unwrap();
    }
    // Nobody else's directory is there, and what holds its own is not its own.
    let all = target.ancestors().nth(2).unwrap();
    let others: Vec<_> = std::fs::read_dir(all).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(others.iter().all(|name| name.to_str().unwrap().starts_with("deep-")), "{others:?}");
    std::fs::write(all.join("file"), "").unwrap_err();
    println!("cargo::metadata=target={}", target.display());
    // To rename what the outputs lie in takes away its own sight of them only.
    let _ = std::fs::rename(target, target.with_file_name("elsewhere"));
}
"#;
    let user = r#"
fn main() {
    let target = std::env::var("DEP_DEEP_TARGET").unwrap();
    assert!(!std::path::Path::new(&target).join("completions").exists());
}
"#;
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"app\", \"deep\"]\n",
        ),
        (
            "app/Cargo.toml",
            &manifest(
                "deep-app",
                "build = \"build.rs\"\n[dependencies]\ndeep-lib = { path = \"../deep\" }",
            ),
        ),
        ("app/build.rs", user),
        (
            "app/src/main.rs",
            "fn main() { println!(\"{}\", deep_lib::NUMBER); }\n",
        ),
        (
            "deep/Cargo.toml",
            &manifest("deep-lib", "build = \"build.rs\"\nlinks = \"deep\""),
        ),
        ("deep/build.rs", script),
        (
            "deep/src/lib.rs",
            "pub const NUMBER: &str = include_str!(concat!(env!(\"OUT_DIR\"), \"/number\"));\n",
        ),
    ]);
    workspace.cargo(["generate-lockfile"]).ok();
    for flags in [
        &["build", "--hermetic"][..],
        &["build", "--hermetic", "--release"],
    ] {
        workspace.kiln(flags.iter().copied()).ok();
    }
    assert_eq!(workspace.run("target/kiln/debug/deep-app"), "42\n");
    assert_eq!(workspace.run("target/kiln/release/deep-app"), "42\n");
    // Without mounts, who could write to what the outputs lie in could put others in their place.
    let refused = workspace
        .kiln(["build", "--hermetic", "--isolation", "landlock"])
        .run();
    assert_eq!(refused.code, Some(101), "{refused}");
    refused.says(&["the build script of `deep-lib v0.1.0", "PermissionDenied"]);
}

#[test]
fn a_build_script_sees_the_sources_of_what_it_is_made_of_and_of_whose_metadata_it_gets() {
    let members = "[workspace]\nresolver = \"3\"\nmembers = [\"app\", \"native-src\", \"native-sys\", \"stranger\"]\n";
    let workspace = Workspace::new(&[
        ("Cargo.toml", members),
        (
            "app/Cargo.toml",
            &manifest(
                "sees-app",
                "links = \"sees-app\"\n[dependencies]\nnative-sys = { path = \"../native-sys\" }\n\
                 [build-dependencies]\nnative-src = { path = \"../native-src\" }",
            ),
        ),
        (
            "app/build.rs",
            r#"fn main() {
                let text = std::fs::read_to_string(native_src::place()).expect("what the crate holds");
                let header = format!("{}/native.h", std::env::var("DEP_NATIVE_INCLUDE").unwrap());
                let header = std::fs::read_to_string(header).expect("the header of a dependency");
                println!("cargo::rustc-env=SEEN={} {}", text.trim(), header.trim());
                let stranger = concat!(env!("CARGO_MANIFEST_DIR"), "/../stranger/src/lib.rs");
                assert!(std::fs::read(stranger).is_err(), "a package that has nothing to do with it");
            }"#,
        ),
        (
            "app/src/main.rs",
            "fn main() { println!(\"{} {}\", env!(\"SEEN\"), native_sys::answer()); }\n",
        ),
        ("native-src/Cargo.toml", &manifest("native-src", "")),
        (
            "native-src/src/lib.rs",
            "pub fn place() -> &'static str { concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/data.txt\") }\n",
        ),
        ("native-src/data.txt", "data\n"),
        (
            "native-sys/Cargo.toml",
            &manifest("native-sys", "links = \"native\""),
        ),
        (
            "native-sys/build.rs",
            r#"fn main() {
                let own = std::env::var("CARGO_MANIFEST_DIR").unwrap();
                println!("cargo::metadata=include={own}/include");
                println!("cargo::rustc-link-search=native={own}/prebuilt");
                println!("cargo::rustc-link-lib=dylib=native_answer");
                println!("cargo::rustc-link-arg=-Wl,-rpath,{own}/prebuilt");
            }"#,
        ),
        (
            "native-sys/src/lib.rs",
            "unsafe extern \"C\" { fn native_answer() -> i32; }\npub fn answer() -> i32 { unsafe { native_answer() } }\n",
        ),
        ("native-sys/include/native.h", "header\n"),
        (
            "native-sys/answer.c",
            "int native_answer(void) { return 42; }\n",
        ),
        ("stranger/Cargo.toml", &manifest("stranger", "")),
        ("stranger/src/lib.rs", "\n"),
    ]);
    let prebuilt = workspace.root().join("native-sys/prebuilt");
    std::fs::create_dir(&prebuilt).expect("made");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(prebuilt.join("libnative_answer.so"))
        .arg(workspace.root().join("native-sys/answer.c"))
        .status()
        .expect("a C compiler");
    assert!(compiled.success());
    workspace.kiln(["build"]).ok();
    let output = Command::new(workspace.root().join("target/kiln/debug/sees-app"))
        .env("LD_LIBRARY_PATH", &prebuilt)
        .output()
        .expect("started");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "data header 42\n");
}
