//! What enters the plan of one build besides packages and units: what configuration brings, what policy grants, what
//! members see of their workspace, and who has to have approved it.

pub(super) mod approvals;
pub(super) mod clippy;
pub(super) mod configured;
pub(super) mod declared;
pub(super) mod granting;
pub(super) mod snapshots;
pub(super) mod surroundings;
