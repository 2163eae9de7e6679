//! Looking at what an action does: all of them under `--audit`, else those that failed, once more.
//!
//! The kernel says of a denial only that something was not there or not permitted, and the action says of that whatever it
//! likes. So an action that failed in a way that a denial could explain is run again, the same process in the same
//! sandbox with a tracer; what comes of that run is thrown away, and it has a bound in time.

use std::collections::{BTreeMap, BTreeSet};

use crate::execute::Explained;
use crate::execute::bind::BoundAction;
use crate::execute::failure::ActionFailure;
use crate::path::SandboxPath;
use crate::plan::graph::ActionKind;
use crate::sandbox::trace::Trace;
use crate::sandbox::{Access, Isolation, Request};
use crate::toolchain::model::SystemTree;
use crate::tree::TreeRef;

/// What an action was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Which layers were demanded.
    pub isolation: Isolation,
    /// What it may read and, of some, write; sorted by path.
    pub paths: Vec<(SandboxPath, Access)>,
    /// The links in its root, and what they say; none without namespaces.
    pub links: Vec<(SandboxPath, String)>,
    /// Its working directory.
    pub directory: SandboxPath,
    /// Its variables.
    pub variables: Vec<String>,
}

impl Sight {
    /// What `request` shows.
    pub(super) fn of(request: &Request<'_>) -> Self {
        let mut paths = Vec::new();
        for mount in &request.mounts {
            paths.push((mount.at.clone(), mount.access));
            // Without a view of its own it sees a path through a link, as the toolchain's, where that leads.
            if request.isolation == Isolation::Landlock
                && let Ok(host) = mount.host.canonicalize()
                && let Ok(host) = SandboxPath::new(host.to_string_lossy())
                && host != mount.at
            {
                paths.push((host, mount.access));
            }
        }
        paths.sort();
        let variables = request.env.iter();
        Self {
            isolation: request.isolation,
            paths,
            links: request.links.clone(),
            directory: request.cwd.clone(),
            variables: variables
                .map(|(name, _)| name.to_string_lossy().into_owned())
                .collect(),
        }
    }
}

/// What an action was shown, and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// What it was shown.
    pub sight: Sight,
    /// What it did.
    pub trace: Trace,
}

/// Other grants for an action.
#[derive(Debug, Clone)]
pub struct Amendment {
    /// What it sees at `/`.
    pub system: SystemTree,
    /// Variables that are other than they were.
    pub variables: BTreeMap<String, String>,
    /// Where it may write in a copy of its sources.
    pub scratch: Vec<String>,
    /// What lies at this path, in the place of all that lay there and below.
    pub surroundings: Option<(SandboxPath, TreeRef)>,
}

/// What came of an action that was run with other grants.
#[derive(Debug)]
pub struct Trial {
    /// Whether it went well.
    pub passed: bool,
    /// What it did.
    pub traced: Traced,
    /// Standard output. Untrusted.
    pub stdout: Vec<u8>,
    /// Standard error. Untrusted.
    pub stderr: Vec<u8>,
}

/// An action that failed.
pub struct Failed<'a> {
    /// The action.
    pub bound: &'a BoundAction<'a>,
    /// How it failed.
    pub failure: &'a ActionFailure,
    /// What it did, if that could be found out.
    pub traced: Option<&'a Traced>,
    /// Runs it with other grants, and throws away what it leaves.
    pub again: &'a dyn Fn(&Amendment) -> Option<Trial>,
}

impl std::fmt::Debug for Failed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Failed")
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

/// Says what an action that failed was denied, and what to do about it.
pub type Explain<'a> = dyn Fn(&Failed<'_>) -> Option<Explained> + Sync + 'a;

/// What rustc's errors say when it was not the source text that was wrong.
const DENIALS: [&str; 12] = [
    "os error",
    "permission denied",
    "not permitted",
    "no such file",
    "panicked",
    "linking with",
    "couldn't read",
    "cannot open",
    "can't open",
    "failed to",
    "unable to",
    "could not",
];

/// Whether a denial could be the cause of `failure`. What a build script fails from could be anything; a compiler's errors
/// are mostly its own. `variables` are those that the user has and actions may lack.
pub(super) fn denial_may_explain(
    kind: ActionKind,
    failure: &ActionFailure,
    variables: &BTreeSet<String>,
) -> bool {
    match (kind, failure) {
        (
            ActionKind::RunBuildScript,
            ActionFailure::Process(_) | ActionFailure::ScriptErrors { .. },
        ) => true,
        (ActionKind::Rustc | ActionKind::Rustdoc, ActionFailure::Process(process)) => {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let text = String::from_utf8_lossy(&process.stderr);
            text.lines()
                .filter(|line| !line.starts_with('{') || line.contains("\"level\":\"error"))
                .any(|line| {
                    let names = || line.split(|c| !is_word(c));
                    let lower = line.to_lowercase();
                    DENIALS.iter().any(|phrase| lower.contains(phrase))
                        || names().any(|name| variables.contains(name))
                })
        }
        _ => false,
    }
}
