//! Starting a confined process: everything is prepared here, in the parent; then one clone, and the child only makes
//! system calls ([`super::child`]).

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicI32;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use landlock::{ABI, AccessFs, BitFlags};

use super::child::{self, Drops, Failure, Identity, Plan, Step, Supervision, View, ViewStep};
use super::enforced::Enforced;
use super::error::{Layer, SandboxError};
use super::network::{self, Network};
use super::request::{Access, Isolation, Limits, Network as NetworkAccess, Request};
use super::ruleset::{self, Grant};
use super::running::{Ender, Running};
use super::supervisor;
use super::sys::{self, Errno, Memory, SignalsBlocked, Stack, StringArray, Waited};
use super::trace::{Seized, Tracer};
use super::view::{self, Opened};

/// Enough for the child's few frames, also in an unoptimised build.
pub(super) const STACK_BYTES: usize = 256 * 1024;

/// Starts the process that `request` describes, with every layer in force, or not at all.
///
/// The process is killed when the result is dropped, when its time is up (which somebody has to wait for: see
/// [`Running::wait`]), and when this program ends, however it does. Under [`Isolation::Full`] the thread that called
/// this has to live as long: the kernel takes its end for the program's.
pub fn spawn(request: Request<'_>) -> Result<Running, SandboxError> {
    let abi = ruleset::kernel_abi()?;
    spawn_with(request, abi, None)
}

/// [`spawn`], with `tracer` looking on. This thread becomes the tracer, and has to go on with [`Tracer::follow`]: only then
/// the process goes on, too.
pub(super) fn spawn_traced(
    request: Request<'_>,
    tracer: &mut Tracer,
) -> Result<Running, SandboxError> {
    let abi = ruleset::kernel_abi()?;
    spawn_with(request, abi, Some(tracer))
}

/// [`spawn`] as on a kernel that knows Landlock's `abi` and no later one.
pub(super) fn spawn_with(
    mut request: Request<'_>,
    abi: ABI,
    mut tracer: Option<&mut Tracer>,
) -> Result<Running, SandboxError> {
    let limits = request.limits.over(&request.profile.limits);
    let timeout = request
        .timeout
        .or(limits.wall_seconds.map(Duration::from_secs));
    let mounts = request
        .mounts
        .iter()
        .map(Opened::new)
        .collect::<Result<Vec<_>, _>>()?;
    let tmp = match &request.tmp {
        Some(path) => Some(Opened::open(path, tmp_path(), Access::Write)?),
        None => None,
    };
    let devices = view::DEVICES
        .iter()
        .map(|name| view::open_device(name))
        .collect::<Result<Vec<_>, _>>()?;

    let (floor, inherited) = inherited(&mut request)?;
    let above = |fd: BorrowedFd<'_>| {
        sys::duplicate_above(fd, floor).map_err(start("duplicating a descriptor"))
    };
    if request.isolation == Isolation::Landlock {
        mounts.iter().try_for_each(in_place)?;
    }
    let grants = mounts
        .iter()
        .chain(&tmp)
        .map(|opened| ruleset::grant(&opened.fd, opened.grant()))
        .chain(
            devices
                .iter()
                .map(|(_, fd, _)| ruleset::grant(fd, Grant::Device)),
        );
    // Without a network namespace there is nothing that would hold it.
    let network = match request.isolation {
        Isolation::Full => request.network,
        Isolation::Landlock => NetworkAccess::None,
    };
    let ruleset = above(ruleset::build(abi, network, grants)?.as_fd())?;

    let (status_read, status) = pipe("making a pipe")?;
    let (stdout, stdout_write) = pipe("making a pipe")?;
    let (stderr, stderr_write) = pipe("making a pipe")?;
    for fd in [&stdout, &stderr] {
        sys::set_nonblocking(fd.as_fd()).map_err(start("setting up a pipe"))?;
    }
    let null = sys::open(c"/dev/null", libc::O_RDONLY, 0).map_err(start("opening `/dev/null`"))?;
    let standard = [
        above(null.as_fd())?,
        above(stdout_write.as_fd())?,
        above(stderr_write.as_fd())?,
    ];
    drop((stdout_write, stderr_write));

    let (view, late_rules) = match request.isolation {
        Isolation::Landlock => (None, Vec::new()),
        Isolation::Full => {
            let steps = view::steps(&request, &mounts, tmp.as_ref(), &devices, limits.tmp_bytes)?;
            let view = new_view(steps, network)?;
            (Some(view), late_rules(abi, network, tmp.is_none()))
        }
    };
    let filter = match request.isolation {
        // The pid namespace holds signals in, and inputs are mounted read-only.
        Isolation::Full => &request.profile.filters().allow,
        Isolation::Landlock => request.profile.filters().beside_landlock(abi),
    };
    let told = above(status.as_fd())?;
    let mut plan = Plan {
        drops: Drops {
            groups: view.is_none() && may_drop_groups(),
            last_capability: last_capability(request.isolation),
        },
        view,
        standard,
        descriptors: inherited
            .iter()
            .map(|(fd, target)| Ok((above(fd.as_fd())?, *target)))
            .collect::<Result<_, SandboxError>>()?,
        status: sys::Number(told.as_raw_fd()),
        status_read: status_read.as_raw_fd(),
        cwd: c_text(request.cwd.as_str())?,
        limits: kernel_limits(&limits, request.isolation)?,
        ruleset,
        late_rules,
        filter: filter.clone(),
        supervision: None,
        seized: None,
        program: c_text(request.program.as_str())?,
        argv: StringArray::new(
            request
                .argv
                .iter()
                .map(|argument| c_os(argument))
                .collect::<Result<_, _>>()?,
        ),
        envp: StringArray::new(environment(&request)?),
    };
    drop((status, null, inherited));
    let gate = match &tracer {
        Some(tracer) => {
            let (gate, writer) = pipe("making a pipe")?;
            plan.seized = Some(Seized {
                gate: above(gate.as_fd())?,
                writer: writer.as_raw_fd(),
                filter: tracer.filter(),
            });
            Some(writer)
        }
        None => None,
    };

    let writable: Vec<PathBuf> = mounts
        .iter()
        .filter(|mount| mount.access == Access::Write && mount.directory)
        .chain(&tmp)
        .map(|mount| mount.host.clone())
        .collect();
    let started = Instant::now();
    let mut waiter = None;
    let (plan, (pid, ender)) = match request.isolation {
        Isolation::Full => {
            let started = match &plan.view {
                Some(view) => full(&plan, view, &told)?,
                None => (-1, Ender::Nothing),
            };
            (Arc::new(plan), started)
        }
        Isolation::Landlock => {
            let writable = mounts
                .iter()
                .filter(|mount| mount.access == Access::Write)
                .chain(&tmp)
                .map(|mount| view::c_path(&mount.host))
                .collect::<Result<_, _>>()?;
            let judge = request.profile.filters().judge.clone();
            let ends = supervision(&mut plan, abi, judge, writable, &above)?;
            let plan = Arc::new(plan);
            let started = supervised(&plan, ends, &mut waiter)?;
            (plan, started)
        }
    };
    let mut running = Running::new(
        pid,
        ender,
        stdout,
        stderr,
        started,
        timeout.and_then(|timeout| started.checked_add(timeout)),
        limits.output_bytes,
        Enforced::new(request.isolation, network, request.profile, abi, &limits),
        writable,
    );
    if let Some(ended) = waiter {
        running.is_waited_for_by(ended);
    }
    drop(told);
    let mut lost = None;
    if let (Some(tracer), Some(gate)) = (&mut tracer, gate)
        && pid > 0
    {
        let supervised = plan.supervision.is_some();
        let names = request.profile.filters().names.clone();
        match tracer.seize(pid, supervised, gate, names) {
            Ok(()) => {
                tracer.until_running();
                if let Some(waited) = tracer.ended() {
                    running.has_ended(waited);
                }
            }
            Err(errno) => lost = Some(errno),
        }
    }
    if let Some(errno) = lost {
        running.abandon();
        return Err(start("tracing it")(errno));
    }
    if let Some(failure) = read_failure(&status_read)? {
        running.abandon();
        return Err(explain(failure, &plan, &request, &mounts));
    }
    if pid == -1 {
        running.abandon();
        return Err(start("starting a process, which was killed,")(Errno(
            libc::ESRCH,
        )));
    }
    Ok(running)
}

/// User and group of every process under full isolation, whoever runs kiln.
const INNER_ID: u32 = 1000;

/// What a root with `steps` takes.
pub(super) fn new_view(steps: Vec<ViewStep>, network: NetworkAccess) -> Result<View, SandboxError> {
    let (uid, gid) = sys::effective_ids();
    let network = Network::shared(&identity(uid, gid), network)?;
    Ok(View {
        network,
        // The namespace outside of it is the network's, where the ids are the same.
        identity: identity(INNER_ID, INNER_ID),
        steps,
    })
}

fn identity(uid: u32, gid: u32) -> Identity {
    Identity {
        uid_map: view::c_string(format!("{INNER_ID} {uid} 1\n").as_bytes()),
        gid_map: view::c_string(format!("{INNER_ID} {gid} 1\n").as_bytes()),
    }
}

/// The process is the first of its pid namespace: when it ends, the kernel kills whatever else is in there.
fn full(plan: &Plan, view: &View, status: &OwnedFd) -> Result<(libc::pid_t, Ender), SandboxError> {
    let memory = match plan.seized {
        // It waits for this thread to seize it, so this thread cannot wait for it.
        Some(_) => Memory::Copied,
        None => Memory::SharedUntilExec,
    };
    Ok(
        match network::start_within(view.network, status.as_fd(), memory, child::run, plan)? {
            None => (-1, Ender::Nothing),
            Some(pid) => (pid, Ender::Process(handle(pid)?)),
        },
    )
}

/// Enters `view` in a process that then ends. Why that failed, if it did.
pub(super) fn try_view(view: View) -> Result<Option<(Failure, View)>, SandboxError> {
    struct Trial {
        view: View,
        status: OwnedFd,
    }
    let main = |trial: &Trial| match child::enter_view(&trial.view) {
        Ok(()) => 0,
        Err(failure) => {
            child::report(trial.status.as_fd(), failure);
            1
        }
    };
    let (status_read, status) = pipe("making a pipe")?;
    let trial = Trial { view, status };
    let started = network::start_within(
        trial.view.network,
        trial.status.as_fd(),
        Memory::SharedUntilExec,
        main,
        &trial,
    )?;
    if let Some(pid) = started {
        let _ = sys::wait_for(pid, true);
    }
    let Trial { view, status } = trial;
    drop(status);
    Ok(read_failure(&status_read)?.map(|failure| (failure, view)))
}

/// Why namespaces cannot be made.
pub(super) fn no_namespaces(errno: Errno) -> SandboxError {
    match errno {
        Errno(libc::EAGAIN | libc::ENOMEM) => start("clone")(errno),
        _ => layer(Layer::Namespaces, "making namespaces", errno),
    }
}

/// The parent's ends of the pipes to a supervisor: what it lives by, and where it tells the outcome.
struct SupervisorsEnds {
    lifeline: OwnedFd,
    result: OwnedFd,
}

/// Completes `plan` with what a supervisor needs.
fn supervision(
    plan: &mut Plan,
    abi: ABI,
    judge: Option<seccompiler::BpfProgram>,
    writable: Vec<CString>,
    above: &impl Fn(BorrowedFd<'_>) -> Result<OwnedFd, SandboxError>,
) -> Result<SupervisorsEnds, SandboxError> {
    let (lifeline_read, lifeline) = pipe("making a pipe")?;
    let (result, result_write) = pipe("making a pipe")?;
    let supervision = Supervision {
        lifeline: above(lifeline_read.as_fd())?,
        result: above(result_write.as_fd())?,
        signals: match ruleset::scopes_signals(abi) {
            // What it may not signal is everybody else: no news for the kernel's log.
            true => Some((
                above(ruleset::signals_only()?.as_fd())?,
                if abi >= ABI::V7 { LOG_SAME_EXEC_OFF } else { 0 },
            )),
            false => None,
        },
        judge,
        listener: AtomicI32::new(-1),
        writable,
        keep: Vec::new(),
        stack: Stack::new(STACK_BYTES).map_err(start("mapping a stack"))?,
        copied: plan.seized.is_some(),
    };
    let mut keep: Vec<i32> = plan
        .standard
        .iter()
        .chain(plan.descriptors.iter().map(|(fd, _)| fd))
        .chain([&plan.ruleset, &supervision.lifeline, &supervision.result])
        .chain(supervision.signals.as_ref().map(|(fd, _)| fd))
        .map(AsRawFd::as_raw_fd)
        .chain([plan.status.0])
        .collect();
    keep.sort_unstable();
    plan.supervision = Some(Supervision {
        keep,
        ..supervision
    });
    Ok(SupervisorsEnds { lifeline, result })
}

/// The process is the child of a supervisor, which lives as long. Where that shares this program's memory, a thread waits
/// for it, and `waiter` is where it tells how it ended.
fn supervised(
    plan: &Arc<Plan>,
    ends: SupervisorsEnds,
    waiter: &mut Option<Receiver<Waited>>,
) -> Result<(libc::pid_t, Ender), SandboxError> {
    let stack = Stack::new(STACK_BYTES).map_err(start("mapping a stack"))?;
    let (pid, process) = if plan.seized.is_some() {
        let _blocked = SignalsBlocked::new().map_err(start("blocking signals"))?;
        let pid = sys::clone_with(0, Memory::Copied, &stack, supervisor::run, &**plan)
            .map_err(start("clone"))?;
        (pid, handle(pid)?)
    } else {
        let (started, theirs) = pipe("making a pipe")?;
        let (told, ended) = std::sync::mpsc::channel();
        let plan = Arc::clone(plan);
        let wait = move || {
            let waited = SignalsBlocked::new()
                .and_then(|_blocked| sys::clone_beside(&stack, supervisor::run, &*plan, theirs));
            // With it go the last of its descriptors, so that nobody waits for what they would still tell.
            drop(plan);
            if let Ok(waited) = waited {
                let _ = told.send(waited);
            }
        };
        std::thread::Builder::new()
            .name("kiln-waiter".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(wait)
            .map_err(|source| SandboxError::Start {
                step: "starting a thread",
                source,
            })?;
        *waiter = Some(ended);
        sys::read_started(started.as_fd()).map_err(start("clone"))?
    };
    Ok((
        pid,
        Ender::Supervisor {
            lifeline: Mutex::new(Some(ends.lifeline)),
            process,
            result: ends.result,
        },
    ))
}

/// `LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF`, from ABI 7. Source: `linux/landlock.h`.
const LOG_SAME_EXEC_OFF: u32 = 1;

/// A pidfd of the child `pid`, or no child.
fn handle(pid: libc::pid_t) -> Result<OwnedFd, SandboxError> {
    sys::pidfd_open(pid).map_err(|errno| {
        // Without the handle nobody could end it later; it has not been waited for, so the number is still its own.
        let _ = sys::kill(pid);
        let _ = sys::wait_for(pid, true);
        start("opening a pidfd")(errno)
    })
}

/// Without a mount namespace, what is asked for has to be there already.
fn in_place(mount: &Opened) -> Result<(), SandboxError> {
    match std::fs::canonicalize(mount.at.as_str()) {
        Ok(leads) if leads == mount.host => Ok(()),
        leads => Err(SandboxError::Elsewhere {
            at: mount.at.clone(),
            host: mount.host.clone(),
            leads: leads.ok(),
        }),
    }
}

/// Reads what the child has to tell: nothing, if it has come as far as execve.
fn read_failure(status: &OwnedFd) -> Result<Option<Failure>, SandboxError> {
    let mut record = [0; Failure::SIZE];
    let count = sys::read(status.as_fd(), &mut record).map_err(start("reading from the child"))?;
    if count == 0 {
        return Ok(None);
    }
    match Failure::from_bytes(record).filter(|_| count == Failure::SIZE) {
        Some(failure) => Ok(Some(failure)),
        None => Err(start("reading from the child")(Errno(libc::EBADMSG))),
    }
}

/// Makes the real error out of the child's record.
fn explain(
    failure: Failure,
    plan: &Plan,
    request: &Request<'_>,
    mounts: &[Opened],
) -> SandboxError {
    let Failure { step, index, errno } = failure;
    let index = index as usize;
    let (kind, text) = match step {
        Step::Execute => {
            return SandboxError::Execute {
                program: request.program.clone(),
                source: errno.into(),
            };
        }
        Step::WorkingDirectory => {
            return SandboxError::Start {
                step: "changing to the working directory",
                source: errno.into(),
            };
        }
        Step::View => {
            let steps = plan.view.as_ref().map_or(&[][..], |view| &view.steps);
            return explain_view(failure, steps);
        }
        Step::Groups => (
            Layer::Privileges,
            "giving up supplementary groups".to_owned(),
        ),
        Step::Session => (Layer::Privileges, "making a session".to_owned()),
        Step::Descriptors => (Layer::Privileges, "placing descriptors".to_owned()),
        Step::DeathSignal => (Layer::Privileges, "binding its life to kiln's".to_owned()),
        Step::Limit => (
            Layer::Limits,
            match plan.limits.get(index) {
                Some((resource, value)) => {
                    format!("setting {} to {value}", limit_name(*resource))
                }
                None => "setting a limit".to_owned(),
            },
        ),
        Step::Capabilities => (Layer::Privileges, "dropping capabilities".to_owned()),
        Step::NoNewPrivileges => (Layer::Privileges, "setting no_new_privs".to_owned()),
        Step::LandlockRule => (
            Layer::Landlock,
            match plan.late_rules.get(index) {
                Some((path, _)) => format!("adding a rule for `{}`", text(path)),
                None => "adding a rule".to_owned(),
            },
        ),
        Step::Landlock => (
            Layer::Landlock,
            format!("enforcing a ruleset of {} rules", mounts.len()),
        ),
        Step::Seccomp => (
            Layer::Seccomp,
            format!(
                "installing the filter of profile `{}`",
                request.profile.name
            ),
        ),
        Step::Supervisor => (Layer::Supervisor, "setting up the supervisor".to_owned()),
        Step::JoinNetwork
        | Step::Namespaces
        | Step::IdentityMap
        | Step::PrivateMounts
        | Step::NewRoot
        | Step::PivotRoot
        | Step::DetachOldRoot
        | Step::ReadOnlyRoot
        | Step::HostName => return explain_namespace(failure),
    };
    layer(kind, text, errno)
}

/// The same for one of the steps of a view.
pub(super) fn explain_view(failure: Failure, steps: &[ViewStep]) -> SandboxError {
    let step = match steps.get(failure.index as usize) {
        Some(ViewStep::Directory(at)) => format!("making the directory `{}`", text(at)),
        Some(ViewStep::File(at)) => format!("making the file `{}`", text(at)),
        Some(ViewStep::Link { at, .. }) => format!("making the link `{}`", text(at)),
        Some(ViewStep::Filesystem { kind, at, .. }) => {
            format!("mounting {} at `{}`", text(kind), text(at))
        }
        Some(ViewStep::Bind { source, at, .. }) => {
            let source = text(source);
            let host = source.strip_prefix(child::OLD_ROOT).unwrap_or(&source);
            format!("mounting `{host}` at `{}`", text(at))
        }
        None => "making the root".to_owned(),
    };
    layer(Layer::Namespaces, step, failure.errno)
}

/// The same for steps that every full isolation takes.
pub(super) fn explain_namespace(failure: Failure) -> SandboxError {
    let step = match (failure.step, failure.index) {
        (Step::JoinNetwork, 1) => "entering the empty network's owner",
        (Step::JoinNetwork, _) => "entering the empty network",
        (Step::IdentityMap, 0) => "giving up setgroups",
        (Step::IdentityMap, 1) => "mapping the user",
        (Step::IdentityMap, _) => "mapping the group",
        (Step::PrivateMounts, _) => "making mounts private",
        (Step::NewRoot, _) => "mounting an empty root",
        (Step::PivotRoot, _) => "changing the root",
        (Step::DetachOldRoot, _) => "detaching the host's root",
        (Step::ReadOnlyRoot, _) => "making the root read-only",
        (Step::HostName, _) => "setting the host name",
        (Step::Namespaces, _) => return no_namespaces(failure.errno),
        _ => "making the root",
    };
    layer(Layer::Namespaces, step, failure.errno)
}

fn text(string: &CString) -> String {
    string.to_string_lossy().into_owned()
}

pub(super) fn layer(layer: Layer, step: impl Into<String>, errno: Errno) -> SandboxError {
    SandboxError::Layer {
        layer,
        step: step.into(),
        source: Box::new(std::io::Error::from(errno)),
    }
}

pub(super) fn start(step: &'static str) -> impl Fn(Errno) -> SandboxError {
    move |errno| SandboxError::Start {
        step,
        source: errno.into(),
    }
}

fn pipe(step: &'static str) -> Result<(OwnedFd, OwnedFd), SandboxError> {
    sys::pipe().map_err(start(step))
}

fn tmp_path() -> crate::path::SandboxPath {
    crate::path::SandboxPath::new("/tmp").expect("`/tmp` is absolute and normalised")
}

/// The descriptors to inherit, and the lowest number that no one of them is to have.
fn inherited(request: &mut Request<'_>) -> Result<(i32, Vec<(OwnedFd, i32)>), SandboxError> {
    let inherited = std::mem::take(&mut request.descriptors);
    let mut targets: Vec<i32> = inherited.iter().map(|(_, target)| *target).collect();
    targets.sort_unstable();
    if targets.iter().any(|target| !(3..256).contains(target))
        || targets.windows(2).any(|w| w[0] == w[1])
    {
        return Err(SandboxError::Request {
            why: "inherited descriptors need distinct numbers from 3 to 255".to_owned(),
        });
    }
    Ok((targets.last().map_or(3, |last| last + 1), inherited))
}

/// Files that exist in the new root only. Nothing of `/proc` is among them: links in it lead where they lead, but what
/// its files say (`mountinfo`, `cgroup`) is about the host, and differs from one to the next.
fn late_rules(abi: ABI, network: NetworkAccess, own_tmp: bool) -> Vec<(CString, u64)> {
    // The names in the root itself; what is mounted beneath may be listed anyway.
    let root: BitFlags<AccessFs> = AccessFs::ReadDir.into();
    let mut rules = vec![(c"/".to_owned(), root.bits())];
    if own_tmp {
        let write = Grant::Directory(Access::Write).rights_with(abi, network);
        rules.push((c"/tmp".to_owned(), write.bits()));
    }
    rules
}

fn has_capability(capability: caps::Capability) -> bool {
    caps::has_cap(None, caps::CapSet::Effective, capability).unwrap_or(false)
}

/// Whether supplementary groups can be given up. In a user namespace of an ordinary user nobody can, whoever is root there.
pub(super) fn may_drop_groups() -> bool {
    has_capability(caps::Capability::CAP_SETGID)
        && std::fs::read("/proc/self/setgroups").is_ok_and(|may| may.trim_ascii() != b"deny")
}

/// The kernel's highest capability, if the child will be allowed to take it out of the bounding set.
pub(super) fn last_capability(isolation: Isolation) -> Option<u32> {
    static LAST: OnceLock<u32> = OnceLock::new();
    // In a user namespace of its own the child has all of them.
    if isolation == Isolation::Landlock && !has_capability(caps::Capability::CAP_SETPCAP) {
        return None;
    }
    let last = *LAST.get_or_init(|| {
        caps::runtime::thread_all_supported()
            .iter()
            .map(|capability| u32::from(capability.index()))
            .max()
            .unwrap_or(0)
    });
    Some(last)
}

fn c_text(text: &str) -> Result<CString, SandboxError> {
    c_os(OsStr::new(text))
}

fn c_os(text: &OsStr) -> Result<CString, SandboxError> {
    CString::new(text.as_bytes()).map_err(|_| SandboxError::Request {
        why: format!("`{}` contains a NUL byte", text.display()),
    })
}

fn environment(request: &Request<'_>) -> Result<Vec<CString>, SandboxError> {
    request
        .env
        .iter()
        .map(|(name, value)| {
            if name.is_empty() || name.as_bytes().contains(&b'=') {
                return Err(SandboxError::Request {
                    why: format!("`{}` is no name of a variable", name.display()),
                });
            }
            let mut line = name.clone();
            line.push("=");
            line.push(value);
            c_os(&line)
        })
        .collect()
}

fn limit_name(resource: u32) -> &'static str {
    match resource {
        libc::RLIMIT_DATA => "RLIMIT_DATA",
        libc::RLIMIT_CPU => "RLIMIT_CPU",
        libc::RLIMIT_FSIZE => "RLIMIT_FSIZE",
        libc::RLIMIT_NOFILE => "RLIMIT_NOFILE",
        libc::RLIMIT_NPROC => "RLIMIT_NPROC",
        libc::RLIMIT_CORE => "RLIMIT_CORE",
        _ => "a limit",
    }
}

/// At this limit the kernel writes no core file and, unlike at 0, starts no program to be sent one: what `core_pattern`
/// names runs as root and outside of every sandbox. Source: core(5), `do_coredump`.
const NO_CORE: u64 = 1;

/// `limits` as the kernel takes them, no higher than what this process may set. Core files are off.
pub(super) fn kernel_limits(
    limits: &Limits,
    isolation: Isolation,
) -> Result<Vec<(u32, u64)>, SandboxError> {
    // Without a user namespace the kernel counts all of the user's processes. There are no more of them than of
    // everybody's, so that as many as are allowed can come on top.
    let others = match isolation {
        Isolation::Full => 0,
        Isolation::Landlock => sys::process_count(),
    };
    let wanted = [
        (libc::RLIMIT_CORE, Some(NO_CORE)),
        (libc::RLIMIT_DATA, limits.memory_bytes),
        (libc::RLIMIT_CPU, limits.cpu_seconds),
        (libc::RLIMIT_FSIZE, limits.file_size_bytes),
        (libc::RLIMIT_NOFILE, limits.open_files),
        (
            libc::RLIMIT_NPROC,
            limits.processes.map(|most| most.saturating_add(others)),
        ),
    ];
    wanted
        .into_iter()
        .filter_map(|(resource, value)| value.map(|value| (resource, value)))
        .map(|(resource, value)| {
            let most = sys::hard_limit(resource).map_err(start("reading a limit"))?;
            Ok((resource, value.min(most)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::SandboxPath;
    use crate::sandbox::{Ended, Mount, SandboxProfile, Status};

    /// Runs a shell script with the host's programs, in `out`, as on a kernel with `abi`.
    fn shell(
        isolation: Isolation,
        abi: ABI,
        out: &std::path::Path,
        script: &str,
    ) -> (Status, String) {
        let path = |text: &str| SandboxPath::new(text).unwrap();
        let mut mounts: Vec<Mount> = ["/usr", "/bin", "/lib", "/lib64"]
            .into_iter()
            .filter(|at| std::path::Path::new(at).exists())
            .map(|at| Mount {
                host: at.into(),
                at: path(at),
                access: Access::Read,
            })
            .collect();
        mounts.push(Mount {
            host: out.to_owned(),
            at: path(out.to_str().unwrap()),
            access: Access::Write,
        });
        let profile = SandboxProfile::shipped("build-script").unwrap();
        let request = Request {
            isolation,
            profile: &profile,
            program: path("/bin/sh"),
            argv: vec!["sh".into(), "-c".into(), script.into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            cwd: path(out.to_str().unwrap()),
            mounts,
            links: Vec::new(),
            directories: Vec::new(),
            tmp: None,
            descriptors: Vec::new(),
            limits: Limits::default(),
            network: NetworkAccess::None,
            timeout: Some(Duration::from_secs(60)),
        };
        let output = spawn_with(request, abi, None).unwrap().output().unwrap();
        assert_eq!(output.outcome.ended, Ended::Itself);
        assert_eq!(output.outcome.enforced.landlock_abi(), abi as u32);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.outcome.status, said)
    }

    /// On kernels that know less of Landlock, seccomp and the supervisor's other ways take over.
    #[test]
    fn older_kernels_are_confined_too() {
        let newest = ruleset::kernel_abi().unwrap();
        for abi in ruleset::ABIS {
            if abi > newest {
                continue;
            }
            // Not beneath `/tmp`, which a sandbox may have of its own.
            let place = tempfile::tempdir_in("/var/tmp").unwrap();
            let secret = place.path().join("secret");
            std::fs::write(&secret, "secret").unwrap();
            let out = place.path().join("out");
            std::fs::create_dir(&out).unwrap();
            let script = "
                cat ../secret && exit 1
                echo x > ../secret && exit 2
                chmod 777 ../secret && exit 3
                echo own > file && chmod 600 file || exit 4
                setsid sh -c 'while :; do echo x >> leftover; sleep 0.01; done' < /dev/null > /dev/null 2>&1 &
                until test -f leftover; do sleep 0.01; done
                exit 7
            ";
            let (status, said) = shell(Isolation::Landlock, abi, &out, script);
            assert_eq!(status, Status::Exited(7), "{abi}: {said}");
            assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret", "{abi}");
            let size = || std::fs::metadata(out.join("leftover")).unwrap().len();
            let at_end = size();
            std::thread::sleep(Duration::from_millis(80));
            assert_eq!(size(), at_end, "{abi}: something lives on");

            let (status, said) = shell(Isolation::Landlock, abi, &out, "kill -0 $$");
            let expected = if abi >= ABI::V6 { 0 } else { 1 };
            assert_eq!(status, Status::Exited(expected), "{abi}: {said}");
        }
    }
}
