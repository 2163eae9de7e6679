//! A crate as it was published, unpacked by the installed cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cargo unpacks the crate, made to do so by a package in `scratch` that depends on it. Cargo leaves programs
/// without a library out of everything that it prints, but not out of what it fetches.
pub(crate) fn unpacked(scratch: &Path, name: &str, version: &str) -> Result<PathBuf, String> {
    let wanting = scratch.join("wanting");
    let text = |error: std::io::Error| error.to_string();
    std::fs::create_dir_all(wanting.join("src")).map_err(text)?;
    std::fs::write(wanting.join("src/lib.rs"), "").map_err(text)?;
    let manifest = format!(
        "[package]\nname = \"wanting\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[dependencies]\n{name} = \"={version}\"\n"
    );
    std::fs::write(wanting.join("Cargo.toml"), manifest).map_err(text)?;
    let _ = std::fs::remove_file(wanting.join("Cargo.lock"));
    let output = Command::new("cargo")
        .arg("fetch")
        .current_dir(&wanting)
        .output()
        .map_err(text)?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
        .ok_or("cargo has no home")?;
    std::fs::read_dir(home.join("registry/src"))
        .map_err(text)?
        .flatten()
        .map(|registry| registry.path().join(format!("{name}-{version}")))
        .find(|place| place.is_dir())
        .ok_or_else(|| format!("cargo fetched {name} {version} and has it nowhere"))
}
