//! The feature resolver: which features each package is compiled with, and which optional dependencies are on.
//!
//! Resolver 1 has one set of features per package. Resolvers 2 and 3 keep the features of build dependencies and
//! procedural macros apart from the others, leave dev-dependencies out where nothing needs them, and ignore
//! dependencies of platforms that are not built for. The result is the least one that follows from what is asked of
//! the selected members. Source: cargo's `core::resolver::features`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use crate::manifest::model::ResolverVersion;
use crate::package::{Dependency, DependencyKind, FeatureName, FeatureValue};
use crate::unit::graph::Platform;
use crate::unit::packages::{MemberFeatures, PackageGraph, PackageIndex};
use crate::unit::request::Platforms;

/// How features of different uses of one package are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FeatureOptions {
    /// Build dependencies and procedural macros have features of their own.
    pub(crate) decouple_host: bool,
    /// Dev-dependencies count only if something is built that needs them.
    pub(crate) decouple_dev: bool,
    /// Dependencies of other platforms do not count.
    pub(crate) ignore_inactive_targets: bool,
}

impl FeatureOptions {
    /// The options of `resolver`; `has_dev_units`: whether tests, examples or benchmarks are built;
    /// `force_all_targets`: whether every platform counts (for `metadata` and `tree --target all`).
    pub(crate) fn new(
        resolver: ResolverVersion,
        has_dev_units: bool,
        force_all_targets: bool,
    ) -> Self {
        let new = resolver != ResolverVersion::V1;
        Self {
            decouple_host: new,
            decouple_dev: new && !has_dev_units,
            ignore_inactive_targets: new && !force_all_targets,
        }
    }

    fn track_host(self) -> bool {
        self.decouple_host || self.ignore_inactive_targets
    }
}

/// What the feature resolver asks of manifests that summaries do not tell.
pub(crate) trait ProcMacros {
    /// Whether the package's library is a procedural macro.
    fn has_proc_macro_library(&self, package: PackageIndex) -> bool;
    /// Whether any of its targets, examples included, is one.
    fn has_any_proc_macro(&self, package: PackageIndex) -> bool;
}

/// A package for one of its uses: `true` for build dependencies and procedural macros.
type Use = (PackageIndex, bool);

/// The outcome: features and optional dependencies by package and use.
#[derive(Debug, Clone)]
pub(crate) struct ResolvedFeatures {
    features: HashMap<Use, BTreeSet<FeatureName>>,
    dependencies: HashMap<Use, BTreeSet<String>>,
    decouple_host: bool,
}

impl ResolvedFeatures {
    /// The features of `package`, sorted; `None` if it is not used so.
    pub(crate) fn of(
        &self,
        package: PackageIndex,
        for_host: bool,
    ) -> Option<&BTreeSet<FeatureName>> {
        self.features
            .get(&(package, for_host && self.decouple_host))
    }

    /// Whether the optional dependency called `name` in the manifest of `package` is on.
    pub(crate) fn is_active(&self, package: PackageIndex, for_host: bool, name: &str) -> bool {
        self.dependencies
            .get(&(package, for_host && self.decouple_host))
            .is_some_and(|names| names.contains(name))
    }
}

/// A dependency that counts, with the package it means and for which use.
#[derive(Clone, Copy)]
struct Active<'a> {
    to: PackageIndex,
    for_host: bool,
    dependency: &'a Dependency,
}

/// Something that follows from what is known already. A list of these instead of recursion: how long a chain of
/// features is, manifests decide.
enum Task<'a> {
    Package(Use),
    Value(Use, &'a FeatureValue),
    Feature(Use, &'a FeatureName),
    Optional(Use, &'a str),
}

struct Resolver<'g, 'a> {
    graph: &'g PackageGraph<'a>,
    proc_macros: &'g dyn ProcMacros,
    platforms: Platforms<'g>,
    requested: &'g [Platform],
    options: FeatureOptions,
    features: HashMap<Use, BTreeSet<FeatureName>>,
    dependencies: HashMap<Use, BTreeSet<String>>,
    processed: HashSet<Use>,
    /// `name?/feature` of dependencies that are not on (yet).
    deferred: HashMap<Use, BTreeMap<&'a str, BTreeSet<&'a FeatureName>>>,
    active: HashMap<Use, Rc<[Active<'a>]>>,
    tasks: Vec<Task<'a>>,
}

/// Resolves the features of everything that `members` reach. `graph` is the narrowed one.
pub(crate) fn resolve<'a>(
    graph: &PackageGraph<'a>,
    members: &'a [MemberFeatures],
    proc_macros: &dyn ProcMacros,
    platforms: Platforms<'_>,
    requested: &[Platform],
    options: FeatureOptions,
) -> ResolvedFeatures {
    let mut resolver = Resolver {
        graph,
        proc_macros,
        platforms,
        requested,
        options,
        features: HashMap::new(),
        dependencies: HashMap::new(),
        processed: HashSet::new(),
        deferred: HashMap::new(),
        active: HashMap::new(),
        tasks: Vec::new(),
    };
    for member in members {
        let Some(package) = graph.index_of(&member.package) else {
            continue;
        };
        let proc_macro = options.track_host() && proc_macros.has_any_proc_macro(package);
        // Tests and programs of a procedural macro's package are built for the target.
        resolver.start(package, member, false);
        if proc_macro {
            resolver.start(package, member, true);
        }
    }
    resolver.run();
    ResolvedFeatures {
        features: resolver.features,
        dependencies: resolver.dependencies,
        decouple_host: options.decouple_host,
    }
}

impl<'a> Resolver<'_, 'a> {
    fn start(&mut self, package: PackageIndex, member: &'a MemberFeatures, for_host: bool) {
        let key = (package, for_host);
        let summary = self.graph.summary(package);
        self.tasks.push(Task::Package(key));
        for value in &member.features {
            self.tasks.push(Task::Value(key, value));
        }
        for feature in summary.features.keys() {
            if member.all_features || (member.default_features && feature.as_str() == "default") {
                self.tasks.push(Task::Feature(key, feature));
            }
        }
    }

    fn run(&mut self) {
        while let Some(task) = self.tasks.pop() {
            match task {
                Task::Package(key) => self.package(key),
                Task::Feature(key, feature) => self.feature(key, feature),
                Task::Optional(key, name) => self.optional(key, name),
                Task::Value(key, value) => match value {
                    FeatureValue::Feature(feature) => self.feature(key, feature),
                    FeatureValue::Dependency(name) => self.optional(key, name.as_str()),
                    FeatureValue::DependencyFeature {
                        dependency,
                        feature,
                        weak,
                    } => self.dependency_feature(key, dependency.as_str(), feature, *weak),
                },
            }
        }
    }

    /// Under which key results are kept.
    fn stored(&self, key: Use) -> Use {
        (key.0, key.1 && self.options.decouple_host)
    }

    fn package(&mut self, key: Use) {
        self.features.entry(self.stored(key)).or_default();
        if !self.processed.insert(key) {
            return;
        }
        for active in self.active(key).iter() {
            if !active.dependency.optional {
                self.enter(active);
            }
        }
    }

    /// Activates the package of a dependency with the features that the dependency asks for.
    fn enter(&mut self, active: &Active<'a>) {
        let key = (active.to, active.for_host);
        self.tasks.push(Task::Package(key));
        for feature in &active.dependency.features {
            self.tasks.push(Task::Feature(key, feature));
        }
        let defaults = self
            .graph
            .summary(active.to)
            .features
            .get_key_value("default");
        if active.dependency.default_features
            && let Some((default, _)) = defaults
        {
            self.tasks.push(Task::Feature(key, default));
        }
    }

    fn feature(&mut self, key: Use, feature: &'a FeatureName) {
        let stored = self.stored(key);
        if !self
            .features
            .entry(stored)
            .or_default()
            .insert(feature.clone())
        {
            return;
        }
        let summary = self.graph.summary(key.0);
        for value in summary.features.get(feature).into_iter().flatten() {
            self.tasks.push(Task::Value(key, value));
        }
    }

    fn optional(&mut self, key: Use, name: &'a str) {
        let stored = self.stored(key);
        let new = self
            .dependencies
            .entry(stored)
            .or_default()
            .insert(name.to_owned());
        let waiting = self
            .deferred
            .get_mut(&key)
            .and_then(|deferred| deferred.remove(name))
            .unwrap_or_default();
        if !new && waiting.is_empty() {
            return;
        }
        for active in self.active(key).iter() {
            if active.dependency.name_in_manifest().as_str() != name {
                continue;
            }
            for feature in &waiting {
                self.tasks
                    .push(Task::Feature((active.to, active.for_host), feature));
            }
            self.enter(active);
        }
    }

    fn dependency_feature(
        &mut self,
        key: Use,
        name: &'a str,
        feature: &'a FeatureName,
        weak: bool,
    ) {
        let stored = self.stored(key);
        for active in self.active(key).iter() {
            if active.dependency.name_in_manifest().as_str() != name {
                continue;
            }
            if active.dependency.optional {
                let on = self
                    .dependencies
                    .get(&stored)
                    .is_some_and(|names| names.contains(name));
                if weak && !on {
                    self.deferred
                        .entry(key)
                        .or_default()
                        .entry(name)
                        .or_default()
                        .insert(feature);
                    continue;
                }
                self.tasks.push(Task::Optional(key, name));
                // Without `?`, the feature that stands for the dependency is on as well, where there is one.
                if !weak
                    && let Some((implied, _)) =
                        self.graph.summary(key.0).features.get_key_value(name)
                {
                    self.tasks.push(Task::Feature(key, implied));
                }
            }
            self.tasks
                .push(Task::Feature((active.to, active.for_host), feature));
        }
    }

    /// The dependencies that count for `key`.
    fn active(&mut self, key: Use) -> Rc<[Active<'a>]> {
        if let Some(known) = self.active.get(&key) {
            return Rc::clone(known);
        }
        let (package, for_host) = key;
        let mut out = Vec::new();
        for edge in self.graph.edges(package) {
            for &dependency in &edge.dependencies {
                if self.options.ignore_inactive_targets && !self.applies(dependency, for_host) {
                    continue;
                }
                if self.options.decouple_dev && dependency.kind == DependencyKind::Development {
                    continue;
                }
                let to_host = for_host
                    || (self.options.track_host()
                        && (dependency.kind == DependencyKind::Build
                            || self.proc_macros.has_proc_macro_library(edge.to)));
                out.push(Active {
                    to: edge.to,
                    for_host: to_host,
                    dependency,
                });
            }
        }
        let out: Rc<[Active<'a>]> = out.into();
        self.active.insert(key, Rc::clone(&out));
        out
    }

    fn applies(&self, dependency: &Dependency, for_host: bool) -> bool {
        let on = dependency.platform.as_ref();
        if for_host || dependency.kind == DependencyKind::Build {
            self.platforms.applies(on, &Platform::Host)
        } else {
            self.requested
                .iter()
                .any(|platform| self.platforms.applies(on, platform))
        }
    }
}
