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
//!
//! Without namespaces a supervisor takes their place where it can: it kills what the process leaves behind, and sets
//! modes and times for it. What is known to remain:
//! - Without namespaces, `stat` and the like tell what exists on the host, and the machine's real names and ids are seen.
//! - The kernel applies no limit on the number of processes to the host's root. A fork bomb that root runs is bounded by
//!   the wall clock alone (and ends with it).
//! - A tmpfs at `/tmp` takes memory, up to its limit. A directory of the caller's own ([`request::Request::tmp`]) takes
//!   disk instead.
//! - Memory, processes and what is written are looked at five times a second: what comes and goes in between is bounded by
//!   the kernel's limits for each process only, and so is what is written to files that have no name any more.
//! - The clock, the processor's features and the kernel's release are seen as they are.
//! - Before Landlock's ABI 6 (Linux 6.12) and without namespaces, leftovers are killed one by one: a process that does
//!   nothing but fork and end can keep the supervisor busy, and the caller waiting.

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
pub mod trace;
mod view;
mod watch;

pub use confine::confine_self;
pub use enforced::Enforced;
pub use error::{Layer, SandboxError};
pub use probe::{LayerProbe, Probe, best_isolation, probe, require_everything};
pub use profile::{ProfileError, SandboxProfile};
pub use request::{Access, Isolation, Limits, Mount, Network, Request};
pub use running::{Canceller, Ended, Outcome, Output, Running, Status, Stream};
pub use spawn::spawn;
