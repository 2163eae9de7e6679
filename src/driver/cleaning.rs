//! `clean`: takes away what kiln put into the target directory, and nothing else. Everything is below the directory
//! `kiln` there, which has to be marked as a cache (`CACHEDIR.TAG`), as every build marks it; links are not followed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::driver::DriverError;
use crate::manifest::model::{Package, TargetKind};

/// The name of the file that marks a cache.
pub const TAG: &str = "CACHEDIR.TAG";
/// How its text begins.
pub const TAG_SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55";

/// What is to go.
#[derive(Debug, Clone, Default)]
pub struct CleanRequest {
    /// Only what was built of these packages.
    pub packages: Option<Vec<Arc<Package>>>,
    /// Only what this build profile made, by the name of its directory.
    pub profile_directory: Option<String>,
    /// Only what is for these target triples.
    pub triples: Vec<String>,
    /// Only documentation.
    pub documentation: bool,
    /// Nothing goes; it is only counted.
    pub dry_run: bool,
}

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// How many files.
    pub files: u64,
    /// How many directories.
    pub directories: u64,
    /// How many bytes.
    pub bytes: u64,
    /// What was taken away, each with all that was in it.
    pub paths: Vec<PathBuf>,
}

/// Takes away what `request` asks for of `own`, the directory `kiln` in the target directory.
///
/// # Errors
/// If the directory is not kiln's, or something cannot be removed.
pub fn clean(own: &Path, request: &CleanRequest) -> Result<Cleaned, DriverError> {
    let mut cleaned = Cleaned::default();
    match std::fs::symlink_metadata(own) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(cleaned),
        Err(source) => return Err(failed(own, source)),
        Ok(metadata) if !metadata.is_dir() => {
            return Err(refused(own, "it is no directory (a link is not followed)"));
        }
        Ok(_) => {}
    }
    if !is_marked(own) && !own.parent().is_some_and(is_marked) {
        return Err(refused(
            own,
            "it has no `CACHEDIR.TAG`, which kiln leaves where it builds, and neither has the directory above",
        ));
    }
    for path in paths(own, request).map_err(|source| failed(own, source))? {
        remove(&path, request.dry_run, &mut cleaned)?;
    }
    Ok(cleaned)
}

fn refused(own: &Path, why: &str) -> DriverError {
    DriverError::Request {
        message: format!("`{}` is not cleaned: {why}", own.display()),
        help: Some(
            "look at what is in it, and remove it by hand; or name another directory with `--target-dir`"
                .to_owned(),
        ),
    }
}

fn failed(path: &Path, source: io::Error) -> DriverError {
    DriverError::File {
        path: path.to_owned(),
        verb: "removed",
        source,
    }
}

/// Whether a directory says of itself that it is a cache.
fn is_marked(directory: &Path) -> bool {
    std::fs::read(directory.join(TAG)).is_ok_and(|text| text.starts_with(TAG_SIGNATURE.as_bytes()))
}

/// What the request comes to, whether it is there or not.
fn paths(own: &Path, request: &CleanRequest) -> io::Result<Vec<PathBuf>> {
    let platforms: Vec<PathBuf> = if request.triples.is_empty() {
        vec![own.to_owned()]
    } else {
        request
            .triples
            .iter()
            .map(|triple| own.join(triple))
            .collect()
    };
    let below = |name: &str| {
        platforms
            .iter()
            .map(|platform| platform.join(name))
            .collect()
    };
    if request.documentation {
        return Ok(below("doc"));
    }
    let Some(packages) = &request.packages else {
        return Ok(match &request.profile_directory {
            Some(directory) => below(directory),
            None => platforms,
        });
    };
    let mut all = Vec::new();
    let directory = request.profile_directory.as_deref().unwrap_or("debug");
    for platform in &platforms {
        let directory = platform.join(directory);
        for package in packages {
            all.extend(of_package(&directory, package)?);
        }
    }
    Ok(all)
}

/// The artifacts of a package in the directory of a profile.
fn of_package(directory: &Path, package: &Package) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for target in &package.targets {
        let name = target.crate_name();
        let library = format!("lib{name}.");
        let test = format!("{name}-");
        let is_hash =
            |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_library = |file: &str| file.starts_with(&library);
        match target.kind {
            TargetKind::Lib(_) => found.extend(matching(directory, &is_library)?),
            TargetKind::Bin => found.push(directory.join(&target.name)),
            TargetKind::ExampleBin => found.push(directory.join("examples").join(&target.name)),
            TargetKind::ExampleLib(_) => {
                found.extend(matching(&directory.join("examples"), &is_library)?);
            }
            TargetKind::Test | TargetKind::Bench | TargetKind::CustomBuild => {}
        }
        // Tests of any target.
        found.extend(matching(&directory.join("deps"), &|file| {
            file.strip_prefix(&test).is_some_and(is_hash)
        })?);
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// The files of a directory whose names will do.
fn matching(directory: &Path, will_do: &dyn Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(will_do) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn remove(path: &Path, dry_run: bool, cleaned: &mut Cleaned) -> Result<(), DriverError> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed(path, source)),
    };
    for entry in walkdir::WalkDir::new(path).follow_links(false) {
        let metadata = entry.and_then(|entry| entry.metadata()).map_err(|error| {
            failed(
                path,
                error
                    .into_io_error()
                    .unwrap_or_else(|| io::ErrorKind::Other.into()),
            )
        })?;
        if metadata.is_dir() {
            cleaned.directories += 1;
        } else {
            cleaned.files += 1;
            cleaned.bytes += metadata.len();
        }
    }
    cleaned.paths.push(path.to_owned());
    if dry_run {
        return Ok(());
    }
    let removed = if metadata.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, error)),
        _ => Ok(()),
    }
}
