//! What is kept of an action besides its result: under `--audit` what it used and whether that was declared, and always what
//! it was last bound to, so that it can be told why it ran again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::execute::bind::BoundAction;
use crate::execute::tracing::Traced;
use crate::path::{SandboxPath, is_within};
use crate::sandbox::Access;
use crate::sandbox::trace::{Observed, Operation};
use crate::store::{Namespace, Store};

/// One thing that was done with one path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Use {
    /// What was done.
    pub operation: Operation,
    /// With what: where links led. Untrusted.
    pub path: String,
}

/// What an action was seen to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What of the declared inputs was opened, listed or run.
    pub used: BTreeSet<Use>,
    /// What was done with paths that nothing declares.
    pub undeclared: BTreeSet<Use>,
    /// What it learnt to exist that nothing declares: nothing without namespaces hides that.
    pub seen: BTreeSet<Use>,
    /// The variables that it was given; whether it read them is not to be seen.
    pub variables: Vec<String>,
    /// Whether there was more than is kept.
    pub is_cut_off: bool,
}

fn is_beneath(path: &str, root: &str) -> bool {
    root == "/" || is_within(path, root)
}

impl Record {
    /// What is to be kept of `traced`, done by the action that writes to `own`.
    pub(super) fn of(traced: &Traced, own: &[&SandboxPath]) -> Self {
        let sight = &traced.sight;
        let mut record = Self {
            used: BTreeSet::new(),
            undeclared: BTreeSet::new(),
            seen: BTreeSet::new(),
            variables: sight.variables.clone(),
            is_cut_off: traced.trace.is_cut_off,
        };
        let done = traced.trace.observed.iter();
        for observed in done.filter(|one| one.errno.is_none() && one.operation != Operation::Call) {
            let path = place(observed, &sight.links);
            let is_own = own.iter().any(|root| is_beneath(&path, root.as_str()))
                || ["/proc", "/dev", "/tmp"]
                    .iter()
                    .any(|root| is_beneath(&path, root));
            if is_own || !path.starts_with('/') {
                continue;
            }
            let one = Use {
                operation: observed.operation,
                path,
            };
            let only_looks = matches!(one.operation, Operation::Look | Operation::Enter);
            let shown = sight
                .paths
                .iter()
                .find(|(root, _)| is_beneath(&one.path, root.as_str()));
            // What leads to an input is there with it.
            let leads = || {
                sight
                    .paths
                    .iter()
                    .map(|(root, _)| root)
                    .chain([&sight.directory])
                    .any(|root| is_beneath(root.as_str(), &one.path))
            };
            let may_change = || {
                sight.paths.iter().any(|(root, access)| {
                    *access == Access::Write && is_beneath(&one.path, root.as_str())
                })
            };
            match shown {
                Some(_) if one.operation.changes() && !may_change() => {
                    record.undeclared.insert(one);
                }
                Some(_) if only_looks => {}
                Some(_) => {
                    record.used.insert(one);
                }
                None if leads() && !one.operation.changes() => {}
                None if only_looks => {
                    record.seen.insert(one);
                }
                None => {
                    record.undeclared.insert(one);
                }
            }
        }
        record
    }
}

/// Where the path led: links followed where the kernel said so, else those of the root.
fn place(observed: &Observed, links: &[(SandboxPath, String)]) -> String {
    if let Some(real) = &observed.real {
        return real.clone();
    }
    let path = &observed.path;
    let link = links.iter().find(|(at, _)| is_beneath(path, at.as_str()));
    match link {
        Some((at, target)) => {
            let rest = path.strip_prefix(at.as_str()).unwrap_or_default();
            format!("/{}{rest}", target.trim_start_matches('/'))
        }
        None => path.clone(),
    }
}

/// What an action was bound to: all that is in its key, piece by piece.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Its key.
    pub key: String,
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// Variables.
    pub environment: BTreeMap<String, String>,
    /// Digests of inputs, by where they are seen.
    pub inputs: BTreeMap<String, String>,
    /// Digest of what is seen of the machine.
    pub system: String,
    /// Isolation, profile, platform.
    pub platform: BTreeMap<String, String>,
}

impl Binding {
    /// What `bound` is bound to.
    pub fn of(bound: &BoundAction<'_>) -> Self {
        let inputs = bound.inputs.iter();
        Self {
            key: bound.key.to_hex(),
            arguments: bound.argv.clone(),
            environment: bound.environment.clone(),
            inputs: inputs
                .map(|input| (input.at.to_string(), input.tree.digest.to_hex()))
                .collect(),
            system: bound.planned.system.digest.to_hex(),
            platform: bound.planned.platform.clone(),
        }
    }

    /// What is other than it was in `before`, in words.
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        let mut compare =
            |what: &str, new: &BTreeMap<String, String>, old: &BTreeMap<String, String>| {
                for (name, value) in new {
                    match old.get(name) {
                        None => changes.push(format!("{what} `{name}` is new")),
                        Some(was) if was != value => {
                            changes.push(format!("{what} `{name}` has changed"))
                        }
                        Some(_) => {}
                    }
                }
                for name in old.keys().filter(|name| !new.contains_key(*name)) {
                    changes.push(format!("{what} `{name}` is gone"));
                }
            };
        compare("the input", &self.inputs, &before.inputs);
        compare("the variable", &self.environment, &before.environment);
        compare("the property", &self.platform, &before.platform);
        if self.system != before.system {
            changes
                .push("the C toolchain or what is granted of the machine has changed".to_owned());
        }
        if self.arguments != before.arguments {
            changes.push("the arguments have changed".to_owned());
        }
        changes
    }
}

/// What is remembered of an action between builds. It decides nothing, and may be lost.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct History {
    /// What it was bound to when it ran last.
    pub last: Option<Binding>,
    /// What it was bound to when it ran before that.
    pub before: Option<Binding>,
    /// What it was denied when it failed last, if it has not run well since.
    pub denied: Option<String>,
}

impl History {
    fn file(store: &Store, namespace: Namespace, output: &SandboxPath) -> PathBuf {
        let name = blake3::hash(output.as_str().as_bytes()).to_hex();
        store
            .home()
            .join("history")
            .join(namespace.as_str())
            .join(&name.as_str()[..32])
    }

    /// What is remembered of the action that writes to `output`.
    pub fn read(store: &Store, namespace: Namespace, output: &SandboxPath) -> Self {
        std::fs::read(Self::file(store, namespace, output))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Remembers. Failing to is no failure.
    pub(super) fn write(&self, store: &Store, namespace: Namespace, output: &SandboxPath) {
        let path = Self::file(store, namespace, output);
        if let (Ok(bytes), Some(directory)) = (serde_json::to_vec(self), path.parent())
            && std::fs::create_dir_all(directory).is_ok()
            && let Ok(mut file) = tempfile::NamedTempFile::new_in(directory)
            && std::io::Write::write_all(&mut file, &bytes).is_ok()
        {
            let _ = file.persist(path);
        }
    }
}
