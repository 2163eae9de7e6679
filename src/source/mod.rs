//! From a locked package to its unpacked source: archive, checked bytes, unpacked in confinement, stored tree.
//!
//! ```text
//! <home>/archives/<sha256>.crate   archives as downloaded; kept for bundles and replays
//!                 <sha256>.part    one that is not complete yet; a later run goes on with it
//! <home>/crates/<sha256>           the digest of the tree that the archive unpacks to, so that nothing is unpacked twice
//! ```
//! An archive's SHA-256 is a claim of the lock file and of the index until its bytes were hashed here; nothing is
//! unpacked before that, and what unpacks is a process that can write nowhere but into the directory it fills.

mod archive;
mod confine;
mod error;
pub mod git;
mod registries;
pub mod unpack;
mod worker;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::digest::{Claimed, Sha256};
use crate::package::{PackageId, SourceId};
use crate::registry::{Client, Event, Network, Progress};
use crate::store::{CaptureLimits, Store};
use crate::tree::TreeRef;

use archive::{Archives, Download, DownloadError};
pub use confine::{ConfineError, confine_to};
pub use error::{Claimant, SourceError};
pub use registries::Registries;
use worker::Report;
pub use worker::{Worker, run_worker};

/// One package of a registry whose source is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The package.
    pub id: PackageId,
    /// What the lock file states, and where in it (such as `Cargo.lock:412`).
    pub locked: Option<(Claimed<Sha256>, String)>,
    /// What the registry's index states.
    pub indexed: Option<Claimed<Sha256>>,
}

impl Wanted {
    /// The digest that all claimants agree on, and the one to name if the bytes do not match.
    fn expected(&self) -> Result<(Sha256, Claimant), SourceError> {
        match (&self.locked, &self.indexed) {
            (Some((Claimed(lock), place)), Some(Claimed(index))) if lock != index => {
                Err(SourceError::ClaimsDisagree {
                    id: self.id.clone(),
                    lock_place: place.clone(),
                    lock: *lock,
                    index: *index,
                })
            }
            (Some((Claimed(lock), place)), _) => Ok((*lock, Claimant::Lock(place.clone()))),
            (None, Some(Claimed(index))) => Ok((*index, Claimant::Index)),
            (None, None) => Err(SourceError::NoChecksum {
                id: self.id.clone(),
            }),
        }
    }
}

/// A package's source in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The package.
    pub id: PackageId,
    /// The archive's digest: no claim any more.
    pub sha256: Sha256,
    /// The unpacked tree.
    pub tree: TreeRef,
}

/// Fetches and unpacks the sources of registry packages.
#[derive(Clone)]
pub struct Sources {
    home: PathBuf,
    archives: Archives,
    worker: Worker,
    store: Arc<Store>,
}

/// A wanted package that is not in the store yet.
struct Job {
    place: usize,
    wanted: Wanted,
    sha256: Sha256,
    claimant: Claimant,
}

impl Sources {
    /// Sources kept in the home of `store`; `worker` unpacks.
    pub fn new(store: Arc<Store>, worker: Worker) -> Self {
        let home = store.home().to_owned();
        Self {
            archives: Archives::new(&home),
            home,
            worker,
            store,
        }
    }

    /// Where the archive with that digest is, if it was downloaded and not removed since.
    pub fn archive(&self, sha256: &Sha256) -> Option<PathBuf> {
        Some(self.archives.path(sha256)).filter(|path| path.is_file())
    }

    /// Takes the archive of `wanted` from `path`, a file of the user's, if its bytes are what is claimed and it is not
    /// there already.
    pub fn admit(&self, wanted: &Wanted, path: &Path) -> Result<(), SourceError> {
        let (sha256, claimant) = wanted.expected()?;
        self.archives.admit(&wanted.id, &sha256, claimant, path)
    }

    /// The trees of all of `wanted`, in their order, as `clients` (by source) and the files kept earlier provide them.
    /// The first failure ends it; what was fetched until then is kept.
    pub fn fetch(
        &self,
        clients: &mut BTreeMap<SourceId, Client>,
        wanted: &[Wanted],
        progress: &mut dyn Progress,
    ) -> Result<Vec<Fetched>, SourceError> {
        let network = clients
            .values()
            .next()
            .map(|client| client.network().clone());
        self.fetch_through(network, clients, wanted, progress)
    }

    /// The same through `network`, so that archives that are there can be unpacked although there is no client.
    pub fn fetch_through(
        &self,
        network: Option<Arc<Network>>,
        clients: &mut BTreeMap<SourceId, Client>,
        wanted: &[Wanted],
        progress: &mut dyn Progress,
    ) -> Result<Vec<Fetched>, SourceError> {
        let mut fetched: Vec<Option<Fetched>> = vec![None; wanted.len()];
        let mut jobs = Vec::new();
        let expected = wanted
            .iter()
            .map(Wanted::expected)
            .collect::<Result<Vec<_>, _>>()?;
        let recorded: Vec<_> = expected
            .par_iter()
            .map(|(sha256, _)| self.recorded(sha256))
            .collect();
        let known = expected.into_iter().zip(recorded);
        for (place, (each, ((sha256, claimant), recorded))) in wanted.iter().zip(known).enumerate()
        {
            match recorded {
                Some(tree) => {
                    fetched[place] = Some(Fetched {
                        id: each.id.clone(),
                        sha256,
                        tree,
                    });
                }
                None => jobs.push(Job {
                    place,
                    wanted: each.clone(),
                    sha256,
                    claimant,
                }),
            }
        }
        if !jobs.is_empty() {
            self.work(network, clients, jobs, &mut fetched, progress)?;
        }
        Ok(fetched.into_iter().flatten().collect())
    }

    fn work(
        &self,
        network: Option<Arc<Network>>,
        clients: &mut BTreeMap<SourceId, Client>,
        jobs: Vec<Job>,
        fetched: &mut [Option<Fetched>],
        progress: &mut dyn Progress,
    ) -> Result<(), SourceError> {
        let Some(network) = network else {
            let id = jobs[0].wanted.id.clone();
            return Err(SourceError::NoRegistry { id });
        };
        let (present, absent): (Vec<_>, Vec<_>) = jobs
            .into_iter()
            .partition(|job| self.archives.path(&job.sha256).is_file());
        if network.config().offline && !absent.is_empty() {
            return Err(SourceError::Offline {
                missing: absent.into_iter().map(|job| job.wanted.id).collect(),
            });
        }
        let mut batch: Vec<(Job, Option<Download>)> =
            present.into_iter().map(|job| (job, None)).collect();
        for job in absent {
            let download = address(clients, &job, false, progress)?;
            batch.push((job, Some(download)));
        }
        // A registry may have moved its archives since its configuration was cached, and a kept archive may turn out to
        // be damaged; in both cases the second round does better.
        let again = network.block_on(self.round(&network, batch, fetched, progress))?;
        let mut batch = Vec::new();
        for (job, failed) in again {
            if network.config().offline {
                return Err(SourceError::Offline {
                    missing: vec![job.wanted.id],
                });
            }
            let download = address(clients, &job, failed.is_some(), progress)?;
            match failed {
                Some((url, error)) if url == download.url => return Err(error),
                _ => batch.push((job, Some(download))),
            }
        }
        let again = network.block_on(self.round(&network, batch, fetched, progress))?;
        match again.into_iter().next() {
            None => Ok(()),
            Some((_, Some((_, error)))) => Err(error),
            Some((job, None)) => Err(SourceError::Damaged {
                id: job.wanted.id,
                why: "its file changed right after it was checked".to_owned(),
            }),
        }
    }

    /// Downloads and unpacks all of `batch` at the same time. Gives back the jobs whose archive was not at its address
    /// (with the address and the error), or was kept and damaged.
    async fn round(
        &self,
        network: &Arc<Network>,
        batch: Vec<(Job, Option<Download>)>,
        fetched: &mut [Option<Fetched>],
        progress: &mut dyn Progress,
    ) -> Result<Vec<(Job, Option<(reqwest::Url, SourceError)>)>, SourceError> {
        let downloads = Arc::new(Semaphore::new(network.config().download_concurrency.max(1)));
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let unpackers = Arc::new(Semaphore::new(processors));
        let (events, mut received) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for (job, download) in batch {
            let (downloads, unpackers) = (downloads.clone(), unpackers.clone());
            let (network, events, sources) = (network.clone(), events.clone(), self.clone());
            tasks.spawn(async move {
                if let Some(download) = download {
                    // Nobody closes the semaphores, so that both always give a permit.
                    let _permit = downloads.acquire().await;
                    let done =
                        archive::download(&network, &sources.archives, &download, &events).await;
                    match done {
                        Ok(()) => {}
                        Err(DownloadError::NotThere(error)) => {
                            return Ok((job, Err(Some((download.url, error)))));
                        }
                        Err(DownloadError::Failed(error)) => return Err(error),
                    }
                }
                let _permit = unpackers.acquire().await;
                let (id, sha256) = (job.wanted.id.clone(), job.sha256);
                let unpacking =
                    tokio::task::spawn_blocking(move || sources.unpack_and_store(&id, &sha256));
                let tree = match unpacking.await {
                    Ok(tree) => tree?,
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                };
                let _ = events.send(Event::Unpacked {
                    id: job.wanted.id.clone(),
                });
                Ok((job, tree.ok_or(None)))
            });
        }
        drop(events);
        let mut again = Vec::new();
        loop {
            tokio::select! {
                biased;
                Some(event) = received.recv() => progress.event(event),
                finished = tasks.join_next() => match finished {
                    None => break,
                    Some(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
                    Some(Ok(result)) => match result? {
                        (job, Ok(tree)) => {
                            fetched[job.place] = Some(Fetched {
                                id: job.wanted.id,
                                sha256: job.sha256,
                                tree,
                            });
                        }
                        (job, Err(why)) => again.push((job, why)),
                    },
                },
            }
        }
        again.sort_by_key(|(job, _)| job.place);
        Ok(again)
    }

    /// Unpacks a kept archive and hands it to the store; `None` if there is no sound archive.
    fn unpack_and_store(
        &self,
        id: &PackageId,
        sha256: &Sha256,
    ) -> Result<Option<TreeRef>, SourceError> {
        let Some((archive, size_bytes)) = self.archives.open(sha256)? else {
            return Ok(None);
        };
        let id = || id.clone();
        let stored = |source| SourceError::Store { id: id(), source };
        let scratch = self.store.work_dir().map_err(stored)?;
        let destination = scratch.path().join("tree");
        let fail = |what, path: &Path| {
            let path = path.to_owned();
            move |source| SourceError::Io { what, path, source }
        };
        std::fs::create_dir(&destination).map_err(fail("create the directory", &destination))?;
        let prefix = format!("{}-{}", id().name(), id().version());
        let report = self
            .worker
            .unpack(archive, size_bytes, &prefix, &destination)
            .map_err(fail("run the unpacker", &self.worker.program))?;
        match report {
            Report::Done { .. } => {}
            Report::Refused { entry, why } => {
                return Err(SourceError::Refused {
                    id: id(),
                    entry,
                    why,
                });
            }
            Report::Damaged { why } => return Err(SourceError::Damaged { id: id(), why }),
            Report::Failed { why } => return Err(SourceError::Worker { id: id(), why }),
        }
        let tree = self
            .store
            .adopt_tree(&destination, &CaptureLimits::default())
            .map_err(stored)?;
        self.record(sha256, &tree)?;
        Ok(Some(tree))
    }

    fn record_path(&self, sha256: &Sha256) -> PathBuf {
        self.home.join("crates").join(sha256.to_hex())
    }

    /// The tree that the archive is known to unpack to, if the store still has it whole.
    fn recorded(&self, sha256: &Sha256) -> Option<TreeRef> {
        let text = std::fs::read_to_string(self.record_path(sha256)).ok()?;
        let (digest, size_bytes) = text.strip_suffix('\n')?.split_once(' ')?;
        let tree = TreeRef {
            digest: digest.parse().ok()?,
            size_bytes: size_bytes.parse().ok()?,
        };
        // What is damaged is discarded by that, and made again from the archive.
        self.store.materialize(&tree).is_ok().then_some(tree)
    }

    fn record(&self, sha256: &Sha256, tree: &TreeRef) -> Result<(), SourceError> {
        let path = self.record_path(sha256);
        let write = || -> std::io::Result<()> {
            let parent = path.parent().unwrap_or(&self.home);
            std::fs::create_dir_all(parent)?;
            let mut file = tempfile::NamedTempFile::new_in(parent)?;
            writeln!(file, "{} {}", tree.digest, tree.size_bytes)?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(|source| SourceError::Io {
            what: "write",
            path: path.clone(),
            source,
        })
    }
}

fn address(
    clients: &mut BTreeMap<SourceId, Client>,
    job: &Job,
    fresh: bool,
    progress: &mut dyn Progress,
) -> Result<Download, SourceError> {
    let id = &job.wanted.id;
    let client = clients
        .get_mut(id.source())
        .ok_or_else(|| SourceError::NoRegistry { id: id.clone() })?;
    let (url, token) = client
        .download_address(
            id.name(),
            id.version(),
            &Claimed(job.sha256),
            fresh,
            progress,
        )
        .map_err(|source| SourceError::Download {
            id: id.clone(),
            source,
        })?;
    Ok(Download {
        id: id.clone(),
        sha256: job.sha256,
        claimant: job.claimant.clone(),
        url,
        token,
        policy: client.policy(),
    })
}
