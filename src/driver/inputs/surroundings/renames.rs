//! Whether a member's own `Cargo.toml` says which packages its dependencies are.
//!
//! Procedural macros read the manifest of the package that they are used in, to learn how it calls the crate that the code
//! they make refers to. A name that is inherited stands for another package only in the workspace's `Cargo.toml`.

use toml::{Table, Value};

use crate::manifest::model::Package;

const TABLES: [&str; 5] = [
    "dependencies",
    "dev-dependencies",
    "dev_dependencies",
    "build-dependencies",
    "build_dependencies",
];

/// Whether a dependency with another name than its package is inherited from the workspace.
pub(super) fn are_inherited(package: &Package) -> bool {
    let dependencies = &package.summary.dependencies;
    let renamed: Vec<&str> = dependencies
        .iter()
        .filter_map(|dependency| dependency.renamed.as_ref())
        .map(|name| name.as_str())
        .collect();
    if renamed.is_empty() {
        return false;
    }
    let manifest = std::fs::read_to_string(&package.manifest_path)
        .ok()
        .and_then(|text| text.parse::<Table>().ok())
        .unwrap_or_default();
    let platforms = manifest.get("target").and_then(Value::as_table);
    let platforms = platforms
        .into_iter()
        .flat_map(|platforms| platforms.values().filter_map(Value::as_table));
    std::iter::once(&manifest)
        .chain(platforms)
        .flat_map(|table| TABLES.iter().filter_map(|name| table.get(*name)))
        .filter_map(Value::as_table)
        .any(|table| renamed.iter().any(|name| inherits(table, name)))
}

fn inherits(table: &Table, name: &str) -> bool {
    let value = table.get(name).and_then(|value| value.get("workspace"));
    value.and_then(Value::as_bool) == Some(true)
}
