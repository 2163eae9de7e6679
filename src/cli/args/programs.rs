//! The flags of the commands that run something: `run`, `test`, `bench`, `doc`, `clippy`.

use std::ffi::OsString;

use clap::Args;

use super::{BuildArgs, CommonArgs, PackageArgs, TargetArgs};

/// Flags of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The package with the program (a package id specification)
    #[arg(short, long, value_name = "SPEC", help_heading = "Packages")]
    pub package: Option<String>,
    /// This program
    #[arg(long, value_name = "NAME", help_heading = "Targets")]
    pub bin: Vec<String>,
    /// This example
    #[arg(long, value_name = "NAME", help_heading = "Targets")]
    pub example: Vec<String>,
    /// What all that compiles has in common.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Arguments for the program
    #[arg(value_name = "ARGS", trailing_var_arg = true)]
    pub arguments: Vec<OsString>,
}

impl RunArgs {
    /// The same as flags of `build`.
    pub fn to_build(&self) -> BuildArgs {
        BuildArgs {
            audit: false,
            packages: PackageArgs {
                package: self.package.iter().cloned().collect(),
                ..PackageArgs::default()
            },
            targets: TargetArgs {
                bin: self.bin.clone(),
                example: self.example.clone(),
                ..TargetArgs::default()
            },
            common: self.common.clone(),
        }
    }
}

/// Flags of `test`.
#[derive(Debug, Clone, Args)]
pub struct TestArgs {
    /// Only tests whose names contain this
    #[arg(value_name = "TESTNAME")]
    pub name: Option<String>,
    /// Arguments for the tests' programs
    #[arg(value_name = "ARGS", last = true)]
    pub arguments: Vec<String>,
    /// Compile, but run nothing
    #[arg(long)]
    pub no_run: bool,
    /// Run all tests, whichever fail
    #[arg(long)]
    pub no_fail_fast: bool,
    /// Only the examples in the library's documentation
    #[arg(long, help_heading = "Targets")]
    pub doc: bool,
    /// Pass a variable of the environment on to the tests, or set it: `NAME`, `NAME=VALUE`
    #[arg(long, value_name = "NAME[=VALUE]", help_heading = "Hermeticity")]
    pub env: Vec<String>,
    /// How it is built.
    #[command(flatten)]
    pub build: BuildArgs,
}

/// Flags of `bench`.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// Only benchmarks whose names contain this
    #[arg(value_name = "BENCHNAME")]
    pub name: Option<String>,
    /// Arguments for the benchmarks' programs
    #[arg(value_name = "ARGS", last = true)]
    pub arguments: Vec<String>,
    /// Compile, but run nothing
    #[arg(long)]
    pub no_run: bool,
    /// Run all benchmarks, whichever fail
    #[arg(long)]
    pub no_fail_fast: bool,
    /// Pass a variable of the environment on to the benchmarks, or set it: `NAME`, `NAME=VALUE`
    #[arg(long, value_name = "NAME[=VALUE]", help_heading = "Hermeticity")]
    pub env: Vec<String>,
    /// How it is built.
    #[command(flatten)]
    pub build: BuildArgs,
}

/// Flags of `doc`.
#[derive(Debug, Clone, Args)]
pub struct DocArgs {
    /// Show the documentation in a browser when it is made
    #[arg(long)]
    pub open: bool,
    /// Only the packages themselves, not what they depend on
    #[arg(long)]
    pub no_deps: bool,
    /// What is private, too
    #[arg(long)]
    pub document_private_items: bool,
    /// Which packages.
    #[command(flatten)]
    pub packages: PackageArgs,
    /// The library
    #[arg(long, help_heading = "Targets")]
    pub lib: bool,
    /// All programs
    #[arg(long, help_heading = "Targets")]
    pub bins: bool,
    /// This program
    #[arg(long, value_name = "NAME", help_heading = "Targets")]
    pub bin: Vec<String>,
    /// All examples
    #[arg(long, help_heading = "Targets")]
    pub examples: bool,
    /// This example
    #[arg(long, value_name = "NAME", help_heading = "Targets")]
    pub example: Vec<String>,
    /// What all that compiles has in common.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl DocArgs {
    /// The same as flags of `build`.
    pub fn to_build(&self) -> BuildArgs {
        BuildArgs {
            audit: false,
            packages: self.packages.clone(),
            targets: TargetArgs {
                lib: self.lib,
                bins: self.bins,
                bin: self.bin.clone(),
                examples: self.examples,
                example: self.example.clone(),
                ..TargetArgs::default()
            },
            common: self.common.clone(),
        }
    }
}

/// Flags of `clippy`.
#[derive(Debug, Clone, Args)]
pub struct ClippyArgs {
    /// Only the packages themselves, not those of the workspace that they depend on
    #[arg(long)]
    pub no_deps: bool,
    #[arg(long, hide = true)]
    pub(in crate::cli) fix: bool,
    #[arg(long, hide = true, value_name = "LINT")]
    pub(in crate::cli) explain: Option<String>,
    #[arg(long, hide = true)]
    pub(in crate::cli) allow_dirty: bool,
    #[arg(long, hide = true)]
    pub(in crate::cli) allow_staged: bool,
    #[arg(long, hide = true)]
    pub(in crate::cli) allow_no_vcs: bool,
    /// How it is built.
    #[command(flatten)]
    pub build: BuildArgs,
    /// Flags for lints: `-W`, `-A`, `-D`, `-F LINT`
    #[arg(value_name = "ARGS", last = true)]
    pub arguments: Vec<String>,
}
