//! The tracer: seizes, follows, reads what is asked for and what is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use super::calls::{self, Known, Operation, PathArgument};
use super::recorder::{Recorder, absolute};
use super::{Depth, Trace};
use crate::sandbox::sys::ptrace::{
    AtCall, Onward, at_call, event_message, go_on, seize, wait_for_traced,
};
use crate::sandbox::sys::{self, Errno, SysResult, Waited};

/// A program of seccomp's in the words of classic BPF.
type Program = seccompiler::BpfProgram;

/// How much is kept of a program's arguments.
const MOST_ARGUMENTS: usize = 64;
const MOST_ARGUMENT_BYTES: usize = 1024;
const PATH_BYTES: usize = 4096;
/// Answers by which the kernel says that a call begins anew after a signal.
const RESTARTS: std::ops::RangeInclusive<i64> = -516..=-512;

/// What a child needs to wait for its tracer.
#[derive(Debug)]
pub(in crate::sandbox) struct Seized {
    /// It reads one byte from here before it does anything.
    pub(in crate::sandbox) gate: OwnedFd,
    /// The number of the gate's other end, which the parent alone is to hold.
    pub(in crate::sandbox) writer: i32,
    /// The program that stops it at the calls that are looked at; none if it is stopped at all.
    pub(in crate::sandbox) filter: Option<Program>,
}

/// What is known of one thread.
#[derive(Debug, Default, Clone)]
struct Thread {
    /// Which program it runs.
    program: usize,
    /// Whether it is the process that the program was started in.
    owns_program: bool,
    /// The call that it is in.
    pending: Option<Pending>,
}

#[derive(Debug, Clone)]
struct Pending {
    number: u64,
    arguments: [u64; 6],
    known: Option<&'static Known>,
    paths: Vec<String>,
    argv: Vec<String>,
}

/// Traces one action.
#[derive(Debug)]
pub(in crate::sandbox) struct Tracer {
    depth: Depth,
    recorder: Recorder,
    threads: BTreeMap<libc::pid_t, Thread>,
    /// Who has begun before it was told who started it, and waits for that.
    held: BTreeSet<libc::pid_t>,
    /// The child: the action's first process, or its supervisor.
    root: libc::pid_t,
    /// Whether the child is a supervisor, which is let go of as soon as it has started the action.
    is_supervised: bool,
    /// Whether the action's own program runs.
    is_running: bool,
    /// Names of calls by number, those that are refused among them.
    names: BTreeMap<u32, String>,
    ended: Option<Waited>,
}

impl Tracer {
    /// A tracer of nothing yet.
    pub(in crate::sandbox) fn new(depth: Depth) -> Self {
        Self {
            depth,
            recorder: Recorder::default(),
            threads: BTreeMap::new(),
            held: BTreeSet::new(),
            root: -1,
            is_supervised: false,
            is_running: false,
            names: BTreeMap::new(),
            ended: None,
        }
    }

    /// The program for the depth.
    pub(in crate::sandbox) fn filter(&self) -> Option<Program> {
        (self.depth == Depth::Paths).then(stopping_program)
    }

    /// Seizes the child `pid`, which waits for that, and opens its gate.
    pub(in crate::sandbox) fn seize(
        &mut self,
        pid: libc::pid_t,
        is_supervised: bool,
        gate: OwnedFd,
        names: BTreeMap<u32, String>,
    ) -> SysResult {
        use std::os::fd::AsFd as _;
        self.root = pid;
        self.is_supervised = is_supervised;
        self.names = names;
        let options = libc::PTRACE_O_EXITKILL
            | libc::PTRACE_O_TRACESYSGOOD
            | libc::PTRACE_O_TRACEFORK
            | libc::PTRACE_O_TRACEVFORK
            | libc::PTRACE_O_TRACECLONE
            | libc::PTRACE_O_TRACEEXEC
            | libc::PTRACE_O_TRACESECCOMP;
        seize(pid, options)?;
        sys::write(gate.as_fd(), b"+").map(drop)
    }

    /// Follows until the action's own program runs, or the child has ended.
    pub(in crate::sandbox) fn until_running(&mut self) {
        while !self.is_running && self.ended.is_none() && self.root > 0 && self.step() {}
    }

    /// Follows to the end. How the child ended.
    pub(in crate::sandbox) fn follow(&mut self) -> Option<Waited> {
        while self.ended.is_none() && self.root > 0 && self.step() {}
        self.ended
    }

    /// How the child ended, if it has.
    pub(in crate::sandbox) fn ended(&self) -> Option<Waited> {
        self.ended
    }

    /// What was recorded.
    pub(in crate::sandbox) fn finish(self) -> Trace {
        self.recorder.finish()
    }

    /// Waits for one thing and reacts. Whether there is anybody left.
    fn step(&mut self) -> bool {
        let Ok(waited) = wait_for_traced() else {
            return false;
        };
        let Waited { pid, status, .. } = waited;
        if libc::WIFSTOPPED(status) {
            // That it has been killed meanwhile is no failure: its end comes next.
            let _ = self.stopped(pid, status);
            return true;
        }
        if let Some(thread) = self.threads.remove(&pid)
            && thread.owns_program
        {
            let status = match libc::WIFEXITED(status) {
                true => libc::WEXITSTATUS(status),
                false => -libc::WTERMSIG(status),
            };
            self.recorder.ended(thread.program, status);
        }
        if pid == self.root {
            self.ended = Some(waited);
        }
        true
    }

    fn onward(&self) -> Onward {
        match self.depth {
            Depth::Everything if self.is_running => Onward::Call,
            _ => Onward::Event,
        }
    }

    fn stopped(&mut self, pid: libc::pid_t, status: i32) -> SysResult {
        let signal = libc::WSTOPSIG(status);
        match status >> 16 {
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                let child = event_message(pid)? as libc::pid_t;
                let program = self.threads.entry(pid).or_default().program;
                self.threads.entry(child).or_default().program = program;
                if self.held.remove(&child) {
                    let _ = go_on(child, self.onward(), 0);
                }
                if self.is_supervised && pid == self.root {
                    self.threads.remove(&pid);
                    return go_on(pid, Onward::Detach, 0);
                }
                go_on(pid, self.onward(), 0)
            }
            libc::PTRACE_EVENT_EXEC => {
                let before = event_message(pid)? as libc::pid_t;
                self.executes(pid, before);
                go_on(pid, self.onward(), 0)
            }
            libc::PTRACE_EVENT_SECCOMP => {
                self.enters(pid)?;
                go_on(pid, Onward::Call, 0)
            }
            libc::PTRACE_EVENT_STOP => match signal {
                libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => {
                    go_on(pid, Onward::Listen, 0)
                }
                _ if pid == self.root || self.threads.contains_key(&pid) => {
                    go_on(pid, self.onward(), 0)
                }
                _ => {
                    self.held.insert(pid);
                    Ok(())
                }
            },
            _ if signal == libc::SIGTRAP | 0x80 => {
                match at_call(pid)? {
                    AtCall::Entry { number, arguments } => self.begins(pid, number, arguments),
                    AtCall::Exit(answer) => self.leaves(pid, answer),
                    AtCall::Elsewhere => {}
                }
                go_on(pid, self.onward(), 0)
            }
            // A signal on its way: it gets there.
            _ => go_on(pid, self.onward(), signal),
        }
    }

    fn enters(&mut self, pid: libc::pid_t) -> SysResult {
        if let AtCall::Entry { number, arguments } = at_call(pid)?
            && self.is_running
        {
            self.begins(pid, number, arguments);
        }
        Ok(())
    }

    /// A call begins: what it names is read now.
    fn begins(&mut self, pid: libc::pid_t, number: u64, arguments: [u64; 6]) {
        let known = calls::known(number);
        let mut paths = Vec::new();
        let mut argv = Vec::new();
        if let Some(known) = known {
            for place in [Some(known.first), known.second].into_iter().flatten() {
                paths.extend(path(pid, place, &arguments));
            }
            if let Some(at) = known.argv {
                argv = strings(pid, arguments[at]);
            }
        }
        self.threads.entry(pid).or_default().pending = Some(Pending {
            number,
            arguments,
            known,
            paths,
            argv,
        });
    }

    /// A call is answered.
    fn leaves(&mut self, pid: libc::pid_t, answer: i64) {
        let thread = self.threads.entry(pid).or_default();
        let program = thread.program;
        let Some(pending) = thread.pending.take() else {
            return;
        };
        if RESTARTS.contains(&answer) {
            return;
        }
        let errno = (-4095..0)
            .contains(&answer)
            .then(|| i32::try_from(-answer).unwrap_or(i32::MAX));
        let Some(known) = pending.known else {
            if matches!(errno, Some(libc::EPERM | libc::ENOSYS)) {
                let name = self.name(pending.number, &pending.arguments);
                self.recorder
                    .observed(program, Operation::Call, name, None, errno, Vec::new());
            }
            return;
        };
        let operation = match known.flags {
            Some(flags) => calls::purpose(pending.arguments[flags]),
            None => known.operation,
        };
        let opened = known.flags.is_some() && errno.is_none();
        for path in pending.paths {
            let real = opened
                .then(|| link(&format!("/proc/{pid}/fd/{answer}")))
                .flatten();
            let argv = pending.argv.clone();
            self.recorder
                .observed(program, operation, path, real, errno, argv);
        }
    }

    /// A program runs in place of another. `before` is the number of the thread that asked for it.
    fn executes(&mut self, pid: libc::pid_t, before: libc::pid_t) {
        let mut thread = self.threads.remove(&before).unwrap_or_default();
        if pid != before
            && let Some(leader) = self.threads.remove(&pid)
        {
            thread.owns_program |= leader.owns_program;
        }
        let pending = thread.pending.take();
        let parent = self.is_running.then_some(thread.program);
        self.is_running = true;
        let (path, argv) = match pending {
            Some(pending) => (
                pending.paths.into_iter().next().unwrap_or_default(),
                pending.argv,
            ),
            // The action's own program, which kiln asked for.
            None => (
                link(&format!("/proc/{pid}/exe")).unwrap_or_default(),
                arguments_of(pid),
            ),
        };
        self.recorder.observed(
            parent.unwrap_or(0),
            Operation::Execute,
            path.clone(),
            link(&format!("/proc/{pid}/exe")),
            None,
            argv.clone(),
        );
        thread.program = self.recorder.program(path, argv, parent);
        thread.owns_program = true;
        self.threads.insert(pid, thread);
    }

    fn name(&self, number: u64, arguments: &[u64; 6]) -> String {
        let name = u32::try_from(number)
            .ok()
            .and_then(|number| self.names.get(&number));
        match name {
            Some(name) if name == "socket" => {
                format!("socket({})", calls::family(arguments[0]))
            }
            Some(name) => name.clone(),
            None => format!("call {number}"),
        }
    }
}

/// The program that stops at calls with a path.
fn stopping_program() -> Program {
    let instruction = |code, jt, jf, k| seccompiler::sock_filter { code, jt, jf, k };
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const RET: u16 = 0x06;
    let architecture = match cfg!(target_arch = "x86_64") {
        true => 0xc000_003e,
        false => 0xc000_00b7,
    };
    let mut program = vec![
        instruction(LOAD, 0, 0, 4),
        instruction(EQUAL, 1, 0, architecture),
        // What else there is is for the profile's program to refuse.
        instruction(RET, 0, 0, libc::SECCOMP_RET_ALLOW),
        instruction(LOAD, 0, 0, 0),
    ];
    for number in calls::numbers() {
        program.push(instruction(EQUAL, 0, 1, number));
        program.push(instruction(RET, 0, 0, libc::SECCOMP_RET_TRACE));
    }
    program.push(instruction(RET, 0, 0, libc::SECCOMP_RET_ALLOW));
    program
}

/// The path that a call names.
fn path(pid: libc::pid_t, place: PathArgument, arguments: &[u64; 6]) -> Option<String> {
    let address = arguments[place.path];
    let text = match address {
        // `utimensat` and its like are about the descriptor then.
        0 => String::new(),
        _ => string(pid, address, PATH_BYTES).ok()?,
    };
    if text.starts_with('/') {
        return Some(absolute("", &text));
    }
    let directory = place
        .directory
        .map_or(libc::AT_FDCWD, |argument| arguments[argument] as i32);
    let base = match directory {
        libc::AT_FDCWD => link(&format!("/proc/{pid}/cwd")),
        number => link(&format!("/proc/{pid}/fd/{number}")),
    }?;
    // A pipe or something without a name.
    base.starts_with('/').then(|| absolute(&base, &text))
}

/// The text of a link of `/proc`.
fn link(path: &str) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    Some(String::from_utf8_lossy(target.as_os_str().as_bytes()).into_owned())
}

/// The arguments that a process was started with.
fn arguments_of(pid: libc::pid_t) -> Vec<String> {
    fs::read(format!("/proc/{pid}/cmdline"))
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .filter(|argument| !argument.is_empty())
        .take(MOST_ARGUMENTS)
        .map(|argument| {
            let kept = argument.get(..MOST_ARGUMENT_BYTES).unwrap_or(argument);
            String::from_utf8_lossy(kept).into_owned()
        })
        .collect()
}

/// The text at `address`, up to `most` bytes.
fn string(pid: libc::pid_t, address: u64, most: usize) -> SysResult<String> {
    let mut bytes = vec![0; most];
    let count = sys::read_memory(pid, address, &mut bytes)?;
    bytes.truncate(count);
    match memchr::memchr(0, &bytes) {
        Some(end) => bytes.truncate(end),
        None if most == PATH_BYTES => return Err(Errno(libc::ENAMETOOLONG)),
        None => {}
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The texts that the null-terminated array at `address` points to.
fn strings(pid: libc::pid_t, address: u64) -> Vec<String> {
    let mut found = Vec::new();
    for index in 0..MOST_ARGUMENTS as u64 {
        let mut word = [0; 8];
        let at = address.wrapping_add(index * 8);
        if sys::read_memory(pid, at, &mut word) != Ok(8) {
            break;
        }
        match u64::from_ne_bytes(word) {
            0 => break,
            text => match string(pid, text, MOST_ARGUMENT_BYTES) {
                Ok(text) => found.push(text),
                Err(_) => break,
            },
        }
    }
    found
}
