//! The format of `kiln.toml` and of the shipped files: read strictly, every value checked.
//!
//! ```toml
//! [crate.openssl-sys]                 # or [[crate.NAME]], for several version ranges
//! version = ">=0.9"                   # optional: which versions it is for
//! reason = "links the system's OpenSSL"
//! applies-to = "itself"               # or "users": the build scripts that depend on the crate
//! defaults = true                     # false: none of what kiln ships for it
//! use = ["perl"]                      # bundles
//! exec = ["protoc"]                   # programs, by name or absolute path
//! exec-if-present = ["ninja"]
//! read = ["/usr/share/proto"]         # files and directories; `*`, `?` and `**` as in a shell
//! read-if-present = []
//! pkg-config = ["openssl"]            # libraries, with headers and what they require
//! pkg-config-if-present = []
//! link = ["ssl", "crypto"]            # libraries of the linker
//! write = ["contrib/completions"]     # paths below the package that its build script writes to: in a copy, which is
//!                                     # thrown away; `.` is all of it
//! workspace = ["proto", "README.md"]  # of a package of the workspace: what else of the workspace its actions read
//! env = ["DATABASE_URL"]              # variables passed on from the environment
//! set-env = { LANG = "C" }            # variables with a value
//! limits = { wall-seconds = 3600 }    # bounds of its actions
//!
//! [bundle.NAME]                       # the same keys, but for version, applies-to, defaults, limits
//! [toolchain]                         # rust-digest = "…", c-digest = "…": a build with other ones stops
//! programs = ["clang", "ld.lld"]      # what configuration may name besides: linkers, wrappers of rustc
//! read = ["/opt/sdk/lib"]             # files and directories that every compilation that links may read
//! [dev.crate.NAME]                    # counts for `kiln build` only, never for `--hermetic`
//! ```

use std::collections::BTreeMap;

use semver::VersionReq;
use serde::Deserialize;

use super::error::PolicyError;
use crate::digest::TreeDigest;
use crate::sandbox::request::Limits;

/// The name of the file at the workspace root.
pub const FILE_NAME: &str = "kiln.toml";

/// To which packages a grant for a crate goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppliesTo {
    /// To the crate's own actions.
    #[default]
    Itself,
    /// To the build scripts that have the crate among their dependencies, directly or not: it acts within them.
    Users,
}

/// The digests that `[toolchain]` pins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pins {
    /// Digest of the Rust toolchain's tree.
    pub rust_digest: Option<TreeDigest>,
    /// Digest of the C toolchain's tree.
    pub c_digest: Option<TreeDigest>,
}

/// What a section lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Bundle {
    pub(crate) reason: Option<String>,
    pub(crate) r#use: Vec<String>,
    pub(crate) exec: Vec<String>,
    pub(crate) exec_if_present: Vec<String>,
    pub(crate) read: Vec<String>,
    pub(crate) read_if_present: Vec<String>,
    pub(crate) pkg_config: Vec<String>,
    pub(crate) pkg_config_if_present: Vec<String>,
    pub(crate) link: Vec<String>,
    pub(crate) write: Vec<String>,
    pub(crate) workspace: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) set_env: BTreeMap<String, String>,
}

/// One `[crate.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CrateSection {
    pub(crate) version: Option<VersionReq>,
    pub(crate) applies_to: AppliesTo,
    pub(crate) defaults: bool,
    pub(crate) limits: Limits,
    pub(crate) lists: Bundle,
}

/// `[crate.NAME]` as it is written. `serde(flatten)` would lose strictness, so the keys stand here again.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawCrate {
    version: Option<VersionReq>,
    applies_to: AppliesTo,
    defaults: bool,
    limits: Limits,
    reason: Option<String>,
    r#use: Vec<String>,
    exec: Vec<String>,
    exec_if_present: Vec<String>,
    read: Vec<String>,
    read_if_present: Vec<String>,
    pkg_config: Vec<String>,
    pkg_config_if_present: Vec<String>,
    link: Vec<String>,
    write: Vec<String>,
    workspace: Vec<String>,
    env: Vec<String>,
    set_env: BTreeMap<String, String>,
}

impl Default for RawCrate {
    fn default() -> Self {
        Self {
            version: None,
            applies_to: AppliesTo::Itself,
            defaults: true,
            limits: Limits::default(),
            reason: None,
            r#use: Vec::new(),
            exec: Vec::new(),
            exec_if_present: Vec::new(),
            read: Vec::new(),
            read_if_present: Vec::new(),
            pkg_config: Vec::new(),
            pkg_config_if_present: Vec::new(),
            link: Vec::new(),
            write: Vec::new(),
            workspace: Vec::new(),
            env: Vec::new(),
            set_env: BTreeMap::new(),
        }
    }
}

impl From<RawCrate> for CrateSection {
    fn from(raw: RawCrate) -> Self {
        Self {
            version: raw.version,
            applies_to: raw.applies_to,
            defaults: raw.defaults,
            limits: raw.limits,
            lists: Bundle {
                reason: raw.reason,
                r#use: raw.r#use,
                exec: raw.exec,
                exec_if_present: raw.exec_if_present,
                read: raw.read,
                read_if_present: raw.read_if_present,
                pkg_config: raw.pkg_config,
                pkg_config_if_present: raw.pkg_config_if_present,
                link: raw.link,
                write: raw.write,
                workspace: raw.workspace,
                env: raw.env,
                set_env: raw.set_env,
            },
        }
    }
}

/// One table, or an array of them.
#[derive(Debug, Clone)]
struct OneOrMany(Vec<RawCrate>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a table of grants, or an array of such tables")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<OneOrMany, A::Error> {
                let deserializer = serde::de::value::MapAccessDeserializer::new(map);
                Ok(OneOrMany(vec![RawCrate::deserialize(deserializer)?]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                seq: A,
            ) -> Result<OneOrMany, A::Error> {
                let deserializer = serde::de::value::SeqAccessDeserializer::new(seq);
                Ok(OneOrMany(Vec::deserialize(deserializer)?))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// `[toolchain]` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawToolchain {
    rust_digest: Option<TreeDigest>,
    c_digest: Option<TreeDigest>,
    programs: Vec<String>,
    read: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    #[serde(rename = "crate")]
    crates: BTreeMap<String, OneOrMany>,
    bundle: BTreeMap<String, Bundle>,
    toolchain: RawToolchain,
    dev: RawDev,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawDev {
    #[serde(rename = "crate")]
    crates: BTreeMap<String, OneOrMany>,
}

/// The sections for crates, by name.
pub(crate) type Crates = BTreeMap<String, Vec<CrateSection>>;

/// One policy file, read and checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PolicyFile {
    pub(crate) name: String,
    pub(crate) crates: Crates,
    pub(crate) bundles: BTreeMap<String, Bundle>,
    pub(crate) dev: Crates,
    pub(crate) pins: Pins,
    /// `toolchain.programs`
    pub(crate) programs: Vec<String>,
    /// `toolchain.read`
    pub(crate) read: Vec<String>,
}

impl PolicyFile {
    /// Reads `text`; `name` is what messages call the file.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, PolicyError> {
        let raw: Raw = toml::from_str(text).map_err(|error| PolicyError::Syntax {
            file: name.to_owned(),
            why: error.message().to_owned(),
            place: error.span().map(|range| (text.to_owned(), range)),
        })?;
        let sections = |crates: BTreeMap<String, OneOrMany>| -> Crates {
            crates
                .into_iter()
                .map(|(name, many)| (name, many.0.into_iter().map(CrateSection::from).collect()))
                .collect()
        };
        let file = Self {
            name: name.to_owned(),
            crates: sections(raw.crates),
            bundles: raw.bundle,
            dev: sections(raw.dev.crates),
            pins: Pins {
                rust_digest: raw.toolchain.rust_digest,
                c_digest: raw.toolchain.c_digest,
            },
            programs: raw.toolchain.programs,
            read: raw.toolchain.read,
        };
        let toolchain = Bundle {
            exec: file.programs.clone(),
            read: file.read.clone(),
            ..Bundle::default()
        };
        check(name, "toolchain", &toolchain)?;
        for (prefix, crates) in [("crate", &file.crates), ("dev.crate", &file.dev)] {
            for (crate_name, sections) in crates {
                let section = format!("{prefix}.{crate_name}");
                if let Err(error) = crate::package::PackageName::new(crate_name) {
                    return Err(PolicyError::Syntax {
                        file: name.to_owned(),
                        why: error.to_string(),
                        place: None,
                    });
                }
                for one in sections {
                    check(name, &section, &one.lists)?;
                }
            }
        }
        for (bundle, lists) in &file.bundles {
            check(name, &format!("bundle.{bundle}"), lists)?;
        }
        Ok(file)
    }
}

/// A checked key: its name, its values, and what may be wrong with one of them.
type Check<'a> = (
    &'static str,
    Vec<&'a String>,
    fn(&str) -> Option<&'static str>,
);

fn check(file: &str, section: &str, lists: &Bundle) -> Result<(), PolicyError> {
    let both = |a: &'_ [String], b: &'_ [String]| -> Vec<String> { [a, b].concat() };
    let exec = both(&lists.exec, &lists.exec_if_present);
    let read = both(&lists.read, &lists.read_if_present);
    let libraries = [
        &lists.pkg_config[..],
        &lists.pkg_config_if_present,
        &lists.link,
    ]
    .concat();
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

fn wrong_library(name: &str) -> Option<&'static str> {
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
    (own.contains(&name) || families.iter().any(|family| name.starts_with(family)))
        .then_some("kiln sets it itself, or it would steer the programs that kiln runs")
}

fn wrong_value(value: &str) -> Option<&'static str> {
    value.contains('\0').then_some("it contains a NUL byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused() {
        for text in [
            "[crate.a]\nunknown = 1",
            "[[crate.a]]\nunknown = 1",
            "[unknown]",
            "[bundle.a]\nversion = \"1\"",
            "[dev]\nunknown = 1",
            "[toolchain]\nrust-digest = \"abc\"",
            "[crate.a]\nversion = \"nope\"",
            "[crate.\"../a\"]\nexec = [\"sh\"]",
            "[crate.a]\nexec = [\"../sh\"]",
            "[crate.a]\nwrite = [\"../b\"]",
            "[crate.a]\nwrite = [\"/etc\"]",
            "[crate.a]\nwrite = [\"\"]",
            "[crate.a]\nexec = [\"/usr/../bin/sh\"]",
            "[crate.a]\nexec = [\"\"]",
            "[crate.a]\nread = [\"/\"]",
            "[crate.a]\nread = [\"/usr\"]",
            "[crate.a]\nread = [\"/usr/*\"]",
            "[crate.a]\nread = [\"/*\"]",
            "[crate.a]\nread = [\"relative\"]",
            "[crate.a]\nread = [\"/usr/share/../../etc\"]",
            "[crate.a]\nread = [\"/proc/self\"]",
            "[crate.a]\nread = [\"/tmp/x\"]",
            "[crate.a]\nenv = [\"LD_PRELOAD\"]",
            "[crate.a]\nenv = [\"A=B\"]",
            "[crate.a]\nset-env = { PATH = \"/x\" }",
            "[crate.a]\npkg-config = [\"--eval\"]",
            "[crate.a]\nlimits = { unknown = 1 }",
        ] {
            assert!(PolicyFile::parse("kiln.toml", text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_read() {
        let text = "[[crate.a]]\nversion = \"<1\"\nexec = [\"sh\"]\n[[crate.a]]\nversion = \"1\"\n\
                    read = [\"/usr/share/x-*\"]\nset-env = { A = \"b\" }\nlimits = { wall-seconds = 5 }\n\
                    [crate.b]\napplies-to = \"users\"\ndefaults = false\n[dev.crate.c]\nenv = [\"X\"]\n";
        let file = PolicyFile::parse("kiln.toml", text).unwrap();
        assert_eq!(file.crates["a"].len(), 2);
        assert_eq!(file.crates["a"][1].limits.wall_seconds, Some(5));
        assert_eq!(file.crates["b"][0].applies_to, AppliesTo::Users);
        assert!(!file.crates["b"][0].defaults && file.crates["a"][0].defaults);
        assert_eq!(file.dev["c"][0].lists.env, ["X"]);
    }
}
