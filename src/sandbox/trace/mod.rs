//! What a confined process does with paths, and what it is refused: recorded while it runs in the very same sandbox.
//!
//! [`run`] is [`super::spawn()`] and [`super::Running::wait`] with a tracer: a thread that starts the process, seizes it
//! by `ptrace` before it does anything, follows every thread and process that it starts, and lets go of nobody. The
//! tracer only looks. It changes no register and no memory, answers no call, and the layers are set up by the same code
//! with the same rulesets and filters: what a traced process may do is what it may do untraced. When the tracer ends, by
//! whatever cause, the kernel kills what it traced (`PTRACE_O_EXITKILL`).
//!
//! Two depths. [`Depth::Paths`] stops at the calls that take a path, by a seccomp program of its own that answers
//! `SECCOMP_RET_TRACE` for them, and lets all else run at full speed; since of two programs' answers the stricter counts, a
//! refused call is not seen. [`Depth::Everything`] stops at every call, so it sees the refused ones, too, and is slower.
//!
//! What is recorded is what the process asked for: its memory is read when the call begins, so another thread could show
//! the kernel something else. Who wants to hide from the record can (it grants nothing); for files that were opened,
//! [`Observed::real`] is the kernel's own word. Reading variables is no system call, and is not seen.

mod calls;
mod recorder;
mod tracer;

use std::sync::mpsc::channel;

use serde::{Deserialize, Serialize};

pub use calls::Operation;
pub(super) use tracer::{Seized, Tracer};

use super::error::SandboxError;
use super::request::Request;
use super::running::{Outcome, Running, Stream};

/// At what a traced process is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Calls that take a path and are not refused by the filter.
    Paths,
    /// Every call.
    Everything,
}

/// One thing that was done, or tried, by one program: as often as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// What.
    pub operation: Operation,
    /// The path, absolute and without `.` and `..`; for [`Operation::Call`] the call's name. Untrusted.
    pub path: String,
    /// Where the path led, links followed, if that is known and something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<String>,
    /// The error number; `None` if it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// Of [`Operation::Execute`], the arguments, the program's name first. Untrusted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Which of [`Trace::programs`] did it.
    pub program: usize,
    /// When it was done first and last, counted in observations.
    pub first: u64,
    /// See `first`.
    pub last: u64,
    /// How often.
    pub count: u64,
}

/// One program that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its path. Untrusted.
    pub path: String,
    /// Its arguments, its name first. Untrusted.
    pub arguments: Vec<String>,
    /// Which program started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<usize>,
    /// How it ended: a code, or a signal's number as a negative one. `None` if it was followed by another program in the
    /// same process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
    /// When it ended, counted as in [`Observed::first`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
}

/// All that was recorded of one process and what it started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// What was done, in the order in which it was done first.
    pub observed: Vec<Observed>,
    /// The programs that ran, the first one first.
    pub programs: Vec<Program>,
    /// Whether there was more than is kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut_off: bool,
}

/// Runs the process that `request` describes to its end, as [`super::spawn()`] would, and records what it does.
/// `on_start` gets the process when it runs, `on_output` what it prints as it comes.
///
/// # Errors
/// It could not be started with every layer in force, or not be traced.
pub fn run(
    request: Request<'_>,
    depth: Depth,
    on_start: impl FnOnce(&Running),
    on_output: impl FnMut(Stream, &[u8]),
) -> Result<(Outcome, Trace), SandboxError> {
    let (to_us, from_tracer) = channel();
    std::thread::scope(|scope| {
        // A tracer is a thread: the one that starts the process is the one that waits for it, and nobody else does.
        let thread = scope.spawn(move || {
            let mut tracer = Tracer::new(depth);
            let (told, ended) = channel();
            let started = super::spawn::spawn_traced(request, &mut tracer).map(|mut running| {
                running.is_waited_for_by(ended);
                running
            });
            let _ = to_us.send(started);
            if let Some(waited) = tracer.follow() {
                let _ = told.send(waited);
            }
            tracer.finish()
        });
        let lost = || SandboxError::SupervisorLost;
        let running = from_tracer.recv().map_err(|_| lost())??;
        on_start(&running);
        let outcome = running.wait(on_output)?;
        let trace = thread.join().map_err(|_| lost())?;
        Ok((outcome, trace))
    })
}
