//! The workspace around a manifest: its root, its members, and the path packages that they reach.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use cargo_util_schemas::manifest::TomlWorkspace;

use super::dependency::Surroundings;
use super::error::{Fault, ManifestError};
use super::inherit::detailed;
use super::model::{BuildProfiles, Edition, Package, ResolverVersion, Workspace};
use super::package::{
    Lowered, check_cargo_features, check_inheritable, lower, parse_resolver, path_source,
    unused_keys,
};
use super::paths::{normalize, relative};
use super::profiles;
use super::read::{Document, ManifestContext, Reader, excludes};
use super::replace::{Replacement, replacement};
use crate::package::{Dependency, DependencyKind, PackageId, SourceId, SourceKind};

/// Loads the workspace that the manifest at `manifest_path` (absolute) belongs to.
pub fn load_workspace(
    manifest_path: &Path,
    context: &ManifestContext,
) -> Result<Workspace, ManifestError> {
    if !manifest_path.is_absolute() {
        return Err(ManifestError::Workspace {
            message: format!(
                "the manifest path `{}` is not absolute",
                manifest_path.display()
            ),
            help: None,
        });
    }
    let reader = Reader::new(context);
    let current = normalize(manifest_path);
    let root_manifest = reader.find_root(&current)?;
    Loader {
        reader: &reader,
        is_workspace: root_manifest.is_some(),
        root_manifest: root_manifest.unwrap_or_else(|| current.clone()),
        current,
        lowered: HashMap::new(),
        members: Vec::new(),
        warnings: Vec::new(),
    }
    .load()
}

/// The root manifest of the workspace that the package at `manifest_path` (absolute) belongs to; the manifest itself
/// if there is none. Members that do not matter for that are not read: one that is broken is no reason not to know.
///
/// # Errors
/// If the root cannot be found, or does not have the package.
pub fn workspace_root(
    manifest_path: &Path,
    context: &ManifestContext,
) -> Result<PathBuf, ManifestError> {
    let reader = Reader::new(context);
    let current = normalize(manifest_path);
    let Some(root) = reader.find_root(&current)? else {
        return Ok(current);
    };
    let document = reader.read(&root)?;
    if let Some(workspace) = &document.toml.workspace {
        let directories = expand(&document, workspace.members.as_deref().unwrap_or_default())?;
        let is_listed = directories
            .iter()
            .any(|(directory, _)| normalize(&directory.join("Cargo.toml")) == current);
        if root == current || (is_listed && !excludes(workspace, document.directory(), &current)) {
            return Ok(root);
        }
    }
    Ok(load_workspace(&current, context)?.root_manifest)
}

struct Loader<'r, 'c> {
    reader: &'r Reader<'c>,
    /// Whether there is a `[workspace]` at all; if not, the package is alone.
    is_workspace: bool,
    root_manifest: PathBuf,
    current: PathBuf,
    lowered: HashMap<PathBuf, Lowered>,
    /// The manifests of the members in the order in which cargo finds them; a virtual root is among them.
    members: Vec<PathBuf>,
    warnings: Vec<String>,
}

impl Loader<'_, '_> {
    fn load(mut self) -> Result<Workspace, ManifestError> {
        let root = self.reader.read(&self.root_manifest)?;
        let default_members = match &root.toml.workspace {
            Some(workspace) if self.is_workspace => {
                self.find_members(&root, workspace)?;
                self.default_members(&root, workspace)?
            }
            None if self.is_workspace => return Err(self.not_a_root()),
            _ => {
                self.add_member(&self.current.clone())?;
                vec![self.current.clone()]
            }
        };
        let own_resolver = match self.lowered.get(&self.root_manifest) {
            Some(package) => package.resolver,
            None => self.check_virtual(&root)?,
        };
        let resolver = own_resolver.unwrap_or_else(|| {
            self.lowered
                .get(&self.root_manifest)
                .map_or(ResolverVersion::V1, |root| {
                    root.package.edition.default_resolver()
                })
        });
        if self.is_workspace {
            self.validate(&root, own_resolver.is_some(), resolver)?;
        }
        let patches = self.patches(&root)?;
        let replacements = self.replacements(&root)?;
        let others = self.other_packages(&patches, &replacements)?;
        let mut workspace = self.finish(&root, &default_members, resolver, patches, others)?;
        workspace.replacements = replacements;
        Ok(workspace)
    }

    fn not_a_root(&self) -> ManifestError {
        ManifestError::Workspace {
            message: format!(
                "`{}` is to be in the workspace of `{}`, which has no `[workspace]`",
                self.current.display(),
                self.root_manifest.display()
            ),
            help: Some("correct `package.workspace`, or add `[workspace]` there".to_owned()),
        }
    }

    /// Finds the members: those that `members` names, the root, and whatever path dependencies lead to from there.
    fn find_members(
        &mut self,
        root: &Document,
        workspace: &TomlWorkspace,
    ) -> Result<(), ManifestError> {
        for (directory, via) in expand(root, workspace.members.as_deref().unwrap_or_default())? {
            let result = self.follow(root, workspace, &directory.join("Cargo.toml"), false);
            result.map_err(|source| ManifestError::Member {
                member: directory,
                via,
                root: root.path.clone(),
                source: Box::new(source),
            })?;
        }
        self.follow(root, workspace, &root.path.clone(), false)
    }

    /// Makes the package at `manifest` a member, and those that it depends on by path.
    fn follow(
        &mut self,
        root: &Document,
        workspace: &TomlWorkspace,
        manifest: &Path,
        is_dependency: bool,
    ) -> Result<(), ManifestError> {
        let manifest = normalize(manifest);
        if self.members.contains(&manifest) {
            return Ok(());
        }
        // A path dependency elsewhere is no member, unless it says so itself.
        if is_dependency
            && !manifest.starts_with(root.directory())
            && self.reader.find_root(&manifest)?.as_ref() != Some(&root.path)
        {
            return Ok(());
        }
        if excludes(workspace, root.directory(), &manifest) {
            return Ok(());
        }
        for (path, name) in self.add_member(&manifest)? {
            self.follow(root, workspace, &path.join("Cargo.toml"), true)
                .map_err(|source| ManifestError::PathDependency {
                    name,
                    manifest: manifest.clone(),
                    source: Box::new(source),
                })?;
        }
        Ok(())
    }

    /// Makes the package at `manifest` a member; its path dependencies and their names.
    fn add_member(&mut self, manifest: &Path) -> Result<Vec<(PathBuf, String)>, ManifestError> {
        self.members.push(manifest.to_owned());
        let document = self.reader.read(manifest)?;
        if document.toml.package().is_none() && document.toml.workspace.is_some() {
            return Ok(Vec::new());
        }
        let package = &self.lower(&document)?.package;
        Ok(path_dependencies(package, true)
            .map(|(path, name)| (path.to_owned(), name.to_owned()))
            .collect())
    }

    fn lower(&mut self, document: &Rc<Document>) -> Result<&Lowered, ManifestError> {
        let lowered = lower(self.reader, document, &path_source(&document.path))?;
        Ok(self.lowered.entry(document.path.clone()).or_insert(lowered))
    }

    /// Checks a root without a package; its `resolver`.
    fn check_virtual(&mut self, root: &Document) -> Result<Option<ResolverVersion>, ManifestError> {
        let mut warnings = Vec::new();
        let mut check = || {
            if let Some(key) = root.toml.requires_package().next() {
                return Err(Fault::new(format!(
                    "`{key}` belongs to a package, and this manifest is that of a workspace only"
                ))
                .help("move it to a member, or add `[package]`")
                .at([key]));
            }
            check_cargo_features(root.toml.cargo_features.as_ref(), &mut warnings)?;
            check_inheritable(root, &mut warnings)?;
            if let Some(profiles) = &root.toml.profile {
                profiles::check(profiles, &mut warnings)?;
            }
            let workspace = root.toml.workspace.as_ref();
            workspace
                .and_then(|workspace| workspace.resolver.as_deref())
                .map(|text| {
                    parse_resolver(text).map_err(|fault| fault.at(["workspace", "resolver"]))
                })
                .transpose()
        };
        let resolver = check().map_err(|fault| root.error(fault))?;
        unused_keys(root, &mut warnings);
        self.warn(&root.path, warnings);
        Ok(resolver)
    }

    fn warn(&mut self, manifest: &Path, warnings: Vec<String>) {
        if self.is_workspace {
            let path = manifest.display();
            self.warnings.extend(
                warnings
                    .into_iter()
                    .map(|warning| format!("{path}: {warning}")),
            );
        } else {
            self.warnings.extend(warnings);
        }
    }

    /// The manifests of what is built without `-p`.
    fn default_members(
        &self,
        root: &Document,
        workspace: &TomlWorkspace,
    ) -> Result<Vec<PathBuf>, ManifestError> {
        let stated = workspace
            .default_members
            .as_ref()
            .filter(|_| root.path == self.current);
        let Some(stated) = stated else {
            return Ok(
                if self.reader.read(&self.current)?.toml.package().is_none() {
                    self.members.clone()
                } else {
                    vec![self.current.clone()]
                },
            );
        };
        let named = expand(root, workspace.members.as_deref().unwrap_or_default())?;
        let mut manifests = Vec::new();
        for (directory, via) in expand(root, stated)? {
            let directory = normalize(&directory);
            let manifest = directory.join("Cargo.toml");
            if self.members.contains(&manifest) {
                manifests.push(manifest);
                continue;
            }
            let is_excluded = named.iter().any(|(member, _)| *member == directory)
                && excludes(workspace, root.directory(), &directory);
            if !is_excluded {
                let via = via
                    .map(|glob| format!(" (by `{glob}`)"))
                    .unwrap_or_default();
                return Err(root.error(
                    Fault::new(format!(
                        "`default-members` names `{}`{via}, which is no member",
                        directory.display()
                    ))
                    .help("add it to `workspace.members`")
                    .at(["workspace", "default-members"]),
                ));
            }
        }
        Ok(manifests)
    }

    /// What the members have to agree on.
    fn validate(
        &mut self,
        root: &Document,
        has_resolver: bool,
        resolver: ResolverVersion,
    ) -> Result<(), ManifestError> {
        let mut names: BTreeMap<&str, &Path> = BTreeMap::new();
        for (manifest, name) in self.members.iter().filter_map(|manifest| {
            let package = &self.lowered.get(manifest)?.package;
            Some((manifest, package.id().name().as_str()))
        }) {
            if let Some(other) = names.insert(name, manifest) {
                return Err(ManifestError::Workspace {
                    message: format!(
                        "two packages of the workspace are named `{name}`: `{}` and `{}`",
                        other.display(),
                        manifest.display()
                    ),
                    help: Some(
                        "rename one of them, or list its directory in `workspace.exclude`"
                            .to_owned(),
                    ),
                });
            }
        }

        let mut roots = Vec::new();
        for manifest in &self.members {
            if self.reader.read(manifest)?.toml.workspace.is_some() {
                roots.push(format!("`{}`", manifest.display()));
            }
        }
        match roots.len() {
            0 => return Err(self.not_a_root()),
            1 => {}
            _ => {
                return Err(ManifestError::Workspace {
                    message: format!(
                        "more than one member of the workspace has `[workspace]`: {}",
                        roots.join(", ")
                    ),
                    help: Some(
                        "workspaces do not nest: remove the inner `[workspace]`, or list its directory in \
                         `workspace.exclude` of the outer one"
                            .to_owned(),
                    ),
                });
            }
        }

        for manifest in &self.members {
            match self.reader.find_root(manifest)? {
                Some(found) if found == root.path => {}
                Some(other) => {
                    return Err(ManifestError::Workspace {
                        message: format!(
                            "`{}` is a member of the workspace of `{}`, but finds its root at `{}`",
                            manifest.display(),
                            root.path.display(),
                            other.display()
                        ),
                        help: Some("let `package.workspace` name the right root".to_owned()),
                    });
                }
                None => {
                    return Err(ManifestError::Workspace {
                        message: format!(
                            "the member `{}` is not below the root `{}` and does not name it",
                            manifest.display(),
                            root.path.display()
                        ),
                        help: Some(format!(
                            "set `package.workspace = \"{}\"` in it",
                            relative(manifest.parent().unwrap_or(manifest), root.directory())
                                .display()
                        )),
                    });
                }
            }
        }
        if !self.members.contains(&self.current) {
            return Err(self.not_a_member(root));
        }
        self.warn_of_ignored(root, has_resolver, resolver)
    }

    /// The current package lies below a root that does not have it.
    fn not_a_member(&self, root: &Document) -> ManifestError {
        let directory = self.current.parent().unwrap_or(&self.current);
        let way = relative(root.directory(), directory);
        let has_list = root
            .toml
            .workspace
            .as_ref()
            .is_some_and(|workspace| workspace.members.is_some());
        let add = if has_list || root.toml.package().is_none() {
            format!("add `{}` to `workspace.members` of the root", way.display())
        } else {
            "let the root package depend on it, or add it to `workspace.members` of the root"
                .to_owned()
        };
        ManifestError::Workspace {
            message: format!(
                "`{}` is below the workspace root `{}` without being a member",
                self.current.display(),
                root.path.display()
            ),
            help: Some(format!(
                "{add}; or, to keep it apart, add it to `workspace.exclude` of the root, or an empty `[workspace]` to \
                 it"
            )),
        }
    }

    /// What only a root may say, said elsewhere; and a virtual root that leaves the resolver to chance.
    fn warn_of_ignored(
        &mut self,
        root: &Document,
        has_resolver: bool,
        resolver: ResolverVersion,
    ) -> Result<(), ManifestError> {
        for manifest in self.members.clone() {
            if manifest == root.path {
                continue;
            }
            let document = self.reader.read(&manifest)?;
            let other_resolver = self
                .lowered
                .get(&manifest)
                .and_then(|member| member.resolver)
                .is_some_and(|own| own != resolver);
            let ignored = [
                ("`[profile]` is", document.toml.profile.is_some()),
                ("`[replace]` is", document.toml.replace.is_some()),
                ("`[patch]` is", document.toml.patch.is_some()),
                ("`resolver` is", other_resolver),
            ];
            for (what, _) in ignored.into_iter().filter(|(_, is_there)| *is_there) {
                self.warnings.push(format!(
                    "{}: {what} ignored, since the package is not the root of the workspace; it belongs to `{}`",
                    manifest.display(),
                    root.path.display()
                ));
            }
        }
        if root.toml.package().is_none() && !has_resolver {
            let latest = self
                .lowered
                .values()
                .map(|member| member.package.edition)
                .max()
                .filter(|edition| *edition >= Edition::E2021);
            if let Some(edition) = latest {
                let number = match edition.default_resolver() {
                    ResolverVersion::V1 => 1,
                    ResolverVersion::V2 => 2,
                    ResolverVersion::V3 => 3,
                };
                self.warnings.push(format!(
                    "{}: a workspace without a root package has `resolver = \"1\"` unless it says otherwise, though \
                     a member has edition {}, which goes with \"{number}\"; set `workspace.resolver`",
                    root.path.display(),
                    edition.as_str()
                ));
            }
        }
        Ok(())
    }

    /// `[replace]` of the root.
    fn replacements(&mut self, root: &Document) -> Result<Vec<Replacement>, ManifestError> {
        let Some(table) = &root.toml.replace else {
            return Ok(Vec::new());
        };
        if root.toml.patch.is_some() {
            return Err(root.error(
                Fault::new("cannot specify both [replace] and [patch]")
                    .help("use `[patch]` alone")
                    .at(["replace"]),
            ));
        }
        let source = path_source(&root.path);
        let surroundings = Surroundings {
            context: self.reader.context,
            directory: root.directory(),
            source: &source,
        };
        let mut warnings = Vec::new();
        let replacements = table
            .iter()
            .map(|(key, toml)| {
                replacement(&surroundings, key, toml, &mut warnings)
                    .map_err(|fault| root.error(fault.at(["replace", key])))
            })
            .collect::<Result<_, _>>()?;
        self.warn(&root.path, warnings);
        Ok(replacements)
    }

    /// `[patch]` of the root.
    fn patches(
        &mut self,
        root: &Document,
    ) -> Result<BTreeMap<String, Vec<Dependency>>, ManifestError> {
        let source = path_source(&root.path);
        let surroundings = Surroundings {
            context: self.reader.context,
            directory: root.directory(),
            source: &source,
        };
        let mut patches: BTreeMap<String, Vec<Dependency>> = BTreeMap::new();
        let mut warnings = Vec::new();
        for (key, table) in root.toml.patch.iter().flatten() {
            let address = surroundings
                .patched_address(key)
                .map_err(|fault| root.error(fault.at(["patch", key])))?;
            let mut list = Vec::with_capacity(table.len());
            for (name, toml) in table {
                warnings.extend(
                    toml.unused_keys()
                        .iter()
                        .map(|unused| format!("unused manifest key: patch.{key}.{name}.{unused}")),
                );
                let dependency = surroundings
                    .dependency(
                        name,
                        &detailed(toml),
                        DependencyKind::Normal,
                        None,
                        &mut warnings,
                    )
                    .map_err(|fault| root.error(fault.at(["patch", key, name])))?;
                list.push(dependency);
            }
            patches.insert(address, list);
        }
        self.configured_patches(root, &source, &mut patches, &mut warnings)?;
        self.warn(&root.path, warnings);
        Ok(patches)
    }

    /// Puts `[patch]` of the configuration over the manifest's: an entry replaces that of the same name.
    fn configured_patches(
        &self,
        root: &Document,
        source: &SourceId,
        patches: &mut BTreeMap<String, Vec<Dependency>>,
        warnings: &mut Vec<String>,
    ) -> Result<(), ManifestError> {
        let mut configured: BTreeMap<String, Vec<Dependency>> = BTreeMap::new();
        for patch in &self.reader.context.patches {
            let wrong = |fault: Box<Fault>| {
                root.error(Fault::new(format!(
                    "`patch.{}.{}` in `{}`: {}",
                    patch.source,
                    patch.name,
                    patch.origin,
                    fault.sentence()
                )))
            };
            let surroundings = Surroundings {
                context: self.reader.context,
                directory: &patch.directory,
                source,
            };
            let address = surroundings.patched_address(&patch.source).map_err(wrong)?;
            let toml: cargo_util_schemas::manifest::TomlDependency = patch
                .dependency
                .clone()
                .try_into()
                .map_err(|error: toml::de::Error| wrong(Fault::new(error.message())))?;
            let dependency = surroundings
                .dependency(
                    &patch.name,
                    &detailed(&toml),
                    DependencyKind::Normal,
                    None,
                    warnings,
                )
                .map_err(wrong)?;
            configured.entry(address).or_default().push(dependency);
        }
        for (address, list) in configured {
            let name = |dependency: &Dependency| {
                let name = dependency.renamed.as_ref();
                name.unwrap_or(&dependency.package).clone()
            };
            let names: Vec<_> = list.iter().map(name).collect();
            let there = patches.entry(address).or_default();
            there.retain(|dependency| !names.contains(&name(dependency)));
            there.splice(0..0, list);
        }
        Ok(())
    }

    /// The path packages that are no members: those that members (or patches) depend on, and so on. Of those, the
    /// dev-dependencies are nobody's concern.
    fn other_packages(
        &mut self,
        patches: &BTreeMap<String, Vec<Dependency>>,
        replacements: &[Replacement],
    ) -> Result<Vec<Package>, ManifestError> {
        let mut seen: HashSet<PathBuf> = self.members.iter().cloned().collect();
        let mut queue: VecDeque<(PathBuf, String, PathBuf)> = VecDeque::new();
        for manifest in &self.members {
            if let Some(member) = self.lowered.get(manifest) {
                queue.extend(
                    path_dependencies(&member.package, true)
                        .map(|(path, name)| (path.to_owned(), name.to_owned(), manifest.clone())),
                );
            }
        }
        let replacements = replacements.iter().map(|each| &each.dependency);
        for dependency in patches.values().flatten().chain(replacements) {
            if let SourceKind::Path(path) = dependency.source.kind() {
                let name = dependency.package.to_string();
                queue.push_back((path.clone(), name, self.root_manifest.clone()));
            }
        }
        let mut others = Vec::new();
        while let Some((path, name, from)) = queue.pop_front() {
            let manifest = path.join("Cargo.toml");
            if !seen.insert(manifest.clone()) {
                continue;
            }
            let lowered = self
                .reader
                .read(&manifest)
                .and_then(|document| lower(self.reader, &document, &path_source(&manifest)));
            let package = match lowered {
                Ok(lowered) => lowered.package,
                Err(source) => {
                    return Err(ManifestError::PathDependency {
                        name,
                        manifest: from,
                        source: Box::new(source),
                    });
                }
            };
            queue.extend(
                path_dependencies(&package, false)
                    .map(|(path, name)| (path.to_owned(), name.to_owned(), manifest.clone())),
            );
            others.push(package);
        }
        Ok(others)
    }

    fn finish(
        mut self,
        root: &Document,
        default_members: &[PathBuf],
        resolver: ResolverVersion,
        patches: BTreeMap<String, Vec<Dependency>>,
        others: Vec<Package>,
    ) -> Result<Workspace, ManifestError> {
        let id = |lowered: &HashMap<PathBuf, Lowered>, manifest: &PathBuf| -> Option<PackageId> {
            Some(lowered.get(manifest)?.package.id().clone())
        };
        let ids = |manifests: &[PathBuf]| -> Vec<PackageId> {
            let mut seen = BTreeSet::new();
            manifests
                .iter()
                .filter_map(|manifest| id(&self.lowered, manifest))
                .filter(|id| seen.insert(id.clone()))
                .collect()
        };
        let members = ids(&self.members);
        let default_members = ids(default_members);
        let root_package = id(&self.lowered, &self.root_manifest);
        let current_package = id(&self.lowered, &self.current);
        let mut packages: BTreeMap<PackageId, Arc<Package>> = others
            .into_iter()
            .map(|package| (package.id().clone(), Arc::new(package)))
            .collect();
        let mut lowered: Vec<(PathBuf, Lowered)> =
            std::mem::take(&mut self.lowered).into_iter().collect();
        lowered.sort_by(|a, b| a.0.cmp(&b.0));
        for (manifest, lowered) in lowered {
            if let Some(error) = lowered.errors.into_iter().next() {
                let document = self.reader.read(&manifest)?;
                return Err(document.error(Fault::new(error)));
            }
            self.warn(&manifest, lowered.warnings);
            packages.insert(lowered.package.id().clone(), Arc::new(lowered.package));
        }
        Ok(Workspace {
            root: root.directory().to_owned(),
            root_manifest: self.root_manifest,
            packages,
            members,
            default_members,
            root_package,
            current_package,
            resolver,
            profiles: root
                .toml
                .profile
                .clone()
                .map(BuildProfiles::from)
                .unwrap_or_default(),
            patches,
            replacements: Vec::new(),
            custom_metadata: root
                .toml
                .workspace
                .as_ref()
                .and_then(|workspace| workspace.metadata.clone()),
            warnings: self.warnings,
        })
    }
}

/// The directories that `package` depends on by path, with the names of the packages there.
fn path_dependencies(
    package: &Package,
    with_development: bool,
) -> impl Iterator<Item = (&Path, &str)> {
    package
        .summary
        .dependencies
        .iter()
        .filter(move |dependency| with_development || dependency.is_transitive())
        .filter_map(|dependency| match dependency.source.kind() {
            SourceKind::Path(path) => Some((path.as_path(), dependency.package.as_str())),
            _ => None,
        })
}

/// The directories that `patterns` stand for, each with the pattern if it did not spell the directory out. A pattern
/// that matches nothing stands for itself, so that the missing directory is told of.
fn expand(
    root: &Document,
    patterns: &[String],
) -> Result<Vec<(PathBuf, Option<String>)>, ManifestError> {
    let mut directories = Vec::new();
    for pattern in patterns {
        let whole = root.directory().join(pattern);
        let fault = |why: String| {
            root.error(
                Fault::new(format!(
                    "the pattern `{pattern}` of members cannot be used: {why}"
                ))
                .at(["workspace", "members"]),
            )
        };
        let text = whole
            .to_str()
            .ok_or_else(|| fault("the path of the root is not UTF-8".to_owned()))?;
        let matches = glob::glob(text)
            .map_err(|error| fault(error.to_string()))?
            .collect::<Result<Vec<PathBuf>, _>>()
            .map_err(|error| fault(error.to_string()))?;
        if matches.is_empty() {
            directories.push((whole, None));
            continue;
        }
        let is_spelt_out = matches.len() == 1 && matches[0] == whole;
        directories.extend(
            matches
                .into_iter()
                .filter(|path| path.is_dir())
                .map(|path| (path, (!is_spelt_out).then(|| pattern.clone()))),
        );
    }
    Ok(directories)
}
