//! The sandbox: one process, what it may see and do, and nothing else.

pub mod profile;
pub mod request;
