//! What one process is to see and may do, as a value: the whole interface of the sandbox.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use crate::path::SandboxPath;

/// Which layers are demanded.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Landlock, seccomp, no privileges and limits, without namespaces. What exists elsewhere can be found out (`stat`),
    /// but not be read or changed.
    Landlock,
    /// All of that and user, mount, pid, net, ipc and uts namespaces. The process is the first of its pid namespace: so a
    /// signal that it sends itself and does not handle has no effect (`abort` ends it all the same, by SIGSEGV).
    Full,
}

impl Isolation {
    /// As the command line and attestations name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Isolation::Landlock => "landlock",
            Isolation::Full => "full",
        }
    }
}

/// What a process can talk to by an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Network {
    /// Nothing.
    #[default]
    None,
    /// Itself, over a loopback interface of its own, and sockets that it names in directories that it may write: where
    /// its profile allows sockets, and under [`Isolation::Full`]. Without namespaces it is the same as nothing.
    Loopback,
}

/// How a mounted path may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Read and execute.
    Read,
    /// Read, execute, create, write and remove beneath it.
    Write,
}

/// A host file or directory and where the process sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The host's path; opened by the parent before the fork.
    pub host: PathBuf,
    /// Where it is seen. Under [`Isolation::Landlock`] there is no view of one's own, so it has to be where the path
    /// leads on the host, too (through a symbolic link at most).
    pub at: SandboxPath,
    /// What the process may do beneath it.
    pub access: Access,
}

/// Bounds on what a process and its children may use. `None` is no bound of kiln's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Memory of all its processes together, bytes, and never more than seven eighths of the machine's; and what one of
    /// them can ask for (`RLIMIT_DATA`). A private tmp that is memory counts by itself.
    pub memory_bytes: Option<u64>,
    /// CPU time of one process, seconds.
    pub cpu_seconds: Option<u64>,
    /// Size of one file, bytes.
    pub file_size_bytes: Option<u64>,
    /// Open descriptors of one process.
    pub open_files: Option<u64>,
    /// Processes and threads of the action at one time.
    pub processes: Option<u64>,
    /// What may lie at one time in the directories that it writes to, bytes of the disk.
    pub written_bytes: Option<u64>,
    /// Size of a private tmp that is memory, bytes.
    pub tmp_bytes: Option<u64>,
    /// Wall-clock time of the action, seconds.
    pub wall_seconds: Option<u64>,
    /// What it may print, bytes, both streams together; more is an error.
    pub output_bytes: Option<u64>,
}

impl Limits {
    /// These limits, and where they say nothing, those of `base`.
    #[must_use]
    pub fn over(&self, base: &Limits) -> Limits {
        Limits {
            memory_bytes: self.memory_bytes.or(base.memory_bytes),
            cpu_seconds: self.cpu_seconds.or(base.cpu_seconds),
            file_size_bytes: self.file_size_bytes.or(base.file_size_bytes),
            open_files: self.open_files.or(base.open_files),
            processes: self.processes.or(base.processes),
            written_bytes: self.written_bytes.or(base.written_bytes),
            tmp_bytes: self.tmp_bytes.or(base.tmp_bytes),
            wall_seconds: self.wall_seconds.or(base.wall_seconds),
            output_bytes: self.output_bytes.or(base.output_bytes),
        }
    }
}

/// One process to run confined.
#[derive(Debug)]
pub struct Request<'a> {
    /// Which layers are demanded; what cannot be set up is an error.
    pub isolation: Isolation,
    /// The compiled profile: its seccomp filter and limits.
    pub profile: &'a super::profile::SandboxProfile,
    /// The program, as the process sees it.
    pub program: SandboxPath,
    /// The arguments, `argv[0]` included.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory, as the process sees it.
    pub cwd: SandboxPath,
    /// What is seen, from the outside in: a mount beneath another comes after it.
    pub mounts: Vec<Mount>,
    /// Symbolic links to make in the new root (such as `/bin` to `usr/bin`); nothing under [`Isolation::Landlock`].
    pub links: Vec<(SandboxPath, String)>,
    /// Empty directories to make in the new root, besides those that mounts need.
    pub directories: Vec<SandboxPath>,
    /// A private directory that the process sees as `/tmp`; `None` gives a tmpfs under [`Isolation::Full`].
    pub tmp: Option<PathBuf>,
    /// Descriptors that the process inherits, and the number that it knows each by (the jobserver's): 3 to 255.
    pub descriptors: Vec<(OwnedFd, i32)>,
    /// Bounds, over the profile's own.
    pub limits: Limits,
    /// What it can talk to.
    pub network: Network,
    /// How long the action may take, wall clock; instead of [`Limits::wall_seconds`].
    pub timeout: Option<Duration>,
}
