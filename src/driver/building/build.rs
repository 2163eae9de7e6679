//! Runs a planned build, hands out its artifacts, and writes its attestation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::attest::{ActionRecord, IsolationRecord, Material, Provenance, Subject};
use crate::digest::{BlobDigest, Sha256};
use crate::driver::building::execution::{Execution, Setting};
use crate::driver::{DriverError, Planned};
use crate::execute::Observer;
use crate::execute::outcome::Outcome;
use crate::execute::record::Record;
use crate::execute::schedule::{self, ScheduleOptions, Summary};
use crate::message::text::harmless_line;
use crate::package::{PackageId, SourceKind};
use crate::plan::graph::{ActionIndex, Artifact};
use crate::plan::settings::Settings;
use crate::sandbox::Isolation;
use crate::sandbox::trace::Operation;

/// The attestation's file, beside the artifacts.
pub const ATTESTATION: &str = "kiln-attestation.json";

/// How often a graph is scheduled at most, where the store turns out to have lost something that was built.
const MOST_ATTEMPTS: u32 = 3;

/// How a build is run.
#[derive(Debug)]
pub struct BuildOptions<'a> {
    /// `target/kiln`.
    pub destination: PathBuf,
    /// How many jobs run at once, at least one.
    pub jobs: usize,
    /// Whether actions that do not depend on a failed one go on.
    pub keep_going: bool,
    /// Which layers are demanded.
    pub isolation: Isolation,
    /// Whether what is built ships: an attestation is written.
    pub hermetic: bool,
    /// Whether each action is traced, and what it did is kept beside its result.
    pub audit: bool,
    /// Set when the user interrupts.
    pub interrupted: &'a AtomicBool,
    /// What the user asked for, for the attestation.
    pub parameters: serde_json::Value,
}

/// What a build did.
#[derive(Debug, Default)]
pub struct Built {
    /// How many actions ran.
    pub executed: usize,
    /// How many were known already.
    pub cached: usize,
    /// What was handed out, and the SHA-256 of each where an attestation was written.
    pub artifacts: Vec<(Artifact, PathBuf)>,
    /// The attestation.
    pub attestation: Option<PathBuf>,
    /// What was observed, where everything was audited.
    pub audit: Option<Audit>,
    /// The outcome of each action, by index.
    outcomes: Vec<Option<Arc<Outcome>>>,
}

/// What comes of comparing what actions did with what was declared.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// How many actions were looked at.
    pub actions: usize,
    /// What was done with paths that nothing declares: the action, and what. Untrusted.
    pub undeclared: Vec<(String, String)>,
    /// Of how many paths was learnt that they exist, though nothing declares them.
    pub seen: usize,
}

impl Audit {
    fn of(planned: &Planned, summary: &Summary) -> Self {
        let mut audit = Self::default();
        for (action, outcome) in planned.graph.actions.iter().zip(&summary.outcomes) {
            let record = outcome
                .as_ref()
                .and_then(|outcome| outcome.observed)
                .and_then(|blob| planned.stored_output(&blob))
                .and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
            let Some(record) = record else {
                continue;
            };
            audit.actions += 1;
            audit.seen += record.seen.len();
            for one in record.undeclared {
                let what = format!("{} {}", word(one.operation), one.path);
                audit.undeclared.push((action.label.clone(), what));
            }
        }
        audit
    }
}

/// What was done, in a word.
pub fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::Execute => "ran",
        Operation::Read => "read",
        Operation::Write => "wrote",
        Operation::Look => "looked at",
        Operation::Enter => "entered",
        Operation::Make => "made",
        Operation::Remove => "removed",
        Operation::Move => "moved",
        Operation::Change => "changed",
        Operation::Call => "called",
    }
}

impl Built {
    /// What `action` left.
    pub fn outcome(&self, action: ActionIndex) -> Option<&Outcome> {
        self.outcomes.get(action.0)?.as_deref()
    }
}

/// Runs `planned`.
pub fn run(
    planned: &Planned,
    observer: &mut dyn Observer,
    options: &BuildOptions<'_>,
) -> Result<Built, DriverError> {
    let setting = Setting {
        planned,
        jobs: options.jobs,
        isolation: options.isolation,
        hermetic: options.hermetic,
        audit: options.audit,
    };
    setting.execute(|execution| build(execution, planned, observer, options))
}

fn build(
    execution: &Execution<'_>,
    planned: &Planned,
    observer: &mut dyn Observer,
    options: &BuildOptions<'_>,
) -> Result<Built, DriverError> {
    let Execution {
        executor,
        jobserver,
        system_roots,
    } = *execution;
    let mut executed = 0;
    let mut attempts = 0..MOST_ATTEMPTS;
    let (summary, artifacts) = loop {
        attempts.next();
        let may_repeat = !attempts.is_empty();
        let summary = schedule::run(
            &planned.graph,
            executor,
            observer,
            &ScheduleOptions {
                jobserver,
                keep_going: options.keep_going,
                interrupted: options.interrupted,
                may_repeat,
                system_roots,
            },
        )?;
        executed += summary.executed;
        if summary.interrupted {
            return Err(DriverError::Interrupted);
        }
        if summary.lost {
            continue;
        }
        match hand_out(planned, &summary, &options.destination) {
            Err(DriverError::HandOut { source, .. }) if source.is_miss() && may_repeat => {}
            Err(_) if !summary.failed.is_empty() => break (summary, Vec::new()),
            artifacts => break (summary, artifacts?),
        }
    };
    if !summary.failed.is_empty() {
        return Err(DriverError::ActionsFailed {
            count: summary.failed.len(),
        });
    }
    let mut built = Built {
        executed,
        cached: planned.graph.actions.len() - executed.min(planned.graph.actions.len()),
        artifacts,
        attestation: None,
        audit: options.audit.then(|| Audit::of(planned, &summary)),
        outcomes: summary.outcomes.clone(),
    };
    if options.hermetic
        && let Some(audit) = &built.audit
        && let Some((label, what)) = audit.undeclared.first()
    {
        return Err(DriverError::Request {
            message: format!(
                "{} thing(s) were done that nothing declares, the first by `{}`: {}",
                audit.undeclared.len(),
                harmless_line(label),
                harmless_line(what)
            ),
            help: Some(
                "what ships is built from what is declared: grant it in `kiln.toml`, or report it if the sandbox ought to \
                 have denied it"
                    .to_owned(),
            ),
        });
    }
    if options.hermetic {
        built.attestation = Some(attest(planned, &summary, &built, options)?);
    }
    Ok(built)
}

/// Copies the artifacts that were made to where the user expects them.
fn hand_out(
    planned: &Planned,
    summary: &Summary,
    destination: &Path,
) -> Result<Vec<(Artifact, PathBuf)>, DriverError> {
    let mut handed_out = Vec::new();
    for artifact in &planned.graph.artifacts {
        let Some(outcome) = &summary.outcomes[artifact.action.0] else {
            continue;
        };
        let Some(entry) = outcome.files.get(&artifact.output) else {
            continue;
        };
        let path = planned.artifact_path(destination, artifact);
        let relative = planned.artifact_relative_path(artifact);
        planned
            .store
            .export(&entry.blob, entry.executable, destination, &relative)
            .map_err(|source| DriverError::HandOut {
                path: path.clone(),
                source,
            })?;
        handed_out.push((artifact.clone(), path));
    }
    Ok(handed_out)
}

fn attest(
    planned: &Planned,
    summary: &Summary,
    built: &Built,
    options: &BuildOptions<'_>,
) -> Result<PathBuf, DriverError> {
    let mut subjects = Vec::new();
    for (artifact, path) in &built.artifacts {
        let bytes = std::fs::read(path).map_err(|source| DriverError::File {
            path: path.clone(),
            verb: "read",
            source,
        })?;
        let name = match &artifact.triple {
            Some(triple) => format!("{triple}/{}/{}", planned.profile_directory, artifact.path),
            None => format!("{}/{}", planned.profile_directory, artifact.path),
        };
        subjects.push(Subject::new(
            name,
            Sha256::of(&bytes),
            BlobDigest::of(&bytes),
        ));
    }
    let actions = planned
        .graph
        .actions
        .iter()
        .enumerate()
        .filter_map(|(index, action)| {
            let outcome = summary.outcomes[index].as_ref()?;
            let mut outputs: BTreeMap<String, String> = outcome
                .files
                .iter()
                .map(|(name, entry)| (name.clone(), entry.blob.digest.to_hex()))
                .collect();
            if let Some(tree) = &outcome.directory {
                outputs.insert("OUT_DIR".to_owned(), tree.digest.to_hex());
            }
            Some(ActionRecord {
                label: action.label.clone(),
                key: summary.keys[index]?,
                outputs,
            })
        })
        .collect();
    // An outcome from the cache says what was enforced when it was made.
    let enforced: BTreeSet<&str> = summary
        .outcomes
        .iter()
        .flatten()
        .map(|outcome| outcome.sandbox.as_str())
        .collect();
    let enforced = enforced
        .into_iter()
        .filter_map(|record| serde_json::from_str(record).ok())
        .collect();
    let provenance = Provenance {
        subjects,
        parameters: parameters(planned, options),
        isolation: IsolationRecord {
            isolation: options.isolation.as_str().to_owned(),
            enforced,
            profiles: planned
                .profiles
                .iter()
                .map(|(name, profile)| (name.clone(), profile.digest().to_hex()))
                .collect(),
            canonical_paths: planned.layout.is_canonical(),
        },
        graph: BlobDigest::of(crate::plan::print::json(&planned.graph).as_bytes()),
        materials: materials(planned),
        actions,
    };
    let path = options
        .destination
        .join(&planned.profile_directory)
        .join(ATTESTATION);
    crate::driver::files::write(&path, &provenance.to_statement()).map_err(|source| {
        DriverError::File {
            path: path.clone(),
            verb: "written",
            source,
        }
    })?;
    Ok(path)
}

/// What the user asked for on the command line, and in configuration as far as that says anything of the units.
fn parameters(planned: &Planned, options: &BuildOptions<'_>) -> serde_json::Value {
    let mut parameters = options.parameters.clone();
    if planned.settings != Settings::default()
        && let Some(parameters) = parameters.as_object_mut()
        && let Ok(settings) = serde_json::to_value(&planned.settings)
    {
        parameters.insert("configuration".to_owned(), settings);
    }
    parameters
}

fn materials(planned: &Planned) -> Vec<Material> {
    let mut materials = vec![
        Material::tree(
            format!("pkg:generic/rust@{}", planned.rust.version.release),
            planned.rust.tree,
        )
        .with(
            "rustc",
            planned
                .rust
                .version
                .verbose
                .lines()
                .next()
                .unwrap_or_default(),
        )
        .with("host", planned.rust.version.host.clone()),
        Material::tree("pkg:generic/c-toolchain".to_owned(), planned.c.system.tree)
            .with("cc", planned.c.version.clone()),
    ];
    for (id, tree) in &planned.sources {
        let material = Material::tree(package_url(planned, id), tree.digest);
        let material = match planned.fetched.get(id) {
            Some(fetched) => material.with_archive(fetched.sha256),
            None => material,
        };
        let material = match planned.grants.get(id) {
            Some((words, tree)) => material
                .with("granted", words.join("; "))
                .with("grantedTree", tree.digest.to_hex()),
            None => material,
        };
        let seen = &planned.surroundings;
        let material = match (seen.trees.get(id), seen.reasons.get(id)) {
            (Some(tree), Some(words)) => material
                .with("surroundings", words.join("; "))
                .with("surroundingsTree", tree.digest.to_hex()),
            _ => material,
        };
        materials.push(material);
    }
    materials
}

/// The package URL of a package. Source: the purl specification, type `cargo`.
fn package_url(planned: &Planned, id: &PackageId) -> String {
    let version = id.version().to_string().replace('+', "%2B");
    let base = format!("pkg:cargo/{}@{version}", id.name());
    match id.source().kind() {
        SourceKind::Registry {
            is_crates_io: true, ..
        } => base,
        SourceKind::Registry { url, .. } => format!("{base}?repository_url={url}"),
        SourceKind::Git { url, precise, .. } => {
            format!(
                "{base}?vcs_url=git+{url}@{}",
                precise.as_deref().unwrap_or_default()
            )
        }
        SourceKind::Path(path) => {
            let relative = path
                .strip_prefix(&planned.workspace().root)
                .unwrap_or(Path::new(""));
            if relative.as_os_str().is_empty() {
                base
            } else {
                format!("{base}#{}", relative.display())
            }
        }
    }
}
