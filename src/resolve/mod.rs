//! Resolution: from the workspace's requirements to one version of each package.

pub mod graph;
