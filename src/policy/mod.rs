//! Policy: what one workspace grants beyond the sandbox profiles, crate by crate, each grant with its reason.
//!
//! Two layers say so: `kiln.toml` at the workspace root (only the root's own: a dependency's is never looked at), and
//! the defaults that kiln ships in `policy/` for well-known crates of the default registry. A crate that is granted
//! nothing gets nothing. All decisions are pure functions of these texts and of package ids; whether what is granted
//! exists on the machine, and what is in it, is for [`crate::toolchain`] to find out.

mod decide;
mod defaults;
mod error;
mod explain;
mod file;
mod hints;

pub use decide::{BuildMode, Grant, Grants, Origin, Policy};
pub use error::PolicyError;
pub use explain::{Advice, Denied};
pub use file::{AppliesTo, FILE_NAME, Pins};
