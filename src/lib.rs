//! kiln: a hermetic, sandboxed build executor for Cargo workspaces on Linux.

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
compile_error!(
    "kiln runs on Linux on x86_64 and aarch64 only: its sandbox is made of Landlock and seccomp"
);

pub mod attest;
pub mod cli;
pub mod diag;
pub mod digest;
pub mod directive;
pub mod driver;
pub mod execute;
pub mod inspect;
pub mod manifest;
pub mod message;
pub mod package;
pub mod path;
pub mod plan;
pub mod policy;
pub mod reapi;
pub mod registry;
pub mod resolve;
pub mod sandbox;
pub mod source;
pub mod store;
pub mod toolchain;
pub mod tree;
pub mod unit;
