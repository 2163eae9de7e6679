//! Puts the documentation of all crates together where the user reads it: `target/kiln/[<triple>/]doc`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::driver::building::build::Built;
use crate::driver::{DriverError, Planned};
use crate::path::RelPath;
use crate::plan::docs::PAGES;
use crate::plan::graph::Documentation;
use crate::store::StoreError;

/// Says in the directory what it was made from.
const MARK: &str = ".kiln";

/// What was handed out.
#[derive(Debug)]
pub struct HandedOut {
    /// The first page of each crate that the user asked for.
    pub pages: Vec<PathBuf>,
    /// The files that say what the pages were made from.
    pub marks: Vec<PathBuf>,
}

/// Hands out the documentation that `built` holds.
///
/// # Errors
/// It cannot be written.
pub fn hand_out(
    planned: &Planned,
    built: &Built,
    destination: &Path,
) -> Result<HandedOut, DriverError> {
    let documentation = &planned.graph.documentation;
    let platforms: BTreeSet<Option<&str>> = documentation
        .iter()
        .map(|crate_| crate_.triple.as_deref())
        .collect();
    let directory = |triple: Option<&str>| match triple {
        Some(triple) => destination.join(triple).join(PAGES),
        None => destination.join(PAGES),
    };
    let mut marks = Vec::new();
    for &triple in &platforms {
        let crates: Vec<&Documentation> = documentation
            .iter()
            .filter(|crate_| crate_.triple.as_deref() == triple)
            .collect();
        marks.push(for_platform(planned, built, &crates, &directory(triple))?);
    }
    let mut pages = Vec::new();
    for root in &planned.units.roots {
        for crate_ in documentation {
            let page = directory(crate_.triple.as_deref())
                .join(&crate_.crate_name)
                .join("index.html");
            if planned.graph.action(crate_.action).unit == *root
                && page.is_file()
                && !pages.contains(&page)
            {
                pages.push(page);
            }
        }
    }
    Ok(HandedOut { pages, marks })
}

fn for_platform(
    planned: &Planned,
    built: &Built,
    crates: &[&Documentation],
    directory: &Path,
) -> Result<PathBuf, DriverError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DriverError::File {
            path,
            verb: "written",
            source,
        }
    };
    let trees: Vec<_> = crates
        .iter()
        .filter_map(|crate_| Some((*crate_, built.outcome(crate_.action)?.directory?)))
        .collect();
    let made_from: String = trees
        .iter()
        .map(|(crate_, tree)| format!("{} {}\n", crate_.crate_name, tree.digest.to_hex()))
        .collect();
    let mark = directory.join(MARK);
    if std::fs::read_to_string(&mark).is_ok_and(|text| text == made_from) {
        return Ok(mark);
    }
    if mark.exists() {
        std::fs::remove_file(&mark).map_err(failed(&mark))?;
    }
    // Pages of what is no longer there; those of other crates stay, as under cargo.
    for (crate_, _) in &trees {
        for old in [
            directory.join(&crate_.crate_name),
            directory.join("src").join(&crate_.crate_name),
        ] {
            if old.is_dir() {
                std::fs::remove_dir_all(&old).map_err(failed(&old))?;
            }
        }
    }
    for (_, tree) in &trees {
        let content = planned
            .store
            .read_tree(tree)?
            .ok_or(StoreError::MissingTree(tree.digest))?;
        for (path, blob, executable) in content.files() {
            let Some(page) = path.strip_prefix(&format!("{PAGES}/")) else {
                continue;
            };
            if page == ".lock" {
                continue;
            }
            let relative = RelPath::new(page).map_err(|error| DriverError::Request {
                message: format!("documentation has a page that cannot be written: {error}"),
                help: None,
            })?;
            planned
                .store
                .export(&blob, executable, directory, &relative)
                .map_err(|source| DriverError::HandOut {
                    path: directory.join(page),
                    source,
                })?;
        }
    }
    crate::driver::files::write(&mark, made_from.as_bytes()).map_err(failed(&mark))?;
    Ok(mark)
}
