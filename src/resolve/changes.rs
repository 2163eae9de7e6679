//! What a new resolution changes in the lock, for those who tell about it: which packages came, went and moved, and
//! what is worth saying of each. Source: cargo's `cargo_update`.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, VecDeque};

use cargo_util_schemas::core::PartialVersion;
use semver::{Comparator, Op, Version, VersionReq};

use super::fresh::Options;
use super::graph::Resolve;
use crate::manifest::model::{ResolverVersion, Workspace};
use crate::package::{Offer, PackageId, PackageName, SourceId};

/// How a package changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It has a higher version (or another commit).
    Upgraded,
    /// It has a lower version.
    Downgraded,
    /// It is as it was.
    Unchanged,
}

impl ChangeKind {
    /// Whether something is there that was not.
    pub fn is_new(self) -> bool {
        matches!(self, Self::Added | Self::Upgraded | Self::Downgraded)
    }

    /// The word for it in a status line.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Added => "Adding",
            Self::Removed => "Removing",
            Self::Upgraded => "Updating",
            Self::Downgraded => "Downgrading",
            Self::Unchanged => "Unchanged",
        }
    }
}

/// One package of the old or the new lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The package as it is now, or as it was if it is gone.
    pub package: PackageId,
    /// What it was before, if that can be told.
    pub previous: Option<PackageId>,
    /// How it changed.
    pub kind: ChangeKind,
    /// Whether it is a member of the workspace.
    pub is_member: bool,
    /// Whether no member depends on it directly.
    pub is_transitive: bool,
    /// The Rust version that it should get along with.
    required: Option<PartialVersion>,
}

/// All packages of one name and source.
#[derive(Default)]
struct Versions<'a> {
    old: Vec<&'a PackageId>,
    new: Vec<&'a PackageId>,
}

/// How `resolve` differs from `previous`, the packages of the old lock, if there was one.
pub fn changes<'a>(
    workspace: &Workspace,
    previous: impl Iterator<Item = &'a PackageId>,
    resolve: &Resolve,
    options: &Options,
) -> Vec<Change> {
    let previous: Vec<PackageId> = previous.cloned().collect();
    let mut by_name: BTreeMap<(&PackageName, SourceId), Versions<'_>> = BTreeMap::new();
    let key = |id: &'_ PackageId| id.source().with_precise(None);
    for id in &previous {
        by_name
            .entry((id.name(), key(id)))
            .or_default()
            .old
            .push(id);
    }
    for id in resolve.packages.keys() {
        by_name
            .entry((id.name(), key(id)))
            .or_default()
            .new
            .push(id);
    }
    let mut all = Vec::with_capacity(resolve.packages.len());
    for versions in by_name.values() {
        let not_in = |ids: &[&PackageId], others: &[&PackageId]| -> Vec<PackageId> {
            let missing = ids.iter().filter(|id| !others.contains(id));
            missing.map(|id| (*id).clone()).collect()
        };
        let removed = not_in(&versions.old, &versions.new);
        let added = not_in(&versions.new, &versions.old);
        let change = |package: &PackageId, previous: Option<&PackageId>, kind| Change {
            package: package.clone(),
            previous: previous.cloned(),
            kind,
            is_member: kind != ChangeKind::Removed && workspace.is_member(package),
            is_transitive: true,
            required: None,
        };
        if let ([from], [to]) = (&*removed, &*added) {
            let order = from.version().cmp_precedence(to.version());
            let kind = match order {
                Ordering::Greater => ChangeKind::Downgraded,
                Ordering::Less | Ordering::Equal => ChangeKind::Upgraded,
            };
            all.push(change(to, Some(from), kind));
        } else {
            all.extend(
                removed
                    .iter()
                    .map(|id| change(id, None, ChangeKind::Removed)),
            );
            all.extend(added.iter().map(|id| change(id, None, ChangeKind::Added)));
        }
        let unchanged = versions.new.iter().filter(|id| versions.old.contains(id));
        all.extend(unchanged.map(|id| change(id, None, ChangeKind::Unchanged)));
    }
    let index: HashMap<PackageId, usize> = all
        .iter()
        .enumerate()
        .map(|(index, change)| (change.package.clone(), index))
        .collect();
    for member in &workspace.members {
        let direct = resolve
            .dependencies_of(member)
            .iter()
            .map(|edge| &edge.package);
        for id in direct.chain([member]) {
            if let Some(&index) = index.get(id) {
                all[index].is_transitive = false;
            }
        }
    }
    require_rust_versions(workspace, resolve, options, &index, &mut all);
    all
}

/// Whether `rust-version` counts in the choice of versions.
fn honors_rust_version(workspace: &Workspace, options: &Options) -> bool {
    options
        .honor_rust_version
        .unwrap_or(workspace.resolver == ResolverVersion::V3)
}

/// The Rust version that versions were chosen for, if that counted.
pub fn rust_version_chosen_for(workspace: &Workspace, options: &Options) -> Option<PartialVersion> {
    honors_rust_version(workspace, options).then(|| {
        workspace
            .members
            .iter()
            .filter_map(|id| workspace.package(id).summary.rust_version.as_ref())
            .min()
            .map_or_else(
                || options.rustc.clone().into(),
                |lowest| lowest.to_partial(),
            )
    })
}

fn require_rust_versions(
    workspace: &Workspace,
    resolve: &Resolve,
    options: &Options,
    index: &HashMap<PackageId, usize>,
    all: &mut [Change],
) {
    let rustc: PartialVersion = options.rustc.clone().into();
    if !honors_rust_version(workspace, options) {
        for change in all {
            change.required = Some(rustc.clone());
        }
        return;
    }
    let mut open: VecDeque<(PartialVersion, &PackageId)> = workspace
        .members
        .iter()
        .map(|id| {
            let own = workspace.package(id).summary.rust_version.as_ref();
            (own.map_or_else(|| rustc.clone(), |v| v.to_partial()), id)
        })
        .collect();
    while let Some((version, id)) = open.pop_front() {
        let Some(&index) = index.get(id) else {
            continue;
        };
        let change = &mut all[index];
        if change
            .required
            .as_ref()
            .is_some_and(|known| *known <= version)
        {
            continue;
        }
        change.required = Some(version.clone());
        let edges = resolve.dependencies_of(id).iter();
        open.extend(edges.map(|edge| (version.clone(), &edge.package)));
    }
}

impl Change {
    /// That the package needs a newer Rust than it should: ` (requires Rust 1.80)`.
    pub fn too_new(&self, resolve: &Resolve) -> Option<String> {
        if self.package.source().is_path() {
            return None;
        }
        let needs = resolve.packages.get(&self.package)?.rust_version.as_ref()?;
        let required = self.required.as_ref()?;
        (!needs.is_compatible_with(required)).then(|| format!(" (requires Rust {needs})"))
    }

    /// That there is a later version than the one chosen: ` (available: v2.0.0)`. `versions` are those of the registry.
    pub fn later(&self, versions: &[Offer]) -> Option<String> {
        if !self.package.source().is_registry() {
            return None;
        }
        let own = self.package.version();
        let caret = caret(own);
        let fits = |offer: &&Offer| match (offer.rust_version(), &self.required) {
            (Some(needs), Some(required)) => needs.is_compatible_with(required),
            _ => true,
        };
        let usable = || versions.iter().filter(|offer| !offer.yanked());
        let compatible = |offer: &&Offer| {
            let version = offer.version();
            version != own && caret.matches(version)
        };
        let newer = |offer: &&Offer| {
            let version = offer.version();
            !self.is_transitive && is_later(version, own)
        };
        let plain = usable()
            .filter(fits)
            .filter(compatible)
            .max_by_key(|offer| offer.version())
            .or_else(|| {
                usable()
                    .filter(fits)
                    .filter(newer)
                    .max_by_key(|offer| offer.version())
            });
        if let Some(offer) = plain {
            return Some(format!(" (available: v{})", offer.version()));
        }
        let other = usable()
            .filter(compatible)
            .max_by_key(|offer| offer.version())
            .or_else(|| usable().filter(newer).max_by_key(|offer| offer.version()))?;
        let needs = other
            .rust_version()
            .map_or(String::new(), |needs| format!(", requires Rust {needs}"));
        Some(format!(" (available: v{}{needs})", other.version()))
    }
}

/// All versions that are semver-compatible with `version`.
fn caret(version: &Version) -> VersionReq {
    VersionReq {
        comparators: vec![Comparator {
            op: Op::Caret,
            major: version.major,
            minor: Some(version.minor),
            patch: Some(version.patch),
            pre: version.pre.clone(),
        }],
    }
}

/// Whether `candidate` is later than `current`; pre-releases count only of the same version.
fn is_later(candidate: &Version, current: &Version) -> bool {
    let same =
        |a: &Version, b: &Version| (a.major, a.minor, a.patch) == (b.major, b.minor, b.patch);
    current < candidate && (candidate.pre.is_empty() || same(candidate, current))
}
