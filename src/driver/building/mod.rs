//! What is done with a plan: its actions run, their failures explained, artifacts and documentation handed out, tests
//! and programs run.

pub mod build;
mod denials;
pub mod documentation;
pub mod execution;
pub mod programs;
pub mod repetition;
pub mod testing;
