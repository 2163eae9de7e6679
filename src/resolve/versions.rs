//! Where resolution gets its facts from: the one narrow trait between it and the registries.

use std::sync::Arc;

use crate::package::{Offer, PackageName, SourceId};

/// Why the versions of a package cannot be had: what the registry or repository answered.
#[derive(Debug, thiserror::Error)]
#[error("the versions of `{name}` cannot be had")]
pub struct VersionsError {
    /// The package that was asked for.
    pub name: PackageName,
    /// What went wrong.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// What a source knows of the packages in it. Answers have to stay the same throughout one resolution.
pub trait Versions {
    /// All versions of the package `name` in `source`, withdrawn ones included, in any order; none if there is no such
    /// package. Versions that this program cannot use (a newer index schema, say) are left out. Of a git source the
    /// ids name the commit.
    fn versions(
        &mut self,
        name: &PackageName,
        source: &SourceId,
    ) -> Result<Arc<[Offer]>, VersionsError>;

    /// Says that [`Versions::versions`] will be called for all of these soon, so that they can be fetched at once.
    /// Errors wait for that call.
    fn prefetch(&mut self, wanted: &[(PackageName, SourceId)]) {
        let _ = wanted;
    }

    /// Names of packages in `source` that somebody who wrote `name` may have meant.
    fn similar_names(&mut self, name: &PackageName, source: &SourceId) -> Vec<PackageName> {
        let _ = (name, source);
        Vec::new()
    }
}

/// Other spellings of `name` that are worth a look in a registry which cannot be searched: `-` and `_` exchanged.
pub fn spellings(name: &PackageName) -> Vec<PackageName> {
    let mut spellings: Vec<PackageName> = [
        name.as_str().replace('-', "_"),
        name.as_str().replace('_', "-"),
    ]
    .iter()
    .filter(|spelling| *name != spelling.as_str())
    .filter_map(|spelling| PackageName::new(spelling).ok())
    .collect();
    spellings.dedup();
    spellings
}
