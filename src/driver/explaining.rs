//! Tells of one unit's actions what is known: identity, why it ran, what it was granted and why, what it used, what it was denied.
//!
//! Nothing is run and nothing is written: actions are bound as far as the store knows the results of those before them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::driver::building::build::word;
use crate::driver::building::execution::{Execution, Setting};
use crate::driver::inputs::granting::used_by_script;
use crate::driver::{DriverError, Planned};
use crate::execute::Executor as _;
use crate::execute::bind::{Known, bind};
use crate::execute::outcome::Outcome;
use crate::execute::record::{Binding, History, Record};
use crate::path::SandboxPath;
use crate::plan::graph::{ActionIndex, ActionKind};
use crate::policy::{BuildMode, Grants, matches};
use crate::sandbox::Isolation;
use crate::sandbox::trace::Operation;
use crate::store::Namespace;
use crate::tree::{Directory, TreeRef};

/// How things are built that are told of.
#[derive(Debug, Clone, Copy)]
pub struct ExplainOptions {
    /// Which layers are demanded.
    pub isolation: Isolation,
    /// Whether what is built ships.
    pub hermetic: bool,
}

/// What is told of one action: a title, and lines below headings.
#[derive(Debug, Clone, Default)]
pub struct Explained {
    /// The action's label.
    pub label: String,
    /// Headings and what stands below each.
    pub sections: Vec<(&'static str, Vec<String>)>,
}

/// More lines than these below one heading are counted only.
const MOST_LINES: usize = 40;

/// The labels of `planned`, and what is told of those that `wanted` names.
///
/// # Errors
/// Nothing has that name, or the store does not work.
pub fn explain(
    planned: &Planned,
    wanted: &str,
    options: ExplainOptions,
) -> Result<Vec<Explained>, DriverError> {
    let wanted = wanted.replace("(build script run)", "(run build script)");
    let wanted = wanted.as_str();
    let chosen: BTreeSet<ActionIndex> = planned
        .graph
        .actions
        .iter()
        .enumerate()
        .filter(|(_, action)| {
            let id = &planned.units.unit(action.unit).package;
            let version = format!("{}@{}", id.name(), id.version());
            let detail = action.label.split_once(" (").map_or("", |(_, rest)| rest);
            let named = format!("{version} ({detail}");
            let short = format!("{} ({detail}", id.name());
            let own = |text: &str| text == wanted;
            own(id.name().as_str())
                || own(&version)
                || own(&named)
                || own(&short)
                || own(&action.label)
        })
        .map(|(index, _)| ActionIndex(index))
        .collect();
    if chosen.is_empty() {
        let bare = wanted.split(['@', ' ']).next().unwrap_or(wanted);
        let similar: BTreeSet<&str> = planned
            .graph
            .actions
            .iter()
            .map(|action| action.label.as_str())
            .filter(|label| label.contains(bare))
            .take(10)
            .collect();
        return Err(DriverError::Request {
            message: format!("no unit of this build is `{wanted}`"),
            help: Some(match similar.is_empty() {
                true => "give a package as `name` or `name@version`; `kiln plan --format dot` lists all units".to_owned(),
                false => format!("there is {}", similar.into_iter().collect::<Vec<_>>().join(", ")),
            }),
        });
    }
    let setting = Setting {
        planned,
        jobs: 1,
        isolation: options.isolation,
        hermetic: options.hermetic,
        audit: false,
    };
    setting.execute(|execution| Ok(tell(planned, &chosen, execution, options)))
}

/// What the store knows of the actions so far.
struct Stored<'a> {
    planned: &'a Planned,
    outcomes: Vec<Option<Outcome>>,
    system_roots: &'a BTreeMap<TreeRef, Arc<Directory>>,
}

impl Known for Stored<'_> {
    fn outcome(&self, action: ActionIndex) -> Option<&Outcome> {
        self.outcomes.get(action.0)?.as_ref()
    }

    fn out_dir(&self, action: ActionIndex) -> &SandboxPath {
        &self.planned.graph.action(action).output_directory
    }

    fn system_root(&self, tree: TreeRef) -> Option<Arc<Directory>> {
        self.system_roots.get(&tree).cloned()
    }
}

fn tell(
    planned: &Planned,
    chosen: &BTreeSet<ActionIndex>,
    execution: &Execution<'_>,
    options: ExplainOptions,
) -> Vec<Explained> {
    let mut stored = Stored {
        planned,
        outcomes: Vec::new(),
        system_roots: execution.system_roots,
    };
    let mut told = Vec::new();
    let namespace = match options.hermetic {
        true => Namespace::Hermetic,
        false => Namespace::Daily,
    };
    for (index, action) in planned.graph.actions.iter().enumerate() {
        let bound = bind(action, &stored).ok();
        let outcome = bound
            .as_ref()
            .and_then(|bound| execution.executor.lookup(bound));
        if chosen.contains(&ActionIndex(index)) {
            let mut explained = Explained {
                label: action.label.clone(),
                sections: Vec::new(),
            };
            let mut identity = vec![format!("id {}", action.id.to_hex())];
            let history = History::read(&planned.store, namespace, &action.output_directory);
            let now = bound.as_ref().map(Binding::of);
            match &now {
                Some(now) => identity.push(format!("key {}", now.key)),
                None => identity.push("no key yet: something before it is not built".to_owned()),
            }
            identity.extend(
                action
                    .platform
                    .iter()
                    .map(|(name, value)| format!("{name} {value}")),
            );
            explained.sections.push(("identity", identity));
            explained
                .sections
                .push(("why it runs", why(now.as_ref(), outcome.as_ref(), &history)));
            let grants = grants_of(planned, ActionIndex(index), options);
            explained.sections.push(("granted", granted(&grants)));
            let record = outcome
                .as_ref()
                .and_then(|outcome| outcome.observed)
                .and_then(|blob| planned.stored_output(&blob))
                .and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
            match record {
                Some(record) => {
                    let inputs: Vec<String> = now
                        .iter()
                        .flat_map(|now| now.inputs.keys().cloned())
                        .collect();
                    explained
                        .sections
                        .extend(observed(&record, &grants, &inputs, action.kind));
                }
                None => explained
                    .sections
                    .push(("used", vec!["not known: build with `--audit`".to_owned()])),
            }
            if let Some(denied) = &history.denied {
                explained.sections.push((
                    "denied when it failed last",
                    denied.lines().map(str::to_owned).collect(),
                ));
            }
            told.push(explained);
        }
        stored.outcomes.push(outcome);
    }
    told
}

fn why(now: Option<&Binding>, outcome: Option<&Outcome>, history: &History) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(outcome) = outcome {
        lines.push(format!(
            "its result is stored: it would not run now (it took {} ms when it did)",
            outcome.duration_ms
        ));
    }
    match (now, &history.last) {
        (Some(now), Some(last)) if now.key != last.key => {
            lines.push("since it ran last:".to_owned());
            lines.extend(now.changes_since(last));
        }
        (_, Some(last)) => match &history.before {
            Some(before) => {
                lines.push("it ran last because, since the time before:".to_owned());
                lines.extend(last.changes_since(before));
            }
            None if outcome.is_none() => {
                lines.push("it ran once, and its result is gone".to_owned())
            }
            None => lines.push("it ran because there was no result of it yet".to_owned()),
        },
        (_, None) if outcome.is_none() => lines.push("it has not run well here yet".to_owned()),
        (_, None) => {}
    }
    lines
}

fn grants_of(planned: &Planned, index: ActionIndex, options: ExplainOptions) -> Grants {
    let action = planned.graph.action(index);
    let package = &planned.units.unit(action.unit).package;
    let uses = match action.kind {
        ActionKind::RunBuildScript => used_by_script(&planned.units, action.unit),
        _ => BTreeSet::new(),
    };
    let mode = match options.hermetic {
        true => BuildMode::Hermetic,
        false => BuildMode::Development,
    };
    let grants = planned.policy.grants_for(package, uses, mode);
    match action.kind {
        ActionKind::RunBuildScript | ActionKind::Test => grants,
        ActionKind::Rustc | ActionKind::Rustdoc => grants.when_compiling(),
    }
}

fn granted(grants: &Grants) -> Vec<String> {
    let mut by_origin: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, list) in grants.lists() {
        for (name, grant) in list {
            for origin in &grant.origins {
                let reason = origin
                    .reason
                    .as_deref()
                    .map(|why| format!(": {why}"))
                    .unwrap_or_default();
                let by = format!("by {} [{}]{reason}", origin.file, origin.section);
                by_origin
                    .entry(by)
                    .or_default()
                    .push(format!("{key} {name}"));
            }
        }
    }
    for (name, (_, origin)) in &grants.set_env {
        let by = format!("by {} [{}]", origin.file, origin.section);
        by_origin
            .entry(by)
            .or_default()
            .push(format!("set-env {name}"));
    }
    if by_origin.is_empty() {
        return vec!["nothing".to_owned()];
    }
    by_origin
        .into_iter()
        .map(|(by, what)| format!("{} ({by})", shortened(what)))
        .collect()
}

fn shortened(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(MOST_LINES);
    names.truncate(MOST_LINES);
    match more {
        0 => names.join(", "),
        more => format!("{}, and {more} more", names.join(", ")),
    }
}

fn observed(
    record: &Record,
    grants: &Grants,
    inputs: &[String],
    kind: ActionKind,
) -> Vec<(&'static str, Vec<String>)> {
    let mut used: Vec<String> = Vec::new();
    for input in inputs {
        let beneath = |path: &str| path == input || path.starts_with(&format!("{input}/"));
        let count = record.used.iter().filter(|one| beneath(&one.path)).count();
        used.push(format!("{count} files of {input}"));
    }
    let machine = record.used.iter().filter(|one| {
        !inputs
            .iter()
            .any(|input| one.path == *input || one.path.starts_with(&format!("{input}/")))
    });
    let ran: Vec<String> = record
        .used
        .iter()
        .filter(|one| one.operation == Operation::Execute)
        .map(|one| one.path.clone())
        .collect();
    used.push(format!("{} files of the machine", machine.count()));
    if !ran.is_empty() {
        used.push(format!("programs: {}", shortened(ran)));
    }
    let mut sections = vec![("used", used)];
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let mut unused: Vec<String> = Vec::new();
    if kind == ActionKind::RunBuildScript {
        for (key, list) in grants.lists() {
            for granted in list.keys() {
                let is_used = match key {
                    "exec" => record
                        .used
                        .iter()
                        .any(|one| name(&one.path) == name(granted)),
                    "read" => record.used.iter().any(|one| matches(granted, &one.path)),
                    "pkg-config" => {
                        let file = format!("{granted}.pc");
                        record.used.iter().any(|one| name(&one.path) == file)
                    }
                    "write" => record.used.iter().any(|one| one.operation.changes()),
                    // Reading a variable cannot be seen, and libraries are for those that link.
                    _ => true,
                };
                if !is_used {
                    unused.push(format!("{key} {granted}"));
                }
            }
        }
    }
    if !unused.is_empty() {
        sections.push(("granted and never used", vec![shortened(unused)]));
    }
    let list = |uses: &BTreeSet<crate::execute::record::Use>| -> Vec<String> {
        let mut lines: Vec<String> = uses
            .iter()
            .take(MOST_LINES)
            .map(|one| format!("{} {}", word(one.operation), one.path))
            .collect();
        if uses.len() > MOST_LINES {
            lines.push(format!("and {} more", uses.len() - MOST_LINES));
        }
        lines
    };
    if !record.undeclared.is_empty() {
        sections.push(("used and not declared", list(&record.undeclared)));
    }
    if !record.seen.is_empty() {
        sections.push(("looked at and not declared", list(&record.seen)));
    }
    if !record.variables.is_empty() {
        sections.push(("given variables", vec![shortened(record.variables.clone())]));
    }
    sections
}
