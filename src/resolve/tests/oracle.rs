//! Random small registries, resolved once as the program does and once by plain trial of everything in cargo's order.
//! Both have to find the same graph, or both none.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use super::registry::{Memory, options, registry, workspace};
use crate::manifest::model::Workspace;
use crate::package::{FeatureName, PackageName, Summary};
use crate::resolve::activate::{Request, activate};
use crate::resolve::catalog::Compatibility;
use crate::resolve::{Resolve, ResolveError, fresh};

/// A generator of numbers that is the same everywhere (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.roll(choices.len())]
    }
}

const VERSIONS: &[&str] = &[
    "0.1.0", "0.2.0", "1.0.0", "1.1.0", "1.2.0", "2.0.0", "2.1.0",
];
const REQUIREMENTS: &[&str] = &[
    "*", "^1", "^1", "^1.1", "=1.1.0", "<1.2", ">=1", "^2", "^0.1", ">=0.1,<2", "=2.0.0", "=1.0.0",
    "~1.0",
];

fn dependency(dice: &mut Dice, name: usize) -> String {
    let mut text = format!("p{name} {}", dice.one_of(REQUIREMENTS));
    if dice.roll(4) == 0 {
        text.push_str(" +x");
    }
    if dice.roll(4) == 0 {
        text.push_str(" -default");
    }
    if dice.roll(4) == 0 {
        text.push_str(" optional");
    }
    text
}

/// A registry of a few packages, each depending on later ones only, so that there are no circles.
fn random(seed: u64) -> (String, String) {
    let dice = &mut Dice(seed);
    let packages = 3 + dice.roll(5);
    let mut text = String::new();
    for name in 0..packages {
        for version in VERSIONS {
            if dice.roll(3) == 0 {
                continue;
            }
            let _ = write!(text, "p{name} {version}");
            let mut optional = Vec::new();
            for later in name + 1..packages {
                if dice.roll(3) == 0 {
                    let dependency = dependency(dice, later);
                    if dependency.contains("optional") {
                        optional.push(format!("p{later}"));
                    }
                    let _ = write!(text, " | {dependency}");
                }
            }
            if dice.roll(2) == 0 {
                let list: Vec<String> = match dice.roll(3) {
                    0 => optional.clone(),
                    1 => optional.iter().map(|name| format!("{name}/x")).collect(),
                    _ => optional.iter().map(|name| format!("{name}?/x")).collect(),
                };
                let _ = write!(text, " | feature x = {}", list.join(" "));
                if dice.roll(2) == 0 {
                    let _ = write!(text, " | feature default = x");
                }
            }
            if dice.roll(8) == 0 {
                let _ = write!(text, " | links l{}", dice.roll(2));
            }
            if dice.roll(10) == 0 {
                text.push_str(" | yanked");
            }
            text.push('\n');
        }
    }
    let mut members = "m 0.1.0".to_owned();
    for name in 0..packages {
        if dice.roll(2) == 0 {
            let _ = write!(members, " | {}", dependency(dice, name));
        }
    }
    (text, members)
}

#[derive(Clone, Default)]
struct Trial {
    active: BTreeMap<(PackageName, Compatibility), Arc<Summary>>,
    features: BTreeMap<String, BTreeSet<FeatureName>>,
    edges: BTreeSet<(String, String)>,
    /// Who depends, what will do, what is asked.
    #[expect(clippy::type_complexity, reason = "a stack that only this test has")]
    frames: Vec<Vec<(String, Vec<Arc<Summary>>, Request)>>,
}

impl Trial {
    fn switch_on(&mut self, registry: &Memory, summary: &Arc<Summary>, request: &Request) -> bool {
        let Ok(activation) = activate(summary, request) else {
            return false;
        };
        let name = summary.id.to_string();
        if let Some(known) = self.features.get(&name)
            && activation.features.is_subset(known)
        {
            return true;
        }
        self.features
            .entry(name.clone())
            .or_default()
            .extend(activation.features);
        let mut frame: Vec<_> = activation
            .dependencies
            .iter()
            .map(|(index, forwarded)| {
                let dependency = &summary.dependencies[*index];
                let mut candidates: Vec<_> = registry
                    .packages
                    .get(&dependency.package)
                    .into_iter()
                    .flatten()
                    .filter(|summary| dependency.requirement.matches(summary.id.version()))
                    .filter(|summary| !summary.yanked)
                    .cloned()
                    .collect();
                candidates.sort_by(|a, b| b.id.version().cmp(a.id.version()));
                (name.clone(), candidates, Request::of(dependency, forwarded))
            })
            .collect();
        frame.sort_by_key(|(_, candidates, _)| candidates.len());
        frame.reverse();
        self.frames.push(frame);
        true
    }

    /// Tries everything; the first thing that works is the answer. Gives up after too many trials.
    fn run(mut self, registry: &Memory, budget: &mut usize) -> Option<Self> {
        *budget = budget.checked_sub(1)?;
        let next = self
            .frames
            .iter()
            .enumerate()
            .filter_map(|(index, frame)| Some((frame.last()?.1.len(), index)))
            .min();
        let Some((_, index)) = next else {
            return Some(self);
        };
        let (dependent, candidates, request) = self.frames[index].pop()?;
        for candidate in candidates {
            let place = (
                candidate.id.name().clone(),
                Compatibility::of(candidate.id.version()),
            );
            let links_clash = candidate.links.is_some()
                && self
                    .active
                    .values()
                    .any(|other| other.links == candidate.links && other.id != candidate.id);
            let is_taken = self
                .active
                .get(&place)
                .is_some_and(|other| other.id != candidate.id);
            if links_clash || is_taken {
                continue;
            }
            let mut trial = self.clone();
            trial.active.insert(place, candidate.clone());
            trial
                .edges
                .insert((dependent.clone(), candidate.id.to_string()));
            if trial.switch_on(registry, &candidate, &request)
                && let Some(found) = trial.run(registry, budget)
            {
                return Some(found);
            }
        }
        None
    }
}

fn edges(resolve: &Resolve) -> BTreeSet<(String, String)> {
    resolve
        .dependencies
        .iter()
        .flat_map(|(id, edges)| {
            edges
                .iter()
                .map(|edge| (id.to_string(), edge.package.to_string()))
        })
        .collect()
}

/// What plain trial finds, or nothing if it takes too long.
fn by_trial(registry: &Memory, workspace: &Workspace) -> Option<Option<Trial>> {
    let mut trial = Trial::default();
    for id in &workspace.members {
        let summary = Arc::new(workspace.package(id).summary.clone());
        assert!(trial.switch_on(registry, &summary, &Request::Everything));
    }
    let mut budget = 5_000;
    let found = trial.run(registry, &mut budget);
    (found.is_some() || budget > 0).then_some(found)
}

#[test]
fn agrees_with_trying_everything() {
    let (mut solved, mut unsolvable) = (0, 0);
    for seed in 0..600 {
        let (text, members) = random(seed);
        let mut registry = registry(&text);
        let workspace = workspace(&members);
        let Some(expected) = by_trial(&registry, &workspace) else {
            continue;
        };
        let found = fresh(&workspace, None, &mut registry, &options());
        match (expected, found) {
            (Some(expected), Ok(found)) => {
                solved += 1;
                assert_eq!(
                    edges(&found),
                    expected.edges,
                    "seed {seed}:\n{text}\n{members}"
                );
                for (id, features) in &found.features {
                    assert_eq!(
                        Some(features),
                        expected.features.get(&id.to_string()),
                        "seed {seed}: features of {id}\n{text}\n{members}"
                    );
                }
            }
            (None, Err(ResolveError::NoSolution(explanation))) => {
                unsolvable += 1;
                assert!(
                    explanation
                        .facts
                        .iter()
                        .any(|fact| !fact.to_string().is_empty()),
                    "seed {seed}: {explanation}"
                );
            }
            (expected, found) => panic!(
                "seed {seed}: there is {} solution, but {found:?}\n{text}\n{members}",
                if expected.is_some() { "a" } else { "no" }
            ),
        }
    }
    // Neither half of the test may fall asleep.
    assert!(solved > 60 && unsolvable > 60, "{solved} {unsolvable}");
}
