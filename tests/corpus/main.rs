//! Real projects of the registry, planned and built, compared with the installed cargo: a row for each, and totals.
//!
//! ```text
//! cargo test --release --test corpus -- --lock --graphs --build --again --only ripgrep,bat
//! ```
//!
//! `--lock` compares the lock that is made where there is none, `--graphs` the unit graph of each command line of the
//! list, `--metadata` what `cargo metadata` says, `--build` builds hermetically for release and runs what the project says, `--again` builds once more in another
//! directory with an empty store and another home, time zone and mask, and compares digests. `--list FILE` reads another
//! list, `--keep DIR` works there and leaves everything. Needs the network; `cargo test` alone does not run it.

#![allow(clippy::print_stdout, reason = "it prints a table")]

#[allow(dead_code, reason = "the tests of the unit graph need more of it")]
#[path = "../unit_graph/compare.rs"]
mod compare;
#[path = "../support/published.rs"]
mod published;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use serde_json::Value;

/// The list of projects.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct List {
    /// Command lines of cargo's whose unit graphs are compared for every project.
    graphs: Vec<String>,
    project: Vec<Project>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Project {
    name: String,
    #[serde(default)]
    version: String,
    /// A checkout to copy, in place of a crate of the registry.
    directory: Option<PathBuf>,
    /// More command lines whose unit graphs are compared.
    #[serde(default)]
    graphs: Vec<String>,
    /// Flags of the build.
    #[serde(default)]
    build: String,
    /// Programs to run, each with its arguments, in the project's directory; all have to succeed.
    #[serde(default)]
    run: Vec<String>,
}

#[derive(Default)]
struct Options {
    lock: bool,
    graphs: bool,
    metadata: bool,
    build: bool,
    again: bool,
    only: Vec<String>,
    list: Option<PathBuf>,
    keep: Option<PathBuf>,
}

fn main() -> ExitCode {
    let mut options = Options::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("the flag takes a value");
        match argument.as_str() {
            "--lock" => options.lock = true,
            "--graphs" => options.graphs = true,
            "--metadata" => options.metadata = true,
            "--build" => options.build = true,
            "--again" => options.again = true,
            "--only" => options.only = value().split(',').map(str::to_owned).collect(),
            "--list" => options.list = Some(value().into()),
            "--keep" => options.keep = Some(value().into()),
            // What cargo hands on to every test.
            _ => {}
        }
    }
    let Options {
        lock,
        graphs,
        metadata,
        build,
        again,
        ..
    } = options;
    if !(lock || graphs || metadata || build || again) {
        println!("corpus: say what to compare: --lock --graphs --metadata --build --again");
        return ExitCode::SUCCESS;
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/projects.toml");
    let text = std::fs::read_to_string(options.list.as_ref().unwrap_or(&own)).expect("the list");
    let list: List = toml::from_str(&text).expect("the list is valid");
    let scratch = tempfile::tempdir().expect("a directory");
    let root = options
        .keep
        .clone()
        .unwrap_or_else(|| scratch.path().to_owned());
    let mut totals: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for project in &list.project {
        if !options.only.is_empty() && !options.only.contains(&project.name) {
            continue;
        }
        let started = Instant::now();
        let results = examine(&root, &list, project, &options);
        let words: Vec<String> = results
            .iter()
            .map(|(what, result)| {
                let (good, all) = totals.entry(what).or_default();
                *all += 1;
                *good += usize::from(result.is_ok());
                format!("{what} {}", if result.is_ok() { "ok" } else { "FAILED" })
            })
            .collect();
        println!(
            "{:<22} {:<10} {} ({:.0} s)",
            project.name,
            project.version,
            words.join(", "),
            started.elapsed().as_secs_f64()
        );
        for (what, result) in &results {
            if let Err(why) = result {
                println!("    {what}: {}", why.trim().replace('\n', "\n    "));
            }
        }
    }
    let mut failed = false;
    for (what, (good, all)) in &totals {
        println!("{what}: {good} of {all}");
        failed |= good < all;
    }
    ExitCode::from(u8::from(failed))
}

type Results = Vec<(&'static str, Result<(), String>)>;

fn examine(root: &Path, list: &List, project: &Project, options: &Options) -> Results {
    let mut results: Results = Vec::new();
    let home = root.join("home");
    let directory = root.join(format!("{}-{}", project.name, project.version));
    if let Err(error) = unpack(root, project, &directory) {
        return vec![("unpack", Err(error))];
    }
    if options.lock {
        results.push(("lock", locks(root, &directory, &home)));
    }
    // What the crate ships, or what cargo makes of it.
    let prepared = if directory.join("Cargo.lock").exists() {
        Ok(String::new())
    } else {
        cargo(&directory, &["generate-lockfile"])
    }
    .and_then(|_| cargo(&directory, &["fetch", "--locked"]));
    if let Err(error) = prepared {
        results.push(("prepare", Err(error)));
        return results;
    }
    if options.graphs {
        let lines = list.graphs.iter().chain(&project.graphs);
        let differing: Vec<String> = lines
            .filter_map(|line| {
                let difference = graphs(&directory, &home, line).err()?;
                Some(format!("`{line}`: {difference}"))
            })
            .collect();
        let result = if differing.is_empty() {
            Ok(())
        } else {
            Err(differing.join("\n"))
        };
        results.push(("graphs", result));
    }
    if options.metadata {
        results.push(("metadata", metadata(&directory, &home)));
    }
    if options.build || options.again {
        let built = build(&directory, &home, project, &[]);
        results.push(("build", built.as_ref().map(drop).map_err(Clone::clone)));
        if let Ok(first) = built {
            results.push(("run", run_programs(&directory, project)));
            if options.again {
                results.push(("again", again(root, &directory, project, &first)));
            }
        }
    }
    results
}

/// A copy of the crate as it was published.
fn unpack(root: &Path, project: &Project, directory: &Path) -> Result<(), String> {
    let _ = std::fs::remove_dir_all(directory);
    std::fs::create_dir_all(root).map_err(|error| error.to_string())?;
    let from = match &project.directory {
        Some(checkout) => checkout.clone(),
        None => published::unpacked(root, &project.name, &project.version)?,
    };
    command(Command::new("cp").arg("-r").arg(from).arg(directory)).map(drop)
}

fn cargo(directory: &Path, arguments: &[&str]) -> Result<String, String> {
    command(Command::new("cargo").args(arguments).current_dir(directory))
}

fn kiln(directory: &Path, home: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut kiln = Command::new(env!("CARGO_BIN_EXE_kiln"));
    kiln.args(arguments)
        .current_dir(directory)
        .env("KILN_HOME", home)
        .env_remove("CARGO_TARGET_DIR");
    command(&mut kiln)
}

/// What the command prints, or what it complains about.
fn command(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = errors.lines().collect();
    let end = lines[lines.len().saturating_sub(30)..].join("\n");
    Err(format!("{command:?}: {}\n{end}", output.status))
}

fn locks(root: &Path, directory: &Path, home: &Path) -> Result<(), String> {
    let made = |name: &str, make: &dyn Fn(&Path) -> Result<String, String>| {
        let copy = root.join(name);
        let _ = std::fs::remove_dir_all(&copy);
        command(Command::new("cp").arg("-r").arg(directory).arg(&copy))?;
        let _ = std::fs::remove_file(copy.join("Cargo.lock"));
        make(&copy)?;
        std::fs::read_to_string(copy.join("Cargo.lock")).map_err(|error| error.to_string())
    };
    let cargos = made("lock", &|copy| cargo(copy, &["generate-lockfile"]));
    let ours = made("lock", &|copy| kiln(copy, home, &["generate-lockfile"]));
    let (ours, cargos) = match (ours, cargos) {
        (Ok(ours), Ok(cargos)) => (ours, cargos),
        (Err(_), Err(_)) => return Ok(()),
        (Err(ours), Ok(_)) => return Err(format!("kiln refuses: {ours}")),
        (Ok(_), Err(cargos)) => return Err(format!("cargo refuses: {cargos}")),
    };
    match ours
        .lines()
        .zip(cargos.lines())
        .enumerate()
        .find(|(_, (a, b))| a != b)
    {
        _ if ours == cargos => Ok(()),
        Some((at, (a, b))) => Err(format!("line {}: ours `{a}`, cargo's `{b}`", at + 1)),
        None => Err("one has more lines".to_owned()),
    }
}

/// Compares the unit graphs of a command line such as `test --all-features`.
fn graphs(directory: &Path, home: &Path, line: &str) -> Result<(), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let cargos = compare::cargo(directory, &words);
    let mut arguments = vec!["plan", "--format", "unit-graph", "--locked", "--mode"];
    arguments.extend(&words);
    let ours = kiln(directory, home, &arguments);
    match (ours, cargos) {
        (Ok(ours), Ok(mut cargos)) => {
            let mut ours: Value = serde_json::from_str(&ours).map_err(|error| error.to_string())?;
            without_place(&mut ours);
            without_place(&mut cargos);
            compare::difference(&ours, &cargos).map_or(Ok(()), Err)
        }
        (Err(_), Err(_)) => Ok(()),
        (Err(ours), Ok(_)) => Err(format!("kiln refuses: {ours}")),
        (Ok(_), Err(cargos)) => Err(format!("cargo refuses: {cargos}")),
    }
}

/// Takes away where the sources of the registry's packages are: the one thing in which the graphs have to differ.
fn without_place(graph: &mut Value) {
    for unit in graph["units"].as_array_mut().into_iter().flatten() {
        let id = unit["pkg_id"].as_str().unwrap_or_default();
        if !id.starts_with("registry+") {
            continue;
        }
        let Some((_, package)) = id.rsplit_once('#') else {
            continue;
        };
        let place = format!("/{}/", package.replace('@', "-"));
        let path = unit["target"]["src_path"].as_str().unwrap_or_default();
        if let Some(at) = path.rfind(&place) {
            unit["target"]["src_path"] = Value::from(&path[at..]);
        }
    }
}

/// Compares what is said of the workspace and all that it depends on.
fn metadata(directory: &Path, home: &Path) -> Result<(), String> {
    let arguments = ["metadata", "--format-version", "1", "--locked"];
    let said = |text: String| -> Result<Value, String> {
        let mut said: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        for package in said["packages"].as_array_mut().into_iter().flatten() {
            if package["source"].is_null() {
                continue;
            }
            // Where the sources of others are is each tool's own affair.
            package["manifest_path"] = Value::Null;
            for target in package["targets"].as_array_mut().into_iter().flatten() {
                target["src_path"] = Value::Null;
            }
        }
        // So is where outputs go.
        said["target_directory"] = Value::Null;
        said["build_directory"] = Value::Null;
        Ok(said)
    };
    let ours = said(kiln(directory, home, &arguments)?)?;
    let cargos = said(cargo(directory, &arguments)?)?;
    match difference("", &ours, &cargos) {
        None => Ok(()),
        Some(difference) => Err(difference),
    }
}

/// The first place in which two values differ.
fn difference(at: &str, ours: &Value, cargos: &Value) -> Option<String> {
    match (ours, cargos) {
        (Value::Object(a), Value::Object(b)) => a
            .keys()
            .chain(b.keys())
            .find_map(|key| difference(&format!("{at}/{key}"), &ours[key], &cargos[key])),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let named = |index: usize| a[index]["id"].as_str().unwrap_or_default().to_owned();
            (0..a.len()).find_map(|index| {
                let place = format!("{at}/{index}({})", named(index));
                difference(&place, &a[index], &b[index])
            })
        }
        _ if ours == cargos => None,
        _ => {
            let short = |value: &Value| value.to_string().chars().take(300).collect::<String>();
            Some(format!(
                "{at}: ours {}, cargo's {}",
                short(ours),
                short(cargos)
            ))
        }
    }
}

/// The digests of what was built, by name.
type Digests = BTreeMap<String, String>;

fn build(
    directory: &Path,
    home: &Path,
    project: &Project,
    more: &[(&str, &str)],
) -> Result<Digests, String> {
    let mut kiln = Command::new("sh");
    kiln.args(["-c", "umask ${MASK:-022}; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_kiln"))
        .args(["build", "--hermetic", "--release"])
        .args(project.build.split_whitespace())
        .current_dir(directory)
        .env("KILN_HOME", home)
        .env_remove("CARGO_TARGET_DIR")
        .envs(more.iter().copied());
    command(&mut kiln)?;
    let path = directory.join("target/kiln/release/kiln-attestation.json");
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let statement: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let subjects = statement["subject"].as_array().ok_or("no subjects")?;
    Ok(subjects
        .iter()
        .map(|subject| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&subject["name"]), text(&subject["digest"]["sha256"]))
        })
        .collect())
}

fn run_programs(directory: &Path, project: &Project) -> Result<(), String> {
    for line in &project.run {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let program = directory.join("target/kiln/release").join(name);
        command(Command::new(program).args(words).current_dir(directory))?;
    }
    Ok(())
}

/// Builds in another directory, as another user would.
fn again(root: &Path, first: &Path, project: &Project, before: &Digests) -> Result<(), String> {
    let elsewhere = root.join("elsewhere");
    let _ = std::fs::remove_dir_all(&elsewhere);
    let directory = elsewhere
        .join("a rather different place")
        .join(&project.name);
    std::fs::create_dir_all(elsewhere.join("a rather different place"))
        .map_err(|error| error.to_string())?;
    command(Command::new("cp").arg("-r").arg(first).arg(&directory))?;
    let _ = std::fs::remove_dir_all(directory.join("target"));
    // rustup and cargo keep the toolchain below the home.
    let real = std::env::var("HOME").unwrap_or_default();
    let variable =
        |name: &str, below: &str| std::env::var(name).unwrap_or_else(|_| format!("{real}/{below}"));
    let (rustup, cargo_home) = (
        variable("RUSTUP_HOME", ".rustup"),
        variable("CARGO_HOME", ".cargo"),
    );
    let home = elsewhere.join("user");
    std::fs::create_dir_all(&home).map_err(|error| error.to_string())?;
    let home = home.display().to_string();
    let more = [
        ("HOME", home.as_str()),
        ("RUSTUP_HOME", &rustup),
        ("CARGO_HOME", &cargo_home),
        ("TZ", "Pacific/Auckland"),
        ("MASK", "077"),
        ("USER", "somebody"),
        ("LOGNAME", "somebody"),
        ("LC_ALL", "C"),
    ];
    let after = build(&directory, &elsewhere.join("store"), project, &more)?;
    if after == *before {
        return Ok(());
    }
    let differing: Vec<&str> = before
        .iter()
        .filter(|(name, digest)| after.get(*name) != Some(digest))
        .map(|(name, _)| name.as_str())
        .collect();
    Err(format!("another digest: {}", differing.join(", ")))
}
