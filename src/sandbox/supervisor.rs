//! The supervisor of Landlock isolation: what the pid and mount namespaces do elsewhere, done by a process.
//!
//! Without a pid namespace, what an action leaves behind would live on. So kiln's child is a supervisor, a subreaper,
//! and the action is its child: whatever the action starts and abandons, by whatever number of forks and new sessions,
//! becomes the supervisor's child and is killed when the action's main process ends. From Landlock's ABI 6 on it is
//! killed in one stroke: the supervisor is in a Landlock domain with the action, which holds signals in, so that a
//! signal to everybody reaches just the action's processes, and no process can fork away from it.
//!
//! Without a mount namespace, nothing makes the files that the action may read read-only where Landlock does not look:
//! modes and times. The seccomp filter sends these calls here, and the supervisor does them itself, on files beneath
//! what the action may write. It works on its own copy of the arguments and on an open file, so nothing can be swapped
//! between judging and doing.
//!
//! The supervisor is a process that shares kiln's memory and nothing else, so that starting it costs the same however much
//! memory kiln has in use; traced, it has a copy. It never calls execve, and like the child it allocates nothing, takes no
//! lock and changes nothing in that memory but its own stack and the listener's number. It ends when the action does,
//! when kiln closes the lifeline, or when kiln dies, which closes it, too.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

use super::child::{self, At, Failure, Plan, Step, Supervision};
use super::sys::{self, Asked, Errno, Memory, SysResult, Waited};

/// How the action ended, over a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    /// The wait status, as the kernel encodes it.
    pub(super) status: i32,
    /// CPU time in user mode, microseconds.
    pub(super) user: u64,
    /// CPU time in the kernel, microseconds.
    pub(super) system: u64,
    /// The largest resident set, KiB.
    pub(super) peak: u64,
}

impl Report {
    /// The size of the record.
    pub(super) const SIZE: usize = 32;

    pub(super) fn of(waited: &Waited) -> Self {
        let micros = |time: libc::timeval| {
            (time.tv_sec.cast_unsigned())
                .wrapping_mul(1_000_000)
                .wrapping_add(time.tv_usec.cast_unsigned())
        };
        Self {
            status: waited.status,
            user: micros(waited.usage.ru_utime),
            system: micros(waited.usage.ru_stime),
            peak: waited.usage.ru_maxrss.cast_unsigned(),
        }
    }

    fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let fields = [
            u64::from(self.status.cast_unsigned()),
            self.user,
            self.system,
            self.peak,
        ];
        for (chunk, field) in bytes.chunks_exact_mut(8).zip(fields) {
            chunk.copy_from_slice(&field.to_ne_bytes());
        }
        bytes
    }

    /// Reads a record.
    pub(super) fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let field = |i: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[8 * i..8 * i + 8]);
            u64::from_ne_bytes(word)
        };
        Self {
            status: field(0) as u32 as i32,
            user: field(1),
            system: field(2),
            peak: field(3),
        }
    }
}

/// The supervisor's main function.
pub(super) fn run(plan: &Plan) -> i32 {
    let Some(supervision) = &plan.supervision else {
        return 125;
    };
    child::wait_for_tracer(plan);
    match supervise(plan, supervision) {
        Ok(report) => {
            // If kiln is gone, nobody reads this.
            let _ = sys::write(supervision.result.as_fd(), &report.to_bytes());
            0
        }
        Err(failure) => {
            child::report(plan.status.as_fd(), failure);
            126
        }
    }
}

fn supervise(plan: &Plan, supervision: &Supervision) -> Result<Report, Failure> {
    // Its signals stay blocked: it has a descriptor for the one it wants.
    sys::reset_signal_handlers();
    close_all_but(supervision.keep.iter().copied()).at_index(Step::Supervisor, 0)?;
    let _ = sys::set_name(c"kiln-supervisor");
    sys::setsid().at_index(Step::Supervisor, 1)?;
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0).at_index(Step::Supervisor, 2)?;
    if supervision.copied {
        // What it holds is of no use to anybody. Memory that it shares is kiln's to say this of.
        sys::prctl(libc::PR_SET_DUMPABLE, 0, 0).at_index(Step::Supervisor, 3)?;
    }
    child::drop_privileges(&plan.drops)?;
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).at_index(Step::Supervisor, 4)?;
    let scoped = match &supervision.signals {
        Some((ruleset, flags)) => {
            sys::landlock_restrict_self(ruleset.as_fd(), *flags).at_index(Step::Supervisor, 5)?;
            true
        }
        None => false,
    };
    let ended = sys::signalfd(1 << (libc::SIGCHLD - 1)).at_index(Step::Supervisor, 6)?;
    // The action shares this process's descriptors until execve: so its listener for judged calls is here afterwards.
    let main = sys::clone_with(
        libc::CLONE_FILES,
        Memory::SharedUntilExec,
        &supervision.stack,
        child::run,
        plan,
    )
    .at_index(Step::Supervisor, 7)?;
    let listener = sys::adopt(supervision.listener.load(Ordering::Relaxed));
    // The action's own ends of pipes, above all, and the status pipe, so that kiln learns that it runs.
    let lifeline = supervision.lifeline.as_fd();
    let mut keep = [
        ended.as_raw_fd(),
        lifeline.as_raw_fd(),
        supervision.result.as_raw_fd(),
        listener.as_ref().map_or(RawFd::MAX, AsRawFd::as_raw_fd),
    ];
    keep.sort_unstable();
    let closed = close_all_but(keep.into_iter().filter(|fd| *fd != RawFd::MAX));

    let outcome = match closed {
        Ok(()) => watch(main, &ended, lifeline, listener.as_ref(), supervision),
        // It must not run on while its pipes are held here.
        Err(_) => None,
    };
    // Nobody is there to answer from now on, also not the calls of what is about to be killed.
    drop(listener);
    let last = end_all(main, scoped);
    match outcome.or(last) {
        Some(waited) => Ok(Report::of(&waited)),
        None => Err(Failure {
            step: Step::Supervisor,
            index: 8,
            errno: Errno(libc::ECHILD),
        }),
    }
}

/// Closes every descriptor whose number is not in `keep`, which ascends.
fn close_all_but(keep: impl Iterator<Item = RawFd>) -> SysResult {
    let mut next = 0;
    for fd in keep {
        sys::close_numbers(next, fd - 1)?;
        next = fd + 1;
    }
    sys::close_numbers(next, RawFd::MAX)
}

/// Reaps and judges until the main process has ended (how) or all is to end (`None`).
fn watch(
    main: libc::pid_t,
    ended: &OwnedFd,
    lifeline: BorrowedFd<'_>,
    listener: Option<&OwnedFd>,
    supervision: &Supervision,
) -> Option<Waited> {
    let entry = |fd: RawFd, events| libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    let mut fds = [
        entry(ended.as_raw_fd(), libc::POLLIN),
        entry(lifeline.as_raw_fd(), libc::POLLIN),
        entry(listener.map_or(-1, AsRawFd::as_raw_fd), libc::POLLIN),
    ];
    loop {
        // Whoever ended before the descriptor for the signal was looked at.
        while let Ok(Some(waited)) = sys::wait_for(-1, false) {
            if waited.pid == main {
                return Some(waited);
            }
        }
        match sys::poll(&mut fds, -1) {
            Ok(_) | Err(Errno(libc::EINTR)) => {}
            Err(_) => return None,
        }
        if fds[1].revents != 0 {
            return None;
        }
        if fds[0].revents != 0 {
            let mut signals = [0; 1024];
            let _ = sys::read(ended.as_fd(), &mut signals);
        }
        if let Some(listener) = listener {
            if fds[2].revents & libc::POLLIN != 0 {
                judge(listener.as_fd(), supervision);
            } else if fds[2].revents != 0 {
                // Nobody has the filter any more.
                fds[2].fd = -1;
            }
        }
    }
}

/// Kills whatever is left, and waits until nothing is. How the main process ended, if it was among it.
fn end_all(main: libc::pid_t, scoped: bool) -> Option<Waited> {
    let mut outcome = None;
    loop {
        if scoped {
            // That there is nobody left is no failure.
            let _ = sys::kill_all_in_scope();
        } else {
            kill_children();
        }
        match sys::wait_for(-1, true) {
            Ok(Some(waited)) if waited.pid == main => outcome = Some(waited),
            Ok(_) => {}
            // Only ECHILD can be: all are reaped.
            Err(_) => return outcome,
        }
    }
}

/// Kills the children of this process, one by one. What they abandon meanwhile becomes a child: the caller comes again.
fn kill_children() {
    let Ok(file) = sys::open(c"/proc/thread-self/children", libc::O_RDONLY, 0) else {
        return;
    };
    let mut buffer = [0; 4096];
    let mut number: libc::pid_t = 0;
    loop {
        let count = match sys::read(file.as_fd(), &mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        for byte in buffer.iter().take(count) {
            match byte {
                b'0'..=b'9' => {
                    number = number.wrapping_mul(10).wrapping_add((byte - b'0').into());
                }
                _ => {
                    if number > 1 {
                        let _ = sys::kill(number);
                    }
                    number = 0;
                }
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Judging

/// Modes that a file may be given: no set-user-ID and set-group-ID, which the filter refuses, too.
const MODES: u32 = 0o1777;

fn judge(listener: BorrowedFd<'_>, supervision: &Supervision) {
    let Ok(asked) = sys::next_asked(listener) else {
        return;
    };
    let result = decide_and_do(listener, &asked, supervision);
    // If the caller was killed meanwhile, nobody waits for it.
    let _ = sys::answer(listener, asked.id, result);
}

/// The file that a call is about.
enum Named {
    /// By an address of a path in the caller's memory, and the directory it starts from.
    Path {
        directory: u64,
        path: u64,
        follow: bool,
        may_be_empty: bool,
    },
    /// By a descriptor of the caller's.
    Descriptor(u64),
}

/// What is to be done with it.
enum Change {
    Mode(u32),
    /// The address of the times, or 0 for now.
    Times(u64),
}

fn decide_and_do(listener: BorrowedFd<'_>, asked: &Asked, supervision: &Supervision) -> SysResult {
    let [first, second, third, fourth, ..] = asked.arguments;
    let here = libc::AT_FDCWD as u64;
    let mode = |value: u64| Change::Mode(value as u32 & MODES);
    let at = |directory, path, flags: u64| {
        let flags = flags as i32;
        if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
            return Err(Errno(libc::EINVAL));
        }
        Ok(Named::Path {
            directory,
            path,
            follow: flags & libc::AT_SYMLINK_NOFOLLOW == 0,
            may_be_empty: flags & libc::AT_EMPTY_PATH != 0,
        })
    };
    let (named, change) = match asked.number {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chmod => (at(here, first, 0)?, mode(second)),
        libc::SYS_fchmod => (Named::Descriptor(first), mode(second)),
        libc::SYS_fchmodat => (at(first, second, 0)?, mode(third)),
        super::sys::SYS_FCHMODAT2 => (at(first, second, fourth)?, mode(third)),
        libc::SYS_utimensat if second == 0 => (Named::Descriptor(first), Change::Times(third)),
        libc::SYS_utimensat => (at(first, second, fourth)?, Change::Times(third)),
        _ => return Err(Errno(libc::ENOSYS)),
    };

    // First everything that is the caller's, by its number; then whether that was still its own.
    let mut text = [0; PATH_BYTES];
    let (base, path, follow) = match named {
        Named::Descriptor(number) => (open_of(asked.thread, number)?, c"", true),
        Named::Path {
            directory,
            path,
            follow,
            may_be_empty,
        } => {
            let path = read_path(asked.thread, path, &mut text)?;
            if path.is_empty() && !may_be_empty {
                return Err(Errno(libc::ENOENT));
            }
            let directory = match path.to_bytes().first() {
                // The kernel does not look at the directory then.
                Some(b'/') => here,
                _ => directory,
            };
            (open_of(asked.thread, directory)?, path, follow)
        }
    };
    let times = match change {
        Change::Times(address) if address != 0 => Some(read_times(asked.thread, address)?),
        _ => None,
    };
    if !sys::still_asked(listener, asked.id) {
        return Err(Errno(libc::EINTR));
    }

    let file = match path.is_empty() {
        true => base,
        false => sys::open_path_at(base.as_fd(), path, follow).map_err(hide)?,
    };
    let mut own = [0; NAME_BYTES];
    let own = ProcPath::new(&mut own)
        .text(b"/proc/self/fd/")
        .number(file.as_raw_fd().unsigned_abs().into())
        .end();
    let mut place = [0; PATH_BYTES];
    let place = sys::read_link(own, &mut place)?;
    if place.len() == PATH_BYTES || !supervision.writable.iter().any(|w| beneath(place, w)) {
        return Err(Errno(libc::EACCES));
    }
    match change {
        Change::Mode(mode) => sys::chmod(own, mode),
        Change::Times(_) => sys::set_times(own, times.as_ref()),
    }
}

const PATH_BYTES: usize = 4096;
const NAME_BYTES: usize = 64;

/// What is not there and what is forbidden look different only beneath what the caller may write; the supervisor sees
/// more than the caller does.
fn hide(errno: Errno) -> Errno {
    match errno {
        Errno(libc::ENOENT | libc::ENAMETOOLONG) => errno,
        _ => Errno(libc::EACCES),
    }
}

/// Whether `place` is `root` or beneath it.
fn beneath(place: &[u8], root: &CStr) -> bool {
    match place.strip_prefix(root.to_bytes()) {
        Some(rest) => rest.is_empty() || rest.first() == Some(&b'/'),
        None => false,
    }
}

/// The caller's descriptor `number`, or its working directory.
fn open_of(thread: libc::pid_t, number: u64) -> SysResult<OwnedFd> {
    let mut bytes = [0; NAME_BYTES];
    let path = ProcPath::new(&mut bytes)
        .text(b"/proc/")
        .number(thread.unsigned_abs().into());
    let path = match number as i32 {
        libc::AT_FDCWD => path.text(b"/cwd"),
        number if number < 0 => return Err(Errno(libc::EBADF)),
        number => path.text(b"/fd/").number(number.unsigned_abs().into()),
    };
    sys::open(path.end(), libc::O_PATH, 0).map_err(|errno| match errno {
        Errno(libc::ENOENT) => Errno(libc::EBADF),
        _ => Errno(libc::EACCES),
    })
}

fn read_path(thread: libc::pid_t, address: u64, text: &mut [u8; PATH_BYTES]) -> SysResult<&CStr> {
    let count = sys::read_memory(thread, address, text).map_err(|_| Errno(libc::EFAULT))?;
    let read = text.get(..count).ok_or(Errno(libc::EFAULT))?;
    CStr::from_bytes_until_nul(read).map_err(|_| Errno(libc::ENAMETOOLONG))
}

fn read_times(thread: libc::pid_t, address: u64) -> SysResult<[u64; 4]> {
    let mut bytes = [0; 32];
    match sys::read_memory(thread, address, &mut bytes) {
        Ok(32) => {}
        _ => return Err(Errno(libc::EFAULT)),
    }
    let mut times = [0; 4];
    for (time, chunk) in times.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        *time = u64::from_ne_bytes(word);
    }
    Ok(times)
}

/// Writes a path of `/proc` without allocating. Too long a path ends early; the parts used here are short.
struct ProcPath<'b> {
    bytes: &'b mut [u8; NAME_BYTES],
    length: usize,
}

impl<'b> ProcPath<'b> {
    fn new(bytes: &'b mut [u8; NAME_BYTES]) -> Self {
        bytes.fill(0);
        Self { bytes, length: 0 }
    }

    fn text(mut self, text: &[u8]) -> Self {
        for byte in text {
            if self.length + 1 < NAME_BYTES
                && let Some(place) = self.bytes.get_mut(self.length)
            {
                *place = *byte;
                self.length += 1;
            }
        }
        self
    }

    fn number(self, number: u64) -> Self {
        let mut digits = [0u8; 20];
        let mut left = number;
        let mut start = digits.len();
        for (i, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
            start = i;
            if left == 0 {
                break;
            }
        }
        match digits.get(start..) {
            Some(digits) => self.text(digits),
            None => self,
        }
    }

    fn end(self) -> &'b CStr {
        CStr::from_bytes_until_nul(self.bytes).unwrap_or(c"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_pipe() {
        let report = Report {
            status: -5,
            user: 1,
            system: u64::MAX,
            peak: 3,
        };
        assert_eq!(Report::from_bytes(&report.to_bytes()), report);
    }

    #[test]
    fn paths_of_proc() {
        let mut bytes = [1; NAME_BYTES];
        for (number, expected) in [
            (0, c"/proc/0/fd"),
            (7, c"/proc/7/fd"),
            (1234567, c"/proc/1234567/fd"),
            (u64::MAX, c"/proc/18446744073709551615/fd"),
        ] {
            let path = ProcPath::new(&mut bytes)
                .text(b"/proc/")
                .number(number)
                .text(b"/fd");
            assert_eq!(path.end(), expected);
        }
    }

    #[test]
    fn what_is_beneath() {
        for (place, root, expected) in [
            ("/a/b", c"/a", true),
            ("/a", c"/a", true),
            ("/ab", c"/a", false),
            ("/", c"/a", false),
            ("/a/b (deleted)", c"/a", true),
            ("pipe:[1]", c"/a", false),
        ] {
            assert_eq!(beneath(place.as_bytes(), root), expected, "{place}");
        }
    }
}
