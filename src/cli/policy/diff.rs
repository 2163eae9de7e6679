//! `policy diff`: what changes in capability from one lock to another.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::Format;
use crate::cli::report::FetchView;
use crate::cli::shell::Shell;
use crate::driver::comparing::{self, GivenLock};
use crate::driver::{Context, DriverError};
use crate::message::text::harmless_line;
use crate::policy::compare::{Change, FindingKind, Locked};
use crate::source::git::committed;
use crate::store::Store;

/// Flags of `policy diff`.
#[derive(Debug, Clone, Args)]
pub struct DiffArgs {
    /// The lock as it was: a file, `-` for standard input, or REVISION:PATH
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// The lock as it is (default: the workspace's)
    #[arg(value_name = "NEW")]
    pub new: Option<PathBuf>,
    /// Fail if there is any of these, separated by commas: new-packages, new-build-scripts, changed-build-scripts,
    /// new-proc-macros, changed-proc-macros, new-build-dependencies, new-links, new-grants, source-changes, checksum-changes, yanked,
    /// was-yanked, similar-names; `all` for all
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = finding_kind, hide_possible_values = true)]
    pub deny: Vec<Kinds>,
    /// How it is printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// What `--deny` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinds {
    /// `all`
    All,
    /// One kind.
    One(FindingKind),
}

fn finding_kind(text: &str) -> Result<Kinds, String> {
    if text == "all" {
        return Ok(Kinds::All);
    }
    let known = FindingKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == text);
    known.map(Kinds::One).ok_or_else(|| {
        let names: Vec<&str> = FindingKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("there are {}, and `all`", names.join(", "))
    })
}

fn given_lock(context: &Context, path: &Path) -> Result<GivenLock, DriverError> {
    let failed = |source| DriverError::File {
        path: path.to_owned(),
        verb: "read",
        source,
    };
    let file = context.directory.join(path);
    let of_commit = path
        .to_str()
        .and_then(|path| path.split_once(':'))
        .filter(|_| !file.exists());
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin()).map_err(failed)?
    } else if let Some((revision, path)) = of_commit {
        committed(&context.directory, revision, path).map_err(|why| DriverError::Request {
            message: format!("`{revision}:{path}` cannot be read: {why}"),
            help: Some(
                "give a branch, a tag or a commit's id, and a path below the root of the repository; in a shallow clone \
                 fetch the branch first"
                    .to_owned(),
            ),
        })?
    } else {
        std::fs::read_to_string(&file).map_err(failed)?
    };
    Ok(GivenLock {
        name: path.display().to_string(),
        text,
    })
}

pub(super) fn diff(
    context: &Context,
    shell: &Shell,
    arguments: &DiffArgs,
) -> Result<ExitCode, DriverError> {
    let old = given_lock(context, &arguments.old)?;
    let new = arguments.new.as_deref();
    let new = new.map(|new| given_lock(context, new)).transpose()?;
    let store = Arc::new(Store::open(&context.home)?);
    let mut view = FetchView::new(shell);
    let changes = comparing::compare(context, &store, &old, new.as_ref(), &mut view)?;
    view.end();
    // What could not be looked at may be anything.
    let denies = |kind: FindingKind| {
        kind == FindingKind::Unavailable
            || arguments.deny.contains(&Kinds::All)
            || arguments.deny.contains(&Kinds::One(kind))
    };
    let findings = changes.iter().flat_map(|change| &change.findings);
    let denied: BTreeSet<&str> = findings
        .filter(|finding| denies(finding.kind))
        .map(|finding| finding.kind.as_str())
        .collect();
    match arguments.format {
        Format::Json => shell.line(&diff_as_json(&changes, &denied)),
        Format::Human => print_diff(shell, &changes, &denies),
    }
    if denied.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let denied: Vec<&str> = denied.into_iter().collect();
    Err(DriverError::Request {
        message: format!("the update brings what must not come unseen: {}", denied.join(", ")),
        help: Some(
            "look at the packages (`kiln fetch` unpacks them to `src` in the store); then update, or pin the version \
             before with `kiln update -p NAME --precise VERSION`"
                .to_owned(),
        ),
    })
}

fn print_diff(shell: &Shell, changes: &[Change], denies: &dyn Fn(FindingKind) -> bool) {
    if changes.is_empty() {
        shell.line("the locks name the same packages");
    }
    for change in changes {
        let line = match (&change.old, &change.new) {
            (None, Some(new)) => format!("added    {new}"),
            (Some(old), None) => format!("removed  {old}"),
            (Some(old), Some(new)) if old.version == new.version => format!("changed  {new}"),
            (Some(old), Some(new)) => format!("updated  {old} -> {}", new.version),
            (None, None) => continue,
        };
        shell.line(&harmless_line(&line));
        if !change.needed_by.is_empty() {
            let by: Vec<String> = change.needed_by.iter().map(Locked::to_string).collect();
            shell.line(&harmless_line(&format!("    needed by {}", by.join(", "))));
        }
        for finding in &change.findings {
            let mark = if denies(finding.kind) { "!" } else { " " };
            let line = format!("  {mark} {}: {}", finding.kind.as_str(), finding.text);
            shell.line(&harmless_line(&line));
        }
    }
    shell.note("who may publish a crate is in no index: changes of maintainers cannot be shown");
}

fn diff_as_json(changes: &[Change], denied: &BTreeSet<&str>) -> String {
    let package = |locked: &Locked| {
        serde_json::json!({
            "name": locked.name,
            "version": locked.version.to_string(),
            "source": locked.source_in_words(),
        })
    };
    let changes: Vec<serde_json::Value> = changes
        .iter()
        .map(|change| {
            let findings: Vec<serde_json::Value> = change
                .findings
                .iter()
                .map(|finding| serde_json::json!({ "kind": finding.kind.as_str(), "text": finding.text }))
                .collect();
            serde_json::json!({
                "old": change.old.as_ref().map(package),
                "new": change.new.as_ref().map(package),
                "neededBy": change.needed_by.iter().map(package).collect::<Vec<_>>(),
                "findings": findings,
            })
        })
        .collect();
    serde_json::json!({
        "version": 1,
        "changes": changes,
        "denied": denied,
        "notShown": ["maintainers"],
    })
    .to_string()
}
