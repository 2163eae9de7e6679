//! One version of a package as its source offers it. Choosing between versions takes little of each: version, whether
//! it is withdrawn, which Rust it needs. The rest (dependencies, features) is read when somebody looks at it, since of
//! the hundreds of versions that a registry has of a package one or two are looked at.

use std::fmt;
use std::sync::{Arc, OnceLock};

use cargo_util_schemas::manifest::RustVersion;
use semver::Version;

use super::{PackageId, Summary};

/// Reads the summary of an offer that lies at some place of what the source said.
pub type Reader = Arc<dyn Fn(usize) -> Option<Summary> + Send + Sync>;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Offer(Arc<Inner>);

struct Inner {
    id: PackageId,
    yanked: bool,
    rust_version: Option<RustVersion>,
    unread: Option<(Reader, usize)>,
    /// The summary, and whether it is what the source said.
    summary: OnceLock<(Arc<Summary>, bool)>,
}

impl Offer {
    /// A version that `reader` reads at `place`, and whose summary it could read there before.
    pub fn unread(
        id: PackageId,
        yanked: bool,
        rust_version: Option<RustVersion>,
        reader: Reader,
        place: usize,
    ) -> Self {
        Self(Arc::new(Inner {
            id,
            yanked,
            rust_version,
            unread: Some((reader, place)),
            summary: OnceLock::new(),
        }))
    }

    /// Which package it is.
    pub fn id(&self) -> &PackageId {
        &self.0.id
    }

    /// Its version.
    pub fn version(&self) -> &Version {
        self.0.id.version()
    }

    /// Whether the registry has withdrawn it.
    pub fn yanked(&self) -> bool {
        self.0.yanked
    }

    /// The Rust version that it states.
    pub fn rust_version(&self) -> Option<&RustVersion> {
        self.0.rust_version.as_ref()
    }

    /// All that the source says of it. If that cannot be read any more, [`Offer::is_lost`] says so, and this is a
    /// package without dependencies.
    pub fn summary(&self) -> &Arc<Summary> {
        &self.read().0
    }

    /// Whether the source's words, which could be read when the offer was made, cannot be read any more.
    pub fn is_lost(&self) -> bool {
        !self.read().1
    }

    fn read(&self) -> &(Arc<Summary>, bool) {
        self.0.summary.get_or_init(|| {
            let read = self
                .0
                .unread
                .as_ref()
                .and_then(|(read, place)| read(*place));
            match read.filter(|summary| summary.id == self.0.id) {
                Some(summary) => (Arc::new(summary), true),
                None => {
                    let nothing = Summary {
                        id: self.0.id.clone(),
                        dependencies: Vec::new(),
                        features: super::FeatureMap::new(),
                        links: None,
                        checksum: None,
                        rust_version: self.0.rust_version,
                        yanked: self.0.yanked,
                    };
                    (Arc::new(nothing), false)
                }
            }
        })
    }
}

impl From<Arc<Summary>> for Offer {
    fn from(summary: Arc<Summary>) -> Self {
        Self(Arc::new(Inner {
            id: summary.id.clone(),
            yanked: summary.yanked,
            rust_version: summary.rust_version,
            unread: None,
            summary: OnceLock::from((summary, true)),
        }))
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer")
            .field("id", &self.0.id)
            .field("yanked", &self.0.yanked)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{FeatureMap, PackageName, SourceId};

    fn summary(version: &str) -> Summary {
        Summary {
            id: PackageId::new(
                PackageName::new("a").expect("a name"),
                version.parse().expect("a version"),
                SourceId::default_registry(),
            ),
            dependencies: Vec::new(),
            features: FeatureMap::new(),
            links: Some("z".to_owned()),
            checksum: None,
            rust_version: None,
            yanked: true,
        }
    }

    #[test]
    fn read_once_and_only_if_wanted() {
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = asked.clone();
        let reader: Reader = Arc::new(move |place| {
            count.fetch_add(place, std::sync::atomic::Ordering::Relaxed);
            Some(summary("1.0.0"))
        });
        let offer = Offer::unread(summary("1.0.0").id, true, None, reader, 7);
        assert!(offer.yanked());
        assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 0);
        assert_eq!(offer.summary().links.as_deref(), Some("z"));
        assert!(!offer.clone().is_lost());
        assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 7);
    }

    #[test]
    fn what_is_not_what_was_offered_is_lost() {
        for reader in [
            Arc::new(|_| None) as Reader,
            Arc::new(|_| Some(summary("2.0.0"))),
        ] {
            let offer = Offer::unread(summary("1.0.0").id, false, None, reader, 0);
            assert!(offer.is_lost());
            assert_eq!(offer.summary().id, summary("1.0.0").id);
        }
        assert!(!Offer::from(Arc::new(summary("1.0.0"))).is_lost());
    }
}
