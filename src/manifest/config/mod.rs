//! Cargo's configuration as far as kiln heeds it: `.cargo/config.toml` of the directories from where the user is up to
//! the root, then cargo's home, under the environment's `CARGO_…` and over it all `--config`.
//!
//! [`Config::load`] reads the files and takes everything else as values. Nothing is decided here: which programs a file
//! may name, and which variables reach an action, is a matter of `driver`, which is told where each comes from
//! ([`ConfiguredProgram::by_checkout`]).

mod error;
mod flags;
mod layers;
mod programs;
mod settings;
mod sources;
mod unknown;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cargo_util_schemas::manifest::{TomlDependency, TomlProfile};

use self::layers::Layers;
use self::value::Origin;
use super::model::BuildProfiles;
use super::paths::normalize;
use super::profiles::check_profile;
use super::read::{ConfiguredPatch, ManifestContext};
use crate::package::SourceId;

pub use error::ConfigError;
pub use flags::FlagsFor;
pub use programs::{
    ConfiguredProgram, ConfiguredRunner, ConfiguredVariable, LinksOverride, ProgramName,
};
pub use settings::{NetworkSettings, ProgressWhen, TerminalSettings};
pub use sources::{ConfiguredSource, ConfiguredSourceKind, RegistryAccess};

/// Whether the resolver prefers versions that the workspace's `rust-version` can compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncompatibleRustVersions {
    /// `"allow"`: it takes no notice.
    Allow,
    /// `"fallback"`: it prefers those, and takes others for want of any.
    Fallback,
}

/// The configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// The files that were read, the most significant first.
    pub files: Vec<PathBuf>,
    /// `build.target`: triples.
    pub build_targets: Vec<String>,
    /// `build.target-dir`, absolute.
    pub target_dir: Option<PathBuf>,
    /// `build.jobs`, as stated: a number (negative ones are relative to the number of processors) or `default`.
    pub jobs: Option<String>,
    /// `build.incremental`, or `CARGO_INCREMENTAL`.
    pub incremental: Option<bool>,
    /// `[http]` and `[net]`.
    pub network: NetworkSettings,
    /// `[term]`
    pub terminal: TerminalSettings,
    /// `install.root`, absolute.
    pub install_root: Option<PathBuf>,
    /// `[registries.NAME] index`
    pub registries: BTreeMap<String, SourceId>,
    /// Registries that kiln cannot use, each with the reason.
    pub unusable_registries: BTreeMap<String, String>,
    /// `registry.default`
    pub default_registry: Option<String>,
    /// `[source.NAME]`
    pub sources: BTreeMap<String, ConfiguredSource>,
    /// `[profile.NAME]`, over the manifest's.
    pub profiles: BTreeMap<String, TomlProfile>,
    /// `[patch]`
    pub patches: Vec<ConfiguredPatch>,
    /// `resolver.incompatible-rust-versions`
    pub incompatible_rust_versions: Option<IncompatibleRustVersions>,
    /// What the user is to be told besides.
    pub warnings: Vec<String>,
    /// Tokens of `credentials.toml`, by the registry's name.
    credentials: sources::Credentials,
    layers: Layers,
}

/// Where configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct ConfigInputs<'a> {
    /// The directory that the user is in, absolute.
    pub start: PathBuf,
    /// Cargo's home (`CARGO_HOME`, else `~/.cargo`), if there is one.
    pub home: Option<PathBuf>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// The arguments of `--config`: `key=value`, or the path of a file.
    pub overrides: &'a [String],
}

impl Config {
    /// Reads the configuration that applies to `inputs`.
    pub fn load(inputs: &ConfigInputs<'_>) -> Result<Self, ConfigError> {
        let layers = Layers::read(inputs)?;
        let mut config = Self {
            files: layers.files.clone(),
            warnings: layers.warnings.clone(),
            build_targets: layers.one_or_many(&["build", "target"])?,
            network: NetworkSettings::read(&layers, |name| inputs.environment.get(name).cloned())?,
            terminal: TerminalSettings::read(&layers)?,
            install_root: layers.path(&["install", "root"])?,
            default_registry: layers
                .string(&["registry", "default"])?
                .map(|(text, _)| text),
            ..Self::default()
        };
        config.jobs = layers
            .number_or_text(&["build", "jobs"])?
            .map(|(text, _)| text);
        config.incremental = match inputs.environment.get("CARGO_INCREMENTAL") {
            Some(text) => Some(text == "1"),
            None => layers.boolean(&["build", "incremental"])?,
        };
        config.target_dir = match inputs.environment.get("CARGO_TARGET_DIR") {
            Some(path) if path.is_empty() => {
                return Err(Origin::Environment("CARGO_TARGET_DIR".to_owned())
                    .error("build.target-dir", "it is empty"));
            }
            Some(path) => Some(normalize(&inputs.start.join(path))),
            None => layers.path(&["build", "target-dir"])?,
        };
        config.incompatible_rust_versions =
            match layers.string(&["resolver", "incompatible-rust-versions"])? {
                None => None,
                Some((text, origin)) => Some(match text.as_str() {
                    "allow" => IncompatibleRustVersions::Allow,
                    "fallback" => IncompatibleRustVersions::Fallback,
                    _ => {
                        return Err(origin.error(
                            "resolver.incompatible-rust-versions",
                            format!("`{text}` is neither `allow` nor `fallback`"),
                        ));
                    }
                }),
            };
        (config.registries, config.unusable_registries) = sources::registries(&layers)?;
        config.sources = sources::sources(&layers)?;
        config.credentials = sources::credentials(inputs.home.as_ref())?;
        config.profiles = profiles(&layers, &mut config.warnings)?;
        config.patches = patches(&layers)?;
        if let Some(paths) = layers.find(&["paths"]) {
            return Err(paths.origin().error(
                "paths",
                "kiln does not override packages by paths: `[patch]` does that, in the manifest or here",
            ));
        }
        config.warnings.extend(unknown::warnings(&layers));
        config.layers = layers;
        config.check()?;
        Ok(config)
    }

    /// What reading manifests needs of the configuration. `barriers` as in [`ManifestContext::barriers`].
    pub fn manifest_context(&self, barriers: Vec<PathBuf>) -> ManifestContext {
        ManifestContext {
            registries: self.registries.clone(),
            patches: self.patches.clone(),
            unusable_registries: self.unusable_registries.clone(),
            barriers,
        }
    }

    /// Finds what is wrong in tables that are looked at later, so that it is said at once.
    fn check(&self) -> Result<(), ConfigError> {
        for target in self.layers.keys(&["target"]) {
            for flags in ["rustflags", "rustdocflags"] {
                self.layers.list(&["target", &target, flags])?;
            }
            self.layers.string(&["target", &target, "linker"])?;
            self.layers.words(&["target", &target, "runner"])?;
            if !target.starts_with("cfg(") {
                self.links_overrides(&target)?;
            }
        }
        for flags in ["rustflags", "rustdocflags"] {
            self.layers.list(&["build", flags])?;
        }
        self.environment().map(|_| ())
    }

    /// Whether `rust-version` counts in the choice of versions, where something is said about it.
    pub fn honor_rust_version(&self) -> Option<bool> {
        let choice = self.incompatible_rust_versions?;
        Some(choice == IncompatibleRustVersions::Fallback)
    }

    /// The alias `name` of `[alias]`: the words that it stands for.
    pub fn alias(&self, name: &str) -> Result<Option<Vec<String>>, ConfigError> {
        self.layers.words(&["alias", name])
    }

    /// The names of `[alias]`.
    pub fn aliases(&self) -> Vec<String> {
        self.layers.keys(&["alias"])
    }

    /// `manifest`'s profiles under those of the configuration.
    pub fn merge_profiles(&self, manifest: &BuildProfiles) -> BuildProfiles {
        let mut merged = manifest.clone();
        for (name, profile) in &self.profiles {
            merged
                .tables
                .entry(name.clone())
                .or_default()
                .merge(profile);
        }
        merged
    }
}

fn patches(layers: &Layers) -> Result<Vec<ConfiguredPatch>, ConfigError> {
    let mut patches = Vec::new();
    for source in layers.keys(&["patch"]) {
        for name in layers.keys(&["patch", &source]) {
            let Some(value) = layers.find(&["patch", &source, &name]) else {
                continue;
            };
            let key = format!("patch.{source}.{name}");
            let path = layers.find(&["patch", &source, &name, "path"]);
            let origin = path.unwrap_or(value).origin();
            let dependency = value.plain();
            dependency
                .clone()
                .try_into::<TomlDependency>()
                .map_err(|error| origin.error(&key, error.message()))?;
            patches.push(ConfiguredPatch {
                source: source.clone(),
                name,
                dependency,
                directory: origin.base(layers.start()),
                origin: origin.to_string(),
            });
        }
    }
    Ok(patches)
}

/// The keys of a profile that the environment can set.
const PROFILE_KEYS: [&str; 12] = [
    "opt-level",
    "debug",
    "split-debuginfo",
    "debug-assertions",
    "overflow-checks",
    "lto",
    "panic",
    "incremental",
    "codegen-units",
    "rpath",
    "strip",
    "inherits",
];

fn profiles(
    layers: &Layers,
    warnings: &mut Vec<String>,
) -> Result<BTreeMap<String, TomlProfile>, ConfigError> {
    let mut names = layers.keys(&["profile"]);
    for name in ["dev", "release", "test", "bench"] {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    let mut profiles = BTreeMap::new();
    for name in names {
        let (mut table, origin) = layers.plain_table(&["profile", &name])?;
        for key in PROFILE_KEYS {
            if let Some(value) = layers.environment_value(&["profile", &name, key]) {
                table.insert(key.to_owned(), value);
            }
            if let Some(value) =
                layers.environment_value(&["profile", &name, "build-override", key])
                && let Some(layer) = table
                    .entry("build-override")
                    .or_insert_with(|| toml::Value::Table(toml::Table::new()))
                    .as_table_mut()
            {
                layer.insert(key.to_owned(), value);
            }
        }
        if table.is_empty() {
            continue;
        }
        let key = format!("profile.{name}");
        let profile: TomlProfile = toml::Value::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| origin.error(&key, error.message().to_owned()))?;
        check_profile(&name, &profile, warnings)
            .map_err(|fault| origin.error(&key, fault.sentence()))?;
        profiles.insert(name, profile);
    }
    Ok(profiles)
}

/// Whether `path` is the name of a file rather than `key=value`: cargo asks the file system first.
fn names_file(base: &Path, argument: &str) -> Option<PathBuf> {
    let path = base.join(argument);
    path.is_file().then_some(path)
}

#[cfg(test)]
mod tests;
