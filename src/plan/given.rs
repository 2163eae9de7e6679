//! The action of a build script that configuration stands in for: nothing runs, and its outcome is known.

use std::collections::BTreeMap;

use crate::digest::ActionId;
use crate::directive::BuildScriptOutput;
use crate::plan::graph::{ActionKind, Outputs, PlannedAction};
use crate::plan::{Place, Planner, label, tree_ref};
use crate::unit::graph::UnitIndex;

impl Planner<'_> {
    /// A build script that configuration stands in for.
    pub(super) fn given(
        &self,
        index: UnitIndex,
        place: Place,
        output: &BuildScriptOutput,
    ) -> PlannedAction {
        let unit = self.input.units.unit(index);
        PlannedAction {
            id: ActionId::from_bytes([0; 32]),
            kind: ActionKind::RunBuildScript,
            unit: index,
            label: label(unit),
            program: self.tool("rustc"),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            environment_of: Vec::new(),
            metadata_of: Vec::new(),
            directory: place.root,
            inputs: Vec::new(),
            output_directory: self.out_dir(index),
            outputs: Outputs::OutDir,
            scratch: Vec::new(),
            temporary_directory: self.temporary(index),
            dependencies: BTreeMap::new(),
            platform: self.platform(ActionKind::RunBuildScript, &[]),
            system: tree_ref(self.input.runtime),
            run: None,
            prepared: Vec::new(),
            given: Some(output.clone()),
        }
    }
}
