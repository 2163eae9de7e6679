//! The root units: which targets of the selected packages are built in which mode.
//!
//! Source: cargo's `UnitGenerator`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::manifest::model::{CrateType, Package, Target, TargetKind, Workspace};
use crate::package::{FeatureName, PackageName};
use crate::unit::UnitError;
use crate::unit::context::{Context, Roots};
use crate::unit::draft::{Draft, Interner, UnitFor, is_any_proc_macro};
use crate::unit::graph::{Mode, Platform};
use crate::unit::packages::PackageIndex;
use crate::unit::request::{Intent, PackageSelection, TargetNames, TargetSelection};
use crate::unit::selection::{is_glob, pattern};
use crate::unit::suggest;

/// A target that may become a unit, if its required features are on.
struct Proposal<'a> {
    package: PackageIndex,
    target: &'a Arc<Target>,
    /// Whether missing features are an error: the target was asked for by name.
    by_name: bool,
    mode: Mode,
}

/// The selected packages and what is to be chosen from them.
pub(crate) struct RootRequest<'a> {
    pub(crate) packages: &'a [PackageIndex],
    pub(crate) selection: &'a PackageSelection,
    pub(crate) targets: &'a TargetSelection,
    pub(crate) workspace: &'a Workspace,
}

/// A kind of target that a flag chooses from.
struct Kind {
    flag: &'static str,
    is: fn(&Target) -> bool,
}

const BIN: Kind = Kind {
    flag: "bin",
    is: Target::is_bin,
};
const EXAMPLE: Kind = Kind {
    flag: "example",
    is: Target::is_example,
};

struct Generator<'c, 'a> {
    context: &'c Context<'a>,
    request: &'c RootRequest<'a>,
    packages: Vec<(PackageIndex, &'a Arc<Package>)>,
    warnings: Vec<String>,
}

/// The root units in cargo's order.
pub(crate) fn generate(
    context: &Context<'_>,
    request: &RootRequest<'_>,
    interner: &mut Interner,
    warnings: &mut Vec<String>,
) -> Result<Roots, UnitError> {
    let packages = request
        .packages
        .iter()
        .map(|&index| Ok((index, context.package(index)?)))
        .collect::<Result<Vec<_>, UnitError>>()?;
    if context.intent.is_any_test() {
        for (index, package) in &packages {
            let needs_dev = package
                .summary
                .dependencies
                .iter()
                .any(|dependency| !dependency.is_transitive());
            if needs_dev && !context.members[*index] {
                return Err(UnitError::TestOfNonMember {
                    package: package.id().clone(),
                });
            }
        }
    }
    let mut generator = Generator {
        context,
        request,
        packages,
        warnings: Vec::new(),
    };
    let proposals = if request.targets.is_specific() {
        generator.chosen()?
    } else {
        generator.defaults()
    };
    let roots = generator.units(proposals, interner)?;
    warnings.append(&mut generator.warnings);
    Ok(roots)
}

/// In which mode the targets of an intent are built.
fn mode_of(intent: Intent) -> Mode {
    match intent {
        Intent::Test | Intent::Bench => Mode::Test,
        Intent::Build => Mode::Build,
        Intent::Check { test } => Mode::Check { test },
        Intent::Doc { .. } => Mode::Doc,
        Intent::Doctest => Mode::Doctest,
    }
}

/// Whether rustdoc can run the examples in its documentation.
fn is_doctestable(target: &Target) -> bool {
    matches!(&target.kind, TargetKind::Lib(types) if types.iter().any(|kind| matches!(
        kind, CrateType::Rlib | CrateType::Lib | CrateType::ProcMacro)))
}

impl<'a> Generator<'_, 'a> {
    /// What is built where no flag chooses targets.
    fn defaults(&self) -> Vec<Proposal<'a>> {
        let intent = self.context.intent;
        let mut proposals = Vec::new();
        for &(index, package) in &self.packages {
            let targets = &package.targets;
            let is_default = |target: &Target| match intent {
                Intent::Bench => target.benched,
                Intent::Test => target.tested || target.is_example(),
                Intent::Build | Intent::Check { .. } => target.is_bin() || target.is_lib(),
                Intent::Doc { .. } => {
                    // A program called as the library is left out: their pages would be the same.
                    target.documented
                        && !(target.is_bin()
                            && targets.iter().any(|other| {
                                other.is_lib() && other.crate_name() == target.crate_name()
                            }))
                }
                Intent::Doctest => target.is_lib(),
            };
            for target in targets.iter().filter(|target| is_default(target)) {
                proposals.push(Proposal {
                    package: index,
                    target,
                    by_name: false,
                    mode: mode_of(intent),
                });
            }
            if intent == Intent::Test
                && let Some(library) = targets
                    .iter()
                    .find(|target| target.is_lib() && target.doctested && is_doctestable(target))
            {
                proposals.push(Proposal {
                    package: index,
                    target: library,
                    by_name: false,
                    mode: Mode::Doctest,
                });
            }
        }
        proposals
    }

    /// What the flags choose.
    fn chosen(&mut self) -> Result<Vec<Proposal<'a>>, UnitError> {
        let chosen = self.request.targets;
        let all = TargetNames::all();
        let intent = self.context.intent;
        let mode = mode_of(intent);
        let mut proposals = Vec::new();
        if chosen.lib || chosen.lib_if_any || chosen.all_targets {
            proposals.extend(self.libraries(mode)?);
        }
        let test_mode = match intent {
            Intent::Build => Mode::Test,
            Intent::Check { .. } => Mode::Check { test: true },
            _ => mode,
        };
        let names = |names| if chosen.all_targets { &all } else { names };
        let tests = names(&chosen.tests);
        let benches = names(&chosen.benches);
        // `--tests` means everything with `test = true`; `--test NAME` one of the `[[test]]`s.
        let test_kind = Kind {
            flag: "test",
            is: if tests.all {
                |target| target.tested
            } else {
                Target::is_test
            },
        };
        let bench_kind = Kind {
            flag: "bench",
            is: if benches.all {
                |target| target.benched
            } else {
                Target::is_bench
            },
        };
        for (names, kind, mode) in [
            (names(&chosen.bins), BIN, mode),
            (names(&chosen.examples), EXAMPLE, mode),
            (tests, test_kind, test_mode),
            (benches, bench_kind, test_mode),
        ] {
            if names.all {
                proposals.extend(self.matching(kind.is, false, mode));
            } else {
                for name in &names.names {
                    proposals.extend(self.named(name, &kind, mode)?);
                }
            }
        }
        Ok(proposals)
    }

    fn libraries(&mut self, mode: Mode) -> Result<Vec<Proposal<'a>>, UnitError> {
        let mut libraries = Vec::new();
        for proposal in self.matching(Target::is_lib, false, mode) {
            if self.context.intent == Intent::Doctest && !is_doctestable(proposal.target) {
                let types: Vec<String> = proposal
                    .target
                    .crate_types()
                    .iter()
                    .map(|kind| kind.as_str().to_owned())
                    .collect();
                self.warnings.push(format!(
                    "doc tests are not supported for crate type(s) `{}` in package `{}`",
                    types.join(", "),
                    self.context.graph.id(proposal.package).name()
                ));
            } else {
                libraries.push(proposal);
            }
        }
        let targets = self.request.targets;
        if libraries.is_empty() && !targets.all_targets && !targets.lib_if_any {
            return Err(UnitError::NoLibrary {
                packages: self
                    .packages
                    .iter()
                    .map(|(_, package)| package.id().name().to_string())
                    .collect(),
            });
        }
        Ok(libraries)
    }

    fn matching(
        &self,
        is: impl Fn(&Target) -> bool,
        by_name: bool,
        mode: Mode,
    ) -> Vec<Proposal<'a>> {
        let mut proposals = Vec::new();
        for &(index, package) in &self.packages {
            for target in package.targets.iter().filter(|target| is(target)) {
                proposals.push(Proposal {
                    package: index,
                    target,
                    by_name,
                    mode,
                });
            }
        }
        proposals
    }

    fn named(&self, name: &str, kind: &Kind, mode: Mode) -> Result<Vec<Proposal<'a>>, UnitError> {
        let glob = is_glob(name).then(|| pattern(name)).transpose()?;
        let is = |target: &Target| {
            (kind.is)(target)
                && match &glob {
                    Some(pattern) => pattern.matches(&target.name),
                    None => target.name == name,
                }
        };
        let proposals = self.matching(is, true, mode);
        if !proposals.is_empty() {
            return Ok(proposals);
        }
        Err(UnitError::NoTarget {
            kind: kind.flag,
            named: if glob.is_some() {
                "matches pattern"
            } else {
                "named"
            },
            name: name.to_owned(),
            place: match self.request.selection {
                PackageSelection::Packages(packages) => match packages.as_slice() {
                    [] => String::new(),
                    [one] => format!(" in `{one}` package"),
                    [first, ..] => format!(" in `{first}`, ... packages"),
                },
                _ => " in default-run packages".to_owned(),
            },
            suggestion: self.instead(name, kind, is),
        })
    }

    /// What there is instead of a target that does not exist.
    fn instead(&self, name: &str, kind: &Kind, is: impl Fn(&Target) -> bool) -> Option<String> {
        let mut available: BTreeMap<&str, Vec<&PackageName>> = BTreeMap::new();
        for (_, package) in &self.packages {
            for target in package.targets.iter().filter(|target| (kind.is)(target)) {
                available
                    .entry(&target.name)
                    .or_default()
                    .push(package.id().name());
            }
        }
        let similar = suggest::similar(name, available.keys().copied(), "target");
        let elsewhere: Vec<String> = self
            .request
            .workspace
            .members
            .iter()
            .filter_map(|member| self.request.workspace.packages.get(member))
            .flat_map(|package| {
                package
                    .targets
                    .iter()
                    .filter(|target| is(target))
                    .map(move |target| {
                        format!("`{}` in package `{}`", target.name, package.id().name())
                    })
            })
            .collect();
        if !elsewhere.is_empty() {
            return Some(format!(
                "available {} targets: {}",
                kind.flag,
                elsewhere.join(", ")
            ));
        }
        if similar.is_some() || available.is_empty() {
            return similar;
        }
        let listed: Vec<String> = available
            .into_iter()
            .flat_map(|(target, packages)| {
                let several = packages.len() > 1;
                packages.into_iter().map(move |package| {
                    if several {
                        format!("`{target}` in package `{package}`")
                    } else {
                        format!("`{target}`")
                    }
                })
            })
            .collect();
        Some(format!(
            "available {} targets: {}",
            kind.flag,
            listed.join(", ")
        ))
    }

    fn units(
        &mut self,
        proposals: Vec<Proposal<'a>>,
        interner: &mut Interner,
    ) -> Result<Roots, UnitError> {
        let mut enabled: HashMap<PackageIndex, HashSet<String>> = HashMap::new();
        let mut seen = HashSet::new();
        let mut units = Vec::new();
        for proposal in proposals {
            let target = proposal.target;
            if let Some(required) = &target.required_features {
                self.check_required(&proposal, required)?;
                let enabled = match enabled.entry(proposal.package) {
                    std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                    std::collections::hash_map::Entry::Vacant(slot) => slot.insert(
                        self.context
                            .all_features(
                                proposal.package,
                                self.context.has_dev_units,
                                self.context.requested,
                            )?
                            .into_iter()
                            .collect(),
                    ),
                };
                let missing = required.iter().any(|feature| !enabled.contains(feature));
                if missing && !target.is_lib() {
                    if proposal.by_name {
                        return Err(UnitError::RequiredFeatures {
                            target: target.name.clone(),
                            package: self.context.graph.id(proposal.package).name().to_string(),
                            features: required.clone(),
                        });
                    }
                    continue;
                }
            }
            for draft in self.drafts(&proposal)? {
                let unit = interner.intern(draft);
                if seen.insert(unit) {
                    units.push(unit);
                }
            }
        }
        self.warn_if_nothing_matched(units.is_empty());
        units.sort_by(|&a, &b| interner.compare(a, b));
        Ok(units)
    }

    /// The units of one target, one for each platform.
    fn drafts(&self, proposal: &Proposal<'a>) -> Result<Vec<Draft>, UnitError> {
        let context = self.context;
        let target = proposal.target;
        // `cargo test` compiles examples to see that they compile.
        let mode = if proposal.mode == Mode::Test
            && target.is_example()
            && !self.request.targets.is_specific()
            && !target.tested
        {
            Mode::Build
        } else {
            proposal.mode
        };
        let features = context.features(proposal.package, is_any_proc_macro(target))?;
        Ok(context
            .requested
            .iter()
            .map(|platform| {
                let platform = match platform {
                    Platform::Host => &context.explicit_host,
                    target => target,
                };
                let unit_for = if proposal.mode.is_any_test() {
                    UnitFor::test(platform.clone())
                } else if target.for_host {
                    UnitFor::compiler(platform.clone())
                } else {
                    UnitFor::normal(platform.clone())
                };
                Draft {
                    package: proposal.package,
                    target: Arc::clone(target),
                    profile: context.profile(proposal.package, &unit_for, platform),
                    platform: Context::platform_for(platform, target),
                    mode,
                    features: Arc::clone(&features),
                    dependencies: Vec::new(),
                }
            })
            .collect())
    }

    /// Warns of required features that do not exist, and refuses those that cannot.
    fn check_required(
        &mut self,
        proposal: &Proposal<'_>,
        required: &[String],
    ) -> Result<(), UnitError> {
        let lock = self.context.lock;
        let summary = self.context.graph.summary(proposal.package);
        let target = &proposal.target.name;
        for feature in required {
            let invalid = |why| {
                Err(UnitError::InvalidRequiredFeature {
                    feature: feature.clone(),
                    target: target.clone(),
                    why,
                })
            };
            let why = if feature.starts_with("dep:") {
                return invalid("`dep:` prefixed feature values are not allowed there");
            } else if let Some((dependency, name)) = feature.split_once('/') {
                if dependency.ends_with('?') {
                    return invalid("an optional dependency with `?` is not allowed there");
                }
                let edge = lock.dependencies_of(&summary.id).iter().find(|edge| {
                    edge.declared.iter().any(|&index| {
                        summary.dependencies.get(index).is_some_and(|candidate| {
                            candidate.name_in_manifest().as_str() == dependency
                        })
                    })
                });
                match edge.and_then(|edge| lock.packages.get(&edge.package)) {
                    None => format!("dependency `{dependency}` does not exist"),
                    Some(of) => {
                        let known = of.features.keys().map(FeatureName::as_str);
                        let optional = of
                            .dependencies
                            .iter()
                            .filter(|dependency| dependency.optional)
                            .map(|dependency| dependency.name_in_manifest().as_str());
                        if known.chain(optional).any(|known| known == name) {
                            continue;
                        }
                        format!("feature `{name}` does not exist in package `{}`", of.id)
                    }
                }
            } else if summary.features.contains_key(feature.as_str()) {
                continue;
            } else {
                format!("`{feature}` is not present in [features] section")
            };
            self.warnings.push(format!(
                "invalid feature `{feature}` in required-features of target `{target}`: {why}"
            ));
        }
        Ok(())
    }

    fn warn_if_nothing_matched(&mut self, nothing: bool) {
        let chosen = self.request.targets;
        if !nothing || !chosen.is_specific() {
            return;
        }
        let flags: Vec<&str> = if chosen.all_targets {
            vec!["`all-targets`"]
        } else {
            [
                (&chosen.bins, "`bins`"),
                (&chosen.tests, "`tests`"),
                (&chosen.examples, "`examples`"),
                (&chosen.benches, "`benches`"),
            ]
            .into_iter()
            .filter(|(names, _)| names.all)
            .map(|(_, flag)| flag)
            .collect()
        };
        self.warnings.push(format!(
            "target {} {} specified, but no targets matched; this is a no-op",
            if flags.len() > 1 { "filters" } else { "filter" },
            flags.join(", ")
        ));
    }
}
