//! The flags that commands share. Those that cargo has mean what they mean in cargo.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand, ValueEnum};

use crate::unit::Intent;

mod programs;
mod refused;

pub use programs::{BenchArgs, ClippyArgs, DocArgs, RunArgs, TestArgs};
pub use refused::RefusedArgs;

/// Flags of every command.
#[derive(Debug, Clone, Default, Args)]
pub struct GlobalArgs {
    /// Say more; twice: also the warnings of dependencies and the commands
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Print nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Whether output is coloured
    #[arg(long, value_enum, value_name = "WHEN", global = true)]
    pub color: Option<ColorChoice>,
    /// Demand that Cargo.lock is there and needs no change
    #[arg(long, global = true, help_heading = "Manifest and network")]
    pub locked: bool,
    /// Use nothing but what is in the store
    #[arg(long, global = true, help_heading = "Manifest and network")]
    pub offline: bool,
    /// Both of --locked and --offline
    #[arg(long, global = true, help_heading = "Manifest and network")]
    pub frozen: bool,
    /// Path of the Cargo.toml
    #[arg(
        long,
        value_name = "PATH",
        global = true,
        help_heading = "Manifest and network"
    )]
    pub manifest_path: Option<PathBuf>,
    /// Set a key of the configuration, or read a file of them
    #[arg(
        long,
        value_name = "KEY=VALUE|PATH",
        global = true,
        help_heading = "Manifest and network"
    )]
    pub config: Vec<String>,
    /// Directory of the store
    #[arg(
        long,
        value_name = "DIR",
        env = "KILN_HOME",
        global = true,
        hide_env_values = true
    )]
    #[arg(help_heading = "Manifest and network")]
    pub kiln_home: Option<PathBuf>,
}

/// `--color`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Which packages.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Packages")]
pub struct PackageArgs {
    /// Packages to build (package id specifications or globs)
    #[arg(short, long = "package", value_name = "SPEC")]
    pub package: Vec<String>,
    /// All packages of the workspace
    #[arg(long, visible_alias = "all")]
    pub workspace: bool,
    /// Packages to leave out of --workspace
    #[arg(long, value_name = "SPEC")]
    pub exclude: Vec<String>,
}

/// Which targets.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Targets")]
pub struct TargetArgs {
    /// The library
    #[arg(long)]
    pub lib: bool,
    /// All programs
    #[arg(long)]
    pub bins: bool,
    /// This program
    #[arg(long, value_name = "NAME")]
    pub bin: Vec<String>,
    /// All examples
    #[arg(long)]
    pub examples: bool,
    /// This example
    #[arg(long, value_name = "NAME")]
    pub example: Vec<String>,
    /// All targets that are tested
    #[arg(long)]
    pub tests: bool,
    /// This test
    #[arg(long, value_name = "NAME")]
    pub test: Vec<String>,
    /// All targets that are benchmarked
    #[arg(long)]
    pub benches: bool,
    /// This benchmark
    #[arg(long, value_name = "NAME")]
    pub bench: Vec<String>,
    /// All targets
    #[arg(long)]
    pub all_targets: bool,
}

/// Which features.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Features")]
pub struct FeatureArgs {
    /// Features to activate, separated by commas or spaces
    #[arg(short = 'F', long, value_name = "FEATURES")]
    pub features: Vec<String>,
    /// Activate all features
    #[arg(long)]
    pub all_features: bool,
    /// Do not activate the `default` feature
    #[arg(long)]
    pub no_default_features: bool,
}

/// For which platforms, where to, how many at once.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Compilation")]
pub struct WorkArgs {
    /// Build for this target triple
    #[arg(long, value_name = "TRIPLE")]
    pub target: Vec<String>,
    /// Directory for everything that is handed out (below it: `kiln/…`)
    #[arg(long, value_name = "DIR")]
    pub target_dir: Option<PathBuf>,
    /// How many jobs run at once; negative: so many less than there are processors
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    pub jobs: Option<String>,
    /// Go on with what does not depend on a failed action
    #[arg(long)]
    pub keep_going: bool,
}

/// How it is compiled.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Compilation")]
pub struct CompileArgs {
    /// Build with optimisations: the `release` profile
    #[arg(short, long, conflicts_with = "profile")]
    pub release: bool,
    /// Build with this profile
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// For which platforms, where to, how many at once.
    #[command(flatten)]
    pub work: WorkArgs,
    /// The toolchain, as rustup names it
    #[arg(long, value_name = "NAME")]
    pub toolchain: Option<String>,
    /// Do not mind what packages say of the rustc that they need
    #[arg(long)]
    pub ignore_rust_version: bool,
}

/// What is promised.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Hermeticity")]
pub struct HermeticArgs {
    /// Build what ships: the lock must be there and fit, everything is declared, an attestation is written
    #[arg(long)]
    pub hermetic: bool,
    /// The layers of the sandbox: `full` (namespaces, Landlock, seccomp), `landlock` (without namespaces), `auto`
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t)]
    pub isolation: IsolationChoice,
    /// Refuse to build unless every layer of this isolation works here with nothing missing
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub require_isolation: Option<RequiredIsolation>,
}

/// `--require-isolation`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RequiredIsolation {
    /// Namespaces, seccomp, and a Landlock that holds signals in.
    Full,
    /// Landlock and seccomp: what any isolation has.
    Landlock,
}

/// `--isolation`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum IsolationChoice {
    /// All layers where the kernel has them, never less than Landlock and seccomp.
    #[default]
    Auto,
    /// All layers, or an error.
    Full,
    /// Landlock and seccomp without namespaces.
    Landlock,
}

/// Flags of every command that compiles.
#[derive(Debug, Clone, Default, Args)]
pub struct CommonArgs {
    /// Which features.
    #[command(flatten)]
    pub features: FeatureArgs,
    /// How it is compiled.
    #[command(flatten)]
    pub compile: CompileArgs,
    /// What is promised.
    #[command(flatten)]
    pub hermetic: HermeticArgs,
    /// How diagnostics are printed: human, short, json, json-diagnostic-short,
    /// json-diagnostic-rendered-ansi, json-render-diagnostics
    #[arg(long, value_name = "FORMAT")]
    pub message_format: Vec<String>,
    /// What kiln does not do.
    #[command(flatten)]
    pub refused: RefusedArgs,
}

/// Flags of `build` and `check`.
#[derive(Debug, Clone, Default, Args)]
pub struct BuildArgs {
    /// Which packages.
    #[command(flatten)]
    pub packages: PackageArgs,
    /// Which targets.
    #[command(flatten)]
    pub targets: TargetArgs,
    /// What all that compiles has in common.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Trace every compilation and build script, keep what each used beside its result, and compare that with what was
    /// declared
    #[arg(long, help_heading = "Hermeticity")]
    pub audit: bool,
}

/// Flags of `plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// The build to plan.
    #[command(flatten)]
    pub build: BuildArgs,
    /// What is to be done with the targets
    #[arg(long, value_enum, value_name = "MODE", default_value = "build")]
    pub mode: PlanMode,
    /// What to print
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "json")]
    pub format: PlanFormat,
}

/// `--mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanMode {
    /// As `build`.
    Build,
    /// As `check`.
    Check,
    /// As `cargo test --no-run`.
    Test,
    /// As `cargo bench --no-run`.
    Bench,
    /// As `cargo doc`.
    Doc,
}

impl PlanMode {
    /// What is to be done with the targets.
    pub fn intent(self) -> Intent {
        match self {
            PlanMode::Build => Intent::Build,
            PlanMode::Check => Intent::Check { test: false },
            PlanMode::Test => Intent::Test,
            PlanMode::Bench => Intent::Bench,
            PlanMode::Doc => Intent::Doc { dependencies: true },
        }
    }
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// The action graph as JSON.
    Json,
    /// The unit graph as cargo's `--unit-graph` prints it.
    UnitGraph,
    /// The action graph for Graphviz.
    Dot,
}

/// Flags of `fetch`.
#[derive(Debug, Clone, Default, Args)]
pub struct FetchArgs {
    /// Only what these platforms need (default: every package of the lock)
    #[arg(long, value_name = "TRIPLE")]
    pub target: Vec<String>,
}

/// `cache`
#[derive(Debug, Clone, Args)]
pub struct CacheArgs {
    /// What to do with the store.
    #[command(subcommand)]
    pub command: CacheCommand,
}

/// What to do with the store.
#[derive(Debug, Clone, Subcommand)]
pub enum CacheCommand {
    /// Print how much there is of what
    Stat,
    /// Hash everything again and discard what is corrupt
    Verify,
    /// Remove what was not used for long
    Gc {
        /// Keep at most so much: `20GB`, `500MiB`
        #[arg(long, value_name = "SIZE")]
        keep_size: Option<String>,
        /// Keep what was used in the last so many days
        #[arg(long, value_name = "DAYS")]
        keep_days: Option<u64>,
    },
}
