//! `policy show`: what each crate is granted, by whom and why.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::Format;
use crate::cli::args::FeatureArgs;
use crate::cli::compile::{configure, features};
use crate::cli::report::FetchView;
use crate::cli::shell::Shell;
use crate::driver::policies::{self, Effective};
use crate::driver::{Context, DriverError};
use crate::message::text::harmless_line;
use crate::policy::{BuildMode, Grant};
use crate::store::Store;
use crate::unit::{BuildRequest, Intent, PackageSelection};

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

pub(super) fn show(
    context: &Context,
    shell: &Shell,
    arguments: &ShowArgs,
) -> Result<ExitCode, DriverError> {
    let mut request = BuildRequest::new(Intent::Test);
    request.packages = PackageSelection::Workspace(Vec::new());
    request.features = features(&arguments.features);
    request.platforms.clone_from(&arguments.target);
    configure(context, &mut request);
    let mode = BuildMode::of(arguments.hermetic);
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
