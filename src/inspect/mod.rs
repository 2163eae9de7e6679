//! What a workspace is, told as cargo tells it: the JSON of `cargo metadata`, the trees of `cargo tree`, package ids.
//!
//! Functions from values to text; who calls them has resolved the workspace and fetched what is to be shown.

pub mod metadata;
pub mod tree;
