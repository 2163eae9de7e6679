//! The command line: arguments, environment, printing, exit status. What to do is decided elsewhere.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use crate::cli::args::{Cli, ColorChoice, Command, GlobalArgs};
use crate::cli::shell::{Shell, Verbosity};
use crate::driver::{Context, DriverError, LockMode};
use crate::registry::{NetworkConfig, Proxies, Roots};

#[expect(unreachable_pub, reason = "clap derives on plain types")]
mod args;
mod build;
mod cache;
mod doctor;

mod fetching;
mod install;
#[expect(unreachable_pub, reason = "clap derives on plain types")]
mod locate;
#[expect(unreachable_pub, reason = "clap derives on plain types")]
mod metadata;
mod observe;
mod report;
mod shell;
mod target;

/// The hidden first argument that makes this program the process that unpacks one archive.
const UNPACK_WORKER: &str = "unpack-worker";
/// cargo's exit status for any error.
const FAILURE: u8 = 101;
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
    let given = arguments
        .iter()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let (toolchain, arguments) = split_toolchain(arguments);
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(FAILURE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let variables = environment();
    let shell = shell(&cli.global, &variables);
    let mut home = None;
    let result = context(&cli, given, toolchain, variables, &shell).and_then(|context| {
        home = Some(context.home.clone());
        match cli.command {
            Command::Build(ref arguments) => build::build(&context, &shell, arguments, false),
            Command::Check(ref arguments) => build::build(&context, &shell, arguments, true),
            Command::Plan(ref arguments) => build::plan(&context, &shell, arguments),
            Command::Fetch(ref arguments) => fetching::fetch(&context, &shell, arguments),
            Command::GenerateLockfile => fetching::generate_lockfile(&context, &shell),
            Command::Install(ref arguments) => install::install(&context, &shell, arguments),
            Command::Metadata(ref arguments) => metadata::metadata(&context, &shell, arguments),
            Command::ReadManifest => metadata::read_manifest(&context, &shell),
            Command::VerifyProject => locate::verify_project(&context, &shell),
            Command::LocateProject(ref arguments) => {
                locate::locate_project(&context, &shell, arguments)
            }
            Command::Pkgid(ref arguments) => locate::pkgid(&context, &shell, arguments),
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

fn shell(global: &GlobalArgs, variables: &BTreeMap<String, String>) -> Shell {
    let verbosity = match (global.quiet, global.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, 0) => Verbosity::Normal,
        (false, 1) => Verbosity::Verbose,
        (false, _) => Verbosity::VeryVerbose,
    };
    let configured = variables.get("CARGO_TERM_COLOR").map(String::as_str);
    let colors = match (global.color, configured) {
        (Some(ColorChoice::Always), _) | (None, Some("always")) => Some(true),
        (Some(ColorChoice::Never), _) | (None, Some("never")) => Some(false),
        _ => None,
    };
    let dumb =
        variables.get("TERM").is_some_and(|term| term == "dumb") || variables.contains_key("CI");
    Shell::new(verbosity, colors, !dumb && std::io::stderr().is_terminal())
}

fn context(
    cli: &Cli,
    arguments: Vec<String>,
    toolchain: Option<String>,
    variables: BTreeMap<String, String>,
    shell: &Shell,
) -> Result<Context, DriverError> {
    let global = &cli.global;
    let request = |message: &str, help: &str| DriverError::Request {
        message: message.to_owned(),
        help: Some(help.to_owned()),
    };
    let directory = std::env::current_dir().map_err(|source| DriverError::File {
        path: PathBuf::from("."),
        verb: "read",
        source,
    })?;
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
    let set = |name: &str| {
        variables
            .get(name)
            .is_some_and(|value| value == "true" || value == "1")
    };
    let offline = global.offline || global.frozen || set("CARGO_NET_OFFLINE");
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
        network: network(&variables, offline),
        home,
        directory,
        manifest_path,
        arguments,
        variables,
        program,
        lock,
        toolchain: toolchain.or_else(|| cli.command.toolchain()),
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

/// Proxies, certificates and limits, from the variables that users of cargo and curl know.
fn network(variables: &BTreeMap<String, String>, offline: bool) -> NetworkConfig {
    let mut config = NetworkConfig {
        offline,
        ..NetworkConfig::default()
    };
    let number = |name: &str| {
        variables
            .get(name)
            .and_then(|value| value.parse::<u32>().ok())
    };
    if let Some(seconds) = number("CARGO_HTTP_TIMEOUT").or_else(|| number("HTTP_TIMEOUT")) {
        config.timeout = Duration::from_secs(seconds.into());
    }
    if let Some(retries) = number("CARGO_NET_RETRY") {
        config.retries = retries;
    }
    if let Some(bytes) = number("CARGO_HTTP_LOW_SPEED_LIMIT") {
        config.low_speed_bytes = bytes;
    }
    if variables
        .get("CARGO_HTTP_MULTIPLEXING")
        .is_some_and(|value| value == "false")
    {
        config.multiplexing = false;
    }
    config.proxies = Proxies::from_variables(
        variables.get("CARGO_HTTP_PROXY").map(String::as_str),
        |name| variables.get(name).cloned(),
    );
    let file = |name: &str| {
        variables
            .get(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let more: Vec<PathBuf> = ["CARGO_HTTP_CAINFO", "CURL_CA_BUNDLE"]
        .into_iter()
        .filter_map(file)
        .collect();
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
    /// Whether the command promises a hermetic build.
    fn is_hermetic(&self) -> bool {
        match self {
            Command::Build(arguments) | Command::Check(arguments) => arguments.hermetic.hermetic,
            Command::Plan(arguments) => arguments.build.hermetic.hermetic,
            Command::Install(_) => true,
            _ => false,
        }
    }

    /// `--toolchain`
    fn toolchain(&self) -> Option<String> {
        match self {
            Command::Build(arguments) | Command::Check(arguments) => {
                arguments.compile.toolchain.clone()
            }
            Command::Plan(arguments) => arguments.build.compile.toolchain.clone(),
            _ => None,
        }
    }
}
