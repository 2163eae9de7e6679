//! `package`.

use std::process::ExitCode;

use clap::Args;

use crate::cli::args::PackageArgs;
use crate::cli::shell::Shell;
use crate::driver::packaging::{self, PackagingOptions};
use crate::driver::{Context, DriverError, resolution};
use crate::manifest::model::Package;
use crate::message::text::harmless_line;
use crate::unit::{self, PackageSelection};

/// Flags of `package`.
#[derive(Debug, Clone, Default, Args)]
pub struct PackagingArgs {
    /// Which packages.
    #[command(flatten)]
    pub packages: PackageArgs,
    /// Only print the names of the files
    #[arg(short, long)]
    pub list: bool,
    /// Do not build what is in the archive
    #[arg(long)]
    pub no_verify: bool,
    /// Do not complain of a manifest that says little to people
    #[arg(long)]
    pub no_metadata: bool,
    /// Files may differ from what is committed
    #[arg(long)]
    pub allow_dirty: bool,
    /// Leave `Cargo.lock` out
    #[arg(long)]
    pub exclude_lockfile: bool,
}

/// `kiln package --list`.
pub(super) fn package(
    context: &Context,
    shell: &Shell,
    arguments: &PackagingArgs,
) -> Result<ExitCode, DriverError> {
    if !arguments.list {
        return Err(DriverError::Request {
            message: "making the archive is not supported yet: only `kiln package --list` is"
                .to_owned(),
            help: Some("use `cargo package` for the archive itself".to_owned()),
        });
    }
    let workspace = resolution::load(context)?;
    for warning in &workspace.warnings {
        shell.warning(warning);
    }
    let selection = PackageSelection::from_flags(
        arguments.packages.workspace,
        arguments.packages.exclude.clone(),
        arguments.packages.package.clone(),
    )?;
    let selected = unit::selected_members(&workspace, &selection)?;
    let packages: Vec<&Package> = selected.iter().map(|id| &**workspace.package(id)).collect();
    let options = PackagingOptions {
        allow_dirty: arguments.allow_dirty,
        exclude_lockfile: arguments.exclude_lockfile,
    };
    for package in packaging::in_order(&packages) {
        if !arguments.no_metadata {
            check_metadata(package, shell);
        }
        let list = packaging::list(package, options)?;
        for warning in &list.warnings {
            shell.warning(warning);
        }
        for file in &list.files {
            shell.line(&harmless_line(file));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what people would want to know of the package, and the manifest does not tell.
fn check_metadata(package: &Package, shell: &Shell) {
    let metadata = &package.metadata;
    let has = |field: &Option<String>| field.as_ref().is_some_and(|text| !text.is_empty());
    let mut missing = Vec::new();
    if !has(&metadata.description) {
        missing.push("description");
    }
    if !has(&metadata.license) && !has(&metadata.license_file) {
        missing.extend(["license", "license-file"]);
    }
    if !has(&metadata.documentation) && !has(&metadata.homepage) && !has(&metadata.repository) {
        missing.extend(["documentation", "homepage", "repository"]);
    }
    if let Some((last, others)) = missing.split_last() {
        let or = if others.is_empty() { "" } else { " or " };
        shell.warning(&format!("manifest has no {}{or}{last}", others.join(", ")));
    }
}
