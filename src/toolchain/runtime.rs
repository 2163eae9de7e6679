//! What some programs need besides libraries: the modules that an interpreter cannot start without, and cmake's own.

use std::path::{Path, PathBuf};

use super::ask;
use super::error::ToolchainError;

/// The directories that belong to the program at `path`, by asking it where they are.
pub(crate) fn directories(path: &Path) -> Result<Vec<PathBuf>, ToolchainError> {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let lines = match name.as_str() {
        "perl" => {
            // Its own modules, not what else was installed for it.
            let script = "use Config; print \"$Config{privlibexp}\\n$Config{archlibexp}\\n\"; \
                          foreach (@INC) { print \"$_\\n\" if m{/perl-base$} }";
            ask::ask(path, &["-e", script])?.stdout
        }
        "python3" | "python" => {
            let script = "import sysconfig; p = sysconfig.get_paths(); print(p['stdlib']); print(p['platstdlib'])";
            ask::ask(path, &["-I", "-S", "-c", script])?.stdout
        }
        "cmake" => {
            let answer = ask::ask(path, &["--version"])?;
            cmake_modules(path, &answer.stdout).unwrap_or_default()
        }
        _ => String::new(),
    };
    let mut found: Vec<PathBuf> = lines
        .lines()
        .map(PathBuf::from)
        .filter(|path| path.is_absolute() && path.is_dir())
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// Where cmake has its modules: beneath its prefix, by its version.
fn cmake_modules(path: &Path, version: &str) -> Option<String> {
    let resolved = std::fs::canonicalize(path).ok()?;
    let prefix = resolved.parent()?.parent()?;
    let version = version.split_whitespace().nth(2)?;
    let mut numbers = version.split('.');
    let (major, minor) = (numbers.next()?, numbers.next()?);
    let share = prefix.join("share");
    let candidates = [format!("cmake-{major}.{minor}"), "cmake".to_owned()];
    Some(
        candidates
            .iter()
            .map(|name| share.join(name).display().to_string())
            .collect::<Vec<_>>()
            .join("\n"),
    )
}

/// Leaves out of an interpreter's modules what is not its own or changes as it runs.
pub(crate) fn is_kept(place: &str) -> bool {
    let name = place.rsplit('/').next().unwrap_or(place);
    !matches!(
        name,
        "__pycache__" | "site-packages" | "dist-packages" | "test" | "Help"
    )
}
