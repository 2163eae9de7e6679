//! `policy`: what crates are granted beyond the sandbox, shown and changed.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use semver::VersionReq;

use crate::cli::args::FeatureArgs;
use crate::cli::compile::{configure, features};
use crate::cli::report::FetchView;
use crate::cli::shell::Shell;
use crate::driver::approving;
use crate::driver::policies::{self, Effective};
use crate::driver::{Context, DriverError};
use crate::message::text::harmless_line;
use crate::policy::edit::Asked;
use crate::policy::{BuildMode, Grant, SCHEMA};
use crate::store::Store;
use crate::unit::{BuildRequest, Intent, PackageSelection};

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
    /// Approve packages that run code in the build, with the digest that they have now: kiln-approved.toml
    #[command(after_help = "\
With `[policy] build-scripts = \"approved\"` in `kiln.toml` nothing is built as long as a build script, a procedural
macro, or a package that one of them is made of is not in `kiln-approved.toml` with the digest of its files. Packages
on disk are your own and need no approval. Without names, all packages of the workspace's builds are approved, and
those that the lock has no more are taken out.")]
    Approve(ApproveArgs),
    /// Print the JSON schema of kiln.toml, for editors
    Schema,
}

/// Flags of `policy show`.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// Only these crates
    #[arg(value_name = "CRATE")]
    pub crates: Vec<String>,
    /// Which features.
    #[command(flatten)]
    pub features: FeatureArgs,
    /// Build for this target triple
    #[arg(long, value_name = "TRIPLE")]
    pub target: Vec<String>,
    /// As for `--hermetic`: without the grants of `[dev]`
    #[arg(long)]
    pub hermetic: bool,
    /// How it is printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// Flags of `policy approve`.
#[derive(Debug, Clone, Args)]
pub struct ApproveArgs {
    /// The packages, as the lock names them: `cc`, `cc@1.2.30` (default: all that run code in a build)
    #[arg(value_name = "CRATE[@VERSION]")]
    pub crates: Vec<String>,
    /// Build for this target triple
    #[arg(long, value_name = "TRIPLE")]
    pub target: Vec<String>,
    /// Only say what would be approved
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Human,
    /// As JSON.
    Json,
}

/// Flags of `policy grant`.
#[derive(Debug, Clone, Args)]
pub struct GrantArgs {
    /// The crate, with the versions it is for if that matters: `openssl-sys`, `openssl-sys@^0.9`
    #[arg(value_name = "CRATE[@VERSIONS]")]
    pub krate: String,
    /// A file or directory that it may read: an absolute path, with `*` and `**` as in a shell
    #[arg(long, value_name = "PATH", help_heading = "What is granted")]
    pub read: Vec<String>,
    /// A program that it may run, by name or absolute path
    #[arg(long, value_name = "PROGRAM", help_heading = "What is granted")]
    pub exec: Vec<String>,
    /// A variable that is passed on; its value is recorded in the attestation
    #[arg(long, value_name = "VARIABLE", help_heading = "What is granted")]
    pub env: Vec<String>,
    /// A copy of its own sources that its build script may write to, or of this path below it
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = ".")]
    #[arg(help_heading = "What is granted")]
    pub write: Vec<String>,
    /// What else of the workspace a package of the workspace reads, by its path below the root
    #[arg(long, value_name = "PATH", help_heading = "What is granted")]
    pub workspace: Vec<String>,
    /// A bundle: cmake, protoc, libclang, perl, …, or `pkg-config:NAME` for a library of the system
    #[arg(long, value_name = "NAME", help_heading = "What is granted")]
    pub bundle: Vec<String>,
    /// A library of the system, by its name in pkg-config
    #[arg(long, value_name = "NAME", help_heading = "What is granted")]
    pub pkg_config: Vec<String>,
    /// A library of the system, by its name for the linker
    #[arg(long, value_name = "NAME", help_heading = "What is granted")]
    pub link: Vec<String>,
    /// Why; it is shown by `policy show`
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Only if it comes from there: `crates-io`, `path`, or an address
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// Only for `kiln build`, never for `--hermetic`
    #[arg(long)]
    pub dev: bool,
    /// Only print what would be written
    #[arg(short = 'n', long)]
    pub dry_run: bool,
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
        PolicyCommand::Schema => {
            shell.line(SCHEMA.trim_end());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn grant(context: &Context, shell: &Shell, arguments: &GrantArgs) -> Result<ExitCode, DriverError> {
    let (name, version) = match arguments.krate.split_once('@') {
        None => (arguments.krate.clone(), None),
        Some((name, version)) => {
            let version = VersionReq::parse(version).map_err(|error| DriverError::Request {
                message: format!("`{version}` is not a version requirement: {error}"),
                help: Some("give one as in `Cargo.toml`: `openssl-sys@^0.9`".to_owned()),
            })?;
            (name.to_owned(), Some(version))
        }
    };
    let asked = Asked {
        name,
        version,
        source: arguments.source.clone(),
        dev: arguments.dev,
        reason: arguments.reason.clone(),
        exec: arguments.exec.clone(),
        read: arguments.read.clone(),
        env: arguments.env.clone(),
        write: arguments.write.clone(),
        workspace: arguments.workspace.clone(),
        pkg_config: arguments.pkg_config.clone(),
        link: arguments.link.clone(),
        bundles: arguments.bundle.clone(),
    };
    if asked.is_empty() {
        return Err(DriverError::Request {
            message: "nothing says what to grant".to_owned(),
            help: Some(
                "give `--exec PROGRAM`, `--read PATH`, `--env VARIABLE`, `--write`, `--bundle NAME`, \
                 `--pkg-config NAME` or `--link NAME`"
                    .to_owned(),
            ),
        });
    }
    let section = asked.section()?;
    let changed = policies::grant(context, std::slice::from_ref(&asked), arguments.dry_run)?;
    for warning in &changed.warnings {
        shell.warning(&harmless_line(warning));
    }
    let path = changed.path.display();
    match (changed.changed, arguments.dry_run) {
        (false, _) => shell.status("Unchanged", &format!("`{path}` grants that already")),
        (true, true) => shell.line(section.trim_end()),
        (true, false) => shell.status(
            "Granted",
            &format!("to `{}`, in `{path}`", harmless_line(&asked.name)),
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn approve(
    context: &Context,
    shell: &Shell,
    arguments: &ApproveArgs,
) -> Result<ExitCode, DriverError> {
    let mut request = BuildRequest::new(Intent::Test);
    request.packages = PackageSelection::Workspace(Vec::new());
    request.features.all_features = true;
    request.platforms.clone_from(&arguments.target);
    configure(context, &mut request);
    let store = Arc::new(Store::open(&context.home)?);
    let mut view = FetchView::new(shell);
    let (named, dry_run) = (&arguments.crates, arguments.dry_run);
    let approved = approving::approve(context, &store, &request, named, dry_run, &mut view)?;
    view.end();
    for package in &approved.packages {
        let verb = if dry_run { "Unapproved" } else { "Approved" };
        shell.status(verb, &harmless_line(&package.to_string()));
    }
    if approved.packages.is_empty() {
        let path = approved.path.display();
        shell.status("Unchanged", &format!("nothing is missing in `{path}`"));
    }
    Ok(ExitCode::SUCCESS)
}

fn show(context: &Context, shell: &Shell, arguments: &ShowArgs) -> Result<ExitCode, DriverError> {
    let mut request = BuildRequest::new(Intent::Test);
    request.packages = PackageSelection::Workspace(Vec::new());
    request.features = features(&arguments.features);
    request.platforms.clone_from(&arguments.target);
    configure(context, &mut request);
    let mode = if arguments.hermetic {
        BuildMode::Hermetic
    } else {
        BuildMode::Development
    };
    let store = Arc::new(Store::open(&context.home)?);
    let mut view = FetchView::new(shell);
    let mut shown = policies::effective(context, &store, &request, mode, &mut view)?;
    view.end();
    let wanted = &arguments.crates;
    shown.packages.retain(|(id, _)| {
        wanted.is_empty() || wanted.iter().any(|name| id.name() == name.as_str())
    });
    match arguments.format {
        Format::Json => shell.line(&as_json(&shown)),
        Format::Human => print(shell, &shown, wanted),
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(shown: &Effective) -> String {
    let packages: Vec<serde_json::Value> = shown
        .packages
        .iter()
        .map(|(id, grants)| {
            serde_json::json!({
                "name": id.name(),
                "version": id.version().to_string(),
                "source": id.source().words(),
                "grants": grants,
            })
        })
        .collect();
    serde_json::json!({ "version": 1, "packages": packages, "unused": shown.unused }).to_string()
}

fn print(shell: &Shell, shown: &Effective, wanted: &[String]) {
    if shown.packages.is_empty() {
        let whom = if wanted.is_empty() {
            "no crate of this build"
        } else {
            "none of these"
        };
        shell.line(&format!("{whom} is granted anything"));
    }
    for (id, grants) in &shown.packages {
        shell.line(&harmless_line(&format!("{id} ({})", id.source().words())));
        for (what, granted) in grants.lists() {
            for (name, grant) in granted {
                shell.line(&harmless_line(&format!("  {what} {name}{}", told(grant))));
                for origin in &grant.origins {
                    let reason = origin.reason.as_deref().unwrap_or("no reason stated");
                    let line = format!("      {}, {}: {reason}", origin.file, origin.section);
                    shell.line(&harmless_line(&line));
                }
            }
        }
        for (name, (value, origin)) in &grants.set_env {
            shell.line(&harmless_line(&format!("  env {name}={value}")));
            let reason = origin.reason.as_deref().unwrap_or("no reason stated");
            let line = format!("      {}, {}: {reason}", origin.file, origin.section);
            shell.line(&harmless_line(&line));
        }
        for (name, value) in grants.bounds() {
            shell.line(&format!("  limit {name} {value}"));
        }
    }
    for section in &shown.unused {
        shell.note(&harmless_line(&format!(
            "`[{section}]` of `kiln.toml` is for no package of this build"
        )));
    }
}

fn told(grant: &Grant) -> &'static str {
    if grant.required {
        ""
    } else {
        " (if it is installed)"
    }
}
