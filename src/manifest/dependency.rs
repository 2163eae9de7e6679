//! One dependency of a manifest to a [`Dependency`].

use std::path::Path;

use cargo_platform::Platform;
use cargo_util_schemas::manifest::TomlDetailedDependency;
use semver::VersionReq;

use super::error::{Checked, Fault};
use super::paths::normalize;
use super::read::ManifestContext;
use super::source_text::{SourceTextError, git_source, parse_url, registry_from_index};
use crate::package::{
    DEFAULT_REGISTRY, Dependency, DependencyKind, FeatureName, GitReference, PackageName, SourceId,
    SourceKind,
};

/// What lowering a dependency needs to know of the manifest that it stands in.
pub(super) struct Surroundings<'a> {
    pub(super) context: &'a ManifestContext,
    /// The directory of the manifest.
    pub(super) directory: &'a Path,
    /// The source of the package.
    pub(super) source: &'a SourceId,
}

impl Surroundings<'_> {
    /// The dependency under the key `name`.
    pub(super) fn dependency(
        &self,
        name: &str,
        toml: &TomlDetailedDependency,
        kind: DependencyKind,
        platform: Option<&Platform>,
        warnings: &mut Vec<String>,
    ) -> Checked<Dependency> {
        if toml.version.is_none() && toml.path.is_none() && toml.git.is_none() {
            return Err(Fault::new(format!(
                "the dependency `{name}` says neither version nor path nor git repository"
            ))
            .help(format!(
                "write `{name} = \"1.0\"` with the version you want, or `{name}.workspace = true`"
            )));
        }
        let unsupported = [
            ("artifact", toml.artifact.is_some()),
            ("lib", toml.lib.is_some()),
            ("target", toml.target.is_some()),
            ("base", toml.base.is_some()),
        ];
        if let Some((key, _)) = unsupported.into_iter().find(|(_, is_there)| *is_there) {
            return Err(Fault::unsupported(format!(
                "`{key}` of the dependency `{name}` is nightly-only in cargo"
            )));
        }
        if toml.public.is_some() {
            warnings.push(match kind {
                DependencyKind::Normal => format!(
                    "`public` of the dependency `{name}` is ignored: it is nightly-only in cargo"
                ),
                _ => format!("`public` of `{name}` is ignored: it is for `[dependencies]` only"),
            });
        }
        let has_version = toml.version.is_some();
        let requirement = match &toml.version {
            None => VersionReq::STAR,
            Some(version) => {
                if version.contains('+') {
                    warnings.push(format!(
                        "`+…` in the version `{version}` of the dependency `{name}` is ignored: requirements do not \
                         look at it"
                    ));
                }
                VersionReq::parse(version).map_err(|error| {
                    Fault::new(format!(
                        "`{version}` of the dependency `{name}` is not a version requirement: {error}"
                    ))
                })?
            }
        };
        let features = toml
            .features
            .iter()
            .flatten()
            .map(|feature| feature_name(name, feature))
            .collect::<Checked<_>>()?;
        let key = package_name(name)?;
        let (package, renamed) = match &toml.package {
            Some(package) => (package_name(package)?, Some(key)),
            None => (key, None),
        };
        Ok(Dependency {
            source: self.source_of(name, toml, warnings)?,
            package,
            renamed,
            requirement,
            has_version,
            kind,
            optional: toml.optional.unwrap_or(false),
            default_features: toml.default_features().unwrap_or(true),
            features,
            platform: platform.cloned(),
            public: false,
        })
    }

    fn source_of(
        &self,
        name: &str,
        toml: &TomlDetailedDependency,
        warnings: &mut Vec<String>,
    ) -> Checked<SourceId> {
        let only_one = |keys: &str| {
            Fault::new(format!(
                "the dependency `{name}` has more than one of {keys}"
            ))
            .help("keep the one that is meant")
        };
        let references = [
            ("branch", &toml.branch),
            ("tag", &toml.tag),
            ("rev", &toml.rev),
        ];
        let has_registry = toml.registry.is_some() || toml.registry_index.is_some();
        match (&toml.git, &toml.path) {
            (Some(_), _) if has_registry => Err(only_one("`git` and `registry`")),
            (Some(_), Some(_)) => Err(only_one("`git` and `path`")),
            (Some(git), None) => {
                if references
                    .iter()
                    .filter(|(_, value)| value.is_some())
                    .count()
                    > 1
                {
                    return Err(only_one("`branch`, `tag` and `rev`"));
                }
                let reference = match (&toml.branch, &toml.tag, &toml.rev) {
                    (Some(branch), _, _) => GitReference::Branch(branch.clone()),
                    (_, Some(tag), _) => GitReference::Tag(tag.clone()),
                    (_, _, Some(rev)) => GitReference::Rev(rev.clone()),
                    _ => GitReference::DefaultBranch,
                };
                if let Some((_, fragment)) = git.split_once('#') {
                    warnings.push(format!(
                        "`#{fragment}` in the address of the dependency `{name}` is ignored: for a commit write \
                         `rev = \"{fragment}\"`"
                    ));
                }
                git_source(git, reference).map_err(|error| in_dependency(name, &error))
            }
            (None, path) => {
                if let Some((key, _)) = references.iter().find(|(_, value)| value.is_some()) {
                    return Err(Fault::new(format!(
                        "`{key}` of the dependency `{name}` means nothing without `git`"
                    ))
                    .help("remove it, or add `git`"));
                }
                match (path, &toml.registry, &toml.registry_index) {
                    (_, Some(_), Some(_)) => Err(only_one("`registry` and `registry-index`")),
                    // A package from a registry or a repository finds its neighbours in the same place.
                    (Some(_), _, _) if !self.source.is_path() => Ok(self.source.clone()),
                    (Some(path), _, _) => Ok(SourceId::new(SourceKind::Path(normalize(
                        &self.directory.join(path),
                    )))),
                    (None, Some(registry), None) => {
                        self.registry(registry.as_str()).map_err(|fault| {
                            fault.help(format!(
                                "the dependency `{name}` names it: set `registries.{registry}.index` in \
                                 `.cargo/config.toml`"
                            ))
                        })
                    }
                    (None, None, Some(index)) => {
                        registry_from_index(index).map_err(|error| in_dependency(name, &error))
                    }
                    (None, None, None) => Ok(SourceId::default_registry()),
                }
            }
        }
    }

    fn registry(&self, name: &str) -> Checked<SourceId> {
        if name == DEFAULT_REGISTRY {
            return Ok(SourceId::default_registry());
        }
        if let Some(why) = self.context.unusable_registries.get(name) {
            return Err(Fault::unsupported(format!(
                "the registry `{name}` cannot be used: {why}"
            )));
        }
        self.context.registries.get(name).cloned().ok_or_else(|| {
            Fault::new(format!(
                "no configuration says where the registry `{name}` is"
            ))
        })
    }

    /// The canonical address that `key` of `[patch]` means: a registry's name, or the address of any source.
    pub(super) fn patched_address(&self, key: &str) -> Checked<String> {
        if let Ok(registry) = self.registry(key) {
            return Ok(registry.canonical_address().to_owned());
        }
        let url = parse_url(key).map_err(|error| {
            Fault::new(format!(
                "the key `{key}` of `[patch]` is neither a registry's name nor an address: {error}"
            ))
            .help(if key == "crates" {
                format!("the default registry is named `{DEFAULT_REGISTRY}`, with a dash")
            } else {
                "write the address of the source whose packages are replaced".to_owned()
            })
        })?;
        let source = match registry_from_index(url.as_str()) {
            Ok(registry) => registry,
            Err(_) => git_source(url.as_str(), GitReference::DefaultBranch)
                .map_err(|error| Fault::new(error.to_string()))?,
        };
        Ok(source.canonical_address().to_owned())
    }
}

fn in_dependency(name: &str, error: &SourceTextError) -> Box<Fault> {
    let message = format!("the dependency `{name}`: {error}");
    let fault = match error {
        SourceTextError::GitIndex(_) => Fault::unsupported(message),
        _ => Fault::new(message),
    };
    match error.help() {
        Some(help) => fault.help(help),
        None => fault,
    }
}

fn package_name(name: &str) -> Checked<PackageName> {
    PackageName::new(name).map_err(|error| Fault::new(error.to_string()))
}

/// A feature that a dependency is to have.
fn feature_name(dependency: &str, feature: &str) -> Checked<FeatureName> {
    let wrong = |why: &str| {
        Fault::new(format!(
            "the feature `{feature}` of the dependency `{dependency}` {why}"
        ))
    };
    if feature.contains('/') {
        return Err(wrong("has a slash").help(
            "a feature of a dependency's dependency has to be offered by the dependency, in its own `[features]`",
        ));
    }
    if feature.starts_with("dep:") {
        return Err(wrong("begins with `dep:`").help(
            "name a feature of the dependency; an optional dependency of it has a feature of the same name",
        ));
    }
    FeatureName::new(feature).map_err(|error| wrong(&format!("is not one: {error}")))
}
