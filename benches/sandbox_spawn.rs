//! What confinement costs: `true`, started plainly and in each kind of sandbox.
//!
//! `cargo bench --bench sandbox_spawn` prints medians. The sandbox has eight mounts, as a small action has.

#![allow(
    clippy::print_stdout,
    reason = "a benchmark's result is what it prints"
)]

use std::time::{Duration, Instant};

use kiln::path::SandboxPath;
use kiln::sandbox::{Access, Isolation, Limits, Mount, Network, Request, SandboxProfile, spawn};

const ROUNDS: usize = 300;

fn main() {
    let profile = SandboxProfile::shipped("build-script").expect("a shipped profile is right");
    let plain = median(|| {
        let output = std::process::Command::new("/usr/bin/true").output();
        assert!(output.expect("`true` runs").status.success());
    });
    println!("plain      {:>7.3} ms", millis(plain));
    for isolation in [Isolation::Landlock, Isolation::Full] {
        let scratch = tempfile::tempdir().expect("a directory can be made");
        let time = median(|| confined(&profile, isolation, scratch.path()));
        println!(
            "{:<10} {:>7.3} ms (+{:.3} ms)",
            format!("{isolation:?}").to_lowercase(),
            millis(time),
            millis(time.saturating_sub(plain)),
        );
    }
    match std::process::Command::new("bwrap")
        .arg("--version")
        .output()
    {
        Err(_) => println!(
            "bwrap      is not installed (Debian: bubblewrap), so there is nothing to compare with"
        ),
        Ok(_) => {
            let scratch = tempfile::tempdir().expect("a directory can be made");
            let time = median(|| bubblewrapped(scratch.path()));
            println!(
                "bwrap      {:>7.3} ms (+{:.3} ms)",
                millis(time),
                millis(time.saturating_sub(plain)),
            );
        }
    }
    // A program with much memory: page tables must not be copied.
    let ballast: Vec<u8> = (0..256usize << 20).map(|i| i as u8).collect();
    for isolation in [Isolation::Landlock, Isolation::Full] {
        let scratch = tempfile::tempdir().expect("a directory can be made");
        let time = median(|| confined(&profile, isolation, scratch.path()));
        println!(
            "{:<10} {:>7.3} ms with {} MiB in use",
            format!("{isolation:?}").to_lowercase(),
            millis(time),
            ballast.len() >> 20,
        );
    }
}

fn confined(profile: &SandboxProfile, isolation: Isolation, scratch: &std::path::Path) {
    let path = |text: &str| SandboxPath::new(text).expect("a literal path");
    let mut mounts: Vec<Mount> = [
        "/usr/bin",
        "/usr/lib",
        "/usr/lib64",
        "/usr/include",
        "/usr/share",
        "/etc",
        "/lib64",
    ]
    .into_iter()
    .filter(|at| std::path::Path::new(at).exists())
    .map(|at| Mount {
        host: at.into(),
        at: path(at),
        access: Access::Read,
    })
    .collect();
    let out = match isolation {
        Isolation::Landlock => scratch.to_str().expect("a plain path"),
        Isolation::Full => "/out",
    };
    mounts.push(Mount {
        host: scratch.into(),
        at: path(out),
        access: Access::Write,
    });
    let running = spawn(Request {
        isolation,
        profile,
        program: path("/usr/bin/true"),
        argv: vec!["true".into()],
        env: Vec::new(),
        cwd: path(out),
        mounts,
        links: match isolation {
            Isolation::Full => vec![(path("/lib"), "usr/lib".into())],
            Isolation::Landlock => Vec::new(),
        },
        directories: Vec::new(),
        tmp: None,
        descriptors: Vec::new(),
        limits: Limits::default(),
        network: Network::None,
        timeout: None,
    });
    match running {
        Ok(running) => {
            let outcome = running.wait(|_, _| ()).expect("it can be waited for");
            assert!(outcome.success(), "{outcome:?}");
        }
        Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
    }
}

/// The same mounts and namespaces by bubblewrap; it has no Landlock, and its filter would have to be brought along.
fn bubblewrapped(scratch: &std::path::Path) {
    let mut command = std::process::Command::new("bwrap");
    command.args([
        "--unshare-all",
        "--die-with-parent",
        "--clearenv",
        "--hostname",
        "kiln",
    ]);
    for at in [
        "/usr/bin",
        "/usr/lib",
        "/usr/lib64",
        "/usr/include",
        "/usr/share",
        "/etc",
        "/lib64",
    ] {
        if std::path::Path::new(at).exists() {
            command.args(["--ro-bind", at, at]);
        }
    }
    command.args([
        "--symlink",
        "usr/lib",
        "/lib",
        "--dev",
        "/dev",
        "--proc",
        "/proc",
        "--tmpfs",
        "/tmp",
    ]);
    command
        .arg("--bind")
        .arg(scratch)
        .args(["/out", "--chdir", "/out", "/usr/bin/true"]);
    let output = command.output().expect("bwrap runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn median(mut action: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            action();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
