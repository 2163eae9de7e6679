//! `package`: which files a package consists of when it is published, by cargo's rules.
//!
//! `files` lists them (`include`, `exclude`, what git ignores); `vcs` says which commit they are of, and whether they
//! are committed at all. git's own files are read through gix's libraries; no git program is run. `create` makes the
//! archive of them, with the manifest and the lock that stand alone, and `archive` has its bytes.

mod archive;
mod create;
mod files;
mod vcs;

pub use create::{Created, Packaging, registry_of};

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::driver::DriverError;
use crate::manifest::model::Package;
use crate::package::{DependencyKind, PackageId};

/// The name under which the manifest is packaged as it was written.
const ORIGINAL_MANIFEST: &str = "Cargo.toml.orig";
/// The file that names the commit.
const VCS_INFO: &str = ".cargo_vcs_info.json";

/// How a package is to be packaged.
#[derive(Debug, Clone, Copy, Default)]
pub struct PackagingOptions {
    /// Files may differ from what is committed.
    pub allow_dirty: bool,
    /// `Cargo.lock` is left out.
    pub exclude_lockfile: bool,
}

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveFile {
    /// Its path below the package's directory.
    pub path: String,
    content: Content,
}

/// Where the content of a file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    OnDisk(PathBuf),
    Manifest,
    Lockfile,
    VcsInfo(vcs::VcsInfo),
}

/// The files of a package in the order of the archive, and what the user is to be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileList {
    /// The files.
    pub files: Vec<ArchiveFile>,
    /// Warnings.
    pub warnings: Vec<String>,
}

/// The files that the archive of `package` has; `root_manifest` is that of its workspace.
///
/// # Errors
/// If a file cannot be part of an archive, or is not committed and has to be.
pub fn list(
    package: &Package,
    root_manifest: &Path,
    options: PackagingOptions,
) -> Result<FileList, DriverError> {
    let mut warnings = Vec::new();
    if !package.packaged.include.is_empty() && !package.packaged.exclude.is_empty() {
        warnings.push(
            "both package.include and package.exclude are specified; the exclude list will be ignored"
                .to_owned(),
        );
    }
    let repository = vcs::Repository::discover(package.root())?;
    let found = files::files(package, repository.as_ref())?;
    let vcs_info = match &repository {
        Some(repository) => {
            repository.check(package, root_manifest, &found, options.allow_dirty)?
        }
        None => None,
    };
    let mut listed: BTreeMap<PathBuf, Content> = BTreeMap::new();
    let mut has_manifest = false;
    for path in &found {
        let relative = path.strip_prefix(package.root()).unwrap_or(path);
        check_name(relative)?;
        if relative == Path::new("Cargo.lock") {
            continue;
        }
        if relative == Path::new(VCS_INFO) || relative == Path::new(ORIGINAL_MANIFEST) {
            return Err(refused(
                format!("the package has a file `{}`", relative.display()),
                "packages have a file of that name of their own: rename it, or add it to `package.exclude`",
            ));
        }
        if relative
            .to_str()
            .is_some_and(|name| name.eq_ignore_ascii_case("Cargo.toml"))
        {
            has_manifest = true;
            continue;
        }
        listed.insert(relative.to_owned(), Content::OnDisk(path.clone()));
    }
    if has_manifest {
        let original = Content::OnDisk(package.manifest_path.clone());
        listed.insert(PathBuf::from(ORIGINAL_MANIFEST), original);
        listed.insert(PathBuf::from("Cargo.toml"), Content::Manifest);
    } else {
        warnings.push(format!(
            "no `Cargo.toml` file found when packaging `{}` (note the case of the file name).",
            package.id().name()
        ));
    }
    if !options.exclude_lockfile {
        listed.insert(PathBuf::from("Cargo.lock"), Content::Lockfile);
    }
    if let Some(info) = vcs_info {
        listed.insert(PathBuf::from(VCS_INFO), Content::VcsInfo(info));
    }
    add_named(package, &mut listed, &mut warnings)?;
    check_build_script(package)?;
    let files = listed
        .into_iter()
        .filter_map(|(path, content)| {
            let path = path.to_str()?.to_owned();
            Some(ArchiveFile { path, content })
        })
        .collect();
    Ok(FileList { files, warnings })
}

fn refused(message: String, help: &str) -> DriverError {
    DriverError::Request {
        message,
        help: Some(help.to_owned()),
    }
}

/// Refuses names that other systems cannot have.
fn check_name(relative: &Path) -> Result<(), DriverError> {
    let Some(name) = relative.to_str() else {
        return Err(refused(
            format!("the name of the file `{}` is not UTF-8", relative.display()),
            "rename the file, or add it to `package.exclude`",
        ));
    };
    let name = name.rsplit('/').next().unwrap_or(name);
    match name
        .chars()
        .find(|c| ['\\', '<', '>', ':', '"', '|', '?', '*'].contains(c))
    {
        None => Ok(()),
        Some(c) => Err(refused(
            format!(
                "the name of the file `{}` has the character `{c}`, which not every system allows",
                relative.display()
            ),
            "rename the file, or add it to `package.exclude`",
        )),
    }
}

/// Adds the licence and the readme that the manifest names; those outside come to lie in the package's own directory.
fn add_named(
    package: &Package,
    listed: &mut BTreeMap<PathBuf, Content>,
    warnings: &mut Vec<String>,
) -> Result<(), DriverError> {
    let named = [
        ("license-file", &package.metadata.license_file),
        ("readme", &package.metadata.readme),
    ];
    for (key, path) in named {
        let Some(stated) = path else { continue };
        let path = normalized(&package.root().join(stated));
        if !path.is_file() {
            return Err(refused(
                format!(
                    "`package.{key}` names `{stated}`, which does not exist in `{}`",
                    package.root().display()
                ),
                "correct the path in the manifest",
            ));
        }
        match path.strip_prefix(package.root()) {
            Ok(relative) => {
                let content = Content::OnDisk(path.clone());
                listed.entry(relative.to_owned()).or_insert(content);
            }
            Err(_) => {
                let name = PathBuf::from(path.file_name().unwrap_or_default());
                let is_taken = listed.contains_key(&name);
                let content = Content::OnDisk(path.clone());
                listed.entry(name.clone()).or_insert(content);
                if is_taken {
                    warnings.push(format!(
                        "{key} `{stated}` lies outside of the package, which has a file `{}` of its own: that one is \
                         packaged",
                        name.display()
                    ));
                }
            }
        }
    }
    Ok(())
}

/// A build script has to be in the package that it builds.
fn check_build_script(package: &Package) -> Result<(), DriverError> {
    let Some(script) = package.build_script() else {
        return Ok(());
    };
    let path = normalized(&package.root().join(&script.src_path));
    if path.is_file() && path.starts_with(package.root()) {
        return Ok(());
    }
    Err(refused(
        format!(
            "the build script `{}` is not a file of the package",
            path.display()
        ),
        "let `package.build` name a file in the package's directory",
    ))
}

/// The path without `.` and `..`, whatever links there are.
fn normalized(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(result.pop()),
            Component::CurDir => {}
            other => result.push(other),
        }
    }
    result
}

/// `packages` in such an order that each comes after those of them that it depends on, as they have to be published.
pub fn in_order<'a>(packages: &[&'a Package]) -> Vec<&'a Package> {
    let by_id: BTreeMap<&PackageId, &Package> = packages.iter().map(|p| (p.id(), *p)).collect();
    let needs = |package: &Package| -> BTreeSet<&'a PackageId> {
        let named = package.summary.dependencies.iter().filter(|dependency| {
            dependency.source.is_path()
                && (dependency.kind != DependencyKind::Development || dependency.has_version)
                && dependency.source != *package.id().source()
        });
        named
            .filter_map(|dependency| {
                let found = by_id.keys().find(|id| *id.source() == dependency.source);
                found.copied()
            })
            .collect()
    };
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    for start in by_id.keys() {
        // Each with those of its dependencies that are still to be looked at.
        let mut open = Vec::new();
        if seen.insert(*start) {
            open.push((*start, needs(by_id[start])));
        }
        while let Some((id, rest)) = open.last_mut() {
            match rest.pop_first() {
                Some(next) => {
                    if seen.insert(next) {
                        open.push((next, needs(by_id[next])));
                    }
                }
                None => {
                    order.push(by_id[*id]);
                    open.pop();
                }
            }
        }
    }
    order
}
