//! Git dependencies: the lock as the installed cargo writes it, what is built from them, servers, and repositories
//! that mean no good. The fixtures are made by the `git` program, which kiln itself never runs.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::registry::{Reply, Server};
use crate::support::{Workspace, directory, manifest, store};

/// A repository on disk.
pub(crate) struct Repository {
    directory: PathBuf,
    _parent: Option<tempfile::TempDir>,
}

impl Repository {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let parent = directory();
        let mut repository = Self::at(&parent.path().join("repository"), files);
        repository._parent = Some(parent);
        repository
    }

    fn at(directory: &Path, files: &[(&str, &str)]) -> Self {
        fs::create_dir_all(directory).expect("made");
        let repository = Self {
            directory: directory.to_owned(),
            _parent: None,
        };
        repository.git(&["init", "-q", "-b", "main"]);
        repository.commit(files);
        repository
    }

    /// Runs git and gives what it prints.
    fn git(&self, arguments: &[&str]) -> String {
        self.git_with(arguments, b"")
    }

    fn git_with(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut child = git(&self.directory)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("these tests need the `git` program to make repositories");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input).expect("written");
        drop(stdin);
        let output = child.wait_with_output().expect("waited for");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout)
            .expect("UTF-8")
            .trim()
            .to_owned()
    }

    fn write(&self, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = self.directory.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
    }

    /// Writes `files` and commits everything; gives the commit.
    pub(crate) fn commit(&self, files: &[(&str, &str)]) -> String {
        self.write(files);
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "x"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Makes a commit on `main` of a tree with these raw entries.
    fn commit_raw(&self, entries: &[(&str, &str, &str)]) -> String {
        let mut tree = Vec::new();
        for (mode, name, id) in entries {
            tree.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            for pair in id.as_bytes().chunks(2) {
                let digits = std::str::from_utf8(pair).expect("ASCII");
                tree.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
            }
        }
        let arguments = ["hash-object", "-t", "tree", "-w", "--literally", "--stdin"];
        let tree = self.git_with(&arguments, &tree);
        let commit = self.git(&["commit-tree", "-m", "x", &tree]);
        self.git(&["update-ref", "refs/heads/main", &commit]);
        tree
    }

    fn blob(&self, text: &str) -> String {
        self.git_with(&["hash-object", "-w", "--stdin"], text.as_bytes())
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.directory.display())
    }
}

/// git without the user's configuration.
fn git(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(directory)
        .env_remove("GIT_DIR")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .args(["-c", "protocol.file.allow=always"]);
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "x")
            .env(format!("GIT_{role}_EMAIL"), "x@example.com")
            .env(format!("GIT_{role}_DATE"), "2020-01-01T00:00:00Z");
    }
    command
}

/// A library that says `text`.
fn library(name: &str, text: &str) -> Vec<(String, String)> {
    vec![
        (format!("{name}/Cargo.toml"), manifest(name, "")),
        (
            format!("{name}/src/lib.rs"),
            format!("pub fn text() -> &'static str {{ {text:?} }}\n"),
        ),
    ]
}

fn borrowed(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect()
}

/// A program that prints the `text()` of each of its dependencies.
fn program(name: &str, dependencies: &[(&str, &str)], rest: &str) -> Workspace {
    let mut table = "[dependencies]\n".to_owned();
    let mut body = String::new();
    for (key, value) in dependencies {
        table.push_str(&format!("{key} = {value}\n"));
        body.push_str(&format!("println!(\"{{}}\", {key}::text());\n"));
    }
    Workspace::new(&[
        ("Cargo.toml", &manifest(name, &format!("{table}{rest}"))),
        ("src/main.rs", &format!("fn main() {{\n{body}}}\n")),
    ])
}

/// Both make the same lock of `workspace`, and kiln's then satisfies cargo.
fn same_lock(workspace: &Workspace) -> String {
    let home = directory();
    let cargo = workspace.copy();
    for arguments in [&["generate-lockfile"][..], &["fetch", "--locked"]] {
        cargo
            .cargo(arguments.iter().copied())
            .env("CARGO_HOME", home.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .ok();
    }
    workspace.kiln(["generate-lockfile"]).ok();
    let (ours, cargos) = (workspace.read("Cargo.lock"), cargo.read("Cargo.lock"));
    let ours = String::from_utf8(ours).expect("UTF-8");
    assert_eq!(ours, String::from_utf8(cargos).expect("UTF-8"));
    ours
}

#[test]
fn every_kind_of_reference() {
    let repository = Repository::new(&borrowed(&library("gitrefs", "one")));
    let one = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&["tag", "light"]);
    repository.git(&["tag", "-a", "annotated/x", "-m", "x"]);
    repository.git(&["checkout", "-q", "-b", "topic/two"]);
    let two = repository.commit(&borrowed(&library("gitrefs", "two")));
    repository.git(&["update-ref", "refs/pull/1/head", &two]);
    repository.git(&["checkout", "-q", "main"]);
    repository.commit(&borrowed(&library("gitrefs", "three")));
    let url = repository.url();
    let short = &one[..9];
    let cases = [
        ("a", String::new(), "three"),
        ("b", ", branch = \"topic/two\"".to_owned(), "two"),
        ("c", ", tag = \"light\"".to_owned(), "one"),
        ("d", ", tag = \"annotated/x\"".to_owned(), "one"),
        ("e", format!(", rev = \"{two}\""), "two"),
        ("f", format!(", rev = \"{short}\""), "one"),
        ("g", ", rev = \"refs/pull/1/head\"".to_owned(), "two"),
        ("h", ", rev = \"light\"".to_owned(), "one"),
    ];
    let dependencies: Vec<(&str, String)> = cases
        .iter()
        .map(|(key, reference, _)| {
            (
                *key,
                format!("{{ package = \"gitrefs\", git = \"{url}\"{reference} }}"),
            )
        })
        .collect();
    let workspace = program(
        "refsprogram",
        &dependencies
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect::<Vec<_>>(),
        "",
    );
    let lock = same_lock(&workspace);
    assert!(lock.contains(&format!("git+{url}?rev=refs%2Fpull%2F1%2Fhead#{two}")));
    workspace.kiln(["build", "--locked"]).ok();
    let expected: Vec<&str> = cases.iter().map(|(_, _, text)| *text).collect();
    assert_eq!(
        workspace.run("target/kiln/debug/refsprogram"),
        format!("{}\n", expected.join("\n"))
    );
}

#[test]
fn a_workspace_with_inheritance_submodules_and_neighbours() {
    let parent = directory();
    let _inner = Repository::at(
        &parent.path().join("inner"),
        &[("text.txt", "from the inner")],
    );
    let outer = Repository::at(
        &parent.path().join("outer"),
        &[("text.txt", "from the submodule")],
    );
    outer.git(&["submodule", "add", "-q", "../inner", "deep/inner"]);
    outer.commit(&[]);
    let repository = Repository::at(
        &parent.path().join("main"),
        &[
            (
                "Cargo.toml",
                "[workspace]\nmembers = [\"crates/*\"]\nresolver = \"2\"\n\
                 [workspace.package]\nversion = \"1.2.3\"\nedition = \"2021\"\n\
                 [workspace.dependencies]\nnearbase = { path = \"crates/base\" }\n",
            ),
            (
                "crates/top/Cargo.toml",
                "[package]\nname = \"neartop\"\nversion.workspace = true\nedition.workspace = true\n\
                 [dependencies]\nnearbase.workspace = true\nhidden = { path = \"../../.hidden\" }\n",
            ),
            (
                "crates/top/src/lib.rs",
                "pub fn text() -> String {\n\
                     format!(\"{} {} {} {} {}\", nearbase::text(), hidden::text(), include_str!(\"../../../shared.txt\"),\n\
                         include_str!(\"../../../vendor/outer/text.txt\"),\n\
                         include_str!(\"../../../vendor/outer/deep/inner/text.txt\"))\n}\n",
            ),
            (
                "crates/base/Cargo.toml",
                "[package]\nname = \"nearbase\"\nversion.workspace = true\nedition.workspace = true\n\
                 build = \"build.rs\"\n",
            ),
            (
                "crates/base/build.rs",
                "fn main() {\n\
                     let dir = std::env::var(\"CARGO_MANIFEST_DIR\").unwrap();\n\
                     assert_eq!(std::env::current_dir().unwrap(), std::path::Path::new(&dir));\n\
                     assert!(std::path::Path::new(\"../../shared.txt\").exists());\n}\n",
            ),
            (
                "crates/base/src/lib.rs",
                "pub fn text() -> &'static str { concat!(env!(\"CARGO_PKG_VERSION\"), \" \", file!()) }\n",
            ),
            (
                ".hidden/Cargo.toml",
                "[package]\nname = \"hidden\"\nversion = \"0.0.1\"\nedition = \"2021\"\n",
            ),
            (
                ".hidden/src/lib.rs",
                "pub fn text() -> &'static str { \"hidden\" }\n",
            ),
            ("broken/Cargo.toml", "[package\n"),
            ("shared.txt", "shared"),
        ],
    );
    repository.git(&["submodule", "add", "-q", "../outer", "vendor/outer"]);
    repository.commit(&[]);
    let url = repository.url();
    let workspace = program(
        "inheritprogram",
        &[
            ("neartop", &format!("{{ git = \"{url}\" }}")),
            (
                "renamed",
                &format!("{{ package = \"nearbase\", git = \"{url}\" }}"),
            ),
        ],
        "",
    );
    same_lock(&workspace);
    workspace.kiln(["build", "--locked"]).ok();
    let printed = workspace.run("target/kiln/debug/inheritprogram");
    for text in [
        "hidden shared from the submodule from the inner",
        "1.2.3 /kiln/git/main-",
        "/crates/base/src/lib.rs",
    ] {
        assert!(printed.contains(text), "{printed}");
    }
}

#[test]
fn the_locks_commit_stays_and_the_store_remembers_it() {
    let repository = Repository::new(&borrowed(&library("gitlocked", "before")));
    let url = repository.url();
    let workspace = program(
        "lockedprogram",
        &[(
            "gitlocked",
            &format!("{{ git = \"{url}\", branch = \"main\" }}"),
        )],
        "",
    );
    let lock = same_lock(&workspace);
    repository.commit(&borrowed(&library("gitlocked", "after")));
    workspace.kiln(["build"]).ok();
    assert_eq!(workspace.run("target/kiln/debug/lockedprogram"), "before\n");
    assert_eq!(workspace.read("Cargo.lock"), lock.as_bytes());

    // Another dependency of the same repository comes from the locked commit too.
    workspace.write(
        "src/main.rs",
        "fn main() { println!(\"{}\", gitlocked::text()); }\n",
    );
    fs::remove_dir_all(&repository.directory).expect("removed");
    workspace.kiln(["build", "--locked", "--offline"]).ok();

    let unknown = lock.replace('#', "#0").replace("##", "#");
    let commit = unknown.split('#').next_back().expect("a commit");
    let unknown = unknown.replace(commit, &format!("{}\"\n", "0".repeat(40)));
    workspace.write("Cargo.lock", &unknown);
    let run = workspace.kiln(["build", "--locked"]).run();
    assert_eq!(run.code, Some(101), "{run}");
}

#[test]
fn patches_and_dev_dependencies_of_repositories() {
    let original = Repository::new(&borrowed(&library("gitpatched", "original")));
    let mut files = library("gitpatched", "patched");
    files.extend(library("gitother", "other"));
    let fork = Repository::new(&borrowed(&files));
    let workspace = program(
        "patchprogram",
        &[("gitpatched", &format!("{{ git = \"{}\" }}", original.url()))],
        &format!(
            "[patch.\"{}\"]\ngitpatched = {{ git = \"{}\", branch = \"main\" }}\n\
             gitother = {{ git = \"{}\", branch = \"main\" }}\n",
            original.url(),
            fork.url(),
            fork.url()
        ),
    );
    let lock = same_lock(&workspace);
    assert!(lock.contains("[[patch.unused]]"), "{lock}");
    workspace.kiln(["build", "--locked"]).ok();
    assert_eq!(workspace.run("target/kiln/debug/patchprogram"), "patched\n");
}

#[test]
fn packages_that_are_there_twice() {
    let mut files = library("gittwice", "first");
    for (directory, name) in [("other", "gittwice"), ("x", "unused"), ("y", "unused")] {
        for (path, text) in library(name, "second") {
            let path = path.replacen(name, directory, 1);
            files.push((path, text));
        }
    }
    let repository = Repository::new(&borrowed(&files));
    let workspace = program(
        "twiceprogram",
        &[("gittwice", &format!("{{ git = \"{}\" }}", repository.url()))],
        "",
    );
    same_lock(&workspace);
    let run = workspace.kiln(["build"]).ok();
    run.says(&["`gittwice v0.1.0` is there twice: `gittwice/Cargo.toml` is used"]);
    // What nobody uses is nobody's concern.
    assert!(!run.stderr.contains("unused"), "{run}");
    assert_eq!(workspace.run("target/kiln/debug/twiceprogram"), "first\n");
}

#[test]
fn what_is_not_there_is_named() {
    let repository = Repository::new(&borrowed(&library("gitnamed", "x")));
    let url = repository.url();
    for (dependency, texts) in [
        (
            format!("{{ git = \"{url}\", branch = \"nowhere\" }}"),
            &["branch `nowhere`"][..],
        ),
        (
            format!("{{ git = \"{url}\", tag = \"v9\" }}"),
            &["tag `v9`"],
        ),
        (
            format!("{{ git = \"{url}\", rev = \"abcdef1\" }}"),
            &["revision `abcdef1`"],
        ),
        (format!("{{ git = \"{url}x\" }}"), &["repositoryx"]),
        (
            "{ git = \"ssh://git@example.com/a\" }".to_owned(),
            &["ssh", "https"],
        ),
        (
            "{ git = \"http://example.com/a\" }".to_owned(),
            &["http://example.com/a"],
        ),
        (
            "{ git = \"git://example.com/a\" }".to_owned(),
            &["git://example.com/a"],
        ),
        (
            format!("{{ git = \"{url}\", package = \"absent\" }}"),
            &["absent", "gitnamed"],
        ),
    ] {
        let workspace = program("namedprogram", &[("gitnamed", &dependency)], "");
        workspace.kiln(["generate-lockfile"]).run().refuses(texts);
    }
}

#[test]
fn trees_that_lead_outside_are_refused_and_links_left_out() {
    let secret = directory();
    let secret = secret.path().join("secret.toml");
    fs::write(&secret, "[package]\nname = \"secret\"\n").expect("written");
    let repository = Repository::new(&borrowed(&library("githostile", "x")));
    let package = repository.git(&["rev-parse", "HEAD:githostile"]);
    let text = repository.blob("text");
    let outside = repository.blob("../../../../../../../etc");
    for (entries, texts) in [
        (vec![("100644", "..", &text)], "leads elsewhere"),
        (vec![("40000", ".", &package)], "leads elsewhere"),
        (vec![("100644", "a/b", &text)], "leads elsewhere"),
        (
            vec![("40000", ".git", &package)],
            "repository's own directory",
        ),
        (
            vec![("40000", ".GiT", &package)],
            "repository's own directory",
        ),
        (
            vec![("100644", "a", &text), ("40000", "a", &package)],
            "there twice",
        ),
    ] {
        let mut entries: Vec<(&str, &str, &str)> = entries
            .iter()
            .map(|(mode, name, id)| (*mode, *name, id.as_str()))
            .collect();
        entries.push(("40000", "githostile", &package));
        repository.commit_raw(&entries);
        let workspace = program(
            "hostileprogram",
            &[(
                "githostile",
                &format!("{{ git = \"{}\" }}", repository.url()),
            )],
            "",
        );
        workspace
            .kiln(["generate-lockfile"])
            .run()
            .refuses(&["is refused", texts]);
    }

    // A directory of a directory of a directory: few objects, and no end of entries.
    let mut tree = package.clone();
    for _ in 0..30 {
        tree = repository.commit_raw(&[("40000", "a", &tree), ("40000", "b", &tree)]);
    }
    let workspace = program(
        "bombprogram",
        &[(
            "githostile",
            &format!("{{ git = \"{}\" }}", repository.url()),
        )],
        "",
    );
    workspace
        .kiln(["generate-lockfile"])
        .run()
        .refuses(&["is refused", "entries"]);

    let link = repository.blob(secret.to_str().expect("UTF-8"));
    let here = repository.blob(".");
    let chain = repository.blob("here/../../../..");
    repository.commit_raw(&[
        ("120000", "chain", &chain),
        ("40000", "githostile", &package),
        ("120000", "here", &here),
        ("120000", "out", &outside),
        ("120000", "secret", &link),
    ]);
    let workspace = program(
        "linkprogram",
        &[(
            "githostile",
            &format!("{{ git = \"{}\" }}", repository.url()),
        )],
        "",
    );
    workspace.kiln(["build"]).ok().says(&[
        "`chain` of",
        "`out` of",
        "`secret` of",
        "symbolic link",
    ]);
    let commit = repository.git(&["rev-parse", "main"]);
    let checkout = walkdir::WalkDir::new(store().join("src"))
        .into_iter()
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy() == commit)
        .expect("a checkout");
    let mut names: Vec<_> = fs::read_dir(checkout.path())
        .expect("readable")
        .map(|entry| entry.expect("readable").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["githostile", "here"]);
}

#[test]
fn submodules_of_strangers_reach_nothing_near() {
    let private = Repository::new(&[("private.txt", "private")]);
    let stranger = Repository::new(&borrowed(&library("gitsubmodule", "x")));
    stranger.git(&["submodule", "add", "-q", &private.url(), "stolen"]);
    stranger.commit(&[]);
    // The repository itself is from a server.
    let server = serve(stranger.directory.clone(), |_, _| None);
    let url = format!("{}/repository", server.address);
    let workspace = program(
        "submoduleprogram",
        &[("gitsubmodule", &format!("{{ git = \"{url}\" }}"))],
        "",
    );
    workspace
        .kiln(["generate-lockfile"])
        .run()
        .refuses(&["submodule `stolen`", "on this machine"]);
}

#[test]
fn what_is_vendored_of_repositories_is_cargos_and_is_built() {
    let parent = directory();
    let outer = Repository::at(&parent.path().join("outer"), &[("text.txt", "submodule")]);
    let repository = Repository::at(
        &parent.path().join("main"),
        &[
            (
                "Cargo.toml",
                "[workspace]\nmembers = [\"a\", \"b\", \"c\"]\nresolver = \"2\"\n\
                 [workspace.package]\nversion = \"0.2.0\"\nedition = \"2021\"\nauthors = [\"x\"]\n\
                 license-file = \"LICENSE\"\nreadme = \"README.md\"\nrust-version = \"1.70\"\n\
                 [workspace.dependencies]\nvendorb = { path = \"b\", version = \"0.2\", default-features = false }\n\
                 [workspace.lints.rust]\nunused = \"allow\"\n\
                 [workspace.lints.clippy]\nall = { level = \"warn\", priority = -1 }\n",
            ),
            ("LICENSE", "none"),
            ("README.md", "read"),
            (".gitattributes", "* text=auto\n"),
            (
                "a/Cargo.toml",
                "[package]\nname = \"vendora\"\nversion.workspace = true\nedition.workspace = true\n\
                 authors.workspace = true\nlicense-file.workspace = true\nreadme.workspace = true\n\
                 rust-version.workspace = true\nexclude = [\"*.skipped\", \"/secret/\"]\n\
                 [package.metadata.some]\nkey = [1, \"two\"]\n\
                 [lints]\nworkspace = true\n\
                 [features]\ndefault = [\"one\"]\none = [\"vendorb/two\"]\n\
                 [dependencies]\nvendorb = { workspace = true, features = [\"two\"] }\n\
                 [dev_dependencies]\nvendorc = { path = \"../c\" }\n\
                 [target.'cfg(unix)'.dependencies]\nrenamed = { package = \"vendorc\", path = \"../c\" }\n\
                 [[bin]]\nname = \"tool\"\nrequired-features = [\"one\"]\n\
                 [[test]]\nname = \"named\"\npath = \"tests/other.rs\"\nharness = false\n\
                 [profile.release]\nlto = true\n",
            ),
            (
                "a/src/lib.rs",
                "pub fn text() -> String { format!(\"a {} {}\", vendorb::text(), renamed::text()) }\n",
            ),
            ("a/src/bin/tool.rs", "fn main() {}\n"),
            ("a/src/bin/auto/main.rs", "fn main() {}\n"),
            ("a/examples/shown.rs", "fn main() {}\n"),
            ("a/tests/other.rs", "fn main() {}\n"),
            ("a/benches/slow.rs", "fn main() {}\n"),
            ("a/build.rs", "fn main() {}\n"),
            ("a/file.skipped", "x"),
            ("a/secret/file", "x"),
            ("a/deep/.hidden", "x"),
            ("a/.gitignore", "ignored\n"),
            (
                "a/nested/Cargo.toml",
                "[package]\nname = \"nested\"\nversion = \"1.0.0\"\n[workspace]\n",
            ),
            ("a/nested/src/lib.rs", ""),
            (
                "b/Cargo.toml",
                "[project]\nname = \"vendorb\"\nversion = \"0.2.0\"\nbuild = \"make.rs\"\n\
                 include = [\"src\", \"/make.rs\", \"!src/left.rs\"]\n\
                 [lib]\nname = \"vendorb\"\ncrate-type = [\"rlib\"]\n\
                 [features]\ntwo = []\n",
            ),
            ("b/src/lib.rs", "pub fn text() -> &'static str { \"b\" }\n"),
            ("b/src/left.rs", ""),
            ("b/examples/left.rs", "fn main() {}\n"),
            ("b/make.rs", "fn main() {}\n"),
            ("b/README.md", "left"),
            (
                "c/Cargo.toml",
                "[package]\nname = \"vendorc\"\nedition = \"2018\"\nversion = \"0.1.0\"\n",
            ),
            (
                "c/src/lib.rs",
                "pub fn text() -> &'static str { include_str!(\"../sub/text.txt\") }\n",
            ),
        ],
    );
    repository.git(&["submodule", "add", "-q", "../outer", "c/sub"]);
    let link = repository.directory.join("c/linked.txt");
    std::os::unix::fs::symlink("Cargo.toml", link).expect("made");
    repository.commit(&[]);
    let _ = outer.url();
    let url = repository.url();
    let workspace = program(
        "vendorgit",
        &[(
            "vendora",
            &format!("{{ git = \"{url}\", branch = \"main\" }}"),
        )],
        "",
    );
    same_lock(&workspace);
    let home = directory();
    let reference = workspace.copy();
    let vendored = reference
        .cargo(["vendor"])
        .env("CARGO_HOME", home.path())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .ok();
    let ours = workspace.kiln(["vendor"]).ok();
    assert_eq!(ours.stdout, vendored.stdout);
    assert_eq!(workspace.files(), reference.files());
    for path in workspace.files() {
        let (ours, cargos) = (workspace.read(&path), reference.read(&path));
        if path.ends_with("Cargo.toml") {
            let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
            assert_eq!(text(ours), text(cargos), "{path}");
        } else {
            assert!(ours == cargos, "{path}");
        }
    }
    workspace.write(".cargo/config.toml", &vendored.stdout);
    fs::remove_dir_all(&repository.directory).expect("removed");
    let other = directory();
    workspace
        .kiln(["build", "--hermetic", "--offline"])
        .env("KILN_HOME", other.path())
        .ok();
    assert_eq!(
        workspace.run("target/kiln/debug/vendorgit"),
        "a b submodule\n"
    );
    // Which commit it is only the lock knows.
    fs::remove_file(workspace.root().join("Cargo.lock")).expect("removed");
    workspace
        .kiln(["generate-lockfile"])
        .run()
        .refuses(&["lock"]);
}

/// A server that speaks git's protocol for one repository, unless `first` answers.
fn serve(
    repository: PathBuf,
    first: impl Fn(&Server, &crate::registry::Request) -> Option<Reply> + Send + Sync + 'static,
) -> Arc<Server> {
    Server::start(move |server, request, _| {
        if let Some(reply) = first(server, request) {
            return reply;
        }
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let Some(rest) = path.strip_prefix("/repository") else {
            return Reply::status(404);
        };
        let mut child = git(&repository)
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", repository.join(".git"))
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", rest)
            .env("QUERY_STRING", query)
            .env("REQUEST_METHOD", &request.method)
            .env("REMOTE_ADDR", "127.0.0.1")
            .env(
                "CONTENT_TYPE",
                request.header("content-type").unwrap_or_default(),
            )
            .env("CONTENT_LENGTH", request.body.len().to_string())
            .env(
                "GIT_PROTOCOL",
                request.header("git-protocol").unwrap_or_default(),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("these tests need the `git` program to serve repositories");
        let mut stdin = child.stdin.take().expect("piped");
        let body = request.body.clone();
        let writer = std::thread::spawn(move || stdin.write_all(&body));
        let output = child.wait_with_output().expect("waited for").stdout;
        let _ = writer.join();
        let end = output
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("headers");
        let head = String::from_utf8_lossy(&output[..end]).into_owned();
        let field = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|value| value.trim().to_owned())
        };
        let status = field("Status:")
            .and_then(|status| status.split(' ').next()?.parse().ok())
            .unwrap_or(200);
        let headers = field("Content-Type:")
            .map(|value| ("content-type", value))
            .into_iter()
            .collect();
        Reply::Full(status, headers, output[end + 4..].to_vec())
    })
}

#[test]
fn from_a_server() {
    let repository = Repository::new(&borrowed(&library("gitserved", "one")));
    let one = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&["tag", "-a", "v1", "-m", "x"]);
    repository.commit(&borrowed(&library("gitserved", "two")));
    let server = serve(repository.directory.clone(), |_, _| None);
    let url = format!("{}/repository", server.address);
    let short = &one[..8];
    let workspace = program(
        "servedprogram",
        &[
            (
                "a",
                &format!("{{ package = \"gitserved\", git = \"{url}\" }}"),
            ),
            (
                "b",
                &format!("{{ package = \"gitserved\", git = \"{url}\", tag = \"v1\" }}"),
            ),
            (
                "c",
                &format!("{{ package = \"gitserved\", git = \"{url}\", rev = \"{one}\" }}"),
            ),
            (
                "d",
                &format!("{{ package = \"gitserved\", git = \"{url}\", rev = \"{short}\" }}"),
            ),
        ],
        "",
    );
    same_lock(&workspace);
    workspace.kiln(["build", "--locked"]).ok();
    assert_eq!(
        workspace.run("target/kiln/debug/servedprogram"),
        "two\none\none\none\n"
    );
    // Everything is at hand: nobody is asked again.
    server.forget();
    workspace.kiln(["fetch", "--locked", "--offline"]).ok();
    workspace.kiln(["fetch", "--locked"]).ok();
    assert!(server.requests().is_empty(), "{:?}", server.paths());

    // Another store has nothing, and may not ask.
    let other = directory();
    workspace
        .kiln(["fetch", "--locked", "--offline"])
        .env("KILN_HOME", other.path())
        .run()
        .refuses(&["offline", &url]);
    // A locked commit that no reference leads to any more.
    repository.git(&["tag", "-d", "v1"]);
    repository.git(&["checkout", "-q", "--orphan", "new"]);
    repository.commit(&[]);
    repository.git(&["branch", "-q", "-f", "main", "new"]);
    workspace
        .kiln(["fetch", "--locked"])
        .env("KILN_HOME", other.path())
        .ok();
}

#[test]
fn servers_that_send_elsewhere_get_no_credentials_and_no_downgrade() {
    let repository = Repository::new(&borrowed(&library("gitmoved", "x")));
    let real = serve(repository.directory.clone(), |_, _| None);
    let target = real.address.clone();
    let moved = Server::start(move |_, request, _| {
        Reply::Full(
            302,
            vec![("location", format!("{target}{}", request.path))],
            Vec::new(),
        )
    });
    let url = moved.address.replace("http://", "http://user:secret@");
    let workspace = program(
        "movedprogram",
        &[(
            "gitmoved",
            &format!("{{ git = \"{}/repository\" }}", moved.address),
        )],
        "",
    );
    workspace.kiln(["generate-lockfile"]).ok();
    assert!(
        real.requests()
            .iter()
            .all(|request| request.header("authorization").is_none())
    );

    let with_credentials = program(
        "credentialsprogram",
        &[("gitmoved", &format!("{{ git = \"{url}/repository\" }}"))],
        "",
    );
    real.forget();
    let run = with_credentials.kiln(["generate-lockfile"]).run();
    assert!(!run.stderr.contains("secret"), "{run}");
    assert!(
        real.requests()
            .iter()
            .all(|request| request.header("authorization").is_none())
    );

    let away = Server::start(|_, _, _| {
        Reply::Full(
            302,
            vec![("location", "http://example.com/x".to_owned())],
            Vec::new(),
        )
    });
    let login = Server::start(|_, _, _| Reply::status(401));
    let nonsense = Server::start(|_, _, _| Reply::ok("<html>"));
    for (server, text) in [
        (away, "example.com"),
        (login, "login"),
        (nonsense, "cannot be fetched"),
    ] {
        let workspace = program(
            "awayprogram",
            &[(
                "gitmoved",
                &format!("{{ git = \"{}/repository\" }}", server.address),
            )],
            "",
        );
        workspace.kiln(["generate-lockfile"]).run().refuses(&[text]);
    }
}
