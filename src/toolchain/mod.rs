//! Toolchains are inputs: the Rust toolchain behind rustup's proxy and the C toolchain behind `cc`, discovered,
//! digested once and remembered by file identity.

pub mod model;
