//! Runs actions on this machine, each in a sandbox, and keeps their outcomes in the store.
//!
//! An action's inputs are directories of the store, shown read-only at canonical paths; its output directory is a
//! fresh one on the store's file system, from which only what was declared is taken when every process of the action
//! is gone. Metadata that rustc announces early is copied at once, so that dependents can start, and compared with
//! what is there in the end.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::directive::{BuildScriptOutput, DirectiveError, steers_a_tool};
use crate::execute::bind::BoundAction;
use crate::execute::failure::{
    ActionFailure, FailedProcess, bad_path, broken_limit, describe_status,
};
use crate::execute::outcome::{Outcome, OutputEntry};
use crate::execute::placement::{Placement, Workplace};
use crate::execute::record::{Binding, History, Record};
use crate::execute::schedule::Sink;
use crate::execute::standard_error::{ErrorReader, Heard};
use crate::execute::tracing::{self, Amendment, Explain, Failed, Sight, Traced};
use crate::execute::{ActionEvent, Executor};
use crate::path::SandboxPath;
use crate::plan::JOBSERVER_DESCRIPTORS;
use crate::plan::graph::{ActionKind, Outputs};
use crate::sandbox::profile::SandboxProfile;
use crate::sandbox::{
    Access, Canceller, Isolation, Limits, Mount, Network, Request, Running, Status, Stream,
};
use crate::store::{CaptureLimits, Ingest, Namespace, Store, StoreError};
use crate::toolchain::model::{RustToolchain, SystemTree};
use crate::tree::{BlobRef, Directory, EncodedTree, TreeRef};
use crate::unit::graph::UnitIndex;

/// Parses what the build script of a unit printed.
pub type ParseDirectives<'a> =
    dyn Fn(UnitIndex, &[u8]) -> Result<BuildScriptOutput, DirectiveError> + Sync + 'a;

/// The limits of the package of a unit, where policy has some.
pub type LimitsOf<'a> = dyn Fn(UnitIndex) -> Limits + Sync + 'a;

/// What the executor needs of the build around it.
pub struct LocalExecutor<'a> {
    /// Where inputs come from and outputs go.
    pub store: &'a Store,
    /// Which results may be used and are kept: those of hermetic builds apart from the others.
    pub namespace: Namespace,
    /// The sandbox profiles by name.
    pub profiles: &'a BTreeMap<String, SandboxProfile>,
    /// How inputs get where actions expect them.
    pub placement: Placement,
    /// Which layers are demanded.
    pub isolation: Isolation,
    /// The system trees by digest.
    pub systems: &'a BTreeMap<TreeRef, SystemTree>,
    /// The Rust toolchain, which is shown from where it is installed.
    pub rust: &'a RustToolchain,
    /// Where the toolchain is seen.
    pub toolchain: SandboxPath,
    /// The jobserver that actions share.
    pub jobserver: &'a jobserver::Client,
    /// How directives are parsed.
    pub parse_directives: &'a ParseDirectives<'a>,
    /// What policy says of a package's limits, over those of the profiles.
    pub limits: &'a LimitsOf<'a>,
    /// Whether each action is traced, and what it does is kept beside its result.
    pub audit: bool,
    /// Who makes something of an action that failed, if anybody does.
    pub explain: Option<&'a Explain<'a>>,
    /// The variables of the user's that an action may lack: one that fails and names one of them may have.
    pub variables: &'a BTreeSet<String>,
    /// What runs, so that it can be ended.
    pub running: RunningActions,
}

/// The processes that run now.
#[derive(Debug, Default)]
pub struct RunningActions {
    cancellers: Mutex<Vec<Canceller>>,
    interrupted: AtomicBool,
}

impl RunningActions {
    pub(super) fn add(&self, canceller: Canceller) {
        let mut cancellers = self
            .cancellers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.is_interrupted() {
            canceller.cancel();
        }
        cancellers.push(canceller);
    }

    fn cancel_all(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
        let cancellers = self
            .cancellers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        cancellers.iter().for_each(Canceller::cancel);
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }
}

impl std::fmt::Debug for LocalExecutor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalExecutor")
            .field("isolation", &self.isolation)
            .finish_non_exhaustive()
    }
}

impl LocalExecutor<'_> {
    /// The outcome of a build script that configuration stands in for: what it would have said, and an empty `OUT_DIR`.
    fn given(&self, output: &BuildScriptOutput) -> Result<Outcome, StoreError> {
        let level = Directory::new();
        let empty = EncodedTree {
            root: level.tree_ref(),
            levels: BTreeMap::from([(level.tree_ref().digest, level.encode())]),
        };
        Ok(Outcome {
            directory: Some(self.store.put_tree(&empty)?),
            directives: Some(Arc::new(output.clone())),
            ..Outcome::default()
        })
    }
}

impl Executor for LocalExecutor<'_> {
    fn lookup(&self, bound: &BoundAction<'_>) -> Option<Outcome> {
        if let Some(output) = &bound.planned.given {
            return self.given(output).ok();
        }
        // Whatever is wrong with a stored result, it is made again.
        let stored = self
            .store
            .action_result(self.namespace, &bound.key)
            .ok()??;
        let mut outcome = Outcome::from_reapi(bound.planned, &stored).ok()?;
        if self.audit && outcome.observed.is_none() {
            // It was not looked at when it ran.
            return None;
        }
        if bound.planned.kind == ActionKind::RunBuildScript {
            let stdout = match outcome.stdout {
                Some(blob) => self.store.read_blob(&blob).ok()??,
                None => Vec::new(),
            };
            outcome.directives = Some(Arc::new(
                (self.parse_directives)(bound.planned.unit, &stdout).ok()?,
            ));
        }
        Some(outcome)
    }

    fn execute(&self, bound: &BoundAction<'_>, sink: &Sink) -> Result<Outcome, ActionFailure> {
        if let Some(output) = &bound.planned.given {
            return self.given(output).map_err(ActionFailure::Store);
        }
        let started = Instant::now();
        let mut traced = None;
        let result = self.attempt(bound, sink, &mut traced);
        if let Err(failure) = &result
            && let Some(explain) = self.explain
            && !self.running.is_interrupted()
            && tracing::denial_may_explain(bound.planned.kind, failure, self.variables)
        {
            let took = started.elapsed();
            let traced = traced.or_else(|| self.trace_again(bound, failure, took));
            let again = |amendment: &Amendment| self.trial(bound, amendment, took);
            let failed = Failed {
                bound,
                failure,
                traced: traced.as_ref(),
                again: &again,
            };
            if let Some(explained) = explain(&failed) {
                self.remember(bound, Some(&explained.text));
                sink.event(ActionEvent::Explained(explained));
            }
        }
        if result.is_ok() {
            self.remember(bound, None);
        }
        result
    }

    fn interrupt(&self) {
        self.running.cancel_all();
    }
}

impl LocalExecutor<'_> {
    /// Remembers that `bound` ran, or what it was denied.
    fn remember(&self, bound: &BoundAction<'_>, denied: Option<&str>) {
        let output = &bound.planned.output_directory;
        let mut history = History::read(self.store, self.namespace, output);
        let now = Binding::of(bound);
        history.denied = denied.map(str::to_owned);
        if denied.is_none() && history.last.as_ref() != Some(&now) {
            history.before = history.last.replace(now);
        }
        history.write(self.store, self.namespace, output);
    }

    /// Runs `bound` once. What was recorded of it goes to `traced`.
    fn attempt(
        &self,
        bound: &BoundAction<'_>,
        sink: &Sink,
        traced: &mut Option<Traced>,
    ) -> Result<Outcome, ActionFailure> {
        let started = Instant::now();
        let workplace = self.placement.workplace(self.store, bound)?;
        let out = &workplace.out;
        let request = self.request(bound, &workplace)?;
        let sight = Sight::of(&request);
        let mut stdout = Vec::new();
        let mut stderr = ErrorReader::new(self.store, bound, out, sink);
        let begun = OnceCell::new();
        let on_start = |process: &Running| {
            self.running.add(process.canceller());
            let enforced = serde_json::to_string(process.enforced());
            let _ = begun.set((process.canceller(), enforced));
        };
        let on_output = |stream, bytes: &[u8]| match stream {
            Stream::Stdout => stdout.extend_from_slice(bytes),
            Stream::Stderr => {
                if stderr.read(bytes).is_err()
                    && let Some((canceller, _)) = begun.get()
                {
                    canceller.cancel();
                }
            }
        };
        let (end, trace) = self
            .run_to_end(request, on_start, on_output)
            .map_err(ActionFailure::Sandbox)?;
        let sandbox = match begun.into_inner() {
            Some((_, enforced)) => enforced.map_err(ActionFailure::Record)?,
            None => String::new(),
        };
        *traced = trace.map(|trace| Traced { sight, trace });
        if self.running.is_interrupted() {
            return Err(ActionFailure::Interrupted);
        }
        let Heard {
            kept: stderr,
            announced,
        } = stderr.finish()?;
        if let Some(broken) = broken_limit(bound, &end) {
            return Err(broken);
        }
        if !end.success() {
            let status = describe_status(end.status);
            return Err(ActionFailure::Process(FailedProcess {
                status,
                stdout,
                stderr,
            }));
        }
        let mut outcome = self.capture(bound, out, announced)?;
        if bound.planned.kind == ActionKind::RunBuildScript {
            let directives = (self.parse_directives)(bound.planned.unit, &stdout)?;
            let errors: Vec<String> = directives.errors().map(str::to_owned).collect();
            if !errors.is_empty() {
                return Err(ActionFailure::ScriptErrors { errors });
            }
            if let Some((name, _)) = directives.env.iter().find(|(name, _)| steers_a_tool(name)) {
                return Err(ActionFailure::SteersTool { name: name.clone() });
            }
            outcome.directives = Some(Arc::new(directives));
        }
        outcome.stdout = self.put_output(&stdout)?;
        outcome.stderr = self.put_output(&stderr)?;
        outcome.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        outcome.sandbox = sandbox;
        if let Some(traced) = traced {
            let own = [
                &bound.planned.output_directory,
                &bound.planned.temporary_directory,
            ];
            let record =
                serde_json::to_vec(&Record::of(traced, &own)).map_err(ActionFailure::Record)?;
            outcome.observed = self.put_output(&record)?;
        }
        let result = outcome.to_reapi(bound.planned);
        self.store
            .put_action_result(self.namespace, &bound.key, &result)?;
        Ok(outcome)
    }

    fn put_output(&self, bytes: &[u8]) -> Result<Option<BlobRef>, StoreError> {
        (!bytes.is_empty())
            .then(|| self.store.put_bytes(bytes))
            .transpose()
    }

    pub(super) fn request(
        &self,
        bound: &BoundAction<'_>,
        workplace: &Workplace,
    ) -> Result<Request<'_>, ActionFailure> {
        let system = self.systems.get(&bound.planned.system).ok_or_else(|| {
            ActionFailure::MissingOutput {
                name: "the system tree of the plan".to_owned(),
            }
        })?;
        self.request_in(bound, workplace, system, self.jobserver)
    }

    /// The same, with `system` at `/` and the tokens of `jobserver`.
    pub(super) fn request_in(
        &self,
        bound: &BoundAction<'_>,
        workplace: &Workplace,
        system: &SystemTree,
        jobserver: &jobserver::Client,
    ) -> Result<Request<'_>, ActionFailure> {
        let planned = bound.planned;
        let mut mounts = self.placement.mounts(
            self.store,
            bound,
            workplace,
            system,
            self.rust,
            &self.toolchain,
        )?;
        let write = |host: &Path, at: &SandboxPath| Mount {
            host: host.to_owned(),
            at: at.clone(),
            access: Access::Write,
        };
        mounts.push(write(&workplace.out, &planned.output_directory));
        if let Some(tmp) = &workplace.tmp {
            mounts.push(write(tmp, &planned.temporary_directory));
        }
        if let Some((around, at)) = &workplace.around {
            mounts.push(write(around, at));
        }
        // A mount beneath another comes after it.
        mounts.sort_by(|left, right| left.at.cmp(&right.at));
        let mut links = Vec::new();
        for (name, target) in &system.links {
            links.push((
                SandboxPath::new(format!("/{name}")).map_err(bad_path)?,
                target.clone(),
            ));
        }
        let name = planned.kind.profile();
        let profile = self
            .profiles
            .get(name)
            .ok_or_else(|| ActionFailure::MissingOutput {
                name: format!("the sandbox profile {name}"),
            })?;
        Ok(Request {
            isolation: self.isolation,
            profile,
            program: planned.program.clone(),
            argv: bound.argv.iter().map(Into::into).collect(),
            env: bound
                .environment
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            cwd: planned.directory.clone(),
            mounts,
            links,
            directories: vec![planned.directory.clone()],
            tmp: None,
            descriptors: match planned.kind {
                ActionKind::Test => Vec::new(),
                _ => jobserver_descriptors(jobserver)?,
            },
            limits: (self.limits)(planned.unit),
            network: network(planned.kind),
            timeout: None,
        })
    }

    /// Runs a test or another program of the workspace, handing on what it prints as it comes. What it leaves behind is
    /// lost with it, and its end is whatever it is.
    ///
    /// # Errors
    /// It could not be run as promised, or its time was up, or it printed too much.
    pub fn run(
        &self,
        bound: &BoundAction<'_>,
        interrupted: &AtomicBool,
        on_output: impl FnMut(Stream, &[u8]),
    ) -> Result<Status, ActionFailure> {
        let workplace = self.placement.workplace(self.store, bound)?;
        let request = self.request(bound, &workplace)?;
        let process = crate::sandbox::spawn(request).map_err(ActionFailure::Sandbox)?;
        let canceller = process.canceller();
        let is_over = AtomicBool::new(false);
        let end = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    if interrupted.load(Ordering::Relaxed) {
                        canceller.cancel();
                    }
                    std::thread::park_timeout(std::time::Duration::from_millis(50));
                }
            });
            let end = process.wait(on_output);
            is_over.store(true, Ordering::Relaxed);
            end
        })
        .map_err(ActionFailure::Sandbox)?;
        if interrupted.load(Ordering::Relaxed) {
            return Err(ActionFailure::Interrupted);
        }
        match broken_limit(bound, &end) {
            Some(broken) => Err(broken),
            None => Ok(end.status),
        }
    }

    /// Bounds on what a directory that is kept may hold: policy's for the package, or the usual ones.
    fn capture_limits(&self, bound: &BoundAction<'_>) -> CaptureLimits {
        let own = (self.limits)(bound.planned.unit);
        let usual = CaptureLimits::default();
        CaptureLimits {
            file_bytes: own.file_size_bytes.unwrap_or(usual.file_bytes),
            total_bytes: own.written_bytes.unwrap_or(usual.total_bytes),
            ..usual
        }
    }

    /// Moves a declared output into the store. All processes of the action are gone by now.
    fn take(&self, out: &Path, name: &str) -> Result<OutputEntry, ActionFailure> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = out.join(name);
        let metadata = match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata,
            _ => {
                return Err(ActionFailure::MissingOutput {
                    name: name.to_owned(),
                });
            }
        };
        let executable = metadata.permissions().mode() & 0o100 != 0;
        let blob = self.store.put_file(&path, Ingest::Move, executable)?;
        Ok(OutputEntry { blob, executable })
    }

    fn capture(
        &self,
        bound: &BoundAction<'_>,
        out: &Path,
        announced: Option<(String, OutputEntry)>,
    ) -> Result<Outcome, ActionFailure> {
        let mut outcome = Outcome::default();
        match &bound.planned.outputs {
            Outputs::Files(files) => {
                for file in files {
                    let entry = self.take(out, &file.name)?;
                    outcome.files.insert(file.name.clone(), entry);
                }
                if let Some((name, entry)) = announced
                    && outcome
                        .files
                        .get(&name)
                        .is_none_or(|now| now.blob != entry.blob)
                {
                    return Err(ActionFailure::ChangedMetadata { name });
                }
                if self.namespace == Namespace::Hermetic {
                    nothing_else(bound, out)?;
                }
            }
            Outputs::OutDir | Outputs::Directory => {
                outcome.directory = Some(
                    self.store
                        .capture_directory(out, &self.capture_limits(bound))?,
                );
            }
        }
        Ok(outcome)
    }
}

/// Endings of what rustc leaves beside its output where flags or profiles ask for it: debug information of its own
/// (`split-debuginfo`), intermediate code (`--emit`).
const BY_PRODUCTS: [&str; 7] = ["bc", "dwo", "dwp", "ll", "mir", "o", "s"];

/// Whether rustc leaves a file of this name beside the output of `crate_name`. It is not carried on, and no declared output.
fn is_by_product(name: &str, crate_name: &str) -> bool {
    let stem = name.strip_prefix("lib").unwrap_or(name);
    let of_crate = [name, stem].iter().any(|name| {
        name.strip_prefix(crate_name)
            .is_some_and(|rest| rest.starts_with(['.', '-']))
    });
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    // Types whose names are too long for a message are written to a file.
    let is_type = name.contains(".long-type-") && ending == "txt";
    of_crate && (BY_PRODUCTS.contains(&ending) || is_type)
}

/// Whether rustc leaves a directory of this name where `-C save-temps` has it keep its temporary files.
fn is_saved_directory(name: &str) -> bool {
    let rest = ["rustc", "rmeta"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix));
    rest.is_some_and(|rest| {
        rest.len() == 6 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// What was declared has been taken: there is to be nothing else but what rustc makes of itself.
fn nothing_else(bound: &BoundAction<'_>, out: &Path) -> Result<(), ActionFailure> {
    let failed = |error| StoreError::io("read", out, error);
    let crate_name = bound.planned.crate_name().unwrap_or_default();
    let saves = bound
        .argv
        .iter()
        .any(|argument| argument.ends_with("save-temps"));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(out).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let declared = bound
            .planned
            .prepared
            .iter()
            .any(|directory| directory.components().next() == name.to_str());
        let name = name.to_string_lossy();
        let is_left = saves && is_saved_directory(&name);
        if !declared && !is_left && !is_by_product(&name, crate_name) {
            names.push(name.into_owned());
        }
    }
    match names.into_iter().min() {
        Some(name) => Err(ActionFailure::UndeclaredOutput { name }),
        None => Ok(()),
    }
}

/// Copies of a jobserver's two ends, under the numbers that the environment names.
fn jobserver_descriptors(
    jobserver: &jobserver::Client,
) -> Result<Vec<(OwnedFd, i32)>, ActionFailure> {
    let (read, write) = JOBSERVER_DESCRIPTORS;
    let (from, to) =
        crate::execute::jobserver::descriptors(jobserver).map_err(ActionFailure::Jobserver)?;
    Ok(vec![(from, read), (to, write)])
}

/// What an action may talk to: a test to itself.
fn network(kind: ActionKind) -> Network {
    match kind {
        ActionKind::Test => Network::Loopback,
        ActionKind::Rustc | ActionKind::Rustdoc | ActionKind::RunBuildScript => Network::None,
    }
}
