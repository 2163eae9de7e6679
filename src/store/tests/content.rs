//! Blobs, trees and results: what comes out is what went in, or nothing.

use super::*;
use crate::digest::ActionKey;
use crate::reapi;
use crate::tree::TreeBuilder;

#[test]
fn bytes_come_back_and_equal_bytes_are_kept_once() {
    let fixture = Fixture::new();
    for text in ["", "a", &"x".repeat(100_000)] {
        let blob = fixture.store.put_bytes(text.as_bytes()).expect("stored");
        assert_eq!(blob, BlobRef::of(text.as_bytes()));
        assert_eq!(
            fixture.store.put_bytes(text.as_bytes()).expect("stored"),
            blob
        );
        let read = fixture.store.read_blob(&blob).expect("readable");
        assert_eq!(read.as_deref(), Some(text.as_bytes()));
        for executable in [false, true] {
            let path = fixture
                .store
                .blob_path(&blob, executable)
                .expect("readable")
                .expect("there");
            let mode = std::fs::metadata(&path).expect("metadata").mode() & 0o7777;
            assert_eq!(mode, if executable { 0o755 } else { 0o644 });
        }
    }
    // The empty blob is always there, also where nobody stored it.
    let other = Fixture::new();
    assert!(other.store.has_blob(&BlobRef::of(b"")));
    for executable in [false, true] {
        let path = other.store.blob_path(&BlobRef::of(b""), executable);
        assert!(path.expect("readable").is_some());
    }
    let absent = BlobRef::of(b"never stored");
    assert_eq!(fixture.store.read_blob(&absent).expect("readable"), None);
    assert_eq!(fixture.store.take_events(), []);
}

#[test]
fn files_are_moved_or_copied_in_and_links_refused() {
    let fixture = Fixture::new();
    let source = fixture.source("s", &[("a*", "A"), ("b", "B"), ("c", "C"), ("l@", "a")]);
    let put = |name: &str, ingest, executable| {
        fixture
            .store
            .put_file(&source.join(name), ingest, executable)
    };
    assert_eq!(
        put("a", Ingest::Copy, true).expect("stored"),
        BlobRef::of(b"A")
    );
    assert!(source.join("a").exists());
    assert_eq!(
        put("b", Ingest::Move, false).expect("stored"),
        BlobRef::of(b"B")
    );
    assert!(!source.join("b").exists());
    // A file with a second name must not be shared with whoever holds that.
    std::fs::hard_link(source.join("c"), source.join("d")).expect("a link");
    let blob = put("c", Ingest::Move, false).expect("stored");
    std::fs::write(source.join("d"), "changed").expect("written");
    assert_eq!(
        fixture.store.read_blob(&blob).expect("readable"),
        Some(b"C".to_vec())
    );
    put("l", Ingest::Copy, false).expect_err("a link");
    put(".", Ingest::Copy, false).expect_err("a directory");
    assert_eq!(fixture.store.take_events(), []);
}

#[test]
fn a_damaged_blob_is_reported_discarded_and_made_again() {
    // Small ones are hashed at each use, large ones are known by identity: neither may fool the store.
    for size in [10, 1_000_000] {
        let text = vec![b'x'; size];
        let mut fixture = Fixture::new();
        #[expect(clippy::type_complexity, reason = "a table")]
        let uses: [(&str, &dyn Fn(&Store, &BlobRef) -> bool); 3] = [
            ("read", &|store, blob| {
                store.read_blob(blob).expect("readable").is_some()
            }),
            ("open", &|store, blob| {
                store.open_blob(blob).expect("readable").is_some()
            }),
            ("path", &|store, blob| {
                store.blob_path(blob, false).expect("readable").is_some()
            }),
        ];
        for (name, there) in uses {
            let blob = fixture.store.put_bytes(&text).expect("stored");
            assert!(there(&fixture.store, &blob));
            let path = fixture.store.blob_file(&blob.digest, false);
            damage(&path);
            assert!(!there(&fixture.store, &blob), "{name} {size}");
            assert_eq!(
                fixture.store.take_events(),
                [StoreEvent::CorruptBlob {
                    digest: blob.digest,
                    path
                }]
            );
            assert!(!fixture.store.has_blob(&blob));
            fixture.store.put_bytes(&text).expect("stored");
            assert!(there(&fixture.store, &blob));
            assert_eq!(fixture.store.take_events(), []);
            fixture = fixture.reopened();
        }
        // Cut short, and with a mode that forbids reading.
        let blob = fixture.store.put_bytes(&text).expect("stored");
        let path = fixture.store.blob_file(&blob.digest, false);
        set_mode(&path, 0);
        assert!(fixture.store.open_blob(&blob).expect("readable").is_some());
        std::fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(1))
            .expect("cut short");
        assert!(fixture.store.open_blob(&blob).expect("readable").is_none());
    }
}

const ENTRIES: &[(&str, &str)] = &[
    ("a/", ""),
    ("a/empty/", ""),
    ("a/tool*", "#!"),
    ("a/x", "same"),
    ("a/y", "same"),
    ("b@", "a/x"),
    ("gone@", "/nowhere"),
    ("none", ""),
    ("ü", "same"),
];

#[test]
fn a_tree_is_written_out_as_it_was_taken_in() {
    let fixture = Fixture::new();
    let tree = fixture.captured(ENTRIES);
    let path = fixture.store.materialize(&tree).expect("there");
    assert_eq!(listing(&path), pairs(ENTRIES));
    // Equal content is one file, in the blobs too; times are the same everywhere.
    let inode = |path: PathBuf| std::fs::metadata(path).expect("metadata").ino();
    let blob = fixture.store.blob_file(&BlobDigest::of(b"same"), false);
    for name in ["a/x", "a/y", "ü"] {
        assert_eq!(inode(path.join(name)), inode(blob.clone()), "{name}");
    }
    for entry in walkdir::WalkDir::new(&path) {
        let metadata = entry.expect("an entry").metadata().expect("metadata");
        assert_eq!(
            (metadata.mtime(), metadata.mtime_nsec()),
            (disk::MTIME_SECONDS, 0)
        );
    }

    let copy = fixture.directory.path().join("copy");
    fixture
        .store
        .materialize_copy(&tree, &copy)
        .expect("copied");
    assert_eq!(listing(&copy), pairs(ENTRIES));
    assert_ne!(inode(copy.join("a/x")), inode(path.join("a/x")));

    // Without the directory, it is made from blobs.
    let fixture = fixture.reopened();
    disk::remove_tree(&path).expect("removed");
    assert_eq!(fixture.store.materialize(&tree).expect("made"), path);
    assert_eq!(listing(&path), pairs(ENTRIES));
    assert_eq!(fixture.captured(ENTRIES), tree);
    assert_eq!(listing(&path), pairs(ENTRIES));
}

#[test]
fn a_composed_tree_is_written_out() {
    let fixture = Fixture::new();
    let inner = fixture.captured(&[("f", "F")]);
    let mut builder = TreeBuilder::new();
    let tool = fixture.store.put_bytes(b"tool").expect("stored");
    builder
        .file(&rel("bin/tool"), tool, true)
        .and_then(|builder| builder.subtree(&rel("in/ner"), inner))
        .and_then(|builder| builder.symlink(&rel("l"), "in/ner/f"))
        .and_then(|builder| builder.directory(&rel("tmp")))
        .expect("no clash");
    let tree = fixture.store.put_tree(&builder.encode()).expect("stored");
    let path = fixture.store.materialize(&tree).expect("made");
    assert_eq!(
        listing(&path),
        pairs(&[
            ("bin/", ""),
            ("bin/tool*", "tool"),
            ("in/", ""),
            ("in/ner/", ""),
            ("in/ner/f", "F"),
            ("l@", "in/ner/f"),
            ("tmp/", ""),
        ])
    );
    let mut wanting = TreeBuilder::new();
    wanting
        .file(&rel("f"), BlobRef::of(b"not there"), false)
        .expect("no clash");
    let tree = fixture.store.put_tree(&wanting.encode()).expect("stored");
    let error = fixture.store.materialize(&tree).expect_err("a miss");
    assert!(error.is_miss(), "{error}");
}

#[test]
fn a_tree_that_somebody_touched_is_discarded_and_made_again() {
    type Change = (&'static str, &'static str, fn(&Path));
    let changes: [Change; 9] = [
        ("content", "a/x", |root| damage(&root.join("a/x"))),
        ("another file", "a", |root| {
            std::fs::write(root.join("a/new"), "").expect("written");
        }),
        ("a file less", "a", |root| {
            std::fs::remove_file(root.join("a/y")).expect("removed");
        }),
        ("another link", "b", |root| {
            std::fs::remove_file(root.join("b")).expect("removed");
            std::os::unix::fs::symlink("a/y", root.join("b")).expect("a link");
        }),
        ("a link for a file", "none", |root| {
            std::fs::remove_file(root.join("none")).expect("removed");
            std::os::unix::fs::symlink("a/y", root.join("none")).expect("a link");
        }),
        ("a link for a directory", "a/empty", |root| {
            std::fs::remove_dir(root.join("a/empty")).expect("removed");
            std::os::unix::fs::symlink("/", root.join("a/empty")).expect("a link");
        }),
        ("a hidden file in an empty directory", "a/empty", |root| {
            std::fs::write(root.join("a/empty/.x"), "").expect("written");
        }),
        ("more content", "a/x", |root| {
            std::fs::write(root.join("a/x"), "same and more").expect("written");
        }),
        ("nothing left", "", |root| {
            std::fs::remove_dir_all(root).expect("removed");
        }),
    ];
    for (what, entry, change) in changes {
        let fixture = Fixture::new();
        let tree = fixture.captured(ENTRIES);
        let path = fixture.store.materialize(&tree).expect("there");
        let fixture = fixture.reopened();
        change(&path);
        match fixture.store.verify_tree(&tree) {
            Err(StoreError::CorruptTree { entry: found, .. }) => assert_eq!(found, entry, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
        assert!(!path.exists(), "{what}");
        assert!(!fixture.store.take_events().is_empty(), "{what}");
        let made = fixture.store.materialize(&tree);
        if ["content", "more content"].contains(&what) {
            // The blob was the same file. The miss is noticed, and capturing again mends it.
            assert!(made.is_err_and(|error| error.is_miss()), "{what}");
            assert_eq!(fixture.captured(ENTRIES), tree);
        }
        let path = fixture.store.materialize(&tree).expect("made");
        assert_eq!(listing(&path), pairs(ENTRIES), "{what}");
    }
}

#[test]
fn modes_and_times_that_somebody_changed_are_mended() {
    let fixture = Fixture::new();
    let tree = fixture.captured(ENTRIES);
    let path = fixture.store.materialize(&tree).expect("there");
    let fixture = fixture.reopened();
    set_mode(&path.join("a/x"), 0o4000);
    set_mode(&path.join("a/tool"), 0o644);
    set_mode(&path.join("a"), 0o700);
    std::fs::File::open(path.join("none"))
        .and_then(|file| file.set_modified(std::time::SystemTime::now()))
        .expect("a time");
    fixture.store.verify_tree(&tree).expect("mended");
    assert_eq!(listing(&path), pairs(ENTRIES));
    let fixture = fixture.reopened();
    fixture.store.verify_tree(&tree).expect("intact");
    assert_eq!(fixture.store.take_events(), []);
}

#[test]
fn a_tree_without_its_manifest_or_memory_is_looked_through() {
    let fixture = Fixture::new();
    let tree = fixture.captured(ENTRIES);
    let manifest = fixture.store.manifest_path(&tree.digest);
    for loss in ["manifest", "half a manifest", "digests", "half of digests"] {
        let path = fixture.store.tree_path(&tree.digest);
        let _ = fixture.store.flush();
        let lost = if loss.ends_with("manifest") {
            manifest.clone()
        } else {
            fixture.home().join("digests")
        };
        let bytes = std::fs::read(&lost).expect("bytes");
        if loss.starts_with("half") {
            std::fs::write(&lost, &bytes[..bytes.len() / 2]).expect("written");
        } else {
            std::fs::remove_file(&lost).expect("removed");
        }
        let other = Store::open(&fixture.home()).expect("a store");
        assert_eq!(other.materialize(&tree).expect("there"), path, "{loss}");
        assert!(manifest.exists(), "{loss}");
        assert_eq!(listing(&path), pairs(ENTRIES), "{loss}");
    }
}

#[test]
fn an_adopted_tree_has_no_blobs_until_they_are_asked_for() {
    let fixture = Fixture::new();
    let work = fixture.store.work_dir().expect("a directory");
    let unpacked = work.path().join("crate");
    fill(&unpacked, &[("src/lib.rs", "lib"), ("run*", "run")]);
    let tree = fixture
        .store
        .adopt_tree(&unpacked, &CaptureLimits::default())
        .expect("adopted");
    assert!(!unpacked.exists());
    assert!(fixture.store.has_tree(&tree));
    let blob = BlobRef::of(b"lib");
    assert!(!fixture.store.has_blob(&blob));
    let mut text = String::new();
    let mut file = fixture
        .store
        .open_tree_file(&tree, &rel("src/lib.rs"))
        .expect("a file");
    std::io::Read::read_to_string(&mut file, &mut text).expect("text");
    assert_eq!(text, "lib");
    // A tree that is composed of it has its files all the same.
    let mut builder = TreeBuilder::new();
    builder.subtree(&rel("in/side"), tree).expect("no clash");
    let composed = fixture.store.put_tree(&builder.encode()).expect("stored");
    let path = fixture.store.materialize(&composed).expect("made");
    assert_eq!(
        listing(&path.join("in/side")),
        pairs(&[("run*", "run"), ("src/", ""), ("src/lib.rs", "lib")])
    );
    assert!(!fixture.store.has_blob(&blob));
    fixture.store.link_blobs_of_tree(&tree).expect("linked");
    assert!(fixture.store.has_blob(&blob));
    let closed = fixture
        .store
        .read_tree(&tree)
        .expect("readable")
        .expect("there");
    assert_eq!(closed.root(), tree);
    assert_eq!(closed.files().len(), 2);
}

#[test]
fn results_are_recorded_after_what_they_name_and_kept_apart() {
    let fixture = Fixture::new();
    let key = ActionKey::from_bytes([1; 32]);
    let tree = fixture.captured(&[("f", "F")]);
    let result = reapi::ActionResult {
        exit_code: 0,
        output_directories: vec![reapi::OutputDirectory {
            path: "out".into(),
            root_directory_digest: Some(tree.into()),
            ..reapi::OutputDirectory::default()
        }],
        stdout_digest: Some(BlobRef::of(b"printed").into()),
        ..reapi::ActionResult::default()
    };
    let store = &fixture.store;
    let put = || store.put_action_result(Namespace::Daily, &key, &result);
    assert!(matches!(
        put(),
        Err(StoreError::IncompleteResult { digest, .. }) if digest == BlobDigest::of(b"printed").to_hex()
    ));
    let printed = store.put_bytes(b"printed").expect("stored");
    put().expect("recorded");
    let get = |namespace| store.action_result(namespace, &key).expect("readable");
    assert_eq!(get(Namespace::Daily), Some(result.clone()));
    assert_eq!(get(Namespace::Hermetic), None);

    // What it names is gone: a miss.
    let path = store.blob_file(&printed.digest, false);
    std::fs::remove_file(path).expect("removed");
    assert_eq!(get(Namespace::Daily), None);
    store.put_bytes(b"printed").expect("stored");
    assert_eq!(get(Namespace::Daily), Some(result));
    assert_eq!(store.take_events(), []);

    // A broken record: reported, a miss.
    damage(
        &store
            .home
            .join("actions/daily")
            .join("01")
            .join("01".repeat(31)),
    );
    assert_eq!(get(Namespace::Daily), None);
    assert_eq!(store.take_events().len(), 1);
    assert_eq!(get(Namespace::Daily), None);
    assert_eq!(store.take_events(), []);
}

#[test]
fn artifacts_are_exported_as_private_files_and_never_through_a_link() {
    let fixture = Fixture::new();
    let root = fixture.directory.path().join("target");
    let blob = fixture.store.put_bytes(b"program").expect("stored");
    let export = |path: &str| fixture.store.export(&blob, true, &root, &rel(path));
    assert_eq!(export("release/p").expect("exported"), Exported::Written);
    let dest = root.join("release/p");
    assert_eq!(
        listing(&root),
        pairs(&[("release/", ""), ("release/p*", "program")])
    );
    assert_eq!(export("release/p").expect("exported"), Exported::Unchanged);
    assert_eq!(std::fs::metadata(&dest).expect("metadata").nlink(), 1);
    std::fs::write(&dest, "Program").expect("written");
    assert_eq!(export("release/p").expect("exported"), Exported::Written);
    assert_eq!(
        fixture.store.read_blob(&blob).expect("readable"),
        Some(b"program".to_vec())
    );

    // A link in the file's place is replaced, one on the way is an error; what they lead to stays as it is.
    let victim = fixture.source("victim", &[("p", "mine")]);
    std::os::unix::fs::symlink(victim.join("p"), root.join("l")).expect("a link");
    std::os::unix::fs::symlink(&victim, root.join("debug")).expect("a link");
    assert_eq!(export("l").expect("exported"), Exported::Written);
    assert!(matches!(
        export("debug/p"),
        Err(StoreError::SymlinkInTheWay { component, .. }) if component == "debug"
    ));
    assert_eq!(listing(&victim), pairs(&[("p", "mine")]));

    let tree = fixture.captured(&[("d/p*", "other")]);
    fixture
        .store
        .export_from_tree(&tree, &rel("d/p"), &root, &rel("release/p"))
        .expect("exported");
    assert_eq!(std::fs::read_to_string(&dest).expect("text"), "other");
    let error = fixture
        .store
        .export(&BlobRef::of(b"not there"), false, &root, &rel("x"))
        .expect_err("a miss");
    assert!(error.is_miss());
}

/// Deeper than a path may be long, than there are descriptors, and than a stack of one call per level.
#[test]
fn what_is_removed_may_be_as_deep_as_it_likes() {
    use rustix::fs::{CWD, Mode, OFlags};
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join("deep");
    std::fs::create_dir(&root).expect("made");
    std::fs::write(root.join(".kiln-0"), "in the way").expect("written");
    std::os::unix::fs::symlink("/", root.join("link")).expect("linked");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::openat(CWD, &root, flags, Mode::empty()).expect("opened");
    for _ in 0..3000 {
        rustix::fs::mkdirat(&at, "d", Mode::from_raw_mode(0o755)).expect("made");
        rustix::fs::mkdirat(&at, "e", Mode::from_raw_mode(0o755)).expect("made");
        rustix::fs::mkdirat(&at, "e/locked", Mode::from_raw_mode(0o000)).expect("made");
        rustix::fs::chmodat(
            &at,
            "e",
            Mode::from_raw_mode(0),
            rustix::fs::AtFlags::empty(),
        )
        .expect("locked");
        at = rustix::fs::openat(&at, "d", flags, Mode::empty()).expect("opened");
    }
    drop(at);
    disk::remove_tree(&root).expect("removed");
    assert!(!root.exists());
    disk::remove_tree(&root).expect("absent is fine");
    std::os::unix::fs::symlink(directory.path(), &root).expect("linked");
    disk::remove_tree(&root).expect("of a link, the link goes");
    assert!(directory.path().exists() && root.symlink_metadata().is_err());
}
