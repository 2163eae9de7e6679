//! Everything before the first process of a build, against the installed cargo: `cargo bench --bench front_end`.
//!
//! Every figure is a ratio of two commands that ran in turn in the same run, kiln's time over cargo's, the median of
//! several pairs. `KILN_BENCH_PAIRS` sets their number (default 5), `KILN_BENCH_CRATE` another crate (`name=version`) that
//! ships a lock. Needs the network, and asks the registry for the same things as often as there are pairs.
//!
//! | figure | kiln | cargo |
//! | --- | --- | --- |
//! | lock | `generate-lockfile --offline`, index cached, no lock | the same |
//! | fetch | `fetch --locked` into an empty store | the same with an empty home |
//! | metadata | `metadata --format-version 1 --offline` | the same |
//! | plan | `plan --release`: the whole action graph | `build --release --unit-graph` |

#![allow(clippy::print_stdout, reason = "it says what it measures")]

#[allow(dead_code, reason = "other benchmarks need more of it")]
#[path = "support/pairs.rs"]
mod pairs;
#[path = "../tests/support/published.rs"]
mod published;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pairs::{copy_tree, fastest, median, remove, run};

const DEFAULT_CRATE: &str = "mdbook=0.4.48";

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("run it with `cargo bench --bench front_end`");
        return;
    }
    let pairs: usize = std::env::var("KILN_BENCH_PAIRS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(5);
    let krate = std::env::var("KILN_BENCH_CRATE").unwrap_or_else(|_| DEFAULT_CRATE.to_owned());
    let (name, version) = krate
        .split_once('=')
        .expect("KILN_BENCH_CRATE is `name=version`");
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let unpacked =
        published::unpacked(scratch.path(), name, version).expect("the crate is published");
    let project = scratch.path().join("project");
    copy_tree(&unpacked, &project);
    let place = Place {
        project: &project,
        kiln_home: &scratch.path().join("kiln"),
        cargo_home: &scratch.path().join("cargo"),
    };
    println!("{krate}, {pairs} pairs");
    let mut ratios: [(&str, f64, Vec<f64>); 4] = [
        ("fetch", 1.0, Vec::new()),
        ("metadata", 1.0, Vec::new()),
        ("plan", 1.0, Vec::new()),
        ("lock", 0.5, Vec::new()),
    ];
    for pair in 0..pairs {
        for (what, _, ratios) in &mut ratios {
            let (kiln, cargo) = place.measure(what);
            let ratio = kiln.as_secs_f64() / cargo.as_secs_f64();
            println!(
                "  pair {pair}: {what:<9} kiln {kiln:>9.3?} / cargo {cargo:>9.3?} = {ratio:.3}"
            );
            ratios.push(ratio);
        }
    }
    for (what, target, ratios) in ratios {
        println!(
            "{what:<9} {:.3} times cargo's (target {target})",
            median(ratios)
        );
    }
}

struct Place<'a> {
    project: &'a Path,
    kiln_home: &'a Path,
    cargo_home: &'a Path,
}

impl Place<'_> {
    fn kiln(&self, arguments: &[&str]) -> Duration {
        run(Command::new(env!("CARGO_BIN_EXE_kiln"))
            .args(arguments)
            .current_dir(self.project)
            .env("KILN_HOME", self.kiln_home)
            .env_remove("CARGO_TARGET_DIR"))
    }

    fn cargo(&self, arguments: &[&str]) -> Duration {
        run(Command::new("cargo")
            .args(arguments)
            .current_dir(self.project)
            .env("CARGO_HOME", self.cargo_home)
            .env("RUSTC_BOOTSTRAP", "1")
            .env_remove("CARGO_TARGET_DIR"))
    }

    /// How long kiln takes for it, and cargo.
    fn measure(&self, what: &str) -> (Duration, Duration) {
        let both = |kiln: &[&str], cargo: &[&str]| {
            (
                fastest(5, || self.kiln(kiln)),
                fastest(5, || self.cargo(cargo)),
            )
        };
        match what {
            "fetch" => {
                remove(self.kiln_home);
                remove(self.cargo_home);
                (
                    self.kiln(&["fetch", "--locked"]),
                    self.cargo(&["fetch", "--locked"]),
                )
            }
            "metadata" => {
                let arguments = ["metadata", "--format-version", "1", "--offline"];
                both(&arguments, &arguments)
            }
            "plan" => both(
                &["plan", "--release", "--offline"],
                &[
                    "build",
                    "--release",
                    "--offline",
                    "-Zunstable-options",
                    "--unit-graph",
                ],
            ),
            _ => {
                // Once with the network, so that the index is there; then the lock is made anew each time.
                let lock = self.project.join("Cargo.lock");
                let shipped = std::fs::read(&lock).expect("there is a lock");
                self.kiln(&["generate-lockfile"]);
                self.cargo(&["generate-lockfile"]);
                let arguments = ["generate-lockfile", "--offline"];
                let anew = |make: &dyn Fn() -> Duration| {
                    fastest(5, || {
                        std::fs::remove_file(&lock).expect("there is a lock");
                        make()
                    })
                };
                let times = (
                    anew(&|| self.kiln(&arguments)),
                    anew(&|| self.cargo(&arguments)),
                );
                std::fs::write(&lock, shipped).expect("the lock can be put back");
                times
            }
        }
    }
}
