//! A workspace, its resolution and its packages as values, made from what `cargo metadata` says: lowering is tested
//! against cargo with cargo's own view of the packages, so that a difference is a difference of lowering.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use kiln::manifest::model::{
    BuildProfiles, CrateType, Edition, Package, PackageMetadata, ResolverVersion, Target,
    TargetKind, Workspace,
};
use kiln::package::{
    Dependency, DependencyKind, FeatureMap, FeatureName, FeatureValue, GitReference, PackageId,
    PackageName, SourceId, SourceKind, Summary,
};
use kiln::resolve::graph::{Resolve, ResolvedDependency};
use kiln::toolchain::model::TargetInfo;
use serde_json::Value;

/// Everything that lowering takes but the request.
pub(crate) struct Lowered {
    pub(crate) workspace: Workspace,
    pub(crate) resolve: Resolve,
    pub(crate) packages: BTreeMap<PackageId, Arc<Package>>,
}

/// Reads the workspace of `directory` through `cargo metadata`.
///
/// # Errors
/// What cargo says if it cannot read it.
pub(crate) fn load(directory: &Path) -> Result<Lowered, String> {
    let output = Command::new("cargo")
        .args([
            "metadata",
            "--format-version=1",
            "--all-features",
            "--offline",
        ])
        .current_dir(directory)
        .output()
        .expect("cargo runs");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let json: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    Ok(from_json(&json, directory))
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("a text is expected: {value}"))
        .to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn source(value: &Value, manifest: &Path) -> SourceId {
    let Some(source) = value.as_str() else {
        let root = manifest.parent().expect("a manifest has a directory");
        return SourceId::new(SourceKind::Path(root.to_owned()));
    };
    if let Some(url) = source.strip_prefix("registry+") {
        let id = SourceId::default_registry();
        assert_eq!(url, kiln::package::default_registry_in_lock());
        return id;
    }
    let url = source.strip_prefix("git+").expect("a git source");
    let (url, precise) = url.split_once('#').expect("a commit");
    let (url, reference) = match url.split_once('?') {
        None => (url, GitReference::DefaultBranch),
        Some((url, query)) => {
            let (key, value) = query.split_once('=').expect("a reference");
            let reference = match key {
                "branch" => GitReference::Branch(value.to_owned()),
                "tag" => GitReference::Tag(value.to_owned()),
                _ => GitReference::Rev(value.to_owned()),
            };
            (url, reference)
        }
    };
    SourceId::new(SourceKind::Git {
        url: url.to_owned(),
        reference,
        precise: Some(precise.to_owned()),
    })
}

fn feature_value(value: &str) -> FeatureValue {
    let name = |name: &str| PackageName::new(name).expect("a package name");
    let feature = |name: &str| FeatureName::new(name).expect("a feature name");
    if let Some(dependency) = value.strip_prefix("dep:") {
        return FeatureValue::Dependency(name(dependency));
    }
    match value.split_once('/') {
        None => FeatureValue::Feature(feature(value)),
        Some((dependency, of)) => FeatureValue::DependencyFeature {
            weak: dependency.ends_with('?'),
            dependency: name(dependency.trim_end_matches('?')),
            feature: feature(of),
        },
    }
}

fn dependency(value: &Value, manifest: &Path) -> Dependency {
    let path = value["path"].as_str().map(PathBuf::from);
    Dependency {
        package: PackageName::new(&text(&value["name"])).expect("a package name"),
        renamed: value["rename"]
            .as_str()
            .map(|name| PackageName::new(name).expect("a package name")),
        requirement: text(&value["req"]).parse().expect("a requirement"),
        has_version: true,
        source: match path {
            Some(path) => SourceId::new(SourceKind::Path(path)),
            None if value["source"]
                .as_str()
                .is_some_and(|s| s.starts_with("git+")) =>
            {
                SourceId::default_registry()
            }
            None => source(&value["source"], manifest),
        },
        kind: match value["kind"].as_str() {
            None => DependencyKind::Normal,
            Some("dev") => DependencyKind::Development,
            Some(_) => DependencyKind::Build,
        },
        optional: value["optional"] == true,
        default_features: value["uses_default_features"] == true,
        features: list(&value["features"])
            .iter()
            .map(|feature| FeatureName::new(&text(feature)).expect("a feature name"))
            .collect(),
        platform: value["target"]
            .as_str()
            .map(|platform| platform.parse().expect("a platform")),
        public: false,
    }
}

fn crate_type(name: &str) -> CrateType {
    match name {
        "bin" => CrateType::Bin,
        "lib" => CrateType::Lib,
        "rlib" => CrateType::Rlib,
        "dylib" => CrateType::Dylib,
        "cdylib" => CrateType::Cdylib,
        "staticlib" => CrateType::Staticlib,
        "proc-macro" => CrateType::ProcMacro,
        other => CrateType::Other(other.to_owned()),
    }
}

/// What `cargo metadata` leaves out of a target: the manifest's own `bench` and `doc-scrape-examples`.
fn bool_key(manifest: &toml::Table, kind: &str, name: &str, key: &str) -> Option<bool> {
    let table = match manifest.get(kind)? {
        toml::Value::Table(table) => table,
        toml::Value::Array(tables) => tables
            .iter()
            .filter_map(toml::Value::as_table)
            .find(|table| table.get("name").and_then(toml::Value::as_str) == Some(name))?,
        _ => return None,
    };
    table.get(key)?.as_bool()
}

fn target(value: &Value, manifest: &toml::Table) -> Target {
    let kinds: Vec<String> = list(&value["kind"]).iter().map(text).collect();
    let types: Vec<CrateType> = list(&value["crate_types"])
        .iter()
        .map(|kind| crate_type(&text(kind)))
        .collect();
    let name = text(&value["name"]);
    let (kind, key, benched) = match kinds[0].as_str() {
        "bin" => (TargetKind::Bin, "bin", true),
        "test" => (TargetKind::Test, "test", false),
        "bench" => (TargetKind::Bench, "bench", true),
        "example" if types == [CrateType::Bin] => (TargetKind::ExampleBin, "example", false),
        "example" => (TargetKind::ExampleLib(types.clone()), "example", false),
        "custom-build" => (TargetKind::CustomBuild, "build", false),
        _ => (TargetKind::Lib(types.clone()), "lib", true),
    };
    Target {
        benched: bool_key(manifest, key, &name, "bench").unwrap_or(benched),
        for_host: matches!(kind, TargetKind::CustomBuild) || types.contains(&CrateType::ProcMacro),
        src_path: text(&value["src_path"]).into(),
        edition: match text(&value["edition"]).as_str() {
            "2015" => Edition::E2015,
            "2018" => Edition::E2018,
            "2021" => Edition::E2021,
            _ => Edition::E2024,
        },
        tested: value["test"] == true,
        documented: value["doc"] == true,
        doctested: value["doctest"] == true,
        harness: true,
        required_features: value["required-features"]
            .as_array()
            .map(|features| features.iter().map(text).collect()),
        doc_scrape_examples: bool_key(manifest, key, &name, "doc-scrape-examples") == Some(true),
        name,
        kind,
    }
}

fn package(value: &Value) -> Package {
    let manifest_path = PathBuf::from(text(&value["manifest_path"]));
    let manifest: toml::Table = std::fs::read_to_string(&manifest_path)
        .expect("a manifest is there")
        .parse()
        .expect("a manifest is TOML");
    let id = PackageId::new(
        PackageName::new(&text(&value["name"])).expect("a package name"),
        text(&value["version"]).parse().expect("a version"),
        source(&value["source"], &manifest_path),
    );
    let features: FeatureMap = value["features"]
        .as_object()
        .expect("a map of features")
        .iter()
        .map(|(name, values)| {
            (
                FeatureName::new(name).expect("a feature name"),
                list(values)
                    .iter()
                    .map(|value| feature_value(&text(value)))
                    .collect(),
            )
        })
        .collect();
    Package {
        targets: list(&value["targets"])
            .iter()
            .map(|value| Arc::new(target(value, &manifest)))
            .collect(),
        edition: Edition::E2021,
        metadata: PackageMetadata::default(),
        default_run: None,
        lint_rustflags: Vec::new(),
        custom_metadata: None,
        publish: None,
        packaged: Default::default(),
        hints: None,
        unstable_keys: Vec::new(),
        summary: Summary {
            id,
            dependencies: list(&value["dependencies"])
                .iter()
                .map(|value| dependency(value, &manifest_path))
                .collect(),
            features,
            links: value["links"].as_str().map(str::to_owned),
            checksum: None,
            rust_version: value["rust_version"]
                .as_str()
                .map(|version| version.parse().expect("a rust-version")),
            yanked: false,
        },
        manifest_path,
    }
}

/// Which of the declared dependencies of `from` an edge to `to` is for.
fn declared(from: &Package, to: &PackageId, edge: &Value) -> Vec<usize> {
    let kinds: BTreeSet<(Option<String>, Option<String>)> = list(&edge["dep_kinds"])
        .iter()
        .map(|kind| {
            (
                kind["kind"].as_str().map(str::to_owned),
                kind["target"].as_str().map(str::to_owned),
            )
        })
        .collect();
    from.summary
        .dependencies
        .iter()
        .enumerate()
        .filter(|(_, dependency)| {
            let kind = match dependency.kind {
                DependencyKind::Normal => None,
                DependencyKind::Development => Some("dev".to_owned()),
                DependencyKind::Build => Some("build".to_owned()),
            };
            let platform = dependency.platform.as_ref().map(ToString::to_string);
            dependency.package == *to.name()
                && dependency.requirement.matches(to.version())
                && kinds.contains(&(kind, platform))
        })
        .map(|(index, _)| index)
        .collect()
}

fn from_json(json: &Value, directory: &Path) -> Lowered {
    let mut ids: BTreeMap<String, PackageId> = BTreeMap::new();
    let mut packages: BTreeMap<PackageId, Arc<Package>> = BTreeMap::new();
    for value in list(&json["packages"]) {
        let package = package(value);
        ids.insert(text(&value["id"]), package.id().clone());
        packages.insert(package.id().clone(), Arc::new(package));
    }
    let mut resolve = Resolve::default();
    for node in list(&json["resolve"]["nodes"]) {
        let id = &ids[&text(&node["id"])];
        let package = &packages[id];
        resolve
            .packages
            .insert(id.clone(), Arc::new(package.summary.clone()));
        let mut edges: BTreeMap<PackageId, BTreeSet<usize>> = BTreeMap::new();
        for edge in list(&node["deps"]) {
            let to = &ids[&text(&edge["pkg"])];
            edges
                .entry(to.clone())
                .or_default()
                .extend(declared(package, to, edge));
        }
        resolve.dependencies.insert(
            id.clone(),
            edges
                .into_iter()
                .map(|(package, declared)| ResolvedDependency {
                    package,
                    declared: declared.into_iter().collect(),
                })
                .collect(),
        );
    }
    let member = |key: &str| {
        list(&json[key])
            .iter()
            .map(|id| ids[&text(id)].clone())
            .collect::<Vec<_>>()
    };
    let root = PathBuf::from(text(&json["workspace_root"]));
    let root_manifest = root.join("Cargo.toml");
    let manifest: toml::Table = std::fs::read_to_string(&root_manifest)
        .expect("a root manifest")
        .parse()
        .expect("a root manifest in TOML");
    let of_manifest = |path: PathBuf| {
        packages
            .values()
            .find(|package| package.manifest_path == path)
            .map(|package| package.id().clone())
    };
    let workspace = Workspace {
        members: member("workspace_members"),
        default_members: member("workspace_default_members"),
        root_package: of_manifest(root_manifest.clone()),
        current_package: of_manifest(
            directory
                .canonicalize()
                .expect("a directory")
                .join("Cargo.toml"),
        ),
        resolver: resolver(&manifest),
        profiles: manifest
            .get("profile")
            .map_or_else(BuildProfiles::default, |profiles| {
                let profiles: cargo_util_schemas::manifest::TomlProfiles =
                    profiles.clone().try_into().expect("profiles");
                profiles.into()
            }),
        replacements: Vec::new(),
        patches: BTreeMap::new(),
        custom_metadata: None,
        warnings: Vec::new(),
        packages: packages
            .iter()
            .filter(|(id, _)| id.source().is_path())
            .map(|(id, package)| (id.clone(), Arc::clone(package)))
            .collect(),
        root,
        root_manifest,
    };
    Lowered {
        workspace,
        resolve,
        packages,
    }
}

fn resolver(manifest: &toml::Table) -> ResolverVersion {
    let key = |table: &str| manifest.get(table)?.get("resolver")?.as_str();
    let edition = || manifest.get("package")?.get("edition")?.as_str();
    match key("workspace").or_else(|| key("package")) {
        Some("1") => ResolverVersion::V1,
        Some("2") => ResolverVersion::V2,
        Some(_) => ResolverVersion::V3,
        None => match edition() {
            Some("2021") => ResolverVersion::V2,
            Some("2024") => ResolverVersion::V3,
            _ => ResolverVersion::V1,
        },
    }
}

/// What rustc says of the host and of `triples`.
pub(crate) fn platforms(
    triples: &[&str],
) -> (String, semver::Version, BTreeMap<String, TargetInfo>) {
    let rustc = |arguments: &[&str]| {
        let output = Command::new("rustc")
            .args(arguments)
            .output()
            .expect("rustc runs");
        assert!(output.status.success(), "rustc {arguments:?}");
        String::from_utf8(output.stdout).expect("rustc prints text")
    };
    let version = rustc(&["-vV"]);
    let field = |name: &str| {
        version
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect("a field of rustc -vV")
            .trim()
            .to_owned()
    };
    let host = field("host:");
    let targets = triples
        .iter()
        .copied()
        .chain([host.as_str()])
        .map(|triple| {
            let cfg = rustc(&["--print", "cfg", "--target", triple]);
            let info = TargetInfo {
                triple: triple.to_owned(),
                cfg: cfg
                    .lines()
                    .map(|line| line.parse().expect("a cfg"))
                    .collect(),
                file_names: BTreeMap::new(),
                has_std: true,
                split_debuginfo: Vec::new(),
            };
            (triple.to_owned(), info)
        })
        .collect();
    let release = field("release:").parse().expect("a version");
    (host, release, targets)
}
