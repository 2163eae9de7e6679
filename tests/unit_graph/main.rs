//! The unit graph compared with the one that the installed cargo makes of the same workspace and command line.

#![expect(
    clippy::print_stderr,
    reason = "what was skipped or refused is to be seen"
)]

mod compare;
mod fixture;
mod metadata;
mod random;
mod stages;

use std::path::Path;

use cargo_util_schemas::manifest::TomlProfile;
use kiln::unit::graph::{Mode, UnitGraph};
use kiln::unit::json::unit_graph_json;
use kiln::unit::lto::{LtoMode, lto_modes};
use kiln::unit::{BuildRequest, Platforms, UnitError, accessible_packages, lower};
use serde_json::Value;

/// Lowers a request to a graph.
fn graph_of(
    lowered: &metadata::Lowered,
    (host, release, targets): &Infos,
    request: &BuildRequest,
) -> Result<UnitGraph, UnitError> {
    let platforms = Platforms::new(host, targets, release);
    let needed = accessible_packages(&lowered.workspace, &lowered.resolve, platforms, request)?;
    // Only what the first step names may be needed by the second.
    let packages = lowered
        .packages
        .iter()
        .filter(|(id, _)| needed.contains(*id))
        .map(|(id, package)| (id.clone(), std::sync::Arc::clone(package)))
        .collect();
    lower(
        &lowered.workspace,
        &lowered.resolve,
        &packages,
        platforms,
        request,
    )
}

fn json_of(graph: &UnitGraph) -> Value {
    let json = unit_graph_json(graph).expect("paths are UTF-8");
    serde_json::from_str(&json).expect("JSON")
}

/// Lowers `arguments` for a workspace that was read already.
fn ours(
    lowered: &metadata::Lowered,
    infos: &Infos,
    arguments: &[&str],
) -> Result<Value, UnitError> {
    let graph = graph_of(lowered, infos, &compare::request(arguments))?;
    Ok(json_of(&graph))
}

/// Compares every command line; returns what differs.
fn compare_all(directory: &Path, command_lines: &[Vec<&str>], triples: &[&str]) -> Vec<String> {
    let lowered = metadata::load(directory).expect("cargo reads the workspace");
    let infos = metadata::platforms(triples);
    compare_with(&lowered, &infos, directory, command_lines)
}

type Infos = (
    String,
    semver::Version,
    std::collections::BTreeMap<String, kiln::toolchain::model::TargetInfo>,
);

fn compare_with(
    lowered: &metadata::Lowered,
    infos: &Infos,
    directory: &Path,
    command_lines: &[Vec<&str>],
) -> Vec<String> {
    let mut failures = Vec::new();
    let staged = stages::load(directory);
    let views = match &staged {
        Ok(staged) => vec![("", lowered), (" (own stages)", staged)],
        Err(error) => {
            failures.push(format!("{}: {error}", directory.display()));
            vec![("", lowered)]
        }
    };
    for arguments in command_lines {
        let cargos = compare::cargo(directory, arguments);
        for (view, lowered) in &views {
            let what = format!("{} `{}`{view}", directory.display(), arguments.join(" "));
            match (ours(lowered, infos, arguments), &cargos) {
                (Ok(ours), Ok(cargos)) => {
                    if let Some(difference) = compare::difference(&ours, cargos) {
                        failures.push(format!("{what}: {difference}"));
                    }
                }
                (Err(error), Err(cargos)) => eprintln!(
                    "both refuse {what}\n  ours: {error}; {}\n  cargo: {}",
                    error.help().unwrap_or_default(),
                    cargos.trim().replace('\n', "\n  ")
                ),
                (Ok(_), Err(error)) => failures.push(format!("{what}: cargo refuses: {error}")),
                (Err(error), Ok(_)) => {
                    failures.push(format!("{what}: we refuse: {error} ({:?})", error.help()))
                }
            }
        }
    }
    failures
}

/// Real packages with their locks, their dependencies fetched: `KILN_UNIT_CORPUS` names a directory of them.
#[test]
fn real_packages_are_lowered_as_cargo_does() {
    let Some(corpus) = std::env::var_os("KILN_UNIT_CORPUS") else {
        eprintln!("skipped: KILN_UNIT_CORPUS names no directory of packages");
        return;
    };
    let only = std::env::var("KILN_UNIT_ONLY").unwrap_or_default();
    let words = |line: &'static str| line.split(' ').collect::<Vec<_>>();
    let common: Vec<Vec<&str>> = [
        "build",
        "build --release",
        "build --all-targets",
        "build --release --all-targets",
        "build --no-default-features",
        "build --all-features",
        "build --all-features --all-targets",
        "build --lib",
        "build --bins",
        "build --examples",
        "build --tests",
        "build --benches",
        "build --target x86_64-unknown-linux-musl",
        "build --target x86_64-unknown-linux-gnu",
        "build --release --target wasm32-unknown-unknown",
        "build --target aarch64-apple-darwin --target x86_64-pc-windows-msvc",
        "check",
        "check --all-targets",
        "check --profile test",
        "test",
        "test --release",
        "test --all-features",
        "test --doc",
        "test --target x86_64-pc-windows-msvc",
        "bench",
        "doc",
        "doc --no-deps",
        "doc --all-features --release",
    ]
    .into_iter()
    .map(words)
    .collect();
    let of_package: &[(&str, &[&str])] = &[
        (
            "ripgrep",
            &[
                "build --features pcre2",
                "build --profile release-lto",
                "build -p serde_derive",
            ],
        ),
        (
            "fd-find",
            &["build --no-default-features --features use-jemalloc"],
        ),
        (
            "bat",
            &[
                "build --no-default-features --features minimal-application",
                "build --no-default-features --features regex-onig",
                "build --lib --no-default-features --features regex-fancy",
            ],
        ),
        ("tokei", &["build --features all"]),
        (
            "mdbook",
            &[
                "build --no-default-features --features search",
                "build --no-default-features --features watch,serve",
            ],
        ),
        (
            "diesel_cli",
            &[
                "build --no-default-features --features sqlite-bundled",
                "build --no-default-features --features postgres",
                "build --no-default-features --features mysql,sqlite",
            ],
        ),
        (
            "serde_json",
            &[
                "build --no-default-features --features alloc",
                "build --features preserve_order,arbitrary_precision",
            ],
        ),
        (
            "tokio",
            &[
                "build --features full",
                "build --no-default-features --features rt,macros,sync --target wasm32-unknown-unknown",
            ],
        ),
    ];
    let triples = [
        "x86_64-unknown-linux-musl",
        "wasm32-unknown-unknown",
        "aarch64-apple-darwin",
        "x86_64-pc-windows-msvc",
    ];
    let mut directories: Vec<_> = std::fs::read_dir(corpus)
        .expect("the corpus is a directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().contains(&only))
        .collect();
    directories.sort();
    let mut failures = Vec::new();
    for directory in directories {
        let name = directory
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.rsplit_once('-'))
            .map_or("", |(name, _)| name);
        let own = of_package
            .iter()
            .filter(|(package, _)| *package == name)
            .flat_map(|(_, lines)| lines.iter().copied().map(words));
        let lines: Vec<Vec<&str>> = common.iter().cloned().chain(own).collect();
        let found = compare_all(&directory, &lines, &triples);
        eprintln!(
            "{}: {} of {} differ",
            directory.display(),
            found.len(),
            lines.len()
        );
        failures.extend(found);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Workspaces at random. `KILN_UNIT_SEEDS=FROM..TO` tries others than the usual few.
#[test]
fn random_workspaces_are_lowered_as_cargo_does() {
    let seeds = std::env::var("KILN_UNIT_SEEDS").unwrap_or_else(|_| "1..6".to_owned());
    let (from, to) = seeds.split_once("..").expect("FROM..TO");
    let seeds: std::ops::Range<u64> =
        from.parse().expect("a number")..to.parse().expect("a number");
    let infos = metadata::platforms(&[
        "wasm32-unknown-unknown",
        "aarch64-apple-darwin",
        "x86_64-pc-windows-msvc",
    ]);
    let (mut failures, mut read) = (Vec::new(), 0);
    for seed in seeds.clone() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut random = random::Random::new(seed);
        let (root, names) = random::write(directory.path(), &mut random);
        let Ok(lowered) = metadata::load(&root) else {
            continue;
        };
        read += 1;
        let lines: Vec<Vec<String>> = (0..6)
            .map(|_| random::command_line(&names, &mut random))
            .collect();
        let lines: Vec<Vec<&str>> = lines
            .iter()
            .map(|line| line.iter().map(String::as_str).collect())
            .collect();
        let found = compare_with(&lowered, &infos, &root, &lines);
        failures.extend(
            found
                .iter()
                .map(|failure| format!("seed {seed}: {failure}")),
        );
        if !found.is_empty() && std::env::var_os("KILN_UNIT_KEEP").is_some() {
            eprintln!("kept: seed {seed} in {}", directory.keep().display());
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(
        read * 2 > seeds.count(),
        "too few workspaces are valid: {read}"
    );
}

/// Profiles of the configuration lie over those of the manifest.
#[test]
fn configured_profiles_are_laid_over_the_manifests() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = fixture::write(directory.path(), fixture::MIXED);
    let lowered = metadata::load(&root).expect("cargo reads the workspace");
    let infos = metadata::platforms(&[]);
    let mut failures = Vec::new();
    for (command, profile, table) in [
        (&["build"][..], "dev", "opt-level = 2\ndebug = false"),
        (
            &["build", "--release"],
            "release",
            "lto = \"thin\"\nstrip = true\ncodegen-units = 1",
        ),
        (
            &["build", "--release", "--workspace"],
            "release",
            "debug = 0",
        ),
        (
            &["test", "--workspace"],
            "dev",
            "build-override.debug = 2\npackage.shared.opt-level = 3",
        ),
        (
            &["build", "--profile", "fast"],
            "fast",
            "inherits = \"release\"\npanic = \"abort\"",
        ),
        (
            &["bench"],
            "release",
            "package.\"*\".opt-level = 1\ndebug-assertions = true",
        ),
        (&["build"], "release", "opt-level = 1"),
        (
            &["build", "--profile", "lost"],
            "fast",
            "inherits = \"release\"",
        ),
    ] {
        let mut request = compare::request(command);
        let parsed: TomlProfile = toml::from_str(table).expect("a profile");
        request.config_profiles.insert(profile.to_owned(), parsed);
        let configured: Vec<String> = table
            .lines()
            .map(|line| format!("--config=profile.{profile}.{line}"))
            .collect();
        let arguments: Vec<&str> = command
            .iter()
            .copied()
            .chain(configured.iter().map(String::as_str))
            .collect();
        let cargos = compare::cargo(&root, &arguments);
        match (graph_of(&lowered, &infos, &request), cargos) {
            (Ok(graph), Ok(cargos)) => {
                if let Some(found) = compare::difference(&json_of(&graph), &cargos) {
                    failures.push(format!("{arguments:?}: {found}"));
                }
            }
            (Err(_), Err(_)) => {}
            (ours, cargos) => failures.push(format!("{arguments:?}: {ours:?} {cargos:?}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What rustc is told about LTO for each unit is what cargo tells it.
#[test]
fn lto_is_what_cargo_asks_rustc_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = fixture::write(directory.path(), fixture::MIXED);
    let lowered = metadata::load(&root).expect("cargo reads the workspace");
    let infos = metadata::platforms(&[]);
    for (command, lto) in [
        (&["build", "--release", "--workspace"][..], "true"),
        (&["test", "--release", "--no-run"], "\"thin\""),
        (&["build", "--release"], "\"off\""),
    ] {
        let without_run: Vec<&str> = command
            .iter()
            .copied()
            .filter(|argument| *argument != "--no-run")
            .collect();
        let mut request = compare::request(&without_run);
        let table = toml::from_str(&format!("lto = {lto}")).expect("a profile");
        request.config_profiles.insert("release".to_owned(), table);
        let graph = graph_of(&lowered, &infos, &request).expect("a graph");
        let mut ours: Vec<String> = graph
            .units
            .iter()
            .zip(lto_modes(&graph))
            .filter(|(unit, _)| matches!(unit.mode, Mode::Build | Mode::Test))
            .map(|(unit, mode)| {
                let flags = match mode {
                    LtoMode::Run(None) => "lto".to_owned(),
                    LtoMode::Run(Some(kind)) => format!("lto={kind}"),
                    LtoMode::Off => "lto=off embed-bitcode=no".to_owned(),
                    LtoMode::OnlyBitcode => "linker-plugin-lto".to_owned(),
                    LtoMode::ObjectAndBitcode => String::new(),
                    LtoMode::OnlyObject => "embed-bitcode=no".to_owned(),
                };
                let test = unit.mode == Mode::Test;
                format!("{} test={test} {flags}", unit.target.crate_name())
            })
            .collect();
        ours.sort();
        let cargos = compare::lto_flags(&root, command, lto);
        assert_eq!(ours, cargos, "{command:?} lto = {lto}");
    }
}
