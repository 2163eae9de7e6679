//! The graph that is shown. Indices of nodes follow the order in which cargo makes them, since features of one name
//! are shown in that order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::inspect::tree::Edges;
use crate::package::{Dependency, DependencyKind, FeatureName, FeatureValue, PackageName};
use crate::unit::graph::Platform;
use crate::unit::{MemberFeatures, PackageIndex, ProcMacros as _, View};

pub(super) type NodeIndex = usize;

/// What a line is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Node {
    /// A package as it is used on one platform with one set of features.
    Package {
        package: PackageIndex,
        features: Vec<FeatureName>,
        platform: Platform,
    },
    /// A feature of a package.
    Feature { of: NodeIndex, name: FeatureName },
}

/// Why one node leads to another, in the order in which that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum EdgeKind {
    Normal,
    Build,
    Development,
    Feature,
}

impl EdgeKind {
    pub(super) const ALL: [EdgeKind; 4] = [
        EdgeKind::Normal,
        EdgeKind::Build,
        EdgeKind::Development,
        EdgeKind::Feature,
    ];
}

impl From<DependencyKind> for EdgeKind {
    fn from(kind: DependencyKind) -> Self {
        match kind {
            DependencyKind::Normal => Self::Normal,
            DependencyKind::Build => Self::Build,
            DependencyKind::Development => Self::Development,
        }
    }
}

/// For each package, by the name of a dependency: the nodes it leads to, and whether it is optional.
type Named = BTreeMap<PackageName, BTreeSet<(NodeIndex, bool)>>;

#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    edges: Vec<BTreeMap<EdgeKind, Vec<NodeIndex>>>,
    indices: HashMap<Node, NodeIndex>,
    /// Features that the command line asked for.
    of_command_line: BTreeSet<NodeIndex>,
    named: HashMap<NodeIndex, Named>,
}

impl Graph {
    pub(super) fn build(view: &View<'_>, edges: &Edges, all_platforms: bool) -> Self {
        let mut builder = Builder {
            view,
            edges,
            all_platforms,
            graph: Graph::default(),
        };
        let mut members: Vec<(PackageIndex, &MemberFeatures)> = view
            .members
            .iter()
            .filter_map(|member| Some((view.graph.index_of(&member.package)?, member)))
            .collect();
        members.sort_by_key(|(package, _)| *package);
        for (package, member) in members {
            let for_host = view.manifests.has_any_proc_macro(package);
            for platform in &view.requested {
                let node = builder.package(package, for_host, platform);
                if edges.features {
                    builder.command_line(node, package, member);
                }
            }
        }
        if edges.features {
            builder.internal_features();
        }
        builder.graph
    }

    fn add(&mut self, node: Node) -> NodeIndex {
        let index = self.nodes.len();
        self.nodes.push(node.clone());
        self.edges.push(BTreeMap::new());
        self.indices.insert(node, index);
        index
    }

    fn connect(&mut self, from: NodeIndex, kind: EdgeKind, to: NodeIndex) {
        let edges = self.edges[from].entry(kind).or_default();
        if !edges.contains(&to) {
            edges.push(to);
        }
    }

    pub(super) fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index]
    }

    /// Where the edges of one kind lead, in the order in which they are shown.
    pub(super) fn edges(&self, from: NodeIndex, kind: EdgeKind) -> Vec<NodeIndex> {
        let mut edges = self.edges[from].get(&kind).cloned().unwrap_or_default();
        edges.sort_by(|a, b| self.nodes[*a].cmp(&self.nodes[*b]));
        edges
    }

    pub(super) fn has_edges(&self, from: NodeIndex) -> bool {
        !self.edges[from].is_empty()
    }

    pub(super) fn is_of_command_line(&self, node: NodeIndex) -> bool {
        self.of_command_line.contains(&node)
    }

    fn sorted(&self, mut nodes: Vec<NodeIndex>) -> Vec<NodeIndex> {
        nodes.sort_by(|a, b| self.nodes[*a].cmp(&self.nodes[*b]));
        nodes
    }

    /// The nodes of `packages`.
    pub(super) fn nodes_of(&self, packages: &[PackageIndex]) -> Vec<NodeIndex> {
        let nodes = (0..self.nodes.len())
            .filter(|&index| {
                matches!(&self.nodes[index], Node::Package { package, .. } if packages.contains(package))
            })
            .collect();
        self.sorted(nodes)
    }

    /// What of the graph can be reached from `roots`.
    pub(super) fn reachable(&self, roots: &[NodeIndex]) -> Self {
        let mut new = Graph::default();
        let mut renamed: HashMap<NodeIndex, NodeIndex> = HashMap::new();
        let mut open: Vec<NodeIndex> = roots.iter().rev().copied().collect();
        let mut order = Vec::new();
        while let Some(index) = open.pop() {
            if renamed.contains_key(&index) {
                continue;
            }
            renamed.insert(index, new.add(self.nodes[index].clone()));
            order.push(index);
            open.extend(self.edges[index].values().flatten().rev());
        }
        for index in order {
            for (kind, targets) in &self.edges[index] {
                for target in targets {
                    new.connect(renamed[&index], *kind, renamed[target]);
                }
            }
        }
        new
    }

    /// Turns every edge around.
    pub(super) fn invert(&mut self) {
        let old = std::mem::replace(&mut self.edges, vec![BTreeMap::new(); self.nodes.len()]);
        for (from, edges) in old.into_iter().enumerate() {
            for (kind, targets) in edges {
                for target in targets {
                    self.connect(target, kind, from);
                }
            }
        }
    }

    /// The packages that are there with different versions, sources or features; platforms make no difference.
    pub(super) fn duplicates(&self, view: &View<'_>) -> Vec<NodeIndex> {
        let mut by_name: BTreeMap<&PackageName, Uses<'_>> = BTreeMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            if let Node::Package {
                package, features, ..
            } = node
            {
                let uses = by_name.entry(view.graph.id(*package).name()).or_default();
                uses.different.insert((*package, features));
                uses.nodes.push(index);
            }
        }
        let found = by_name
            .into_values()
            .filter(|uses| uses.different.len() > 1)
            .flat_map(|uses| uses.nodes)
            .collect();
        self.sorted(found)
    }
}

/// How the packages of one name are used.
#[derive(Default)]
struct Uses<'n> {
    different: BTreeSet<(PackageIndex, &'n [FeatureName])>,
    nodes: Vec<NodeIndex>,
}

struct Builder<'g, 'a> {
    view: &'g View<'a>,
    edges: &'g Edges,
    all_platforms: bool,
    graph: Graph,
}

impl Builder<'_, '_> {
    /// The node of a package, with everything that it depends on; `for_host`: it is (for) a build script or a macro.
    fn package(
        &mut self,
        package: PackageIndex,
        for_host: bool,
        requested: &Platform,
    ) -> NodeIndex {
        let view = self.view;
        let platform = if for_host {
            Platform::Host
        } else {
            requested.clone()
        };
        let features = view
            .features
            .of(package, for_host)
            .map(|names| names.iter().cloned().collect())
            .unwrap_or_default();
        let node = Node::Package {
            package,
            features,
            platform: platform.clone(),
        };
        if let Some(index) = self.graph.indices.get(&node) {
            return *index;
        }
        let from = self.graph.add(node);
        let mut named = Named::new();
        for edge in view.graph.edges(package) {
            let mut declared: Vec<&Dependency> = edge
                .dependencies
                .iter()
                .copied()
                .filter(|dependency| self.counts(package, edge.to, dependency, for_host, &platform))
                .collect();
            declared.sort_by_key(|dependency| (dependency.kind, dependency.name_in_manifest()));
            for dependency in declared {
                let to_host = for_host
                    || dependency.kind == DependencyKind::Build
                    || view.manifests.has_any_proc_macro(edge.to);
                let to = self.package(edge.to, to_host, requested);
                let kind = EdgeKind::from(dependency.kind);
                if !self.edges.features {
                    self.graph.connect(from, kind, to);
                    continue;
                }
                named
                    .entry(dependency.name_in_manifest().clone())
                    .or_default()
                    .insert((to, dependency.optional));
                if dependency.default_features
                    && let Ok(default) = FeatureName::new("default")
                {
                    self.feature(default, Some((from, kind)), to);
                }
                for feature in &dependency.features {
                    self.feature(feature.clone(), Some((from, kind)), to);
                }
                if !dependency.default_features && dependency.features.is_empty() {
                    self.graph.connect(from, kind, to);
                }
            }
        }
        if self.edges.features {
            self.graph.named.insert(from, named);
        }
        from
    }

    /// Whether a dependency is shown.
    fn counts(
        &self,
        from: PackageIndex,
        to: PackageIndex,
        dependency: &Dependency,
        for_host: bool,
        platform: &Platform,
    ) -> bool {
        let on = match dependency.kind {
            DependencyKind::Build => &Platform::Host,
            DependencyKind::Normal | DependencyKind::Development => platform,
        };
        (self.all_platforms
            || self
                .view
                .platforms
                .applies(dependency.platform.as_ref(), on))
            && self.edges.kinds.contains(&dependency.kind)
            && !(self.edges.no_proc_macros && self.view.manifests.has_any_proc_macro(to))
            && (!dependency.optional
                || self.view.features.is_active(
                    from,
                    for_host,
                    dependency.name_in_manifest().as_str(),
                ))
    }

    /// The node of a feature of the package at `of`, reached from `from`; whether it is new.
    fn feature(
        &mut self,
        name: FeatureName,
        from: Option<(NodeIndex, EdgeKind)>,
        of: NodeIndex,
    ) -> (bool, NodeIndex) {
        let node = Node::Feature { of, name };
        let (is_new, index) = match self.graph.indices.get(&node) {
            Some(index) => (false, *index),
            None => (true, self.graph.add(node)),
        };
        if let Some((from, kind)) = from {
            self.graph.connect(from, kind, index);
        }
        self.graph.connect(index, EdgeKind::Feature, of);
        (is_new, index)
    }

    /// What a dependency called `name` of the package at `node` leads to.
    fn named(&self, node: NodeIndex, name: &PackageName) -> Vec<(NodeIndex, bool)> {
        let named = self.graph.named.get(&node);
        named
            .and_then(|named| named.get(name))
            .map(|found| found.iter().copied().collect())
            .unwrap_or_default()
    }

    /// The features that the command line asks of a member: they have no node in front of them.
    fn command_line(&mut self, node: NodeIndex, package: PackageIndex, asked: &MemberFeatures) {
        let mut wanted: BTreeSet<FeatureValue> = asked.features.iter().cloned().collect();
        if asked.all_features {
            let all = self.view.graph.summary(package).features.keys().cloned();
            wanted.extend(all.map(FeatureValue::Feature));
        }
        if asked.default_features
            && let Ok(default) = FeatureName::new("default")
        {
            wanted.insert(FeatureValue::Feature(default));
        }
        for value in wanted {
            match value {
                FeatureValue::Feature(name) => {
                    let (_, index) = self.feature(name, None, node);
                    self.graph.of_command_line.insert(index);
                }
                FeatureValue::Dependency(_) => {}
                FeatureValue::DependencyFeature {
                    dependency,
                    feature,
                    ..
                } => {
                    for (to, optional) in self.named(node, &dependency) {
                        if optional && let Ok(name) = FeatureName::new(dependency.as_str()) {
                            let (_, index) = self.feature(name, None, node);
                            self.graph.of_command_line.insert(index);
                        }
                        let (_, index) = self.feature(feature.clone(), None, to);
                        self.graph.of_command_line.insert(index);
                    }
                }
            }
        }
    }

    /// Whatever the features that are there already switch on in turn.
    fn internal_features(&mut self) {
        let mut open: Vec<(FeatureName, NodeIndex, NodeIndex)> = self
            .graph
            .nodes
            .iter()
            .enumerate()
            .rev()
            .filter_map(|(index, node)| match node {
                Node::Package { .. } => None,
                Node::Feature { of, name } => Some((name.clone(), index, *of)),
            })
            .collect();
        while let Some((name, from, of)) = open.pop() {
            let mut next = self.enabled_by(&name, from, of);
            next.reverse();
            open.extend(next);
        }
    }

    /// Adds what the feature `name` (at `from`) of the package at `of` switches on; what is new of that.
    fn enabled_by(
        &mut self,
        name: &FeatureName,
        from: NodeIndex,
        of: NodeIndex,
    ) -> Vec<(FeatureName, NodeIndex, NodeIndex)> {
        let Node::Package { package, .. } = self.graph.node(of) else {
            return Vec::new();
        };
        let summary = self.view.graph.summary(*package);
        let mut new = Vec::new();
        for value in summary.features.get(name).into_iter().flatten() {
            match value {
                FeatureValue::Feature(feature) => {
                    let added = self.feature(feature.clone(), Some((from, EdgeKind::Feature)), of);
                    if let (true, index) = added {
                        new.push((feature.clone(), index, of));
                    }
                }
                FeatureValue::Dependency(_) => {}
                FeatureValue::DependencyFeature {
                    dependency,
                    feature,
                    weak,
                } => {
                    for (to, optional) in self.named(of, dependency) {
                        if optional
                            && !weak
                            && let Ok(own) = FeatureName::new(dependency.as_str())
                        {
                            self.feature(own, Some((from, EdgeKind::Feature)), of);
                        }
                        let added =
                            self.feature(feature.clone(), Some((from, EdgeKind::Feature)), to);
                        if let (true, index) = added {
                            new.push((feature.clone(), index, to));
                        }
                    }
                }
            }
        }
        new
    }
}
