//! How a confined process is started, watched and ended.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use kiln::sandbox::{
    Access, Ended, Isolation, Limits, SandboxError, SandboxProfile, Status, Stream, confine_self,
};

use crate::support::{Place, Run, confined, is_root, isolations, mount};

#[test]
fn ends_are_told_apart() {
    for isolation in isolations() {
        for (arguments, expected) in [
            (&["exit", "0"][..], Status::Exited(0)),
            (&["exit", "7"], Status::Exited(7)),
            (&["segfault"], Status::Signaled(nix::libc::SIGSEGV)),
        ] {
            let (status, said) = confined(isolation, &Place::new(), arguments);
            assert_eq!(status, expected, "{isolation:?} {arguments:?}: {said}");
        }
        let (status, _) = confined(isolation, &Place::new(), &["abort"]);
        match isolation {
            Isolation::Landlock => assert_eq!(status, Status::Signaled(nix::libc::SIGABRT)),
            Isolation::Full => assert!(matches!(status, Status::Signaled(_)), "{status:?}"),
        }
    }
}

#[test]
fn output_comes_as_it_is_written() {
    for isolation in isolations() {
        let place = Place::new();
        let script = "echo one; echo two >&2; printf three";
        let output = Run::program(isolation, &place, "/bin/sh", &["-c", script]).output();
        assert_eq!(output.stdout, b"one\nthree");
        assert_eq!(output.stderr, b"two\n");
        assert_eq!(output.outcome.output_bytes, 13);
        assert!(output.outcome.success());

        // The second line is written only after the first has arrived here.
        let script = "echo early; until test -f go; do sleep 0.01; done; echo late";
        let running = Run::program(isolation, &place, "/bin/sh", &["-c", script])
            .spawn()
            .unwrap();
        let mut seen = Vec::new();
        let outcome = running.wait(|stream, bytes| {
            assert_eq!(stream, Stream::Stdout);
            std::fs::write(place.path("out/go"), "").unwrap();
            seen.push(bytes.to_vec());
        });
        assert!(outcome.unwrap().success());
        assert_eq!(
            seen,
            [b"early\n".to_vec(), b"late\n".to_vec()],
            "{isolation:?}"
        );
    }
}

#[test]
fn time_is_limited() {
    for isolation in isolations() {
        let place = Place::new();
        let mut run = Run::program(
            isolation,
            &place,
            "/bin/sh",
            &["-c", "echo a; sleep 600 & sleep 600"],
        );
        run.limits.wall_seconds = Some(1);
        // The request's own timeout would win.
        let profile = run.profile.clone();
        let request = kiln::sandbox::Request {
            isolation,
            profile: &profile,
            program: crate::support::sandbox_path("/bin/sh"),
            argv: vec![
                "sh".into(),
                "-c".into(),
                "echo a; sleep 600 & sleep 600".into(),
            ],
            env: vec![("PATH".into(), "/usr/bin".into())],
            cwd: crate::support::sandbox_path("/"),
            mounts: run.mounts,
            links: Vec::new(),
            directories: Vec::new(),
            tmp: None,
            descriptors: Vec::new(),
            limits: run.limits,
            network: kiln::sandbox::Network::None,
            timeout: None,
        };
        let started = Instant::now();
        let output = kiln::sandbox::spawn(request).unwrap().output().unwrap();
        let took = started.elapsed();
        assert_eq!(output.outcome.ended, Ended::TimedOut, "{isolation:?}");
        assert_eq!(
            output.outcome.status,
            Status::Signaled(nix::libc::SIGKILL),
            "{isolation:?}"
        );
        assert_eq!(output.stdout, b"a\n");
        assert!(
            took > Duration::from_secs(1) && took < Duration::from_secs(5),
            "{isolation:?} {took:?}"
        );
    }
}

#[test]
fn resources_are_limited() {
    let limited = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        limits
    };
    for isolation in isolations() {
        let place = Place::new();
        let big = place.path("out/big");
        for (arguments, limits) in [
            (
                &["memory", "2000"][..],
                limited(|l| l.memory_bytes = Some(1 << 30)),
            ),
            (
                &["big-file", &big],
                limited(|l| l.file_size_bytes = Some(1 << 20)),
            ),
            (&["spin"], limited(|l| l.cpu_seconds = Some(1))),
            (&["fork-bomb", "4000"], limited(|l| l.processes = Some(50))),
        ] {
            if arguments[0] == "fork-bomb" && is_root() {
                // The kernel limits no number of processes of root's: see below.
                continue;
            }
            let mut run = Run::attack(isolation, &place, arguments);
            run.limits = limits;
            let outcome = run.output().outcome;
            match arguments[0] {
                "spin" => assert_eq!(
                    outcome.status,
                    Status::Signaled(nix::libc::SIGKILL),
                    "{isolation:?}"
                ),
                // Who is slow is seen to have too many.
                "fork-bomb" if outcome.ended == Ended::TooManyProcesses => {}
                _ => assert_eq!(
                    outcome.status,
                    Status::Exited(1),
                    "{isolation:?} {arguments:?}"
                ),
            }
            if arguments[0] != "fork-bomb" && arguments[0] != "spin" {
                let free = Run::attack(isolation, &place, arguments).output().outcome;
                assert_eq!(free.status, Status::Exited(0), "control of {arguments:?}");
            }
        }
    }
}

#[test]
fn output_is_limited() {
    for isolation in isolations() {
        let place = Place::new();
        let mut run = Run::attack(isolation, &place, &["print", "100000"]);
        run.limits.output_bytes = Some(5000);
        let output = run.output();
        assert_eq!(output.outcome.ended, Ended::TooMuchOutput, "{isolation:?}");
        assert_eq!(output.stdout.len(), 5000, "{isolation:?}");
        let mut run = Run::attack(isolation, &place, &["print", "4"]);
        run.limits.output_bytes = Some(5000);
        assert!(run.output().outcome.success(), "{isolation:?}");
    }
}

#[test]
fn a_process_can_be_cancelled_and_dropped() {
    for isolation in isolations() {
        let place = Place::new();
        let running = Run::attack(isolation, &place, &["sleep", "600000"])
            .spawn()
            .unwrap();
        let canceller = running.canceller();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            canceller.cancel();
            canceller.cancel();
        });
        let outcome = running.wait(|_, _| ()).unwrap();
        assert_eq!(outcome.ended, Ended::Cancelled, "{isolation:?}");
        thread.join().unwrap();

        let file = place.path("out/daemon");
        let running = Run::attack(isolation, &place, &["daemon", &file])
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(200));
        drop(running);
        let size = || std::fs::metadata(&file).map_or(0, |m| m.len());
        let at_end = size();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(size(), at_end, "{isolation:?}: it lives on");
    }
}

#[test]
fn descriptors_can_be_given() {
    for isolation in isolations() {
        let place = Place::new();
        let secret: OwnedFd = std::fs::File::open(place.path("secret")).unwrap().into();
        let mut run = Run::attack(isolation, &place, &["descriptor", "9"]);
        run.descriptors
            .push((secret.as_fd().try_clone_to_owned().unwrap(), 9));
        let output = run.output();
        assert!(
            output.stdout.starts_with(b"the secret"),
            "{isolation:?} {output:?}"
        );
        for targets in [vec![2], vec![300], vec![4, 4]] {
            let mut run = Run::attack(isolation, &place, &["exit", "0"]);
            for target in targets {
                run.descriptors
                    .push((secret.as_fd().try_clone_to_owned().unwrap(), target));
            }
            assert!(matches!(run.spawn(), Err(SandboxError::Request { .. })));
        }
    }
}

#[test]
fn what_cannot_be_done_is_an_error() {
    for isolation in isolations() {
        let place = Place::new();
        let run = Run::program(isolation, &place, "/usr/bin/there-is-no-such-program", &[]);
        match run.spawn() {
            Err(error @ SandboxError::Execute { .. }) => {
                assert_eq!(error.errno(), Some(nix::libc::ENOENT));
                assert!(error.help().is_some());
            }
            other => panic!("{isolation:?}: {other:?}"),
        }
        let mut run = Run::attack(isolation, &place, &["exit", "0"]);
        run.mounts.push(mount(place.path("nothing"), Access::Read));
        assert!(
            matches!(run.spawn(), Err(SandboxError::Path { .. })),
            "{isolation:?}"
        );

        let mut run = Run::attack(isolation, &place, &["exit", "0"]);
        run.mounts.push(kiln::sandbox::Mount {
            host: place.path("input").into(),
            at: crate::support::sandbox_path("/elsewhere"),
            access: Access::Read,
        });
        match (isolation, run.spawn()) {
            (Isolation::Landlock, Err(SandboxError::Elsewhere { .. })) => {}
            (Isolation::Full, Ok(running)) => assert!(running.output().unwrap().outcome.success()),
            (_, other) => panic!("{isolation:?}: {other:?}"),
        }
    }
}

#[test]
fn many_at_once() {
    for isolation in isolations() {
        let place = Place::new();
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let place = &place;
                scope.spawn(move || {
                    for i in 0..8 {
                        let code = (thread * 8 + i) % 100;
                        let script = format!("echo {code}; exit {code}");
                        let output =
                            Run::program(isolation, place, "/bin/sh", &["-c", &script]).output();
                        assert_eq!(output.outcome.status, Status::Exited(code));
                        assert_eq!(output.stdout, format!("{code}\n").into_bytes());
                    }
                });
            }
        });
    }
}

#[test]
fn what_was_used_is_told() {
    for isolation in isolations() {
        let place = Place::new();
        let script = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done";
        let outcome = Run::program(isolation, &place, "/bin/sh", &["-c", script])
            .output()
            .outcome;
        assert!(
            outcome.user > Duration::from_millis(3),
            "{isolation:?} {outcome:?}"
        );
        assert!(
            outcome.peak_memory_bytes > 100_000,
            "{isolation:?} {outcome:?}"
        );
        assert!(outcome.wall >= outcome.user, "{isolation:?} {outcome:?}");
        assert_eq!(outcome.enforced.isolation(), isolation);
        assert!(outcome.enforced.landlock_abi() >= 1);
    }
}

#[test]
fn times_and_modes_of_outputs_can_be_set() {
    for isolation in isolations() {
        for (name, target) in [
            ("chmod", "out/file"),
            ("fchmod", "out/file"),
            ("fchmodat-directory", "out/file"),
            ("utimes", "out/file"),
            ("futimens", "out/file"),
            ("chmod", "tmp/file"),
        ] {
            let place = Place::new();
            std::fs::write(place.path("tmp/file"), "").unwrap();
            // Its own tmp has another name in a view of its own.
            let path = match (isolation, target) {
                (Isolation::Full, "tmp/file") => "/tmp/file".to_owned(),
                _ => place.path(target),
            };
            let (status, said) = confined(isolation, &place, &[name, &path]);
            assert_eq!(status, Status::Exited(0), "{isolation:?} {name}: {said}");
            if name.contains("chmod") {
                assert_eq!(place.mode(target), 0o777, "{isolation:?} {name}");
            } else {
                let modified = std::fs::metadata(place.path(target))
                    .unwrap()
                    .modified()
                    .unwrap();
                let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
                assert_eq!(since, Duration::from_secs(1), "{isolation:?} {name}");
            }
        }
    }
}

/// The test below runs this one again in a process of its own.
#[test]
fn worker() {
    let Ok(root) = std::env::var("KILN_SANDBOX_TEST_WORKER") else {
        return;
    };
    // The test harness has threads: only a process of one thread can confine itself.
    let profile = SandboxProfile::shipped("unpack").unwrap();
    let error = confine_self(root.as_ref(), &profile, &Limits::default());
    assert!(matches!(error, Err(SandboxError::Request { .. })));
}

#[test]
fn a_process_with_threads_cannot_confine_itself() {
    let directory = crate::support::public_directory();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "behaviour::worker", "--test-threads=1"])
        .env("KILN_SANDBOX_TEST_WORKER", directory.path())
        .status()
        .unwrap();
    assert!(status.success());
}

/// What no limit of the kernel's for one process bounds, and no limit on the number of root's processes.
#[test]
fn all_processes_together_are_limited() {
    const MIB: u64 = 1 << 20;
    for isolation in isolations() {
        let place = Place::new();
        let out = place.path("out");
        let limits = |memory: u64, processes: u64, written: u64| Limits {
            memory_bytes: Some(memory * MIB),
            processes: Some(processes),
            written_bytes: Some(written * MIB),
            ..Limits::default()
        };
        let enough = limits(2000, 1000, 1000);
        for (arguments, limits, expected) in [
            (
                &["touch-shared", "300", "3000"][..],
                limits(200, 1000, 1000),
                Ended::TooMuchMemory,
            ),
            (
                &["many-hogs", "50", "3000"],
                limits(200, 1000, 1000),
                Ended::TooMuchMemory,
            ),
            (
                &["fork-wait", "100", "3000"],
                limits(2000, 50, 1000),
                Ended::TooManyProcesses,
            ),
            (
                &["fill", &out, "60", "3000"],
                limits(2000, 1000, 20),
                Ended::TooMuchWritten,
            ),
        ] {
            let mut run = Run::attack(isolation, &place, arguments);
            run.limits = limits;
            let outcome = run.output().outcome;
            // As an ordinary user the kernel says so first.
            let refused = arguments[0] == "fork-wait" && outcome.status == Status::Exited(1);
            assert!(
                outcome.ended == expected || refused,
                "{isolation:?} {arguments:?}: {outcome:?}"
            );
            let mut run = Run::attack(isolation, &place, arguments);
            run.limits = enough.clone();
            let outcome = run.output().outcome;
            assert!(outcome.success(), "control of {arguments:?}: {outcome:?}");
        }
    }
}

/// A private tmp that is memory has a size.
#[test]
fn a_tmp_of_memory_is_limited() {
    if !isolations().contains(&Isolation::Full) {
        return;
    }
    let place = Place::new();
    for (most, expected) in [(Some(20 << 20), 1), (Some(100 << 20), 0)] {
        let mut run = Run::attack(Isolation::Full, &place, &["fill", "/tmp", "60", "0"]);
        run.private_tmp = false;
        run.limits.tmp_bytes = most;
        assert_eq!(run.output().outcome.status, Status::Exited(expected));
    }
}
