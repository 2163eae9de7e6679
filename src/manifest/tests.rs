use std::path::PathBuf;

/// The directories of the crates that this machine's cargo has unpacked, if any.
pub(crate) fn registry_sources() -> Option<Vec<PathBuf>> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    let mut crates = Vec::new();
    for registry in std::fs::read_dir(home.join("registry/src")).ok()? {
        let registry = registry.ok()?.path();
        crates.extend(
            std::fs::read_dir(registry)
                .ok()?
                .filter_map(|entry| Some(entry.ok()?.path())),
        );
    }
    crates.sort();
    (!crates.is_empty()).then_some(crates)
}
