//! seccomp: from a profile's rules to the programs that the kernel runs at each system call.
//!
//! seccompiler makes the programs; it knows one answer for what matches and one for all else. Three answers are needed,
//! so the very last instruction of its program, the answer to a system call that no rule names, is replaced: what is
//! named but fails its conditions answers EPERM, what is not named at all ENOSYS. A second program sends the judged
//! calls to the supervisor; the kernel lets the stricter answer of the two win.
//!
//! Other entries to the kernel: the program first compares the architecture and kills what comes in as 32-bit
//! (`int 0x80`); the x32 numbers have a bit that no listed number has, so they are named nowhere.

use seccompiler::{BpfProgram, TargetArch};
use serde_json::{Value, json};

use super::profile::{Machine, Rules, Size, When};

/// `ret`, with the answer in the instruction.
const BPF_RET_K: u16 = 0x06;

/// The compiled programs of a profile.
#[derive(Debug, PartialEq)]
pub(super) struct Filters {
    /// What is allowed, signals included.
    pub(super) allow: BpfProgram,
    /// What is allowed where nothing bounds who gets a signal.
    pub(super) allow_without_signals: BpfProgram,
    /// What goes to the supervisor.
    pub(super) judge: Option<BpfProgram>,
}

/// Compiles `rules` for `machine`.
pub(super) fn compile(rules: &Rules, machine: Machine) -> Result<Filters, seccompiler::Error> {
    Ok(Filters {
        allow: allow(rules, machine, true)?,
        allow_without_signals: allow(rules, machine, false)?,
        judge: judge(rules, machine)?,
    })
}

fn allow(rules: &Rules, machine: Machine, signals: bool) -> Result<BpfProgram, seccompiler::Error> {
    let mut filter = Vec::new();
    for allow in &rules.allow {
        if allow.arch.is_some_and(|arch| arch != machine) {
            continue;
        }
        for name in &allow.syscalls {
            if allow.signals && !signals {
                filter.push(json!({ "syscall": name, "args": never() }));
            } else {
                filter.extend(alternatives(name, &allow.when));
            }
        }
    }
    for refuse in &rules.refuse {
        if refuse.arch.is_none_or(|arch| arch == machine) {
            for name in &refuse.syscalls {
                filter.push(json!({ "syscall": name, "args": never() }));
            }
        }
    }
    let errno = |errno: i32| json!({ "errno": errno });
    let mut program = one(filter, errno(libc::EPERM), json!("allow"), machine)?;
    answer_otherwise(
        &mut program,
        libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned(),
    );
    Ok(program)
}

fn judge(rules: &Rules, machine: Machine) -> Result<Option<BpfProgram>, seccompiler::Error> {
    let mut filter = Vec::new();
    for allow in rules.allow.iter().filter(|allow| allow.judged) {
        if allow.arch.is_none_or(|arch| arch == machine) {
            filter.extend(allow.syscalls.iter().map(|name| json!({ "syscall": name })));
        }
    }
    if filter.is_empty() {
        return Ok(None);
    }
    // seccompiler has no name for the answer that asks a supervisor: `trace` stands in for it.
    let mut program = one(filter, json!("allow"), json!({ "trace": 1 }), machine)?;
    for instruction in &mut program {
        if instruction.code == BPF_RET_K && instruction.k == libc::SECCOMP_RET_TRACE | 1 {
            instruction.k = libc::SECCOMP_RET_USER_NOTIF;
        }
    }
    Ok(Some(program))
}

/// Rules of seccompiler for one entry: the conditions multiplied out, since it knows no "one of".
fn alternatives(name: &str, when: &[When]) -> Vec<Value> {
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for condition in when {
        rows = rows
            .into_iter()
            .flat_map(|row| {
                condition.values().map(move |value| {
                    let mut row = row.clone();
                    row.push(compare(condition, value));
                    row
                })
            })
            .collect();
    }
    rows.into_iter()
        .map(|row| match row.is_empty() {
            true => json!({ "syscall": name }),
            false => json!({ "syscall": name, "args": row }),
        })
        .collect()
}

fn compare(when: &When, value: u64) -> Value {
    json!({
        "index": when.argument,
        "type": match when.size { Size::U32 => "dword", Size::U64 => "qword" },
        "op": match when.mask { Some(mask) => json!({ "masked_eq": mask }), None => json!("eq") },
        "val": value,
    })
}

/// Conditions that no call meets.
fn never() -> Value {
    json!([
        { "index": 0, "type": "qword", "op": "eq", "val": 0 },
        { "index": 0, "type": "qword", "op": "ne", "val": 0 },
    ])
}

fn one(
    filter: Vec<Value>,
    mismatch: Value,
    matching: Value,
    machine: Machine,
) -> Result<BpfProgram, seccompiler::Error> {
    let document = json!({
        "filter": { "mismatch_action": mismatch, "match_action": matching, "filter": filter }
    })
    .to_string();
    let arch = match machine {
        Machine::X86_64 => TargetArch::x86_64,
        Machine::Aarch64 => TargetArch::aarch64,
    };
    let mut programs = seccompiler::compile_from_json(document.as_bytes(), arch)?;
    Ok(programs.remove("filter").unwrap_or_default())
}

/// Replaces the program's last instruction, its answer to what no rule names.
fn answer_otherwise(program: &mut BpfProgram, answer: u32) {
    if let Some(last) = program.last_mut() {
        debug_assert_eq!(last.code, BPF_RET_K, "a filter ends with an answer");
        last.k = answer;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::profile::{SHIPPED, SandboxProfile};

    const X86_64: u32 = 0xc000_003e;
    const AARCH64: u32 = 0xc000_00b7;
    const I386: u32 = 0x4000_0003;
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    /// What the kernel does with a program: the classic BPF that seccompiler emits, and nothing else.
    fn run(program: &BpfProgram, arch: u32, nr: u32, args: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend(nr.to_le_bytes());
        data.extend(arch.to_le_bytes());
        data.extend(0u64.to_le_bytes());
        args.iter().for_each(|a| data.extend(a.to_le_bytes()));
        let (mut pc, mut accumulator) = (0usize, 0u32);
        loop {
            let i = &program[pc];
            pc += 1;
            let jump = |taken: bool| usize::from(if taken { i.jt } else { i.jf });
            match i.code {
                0x20 => {
                    let k = i.k as usize;
                    accumulator = u32::from_le_bytes(data[k..k + 4].try_into().unwrap());
                }
                0x54 => accumulator &= i.k,
                0x05 => pc += i.k as usize,
                0x15 => pc += jump(accumulator == i.k),
                0x25 => pc += jump(accumulator > i.k),
                0x35 => pc += jump(accumulator >= i.k),
                0x06 => return i.k,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    fn filters(name: &str, machine: Machine) -> Filters {
        compile(SandboxProfile::shipped(name).unwrap().rules(), machine).unwrap()
    }

    #[test]
    fn calls_and_their_answers() {
        let f = filters("build-script", Machine::X86_64);
        let high = 0xdead_beef_0000_0000u64;
        for (what, nr, args, expected) in [
            ("read", 0, [3, 1, 1, 0, 0, 0], ALLOW),
            ("socket inet", 41, [2, 1, 0, 0, 0, 0], EPERM),
            ("socket unix", 41, [1, 1, 0, 0, 0, 0], EPERM),
            (
                "socketpair stream",
                53,
                [1, 1 | 0o2000000, 0, 0, 0, 0],
                ALLOW,
            ),
            ("socketpair seqpacket", 53, [1, 5, 0, 0, 0, 0], ALLOW),
            ("socketpair datagram", 53, [1, 2, 0, 0, 0, 0], EPERM),
            ("socketpair inet", 53, [2, 1, 0, 0, 0, 0], EPERM),
            (
                "socketpair, garbage above",
                53,
                [high | 2, 1, 0, 0, 0, 0],
                EPERM,
            ),
            ("sendto", 44, [3, 1, 1, 0, 0, 0], ALLOW),
            ("sendto an address", 44, [3, 1, 1, 0, 0x1000, 16], EPERM),
            ("sendto a high address", 44, [3, 1, 1, 0, high, 16], EPERM),
            ("TIOCSTI", 16, [0, 0x5412, 0, 0, 0, 0], EPERM),
            (
                "TIOCSTI, garbage above",
                16,
                [0, high | 0x5412, 0, 0, 0, 0],
                EPERM,
            ),
            ("TIOCLINUX", 16, [0, 0x541c, 0, 0, 0, 0], EPERM),
            ("FIOASYNC", 16, [0, 0x5452, 0, 0, 0, 0], EPERM),
            ("TCGETS", 16, [0, 0x5401, 0, 0, 0, 0], ALLOW),
            ("clone thread", 56, [0x003d_0f00, 0, 0, 0, 0, 0], ALLOW),
            ("clone process", 56, [0x0120_0011, 0, 0, 0, 0, 0], ALLOW),
            ("clone NEWUSER", 56, [0x1000_0011, 0, 0, 0, 0, 0], EPERM),
            ("clone NEWNS", 56, [0x0002_0011, 0, 0, 0, 0, 0], EPERM),
            ("clone PARENT", 56, [0x0000_8011, 0, 0, 0, 0, 0], EPERM),
            ("clone3", 435, [0; 6], ENOSYS),
            ("a call of the future", 1000, [0; 6], ENOSYS),
            ("x32 read", 0x4000_0000, [0; 6], ENOSYS),
            ("x32 ptrace", 0x4000_0000 + 521, [0; 6], ENOSYS),
            ("openat2", 437, [0; 6], ENOSYS),
            ("F_SETOWN", 72, [0, 8, 1, 0, 0, 0], EPERM),
            ("F_SETFL O_ASYNC", 72, [0, 4, 0o20000, 0, 0, 0], EPERM),
            ("F_SETFL O_NONBLOCK", 72, [0, 4, 0o4000, 0, 0, 0], ALLOW),
            ("openat", 257, [0, 0, 0o100, 0o644, 0, 0], ALLOW),
            ("openat setuid", 257, [0, 0, 0o101, 0o4755, 0, 0], EPERM),
            ("openat, mode unused", 257, [0, 0, 0, 0o4755, 0, 0], ALLOW),
            (
                "openat O_DIRECTORY",
                257,
                [0, 0, 0o200000, 0o4755, 0, 0],
                ALLOW,
            ),
            ("chmod", 90, [0, 0o755, 0, 0, 0, 0], ALLOW),
            ("chmod setuid", 90, [0, 0o4755, 0, 0, 0, 0], EPERM),
            ("chmod setgid", 90, [0, 0o2755, 0, 0, 0, 0], EPERM),
            ("mknod fifo", 133, [0, 0o010644, 0, 0, 0, 0], ALLOW),
            ("mknod device", 133, [0, 0o020644, 0, 0, 0, 0], EPERM),
            ("prlimit64 self", 302, [0, 7, 0, 0, 0, 0], ALLOW),
            ("prlimit64 other", 302, [42, 7, 0, 0, 0, 0], EPERM),
            ("PR_SET_DUMPABLE", 157, [4, 0, 0, 0, 0, 0], ALLOW),
            ("PR_SET_SECCOMP", 157, [22, 2, 0, 0, 0, 0], EPERM),
            ("kill", 62, [1, 9, 0, 0, 0, 0], ALLOW),
        ] {
            assert_eq!(run(&f.allow, X86_64, nr, args), expected, "{what}");
        }
        for name in [
            "ptrace",
            "bpf",
            "io_uring_setup",
            "mount",
            "unshare",
            "setns",
            "keyctl",
            "userfaultfd",
            "perf_event_open",
            "process_vm_writev",
            "pidfd_getfd",
            "personality",
            "chown",
            "init_module",
        ] {
            let nr = number(name);
            for argument in [0, 1, u64::MAX] {
                assert_eq!(run(&f.allow, X86_64, nr, [argument; 6]), EPERM, "{name}");
            }
        }
        let kill = libc::SECCOMP_RET_KILL_PROCESS;
        assert_eq!(run(&f.allow, I386, 3, [0; 6]), kill, "a 32-bit entry");
        assert_eq!(
            run(&f.allow_without_signals, X86_64, 62, [1, 9, 0, 0, 0, 0]),
            EPERM
        );
        assert_eq!(run(&f.allow_without_signals, X86_64, 0, [0; 6]), ALLOW);
    }

    #[test]
    fn judged_calls_go_to_the_supervisor() {
        let f = filters("rustc", Machine::X86_64);
        let judge = f.judge.unwrap();
        let notify = libc::SECCOMP_RET_USER_NOTIF;
        for (name, expected) in [
            ("chmod", notify),
            ("fchmod", notify),
            ("utimensat", notify),
            ("read", ALLOW),
            ("ptrace", ALLOW),
        ] {
            assert_eq!(
                run(&judge, X86_64, number(name), [0; 6]),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn both_machines_compile() {
        for (name, _) in SHIPPED {
            let f = filters(name, Machine::Aarch64);
            assert_eq!(run(&f.allow, AARCH64, 63, [0; 6]), ALLOW, "{name}: read");
            assert_eq!(run(&f.allow, AARCH64, 117, [0; 6]), EPERM, "{name}: ptrace");
            assert_eq!(
                run(&f.allow, AARCH64, 435, [0; 6]),
                ENOSYS,
                "{name}: clone3"
            );
            assert_eq!(
                run(&f.allow, X86_64, 63, [0; 6]),
                libc::SECCOMP_RET_KILL_PROCESS
            );
            assert!(
                f.allow.len() < 4000,
                "{name}: {} instructions",
                f.allow.len()
            );
        }
    }

    fn number(name: &str) -> u32 {
        let nr = match name {
            "read" => libc::SYS_read,
            "chmod" => 90,
            "chown" => 92,
            "fchmod" => libc::SYS_fchmod,
            "utimensat" => libc::SYS_utimensat,
            "ptrace" => libc::SYS_ptrace,
            "bpf" => libc::SYS_bpf,
            "io_uring_setup" => libc::SYS_io_uring_setup,
            "mount" => libc::SYS_mount,
            "unshare" => libc::SYS_unshare,
            "setns" => libc::SYS_setns,
            "keyctl" => libc::SYS_keyctl,
            "userfaultfd" => libc::SYS_userfaultfd,
            "perf_event_open" => libc::SYS_perf_event_open,
            "process_vm_writev" => libc::SYS_process_vm_writev,
            "pidfd_getfd" => libc::SYS_pidfd_getfd,
            "personality" => libc::SYS_personality,
            "init_module" => libc::SYS_init_module,
            other => panic!("no number for {other}"),
        };
        nr as u32
    }
}
