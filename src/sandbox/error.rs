//! What can go wrong in setting up a sandbox: never a weaker sandbox, always one of these.

use std::io;
use std::path::PathBuf;

use crate::path::SandboxPath;

/// A layer of the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// User, mount, pid, network, ipc and uts namespaces.
    Namespaces,
    /// Landlock.
    Landlock,
    /// seccomp.
    Seccomp,
    /// No capabilities, no new privileges.
    Privileges,
    /// Resource limits.
    Limits,
    /// The process that watches over the action where there is no pid namespace.
    Supervisor,
}

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Layer::Namespaces => "namespaces",
            Layer::Landlock => "Landlock",
            Layer::Seccomp => "seccomp",
            Layer::Privileges => "dropping of privileges",
            Layer::Limits => "resource limits",
            Layer::Supervisor => "supervisor",
        })
    }
}

/// Why a process was not started confined, or its end is not known. In no case did it run with less than was asked for.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The request makes no sense.
    #[error("the sandbox cannot be built as asked: {why}")]
    Request {
        /// What is wrong with it.
        why: String,
    },
    /// A path to be mounted cannot be opened.
    #[error("`{}` cannot be opened for the sandbox", path.display())]
    Path {
        /// The host's path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Under Landlock isolation every path has to be where it is seen.
    #[error(
        "without a mount namespace `{at}` has to be `{}`, but {}",
        host.display(),
        match .leads { Some(leads) => format!("it is `{}`", leads.display()), None => "it does not exist".to_owned() }
    )]
    Elsewhere {
        /// Where the process is to see it.
        at: SandboxPath,
        /// What it is to be.
        host: PathBuf,
        /// Where it leads instead.
        leads: Option<PathBuf>,
    },
    /// A layer cannot be set up on this machine.
    #[error("{layer}: {step} failed")]
    Layer {
        /// Which.
        layer: Layer,
        /// What was being done.
        step: String,
        /// The kernel's answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The program could not be run.
    #[error("`{program}` cannot be run in the sandbox")]
    Execute {
        /// The program, as the process sees it.
        program: SandboxPath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The process could not be started for want of something that has nothing to do with confinement.
    #[error("{step} failed while starting a process")]
    Start {
        /// What was being done.
        step: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The process cannot be waited for, or its output not be read.
    #[error("{step} failed while a process was running; it was killed")]
    Running {
        /// What was being done.
        step: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The process that watches over the action ended without saying how the action ended.
    #[error("the supervisor of the process was killed")]
    SupervisorLost,
}

impl SandboxError {
    /// The kernel's error number, where there is one.
    pub fn errno(&self) -> Option<i32> {
        let io = match self {
            SandboxError::Layer { source, .. } => source.downcast_ref::<io::Error>()?,
            SandboxError::Path { source, .. }
            | SandboxError::Execute { source, .. }
            | SandboxError::Start { source, .. }
            | SandboxError::Running { source, .. } => source,
            _ => return None,
        };
        io.raw_os_error()
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        let errno = self.errno();
        let text = match self {
            SandboxError::Layer { layer, .. } => match (layer, errno) {
                (Layer::Namespaces, Some(libc::ENOSPC)) => {
                    "raise `user.max_user_namespaces` (and its siblings) with sysctl"
                }
                (Layer::Namespaces, Some(libc::ESTALE)) => {
                    "a file was replaced while the sandbox was being built: do it again"
                }
                (Layer::Namespaces, _) => {
                    "this machine does not let kiln make namespaces: on Ubuntu, allow it with \
                     `sysctl kernel.apparmor_restrict_unprivileged_userns=0` or an AppArmor profile; on Debian, with \
                     `sysctl kernel.unprivileged_userns_clone=1`; in a container, with its seccomp profile and an \
                     unmasked `/proc`. Or ask for Landlock isolation, which needs none"
                }
                (Layer::Landlock, Some(libc::EOPNOTSUPP)) => {
                    "Landlock is switched off: add `landlock` to the `lsm=` parameter of the kernel's command line"
                }
                (Layer::Landlock, Some(libc::ENOSYS)) => {
                    "this kernel has no Landlock: use Linux 5.13 or newer, built with CONFIG_SECURITY_LANDLOCK"
                }
                (Layer::Landlock, Some(libc::E2BIG)) => {
                    "this process is inside 16 Landlock sandboxes already, which is the kernel's limit"
                }
                (Layer::Seccomp, Some(libc::EINVAL | libc::ENOSYS)) => {
                    "use a kernel built with CONFIG_SECCOMP_FILTER"
                }
                (Layer::Seccomp, Some(libc::ENOMEM)) => {
                    "the filters of the sandboxes that this process is in are too long together"
                }
                _ => return None,
            },
            SandboxError::Path { .. } => "check that it exists and that this user may read it",
            SandboxError::Elsewhere { .. } => {
                "make the path (an administrator once makes `/kiln`), or use namespaces"
            }
            SandboxError::Execute { .. } => match errno {
                Some(libc::ENOENT) => {
                    "the program, its interpreter or its dynamic loader is not among the mounts"
                }
                Some(libc::EACCES) => {
                    "the program is not executable, or is on a mount that forbids execution"
                }
                Some(libc::E2BIG) => "arguments and environment are too long together",
                _ => return None,
            },
            SandboxError::Start { .. } => match errno {
                Some(libc::EAGAIN) => "the user's limit on processes is reached (`ulimit -u`)",
                Some(libc::EMFILE | libc::ENFILE) => {
                    "the limit on open files is reached (`ulimit -n`)"
                }
                _ => return None,
            },
            SandboxError::Request { .. }
            | SandboxError::Running { .. }
            | SandboxError::SupervisorLost => return None,
        };
        Some(text.to_owned())
    }
}
