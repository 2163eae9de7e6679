//! Taking in what actions leave and what users edit.

use super::*;

fn capture(
    fixture: &Fixture,
    fill: impl FnOnce(&Path),
    limits: &CaptureLimits,
) -> Result<TreeRef, StoreError> {
    let work = fixture.store.work_dir().expect("a directory");
    let out = work.path().join("out");
    std::fs::create_dir(&out).expect("a directory");
    fill(&out);
    fixture.store.capture_directory(&out, limits)
}

#[test]
fn what_an_action_may_not_leave_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    type Case = (fn(&Path), Refusal);
    let limits = CaptureLimits {
        entries: 20,
        depth: 4,
        path_bytes: 300,
        file_bytes: 1000,
        total_bytes: 2500,
    };
    let cases: Vec<Case> = vec![
        (
            |out| {
                let status = std::process::Command::new("mkfifo")
                    .arg(out.join("d"))
                    .status();
                assert!(status.expect("mkfifo").success());
            },
            Refusal::Fifo,
        ),
        (
            |out| {
                // Left behind by the listener that made it.
                drop(std::os::unix::net::UnixListener::bind(out.join("s")).expect("a socket"));
            },
            Refusal::Socket,
        ),
        (
            |out| {
                fill(out, &[("f", "")]);
                set_mode(&out.join("f"), 0o4755);
            },
            Refusal::SetId,
        ),
        (
            |out| {
                fill(out, &[("f", "")]);
                set_mode(&out.join("f"), 0o2644);
            },
            Refusal::SetId,
        ),
        (
            |out| {
                let name = std::ffi::OsStr::from_bytes(b"\xff");
                std::fs::write(out.join(name), "").expect("written");
            },
            Refusal::NotUtf8,
        ),
        (
            |out| {
                let target = std::ffi::OsStr::from_bytes(b"\xff");
                std::os::unix::fs::symlink(target, out.join("l")).expect("a link");
            },
            Refusal::NotUtf8,
        ),
        (
            |out| {
                fill(
                    out,
                    &[(&format!("{}/{}", "x".repeat(200), "y".repeat(200)), "")],
                )
            },
            Refusal::TooLong(300),
        ),
        (
            |out| fill(out, &[("l@", &"x".repeat(301))]),
            Refusal::TooLong(300),
        ),
        (|out| fill(out, &[("1/2/3/4/", "")]), Refusal::TooDeep(4)),
        (
            |out| {
                for number in 0..21 {
                    fill(out, &[(&number.to_string(), "")]);
                }
            },
            Refusal::TooMany(20),
        ),
        (
            |out| fill(out, &[("f", &"x".repeat(1001))]),
            Refusal::FileTooLarge(1000),
        ),
        (
            |out| {
                let text = "x".repeat(1000);
                fill(out, &[("1", &text), ("2", &text), ("d/3", &text)]);
            },
            Refusal::TotalTooLarge(2500),
        ),
        (
            |out| {
                std::fs::remove_dir(out).expect("removed");
                std::os::unix::fs::symlink("/etc", out).expect("a link");
            },
            Refusal::NotADirectory,
        ),
    ];
    for (fill, refusal) in cases {
        let fixture = Fixture::new();
        match capture(&fixture, fill, &limits) {
            Err(error @ StoreError::Refused { .. }) => {
                assert!(error.help().is_some());
                let StoreError::Refused { why, path } = error else {
                    continue;
                };
                assert_eq!(why, refusal, "{path}");
            }
            other => panic!("{refusal:?}: {other:?}"),
        }
        assert_eq!(listing(&fixture.store.session), [], "{refusal:?}");
    }
}

#[test]
fn what_was_locked_is_opened_and_links_are_not_followed() {
    let fixture = Fixture::new();
    let victim = fixture.source("victim", &[("secret", "s")]);
    let tree = capture(
        &fixture,
        |out| {
            fill(out, &[("d/f", "F"), ("g*", "G"), ("e/", "")]);
            std::os::unix::fs::symlink(&victim, out.join("l")).expect("a link");
            set_mode(&out.join("d/f"), 0);
            set_mode(&out.join("d"), 0);
            set_mode(&out.join("g"), 0o100);
            set_mode(&out.join("e"), 0o7000);
            set_mode(out, 0o500);
        },
        &CaptureLimits::default(),
    )
    .expect("captured");
    let path = fixture.store.materialize(&tree).expect("there");
    let text = victim.to_str().expect("UTF-8");
    assert_eq!(
        listing(&path),
        pairs(&[
            ("d/", ""),
            ("d/f", "F"),
            ("e/", ""),
            ("g*", "G"),
            ("l@", text)
        ])
    );
    assert_eq!(listing(&victim), pairs(&[("secret", "s")]));
}

#[test]
fn a_file_with_a_name_outside_is_copied() {
    let fixture = Fixture::new();
    let keep = fixture.store.work_dir().expect("a directory");
    let outside = keep.path().join("outside");
    let tree = capture(
        &fixture,
        |out| {
            fill(out, &[("a", "A"), ("i", "I")]);
            std::fs::hard_link(out.join("a"), &outside).expect("a link");
            std::fs::hard_link(out.join("i"), out.join("j")).expect("a link");
        },
        &CaptureLimits::default(),
    )
    .expect("captured");
    std::fs::write(&outside, "changed").expect("written");
    let fixture = fixture.reopened();
    let path = fixture.store.verify_tree(&tree).expect("intact");
    assert_eq!(listing(&path), pairs(&[("a", "A"), ("i", "I"), ("j", "I")]));
}

#[test]
fn one_file_is_captured_early_without_following_links() {
    let fixture = Fixture::new();
    let out = fixture.source(
        "out",
        &[
            ("d/f", "F"),
            ("x*", "X"),
            ("l@", "d/f"),
            ("m@", "d"),
            ("n@", "/dev/zero"),
        ],
    );
    let limits = CaptureLimits {
        file_bytes: 1000,
        ..CaptureLimits::default()
    };
    let take = |path: &str| fixture.store.capture_file(&out, &rel(path), &limits);
    assert_eq!(take("d/f").expect("captured"), (BlobRef::of(b"F"), false));
    assert_eq!(take("x").expect("captured"), (BlobRef::of(b"X"), true));
    std::fs::write(out.join("large"), vec![0; 1001]).expect("written");
    for (path, refusal) in [
        ("l", Refusal::NotAFile),
        ("n", Refusal::NotAFile),
        ("d", Refusal::NotAFile),
        ("m/f", Refusal::NotADirectory),
        ("x/f", Refusal::NotADirectory),
        ("large", Refusal::FileTooLarge(1000)),
    ] {
        match take(path) {
            Err(StoreError::Refused { why, .. }) => assert_eq!(why, refusal, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
    assert!(matches!(take("nothing"), Err(StoreError::Io { .. })));
}

#[test]
fn a_snapshot_follows_links_within_the_workspace_only() {
    let fixture = Fixture::new();
    let workspace = fixture.source(
        "workspace",
        &[
            ("LICENSE", "free"),
            ("shared/data/1", "one"),
            ("p/src/lib.rs", "lib"),
            ("p/src/run.sh*", "run"),
            ("p/target/x", "excluded"),
            ("p/LICENSE@", "../LICENSE"),
            ("p/data@", "../shared/data"),
            ("p/inner@", "src/lib.rs"),
            ("p/passwd@", "/etc/passwd"),
            ("p/out@", "../../outside"),
            ("p/gone@", "../gone"),
            ("p/up@", ".."),
            ("p/src/self@", "."),
        ],
    );
    fixture.source("outside", &[("secret", "s")]);
    let status = std::process::Command::new("mkfifo")
        .arg(workspace.join("p/fifo"))
        .status();
    assert!(status.expect("mkfifo").success());
    let snapshot = fixture
        .store
        .snapshot(
            &workspace.join("p"),
            &|path, directory| path == "target" && directory,
            &workspace,
        )
        .expect("a snapshot");
    let path = fixture.store.materialize(&snapshot.tree).expect("made");
    assert_eq!(
        listing(&path),
        pairs(&[
            ("LICENSE", "free"),
            ("data/", ""),
            ("data/1", "one"),
            ("inner@", "src/lib.rs"),
            ("src/", ""),
            ("src/lib.rs", "lib"),
            ("src/run.sh*", "run"),
            ("src/self@", "."),
        ])
    );
    let left_out: Vec<_> = snapshot
        .left_out
        .iter()
        .map(|left_out| (left_out.path.as_str(), left_out.why.clone()))
        .collect();
    let target = |target: &str| target.to_owned();
    assert_eq!(
        left_out,
        [
            ("fifo", WhyLeftOut::Special),
            (
                "gone",
                WhyLeftOut::Dangling {
                    target: target("../gone")
                }
            ),
            (
                "out",
                WhyLeftOut::LeadsOutside {
                    target: target("../../outside")
                }
            ),
            (
                "passwd",
                WhyLeftOut::LeadsOutside {
                    target: target("/etc/passwd")
                }
            ),
            (
                "up",
                WhyLeftOut::Cycle {
                    target: target("..")
                }
            ),
        ]
    );
    // The user's files were copied, not linked.
    let source = std::fs::metadata(workspace.join("p/src/lib.rs")).expect("metadata");
    assert_eq!(source.nlink(), 1);
}

#[test]
fn a_snapshot_reads_what_changed_and_mends_what_was_lost() {
    let fixture = Fixture::new();
    let source = fixture.source("s", &[("a", "A"), ("d/b", "B")]);
    // The racy rule: files that were written just now are read again.
    let old = || std::thread::sleep(std::time::Duration::from_millis(60));
    old();
    let take = |store: &Store| {
        store
            .snapshot(&source, &|_, _| false, &source)
            .expect("a snapshot")
    };
    let first = take(&fixture.store);
    assert_eq!((first.files, first.read), (2, 2));
    let fixture = fixture.reopened();
    let again = take(&fixture.store);
    assert_eq!((again.tree, again.read), (first.tree, 0));

    std::fs::write(source.join("d/b"), "C").expect("written");
    let changed = take(&fixture.store);
    assert_ne!(changed.tree, first.tree);
    assert_eq!(changed.read, 1);
    set_mode(&source.join("a"), 0o755);
    assert_ne!(take(&fixture.store).tree, changed.tree);
    set_mode(&source.join("a"), 0o644);

    // Content is lost from the store while sources stay as they are.
    old();
    let changed = take(&fixture.store);
    let path = fixture.store.materialize(&changed.tree).expect("made");
    let fixture = fixture.reopened();
    damage(&path.join("d/b"));
    assert!(
        fixture
            .store
            .materialize(&changed.tree)
            .is_err_and(|error| error.is_miss())
    );
    let changed = take(&fixture.store);
    let path = fixture.store.materialize(&changed.tree).expect("made");
    assert_eq!(
        listing(&path),
        pairs(&[("a", "A"), ("d/", ""), ("d/b", "C")])
    );
}

#[test]
fn a_file_written_twice_within_a_tick_is_seen_twice() {
    let fixture = Fixture::new();
    let path = fixture.source("s", &[("f", "0")]).join("f");
    for round in 0..300 {
        let text = (round % 10).to_string();
        std::fs::write(&path, &text).expect("written");
        assert_eq!(
            fixture.store.digest_file(&path).expect("readable"),
            BlobRef::of(text.as_bytes())
        );
    }
}
