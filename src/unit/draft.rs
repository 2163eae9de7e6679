//! Units while the graph is being made: interned, so that equal units are one, and compared in cargo's order.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::manifest::model::Target;
use crate::package::FeatureName;
use crate::unit::graph::{Mode, Platform, UnitProfile};
use crate::unit::packages::PackageIndex;
use crate::unit::profiles::{DraftProfile, strip_inner};

/// Names a unit in an [`Interner`].
pub(crate) type DraftIndex = usize;

/// A unit without its dependencies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Draft {
    pub(crate) package: PackageIndex,
    pub(crate) target: Arc<Target>,
    pub(crate) profile: DraftProfile,
    pub(crate) platform: Platform,
    pub(crate) mode: Mode,
    pub(crate) features: Arc<[FeatureName]>,
    /// What it depends on, once that is final: it tells units apart that differ in nothing else. Empty before.
    pub(crate) dependencies: Vec<DraftIndex>,
}

/// For what a unit is built; passed down from the roots. Source: cargo's `UnitFor`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UnitFor {
    /// For a build script, a procedural macro, or what they need.
    pub(crate) host: bool,
    /// With the features of build dependencies (a build script itself has those of its package).
    pub(crate) host_features: bool,
    /// `false` sorts first, as cargo's `AlwaysUnwind` does.
    pub(crate) reads_panic: bool,
    /// The platform of the root that it is built for.
    pub(crate) root: Platform,
}

impl UnitFor {
    pub(crate) fn normal(root: Platform) -> Self {
        Self {
            host: false,
            host_features: false,
            reads_panic: true,
            root,
        }
    }

    pub(crate) fn host(host_features: bool, root: Platform) -> Self {
        Self {
            host: true,
            host_features,
            reads_panic: false,
            root,
        }
    }

    /// A root that is itself a procedural macro, as far as its profile goes.
    pub(crate) fn compiler(root: Platform) -> Self {
        Self {
            reads_panic: false,
            ..Self::normal(root)
        }
    }

    pub(crate) fn test(root: Platform) -> Self {
        Self::compiler(root)
    }

    pub(crate) fn host_test(root: Platform) -> Self {
        Self::host(true, root)
    }

    /// For a dependency on `target` of a unit of `parent`.
    pub(crate) fn with_dependency(&self, parent: &Target, target: &Target) -> Self {
        Self {
            host: self.host || target.for_host,
            host_features: self.host_features
                || parent.is_custom_build()
                || is_any_proc_macro(target),
            reads_panic: self.reads_panic && !target.for_host,
            root: self.root.clone(),
        }
    }

    pub(crate) fn for_custom_build(&self) -> Self {
        Self {
            host: true,
            reads_panic: false,
            ..self.clone()
        }
    }
}

/// Whether a target is a procedural macro; an example can be one too.
pub(crate) fn is_any_proc_macro(target: &Target) -> bool {
    target.for_host && !target.is_custom_build()
}

/// A dependency between drafts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DraftDependency {
    pub(crate) unit: DraftIndex,
    pub(crate) unit_for: UnitFor,
    pub(crate) extern_crate_name: Arc<str>,
    /// The name in the manifest, where the dependency is renamed.
    pub(crate) renamed: Option<Arc<str>>,
    pub(crate) public: bool,
}

/// The graph of drafts, and the units in it.
pub(crate) type DraftGraph = HashMap<DraftIndex, Vec<DraftDependency>>;

/// All drafts that were ever made, each once. Of equal ones the first stays: it decides what is deferred.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    drafts: Vec<Arc<Draft>>,
    indices: HashMap<Arc<Draft>, DraftIndex>,
}

impl Interner {
    pub(crate) fn intern(&mut self, draft: Draft) -> DraftIndex {
        let draft = Arc::new(draft);
        match self.indices.entry(draft) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(slot) => {
                let index = self.drafts.len();
                self.drafts.push(Arc::clone(slot.key()));
                slot.insert(index);
                index
            }
        }
    }

    pub(crate) fn get(&self, index: DraftIndex) -> &Arc<Draft> {
        &self.drafts[index]
    }

    /// Cargo's order of units, dependencies aside.
    pub(crate) fn compare(&self, a: DraftIndex, b: DraftIndex) -> Ordering {
        if a == b {
            return Ordering::Equal;
        }
        let (a, b) = (self.get(a), self.get(b));
        a.package
            .cmp(&b.package)
            .then_with(|| compare_targets(&a.target, &b.target))
            .then_with(|| compare_profiles(&a.profile.profile, &b.profile.profile))
            .then_with(|| a.platform.cmp(&b.platform))
            .then_with(|| a.mode.cmp(&b.mode))
            .then_with(|| a.features.cmp(&b.features))
    }

    /// The order of two dependencies of one unit.
    pub(crate) fn compare_dependencies(
        &self,
        a: &DraftDependency,
        b: &DraftDependency,
    ) -> Ordering {
        self.compare(a.unit, b.unit)
            .then_with(|| a.unit_for.cmp(&b.unit_for))
            .then_with(|| a.extern_crate_name.cmp(&b.extern_crate_name))
            .then_with(|| a.renamed.cmp(&b.renamed))
            .then_with(|| a.public.cmp(&b.public))
    }
}

fn compare_targets(a: &Target, b: &Target) -> Ordering {
    a.kind
        .cmp(&b.kind)
        .then_with(|| a.name.cmp(&b.name))
        .then_with(|| a.src_path.cmp(&b.src_path))
        .then_with(|| a.cmp(b))
}

fn compare_profiles(a: &UnitProfile, b: &UnitProfile) -> Ordering {
    a.name
        .cmp(&b.name)
        .then_with(|| a.opt_level.cmp(&b.opt_level))
        .then_with(|| a.root.cmp(&b.root))
        .then_with(|| a.lto.cmp(&b.lto))
        .then_with(|| a.codegen_units.cmp(&b.codegen_units))
        .then_with(|| a.debug.cmp(&b.debug))
        .then_with(|| a.split_debuginfo.cmp(&b.split_debuginfo))
        .then_with(|| a.debug_assertions.cmp(&b.debug_assertions))
        .then_with(|| a.overflow_checks.cmp(&b.overflow_checks))
        .then_with(|| a.rpath.cmp(&b.rpath))
        .then_with(|| a.incremental.cmp(&b.incremental))
        .then_with(|| a.panic.cmp(&b.panic))
        .then_with(|| strip_inner(&a.strip).cmp(strip_inner(&b.strip)))
        .then_with(|| a.rustflags.cmp(&b.rustflags))
}
