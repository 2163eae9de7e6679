//! What is under way, told to whoever shows it. Nothing here prints.

use std::time::Duration;

use crate::package::{PackageId, PackageName};

/// Something that happened while fetching.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Index files of so many names are about to be asked for.
    IndexStarted {
        /// The registry's index address.
        registry: String,
        /// How many names.
        names: usize,
    },
    /// The index file of a name is known.
    IndexFetched {
        /// The name.
        name: PackageName,
        /// Whether the server confirmed the cached copy (304).
        unchanged: bool,
    },
    /// Something failed in passing and will be tried again.
    Retrying {
        /// The address.
        url: String,
        /// Why.
        why: String,
        /// How many tries are left.
        left: u32,
        /// How long until the next one.
        wait: Duration,
    },
    /// An archive's transfer starts, or goes on where an earlier one stopped.
    DownloadStarted {
        /// The package.
        id: PackageId,
        /// Bytes that are there already.
        resumed_bytes: u64,
        /// The whole size in bytes, where the server told it.
        total_bytes: Option<u64>,
    },
    /// More of an archive is there.
    DownloadProgress {
        /// The package.
        id: PackageId,
        /// Bytes received since the last such event.
        bytes: u64,
    },
    /// An archive is complete and its SHA-256 is the expected one.
    DownloadFinished {
        /// The package.
        id: PackageId,
        /// Its size in bytes.
        bytes: u64,
    },
    /// A crate is unpacked and in the store.
    Unpacked {
        /// The package.
        id: PackageId,
    },
}

/// Receives events, on the thread that called the operation.
pub trait Progress {
    /// Something happened.
    fn event(&mut self, event: Event);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn event(&mut self, _event: Event) {}
}

impl<F: FnMut(Event)> Progress for F {
    fn event(&mut self, event: Event) {
        self(event);
    }
}
