//! What one request for a package switches on: which of its features, which of its dependencies, and which features
//! are asked of those. The rules are those of cargo's dependency resolver, for which `name?/feature` activates the
//! dependency too (the feature resolver narrows that later).

use std::collections::{BTreeMap, BTreeSet};

use crate::package::{Dependency, FeatureName, FeatureValue, PackageName, Summary};

/// What is asked of a package.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Request {
    /// All features and the dev-dependencies: how the lock sees a member.
    Everything,
    /// These features, and `default` if it is asked for and there is one.
    Features {
        /// The features by name.
        features: BTreeSet<FeatureName>,
        /// `default-features`
        default: bool,
    },
}

impl Request {
    /// What `dependency` asks of the package it names, with the features that its own package forwards.
    pub(super) fn of(dependency: &Dependency, forwarded: &BTreeSet<FeatureName>) -> Self {
        let mut features = forwarded.clone();
        features.extend(dependency.features.iter().cloned());
        Self::Features {
            features,
            default: dependency.default_features,
        }
    }

    /// Whether nothing is asked but that the package is there.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Features { features, default: false } if features.is_empty())
    }

    /// The features by name, without `default`.
    pub(super) fn features(&self) -> Option<&BTreeSet<FeatureName>> {
        match self {
            Self::Everything => None,
            Self::Features { features, .. } => Some(features),
        }
    }
}

/// What a request switches on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Activation {
    /// The package's features that are on.
    pub(super) features: BTreeSet<FeatureName>,
    /// The dependencies that are on, by index, and the features forwarded to each (its own `features` not included).
    pub(super) dependencies: Vec<(usize, BTreeSet<FeatureName>)>,
}

/// Why a package cannot do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ActivationError {
    /// There is no such feature.
    MissingFeature(FeatureName),
    /// A feature's list names the feature itself.
    SelfReference(FeatureName),
}

/// Why a name is no feature although something else bears it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotAFeature {
    /// Nothing is called so.
    Unknown,
    /// A dependency is called so, but it is not optional.
    RequiredDependency,
    /// An optional dependency is called so, but the package hides it behind `dep:`.
    HiddenDependency,
}

/// What it is that is called `feature` in `summary`, given that it is no feature.
pub(super) fn not_a_feature(summary: &Summary, feature: &FeatureName) -> NotAFeature {
    let mut dependencies = summary
        .dependencies
        .iter()
        .filter(|dependency| dependency.name_in_manifest() == feature.as_str())
        .peekable();
    if dependencies.peek().is_none() {
        NotAFeature::Unknown
    } else if dependencies.any(|dependency| dependency.optional) {
        NotAFeature::HiddenDependency
    } else {
        NotAFeature::RequiredDependency
    }
}

/// Works out what `request` switches on in `summary`; dev-dependencies count only where everything is asked for.
pub(super) fn activate(
    summary: &Summary,
    request: &Request,
) -> Result<Activation, ActivationError> {
    let mut state = State {
        summary,
        features: BTreeSet::new(),
        dependencies: BTreeMap::new(),
    };
    match request {
        Request::Everything => {
            for feature in summary.features.keys() {
                state.feature(feature)?;
            }
        }
        Request::Features { features, default } => {
            for feature in features {
                state.feature(feature)?;
            }
            if *default && let Some((name, _)) = summary.features.get_key_value("default") {
                state.feature(name)?;
            }
        }
    }
    let with_dev = matches!(request, Request::Everything);
    let dependencies = summary
        .dependencies
        .iter()
        .enumerate()
        .filter(|(_, dependency)| dependency.is_transitive() || with_dev)
        .filter_map(|(index, dependency)| {
            match state.dependencies.get(dependency.name_in_manifest()) {
                Some(forwarded) => Some((index, forwarded.clone())),
                None if dependency.optional => None,
                None => Some((index, BTreeSet::new())),
            }
        })
        .collect();
    Ok(Activation {
        features: state.features,
        dependencies,
    })
}

struct State<'a> {
    summary: &'a Summary,
    features: BTreeSet<FeatureName>,
    dependencies: BTreeMap<&'a PackageName, BTreeSet<FeatureName>>,
}

impl<'a> State<'a> {
    /// Switches `feature` on with all it implies. Iterative, since a hostile index may nest features deeply.
    fn feature(&mut self, feature: &FeatureName) -> Result<(), ActivationError> {
        let mut open = vec![feature.clone()];
        while let Some(feature) = open.pop() {
            if self.features.contains(&feature) {
                continue;
            }
            let Some((name, values)) = self.summary.features.get_key_value(&feature) else {
                return Err(ActivationError::MissingFeature(feature));
            };
            self.features.insert(name.clone());
            for value in values {
                match value {
                    FeatureValue::Feature(other) if other == name => {
                        return Err(ActivationError::SelfReference(name.clone()));
                    }
                    FeatureValue::Feature(other) => open.push(other.clone()),
                    FeatureValue::Dependency(dependency) => {
                        self.dependencies.entry(dependency).or_default();
                    }
                    FeatureValue::DependencyFeature {
                        dependency,
                        feature,
                        weak,
                    } => {
                        if !weak && let Some(implicit) = implicit_feature(self.summary, dependency)
                        {
                            open.push(implicit.clone());
                        }
                        self.dependencies
                            .entry(dependency)
                            .or_default()
                            .insert(feature.clone());
                    }
                }
            }
        }
        Ok(())
    }
}

/// The feature that `name/feature` switches on beside the dependency: the one of the same name, where `name` is an
/// optional dependency and the package has such a feature.
pub(super) fn implicit_feature<'a>(
    summary: &'a Summary,
    name: &PackageName,
) -> Option<&'a FeatureName> {
    let optional = summary
        .dependencies
        .iter()
        .any(|dependency| dependency.optional && dependency.name_in_manifest() == name);
    if !optional {
        return None;
    }
    summary
        .features
        .get_key_value(name.as_str())
        .map(|(feature, _)| feature)
}
