//! Resolution next to the installed cargo: for each manifest here, `cargo generate-lockfile` writes a lock, and kiln,
//! asking the same registry, has to write the same bytes. Needs the network; without it each test says so and ends.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it says what it skips and measures"
)]

#[path = "support/skip.rs"]
mod skip;
use skip::skip;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln::manifest::lock::{LocatedLock, Lock};
use kiln::manifest::model::Workspace;
use kiln::manifest::{ManifestContext, load_workspace};
use kiln::package::{Offer, PackageId, PackageName, SourceId, Summary};
use kiln::registry::{Client, Network, NetworkConfig, Quiet, Registry};
use kiln::resolve::{
    LetGo, Options, Resolve, Summaries, Versions, VersionsError, fresh, from_lock,
};

/// The default registry, its index cached beside the test's other files.
struct DefaultRegistry {
    client: Client,
    known: BTreeMap<PackageName, Arc<[Offer]>>,
    /// How many names were asked for in each round.
    rounds: Vec<usize>,
    /// How long that took.
    fetching: Duration,
}

impl DefaultRegistry {
    fn new() -> Self {
        let network = Arc::new(Network::new(NetworkConfig::default()).unwrap());
        let registry = Registry::of_source(&SourceId::default_registry()).unwrap();
        let cache = scratch().join("kiln-index");
        Self {
            client: Client::new(network, registry, &cache).unwrap(),
            known: BTreeMap::new(),
            rounds: Vec::new(),
            fetching: Duration::ZERO,
        }
    }

    fn learn(&mut self, names: &[PackageName]) -> Result<(), kiln::registry::RegistryError> {
        self.rounds.push(names.len());
        let started = Instant::now();
        for (name, index) in self.client.summaries(names, &mut Quiet)? {
            self.known.insert(name, index.offers.clone());
        }
        self.fetching += started.elapsed();
        Ok(())
    }
}

impl Versions for DefaultRegistry {
    fn versions(
        &mut self,
        name: &PackageName,
        source: &SourceId,
    ) -> Result<Arc<[Offer]>, VersionsError> {
        assert!(source.is_crates_io(), "only the default registry is served");
        if !self.known.contains_key(name) {
            self.learn(std::slice::from_ref(name))
                .map_err(|error| VersionsError {
                    name: name.clone(),
                    source: Box::new(error),
                })?;
        }
        Ok(self.known[name].clone())
    }

    fn prefetch(&mut self, wanted: &[(PackageName, SourceId)]) {
        let names: Vec<PackageName> = wanted
            .iter()
            .map(|(name, _)| name)
            .filter(|name| !self.known.contains_key(*name))
            .cloned()
            .collect();
        if !names.is_empty() {
            let _ = self.learn(&names);
        }
    }
}

impl Summaries for DefaultRegistry {
    fn prefetch(&mut self, packages: &[PackageId]) {
        let names: BTreeSet<_> = packages
            .iter()
            .map(|id| (id.name().clone(), id.source().clone()))
            .collect();
        Versions::prefetch(self, &names.into_iter().collect::<Vec<_>>());
    }

    fn summary(&mut self, package: &PackageId) -> Result<Option<Arc<Summary>>, VersionsError> {
        let all = self.versions(package.name(), package.source())?;
        let found = all.iter().find(|offer| offer.id() == package);
        Ok(found.map(|offer| offer.summary().clone()))
    }
}

fn scratch() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("resolve")
}

fn cargo(directory: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        for sign in [
            "spurious network error",
            "resolve host",
            "download of config",
            "failed to connect",
        ] {
            if message.contains(sign) {
                skip(&format!("cargo cannot reach its registry: {message}"));
                return None;
            }
        }
        panic!("cargo {arguments:?} failed: {message}");
    }
    Some(output.stdout)
}

fn options() -> Options {
    let output = Command::new("rustc").arg("-V").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    Options::new(text.split(' ').nth(1).unwrap().parse().unwrap())
}

/// A package with the manifest `head` (its `[package]` keys beyond name, version) and `tables`.
fn workspace(name: &str, tables: &str) -> (PathBuf, Workspace) {
    let directory = scratch().join(name);
    fs::create_dir_all(directory.join("src")).unwrap();
    fs::write(directory.join("src/lib.rs"), "").unwrap();
    let manifest = directory.join("Cargo.toml");
    fs::write(
        &manifest,
        format!("[workspace]\n[package]\nname = \"{name}\"\nversion = \"0.1.0\"\n{tables}"),
    )
    .unwrap();
    let workspace = load_workspace(&manifest, &ManifestContext::default()).unwrap();
    (directory, workspace)
}

fn located(workspace: &Workspace) -> (Lock, LocatedLock) {
    let (lock, _) = Lock::read(workspace).unwrap().unwrap();
    let located = lock.locate(workspace);
    (lock, located)
}

fn assert_same_text(name: &str, ours: &str, cargos: &str) {
    if ours == cargos {
        return;
    }
    let packages = |text: &str| -> BTreeSet<String> {
        let mut lines = text.lines();
        let mut packages = BTreeSet::new();
        while let Some(line) = lines.next() {
            if line == "[[package]]" {
                let name = lines.next().unwrap_or_default();
                let version = lines.next().unwrap_or_default();
                packages.insert(format!("{name} {version}"));
            }
        }
        packages
    };
    let (our_packages, cargos_packages) = (packages(ours), packages(cargos));
    let only_ours: Vec<_> = our_packages.difference(&cargos_packages).collect();
    let only_cargos: Vec<_> = cargos_packages.difference(&our_packages).collect();
    let first = ours.lines().zip(cargos.lines()).find(|(a, b)| a != b);
    panic!(
        "{name}: only ours {only_ours:#?}\nonly cargo's {only_cargos:#?}\nfirst line {first:#?}"
    );
}

/// Lets cargo and kiln choose, compares the bytes, and takes cargo's lock at its word.
fn compare(registry: &mut DefaultRegistry, name: &str, tables: &str) -> Option<Resolve> {
    let (directory, workspace) = workspace(name, tables);
    let _ = fs::remove_file(workspace.lock_path());
    cargo(&directory, &["generate-lockfile", "--quiet"])?;
    let cargos = fs::read_to_string(workspace.lock_path()).unwrap();

    let started = Instant::now();
    let chosen = fresh(&workspace, None, registry, &options()).unwrap();
    let elapsed = started.elapsed();
    let fetching = std::mem::take(&mut registry.fetching);
    let rounds = std::mem::take(&mut registry.rounds);
    let ours = Lock::of_resolve(&chosen, &workspace, None).encode();
    assert_same_text(name, &ours, &cargos);

    let (_, lock) = located(&workspace);
    let started = Instant::now();
    let taken = from_lock(&workspace, &lock, registry).unwrap().unwrap();
    let taking = started.elapsed();
    assert_same_resolve(name, &taken, &chosen);
    // With the lock, choosing anew changes nothing.
    let again = fresh(&workspace, Some(&lock), registry, &options()).unwrap();
    assert_same_resolve(name, &again, &chosen);
    eprintln!(
        "{name}: {} packages, chosen in {elapsed:?} ({fetching:?} of them fetching in rounds of {rounds:?}), taken from \
         the lock in {taking:?}",
        chosen.packages.len()
    );
    Some(chosen)
}

fn assert_same_resolve(name: &str, a: &Resolve, b: &Resolve) {
    assert!(a.packages.keys().eq(b.packages.keys()), "{name}: packages");
    for id in a.packages.keys() {
        assert_eq!(a.features[id], b.features[id], "{name}: features of {id}");
        assert_eq!(a.dependencies[id], b.dependencies[id], "{name}: {id}");
    }
}

/// Manifests, each with something in it that makes the choice less than obvious.
const MANIFESTS: &[(&str, &str)] = &[
    (
        "tokio-full",
        "edition = \"2021\"\n[dependencies]\ntokio = { version = \"1\", features = [\"full\"] }",
    ),
    (
        "clap-derive",
        "edition = \"2021\"\n[dependencies]\nclap = { version = \"4\", features = [\"derive\"] }\n[dev-dependencies]\ntrycmd = \"0.15\"",
    ),
    (
        "reqwest",
        "edition = \"2021\"\n[dependencies]\nreqwest = { version = \"0.12\", features = [\"json\", \"blocking\", \"socks\"] }",
    ),
    (
        "axum",
        "edition = \"2021\"\n[dependencies]\naxum = { version = \"0.7\", features = [\"macros\"] }\ntower-http = { version = \"0.5\", features = [\"full\"] }\ntonic = \"0.12\"",
    ),
    (
        "bevy-ecs",
        "edition = \"2021\"\n[dependencies]\nbevy_ecs = \"0.14\"",
    ),
    (
        "diesel",
        "edition = \"2021\"\n[dependencies]\ndiesel = { version = \"2\", features = [\"postgres\", \"sqlite\", \"r2d2\", \"chrono\"] }",
    ),
    (
        "windows",
        "edition = \"2021\"\n[target.'cfg(windows)'.dependencies]\nwindows-sys = { version = \"0.52\", features = [\"Win32_Foundation\"] }\nwinapi = \"0.3\"\nsocket2 = \"0.5\"",
    ),
    (
        "actix",
        "edition = \"2021\"\n[dependencies]\nactix-web = \"4\"\nsqlx = { version = \"0.7\", features = [\"postgres\", \"runtime-tokio-rustls\", \"macros\"] }",
    ),
    (
        "any-ripgrep-all",
        "edition = \"2021\"\n[dependencies]\nripgrep_all = \"*\"",
    ),
    // Old exact versions beside open ones: cargo has to go back.
    (
        "pinned-wasm-bindgen",
        "edition = \"2021\"\n[dependencies]\nwasm-bindgen = \"=0.2.87\"\nweb-sys = \"0.3\"\nwasm-bindgen-futures = \"0.4\"\njs-sys = \"0.3\"\ngloo-timers = \"0.3\"",
    ),
    (
        "pinned-serde",
        "edition = \"2021\"\n[dependencies]\nserde = { version = \"=1.0.150\", features = [\"derive\"] }\nserde_json = \"1\"\ntoml = \"0.8\"\nbincode = \"1\"\nreqwest = { version = \"0.11\", features = [\"json\"] }",
    ),
    (
        "pinned-time",
        "edition = \"2021\"\n[dependencies]\ntime = \"=0.3.20\"\ntracing-subscriber = { version = \"0.3\", features = [\"local-time\", \"json\"] }\ncookie = \"0.18\"\nx509-parser = \"0.15\"",
    ),
    (
        "pinned-syn",
        "edition = \"2021\"\n[dependencies]\nsyn = \"=2.0.20\"\nserde_derive = \"1\"\ntokio-macros = \"2\"\nthiserror = \"1\"\nasync-trait = \"0.1\"\nclap_derive = \"4\"",
    ),
    (
        "pinned-hyper",
        "edition = \"2021\"\n[dependencies]\nhyper = \"=0.14.20\"\nhyper-rustls = \"*\"\nreqwest = \"<0.12\"\nh2 = \"<0.3.18\"",
    ),
    // A native library only one package may link.
    (
        "links",
        "edition = \"2021\"\n[dependencies]\nrusqlite = \">=0.25, <0.40\"\nlibsqlite3-sys = \"0.26\"\ngit2 = \">=0.13\"\nlibgit2-sys = \"=0.14.2\"",
    ),
    // Requirements that several incompatible ranges meet.
    (
        "wide",
        "edition = \"2021\"\n[dependencies]\nrand_core = \">=0.3, <0.6\"\nrand = \">=0.6, <0.9\"\nparking_lot = \">=0.9\"\nbitflags = \">=1\"\nitertools = \">=0.8, <0.13\"\nhashbrown = \">0.9, <0.15\"\nnum-bigint = \"*\"\nindexmap = \"1\"",
    ),
    // Old Rust versions steer the choice under resolver 3.
    (
        "rust-1-63",
        "edition = \"2021\"\nrust-version = \"1.63\"\nresolver = \"3\"\n[dependencies]\nclap = \"4\"\ntokio = { version = \"1\", features = [\"full\"] }\nregex = \"1\"\nreqwest = \"0.11\"\nindexmap = \"2\"",
    ),
    (
        "rust-1-74",
        "edition = \"2021\"\nrust-version = \"1.74\"\nresolver = \"3\"\n[dependencies]\naxum = \"*\"\nsqlx = { version = \"*\", features = [\"sqlite\"] }\ntempfile = \"3\"\nurl = \"2\"\nhome = \"0.5\"",
    ),
    (
        "edition-2024",
        "edition = \"2024\"\n[dependencies]\nbat = { version = \"0.25\", default-features = false, features = [\"regex-onig\"] }\nratatui = \"0.29\"",
    ),
    (
        "edition-2015",
        "[dependencies]\nfutures = \"0.1\"\ntokio = \"0.1\"\nhyper = \"0.12\"\nserde = \"1\"\nrocket = \"0.4\"",
    ),
    (
        "pre-releases",
        "edition = \"2021\"\n[dependencies]\nrand = \"0.9.0-alpha.1\"\nsqlx = { version = \"=0.8.0\", features = [\"runtime-tokio\"] }\nrsa = \"0.9\"\ned25519-dalek = \"2.0.0-rc.2\"",
    ),
];

/// A lock that grows old, and what each way of renewing it does.
#[test]
fn renews_locks_as_cargo_does() {
    let mut registry = DefaultRegistry::new();
    let name = "renewed";
    let head = "edition = \"2021\"\n[dependencies]\n";
    let old = "tokio = { version = \"=1.28.0\", features = [\"full\"] }\nreqwest = \"=0.11.10\"\nserde = \"=1.0.150\"\n\
        serde_json = \"=1.0.80\"\nregex = \"=1.7.0\"\nclap = { version = \"=4.1.0\", features = [\"derive\"] }\n";
    let open = "tokio = { version = \"1.28\", features = [\"full\"] }\nreqwest = \"0.11\"\nserde = \"1\"\n\
        serde_json = \"1\"\nregex = \"1\"\nclap = { version = \"4\", features = [\"derive\"] }\n";
    let (directory, _) = workspace(name, &format!("{head}{old}"));
    let _ = fs::remove_file(directory.join("Cargo.lock"));
    if cargo(&directory, &["generate-lockfile", "--quiet"]).is_none() {
        return;
    }
    // What the manifest asks for at each step, what cargo is told, and what kiln is.
    type Step<'a> = (String, &'a [&'a str], fn(&LocatedLock) -> LetGo);
    let steps: &[Step<'_>] = &[
        (
            format!("{open}log = \"0.4\"\n"),
            &["update", "--workspace"],
            |_| LetGo::Nothing,
        ),
        (
            format!("{open}rand = \"0.8\"\n"),
            &["update", "--workspace"],
            |_| LetGo::Nothing,
        ),
        (
            open.replace("1.28", "1.30"),
            &["update", "--workspace"],
            |_| LetGo::Nothing,
        ),
        (open.to_owned(), &["update", "serde"], |lock| {
            packages(lock, "serde", false)
        }),
        (
            open.to_owned(),
            &["update", "clap", "--recursive"],
            |lock| packages(lock, "clap", true),
        ),
        (
            open.replace("0.11", "0.12"),
            &["update", "--workspace"],
            |_| LetGo::Nothing,
        ),
        (open.replace("0.11", "0.12"), &["update", "tokio"], |lock| {
            packages(lock, "tokio", false)
        }),
        (open.replace("0.11", "0.12"), &["update"], |_| {
            LetGo::Everything
        }),
        (
            old.replace("reqwest = \"=0.11.10\"\n", ""),
            &["update", "--workspace"],
            |_| LetGo::Nothing,
        ),
    ];
    for (number, (dependencies, arguments, let_go)) in steps.iter().enumerate() {
        let (directory, workspace) = workspace(name, &format!("{head}{dependencies}"));
        let (before, lock) = located(&workspace);
        let options = Options {
            let_go: let_go(&lock),
            ..options()
        };
        let chosen = fresh(&workspace, Some(&lock), &mut registry, &options).unwrap();
        let fits = from_lock(&workspace, &lock, &mut registry).unwrap();
        let ours = Lock::of_resolve(&chosen, &workspace, Some(&before)).encode();
        let locked = cargo_is_content(&directory);
        assert_eq!(fits.is_ok(), locked, "step {number}: {:?}", fits.err());
        if cargo(&directory, &[arguments, &["--quiet"][..]].concat()).is_none() {
            return;
        }
        let cargos = fs::read_to_string(workspace.lock_path()).unwrap();
        assert_same_text(&format!("step {number}"), &ours, &cargos);
    }
}

fn packages(lock: &LocatedLock, name: &str, recursive: bool) -> LetGo {
    LetGo::Packages {
        packages: lock
            .packages
            .keys()
            .filter(|id| id.name() == name)
            .cloned()
            .collect(),
        recursive,
    }
}

/// Whether cargo takes the lock as it is.
fn cargo_is_content(directory: &Path) -> bool {
    Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--quiet", "--depth", "0"])
        .current_dir(directory)
        .output()
        .unwrap()
        .status
        .success()
}

/// Programs that come with a lock, as their authors built them.
const PROGRAMS: &[(&str, &str)] = &[
    ("ripgrep", "15.1.0"),
    ("bat", "0.25.0"),
    ("fd-find", "10.2.0"),
    ("hyperfine", "1.19.0"),
];

/// The lock of each program taken at its word is the graph that `cargo metadata` prints.
#[test]
fn locks_of_programs_mean_what_cargo_says() {
    let mut registry = DefaultRegistry::new();
    for (name, version) in PROGRAMS {
        let Some(directory) = unpacked(name, version) else {
            return;
        };
        let workspace =
            load_workspace(&directory.join("Cargo.toml"), &ManifestContext::default()).unwrap();
        let (lock, located) = located(&workspace);
        let started = Instant::now();
        let resolve = from_lock(&workspace, &located, &mut registry)
            .unwrap()
            .unwrap_or_else(|reason| panic!("{name}: {reason}"));
        eprintln!(
            "{name}: {} packages, {:?}",
            resolve.packages.len(),
            started.elapsed()
        );
        let written = Lock::of_resolve(&resolve, &workspace, Some(&lock)).encode();
        assert_eq!(written, fs::read_to_string(workspace.lock_path()).unwrap());

        let arguments = [
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--all-features",
        ];
        let Some(output) = cargo(&directory, &arguments) else {
            return;
        };
        let metadata: serde_json::Value = serde_json::from_slice(&output).unwrap();
        let texts: BTreeMap<&str, String> = metadata["packages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|package| {
                let text = format!(
                    "{} v{}",
                    package["name"].as_str().unwrap(),
                    package["version"].as_str().unwrap()
                );
                (package["id"].as_str().unwrap(), text)
            })
            .collect();
        let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), resolve.packages.len(), "{name}");
        for node in nodes {
            let text = &texts[node["id"].as_str().unwrap()];
            let id = resolve
                .packages
                .keys()
                .find(|id| id.to_string() == *text)
                .unwrap_or_else(|| panic!("{name}: {text} is missing"));
            let features: Vec<&str> = node["features"]
                .as_array()
                .unwrap()
                .iter()
                .map(|feature| feature.as_str().unwrap())
                .collect();
            let ours: Vec<&str> = resolve.features[id].iter().map(AsRef::as_ref).collect();
            assert_eq!(ours, features, "{name}: features of {text}");
            let dependencies: BTreeSet<&String> = node["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .map(|id| &texts[id.as_str().unwrap()])
                .collect();
            let ours: Vec<String> = resolve
                .dependencies_of(id)
                .iter()
                .map(|edge| edge.package.to_string())
                .collect();
            assert_eq!(
                ours.iter().collect::<BTreeSet<_>>(),
                dependencies,
                "{name}: {text}"
            );
        }
    }
}

/// A copy of a package of the registry, fetched by making it a dependency.
fn unpacked(name: &str, version: &str) -> Option<PathBuf> {
    let tables = format!("edition = \"2021\"\n[dependencies]\n{name} = \"={version}\"");
    let (directory, _) = workspace(&format!("fetch-{name}"), &tables);
    cargo(&directory, &["fetch", "--quiet"])?;
    let home = std::env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo"),
        PathBuf::from,
    );
    let original = fs::read_dir(home.join("registry/src"))
        .unwrap()
        .map(|registry| registry.unwrap().path().join(format!("{name}-{version}")))
        .find(|directory| directory.exists())
        .unwrap();
    let copy = scratch().join(format!("{name}-{version}"));
    let _ = fs::remove_dir_all(&copy);
    for entry in walkdir::WalkDir::new(&original) {
        let entry = entry.unwrap();
        let target = copy.join(entry.path().strip_prefix(&original).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(target).unwrap();
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
    Some(copy)
}

/// `[patch]` by path, used and unused, and members that patch what others take from the registry.
#[test]
fn patches_as_cargo_does() {
    let mut registry = DefaultRegistry::new();
    let cases = [
        (
            "patched-used",
            "1.0.60",
            "[patch.crates-io]\nanyhow = { path = \"patch\" }",
        ),
        (
            "patched-unused",
            "0.9.0",
            "[patch.crates-io]\nanyhow = { path = \"patch\" }",
        ),
        (
            "patched-other-name",
            "1.0.60",
            "[patch.crates-io]\nany = { package = \"anyhow\", path = \"patch\" }",
        ),
    ];
    for (name, version, patch) in cases {
        let tables = format!(
            "edition = \"2021\"\n[dependencies]\nanyhow = \"1\"\neyre = \"0.6\"\ncargo-platform = \"0.1\"\n\
             tracing-tree = \"0.3\"\n{patch}\n"
        );
        let patch_directory = scratch().join(name).join("patch/src");
        fs::create_dir_all(&patch_directory).unwrap();
        fs::write(patch_directory.join("lib.rs"), "").unwrap();
        fs::write(
            patch_directory.with_file_name("Cargo.toml"),
            format!("[package]\nname = \"anyhow\"\nversion = \"{version}\"\n[dependencies]\ncfg-if = \"1\"\n"),
        )
        .unwrap();
        if compare(&mut registry, name, &tables).is_none() {
            return;
        }
    }
}

#[test]
fn chooses_what_cargo_chooses() {
    let mut registry = DefaultRegistry::new();
    let only = std::env::var("KILN_TEST_MANIFEST").ok();
    for (name, tables) in MANIFESTS {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        if compare(&mut registry, name, tables).is_none() {
            return;
        }
    }
}
