//! Who answers for a source: its registry, its repository, or what configuration puts in its place.

use std::path::PathBuf;
use std::sync::Arc;

use crate::driver::supply::vendored::{Directory, VendoredError};
use crate::manifest::ManifestContext;
use crate::manifest::config::{Config, ConfiguredSourceKind, RegistryAccess};
use crate::package::{SourceId, default_sparse_index};
use crate::registry::{LocalRegistry, PlainHttp, Registry, Token};

/// Who answers for a source.
#[derive(Debug, Clone)]
pub(in crate::driver) enum Provider {
    /// A registry with a sparse index, its own or a mirror.
    Sparse,
    /// A directory with an index and archives.
    Local(Arc<LocalRegistry>),
    /// A directory with vendored packages.
    Directory(Arc<Directory>),
    /// Its git repository.
    Repository,
}

/// What was decided for a source.
pub(in crate::driver) struct Choice {
    pub(in crate::driver) provider: Provider,
    /// How to speak to the registry, for [`Provider::Sparse`].
    pub(in crate::driver) registry: Option<Registry>,
}

/// Decides who answers for `source`. `known` has the directories that were read before.
pub(in crate::driver) fn choose(
    config: &Config,
    source: &SourceId,
    manifests: &ManifestContext,
    known: &mut Vec<Arc<Directory>>,
) -> Result<Choice, VendoredError> {
    let here = |provider| Choice {
        provider,
        registry: None,
    };
    match config.replacement_of(source)? {
        Some(ConfiguredSourceKind::Directory(path)) => {
            let directory = directory(path, source, manifests, known)?;
            Ok(here(Provider::Directory(directory)))
        }
        Some(ConfiguredSourceKind::LocalRegistry(path)) if source.is_registry() => Ok(here(
            Provider::Local(Arc::new(LocalRegistry::new(&path, source))),
        )),
        Some(ConfiguredSourceKind::Remote(mirror))
            if source.is_registry() && mirror.is_registry() =>
        {
            sparse(config, source, &mirror)
        }
        Some(other) => Err(VendoredError::Unsupported {
            source_text: source.canonical_address().to_owned(),
            replacement: match other {
                ConfiguredSourceKind::Remote(other) => other.canonical_address().to_owned(),
                ConfiguredSourceKind::LocalRegistry(path)
                | ConfiguredSourceKind::Directory(path) => path.display().to_string(),
                ConfiguredSourceKind::Unusable(why) => why,
            },
        }),
        None if source.is_git() => Ok(here(Provider::Repository)),
        None => sparse(config, source, source),
    }
}

fn directory(
    path: PathBuf,
    source: &SourceId,
    manifests: &ManifestContext,
    known: &mut Vec<Arc<Directory>>,
) -> Result<Arc<Directory>, VendoredError> {
    if source.is_git() && source.precise().is_none() {
        return Err(VendoredError::NoLock {
            source_text: source.canonical_address().to_owned(),
        });
    }
    if let Some(known) = known.iter().find(|known| known.path() == path) {
        return Ok(known.clone());
    }
    let read = Arc::new(Directory::read(&path, source, manifests)?);
    known.push(read.clone());
    Ok(read)
}

/// The registry at `mirror`, whose packages count as those of `source`.
fn sparse(config: &Config, source: &SourceId, mirror: &SourceId) -> Result<Choice, VendoredError> {
    let Some(mut registry) = Registry::of_source(mirror) else {
        return Err(VendoredError::Unsupported {
            source_text: source.canonical_address().to_owned(),
            replacement: mirror.canonical_address().to_owned(),
        });
    };
    registry.source = source.clone();
    if registry.index != default_sparse_index() {
        let RegistryAccess {
            token,
            named_by_user,
            ..
        } = config.registry_access(mirror)?;
        registry.token = token.map(Token::new);
        if named_by_user {
            registry.plain_http = PlainHttp::NamedByUser;
        }
    }
    Ok(Choice {
        provider: Provider::Sparse,
        registry: Some(registry),
    })
}
