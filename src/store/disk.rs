//! The few file operations that the store is made of. Names are looked up beneath an open directory and symbolic
//! links are never followed, unless a function says so.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};

use crate::digest::BlobDigest;

/// Time of the last modification of every file and directory of the store, in seconds since the epoch:
/// 2000-01-01. An action that looks at times sees the same ones everywhere; no time before 1980, which zip archives
/// cannot hold.
pub(super) const MTIME_SECONDS: i64 = 946_684_800;

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size_bytes: u64,
    pub(super) mtime_ns: i64,
    pub(super) ctime_ns: i64,
}

#[expect(
    clippy::unnecessary_cast,
    clippy::useless_conversion,
    reason = "the types of these fields differ between architectures"
)]
impl From<&Stat> for Identity {
    fn from(stat: &Stat) -> Self {
        let nanoseconds =
            |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            mtime_ns: nanoseconds(i64::from(stat.st_mtime), stat.st_mtime_nsec as i64),
            ctime_ns: nanoseconds(i64::from(stat.st_ctime), stat.st_ctime_nsec as i64),
        }
    }
}

pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

pub(super) fn is_executable(stat: &Stat) -> bool {
    stat.st_mode & 0o111 != 0
}

/// The mode bits of a file of the store.
pub(super) fn file_mode(executable: bool) -> u32 {
    if executable { 0o755 } else { 0o644 }
}

/// Opens a directory; the path itself may lead through links, as the caller's own paths do.
pub(super) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Opens a directory beneath another.
pub(super) fn open_directory_at(
    parent: impl AsFd,
    name: impl rustix::path::Arg,
) -> io::Result<OwnedFd> {
    Ok(fs::openat(
        parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Opens a file beneath a directory for reading. Never waits, as opening a named pipe would.
pub(super) fn open_file_at(parent: impl AsFd, name: impl rustix::path::Arg) -> io::Result<File> {
    let fd = fs::openat(
        parent,
        name,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    Ok(File::from(fd))
}

/// Makes a new file beneath a directory for writing.
pub(super) fn create_file_at(parent: impl AsFd, name: impl rustix::path::Arg) -> io::Result<File> {
    let fd = fs::openat(
        parent,
        name,
        OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o600),
    )?;
    Ok(File::from(fd))
}

/// The state of an entry of a directory; `None` where there is no such entry.
pub(super) fn stat_at(parent: impl AsFd, name: impl rustix::path::Arg) -> io::Result<Option<Stat>> {
    match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The state of a path, whose last component is not followed.
pub(super) fn stat(path: &Path) -> io::Result<Option<Stat>> {
    stat_at(fs::CWD, path)
}

/// Times as every file of the store has them.
fn store_times() -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: fs::UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: MTIME_SECONDS,
            tv_nsec: 0,
        },
    }
}

/// Gives an open file or directory the mode, and the time that the store's files have, and makes it this user's: an
/// action may have run as another one, who must not be able to change modes and times through a descriptor later.
pub(super) fn normalise(fd: impl AsFd, mode: u32) -> io::Result<()> {
    let owner = nix::unistd::geteuid().as_raw();
    if fs::fstat(fd.as_fd())?.st_uid != owner {
        let group = nix::unistd::getegid().as_raw();
        fs::fchown(
            fd.as_fd(),
            Some(fs::Uid::from_raw(owner)),
            Some(fs::Gid::from_raw(group)),
        )?;
    }
    fs::fchmod(fd.as_fd(), Mode::from_raw_mode(mode))?;
    fs::futimens(fd.as_fd(), &store_times())?;
    Ok(())
}

/// Gives a symbolic link the time that the store's files have.
pub(super) fn normalise_link(parent: impl AsFd, name: &str) -> io::Result<()> {
    Ok(fs::utimensat(
        parent,
        name,
        &store_times(),
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

/// Hashes what an open file holds, from its beginning.
///
/// Read, not mapped: a file that somebody cuts short while it is mapped kills the process (SIGBUS), and hashing runs
/// at the speed of memory either way. Large pieces are hashed on all cores.
pub(super) fn hash(file: &File, size_hint: u64) -> io::Result<(BlobDigest, u64)> {
    const PIECE: u64 = 4 << 20;
    const WORTH_SHARING: u64 = 1 << 20;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = Vec::new();
    let piece = size_hint.saturating_add(1).clamp(512, PIECE);
    let mut position = 0;
    loop {
        buffer.clear();
        let mut file = file;
        if position == 0 {
            io::Seek::rewind(&mut file)?;
        }
        let read = file.take(piece).read_to_end(&mut buffer)? as u64;
        position += read;
        if read >= WORTH_SHARING {
            hasher.update_rayon(&buffer);
        } else {
            hasher.update(&buffer);
        }
        if read < piece {
            return Ok((
                BlobDigest::from_bytes(*hasher.finalize().as_bytes()),
                position,
            ));
        }
    }
}

/// Copies all of `from` into the empty file `to`: sharing the blocks where the file system can, else in the kernel
/// where that works, else through a buffer.
pub(super) fn copy(from: &File, to: &File) -> io::Result<()> {
    if fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let (mut from, mut to) = (from, to);
    io::Seek::rewind(&mut from)?;
    io::copy(&mut from, &mut to)?;
    Ok(())
}

/// Names of a directory's entries, without `.` and `..`, sorted by bytes.
pub(super) fn names(directory: impl AsFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes a directory and all below it, however deep it goes and also where modes forbid to look into it. Absent is
/// fine; of a link, the link goes.
///
/// What an action leaves is as deep as it likes, deeper than paths are long, than there are descriptors, and than a stack
/// of one call per level. So nothing here descends: directories below a directory are moved up next to it, and come next.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    let root = match open_removable(fs::CWD, path.as_os_str().as_encoded_bytes()) {
        Ok(root) => root,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => match stat(path)? {
            Some(stat) if kind(&stat) != FileType::Directory => {
                return Ok(fs::unlinkat(fs::CWD, path, AtFlags::empty())?);
            }
            _ => return Err(error),
        },
    };
    let mut moved = 0u64;
    loop {
        let names = names(&root)?;
        if names.is_empty() {
            break;
        }
        for name in names {
            if removed_as_file(&root, &name)? {
                continue;
            }
            let directory = open_removable(root.as_fd(), &name)?;
            for below in self::names(&directory)? {
                if removed_as_file(&directory, &below)? {
                    continue;
                }
                // To be moved it has to be writable itself, since `..` in it changes.
                open_removable(directory.as_fd(), &below)?;
                loop {
                    let up = format!(".kiln-{moved}");
                    moved += 1;
                    let flags = fs::RenameFlags::NOREPLACE;
                    match fs::renameat_with(&directory, below.as_slice(), &root, up, flags) {
                        Err(rustix::io::Errno::EXIST) => {}
                        other => break other?,
                    }
                }
            }
            fs::unlinkat(&root, name.as_slice(), AtFlags::REMOVEDIR)?;
        }
    }
    match fs::unlinkat(fs::CWD, path, AtFlags::REMOVEDIR) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

/// Removes what is called `name` unless it is a directory; whether it is gone.
fn removed_as_file(directory: &OwnedFd, name: &[u8]) -> io::Result<bool> {
    match fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(true),
        // Linux says the one, POSIX the other.
        Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens a directory whose entries are to be removed, making that possible where its mode forbids it.
fn open_removable(parent: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let parent = parent.as_fd();
    let directory = match open_directory_at(parent, name) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fs::chmodat(parent, name, Mode::from_raw_mode(0o700), AtFlags::empty())?;
            return open_directory_at(parent, name);
        }
        other => other?,
    };
    if fs::fstat(&directory)?.st_mode & 0o700 != 0o700 {
        fs::fchmod(&directory, Mode::from_raw_mode(0o700))?;
    }
    Ok(directory)
}

/// Bytes of a name or path, made printable.
pub(super) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .take(300)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Nanoseconds since the epoch, now.
pub(super) fn now_ns() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
        })
}
