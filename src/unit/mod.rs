//! Units: features, cfg and build profiles lower packages to compilations.

pub mod graph;
