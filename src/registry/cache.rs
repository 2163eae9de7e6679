//! The index files on disk: each with the server's validator, checked when read, replaced as a whole.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::RegistryError;
use crate::digest::BlobDigest;

/// First word of each file; another one means another format, and the file is fetched again.
const FORMAT: &str = "kiln-index-2";

/// What a server says about the state of a file, to ask it later whether that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Validator {
    /// The value of `ETag`.
    ETag(String),
    /// The value of `Last-Modified`.
    LastModified(String),
    /// The server gave none, so that the file is always fetched in full.
    None,
}

/// A file as it was last fetched, and the table that is kept with it. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cached {
    pub(crate) validator: Validator,
    bytes: Arc<Vec<u8>>,
    table_at: usize,
    body_at: usize,
}

impl Cached {
    /// A file with its table.
    pub(crate) fn new(validator: Validator, table: &[u8], body: &[u8]) -> Self {
        Self {
            validator,
            bytes: Arc::new([table, body].concat()),
            table_at: 0,
            body_at: table.len(),
        }
    }

    /// What the registry sent.
    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[self.body_at..]
    }

    /// What was worked out of it.
    pub(crate) fn table(&self) -> &[u8] {
        &self.bytes[self.table_at..self.body_at]
    }

    fn both(&self) -> &[u8] {
        &self.bytes[self.table_at..]
    }
}

/// The directory that holds one registry's files.
#[derive(Debug, Clone)]
pub(crate) struct IndexCache {
    root: PathBuf,
}

impl IndexCache {
    /// The cache of the registry whose index address is `index`, beneath `directory`.
    pub(crate) fn new(directory: &Path, index: &reqwest::Url) -> Self {
        let host: String = index
            .host_str()
            .unwrap_or("registry")
            .chars()
            .map(|c| match c {
                'a'..='z' | '0'..='9' | '.' | '-' => c,
                _ => '_',
            })
            .collect();
        let hash = BlobDigest::of(index.as_str().as_bytes()).to_hex();
        Self {
            root: directory.join(format!("{host}-{}", &hash[..16])),
        }
    }

    /// The file at `path` (made of plain components), or `None` if there is none that can be trusted.
    pub(crate) fn load(&self, path: &str) -> Option<Cached> {
        decode(std::fs::read(self.root.join(path)).ok()?)
    }

    /// Replaces the file at `path`.
    pub(crate) fn store(&self, path: &str, cached: &Cached) -> Result<(), RegistryError> {
        let path = self.root.join(path);
        let parent = path.parent().unwrap_or(&self.root);
        let fail = |what, path: &Path| {
            let path = path.to_owned();
            move |source| RegistryError::Cache { what, path, source }
        };
        std::fs::create_dir_all(parent).map_err(fail("create the directory", parent))?;
        let mut file =
            tempfile::NamedTempFile::new_in(parent).map_err(fail("create a file in", parent))?;
        file.write_all(&header(cached))
            .and_then(|()| file.write_all(cached.both()))
            .map_err(fail("write", &path))?;
        file.persist(&path)
            .map_err(|error| fail("write", &path)(error.error))?;
        Ok(())
    }

    /// Forgets the file at `path`.
    pub(crate) fn remove(&self, path: &str) {
        // What stays behind is only ever used after the server was asked again, or offline.
        let _ = std::fs::remove_file(self.root.join(path));
    }
}

fn header(cached: &Cached) -> Vec<u8> {
    let validator = match &cached.validator {
        Validator::ETag(value) => format!("etag {value}"),
        Validator::LastModified(value) => format!("last-modified {value}"),
        Validator::None => "none".to_owned(),
    };
    let digest = BlobDigest::of(cached.both());
    let table = cached.table().len();
    let length = cached.body().len();
    // A header value holds no line break: `reqwest` refuses one, and so does the parser of what it receives.
    format!("{FORMAT} {digest} {table} {length} {validator}\n").into_bytes()
}

fn decode(file: Vec<u8>) -> Option<Cached> {
    let end = memchr::memchr(b'\n', &file)?;
    let line = std::str::from_utf8(&file[..end]).ok()?;
    let mut words = line.splitn(5, ' ');
    if words.next()? != FORMAT {
        return None;
    }
    let digest: BlobDigest = words.next()?.parse().ok()?;
    let table: usize = words.next()?.parse().ok()?;
    let length: usize = words.next()?.parse().ok()?;
    let validator = match words.next()?.split_once(' ') {
        Some(("etag", value)) => Validator::ETag(value.to_owned()),
        Some(("last-modified", value)) => Validator::LastModified(value.to_owned()),
        Some(_) => return None,
        None => Validator::None,
    };
    let table_at = end + 1;
    let body_at = table_at.checked_add(table)?;
    let is_whole = body_at.checked_add(length) == Some(file.len());
    (is_whole && BlobDigest::of(&file[table_at..]) == digest).then(|| Cached {
        validator,
        bytes: Arc::new(file),
        table_at,
        body_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_loaded_unless_damaged() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let index = reqwest::Url::parse("https://index.example.com/").expect("a URL");
        let other = reqwest::Url::parse("https://index.example.com/x/").expect("a URL");
        let cache = IndexCache::new(directory.path(), &index);
        assert_eq!(cache.load("se/rd/serde"), None);
        for validator in [
            Validator::ETag("\"a b\"".to_owned()),
            Validator::LastModified("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
            Validator::None,
        ] {
            let cached = Cached::new(validator.clone(), b"table\n", b"{}\n{}\n");
            cache.store("se/rd/serde", &cached).expect("can write");
            let loaded = cache.load("se/rd/serde").expect("is there");
            assert_eq!(loaded.validator, validator);
            assert_eq!(loaded.table(), b"table\n");
            assert_eq!(loaded.body(), b"{}\n{}\n");
        }
        assert_eq!(
            IndexCache::new(directory.path(), &other).load("se/rd/serde"),
            None
        );

        let path = cache.root.join("se/rd/serde");
        let good = std::fs::read(&path).expect("was written");
        for damage in [
            good[..good.len() - 1].to_vec(),
            [&good[..], b"x"].concat(),
            good.iter()
                .map(|byte| if *byte == b'{' { b'[' } else { *byte })
                .collect(),
            Vec::new(),
            b"\n".to_vec(),
        ] {
            std::fs::write(&path, damage).expect("can write");
            assert_eq!(cache.load("se/rd/serde"), None);
        }
        cache.remove("se/rd/serde");
        cache.remove("se/rd/serde");
    }
}
