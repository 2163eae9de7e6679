//! What an action left behind, and its form in the action cache.
//!
//! The form is REAPI's `ActionResult`: output files by path, `OUT_DIR` as an output directory, standard output and
//! error as blobs. Only successful actions get one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::directive::BuildScriptOutput;
use crate::path::SandboxPath;
use crate::plan::graph::{Outputs, PlannedAction};
use crate::reapi;
use crate::tree::{BlobRef, TreeRef};

/// Where a record stands among the outputs of a stored result: no action declares such an output.
const OBSERVED: &str = ".kiln/observed.json";

/// One output file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputEntry {
    /// Its content.
    pub blob: BlobRef,
    /// Whether it is executable.
    pub executable: bool,
}

/// What a successful action left.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Output files by name.
    pub files: BTreeMap<String, OutputEntry>,
    /// The output directory as a whole, for actions that declare it so.
    pub directory: Option<TreeRef>,
    /// Standard output, if anything was printed.
    pub stdout: Option<BlobRef>,
    /// Standard error, if anything was printed.
    pub stderr: Option<BlobRef>,
    /// What a build script said, parsed.
    pub directives: Option<Arc<BuildScriptOutput>>,
    /// How long it took when it ran, milliseconds.
    pub duration_ms: u64,
    /// What was enforced when it ran: the JSON of [`crate::sandbox::Enforced`].
    pub sandbox: String,
    /// What it was seen to do, where it was audited: the JSON of a [`crate::execute::record::Record`].
    pub observed: Option<BlobRef>,
}

/// Why a stored result is not one of this action.
#[derive(Debug, thiserror::Error)]
pub enum OutcomeError {
    /// A declared output is not in it.
    #[error("the stored result lacks the output `{name}`")]
    Missing {
        /// The output.
        name: String,
    },
    /// A digest in it is malformed.
    #[error("the stored result has a malformed digest")]
    Digest(#[from] reapi::DigestError),
}

impl Outcome {
    /// The form in which the action cache and any remote engine keep it.
    pub fn to_reapi(&self, action: &PlannedAction) -> reapi::ActionResult {
        let output_files = self.files.iter().map(|(name, entry)| reapi::OutputFile {
            path: below(&action.output_directory, name),
            digest: Some(reapi::Digest::of_blob(
                &entry.blob.digest,
                entry.blob.size_bytes,
            )),
            is_executable: entry.executable,
            ..Default::default()
        });
        let observed = self.observed.iter().map(|blob| reapi::OutputFile {
            path: OBSERVED.to_owned(),
            digest: Some(reapi::Digest::of_blob(&blob.digest, blob.size_bytes)),
            ..Default::default()
        });
        let output_directories = self.directory.iter().map(|tree| reapi::OutputDirectory {
            path: relative(&action.output_directory),
            root_directory_digest: Some(reapi::Digest::of_tree(&tree.digest, tree.size_bytes)),
            ..Default::default()
        });
        let digest = |blob: &BlobRef| reapi::Digest::of_blob(&blob.digest, blob.size_bytes);
        reapi::ActionResult {
            output_files: output_files.chain(observed).collect(),
            output_directories: output_directories.collect(),
            stdout_digest: self.stdout.as_ref().map(digest),
            stderr_digest: self.stderr.as_ref().map(digest),
            execution_metadata: Some(reapi::ExecutedActionMetadata {
                worker: self.sandbox.clone(),
                virtual_execution_duration: Some(reapi::Duration {
                    seconds: i64::try_from(self.duration_ms / 1000).unwrap_or(i64::MAX),
                    nanos: i32::try_from(self.duration_ms % 1000).unwrap_or(0) * 1_000_000,
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// Reads a stored result; directives are parsed by the caller, from [`Outcome::stdout`].
    pub fn from_reapi(
        action: &PlannedAction,
        result: &reapi::ActionResult,
    ) -> Result<Self, OutcomeError> {
        let blob = |digest: &reapi::Digest| -> Result<BlobRef, reapi::DigestError> {
            let (digest, size_bytes) = digest.to_blob()?;
            Ok(BlobRef { digest, size_bytes })
        };
        let missing = |name: &str| OutcomeError::Missing {
            name: name.to_owned(),
        };
        let mut outcome = Outcome::default();
        match &action.outputs {
            Outputs::Files(files) => {
                for file in files {
                    let path = below(&action.output_directory, &file.name);
                    let stored = result
                        .output_files
                        .iter()
                        .find(|stored| stored.path == path)
                        .ok_or_else(|| missing(&file.name))?;
                    let digest = stored.digest.as_ref().ok_or_else(|| missing(&file.name))?;
                    let entry = OutputEntry {
                        blob: blob(digest)?,
                        executable: stored.is_executable,
                    };
                    outcome.files.insert(file.name.clone(), entry);
                }
            }
            Outputs::OutDir | Outputs::Directory => {
                let path = relative(&action.output_directory);
                let digest = result
                    .output_directories
                    .iter()
                    .find(|stored| stored.path == path)
                    .and_then(|stored| stored.root_directory_digest.as_ref())
                    .ok_or_else(|| missing(&path))?;
                let (digest, size_bytes) = digest.to_tree()?;
                outcome.directory = Some(TreeRef { digest, size_bytes });
            }
        }
        outcome.observed = result
            .output_files
            .iter()
            .find(|stored| stored.path == OBSERVED)
            .and_then(|stored| stored.digest.as_ref())
            .map(blob)
            .transpose()?;
        outcome.stdout = result.stdout_digest.as_ref().map(blob).transpose()?;
        outcome.stderr = result.stderr_digest.as_ref().map(blob).transpose()?;
        if let Some(metadata) = &result.execution_metadata {
            outcome.sandbox.clone_from(&metadata.worker);
        }
        outcome.duration_ms = result
            .execution_metadata
            .as_ref()
            .and_then(|metadata| metadata.virtual_execution_duration.as_ref())
            .map_or(0, |duration| {
                u64::try_from(duration.seconds)
                    .unwrap_or(0)
                    .saturating_mul(1000)
                    + u64::try_from(duration.nanos).unwrap_or(0) / 1_000_000
            });
        Ok(outcome)
    }
}

/// A path of the action as REAPI states it: relative to the input root.
pub(super) fn relative(path: &SandboxPath) -> String {
    path.as_str().trim_start_matches('/').to_owned()
}

fn below(directory: &SandboxPath, name: &str) -> String {
    format!("{}/{name}", relative(directory))
}
