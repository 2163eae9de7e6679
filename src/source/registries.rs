//! Registries as resolution sees them: one client per source, asked for many names at once where that is possible.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::package::{Offer, PackageName, SourceId};
use crate::registry::{Client, PackageIndex, Progress, RegistryError};
use crate::resolve::{Versions, VersionsError};

/// The registries of one run, and who is told what they do.
pub struct Registries<'a> {
    clients: &'a mut BTreeMap<SourceId, Client>,
    progress: &'a mut dyn Progress,
    /// What went wrong while fetching ahead, by source: the next question to that source gets it as its answer.
    failed: BTreeMap<SourceId, RegistryError>,
}

impl<'a> Registries<'a> {
    /// Answers from `clients`, which are by the source of their packages.
    pub fn new(
        clients: &'a mut BTreeMap<SourceId, Client>,
        progress: &'a mut dyn Progress,
    ) -> Self {
        Self {
            clients,
            progress,
            failed: BTreeMap::new(),
        }
    }

    /// All that the registry says of `name`, why some versions are left out included.
    ///
    /// # Errors
    /// The registry is not among the clients, or does not answer.
    pub fn index(
        &mut self,
        name: &PackageName,
        source: &SourceId,
    ) -> Result<Arc<PackageIndex>, RegistryError> {
        if let Some(error) = self.failed.remove(source) {
            return Err(error);
        }
        let Some(client) = self.clients.get_mut(source) else {
            return Err(RegistryError::NotConfigured { name: name.clone() });
        };
        let mut found = client.summaries(std::slice::from_ref(name), self.progress)?;
        Ok(found.remove(name).unwrap_or_default())
    }
}

impl Versions for Registries<'_> {
    fn versions(
        &mut self,
        name: &PackageName,
        source: &SourceId,
    ) -> Result<Arc<[Offer]>, VersionsError> {
        match self.index(name, source) {
            Ok(index) => Ok(index.offers.clone()),
            Err(error) => Err(VersionsError {
                name: name.clone(),
                source: Box::new(error),
            }),
        }
    }

    fn prefetch(&mut self, wanted: &[(PackageName, SourceId)]) {
        let mut by_source: BTreeMap<&SourceId, Vec<PackageName>> = BTreeMap::new();
        for (name, source) in wanted {
            by_source.entry(source).or_default().push(name.clone());
        }
        for (source, names) in by_source {
            if let Some(client) = self.clients.get_mut(source)
                && let Err(error) = client.summaries(&names, self.progress)
            {
                self.failed.insert(source.clone(), error);
            }
        }
    }

    fn similar_names(&mut self, name: &PackageName, source: &SourceId) -> Vec<PackageName> {
        // It only serves a message about another error, which matters more than why this fails.
        let near = self
            .clients
            .get_mut(source)
            .and_then(|client| client.near_names(name, self.progress).ok());
        near.unwrap_or_default()
            .iter()
            .filter_map(|near| PackageName::new(near).ok())
            .collect()
    }
}
