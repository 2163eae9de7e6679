//! `Cargo.toml` and `Cargo.lock`: read, checked and lowered to values.

pub mod lock;
pub mod model;
pub mod source_text;
pub mod text;

#[cfg(test)]
mod tests;
