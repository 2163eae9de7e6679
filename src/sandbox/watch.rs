//! What an action uses all together, looked at from time to time: memory, processes and what lies in its directories.
//!
//! The kernel's limits (`setrlimit`) are for one process each, do not count memory that is shared, and count no
//! processes of root's. A cgroup would count exactly, but is delegated to few who start a build. So kiln looks: it takes
//! the processes that descend from the action's first one (nobody leaves that tree: orphans go to the first process of the
//! pid namespace, or to the supervisor) out of one reading of `/proc` that all actions of the program share. What goes up
//! and down between two looks is not seen; the kernel's limits bound that.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::request::Limits;
use super::running::Ended;

/// How often processes are looked at.
const PERIOD: Duration = Duration::from_millis(200);
/// How often directories are looked at, at most; and the share of time that it may take.
const WALK_PERIOD: Duration = Duration::from_secs(1);
const WALK_SHARE: u32 = 50;
/// Deeper than anybody needs, and too deep to be looked through.
const MOST_LEVELS: usize = 128;

/// What one action is held to.
#[derive(Debug)]
pub(super) struct Watch {
    root: libc::pid_t,
    memory: Option<u64>,
    processes: Option<u64>,
    written: Option<u64>,
    directories: Vec<PathBuf>,
    next_look: Instant,
    next_walk: Instant,
}

/// One process of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    id: libc::pid_t,
    parent: libc::pid_t,
    threads: u64,
    resident_bytes: u64,
}

impl Watch {
    /// Of the action whose first process, or whose supervisor, is `root`, and that writes to `directories`.
    pub(super) fn new(root: libc::pid_t, limits: &Limits, directories: Vec<PathBuf>) -> Self {
        let now = Instant::now();
        Self {
            root,
            // More than the machine has is no limit: something is to be left for what is not the action's.
            memory: limits
                .memory_bytes
                .map(|most| most.min(machine_memory() / 8 * 7)),
            processes: limits.processes,
            written: limits.written_bytes,
            directories,
            next_look: now + PERIOD,
            next_walk: now + WALK_PERIOD,
        }
    }

    /// When it wants to look next.
    pub(super) fn due(&self) -> Instant {
        self.next_look.min(self.next_walk)
    }

    /// Looks, if it is time. What the action has too much of.
    pub(super) fn look(&mut self) -> Option<Ended> {
        let now = Instant::now();
        if now >= self.next_look {
            self.next_look = now + PERIOD;
            if let Some(why) = self.look_at_processes(now) {
                return Some(why);
            }
        }
        let most = self.written?;
        if now >= self.next_walk {
            let written = written(&self.directories, most);
            let took = now.elapsed();
            self.next_walk = now + (took * WALK_SHARE).max(WALK_PERIOD);
            if written > most {
                return Some(Ended::TooMuchWritten);
            }
        }
        None
    }

    fn look_at_processes(&self, now: Instant) -> Option<Ended> {
        let all = shared_table(now);
        let own = descendants(&all, self.root);
        let threads: u64 = own.iter().map(|process| process.threads).sum();
        // The supervisor is one of them, and no process of the action's.
        if self.processes.is_some_and(|most| threads > most + 1) {
            return Some(Ended::TooManyProcesses);
        }
        let most = self.memory?;
        let resident: u64 = own.iter().map(|process| process.resident_bytes).sum();
        if resident <= most {
            return None;
        }
        // What several share was counted for each of them: more exactly, then.
        let exact: u64 = own.iter().map(memory_of).sum();
        (exact > most).then_some(Ended::TooMuchMemory)
    }
}

/// The machine's memory, bytes.
fn machine_memory() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| {
        std::fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| field(&text, "MemTotal:"))
            .unwrap_or(u64::MAX)
    })
}

/// The value of a line `NAME   123 kB`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Memory that is this process's part: what is in files on a disk can be dropped, and does not count.
fn memory_of(process: &Process) -> u64 {
    let parts = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", process.id))
        .ok()
        .and_then(|text| Some(field(&text, "Pss_Anon:")? + field(&text, "Pss_Shmem:")?));
    // It has ended, or the kernel does not say.
    parts.unwrap_or_else(|| {
        let gone = !Path::new(&format!("/proc/{}", process.id)).exists();
        if gone { 0 } else { process.resident_bytes }
    })
}

/// All processes, read anew if what is known is older than a period.
fn shared_table(now: Instant) -> Arc<Vec<Process>> {
    static TABLE: Mutex<Option<(Instant, Arc<Vec<Process>>)>> = Mutex::new(None);
    let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((read, known)) = &*table
        && now.saturating_duration_since(*read) < PERIOD / 2
    {
        return Arc::clone(known);
    }
    let read = Arc::new(read_table());
    *table = Some((Instant::now(), Arc::clone(&read)));
    read
}

fn read_table() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
            // What a program calls itself is in there, and need not be UTF-8.
            let stat = std::fs::read(format!("/proc/{id}/stat")).ok()?;
            parse(id, &stat)
        })
        .collect()
}

/// Reads `/proc/<id>/stat`: fields after the name, which ends at the last parenthesis.
fn parse(id: libc::pid_t, stat: &[u8]) -> Option<Process> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let pages: u64 = fields.get(21)?.parse().ok()?;
    Some(Process {
        id,
        parent: fields.get(1)?.parse().ok()?,
        threads: fields.get(17)?.parse().ok()?,
        resident_bytes: pages.saturating_mul(page_bytes()),
    })
}

fn page_bytes() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(super::sys::page_bytes)
}

/// `root` and everything below it.
fn descendants(all: &[Process], root: libc::pid_t) -> Vec<Process> {
    let mut children: BTreeMap<libc::pid_t, Vec<Process>> = BTreeMap::new();
    let mut found = Vec::new();
    for process in all {
        children.entry(process.parent).or_default().push(*process);
        if process.id == root {
            found.push(*process);
        }
    }
    let mut next = 0;
    while let Some(process) = found.get(next) {
        // Taken out, so that numbers given anew meanwhile make no circle.
        let below = children.remove(&process.id).unwrap_or_default();
        found.extend(below);
        next += 1;
    }
    found
}

/// What lies in `directories`, in bytes of the disk; no more is counted than shows that it is more than `most`.
fn written(directories: &[PathBuf], most: u64) -> u64 {
    let mut total = 0u64;
    let mut open: Vec<(PathBuf, usize)> = directories
        .iter()
        .map(|directory| (directory.clone(), 0))
        .collect();
    while let Some((directory, level)) = open.pop() {
        // What goes away or cannot be looked into while this looks is not counted.
        for entry in std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            let Ok(data) = entry.metadata() else { continue };
            // Even an empty file takes something.
            let size = 512 + data.blocks().saturating_mul(512) / data.nlink().max(1);
            total = total.saturating_add(size);
            if data.is_dir() {
                if level == MOST_LEVELS {
                    return u64::MAX;
                }
                open.push((entry.path(), level + 1));
            }
            if total > most {
                return total;
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc() {
        let line = b"42 (a) b\xff (c) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 3 0 100 4096 5 18446744073709551615 1";
        let read = parse(42, line).unwrap();
        assert_eq!((read.id, read.parent, read.threads), (42, 7, 3));
        assert_eq!(read.resident_bytes, 5 * page_bytes());
        for bad in [&b""[..], b"1 (a", b"1 (a) S", b"1 (a) S x 1 1"] {
            assert_eq!(parse(1, bad), None);
        }
        assert_eq!(
            field("A: 1 kB\nPss_Anon:   12 kB\n", "Pss_Anon:"),
            Some(12 << 10)
        );
        assert_eq!(field("Pss_Anon: 12", "Pss_Anon:"), None);
        assert!(machine_memory() > 1 << 20);
    }

    #[test]
    fn descendants_are_found_and_circles_end() {
        let process = |id, parent| Process {
            id,
            parent,
            threads: 1,
            resident_bytes: 0,
        };
        let all = [
            process(5, 4),
            process(2, 1),
            process(3, 2),
            process(4, 3),
            process(9, 1),
        ];
        let ids = |root| {
            let mut ids: Vec<_> = descendants(&all, root).iter().map(|p| p.id).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(ids(2), [2, 3, 4, 5]);
        assert_eq!(ids(9), [9]);
        assert_eq!(ids(77), [0; 0]);
        let circle = [process(2, 3), process(3, 2)];
        assert_eq!(descendants(&circle, 2).len(), 3);
    }

    #[test]
    fn what_was_written_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let at = vec![directory.path().to_owned()];
        std::fs::create_dir_all(directory.path().join("a/b")).unwrap();
        let little = written(&at, u64::MAX);
        assert!(little > 0 && little < 1 << 20, "{little}");
        std::fs::write(directory.path().join("a/b/c"), vec![1; 2 << 20]).unwrap();
        std::fs::hard_link(directory.path().join("a/b/c"), directory.path().join("d")).unwrap();
        let much = written(&at, u64::MAX);
        assert!((2 << 20..3 << 20).contains(&much), "{much}");
        assert!(written(&at, 1 << 20) > 1 << 20);
        let mut deep = directory.path().to_owned();
        (0..=MOST_LEVELS).for_each(|_| deep.push("d2"));
        std::fs::create_dir_all(deep).unwrap();
        assert_eq!(written(&at, u64::MAX), u64::MAX);
    }
}
