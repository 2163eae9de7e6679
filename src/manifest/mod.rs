//! `Cargo.toml` and `Cargo.lock`: read, checked and lowered to values.
//!
//! A manifest is parsed by the types of `cargo-util-schemas` (`read`), completed from its workspace's root
//! (`inherit`), and lowered to a [`model::Package`]: its dependencies, its features with the implicit ones, and its
//! targets with those that only the file system tells of. [`load_workspace`] does so for the root, the members and
//! every path package that they reach.

mod checkout;
pub mod config;
mod dependency;
mod edition;
mod error;
pub mod features;
mod inherit;
mod lints;
pub mod lock;
pub mod model;
mod package;
mod paths;
mod profiles;
pub mod published;
mod read;
pub mod replace;
pub mod source_text;
mod targets;
pub mod text;
mod workspace;

pub use checkout::{FoundPackages, read_packages};
pub use error::ManifestError;
pub use package::read_package;
pub use read::{ConfiguredPatch, ManifestContext, find_manifest};
pub use workspace::{load_workspace, workspace_root};

#[cfg(test)]
mod parity_tests;
#[cfg(test)]
#[expect(clippy::print_stderr, reason = "tests say what they skipped")]
mod tests;
