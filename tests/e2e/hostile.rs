//! Hostile crates through the whole of kiln: what a build script, a procedural macro or a directive leaves, forges or
//! wears out. `attacks` has what they try to read.

use crate::skip::skip;
use std::fmt::Write as _;
use std::fs;

use crate::support::{Run, Workspace, directory, manifest};

const ISOLATIONS: [&str; 2] = ["full", "landlock"];

/// A workspace of one package with this build script, which has `out` for `OUT_DIR`.
fn scripted(name: &str, body: &str) -> Workspace {
    let script = format!(
        "fn main() {{ let out = std::env::var(\"OUT_DIR\").unwrap(); let out = out.as_str(); let _ = out; {body} }}\n"
    );
    Workspace::new(&[
        ("Cargo.toml", &manifest(name, "")),
        ("build.rs", &script),
        ("src/main.rs", "fn main() {}\n"),
    ])
}

/// Builds with kiln behind each kind of walls, once more after that, and says how the first build ended.
fn build(workspace: &Workspace) -> Vec<Run> {
    let mut runs = Vec::new();
    for isolation in ISOLATIONS {
        runs.push(workspace.kiln(["build", "--isolation", isolation]).run());
        // Whatever was left behind, the next build works.
        let next = Workspace::new(&[
            ("Cargo.toml", &manifest("after-an-attack", "")),
            ("src/main.rs", "fn main() {}\n"),
        ]);
        next.kiln(["build", "--isolation", isolation]).ok();
    }
    runs
}

fn all_fail(runs: &[Run], texts: &[&str]) {
    for run in runs {
        assert_eq!(run.code, Some(101), "{run}");
        run.says(texts);
    }
}

/// Runs a command in a user namespace in which none can be made, as where a container or a distribution forbids them.
const WITHOUT_NAMESPACES: [&str; 6] = [
    "unshare",
    "-Ur",
    "sh",
    "-c",
    "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$@\"",
    "sh",
];

/// The output directory is where it is, whatever a build script wants in its place.
#[test]
fn the_output_directory_cannot_be_swapped() {
    let outside = directory();
    fs::write(outside.path().join("secret"), "s").expect("written");
    let workspace = scripted(
        "swaps-its-output",
        &format!(
            "std::fs::remove_dir(out).or_else(|_| std::fs::rename(out, format!(\"{{out}}-away\"))).expect(\"to be rid of it\"); \
             std::os::unix::fs::symlink({:?}, out).unwrap();",
            outside.path()
        ),
    );
    let control = workspace.cargo(["build"]).run();
    assert_eq!(control.code, Some(0), "the control: {control}");
    all_fail(&build(&workspace), &["to be rid of it"]);
}

#[test]
fn what_is_left_behind_stops_no_later_build() {
    for (name, body) in [
        (
            "leaves-it-deep",
            "std::env::set_current_dir(out).unwrap(); \
             for _ in 0..3000 { std::fs::create_dir(\"d\").unwrap(); std::env::set_current_dir(\"d\").unwrap(); }",
        ),
        (
            "leaves-it-deep-in-tmp",
            "std::env::set_current_dir(std::env::temp_dir()).unwrap(); \
             for _ in 0..3000 { std::fs::create_dir(\"d\").unwrap(); std::env::set_current_dir(\"d\").unwrap(); } panic!(\"deep\")",
        ),
        (
            "leaves-it-locked",
            "use std::os::unix::fs::PermissionsExt; \
             for root in [out.to_owned(), std::env::temp_dir().display().to_string()] { \
             let inner = format!(\"{root}/a/b\"); std::fs::create_dir_all(&inner).unwrap(); std::fs::write(format!(\"{inner}/f\"), \"\").unwrap(); \
             for d in [inner, format!(\"{root}/a\")] { std::fs::set_permissions(d, std::fs::Permissions::from_mode(0)).unwrap(); } } panic!(\"locked\")",
        ),
        (
            "leaves-a-pipe",
            "assert!(std::process::Command::new(\"/usr/bin/mkfifo\").arg(format!(\"{out}/pipe\")).status().is_ok_and(|s| s.success()), \"no pipe\");",
        ),
        (
            "leaves-long-names",
            "let mut path = out.to_owned(); for _ in 0..16 { path += \"/\"; path += &\"n\".repeat(250); \
             if std::fs::create_dir(&path).is_err() { break; } } panic!(\"long\")",
        ),
    ] {
        let workspace = scripted(name, body);
        all_fail(&build(&workspace), &[]);
    }
}

#[test]
fn a_giant_file_is_refused() {
    for (name, size, text) in [
        ("leaves-a-giant", "1 << 40", "to make it"),
        ("leaves-a-big-one", "8 << 30", "larger than"),
    ] {
        let workspace = scripted(
            name,
            &format!(
                "let file = std::fs::File::create(format!(\"{{out}}/sparse\")).unwrap(); \
                 unsafe extern \"C\" {{ fn signal(n: i32, h: usize) -> usize; }} unsafe {{ signal(25, 1); }} \
                 file.set_len({size}).expect(\"to make it\");"
            ),
        );
        let control = workspace.cargo(["build"]).run();
        assert_eq!(control.code, Some(0), "the control: {control}");
        all_fail(&build(&workspace), &[text]);
    }
}

/// A process that outlives the build script, holds its pipes and the jobserver's, and writes when it is late.
#[test]
fn nothing_runs_on_after_a_build_script() {
    let workspace = scripted(
        "leaves-a-daemon",
        "if let Some(late) = std::env::args().nth(1) { \
            std::thread::sleep(std::time::Duration::from_millis(1500)); \
            std::fs::write(late, \"late\").unwrap(); std::thread::sleep(std::time::Duration::from_secs(600)); } \
         std::process::Command::new(std::env::current_exe().unwrap()).arg(format!(\"{out}/late\")).spawn().unwrap(); \
         std::fs::write(format!(\"{out}/early\"), \"early\").unwrap();",
    );
    for isolation in ISOLATIONS {
        let started = std::time::Instant::now();
        workspace.kiln(["build", "--isolation", isolation]).ok();
        assert!(
            started.elapsed().as_secs() < 300,
            "it waited for the daemon"
        );
    }
}

/// As above, from inside of the compiler.
#[test]
fn a_procedural_macro_leaves_nothing_behind() {
    let outside = directory();
    let target = outside.path().join("late").display().to_string();
    let source = format!(
        r#"
        extern crate proc_macro;
        #[proc_macro]
        pub fn linger(_: proc_macro::TokenStream) -> proc_macro::TokenStream {{
            std::thread::spawn(|| loop {{
                std::thread::sleep(std::time::Duration::from_millis(5));
                let _ = std::fs::write("{target}", "late");
            }});
            let sleeping = std::process::Command::new("/bin/sh").args(["-c", "sleep 600 & echo"]).spawn();
            let socket = std::net::TcpStream::connect("127.0.0.1:9").map(drop).map_err(|e| e.raw_os_error());
            assert_eq!(socket, Err(Some(1)), "the filter answers, not the network");
            let parent = std::fs::read("/proc/self/environ");
            assert!(parent.is_err(), "its own /proc can be read");
            let _ = sleeping;
            "".parse().unwrap()
        }}
        "#
    );
    let workspace = with_macro("lingers", "lingerer", "linger", &source);
    for isolation in ISOLATIONS {
        workspace.kiln(["build", "--isolation", isolation]).ok();
        assert!(!outside.path().join("late").exists());
    }
}

fn with_macro(app: &str, library: &str, name: &str, source: &str) -> Workspace {
    let members = format!("[workspace]\nresolver = \"3\"\nmembers = [\"app\", \"{library}\"]\n");
    let dependency = format!("[dependencies]\n{library} = {{ path = \"../{library}\" }}");
    Workspace::new(&[
        ("Cargo.toml", &members),
        ("app/Cargo.toml", &manifest(app, &dependency)),
        (
            "app/src/main.rs",
            &format!("{library}::{name}!();\nfn main() {{}}\n"),
        ),
        (
            &format!("{library}/Cargo.toml"),
            &manifest(library, "[lib]\nproc-macro = true"),
        ),
        (&format!("{library}/src/lib.rs"), source),
    ])
}

/// What a macro writes beside rustc's outputs is not carried on, and a hermetic build does not let it pass.
#[test]
fn undeclared_outputs_are_an_error_in_a_hermetic_build() {
    let source = r#"
        extern crate proc_macro;
        #[proc_macro]
        pub fn litter(_: proc_macro::TokenStream) -> proc_macro::TokenStream {
            let mut arguments = std::env::args();
            while let Some(argument) = arguments.next() {
                if argument == "--out-dir" {
                    std::fs::write(format!("{}/litter", arguments.next().unwrap()), "x").expect("to litter");
                }
            }
            "".parse().unwrap()
        }
    "#;
    let workspace = with_macro("littered", "litterer", "litter", source);
    workspace.cargo(["generate-lockfile"]).ok();
    for isolation in ISOLATIONS {
        let run = workspace
            .kiln(["build", "--hermetic", "--isolation", isolation])
            .run();
        assert_eq!(run.code, Some(101), "{run}");
        run.says(&[
            "left `litter`, which is not among its declared outputs",
            "help:",
        ]);
        workspace.kiln(["build", "--isolation", isolation]).ok();
        assert!(
            !workspace
                .files()
                .iter()
                .any(|file| file.ends_with("litter"))
        );
    }
}

/// Arguments that make the linker, or the compiler that drives it, read, run or write something else.
#[test]
fn forged_link_arguments_reach_nothing_outside() {
    let outside = directory();
    let secret = outside.path().join("secret");
    fs::write(&secret, "SECTIONS { }\n").expect("written");
    let file = |name: &str| outside.path().join(name).display().to_string();
    let secret = secret.display().to_string();
    let ways = [
        ("at-file", format!("@{secret}")),
        ("at-file-of-the-linker", format!("-Wl,@{secret}")),
        (
            "embeds",
            format!("-Wl,--format=binary,{secret},--format=default"),
        ),
        ("script", format!("-Wl,-T,{secret}")),
        ("map", format!("-Wl,-Map={}", file("map"))),
        ("output", format!("-Wl,-o,{}", file("out"))),
        (
            "dependencies",
            format!("-Wl,--dependency-file={}", file("deps")),
        ),
        ("trace", format!("-Wl,--reproduce={}", file("tar"))),
        ("plugin", format!("-Wl,-plugin,{}", file("plugin.so"))),
        ("gcc-plugin", format!("-fplugin={}", file("plugin.so"))),
        ("specs", format!("-specs={secret}")),
        ("programs", format!("-B{}/", outside.path().display())),
        ("wrapper", format!("-wrapper,{}", file("run"))),
        ("dumps", format!("-dumpdir {}", file("dump"))),
        ("search", format!("-Wl,--version-script={secret}")),
    ];
    // All linkers write something where they are told to, but not all know each of these: what counts is what is outside.
    let before = listing(outside.path());
    for (way, argument) in ways {
        let workspace = scripted(
            &format!("forges-{way}"),
            &format!("println!(\"cargo::rustc-link-arg={argument}\");"),
        );
        for isolation in ISOLATIONS {
            let run = workspace.kiln(["build", "--isolation", isolation]).run();
            assert_eq!(listing(outside.path()), before, "{way}: {run}");
            let every_linker_knows = ["at-file", "embeds", "script", "map", "output", "search"];
            if every_linker_knows.contains(&way) {
                assert_eq!(run.code, Some(101), "{way}: {run}");
            }
        }
    }
}

fn listing(directory: &std::path::Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    names
}

/// Directives that are refused or mean nothing: sizes beyond reason, bytes that are no text, orders to tools.
#[test]
fn forged_directives_are_refused() {
    for (name, body, text) in [
        (
            "flags",
            "println!(\"cargo::rustc-flags=-C linker=/bin/sh\");",
            "rustc-flags",
        ),
        ("nul", "println!(\"cargo::rustc-env=A=b\\0c\");", "NUL"),
        (
            "flood",
            "for i in 0..300_000 { println!(\"cargo::rustc-cfg=a{i}\"); }",
            "printed too much",
        ),
        (
            "line",
            "println!(\"cargo::rustc-env=A={}\", \"x\".repeat(2 << 20));",
            "printed too much",
        ),
        (
            "preload",
            "println!(\"cargo::rustc-env=LD_PRELOAD={out}/x.so\");",
            "LD_PRELOAD",
        ),
        (
            "audit",
            "println!(\"cargo::rustc-env=LD_AUDIT={out}/x.so\");",
            "LD_AUDIT",
        ),
        (
            "emulation",
            "println!(\"cargo::rustc-env=LDEMULATION=elf_i386\");",
            "LDEMULATION",
        ),
        (
            "wrapper",
            "println!(\"cargo::rustc-env=RUSTC_WRAPPER={out}/x\");",
            "RUSTC_WRAPPER",
        ),
        (
            "bootstrap",
            "println!(\"cargo::rustc-env=RUSTC_BOOTSTRAP=1\");",
            "RUSTC_BOOTSTRAP",
        ),
        (
            "collect",
            "println!(\"cargo::rustc-env=COLLECT_GCC={out}/x\");",
            "COLLECT_GCC",
        ),
        (
            "specs",
            "println!(\"cargo::rustc-env=GCC_SPECS={out}/x\");",
            "GCC_SPECS",
        ),
    ] {
        let workspace = scripted(&format!("directs-{name}"), body);
        for isolation in ISOLATIONS {
            let run = workspace.kiln(["build", "--isolation", isolation]).run();
            assert_eq!(run.code, Some(101), "{name}: {run}");
            run.says(&[text]);
            assert!(
                run.stderr.len() < 64 * 1024,
                "{name}: {} bytes",
                run.stderr.len()
            );
        }
    }
}

/// What is printed is data: no escape sequence and no other control character comes out of kiln.
#[test]
fn what_is_printed_stays_text() {
    let workspace = scripted(
        "prints-escapes",
        "use std::io::Write; let mut o = std::io::stdout(); \
         o.write_all(b\"cargo::warning=\\x1b[2Jgone \\x9b2J \\xc2\\x9b2J \\r over \\x07 \\xe2\\x80\\xae flipped\\n\").unwrap(); \
         o.write_all(b\"\\xff\\xfe cargo::warning=not text\\n\").unwrap(); eprintln!(\"\\x1b]0;title\\x07\"); std::process::exit(3);",
    );
    for isolation in ISOLATIONS {
        let run = workspace.kiln(["build", "--isolation", isolation]).run();
        assert_eq!(run.code, Some(101), "{run}");
        let mut found = String::new();
        for character in (run.stdout.clone() + &run.stderr).chars() {
            let harmless = matches!(character, '\n' | '\t')
                || !(character.is_control() || ('\u{202a}'..='\u{202e}').contains(&character));
            if !harmless {
                write!(found, "{character:?} ").expect("a string");
            }
        }
        assert_eq!(found, "", "{run}");
    }
}

/// A file named by `rerun-if-changed` outside is neither read nor a reason to fail.
#[test]
fn rerun_if_changed_reads_nothing_outside() {
    let outside = directory();
    let pipe = outside.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let workspace = scripted(
        "reruns-outside",
        &format!(
            "println!(\"cargo::rerun-if-changed={}\"); println!(\"cargo::rerun-if-changed=/etc/shadow\"); \
             println!(\"cargo::rustc-link-search=native=/proc/self/root/etc\"); println!(\"cargo::rerun-if-changed=../../../..\");",
            pipe.display()
        ),
    );
    for isolation in ISOLATIONS {
        // Opening the pipe would wait for ever.
        workspace.kiln(["build", "--isolation", isolation]).ok();
        workspace.kiln(["build", "--isolation", isolation]).ok();
    }
}

/// What is required is refused where it is not to be had: here user namespaces are switched off for kiln.
#[test]
fn isolation_can_be_required() {
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest("requires-isolation", "")),
        ("src/main.rs", "fn main() {}\n"),
    ]);
    let run = workspace
        .kiln([
            "build",
            "--require-isolation",
            "full",
            "--isolation",
            "landlock",
        ])
        .run();
    assert_eq!(run.code, Some(101), "{run}");
    run.says(&["is less than `--require-isolation full`"]);
    let possible = std::process::Command::new("unshare")
        .args([
            "-Ur",
            "sh",
            "-c",
            "echo 0 > /proc/sys/user/max_user_namespaces && ! unshare -U true",
        ])
        .output();
    if !possible.is_ok_and(|output| output.status.success()) {
        skip("user namespaces cannot be switched off here");
        return;
    }
    let run = workspace
        .kiln(["build", "--require-isolation", "full"])
        .through(&WITHOUT_NAMESPACES)
        .run();
    assert_eq!(run.code, Some(101), "{run}");
    run.says(&["namespaces", "help:"]);
    // Left to itself kiln takes what there is, and says so.
    let run = workspace.kiln(["build"]).through(&WITHOUT_NAMESPACES).ok();
    run.says(&["Landlock + seccomp isolation"]);
}

/// Runs `kiln` behind a filter of system calls as containers and distributions have them, which answers EPERM to `calls`
/// (those with a mask only where the first argument has that bit) and hides `clone3`.
fn behind_a_filter(kiln: crate::support::Kiln, calls: &[(i64, Option<u64>)]) -> Run {
    use seccompiler::{
        SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };
    let compile = |rules, answer| -> seccompiler::BpfProgram {
        let arch = std::env::consts::ARCH.try_into().expect("known");
        let answer = SeccompAction::Errno(answer as u32);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, answer, arch);
        filter
            .and_then(TryInto::try_into)
            .expect("a filter that compiles")
    };
    let refused = calls
        .iter()
        .map(|(call, bit)| {
            let rules = bit.map(|bit| {
                let has = SeccompCmpOp::MaskedEq(bit);
                let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, has, bit);
                SeccompRule::new(vec![condition.expect("an argument")]).expect("a rule")
            });
            (*call, rules.into_iter().collect())
        })
        .collect();
    let filters = [
        compile(refused, nix::libc::EPERM),
        compile(
            [(nix::libc::SYS_clone3, Vec::new())].into(),
            nix::libc::ENOSYS,
        ),
    ];
    // The thread has it, and what it starts.
    let run = std::thread::spawn(move || {
        for filter in &filters {
            seccompiler::apply_filter(filter).expect("applied");
        }
        kiln.run()
    });
    run.join().expect("it ran")
}

/// Containers forbid to make namespaces; some distributions let them be made, and nothing be mounted in them.
#[test]
fn namespaces_can_be_forbidden_in_several_ways() {
    use nix::libc;
    const NEW_USER: u64 = libc::CLONE_NEWUSER as u64;
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest("forbidden-namespaces", "")),
        ("src/main.rs", "fn main() {}\n"),
    ]);
    let ways: [&[(i64, Option<u64>)]; 3] = [
        &[
            (libc::SYS_clone, Some(NEW_USER)),
            (libc::SYS_unshare, None),
            (libc::SYS_setns, None),
        ],
        &[(libc::SYS_setns, None)],
        &[
            (libc::SYS_mount, None),
            (libc::SYS_fsopen, None),
            (libc::SYS_open_tree, None),
            (libc::SYS_pivot_root, None),
        ],
    ];
    for calls in ways {
        let run = behind_a_filter(
            workspace.kiln(["build", "--require-isolation", "full"]),
            calls,
        );
        assert_eq!(run.code, Some(101), "{calls:?}: {run}");
        run.says(&["namespaces", "help:"]);
        // Left to itself kiln takes what there is, and says so.
        let run = behind_a_filter(workspace.kiln(["build"]), calls);
        assert_eq!(run.code, Some(0), "{calls:?}: {run}");
        run.says(&["Landlock + seccomp isolation"]);
    }
}

/// Under Landlock alone as it is on such a machine: what a build script tries fails there, too.
#[test]
fn without_namespaces_a_build_script_is_held_in() {
    let outside = directory();
    let secret = outside.path().join("secret");
    fs::write(&secret, "s").expect("written");
    let workspace = scripted(
        "tries-without-namespaces",
        &format!(
            "for (what, done) in [(\"read\", std::fs::read({0:?}).is_ok()), (\"write\", std::fs::write({0:?}, \"x\").is_ok()), \
             (\"mode\", std::fs::set_permissions({0:?}, std::os::unix::fs::PermissionsExt::from_mode(0o777)).is_ok()), \
             (\"network\", std::net::UdpSocket::bind(\"127.0.0.1:0\").is_ok())] {{ assert!(!done, \"{{what}} came through\"); }}",
            secret
        ),
    );
    let control = workspace.cargo(["build"]).run();
    assert_eq!(control.code, Some(101), "the control: {control}");
    control.says(&["read came through"]);
    assert_eq!(fs::read(&secret).expect("there"), b"x", "the control");
    fs::write(&secret, "s").expect("written");
    workspace.kiln(["build"]).through(&WITHOUT_NAMESPACES).ok();
    assert_eq!(fs::read(&secret).expect("there"), b"s");
}

/// The pipe of the jobserver is open to every build script. One fills it while others hold tokens, one empties it.
#[test]
fn nobody_stalls_a_build_by_the_jobserver() {
    // The descriptors are those that `MAKEFLAGS` names, as for any `make`.
    let ends = r#"
fn ends() -> (std::fs::File, std::fs::File) {
    let flags = std::env::var("CARGO_MAKEFLAGS").or_else(|_| std::env::var("MAKEFLAGS")).unwrap();
    let at = flags.find("--jobserver-auth=").expect(&flags) + 17;
    let mut numbers = flags[at..].split([',', ' ']).map(|one| one.parse::<i32>().unwrap());
    let mut end = || unsafe { std::os::fd::FromRawFd::from_raw_fd(numbers.next().unwrap()) };
    (end(), end())
}
"#;
    let fills = r#"
fn main() {
    let (_read, mut write) = ends();
    std::thread::spawn(move || while std::io::Write::write_all(&mut write, &[43; 512]).is_ok() {});
    std::thread::sleep(std::time::Duration::from_secs(2));
    // Ends with the pipe full.
    std::process::exit(0);
}
"#;
    let empties = r#"
fn main() {
    let (mut read, _write) = ends();
    std::thread::spawn(move || while std::io::Read::read(&mut read, &mut [0; 512]).is_ok() {});
    std::thread::sleep(std::time::Duration::from_secs(2));
    std::process::exit(0);
}
"#;
    let slow = "fn main() { std::thread::sleep(std::time::Duration::from_secs(1)); }\n";
    for (name, script) in [("fills", fills), ("empties", empties)] {
        let mut needs = String::from("[dependencies]\n");
        let crates = ["a", "b", "c", "d", "e"].map(|krate| format!("{name}-{krate}"));
        for krate in &crates {
            needs.push_str(&format!("{krate} = {{ path = \"{krate}\" }}\n"));
        }
        let workspace = Workspace::new(&[
            ("Cargo.toml", &manifest(name, &needs)),
            ("src/main.rs", "fn main() {}\n"),
        ]);
        for (index, krate) in crates.iter().enumerate() {
            workspace.write(&format!("{krate}/Cargo.toml"), &manifest(krate, ""));
            workspace.write(&format!("{krate}/src/lib.rs"), "");
            let script = match index {
                0 => format!("{ends}{script}"),
                _ => slow.to_owned(),
            };
            workspace.write(&format!("{krate}/build.rs"), &script);
        }
        let within = ["timeout", "--signal=KILL", "300"];
        workspace.kiln(["build", "-j", "4"]).through(&within).ok();
        assert_eq!(workspace.run(&format!("target/kiln/debug/{name}")), "");
    }
}
