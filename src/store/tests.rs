//! The store on a real disk. Processes that are killed and raced are in `tests/store_processes.rs`.

mod collect;
mod content;
mod taking;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::*;
use crate::path::RelPath;

/// A store in a directory of its own.
struct Fixture {
    directory: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(&directory.path().join("home")).expect("a store");
        Self { directory, store }
    }

    /// Closes the store and opens it again, as another process would.
    fn reopened(self) -> Self {
        let Self { directory, store } = self;
        drop(store);
        let store = Store::open(&directory.path().join("home")).expect("a store");
        Self { directory, store }
    }

    fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// A directory outside of the store, with these files. `name*` is executable, `name@` a link with that text,
    /// `name/` an empty directory.
    fn source(&self, name: &str, entries: &[(&str, &str)]) -> PathBuf {
        let root = self.directory.path().join(name);
        fill(&root, entries);
        root
    }

    /// Such a directory on the store's file system, taken in as an action's output.
    fn captured(&self, entries: &[(&str, &str)]) -> TreeRef {
        let work = self.store.work_dir().expect("a directory");
        let out = work.path().join("out");
        fill(&out, entries);
        self.store
            .capture_directory(&out, &CaptureLimits::default())
            .expect("captured")
    }
}

fn fill(root: &Path, entries: &[(&str, &str)]) {
    std::fs::create_dir_all(root).expect("a directory");
    for (name, text) in entries {
        let path = root.join(name.trim_end_matches(['*', '@', '/']));
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        if name.ends_with('@') {
            std::os::unix::fs::symlink(text, &path).expect("a link");
        } else if name.ends_with('/') {
            std::fs::create_dir_all(&path).expect("a directory");
        } else {
            std::fs::write(&path, text).expect("a file");
            if name.ends_with('*') {
                set_mode(&path, 0o700);
            }
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
}

/// What [`fill`] would make this directory from, with modes as the store keeps them.
fn listing(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name() {
        let entry = entry.expect("an entry");
        let name = entry
            .path()
            .strip_prefix(root)
            .expect("beneath")
            .to_str()
            .expect("UTF-8")
            .to_owned();
        let metadata = entry.metadata().expect("metadata");
        let mode = metadata.permissions().mode() & 0o7777;
        if entry.path_is_symlink() {
            let target = std::fs::read_link(entry.path()).expect("a link");
            found.push((name + "@", target.to_str().expect("UTF-8").to_owned()));
        } else if metadata.is_dir() {
            assert_eq!(mode, 0o755, "{name}");
            found.push((name + "/", String::new()));
        } else {
            let text = std::fs::read_to_string(entry.path()).expect("text");
            match mode {
                0o644 => found.push((name, text)),
                0o755 => found.push((name + "*", text)),
                other => panic!("{name} has mode {other:o}"),
            }
        }
    }
    found
}

fn pairs(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

fn rel(path: &str) -> RelPath {
    RelPath::new(path).expect("a path")
}

/// Changes a byte of a file without changing its size, mode or mtime.
fn damage(path: &Path) {
    let metadata = std::fs::metadata(path).expect("metadata");
    let mut bytes = std::fs::read(path).expect("bytes");
    bytes[0] ^= 1;
    std::fs::write(path, bytes).expect("written");
    let file = std::fs::File::options()
        .write(true)
        .open(path)
        .expect("a file");
    file.set_modified(metadata.modified().expect("a time"))
        .expect("a time");
    assert_eq!(
        std::fs::metadata(path).expect("metadata").mtime(),
        metadata.mtime()
    );
}
