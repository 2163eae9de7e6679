//! Where packages come from: who answers for each source, which versions there are, and the unpacked packages.

pub(super) mod links;
pub mod packages;
mod providers;
pub mod registries;
pub mod repositories;
pub mod vendored;
