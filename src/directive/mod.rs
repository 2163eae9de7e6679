//! What a build script tells its builder: the lines that begin with `cargo:` or `cargo::` on its standard output,
//! parsed once, by cargo's rules, into [`BuildScriptOutput`].
//!
//! The value is part of the build script's result: it is stored as data ([`BuildScriptOutput::to_json`] is canonical),
//! and the units that use the package refer to it. Nothing is looked up while parsing: what the rules depend on
//! (the package's targets, its `rust-version`, whether `RUSTC_BOOTSTRAP` is allowed) comes in as a [`Subject`] and a
//! [`Bootstrap`].
//!
//! A build script is hostile, so its output is bounded in lines, bytes and number of directives. Lines that are not
//! UTF-8 are passed over, as in cargo; no text from here may reach a terminal without [`crate::message::text`].
//!
//! Source: cargo 1.95, `custom_build.rs`, and "Build Scripts" in the Cargo book.

mod output;
mod parse;

pub use output::{
    BuildScriptOutput, LinkArg, LinkArgTarget, LogMessage, OutputJsonError, SearchKind, Severity,
    split_search_path, steers_a_tool,
};
pub use parse::{Bootstrap, DirectiveError, Subject, log_messages, of_override, parse};

/// The most bytes of standard output that are looked at.
pub const MAX_INPUT_BYTES: usize = 256 << 20;
/// The longest line that may be a directive, in bytes.
pub const MAX_LINE_BYTES: usize = 1 << 20;
/// The most directives of one build script.
pub const MAX_DIRECTIVES: usize = 200_000;
/// The most bytes that all directives of one build script hold together.
pub const MAX_TOTAL_BYTES: usize = 32 << 20;
