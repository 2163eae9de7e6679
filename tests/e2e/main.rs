//! The `kiln` program on tiny workspaces: what it is for, and each of the ways in which it can go wrong.

#![allow(
    clippy::print_stderr,
    reason = "tests tell what they skip, and how long things take"
)]

#[path = "../support/mod.rs"]
mod registry;

#[path = "../support/skip.rs"]
mod skip;

mod attacks;
mod audit;
mod builds;
mod configuration;
mod declared;
mod denials;
mod documents;
mod environment;
mod errors;
mod flags;
mod git;
mod hostile;
mod install;
mod locks;
mod messages;
mod overrides;
mod packaging;
mod policy;
mod repetition;
mod run;
mod sources;
mod support;
mod surroundings;
mod tell;
mod testing;
