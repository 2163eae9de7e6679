//! The command line: one variant per command, with its flags.

use clap::{Parser, Subcommand};

use crate::cli::args::{
    BenchArgs, BuildArgs, CacheArgs, ClippyArgs, DocArgs, FetchArgs, GlobalArgs, PlanArgs, RunArgs,
    TestArgs,
};
use crate::cli::clean::CleanArgs;
use crate::cli::explain::ExplainArgs;
use crate::cli::install::InstallArgs;
use crate::cli::locate::{LocateProjectArgs, PkgidArgs};
use crate::cli::metadata::MetadataArgs;
use crate::cli::package::PackagingArgs;
use crate::cli::policy::PolicyArgs;
use crate::cli::tree::TreeArgs;
use crate::cli::update::{GenerateLockfileArgs, UpdateArgs};
use crate::cli::vendor::VendorArgs;

/// Build Cargo workspaces hermetically: every rustc, build script and proc macro in a sandbox.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, about, max_term_width = 100)]
#[command(
    after_help = "Run `kiln <COMMAND> --help` for the flags of a command. \
`kiln build --hermetic` is what ships; `kiln doctor` says what this machine's sandbox can do."
)]
pub(super) struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Compile packages and everything that they depend on
    #[command(visible_alias = "b")]
    Build(BuildArgs),
    /// Check packages for errors without generating code
    #[command(visible_alias = "c")]
    Check(BuildArgs),
    /// Compile a program and run it, outside of the sandbox
    #[command(visible_alias = "r")]
    Run(RunArgs),
    /// Compile tests and run them in a sandbox
    #[command(visible_alias = "t")]
    Test(TestArgs),
    /// Compile benchmarks and run them in a sandbox
    Bench(BenchArgs),
    /// Make the documentation of packages and of what they depend on
    #[command(visible_alias = "d")]
    Doc(DocArgs),
    /// Check packages with clippy
    Clippy(ClippyArgs),
    /// Print the locked action graph of a build without running anything
    Plan(PlanArgs),
    /// Resolve, download and unpack what a workspace needs
    Fetch(FetchArgs),
    /// Put the sources of all dependencies into a directory of the workspace
    Vendor(VendorArgs),
    /// Write Cargo.lock, every version chosen anew
    GenerateLockfile(GenerateLockfileArgs),
    /// Choose versions in Cargo.lock anew
    Update(UpdateArgs),
    /// Build a crate with the lock that it ships, and install its programs
    Install(InstallArgs),
    /// Print the packages of the workspace and what they depend on, as JSON
    Metadata(MetadataArgs),
    /// Make the archives of packages that a registry takes, or list what would be in them
    Package(PackagingArgs),
    /// Remove what was built (the store is `cache`'s)
    Clean(CleanArgs),
    /// Print what depends on what as a tree
    Tree(TreeArgs),
    /// Print one package as JSON (deprecated in cargo: `metadata --no-deps`)
    #[command(hide = true)]
    ReadManifest,
    /// Check the manifest (deprecated in cargo: `check`)
    #[command(hide = true)]
    VerifyProject,
    /// Print where the Cargo.toml is
    LocateProject(LocateProjectArgs),
    /// Print the whole package id specification of a package
    Pkgid(PkgidArgs),
    /// Print the version of kiln, with -v also what it follows
    Version,
    /// Show what this machine's sandbox and toolchains can do
    Doctor,
    /// Look at what crates are granted beyond the sandbox, and change it
    Policy(PolicyArgs),
    /// Tell of a unit why it ran, what it was given and granted, what it used and was denied
    Explain(ExplainArgs),
    /// Look at the store and clean it
    Cache(CacheArgs),
}
