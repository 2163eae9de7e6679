//! Which packages somebody has approved to run code while the workspace is built: `kiln-approved.toml`.
//!
//! ```toml
//! [approved]
//! "cc@1.2.30" = "9f2c…"                                                 # BLAKE3 of the package's files
//! "helper@0.3.0 (https://git.example.com/helper#4f0c…)" = "77ab…"       # not from the default registry
//! ```
//!
//! A file of its own, sorted, with one line for each package: an update is then one line of a diff that goes and one that
//! comes, and nobody has to look for it among grants, which people write and which mean something else. What counts is
//! the digest; the name is for people. Packages on disk are the user's own words, and need no approval.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml_edit::{DocumentMut, Item, Table};

use super::error::PolicyError;
use crate::digest::TreeDigest;
use crate::package::PackageId;

/// The name of the file at the workspace root.
pub const APPROVED_FILE: &str = "kiln-approved.toml";

/// What a new file begins with.
const HEAD: &str = "\
# Packages that may run code while this workspace is built: build scripts, procedural macros, and what they are made of.
# Each is approved with the BLAKE3 digest of its files. Written by `kiln policy approve`; review what changes.

";

/// Why the code of a package runs in a build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It has a build script.
    BuildScript,
    /// It is a procedural macro.
    ProcMacro,
    /// The build script of this package is made of it.
    PartOfScript(String),
    /// The procedural macro of this name is made of it.
    PartOfMacro(String),
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BuildScript => f.write_str("a build script"),
            Self::ProcMacro => f.write_str("a procedural macro"),
            Self::PartOfScript(of) => write!(f, "part of the build script of `{of}`"),
            Self::PartOfMacro(of) => write!(f, "part of the procedural macro `{of}`"),
        }
    }
}

/// A package whose code runs in a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Which package.
    pub package: PackageId,
    /// The digest of its files.
    pub digest: TreeDigest,
    /// Why it runs.
    pub roles: BTreeSet<Role>,
}

impl Running {
    /// `a build script and a procedural macro`; of what it is part of, the first.
    pub fn roles_in_words(&self) -> String {
        if self.roles.is_empty() {
            return "named by the user".to_owned();
        }
        let words: Vec<String> = self.roles.iter().take(2).map(Role::to_string).collect();
        let more = self.roles.len() - words.len();
        let more = if more == 0 {
            String::new()
        } else {
            format!(", and of {more} more")
        };
        format!("{}{more}", words.join(", "))
    }
}

/// A package whose code would run, and that nobody has approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unapproved {
    /// The package.
    pub running: Running,
    /// Whether other files are approved under the same name and version.
    pub other_content: bool,
}

impl std::fmt::Display for Unapproved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Running {
            package, digest, ..
        } = &self.running;
        write!(f, "`{package}`: {}", self.running.roles_in_words())?;
        if !package.source().is_crates_io() {
            write!(f, ", from {}", package.source().words())?;
        }
        if self.other_content {
            f.write_str("; other files were approved under this version")?;
        }
        write!(f, " (digest `{digest}`)")
    }
}

/// What has been approved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Approvals {
    digests: BTreeMap<String, TreeDigest>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    approved: BTreeMap<String, TreeDigest>,
}

/// What the file calls a package.
fn key(package: &PackageId) -> String {
    let name = format!("{}@{}", package.name(), package.version());
    let source = package.source();
    if source.is_crates_io() {
        return name;
    }
    let address = source.canonical_address();
    match source.precise() {
        Some(commit) => format!("{name} ({address}#{commit})"),
        None => format!("{name} ({address})"),
    }
}

impl Approvals {
    /// What `text` approves.
    ///
    /// # Errors
    /// If it is no such file.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let raw: Raw = toml::from_str(text).map_err(|error| PolicyError::Approvals {
            why: error.message().to_owned(),
            place: error.span().map(|range| (text.to_owned(), range)),
        })?;
        Ok(Self {
            digests: raw.approved,
        })
    }

    /// Which of `running` nobody has approved.
    pub fn missing(&self, running: impl IntoIterator<Item = Running>) -> Vec<Unapproved> {
        running
            .into_iter()
            .filter(|running| !running.package.source().is_path())
            .filter_map(|running| {
                let known = self.digests.get(&key(&running.package));
                (known != Some(&running.digest)).then(|| Unapproved {
                    other_content: known.is_some(),
                    running,
                })
            })
            .collect()
    }
}

/// The text of the file with `approved` in it, besides all that it has; with `only`, of what it has nothing but that.
///
/// # Errors
/// If `text` is no such file.
pub fn approve(
    text: &str,
    approved: &[(PackageId, TreeDigest)],
    only: Option<&BTreeSet<PackageId>>,
) -> Result<String, PolicyError> {
    Approvals::parse(text)?;
    let wrong = |why: String| PolicyError::Approvals { why, place: None };
    let windows = text.contains("\r\n");
    let mut document: DocumentMut = if text.trim().is_empty() {
        HEAD.parse()
    } else {
        text.parse()
    }
    .map_err(|error: toml_edit::TomlError| wrong(error.message().to_owned()))?;
    if !document.contains_key("approved") {
        document.insert("approved", Item::Table(Table::new()));
        // What stood in a file without a table comes before it.
        let head = document.trailing().as_str().unwrap_or_default().to_owned();
        document.set_trailing("");
        if let Some(table) = document["approved"].as_table_mut() {
            table.decor_mut().set_prefix(head);
        }
    }
    let table = document["approved"]
        .as_table_like_mut()
        .ok_or_else(|| wrong("`approved` is no table".to_owned()))?;
    for (package, digest) in approved {
        table.insert(&key(package), toml_edit::value(digest.to_hex()));
    }
    if let Some(only) = only {
        let kept: BTreeSet<String> = only.iter().map(key).collect();
        let gone: Vec<String> = table
            .iter()
            .map(|(key, _)| key.to_owned())
            .filter(|key| !kept.contains(key))
            .collect();
        for key in gone {
            table.remove(&key);
        }
    }
    table.sort_values();
    let mut edited = document.to_string();
    if windows {
        edited = edited.replace("\r\n", "\n").replace('\n', "\r\n");
    }
    let means = Approvals::parse(&edited)?;
    let lost = approved
        .iter()
        .any(|(package, digest)| means.digests.get(&key(package)) != Some(digest));
    if lost {
        return Err(wrong(
            "it is written in a way that cannot be added to".to_owned(),
        ));
    }
    Ok(edited)
}

#[cfg(test)]
mod tests {
    use super::super::decide::tests::package;
    use super::*;

    fn digest(of: u8) -> TreeDigest {
        TreeDigest::from_bytes([of; 32])
    }

    fn running(package: PackageId, of: u8) -> Running {
        Running {
            package,
            digest: digest(of),
            roles: BTreeSet::from([Role::BuildScript]),
        }
    }

    #[test]
    fn a_line_for_each_package() {
        let [a, b] = [package("a", "1.0.0", true), package("b", "2.0.0", false)];
        let text = approve("", &[(b.clone(), digest(2)), (a.clone(), digest(1))], None).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('"')).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("\"a@1.0.0\" = \"0101"), "{text}");
        assert!(
            lines[1].starts_with("\"b@2.0.0 (https://registry.example.com/index)\""),
            "{text}"
        );
        assert!(text.starts_with("# Packages that may run"), "{text}");
        // Comments stay, an update is one line, and what is gone goes only when it is asked for.
        let mine = text.replace("[approved]\n", "[approved]\n# looked at by me\n");
        let newer = package("a", "1.0.1", true);
        let added = approve(&mine, &[(newer.clone(), digest(3))], None).unwrap();
        assert!(added.contains("# looked at by me\n\"a@1.0.0\""), "{added}");
        assert_eq!(added.lines().count(), mine.lines().count() + 1);
        let only = BTreeSet::from([newer.clone(), b.clone()]);
        let pruned = approve(&added, &[], Some(&only)).unwrap();
        assert!(
            !pruned.contains("a@1.0.0\"") && pruned.contains("a@1.0.1"),
            "{pruned}"
        );
        let windows = text.replace('\n', "\r\n");
        let edited = approve(&windows, &[(newer, digest(3))], None).unwrap();
        assert_eq!(edited.matches('\n').count(), edited.matches("\r\n").count());
    }

    #[test]
    fn what_counts_is_the_digest() {
        let [mine, theirs] = [package("a", "1.0.0", true), package("a", "1.0.0", false)];
        let text = approve("", &[(mine.clone(), digest(1))], None).unwrap();
        let approvals = Approvals::parse(&text).unwrap();
        let missing = |running| approvals.missing([running]);
        assert_eq!(missing(running(mine.clone(), 1)), []);
        assert!(missing(running(mine, 2))[0].other_content);
        assert!(!missing(running(theirs, 1))[0].other_content);
        for text in [
            "[approved]\na = 1",
            "[approve]\n",
            "[approved]\n\"a@1\" = \"00\"",
            "approved = []",
        ] {
            assert!(Approvals::parse(text).is_err(), "{text}");
            assert!(approve(text, &[], None).is_err(), "{text}");
        }
    }
}
