//! From units to actions: pure, nothing is run and nothing is written.

pub mod env;
