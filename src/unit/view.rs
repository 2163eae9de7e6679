//! The resolution as one command sees it, for those who show it instead of building it.

use std::collections::BTreeSet;

use crate::manifest::model::Workspace;
use crate::package::{Dependency, PackageId};
use crate::resolve::graph::Resolve;
use crate::unit::UnitError;
use crate::unit::graph::Platform;
use crate::unit::lower::Narrowed;
use crate::unit::request::{BuildRequest, Platforms};

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

/// Every package that is left of a resolution: what has to be at hand to show it for all platforms.
pub fn all_packages(resolve: &Resolve) -> BTreeSet<PackageId> {
    resolve.packages.keys().cloned().collect()
}
