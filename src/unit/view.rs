//! The resolution as one command sees it, for those who show it instead of building it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::manifest::model::{Package, Workspace};
use crate::package::{Dependency, PackageId};
use crate::resolve::graph::Resolve;
use crate::unit::context::Manifests;
use crate::unit::features::{self, FeatureOptions, ResolvedFeatures};
use crate::unit::graph::Platform;
use crate::unit::lower::{Asked, Narrowed};
use crate::unit::packages::{MemberFeatures, PackageGraph, PackageIndex};
use crate::unit::request::{BuildRequest, PackageSelection, Platforms};
use crate::unit::selection::Selector;
use crate::unit::{UnitError, find_package, selection};

/// For which platforms dependencies count.
#[derive(Debug, Clone)]
pub struct Activation<'a> {
    platforms: Platforms<'a>,
    /// None: for all.
    wanted: Option<Vec<Platform>>,
}

impl<'a> Activation<'a> {
    /// Dependencies count whatever platform they are for.
    pub fn everywhere(platforms: Platforms<'a>) -> Self {
        Self {
            platforms,
            wanted: None,
        }
    }

    /// Dependencies count if they are for one of the platforms that `request` names.
    ///
    /// # Errors
    /// If the toolchain does not know one of them.
    pub fn requested(platforms: Platforms<'a>, request: &BuildRequest) -> Result<Self, UnitError> {
        Ok(Self {
            platforms,
            wanted: Some(platforms.requested(request)?),
        })
    }

    /// Whether any of `dependencies` counts.
    pub fn any(&self, dependencies: &[&Dependency]) -> bool {
        let Some(wanted) = &self.wanted else {
            return true;
        };
        wanted.iter().any(|platform| {
            dependencies
                .iter()
                .any(|one| self.platforms.applies(one.platform.as_ref(), platform))
        })
    }
}

/// What of the lock `request` reaches with the features that it asks for, all platforms and dev-dependencies of the
/// selected members included.
///
/// # Errors
/// If the request names packages, features or platforms that do not exist.
pub fn narrowed(
    workspace: &Workspace,
    resolve: &Resolve,
    platforms: Platforms<'_>,
    request: &BuildRequest,
) -> Result<Resolve, UnitError> {
    Ok(Narrowed::new(workspace, resolve, platforms, request)?.resolve)
}

/// The members that `selection` means; `-p` has to mean one each.
///
/// # Errors
/// If it names packages that are no members.
pub fn selected_members(
    workspace: &Workspace,
    selection: &PackageSelection,
) -> Result<Vec<PackageId>, UnitError> {
    let selected = selection::select(workspace, selection)?;
    for selector in &selected.selectors {
        if let Selector::Spec(spec) = selector {
            find_package(&spec.to_string(), &workspace.members)?;
        }
    }
    let members = workspace.members.iter();
    Ok(members
        .filter(|member| selected.selectors.iter().any(|one| one.matches(member)))
        .cloned()
        .collect())
}

/// Every package that is left of a resolution: what has to be at hand to show it for all platforms.
pub fn all_packages(resolve: &Resolve) -> BTreeSet<PackageId> {
    resolve.packages.keys().cloned().collect()
}

/// A resolution under one request: who depends on whom, and with which features each use of a package is on.
#[derive(Debug)]
pub struct View<'a> {
    pub(crate) graph: PackageGraph<'a>,
    pub(crate) manifests: Manifests<'a>,
    pub(crate) features: ResolvedFeatures,
    /// The members that take part, with what is asked of each.
    pub(crate) members: Vec<MemberFeatures>,
    /// The packages that the request selects.
    pub(crate) selected: Vec<PackageIndex>,
    /// The platforms that it names.
    pub(crate) requested: Vec<Platform>,
    pub(crate) platforms: Platforms<'a>,
}

impl<'a> View<'a> {
    /// `narrowed` is what [`narrowed()`] makes of `resolve` for the same request, `packages` the manifests of what the
    /// request can reach. With `everywhere`, features of every platform's dependencies count.
    ///
    /// # Errors
    /// If the request names packages, features or platforms that do not exist.
    pub fn new(
        workspace: &'a Workspace,
        resolve: &Resolve,
        narrowed: &'a Resolve,
        packages: &'a BTreeMap<PackageId, Arc<Package>>,
        platforms: Platforms<'a>,
        request: &BuildRequest,
        everywhere: bool,
    ) -> Result<Self, UnitError> {
        let Asked {
            requested,
            selected,
            members,
        } = Asked::of(workspace, resolve, platforms, request)?;
        let graph = PackageGraph::new(narrowed)?;
        let manifests = Manifests::new(&graph, workspace, packages);
        let has_dev_units = request.intent.is_any_test();
        let features = features::resolve(
            &graph,
            &members,
            &manifests,
            platforms,
            &requested,
            FeatureOptions::new(workspace.resolver, has_dev_units, everywhere),
        );
        Ok(Self {
            selected: selection::packages_to_build(&selected.selectors, &graph)?,
            graph,
            manifests,
            features,
            members,
            requested,
            platforms,
        })
    }
}
