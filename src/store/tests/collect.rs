//! The store as a whole, and the memory of digests.

use std::time::{Duration, SystemTime};

use super::*;
use crate::digest::ActionKey;
use crate::reapi;

fn age(path: &Path, days: u64) {
    let time = SystemTime::now() - Duration::from_secs(days * 86_400);
    std::fs::File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.set_modified(time))
        .expect("a time");
}

/// A recorded action of that age with one output directory.
fn action(fixture: &Fixture, number: u8, days: u64) -> (ActionKey, TreeRef) {
    let text = number.to_string().repeat(50_000);
    let tree = fixture.captured(&[("out", &text), ("common", "in all of them")]);
    let key = ActionKey::from_bytes([number; 32]);
    let result = reapi::ActionResult {
        output_directories: vec![reapi::OutputDirectory {
            path: "out".into(),
            root_directory_digest: Some(tree.into()),
            ..reapi::OutputDirectory::default()
        }],
        ..reapi::ActionResult::default()
    };
    fixture
        .store
        .put_action_result(Namespace::Hermetic, &key, &result)
        .expect("recorded");
    let hex = key.to_hex();
    age(
        &fixture
            .home()
            .join("actions/hermetic")
            .join(&hex[..2])
            .join(&hex[2..]),
        days,
    );
    age(&fixture.store.manifest_path(&tree.digest), days);
    (key, tree)
}

#[test]
fn the_collector_keeps_what_was_used_last() {
    let by_age = GcPolicy {
        keep_age: Some(Duration::from_secs(15 * 86_400)),
        keep_bytes: None,
    };
    // Two of the three large files fit.
    let by_size = GcPolicy {
        keep_age: None,
        keep_bytes: Some(170_000),
    };
    for policy in [by_age, by_size] {
        let fixture = Fixture::new();
        let (old, old_tree) = action(&fixture, 1, 30);
        let (young, young_tree) = action(&fixture, 2, 10);
        let (fresh, fresh_tree) = action(&fixture, 3, 0);
        let home = fixture.home();
        assert!(matches!(
            collect_garbage(&home, &policy),
            Err(StoreError::InUse { .. })
        ));
        let Fixture { directory, store } = fixture;
        drop(store);
        let before = stat(&home).expect("readable");
        assert_eq!((before.trees, before.actions["hermetic"]), (3, 3));
        let report = collect_garbage(&home, &policy).expect("collected");
        assert_eq!((report.actions, report.trees), (1, 1), "{report:?}");
        assert!(report.freed_bytes >= 50_000, "{report:?}");
        let after = stat(&home).expect("readable");
        assert!(before.disk_bytes - after.disk_bytes >= 50_000);

        let store = Store::open(&home).expect("a store");
        let get = |key| {
            store
                .action_result(Namespace::Hermetic, key)
                .expect("readable")
        };
        assert_eq!(get(&old), None);
        store.materialize(&old_tree).expect_err("collected");
        for (key, tree) in [(&young, &young_tree), (&fresh, &fresh_tree)] {
            assert!(get(key).is_some());
            store.verify_tree(tree).expect("kept");
            // Its blobs too, the shared one among them.
            disk::remove_tree(&store.tree_path(&tree.digest)).expect("removed");
            unpoisoned(&store.checked).clear();
            store.materialize(tree).expect("made again");
        }
        assert_eq!(store.verify().expect("readable").damaged.len(), 0);
        drop(directory);
    }
}

#[test]
fn a_collector_without_bounds_only_tidies_up() {
    let fixture = Fixture::new();
    let (key, tree) = action(&fixture, 1, 1000);
    let home = fixture.home();
    // What killed processes leave: a work directory, a tree without manifest, a manifest without tree.
    fill(&home.join("tmp/s-dead/1"), &[("f", "")]);
    fill(&home.join("trees").join("ab".repeat(32)), &[("f", "")]);
    std::fs::write(home.join("manifests").join("cd".repeat(32)), "x").expect("written");
    drop(fixture.store);
    let report = collect_garbage(&home, &GcPolicy::default()).expect("collected");
    assert_eq!((report.actions, report.trees, report.blobs), (0, 0, 0));
    let store = Store::open(&home).expect("a store");
    assert!(
        store
            .action_result(Namespace::Hermetic, &key)
            .expect("readable")
            .is_some()
    );
    store.verify_tree(&tree).expect("kept");
    assert!(!home.join("tmp/s-dead").exists());
    assert_eq!(stat(&home).expect("readable").trees, 1);
}

#[test]
fn verify_reads_everything_and_discards_what_is_damaged() {
    let fixture = Fixture::new();
    let (_, tree) = action(&fixture, 1, 0);
    let clean = fixture.store.verify().expect("readable");
    assert_eq!((clean.trees, clean.actions), (1, 1));
    assert_eq!(clean.damaged, []);
    // A change that leaves no trace in size and times, as a failing disk makes it: forge the memory of digests.
    let path = fixture
        .store
        .blob_file(&BlobDigest::of(b"in all of them"), false);
    damage(&path);
    let identity = Identity::from(&disk::stat(&path).expect("readable").expect("there"));
    fixture
        .store
        .memo
        .record_owned(&identity, BlobDigest::of(b"in all of them"));
    let report = fixture.store.verify().expect("readable");
    assert_eq!(report.damaged.len(), 2, "{report:?}");
    assert!(!path.exists());
    assert!(!fixture.store.tree_path(&tree.digest).exists());
    assert_eq!(fixture.store.verify().expect("readable").damaged, []);
}

#[test]
fn another_layout_is_refused_and_a_cut_version_file_written_again() {
    let fixture = Fixture::new();
    let home = fixture.home();
    let version = home.join("VERSION");
    std::fs::write(&version, "").expect("written");
    Store::open(&home).expect("a store");
    assert_eq!(std::fs::read_to_string(&version).expect("text"), "1\n");
    std::fs::write(&version, "99\n").expect("written");
    match Store::open(&home) {
        Err(StoreError::Layout { found, .. }) => assert_eq!(found, "99"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_store_that_cannot_be_written_says_so() {
    // `/proc` takes no directories, whoever asks.
    let error = Store::open(Path::new("/proc/kiln")).expect_err("not writable");
    assert!(!error.to_string().is_empty());
    let path = Path::new("/x");
    for (code, expected) in [
        (libc::ENOSPC, "no space left"),
        (libc::EDQUOT, "no space left"),
        (libc::EROFS, "read-only"),
        (libc::EACCES, "permission denied"),
        (libc::EPERM, "permission denied"),
    ] {
        let error = StoreError::io("write", path, std::io::Error::from_raw_os_error(code));
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.help().is_some());
    }
    let other = StoreError::io("write", path, std::io::Error::from_raw_os_error(libc::EIO));
    assert!(matches!(other, StoreError::Io { .. }));
}

mod memo {
    use super::*;

    fn identity(number: u64) -> Identity {
        Identity {
            device: 1 + number % 3,
            inode: number,
            size_bytes: number * 7,
            mtime_ns: 5,
            ctime_ns: i64::try_from(number).expect("small") + 1,
        }
    }

    fn digest(number: u64) -> BlobDigest {
        BlobDigest::of(&number.to_le_bytes())
    }

    fn open(directory: &Path) -> Memo {
        Memo::open(
            directory.join("digests"),
            directory.join("lock"),
            directory.join(format!("scratch-{:?}", std::thread::current().id())),
        )
    }

    #[test]
    fn digests_are_found_by_the_whole_identity_across_processes() {
        let directory = tempfile::tempdir().expect("a directory");
        let memo = open(directory.path());
        for number in 0..10_000 {
            memo.record_owned(&identity(number), digest(number));
        }
        drop(memo);
        let memo = open(directory.path());
        for number in (0..10_000).rev() {
            let known = identity(number);
            assert_eq!(memo.lookup(&known), Some(digest(number)), "{number}");
            for other in [
                Identity {
                    size_bytes: known.size_bytes + 1,
                    ..known
                },
                Identity {
                    mtime_ns: known.mtime_ns + 1,
                    ..known
                },
                Identity {
                    ctime_ns: known.ctime_ns + 1,
                    ..known
                },
                Identity {
                    inode: known.inode + 100_000,
                    ..known
                },
                Identity {
                    device: known.device + 10,
                    ..known
                },
            ] {
                assert_eq!(memo.lookup(&other), None);
            }
        }
        // A later state of the same file replaces the earlier one, in the file as well.
        let later = Identity {
            ctime_ns: 99,
            ..identity(5)
        };
        memo.record_owned(&later, digest(77));
        assert_eq!(memo.lookup(&later), Some(digest(77)));
        assert_eq!(memo.lookup(&identity(5)), None);
        drop(memo);
        let memo = open(directory.path());
        assert_eq!(memo.lookup(&later), Some(digest(77)));
        assert_eq!(memo.lookup(&identity(5)), None);
    }

    #[test]
    fn what_one_process_learns_another_finds() {
        let directory = tempfile::tempdir().expect("a directory");
        let (one, two) = (open(directory.path()), open(directory.path()));
        for round in 0..3 {
            one.record_owned(&identity(round), digest(round));
            one.flush().expect("written");
            std::thread::sleep(Duration::from_millis(15));
            assert_eq!(two.lookup(&identity(round)), Some(digest(round)));
            two.record_owned(&identity(100 + round), digest(100 + round));
            two.flush().expect("written");
            std::thread::sleep(Duration::from_millis(15));
            assert_eq!(
                one.lookup(&identity(100 + round)),
                Some(digest(100 + round))
            );
        }
        // Many records make the file be written anew under the other's feet.
        for number in 1000..20_000 {
            one.record_owned(&identity(number), digest(number));
        }
        one.flush().expect("written");
        two.record_owned(&identity(200), digest(200));
        two.flush().expect("written");
        drop((one, two));
        let three = open(directory.path());
        for number in [0, 1, 2, 100, 101, 102, 200, 1000, 19_999] {
            assert_eq!(
                three.lookup(&identity(number)),
                Some(digest(number)),
                "{number}"
            );
        }
    }

    #[test]
    fn a_damaged_file_gives_no_wrong_answers_and_works_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("digests");
        let memo = open(directory.path());
        for number in 0..200 {
            memo.record_owned(&identity(number), digest(number));
        }
        memo.flush().expect("written");
        for number in 200..220 {
            memo.record_owned(&identity(number), digest(number));
        }
        drop(memo);
        let good = std::fs::read(&path).expect("bytes");
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state).unwrap_or(0) % below
        };
        for round in 0..400 {
            let mut bytes = good.clone();
            match round % 4 {
                0 => bytes.truncate(random(good.len())),
                1 => {
                    for _ in 0..20 {
                        let at = random(good.len());
                        bytes[at] ^= 1 << random(8);
                    }
                }
                2 => {
                    let at = random(good.len());
                    bytes.splice(at..at, b"some bytes".iter().copied());
                }
                _ => bytes[..24].copy_from_slice(&good[50..74]),
            }
            std::fs::write(&path, &bytes).expect("written");
            let memo = open(directory.path());
            for number in 0..220 {
                let found = memo.lookup(&identity(number));
                assert!(
                    found.is_none() || found == Some(digest(number)),
                    "{round} {number}"
                );
            }
            memo.record_owned(&identity(500), digest(500));
            drop(memo);
            let memo = open(directory.path());
            assert!(!memo.is_damaged(), "{round}");
            assert_eq!(memo.lookup(&identity(500)), Some(digest(500)), "{round}");
        }
    }

    #[test]
    fn a_file_that_changed_just_now_is_not_remembered() {
        let directory = tempfile::tempdir().expect("a directory");
        let memo = open(directory.path());
        let now = disk::now_ns();
        let cases = [
            (now - 1_000_001, false),
            (now - 20_000_001, false),
            (now - 60_000_001, true),
            // Times without a fraction: the clock may tick every two seconds.
            (now / 1_000_000_000 * 1_000_000_000 - 1_000_000_000, false),
            (now / 1_000_000_000 * 1_000_000_000 - 3_000_000_000, true),
        ];
        for (number, (ctime_ns, remembered)) in (0..).zip(cases) {
            let identity = Identity {
                ctime_ns,
                ..identity(number)
            };
            memo.record(&identity, digest(1), now);
            assert_eq!(memo.lookup(&identity).is_some(), remembered, "{number}");
        }
    }
}
