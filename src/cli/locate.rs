//! `locate-project` and `pkgid`.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::cli::shell::Shell;
use crate::driver::{Context, DriverError, resolution};
use crate::manifest::{find_manifest, workspace_root};
use crate::message::text::harmless_line;
use crate::unit;

/// Flags of `locate-project`.
#[derive(Debug, Clone, Default, Args)]
pub struct LocateProjectArgs {
    /// The Cargo.toml of the workspace's root
    #[arg(long)]
    pub workspace: bool,
    /// What is printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub message_format: LocateFormat,
}

/// `--message-format` of `locate-project`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LocateFormat {
    /// `{"root":"…"}`
    #[default]
    Json,
    /// The path.
    Plain,
}

/// `kiln locate-project`: where the manifest is.
pub(super) fn locate_project(
    context: &Context,
    shell: &Shell,
    arguments: &LocateProjectArgs,
) -> Result<ExitCode, DriverError> {
    let current = match &context.manifest_path {
        Some(path) => path.clone(),
        None => find_manifest(&context.directory)?,
    };
    let manifest = if arguments.workspace {
        workspace_root(&current, &context.manifest_context())?
    } else {
        current
    };
    let text = path_text(&manifest)?;
    match arguments.message_format {
        LocateFormat::Json => shell.line(&serde_json::json!({ "root": text }).to_string()),
        LocateFormat::Plain => shell.line(&harmless_line(text)),
    }
    Ok(ExitCode::SUCCESS)
}

fn path_text(path: &Path) -> Result<&str, DriverError> {
    path.to_str().ok_or_else(|| DriverError::Request {
        message: format!("the path `{}` is not UTF-8", path.display()),
        help: Some("rename the directory that is not".to_owned()),
    })
}

/// Flags of `pkgid`.
#[derive(Debug, Clone, Default, Args)]
pub struct PkgidArgs {
    /// The package (default: the one of this directory)
    #[arg(value_name = "SPEC", conflicts_with = "package")]
    pub spec: Option<String>,
    /// The package (default: the one of this directory)
    #[arg(short, long, value_name = "SPEC")]
    pub package: Option<String>,
}

/// `kiln pkgid`: the whole specification of a package of the lock.
pub(super) fn pkgid(
    context: &Context,
    shell: &Shell,
    arguments: &PkgidArgs,
) -> Result<ExitCode, DriverError> {
    let workspace = resolution::load(context)?;
    let Some(lock) = resolution::lock_as_it_is(&workspace)? else {
        return Err(DriverError::Request {
            message: "there is no `Cargo.lock`, and so no package that could be named".to_owned(),
            help: Some("write it with `kiln generate-lockfile`".to_owned()),
        });
    };
    let id = match arguments.spec.as_ref().or(arguments.package.as_ref()) {
        Some(spec) => unit::find_package(spec, lock.packages.keys())?.clone(),
        None => resolution::current_package(&workspace)?.clone(),
    };
    shell.line(&unit::package_id_spec(&id));
    Ok(ExitCode::SUCCESS)
}

/// `kiln verify-project`: whether the manifests can be read.
pub(super) fn verify_project(context: &Context, shell: &Shell) -> Result<ExitCode, DriverError> {
    match resolution::load(context) {
        Ok(_) => {
            shell.line(r#"{"success":"true"}"#);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let why = error.report().message;
            shell.line(&serde_json::json!({ "invalid": why }).to_string());
            Ok(ExitCode::FAILURE)
        }
    }
}
