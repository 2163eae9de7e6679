//! The command line: arguments, environment, printing, exit status. What to do is decided elsewhere.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use clap::error::{ContextKind, ContextValue};

use crate::cli::args::{ColorChoice, CompileArgs, GlobalArgs, HermeticArgs};
use crate::cli::command::{Cli, Command};
use crate::cli::shell::{Shell, Verbosity};
use crate::driver::{Context, DriverError, LockMode};
use crate::manifest::config::{
    Config, ConfigInputs, NetworkSettings, ProgressWhen, TerminalSettings,
};
use crate::registry::{NetworkConfig, Proxies, Roots};

mod alias;
#[expect(unreachable_pub, reason = "clap derives on plain types")]
mod args;
mod build;
mod cache;
#[expect(unreachable_pub, reason = "clap derives on plain types")]
mod clean;
mod clippy;
mod command;
mod compile;
mod doc;
mod doctor;
mod elsewhere;
#[expect(unreachable_pub, reason = "clap derives on plain types")]
mod explain;
mod fetching;
#[expect(unreachable_pub, reason = "clap derives on plain types")]
mod install;
#[expect(unreachable_pub, reason = "clap derives on plain types")]
mod locate;
#[expect(unreachable_pub, reason = "clap derives on plain types")]
mod metadata;
mod observe;
#[expect(unreachable_pub, reason = "clap derives on plain types")]
mod package;
mod plan;
#[expect(unreachable_pub, reason = "clap derives on plain types")]
mod policy;
mod report;
mod run;
mod shell;
mod target;
mod test;
#[expect(unreachable_pub, reason = "clap derives on plain types")]
mod tree;
mod untrusted;
#[expect(unreachable_pub, reason = "clap derives on plain types")]
mod update;
#[expect(unreachable_pub, reason = "clap derives on plain types")]
mod vendor;
mod version;

/// The hidden first argument that makes this program the process that unpacks one archive.
const UNPACK_WORKER: &str = "unpack-worker";
/// cargo's exit status for any error.
const FAILURE: u8 = 101;
/// cargo's exit status for a command line that makes no sense.
const USAGE: u8 = 1;
/// What a shell gives for a process that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// Runs kiln with `arguments`, the program's name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // Before anything else: the worker confines itself while it is a single thread that has opened nothing.
    if arguments
        .get(1)
        .is_some_and(|argument| argument == UNPACK_WORKER)
    {
        return crate::source::run_worker(arguments.into_iter().skip(2), crate::source::confine_to);
    }
    let given: Vec<String> = arguments
        .iter()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let (toolchain, arguments) = split_toolchain(arguments);
    let variables = environment();
    let expanded = alias::expand(arguments, &variables, |overrides, variables| {
        configuration(ConfiguredFrom::Here, overrides, variables)
    });
    let (arguments, warnings) = match expanded {
        Ok(expanded) => (expanded.arguments, expanded.warnings),
        Err(error) => {
            shell(&GlobalArgs::default(), None, &variables).report(&error.report());
            return ExitCode::from(FAILURE);
        }
    };
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            if error.kind() == clap::error::ErrorKind::DisplayVersion {
                return version::version(
                    given.iter().any(|argument| version::is_verbose(argument)),
                );
            }
            if let Some(ContextValue::String(command)) = error.get(ContextKind::InvalidSubcommand)
                && let Some(help) = elsewhere::instead(command)
            {
                let error = DriverError::Request {
                    message: format!("kiln has no command `{command}`"),
                    help: Some(help),
                };
                shell(&GlobalArgs::default(), None, &variables).report(&error.report());
                return ExitCode::from(FAILURE);
            }
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    if let Command::Version = cli.command {
        return version::version(cli.global.verbose > 0);
    }
    let start = cli.command.configured_from();
    let config = configuration(start, &cli.global.config, &variables);
    let shell = shell(
        &cli.global,
        config.as_ref().map(|config| &config.terminal).ok(),
        &variables,
    );
    for warning in &warnings {
        shell.warning(warning);
    }
    let mut home = None;
    let context =
        config.and_then(|config| context(&cli, given, toolchain, variables, config, &shell));
    let result = context.and_then(|context| {
        home = Some(context.home.clone());
        match cli.command {
            Command::Build(ref arguments) => build::build(&context, &shell, arguments, false),
            Command::Check(ref arguments) => build::build(&context, &shell, arguments, true),
            Command::Run(ref arguments) => run::run(&context, &shell, arguments),
            Command::Test(ref arguments) => test::test(&context, &shell, arguments),
            Command::Bench(ref arguments) => test::bench(&context, &shell, arguments),
            Command::Doc(ref arguments) => doc::doc(&context, &shell, arguments),
            Command::Clippy(ref arguments) => clippy::clippy(&context, &shell, arguments),
            Command::Plan(ref arguments) => plan::plan(&context, &shell, arguments),
            Command::Fetch(ref arguments) => fetching::fetch(&context, &shell, arguments),
            Command::Vendor(ref arguments) => vendor::vendor(&context, &shell, arguments),
            Command::GenerateLockfile(ref arguments) => {
                update::generate_lockfile(&context, &shell, arguments)
            }
            Command::Update(ref arguments) => update::update(&context, &shell, arguments),
            Command::Install(ref arguments) => install::install(&context, &shell, arguments),
            Command::Metadata(ref arguments) => metadata::metadata(&context, &shell, arguments),
            Command::Package(ref arguments) => package::package(&context, &shell, arguments),
            Command::Clean(ref arguments) => clean::clean(&context, &shell, arguments),
            Command::Tree(ref arguments) => tree::show(&context, &shell, arguments),
            Command::ReadManifest => metadata::read_manifest(&context, &shell),
            Command::VerifyProject => locate::verify_project(&context, &shell),
            Command::LocateProject(ref arguments) => {
                locate::locate_project(&context, &shell, arguments)
            }
            Command::Pkgid(ref arguments) => locate::pkgid(&context, &shell, arguments),
            // Said already: it needs no context.
            Command::Version => Ok(ExitCode::SUCCESS),
            Command::Policy(ref arguments) => policy::policy(&context, &shell, &arguments.command),
            Command::Explain(ref arguments) => explain::explain(&context, &shell, arguments),
            Command::Doctor => doctor::doctor(&context, &shell),
            Command::Cache(ref arguments) => cache::cache(&context, &shell, &arguments.command),
        }
    });
    shell.clear_progress();
    match result {
        Ok(code) => code,
        // Every failed action has been reported.
        Err(DriverError::ActionsFailed { .. }) => ExitCode::from(FAILURE),
        Err(DriverError::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            let mut report = error.report();
            if error.concerns_store()
                && let Some(home) = home
            {
                report = report.at(format!("the store `{}`", home.display()));
            }
            shell.report(&report);
            ExitCode::from(FAILURE)
        }
    }
}

/// Takes `+TOOLCHAIN` from the front, as rustup's cargo does.
fn split_toolchain(mut arguments: Vec<OsString>) -> (Option<String>, Vec<OsString>) {
    let toolchain = arguments
        .get(1)
        .and_then(|argument| argument.to_str())
        .and_then(|argument| argument.strip_prefix('+'))
        .map(str::to_owned);
    if toolchain.is_some() {
        arguments.remove(1);
    }
    (toolchain, arguments)
}

/// The environment, without what is not UTF-8: nothing that kiln looks at can be that.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Where the search for configuration begins, which goes upwards and ends at cargo's home.
enum ConfiguredFrom {
    /// Where the user is.
    Here,
    /// In this directory.
    Directory(PathBuf),
    /// At cargo's home: what is built is not the user's workspace, and what happens to lie around where he is has no say
    /// in it.
    Home,
}

/// Reads cargo's configuration.
fn configuration(
    from: ConfiguredFrom,
    overrides: &[String],
    variables: &BTreeMap<String, String>,
) -> Result<Config, DriverError> {
    let directory = working_directory()?;
    let home = crate::driver::cargo_home(variables).map(|home| directory.join(home));
    let start = match (from, &home) {
        (ConfiguredFrom::Home, Some(home)) => home.clone(),
        (ConfiguredFrom::Directory(start), _) => directory.join(start),
        (ConfiguredFrom::Here | ConfiguredFrom::Home, _) => directory,
    };
    Ok(Config::load(&ConfigInputs {
        start,
        home,
        environment: variables.clone(),
        overrides,
    })?)
}

fn working_directory() -> Result<PathBuf, DriverError> {
    std::env::current_dir().map_err(|source| DriverError::File {
        path: PathBuf::from("."),
        verb: "read",
        source,
    })
}

/// The terminal as the flags want it, and where these say nothing, `[term]`.
fn shell(
    global: &GlobalArgs,
    settings: Option<&TerminalSettings>,
    variables: &BTreeMap<String, String>,
) -> Shell {
    let default = TerminalSettings::default();
    let settings = settings.unwrap_or(&default);
    let verbosity = match (global.quiet, global.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, 0) if settings.quiet => Verbosity::Quiet,
        (false, 0) if settings.verbose => Verbosity::Verbose,
        (false, 0) => Verbosity::Normal,
        (false, 1) => Verbosity::Verbose,
        (false, _) => Verbosity::VeryVerbose,
    };
    let colors = match global.color {
        Some(ColorChoice::Always) => Some(true),
        Some(ColorChoice::Never) => Some(false),
        Some(ColorChoice::Auto) => None,
        None => settings.color,
    };
    let dumb =
        variables.get("TERM").is_some_and(|term| term == "dumb") || variables.contains_key("CI");
    let progress = match settings.progress {
        ProgressWhen::Never => false,
        ProgressWhen::Always => true,
        ProgressWhen::Auto => !dumb && std::io::stderr().is_terminal(),
    };
    Shell::new(verbosity, colors, progress)
}

fn context(
    cli: &Cli,
    arguments: Vec<String>,
    toolchain: Option<String>,
    variables: BTreeMap<String, String>,
    config: Config,
    shell: &Shell,
) -> Result<Context, DriverError> {
    let global = &cli.global;
    let request = |message: &str, help: &str| DriverError::Request {
        message: message.to_owned(),
        help: Some(help.to_owned()),
    };
    let directory = working_directory()?;
    let home = match &global.kiln_home {
        Some(home) => directory.join(home),
        None => default_home(&variables).ok_or_else(|| {
            request(
                "there is no place for the store",
                "set `KILN_HOME` to a directory, or `HOME`",
            )
        })?,
    };
    let manifest_path = match &global.manifest_path {
        None => None,
        Some(path) => {
            let path = directory.join(path);
            if path.file_name().is_none_or(|name| name != "Cargo.toml") {
                return Err(request(
                    &format!(
                        "the manifest path `{}` does not name a `Cargo.toml`",
                        path.display()
                    ),
                    "give the path of the file itself",
                ));
            }
            if !path.is_file() {
                return Err(request(
                    &format!("the manifest path `{}` does not exist", path.display()),
                    "look for a typo, or leave `--manifest-path` out to search upwards from here",
                ));
            }
            Some(normalized(&path))
        }
    };
    let program = std::env::current_exe().map_err(|source| DriverError::File {
        path: PathBuf::from("/proc/self/exe"),
        verb: "read",
        source,
    })?;
    let offline = global.offline || global.frozen || config.network.offline;
    for warning in &config.warnings {
        shell.warning(&crate::message::text::harmless_line(warning));
    }
    let lock = if global.frozen {
        LockMode::Demand("--frozen")
    } else if global.locked {
        LockMode::Demand("--locked")
    } else if cli.command.is_hermetic() {
        LockMode::Demand("--hermetic")
    } else {
        LockMode::Update
    };
    shell.verbose_status("Store", &home.display().to_string());
    Ok(Context {
        alone: false,
        overlay: Default::default(),
        network: network(&config.network, &variables, offline),
        home,
        directory,
        manifest_path,
        arguments,
        variables,
        program,
        lock,
        ignore_rust_version: cli.command.ignores_rust_version(),
        toolchain: toolchain.or_else(|| cli.command.toolchain()),
        config: Arc::new(config),
    })
}

/// `$XDG_CACHE_HOME/kiln`, or `~/.cache/kiln`.
fn default_home(variables: &BTreeMap<String, String>) -> Option<PathBuf> {
    let absolute = |name: &str| {
        variables
            .get(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("kiln"))
}

/// Proxies, certificates and limits, from configuration and from the variables that users of curl know.
fn network(
    settings: &NetworkSettings,
    variables: &BTreeMap<String, String>,
    offline: bool,
) -> NetworkConfig {
    let mut config = NetworkConfig {
        offline,
        ..NetworkConfig::default()
    };
    if let Some(seconds) = settings.timeout_seconds {
        config.timeout = Duration::from_secs(seconds);
    }
    if let Some(retries) = settings.retry {
        config.retries = retries;
    }
    if let Some(bytes) = settings.low_speed_bytes {
        config.low_speed_bytes = bytes;
    }
    if let Some(multiplexing) = settings.multiplexing {
        config.multiplexing = multiplexing;
    }
    if let Some(agent) = &settings.user_agent {
        config.user_agent.clone_from(agent);
    }
    config.proxies = Proxies::from_variables(settings.proxy.as_deref(), |name| {
        variables.get(name).cloned()
    });
    let curl = variables
        .get("CURL_CA_BUNDLE")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from);
    let more: Vec<PathBuf> = settings.cainfo.iter().cloned().chain(curl).collect();
    if !more.is_empty() {
        config.roots = Roots::SystemAnd(more);
    }
    config
}

/// An absolute path without `.` and `..`, as far as that can be said without looking at the disk.
fn normalized(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::ParentDir => {
                result.pop();
            }
            std::path::Component::CurDir => {}
            other => result.push(other),
        }
    }
    result
}

impl Command {
    /// The flags that all commands share that compile.
    fn compile(&self) -> Option<(&CompileArgs, &HermeticArgs)> {
        match self {
            Command::Build(arguments) | Command::Check(arguments) => {
                Some((&arguments.common.compile, &arguments.common.hermetic))
            }
            Command::Run(arguments) => {
                Some((&arguments.common.compile, &arguments.common.hermetic))
            }
            Command::Doc(arguments) => {
                Some((&arguments.common.compile, &arguments.common.hermetic))
            }
            Command::Clippy(arguments) => Some((
                &arguments.build.common.compile,
                &arguments.build.common.hermetic,
            )),
            Command::Test(arguments) => Some((
                &arguments.build.common.compile,
                &arguments.build.common.hermetic,
            )),
            Command::Bench(arguments) => Some((
                &arguments.build.common.compile,
                &arguments.build.common.hermetic,
            )),
            Command::Plan(arguments) => Some((
                &arguments.build.common.compile,
                &arguments.build.common.hermetic,
            )),
            _ => None,
        }
    }

    /// Where the configuration that counts begins.
    fn configured_from(&self) -> ConfiguredFrom {
        match self {
            Command::Install(arguments) => match &arguments.path {
                Some(path) => ConfiguredFrom::Directory(path.clone()),
                None => ConfiguredFrom::Home,
            },
            _ => ConfiguredFrom::Here,
        }
    }

    /// Whether the command promises a hermetic build.
    fn is_hermetic(&self) -> bool {
        match self {
            Command::Install(arguments) => arguments.hermetic.hermetic,
            _ => self
                .compile()
                .is_some_and(|(_, hermetic)| hermetic.hermetic),
        }
    }

    /// `--toolchain`
    fn toolchain(&self) -> Option<String> {
        match self {
            Command::Install(arguments) => arguments.toolchain.clone(),
            _ => self.compile()?.0.toolchain.clone(),
        }
    }

    /// `--ignore-rust-version`
    fn ignores_rust_version(&self) -> bool {
        match self {
            Command::Update(arguments) => return arguments.ignore_rust_version,
            Command::GenerateLockfile(arguments) => return arguments.ignore_rust_version,
            Command::Install(arguments) => return arguments.ignore_rust_version,
            _ => {}
        }
        self.compile()
            .is_some_and(|(compile, _)| compile.ignore_rust_version)
    }
}
