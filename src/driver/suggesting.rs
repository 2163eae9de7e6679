//! `policy suggest`: the smallest policy that a build passes with, found by building.
//!
//! The build is run with all that can go on after a failure, what the failures advise is added to the policy in memory,
//! and so on until it passes or nothing new is learnt. Then each grant is left out once, and stays out if the build passes
//! without it. Nothing is handed out, and no walls are wider than the policy of that round makes them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::diag::chain;
use crate::driver::building::build::{self, BuildOptions};
use crate::driver::files;
use crate::driver::planned::Planned;
use crate::driver::planning::{self, PlanOptions, PolicyFrom};
use crate::driver::{Context, DriverError, Reporter, resolution};
use crate::execute::outcome::Outcome;
use crate::execute::{ActionEvent, ActionFailure, Observer, Source};
use crate::message::text::{Styles, harmless};
use crate::plan::graph::ActionIndex;
use crate::policy::FILE_NAME;
use crate::policy::edit::{self, Asked, Thing};
use crate::sandbox::Isolation;
use crate::store::Store;
use crate::unit::BuildRequest;

/// No more rounds than these: what is learnt in none of them takes a person.
const MOST_ROUNDS: usize = 12;
/// No more grants than these are tried to be left out.
const MOST_TRIALS: usize = 24;

/// How the builds are run.
#[derive(Debug, Clone, Copy)]
pub struct SuggestOptions<'a> {
    /// How actions are planned; the policy is suggested.
    pub plan: &'a PlanOptions,
    /// How many jobs run at once.
    pub jobs: usize,
    /// Which layers are demanded.
    pub isolation: Isolation,
    /// Set when the user interrupts.
    pub interrupted: &'a AtomicBool,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suggestion {
    /// What to grant besides what is granted.
    pub asked: Vec<Asked>,
    /// What still fails, with the reason; nothing if the build passes.
    pub failures: Vec<String>,
    /// What would have been granted and cannot be, with the reason.
    pub impossible: Vec<String>,
}

/// See the module.
///
/// # Errors
/// If a stage fails for another reason than what is granted.
pub fn suggest(
    context: &Context,
    store: &Arc<Store>,
    request: &BuildRequest,
    options: &SuggestOptions<'_>,
    reporter: &mut dyn Reporter,
) -> Result<Suggestion, DriverError> {
    let workspace = resolution::load(context)?;
    let mut learner = Learner {
        context,
        store,
        request,
        options,
        before: files::read_text(&workspace.root.join(FILE_NAME))?,
        things: Vec::new(),
        impossible: Vec::new(),
    };
    let mut failures = Vec::new();
    for round in 0..MOST_ROUNDS {
        let learnt = learner.build(&learner.things, reporter)?;
        failures = learnt.failures;
        if failures.is_empty() {
            break;
        }
        let mut is_new = false;
        for thing in learnt.things {
            is_new |= learner.learn(thing, reporter)?;
        }
        if !is_new {
            break;
        }
        reporter.status(
            "Learnt",
            &format!(
                "what to grant, in build {}: {} so far",
                round + 1,
                learner.things.len()
            ),
        );
    }
    if failures.is_empty() {
        learner.leave_out(reporter)?;
    }
    Ok(Suggestion {
        asked: Thing::together(&learner.things),
        failures,
        impossible: learner.impossible,
    })
}

struct Learner<'a> {
    context: &'a Context,
    store: &'a Arc<Store>,
    request: &'a BuildRequest,
    options: &'a SuggestOptions<'a>,
    /// The policy as it stands.
    before: String,
    /// What was learnt, each thing by itself.
    things: Vec<Thing>,
    impossible: Vec<String>,
}

impl Learner<'_> {
    /// Plans the build with `things` granted besides.
    fn plan(&self, things: &[Thing], reporter: &mut dyn Reporter) -> Result<Planned, DriverError> {
        let mut text = self.before.clone();
        for asked in Thing::together(things) {
            text = edit::grant(&text, &asked)?.text;
        }
        let options = PlanOptions {
            policy: PolicyFrom::Text(text),
            ..self.options.plan.clone()
        };
        let (context, store, request) = (self.context, self.store, self.request);
        let lowered = planning::lower(context, store, request, reporter)?;
        planning::plan_actions(context, store, lowered, request, &options, reporter)
    }

    fn build(&self, things: &[Thing], reporter: &mut dyn Reporter) -> Result<Learnt, DriverError> {
        let planned = self.plan(things, reporter)?;
        let work = self.store.work_dir()?;
        let mut listener = Listener {
            planned: &planned,
            explained: BTreeSet::new(),
            learnt: Learnt::default(),
        };
        let built = build::run(
            &planned,
            &mut listener,
            &BuildOptions {
                destination: work.path().to_owned(),
                jobs: self.options.jobs,
                keep_going: true,
                isolation: self.options.isolation,
                hermetic: false,
                audit: false,
                interrupted: self.options.interrupted,
                parameters: serde_json::Value::Null,
            },
        );
        match built {
            Ok(_) | Err(DriverError::ActionsFailed { .. }) => Ok(listener.learnt),
            Err(error) => Err(error),
        }
    }

    /// Adds a grant, if it is new and this machine can give it.
    fn learn(&mut self, thing: Thing, reporter: &mut dyn Reporter) -> Result<bool, DriverError> {
        if self.things.contains(&thing) {
            return Ok(false);
        }
        let words = thing.to_string();
        let mut with = self.things.clone();
        with.push(thing);
        match self.plan(&with, reporter) {
            Ok(_) => {
                self.things = with;
                Ok(true)
            }
            Err(error @ (DriverError::Toolchain(_) | DriverError::Policy(_))) => {
                let line = format!("{words}: {}", chain(&error));
                if !self.impossible.contains(&line) {
                    self.impossible.push(line);
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Leaves out what the build passes without.
    fn leave_out(&mut self, reporter: &mut dyn Reporter) -> Result<(), DriverError> {
        let mut at = 0;
        for _ in 0..MOST_TRIALS {
            if at >= self.things.len() {
                break;
            }
            let mut without = self.things.clone();
            without.remove(at);
            if self.build(&without, reporter)?.failures.is_empty() {
                self.things = without;
            } else {
                at += 1;
            }
        }
        Ok(())
    }
}

/// What one build taught.
#[derive(Default)]
struct Learnt {
    things: Vec<Thing>,
    failures: Vec<String>,
}

struct Listener<'a> {
    planned: &'a Planned,
    /// Actions of which it is known what they were denied.
    explained: BTreeSet<ActionIndex>,
    learnt: Learnt,
}

impl Observer for Listener<'_> {
    fn started(&mut self, _action: ActionIndex) {}
    fn event(&mut self, action: ActionIndex, event: ActionEvent) {
        if let ActionEvent::Explained(explained) = event {
            let grants = explained.grants.iter();
            let things: Vec<Thing> = grants.flat_map(|grant| Thing::of_section(grant)).collect();
            if !things.is_empty() {
                self.explained.insert(action);
                self.learnt.things.extend(things);
            }
        }
    }

    fn finished(&mut self, _action: ActionIndex, _outcome: &Outcome, _source: Source) {}
    fn progress(&mut self, _running: usize, _queued: usize) {}

    fn failed(&mut self, index: ActionIndex, failure: &ActionFailure, _still_running: usize) {
        let action = self.planned.graph.action(index);
        let unit = self.planned.units.unit(action.unit);
        let mut why = chain(failure);
        if let ActionFailure::Process(process) = failure {
            let printed = [&process.stdout, &process.stderr]
                .map(|bytes| harmless(bytes, Styles::Strip))
                .concat();
            // What was traced and tried is better known than what is guessed from words.
            let advice = match self.explained.contains(&index) {
                true => Vec::new(),
                false => self.planned.policy.hints(&unit.package, &printed),
            };
            let mut known: BTreeSet<Thing> = BTreeSet::new();
            for advice in advice {
                match &advice.grant {
                    Some(grant) => known.extend(Thing::of_section(grant)),
                    None => why = format!("{why}; {}", advice.what),
                }
            }
            self.learnt.things.extend(known);
            let says_something =
                |line: &&str| !line.trim().is_empty() && !line.starts_with("note: run with");
            if let Some(last) = printed.lines().rfind(says_something) {
                why = format!("{why}: {}", last.trim());
            }
        }
        self.learnt
            .failures
            .push(format!("{}: {why}", action.label));
    }
}
