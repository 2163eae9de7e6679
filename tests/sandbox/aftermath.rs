//! What becomes of a process that crashes, and of one whose builder dies.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kiln::sandbox::Isolation;

use crate::attacks::Control::{ComesThrough, Unsure};
use crate::attacks::{all_denied, attack};
use crate::support::{Place, Run, attack_program, free, isolations};

/// What `core_pattern` names is run by the kernel, as root and outside of every sandbox, with the memory of the process
/// that crashed: never at the limit of 1, whatever it is otherwise.
#[test]
fn a_crash_starts_no_program_outside() {
    all_denied(
        |_| {
            vec![
                attack(&["core-limit"], ComesThrough),
                attack(&["lower-core-limit"], ComesThrough),
                attack(&["lower-core-limit-by-prlimit"], ComesThrough),
            ]
        },
        |_, _| {},
    );
}

/// Attributes by name and their list, which hold text of the user's and which Landlock does not mediate.
#[test]
fn attributes_outside_cannot_be_read() {
    all_denied(
        |place| {
            let secret = place.path("secret");
            // Where the filesystem has attributes, so that there is something to be read.
            free(place, &["setxattr", &secret]);
            vec![
                attack(&["getxattr", &secret], Unsure),
                attack(&["listxattr", &secret], Unsure),
            ]
        },
        |_, _| {},
    );
}

const BUILDER: &str = "KILN_SANDBOX_TEST_BUILDER";

/// Run by the test below in a process of its own: confines a process that does not want to end, and tells where it writes.
#[test]
fn builder() {
    let Ok(told) = std::env::var(BUILDER) else {
        return;
    };
    let (isolation, told) = match told.split_once(' ') {
        Some(("full", told)) => (Isolation::Full, told),
        Some((_, told)) => (Isolation::Landlock, told),
        None => panic!("{told}"),
    };
    let place = Place::new();
    let beat = place.path("out/beat");
    std::fs::write(told, &beat).unwrap();
    Run::attack(isolation, &place, &["outlive", &beat]).output();
}

/// The size of what is written, once it stays the same for a while; `None` if it goes on growing.
fn settles(beat: &Path) -> Option<u64> {
    let size = || std::fs::metadata(beat).map_or(0, |data| data.len());
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        let before = size();
        std::thread::sleep(Duration::from_millis(500));
        if size() == before {
            return Some(before);
        }
    }
    None
}

fn appears(beat: &Path) {
    let until = Instant::now() + Duration::from_secs(60);
    while std::fs::metadata(beat).map_or(0, |data| data.len()) < 3 {
        assert!(Instant::now() < until, "nothing is written");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Killed so that it can clean up nothing, kiln takes what it started with it, also what asked not to be told.
#[test]
fn nothing_outlives_its_builder() {
    for isolation in isolations() {
        let directory = crate::support::public_directory();
        let told = directory.path().join("told");
        let name = match isolation {
            Isolation::Full => "full",
            Isolation::Landlock => "landlock",
        };
        let mut builder = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "aftermath::builder", "--test-threads=1"])
            .env(BUILDER, format!("{name} {}", told.display()))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        appears(&told);
        let beat = PathBuf::from(std::fs::read_to_string(&told).unwrap());
        appears(&beat);
        builder.kill().unwrap();
        builder.wait().unwrap();
        assert!(settles(&beat).is_some(), "{isolation:?}: it lives on");
        // What the killed process could not take away itself.
        let place = beat.parent().and_then(Path::parent).unwrap();
        std::fs::remove_dir_all(place).unwrap();
    }
    let place = Place::new();
    let beat = place.path("out/beat");
    let mut shell = Command::new("/bin/sh")
        .args(["-c", "\"$0\" outlive \"$1\"; :"])
        .arg(attack_program())
        .arg(&beat)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    appears(beat.as_ref());
    shell.kill().unwrap();
    shell.wait().unwrap();
    assert_eq!(settles(beat.as_ref()), None, "control");
    // It ends when what it writes to is gone.
}
