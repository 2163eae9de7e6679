//! seccomp: from a profile's rules to the programs that the kernel runs at each system call.
//!
//! seccompiler turns the conditions of one system call into instructions; its own program, one comparison per system
//! call one after the other and a single answer for all that does not match, is long to install and cannot tell a
//! refused call from an unknown one. So each call's instructions are taken out of a program of their own and put at the
//! leaves of a search tree over the numbers, whose other leaves are plain answers:
//!
//! ```text
//! architecture is not the expected one   kill the process: a 32-bit entry (int 0x80)
//! a call that is allowed                 allow
//! a call with conditions                 allow if one alternative holds, else EPERM
//! a call that is refused                 its answer, EPERM if it has none
//! anything else, x32's numbers included  ENOSYS
//! ```
//!
//! A second program sends the judged calls to the supervisor; of two programs' answers the kernel takes the stricter.

use std::collections::BTreeMap;

use landlock::ABI;
use seccompiler::{BpfProgram, TargetArch, sock_filter};
use serde_json::{Value, json};

use super::profile::{Answer, Machine, Rules, Size, When};

/// `ret`, with the answer in the instruction.
const RET: u16 = 0x06;
/// `jmp`, forward by the operand.
const JUMP: u16 = 0x05;
/// `jge`, against the operand.
const JUMP_GREATER_EQUAL: u16 = 0x35;

/// Instructions before the first rule of a program of seccompiler's: three for the architecture, one to load the number.
const PREFIX: usize = 4;

/// The compiled programs of a profile.
#[derive(Debug, PartialEq)]
pub(super) struct Filters {
    /// What is allowed where namespaces hold everything in.
    pub(super) allow: BpfProgram,
    /// What is allowed without them, where signals are held in and every way of truncating a file is mediated.
    in_place: BpfProgram,
    /// What is allowed where nothing bounds who gets a signal.
    without_signals: BpfProgram,
    /// What is allowed where, besides, a file may be truncated that may only be read, or not even that.
    without_truncation: BpfProgram,
    /// What goes to the supervisor.
    pub(super) judge: Option<BpfProgram>,
    /// The calls that the profile names, by number.
    pub(super) names: BTreeMap<u32, String>,
}

impl Filters {
    /// What is allowed where Landlock's `abi` stands alone.
    pub(super) fn beside_landlock(&self, abi: ABI) -> &BpfProgram {
        if abi >= ABI::V6 {
            &self.in_place
        } else if abi >= ABI::V3 {
            &self.without_signals
        } else {
            &self.without_truncation
        }
    }
}

/// What the filter does about one system call.
#[derive(Clone, PartialEq)]
enum Verdict {
    /// It answers this.
    Answer(u32),
    /// It looks at the arguments.
    Look(BpfProgram),
}

/// Compiles `rules` for `machine`.
pub(super) fn compile(rules: &Rules, machine: Machine) -> Result<Filters, seccompiler::Error> {
    let unknown = answer(libc::ENOSYS);
    let held = rules.with_namespaces();
    let calls = Calls::of(&held, machine)?;
    let allow = calls.program(&calls.verdicts(&held, machine), unknown);

    let rules = &rules.without_namespaces();
    let calls = Calls::of(rules, machine)?;
    let names = calls
        .by_name
        .iter()
        .map(|(name, (number, _))| (*number, name.clone()))
        .collect();
    let mut verdicts = calls.verdicts(rules, machine);
    let in_place = calls.program(&verdicts, unknown);

    let mut judged = BTreeMap::new();
    for entry in rules.allow.iter().filter(|a| machine.is(a.arch)) {
        for name in &entry.syscalls {
            if entry.signals {
                verdicts.insert(calls.number(name), Verdict::Answer(answer(libc::EPERM)));
            }
            if entry.judged {
                let notify = Verdict::Answer(libc::SECCOMP_RET_USER_NOTIF);
                judged.insert(calls.number(name), notify);
            }
        }
    }
    let without_signals = calls.program(&verdicts, unknown);

    let guarded = guard_truncation(rules);
    let guarded_calls = Calls::of(&guarded, machine)?;
    for (number, verdict) in guarded_calls.verdicts(&guarded, machine) {
        if let (Verdict::Look(_), Some(held)) = (&verdict, verdicts.get_mut(&number))
            && matches!(held, Verdict::Look(_))
        {
            *held = verdict;
        }
    }
    if let Some(truncate) = calls.by_name.get("truncate") {
        verdicts.insert(truncate.0, Verdict::Answer(answer(libc::EPERM)));
    }
    Ok(Filters {
        allow,
        in_place,
        without_signals,
        without_truncation: calls.program(&verdicts, unknown),
        names,
        judge: (!judged.is_empty()).then(|| calls.program(&judged, libc::SECCOMP_RET_ALLOW)),
    })
}

/// `rules`, with opening to read and truncating at once forbidden: before ABI 3 Landlock takes that for reading.
fn guard_truncation(rules: &Rules) -> Rules {
    // With O_TRUNC (0o1000) only O_WRONLY (1) and O_RDWR (2), for which Landlock wants the right to write.
    const HARMLESS: [u64; 6] = [0, 1, 2, 3, 0o1001, 0o1002];
    let mut rules = rules.clone();
    for allow in &mut rules.allow {
        for (name, argument) in [("openat", 2), ("open", 1)] {
            if allow.syscalls.iter().any(|s| s == name) {
                allow.when.push(When {
                    argument,
                    size: Size::U32,
                    mask: Some(0o1003),
                    equals: None,
                    any_of: HARMLESS.to_vec(),
                });
            }
        }
    }
    rules
}

fn answer(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno.cast_unsigned()
}

/// Every system call that rules name, by name: its number, and instructions for its conditions if it has any.
struct Calls {
    by_name: BTreeMap<String, (u32, Option<BpfProgram>)>,
    prefix: BpfProgram,
}

impl Calls {
    /// Has seccompiler compile a program for each name. An unknown name is an error.
    fn of(rules: &Rules, machine: Machine) -> Result<Self, seccompiler::Error> {
        let mut conditions: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for allow in rules.allow.iter().filter(|a| machine.is(a.arch)) {
            for name in &allow.syscalls {
                let known = conditions.entry(name).or_default();
                known.extend(alternatives(name, &allow.when));
            }
        }
        for refuse in rules.refuse.iter().filter(|r| machine.is(r.arch)) {
            for name in &refuse.syscalls {
                conditions.entry(name).or_default();
            }
        }
        let document: serde_json::Map<String, Value> = conditions
            .iter()
            .map(|(name, rules)| {
                let rules = match rules.is_empty() {
                    true => json!([{ "syscall": name }]),
                    false => json!(rules),
                };
                let filter = json!({
                    "mismatch_action": { "errno": libc::EPERM },
                    "match_action": "allow",
                    "filter": rules,
                });
                ((*name).to_owned(), filter)
            })
            .collect();
        let arch = match machine {
            Machine::X86_64 => TargetArch::x86_64,
            Machine::Aarch64 => TargetArch::aarch64,
        };
        let document = Value::Object(document).to_string();
        let programs = seccompiler::compile_from_json(document.as_bytes(), arch)?;
        let mut prefix = Vec::new();
        let mut by_name = BTreeMap::new();
        for (name, program) in programs {
            let (Some(head), Some(compare)) = (program.get(..PREFIX), program.get(PREFIX)) else {
                return Err(seccompiler::Error::EmptyFilter);
            };
            prefix = head.to_vec();
            // The comparison with the number, the conditions, their answer EPERM; then the program's own last answer.
            let conditional = conditions.get(name.as_str()).is_some_and(|c| !c.is_empty());
            let look = conditional
                .then(|| program.get(PREFIX + 1..program.len() - 1))
                .flatten();
            by_name.insert(name, (compare.k, look.map(<[sock_filter]>::to_vec)));
        }
        Ok(Self { by_name, prefix })
    }

    fn number(&self, name: &str) -> u32 {
        let call = self.by_name.get(name);
        call.expect("every name in the rules was compiled").0
    }

    fn verdicts(&self, rules: &Rules, machine: Machine) -> BTreeMap<u32, Verdict> {
        let mut verdicts: BTreeMap<u32, Verdict> = self
            .by_name
            .values()
            .map(|(number, look)| {
                let allow = Verdict::Answer(libc::SECCOMP_RET_ALLOW);
                (*number, look.clone().map_or(allow, Verdict::Look))
            })
            .collect();
        for refuse in rules.refuse.iter().filter(|r| machine.is(r.arch)) {
            for name in &refuse.syscalls {
                let errno = match refuse.answer {
                    Answer::Eperm => libc::EPERM,
                    Answer::Eopnotsupp => libc::EOPNOTSUPP,
                    Answer::Nothing => 0,
                };
                verdicts.insert(self.number(name), Verdict::Answer(answer(errno)));
            }
        }
        verdicts
    }

    /// The program that gives each number its verdict, and all others `otherwise`.
    fn program(&self, verdicts: &BTreeMap<u32, Verdict>, otherwise: u32) -> BpfProgram {
        // Where a verdict begins that holds until the next.
        let mut ranges: Vec<(u32, Verdict)> = vec![(0, Verdict::Answer(otherwise))];
        let mut push = |from: u32, verdict: Verdict| {
            if ranges.last().is_some_and(|(last, _)| *last == from) {
                ranges.pop();
            }
            if ranges.last().is_none_or(|(_, last)| *last != verdict) {
                ranges.push((from, verdict));
            }
        };
        for (number, verdict) in verdicts {
            push(*number, verdict.clone());
            push(number + 1, Verdict::Answer(otherwise));
        }
        let mut program = self.prefix.clone();
        program.extend(search(&ranges));
        program
    }
}

/// A binary search for the range that the accumulator is in.
fn search(ranges: &[(u32, Verdict)]) -> BpfProgram {
    match ranges {
        [] => Vec::new(),
        [(_, Verdict::Answer(answer))] => vec![instruction(RET, 0, 0, *answer)],
        [(_, Verdict::Look(look))] => look.clone(),
        _ => {
            let (below, above) = ranges.split_at(ranges.len() / 2);
            let from = above.first().map_or(0, |(from, _)| *from);
            let (below, above) = (search(below), search(above));
            let mut program = match u8::try_from(below.len()) {
                Ok(over) => vec![instruction(JUMP_GREATER_EQUAL, over, 0, from)],
                // A condition jumps over 255 instructions at most.
                Err(_) => vec![
                    instruction(JUMP_GREATER_EQUAL, 0, 1, from),
                    instruction(JUMP, 0, 0, below.len() as u32),
                ],
            };
            program.extend(below);
            program.extend(above);
            program
        }
    }
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// Rules of seccompiler for one entry: the conditions multiplied out, since it knows no "one of". None for no condition.
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
    rows.retain(|row| !row.is_empty());
    rows.into_iter()
        .map(|row| json!({ "syscall": name, "args": row }))
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
            "init_module",
        ] {
            let nr = number(name);
            for argument in [0, 1, u64::MAX] {
                assert_eq!(run(&f.allow, X86_64, nr, [argument; 6]), EPERM, "{name}");
            }
        }
        let kill = libc::SECCOMP_RET_KILL_PROCESS;
        assert_eq!(run(&f.allow, I386, 3, [0; 6]), kill, "a 32-bit entry");
    }

    #[test]
    fn older_landlock_has_stricter_filters() {
        let f = filters("build-script", Machine::X86_64);
        for (abi, kill, truncate) in [
            (ABI::V1, EPERM, EPERM),
            (ABI::V2, EPERM, EPERM),
            (ABI::V3, EPERM, ALLOW),
            (ABI::V4, EPERM, ALLOW),
            (ABI::V5, EPERM, ALLOW),
            (ABI::V6, ALLOW, ALLOW),
            (ABI::V7, ALLOW, ALLOW),
            (ABI::V9, ALLOW, ALLOW),
        ] {
            let filter = f.beside_landlock(abi);
            let openat = |flags| run(filter, X86_64, 257, [0, 0, flags, 0o644, 0, 0]);
            let open = |flags| run(filter, X86_64, 2, [0, flags, 0o644, 0, 0, 0]);
            assert_eq!(run(filter, X86_64, 62, [1, 9, 0, 0, 0, 0]), kill, "{abi}");
            assert_eq!(run(filter, X86_64, 76, [0; 6]), truncate, "{abi}");
            assert_eq!(run(filter, X86_64, 0, [0; 6]), ALLOW, "{abi}");
            for call in [&openat as &dyn Fn(u64) -> u32, &open] {
                // O_RDONLY | O_TRUNC, and access mode 3 with it.
                assert_eq!(call(0o1000), truncate, "{abi}");
                assert_eq!(call(0o1103), truncate, "{abi}");
                for harmless in [0, 0o1, 0o2, 0o1101, 0o1102, 0o2000000, 0o20200002] {
                    assert_eq!(call(harmless), ALLOW, "{abi} {harmless:o}");
                }
            }
        }
    }

    #[test]
    fn what_namespaces_hold_is_allowed_within_them_only() {
        let f = filters("test", Machine::X86_64);
        for (what, nr, args, expected) in [
            ("socket inet", 41, [2, 1, 0, 0, 0, 0], ALLOW),
            (
                "socket inet6 datagram",
                41,
                [10, 2 | 0o2000000, 0, 0, 0, 0],
                ALLOW,
            ),
            ("socket unix", 41, [1, 1, 0, 0, 0, 0], ALLOW),
            ("socket inet raw", 41, [2, 3, 1, 0, 0, 0], EPERM),
            ("socket packet", 41, [17, 3, 0, 0, 0, 0], EPERM),
            ("socket netlink route", 41, [16, 3, 0, 0, 0, 0], ALLOW),
            ("socket netlink audit", 41, [16, 3, 9, 0, 0, 0], EPERM),
            ("connect", 42, [3, 1, 16, 0, 0, 0], ALLOW),
            ("sendto an address", 44, [3, 1, 1, 0, 1, 16], ALLOW),
            ("pidfd_open", 434, [2, 0, 0, 0, 0, 0], ALLOW),
            ("ptrace", 101, [0; 6], EPERM),
            ("io_uring_setup", 425, [0; 6], EPERM),
        ] {
            assert_eq!(run(&f.allow, X86_64, nr, args), expected, "{what}");
            if [41, 42, 434].contains(&nr) {
                for abi in [ABI::V1, ABI::V3, ABI::V4, ABI::V6, ABI::V7, ABI::V9] {
                    let answer = run(f.beside_landlock(abi), X86_64, nr, args);
                    assert_eq!(answer, EPERM, "{what}, {abi}");
                }
            }
        }
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
                f.allow.len() < 1500,
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
