//! `[registries]`, `[source]` and what authorizes requests: which places stand for which sources.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::layers::Layers;
use super::{Config, ConfigError};
use crate::manifest::source_text::{git_source, registry_from_index};
use crate::package::{DEFAULT_REGISTRY, GitReference, SourceId};

/// The one credential provider that runs no program of its own.
const TOKEN_PROVIDER: &str = "cargo:token";

/// A `[source.NAME]` table: what it is, and what takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfiguredSource {
    /// What it is, where the table says so (`crates-io` need not).
    pub kind: Option<ConfiguredSourceKind>,
    /// `replace-with`: the name of another source or registry.
    pub replace_with: Option<String>,
}

/// What a `[source.NAME]` table describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfiguredSourceKind {
    /// `registry = "…"` or a git repository.
    Remote(SourceId),
    /// `local-registry = "…"`: archives and an index in a directory.
    LocalRegistry(PathBuf),
    /// `directory = "…"`: unpacked packages, as `cargo vendor` leaves them.
    Directory(PathBuf),
    /// Something that kiln cannot use, with the reason: an error once it is used.
    Unusable(String),
}

/// How a registry is to be spoken to.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct RegistryAccess {
    /// The names that configuration has for it.
    pub names: Vec<String>,
    /// What authorizes requests: a secret.
    pub token: Option<String>,
    /// Whether the user's own configuration, not that of a checkout, names its address.
    pub named_by_user: bool,
}

impl std::fmt::Debug for RegistryAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryAccess")
            .field("names", &self.names)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("named_by_user", &self.named_by_user)
            .finish()
    }
}

/// Tokens by the registry's name; never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Credentials(BTreeMap<String, String>);

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Config {
    /// What takes the place of `source`, a registry or a repository, through any number of `replace-with`; `None` if
    /// nothing does.
    pub fn replacement_of(
        &self,
        source: &SourceId,
    ) -> Result<Option<ConfiguredSourceKind>, ConfigError> {
        let wanted = source.with_precise(None);
        let is_it = |configured: &ConfiguredSource| matches!(&configured.kind, Some(ConfiguredSourceKind::Remote(other)) if *other == wanted);
        let by_address = self
            .sources
            .iter()
            .find(|(_, configured)| is_it(configured))
            .map(|(name, _)| name.as_str());
        let name = match by_address {
            Some(name) => name,
            None if source.is_crates_io() => DEFAULT_REGISTRY,
            None => return Ok(None),
        };
        let found = self.replacement(name)?;
        if found.is_none()
            && source.is_crates_io()
            && let Some(configured) = self.sources.get(DEFAULT_REGISTRY)
            && !is_it(configured)
        {
            // `[source.crates-io]` that says itself what it is.
            return Ok(configured.kind.clone());
        }
        Ok(found.filter(|kind| *kind != ConfiguredSourceKind::Remote(wanted)))
    }

    /// What takes the place of the source `name` (`crates-io`, or a name of [`Config::sources`]), through any number
    /// of `replace-with`; `None` if nothing does.
    pub fn replacement(&self, name: &str) -> Result<Option<ConfiguredSourceKind>, ConfigError> {
        let error = |message: String| ConfigError::Value {
            origin: "the configuration".to_owned(),
            key: format!("source.{name}.replace-with"),
            message,
        };
        let mut current = name;
        for _ in 0..=self.sources.len() {
            let next = self
                .sources
                .get(current)
                .and_then(|source| source.replace_with.as_deref());
            let Some(next) = next else {
                if current == name {
                    return Ok(None);
                }
                let kind = self
                    .sources
                    .get(current)
                    .and_then(|source| source.kind.clone());
                let registry = || {
                    let source = match current {
                        DEFAULT_REGISTRY => Some(SourceId::default_registry()),
                        name => self.registries.get(name).cloned(),
                    };
                    source.map(ConfiguredSourceKind::Remote)
                };
                if let Some(why) = self.unusable_registries.get(current) {
                    return Err(error(format!("`{current}` cannot be used: {why}")));
                }
                return match kind.or_else(registry) {
                    Some(ConfiguredSourceKind::Unusable(why)) => {
                        Err(error(format!("`{current}` cannot be used: {why}")))
                    }
                    Some(kind) => Ok(Some(kind)),
                    None => Err(error(format!(
                        "`{current}` is neither a source nor a registry"
                    ))),
                };
            };
            current = next;
        }
        Err(error(
            "the sources replace each other in a circle".to_owned(),
        ))
    }

    /// How the registry at `index`, its source, is to be spoken to.
    ///
    /// # Errors
    /// The token would have to come from a program, or has characters that no token has.
    pub fn registry_access(&self, index: &SourceId) -> Result<RegistryAccess, ConfigError> {
        let mut access = RegistryAccess::default();
        for (name, source) in &self.registries {
            if source != index {
                continue;
            }
            let origin = self.layers.origin(&["registries", name, "index"]);
            access.named_by_user |= !self.layers.is_of_checkout(&origin);
            access.names.push(name.clone());
            if access.token.is_none() {
                access.token = self.token(name)?;
            }
        }
        for (name, configured) in &self.sources {
            if matches!(&configured.kind, Some(ConfiguredSourceKind::Remote(source)) if source == index)
            {
                let origin = self.layers.origin(&["source", name, "registry"]);
                access.named_by_user |= !self.layers.is_of_checkout(&origin);
            }
        }
        Ok(access)
    }

    /// The token of the registry `name`.
    fn token(&self, name: &str) -> Result<Option<String>, ConfigError> {
        let key = ["registries", name, "token"];
        let (token, origin) = match self.layers.string(&key)? {
            Some(found) => found,
            None => match self.credentials.0.get(name) {
                Some(token) => (token.clone(), self.layers.origin(&key)),
                None => {
                    self.check_providers(name)?;
                    return Ok(None);
                }
            },
        };
        if token.is_empty() || !token.chars().all(|c| c == '\t' || (' '..='~').contains(&c)) {
            return Err(origin.error(
                &key.join("."),
                "it is empty, or has characters that no token has",
            ));
        }
        self.check_providers(name)?;
        Ok(Some(token))
    }

    /// Refuses credential providers that are programs; where `cargo:token` is among several, it is the one that counts.
    fn check_providers(&self, name: &str) -> Result<(), ConfigError> {
        let own = ["registries", name, "credential-provider"];
        let global = ["registry", "global-credential-providers"];
        let (key, providers) = match self.layers.words(&own)? {
            Some(words) => (&own[..], words.first().cloned().into_iter().collect()),
            None => match self.layers.list(&global)? {
                Some(list) => (&global[..], list),
                None => return Ok(()),
            },
        };
        let is_token = |provider: &String| provider.trim() == TOKEN_PROVIDER;
        if providers.is_empty() || providers.iter().any(is_token) {
            return Ok(());
        }
        Err(self.layers.origin(key).error(
            &key.join("."),
            format!(
                "`{}` would have to be run, and kiln runs no programs for credentials: set \
                 `CARGO_REGISTRIES_{}_TOKEN`, or use `{TOKEN_PROVIDER}`",
                providers.join("`, `"),
                name.to_uppercase().replace(['-', '.'], "_"),
            ),
        ))
    }
}

/// Reads `credentials.toml` (or, as cargo once named it, `credentials`) of cargo's home: tokens by the registry's name.
pub(super) fn credentials(home: Option<&PathBuf>) -> Result<Credentials, ConfigError> {
    let mut tokens = BTreeMap::new();
    let Some(home) = home else {
        return Ok(Credentials(tokens));
    };
    for file in ["credentials", "credentials.toml"] {
        let path = home.join(file);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        if file == "credentials.toml" && !tokens.is_empty() {
            // cargo takes the older name where both are there.
            break;
        }
        // What the parser says could quote a secret; so only where it is wrong is told.
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| {
                text[..span.start.min(text.len())].lines().count().max(1)
            });
            ConfigError::Value {
                origin: format!("{}:{line}", path.display()),
                key: "credentials".to_owned(),
                message: "it is not TOML".to_owned(),
            }
        })?;
        let registries = table.get("registries").and_then(toml::Value::as_table);
        for (name, registry) in registries.into_iter().flatten() {
            if let Some(token) = registry.get("token").and_then(toml::Value::as_str) {
                tokens.insert(name.clone(), token.to_owned());
            }
        }
    }
    Ok(Credentials(tokens))
}

/// The registries that can be used, and why others cannot: a name that nobody uses is no reason to stop.
type Registries = (BTreeMap<String, SourceId>, BTreeMap<String, String>);

pub(super) fn registries(layers: &Layers) -> Result<Registries, ConfigError> {
    let mut names: Vec<String> = layers.keys(&["registries"]);
    names.extend(layers.environment_names("CARGO_REGISTRIES_", "_INDEX"));
    let mut registries = BTreeMap::new();
    let mut unusable = BTreeMap::new();
    for name in names {
        let Some((index, _)) = layers.string(&["registries", &name, "index"])? else {
            continue;
        };
        match registry_from_index(&index) {
            Ok(source) => {
                registries.insert(name, source);
            }
            Err(why) => {
                unusable.insert(name, why.to_string());
            }
        }
    }
    Ok((registries, unusable))
}

pub(super) fn sources(layers: &Layers) -> Result<BTreeMap<String, ConfiguredSource>, ConfigError> {
    let mut sources = BTreeMap::new();
    for name in layers.keys(&["source"]) {
        let key = |last| ["source", name.as_str(), last];
        let text = |last| layers.string(&key(last));
        let mut kinds = Vec::new();
        if let Some((index, _)) = text("registry")? {
            kinds.push(match registry_from_index(&index) {
                Ok(source) => ConfiguredSourceKind::Remote(source),
                Err(why) => ConfiguredSourceKind::Unusable(why.to_string()),
            });
        }
        if let Some((url, origin)) = text("git")? {
            let reference = match (text("branch")?, text("tag")?, text("rev")?) {
                (Some((branch, _)), _, _) => GitReference::Branch(branch),
                (_, Some((tag, _)), _) => GitReference::Tag(tag),
                (_, _, Some((rev, _))) => GitReference::Rev(rev),
                _ => GitReference::DefaultBranch,
            };
            let source = git_source(&url, reference)
                .map_err(|why| origin.error(&format!("source.{name}.git"), why.to_string()))?;
            kinds.push(ConfiguredSourceKind::Remote(source));
        }
        if let Some(path) = layers.path(&key("local-registry"))? {
            kinds.push(ConfiguredSourceKind::LocalRegistry(path));
        }
        if let Some(path) = layers.path(&key("directory"))? {
            kinds.push(ConfiguredSourceKind::Directory(path));
        }
        if kinds.len() > 1 {
            return Err(ConfigError::Value {
                origin: "the configuration".to_owned(),
                key: format!("source.{name}"),
                message:
                    "it is more than one of `registry`, `git`, `local-registry` and `directory`"
                        .to_owned(),
            });
        }
        let source = ConfiguredSource {
            kind: kinds.pop(),
            replace_with: text("replace-with")?.map(|(name, _)| name),
        };
        sources.insert(name, source);
    }
    Ok(sources)
}
