//! A `.crate` archive becomes a directory, or is refused: everything is decided from the list of entries so far, and
//! nothing is written that was not decided first.
//!
//! What comes out depends on names and contents only: modes are 0644 or 0755 by the owner's execute bit, links inside
//! the crate stay links, and times, owners and everything else that an archive can say are dropped.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use tar::EntryType;

use crate::path::RelPath;

/// The name that cargo reserves for a mark of its own; it leaves such entries out, wherever they are.
const RESERVED: &str = ".cargo-ok";

/// How much an archive may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The decompressed archive, bytes.
    pub total_bytes: u64,
    /// The number of entries.
    pub entries: u64,
    /// How deep directories may nest.
    pub depth: usize,
}

impl Limits {
    /// The limits for an archive of `compressed_bytes`, total size as cargo's: 512 MiB, or twenty times the archive if
    /// that is more.
    pub fn of_archive(compressed_bytes: u64) -> Self {
        const TOTAL_BYTES: u64 = 512 << 20;
        const RATIO: u64 = 20;
        Self {
            total_bytes: TOTAL_BYTES.max(compressed_bytes.saturating_mul(RATIO)),
            entries: 200_000,
            depth: 60,
        }
    }
}

/// Why an archive was not unpacked. What was written until then is of no use.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// An entry that has no place in a crate.
    #[error("entry `{entry}` {why}")]
    Refused {
        /// The entry's path, made printable.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
    /// The archive is more than it may be.
    #[error("it holds more than {0}")]
    TooLarge(String),
    /// It is no gzip-compressed tar archive, or ends too early.
    #[error("it cannot be read")]
    Damaged(#[source] io::Error),
    /// The destination cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Regular files.
    pub files: u64,
    /// Their content, bytes.
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
    Link,
}

/// Unpacks what is beneath `prefix` (`<name>-<version>`) in the gzip-compressed tar archive `archive` into the existing
/// empty directory `destination`. The process's umask has to leave 0755 as it is.
pub fn unpack(
    archive: impl Read,
    prefix: &str,
    destination: &Path,
    limits: &Limits,
) -> Result<Unpacked, UnpackError> {
    let limited = LimitedReader {
        inner: GzDecoder::new(archive),
        left: limits.total_bytes,
    };
    let mut archive = tar::Archive::new(limited);
    let mut writer = Writer {
        destination,
        limits,
        seen: BTreeMap::new(),
        unpacked: Unpacked::default(),
    };
    let damaged = |error: io::Error| damaged(error, limits);
    let mut count = 0;
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        count += 1;
        if count > limits.entries {
            return Err(UnpackError::TooLarge(format!("{} entries", limits.entries)));
        }
        let shown = printable(&entry.path_bytes());
        let refuse = |why: String| UnpackError::Refused {
            entry: shown.clone(),
            why,
        };
        let Some(path) = relative_path(&entry.path_bytes(), prefix).map_err(refuse)? else {
            // The crate's own directory.
            if entry.header().entry_type() == EntryType::Directory {
                continue;
            }
            return Err(refuse(
                "stands where the crate's directory has to be".to_owned(),
            ));
        };
        if path.components().next_back() == Some(RESERVED) {
            continue;
        }
        let refuse = |why: &str| UnpackError::Refused {
            entry: shown.clone(),
            why: why.to_owned(),
        };
        match entry.header().entry_type() {
            EntryType::Directory => writer.place(&path, Kind::Directory, &shown)?,
            EntryType::Regular | EntryType::Continuous => {
                let mode = entry.header().mode().map_err(damaged)?;
                if mode & 0o6000 != 0 {
                    return Err(refuse("has a set-user-id or set-group-id bit"));
                }
                writer.place(&path, Kind::File, &shown)?;
                let size = entry.size();
                let written = writer.write_file(&path, mode & 0o100 != 0, &mut entry)?;
                if written != size {
                    return Err(UnpackError::Damaged(io::ErrorKind::UnexpectedEof.into()));
                }
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes();
                let target = target.as_deref().unwrap_or_default();
                let target = std::str::from_utf8(target)
                    .map_err(|_| refuse("is a link whose target is not UTF-8"))?;
                check_link(&path, target).map_err(refuse)?;
                writer.place(&path, Kind::Link, &shown)?;
                let at = destination.join(path.as_str());
                symlink(target, &at).map_err(|source| UnpackError::Write { path: at, source })?;
            }
            EntryType::Link => {
                let target = entry.link_name_bytes();
                let target = relative_path(target.as_deref().unwrap_or_default(), prefix)
                    .map_err(|why| refuse(&format!("is a hard link to a path that {why}")))?
                    .filter(|target| writer.seen.get(target.as_str()) == Some(&Kind::File))
                    .ok_or_else(|| {
                        refuse("is a hard link to something that is no earlier file of the crate")
                    })?;
                writer.place(&path, Kind::File, &shown)?;
                writer.copy_file(&target, &path)?;
            }
            EntryType::Char | EntryType::Block => return Err(refuse("is a device")),
            EntryType::Fifo => return Err(refuse("is a named pipe")),
            EntryType::GNUSparse => return Err(refuse("is a sparse file")),
            other => {
                return Err(refuse(&format!(
                    "is of the unknown type {:#04x}",
                    other.as_byte()
                )));
            }
        }
    }
    Ok(writer.unpacked)
}

struct Writer<'a> {
    destination: &'a Path,
    limits: &'a Limits,
    seen: BTreeMap<String, Kind>,
    unpacked: Unpacked,
}

impl Writer<'_> {
    /// Records that `path` becomes a `kind`, and makes it and its parents if they are directories.
    fn place(&mut self, path: &RelPath, kind: Kind, shown: &str) -> Result<(), UnpackError> {
        let refuse = |why: String| UnpackError::Refused {
            entry: shown.to_owned(),
            why,
        };
        let text = path.as_str();
        if text.matches('/').count() >= self.limits.depth {
            return Err(refuse(format!(
                "is nested more than {} directories deep",
                self.limits.depth
            )));
        }
        for (end, _) in text.match_indices('/') {
            let parent = &text[..end];
            match self.seen.get(parent) {
                Some(Kind::Directory) => {}
                Some(Kind::File) => {
                    return Err(refuse(format!("is beneath the file `{parent}`")));
                }
                Some(Kind::Link) => {
                    return Err(refuse(format!("is beneath the symbolic link `{parent}`")));
                }
                None => self.make_directory(parent)?,
            }
        }
        match (self.seen.get(text), kind) {
            (None, Kind::Directory) => self.make_directory(text)?,
            (None, Kind::File | Kind::Link) => {
                self.seen.insert(text.to_owned(), kind);
            }
            (Some(Kind::Directory), Kind::Directory) => {}
            (Some(_), _) => return Err(refuse("is there twice".to_owned())),
        }
        Ok(())
    }

    fn make_directory(&mut self, path: &str) -> Result<(), UnpackError> {
        let at = self.destination.join(path);
        DirBuilder::new()
            .mode(0o755)
            .create(&at)
            .map_err(|source| UnpackError::Write { path: at, source })?;
        self.seen.insert(path.to_owned(), Kind::Directory);
        Ok(())
    }

    fn create(&self, path: &RelPath, executable: bool) -> Result<(File, PathBuf), UnpackError> {
        let at = self.destination.join(path.as_str());
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(if executable { 0o755 } else { 0o644 })
            .open(&at);
        match file {
            Ok(file) => Ok((file, at)),
            Err(source) => Err(UnpackError::Write { path: at, source }),
        }
    }

    fn write_file(
        &mut self,
        path: &RelPath,
        executable: bool,
        content: &mut impl Read,
    ) -> Result<u64, UnpackError> {
        let (mut file, at) = self.create(path, executable)?;
        let mut buffer = [0; 16 << 10];
        let mut written = 0;
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(damaged(error, self.limits)),
            };
            if let Err(source) = io::Write::write_all(&mut file, &buffer[..count]) {
                return Err(UnpackError::Write { path: at, source });
            }
            written += count as u64;
        }
        self.unpacked.files += 1;
        self.unpacked.bytes += written;
        Ok(written)
    }

    /// A hard link becomes a file of its own, so that no two paths of a tree share what they hold.
    fn copy_file(&mut self, from: &RelPath, to: &RelPath) -> Result<(), UnpackError> {
        use std::os::unix::fs::PermissionsExt as _;

        let path = self.destination.join(from.as_str());
        let open = || -> io::Result<(File, bool, u64)> {
            let file = File::open(&path)?;
            let metadata = file.metadata()?;
            let executable = metadata.permissions().mode() & 0o100 != 0;
            Ok((file, executable, metadata.len()))
        };
        let (mut file, executable, bytes) = match open() {
            Ok(opened) => opened,
            Err(source) => return Err(UnpackError::Write { path, source }),
        };
        if self.unpacked.bytes.saturating_add(bytes) > self.limits.total_bytes {
            return Err(too_large(self.limits));
        }
        self.write_file(to, executable, &mut file)?;
        Ok(())
    }
}

/// The part of an entry's path beneath `prefix`; `None` for `prefix` itself. The error completes "entry `…` …".
fn relative_path(path: &[u8], prefix: &str) -> Result<Option<RelPath>, String> {
    let text = std::str::from_utf8(path).map_err(|_| "is not UTF-8".to_owned())?;
    if text.starts_with('/') {
        return Err("is an absolute path".to_owned());
    }
    if text.split('/').any(|part| part == "..") {
        return Err("has a `..` component".to_owned());
    }
    let mut parts = text.split('/');
    if parts.next() != Some(prefix) {
        return Err(format!("is not beneath `{prefix}`"));
    }
    // As in cargo, empty components and `.` mean nothing.
    let parts: Vec<&str> = parts
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.is_empty() {
        return Ok(None);
    }
    RelPath::new(parts.join("/"))
        .map(Some)
        .map_err(|error| format!("is no path that can be stored: {error}"))
}

/// Whether a symbolic link at `path` stays inside, whatever other links there are: its target has any `..` at the
/// start, where they are applied to real directories, since nothing is ever placed beneath a link.
fn check_link(path: &RelPath, target: &str) -> Result<(), &'static str> {
    if target.is_empty() || target.contains('\0') || target.len() > 4000 {
        return Err("is a link without a usable target");
    }
    if target.starts_with('/') {
        return Err("is a symbolic link with an absolute target");
    }
    let mut depth = path.as_str().matches('/').count();
    let mut named = false;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if named => {
                return Err("is a symbolic link whose target has a `..` after a name");
            }
            ".." => {
                depth = depth
                    .checked_sub(1)
                    .ok_or("is a symbolic link that leaves the crate")?;
            }
            _ => named = true,
        }
    }
    Ok(())
}

/// A path for a message: replacement characters for what is not UTF-8 or does not print, and not endless.
fn printable(path: &[u8]) -> String {
    String::from_utf8_lossy(path)
        .chars()
        .take(300)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Fails, and does not merely end, where the limit is reached.
struct LimitedReader<R> {
    inner: R,
    left: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("the limit of the decompressed size is reached")]
struct LimitReached;

impl<R: Read> Read for LimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::other(LimitReached))?;
        Ok(count)
    }
}

fn damaged(error: io::Error, limits: &Limits) -> UnpackError {
    // `tar` wraps errors in errors of its own, keeping the cause.
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = next {
        if error.is::<LimitReached>() {
            return too_large(limits);
        }
        next = match error.downcast_ref::<io::Error>() {
            Some(error) => error
                .get_ref()
                .map(|inner| inner as &(dyn std::error::Error + 'static)),
            None => error.source(),
        };
    }
    UnpackError::Damaged(error)
}

fn too_large(limits: &Limits) -> UnpackError {
    UnpackError::TooLarge(format!("{} bytes", limits.total_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    /// One entry as a hostile packer writes it: the path goes into the header as it is.
    struct Given<'a> {
        path: &'a str,
        kind: EntryType,
        link: &'a str,
        mode: u32,
        content: &'a [u8],
    }

    fn file<'a>(path: &'a str, content: &'a [u8]) -> Given<'a> {
        Given {
            path,
            kind: EntryType::Regular,
            link: "",
            mode: 0o644,
            content,
        }
    }

    fn other<'a>(path: &'a str, kind: EntryType, link: &'a str) -> Given<'a> {
        Given {
            kind,
            link,
            ..file(path, b"")
        }
    }

    fn pack(entries: &[Given<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for entry in entries {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..entry.path.len()].copy_from_slice(entry.path.as_bytes());
            header.as_old_mut().linkname[..entry.link.len()].copy_from_slice(entry.link.as_bytes());
            header.set_entry_type(entry.kind);
            header.set_mode(entry.mode);
            header.set_size(entry.content.len() as u64);
            header.set_cksum();
            builder.append(&header, entry.content).expect("in memory");
        }
        gzip(&builder.into_inner().expect("in memory"))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn try_unpack(
        archive: &[u8],
        limits: Limits,
    ) -> (Result<Unpacked, UnpackError>, tempfile::TempDir) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let inside = directory.path().join("inside");
        std::fs::create_dir(&inside).expect("can create");
        let result = unpack(archive, "a-1.0.0", &inside, &limits);
        // Whatever came of it, nothing is anywhere else.
        let names: Vec<_> = std::fs::read_dir(directory.path())
            .expect("can read")
            .map(|entry| entry.expect("can read").file_name())
            .collect();
        assert_eq!(names, ["inside"]);
        (result, directory)
    }

    #[test]
    fn what_is_refused() {
        use EntryType as T;
        let sound = || file("a-1.0.0/ok", b"ok");
        let set_uid = |bits: u32| Given {
            mode: bits | 0o755,
            ..file("a-1.0.0/x", b"")
        };
        let deep = format!("a-1.0.0/{}x", "d/".repeat(40));
        for (entries, why) in [
            (vec![file("/etc/passwd", b"")], "absolute"),
            (vec![file("//a-1.0.0/x", b"")], "absolute"),
            (vec![file("a-1.0.0/../x", b"")], "`..`"),
            (vec![file("../a-1.0.0/x", b"")], "`..`"),
            (vec![file("a-1.0.0/d/../../x", b"")], "`..`"),
            (vec![file("x", b"")], "not beneath"),
            (vec![file("b-1.0.0/x", b"")], "not beneath"),
            (vec![file("a-1.0.0.x/x", b"")], "not beneath"),
            (vec![file("./a-1.0.0/x", b"")], "not beneath"),
            (vec![file("a-1.0.0", b"")], "has to be"),
            (vec![file("a-1.0.0/./.", b"")], "has to be"),
            (vec![sound(), sound()], "twice"),
            (vec![sound(), file("a-1.0.0//./ok", b"")], "twice"),
            (
                vec![sound(), other("a-1.0.0/ok", T::Directory, "")],
                "twice",
            ),
            (
                vec![other("a-1.0.0/ok", T::Directory, ""), sound()],
                "twice",
            ),
            (vec![sound(), other("a-1.0.0/ok", T::Symlink, "x")], "twice"),
            (vec![other("a-1.0.0/ok", T::Symlink, "x"), sound()], "twice"),
            (vec![sound(), file("a-1.0.0/ok/x", b"")], "beneath the file"),
            (
                vec![
                    other("a-1.0.0/l", T::Symlink, "d"),
                    file("a-1.0.0/l/x", b""),
                ],
                "beneath the symbolic link",
            ),
            (
                vec![
                    other("a-1.0.0/l", T::Symlink, "d"),
                    other("a-1.0.0/l/x", T::Directory, ""),
                ],
                "beneath the symbolic link",
            ),
            (
                vec![other("a-1.0.0/l", T::Symlink, "/etc/passwd")],
                "absolute",
            ),
            (vec![other("a-1.0.0/l", T::Symlink, "..")], "leaves"),
            (vec![other("a-1.0.0/l", T::Symlink, "./../x")], "leaves"),
            (vec![other("a-1.0.0/d/l", T::Symlink, "../../x")], "leaves"),
            (
                vec![other("a-1.0.0/d/l", T::Symlink, "x/../../../y")],
                "after a name",
            ),
            (vec![other("a-1.0.0/l", T::Symlink, "")], "usable target"),
            (vec![other("a-1.0.0/h", T::Link, "/etc/passwd")], "absolute"),
            (vec![other("a-1.0.0/h", T::Link, "a-1.0.0/../x")], "`..`"),
            (vec![other("a-1.0.0/h", T::Link, "x")], "not beneath"),
            (
                vec![
                    other("a-1.0.0/h", T::Link, "a-1.0.0/later"),
                    file("a-1.0.0/later", b""),
                ],
                "no earlier file",
            ),
            (
                vec![
                    other("a-1.0.0/l", T::Symlink, "x"),
                    other("a-1.0.0/h", T::Link, "a-1.0.0/l"),
                ],
                "no earlier file",
            ),
            (
                vec![sound(), other("a-1.0.0/ok", T::Link, "a-1.0.0/ok")],
                "twice",
            ),
            (vec![other("a-1.0.0/c", T::Char, "")], "device"),
            (vec![other("a-1.0.0/b", T::Block, "")], "device"),
            (vec![other("a-1.0.0/f", T::Fifo, "")], "pipe"),
            (
                vec![other("a-1.0.0/s", T::new(b'@'), "")],
                "unknown type 0x40",
            ),
            (vec![set_uid(0o4000)], "set-user-id"),
            (vec![set_uid(0o2000)], "set-group-id"),
            (vec![file(&deep, b"")], "deep"),
        ] {
            let limits = Limits {
                depth: 30,
                ..Limits::of_archive(0)
            };
            let (result, _directory) = try_unpack(&pack(&entries), limits);
            match result {
                Err(UnpackError::Refused { entry, why: said }) => {
                    assert!(said.contains(why), "`{entry}` {said}; expected {why}");
                }
                result => panic!("expected {why}: {result:?}"),
            }
        }
    }

    #[test]
    fn names_in_extensions_are_checked_too() {
        let mut builder = tar::Builder::new(Vec::new());
        builder
            .append_pax_extensions([("path", &b"../../escape"[..])])
            .expect("in memory");
        let mut header = tar::Header::new_ustar();
        header.set_path("a-1.0.0/innocent").expect("fits");
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, &b""[..]).expect("in memory");
        let archive = gzip(&builder.into_inner().expect("in memory"));
        let (result, _directory) = try_unpack(&archive, Limits::of_archive(0));
        assert!(
            matches!(&result, Err(UnpackError::Refused { entry, .. }) if entry == "../../escape"),
            "{result:?}"
        );
    }

    #[test]
    fn what_comes_out() {
        let long = format!("a-1.0.0/{}/long", "n".repeat(60));
        let archive = pack(&[
            other("a-1.0.0/", EntryType::Directory, ""),
            file("a-1.0.0/src/lib.rs", b"lib"),
            other("a-1.0.0/src", EntryType::Directory, ""),
            Given {
                mode: 0o100_777,
                ..file("a-1.0.0/run.sh", b"run")
            },
            Given {
                mode: 0,
                ..file("a-1.0.0/src/closed", b"")
            },
            file("a-1.0.0/.cargo-ok", b"ok"),
            other("a-1.0.0/src/.cargo-ok", EntryType::Symlink, "/etc/passwd"),
            other("a-1.0.0/src/link", EntryType::Symlink, "../run.sh"),
            other("a-1.0.0/hard", EntryType::Link, "a-1.0.0/run.sh"),
            file(&long, b"1"),
            other("a-1.0.0/empty", EntryType::Directory, ""),
        ]);
        let (result, directory) = try_unpack(&archive, Limits::of_archive(0));
        assert_eq!(
            result.ok(),
            Some(Unpacked {
                files: 5,
                bytes: 10
            })
        );
        let inside = directory.path().join("inside");
        let mode = |path: &str| {
            let metadata = std::fs::symlink_metadata(inside.join(path)).expect(path);
            metadata.permissions().mode() & 0o7777
        };
        for (path, expected) in [
            ("src", 0o755),
            ("empty", 0o755),
            ("src/lib.rs", 0o644),
            ("src/closed", 0o644),
            ("run.sh", 0o755),
            ("hard", 0o755),
        ] {
            assert_eq!(mode(path), expected, "{path}");
        }
        assert_eq!(
            std::fs::read(inside.join("src/link")).ok().as_deref(),
            Some(&b"run"[..])
        );
        assert_eq!(
            std::fs::read(inside.join("hard")).ok().as_deref(),
            Some(&b"run"[..])
        );
        assert!(!inside.join(".cargo-ok").exists() && !inside.join("src/.cargo-ok").exists());
        assert!(directory.path().join("inside").join(&long[8..]).exists());
    }

    #[test]
    fn bombs_and_fragments() {
        let big = vec![0; 1 << 20];
        let archive = pack(&[file("a-1.0.0/big", &big), file("a-1.0.0/small", b"x")]);
        let small = Limits {
            total_bytes: 1 << 20,
            ..Limits::of_archive(0)
        };
        let (result, _directory) = try_unpack(&archive, small);
        assert!(
            matches!(result, Err(UnpackError::TooLarge(_))),
            "{result:?}"
        );
        let few = Limits {
            entries: 1,
            ..Limits::of_archive(0)
        };
        let (result, _directory) = try_unpack(&archive, few);
        assert!(
            matches!(result, Err(UnpackError::TooLarge(_))),
            "{result:?}"
        );
        // Hard links multiply what a small archive holds.
        let mut entries = vec![file("a-1.0.0/big", &big)];
        let names: Vec<_> = (0..4).map(|n| format!("a-1.0.0/{n}")).collect();
        entries.extend(
            names
                .iter()
                .map(|name| other(name, EntryType::Link, "a-1.0.0/big")),
        );
        let limits = Limits {
            total_bytes: 3 << 20,
            ..Limits::of_archive(0)
        };
        let (result, _directory) = try_unpack(&pack(&entries), limits);
        assert!(
            matches!(result, Err(UnpackError::TooLarge(_))),
            "{result:?}"
        );

        for length in [0, 1, 10, archive.len() / 2] {
            let (result, _directory) = try_unpack(&archive[..length], Limits::of_archive(0));
            assert!(
                matches!(result, Err(UnpackError::Damaged(_))),
                "{length}: {result:?}"
            );
        }
        let (result, _directory) = try_unpack(b"not an archive at all", Limits::of_archive(0));
        assert!(matches!(result, Err(UnpackError::Damaged(_))), "{result:?}");
        assert_eq!(Limits::of_archive(1).total_bytes, 512 << 20);
        assert_eq!(Limits::of_archive(1 << 30).total_bytes, 20 << 30);
    }
    #[test]
    fn whatever_the_archive_says_nothing_is_written_elsewhere() {
        use EntryType as T;
        let sound = pack(&[
            other("a-1.0.0/d/", T::Directory, ""),
            file("a-1.0.0/d/f", b"content"),
            other("a-1.0.0/l", T::Symlink, "d/f"),
            other("a-1.0.0/h", T::Link, "a-1.0.0/d/f"),
        ]);
        let mut tar = Vec::new();
        GzDecoder::new(&sound[..])
            .read_to_end(&mut tar)
            .expect("sound");
        let mut state = 1u32;
        let mut random = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        let small = Limits {
            total_bytes: 1 << 20,
            ..Limits::of_archive(0)
        };
        for _ in 0..300 {
            let mut tar = tar.clone();
            let header = random(4) * 512;
            for _ in 0..=random(3) {
                // Names, link names and types, in the first of which most of what can go wrong is said.
                let at = header + [random(40), 156, 157 + random(40), random(512)][random(4)];
                if let Some(byte) = tar.get_mut(at) {
                    *byte = b"./\0a012345xgLK\xff"[random(15)];
                }
            }
            // Make the checksum right again, since otherwise nothing else is looked at.
            for header in tar.chunks_exact_mut(512).filter(|header| header[0] != 0) {
                header[148..156].fill(b' ');
                let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
                header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
            let (_, directory) = try_unpack(&gzip(&tar), small);
            let inside = directory
                .path()
                .join("inside")
                .canonicalize()
                .expect("there");
            for entry in walkdir::WalkDir::new(&inside) {
                let entry = entry.expect("can read");
                if let Ok(real) = entry.path().canonicalize() {
                    assert!(real.starts_with(&inside), "{}", entry.path().display());
                }
            }
        }
    }
}
