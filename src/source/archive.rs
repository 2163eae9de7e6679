//! The archives on disk, named by their SHA-256, and how they get there: a transfer goes on where an earlier one
//! stopped, and a file takes its final name only once its bytes are what was claimed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{StatusCode, Url};
use sha2::Digest as _;
use tokio::sync::mpsc::UnboundedSender;

use super::error::{Claimant, SourceError};
use crate::digest::Sha256;
use crate::package::PackageId;
use crate::registry::{Event, Failure, Lane, Network, RegistryError, SchemePolicy, Token, shown};

/// The largest archive that is taken, bytes. The default registry's own limit is far below.
const LARGEST_ARCHIVE: u64 = 1 << 30;

/// `<home>/archives`.
#[derive(Debug, Clone)]
pub(crate) struct Archives {
    directory: PathBuf,
}

impl Archives {
    pub(crate) fn new(home: &Path) -> Self {
        Self {
            directory: home.join("archives"),
        }
    }

    /// Where the archive with that digest is, or would be.
    pub(crate) fn path(&self, sha256: &Sha256) -> PathBuf {
        self.directory.join(format!("{sha256}.crate"))
    }

    fn partial_path(&self, sha256: &Sha256) -> PathBuf {
        self.directory.join(format!("{sha256}.part"))
    }

    /// The archive with that digest, opened at its start, and its size, if it is there and hashes to that; a damaged
    /// one is discarded.
    pub(crate) fn open(&self, sha256: &Sha256) -> Result<Option<(File, u64)>, SourceError> {
        let path = self.path(sha256);
        let fail = |what| {
            let path = path.clone();
            move |source| SourceError::Io { what, path, source }
        };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail("open")(error)),
        };
        let mut hasher = sha2::Sha256::new();
        let size = hash_rest(&mut file, &mut hasher).map_err(fail("read"))?;
        if hasher.finalize().as_slice() != sha256.as_bytes() {
            // Another process may have put a good one in its place by now; losing that one costs a download.
            std::fs::remove_file(&path).map_err(fail("discard the damaged"))?;
            return Ok(None);
        }
        file.seek(SeekFrom::Start(0)).map_err(fail("read"))?;
        Ok(Some((file, size)))
    }
}

impl Archives {
    /// Copies the file at `from` to its place, if it hashes to `sha256`; nothing is done if one is there.
    pub(crate) fn admit(
        &self,
        id: &PackageId,
        sha256: &Sha256,
        claimant: Claimant,
        from: &Path,
    ) -> Result<(), SourceError> {
        let path = self.path(sha256);
        if path.is_file() {
            return Ok(());
        }
        let fail = |what, path: &Path| {
            let path = path.to_owned();
            move |source| SourceError::Io { what, path, source }
        };
        let mut file = File::open(from).map_err(fail("open", from))?;
        let length = file.metadata().map_err(fail("read", from))?.len();
        if length > LARGEST_ARCHIVE {
            return Err(SourceError::Damaged {
                id: id.clone(),
                why: format!("it has more than {LARGEST_ARCHIVE} bytes"),
            });
        }
        std::fs::create_dir_all(&self.directory)
            .map_err(fail("create the directory", &self.directory))?;
        let mut copy = tempfile::NamedTempFile::new_in(&self.directory)
            .map_err(fail("write in", &self.directory))?;
        std::io::copy(&mut file, &mut copy).map_err(fail("copy", from))?;
        // The copy is hashed, not what it was made from, which may change meanwhile.
        let mut hasher = sha2::Sha256::new();
        copy.seek(SeekFrom::Start(0)).map_err(fail("read", from))?;
        hash_rest(copy.as_file_mut(), &mut hasher).map_err(fail("read", from))?;
        let received = Sha256::from_bytes(hasher.finalize().into());
        if received != *sha256 {
            return Err(SourceError::Checksum {
                id: id.clone(),
                claimant,
                expected: *sha256,
                received,
                url: from.display().to_string(),
            });
        }
        copy.persist(&path)
            .map(drop)
            .map_err(|error| fail("write", &path)(error.error))
    }
}

/// One archive to download.
#[derive(Debug, Clone)]
pub(crate) struct Download {
    pub(crate) id: PackageId,
    pub(crate) sha256: Sha256,
    pub(crate) claimant: Claimant,
    pub(crate) url: Url,
    pub(crate) token: Option<Token>,
    pub(crate) policy: SchemePolicy,
}

/// Why a download failed, in the two ways that matter: the archive is not at that address, or anything else.
#[derive(Debug)]
pub(crate) enum DownloadError {
    NotThere(SourceError),
    Failed(SourceError),
}

impl From<SourceError> for DownloadError {
    fn from(error: SourceError) -> Self {
        Self::Failed(error)
    }
}

/// The file that a transfer fills, and the digest of what is in it so far.
struct Partial {
    file: File,
    path: PathBuf,
    hasher: sha2::Sha256,
    length: u64,
    /// Whether some of it is from an earlier transfer, so that a wrong digest may be that one's fault.
    inherited: bool,
    /// Whether a later run may go on with the file.
    is_shared: bool,
}

impl Partial {
    /// Opens the shared partial file if no other process fills it at the moment, else one of our own.
    fn open(archives: &Archives, sha256: &Sha256) -> Result<Self, SourceError> {
        let directory = &archives.directory;
        std::fs::create_dir_all(directory).map_err(|source| SourceError::Io {
            what: "create the directory",
            path: directory.clone(),
            source,
        })?;
        let shared = archives.partial_path(sha256);
        let fail = |source| SourceError::Io {
            what: "open",
            path: shared.clone(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&shared)
            .map_err(fail)?;
        let is_ours = match file.try_lock() {
            Ok(()) => {
                // Whoever held the lock before may have renamed the file meanwhile.
                let (opened, named) = (file.metadata().map_err(fail)?, std::fs::metadata(&shared));
                named.is_ok_and(|named| (named.dev(), named.ino()) == (opened.dev(), opened.ino()))
            }
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        };
        let (file, path) = if is_ours {
            (file, shared)
        } else {
            tempfile::Builder::new()
                .prefix(&format!("{sha256}."))
                .suffix(".part")
                .tempfile_in(directory)
                .and_then(|file| file.keep().map_err(|error| error.error))
                .map_err(fail)?
        };
        let mut partial = Self {
            file,
            path,
            hasher: sha2::Sha256::new(),
            length: 0,
            inherited: false,
            is_shared: is_ours,
        };
        partial.hash_what_is_there()?;
        Ok(partial)
    }

    fn hash_what_is_there(&mut self) -> Result<(), SourceError> {
        self.length = hash_rest(&mut self.file, &mut self.hasher)
            .map_err(|error| self.fail("read", error))?;
        self.inherited = self.length > 0;
        Ok(())
    }

    fn fail(&self, what: &'static str, source: std::io::Error) -> SourceError {
        SourceError::Io {
            what,
            path: self.path.clone(),
            source,
        }
    }

    fn restart(&mut self) -> Result<(), SourceError> {
        self.hasher = sha2::Sha256::new();
        self.length = 0;
        self.inherited = false;
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)).map(|_| ()))
            .map_err(|error| self.fail("truncate", error))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        self.file
            .write_all(bytes)
            .map_err(|error| self.fail("write", error))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn digest(&self) -> Sha256 {
        Sha256::from_bytes(self.hasher.clone().finalize().into())
    }

    fn discard(&self) {
        // If that fails, the next transfer finds bytes that hash to nothing useful and starts over.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Nobody else knows the name of a file of our own; a finished one has another name by now.
        if !self.is_shared {
            self.discard();
        }
    }
}

/// Feeds what is left of `file` to `hasher`; its length in bytes.
fn hash_rest(file: &mut File, hasher: &mut sha2::Sha256) -> std::io::Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut length = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(length),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                length += count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// One transfer's failure: of the network, which may be tried again, or of the disk.
enum Broken {
    Network(Failure),
    Disk(SourceError),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Network(failure)
    }
}

impl From<SourceError> for Broken {
    fn from(error: SourceError) -> Self {
        Self::Disk(error)
    }
}

/// Downloads one archive and gives it its final name.
pub(crate) async fn download(
    network: &Arc<Network>,
    archives: &Archives,
    wanted: &Download,
    events: &UnboundedSender<Event>,
) -> Result<(), DownloadError> {
    let mut partial = Partial::open(archives, &wanted.sha256)?;
    let mut backoff = network.backoff();
    while partial.length == 0 || partial.digest() != wanted.sha256 {
        let failure = match transfer(network, wanted, &mut partial, events).await {
            Ok(()) => {
                let received = partial.digest();
                if received == wanted.sha256 {
                    break;
                }
                if partial.inherited {
                    partial.restart()?;
                    continue;
                }
                partial.discard();
                return Err(DownloadError::Failed(SourceError::Checksum {
                    id: wanted.id.clone(),
                    claimant: wanted.claimant.clone(),
                    expected: wanted.sha256,
                    received,
                    url: shown(&wanted.url),
                }));
            }
            Err(Broken::Disk(error)) => return Err(error.into()),
            Err(Broken::Network(failure)) => failure,
        };
        let wait = failure
            .transient
            .then(|| backoff.wait(failure.retry_after))
            .flatten();
        let Some(wait) = wait else {
            let not_there = matches!(
                failure.error,
                RegistryError::Status {
                    status: 403 | 404 | 410,
                    ..
                }
            );
            let error = SourceError::Download {
                id: wanted.id.clone(),
                source: failure.error,
            };
            return Err(if not_there {
                DownloadError::NotThere(error)
            } else {
                DownloadError::Failed(error)
            });
        };
        // Nobody listens only when the whole operation was given up.
        let _ = events.send(Event::Retrying {
            url: shown(&wanted.url),
            why: failure.error.to_string(),
            left: backoff.left(),
            wait,
        });
        tokio::time::sleep(wait).await;
    }
    let path = archives.path(&wanted.sha256);
    std::fs::rename(&partial.path, &path).map_err(|source| SourceError::Io {
        what: "rename the download to",
        path,
        source,
    })?;
    let _ = events.send(Event::DownloadFinished {
        id: wanted.id.clone(),
        bytes: partial.length,
    });
    Ok(())
}

/// One request, and its body into `partial`.
async fn transfer(
    network: &Network,
    wanted: &Download,
    partial: &mut Partial,
    events: &UnboundedSender<Event>,
) -> Result<(), Broken> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if partial.length > 0 {
        headers.insert(RANGE, range_header(partial.length));
    }
    let (response, last) = network
        .send(
            Lane::Archive,
            wanted.policy,
            &wanted.url,
            &headers,
            wanted.token.as_ref(),
        )
        .await?;
    match response.status() {
        StatusCode::OK if partial.length > 0 => partial.restart()?,
        StatusCode::OK => {}
        StatusCode::PARTIAL_CONTENT
            if partial.length > 0 && starts_at(response.headers(), partial.length) => {}
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if partial.length > 0 => {
            // What is there is no beginning of what the server has.
            partial.restart()?;
            let mut failure = network.status_failure(response, last).await;
            failure.transient = true;
            failure.retry_after = Some(std::time::Duration::ZERO);
            return Err(failure.into());
        }
        _ => return Err(network.status_failure(response, last).await.into()),
    }
    let remaining = response.content_length();
    let total_bytes = remaining.map(|remaining| remaining.saturating_add(partial.length));
    if total_bytes.is_some_and(|total| total > LARGEST_ARCHIVE) {
        return Err(Failure::from(RegistryError::TooLarge {
            url: shown(&last),
            limit_bytes: LARGEST_ARCHIVE,
        })
        .into());
    }
    let _ = events.send(Event::DownloadStarted {
        id: wanted.id.clone(),
        resumed_bytes: partial.length,
        total_bytes,
    });
    let limit = LARGEST_ARCHIVE.saturating_sub(partial.length);
    let mut body = network.body(response, last, limit);
    while let Some(chunk) = body.chunk().await? {
        partial.append(chunk.as_ref())?;
        let _ = events.send(Event::DownloadProgress {
            id: wanted.id.clone(),
            bytes: chunk.as_ref().len() as u64,
        });
    }
    Ok(())
}

fn range_header(start: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("bytes={start}-"))
        .unwrap_or_else(|_| HeaderValue::from_static("bytes=0-"))
}

/// Whether the range that the server sends is the one that was asked for.
fn starts_at(headers: &HeaderMap, start: u64) -> bool {
    headers
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("bytes "))
        .and_then(|value| value.split_once('-'))
        .and_then(|(first, _)| first.parse::<u64>().ok())
        == Some(start)
}
