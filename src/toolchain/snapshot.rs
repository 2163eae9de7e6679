//! Snapshots of the host's files: a selection becomes a tree in the store.
//!
//! Files are copied into the store (by reflink where the file system can) and hashed there, so what the digest says
//! is what the tree holds, whatever happens to the host's file meanwhile. The store gives every tree that shares a
//! file the same one by hard link, so a union costs little more than its names.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::error::ToolchainError;
use super::layout::{Layout, Node};
use super::model::SystemTree;
use crate::path::RelPath;
use crate::store::{Ingest, Store};
use crate::tree::{BlobRef, EncodedTree, Tree, TreeBuilder, TreeError, TreeRef};

/// Files up to this size are read at once.
const SMALL_BYTES: u64 = 64 << 10;

fn unsupported(place: &str, why: impl ToString) -> ToolchainError {
    ToolchainError::UnsupportedPath {
        path: Path::new("/").join(place),
        why: why.to_string(),
    }
}

/// Encodes a selection, on top of `base`, with what `blob` says of each file that is not in the base.
pub(crate) fn encode(
    layout: &Layout,
    base: Option<&Tree>,
    blob: &(dyn Fn(&Path, bool) -> Result<BlobRef, ToolchainError> + Sync),
) -> Result<EncodedTree, ToolchainError> {
    let mut new: Vec<(RelPath, &String, &Node)> = Vec::new();
    for (place, node) in layout.nodes() {
        let path = RelPath::new(place.clone()).map_err(|error| unsupported(place, error))?;
        if base.is_none_or(|base| base.get(&path).is_none()) {
            new.push((path, place, node));
        }
    }
    let blobs = new
        .par_iter()
        .map(|(_, place, node)| match node {
            Node::File { executable } => blob(&layout.host(place), *executable).map(Some),
            Node::Directory | Node::Link(_) => Ok(None),
        })
        .collect::<Result<Vec<Option<BlobRef>>, ToolchainError>>()?;
    let mut builder = TreeBuilder::new();
    if let Some(base) = base {
        builder
            .merge(None, base)
            .map_err(|error| unsupported("", error))?;
    }
    for ((path, place, node), blob) in new.iter().zip(blobs) {
        let fail = |error: TreeError| unsupported(place, error);
        match (node, blob) {
            (Node::Link(target), _) => builder.symlink(path, target).map_err(fail)?,
            (Node::File { executable }, Some(blob)) => {
                builder.file(path, blob, *executable).map_err(fail)?
            }
            _ => builder.directory(path).map_err(fail)?,
        };
    }
    Ok(builder.encode())
}

/// Makes the snapshot of `layout`, together with all of `base`. If there is one with that digest already, it stays.
pub(crate) fn create(
    store: &Store,
    layout: &Layout,
    base: Option<&SystemTree>,
) -> Result<SystemTree, ToolchainError> {
    let base_tree = match base {
        Some(base) => store
            .read_tree(&base.tree_ref())?
            .ok_or(crate::store::StoreError::MissingTree(base.tree))
            .map(Some)?,
        None => None,
    };
    let (tree, root) = match keep(store, layout, base_tree.as_ref(), true) {
        // Something that the store believed to have turned out to be damaged: take everything from the host.
        Err(ToolchainError::Store(error)) if error.is_miss() => {
            keep(store, layout, base_tree.as_ref(), false)?
        }
        other => other?,
    };
    let (entries, links) = top_level(&root)?;
    let mut cover = layout.cover();
    if let Some(base) = base {
        cover.extend(base.cover.iter().cloned());
        cover.sort();
        cover.dedup();
    }
    Ok(SystemTree {
        root,
        tree: tree.digest,
        tree_size_bytes: tree.size_bytes,
        entries,
        links,
        cover,
    })
}

/// Puts files and tree into the store, and has the tree materialised. With `believe`, a file whose digest is known and
/// whose content the store has is not copied again.
fn keep(
    store: &Store,
    layout: &Layout,
    base: Option<&Tree>,
    believe: bool,
) -> Result<(TreeRef, PathBuf), ToolchainError> {
    let copy = |path: &Path, executable: bool| {
        let small = fs::metadata(path).is_ok_and(|data| data.len() <= SMALL_BYTES);
        if small && !executable {
            let bytes = fs::read(path).map_err(ToolchainError::io("read", path))?;
            return Ok(store.put_bytes(&bytes)?);
        }
        if believe {
            let blob = store.digest_file(path)?;
            if store.has_blob(&blob) {
                return Ok(blob);
            }
        }
        Ok(store.put_file(path, Ingest::Copy, executable)?)
    };
    let tree = store.put_tree(&encode(layout, base, &copy)?)?;
    let root = store.materialize(&tree)?;
    Ok((tree, root))
}

/// The names at the top of a snapshot: directories and files, and links with their targets.
type TopLevel = (Vec<String>, Vec<(String, String)>);

fn top_level(root: &PathBuf) -> Result<TopLevel, ToolchainError> {
    let read = |error| ToolchainError::io("read", root)(error);
    let (mut entries, mut links) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(root).map_err(read)? {
        let entry = entry.map_err(read)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        match fs::read_link(entry.path()) {
            Ok(target) => links.push((name, target.to_string_lossy().into_owned())),
            Err(_) => entries.push(name),
        }
    }
    entries.sort();
    links.sort();
    Ok((entries, links))
}

impl SystemTree {
    /// The tree as the store knows it. Before its [`SystemTree::root`] is mounted,
    /// [`Store::materialize`](crate::store::Store::materialize) checks that it still is what it was.
    pub fn tree_ref(&self) -> TreeRef {
        TreeRef {
            digest: self.tree,
            size_bytes: self.tree_size_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    fn host(dir: &Path) -> PathBuf {
        let host = dir.join("host");
        fs::create_dir_all(host.join("usr/bin")).unwrap();
        symlink("usr/bin", host.join("bin")).unwrap();
        for (name, mode) in [("cc", 0o755), ("ld", 0o755), ("data", 0o600)] {
            let path = host.join("usr/bin").join(name);
            fs::write(&path, name).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        host
    }

    #[test]
    fn a_snapshot_is_named_by_its_tree_and_a_union_shares_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let host = host(dir.path());
        let store = Store::open(&dir.path().join("home")).unwrap();
        let mut layout = Layout::new(&host);
        layout.add(Path::new("/bin/cc")).unwrap();
        let base = create(&store, &layout, None).unwrap();
        assert_eq!(create(&store, &layout, None).unwrap(), base);
        assert_eq!(base.entries, ["usr"]);
        assert_eq!(base.links, [("bin".to_owned(), "usr/bin".to_owned())]);
        assert_eq!(base.cover, ["/usr/bin/cc"]);
        assert_eq!(fs::read(base.root.join("bin/cc")).unwrap(), b"cc");

        let mut more = Layout::new(&host);
        more.add(Path::new("/usr/bin/data")).unwrap();
        let both = create(&store, &more, Some(&base)).unwrap();
        assert_eq!(both.cover, ["/usr/bin/cc", "/usr/bin/data"]);
        let inode = |root: &Path| fs::metadata(root.join("usr/bin/cc")).unwrap().ino();
        assert_eq!(inode(&both.root), inode(&base.root));

        // The same selection made at once has the same digest.
        layout.add(Path::new("/usr/bin/data")).unwrap();
        assert_eq!(create(&store, &layout, None).unwrap().tree, both.tree);
    }
}
