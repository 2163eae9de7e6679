//! The format of `kiln.toml` and of the shipped files: read strictly, every value checked.
//!
//! ```toml
//! [crate.openssl-sys]                 # or [[crate.NAME]], for several version ranges
//! version = ">=0.9"                   # optional: which versions it is for
//! source = "crates-io"                # optional: where it has to come from: `crates-io`, `path`, an address
//! reason = "links the system's OpenSSL"
//! applies-to = "itself"               # or "users": the build scripts that depend on the crate
//! defaults = true                     # false: none of what kiln ships for it
//! use = ["perl", "pkg-config:zlib"]   # bundles; `pkg-config:NAME` is one for each library of the system
//! exec = ["protoc"]                   # programs, by name or absolute path
//! exec-if-present = ["ninja"]
//! read = ["/usr/share/proto"]         # files and directories; `*`, `?` and `**` as in a shell
//! read-if-present = []
//! pkg-config = ["openssl"]            # libraries, with headers and what they require
//! pkg-config-if-present = []
//! link = ["ssl", "crypto"]            # libraries of the linker, or `/opt/x/lib/libx.so*`
//! link-if-present = []
//! write = ["contrib/completions"]     # paths below the package that its build script writes to: in a copy, which is
//!                                     # thrown away; `.` is all of it
//! workspace = ["proto", "README.md"]  # of a package of the workspace: what else of the workspace its actions read
//! env = ["DATABASE_URL"]              # variables passed on from the environment
//! set-env = { LANG = "C" }            # variables with a value
//! limits = { wall-seconds = 3600 }    # bounds of its actions
//!
//! [bundle.NAME]                       # the same keys, but for version, source, applies-to, defaults, limits
//! [policy]
//! defaults = true                     # false: nothing of what kiln ships counts, for any crate
//! build-scripts = "allowed"           # "approved": nothing runs that `kiln-approved.toml` does not list
//! [toolchain]                         # rust-digest = "…", c-digest = "…": a build with other ones stops
//! programs = ["clang", "ld.lld"]      # what configuration may name besides: linkers, wrappers of rustc
//! read = ["/opt/sdk/lib"]             # files and directories that every compilation that links may read
//! [workspace]
//! references = true                   # members see whatever of the workspace their source names as a path
//! [dev.crate.NAME]                    # counts for `kiln build` only, never for `--hermetic`
//! ```
//!
//! `docs/kiln.schema.json` says the same for editors; it is made from the types here.

use std::collections::BTreeMap;

use semver::VersionReq;
use serde::Deserialize;

use super::check::{check, wrong_library};
use super::error::PolicyError;
use crate::digest::TreeDigest;
use crate::package::{PackageId, SourceId, canonical_url};
use crate::sandbox::request::Limits;

/// The name of the file at the workspace root.
pub const FILE_NAME: &str = "kiln.toml";

/// To which packages a grant for a crate goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Bundle {
    /// Why it is granted: shown by `kiln policy show`.
    pub(crate) reason: Option<String>,
    /// Bundles: kiln's own, those of this file, and `pkg-config:NAME` for each library of the system.
    pub(crate) r#use: Vec<String>,
    /// Programs that it may run, by name or absolute path; each has to be installed.
    pub(crate) exec: Vec<String>,
    /// Programs that it may run if they are installed.
    pub(crate) exec_if_present: Vec<String>,
    /// Files and directories that it may read: absolute paths with `*`, `?` and `**` as in a shell.
    pub(crate) read: Vec<String>,
    /// Files and directories that it may read if they are there.
    pub(crate) read_if_present: Vec<String>,
    /// Libraries of the system by their name in pkg-config, with headers and all that they require.
    pub(crate) pkg_config: Vec<String>,
    /// Libraries of the system by their name in pkg-config, if they are installed.
    pub(crate) pkg_config_if_present: Vec<String>,
    /// Libraries of the system by their name for the linker, `ssl` for `-lssl`, or by absolute paths as in `read`.
    pub(crate) link: Vec<String>,
    /// Such libraries, if they are installed.
    pub(crate) link_if_present: Vec<String>,
    /// Paths below the package that its build script may write to: in a copy, which is thrown away. `.` is all of it.
    pub(crate) write: Vec<String>,
    /// Paths below the workspace's root that a package of the workspace reads besides its own directory, `.` for all.
    pub(crate) workspace: Vec<String>,
    /// Variables that are passed on from the environment. Their values are recorded: no secrets.
    pub(crate) env: Vec<String>,
    /// Variables with a fixed value.
    pub(crate) set_env: BTreeMap<String, String>,
}

/// The bundles that there is one of for each library of the system, by what their names begin with.
const LIBRARY_BUNDLE: &str = "pkg-config:";

impl Bundle {
    /// The bundle that `name` describes by itself: `pkg-config:NAME`.
    pub(crate) fn described(name: &str) -> Option<Self> {
        let library = name.strip_prefix(LIBRARY_BUNDLE)?;
        wrong_library(library).is_none().then(|| Self {
            reason: Some(format!(
                "the system's library `{library}`, with its headers"
            )),
            pkg_config: vec![library.to_owned()],
            ..Self::default()
        })
    }

    /// What is granted without conditions, by the keys that grant it, in the order in which a new section has them.
    pub(crate) fn lists(&self) -> [(&'static str, &Vec<String>); 8] {
        [
            ("use", &self.r#use),
            ("exec", &self.exec),
            ("read", &self.read),
            ("pkg-config", &self.pkg_config),
            ("link", &self.link),
            ("write", &self.write),
            ("workspace", &self.workspace),
            ("env", &self.env),
        ]
    }

    /// Grants `value` by one of the keys of [`lists`](Self::lists).
    pub(crate) fn add(&mut self, key: &str, value: &str) {
        let list = match key {
            "use" => &mut self.r#use,
            "exec" => &mut self.exec,
            "read" => &mut self.read,
            "pkg-config" => &mut self.pkg_config,
            "link" => &mut self.link,
            "write" => &mut self.write,
            "workspace" => &mut self.workspace,
            "env" => &mut self.env,
            _ => return,
        };
        if list.iter().all(|known| known != value) {
            list.push(value.to_owned());
        }
    }
}

/// Where the packages have to come from that a section is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum SourceMatch {
    /// Cargo's default registry.
    CratesIo,
    /// A directory of the machine.
    Path,
    /// A registry or a repository, by its canonical address.
    Address(String),
}

impl SourceMatch {
    /// Whether `source` is what is meant. A repository is meant with all of its commits.
    pub(crate) fn matches(&self, source: &SourceId) -> bool {
        match self {
            Self::CratesIo => source.is_crates_io(),
            Self::Path => source.is_path(),
            Self::Address(address) => !source.is_path() && source.canonical_address() == address,
        }
    }
}

impl TryFrom<String> for SourceMatch {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "crates-io" => return Ok(Self::CratesIo),
            "path" => return Ok(Self::Path),
            _ => {}
        }
        let address = ["registry+", "sparse+", "git+"]
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix))
            .unwrap_or(&text);
        // A reference or a commit, as `Cargo.lock` writes them, is no part of which repository it is.
        let address = address.split(['?', '#']).next().unwrap_or(address);
        if address.contains("://") {
            Ok(Self::Address(canonical_url(address)))
        } else {
            Err(format!(
                "`{}` is no source: give `crates-io`, `path`, or the address of a registry or repository",
                text.chars().take(200).collect::<String>()
            ))
        }
    }
}

#[cfg(test)]
impl schemars::JsonSchema for SourceMatch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Source".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^(crates-io|path|[a-z+]*https?://.*|[a-z+]*ssh://.*|[a-z+]*file://.*)$"
        })
    }
}

/// One `[crate.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CrateSection {
    pub(crate) version: Option<VersionReq>,
    pub(crate) source: Option<SourceMatch>,
    pub(crate) applies_to: AppliesTo,
    pub(crate) defaults: bool,
    pub(crate) limits: Limits,
    pub(crate) lists: Bundle,
}

impl CrateSection {
    /// Whether it is for `package`, whose name is the section's.
    pub(crate) fn is_for(&self, package: &PackageId) -> bool {
        let version = self.version.as_ref();
        let source = self.source.as_ref();
        version.is_none_or(|wanted| wanted.matches(package.version()))
            && source.is_none_or(|wanted| wanted.matches(package.source()))
    }
}

/// `[crate.NAME]` as it is written. `serde(flatten)` would lose strictness, so the keys stand here again.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(
    test,
    schemars(
        rename = "Crate",
        description = "What the packages of one name are granted."
    )
)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawCrate {
    /// Which versions it is for, as cargo writes requirements; without it, all.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    version: Option<VersionReq>,
    /// Where the package has to come from: `crates-io`, `path`, or the address of a registry or repository; without it,
    /// from anywhere.
    source: Option<SourceMatch>,
    /// Whether it is for the crate's own actions, or for the build scripts that depend on the crate.
    applies_to: AppliesTo,
    /// `false`: nothing of what kiln ships for this crate counts.
    defaults: bool,
    /// Bounds of its actions.
    limits: Limits,
    /// Why it is granted: shown by `kiln policy show`.
    reason: Option<String>,
    /// Bundles: kiln's own, those of this file, and `pkg-config:NAME` for each library of the system.
    r#use: Vec<String>,
    /// Programs that it may run, by name or absolute path; each has to be installed.
    exec: Vec<String>,
    /// Programs that it may run if they are installed.
    exec_if_present: Vec<String>,
    /// Files and directories that it may read: absolute paths with `*`, `?` and `**` as in a shell.
    read: Vec<String>,
    /// Files and directories that it may read if they are there.
    read_if_present: Vec<String>,
    /// Libraries of the system by their name in pkg-config, with headers and all that they require.
    pkg_config: Vec<String>,
    /// Libraries of the system by their name in pkg-config, if they are installed.
    pkg_config_if_present: Vec<String>,
    /// Libraries of the system by their name for the linker, `ssl` for `-lssl`, or by absolute paths as in `read`.
    link: Vec<String>,
    /// Such libraries, if they are installed.
    link_if_present: Vec<String>,
    /// Paths below the package that its build script may write to: in a copy, which is thrown away. `.` is all of it.
    write: Vec<String>,
    /// Paths below the workspace's root that a package of the workspace reads besides its own directory, `.` for all.
    workspace: Vec<String>,
    /// Variables that are passed on from the environment. Their values are recorded: no secrets.
    env: Vec<String>,
    /// Variables with a fixed value.
    set_env: BTreeMap<String, String>,
}

impl Default for RawCrate {
    fn default() -> Self {
        Self {
            version: None,
            source: None,
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
            link_if_present: Vec::new(),
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
            source: raw.source,
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
                link_if_present: raw.link_if_present,
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

#[cfg(test)]
impl schemars::JsonSchema for OneOrMany {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OneOrMany".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = generator.subschema_for::<RawCrate>();
        schemars::json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

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

/// Which build scripts and procedural macros may run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum BuildScripts {
    /// All, each behind the sandbox's walls.
    #[default]
    Allowed,
    /// Those whose packages `kiln-approved.toml` lists with the digest that they have.
    Approved,
}

/// `[policy]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Policy"))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct General {
    /// `false`: nothing of what kiln ships for well-known crates counts.
    pub defaults: bool,
    /// Which build scripts and procedural macros may run.
    pub build_scripts: BuildScripts,
}

impl Default for General {
    fn default() -> Self {
        Self {
            defaults: true,
            build_scripts: BuildScripts::Allowed,
        }
    }
}

/// `[toolchain]` as it is written.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Toolchain"))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawToolchain {
    /// The digest that the Rust toolchain has to have (`kiln doctor` prints it).
    #[cfg_attr(
        test,
        schemars(with = "Option<String>", regex(pattern = "^[0-9a-f]{64}$"))
    )]
    rust_digest: Option<TreeDigest>,
    /// The digest that the C toolchain has to have.
    #[cfg_attr(
        test,
        schemars(with = "Option<String>", regex(pattern = "^[0-9a-f]{64}$"))
    )]
    c_digest: Option<TreeDigest>,
    /// Programs that configuration may name besides the toolchain's: linkers, wrappers of rustc.
    programs: Vec<String>,
    /// Files and directories that every compilation that links may read.
    read: Vec<String>,
}

/// What one workspace grants to the packages that it is built from.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "kiln.toml"))]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    /// What holds for the whole workspace.
    policy: General,
    /// What each crate is granted: a table, or one for each range of versions.
    #[serde(rename = "crate")]
    crates: BTreeMap<String, OneOrMany>,
    /// Grants under a name, for `use`.
    bundle: BTreeMap<String, Bundle>,
    /// What holds for the toolchains.
    toolchain: RawToolchain,
    /// What holds for the workspace's own packages.
    workspace: RawWorkspace,
    /// What counts for `kiln build` only, never for `--hermetic`.
    dev: RawDev,
}

/// `[workspace]` as it is written.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Workspace"))]
#[serde(deny_unknown_fields, default)]
struct RawWorkspace {
    /// Whether members see whatever of the workspace their source names as a path.
    references: bool,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Dev"))]
#[serde(deny_unknown_fields, default)]
struct RawDev {
    /// What each crate is granted.
    #[serde(rename = "crate")]
    crates: BTreeMap<String, OneOrMany>,
}

/// The sections for crates, by name.
pub(crate) type Crates = BTreeMap<String, Vec<CrateSection>>;

/// One policy file, read and checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PolicyFile {
    pub(crate) name: String,
    pub(crate) general: General,
    pub(crate) crates: Crates,
    pub(crate) bundles: BTreeMap<String, Bundle>,
    pub(crate) dev: Crates,
    pub(crate) pins: Pins,
    /// `workspace.references`
    pub(crate) references: bool,
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
            general: raw.policy,
            crates: sections(raw.crates),
            bundles: raw.bundle,
            dev: sections(raw.dev.crates),
            pins: Pins {
                rust_digest: raw.toolchain.rust_digest,
                c_digest: raw.toolchain.c_digest,
            },
            references: raw.workspace.references,
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
            if bundle.contains(':') {
                return Err(PolicyError::Value {
                    file: name.to_owned(),
                    section: format!("bundle.{bundle}"),
                    what: "name",
                    value: bundle.chars().take(200).collect(),
                    why: "a colon is for bundles that kiln makes by itself: `pkg-config:NAME`",
                });
            }
            check(name, &format!("bundle.{bundle}"), lists)?;
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schema as the types have it. `KILN_WRITE_SCHEMA=1 cargo test --lib policy::file` writes it.
    #[test]
    fn the_schema_is_that_of_the_types() {
        let schema = schemars::schema_for!(Raw);
        let mut text = serde_json::to_string_pretty(&schema).unwrap();
        text.push('\n');
        if std::env::var_os("KILN_WRITE_SCHEMA").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kiln.schema.json");
            std::fs::write(path, &text).unwrap();
        } else {
            assert_eq!(super::super::SCHEMA, text);
        }
    }

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
            "[crate.a]\nsource = \"elsewhere\"",
            "[bundle.\"pkg-config:a\"]\n",
            "[policy]\nunknown = 1",
            "[policy]\nbuild-scripts = \"approve\"",
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
