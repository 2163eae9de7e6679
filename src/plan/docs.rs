//! Documentation: one rustdoc for each crate, each with an output directory of its own.
//!
//! Under cargo all of them write into one directory, and each changes what the others wrote there (search index, lists of
//! crates and of implementations). Here each crate leaves its pages and, beside them, what it has to say to the whole
//! (`--parts-out-dir`); the rustdoc that is planned last for a platform has all of these as inputs and makes the shared
//! files (`--merge=finalize`). Nobody waits for another's pages: rustdoc only asks whether a directory with a crate's name
//! is there, to know that it can link to it, so these directories are there, empty, when it starts.
//!
//! The options are unstable, so rustdoc, and nothing else, gets `RUSTC_BOOTSTRAP`.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    PlanError, Planner, add_need, add_process_environment, env, identity, label, layout, makeflags,
    rustc, text, tree_ref,
};
use crate::digest::ActionId;
use crate::path::RelPath;
use crate::plan::graph::{
    ActionKind, Argument, Documentation, Input, InputSource, Needs, Outputs, PlannedAction,
};
use crate::unit::graph::{Mode, Platform, UnitGraph, UnitIndex};

/// Where pages are, below an action's output directory.
pub const PAGES: &str = "doc";
/// Where what a crate has to say to the whole is, likewise.
const PARTS: &str = "parts";

/// For each platform the unit that is documented last.
pub(super) fn last_documented(units: &UnitGraph) -> BTreeMap<Platform, UnitIndex> {
    identity::topological(units)
        .into_iter()
        .filter(|index| units.unit(*index).mode == Mode::Doc)
        .map(|index| (units.unit(index).platform.clone(), index))
        .collect()
}

impl Planner<'_> {
    /// The units that are documented for `platform`, but for the last one.
    fn documented_before(&self, platform: &Platform) -> Vec<UnitIndex> {
        let last = self.last_documented.get(platform);
        let units = &self.input.units.units;
        (0..units.len())
            .map(UnitIndex)
            .filter(|index| {
                let unit = self.input.units.unit(*index);
                unit.mode == Mode::Doc && unit.platform == *platform && Some(index) != last
            })
            .collect()
    }

    /// The names of the crates whose pages `index` can link to.
    fn linked_to(&self, index: UnitIndex) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut stack = vec![index];
        while let Some(next) = stack.pop() {
            for dependency in &self.input.units.unit(next).dependencies {
                let other = self.input.units.unit(dependency.unit);
                if other.mode == Mode::Doc && seen.insert(dependency.unit) {
                    names.insert(other.target.crate_name());
                    stack.push(dependency.unit);
                }
            }
        }
        names
    }

    pub(super) fn document(&self, index: UnitIndex) -> Result<PlannedAction, PlanError> {
        let unit = self.input.units.unit(index);
        let package = self.package(unit);
        let place = self.place(package)?;
        let out = self.out(index);
        let settings = self.input.settings.of(&unit.platform);
        let is_root = self.input.units.roots.contains(&index);
        let mut arguments: Vec<Argument> = Vec::new();
        let mut push = |argument: &str| arguments.push(text(argument));
        push(&format!("--edition={}", unit.target.edition.as_str()));
        for crate_type in unit.target.crate_types() {
            push("--crate-type");
            push(crate_type.as_str());
        }
        push("--crate-name");
        push(&unit.target.crate_name());
        push(&self.source_argument(package, &unit.target, &place)?);
        if self.input.caps_lints || !unit.package.source().is_path() {
            push("--cap-lints");
            push("allow");
        }
        if let Platform::Target(triple) = &unit.platform {
            push("--target");
            push(triple);
        }
        push("-o");
        push(&format!("{out}/{PAGES}"));
        for argument in rustc::feature_arguments(unit, package) {
            push(&argument);
        }
        push("--error-format=json");
        push(&format!("--json={}", self.input.rustc_json));
        for flag in &package.lint_rustflags {
            push(flag);
        }
        push("-C");
        push(&format!("metadata={}", self.identities[index.0].as_str()));
        push("--sysroot");
        push(self.input.layout.toolchain().as_str());
        push("-Zunstable-options");
        let mut inputs = self.common_inputs(package, &place);
        let mut dependencies = BTreeMap::new();
        if self.last_documented.get(&unit.platform) == Some(&index) {
            push("--merge=finalize");
            for other in self.documented_before(&unit.platform) {
                let action = self.by_unit[&other];
                let at = self.out(other);
                push(&format!("--include-parts-dir={at}/{PARTS}"));
                inputs.push(Input {
                    at,
                    source: InputSource::OutDir(action),
                });
                add_need(&mut dependencies, action, Needs::Everything);
            }
        } else {
            push("--merge=none");
            push(&format!("--parts-out-dir={out}/{PARTS}"));
        }
        if !self.input.layout.is_canonical() {
            let prefix = self.input.layout.prefix();
            push(&format!(
                "--remap-path-prefix={prefix}={}",
                layout::CANONICAL_PREFIX
            ));
        }
        self.crates(index, &mut arguments, &mut inputs, &mut dependencies);
        let mut push = |argument: &str| arguments.push(text(argument));
        if is_root && (self.input.private_items || unit.target.is_bin()) {
            push("--document-private-items");
            if unit.target.is_bin() {
                push("-Arustdoc::private-intra-doc-links");
            }
        }
        for flag in &settings.rustdocflags {
            push(flag);
        }
        let has_version = |flag: &String| flag.starts_with("--crate-version");
        if !settings.rustdocflags.iter().any(has_version) {
            push("--crate-version");
            push(&unit.package.version().to_string());
        }
        let own = self.own_build_script(unit);
        if let Some(script) = own {
            let action = self.by_unit[&script];
            arguments.push(Argument::Cfgs(action));
            inputs.push(Input {
                at: self.out_dir(script),
                source: InputSource::OutDir(action),
            });
            add_need(&mut dependencies, action, Needs::Everything);
        }
        let out_dir = own.map(|script| self.out_dir(script));
        let mut environment = env::Compile {
            common: self.common_environment(package, &place, vec![self.library_path()]),
            unit,
            is_primary: false,
            out_dir: out_dir.as_ref().map(|path| path.as_str()),
            target_tmpdir: None,
            executables: &BTreeMap::new(),
            makeflags: Some(&makeflags()),
            script: None,
        }
        .variables();
        if let Some(granted) = self.input.granted.get(&unit.package) {
            let out_dir = out_dir.as_ref().map(|path| path.as_str());
            granted.compiling.add_to(&mut environment, out_dir);
        }
        environment.insert("RUSTC_BOOTSTRAP".to_owned(), "1".to_owned());
        let temporary = self.temporary(index);
        let (search_path, system) = self.compiler_sees(unit, false);
        add_process_environment(
            &mut environment,
            &self.input.layout.toolchain(),
            &temporary,
            search_path,
        );
        inputs.sort_by(|left, right| left.at.cmp(&right.at));
        let prepared: Vec<RelPath> = self
            .linked_to(index)
            .iter()
            .filter_map(|name| RelPath::new(format!("{PAGES}/{name}")).ok())
            .collect();
        let mut platform = self.platform(ActionKind::Rustdoc, &[]);
        if !prepared.is_empty() {
            let names: Vec<&str> = prepared.iter().map(RelPath::as_str).collect();
            platform.insert("kiln-prepared".to_owned(), names.join("\n"));
        }
        Ok(PlannedAction {
            id: ActionId::from_bytes([0; 32]),
            kind: ActionKind::Rustdoc,
            unit: index,
            label: label(unit),
            program: self.tool("rustdoc"),
            arguments,
            environment,
            environment_of: own.iter().map(|script| self.by_unit[script]).collect(),
            metadata_of: Vec::new(),
            directory: place.directory,
            inputs,
            output_directory: out,
            outputs: Outputs::Directory,
            scratch: Vec::new(),
            prepared,
            temporary_directory: temporary,
            dependencies,
            platform,
            system: tree_ref(system),
            run: None,
            given: None,
        })
    }

    /// What the user gets, the last of a platform after the others.
    pub(super) fn documentation(&self) -> Vec<Documentation> {
        let mut documentation = Vec::new();
        for (platform, last) in &self.last_documented {
            let mut units = self.documented_before(platform);
            units.push(*last);
            for index in units {
                documentation.push(Documentation {
                    action: self.by_unit[&index],
                    crate_name: self.input.units.unit(index).target.crate_name(),
                    triple: match platform {
                        Platform::Host => None,
                        Platform::Target(triple) => Some(triple.to_string()),
                    },
                });
            }
        }
        documentation
    }
}
