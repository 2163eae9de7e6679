//! The system calls of the sandbox, behind safe signatures. The only file of the package with `unsafe` in it.
//!
//! Everything here is one call or a fixed few: no allocation, no lock, no formatting, no panic. So all of it may be used
//! between clone and execve in a program with many threads, where the child may share its parent's memory
//! (`CLONE_VM`): libc's allocator, its locks and the parent's data may be in any state.
//!
//! What lives elsewhere: the order in which the child makes these calls ([`super::child`]), and everything that the
//! parent prepares for them.
#![expect(
    unsafe_code,
    reason = "system calls and clone have no safe binding that is also async-signal-safe"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// `fchmodat2`, which has this number everywhere; `libc` does not name it for aarch64.
pub(super) const SYS_FCHMODAT2: libc::c_long = 452;

pub(super) mod ptrace;

/// An error number of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Errno(pub(super) i32);

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        std::io::Error::from_raw_os_error(errno.0)
    }
}

/// What a system call answers.
pub(super) type SysResult<T = ()> = Result<T, Errno>;

fn last_errno() -> Errno {
    // SAFETY: the function has no precondition; it gives the address of this thread's own errno, which lives as long
    // as the thread. Signal safety: reads thread-local memory.
    Errno(unsafe { *libc::__errno_location() })
}

fn check(rc: libc::c_long) -> SysResult<libc::c_long> {
    if rc < 0 { Err(last_errno()) } else { Ok(rc) }
}

fn done(rc: libc::c_long) -> SysResult {
    check(rc).map(|_| ())
}

fn owned(rc: libc::c_long) -> SysResult<OwnedFd> {
    let fd = check(rc)? as RawFd;
    // SAFETY: the kernel has just made this descriptor for this call, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

// ---------------------------------------------------------------------------------------------------------------------
// Processes

/// Memory for the child's stack: private, with a page below it that must not be touched.
pub(super) struct Stack {
    base: *mut c_void,
    length: usize,
}

// SAFETY: the mapping belongs to the value alone, whichever thread holds it; it is used through `clone` only.
unsafe impl Send for Stack {}
// SAFETY: as above; a shared reference gives no access to the memory but its address.
unsafe impl Sync for Stack {}

impl Stack {
    const GUARD: usize = 64 * 1024;

    /// Maps `length` bytes of stack (a multiple of 64 KiB).
    pub(super) fn new(length: usize) -> SysResult<Self> {
        let length = length + Self::GUARD;
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no memory that is in use.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(last_errno());
        }
        let stack = Self { base, length };
        // SAFETY: the range is the lowest part of the mapping just made, which nothing points into yet. 64 KiB is a
        // multiple of every page size of the supported machines.
        if unsafe { libc::mprotect(base, Self::GUARD, libc::PROT_NONE) } != 0 {
            return Err(last_errno());
        }
        Ok(stack)
    }

    fn top(&self) -> *mut c_void {
        // SAFETY: one past the end of the mapping, which pointer arithmetic allows; page-aligned, so aligned as the
        // ABIs demand of a stack.
        unsafe { self.base.byte_add(self.length) }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: `base` and `length` are those of the mapping made in `new`. `clone_with` borrows the stack, and the
        // child that ran on it either has its own copy of the memory or has ended its use of it by then.
        unsafe { libc::munmap(self.base, self.length) };
    }
}

/// How the child of [`clone_with`] uses its parent's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// A copy, as of `fork`: the child may live on.
    Copied,
    /// Shared, as of `vfork`: the calling thread sleeps until the child has called execve or ended. No page tables are
    /// copied, so that starting a process costs the same however large the parent is.
    SharedUntilExec,
}

struct Call<'a, T> {
    entry: fn(&T) -> i32,
    argument: &'a T,
}

extern "C" fn trampoline<T>(call: *mut c_void) -> c_int {
    // SAFETY: `clone_with` passes the address of a `Call<T>` on its own frame, which outlives the child's use of it:
    // the frame is copied with the memory, or the calling thread sleeps until the child has ended or called execve.
    let call = unsafe { &*call.cast::<Call<'_, T>>() };
    let code = (call.entry)(call.argument);
    exit(code)
}

/// Starts a child that runs `entry(argument)` on `stack` and ends with what it returns. `flags` are namespace flags,
/// `CLONE_PARENT` and `CLONE_FILES`. All signals have to be blocked: see [`SignalsBlocked`].
pub(super) fn clone_with<T>(
    flags: c_int,
    memory: Memory,
    stack: &Stack,
    entry: fn(&T) -> i32,
    argument: &T,
) -> SysResult<libc::pid_t> {
    let sharing = match memory {
        Memory::Copied => 0,
        Memory::SharedUntilExec => libc::CLONE_VM | libc::CLONE_VFORK,
    };
    let call = Call { entry, argument };
    // SAFETY: the stack is a writable mapping of its own, aligned, and outlives the child's use of it (see `Call`).
    // With shared memory the calling thread is suspended, so `entry` is alone in using this thread's frames and errno;
    // it reaches nothing but `argument`, by shared reference. No handler runs in the child: all signals are blocked.
    let rc = unsafe {
        libc::clone(
            trampoline::<T>,
            stack.top(),
            flags | sharing | libc::SIGCHLD,
            ptr::from_ref(&call).cast_mut().cast(),
        )
    };
    check(rc.into()).map(|pid| pid as libc::pid_t)
}

/// A child of [`clone_beside`] as it is told over a pipe: its number and a descriptor for it, or -1 and an error number.
pub(super) const STARTED_BYTES: usize = 8;

/// Starts a child that shares this program's memory for as long as it lives, as a thread does, but has a descriptor table,
/// signals, children and privileges of its own; and waits until it has ended. That it has started is told to `started`.
///
/// This costs the same however large the program is. The child uses the calling thread's thread-local memory, libc's
/// `errno` among it; that is why the thread does nothing but wait meanwhile. All signals have to be blocked, so that
/// nothing interrupts it, and stay so: see [`SignalsBlocked`].
pub(super) fn clone_beside<T: Sync>(
    stack: &Stack,
    entry: fn(&T) -> i32,
    argument: &T,
    started: OwnedFd,
) -> SysResult<Waited> {
    let call = Call { entry, argument };
    let mut process: c_int = -1;
    // SAFETY: the stack is a writable mapping of its own, aligned. It, `call` and `argument` outlive the child, since this
    // function returns only when the child has ended. The kernel writes `process` before the call returns. The child
    // reads `argument` by a shared reference of a type that threads may share; no handler runs in it, since all signals
    // are blocked; and the calling thread makes only system calls from here on that succeed, which leave `errno` alone.
    let rc = unsafe {
        libc::clone(
            trampoline::<T>,
            stack.top(),
            libc::CLONE_VM | libc::CLONE_PIDFD | libc::SIGCHLD,
            ptr::from_ref(&call).cast_mut().cast(),
            &raw mut process,
        )
    };
    let cloned = check(rc.into()).map(|pid| pid as libc::pid_t);
    let (first, second) = match cloned {
        Ok(pid) => (pid, process),
        Err(Errno(errno)) => (-1, errno),
    };
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    let _ = write(started.as_fd(), &[a, b, c, d, e, f, g, h]);
    drop(started);
    match wait_for(cloned?, true)? {
        Some(waited) => Ok(waited),
        None => Err(Errno(libc::ECHILD)),
    }
}

/// What [`clone_beside`] told, read by whoever waits for it: the child's number and a descriptor for it.
pub(super) fn read_started(pipe: BorrowedFd<'_>) -> SysResult<(libc::pid_t, OwnedFd)> {
    let mut record = [0; STARTED_BYTES];
    if read(pipe, &mut record)? != STARTED_BYTES {
        return Err(Errno(libc::ESRCH));
    }
    let [a, b, c, d, e, f, g, h] = record;
    let first = i32::from_ne_bytes([a, b, c, d]);
    let second = i32::from_ne_bytes([e, f, g, h]);
    if first == -1 {
        return Err(Errno(second));
    }
    Ok((first, owned(second.into())?))
}

/// The number of a descriptor, in a table of which this process has a copy: for a child that shares the memory, but not
/// the table, of who owns it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number(pub(super) RawFd);

impl AsFd for Number {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the number is used for system calls only, which look it up in the caller's own table; it is never -1,
        // since it was a descriptor's when it was made.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

/// While it lives, the calling thread takes no signal at all (also not libc's internal ones).
pub(super) struct SignalsBlocked {
    before: u64,
}

impl SignalsBlocked {
    /// Blocks them.
    pub(super) fn new() -> SysResult<Self> {
        let mut before = 0u64;
        set_signal_mask(u64::MAX, Some(&mut before))?;
        Ok(Self { before })
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        let _ = set_signal_mask(self.before, None);
    }
}

/// Sets the calling thread's signal mask.
pub(super) fn set_signal_mask(mask: u64, before: Option<&mut u64>) -> SysResult {
    let before = before.map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: both pointers are to 8 bytes, as the size argument says, or null, which the kernel skips.
    done(unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            ptr::from_ref(&mask),
            before,
            8usize,
        )
    })
}

/// Gives every signal its default effect.
pub(super) fn reset_signal_handlers() {
    // The kernel's `struct sigaction` is four words on both machines; all zero is `SIG_DFL` with no flags.
    let default = [0u64; 4];
    for signal in 1..=64 {
        // SAFETY: the kernel reads one `struct sigaction`. With default effect no code is ever called. SIGKILL and
        // SIGSTOP answer EINVAL, which changes nothing.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null_mut::<c_void>(),
                8usize,
            )
        };
    }
}

/// Ends the process at once.
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: the call does not return and runs no handler of libc's.
    unsafe { libc::_exit(code) }
}

/// Strings for execve: each ends in NUL, and the pointers to them in a null pointer.
pub(super) struct StringArray {
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers lead to the heap memory of the strings, which are owned, never changed and moved with them.
unsafe impl Send for StringArray {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for StringArray {}

impl StringArray {
    /// The array of `strings`.
    pub(super) fn new(strings: Vec<CString>) -> Self {
        let mut pointers: Vec<*const c_char> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(ptr::null());
        Self {
            _strings: strings,
            pointers,
        }
    }
}

/// Runs `program` in place of this process. Returns only if that fails.
pub(super) fn execve(program: &CStr, argv: &StringArray, envp: &StringArray) -> Errno {
    // SAFETY: all strings end in NUL and both arrays in a null pointer, by construction of the types.
    unsafe {
        libc::execve(
            program.as_ptr(),
            argv.pointers.as_ptr(),
            envp.pointers.as_ptr(),
        )
    };
    last_errno()
}

/// What [`wait_for`] learns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waited {
    /// Who ended.
    pub(super) pid: libc::pid_t,
    /// The wait status as the kernel encodes it.
    pub(super) status: i32,
    /// What it and the children it waited for used.
    pub(super) usage: libc::rusage,
}

/// Waits for the child `pid` (-1: for any) to end and reaps it. With `hang` false and nobody ended: `None`.
pub(super) fn wait_for(pid: libc::pid_t, hang: bool) -> SysResult<Option<Waited>> {
    let mut status = 0;
    // SAFETY: `rusage` is plain integers, for which all zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let options = if hang { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: both pointers are to live locals of the types that the kernel writes.
        let rc = unsafe { libc::wait4(pid, &raw mut status, options, &raw mut usage) };
        match check(rc.into()) {
            Ok(0) => return Ok(None),
            Ok(pid) => {
                return Ok(Some(Waited {
                    pid: pid as libc::pid_t,
                    status,
                    usage,
                }));
            }
            Err(Errno(libc::EINTR)) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// A descriptor that stands for the process `pid`, a child not yet waited for.
pub(super) fn pidfd_open(pid: libc::pid_t) -> SysResult<OwnedFd> {
    // SAFETY: the kernel takes two integers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0u32) })
}

/// Sends SIGKILL to the child `pid`, which has not been waited for.
pub(super) fn kill(pid: libc::pid_t) -> SysResult {
    // SAFETY: integers only.
    done(unsafe { libc::kill(pid, libc::SIGKILL) }.into())
}

/// Sends SIGKILL to every process that this one may signal, itself excepted.
///
/// That is everything the user owns unless something holds signals in: the caller has entered a Landlock domain that
/// scopes them.
pub(super) fn kill_all_in_scope() -> SysResult {
    kill(-1)
}

/// Sends SIGKILL to the process that `pidfd` stands for.
pub(super) fn pidfd_kill(pidfd: BorrowedFd<'_>) -> SysResult {
    // SAFETY: integers and a null pointer, which asks for the usual signal information. The descriptor is borrowed, so
    // it is open during the call.
    done(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            libc::SIGKILL,
            ptr::null::<c_void>(),
            0u32,
        )
    })
}

/// Makes this process the leader of a new session without a terminal.
pub(super) fn setsid() -> SysResult {
    // SAFETY: no argument, no memory.
    done(unsafe { libc::setsid() }.into())
}

/// `prctl` with integer arguments only.
pub(super) fn prctl(option: c_int, first: libc::c_ulong, second: libc::c_ulong) -> SysResult<i32> {
    const ZERO: libc::c_ulong = 0;
    // SAFETY: every option that this module is asked for takes integers, not addresses; unused arguments are zero.
    check(unsafe { libc::prctl(option, first, second, ZERO, ZERO) }.into()).map(|rc| rc as i32)
}

/// Sets both the soft and the hard limit of `resource` for this process.
pub(super) fn set_limit(resource: u32, value: u64) -> SysResult {
    let limit = libc::rlimit64 {
        rlim_cur: value,
        rlim_max: value,
    };
    // SAFETY: the kernel reads one `rlimit64` and writes none (the last pointer is null).
    done(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            ptr::from_ref(&limit),
            ptr::null_mut::<c_void>(),
        )
    })
}

/// The hard limit of `resource` for this process.
pub(super) fn hard_limit(resource: u32) -> SysResult<u64> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one `rlimit64` and reads none.
    done(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            ptr::null::<c_void>(),
            &raw mut limit,
        )
    })?;
    Ok(limit.rlim_max)
}

/// How many processes and threads there are on the machine, or 0 if the kernel does not say.
pub(super) fn process_count() -> u64 {
    // SAFETY: plain integers, for which all zero is a value.
    let mut info: libc::sysinfo = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `sysinfo`.
    match unsafe { libc::sysinfo(&raw mut info) } {
        0 => info.procs.into(),
        _ => 0,
    }
}

/// The size of a page of memory.
pub(super) fn page_bytes() -> u64 {
    // SAFETY: the function has no precondition and no effect.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Sets the file mode creation mask.
pub(super) fn umask(mask: u32) {
    // SAFETY: no memory, and it cannot fail.
    unsafe { libc::umask(mask) };
}

/// The effective user and group of this process.
pub(super) fn effective_ids() -> (u32, u32) {
    // SAFETY: no arguments, no memory, cannot fail.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// Gives up all supplementary groups. Of this thread alone: libc's function would signal every thread.
pub(super) fn drop_groups() -> SysResult {
    // SAFETY: with a count of zero the kernel reads no memory.
    done(unsafe { libc::syscall(libc::SYS_setgroups, 0usize, ptr::null::<c_void>()) })
}

/// Empties this thread's effective, permitted and inheritable capabilities.
pub(super) fn drop_capabilities() -> SysResult {
    // `_LINUX_CAPABILITY_VERSION_3`, pid 0 (this thread); then two times effective, permitted, inheritable.
    let header = [0x2008_0522u32, 0];
    let none = [0u32; 6];
    // SAFETY: version 3 makes the kernel read an 8-byte header and 24 bytes of sets, which is what these arrays are.
    done(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) })
}

/// Enters the namespace that `fd` stands for.
pub(super) fn setns(fd: BorrowedFd<'_>, kind: c_int) -> SysResult {
    // SAFETY: two integers; the descriptor is borrowed, so it is open during the call.
    done(unsafe { libc::setns(fd.as_raw_fd(), kind) }.into())
}

/// Switches the loopback interface of this process's network namespace on.
pub(super) fn loopback_up() -> SysResult {
    // SAFETY: no pointers; a new descriptor.
    let socket = owned(
        unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into(),
    )?;
    // SAFETY: a structure of integers and unions of integers, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the kernel reads one `ifreq`, which lives until the call returns; its name ends with a NUL byte.
    done(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into())
}

/// Sets the host name of this UTS namespace.
pub(super) fn sethostname(name: &CStr) -> SysResult {
    // SAFETY: the kernel reads `count_bytes` bytes of a live string.
    done(unsafe { libc::sethostname(name.as_ptr(), name.count_bytes()) }.into())
}

/// Sets the NIS domain name of this UTS namespace.
pub(super) fn setdomainname(name: &CStr) -> SysResult {
    // SAFETY: the kernel reads `count_bytes` bytes of a live string.
    done(unsafe { libc::setdomainname(name.as_ptr(), name.count_bytes()) }.into())
}

// ---------------------------------------------------------------------------------------------------------------------
// Descriptors

/// `fd` again, close-on-exec, numbered `floor` or above.
pub(super) fn duplicate_above(fd: BorrowedFd<'_>, floor: RawFd) -> SysResult<OwnedFd> {
    // SAFETY: integers only; the descriptor is borrowed, so it is open during the call.
    owned(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, floor) }.into())
}

/// Makes the number `target` mean what `fd` means, kept across execve.
///
/// What `target` meant before is closed: the caller passes numbers that no `OwnedFd` of this process will use again.
pub(super) fn duplicate_to(fd: BorrowedFd<'_>, target: RawFd) -> SysResult {
    // SAFETY: integers only. The child owns a descriptor table of its own and goes on to execve or exit, so no owner
    // in it is surprised by `target` changing its meaning.
    done(unsafe { libc::syscall(libc::SYS_dup3, fd.as_raw_fd(), target, 0) })
}

/// Closes every descriptor from `first` to `last`, by number and whoever owns it: for a child that goes on to no code
/// but its own.
pub(super) fn close_numbers(first: RawFd, last: RawFd) -> SysResult {
    if first > last {
        return Ok(());
    }
    // SAFETY: integers only. The caller is a process of its own that never returns to the code that made the owners of
    // these descriptors, so nothing uses them again.
    done(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0u32) })
}

/// A descriptor that is readable while one of the signals in `mask` is pending.
pub(super) fn signalfd(mask: u64) -> SysResult<OwnedFd> {
    // SAFETY: the kernel reads the eight bytes of the mask, as the size says.
    owned(unsafe {
        libc::syscall(
            libc::SYS_signalfd4,
            -1,
            ptr::from_ref(&mask),
            8usize,
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        )
    })
}

/// Names this process, as `ps` shows it.
pub(super) fn set_name(name: &CStr) -> SysResult {
    // SAFETY: the kernel reads up to 16 bytes of a string that ends in NUL.
    done(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) }.into())
}

/// Marks every descriptor from `first` on to be closed by execve.
pub(super) fn close_on_exec_from(first: u32) -> SysResult {
    // SAFETY: integers only; marking closes nothing yet.
    done(unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    })
}

/// A close-on-exec pipe: its read end and its write end.
pub(super) fn pipe() -> SysResult<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: the kernel writes two integers into the array.
    check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    // SAFETY: both were made by this call, so nothing else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// Makes reads of `fd` return at once.
pub(super) fn set_nonblocking(fd: BorrowedFd<'_>) -> SysResult {
    // SAFETY: integers only; the descriptor is borrowed.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }.into())?;
    // SAFETY: as above.
    done(
        unsafe {
            libc::fcntl(
                fd.as_raw_fd(),
                libc::F_SETFL,
                flags as c_int | libc::O_NONBLOCK,
            )
        }
        .into(),
    )
}

/// Writes `bytes`, once.
pub(super) fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> SysResult<usize> {
    // SAFETY: the kernel reads `bytes.len()` bytes of the slice.
    check(
        unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) } as libc::c_long,
    )
    .map(|n| n as usize)
}

/// Reads into `bytes`, once.
pub(super) fn read(fd: BorrowedFd<'_>, bytes: &mut [u8]) -> SysResult<usize> {
    loop {
        // SAFETY: the kernel writes at most `bytes.len()` bytes into the slice.
        let rc = unsafe { libc::read(fd.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len()) };
        match check(rc as libc::c_long) {
            Err(Errno(libc::EINTR)) => {}
            other => return other.map(|n| n as usize),
        }
    }
}

/// Waits until one of `fds` has an event, or for `timeout` milliseconds (-1: for ever).
pub(super) fn poll(fds: &mut [libc::pollfd], timeout: c_int) -> SysResult<usize> {
    // SAFETY: the kernel reads and writes `fds.len()` entries of the slice.
    check(unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) }.into())
        .map(|n| n as usize)
}

/// Opens `path` with `flags` (close-on-exec is added).
pub(super) fn open(path: &CStr, flags: c_int, mode: u32) -> SysResult<OwnedFd> {
    // SAFETY: the path ends in NUL.
    owned(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, mode) }.into())
}

fn status(fd: BorrowedFd<'_>) -> SysResult<libc::stat> {
    // SAFETY: `stat` is plain integers, for which all zero is a value.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `stat`.
    check(unsafe { libc::fstat(fd.as_raw_fd(), &raw mut stat) }.into())?;
    Ok(stat)
}

/// Device and inode of what `fd` stands for.
pub(super) fn identity(fd: BorrowedFd<'_>) -> SysResult<(u64, u64)> {
    status(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

/// What kind of file `fd` stands for: `S_IF*`.
pub(super) fn kind(fd: BorrowedFd<'_>) -> SysResult<u32> {
    status(fd).map(|stat| stat.st_mode & libc::S_IFMT)
}

// ---------------------------------------------------------------------------------------------------------------------
// The view of files

/// `mount(2)`: a new filesystem, or new flags for what is mounted.
pub(super) fn mount(kind: &CStr, target: &CStr, flags: libc::c_ulong, options: &CStr) -> SysResult {
    // SAFETY: all strings end in NUL; the kinds of filesystem used here read their options as such a string.
    done(
        unsafe {
            libc::mount(
                kind.as_ptr(),
                target.as_ptr(),
                kind.as_ptr(),
                flags,
                options.as_ptr().cast(),
            )
        }
        .into(),
    )
}

/// A new filesystem that is mounted nowhere yet.
pub(super) fn detached_filesystem(kind: &CStr, options: &[(&CStr, &CStr)]) -> SysResult<OwnedFd> {
    // SAFETY: the string ends in NUL.
    let context =
        owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), libc::FSOPEN_CLOEXEC) })?;
    for (key, value) in options {
        // SAFETY: both strings end in NUL, as `FSCONFIG_SET_STRING` demands.
        done(unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                context.as_raw_fd(),
                libc::FSCONFIG_SET_STRING,
                key.as_ptr(),
                value.as_ptr(),
                0,
            )
        })?;
    }
    // SAFETY: `FSCONFIG_CMD_CREATE` takes no key and no value.
    done(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            libc::FSCONFIG_CMD_CREATE,
            ptr::null::<c_char>(),
            ptr::null::<c_void>(),
            0,
        )
    })?;
    // SAFETY: integers only; the context is open.
    owned(unsafe {
        libc::syscall(
            libc::SYS_fsmount,
            context.as_raw_fd(),
            libc::FSMOUNT_CLOEXEC,
            libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        )
    })
}

/// A copy of what is mounted at `path` and below it, mounted nowhere yet. A final symbolic link is not followed.
pub(super) fn copy_mount(path: &CStr) -> SysResult<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE as c_int
        | libc::OPEN_TREE_CLOEXEC as c_int
        | libc::AT_RECURSIVE
        | libc::AT_SYMLINK_NOFOLLOW
        | libc::AT_NO_AUTOMOUNT;
    // SAFETY: the path ends in NUL.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// Adds `attributes` to the mount `fd` and all mounts below it.
pub(super) fn restrict_mount(fd: BorrowedFd<'_>, attributes: u64) -> SysResult {
    set_mount_attributes(
        fd.as_raw_fd(),
        c"",
        libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
        attributes,
    )
}

/// Adds `attributes` to the one mount at `path`.
pub(super) fn restrict_mount_at(path: &CStr, attributes: u64) -> SysResult {
    set_mount_attributes(libc::AT_FDCWD, path, 0, attributes)
}

fn set_mount_attributes(at: RawFd, path: &CStr, flags: c_int, attributes: u64) -> SysResult {
    // `struct mount_attr`: attributes to set, attributes to clear, propagation, user namespace.
    let change = [attributes, 0, 0, 0u64];
    // SAFETY: the path ends in NUL, and the kernel reads the 32 bytes of the array, as the size says.
    done(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            at,
            path.as_ptr(),
            flags,
            change.as_ptr(),
            size_of_val(&change),
        )
    })
}

/// Mounts the detached mount `fd` at `path`.
pub(super) fn attach_mount(fd: BorrowedFd<'_>, path: &CStr) -> SysResult {
    // SAFETY: both paths end in NUL; the descriptor is borrowed.
    done(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    })
}

/// Makes `new` the root and mounts the old root at `old`.
pub(super) fn pivot_root(new: &CStr, old: &CStr) -> SysResult {
    // SAFETY: both paths end in NUL.
    done(unsafe { libc::syscall(libc::SYS_pivot_root, new.as_ptr(), old.as_ptr()) })
}

/// Takes what is mounted at `path`, and everything below it, out of this mount namespace.
pub(super) fn detach_mount(path: &CStr) -> SysResult {
    // SAFETY: the path ends in NUL.
    done(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) }.into())
}

/// Changes the working directory.
pub(super) fn chdir(path: &CStr) -> SysResult {
    // SAFETY: the path ends in NUL.
    done(unsafe { libc::chdir(path.as_ptr()) }.into())
}

/// Changes the working directory to an open one.
pub(super) fn fchdir(fd: BorrowedFd<'_>) -> SysResult {
    // SAFETY: one integer; the descriptor is borrowed.
    done(unsafe { libc::fchdir(fd.as_raw_fd()) }.into())
}

/// Makes a directory.
pub(super) fn mkdir(path: &CStr, mode: u32) -> SysResult {
    // SAFETY: the path ends in NUL.
    done(unsafe { libc::mkdir(path.as_ptr(), mode) }.into())
}

/// Removes an empty directory.
pub(super) fn rmdir(path: &CStr) -> SysResult {
    // SAFETY: the path ends in NUL.
    done(unsafe { libc::rmdir(path.as_ptr()) }.into())
}

/// Makes a symbolic link.
pub(super) fn symlink(target: &CStr, path: &CStr) -> SysResult {
    // SAFETY: both strings end in NUL.
    done(unsafe { libc::symlink(target.as_ptr(), path.as_ptr()) }.into())
}

// ---------------------------------------------------------------------------------------------------------------------
// Landlock and seccomp

/// The Landlock ABI of the running kernel, or why it has none (ENOSYS: not built; EOPNOTSUPP: switched off at boot).
pub(super) fn landlock_abi() -> SysResult<u32> {
    const VERSION: u32 = 1;
    // SAFETY: with the version flag the kernel reads no attribute (null, size 0) and returns an integer.
    check(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<c_void>(),
            0usize,
            VERSION,
        )
    })
    .map(|abi| abi as u32)
}

/// Adds to `ruleset` that beneath `parent` the rights `access` are held.
pub(super) fn landlock_allow_beneath(
    ruleset: BorrowedFd<'_>,
    parent: BorrowedFd<'_>,
    access: u64,
) -> SysResult {
    #[repr(C, packed)]
    struct PathBeneath {
        allowed_access: u64,
        parent_fd: i32,
    }
    const RULE_PATH_BENEATH: c_int = 1;
    let rule = PathBeneath {
        allowed_access: access,
        parent_fd: parent.as_raw_fd(),
    };
    // SAFETY: the rule has the layout of the kernel's packed `struct landlock_path_beneath_attr`, which is what this
    // kind of rule makes it read. Both descriptors are borrowed, so they are open during the call.
    done(unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            RULE_PATH_BENEATH,
            &raw const rule,
            0u32,
        )
    })
}

/// Enforces `ruleset` on this thread and what it will start. `flags` are `LANDLOCK_RESTRICT_SELF_*`.
pub(super) fn landlock_restrict_self(ruleset: BorrowedFd<'_>, flags: u32) -> SysResult {
    // SAFETY: the kernel takes two integers; the descriptor is borrowed, so it is open during the call.
    done(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), flags) })
}

fn install_filter(
    program: &[seccompiler::sock_filter],
    flags: libc::c_ulong,
) -> SysResult<libc::c_long> {
    let Ok(len) = libc::c_ushort::try_from(program.len()) else {
        return Err(Errno(libc::E2BIG));
    };
    let program = libc::sock_fprog {
        len,
        // `seccompiler::sock_filter` is the kernel's structure under another name, `repr(C)` with the same fields.
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the kernel copies `len` instructions from the slice and checks them; it writes nothing.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    })
}

/// Installs `program` as a filter of this thread's system calls and of what it will start.
pub(super) fn seccomp_filter(program: &[seccompiler::sock_filter]) -> SysResult {
    install_filter(program, 0).map(|_| ())
}

/// Likewise; what the filter sends to a supervisor arrives at the descriptor with this number (close-on-exec). The
/// number, and not an owner: the descriptor table is shared with the process that will use it.
pub(super) fn seccomp_filter_with_listener(
    program: &[seccompiler::sock_filter],
) -> SysResult<RawFd> {
    install_filter(program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER).map(|fd| fd as RawFd)
}

/// Takes over the descriptor that a child left in the table it shared with this process.
pub(super) fn adopt(number: RawFd) -> Option<OwnedFd> {
    if number < 3 {
        return None;
    }
    // SAFETY: the number is one that `seccomp_filter_with_listener` answered in a child with the same descriptor table,
    // which has since called execve and so has a table of its own: nobody else owns it here.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A system call that waits for the supervisor's answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// What to answer under.
    pub(super) id: u64,
    /// The thread that made the call.
    pub(super) thread: libc::pid_t,
    /// The system call.
    pub(super) number: libc::c_long,
    /// Its arguments.
    pub(super) arguments: [u64; 6],
}

/// Receives the next call from `listener`.
pub(super) fn next_asked(listener: BorrowedFd<'_>) -> SysResult<Asked> {
    // SAFETY: plain integers, for which all zero is a value, and which the kernel demands to be zero.
    let mut notif: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `seccomp_notif`, the size of which is in the request's number.
    let rc = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_RECV,
            &raw mut notif,
        )
    };
    done(rc.into())?;
    Ok(Asked {
        id: notif.id,
        thread: notif.pid as libc::pid_t,
        number: notif.data.nr.into(),
        arguments: notif.data.args,
    })
}

/// Whether the call `id` still waits: if so, its thread's number has not been given to another one.
pub(super) fn still_asked(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the kernel reads the eight bytes of `id`.
    unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
            ptr::from_ref(&id),
        ) == 0
    }
}

/// Answers the call `id` with success or an error number.
pub(super) fn answer(listener: BorrowedFd<'_>, id: u64, result: SysResult) -> SysResult {
    // SAFETY: plain integers, for which all zero is a value.
    let mut response: libc::seccomp_notif_resp = unsafe { std::mem::zeroed() };
    response.id = id;
    if let Err(Errno(errno)) = result {
        response.error = -errno;
    }
    // SAFETY: the kernel reads one `seccomp_notif_resp`.
    let rc = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            &raw mut response,
        )
    };
    done(rc.into())
}

/// Reads memory of the process that `thread` belongs to, at `address`, into `buffer`: how much could be read. Never
/// crosses into the next page unless that can be read, too.
pub(super) fn read_memory(
    thread: libc::pid_t,
    address: u64,
    buffer: &mut [u8],
) -> SysResult<usize> {
    const PAGE: usize = 4096;
    let first = (PAGE - (address as usize % PAGE)).min(buffer.len());
    let local = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let remote = [
        libc::iovec {
            iov_base: ptr::without_provenance_mut(address as usize),
            iov_len: first,
        },
        libc::iovec {
            iov_base: ptr::without_provenance_mut((address as usize).wrapping_add(first)),
            iov_len: buffer.len() - first,
        },
    ];
    // SAFETY: the kernel writes at most `buffer.len()` bytes into the slice; the other addresses are the other
    // process's, and the kernel checks them.
    check(
        unsafe { libc::process_vm_readv(thread, &raw const local, 1, remote.as_ptr(), 2, 0) }
            as libc::c_long,
    )
    .map(|n| n as usize)
}

/// Opens `path` from `base` as a path only, through no link of `/proc`.
pub(super) fn open_path_at(base: BorrowedFd<'_>, path: &CStr, follow: bool) -> SysResult<OwnedFd> {
    let nofollow = if follow { 0 } else { libc::O_NOFOLLOW };
    // `struct open_how`: flags, mode, resolve.
    let how = [
        (libc::O_PATH | libc::O_CLOEXEC | nofollow) as u64,
        0,
        libc::RESOLVE_NO_MAGICLINKS,
    ];
    // SAFETY: the path ends in NUL and the kernel reads the 24 bytes of the array, as the size says.
    owned(unsafe {
        libc::syscall(
            libc::SYS_openat2,
            base.as_raw_fd(),
            path.as_ptr(),
            how.as_ptr(),
            size_of_val(&how),
        )
    })
}

/// What the symbolic link at `path` says, written into `buffer`.
pub(super) fn read_link<'b>(path: &CStr, buffer: &'b mut [u8]) -> SysResult<&'b [u8]> {
    // SAFETY: the path ends in NUL; the kernel writes at most `buffer.len()` bytes.
    let rc = unsafe { libc::readlink(path.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    let length = check(rc as libc::c_long)? as usize;
    buffer.get(..length).ok_or(Errno(libc::EIO))
}

/// Changes the mode of the file at `path`, links followed.
pub(super) fn chmod(path: &CStr, mode: u32) -> SysResult {
    // SAFETY: the path ends in NUL.
    done(unsafe { libc::chmod(path.as_ptr(), mode) }.into())
}

/// Sets the times of the file at `path`, links followed: two `timespec` of two words each, or now.
pub(super) fn set_times(path: &CStr, times: Option<&[u64; 4]>) -> SysResult {
    let times = times.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the path ends in NUL; the kernel reads two `timespec`, four words on both machines, or nothing.
    done(unsafe { libc::syscall(libc::SYS_utimensat, libc::AT_FDCWD, path.as_ptr(), times, 0) })
}

/// Whether the running kernel has seccomp and knows its action `action`.
pub(super) fn seccomp_action_available(action: u32) -> SysResult {
    const GET_ACTION_AVAIL: u32 = 2;
    // SAFETY: the kernel reads the four bytes of `action`.
    done(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            GET_ACTION_AVAIL,
            0u32,
            ptr::from_ref(&action),
        )
    })
}
