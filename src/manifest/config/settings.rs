//! `[http]`, `[net]`, `[term]`: how the network is used and what the terminal shows.

use std::path::PathBuf;

use super::ConfigError;
use super::layers::Layers;

/// `[http]` and `[net]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkSettings {
    /// `net.offline`
    pub offline: bool,
    /// `net.git-fetch-with-cli`
    pub git_fetch_with_cli: bool,
    /// `net.retry`
    pub retry: Option<u32>,
    /// `http.proxy`
    pub proxy: Option<String>,
    /// `http.timeout`, seconds; also `HTTP_TIMEOUT`.
    pub timeout_seconds: Option<u64>,
    /// `http.low-speed-limit`, bytes a second.
    pub low_speed_bytes: Option<u32>,
    /// `http.multiplexing`
    pub multiplexing: Option<bool>,
    /// `http.cainfo`, absolute.
    pub cainfo: Option<PathBuf>,
    /// `http.user-agent`
    pub user_agent: Option<String>,
}

/// When the progress bar is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProgressWhen {
    /// On a terminal that can.
    #[default]
    Auto,
    /// Never.
    Never,
    /// Always.
    Always,
}

/// `[term]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TerminalSettings {
    /// `term.quiet`
    pub quiet: bool,
    /// `term.verbose`
    pub verbose: bool,
    /// `term.color`: whether to colour; `None` for `auto`.
    pub color: Option<bool>,
    /// `term.progress.when`
    pub progress: ProgressWhen,
}

impl NetworkSettings {
    pub(super) fn read(
        layers: &Layers,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let number = |key: &[&str]| -> Result<Option<u64>, ConfigError> {
            let Some(number) = layers.integer(key)? else {
                return Ok(None);
            };
            u64::try_from(number).map(Some).map_err(|_| {
                layers
                    .origin(key)
                    .error(&key.join("."), format!("`{number}` is negative"))
            })
        };
        let small = |key: &[&str]| -> Result<Option<u32>, ConfigError> {
            let Some(number) = number(key)? else {
                return Ok(None);
            };
            u32::try_from(number).map(Some).map_err(|_| {
                layers
                    .origin(key)
                    .error(&key.join("."), format!("`{number}` is too large"))
            })
        };
        let text = |key: &[&str]| Ok::<_, ConfigError>(layers.string(key)?.map(|(text, _)| text));
        Ok(Self {
            offline: layers.boolean(&["net", "offline"])?.unwrap_or(false),
            git_fetch_with_cli: layers
                .boolean(&["net", "git-fetch-with-cli"])?
                .unwrap_or(false),
            retry: small(&["net", "retry"])?,
            proxy: text(&["http", "proxy"])?,
            timeout_seconds: match number(&["http", "timeout"])? {
                Some(seconds) => Some(seconds),
                None => variable("HTTP_TIMEOUT").and_then(|seconds| seconds.parse().ok()),
            },
            low_speed_bytes: small(&["http", "low-speed-limit"])?,
            multiplexing: layers.boolean(&["http", "multiplexing"])?,
            cainfo: layers.path(&["http", "cainfo"])?,
            user_agent: text(&["http", "user-agent"])?,
        })
    }
}

impl TerminalSettings {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let choice = |key: &[&str], choices: [&str; 3]| -> Result<Option<usize>, ConfigError> {
            let Some((text, origin)) = layers.string(key)? else {
                return Ok(None);
            };
            let position = choices.iter().position(|choice| *choice == text);
            position.map(Some).ok_or_else(|| {
                let known = choices.map(|choice| format!("`{choice}`")).join(", ");
                origin.error(&key.join("."), format!("`{text}` is none of {known}"))
            })
        };
        let quiet = layers.boolean(&["term", "quiet"])?.unwrap_or(false);
        let verbose = layers.boolean(&["term", "verbose"])?.unwrap_or(false);
        if quiet && verbose {
            return Err(layers.origin(&["term", "quiet"]).error(
                "term.quiet",
                "`term.verbose` is set as well: only one of them can be",
            ));
        }
        let progress = choice(&["term", "progress", "when"], ["auto", "never", "always"])?;
        if progress == Some(2) && layers.integer(&["term", "progress", "width"])?.is_none() {
            return Err(layers
                .origin(&["term", "progress", "when"])
                .error("term.progress", "`when = \"always\"` needs a `width`"));
        }
        Ok(Self {
            quiet,
            verbose,
            color: match choice(&["term", "color"], ["auto", "never", "always"])? {
                Some(1) => Some(false),
                Some(2) => Some(true),
                _ => None,
            },
            progress: match progress {
                Some(1) => ProgressWhen::Never,
                Some(2) => ProgressWhen::Always,
                _ => ProgressWhen::Auto,
            },
        })
    }
}
