//! The default registry, for real, and what cargo makes of the same crates.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use kiln::manifest::lock::{Lock, LockedId};
use kiln::package::{PackageId, PackageName, SourceId};
use kiln::registry::{Client, Network, NetworkConfig, Quiet, Registry, RegistryError, Roots};
use kiln::source::{Fetched, Sources, Wanted};
use kiln::store::Store;
use support::worker;

fn client(home: &Path, offline: bool) -> Client {
    let network = Network::new(NetworkConfig {
        offline,
        ..NetworkConfig::default()
    })
    .expect("an event loop");
    let registry = Registry::of_source(&SourceId::default_registry()).expect("a registry");
    Client::new(Arc::new(network), registry, &home.join("index")).expect("a client")
}

fn name(name: &str) -> PackageName {
    PackageName::new(name).expect("a name")
}

#[test]
fn packages_that_everybody_knows() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let names: Vec<_> = [
        "serde",
        "libc",
        "syn",
        "a",
        "cc",
        "rand",
        "no-such-package-of-kiln",
    ]
    .into_iter()
    .map(name)
    .collect();
    let found = client(home.path(), false)
        .summaries(&names, &mut Quiet)
        .expect("the registry answers");
    for (name, index) in &found {
        assert_eq!(index.exists, *name != "no-such-package-of-kiln", "{name}");
        assert_eq!(index.unusable, [], "{name}");
    }
    assert!(found[&names[0]].offers.len() > 300);
    let again = client(home.path(), false)
        .summaries(&names, &mut Quiet)
        .expect("the registry answers");
    let words = |found| format!("{found:?}");
    assert!(words(&found) == words(&again));
    let cached = client(home.path(), true)
        .summaries(&names[..6], &mut Quiet)
        .expect("all are cached");
    assert_eq!(cached.len(), 6);
    let near = client(home.path(), false)
        .near_names(&name("serde-json"), &mut Quiet)
        .expect("the registry answers");
    assert_eq!(near, ["serde_json"]);
}

#[test]
fn a_server_is_trusted_only_by_the_authorities_that_were_named() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/other-ca.pem");
    let ask = |roots| {
        let network = Network::new(NetworkConfig {
            roots,
            ..NetworkConfig::default()
        })
        .expect("an event loop");
        let registry = Registry::of_source(&SourceId::default_registry()).expect("a registry");
        Client::new(Arc::new(network), registry, home.path())
            .expect("a client")
            .summaries(&[name("a")], &mut Quiet)
    };
    let start = std::time::Instant::now();
    let error = ask(Roots::Only(vec![other.clone()])).expect_err("not signed by that one");
    assert!(
        matches!(error, RegistryError::Certificate { .. }),
        "{error}"
    );
    assert!(error.help().expect("help").contains("CARGO_HTTP_CAINFO"));
    // It is no error in passing, so nothing is tried again.
    assert!(start.elapsed().as_secs() < 5);
    ask(Roots::SystemAnd(vec![other])).expect("the system's are trusted, too");
    for (file, why) in [
        ("Cargo.toml", "no certificate"),
        ("nonexistent", "No such file"),
    ] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let error = ask(Roots::Only(vec![file])).expect_err(why);
        let cause = std::error::Error::source(&error)
            .expect("a cause")
            .to_string();
        assert!(cause.contains(why), "{error}: {cause}");
    }
}

/// Fetches the packages of a lock file.
fn fetch(home: &Path, lock: &Lock, offline: bool) -> Vec<Fetched> {
    let locked: Vec<_> = lock
        .packages
        .iter()
        .filter(|(id, _)| id.source.as_ref().is_some_and(SourceId::is_crates_io))
        .collect();
    let mut client = client(home, offline);
    let names: Vec<_> = locked
        .iter()
        .map(|(id, _)| (id.name.clone(), id.version.clone()))
        .collect();
    let summaries = client.locked(&names, &mut Quiet).expect("all are there");
    let wanted: Vec<_> = locked
        .iter()
        .zip(&summaries)
        .map(|((_, package), summary)| Wanted {
            id: summary.id.clone(),
            locked: package.checksum.map(|sum| (sum, "Cargo.lock".to_owned())),
            indexed: summary.checksum,
        })
        .collect();
    let mut clients = BTreeMap::from([(SourceId::default_registry(), client)]);
    Sources::new(Arc::new(Store::open(home).expect("a store")), worker())
        .fetch(&mut clients, &wanted, &mut Quiet)
        .expect("all are fetched")
}

#[test]
fn the_lock_of_ripgrep_unpacks_to_what_cargo_unpacks() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let path = |fetched: &Fetched| {
        let store = Store::open(home.path()).expect("a store");
        store.materialize(&fetched.tree).expect("stored")
    };

    // ripgrep's own archive holds its lock file.
    let ripgrep = PackageId::new(
        name("ripgrep"),
        "15.1.0".parse().expect("a version"),
        SourceId::default_registry(),
    );
    let itself = Lock::parse(
        Path::new("Cargo.lock"),
        "version = 4\n\n[[package]]\nname = \"none\"\nversion = \"0.0.0\"\n",
    )
    .map(|mut lock| {
        lock.packages.clear();
        let id = LockedId::of(&ripgrep);
        lock.packages.insert(id, Default::default());
        lock
    })
    .expect("a lock");
    let fetched = fetch(home.path(), &itself, false);
    let root = path(&fetched[0]);
    let text = std::fs::read_to_string(root.join("Cargo.lock")).expect("a lock file");
    let lock = Lock::parse(Path::new("Cargo.lock"), &text).expect("a lock");

    let fetched = fetch(home.path(), &lock, false);
    assert!(fetched.len() > 50, "{}", fetched.len());
    let again = fetch(home.path(), &lock, true);
    assert_eq!(fetched, again);

    // cargo's own cache for the same lock, filled by `cargo fetch`.
    let cargo_home = home.path().join("cargo-home");
    let copied = home.path().join("ripgrep");
    let status = Command::new("cp")
        .arg("-r")
        .args([&root, &copied])
        .status()
        .expect("cp runs");
    assert!(status.success());
    let output = Command::new("cargo")
        .args(["fetch", "--locked"])
        .current_dir(&copied)
        .env("CARGO_HOME", &cargo_home)
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let cargos = std::fs::read_dir(cargo_home.join("registry/src"))
        .and_then(|mut entries| entries.next().expect("one registry"))
        .expect("cargo unpacked")
        .path();
    let mut compared = 0;
    for each in &fetched {
        let theirs = cargos.join(format!("{}-{}", each.id.name(), each.id.version()));
        let (mut ours, mut of_cargo) = (BTreeMap::new(), BTreeMap::new());
        files(&path(each), Path::new(""), &mut ours);
        files(&theirs, Path::new(""), &mut of_cargo);
        of_cargo.remove(".cargo-ok");
        compared += of_cargo.len();
        let differing: Vec<_> = ours
            .iter()
            .filter(|(path, file)| of_cargo.get(*path) != Some(file))
            .map(|(path, _)| path)
            .chain(of_cargo.keys().filter(|path| !ours.contains_key(*path)))
            .collect();
        assert_eq!(differing, Vec::<&String>::new(), "{}", each.id);
    }
    assert!(compared > 1000, "{compared}");
}

/// All files beneath a directory, and of each whether it is executable, and its content.
fn files(root: &Path, below: &Path, found: &mut BTreeMap<String, (bool, Vec<u8>)>) {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in std::fs::read_dir(root.join(below)).expect("a directory") {
        let entry = entry.expect("an entry");
        let path = below.join(entry.file_name());
        let metadata = entry.metadata().expect("metadata");
        if metadata.is_dir() {
            files(root, &path, found);
        } else {
            let executable = metadata.permissions().mode() & 0o100 != 0;
            let content = std::fs::read(root.join(&path)).expect("a file");
            found.insert(path.display().to_string(), (executable, content));
        }
    }
}
