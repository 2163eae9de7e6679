//! The sandbox: one process, what it may see and do, and nothing else.
//!
//! A [`request::Request`] says what a process is to see, as a value; [`spawn()`] starts it with every layer in force or
//! fails saying which layer, why and what to do; [`running::Running`] is the process; [`enforced::Enforced`] is the
//! proof. This module knows nothing of packages, actions or stores, and could be a library of its own.
//!
//! Layers, from the outside in:
//! 1. namespaces ([`request::Isolation::Full`]): an empty root with the declared mounts, no network, own processes only;
//! 2. Landlock, always: the same paths again, by a mechanism of its own;
//! 3. seccomp, always: an allow-list of system calls per [`profile`];
//! 4. no capabilities, `no_new_privs`, limits, no descriptors but those asked for.

mod child;
mod confine;
pub mod enforced;
pub mod error;
mod filter;
mod network;
pub mod probe;
pub mod profile;
pub mod request;
mod ruleset;
pub mod running;
mod spawn;
mod supervisor;
mod sys;
mod view;

pub use confine::confine_self;
pub use enforced::Enforced;
pub use error::{Layer, SandboxError};
pub use probe::{LayerProbe, Probe, best_isolation, probe};
pub use profile::{ProfileError, SandboxProfile};
pub use request::{Access, Isolation, Limits, Mount, Request};
pub use running::{Canceller, Ended, Outcome, Output, Running, Status, Stream};
pub use spawn::spawn;
