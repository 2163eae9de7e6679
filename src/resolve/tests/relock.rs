//! With a previous lock: what stays, what changes, and how an outdated lock is told.

use std::collections::BTreeSet;

use semver::Version;

use super::registry::{chosen, lock, options, registry, resolve, workspace};
use crate::digest::{Claimed, Sha256};
use crate::manifest::lock::LocatedLock;
use crate::package::{PackageId, PackageName, SourceId};
use crate::resolve::{LetGo, Options, OutOfDate, Precise, ResolveError, fresh, from_lock};

const OLD: &str = "a 1.0.0 | b ^1\n b 1.0.0\n c 1.0.0 | b ^1";
const NEW: &str = "a 1.0.0 | b ^1\n a 1.1.0 | b ^1.1\n b 1.0.0\n b 1.1.0\n b 1.2.0\n c 1.0.0 | b ^1\n c 1.1.0 | b ^1";

fn locked(registry_text: &str, members: &str) -> LocatedLock {
    lock(
        &resolve(registry_text, members).unwrap(),
        &workspace(members),
    )
}

fn id(lock: &LocatedLock, name: &str) -> PackageId {
    let mut found = lock.packages.keys().filter(|id| id.name() == name);
    found.next().unwrap().clone()
}

fn relock(
    registry_text: &str,
    members: &str,
    lock: &LocatedLock,
    options: &Options,
) -> Vec<String> {
    let resolve = fresh(
        &workspace(members),
        Some(lock),
        &mut registry(registry_text),
        options,
    )
    .unwrap();
    chosen(&resolve)
}

fn letting_go(names: &[&str], lock: &LocatedLock, recursive: bool) -> Options {
    Options {
        let_go: LetGo::Packages {
            packages: names.iter().map(|name| id(lock, name)).collect(),
            recursive,
        },
        ..options()
    }
}

#[test]
fn what_fits_stays() {
    let members = "m 0.1.0 | a ^1 | c ^1";
    let lock = locked(OLD, members);
    let all_old = ["a 1.0.0", "b 1.0.0", "c 1.0.0"];
    assert_eq!(relock(NEW, members, &lock, &options()), all_old);
    // A new dependency changes nothing else.
    let with_d = format!("{NEW}\n d 1.0.0 | b ^1");
    assert_eq!(
        relock(&with_d, "m 0.1.0 | a ^1 | c ^1 | d ^1", &lock, &options()),
        ["a 1.0.0", "b 1.0.0", "c 1.0.0", "d 1.0.0"]
    );
    // One that is gone takes along what only it needed.
    assert_eq!(
        relock(NEW, "m 0.1.0 | a ^1", &lock, &options()),
        ["a 1.0.0", "b 1.0.0"]
    );
    // A stricter requirement moves what it has to.
    assert_eq!(
        relock(NEW, "m 0.1.0 | a ^1.1 | c ^1", &lock, &options()),
        ["a 1.1.0", "b 1.2.0", "c 1.0.0"]
    );
    // Withdrawn versions may stay, and only those of the lock.
    let yanked = "a 1.0.0 | b ^1 | yanked\n a 1.1.0 | b ^1 | yanked\n b 1.0.0\n c 1.0.0 | b ^1";
    assert_eq!(relock(yanked, members, &lock, &options()), all_old);
}

#[test]
fn updates_move_what_they_are_told_to() {
    let members = "m 0.1.0 | a ^1 | c ^1";
    let lock = locked(OLD, members);
    let everything = Options {
        let_go: LetGo::Everything,
        ..options()
    };
    assert_eq!(
        relock(NEW, members, &lock, &everything),
        ["a 1.1.0", "b 1.2.0", "c 1.1.0"]
    );
    // `c 1.1.0` is content with the `b` that is there.
    assert_eq!(
        relock(NEW, members, &lock, &letting_go(&["c"], &lock, false)),
        ["a 1.0.0", "b 1.0.0", "c 1.1.0"]
    );
    assert_eq!(
        relock(NEW, members, &lock, &letting_go(&["c"], &lock, true)),
        ["a 1.0.0", "b 1.2.0", "c 1.1.0"]
    );
    // `a 1.1.0` needs a newer `b`.
    assert_eq!(
        relock(NEW, members, &lock, &letting_go(&["a"], &lock, false)),
        ["a 1.1.0", "b 1.2.0", "c 1.0.0"]
    );
    let precise = |to: Version| Options {
        precise: vec![Precise::Version {
            name: PackageName::new("b").unwrap(),
            source: SourceId::default_registry(),
            from: Version::new(1, 0, 0),
            to,
        }],
        ..letting_go(&["b"], &lock, false)
    };
    assert_eq!(
        relock(NEW, members, &lock, &precise(Version::new(1, 1, 0))),
        ["a 1.0.0", "b 1.1.0", "c 1.0.0"]
    );
    let outcome = fresh(
        &workspace(members),
        Some(&lock),
        &mut registry(NEW),
        &precise(Version::new(1, 7, 0)),
    );
    assert!(matches!(outcome, Err(ResolveError::NoSolution(_))));
}

#[test]
fn outdated_locks_say_why() {
    let members = "m 0.1.0 | a ^1 | c ^1";
    let cases: &[(&str, &str, &str)] = &[
        (
            "m 0.1.0 | a ^1.1 | c ^1",
            NEW,
            "`m v0.1.0` depends on `a = \"^1.1\"`, for which it has `1.0.0`",
        ),
        (
            "m 0.1.0 | a ^1 | c ^1 | d ^2",
            NEW,
            "`m v0.1.0` depends on `d = \"^2\"`, for which it has no package of that name",
        ),
        (
            "m 0.1.0 | a ^1",
            NEW,
            "package `c v1.0.0` is in it, but nothing depends on it (any more)",
        ),
        (
            "m 0.1.0 | a ^1 | b ^1 | c ^1",
            NEW,
            "`m v0.1.0` depends on `b = \"^1\"`, for which it has `1.0.0`",
        ),
        (
            "m 0.2.0 | a ^1 | c ^1",
            NEW,
            "package `m` is at version `0.2.0`, but it has version `0.1.0`",
        ),
        (
            "m 0.1.0 | a ^1 | c ^1\n n 0.1.0",
            NEW,
            "package `n v0.1.0` is not in it",
        ),
        (
            "m 0.1.0 | a ^1 +fast | c ^1",
            NEW,
            "`a v1.0.0` in it has no feature `fast`, which is asked for",
        ),
        (
            "m 0.1.0 | a ^1 | c ^1\n other b 1.0.0\n patch b",
            NEW,
            "the patch of `b` is not reflected in it",
        ),
        (
            "m 0.1.0 | a ^1 | c ^1",
            "a 1.0.0 | b ^1\n c 1.0.0 | b ^1",
            "package `b v1.0.0` is in it, but not in",
        ),
        (
            "m 0.1.0 | a ^1 | c ^1",
            "a 1.0.0 | b ^1\n b 1.0.0\n c 1.0.0",
            "it says that `c v1.0.0` depends on `b v1.0.0`, which it does not (any more)",
        ),
        (
            "m 0.1.0 | a ^1 | c ^1",
            "a 1.0.0 | b ^1 | links z\n b 1.0.0 | links z\n c 1.0.0 | b ^1",
            "it has both `a v1.0.0` and `b v1.0.0`, which link the native library `z`",
        ),
    ];
    let lock = locked(OLD, members);
    for (members, registry_text, reason) in cases {
        let outcome = from_lock(&workspace(members), &lock, &mut registry(registry_text)).unwrap();
        let outdated = outcome.expect_err(reason);
        assert!(
            outdated.to_string().starts_with(reason),
            "{outdated}\nbut expected {reason}"
        );
    }
    assert!(
        from_lock(&workspace(members), &lock, &mut registry(NEW))
            .unwrap()
            .is_ok()
    );
}

#[test]
fn two_compatible_versions_are_one_too_many() {
    let members = "m 0.1.0 | a ^1 | c ^1";
    let mut lock = locked(OLD, members);
    let other = PackageId::new(
        PackageName::new("b").unwrap(),
        Version::new(1, 1, 0),
        SourceId::default_registry(),
    );
    let c = id(&lock, "c");
    lock.packages.insert(other.clone(), Default::default());
    if let Some(package) = lock.packages.get_mut(&c) {
        package.dependencies = vec![other];
    }
    let outcome = from_lock(&workspace(members), &lock, &mut registry(NEW)).unwrap();
    assert!(
        matches!(outcome, Err(OutOfDate::Compatible { .. })),
        "{outcome:?}"
    );
}

#[test]
fn another_checksum_than_the_locks_is_an_error() {
    let members = "m 0.1.0 | a ^1";
    let mut lock = locked("a 1.0.0", members);
    let checksum =
        |byte: char| -> Claimed<Sha256> { Claimed(byte.to_string().repeat(64).parse().unwrap()) };
    let a = id(&lock, "a");
    let mut served = registry("a 1.0.0");
    for list in served.packages.values_mut() {
        for summary in list {
            std::sync::Arc::make_mut(summary).checksum = Some(checksum('a'));
        }
    }
    let outcome = from_lock(&workspace(members), &lock, &mut served).unwrap();
    assert!(matches!(outcome, Err(OutOfDate::ChecksumMissing { .. })));
    if let Some(package) = lock.packages.get_mut(&a) {
        package.checksum = Some(checksum('b'));
    }
    let changed = |error: ResolveError| matches!(error, ResolveError::ChecksumChanged { .. });
    let workspace = workspace(members);
    assert!(changed(
        from_lock(&workspace, &lock, &mut served).unwrap_err()
    ));
    assert!(changed(
        fresh(&workspace, Some(&lock), &mut served, &options()).unwrap_err()
    ));
}

#[test]
fn a_patch_that_was_added_takes_over() {
    let lock = locked("a 1.2.0\n b 1.0.0 | a ^1", "m 0.1.0 | b ^1");
    let members = "m 0.1.0 | b ^1\n other a 1.2.0\n patch a";
    let workspace = workspace(members);
    let mut registry = registry("a 1.2.0\n b 1.0.0 | a ^1");
    let resolve = fresh(&workspace, Some(&lock), &mut registry, &options()).unwrap();
    assert_eq!(chosen(&resolve), ["b 1.0.0"]);
    let names: BTreeSet<&str> = resolve
        .packages
        .keys()
        .map(|id| id.name().as_str())
        .collect();
    assert_eq!(names, BTreeSet::from(["a", "b", "m"]));
}
