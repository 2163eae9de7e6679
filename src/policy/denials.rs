//! From what a traced action was denied to what it wanted: what there is on the machine and was not shown to it.
//!
//! Most failed requests mean nothing: programs look for a file in ten places and go on with the eleventh. So a request
//! counts only if it would not have failed without the sandbox ([`Host`] says so), and if the same program did not find
//! what it looked for elsewhere. What remains is put in an order: the closer to the failure, the likelier its cause.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::Policy;
use super::explain::{Denied, program_name};
use crate::path::is_within;
use crate::sandbox::trace::{Observed, Operation, Trace};

/// What an action wanted in vain, as a value of its own: [`Denied`] borrows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// A program, by name or path.
    Program(String),
    /// A program that the machine does not have.
    AbsentProgram(String),
    /// A file or directory of the machine, to read.
    Read(String),
    /// To read something of the workspace, by its path from the root.
    Workspace(String),
    /// The directory of the repository, which no action sees.
    Repository,
    /// To change something that no action changes.
    Write(String),
    /// To write to its own sources, at this path below the package.
    WriteSource(String),
    /// A library of the system, by its name in pkg-config.
    Library(String),
    /// Such a library that is not installed.
    AbsentLibrary(String),
    /// A library of the system, by its name for the linker.
    Link(String),
    /// What a bundle holds.
    Bundle(String),
    /// A variable of the environment.
    Variable(String),
    /// A socket of this family.
    Network(String),
    /// Another system call that is refused.
    Call(String),
}

impl Wanted {
    /// The same for [`Policy::explain`].
    pub fn as_denied(&self) -> Denied<'_> {
        match self {
            Wanted::Program(name) => Denied::Exec(name),
            Wanted::AbsentProgram(name) => Denied::AbsentProgram(name),
            Wanted::Read(path) => Denied::Read(path),
            Wanted::Workspace(path) => Denied::Workspace(path),
            Wanted::Repository => Denied::Repository,
            Wanted::Write(path) => Denied::Write(path),
            Wanted::WriteSource(path) => Denied::WriteSource(path),
            Wanted::Library(name) => Denied::Library(name),
            Wanted::AbsentLibrary(name) => Denied::AbsentLibrary(name),
            Wanted::Link(name) => Denied::Link(name),
            Wanted::Bundle(name) => Denied::Bundle(name),
            Wanted::Variable(name) => Denied::Env(name),
            Wanted::Network(_) => Denied::Network,
            Wanted::Call(name) => Denied::Syscall(name),
        }
    }

    /// How little it says: what is lower comes first, however early it was.
    fn tier(&self, how: Operation) -> u8 {
        match self {
            Wanted::Call(_) => 4,
            Wanted::AbsentProgram(_) | Wanted::AbsentLibrary(_) => 3,
            Wanted::Read(_) if how == Operation::Look => 2,
            Wanted::Write(_) | Wanted::Network(_) => 1,
            _ => 0,
        }
    }
}

/// One thing that was wanted in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// What.
    pub wanted: Wanted,
    /// Who: the program's path. Untrusted.
    pub by: String,
    /// How it was asked for: the path or call. Untrusted.
    pub request: String,
    /// The error number that it got.
    pub errno: i32,
    tier: u8,
    last: u64,
}

/// What a path of an action's is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Its own outputs and temporary files, or what the kernel makes up: denials there are its own affair.
    Own,
    /// Its package, and the path below it.
    Package(String),
    /// The workspace outside of the package, by the path from the root.
    Workspace(String),
    /// Another package, a toolchain: it is seen whole or not at all.
    Input,
    /// The machine's.
    Machine,
}

/// What can be learnt of the machine without running anything.
pub trait Host {
    /// What the action's path `path` is.
    fn place(&self, path: &str) -> Place;
    /// Whether there is something at the machine's path `path`.
    fn exists(&self, path: &str) -> bool;
    /// Whether there is something at `path` below the workspace's root.
    fn exists_in_workspace(&self, path: &str) -> bool;
    /// Whether a program of this name is found where grants look for programs.
    fn has_program(&self, name: &str) -> bool;
    /// Whether pkg-config's file for the library `name` is there.
    fn has_library(&self, name: &str) -> bool;
    /// The pkg-config name of the library that the linker calls `name`, if there is one.
    fn library_for_link(&self, name: &str) -> Option<String>;
}

/// What programs of libc and its like look for in passing, wherever they run, and go on without.
const PROBES: [&str; 34] = [
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var/run",
    "/tmp",
    "/etc/ld.so.preload",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/resolv.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/inputrc",
    "/etc/terminfo",
    "/etc/os-release",
    "/etc/selinux",
    "/etc/gitconfig",
    "/etc/ssl/openssl.cnf",
    "/usr/lib/ssl",
    "/usr/lib/locale",
    "/usr/share/locale",
    "/usr/share/locale-langpack",
    "/usr/share/zoneinfo",
    "/usr/share/terminfo",
    "/lib/terminfo",
    "/usr/local/share/locale",
    "/usr/lib/os-release",
];

/// The bundle that shows what there is to know of the repository, where there is one.
const REPOSITORY_BUNDLE: &str = "git-metadata";

/// Whether a text from an action can be shown and typed as it is.
fn is_plain(text: &str) -> bool {
    text.chars()
        .all(|c| !c.is_control() && (c.is_ascii() || c.is_alphanumeric()))
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `NAME` of `libNAME.so.1` or `libNAME.a`.
fn library_name(path: &str) -> Option<&str> {
    let name = base_name(path).strip_prefix("lib")?;
    let end = name
        .find(".so")
        .or_else(|| name.strip_suffix(".a").map(str::len))?;
    name.get(..end).filter(|name| !name.is_empty())
}

/// The libraries that pkg-config is asked for by `arguments`.
fn asked_libraries(arguments: &[String]) -> Vec<&str> {
    const TAKES_VALUE: [&str; 6] = [
        "--atleast-version",
        "--exact-version",
        "--max-version",
        "--variable",
        "--define-variable",
        "--atleast-pkgconfig-version",
    ];
    let mut found = Vec::new();
    let mut skip = false;
    for argument in arguments.iter().skip(1).flat_map(|text| text.split(' ')) {
        let is_operator = ["<", ">", "=", "!"].iter().any(|c| argument.starts_with(c));
        if skip {
            skip = false;
        } else if is_operator {
            skip = matches!(argument, "<" | ">" | "=" | "<=" | ">=" | "!=");
        } else if argument.starts_with('-') {
            skip = TAKES_VALUE.contains(&argument);
        } else if !argument.is_empty() {
            found.push(argument);
        }
    }
    found
}

fn is_pkg_config(name: &str) -> bool {
    name == "pkgconf" || name == "pkg-config" || name.ends_with("-pkg-config")
}

impl Policy {
    /// What the action of `trace` wanted in vain, the likeliest cause of its failure first.
    pub fn denials(&self, trace: &Trace, host: &dyn Host) -> Vec<Denial> {
        let found = Found::of(trace);
        let mut denials: BTreeMap<Wanted, Denial> = BTreeMap::new();
        for observed in &trace.observed {
            let Some(errno) = observed.errno else {
                continue;
            };
            if !is_plain(&observed.path) {
                continue;
            }
            for wanted in self.wanted(observed, errno, trace, &found, host) {
                let program = trace.programs.get(observed.program);
                let denial = Denial {
                    tier: wanted.tier(observed.operation),
                    by: program.map_or_else(String::new, |program| program.path.clone()),
                    request: observed.path.clone(),
                    errno,
                    last: observed.last,
                    wanted: wanted.clone(),
                };
                denials
                    .entry(wanted)
                    .and_modify(|known| {
                        if known.last < denial.last || denial.tier < known.tier {
                            *known = denial.clone();
                        }
                    })
                    .or_insert(denial);
            }
        }
        let mut denials: Vec<Denial> = denials.into_values().collect();
        denials.sort_by(|a, b| (a.tier, b.last).cmp(&(b.tier, a.last)));
        denials
    }

    fn wanted(
        &self,
        observed: &Observed,
        errno: i32,
        trace: &Trace,
        found: &Found<'_>,
        host: &dyn Host,
    ) -> Vec<Wanted> {
        use nix::libc::{EACCES, ENOENT, ENOTDIR, EPERM, EROFS};
        let path = observed.path.as_str();
        if observed.operation == Operation::Call {
            let family = path
                .strip_prefix("socket(")
                .and_then(|rest| rest.strip_suffix(')'));
            return match (family, errno) {
                // Asking the name service cache or the log, which libc does by the way.
                (Some("AF_UNIX" | "AF_NETLINK"), _) => Vec::new(),
                (Some(family), _) => vec![Wanted::Network(family.to_owned())],
                (None, EPERM) if !is_asked_in_passing(path) => vec![Wanted::Call(path.to_owned())],
                _ => Vec::new(),
            };
        }
        if !matches!(errno, ENOENT | EACCES | EPERM | EROFS | ENOTDIR) {
            return Vec::new();
        }
        if observed.operation == Operation::Execute {
            return self.wanted_program(observed, found, host);
        }
        let place = host.place(path);
        if observed.operation.changes() {
            return match place {
                Place::Package(below) if matches!(errno, EROFS | EACCES | EPERM) => {
                    vec![Wanted::WriteSource(below)]
                }
                Place::Machine
                    if !PROBES.iter().any(|probe| is_within(path, probe))
                        && (errno != ENOENT || parent(path).is_some_and(|up| host.exists(up))) =>
                {
                    vec![Wanted::Write(path.to_owned())]
                }
                _ => Vec::new(),
            };
        }
        let program = observed.program;
        match place {
            Place::Workspace(below)
                if below.split('/').any(|part| part == ".git")
                    && host.exists_in_workspace(".git") =>
            {
                match self.bundle(REPOSITORY_BUNDLE) {
                    Some(_) => vec![Wanted::Bundle(REPOSITORY_BUNDLE.to_owned())],
                    None => vec![Wanted::Repository],
                }
            }
            Place::Workspace(below) if host.exists_in_workspace(&below) && !below.is_empty() => {
                vec![Wanted::Workspace(below)]
            }
            Place::Machine => {
                let is_probe = PROBES.iter().any(|probe| is_within(path, probe));
                if is_probe || found.elsewhere(program, path) || !host.exists(path) {
                    return Vec::new();
                }
                let bundle = self.bundle_that_reads(path);
                if let Some(name) = program_name(path) {
                    // A shell looks before it runs.
                    return match found.ran(program, name) {
                        true => Vec::new(),
                        false => vec![Wanted::Program(name.to_owned())],
                    };
                }
                if let Some(bundle) = bundle {
                    return vec![Wanted::Bundle(bundle.to_owned())];
                }
                if let Some(library) = base_name(path).strip_suffix(".pc") {
                    return vec![Wanted::Library(library.to_owned())];
                }
                let by = trace
                    .programs
                    .get(program)
                    .map_or("", |program| base_name(&program.path));
                if is_linker(by)
                    && let Some(name) = library_name(path)
                {
                    return match host.library_for_link(name) {
                        Some(library) => vec![Wanted::Library(library)],
                        None => vec![Wanted::Link(name.to_owned())],
                    };
                }
                vec![Wanted::Read(path.to_owned())]
            }
            _ => Vec::new(),
        }
    }

    fn wanted_program(
        &self,
        observed: &Observed,
        found: &Found<'_>,
        host: &dyn Host,
    ) -> Vec<Wanted> {
        let path = observed.path.as_str();
        let name = base_name(path);
        if name.is_empty() || found.ran(observed.program, name) {
            return Vec::new();
        }
        if is_pkg_config(name) {
            let libraries = asked_libraries(&observed.arguments);
            if !libraries.is_empty() {
                return libraries
                    .into_iter()
                    .map(|library| match host.has_library(library) {
                        true => Wanted::Library(library.to_owned()),
                        false => Wanted::AbsentLibrary(library.to_owned()),
                    })
                    .collect();
            }
        }
        match host.place(path) {
            // By name, through `PATH`; or by its own path.
            Place::Input | Place::Machine if host.has_program(name) => {
                vec![Wanted::Program(name.to_owned())]
            }
            Place::Machine if host.exists(path) => vec![Wanted::Program(path.to_owned())],
            Place::Machine => vec![Wanted::AbsentProgram(name.to_owned())],
            _ => Vec::new(),
        }
    }

    /// The bundle that has `path` among what it reads.
    fn bundle_that_reads(&self, path: &str) -> Option<&str> {
        self.bundles().into_iter().find(|name| {
            self.bundle(name).is_some_and(|bundle| {
                let mut patterns = bundle.read.iter().chain(&bundle.read_if_present);
                patterns.any(|pattern| matches(pattern, path))
            })
        })
    }
}

fn is_linker(name: &str) -> bool {
    matches!(
        name,
        "collect2" | "ld" | "rust-lld" | "lld" | "mold" | "gold"
    ) || name.starts_with("ld.")
        || name.ends_with("-ld")
        || name.contains("-ld.")
}

/// Calls that programs try and do without.
fn is_asked_in_passing(name: &str) -> bool {
    matches!(
        name,
        "prctl"
            | "ioctl"
            | "fcntl"
            | "setpriority"
            | "ioprio_set"
            | "prlimit64"
            | "capset"
            | "setgroups"
            | "sync"
            | "clone3"
            | "setsockopt"
            | "inotify_init1"
            | "inotify_add_watch"
            | "sched_setaffinity"
            | "setxattr"
    )
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/')
        .map(|(up, _)| up)
        .filter(|up| !up.is_empty())
}

/// What each program found.
struct Found<'a> {
    read: BTreeSet<(usize, &'a str)>,
    ran: BTreeSet<(usize, &'a str)>,
}

impl<'a> Found<'a> {
    fn of(trace: &'a Trace) -> Self {
        let mut found = Self {
            read: BTreeSet::new(),
            ran: BTreeSet::new(),
        };
        for observed in trace.observed.iter().filter(|one| one.errno.is_none()) {
            let name = base_name(&observed.path);
            match observed.operation {
                Operation::Execute => found.ran.insert((observed.program, name)),
                _ => found.read.insert((observed.program, name)),
            };
        }
        found
    }

    /// Whether `program` found a file of that name at another place.
    fn elsewhere(&self, program: usize, path: &str) -> bool {
        self.read.contains(&(program, base_name(path)))
    }

    /// Whether `program` ran one of that name.
    fn ran(&self, program: usize, name: &str) -> bool {
        self.ran.contains(&(program, name))
    }
}

/// Whether `path` is what `pattern` means: `*` and `?` within a part, `**` for any parts; a directory stands for all below.
pub fn matches(pattern: &str, path: &str) -> bool {
    fn parts(pattern: &[&str], path: &[&str]) -> bool {
        match (pattern, path) {
            ([], _) => true,
            (["**", rest @ ..], _) => {
                (0..=path.len()).any(|skip| parts(rest, path.get(skip..).unwrap_or(&[])))
            }
            ([first, rest @ ..], [name, below @ ..]) => {
                part(first.as_bytes(), name.as_bytes()) && parts(rest, below)
            }
            _ => false,
        }
    }
    fn part(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => {
                part(rest, name)
                    || name
                        .split_first()
                        .is_some_and(|(_, below)| part(pattern, below))
            }
            ([b'?', rest @ ..], [_, below @ ..]) => part(rest, below),
            ([first, rest @ ..], [byte, below @ ..]) => first == byte && part(rest, below),
            _ => false,
        }
    }
    let split = |text: &'_ str| -> Vec<String> {
        text.split('/')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let (pattern, path) = (split(pattern), split(path));
    let pattern: Vec<&str> = pattern.iter().map(String::as_str).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    parts(&pattern, &path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::trace::Program;

    /// A machine with these files, whose package is `/kiln/workspace/app`.
    struct Machine(&'static [&'static str]);

    impl Host for Machine {
        fn place(&self, path: &str) -> Place {
            if let Some(below) = path.strip_prefix("/kiln/workspace/app/") {
                Place::Package(below.to_owned())
            } else if let Some(below) = path.strip_prefix("/kiln/workspace/") {
                Place::Workspace(below.to_owned())
            } else if path.starts_with("/kiln/out") {
                Place::Own
            } else if path.starts_with("/kiln/") {
                Place::Input
            } else {
                Place::Machine
            }
        }

        fn exists(&self, path: &str) -> bool {
            self.0.contains(&path)
        }

        fn exists_in_workspace(&self, path: &str) -> bool {
            self.0.contains(&path)
        }

        fn has_program(&self, name: &str) -> bool {
            self.0.contains(&format!("/usr/bin/{name}").as_str())
        }

        fn has_library(&self, name: &str) -> bool {
            self.0.contains(&format!("{name}.pc").as_str())
        }

        fn library_for_link(&self, name: &str) -> Option<String> {
            (name == "sqlite3").then(|| "sqlite3".to_owned())
        }
    }

    const MACHINE: Machine = Machine(&[
        "/usr/bin/protoc",
        "/usr/bin/git",
        "/usr/bin/frob",
        "/usr/share/frob/data",
        "/usr/lib/x86_64-linux-gnu/libsqlite3.so",
        "/usr/lib/llvm-14/lib/libclang.so",
        "/etc/ld.so.cache",
        "/usr/lib/pkgconfig/zlib.pc",
        "/home/u",
        "openssl.pc",
        "VERSION",
    ]);

    fn trace(steps: &[(Operation, &str, Option<i32>, &[&str])]) -> Trace {
        let observed = (1..)
            .zip(steps)
            .map(|(at, (operation, path, errno, arguments))| Observed {
                operation: *operation,
                path: (*path).to_owned(),
                real: None,
                errno: *errno,
                arguments: arguments.iter().map(|&one| one.to_owned()).collect(),
                program: usize::from(path.contains("sqlite3.so")),
                first: at,
                last: at,
                count: 1,
            });
        let program = |path: &str| Program {
            path: path.to_owned(),
            arguments: Vec::new(),
            parent: None,
            status: Some(1),
            ended: None,
        };
        Trace {
            observed: observed.collect(),
            programs: vec![program("/kiln/out/app/build"), program("/usr/bin/ld.bfd")],
            is_cut_off: false,
        }
    }

    #[test]
    fn what_was_wanted_and_what_means_nothing() {
        use Operation::{Call, Execute, Look, Make, Read, Write};
        let wanted = |steps: &[(Operation, &str, Option<i32>, &[&str])]| -> Vec<Wanted> {
            let policy = Policy::parse("").unwrap();
            let denials = policy.denials(&trace(steps), &MACHINE);
            denials.into_iter().map(|denial| denial.wanted).collect()
        };
        let text = |name: &str| name.to_owned();
        for (step, expected) in [
            (
                (Execute, "/usr/bin/protoc", Some(2), &[][..]),
                vec![Wanted::Program(text("protoc"))],
            ),
            (
                (Execute, "/kiln/toolchain/bin/protoc", Some(2), &[]),
                vec![Wanted::Program(text("protoc"))],
            ),
            (
                (Execute, "/usr/bin/absent", Some(2), &[]),
                vec![Wanted::AbsentProgram(text("absent"))],
            ),
            (
                (
                    Execute,
                    "/usr/bin/pkg-config",
                    Some(2),
                    &[
                        "pkg-config",
                        "--libs",
                        "--cflags",
                        "openssl",
                        "openssl >= 1.1",
                    ],
                ),
                vec![Wanted::Library(text("openssl"))],
            ),
            (
                (
                    Execute,
                    "/usr/bin/pkg-config",
                    Some(2),
                    &["pkg-config", "--atleast-version", "3", "other"],
                ),
                vec![Wanted::AbsentLibrary(text("other"))],
            ),
            (
                (Look, "/usr/bin/git", Some(2), &[]),
                vec![Wanted::Program(text("git"))],
            ),
            (
                (Read, "/usr/share/frob/data", Some(13), &[]),
                vec![Wanted::Read(text("/usr/share/frob/data"))],
            ),
            ((Read, "/usr/share/frob/none", Some(2), &[]), vec![]),
            ((Read, "/etc/ld.so.cache", Some(2), &[]), vec![]),
            (
                (Look, "/usr/lib/llvm-14/lib/libclang.so", Some(2), &[]),
                vec![Wanted::Bundle(text("libclang"))],
            ),
            (
                (
                    Read,
                    "/usr/lib/x86_64-linux-gnu/libsqlite3.so",
                    Some(2),
                    &[],
                ),
                vec![Wanted::Library(text("sqlite3"))],
            ),
            (
                (Read, "/usr/lib/pkgconfig/zlib.pc", Some(2), &[]),
                vec![Wanted::Library(text("zlib"))],
            ),
            (
                (Make, "/kiln/workspace/app/src/new", Some(30), &[]),
                vec![Wanted::WriteSource(text("src/new"))],
            ),
            (
                (Write, "/home/u/.cache", Some(2), &[]),
                vec![Wanted::Write(text("/home/u/.cache"))],
            ),
            ((Write, "/home/other/.cache", Some(2), &[]), vec![]),
            (
                (Read, "/kiln/workspace/VERSION", Some(2), &[]),
                vec![Wanted::Workspace(text("VERSION"))],
            ),
            ((Read, "/kiln/workspace/NONE", Some(2), &[]), vec![]),
            (
                (Call, "socket(AF_INET)", Some(1), &[]),
                vec![Wanted::Network(text("AF_INET"))],
            ),
            (
                (Call, "ptrace", Some(1), &[]),
                vec![Wanted::Call(text("ptrace"))],
            ),
            ((Call, "clone3", Some(38), &[]), vec![]),
            (
                (Read, "/usr/share/frob/data\u{202e}", Some(13), &[]),
                vec![],
            ),
        ] {
            assert_eq!(wanted(&[step]), expected, "{step:?}");
        }
        // What was found elsewhere was not missed; what is closer to the end comes first.
        let found = [
            (Execute, "/usr/bin/protoc", Some(2), &[][..]),
            (Execute, "/usr/local/bin/protoc", None, &[]),
            (Execute, "/usr/bin/frob", Some(2), &[]),
            (Look, "/usr/share/frob/data", Some(2), &[]),
            (Execute, "/usr/bin/git", Some(2), &[]),
        ];
        assert_eq!(
            wanted(&found),
            [
                Wanted::Program(text("git")),
                Wanted::Program(text("frob")),
                Wanted::Read(text("/usr/share/frob/data")),
            ]
        );
    }

    #[test]
    fn patterns() {
        for (pattern, path, expected) in [
            (
                "/usr/lib/llvm-*/lib/libclang*.so*",
                "/usr/lib/llvm-14/lib/libclang-14.so.1",
                true,
            ),
            (
                "/usr/include/google/protobuf/**/*.proto",
                "/usr/include/google/protobuf/a.proto",
                true,
            ),
            (
                "/usr/include/google/protobuf/**/*.proto",
                "/usr/include/google/protobuf/b/c/a.proto",
                true,
            ),
            ("/usr/share/x", "/usr/share/x/below", true),
            ("/usr/share/x", "/usr/share/xy", false),
            ("/usr/*/a?", "/usr/b/ac", true),
            ("/usr/*/a?", "/usr/b/c/ac", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
