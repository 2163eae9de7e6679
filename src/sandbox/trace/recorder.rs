//! What a tracer has seen, kept small: the same thing done again by the same program is counted.

use std::collections::BTreeMap;

use super::calls::Operation;
use super::{Observed, Program, Trace};

/// More different things than these are not kept.
const MOST_OBSERVED: usize = 100_000;
const MOST_PROGRAMS: usize = 50_000;

type Key = (usize, Operation, String, Option<i32>);

/// Collects a [`Trace`].
#[derive(Debug, Default)]
pub(super) struct Recorder {
    trace: Trace,
    known: BTreeMap<Key, usize>,
    now: u64,
}

impl Recorder {
    /// A program starts in place of `parent`, or started by it. Its number.
    pub(super) fn program(
        &mut self,
        path: String,
        arguments: Vec<String>,
        parent: Option<usize>,
    ) -> usize {
        let programs = &mut self.trace.programs;
        if programs.len() >= MOST_PROGRAMS {
            self.trace.is_cut_off = true;
            return programs.len() - 1;
        }
        programs.push(Program {
            path,
            arguments,
            parent,
            status: None,
            ended: None,
        });
        programs.len() - 1
    }

    /// A process that ran `program` has ended.
    pub(super) fn ended(&mut self, program: usize, status: i32) {
        self.now += 1;
        let now = self.now;
        if let Some(program) = self.trace.programs.get_mut(program) {
            program.status = Some(status);
            program.ended = Some(now);
        }
    }

    /// Something was done or tried.
    pub(super) fn observed(
        &mut self,
        program: usize,
        operation: Operation,
        path: String,
        real: Option<String>,
        errno: Option<i32>,
        arguments: Vec<String>,
    ) {
        self.now += 1;
        let now = self.now;
        let key = (program, operation, path, errno);
        if let Some(index) = self.known.get(&key) {
            if let Some(observed) = self.trace.observed.get_mut(*index) {
                observed.last = now;
                observed.count += 1;
            }
            return;
        }
        if self.trace.observed.len() >= MOST_OBSERVED {
            self.trace.is_cut_off = true;
            return;
        }
        self.trace.observed.push(Observed {
            operation,
            real: real.filter(|real| *real != key.2),
            path: key.2.clone(),
            errno,
            arguments,
            program,
            first: now,
            last: now,
            count: 1,
        });
        self.known.insert(key, self.trace.observed.len() - 1);
    }

    pub(super) fn finish(self) -> Trace {
        self.trace
    }
}

/// `path` from `base`, without `.`, `..` and doubled slashes.
pub(super) fn absolute(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let from = if path.starts_with('/') { "" } else { base };
    for part in from.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute() {
        for (base, path, expected) in [
            ("/a/b", "c", "/a/b/c"),
            ("/a/b", "../c", "/a/c"),
            ("/a/b", "/c/./d//e", "/c/d/e"),
            ("/a", "../../..", "/"),
            ("/a", "", "/a"),
        ] {
            assert_eq!(absolute(base, path), expected);
        }
    }

    #[test]
    fn what_is_done_again_is_counted() {
        let mut recorder = Recorder::default();
        let program = recorder.program("/p".into(), vec!["p".into()], None);
        for errno in [None, Some(2), None] {
            recorder.observed(
                program,
                Operation::Read,
                "/x".into(),
                None,
                errno,
                Vec::new(),
            );
        }
        let trace = recorder.finish();
        assert_eq!(trace.observed.len(), 2);
        assert_eq!((trace.observed[0].count, trace.observed[0].last), (2, 3));
    }
}
