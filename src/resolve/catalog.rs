//! Everything that one resolution knows, looked up as it is needed and remembered: the versions of each package with
//! `[patch]` applied, which of them a dependency takes and in which order they are tried, and what the previous lock
//! says of them.
//!
//! Packages and summaries are numbered, so that both the search and the solver compare numbers and sets of positions
//! rather than names and version requirements.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use semver::{Version, VersionReq};

use super::activate::{Activation, ActivationError, Request, activate};
use super::error::ResolveError;
use super::graph::Replaced;
use super::indices::Indices;
use super::patch::Patches;
use super::preference::{Preference, matches, matches_elsewhere, satisfies, without_commit};
use super::previous::Previous;
use super::versions::Versions;
use crate::manifest::model::Workspace;
use crate::package::{Dependency, Offer, PackageId, PackageName, SourceId, Summary};

/// A package of one source: all its versions, and those that `[patch]` adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PackageIndex(pub(super) u32);

/// One version of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeIndex(pub(super) u32);

/// What two versions have in common if cargo holds them compatible: everything up to the first number that is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Compatibility {
    /// `N.x.x`
    Major(u64),
    /// `0.N.x`
    Minor(u64),
    /// `0.0.N`
    Patch(u64),
}

impl Compatibility {
    /// The range that `version` lies in.
    pub(super) fn of(version: &Version) -> Self {
        match (version.major, version.minor, version.patch) {
            (0, 0, patch) => Self::Patch(patch),
            (0, minor, _) => Self::Minor(minor),
            (major, _, _) => Self::Major(major),
        }
    }
}

/// One package with one range of compatible versions: at most one of them is in a graph.
pub(super) type Bucket = (PackageIndex, Compatibility);

/// What a dependency really asks for, given the previous lock.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Requirement {
    /// Any version, pre-releases too.
    Any,
    /// What the manifest says.
    Range(VersionReq),
    /// The version that the lock states.
    Locked(Version),
}

/// The versions that a dependency takes.
#[derive(Debug)]
pub(super) struct Candidates {
    /// Where they are to be found.
    pub(super) package: PackageIndex,
    /// Positions in the package's list, the one to try first coming first.
    pub(super) ordered: Vec<u32>,
    /// The same positions.
    pub(super) set: Indices,
    /// The ranges of compatible versions that they lie in.
    pub(super) ranges: BTreeSet<Compatibility>,
}

#[derive(Debug)]
struct PackageEntry {
    name: PackageName,
    source: SourceId,
    /// The usable versions, ascending; none until somebody needs them.
    versions: Option<Vec<NodeIndex>>,
    /// The versions that are there, but withdrawn.
    yanked: Vec<Version>,
}

#[derive(Debug)]
struct Node {
    offer: Offer,
    /// The package of its own source; where it patches another, it is a version of that one too.
    package: PackageIndex,
    /// For each dependency what it takes, once somebody asked; empty until then.
    candidates: Vec<Option<Rc<Candidates>>>,
}

/// A package of the previous lock, and those that it stays locked to depend on.
struct LockedPackage {
    id: PackageId,
    dependencies: Vec<PackageId>,
}

/// `cargo update --precise`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precise {
    /// A package of a registry: what was locked to `from` is to become `to`, withdrawn or not.
    Version {
        /// The package.
        name: PackageName,
        /// Its registry.
        source: SourceId,
        /// The version that the lock has.
        from: Version,
        /// The version that it is to have. Without build metadata it stands for all that differ in that only.
        to: Version,
    },
    /// All packages of a repository: they are to come from this commit.
    Commit {
        /// The repository, as a dependency names it.
        source: SourceId,
        /// The commit.
        commit: String,
    },
}

impl Precise {
    /// Whether `version` of `name` is what is asked for.
    fn wants(&self, package: &PackageName, from: &SourceId, version: &Version) -> bool {
        match self {
            Self::Version {
                name, source, to, ..
            } => {
                name == package
                    && source == from
                    && (to.major, to.minor, to.patch, &to.pre)
                        == (version.major, version.minor, version.patch, &version.pre)
                    && (to.build.is_empty() || to.build == version.build)
            }
            Self::Commit { .. } => false,
        }
    }

    /// Whether it concerns a dependency that so far was, or could be, locked to the version to be replaced.
    fn concerns(&self, dependency: &Dependency, requirement: &Requirement) -> bool {
        match self {
            Self::Version {
                name, source, from, ..
            } => {
                *name == dependency.package
                    && *source == dependency.source
                    && match requirement {
                        Requirement::Locked(version) => version == from,
                        Requirement::Any | Requirement::Range(_) => satisfies(dependency, from),
                    }
            }
            Self::Commit { .. } => false,
        }
    }
}

/// See the module.
pub(super) struct Catalog<'a> {
    pub(super) workspace: &'a Workspace,
    versions: &'a mut dyn Versions,
    preference: Preference,
    patches: Patches,
    precise: Vec<Precise>,
    /// The packages that stay locked, by name and source: each with the packages that it stays locked to.
    locked: HashMap<(PackageName, SourceId), Vec<LockedPackage>>,
    /// Withdrawn versions that may be used since the lock has them.
    allowed_yanked: HashSet<PackageId>,
    packages: Vec<PackageEntry>,
    by_name: HashMap<(PackageName, SourceId), PackageIndex>,
    nodes: Vec<Node>,
    by_id: HashMap<PackageId, NodeIndex>,
    by_requirement: HashMap<(PackageIndex, Requirement), Rc<Candidates>>,
    /// What `[replace]` put others in the place of.
    replaced: BTreeMap<PackageId, Replaced>,
    activations: HashMap<NodeIndex, HashMap<Request, Result<Rc<Activation>, ActivationError>>>,
}

impl<'a> Catalog<'a> {
    /// An empty catalog. `previous` is what the lock says, without what is to be given up.
    pub(super) fn new(
        workspace: &'a Workspace,
        versions: &'a mut dyn Versions,
        preference: Preference,
        patches: Patches,
        previous: &Previous,
        precise: Vec<Precise>,
    ) -> Self {
        let mut locked: HashMap<_, Vec<LockedPackage>> = HashMap::new();
        for (id, dependencies) in &previous.locked {
            locked
                .entry((id.name().clone(), id.source().with_precise(None)))
                .or_default()
                .push(LockedPackage {
                    id: id.clone(),
                    dependencies: dependencies.clone(),
                });
        }
        Self {
            workspace,
            versions,
            preference,
            patches,
            precise,
            locked,
            allowed_yanked: previous.kept.iter().map(without_commit).collect(),
            packages: Vec::new(),
            by_name: HashMap::new(),
            nodes: Vec::new(),
            by_id: HashMap::new(),
            by_requirement: HashMap::new(),
            replaced: BTreeMap::new(),
            activations: HashMap::new(),
        }
    }

    /// The package `name` of `source`, whether there is such a one or not.
    pub(super) fn package(&mut self, name: &PackageName, source: &SourceId) -> PackageIndex {
        let key = (name.clone(), source.with_precise(None));
        if let Some(&index) = self.by_name.get(&key) {
            return index;
        }
        let index = PackageIndex(self.packages.len() as u32);
        let source = self.commit_of(name, source);
        self.packages.push(PackageEntry {
            name: name.clone(),
            source,
            versions: None,
            yanked: Vec::new(),
        });
        self.by_name.insert(key, index);
        index
    }

    /// `source` at the commit from which `name` is to come, if it is a repository: the one that the user asks for, or
    /// that the lock holds the package to, or others of the same repository. Else whoever is asked picks the newest.
    fn commit_of(&self, name: &PackageName, source: &SourceId) -> SourceId {
        if !source.is_git() || source.precise().is_some() {
            return source.clone();
        }
        for precise in &self.precise {
            if let Precise::Commit {
                source: wanted,
                commit,
            } = precise
                && wanted.with_precise(None) == *source
            {
                return source.with_precise(Some(commit.clone()));
            }
        }
        let of_package = self.locked.get(&(name.clone(), source.clone()));
        let of_others = self
            .locked
            .iter()
            .filter(|((_, other), _)| other == source)
            .min_by_key(|((name, _), _)| name)
            .map(|(_, list)| list);
        of_package
            .or(of_others)
            .and_then(|list| list.first())
            .map_or_else(|| source.clone(), |locked| locked.id.source().clone())
    }

    /// The number of `offer`.
    pub(super) fn node(&mut self, offer: &Offer) -> NodeIndex {
        let key = without_commit(offer.id());
        if let Some(&index) = self.by_id.get(&key) {
            return index;
        }
        let package = self.package(offer.id().name(), offer.id().source());
        let index = NodeIndex(self.nodes.len() as u32);
        self.nodes.push(Node {
            offer: offer.clone(),
            package,
            candidates: Vec::new(),
        });
        self.by_id.insert(key, index);
        index
    }

    /// What is known of `node` without reading its summary.
    pub(super) fn offer(&self, node: NodeIndex) -> &Offer {
        &self.nodes[node.0 as usize].offer
    }

    /// The package that `node` is.
    pub(super) fn id(&self, node: NodeIndex) -> &PackageId {
        self.offer(node).id()
    }

    /// The summary of `node`.
    pub(super) fn summary(&self, node: NodeIndex) -> &Arc<Summary> {
        self.offer(node).summary()
    }

    /// Makes sure that the summary of `node` is what its source said.
    pub(super) fn check(&self, node: NodeIndex) -> Result<(), ResolveError> {
        if self.offer(node).is_lost() {
            return Err(ResolveError::Internal(
                "an entry of the index that had been read cannot be read again",
            ));
        }
        Ok(())
    }

    fn known_candidates(&self, node: NodeIndex, index: usize) -> Option<&Rc<Candidates>> {
        self.nodes[node.0 as usize].candidates.get(index)?.as_ref()
    }

    /// The name of `package` and its source.
    pub(super) fn describe(&self, package: PackageIndex) -> (&PackageName, &SourceId) {
        let entry = &self.packages[package.0 as usize];
        (&entry.name, &entry.source)
    }

    /// The usable versions of `package`, ascending; [`Catalog::load`] has to come first.
    pub(super) fn versions_of(&self, package: PackageIndex) -> &[NodeIndex] {
        self.packages[package.0 as usize]
            .versions
            .as_deref()
            .unwrap_or_default()
    }

    /// The withdrawn versions of `package`.
    pub(super) fn yanked(&self, package: PackageIndex) -> &[Version] {
        &self.packages[package.0 as usize].yanked
    }

    /// The version of `package` at `position`.
    pub(super) fn at(&self, package: PackageIndex, position: u32) -> NodeIndex {
        self.versions_of(package)[position as usize]
    }

    /// Names that somebody who wrote `name` may have meant.
    pub(super) fn similar_names(&mut self, package: PackageIndex) -> Vec<PackageName> {
        let entry = &self.packages[package.0 as usize];
        self.versions.similar_names(&entry.name, &entry.source)
    }

    /// Whether asking for the versions of `package` may need the network.
    fn is_remote(&self, package: PackageIndex) -> bool {
        let entry = &self.packages[package.0 as usize];
        entry.versions.is_none() && !entry.source.is_path()
    }

    /// The packages that `dependencies` of `node` name and whose versions are not known yet.
    pub(super) fn unknown(
        &mut self,
        node: NodeIndex,
        dependencies: impl IntoIterator<Item = usize>,
    ) -> Vec<PackageIndex> {
        let summary = self.summary(node).clone();
        let mut unknown = Vec::new();
        for index in dependencies {
            let dependency = &summary.dependencies[index];
            let package = self.package(&dependency.package, &dependency.source);
            if self.is_remote(package) {
                unknown.push(package);
            }
        }
        unknown
    }

    /// Has the versions of all of `packages` fetched at once.
    pub(super) fn prefetch(&mut self, packages: &BTreeSet<PackageIndex>) {
        let wanted: Vec<(PackageName, SourceId)> = packages
            .iter()
            .filter(|&&package| self.is_remote(package))
            .map(|&package| {
                let (name, source) = self.describe(package);
                (name.clone(), source.clone())
            })
            .collect();
        if !wanted.is_empty() {
            self.versions.prefetch(&wanted);
        }
    }

    /// Learns the versions of `package`.
    pub(super) fn load(&mut self, package: PackageIndex) -> Result<(), ResolveError> {
        let entry = &self.packages[package.0 as usize];
        if entry.versions.is_some() {
            return Ok(());
        }
        let (name, source) = (entry.name.clone(), entry.source.clone());
        let available: Arc<[Offer]> = if source.is_path() {
            self.workspace
                .packages
                .values()
                .filter(|package| *package.id().name() == name && *package.id().source() == source)
                .map(|package| Offer::from(Arc::new(package.summary.clone())))
                .collect()
        } else {
            self.versions.versions(&name, &source)?
        };

        let mut by_version: BTreeMap<Version, Offer> = BTreeMap::new();
        for patch in self.patches.of(&source, &name) {
            by_version.insert(patch.id.version().clone(), Offer::from(patch.clone()));
        }
        let mut yanked = Vec::new();
        let mut usable = Vec::with_capacity(available.len());
        for offer in &*available {
            // A patch of the same version takes a version's place.
            if by_version.contains_key(offer.version()) {
                continue;
            }
            let precise = self
                .precise
                .iter()
                .any(|precise| precise.wants(&name, &source, offer.version()));
            if offer.yanked()
                && !precise
                && !self.allowed_yanked.contains(&without_commit(offer.id()))
            {
                yanked.push(offer.version().clone());
            } else {
                usable.push(match self.replacement(offer)? {
                    Some(other) => other,
                    None => offer.clone(),
                });
            }
        }
        for offer in usable {
            by_version.insert(offer.version().clone(), offer);
        }
        let versions = by_version.values().map(|offer| self.node(offer)).collect();
        let entry = &mut self.packages[package.0 as usize];
        yanked.sort();
        entry.yanked = yanked;
        entry.versions = Some(versions);
        Ok(())
    }

    /// The package that `[replace]` puts in the place of `offer`.
    fn replacement(&mut self, offer: &Offer) -> Result<Option<Offer>, ResolveError> {
        let workspace = self.workspace;
        let mut fitting = workspace
            .replacements
            .iter()
            .filter(|each| each.replaces(offer.id()));
        let Some(replacement) = fitting.next() else {
            return Ok(None);
        };
        let dependency = &replacement.dependency;
        let failed = |why: String| ResolveError::Patch {
            name: dependency.package.clone(),
            address: replacement.address.clone(),
            why,
            found: Vec::new(),
        };
        if fitting.next().is_some() {
            return Err(failed(format!(
                "overlapping replacement specifications found for `{}`",
                offer.id()
            )));
        }
        let known: Vec<Offer> = if dependency.source.is_path() {
            let packages = workspace.packages.values();
            packages
                .map(|package| Offer::from(Arc::new(package.summary.clone())))
                .collect()
        } else {
            let source = self.commit_of(&dependency.package, &dependency.source);
            self.versions
                .versions(&dependency.package, &source)?
                .to_vec()
        };
        let found = known
            .into_iter()
            .find(|other| replacement.is_in_place_of(offer.id().source(), other.id()))
            .ok_or_else(|| {
                failed(format!(
                    "no matching package for override `{}` found: `{}` has no version {}",
                    replacement.words(),
                    dependency.source.words(),
                    replacement.version
                ))
            })?;
        let replaced = Replaced {
            by: found.id().clone(),
            checksum: offer.summary().checksum,
        };
        self.replaced.insert(offer.id().clone(), replaced);
        Ok(Some(found))
    }

    /// The packages that `[replace]` put others in the place of.
    pub(super) fn replaced(&self) -> &BTreeMap<PackageId, Replaced> {
        &self.replaced
    }

    /// What dependency `index` of `node` takes, if that is known without asking a registry; else the package to ask
    /// for.
    pub(super) fn candidates_if_known(
        &mut self,
        node: NodeIndex,
        index: usize,
    ) -> Result<Result<Rc<Candidates>, PackageIndex>, ResolveError> {
        if let Some(known) = self.known_candidates(node, index) {
            return Ok(Ok(known.clone()));
        }
        let summary = self.summary(node).clone();
        let dependency = &summary.dependencies[index];
        let package = self.package(&dependency.package, &dependency.source);
        if self.is_remote(package) {
            return Ok(Err(package));
        }
        self.candidates(node, index).map(Ok)
    }

    /// What dependency `index` of `node` takes.
    pub(super) fn candidates(
        &mut self,
        node: NodeIndex,
        index: usize,
    ) -> Result<Rc<Candidates>, ResolveError> {
        if let Some(known) = self.known_candidates(node, index) {
            return Ok(known.clone());
        }
        let summary = self.summary(node).clone();
        let dependency = &summary.dependencies[index];
        let package = self.package(&dependency.package, &dependency.source);
        let requirement = self.requirement(&summary.id, dependency);
        self.load(package)?;
        let key = (package, requirement);
        let candidates = match self.by_requirement.get(&key) {
            Some(known) => known.clone(),
            None => {
                let found = Rc::new(self.find(package, &key.1, dependency));
                self.by_requirement.insert(key, found.clone());
                found
            }
        };
        let of_node = &mut self.nodes[node.0 as usize].candidates;
        of_node.resize(summary.dependencies.len(), None);
        of_node[index] = Some(candidates.clone());
        Ok(candidates)
    }

    fn find(
        &self,
        package: PackageIndex,
        requirement: &Requirement,
        dependency: &Dependency,
    ) -> Candidates {
        let versions = self.versions_of(package);
        let precise = self
            .precise
            .iter()
            .find(|precise| precise.concerns(dependency, requirement));
        let mut ordered: Vec<u32> = (0..versions.len() as u32)
            .filter(|&position| {
                let version = self.offer(versions[position as usize]).version();
                (match requirement {
                    Requirement::Any => true,
                    Requirement::Range(range) => range.matches(version),
                    Requirement::Locked(locked) => locked == version,
                }) && precise.is_none_or(|precise| {
                    precise.wants(&dependency.package, &dependency.source, version)
                })
            })
            .collect();
        let set = ordered.iter().copied().collect();
        let offer = |position: &u32| self.offer(versions[*position as usize]);
        let ranges = ordered
            .iter()
            .map(|position| Compatibility::of(offer(position).version()))
            .collect();
        ordered.sort_by(|a, b| self.preference.compare(offer(a), offer(b)));
        Candidates {
            package,
            ordered,
            set,
            ranges,
        }
    }

    /// What `dependency` of `parent` asks for: the version that the lock states for it if it still will do, or any
    /// other locked version that will.
    fn requirement(&self, parent: &PackageId, dependency: &Dependency) -> Requirement {
        let parent_key = without_commit(parent);
        let of_parent = self
            .locked
            .get(&(parent_key.name().clone(), parent_key.source().clone()))
            .and_then(|list| {
                list.iter()
                    .find(|locked| without_commit(&locked.id) == parent_key)
            });
        if let Some(locked) = of_parent {
            let kept = locked.dependencies.iter().find(|id| {
                matches(dependency, id)
                    || (matches_elsewhere(dependency, id)
                        && (self.patches.has(&dependency.source, id)
                            || self
                                .workspace
                                .replacements
                                .iter()
                                .any(|each| each.is_in_place_of(&dependency.source, id))))
            });
            if let Some(id) = kept {
                return Requirement::Locked(id.version().clone());
            }
        }
        let anywhere = self
            .locked
            .get(&(
                dependency.package.clone(),
                dependency.source.with_precise(None),
            ))
            .and_then(|list| list.iter().find(|locked| matches(dependency, &locked.id)));
        match anywhere {
            Some(locked) => Requirement::Locked(locked.id.version().clone()),
            None if dependency.has_version => Requirement::Range(dependency.requirement.clone()),
            None => Requirement::Any,
        }
    }

    /// The version that the lock holds dependency `index` of `node` to, if it does.
    pub(super) fn locked_version(&self, node: NodeIndex, index: usize) -> Option<Version> {
        let summary = self.summary(node);
        match self.requirement(&summary.id, &summary.dependencies[index]) {
            Requirement::Locked(version) => Some(version),
            Requirement::Any | Requirement::Range(_) => None,
        }
    }

    /// The range of compatible versions that `node` lies in.
    pub(super) fn compatibility(&self, node: NodeIndex) -> Compatibility {
        Compatibility::of(self.offer(node).version())
    }

    /// The place that `node` takes in a graph.
    pub(super) fn own_bucket(&self, node: NodeIndex) -> Bucket {
        (
            self.nodes[node.0 as usize].package,
            self.compatibility(node),
        )
    }

    /// What `request` switches on in `node`.
    pub(super) fn activation(
        &mut self,
        node: NodeIndex,
        request: &Request,
    ) -> Result<Rc<Activation>, ActivationError> {
        if let Some(known) = self.activations.get(&node).and_then(|map| map.get(request)) {
            return known.clone();
        }
        let found = activate(self.summary(node), request).map(Rc::new);
        self.activations
            .entry(node)
            .or_default()
            .insert(request.clone(), found.clone());
        found
    }

    /// What is wrong with the manifest of `node`, given `error` for a request that the manifest itself implies.
    pub(super) fn activation_error(&self, node: NodeIndex, error: ActivationError) -> ResolveError {
        let package = self.id(node).clone();
        match error {
            ActivationError::MissingFeature(feature) => {
                ResolveError::MissingFeature { package, feature }
            }
            ActivationError::SelfReference(feature) => {
                ResolveError::CyclicFeature { package, feature }
            }
        }
    }

    /// How two versions of `package` are preferred, by position: the preferred one is less.
    pub(super) fn compare(&self, package: PackageIndex, a: u32, b: u32) -> std::cmp::Ordering {
        self.preference.compare(
            self.offer(self.at(package, a)),
            self.offer(self.at(package, b)),
        )
    }

    /// The members' summaries, in cargo's order.
    pub(super) fn members(&mut self) -> Vec<NodeIndex> {
        let workspace = self.workspace;
        workspace
            .members
            .iter()
            .map(|id| {
                let package = self.package(id.name(), id.source());
                // A path is never asked of a registry, so loading it cannot fail.
                let _ = self.load(package);
                let summary = Arc::new(workspace.package(id).summary.clone());
                self.node(&Offer::from(summary))
            })
            .collect()
    }

    /// The packages that `[patch]` brings in.
    pub(super) fn patches(&self) -> &Patches {
        &self.patches
    }
}
