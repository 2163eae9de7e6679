//! From the lists of a `[features]` table to a checked [`FeatureMap`], by cargo's rules.

use std::collections::{BTreeMap, BTreeSet};

use crate::package::{Dependency, FeatureMap, FeatureName, FeatureValue, NameError, PackageName};

/// Why the features of a package make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// A feature or something it lists is misspelt.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A dev-dependency is optional.
    #[error("dev-dependency `{0}` is optional")]
    OptionalDevelopment(PackageName),
    /// A feature lists something that cannot be.
    #[error("feature `{feature}` includes `{value}`, {why}")]
    Value {
        /// The feature.
        feature: String,
        /// What it lists.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An optional dependency that nothing can activate.
    #[error("optional dependency `{0}` is not included in any feature")]
    Unreachable(PackageName),
}

/// Reads the lists, adds the implicit feature of each optional dependency that no `dep:` names, and checks that all
/// that is listed exists.
pub fn build_feature_map<K: AsRef<str> + Ord, V: AsRef<str>>(
    lists: &BTreeMap<K, Vec<V>>,
    dependencies: &[Dependency],
) -> Result<FeatureMap, FeatureError> {
    // Whether some dependency of that name is optional.
    let mut optional: BTreeMap<&str, bool> = BTreeMap::new();
    for dependency in dependencies {
        if dependency.optional && !dependency.is_transitive() {
            return Err(FeatureError::OptionalDevelopment(
                dependency.name_in_manifest().clone(),
            ));
        }
        *optional
            .entry(dependency.name_in_manifest().as_str())
            .or_default() |= dependency.optional;
    }

    let explicit: BTreeSet<&str> = lists
        .values()
        .flatten()
        .map(AsRef::as_ref)
        .filter(|value| !value.contains('/'))
        .filter_map(|value| value.strip_prefix("dep:"))
        .collect();
    let mut map = FeatureMap::new();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for dependency in dependencies.iter().filter(|each| each.optional) {
        let name = dependency.name_in_manifest();
        let listed = lists.keys().any(|key| key.as_ref() == name.as_str());
        if !listed && !explicit.contains(name.as_str()) {
            used.insert(name.as_str());
            map.insert(
                FeatureName::new(name.as_str())?,
                vec![FeatureValue::Dependency(name.clone())],
            );
        }
    }
    let implicit: BTreeSet<String> = map.keys().map(ToString::to_string).collect();

    for (feature, values) in lists {
        let name = FeatureName::new(feature.as_ref())?;
        let mut checked = Vec::with_capacity(values.len());
        for value in values {
            let value = value.as_ref();
            let fail = |why| FeatureError::Value {
                feature: feature.as_ref().to_owned(),
                value: value.to_owned(),
                why,
            };
            checked.push(match value.split_once('/') {
                Some((dependency, of_dependency)) => {
                    let (dependency, weak) = match dependency.strip_suffix('?') {
                        Some(dependency) => (dependency, true),
                        None => (dependency, false),
                    };
                    if of_dependency.contains('/') {
                        return Err(fail("which has more than one slash"));
                    }
                    if dependency.starts_with("dep:") {
                        return Err(fail("which has both `dep:` and `/`"));
                    }
                    match optional.get_key_value(dependency) {
                        None => return Err(fail("which names no dependency")),
                        Some((_, false)) if weak => {
                            return Err(fail("with a `?`, but the dependency is not optional"));
                        }
                        Some((known, _)) => used.insert(known),
                    };
                    FeatureValue::DependencyFeature {
                        dependency: PackageName::new(dependency)?,
                        feature: FeatureName::new(of_dependency)?,
                        weak,
                    }
                }
                None => match value.strip_prefix("dep:") {
                    Some(dependency) => {
                        match optional.get_key_value(dependency) {
                            None => return Err(fail("which names no dependency")),
                            Some((_, false)) => {
                                return Err(fail("but the dependency is not optional"));
                            }
                            Some((known, true)) => used.insert(known),
                        };
                        FeatureValue::Dependency(PackageName::new(dependency)?)
                    }
                    None => {
                        let is_feature = lists.keys().any(|key| key.as_ref() == value);
                        if !is_feature && !implicit.contains(value) {
                            return Err(fail(match optional.get(value) {
                                None => "which is neither a dependency nor another feature",
                                Some(true) => {
                                    "an optional dependency without an implicit feature (`dep:` is missing)"
                                }
                                Some(false) => "which is not an optional dependency",
                            }));
                        }
                        FeatureValue::Feature(FeatureName::new(value)?)
                    }
                },
            });
        }
        map.insert(name, checked);
    }

    for dependency in dependencies.iter().filter(|each| each.optional) {
        let name = dependency.name_in_manifest();
        if !used.contains(name.as_str()) {
            return Err(FeatureError::Unreachable(name.clone()));
        }
    }
    Ok(map)
}
