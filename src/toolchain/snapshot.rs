//! Snapshots of the host's files in the store, by tree digest.
//!
//! ```text
//! HOME/toolchain/system/<tree digest>/          the root: usr/bin/cc, usr/lib/…, lib64 → usr/lib64
//! HOME/toolchain/system/<tree digest>.manifest  every place with digest, size and kind; written before the root
//! HOME/toolchain/memo/<hash>                    what was computed from which files (see `identity`)
//! ```
//!
//! A root appears by one rename when all of it is there, and is never changed afterwards. A union shares the files of
//! its base by hard links. Files are copied (by reflink where the file system can) before they are hashed, so what
//! the digest says is what the snapshot holds, whatever happens to the host's file meanwhile.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rayon::prelude::*;

use super::error::ToolchainError;
use super::layout::{Layout, Node};
use super::model::SystemTree;
use crate::digest::{BlobDigest, TreeDigest};
use crate::path::RelPath;
use crate::tree::{BlobRef, EncodedTree, TreeBuilder};

/// The modification time of every file: 1980-01-01, so that no tool sees when the snapshot was made.
const MODIFIED_SECONDS: u64 = 315_532_800;
/// First line of a manifest.
const FORMAT: &str = "kiln-manifest 1";

/// What stands at a place of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// A directory, possibly empty.
    Directory,
    /// A regular file.
    File {
        /// Its content.
        blob: BlobRef,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symbolic link, by its target.
    Link(String),
}

/// Every place of a snapshot, relative to its root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The places, in order; a directory comes before what it holds.
    pub places: BTreeMap<String, Placed>,
}

impl Manifest {
    /// The tree that the places make up.
    ///
    /// # Errors
    /// If a place is no path that a tree can have.
    pub fn encode(&self) -> Result<EncodedTree, ToolchainError> {
        let mut builder = TreeBuilder::new();
        for (place, placed) in &self.places {
            let unsupported = |why: String| ToolchainError::UnsupportedPath {
                path: Path::new("/").join(place),
                why,
            };
            let path =
                RelPath::new(place.clone()).map_err(|error| unsupported(error.to_string()))?;
            match placed {
                Placed::Directory => builder.directory(&path),
                Placed::File { blob, executable } => builder.file(&path, *blob, *executable),
                Placed::Link(target) => builder.symlink(&path, target),
            }
            .map_err(|error| unsupported(error.to_string()))?;
        }
        Ok(builder.encode())
    }

    fn to_text(&self) -> String {
        let mut text = format!("{FORMAT}\n");
        for (place, placed) in &self.places {
            let line = match placed {
                Placed::Directory => format!("d\t{place}\n"),
                Placed::Link(target) => format!("l\t{place}\t{target}\n"),
                Placed::File { blob, executable } => {
                    let kind = if *executable { 'x' } else { 'f' };
                    format!("{kind}\t{place}\t{}\t{}\n", blob.size_bytes, blob.digest)
                }
            };
            text.push_str(&line);
        }
        text
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != FORMAT {
            return None;
        }
        let mut places = BTreeMap::new();
        for line in lines {
            let parts: Vec<&str> = line.split('\t').collect();
            let (place, placed) = match parts[..] {
                ["d", place] => (place, Placed::Directory),
                ["l", place, target] => (place, Placed::Link(target.to_owned())),
                [kind @ ("f" | "x"), place, size, digest] => {
                    let blob = BlobRef {
                        digest: digest.parse().ok()?,
                        size_bytes: size.parse().ok()?,
                    };
                    let executable = kind == "x";
                    (place, Placed::File { blob, executable })
                }
                _ => return None,
            };
            places.insert(place.to_owned(), placed);
        }
        Some(Self { places })
    }
}

/// Where snapshots stand.
fn directory(home: &Path) -> PathBuf {
    home.join("toolchain/system")
}

/// The root of the snapshot `tree`.
pub(crate) fn root(home: &Path, tree: &TreeDigest) -> PathBuf {
    directory(home).join(tree.to_hex())
}

/// The manifest of the snapshot `tree`, checked against the digest that names it.
///
/// # Errors
/// If it is missing, unreadable, or not the manifest of that tree.
pub fn manifest(home: &Path, tree: &TreeDigest) -> Result<Manifest, ToolchainError> {
    let file = directory(home).join(format!("{tree}.manifest"));
    let text = fs::read_to_string(&file).map_err(ToolchainError::io("read", &file))?;
    let invalid = |why: &str| ToolchainError::InvalidFile {
        file: file.clone(),
        why: why.to_owned(),
    };
    let manifest = Manifest::from_text(&text).ok_or_else(|| invalid("it is no manifest"))?;
    if manifest.encode()?.root.digest != *tree {
        return Err(invalid("it does not have the digest that it is named by"));
    }
    Ok(manifest)
}

/// Hashes every file of the snapshot `tree` again. Returns the places that are not what the manifest says.
///
/// # Errors
/// If the manifest cannot be had.
pub fn verify(home: &Path, tree: &TreeDigest) -> Result<Vec<String>, ToolchainError> {
    let manifest = manifest(home, tree)?;
    let root = root(home, tree);
    Ok(manifest
        .places
        .par_iter()
        .filter(|(place, placed)| {
            let path = root.join(place);
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                return true;
            };
            match placed {
                Placed::Directory => !metadata.is_dir(),
                Placed::Link(target) => !fs::read_link(&path).is_ok_and(|t| t == Path::new(target)),
                Placed::File { blob, executable } => {
                    !metadata.is_file()
                        || (metadata.permissions().mode() & 0o111 != 0) != *executable
                        || hash(&path).ok() != Some(*blob)
                }
            }
        })
        .map(|(place, _)| place.clone())
        .collect())
}

/// The digest and size of the file at `path`.
pub(crate) fn hash(path: &Path) -> Result<BlobRef, ToolchainError> {
    let read = |error| ToolchainError::io("read", path)(error);
    let mut hasher = blake3::Hasher::new();
    let file = File::open(path).map_err(read)?;
    let size_bytes = file.metadata().map_err(read)?.len();
    if size_bytes >= 1 << 20 {
        hasher.update_mmap_rayon(path).map_err(read)?;
    } else {
        hasher.update_reader(file).map_err(read)?;
    }
    Ok(BlobRef {
        digest: BlobDigest::from_bytes(*hasher.finalize().as_bytes()),
        size_bytes: hasher.count(),
    })
}

/// A snapshot to build on: its manifest, and its root.
pub(crate) struct Base {
    /// What it holds.
    pub(crate) manifest: Manifest,
    /// Where.
    pub(crate) root: PathBuf,
    /// What of the host it covers.
    pub(crate) cover: Vec<String>,
}

/// Makes the snapshot of `layout`, together with all of `base`. If there is one with that digest already, it stays.
pub(crate) fn create(
    home: &Path,
    layout: &Layout,
    base: Option<&Base>,
) -> Result<SystemTree, ToolchainError> {
    let directory = directory(home);
    let io = |action, path: &Path| ToolchainError::io(action, path);
    fs::create_dir_all(&directory).map_err(io("create", &directory))?;
    let temporary = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(&directory)
        .map_err(io("create a directory in", &directory))?;
    let new_root = temporary.path().join("root");
    fs::create_dir(&new_root).map_err(io("create", &new_root))?;
    set_mode(&new_root, 0o755)?;

    let empty = BTreeMap::new();
    let base_places = base.map_or(&empty, |base| &base.manifest.places);
    let mut places = base_places.clone();
    for (place, node) in layout.nodes() {
        let placed = match node {
            Node::Directory => Placed::Directory,
            Node::Link(target) => Placed::Link(target.clone()),
            Node::File { .. } => continue,
        };
        places.entry(place.clone()).or_insert(placed);
    }
    for (place, placed) in &places {
        let path = new_root.join(place);
        match placed {
            Placed::Directory => {
                fs::create_dir(&path).map_err(io("create", &path))?;
                set_mode(&path, 0o755)?;
            }
            Placed::Link(target) => symlink(target, &path).map_err(io("create", &path))?,
            Placed::File { .. } => {}
        }
    }
    let new_files: Vec<(&String, bool)> = layout
        .nodes()
        .iter()
        .filter(|(place, _)| !base_places.contains_key(*place))
        .filter_map(|(place, node)| match node {
            Node::File { executable } => Some((place, *executable)),
            _ => None,
        })
        .collect();
    let copied: Vec<(String, Placed)> = new_files
        .par_iter()
        .map(|(place, executable)| {
            let path = new_root.join(place);
            copy(&layout.host(place), &path, *executable)?;
            let blob = hash(&path)?;
            let executable = *executable;
            Ok(((*place).clone(), Placed::File { blob, executable }))
        })
        .collect::<Result<_, ToolchainError>>()?;
    if let Some(base) = base {
        base.manifest
            .places
            .par_iter()
            .filter(|(_, placed)| matches!(placed, Placed::File { .. }))
            .try_for_each(|(place, placed)| {
                let (from, to) = (base.root.join(place), new_root.join(place));
                let executable = matches!(
                    placed,
                    Placed::File {
                        executable: true,
                        ..
                    }
                );
                match fs::hard_link(&from, &to) {
                    Ok(()) => Ok(()),
                    // The file system has no hard links, or no more of them for this file.
                    Err(_) => copy(&from, &to, executable),
                }
            })?;
    }
    places.extend(copied);
    let manifest = Manifest { places };
    let tree = manifest.encode()?.root;

    let path = directory.join(format!("{}.manifest", tree.digest));
    let file = tempfile::NamedTempFile::new_in(&directory).map_err(io("create", &path))?;
    fs::write(file.path(), manifest.to_text()).map_err(io("write", &path))?;
    file.persist(&path)
        .map_err(|error| io("write", &path)(error.error))?;
    // A root that a power cut leaves behind has its content, or is not there.
    let volume = File::open(&directory).map_err(io("open", &directory))?;
    nix::unistd::syncfs(volume)
        .map_err(|errno| io("write", &directory)(std::io::Error::from(errno)))?;
    let root = root(home, &tree.digest);
    if let Err(error) = fs::rename(&new_root, &root) {
        // Somebody else made the same snapshot first; or it was there already.
        if !root.is_dir() {
            return Err(io("create", &root)(error));
        }
    }

    let (mut entries, mut links) = (Vec::new(), Vec::new());
    for (place, placed) in &manifest.places {
        match placed {
            _ if place.contains('/') => {}
            Placed::Link(target) => links.push((place.clone(), target.clone())),
            _ => entries.push(place.clone()),
        }
    }
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

fn set_mode(path: &Path, mode: u32) -> Result<(), ToolchainError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(ToolchainError::io("change the mode of", path))
}

fn copy(from: &Path, to: &Path, executable: bool) -> Result<(), ToolchainError> {
    fs::copy(from, to).map_err(ToolchainError::io("copy", from))?;
    set_mode(to, if executable { 0o755 } else { 0o644 })?;
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(MODIFIED_SECONDS);
    let file = File::options()
        .write(true)
        .open(to)
        .map_err(ToolchainError::io("open", to))?;
    file.set_modified(modified)
        .map_err(ToolchainError::io("set the time of", to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(dir: &Path) -> PathBuf {
        let host = dir.join("host");
        fs::create_dir_all(host.join("usr/bin")).unwrap();
        symlink("usr/bin", host.join("bin")).unwrap();
        for (name, mode) in [("cc", 0o755), ("ld", 0o755), ("data", 0o600)] {
            let path = host.join("usr/bin").join(name);
            fs::write(&path, name).unwrap();
            set_mode(&path, mode).unwrap();
        }
        host
    }

    #[test]
    fn a_snapshot_is_named_by_its_tree_and_a_union_shares_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let host = host(dir.path());
        let home = dir.path().join("home");
        let mut layout = Layout::new(&host);
        layout.add(Path::new("/bin/cc")).unwrap();
        let base = create(&home, &layout, None).unwrap();
        assert_eq!(create(&home, &layout, None).unwrap().tree, base.tree);
        assert_eq!(base.entries, ["usr"]);
        assert_eq!(base.links, [("bin".to_owned(), "usr/bin".to_owned())]);
        assert_eq!(base.cover, ["/usr/bin/cc"]);
        assert_eq!(fs::read(base.root.join("bin/cc")).unwrap(), b"cc");
        assert_eq!(verify(&home, &base.tree).unwrap(), Vec::<String>::new());

        let mut more = Layout::new(&host);
        more.add(Path::new("/usr/bin/data")).unwrap();
        let union = Base {
            manifest: manifest(&home, &base.tree).unwrap(),
            root: base.root.clone(),
            cover: base.cover.clone(),
        };
        let both = create(&home, &more, Some(&union)).unwrap();
        assert_eq!(both.cover, ["/usr/bin/cc", "/usr/bin/data"]);
        use std::os::unix::fs::MetadataExt as _;
        let inode = |root: &Path| fs::metadata(root.join("usr/bin/cc")).unwrap().ino();
        assert_eq!(inode(&both.root), inode(&base.root));

        // The same selection made at once has the same digest.
        layout.add(Path::new("/usr/bin/data")).unwrap();
        assert_eq!(create(&home, &layout, None).unwrap().tree, both.tree);

        fs::write(both.root.join("usr/bin/data"), "changed").unwrap();
        assert_eq!(verify(&home, &both.tree).unwrap(), ["usr/bin/data"]);
    }

    #[test]
    fn a_manifest_round_trips_and_a_false_one_is_refused() {
        let places = [
            ("a", Placed::Directory),
            (
                "a/f",
                Placed::File {
                    blob: BlobRef::of(b"x"),
                    executable: true,
                },
            ),
            ("l", Placed::Link("a/f".to_owned())),
        ];
        let manifest = Manifest {
            places: places
                .map(|(place, placed)| (place.to_owned(), placed))
                .into(),
        };
        assert_eq!(
            Manifest::from_text(&manifest.to_text()),
            Some(manifest.clone())
        );
        for text in ["", "kiln-manifest 1\nq\ta", "kiln-manifest 1\nf\ta\tx\ty"] {
            assert_eq!(Manifest::from_text(text), None, "{text:?}");
        }
        let home = tempfile::tempdir().unwrap();
        let directory = directory(home.path());
        fs::create_dir_all(&directory).unwrap();
        let other = TreeDigest::from_bytes([7; 32]);
        fs::write(
            directory.join(format!("{other}.manifest")),
            manifest.to_text(),
        )
        .unwrap();
        assert!(super::manifest(home.path(), &other).is_err());
    }
}
