//! HTTP as kiln speaks it: HTTPS with the roots it was told to trust, bounded, patient, and without surprises.
//!
//! Redirections are followed here and not by the library, because three things hold for each hop: it never leads from
//! https to http, its scheme is one the registry's own address allows, and a token goes to no other origin.
//!
//! The first request to an origin goes alone: once it has negotiated HTTP/2, the others share its connection instead
//! of opening one each.

use std::collections::HashMap;
use std::future::Future;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Certificate, Client, Response, StatusCode, Url};
use tokio::time::Instant;

use super::RegistryError;
use super::config::{SchemePolicy, Token, shown};
use super::proxy::Proxies;
use super::retry::{Backoff, retry_after};

/// How many redirections are followed.
const MOST_HOPS: usize = 10;

/// How much of an error's body is read for the message, bytes.
const EXCERPT_BYTES: usize = 300;

/// Which certificate authorities are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Roots {
    /// The system's.
    #[default]
    System,
    /// The system's, and those of these PEM files.
    SystemAnd(Vec<PathBuf>),
    /// Those of these PEM files and no others.
    Only(Vec<PathBuf>),
}

/// How to use the network; values that `cli` gathered from configuration and environment.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// Use nothing but what is cached.
    pub offline: bool,
    /// How long to wait for a connection or an answer, and over which time the speed is judged (`http.timeout`).
    pub timeout: Duration,
    /// Bytes a second below which a transfer counts as stalled (`http.low-speed-limit`).
    pub low_speed_bytes: u32,
    /// How often a request that failed in passing is tried again (`net.retry`).
    pub retries: u32,
    /// The first wait before trying again; it doubles each time.
    pub retry_base: Duration,
    /// How many index files are asked for at once.
    pub index_concurrency: usize,
    /// How many archives are transferred at once.
    pub download_concurrency: usize,
    /// Whether to use HTTP/2 where the server offers it (`http.multiplexing`).
    pub multiplexing: bool,
    /// Proxies.
    pub proxies: Proxies,
    /// Certificate authorities.
    pub roots: Roots,
    /// The value of `User-Agent`.
    pub user_agent: String,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            offline: false,
            timeout: Duration::from_secs(30),
            low_speed_bytes: 10,
            retries: 3,
            retry_base: Duration::from_millis(1000),
            index_concurrency: 48,
            download_concurrency: 24,
            multiplexing: true,
            proxies: Proxies::default(),
            roots: Roots::default(),
            user_agent: concat!("kiln/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// What a request is for: an index file may be compressed on its way, an archive is compressed already and its length
/// and ranges have to be those of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Index,
    Archive,
}

/// The network, set up when first used. One serves all registries; shared by [`Arc`].
#[derive(Debug)]
pub struct Network {
    config: NetworkConfig,
    runtime: tokio::runtime::Runtime,
    index: OnceLock<Client>,
    archive: OnceLock<Client>,
    /// Per origin, whether a request was sent to it.
    warm: Mutex<HashMap<String, Arc<tokio::sync::Mutex<bool>>>>,
}

impl Network {
    /// Prepares the runtime; nothing is sent, and no certificate is read, before something is fetched.
    pub fn new(config: NetworkConfig) -> Result<Self, RegistryError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|source| RegistryError::Setup {
                what: "the event loop".to_owned(),
                source: source.into(),
            })?;
        Ok(Self {
            config,
            runtime,
            index: OnceLock::new(),
            archive: OnceLock::new(),
            warm: Mutex::default(),
        })
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// Runs `future` to its end on this thread.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// A fresh count of tries.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.config.retries, self.config.retry_base)
    }

    fn client(&self, lane: Lane) -> Result<&Client, RegistryError> {
        let cell = match lane {
            Lane::Index => &self.index,
            Lane::Archive => &self.archive,
        };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let client = self.build_client(lane)?;
        Ok(cell.get_or_init(|| client))
    }

    fn build_client(&self, lane: Lane) -> Result<Client, RegistryError> {
        // Fails when a provider is installed already, which does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = &self.config;
        let mut builder = Client::builder()
            .user_agent(&config.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(config.timeout)
            .tcp_nodelay(true)
            .gzip(lane == Lane::Index)
            .no_proxy();
        if !config.multiplexing {
            builder = builder.http1_only();
        }
        for proxy in config.proxies.build()? {
            builder = builder.proxy(proxy);
        }
        builder = match &config.roots {
            Roots::System => builder,
            Roots::SystemAnd(files) => builder.tls_certs_merge(certificates(files)?),
            Roots::Only(files) => builder.tls_certs_only(certificates(files)?),
        };
        builder.build().map_err(|source| RegistryError::Setup {
            what: "TLS".to_owned(),
            source: source.into(),
        })
    }

    /// Sends one request, follows redirections, and returns once the headers of the answer are there.
    pub(crate) async fn send(
        &self,
        lane: Lane,
        policy: SchemePolicy,
        start: &Url,
        headers: &HeaderMap,
        token: Option<&Token>,
    ) -> Result<(Response, Url), Failure> {
        let client = self.client(lane)?;
        policy.check(start, None)?;
        let mut url = start.clone();
        for _ in 0..=MOST_HOPS {
            let mut request = client.get(url.clone()).headers(headers.clone());
            if let Some(token) = token.filter(|_| url.origin() == start.origin()) {
                request = request.header(AUTHORIZATION, token.header()?);
            }
            let response = self.send_alone_if_first(&url, request).await?;
            if !is_redirection(response.status()) {
                return Ok((response, url));
            }
            let next = response
                .headers()
                .get(LOCATION)
                .and_then(|location| std::str::from_utf8(location.as_bytes()).ok())
                .and_then(|location| url.join(location).ok())
                .ok_or_else(|| RegistryError::Redirect {
                    url: shown(&url),
                    why: "it does not say where to".to_owned(),
                })?;
            policy.check(&next, Some(&url))?;
            url = next;
        }
        Err(Failure::from(RegistryError::Redirect {
            url: shown(start),
            why: format!("more than {MOST_HOPS} follow one another"),
        }))
    }

    /// Sends `body` once; an answer that leads elsewhere is an error.
    pub(crate) async fn post(
        &self,
        policy: SchemePolicy,
        url: &Url,
        headers: &HeaderMap,
        token: Option<&Token>,
        body: Vec<u8>,
    ) -> Result<Response, Failure> {
        policy.check(url, None)?;
        let client = self.client(Lane::Archive)?;
        let mut request = client.post(url.clone()).headers(headers.clone()).body(body);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token.header()?);
        }
        let response = self.send_in_time(url, request).await?;
        if is_redirection(response.status()) {
            return Err(Failure::from(RegistryError::Redirect {
                url: shown(url),
                why: "what was sent would have to be sent elsewhere".to_owned(),
            }));
        }
        Ok(response)
    }

    async fn send_alone_if_first(
        &self,
        url: &Url,
        request: reqwest::RequestBuilder,
    ) -> Result<Response, Failure> {
        let gate = {
            let mut warm = self.warm.lock().unwrap_or_else(PoisonError::into_inner);
            warm.entry(url.origin().ascii_serialization())
                .or_default()
                .clone()
        };
        let mut is_warm = gate.lock().await;
        if *is_warm {
            drop(is_warm);
            return self.send_in_time(url, request).await;
        }
        let result = self.send_in_time(url, request).await;
        // Whatever came of it: where the first waits in vain, the others shall not queue up to do the same.
        *is_warm = true;
        result
    }

    async fn send_in_time(
        &self,
        url: &Url,
        request: reqwest::RequestBuilder,
    ) -> Result<Response, Failure> {
        match tokio::time::timeout(self.config.timeout, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(transport(url, "the request", error)),
            Err(_) => Err(self.stalled(url)),
        }
    }

    fn stalled(&self, url: &Url) -> Failure {
        Failure {
            error: RegistryError::Stalled {
                url: shown(url),
                seconds: self.config.timeout.as_secs(),
                limit_bytes: self.config.low_speed_bytes,
            },
            transient: true,
            retry_after: None,
        }
    }

    /// Reads the body of an answer, chunk by chunk, at most `limit_bytes` of it.
    pub(crate) fn body(&self, response: Response, url: Url, limit_bytes: u64) -> Body<&Self> {
        Body::new(self, response, url, limit_bytes)
    }

    /// The same, for whoever keeps the body longer than a borrow.
    pub(crate) fn shared_body(
        self: &Arc<Self>,
        response: Response,
        url: Url,
        limit_bytes: u64,
    ) -> Body<Arc<Self>> {
        Body::new(self.clone(), response, url, limit_bytes)
    }

    /// What an answer with an error status means.
    pub(crate) async fn status_failure(&self, response: Response, url: Url) -> Failure {
        let status = response.status();
        let asked = response
            .headers()
            .get(RETRY_AFTER)
            .filter(|_| matches!(status.as_u16(), 429 | 503))
            .and_then(|value| value.to_str().ok())
            .and_then(|value| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
                retry_after(value, i64::try_from(now.as_secs()).ok()?)
            });
        let shown = shown(&url);
        let mut excerpt = Vec::new();
        let mut body = self.body(response, url, u64::MAX);
        while excerpt.len() < EXCERPT_BYTES {
            match body.chunk().await {
                Ok(Some(chunk)) => excerpt.extend_from_slice(chunk.as_ref()),
                Ok(None) | Err(_) => break,
            }
        }
        excerpt.truncate(EXCERPT_BYTES);
        Failure {
            error: RegistryError::Status {
                url: shown,
                status: status.as_u16(),
                excerpt: printable(&String::from_utf8_lossy(&excerpt)),
            },
            transient: status.is_server_error()
                || matches!(
                    status,
                    StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
                ),
            retry_after: asked,
        }
    }
}

/// What is said by a peer is data: no escape sequences, no line breaks.
fn printable(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn is_redirection(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn certificates(files: &[PathBuf]) -> Result<Vec<Certificate>, RegistryError> {
    let mut all = Vec::new();
    for file in files {
        let fail = |source| RegistryError::Setup {
            what: format!("the certificates of `{}`", file.display()),
            source,
        };
        let pem = std::fs::read(file).map_err(|error| fail(error.into()))?;
        let found = Certificate::from_pem_bundle(&pem).map_err(|error| fail(error.into()))?;
        if found.is_empty() {
            return Err(fail("there is no certificate in it".into()));
        }
        all.extend(found);
    }
    Ok(all)
}

/// One failed try.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: RegistryError,
    /// Whether another try may do better.
    pub(crate) transient: bool,
    /// How long the server asks to wait.
    pub(crate) retry_after: Option<Duration>,
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self {
            error,
            transient: false,
            retry_after: None,
        }
    }
}

fn transport(url: &Url, step: &'static str, error: reqwest::Error) -> Failure {
    let url = shown(url);
    let source = error.without_url();
    if is_certificate_error(&source) {
        return Failure::from(RegistryError::Certificate { url, source });
    }
    Failure {
        transient: !source.is_builder(),
        error: RegistryError::Transport { url, step, source },
        retry_after: None,
    }
}

fn is_certificate_error(error: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return matches!(tls, rustls::Error::InvalidCertificate(_));
        }
        // The source of an I/O error is the source of what it wraps, not that itself.
        next = match error.downcast_ref::<std::io::Error>() {
            Some(error) => error
                .get_ref()
                .map(|inner| inner as &(dyn std::error::Error + 'static)),
            None => error.source(),
        };
    }
    false
}

/// The body of an answer while it arrives.
pub(crate) struct Body<N> {
    network: N,
    response: Response,
    url: Url,
    limit_bytes: u64,
    received_bytes: u64,
    window_end: Instant,
    window_bytes: u64,
}

impl<N: Deref<Target = Network>> Body<N> {
    fn new(network: N, response: Response, url: Url, limit_bytes: u64) -> Self {
        let window_end = Instant::now() + network.config.timeout;
        Self {
            network,
            response,
            url,
            limit_bytes,
            received_bytes: 0,
            window_end,
            window_bytes: 0,
        }
    }

    /// The next piece; `None` at the end. An end before the announced length is an error of the transport.
    pub(crate) async fn chunk(&mut self) -> Result<Option<impl AsRef<[u8]> + use<N>>, Failure> {
        let config = &self.network.config;
        let chunk = loop {
            match tokio::time::timeout_at(self.window_end, self.response.chunk()).await {
                Ok(Ok(chunk)) => break chunk,
                Ok(Err(error)) => return Err(transport(&self.url, "the transfer", error)),
                Err(_) => {
                    let enough = u64::from(config.low_speed_bytes)
                        .saturating_mul(config.timeout.as_secs())
                        .max(1);
                    if self.window_bytes < enough {
                        return Err(self.network.stalled(&self.url));
                    }
                    self.window_end = Instant::now() + config.timeout;
                    self.window_bytes = 0;
                }
            }
        };
        let Some(chunk) = chunk else {
            return Ok(None);
        };
        let bytes = chunk.len() as u64;
        self.window_bytes += bytes;
        self.received_bytes += bytes;
        if self.received_bytes > self.limit_bytes {
            return Err(Failure::from(RegistryError::TooLarge {
                url: shown(&self.url),
                limit_bytes: self.limit_bytes,
            }));
        }
        Ok(Some(chunk))
    }

    /// All of it.
    pub(crate) async fn collect(mut self) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            all.extend_from_slice(chunk.as_ref());
        }
        Ok(all)
    }
}
