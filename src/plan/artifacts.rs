//! Which outputs the user gets, and under which names.

use super::{PlanError, Planner};
use crate::manifest::model::TargetKind;
use crate::path::RelPath;
use crate::plan::graph::{Artifact, OutputRole, Outputs};
use crate::unit::graph::{Platform, Unit, UnitIndex};

impl Planner<'_> {
    /// What the user gets, with cargo's names.
    pub(super) fn artifacts(&self) -> Result<Vec<Artifact>, PlanError> {
        let mut artifacts = Vec::new();
        for root in &self.input.units.roots {
            let unit = self.input.units.unit(*root);
            let Some(action) = self.by_unit.get(root).copied() else {
                continue;
            };
            let Outputs::Files(files) = &self.actions[action.0].outputs else {
                continue;
            };
            for file in files {
                if file.role == OutputRole::Metadata {
                    continue;
                }
                let Some(name) = self.artifact_name(*root, unit, &file.name) else {
                    continue;
                };
                let path = RelPath::new(name).map_err(|source| PlanError::Path {
                    package: unit.package.clone(),
                    source,
                })?;
                artifacts.push(Artifact {
                    action,
                    output: file.name.clone(),
                    path,
                    triple: match &unit.platform {
                        Platform::Host => None,
                        Platform::Target(triple) => Some(triple.to_string()),
                    },
                    executable: file.role != OutputRole::DebugInfo
                        && (unit.mode.is_any_test()
                            || matches!(
                                unit.target.kind,
                                TargetKind::Bin | TargetKind::ExampleBin
                            )),
                });
            }
        }
        artifacts
            .sort_by(|left, right| (&left.triple, &left.path).cmp(&(&right.triple, &right.path)));
        artifacts.dedup();
        Ok(artifacts)
    }

    /// The name of an artifact below the profile's directory: cargo's, where it puts the file beside the others.
    pub(super) fn artifact_name(
        &self,
        index: UnitIndex,
        unit: &Unit,
        file: &str,
    ) -> Option<String> {
        let identity = self.identities[index.0].as_str();
        if unit.mode.is_any_test() {
            let ending = match file.strip_suffix(".dwp") {
                Some(_) => ".dwp",
                None => "",
            };
            return Some(format!(
                "deps/{}-{identity}{ending}",
                unit.target.crate_name()
            ));
        }
        let plain = file.replace(&format!("-{identity}"), "");
        // A program keeps the dashes of its name; rustc writes it with underscores.
        let plain = match unit.target.kind {
            TargetKind::Bin | TargetKind::ExampleBin => {
                plain.replacen(&unit.target.crate_name(), &unit.target.name, 1)
            }
            _ => plain,
        };
        match unit.target.kind {
            TargetKind::CustomBuild => None,
            TargetKind::ExampleBin | TargetKind::ExampleLib(_) => Some(format!("examples/{plain}")),
            _ => Some(plain),
        }
    }
}
