//! The process that unpacks: archive on its standard input, destination as its working directory, report on its
//! standard output. It confines itself before it reads the first byte, so that a flaw in decompression or in the
//! unpacking gains nothing but the directory that it fills.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::unpack::{Limits, UnpackError, unpack};
use crate::diag::chain;

/// How long one archive may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// The longest report, bytes.
const LONGEST_REPORT: usize = 64 << 10;

/// Which program unpacks: kiln itself, with the hidden subcommand that calls [`run_worker`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// The program.
    pub program: PathBuf,
    /// What makes it the worker (`unpack-worker`); the crate's arguments follow.
    pub arguments: Vec<OsString>,
}

/// What the worker says when it is done.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Report {
    /// It is unpacked.
    Done { files: u64, bytes: u64 },
    /// An entry is refused.
    Refused { entry: String, why: String },
    /// The archive cannot be read, or is too large.
    Damaged { why: String },
    /// The worker could not work: no confinement, no space.
    Failed { why: String },
}

/// The whole worker: confines itself with `confine` (which is given the destination), then unpacks standard input
/// into the working directory. `arguments` are the name of the crate's directory in the archive and the archive's size
/// in bytes. Never unpacks unconfined.
pub fn run_worker<E: std::error::Error>(
    arguments: impl IntoIterator<Item = OsString>,
    confine: impl FnOnce(&Path) -> Result<(), E>,
) -> ExitCode {
    let report = work(arguments.into_iter().collect(), confine);
    let done = matches!(report, Report::Done { .. });
    let said = serde_json::to_vec(&report)
        .ok()
        .and_then(|report| std::io::stdout().write_all(&report).ok());
    if done && said.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn work<E: std::error::Error>(
    arguments: Vec<OsString>,
    confine: impl FnOnce(&Path) -> Result<(), E>,
) -> Report {
    let failed = |why: String| Report::Failed { why };
    let arguments: Option<Vec<&str>> = arguments.iter().map(|each| each.to_str()).collect();
    let Some([prefix, size_bytes]) = arguments.as_deref() else {
        return failed("it wants the crate's directory and the archive's size".to_owned());
    };
    let Ok(size_bytes) = size_bytes.parse() else {
        return failed(format!("`{size_bytes}` is no size"));
    };
    let destination = match std::env::current_dir() {
        Ok(directory) => directory,
        Err(error) => return failed(format!("it has no working directory: {error}")),
    };
    // Modes of what is unpacked depend on the archive alone.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    if let Err(error) = confine(&destination) {
        return failed(format!("it cannot confine itself: {}", chain(&error)));
    }
    let limits = Limits::of_archive(size_bytes);
    match unpack(std::io::stdin().lock(), prefix, Path::new("."), &limits) {
        Ok(unpacked) => Report::Done {
            files: unpacked.files,
            bytes: unpacked.bytes,
        },
        Err(UnpackError::Refused { entry, why }) => Report::Refused { entry, why },
        Err(error @ (UnpackError::TooLarge(_) | UnpackError::Damaged(_))) => {
            Report::Damaged { why: chain(&error) }
        }
        Err(error @ UnpackError::Write { .. }) => failed(chain(&error)),
    }
}

impl Worker {
    /// Unpacks `archive` (read from its current position) into the empty directory `destination`. What the worker says
    /// is data from a process that a hostile archive may have taken over.
    pub(crate) fn unpack(
        &self,
        archive: File,
        size_bytes: u64,
        prefix: &str,
        destination: &Path,
    ) -> std::io::Result<Report> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .arg(prefix)
            .arg(size_bytes.to_string())
            .env_clear()
            .current_dir(destination)
            .stdin(archive)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let said = read_report(&mut child, Instant::now() + PATIENCE);
        if !matches!(said, Ok(Some(_))) {
            // It said too much or nothing for too long; whether it is still there to be killed does not matter.
            let _ = child.kill();
        }
        let status = child.wait()?;
        let Some(said) = said? else {
            return Ok(Report::Failed {
                why: format!(
                    "it took longer than {} s or talked too much",
                    PATIENCE.as_secs()
                ),
            });
        };
        Ok(match serde_json::from_slice(&said) {
            Ok(report) if status.success() == matches!(report, Report::Done { .. }) => report,
            _ => Report::Failed {
                why: format!("it ended without a report ({status})"),
            },
        })
    }
}

/// All that the worker says until it closes its standard output; `None` if that is too much or too late.
fn read_report(child: &mut Child, deadline: Instant) -> std::io::Result<Option<Vec<u8>>> {
    let mut said = Vec::new();
    let Some(stdout) = &mut child.stdout else {
        return Ok(None);
    };
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut waiting = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waiting, timeout) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        match stdout.read(&mut buffer)? {
            0 => return Ok(Some(said)),
            count => said.extend_from_slice(&buffer[..count]),
        }
        if said.len() > LONGEST_REPORT {
            return Ok(None);
        }
    }
}
