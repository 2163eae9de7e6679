//! What of the workspace is content of a build.

use std::path::Path;

use crate::driver::{DriverError, Reporter};
use crate::manifest::model::{Package, Workspace};
use crate::store::Store;
use crate::tree::TreeRef;

/// The content of a package of the workspace, without what is no part of it: version control, and what builds leave.
pub(in crate::driver) fn snapshot(
    store: &Store,
    workspace: &Workspace,
    package: &Package,
    reporter: &mut dyn Reporter,
) -> Result<TreeRef, DriverError> {
    let root = package.root();
    let above = if root.starts_with(&workspace.root) {
        &workspace.root
    } else {
        root
    };
    let snapshot = store.snapshot(root, &excluded(root, workspace), above)?;
    for left_out in &snapshot.left_out {
        reporter.warning(&format!(
            "`{}` of `{}` is not part of the build: {}",
            left_out.path,
            package.id(),
            left_out.why
        ));
    }
    Ok(snapshot.tree)
}

/// What is no part of a snapshot of `root`, which is in `workspace`.
pub(in crate::driver) fn excluded<'a>(
    root: &'a Path,
    workspace: &Workspace,
) -> impl Fn(&str, bool) -> bool + 'a {
    let target = workspace.root.join("target");
    move |relative, is_directory| {
        let path = root.join(relative);
        let name = path.file_name().unwrap_or_default();
        if !is_directory {
            // Of a second working directory, or a submodule: it says where on this machine the repository is.
            return name == ".git";
        }
        [".git", ".hg", ".jj", ".svn"]
            .iter()
            .any(|control| name == *control)
            || path == target
            || path.join("CACHEDIR.TAG").exists()
    }
}

/// The content of the workspace's directory, what is no package included: tests may read it.
pub(in crate::driver) fn workspace_snapshot(
    store: &Store,
    workspace: &Workspace,
) -> Result<TreeRef, DriverError> {
    let root = &workspace.root;
    let snapshot = store.snapshot(root, &excluded(root, workspace), root)?;
    Ok(snapshot.tree)
}
