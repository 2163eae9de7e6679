//! What was really enforced on a process: a value that only this module makes, and only when it is so.

use landlock::ABI;

use super::profile::SandboxProfile;
use super::request::{Isolation, Limits, Network};
use super::ruleset;

/// The layers in force around a process that was started. What cannot be set up is an error instead, so that each field
/// is a fact and not an intention.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Enforced {
    isolation: Isolation,
    namespaces: &'static [&'static str],
    landlock_abi: u32,
    landlock_network: bool,
    landlock_scopes: bool,
    seccomp_profile: String,
    no_new_privileges: bool,
    capabilities: u32,
    limits: Limits,
}

impl Enforced {
    pub(super) fn new(
        isolation: Isolation,
        network: Network,
        profile: &SandboxProfile,
        abi: ABI,
        limits: &Limits,
    ) -> Self {
        Self {
            isolation,
            namespaces: match isolation {
                Isolation::Full => &["user", "mount", "pid", "net", "ipc", "uts"],
                Isolation::Landlock => &[],
            },
            landlock_abi: abi as u32,
            landlock_network: abi >= ABI::V4 && network == Network::None,
            landlock_scopes: ruleset::scopes_signals(abi),
            seccomp_profile: profile.name.clone(),
            no_new_privileges: true,
            capabilities: 0,
            limits: limits.clone(),
        }
    }

    /// Which kind of isolation it was.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// The namespaces that are the process's own, by their names in `/proc/<pid>/ns` (`mount` for `mnt`).
    pub fn namespaces(&self) -> &'static [&'static str] {
        self.namespaces
    }

    /// The Landlock ABI whose every right is handled.
    pub fn landlock_abi(&self) -> u32 {
        self.landlock_abi
    }

    /// Whether Landlock, too, forbids TCP (from ABI 4). seccomp forbids all sockets, unless a network namespace with
    /// nothing but a loopback interface was asked for; there Landlock has no say in them.
    pub fn landlock_network(&self) -> bool {
        self.landlock_network
    }

    /// Whether Landlock holds in signals and abstract sockets (from ABI 6). If neither it nor a pid namespace does,
    /// sending signals is forbidden altogether.
    pub fn landlock_scopes(&self) -> bool {
        self.landlock_scopes
    }

    /// The profile whose system call filter is in force.
    pub fn seccomp_profile(&self) -> &str {
        &self.seccomp_profile
    }

    /// The limits in force, the profile's and the request's together.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}
