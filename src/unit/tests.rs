//! Lowering of small workspaces, read from manifests written here. That the graphs are cargo's, the integration test
//! `unit_graph` shows; here are the rules by themselves, and what users are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::graph::{DebugInfo, Mode, Platform, Strip, StripInner, Unit, UnitGraph};
use super::json::unit_graph_json;
use super::lto::{LtoMode, lto_modes};
use super::{
    BuildRequest, Intent, PackageSelection, Platforms, TargetNames, UnitError, accessible_packages,
    lower,
};
use crate::manifest::model::Workspace;
use crate::manifest::{ManifestContext, load_workspace};
use crate::resolve::graph::{Resolve, ResolvedDependency};
use crate::toolchain::model::TargetInfo;

const HOST: &str = "x86_64-unknown-linux-gnu";
const WASM: &str = "wasm32-unknown-unknown";

struct Fixture {
    workspace: Workspace,
    resolve: Resolve,
    targets: BTreeMap<String, TargetInfo>,
    rustc: semver::Version,
}

/// A workspace of `packages`: (directory, manifest), the first one at the root. Every package has a library and a
/// program file beside its manifest.
fn fixture(packages: &[(&str, &str)]) -> Fixture {
    let directory = tempfile::tempdir().expect("a directory");
    for (path, manifest) in packages {
        let root = directory.path().join(path);
        std::fs::create_dir_all(root.join("src")).expect("a directory");
        std::fs::write(root.join("Cargo.toml"), manifest).expect("a manifest");
        for file in ["src/lib.rs", "src/main.rs"] {
            std::fs::write(root.join(file), "").expect("a file");
        }
        if manifest.contains("build-dependencies") || manifest.contains("links") {
            std::fs::write(root.join("build.rs"), "").expect("a file");
        }
        if manifest.contains("dev-dependencies") {
            std::fs::create_dir_all(root.join("tests")).expect("a directory");
            std::fs::write(root.join("tests/it.rs"), "").expect("a file");
        }
    }
    let manifest = directory.path().join("Cargo.toml");
    let workspace =
        load_workspace(&manifest, &ManifestContext::default()).expect("a valid workspace");
    let mut resolve = Resolve::default();
    for (id, package) in &workspace.packages {
        let mut edges: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (index, dependency) in package.summary.dependencies.iter().enumerate() {
            let to = workspace
                .packages
                .keys()
                .find(|to| *to.name() == dependency.package)
                .expect("a path dependency");
            edges.entry(to.clone()).or_default().push(index);
        }
        resolve
            .packages
            .insert(id.clone(), Arc::new(package.summary.clone()));
        resolve.dependencies.insert(
            id.clone(),
            edges
                .into_iter()
                .map(|(package, declared)| ResolvedDependency { package, declared })
                .collect(),
        );
    }
    let info = |triple: &str, cfg: &[&str]| TargetInfo {
        triple: triple.to_owned(),
        cfg: cfg.iter().map(|cfg| cfg.parse().expect("a cfg")).collect(),
        file_names: BTreeMap::new(),
        has_std: true,
        split_debuginfo: Vec::new(),
    };
    let targets = [
        info(HOST, &["unix", "target_os=\"linux\""]),
        info(WASM, &["target_arch=\"wasm32\""]),
    ]
    .map(|info| (info.triple.clone(), info))
    .into();
    Fixture {
        workspace,
        resolve,
        targets,
        rustc: semver::Version::new(1, 95, 0),
    }
}

impl Fixture {
    fn platforms(&self) -> Platforms<'_> {
        Platforms::new(HOST, &self.targets, &self.rustc)
    }

    fn lower(&self, request: &BuildRequest) -> Result<UnitGraph, UnitError> {
        lower(
            &self.workspace,
            &self.resolve,
            &BTreeMap::new(),
            self.platforms(),
            request,
        )
    }

    fn graph(&self, request: &BuildRequest) -> UnitGraph {
        match self.lower(request) {
            Ok(graph) => graph,
            Err(error) => panic!("{error} ({:?})", error.help()),
        }
    }
}

fn build() -> BuildRequest {
    BuildRequest::new(Intent::Build)
}

fn with_features(features: &[&str]) -> BuildRequest {
    let mut request = build();
    request.features.features = features.iter().map(|&feature| feature.to_owned()).collect();
    request
}

/// One line for a unit: package, target, mode, platform and features.
fn line(unit: &Unit) -> String {
    let platform = match &unit.platform {
        Platform::Host => "host",
        Platform::Target(triple) => triple,
    };
    let mode = match unit.mode {
        Mode::RunCustomBuild => "run".to_owned(),
        mode => format!("{mode:?}").to_lowercase(),
    };
    let features: Vec<&str> = unit.features.iter().map(|f| f.as_str()).collect();
    format!(
        "{} {} {mode} {platform} [{}]",
        unit.package.name(),
        unit.target.name,
        features.join(" ")
    )
}

fn lines(graph: &UnitGraph) -> Vec<String> {
    graph.units.iter().map(line).collect()
}

/// `app` needs `shared` with one feature itself and with another for its build script.
fn shared_by_build_script(resolver: &str) -> Fixture {
    fixture(&[
        (
            "",
            &format!(
                r#"
[package]
name = "app"
version = "0.1.0"
[[bin]]
name = "app"
path = "src/main.rs"
[dependencies]
shared = {{ path = "shared", features = ["runtime"] }}
[target.'cfg(windows)'.dependencies]
windows-only = {{ path = "windows-only" }}
[build-dependencies]
shared = {{ path = "shared", features = ["compile"] }}
[dev-dependencies]
shared = {{ path = "shared", features = ["test"] }}
[workspace]
resolver = "{resolver}"
"#
            ),
        ),
        (
            "shared",
            "[package]\nname = \"shared\"\nversion = \"0.1.0\"\n[features]\nruntime = []\ncompile = []\ntest = []\n",
        ),
        (
            "windows-only",
            "[package]\nname = \"windows-only\"\nversion = \"0.1.0\"\n",
        ),
    ])
}

#[test]
fn resolver_1_unifies_features_and_resolver_2_keeps_uses_apart() {
    let shared = |resolver: &str, request: &BuildRequest| {
        let mut found = lines(&shared_by_build_script(resolver).graph(request));
        found.retain(|line| line.starts_with("shared"));
        found
    };
    let tests = BuildRequest::new(Intent::Test);
    let one = "shared shared build host [compile runtime test]";
    for (resolver, request, expected) in [
        ("1", build(), vec![one]),
        ("1", tests.clone(), vec![one]),
        (
            "2",
            build(),
            vec![
                "shared shared build host [compile]",
                "shared shared build host [runtime]",
            ],
        ),
        (
            "3",
            tests,
            vec![
                "shared shared build host [compile]",
                "shared shared build host [runtime test]",
            ],
        ),
    ] {
        assert_eq!(shared(resolver, &request), expected, "resolver {resolver}");
    }
}

#[test]
fn a_platform_keeps_what_is_built_for_it_apart_from_the_host() {
    let fixture = shared_by_build_script("2");
    let mut request = build();
    request.platforms = vec![WASM.to_owned()];
    assert_eq!(
        lines(&fixture.graph(&request)),
        [
            "app app build wasm32-unknown-unknown []",
            "app app build wasm32-unknown-unknown []",
            "app build-script-build run wasm32-unknown-unknown []",
            "app build-script-build build host []",
            "shared shared build host [compile]",
            "shared shared build wasm32-unknown-unknown [runtime]",
        ]
    );
}

#[test]
fn only_packages_that_a_platform_can_reach_are_needed() {
    let fixture = shared_by_build_script("2");
    let needed = accessible_packages(
        &fixture.workspace,
        &fixture.resolve,
        fixture.platforms(),
        &build(),
    )
    .expect("a valid request");
    let names: Vec<&str> = needed.iter().map(|id| id.name().as_str()).collect();
    assert_eq!(names, ["app", "shared"]);
}

const FEATURES: &str = r#"
[package]
name = "app"
version = "0.1.0"
[features]
default = ["base"]
base = []
strong = ["helper/fast"]
weak = ["helper?/fast"]
on = ["dep:helper"]
[dependencies]
helper = { path = "helper", optional = true }
other = { path = "other", optional = true }
[workspace]
resolver = "2"
"#;

const HELPER: &str = "[package]\nname = \"helper\"\nversion = \"0.1.0\"\n[features]\nfast = []\n";
const OTHER: &str = "[package]\nname = \"other\"\nversion = \"0.1.0\"\n";

#[test]
fn optional_dependencies_come_with_the_features_that_enable_them() {
    let fixture = fixture(&[("", FEATURES), ("helper", HELPER), ("other", OTHER)]);
    let library = |features: &[&str]| {
        let mut found = lines(&fixture.graph(&with_features(features)));
        found.retain(|line| line.contains("helper helper") || line.contains("other other"));
        found
    };
    let plain = "helper helper build host []";
    let fast = "helper helper build host [fast]";
    let other = "other other build host []";
    for (features, expected) in [
        (&[][..], vec![]),
        (&["strong"], vec![fast]),
        (&["weak"], vec![]),
        (&["on"], vec![plain]),
        (&["weak", "on"], vec![fast]),
        (&["other"], vec![other]),
        (&["app/weak", "helper/fast"], vec![fast]),
        (&["other helper?/fast"], vec![other]),
    ] {
        assert_eq!(library(features), expected, "{features:?}");
    }
    let mut all = build();
    all.features.all_features = true;
    let roots = fixture.graph(&all);
    assert!(
        lines(&roots)
            .contains(&"app app build host [base default on other strong weak]".to_owned())
    );
    let mut none = build();
    none.features.no_default_features = true;
    assert_eq!(
        lines(&fixture.graph(&none)),
        ["app app build host []", "app app build host []"]
    );
}

#[test]
fn mistakes_are_told_as_what_is_wrong_and_what_there_is() {
    let fixture = fixture(&[
        (
            "",
            &format!(
                "{FEATURES}members = [\"helper\"]\n[[bin]]\nname = \"gated\"\npath = \"src/main.rs\"\n\
                 required-features = [\"strong\"]\n"
            ),
        ),
        ("helper", HELPER),
        ("other", OTHER),
    ]);
    let named = |names: fn(&mut BuildRequest) -> &mut TargetNames, name: &str| {
        let mut request = build();
        *names(&mut request) = TargetNames::named([name]);
        request
    };
    let selected = |packages: &[&str]| {
        let mut request = build();
        request.packages =
            PackageSelection::Packages(packages.iter().map(|&name| name.to_owned()).collect());
        request
    };
    let mut profile = build();
    profile.profile = Some("releas".to_owned());
    let mut platform = build();
    platform.platforms = vec!["z80-unknown-none".to_owned()];
    for (request, message, help) in [
        (
            with_features(&["stronk"]),
            "the package `app` does not contain this feature: stronk",
            Some("there is a similarly named feature: `strong`"),
        ),
        (
            with_features(&["fast"]),
            "the package `app` does not contain this feature: fast",
            Some("packages with the missing features: `helper`"),
        ),
        (
            with_features(&["helper"]),
            "package `app v0.1.0` does not have the feature `helper`",
            Some(
                "an optional dependency with that name exists, but the `features` table includes it with the \
                 `dep:` syntax, so it does not have an implicit feature with that name; it is enabled by `on`, \
                 `strong`",
            ),
        ),
        (
            with_features(&["helper/slow"]),
            "package `helper v0.1.0` does not have the feature `slow`",
            Some("look at `[features]` and at the optional dependencies in the package's manifest"),
        ),
        (
            with_features(&["dep:helper"]),
            "feature `dep:helper` cannot be requested: the `dep:` syntax is only allowed in a manifest",
            None,
        ),
        (
            with_features(&["a/b/c"]),
            "feature `a/b/c` cannot be requested: multiple slashes are not allowed",
            None,
        ),
        (
            named(|request| &mut request.targets.bins, "gaten"),
            "no bin target named `gaten` in default-run packages",
            Some("a target with a similar name exists: `gated`"),
        ),
        (
            named(|request| &mut request.targets.tests, "it*"),
            "no test target matches pattern `it*` in default-run packages",
            Some(
                "look at the test targets of the selected packages: the `[[test]]` entries of the manifest, and the files",
            ),
        ),
        (
            named(|request| &mut request.targets.bins, "gated"),
            "target `gated` in package `app` requires the features: `strong`",
            Some("enable them by passing, e.g., `--features=\"strong\"`"),
        ),
        (
            selected(&["helpr"]),
            "package specification `helpr` did not match any packages",
            Some("a package with a similar name exists: `helper`"),
        ),
        (
            selected(&["helper@2"]),
            "package specification `helper@2` did not match any packages",
            Some("there are similar package specifications: `helper@0.1.0`"),
        ),
        (
            profile,
            "profile `releas` is not defined",
            Some("a profile with a similar name exists: `release`"),
        ),
        (
            platform,
            "nothing is known of the platform `z80-unknown-none`: the toolchain was not asked about it",
            Some(
                "check the spelling; if it is right, add it to the toolchain: `rustup target add z80-unknown-none`",
            ),
        ),
    ] {
        let error = fixture.lower(&request).expect_err(message);
        assert_eq!(error.to_string(), message);
        assert_eq!(error.help().as_deref(), help, "{message}");
    }
}

#[test]
fn members_are_selected_by_name_pattern_and_exclusion() {
    let fixture = fixture(&[
        (
            "",
            "[workspace]\nmembers = [\"al*\", \"beta\"]\nresolver = \"2\"\n",
        ),
        (
            "alpha",
            "[package]\nname = \"alpha\"\nversion = \"1.0.0\"\n",
        ),
        ("alp", "[package]\nname = \"alp\"\nversion = \"1.0.0\"\n"),
        ("beta", "[package]\nname = \"beta\"\nversion = \"1.0.0\"\n"),
    ]);
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    for (workspace, exclude, packages, expected) in [
        (false, &[][..], &[][..], vec!["alp", "alpha", "beta"]),
        (true, &[], &[], vec!["alp", "alpha", "beta"]),
        (false, &[], &["alp*"], vec!["alp", "alpha"]),
        (false, &[], &["beta@1", "alp"], vec!["alp", "beta"]),
        (true, &["alp*"], &[], vec!["beta"]),
        (true, &["beta", "gamma"], &[], vec!["alp", "alpha"]),
    ] {
        let mut request = build();
        request.targets.lib = true;
        request.packages = PackageSelection::from_flags(workspace, owned(exclude), owned(packages))
            .expect("a selection");
        let graph = fixture.graph(&request);
        let names: Vec<&str> = graph
            .units
            .iter()
            .map(|unit| unit.package.name().as_str())
            .collect();
        assert_eq!(names, expected, "{:?}", request.packages);
        assert_eq!(
            graph.warnings.len(),
            usize::from(exclude.contains(&"gamma"))
        );
    }
    assert!(matches!(
        PackageSelection::from_flags(false, owned(&["x"]), Vec::new()),
        Err(UnitError::ExcludeWithoutWorkspace)
    ));
}

#[test]
fn profiles_are_laid_in_cargos_order() {
    let fixture = fixture(&[
        (
            "",
            r#"
[package]
name = "app"
version = "0.1.0"
[[bin]]
name = "app"
path = "src/main.rs"
[dependencies]
dep = { path = "../dep" }
[build-dependencies]
tool = { path = "../tool" }
[workspace]
resolver = "2"
[profile.release]
debug = 1
panic = "abort"
[profile.release.build-override]
codegen-units = 3
[profile.release.package."*"]
opt-level = 2
[profile.release.package.dep]
opt-level = "z"
[profile.fast]
inherits = "release"
lto = "thin"
debug = false
"#,
        ),
        ("../dep", "[package]\nname = \"dep\"\nversion = \"0.1.0\"\n"),
        (
            "../tool",
            "[package]\nname = \"tool\"\nversion = \"0.1.0\"\n",
        ),
    ]);
    let profile = |request: &BuildRequest, name: &str, mode: Mode| {
        let graph = fixture.graph(request);
        let unit = graph
            .units
            .iter()
            .find(|unit| unit.target.name == name && unit.mode == mode);
        let profile = unit.expect(name).profile.clone();
        format!(
            "{} {:?} {:?} {:?} {}",
            profile.opt_level,
            profile.debug,
            profile.codegen_units,
            profile.panic,
            profile.incremental
        )
    };
    let mut release = build();
    release.profile = Some("release".to_owned());
    let mut fast = build();
    fast.profile = Some("fast".to_owned());
    for (request, name, expected) in [
        (&build(), "app", "0 Full None Unwind true"),
        (&build(), "tool", "0 None None Unwind true"),
        (&release, "app", "3 Limited None Abort false"),
        (&release, "dep", "z Limited None Abort false"),
        (&release, "tool", "2 None Some(3) Unwind false"),
        (
            &release,
            "build-script-build",
            "0 None Some(3) Unwind false",
        ),
        (&fast, "dep", "z None None Abort false"),
    ] {
        let found = profile(request, name, Mode::Build);
        assert_eq!(found, expected, "{name} {:?}", request.profile);
    }
    // No debug information anywhere: what the standard library brings is stripped.
    let graph = fixture.graph(&fast);
    let root = graph.unit(graph.roots[0]);
    assert_eq!(root.profile.debug, DebugInfo::None);
    assert_eq!(
        root.profile.strip,
        Strip::Resolved(StripInner::Named("debuginfo".to_owned()))
    );
}

#[test]
fn build_scripts_run_after_those_of_the_linked_packages_they_hear_from() {
    let fixture = fixture(&[
        (
            "",
            "[package]\nname = \"app\"\nversion = \"0.1.0\"\nlinks = \"app\"\n[dependencies]\n\
             sys = { path = \"sys\" }\nplain = { path = \"plain\" }\n[workspace]\n",
        ),
        (
            "sys",
            "[package]\nname = \"sys\"\nversion = \"0.1.0\"\nlinks = \"z\"\n",
        ),
        (
            "plain",
            "[package]\nname = \"plain\"\nversion = \"0.1.0\"\nbuild = \"src/main.rs\"\n",
        ),
    ]);
    let graph = fixture.graph(&build());
    let run = graph
        .units
        .iter()
        .find(|unit| unit.mode == Mode::RunCustomBuild && unit.package.name() == "app")
        .expect("a run of the build script");
    let needs: Vec<String> = run
        .dependencies
        .iter()
        .map(|dependency| line(graph.unit(dependency.unit)))
        .collect();
    assert_eq!(
        needs,
        [
            "app build-script-build build host []",
            "sys build-script-build run host []",
        ]
    );
}

#[test]
fn lto_gives_every_unit_what_its_users_need() {
    let fixture = fixture(&[
        (
            "",
            "[package]\nname = \"app\"\nversion = \"0.1.0\"\n[dependencies]\ndep = { path = \"dep\" }\n\
             [build-dependencies]\ntool = { path = \"tool\" }\n[workspace]\n\
             [profile.fat]\ninherits = \"release\"\nlto = true\n[profile.thin]\ninherits = \"release\"\nlto = \"thin\"\n\
             [profile.off]\ninherits = \"release\"\nlto = \"off\"\n",
        ),
        (
            "dep",
            "[package]\nname = \"dep\"\nversion = \"0.1.0\"\n[lib]\ncrate-type = [\"rlib\", \"cdylib\"]\n",
        ),
        ("tool", "[package]\nname = \"tool\"\nversion = \"0.1.0\"\n"),
    ]);
    let run = |kind: &str| LtoMode::Run(Some(kind.to_owned()));
    for (profile, program, library, dependency, tool) in [
        (
            "release",
            LtoMode::OnlyObject,
            LtoMode::OnlyObject,
            LtoMode::OnlyObject,
            LtoMode::OnlyObject,
        ),
        (
            "fat",
            LtoMode::Run(None),
            LtoMode::OnlyBitcode,
            LtoMode::ObjectAndBitcode,
            LtoMode::OnlyObject,
        ),
        (
            "thin",
            run("thin"),
            LtoMode::OnlyBitcode,
            LtoMode::ObjectAndBitcode,
            LtoMode::OnlyObject,
        ),
        (
            "off",
            LtoMode::Off,
            LtoMode::Off,
            LtoMode::Off,
            LtoMode::OnlyObject,
        ),
    ] {
        let mut request = build();
        request.profile = Some(profile.to_owned());
        let graph = fixture.graph(&request);
        let modes = lto_modes(&graph);
        let mode = |name: &str, is_bin: bool| {
            let at = graph.units.iter().position(|unit| {
                unit.package.name() == name
                    && unit.target.is_bin() == is_bin
                    && !unit.target.for_host
            });
            modes[at.expect(name)].clone()
        };
        assert_eq!(mode("app", true), program, "{profile}");
        assert_eq!(mode("app", false), library, "{profile}");
        assert_eq!(mode("dep", false), dependency, "{profile}");
        assert_eq!(mode("tool", false), tool, "{profile}");
    }
}

#[test]
fn packages_that_need_a_newer_rustc_are_refused() {
    let fixture = fixture(&[(
        "",
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\nrust-version = \"1.99\"\n",
    )]);
    let error = fixture.lower(&build()).expect_err("too old");
    assert_eq!(
        error.to_string(),
        "rustc 1.95.0 is not supported by: `app@0.1.0` requires rustc 1.99"
    );
    let mut request = build();
    request.ignore_rust_version = true;
    assert_eq!(fixture.graph(&request).units.len(), 2);
}

#[test]
fn the_json_has_cargos_keys_in_cargos_order() {
    let fixture = fixture(&[(
        "",
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[lib]\npath = \"src/lib.rs\"\n",
    )]);
    let mut request = build();
    request.targets.lib = true;
    let json = unit_graph_json(&fixture.graph(&request)).expect("UTF-8");
    let root = fixture.workspace.root.display().to_string();
    let json = json.replace(&root, "/w");
    assert_eq!(
        json,
        r#"{"version":1,"units":[{"pkg_id":"path+file:///w#app@0.1.0","target":{"kind":["lib"],"crate_types":["lib"],"name":"app","src_path":"/w/src/lib.rs","edition":"2024","doc":true,"doctest":true,"test":true},"profile":{"name":"dev","opt_level":"0","lto":"false","codegen_backend":null,"codegen_units":null,"debuginfo":2,"split_debuginfo":null,"debug_assertions":true,"overflow_checks":true,"rpath":false,"incremental":true,"panic":"unwind","strip":{"deferred":"None"}},"platform":null,"mode":"build","features":[],"dependencies":[]}],"roots":[0]}"#
    );
}
