//! Digests of files, remembered: a file whose identity (device, inode, size, mtime, ctime) is the one that was
//! hashed has the same content, and is not read again. What git's index does for its work tree.
//!
//! **The racy rule.** A file that is written to again so soon after it was hashed that the clock of its times has not
//! ticked keeps its identity. So a digest is remembered only if the file's ctime was older, by more than a tick, when
//! hashing began; else the file is hashed again next time. ctime alone decides, since nobody can set it: every write
//! moves it. Files of the store itself have no writers, and their digests are remembered at once.
//! Where the clock that stamps files is another machine's (network file systems) the rule is as good as the two
//! clocks agree.
//!
//! **The file** `digests` is a header and records of one size, in the byte order of the machine (it never travels):
//! ```text
//! header   magic (8)  count of sorted records (8)  checksum (8)
//! record   device inode size mtime ctime recorded (8 each)  digest (32)  checksum (8)
//! ```
//! The first records are sorted by (device, inode) and are looked up where they lie, so that loading is one read.
//! What was learnt since follows in no order; later records win. Writers append whole records under a lock, after
//! cutting off what a killed writer may have left half-written; when there are many unsorted ones, the file is
//! written anew and renamed into place. A record with a wrong checksum is no record. Losing the file costs time only.
//!
//! Absent on purpose: paths. A renamed file keeps its digest, and an inode that was reused has another ctime.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::disk::{self, Identity};
use crate::digest::BlobDigest;

const MAGIC: [u8; 8] = *b"kilndig1";
const HEADER: usize = 24;
const RECORD: usize = 88;
/// Records above this number are forgotten, oldest first, when the file is written anew: 18 MB.
const MOST_RECORDS: usize = 200_000;
/// Unsorted records above this number (and above half of the sorted ones) make the file be written anew.
const MANY_UNSORTED: usize = 4096;
/// New records are appended when this many have come together, and when the store is closed.
const BATCH: usize = 1024;
/// A tick of the clocks that stamp files, with some room: the slowest kernel clock ticks every 10 ms.
const TICK_NS: i64 = 25_000_000;
/// The same for file systems whose times are no finer than a millisecond: up to two seconds (FAT).
const COARSE_TICK_NS: i64 = 2_100_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    identity: Identity,
    recorded: i64,
    digest: BlobDigest,
}

/// Detects torn and rotten records; no defence against forgery, which whoever can write here does not need.
fn checksum(bytes: &[u8]) -> u64 {
    let mut sum = 0x6b69_6c6e_u64;
    for word in bytes.chunks(8) {
        let mut padded = [0; 8];
        padded[..word.len()].copy_from_slice(word);
        sum = (sum ^ u64::from_ne_bytes(padded)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        sum ^= sum >> 29;
    }
    sum
}

fn word(bytes: &[u8], index: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[index * 8..index * 8 + 8]);
    u64::from_ne_bytes(word)
}

impl Record {
    fn encode(&self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        let words = [
            self.identity.device,
            self.identity.inode,
            self.identity.size_bytes,
            self.identity.mtime_ns.cast_unsigned(),
            self.identity.ctime_ns.cast_unsigned(),
            self.recorded.cast_unsigned(),
        ];
        for (index, word) in words.into_iter().enumerate() {
            bytes[index * 8..index * 8 + 8].copy_from_slice(&word.to_ne_bytes());
        }
        bytes[48..80].copy_from_slice(self.digest.as_bytes());
        let sum = checksum(&bytes[..80]);
        bytes[80..].copy_from_slice(&sum.to_ne_bytes());
        bytes
    }

    /// `bytes` has [`RECORD`] bytes; `None` if they are not a record.
    fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != RECORD || checksum(&bytes[..80]) != word(bytes, 10) {
            return None;
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(&bytes[48..80]);
        Some(Self {
            identity: Identity {
                device: word(bytes, 0),
                inode: word(bytes, 1),
                size_bytes: word(bytes, 2),
                mtime_ns: word(bytes, 3).cast_signed(),
                ctime_ns: word(bytes, 4).cast_signed(),
            },
            recorded: word(bytes, 5).cast_signed(),
            digest: BlobDigest::from_bytes(digest),
        })
    }
}

/// What was read of the file, and what was learnt since.
#[derive(Debug, Default)]
struct State {
    /// The sorted records as they lie in the file.
    sorted: Vec<u8>,
    /// All others, by (device, inode).
    recent: HashMap<(u64, u64), Record>,
    /// How many unsorted records the file has.
    unsorted: usize,
    /// Learnt and not yet written.
    pending: Vec<Record>,
    /// Inode of the file that was read, and up to where it was read.
    inode: u64,
    read_to: u64,
}

impl State {
    /// Reads the whole of an open file. `None`: it is not such a file.
    fn load(file: &mut File) -> io::Result<Option<Self>> {
        let inode = file.metadata()?.ino();
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(Self::decode(&bytes).map(|state| Self { inode, ..state }))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        if header[..8] != MAGIC || checksum(&header[..16]) != word(header, 2) {
            return None;
        }
        let sorted = usize::try_from(word(header, 1)).ok()?.checked_mul(RECORD)?;
        let records = &bytes[HEADER..];
        let sorted = records.get(..sorted)?;
        let mut state = Self {
            sorted: sorted.to_vec(),
            ..Self::default()
        };
        state.add_unsorted(&records[sorted.len()..]);
        let whole = records.len() - records.len() % RECORD;
        state.read_to = (HEADER + whole) as u64;
        Some(state)
    }

    fn add_unsorted(&mut self, bytes: &[u8]) {
        for record in bytes.chunks_exact(RECORD) {
            self.unsorted += 1;
            if let Some(record) = Record::decode(record) {
                self.remember(record);
            }
        }
    }

    fn remember(&mut self, record: Record) {
        let key = (record.identity.device, record.identity.inode);
        self.recent.insert(key, record);
    }

    fn find(&self, identity: &Identity) -> Option<BlobDigest> {
        let key = (identity.device, identity.inode);
        let record = match self.recent.get(&key) {
            Some(record) => *record,
            None => self.find_sorted(key)?,
        };
        (record.identity == *identity).then_some(record.digest)
    }

    fn find_sorted(&self, key: (u64, u64)) -> Option<Record> {
        let record = |index: usize| &self.sorted[index * RECORD..(index + 1) * RECORD];
        let (mut low, mut high) = (0, self.sorted.len() / RECORD);
        while low < high {
            let middle = low + (high - low) / 2;
            let bytes = record(middle);
            match (word(bytes, 0), word(bytes, 1)).cmp(&key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Record::decode(bytes),
            }
        }
        None
    }

    /// The bytes of a file with all that is known, sorted.
    fn encode(&self) -> Vec<u8> {
        let mut records: HashMap<(u64, u64), Record> = self
            .sorted
            .chunks_exact(RECORD)
            .filter_map(Record::decode)
            .map(|record| ((record.identity.device, record.identity.inode), record))
            .collect();
        records.extend(&self.recent);
        let mut records: Vec<_> = records.into_values().collect();
        if records.len() > MOST_RECORDS {
            records.sort_unstable_by_key(|record| std::cmp::Reverse(record.recorded));
            records.truncate(MOST_RECORDS * 3 / 4);
        }
        records.sort_unstable_by_key(|record| (record.identity.device, record.identity.inode));
        let mut bytes = Vec::with_capacity(HEADER + records.len() * RECORD);
        bytes.extend(MAGIC);
        bytes.extend((records.len() as u64).to_ne_bytes());
        let sum = checksum(&bytes);
        bytes.extend(sum.to_ne_bytes());
        for record in records {
            bytes.extend(record.encode());
        }
        bytes
    }
}

/// The memory of digests: shared by threads, and through its file by processes.
#[derive(Debug)]
pub(super) struct Memo {
    path: PathBuf,
    lock: PathBuf,
    scratch: PathBuf,
    state: RwLock<State>,
    /// When the file was last looked at for what other processes have added, nanoseconds since the epoch.
    looked: AtomicI64,
    /// Whether the file was there and could not be read.
    damaged: AtomicBool,
}

impl Memo {
    /// Loads `path`, if it is there. Writers lock `lock`; a new file is prepared at `scratch`.
    pub(super) fn open(path: PathBuf, lock: PathBuf, scratch: PathBuf) -> Self {
        let (state, damaged) = match File::open(&path).and_then(|mut file| State::load(&mut file)) {
            Ok(Some(state)) => (state, false),
            Ok(None) => (State::default(), true),
            Err(error) => (State::default(), error.kind() != io::ErrorKind::NotFound),
        };
        Self {
            path,
            lock,
            scratch,
            state: RwLock::new(state),
            looked: AtomicI64::new(disk::now_ns()),
            damaged: AtomicBool::new(damaged),
        }
    }

    /// Whether the file was there and could not be read; it is replaced when the next records are written.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The digest of the file with that identity, if it is known.
    pub(super) fn lookup(&self, identity: &Identity) -> Option<BlobDigest> {
        if let Some(digest) = self.read().find(identity) {
            return Some(digest);
        }
        // Another process may know; look at most every 10 ms.
        let now = disk::now_ns();
        let looked = self.looked.load(Ordering::Relaxed);
        if (now - looked).abs() < 10_000_000
            || self
                .looked
                .compare_exchange(looked, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return None;
        }
        let mut state = self.write();
        self.refresh(&mut state).ok()?;
        state.find(identity)
    }

    /// Takes in what other processes have added.
    fn refresh(&self, state: &mut State) -> io::Result<()> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let metadata = file.metadata()?;
        if metadata.ino() == state.inode && state.read_to >= HEADER as u64 {
            if metadata.len() < state.read_to + RECORD as u64 {
                return Ok(());
            }
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(state.read_to))?;
            file.read_to_end(&mut bytes)?;
            let whole = bytes.len() - bytes.len() % RECORD;
            state.add_unsorted(&bytes[..whole]);
            state.read_to += whole as u64;
        } else if let Some(fresh) = State::load(&mut file)? {
            let pending = std::mem::take(&mut state.pending);
            *state = fresh;
            for record in &pending {
                state.remember(*record);
            }
            state.pending = pending;
        }
        Ok(())
    }

    /// Remembers the digest of a foreign file, which had that identity before and after it was hashed. `began_ns` is
    /// a time before the first of the two.
    pub(super) fn record(&self, identity: &Identity, digest: BlobDigest, began_ns: i64) {
        let tick = if identity.ctime_ns % 1_000_000 == 0 {
            COARSE_TICK_NS
        } else {
            TICK_NS
        };
        if identity.ctime_ns < began_ns.saturating_sub(tick) {
            self.record_owned(identity, digest);
        }
    }

    /// Remembers the digest of a file that only the store writes to.
    pub(super) fn record_owned(&self, identity: &Identity, digest: BlobDigest) {
        let mut state = self.write();
        if state.find(identity) == Some(digest) {
            return;
        }
        let record = Record {
            identity: *identity,
            recorded: disk::now_ns(),
            digest,
        };
        state.remember(record);
        state.pending.push(record);
        if state.pending.len() >= BATCH {
            // What cannot be written is hashed again some day; a full disk shows where it matters.
            let _ = self.flush_locked(&mut state);
        }
    }

    /// Writes down what was learnt.
    pub(super) fn flush(&self) -> io::Result<()> {
        self.flush_locked(&mut self.write())
    }

    fn flush_locked(&self, state: &mut State) -> io::Result<()> {
        if state.pending.is_empty() {
            return Ok(());
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.lock)?;
        lock.lock()?;
        self.refresh(state)?;
        let appendable = state.inode != 0
            && !self.is_damaged()
            && std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.ino() == state.inode)
            && state.unsorted + state.pending.len()
                < MANY_UNSORTED.max(state.sorted.len() / RECORD / 2);
        if appendable {
            let mut bytes = Vec::with_capacity(state.pending.len() * RECORD);
            for record in &state.pending {
                bytes.extend(record.encode());
            }
            let mut file = File::options().write(true).open(&self.path)?;
            // After the refresh `read_to` is the end of the last whole record.
            file.set_len(state.read_to)?;
            file.seek(SeekFrom::Start(state.read_to))?;
            file.write_all(&bytes)?;
            state.unsorted += state.pending.len();
            state.read_to += bytes.len() as u64;
        } else {
            let bytes = state.encode();
            let mut file = File::create(&self.scratch)?;
            file.write_all(&bytes)?;
            std::fs::rename(&self.scratch, &self.path)?;
            let inode = file.metadata()?.ino();
            if let Some(fresh) = State::decode(&bytes) {
                *state = State { inode, ..fresh };
            }
            self.damaged.store(false, Ordering::Relaxed);
        }
        state.pending.clear();
        Ok(())
    }
}

impl Drop for Memo {
    fn drop(&mut self) {
        let _ = self.flush();
    }
}
