//! kiln against the installed cargo, on ripgrep: `cargo bench --bench against_cargo`.
//!
//! Every figure is a ratio of two commands that ran in turn in the same run, kiln's time over cargo's, the median of
//! several pairs; machines differ and are noisy, so no absolute time is a result. `KILN_BENCH_PAIRS` sets the number
//! of pairs (default 3), `KILN_BENCH_CRATE` another crate (`name=version`) that ships a lock.
//!
//! | figure | kiln | cargo |
//! | --- | --- | --- |
//! | cold | `kiln build --hermetic --release`, sources fetched, nothing built | `cargo build --release --locked`, likewise |
//! | again | the same with nothing to do | the same with nothing to do |
//! | elsewhere | the same workspace in another directory, warm store | cargo's cold build |

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it says what it skips and measures"
)]

#[path = "support/pairs.rs"]
mod pairs;
#[path = "../tests/support/published.rs"]
mod published;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pairs::{copy_tree, fastest, median, remove, run};

const DEFAULT_CRATE: &str = "ripgrep=15.1.0";

fn main() {
    // `cargo test --benches` and the like only want to know that it starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("run it with `cargo bench --bench against_cargo`");
        return;
    }
    let pairs: usize = std::env::var("KILN_BENCH_PAIRS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(3);
    let krate = std::env::var("KILN_BENCH_CRATE").unwrap_or_else(|_| DEFAULT_CRATE.to_owned());
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let bench = Bench::prepare(scratch.path(), &krate);
    println!(
        "{krate}, {pairs} pairs, {} processors",
        std::thread::available_parallelism().map_or(1, usize::from)
    );
    let (mut cold, mut again, mut elsewhere) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..pairs {
        let cargo_cold = bench.cargo_cold();
        let cargo_again = fastest(5, || bench.cargo());
        let kiln_cold = bench.kiln_cold();
        let kiln_again = fastest(5, || bench.kiln(&bench.project));
        let other = bench.copy_of_project(&format!("elsewhere-{pair}"));
        let kiln_elsewhere = bench.kiln(&other);
        for (name, kiln, cargo, ratios) in [
            ("cold", kiln_cold, cargo_cold, &mut cold),
            ("again", kiln_again, cargo_again, &mut again),
            ("elsewhere", kiln_elsewhere, cargo_cold, &mut elsewhere),
        ] {
            let ratio = kiln.as_secs_f64() / cargo.as_secs_f64();
            println!(
                "  pair {pair}: {name:<9} kiln {kiln:>9.3?} / cargo {cargo:>9.3?} = {ratio:.3}"
            );
            ratios.push(ratio);
        }
    }
    for (name, ratios, target) in [
        ("cold", cold, 1.05),
        ("again", again, 0.5),
        ("elsewhere", elsewhere, 0.02),
    ] {
        println!(
            "{name:<9} {:.3} times cargo's (target {target})",
            median(ratios)
        );
    }
}

struct Bench {
    scratch: PathBuf,
    project: PathBuf,
    fetched_home: PathBuf,
}

impl Bench {
    fn prepare(scratch: &Path, krate: &str) -> Self {
        let (name, version) = krate
            .split_once('=')
            .expect("KILN_BENCH_CRATE is `name=version`");
        let project = scratch.join("project");
        let unpacked = published::unpacked(scratch, name, version).expect("the crate is published");
        copy_tree(&unpacked, &project);
        let bench = Bench {
            scratch: scratch.to_owned(),
            project,
            fetched_home: scratch.join("fetched"),
        };
        run(Command::new("cargo")
            .args(["fetch", "--locked"])
            .current_dir(&bench.project));
        run(bench
            .kiln_command(&bench.project, &bench.fetched_home)
            .args(["fetch", "--locked"]));
        bench
    }

    fn kiln_command(&self, directory: &Path, home: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command
            .current_dir(directory)
            .env("KILN_HOME", home)
            .env_remove("CARGO_TARGET_DIR");
        command
    }

    fn cargo(&self) -> Duration {
        run(Command::new("cargo")
            .args(["build", "--release", "--locked", "--offline"])
            .current_dir(&self.project)
            .env("CARGO_TARGET_DIR", self.scratch.join("cargo-target")))
    }

    fn cargo_cold(&self) -> Duration {
        remove(&self.scratch.join("cargo-target"));
        self.cargo()
    }

    fn kiln(&self, directory: &Path) -> Duration {
        run(self
            .kiln_command(directory, &self.scratch.join("home"))
            .args(["build", "--hermetic", "--release", "--offline"]))
    }

    fn kiln_cold(&self) -> Duration {
        remove(&self.scratch.join("home"));
        remove(&self.project.join("target"));
        copy_tree(&self.fetched_home, &self.scratch.join("home"));
        self.kiln(&self.project)
    }

    fn copy_of_project(&self, name: &str) -> PathBuf {
        let other = self.scratch.join(name);
        copy_tree(&self.project, &other);
        remove(&other.join("target"));
        other
    }
}
