//! Why an action has no outcome.

use crate::directive::DirectiveError;
use crate::execute::bind::BoundAction;
use crate::sandbox::{Ended, Outcome, SandboxError, Status};
use crate::store::StoreError;

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
    /// The action used more of something than it may.
    #[error("the action was ended: it {what}, its limit `{limit}` is {most}")]
    Limit {
        /// The package, for what to do about it.
        package: String,
        /// What it did.
        what: &'static str,
        /// The limit's name in `kiln.toml`.
        limit: &'static str,
        /// The limit.
        most: u64,
    },
    /// A declared output is not there.
    #[error("the action ended well but did not leave its declared output `{name}`")]
    MissingOutput {
        /// The output.
        name: String,
    },
    /// There are outputs that nobody declared, where that is not let pass.
    #[error("the action left `{}`, which is not among its declared outputs", crate::message::text::excerpt(.name))]
    UndeclaredOutput {
        /// The first of them. Untrusted.
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
    /// The build script sets a variable that is no value for the crate but an order to a tool.
    #[error(
        "the build script sets `{name}` for the compiler by `cargo::rustc-env`, which would change how the compiler, \
         the linker or the loader themselves work"
    )]
    SteersTool {
        /// The variable. Untrusted.
        name: String,
    },
    /// A grant to write names something that leads elsewhere.
    #[error("policy lets the package write to `{path}`, which is a symbolic link or below one")]
    ScratchLink {
        /// The path, below the package.
        path: String,
    },
    /// The jobserver's descriptors cannot be handed on.
    #[error("the jobserver cannot be handed on")]
    Jobserver(#[source] std::io::Error),
    /// What was enforced cannot be written down.
    #[error("what the sandbox enforced cannot be recorded")]
    Record(#[source] serde_json::Error),
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
            ActionFailure::Limit {
                package,
                limit,
                most,
                ..
            } => Some(format!(
                "raise it in `kiln.toml` if the action really needs that: `[crate.{package}]` with `limits = {{ {limit} = {} }}`",
                most.saturating_mul(2)
            )),
            ActionFailure::SteersTool { .. } => Some(
                "look at what the crate wants by that; kiln passes variables on that a crate reads with `env!`, and no \
                 others"
                    .to_owned(),
            ),
            ActionFailure::UndeclaredOutput { .. } => Some(
                "a hermetic build lets nothing but declared outputs be written; find out which procedural macro, linker \
                 argument or flag of rustc's makes it (`kiln build` without `--hermetic` leaves it behind)"
                    .to_owned(),
            ),
            ActionFailure::ScratchLink { .. } => {
                Some("name what the link leads to in `write` of `kiln.toml`".to_owned())
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

/// The limit that an action was ended for, if it was.
pub(super) fn broken_limit(bound: &BoundAction<'_>, end: &Outcome) -> Option<ActionFailure> {
    let limits = end.enforced.limits();
    let (what, limit, most) = match end.ended {
        Ended::Itself | Ended::Cancelled => return None,
        Ended::TimedOut => (
            "ran for too long (seconds)",
            "wall-seconds",
            limits.wall_seconds,
        ),
        Ended::TooMuchOutput => ("printed too much", "output-bytes", limits.output_bytes),
        Ended::TooMuchMemory => (
            "took too much memory, its processes together (never more than seven eighths of the machine's)",
            "memory-bytes",
            limits.memory_bytes,
        ),
        Ended::TooManyProcesses => (
            "had too many processes and threads",
            "processes",
            limits.processes,
        ),
        Ended::TooMuchWritten => (
            "wrote too much, or too deep, into its directories",
            "written-bytes",
            limits.written_bytes,
        ),
    };
    let label = &bound.planned.label;
    Some(ActionFailure::Limit {
        package: label.split(' ').next().unwrap_or(label).to_owned(),
        what,
        limit,
        most: most.unwrap_or_default(),
    })
}

pub(super) fn bad_path(error: crate::path::PathError) -> ActionFailure {
    ActionFailure::MissingOutput {
        name: error.to_string(),
    }
}

/// How a process ended, in words.
pub fn describe_status(status: Status) -> String {
    match status {
        Status::Exited(code) => format!("exit status {code}"),
        Status::Signaled(number) => match nix::sys::signal::Signal::try_from(number) {
            Ok(nix::sys::signal::Signal::SIGXFSZ) => {
                format!(
                    "signal {number} (SIGXFSZ): a file larger than `file-size-bytes` of its limits"
                )
            }
            Ok(nix::sys::signal::Signal::SIGXCPU) => {
                format!("signal {number} (SIGXCPU): more time than `cpu-seconds` of its limits")
            }
            Ok(signal) => format!("signal {number} ({signal})"),
            Err(_) => format!("signal {number}"),
        },
    }
}
