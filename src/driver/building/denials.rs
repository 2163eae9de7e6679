//! What an action that failed was denied, whether granting it helps, and the command that grants it.
//!
//! What the action wanted is read from the trace of it ([`crate::policy::Policy::denials`]); whether that is on the machine is
//! looked up here. Then it is tried: the action is run again with what could be granted, one thing after the other, until
//! it goes well. So what is proposed makes the action pass; where nothing does, this says so and proposes nothing. What a
//! trial leaves is thrown away, and it cannot tell anybody what it saw: it has no network, its output is not shown, and it
//! shares no jobserver. Nothing private is tried (`/home`, `/root`, `/etc`), and no variable of the environment whose name the
//! action did not print.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::driver::Planned;
use crate::driver::inputs::granting::system_grants;
use crate::driver::inputs::surroundings::Question;
use crate::driver::toolchains::system_search;
use crate::execute::tracing::{Amendment, Failed, Traced};
use crate::execute::{ActionFailure, Explained};
use crate::message::text::harmless_line;
use crate::package::PackageId;
use crate::plan::graph::{ActionKind, PlannedAction};
use crate::policy::{Advice, Denial, Grants, Host, Place, Wanted};
use crate::toolchain::SYSTEM_SEARCH;
use crate::toolchain::c::{SystemGrants, system_tree};

/// No more trials than these, and none after this time.
const MOST_TRIALS: usize = 12;
const MOST_TIME: Duration = Duration::from_secs(120);
/// More denials than these are not told of one action.
const MOST_TOLD: usize = 5;
/// No more of what was printed is looked at: its end, where errors are.
const MOST_BYTES: usize = 64 << 10;

/// Variables that everybody has and that change nothing of what is built.
const ORDINARY: [&str; 14] = [
    "COLORTERM",
    "DISPLAY",
    "HOME",
    "HOSTNAME",
    "LANG",
    "LOGNAME",
    "MAIL",
    "PATH",
    "PWD",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "SHELL",
    "TERM",
    "USER",
];

/// Whether a variable of the user's may be what an action lacks that names it.
fn is_telling(name: &str) -> bool {
    name.len() > 2 && !ORDINARY.contains(&name)
}

/// The variables that a failed action may have lacked, if it names one.
pub(super) fn telling(variables: &BTreeMap<String, String>) -> BTreeSet<String> {
    let telling = variables.keys().filter(|name| is_telling(name));
    telling.cloned().collect()
}

/// Explains failed actions of a plan.
pub(in crate::driver) struct Explainer<'a> {
    pub(in crate::driver) planned: &'a Planned,
}

/// What came of an action that was denied something.
#[derive(Debug, Clone, Default)]
pub(in crate::driver) struct Explanation {
    /// What it was denied: with the grants that make it pass, these; else the likeliest.
    pub(in crate::driver) denied: Vec<Advice>,
    /// What is known of the grants.
    pub(in crate::driver) verdict: Verdict,
}

/// Whether grants help.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::driver) enum Verdict {
    /// With what is told the action passes.
    Passes,
    /// With the first so many of it the action is not denied that any more, and still fails.
    Further(usize),
    /// With all that can be granted of it the action still fails.
    NotEnough,
    /// It was not tried.
    #[default]
    Untried,
}

impl Explainer<'_> {
    /// What `failed` was denied, in words, and what grants it.
    pub(in crate::driver) fn explain(&self, failed: &Failed<'_>) -> Option<Explained> {
        let explanation = self.find(failed)?;
        let package = &self.planned.units.unit(failed.bound.planned.unit).package;
        (!explanation.denied.is_empty()).then(|| Explained {
            text: explanation.in_words(package),
            grants: explanation.grants(),
        })
    }

    /// What `failed` was denied, tried.
    pub(in crate::driver) fn find(&self, failed: &Failed<'_>) -> Option<Explanation> {
        let action = failed.bound.planned;
        let package = self.planned.units.unit(action.unit).package.clone();
        let host = Machine::of(self.planned, action, &package);
        let mut wanted = match failed.traced {
            Some(traced) => self.wanted(traced, &host),
            None => Vec::new(),
        };
        let (stdout, stderr): (&[u8], Vec<u8>) = match failed.failure {
            ActionFailure::Process(process) => (&process.stdout, process.stderr.clone()),
            ActionFailure::ScriptErrors { errors } => (&[], errors.join("\n").into_bytes()),
            _ => (&[], Vec::new()),
        };
        wanted.extend(self.variables(failed, stdout, &stderr));
        let search = Search {
            explainer: self,
            failed,
            package: &package,
            host: &host,
            base: self.base(action),
            deadline: Instant::now() + MOST_TIME,
            trials: 0,
        };
        Some(search.run(wanted))
    }

    fn wanted(&self, traced: &Traced, host: &Machine<'_>) -> Vec<Wanted> {
        let denials: Vec<Denial> = self.planned.policy.denials(&traced.trace, host);
        denials.into_iter().map(|denial| denial.wanted).collect()
    }

    /// What the action sees of the machine already, as a selection to add to. `None` if nothing can be added.
    fn base(&self, action: &PlannedAction) -> Option<SystemGrants> {
        let known = self.planned.granted_systems.iter();
        let known = known.rev().find(|(_, tree)| *tree == action.system.digest);
        match known {
            Some((selection, _)) => Some(selection.clone()),
            // A compiler that links nothing sees less.
            None if action.kind != ActionKind::RunBuildScript => Some(SystemGrants::default()),
            None => {
                (self.planned.c.system.tree == action.system.digest).then(SystemGrants::default)
            }
        }
    }

    /// Variables of the user's that the action does not have, and whose names are in what it said when it failed.
    fn variables(&self, failed: &Failed<'_>, stdout: &[u8], stderr: &[u8]) -> Vec<Wanted> {
        let said = [stderr, b"\n", stdout].concat();
        let from = said.len().saturating_sub(MOST_BYTES);
        let said = String::from_utf8_lossy(&said[from..]).into_owned();
        let asked = String::from_utf8_lossy(stdout).into_owned();
        let mut found: Vec<String> = Vec::new();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut consider = |name: &str| {
            let is_theirs = is_telling(name) && self.planned.variables.contains_key(name);
            if is_theirs
                && !failed.bound.environment.contains_key(name)
                && !found.iter().any(|known| known == name)
            {
                found.push(name.to_owned());
            }
        };
        // In the error itself first; what the script declares to depend on is asked for on every run.
        let error_lines = said
            .lines()
            .filter(|line| !line.contains("rerun-if-env-changed"));
        for line in error_lines {
            line.split(|c| !is_name(c)).for_each(&mut consider);
        }
        for line in asked.lines() {
            if let Some((_, name)) = line.split_once("rerun-if-env-changed=") {
                consider(name.trim());
            }
        }
        found.into_iter().map(Wanted::Variable).collect()
    }
}

/// Looks for grants that let one action pass.
struct Search<'a, 'b> {
    explainer: &'a Explainer<'a>,
    failed: &'a Failed<'b>,
    package: &'a PackageId,
    host: &'a Machine<'a>,
    base: Option<SystemGrants>,
    deadline: Instant,
    trials: usize,
}

/// What came of trying.
enum Tried {
    Passes,
    Fails(Vec<Wanted>),
    /// It cannot be tried.
    Impossible,
}

impl Search<'_, '_> {
    fn run(mut self, first: Vec<Wanted>) -> Explanation {
        let mut current = first.clone();
        let mut granted: Vec<Wanted> = Vec::new();
        let mut dismissed: BTreeSet<Wanted> = BTreeSet::new();
        let mut is_tried = false;
        loop {
            let next = current
                .iter()
                .find(|one| {
                    !dismissed.contains(one) && !granted.contains(one) && self.can_grant(one)
                })
                .cloned();
            let Some(next) = next else {
                // Perhaps two of those that did not help alone do so together.
                let all: Vec<Wanted> = first
                    .iter()
                    .filter(|one| self.can_grant(one))
                    .cloned()
                    .collect();
                if all.len() < 2 || granted.len() >= all.len() {
                    break;
                }
                if let Tried::Passes = self.try_with(&all) {
                    return self.passes(all);
                }
                break;
            };
            if self.is_over() {
                break;
            }
            let mut with = granted.clone();
            with.push(next.clone());
            match self.try_with(&with) {
                Tried::Passes => return self.passes(with),
                Tried::Fails(wanted) => {
                    is_tried = true;
                    // It got further if it does not ask for this any more. What only seemed to help is left out in the end.
                    if wanted.contains(&next) {
                        dismissed.insert(next);
                    } else {
                        granted = with;
                        current = wanted;
                    }
                }
                Tried::Impossible => {
                    dismissed.insert(next);
                }
            }
        }
        // What it went on with, and where it stopped then. That a compiler's error has the name of a variable in it means
        // nothing, unless that helps.
        let mut told = granted.clone();
        let is_compiler = self.is_compiler();
        for one in current.into_iter().chain(first) {
            let is_word = is_compiler && matches!(one, Wanted::Variable(_));
            if !told.contains(&one) && !is_word {
                told.push(one);
            }
        }
        Explanation {
            denied: self.advise(&told),
            verdict: match (is_tried, granted.len()) {
                (false, _) => Verdict::Untried,
                (true, 0) => Verdict::NotEnough,
                (true, further) => Verdict::Further(further),
            },
        }
    }

    fn is_over(&self) -> bool {
        self.trials >= MOST_TRIALS || Instant::now() > self.deadline
    }

    /// Leaves out of `granted` what the action passes without.
    fn passes(mut self, mut granted: Vec<Wanted>) -> Explanation {
        let mut index = 0;
        // The last one is what made it pass.
        while granted.len() > 1 && index + 1 < granted.len() && !self.is_over() {
            let mut fewer = granted.clone();
            fewer.remove(index);
            match self.try_with(&fewer) {
                Tried::Passes => granted = fewer,
                _ => index += 1,
            }
        }
        Explanation {
            denied: self.advise(&granted),
            verdict: Verdict::Passes,
        }
    }

    fn advise(&self, wanted: &[Wanted]) -> Vec<Advice> {
        let policy = &self.explainer.planned.policy;
        let says_something = wanted.iter().any(|one| !is_weak(one));
        wanted
            .iter()
            .filter(|one| !says_something || !is_weak(one))
            .take(MOST_TOLD)
            .map(|one| {
                let mut advice = policy.explain(&self.host.owner(one), one.as_denied());
                if !self.can_grant(one) && !matches!(one, Wanted::Workspace(_)) {
                    if advice.grant.is_some() && !self.may_run() {
                        advice.note = Some(
                            "grants of programs and files are for build scripts and for the workspace's own packages: a \
                             compiler of another crate and the macros in it get libraries to link, and variables"
                                .to_owned(),
                        );
                    }
                    advice.grant = None;
                    advice.command = None;
                }
                advice
            })
            .collect()
    }

    fn is_compiler(&self) -> bool {
        self.failed.bound.planned.kind != ActionKind::RunBuildScript
    }

    /// Whether grants of programs and files count for the action.
    fn may_run(&self) -> bool {
        !self.is_compiler() || self.explainer.planned.workspace().is_member(self.package)
    }

    /// Whether there is a grant of `wanted` for this action that can be tried.
    fn can_grant(&self, wanted: &Wanted) -> bool {
        let is_grantable = match wanted {
            Wanted::Library(_) | Wanted::Link(_) => self.base.is_some(),
            Wanted::Variable(name) => !is_secret(name),
            Wanted::Read(path) => self.may_run() && self.base.is_some() && is_public(path),
            Wanted::Program(_) | Wanted::Bundle(_) => self.may_run() && self.base.is_some(),
            Wanted::WriteSource(_) => !self.is_compiler(),
            _ => false,
        };
        is_grantable && self.grants_of(wanted).is_some()
    }

    fn grants_of(&self, wanted: &Wanted) -> Option<Grants> {
        let policy = &self.explainer.planned.policy;
        let advice = policy.explain(self.package, wanted.as_denied());
        policy.grants_by(self.package, &advice.grant?)
    }

    fn try_with(&mut self, with: &[Wanted]) -> Tried {
        self.trials += 1;
        match self
            .amendment(with)
            .and_then(|amendment| (self.failed.again)(&amendment))
        {
            Some(trial) if trial.passed => Tried::Passes,
            Some(trial) => {
                let explainer = self.explainer;
                let mut wanted = explainer.wanted(&trial.traced, self.host);
                wanted.extend(explainer.variables(self.failed, &trial.stdout, &trial.stderr));
                // That it declares to depend on one that it has says nothing; that it still names it when it fails does.
                let said = String::from_utf8_lossy(&trial.stderr);
                wanted.retain(|one| match one {
                    Wanted::Variable(name) => !with.contains(one) || said.contains(name.as_str()),
                    _ => true,
                });
                Tried::Fails(wanted)
            }
            None => Tried::Impossible,
        }
    }

    fn amendment(&self, wanted: &[Wanted]) -> Option<Amendment> {
        let planned = self.explainer.planned;
        let action = self.failed.bound.planned;
        let mut grants = Grants::default();
        for one in wanted {
            grants.extend(&self.grants_of(one)?);
        }
        let added = system_grants(&grants);
        let mut system = planned.systems.get(&action.system).cloned()?;
        let mut variables = BTreeMap::new();
        if added != SystemGrants::default() {
            let mut selection = self.base.clone()?;
            for (mine, more) in [
                (&mut selection.programs, added.programs),
                (
                    &mut selection.programs_if_present,
                    added.programs_if_present,
                ),
                (&mut selection.paths, added.paths),
                (&mut selection.paths_if_present, added.paths_if_present),
                (&mut selection.pkg_config, added.pkg_config),
                (
                    &mut selection.pkg_config_if_present,
                    added.pkg_config_if_present,
                ),
                (&mut selection.libraries, added.libraries),
            ] {
                mine.extend(more);
                mine.sort();
                mine.dedup();
            }
            let search = system_search();
            system = system_tree(&planned.store, &planned.c, &selection, &search).ok()?;
            let programs = system.path_variable(&search);
            let path = format!("{}/bin:{programs}", planned.layout.toolchain());
            variables.insert("PATH".to_owned(), path);
        }
        for name in grants.env.keys() {
            variables.insert(name.clone(), planned.variables.get(name)?.clone());
        }
        for (name, (value, _)) in &grants.set_env {
            variables.insert(name.clone(), value.clone());
        }
        let mut scratch = action.scratch.clone();
        scratch.extend(grants.write.keys().cloned());
        scratch.sort();
        scratch.dedup();
        let surroundings = match grants.workspace.is_empty() {
            true => None,
            false => {
                let question = Question {
                    store: &planned.store,
                    workspace: planned.workspace(),
                    packages: &planned.packages,
                    units: &planned.units,
                    policy: &planned.policy,
                    layout: &planned.layout,
                };
                let seen = &planned.surroundings;
                let tree = seen.with(&question, self.package, &grants.workspace)?;
                Some((planned.layout.workspace(), tree))
            }
        };
        Some(Amendment {
            system,
            variables,
            scratch,
            surroundings,
        })
    }
}

/// What tells a user little beside something better.
fn is_weak(wanted: &Wanted) -> bool {
    matches!(
        wanted,
        Wanted::AbsentProgram(_) | Wanted::AbsentLibrary(_) | Wanted::Call(_)
    )
}

/// Whether a variable's value is one that is not even tried.
fn is_secret(name: &str) -> bool {
    [
        "TOKEN",
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "CREDENTIAL",
        "_KEY",
    ]
    .iter()
    .any(|word| name.to_uppercase().contains(word))
}

/// Where files are that may be tried without asking: what packages of the distribution install.
fn is_public(path: &str) -> bool {
    ["/usr/", "/lib/", "/lib64/", "/bin/", "/sbin/"]
        .iter()
        .any(|place| path.starts_with(place))
}

impl Explanation {
    /// For people.
    /// The sections that grant what helps, or may.
    fn grants(&self) -> Vec<String> {
        let helpful = match self.verdict {
            Verdict::Passes | Verdict::Untried => self.denied.len(),
            Verdict::Further(count) => count,
            Verdict::NotEnough => 0,
        };
        let denied = self.denied.iter().take(helpful);
        denied.filter_map(|advice| advice.grant.clone()).collect()
    }

    fn in_words(&self, package: &PackageId) -> String {
        let mut lines: Vec<String> = Vec::new();
        for advice in &self.denied {
            let mut line = harmless_line(&advice.what);
            if let Some(note) = &advice.note
                && (advice.grant.is_none() || self.verdict == Verdict::Untried)
            {
                line.push_str("; ");
                line.push_str(&harmless_line(note));
            }
            lines.push(line);
            if self.verdict == Verdict::Untried {
                lines.extend(how_to_grant(std::slice::from_ref(advice)));
            }
        }
        let name = package.name();
        match self.verdict {
            Verdict::Passes => {
                lines.extend(how_to_grant(&self.denied));
                lines.push("kiln has tried this: with it the action that failed passes".to_owned());
            }
            Verdict::Further(count) => {
                let granted = self.denied.get(..count).unwrap_or(&self.denied);
                let commands = one_command(granted).join("`, `");
                lines.push(format!(
                    "kiln has tried `{commands}`: `{name}` is not denied that any more and still fails, so it takes something \
                     besides"
                ));
            }
            Verdict::NotEnough => lines.push(format!(
                "kiln has tried to grant what can be granted of it: `{name}` fails as before, so the cause is another one"
            )),
            Verdict::Untried => {}
        }
        lines.join("\n")
    }
}

/// The commands and lines that grant what is advised.
fn how_to_grant(denied: &[Advice]) -> Vec<String> {
    let mut lines: Vec<String> = one_command(denied)
        .into_iter()
        .map(|command| format!("to grant it: {command}"))
        .collect();
    for advice in denied.iter().filter(|advice| advice.command.is_none()) {
        if let Some(grant) = &advice.grant {
            lines.push(format!(
                "to grant it, add to `kiln.toml`:\n{}",
                grant.trim_end()
            ));
        }
    }
    lines
}

/// The commands of several pieces of advice, one for each crate.
fn one_command(denied: &[Advice]) -> Vec<String> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for command in denied.iter().filter_map(|advice| advice.command.as_ref()) {
        let mut words = command.splitn(5, ' ');
        let start: Vec<&str> = words.by_ref().take(4).collect();
        let start = start.join(" ");
        let rest = words.next().unwrap_or_default().to_owned();
        match commands.iter_mut().find(|(known, _)| *known == start) {
            Some((_, flags)) if !flags.contains(&rest) => flags.push(rest),
            Some(_) => {}
            None => commands.push((start, vec![rest])),
        }
    }
    commands
        .into_iter()
        .map(|(start, flags)| format!("{start} {}", flags.join(" ")))
        .collect()
}

/// The machine, as one action's paths lead to it.
struct Machine<'a> {
    planned: &'a Planned,
    action: &'a PlannedAction,
    package: &'a PackageId,
    /// Where the action sees its package.
    own: String,
}

impl<'a> Machine<'a> {
    fn of(planned: &'a Planned, action: &'a PlannedAction, package: &'a PackageId) -> Self {
        Self {
            planned,
            action,
            package,
            own: action
                .environment
                .get("CARGO_MANIFEST_DIR")
                .cloned()
                .unwrap_or_else(|| action.directory.to_string()),
        }
    }

    /// Which package a grant of `wanted` belongs to: of a library the one that is there to link it.
    fn owner(&self, wanted: &Wanted) -> PackageId {
        let (Wanted::Library(name) | Wanted::Link(name)) = wanted else {
            return self.package.clone();
        };
        if self.action.kind == ActionKind::RunBuildScript {
            return self.package.clone();
        }
        let links = |links: &str| links == name || library_links(name).contains(&links);
        self.planned
            .packages
            .iter()
            .find(|(_, package)| package.summary.links.as_deref().is_some_and(links))
            .map_or_else(|| self.package.clone(), |(id, _)| id.clone())
    }
}

/// `links` of packages that pkg-config's library `name` is for, where they are not the same.
fn library_links(name: &str) -> Vec<&str> {
    let bare = name.strip_prefix("lib").unwrap_or(name);
    vec![
        bare,
        bare.trim_end_matches(|c: char| c.is_ascii_digit() || "-.".contains(c)),
    ]
}

/// Where pkg-config's files are, `*` for one directory.
const PKG_CONFIG: [&str; 7] = [
    "/usr/lib/*/pkgconfig",
    "/usr/lib/pkgconfig",
    "/usr/lib64/pkgconfig",
    "/usr/share/pkgconfig",
    "/usr/local/lib/*/pkgconfig",
    "/usr/local/lib/pkgconfig",
    "/usr/local/share/pkgconfig",
];

fn pkg_config_directories() -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for pattern in PKG_CONFIG {
        match pattern.split_once("/*/") {
            Some((above, below)) => {
                let entries = std::fs::read_dir(above).into_iter().flatten().flatten();
                let mut directories: Vec<_> =
                    entries.map(|entry| entry.path().join(below)).collect();
                directories.sort();
                found.extend(directories);
            }
            None => found.push(pattern.into()),
        }
    }
    found.retain(|path| path.is_dir());
    found
}

impl Host for Machine<'_> {
    fn place(&self, path: &str) -> Place {
        let beneath = |root: &str| {
            let rest = path.strip_prefix(root)?;
            match rest.strip_prefix('/') {
                Some(below) => Some(below.to_owned()),
                None => rest.is_empty().then(String::new),
            }
        };
        let layout = &self.planned.layout;
        let own = [
            self.action.output_directory.as_str(),
            self.action.temporary_directory.as_str(),
            "/tmp",
            "/proc",
            "/dev",
            "/sys",
        ];
        if own.iter().any(|root| beneath(root).is_some()) {
            return Place::Own;
        }
        let of_workspace = beneath(layout.workspace().as_str());
        if let Some(below) = beneath(&self.own) {
            // The directory of a repository is no input, whoever's it is.
            return match (below.split('/').next(), of_workspace) {
                (Some(".git"), Some(path)) => Place::Workspace(path),
                _ => Place::Package(below),
            };
        }
        if let Some(below) = of_workspace {
            return Place::Workspace(below);
        }
        match beneath(layout.prefix().as_str()) {
            Some(_) => Place::Input,
            None => Place::Machine,
        }
    }

    fn exists(&self, path: &str) -> bool {
        std::fs::metadata(path).is_ok()
    }

    fn exists_in_workspace(&self, path: &str) -> bool {
        std::fs::metadata(self.planned.workspace().root.join(path)).is_ok()
    }

    fn has_program(&self, name: &str) -> bool {
        use std::os::unix::fs::PermissionsExt as _;
        SYSTEM_SEARCH.iter().any(|directory| {
            std::fs::metadata(Path::new(directory).join(name))
                .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
        })
    }

    fn has_library(&self, name: &str) -> bool {
        let file = format!("{name}.pc");
        pkg_config_directories()
            .iter()
            .any(|directory| directory.join(&file).is_file())
    }

    fn library_for_link(&self, name: &str) -> Option<String> {
        if let Some(library) = [name, &format!("lib{name}")]
            .into_iter()
            .find(|one| self.has_library(one))
        {
            return Some(library.to_owned());
        }
        // Others link it, too: it is the one that names it first.
        let flag = format!("-l{name}");
        pkg_config_directories().iter().find_map(|directory| {
            let mut files: Vec<_> = std::fs::read_dir(directory).ok()?.flatten().collect();
            files.sort_by_key(std::fs::DirEntry::file_name);
            files.iter().find_map(|file| {
                let path = file.path();
                let text = std::fs::read_to_string(&path).ok()?;
                let links = text
                    .lines()
                    .find_map(|line| line.strip_prefix("Libs:"))
                    .and_then(|line| line.split_whitespace().find(|word| word.starts_with("-l")))
                    .is_some_and(|word| word == flag);
                let library = path.file_name()?.to_str()?.strip_suffix(".pc")?;
                links.then(|| library.to_owned())
            })
        })
    }
}
