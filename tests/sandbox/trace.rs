//! What a tracer sees, and that it changes nothing.

use std::process::Command;

use kiln::sandbox::trace::{Depth, Operation, Trace};
use kiln::sandbox::{Isolation, Status};

use crate::support::{Place, Run, TRACED, is_root, isolations};

fn has(trace: &Trace, operation: Operation, path: &str, errno: Option<i32>) -> bool {
    trace
        .observed
        .iter()
        .any(|one| one.operation == operation && one.path == path && one.errno == errno)
}

#[test]
fn paths_results_programs_and_their_ends_are_recorded() {
    use nix::libc::{EACCES, ENOENT, EPERM, EROFS};
    for isolation in isolations() {
        for depth in [Depth::Paths, Depth::Everything] {
            let place = Place::new();
            let script = format!(
                "cat ../input/file; cat {secret}; /bin/sh -c 'cd {root}/input; cat ./../input/./file; exit 7'; \
                 echo x > new; rm new; mkdir sub; echo y > ../input/new; {root}/absent/program one two; \
                 (exit 3) & wait; exec sh -c 'kill -TERM $$'",
                secret = place.path("secret"),
                root = place.root.path().display(),
            );
            let run = Run::program(isolation, &place, "/bin/sh", &["-c", &script]);
            let (output, trace) = run.traced(depth);
            let what = format!("{isolation:?} {depth:?}: {trace:#?}");
            assert!(output.stdout.starts_with(b"inputinput"), "{what}");
            if isolation == Isolation::Landlock {
                assert_eq!(output.outcome.status, Status::Signaled(15), "{what}");
            }
            let hidden = match isolation {
                Isolation::Full => ENOENT,
                Isolation::Landlock => EACCES,
            };
            let fixed = match isolation {
                Isolation::Full => EROFS,
                Isolation::Landlock => EACCES,
            };
            for (operation, path, errno) in [
                (Operation::Read, "input/file", None),
                (Operation::Enter, "input", None),
                (Operation::Read, "secret", Some(hidden)),
                (Operation::Write, "out/new", None),
                (Operation::Remove, "out/new", None),
                (Operation::Make, "out/sub", None),
                (Operation::Write, "input/new", Some(fixed)),
            ] {
                let path = place.path(path);
                assert!(has(&trace, operation, &path, errno), "{path} {what}");
            }
            let absent = trace.observed.iter().find(|one| {
                one.path == place.path("absent/program") && one.operation == Operation::Execute
            });
            if let Some(absent) = absent {
                assert_eq!(absent.arguments[1..], ["one", "two"], "{what}");
            }
            assert_eq!(trace.programs[0].arguments[..2], ["sh", "-c"], "{what}");
            assert_eq!(trace.programs[0].parent, None, "{what}");
            let inner = trace.programs.iter().find(|one| one.status == Some(7));
            assert_eq!(inner.unwrap().parent, Some(0), "{what}");

            let (output, trace) =
                Run::attack(isolation, &place, &["tcp", "127.0.0.1", "1"]).traced(depth);
            assert!(!output.outcome.success());
            let refused = trace
                .observed
                .iter()
                .find(|one| one.operation == Operation::Call && one.path.starts_with("socket("));
            match depth {
                Depth::Everything => assert_eq!(refused.unwrap().errno, Some(EPERM), "{trace:#?}"),
                Depth::Paths => assert_eq!(refused, None),
            }
        }
    }
}

/// Every other test of this program, with a tracer on each process that it confines: what is denied stays denied.
#[test]
fn what_is_denied_is_denied_to_the_traced() {
    for depth in ["paths", "everything"] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["attacks::", "--skip", "all_of_it_as_an_ordinary_user"]);
        let output = command
            .args(["--test-threads=2"])
            .env(TRACED, depth)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{depth}: {said}");
        assert!(is_root() || !said.contains("0 passed"), "{said}");
    }
}
