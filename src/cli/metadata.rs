//! `metadata` and `read-manifest`.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::cli::args::FeatureArgs;
use crate::cli::compile::features;
use crate::cli::report::FetchView;
use crate::cli::shell::Shell;
use crate::cli::target::artifact_directory;
use crate::driver::{Context, DriverError, resolution, viewing};
use crate::inspect::metadata::{MetadataGraph, MetadataInput, manifest_json, metadata_json};
use crate::store::Store;
use crate::unit::{Activation, BuildRequest, Intent, PackageSelection, Platforms};

/// Flags of `metadata`.
#[derive(Debug, Clone, Default, Args)]
pub struct MetadataArgs {
    /// Only what this target triple needs
    #[arg(long, value_name = "TRIPLE")]
    pub filter_platform: Vec<String>,
    /// Only the members of the workspace, without resolving or fetching anything
    #[arg(long)]
    pub no_deps: bool,
    /// The version of the format
    #[arg(long, value_name = "VERSION", value_parser = ["1"])]
    pub format_version: Option<String>,
    /// Which features.
    #[command(flatten)]
    pub features: FeatureArgs,
}

/// `kiln metadata`: what cargo's prints.
pub(super) fn metadata(
    context: &Context,
    shell: &Shell,
    arguments: &MetadataArgs,
) -> Result<ExitCode, DriverError> {
    if arguments.format_version.is_none() {
        shell.warning(
            "say `--format-version 1`: without it, another version of kiln may print another format",
        );
    }
    let json = if arguments.no_deps {
        let workspace = resolution::load(context)?;
        for warning in &workspace.warnings {
            shell.warning(warning);
        }
        metadata_json(&MetadataInput {
            target_directory: &artifact_directory(context, &workspace, None),
            workspace: &workspace,
            graph: None,
        })?
    } else {
        let mut request = BuildRequest::new(Intent::Test);
        request.packages = PackageSelection::Workspace(Vec::new());
        request.features = features(&arguments.features);
        request.platforms.clone_from(&arguments.filter_platform);
        let everywhere = arguments.filter_platform.is_empty();
        let store = Arc::new(Store::open(&context.home)?);
        let mut view = FetchView::new(shell);
        let viewed = viewing::view(context, &store, &request, everywhere, &mut view)?;
        view.end();
        let platforms = Platforms::of(&viewed.rust);
        let activation = if everywhere {
            Activation::everywhere(platforms)
        } else {
            Activation::requested(platforms, &request)?
        };
        let workspace = &viewed.resolved.workspace;
        metadata_json(&MetadataInput {
            workspace,
            graph: Some(MetadataGraph {
                resolve: &viewed.narrowed,
                packages: &viewed.packages,
                activation,
            }),
            target_directory: &artifact_directory(context, workspace, None),
        })?
    };
    shell.line(&json);
    Ok(ExitCode::SUCCESS)
}

/// `kiln read-manifest`: the entry of one package.
pub(super) fn read_manifest(context: &Context, shell: &Shell) -> Result<ExitCode, DriverError> {
    let workspace = resolution::load(context)?;
    let package = resolution::current_package(&workspace)?;
    shell.line(&manifest_json(workspace.package(package))?);
    Ok(ExitCode::SUCCESS)
}
