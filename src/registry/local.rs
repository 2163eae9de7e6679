//! A local registry: an index and archives in a directory of the machine, as source replacement names one.
//!
//! ```text
//! <directory>/index/se/rd/serde     the index file of one name
//! <directory>/serde-1.0.0.crate     an archive
//! ```

use std::path::{Path, PathBuf};

use semver::Version;

use super::RegistryError;
use super::cache::{Cached, Validator};
use super::config::{index_path, is_registry_name};
use super::entry::{self, Entry};
use super::listing::PackageIndex;
use crate::package::{PackageId, PackageName, SourceId, Summary};

/// The largest index file that is taken, bytes.
const LARGEST_INDEX_FILE: u64 = 128 << 20;

/// See the module.
#[derive(Debug, Clone)]
pub struct LocalRegistry {
    directory: PathBuf,
    source: SourceId,
}

impl LocalRegistry {
    /// The registry in `directory`, whose packages are those of `source`.
    pub fn new(directory: &Path, source: &SourceId) -> Self {
        Self {
            directory: directory.to_owned(),
            source: source.clone(),
        }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// All that its index says of `name`; an empty answer if it has no such name.
    pub fn index(&self, name: &PackageName) -> Result<PackageIndex, RegistryError> {
        Ok(match self.file(name)? {
            Some(file) => {
                let file = Cached::new(Validator::None, &[], &file);
                PackageIndex::new(&file, name, &self.source)
            }
            None => PackageIndex::default(),
        })
    }

    /// The summary of one version, if the index has it in a form that can be used.
    pub fn locked(
        &self,
        name: &PackageName,
        version: &Version,
    ) -> Result<Option<Summary>, RegistryError> {
        let Some(file) = self.file(name)? else {
            return Ok(None);
        };
        match entry::find(&file, name, version, &self.source) {
            Some(Entry::Usable { summary, .. }) => Ok(Some(summary)),
            Some(Entry::Unusable(_)) | None => Ok(None),
        }
    }

    /// Where the archive of a package is, or would be.
    pub fn archive(&self, id: &PackageId) -> PathBuf {
        self.directory
            .join(format!("{}-{}.crate", id.name(), id.version()))
    }

    fn file(&self, name: &PackageName) -> Result<Option<Vec<u8>>, RegistryError> {
        let index = self.directory.join("index");
        let fail = |path: &Path, source| RegistryError::Local {
            path: path.to_owned(),
            source,
        };
        if !is_registry_name(name.as_str()) {
            return Ok(None);
        }
        let path = index.join(index_path(name.as_str()));
        match std::fs::metadata(&path) {
            Ok(data) if data.len() > LARGEST_INDEX_FILE => Err(RegistryError::TooLarge {
                url: path.display().to_string(),
                limit_bytes: LARGEST_INDEX_FILE,
            }),
            Ok(_) => std::fs::read(&path)
                .map(Some)
                .map_err(|error| fail(&path, error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // A name that is missing is one thing, a registry that is missing another.
                match std::fs::metadata(&index) {
                    Ok(_) => Ok(None),
                    Err(error) => Err(fail(&index, error)),
                }
            }
            Err(error) => Err(fail(&path, error)),
        }
    }
}
