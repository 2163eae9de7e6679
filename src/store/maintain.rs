//! Looking at the store as a whole: how large it is, whether all of it is intact, and what may go.
//!
//! **What goes.** Records of actions and manifests of trees know when they were used last. What a record names, and
//! what a tree consists of, counts as used when the youngest of those that name it was. The collector removes what
//! was used least recently, a record before what it names, so that at whatever point it is killed no record is left
//! that promises what is gone. It runs alone: what an open store holds is never taken away, and it does not start
//! while a build runs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::actions::Named;
use super::disk::{self, Identity};
use super::{Namespace, Store, StoreError, StoreEvent, message_digest};
use crate::digest::{ActionKey, BlobDigest, TreeDigest};
use crate::tree::{BlobRef, Entry, Tree, TreeRef};

/// How large a store is.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct StoreStat {
    /// Blobs, both forms.
    pub blobs: u64,
    /// Materialised trees.
    pub trees: u64,
    /// Recorded results, by name space.
    pub actions: BTreeMap<&'static str, u64>,
    /// Remembered digests of files, bytes of the file that holds them.
    pub memo_bytes: u64,
    /// Space on the disk, each file counted once however many names it has; bytes.
    pub disk_bytes: u64,
}

/// What a complete check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Blobs that were read.
    pub blobs: u64,
    /// Trees that were compared.
    pub trees: u64,
    /// Records that were read.
    pub actions: u64,
    /// What was damaged, and is discarded now.
    pub damaged: Vec<StoreEvent>,
}

/// What the collector is to keep. With neither bound it only tidies up after killed processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcPolicy {
    /// Keep at most so many bytes on the disk.
    pub keep_bytes: Option<u64>,
    /// Keep what was used within this time.
    pub keep_age: Option<Duration>,
}

/// What the collector did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct GcReport {
    /// Results removed.
    pub actions: u64,
    /// Materialised trees removed.
    pub trees: u64,
    /// Blobs removed.
    pub blobs: u64,
    /// Space that became free, bytes.
    pub freed_bytes: u64,
    /// Space that is still used, bytes.
    pub kept_bytes: u64,
}

/// How large the store at `home` is. Counts what is there while others may use it.
///
/// # Errors
/// The store cannot be read.
pub fn stat(home: &Path) -> Result<StoreStat, StoreError> {
    let store = Store::open(home)?;
    let mut stat = StoreStat {
        memo_bytes: std::fs::metadata(store.memo.path()).map_or(0, |metadata| metadata.len()),
        ..StoreStat::default()
    };
    store.each_blob(&mut |_, _, _| {
        stat.blobs += 1;
        Ok(())
    })?;
    stat.trees = store.each_manifest(&mut |_, _| Ok(()))?;
    for namespace in Namespace::ALL {
        let count = store.each_record(namespace, &mut |_, _| Ok(()))?;
        stat.actions.insert(namespace.as_str(), count);
    }
    let mut seen = HashSet::new();
    for entry in walkdir::WalkDir::new(home).follow_links(false) {
        // What disappears while it is being counted does not count.
        let Ok(entry) = entry else { continue };
        if let Ok(Some(found)) = disk::stat(entry.path())
            && seen.insert((found.st_dev, found.st_ino))
        {
            stat.disk_bytes += disk_bytes(&found);
        }
    }
    Ok(stat)
}

#[expect(clippy::cast_sign_loss, reason = "the kernel counts blocks from zero")]
fn disk_bytes(stat: &rustix::fs::Stat) -> u64 {
    stat.st_blocks as u64 * 512
}

/// Removes what the policy does not keep from the store at `home`.
///
/// # Errors
/// [`StoreError::InUse`] while a build runs; else the disk.
pub fn collect_garbage(home: &Path, policy: &GcPolicy) -> Result<GcReport, StoreError> {
    Collector::survey(Store::open_alone(home)?)?.run(policy)
}

/// The entries of a directory that is one of the store's; none if it is not there.
fn listed(path: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
    let fail = |error: std::io::Error| StoreError::io("read", path, error);
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(fail)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(fail)?;
        names.push((
            entry.file_name().to_string_lossy().into_owned(),
            entry.path(),
        ));
    }
    names.sort();
    Ok(names)
}

/// The files of a directory with shards, and the 64 digits that name each.
fn sharded_files(path: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
    let mut files = Vec::new();
    for (shard, path) in listed(path)? {
        for (rest, path) in listed(&path)? {
            files.push((format!("{shard}{rest}"), path));
        }
    }
    Ok(files)
}

impl Store {
    fn each_blob(
        &self,
        visit: &mut dyn FnMut(BlobDigest, bool, &Path) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for (name, executable) in [("blobs", false), ("exec", true)] {
            for (hex, path) in sharded_files(&self.home.join(name))? {
                if let Ok(digest) = hex.parse() {
                    visit(digest, executable, &path)?;
                }
            }
        }
        Ok(())
    }

    fn each_manifest(
        &self,
        visit: &mut dyn FnMut(TreeDigest, &Path) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        let mut count = 0;
        for (hex, path) in listed(&self.home.join("manifests"))? {
            if let Ok(digest) = hex.parse() {
                count += 1;
                visit(digest, &path)?;
            }
        }
        Ok(count)
    }

    fn each_record(
        &self,
        namespace: Namespace,
        visit: &mut dyn FnMut(ActionKey, &Path) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        let mut count = 0;
        for (hex, path) in sharded_files(&self.home.join("actions").join(namespace.as_str()))? {
            if let Ok(key) = hex.parse() {
                count += 1;
                visit(key, &path)?;
            }
        }
        Ok(count)
    }

    /// Reads everything and discards what is damaged. Remembered digests are not relied on, since a disk that loses
    /// bits changes no times.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn verify(&self) -> Result<VerifyReport, StoreError> {
        let earlier = self.take_events();
        let mut report = VerifyReport::default();
        let mut read = HashMap::new();
        self.each_blob(&mut |digest, executable, path| {
            report.blobs += 1;
            self.verify_blob(digest, executable, path, &mut read)
        })?;
        self.each_manifest(&mut |digest, _| {
            report.trees += 1;
            self.verify_tree_fully(&digest, &read)
        })?;
        for namespace in Namespace::ALL {
            report.actions += self.each_record(namespace, &mut |key, path| {
                self.read_record(path, &key).map(|_| ())
            })?;
        }
        report.damaged = self.take_events();
        for event in earlier {
            self.report(event);
        }
        Ok(report)
    }

    fn verify_blob(
        &self,
        digest: BlobDigest,
        executable: bool,
        path: &Path,
        read: &mut HashMap<(u64, u64), BlobDigest>,
    ) -> Result<(), StoreError> {
        let found = match super::blobs::opened(path) {
            Ok(None) => return Ok(()),
            Ok(Some(file)) => rustix::fs::fstat(&file)
                .map_err(std::io::Error::from)
                .and_then(|stat| {
                    let identity = Identity::from(&stat);
                    let (found, size_bytes) = disk::hash(&file, identity.size_bytes)?;
                    Ok((identity, found, size_bytes))
                }),
            Err(error) => Err(error),
        };
        match found {
            Ok((identity, found, size_bytes)) if found == digest => {
                read.insert((identity.device, identity.inode), digest);
                // Mends a mode that somebody changed.
                self.check_blob(&BlobRef { digest, size_bytes }, executable)?;
                Ok(())
            }
            _ => self.discard_blob(path, &digest),
        }
    }
}

/// One thing that the collector may remove.
#[derive(Debug)]
enum Thing {
    Record(PathBuf),
    Tree(TreeDigest),
    Blob(PathBuf),
}

impl Thing {
    /// What names comes before what is named.
    fn rank(&self) -> u8 {
        match self {
            Self::Record(_) => 0,
            Self::Tree(_) => 1,
            Self::Blob(_) => 2,
        }
    }
}

/// A file on the disk: how many names it still has in the store, and its space.
#[derive(Debug, Default)]
struct Inode {
    names: u64,
    disk_bytes: u64,
}

struct Collector {
    store: Store,
    /// By last use, what names before what is named.
    things: Vec<(SystemTime, Thing)>,
    inodes: HashMap<(u64, u64), Inode>,
    total_bytes: u64,
}

impl Collector {
    /// Looks at everything in the store, and tidies up what killed processes left.
    fn survey(store: Store) -> Result<Self, StoreError> {
        for (_, path) in listed(&store.home.join("tmp"))? {
            if path != store.session {
                disk::remove_tree(&path).map_err(|error| StoreError::io("remove", &path, error))?;
            }
        }
        // A tree without a manifest was not finished, a manifest without a tree not wholly discarded.
        for (hex, path) in listed(&store.home.join("trees"))? {
            if !store.home.join("manifests").join(&hex).exists() {
                store.move_away(&path)?;
            }
        }
        for (hex, path) in listed(&store.home.join("manifests"))? {
            if !store.home.join("trees").join(&hex).exists() {
                std::fs::remove_file(&path)
                    .map_err(|error| StoreError::io("remove", &path, error))?;
            }
        }
        let mut collector = Self {
            store,
            things: Vec::new(),
            inodes: HashMap::new(),
            total_bytes: 0,
        };
        collector.date_everything()?;
        collector
            .things
            .sort_by_key(|(used, thing)| (*used, thing.rank()));
        Ok(collector)
    }

    fn date_everything(&mut self) -> Result<(), StoreError> {
        let mut blob_used: HashMap<BlobDigest, SystemTime> = HashMap::new();
        let mut tree_used: BTreeMap<TreeDigest, (TreeRef, SystemTime)> = BTreeMap::new();
        let mut records = Vec::new();
        for namespace in Namespace::ALL {
            self.store.each_record(namespace, &mut |key, path| {
                records.push((key, path.to_owned()));
                Ok(())
            })?;
        }
        for (key, path) in records {
            let Some(result) = self.store.read_record(&path, &key)? else {
                continue;
            };
            let used = modified(&path);
            self.count(&path)?;
            if let Ok(named) = Named::by(&result) {
                for blob in named.blobs {
                    raise(&mut blob_used, blob.digest, used);
                }
                for tree in named.trees {
                    let known = tree_used.entry(tree.digest).or_insert((tree, used));
                    known.1 = known.1.max(used);
                }
            }
            self.things.push((used, Thing::Record(path)));
        }

        let mut manifests = Vec::new();
        self.store.each_manifest(&mut |digest, path| {
            manifests.push((digest, path.to_owned()));
            Ok(())
        })?;
        for (digest, path) in manifests {
            let mut used = modified(&path);
            if let Some((_, named)) = tree_used.remove(&digest) {
                used = used.max(named);
            }
            self.count(&path)?;
            self.count_below(&self.store.tree_path(&digest))?;
            if let Some(tree) = self.store.manifest_tree(&digest)? {
                raise_tree(&mut blob_used, &tree, used);
            }
            self.things.push((used, Thing::Tree(digest)));
        }
        // Trees that only exist as messages and blobs.
        for (tree, used) in tree_used.into_values() {
            if let Ok(Some(tree)) = self.store.read_tree(&tree) {
                raise_tree(&mut blob_used, &tree, used);
            }
        }

        let mut blobs = Vec::new();
        self.store.each_blob(&mut |digest, _, path| {
            blobs.push((digest, path.to_owned()));
            Ok(())
        })?;
        for (digest, path) in blobs {
            let Some(found) = self.count(&path)? else {
                continue;
            };
            // A blob that nothing names yet is as old as its last change of state.
            let changed = Identity::from(&found).ctime_ns;
            let changed =
                SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(changed).unwrap_or(0));
            let used = blob_used.get(&digest).copied().unwrap_or(changed);
            self.things.push((used, Thing::Blob(path)));
        }
        Ok(())
    }

    /// Counts a name of a file.
    fn count(&mut self, path: &Path) -> Result<Option<rustix::fs::Stat>, StoreError> {
        let found = disk::stat(path).map_err(|error| StoreError::io("read", path, error))?;
        if let Some(found) = &found {
            let identity = Identity::from(found);
            let inode = self
                .inodes
                .entry((identity.device, identity.inode))
                .or_default();
            if inode.names == 0 {
                inode.disk_bytes = disk_bytes(found);
                self.total_bytes += inode.disk_bytes;
            }
            inode.names += 1;
        }
        Ok(found)
    }

    fn count_below(&mut self, path: &Path) -> Result<(), StoreError> {
        for entry in walkdir::WalkDir::new(path).follow_links(false) {
            let entry = entry.map_err(|error| StoreError::io("read", path, error))?;
            self.count(entry.path())?;
        }
        Ok(())
    }

    /// Gives up a name of a file; says how much space became free.
    fn give_up(&mut self, path: &Path) -> u64 {
        let Ok(Some(found)) = disk::stat(path) else {
            return 0;
        };
        let identity = Identity::from(&found);
        let Some(inode) = self.inodes.get_mut(&(identity.device, identity.inode)) else {
            return 0;
        };
        inode.names = inode.names.saturating_sub(1);
        if inode.names == 0 {
            inode.disk_bytes
        } else {
            0
        }
    }

    fn run(mut self, policy: &GcPolicy) -> Result<GcReport, StoreError> {
        let oldest = policy
            .keep_age
            .and_then(|age| SystemTime::now().checked_sub(age));
        let most = policy.keep_bytes.unwrap_or(u64::MAX);
        let mut report = GcReport {
            kept_bytes: self.total_bytes,
            ..GcReport::default()
        };
        for (used, thing) in std::mem::take(&mut self.things) {
            let too_old = oldest.is_some_and(|oldest| used < oldest);
            if !too_old && report.kept_bytes <= most {
                break;
            }
            let freed = match &thing {
                Thing::Record(path) | Thing::Blob(path) => {
                    let freed = self.give_up(path);
                    std::fs::remove_file(path)
                        .map_err(|error| StoreError::io("remove", path, error))?;
                    freed
                }
                Thing::Tree(digest) => self.remove_tree(digest)?,
            };
            match thing {
                Thing::Record(_) => report.actions += 1,
                Thing::Tree(_) => report.trees += 1,
                Thing::Blob(_) => report.blobs += 1,
            }
            report.freed_bytes += freed;
            report.kept_bytes = report.kept_bytes.saturating_sub(freed);
        }
        Ok(report)
    }

    fn remove_tree(&mut self, digest: &TreeDigest) -> Result<u64, StoreError> {
        let manifest = self.store.manifest_path(digest);
        let path = self.store.tree_path(digest);
        let mut freed = self.give_up(&manifest);
        for entry in walkdir::WalkDir::new(&path).follow_links(false) {
            let entry = entry.map_err(|error| StoreError::io("read", &path, error))?;
            freed += self.give_up(entry.path());
        }
        std::fs::remove_file(&manifest)
            .map_err(|error| StoreError::io("remove", &manifest, error))?;
        self.store.move_away(&path)?;
        Ok(freed)
    }
}

fn raise(used: &mut HashMap<BlobDigest, SystemTime>, digest: BlobDigest, at: SystemTime) {
    let known = used.entry(digest).or_insert(at);
    *known = (*known).max(at);
}

/// A tree's messages and files are used when it is.
fn raise_tree(used: &mut HashMap<BlobDigest, SystemTime>, tree: &Tree, at: SystemTime) {
    for (digest, level) in tree.levels() {
        raise(used, message_digest(digest), at);
        for (_, entry) in level.iter() {
            if let Entry::File { blob, .. } = entry {
                raise(used, blob.digest, at);
            }
        }
    }
}

fn modified(path: &Path) -> SystemTime {
    std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
