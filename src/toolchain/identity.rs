//! Identity of files: what `stat` says changes whenever a file's content does, so that what was computed from many
//! files can be remembered without reading them again.
//!
//! A memo is one text file: a format line, the combined identity of a list of paths, one line of JSON that was
//! computed from them, then the paths. Reading one costs one `stat` per path and no process.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{FileStat, Mode, fstatat, lstat};

/// First line of a memo; another one is no memo of ours.
const FORMAT: &str = "kiln-memo 1";

fn absorb(hasher: &mut blake3::Hasher, stat: &FileStat) {
    let mut bytes = [0_u8; 56];
    let fields = [
        stat.st_ino.cast_signed(),
        stat.st_size,
        stat.st_mtime,
        stat.st_mtime_nsec,
        stat.st_ctime,
        stat.st_ctime_nsec,
        i64::from(stat.st_mode),
    ];
    for (slot, field) in bytes.chunks_exact_mut(8).zip(fields) {
        slot.copy_from_slice(&field.to_le_bytes());
    }
    hasher.update(&bytes);
}

/// How many paths are looked at in one go; more are shared among threads.
const CHUNK: usize = 512;

/// The combined identity of `paths`, in the given order: inode, size, mtime, ctime and mode of each, or that it is
/// absent. Symbolic links are not followed. Neighbours should stand together: a directory is opened once per run.
pub(crate) fn combined<P: AsRef<Path> + Sync>(paths: &[P]) -> [u8; 32] {
    let chunks: Vec<&[P]> = paths.chunks(CHUNK).collect();
    let mut parts = vec![[0; 32]; chunks.len()];
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = chunks.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let mut work = chunks.chunks(share).zip(parts.chunks_mut(share));
        let own = work.next();
        for (chunks, parts) in work {
            scope.spawn(move || fill(chunks, parts));
        }
        if let Some((chunks, parts)) = own {
            fill(chunks, parts);
        }
    });
    *blake3::hash(parts.as_flattened()).as_bytes()
}

fn fill<P: AsRef<Path>>(chunks: &[&[P]], parts: &mut [[u8; 32]]) {
    for (chunk, part) in chunks.iter().zip(parts) {
        *part = combined_chunk(chunk);
    }
}

fn combined_chunk<P: AsRef<Path>>(paths: &[P]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut parent: Option<(&Path, Option<OwnedFd>)> = None;
    for path in paths {
        let path = path.as_ref();
        let stat = match (path.parent(), path.file_name()) {
            (Some(directory), Some(name)) => {
                if parent.as_ref().is_none_or(|(at, _)| *at != directory) {
                    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                    parent = Some((directory, open(directory, flags, Mode::empty()).ok()));
                }
                match &parent {
                    Some((_, Some(fd))) => fstatat(fd, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok(),
                    _ => None,
                }
            }
            _ => lstat(path).ok(),
        };
        match stat {
            Some(stat) => absorb(&mut hasher, &stat),
            None => {
                hasher.update(b"absent");
            }
        }
    }
    *hasher.finalize().as_bytes()
}

/// The line of JSON of the memo at `file`, if it exists and all paths that it lists are as they were.
pub(crate) fn recall(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let mut lines = text.split('\n');
    if lines.next()? != FORMAT {
        return None;
    }
    let identity = *blake3::Hash::from_hex(lines.next()?).ok()?.as_bytes();
    let value = lines.next()?;
    let paths: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    (!paths.is_empty() && combined(&paths) == identity).then(|| value.to_owned())
}

/// Writes the memo at `file`, atomically. `identity` has to be taken before the files were read, so that a change
/// meanwhile makes the memo stale instead of wrong.
pub(crate) fn remember<T: serde::Serialize>(
    file: &Path,
    paths: &[PathBuf],
    identity: &[u8; 32],
    value: &T,
) -> io::Result<()> {
    let mut text = format!(
        "{FORMAT}\n{}\n{}\n",
        blake3::Hash::from_bytes(*identity).to_hex(),
        serde_json::to_string(value)?
    );
    for path in paths {
        match path.to_str() {
            Some(path) if !path.contains('\n') => {
                writeln!(text, "{path}").map_err(io::Error::other)?;
            }
            _ => return Err(io::Error::other("a path that is not one line of UTF-8")),
        }
    }
    write(file, &text)
}

/// Writes `text` to `file`, atomically, making its directory if there is none.
pub(crate) fn write(file: &Path, text: &str) -> io::Result<()> {
    let directory = file
        .parent()
        .ok_or_else(|| io::Error::other("a memo needs a directory"))?;
    fs::create_dir_all(directory)?;
    let temporary = tempfile::NamedTempFile::new_in(directory)?;
    fs::write(temporary.path(), text)?;
    temporary.persist(file)?;
    Ok(())
}

/// Puts paths in the order in which [`combined`] is quickest: what one directory holds stands together.
pub(crate) fn order(paths: &mut [PathBuf]) {
    paths.sort_by(|a, b| (a.parent(), a).cmp(&(b.parent(), b)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_holds_until_a_file_changes_appears_or_goes() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 4] = [
            ("content", |dir| fs::write(dir.join("a"), "longer").unwrap()),
            ("replaced", |dir| {
                fs::write(dir.join("new"), "one").unwrap();
                fs::rename(dir.join("new"), dir.join("a")).unwrap();
            }),
            ("removed", |dir| fs::remove_file(dir.join("a")).unwrap()),
            ("appeared", |dir| fs::write(dir.join("b"), "").unwrap()),
        ];
        for (what, change) in changes {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("a"), "one").unwrap();
            let paths = [dir.path().join("a"), dir.path().join("b")];
            let memo = dir.path().join("memos/m");
            remember(&memo, &paths, &combined(&paths), &"value").unwrap();
            assert_eq!(recall(&memo).unwrap(), "\"value\"");
            change(dir.path());
            assert!(recall(&memo).is_none(), "{what}");
        }
    }

    #[test]
    fn what_is_no_memo_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let memo = dir.path().join("m");
        for text in [
            "",
            "kiln-memo 1\n",
            "kiln-memo 0\n00\nx\n/\n",
            "kiln-memo 1\nzz\nx\n/",
        ] {
            fs::write(&memo, text).unwrap();
            assert!(recall(&memo).is_none(), "{text:?}");
        }
    }
}
