//! Where kiln puts what it hands out.

use std::path::{Path, PathBuf};

use crate::driver::Context;
use crate::manifest::model::Workspace;

/// The directory below the target directory that is kiln's own.
pub(super) const OWN: &str = "kiln";

/// The target directory: `given` (`--target-dir`), what the configuration says, or `target` in the workspace.
pub(super) fn target_directory(
    context: &Context,
    workspace: &Workspace,
    given: Option<&Path>,
) -> PathBuf {
    match given.or(context.config.target_dir.as_deref()) {
        Some(directory) => context.directory.join(directory),
        None => workspace.root.join("target"),
    }
}

/// The directory for artifacts, which is kiln's own.
pub(super) fn artifact_directory(
    context: &Context,
    workspace: &Workspace,
    given: Option<&Path>,
) -> PathBuf {
    target_directory(context, workspace, given).join(OWN)
}
