//! Runs tests, benchmarks and the examples of documentation, one after the other, once everything is built.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::driver::building::build::Built;
use crate::driver::building::execution::{Execution, Setting};
use crate::driver::{DriverError, Planned};
use crate::execute::ActionFailure;
use crate::execute::bind::{Known, bind};
use crate::execute::outcome::Outcome;
use crate::execute::schedule::ScheduleError;
use crate::path::SandboxPath;
use crate::plan::graph::{ActionIndex, PlannedAction};
use crate::sandbox::{Isolation, Status, Stream};
use crate::tree::{Directory, TreeRef};

/// How tests are run.
#[derive(Debug, Clone, Copy)]
pub struct TestOptions<'a> {
    /// Which layers are demanded.
    pub isolation: Isolation,
    /// Whether the tests were built as what ships is.
    pub hermetic: bool,
    /// Set when the user interrupts.
    pub interrupted: &'a AtomicBool,
}

/// How one of them ended.
#[derive(Debug)]
pub enum TestEnd {
    /// By itself.
    Ended(Status),
    /// It could not be run, or was stopped.
    Stopped(ActionFailure),
}

impl TestEnd {
    /// Whether it passed.
    pub fn success(&self) -> bool {
        matches!(self, TestEnd::Ended(Status::Exited(0)))
    }
}

/// Whoever shows tests to their user.
pub trait TestObserver {
    /// `run` starts.
    fn started(&mut self, run: &PlannedAction);

    /// It prints something. Untrusted.
    fn printed(&mut self, stream: Stream, bytes: &[u8]);

    /// It has ended; whether the next one is run.
    fn ended(&mut self, run: &PlannedAction, end: &TestEnd) -> bool;
}

/// Runs all that `planned` has to run.
///
/// # Errors
/// The user interrupted, or something that was built is not there.
pub fn run(
    planned: &Planned,
    built: &Built,
    observer: &mut dyn TestObserver,
    options: &TestOptions<'_>,
) -> Result<(), DriverError> {
    if planned.graph.runs.is_empty() {
        return Ok(());
    }
    let setting = Setting {
        planned,
        jobs: 1,
        isolation: options.isolation,
        hermetic: options.hermetic,
        audit: false,
    };
    setting.execute(|execution| {
        let finished = Finished {
            planned,
            built,
            system_roots: execution.system_roots,
        };
        for run in &planned.graph.runs {
            observer.started(run);
            let end = one(execution, &finished, run, observer, options)?;
            if !observer.ended(run, &end) {
                break;
            }
        }
        Ok(())
    })
}

fn one(
    execution: &Execution<'_>,
    finished: &Finished<'_>,
    run: &PlannedAction,
    observer: &mut dyn TestObserver,
    options: &TestOptions<'_>,
) -> Result<TestEnd, DriverError> {
    let bound = bind(run, finished).map_err(|source| ScheduleError::Bind {
        label: run.label.clone(),
        source,
    })?;
    let end = execution
        .executor
        .run(&bound, options.interrupted, |stream, bytes| {
            observer.printed(stream, bytes);
        });
    match end {
        Ok(status) => Ok(TestEnd::Ended(status)),
        Err(ActionFailure::Interrupted) => Err(DriverError::Interrupted),
        Err(failure) => Ok(TestEnd::Stopped(failure)),
    }
}

/// A build that has ended.
struct Finished<'a> {
    planned: &'a Planned,
    built: &'a Built,
    system_roots: &'a BTreeMap<TreeRef, Arc<Directory>>,
}

impl Known for Finished<'_> {
    fn outcome(&self, action: ActionIndex) -> Option<&Outcome> {
        self.built.outcome(action)
    }

    fn out_dir(&self, action: ActionIndex) -> &SandboxPath {
        &self.planned.graph.action(action).output_directory
    }

    fn system_root(&self, tree: TreeRef) -> Option<Arc<Directory>> {
        self.system_roots.get(&tree).cloned()
    }
}
