//! One empty network namespace for all processes under full isolation, and one with a loopback interface for those that
//! may use that.
//!
//! Making a network namespace costs more than all other namespaces together, and taking one down keeps the kernel busy
//! once more. Nothing can be sent or received in an empty one, not even by its loopback interface, which is down; so it
//! can be shared. Entering it takes privileges over the user namespace that owns it: so it is owned by one that was made
//! with it, and every action's own user namespace is a child of that one, without privileges over the network.
//!
//! The two namespaces are held by descriptors, and by no process.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::child::{self, At, Failure, Step};
use super::error::SandboxError;
use super::request::Network as Access;
use super::spawn;
use super::sys::{self, Errno, Memory, SignalsBlocked, Stack};

/// The user namespace and the network namespace that it owns.
#[derive(Debug)]
pub(super) struct Network {
    user: OwnedFd,
    network: OwnedFd,
}

/// What the holder of new namespaces needs: it lives until the parent has opened them.
struct Holder {
    identity: child::Identity,
    /// Whether the loopback interface is to be up.
    loopback: bool,
    /// Its end of the pipe over which it says that it is ready, or why not.
    status: OwnedFd,
    /// Readable once it may end.
    end: OwnedFd,
    /// The parent's end of that, which it must not hold.
    parents_end: i32,
}

impl Network {
    /// The program's network for `access`, made when it is first needed. A failure is not remembered: it may be for
    /// want of something that is there later.
    pub(super) fn shared(
        identity: &child::Identity,
        access: Access,
    ) -> Result<&'static Network, SandboxError> {
        static EMPTY: Mutex<Option<&'static Network>> = Mutex::new(None);
        static LOOPBACK: Mutex<Option<&'static Network>> = Mutex::new(None);
        let shared = match access {
            Access::None => &EMPTY,
            Access::Loopback => &LOOPBACK,
        };
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(network) = *shared {
            return Ok(network);
        }
        // For the program's life: there is one.
        let loopback = access == Access::Loopback;
        let network: &'static Network = Box::leak(Box::new(Self::make(identity, loopback)?));
        *shared = Some(network);
        Ok(network)
    }

    fn make(identity: &child::Identity, loopback: bool) -> Result<Self, SandboxError> {
        let start = spawn::start;
        let (status_read, status) = sys::pipe().map_err(start("making a pipe"))?;
        let (end, parents_end) = sys::pipe().map_err(start("making a pipe"))?;
        let stack = Stack::new(spawn::STACK_BYTES).map_err(start("mapping a stack"))?;
        let holder = Holder {
            identity: identity.clone(),
            loopback,
            status,
            end,
            parents_end: parents_end.as_raw_fd(),
        };
        let cloned = {
            let _blocked = SignalsBlocked::new().map_err(start("blocking signals"))?;
            sys::clone_with(
                libc::CLONE_NEWUSER | libc::CLONE_NEWNET,
                Memory::Copied,
                &stack,
                hold,
                &holder,
            )
        };
        drop(holder);
        let pid = cloned.map_err(spawn::no_namespaces)?;
        let opened = open(pid, &status_read);
        drop(parents_end);
        let _ = sys::wait_for(pid, true);
        opened
    }
}

fn open(pid: libc::pid_t, status: &OwnedFd) -> Result<Network, SandboxError> {
    let failed = |errno: Errno| {
        spawn::explain_namespace(Failure {
            step: Step::JoinNetwork,
            index: 0,
            errno,
        })
    };
    let mut record = [0; Failure::SIZE];
    let count = sys::read(status.as_fd(), &mut record).map_err(failed)?;
    match Failure::from_bytes(record) {
        // One byte: it is ready.
        _ if count == 1 => {}
        Some(failure) if count == Failure::SIZE => {
            return Err(spawn::explain_namespace(failure));
        }
        _ => return Err(failed(Errno(libc::ESRCH))),
    }
    let namespace = |name: &str| {
        let path = super::view::c_string(format!("/proc/{pid}/ns/{name}").as_bytes());
        sys::open(&path, libc::O_RDONLY, 0).map_err(failed)
    };
    Ok(Network {
        user: namespace("user")?,
        network: namespace("net")?,
    })
}

/// The holder's main function: a copy of the program that does this and ends.
fn hold(holder: &Holder) -> i32 {
    let _ = sys::close_numbers(holder.parents_end, holder.parents_end);
    if let Err(failure) = child::map_identity(&holder.identity) {
        child::report(holder.status.as_fd(), failure);
        return 1;
    }
    if holder.loopback
        && let Err(failure) = sys::loopback_up().at_index(Step::JoinNetwork, 3)
    {
        child::report(holder.status.as_fd(), failure);
        return 1;
    }
    if sys::write(holder.status.as_fd(), b"+").is_ok() {
        let _ = sys::read(holder.end.as_fd(), &mut [0]);
    }
    0
}

/// A process to be started in namespaces of its own, next to the network.
struct Entry<'a, T> {
    network: &'static Network,
    status: BorrowedFd<'a>,
    stack: &'a Stack,
    /// Its number: set in memory shared with the parent.
    started: AtomicI32,
    memory: Memory,
    main: fn(&T) -> i32,
    argument: &'a T,
}

/// Starts a process in new namespaces of its own and in `network`, which runs `main(argument)`: a child of the caller's.
/// `None` if that failed, which is told to `status`. With [`Memory::SharedUntilExec`] it returns once the process has
/// called execve or ended.
pub(super) fn start_within<T>(
    network: &'static Network,
    status: BorrowedFd<'_>,
    memory: Memory,
    main: fn(&T) -> i32,
    argument: &T,
) -> Result<Option<libc::pid_t>, SandboxError> {
    let map = || Stack::new(spawn::STACK_BYTES).map_err(spawn::start("mapping a stack"));
    let (first_stack, stack) = (map()?, map()?);
    let entry = Entry {
        network,
        status,
        stack: &stack,
        started: AtomicI32::new(-1),
        memory,
        main,
        argument,
    };
    let cloned = {
        let _blocked = SignalsBlocked::new().map_err(spawn::start("blocking signals"))?;
        sys::clone_with(
            0,
            Memory::SharedUntilExec,
            &first_stack,
            join_and_start,
            &entry,
        )
    };
    let first = cloned.map_err(spawn::start("clone"))?;
    let _ = sys::wait_for(first, true);
    Ok(match entry.started.load(Ordering::Relaxed) {
        -1 => None,
        pid => Some(pid),
    })
}

/// The first child's main function: enters the shared namespaces and starts the real child there, as a sibling, so that
/// the parent is the parent of both.
fn join_and_start<T>(entry: &Entry<'_, T>) -> i32 {
    match join(entry) {
        Ok(pid) => {
            entry.started.store(pid, Ordering::Relaxed);
            0
        }
        Err(failure) => {
            child::report(entry.status, failure);
            1
        }
    }
}

fn join<T>(entry: &Entry<'_, T>) -> Result<libc::pid_t, Failure> {
    let Network { user, network } = entry.network;
    sys::setns(user.as_fd(), libc::CLONE_NEWUSER).at_index(Step::JoinNetwork, 1)?;
    sys::setns(network.as_fd(), libc::CLONE_NEWNET).at_index(Step::JoinNetwork, 2)?;
    sys::clone_with(
        NAMESPACES | libc::CLONE_PARENT,
        entry.memory,
        entry.stack,
        entry.main,
        entry.argument,
    )
    .at(Step::Namespaces)
}

/// Namespaces that each action has for itself.
const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS;
