//! `workspace = true`: what a member takes from the manifest of its workspace's root.

use std::cell::OnceCell;
use std::path::Path;
use std::rc::Rc;

use cargo_util_schemas::manifest::{
    InheritableField, InheritableLints, InheritablePackage, StringOrBool, TomlDependency,
    TomlDetailedDependency, TomlInheritedDependency, TomlLints, TomlWorkspace,
};

use super::error::{Fault, ManifestError, closest};
use super::model::Edition;
use super::paths::{normalize, relative};
use super::read::{Document, Membership, Reader};

/// The workspace root of one manifest, looked for when something is inherited.
pub(super) struct Inheritance<'r, 'c> {
    reader: &'r Reader<'c>,
    document: &'r Rc<Document>,
    root: OnceCell<Rc<Document>>,
}

impl<'r, 'c> Inheritance<'r, 'c> {
    pub(super) fn new(reader: &'r Reader<'c>, document: &'r Rc<Document>) -> Self {
        Self {
            reader,
            document,
            root: OnceCell::new(),
        }
    }

    /// The root's manifest and its `[workspace]`. `what` is inherited, for the message.
    fn root(&self, what: &str) -> Result<(&Document, &TomlWorkspace), ManifestError> {
        let root = match self.root.get() {
            Some(root) => root,
            None => {
                let root = self.find_root().map_err(|source| ManifestError::Inherit {
                    path: self.document.path.clone(),
                    what: what.to_owned(),
                    source: Box::new(source),
                })?;
                self.root.get_or_init(|| root)
            }
        };
        match &root.toml.workspace {
            Some(workspace) => Ok((root, workspace)),
            None => Err(ManifestError::Workspace {
                message: format!(
                    "`{}` inherits {what} from `{}`, which has no `[workspace]`",
                    self.document.path.display(),
                    root.path.display()
                ),
                help: Some("let `package.workspace` name the directory of the root".to_owned()),
            }),
        }
    }

    fn find_root(&self) -> Result<Rc<Document>, ManifestError> {
        let membership = self.document.membership();
        let path = match membership.map_err(|fault| self.document.error(fault))? {
            Membership::Root(_) => return Ok(self.document.clone()),
            Membership::Member(Some(pointer)) => Some(normalize(
                &self.document.directory().join(pointer).join("Cargo.toml"),
            )),
            Membership::Member(None) => self.reader.find_root(&self.document.path)?,
        };
        match path {
            Some(path) => self.reader.read(&path),
            None => Err(ManifestError::Workspace {
                message: format!(
                    "no workspace root was found above `{}`",
                    self.document.path.display()
                ),
                help: Some(
                    "write the value itself instead of `workspace = true`, or add the package to a workspace"
                        .to_owned(),
                ),
            }),
        }
    }

    fn missing(&self, root: &Document, what: &str, key: &str, at: &[&str]) -> ManifestError {
        self.document.error(
            Fault::new(format!(
                "{what} is inherited, but `{}` does not set `{key}`",
                root.path.display()
            ))
            .help(format!("set `{key}` there, or write the value here"))
            .at(at.iter().copied()),
        )
    }

    /// The value of `package.KEY`, inherited if it says so.
    pub(super) fn field<T: Clone>(
        &self,
        field: Option<&InheritableField<T>>,
        key: &str,
        get: impl FnOnce(&InheritablePackage) -> Option<&T>,
    ) -> Result<Option<T>, ManifestError> {
        match field {
            None => Ok(None),
            Some(InheritableField::Value(value)) => Ok(Some(value.clone())),
            Some(InheritableField::Inherit(_)) => {
                let what = format!("`package.{key}`");
                let (root, workspace) = self.root(&what)?;
                match workspace.package.as_ref().and_then(get) {
                    Some(value) => Ok(Some(value.clone())),
                    None => Err(self.missing(
                        root,
                        &what,
                        &format!("workspace.package.{key}"),
                        &["package", key],
                    )),
                }
            }
        }
    }

    /// `package.license-file`, relative to the package.
    pub(super) fn license_file(
        &self,
        field: Option<&InheritableField<String>>,
    ) -> Result<Option<String>, ManifestError> {
        let value = self.field(field, "license-file", |package| {
            package.license_file.as_ref()
        })?;
        match (field, value) {
            (Some(InheritableField::Inherit(_)), Some(file)) => {
                self.relative_to_package("license-file", &file).map(Some)
            }
            (_, value) => Ok(value),
        }
    }

    /// The readme's path relative to the package: as stated, inherited, or by the names that cargo looks for.
    pub(super) fn readme(
        &self,
        field: Option<&InheritableField<StringOrBool>>,
    ) -> Result<Option<String>, ManifestError> {
        match field {
            None => Ok(find_readme(None, self.document.directory())),
            Some(InheritableField::Value(value)) => {
                Ok(find_readme(Some(value), self.document.directory()))
            }
            Some(InheritableField::Inherit(_)) => {
                let (root, workspace) = self.root("`package.readme`")?;
                let stated = workspace
                    .package
                    .as_ref()
                    .and_then(|package| package.readme.as_ref());
                match find_readme(stated, root.directory()) {
                    Some(file) => self.relative_to_package("readme", &file).map(Some),
                    None => Err(self.missing(
                        root,
                        "`package.readme`",
                        "workspace.package.readme",
                        &["package", "readme"],
                    )),
                }
            }
        }
    }

    /// `path`, which is relative to the root's directory, relative to the package.
    fn relative_to_package(&self, what: &str, path: &str) -> Result<String, ManifestError> {
        let (root, _) = self.root(what)?;
        let target = normalize(&root.directory().join(path));
        let way = relative(&normalize(self.document.directory()), &target);
        way.into_os_string().into_string().map_err(|way| {
            self.document.error(Fault::new(format!(
                "`{what}` leads over `{}`, which is not UTF-8",
                way.display()
            )))
        })
    }

    /// `[lints]`, inherited if it says so.
    pub(super) fn lints(
        &self,
        lints: Option<&InheritableLints>,
    ) -> Result<Option<TomlLints>, ManifestError> {
        match lints {
            None => Ok(None),
            Some(lints) if !lints.workspace => Ok(Some(lints.lints.clone())),
            Some(lints) if !lints.lints.is_empty() => Err(self.document.error(
                Fault::new("`lints.workspace = true` and further lints exclude each other")
                    .help("move the lints to `workspace.lints`, or write all of them here")
                    .at(["lints"]),
            )),
            Some(_) => {
                let (root, workspace) = self.root("`lints`")?;
                match &workspace.lints {
                    Some(lints) => Ok(Some(lints.clone())),
                    None => Err(self.missing(root, "`lints`", "workspace.lints", &["lints"])),
                }
            }
        }
    }

    /// The dependency `name` with what the workspace says of it and what the member adds.
    pub(super) fn dependency(
        &self,
        name: &str,
        member: &TomlInheritedDependency,
        edition: Edition,
        warnings: &mut Vec<String>,
    ) -> Result<TomlDetailedDependency, ManifestError> {
        let what = format!("the dependency `{name}`");
        let (root, workspace) = self.root(&what)?;
        let all = workspace.dependencies.as_ref();
        let Some(found) = all.and_then(|all| all.get(name)) else {
            let help = closest(
                name,
                all.into_iter().flatten().map(|(name, _)| name.as_str()),
            )
            .unwrap_or_else(|| "add it there, or write the version here".to_owned());
            return Err(self.document.error(
                Fault::new(format!(
                    "{what} is inherited, but `{}` does not set `workspace.dependencies.{name}`",
                    root.path.display()
                ))
                .help(help)
                .at(["dependencies", name]),
            ));
        };
        let mut merged = detailed(found);
        if let Some(path) = &merged.path
            && merged.base.is_none()
        {
            merged.path = Some(self.relative_to_package(name, path)?);
        }
        let of_workspace = merged.default_features();
        match (member.default_features(), of_workspace) {
            (Some(true), Some(false)) => merged.default_features = Some(true),
            (Some(false), None | Some(true)) => {
                if edition >= Edition::E2024 {
                    return Err(self.document.error(
                        Fault::new(format!(
                            "`default-features = false` of {what} cannot override the workspace, which has them on"
                        ))
                        .help(format!(
                            "set `default-features = false` for `workspace.dependencies.{name}`, and `true` where \
                             they are wanted"
                        ))
                        .at(["dependencies", name]),
                    ));
                }
                warnings.push(format!(
                    "`default-features = false` of {what} is ignored, since `workspace.dependencies.{name}` has them \
                     on; edition 2024 refuses it"
                ));
            }
            _ => {}
        }
        if let Some(more) = &member.features {
            merged
                .features
                .get_or_insert_default()
                .extend(more.iter().cloned());
        }
        merged.optional = member.optional;
        merged.public = member.public;
        Ok(merged)
    }
}

/// A dependency in its long form.
pub(super) fn detailed(dependency: &TomlDependency) -> TomlDetailedDependency {
    match dependency {
        TomlDependency::Simple(version) => TomlDetailedDependency {
            version: Some(version.clone()),
            ..Default::default()
        },
        TomlDependency::Detailed(detailed) => detailed.clone(),
    }
}

fn find_readme(stated: Option<&StringOrBool>, directory: &Path) -> Option<String> {
    match stated {
        Some(StringOrBool::Bool(false)) => None,
        Some(StringOrBool::Bool(true)) => Some("README.md".to_owned()),
        Some(StringOrBool::String(path)) => Some(path.clone()),
        None => ["README.md", "README.txt", "README"]
            .into_iter()
            .find(|name| directory.join(name).is_file())
            .map(str::to_owned),
    }
}
