//! From packages that are already chosen to the graph they make: features are switched on from the roots until nothing
//! new comes, each dependency that is switched on leads to the one package chosen for it. What comes out is what
//! cargo's dependency resolver records: all platforms and all kinds, one set of features for each package.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::activate::implicit_feature;
use super::graph::{Resolve, ResolvedDependency};
use crate::package::{FeatureName, FeatureValue, PackageId, PackageName, Summary};

/// What is asked of a package at which a walk starts.
#[derive(Debug, Clone)]
pub struct Root {
    /// The package.
    pub package: PackageId,
    /// `--all-features`
    pub all_features: bool,
    /// Whether its `default` feature is on.
    pub default_features: bool,
    /// Features of it and of its dependencies.
    pub features: Vec<FeatureValue>,
    /// Whether its dev-dependencies count.
    pub dev_dependencies: bool,
}

impl Root {
    /// The package with all that `Cargo.lock` covers.
    pub fn everything(package: PackageId) -> Self {
        Self {
            package,
            all_features: true,
            default_features: true,
            features: Vec::new(),
            dev_dependencies: true,
        }
    }
}

/// A feature was asked of a package that has none of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("package `{package}` does not have the feature `{feature}`")]
pub struct NoSuchFeature {
    /// The package.
    pub package: PackageId,
    /// The feature.
    pub feature: FeatureName,
}

/// Reduces `resolve` to what `roots` switch on: the graph that one command uses, and under resolver 1 its features.
/// Edges and packages that nothing switches on are left out.
pub fn narrow(resolve: &Resolve, roots: &[Root]) -> Result<Resolve, NoSuchFeature> {
    let roots = roots
        .iter()
        .filter_map(|root| Some((resolve.packages.get(&root.package)?.clone(), root.clone())))
        .collect();
    let mut narrowed = walk(roots, &mut |parent, index| {
        let target = resolve
            .dependencies_of(&parent.id)
            .iter()
            .filter(|edge| edge.declared.contains(&index))
            .filter_map(|edge| resolve.packages.get(&edge.package).cloned())
            .collect();
        Ok::<_, NoSuchFeature>(target)
    })?;
    narrowed.unused_patches = resolve.unused_patches.clone();
    narrowed.replaced = resolve.replaced.clone();
    Ok(narrowed)
}

struct Node {
    summary: Arc<Summary>,
    /// Which of the dependencies count here: dev-dependencies do only at some roots.
    dev_dependencies: bool,
    features: BTreeSet<FeatureName>,
    /// Features forwarded to dependencies, by the name of the dependency in the manifest.
    forwarded: HashMap<PackageName, BTreeSet<FeatureName>>,
    /// Where each dependency leads, once it is on.
    targets: Vec<Option<Vec<usize>>>,
}

/// Says where dependency number so-and-so of a package leads.
type Target<'a, E> = dyn FnMut(&Arc<Summary>, usize) -> Result<Vec<Arc<Summary>>, E> + 'a;

struct Walk<'a, E> {
    nodes: Vec<Node>,
    by_id: HashMap<PackageId, usize>,
    /// Features to be switched on.
    open: Vec<(usize, FeatureName)>,
    target: &'a mut Target<'a, E>,
}

/// Walks from `roots`; `target` says where a dependency of a package leads. (That is one package, but for a quirk: cargo
/// may have met one dependency twice with different features, and chosen differently.)
pub(super) fn walk<'a, E: From<NoSuchFeature>>(
    roots: Vec<(Arc<Summary>, Root)>,
    target: &'a mut Target<'a, E>,
) -> Result<Resolve, E> {
    let mut walk = Walk {
        nodes: Vec::new(),
        by_id: HashMap::new(),
        open: Vec::new(),
        target,
    };
    // All roots come first, so that each has its dev-dependencies when another leads to it.
    for (summary, root) in &roots {
        walk.node(summary, root.dev_dependencies);
    }
    for (summary, root) in &roots {
        let node = walk.enter(summary)?;
        if root.all_features {
            let all: Vec<FeatureName> = summary.features.keys().cloned().collect();
            walk.open
                .extend(all.into_iter().map(|feature| (node, feature)));
        }
        if root.default_features {
            walk.default_feature(node);
        }
        for value in &root.features {
            walk.value(node, value)?;
        }
        walk.drain()?;
    }
    Ok(walk.finish())
}

impl<E: From<NoSuchFeature>> Walk<'_, E> {
    fn node(&mut self, summary: &Arc<Summary>, dev_dependencies: bool) -> usize {
        if let Some(&node) = self.by_id.get(&summary.id) {
            return node;
        }
        let node = self.nodes.len();
        self.nodes.push(Node {
            summary: summary.clone(),
            dev_dependencies,
            features: BTreeSet::new(),
            forwarded: HashMap::new(),
            targets: Vec::new(),
        });
        self.by_id.insert(summary.id.clone(), node);
        node
    }

    /// The node of `summary`, with its unconditional dependencies on.
    fn enter(&mut self, summary: &Arc<Summary>) -> Result<usize, E> {
        let first = self.node(summary, false);
        let mut entering = vec![first];
        while let Some(node) = entering.pop() {
            let this = &mut self.nodes[node];
            if !this.targets.is_empty() || this.summary.dependencies.is_empty() {
                continue;
            }
            let summary = this.summary.clone();
            this.targets = vec![None; summary.dependencies.len()];
            for (index, dependency) in summary.dependencies.iter().enumerate() {
                if !dependency.optional {
                    self.dependency(node, index, &mut entering)?;
                }
            }
        }
        Ok(first)
    }

    /// Switches dependency `index` of `node` on; packages met for the first time go to `entering`.
    fn dependency(
        &mut self,
        node: usize,
        index: usize,
        entering: &mut Vec<usize>,
    ) -> Result<(), E> {
        let this = &self.nodes[node];
        let summary = this.summary.clone();
        let dependency = &summary.dependencies[index];
        if this.targets[index].is_some() || !(dependency.is_transitive() || this.dev_dependencies) {
            return Ok(());
        }
        let mut targets = Vec::with_capacity(1);
        for found in (self.target)(&summary, index)? {
            let target = self.node(&found, false);
            targets.push(target);
            entering.push(target);
            let wanted = dependency.features.iter().cloned();
            self.open.extend(wanted.map(|feature| (target, feature)));
            if let Some(forwarded) = self.nodes[node]
                .forwarded
                .get(dependency.name_in_manifest())
            {
                let forwarded = forwarded.iter().cloned();
                self.open.extend(forwarded.map(|feature| (target, feature)));
            }
            if dependency.default_features {
                self.default_feature(target);
            }
        }
        self.nodes[node].targets[index] = Some(targets);
        Ok(())
    }

    fn default_feature(&mut self, node: usize) {
        let default = self.nodes[node].summary.features.get_key_value("default");
        if let Some((name, _)) = default {
            let name = name.clone();
            self.open.push((node, name));
        }
    }

    /// Switches on all dependencies of `node` that its manifest calls `name`.
    fn dependencies(&mut self, node: usize, name: &PackageName) -> Result<(), E> {
        let summary = self.nodes[node].summary.clone();
        let mut entering = Vec::new();
        for (index, dependency) in summary.dependencies.iter().enumerate() {
            if dependency.name_in_manifest() == name {
                self.dependency(node, index, &mut entering)?;
            }
        }
        for node in entering {
            let summary = self.nodes[node].summary.clone();
            self.enter(&summary)?;
        }
        Ok(())
    }

    fn value(&mut self, node: usize, value: &FeatureValue) -> Result<(), E> {
        match value {
            FeatureValue::Feature(feature) => self.open.push((node, feature.clone())),
            FeatureValue::Dependency(name) => self.dependencies(node, name)?,
            FeatureValue::DependencyFeature {
                dependency: name,
                feature,
                weak,
            } => {
                let summary = self.nodes[node].summary.clone();
                if !weak && let Some(implicit) = implicit_feature(&summary, name) {
                    self.open.push((node, implicit.clone()));
                }
                let is_new = self.nodes[node]
                    .forwarded
                    .entry(name.clone())
                    .or_default()
                    .insert(feature.clone());
                // Those that are on already are told; those that come on now tell themselves.
                if is_new {
                    for (index, dependency) in summary.dependencies.iter().enumerate() {
                        if dependency.name_in_manifest() == name
                            && let Some(Some(targets)) = self.nodes[node].targets.get(index)
                        {
                            let told = targets.iter().map(|&target| (target, feature.clone()));
                            self.open.extend(told);
                        }
                    }
                }
                self.dependencies(node, name)?;
            }
        }
        Ok(())
    }

    /// Switches on what is to be, until nothing is left.
    fn drain(&mut self) -> Result<(), E> {
        while let Some((node, feature)) = self.open.pop() {
            let this = &mut self.nodes[node];
            if this.features.contains(&feature) {
                continue;
            }
            let summary = this.summary.clone();
            let Some((name, values)) = summary.features.get_key_value(&feature) else {
                return Err(NoSuchFeature {
                    package: summary.id.clone(),
                    feature,
                }
                .into());
            };
            this.features.insert(name.clone());
            for value in values {
                self.value(node, value)?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Resolve {
        let ids: Vec<PackageId> = self
            .nodes
            .iter()
            .map(|node| node.summary.id.clone())
            .collect();
        let mut resolve = Resolve::default();
        for node in self.nodes {
            let id = node.summary.id.clone();
            let mut edges: BTreeMap<&PackageId, Vec<usize>> = BTreeMap::new();
            for (index, targets) in node.targets.iter().enumerate() {
                for &target in targets.iter().flatten() {
                    edges.entry(&ids[target]).or_default().push(index);
                }
            }
            let edges = edges
                .into_iter()
                .map(|(package, declared)| ResolvedDependency {
                    package: package.clone(),
                    declared,
                })
                .collect();
            resolve.dependencies.insert(id.clone(), edges);
            resolve.features.insert(id.clone(), node.features);
            resolve.packages.insert(id, node.summary);
        }
        resolve
    }
}
