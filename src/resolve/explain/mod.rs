//! Why there is no resolution, in plain words. pubgrub's proof is a tree of facts and of what follows from them; people
//! are better served by the facts alone, each once, ordered from the workspace outwards: which packages require what,
//! where nothing is there to meet a requirement what is there instead, and what cannot be together.

mod gather;

use std::fmt;

use semver::{Version, VersionReq};

pub(super) use gather::explain;

use crate::package::{FeatureName, PackageId, PackageName, SourceId, SourceKind};

/// How many versions or names are listed before the list is cut short.
const LISTED: usize = 5;

/// Why no choice of versions meets all requirements: facts which together are impossible, none of which could be
/// spared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The facts, from the workspace outwards.
    pub facts: Vec<Fact>,
}

/// A requirement and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// The packages that have it: one, or several versions of one.
    pub dependents: Vec<PackageId>,
    /// The package that is wanted.
    pub dependency: PackageName,
    /// Where it is wanted from.
    pub source: SourceId,
    /// The versions that will do; none if any will.
    pub requirement: Option<VersionReq>,
    /// The version that the lock holds it to.
    pub locked: Option<Version>,
    /// The features that are asked for.
    pub features: Vec<FeatureName>,
    /// The versions that are there and will do, features considered.
    pub allowed: Vec<Version>,
}

/// Why a name that is no feature may have been taken for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureMistake {
    /// Nothing bears the name.
    Unknown,
    /// A dependency bears it that is not optional.
    RequiredDependency,
    /// An optional dependency bears it, but the package does not offer it as a feature (`dep:`).
    HiddenDependency,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A requirement that could be met, but not together with the others.
    Requires(Demand),
    /// A requirement that nothing meets.
    NothingMatches {
        /// The requirement.
        demand: Demand,
        /// The versions that are there, highest first.
        available: Vec<Version>,
        /// Versions that would do, but were withdrawn.
        yanked: Vec<Version>,
        /// Names of other packages that may be meant, if there is no package of the name.
        similar: Vec<PackageName>,
    },
    /// A feature is asked for that no version which would do has.
    NoFeature {
        /// The requirement; [`Demand::allowed`] are the versions that would do but for the feature.
        demand: Demand,
        /// The feature.
        feature: FeatureName,
        /// What is wrong with it.
        mistake: FeatureMistake,
        /// Features that the highest of these versions has: those that switch the hidden dependency on, or else all,
        /// the most similar first.
        available: Vec<FeatureName>,
    },
    /// A feature of a package names one that is not there, so the package cannot be used with it.
    BrokenFeature {
        /// The package.
        package: PackageId,
        /// The feature that is missing.
        feature: FeatureName,
    },
    /// Only one of these packages can be used, since they link the same native library.
    Links {
        /// The native library.
        library: String,
        /// The packages.
        packages: Vec<PackageId>,
    },
    /// Of these versions, which are compatible, only one can be used, and no one meets all requirements.
    OnlyOne {
        /// The package.
        package: PackageName,
        /// What its versions have in common: `1`, `0.3`, `0.0.7`.
        range: String,
    },
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    let mut texts: Vec<String> = items
        .iter()
        .take(LISTED)
        .map(|item| format!("`{item}`"))
        .collect();
    if items.len() > LISTED {
        texts.push(format!("… ({} in all)", items.len()));
    }
    texts.join(", ")
}

fn describe_source(source: &SourceId) -> String {
    match source.kind() {
        SourceKind::Path(path) => format!("directory `{}`", path.display()),
        SourceKind::Registry {
            is_crates_io: true, ..
        } => "registry `crates-io`".to_owned(),
        SourceKind::Registry { url, .. } => format!("registry `{url}`"),
        SourceKind::Git { url, .. } => format!("repository `{url}`"),
    }
}

impl Demand {
    fn dependents_text(&self) -> String {
        match &*self.dependents {
            [] => "the workspace".to_owned(),
            [one] => format!("`{one}`"),
            several => {
                let versions: Vec<&Version> =
                    several.iter().rev().map(PackageId::version).collect();
                format!("`{}` {}", several[0].name(), list(&versions))
            }
        }
    }

    /// `name = "requirement"`, as the manifest has it.
    fn requirement_text(&self) -> String {
        let mut text = match &self.requirement {
            Some(requirement) => format!("`{} = \"{requirement}\"`", self.dependency),
            None => format!("`{}`", self.dependency),
        };
        if let Some(locked) = &self.locked {
            text.push_str(&format!(" (locked to `{locked}`)"));
        }
        text
    }

    fn features_text(&self) -> String {
        match &*self.features {
            [] => String::new(),
            [one] => format!(" with feature `{one}`"),
            several => format!(" with features {}", list(several)),
        }
    }

    fn verb(&self) -> &'static str {
        if self.dependents.len() > 1 {
            "require"
        } else {
            "requires"
        }
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}{}",
            self.dependents_text(),
            self.verb(),
            self.requirement_text(),
            self.features_text()
        )
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requires(demand) => {
                write!(f, "{demand}")?;
                match &*demand.allowed {
                    [] => Ok(()),
                    [one] => write!(f, ", which is `{one}`"),
                    several => write!(f, ", which is one of {}", list(several)),
                }
            }
            Self::NothingMatches {
                demand,
                available,
                yanked,
                similar,
            } => {
                let place = describe_source(&demand.source);
                write!(f, "{demand}, ")?;
                if !yanked.is_empty() {
                    write!(
                        f,
                        "but what would do was yanked from {place}: {}",
                        list(yanked)
                    )?;
                    if !available.is_empty() {
                        write!(f, "; available: {}", list(available))?;
                    }
                    Ok(())
                } else if !available.is_empty() {
                    write!(f, "but {place} has only {}", list(available))
                } else {
                    write!(f, "but {place} has no package of that name")?;
                    match &**similar {
                        [] => Ok(()),
                        names => write!(f, "; it does have {}", list(names)),
                    }
                }
            }
            Self::NoFeature {
                demand,
                feature,
                mistake,
                available,
            } => {
                write!(
                    f,
                    "{demand}, but no version that would do ({}) has the feature `{feature}`",
                    list(&demand.allowed)
                )?;
                match mistake {
                    FeatureMistake::RequiredDependency => f.write_str(
                        "; it has a dependency of that name, but only optional dependencies can be used as features",
                    ),
                    FeatureMistake::HiddenDependency => {
                        f.write_str("; it has an optional dependency of that name, but offers no feature for it (`dep:`)")?;
                        match &**available {
                            [] => Ok(()),
                            features => write!(f, "; it is switched on by {}", list(features)),
                        }
                    }
                    FeatureMistake::Unknown if available.is_empty() => {
                        f.write_str("; it has no features at all")
                    }
                    FeatureMistake::Unknown => {
                        write!(f, "; it has the features {}", list(available))
                    }
                }
            }
            Self::BrokenFeature { package, feature } => write!(
                f,
                "a feature of `{package}` that is asked for names the feature `{feature}`, which is not there"
            ),
            Self::Links { library, packages } => write!(
                f,
                "{} link the native library `{library}`, and only one package in a graph may",
                list(packages)
            ),
            Self::OnlyOne { package, range } => write!(
                f,
                "there can be only one version of `{package}` that is compatible with `{range}`"
            ),
        }
    }
}

impl Explanation {
    /// One line that says what the matter is.
    pub fn headline(&self) -> String {
        let blockers: Vec<&Fact> = self
            .facts
            .iter()
            .filter(|fact| !matches!(fact, Fact::Requires(_)))
            .collect();
        match &*blockers {
            [
                Fact::NothingMatches {
                    demand,
                    available,
                    yanked,
                    ..
                },
            ] => {
                if available.is_empty() && yanked.is_empty() {
                    format!(
                        "there is no package `{}` in {}",
                        demand.dependency,
                        describe_source(&demand.source)
                    )
                } else {
                    format!("no version of {} can be used", demand.requirement_text())
                }
            }
            [
                Fact::NoFeature {
                    demand, feature, ..
                },
            ] => {
                format!("`{}` has no feature `{feature}`", demand.dependency)
            }
            [Fact::Links { library, .. }] => {
                format!("more than one package would link the native library `{library}`")
            }
            [Fact::OnlyOne { package, .. }] => {
                format!("no version of `{package}` meets all requirements")
            }
            _ => "no choice of versions meets all requirements".to_owned(),
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        self.facts.iter().find_map(|fact| match fact {
            Fact::NothingMatches {
                demand, similar, ..
            } if !similar.is_empty() => Some(format!(
                "if another package than `{}` is meant, correct its name: {}",
                demand.dependency,
                list(similar)
            )),
            Fact::NothingMatches {
                demand, available, ..
            } => {
                if demand.locked.is_some() {
                    return Some(format!(
                        "the lock holds `{0}` to a version that is not there: `kiln update {0}` chooses another",
                        demand.dependency
                    ));
                }
                let pre_release = available.iter().find(|version| !version.pre.is_empty());
                match (pre_release, available.first()) {
                    (Some(version), _) => Some(format!(
                        "a pre-release is only used if it is asked for: `{} = \"{version}\"`",
                        demand.dependency
                    )),
                    (None, Some(version)) => Some(format!(
                        "ask for a version that is there: `{} = \"{version}\"`",
                        demand.dependency
                    )),
                    (None, None) => None,
                }
            }
            Fact::NoFeature {
                feature,
                available,
                mistake: FeatureMistake::Unknown,
                ..
            } => available
                .first()
                .filter(|name| strsim::damerau_levenshtein(name.as_str(), feature.as_str()) <= 3)
                .map(|name| format!("if `{name}` is meant, correct the name of the feature")),
            Fact::NoFeature {
                available,
                mistake: FeatureMistake::HiddenDependency,
                ..
            } => available
                .first()
                .map(|name| format!("ask for the feature `{name}` instead")),
            Fact::NoFeature {
                feature,
                mistake: FeatureMistake::RequiredDependency,
                ..
            } => Some(format!(
                "take `{feature}` out of the features that are asked for: the dependency is there anyway"
            )),
            Fact::Links { library, .. } => Some(format!(
                "adjust the requirements so that only one package which links `{library}` is needed; often all who use \
                 it have to agree on one range of versions"
            )),
            Fact::Requires(_) | Fact::BrokenFeature { .. } | Fact::OnlyOne { .. } => None,
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        for fact in &self.facts {
            write!(f, "\n  - {fact}")?;
        }
        Ok(())
    }
}
