//! The action cache: results by action key, in name spaces that never serve each other.
//!
//! ```text
//! record   magic (8)  key (32)  length of the message (8)  message (REAPI `ActionResult`)  BLAKE3 of all before (32)
//! ```
//! A record is written after everything that it names, and is given out only while all of that is there. One that
//! cannot be read is a miss. Its time of modification is when it was last used, to the hour.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use prost::Message as _;

use super::{Store, StoreError, StoreEvent, sharded};
use crate::digest::ActionKey;
use crate::reapi::{ActionResult, Digest};
use crate::tree::{BlobRef, TreeRef};

const MAGIC: [u8; 8] = *b"kilnact1";
/// How exactly the last use of a thing is known.
const TOUCH_AFTER: Duration = Duration::from_secs(3600);

/// Which builds a result may be given to.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Namespace {
    /// Builds for which everything was declared and enforced.
    Hermetic,
    /// Daily work, with development grants and incremental compilation.
    Daily,
}

impl Namespace {
    /// Every name space.
    pub const ALL: [Self; 2] = [Self::Hermetic, Self::Daily];

    /// Its name, which is that of its directory.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hermetic => "hermetic",
            Self::Daily => "daily",
        }
    }
}

/// What a result names.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// Contents, messages among them.
    pub(super) blobs: Vec<BlobRef>,
    /// Trees, by their top level.
    pub(super) trees: Vec<TreeRef>,
}

impl Named {
    /// What `result` names; `Err` is the first digest that is malformed.
    pub(super) fn by(result: &ActionResult) -> Result<Self, String> {
        let shown = |digest: &Digest| digest.hash.chars().take(64).collect::<String>();
        let blob = |digest: &Digest| BlobRef::try_from(digest).map_err(|_| shown(digest));
        let mut named = Self::default();
        for file in &result.output_files {
            let digest = file.digest.as_ref().ok_or("an absent one")?;
            named.blobs.push(blob(digest)?);
        }
        for directory in &result.output_directories {
            match (&directory.root_directory_digest, &directory.tree_digest) {
                (Some(digest), _) => {
                    named
                        .trees
                        .push(TreeRef::try_from(digest).map_err(|_| shown(digest))?);
                }
                (None, Some(digest)) => named.blobs.push(blob(digest)?),
                (None, None) => return Err("an absent one".to_owned()),
            }
        }
        for digest in [&result.stdout_digest, &result.stderr_digest]
            .into_iter()
            .flatten()
        {
            named.blobs.push(blob(digest)?);
        }
        Ok(named)
    }
}

fn encode(key: &ActionKey, result: &ActionResult) -> Vec<u8> {
    let message = result.encode_to_vec();
    let mut bytes = MAGIC.to_vec();
    bytes.extend(key.as_bytes());
    bytes.extend((message.len() as u64).to_le_bytes());
    bytes.extend(message);
    let sum = blake3::hash(&bytes);
    bytes.extend(sum.as_bytes());
    bytes
}

fn decode(bytes: &[u8], key: &ActionKey) -> Option<ActionResult> {
    let (body, sum) = bytes.split_last_chunk::<32>()?;
    if blake3::hash(body) != *sum {
        return None;
    }
    let message = body.strip_prefix(&MAGIC)?.strip_prefix(key.as_bytes())?;
    let (length, message) = message.split_first_chunk::<8>()?;
    if u64::from_le_bytes(*length) != message.len() as u64 {
        return None;
    }
    ActionResult::decode(message).ok()
}

impl Store {
    fn action_file(&self, namespace: Namespace, key: &ActionKey) -> PathBuf {
        let parent = self.home.join("actions").join(namespace.as_str());
        sharded(parent, &key.to_hex())
    }

    /// The recorded result of an action, if there is one and all that it names is there (by name; content is checked
    /// when it is used).
    ///
    /// # Errors
    /// The store cannot be read. A record that is broken is not an error but a miss.
    pub fn action_result(
        &self,
        namespace: Namespace,
        key: &ActionKey,
    ) -> Result<Option<ActionResult>, StoreError> {
        let path = self.action_file(namespace, key);
        let Some(result) = self.read_record(&path, key)? else {
            return Ok(None);
        };
        let complete = Named::by(&result).is_ok_and(|named| self.missing(&named).is_none());
        if complete {
            self.touch(&path);
            Ok(Some(result))
        } else {
            Ok(None)
        }
    }

    pub(super) fn read_record(
        &self,
        path: &Path,
        key: &ActionKey,
    ) -> Result<Option<ActionResult>, StoreError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("read", path, error)),
        };
        let result = decode(&bytes, key);
        if result.is_none() {
            self.report(StoreEvent::CorruptRecord {
                key: *key,
                path: path.to_owned(),
            });
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::io("discard", path, error));
                }
                _ => {}
            }
        }
        Ok(result)
    }

    fn missing(&self, named: &Named) -> Option<String> {
        let blob = named.blobs.iter().find(|blob| !self.has_blob(blob));
        let tree = named.trees.iter().find(|tree| !self.has_tree(tree));
        blob.map(|blob| blob.digest.to_hex())
            .or_else(|| tree.map(|tree| tree.digest.to_hex()))
    }

    /// Records the result of an action. Everything that it names has to be in the store already. A later result
    /// replaces an earlier one.
    ///
    /// # Errors
    /// [`StoreError::IncompleteResult`] if something is not there; else the disk.
    pub fn put_action_result(
        &self,
        namespace: Namespace,
        key: &ActionKey,
        result: &ActionResult,
    ) -> Result<(), StoreError> {
        let absent = match Named::by(result) {
            Ok(named) => self.missing(&named),
            Err(malformed) => Some(malformed),
        };
        if let Some(digest) = absent {
            return Err(StoreError::IncompleteResult { key: *key, digest });
        }
        let path = self.action_file(namespace, key);
        let scratch = self.scratch();
        std::fs::write(&scratch, encode(key, result))
            .map_err(|error| StoreError::io("write", &scratch, error))?;
        super::blobs::in_directory(&path, || std::fs::rename(&scratch, &path))
            .map_err(|error| StoreError::io("write", &path, error))
    }

    /// Removes a recorded result, if there is one: what it names turned out to be damaged.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn remove_action_result(
        &self,
        namespace: Namespace,
        key: &ActionKey,
    ) -> Result<(), StoreError> {
        let path = self.action_file(namespace, key);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io("discard", &path, error))
            }
            _ => Ok(()),
        }
    }

    /// Notes that a record or manifest was used. Failing to is no failure: it may be collected sooner.
    pub(super) fn touch(&self, path: &Path) {
        let now = SystemTime::now();
        let recent = std::fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|used| now.duration_since(used).is_ok_and(|ago| ago < TOUCH_AFTER));
        if !recent && let Ok(file) = std::fs::File::options().write(true).open(path) {
            let _ = file.set_modified(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_were_tampered_with_are_none_and_never_panic() {
        let key = ActionKey::from_bytes([7; 32]);
        let result = ActionResult {
            exit_code: 3,
            stdout_raw: b"out".to_vec(),
            ..ActionResult::default()
        };
        let good = encode(&key, &result);
        assert_eq!(decode(&good, &key), Some(result));
        assert_eq!(decode(&good, &ActionKey::from_bytes([8; 32])), None);
        for length in 0..good.len() {
            assert_eq!(decode(&good[..length], &key), None);
        }
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert_eq!(decode(&bad, &key), None, "{at} {bit}");
            }
        }
        // With a right checksum, too.
        for at in 0..good.len() - 32 {
            let mut bad = good[..good.len() - 32].to_vec();
            bad[at] ^= 0x55;
            let sum = blake3::hash(&bad);
            bad.extend(sum.as_bytes());
            let _ = decode(&bad, &key);
        }
    }
}
