//! Command lines as requests, and two unit graphs side by side.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use kiln::unit::{BuildRequest, Intent, PackageSelection};
use serde_json::Value;

/// The request that cargo's arguments mean. Only what these tests use is understood.
pub(crate) fn request(arguments: &[&str]) -> BuildRequest {
    let (&command, rest) = arguments.split_first().expect("a command");
    let mut request = BuildRequest::new(match command {
        "build" => Intent::Build,
        "check" => Intent::Check { test: false },
        "test" => Intent::Test,
        "bench" => Intent::Bench,
        "doc" => Intent::Doc { dependencies: true },
        other => panic!("unknown command {other}"),
    });
    let (mut workspace, mut exclude, mut packages) = (false, Vec::new(), Vec::new());
    let mut rest = rest.iter().copied();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().expect("a value").to_owned();
        let targets = &mut request.targets;
        match argument {
            "--release" => request.profile = Some("release".to_owned()),
            "--profile" => request.profile = Some(value()),
            "--workspace" => workspace = true,
            "--exclude" => exclude.push(value()),
            "-p" => packages.push(value()),
            "--lib" => targets.lib = true,
            "--bins" => targets.bins.all = true,
            "--bin" => targets.bins.names.push(value()),
            "--examples" => targets.examples.all = true,
            "--example" => targets.examples.names.push(value()),
            "--tests" => targets.tests.all = true,
            "--test" => targets.tests.names.push(value()),
            "--benches" => targets.benches.all = true,
            "--bench" => targets.benches.names.push(value()),
            "--all-targets" => targets.all_targets = true,
            "--features" => {
                let value = value();
                let features = value.split([',', ' ']).map(str::to_owned);
                request.features.features.extend(features);
            }
            "--all-features" => request.features.all_features = true,
            "--no-default-features" => request.features.no_default_features = true,
            "--target" => request.platforms.push(value()),
            "--ignore-rust-version" => request.ignore_rust_version = true,
            "--no-deps" => {
                request.intent = Intent::Doc {
                    dependencies: false,
                }
            }
            "--doc" => request.intent = Intent::Doctest,
            other => panic!("unknown argument {other}"),
        }
    }
    if request.intent == Intent::Doctest {
        request.targets.lib = true;
    }
    if request.profile.as_deref() == Some("test") && command == "check" {
        request.intent = Intent::Check { test: true };
    }
    request.packages =
        PackageSelection::from_flags(workspace, exclude, packages).expect("a selection");
    request
}

/// What cargo prints for `arguments` in `directory`: the graph, or its complaint.
pub(crate) fn cargo(directory: &Path, arguments: &[&str]) -> Result<Value, String> {
    let output = Command::new("cargo")
        .args(arguments)
        .args(["-Z", "unstable-options", "--unit-graph", "--offline"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("CARGO_INCREMENTAL")
        .env_remove("RUSTFLAGS")
        .current_dir(directory)
        .output()
        .expect("cargo runs");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(serde_json::from_slice(&output.stdout).expect("the graph is JSON"))
}

/// The flags about LTO that cargo gives rustc for each unit, sorted: it builds, and says what it runs. Between the two
/// stands a script that leaves LTO out, as it would take minutes.
pub(crate) fn lto_flags(directory: &Path, command: &[&str], lto: &str) -> Vec<String> {
    let target = tempfile::tempdir().expect("a directory");
    let wrapper = target.path().join("without-lto");
    let script = "#!/bin/sh\nfor word; do shift; case $word in lto*|linker-plugin-lto) word=embed-bitcode=no;; esac; \
                  set -- \"$@\" \"$word\"; done\nexec \"$@\"\n";
    std::fs::write(&wrapper, script).expect("a script");
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755))
        .expect("a script that runs");
    let output = Command::new("cargo")
        .env("RUSTC_WRAPPER", &wrapper)
        .args(command)
        .args(["--offline", "-v", "--config"])
        .arg(format!("profile.release.lto={lto}"))
        .env("CARGO_TARGET_DIR", target.path())
        .env_remove("CARGO_INCREMENTAL")
        .env_remove("RUSTFLAGS")
        .current_dir(directory)
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let mut out: Vec<String> = text
        .lines()
        .filter(|line| line.trim_start().starts_with("Running") && line.contains("--crate-name"))
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let after = |flag: &str| {
                words
                    .iter()
                    .position(|word| *word == flag)
                    .map_or("", |at| words[at + 1])
            };
            let flags: Vec<&str> = words
                .windows(2)
                .filter(|pair| pair[0] == "-C")
                .map(|pair| pair[1])
                .filter(|flag| flag.contains("lto") || flag.contains("embed-bitcode"))
                .collect();
            let test = words.contains(&"--test");
            format!("{} test={test} {}", after("--crate-name"), flags.join(" "))
        })
        .collect();
    out.sort();
    out
}

/// Where two graphs differ; `None` if they are the same up to the order of units that cargo itself leaves to chance
/// (those that differ in nothing but their dependencies).
pub(crate) fn difference(ours: &Value, cargos: &Value) -> Option<String> {
    if ours == cargos {
        return None;
    }
    let (own, others) = (Graph::new(ours), Graph::new(cargos));
    if own.version != others.version {
        return Some("the schema versions differ".to_owned());
    }
    let mut lines = Vec::new();
    let (a, b) = (own.canonical(), others.canonical());
    let count = |all: &[String]| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for one in all {
            *counts.entry(one.clone()).or_default() += 1;
        }
        counts
    };
    let (counts_a, counts_b) = (count(&a), count(&b));
    for (all, other, side) in [
        (&a, &counts_b, "only ours"),
        (&b, &counts_a, "only cargo's"),
    ] {
        let graph = if side == "only ours" { &own } else { &others };
        for (index, unit) in all.iter().enumerate() {
            if !other.contains_key(unit) && lines.len() < 400 {
                lines.push(format!("{side}: {}", graph.describe(index)));
            }
        }
    }
    if lines.is_empty() && counts_a != counts_b {
        lines.push("the same units, in different numbers".to_owned());
    }
    if lines.is_empty() {
        let shallow = |graph: &Graph| -> Vec<String> {
            (0..graph.units.len()).map(|i| graph.shallow(i)).collect()
        };
        let (x, y) = (shallow(&own), shallow(&others));
        if let Some(at) = (0..x.len()).find(|&i| x[i] != y[i]) {
            lines.push(format!(
                "order, at {at}: ours {} cargo's {}",
                own.describe(at),
                others.describe(at)
            ));
        }
    }
    if lines.is_empty() {
        let roots = |graph: &Graph, names: &[String]| -> Vec<String> {
            graph
                .roots
                .iter()
                .map(|&root| names[root].clone())
                .collect()
        };
        if roots(&own, &a) != roots(&others, &b) {
            lines.push("the roots differ".to_owned());
        }
    }
    // The first difference in the order of packages is nearest to the cause.
    (!lines.is_empty()).then(|| {
        let shown = lines.len().min(12);
        format!(
            "{} differences\n  {}",
            lines.len(),
            lines[..shown].join("\n  ")
        )
    })
}

struct Graph<'v> {
    version: &'v Value,
    units: Vec<&'v Value>,
    roots: Vec<usize>,
}

impl<'v> Graph<'v> {
    fn new(value: &'v Value) -> Self {
        Self {
            version: &value["version"],
            units: value["units"].as_array().expect("units").iter().collect(),
            roots: value["roots"]
                .as_array()
                .expect("roots")
                .iter()
                .map(|root| usize::try_from(root.as_u64().expect("an index")).expect("an index"))
                .collect(),
        }
    }

    fn dependencies(&self, index: usize) -> Vec<(usize, String)> {
        self.units[index]["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter()
            .map(|dependency| {
                let mut rest = dependency.clone();
                let index = rest
                    .as_object_mut()
                    .and_then(|map| map.remove("index"))
                    .and_then(|index| index.as_u64())
                    .expect("an index");
                (usize::try_from(index).expect("an index"), rest.to_string())
            })
            .collect()
    }

    /// A unit without its dependencies.
    fn shallow(&self, index: usize) -> String {
        let mut unit = self.units[index].clone();
        if let Some(map) = unit.as_object_mut() {
            map.remove("dependencies");
        }
        unit.to_string()
    }

    /// A digest of each unit with all that it needs, in the order in which it needs it.
    fn canonical(&self) -> Vec<String> {
        let mut known: Vec<Option<String>> = vec![None; self.units.len()];
        for index in 0..self.units.len() {
            self.canonical_of(index, &mut known);
        }
        known.into_iter().flatten().collect()
    }

    fn canonical_of(&self, index: usize, known: &mut Vec<Option<String>>) -> String {
        if let Some(done) = &known[index] {
            return done.clone();
        }
        let mut whole = self.shallow(index);
        for (dependency, rest) in self.dependencies(index) {
            let below = self.canonical_of(dependency, known);
            whole.push_str(&format!("\n{below} {rest}"));
        }
        let digest = kiln::digest::BlobDigest::of(whole.as_bytes()).to_hex();
        known[index] = Some(digest.clone());
        digest
    }

    fn describe(&self, index: usize) -> String {
        let unit = self.units[index];
        let id = unit["pkg_id"].as_str().expect("an id");
        let short = id.rsplit('/').next().unwrap_or(id);
        let dependencies: Vec<String> = self
            .dependencies(index)
            .iter()
            .map(|(dependency, rest)| {
                let unit = self.units[*dependency];
                let id = unit["pkg_id"].as_str().expect("an id");
                let name = serde_json::from_str::<Value>(rest).expect("JSON");
                format!(
                    "{}:{}:{}:{}={}",
                    id.rsplit('/').next().unwrap_or(id),
                    unit["target"]["kind"][0].as_str().unwrap_or_default(),
                    unit["mode"].as_str().unwrap_or_default(),
                    unit["platform"].as_str().unwrap_or("host"),
                    name["extern_crate_name"].as_str().unwrap_or_default(),
                )
            })
            .collect();
        format!(
            "{short} {} {} {} {} features={} profile={} [{}]",
            unit["target"]["kind"],
            unit["target"]["name"],
            unit["mode"],
            unit["platform"],
            unit["features"],
            unit["profile"],
            dependencies.join(" ")
        )
    }
}
