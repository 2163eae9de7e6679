//! Runs actions on this machine, each in a sandbox, and keeps their outcomes in the store.
//!
//! An action's inputs are directories of the store, shown read-only at canonical paths; its output directory is a
//! fresh one on the store's file system, from which only what was declared is taken when every process of the action
//! is gone. Metadata that rustc announces early is copied at once, so that dependents can start, and compared with
//! what is there in the end.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::directive::{BuildScriptOutput, DirectiveError};
use crate::execute::bind::BoundAction;
use crate::execute::outcome::{Outcome, OutputEntry};
use crate::execute::schedule::Sink;
use crate::execute::{ActionEvent, Executor};
use crate::message::rustc::Message;
use crate::path::SandboxPath;
use crate::plan::JOBSERVER_DESCRIPTORS;
use crate::plan::graph::{ActionKind, Outputs};
use crate::sandbox::profile::SandboxProfile;
use crate::sandbox::request::{Access, Isolation, Limits, Mount, Request};
use crate::sandbox::{Killer, SandboxError};
use crate::store::{CaptureLimits, Namespace, Store, StoreError};
use crate::toolchain::model::{RustToolchain, SystemTree};
use crate::tree::{BlobRef, TreeRef};
use crate::unit::graph::UnitIndex;

/// Parses what the build script of a unit printed.
pub type ParseDirectives<'a> = dyn Fn(UnitIndex, &[u8]) -> Result<BuildScriptOutput, DirectiveError> + Sync + 'a;

/// What the executor needs of the build around it.
pub struct LocalExecutor<'a> {
    /// Where inputs come from and outputs go.
    pub store: &'a Store,
    /// Which results may be used and are kept: those of hermetic builds apart from the others.
    pub namespace: Namespace,
    /// The sandbox profiles by name.
    pub profiles: &'a BTreeMap<String, SandboxProfile>,
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
    /// Bounds of policy, over those of the profiles.
    pub limits: Limits,
    /// What runs, so that it can be ended.
    pub running: Running,
}

/// The processes that run now.
#[derive(Debug, Default)]
pub struct Running {
    killers: Mutex<Vec<Killer>>,
    interrupted: AtomicBool,
}

impl Running {
    fn add(&self, killer: Killer) {
        let mut killers = self.killers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.interrupted.load(Ordering::SeqCst) {
            killer.kill();
        }
        killers.push(killer);
    }

    fn kill_all(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
        let killers = self.killers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        killers.iter().for_each(Killer::kill);
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }
}

/// How an action's process ended, when it did not end well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedProcess {
    /// `exit status: 1`, `signal: 11 (SIGSEGV)`.
    pub status: String,
    /// Standard output. Untrusted.
    pub stdout: Vec<u8>,
    /// Standard error. Untrusted.
    pub stderr: Vec<u8>,
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum ActionFailure {
    /// The process failed: an ordinary result, such as a compiler's error.
    #[error("the process ended with {}", .0.status)]
    Process(FailedProcess),
    /// The action ran longer than it may.
    #[error("the action was ended after {seconds} s, its wall-clock limit")]
    TimedOut {
        /// The limit.
        seconds: u64,
    },
    /// The action printed more than it may.
    #[error("the action printed more than {bytes} bytes")]
    TooMuchOutput {
        /// The limit.
        bytes: u64,
    },
    /// A declared output is not there.
    #[error("the action ended well but did not leave its declared output `{name}`")]
    MissingOutput {
        /// The output.
        name: String,
    },
    /// The metadata is not what was announced.
    #[error("the action changed its output `{name}` after it had announced it")]
    ChangedMetadata {
        /// The output.
        name: String,
    },
    /// What the build script printed is refused.
    #[error(transparent)]
    Directives(#[from] DirectiveError),
    /// The build script reported errors of its own (`cargo::error`).
    #[error("the build script reported an error")]
    ScriptErrors {
        /// Their texts. Untrusted.
        errors: Vec<String>,
    },
    /// The sandbox could not be set up.
    #[error("the sandbox cannot be set up")]
    Sandbox(#[source] SandboxError),
    /// The store does not work.
    #[error("the store failed")]
    Store(#[source] StoreError),
    /// Reading what the process printed failed.
    #[error("the output of the process cannot be read")]
    Output(#[source] std::io::Error),
    /// The jobserver's descriptors cannot be handed on.
    #[error("the jobserver cannot be handed on")]
    Jobserver(#[source] std::io::Error),
    /// The user interrupted.
    #[error("interrupted")]
    Interrupted,
}

impl ActionFailure {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            ActionFailure::Sandbox(error) => error.help(),
            ActionFailure::Store(error) => error.help(),
            ActionFailure::Directives(error) => error.help(),
            ActionFailure::TimedOut { .. } | ActionFailure::TooMuchOutput { .. } => {
                Some("raise the limit in `[limits]` of `kiln.toml` if the action really needs it".to_owned())
            }
            _ => None,
        }
    }
}

impl From<StoreError> for ActionFailure {
    fn from(error: StoreError) -> Self {
        ActionFailure::Store(error)
    }
}

/// What an action may print where no limit says otherwise, bytes.
const DEFAULT_OUTPUT_BYTES: u64 = 256 << 20;

impl std::fmt::Debug for LocalExecutor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalExecutor").field("isolation", &self.isolation).finish_non_exhaustive()
    }
}

impl Executor for LocalExecutor<'_> {
    fn lookup(&self, bound: &BoundAction<'_>) -> Option<Outcome> {
        let stored = self.store.action_result(self.namespace, &bound.key)?;
        let mut outcome = Outcome::from_reapi(bound.planned, &stored).ok()?;
        if !self.has_all(&outcome) {
            return None;
        }
        if bound.planned.kind == ActionKind::RunBuildScript {
            let stdout = match outcome.stdout {
                Some(blob) => self.store.read_blob(&blob).ok()?,
                None => Vec::new(),
            };
            outcome.directives = Some(Arc::new((self.parse_directives)(bound.planned.unit, &stdout).ok()?));
        }
        Some(outcome)
    }

    fn execute(&self, bound: &BoundAction<'_>, sink: &Sink) -> Result<Outcome, ActionFailure> {
        let started = Instant::now();
        let work = self.store.work_directory()?;
        let out = work.path().join("out");
        std::fs::create_dir(&out).map_err(|error| StoreError::io(&out, error))?;
        let request = self.request(bound, &out)?;
        let limit = self.limits.output_bytes.unwrap_or(DEFAULT_OUTPUT_BYTES);
        let mut process = crate::sandbox::spawn(request).map_err(ActionFailure::Sandbox)?;
        self.running.add(process.killer());
        let (stdout, stderr) = process.take_output();
        let mut reader = ErrorReader { executor: self, bound, out: &out, sink, announced: None };
        let read = std::thread::scope(|scope| {
            let stdout = scope.spawn(|| read_bounded(stdout, limit, &mut |_| Ok(())));
            let stderr = if bound.planned.kind == ActionKind::RunBuildScript {
                read_bounded(stderr, limit, &mut |_| Ok(()))
            } else {
                reader.read(stderr, limit)
            };
            if stderr.is_err() {
                process.killer().kill();
            }
            let stdout = stdout.join().expect("reading does not panic");
            if stdout.is_err() {
                process.killer().kill();
            }
            (stdout, stderr)
        });
        let announced = reader.announced;
        let end = process.wait().map_err(ActionFailure::Sandbox)?;
        if self.running.is_interrupted() {
            return Err(ActionFailure::Interrupted);
        }
        if end.timed_out {
            return Err(ActionFailure::TimedOut { seconds: end.wall.as_secs() });
        }
        let (stdout, stderr) = (read.0?, read.1?);
        if !end.status.success() {
            return Err(ActionFailure::Process(FailedProcess { status: end.status.to_string(), stdout, stderr }));
        }
        let mut outcome = self.capture(bound, &out, announced)?;
        if bound.planned.kind == ActionKind::RunBuildScript {
            let directives = (self.parse_directives)(bound.planned.unit, &stdout)?;
            let errors: Vec<String> = directives.errors().map(str::to_owned).collect();
            if !errors.is_empty() {
                return Err(ActionFailure::ScriptErrors { errors });
            }
            outcome.directives = Some(Arc::new(directives));
        }
        outcome.stdout = self.put_output(&stdout)?;
        outcome.stderr = self.put_output(&stderr)?;
        outcome.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let result = outcome.to_reapi(bound.planned);
        self.store.put_action_result(self.namespace, &bound.key, &result)?;
        Ok(outcome)
    }

    fn interrupt(&self) {
        self.running.kill_all();
    }
}

impl LocalExecutor<'_> {
    fn has_all(&self, outcome: &Outcome) -> bool {
        outcome.files.values().all(|entry| self.store.has_blob(&entry.blob, entry.executable))
            && outcome.directory.is_none_or(|tree| self.store.has_tree(&tree))
            && outcome.stdout.is_none_or(|blob| self.store.has_blob(&blob, false))
            && outcome.stderr.is_none_or(|blob| self.store.has_blob(&blob, false))
    }

    fn put_output(&self, bytes: &[u8]) -> Result<Option<BlobRef>, StoreError> {
        (!bytes.is_empty()).then(|| self.store.put_bytes(bytes)).transpose()
    }

    /// The host directory that holds `tree`.
    fn host_directory(&self, tree: &TreeRef) -> Result<PathBuf, StoreError> {
        self.store.materialize(tree)
    }

    fn request(&self, bound: &BoundAction<'_>, out: &Path) -> Result<Request<'_>, ActionFailure> {
        let planned = bound.planned;
        let system = self.systems.get(&planned.system).ok_or_else(|| ActionFailure::MissingOutput {
            name: "the system tree of the plan".to_owned(),
        })?;
        let mut mounts = Vec::new();
        let read = |host: PathBuf, at: SandboxPath| Mount { host, at, access: Access::Read };
        for entry in &system.entries {
            let at = SandboxPath::new(format!("/{entry}")).map_err(bad_path)?;
            mounts.push(read(system.root.join(entry), at));
        }
        let mut directories = vec![planned.directory.clone()];
        for input in &bound.inputs {
            if input.at == self.toolchain {
                for entry in &self.rust.visible {
                    let at = SandboxPath::new(format!("{}/{entry}", input.at)).map_err(bad_path)?;
                    mounts.push(read(self.rust.root.join(entry), at));
                }
                continue;
            }
            if let Some(level) = &input.level {
                self.store.put_directory(level)?;
            }
            if input.tree == TreeRef::empty() {
                directories.push(input.at.clone());
                continue;
            }
            mounts.push(read(self.host_directory(&input.tree)?, input.at.clone()));
        }
        mounts.push(Mount {
            host: out.to_owned(),
            at: planned.output_directory.clone(),
            access: Access::Write,
        });
        // A mount beneath another comes after it.
        mounts.sort_by(|left, right| left.at.cmp(&right.at));
        let mut links = Vec::new();
        for (name, target) in &system.links {
            links.push((SandboxPath::new(format!("/{name}")).map_err(bad_path)?, target.clone()));
        }
        let name = planned.kind.profile();
        let profile = self.profiles.get(name).ok_or_else(|| ActionFailure::MissingOutput {
            name: format!("the sandbox profile {name}"),
        })?;
        Ok(Request {
            isolation: self.isolation,
            profile,
            program: planned.program.clone(),
            argv: bound.argv.iter().map(Into::into).collect(),
            env: bound.environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            cwd: planned.directory.clone(),
            mounts,
            links,
            directories,
            tmp: None,
            descriptors: self.jobserver_descriptors()?,
            limits: self.limits.clone(),
            timeout: self.limits.wall_seconds.map(Duration::from_secs),
        })
    }

    /// Copies of the jobserver's two ends, under the numbers that the environment names.
    fn jobserver_descriptors(&self) -> Result<Vec<(OwnedFd, i32)>, ActionFailure> {
        let (read, write) = JOBSERVER_DESCRIPTORS;
        let (from, to) = crate::execute::jobserver::descriptors(self.jobserver).map_err(ActionFailure::Jobserver)?;
        Ok(vec![(from, read), (to, write)])
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
                    let path = out.join(&file.name);
                    let (blob, executable) = self
                        .store
                        .capture_file(&path)?
                        .ok_or_else(|| ActionFailure::MissingOutput { name: file.name.clone() })?;
                    outcome.files.insert(file.name.clone(), OutputEntry { blob, executable });
                }
                if let Some((name, entry)) = announced
                    && outcome.files.get(&name).is_none_or(|now| now.blob != entry.blob)
                {
                    return Err(ActionFailure::ChangedMetadata { name });
                }
            }
            Outputs::OutDir | Outputs::Directory => {
                outcome.directory = Some(self.store.capture_directory(out, &CaptureLimits::default())?);
            }
        }
        Ok(outcome)
    }
}

fn bad_path(error: crate::path::PathError) -> ActionFailure {
    ActionFailure::MissingOutput { name: error.to_string() }
}

/// Reads rustc's standard error: passes its lines on and takes metadata as soon as it is announced.
struct ErrorReader<'a, 'b> {
    executor: &'a LocalExecutor<'b>,
    bound: &'a BoundAction<'a>,
    out: &'a Path,
    sink: &'a Sink,
    announced: Option<(String, OutputEntry)>,
}

impl ErrorReader<'_, '_> {
    fn read(&mut self, stream: std::fs::File, limit: u64) -> Result<Vec<u8>, ActionFailure> {
        let mut kept = Vec::new();
        let mut line = Vec::new();
        read_bounded(stream, limit, &mut |chunk| {
            for byte in chunk {
                if *byte != b'\n' {
                    line.push(*byte);
                    continue;
                }
                self.line(&line, &mut kept)?;
                line.clear();
            }
            Ok(())
        })?;
        if !line.is_empty() {
            self.line(&line, &mut kept)?;
        }
        Ok(kept)
    }

    fn line(&mut self, line: &[u8], kept: &mut Vec<u8>) -> Result<(), ActionFailure> {
        if let Message::Artifact { path, emit } = Message::parse(line) {
            if emit == "metadata" {
                self.metadata(&path)?;
            }
            return Ok(());
        }
        self.sink.event(ActionEvent::Line(line.to_vec()));
        kept.extend_from_slice(line);
        kept.push(b'\n');
        Ok(())
    }

    fn metadata(&mut self, path: &str) -> Result<(), ActionFailure> {
        let Some(name) = self.bound.planned.metadata_file() else { return Ok(()) };
        let declared = format!("{}/{name}", self.bound.planned.output_directory);
        if path != declared || self.announced.is_some() {
            return Ok(());
        }
        let Some((blob, executable)) = self.executor.store.capture_file_copy(&self.out.join(name))? else {
            return Ok(());
        };
        let entry = OutputEntry { blob, executable };
        self.announced = Some((name.to_owned(), entry));
        self.sink.metadata(name, entry);
        Ok(())
    }
}

/// Reads `stream` to its end, at most `limit` bytes, and shows each piece to `each`.
fn read_bounded(
    mut stream: std::fs::File,
    limit: u64,
    each: &mut dyn FnMut(&[u8]) -> Result<(), ActionFailure>,
) -> Result<Vec<u8>, ActionFailure> {
    let mut all = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(all),
            Ok(count) => {
                all.extend_from_slice(&buffer[..count]);
                if all.len() as u64 > limit {
                    return Err(ActionFailure::TooMuchOutput { bytes: limit });
                }
                each(&buffer[..count])?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ActionFailure::Output(error)),
        }
    }
}
