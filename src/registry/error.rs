//! What can go wrong between kiln and a registry.

use std::path::PathBuf;

use semver::Version;

use crate::diag::Report;
use crate::package::PackageName;

/// Why a registry's index, or something it serves, could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A setting makes no sense.
    #[error("{what} `{value}` cannot be used: {why}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// Its value, without credentials.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// The network layer could not be set up.
    #[error("cannot set up the network client: {what}")]
    Setup {
        /// Which part.
        what: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A plain http address where https is demanded.
    #[error("refusing to fetch `{url}`: it is not https{}", from.as_ref().map(|from| format!(", and `{from}` leads there")).unwrap_or_default())]
    Insecure {
        /// The address.
        url: String,
        /// What led there, if something did.
        from: Option<String>,
    },
    /// A redirection that cannot be followed.
    #[error("cannot follow the redirection of `{url}`: {why}")]
    Redirect {
        /// The address that answered with a redirection.
        url: String,
        /// Why it is not followed.
        why: String,
    },
    /// A file of a local registry cannot be read.
    #[error("the local registry's `{path}` cannot be read", path = path.display())]
    Local {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Nothing says where the registry of a package is.
    #[error("the registry of `{name}` is not configured")]
    NotConfigured {
        /// The package.
        name: PackageName,
    },
    /// The registry has no such package.
    #[error("no package `{name}` in the registry `{registry}`{}", near_text(near))]
    NoSuchPackage {
        /// The name that was asked for.
        name: PackageName,
        /// The registry's index address.
        registry: String,
        /// Names that differ in spelling only and do exist.
        near: Vec<String>,
    },
    /// The registry has the package, but not that version.
    #[error("no version `{version}` of package `{name}` in the registry `{registry}`{}", why.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    NoSuchVersion {
        /// The package.
        name: PackageName,
        /// The version.
        version: Version,
        /// The registry's index address.
        registry: String,
        /// Why an entry that is there cannot be used.
        why: Option<String>,
    },
    /// Something is needed from the network, which may not be used.
    #[error(
        "offline, and not in the cache: {}; needed from `{registry}`",
        missing_text(missing)
    )]
    Offline {
        /// What is missing.
        missing: Vec<String>,
        /// The registry's index address.
        registry: String,
    },
    /// The registry wants a token.
    #[error("the registry `{registry}` {}", if *.rejected { "did not accept the token" } else { "wants a token, and none is configured" })]
    Unauthorized {
        /// The registry's index address.
        registry: String,
        /// Whether a token was sent.
        rejected: bool,
    },
    /// The server answered with an error.
    #[error("`{url}` answered with status {status}{}", if excerpt.is_empty() { String::new() } else { format!(": {excerpt}") })]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The start of what it said, made printable.
        excerpt: String,
    },
    /// The transfer failed.
    #[error("cannot fetch `{url}`: {step} failed")]
    Transport {
        /// The address.
        url: String,
        /// Which step of the transfer.
        step: &'static str,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The server's certificate cannot be trusted.
    #[error("cannot fetch `{url}`: the server's certificate is not trusted")]
    Certificate {
        /// The address.
        url: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// Nothing, or next to nothing, arrived for a while.
    #[error(
        "cannot fetch `{url}`: fewer than {limit_bytes} bytes a second arrived for {seconds} s"
    )]
    Stalled {
        /// The address.
        url: String,
        /// How long was waited.
        seconds: u64,
        /// What would have been enough, bytes a second.
        limit_bytes: u32,
    },
    /// More arrived than kiln takes.
    #[error("`{url}` is larger than the limit of {limit_bytes} bytes")]
    TooLarge {
        /// The address.
        url: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// The registry's `config.json` is not one.
    #[error("`{url}` is not the configuration of a registry")]
    Configuration {
        /// The address.
        url: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The server said that something is unchanged that was never fetched.
    #[error("`{url}` answered that nothing changed, but nothing was cached")]
    NotModified {
        /// The address.
        url: String,
    },
    /// The cache directory cannot be used.
    #[error("cannot {what} `{}`", path.display())]
    Cache {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

fn near_text(near: &[String]) -> String {
    if near.is_empty() {
        String::new()
    } else {
        format!("; there is `{}`", near.join("`, `"))
    }
}

fn missing_text(missing: &[String]) -> String {
    const SHOWN: usize = 10;
    let mut text = missing
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if missing.len() > SHOWN {
        text.push_str(&format!(" and {} more", missing.len() - SHOWN));
    }
    text
}

impl RegistryError {
    /// The whole of it for a person.
    pub fn report(&self) -> Report {
        Report::new(self.code(), self).with_help(self.help())
    }

    /// A short stable code for the heading of a message.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Setting { .. } => "registry::setting",
            Self::Setup { .. } => "registry::setup",
            Self::Insecure { .. } => "registry::insecure",
            Self::Redirect { .. } => "registry::redirect",
            Self::Local { .. } => "registry::local",
            Self::NotConfigured { .. } => "registry::not-configured",
            Self::NoSuchPackage { .. } => "registry::no-such-package",
            Self::NoSuchVersion { .. } => "registry::no-such-version",
            Self::Offline { .. } => "registry::offline",
            Self::Unauthorized { .. } => "registry::unauthorized",
            Self::Status { .. } => "registry::status",
            Self::Transport { .. } => "registry::transport",
            Self::Certificate { .. } => "registry::certificate",
            Self::Stalled { .. } => "registry::stalled",
            Self::TooLarge { .. } => "registry::too-large",
            Self::Configuration { .. } => "registry::configuration",
            Self::NotModified { .. } => "registry::not-modified",
            Self::Cache { .. } => "registry::cache",
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::Setting { .. } | Self::Configuration { .. } | Self::NotModified { .. } => {
                return None;
            }
            Self::Setup { .. } => {
                "check the certificate files that `CARGO_HTTP_CAINFO` or `SSL_CERT_FILE` name, and that the system has root certificates (package `ca-certificates`)"
            }
            Self::Insecure { .. } => {
                "use the registry's https address; plain http is taken only from this machine, or from a registry that your own configuration names by a http address"
            }
            Self::Local { .. } => {
                "look at `local-registry` of `[source]` in `.cargo/config.toml`: it names a directory with `index` in it"
            }
            Self::Redirect { .. } => {
                "ask the registry's operator; kiln follows few redirections and none from https to http"
            }
            Self::NotConfigured { .. } => {
                "name the registry in `.cargo/config.toml` (`[registries]`)"
            }
            Self::NoSuchPackage { near, .. } if !near.is_empty() => {
                "correct the name in `Cargo.toml`"
            }
            Self::NoSuchPackage { .. } => {
                "check the name and the `registry` of the dependency in `Cargo.toml`"
            }
            Self::NoSuchVersion { .. } => {
                "`Cargo.lock` may come from another registry or the version was removed; `kiln update -p` chooses another"
            }
            Self::Offline { .. } => {
                "run once without `--offline`, so that it is fetched and cached"
            }
            Self::Unauthorized { .. } => {
                "log in with `cargo login`, or set the variable `CARGO_REGISTRIES_<NAME>_TOKEN`"
            }
            Self::Status {
                status: 429 | 500..,
                ..
            } => {
                "it was tried several times; wait a little, then run again: what was fetched is kept"
            }
            Self::Status { .. } => "check the registry's address",
            Self::Transport { .. } | Self::Stalled { .. } => {
                "check the network and proxy settings (`https_proxy`, `http.proxy`), or run with `--offline` if everything was fetched before"
            }
            Self::Certificate { .. } => {
                "if a proxy of your organisation intercepts TLS, name its certificate in `http.cainfo`, `CARGO_HTTP_CAINFO` or `SSL_CERT_FILE`"
            }
            Self::TooLarge { .. } => "nothing of it was kept; ask the registry's operator",
            Self::Cache { .. } => {
                "check permissions and free space, or name another directory with `KILN_HOME`"
            }
        };
        Some(text.to_owned())
    }
}
