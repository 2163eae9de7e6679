//! Registries: what one line of a sparse index means ([`entry`], pure), and how the lines are obtained ([`client`]).
//!
//! ```text
//! <cache>/<host>-<hash of the index address>/config.json    the registry's configuration
//!                                            se/rd/serde    the index file of one name
//! ```
//! Each file starts with one header line (format, BLAKE3 and lengths of what follows, the server's validator); then comes
//! a table of the versions in it (`listing`), then what the registry sent. It is replaced by renaming, so that any number of processes share the directory, and one that is damaged is fetched again.
//!
//! Absent on purpose: git indexes, publishing, searching, logging in. A registry is read, over HTTPS, and that is all.

pub mod client;
pub mod entry;
pub mod progress;

mod cache;
mod config;
mod error;
mod http;
mod listing;
mod local;
mod proxy;
mod retry;

pub use client::{Client, Registry};
pub use config::{PlainHttp, Token};
pub use error::RegistryError;
pub use http::{Network, NetworkConfig, Roots};
pub use listing::PackageIndex;
pub use local::LocalRegistry;
pub use progress::{Event, Progress, Quiet};
pub use proxy::Proxies;

pub(crate) use config::{SchemePolicy, shown};
pub(crate) use http::{Body, Failure, Lane};
