//! `policy`: what crates are granted beyond the sandbox, shown and changed. A file for each command.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::shell::Shell;
use crate::driver::{Context, DriverError};
use crate::policy::SCHEMA;

mod approve;
mod diff;
mod grant;
mod show;
mod suggest;

use approve::{ApproveArgs, approve};
use diff::{DiffArgs, diff};
use grant::{GrantArgs, grant};
use show::{ShowArgs, show};
use suggest::{SuggestArgs, suggest};

/// `policy`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A crate that is granted nothing gets nothing: no file, program or variable of this machine. What it is granted stands
in `kiln.toml` at the root of the workspace, to be reviewed with the rest of the code:

    [crate.openssl-sys]
    reason = \"we ship on Debian, with its OpenSSL\"
    use = [\"pkg-config:openssl\"]

The content of all that is granted is part of each action's key and of the attestation. For well-known crates kiln
brings grants of its own; `kiln policy show` names them, `defaults = false` switches them off. docs/policy.md has all
keys and bundles.

A build that failed for want of something: `kiln policy grant`, or `kiln policy suggest` for all of them at once.
A lock that changed: `kiln policy diff OLD.lock`. Nothing new that runs at build time: `[policy] build-scripts =
\"approved\"` and `kiln policy approve`.")]
pub struct PolicyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// What to do with policy.
#[derive(Debug, Clone, Subcommand)]
pub enum PolicyCommand {
    /// Show what each crate of the build is granted, by whom, and why
    Show(ShowArgs),
    /// Grant something to a crate: adds it to kiln.toml, which keeps its comments and its form
    Grant(GrantArgs),
    /// Find the smallest policy that the build passes with, by building; prints what to add to kiln.toml
    #[command(after_help = "\
Builds, takes what each failure advises into the policy of the next round, and stops when the build passes or nothing
new is learnt; then leaves out what it passes without. Look at what is suggested before you take it: a crate that has
no business with a program wants it, too.")]
    Suggest(Box<SuggestArgs>),
    /// Approve packages that run code in the build, with the digest that they have now: kiln-approved.toml
    #[command(after_help = "\
With `[policy] build-scripts = \"approved\"` in `kiln.toml` nothing is built as long as a build script, a procedural
macro, or a package that one of them is made of is not in `kiln-approved.toml` with the digest of its files. Packages
on disk are your own and need no approval. Without names, all packages of the workspace's builds are approved, and
those that the lock has no more are taken out.")]
    Approve(ApproveArgs),
    /// Tell what changes from one Cargo.lock to another: new build scripts, macros, libraries, grants; nothing is run
    #[command(after_help = "\
Fetches and unpacks what differs, in confinement, and runs nothing of it. In CI, `--deny` makes what must not come
unseen an error:

    kiln policy diff origin/main:Cargo.lock --deny new-build-scripts,new-proc-macros,yanked

A file, `-` for standard input, or REVISION:PATH for a file of a commit: a branch, a tag or a commit's id, and a path
below the root of the repository (with `./`: below this directory).

Who may publish a crate is in no index, so a change of maintainers cannot be shown.")]
    Diff(DiffArgs),
    /// Print the JSON schema of kiln.toml, for editors
    Schema,
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Human,
    /// As JSON.
    Json,
}

/// `kiln policy …`
pub(super) fn policy(
    context: &Context,
    shell: &Shell,
    command: &PolicyCommand,
) -> Result<ExitCode, DriverError> {
    match command {
        PolicyCommand::Show(arguments) => show(context, shell, arguments),
        PolicyCommand::Grant(arguments) => grant(context, shell, arguments),
        PolicyCommand::Approve(arguments) => approve(context, shell, arguments),
        PolicyCommand::Suggest(arguments) => suggest(context, shell, arguments),
        PolicyCommand::Diff(arguments) => diff(context, shell, arguments),
        PolicyCommand::Schema => {
            shell.line(SCHEMA.trim_end());
            Ok(ExitCode::SUCCESS)
        }
    }
}
