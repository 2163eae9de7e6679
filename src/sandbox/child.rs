//! What the child does between clone and execve: a straight line of system calls, each with its step's name.
//!
//! Everything it needs is in a [`Plan`], made by the parent. The child allocates nothing, takes no lock, formats nothing
//! and cannot panic; with [`super::sys::Memory::SharedUntilExec`] it shares the parent's memory, so it writes to none of
//! it either. What fails is told as a [`Failure`] of fixed size over a close-on-exec pipe, and the child ends: it never
//! goes on without a layer. An empty pipe means that execve came to pass.
//!
//! The order: identity, view of files, session, working directory, descriptors, limits, capabilities,
//! `no_new_privs`, Landlock, seccomp, execve. Each layer is set up while the ones after it do not yet forbid it.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use super::network::Network;
use super::sys::{self, Errno, StringArray, SysResult};

/// What the child was doing. The discriminants go over the pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Step {
    JoinNetwork = 1,
    Namespaces,
    IdentityMap,
    PrivateMounts,
    NewRoot,
    PivotRoot,
    View,
    DetachOldRoot,
    ReadOnlyRoot,
    HostName,
    Groups,
    Session,
    WorkingDirectory,
    Descriptors,
    Limit,
    DeathSignal,
    Capabilities,
    NoNewPrivileges,
    LandlockRule,
    Landlock,
    Seccomp,
    Execute,
    Supervisor,
}

impl Step {
    const ALL: [Step; 23] = [
        Step::JoinNetwork,
        Step::Namespaces,
        Step::IdentityMap,
        Step::PrivateMounts,
        Step::NewRoot,
        Step::PivotRoot,
        Step::View,
        Step::DetachOldRoot,
        Step::ReadOnlyRoot,
        Step::HostName,
        Step::Groups,
        Step::Session,
        Step::WorkingDirectory,
        Step::Descriptors,
        Step::Limit,
        Step::DeathSignal,
        Step::Capabilities,
        Step::NoNewPrivileges,
        Step::LandlockRule,
        Step::Landlock,
        Step::Seccomp,
        Step::Execute,
        Step::Supervisor,
    ];
}

/// Why the child could not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    /// What it was doing.
    pub(super) step: Step,
    /// Which of several (mounts, limits, rules), from 0.
    pub(super) index: u32,
    /// The kernel's answer.
    pub(super) errno: Errno,
}

impl Failure {
    /// The size of the record.
    pub(super) const SIZE: usize = 12;

    /// The record.
    pub(super) fn to_bytes(self) -> [u8; Self::SIZE] {
        let [a, b, c, d] = (self.step as u32).to_ne_bytes();
        let [e, f, g, h] = self.index.to_ne_bytes();
        let [i, j, k, l] = self.errno.0.to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }

    /// Reads a record.
    pub(super) fn from_bytes(bytes: [u8; Self::SIZE]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        let step = u32::from_ne_bytes([a, b, c, d]);
        Some(Self {
            step: Step::ALL.into_iter().find(|s| *s as u32 == step)?,
            index: u32::from_ne_bytes([e, f, g, h]),
            errno: Errno(i32::from_ne_bytes([i, j, k, l])),
        })
    }
}

pub(super) trait At<T> {
    fn at(self, step: Step) -> Result<T, Failure>;
    fn at_index(self, step: Step, index: usize) -> Result<T, Failure>;
}

impl<T> At<T> for SysResult<T> {
    fn at(self, step: Step) -> Result<T, Failure> {
        self.at_index(step, 0)
    }

    fn at_index(self, step: Step, index: usize) -> Result<T, Failure> {
        self.map_err(|errno| Failure {
            step,
            index: index as u32,
            errno,
        })
    }
}

/// One thing to make in the new root, in order. Paths are those of the new root.
#[derive(Debug)]
pub(super) enum ViewStep {
    /// A directory; it may be there already.
    Directory(CString),
    /// An empty file to mount on; it may be there already.
    File(CString),
    /// A symbolic link.
    Link {
        /// Where it is.
        at: CString,
        /// What it says.
        target: CString,
    },
    /// A part of the host's files.
    Bind {
        /// The host's path, as seen beneath the old root.
        source: CString,
        /// Where it is seen.
        at: CString,
        /// Device and inode that the parent checked: what is at `source` has to be the same still.
        identity: (u64, u64),
        /// `MOUNT_ATTR_*`.
        attributes: u64,
    },
    /// A new filesystem.
    Filesystem {
        /// Its kind.
        kind: CString,
        /// Where it is seen.
        at: CString,
        /// `MS_*`.
        flags: libc::c_ulong,
        /// Its options.
        options: CString,
    },
}

/// Which user and group a user namespace has, and whom they are outside.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    /// The line for `uid_map`.
    pub(super) uid_map: CString,
    /// The line for `gid_map`.
    pub(super) gid_map: CString,
}

/// A root of one's own, for full isolation.
pub(super) struct View {
    /// The network that the process starts in.
    pub(super) network: &'static Network,
    /// The ids.
    pub(super) identity: Identity,
    /// What is in it.
    pub(super) steps: Vec<ViewStep>,
}

/// Where the old root is while the new one is filled.
pub(super) const OLD_ROOT: &str = "/.old-root";

/// What the child is to do.
pub(super) struct Plan {
    /// The new root; `None` keeps the host's.
    pub(super) view: Option<View>,
    /// The privileges to give up.
    pub(super) drops: Drops,
    /// Standard input, output and error, numbered above all targets.
    pub(super) standard: [OwnedFd; 3],
    /// Further descriptors and their numbers, likewise.
    pub(super) descriptors: Vec<(OwnedFd, RawFd)>,
    /// The write end for a [`Failure`]; the parent closes its own once the child is there.
    pub(super) status: sys::Number,
    /// The number of its read end, which the parent alone is to hold.
    pub(super) status_read: RawFd,
    /// The working directory.
    pub(super) cwd: CString,
    /// `RLIMIT_*` and its value.
    pub(super) limits: Vec<(u32, u64)>,
    /// The Landlock ruleset.
    pub(super) ruleset: OwnedFd,
    /// Rules on files that exist only in the new root.
    pub(super) late_rules: Vec<(CString, u64)>,
    /// The seccomp filter.
    pub(super) filter: seccompiler::BpfProgram,
    /// What its supervisor needs, where there is one.
    pub(super) supervision: Option<Supervision>,
    /// What it takes to be traced.
    pub(super) seized: Option<super::trace::Seized>,
    /// The program.
    pub(super) program: CString,
    /// Its arguments.
    pub(super) argv: StringArray,
    /// Its environment.
    pub(super) envp: StringArray,
}

/// What there is of privileges to give up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drops {
    /// Whether supplementary groups can be given up.
    pub(super) groups: bool,
    /// The highest capability to take out of the bounding set; `None` if the kernel forbids (then none can be gained).
    pub(super) last_capability: Option<u32>,
}

/// What the supervisor of Landlock isolation needs besides.
pub(super) struct Supervision {
    /// Closed by the parent's end when all is to end.
    pub(super) lifeline: OwnedFd,
    /// Where the outcome is told.
    pub(super) result: OwnedFd,
    /// A ruleset that holds signals in, from ABI 6; and the flags to enforce it with.
    pub(super) signals: Option<(OwnedFd, u32)>,
    /// The filter that sends calls to the supervisor.
    pub(super) judge: Option<seccompiler::BpfProgram>,
    /// Where they arrive: set by the child, in memory that it shares with the supervisor.
    pub(super) listener: AtomicI32,
    /// Beneath which the supervisor may change modes and times: host paths without symbolic links.
    pub(super) writable: Vec<CString>,
    /// The numbers to keep open, ascending.
    pub(super) keep: Vec<RawFd>,
    /// The supervisor's child's stack.
    pub(super) stack: sys::Stack,
    /// Whether the supervisor has a copy of kiln's memory, and does not share it.
    pub(super) copied: bool,
}

/// Waits until the tracer has this process, if there is to be one. If it is gone instead, what follows fails.
pub(super) fn wait_for_tracer(plan: &Plan) {
    if let Some(seized) = &plan.seized {
        let _ = sys::close_numbers(seized.writer, seized.writer);
        let _ = sys::read(seized.gate.as_fd(), &mut [0]);
    }
}

/// The child's main function: does not return when execve succeeds.
pub(super) fn run(plan: &Plan) -> i32 {
    if plan.supervision.is_none() {
        wait_for_tracer(plan);
    }
    let Err(failure) = set_up_and_execute(plan);
    report(plan.status.as_fd(), failure);
    127
}

/// Tells the parent.
pub(super) fn report(status: BorrowedFd<'_>, failure: Failure) {
    // Nothing can be done about a failure here; the parent then sees an end without a record.
    let _ = sys::write(status, &failure.to_bytes());
}

enum Never {}

fn set_up_and_execute(plan: &Plan) -> Result<Never, Failure> {
    sys::reset_signal_handlers();
    sys::umask(0o022);
    sys::setsid().at(Step::Session)?;
    // Where memory runs out, it is to be the action that ends. Without a /proc it is not.
    let _ = write_file(c"/proc/self/oom_score_adj", c"500");
    if let Some(view) = &plan.view {
        enter_view(view)?;
    }
    sys::chdir(&plan.cwd).at(Step::WorkingDirectory)?;
    place_descriptors(plan)?;
    // Rules name files by open descriptors: before the limit on those.
    for (i, (path, access)) in plan.late_rules.iter().enumerate() {
        sys::open(path, libc::O_PATH, 0)
            .and_then(|fd| sys::landlock_allow_beneath(plan.ruleset.as_fd(), fd.as_fd(), *access))
            .at_index(Step::LandlockRule, i)?;
    }
    for (i, (resource, value)) in plan.limits.iter().enumerate() {
        sys::set_limit(*resource, *value).at_index(Step::Limit, i)?;
    }
    if plan.supervision.is_none() {
        drop_privileges(&plan.drops)?;
    }
    // After all changes of credentials, which clear it.
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0).at(Step::DeathSignal)?;
    stop_without_parent(plan).at_index(Step::DeathSignal, 1)?;
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).at(Step::NoNewPrivileges)?;
    sys::landlock_restrict_self(plan.ruleset.as_fd(), 0).at(Step::Landlock)?;
    sys::set_signal_mask(0, None).at(Step::Session)?;
    if let Some(supervision) = &plan.supervision
        && let Some(judge) = &supervision.judge
    {
        // The filter that follows forbids further ones.
        let listener = sys::seccomp_filter_with_listener(judge).at_index(Step::Seccomp, 1)?;
        supervision.listener.store(listener, Ordering::Relaxed);
    }
    if let Some(stops) = plan
        .seized
        .as_ref()
        .and_then(|seized| seized.filter.as_ref())
    {
        sys::seccomp_filter(stops).at_index(Step::Seccomp, 2)?;
    }
    sys::seccomp_filter(&plan.filter).at(Step::Seccomp)?;
    let errno = sys::execve(&plan.program, &plan.argv, &plan.envp);
    Err(Failure {
        step: Step::Execute,
        index: 0,
        errno,
    })
}

/// Fixed ids, and a root that holds what the view says.
pub(super) fn enter_view(view: &View) -> Result<(), Failure> {
    map_identity(&view.identity)?;
    sys::sethostname(c"kiln").at_index(Step::HostName, 0)?;
    sys::setdomainname(c"(none)").at_index(Step::HostName, 1)?;

    // Nothing that happens here is to reach the host, nor the other way round.
    sys::mount(c"none", c"/", libc::MS_REC | libc::MS_PRIVATE, c"").at(Step::PrivateMounts)?;
    let root = sys::detached_filesystem(c"tmpfs", &[(c"mode", c"0755"), (c"size", c"1m")])
        .at_index(Step::NewRoot, 0)?;
    sys::attach_mount(root.as_fd(), c"/").at_index(Step::NewRoot, 1)?;
    sys::fchdir(root.as_fd()).at_index(Step::NewRoot, 2)?;
    sys::mkdir(c".old-root", 0o700).at_index(Step::NewRoot, 3)?;
    // From here on every path is resolved within the new root; the host's are reached through `OLD_ROOT` only.
    sys::pivot_root(c".", c".old-root").at(Step::PivotRoot)?;
    sys::chdir(c"/").at_index(Step::PivotRoot, 1)?;
    for (i, step) in view.steps.iter().enumerate() {
        make(step).at_index(Step::View, i)?;
    }
    sys::detach_mount(c"/.old-root").at_index(Step::DetachOldRoot, 0)?;
    sys::rmdir(c"/.old-root").at_index(Step::DetachOldRoot, 1)?;
    sys::restrict_mount_at(c"/", libc::MOUNT_ATTR_RDONLY).at(Step::ReadOnlyRoot)
}

/// Makes this process's user namespace have the ids.
pub(super) fn map_identity(identity: &Identity) -> Result<(), Failure> {
    // A process without privileges over the outer namespace may map only after it has given up setgroups.
    write_file(c"/proc/self/setgroups", c"deny").at_index(Step::IdentityMap, 0)?;
    write_file(c"/proc/self/uid_map", &identity.uid_map).at_index(Step::IdentityMap, 1)?;
    write_file(c"/proc/self/gid_map", &identity.gid_map).at_index(Step::IdentityMap, 2)
}

fn make(step: &ViewStep) -> SysResult {
    let unless_there = |result: SysResult| match result {
        Err(Errno(libc::EEXIST)) => Ok(()),
        other => other,
    };
    match step {
        ViewStep::Directory(path) => unless_there(sys::mkdir(path, 0o755)),
        ViewStep::File(path) => {
            let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
            unless_there(sys::open(path, flags, 0o644).map(drop))
        }
        ViewStep::Link { at, target } => sys::symlink(target, at),
        ViewStep::Bind {
            source,
            at,
            identity,
            attributes,
        } => {
            let copy = sys::copy_mount(source)?;
            if sys::identity(copy.as_fd())? != *identity {
                return Err(Errno(libc::ESTALE));
            }
            sys::restrict_mount(copy.as_fd(), *attributes)?;
            sys::attach_mount(copy.as_fd(), at)
        }
        ViewStep::Filesystem {
            kind,
            at,
            flags,
            options,
        } => sys::mount(kind, at, *flags, options),
    }
}

fn write_file(path: &std::ffi::CStr, line: &std::ffi::CStr) -> SysResult {
    let file = sys::open(path, libc::O_WRONLY, 0)?;
    sys::write(file.as_fd(), line.to_bytes()).map(drop)
}

/// The parent may have died before its death would be told. Then nobody reads the status pipe any more.
fn stop_without_parent(plan: &Plan) -> SysResult {
    if plan.supervision.is_none() {
        sys::close_numbers(plan.status_read, plan.status_read)?;
    }
    let mut fds = [libc::pollfd {
        fd: plan.status.0,
        events: 0,
        revents: 0,
    }];
    sys::poll(&mut fds, 0)?;
    if fds[0].revents & libc::POLLERR != 0 {
        return Err(Errno(libc::EPIPE));
    }
    Ok(())
}

/// Numbers 0, 1, 2 and the requested ones; everything else ends with execve.
fn place_descriptors(plan: &Plan) -> Result<(), Failure> {
    sys::close_on_exec_from(3).at_index(Step::Descriptors, 0)?;
    for (target, fd) in (0..).zip(&plan.standard) {
        sys::duplicate_to(fd.as_fd(), target).at_index(Step::Descriptors, 1)?;
    }
    for (fd, target) in &plan.descriptors {
        sys::duplicate_to(fd.as_fd(), *target).at_index(Step::Descriptors, 2)?;
    }
    Ok(())
}

/// No capability in any set, and none to be had by execve.
pub(super) fn drop_privileges(drops: &Drops) -> Result<(), Failure> {
    if drops.groups {
        sys::drop_groups().at(Step::Groups)?;
    }
    if let Some(last) = drops.last_capability {
        for capability in 0..=last {
            sys::prctl(libc::PR_CAPBSET_DROP, capability.into(), 0)
                .at_index(Step::Capabilities, capability as usize)?;
        }
        sys::prctl(libc::PR_SET_SECUREBITS, SECURE_BITS, 0).at_index(Step::Capabilities, 100)?;
    }
    sys::prctl(
        libc::PR_CAP_AMBIENT,
        libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong,
        0,
    )
    .at_index(Step::Capabilities, 101)?;
    sys::drop_capabilities().at_index(Step::Capabilities, 102)
}

/// `SECBIT_NOROOT`, `SECBIT_NO_SETUID_FIXUP`, `SECBIT_NO_CAP_AMBIENT_RAISE` and the lock of each, and the lock of
/// `SECBIT_KEEP_CAPS`: user 0 is a user like any other, for good. Source: `linux/securebits.h`.
const SECURE_BITS: libc::c_ulong = 0b1110_1111;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_survive_the_pipe() {
        for step in Step::ALL {
            let failure = Failure {
                step,
                index: 7,
                errno: Errno(libc::EPERM),
            };
            assert_eq!(Failure::from_bytes(failure.to_bytes()), Some(failure));
        }
        assert_eq!(Failure::from_bytes([0; Failure::SIZE]), None);
        assert_eq!(Failure::from_bytes([0xff; Failure::SIZE]), None);
    }
}
