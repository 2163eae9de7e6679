//! The sandbox under attack: each attack in a process of its own, under each isolation, as root and as an ordinary
//! user, with a control that comes through outside.

#![allow(missing_docs, clippy::print_stderr, reason = "tests")]

#[path = "../support/skip.rs"]
mod skip;

mod aftermath;
mod attacks;
mod behaviour;
mod builds;
mod calls;
mod layers;
mod support;
mod trace;
mod variants;
