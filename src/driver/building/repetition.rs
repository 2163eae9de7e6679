//! A build whose every input is as it was when it last succeeded has nothing to do, and is recognised before it is
//! planned.
//!
//! Planning is pure, so its outcome is known where its inputs are: the manifests, the lock, the policy, the
//! configuration, the content of the packages on disk, and the toolchains. They are asked for by the same functions as
//! in any build (each remembers digests by the identity of files), and compared with those of the record that the last
//! build of the same command line left. What a registry's or a repository's package holds follows from the lock. Then the
//! artifacts have to be what they were. If anything differs, or cannot be told, the build is planned as usual: a record
//! is never needed.
//!
//! ```text
//! <home>/builds/<BLAKE3 of kiln, its arguments, directory and environment>    a record, as JSON
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::digest::{BlobDigest, TreeDigest};
use crate::driver::building::build::Built;
use crate::driver::inputs::surroundings::View;
use crate::driver::inputs::{clippy, snapshots};
use crate::driver::planned::Planned;
use crate::driver::planning::PlanOptions;
use crate::driver::supply::vendored;
use crate::driver::toolchains;
use crate::driver::{Context, DriverError, Reporter, resolution};
use crate::manifest::model::Workspace;
use crate::registry::Event;
use crate::store::Store;
use crate::toolchain::c::{SystemGrants, system_tree};
use crate::toolchain::model::{CToolchain, RustToolchain};
use crate::tree::TreeRef;

/// Variables that differ from one command of a shell to the next.
const VOLATILE: [&str; 3] = ["_", "OLDPWD", "SHLVL"];
/// A record that is older is not used, so that what a project needs is seen to be in use by who cleans the store.
const VALID_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// What the last build of a command line was made from, and what it made.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// Digest of what planning reads besides the packages: see [`front`].
    front: String,
    /// The directories of the packages that were built, and what they held.
    packages: Vec<(PathBuf, TreeDigest)>,
    /// What packages see besides, and what that held.
    surroundings: Vec<(View, Option<TreeRef>)>,
    /// The same of the vendored packages.
    vendored: Vec<(PathBuf, TreeDigest)>,
    /// What policy made of the machine's programs and libraries.
    granted: Vec<(SystemGrants, TreeDigest)>,
    /// What was handed out.
    artifacts: Vec<(PathBuf, BlobDigest)>,
    /// What has to be there besides.
    present: Vec<PathBuf>,
    repeated: Repeated,
}

/// A build that has nothing to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Repeated {
    /// How many actions it has.
    pub actions: usize,
    /// Its attestation.
    pub attestation: Option<PathBuf>,
    /// What it has to tell the user, in whatever form the caller keeps that.
    pub told: Vec<String>,
    /// What came of it, in whatever form the caller keeps that.
    pub outcome: serde_json::Value,
}

/// What a build leaves for the next one of the same command line, besides its artifacts.
#[derive(Debug)]
pub struct Remembered<T> {
    /// What came of it.
    pub outcome: T,
    /// Files that have to be what they are now.
    pub files: Vec<PathBuf>,
    /// What has to be there.
    pub present: Vec<PathBuf>,
}

impl<T> Remembered<T> {
    /// Nothing but the outcome.
    pub fn new(outcome: T) -> Self {
        Self {
            outcome,
            files: Vec::new(),
            present: Vec::new(),
        }
    }
}

/// One build, as far as it is known before it is planned.
#[derive(Debug)]
pub struct Question<'a> {
    context: &'a Context,
    targets: &'a [String],
    options: &'a PlanOptions,
    file: PathBuf,
    /// `None`: something could not be read, so nothing can be said.
    front: Option<String>,
}

impl<'a> Question<'a> {
    /// Asks whether the build that `context` describes has anything to do. `shown` is whatever decides how it is
    /// shown, besides the command line, and `words` are those words of the command line that say anything of the build.
    /// If it has nothing to do, the second value says what to tell the user.
    pub fn ask(
        context: &'a Context,
        store: &Arc<Store>,
        targets: &'a [String],
        options: &'a PlanOptions,
        shown: &str,
        words: &[String],
    ) -> (Self, Option<Repeated>) {
        let file = record_file(context, shown, words);
        let state = State::now(context, store, targets, options).ok();
        let repeated = state.as_ref().and_then(|state| recall(store, &file, state));
        let front = state.map(|state| state.front);
        let question = Self {
            context,
            targets,
            options,
            file,
            front,
        };
        (question, repeated)
    }

    /// Records that the build succeeded. A record that cannot be made costs time later on, and nothing else.
    pub fn answer<T: Serialize>(
        &self,
        planned: &Planned,
        built: &Built,
        told: Vec<String>,
        remembered: &Remembered<T>,
    ) {
        if let Some(record) = self.record(planned, built, told, remembered)
            && let Ok(json) = serde_json::to_vec(&record)
        {
            let _ = crate::driver::files::write(&self.file, &json);
        }
    }

    fn record<T: Serialize>(
        &self,
        planned: &Planned,
        built: &Built,
        told: Vec<String>,
        remembered: &Remembered<T>,
    ) -> Option<Record> {
        // What was read before the build and what is there now have to be the same, or who knows what was built.
        let now = State::now(self.context, &planned.store, self.targets, self.options).ok()?;
        if self.front.as_ref() != Some(&now.front) {
            return None;
        }
        let volatile = |name: &String| VOLATILE.contains(&name.as_str());
        if planned.granted_variables.iter().any(volatile) {
            return None;
        }
        let packages = planned
            .sources
            .iter()
            .filter(|(id, _)| id.source().is_path())
            .map(|(id, tree)| (planned.packages[id].root().to_owned(), tree.digest))
            .collect();
        let mut artifacts = Vec::with_capacity(built.artifacts.len() + 1);
        for path in built
            .artifacts
            .iter()
            .map(|(_, path)| path)
            .chain(&built.attestation)
            .chain(&remembered.files)
        {
            artifacts.push((path.clone(), planned.store.digest_file(path).ok()?.digest));
        }
        let vendored = planned
            .vendored
            .iter()
            .filter_map(|(id, directory)| {
                Some((directory.clone(), planned.sources.get(id)?.digest))
            })
            .collect();
        Some(Record {
            front: now.front,
            packages,
            surroundings: planned.surroundings.views.clone(),
            vendored,
            granted: planned.granted_systems.clone(),
            artifacts,
            present: remembered.present.clone(),
            repeated: Repeated {
                actions: built.executed + built.cached,
                attestation: built.attestation.clone(),
                told,
                outcome: serde_json::to_value(&remembered.outcome).ok()?,
            },
        })
    }
}

/// Where the record of a command line is.
fn record_file(context: &Context, shown: &str, words: &[String]) -> PathBuf {
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    add(env!("CARGO_PKG_VERSION"));
    add(&identity_of(&context.program));
    add(&context.directory.to_string_lossy());
    add(shown);
    words.iter().for_each(|word| add(word));
    add("");
    for (name, value) in &context.variables {
        if !VOLATILE.contains(&name.as_str()) {
            add(name);
            add(value);
        }
    }
    let name = hasher.finalize().to_hex();
    context.home.join("builds").join(name.as_str())
}

/// What changes when another kiln is installed in the place of this one.
fn identity_of(program: &Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(program).map_or_else(
        |_| String::new(),
        |data| {
            format!(
                "{}:{}:{}:{}:{}",
                data.dev(),
                data.ino(),
                data.size(),
                data.ctime(),
                data.ctime_nsec()
            )
        },
    )
}

/// The inputs of planning, as they are now.
struct State {
    front: String,
    workspace: Workspace,
    c: CToolchain,
}

impl State {
    fn now(
        context: &Context,
        store: &Arc<Store>,
        targets: &[String],
        options: &PlanOptions,
    ) -> Result<Self, DriverError> {
        let workspace = resolution::load(context)?;
        let rust = toolchains::rust_toolchain(context, store, &workspace.root, targets)?;
        let c = toolchains::c_toolchain(store, &rust)?;
        let front = front(context, store, &workspace, &rust, &c, options);
        Ok(Self {
            front,
            workspace,
            c,
        })
    }
}

/// Digest of everything that planning reads besides the content of packages.
fn front(
    context: &Context,
    store: &Store,
    workspace: &Workspace,
    rust: &RustToolchain,
    c: &CToolchain,
    options: &PlanOptions,
) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    add(rust.version.verbose.as_bytes());
    add(rust.tree.as_bytes());
    add(c.system.tree.as_bytes());
    add(c.version.as_bytes());
    add(options.layout.prefix().as_str().as_bytes());
    add(options.isolation.as_str().as_bytes());
    let mut files = vec![
        workspace.root.join("Cargo.toml"),
        workspace.lock_path(),
        workspace.root.join(crate::policy::FILE_NAME),
        workspace.root.join(crate::policy::APPROVED_FILE),
    ];
    files.extend(
        workspace
            .packages
            .values()
            .map(|package| package.manifest_path.clone()),
    );
    files.extend(context.config.files.iter().cloned());
    for file in files {
        add(file.as_os_str().as_encoded_bytes());
        match std::fs::read(&file) {
            Ok(bytes) => add(&bytes),
            Err(_) => add(b"unreadable"),
        }
    }
    // Toolchains are digested without clippy, which few need.
    let clippy = options
        .clippy
        .iter()
        .flat_map(|_| clippy::inputs(rust, workspace));
    for file in clippy {
        add(file.as_os_str().as_encoded_bytes());
        match store.digest_file(&file) {
            Ok(blob) => add(blob.digest.as_bytes()),
            Err(_) => add(b"not there"),
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// What the record in `file` says, if all that it was made from is what it was.
fn recall(store: &Arc<Store>, file: &Path, state: &State) -> Option<Repeated> {
    let age = std::fs::metadata(file)
        .ok()?
        .modified()
        .ok()?
        .elapsed()
        .ok()?;
    let record: Record = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    if age > VALID_FOR || record.front != state.front {
        return None;
    }
    let roots: BTreeMap<&Path, _> = state
        .workspace
        .packages
        .values()
        .map(|package| (package.root(), package))
        .collect();
    let same_packages = record.packages.iter().all(|(root, tree)| {
        roots.get(root.as_path()).is_some_and(|package| {
            snapshots::snapshot(store, &state.workspace, package, &mut Silent)
                .is_ok_and(|now| now.digest == *tree)
        })
    });
    let search = toolchains::system_search();
    let same_grants = || {
        record.granted.iter().all(|(grants, tree)| {
            system_tree(store, &state.c, grants, &search).is_ok_and(|now| now.tree == *tree)
        })
    };
    let same_artifacts = || {
        record.artifacts.iter().all(|(path, blob)| {
            std::fs::symlink_metadata(path).is_ok_and(|data| data.is_file())
                && store.digest_file(path).is_ok_and(|now| now.digest == *blob)
        })
    };
    let same_vendored = || {
        record.vendored.par_iter().all(|(directory, tree)| {
            vendored::snapshot(store, directory).is_ok_and(|now| now.digest == *tree)
        })
    };
    let same_surroundings = || {
        record
            .surroundings
            .iter()
            .all(|(view, tree)| view.is_still(store, &state.workspace, tree.as_ref()))
    };
    let all_present = || record.present.iter().all(|path| path.exists());
    (same_packages
        && same_surroundings()
        && same_vendored()
        && same_grants()
        && same_artifacts()
        && all_present())
    .then_some(record.repeated)
}

/// Whoever asks whether there is anything to do is told nothing else; the build that follows tells it.
struct Silent;

impl Reporter for Silent {
    fn status(&mut self, _verb: &str, _message: &str) {}
    fn warning(&mut self, _message: &str) {}
    fn fetching(&mut self, _event: Event) {}
}
