//! Bytes of a lock file to a [`Lock`].

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;

use semver::Version;
use serde::Deserialize;
use toml::Spanned;

use super::encode::comments;
use super::{Lock, LockError, LockVersion, LockedId, LockedPackage};
use crate::digest::{Claimed, Sha256};
use crate::manifest::model::Workspace;
use crate::manifest::source_text::source_from_text;
use crate::manifest::text::Place;
use crate::package::{PackageName, SourceId};

/// The file as TOML.
#[derive(Deserialize)]
struct RawLock<'a> {
    version: Option<Spanned<u32>>,
    #[serde(borrow)]
    root: Option<RawPackage<'a>>,
    #[serde(borrow, default)]
    package: Vec<RawPackage<'a>>,
    #[serde(borrow, default)]
    metadata: BTreeMap<Spanned<Text<'a>>, Spanned<Text<'a>>>,
    #[serde(borrow, default)]
    patch: RawPatch<'a>,
}

#[derive(Deserialize, Default)]
struct RawPatch<'a> {
    #[serde(borrow, default)]
    unused: Vec<RawPackage<'a>>,
}

#[derive(Deserialize)]
struct RawPackage<'a> {
    #[serde(borrow)]
    name: Spanned<Text<'a>>,
    #[serde(borrow)]
    version: Spanned<Text<'a>>,
    #[serde(borrow)]
    source: Option<Spanned<Text<'a>>>,
    #[serde(borrow)]
    checksum: Option<Spanned<Text<'a>>>,
    #[serde(borrow, default)]
    dependencies: Vec<Spanned<Text<'a>>>,
    #[serde(borrow)]
    replace: Option<Spanned<Text<'a>>>,
}

/// A string that stays borrowed where TOML's escapes allow it.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

/// `name`, `name version` or `name version (source)`.
struct Reference {
    name: PackageName,
    version: Option<Version>,
    source: Option<SourceId>,
}

struct Decoder<'a> {
    path: &'a Path,
    text: &'a str,
    sources: HashMap<String, SourceId>,
}

impl Decoder<'_> {
    fn entry_error(&self, range: Range<usize>, message: impl ToString) -> LockError {
        LockError::Entry {
            place: Place::new(self.path, self.text, range),
            message: message.to_string(),
        }
    }

    fn name(&self, text: &str, range: Range<usize>) -> Result<PackageName, LockError> {
        PackageName::new(text).map_err(|error| self.entry_error(range, error))
    }

    fn version(&self, text: &str, range: Range<usize>) -> Result<Version, LockError> {
        Version::parse(text)
            .map_err(|error| self.entry_error(range, format!("`{text}` is not a version: {error}")))
    }

    fn source(&mut self, text: &str, range: Range<usize>) -> Result<SourceId, LockError> {
        if let Some(source) = self.sources.get(text) {
            return Ok(source.clone());
        }
        let source = source_from_text(text).map_err(|error| self.entry_error(range, error))?;
        self.sources.insert(text.to_owned(), source.clone());
        Ok(source)
    }

    fn id(&mut self, package: &RawPackage<'_>) -> Result<LockedId, LockError> {
        let source = match &package.source {
            Some(source) => Some(self.source(&source.get_ref().0, source.span())?),
            None => None,
        };
        Ok(LockedId {
            name: self.name(&package.name.get_ref().0, package.name.span())?,
            version: self.version(&package.version.get_ref().0, package.version.span())?,
            // A path in a lock is a path package, whose directory the workspace knows.
            source: source.filter(|source| !source.is_path()),
        })
    }

    fn checksum(&self, package: &RawPackage<'_>) -> Result<Option<Claimed<Sha256>>, LockError> {
        package
            .checksum
            .as_ref()
            .map(|checksum| self.checksum_text(&checksum.get_ref().0, checksum.span()))
            .transpose()
    }

    fn checksum_text(&self, text: &str, range: Range<usize>) -> Result<Claimed<Sha256>, LockError> {
        text.parse().map(Claimed).map_err(|_| {
            self.entry_error(
                range,
                format!(
                    "`{text}` is not a checksum: 64 lower-case hexadecimal digits are expected"
                ),
            )
        })
    }

    fn reference(&mut self, text: &str, range: Range<usize>) -> Result<Reference, LockError> {
        let mut parts = text.splitn(3, ' ');
        let name = self.name(parts.next().unwrap_or_default(), range.clone())?;
        let version = parts
            .next()
            .map(|version| self.version(version, range.clone()))
            .transpose()?;
        let source = match parts.next() {
            None => None,
            Some(part) => {
                let source = part
                    .strip_prefix('(')
                    .and_then(|part| part.strip_suffix(')'))
                    .ok_or_else(|| {
                        self.entry_error(
                            range.clone(),
                            format!("`{text}` is not `name version (source)`"),
                        )
                    })?;
                Some(self.source(source, range)?)
            }
        };
        Ok(Reference {
            name,
            version,
            source,
        })
    }
}

/// The packages by name and version, to look references up. Looking one up may show that the lock is of version 2.
struct Index<'a> {
    by_name: HashMap<&'a str, BTreeMap<&'a Version, Vec<&'a LockedId>>>,
}

impl<'a> Index<'a> {
    fn new(ids: impl Iterator<Item = &'a LockedId>) -> Self {
        let mut by_name: HashMap<&str, BTreeMap<&Version, Vec<&LockedId>>> = HashMap::new();
        for id in ids {
            by_name
                .entry(id.name.as_str())
                .or_default()
                .entry(&id.version)
                .or_default()
                .push(id);
        }
        Self { by_name }
    }

    /// The one package that `reference` means; none or several are no package, since a bad merge leaves such.
    fn find(&self, reference: &Reference, version: &mut LockVersion) -> Option<LockedId> {
        let by_version = self.by_name.get(reference.name.as_str())?;
        let candidates = match &reference.version {
            Some(wanted) => by_version.get(wanted)?,
            None => {
                *version = (*version).max(LockVersion::V2);
                match by_version.len() {
                    1 => by_version.values().next()?,
                    _ => return None,
                }
            }
        };
        match &reference.source {
            Some(source) => {
                let wanted = (!source.is_path()).then(|| source.with_precise(None));
                candidates
                    .iter()
                    .find(|id| id.source.as_ref().map(|source| source.with_precise(None)) == wanted)
                    .map(|id| (*id).clone())
            }
            None => match (
                candidates.iter().find(|id| id.source.is_none()),
                &**candidates,
            ) {
                (Some(path), _) => Some((*path).clone()),
                (None, [only]) => {
                    *version = (*version).max(LockVersion::V2);
                    Some((*only).clone())
                }
                _ => None,
            },
        }
    }
}

impl Lock {
    /// Parses the text of the lock file at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, LockError> {
        Self::parse_with(path, text, |_, _| true)
    }

    /// Parses the text of the lock file at `path` for `workspace`, leaving out path packages that it has not (any
    /// more): as in cargo, a name in a list of dependencies may then mean another package.
    pub fn parse_for(path: &Path, text: &str, workspace: &Workspace) -> Result<Self, LockError> {
        let paths = super::locate::PathPackages::of(workspace);
        Self::parse_with(path, text, |name, version| {
            paths.find(name, version).is_some()
        })
    }

    /// Reads the lock file of `workspace`, if there is one. The text is returned too, since rewriting compares it.
    pub fn read(workspace: &Workspace) -> Result<Option<(Self, String)>, LockError> {
        let path = workspace.lock_path();
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some((Self::parse_for(&path, &text, workspace)?, text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LockError::Read { path, source }),
        }
    }

    fn parse_with(
        path: &Path,
        text: &str,
        keeps_path_package: impl Fn(&PackageName, &Version) -> bool,
    ) -> Result<Self, LockError> {
        let raw: RawLock<'_> =
            toml::from_str(text).map_err(|error| toml_error(path, text, &error))?;
        let mut decoder = Decoder {
            path,
            text,
            sources: HashMap::new(),
        };
        let mut version = match &raw.version {
            None => LockVersion::V1,
            Some(number) => match *number.get_ref() {
                3 => LockVersion::V3,
                4 => LockVersion::V4,
                other => {
                    return Err(LockError::Version {
                        place: Place::new(path, text, number.span()),
                        version: other,
                    });
                }
            },
        };

        let mut packages: BTreeMap<LockedId, LockedPackage> = BTreeMap::new();
        let mut raw_packages = Vec::with_capacity(raw.package.len() + 1);
        for package in raw.root.iter().chain(&raw.package) {
            let id = decoder.id(package)?;
            if packages.contains_key(&id) {
                return Err(decoder.entry_error(
                    package.name.span(),
                    format!("package `{}` is there twice", id.name),
                ));
            }
            let checksum = decoder.checksum(package)?;
            if checksum.is_some() {
                version = version.max(LockVersion::V2);
            }
            let locked = LockedPackage {
                checksum,
                ..LockedPackage::default()
            };
            raw_packages.push((package, id.clone()));
            packages.insert(id, locked);
        }
        raw_packages.retain(|(_, id)| {
            let keeps = id.source.is_some() || keeps_path_package(&id.name, &id.version);
            if !keeps {
                packages.remove(id);
            }
            keeps
        });

        let ids: Vec<LockedId> = packages.keys().cloned().collect();
        let index = Index::new(ids.iter());
        for (package, id) in &raw_packages {
            let mut dependencies = Vec::with_capacity(package.dependencies.len());
            for dependency in &package.dependencies {
                let reference = decoder.reference(&dependency.get_ref().0, dependency.span())?;
                dependencies.extend(index.find(&reference, &mut version));
            }
            dependencies.sort();
            dependencies.dedup();
            let replace = match &package.replace {
                Some(replace) => {
                    let reference = decoder.reference(&replace.get_ref().0, replace.span())?;
                    index.find(&reference, &mut version)
                }
                None => None,
            };
            if let Some(locked) = packages.get_mut(id) {
                locked.dependencies = dependencies;
                locked.replace = replace;
            }
        }

        let mut metadata = BTreeMap::new();
        let mut checksums = Vec::new();
        let mut has_checksums = false;
        for (key, value) in &raw.metadata {
            match key.get_ref().0.strip_prefix("checksum ") {
                None => {
                    metadata.insert(
                        key.get_ref().0.clone().into_owned(),
                        value.get_ref().0.clone().into_owned(),
                    );
                }
                Some(package) => {
                    has_checksums = true;
                    let reference = decoder.reference(package, key.span())?;
                    let checksum = match &*value.get_ref().0 {
                        "<none>" => None,
                        checksum => Some(decoder.checksum_text(checksum, value.span())?),
                    };
                    if let Some(id) = index.find(&reference, &mut version) {
                        checksums.push((id, checksum));
                    }
                }
            }
        }
        if has_checksums {
            // Checksums in both places are the work of a bad merge: cargo trusts neither.
            if version >= LockVersion::V2 {
                packages
                    .values_mut()
                    .for_each(|package| package.checksum = None);
            } else {
                for (id, checksum) in checksums {
                    if let Some(package) = packages.get_mut(&id) {
                        package.checksum = checksum;
                    }
                }
            }
        }

        let mut unused_patches = Vec::with_capacity(raw.patch.unused.len());
        for package in &raw.patch.unused {
            let id = decoder.id(package)?;
            if id.source.is_some() || keeps_path_package(&id.name, &id.version) {
                unused_patches.push(id);
            }
        }

        // With one package and no dependency nothing else tells version 2 from 1: version 1 ended in an empty line. (One
        // that ended in its table of checksums is taken for version 2 as well, as by cargo.)
        if version == LockVersion::V1
            && packages.len() == 1
            && text.ends_with('\n')
            && !text.ends_with("\n\n")
        {
            version = LockVersion::V2;
        }
        Ok(Self {
            version,
            packages,
            unused_patches,
            metadata,
            comments: comments(text),
        })
    }
}

fn toml_error(path: &Path, text: &str, error: &toml::de::Error) -> LockError {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ") {
            let end = start + line.trim_end().len();
            return LockError::Conflict(Place::new(path, text, start..end));
        }
        start += line.len();
    }
    LockError::Toml {
        place: Place::new(path, text, error.span().unwrap_or(0..0)),
        message: error.message().to_owned(),
    }
}
