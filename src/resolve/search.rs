//! The order in which cargo decides. Every package that is switched on brings a frame of dependencies; the dependency
//! with the fewest candidates comes first (then the older frame), and it takes its first candidate that goes with what
//! is on already. As long as no dependency gets stuck that way, this is all of resolution, and nothing needs solving.
//!
//! Where one does get stuck, cargo goes back and tries other candidates in the same order until everything fits, so
//! what it finds is the first solution in this order. The same is found here by asking, before a candidate is taken,
//! whether there is a solution with it at all ([`Guide`]): [`super::solve`] knows.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::rc::Rc;

use super::activate::{ActivationError, Request};
use super::catalog::{Bucket, Candidates, Catalog, NodeIndex, PackageIndex};
use super::error::ResolveError;
use crate::package::FeatureName;

/// The packages of a graph with their features and edges.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// The packages and the features that are on in each.
    pub(super) nodes: BTreeMap<NodeIndex, BTreeSet<FeatureName>>,
    /// For each package those that it depends on, and through which of its dependencies.
    pub(super) edges: HashMap<NodeIndex, BTreeMap<NodeIndex, BTreeSet<usize>>>,
}

/// How a search ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Every dependency found its package.
    Complete(Graph),
    /// It went as far as it could without knowing the versions of these packages.
    Unknown(BTreeSet<PackageIndex>),
    /// No candidate of some dependency goes with what had been decided before.
    Stuck,
}

/// A dependency that is about to be decided.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// All that it could take.
    pub(super) candidates: Rc<Candidates>,
    /// What it asks of the package.
    pub(super) request: Rc<Request>,
}

/// One decision: what a dependency takes, as a position among the package's versions.
pub(super) type Pick = (Question, u32);

/// Who knows whether decisions can be completed to a solution.
pub(super) trait Guide {
    /// The first of `open` with which, and with all of `decided`, there is a solution. `open` are those candidates that
    /// go with what is on already, in the order of preference.
    fn first(
        &mut self,
        catalog: &mut Catalog<'_>,
        decided: &[Pick],
        question: &Question,
        open: &[u32],
    ) -> Result<Option<u32>, ResolveError>;

    /// Whether all of `open` are worth finding out, or the first will be taken whatever comes.
    fn is_picky(&self) -> bool;
}

/// Takes whatever comes first.
pub(super) struct Unguided;

impl Guide for Unguided {
    fn first(
        &mut self,
        _: &mut Catalog<'_>,
        _: &[Pick],
        _: &Question,
        open: &[u32],
    ) -> Result<Option<u32>, ResolveError> {
        Ok(open.first().copied())
    }

    fn is_picky(&self) -> bool {
        false
    }
}

struct Frame {
    parent: NodeIndex,
    /// Index of the dependency, what it takes, what it asks for; fewest candidates first.
    dependencies: Vec<(usize, Rc<Candidates>, Rc<Request>)>,
    next: usize,
}

/// What is on.
#[derive(Default)]
struct State {
    /// One package for each range of compatible versions; a patch also fills the place of what it patches.
    active: HashMap<Bucket, NodeIndex>,
    links: HashMap<String, NodeIndex>,
    graph: Graph,
    unknown: BTreeSet<PackageIndex>,
    frames: Vec<Frame>,
    /// Frames by the number of candidates of their next dependency, then by age.
    queue: BinaryHeap<Reverse<(usize, usize)>>,
}

/// Decides everything in cargo's order.
pub(super) fn search(
    catalog: &mut Catalog<'_>,
    guide: &mut dyn Guide,
) -> Result<Outcome, ResolveError> {
    let mut state = State::default();
    for member in catalog.members() {
        state.switch_on(catalog, member, &Request::Everything)?;
    }
    let mut decided: Vec<Pick> = Vec::new();
    while let Some(Reverse((_, number))) = state.queue.pop() {
        let frame = &mut state.frames[number];
        let parent = frame.parent;
        let (index, candidates, request) = frame.dependencies[frame.next].clone();
        frame.next += 1;
        if let Some((_, following, _)) = frame.dependencies.get(frame.next) {
            state.queue.push(Reverse((following.ordered.len(), number)));
        }

        let mut open = Vec::new();
        for &position in &candidates.ordered {
            let node = catalog.at(candidates.package, position);
            if state.goes_with(catalog, node, candidates.package, &request)? {
                open.push(position);
                if !guide.is_picky() {
                    break;
                }
            }
        }
        let package = candidates.package;
        let question = Question {
            candidates,
            request,
        };
        let taken = guide.first(catalog, &decided, &question, &open)?;
        let Some(position) = taken else {
            return Ok(if state.unknown.is_empty() {
                Outcome::Stuck
            } else {
                Outcome::Unknown(state.unknown)
            });
        };
        let node = catalog.at(package, position);
        state
            .graph
            .edges
            .entry(parent)
            .or_default()
            .entry(node)
            .or_default()
            .insert(index);
        state.occupy(catalog, node, Some(package));
        state.switch_on(catalog, node, &question.request)?;
        decided.push((question, position));
    }
    Ok(if state.unknown.is_empty() {
        Outcome::Complete(state.graph)
    } else {
        Outcome::Unknown(state.unknown)
    })
}

impl State {
    /// Whether `node`, which is a version of `package`, can be taken beside what is on.
    fn goes_with(
        &self,
        catalog: &mut Catalog<'_>,
        node: NodeIndex,
        package: PackageIndex,
        request: &Request,
    ) -> Result<bool, ResolveError> {
        let own = catalog.own_bucket(node);
        match self.active.get(&own) {
            Some(&active) if active != node => return Ok(false),
            Some(_) => {}
            None => {
                let patched = (package, own.1);
                if patched != own && self.active.contains_key(&patched) {
                    return Ok(false);
                }
            }
        }
        catalog.check(node)?;
        if let Some(links) = &catalog.summary(node).links
            && self.links.get(links).is_some_and(|&other| other != node)
        {
            return Ok(false);
        }
        match catalog.activation(node, request) {
            Ok(_) => Ok(true),
            Err(ActivationError::MissingFeature(_)) => Ok(false),
            Err(ActivationError::SelfReference(feature)) => Err(ResolveError::CyclicFeature {
                package: catalog.id(node).clone(),
                feature,
            }),
        }
    }

    /// Puts `node` into its place, and, as a patch, into that of what it patches.
    fn occupy(
        &mut self,
        catalog: &mut Catalog<'_>,
        node: NodeIndex,
        package: Option<PackageIndex>,
    ) {
        let own = catalog.own_bucket(node);
        if self.active.insert(own, node).is_some() {
            return;
        }
        if let Some(links) = &catalog.summary(node).links {
            self.links.insert(links.clone(), node);
        }
        if let Some(package) = package {
            self.active.insert((package, own.1), node);
        }
        self.graph.nodes.entry(node).or_default();
    }

    /// Switches on in `node` what `request` asks for, unless it is on already.
    fn switch_on(
        &mut self,
        catalog: &mut Catalog<'_>,
        node: NodeIndex,
        request: &Request,
    ) -> Result<(), ResolveError> {
        if matches!(request, Request::Everything) {
            self.occupy(catalog, node, None);
        }
        let activation = catalog
            .activation(node, request)
            .map_err(|error| catalog.activation_error(node, error))?;
        let is_new = !self.graph.edges.contains_key(&node);
        let features = self.graph.nodes.entry(node).or_default();
        if !is_new && *request != Request::Everything && activation.features.is_subset(features) {
            return Ok(());
        }
        features.extend(activation.features.iter().cloned());
        self.graph.edges.entry(node).or_default();

        let mut dependencies = Vec::with_capacity(activation.dependencies.len());
        for (index, forwarded) in &activation.dependencies {
            match catalog.candidates_if_known(node, *index)? {
                Err(package) => {
                    self.unknown.insert(package);
                }
                Ok(candidates) => {
                    let dependency = &catalog.summary(node).dependencies[*index];
                    let request = Rc::new(Request::of(dependency, forwarded));
                    dependencies.push((*index, candidates, request));
                }
            }
        }
        dependencies.sort_by_key(|(_, candidates, _)| candidates.ordered.len());
        if let Some((_, first, _)) = dependencies.first() {
            self.queue
                .push(Reverse((first.ordered.len(), self.frames.len())));
            self.frames.push(Frame {
                parent: node,
                dependencies,
                next: 0,
            });
        }
        Ok(())
    }
}
