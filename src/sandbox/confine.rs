//! Confining the running process itself: for a worker of kiln's own, just started and about to read what it must not
//! trust, that has to write beneath one directory and nothing else.

use std::os::fd::AsFd;
use std::path::Path;

use super::child;
use super::enforced::Enforced;
use super::error::{Layer, SandboxError};
use super::profile::SandboxProfile;
use super::request::{Isolation, Limits, Network};
use super::ruleset::{self, Grant};
use super::spawn;
use super::sys;
use super::view::c_path;

/// From here on this process can open, make and change files beneath `directory` only, can run no program there, and
/// makes the system calls of `profile`; it has no privileges and the profile's limits, and `limits` over them. What is
/// open already stays open.
///
/// This cannot be undone, and confines only the calling thread and what it starts: so the process must have one thread,
/// or it is an error. After any error the process may be confined in part, and should end.
pub fn confine_self(
    directory: &Path,
    profile: &SandboxProfile,
    limits: &Limits,
) -> Result<Enforced, SandboxError> {
    let threads = std::fs::read_dir("/proc/self/task").map(Iterator::count);
    if !matches!(threads, Ok(1)) {
        return Err(SandboxError::Request {
            why: "a process with several threads cannot confine itself".to_owned(),
        });
    }
    let filters = profile.filters();
    if filters.judge.is_some() {
        return Err(SandboxError::Request {
            why: format!(
                "profile `{}` leaves calls to a supervisor, and a process that confines itself has none",
                profile.name
            ),
        });
    }
    let abi = ruleset::kernel_abi()?;
    let limits = limits.over(&profile.limits);
    let opened =
        sys::open(&c_path(directory)?, libc::O_PATH | libc::O_DIRECTORY, 0).map_err(|errno| {
            SandboxError::Path {
                path: directory.to_owned(),
                source: errno.into(),
            }
        })?;
    let ruleset = ruleset::build(abi, Network::None, [ruleset::grant(&opened, Grant::Fill)])?;
    for (resource, value) in spawn::kernel_limits(&limits, Isolation::Landlock)? {
        sys::set_limit(resource, value)
            .map_err(|errno| spawn::layer(Layer::Limits, "setting a limit", errno))?;
    }
    let drops = child::Drops {
        groups: spawn::may_drop_groups(),
        last_capability: spawn::last_capability(Isolation::Landlock),
    };
    child::drop_privileges(&drops)
        .map_err(|failure| spawn::layer(Layer::Privileges, "dropping privileges", failure.errno))?;
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
        .map_err(|errno| spawn::layer(Layer::Privileges, "setting no_new_privs", errno))?;
    sys::landlock_restrict_self(ruleset.as_fd(), 0)
        .map_err(|errno| spawn::layer(Layer::Landlock, "enforcing the ruleset", errno))?;
    sys::seccomp_filter(filters.beside_landlock(abi))
        .map_err(|errno| spawn::layer(Layer::Seccomp, "installing the filter", errno))?;
    Ok(Enforced::new(
        Isolation::Landlock,
        Network::None,
        profile,
        abi,
        &limits,
    ))
}
