//! What packages of the workspace see of it besides their own directories.
//!
//! Cargo's packages read what lies around them: the workspace's read-me becomes documentation, tests share a module, a
//! build script compiles `../proto`. Others act within a member's compilation, too: its procedural macros, and whoever wrote
//! a crate that was copied into the workspace. So what is not declared stays out of sight:
//!
//! - `workspace = […]` below `[crate.NAME]` of `kiln.toml` names what a member sees;
//! - `[workspace] references = true` shows each member what its own text names (see [`references`]), for workspaces whose
//!   every member is the user's own code;
//! - without either, of what its text names a member sees read-mes, licences and their like, which are nobody's secret;
//! - and the workspace's `Cargo.toml` where nothing else says which package a dependency is (see [`renames`]).
//!
//! `.git` among the paths of `workspace` means what may be known of the repository ([`crate::source::git::metadata`]), never
//! its directory.
//!
//! Three things are never taken from text alone: a directory that the member lies in, anything whose name begins with a
//! dot, and what builds leave.
//!
//! The member and what it sees are one tree, which lies at the root of the workspace: relative paths hold, and what is
//! seen is in the keys.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::driver::DriverError;
use crate::driver::inputs::snapshots::excluded;
use crate::manifest::model::{Package, Workspace};
use crate::package::PackageId;
use crate::path::{RelPath, is_within};
use crate::plan::layout::Layout;
use crate::policy::{FILE_NAME, Grant, Policy};
use crate::source::git::{Metadata, metadata};
use crate::store::Store;
use crate::store::StoreError;
use crate::tree::{EncodedTree, Entry, TreeRef};
use crate::unit::UnitGraph;
use crate::unit::graph::{Mode, UnitIndex};

mod advice;
mod references;
mod renames;

/// Kinds of files whose text is looked at, and which are rarely alone: what they include lies beside them.
const SOURCES: [&str; 16] = [
    "rs", "c", "cc", "cpp", "cxx", "h", "hh", "hpp", "s", "S", "asm", "m", "proto", "capnp", "fbs",
    "thrift",
];
/// What documents are called that everybody may read.
const DOCUMENTS: [&str; 12] = [
    "README",
    "LICENSE",
    "LICENCE",
    "COPYING",
    "COPYRIGHT",
    "NOTICE",
    "CHANGELOG",
    "CHANGES",
    "CONTRIBUTING",
    "AUTHORS",
    "SECURITY",
    "UNLICENSE",
];
/// Larger files are not looked at: they were made by programs.
const LARGEST: u64 = 4 << 20;
/// The path that means what may be known of the repository.
const REPOSITORY: &str = ".git";
/// No more files are looked at for one package.
const MOST_FILES: usize = 50_000;

/// What one package sees besides its own directory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::driver) struct View {
    /// Paths below the workspace's root, there or not.
    named: BTreeSet<String>,
    /// Paths that `kiln.toml` names.
    granted: BTreeSet<String>,
    /// Whether it sees what may be known of the repository.
    repository: bool,
    /// Directories of packages: its own, and those that it sees as any build script does.
    packages: BTreeSet<String>,
}

/// The views of a build.
#[derive(Debug, Default)]
pub(in crate::driver) struct Surroundings {
    /// The tree that lies at the workspace's root for actions of these packages.
    pub(in crate::driver) trees: BTreeMap<PackageId, TreeRef>,
    /// What each package with a view, or with a name for something that is not there, sees; and what it came to.
    pub(in crate::driver) views: Vec<(View, Option<TreeRef>)>,
    /// What each package sees, in words.
    pub(in crate::driver) reasons: BTreeMap<PackageId, Vec<String>>,
    /// What `kiln.toml` grants of the workspace.
    granted: BTreeMap<PackageId, BTreeMap<String, Grant>>,
    /// The commit that some of them know of, and whether files differ from it.
    pub(in crate::driver) commit: Option<(String, bool)>,
}

impl Surroundings {
    /// The tree that would lie at the workspace's root for `package` if it were granted `more`; `None` where all packages
    /// see the same, which cannot be tried.
    pub(in crate::driver) fn with(
        &self,
        question: &Question<'_>,
        package: &PackageId,
        more: &BTreeMap<String, Grant>,
    ) -> Option<TreeRef> {
        if question.layout.is_real() {
            return None;
        }
        let mut grants = self.granted.clone();
        let mine = grants.entry(package.clone()).or_default();
        mine.extend(more.clone());
        let surroundings = of_units(question, &grants).ok()?;
        surroundings.trees.get(package).copied()
    }

    fn note_commit(&mut self, repository: Option<Metadata>) {
        if let Some(repository) = repository {
            self.commit = Some((repository.commit, repository.modified));
        }
    }
}

/// Of what build the surroundings are asked for.
pub(in crate::driver) struct Question<'a> {
    pub(in crate::driver) store: &'a Store,
    pub(in crate::driver) workspace: &'a Workspace,
    pub(in crate::driver) packages: &'a BTreeMap<PackageId, Arc<Package>>,
    pub(in crate::driver) units: &'a UnitGraph,
    pub(in crate::driver) policy: &'a Policy,
    pub(in crate::driver) layout: &'a Layout,
}

/// What the packages of a build see of their workspace; `grants` is what `kiln.toml` says of that.
pub(in crate::driver) fn of_units(
    question: &Question<'_>,
    grants: &BTreeMap<PackageId, BTreeMap<String, Grant>>,
) -> Result<Surroundings, DriverError> {
    let Question {
        store,
        workspace,
        packages,
        units,
        policy,
        layout,
    } = *question;
    let mut result = Surroundings {
        granted: grants.clone(),
        ..Surroundings::default()
    };
    let mut seen_by = BTreeMap::new();
    let used: BTreeSet<&PackageId> = units.units.iter().map(|unit| &unit.package).collect();
    for id in used {
        let package = &packages[id];
        let is_root = package.id().source().is_path() && package.root() == workspace.root;
        let granted = grants.get(id).into_iter().flat_map(BTreeMap::keys);
        let (repository, granted): (Vec<&String>, Vec<&String>) =
            granted.partition(|path| *path == REPOSITORY);
        let mut view = View {
            repository: !repository.is_empty(),
            ..View::default()
        };
        let own = match place(workspace, package) {
            Some(own) => own,
            // It sees all there is, but not this.
            None if is_root && view.repository => {
                view.packages.insert(".".to_owned());
                seen_by.insert(id.clone(), view);
                continue;
            }
            None => continue,
        };
        if workspace.is_member(id) && policy.defaults_count(id) {
            view.named = Search::of(workspace, package, &own, policy.references()).named;
            if renames::are_inherited(package) {
                view.named.insert("Cargo.toml".to_owned());
            }
        }
        for path in granted {
            if path != "." && std::fs::symlink_metadata(workspace.root.join(path)).is_err() {
                return Err(DriverError::Request {
                    message: format!(
                        "`{id}` is granted `{path}` of the workspace, which is not there"
                    ),
                    help: Some(format!(
                        "paths of `workspace` in `{FILE_NAME}` start at the workspace's root, `{}`",
                        workspace.root.display()
                    )),
                });
            }
            view.granted.insert(path.clone());
        }
        if view.named.is_empty() && view.granted.is_empty() && !view.repository {
            continue;
        }
        view.packages = acting_with(units, id)
            .into_iter()
            .filter_map(|id| place(workspace, &packages[id]))
            .collect();
        view.packages.insert(own);
        seen_by.insert(id.clone(), view);
    }
    let needed: BTreeSet<PackageId> = seen_by
        .iter()
        .filter(|(_, view)| view.shows_anything(workspace))
        .map(|(id, _)| id.clone())
        .collect();
    if layout.is_real() && !needed.is_empty() {
        // A directory of the host looks the same to all.
        let mut all = View::default();
        for view in seen_by.values() {
            all.named.extend(view.named.iter().cloned());
            all.granted.extend(view.granted.iter().cloned());
            all.repository |= view.repository;
        }
        let members = || units.units.iter().map(|unit| &unit.package);
        let places = members().filter_map(|id| place(workspace, &packages[id]));
        all.packages.extend(places);
        let root = members().any(|id| packages[id].root() == workspace.root);
        if root {
            all.granted.insert(".".to_owned());
        }
        let (tree, commit) = all.tree(store, workspace)?;
        result.note_commit(commit);
        let is_below = |id: &PackageId| place(workspace, &packages[id]).is_some();
        let is_root = |id: &PackageId| packages[id].root() == workspace.root;
        for id in members().filter(|id| is_below(id) || (all.repository && is_root(id))) {
            result.trees.insert(id.clone(), tree);
        }
        result.views.push((all, Some(tree)));
    }
    for (id, view) in seen_by {
        let mut tree = None;
        if needed.contains(&id) {
            let mut words = view.in_words(workspace);
            if !layout.is_real() {
                let (made, commit) = view.tree(store, workspace)?;
                result.note_commit(commit);
                result.trees.insert(id.clone(), made);
                tree = Some(made);
            }
            if view.repository {
                words.push(match &result.commit {
                    Some((commit, false)) => format!("commit {commit}"),
                    Some((commit, true)) => format!("commit {commit}, with modified files"),
                    None => "no commit".to_owned(),
                });
            }
            result.reasons.insert(id, words);
        }
        if !layout.is_real() {
            result.views.push((view, tree));
        }
    }
    Ok(result)
}

/// Where a package lies below the workspace's root. The root's own package sees all there is.
fn place(workspace: &Workspace, package: &Package) -> Option<String> {
    if !package.id().source().is_path() {
        return None;
    }
    let relative = package
        .root()
        .strip_prefix(&workspace.root)
        .ok()?
        .to_str()?;
    RelPath::new(relative).ok().map(|_| relative.to_owned())
}

/// The packages whose directories actions of `package` see as those of any package do: what acts within its build
/// script, and what has search paths.
fn acting_with<'a>(units: &'a UnitGraph, package: &PackageId) -> BTreeSet<&'a PackageId> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut stack: Vec<(UnitIndex, bool)> = units
        .units
        .iter()
        .enumerate()
        .filter(|(_, unit)| unit.package == *package)
        .map(|(index, unit)| (UnitIndex(index), unit.mode == Mode::RunCustomBuild))
        .collect();
    while let Some((index, within_script)) = stack.pop() {
        if !seen.insert((index, within_script)) {
            continue;
        }
        let unit = units.unit(index);
        if within_script || unit.mode == Mode::RunCustomBuild {
            found.insert(&unit.package);
        }
        stack.extend(
            unit.dependencies
                .iter()
                .map(|dependency| (dependency.unit, within_script)),
        );
    }
    found
}

impl View {
    /// Whether any of it is there.
    fn shows_anything(&self, workspace: &Workspace) -> bool {
        !self.granted.is_empty()
            || self.repository
            || self
                .named
                .iter()
                .any(|path| std::fs::symlink_metadata(workspace.root.join(path)).is_ok())
    }

    /// What is there, as a tree of the workspace's root; and which commit it knows of.
    fn tree(
        &self,
        store: &Store,
        workspace: &Workspace,
    ) -> Result<(TreeRef, Option<Metadata>), DriverError> {
        let root = &workspace.root;
        let never = excluded(root, workspace);
        let left_out =
            |path: &str, is_directory: bool| never(path, is_directory) || !self.shows(path);
        let files = store.snapshot(root, &left_out, root)?.tree;
        let repository = match self.repository {
            true => metadata(store, root)?,
            false => None,
        };
        let Some(repository) = repository else {
            return Ok((files, None));
        };
        let mut directory = store
            .read_directory(&files)?
            .ok_or(StoreError::MissingTree(files.digest))?;
        directory
            .insert(REPOSITORY, Entry::Directory(repository.tree))
            .map_err(|source| StoreError::Tree {
                path: workspace.root.clone(),
                source,
            })?;
        let mut levels = BTreeMap::new();
        let root = directory.tree_ref();
        levels.insert(root.digest, directory.encode());
        let tree = store.put_tree(&EncodedTree { root, levels })?;
        Ok((tree, Some(repository)))
    }

    /// Whether `path` is part of it, or leads to a part.
    fn shows(&self, path: &str) -> bool {
        let whole = || self.granted.iter().chain(&self.packages);
        whole().any(|shown| shown == "." || is_within(path, shown) || is_within(shown, path))
            || self.named.iter().any(|shown| {
                is_within(shown, path)
                    || (is_within(path, shown) && !is_hidden(&path[shown.len()..]))
            })
    }

    fn in_words(&self, workspace: &Workspace) -> Vec<String> {
        let there = |path: &&String| std::fs::symlink_metadata(workspace.root.join(path)).is_ok();
        let granted = self
            .granted
            .iter()
            .map(|path| format!("workspace {path} ({FILE_NAME})"));
        let named = self.named.iter().filter(there);
        let repository = self
            .repository
            .then(|| format!("workspace {REPOSITORY} ({FILE_NAME})"));
        granted
            .chain(repository)
            .chain(named.map(|path| format!("workspace {path} (named in its source)")))
            .collect()
    }

    /// What the view is now, and whether that is `before`.
    pub(in crate::driver) fn is_still(
        &self,
        store: &Store,
        workspace: &Workspace,
        before: Option<&TreeRef>,
    ) -> bool {
        match before {
            None => !self.shows_anything(workspace),
            Some(before) => {
                self.shows_anything(workspace)
                    && self
                        .tree(store, workspace)
                        .is_ok_and(|(now, _)| now == *before)
            }
        }
    }
}

/// Whether a component of a path begins with a dot.
fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('.'))
}

/// Whether a file is, by its name, one that projects show to everybody.
fn is_document(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let stem = stem.to_ascii_uppercase();
    let word = stem.split(['-', '_']).next().unwrap_or_default();
    DOCUMENTS.contains(&word)
        && ["", "md", "txt", "rst", "adoc", "html"].contains(&&*extension.to_ascii_lowercase())
}

/// A search for what a package's text names.
struct Search<'a> {
    workspace: &'a Workspace,
    own: &'a str,
    own_parts: Vec<&'a str>,
    /// Whether more than documents counts.
    everything: bool,
    named: BTreeSet<String>,
    /// Files and directories to look at.
    waiting: Vec<String>,
    files: usize,
}

impl<'a> Search<'a> {
    fn of(workspace: &'a Workspace, package: &Package, own: &'a str, everything: bool) -> Self {
        let mut search = Self {
            workspace,
            own,
            own_parts: own.split('/').collect(),
            everything,
            named: BTreeSet::new(),
            waiting: vec![own.to_owned()],
            files: 0,
        };
        for target in &package.targets {
            // With each `..` of the manifest in it.
            let path = target.src_path.strip_prefix(&workspace.root).ok();
            let parts: Vec<&str> = path
                .and_then(Path::to_str)
                .unwrap_or("")
                .split('/')
                .collect();
            if everything && parts.contains(&"..") {
                references::resolve(&[], &parts)
                    .into_iter()
                    .for_each(|path| search.found(path));
            }
        }
        let mut links = Vec::new();
        search.look_through(&mut links);
        // A link within what is seen leads to something that is to be seen as well, if anything is seen at all.
        // There may be more links where it leads.
        if everything && !search.named.is_empty() {
            while let Some(link) = links.pop() {
                let inside = link.starts_with(&format!("{own}/"));
                if !inside && !search.surrounds(&link) && search.named.insert(link.clone()) {
                    search.look_at(&link, &mut links);
                    search.look_through(&mut links);
                }
            }
        }
        search
    }

    /// Whether the package is, or lies in, `path`.
    fn surrounds(&self, path: &str) -> bool {
        path.is_empty() || self.own == path || self.own.starts_with(&format!("{path}/"))
    }

    /// Takes note of a path that is named.
    fn found(&mut self, path: String) {
        let inside = path.starts_with(&format!("{}/", self.own));
        if inside || self.surrounds(&path) || is_hidden(&path) || RelPath::new(&*path).is_err() {
            return;
        }
        let host = self.workspace.root.join(&path);
        if !self.everything {
            let is_file = std::fs::symlink_metadata(&host).is_ok_and(|data| data.is_file());
            if is_document(&path) && is_file {
                self.named.insert(path);
            }
            return;
        }
        let is_source = |path: &str| {
            let extension = path.rsplit_once('.').map(|(_, extension)| extension);
            extension.is_some_and(|extension| SOURCES.contains(&extension))
        };
        if is_source(&path) && host.is_file() {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            if self.surrounds(parent) {
                // Its modules, where it has any, are in the directory of its name.
                let stem = path.rsplit_once('.').map_or(&*path, |(stem, _)| stem);
                self.note(stem.to_owned());
                self.note(path);
            } else {
                self.note(parent.to_owned());
            }
        } else {
            self.note(path);
        }
    }

    fn note(&mut self, path: String) {
        let known = |known: &String| is_within(&path, known);
        if self.surrounds(&path) || self.named.iter().any(known) {
            return;
        }
        if let Ok(real) = self.workspace.root.join(&path).canonicalize()
            && let Ok(real) = real.strip_prefix(&self.workspace.root)
            && let Some(real) = real.to_str()
            && real != path
            && !self.surrounds(real)
        {
            self.named.insert(real.to_owned());
        }
        self.waiting.push(path.clone());
        self.named.insert(path);
    }

    /// Looks at all that waits, and at what that brings.
    fn look_through(&mut self, links: &mut Vec<String>) {
        while let Some(path) = self.waiting.pop() {
            self.look_at(&path, links);
        }
    }

    /// Looks at a file or a directory. Links are not followed; where they lead is added to `links`.
    fn look_at(&mut self, path: &str, links: &mut Vec<String>) {
        let root = &self.workspace.root;
        let host = root.join(path);
        let Ok(data) = std::fs::symlink_metadata(&host) else {
            return;
        };
        if data.is_symlink() {
            if let Ok(real) = host.canonicalize()
                && let Ok(real) = real.strip_prefix(root)
                && let Some(real) = real.to_str()
            {
                links.push(real.to_owned());
            }
            return;
        }
        if data.is_dir() {
            if excluded(root, self.workspace)(path, true) {
                return;
            }
            let mut names: Vec<String> = std::fs::read_dir(&host)
                .into_iter()
                .flatten()
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .collect();
            names.sort_unstable();
            for name in names {
                self.waiting.push(format!("{path}/{name}"));
            }
            return;
        }
        let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
        if !data.is_file()
            || data.len() > LARGEST
            || !SOURCES.contains(&extension)
            || self.files >= MOST_FILES
        {
            return;
        }
        self.files += 1;
        let Ok(text) = std::fs::read(&host) else {
            return;
        };
        let directory: Vec<&str> = path
            .rsplit_once('/')
            .map_or_else(Vec::new, |(parent, _)| parent.split('/').collect());
        for path in references::of_text(&text, &directory, &self.own_parts) {
            self.found(path);
        }
    }
}
