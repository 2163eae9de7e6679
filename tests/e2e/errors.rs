//! The ways in which it can go wrong: each stops with cargo's status, says what, where, why and what to do, and leaves
//! nothing half-written.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use kiln::digest::Sha256;

use crate::registry::{Reply, Server, entry, pack};
use crate::support::{Workspace, directory, manifest, store, with_mounts};

/// A package with one program.
fn simple(name: &str) -> Workspace {
    Workspace::new(&[
        ("Cargo.toml", &manifest(name, "")),
        (
            "src/main.rs",
            &format!("fn main() {{ println!(\"{name}\"); }}\n"),
        ),
    ])
}

/// No file that was begun and not finished is beneath `directory`.
fn nothing_unfinished(directory: &Path) {
    let unfinished: Vec<PathBuf> = walkdir::WalkDir::new(directory)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with('.'))
        .map(walkdir::DirEntry::into_path)
        .collect();
    assert!(unfinished.is_empty(), "{unfinished:?}");
}

/// Nothing was made in the workspace: no lock, no artifact.
fn untouched(workspace: &Workspace, before: &[String]) {
    assert_eq!(workspace.files(), before);
    let target = workspace.root().join("target/kiln");
    let left: Vec<_> = walkdir::WalkDir::new(target)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file() && entry.file_name() != "CACHEDIR.TAG")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn manifests() {
    let cases: &[(&str, &[&str])] = &[
        (
            "[package]\nname = \"broken\nversion = \"1.0.0\"\n",
            &["Cargo.toml:2", "name = \"broken"],
        ),
        (
            "[package]\nname = \"broken\"\nversion = 3\n",
            &["Cargo.toml:3:11", "version = 3"],
        ),
        ("[package]\nversion = \"1.0.0\"\n", &["Cargo.toml", "name"]),
        (
            "[package]\nname = \"broken\"\nedition = \"2024\"\n[dependencies]\nother = { path = \"nowhere\" }\n",
            &["other", "nowhere"],
        ),
        (
            "[package]\nname = \"broken\"\nedition = \"2051\"\n",
            &["2051", "Cargo.toml:3"],
        ),
    ];
    for (text, says) in cases {
        let workspace = Workspace::new(&[("Cargo.toml", text), ("src/main.rs", "fn main() {}\n")]);
        let before = workspace.files();
        workspace.kiln(["build"]).run().refuses(says);
        untouched(&workspace, &before);
        assert!(!workspace.root().join("target").exists());
    }
    let nothing = Workspace::new(&[("src/main.rs", "fn main() {}\n")]);
    let root = nothing.root();
    nothing.kiln(["build"]).run().refuses(&[
        "could not find `Cargo.toml`",
        &root.display().to_string(),
        "--manifest-path",
    ]);
    assert_eq!(nothing.files(), ["src/main.rs"]);
}

#[test]
fn unknown_keys_are_warned_about_as_cargo_warns() {
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            &manifest("unknown-keys", "surprise = 1\n[lib]\nnaem = \"x\"\n[zip]\n"),
        ),
        ("src/lib.rs", ""),
    ]);
    let warnings = |text: &str| {
        let mut lines: Vec<String> = text
            .lines()
            .filter(|line| line.contains("unused manifest key"))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    let target = directory();
    let cargo = workspace
        .cargo(["check"])
        .env("CARGO_TARGET_DIR", target.path().join("target"))
        .env("CARGO_HOME", target.path().join("cargo"))
        .ok();
    let kiln = workspace.kiln(["build"]).ok();
    assert_eq!(warnings(&kiln.stderr).len(), 3, "{kiln}");
    assert_eq!(warnings(&kiln.stderr), warnings(&cargo.stderr));
}

#[test]
fn what_is_asked_for_does_not_exist() {
    let workspace = simple("asked");
    workspace.kiln(["generate-lockfile"]).ok();
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["+nonexistent", "build"],
            &[
                "`nonexistent` is not installed",
                "`+nonexistent`",
                "rustup toolchain install",
            ],
        ),
        (&["build", "-p", "aksed"], &["aksed", "`asked`"]),
        (&["build", "--bin", "aksed"], &["aksed", "`asked`"]),
        (&["build", "--features", "none"], &["asked", "none"]),
        (&["build", "--profile", "relaese"], &["relaese", "release"]),
        (
            &["build", "--target", "x86_64-nowhere"],
            &["x86_64-nowhere"],
        ),
        (&["build", "--message-format", "xml"], &["xml"]),
        (&["build", "-j", "0"], &["`0`"]),
        (
            &["build", "--manifest-path", "none/Cargo.toml"],
            &["none/Cargo.toml"],
        ),
    ];
    let before = workspace.files();
    for (arguments, says) in cases {
        workspace
            .kiln(arguments.iter().copied())
            .run()
            .refuses(says);
        untouched(&workspace, &before);
    }
    workspace.write("rust-toolchain.toml", "[toolchain]\nchannel = \"1.2.3\"\n");
    workspace.kiln(["build"]).run().refuses(&[
        "`1.2.3` is not installed",
        "rust-toolchain.toml",
        "rustup toolchain install 1.2.3",
    ]);
    workspace.write("rust-toolchain.toml", "[toolchain\nchannel = \"1.2.3\"\n");
    workspace
        .kiln(["build"])
        .run()
        .refuses(&["rust-toolchain.toml"]);
}

#[test]
fn the_lock_is_demanded() {
    let workspace = simple("demanded");
    let before = workspace.files();
    for flag in ["--locked", "--hermetic", "--frozen"] {
        workspace.kiln(["build", flag]).run().refuses(&[
            "Cargo.lock",
            flag,
            "there is no such file",
            "kiln generate-lockfile",
        ]);
        untouched(&workspace, &before);
    }
    workspace.kiln(["generate-lockfile"]).ok();
    workspace.write(
        "Cargo.toml",
        &manifest(
            "demanded",
            "[dependencies]\ndemanded-lib = { path = \"lib\" }",
        ),
    );
    workspace.write("lib/Cargo.toml", &manifest("demanded-lib", ""));
    workspace.write("lib/src/lib.rs", "");
    let lock = workspace.read("Cargo.lock");
    let before = workspace.files();
    for flag in ["--locked", "--hermetic"] {
        workspace
            .kiln(["build", flag])
            .run()
            .refuses(&["Cargo.lock", flag, "demanded-lib"]);
        untouched(&workspace, &before);
        assert_eq!(workspace.read("Cargo.lock"), lock);
    }
    workspace.write("Cargo.lock", "version = 4\n[[package]]\nname = 3\n");
    workspace.kiln(["build"]).run().refuses(&["Cargo.lock:3"]);
}

/// A registry with one crate, `remote 1.0.0`; its archive is served by `download`.
fn registry(download: impl Fn(&[u8]) -> Reply + Send + Sync + 'static) -> Arc<Server> {
    let archive = pack(&[
        (
            "remote-1.0.0/Cargo.toml",
            manifest("remote", "").replace("0.1.0", "1.0.0").as_bytes(),
        ),
        ("remote-1.0.0/src/lib.rs", b"pub const REMOTE: u32 = 1;\n"),
    ]);
    let checksum = Sha256::of(&archive);
    Server::start(move |server, request, _| match request.path.as_str() {
        "/config.json" => Reply::ok(format!("{{\"dl\":\"{}/dl\"}}", server.address)),
        "/re/mo/remote" => Reply::ok(entry("remote", "1.0.0", &checksum)),
        path if path.starts_with("/dl/remote/1.0.0") => download(&archive),
        _ => Reply::status(404),
    })
}

/// A package that needs `dependency` of the registry.
fn needing(server: &Server, name: &str, dependency: &str) -> Workspace {
    let dependencies = format!(
        "[dependencies]\n{dependency} = {{ version = \"1\", registry-index = \"sparse+{}/\" }}",
        server.address
    );
    Workspace::new(&[
        ("Cargo.toml", &manifest(name, &dependencies)),
        ("src/lib.rs", ""),
    ])
}

#[test]
fn registries() {
    let whole = registry(|archive| Reply::ok(archive));
    let good = needing(&whole, "fetches", "remote");
    let run = good.kiln(["build"]).ok();
    assert_eq!(run.actions(), (2, 2), "{run}");
    let run = good.kiln(["build", "--offline"]).ok();
    assert_eq!(run.actions(), (0, 2), "{run}");

    let missing = needing(&whole, "missing", "nobody");
    let before = missing.files();
    missing
        .kiln(["build"])
        .run()
        .refuses(&["nobody", &whole.address, "Cargo.toml"]);
    untouched(&missing, &before);

    let version = needing(&whole, "version", "remote");
    version.write(
        "Cargo.toml",
        &String::from_utf8(version.read("Cargo.toml"))
            .expect("UTF-8")
            .replace("\"1\"", "\"7.1\""),
    );
    let before = version.files();
    version
        .kiln(["build"])
        .run()
        .refuses(&["remote", "7.1", "1.0.0"]);
    untouched(&version, &before);

    let offline = needing(&registry(|archive| Reply::ok(archive)), "offline", "remote");
    let before = offline.files();
    offline
        .kiln(["build", "--offline"])
        .run()
        .refuses(&["remote", "offline"]);
    untouched(&offline, &before);

    let garbled = registry(|archive| {
        let mut archive = archive.to_vec();
        *archive.last_mut().expect("bytes") ^= 1;
        Reply::ok(archive)
    });
    let checksum = needing(&garbled, "checksum", "remote");
    let home = directory();
    checksum
        .kiln(["build"])
        .env("KILN_HOME", home.path())
        .run()
        .refuses(&[
            "error[source::checksum]",
            "remote",
            &garbled.address,
            "sha256",
        ]);
    nothing_unfinished(home.path());
    assert!(!checksum.root().join("target/kiln/debug").exists());

    let cut =
        registry(|archive| Reply::Cut(200, Vec::new(), archive.len(), archive[..20].to_vec()));
    let truncated = needing(&cut, "truncated", "remote");
    let home = directory();
    truncated
        .kiln(["build"])
        .env("KILN_HOME", home.path())
        .env("CARGO_NET_RETRY", "0")
        .run()
        .refuses(&["remote", &cut.address]);
    nothing_unfinished(home.path());
    assert!(!truncated.root().join("target/kiln/debug").exists());
}

#[test]
fn disks() {
    let workspace = simple("disks");
    workspace.kiln(["build"]).ok();
    std::fs::remove_dir_all(workspace.root().join("target")).expect("removed");
    workspace.write("src/main.rs", "fn main() { println!(\"anew\"); }\n");
    let home = directory();
    let place = home.path().join("place");
    std::fs::create_dir(&place).expect("made");
    let shown = place.display().to_string();
    let read_only =
        |path: &str| format!("mount --bind '{path}' '{path}'\nmount -o remount,bind,ro '{path}'");
    let full = |path: &str| format!("mount -t tmpfs -o size=1m none '{path}'");

    // A store that cannot be written.
    let kiln = || workspace.kiln(["build"]).env("KILN_HOME", &place);
    let Some(run) = with_mounts(kiln(), &read_only(&shown)) else {
        return;
    };
    run.run().refuses(&["read-only", &shown, "KILN_HOME"]);
    untouched(&workspace, &workspace.files());
    with_mounts(kiln(), &full(&shown))
        .expect("as before")
        .run()
        .refuses(&["no space left", &shown, "KILN_HOME"]);
    untouched(&workspace, &workspace.files());
    // A store that is no directory.
    std::fs::write(home.path().join("file"), "").expect("written");
    workspace
        .kiln(["build"])
        .env("KILN_HOME", home.path().join("file/store"))
        .run()
        .refuses(&["file/store", "KILN_HOME"]);

    // A target directory that cannot be written.
    let target = workspace.root().join("target");
    let shown = target.display().to_string();
    std::fs::create_dir(&target).expect("made");
    let at_target =
        |script: &str| with_mounts(workspace.kiln(["build"]), script).expect("as before");
    at_target(&read_only(&shown))
        .run()
        .refuses(&["read-only", "target/kiln", "--target-dir"]);
    at_target(&full(&shown))
        .run()
        .refuses(&["no space left", "target/kiln", "--target-dir"]);
    nothing_unfinished(&target);
    // A workspace that cannot be written builds, if it has its lock and the artifacts go elsewhere.
    let kiln = workspace.kiln([
        "build",
        "--target-dir",
        home.path().join("out").to_str().expect("UTF-8"),
    ]);
    with_mounts(kiln, &read_only(workspace.root().to_str().expect("UTF-8")))
        .expect("as before")
        .ok();
    std::fs::remove_file(workspace.root().join("Cargo.lock")).expect("it was there");
    let kiln = workspace.kiln(["build"]);
    with_mounts(kiln, &read_only(workspace.root().to_str().expect("UTF-8")))
        .expect("as before")
        .run()
        .refuses(&["Cargo.lock", "read-only"]);
    // All of that did the store no harm.
    let run = workspace.kiln(["build"]).ok();
    assert_eq!(workspace.run("target/kiln/debug/disks"), "anew\n", "{run}");
}

#[test]
fn no_c_compiler() {
    let workspace = simple("no-compiler");
    let script = "for compiler in /usr/bin/*cc* /usr/bin/*clang* /usr/local/bin/*cc* /usr/bin/c[89]9*; do\n\
                  if [ -f \"$compiler\" ]; then mount --bind /dev/null \"$(readlink -f \"$compiler\")\" || true; fi\ndone";
    let home = directory();
    let kiln = workspace.kiln(["build"]).env("KILN_HOME", home.path());
    let Some(kiln) = with_mounts(kiln, script) else {
        return;
    };
    kiln.run().refuses(&[
        "no C compiler was found",
        "`cc`",
        "`/usr/bin`",
        "apt install",
    ]);
    untouched(&workspace, &workspace.files());
}

#[test]
fn a_kernel_without_landlock() {
    let workspace = simple("no-landlock");
    let directory = directory();
    let source = directory.path().join("without.c");
    std::fs::write(
        &source,
        r#"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(int count, char **arguments) {
    (void)count;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 444, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 446, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {5, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 9;
    execvp(arguments[1], arguments + 1);
    return 8;
}
"#,
    )
    .expect("written");
    let without = directory.path().join("without");
    let compiled = Command::new("cc")
        .arg(&source)
        .arg("-o")
        .arg(&without)
        .status();
    assert!(compiled.is_ok_and(|status| status.success()));
    let without = without.to_str().expect("UTF-8");
    for arguments in [
        &["build"][..],
        &["build", "--isolation", "landlock"],
        &["build", "--isolation", "full"],
    ] {
        workspace
            .kiln(arguments.iter().copied())
            .through(&[without])
            .run()
            .refuses(&["Landlock", "Linux 5.13"]);
        untouched(&workspace, &workspace.files());
    }
    // The control: with Landlock it works, and what is known needs none.
    workspace.kiln(["build"]).ok();
    workspace
        .kiln(["build", "--isolation", "full"])
        .through(&[without])
        .ok();
    assert!(store().is_dir());
}

#[test]
fn a_policy_with_an_unknown_key_is_shown_where_it_is() {
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest("bad-policy", "")),
        ("src/main.rs", "fn main() {}\n"),
        ("kiln.toml", "[crate.a]\nreason = \"x\"\nexek = [\"sh\"]\n"),
    ]);
    let run = workspace.kiln(["build"]).run();
    run.refuses(&[
        "`kiln.toml` is not valid",
        "unknown field `exek`",
        "kiln.toml:3:1",
    ]);
}
