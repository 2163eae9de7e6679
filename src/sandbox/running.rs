//! A confined process while it runs, and what came of it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::enforced::Enforced;
use super::error::SandboxError;
use super::supervisor::Report;
use super::sys::{self, Errno, Waited};
use super::watch::Watch;

/// Which of its two streams a process wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It returned this code.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
}

/// Whether the process ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It did (or broke a limit of the kernel's, which is a signal in the status).
    Itself,
    /// Its time was up.
    TimedOut,
    /// It printed more than it may.
    TooMuchOutput,
    /// Somebody asked for it: [`Canceller::cancel`].
    Cancelled,
    /// All its processes together took more memory than they may.
    TooMuchMemory,
    /// It had more processes and threads than it may.
    TooManyProcesses,
    /// It wrote more than it may.
    TooMuchWritten,
}

impl Ended {
    const ALL: [Ended; 7] = [
        Ended::Itself,
        Ended::TimedOut,
        Ended::TooMuchOutput,
        Ended::Cancelled,
        Ended::TooMuchMemory,
        Ended::TooManyProcesses,
        Ended::TooMuchWritten,
    ];
}

/// What came of a process.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// Why it ended.
    pub ended: Ended,
    /// How long it took, wall clock.
    pub wall: Duration,
    /// CPU time in user mode, of it and the children it waited for.
    pub user: Duration,
    /// CPU time in the kernel, likewise.
    pub system: Duration,
    /// The largest resident set of one of these processes, bytes.
    pub peak_memory_bytes: u64,
    /// How much it printed, bytes, both streams together.
    pub output_bytes: u64,
    /// What was enforced on it.
    pub enforced: Enforced,
}

impl Outcome {
    /// Whether it ended by itself with code 0.
    pub fn success(&self) -> bool {
        self.status == Status::Exited(0) && self.ended == Ended::Itself
    }
}

/// What came of a process, with all that it printed.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// How it ended.
    pub outcome: Outcome,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

/// How to end a process and all that belongs to it.
#[derive(Debug)]
pub(super) enum Ender {
    /// There is no process: it could not be started.
    Nothing,
    /// The first process of a pid namespace: kill it.
    Process(OwnedFd),
    /// A supervisor, which kills everything once this pipe is closed; and the supervisor itself.
    Supervisor {
        /// The pipe's write end.
        lifeline: Mutex<Option<OwnedFd>>,
        /// The supervisor.
        process: OwnedFd,
        /// Where it tells how the action ended.
        result: OwnedFd,
    },
}

impl Ender {
    fn end(&self) {
        match self {
            Ender::Nothing => {}
            // That it has ended already is no failure.
            Ender::Process(process) => drop(sys::pidfd_kill(process.as_fd())),
            Ender::Supervisor { lifeline, .. } => {
                drop(
                    lifeline
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .take(),
                );
            }
        }
    }

    fn process(&self) -> Option<&OwnedFd> {
        match self {
            Ender::Nothing => None,
            Ender::Process(process) | Ender::Supervisor { process, .. } => Some(process),
        }
    }

    /// How the action ended, its process having been reaped as `waited`.
    fn report(&self, waited: &Waited) -> Result<Report, SandboxError> {
        let Ender::Supervisor { result, .. } = self else {
            return Ok(Report::of(waited));
        };
        let mut record = [0; Report::SIZE];
        match sys::read(result.as_fd(), &mut record) {
            Ok(Report::SIZE) => Ok(Report::from_bytes(&record)),
            _ => Err(SandboxError::SupervisorLost),
        }
    }
}

#[derive(Debug)]
struct Shared {
    ender: Ender,
    /// 0, or why it was ended.
    why: AtomicU8,
}

impl Shared {
    fn end(&self, why: Ended) {
        let code = why as u8;
        // The first reason is the reason.
        let _ = self
            .why
            .compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
        self.ender.end();
    }

    fn why(&self) -> Ended {
        let code = usize::from(self.why.load(Ordering::Relaxed));
        Ended::ALL.get(code).copied().unwrap_or(Ended::Cancelled)
    }
}

/// Ends a running process from another thread.
#[derive(Debug, Clone)]
pub struct Canceller(Arc<Shared>);

impl Canceller {
    /// Kills the process and all that it started. Does nothing if it has ended.
    pub fn cancel(&self) {
        self.0.end(Ended::Cancelled);
    }
}

/// A process that runs confined. Dropping it kills the process and waits until nothing of it is left.
#[derive(Debug)]
pub struct Running {
    pid: libc::pid_t,
    shared: Arc<Shared>,
    stdout: OwnedFd,
    stderr: OwnedFd,
    started: Instant,
    deadline: Option<Instant>,
    most_output: Option<u64>,
    enforced: Enforced,
    reaped: bool,
    /// Who waits for it in the kernel's sense, where that is a tracer: it tells here how it ended.
    waiter: Option<Receiver<Waited>>,
    /// What it is held to all together.
    watch: Watch,
}

impl Running {
    #[expect(clippy::too_many_arguments, reason = "a constructor with one caller")]
    pub(super) fn new(
        pid: libc::pid_t,
        ender: Ender,
        stdout: OwnedFd,
        stderr: OwnedFd,
        started: Instant,
        deadline: Option<Instant>,
        most_output: Option<u64>,
        enforced: Enforced,
        directories: Vec<PathBuf>,
    ) -> Self {
        let watch = Watch::new(pid, enforced.limits(), directories);
        Self {
            pid,
            shared: Arc::new(Shared {
                ender,
                why: AtomicU8::new(0),
            }),
            stdout,
            stderr,
            started,
            deadline,
            most_output,
            enforced,
            reaped: false,
            waiter: None,
            watch,
        }
    }

    /// From now on a tracer waits for it, and tells `ended`.
    pub(super) fn is_waited_for_by(&mut self, ended: Receiver<Waited>) {
        self.waiter = Some(ended);
    }

    /// A tracer has waited for it already: it ended before it ran.
    pub(super) fn has_ended(&mut self, waited: Waited) {
        let (told, ended) = std::sync::mpsc::channel();
        let _ = told.send(waited);
        self.waiter = Some(ended);
    }

    /// The process's number on the host (its supervisor's, under Landlock isolation).
    pub fn id(&self) -> u32 {
        self.pid.cast_unsigned()
    }

    /// What is enforced on it.
    pub fn enforced(&self) -> &Enforced {
        &self.enforced
    }

    /// A handle to end it from another thread.
    pub fn canceller(&self) -> Canceller {
        Canceller(Arc::clone(&self.shared))
    }

    /// Kills the process and all that it started; [`Running::wait`] tells how it ended.
    pub fn kill(&self) {
        self.shared.end(Ended::Cancelled);
    }

    /// Waits for it to end, handing on what it prints as it comes. Kills it when its time is up or it prints too much.
    pub fn wait(
        mut self,
        mut on_output: impl FnMut(Stream, &[u8]),
    ) -> Result<Outcome, SandboxError> {
        let mut open = [true; 2];
        let mut printed = 0u64;
        let mut buffer = vec![0u8; 64 * 1024];
        let mut ended = false;
        while !ended {
            let readable = self.poll(&open)?;
            ended = readable[2];
            for (i, stream) in [Stream::Stdout, Stream::Stderr].into_iter().enumerate() {
                // Once it has ended nobody writes any more: what is in the pipes is all there is.
                while open[i] && (readable[i] || ended) {
                    let fd = if i == 0 { &self.stdout } else { &self.stderr };
                    let count = match sys::read(fd.as_fd(), &mut buffer) {
                        Ok(0) => {
                            open[i] = false;
                            break;
                        }
                        Ok(count) => count,
                        Err(Errno(libc::EAGAIN)) => break,
                        Err(errno) => {
                            return Err(SandboxError::Running {
                                step: "reading its output",
                                source: errno.into(),
                            });
                        }
                    };
                    let room = self
                        .most_output
                        .map_or(u64::MAX, |most| most.saturating_sub(printed));
                    let kept = usize::try_from(room).map_or(count, |room| room.min(count));
                    printed += count as u64;
                    if kept > 0 {
                        on_output(stream, &buffer[..kept]);
                    }
                    if kept < count {
                        self.shared.end(Ended::TooMuchOutput);
                        open[i] = false;
                        break;
                    }
                    if !ended {
                        // The other stream and the clock want to be looked at, too.
                        break;
                    }
                }
            }
        }
        let waited = self.reap()?;
        let wall = self.started.elapsed();
        let report = self.shared.ender.report(&waited)?;
        let status = match libc::WIFEXITED(report.status) {
            true => Status::Exited(libc::WEXITSTATUS(report.status)),
            false => Status::Signaled(libc::WTERMSIG(report.status)),
        };
        Ok(Outcome {
            status,
            // Who ended by itself just before being killed did end by itself.
            ended: match (status, self.shared.why()) {
                (Status::Exited(_), why) if why != Ended::TooMuchOutput => Ended::Itself,
                (_, why) => why,
            },
            wall,
            user: Duration::from_micros(report.user),
            system: Duration::from_micros(report.system),
            peak_memory_bytes: report.peak.saturating_mul(1024),
            output_bytes: printed,
            enforced: self.enforced.clone(),
        })
    }

    /// Waits for it to end and collects what it prints, up to its limit.
    pub fn output(self) -> Result<Output, SandboxError> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let outcome = self.wait(|stream, bytes| match stream {
            Stream::Stdout => stdout.extend_from_slice(bytes),
            Stream::Stderr => stderr.extend_from_slice(bytes),
        })?;
        Ok(Output {
            outcome,
            stdout,
            stderr,
        })
    }

    /// Waits for an event: stdout, stderr, the process's end. Ends the process when its time is up.
    fn poll(&mut self, open: &[bool; 2]) -> Result<[bool; 3], SandboxError> {
        let entry = |fd: Option<&OwnedFd>| libc::pollfd {
            // The kernel skips negative numbers.
            fd: fd.map_or(-1, AsRawFd::as_raw_fd),
            events: libc::POLLIN,
            revents: 0,
        };
        let mut fds = [
            entry(open[0].then_some(&self.stdout)),
            entry(open[1].then_some(&self.stderr)),
            entry(self.shared.ender.process()),
        ];
        loop {
            let left = match self.shared.why() {
                Ended::Itself => {
                    if let Some(why) = self.look() {
                        self.shared.end(why);
                        continue;
                    }
                    let next = self.watch.due();
                    let next = self.deadline.map_or(next, |deadline| deadline.min(next));
                    let left = next.saturating_duration_since(Instant::now());
                    // Rounded up, so as not to spin through the last millisecond.
                    i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX)
                }
                _ => -1,
            };
            match sys::poll(&mut fds, left) {
                Ok(0) | Err(Errno(libc::EINTR)) => {}
                Ok(_) => return Ok(fds.map(|fd| fd.revents != 0)),
                Err(errno) => {
                    return Err(SandboxError::Running {
                        step: "waiting for it",
                        source: errno.into(),
                    });
                }
            }
        }
    }

    /// Why it has to end now, if it has to.
    fn look(&mut self) -> Option<Ended> {
        if self.deadline.is_some_and(|end| Instant::now() >= end) {
            return Some(Ended::TimedOut);
        }
        self.watch.look()
    }

    fn reap(&mut self) -> Result<Waited, SandboxError> {
        self.reaped = true;
        if let Some(waiter) = &self.waiter {
            return waiter.recv().map_err(|_| SandboxError::SupervisorLost);
        }
        match sys::wait_for(self.pid, true) {
            Ok(Some(waited)) => Ok(waited),
            Ok(None) | Err(Errno(libc::ECHILD)) => Err(SandboxError::Running {
                step: "reaping it, which somebody else did,",
                source: std::io::Error::from_raw_os_error(libc::ECHILD),
            }),
            Err(errno) => Err(SandboxError::Running {
                step: "reaping it",
                source: errno.into(),
            }),
        }
    }

    /// Reaps a child that ends by itself because it could not be set up.
    pub(super) fn abandon(&mut self) {
        self.shared.end(Ended::Cancelled);
        if self.shared.ender.process().is_some() {
            let _ = self.reap();
        }
        self.reaped = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            self.abandon();
        }
    }
}
