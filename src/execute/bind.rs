//! Binding: a planned action and the outcomes of those before it become an action whose every input is a content
//! digest, and which therefore has a key.
//!
//! The key is the digest of REAPI's `Action`: the command (arguments, environment, working directory, declared
//! outputs), the root of the input tree, and the platform with the sandbox profile in it. What kiln gives to an action
//! is in its key; host paths, the user, times and the number of jobs are not given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message as _;

use crate::digest::ActionKey;
use crate::directive::{BuildScriptOutput, split_search_path};
use crate::execute::outcome::{Outcome, relative};
use crate::path::{RelPath, SandboxPath};
use crate::plan::graph::{ActionIndex, Argument, InputSource, Outputs, PlannedAction};
use crate::reapi;
use crate::tree::{Directory, EncodedTree, Entry, TreeBuilder, TreeError, TreeRef};

/// An input whose content is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundInput {
    /// Where the action sees it.
    pub at: SandboxPath,
    /// Its content.
    pub tree: TreeRef,
    /// The levels of the tree, where it was put together from outputs and is not in the store yet.
    pub made: Option<Arc<EncodedTree>>,
}

/// An action that is ready to run.
#[derive(Debug, Clone)]
pub struct BoundAction<'a> {
    /// What was planned.
    pub planned: &'a PlannedAction,
    /// Its key.
    pub key: ActionKey,
    /// `argv`, the program's name first.
    pub argv: Vec<String>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// What it sees, besides the system tree.
    pub inputs: Vec<BoundInput>,
}

/// Why an action cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An output that is needed was not made.
    #[error("an earlier action did not leave `{name}`")]
    MissingOutput {
        /// The output.
        name: String,
    },
    /// The inputs do not fit into one tree.
    #[error("the inputs do not form a tree")]
    Tree(#[from] TreeError),
}

/// What binding looks up: outcomes so far, and the top level of each system tree.
pub trait Known {
    /// The outcome of an action that has finished, or of which the metadata is there.
    fn outcome(&self, action: ActionIndex) -> Option<&Outcome>;

    /// The `OUT_DIR` of a build script's run, as actions see it.
    fn out_dir(&self, action: ActionIndex) -> &SandboxPath;

    /// The top level of a system tree.
    fn system_root(&self, tree: TreeRef) -> Option<Arc<Directory>>;
}

/// Binds `planned`.
pub fn bind<'a>(
    planned: &'a PlannedAction,
    known: &impl Known,
) -> Result<BoundAction<'a>, BindError> {
    let mut argv = vec![planned.program.as_str().to_owned()];
    for argument in &planned.arguments {
        push_argument(&mut argv, argument, known)?;
    }
    let environment = environment(planned, known)?;
    let inputs = inputs(planned, &argv, known)?;
    let key = key(planned, &argv, &environment, &inputs, known)?;
    Ok(BoundAction {
        planned,
        key,
        argv,
        environment,
        inputs,
    })
}

fn directives(known: &impl Known, action: ActionIndex) -> Result<&BuildScriptOutput, BindError> {
    known
        .outcome(action)
        .and_then(|outcome| outcome.directives.as_deref())
        .ok_or_else(|| BindError::MissingOutput {
            name: "the build script's directives".to_owned(),
        })
}

fn push_argument(
    argv: &mut Vec<String>,
    argument: &Argument,
    known: &impl Known,
) -> Result<(), BindError> {
    match argument {
        Argument::Text(text) => argv.push(text.clone()),
        Argument::LibraryPaths(of) => {
            let mut paths = Vec::new();
            for action in of {
                let out_dir = known.out_dir(*action).as_str();
                paths.extend(
                    directives(known, *action)?
                        .library_paths
                        .iter()
                        .map(|path| (path.as_str(), out_dir)),
                );
            }
            for path in BuildScriptOutput::order_search_paths(paths) {
                argv.extend(["-L".to_owned(), path.to_owned()]);
            }
        }
        Argument::LibraryLinks(of) => {
            for name in &directives(known, *of)?.library_links {
                argv.extend(["-l".to_owned(), name.clone()]);
            }
        }
        Argument::LinkArgs { of, targets } => {
            for link_arg in &directives(known, *of)?.link_args {
                if targets.contains(&link_arg.target) {
                    argv.extend(["-C".to_owned(), format!("link-arg={}", link_arg.argument)]);
                }
            }
        }
        Argument::Cfgs(of) => {
            let output = directives(known, *of)?;
            for cfg in &output.cfgs {
                argv.extend(["--cfg".to_owned(), cfg.clone()]);
            }
            for cfg in &output.check_cfgs {
                argv.extend(["--check-cfg".to_owned(), cfg.clone()]);
            }
        }
    }
    Ok(())
}

fn environment(
    planned: &PlannedAction,
    known: &impl Known,
) -> Result<BTreeMap<String, String>, BindError> {
    let mut environment = planned.environment.clone();
    for action in &planned.environment_of {
        for (name, value) in &directives(known, *action)?.env {
            // A program that is run is told by cargo itself what a compiler is told by the build script.
            if planned.run.is_none() || !environment.contains_key(name) {
                environment.insert(name.clone(), value.clone());
            }
        }
    }
    if let Some(run) = &planned.run {
        let mut searched = BTreeSet::new();
        for action in &run.libraries_of {
            let out_dir = known.out_dir(*action).as_str();
            searched.extend(directives(known, *action)?.library_directories(out_dir));
        }
        let known = environment.remove("LD_LIBRARY_PATH");
        let path: Vec<String> = searched
            .into_iter()
            .map(str::to_owned)
            .chain(known)
            .collect();
        environment.insert("LD_LIBRARY_PATH".to_owned(), path.join(":"));
    }
    for (action, links) in &planned.metadata_of {
        let prefix = links.to_uppercase().replace('-', "_");
        for (key, value) in &directives(known, *action)?.metadata {
            let key = key.to_uppercase().replace('-', "_");
            environment.insert(format!("DEP_{prefix}_{key}"), value.clone());
        }
    }
    Ok(environment)
}

/// Whether `-L` of a command line names a directory of `tree`.
fn is_searched(argv: &[String], tree: &SandboxPath) -> bool {
    argv.windows(2)
        .filter(|pair| pair[0] == "-L")
        .filter_map(|pair| SandboxPath::new(split_search_path(&pair[1]).1).ok())
        .any(|path| path.is_within(tree))
}

fn inputs(
    planned: &PlannedAction,
    argv: &[String],
    known: &impl Known,
) -> Result<Vec<BoundInput>, BindError> {
    let missing = |name: &str| BindError::MissingOutput {
        name: name.to_owned(),
    };
    let bind = |input: &crate::plan::graph::Input| {
        let at = input.at.clone();
        match &input.source {
            InputSource::Tree(tree) | InputSource::Searched(tree) => Ok(BoundInput {
                at,
                tree: *tree,
                made: None,
            }),
            InputSource::OutDir(action) => {
                let outcome = known.outcome(*action).ok_or_else(|| missing("OUT_DIR"))?;
                let tree = outcome.directory.ok_or_else(|| missing("OUT_DIR"))?;
                Ok(BoundInput {
                    at,
                    tree,
                    made: None,
                })
            }
            InputSource::Files { action, names } => {
                let outcome = known
                    .outcome(*action)
                    .ok_or_else(|| missing(&names.join("`, `")))?;
                let mut level = Directory::new();
                for name in names {
                    let output = outcome.files.get(name).ok_or_else(|| missing(name))?;
                    level.insert(
                        name,
                        Entry::File {
                            blob: output.blob,
                            executable: output.executable,
                        },
                    )?;
                }
                let root = level.tree_ref();
                let levels = BTreeMap::from([(root.digest, level.encode())]);
                Ok(made(at, EncodedTree { root, levels }))
            }
            InputSource::Artifacts(files) => {
                let mut builder = TreeBuilder::new();
                for file in files {
                    let output = known
                        .outcome(file.action)
                        .and_then(|outcome| outcome.files.get(&file.output))
                        .ok_or_else(|| missing(&file.output))?;
                    builder.file(&file.path, output.blob, output.executable)?;
                }
                Ok(made(at, builder.encode()))
            }
        }
    };
    planned
        .inputs
        .iter()
        .filter(|input| {
            !matches!(input.source, InputSource::Searched(_)) || is_searched(argv, &input.at)
        })
        .map(bind)
        .collect()
}

fn made(at: SandboxPath, tree: EncodedTree) -> BoundInput {
    BoundInput {
        at,
        tree: tree.root,
        made: Some(Arc::new(tree)),
    }
}

fn key(
    planned: &PlannedAction,
    argv: &[String],
    environment: &BTreeMap<String, String>,
    inputs: &[BoundInput],
    known: &impl Known,
) -> Result<ActionKey, BindError> {
    let output_paths: BTreeSet<String> = match &planned.outputs {
        Outputs::Files(files) => files
            .iter()
            .map(|file| format!("{}/{}", relative(&planned.output_directory), file.name))
            .collect(),
        Outputs::OutDir | Outputs::Directory => {
            BTreeSet::from([relative(&planned.output_directory)])
        }
    };
    let platform = reapi::Platform::canonical(
        planned
            .platform
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    let command = reapi::Command {
        arguments: argv.to_vec(),
        environment_variables: environment
            .iter()
            .map(|(name, value)| reapi::EnvironmentVariable {
                name: name.clone(),
                value: value.clone(),
            })
            .collect(),
        output_paths: output_paths.into_iter().collect(),
        working_directory: relative(&planned.directory),
        ..Default::default()
    }
    .canonical();
    let mut root = input_root(planned, inputs, known)?;
    if let Some(run) = &planned.run {
        // The package lies on top of what else is seen: one digest for both.
        let mut whole = TreeBuilder::new();
        whole.subtree(&top("inputs")?, root)?;
        whole.subtree(&top("package")?, run.package.1)?;
        root = whole.encode().root;
    }
    let action = reapi::Action {
        command_digest: Some(reapi::Digest::of_bytes(&command.encode_to_vec())),
        input_root_digest: Some(reapi::Digest::of_tree(&root.digest, root.size_bytes)),
        platform: Some(platform),
        ..Default::default()
    };
    Ok(ActionKey::of_canonical(&action.encode_to_vec()))
}

/// The digest of everything that the action sees, as one tree.
fn input_root(
    planned: &PlannedAction,
    inputs: &[BoundInput],
    known: &impl Known,
) -> Result<TreeRef, BindError> {
    let mut builder = TreeBuilder::new();
    let system = known
        .system_root(planned.system)
        .ok_or_else(|| BindError::MissingOutput {
            name: "the system tree".to_owned(),
        })?;
    for (name, entry) in system.iter() {
        let path = top(name)?;
        match entry {
            Entry::Directory(tree) => builder.subtree(&path, *tree)?,
            Entry::Symlink { target } => builder.symlink(&path, target)?,
            Entry::File { blob, executable } => builder.file(&path, *blob, *executable)?,
        };
    }
    for input in inputs {
        if let Some(at) = input.at.relative_to_root() {
            builder.subtree(&at, input.tree)?;
        }
    }
    Ok(builder.encode().root)
}

fn top(name: &str) -> Result<RelPath, BindError> {
    RelPath::new(name).map_err(|_| BindError::MissingOutput {
        name: format!("a system tree without `{name}`"),
    })
}
