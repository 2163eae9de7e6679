//! Toolchains are inputs: the Rust toolchain behind rustup's proxy and the C toolchain behind `cc`, discovered,
//! digested once and remembered by file identity.

mod ask;
pub mod c;
mod compiler;
mod elf;
mod error;
mod identity;
mod layout;
pub mod model;
mod packages;
mod runtime;
pub mod rust;
pub mod rustup;
mod snapshot;

pub use ask::SYSTEM_SEARCH;
pub use error::ToolchainError;
