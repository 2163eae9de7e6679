//! Resolution: from the workspace's requirements to one version of each package.
//!
//! A lock that fits is taken at its word ([`from_lock`]). Without one, or with one that does not fit any more, versions
//! are chosen ([`fresh()`]) so that the result is what cargo would have chosen: [`search`] decides in cargo's order, and
//! where that leads to a dead end, [`solve`] (pubgrub) tells which decisions can still be completed. If none can, its
//! proof becomes an explanation ([`Explanation`]). Neither fetches anything itself: versions come through the narrow
//! traits [`Versions`] and [`Summaries`].
//!
//! `paths` overrides, long superseded by `[patch]`, are absent.

mod activate;
mod catalog;
pub mod changes;
mod error;
mod explain;
mod fresh;
pub mod graph;
mod indices;
mod lock;
mod patch;
mod preference;
mod previous;
mod search;
mod solve;
mod versions;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

pub use catalog::Precise;
pub use error::ResolveError;
pub use explain::{Demand, Explanation, Fact, FeatureMistake};
pub use fresh::{LetGo, Options, fresh};
pub use graph::{Resolve, ResolvedDependency};
pub use lock::{OutOfDate, Summaries, from_lock};
pub use versions::{Versions, VersionsError, spellings};
pub use walk::{NoSuchFeature, Root, narrow};

use crate::package::PackageId;

/// Makes sure that no package needs itself to be built: dev-dependencies may lead back, others may not.
fn check_cycles(resolve: &Resolve) -> Result<(), ResolveError> {
    let mut done: HashSet<&PackageId> = HashSet::with_capacity(resolve.packages.len());
    for start in resolve.packages.keys() {
        if done.contains(start) {
            continue;
        }
        // The path from `start`, each with how many of its edges were followed.
        let mut path: Vec<(&PackageId, usize)> = vec![(start, 0)];
        let mut on_path: HashSet<&PackageId> = HashSet::from([start]);
        while let Some((id, next)) = path.last_mut() {
            let id = *id;
            let edge = resolve.dependencies_of(id).get(*next);
            *next += 1;
            let Some(edge) = edge else {
                path.pop();
                on_path.remove(id);
                done.insert(id);
                continue;
            };
            let summary = resolve.packages.get(id);
            let is_transitive = edge.declared.iter().any(|&index| {
                summary
                    .and_then(|summary| summary.dependencies.get(index))
                    .is_some_and(|dependency| dependency.is_transitive())
            });
            if !is_transitive || done.contains(&edge.package) {
                continue;
            }
            if !on_path.insert(&edge.package) {
                let cycle = path
                    .iter()
                    .map(|(id, _)| *id)
                    .skip_while(|id| **id != edge.package)
                    .cloned()
                    .collect();
                return Err(ResolveError::CyclicDependency { cycle });
            }
            path.push((&edge.package, 0));
        }
    }
    Ok(())
}

/// Makes sure that packages can be told apart in `Cargo.lock`, which does not name the directories of path packages.
fn check_collisions(resolve: &Resolve) -> Result<(), ResolveError> {
    let mut path_packages: BTreeMap<_, &PackageId> = BTreeMap::new();
    for id in resolve.packages.keys().filter(|id| id.source().is_path()) {
        if let Some(first) = path_packages.insert((id.name(), id.version()), id) {
            return Err(ResolveError::Collision {
                first: first.clone(),
                second: id.clone(),
            });
        }
    }
    Ok(())
}
