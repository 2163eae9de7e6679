//! Checking with clippy: its driver stands in for rustc for the workspace's own packages, as a wrapper of theirs.

use std::collections::BTreeMap;

use super::Planner;
use crate::package::PackageId;
use crate::plan::graph::{Input, InputSource};
use crate::plan::layout::Layout;
use crate::tree::TreeRef;

/// The driver's file name.
pub const DRIVER: &str = "clippy-driver";
/// What the driver expects between its arguments in `CLIPPY_ARGS`.
const SEPARATOR: &str = "__CLIPPY_HACKERY__";

/// What the workspace's own packages are checked with.
#[derive(Debug, Clone)]
pub struct Clippy {
    /// A directory that holds the driver.
    pub driver: TreeRef,
    /// Its arguments: those after `--`, and `--no-deps`.
    pub arguments: Vec<String>,
    /// A directory with `clippy.toml`, for each package that has none of its own and is in a directory that has.
    pub configuration: BTreeMap<PackageId, TreeRef>,
}

impl Clippy {
    /// Where actions see the driver.
    pub fn program(layout: &Layout) -> String {
        format!("{}/{DRIVER}", layout.clippy())
    }
}

impl Planner<'_> {
    pub(super) fn add_clippy(
        &self,
        clippy: &Clippy,
        package: &PackageId,
        environment: &mut BTreeMap<String, String>,
        inputs: &mut Vec<Input>,
    ) {
        let mut arguments = String::new();
        for argument in &clippy.arguments {
            arguments.push_str(argument);
            arguments.push_str(SEPARATOR);
        }
        environment.insert("CLIPPY_ARGS".to_owned(), arguments);
        inputs.push(Input {
            at: self.input.layout.clippy(),
            source: InputSource::Tree(clippy.driver),
        });
        if let Some(configuration) = clippy.configuration.get(package) {
            let at = self.input.layout.clippy_configuration();
            environment.insert("CLIPPY_CONF_DIR".to_owned(), at.as_str().to_owned());
            inputs.push(Input {
                at,
                source: InputSource::Tree(*configuration),
            });
        }
        inputs.sort_by(|left, right| left.at.cmp(&right.at));
    }
}
