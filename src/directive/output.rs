//! The value that a build script's output becomes, and its canonical JSON.

use serde::{Deserialize, Serialize};

use crate::manifest::model::Target;
use crate::unit::graph::Mode;

/// Which targets of the package a linker argument is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkArgTarget {
    /// `rustc-link-arg`: everything that is linked.
    All,
    /// `rustc-link-arg-cdylib` (or `rustc-cdylib-link-arg`).
    Cdylib,
    /// `rustc-link-arg-bins`.
    Bins,
    /// `rustc-link-arg-bin=NAME=…`: the binary of that name.
    Bin(String),
    /// `rustc-link-arg-tests`.
    Tests,
    /// `rustc-link-arg-benches`.
    Benches,
    /// `rustc-link-arg-examples`.
    Examples,
}

impl LinkArgTarget {
    /// Whether the argument is for `target` when it is compiled in `mode`. A cdylib's also reaches the cdylibs that
    /// depend on the package, as in cargo; all others stay in the package that said them.
    pub fn applies_to(&self, target: &Target, mode: Mode) -> bool {
        let is_test = matches!(
            mode,
            Mode::Test | Mode::Check { test: true } | Mode::Doctest
        );
        match self {
            LinkArgTarget::All => true,
            LinkArgTarget::Cdylib => !is_test && target.is_cdylib(),
            LinkArgTarget::Bins => target.is_bin(),
            LinkArgTarget::Bin(name) => target.is_bin() && target.name == *name,
            LinkArgTarget::Tests => target.is_test(),
            LinkArgTarget::Benches => target.is_bench(),
            LinkArgTarget::Examples => {
                matches!(target.kind, crate::manifest::model::TargetKind::ExampleBin)
            }
        }
    }
}

/// One argument for the linker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkArg {
    /// Which targets get it.
    pub target: LinkArgTarget,
    /// The argument, as `-C link-arg=` takes it.
    pub argument: String,
}

/// How grave a message of a build script is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// `cargo::error=…`: the build script has failed, whatever its exit status.
    Error,
    /// `cargo::warning=…`.
    Warning,
}

/// A message that a build script wants to be shown. Untrusted: see [`crate::message::text`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogMessage {
    /// How grave it is.
    pub severity: Severity,
    /// Its text.
    pub text: String,
}

/// Everything that a build script said, each list in the order in which it was printed.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildScriptOutput {
    /// `rustc-link-arg` and its kin.
    pub link_args: Vec<LinkArg>,
    /// `rustc-link-lib` (and `-l` of `rustc-flags`), as `-l` takes it: `[KIND[:MODIFIERS]=]NAME[:RENAME]`.
    pub library_links: Vec<String>,
    /// `rustc-link-search` (and `-L` of `rustc-flags`), as `-L` takes it: `[KIND=]PATH`; see [`split_search_path`].
    pub library_paths: Vec<String>,
    /// `rustc-cfg`, as `--cfg` takes it.
    pub cfgs: Vec<String>,
    /// `rustc-check-cfg`, as `--check-cfg` takes it.
    pub check_cfgs: Vec<String>,
    /// `rustc-env`: variables for the package's own compilations; of two of one name the later counts.
    pub env: Vec<(String, String)>,
    /// `metadata`: what build scripts of dependents get as `DEP_<LINKS>_<KEY>`; of two of one key the later counts.
    pub metadata: Vec<(String, String)>,
    /// `rerun-if-changed`, absolute or relative to the package.
    pub rerun_if_changed: Vec<String>,
    /// `rerun-if-env-changed`.
    pub rerun_if_env_changed: Vec<String>,
    /// `warning` and `error`, and cargo's own warnings about other directives.
    pub log_messages: Vec<LogMessage>,
}

/// Stored bytes are not the JSON of a [`BuildScriptOutput`].
#[derive(Debug, thiserror::Error)]
#[error("the stored output of a build script cannot be read")]
pub struct OutputJsonError(#[from] serde_json::Error);

impl BuildScriptOutput {
    /// The texts of all `cargo::warning`s.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.of(Severity::Warning)
    }

    /// The texts of all `cargo::error`s. If there is one, the run has failed and nothing else of the output counts.
    pub fn errors(&self) -> impl Iterator<Item = &str> {
        self.of(Severity::Error)
    }

    fn of(&self, severity: Severity) -> impl Iterator<Item = &str> {
        self.log_messages
            .iter()
            .filter(move |message| message.severity == severity)
            .map(|message| message.text.as_str())
    }

    /// The search paths in the order in which rustc gets them: those beneath `out_dir` (where the build puts what
    /// build scripts make) before all others, each group in the order printed.
    ///
    /// Where a unit links against several packages, cargo sorts the paths of all of them together: give the iterator
    /// of all, each with the `OUT_DIR` of its own package.
    pub fn order_search_paths<'a>(
        paths: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Vec<&'a str> {
        let mut ordered: Vec<(bool, &str)> = paths
            .into_iter()
            .map(|(path, out_dir)| {
                let (_, directory) = split_search_path(path);
                (!std::path::Path::new(directory).starts_with(out_dir), path)
            })
            .collect();
        ordered.sort_by_key(|(external, _)| *external);
        ordered.into_iter().map(|(_, path)| path).collect()
    }

    /// The directories of [`BuildScriptOutput::library_paths`] that lie in `out_dir`: those in which cargo lets a program
    /// look for dynamic libraries.
    pub fn library_directories<'a>(&'a self, out_dir: &'a str) -> impl Iterator<Item = &'a str> {
        self.library_paths
            .iter()
            .map(|path| split_search_path(path).1)
            .filter(move |path| std::path::Path::new(path).starts_with(out_dir))
    }

    /// The canonical JSON: compact, fields in the order of the type. Equal values have equal bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("lists of texts have a JSON form")
    }

    /// Reads what [`BuildScriptOutput::to_json`] wrote; unknown and missing fields are errors.
    pub fn from_json(bytes: &[u8]) -> Result<Self, OutputJsonError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// The kind of a search path, before the `=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SearchKind {
    /// `native`
    Native,
    /// `crate`
    Crate,
    /// `dependency`
    Dependency,
    /// `framework`
    Framework,
    /// `all`, or no kind at all.
    All,
}

/// Splits the value of `-L` into its kind and its directory; what is before a `=` and is no kind is part of the path.
pub fn split_search_path(value: &str) -> (SearchKind, &str) {
    match value.split_once('=') {
        Some(("native", path)) => (SearchKind::Native, path),
        Some(("crate", path)) => (SearchKind::Crate, path),
        Some(("dependency", path)) => (SearchKind::Dependency, path),
        Some(("framework", path)) => (SearchKind::Framework, path),
        Some(("all", path)) => (SearchKind::All, path),
        _ => (SearchKind::All, value),
    }
}

/// Whether a variable of this name changes how rustc, the linker driver or the dynamic loader themselves work (which
/// files they load or run, where they write), rather than being something for `env!` to read. Cargo passes such
/// variables on from `rustc-env`; a caller who wants no surprises can refuse them.
pub fn steers_a_tool(variable: &str) -> bool {
    const NAMES: &[&str] = &[
        "AR",
        "AS",
        "BASH_ENV",
        "CC",
        "CCC_OVERRIDE_OPTIONS",
        "COMPILER_PATH",
        "CPATH",
        "CPLUS_INCLUDE_PATH",
        "CXX",
        "C_INCLUDE_PATH",
        "DEPENDENCIES_OUTPUT",
        "ENV",
        "GCONV_PATH",
        "GLIBC_TUNABLES",
        "HOME",
        "IFS",
        "LD",
        "LDEMULATION",
        "LIBRARY_PATH",
        "LINK",
        "LOCPATH",
        "MAKEFLAGS",
        "NLSPATH",
        "OBJC_INCLUDE_PATH",
        "OUT_DIR",
        "PATH",
        "RUSTC",
        "RUSTC_BOOTSTRAP",
        "RUSTC_FORCE_RUSTC_VERSION",
        "RUSTC_ICE",
        "RUSTC_LINKER",
        "RUSTC_LOG",
        "RUSTC_OVERRIDE_VERSION_STRING",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTDOCFLAGS",
        "RUSTFLAGS",
        "RUST_MIN_STACK",
        "RUST_TARGET_PATH",
        "SDKROOT",
        "SHELL",
        "SUNPRO_DEPENDENCIES",
        "TMP",
        "TMPDIR",
        "TEMP",
    ];
    variable.starts_with("LD_")
        || variable.starts_with("COLLECT_")
        || variable.starts_with("GCC_")
        || variable.starts_with("DYLD_")
        || variable.starts_with("MALLOC_")
        || NAMES.contains(&variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_canonical_and_comes_back() {
        let output = BuildScriptOutput {
            link_args: vec![
                LinkArg {
                    target: LinkArgTarget::All,
                    argument: "-s".into(),
                },
                LinkArg {
                    target: LinkArgTarget::Bin("x".into()),
                    argument: "\u{1b}".into(),
                },
            ],
            env: vec![("A".into(), "1=2".into())],
            log_messages: vec![LogMessage {
                severity: Severity::Warning,
                text: "w".into(),
            }],
            ..Default::default()
        };
        let json = output.to_json();
        assert_eq!(
            String::from_utf8(json.clone()).unwrap(),
            r#"{"link_args":[{"target":"all","argument":"-s"},{"target":{"bin":"x"},"argument":"\u001b"}],"library_links":[],"library_paths":[],"cfgs":[],"check_cfgs":[],"env":[["A","1=2"]],"metadata":[],"rerun_if_changed":[],"rerun_if_env_changed":[],"log_messages":[{"severity":"warning","text":"w"}]}"#
        );
        assert_eq!(BuildScriptOutput::from_json(&json).unwrap(), output);
        for bad in ["", "{}", "[]", r#"{"link_args":[]}"#] {
            assert!(
                BuildScriptOutput::from_json(bad.as_bytes()).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn own_directories_come_first() {
        let paths = [
            ("/usr/lib", "/kiln/out/a"),
            ("native=/kiln/out/a/lib", "/kiln/out/a"),
            ("/kiln/out/ab", "/kiln/out/a"),
            ("/kiln/out/b", "/kiln/out/b"),
        ];
        assert_eq!(
            BuildScriptOutput::order_search_paths(paths),
            [
                "native=/kiln/out/a/lib",
                "/kiln/out/b",
                "/usr/lib",
                "/kiln/out/ab"
            ]
        );
    }

    #[test]
    fn kinds_of_search_paths() {
        for (value, kind, path) in [
            ("native=/a=b", SearchKind::Native, "/a=b"),
            ("framework=/a", SearchKind::Framework, "/a"),
            ("other=/a", SearchKind::All, "other=/a"),
            ("/a", SearchKind::All, "/a"),
            ("all=", SearchKind::All, ""),
        ] {
            assert_eq!(split_search_path(value), (kind, path), "{value}");
        }
    }
}
