//! What `ARCHITECTURE.md` says of the code, held to the code. Reads files only, and uses nothing of kiln.

#![allow(clippy::print_stderr, reason = "remarks that fail nothing yet")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A file of `src/` without its tests.
struct Source {
    /// Relative to the package: `src/plan/mod.rs`.
    path: String,
    /// The top-level module that it belongs to: `plan`, or `main` and `bin` for programs.
    module: String,
    /// Lines by number from 1, without tests; lines that are all comment are empty.
    code: Vec<String>,
    /// The whole text.
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    files(&root().join("src"), "rs", &mut found);
    found.sort();
    let sources: Vec<Source> = found.iter().filter_map(|path| source(path)).collect();
    assert!(sources.len() > 100, "the sources were not found");
    sources
}

/// `None` for a file of tests.
fn source(path: &Path) -> Option<Source> {
    let path_text = path.strip_prefix(root()).unwrap().to_str().unwrap();
    let inner = path_text.strip_prefix("src/").unwrap();
    if inner.ends_with("tests.rs") || inner.contains("/tests/") {
        return None;
    }
    let first = inner.split('/').next().unwrap();
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    // Tests stand at the end of a file, in a module of their own.
    let end = (0..lines.len())
        .find(|&index| {
            lines[index].trim() == "#[cfg(test)]"
                && lines[index + 1..]
                    .iter()
                    .find(|line| !line.starts_with("#["))
                    .is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
        })
        .unwrap_or(lines.len());
    let code = lines[..end]
        .iter()
        .map(|line| match line.trim_start().starts_with("//") {
            true => String::new(),
            false => (*line).to_owned(),
        })
        .collect();
    Some(Source {
        path: path_text.to_owned(),
        module: first.strip_suffix(".rs").unwrap_or(first).to_owned(),
        code,
        text,
    })
}

/// The code map: which paths each module may use, `store` or `unit::graph`.
fn code_map() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, section) = text.split_once("\n## Code map\n").expect("a code map");
    let section = section.split("\n## ").next().unwrap();
    let quoted = |cell: &str| -> Vec<String> {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            let module = quoted(cells[1]).remove(0);
            (module, quoted(cells[3]).into_iter().collect())
        })
        .collect()
}

/// What follows each `crate::` of a line: the module, and its part where the path goes on into one.
fn crate_paths(line: &str) -> Vec<(String, Option<String>)> {
    let name = |text: &str| -> String {
        text.chars()
            .take_while(|character| character.is_alphanumeric() || *character == '_')
            .collect()
    };
    line.match_indices("crate::")
        .filter(|(at, _)| {
            !line[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$')
        })
        .map(|(at, matched)| {
            let rest = &line[at + matched.len()..];
            let module = name(rest);
            let part = rest[module.len()..].strip_prefix("::").map(name);
            (module, part.filter(|part| !part.is_empty()))
        })
        .collect()
}

fn verdict(violations: &str) {
    assert!(violations.is_empty(), "\n{violations}");
}

#[test]
fn the_code_map_lists_the_modules_that_there_are() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let modules: BTreeSet<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let map = code_map();
    let listed: BTreeSet<&str> = map.keys().map(String::as_str).collect();
    assert_eq!(listed, modules);
}

#[test]
fn modules_use_what_the_code_map_opens_to_them() {
    let map = code_map();
    let mut violations = String::new();
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let sources = sources();
    for source in &sources {
        let Some(allowed) = map.get(&source.module) else {
            continue;
        };
        for (index, line) in source.code.iter().enumerate() {
            for (module, part) in crate_paths(line) {
                if module == source.module {
                    continue;
                }
                let part = part.map(|part| format!("{module}::{part}"));
                let opened = [Some(module.clone()), part]
                    .into_iter()
                    .flatten()
                    .find(|path| allowed.contains(path));
                match opened {
                    Some(path) => {
                        used.entry(&source.module).or_default().insert(path);
                    }
                    None => {
                        let _ = writeln!(
                            violations,
                            "{}:{}: `{}` may not use this: {}",
                            source.path,
                            index + 1,
                            source.module,
                            line.trim()
                        );
                    }
                }
            }
        }
    }
    for (module, allowed) in &map {
        let nothing = BTreeSet::new();
        for unused in allowed.difference(used.get(module.as_str()).unwrap_or(&nothing)) {
            eprintln!("ARCHITECTURE.md: `{module}` does not use `{unused}` (any more)");
        }
    }
    verdict(&violations);
}

/// A module may use modules above it; parts of modules, which are opened for their values, may be anywhere.
#[test]
fn the_code_map_has_no_cycles() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let map = code_map();
    let place = |module: &str| text.find(&format!("\n| `{module}` |"));
    let mut violations = String::new();
    for (module, allowed) in &map {
        for other in allowed.iter().filter(|path| !path.contains("::")) {
            if place(other).is_none() || place(other) >= place(module) {
                let _ = writeln!(
                    violations,
                    "`{module}` uses `{other}`, which is not above it"
                );
            }
        }
    }
    verdict(&violations);
}

/// Words that may stand in some files only. `*` at the end of a place: everything beneath.
struct Confined {
    what: &'static str,
    words: &'static [&'static str],
    allowed: &'static [(&'static str, &'static str)],
}

const CONFINED: &[Confined] = &[
    Confined {
        what: "unsafe code",
        words: &[
            "unsafe {",
            "unsafe fn",
            "unsafe impl",
            "unsafe extern",
            "unsafe_code)",
        ],
        allowed: &[("src/sandbox/sys*", "system calls behind safe signatures")],
    },
    Confined {
        what: "printing",
        words: &[
            "println!",
            "eprintln!",
            "print!(",
            "eprint!(",
            "dbg!(",
            "io::stdout()",
            "io::stderr()",
        ],
        allowed: &[
            ("src/cli/*", "the terminal is its business"),
            (
                "src/source/worker.rs",
                "the unpacking process reports on its standard output",
            ),
        ],
    },
    Confined {
        what: "the environment",
        words: &[
            "env::var",
            "env::vars",
            "env::args",
            "env::current_dir",
            "env::current_exe",
            "env::set_var",
            "env::home_dir",
        ],
        allowed: &[
            ("src/cli/*", "reads it once, and hands values on"),
            ("src/main.rs", "arguments"),
            ("src/bin/*", "arguments"),
            (
                "src/source/worker.rs",
                "the unpacking process fills its working directory",
            ),
        ],
    },
    Confined {
        what: "starting processes",
        words: &["Command::new(", "process::Command"],
        allowed: &[
            (
                "src/driver/building/programs.rs",
                "the user's own program or browser, which the user asked to run",
            ),
            ("src/toolchain/ask.rs", "compilers are asked what they are"),
            (
                "src/source/worker.rs",
                "kiln itself, as the unpacking process",
            ),
            (
                "src/execute/jobserver.rs",
                "a command that is never started, to read its variables",
            ),
        ],
    },
    Confined {
        what: "the network",
        words: &["reqwest::", "tokio::", "std::net"],
        allowed: &[("src/registry/*", "indexes"), ("src/source/*", "archives")],
    },
    Confined {
        what: "the time of day",
        words: &["SystemTime::now"],
        allowed: &[
            ("src/registry/*", "`Retry-After` may be a date"),
            ("src/store/*", "when something was used last"),
            ("src/source/*", "how old an unfinished download is"),
        ],
    },
    Confined {
        what: "files",
        words: &["std::fs", " fs::", "(fs::", "File::open", "OpenOptions"],
        allowed: &[
            ("src/manifest/*", "reads manifests, locks and configuration"),
            ("src/policy/decide.rs", "reads `kiln.toml`"),
            ("src/registry/*", "the index cache, more certificates"),
            ("src/source/*", "archives"),
            ("src/toolchain/*", "looks at the machine"),
            ("src/store/*", "the store"),
            ("src/sandbox/*", "what is shown to a process"),
            ("src/execute/*", "where an action writes"),
            ("src/driver/*", "locks, artifacts, attestations"),
            ("src/cli/*", "the target directory"),
        ],
    },
];

#[test]
fn effects_stay_where_they_belong() {
    let mut violations = String::new();
    for source in sources() {
        for rule in CONFINED {
            let allowed = rule
                .allowed
                .iter()
                .any(|(place, _)| match place.strip_suffix('*') {
                    Some(beneath) => source.path.starts_with(beneath),
                    None => source.path == *place,
                });
            if allowed {
                continue;
            }
            for (index, line) in source.code.iter().enumerate() {
                if rule.words.iter().any(|word| line.contains(word)) {
                    let _ = writeln!(
                        violations,
                        "{}:{}: {} has no place here: {}",
                        source.path,
                        index + 1,
                        rule.what,
                        line.trim()
                    );
                }
            }
        }
    }
    verdict(&violations);
}

/// The default registry's addresses are put together from its name, so that no file names a host to download from.
#[test]
fn no_file_names_the_host_of_a_registry() {
    let registry = concat!("crates", ".io");
    let mut hosts: Vec<String> = ["index.", "static.", "https://", "://www."]
        .iter()
        .map(|before| format!("{before}{registry}"))
        .collect();
    hosts.push(format!("rust-lang/{registry}-index"));
    let mut found = Vec::new();
    for directory in [
        "src",
        "tests",
        "benches",
        "fuzz/targets",
        "policy",
        "sandbox-profiles",
        "examples/workspace",
    ] {
        for extension in ["rs", "toml", "md"] {
            files(&root().join(directory), extension, &mut found);
        }
    }
    found.extend(
        [
            "README.md",
            "ARCHITECTURE.md",
            "SECURITY.md",
            "CHANGELOG.md",
            "Cargo.toml",
            ".ci/run",
        ]
        .map(|file| root().join(file)),
    );
    let mut violations = String::new();
    for path in found.iter().filter(|path| path.exists()) {
        let text = fs::read_to_string(path).unwrap();
        for (index, line) in text.lines().enumerate() {
            if hosts.iter().any(|host| line.contains(host.as_str())) {
                let _ = writeln!(
                    violations,
                    "{}:{}: {}",
                    path.display(),
                    index + 1,
                    line.trim()
                );
            }
        }
    }
    verdict(&violations);
}

#[test]
fn every_file_opens_with_its_idea_and_stays_readable() {
    /// Past this there is a seam somewhere.
    const TOO_LONG: usize = 1200;
    /// Shown, but not yet an error.
    const LONG: usize = 900;
    let mut violations = String::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > TOO_LONG {
            let _ = writeln!(
                violations,
                "{}: {lines} lines, at most {TOO_LONG}",
                source.path
            );
        } else if lines > LONG {
            eprintln!("{}: {lines} lines are many", source.path);
        }
        if !source.text.starts_with("//! ") {
            let _ = writeln!(
                violations,
                "{}:1: no `//!` that says what the file is for",
                source.path
            );
        }
    }
    verdict(&violations);
}

#[test]
fn paths_are_found_in_lines() {
    let of = |line| crate_paths(line);
    let path = |module: &str, part: Option<&str>| (module.to_owned(), part.map(str::to_owned));
    assert_eq!(
        of("use crate::unit::graph::Unit;"),
        [path("unit", Some("graph"))]
    );
    assert_eq!(
        of("fn f(a: crate::digest::X) -> crate::store {"),
        [path("digest", Some("X")), path("store", None)]
    );
    assert_eq!(of("let mycrate::x = $crate::y;"), []);
}
