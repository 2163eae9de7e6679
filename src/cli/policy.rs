//! `policy`: what crates are granted beyond the sandbox, shown and changed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use semver::VersionReq;

use crate::cli::args::{BuildArgs, FeatureArgs};
use crate::cli::compile::{Compilation, configure, features, interruption, jobs, request};
use crate::cli::report::FetchView;
use crate::cli::shell::Shell;
use crate::driver::approving;
use crate::driver::comparing::{self, GivenLock};
use crate::driver::policies::{self, Effective};
use crate::driver::suggesting::{self, SuggestOptions};
use crate::driver::{Context, DriverError};
use crate::message::text::harmless_line;
use crate::policy::Bundle;
use crate::policy::compare::{Change, FindingKind, Locked};
use crate::policy::edit::Asked;
use crate::policy::{BuildMode, Grant, SCHEMA};
use crate::store::Store;
use crate::unit::{BuildRequest, Intent, PackageSelection};

/// `policy`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A crate that is granted nothing gets nothing: no file, program or variable of this machine. What it is granted stands
in `kiln.toml` at the root of the workspace, to be reviewed with the rest of the code:

    [crate.openssl-sys]
    reason = \"we ship on Debian, with its OpenSSL\"
    use = [\"pkg-config:openssl\"]

The content of all that is granted is part of each action's key and of the attestation. For well-known crates kiln
brings grants of its own; `kiln policy show` names them, `defaults = false` switches them off. docs/policy.md has all
keys and bundles.

A build that failed for want of something: `kiln policy grant`, or `kiln policy suggest` for all of them at once.
A lock that changed: `kiln policy diff OLD.lock`. Nothing new that runs at build time: `[policy] build-scripts =
\"approved\"` and `kiln policy approve`.")]
pub struct PolicyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// What to do with policy.
#[derive(Debug, Clone, Subcommand)]
pub enum PolicyCommand {
    /// Show what each crate of the build is granted, by whom, and why
    Show(ShowArgs),
    /// Grant something to a crate: adds it to kiln.toml, which keeps its comments and its form
    Grant(GrantArgs),
    /// Find the smallest policy that the build passes with, by building; prints what to add to kiln.toml
    #[command(after_help = "\
Builds, takes what each failure advises into the policy of the next round, and stops when the build passes or nothing
new is learnt; then leaves out what it passes without. Look at what is suggested before you take it: a crate that has
no business with a program wants it, too.")]
    Suggest(Box<SuggestArgs>),
    /// Approve packages that run code in the build, with the digest that they have now: kiln-approved.toml
    #[command(after_help = "\
With `[policy] build-scripts = \"approved\"` in `kiln.toml` nothing is built as long as a build script, a procedural
macro, or a package that one of them is made of is not in `kiln-approved.toml` with the digest of its files. Packages
on disk are your own and need no approval. Without names, all packages of the workspace's builds are approved, and
those that the lock has no more are taken out.")]
    Approve(ApproveArgs),
    /// Tell what changes from one Cargo.lock to another: new build scripts, macros, libraries, grants; nothing is run
    #[command(after_help = "\
Fetches and unpacks what differs, in confinement, and runs nothing of it. In CI, `--deny` makes what must not come
unseen an error:

    git show origin/main:Cargo.lock | kiln policy diff - --deny new-build-scripts,new-proc-macros,yanked

Who may publish a crate is in no index, so a change of maintainers cannot be shown.")]
    Diff(DiffArgs),
    /// Print the JSON schema of kiln.toml, for editors
    Schema,
}

/// Flags of `policy show`.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// Only these crates
    #[arg(value_name = "CRATE")]
    pub crates: Vec<String>,
    /// Which features.
    #[command(flatten)]
    pub features: FeatureArgs,
    /// Build for this target triple
    #[arg(long, value_name = "TRIPLE")]
    pub target: Vec<String>,
    /// As for `--hermetic`: without the grants of `[dev]`
    #[arg(long)]
    pub hermetic: bool,
    /// How it is printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// Flags of `policy approve`.
#[derive(Debug, Clone, Args)]
pub struct ApproveArgs {
    /// The packages, as the lock names them: `cc`, `cc@1.2.30` (default: all that run code in a build)
    #[arg(value_name = "CRATE[@VERSION]")]
    pub crates: Vec<String>,
    /// Build for this target triple
    #[arg(long, value_name = "TRIPLE")]
    pub target: Vec<String>,
    /// Only say what would be approved
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// Flags of `policy suggest`.
#[derive(Debug, Clone, Args)]
pub struct SuggestArgs {
    /// Add it to kiln.toml
    #[arg(long)]
    pub write: bool,
    /// The build.
    #[command(flatten)]
    pub build: BuildArgs,
}

/// Flags of `policy diff`.
#[derive(Debug, Clone, Args)]
pub struct DiffArgs {
    /// The lock as it was; `-` for standard input
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

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Human,
    /// As JSON.
    Json,
}

/// Flags of `policy grant`.
#[derive(Debug, Clone, Args)]
pub struct GrantArgs {
    /// The crate, with the versions it is for if that matters: `openssl-sys`, `openssl-sys@^0.9`
    #[arg(value_name = "CRATE[@VERSIONS]")]
    pub krate: String,
    /// A file or directory that it may read: an absolute path, with `*` and `**` as in a shell
    #[arg(long, value_name = "PATH", help_heading = "What is granted")]
    pub read: Vec<String>,
    /// A program that it may run, by name or absolute path
    #[arg(long, value_name = "PROGRAM", help_heading = "What is granted")]
    pub exec: Vec<String>,
    /// A variable that is passed on; its value is recorded in the attestation
    #[arg(long, value_name = "VARIABLE", help_heading = "What is granted")]
    pub env: Vec<String>,
    /// A copy of its own sources that its build script may write to, or of this path below it
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = ".")]
    #[arg(help_heading = "What is granted")]
    pub write: Vec<String>,
    /// What else of the workspace a package of the workspace reads, by its path below the root
    #[arg(long, value_name = "PATH", help_heading = "What is granted")]
    pub workspace: Vec<String>,
    /// A bundle: cmake, protoc, libclang, perl, …, or `pkg-config:NAME` for a library of the system
    #[arg(long, value_name = "NAME", help_heading = "What is granted")]
    pub bundle: Vec<String>,
    /// A library of the system, by its name in pkg-config
    #[arg(long, value_name = "NAME", help_heading = "What is granted")]
    pub pkg_config: Vec<String>,
    /// A library of the system, by its name for the linker
    #[arg(long, value_name = "NAME", help_heading = "What is granted")]
    pub link: Vec<String>,
    /// Why; it is shown by `policy show`
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Only if it comes from there: `crates-io`, `path`, or an address
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// Only for `kiln build`, never for `--hermetic`
    #[arg(long)]
    pub dev: bool,
    /// Only print what would be written
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `kiln policy …`
pub(super) fn policy(
    context: &Context,
    shell: &Shell,
    command: &PolicyCommand,
) -> Result<ExitCode, DriverError> {
    match command {
        PolicyCommand::Show(arguments) => show(context, shell, arguments),
        PolicyCommand::Grant(arguments) => grant(context, shell, arguments),
        PolicyCommand::Approve(arguments) => approve(context, shell, arguments),
        PolicyCommand::Suggest(arguments) => suggest(context, shell, arguments),
        PolicyCommand::Diff(arguments) => diff(context, shell, arguments),
        PolicyCommand::Schema => {
            shell.line(SCHEMA.trim_end());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn grant(context: &Context, shell: &Shell, arguments: &GrantArgs) -> Result<ExitCode, DriverError> {
    let (name, version) = match arguments.krate.split_once('@') {
        None => (arguments.krate.clone(), None),
        Some((name, version)) => {
            let version = VersionReq::parse(version).map_err(|error| DriverError::Request {
                message: format!("`{version}` is not a version requirement: {error}"),
                help: Some("give one as in `Cargo.toml`: `openssl-sys@^0.9`".to_owned()),
            })?;
            (name.to_owned(), Some(version))
        }
    };
    let asked = Asked {
        name,
        version,
        source: arguments.source.clone(),
        dev: arguments.dev,
        lists: Bundle {
            reason: arguments.reason.clone(),
            exec: arguments.exec.clone(),
            read: arguments.read.clone(),
            env: arguments.env.clone(),
            write: arguments.write.clone(),
            workspace: arguments.workspace.clone(),
            pkg_config: arguments.pkg_config.clone(),
            link: arguments.link.clone(),
            r#use: arguments.bundle.clone(),
            ..Bundle::default()
        },
    };
    if asked.is_empty() {
        return Err(DriverError::Request {
            message: "nothing says what to grant".to_owned(),
            help: Some(
                "give `--exec PROGRAM`, `--read PATH`, `--env VARIABLE`, `--write`, `--bundle NAME`, \
                 `--pkg-config NAME` or `--link NAME`"
                    .to_owned(),
            ),
        });
    }
    let section = asked.section()?;
    let changed = policies::grant(context, std::slice::from_ref(&asked), arguments.dry_run)?;
    for warning in &changed.warnings {
        shell.warning(&harmless_line(warning));
    }
    let path = changed.path.display();
    match (changed.changed, arguments.dry_run) {
        (false, _) => shell.status("Unchanged", &format!("`{path}` grants that already")),
        (true, true) => shell.line(section.trim_end()),
        (true, false) => shell.status(
            "Granted",
            &format!("to `{}`, in `{path}`", harmless_line(&asked.name)),
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn suggest(
    context: &Context,
    shell: &Shell,
    arguments: &SuggestArgs,
) -> Result<ExitCode, DriverError> {
    let request = request(context, &arguments.build, Intent::Build)?;
    let compilation = Compilation::new(context, shell, &arguments.build, request)?;
    let interrupted = interruption()?;
    let options = SuggestOptions {
        plan: &compilation.options,
        jobs: jobs(context, arguments.build.common.compile.work.jobs.as_deref())?,
        isolation: compilation.isolation,
        interrupted: &interrupted,
    };
    let mut view = FetchView::new(shell);
    let (store, request) = (&compilation.store, &compilation.request);
    let suggestion = suggesting::suggest(context, store, request, &options, &mut view)?;
    view.end();
    for line in &suggestion.impossible {
        shell.warning(&format!("not suggested: {}", harmless_line(line)));
    }
    for asked in &suggestion.asked {
        shell.line(&asked.section()?);
    }
    if arguments.write && !suggestion.asked.is_empty() {
        let changed = policies::grant(context, &suggestion.asked, false)?;
        shell.status("Granted", &format!("in `{}`", changed.path.display()));
    }
    if suggestion.failures.is_empty() {
        if suggestion.asked.is_empty() {
            shell.status("Unchanged", "the build passes with the policy as it is");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let failures: Vec<String> = suggestion
        .failures
        .iter()
        .map(|failure| format!("\n  {}", harmless_line(failure)))
        .collect();
    Err(DriverError::Request {
        message: format!(
            "no policy was found that the build passes with; these still fail:{}",
            failures.concat()
        ),
        help: Some(
            "`kiln build --keep-going` shows all of what they print; not every failure is for want of a grant"
                .to_owned(),
        ),
    })
}

fn given_lock(context: &Context, path: &Path) -> Result<GivenLock, DriverError> {
    let failed = |source| DriverError::File {
        path: path.to_owned(),
        verb: "read",
        source,
    };
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin()).map_err(failed)?
    } else {
        std::fs::read_to_string(context.directory.join(path)).map_err(failed)?
    };
    Ok(GivenLock {
        name: path.display().to_string(),
        text,
    })
}

fn diff(context: &Context, shell: &Shell, arguments: &DiffArgs) -> Result<ExitCode, DriverError> {
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

fn approve(
    context: &Context,
    shell: &Shell,
    arguments: &ApproveArgs,
) -> Result<ExitCode, DriverError> {
    let mut request = BuildRequest::new(Intent::Test);
    request.packages = PackageSelection::Workspace(Vec::new());
    request.features.all_features = true;
    request.platforms.clone_from(&arguments.target);
    configure(context, &mut request);
    let store = Arc::new(Store::open(&context.home)?);
    let mut view = FetchView::new(shell);
    let (named, dry_run) = (&arguments.crates, arguments.dry_run);
    let approved = approving::approve(context, &store, &request, named, dry_run, &mut view)?;
    view.end();
    for package in &approved.packages {
        let verb = if dry_run { "Unapproved" } else { "Approved" };
        shell.status(verb, &harmless_line(&package.to_string()));
    }
    if approved.packages.is_empty() {
        let path = approved.path.display();
        shell.status("Unchanged", &format!("nothing is missing in `{path}`"));
    }
    Ok(ExitCode::SUCCESS)
}

fn show(context: &Context, shell: &Shell, arguments: &ShowArgs) -> Result<ExitCode, DriverError> {
    let mut request = BuildRequest::new(Intent::Test);
    request.packages = PackageSelection::Workspace(Vec::new());
    request.features = features(&arguments.features);
    request.platforms.clone_from(&arguments.target);
    configure(context, &mut request);
    let mode = BuildMode::of(arguments.hermetic);
    let store = Arc::new(Store::open(&context.home)?);
    let mut view = FetchView::new(shell);
    let mut shown = policies::effective(context, &store, &request, mode, &mut view)?;
    view.end();
    let wanted = &arguments.crates;
    shown.packages.retain(|(id, _)| {
        wanted.is_empty() || wanted.iter().any(|name| id.name() == name.as_str())
    });
    match arguments.format {
        Format::Json => shell.line(&as_json(&shown)),
        Format::Human => print(shell, &shown, wanted),
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(shown: &Effective) -> String {
    let packages: Vec<serde_json::Value> = shown
        .packages
        .iter()
        .map(|(id, grants)| {
            serde_json::json!({
                "name": id.name(),
                "version": id.version().to_string(),
                "source": id.source().words(),
                "grants": grants,
            })
        })
        .collect();
    serde_json::json!({ "version": 1, "packages": packages, "unused": shown.unused }).to_string()
}

fn print(shell: &Shell, shown: &Effective, wanted: &[String]) {
    if shown.packages.is_empty() {
        let whom = if wanted.is_empty() {
            "no crate of this build"
        } else {
            "none of these"
        };
        shell.line(&format!("{whom} is granted anything"));
    }
    for (id, grants) in &shown.packages {
        shell.line(&harmless_line(&format!("{id} ({})", id.source().words())));
        for (what, granted) in grants.lists() {
            for (name, grant) in granted {
                shell.line(&harmless_line(&format!("  {what} {name}{}", told(grant))));
                for origin in &grant.origins {
                    let reason = origin.reason.as_deref().unwrap_or("no reason stated");
                    let line = format!("      {}, {}: {reason}", origin.file, origin.section);
                    shell.line(&harmless_line(&line));
                }
            }
        }
        for (name, (value, origin)) in &grants.set_env {
            shell.line(&harmless_line(&format!("  env {name}={value}")));
            let reason = origin.reason.as_deref().unwrap_or("no reason stated");
            let line = format!("      {}, {}: {reason}", origin.file, origin.section);
            shell.line(&harmless_line(&line));
        }
        for (name, value) in grants.bounds() {
            shell.line(&format!("  limit {name} {value}"));
        }
    }
    for section in &shown.unused {
        shell.note(&harmless_line(&format!(
            "`[{section}]` of `kiln.toml` is for no package of this build"
        )));
    }
}

fn told(grant: &Grant) -> &'static str {
    if grant.required {
        ""
    } else {
        " (if it is installed)"
    }
}
