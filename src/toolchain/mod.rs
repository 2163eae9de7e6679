//! Toolchains are inputs: the Rust toolchain behind rustup's proxy and the C toolchain behind `cc`, discovered,
//! digested once and remembered by file identity.
//!
//! [`rustup`] chooses the Rust toolchain as rustup would, [`rust`] loads it; [`c`] discovers the C toolchain and makes
//! the trees that actions see at `/`: what rustc runs with ([`c::runtime_tree`]), that with the C toolchain
//! ([`c::discover`]), and that with what policy grants ([`c::system_tree`]).
//!
//! ```text
//! STORE/toolchain/memo/<what>-<hash>    what was computed from which files, and their combined identity
//! ```
//! Trees lie in the store. Absent on purpose: the environment (the caller hands it in), installing anything, and
//! running one of rustup's proxies.

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

use crate::digest::TreeDigest;

/// Holds the toolchains to what `kiln.toml` pins; what is not pinned may be anything.
///
/// # Errors
/// [`ToolchainError::PinMismatch`] for the first that differs.
pub fn check_pins(
    rust: &model::RustToolchain,
    c: &model::CToolchain,
    rust_pin: Option<TreeDigest>,
    c_pin: Option<TreeDigest>,
) -> Result<(), ToolchainError> {
    for (which, found, pin) in [("Rust", rust.tree, rust_pin), ("C", c.system.tree, c_pin)] {
        match pin {
            Some(pinned) if pinned != found => {
                return Err(ToolchainError::PinMismatch {
                    which,
                    found: found.to_hex(),
                    pinned: pinned.to_hex(),
                });
            }
            _ => {}
        }
    }
    Ok(())
}
