//! The locked action graph as text: JSON for programs, DOT for Graphviz.
//!
//! The JSON is versioned and deterministic: equal graphs have equal bytes, and nothing of the machine, the user or the
//! checkout is in it. Its form:
//!
//! ```text
//! { "version": 1,
//!   "actions":   [ { "id", "kind", "unit", "label", "program", "arguments": [ {"text": …} | symbolic ], "environment",
//!                    "environment_of", "metadata_of", "directory", "inputs": [ { "at", "tree" | "files" | "out-dir" | "artifacts" } ],
//!                    "output_directory", "outputs", "temporary_directory",
//!                    "dependencies": { "<index>": "metadata" | "everything" }, "platform", "system" } ],
//!   "artifacts": [ { "action", "output", "path", "triple", "executable" } ],
//!   "runs":      [ as "actions", with { "run": { "package", "libraries_of" } }, where tests are to be run ] }
//! ```
//!
//! Actions are referred to by their index in `actions`; those that an action depends on come before it.

use std::fmt::Write as _;

use serde::Serialize;

use crate::plan::graph::{ActionGraph, ActionKind, Needs};

/// The version of the JSON form.
pub const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    #[serde(flatten)]
    graph: &'a ActionGraph,
}

/// The graph as JSON, with a line feed at the end.
pub fn json(graph: &ActionGraph) -> String {
    let document = Document {
        version: VERSION,
        graph,
    };
    let mut text =
        serde_json::to_string_pretty(&document).expect("texts, lists and maps have a JSON form");
    text.push('\n');
    text
}

/// The graph in Graphviz's language: an edge goes from an action to what it needs, dashed if metadata is enough.
pub fn dot(graph: &ActionGraph) -> String {
    let mut text =
        String::from("digraph kiln {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n");
    for (index, action) in graph.actions.iter().enumerate() {
        let shape = match action.kind {
            ActionKind::Rustc => "box",
            ActionKind::Rustdoc => "note",
            ActionKind::RunBuildScript | ActionKind::Test => "ellipse",
        };
        let label = action.label.replace('\\', "\\\\").replace('"', "\\\"");
        let id = &action.id.to_hex()[..12];
        let _ = writeln!(
            text,
            "  a{index} [shape={shape}, label=\"{label}\\n{id}\"];"
        );
    }
    for (index, action) in graph.actions.iter().enumerate() {
        for (dependency, needs) in &action.dependencies {
            let style = match needs {
                Needs::Metadata => " [style=dashed]",
                Needs::Everything => "",
            };
            let _ = writeln!(text, "  a{index} -> a{}{style};", dependency.0);
        }
    }
    text.push_str("}\n");
    text
}
