//! `[features]`, checked and completed: every optional dependency that no `dep:` names has a feature of its own name.

use std::collections::{BTreeMap, BTreeSet};

use super::error::closest;
use crate::package::{
    Dependency, DependencyKind, FeatureMap, FeatureName, FeatureValue, PackageName,
};

/// Why the features of a package cannot be as they are written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FeatureError {
    /// The feature whose list is wrong, or the dependency that no feature leads to.
    pub name: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// An entry of a feature's list, not checked yet.
#[derive(Clone, Copy)]
enum Entry<'a> {
    Feature(&'a str),
    Dependency(&'a str),
    DependencyFeature {
        dependency: &'a str,
        feature: &'a str,
        weak: bool,
    },
}

impl<'a> Entry<'a> {
    fn parse(text: &'a str) -> Self {
        match text.split_once('/') {
            Some((dependency, feature)) => {
                let stripped = dependency.strip_suffix('?');
                Self::DependencyFeature {
                    dependency: stripped.unwrap_or(dependency),
                    feature,
                    weak: stripped.is_some(),
                }
            }
            None => match text.strip_prefix("dep:") {
                Some(dependency) => Self::Dependency(dependency),
                None => Self::Feature(text),
            },
        }
    }
}

/// Checks the features of a package with `dependencies` (by the rules that cargo applies to manifests and index
/// entries) and adds the implicit ones.
pub fn feature_map<'a>(
    features: impl IntoIterator<Item = (&'a str, &'a [String])>,
    dependencies: &'a [Dependency],
) -> Result<FeatureMap, FeatureError> {
    let declared: BTreeMap<&str, &[String]> = features.into_iter().collect();
    // Whether any dependency of the name is optional.
    let mut optional: BTreeMap<&str, bool> = BTreeMap::new();
    for dependency in dependencies {
        let name = dependency.name_in_manifest().as_str();
        if dependency.optional && dependency.kind == DependencyKind::Development {
            return Err(FeatureError {
                name: name.to_owned(),
                message: format!("the dev-dependency `{name}` is optional, which it cannot be"),
                help: Some("remove `optional`: nobody depends on dev-dependencies".to_owned()),
            });
        }
        *optional.entry(name).or_default() |= dependency.optional;
    }
    let explicit: BTreeSet<&str> = declared
        .values()
        .flat_map(|list| list.iter())
        .filter_map(|text| match Entry::parse(text) {
            Entry::Dependency(name) => Some(name),
            _ => None,
        })
        .collect();
    let implicit: BTreeSet<&str> = optional
        .iter()
        .filter(|(name, is_optional)| {
            **is_optional && !declared.contains_key(*name) && !explicit.contains(*name)
        })
        .map(|(name, _)| *name)
        .collect();
    let checker = Checker {
        declared: &declared,
        optional: &optional,
        explicit: &explicit,
        implicit: &implicit,
    };

    let mut map = FeatureMap::new();
    for (name, list) in &declared {
        let values = list
            .iter()
            .map(|text| checker.value(name, text))
            .collect::<Result<_, _>>()?;
        map.insert(feature_name(name, name)?, values);
    }
    let mut reached = explicit.clone();
    for name in &implicit {
        let value = FeatureValue::Dependency(package_name(name, name)?);
        map.insert(feature_name(name, name)?, vec![value]);
        reached.insert(name);
    }
    for text in declared.values().flat_map(|list| list.iter()) {
        if let Entry::DependencyFeature { dependency, .. } = Entry::parse(text) {
            reached.insert(dependency);
        }
    }
    if let Some((name, _)) = optional
        .iter()
        .find(|(name, is_optional)| **is_optional && !reached.contains(*name))
    {
        return Err(FeatureError {
            name: (*name).to_owned(),
            message: format!("no feature enables the optional dependency `{name}`"),
            help: Some(format!(
                "put `dep:{name}` into the list of a feature: a feature is named `{name}` already"
            )),
        });
    }
    Ok(map)
}

fn feature_name(name: &str, feature: &str) -> Result<FeatureName, FeatureError> {
    FeatureName::new(name).map_err(|error| name_error(error.to_string(), feature))
}

fn package_name(name: &str, feature: &str) -> Result<PackageName, FeatureError> {
    PackageName::new(name).map_err(|error| name_error(error.to_string(), feature))
}

fn name_error(message: String, feature: &str) -> FeatureError {
    FeatureError {
        name: feature.to_owned(),
        message,
        help: None,
    }
}

struct Checker<'a> {
    declared: &'a BTreeMap<&'a str, &'a [String]>,
    optional: &'a BTreeMap<&'a str, bool>,
    explicit: &'a BTreeSet<&'a str>,
    implicit: &'a BTreeSet<&'a str>,
}

impl Checker<'_> {
    fn value(&self, feature: &str, text: &str) -> Result<FeatureValue, FeatureError> {
        let fail = |why: String, help: Option<String>| FeatureError {
            name: feature.to_owned(),
            message: format!("feature `{feature}` includes `{text}`{why}"),
            help,
        };
        let make_optional =
            |name: &str| Some(format!("add `optional = true` to the dependency `{name}`"));
        match Entry::parse(text) {
            Entry::Feature(name) => {
                let is_feature = self.declared.contains_key(name) || self.implicit.contains(name);
                match self.optional.get(name) {
                    _ if is_feature => Ok(FeatureValue::Feature(feature_name(name, feature)?)),
                    None => Err(fail(
                        ", which is neither a feature nor a dependency".to_owned(),
                        closest(name, self.declared.keys().copied()),
                    )),
                    Some(true) => Err(fail(
                        format!(
                            ", but the optional dependency `{name}` has no feature of its own name, since a `dep:` \
                             names it"
                        ),
                        Some(format!("write `dep:{name}` to enable the dependency")),
                    )),
                    Some(false) => Err(fail(
                        format!(", but the dependency `{name}` is not optional"),
                        make_optional(name),
                    )),
                }
            }
            Entry::Dependency(name) => match self.optional.get(name) {
                None => Err(fail(
                    format!(", but `{name}` is not a dependency"),
                    closest(name, self.optional.keys().copied()),
                )),
                Some(false) => Err(fail(
                    format!(", but the dependency `{name}` is not optional"),
                    make_optional(name),
                )),
                Some(true) => Ok(FeatureValue::Dependency(package_name(name, feature)?)),
            },
            Entry::DependencyFeature {
                dependency,
                feature: of_dependency,
                weak,
            } => {
                if of_dependency.contains('/') {
                    return Err(fail(", which has more than one slash".to_owned(), None));
                }
                if let Some(name) = dependency.strip_prefix("dep:") {
                    let hides = !weak
                        && !self.explicit.contains(name)
                        && self.optional.get(name) == Some(&true);
                    let mut help = "remove `dep:`".to_owned();
                    if hides {
                        help.push_str(&format!(
                            "; or, to have no feature named `{name}`, write two entries: `\"dep:{name}\", \
                             \"{name}/{of_dependency}\"`"
                        ));
                    }
                    return Err(fail(
                        ", but `dep:` and `/` do not go together".to_owned(),
                        Some(help),
                    ));
                }
                match self.optional.get(dependency) {
                    None => Err(fail(
                        format!(", but `{dependency}` is not a dependency"),
                        closest(dependency, self.optional.keys().copied()),
                    )),
                    Some(false) if weak => Err(fail(
                        format!(", but the dependency `{dependency}` is not optional"),
                        Some(format!(
                            "remove the `?`, or add `optional = true` to the dependency `{dependency}`"
                        )),
                    )),
                    Some(_) => Ok(FeatureValue::DependencyFeature {
                        dependency: package_name(dependency, feature)?,
                        feature: feature_name(of_dependency, feature)?,
                        weak,
                    }),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::SourceId;

    fn dependency(name: &str, optional: bool) -> Dependency {
        Dependency {
            package: PackageName::new(name).expect(name),
            renamed: None,
            requirement: semver::VersionReq::STAR,
            has_version: true,
            source: SourceId::default_registry(),
            kind: DependencyKind::Normal,
            optional,
            default_features: true,
            features: Vec::new(),
            platform: None,
            public: false,
        }
    }

    /// `features` as `name: entry entry`, one a line; the dependency `opt` is optional, `must` is not.
    fn lower(features: &str) -> Result<String, FeatureError> {
        let lists: Vec<(String, Vec<String>)> = features
            .lines()
            .map(|line| {
                let (name, list) = line.split_once(':').expect("name: list");
                (
                    name.to_owned(),
                    list.split_whitespace().map(str::to_owned).collect(),
                )
            })
            .collect();
        let dependencies = [dependency("opt", true), dependency("must", false)];
        let map = feature_map(
            lists
                .iter()
                .map(|(name, list)| (name.as_str(), list.as_slice())),
            &dependencies,
        )?;
        Ok(map
            .iter()
            .map(|(name, values)| {
                let values: Vec<_> = values.iter().map(ToString::to_string).collect();
                format!("{name}:{}", values.join(" "))
            })
            .collect::<Vec<_>>()
            .join("\n"))
    }

    #[test]
    fn implicit_features_are_added_unless_a_dep_names_the_dependency() {
        let cases = [
            ("", "opt:dep:opt"),
            ("a:opt", "a:opt\nopt:dep:opt"),
            ("a:dep:opt", "a:dep:opt"),
            (
                "a:opt/x opt?/y must/z",
                "a:opt/x opt?/y must/z\nopt:dep:opt",
            ),
            ("opt:dep:opt\na:opt", "a:opt\nopt:dep:opt"),
            ("opt:opt/x", "opt:opt/x"),
        ];
        for (features, expected) in cases {
            assert_eq!(lower(features).as_deref(), Ok(expected), "{features}");
        }
    }

    #[test]
    fn what_cannot_be_is_said() {
        let cases = [
            ("a:b", "neither a feature nor a dependency"),
            ("a:must", "is not optional"),
            ("a:dep:must", "is not optional"),
            ("a:must?/x", "is not optional"),
            ("a:dep:none", "`none` is not a dependency"),
            ("a:none/x", "`none` is not a dependency"),
            ("a:dep:opt/x", "do not go together"),
            ("a:opt/x/y", "more than one slash"),
            ("a:opt\nb:dep:opt", "has no feature of its own name"),
            ("opt:", "no feature enables the optional dependency `opt`"),
            ("a/b:", "invalid feature name"),
        ];
        for (features, expected) in cases {
            let error = lower(features).expect_err(features);
            assert!(error.message.contains(expected), "{error} for {features}");
        }
        assert_eq!(
            lower("feature:\na:faeture")
                .expect_err("misspelt")
                .help
                .as_deref(),
            Some("there is `feature`, which is spelt much alike")
        );
    }
}
