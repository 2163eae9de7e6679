//! The calls of a tracer. A tracer is one thread: the one that seized.

use std::ptr;

use super::{Errno, SysResult, Waited, check, done};

/// Where in a system call a stopped thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum AtCall {
    /// Before it.
    Entry {
        /// Its number.
        number: u64,
        /// Its arguments.
        arguments: [u64; 6],
    },
    /// After it: what it answered, a negative error number where it failed.
    Exit(i64),
    /// In none.
    Elsewhere,
}

/// How a stopped thread goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Onward {
    /// To its next event.
    Event,
    /// To its next event, or the beginning or end of a system call.
    Call,
    /// Not at all: it is stopped as a process of a job is, and its tracer waits for what comes of it.
    Listen,
    /// Without its tracer.
    Detach,
}

/// Becomes the tracer of `pid`, with `options` (`PTRACE_O_*`), without stopping it.
pub(in crate::sandbox) fn seize(pid: libc::pid_t, options: i32) -> SysResult {
    // SAFETY: the request takes no address (it has to be null) and an integer.
    done(unsafe {
        libc::ptrace(
            libc::PTRACE_SEIZE,
            pid,
            ptr::null_mut::<libc::c_void>(),
            ptr::without_provenance_mut::<libc::c_void>(options as usize),
        )
    })
}

/// Lets the stopped thread `pid` go on, with `signal` delivered if it is not 0.
pub(in crate::sandbox) fn go_on(pid: libc::pid_t, how: Onward, signal: i32) -> SysResult {
    let request = match how {
        Onward::Event => libc::PTRACE_CONT,
        Onward::Call => libc::PTRACE_SYSCALL,
        Onward::Listen => libc::PTRACE_LISTEN,
        Onward::Detach => libc::PTRACE_DETACH,
    };
    // SAFETY: these requests take no address and an integer.
    done(unsafe {
        libc::ptrace(
            request,
            pid,
            ptr::null_mut::<libc::c_void>(),
            ptr::without_provenance_mut::<libc::c_void>(signal as usize),
        )
    })
}

/// What the event that stopped `pid` is about: a number of a process.
pub(in crate::sandbox) fn event_message(pid: libc::pid_t) -> SysResult<u64> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the kernel writes one word to a live local.
    done(unsafe {
        libc::ptrace(
            libc::PTRACE_GETEVENTMSG,
            pid,
            ptr::null_mut::<libc::c_void>(),
            &raw mut message,
        )
    })?;
    Ok(message)
}

/// Where in a system call the stopped thread `pid` is.
pub(in crate::sandbox) fn at_call(pid: libc::pid_t) -> SysResult<AtCall> {
    // `struct ptrace_syscall_info`: kind and machine, two addresses; then number and arguments, or the answer.
    let mut info = [0u64; 16];
    // SAFETY: the kernel writes at most as many bytes as the third argument says, which is the array's size.
    let count = check(unsafe {
        libc::ptrace(
            libc::PTRACE_GET_SYSCALL_INFO,
            pid,
            ptr::without_provenance_mut::<libc::c_void>(size_of_val(&info)),
            info.as_mut_ptr(),
        )
    })?;
    let kind = info[0].to_ne_bytes()[0];
    Ok(match kind {
        libc::PTRACE_SYSCALL_INFO_ENTRY | libc::PTRACE_SYSCALL_INFO_SECCOMP if count >= 80 => {
            let mut arguments = [0; 6];
            arguments.copy_from_slice(&info[4..10]);
            AtCall::Entry {
                number: info[3],
                arguments,
            }
        }
        libc::PTRACE_SYSCALL_INFO_EXIT if count >= 32 => AtCall::Exit(info[3].cast_signed()),
        _ => AtCall::Elsewhere,
    })
}

/// Waits for a stop or the end of a process that the calling thread traces, or the end of one that it started; not for
/// those of other threads. ECHILD if there is none.
pub(in crate::sandbox) fn wait_for_traced() -> SysResult<Waited> {
    let mut status = 0;
    // SAFETY: `rusage` is plain integers, for which all zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let options = libc::__WALL | libc::__WNOTHREAD;
    loop {
        // SAFETY: both pointers are to live locals of the types that the kernel writes.
        let rc = unsafe { libc::wait4(-1, &raw mut status, options, &raw mut usage) };
        match check(rc.into()) {
            Ok(pid) => {
                return Ok(Waited {
                    pid: pid as libc::pid_t,
                    status,
                    usage,
                });
            }
            Err(Errno(libc::EINTR)) => {}
            Err(errno) => return Err(errno),
        }
    }
}
