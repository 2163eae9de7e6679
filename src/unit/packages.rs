//! The resolution seen from one request, under dense indices.
//!
//! The lock's graph holds every member with all features and all dev-dependencies. Cargo resolves a second time for
//! the request at hand; as every version is locked, that is [`crate::resolve::narrow`] with the selected members as
//! roots. What it leaves, every platform at once and weak features taken for strong ones, the feature resolver narrows
//! further.

use std::collections::{BTreeMap, BTreeSet};

use crate::package::{Dependency, FeatureName, FeatureValue, PackageId, Summary};
use crate::resolve::graph::Resolve;
use crate::resolve::{NoSuchFeature, Root};
use crate::unit::UnitError;
use crate::unit::suggest;

/// Index of a package in a [`PackageGraph`]; indices have cargo's order of package ids.
pub(crate) type PackageIndex = usize;

/// A package that another depends on, and by which of its dependencies.
#[derive(Debug, Clone)]
pub(crate) struct Edge<'a> {
    pub(crate) to: PackageIndex,
    pub(crate) dependencies: Vec<&'a Dependency>,
}

/// The packages of a resolution under dense indices.
#[derive(Debug, Clone)]
pub(crate) struct PackageGraph<'a> {
    ids: Vec<&'a PackageId>,
    summaries: Vec<&'a Summary>,
    edges: Vec<Vec<Edge<'a>>>,
    indices: BTreeMap<&'a PackageId, PackageIndex>,
}

/// A selected member and what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberFeatures {
    pub(crate) package: PackageId,
    /// Features of the member and of its dependencies.
    pub(crate) features: Vec<FeatureValue>,
    pub(crate) all_features: bool,
    pub(crate) default_features: bool,
}

impl<'a> PackageGraph<'a> {
    /// The whole of `resolve`.
    pub(crate) fn new(resolve: &'a Resolve) -> Result<Self, UnitError> {
        let all: Vec<(&PackageId, &Summary)> = resolve
            .packages
            .iter()
            .map(|(id, summary)| (id, &**summary))
            .collect();
        let indices: BTreeMap<&PackageId, PackageIndex> = all
            .iter()
            .enumerate()
            .map(|(index, (id, _))| (*id, index))
            .collect();
        let mut edges = Vec::with_capacity(all.len());
        for (id, summary) in &all {
            let inconsistent = |why| UnitError::Inconsistent {
                package: (*id).clone(),
                why,
            };
            let mut merged: BTreeMap<PackageIndex, BTreeSet<usize>> = BTreeMap::new();
            for edge in resolve.dependencies_of(id) {
                let to = *indices
                    .get(&edge.package)
                    .ok_or_else(|| inconsistent("it depends on a package that is not there"))?;
                merged.entry(to).or_default().extend(&edge.declared);
            }
            let mut out = Vec::with_capacity(merged.len());
            for (to, declared) in merged {
                let dependencies = declared
                    .into_iter()
                    .map(|index| {
                        summary.dependencies.get(index).ok_or_else(|| {
                            inconsistent("it has fewer dependencies than the resolution says")
                        })
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                out.push(Edge { to, dependencies });
            }
            edges.push(out);
        }
        Ok(Self {
            ids: all.iter().map(|(id, _)| *id).collect(),
            summaries: all.iter().map(|(_, summary)| *summary).collect(),
            edges,
            indices,
        })
    }

    pub(crate) fn id(&self, package: PackageIndex) -> &'a PackageId {
        self.ids[package]
    }

    /// Every package, by index.
    pub(crate) fn all_ids(&self) -> &[&'a PackageId] {
        &self.ids
    }

    pub(crate) fn summary(&self, package: PackageIndex) -> &'a Summary {
        self.summaries[package]
    }

    /// What `package` depends on, in the order of the packages depended on.
    pub(crate) fn edges(&self, package: PackageIndex) -> &[Edge<'a>] {
        &self.edges[package]
    }

    /// The edge between two packages.
    pub(crate) fn edge(&self, from: PackageIndex, to: PackageIndex) -> Option<&Edge<'a>> {
        self.edges[from].iter().find(|edge| edge.to == to)
    }

    /// Where `id` is, if it takes part.
    pub(crate) fn index_of(&self, id: &PackageId) -> Option<PackageIndex> {
        self.indices.get(id).copied()
    }

    /// Every package.
    pub(crate) fn iter(&self) -> impl Iterator<Item = PackageIndex> + '_ {
        0..self.ids.len()
    }
}

/// The part of `resolve` that `members` reach, with what is asked of each.
///
/// # Errors
/// If a feature or dependency that is asked for does not exist.
pub(crate) fn narrow(resolve: &Resolve, members: &[MemberFeatures]) -> Result<Resolve, UnitError> {
    let mut roots = Vec::with_capacity(members.len());
    for member in members {
        if let Some(summary) = resolve.packages.get(&member.package) {
            check_requested(summary, &member.features)?;
        }
        roots.push(Root {
            package: member.package.clone(),
            all_features: member.all_features,
            default_features: member.default_features,
            features: member.features.clone(),
            dev_dependencies: true,
        });
    }
    crate::resolve::narrow(resolve, &roots).map_err(|NoSuchFeature { package, feature }| {
        match resolve.packages.get(&package) {
            Some(summary) => missing_feature(summary, feature.as_str()),
            None => UnitError::Inconsistent {
                package,
                why: "it lacks a feature that is asked of it",
            },
        }
    })
}

/// Whether a member has what the command line names of it.
fn check_requested(summary: &Summary, features: &[FeatureValue]) -> Result<(), UnitError> {
    for value in features {
        match value {
            FeatureValue::Feature(feature) if !summary.features.contains_key(feature) => {
                return Err(missing_feature(summary, feature.as_str()));
            }
            FeatureValue::DependencyFeature { dependency, .. } => {
                let declared = summary
                    .dependencies
                    .iter()
                    .any(|candidate| candidate.name_in_manifest() == dependency);
                if !declared {
                    return Err(UnitError::MissingDependency {
                        package: summary.id.to_string(),
                        dependency: dependency.to_string(),
                    });
                }
            }
            FeatureValue::Feature(_) | FeatureValue::Dependency(_) => {}
        }
    }
    Ok(())
}

/// The error for a feature that `summary` does not have, with what there is instead.
fn missing_feature(summary: &Summary, feature: &str) -> UnitError {
    let named: Vec<&Dependency> = summary
        .dependencies
        .iter()
        .filter(|dependency| dependency.name_in_manifest().as_str() == feature)
        .collect();
    let suggestion = if named.is_empty() {
        suggest::similar(
            feature,
            summary.features.keys().map(FeatureName::as_str),
            "feature",
        )
    } else if named.iter().any(|dependency| dependency.optional) {
        let enabling: Vec<String> = summary
            .features
            .iter()
            .filter(|(_, values)| values.iter().any(|value| enables(value, feature)))
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        let mut text = "an optional dependency with that name exists, but the `features` table includes it with \
             the `dep:` syntax, so it does not have an implicit feature with that name"
            .to_owned();
        if !enabling.is_empty() {
            text.push_str("; it is enabled by ");
            text.push_str(&enabling.join(", "));
        }
        Some(text)
    } else {
        Some(
            "a dependency with that name exists, but it is a required dependency, and only optional dependencies \
             can be used as features"
                .to_owned(),
        )
    };
    UnitError::MissingFeature {
        package: summary.id.to_string(),
        feature: feature.to_owned(),
        suggestion,
    }
}

fn enables(value: &FeatureValue, name: &str) -> bool {
    match value {
        FeatureValue::Dependency(dependency)
        | FeatureValue::DependencyFeature {
            dependency,
            weak: false,
            ..
        } => dependency.as_str() == name,
        _ => false,
    }
}
