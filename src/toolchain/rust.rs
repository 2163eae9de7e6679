//! The Rust toolchain as a value: its version, its tree, what it knows of each target.
//!
//! The tree holds the components with which everything can be built (`rustc`, `cargo` and the standard library of the
//! targets asked for), by the lists that the installer left, not whatever else is installed beside them: so the same
//! release has the same digest whether or not `rustfmt` or the documentation is there. A toolchain without such lists
//! (built by oneself) is taken as it is. rustc is run when a toolchain is seen for the first time, and never again
//! until one of its files changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use cargo_platform::Cfg;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::ask::{self, odd_answer};
use super::error::ToolchainError;
use super::identity;
use super::layout::{Layout, Node};
use super::model::{RustToolchain, RustcVersion, TargetInfo};
use super::rustup::Choice;
use super::snapshot;
use crate::digest::TreeDigest;
use crate::store::Store;

/// Counts up when what is selected or asked changes, so that older memos are not believed.
const SELECTION: u32 = 1;
/// The crate types whose file names are asked for, in the order of the question.
const CRATE_TYPES: [&str; 6] = ["bin", "rlib", "dylib", "cdylib", "staticlib", "proc-macro"];
/// Prefixes that a distribution's packages share: there the toolchain has no directory of its own.
const SHARED_PREFIXES: [&str; 3] = ["/", "/usr", "/usr/local"];

/// What a memo remembers of a toolchain.
#[derive(Serialize, Deserialize)]
struct Remembered {
    version: RustcVersion,
    tree: TreeDigest,
    tree_size_bytes: u64,
    visible: Vec<String>,
}

/// What a memo remembers of one probe: rustc's own words.
#[derive(Serialize, Deserialize)]
struct Probed {
    stdout: String,
    stderr: String,
}

fn memo_file(store: &Store, what: &str, key: &impl Serialize) -> PathBuf {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&SELECTION.to_le_bytes());
    hasher.update(what.as_bytes());
    hasher.update(&serde_json::to_vec(key).unwrap_or_default());
    store
        .home()
        .join("toolchain/memo")
        .join(format!("{what}-{}", hasher.finalize().to_hex()))
}

/// Loads the toolchain that was chosen, for the host and `targets` (triples). Each of them is probed without
/// rustflags; [`probe`] takes some.
///
/// # Errors
/// If a component or target that the choice or the caller demands is missing, or rustc cannot be run.
pub fn load(
    store: &Store,
    choice: &Choice,
    targets: &[String],
) -> Result<RustToolchain, ToolchainError> {
    let mut wanted: Vec<String> = targets.to_vec();
    wanted.extend(choice.targets.iter().cloned());
    wanted.sort();
    wanted.dedup();
    let root = &choice.root;
    let memo = memo_file(store, "rust", &(root, &wanted));
    let recalled = identity::recall(&memo)
        .and_then(|recalled| serde_json::from_str::<Remembered>(&recalled).ok());
    let known = match recalled {
        Some(known) => known,
        None => discover(store, root, &wanted, &memo)?,
    };
    let nothing = TargetInfo {
        triple: known.version.host.clone(),
        cfg: Vec::new(),
        file_names: BTreeMap::new(),
        has_std: false,
        split_debuginfo: Vec::new(),
    };
    let mut toolchain = RustToolchain {
        root: root.clone(),
        version: known.version,
        tree: known.tree,
        tree_size_bytes: known.tree_size_bytes,
        visible: known.visible,
        chosen_by: choice.chosen_by.clone(),
        host: nothing,
        targets: BTreeMap::new(),
    };
    check_components(choice, &toolchain.version.host)?;
    let host = toolchain.version.host.clone();
    for triple in std::iter::once(&host).chain(&wanted) {
        let info = probe(store, &toolchain, triple, &[])?;
        toolchain.targets.insert(triple.clone(), info);
    }
    toolchain.host = toolchain.targets[&host].clone();
    for triple in choice.targets.iter() {
        if toolchain
            .targets
            .get(triple)
            .is_some_and(|info| !info.has_std)
        {
            return Err(ToolchainError::MissingTarget {
                toolchain: choice.name.clone(),
                target: triple.clone(),
                demanded_by: choice.chosen_by.clone(),
            });
        }
    }
    Ok(toolchain)
}

fn discover(
    store: &Store,
    root: &Path,
    targets: &[String],
    memo: &Path,
) -> Result<Remembered, ToolchainError> {
    let version = ask_version(root)?;
    let layout = select(root, &version.host, targets)?;
    let mut watched: Vec<PathBuf> = layout.watched().cloned().collect();
    watched.push(root.join("lib/rustlib"));
    identity::order(&mut watched);
    let identity = identity::combined(&watched);
    // Its files stay where they are: a toolchain is large, and rustup keeps each in a directory of its own.
    let digest = |path: &Path, _| store.digest_file(path).map_err(ToolchainError::from);
    let tree = store.put_tree(&snapshot::encode(&layout, None, &digest)?)?;
    let known = Remembered {
        version,
        tree: tree.digest,
        tree_size_bytes: tree.size_bytes,
        visible: visible(&layout),
    };
    drop(identity::remember(memo, &watched, &identity, &known));
    Ok(known)
}

/// The entries that together show what was selected and nothing else.
fn visible(layout: &Layout) -> Vec<String> {
    let mut entries: Vec<String> = layout
        .cover()
        .iter()
        .map(|path| path.trim_start_matches('/').to_owned())
        .collect();
    let links = layout.nodes().iter().filter_map(|(place, node)| {
        let covered = entries.iter().any(|entry| {
            place
                .strip_prefix(entry.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
        });
        (matches!(node, Node::Link(_)) && !covered).then(|| place.clone())
    });
    let links: Vec<String> = links.collect();
    entries.extend(links);
    entries.sort();
    entries
}

fn ask_version(root: &Path) -> Result<RustcVersion, ToolchainError> {
    let rustc = root.join("bin/rustc");
    let answer = ask::ask(&rustc, &["-vV"])?;
    parse_version(&answer.stdout).ok_or_else(|| {
        odd_answer(
            &rustc,
            &["-vV"],
            format!("is not understood: {}", answer.stdout.trim()),
        )
    })
}

fn parse_version(verbose: &str) -> Option<RustcVersion> {
    let field = |name: &str| {
        verbose
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    Some(RustcVersion {
        verbose: verbose.to_owned(),
        release: Version::parse(field("release")?).ok()?,
        commit_hash: field("commit-hash")
            .filter(|hash| *hash != "unknown")
            .map(str::to_owned),
        host: field("host")?.to_owned(),
    })
}

/// Selects the files that building needs.
fn select(root: &Path, host: &str, targets: &[String]) -> Result<Layout, ToolchainError> {
    let mut layout = Layout::new(root);
    let rustlib = root.join("lib/rustlib");
    let components = fs::read_to_string(rustlib.join("components")).unwrap_or_default();
    let wanted = |component: &str| {
        ["rustc", "cargo"].iter().any(|name| {
            component == *name || component.strip_prefix(name) == Some(&format!("-{host}"))
        }) || component
            .strip_prefix("rust-std-")
            .is_some_and(|target| target == host || targets.iter().any(|wanted| wanted == target))
    };
    let lists: Vec<&str> = components.lines().filter(|name| wanted(name)).collect();
    if lists.is_empty() {
        if SHARED_PREFIXES
            .iter()
            .any(|prefix| root == Path::new(prefix))
        {
            return Err(ToolchainError::NoToolchain {
                why: format!(
                    "the rustc of `{}` shares its directories with all other programs, so there is no tree of its own to digest",
                    root.display()
                ),
            });
        }
        for directory in ["/bin", "/lib"] {
            layout.add_whole(Path::new(directory), &|_| true)?;
        }
        return Ok(layout);
    }
    for name in lists {
        let list = rustlib.join(format!("manifest-{name}"));
        let text = fs::read_to_string(&list).map_err(ToolchainError::io("read", &list))?;
        for line in text.lines() {
            let Some((kind, path)) = line.split_once(':') else {
                continue;
            };
            let debugger = path.starts_with("bin/rust-") || path.starts_with("lib/rustlib/etc/");
            if debugger || !(path.starts_with("bin/") || path.starts_with("lib/")) {
                continue;
            }
            let path = Path::new("/").join(path);
            match kind {
                "file" => layout.add(&path).map(|_| ())?,
                "dir" => layout.add_whole(&path, &|_| true)?,
                _ => {}
            }
        }
        layout.watch(list);
    }
    Ok(layout)
}

fn check_components(choice: &Choice, host: &str) -> Result<(), ToolchainError> {
    let file = choice.root.join("lib/rustlib/components");
    let Ok(installed) = fs::read_to_string(&file) else {
        // A toolchain that was not put together from components has whatever it has.
        return Ok(());
    };
    let has = |name: &str| {
        installed.lines().any(|line| {
            let line = line
                .strip_suffix(host)
                .map_or(line, |line| line.trim_end_matches('-'));
            line == name
                || line.strip_suffix("-preview") == Some(name)
                || name.strip_suffix("-preview") == Some(line)
        })
    };
    match choice.components.iter().find(|name| !has(name)) {
        None => Ok(()),
        Some(component) => Err(ToolchainError::MissingComponent {
            toolchain: choice.name.clone(),
            component: component.clone(),
            chosen_by: choice.chosen_by.clone(),
        }),
    }
}

/// Whether a flag may decide what rustc says of a target, and makes it do nothing but say so. Flags come from
/// configuration, which a checkout can bring along, and rustc runs here without a sandbox: some flags write files
/// (`--print=cfg=FILE`) or load libraries (`-Zcodegen-backend`).
fn is_told_to_probe(flag: &str) -> bool {
    const CODEGEN: [&str; 9] = [
        "code-model",
        "debug-assertions",
        "instrument-coverage",
        "opt-level",
        "overflow-checks",
        "panic",
        "relocation-model",
        "target-cpu",
        "target-feature",
    ];
    const UNSTABLE: [&str; 4] = ["fmt-debug", "sanitizer", "tune-cpu", "ub-checks"];
    let is_one_of = |flag: &str, names: &[&str]| {
        let name = flag.split_once('=').map_or(flag, |(name, _)| name);
        names.contains(&name.replace('_', "-").as_str())
    };
    if let Some(option) = flag.strip_prefix("-C") {
        is_one_of(option, &CODEGEN)
    } else if let Some(option) = flag.strip_prefix("-Z") {
        is_one_of(option, &UNSTABLE)
    } else {
        flag == "-O" || flag.starts_with("--cfg=")
    }
}

/// Those of `rustflags` that [`is_told_to_probe`], with each option and its value in one word.
fn flags_of_probe(rustflags: &[String]) -> Vec<String> {
    let mut words = rustflags.iter().peekable();
    let mut flags = Vec::new();
    while let Some(word) = words.next() {
        let joined = match word.as_str() {
            "-C" | "--codegen" => words.next().map(|value| format!("-C{value}")),
            "-Z" => words.next().map(|value| format!("-Z{value}")),
            "--cfg" => words.next().map(|value| format!("--cfg={value}")),
            _ => Some(match word.strip_prefix("--codegen=") {
                Some(option) => format!("-C{option}"),
                None => word.clone(),
            }),
        };
        flags.extend(joined.filter(|flag| is_told_to_probe(flag)));
    }
    flags
}

/// Asks rustc what it knows of the target `triple` when it is given `rustflags`, or remembers what it said. Only flags
/// that bear on the answer are passed on.
///
/// # Errors
/// If rustc does not know the target or refuses a flag.
pub fn probe(
    store: &Store,
    toolchain: &RustToolchain,
    triple: &str,
    rustflags: &[String],
) -> Result<TargetInfo, ToolchainError> {
    let rustflags = &flags_of_probe(rustflags);
    let memo = memo_file(store, "probe", &(toolchain.tree, triple, rustflags));
    let probed = match fs::read_to_string(&memo)
        .ok()
        .and_then(|text| serde_json::from_str::<Probed>(&text).ok())
    {
        Some(probed) => probed,
        None => {
            let probed = run_probe(&toolchain.root, triple, rustflags)?;
            drop(identity::write(
                &memo,
                &serde_json::to_string(&probed).unwrap_or_default(),
            ));
            probed
        }
    };
    parse_probe(triple, &probed, &toolchain.root).ok_or_else(|| {
        odd_answer(
            &toolchain.root.join("bin/rustc"),
            &["--print", "…", "--target", triple],
            format!("is not understood: {}", probed.stdout.trim()),
        )
    })
}

fn run_probe(root: &Path, triple: &str, rustflags: &[String]) -> Result<Probed, ToolchainError> {
    let mut args: Vec<&str> = vec!["-", "--crate-name", "___", "--print=file-names"];
    for kind in CRATE_TYPES {
        args.extend(["--crate-type", kind]);
    }
    args.extend(rustflags.iter().map(String::as_str));
    args.extend(["--target", triple]);
    // The name of the crate stands between the parts of the answer: none of them has such a line.
    args.extend(["--print=crate-name", "--print=split-debuginfo"]);
    args.extend(["--print=crate-name", "--print=cfg", "-Wwarnings"]);
    let answer = ask::ask(&root.join("bin/rustc"), &args).map_err(|error| match error {
        ToolchainError::Probe { why, .. }
            if why.contains("could not find specification for target") =>
        {
            ToolchainError::UnknownTarget {
                toolchain: root.display().to_string(),
                target: triple.to_owned(),
            }
        }
        other => other,
    })?;
    Ok(Probed {
        stdout: answer.stdout,
        stderr: answer.stderr,
    })
}

fn parse_probe(triple: &str, probed: &Probed, root: &Path) -> Option<TargetInfo> {
    let mut lines = probed.stdout.lines();
    let mut file_names = BTreeMap::new();
    for kind in CRATE_TYPES {
        if probed
            .stderr
            .contains(&format!("unsupported crate type `{kind}`"))
        {
            continue;
        }
        let (prefix, suffix) = lines.next()?.split_once("___")?;
        let names = (prefix.to_owned(), suffix.to_owned());
        if kind == "rlib" {
            file_names.insert("lib".to_owned(), names.clone());
        }
        file_names.insert(kind.to_owned(), names);
    }
    if lines.next()? != "___" {
        return None;
    }
    let split_debuginfo = lines
        .by_ref()
        .take_while(|line| *line != "___")
        .map(str::to_owned)
        .collect();
    let cfg = lines
        .map(|line| Cfg::from_str(line).ok())
        .collect::<Option<Vec<Cfg>>>()?;
    Some(TargetInfo {
        triple: triple.to_owned(),
        cfg,
        file_names,
        has_std: has_core(&root.join("lib/rustlib").join(triple).join("lib")),
        split_debuginfo,
    })
}

/// Whether a directory of libraries holds the standard library, or the part of it that every target has.
fn has_core(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libcore-") && name.ends_with(".rlib")
        })
    })
}

impl RustToolchain {
    /// The programs of the tree that actions may run, on the host.
    pub fn programs(&self) -> Vec<PathBuf> {
        let bin = self.root.join("bin");
        let tools = self
            .root
            .join("lib/rustlib")
            .join(&self.version.host)
            .join("bin");
        let mut found: Vec<PathBuf> = ["rustc", "rustdoc", "cargo"]
            .iter()
            .map(|name| bin.join(name))
            .collect();
        found.extend(["rust-lld", "rust-objcopy", "gcc-ld/ld.lld"].map(|name| tools.join(name)));
        found.retain(|path| path.is_file());
        found
    }

    /// Fails unless the standard library of `triple` is installed; `demanded_by` says who wants it.
    ///
    /// # Errors
    /// With the command that installs it.
    pub fn require_std(&self, triple: &str, demanded_by: &str) -> Result<(), ToolchainError> {
        match self.targets.get(triple) {
            Some(info) if info.has_std => Ok(()),
            _ => Err(ToolchainError::MissingTarget {
                toolchain: self
                    .root
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned())
                    .unwrap_or_default(),
                target: triple.to_owned(),
                demanded_by: demanded_by.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let text = "rustc 1.95.0 (598 2026-04-14)\nbinary: rustc\ncommit-hash: 598\ncommit-date: 2026-04-14\n\
                    host: x86_64-unknown-linux-gnu\nrelease: 1.95.0\nLLVM version: 22.1.2\n";
        let version = parse_version(text).unwrap();
        assert_eq!(version.release, Version::new(1, 95, 0));
        assert_eq!(version.commit_hash.as_deref(), Some("598"));
        assert_eq!(version.host, "x86_64-unknown-linux-gnu");
        assert!(parse_version("rustc 1.95.0").is_none());
    }

    #[test]
    fn a_probe_without_some_crate_types_is_read() {
        let probed = Probed {
            stdout: "___.wasm\nlib___.rlib\n___.wasm\nlib___.a\n___\noff\n___\ndebug_assertions\npanic=\"abort\"\n"
                .to_owned(),
            stderr: "warning: dropping unsupported crate type `dylib` for target `wasm32`\n\
                     warning: dropping unsupported crate type `proc-macro` for target `wasm32`\n"
                .to_owned(),
        };
        let info = parse_probe("wasm32", &probed, Path::new("/nowhere")).unwrap();
        let kinds: Vec<&str> = info.file_names.keys().map(String::as_str).collect();
        assert_eq!(kinds, ["bin", "cdylib", "lib", "rlib", "staticlib"]);
        assert_eq!(
            info.file_names["cdylib"],
            (String::new(), ".wasm".to_owned())
        );
        assert_eq!(info.split_debuginfo, ["off"]);
        assert_eq!(info.cfg.len(), 2);
        assert!(!info.has_std);
        let cut = Probed {
            stdout: "___.wasm\n".to_owned(),
            ..probed
        };
        assert!(parse_probe("wasm32", &cut, Path::new("/nowhere")).is_none());
    }

    fn fake_toolchain(dir: &Path) {
        let write = |path: &str, text: &str| {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for file in [
            "bin/rustc",
            "bin/rustfmt",
            "lib/librustc_driver.so",
            "lib/rustlib/h/lib/libcore-1.rlib",
            "lib/rustlib/t/lib/libcore-1.rlib",
            "share/doc",
        ] {
            write(file, file);
        }
        write(
            "lib/rustlib/components",
            "rustc-h\nrustfmt-preview-h\nrust-std-h\nrust-std-t\n",
        );
        write(
            "lib/rustlib/manifest-rustc-h",
            "file:bin/rustc\nfile:lib/librustc_driver.so\nfile:share/doc\n",
        );
        write("lib/rustlib/manifest-rust-std-h", "dir:lib/rustlib/h/lib\n");
        write(
            "lib/rustlib/manifest-rust-std-t",
            "file:lib/rustlib/t/lib/libcore-1.rlib\n",
        );
    }

    #[test]
    fn only_the_components_that_build_are_visible() {
        let dir = tempfile::tempdir().unwrap();
        fake_toolchain(dir.path());
        let shown = |targets: &[&str]| {
            let targets: Vec<String> = targets.iter().map(|t| (*t).to_owned()).collect();
            visible(&select(dir.path(), "h", &targets).unwrap())
        };
        assert_eq!(
            shown(&[]),
            ["bin/rustc", "lib/librustc_driver.so", "lib/rustlib/h"]
        );
        assert_eq!(shown(&["t"]).last().unwrap(), "lib/rustlib/t");
        fs::remove_file(dir.path().join("lib/rustlib/components")).unwrap();
        assert_eq!(shown(&[]), ["bin", "lib"]);
    }

    #[test]
    fn demanded_components_have_to_be_there() {
        let dir = tempfile::tempdir().unwrap();
        fake_toolchain(dir.path());
        for (component, there) in [
            ("rustfmt", true),
            ("rustfmt-preview", true),
            ("rustc", true),
            ("clippy", false),
        ] {
            let choice = Choice {
                root: dir.path().to_owned(),
                name: "n".to_owned(),
                chosen_by: "f".to_owned(),
                components: vec![component.to_owned()],
                targets: Vec::new(),
            };
            assert_eq!(check_components(&choice, "h").is_ok(), there, "{component}");
        }
    }
}
