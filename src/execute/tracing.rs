//! Looking at what an action does: all of them under `--audit`, else those that failed, once more.
//!
//! The kernel says of a denial only that something was not there or not permitted, and the action says of that whatever it
//! likes. So an action that failed in a way that a denial could explain is run again, the same process in the same
//! sandbox with a tracer; what comes of that run is thrown away, and it has a bound in time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::execute::Explained;
use crate::execute::bind::BoundAction;
use crate::execute::local::{ActionFailure, LocalExecutor};
use crate::path::SandboxPath;
use crate::plan::graph::ActionKind;
use crate::sandbox::trace::{self, Depth, Trace};
use crate::sandbox::{
    self, Access, Ended, Isolation, Outcome, Request, Running, SandboxError, Stream,
};
use crate::toolchain::model::SystemTree;

/// What an action was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Which layers were demanded.
    pub isolation: Isolation,
    /// What it may read and, of some, write; sorted by path.
    pub paths: Vec<(SandboxPath, Access)>,
    /// The links in its root, and what they say; none without namespaces.
    pub links: Vec<(SandboxPath, String)>,
    /// Its working directory.
    pub directory: SandboxPath,
    /// Its variables.
    pub variables: Vec<String>,
}

impl Sight {
    /// What `request` shows.
    pub(super) fn of(request: &Request<'_>) -> Self {
        let mut paths = Vec::new();
        for mount in &request.mounts {
            paths.push((mount.at.clone(), mount.access));
            // Without a view of its own it sees a path through a link, as the toolchain's, where that leads.
            if request.isolation == Isolation::Landlock
                && let Ok(host) = mount.host.canonicalize()
                && let Ok(host) = SandboxPath::new(host.to_string_lossy())
                && host != mount.at
            {
                paths.push((host, mount.access));
            }
        }
        paths.sort();
        let variables = request.env.iter();
        Self {
            isolation: request.isolation,
            paths,
            links: request.links.clone(),
            directory: request.cwd.clone(),
            variables: variables
                .map(|(name, _)| name.to_string_lossy().into_owned())
                .collect(),
        }
    }
}

/// What an action was shown, and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// What it was shown.
    pub sight: Sight,
    /// What it did.
    pub trace: Trace,
}

/// Other grants for an action.
#[derive(Debug, Clone)]
pub struct Amendment {
    /// What it sees at `/`.
    pub system: SystemTree,
    /// Variables that are other than they were.
    pub variables: BTreeMap<String, String>,
    /// Where it may write in a copy of its sources.
    pub scratch: Vec<String>,
}

/// What came of an action that was run with other grants.
#[derive(Debug)]
pub struct Trial {
    /// Whether it went well.
    pub passed: bool,
    /// What it did.
    pub traced: Traced,
    /// Standard output. Untrusted.
    pub stdout: Vec<u8>,
    /// Standard error. Untrusted.
    pub stderr: Vec<u8>,
}

/// An action that failed.
pub struct Failed<'a> {
    /// The action.
    pub bound: &'a BoundAction<'a>,
    /// How it failed.
    pub failure: &'a ActionFailure,
    /// What it did, if that could be found out.
    pub traced: Option<&'a Traced>,
    /// Runs it with other grants, and throws away what it leaves.
    pub again: &'a dyn Fn(&Amendment) -> Option<Trial>,
}

impl std::fmt::Debug for Failed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Failed")
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

/// Says what an action that failed was denied, and what to do about it.
pub type Explain<'a> = dyn Fn(&Failed<'_>) -> Option<Explained> + Sync + 'a;

/// An action that takes longer is not run again.
const MOST_AGAIN: Duration = Duration::from_secs(60);
/// How much slower it may be when it is traced.
const SLOWER: u32 = 8;
const LEAST_TIME: Duration = Duration::from_secs(20);
const LEAST_TRIAL: Duration = Duration::from_secs(60);

/// What rustc's errors say when it was not the source text that was wrong.
const DENIALS: [&str; 12] = [
    "os error",
    "permission denied",
    "not permitted",
    "no such file",
    "panicked",
    "linking with",
    "couldn't read",
    "cannot open",
    "can't open",
    "failed to",
    "unable to",
    "could not",
];

/// Whether a denial could be the cause of `failure`. What a build script fails from could be anything; a compiler's errors
/// are mostly its own. `variables` are those that the user has and actions may lack.
pub(super) fn denial_may_explain(
    kind: ActionKind,
    failure: &ActionFailure,
    variables: &BTreeSet<String>,
) -> bool {
    match (kind, failure) {
        (
            ActionKind::RunBuildScript,
            ActionFailure::Process(_) | ActionFailure::ScriptErrors { .. },
        ) => true,
        (ActionKind::Rustc | ActionKind::Rustdoc, ActionFailure::Process(process)) => {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let text = String::from_utf8_lossy(&process.stderr);
            text.lines()
                .filter(|line| !line.starts_with('{') || line.contains("\"level\":\"error"))
                .any(|line| {
                    let names = || line.split(|c| !is_word(c));
                    let lower = line.to_lowercase();
                    DENIALS.iter().any(|phrase| lower.contains(phrase))
                        || names().any(|name| variables.contains(name))
                })
        }
        _ => false,
    }
}

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
        for directory in &bound.planned.prepared {
            std::fs::create_dir_all(workplace.out.join(directory.as_str())).ok()?;
        }
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
        let bound = BoundAction {
            planned: &planned,
            key: bound.key,
            argv: bound.argv.clone(),
            environment,
            inputs: bound.inputs.clone(),
        };
        let jobserver = jobserver::Client::new(2).ok()?;
        let workplace = self.placement.workplace(self.store, &bound).ok()?;
        for directory in &planned.prepared {
            std::fs::create_dir_all(workplace.out.join(directory.as_str())).ok()?;
        }
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
