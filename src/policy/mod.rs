//! Policy: what one workspace grants beyond the sandbox profiles, crate by crate, each grant with its reason.
//!
//! Two layers say so: `kiln.toml` at the workspace root (only the root's own: a dependency's is never looked at), and
//! the defaults that kiln ships in `policy/` for well-known crates of the default registry. A crate that is granted
//! nothing gets nothing. All decisions are pure functions of these texts and of package ids; whether what is granted
//! exists on the machine, and what is in it, is for [`crate::toolchain`] to find out.

mod approve;
mod check;
pub mod compare;
mod decide;
mod defaults;
mod denials;
pub mod edit;
mod error;
mod explain;
mod file;
mod hints;

pub use approve::{APPROVED_FILE, Approvals, Role, Running, Unapproved, approve as approved_text};
pub use decide::{BuildMode, Grant, Grants, Origin, Policy};
pub use denials::{Denial, Host, Place, Wanted, matches};
pub use error::PolicyError;
pub use explain::{Advice, Denied};
pub(crate) use file::Bundle;
pub use file::{AppliesTo, BuildScripts, FILE_NAME, General, Pins};

/// The JSON schema of `kiln.toml`, made from the types that read it.
pub const SCHEMA: &str = include_str!("../../docs/kiln.schema.json");
