//! The resolution seen from one request: which packages and edges remain once only the selected members with the
//! requested features are roots.
//!
//! The lock's graph holds every member with all features and all dev-dependencies. Cargo resolves a second time for
//! the request at hand; as every version is locked, that comes down to following features from the roots, every
//! platform and kind of dependency at once, weak features included. The feature resolver narrows the result further.

use std::collections::{BTreeMap, BTreeSet};

use crate::package::{Dependency, FeatureName, FeatureValue, PackageId, Summary};
use crate::resolve::graph::Resolve;
use crate::unit::UnitError;
use crate::unit::suggest;

/// Index of a package in a [`PackageGraph`]; indices have cargo's order of package ids.
pub(crate) type PackageIndex = usize;

/// A package that another depends on, and by which of its dependencies.
#[derive(Debug, Clone)]
pub(crate) struct Edge<'a> {
    pub(crate) to: PackageIndex,
    pub(crate) dependencies: Vec<&'a Dependency>,
}

/// The packages of a resolution under dense indices.
#[derive(Debug, Clone)]
pub(crate) struct PackageGraph<'a> {
    ids: Vec<&'a PackageId>,
    summaries: Vec<&'a Summary>,
    edges: Vec<Vec<Edge<'a>>>,
    present: Vec<bool>,
    indices: BTreeMap<&'a PackageId, PackageIndex>,
}

/// A selected member and what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberFeatures {
    pub(crate) package: PackageIndex,
    /// Features of the member and of its dependencies.
    pub(crate) features: Vec<FeatureValue>,
    pub(crate) all_features: bool,
    pub(crate) default_features: bool,
}

impl<'a> PackageGraph<'a> {
    /// The whole of `resolve`.
    pub(crate) fn new(resolve: &'a Resolve) -> Result<Self, UnitError> {
        let all: Vec<(&PackageId, &Summary)> = resolve
            .packages
            .iter()
            .map(|(id, summary)| (id, &**summary))
            .collect();
        let indices: BTreeMap<&PackageId, PackageIndex> = all
            .iter()
            .enumerate()
            .map(|(index, (id, _))| (*id, index))
            .collect();
        let mut edges = Vec::with_capacity(all.len());
        for (id, summary) in &all {
            let inconsistent = |why| UnitError::Inconsistent {
                package: (*id).clone(),
                why,
            };
            let mut merged: BTreeMap<PackageIndex, BTreeSet<usize>> = BTreeMap::new();
            for edge in resolve.dependencies_of(id) {
                let to = *indices
                    .get(&edge.package)
                    .ok_or_else(|| inconsistent("it depends on a package that is not there"))?;
                merged.entry(to).or_default().extend(&edge.declared);
            }
            let mut out = Vec::with_capacity(merged.len());
            for (to, declared) in merged {
                let dependencies = declared
                    .into_iter()
                    .map(|index| {
                        summary.dependencies.get(index).ok_or_else(|| {
                            inconsistent("it has fewer dependencies than the resolution says")
                        })
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                out.push(Edge { to, dependencies });
            }
            edges.push(out);
        }
        Ok(Self {
            present: vec![true; all.len()],
            ids: all.iter().map(|(id, _)| *id).collect(),
            summaries: all.iter().map(|(_, summary)| *summary).collect(),
            edges,
            indices,
        })
    }

    pub(crate) fn id(&self, package: PackageIndex) -> &'a PackageId {
        self.ids[package]
    }

    /// Every package of the lock, taking part or not.
    pub(crate) fn all_ids(&self) -> &[&'a PackageId] {
        &self.ids
    }

    pub(crate) fn summary(&self, package: PackageIndex) -> &'a Summary {
        self.summaries[package]
    }

    /// What `package` depends on, in the order of the packages depended on.
    pub(crate) fn edges(&self, package: PackageIndex) -> &[Edge<'a>] {
        &self.edges[package]
    }

    /// The edge between two packages.
    pub(crate) fn edge(&self, from: PackageIndex, to: PackageIndex) -> Option<&Edge<'a>> {
        self.edges[from].iter().find(|edge| edge.to == to)
    }

    /// Where `id` is, if it takes part.
    pub(crate) fn index_of(&self, id: &PackageId) -> Option<PackageIndex> {
        self.indices
            .get(id)
            .copied()
            .filter(|&index| self.present[index])
    }

    /// Every package that takes part.
    pub(crate) fn iter(&self) -> impl Iterator<Item = PackageIndex> + '_ {
        (0..self.ids.len()).filter(|&index| self.present[index])
    }

    /// What remains with `roots` as the only members that were asked for.
    pub(crate) fn narrow(&self, roots: &[MemberFeatures]) -> Result<PackageGraph<'a>, UnitError> {
        let mut narrowing = Narrowing {
            graph: self,
            root: vec![false; self.ids.len()],
            reached: vec![false; self.ids.len()],
            features: vec![BTreeSet::new(); self.ids.len()],
            wanted: vec![BTreeSet::new(); self.ids.len()],
            tasks: Vec::new(),
        };
        for root in roots {
            narrowing.root[root.package] = true;
        }
        for root in roots {
            narrowing.start(root)?;
        }
        narrowing.run()?;
        let edges = (0..self.ids.len())
            .map(|package| {
                if !narrowing.reached[package] {
                    return Vec::new();
                }
                self.edges[package]
                    .iter()
                    .filter_map(|edge| {
                        let dependencies: Vec<_> = edge
                            .dependencies
                            .iter()
                            .copied()
                            .filter(|dependency| narrowing.is_used(package, dependency))
                            .collect();
                        (!dependencies.is_empty()).then_some(Edge {
                            to: edge.to,
                            dependencies,
                        })
                    })
                    .collect()
            })
            .collect();
        Ok(PackageGraph {
            ids: self.ids.clone(),
            summaries: self.summaries.clone(),
            edges,
            present: narrowing.reached,
            indices: self.indices.clone(),
        })
    }
}

/// Something that follows from what is known already. A list of these instead of recursion: how long a chain of
/// features is, manifests decide.
enum Task<'a> {
    Package(PackageIndex),
    Feature(PackageIndex, &'a FeatureName),
    /// A dependency's `features` and `default-features`.
    Declared(PackageIndex, PackageIndex, &'a Dependency),
}

struct Narrowing<'g, 'a> {
    graph: &'g PackageGraph<'a>,
    root: Vec<bool>,
    reached: Vec<bool>,
    features: Vec<BTreeSet<&'a FeatureName>>,
    /// The names of the dependencies that features ask for.
    wanted: Vec<BTreeSet<String>>,
    tasks: Vec<Task<'a>>,
}

impl<'a> Narrowing<'_, 'a> {
    fn is_used(&self, package: PackageIndex, dependency: &Dependency) -> bool {
        (dependency.is_transitive() || self.root[package])
            && (!dependency.optional
                || self.wanted[package].contains(dependency.name_in_manifest().as_str()))
    }

    fn start(&mut self, root: &MemberFeatures) -> Result<(), UnitError> {
        let package = root.package;
        let summary = self.graph.summary(package);
        self.tasks.push(Task::Package(package));
        if root.all_features {
            for feature in summary.features.keys() {
                self.tasks.push(Task::Feature(package, feature));
            }
        }
        for value in &root.features {
            match value {
                FeatureValue::Feature(feature) => {
                    let (feature, _) = summary
                        .features
                        .get_key_value(feature)
                        .ok_or_else(|| missing_feature(summary, feature.as_str(), None))?;
                    self.tasks.push(Task::Feature(package, feature));
                }
                FeatureValue::Dependency(name) => self.want(package, name.as_str()),
                FeatureValue::DependencyFeature {
                    dependency,
                    feature,
                    weak,
                } => {
                    let declared = summary
                        .dependencies
                        .iter()
                        .any(|candidate| candidate.name_in_manifest() == dependency);
                    if !declared {
                        return Err(UnitError::MissingDependency {
                            package: summary.id.to_string(),
                            dependency: dependency.to_string(),
                        });
                    }
                    self.dependency_feature(package, dependency.as_str(), feature, *weak)?;
                }
            }
        }
        if root.default_features {
            self.default_feature(package);
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), UnitError> {
        while let Some(task) = self.tasks.pop() {
            match task {
                Task::Package(package) => {
                    if std::mem::replace(&mut self.reached[package], true) {
                        continue;
                    }
                    let graph = self.graph;
                    for edge in graph.edges(package) {
                        for dependency in &edge.dependencies {
                            if self.is_used(package, dependency) {
                                self.tasks
                                    .push(Task::Declared(package, edge.to, dependency));
                            }
                        }
                    }
                }
                Task::Declared(from, to, dependency) => {
                    self.tasks.push(Task::Package(to));
                    for feature in &dependency.features {
                        self.require(from, to, feature)?;
                    }
                    if dependency.default_features {
                        self.default_feature(to);
                    }
                }
                Task::Feature(package, feature) => self.feature(package, feature)?,
            }
        }
        Ok(())
    }

    fn feature(
        &mut self,
        package: PackageIndex,
        feature: &'a FeatureName,
    ) -> Result<(), UnitError> {
        if !self.features[package].insert(feature) {
            return Ok(());
        }
        let summary = self.graph.summary(package);
        for value in summary.features.get(feature).into_iter().flatten() {
            match value {
                FeatureValue::Feature(other) if other == feature => {
                    return Err(UnitError::CyclicFeature {
                        package: summary.id.to_string(),
                        feature: feature.to_string(),
                    });
                }
                FeatureValue::Feature(other) => {
                    let (other, _) = summary
                        .features
                        .get_key_value(other)
                        .ok_or_else(|| missing_feature(summary, other.as_str(), None))?;
                    self.tasks.push(Task::Feature(package, other));
                }
                FeatureValue::Dependency(name) => self.want(package, name.as_str()),
                FeatureValue::DependencyFeature {
                    dependency,
                    feature,
                    weak,
                } => self.dependency_feature(package, dependency.as_str(), feature, *weak)?,
            }
        }
        Ok(())
    }

    fn default_feature(&mut self, package: PackageIndex) {
        if let Some((feature, _)) = self
            .graph
            .summary(package)
            .features
            .get_key_value("default")
        {
            self.tasks.push(Task::Feature(package, feature));
        }
    }

    /// A weak feature activates its dependency here all the same: cargo leaves it to the feature resolver to see.
    fn dependency_feature(
        &mut self,
        package: PackageIndex,
        name: &str,
        feature: &FeatureName,
        weak: bool,
    ) -> Result<(), UnitError> {
        let graph = self.graph;
        let summary = graph.summary(package);
        let optional = summary.dependencies.iter().any(|dependency| {
            dependency.optional && dependency.name_in_manifest().as_str() == name
        });
        if !weak
            && optional
            && let Some((implied, _)) = summary.features.get_key_value(name)
        {
            self.tasks.push(Task::Feature(package, implied));
        }
        self.want(package, name);
        for edge in graph.edges(package) {
            for dependency in &edge.dependencies {
                if dependency.name_in_manifest().as_str() == name
                    && self.is_used(package, dependency)
                {
                    self.require(package, edge.to, feature)?;
                }
            }
        }
        Ok(())
    }

    fn want(&mut self, package: PackageIndex, name: &str) {
        if !self.wanted[package].insert(name.to_owned()) {
            return;
        }
        let graph = self.graph;
        for edge in graph.edges(package) {
            for dependency in &edge.dependencies {
                if dependency.optional
                    && dependency.name_in_manifest().as_str() == name
                    && self.is_used(package, dependency)
                {
                    self.tasks
                        .push(Task::Declared(package, edge.to, dependency));
                }
            }
        }
    }

    fn require(
        &mut self,
        from: PackageIndex,
        to: PackageIndex,
        feature: &FeatureName,
    ) -> Result<(), UnitError> {
        let summary = self.graph.summary(to);
        let (feature, _) = summary
            .features
            .get_key_value(feature)
            .ok_or_else(|| missing_feature(summary, feature.as_str(), Some(self.graph.id(from))))?;
        self.tasks.push(Task::Feature(to, feature));
        Ok(())
    }
}

/// The error for a feature that `summary` does not have, with what there is instead.
fn missing_feature(summary: &Summary, feature: &str, needed_by: Option<&PackageId>) -> UnitError {
    let named: Vec<&Dependency> = summary
        .dependencies
        .iter()
        .filter(|dependency| dependency.name_in_manifest().as_str() == feature)
        .collect();
    let suggestion = if named.is_empty() {
        suggest::similar(
            feature,
            summary.features.keys().map(FeatureName::as_str),
            "feature",
        )
    } else if named.iter().any(|dependency| dependency.optional) {
        let enabling: Vec<String> = summary
            .features
            .iter()
            .filter(|(_, values)| values.iter().any(|value| enables(value, feature)))
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        let mut text = "an optional dependency with that name exists, but the `features` table includes it with \
             the `dep:` syntax, so it does not have an implicit feature with that name"
            .to_owned();
        if !enabling.is_empty() {
            text.push_str("; it is enabled by ");
            text.push_str(&enabling.join(", "));
        }
        Some(text)
    } else {
        Some(
            "a dependency with that name exists, but it is a required dependency, and only optional dependencies \
             can be used as features"
                .to_owned(),
        )
    };
    UnitError::MissingFeature {
        package: match needed_by {
            Some(dependent) => format!("{} (a dependency of {dependent})", summary.id),
            None => summary.id.to_string(),
        },
        feature: feature.to_owned(),
        suggestion,
    }
}

fn enables(value: &FeatureValue, name: &str) -> bool {
    match value {
        FeatureValue::Dependency(dependency)
        | FeatureValue::DependencyFeature {
            dependency,
            weak: false,
            ..
        } => dependency.as_str() == name,
        _ => false,
    }
}
