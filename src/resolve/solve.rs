//! The constraints of a resolution, as pubgrub sees them. Each package with one range of compatible versions is one of
//! pubgrub's packages ([`Item::Bucket`]), so that at most one version of it is chosen; each set of features that is
//! asked of it is a virtual package beside it ([`Item::Featured`]), whose versions depend on the same version of the
//! bucket and on what those features switch on; a requirement that several ranges can meet is a virtual package whose
//! versions are those ranges ([`Item::Wide`]); and each native library is a package whose versions are the packages
//! that link it ([`Item::Links`]).

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::rc::Rc;

use pubgrub::{
    Dependencies, DependencyProvider, DerivationTree, PackageResolutionStatistics, PubGrubError,
    VersionSet as _,
};

use super::activate::{ActivationError, Request};
use super::catalog::{Bucket, Candidates, Catalog, Compatibility, NodeIndex, PackageIndex};
use super::error::ResolveError;
use super::indices::Indices;
use super::search::{Guide, Pick, Question};
use crate::package::FeatureName;

/// A requirement that more than one range of compatible versions can meet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wide {
    pub(super) package: PackageIndex,
    /// The versions that will do.
    pub(super) set: Indices,
    /// The ranges that they lie in, ascending; a position in this list is a version of the virtual package.
    pub(super) ranges: Vec<Compatibility>,
    /// What is asked of the one that is chosen.
    pub(super) request: Rc<Request>,
}

/// What pubgrub takes for a package.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Item {
    /// The workspace.
    Root,
    /// A member with all its features and dev-dependencies.
    Member(NodeIndex),
    /// A package with one range of compatible versions.
    Bucket(PackageIndex, Compatibility),
    /// The same with features.
    Featured(PackageIndex, Compatibility, Rc<Request>),
    /// A requirement that several ranges can meet.
    Wide(Rc<Wide>),
    /// A native library.
    Links(Rc<str>),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Why a version cannot be used at all with the features that are asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unusable {
    /// One of its features names this one, which is not there.
    MissingFeature(FeatureName),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingFeature(feature) => write!(f, "there is no feature `{feature}`"),
        }
    }
}

/// The proof that there is no solution.
pub(super) type Proof = DerivationTree<Item, Indices, Unusable>;

/// A choice of versions that meets all requirements.
#[derive(Debug, Default)]
pub(super) struct Solution {
    buckets: HashMap<Bucket, u32>,
    wide: HashMap<Rc<Wide>, Compatibility>,
}

/// Finds a choice of versions that agrees with `decided` and in which the dependency of `next` takes one of the
/// positions given with it, or proves that there is none.
pub(super) fn solve(
    catalog: &mut Catalog<'_>,
    decided: &[Pick],
    next: Option<(&Question, &[u32])>,
) -> Result<Result<Solution, Box<Proof>>, ResolveError> {
    let mut seen = HashSet::new();
    let mut pins: Vec<(Item, Indices)> = Vec::new();
    for (question, position) in decided {
        for pin in pins_of(catalog, question, *position) {
            if seen.insert(pin.clone()) {
                pins.push(pin);
            }
        }
    }
    if let Some((question, positions)) = next {
        pins.extend(demands_of(
            catalog,
            question.candidates.package,
            positions.iter().copied().collect(),
            &question.request,
        ));
    }
    let provider = Provider {
        catalog: RefCell::new(catalog),
        pins,
        links: RefCell::default(),
        latest: RefCell::default(),
    };
    match pubgrub::resolve(&provider, Item::Root, 0u32) {
        Ok(selected) => {
            let mut solution = Solution::default();
            for (item, position) in selected {
                match item {
                    Item::Bucket(package, range) => {
                        solution.buckets.insert((package, range), position);
                    }
                    Item::Wide(wide) => {
                        let range = wide.ranges[position as usize];
                        solution.wide.insert(wide, range);
                    }
                    _ => {}
                }
            }
            Ok(Ok(solution))
        }
        Err(PubGrubError::NoSolution(proof)) => Ok(Err(Box::new(proof))),
        Err(
            PubGrubError::ErrorRetrievingDependencies { source, .. }
            | PubGrubError::ErrorChoosingVersion { source, .. }
            | PubGrubError::ErrorInShouldCancel(source),
        ) => Err(source),
    }
}

/// What it means for pubgrub that the dependency of `question` takes `position`.
fn pins_of(catalog: &Catalog<'_>, question: &Question, position: u32) -> Vec<(Item, Indices)> {
    let package = question.candidates.package;
    let range = catalog.compatibility(catalog.at(package, position));
    let mut pins = vec![(Item::Bucket(package, range), Indices::singleton(position))];
    let set = able(catalog, &question.candidates, &question.request);
    if let Some(wide) = wide(catalog, package, set, &question.request)
        && let Some(index) = wide.ranges.iter().position(|other| *other == range)
    {
        pins.push((Item::Wide(Rc::new(wide)), Indices::singleton(index as u32)));
    }
    pins
}

/// The candidates that have the features asked for.
fn able(catalog: &Catalog<'_>, candidates: &Candidates, request: &Request) -> Indices {
    match request.features() {
        Some(features) if !features.is_empty() => candidates
            .ordered
            .iter()
            .copied()
            .filter(|&position| {
                let summary = catalog.summary(catalog.at(candidates.package, position));
                features
                    .iter()
                    .all(|feature| summary.features.contains_key(feature))
            })
            .collect(),
        _ => candidates.set.clone(),
    }
}

/// The virtual package for a requirement that `set` of `package` meets, if that is more than one range of compatible
/// versions.
fn wide(
    catalog: &Catalog<'_>,
    package: PackageIndex,
    set: Indices,
    request: &Rc<Request>,
) -> Option<Wide> {
    let ranges = ranges(catalog, package, &set);
    (ranges.len() > 1).then(|| Wide {
        package,
        set,
        ranges: ranges.into_iter().collect(),
        request: request.clone(),
    })
}

/// The ranges of compatible versions that `set` of `package` lies in.
fn ranges(catalog: &Catalog<'_>, package: PackageIndex, set: &Indices) -> BTreeSet<Compatibility> {
    let end = catalog.versions_of(package).len() as u32;
    set.below(end)
        .map(|position| catalog.compatibility(catalog.at(package, position)))
        .collect()
}

/// What it takes that some version of `set` of `package` is there with what `request` asks.
fn demands_of(
    catalog: &Catalog<'_>,
    package: PackageIndex,
    set: Indices,
    request: &Rc<Request>,
) -> Vec<(Item, Indices)> {
    let ranges = ranges(catalog, package, &set);
    if ranges.len() > 1 {
        let choices = (0..ranges.len() as u32).collect();
        let wide = Wide {
            package,
            set,
            ranges: ranges.into_iter().collect(),
            request: request.clone(),
        };
        return vec![(Item::Wide(Rc::new(wide)), choices)];
    }
    // If nothing will do, the proof names any range.
    let range = ranges.first().copied().unwrap_or(Compatibility::Patch(0));
    let mut demands = Vec::with_capacity(2);
    push(&mut demands, package, range, request, set);
    demands
}

/// What dependency `index` of `node` demands, with the features `forwarded` to it.
pub(super) fn demands(
    catalog: &mut Catalog<'_>,
    node: NodeIndex,
    index: usize,
    forwarded: &BTreeSet<FeatureName>,
) -> Result<Vec<(Item, Indices)>, ResolveError> {
    let candidates = catalog.candidates(node, index)?;
    let request = Rc::new(Request::of(
        &catalog.summary(node).dependencies[index],
        forwarded,
    ));
    let set = able(catalog, &candidates, &request);
    let package = candidates.package;
    let mut ranges = candidates.ranges.iter();
    if let (Some(&range), None) = (ranges.next(), ranges.next()) {
        let mut demands = Vec::with_capacity(2);
        push(&mut demands, package, range, &request, set);
        return Ok(demands);
    }
    Ok(demands_of(catalog, package, set, &request))
}

/// Knows one solution that agrees with what has been decided so far, and asks for another where a decision departs
/// from it.
pub(super) struct Foresight(pub(super) Solution);

impl Foresight {
    /// What the dependency of `question` takes in the known solution; it is one of `among`.
    fn choice(&self, catalog: &Catalog<'_>, question: &Question, among: Indices) -> Option<u32> {
        let package = question.candidates.package;
        let range = match wide(catalog, package, among.clone(), &question.request) {
            Some(wide) => *self.0.wide.get(&wide)?,
            None => *ranges(catalog, package, &among).first()?,
        };
        self.0
            .buckets
            .get(&(package, range))
            .copied()
            .filter(|position| among.contains(position))
    }
}

impl Guide for Foresight {
    fn first(
        &mut self,
        catalog: &mut Catalog<'_>,
        decided: &[Pick],
        question: &Question,
        open: &[u32],
    ) -> Result<Option<u32>, ResolveError> {
        let all = able(catalog, &question.candidates, &question.request);
        let mut known = self
            .choice(catalog, question, all)
            .and_then(|choice| open.iter().position(|other| *other == choice));
        loop {
            // Whatever comes before what is known to be possible may be possible as well.
            let better = &open[..known.unwrap_or(open.len())];
            if better.is_empty() {
                break;
            }
            match solve(catalog, decided, Some((question, better)))? {
                Err(_) => break,
                Ok(solution) => {
                    self.0 = solution;
                    let among: Indices = better.iter().copied().collect();
                    let choice = self.choice(catalog, question, among);
                    known = better.iter().position(|other| Some(*other) == choice);
                    if known.is_none() {
                        return Err(ResolveError::Internal(
                            "a solution does not contain what it was to contain",
                        ));
                    }
                }
            }
        }
        Ok(known.map(|index| open[index]))
    }

    fn is_picky(&self) -> bool {
        true
    }
}

struct Provider<'a, 'b> {
    catalog: RefCell<&'a mut Catalog<'b>>,
    pins: Vec<(Item, Indices)>,
    /// The packages that link each native library, in the order of their discovery.
    links: RefCell<HashMap<String, Vec<Bucket>>>,
    /// The version last chosen in each bucket, so that its features follow it.
    latest: RefCell<HashMap<Bucket, u32>>,
}

impl Provider<'_, '_> {
    /// What the dependencies `wanted` of `node` demand, each with the features forwarded to it.
    fn requirements(
        &self,
        node: NodeIndex,
        wanted: &[(usize, BTreeSet<FeatureName>)],
        into: &mut Vec<(Item, Indices)>,
    ) -> Result<(), ResolveError> {
        let catalog = &mut *self.catalog.borrow_mut();
        for (index, forwarded) in wanted {
            into.extend(demands(catalog, node, *index, forwarded)?);
        }
        Ok(())
    }

    /// Gets to know the packages that `request` leads to from `node`, following the preferred version of each: if there
    /// are unknown ones, all of one depth are fetched at once. With the first go those that other versions of the
    /// same package need, since these will be tried next.
    fn explore(&self, node: NodeIndex, request: &Rc<Request>) -> Result<(), ResolveError> {
        let catalog = &mut *self.catalog.borrow_mut();
        let mut seen: HashSet<(NodeIndex, Rc<Request>)> = HashSet::new();
        let mut open = vec![(node, request.clone())];
        let mut is_first = true;
        while !open.is_empty() {
            let mut unknown = BTreeSet::new();
            let mut waiting = Vec::new();
            while let Some((node, request)) = open.pop() {
                let Ok(activation) = catalog.activation(node, &request) else {
                    continue;
                };
                let indices = activation.dependencies.iter().map(|(index, _)| *index);
                let missing = catalog.unknown(node, indices);
                if !missing.is_empty() {
                    unknown.extend(missing);
                    waiting.push((node, request));
                    continue;
                }
                if is_first || !seen.insert((node, request)) {
                    continue;
                }
                for (index, forwarded) in &activation.dependencies {
                    let candidates = catalog.candidates(node, *index)?;
                    if let Some(&position) = candidates.ordered.first() {
                        let dependency = &catalog.summary(node).dependencies[*index];
                        let request = Rc::new(Request::of(dependency, forwarded));
                        open.push((catalog.at(candidates.package, position), request));
                    }
                }
            }
            if is_first && !unknown.is_empty() {
                let wanted = with_siblings(catalog, node, request, &unknown);
                catalog.prefetch(&wanted);
            } else {
                catalog.prefetch(&unknown);
            }
            is_first = false;
            for package in unknown {
                catalog.load(package)?;
            }
            open = waiting;
        }
        Ok(())
    }

    fn node(&self, package: PackageIndex, position: u32) -> NodeIndex {
        self.catalog.borrow().at(package, position)
    }

    fn dependencies_of(
        &self,
        item: &Item,
        position: u32,
    ) -> Result<Result<Vec<(Item, Indices)>, Unusable>, ResolveError> {
        let mut list = Vec::new();
        let (node, request) = match item {
            Item::Root => {
                let members = self.catalog.borrow_mut().members();
                list.extend(
                    members
                        .into_iter()
                        .map(|member| (Item::Member(member), Indices::singleton(0))),
                );
                list.extend(self.pins.iter().cloned());
                return Ok(Ok(list));
            }
            Item::Member(node) => {
                let catalog = self.catalog.borrow();
                let (package, range) = catalog.own_bucket(*node);
                let position = catalog
                    .versions_of(package)
                    .iter()
                    .position(|other| other == node)
                    .ok_or(ResolveError::Internal("a member is no version of itself"))?;
                list.push((
                    Item::Bucket(package, range),
                    Indices::singleton(position as u32),
                ));
                (*node, Rc::new(Request::Everything))
            }
            Item::Bucket(package, _) => {
                let node = self.node(*package, position);
                if let Some(links) = self.catalog.borrow().summary(node).links.clone() {
                    let place = self.catalog.borrow().own_bucket(node);
                    let mut all = self.links.borrow_mut();
                    let places = all.entry(links.clone()).or_default();
                    let number = places
                        .iter()
                        .position(|other| *other == place)
                        .unwrap_or_else(|| {
                            places.push(place);
                            places.len() - 1
                        });
                    list.push((Item::Links(links.into()), Indices::singleton(number as u32)));
                }
                let plain = Request::Features {
                    features: BTreeSet::new(),
                    default: false,
                };
                (node, Rc::new(plain))
            }
            Item::Featured(package, range, request) => {
                list.push((Item::Bucket(*package, *range), Indices::singleton(position)));
                (self.node(*package, position), request.clone())
            }
            Item::Wide(wide) => {
                let range = wide.ranges[position as usize];
                let catalog = self.catalog.borrow();
                let end = catalog.versions_of(wide.package).len() as u32;
                let set = wide
                    .set
                    .below(end)
                    .filter(|&position| {
                        catalog.compatibility(catalog.at(wide.package, position)) == range
                    })
                    .collect();
                push(&mut list, wide.package, range, &wide.request, set);
                return Ok(Ok(list));
            }
            Item::Links(_) => return Ok(Ok(list)),
        };
        self.explore(node, &request)?;
        let activation = self.catalog.borrow_mut().activation(node, &request);
        match activation {
            Ok(activation) => {
                self.requirements(node, &activation.dependencies, &mut list)?;
                Ok(Ok(list))
            }
            Err(ActivationError::MissingFeature(feature)) => {
                Ok(Err(Unusable::MissingFeature(feature)))
            }
            Err(error) => Err(self.catalog.borrow().activation_error(node, error)),
        }
    }
}

/// `unknown`, and what `request` leads to from the versions that are compatible with `node` and is unknown as well.
fn with_siblings(
    catalog: &mut Catalog<'_>,
    node: NodeIndex,
    request: &Request,
    unknown: &BTreeSet<PackageIndex>,
) -> BTreeSet<PackageIndex> {
    let mut all = unknown.clone();
    let (package, range) = catalog.own_bucket(node);
    for sibling in catalog.versions_of(package).to_vec() {
        if catalog.compatibility(sibling) == range
            && let Ok(activation) = catalog.activation(sibling, request)
        {
            let indices = activation.dependencies.iter().map(|(index, _)| *index);
            all.extend(catalog.unknown(sibling, indices));
        }
    }
    all
}

/// Adds that `package` has to be there in a version of `set`, all of which lie in `range`, with what `request` asks.
fn push(
    into: &mut Vec<(Item, Indices)>,
    package: PackageIndex,
    range: Compatibility,
    request: &Rc<Request>,
    set: Indices,
) {
    if !request.is_plain() && set != Indices::empty() {
        into.push((Item::Featured(package, range, request.clone()), set.clone()));
    }
    into.push((Item::Bucket(package, range), set));
}

impl DependencyProvider for Provider<'_, '_> {
    type P = Item;
    type V = u32;
    type VS = Indices;
    type Priority = (u32, Reverse<usize>);
    type M = Unusable;
    type Err = ResolveError;

    fn prioritize(
        &self,
        item: &Item,
        range: &Indices,
        statistics: &PackageResolutionStatistics,
    ) -> Self::Priority {
        let choices = match item {
            Item::Root | Item::Member(_) | Item::Links(_) => return (u32::MAX, Reverse(0)),
            Item::Wide(wide) => wide.ranges.len() + wide.set.count_below(self.end(wide.package)),
            Item::Bucket(package, _) | Item::Featured(package, ..) => {
                range.count_below(self.end(*package))
            }
        };
        (statistics.conflict_count(), Reverse(choices))
    }

    fn choose_version(&self, item: &Item, range: &Indices) -> Result<Option<u32>, ResolveError> {
        let catalog = self.catalog.borrow();
        Ok(match item {
            Item::Root | Item::Member(_) => Some(0).filter(|version| range.contains(version)),
            Item::Links(links) => {
                let count = self.links.borrow().get(&**links).map_or(0, Vec::len);
                range.below(count as u32).next()
            }
            Item::Wide(wide) => {
                let end = catalog.versions_of(wide.package).len() as u32;
                wide.set
                    .below(end)
                    .filter_map(|position| {
                        let node = catalog.at(wide.package, position);
                        let compatibility = catalog.compatibility(node);
                        let index = wide.ranges.iter().position(|r| *r == compatibility)?;
                        range.contains(&(index as u32)).then_some((position, index))
                    })
                    .min_by(|(a, _), (b, _)| catalog.compare(wide.package, *a, *b))
                    .map(|(_, index)| index as u32)
            }
            Item::Bucket(package, _) | Item::Featured(package, ..) => {
                let bucket = match item {
                    Item::Bucket(package, range) | Item::Featured(package, range, _) => {
                        (*package, *range)
                    }
                    _ => return Err(ResolveError::Internal("an item changed its kind")),
                };
                let mut latest = self.latest.borrow_mut();
                let known = latest
                    .get(&bucket)
                    .copied()
                    .filter(|position| range.contains(position));
                let end = catalog.versions_of(*package).len() as u32;
                let chosen = match (item, known) {
                    (Item::Featured(..), Some(known)) => Some(known),
                    _ => range
                        .below(end)
                        .min_by(|a, b| catalog.compare(*package, *a, *b)),
                };
                if let Some(chosen) = chosen {
                    latest.insert(bucket, chosen);
                }
                chosen
            }
        })
    }

    fn get_dependencies(
        &self,
        item: &Item,
        version: &u32,
    ) -> Result<Dependencies<Item, Indices, Unusable>, ResolveError> {
        Ok(match self.dependencies_of(item, *version)? {
            Ok(list) => Dependencies::Available(list.into_iter().collect()),
            Err(reason) => Dependencies::Unavailable(reason),
        })
    }
}

impl Provider<'_, '_> {
    fn end(&self, package: PackageIndex) -> u32 {
        self.catalog.borrow().versions_of(package).len() as u32
    }
}
