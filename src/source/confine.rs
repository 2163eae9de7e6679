//! How the unpacking process gives up what it does not need.

use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};

/// The kernel does not confine the process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfineError {
    /// Landlock refused the ruleset.
    #[error("Landlock refused the ruleset")]
    Ruleset(#[from] landlock::RulesetError),
    /// The destination cannot be opened.
    #[error("cannot open the destination")]
    Destination(#[from] landlock::PathFdError),
    /// The kernel has no Landlock.
    #[error("the kernel enforces no Landlock ruleset")]
    NotEnforced,
}

/// From here on this thread and what it starts can open files beneath `destination` only, and can connect nowhere over
/// TCP where the kernel knows how to forbid that. What is open already (the archive) stays usable.
pub fn confine_to(destination: &Path) -> Result<(), ConfineError> {
    let oldest = AccessFs::from_all(ABI::V1);
    let newest = AccessFs::from_all(ABI::V6);
    let useful = AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSym
        | AccessFs::Truncate;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(oldest)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(newest)?
        .handle_access(AccessNet::from_all(ABI::V6))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new(destination)?, useful))?
        .restrict_self()?;
    if status.ruleset == RulesetStatus::NotEnforced || !status.no_new_privs {
        return Err(ConfineError::NotEnforced);
    }
    Ok(())
}
