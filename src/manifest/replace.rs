//! `[replace]`: a package in the place of one version of another source. Cargo has deprecated it in favour of `[patch]`;
//! unlike a patch, it is for one version, is not preferred to others, and the lock names both packages.

use cargo_util_schemas::core::PackageIdSpec;
use cargo_util_schemas::manifest::TomlDependency;
use semver::{Comparator, Op, Version, VersionReq};

use super::dependency::Surroundings;
use super::error::{Checked, Fault};
use super::inherit::detailed;
use crate::package::{Dependency, DependencyKind, PackageId, SourceId};

/// One entry of `[replace]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The canonical address of the source whose package is replaced.
    pub address: String,
    /// The version that is replaced, and that the other package has to have, too.
    pub version: Version,
    /// The package in its place.
    pub dependency: Dependency,
}

impl Replacement {
    /// Whether `id` is what is replaced.
    pub fn replaces(&self, id: &PackageId) -> bool {
        self.is_about(id.source(), id) && *id.source() != self.dependency.source
    }

    /// Whether `id` is what takes the place of a package of `source`.
    pub fn is_in_place_of(&self, source: &SourceId, id: &PackageId) -> bool {
        self.is_about(source, id) && id.source().with_precise(None) == self.dependency.source
    }

    fn is_about(&self, source: &SourceId, id: &PackageId) -> bool {
        self.address == source.canonical_address()
            && self.dependency.package == *id.name()
            && self.version == *id.version()
    }

    /// What is replaced, as cargo names it.
    pub fn words(&self) -> String {
        format!(
            "{}#{}@{}",
            self.address, self.dependency.package, self.version
        )
    }
}

/// Reads the entry `key` of `[replace]`.
pub(super) fn replacement(
    surroundings: &Surroundings<'_>,
    key: &str,
    toml: &TomlDependency,
    warnings: &mut Vec<String>,
) -> Checked<Replacement> {
    let spec = PackageIdSpec::parse(key).map_err(|error| {
        Fault::new(format!(
            "replacements must specify a valid semver version to replace, but `{key}` does not: {error}"
        ))
        .help("write `name@1.2.3`")
    })?;
    let Some(version) = spec.version() else {
        return Err(Fault::new(format!(
            "replacements must specify a version to replace, but `{key}` does not"
        ))
        .help("write `name@1.2.3`"));
    };
    let address = match spec.url() {
        Some(url) => surroundings.patched_address(url.as_str())?,
        None => SourceId::default_registry().canonical_address().to_owned(),
    };
    let toml = detailed(toml);
    if toml.version.is_some() {
        return Err(Fault::new(format!(
            "replacements cannot specify a version requirement, but found one for `{key}`"
        ))
        .help("remove `version`: it is that of the package in whose place it is put"));
    }
    for (field, is_there) in [
        ("features", toml.features.is_some()),
        (
            "default-features",
            toml.default_features.is_some() || toml.default_features2.is_some(),
        ),
    ] {
        if is_there {
            warnings.push(format!(
                "unused field in replacement for `{}`: `{field}`",
                spec.name()
            ));
        }
    }
    let mut dependency =
        surroundings.dependency(spec.name(), &toml, DependencyKind::Normal, None, warnings)?;
    dependency.has_version = true;
    dependency.requirement = VersionReq {
        comparators: vec![Comparator {
            op: Op::Exact,
            major: version.major,
            minor: Some(version.minor),
            patch: Some(version.patch),
            pre: version.pre.clone(),
        }],
    };
    Ok(Replacement {
        address,
        version,
        dependency,
    })
}
