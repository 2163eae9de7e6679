//! `Cargo.toml` and `Cargo.lock`: read, checked and lowered to values.

pub mod model;
