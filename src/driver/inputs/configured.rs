//! What configuration comes to for one build: flags, linkers, stand-ins for build scripts and variables, for each
//! platform, once the toolchain is known.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cargo_platform::Cfg;

use crate::directive::{self, BuildScriptOutput};
use crate::driver::{Context, DriverError};
use crate::manifest::config::{Config, FlagsFor, ProgramName};
use crate::plan::settings::{PlatformSettings, Settings};
use crate::store::Store;
use crate::toolchain;
use crate::toolchain::model::RustToolchain;
use crate::unit::graph::Platform;

/// How often rustc is asked, if what it says depends on flags that depend on what it says.
const MAX_ROUNDS: usize = 2;

/// The triples that `requested` names, `host-tuple` being the host's.
fn triples(rust: &RustToolchain, requested: &[String]) -> Vec<String> {
    requested
        .iter()
        .map(|triple| match triple.as_str() {
            "host-tuple" => rust.version.host.clone(),
            other => other.to_owned(),
        })
        .collect()
}

/// The compiler that the user named. What it says of itself is asked without a sandbox, so a checkout cannot name one.
pub(in crate::driver) fn rustc(context: &Context) -> Result<Option<PathBuf>, DriverError> {
    let Some(rustc) = context.config.rustc()? else {
        return Ok(None);
    };
    if rustc.by_checkout {
        return Err(DriverError::Request {
            message: format!(
                "`{}` in `{}` names a compiler, `{}`, and kiln runs none that a checkout names",
                rustc.key, rustc.origin, rustc.program
            ),
            help: Some(
                "name a toolchain in `rust-toolchain.toml`, or say `RUSTC=…` or `--config build.rustc=…` yourself"
                    .to_owned(),
            ),
        });
    }
    Ok(Some(match rustc.program {
        ProgramName::Name(name) => PathBuf::from(name),
        ProgramName::Path(path) => path,
    }))
}

/// Asks rustc again about each platform that is compiled for with flags: they can change its cfg values, and these
/// which flags apply. Where platforms were asked for, units for the host get no flags.
pub(in crate::driver) fn probe_with_flags(
    context: &Context,
    store: &Store,
    rust: &mut RustToolchain,
    requested: &[String],
) -> Result<(), DriverError> {
    let mut platforms = triples(rust, requested);
    let for_host = platforms.is_empty();
    if for_host {
        platforms.push(rust.version.host.clone());
    }
    for triple in platforms {
        let mut flags = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let Some(info) = rust.targets.get(&triple) else {
                break;
            };
            let now = context.config.rustflags(&triple, &info.cfg)?;
            if now == flags {
                break;
            }
            let info = toolchain::rust::probe(store, rust, &triple, &now)?;
            rust.targets.insert(triple.clone(), info);
            flags = now;
        }
        if for_host && let Some(info) = rust.targets.get(&triple) {
            rust.host = info.clone();
        }
    }
    Ok(())
}

/// The variables of `[env]` that a program gets which the user runs: those that the user has set count for more, but for
/// forced ones.
pub(in crate::driver) fn environment_of_user(
    context: &Context,
) -> Result<BTreeMap<String, String>, DriverError> {
    let variables = context.config.environment()?.into_iter();
    Ok(variables
        .filter(|variable| variable.force || !context.variables.contains_key(&variable.name))
        .map(|variable| (variable.name, variable.value))
        .collect())
}

/// What programs for `platform` are run with: the runner and its arguments, or nothing.
pub(in crate::driver) fn runner(
    context: &Context,
    rust: &RustToolchain,
    platform: &Platform,
) -> Result<Vec<String>, DriverError> {
    let info = match platform {
        Platform::Host => Some(rust.host()),
        Platform::Target(triple) => rust.targets.get(&**triple),
    };
    let Some(info) = info else {
        return Ok(Vec::new());
    };
    let runner = context.config.runner(&info.triple, &info.cfg)?;
    Ok(runner.map_or_else(Vec::new, |runner| {
        let program = runner.program.program.to_string();
        std::iter::once(program).chain(runner.arguments).collect()
    }))
}

/// What configuration says of the units of a build for `requested`.
pub(in crate::driver) fn settings(
    context: &Context,
    rust: &RustToolchain,
    requested: &[String],
) -> Result<Settings, DriverError> {
    let config = &context.config;
    let mut host = platform(config, &rust.version.host, &rust.host().cfg)?;
    if !requested.is_empty() {
        // Cargo's rule: with `--target`, build scripts and procedural macros get none of the flags.
        host.rustflags.clear();
        host.rustdocflags.clear();
    }
    let mut targets = BTreeMap::new();
    for triple in triples(rust, requested) {
        if let Some(info) = rust.targets.get(&triple) {
            let settings = platform(config, &triple, &info.cfg)?;
            targets.insert(triple, settings);
        }
    }
    Ok(Settings {
        host,
        targets,
        ..Settings::default()
    })
}

fn platform(config: &Config, triple: &str, cfg: &[Cfg]) -> Result<PlatformSettings, DriverError> {
    Ok(PlatformSettings {
        rustflags: config.rustflags(triple, cfg)?,
        rustdocflags: config.flags(FlagsFor::Rustdoc, triple, cfg)?,
        linker: None,
        runner: Vec::new(),
        overrides: overrides(config, triple)?,
    })
}

/// What stands in for build scripts of packages that are compiled for `triple`.
fn overrides(
    config: &Config,
    triple: &str,
) -> Result<BTreeMap<String, BuildScriptOutput>, DriverError> {
    let mut overrides = BTreeMap::new();
    for one in config.links_overrides(triple)? {
        let output =
            directive::of_override(&one.directives).map_err(|error| DriverError::Request {
                message: format!(
                    "`target.{triple}.{}` of the configuration: {error}",
                    one.links
                ),
                help: error.help(),
            })?;
        overrides.insert(one.links, output);
    }
    Ok(overrides)
}
