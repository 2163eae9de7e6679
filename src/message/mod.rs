//! What actions print, and what kiln prints of it.
//!
//! Everything that a compiler, a linker or a build script writes is data: [`text`] makes it harmless before it reaches
//! a terminal, [`rustc`] takes rustc's JSON apart, and [`cargo_json`] puts together the lines that tools know from
//! `cargo build --message-format=json`. [`MessageFormat`] is what the user chose of these.

pub mod cargo_json;
pub mod format;
pub mod rustc;
pub mod text;

pub use format::{MessageFormat, MessageFormatError};
