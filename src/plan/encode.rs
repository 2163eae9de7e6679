//! The canonical bytes of a planned action, which its id is the digest of.
//!
//! The bytes are a Protocol Buffers message in the manner of REAPI's `Action` and `Command`, with two differences:
//! an argument may be symbolic, and the input tree is a list of (path, source), since the digests of some sources are
//! not known yet. Fields are written in the order of their tags and lists are sorted where their order has no meaning,
//! so equal actions have equal bytes.

use prost::Message;

use crate::digest::ActionId;
use crate::directive::LinkArgTarget;
use crate::plan::graph::{ActionIndex, Argument, InputSource, Outputs, PlannedAction};

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// A reference to part of what earlier actions make.
#[derive(Clone, PartialEq, Message)]
struct Symbol {
    /// `library-paths`, `library-links`, `link-args`, `cfgs`, `files`, `out-dir`, `searched`, `environment`,
    /// `metadata`.
    #[prost(string, tag = "1")]
    what: String,
    /// The ids of the actions, 32 bytes each.
    #[prost(bytes = "vec", repeated, tag = "2")]
    actions: Vec<Vec<u8>>,
    /// Names of outputs, scopes of link arguments, or a `links` name.
    #[prost(string, repeated, tag = "3")]
    names: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ArgumentMessage {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(message, optional, tag = "2")]
    symbol: Option<Symbol>,
}

#[derive(Clone, PartialEq, Message)]
struct InputMessage {
    #[prost(string, tag = "1")]
    at: String,
    #[prost(bytes = "vec", tag = "2")]
    tree: Vec<u8>,
    #[prost(message, optional, tag = "3")]
    symbol: Option<Symbol>,
}

#[derive(Clone, PartialEq, Message)]
struct ActionMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(string, tag = "2")]
    program: String,
    #[prost(message, repeated, tag = "3")]
    arguments: Vec<ArgumentMessage>,
    #[prost(message, repeated, tag = "4")]
    environment: Vec<Pair>,
    #[prost(message, repeated, tag = "5")]
    symbolic_environment: Vec<Symbol>,
    #[prost(string, tag = "6")]
    directory: String,
    #[prost(message, repeated, tag = "7")]
    inputs: Vec<InputMessage>,
    #[prost(string, tag = "8")]
    output_directory: String,
    /// File names, or none for the whole directory.
    #[prost(string, repeated, tag = "9")]
    outputs: Vec<String>,
    #[prost(message, repeated, tag = "10")]
    platform: Vec<Pair>,
    #[prost(bytes = "vec", tag = "11")]
    system: Vec<u8>,
    /// Of the run of a program only.
    #[prost(message, optional, tag = "12")]
    run: Option<RunMessage>,
    /// The canonical JSON of what stands in for a build script.
    #[prost(bytes = "vec", tag = "13")]
    given: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RunMessage {
    #[prost(string, tag = "1")]
    package_at: String,
    #[prost(bytes = "vec", tag = "2")]
    package: Vec<u8>,
    #[prost(message, optional, tag = "3")]
    libraries: Option<Symbol>,
}

/// The version of this encoding; a change of it changes every id.
const VERSION: u32 = 1;

/// Computes the id of each action; those that an action refers to come before it.
pub(super) fn assign_ids(actions: &mut [PlannedAction]) {
    for index in 0..actions.len() {
        let (before, rest) = actions.split_at_mut(index);
        let action = &mut rest[0];
        let bytes = message(action, before).encode_to_vec();
        action.id = ActionId::of_canonical(&bytes);
    }
}

/// Computes the id of each run of a program; `actions` have theirs.
pub(super) fn assign_run_ids(actions: &[PlannedAction], runs: &mut [PlannedAction]) {
    for run in runs {
        let bytes = message(run, actions).encode_to_vec();
        run.id = ActionId::of_canonical(&bytes);
    }
}

fn symbol(before: &[PlannedAction], what: &str, of: &[ActionIndex], names: Vec<String>) -> Symbol {
    Symbol {
        what: what.to_owned(),
        actions: of
            .iter()
            .map(|index| before[index.0].id.as_bytes().to_vec())
            .collect(),
        names,
    }
}

fn pairs(map: &std::collections::BTreeMap<String, String>) -> Vec<Pair> {
    map.iter()
        .map(|(name, value)| Pair {
            name: name.clone(),
            value: value.clone(),
        })
        .collect()
}

fn message(action: &PlannedAction, before: &[PlannedAction]) -> ActionMessage {
    let symbol = |what, of: &[ActionIndex], names| symbol(before, what, of, names);
    let arguments = action.arguments.iter().map(|argument| match argument {
        Argument::Text(text) => ArgumentMessage {
            text: Some(text.clone()),
            symbol: None,
        },
        Argument::LibraryPaths(of) => symbolic(symbol("library-paths", of, vec![])),
        Argument::LibraryLinks(of) => symbolic(symbol("library-links", &[*of], vec![])),
        Argument::LinkArgs { of, targets } => {
            let names = targets.iter().map(scope_name).collect();
            symbolic(symbol("link-args", &[*of], names))
        }
        Argument::Cfgs(of) => symbolic(symbol("cfgs", &[*of], vec![])),
    });
    let inputs = action.inputs.iter().map(|input| {
        let at = input.at.as_str().to_owned();
        let later = |symbol| InputMessage {
            at: at.clone(),
            tree: Vec::new(),
            symbol: Some(symbol),
        };
        match &input.source {
            InputSource::Tree(tree) => InputMessage {
                at: at.clone(),
                tree: tree.digest.as_bytes().to_vec(),
                symbol: None,
            },
            InputSource::Searched(tree) => InputMessage {
                at: at.clone(),
                tree: tree.digest.as_bytes().to_vec(),
                symbol: Some(symbol("searched", &[], vec![])),
            },
            InputSource::Files { action, names } => {
                later(symbol("files", &[*action], names.clone()))
            }
            InputSource::OutDir(action) => later(symbol("out-dir", &[*action], vec![])),
            InputSource::Artifacts(files) => {
                let of: Vec<ActionIndex> = files.iter().map(|file| file.action).collect();
                let names = files
                    .iter()
                    .flat_map(|file| [file.path.as_str().to_owned(), file.output.clone()])
                    .collect();
                later(symbol("artifacts", &of, names))
            }
        }
    });
    let environment = symbol("environment", &action.environment_of, vec![]);
    let metadata = action
        .metadata_of
        .iter()
        .map(|(index, links)| symbol("metadata", &[*index], vec![links.clone()]));
    ActionMessage {
        version: VERSION,
        program: action.program.as_str().to_owned(),
        arguments: arguments.collect(),
        environment: pairs(&action.environment),
        symbolic_environment: std::iter::once(environment).chain(metadata).collect(),
        directory: action.directory.as_str().to_owned(),
        inputs: inputs.collect(),
        output_directory: action.output_directory.as_str().to_owned(),
        outputs: match &action.outputs {
            Outputs::Files(files) => files.iter().map(|file| file.name.clone()).collect(),
            Outputs::OutDir | Outputs::Directory => Vec::new(),
        },
        platform: pairs(&action.platform),
        system: action.system.digest.as_bytes().to_vec(),
        run: action.run.as_ref().map(|run| RunMessage {
            package_at: run.package.0.as_str().to_owned(),
            package: run.package.1.digest.as_bytes().to_vec(),
            libraries: Some(symbol("libraries", &run.libraries_of, vec![])),
        }),
        given: action
            .given
            .as_ref()
            .map_or_else(Vec::new, |output| output.to_json()),
    }
}

fn scope_name(scope: &LinkArgTarget) -> String {
    match scope {
        LinkArgTarget::All => "all".to_owned(),
        LinkArgTarget::Cdylib => "cdylib".to_owned(),
        LinkArgTarget::Bins => "bins".to_owned(),
        LinkArgTarget::Bin(name) => format!("bin:{name}"),
        LinkArgTarget::Tests => "tests".to_owned(),
        LinkArgTarget::Benches => "benches".to_owned(),
        LinkArgTarget::Examples => "examples".to_owned(),
    }
}

fn symbolic(symbol: Symbol) -> ArgumentMessage {
    ArgumentMessage {
        text: None,
        symbol: Some(symbol),
    }
}
