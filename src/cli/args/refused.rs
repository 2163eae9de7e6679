//! Flags that cargo has and kiln has not: each is known by its name, so that it is refused with the reason instead of
//! being a typing error, and never ignored.

use clap::Args;

/// Flags of cargo's that are refused.
#[derive(Debug, Clone, Default, Args)]
pub struct RefusedArgs {
    #[arg(long, hide = true)]
    unit_graph: bool,
    #[arg(long, hide = true, value_name = "FMTS", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    timings: Option<String>,
    #[arg(long, hide = true)]
    future_incompat_report: bool,
    #[arg(long, hide = true, value_name = "PATH", alias = "out-dir")]
    artifact_dir: Option<String>,
    #[arg(short = 'Z', hide = true, value_name = "FLAG")]
    unstable: Vec<String>,
    #[arg(short = 'C', hide = true, value_name = "DIRECTORY")]
    directory: Option<String>,
    #[arg(long, hide = true, value_name = "PATH")]
    lockfile_path: Option<String>,
    #[arg(long, hide = true)]
    compile_time_deps: bool,
}

impl RefusedArgs {
    /// The first flag that was given, and what to do instead.
    pub fn first(&self) -> Option<(String, &'static str)> {
        let nightly = "cargo has it on nightly only; kiln does what stable cargo does";
        let flags = [
            (
                self.unit_graph,
                "--unit-graph",
                "use `kiln plan --format unit-graph`, with `--mode` for other commands than `build`",
            ),
            (
                self.timings.is_some(),
                "--timings",
                "kiln writes no report of times yet; `-v` shows what runs",
            ),
            (
                self.future_incompat_report,
                "--future-incompat-report",
                "kiln keeps no such reports; use `cargo report future-incompatibilities`",
            ),
            (
                self.artifact_dir.is_some(),
                "--artifact-dir",
                "cargo has it on nightly only; artifacts are in `target/kiln`, or below `--target-dir`",
            ),
            (self.directory.is_some(), "-C", nightly),
            (self.lockfile_path.is_some(), "--lockfile-path", nightly),
            (self.compile_time_deps, "--compile-time-deps", nightly),
        ];
        let unstable = self.unstable.first().map(|flag| {
            (
                format!("-Z {flag}"),
                "kiln does what stable cargo does; leave it out",
            )
        });
        flags
            .into_iter()
            .find(|(given, ..)| *given)
            .map(|(_, name, help)| (name.to_owned(), help))
            .or(unstable)
    }
}
