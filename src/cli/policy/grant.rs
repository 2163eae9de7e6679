//! `policy grant`: adds to `kiln.toml`.

use std::process::ExitCode;

use clap::Args;
use semver::VersionReq;

use crate::cli::shell::Shell;
use crate::driver::policies;
use crate::driver::{Context, DriverError};
use crate::message::text::harmless_line;
use crate::policy::Bundle;
use crate::policy::edit::Asked;

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

pub(super) fn grant(
    context: &Context,
    shell: &Shell,
    arguments: &GrantArgs,
) -> Result<ExitCode, DriverError> {
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
        lists: Bundle {
            reason: arguments.reason.clone(),
            exec: arguments.exec.clone(),
            read: arguments.read.clone(),
            env: arguments.env.clone(),
            write: arguments.write.clone(),
            workspace: arguments.workspace.clone(),
            pkg_config: arguments.pkg_config.clone(),
            link: arguments.link.clone(),
            r#use: arguments.bundle.clone(),
            ..Bundle::default()
        },
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
