//! The locked action graph: what each process does, with what earlier actions make named symbolically.
//!
//! An action of the graph names its inputs by content where content is known before anything runs (sources,
//! toolchains) and by (action, output) where it is not. What a build script prints is such an output too: the
//! arguments and variables that follow from it stay symbolic until it has run.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::ActionId;
use crate::directive::{BuildScriptOutput, LinkArgTarget};
use crate::path::{RelPath, SandboxPath};
use crate::tree::TreeRef;
use crate::unit::graph::UnitIndex;

/// Index of an action in [`ActionGraph::actions`]; dependencies have smaller indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ActionIndex(pub usize);

/// What kind of process an action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionKind {
    /// `rustc` on one crate.
    Rustc,
    /// `rustdoc` on one crate.
    Rustdoc,
    /// A build script's program.
    RunBuildScript,
    /// A test's or benchmark's program, or rustdoc running the examples of documentation.
    Test,
}

impl ActionKind {
    /// The name of the sandbox profile that it runs under (a file of `sandbox-profiles/`).
    pub fn profile(self) -> &'static str {
        match self {
            ActionKind::Rustc | ActionKind::Rustdoc => "rustc",
            ActionKind::RunBuildScript => "build-script",
            ActionKind::Test => "test",
        }
    }
}

/// One argument, or a run of arguments that a build script decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Argument {
    /// As it stands.
    Text(String),
    /// `-L PATH` for each search path that these build scripts print; those below an output directory come first.
    LibraryPaths(Vec<ActionIndex>),
    /// `-l NAME` for each library that the build script prints.
    LibraryLinks(ActionIndex),
    /// `-C link-arg=ARG` for each printed link argument that applies to the target.
    LinkArgs {
        /// The build script.
        of: ActionIndex,
        /// Which of its link arguments apply to the crate that is compiled.
        targets: Vec<LinkArgTarget>,
    },
    /// `--cfg CFG` and `--check-cfg CFG` for each printed one.
    Cfgs(ActionIndex),
}

/// Where a file or directory that an action sees comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputSource {
    /// A tree whose content is known.
    Tree(TreeRef),
    /// Such a tree, which is there only if a build script names a directory of it as a search path for libraries: so
    /// that a change in any other package does not link everything anew.
    Searched(TreeRef),
    /// A directory that holds these files of an earlier action's outputs.
    Files {
        /// The earlier action.
        action: ActionIndex,
        /// The names of the files.
        names: Vec<String>,
    },
    /// The `OUT_DIR` that a build script filled.
    OutDir(ActionIndex),
    /// Outputs of several actions, laid out as the user gets them.
    Artifacts(Vec<LaidOut>),
}

/// One output of an action, and where it is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LaidOut {
    /// Where it is, below the input.
    pub path: RelPath,
    /// The action that makes it.
    pub action: ActionIndex,
    /// The file's name among the action's outputs.
    pub output: String,
}

/// What only the run of a program of the workspace has: a test, a benchmark, examples of documentation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunOptions {
    /// Where its package is, which it gets a copy of that it may change, and what is in there at first. It lies on top
    /// of the inputs.
    pub package: (SandboxPath, TreeRef),
    /// The build scripts whose libraries it may load: where they are comes first in `LD_LIBRARY_PATH`.
    pub libraries_of: Vec<ActionIndex>,
}

/// One input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Input {
    /// Where the action sees it.
    pub at: SandboxPath,
    /// What it is.
    #[serde(flatten)]
    pub source: InputSource,
}

/// A file that a compilation is to leave in its output directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutputFile {
    /// The file's name.
    pub name: String,
    /// What it is for.
    pub role: OutputRole,
}

/// What an output file is for. The words are those of cargo's `FileFlavor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputRole {
    /// Crate metadata: what a dependent library needs in order to be compiled.
    Metadata,
    /// A library that something can link against.
    Linkable,
    /// A program, or a library that is not for linking by rustc (`cdylib`, `staticlib`).
    Normal,
    /// What debuggers look for beside another output: it is handed out with that one, and nobody is told of it.
    DebugInfo,
}

/// What an action leaves behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outputs {
    /// Files of the output directory.
    Files(Vec<OutputFile>),
    /// Everything in `OUT_DIR`, and what the build script printed.
    OutDir,
    /// Everything in the output directory.
    Directory,
}

/// How an action waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Needs {
    /// Only its metadata: it may start while the other still generates code.
    Metadata,
    /// The whole of it.
    Everything,
}

/// One process, planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedAction {
    /// Its identity before anything runs.
    pub id: ActionId,
    /// What kind it is.
    pub kind: ActionKind,
    /// The unit that it is for.
    #[serde(serialize_with = "unit_index")]
    pub unit: UnitIndex,
    /// For people: `serde 1.0.219 (lib)`.
    pub label: String,
    /// The program, as the action sees it.
    pub program: SandboxPath,
    /// The arguments after the program's name.
    pub arguments: Vec<Argument>,
    /// The whole environment, but for what build scripts add.
    pub environment: BTreeMap<String, String>,
    /// The build scripts whose `rustc-env` this action gets.
    pub environment_of: Vec<ActionIndex>,
    /// The build scripts whose metadata this action gets, as `DEP_<LINKS>_<KEY>`, and the `links` name of each.
    pub metadata_of: Vec<(ActionIndex, String)>,
    /// The working directory.
    pub directory: SandboxPath,
    /// What it sees, sorted by path.
    pub inputs: Vec<Input>,
    /// The directory that it may write.
    pub output_directory: SandboxPath,
    /// What it is to leave there.
    pub outputs: Outputs,
    /// Paths below its working directory that it may write to in a copy of its own, which nothing is taken from; `.` is
    /// all of it. They are in [`PlannedAction::platform`], too, and so in id and key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scratch: Vec<String>,
    /// Directories that are in its output directory when it starts. They are in [`PlannedAction::platform`], too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prepared: Vec<RelPath>,
    /// Where it may put temporary files.
    pub temporary_directory: SandboxPath,
    /// What has to be done first.
    pub dependencies: BTreeMap<ActionIndex, Needs>,
    /// Properties of the platform (`OSFamily`, `ISA`) and of the sandbox.
    pub platform: BTreeMap<String, String>,
    /// The system tree that it sees at `/`: the host's root of the snapshot is found by this digest.
    pub system: TreeRef,
    /// What only the run of a program has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunOptions>,
    /// What configuration gives in its place: then nothing runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given: Option<BuildScriptOutput>,
}

impl PlannedAction {
    /// The name of the crate that it compiles, as rustc is told it.
    pub fn crate_name(&self) -> Option<&str> {
        let mut arguments = self.arguments.iter();
        arguments
            .find(|argument| matches!(argument, Argument::Text(text) if text == "--crate-name"))?;
        match arguments.next()? {
            Argument::Text(name) => Some(name),
            _ => None,
        }
    }

    /// The name of the metadata file, where the action makes one.
    pub fn metadata_file(&self) -> Option<&str> {
        match &self.outputs {
            Outputs::Files(files) => files
                .iter()
                .find(|file| file.role == OutputRole::Metadata)
                .map(|file| file.name.as_str()),
            Outputs::OutDir | Outputs::Directory => None,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn unit_index<S: serde::Serializer>(unit: &UnitIndex, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(unit.0 as u64)
}

/// A file that the user asked for, and its name below the profile's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Artifact {
    /// The action that makes it.
    pub action: ActionIndex,
    /// The file's name among the action's outputs.
    pub output: String,
    /// Where it goes, below `target/kiln/[<triple>/]<profile>/`.
    pub path: RelPath,
    /// Below which directory of `target/kiln`: empty or a triple.
    pub triple: Option<String>,
    /// Whether it is a program that can be run here.
    pub executable: bool,
}

/// The documentation of one crate: part of what becomes one directory for each platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Documentation {
    /// The action that makes it; the last one of a platform makes what all crates share as well.
    pub action: ActionIndex,
    /// The crate's name: its pages are in the directory of that name.
    pub crate_name: String,
    /// Below which directory of `target/kiln`: empty or a triple.
    pub triple: Option<String>,
}

/// All actions of a build, in an order in which dependencies come first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ActionGraph {
    /// The actions.
    pub actions: Vec<PlannedAction>,
    /// What the user gets.
    pub artifacts: Vec<Artifact>,
    /// The documentation that the user gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub documentation: Vec<Documentation>,
    /// The programs that are run once everything is built, one after the other, where the user asked for that. Their
    /// results are told and not kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<PlannedAction>,
}

impl ActionGraph {
    /// The action at `index`.
    ///
    /// # Panics
    /// If `index` is of another graph.
    pub fn action(&self, index: ActionIndex) -> &PlannedAction {
        &self.actions[index.0]
    }
}
