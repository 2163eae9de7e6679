//! What is made of an action's standard error while it runs.

use std::path::Path;

use crate::execute::ActionEvent;
use crate::execute::bind::BoundAction;
use crate::execute::failure::{ActionFailure, bad_path};
use crate::execute::outcome::OutputEntry;
use crate::execute::schedule::Sink;
use crate::message::rustc::Message;
use crate::path::RelPath;
use crate::plan::graph::ActionKind;
use crate::store::{CaptureLimits, Store};

/// Reads a process's standard error. What rustc prints is passed on line by line, and its metadata is taken as soon as
/// it is announced; what a build script prints is only kept.
pub(super) struct ErrorReader<'a> {
    store: &'a Store,
    bound: &'a BoundAction<'a>,
    out: &'a Path,
    sink: &'a Sink,
    /// What is kept for the cache: everything but announcements.
    kept: Vec<u8>,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    announced: Option<(String, OutputEntry)>,
    failure: Option<ActionFailure>,
}

/// What came of reading a process's standard error.
pub(super) struct Heard {
    /// What is kept for the cache.
    pub(super) kept: Vec<u8>,
    /// The metadata that was announced and taken.
    pub(super) announced: Option<(String, OutputEntry)>,
}

/// Reading cannot go on; the reader knows why.
pub(super) struct GaveUp;

impl<'a> ErrorReader<'a> {
    pub(super) fn new(
        store: &'a Store,
        bound: &'a BoundAction<'a>,
        out: &'a Path,
        sink: &'a Sink,
    ) -> Self {
        Self {
            store,
            bound,
            out,
            sink,
            kept: Vec::new(),
            line: Vec::new(),
            announced: None,
            failure: None,
        }
    }

    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), GaveUp> {
        if self.bound.planned.kind == ActionKind::RunBuildScript {
            self.kept.extend_from_slice(bytes);
            return Ok(());
        }
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.line.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            if let Err(error) = self.take_line(&line) {
                self.failure = Some(error);
                return Err(GaveUp);
            }
        }
        self.line.extend_from_slice(rest);
        Ok(())
    }

    /// What was kept, and what was announced.
    pub(super) fn finish(mut self) -> Result<Heard, ActionFailure> {
        if self.failure.is_none() && !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.take_line(&line)?;
        }
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(Heard {
                kept: self.kept,
                announced: self.announced,
            }),
        }
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), ActionFailure> {
        if let Message::Artifact { path, emit } = Message::parse(line) {
            if emit == "metadata" {
                self.metadata(&path)?;
            }
            return Ok(());
        }
        self.sink.event(ActionEvent::Line(line.to_vec()));
        self.kept.extend_from_slice(line);
        self.kept.push(b'\n');
        Ok(())
    }

    fn metadata(&mut self, path: &str) -> Result<(), ActionFailure> {
        let Some(name) = self.bound.planned.metadata_file() else {
            return Ok(());
        };
        let declared = format!("{}/{name}", self.bound.planned.output_directory);
        if path != declared || self.announced.is_some() {
            return Ok(());
        }
        let relative = RelPath::new(name).map_err(bad_path)?;
        let (blob, executable) =
            self.store
                .capture_file(self.out, &relative, &CaptureLimits::default())?;
        let entry = OutputEntry { blob, executable };
        self.announced = Some((name.to_owned(), entry));
        self.sink.metadata(name, entry);
        Ok(())
    }
}
