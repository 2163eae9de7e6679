//! Which files of its directory a package consists of: with `include` only what that names; else everything but what
//! `exclude` names, what git ignores (in a repository that has the manifest) or what is hidden (elsewhere), the target
//! directory, and other packages below.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::driver::DriverError;
use crate::driver::packaging::vcs::Repository;
use crate::manifest::model::Package;

/// `include` and `exclude` of a package.
struct Filter<'a> {
    root: &'a Path,
    rules: Gitignore,
    includes: bool,
}

impl<'a> Filter<'a> {
    fn new(package: &'a Package, without_hidden: bool) -> Result<Self, DriverError> {
        let includes = !package.packaged.include.is_empty();
        let hidden = (!includes && without_hidden).then_some(".*");
        let rules = if includes {
            &package.packaged.include
        } else {
            &package.packaged.exclude
        };
        let mut builder = GitignoreBuilder::new(package.root());
        let wrong = |error: ignore::Error| DriverError::Request {
            message: format!(
                "`{}` has a pattern in `include` or `exclude` that cannot be used: {error}",
                package.manifest_path.display()
            ),
            help: Some("patterns are written as in a `.gitignore`".to_owned()),
        };
        for rule in hidden.into_iter().chain(rules.iter().map(String::as_str)) {
            builder.add_line(None, rule).map_err(wrong)?;
        }
        Ok(Self {
            root: package.root(),
            rules: builder.build().map_err(wrong)?,
            includes,
        })
    }

    fn takes(&self, path: &Path, is_directory: bool) -> bool {
        let Ok(relative) = path.strip_prefix(self.root) else {
            return false;
        };
        if relative == Path::new("Cargo.lock") || relative == Path::new("Cargo.toml") {
            return true;
        }
        if !self.includes {
            return !self
                .rules
                .matched_path_or_any_parents(relative, is_directory)
                .is_ignore();
        }
        // Rules name files; which directories lead to them, they need not say.
        is_directory
            || self
                .rules
                .matched_path_or_any_parents(relative, false)
                .is_ignore()
    }
}

/// The files of `package`, absolute.
pub(super) fn files(
    package: &Package,
    repository: Option<&Repository>,
) -> Result<BTreeSet<PathBuf>, DriverError> {
    let root = package.root();
    let tracked = repository
        .filter(|_| package.packaged.include.is_empty())
        .map(|repository| repository.tracked_below(root))
        .filter(|tracked| tracked.contains(&root.join("Cargo.toml")));
    let filter = Filter::new(package, tracked.is_none())?;
    let mut found = BTreeSet::new();
    match tracked {
        Some(tracked) => in_repository(root, &filter, tracked, &mut found)?,
        None => walk(root, true, &filter, &mut found)?,
    }
    Ok(found)
}

fn failed(path: &Path, source: std::io::Error) -> DriverError {
    DriverError::File {
        path: path.to_owned(),
        verb: "read",
        source,
    }
}

/// What git tracks, and what it neither tracks nor ignores.
fn in_repository(
    root: &Path,
    filter: &Filter<'_>,
    tracked: BTreeSet<PathBuf>,
    found: &mut BTreeSet<PathBuf>,
) -> Result<(), DriverError> {
    let target = root.join("target");
    let not_ours = target.clone();
    let walk_all = ignore::WalkBuilder::new(root)
        .hidden(false)
        .ignore(false)
        .filter_entry(move |entry| entry.file_name() != ".git" && *entry.path() != not_ours)
        .build();
    let mut all: BTreeSet<PathBuf> = BTreeSet::new();
    for entry in walk_all {
        let entry = entry.map_err(|error| {
            let why = error.to_string();
            failed(
                root,
                error
                    .into_io_error()
                    .unwrap_or_else(|| std::io::Error::other(why)),
            )
        })?;
        if entry.file_type().is_some_and(|kind| !kind.is_dir()) {
            all.insert(entry.into_path());
        }
    }
    // Tracked files count though they match a rule, and in the target directory.
    all.extend(tracked.into_iter().filter(|path| {
        path.symlink_metadata()
            .is_ok_and(|metadata| !metadata.is_dir())
    }));
    let packages: BTreeSet<PathBuf> = all
        .iter()
        .filter(|path| path.file_name().is_some_and(|name| name == "Cargo.toml"))
        .filter_map(|path| path.parent())
        .filter(|directory| *directory != root)
        .map(Path::to_owned)
        .collect();
    for path in all {
        let is_of_other = path
            .ancestors()
            .take_while(|directory| *directory != root)
            .any(|directory| packages.contains(directory));
        if is_of_other {
            continue;
        }
        let Ok(metadata) = path.symlink_metadata() else {
            continue;
        };
        if metadata.is_symlink() && path.is_dir() {
            walk(&path, false, filter, found)?;
        } else if (metadata.is_file() || metadata.is_symlink()) && filter.takes(&path, false) {
            found.insert(path);
        }
    }
    Ok(())
}

/// Everything below `start`, links followed.
fn walk(
    start: &Path,
    is_root: bool,
    filter: &Filter<'_>,
    found: &mut BTreeSet<PathBuf>,
) -> Result<(), DriverError> {
    let walk = walkdir::WalkDir::new(start)
        .follow_links(true)
        .into_iter()
        .filter_entry(|entry| {
            let path = entry.path();
            let is_start = is_root && entry.depth() == 0;
            let is_directory = entry.file_type().is_dir();
            if !is_start && !filter.takes(path, is_directory) {
                return false;
            }
            if !is_directory {
                return true;
            }
            let is_other_package = !is_start && path.join("Cargo.toml").exists();
            let is_target = is_root && entry.depth() == 1 && entry.file_name() == "target";
            !is_other_package && !is_target
        });
    for entry in walk {
        match entry {
            Ok(entry) => {
                let kind = entry.file_type();
                if kind.is_file() || kind.is_symlink() {
                    found.insert(entry.into_path());
                }
            }
            // A link to a directory above leads nowhere new.
            Err(error) if error.loop_ancestor().is_some() => {}
            Err(error) => {
                let path = error.path().unwrap_or(start).to_owned();
                if filter.takes(&path, path.is_dir()) {
                    let source = error
                        .into_io_error()
                        .unwrap_or_else(|| std::io::ErrorKind::Other.into());
                    return Err(failed(&path, source));
                }
            }
        }
    }
    Ok(())
}
