//! The sparse protocol: which versions does a package have, and where is an archive?
//!
//! [`Client::summaries`] is for resolution: each name's file is revalidated with the server once per client, all names
//! of a call at the same time. [`Client::locked`] is for a build with a lock file: an entry of a published version
//! never changes in what matters to a build, so a cached file that has it is used without asking anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url, header};
use semver::Version;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::RegistryError;
use super::cache::{Cached, IndexCache, Validator};
use super::config::{
    PlainHttp, RegistryConfig, SchemePolicy, Token, index_path, index_url, is_registry_name, shown,
};
use super::entry::{self, Entry};
use super::http::{Failure, Lane, Network};
use super::listing::{self, PackageIndex};
use super::progress::{Event, Progress};
use crate::digest::{Claimed, Sha256};
use crate::package::{PackageName, SourceId, SourceKind, Summary, default_sparse_index};

/// The largest index file that is taken, bytes, decompressed.
const LARGEST_INDEX_FILE: u64 = 128 << 20;
/// The largest `config.json` that is taken, bytes.
const LARGEST_CONFIG: u64 = 1 << 20;
const CONFIG: &str = "config.json";

/// Which registry, and how it may be spoken to.
#[derive(Debug, Clone)]
pub struct Registry {
    /// The source that its packages have, as the lock names it.
    pub source: SourceId,
    /// The address of its sparse index, with or without `sparse+`. Differs from the source's where the user's
    /// configuration replaces the source by a mirror.
    pub index: String,
    /// What authorizes requests, if the registry wants that.
    pub token: Option<Token>,
    /// Where plain http is taken.
    pub plain_http: PlainHttp,
}

impl Registry {
    /// The registry that `source` names, at its own address; `None` if the source is no registry.
    pub fn of_source(source: &SourceId) -> Option<Self> {
        let index = match source.kind() {
            SourceKind::Registry {
                is_crates_io: true, ..
            } => default_sparse_index(),
            SourceKind::Registry { url, .. } => url.clone(),
            SourceKind::Path(_) | SourceKind::Git { .. } => return None,
        };
        Some(Self {
            source: source.clone(),
            index,
            token: None,
            plain_http: PlainHttp::default(),
        })
    }
}

/// Reads one registry.
#[derive(Debug)]
pub struct Client {
    network: Arc<Network>,
    registry: Registry,
    index: Url,
    policy: SchemePolicy,
    cache: IndexCache,
    known: BTreeMap<PackageName, Arc<PackageIndex>>,
    config: Option<RegistryConfig>,
    config_is_fresh: bool,
}

/// What one name's file turned out to be.
#[derive(Debug)]
enum Answer {
    Fetched(Validator, Vec<u8>),
    Unchanged,
    Missing,
}

/// What every request to a registry's index needs, shared by the tasks that send them.
#[derive(Debug)]
struct Asker {
    network: Arc<Network>,
    index: Url,
    policy: SchemePolicy,
    token: Option<Token>,
    events: mpsc::UnboundedSender<Event>,
}

impl Asker {
    /// Fetches the file at `path`, trying again while that may help.
    async fn ask(
        &self,
        path: &str,
        validator: Option<&Validator>,
        limit_bytes: u64,
    ) -> Result<Answer, RegistryError> {
        let mut url = self.index.clone();
        url.set_path(&format!("{}{path}", self.index.path()));
        let mut backoff = self.network.backoff();
        loop {
            let failure = match self.ask_once(&url, validator, limit_bytes).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let wait = failure
                .transient
                .then(|| backoff.wait(failure.retry_after))
                .flatten();
            let Some(wait) = wait else {
                return Err(failure.error);
            };
            // The receiver outlives the tasks; if it does not, nobody is there to be told.
            let _ = self.events.send(Event::Retrying {
                url: shown(&url),
                why: failure.error.to_string(),
                left: backoff.left(),
                wait,
            });
            tokio::time::sleep(wait).await;
        }
    }

    async fn ask_once(
        &self,
        url: &Url,
        validator: Option<&Validator>,
        limit_bytes: u64,
    ) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/plain"));
        headers.insert(
            HeaderName::from_static("cargo-protocol"),
            HeaderValue::from_static("version=1"),
        );
        let condition = match validator {
            Some(Validator::ETag(value)) => Some((header::IF_NONE_MATCH, value)),
            Some(Validator::LastModified(value)) => Some((header::IF_MODIFIED_SINCE, value)),
            Some(Validator::None) | None => None,
        };
        if let Some((name, value)) = condition
            && let Ok(value) = HeaderValue::from_str(value)
        {
            headers.insert(name, value);
        }
        let (response, last) = self
            .network
            .send(Lane::Index, self.policy, url, &headers, self.token.as_ref())
            .await?;
        match response.status() {
            StatusCode::OK => {
                let validator = validator_of(response.headers());
                let body = self
                    .network
                    .body(response, last, limit_bytes)
                    .collect()
                    .await?;
                Ok(Answer::Fetched(validator, body))
            }
            StatusCode::NOT_MODIFIED if validator.is_some() => Ok(Answer::Unchanged),
            StatusCode::NOT_MODIFIED => Err(Failure::from(RegistryError::NotModified {
                url: shown(url),
            })),
            StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => Ok(Answer::Missing),
            StatusCode::UNAUTHORIZED => Err(Failure::from(RegistryError::Unauthorized {
                registry: shown(&self.index),
                rejected: self.token.is_some(),
            })),
            _ => Err(self.network.status_failure(response, last).await),
        }
    }
}

fn validator_of(headers: &HeaderMap) -> Validator {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
            .map(str::to_owned)
    };
    if let Some(value) = text(header::ETAG) {
        Validator::ETag(value)
    } else if let Some(value) = text(header::LAST_MODIFIED) {
        Validator::LastModified(value)
    } else {
        Validator::None
    }
}

impl Client {
    /// A client of `registry` that keeps what it fetches beneath `cache_directory`. Nothing is read or sent yet.
    pub fn new(
        network: Arc<Network>,
        registry: Registry,
        cache_directory: &Path,
    ) -> Result<Self, RegistryError> {
        let index = index_url(&registry.index)?;
        let policy = SchemePolicy::of_index(&index, registry.plain_http)?;
        let cache = IndexCache::new(cache_directory, &index);
        Ok(Self {
            network,
            registry,
            index,
            policy,
            cache,
            known: BTreeMap::new(),
            config: None,
            config_is_fresh: false,
        })
    }

    /// The registry's index address, for messages.
    pub fn address(&self) -> String {
        shown(&self.index)
    }

    /// The source that its packages have.
    pub fn source(&self) -> &SourceId {
        &self.registry.source
    }

    pub(crate) fn network(&self) -> &Arc<Network> {
        &self.network
    }

    pub(crate) fn policy(&self) -> SchemePolicy {
        self.policy
    }

    /// All versions of each of `names`, as the registry states them now. A name that the registry does not have gives
    /// an empty [`PackageIndex`], which is no error: only who asked can tell what it means. Offline, what is cached
    /// counts, and names that are not cached are an error that lists them all.
    pub fn summaries(
        &mut self,
        names: &[PackageName],
        progress: &mut dyn Progress,
    ) -> Result<BTreeMap<PackageName, Arc<PackageIndex>>, RegistryError> {
        let unknown: BTreeSet<&PackageName> = names
            .iter()
            .filter(|name| !self.known.contains_key(*name))
            .collect();
        if !unknown.is_empty() {
            let files = if self.network.config().offline {
                self.load_offline(&unknown)?
            } else {
                self.fetch(&unknown, progress)?
            };
            let source = &self.registry.source;
            let parsed: Vec<_> = files
                .into_par_iter()
                .map(|(name, file)| {
                    let index = match file {
                        Some(cached) => PackageIndex::new(&cached, &name, source),
                        None => PackageIndex::default(),
                    };
                    (name, Arc::new(index))
                })
                .collect();
            self.known.extend(parsed);
        }
        Ok(names
            .iter()
            .filter_map(|name| Some((name.clone(), self.known.get(name)?.clone())))
            .collect())
    }

    /// The summary of each of `packages`, in their order. What the cache has is taken without asking the registry; the
    /// rest is fetched in one go. A package or version that the registry does not have is an error.
    pub fn locked(
        &mut self,
        packages: &[(PackageName, Version)],
        progress: &mut dyn Progress,
    ) -> Result<Vec<Summary>, RegistryError> {
        let cached = {
            let (cache, source) = (&self.cache, &self.registry.source);
            packages
                .par_iter()
                .map(|(name, version)| {
                    let file = Self::load(cache, name)?;
                    entry::find(file.body(), name, version, source)
                })
                .collect::<Vec<_>>()
        };
        let missing: BTreeSet<&PackageName> = packages
            .iter()
            .zip(&cached)
            .filter(|(_, entry)| !matches!(entry, Some(Entry::Usable { .. })))
            .map(|((name, _), _)| name)
            .collect();
        if !missing.is_empty() && self.network.config().offline {
            return Err(RegistryError::Offline {
                missing: packages
                    .iter()
                    .zip(&cached)
                    .filter(|(_, entry)| entry.is_none())
                    .map(|((name, version), _)| format!("index entry of {name} {version}"))
                    .collect(),
                registry: self.address(),
            });
        }
        let fetched: BTreeMap<PackageName, Option<Cached>> = if missing.is_empty() {
            BTreeMap::new()
        } else {
            self.fetch(&missing, progress)?.into_iter().collect()
        };
        let mut summaries = Vec::with_capacity(packages.len());
        for ((name, version), cached) in packages.iter().zip(cached) {
            let entry = match fetched.get(name) {
                None => cached,
                Some(None) => {
                    return Err(RegistryError::NoSuchPackage {
                        name: name.clone(),
                        registry: self.address(),
                        near: self.near_names(name, progress).unwrap_or_default(),
                    });
                }
                Some(Some(file)) => entry::find(file.body(), name, version, &self.registry.source),
            };
            match entry {
                Some(Entry::Usable { summary, .. }) => summaries.push(summary),
                unusable => {
                    return Err(RegistryError::NoSuchVersion {
                        name: name.clone(),
                        version: version.clone(),
                        registry: self.address(),
                        why: match unusable {
                            Some(Entry::Unusable(unusable)) => Some(unusable.why),
                            _ => None,
                        },
                    });
                }
            }
        }
        Ok(summaries)
    }

    /// Names of packages that the registry has and that differ from `name` in `-`, `_` and case only. For the message
    /// about a name that it does not have.
    pub fn near_names(
        &mut self,
        name: &PackageName,
        progress: &mut dyn Progress,
    ) -> Result<Vec<String>, RegistryError> {
        let mut candidates: BTreeSet<PackageName> = spellings(name.as_str())
            .iter()
            .filter_map(|spelling| PackageName::new(spelling).ok())
            .collect();
        candidates.insert(name.clone());
        let candidates: Vec<_> = candidates.into_iter().collect();
        let found = self.summaries(&candidates, progress)?;
        let mut near = BTreeSet::new();
        for (candidate, index) in found {
            if let Some(spelled) = &index.spelled {
                near.insert(spelled.clone());
            } else if index.exists && candidate != *name {
                near.insert(candidate.to_string());
            }
        }
        Ok(near.into_iter().collect())
    }

    /// Where the archive of a version is, and what authorizes fetching it. `checksum` enters the address where the
    /// registry's template says so. With `fresh` the registry's configuration is fetched again, if it was not already.
    pub(crate) fn download_address(
        &mut self,
        name: &PackageName,
        version: &Version,
        checksum: &Claimed<Sha256>,
        fresh: bool,
        progress: &mut dyn Progress,
    ) -> Result<(Url, Option<Token>), RegistryError> {
        let config = self.configuration(fresh, progress)?;
        let url = config.download_url(name, version, checksum)?;
        let auth_required = config.auth_required;
        self.policy.check(&url, None)?;
        if !auth_required {
            return Ok((url, None));
        }
        match &self.registry.token {
            Some(token) => Ok((url, Some(token.clone()))),
            None => Err(RegistryError::Unauthorized {
                registry: self.address(),
                rejected: false,
            }),
        }
    }

    fn configuration(
        &mut self,
        fresh: bool,
        progress: &mut dyn Progress,
    ) -> Result<&RegistryConfig, RegistryError> {
        let offline = self.network.config().offline;
        if self.config.is_none()
            && let Some(cached) = self.cache.load(CONFIG)
        {
            self.config = serde_json::from_slice(cached.body()).ok();
        }
        if (self.config.is_none() || fresh) && !self.config_is_fresh {
            if offline {
                if self.config.is_none() {
                    return Err(RegistryError::Offline {
                        missing: vec!["config.json of the registry".to_owned()],
                        registry: self.address(),
                    });
                }
            } else {
                self.fetch(&BTreeSet::new(), progress)?;
            }
        }
        self.config.as_ref().ok_or_else(|| RegistryError::Setting {
            what: "the registry's configuration",
            value: format!("{}{CONFIG}", self.address()),
            why: "the registry has none".to_owned(),
        })
    }

    fn load(cache: &IndexCache, name: &PackageName) -> Option<Cached> {
        is_registry_name(name.as_str())
            .then(|| cache.load(&index_path(name.as_str())))
            .flatten()
    }

    fn load_offline(
        &self,
        names: &BTreeSet<&PackageName>,
    ) -> Result<Vec<(PackageName, Option<Cached>)>, RegistryError> {
        let files: Vec<_> = names
            .par_iter()
            .map(|name| ((*name).clone(), Self::load(&self.cache, name)))
            .collect();
        let missing: Vec<String> = files
            .iter()
            .filter(|(_, file)| file.is_none())
            .map(|(name, _)| format!("index of {name}"))
            .collect();
        if missing.is_empty() {
            Ok(files)
        } else {
            Err(RegistryError::Offline {
                missing,
                registry: self.address(),
            })
        }
    }

    /// Asks the registry for the files of `names`, and for its configuration first if that was not done yet.
    fn fetch(
        &mut self,
        names: &BTreeSet<&PackageName>,
        progress: &mut dyn Progress,
    ) -> Result<Vec<(PackageName, Option<Cached>)>, RegistryError> {
        let network = self.network.clone();
        network.block_on(self.fetch_all(names, progress))
    }

    async fn fetch_all(
        &mut self,
        names: &BTreeSet<&PackageName>,
        progress: &mut dyn Progress,
    ) -> Result<Vec<(PackageName, Option<Cached>)>, RegistryError> {
        if !names.is_empty() {
            progress.event(Event::IndexStarted {
                registry: self.address(),
                names: names.len(),
            });
        }
        let (events, mut received) = mpsc::unbounded_channel();
        if !self.config_is_fresh {
            self.fetch_configuration(&events, progress, &mut received)
                .await?;
        }
        let asker = Arc::new(self.asker(events));
        let permits = Arc::new(Semaphore::new(
            self.network.config().index_concurrency.max(1),
        ));
        let mut tasks = JoinSet::new();
        let mut files = Vec::with_capacity(names.len());
        for name in names {
            if !is_registry_name(name.as_str()) {
                files.push(((*name).clone(), None));
                continue;
            }
            let (asker, permits, cache) = (asker.clone(), permits.clone(), self.cache.clone());
            let name = (*name).clone();
            tasks.spawn(async move {
                let _permit = permits.acquire().await;
                let path = index_path(name.as_str());
                let cached = cache.load(&path);
                let validator = cached.as_ref().map(|cached| &cached.validator);
                let answer = asker.ask(&path, validator, LARGEST_INDEX_FILE).await?;
                let unchanged = matches!(answer, Answer::Unchanged);
                let file = match answer {
                    // Beside the requests that are under way, since reading every line takes a while.
                    Answer::Fetched(validator, body) => {
                        let (cache, path) = (cache.clone(), path.clone());
                        let stored = tokio::task::spawn_blocking(move || {
                            let fetched = Cached::new(validator, &listing::table(&body), &body);
                            cache.store(&path, &fetched).map(|()| fetched)
                        });
                        match stored.await {
                            Ok(fetched) => Some(fetched?),
                            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                        }
                    }
                    Answer::Unchanged => cached,
                    Answer::Missing => {
                        cache.remove(&path);
                        None
                    }
                };
                let _ = asker.events.send(Event::IndexFetched {
                    name: name.clone(),
                    unchanged,
                });
                Ok::<_, RegistryError>((name, file))
            });
        }
        drop(asker);
        loop {
            tokio::select! {
                biased;
                Some(event) = received.recv() => progress.event(event),
                finished = tasks.join_next() => match finished {
                    None => break,
                    Some(Ok(result)) => files.push(result?),
                    Some(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
                },
            }
        }
        while let Ok(event) = received.try_recv() {
            progress.event(event);
        }
        files.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(files)
    }

    fn asker(&self, events: mpsc::UnboundedSender<Event>) -> Asker {
        Asker {
            network: self.network.clone(),
            index: self.index.clone(),
            policy: self.policy,
            token: self.registry.token.clone().filter(|_| {
                self.config
                    .as_ref()
                    .is_some_and(|known| known.auth_required)
            }),
            events,
        }
    }

    async fn fetch_configuration(
        &mut self,
        events: &mpsc::UnboundedSender<Event>,
        progress: &mut dyn Progress,
        received: &mut mpsc::UnboundedReceiver<Event>,
    ) -> Result<(), RegistryError> {
        let cached = self.cache.load(CONFIG);
        let validator = cached.as_ref().map(|cached| &cached.validator);
        let mut asker = self.asker(events.clone());
        if self.config.is_none()
            && let Some(cached) = &cached
        {
            self.config = serde_json::from_slice(cached.body()).ok();
            asker = self.asker(events.clone());
        }
        let mut answer = told(
            asker.ask(CONFIG, validator, LARGEST_CONFIG),
            progress,
            received,
        )
        .await;
        // Whether a token is wanted is known from the configuration only, which itself may want one.
        if let Err(RegistryError::Unauthorized {
            rejected: false, ..
        }) = answer
            && let Some(token) = &self.registry.token
        {
            asker.token = Some(token.clone());
            answer = told(
                asker.ask(CONFIG, validator, LARGEST_CONFIG),
                progress,
                received,
            )
            .await;
        }
        let answer = answer?;
        let parse = |body: &[u8]| {
            serde_json::from_slice::<RegistryConfig>(body).map_err(|source| {
                RegistryError::Configuration {
                    url: format!("{}{CONFIG}", self.address()),
                    source,
                }
            })
        };
        let config = match (answer, cached) {
            (Answer::Fetched(validator, body), _) => {
                let config = parse(&body)?;
                let fetched = Cached::new(validator, &[], &body);
                self.cache.store(CONFIG, &fetched)?;
                Some(config)
            }
            (Answer::Unchanged, Some(cached)) => Some(parse(cached.body())?),
            (Answer::Unchanged | Answer::Missing, _) => None,
        };
        if config.as_ref().is_some_and(|config| config.auth_required)
            && self.registry.token.is_none()
        {
            return Err(RegistryError::Unauthorized {
                registry: self.address(),
                rejected: false,
            });
        }
        self.config = config;
        self.config_is_fresh = true;
        Ok(())
    }
}

/// Awaits `asking` while its events are passed on.
async fn told<T>(
    asking: impl Future<Output = T>,
    progress: &mut dyn Progress,
    received: &mut mpsc::UnboundedReceiver<Event>,
) -> T {
    tokio::pin!(asking);
    loop {
        tokio::select! {
            biased;
            Some(event) = received.recv() => progress.event(event),
            done = &mut asking => return done,
        }
    }
}

/// Other spellings of `name`: each `-` and `_` one way and the other, a handful at most.
fn spellings(name: &str) -> Vec<String> {
    const MOST_SEPARATORS: u32 = 4;
    let places: Vec<usize> = name
        .bytes()
        .enumerate()
        .filter(|(_, byte)| matches!(byte, b'-' | b'_'))
        .map(|(place, _)| place)
        .take(MOST_SEPARATORS as usize)
        .collect();
    (0..1u32 << places.len())
        .map(|choice| {
            name.char_indices()
                .map(
                    |(at, c)| match places.iter().position(|place| *place == at) {
                        Some(bit) if choice >> bit & 1 == 1 => '_',
                        Some(_) => '-',
                        None => c,
                    },
                )
                .collect()
        })
        .filter(|spelling| spelling != name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_spellings() {
        assert_eq!(spellings("serde"), Vec::<String>::new());
        assert_eq!(spellings("serde-json"), ["serde_json"]);
        assert_eq!(spellings("a_b-c"), ["a-b-c", "a-b_c", "a_b_c"]);
    }

    #[test]
    fn a_registry_by_its_source() {
        let default = Registry::of_source(&SourceId::default_registry()).expect("a registry");
        assert_eq!(default.index, default_sparse_index());
        let path = SourceId::new(SourceKind::Path("/a".into()));
        assert!(Registry::of_source(&path).is_none());
    }
}
