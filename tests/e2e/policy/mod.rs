//! `kiln.toml`, what edits it and what it decides; and attacks of the past, told of before they run and contained when
//! they do.

mod approval;
mod diff;
mod grants;
mod incidents;
pub(crate) mod registry;
mod repository;
mod schema;
mod suggest;
mod variables;
