//! What an update changes in capability: two locks, and what is known of the packages in which they differ.
//!
//! Nothing here looks at a package; whoever does tells what it is ([`Known`]). What cannot be told is who may publish a
//! crate: no index says so, and a hijacked account looks like its owner.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use crate::package::{PackageId, PackageName, SourceId};

/// A package of a lock; one without a source is on disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locked {
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// Where it comes from.
    pub source: Option<SourceId>,
}

impl Locked {
    /// The package's id, if it is not on disk.
    pub fn id(&self) -> Option<PackageId> {
        let source = self.source.clone()?;
        Some(PackageId::new(
            self.name.clone(),
            self.version.clone(),
            source,
        ))
    }

    /// The source without a commit.
    fn origin(&self) -> Option<SourceId> {
        self.source.as_ref().map(|source| source.with_precise(None))
    }

    /// Where it comes from, for people.
    pub fn source_in_words(&self) -> String {
        let source = self.source.as_ref();
        source.map_or_else(|| "a directory".to_owned(), SourceId::words)
    }
}

impl std::fmt::Display for Locked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// What a lock says of a package besides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// The digest of its archive.
    pub checksum: Option<String>,
    /// What it depends on.
    pub dependencies: Vec<Locked>,
}

/// The packages of a lock.
pub type Listing = BTreeMap<Locked, Entry>;

/// What is known of a package that was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The digest of its build script, if it has one.
    pub build_script: Option<String>,
    /// Whether it is a procedural macro.
    pub proc_macro: bool,
    /// The native library that it says to link.
    pub links: Option<String>,
    /// What policy grants it, and the build scripts that use it.
    pub grants: BTreeSet<String>,
    /// The packages that its build script, or the procedural macro that it is, is made of.
    pub made_of: BTreeSet<PackageName>,
    /// Whether its registry has withdrawn it; `None` if no index says anything of it.
    pub yanked: Option<bool>,
    /// Why it could not be looked at.
    pub problem: Option<String>,
}

/// What there may be to say of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// The package was not there.
    NewPackage,
    /// It has a build script, and had none.
    NewBuildScript,
    /// Its build script is another.
    ChangedBuildScript,
    /// It is a procedural macro, and was none.
    NewProcMacro,
    /// It is a procedural macro in another version, so other code runs in the compiler.
    ChangedProcMacro,
    /// It runs as part of a build script or procedural macro that was not made of it.
    NewBuildDependency,
    /// It links a native library that it did not link.
    NewLinks,
    /// Policy grants it something that it was not granted.
    NewGrants,
    /// It comes from somewhere else.
    SourceChanged,
    /// The same version has another archive.
    ChecksumChanged,
    /// Its registry has withdrawn it.
    Yanked,
    /// The registry has withdrawn the version before.
    WasYanked,
    /// Its name is nearly that of another package.
    SimilarName,
    /// It could not be looked at.
    Unavailable,
}

impl FindingKind {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::NewPackage,
        Self::NewBuildScript,
        Self::ChangedBuildScript,
        Self::NewProcMacro,
        Self::ChangedProcMacro,
        Self::NewBuildDependency,
        Self::NewLinks,
        Self::NewGrants,
        Self::SourceChanged,
        Self::ChecksumChanged,
        Self::Yanked,
        Self::WasYanked,
        Self::SimilarName,
        Self::Unavailable,
    ];

    /// The name that command lines and JSON use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NewPackage => "new-packages",
            Self::NewBuildScript => "new-build-scripts",
            Self::ChangedBuildScript => "changed-build-scripts",
            Self::NewProcMacro => "new-proc-macros",
            Self::ChangedProcMacro => "changed-proc-macros",
            Self::NewBuildDependency => "new-build-dependencies",
            Self::NewLinks => "new-links",
            Self::NewGrants => "new-grants",
            Self::SourceChanged => "source-changes",
            Self::ChecksumChanged => "checksum-changes",
            Self::Yanked => "yanked",
            Self::WasYanked => "was-yanked",
            Self::SimilarName => "similar-names",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Something to say of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// In words. What is in it may be anybody's text.
    pub text: String,
}

/// A package that one lock has and the other has not, or has otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// As it was.
    pub old: Option<Locked>,
    /// As it is.
    pub new: Option<Locked>,
    /// What depends on it now.
    pub needed_by: Vec<Locked>,
    /// What there is to say.
    pub findings: Vec<Finding>,
}

/// The packages in which `old` and `new` differ, those of one name in pairs: an update takes the place of the version
/// that it is compatible with, otherwise of any that is gone.
pub fn pairs(old: &Listing, new: &Listing) -> Vec<(Option<Locked>, Option<Locked>)> {
    let mut pairs = Vec::new();
    for (id, entry) in new {
        let before = old.get(id).and_then(|before| before.checksum.as_ref());
        if let (Some(before), Some(now)) = (before, &entry.checksum)
            && before != now
        {
            pairs.push((Some(id.clone()), Some(id.clone())));
        }
    }
    let only = |these: &Listing, those: &Listing| -> Vec<Locked> {
        these
            .keys()
            .filter(|id| !those.contains_key(id))
            .cloned()
            .collect()
    };
    let mut gone = only(old, new);
    let compatible = |a: &Version, b: &Version| {
        (a.major, b.major) == (0, 0) && a.minor == b.minor || a.major == b.major && a.major > 0
    };
    let mut come: Vec<(Option<Locked>, Locked)> =
        only(new, old).into_iter().map(|id| (None, id)).collect();
    for strict in [true, false] {
        for (partner, id) in come.iter_mut().filter(|(partner, _)| partner.is_none()) {
            let fits = |other: &Locked| {
                other.name == id.name && (!strict || compatible(&other.version, &id.version))
            };
            *partner = gone.iter().position(fits).map(|at| gone.remove(at));
        }
    }
    pairs.extend(come.into_iter().map(|(old, new)| (old, Some(new))));
    pairs.extend(gone.into_iter().map(|id| (Some(id), None)));
    // Packages on disk come and go with the user's own work.
    let is_foreign = |one: &Option<Locked>| one.as_ref().is_some_and(|one| one.source.is_some());
    pairs.retain(|(old, new)| is_foreign(old) || is_foreign(new));
    let name = |pair: &(Option<Locked>, Option<Locked>)| pair.1.clone().or_else(|| pair.0.clone());
    pairs.sort_by_key(name);
    pairs
}

/// What there is to say of the differences between `old` and `new`. `known` has every package of [`pairs`] that is not on
/// disk.
pub fn changes(
    old: &Listing,
    new: &Listing,
    known: &dyn Fn(bool, &Locked) -> Known,
) -> Vec<Change> {
    let pairs = pairs(old, new);
    let mut parts: [BTreeMap<PackageName, BTreeSet<String>>; 2] = Default::default();
    for (before, after) in &pairs {
        for (part, package, is_new) in [(0, before, false), (1, after, true)] {
            let Some(package) = package else { continue };
            for name in known(is_new, package).made_of {
                parts[part]
                    .entry(name)
                    .or_default()
                    .insert(package.name.to_string());
            }
        }
    }
    let parts = &parts;
    pairs
        .into_iter()
        .map(|(before, after)| {
            let findings = match &after {
                None => Vec::new(),
                Some(now) => {
                    let seen = |is_new, package: &Locked| known(is_new, package);
                    let mut findings = findings(
                        before.as_ref().map(|before| (before, seen(false, before))),
                        (now, seen(true, now)),
                    );
                    let of = parts[1].get(&now.name);
                    let was = parts[0].get(&now.name);
                    let of: Vec<&str> = of
                        .into_iter()
                        .flatten()
                        .filter(|user| was.is_none_or(|was| !was.contains(*user)))
                        .map(String::as_str)
                        .collect();
                    if !of.is_empty() && now.source.is_some() {
                        findings.push(Finding {
                            kind: FindingKind::NewBuildDependency,
                            text: format!(
                                "runs as part of what {} runs when it is built",
                                of.join(", ")
                            ),
                        });
                    }
                    if before.is_none()
                        && let Some(near) = similar(now, new)
                    {
                        findings.push(Finding {
                            kind: FindingKind::SimilarName,
                            text: format!("its name is nearly that of `{near}`"),
                        });
                    }
                    findings
                }
            };
            let needed_by = match (&before, &after) {
                (None, Some(now)) => dependents(new, now),
                _ => Vec::new(),
            };
            Change {
                old: before,
                new: after,
                needed_by,
                findings,
            }
        })
        .collect()
}

fn dependents(listing: &Listing, of: &Locked) -> Vec<Locked> {
    listing
        .iter()
        .filter(|(_, entry)| entry.dependencies.contains(of))
        .map(|(id, _)| id.clone())
        .collect()
}

/// Another package whose name differs in one letter, or in how it is put together.
fn similar<'a>(new: &Locked, listing: &'a Listing) -> Option<&'a PackageName> {
    let plain = |name: &str| name.replace(['-', '_'], "").to_lowercase();
    let name = new.name.as_str();
    listing.keys().map(|other| &other.name).find(|other| {
        let other = other.as_str();
        other != name
            && name.len() > 4
            && (plain(other) == plain(name) || strsim::damerau_levenshtein(other, name) == 1)
    })
}

fn findings(old: Option<(&Locked, Known)>, (new, now): (&Locked, Known)) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |kind, text: String| findings.push(Finding { kind, text });
    let was = old.as_ref().map(|(_, was)| was.clone()).unwrap_or_default();
    match &old {
        None => say(
            FindingKind::NewPackage,
            format!("comes from {}", new.source_in_words()),
        ),
        Some((before, _)) => {
            if before.origin() != new.origin() {
                say(
                    FindingKind::SourceChanged,
                    format!(
                        "came from {}, comes from {}",
                        before.source_in_words(),
                        new.source_in_words()
                    ),
                );
            }
            if *before == new {
                say(
                    FindingKind::ChecksumChanged,
                    "the same version has another archive: whoever published it cannot do that, so somebody has \
                     changed the registry or the lock"
                        .to_owned(),
                );
            }
            if was.yanked == Some(true) {
                say(
                    FindingKind::WasYanked,
                    format!("{} has been withdrawn from its registry", before.version),
                );
            }
        }
    }
    if let Some(problem) = &now.problem {
        say(
            FindingKind::Unavailable,
            format!("cannot be looked at: {problem}"),
        );
    }
    if now.yanked == Some(true) {
        say(
            FindingKind::Yanked,
            "has been withdrawn from its registry".to_owned(),
        );
    }
    match (&was.build_script, &now.build_script) {
        (None, Some(_)) => say(
            FindingKind::NewBuildScript,
            "has a build script, which runs when it is built".to_owned(),
        ),
        (Some(was), Some(now)) if was != now => say(
            FindingKind::ChangedBuildScript,
            "its build script is another".to_owned(),
        ),
        _ => {}
    }
    if now.proc_macro && !was.proc_macro {
        say(
            FindingKind::NewProcMacro,
            "is a procedural macro, which runs in the compiler of what uses it".to_owned(),
        );
    }
    if now.proc_macro && was.proc_macro {
        say(
            FindingKind::ChangedProcMacro,
            "is a procedural macro: other code runs in the compiler of what uses it".to_owned(),
        );
    }
    if let Some(links) = &now.links
        && was.links.as_ref() != Some(links)
    {
        say(
            FindingKind::NewLinks,
            format!("links the native library `{links}`"),
        );
    }
    let grants: Vec<&str> = now
        .grants
        .difference(&was.grants)
        .map(String::as_str)
        .collect();
    if !grants.is_empty() {
        say(
            FindingKind::NewGrants,
            format!("is granted {}", grants.join(", ")),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(name: &str, version: &str, on_disk: bool) -> Locked {
        Locked {
            name: PackageName::new(name).unwrap(),
            version: version.parse().unwrap(),
            source: (!on_disk).then(SourceId::default_registry),
        }
    }

    fn listing(packages: &[(&str, &str, &str)]) -> Listing {
        packages
            .iter()
            .map(|(name, version, checksum)| {
                let entry = Entry {
                    checksum: Some((*checksum).to_owned()),
                    dependencies: Vec::new(),
                };
                (locked(name, version, false), entry)
            })
            .collect()
    }

    #[test]
    fn versions_that_take_each_others_place() {
        let old = listing(&[
            ("a", "1.0.0", "x"),
            ("a", "0.3.1", "x"),
            ("b", "1.0.0", "x"),
            ("c", "1.0.0", "x"),
        ]);
        let new = listing(&[
            ("a", "0.3.2", "x"),
            ("a", "2.0.0", "x"),
            ("c", "1.0.0", "y"),
            ("d", "1.0.0", "x"),
        ]);
        let pairs: Vec<String> = pairs(&old, &new)
            .iter()
            .map(|(old, new)| {
                let text =
                    |one: &Option<Locked>| one.as_ref().map_or("-".to_owned(), Locked::to_string);
                format!("{} > {}", text(old), text(new))
            })
            .collect();
        assert_eq!(
            pairs,
            [
                "a 0.3.1 > a 0.3.2",
                "a 1.0.0 > a 2.0.0",
                "b 1.0.0 > -",
                "c 1.0.0 > c 1.0.0",
                "- > d 1.0.0"
            ]
        );
    }

    #[test]
    fn what_there_is_to_say() {
        let mut old = listing(&[
            ("good", "1.0.0", "x"),
            ("proc-macro2", "1.0.0", "x"),
            ("same", "1.0.0", "x"),
        ]);
        let mut new = listing(&[
            ("good", "1.0.1", "x"),
            ("proc-macro2", "1.0.0", "x"),
            ("proc-macro1", "1.0.0", "x"),
            ("same", "1.0.0", "y"),
        ]);
        old.insert(locked("moved", "1.0.0", true), Entry::default());
        new.insert(locked("moved", "1.0.0", false), Entry::default());
        let evil = locked("proc-macro1", "1.0.0", false);
        if let Some(entry) = new.get_mut(&locked("good", "1.0.1", false)) {
            entry.dependencies.push(evil.clone());
        }
        let known = |is_new: bool, package: &Locked| match (package.name.as_str(), is_new) {
            ("good", false) => Known {
                yanked: Some(true),
                ..Known::default()
            },
            ("good", true) => Known {
                build_script: Some("1".to_owned()),
                made_of: BTreeSet::from([PackageName::new("proc-macro1").unwrap()]),
                links: Some("z".to_owned()),
                grants: BTreeSet::from(["exec sh".to_owned()]),
                ..Known::default()
            },
            ("proc-macro1", _) => Known {
                proc_macro: true,
                yanked: Some(true),
                problem: Some("gone".to_owned()),
                ..Known::default()
            },
            _ => Known::default(),
        };
        let changes = changes(&old, &new, &known);
        let said: Vec<(String, Vec<FindingKind>)> = changes
            .iter()
            .map(|change| {
                let kinds = change.findings.iter().map(|finding| finding.kind).collect();
                (change.new.as_ref().unwrap().name.to_string(), kinds)
            })
            .collect();
        use FindingKind as K;
        assert_eq!(
            said,
            [
                (
                    "good".to_owned(),
                    vec![K::WasYanked, K::NewBuildScript, K::NewLinks, K::NewGrants]
                ),
                ("moved".to_owned(), vec![K::SourceChanged]),
                (
                    "proc-macro1".to_owned(),
                    vec![
                        K::NewPackage,
                        K::Unavailable,
                        K::Yanked,
                        K::NewProcMacro,
                        K::NewBuildDependency,
                        K::SimilarName
                    ]
                ),
                ("same".to_owned(), vec![K::ChecksumChanged]),
            ]
        );
        assert_eq!(changes[2].needed_by, [locked("good", "1.0.1", false)]);
        let names: BTreeSet<&str> = K::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), K::ALL.len());
    }
}
