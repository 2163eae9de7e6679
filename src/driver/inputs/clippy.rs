//! What checking with clippy takes: its driver out of the toolchain, and its configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::driver::DriverError;
use crate::manifest::model::Workspace;
use crate::plan::clippy::{Clippy, DRIVER};
use crate::store::{Ingest, Store};
use crate::toolchain::model::RustToolchain;
use crate::tree::{Directory, EncodedTree, Entry, TreeRef};

/// The names of clippy's configuration file, the preferred one first.
const CONFIGURATION: [&str; 2] = [".clippy.toml", "clippy.toml"];

/// The driver of `rust`, and the configuration of the members of `workspace`.
pub(in crate::driver) fn clippy(
    store: &Store,
    rust: &RustToolchain,
    workspace: &Workspace,
    arguments: &[String],
) -> Result<Clippy, DriverError> {
    let driver = rust.root.join("bin").join(DRIVER);
    if !driver.is_file() {
        return Err(DriverError::Request {
            message: format!("the toolchain `{}` has no clippy", rust.root.display()),
            help: Some("install it with `rustup component add clippy`".to_owned()),
        });
    }
    let mut configuration = BTreeMap::new();
    for member in &workspace.members {
        let package = workspace.package(member).root();
        if let Some(file) = configuration_above(package, &workspace.root) {
            configuration.insert(
                member.clone(),
                directory_of(store, &file, "clippy.toml", false)?,
            );
        }
    }
    Ok(Clippy {
        driver: directory_of(store, &driver, DRIVER, true)?,
        arguments: arguments.to_vec(),
        configuration,
    })
}

/// Where what [`clippy`] reads is, or would be.
pub(in crate::driver) fn inputs(rust: &RustToolchain, workspace: &Workspace) -> BTreeSet<PathBuf> {
    let mut paths = BTreeSet::from([rust.root.join("bin").join(DRIVER)]);
    for member in &workspace.members {
        for directory in workspace.package(member).root().ancestors() {
            paths.extend(CONFIGURATION.iter().map(|name| directory.join(name)));
            if directory == workspace.root {
                break;
            }
        }
    }
    paths
}

/// The configuration that counts for the package at `package`, if it is not in the package: what is in there is seen
/// there. Nothing above the workspace counts.
fn configuration_above(package: &Path, workspace: &Path) -> Option<PathBuf> {
    for directory in package.ancestors() {
        let found = CONFIGURATION
            .iter()
            .map(|name| directory.join(name))
            .find(|path| path.is_file());
        if let Some(file) = found {
            return (directory != package).then_some(file);
        }
        if directory == workspace {
            break;
        }
    }
    None
}

/// A directory that holds `file` as `name` and nothing else.
fn directory_of(
    store: &Store,
    file: &Path,
    name: &str,
    executable: bool,
) -> Result<TreeRef, DriverError> {
    let blob = store.put_file(file, Ingest::Copy, executable)?;
    let mut level = Directory::new();
    level
        .insert(name, Entry::File { blob, executable })
        .expect("an empty directory takes a plain name");
    let root = level.tree_ref();
    let levels = BTreeMap::from([(root.digest, level.encode())]);
    Ok(store.put_tree(&EncodedTree { root, levels })?)
}
