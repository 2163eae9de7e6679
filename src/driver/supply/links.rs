//! Names that people and editors can read for what lies in the store under digests.

use std::path::{Path, PathBuf};

use crate::driver::{Context, DriverError};
use crate::package::{SourceId, SourceKind};
use crate::source::Fetched;
use crate::store::Store;

/// The directory of an unpacked package, by a path that ends in `<name>-<version>`.
pub(in crate::driver) fn named_directory(
    context: &Context,
    store: &Store,
    fetched: &Fetched,
) -> Result<PathBuf, DriverError> {
    let id = &fetched.id;
    let parent = context.home.join("src").join(source_directory(id.source()));
    let tree = store.tree_path(&fetched.tree.digest);
    link_to_tree(&parent, &format!("{}-{}", id.name(), id.version()), &tree).map_err(
        |(path, source)| DriverError::File {
            path,
            verb: "written",
            source,
        },
    )
}

/// Makes `<parent>/<name>` a link to the directory `tree`, if it is none yet, and gives its path.
pub(in crate::driver) fn link_to_tree(
    parent: &Path,
    name: &str,
    tree: &Path,
) -> Result<PathBuf, (PathBuf, std::io::Error)> {
    let link = parent.join(name);
    if std::fs::read_link(&link).is_ok_and(|target| target == tree) {
        return Ok(link);
    }
    let make = |link: &Path| {
        std::fs::create_dir_all(parent)?;
        let temporary = parent.join(format!(".{name}.{}", std::process::id()));
        let _ = std::fs::remove_file(&temporary);
        std::os::unix::fs::symlink(tree, &temporary)?;
        std::fs::rename(&temporary, link)
    };
    match make(&link) {
        Ok(()) => Ok(link),
        Err(error) => Err((link, error)),
    }
}

fn source_directory(source: &SourceId) -> String {
    match source.kind() {
        SourceKind::Registry {
            is_crates_io: true, ..
        } => "default".to_owned(),
        SourceKind::Registry { url, .. } => blake3::hash(url.as_bytes()).to_hex()[..16].to_owned(),
        SourceKind::Git { .. } | SourceKind::Path(_) => "path".to_owned(),
    }
}
