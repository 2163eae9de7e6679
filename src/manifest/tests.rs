use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::model::{CrateType, Package, Target, TargetKind, Workspace};
use super::source_text::{UrlEncoding, source_text};
use super::*;
use crate::package::{DependencyKind, SourceId, SourceKind};

/// The directories of the crates that this machine's cargo has unpacked, if any.
pub(crate) fn registry_sources() -> Option<Vec<PathBuf>> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    let mut crates = Vec::new();
    for registry in std::fs::read_dir(home.join("registry/src")).ok()? {
        let registry = registry.ok()?.path();
        crates.extend(
            std::fs::read_dir(registry)
                .ok()?
                .filter_map(|entry| Some(entry.ok()?.path()))
                // Cargo writes the mark last; what has none is still being unpacked.
                .filter(|path| path.join(".cargo-ok").exists()),
        );
    }
    crates.sort();
    (!crates.is_empty()).then_some(crates)
}

/// What `cargo metadata` would say of a package, as far as a [`Package`] holds it.
fn metadata_of(package: &Package) -> Value {
    let source = |source: &SourceId| match source.kind() {
        SourceKind::Path(_) => Value::Null,
        _ => json!(source_text(source, UrlEncoding::Plain)),
    };
    let dependencies: Vec<Value> = package
        .summary
        .dependencies
        .iter()
        .map(|dependency| {
            let mut value = json!({
                "name": dependency.package,
                "source": source(&dependency.source),
                "req": dependency.requirement.to_string(),
                "kind": match dependency.kind {
                    DependencyKind::Normal => Value::Null,
                    DependencyKind::Development => json!("dev"),
                    DependencyKind::Build => json!("build"),
                },
                "rename": dependency.renamed,
                "optional": dependency.optional,
                "uses_default_features": dependency.default_features,
                "features": dependency.features,
                "target": dependency.platform.as_ref().map(ToString::to_string),
                "registry": null,
            });
            if let SourceKind::Path(path) = dependency.source.kind() {
                value["path"] = json!(path);
            }
            value
        })
        .collect();
    let features: serde_json::Map<String, Value> = package
        .summary
        .features
        .iter()
        .map(|(name, list)| {
            let list: Vec<_> = list.iter().map(ToString::to_string).collect();
            (name.to_string(), json!(list))
        })
        .collect();
    let targets: Vec<Value> = package
        .targets
        .iter()
        .map(|target| target_of(target))
        .collect();
    let about = &package.metadata;
    json!({
        "name": package.id().name(),
        "version": package.id().version().to_string(),
        "license": about.license,
        "license_file": about.license_file,
        "description": about.description,
        "source": null,
        "dependencies": dependencies,
        "targets": targets,
        "features": features,
        "manifest_path": package.manifest_path,
        "metadata": package.custom_metadata,
        "publish": package.publish,
        "authors": about.authors,
        "categories": about.categories,
        "keywords": about.keywords,
        "readme": about.readme,
        "repository": about.repository,
        "homepage": about.homepage,
        "documentation": about.documentation,
        "edition": package.edition.as_str(),
        "links": package.summary.links,
        "default_run": package.default_run,
        "rust_version": package.summary.rust_version.as_ref().map(ToString::to_string),
    })
}

fn target_of(target: &Target) -> Value {
    let names = |types: &[CrateType]| {
        types
            .iter()
            .map(CrateType::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let kind = match &target.kind {
        TargetKind::Lib(types) => names(types),
        TargetKind::Bin => "bin".to_owned(),
        TargetKind::Test => "test".to_owned(),
        TargetKind::Bench => "bench".to_owned(),
        TargetKind::ExampleLib(_) | TargetKind::ExampleBin => "example".to_owned(),
        TargetKind::CustomBuild => "custom-build".to_owned(),
    };
    let mut value = json!({
        "kind": kind.split(' ').collect::<Vec<_>>(),
        "crate_types": names(&target.crate_types()).split(' ').collect::<Vec<_>>(),
        "name": target.name,
        "src_path": target.src_path,
        "edition": target.edition.as_str(),
        "doc": target.documented,
        "doctest": target.doctested,
        "test": target.tested,
    });
    if let Some(features) = &target.required_features {
        value["required-features"] = json!(features);
    }
    value
}

/// What the installed cargo says in `directory`; its error text if it refuses.
pub(super) fn cargo_metadata(directory: &Path) -> Result<Value, String> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
            "--manifest-path",
        ])
        .arg(directory.join("Cargo.toml"))
        .current_dir("/")
        .output()
        .expect("cargo runs");
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).expect("cargo writes JSON"))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Whether the installed cargo would build what is in `directory`; its error text if not.
pub(super) fn cargo_check(directory: &Path) -> Result<(), String> {
    let (is_success, messages) = check(directory);
    if is_success { Ok(()) } else { Err(messages) }
}

/// What the installed cargo has to say when it builds what is in `directory`.
pub(super) fn cargo_messages(directory: &Path) -> String {
    check(directory).1
}

fn check(directory: &Path) -> (bool, String) {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["check", "--offline", "--manifest-path"])
        .arg(directory.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", directory.join("target"))
        .output()
        .expect("cargo runs");
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), messages)
}

/// Lets the installed cargo write the lock of the workspace of `manifest`.
pub(super) fn cargo_generate_lockfile(manifest: &Path) {
    let status = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args([
            "generate-lockfile",
            "--offline",
            "--quiet",
            "--manifest-path",
        ])
        .arg(manifest)
        .status()
        .expect("cargo runs");
    assert!(status.success());
}

/// Fails with the first difference between what cargo and we say of the members.
pub(super) fn assert_same(workspace: &Workspace, cargo: &Value, case: &str) {
    // Both in the order in which cargo finds the members.
    let theirs = cargo["packages"].as_array().expect("packages");
    let ours: Vec<_> = workspace
        .members
        .iter()
        .map(|id| workspace.package(id))
        .collect();
    let paths: Vec<_> = ours
        .iter()
        .map(|package| json!(package.manifest_path))
        .collect();
    let cargo_paths: Vec<_> = theirs
        .iter()
        .map(|package| package["manifest_path"].clone())
        .collect();
    assert_eq!(paths, cargo_paths, "{case}: members");
    for (ours, theirs) in ours.iter().zip(theirs) {
        let value = metadata_of(ours);
        for (key, value) in value.as_object().expect("an object") {
            let theirs = &theirs[key];
            if let (Some(ours), Some(theirs)) = (value.as_array(), theirs.as_array()) {
                for (ours, theirs) in ours.iter().zip(theirs) {
                    similar(ours, theirs, key, case);
                }
                assert_eq!(ours.len(), theirs.len(), "{case}: `{key}`");
            } else {
                similar(value, theirs, key, case);
            }
        }
    }
    assert_eq!(json!(workspace.root), cargo["workspace_root"], "{case}");
    let default: Vec<_> = workspace
        .default_members
        .iter()
        .map(|id| json!(workspace.package(id).root()))
        .collect();
    let theirs: Vec<_> = cargo["workspace_default_members"]
        .as_array()
        .expect("default members")
        .iter()
        .map(|id| {
            let id = id.as_str().and_then(|id| id.strip_prefix("path+file://"));
            json!(id.and_then(|id| id.split('#').next()))
        })
        .collect();
    assert_eq!(default, theirs, "{case}: default members");
    assert_eq!(
        json!(workspace.custom_metadata),
        cargo["metadata"],
        "{case}"
    );
}

fn similar(ours: &Value, theirs: &Value, key: &str, case: &str) {
    assert_eq!(ours, theirs, "{case}: `{key}`: ours, then cargo's");
}

/// Every crate that this machine has unpacked is read, and (a sample, unless `KILN_TEST_ALL` is set) is what cargo
/// says it is.
#[test]
fn real_crates_are_what_cargo_says() {
    let Some(sources) = registry_sources() else {
        eprintln!("skipped: no unpacked crates on this machine");
        return;
    };
    let context = ManifestContext::default();
    let start = std::time::Instant::now();
    for krate in &sources {
        read_package(
            &krate.join("Cargo.toml"),
            &SourceId::default_registry(),
            &context,
        )
        .unwrap_or_else(|error| panic!("{error}"));
    }
    eprintln!("{} manifests in {:?}", sources.len(), start.elapsed());
    let step = if std::env::var_os("KILN_TEST_ALL").is_some() {
        1
    } else {
        sources.len().div_ceil(12)
    };
    for krate in sources.iter().step_by(step) {
        let manifest = krate.join("Cargo.toml");
        match (load_workspace(&manifest, &context), cargo_metadata(krate)) {
            (Ok(workspace), Ok(cargo)) => {
                assert_same(&workspace, &cargo, &krate.display().to_string());
            }
            (Err(error), Err(_)) => eprintln!("both refuse {}: {error}", krate.display()),
            (Ok(_), Err(error)) => panic!("cargo alone refuses {}: {error}", krate.display()),
            (Err(error), Ok(_)) => panic!("kiln alone refuses {}: {error}", krate.display()),
        }
    }
}
