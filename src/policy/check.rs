//! Which values no grant can have, whatever the reason: what is more than any one crate can need, or would steer kiln
//! itself.

use super::error::PolicyError;
use super::file::Bundle;

/// A checked key: its name, its values, and what may be wrong with one of them.
type Check<'a> = (
    &'static str,
    Vec<&'a String>,
    fn(&str) -> Option<&'static str>,
);

/// Checks every value of one section.
pub(super) fn check(file: &str, section: &str, lists: &Bundle) -> Result<(), PolicyError> {
    let both = |a: &'_ [String], b: &'_ [String]| -> Vec<String> { [a, b].concat() };
    let exec = both(&lists.exec, &lists.exec_if_present);
    let link = both(&lists.link, &lists.link_if_present);
    let (files, link): (Vec<String>, Vec<String>) =
        link.into_iter().partition(|value| value.starts_with('/'));
    let read = [&lists.read[..], &lists.read_if_present, &files].concat();
    let libraries = [&lists.pkg_config[..], &lists.pkg_config_if_present, &link].concat();
    let env: Vec<&String> = lists.env.iter().chain(lists.set_env.keys()).collect();
    let checks: [Check<'_>; 7] = [
        ("program", exec.iter().collect(), wrong_program),
        ("path", read.iter().collect(), wrong_path),
        ("library", libraries.iter().collect(), wrong_library),
        ("path to write", lists.write.iter().collect(), wrong_scratch),
        (
            "path of the workspace",
            lists.workspace.iter().collect(),
            wrong_workspace_path,
        ),
        ("variable", env, wrong_variable),
        ("value", lists.set_env.values().collect(), wrong_value),
    ];
    for (what, values, wrong) in checks {
        for value in values {
            if let Some(why) = wrong(value) {
                return Err(PolicyError::Value {
                    file: file.to_owned(),
                    section: section.to_owned(),
                    what,
                    value: value.chars().take(200).collect(),
                    why,
                });
            }
        }
    }
    Ok(())
}

fn wrong_program(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.starts_with('/') {
        crate::path::SandboxPath::new(name)
            .err()
            .map(|_| "it is not a normalised path")
    } else if name.contains('/') || name.starts_with('-') || name.contains(['\0', '\n']) {
        Some("a program is a name or an absolute path")
    } else {
        None
    }
}

/// Directories that hold what no crate can need as a whole.
const TOO_BROAD: [&str; 18] = [
    "/",
    "/bin",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/local",
    "/var",
];

fn wrong_path(path: &str) -> Option<&'static str> {
    if crate::path::SandboxPath::new(path).is_err() {
        return Some("it is not an absolute, normalised path");
    }
    if ["/tmp/", "/kiln/"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
    {
        return Some("actions have a directory of their own there");
    }
    if ["/proc/", "/sys/", "/dev/"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
    {
        return Some("it is the kernel's, and has no content that could be digested");
    }
    let fixed: Vec<&str> = path
        .split('/')
        .take_while(|part| !part.contains(['*', '?', '[']))
        .collect();
    let fixed = fixed.join("/");
    let has_pattern = fixed.len() < path.len();
    let broad = |path: &str| TOO_BROAD.contains(&path) || path.is_empty();
    // `/usr/*` is all of `/usr`; `/usr/share/x-*` is not.
    let levels_below = path.split('/').count() - fixed.split('/').count();
    if broad(path) || (has_pattern && broad(&fixed) && levels_below <= 1) {
        return Some("it is more than any one crate can need");
    }
    None
}

fn wrong_scratch(path: &str) -> Option<&'static str> {
    (path != "." && crate::path::RelPath::new(path).is_err())
        .then_some("it is not a normalised path below the package")
}

fn wrong_workspace_path(path: &str) -> Option<&'static str> {
    (path != "." && crate::path::RelPath::new(path).is_err())
        .then_some("it is not a normalised path below the root of the workspace")
}

/// What is wrong with the name of a library.
pub(super) fn wrong_library(name: &str) -> Option<&'static str> {
    let plain = !name.is_empty()
        && !name.starts_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-_.".contains(&byte));
    (!plain).then_some("a library's name has letters, digits, `+`, `-`, `_` and `.`")
}

fn wrong_variable(name: &str) -> Option<&'static str> {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !plain {
        return Some("a variable's name has letters, digits and `_`");
    }
    let own = [
        "PATH", "OUT_DIR", "HOME", "TMPDIR", "RUSTC", "RUSTDOC", "CARGO", "TARGET", "HOST",
        "NUM_JOBS", "PROFILE",
    ];
    let families = ["LD_", "CARGO_", "DEP_", "GLIBC_TUNABLES", "KILN_"];
    // Cargo reads it, and hands it on to build scripts, and sets it for none.
    if name == "CARGO_TARGET_DIR" {
        return None;
    }
    (own.contains(&name) || families.iter().any(|family| name.starts_with(family)))
        .then_some("kiln sets it itself, or it would steer the programs that kiln runs")
}

fn wrong_value(value: &str) -> Option<&'static str> {
    value.contains('\0').then_some("it contains a NUL byte")
}
