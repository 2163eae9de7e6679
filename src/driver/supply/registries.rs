//! The registries of one command: resolution asks them for versions, fetching for archives.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::driver::supply::providers::Provider;
use crate::driver::supply::repositories::{Repositories, Repository, RepositoryError};
use crate::driver::supply::vendored::{Directory, VendoredError};
use crate::driver::{Context, DriverError, Reporter};
use crate::manifest::ManifestContext;
use crate::manifest::config::Config;
use crate::package::{DEFAULT_REGISTRY, Offer, PackageId, PackageName, SourceId, Summary};
use crate::registry::{Client, Event, Network, Progress, RegistryError};
use crate::resolve::{Summaries, Versions, VersionsError};
use crate::store::Store;

/// Passes what happens while fetching on to the reporter.
pub(in crate::driver) struct Reporting<'a>(pub(in crate::driver) &'a mut dyn Reporter);

impl Progress for Reporting<'_> {
    fn event(&mut self, event: Event) {
        self.0.fetching(event);
    }
}

/// Packages that count as if their registries had them, each with its archive.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    packages: BTreeMap<PackageId, (Arc<Summary>, PathBuf)>,
}

impl Overlay {
    /// Adds a package whose archive is the file `archive`.
    pub fn add(&mut self, summary: Summary, archive: PathBuf) {
        self.packages
            .insert(summary.id.clone(), (Arc::new(summary), archive));
    }

    /// The archive of a package that is in it.
    pub(in crate::driver) fn archive(&self, package: &PackageId) -> Option<&PathBuf> {
        Some(&self.packages.get(package)?.1)
    }

    fn summary(&self, package: &PackageId) -> Option<Arc<Summary>> {
        Some(self.packages.get(package)?.0.clone())
    }

    /// The versions of `name` in `source`, those of `known` that are not in it included.
    fn over(&self, known: &[Offer], name: &PackageName, source: &SourceId) -> Option<Arc<[Offer]>> {
        let mine: Vec<Offer> = self
            .packages
            .iter()
            .filter(|(id, _)| id.name() == name && id.source() == source)
            .map(|(_, (summary, _))| Offer::from(summary.clone()))
            .collect();
        if mine.is_empty() {
            return None;
        }
        let others = known
            .iter()
            .filter(|offer| !self.packages.contains_key(offer.id()));
        Some(others.cloned().chain(mine.iter().cloned()).collect())
    }
}

/// The registry that configuration or cargo calls `name`.
pub(in crate::driver) fn named(manifests: &ManifestContext, name: &str) -> Option<SourceId> {
    match manifests.registries.get(name) {
        Some(source) => Some(source.clone()),
        None => (name == DEFAULT_REGISTRY).then(SourceId::default_registry),
    }
}

/// All registries that a command has met, each asked through one client.
pub struct Registries<'a> {
    network: Arc<Network>,
    cache: PathBuf,
    clients: BTreeMap<SourceId, Client>,
    locked: BTreeMap<PackageId, Arc<Summary>>,
    versions: BTreeMap<(PackageName, SourceId), Arc<[Offer]>>,
    repositories: Repositories,
    config: Arc<Config>,
    manifests: ManifestContext,
    /// Who answers for each source, without a commit.
    providers: BTreeMap<SourceId, Provider>,
    directories: Vec<Arc<Directory>>,
    overlay: Arc<Overlay>,
    reporter: &'a mut dyn Reporter,
}

impl<'a> Registries<'a> {
    /// Nothing yet; index files and repositories are kept in the home of `store`.
    pub fn new(
        context: &Context,
        store: &Arc<Store>,
        reporter: &'a mut dyn Reporter,
    ) -> Result<Self, RegistryError> {
        let network = Arc::new(Network::new(context.network.clone())?);
        let manifests = context.manifest_context();
        Ok(Self {
            repositories: Repositories::new(
                store.clone(),
                network.clone(),
                manifests.clone(),
                context.config.network.git_fetch_with_cli,
            ),
            config: context.config.clone(),
            manifests,
            providers: BTreeMap::new(),
            directories: Vec::new(),
            overlay: context.overlay.clone(),
            network,
            cache: context.home.join("index"),
            clients: BTreeMap::new(),
            locked: BTreeMap::new(),
            versions: BTreeMap::new(),
            reporter,
        })
    }

    /// Who is told what happens.
    pub fn reporter(&mut self) -> &mut dyn Reporter {
        self.reporter
    }

    /// The network, the clients by source, and the reporter.
    pub(in crate::driver) fn parts(
        &mut self,
    ) -> (
        Arc<Network>,
        &mut BTreeMap<SourceId, Client>,
        &mut dyn Reporter,
    ) {
        (self.network.clone(), &mut self.clients, self.reporter)
    }

    /// The repository of `source`, a git source.
    pub(in crate::driver) fn repository(
        &mut self,
        source: &SourceId,
    ) -> Result<Arc<Repository>, RepositoryError> {
        self.repositories.repository(source, self.reporter)
    }

    /// Tells whoever uses `package` of `repository` what is odd about it.
    pub(in crate::driver) fn tell_of(&mut self, repository: &Repository, package: &PackageId) {
        self.repositories.tell(repository, package, self.reporter);
    }

    /// The same, for whoever asked for `name` in it.
    fn repository_of(
        &mut self,
        name: &PackageName,
        source: &SourceId,
    ) -> Result<Arc<Repository>, VersionsError> {
        self.repository(source).map_err(|error| VersionsError {
            name: name.clone(),
            source: Box::new(error),
        })
    }

    /// Who answers for `source`. If it is a registry that is to be asked, there is a client for it then.
    pub(in crate::driver) fn provider(
        &mut self,
        source: &SourceId,
    ) -> Result<Provider, ProviderError> {
        let key = source.with_precise(None);
        if let Some(known) = self.providers.get(&key) {
            return Ok(known.clone());
        }
        let choice =
            super::providers::choose(&self.config, source, &self.manifests, &mut self.directories)?;
        if let Some(registry) = choice.registry {
            let client = Client::new(self.network.clone(), registry, &self.cache)?;
            self.clients.insert(source.clone(), client);
        }
        self.providers.insert(key, choice.provider.clone());
        Ok(choice.provider)
    }

    /// The same, for whoever asked for `name` in it.
    fn provider_of(
        &mut self,
        name: &PackageName,
        source: &SourceId,
    ) -> Result<Provider, VersionsError> {
        self.provider(source).map_err(|error| VersionsError {
            name: name.clone(),
            source: error.boxed(),
        })
    }

    /// The client of `source` and the reporter.
    fn client(
        &mut self,
        name: &PackageName,
        source: &SourceId,
    ) -> Result<(&mut Client, Reporting<'_>), VersionsError> {
        self.provider_of(name, source)?;
        match self.clients.get_mut(source) {
            Some(client) => Ok((client, Reporting(self.reporter))),
            None => Err(VersionsError {
                name: name.clone(),
                source: Box::new(RegistryError::NotConfigured { name: name.clone() }),
            }),
        }
    }

    fn load(&mut self, source: &SourceId, names: &[PackageName]) -> Result<(), VersionsError> {
        let Some(first) = names.first() else {
            return Ok(());
        };
        match self.provider_of(first, source)? {
            Provider::Sparse | Provider::Repository => {}
            Provider::Local(local) => {
                for name in names {
                    let index = local.index(name).map_err(|error| VersionsError {
                        name: name.clone(),
                        source: Box::new(error),
                    })?;
                    self.versions
                        .insert((name.clone(), source.clone()), index.offers);
                }
                return Ok(());
            }
            Provider::Directory(directory) => {
                for name in names {
                    let found = vendored(&directory, name, source)?;
                    self.versions
                        .insert((name.clone(), source.clone()), offers(found));
                }
                return Ok(());
            }
        }
        let (client, mut progress) = self.client(first, source)?;
        let found = client
            .summaries(names, &mut progress)
            .map_err(|error| VersionsError {
                name: first.clone(),
                source: Box::new(error),
            })?;
        for (name, index) in found {
            self.versions
                .insert((name, source.clone()), index.offers.clone());
        }
        Ok(())
    }
}

fn offers(summaries: impl IntoIterator<Item = Arc<Summary>>) -> Arc<[Offer]> {
    summaries.into_iter().map(Offer::from).collect()
}

fn vendored(
    directory: &Directory,
    name: &PackageName,
    source: &SourceId,
) -> Result<Vec<Arc<Summary>>, VersionsError> {
    directory
        .summaries(name, source)
        .map_err(|error| VersionsError {
            name: name.clone(),
            source: Box::new(error),
        })
}

/// Why nobody can answer for a source.
#[derive(Debug, thiserror::Error)]
pub(in crate::driver) enum ProviderError {
    /// What takes its place, or the configuration.
    #[error(transparent)]
    Vendored(#[from] VendoredError),
    /// The registry's address.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl ProviderError {
    fn boxed(self) -> Box<dyn std::error::Error + Send + Sync> {
        match self {
            Self::Vendored(error) => Box::new(error),
            Self::Registry(error) => Box::new(error),
        }
    }
}

impl From<ProviderError> for DriverError {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Vendored(error) => error.into(),
            ProviderError::Registry(error) => error.into(),
        }
    }
}

impl Versions for Registries<'_> {
    fn versions(
        &mut self,
        name: &PackageName,
        source: &SourceId,
    ) -> Result<Arc<[Offer]>, VersionsError> {
        if source.is_git()
            && let Provider::Repository = self.provider_of(name, source)?
        {
            return Ok(offers(
                self.repository_of(name, source)?
                    .summaries(name)
                    .iter()
                    .cloned(),
            ));
        }
        let key = (name.clone(), source.clone());
        if !self.versions.contains_key(&key) {
            let loaded = self.load(source, std::slice::from_ref(name));
            if let Some(found) = self.overlay.over(
                self.versions.get(&key).map_or(&[][..], |known| known),
                name,
                source,
            ) {
                // A registry that has no such name yet may say so in any way.
                self.versions.insert(key, found.clone());
                return Ok(found);
            }
            loaded?;
        }
        let known = self.versions.get(&key).cloned().unwrap_or_default();
        Ok(self.overlay.over(&known, name, source).unwrap_or(known))
    }

    fn prefetch(&mut self, wanted: &[(PackageName, SourceId)]) {
        let mut by_source: BTreeMap<&SourceId, Vec<PackageName>> = BTreeMap::new();
        for (name, source) in wanted {
            if source.is_registry() && !self.versions.contains_key(&(name.clone(), source.clone()))
            {
                by_source.entry(source).or_default().push(name.clone());
            }
        }
        for (source, names) in by_source {
            // Whoever needs one of them asks again, and is told then.
            let _ = self.load(source, &names);
        }
    }

    fn similar_names(&mut self, name: &PackageName, source: &SourceId) -> Vec<PackageName> {
        if let Ok(Provider::Directory(directory)) = self.provider(source) {
            return directory.names().cloned().collect();
        }
        if source.is_git() {
            let known = self.repositories.known().get(source);
            let packages = known.into_iter().flat_map(|known| known.packages.keys());
            return packages.map(|id| id.name().clone()).collect();
        }
        let Ok((client, mut progress)) = self.client(name, source) else {
            return Vec::new();
        };
        let near = client.near_names(name, &mut progress).unwrap_or_default();
        near.iter()
            .filter_map(|name| PackageName::new(name).ok())
            .collect()
    }
}

impl Summaries for Registries<'_> {
    fn prefetch(&mut self, packages: &[PackageId]) {
        let mut by_source: BTreeMap<&SourceId, Vec<&PackageId>> = BTreeMap::new();
        for package in packages {
            if package.source().is_registry()
                && !self.locked.contains_key(package)
                && self.overlay.summary(package).is_none()
            {
                by_source.entry(package.source()).or_default().push(package);
            }
        }
        for (source, packages) in by_source {
            let wanted: Vec<_> = packages
                .iter()
                .map(|package| (package.name().clone(), package.version().clone()))
                .collect();
            let Ok(Provider::Sparse) = self.provider(source) else {
                continue;
            };
            let Ok((client, mut progress)) = self.client(packages[0].name(), source) else {
                continue;
            };
            // If one of them cannot be had, each is asked for by itself, and that one fails.
            if let Ok(summaries) = client.locked(&wanted, &mut progress) {
                for (package, summary) in packages.into_iter().zip(summaries) {
                    self.locked.insert(package.clone(), Arc::new(summary));
                }
            }
        }
    }

    fn summary(&mut self, package: &PackageId) -> Result<Option<Arc<Summary>>, VersionsError> {
        if let Some(summary) = self.overlay.summary(package) {
            return Ok(Some(summary));
        }
        if let Some(summary) = self.locked.get(package) {
            return Ok(Some(summary.clone()));
        }
        let failed = |error| VersionsError {
            name: package.name().clone(),
            source: error,
        };
        match self.provider_of(package.name(), package.source())? {
            Provider::Sparse | Provider::Repository => {}
            Provider::Local(local) => {
                let found = local
                    .locked(package.name(), package.version())
                    .map_err(|error| failed(error.into()))?;
                return Ok(found.map(Arc::new));
            }
            Provider::Directory(directory) => {
                let found = vendored(&directory, package.name(), package.source())?;
                return Ok(found.into_iter().find(|summary| summary.id == *package));
            }
        }
        if package.source().is_git() {
            let repository = self.repository_of(package.name(), package.source())?;
            let found = repository.packages.get(package);
            return Ok(found.map(|found| Arc::new(found.summary.clone())));
        }
        let wanted = [(package.name().clone(), package.version().clone())];
        let (client, mut progress) = self.client(package.name(), package.source())?;
        match client.locked(&wanted, &mut progress) {
            Ok(mut summaries) => {
                let summary = summaries.pop().map(Arc::new);
                if let Some(summary) = &summary {
                    self.locked.insert(package.clone(), summary.clone());
                }
                Ok(summary)
            }
            Err(RegistryError::NoSuchPackage { .. } | RegistryError::NoSuchVersion { .. }) => {
                Ok(None)
            }
            Err(error) => Err(VersionsError {
                name: package.name().clone(),
                source: Box::new(error),
            }),
        }
    }
}
