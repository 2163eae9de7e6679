//! The default registry, for real.

use std::sync::Arc;

use kiln::package::{PackageName, SourceId};
use kiln::registry::{Client, Network, NetworkConfig, Quiet, Registry};

fn client(directory: &std::path::Path, offline: bool) -> Client {
    let network = Network::new(NetworkConfig {
        offline,
        ..NetworkConfig::default()
    })
    .expect("an event loop");
    let registry = Registry::of_source(&SourceId::default_registry()).expect("a registry");
    Client::new(Arc::new(network), registry, directory).expect("a client")
}

fn name(name: &str) -> PackageName {
    PackageName::new(name).expect("a name")
}

#[test]
fn index_files_of_well_known_packages() {
    let directory = tempfile::tempdir().expect("a temporary directory");
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
    let start = std::time::Instant::now();
    let found = client(directory.path(), false)
        .summaries(&names, &mut |event| {
            println!("{:?} {event:?}", start.elapsed())
        })
        .expect("the registry answers");
    println!("{:?}", start.elapsed());
    for (name, index) in &found {
        println!(
            "{name} {} {} {:?}",
            index.exists,
            index.summaries.len(),
            index.unusable
        );
    }
    let start = std::time::Instant::now();
    let again = client(directory.path(), false)
        .summaries(&names, &mut |event| {
            println!("{:?} {event:?}", start.elapsed())
        })
        .expect("the registry answers");
    assert!(found == again);
    let error = client(directory.path(), true)
        .summaries(&names, &mut Quiet)
        .expect_err("one was never there");
    println!("{error}");
}
