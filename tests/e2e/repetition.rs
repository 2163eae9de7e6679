//! A build that has nothing to do is recognised before it is planned, and one that has something to do is not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::support::{Run, Workspace, directory, manifest, store};

struct Project {
    workspace: Workspace,
    home: PathBuf,
}

impl Project {
    /// A program and its library, built in the store `home`.
    fn new(name: &str, home: PathBuf) -> Self {
        let dependency = format!("[dependencies]\n{name}-lib = {{ path = \"../lib\" }}");
        let identifier = name.replace('-', "_");
        let workspace = Workspace::new(&[
            (
                "Cargo.toml",
                "[workspace]\nresolver = \"3\"\nmembers = [\"app\", \"lib\"]\n",
            ),
            ("app/Cargo.toml", &manifest(name, &dependency)),
            (
                "app/src/main.rs",
                &format!(
                    "fn unused() {{}}\nfn main() {{ println!(\"{{}}\", {identifier}_lib::answer()); }}\n"
                ),
            ),
            ("lib/Cargo.toml", &manifest(&format!("{name}-lib"), "")),
            ("lib/src/lib.rs", "pub fn answer() -> u32 { 42 }\n"),
        ]);
        Self { workspace, home }
    }

    fn build(&self) -> Run {
        self.workspace
            .kiln(["build"])
            .env("KILN_HOME", &self.home)
            .ok()
    }

    /// Removes all results of actions: whoever looks for one runs the action.
    fn forget(&self) {
        fs::remove_dir_all(self.home.join("actions")).expect("there are results");
    }

    /// Builds until there is nothing to do, and everything is known to be as it is.
    fn settle(&self) {
        self.build();
        // What was written within a tick of the clock is hashed once more, and then it is old enough.
        std::thread::sleep(std::time::Duration::from_millis(60));
        assert_eq!(self.build().actions().0, 0);
        assert_eq!(self.build().actions().0, 0);
    }
}

#[test]
fn nothing_to_do_takes_no_plan_and_says_the_same() {
    let own = directory();
    let project = Project::new("repeated", own.path().to_owned());
    project.settle();
    project.forget();
    let again = project.build();
    assert_eq!(again.actions(), (0, 2), "{again}");
    again.says(&["function `unused` is never used", "generated 1 warning"]);
    // Other flags are another question, and the results are gone.
    let release = project
        .workspace
        .kiln(["build", "--color=always"])
        .env("KILN_HOME", &project.home)
        .ok();
    assert_eq!(release.actions(), (2, 2), "{release}");
}

#[test]
fn whatever_changes_is_noticed() {
    type Change = fn(&Path);
    let changes: [(&str, Change, usize); 7] = [
        (
            "a source",
            |root| {
                fs::write(
                    root.join("lib/src/lib.rs"),
                    "pub fn answer() -> u32 { 41 }\n",
                )
                .unwrap()
            },
            2,
        ),
        (
            "a source that nothing mentions",
            |root| fs::write(root.join("lib/src/new.rs"), "").unwrap(),
            1,
        ),
        (
            "a target that is found by its place",
            |root| {
                fs::create_dir(root.join("app/src/bin")).unwrap();
                fs::write(root.join("app/src/bin/more.rs"), "fn main() {}\n").unwrap();
            },
            2,
        ),
        (
            "the manifest above the packages",
            |root| {
                let text = "[workspace]\nresolver = \"3\"\nmembers = [\"app\", \"lib\"]\n[profile.dev]\nopt-level = 1\n";
                fs::write(root.join("Cargo.toml"), text).unwrap();
            },
            2,
        ),
        (
            "an artifact",
            |root| {
                let artifact = root.join("target/kiln/debug");
                let name = fs::read_dir(&artifact)
                    .unwrap()
                    .map(|entry| entry.unwrap().path())
                    .find(|path| path.extension().is_none())
                    .unwrap();
                fs::write(name, "not what was built").unwrap();
            },
            0,
        ),
        (
            "the directory of artifacts",
            |root| fs::remove_dir_all(root.join("target")).unwrap(),
            0,
        ),
        (
            "the lock",
            |root| fs::remove_file(root.join("Cargo.lock")).unwrap(),
            0,
        ),
    ];
    for (index, (what, change, ran)) in changes.into_iter().enumerate() {
        let project = Project::new(&format!("noticed{index}"), store());
        project.settle();
        change(&project.workspace.root());
        let run = project.build();
        assert_eq!(run.actions().0, ran, "{what}: {run}");
        let program = format!("target/kiln/debug/noticed{index}");
        let printed = if index == 0 { "41\n" } else { "42\n" };
        assert_eq!(project.workspace.run(&program), printed, "{what}");
    }
}

#[test]
fn a_policy_that_forbids_the_build_is_noticed() {
    let project = Project::new("pinned", store());
    project.settle();
    let pin = format!("[toolchain]\nrust-digest = \"{}\"\n", "0".repeat(64));
    project.workspace.write("kiln.toml", &pin);
    let run = project
        .workspace
        .kiln(["build"])
        .env("KILN_HOME", &project.home)
        .run();
    run.refuses(&["rust-digest"]);
}

#[test]
fn what_the_store_lost_is_made_again_without_a_word_of_the_user() {
    let home = directory();
    let project = Project::new("lost", home.path().to_owned());
    project.build();
    // Every library that was built rots; the program that needs one is to be compiled again.
    let mut rotten = 0;
    for entry in walkdir::WalkDir::new(home.path().join("blobs")) {
        let entry = entry.expect("readable");
        if !entry.file_type().is_file() {
            continue;
        }
        let mut bytes = fs::read(entry.path()).expect("readable");
        // The C toolchain's libraries are archives, too.
        let library = bytes.starts_with(b"!<arch>\n");
        if library && memchr::memmem::find(&bytes, b"lost_lib").is_some() {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o644))
                .expect("its owner");
            fs::write(entry.path(), bytes).expect("written");
            rotten += 1;
        }
    }
    assert!(rotten > 0, "no library in the store");
    project.workspace.write(
        "app/src/main.rs",
        "fn main() { println!(\"{}\", lost_lib::answer() + 1); }\n",
    );
    let run = project.build();
    run.says(&["discarded from the store"]);
    assert_eq!(project.workspace.run("target/kiln/debug/lost"), "43\n");
    // It happened once.
    let again = project.build();
    assert_eq!(again.actions().0, 0, "{again}");
    assert!(!again.stderr.contains("discarded"), "{again}");
}

/// Commands, and whether what they make is a program that runs.
const COMMANDS: [&[&str]; 5] = [
    &["run", "--", "one"],
    &["clippy"],
    &["doc"],
    &["test", "--no-run"],
    &["bench", "--no-run"],
];

impl Project {
    fn command(&self, words: &[&str]) -> Run {
        self.workspace
            .kiln(words.iter().copied())
            .env("KILN_HOME", &self.home)
            .run()
    }

    /// Repeats a command until there is nothing to do, and removes all results, so that it would have to do everything.
    fn settle_and_forget(&self, words: &[&str]) -> Run {
        self.command(words);
        std::thread::sleep(std::time::Duration::from_millis(60));
        let again = self.command(words);
        assert_eq!(again.actions().0, 0, "{again}");
        self.command(words);
        self.forget();
        again
    }
}

/// What was said, without how long it took.
fn said(run: &Run) -> Vec<String> {
    run.stderr
        .lines()
        .filter(|line| !line.contains("Finished"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn other_commands_know_when_there_is_nothing_to_do_and_when_there_is() {
    for (number, words) in COMMANDS.into_iter().enumerate() {
        let own = directory();
        let name = format!("knows{number}");
        let project = Project::new(&name, own.path().to_owned());
        project.workspace.write(
            "app/src/main.rs",
            &format!(
                "fn unused() {{}}\nfn main() {{ println!(\"{{}} {{:?}}\", {name}_lib::answer(), \
                 std::env::args().nth(1)); }}\n"
            ),
        );
        let before = project.settle_and_forget(words);
        let after = project.command(words);
        assert_eq!(after.actions().0, 0, "{after}");
        assert_eq!(said(&after), said(&before));
        assert_eq!(after.stdout, before.stdout);
        assert_eq!(after.code, Some(0), "{after}");
        if words[0] == "run" {
            // What is for the program says nothing of the build.
            let other = project.command(&["run", "--", "two"]);
            assert_eq!(other.actions().0, 0, "{other}");
            assert_eq!(other.stdout, "42 Some(\"two\")\n");
        }

        type Change<'a> = (&'a str, &'a dyn Fn());
        let write = |path: &str, text: &str| project.workspace.write(path, text);
        let changes: [Change<'_>; 5] = [
            ("a source", &|| {
                write("lib/src/lib.rs", "pub fn answer() -> u32 { 41 }\n")
            }),
            ("a manifest", &|| {
                write(
                    "Cargo.toml",
                    "[workspace]\nresolver = \"3\"\nmembers = [\"app\", \"lib\"]\n[profile.dev]\nopt-level = 1\n",
                )
            }),
            ("the policy", &|| {
                write(
                    "kiln.toml",
                    &format!("[crate.{name}]\nenv = [\"SOMETHING\"]\n"),
                )
            }),
            ("the configuration", &|| {
                write(".cargo/config.toml", "[build]\nrustflags = [\"--cfg=x\"]\n")
            }),
            ("a configuration of clippy", &|| {
                write("clippy.toml", "msrv = \"1.60\"\n")
            }),
        ];
        for (what, change) in changes {
            if what.contains("clippy") && words[0] != "clippy" {
                continue;
            }
            change();
            let run = project.command(words);
            assert_ne!(run.actions().0, 0, "{what}: {run}");
            assert_eq!(run.code, Some(0), "{what}: {run}");
            project.settle_and_forget(words);
        }
        let flags = project
            .workspace
            .kiln(words.iter().copied())
            .env("KILN_HOME", &project.home)
            .env("RUSTFLAGS", "--cfg=y")
            .run();
        assert_ne!(flags.actions().0, 0, "a variable: {flags}");
        project.settle_and_forget(words);
        let mut more = vec![words[0], "--ignore-rust-version"];
        more.extend(&words[1..]);
        let run = project.command(&more);
        assert_ne!(run.actions().0, 0, "a flag: {run}");

        // What was made is no longer there.
        project.settle_and_forget(words);
        fs::remove_dir_all(project.workspace.root().join("target")).expect("it is there");
        let run = project.command(words);
        let hands_out = words[0] != "clippy";
        assert_eq!(run.actions().0 != 0, hands_out, "{run}");
        assert_eq!(run.code, Some(0), "{run}");
    }
}
