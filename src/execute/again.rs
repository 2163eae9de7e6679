//! Processes that are run with a tracer, and failed actions that are run once more.

use std::time::Duration;

use crate::execute::bind::{BoundAction, BoundInput};
use crate::execute::failure::ActionFailure;
use crate::execute::local::LocalExecutor;
use crate::execute::tracing::{Amendment, Sight, Traced, Trial};
use crate::plan::graph::ActionKind;
use crate::sandbox::trace::{self, Depth, Trace};
use crate::sandbox::{self, Ended, Outcome, Request, Running, SandboxError, Stream};

/// An action that takes longer is not run again.
const MOST_AGAIN: Duration = Duration::from_secs(60);
/// How much slower it may be when it is traced.
const SLOWER: u32 = 8;
const LEAST_TIME: Duration = Duration::from_secs(20);
const LEAST_TRIAL: Duration = Duration::from_secs(60);

impl LocalExecutor<'_> {
    /// Runs a process to its end, traced if everything is.
    pub(super) fn run_to_end(
        &self,
        request: Request<'_>,
        on_start: impl FnOnce(&Running),
        on_output: impl FnMut(Stream, &[u8]),
    ) -> Result<(Outcome, Option<Trace>), SandboxError> {
        if self.audit {
            let (outcome, trace) = trace::run(request, Depth::Paths, on_start, on_output)?;
            return Ok((outcome, Some(trace)));
        }
        let process = sandbox::spawn(request)?;
        on_start(&process);
        Ok((process.wait(on_output)?, None))
    }

    /// Runs an action that has failed again, with a tracer; what it leaves and prints is thrown away. Nothing if it took
    /// long, does not fail so again, or cannot be traced here.
    pub(super) fn trace_again(
        &self,
        bound: &BoundAction<'_>,
        failure: &ActionFailure,
        took: Duration,
    ) -> Option<Traced> {
        if took > MOST_AGAIN {
            return None;
        }
        let workplace = self.placement.workplace(self.store, bound).ok()?;
        let mut request = self.request(bound, &workplace).ok()?;
        request.timeout = Some(took * SLOWER + LEAST_TIME);
        let sight = Sight::of(&request);
        let on_start = |process: &Running| self.running.add(process.canceller());
        let (outcome, trace) = trace::run(request, Depth::Everything, on_start, |_, _| {}).ok()?;
        let fails_again = match failure {
            ActionFailure::ScriptErrors { .. } => true,
            _ => outcome.ended == Ended::Itself && !outcome.success(),
        };
        fails_again.then_some(Traced { sight, trace })
    }

    /// Runs an action with other grants than it has, and with a tracer; what it leaves and prints is thrown away. It shares
    /// nothing with the actions that run beside it, not even the jobserver: nobody has granted this yet.
    pub(super) fn trial(
        &self,
        bound: &BoundAction<'_>,
        amendment: &Amendment,
        took: Duration,
    ) -> Option<Trial> {
        if took > MOST_AGAIN || self.running.is_interrupted() {
            return None;
        }
        let mut planned = bound.planned.clone();
        planned.system = amendment.system.tree_ref();
        planned.scratch.clone_from(&amendment.scratch);
        let mut environment = bound.environment.clone();
        environment.extend(amendment.variables.clone());
        let mut inputs = bound.inputs.clone();
        if let Some((at, tree)) = &amendment.surroundings {
            inputs.retain(|input| !input.at.is_within(at));
            inputs.push(BoundInput {
                at: at.clone(),
                tree: *tree,
                made: None,
            });
            inputs.sort_by(|left, right| left.at.cmp(&right.at));
        }
        let bound = BoundAction {
            planned: &planned,
            key: bound.key,
            argv: bound.argv.clone(),
            environment,
            inputs,
        };
        let jobserver = jobserver::Client::new(2).ok()?;
        let workplace = self.placement.workplace(self.store, &bound).ok()?;
        let mut request = self
            .request_in(&bound, &workplace, &amendment.system, &jobserver)
            .ok()?;
        // What the crate does once it has what it wanted takes longer than failing.
        request.timeout = Some(took * SLOWER + LEAST_TRIAL);
        let sight = Sight::of(&request);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let on_start = |process: &Running| self.running.add(process.canceller());
        let on_output = |stream, bytes: &[u8]| match stream {
            Stream::Stdout => stdout.extend_from_slice(bytes),
            Stream::Stderr => stderr.extend_from_slice(bytes),
        };
        let (outcome, trace) = trace::run(request, Depth::Everything, on_start, on_output).ok()?;
        let directives = (planned.kind == ActionKind::RunBuildScript)
            .then(|| (self.parse_directives)(planned.unit, &stdout));
        let says_well = match &directives {
            Some(Ok(directives)) => directives.errors().next().is_none(),
            Some(Err(_)) => false,
            None => true,
        };
        Some(Trial {
            passed: outcome.success() && says_well,
            traced: Traced { sight, trace },
            stdout,
            stderr,
        })
    }
}
