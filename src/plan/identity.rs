//! What a unit is, as sixteen hexadecimal digits: the part of its paths and crate metadata that tells it apart.
//!
//! It covers what cargo's metadata hash covers, and nothing of the machine, the user or the checkout:
//!
//! | covered | why |
//! | --- | --- |
//! | package name, version, source (a member's directory relative to the workspace) | two packages must not clash |
//! | target name and kind, mode, platform | one package is built in several ways |
//! | features, profile, LTO, rustflags | each combination is another crate |
//! | `rustc -vV` | crates of different compilers do not mix |
//! | the identities of the units depended on | so do their dependents |

use std::collections::BTreeMap;

use crate::manifest::model::{TargetKind, Workspace};
use crate::package::{GitReference, PackageId, SourceKind};
use crate::plan::codegen;
use crate::plan::settings::Settings;
use crate::unit::graph::{Mode, Platform, Unit, UnitGraph, UnitIndex};
use crate::unit::lto::LtoMode;

/// The identity of a unit: 16 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitIdentity(String);

impl UnitIdentity {
    /// The sixteen digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Length-prefixed fields, so that no two lists of fields have the same bytes.
#[derive(Default)]
struct Fields(blake3::Hasher);

impl Fields {
    fn text(&mut self, field: &str) {
        self.0.update(&(field.len() as u64).to_le_bytes());
        self.0.update(field.as_bytes());
    }

    fn list<'a>(&mut self, items: impl ExactSizeIterator<Item = &'a str>) {
        self.0.update(&(items.len() as u64).to_le_bytes());
        items.for_each(|item| self.text(item));
    }
}

/// Identities of all units of `graph`, by index.
pub fn identities(
    workspace: &Workspace,
    graph: &UnitGraph,
    lto: &[LtoMode],
    rustc_verbose: &str,
    settings: &Settings,
) -> Vec<UnitIdentity> {
    let mut known: BTreeMap<UnitIndex, UnitIdentity> = BTreeMap::new();
    for index in topological(graph) {
        let unit = graph.unit(index);
        let mut fields = Fields::default();
        fields.text("kiln unit 1");
        package(&mut fields, workspace, &unit.package);
        fields.text(&unit.target.name);
        fields.text(kind_name(&unit.target.kind));
        fields.list(
            unit.target
                .crate_types()
                .iter()
                .map(|crate_type| crate_type.as_str().to_owned())
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str),
        );
        fields.text(mode_name(unit.mode));
        fields.text(match &unit.platform {
            Platform::Host => "",
            Platform::Target(triple) => triple,
        });
        fields.list(unit.features.iter().map(|feature| feature.as_str()));
        profile(&mut fields, unit);
        fields.list(
            codegen::lto_arguments(&lto[index.0])
                .iter()
                .map(String::as_str),
        );
        fields.text(rustc_verbose);
        let rustflags = &settings.of(&unit.platform).rustflags;
        fields.list(rustflags.iter().map(String::as_str));
        let mut dependencies: Vec<&str> = unit
            .dependencies
            .iter()
            .map(|dependency| known[&dependency.unit].as_str())
            .collect();
        dependencies.sort_unstable();
        fields.list(dependencies.into_iter());
        known.insert(
            index,
            UnitIdentity(fields.0.finalize().to_hex()[..16].to_owned()),
        );
    }
    known.into_values().collect()
}

fn package(fields: &mut Fields, workspace: &Workspace, package: &PackageId) {
    fields.text(package.name().as_str());
    fields.text(&package.version().to_string());
    match package.source().kind() {
        SourceKind::Path(path) => {
            fields.text("path");
            fields.text(
                &path
                    .strip_prefix(&workspace.root)
                    .map_or(String::new(), |relative| {
                        relative.to_string_lossy().into_owned()
                    }),
            );
        }
        SourceKind::Registry { url, .. } => {
            fields.text("registry");
            fields.text(url);
        }
        SourceKind::Git {
            reference, precise, ..
        } => {
            // Two references to one commit are two sources, and their packages two crates.
            let (kind, name) = match reference {
                GitReference::Tag(name) => ("tag", name.as_str()),
                GitReference::Branch(name) => ("branch", name.as_str()),
                GitReference::Rev(name) => ("rev", name.as_str()),
                GitReference::DefaultBranch => ("", ""),
            };
            fields.text("git");
            fields.text(package.source().canonical_address());
            fields.text(kind);
            fields.text(name);
            fields.text(precise.as_deref().unwrap_or(""));
        }
    }
}

fn kind_name(kind: &TargetKind) -> &'static str {
    match kind {
        TargetKind::Lib(_) => "lib",
        TargetKind::Bin => "bin",
        TargetKind::Test => "test",
        TargetKind::Bench => "bench",
        TargetKind::ExampleLib(_) => "example-lib",
        TargetKind::ExampleBin => "example",
        TargetKind::CustomBuild => "custom-build",
    }
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Test => "test",
        Mode::Build => "build",
        Mode::Check { test: false } => "check",
        Mode::Check { test: true } => "check-test",
        Mode::Doc => "doc",
        Mode::Doctest => "doctest",
        Mode::RunCustomBuild => "run-custom-build",
    }
}

fn profile(fields: &mut Fields, unit: &Unit) {
    let profile = &unit.profile;
    // The name stays out: `[profile.ship] inherits = "release"` builds the same crates as `release`.
    fields.text(&profile.opt_level);
    fields.text(
        &profile
            .codegen_units
            .map_or(String::new(), |units| units.to_string()),
    );
    fields.text(codegen::debuginfo_value(profile.debug).unwrap_or(""));
    fields.text(profile.split_debuginfo.as_deref().unwrap_or(""));
    fields.list(
        [
            profile.debug_assertions,
            profile.overflow_checks,
            profile.rpath,
            // Incremental compilation changes how the code is cut into units, so it is another crate.
            profile.incremental,
        ]
        .map(|flag| if flag { "1" } else { "0" })
        .into_iter(),
    );
    fields.text(codegen::panic_value(profile.panic));
    fields.text(codegen::strip_value(&profile.strip).unwrap_or(""));
    fields.text(codegen::lto_value(&profile.lto));
    fields.list(profile.rustflags.iter().map(|flag| &**flag));
}

/// Indices of `graph`, dependencies before dependents.
pub(crate) fn topological(graph: &UnitGraph) -> Vec<UnitIndex> {
    let mut order = Vec::with_capacity(graph.units.len());
    let mut done = vec![false; graph.units.len()];
    for start in 0..graph.units.len() {
        // An explicit stack: a graph may be deep, and it is shaped by what strangers published.
        let mut stack = vec![(UnitIndex(start), 0)];
        while let Some((index, next)) = stack.pop() {
            if done[index.0] {
                continue;
            }
            match graph.unit(index).dependencies.get(next) {
                Some(dependency) => {
                    stack.push((index, next + 1));
                    if !done[dependency.unit.0] {
                        stack.push((dependency.unit, 0));
                    }
                }
                None => {
                    done[index.0] = true;
                    order.push(index);
                }
            }
        }
    }
    order
}
