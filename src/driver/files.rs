//! Files that belong to the user: written whole or not at all.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::DriverError;

/// Writes `bytes` to the file at `path`, making the directories above it; whoever looks sees the old content or the
/// new. A new file has mode 0644.
///
/// # Errors
/// What the system says; the file is then as it was.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, 0o644, |file| file.write_all(bytes))
}

/// Copies the file `from` to `to` likewise, with its mode.
///
/// # Errors
/// What the system says; the file at `to` is then as it was.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = std::fs::File::open(from)?;
    let mode = source.metadata()?.permissions().mode() & 0o777;
    put(to, mode, |file| io::copy(&mut source, file).map(drop))
}

/// The text of a file of the user's; nothing if it is not there.
pub(super) fn read_text(path: &Path) -> Result<String, DriverError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(DriverError::File {
            path: path.to_owned(),
            verb: "read",
            source,
        }),
    }
}

/// Replaces a file of the user's. What is read-only stays as it is, also for root, and a link stays a link.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), DriverError> {
    let failed = |source| DriverError::File {
        path: path.to_owned(),
        verb: "written",
        source,
    };
    let target = match std::fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(failed(error)),
    };
    if std::fs::metadata(&target).is_ok_and(|data| data.permissions().readonly()) {
        return Err(failed(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the file is read-only",
        )));
    }
    write(&target, text.as_bytes()).map_err(failed)
}

fn put(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut std::fs::File) -> io::Result<()>,
) -> io::Result<()> {
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    std::fs::create_dir_all(parent)?;
    let mut file = tempfile::NamedTempFile::new_in(parent)?;
    fill(file.as_file_mut())?;
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// What to do about an error of the system, where that can be said.
pub(super) fn help(error: &io::Error) -> Option<String> {
    let help = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space and run it again; nothing is half-written"
        }
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only: use another directory",
        io::ErrorKind::PermissionDenied => {
            "look at owner and mode of the file and of the directories above it"
        }
        io::ErrorKind::NotFound => "look for a typo in the path",
        _ => return None,
    };
    Some(help.to_owned())
}

/// What to do about an artifact that cannot be written.
pub(super) fn help_with_artifact(error: &crate::store::StoreError) -> Option<String> {
    use crate::store::StoreError;
    let help = match error {
        StoreError::DiskFull { .. } => {
            "free some space there, or choose another directory with `--target-dir`"
        }
        StoreError::ReadOnly { .. } | StoreError::Permission { .. } | StoreError::Io { .. } => {
            "choose a directory that can be written with `--target-dir`, or look at owner and mode of this one"
        }
        other => return other.help(),
    };
    Some(format!(
        "{help}; what was built is in the store, and is not built again"
    ))
}
