//! Aliases of commands: `[alias]` of the configuration.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::CommandFactory as _;

use crate::cli::command::Cli;
use crate::driver::DriverError;
use crate::manifest::config::Config;

/// Flags before the command that have a value of their own.
const WITH_VALUE: [&str; 5] = [
    "--color",
    "--config",
    "--kiln-home",
    "--manifest-path",
    "-C",
];

/// What became of a command line.
pub(super) struct Expanded {
    /// The arguments, the program's name first.
    pub(super) arguments: Vec<OsString>,
    /// What the user is to be told.
    pub(super) warnings: Vec<String>,
}

/// Puts the words of aliases in their place, until the command is one of kiln's own. `config` reads the configuration:
/// it is asked only if the command is none, or may be redefined.
pub(super) fn expand(
    mut arguments: Vec<OsString>,
    variables: &BTreeMap<String, String>,
    config: impl Fn(&[String], &BTreeMap<String, String>) -> Result<Config, DriverError>,
) -> Result<Expanded, DriverError> {
    let command = Cli::command();
    let mut seen: Vec<String> = Vec::new();
    let mut warnings = Vec::new();
    while let Some(at) = command_position(&arguments) {
        let Some(word) = arguments[at].to_str().map(str::to_owned) else {
            break;
        };
        let is_own = command
            .get_subcommands()
            .any(|subcommand| subcommand.get_name() == word);
        if is_own && seen.is_empty() && !may_be_shadowed(&word, variables) {
            break;
        }
        let Ok(config) = config(&overrides(&arguments), variables) else {
            // It is said when the command itself reads it.
            break;
        };
        let Some(words) = config.alias(&word)? else {
            break;
        };
        if is_own {
            warnings.push(format!(
                "the alias `{word}` is ignored: `{word}` is a command of its own"
            ));
            break;
        }
        if seen.contains(&word) {
            seen.push(word.clone());
            return Err(DriverError::Request {
                message: format!("the alias `{word}` never ends: {}", seen.join(" -> ")),
                help: Some("have one of them name a command".to_owned()),
            });
        }
        if words.is_empty() {
            return Err(DriverError::Request {
                message: format!("the alias `{word}` stands for nothing"),
                help: Some("give it the words of a command, or remove it".to_owned()),
            });
        }
        seen.push(word);
        arguments.splice(at..=at, words.into_iter().map(OsString::from));
    }
    Ok(Expanded {
        arguments,
        warnings,
    })
}

/// Whether it is worth reading the configuration to say that an alias of this name is ignored: a variable says so.
fn may_be_shadowed(word: &str, variables: &BTreeMap<String, String>) -> bool {
    let name = word.to_uppercase().replace('-', "_");
    variables.contains_key(&format!("CARGO_ALIAS_{name}"))
}

/// Where the command stands.
fn command_position(arguments: &[OsString]) -> Option<usize> {
    let mut at = 1;
    while at < arguments.len() {
        let word = arguments[at].to_str()?;
        if !word.starts_with('-') {
            return Some(at);
        }
        if word == "--" {
            return None;
        }
        at += if WITH_VALUE.contains(&word) { 2 } else { 1 };
    }
    None
}

/// The values of `--config`.
fn overrides(arguments: &[OsString]) -> Vec<String> {
    let mut found = Vec::new();
    let mut words = arguments
        .iter()
        .skip(1)
        .map_while(|word| word.to_str())
        .take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        if word == "--config" {
            found.extend(words.next().map(str::to_owned));
        } else if let Some(value) = word.strip_prefix("--config=") {
            found.push(value.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_found_behind_flags() {
        for (line, expected) in [
            ("kiln build", Some(1)),
            ("kiln -v --config a=1 b", Some(4)),
            ("kiln --config=a=1 b", Some(2)),
            ("kiln --version", None),
            ("kiln -- build", None),
            ("kiln", None),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(command_position(&words), expected, "{line}");
        }
    }
}
