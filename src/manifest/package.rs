//! A manifest to a [`Package`]: inherited, checked and with its targets found.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::rc::Rc;

use cargo_platform::Platform;
use cargo_util_schemas::manifest::{
    InheritableDependency, PackageName as TomlName, RustVersion, TomlLints, TomlPackage,
    VecStringOrBool,
};
use semver::Version;

use super::dependency::Surroundings;
use super::edition::parse_edition;
use super::error::{Checked, Fault, ManifestError, closest};
use super::features::feature_map;
use super::inherit::{Inheritance, detailed};
use super::model::{
    Edition, Hints, Package, PackageMetadata, PackagedFiles, ResolverVersion, Target, TargetKind,
};
use super::read::{Document, ManifestContext, Reader};
use super::targets::{Search, deprecated_spelling};
use super::{lints, profiles};
use crate::package::{
    Dependency, DependencyKind, PackageId, PackageName, SourceId, SourceKind, Summary,
};

/// A package and what is to be said of it.
pub(super) struct Lowered {
    pub(super) package: Package,
    /// `resolver`, where the manifest sets it.
    pub(super) resolver: Option<ResolverVersion>,
    pub(super) warnings: Vec<String>,
    /// What a member must not have, and a dependency may.
    pub(super) errors: Vec<String>,
}

/// Reads the package at `manifest_path` (absolute), which comes from `source`. Nothing is said about keys that mean
/// nothing, and targets that cannot be are left out: cargo is as lenient with dependencies.
pub fn read_package(
    manifest_path: &Path,
    source: &SourceId,
    context: &ManifestContext,
) -> Result<Package, ManifestError> {
    let reader = Reader::new(context);
    let document = reader.read(manifest_path)?;
    Ok(lower(&reader, &document, source)?.package)
}

impl Edition {
    /// The first Rust that knows the edition.
    fn first_rust(self) -> Option<RustVersion> {
        match self {
            Edition::E2015 => None,
            Edition::E2018 => Some(RustVersion::new(1, 31, 0)),
            Edition::E2021 => Some(RustVersion::new(1, 56, 0)),
            Edition::E2024 => Some(RustVersion::new(1, 85, 0)),
        }
    }

    /// The resolver of a workspace whose root package has the edition.
    pub(super) fn default_resolver(self) -> ResolverVersion {
        match self {
            Edition::E2015 | Edition::E2018 => ResolverVersion::V1,
            Edition::E2021 => ResolverVersion::V2,
            Edition::E2024 => ResolverVersion::V3,
        }
    }
}

/// Parses the value of `resolver`.
pub(super) fn parse_resolver(text: &str) -> Checked<ResolverVersion> {
    match text {
        "1" => Ok(ResolverVersion::V1),
        "2" => Ok(ResolverVersion::V2),
        "3" => Ok(ResolverVersion::V3),
        other => Err(Fault::new(format!("`{other}` is not a resolver"))
            .help("the resolvers are `\"1\"`, `\"2\"` and `\"3\"`")),
    }
}

/// The `cargo-features` that are stable by now; others are nightly-only, gone or unknown.
const STABLE_FEATURES: [&str; 12] = [
    "test-dummy-stable",
    "alternative-registries",
    "edition",
    "rename-dependency",
    "profile-overrides",
    "default-run",
    "named-profiles",
    "resolver",
    "strip",
    "rust-version",
    "edition2021",
    "edition2024",
];

/// Checks `cargo-features`.
pub(super) fn check_cargo_features(
    features: Option<&Vec<String>>,
    warnings: &mut Vec<String>,
) -> Checked<()> {
    for feature in features.into_iter().flatten() {
        if !STABLE_FEATURES.contains(&feature.as_str()) && feature != "workspace-inheritance" {
            return Err(Fault::unsupported(format!(
                "the cargo feature `{feature}` is nightly-only, has been removed or never was one"
            ))
            .at(["cargo-features"]));
        }
        warnings.push(format!(
            "the cargo feature `{feature}` is stable: it need not be listed in `cargo-features`"
        ));
    }
    Ok(())
}

/// The remarks on keys that nothing reads.
pub(super) fn unused_keys(document: &Document, warnings: &mut Vec<String>) {
    warnings.extend(
        document
            .toml
            ._unused_keys
            .iter()
            .map(|key| format!("unused manifest key: {key}")),
    );
}

/// Checks the parts of `[workspace]` that members inherit.
pub(super) fn check_inheritable(document: &Document, warnings: &mut Vec<String>) -> Checked<()> {
    let Some(workspace) = &document.toml.workspace else {
        return Ok(());
    };
    if let Some(lints) = &workspace.lints {
        lints::check(lints, &["workspace", "lints"], warnings)?;
    }
    for (name, dependency) in workspace.dependencies.iter().flatten() {
        let forbidden = [
            ("optional", dependency.is_optional()),
            ("public", dependency.is_public()),
        ];
        if let Some((key, _)) = forbidden.into_iter().find(|(_, is_there)| *is_there) {
            return Err(Fault::new(format!(
                "`{name}` is `{key}`, which a dependency of the workspace cannot be"
            ))
            .help(format!("set `{key}` in the members"))
            .at(["workspace", "dependencies", name.as_str()]));
        }
        for key in dependency.unused_keys() {
            warnings.push(format!(
                "unused manifest key: workspace.dependencies.{name}.{key}"
            ));
        }
    }
    Ok(())
}

/// Lowers the manifest `document` of a package from `source`.
pub(super) fn lower(
    reader: &Reader<'_>,
    document: &Rc<Document>,
    source: &SourceId,
) -> Result<Lowered, ManifestError> {
    let Some(package) = document.toml.package() else {
        return Err(document.error(
            Fault::new(if document.toml.workspace.is_some() {
                "it is the manifest of a workspace only, where a package is expected"
            } else {
                "it has neither `[package]` nor `[workspace]`"
            })
            .help("add `[package]`"),
        ));
    };
    Lowering {
        reader,
        document,
        source,
        toml: package,
        inheritance: Inheritance::new(reader, document),
        warnings: Vec::new(),
    }
    .package()
}

struct Lowering<'r, 'c> {
    reader: &'r Reader<'c>,
    document: &'r Rc<Document>,
    source: &'r SourceId,
    toml: &'r TomlPackage,
    inheritance: Inheritance<'r, 'c>,
    warnings: Vec<String>,
}

type Table = BTreeMap<TomlName, InheritableDependency>;

impl Lowering<'_, '_> {
    fn fault(&self, fault: Box<Fault>) -> ManifestError {
        self.document.error(fault)
    }

    fn package(mut self) -> Result<Lowered, ManifestError> {
        let document = self.document;
        let manifest = &document.toml;
        let toml = self.toml;
        check_cargo_features(manifest.cargo_features.as_ref(), &mut self.warnings)
            .map_err(|fault| document.error(fault))?;
        check_inheritable(document, &mut self.warnings).map_err(|fault| document.error(fault))?;
        let name = self.name().map_err(|fault| self.fault(fault))?;
        self.refuse_nightly_keys()
            .map_err(|fault| self.fault(fault))?;

        let inheritance = &self.inheritance;
        let rust_version = inheritance.field(toml.rust_version.as_ref(), "rust-version", |p| {
            p.rust_version.as_ref()
        })?;
        let edition =
            inheritance.field(toml.edition.as_ref(), "edition", |p| p.edition.as_ref())?;
        let version =
            inheritance.field(toml.version.as_ref(), "version", |p| p.version.as_ref())?;
        let publish =
            inheritance.field(toml.publish.as_ref(), "publish", |p| p.publish.as_ref())?;
        let metadata = self.metadata()?;
        let packaged = PackagedFiles {
            include: inheritance
                .field(toml.include.as_ref(), "include", |p| p.include.as_ref())?
                .unwrap_or_default(),
            exclude: inheritance
                .field(toml.exclude.as_ref(), "exclude", |p| p.exclude.as_ref())?
                .unwrap_or_default(),
        };
        let edition = self
            .edition(edition.as_deref(), rust_version.as_ref())
            .map_err(|fault| self.fault(fault))?;
        let publish = self
            .publish(publish, version.as_ref())
            .map_err(|fault| self.fault(fault))?;
        let resolver = self.resolver().map_err(|fault| self.fault(fault))?;

        let mut errors = Vec::new();
        let targets = Search {
            root: document.directory(),
            package: name.as_str(),
            edition,
            warnings: &mut self.warnings,
            errors: &mut errors,
        }
        .targets(manifest, toml)
        .map_err(|fault| document.error(fault))?;
        self.check_targets(&targets)
            .map_err(|fault| self.fault(fault))?;

        let dependencies = self.dependencies(&name, edition)?;
        let lints = self.inheritance.lints(manifest.lints.as_ref())?;
        let lint_rustflags = self
            .lint_rustflags(lints.as_ref())
            .map_err(|fault| self.fault(fault))?;
        if let Some(profiles) = &manifest.profile {
            profiles::check(profiles, &mut self.warnings).map_err(|fault| document.error(fault))?;
        }
        if manifest
            .features()
            .is_some_and(|features| features.contains_key("default-features"))
        {
            self.warnings.push(
                "there is a feature named `default-features`; the one that is on by default is `default`"
                    .to_owned(),
            );
        }
        let declared = manifest.features().into_iter().flatten();
        let features = feature_map(
            declared.map(|(name, list)| (name.as_str(), list.as_slice())),
            &dependencies,
        )
        .map_err(|error| {
            let fault = Fault::new(error.message).at(["features", error.name.as_str()]);
            self.fault(match error.help {
                Some(help) => fault.help(help),
                None => fault,
            })
        })?;
        unused_keys(document, &mut self.warnings);

        let version = version.unwrap_or(Version::new(0, 0, 0));
        let package = Package {
            summary: Summary {
                id: PackageId::new(name, version, self.source.clone()),
                dependencies,
                features,
                links: toml.links.clone(),
                checksum: None,
                rust_version,
                yanked: false,
            },
            manifest_path: document.path.clone(),
            targets,
            edition,
            metadata,
            default_run: toml.default_run.clone(),
            lint_rustflags,
            custom_metadata: toml.metadata.clone(),
            publish,
            packaged,
            hints: manifest.hints.as_ref().map(|hints| Hints {
                mostly_unused: hints.mostly_unused.clone(),
            }),
            unstable_keys: Vec::new(),
        };
        Ok(Lowered {
            package,
            resolver,
            warnings: self.warnings,
            errors,
        })
    }

    fn name(&self) -> Checked<PackageName> {
        let Some(name) = &self.toml.name else {
            return Err(Fault::new("`package.name` is missing").at(["package"]));
        };
        if name.contains("::") {
            return Err(Fault::unsupported(format!(
                "the name `{name}` is in a namespace, which is nightly-only in cargo"
            ))
            .at(["package", "name"]));
        }
        PackageName::new(name)
            .map_err(|error| Fault::new(error.to_string()).at(["package", "name"]))
    }

    fn refuse_nightly_keys(&self) -> Checked<()> {
        let keys = [
            ("default-target", self.toml.default_target.is_some()),
            ("forced-target", self.toml.forced_target.is_some()),
            ("metabuild", self.toml.metabuild.is_some()),
            ("im-a-teapot", self.toml.im_a_teapot.is_some()),
        ];
        match keys.into_iter().find(|(_, is_there)| *is_there) {
            None => Ok(()),
            Some((key, _)) => Err(Fault::unsupported(format!(
                "`package.{key}` is nightly-only in cargo"
            ))
            .at(["package", key])),
        }
    }

    fn metadata(&self) -> Result<PackageMetadata, ManifestError> {
        let toml = self.toml;
        let inheritance = &self.inheritance;
        macro_rules! field {
            ($field:ident, $key:literal) => {
                inheritance.field(toml.$field.as_ref(), $key, |package| {
                    package.$field.as_ref()
                })?
            };
        }
        Ok(PackageMetadata {
            authors: field!(authors, "authors").unwrap_or_default(),
            description: field!(description, "description"),
            homepage: field!(homepage, "homepage"),
            documentation: field!(documentation, "documentation"),
            repository: field!(repository, "repository"),
            license: field!(license, "license"),
            license_file: inheritance.license_file(toml.license_file.as_ref())?,
            readme: inheritance.readme(toml.readme.as_ref())?,
            keywords: field!(keywords, "keywords").unwrap_or_default(),
            categories: field!(categories, "categories").unwrap_or_default(),
        })
    }

    fn edition(
        &mut self,
        edition: Option<&str>,
        rust_version: Option<&RustVersion>,
    ) -> Checked<Edition> {
        let is_new_enough = |edition: Edition| match (edition.first_rust(), rust_version) {
            (Some(first), Some(rust)) => first.is_compatible_with(&rust.to_partial()),
            _ => true,
        };
        let edition = match edition {
            Some(text) => {
                let edition = parse_edition(text)?;
                if let (false, Some(rust), Some(first)) =
                    (is_new_enough(edition), rust_version, edition.first_rust())
                {
                    return Err(Fault::new(format!(
                        "`rust-version` is {rust}, but the edition {text} needs Rust {first}"
                    ))
                    .help(format!(
                        "set `rust-version = \"{first}\"`, or an earlier edition"
                    ))
                    .at(["package", "rust-version"]));
                }
                edition
            }
            None => {
                let latest = [Edition::E2024, Edition::E2021, Edition::E2018]
                    .into_iter()
                    .find(|edition| is_new_enough(*edition));
                if let Some(latest) = latest {
                    self.warnings.push(format!(
                        "no `edition` is set, so it is 2015; {} is the latest{}",
                        latest.as_str(),
                        if rust_version.is_some() {
                            " that `rust-version` has"
                        } else {
                            ""
                        }
                    ));
                }
                Edition::E2015
            }
        };
        if self.document.toml.project.is_some() {
            if edition >= Edition::E2024 {
                return Err(
                    Fault::new("`[project]` is not a table from edition 2024 on")
                        .help("write `[package]`")
                        .at(["project"]),
                );
            }
            self.warnings
                .push("`[project]` is deprecated: write `[package]`".to_owned());
        }
        Ok(edition)
    }

    fn publish(
        &self,
        publish: Option<VecStringOrBool>,
        version: Option<&Version>,
    ) -> Checked<Option<Vec<String>>> {
        let publish = match publish {
            Some(VecStringOrBool::VecString(registries)) => Some(registries),
            Some(VecStringOrBool::Bool(false)) => Some(Vec::new()),
            Some(VecStringOrBool::Bool(true)) => None,
            None => version.is_none().then(Vec::new),
        };
        if version.is_none() && publish.as_ref().is_none_or(|list| !list.is_empty()) {
            return Err(
                Fault::new("`package.publish` is set, but `package.version` is not")
                    .help("set the version, or `publish = false`")
                    .at(["package", "publish"]),
            );
        }
        Ok(publish)
    }

    fn resolver(&self) -> Checked<Option<ResolverVersion>> {
        let of_workspace = self
            .document
            .toml
            .workspace
            .as_ref()
            .and_then(|workspace| workspace.resolver.as_deref());
        match (self.toml.resolver.as_deref(), of_workspace) {
            (Some(_), Some(_)) => Err(Fault::new(
                "`resolver` is set both in `[package]` and in `[workspace]`",
            )
            .help("keep one of them")
            .at(["package", "resolver"])),
            (Some(text), None) => parse_resolver(text)
                .map(Some)
                .map_err(|fault| fault.at(["package", "resolver"])),
            (None, Some(text)) => parse_resolver(text)
                .map(Some)
                .map_err(|fault| fault.at(["workspace", "resolver"])),
            (None, None) => Ok(None),
        }
    }

    fn check_targets(&mut self, targets: &[std::sync::Arc<Target>]) -> Checked<()> {
        if targets.iter().all(|target| target.is_custom_build()) {
            return Err(Fault::new("the package has no targets")
                .help("add `src/lib.rs` or `src/main.rs`, or a `[lib]` or `[[bin]]` section")
                .at(["package"]));
        }
        let mut by_path: HashMap<&Path, Vec<&Target>> = HashMap::new();
        for target in targets {
            by_path.entry(&target.src_path).or_default().push(target);
        }
        let mut shared: Vec<_> = by_path
            .into_iter()
            .filter(|(_, list)| list.len() > 1)
            .collect();
        shared.sort_by_key(|(path, _)| *path);
        for (path, list) in shared {
            let list: Vec<_> = list
                .iter()
                .map(|target| format!("{} `{}`", kind_words(&target.kind), target.name))
                .collect();
            self.warnings.push(format!(
                "`{}` is the source of more than one target: {}",
                path.display(),
                list.join(", ")
            ));
        }
        if let Some(links) = &self.toml.links
            && !targets.iter().any(|target| target.is_custom_build())
        {
            return Err(Fault::new(format!(
                "the package links `{links}`, but has no build script"
            ))
            .help("remove `links`, or add `build.rs`")
            .at(["package", "links"]));
        }
        if let Some(run) = &self.toml.default_run {
            let binaries = || {
                targets
                    .iter()
                    .filter(|target| target.is_bin())
                    .map(|t| t.name.as_str())
            };
            if !binaries().any(|name| name == run) {
                let fault = Fault::new(format!("`default-run` names `{run}`, which is no binary"))
                    .at(["package", "default-run"]);
                return Err(match closest(run, binaries()) {
                    Some(help) => fault.help(help),
                    None => fault,
                });
            }
        }
        Ok(())
    }

    fn lint_rustflags(&mut self, lints: Option<&TomlLints>) -> Checked<Vec<String>> {
        let Some(lints) = lints else {
            return Ok(Vec::new());
        };
        lints::check(lints, &["lints"], &mut self.warnings)?;
        lints::rustflags(lints)
    }

    /// All dependencies in cargo's order: normal, dev, build; then for each platform normal, build, dev.
    fn dependencies(
        &mut self,
        name: &PackageName,
        edition: Edition,
    ) -> Result<Vec<Dependency>, ManifestError> {
        use DependencyKind::{Build, Development, Normal};
        let document = self.document;
        let manifest = &document.toml;
        let spelling = |this: &mut Self, old: bool, new: bool, key: &str, place: &str| {
            deprecated_spelling(old, new, key, place, edition, &mut this.warnings)
                .map_err(|fault| document.error(fault))
        };
        let place = format!("the package `{name}`");
        spelling(
            self,
            manifest.dev_dependencies2.is_some(),
            manifest.dev_dependencies.is_some(),
            "dev-dependencies",
            &place,
        )?;
        spelling(
            self,
            manifest.build_dependencies2.is_some(),
            manifest.build_dependencies.is_some(),
            "build-dependencies",
            &place,
        )?;

        let mut all = Vec::new();
        let mut add =
            |this: &mut Self, table: Option<&Table>, kind, platform: Option<(&str, &Platform)>| {
                this.table(table, kind, platform, edition, &mut all)
            };
        add(self, manifest.dependencies.as_ref(), Normal, None)?;
        add(self, manifest.dev_dependencies(), Development, None)?;
        add(self, manifest.build_dependencies(), Build, None)?;
        for (key, tables) in manifest.target.iter().flatten() {
            let platform: Platform = key.parse().map_err(|error| {
                document.error(
                    Fault::new(format!("`{key}` is not a platform: {error}"))
                        .at(["target", key.as_str()]),
                )
            })?;
            platform.check_cfg_attributes(&mut self.warnings);
            platform.check_cfg_keywords(&mut self.warnings, &document.path);
            let place = format!("the platform `{key}`");
            spelling(
                self,
                tables.dev_dependencies2.is_some(),
                tables.dev_dependencies.is_some(),
                "dev-dependencies",
                &place,
            )?;
            spelling(
                self,
                tables.build_dependencies2.is_some(),
                tables.build_dependencies.is_some(),
                "build-dependencies",
                &place,
            )?;
            let platform = Some((key.as_str(), &platform));
            add(self, tables.dependencies.as_ref(), Normal, platform)?;
            add(self, tables.build_dependencies(), Build, platform)?;
            add(self, tables.dev_dependencies(), Development, platform)?;
        }

        let mut sources: HashMap<&str, &SourceId> = HashMap::new();
        for dependency in &all {
            let name = dependency.name_in_manifest().as_str();
            if let Some(other) = sources.insert(name, &dependency.source)
                && *other != dependency.source
            {
                return Err(self.fault(
                    Fault::new(format!(
                        "the dependency `{name}` comes from different sources in different tables"
                    ))
                    .help("let all of them name one source, or give one another name with `package = \"…\"`")
                    .at(["dependencies", name]),
                ));
            }
        }
        Ok(all)
    }

    fn table(
        &mut self,
        table: Option<&Table>,
        kind: DependencyKind,
        platform: Option<(&str, &Platform)>,
        edition: Edition,
        all: &mut Vec<Dependency>,
    ) -> Result<(), ManifestError> {
        let document = self.document;
        let kind_key = match kind {
            DependencyKind::Normal => "dependencies",
            DependencyKind::Development => "dev-dependencies",
            DependencyKind::Build => "build-dependencies",
        };
        let mut keys = Vec::new();
        keys.extend(platform.into_iter().flat_map(|(key, _)| ["target", key]));
        keys.push(kind_key);
        let surroundings = Surroundings {
            context: self.reader.context,
            directory: document.directory(),
            source: self.source,
        };
        for (name, dependency) in table.into_iter().flatten() {
            let name = name.as_str();
            for key in dependency.unused_keys() {
                let table = match platform {
                    Some((_, platform)) => format!("target.{platform}.{kind_key}"),
                    None => kind_key.to_owned(),
                };
                self.warnings
                    .push(format!("unused manifest key: {table}.{name}.{key}"));
            }
            let toml = match dependency {
                InheritableDependency::Value(dependency) => detailed(dependency),
                InheritableDependency::Inherit(member) => {
                    self.inheritance
                        .dependency(name, member, edition, &mut self.warnings)?
                }
            };
            let lowered = deprecated_spelling(
                toml.default_features2.is_some(),
                toml.default_features.is_some(),
                "default-features",
                &format!("the dependency `{name}`"),
                edition,
                &mut self.warnings,
            )
            .and_then(|()| {
                surroundings.dependency(
                    name,
                    &toml,
                    kind,
                    platform.map(|(_, platform)| platform),
                    &mut self.warnings,
                )
            });
            let at = keys.iter().copied().chain([name]);
            all.push(lowered.map_err(|fault| document.error(fault.at(at)))?);
        }
        Ok(())
    }
}

fn kind_words(kind: &TargetKind) -> &'static str {
    match kind {
        TargetKind::Lib(_) => "library",
        TargetKind::Bin => "binary",
        TargetKind::Test => "test",
        TargetKind::Bench => "benchmark",
        TargetKind::ExampleLib(_) | TargetKind::ExampleBin => "example",
        TargetKind::CustomBuild => "build script",
    }
}

/// The source of the package whose manifest is at `manifest_path`: its directory.
pub(super) fn path_source(manifest_path: &Path) -> SourceId {
    let directory = manifest_path.parent().unwrap_or(Path::new("/"));
    SourceId::new(SourceKind::Path(directory.to_owned()))
}
