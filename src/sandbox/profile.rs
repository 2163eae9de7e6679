//! Sandbox profiles: TOML files of `sandbox-profiles/`, read strictly.

/// A profile, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxProfile {
    /// Its name: the file's stem.
    pub name: String,
}
