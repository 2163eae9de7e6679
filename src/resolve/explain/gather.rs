//! From pubgrub's proof to facts.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use pubgrub::{DerivationTree, External, VersionSet as _};
use semver::Version;

use super::{Demand, Explanation, Fact, FeatureMistake};
use crate::package::{FeatureName, FeatureValue, PackageId, PackageName};
use crate::resolve::activate::{NotAFeature, Request, not_a_feature};
use crate::resolve::catalog::{Bucket, Catalog, Compatibility, NodeIndex, PackageIndex};
use crate::resolve::error::ResolveError;
use crate::resolve::indices::Indices;
use crate::resolve::solve::{Item, Proof, Unusable, demands};

type Leaf = External<Item, Indices, Unusable>;

/// Which facts of one proof are the same requirement, but for the version of who has it.
type DemandKey = (PackageIndex, PackageName, String, Vec<FeatureName>);

/// The facts in `proof`.
pub(in crate::resolve) fn explain(
    catalog: &mut Catalog<'_>,
    proof: &Proof,
) -> Result<Explanation, ResolveError> {
    let mut gather = Gather::default();
    for leaf in leaves(proof) {
        gather.leaf(catalog, leaf)?;
    }
    Ok(Explanation {
        facts: gather.finish(catalog),
    })
}

/// The facts of a proof, each once; parts of a proof may be shared.
fn leaves(proof: &Proof) -> Vec<&Leaf> {
    let mut leaves = Vec::new();
    let mut seen: HashSet<*const Proof> = HashSet::new();
    let mut open = vec![proof];
    while let Some(tree) = open.pop() {
        if !seen.insert(std::ptr::from_ref(tree)) {
            continue;
        }
        match tree {
            DerivationTree::External(leaf) => leaves.push(leaf),
            DerivationTree::Derived(derived) => {
                open.push(Arc::as_ref(&derived.cause2));
                open.push(Arc::as_ref(&derived.cause1));
            }
        }
    }
    leaves
}

#[derive(Default)]
struct Gather {
    /// The requirements, with the ranges of compatible versions of what is wanted.
    demands: BTreeMap<DemandKey, (Demand, BTreeSet<NodeIndex>, BTreeSet<Bucket>)>,
    blocked: Vec<Fact>,
    links: BTreeMap<String, BTreeSet<PackageId>>,
}

impl Gather {
    fn leaf(&mut self, catalog: &mut Catalog<'_>, leaf: &Leaf) -> Result<(), ResolveError> {
        match leaf {
            External::NotRoot(..) | External::NoVersions(..) => {}
            External::Custom(item, set, Unusable::MissingFeature(feature)) => {
                if let Item::Bucket(package, _) | Item::Featured(package, ..) = item {
                    let end = catalog.versions_of(*package).len() as u32;
                    for position in set.below(end) {
                        let node = catalog.at(*package, position);
                        self.blocked.push(Fact::BrokenFeature {
                            package: catalog.id(node).clone(),
                            feature: feature.clone(),
                        });
                    }
                }
            }
            External::FromDependencyOf(parent, versions, child, wanted) => {
                for (node, request) in nodes(catalog, parent, versions) {
                    if let Item::Links(library) = child {
                        let id = catalog.id(node).clone();
                        self.links
                            .entry(library.to_string())
                            .or_default()
                            .insert(id);
                    } else {
                        self.dependency(catalog, node, &request, child, wanted)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Finds the dependency of `node` that demands `wanted` of `child`.
    fn dependency(
        &mut self,
        catalog: &mut Catalog<'_>,
        node: NodeIndex,
        request: &Request,
        child: &Item,
        wanted: &Indices,
    ) -> Result<(), ResolveError> {
        let Ok(activation) = catalog.activation(node, request) else {
            return Ok(());
        };
        for (index, forwarded) in &activation.dependencies {
            let demanded = demands(catalog, node, *index, forwarded)?;
            if demanded
                .iter()
                .any(|(item, set)| item == child && set == wanted)
            {
                self.demand(catalog, node, *index, forwarded, child, wanted)?;
            }
        }
        Ok(())
    }

    fn demand(
        &mut self,
        catalog: &mut Catalog<'_>,
        node: NodeIndex,
        index: usize,
        forwarded: &BTreeSet<FeatureName>,
        child: &Item,
        wanted: &Indices,
    ) -> Result<(), ResolveError> {
        let candidates = catalog.candidates(node, index)?;
        let summary = catalog.summary(node).clone();
        let dependency = &summary.dependencies[index];
        let request = Request::of(dependency, forwarded);
        let features: Vec<FeatureName> =
            request.features().into_iter().flatten().cloned().collect();
        let requirement = dependency
            .has_version
            .then(|| dependency.requirement.clone());
        let key = (
            catalog.own_bucket(node).0,
            dependency.package.clone(),
            requirement
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            features.clone(),
        );
        let of = |catalog: &Catalog<'_>, positions: &mut dyn Iterator<Item = u32>| {
            let mut versions: Vec<Version> = positions
                .map(|position| catalog.at(candidates.package, position))
                .map(|node| catalog.offer(node).version().clone())
                .collect();
            versions.sort_by(|a, b| b.cmp(a));
            versions
        };
        let end = catalog.versions_of(candidates.package).len() as u32;
        let (allowed, ranges): (Vec<Version>, BTreeSet<Bucket>) = match child {
            Item::Wide(wide) => (
                of(catalog, &mut wide.set.below(end)),
                wide.ranges
                    .iter()
                    .map(|range| (wide.package, *range))
                    .collect(),
            ),
            Item::Bucket(package, range) | Item::Featured(package, range, _) => (
                of(catalog, &mut wanted.below(end)),
                BTreeSet::from([(*package, *range)]),
            ),
            Item::Root | Item::Member(_) | Item::Links(_) => return Ok(()),
        };
        let demand = Demand {
            dependents: Vec::new(),
            dependency: dependency.package.clone(),
            source: dependency.source.clone(),
            requirement,
            locked: catalog.locked_version(node, index),
            features,
            allowed,
        };
        let (_, dependents, buckets) = self
            .demands
            .entry(key)
            .or_insert_with(|| (demand, BTreeSet::new(), BTreeSet::new()));
        dependents.insert(node);
        if *wanted != Indices::empty() {
            buckets.extend(ranges);
        }
        Ok(())
    }

    /// The facts in the order in which a reader who starts from the workspace meets them.
    fn finish(self, catalog: &mut Catalog<'_>) -> Vec<Fact> {
        let mut demands: Vec<(DemandKey, Demand, BTreeSet<Bucket>)> = self
            .demands
            .into_iter()
            .map(|(key, (mut demand, dependents, buckets))| {
                let mut ids: Vec<PackageId> = dependents
                    .iter()
                    .map(|node| catalog.id(*node).clone())
                    .collect();
                ids.sort();
                demand.dependents = ids;
                (key, demand, buckets)
            })
            .collect();
        let depths = depths(catalog, &demands);
        demands
            .sort_by_key(|((package, ..), ..)| depths.get(package).copied().unwrap_or(usize::MAX));

        let mut wanted: BTreeMap<Bucket, Vec<BTreeSet<Version>>> = BTreeMap::new();
        let mut facts = Vec::new();
        for ((_, name, ..), demand, buckets) in demands {
            for bucket in &buckets {
                let allowed = demand.allowed.iter().cloned().collect();
                wanted.entry(*bucket).or_default().push(allowed);
            }
            let package = catalog.package(&name, &demand.source);
            facts.push(if demand.allowed.is_empty() {
                blocked(catalog, package, demand)
            } else {
                Fact::Requires(demand)
            });
        }
        facts.extend(self.blocked);
        for (bucket, sets) in wanted {
            let common = sets.iter().skip(1).fold(sets[0].clone(), |common, set| {
                common.intersection(set).cloned().collect()
            });
            if common.is_empty() {
                facts.push(Fact::OnlyOne {
                    package: catalog.describe(bucket.0).0.clone(),
                    range: match bucket.1 {
                        Compatibility::Major(major) => major.to_string(),
                        Compatibility::Minor(minor) => format!("0.{minor}"),
                        Compatibility::Patch(patch) => format!("0.0.{patch}"),
                    },
                });
            }
        }
        for (library, packages) in self.links {
            if packages.len() > 1 {
                facts.push(Fact::Links {
                    library,
                    packages: packages.into_iter().collect(),
                });
            }
        }
        facts
    }
}

/// The summaries that `item` stands for in `versions`, and what is asked of them.
fn nodes(
    catalog: &mut Catalog<'_>,
    item: &Item,
    versions: &Indices,
) -> Vec<(NodeIndex, Rc<Request>)> {
    let plain = Rc::new(Request::Features {
        features: BTreeSet::new(),
        default: false,
    });
    let (package, request) = match item {
        Item::Member(node) => return vec![(*node, Rc::new(Request::Everything))],
        Item::Bucket(package, _) => (*package, plain),
        Item::Featured(package, _, request) => (*package, request.clone()),
        Item::Root | Item::Wide(_) | Item::Links(_) => return Vec::new(),
    };
    let end = catalog.versions_of(package).len() as u32;
    versions
        .below(end)
        .map(|position| (catalog.at(package, position), request.clone()))
        .collect()
}

/// How far each package is from the workspace's members, by the requirements known here.
fn depths(
    catalog: &mut Catalog<'_>,
    demands: &[(DemandKey, Demand, BTreeSet<Bucket>)],
) -> HashMap<PackageIndex, usize> {
    let mut depths: HashMap<PackageIndex, usize> = HashMap::new();
    for member in catalog.members() {
        depths.insert(catalog.own_bucket(member).0, 0);
    }
    loop {
        let mut changed = false;
        for ((package, ..), _, buckets) in demands {
            let Some(depth) = depths.get(package).copied() else {
                continue;
            };
            for (target, _) in buckets {
                let known = depths.entry(*target).or_insert(usize::MAX);
                if *known > depth + 1 {
                    *known = depth + 1;
                    changed = true;
                }
            }
        }
        if !changed {
            return depths;
        }
    }
}

/// Why nothing meets `demand`.
fn blocked(catalog: &mut Catalog<'_>, package: PackageIndex, mut demand: Demand) -> Fact {
    let versions = catalog.versions_of(package);
    let summaries: Vec<_> = versions
        .iter()
        .rev()
        .map(|node| catalog.summary(*node).clone())
        .collect();
    let meets = |version: &Version| match (&demand.locked, &demand.requirement) {
        (Some(locked), _) => locked == version,
        (None, Some(requirement)) => requirement.matches(version),
        (None, None) => true,
    };
    let meeting: Vec<_> = summaries
        .iter()
        .filter(|summary| meets(summary.id.version()))
        .collect();
    let missing = meeting.first().and_then(|summary| {
        let lacks = |feature: &&FeatureName| {
            !meeting
                .iter()
                .any(|summary| summary.features.contains_key(*feature))
        };
        let feature = demand.features.iter().find(lacks).or_else(|| {
            demand
                .features
                .iter()
                .find(|feature| !summary.features.contains_key(*feature))
        })?;
        Some((feature.clone(), (*summary).clone()))
    });
    if let Some((feature, summary)) = missing {
        let mistake = match not_a_feature(&summary, &feature) {
            NotAFeature::Unknown => FeatureMistake::Unknown,
            NotAFeature::RequiredDependency => FeatureMistake::RequiredDependency,
            NotAFeature::HiddenDependency => FeatureMistake::HiddenDependency,
        };
        let switches_on = |value: &FeatureValue| match value {
            FeatureValue::Dependency(name) => *name == feature.as_str(),
            FeatureValue::DependencyFeature {
                dependency, weak, ..
            } => !weak && *dependency == feature.as_str(),
            FeatureValue::Feature(_) => false,
        };
        let mut available: Vec<FeatureName> = summary
            .features
            .iter()
            .filter(|(_, values)| {
                mistake != FeatureMistake::HiddenDependency || values.iter().any(switches_on)
            })
            .map(|(name, _)| name.clone())
            .collect();
        available.sort_by_cached_key(|name| {
            strsim::damerau_levenshtein(name.as_str(), feature.as_str())
        });
        demand.allowed = meeting
            .iter()
            .map(|summary| summary.id.version().clone())
            .collect();
        return Fact::NoFeature {
            demand,
            feature,
            mistake,
            available,
        };
    }
    let yanked: Vec<Version> = catalog
        .yanked(package)
        .iter()
        .rev()
        .filter(|version| meets(version))
        .cloned()
        .collect();
    let available: Vec<Version> = summaries
        .iter()
        .map(|summary| summary.id.version().clone())
        .collect();
    let similar = if available.is_empty() && catalog.yanked(package).is_empty() {
        catalog.similar_names(package)
    } else {
        Vec::new()
    };
    Fact::NothingMatches {
        demand,
        available,
        yanked,
        similar,
    }
}
