//! `clean`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::cli::shell::{Shell, Verbosity};
use crate::cli::target::artifact_directory;
use crate::driver::cleaning::{CleanRequest, Cleaned, clean as take_away};
use crate::driver::{Context, DriverError, resolution};
use crate::manifest::model::{Package, Workspace};
use crate::unit;

/// Flags of `clean`.
#[derive(Debug, Clone, Default, Args)]
pub struct CleanArgs {
    /// Only what was built of this package
    #[arg(short, long, value_name = "SPEC")]
    pub package: Vec<String>,
    /// Only what was built of the members of the workspace
    #[arg(long)]
    pub workspace: bool,
    /// Only what the `release` profile made
    #[arg(short, long, conflicts_with = "profile")]
    pub release: bool,
    /// Only what this profile made
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Only what is for this target triple
    #[arg(long, value_name = "TRIPLE")]
    pub target: Vec<String>,
    /// Only documentation
    #[arg(long, conflicts_with_all = ["package", "workspace", "release", "profile"])]
    pub doc: bool,
    /// Directory for everything that is handed out (below it: `kiln/…`)
    #[arg(long, value_name = "DIR")]
    pub target_dir: Option<PathBuf>,
    /// Only say how much it is
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `kiln clean`: what builds put below `target/kiln`; the store is `kiln cache`'s.
pub(super) fn clean(
    context: &Context,
    shell: &Shell,
    arguments: &CleanArgs,
) -> Result<ExitCode, DriverError> {
    let workspace = resolution::load(context)?;
    let profile = if arguments.release {
        Some("release")
    } else {
        arguments.profile.as_deref()
    };
    for triple in &arguments.target {
        if triple.is_empty() || triple.contains(['/', '\\']) || triple.starts_with('.') {
            return Err(DriverError::Request {
                message: format!("`{triple}` is no target triple"),
                help: Some("give a name such as `x86_64-unknown-linux-gnu`".to_owned()),
            });
        }
    }
    let request = CleanRequest {
        packages: packages(&workspace, arguments)?,
        profile_directory: profile
            .map(|name| profile_directory(&workspace, name))
            .transpose()?,
        triples: arguments.target.clone(),
        documentation: arguments.doc,
        dry_run: arguments.dry_run,
    };
    let own = artifact_directory(context, &workspace, arguments.target_dir.as_deref());
    let cleaned = take_away(&own, &request)?;
    if shell.verbosity() > Verbosity::Normal {
        for path in &cleaned.paths {
            shell.status("Removing", &path.display().to_string());
        }
    }
    let verb = if arguments.dry_run {
        "Summary"
    } else {
        "Removed"
    };
    shell.status(verb, &summary(&cleaned));
    if arguments.dry_run {
        shell.warning("no files deleted due to --dry-run");
    }
    Ok(ExitCode::SUCCESS)
}

fn summary(cleaned: &Cleaned) -> String {
    let count = match (cleaned.files, cleaned.directories) {
        (0, 0) => "0 files".to_owned(),
        (0, 1) => "1 directory".to_owned(),
        (0, directories) => format!("{directories} directories"),
        (1, _) => "1 file".to_owned(),
        (files, _) => format!("{files} files"),
    };
    if cleaned.bytes == 0 {
        return count;
    }
    let bytes = indicatif::BinaryBytes(cleaned.bytes);
    format!("{count}, {bytes} total")
}

/// The packages that `-p` and `--workspace` name, those of them that anything is built of by name.
fn packages(
    workspace: &Workspace,
    arguments: &CleanArgs,
) -> Result<Option<Vec<Arc<Package>>>, DriverError> {
    if arguments.package.is_empty() && !arguments.workspace {
        return Ok(None);
    }
    let mut packages: Vec<Arc<Package>> = Vec::new();
    if arguments.workspace {
        let members = workspace.members.iter();
        packages.extend(members.map(|id| workspace.package(id).clone()));
    }
    let lock = resolution::lock_as_it_is(workspace)?;
    for spec in &arguments.package {
        let locked = lock.iter().flat_map(|lock| lock.packages.keys());
        let own = workspace.packages.keys();
        let mut all: Vec<_> = own.chain(locked).collect();
        all.sort();
        all.dedup();
        // What is not in the workspace is never handed out.
        packages.extend(
            workspace
                .packages
                .get(unit::find_package(spec, all)?)
                .cloned(),
        );
    }
    Ok(Some(packages))
}

/// The directory of a profile that there is.
fn profile_directory(workspace: &Workspace, name: &str) -> Result<String, DriverError> {
    match name {
        "dev" | "test" => Ok("debug".to_owned()),
        "release" | "bench" => Ok("release".to_owned()),
        other if workspace.profiles.tables.contains_key(other) => Ok(other.to_owned()),
        other => Err(DriverError::Request {
            message: format!("profile `{other}` is not defined"),
            help: Some(format!(
                "define `[profile.{other}]` in the workspace's manifest, or look for a typo"
            )),
        }),
    }
}
