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
use super::search::{Guide, Pick};
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

/// Finds a choice of versions that agrees with `decided`, or proves that there is none.
pub(super) fn solve(
    catalog: &mut Catalog<'_>,
    decided: &[Pick],
) -> Result<Result<Solution, Box<Proof>>, ResolveError> {
    let mut seen = HashSet::new();
    let pins = decided
        .iter()
        .flat_map(|pick| pins(catalog, pick))
        .filter(|pin| seen.insert(pin.clone()))
        .collect();
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

/// What it means for pubgrub that `pick` has been decided.
fn pins(catalog: &mut Catalog<'_>, pick: &Pick) -> Vec<(Item, u32)> {
    let package = pick.candidates.package;
    let range = catalog.compatibility(catalog.at(package, pick.position));
    let mut pins = vec![(Item::Bucket(package, range), pick.position)];
    if let Some(wide) = wide(catalog, &pick.candidates, &pick.request)
        && let Some(position) = wide.ranges.iter().position(|other| *other == range)
    {
        pins.push((Item::Wide(Rc::new(wide)), position as u32));
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

/// The virtual package for a dependency, if several ranges of compatible versions can meet it.
fn wide(catalog: &Catalog<'_>, candidates: &Candidates, request: &Rc<Request>) -> Option<Wide> {
    if candidates.ranges.len() < 2 {
        return None;
    }
    let set = able(catalog, candidates, request);
    let end = catalog.versions_of(candidates.package).len() as u32;
    let ranges: BTreeSet<Compatibility> = set
        .below(end)
        .map(|position| catalog.compatibility(catalog.at(candidates.package, position)))
        .collect();
    (ranges.len() > 1).then(|| Wide {
        package: candidates.package,
        set,
        ranges: ranges.into_iter().collect(),
        request: request.clone(),
    })
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
    if let Some(wide) = wide(catalog, &candidates, &request) {
        let choices = (0..wide.ranges.len() as u32).collect();
        return Ok(vec![(Item::Wide(Rc::new(wide)), choices)]);
    }
    let set = able(catalog, &candidates, &request);
    let range = match candidates.ordered.iter().find(|p| set.contains(p)) {
        Some(&position) => catalog.compatibility(catalog.at(candidates.package, position)),
        // Nothing will do; the proof names the first range there is.
        None => candidates
            .ranges
            .first()
            .copied()
            .unwrap_or(Compatibility::Patch(0)),
    };
    let mut demands = Vec::with_capacity(2);
    push(&mut demands, candidates.package, range, &request, set);
    Ok(demands)
}

/// Knows one solution that agrees with what has been decided so far, and asks for another where a decision departs
/// from it.
pub(super) struct Foresight(pub(super) Solution);

impl Guide for Foresight {
    fn admits(
        &mut self,
        catalog: &mut Catalog<'_>,
        decided: &[Pick],
        next: &Pick,
    ) -> Result<bool, ResolveError> {
        let package = next.candidates.package;
        let range = catalog.compatibility(catalog.at(package, next.position));
        let agrees = self.0.buckets.get(&(package, range)) == Some(&next.position)
            && wide(catalog, &next.candidates, &next.request)
                .is_none_or(|wide| self.0.wide.get(&wide) == Some(&range));
        if agrees {
            return Ok(true);
        }
        let mut decided = decided.to_vec();
        decided.push(next.clone());
        match solve(catalog, &decided)? {
            Ok(solution) => {
                self.0 = solution;
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }
}

struct Provider<'a, 'b> {
    catalog: RefCell<&'a mut Catalog<'b>>,
    pins: Vec<(Item, u32)>,
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
        let unknown = catalog
            .unknown(node, wanted.iter().map(|(index, _)| *index))
            .into_iter()
            .collect();
        catalog.prefetch(&unknown);
        for (index, forwarded) in wanted {
            into.extend(demands(catalog, node, *index, forwarded)?);
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
                list.extend(
                    self.pins
                        .iter()
                        .map(|(item, position)| (item.clone(), Indices::singleton(*position))),
                );
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
