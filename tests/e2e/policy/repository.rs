//! `git-metadata`: what a crate that is granted it knows of the repository, and what it does not.

use std::process::Command;

use crate::support::{Workspace, manifest};

/// Runs git in the workspace, as somebody whose configuration is empty, at a time that never changes.
fn git(workspace: &Workspace, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(workspace.root())
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs(["AUTHOR", "COMMITTER"].into_iter().flat_map(|who| {
            [
                (format!("GIT_{who}_NAME"), "Jo".to_owned()),
                (format!("GIT_{who}_EMAIL"), "jo@example.com".to_owned()),
                (format!("GIT_{who}_DATE"), "2024-05-06T07:08:09Z".to_owned()),
            ]
        }))
        .output()
        .expect("git is installed");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What the build script asks for, one line each.
const QUESTIONS: [&str; 9] = [
    "rev-parse HEAD",
    "rev-parse --abbrev-ref HEAD",
    "describe --tags --always --dirty",
    "describe",
    "rev-list --count HEAD",
    "log -1 --format=%an/%cI/%s",
    "status --porcelain",
    "tag -l --contains HEAD",
    "rev-parse --show-toplevel",
];

const SCRIPT: &str = "use std::process::Command;\n\
fn main() {\n\
    let questions = std::fs::read_to_string(\"questions\").unwrap();\n\
    let mut said = String::new();\n\
    for question in questions.lines() {\n\
        let output = Command::new(\"git\").args(question.split(' ')).output();\n\
        said += &match output {\n\
            Ok(output) if output.status.success() => String::from_utf8(output.stdout).unwrap().trim_end().replace('\\n', \"|\"),\n\
            Ok(_) => \"fails\".to_owned(),\n\
            Err(_) => \"no git\".to_owned(),\n\
        };\n\
        said += \"\\n\";\n\
    }\n\
    let mut names = Vec::new();\n\
    let mut all = Vec::new();\n\
    let mut waiting = vec![std::path::PathBuf::from(std::env::var(\"LOOK_IN\").unwrap())];\n\
    while let Some(path) = waiting.pop() {\n\
        for entry in std::fs::read_dir(&path).into_iter().flatten().flatten() {\n\
            names.push(entry.file_name().into_string().unwrap());\n\
            all.extend(std::fs::read(entry.path()).unwrap_or_default());\n\
            waiting.push(entry.path());\n\
        }\n\
    }\n\
    let secret = String::from_utf8_lossy(&all).contains(\"hunter2\");\n\
    said += &format!(\"secret {secret}, hook {}\\n\", names.iter().any(|name| name == \"pre-commit\"));\n\
    std::fs::write(std::env::var(\"OUT_DIR\").unwrap() + \"/said\", said).unwrap();\n\
}\n";

/// A repository with a history, a secret in its configuration and a hook; the package is `member`.
fn repository(name: &str, in_root: bool) -> Workspace {
    let member = if in_root { "" } else { "member/" };
    let workspace = Workspace::new(&[]);
    workspace.write(&format!("{member}Cargo.toml"), &manifest(name, ""));
    workspace.write(&format!("{member}build.rs"), SCRIPT);
    workspace.write(&format!("{member}questions"), &QUESTIONS.join("\n"));
    workspace.write(
        &format!("{member}src/main.rs"),
        "fn main() { print!(\"{}\", include_str!(concat!(env!(\"OUT_DIR\"), \"/said\"))); }\n",
    );
    if !in_root {
        let text = "[workspace]\nmembers = [\"member\"]\nresolver = \"3\"\n";
        workspace.write("Cargo.toml", text);
    }
    workspace.write("other.txt", "one\n");
    workspace.write(".gitignore", "target\n");
    workspace.cargo(["generate-lockfile", "--offline"]).ok();
    git(&workspace, &["init", "-q", "-b", "trunk"]);
    git(&workspace, &["add", "."]);
    git(&workspace, &["commit", "-q", "-m", "first"]);
    git(&workspace, &["tag", "-a", "v1", "-m", "the first"]);
    workspace.write("other.txt", "two\n");
    git(&workspace, &["commit", "-q", "-a", "-m", "second"]);
    git(&workspace, &["tag", "light"]);
    git(&workspace, &["checkout", "-q", "-b", "hidden"]);
    git(
        &workspace,
        &["commit", "-q", "--allow-empty", "-m", "hunter2"],
    );
    git(&workspace, &["checkout", "-q", "trunk"]);
    let url = "https://jo:hunter2@example.com/x.git";
    git(&workspace, &["remote", "add", "origin", url]);
    workspace.write(".git/hooks/pre-commit", "#!/bin/sh\n# hunter2\n");
    grant(&workspace, name, "use = [\"git-metadata\"]\n");
    workspace
}

fn grant(workspace: &Workspace, name: &str, text: &str) {
    // Not part of what is committed, and not seen as modified.
    let text =
        format!("[crate.{name}]\n{text}set-env = {{ LOOK_IN = \"/kiln/workspace/.git\" }}\n");
    workspace.write("kiln.toml", &text);
}

fn said(workspace: &Workspace, name: &str) -> Vec<String> {
    workspace.kiln(["build", "--hermetic"]).ok();
    let program = format!("target/kiln/debug/{name}");
    workspace.run(&program).lines().map(str::to_owned).collect()
}

#[test]
fn a_granted_crate_knows_the_commit_and_nothing_else_of_the_repository() {
    for (name, in_root) in [("policy-git-member", false), ("policy-git-root", true)] {
        let workspace = repository(name, in_root);
        let commit = git(&workspace, &["rev-parse", "HEAD"]).trim().to_owned();
        let answers = said(&workspace, name);
        let (last, answers) = answers.split_last().expect("lines");
        let mut expected: Vec<String> = QUESTIONS
            .iter()
            .map(|question| {
                let question: Vec<&str> = question.split(' ').collect();
                git(&workspace, &question).trim_end().replace('\n', "|")
            })
            .collect();
        // `kiln.toml` was never added: such files are left out.
        assert_eq!(expected[6], "?? kiln.toml");
        expected[6] = String::new();
        expected[8] = "/kiln/workspace".to_owned();
        assert_eq!(answers, expected, "{name}");
        assert_eq!(last, "secret false, hook false");
        let statement = workspace.read("target/kiln/debug/kiln-attestation.json");
        let statement = String::from_utf8(statement).expect("UTF-8");
        assert!(
            statement.contains(&format!("commit {commit}")),
            "{statement}"
        );
        // A modified file that the action does not see is told of, too.
        workspace.write("other.txt", "three\n");
        let changed = said(&workspace, name);
        assert!(changed[2].ends_with("-dirty"), "{changed:?}");
        assert_ne!(changed[6], "");
        let statement = workspace.read("target/kiln/debug/kiln-attestation.json");
        let statement = String::from_utf8(statement).expect("UTF-8");
        assert!(statement.contains("with modified files"), "{statement}");
        // Another clone of the same commit, with other times, another remote and a working directory of its own: the same.
        workspace.write("other.txt", "two\n");
        let back = workspace.kiln(["build", "--hermetic"]).ok();
        assert_eq!(back.actions().0, 0, "{back}");
        let elsewhere = workspace.root().with_file_name("elsewhere");
        let path = elsewhere.to_str().expect("UTF-8");
        git(&workspace, &["worktree", "add", "-q", "-b", "same", path]);
        git(&workspace, &["checkout", "-q", "--detach"]);
        git(&workspace, &["-C", path, "checkout", "-q", "trunk"]);
        std::fs::copy(
            workspace.root().join("kiln.toml"),
            elsewhere.join("kiln.toml"),
        )
        .expect("copied");
        let there = crate::support::Kiln::new(
            &elsewhere,
            env!("CARGO_BIN_EXE_kiln"),
            ["build", "--hermetic"],
        )
        .ok();
        assert_eq!(there.actions().0, 0, "{there}");
    }
}

#[test]
fn without_the_grant_there_is_no_repository() {
    let name = "policy-git-none";
    let workspace = repository(name, false);
    grant(&workspace, name, "exec = [\"git\"]\n");
    let answers = said(&workspace, name);
    let (last, answers) = answers.split_last().expect("lines");
    assert!(
        answers.iter().all(|answer| answer == "fails"),
        "{answers:?}"
    );
    assert_eq!(last, "secret false, hook false");
    // The control: under cargo all of it is there to be read.
    let git_directory = workspace.root().join(".git");
    workspace
        .cargo(["build", "--offline"])
        .env("LOOK_IN", git_directory)
        .ok();
    let control = workspace.run(&format!("target/debug/{name}"));
    assert!(control.ends_with("secret true, hook true\n"), "{control}");
}

#[test]
fn a_failing_build_is_told_of_the_bundle_which_was_tried() {
    let name = "policy-git-tried";
    let workspace = repository(name, false);
    workspace.write("kiln.toml", "");
    let script = "fn main() {\n\
        let git = std::process::Command::new(\"git\").args([\"rev-parse\", \"HEAD\"]).output().expect(\"git\");\n\
        assert!(git.status.success(), \"no commit\");\n\
        std::fs::write(std::env::var(\"OUT_DIR\").unwrap() + \"/said\", git.stdout).unwrap();\n\
        }\n";
    workspace.write("member/build.rs", script);
    let failed = workspace.kiln(["build"]).run();
    assert_eq!(failed.code, Some(101), "{failed}");
    let command = format!("kiln policy grant {name} --bundle git-metadata");
    failed.says(&["kiln has tried this", &format!("{command}\n")]);
    workspace.kiln(command.split(' ').skip(1)).ok();
    workspace.kiln(["build"]).ok();
}

#[test]
fn a_macro_that_runs_git_in_a_package_of_the_workspace_may_be_granted_it() {
    let name = "policy-git-macro";
    let macros = format!("{name}-macros");
    let krate = macros.replace('-', "_");
    let uses = format!("[dependencies]\n{macros} = {{ path = \"../macros\" }}");
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"app\", \"other\", \"macros\"]\nresolver = \"3\"\n",
        ),
        ("app/Cargo.toml", &manifest(name, &uses)),
        (
            "app/src/main.rs",
            &format!("fn main() {{ println!(\"{{}}\", {krate}::described!()); }}\n"),
        ),
        (
            "other/Cargo.toml",
            &manifest(&format!("{name}-other"), &uses),
        ),
        (
            "other/src/main.rs",
            &format!("fn main() {{ println!(\"{{}}\", {krate}::described!()); }}\n"),
        ),
        (
            "macros/Cargo.toml",
            &manifest(&macros, "[lib]\nproc-macro = true"),
        ),
        (
            "macros/src/lib.rs",
            "#[proc_macro]\npub fn described(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n\
             let said = std::process::Command::new(\"git\").args([\"describe\", \"--always\", \"--tags\"]).output();\n\
             let said = said.map_or(\"none\".to_owned(), |said| String::from_utf8(said.stdout).unwrap());\n\
             format!(\"{:?}\", said.trim()).parse().unwrap()\n}\n",
        ),
        (".gitignore", "target\n"),
    ]);
    workspace.cargo(["generate-lockfile", "--offline"]).ok();
    git(&workspace, &["init", "-q", "-b", "trunk"]);
    git(&workspace, &["add", "."]);
    git(&workspace, &["commit", "-q", "-m", "first"]);
    git(&workspace, &["tag", "v7"]);
    workspace
        .kiln(["policy", "grant", name, "--bundle", "git-metadata"])
        .ok();
    workspace.kiln(["build"]).ok();
    assert_eq!(workspace.run(&format!("target/kiln/debug/{name}")), "v7\n");
    assert_eq!(
        workspace.run(&format!("target/kiln/debug/{name}-other")),
        "none\n"
    );
}

#[test]
fn a_lock_is_compared_with_that_of_a_commit() {
    let name = "policy-git-diff";
    let workspace = repository(name, false);
    let diff = |old: &str| workspace.kiln(["policy", "diff", old]).run();
    for old in [
        "trunk:Cargo.lock",
        "HEAD:./Cargo.lock",
        "v1:Cargo.lock",
        "refs/tags/light:Cargo.lock",
    ] {
        let same = diff(old);
        assert_eq!(same.code, Some(0), "{same}");
        assert!(same.stdout.contains("the same packages"), "{same}");
    }
    let commit = git(&workspace, &["rev-parse", "HEAD"]);
    assert_eq!(diff(&format!("{}:Cargo.lock", &commit[..9])).code, Some(0));
    let package = "[[package]]\nname = \"another\"\nversion = \"1.0.0\"\nsource = \"sparse+https://example.com/index/\"\n";
    workspace.write("Cargo.lock", &format!("version = 4\n\n{package}"));
    git(&workspace, &["commit", "-q", "-a", "-m", "another"]);
    workspace.write("Cargo.lock", "version = 4\n");
    let other = diff("trunk:Cargo.lock");
    assert!(!other.stdout.contains("the same packages"), "{other}");
    assert!(other.to_string().contains("another"), "{other}");
    diff("nowhere:Cargo.lock").refuses(&["nowhere:Cargo.lock", "no such revision"]);
    diff("trunk:absent.lock").refuses(&["no such file"]);
    diff("trunk:../Cargo.lock").refuses(&["no such file"]);
}
