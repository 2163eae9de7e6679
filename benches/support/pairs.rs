//! Commands timed in turn, and what that takes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs the command, which has to succeed, and says how long it took.
pub(crate) fn run(command: &mut Command) -> Duration {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let started = Instant::now();
    let output = command.output().expect("the command starts");
    let took = started.elapsed();
    assert!(
        output.status.success(),
        "{command:?}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    took
}

/// The fastest of several runs: what else the machine does only adds.
pub(crate) fn fastest(times: usize, mut run: impl FnMut() -> Duration) -> Duration {
    (0..times).map(|_| run()).min().unwrap_or_default()
}

/// The middle of the ratios.
pub(crate) fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Copies a directory.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to));
}

/// Removes a directory, if it is there.
pub(crate) fn remove(path: &Path) {
    if path.exists() {
        std::fs::remove_dir_all(path).expect("a directory can be removed");
    }
}
