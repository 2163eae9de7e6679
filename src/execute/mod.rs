//! Execution: binds planned actions to keys, schedules them, and runs those that no cache knows.

use crate::execute::bind::BoundAction;
use crate::execute::outcome::Outcome;
use crate::execute::schedule::Sink;
use crate::plan::graph::ActionIndex;

mod again;
pub mod bind;
pub mod failure;
mod jobserver;
pub mod local;
pub mod outcome;
pub mod placement;
pub mod record;
pub mod schedule;
mod standard_error;
pub mod tracing;

pub use failure::ActionFailure;

/// Something that can do actions: from a cache, on this machine, on another.
pub trait Executor: Sync {
    /// The outcome of `bound`, if it is known without running anything.
    fn lookup(&self, bound: &BoundAction<'_>) -> Option<Outcome>;

    /// Runs `bound` and gives its outcome.
    ///
    /// # Errors
    /// The action failed, or it could not be run as promised.
    fn execute(&self, bound: &BoundAction<'_>, sink: &Sink) -> Result<Outcome, ActionFailure>;

    /// Ends everything that is running.
    fn interrupt(&self);
}

/// Where an outcome came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A cache knew it.
    Cache,
    /// The action ran.
    Execution,
}

/// What an action that failed was denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// In words.
    pub text: String,
    /// What would grant it, each as a section of a policy; nothing that was tried in vain.
    pub grants: Vec<String>,
}

/// What a running action wants told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionEvent {
    /// A line of rustc's standard error: a JSON message, or text. Untrusted.
    Line(Vec<u8>),
    /// What it was denied; it has failed.
    Explained(Explained),
}

/// Whoever shows a build to its user. All calls come from one thread, in order.
pub trait Observer {
    /// An action starts.
    fn started(&mut self, action: ActionIndex);

    /// An action wants something told.
    fn event(&mut self, action: ActionIndex, event: ActionEvent);

    /// An action has succeeded.
    fn finished(&mut self, action: ActionIndex, outcome: &Outcome, source: Source);

    /// An action has failed; `still_running` others go on to their end.
    fn failed(&mut self, action: ActionIndex, failure: &ActionFailure, still_running: usize);

    /// How many actions run and how many wait for a token.
    fn progress(&mut self, running: usize, queued: usize);
}
