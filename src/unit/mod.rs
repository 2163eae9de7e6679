//! Units: features, cfg and build profiles lower packages to compilations.
//!
//! Two steps, since cargo's features depend on manifests that may not be there yet: [`accessible_packages`] says which
//! packages a request can need at all, from summaries alone; with their manifests, [`lower()`] makes the [`UnitGraph`],
//! the same that cargo makes. Both are functions of their arguments: nothing is read, written or run.
//!
//! Absent on purpose: what is unstable in cargo (artifact dependencies, `-Z build-std`, scraped examples,
//! per-package targets), and metadata hashes, which planning makes.

mod context;
mod dependencies;
mod draft;
mod error;
mod features;
pub mod graph;
pub mod json;
mod lower;
pub mod lto;
mod packages;
mod profiles;
mod program;
pub mod request;
mod roots;
mod selection;
mod share;
mod spec;
mod suggest;
#[cfg(test)]
mod tests;
mod view;

pub use error::UnitError;
pub use graph::UnitGraph;
pub use lower::{accessible_packages, lower};
pub use program::choose_program;
pub use request::{
    BuildRequest, Intent, PackageSelection, Platforms, TargetNames, TargetSelection,
};
pub use spec::{find_package, package_id_spec, spec_matches};
pub use view::{Activation, View, all_packages, narrowed, selected_members};

pub(crate) use features::ProcMacros;
pub(crate) use packages::{MemberFeatures, PackageIndex};
