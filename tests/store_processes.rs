//! Several processes on one store, and processes that are killed while they write to it.
//!
//! The processes are this test program itself, started again for one of its tests with an environment variable that
//! makes that test work instead of pass at once.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kiln::digest::ActionKey;
use kiln::reapi::{ActionResult, OutputDirectory};
use kiln::store::{
    BlobRef, CaptureLimits, GcPolicy, Namespace, Store, StoreError, TreeRef, collect_garbage,
};

const HOME: &str = "KILN_TEST_STORE_HOME";
const SEED: &str = "KILN_TEST_STORE_SEED";
/// How many different actions there are; few, so that processes make the same ones at the same time.
const ACTIONS: u64 = 24;

/// Numbers that differ between workers and runs of one (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn key(number: u64) -> ActionKey {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    ActionKey::from_bytes(bytes)
}

fn content(number: u64) -> Vec<u8> {
    let size = usize::try_from(number * 9000 + 1).expect("small");
    number.to_string().into_bytes().repeat(size / 2 + 1)
}

/// What action `number` leaves behind: files of its own, files that all have, executables, links, directories.
fn outputs(root: &Path, number: u64) {
    let write = |name: &str, bytes: &[u8]| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, bytes).expect("written");
    };
    write("own", &content(number));
    write("common", b"the same in all");
    write("d/common", b"the same in all");
    write("d/e/own", format!("small {number}").as_bytes());
    write("d/empty", b"");
    std::os::unix::fs::symlink("d/e/own", root.join("link")).expect("a link");
    write("tool", b"#!tool");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(root.join("tool"), mode).expect("a mode");
}

/// Does an action as a build would: from the cache, or anew.
fn act(store: &Store, number: u64) -> Result<(), StoreError> {
    let key = key(number);
    if let Some(result) = store.action_result(Namespace::Hermetic, &key)? {
        let root = result.output_directories[0]
            .root_directory_digest
            .as_ref()
            .expect("a root");
        let tree = TreeRef::try_from(root).expect("a digest");
        let path = store.materialize(&tree)?;
        assert_eq!(
            std::fs::read(path.join("own")).expect("bytes"),
            content(number)
        );
        return Ok(());
    }
    let work = store.work_dir()?;
    let out = work.path().join("out");
    outputs(&out, number);
    let tree = if number.is_multiple_of(3) {
        store.adopt_tree(&out, &CaptureLimits::default())?
    } else {
        store.capture_directory(&out, &CaptureLimits::default())?
    };
    let printed = store.put_bytes(&content(number + 100))?;
    store.put_action_result(
        Namespace::Hermetic,
        &key,
        &ActionResult {
            output_directories: vec![OutputDirectory {
                path: "out".into(),
                root_directory_digest: Some(tree.into()),
                ..OutputDirectory::default()
            }],
            stdout_digest: Some(printed.into()),
            ..ActionResult::default()
        },
    )
}

/// The work of a child process. Without the variables it is a test that has nothing to do.
#[test]
fn worker() {
    let (Some(home), Ok(seed)) = (std::env::var_os(HOME), std::env::var(SEED)) else {
        return;
    };
    let mut numbers = Numbers(seed.parse().expect("a number"));
    let rounds = std::env::var("KILN_TEST_STORE_ROUNDS")
        .ok()
        .map_or(u64::MAX, |rounds| rounds.parse().expect("a number"));
    let home = PathBuf::from(home);
    let store = Store::open(&home).expect("a store");
    let source = home.with_extension("source");
    for _ in 0..rounds {
        let number = numbers.next(ACTIONS);
        match numbers.next(8) {
            0 => store.flush().expect("written"),
            1 => {
                let snapshot = store
                    .snapshot(&source, &|_, _| false, &source)
                    .expect("a snapshot");
                store.materialize(&snapshot.tree).expect("made");
            }
            2 => {
                // Forgotten, so that it is made again, by several at once.
                store
                    .remove_action_result(Namespace::Hermetic, &key(number))
                    .expect("removed");
            }
            _ => act(&store, number).expect("done"),
        }
    }
    let events = store.take_events();
    assert!(events.is_empty(), "{events:?}");
}

fn start(home: &Path, seed: u64, rounds: Option<u64>) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--exact", "worker", "--nocapture"])
        .env(HOME, home)
        .env(SEED, seed.to_string())
        .stdout(Stdio::null());
    if let Some(rounds) = rounds {
        command.env("KILN_TEST_STORE_ROUNDS", rounds.to_string());
    }
    command.spawn().expect("a process")
}

fn fixture() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let home = directory.path().join("home");
    outputs(&home.with_extension("source"), 1000);
    (directory, home)
}

/// Everything that is there is right, nothing is left over, and all of it can be used.
fn check(home: &Path) {
    let store = Store::open(home).expect("a store");
    let sessions: Vec<_> = std::fs::read_dir(home.join("tmp"))
        .expect("a directory")
        .collect();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    let report = store.verify().expect("readable");
    // A tree that was moved into place by a process that was killed before it wrote the manifest is not damage.
    assert_eq!(report.damaged, []);
    for number in 0..ACTIONS {
        act(&store, number).expect("done");
        let blob = BlobRef::of(&content(number + 100));
        assert_eq!(
            store.read_blob(&blob).expect("readable"),
            Some(content(number + 100))
        );
    }
    assert_eq!(store.take_events(), []);
}

#[test]
fn a_store_survives_processes_killed_at_any_point() {
    let (_directory, home) = fixture();
    let mut numbers = Numbers(0x1234_5678_9abc);
    let began = Instant::now();
    let mut kills = 0;
    while kills < 60 && began.elapsed() < Duration::from_secs(20) {
        let mut children: Vec<_> = (0..2)
            .map(|_| start(&home, numbers.next(u64::MAX) | 1, None))
            .collect();
        for child in &mut children {
            std::thread::sleep(Duration::from_millis(10 + numbers.next(60)));
            assert!(
                child.try_wait().expect("a child").is_none(),
                "a worker ended by itself"
            );
            child.kill().expect("killed");
            kills += 1;
        }
        for child in &mut children {
            child.wait().expect("waited");
        }
        if numbers.next(4) == 0 {
            check(&home);
            // Some things have to be made again.
            collect_garbage(
                &home,
                &GcPolicy {
                    keep_bytes: Some(numbers.next(3_000_000)),
                    keep_age: None,
                },
            )
            .expect("collected");
        }
    }
    check(&home);
}

#[test]
fn processes_and_threads_share_a_store() {
    let (_directory, home) = fixture();
    let children: Vec<_> = (1..=3)
        .map(|seed| start(&home, seed * 7919, Some(150)))
        .collect();
    let store = Store::open(&home).expect("a store");
    std::thread::scope(|scope| {
        for seed in 1..=3 {
            let store = &store;
            scope.spawn(move || {
                let mut numbers = Numbers(seed * 104_729);
                for _ in 0..100 {
                    act(store, numbers.next(ACTIONS)).expect("done");
                }
            });
        }
        // A collector that comes along meanwhile is turned away.
        for _ in 0..20 {
            assert!(matches!(
                collect_garbage(&home, &GcPolicy::default()),
                Err(StoreError::InUse { .. })
            ));
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    assert_eq!(store.take_events(), []);
    for mut child in children {
        assert!(child.wait().expect("waited").success());
    }
    drop(store);
    check(&home);
}

#[test]
fn opening_waits_for_a_collector_and_never_loses_to_it() {
    let (_directory, home) = fixture();
    let policy = GcPolicy {
        keep_bytes: Some(0),
        keep_age: None,
    };
    let mut collected = 0;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (1..=2)
            .map(|seed| {
                let home = &home;
                scope.spawn(move || {
                    for round in 0..30 {
                        let store = Store::open(home).expect("a store");
                        act(&store, seed * 5 + round % 4).expect("done");
                        act(&store, seed * 5 + round % 4).expect("done");
                        assert_eq!(store.take_events(), []);
                    }
                })
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            match collect_garbage(&home, &policy) {
                Ok(_) => collected += 1,
                Err(StoreError::InUse { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    collect_garbage(&home, &policy).expect("collected");
    assert!(collected < 10_000);
    check(&home);
}
