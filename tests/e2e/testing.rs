//! `test` and `bench`: what tests print and how they end is what it is under cargo; and what they cannot do.

use crate::skip::skip;
use std::collections::BTreeSet;
use std::fs;

use crate::support::{Run, Workspace, directory, manifest};

/// What a run printed to standard output, without times and directories, and with the groups of each program in order.
fn told(run: &Run, workspace: &Workspace) -> String {
    let root = workspace.root().display().to_string();
    let mut lines: Vec<String> = Vec::new();
    // Tests of one program end in any order.
    let mut tests: Vec<String> = Vec::new();
    for line in run.stdout.lines() {
        let line = line.replace("/kiln/workspace", &root);
        let line = line.split("; finished in").next().unwrap_or_default();
        if line.starts_with("all doctests ran in") {
            continue;
        }
        if line.starts_with("test ") && !line.starts_with("test result") {
            tests.push(line.to_owned());
        } else {
            tests.sort();
            lines.append(&mut tests);
            lines.push(line.to_owned());
        }
    }
    lines.join("\n")
}

/// The status lines about running, without what only one of the two has in its paths.
fn statuses(run: &Run) -> Vec<String> {
    run.stderr
        .lines()
        .map(str::trim)
        .filter(|line| {
            ["Running ", "Doc-tests ", "Executable "]
                .iter()
                .any(|verb| line.starts_with(verb))
        })
        .map(|line| line.split(" (").next().unwrap_or(line).to_owned())
        .collect()
}

fn errors(run: &Run) -> Vec<&str> {
    run.stderr
        .lines()
        .filter(|line| line.starts_with("error: ") || line.starts_with("    `"))
        .collect()
}

/// The same under both: output, status lines, errors, exit status.
fn same(workspace: &Workspace, arguments: &[&str]) -> Run {
    let kiln = workspace.kiln(arguments.iter().copied()).run();
    let cargo = workspace.cargo(arguments.iter().copied()).run();
    assert_eq!(kiln.code, cargo.code, "{kiln}\n{cargo}");
    assert_eq!(
        told(&kiln, workspace),
        told(&cargo, workspace),
        "{kiln}\n{cargo}"
    );
    assert_eq!(statuses(&kiln), statuses(&cargo), "{kiln}\n{cargo}");
    assert_eq!(errors(&kiln), errors(&cargo), "{kiln}\n{cargo}");
    kiln
}

/// A workspace with tests of every kind; all names begin with `name`.
fn everything(name: &str) -> Workspace {
    let identifier = name.replace('-', "_");
    Workspace::new(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"app\", \"macro\", \"dynamic\"]\nresolver = \"3\"\n",
        ),
        ("data/shared.txt", "of the workspace\n"),
        (
            "app/Cargo.toml",
            &manifest(
                name,
                &format!(
                    "[dependencies]\n{name}-macro = {{ path = \"../macro\" }}\n\
                     [[test]]\nname = \"own-harness\"\nharness = false\n\
                     [[example]]\nname = \"tested\"\ntest = true"
                ),
            ),
        ),
        (
            "app/build.rs",
            r#"
fn main() {
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap());
    std::fs::write(out.join("made.txt"), "made").unwrap();
    println!("cargo::rustc-env=OF_SCRIPT=7");
    println!("cargo::rustc-cfg=made");
    println!("cargo::rustc-check-cfg=cfg(made)");
}
"#,
        ),
        (
            "app/src/lib.rs",
            r#"
//! The library.
/// ```
/// assert_eq!(NAME::answer(), 42);
/// assert!(std::fs::exists("Cargo.toml").unwrap());
/// assert_eq!(std::env::var("OF_SCRIPT").unwrap(), "7");
/// ```
/// ```no_run
/// loop {}
/// ```
/// ```compile_fail
/// NAME::nothing();
/// ```
pub fn answer() -> u32 { 42 }
#[cfg(test)]
mod tests {
    #[test] fn answers() { assert_eq!(super::answer(), 42); }
    #[test] #[should_panic(expected = "no")] fn panics() { panic!("no") }
    #[test] #[cfg_attr(all(), ignore)] fn ignored() {}
    #[test] fn shows() {
        println!("{} {}", env!("OF_SCRIPT"), cfg!(made));
        println!("{}", std::env::current_dir().unwrap().display());
        println!("{}", std::fs::read_to_string("../data/shared.txt").unwrap());
        let out = std::path::PathBuf::from(std::env::var("OUT_DIR").unwrap());
        println!("{}", std::fs::read_to_string(out.join("made.txt")).unwrap());
        let variables = std::env::vars().filter(|(name, _)| name.starts_with("CARGO_"));
        for (name, value) in variables.filter(|(name, _)| name != "CARGO_HOME") {
            println!("{name}={value}");
        }
    }
}
"#
            .replace("NAME", &identifier)
            .as_str(),
        ),
        (
            "app/src/main.rs",
            "fn main() { println!(\"the program\") }\n#[test] fn of_the_program() {}\n",
        ),
        (
            "app/tests/together.rs",
            r#"
#[test] fn the_program_runs() {
    let program = env!("CARGO_BIN_EXE_DASHED");
    assert_eq!(std::env::var("CARGO_BIN_EXE_DASHED").unwrap(), program);
    let output = std::process::Command::new(program).output().unwrap();
    assert_eq!(output.stdout, b"the program\n");
}
#[test] fn there_are_places_to_write() {
    let tmpdir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(tmpdir.join("file"), "x").unwrap();
    std::fs::write(std::env::temp_dir().join("file"), "x").unwrap();
}
#[test] fn artifacts_are_where_they_are_in_target() {
    let own = std::env::current_exe().unwrap();
    let profile = own.parent().unwrap().parent().unwrap();
    let output = std::process::Command::new(profile.join("examples/shown")).output().unwrap();
    assert_eq!(output.stdout, b"an example\n");
    assert!(profile.join("DASHED").exists());
}
"#
            .replace("DASHED", name)
            .as_str(),
        ),
        (
            "app/tests/own-harness.rs",
            "fn main() { println!(\"own: {:?}\", std::env::args().skip(1).collect::<Vec<_>>()) }\n",
        ),
        (
            "app/examples/shown.rs",
            "fn main() { println!(\"an example\") }\n",
        ),
        (
            "app/examples/tested.rs",
            "fn main() {}\n#[test] fn of_the_example() {}\n",
        ),
        (
            "app/benches/speed.rs",
            "fn main() {}\n#[test] fn of_the_benchmark() {}\n",
        ),
        (
            "macro/Cargo.toml",
            &manifest(&format!("{name}-macro"), "[lib]\nproc-macro = true"),
        ),
        (
            "macro/src/lib.rs",
            r#"
/// ```
/// NAME_macro::nothing!();
/// ```
#[proc_macro] pub fn nothing(_: proc_macro::TokenStream) -> proc_macro::TokenStream {
    proc_macro::TokenStream::new()
}
#[test] fn of_the_macro() {}
"#
            .replace("NAME", &identifier)
            .as_str(),
        ),
        (
            "dynamic/Cargo.toml",
            &manifest(
                &format!("{name}-dynamic"),
                "[lib]\ncrate-type = [\"dylib\"]",
            ),
        ),
        (
            "dynamic/src/lib.rs",
            "pub fn seven() -> u32 { 7 }\n#[test] fn seven_is_seven() { assert_eq!(seven(), 7) }\n",
        ),
        (
            "dynamic/tests/loads.rs",
            &format!(
                "#[test] fn it_is_found() {{ assert_eq!({identifier}_dynamic::seven(), 7) }}\n"
            ),
        ),
    ])
}

#[test]
fn tests_of_every_kind_run_as_under_cargo() {
    let workspace = everything("every-kind");
    same(&workspace, &["test"]);
    for arguments in [
        &[
            "test",
            "-p",
            "every-kind",
            "--lib",
            "--",
            "--nocapture",
            "--test-threads=1",
        ][..],
        &["test", "of_the"],
        &["test", "--workspace", "of_the", "--", "--exact"],
        &[
            "test",
            "-p",
            "every-kind",
            "--test",
            "together",
            "--bin",
            "every-kind",
            "program",
        ],
        &[
            "test",
            "-p",
            "every-kind",
            "--test",
            "own-harness",
            "--",
            "a",
            "--b",
        ],
        &["test", "-p", "every-kind", "--doc", "-q"],
        &["test", "-p", "every-kind", "--all-targets", "--no-run"],
        &["test", "-p", "every-kind", "--benches"],
        &["test", "-p", "every-kind-macro"],
        &["bench", "-p", "every-kind", "--bench", "speed", "--no-run"],
        &["bench", "-p", "every-kind", "--bench", "speed"],
        &["test", "--doc", "--lib"],
        &["test", "--doc", "--no-run"],
        &["test", "--keep-going"],
    ] {
        let kiln = workspace.kiln(arguments.iter().copied()).run();
        let cargo = workspace.cargo(arguments.iter().copied()).run();
        assert_eq!(
            kiln.code.is_some_and(|code| code > 0),
            cargo.code.is_some_and(|code| code > 0),
            "{kiln}\n{cargo}"
        );
        assert_eq!(
            told(&kiln, &workspace),
            told(&cargo, &workspace),
            "{kiln}\n{cargo}"
        );
        assert_eq!(statuses(&kiln), statuses(&cargo), "{kiln}\n{cargo}");
    }
    workspace
        .kiln(["bench", "--release"])
        .run()
        .refuses(&["`--release` is not supported"]);
    workspace
        .kiln(["test", "--keep-going"])
        .run()
        .refuses(&["`--keep-going` is not supported", "--no-fail-fast"]);
}

#[test]
fn failures_end_as_under_cargo() {
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"one\", \"two\"]\nresolver = \"3\"\n",
        ),
        (
            "one/Cargo.toml",
            &manifest("fails-one", "[[test]]\nname = \"ends\"\nharness = false"),
        ),
        (
            "one/src/lib.rs",
            "//! ```\n//! assert!(false);\n//! ```\n#[test] fn wrong() { assert_eq!(1, 1 + std::env::args().count()) }\n",
        ),
        ("one/tests/ends.rs", "fn main() { std::process::exit(3) }\n"),
        ("two/Cargo.toml", &manifest("fails-two", "")),
        ("two/src/lib.rs", "#[test] fn right() {}\n"),
    ]);
    for arguments in [
        &["test", "-p", "fails-one", "--lib"][..],
        &["test", "-p", "fails-one", "--test", "ends"],
        &["test", "-p", "fails-two"],
        &[
            "test",
            "-p",
            "fails-one",
            "--lib",
            "--test",
            "ends",
            "--no-fail-fast",
        ],
        &["test", "-p", "fails-one", "--lib", "nothing"],
    ] {
        let kiln = workspace.kiln(arguments.iter().copied()).run();
        let cargo = workspace.cargo(arguments.iter().copied()).run();
        assert_eq!(kiln.code, cargo.code, "{kiln}\n{cargo}");
        assert_eq!(statuses(&kiln), statuses(&cargo), "{kiln}\n{cargo}");
        assert_eq!(errors(&kiln), errors(&cargo), "{kiln}\n{cargo}");
    }
    let all = workspace.kiln(["test", "--no-fail-fast"]).run();
    let cargo = workspace.cargo(["test", "--no-fail-fast"]).run();
    assert_eq!(all.code, Some(101));
    assert_eq!(errors(&all), errors(&cargo), "{all}\n{cargo}");
    all.says(&["3 targets failed:", "`-p fails-one --doc`"]);
}

/// A test that tries what `body` says and prints what came of it.
fn attempts(name: &str, body: &str) -> Workspace {
    Workspace::new(&[
        ("Cargo.toml", &manifest(name, "")),
        ("src/lib.rs", ""),
        (
            "tests/attempts.rs",
            &format!("#[test] fn attempts() {{\n{body}\n}}\n"),
        ),
    ])
}

#[test]
fn tests_reach_nothing_outside() {
    let home = directory();
    fs::create_dir(home.path().join(".ssh")).expect("made");
    fs::write(home.path().join(".ssh/id"), "secret").expect("written");
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("bound").port();
    let workspace = attempts(
        "reaches",
        &format!(
            r#"
    let key = std::fs::read_to_string("{home}/.ssh/id");
    println!("key: {{}}", key.is_ok());
    println!("listed: {{}}", std::fs::read_dir("{home}").is_ok());
    println!("connected: {{}}", std::net::TcpStream::connect("127.0.0.1:{port}").is_ok());
    println!("variable: {{:?}}", std::env::var("A_SECRET").is_ok());
    println!("outside: {{}}", std::fs::write("{home}/written", "x").is_ok());
    println!("package: {{}}", std::fs::write("src/written", "x").is_ok());
"#,
            home = home.path().display()
        ),
    );
    let arguments = ["test", "--", "--nocapture"];
    let inside = workspace.kiln(arguments).env("A_SECRET", "x").ok();
    let outcomes = |run: &Run| -> BTreeSet<String> {
        let interesting = |line: &&str| line.ends_with("true") || line.ends_with("false");
        run.stdout
            .lines()
            .filter(interesting)
            .map(str::to_owned)
            .collect()
    };
    let expected = [
        "key: false",
        "listed: false",
        "connected: false",
        "variable: false",
        "outside: false",
        // A copy of its own.
        "package: true",
    ];
    assert_eq!(
        outcomes(&inside),
        expected.map(str::to_owned).into(),
        "{inside}"
    );
    assert!(!workspace.root().join("src/written").exists());
    assert!(!home.path().join("written").exists());

    // The same outside of kiln: the attempts are real ones.
    let outside = workspace.cargo(arguments).env("A_SECRET", "x").ok();
    assert!(
        outcomes(&outside).iter().all(|line| line.ends_with("true")),
        "{outside}"
    );

    let given = workspace.kiln(["test", "--env", "A_SECRET", "--", "--nocapture"]);
    let given = given.env("A_SECRET", "x").ok();
    assert!(given.stdout.contains("variable: true"), "{given}");
}

#[test]
fn tests_talk_to_themselves() {
    let workspace = attempts(
        "talks",
        r#"
    use std::io::{Read, Write};
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let server = std::net::TcpListener::bind(address).unwrap();
        let mut client = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
        client.write_all(b"hello").unwrap();
        drop(client);
        let mut text = String::new();
        server.accept().unwrap().0.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }
    let one = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let two = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    one.send_to(b"x", two.local_addr().unwrap()).unwrap();
    assert_eq!(two.recv(&mut [0; 8]).unwrap(), 1);
    let place = std::env::temp_dir().join("socket");
    let server = std::os::unix::net::UnixListener::bind(&place).unwrap();
    let _client = std::os::unix::net::UnixStream::connect(&place).unwrap();
    server.accept().unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .arg("--list").output().unwrap();
    assert!(String::from_utf8(child.stdout).unwrap().contains("attempts: test"));
    assert_eq!(std::fs::read_link("/proc/self/exe").unwrap(), std::env::current_exe().unwrap());
"#,
    );
    let full = workspace.kiln(["test", "--isolation", "full"]).run();
    if full.stderr.contains("namespaces") && full.code != Some(0) {
        skip("this machine gives no namespaces");
        return;
    }
    assert_eq!(full.code, Some(0), "{full}");
    // Without namespaces nothing would hold the network in: there is none.
    let landlock = workspace.kiln(["test", "--isolation", "landlock"]).run();
    assert_eq!(landlock.code, Some(101), "{landlock}");
    assert!(landlock.stdout.contains("PermissionDenied"), "{landlock}");
}
