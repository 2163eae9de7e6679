//! Small workspaces, loaded by us and by the installed cargo: both take them alike, or both refuse.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::lock::{Lock, LockVersion};
use super::tests::{
    assert_same, cargo_check, cargo_generate_lockfile, cargo_messages, cargo_metadata,
};
use super::*;
use crate::resolve::graph::{Resolve, ResolvedDependency};

/// Writes the files of `text`: each begins with a line `== path`, and an empty one may end with it.
fn write_files(root: &Path, text: &str) {
    for file in text
        .trim_start()
        .split("== ")
        .filter(|file| !file.trim().is_empty())
    {
        let (path, content) = file.split_once('\n').unwrap_or((file, ""));
        for path in path.split_whitespace() {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("below the root")).expect("a directory");
            std::fs::write(path, content).expect("a file");
        }
    }
}

/// Loads the fixture `text` from the directory `from`, and lets cargo do so.
fn both(
    text: &str,
    from: &str,
) -> (
    Result<model::Workspace, ManifestError>,
    Result<serde_json::Value, String>,
) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory
        .path()
        .canonicalize()
        .expect("it exists")
        .join("w");
    write_files(&root, text);
    let from = root.join(from);
    let ours = load_workspace(&from.join("Cargo.toml"), &ManifestContext::default());
    let cargo = cargo_metadata(&from).and_then(|metadata| match ours {
        Ok(_) => Ok(metadata),
        // Some faults of members keep cargo only from building.
        Err(_) => cargo_check(&from).map(|()| metadata),
    });
    (ours, cargo)
}

const ROOT: &str = "== Cargo.toml\n[workspace]\nresolver = '2'\nmembers = ['a', 'b']\n";
const LIB_A: &str = "== a/src/lib.rs\n== a/Cargo.toml\n[package]\nname = 'a'\nedition = '2021'\nversion = '1.0.0'\n";
const LIB_B: &str = "== b/src/lib.rs\n== b/Cargo.toml\n[package]\nname = 'b'\nedition = '2021'\nversion = '1.0.0'\n";

#[test]
fn accepted_alike() {
    let package = |edition: &str, rest: &str| {
        format!(
            "== Cargo.toml\n[package]\nname = 'my-pkg'\nversion = '0.1.0'\nedition = '{edition}'\n{rest}\n"
        )
    };
    let all_files = "== src/lib.rs src/main.rs src/bin/x.rs src/bin/y/main.rs src/bin/z/other.rs src/bin/.h.rs build.rs\n\
         == examples/e.rs examples/f/main.rs tests/t.rs tests/u/main.rs tests/u/more.rs benches/v.rs README.txt\n";
    let cases: Vec<(&str, String, &str)> = vec![
        ("all that is found", package("2021", all_files), ""),
        ("nothing is looked for", package("2021", &format!("autolib = false\nautobins = false\nautoexamples = false\nautotests = false\nautobenches = false\nbuild = false\n[[bin]]\nname = 'x'\npath = 'src/./bin/x.rs'\n{all_files}")), ""),
        ("declared beside found", package("2021", &format!("[[bin]]\nname = 'zz'\npath = 'src/bin/x.rs'\n[[bin]]\nname = 'y'\nrequired-features = ['g']\ntest = false\n[[example]]\nname = 'e'\ncrate-type = ['staticlib', 'rlib']\ntest = true\n[[test]]\nname = 't'\nharness = false\n[[bench]]\nname = 'v'\ntest = true\n[features]\ng = []\n{all_files}")), ""),
        ("edition 2015 finds less", package("2015", &format!("[[bin]]\nname = 'x'\n[[test]]\nname = 't'\n{all_files}")), ""),
        ("edition 2015 when told to", package("2015", &format!("autobins = true\n[[bin]]\nname = 'x'\n{all_files}")), ""),
        ("legacy paths", package("2015", "[lib]\nname = 'l'\n[[bin]]\nname = 'm'\n[[bench]]\nname = 'bench'\n== src/l.rs src/main.rs src/bench.rs\n"), ""),
        ("legacy binary without library", package("2015", "[[bin]]\nname = 'm'\n== src/m.rs\n"), ""),
        ("library kinds", package("2021", "[lib]\ncrate-type = ['cdylib', 'rlib', 'staticlib']\ndoctest = false\nbench = false\n== src/lib.rs\n"), ""),
        ("proc macro", package("2021", "[lib]\nproc-macro = true\nname = 'macros'\n== src/lib.rs\n"), ""),
        ("proc macro by crate type", package("2018", "[lib]\ncrate_type = ['proc-macro']\n== src/lib.rs\n"), ""),
        ("build script elsewhere", package("2021", "build = './scripts/../make.rs'\nlinks = 'foo'\n== src/lib.rs make.rs\n"), ""),
        ("library path by hand", package("2021", "[lib]\npath = 'a/../lib.rs'\n== lib.rs\n"), ""),
        ("no version", "== Cargo.toml\n[package]\nname = 'p'\n== src/main.rs\n".into(), ""),
        ("project", "== Cargo.toml\n[project]\nname = 'p'\nversion = '1.0.0'\n== src/main.rs\n".into(), ""),
        ("about it", package("2021", "authors = ['A <a@example.com>']\ndescription = 'd'\nhomepage = 'https://example.com'\nlicense = 'MIT'\nkeywords = ['k']\ncategories = ['c']\nreadme = true\nrust-version = '1.70'\ndefault-run = 'my-pkg'\npublish = ['x']\n[package.metadata.m]\nn = [1, 'two']\n== src/main.rs\n"), ""),
        ("no readme", package("2021", "readme = false\npublish = false\n== src/main.rs README.md\n"), ""),
        ("dependencies of all kinds", package("2021", "[dependencies]\nd = '1'\ne = { version = '>=1, <2', optional = true, default-features = false, features = ['x'] }\nf = { package = 'g', version = '*' }\n[dev-dependencies]\nd = '=1.2.3'\nh = { git = 'https://example.com/h.git', branch = 'b/c' }\n[build-dependencies]\ni = { git = 'https://example.com/i', version = '1' }\n[target.'cfg(all(unix, not(target_os = \"macos\")))'.dependencies]\nj = '1.0.0-alpha'\n[target.x86_64-unknown-linux-gnu.build-dependencies]\nk = '0.0'\n[target.'cfg(windows)'.dev_dependencies]\nl = '1'\n== src/lib.rs\n"), ""),
        ("features", package("2021", "[dependencies]\no = { version = '1', optional = true }\np = { version = '1', optional = true }\nq = '1'\n[features]\ndefault = ['x']\nx = ['o', 'p?/y', 'q/z', 'dep:p']\n== src/lib.rs\n"), ""),
        ("keys that mean nothing", package("2021", "nonsense = 1\n[dependencies]\nd = { version = '1', nothing = 2 }\n[foo.bar]\nx = 1\n== src/lib.rs\n"), ""),
        ("a bin of the library's name", package("2021", "[lib]\nname = 'same'\n[[bin]]\nname = 'same'\npath = 'src/main.rs'\n== src/lib.rs src/main.rs\n"), ""),
        ("members", format!("{ROOT}{LIB_A}[dependencies]\nb = {{ path = '../b' }}\n{LIB_B}"), ""),
        ("from a member", format!("{ROOT}{LIB_A}{LIB_B}"), "b"),
        ("from a directory of a member's", format!("{ROOT}{LIB_A}{LIB_B}"), "a"),
        ("globs and exclusion", format!("== Cargo.toml\n[workspace]\nmembers = ['[ab]*', 'x/*']\nexclude = ['b', 'x/n']\n== bfile\n== x/n/Cargo.toml\nbroken\n{LIB_A}{LIB_B}"), ""),
        ("path dependencies become members", format!("== src/lib.rs\n== Cargo.toml\n[workspace]\n[package]\nname = 'r'\nversion = '1.0.0'\n[dependencies]\na = {{ path = 'a' }}\n{LIB_A}[dev-dependencies]\nb = {{ path = '../b' }}\n{LIB_B}"), ""),
        ("without a workspace they do not", format!("== src/lib.rs\n== Cargo.toml\n[package]\nname = 'r'\nversion = '1.0.0'\n[dependencies]\na = {{ path = 'a' }}\n{LIB_A}"), ""),
        ("default members", format!("{ROOT}default-members = ['b']\n{LIB_A}{LIB_B}"), ""),
        ("default members by pattern", format!("{ROOT}default-members = ['[ab]']\n{LIB_A}{LIB_B}"), ""),
        ("default members from a member", format!("{ROOT}default-members = ['b']\n{LIB_A}{LIB_B}"), "a"),
        ("package.workspace", format!("== r/Cargo.toml\n[workspace]\nmembers = ['../a']\n{LIB_A}workspace = '../r'\n"), "a"),
        ("excluded package", format!("== Cargo.toml\n[workspace]\nmembers = ['b']\nexclude = ['a']\n{LIB_A}{LIB_B}"), "a"),
        ("an excluded directory that members name", format!("== Cargo.toml\n[workspace]\nmembers = ['a']\nexclude = ['a']\n{LIB_A}"), ""),
        ("a path dependency outside", format!("== r/Cargo.toml\n[workspace]\n[package]\nname = 'r'\nversion = '1.0.0'\n[dependencies]\na = {{ path = '../a' }}\n== r/src/lib.rs\n{LIB_A}"), "r"),
        ("inheritance", "== Cargo.toml\n[workspace]\nmembers = ['m/n']\n[workspace.package]\nversion = '2.3.4'\nauthors = ['x']\ndescription = 'd'\ndocumentation = 'e'\nreadme = 'docs/R.md'\nlicense-file = 'L'\nedition = '2021'\nrust-version = '1.80'\nhomepage = 'h'\nrepository = 'r'\nlicense = 'MIT'\nkeywords = ['k']\ncategories = ['c']\npublish = false\nexclude = []\ninclude = []\n[workspace.dependencies]\nd = '1'\ne = { path = 'e', default-features = false, features = ['x'], package = 'ee' }\nf = { version = '2', default-features = false }\n[workspace.lints.rust]\nunsafe_code = 'deny'\n[workspace.metadata]\nk = 1\n== m/n/src/lib.rs e/src/lib.rs\n== e/Cargo.toml\n[package]\nname = 'ee'\nversion = '0.1.0'\n[features]\nx = []\ny = []\n== m/n/Cargo.toml\n[package]\nname = 'n'\nversion.workspace = true\nauthors.workspace = true\ndescription = { workspace = true }\ndocumentation.workspace = true\nreadme.workspace = true\nlicense-file.workspace = true\nedition.workspace = true\nrust-version.workspace = true\nhomepage.workspace = true\nrepository.workspace = true\nlicense.workspace = true\nkeywords.workspace = true\ncategories.workspace = true\npublish.workspace = true\nexclude.workspace = true\ninclude.workspace = true\n[lints]\nworkspace = true\n[dependencies]\nd = { workspace = true, optional = true }\ne = { workspace = true, features = ['y'] }\nf = { workspace = true, default-features = true }\n[dev-dependencies]\nd.workspace = true\n".into(), ""),
        ("inherited readme that is found", "== README.md\n== Cargo.toml\n[workspace]\nmembers = ['m']\n[workspace.package]\nversion = '1.0.0'\n== m/src/lib.rs\n== m/Cargo.toml\n[package]\nname = 'm'\nversion.workspace = true\nreadme.workspace = true\n".into(), ""),
        ("a member that inherits default features it cannot switch off", format!("== Cargo.toml\n[workspace]\nmembers = ['a']\n[workspace.dependencies]\nd = '1'\n{LIB_A}[dependencies]\nd = {{ workspace = true, default-features = false }}\n"), ""),
        ("patches", "== Cargo.toml\n[package]\nname = 'r'\nversion = '1.0.0'\n[patch.crates-io]\nx = { path = 'x' }\n[patch.'https://example.com/y']\ny = { git = 'https://example.com/z' }\n== src/lib.rs x/src/lib.rs\n== x/Cargo.toml\n[package]\nname = 'x'\nversion = '1.0.0'\n".into(), ""),
        ("profiles", package("2021", "[profile.dev]\nopt-level = 1\n[profile.release.package.'*']\nopt-level = 's'\n[profile.mine]\ninherits = 'release'\n== src/lib.rs\n"), ""),
        ("a virtual workspace without members", "== Cargo.toml\n[workspace]\n".into(), ""),
    ];
    cases.into_par_iter().for_each(|(name, text, from)| {
        let (ours, cargo) = both(&text, from);
        match (ours, cargo) {
            (Ok(workspace), Ok(cargo)) => assert_same(&workspace, &cargo, name),
            (ours, cargo) => panic!(
                "{name}: {:?}; cargo: {:?}",
                ours.map(|_| ()),
                cargo.map(|_| ())
            ),
        }
    });
}

#[test]
fn refused_alike() {
    let package = |edition: &str, rest: &str| {
        format!(
            "== src/lib.rs\n== Cargo.toml\n[package]\nname = 'p'\nversion = '0.1.0'\nedition = '{edition}'\n{rest}\n"
        )
    };
    // What is wrong, the files, where, and what our message has in it.
    let cases: Vec<(&str, String, &str, &str)> = vec![
        ("no TOML", "== Cargo.toml\n[package\n".into(), "", "Cargo.toml:1:9"),
        ("neither table", "== Cargo.toml\n[features]\n".into(), "", "neither `[package]` nor `[workspace]`"),
        ("no name", "== Cargo.toml\n[package]\nversion = '1.0.0'\n".into(), "", "Cargo.toml:1:2"),
        ("a name that is none", "== src/lib.rs\n== Cargo.toml\n[package]\nname = 'a b'\n".into(), "", "Cargo.toml:2:8"),
        ("a version that is none", "== src/lib.rs\n== Cargo.toml\n[package]\nname = 'a'\nversion = '1'\n".into(), "", "Cargo.toml:3:11"),
        ("an edition that is none", package("2016", ""), "", "Cargo.toml:4:1: invalid manifest: `2016` is not an edition"),
        ("an edition to come", package("2027", ""), "", "newer than this kiln"),
        ("rust-version before the edition", package("2021", "rust-version = '1.50'"), "", "needs Rust 1.56"),
        ("no targets", "== Cargo.toml\n[package]\nname = 'a'\nversion = '1.0.0'\n".into(), "", "no targets"),
        ("library missing", package("2021", "[lib]\nname = 'x'\nautolib = false\n[[bin]]\nname = 'nope'\n"), "", "neither at `src/bin/nope.rs`"),
        ("test missing", package("2021", "[[test]]\nname = 'nope'\n"), "", "neither at `tests/nope.rs`"),
        ("binaries of one name", package("2021", "[[bin]]\nname = 'x'\npath = 'a.rs'\n[[bin]]\nname = 'x'\npath = 'b.rs'\n"), "", "two binary targets are named `x`"),
        ("two files for one binary", package("2021", "== src/bin/x.rs src/bin/x/main.rs\n"), "", "two binary targets are named `x`"),
        ("a library with a hyphen", package("2021", "[lib]\nname = 'a-b'\n"), "", "has a hyphen"),
        ("a binary with crate types", package("2021", "[[bin]]\nname = 'x'\npath = 'x.rs'\ncrate-type = ['rlib']\n"), "", "cannot have crate types"),
        ("a binary named deps", package("2021", "[[bin]]\nname = 'deps'\npath = 'x.rs'\n"), "", "cannot be named `deps`"),
        ("dylib and cdylib", package("2021", "[lib]\ncrate-type = ['dylib', 'cdylib']\n"), "", "at once"),
        ("links without build script", package("2021", "links = 'x'\n"), "", "no build script"),
        ("default-run", package("2021", "default-run = 'x'\n"), "", "no binary"),
        ("underscores in 2024", package("2024", "[dev_dependencies]\na = '1'\n"), "", "is not a key from edition 2024 on"),
        ("dependency without anything", package("2021", "[dependencies]\na = {}\n"), "", "Cargo.toml:6:1"),
        ("dependency with too much", package("2021", "[dependencies]\na = { git = 'https://example.com/a', path = 'a' }\n"), "", "`git` and `path`"),
        ("branch and tag", package("2021", "[dependencies]\na = { git = 'https://example.com/a', branch = 'b', tag = 't' }\n"), "", "`branch`, `tag` and `rev`"),
        ("branch without git", package("2021", "[dependencies]\na = { version = '1', branch = 'b' }\n"), "", "means nothing without `git`"),
        ("a requirement that is none", package("2021", "[dependencies]\na = 'one'\n"), "", "not a version requirement"),
        ("a registry that nobody knows", package("2021", "[dependencies]\na = { version = '1', registry = 'mine' }\n"), "", "no configuration says where the registry `mine` is"),
        ("scp-like address", package("2021", "[dependencies]\na = { git = 'git@example.com:a/b' }\n"), "", "is not an address"),
        ("features with slashes", package("2021", "[dependencies]\na = { version = '1', features = ['b/c'] }\n"), "", "has a slash"),
        ("a platform that is none", package("2021", "[target.'cfg(foo'.dependencies]\na = '1'\n"), "", "is not a platform"),
        ("one name, two sources", package("2021", "[dependencies]\na = '1'\n[dev-dependencies]\na = { git = 'https://example.com/a' }\n"), "", "different sources"),
        ("a feature of nothing", package("2021", "[features]\na = ['b']\n"), "", "Cargo.toml:6:1: invalid manifest: feature `a` includes `b`"),
        ("optional dev-dependency", package("2021", "[dev-dependencies]\na = { version = '1', optional = true }\n"), "", "is optional"),
        ("nightly features", "== src/lib.rs\n== Cargo.toml\ncargo-features = ['metabuild']\n[package]\nname = 'a'\nversion = '1.0.0'\n".into(), "", "not supported: the cargo feature `metabuild`"),
        ("nightly keys", package("2021", "forced-target = 'x'\n"), "", "`package.forced-target` is nightly-only"),
        ("panic", package("2021", "[profile.dev]\npanic = 'x'\n"), "", "Cargo.toml:6:1"),
        ("lint names", package("2021", "[lints.rust]\n'clippy::x' = 'warn'\n"), "", "Cargo.toml:6:1"),
        ("virtual with dependencies", "== Cargo.toml\n[workspace]\n[dependencies]\na = '1'\n".into(), "", "`dependencies` belongs to a package"),
        ("resolver", "== Cargo.toml\n[workspace]\nresolver = '4'\n".into(), "", "Cargo.toml:2:1"),
        ("resolver twice", package("2021", "resolver = '2'\n[workspace]\nresolver = '2'\n"), "", "both"),
        ("publish without version", "== src/lib.rs\n== Cargo.toml\n[package]\nname = 'a'\npublish = true\n".into(), "", "is set, but `package.version` is not"),
        ("a member that is not there", ROOT.into(), "", "the workspace member"),
        ("a path dependency that is not there", format!("== Cargo.toml\n[workspace]\nmembers = ['a']\n{LIB_A}[dependencies]\nx = {{ path = '../x' }}\n"), "", "the dependency `x`"),
        ("members of one name", format!("{ROOT}{LIB_A}{}", LIB_B.replace("name = 'b'", "name = 'a'")), "", "are named `a`"),
        ("nested roots", format!("{ROOT}{LIB_A}[workspace]\n{LIB_B}"), "", "more than one member of the workspace has `[workspace]`"),
        ("not a member", format!("== Cargo.toml\n[workspace]\nmembers = ['b']\n{LIB_A}{LIB_B}"), "a", "without being a member"),
        ("not below the root", format!("== r/Cargo.toml\n[workspace]\nmembers = ['../a']\n{LIB_A}"), "r", "not below the root"),
        ("a root that is none", format!("{LIB_B}{LIB_A}workspace = '../b'\n"), "a", "has no `[workspace]`"),
        ("another root", format!("== Cargo.toml\n[workspace]\nmembers = ['a']\n== o/Cargo.toml\n[workspace]\n{LIB_A}workspace = '../o'\n"), "", "finds its root at"),
        ("both kinds of workspace key", package("2021", "workspace = '..'\n[workspace]\n"), "", "exclude each other"),
        ("default members that are none", format!("== Cargo.toml\n[workspace]\nmembers = ['a']\ndefault-members = ['b']\n{LIB_A}{LIB_B}"), "", "which is no member"),
        ("inherited, not set", format!("== Cargo.toml\n[workspace]\nmembers = ['a']\n{LIB_A}license.workspace = true\n"), "", "does not set `workspace.package.license`"),
        ("inherited dependency, not set", format!("== Cargo.toml\n[workspace]\nmembers = ['a']\n{LIB_A}[dependencies]\nx.workspace = true\n"), "", "does not set `workspace.dependencies.x`"),
        ("inherited without a root", package("2021", "license.workspace = true\n"), "", "inherits `package.license`"),
        ("inherited lints and more", format!("== Cargo.toml\n[workspace]\nmembers = ['a']\n[workspace.lints.rust]\nx = 'warn'\n{LIB_A}[lints]\nworkspace = true\nrust.y = 'warn'\n"), "", "exclude each other"),
        ("optional in the workspace", "== Cargo.toml\n[workspace]\n[workspace.dependencies]\na = { version = '1', optional = true }\n".into(), "", "`a` is `optional`"),
        ("workspace = false", package("2021", "license.workspace = false\n"), "", "`workspace` cannot be false"),
        ("a patch of nothing", package("2021", "[patch.nothing]\na = '1'\n"), "", "neither a registry's name nor an address"),
    ];
    cases
        .into_par_iter()
        .for_each(|(name, text, from, expected)| {
            let (ours, cargo) = both(&text, from);
            if let Ok(cargo) = cargo {
                panic!("{name}: cargo takes it: {cargo}");
            }
            match ours {
                Ok(_) => panic!("{name}: we take it, and cargo does not"),
                Err(error) => {
                    let mut chain = error.to_string();
                    let mut cause = std::error::Error::source(&error);
                    while let Some(error) = cause {
                        chain = format!("{chain}: {error}");
                        cause = error.source();
                    }
                    assert!(chain.contains(expected), "{name}: {chain}");
                }
            }
        });
}

#[test]
fn replacements_that_cannot_be() {
    for (entry, why) in [
        ("'a' = { path = 'a' }", "must specify a version to replace"),
        ("'a:1.x' = { path = 'a' }", "valid semver version"),
        (
            "'a:1.0.0' = { path = 'a', version = '1' }",
            "cannot specify a version requirement",
        ),
        (
            "'a:1.0.0' = { path = 'a' }\n[patch.crates-io]\nb = { path = 'b' }",
            "both [replace] and [patch]",
        ),
    ] {
        let text = format!(
            "== src/lib.rs\n== Cargo.toml\n[package]\nname = 'p'\nversion = '0.1.0'\n[replace]\n{entry}\n"
        );
        let (ours, _) = both(&text, "");
        let error = ours.expect_err("it cannot be");
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.place().is_some(), "{error}");
    }
}

#[test]
fn locks_that_cargo_writes_are_what_we_write() {
    let cases = [
        ("", LockVersion::V4),
        ("rust-version = '1.60'\n", LockVersion::V3),
        ("rust-version = '1.45'\n", LockVersion::V2),
        ("rust-version = '1.40'\n", LockVersion::V1),
    ];
    cases.into_par_iter().for_each(|(rust_version, version)| {
        let text = format!(
            "== r/src/lib.rs\n== r/Cargo.toml\n[package]\nname = 'r'\nversion = '1.0.0'\nedition = '2018'\n{rust_version}\
             [dependencies]\na = {{ path = '../a' }}\na1 = {{ path = '../a1', package = 'a' }}\nb = {{ path = '../b' }}\n\
             [patch.crates-io]\nb = {{ path = '../b' }}\n{LIB_A}[dependencies]\nb = {{ path = '../b' }}\n{}{LIB_B}",
            LIB_A.replace("a/", "a1/").replace("1.0.0", "1.10.0")
        );
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().canonicalize().expect("it exists");
        write_files(&root, &text);
        let manifest = root.join("r/Cargo.toml");
        cargo_generate_lockfile(&manifest);
        let workspace = load_workspace(&manifest, &ManifestContext::default()).expect("valid");
        let (lock, text) = Lock::read(&workspace).expect("valid").expect("cargo wrote it");
        assert_eq!(lock.version, version);
        assert_eq!(lock.encode(), text);

        let located = lock.locate(&workspace);
        let mut resolve = Resolve::default();
        for (id, package) in &located.packages {
            let summary = workspace.package(id).summary.clone();
            resolve.packages.insert(id.clone(), Arc::new(summary));
            let dependencies = package.dependencies.iter().map(|id| ResolvedDependency {
                package: id.clone(),
                declared: Vec::new(),
            });
            resolve.dependencies.insert(id.clone(), dependencies.collect());
        }
        resolve.unused_patches = located.unused_patches;
        assert_eq!(Lock::rewrite(&resolve, &workspace, None), Some(text));
    });
}

#[test]
fn keys_that_nothing_reads_are_told_as_cargo_tells_them() {
    let text = "== src/lib.rs src/main.rs a/src/lib.rs\n== a/Cargo.toml\n[package]\nname = 'a'\nversion = '1.0.0'\nedition = '2021'\nmore = 1\n\
        == Cargo.toml\nnonsense = 1\n[package]\nname = 'p'\nversion = '0.1.0'\nedition = '2021'\nother = { x = 1 }\n[lib]\nl = 1\n\
        [[bin]]\nname = 'p'\nb = 1\n[dependencies]\na = { path = 'a', d = 1 }\n[target.'cfg(unix)'.dependencies]\na = { path = 'a', t = 1 }\n\
        [target.'cfg(unix)'.nothing]\nx = 1\n[profile.dev]\np = 1\n[profile.dev.package.a]\nq = 1\n[lints.clippy]\nx = { level = 'warn', c = 1 }\n\
        [features]\n[workspace]\nw = 1\n[workspace.package]\nwp = 1\n[workspace.dependencies]\nz = { version = '1', wd = 1 }\n[patch.crates-io]\na = { path = 'a', pa = 1 }\n\
        [foo.bar]\nx = 1\n[build]\nx = 1\n";
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path().canonicalize().expect("it exists");
    write_files(&root, text);
    let workspace =
        load_workspace(&root.join("Cargo.toml"), &ManifestContext::default()).expect("valid");
    let of = |lines: &mut dyn Iterator<Item = String>| {
        let mut lines: Vec<String> = lines
            .filter(|line| line.contains("unused manifest key"))
            .collect();
        lines.sort();
        lines
    };
    let ours = of(&mut workspace
        .warnings
        .iter()
        .map(|line| format!("warning: {line}")));
    let cargos = of(&mut cargo_messages(&root).lines().map(str::to_owned));
    assert_eq!(ours, cargos);
    assert!(ours.len() > 10);
}

#[test]
fn no_beginning_of_a_manifest_or_lock_is_too_much() {
    let manifest = "cargo-features = []\n[package]\nname = 'p'\nversion.workspace = true\nedition = '2021'\nreadme = 'é'\n[workspace]\nmembers = ['[a', 'é*']\n[workspace.package]\nversion = '1.0.0'\n\
         [lib]\nname = 'x'\npath = '..'\n[dependencies]\na = { version = '1', features = ['b'] }\n[features]\nc = ['a?/d']\n[target.'cfg(any(a, b = \"c\"))'.dependencies]\ne = { git = 'https://example.com/e' }\n\
         [lints.rust]\nx = { level = 'warn', priority = -1 }\n[patch.'https://example.com']\na = { path = '/' }\n";
    let directory = tempfile::tempdir().expect("a temporary directory");
    write_files(directory.path(), "== src/lib.rs\n");
    let path = directory.path().join("Cargo.toml");
    for (end, _) in manifest.char_indices() {
        std::fs::write(&path, &manifest[..end]).expect("a file");
        if let Err(error) = load_workspace(&path, &ManifestContext::default()) {
            let _ = (
                error.to_string(),
                error.help(),
                error.place().map(ToString::to_string),
            );
        }
    }
    let lock = "version = 4\n[[package]]\nname = 'a'\nversion = '1.0.0'\nsource = 'git+https://example.com/é?branch=x#1'\ndependencies = ['b 1.0.0 (sparse+https://example.com/)']\n[[package]]\nname = 'b'\nversion = '1.0.0'\n[[patch.unused]]\nname = 'c'\nversion = '0.1.0'\n";
    for (end, _) in lock.char_indices() {
        if let Ok(lock) = Lock::parse(&path, &lock[..end]) {
            let again = Lock::parse(&path, &lock.encode()).expect("what is written is read");
            assert_eq!(again.packages, lock.packages);
        }
    }
}
