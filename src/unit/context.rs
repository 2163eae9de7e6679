//! What every step of lowering looks at, and how it makes units.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::manifest::model::{Package, Target, Workspace};
use crate::package::{FeatureName, PackageId};
use crate::resolve::graph::Resolve;
use crate::unit::UnitError;
use crate::unit::draft::{
    Draft, DraftDependency, DraftIndex, Interner, UnitFor, is_any_proc_macro,
};
use crate::unit::features::{ProcMacros, ResolvedFeatures};
use crate::unit::graph::{Mode, Platform};
use crate::unit::packages::{PackageGraph, PackageIndex};
use crate::unit::profiles::{DraftProfile, ProfileFor, Profiles};
use crate::unit::request::{Intent, Platforms};

/// The packages whose manifests are at hand, by their index in the graph.
#[derive(Debug)]
pub(crate) struct Manifests<'a> {
    packages: Vec<Option<&'a Arc<Package>>>,
    ids: Vec<&'a PackageId>,
}

impl<'a> Manifests<'a> {
    /// Those of the workspace, and the others handed in.
    pub(crate) fn new(
        graph: &PackageGraph<'a>,
        workspace: &'a Workspace,
        others: &'a BTreeMap<PackageId, Arc<Package>>,
    ) -> Self {
        let ids: Vec<&PackageId> = graph.all_ids().to_vec();
        Self {
            packages: ids
                .iter()
                .map(|id| workspace.packages.get(*id).or_else(|| others.get(*id)))
                .collect(),
            ids,
        }
    }

    /// The package at `index`.
    pub(crate) fn get(&self, index: PackageIndex) -> Result<&'a Arc<Package>, UnitError> {
        self.packages[index].ok_or_else(|| UnitError::NotLoaded {
            package: self.ids[index].clone(),
        })
    }
}

impl ProcMacros for Manifests<'_> {
    fn has_proc_macro_library(&self, package: PackageIndex) -> bool {
        self.packages[package].is_some_and(|package| {
            package
                .library()
                .is_some_and(|library| is_any_proc_macro(library))
        })
    }

    fn has_any_proc_macro(&self, package: PackageIndex) -> bool {
        self.packages[package].is_some_and(|package| {
            package
                .targets
                .iter()
                .any(|target| is_any_proc_macro(target))
        })
    }
}

/// What is fixed while the units are made.
pub(crate) struct Context<'a> {
    pub(crate) graph: &'a PackageGraph<'a>,
    /// The whole lock, before the request narrowed it.
    pub(crate) lock: &'a Resolve,
    pub(crate) manifests: &'a Manifests<'a>,
    pub(crate) features: &'a ResolvedFeatures,
    pub(crate) profiles: &'a Profiles,
    pub(crate) platforms: Platforms<'a>,
    pub(crate) requested: &'a [Platform],
    /// `Target(host)`: while the graph is made, what is built for the host at the user's request stays apart from
    /// what the build itself needs.
    pub(crate) explicit_host: Platform,
    pub(crate) intent: Intent,
    /// Whether tests, examples or benchmarks are built.
    pub(crate) has_dev_units: bool,
    /// By package: whether it is a member of the workspace.
    pub(crate) members: Vec<bool>,
    /// The triple and the `links` of each package whose build script is not run.
    pub(crate) overridden_links: &'a BTreeSet<(String, String)>,
}

impl<'a> Context<'a> {
    pub(crate) fn package(&self, index: PackageIndex) -> Result<&'a Arc<Package>, UnitError> {
        self.manifests.get(index)
    }

    /// Whether configuration stands in for the build script of `package` on `platform`.
    pub(crate) fn is_overridden(&self, package: &Package, platform: &Platform) -> bool {
        let triple = self.platforms.triple(platform);
        package.summary.links.as_ref().is_some_and(|links| {
            self.overridden_links
                .iter()
                .any(|(on, overridden)| on == triple && overridden == links)
        })
    }

    /// The profile of a unit of `package`.
    pub(crate) fn profile(
        &self,
        package: PackageIndex,
        unit_for: &UnitFor,
        platform: &Platform,
    ) -> DraftProfile {
        self.profiles.of(ProfileFor {
            package: self.graph.id(package),
            is_member: self.members[package],
            for_host: unit_for.host,
            always_unwind: !unit_for.reads_panic,
            triple: self.platforms.triple(platform),
        })
    }

    /// The features of `package` in that use.
    pub(crate) fn features(
        &self,
        package: PackageIndex,
        for_host: bool,
    ) -> Result<Arc<[FeatureName]>, UnitError> {
        self.features
            .of(package, for_host)
            .map(|features| features.iter().cloned().collect())
            .ok_or_else(|| UnitError::Inconsistent {
                package: self.graph.id(package).clone(),
                why: "it is needed for a use that its features were not resolved for",
            })
    }

    /// A dependency of a unit of package `parent` on a target, with the profile that it has by itself.
    pub(crate) fn dependency(
        &self,
        interner: &mut Interner,
        parent: PackageIndex,
        wanted: Wanted<'_>,
    ) -> Result<DraftDependency, UnitError> {
        let profile = self.profile(wanted.package, &wanted.unit_for, &wanted.platform);
        self.dependency_with_profile(interner, parent, wanted, profile)
    }

    /// The same with a given profile.
    pub(crate) fn dependency_with_profile(
        &self,
        interner: &mut Interner,
        parent: PackageIndex,
        wanted: Wanted<'_>,
        profile: DraftProfile,
    ) -> Result<DraftDependency, UnitError> {
        let Wanted {
            package,
            target,
            unit_for,
            platform,
            mode,
        } = wanted;
        let names = self.names(parent, package, target)?;
        let unit = interner.intern(Draft {
            package,
            target: Arc::clone(target),
            profile,
            platform,
            mode,
            features: self.features(package, unit_for.host_features)?,
            dependencies: Vec::new(),
        });
        Ok(DraftDependency {
            unit,
            unit_for,
            extern_crate_name: names.extern_crate_name,
            renamed: names.renamed,
            public: names.public,
        })
    }

    /// By which name the source of `from` knows the crate `target` of `to`.
    fn names(
        &self,
        from: PackageIndex,
        to: PackageIndex,
        target: &Target,
    ) -> Result<Names, UnitError> {
        let mut names = Names {
            extern_crate_name: target.crate_name().into(),
            renamed: None,
            public: false,
        };
        if from == to {
            return Ok(names);
        }
        let edge = self
            .graph
            .edge(from, to)
            .ok_or_else(|| UnitError::Inconsistent {
                package: self.graph.id(from).clone(),
                why: "it needs a unit of a package that it does not depend on",
            })?;
        let own_name = Arc::clone(&names.extern_crate_name);
        for (position, dependency) in edge.dependencies.iter().enumerate() {
            let extern_crate_name = dependency.renamed.as_ref().map_or_else(
                || Arc::clone(&own_name),
                |name| name.as_str().replace('-', "_").into(),
            );
            if position == 0 {
                names.renamed = dependency.renamed.as_ref().map(|name| name.as_str().into());
                names.extern_crate_name = extern_crate_name;
            } else if extern_crate_name != names.extern_crate_name {
                return Err(UnitError::ConflictingNames {
                    from: self.graph.id(from).clone(),
                    to: self.graph.id(to).clone(),
                });
            }
            names.public |= dependency.public;
        }
        Ok(names)
    }

    /// Every feature that is on in `package`, and as `dependency/feature` those of its dependencies: what
    /// `required-features` may name.
    pub(crate) fn all_features(
        &self,
        package: PackageIndex,
        has_dev_units: bool,
        platforms: &[Platform],
    ) -> Result<Vec<String>, UnitError> {
        let mut all: Vec<String> = self
            .features(package, false)?
            .iter()
            .map(ToString::to_string)
            .collect();
        for edge in accessible_edges(
            self.graph,
            package,
            has_dev_units,
            platforms,
            self.platforms,
        ) {
            let proc_macro = self.manifests.has_any_proc_macro(edge.to);
            for dependency in &edge.dependencies {
                let for_host =
                    proc_macro || dependency.kind == crate::package::DependencyKind::Build;
                for feature in self.features.of(edge.to, for_host).into_iter().flatten() {
                    all.push(format!("{}/{feature}", dependency.name_in_manifest()));
                }
            }
        }
        Ok(all)
    }

    /// `platform`, or the host for what runs during the build.
    pub(crate) fn platform_for(platform: &Platform, target: &Target) -> Platform {
        if target.for_host {
            Platform::Host
        } else {
            platform.clone()
        }
    }
}

/// The edges of `package` that some build for `platforms` (or the host) may follow.
pub(crate) fn accessible_edges<'g, 'a>(
    graph: &'g PackageGraph<'a>,
    package: PackageIndex,
    has_dev_units: bool,
    platforms: &'g [Platform],
    infos: Platforms<'g>,
) -> impl Iterator<Item = &'g crate::unit::packages::Edge<'a>> {
    graph.edges(package).iter().filter(move |edge| {
        edge.dependencies.iter().any(|dependency| {
            (dependency.is_transitive() || has_dev_units)
                && platforms
                    .iter()
                    .chain([&Platform::Host])
                    .any(|platform| infos.applies(dependency.platform.as_ref(), platform))
        })
    })
}

/// A unit that another needs.
pub(crate) struct Wanted<'t> {
    pub(crate) package: PackageIndex,
    pub(crate) target: &'t Arc<Target>,
    pub(crate) unit_for: UnitFor,
    pub(crate) platform: Platform,
    pub(crate) mode: Mode,
}

struct Names {
    extern_crate_name: Arc<str>,
    renamed: Option<Arc<str>>,
    public: bool,
}

/// The drafts of a request, and which of them it asked for.
pub(crate) type Roots = Vec<DraftIndex>;
