//! How the unpacking process gives up what it does not need, before it reads the first byte: Landlock leaves it one
//! directory, seccomp the few system calls that reading a stream and writing files take, limits the rest.
//!
//! This is not [`crate::sandbox`], which starts another program in a world of its own: here a process that is trusted
//! until now confines itself, and needs neither a program nor a library any more. There is such a process for each
//! archive, so setting it up has to be quick: [`crate::sandbox::confine_self`], which reads a profile and gives up more,
//! made fetching 277 crates measurably slower (5.5 s instead of 2.4 s, 7.5 s instead of 5.3 s).

use std::collections::BTreeMap;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use nix::sys::resource::{Resource, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// The kernel does not confine the process. Nothing may be unpacked then.
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
    /// The filter cannot be built.
    #[error("cannot build the seccomp filter")]
    Filter(#[from] seccompiler::BackendError),
    /// The kernel refused the filter.
    #[error("the kernel refused the seccomp filter")]
    Seccomp(#[from] seccompiler::Error),
    /// A limit cannot be set.
    #[error("cannot set a resource limit")]
    Limit(#[from] nix::errno::Errno),
}

/// From here on this thread, and any that it starts, can open files beneath `destination` only, has no sockets, starts
/// no program and makes no memory executable. What is open already (the archive) stays usable.
pub fn confine_to(destination: &Path) -> Result<(), ConfineError> {
    limit_resources()?;
    restrict_paths(destination)?;
    restrict_calls()
}

fn limit_resources() -> Result<(), ConfineError> {
    const MEMORY_BYTES: u64 = 2 << 30;
    const CPU_SECONDS: u64 = 300;
    for (resource, limit) in [
        (Resource::RLIMIT_AS, MEMORY_BYTES),
        (Resource::RLIMIT_CPU, CPU_SECONDS),
        // Not 0: then what `core_pattern` names would be started, outside. See `sandbox::spawn`.
        (Resource::RLIMIT_CORE, 1),
        (Resource::RLIMIT_NOFILE, 64),
    ] {
        // What is set already may be lower; raising it could be forbidden and is not wanted.
        let (_, hard) = nix::sys::resource::getrlimit(resource)?;
        let limit = limit.min(hard);
        setrlimit(resource, limit, limit)?;
    }
    Ok(())
}

fn restrict_paths(destination: &Path) -> Result<(), ConfineError> {
    let useful = AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSym
        | AccessFs::Truncate;
    // The first version of Landlock is demanded, and whatever later ones add is taken: the filter below closes what
    // they close, network and signals, on every kernel.
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V6))?
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

/// Reading, writing, making files and directories; memory; the end. What libc and Rust's runtime use besides.
const CALLS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_mkdirat,
    libc::SYS_symlinkat,
    libc::SYS_getcwd,
    libc::SYS_fcntl,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_sched_yield,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Calls that newer architectures have not got any more.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[i64] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_symlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[i64] = &[];

fn restrict_calls() -> Result<(), ConfineError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS
        .iter()
        .chain(OLD_CALLS)
        .map(|call| (*call, Vec::new()))
        .collect();
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        const PROTECTION: u8 = 2;
        let not_executable = SeccompCondition::new(
            PROTECTION,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64),
            0,
        )?;
        rules.insert(call, vec![SeccompRule::new(vec![not_executable])?]);
    }
    let filter: BpfProgram = SeccompFilter::new(
        rules,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()?;
    seccompiler::apply_filter(&filter)?;
    Ok(())
}
