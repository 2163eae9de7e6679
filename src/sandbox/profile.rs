//! Sandbox profiles: which system calls a kind of program may make, and its limits; TOML files of `sandbox-profiles/`,
//! read strictly.
//!
//! A profile is a value: read once, checked, compiled to BPF once, shared by every process that runs under it. The
//! shipped ones are compiled into the binary; a user's own replace them by name. What a profile does not say is what
//! files a process sees: that is the request's to say ([`super::request::Mount`]).

use crate::digest::BlobDigest;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::filter::{self, Filters};
use super::request::Limits;

/// The profiles that kiln ships: name and text.
pub const SHIPPED: [(&str, &str); 5] = [
    ("base", include_str!("../../sandbox-profiles/base.toml")),
    (
        "build-script",
        include_str!("../../sandbox-profiles/build-script.toml"),
    ),
    ("rustc", include_str!("../../sandbox-profiles/rustc.toml")),
    ("test", include_str!("../../sandbox-profiles/test.toml")),
    ("unpack", include_str!("../../sandbox-profiles/unpack.toml")),
];

/// A profile, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxProfile {
    /// Its name: the file's stem.
    pub name: String,
    /// Its limits, which a request may tighten or replace.
    pub limits: Limits,
    /// Digest of the texts that it was read from.
    digest: BlobDigest,
    rules: Rules,
    filters: Arc<Filters>,
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not the TOML that a profile is.
    #[error("sandbox profile `{name}` cannot be read")]
    Syntax {
        /// The profile.
        name: String,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// No such profile.
    #[error("there is no sandbox profile `{name}`{}", .wanted_by.as_ref().map(|w| format!(", which `{w}` extends")).unwrap_or_default())]
    Unknown {
        /// The name asked for.
        name: String,
        /// The profile that extends it.
        wanted_by: Option<String>,
    },
    /// It says something that makes no sense.
    #[error("sandbox profile `{name}` is wrong: {why}")]
    Rule {
        /// The profile.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The rules do not compile to a filter.
    #[error("the seccomp filter of sandbox profile `{name}` does not compile")]
    Compile {
        /// The profile.
        name: String,
        /// Why.
        #[source]
        source: Box<seccompiler::Error>,
    },
}

impl ProfileError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            ProfileError::Unknown { .. } => format!(
                "the shipped profiles are {}",
                SHIPPED.map(|(name, _)| format!("`{name}`")).join(", ")
            ),
            _ => "compare it with the shipped profiles in `sandbox-profiles/`".to_owned(),
        })
    }
}

/// The machine that a filter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Machine {
    /// x86-64.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Machine {
    /// The machine that this program was built for.
    pub const HOST: Machine = if cfg!(target_arch = "x86_64") {
        Machine::X86_64
    } else {
        Machine::Aarch64
    };

    /// Whether a rule that is for `only` is for this machine.
    pub(super) fn is(self, only: Option<Machine>) -> bool {
        only.is_none_or(|only| only == self)
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    extends: Option<String>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    allow: Vec<Allow>,
    #[serde(default)]
    refuse: Vec<Refuse>,
}

/// System calls that pass if all conditions hold.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Allow {
    pub(super) syscalls: Vec<String>,
    pub(super) arch: Option<Machine>,
    /// Sends signals: only where something else says to whom.
    #[serde(default)]
    pub(super) signals: bool,
    /// Done by the supervisor where there is no mount namespace.
    #[serde(default)]
    pub(super) judged: bool,
    /// Only where there are namespaces that hold it; there it counts for more than what else is said of the call.
    #[serde(default)]
    pub(super) namespaces: bool,
    #[serde(default)]
    pub(super) when: Vec<When>,
}

#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Refuse {
    pub(super) syscalls: Vec<String>,
    pub(super) arch: Option<Machine>,
    #[serde(default)]
    pub(super) answer: Answer,
}

/// What a refused call answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Answer {
    #[default]
    Eperm,
    Eopnotsupp,
    /// Success, with nothing done.
    Nothing,
}

/// A condition on one argument: `(argument & mask)` is one of the values.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct When {
    pub(super) argument: u8,
    pub(super) size: Size,
    pub(super) mask: Option<u64>,
    pub(super) equals: Option<u64>,
    #[serde(default)]
    pub(super) any_of: Vec<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Size {
    U32,
    U64,
}

/// All rules of a profile, those of the profiles it extends first.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Rules {
    pub(super) allow: Vec<Allow>,
    pub(super) refuse: Vec<Refuse>,
}

/// The system calls that the supervisor knows how to do for a process.
const JUDGED: [&str; 5] = ["chmod", "fchmod", "fchmodat", "fchmodat2", "utimensat"];

impl SandboxProfile {
    /// The shipped profile `name`.
    pub fn shipped(name: &str) -> Result<Self, ProfileError> {
        Self::named(name, &BTreeMap::new())
    }

    /// The profile `name` out of `own`, a user's profiles by name, or else the shipped one.
    pub fn named(name: &str, own: &BTreeMap<String, String>) -> Result<Self, ProfileError> {
        let mut chain: Vec<(String, File)> = Vec::new();
        let mut next = Some(name.to_owned());
        let mut hasher = blake3::Hasher::new();
        while let Some(name) = next.take() {
            let wanted_by = chain.last().map(|(name, _)| name.clone());
            if chain.iter().any(|(seen, _)| *seen == name) {
                return Err(ProfileError::Rule {
                    why: format!(
                        "it extends itself, through `{}`",
                        wanted_by.unwrap_or_default()
                    ),
                    name,
                });
            }
            let shipped = || {
                SHIPPED
                    .iter()
                    .find(|(n, _)| *n == name)
                    .map(|(_, text)| *text)
            };
            let Some(text) = own.get(&name).map(String::as_str).or_else(shipped) else {
                return Err(ProfileError::Unknown { name, wanted_by });
            };
            let file: File = toml::from_str(text).map_err(|source| ProfileError::Syntax {
                name: name.clone(),
                source: Box::new(source),
            })?;
            next.clone_from(&file.extends);
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
            chain.push((name, file));
        }
        let mut rules = Rules::default();
        let mut limits = Limits::default();
        for (_, file) in chain.into_iter().rev() {
            rules.allow.extend(file.allow);
            rules.refuse.extend(file.refuse);
            limits = file.limits.over(&limits);
        }
        let digest = BlobDigest::from_bytes(*hasher.finalize().as_bytes());
        Self::from_rules(name, limits, rules, digest)
    }

    fn from_rules(
        name: &str,
        limits: Limits,
        rules: Rules,
        digest: BlobDigest,
    ) -> Result<Self, ProfileError> {
        rules.check().map_err(|why| ProfileError::Rule {
            name: name.to_owned(),
            why,
        })?;
        let filters =
            filter::compile(&rules, Machine::HOST).map_err(|source| ProfileError::Compile {
                name: name.to_owned(),
                source: Box::new(source),
            })?;
        Ok(Self {
            name: name.to_owned(),
            limits,
            digest,
            rules,
            filters: Arc::new(filters),
        })
    }

    /// Digest of everything that the profile says: part of the key of each action that runs under it.
    pub fn digest(&self) -> BlobDigest {
        self.digest
    }

    pub(super) fn filters(&self) -> &Filters {
        &self.filters
    }

    #[cfg(test)]
    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }
}

impl Rules {
    /// What counts where there are no namespaces.
    pub(super) fn without_namespaces(&self) -> Rules {
        let mut rules = self.clone();
        rules.allow.retain(|allow| !allow.namespaces);
        rules
    }

    /// What counts where there are namespaces.
    pub(super) fn with_namespaces(&self) -> Rules {
        let mut rules = self.clone();
        let held: Vec<&Allow> = self.allow.iter().filter(|allow| allow.namespaces).collect();
        let replaced = |name: &String| held.iter().any(|held| held.syscalls.contains(name));
        for allow in rules.allow.iter_mut().filter(|allow| !allow.namespaces) {
            allow.syscalls.retain(|name| !replaced(name));
        }
        for refuse in &mut rules.refuse {
            refuse.syscalls.retain(|name| !replaced(name));
        }
        rules
    }

    fn check(&self) -> Result<(), String> {
        // By machine and name: whether an entry without conditions, and one with them, was seen.
        let mut seen: BTreeMap<(Machine, &str), (bool, bool)> = BTreeMap::new();
        for allow in &self.allow {
            for when in &allow.when {
                if when.argument > 5 {
                    return Err("a system call has the arguments 0 to 5".to_owned());
                }
                if when.equals.is_some() != when.any_of.is_empty() {
                    return Err("a condition has either `equals` or `any-of`".to_owned());
                }
                let mask = when.mask.unwrap_or(u64::MAX);
                for value in when.values() {
                    if when.size == Size::U32 && value > u64::from(u32::MAX) {
                        return Err(format!("{value:#x} does not fit a `u32` condition"));
                    }
                    if value & !mask != 0 {
                        return Err(format!("{value:#x} has bits outside the mask {mask:#x}"));
                    }
                }
            }
            for name in &allow.syscalls {
                if allow.judged && !JUDGED.contains(&name.as_str()) {
                    return Err(format!(
                        "`{name}` cannot be judged, only {}",
                        JUDGED.map(|n| format!("`{n}`")).join(", ")
                    ));
                }
                for machine in machines(allow.arch).filter(|_| !allow.namespaces) {
                    let seen = seen.entry((machine, name)).or_default();
                    let twice = if allow.when.is_empty() {
                        std::mem::replace(&mut seen.0, true) || seen.1
                    } else {
                        seen.1 = true;
                        seen.0
                    };
                    if twice {
                        return Err(format!(
                            "`{name}` is allowed twice, once without a condition"
                        ));
                    }
                }
            }
        }
        for refuse in &self.refuse {
            for name in &refuse.syscalls {
                for machine in machines(refuse.arch) {
                    if seen.contains_key(&(machine, name.as_str())) {
                        return Err(format!("`{name}` is both allowed and refused"));
                    }
                }
            }
        }
        Ok(())
    }
}

fn machines(only: Option<Machine>) -> impl Iterator<Item = Machine> {
    [Machine::X86_64, Machine::Aarch64]
        .into_iter()
        .filter(move |machine| machine.is(only))
}

impl When {
    pub(super) fn values(&self) -> impl Iterator<Item = u64> {
        self.equals.iter().chain(&self.any_of).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(text: &str) -> Result<SandboxProfile, ProfileError> {
        let own = BTreeMap::from([("own".to_owned(), text.to_owned())]);
        SandboxProfile::named("own", &own)
    }

    #[test]
    fn shipped_profiles_are_right() {
        for (name, _) in SHIPPED {
            let profile = SandboxProfile::shipped(name).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            assert_eq!(profile.name, name);
        }
        let rustc = SandboxProfile::shipped("rustc").unwrap();
        assert_eq!(rustc.limits.open_files, Some(16384));
        assert!(
            rustc
                .rules()
                .refuse
                .iter()
                .any(|r| r.syscalls.contains(&"ptrace".to_owned()))
        );
    }

    #[test]
    fn wrong_profiles_are_refused() {
        for (text, expected) in [
            ("colour = 'red'", "cannot be read"),
            ("[limits]\nopen = 3", "cannot be read"),
            (
                "[[allow]]\nsyscalls = ['read']\nunless = []",
                "cannot be read",
            ),
            (
                "extends = 'nothing'",
                "no sandbox profile `nothing`, which `own` extends",
            ),
            ("extends = 'own'", "extends itself"),
            ("[[allow]]\nsyscalls = ['readd']", "does not compile"),
            ("[[refuse]]\nsyscalls = ['readd']", "does not compile"),
            ("[[allow]]\nsyscalls = ['read', 'read']", "allowed twice"),
            (
                "extends = 'base'\n[[allow]]\nsyscalls = ['fcntl']",
                "allowed twice, once without a condition",
            ),
            (
                "[[allow]]\nsyscalls = ['read']\n[[refuse]]\nsyscalls = ['read']",
                "both allowed and refused",
            ),
            (
                "extends = 'base'\n[[allow]]\nsyscalls = ['ptrace']",
                "both allowed and refused",
            ),
            (
                "[[allow]]\nsyscalls = ['read']\njudged = true",
                "cannot be judged",
            ),
            (
                "[[allow]]\nsyscalls = ['read']\nwhen = [{ argument = 6, size = 'u32', equals = 0 }]",
                "arguments 0 to 5",
            ),
            (
                "[[allow]]\nsyscalls = ['read']\nwhen = [{ argument = 0, size = 'u32' }]",
                "either `equals` or `any-of`",
            ),
            (
                "[[allow]]\nsyscalls = ['read']\nwhen = [{ argument = 0, size = 'u32', mask = 1, equals = 2 }]",
                "outside the mask",
            ),
        ] {
            let message = own(text).expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
