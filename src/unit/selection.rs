//! Which members a request selects, and which features it asks of each.
//!
//! `--features` means something else under resolver 1 in a package's directory (only that package has the flags) than
//! under resolver 2 or in a virtual workspace (every selected member has those that it knows). Source: cargo's
//! `Packages::to_package_id_specs` and `Workspace::members_with_features`.

use std::collections::{BTreeMap, BTreeSet};

use cargo_util_schemas::core::PackageIdSpec;

use crate::manifest::model::{RequestedFeatures, ResolverVersion, Workspace};
use crate::package::{Dependency, FeatureName, FeatureValue, PackageId, PackageName, Summary};
use crate::resolve::graph::Resolve;
use crate::unit::UnitError;
use crate::unit::packages::{MemberFeatures, PackageGraph, PackageIndex};
use crate::unit::request::PackageSelection;
use crate::unit::spec::{package_id_spec, spec_matches, suggestion, telling_apart};
use crate::unit::suggest;

/// One selected package: a member by itself, or whatever a specification means.
#[derive(Debug, Clone)]
pub(crate) enum Selector {
    Member(PackageId),
    Spec(PackageIdSpec),
}

impl Selector {
    pub(crate) fn matches(&self, id: &PackageId) -> bool {
        match self {
            Selector::Member(member) => member == id,
            Selector::Spec(spec) => spec_matches(spec, id),
        }
    }

    fn name(&self) -> &str {
        match self {
            Selector::Member(member) => member.name().as_str(),
            Selector::Spec(spec) => spec.name(),
        }
    }
}

/// What the user selected, and what he is to be told about it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selected {
    pub(crate) selectors: Vec<Selector>,
    pub(crate) warnings: Vec<String>,
}

/// Specifications and patterns from the command line, each with whether it has matched.
struct Arguments {
    specs: BTreeMap<PackageIdSpec, bool>,
    patterns: Vec<(glob::Pattern, bool)>,
}

impl Arguments {
    fn parse(arguments: &[String]) -> Result<Self, UnitError> {
        let mut parsed = Self {
            specs: BTreeMap::new(),
            patterns: Vec::new(),
        };
        for argument in arguments {
            match PackageIdSpec::parse(argument) {
                Ok(spec) => {
                    parsed.specs.insert(spec, false);
                }
                Err(_) if is_glob(argument) => parsed.patterns.push((pattern(argument)?, false)),
                Err(source) => {
                    return Err(UnitError::InvalidSpec {
                        spec: argument.clone(),
                        source,
                    });
                }
            }
        }
        Ok(parsed)
    }

    fn matches_pattern(&mut self, id: &PackageId) -> bool {
        match self
            .patterns
            .iter_mut()
            .find(|(pattern, _)| pattern.matches(id.name().as_str()))
        {
            Some((_, matched)) => {
                *matched = true;
                true
            }
            None => false,
        }
    }

    /// Whether anything matches. A specification matches one member only, as in cargo.
    fn matches(&mut self, id: &PackageId) -> bool {
        match self
            .specs
            .iter_mut()
            .find(|(spec, matched)| !**matched && spec_matches(spec, id))
        {
            Some((_, matched)) => {
                *matched = true;
                true
            }
            None => self.matches_pattern(id),
        }
    }

    fn unmatched_specs(&self, workspace: &Workspace, what: &'static str) -> Result<(), UnitError> {
        let names: Vec<String> = self
            .specs
            .iter()
            .filter(|(_, matched)| !**matched)
            .map(|(spec, _)| spec.to_string())
            .collect();
        not_in_workspace(workspace, what, names)
    }

    fn unmatched_patterns(
        &self,
        workspace: &Workspace,
        what: &'static str,
    ) -> Result<(), UnitError> {
        let names = self
            .patterns
            .iter()
            .filter(|(_, matched)| !*matched)
            .map(|(pattern, _)| pattern.as_str().to_owned())
            .collect();
        not_in_workspace(workspace, what, names)
    }
}

fn not_in_workspace(
    workspace: &Workspace,
    what: &'static str,
    names: Vec<String>,
) -> Result<(), UnitError> {
    if names.is_empty() {
        return Ok(());
    }
    Err(UnitError::NotInWorkspace {
        what,
        names: names.join(", "),
        root: workspace.root.clone(),
    })
}

/// Whether cargo takes `text` for a pattern.
pub(crate) fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', ']'])
}

/// The pattern that `text` is.
pub(crate) fn pattern(text: &str) -> Result<glob::Pattern, UnitError> {
    glob::Pattern::new(text).map_err(|source| UnitError::InvalidPattern {
        pattern: text.to_owned(),
        source,
    })
}

/// The packages that `selection` means.
pub(crate) fn select(
    workspace: &Workspace,
    selection: &PackageSelection,
) -> Result<Selected, UnitError> {
    let mut selected = Selected::default();
    let members = |ids: &[PackageId]| ids.iter().cloned().map(Selector::Member).collect();
    match selection {
        PackageSelection::Default => selected.selectors = members(&workspace.default_members),
        PackageSelection::Workspace(packages) => {
            let mut arguments = Arguments::parse(packages)?;
            for member in &workspace.members {
                arguments.matches(member);
            }
            arguments.unmatched_specs(workspace, "package(s)")?;
            arguments.unmatched_patterns(workspace, "package pattern(s)")?;
            selected.selectors = members(&workspace.members);
        }
        PackageSelection::Exclude(excluded) => {
            let mut arguments = Arguments::parse(excluded)?;
            selected.selectors = workspace
                .members
                .iter()
                .filter(|member| !arguments.matches(member))
                .cloned()
                .map(Selector::Member)
                .collect();
            let unmatched = [
                arguments.unmatched_specs(workspace, "excluded package(s)"),
                arguments.unmatched_patterns(workspace, "excluded package pattern(s)"),
            ];
            selected.warnings = unmatched
                .into_iter()
                .filter_map(Result::err)
                .map(|error| error.to_string())
                .collect();
        }
        PackageSelection::Packages(packages) => {
            let mut arguments = Arguments::parse(packages)?;
            selected
                .selectors
                .extend(arguments.specs.keys().cloned().map(Selector::Spec));
            for member in &workspace.members {
                if arguments.matches_pattern(member) {
                    selected.selectors.push(Selector::Member(member.clone()));
                }
            }
            arguments.unmatched_patterns(workspace, "package pattern(s)")?;
        }
    }
    if selected.selectors.is_empty() {
        return Err(UnitError::NoPackages {
            root: workspace.root.clone(),
        });
    }
    Ok(selected)
}

/// The one package of `graph` that each selector means, sorted and without duplicates.
pub(crate) fn packages_to_build(
    selectors: &[Selector],
    graph: &PackageGraph<'_>,
) -> Result<Vec<PackageIndex>, UnitError> {
    let mut found = BTreeSet::new();
    for selector in selectors {
        let matching: Vec<PackageIndex> = graph
            .iter()
            .filter(|&package| selector.matches(graph.id(package)))
            .collect();
        match matching.as_slice() {
            [one] => {
                found.insert(*one);
            }
            [] => return Err(no_such_package(selector, graph)),
            several => {
                return Err(UnitError::AmbiguousPackage {
                    spec: selector.name().to_owned(),
                    candidates: telling_apart(
                        &several
                            .iter()
                            .map(|&index| graph.id(index))
                            .collect::<Vec<_>>(),
                    ),
                });
            }
        }
    }
    Ok(found.into_iter().collect())
}

fn no_such_package(selector: &Selector, graph: &PackageGraph<'_>) -> UnitError {
    UnitError::NoSuchPackage {
        spec: match selector {
            Selector::Member(id) => package_id_spec(id),
            Selector::Spec(spec) => spec.to_string(),
        },
        suggestion: suggestion(selector.name(), graph.all_ids()),
    }
}

/// The members that take part with the features asked of each.
pub(crate) fn members_with_features(
    workspace: &Workspace,
    resolve: &Resolve,
    selectors: &[Selector],
    requested: &RequestedFeatures,
) -> Result<Vec<MemberFeatures>, UnitError> {
    let features = parse_features(requested)?;
    let members = workspace
        .members
        .iter()
        .map(|member| {
            let summary = resolve
                .packages
                .get(member)
                .ok_or_else(|| UnitError::Inconsistent {
                    package: member.clone(),
                    why: "it is a member of the workspace and not in the resolution",
                })?;
            Ok(Member {
                summary,
                selected: selectors.iter().any(|selector| selector.matches(member)),
            })
        })
        .collect::<Result<Vec<_>, UnitError>>()?;
    if workspace.current_package.is_none() || workspace.resolver != ResolverVersion::V1 {
        features_of_selected(&members, &features, requested)
    } else {
        Ok(features_of_current(
            workspace, &members, selectors, &features, requested,
        ))
    }
}

struct Member<'a> {
    summary: &'a Summary,
    selected: bool,
}

/// `--features` as values; sorted as the texts were.
fn parse_features(requested: &RequestedFeatures) -> Result<Vec<FeatureValue>, UnitError> {
    let mut parsed = BTreeSet::new();
    let words = requested
        .features
        .iter()
        .flat_map(|text| text.split([',', ' ', '\t', '\n']))
        .filter(|word| !word.is_empty());
    for word in words {
        let invalid = |why: String| UnitError::InvalidFeature {
            feature: word.to_owned(),
            why,
        };
        let feature =
            |name: &str| FeatureName::new(name).map_err(|error| invalid(error.to_string()));
        if word.starts_with("dep:") {
            return Err(invalid(
                "the `dep:` syntax is only allowed in a manifest".to_owned(),
            ));
        }
        let value = match word.split_once('/') {
            None => FeatureValue::Feature(feature(word)?),
            Some((_, name)) if name.contains('/') => {
                return Err(invalid("multiple slashes are not allowed".to_owned()));
            }
            Some((dependency, name)) => {
                let weak = dependency.ends_with('?');
                let dependency = dependency.strip_suffix('?').unwrap_or(dependency);
                FeatureValue::DependencyFeature {
                    dependency: PackageName::new(dependency)
                        .map_err(|error| invalid(error.to_string()))?,
                    feature: feature(name)?,
                    weak,
                }
            }
        };
        parsed.insert(value);
    }
    Ok(parsed.into_iter().collect())
}

/// As a user writes it.
fn written(value: &FeatureValue) -> String {
    match value {
        FeatureValue::Feature(feature) => feature.to_string(),
        FeatureValue::Dependency(name) => format!("dep:{name}"),
        FeatureValue::DependencyFeature {
            dependency,
            feature,
            weak,
        } => format!("{dependency}{}/{feature}", if *weak { "?" } else { "" }),
    }
}

fn optional_dependency(summary: &Summary, name: &str) -> bool {
    summary
        .dependencies
        .iter()
        .any(|dependency| dependency.optional && dependency.name_in_manifest().as_str() == name)
}

fn has_feature(summary: &Summary, name: &FeatureName) -> bool {
    summary.features.contains_key(name) || optional_dependency(summary, name.as_str())
}

/// What `value` asks of this member, if it is for it.
fn applied_to(summary: &Summary, value: &FeatureValue) -> Option<FeatureValue> {
    match value {
        FeatureValue::Feature(feature) => has_feature(summary, feature).then(|| value.clone()),
        FeatureValue::Dependency(_) => None,
        FeatureValue::DependencyFeature {
            dependency,
            feature,
            ..
        } => {
            let declared = summary
                .dependencies
                .iter()
                .any(|candidate| candidate.name_in_manifest() == dependency);
            if declared {
                Some(value.clone())
            } else if dependency == summary.id.name() && has_feature(summary, feature) {
                Some(FeatureValue::Feature(feature.clone()))
            } else {
                None
            }
        }
    }
}

/// Resolver 2, and virtual workspaces: each selected member has those of the features that it knows.
fn features_of_selected(
    members: &[Member<'_>],
    features: &[FeatureValue],
    requested: &RequestedFeatures,
) -> Result<Vec<MemberFeatures>, UnitError> {
    let mut found: BTreeSet<&FeatureValue> = BTreeSet::new();
    let mut out = Vec::new();
    for member in members.iter().filter(|member| member.selected) {
        let mut own = Vec::new();
        for value in features {
            if let Some(applied) = applied_to(member.summary, value) {
                found.insert(value);
                own.push(applied);
            }
        }
        out.push(MemberFeatures {
            package: member.summary.id.clone(),
            features: own,
            all_features: requested.all_features,
            default_features: !requested.no_default_features,
        });
    }
    if out.is_empty() {
        // `-p` of a dependency: the members are only there so that it is in the graph.
        if !features.is_empty() || requested.all_features || requested.no_default_features {
            return Err(UnitError::FeaturesOutsideWorkspace);
        }
        return Ok(members
            .iter()
            .map(|member| MemberFeatures {
                package: member.summary.id.clone(),
                features: Vec::new(),
                all_features: false,
                default_features: true,
            })
            .collect());
    }
    let unknown: Vec<&FeatureValue> = features
        .iter()
        .filter(|value| !found.contains(value))
        .collect();
    if unknown.is_empty() {
        Ok(out)
    } else {
        Err(unknown_features(members, &unknown))
    }
}

/// Resolver 1 in a package's directory: the flags are for that package; `member/feature` reaches others.
fn features_of_current(
    workspace: &Workspace,
    members: &[Member<'_>],
    selectors: &[Selector],
    features: &[FeatureValue],
    requested: &RequestedFeatures,
) -> Vec<MemberFeatures> {
    let is_current = |id: &PackageId| workspace.current_package.as_ref() == Some(id);
    let mut of_member: BTreeMap<&PackageName, Vec<FeatureValue>> = BTreeMap::new();
    let mut of_current = Vec::new();
    for value in features {
        match value {
            FeatureValue::DependencyFeature {
                dependency,
                feature,
                ..
            } if members.iter().any(|member| {
                member.summary.id.name() == dependency && !is_current(&member.summary.id)
            }) && selectors
                .iter()
                .any(|selector| selector.name() == dependency.as_str()) =>
            {
                of_member
                    .entry(dependency)
                    .or_default()
                    .push(FeatureValue::Feature(feature.clone()));
            }
            _ => of_current.push(value.clone()),
        }
    }
    let mut out = Vec::new();
    for member in members {
        let id = &member.summary.id;
        if is_current(id) {
            out.push(MemberFeatures {
                package: member.summary.id.clone(),
                features: of_current.clone(),
                all_features: requested.all_features,
                default_features: !requested.no_default_features,
            });
        } else if member.selected {
            out.push(MemberFeatures {
                package: member.summary.id.clone(),
                features: of_member.remove(id.name()).unwrap_or_default(),
                all_features: requested.all_features,
                default_features: true,
            });
        }
    }
    out
}

fn unknown_features(members: &[Member<'_>], unknown: &[&FeatureValue]) -> UnitError {
    let elsewhere: Vec<String> = members
        .iter()
        .filter(|member| !member.selected)
        .filter(|member| {
            unknown.iter().any(|value| {
                matches!(value, FeatureValue::Feature(feature)
                    if member.summary.features.contains_key(feature))
            })
        })
        .map(|member| format!("`{}`", member.summary.id.name()))
        .collect();
    let suggestion = if elsewhere.is_empty() {
        let similar: BTreeSet<String> = members
            .iter()
            .filter(|member| member.selected)
            .flat_map(|member| {
                unknown
                    .iter()
                    .flat_map(|value| similar_features(member.summary, value))
            })
            .collect();
        let shown: Vec<String> = similar
            .iter()
            .take(5)
            .map(|name| format!("`{name}`"))
            .collect();
        match shown.as_slice() {
            [] => None,
            [one] => Some(format!("there is a similarly named feature: {one}")),
            many => Some(format!(
                "there are similarly named features: {}",
                many.join(", ")
            )),
        }
    } else {
        Some(format!(
            "packages with the missing features: {}",
            elsewhere.join(", ")
        ))
    };
    let mut features: Vec<String> = unknown.iter().map(|value| written(value)).collect();
    features.sort();
    UnitError::UnknownFeatures {
        features,
        selected: members
            .iter()
            .filter(|member| member.selected)
            .map(|member| member.summary.id.name().to_string())
            .collect(),
        suggestion,
    }
}

fn similar_features(summary: &Summary, value: &FeatureValue) -> Vec<String> {
    let near = |a: &str, b: &str| suggest::distance(a, b).is_some();
    let optional: Vec<&Dependency> = summary
        .dependencies
        .iter()
        .filter(|dependency| dependency.optional)
        .collect();
    let mut out: Vec<String> = Vec::new();
    match value {
        FeatureValue::Feature(wanted) => {
            out.extend(summary.features.keys().map(ToString::to_string));
            out.extend(
                optional
                    .iter()
                    .map(|dependency| dependency.name_in_manifest().to_string()),
            );
            out.retain(|name| near(name, wanted.as_str()));
        }
        FeatureValue::Dependency(_) => {}
        FeatureValue::DependencyFeature {
            dependency,
            feature,
            ..
        } => {
            for candidate in &summary.dependencies {
                let name = candidate.name_in_manifest();
                if near(name.as_str(), dependency.as_str()) {
                    out.extend(
                        candidate
                            .features
                            .iter()
                            .filter(|known| near(known.as_str(), feature.as_str()))
                            .map(|known| format!("{name}/{known}")),
                    );
                }
            }
            let own = summary.id.name();
            if near(own.as_str(), dependency.as_str()) {
                out.extend(
                    summary
                        .features
                        .keys()
                        .filter(|known| near(known.as_str(), feature.as_str()))
                        .map(|known| format!("{own}/{known}")),
                );
            }
        }
    }
    out
}
