//! git's requests over kiln's own HTTP: the same certificates, proxies, time limits and rules about addresses as for
//! registries.
//!
//! A request is sent once its answer is asked for, since by then its body is complete; so one that failed in passing
//! can be sent again.

use std::io::{self, BufRead, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, StatusCode, Url};

use crate::registry::{Body, Failure, Lane, Network, RegistryError, SchemePolicy, Token, shown};

/// The most that one answer may hold, bytes.
const LARGEST_ANSWER: u64 = 16 << 30;

/// See the module.
pub(super) struct Requests {
    network: Arc<Network>,
    policy: SchemePolicy,
    base: Option<String>,
    /// The first error of a request, in full; what git's library makes of it is a text.
    failed: Failed,
}

/// The error that ended a request.
#[derive(Clone, Default)]
pub(super) struct Failed(Arc<Mutex<Option<RegistryError>>>);

impl Failed {
    fn set(&self, error: RegistryError) -> io::Error {
        let text = error.to_string();
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
        io::Error::other(text)
    }

    /// Takes the error out.
    pub(super) fn take(&self) -> Option<RegistryError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Requests {
    pub(super) fn new(network: Arc<Network>, policy: SchemePolicy) -> (Self, Failed) {
        let failed = Failed::default();
        let requests = Self {
            network,
            policy,
            base: None,
            failed: failed.clone(),
        };
        (requests, failed)
    }

    fn request(
        &self,
        url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        body: Option<Vec<u8>>,
    ) -> io::Result<Request> {
        let url = Url::parse(url).map_err(|error| {
            self.failed.set(RegistryError::Setting {
                what: "the address of a git repository",
                value: String::new(),
                why: error.to_string(),
            })
        })?;
        let (headers, token) = header_map(headers);
        Ok(Request {
            network: self.network.clone(),
            policy: self.policy,
            url,
            headers,
            token,
            body,
            failed: self.failed.clone(),
        })
    }
}

fn header_map(lines: impl IntoIterator<Item = impl AsRef<str>>) -> (HeaderMap, Option<Token>) {
    let mut headers = HeaderMap::new();
    let mut token = None;
    for line in lines {
        let Some((name, value)) = line.as_ref().split_once(':') else {
            continue;
        };
        let value = value.trim();
        let (Ok(name), Ok(header)) = (
            HeaderName::try_from(name.trim()),
            HeaderValue::from_str(value),
        ) else {
            continue;
        };
        if name == AUTHORIZATION {
            token = Some(Token::new(value));
        } else if name != reqwest::header::USER_AGENT {
            headers.insert(name, header);
        }
    }
    // git's servers tell its clients apart by this; some answer nobody else.
    headers.insert(
        reqwest::header::USER_AGENT,
        HeaderValue::from_static(concat!("git/2.0 (kiln ", env!("CARGO_PKG_VERSION"), ")")),
    );
    (headers, token)
}

struct Request {
    network: Arc<Network>,
    policy: SchemePolicy,
    url: Url,
    headers: HeaderMap,
    token: Option<Token>,
    body: Option<Vec<u8>>,
    failed: Failed,
}

impl Request {
    /// Sends it, again where that may help, and gives the answer and the address that it came from.
    fn send(&self) -> io::Result<(Response, Url)> {
        let mut backoff = self.network.backoff();
        loop {
            let failure = match self.network.block_on(self.send_once()) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let wait = failure
                .transient
                .then(|| backoff.wait(failure.retry_after))
                .flatten();
            let Some(wait) = wait else {
                return Err(self.failed.set(failure.error));
            };
            std::thread::sleep(wait);
        }
    }

    async fn send_once(&self) -> Result<(Response, Url), Failure> {
        let token = self.token.as_ref();
        let (response, url) = match &self.body {
            None => {
                self.network
                    .send(Lane::Index, self.policy, &self.url, &self.headers, token)
                    .await?
            }
            Some(body) => {
                let response = self
                    .network
                    .post(self.policy, &self.url, &self.headers, token, body.clone())
                    .await?;
                (response, self.url.clone())
            }
        };
        match response.status() {
            StatusCode::OK => Ok((response, url)),
            StatusCode::UNAUTHORIZED => Err(Failure::from(RegistryError::Unauthorized {
                registry: shown(&self.url),
                rejected: token.is_some(),
            })),
            _ => Err(self.network.status_failure(response, url).await),
        }
    }
}

impl Http for Requests {
    type Headers = Answer;
    type ResponseBody = Answer;
    type PostBody = Upload;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::error::Result<GetResponse<Self::Headers, Self::ResponseBody>> {
        let request = self
            .request(url, headers, None)
            .map_err(gix::Error::from_error)?;
        let (response, last) = request.send().map_err(gix::Error::from_error)?;
        let tail = url.strip_prefix(base_url).unwrap_or_default();
        if last.as_str() != url
            && let Some(base) = last.as_str().strip_suffix(tail)
        {
            self.base = Some(base.to_owned());
        }
        let headers = Answer::text(content_type(&response));
        let body = Answer::body(&request, response, last);
        Ok(GetResponse { headers, body })
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix::error::Result<PostResponse<Self::Headers, Self::ResponseBody, Self::PostBody>> {
        let request = self
            .request(url, headers, Some(Vec::new()))
            .map_err(gix::Error::from_error)?;
        let exchange = Arc::new(Mutex::new(Exchange::Collecting(Box::new(request))));
        Ok(PostResponse {
            post_body: Upload(exchange.clone()),
            headers: Answer(State::Headers(exchange.clone())),
            body: Answer(State::Waiting(exchange)),
        })
    }

    fn configure(&mut self, _config: &dyn std::any::Any) -> gix::error::Result<()> {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.base.clone()
    }
}

fn content_type(response: &Response) -> String {
    let value = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    format!("content-type: {value}\n")
}

/// A request whose body is being written, then its answer.
enum Exchange {
    Collecting(Box<Request>),
    Answered {
        headers: String,
        body: Option<Box<Arriving>>,
    },
    Failed,
}

impl Exchange {
    fn complete(&mut self) -> io::Result<(&str, &mut Option<Box<Arriving>>)> {
        if let Self::Collecting(request) = self {
            match request.send() {
                Ok((response, url)) => {
                    let headers = content_type(&response);
                    let body = Some(Box::new(Arriving::new(request, response, url)));
                    *self = Self::Answered { headers, body };
                }
                Err(error) => {
                    *self = Self::Failed;
                    return Err(error);
                }
            }
        }
        match self {
            Self::Answered { headers, body } => Ok((headers, body)),
            Self::Collecting(_) | Self::Failed => {
                Err(io::Error::other("the request failed before"))
            }
        }
    }
}

/// Collects what is to be sent.
pub(super) struct Upload(Arc<Mutex<Exchange>>);

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Exchange::Collecting(request) => {
                request
                    .body
                    .get_or_insert_default()
                    .extend_from_slice(bytes);
                Ok(bytes.len())
            }
            _ => Err(io::Error::other("the request was sent already")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A body that arrives.
struct Arriving {
    network: Arc<Network>,
    body: Body<Arc<Network>>,
    chunk: Vec<u8>,
    read: usize,
    failed: Failed,
}

impl Arriving {
    fn new(request: &Request, response: Response, url: Url) -> Self {
        Self {
            network: request.network.clone(),
            body: request.network.shared_body(response, url, LARGEST_ANSWER),
            chunk: Vec::new(),
            read: 0,
            failed: request.failed.clone(),
        }
    }

    fn fill(&mut self) -> io::Result<&[u8]> {
        while self.read == self.chunk.len() {
            match self.network.block_on(self.body.chunk()) {
                Ok(Some(chunk)) => {
                    self.chunk.clear();
                    self.chunk.extend_from_slice(chunk.as_ref());
                    self.read = 0;
                }
                Ok(None) => break,
                Err(failure) => return Err(self.failed.set(failure.error)),
            }
        }
        Ok(&self.chunk[self.read..])
    }
}

/// Headers or a body, to be read.
pub(super) struct Answer(State);

enum State {
    Text(io::Cursor<Vec<u8>>),
    Headers(Arc<Mutex<Exchange>>),
    Waiting(Arc<Mutex<Exchange>>),
    Body(Box<Arriving>),
}

impl Answer {
    fn text(text: String) -> Self {
        Self(State::Text(io::Cursor::new(text.into_bytes())))
    }

    fn body(request: &Request, response: Response, url: Url) -> Self {
        Self(State::Body(Box::new(Arriving::new(request, response, url))))
    }
}

impl BufRead for Answer {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let next = match &self.0 {
            State::Headers(exchange) => {
                let mut exchange = exchange.lock().unwrap_or_else(PoisonError::into_inner);
                let (headers, _) = exchange.complete()?;
                Some(State::Text(io::Cursor::new(headers.as_bytes().to_vec())))
            }
            State::Waiting(exchange) => {
                let mut exchange = exchange.lock().unwrap_or_else(PoisonError::into_inner);
                let (_, body) = exchange.complete()?;
                Some(match body.take() {
                    Some(body) => State::Body(body),
                    None => State::Text(io::Cursor::default()),
                })
            }
            State::Text(_) | State::Body(_) => None,
        };
        if let Some(next) = next {
            self.0 = next;
        }
        match &mut self.0 {
            State::Text(text) => text.fill_buf(),
            State::Body(body) => body.fill(),
            State::Headers(_) | State::Waiting(_) => Ok(&[]),
        }
    }

    fn consume(&mut self, amount: usize) {
        match &mut self.0 {
            State::Text(text) => text.consume(amount),
            State::Body(body) => body.read = (body.read + amount).min(body.chunk.len()),
            State::Headers(_) | State::Waiting(_) => {}
        }
    }
}

impl Read for Answer {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let amount = available.len().min(into.len());
        into[..amount].copy_from_slice(&available[..amount]);
        self.consume(amount);
        Ok(amount)
    }
}
