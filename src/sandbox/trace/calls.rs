//! Which system calls a tracer looks at, and what their arguments mean.

use serde::{Deserialize, Serialize};

/// What was done with a path, or tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// A program was run.
    Execute,
    /// A file was opened to be read, or a directory to be listed.
    Read,
    /// A file was opened to be written, made or emptied.
    Write,
    /// It was asked whether it is there, and what it is like.
    Look,
    /// It became the working directory.
    Enter,
    /// A directory, link or pipe was made.
    Make,
    /// It was removed.
    Remove,
    /// It was renamed, or given another name.
    Move,
    /// Its mode, owner, times, size or attributes were changed.
    Change,
    /// No path: a system call that is refused.
    Call,
}

impl Operation {
    /// Whether it leaves something other than it was.
    pub fn changes(self) -> bool {
        matches!(
            self,
            Operation::Write
                | Operation::Make
                | Operation::Remove
                | Operation::Move
                | Operation::Change
        )
    }
}

/// A path among a call's arguments: which argument is its address, and which the directory that it starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PathArgument {
    pub(super) path: usize,
    pub(super) directory: Option<usize>,
}

/// A call that is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) operation: Operation,
    pub(super) first: PathArgument,
    /// Of calls with two paths, the other one.
    pub(super) second: Option<PathArgument>,
    /// Which argument has `open`'s flags.
    pub(super) flags: Option<usize>,
    /// Which argument has the address of the arguments of a program.
    pub(super) argv: Option<usize>,
}

const fn at(path: usize) -> PathArgument {
    PathArgument {
        path,
        directory: None,
    }
}

const fn beneath(directory: usize) -> PathArgument {
    PathArgument {
        path: directory + 1,
        directory: Some(directory),
    }
}

const fn call(operation: Operation, first: PathArgument) -> Known {
    Known {
        operation,
        first,
        second: None,
        flags: None,
        argv: None,
    }
}

const fn opening(first: PathArgument, flags: usize) -> Known {
    Known {
        flags: Some(flags),
        ..call(Operation::Read, first)
    }
}

const fn running(first: PathArgument, argv: usize) -> Known {
    Known {
        argv: Some(argv),
        ..call(Operation::Execute, first)
    }
}

const fn both(operation: Operation, first: PathArgument, second: PathArgument) -> Known {
    Known {
        second: Some(second),
        ..call(operation, first)
    }
}

/// The calls that take a path, on both machines.
const COMMON: [(libc::c_long, Known); 25] = [
    (libc::SYS_execve, running(at(0), 1)),
    (libc::SYS_execveat, running(beneath(0), 2)),
    (libc::SYS_openat, opening(beneath(0), 2)),
    (libc::SYS_openat2, call(Operation::Read, beneath(0))),
    (libc::SYS_newfstatat, call(Operation::Look, beneath(0))),
    (libc::SYS_statx, call(Operation::Look, beneath(0))),
    (libc::SYS_faccessat, call(Operation::Look, beneath(0))),
    (libc::SYS_faccessat2, call(Operation::Look, beneath(0))),
    (libc::SYS_readlinkat, call(Operation::Look, beneath(0))),
    (libc::SYS_statfs, call(Operation::Look, at(0))),
    (libc::SYS_getxattr, call(Operation::Look, at(0))),
    (libc::SYS_lgetxattr, call(Operation::Look, at(0))),
    (libc::SYS_chdir, call(Operation::Enter, at(0))),
    (libc::SYS_mkdirat, call(Operation::Make, beneath(0))),
    (libc::SYS_mknodat, call(Operation::Make, beneath(0))),
    (libc::SYS_symlinkat, call(Operation::Make, beneath(1))),
    (libc::SYS_unlinkat, call(Operation::Remove, beneath(0))),
    (
        libc::SYS_renameat2,
        both(Operation::Move, beneath(0), beneath(2)),
    ),
    (
        libc::SYS_linkat,
        both(Operation::Move, beneath(0), beneath(2)),
    ),
    (libc::SYS_fchmodat, call(Operation::Change, beneath(0))),
    (
        crate::sandbox::sys::SYS_FCHMODAT2,
        call(Operation::Change, beneath(0)),
    ),
    (libc::SYS_fchownat, call(Operation::Change, beneath(0))),
    (libc::SYS_utimensat, call(Operation::Change, beneath(0))),
    (libc::SYS_truncate, call(Operation::Change, at(0))),
    (libc::SYS_setxattr, call(Operation::Change, at(0))),
];

#[cfg(target_arch = "x86_64")]
const OLDER: [(libc::c_long, Known); 17] = [
    (libc::SYS_open, opening(at(0), 1)),
    (libc::SYS_creat, call(Operation::Write, at(0))),
    (libc::SYS_stat, call(Operation::Look, at(0))),
    (libc::SYS_lstat, call(Operation::Look, at(0))),
    (libc::SYS_access, call(Operation::Look, at(0))),
    (libc::SYS_readlink, call(Operation::Look, at(0))),
    (libc::SYS_mkdir, call(Operation::Make, at(0))),
    (libc::SYS_mknod, call(Operation::Make, at(0))),
    (libc::SYS_symlink, call(Operation::Make, at(1))),
    (libc::SYS_rmdir, call(Operation::Remove, at(0))),
    (libc::SYS_unlink, call(Operation::Remove, at(0))),
    (libc::SYS_rename, both(Operation::Move, at(0), at(1))),
    (
        libc::SYS_renameat,
        both(Operation::Move, beneath(0), beneath(2)),
    ),
    (libc::SYS_link, both(Operation::Move, at(0), at(1))),
    (libc::SYS_chmod, call(Operation::Change, at(0))),
    (libc::SYS_chown, call(Operation::Change, at(0))),
    (libc::SYS_lchown, call(Operation::Change, at(0))),
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: [(libc::c_long, Known); 1] = [(
    libc::SYS_renameat,
    both(Operation::Move, beneath(0), beneath(2)),
)];

/// What is known of the call `number`.
pub(super) fn known(number: u64) -> Option<&'static Known> {
    COMMON
        .iter()
        .chain(&OLDER)
        .find(|(known, _)| *known as u64 == number)
        .map(|(_, call)| call)
}

/// The numbers of all calls that take a path, ascending.
pub(super) fn numbers() -> Vec<u32> {
    let mut numbers: Vec<u32> = COMMON
        .iter()
        .chain(&OLDER)
        .filter_map(|(number, _)| u32::try_from(*number).ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// What opening with these flags is for.
pub(super) fn purpose(flags: u64) -> Operation {
    let flags = flags as i32;
    if flags & libc::O_PATH != 0 {
        Operation::Look
    } else if flags & libc::O_ACCMODE != libc::O_RDONLY
        || flags & (libc::O_CREAT | libc::O_TRUNC) != 0
    {
        Operation::Write
    } else {
        Operation::Read
    }
}

/// The families of addresses that `socket` may be asked for, as far as they have a name.
pub(super) fn family(domain: u64) -> &'static str {
    match domain as i32 {
        libc::AF_UNIX => "AF_UNIX",
        libc::AF_INET => "AF_INET",
        libc::AF_INET6 => "AF_INET6",
        libc::AF_NETLINK => "AF_NETLINK",
        libc::AF_PACKET => "AF_PACKET",
        libc::AF_VSOCK => "AF_VSOCK",
        libc::AF_ALG => "AF_ALG",
        _ => "another family",
    }
}
