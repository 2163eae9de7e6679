//! Shows a running build: status lines, diagnostics, progress, and cargo's JSON lines where they are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::cli::shell::{Shell, Verbosity};
use crate::diag::chain;
use crate::driver::Planned;
use crate::execute::outcome::Outcome;
use crate::execute::{ActionEvent, ActionFailure, Observer, Source};
use crate::message::MessageFormat;
use crate::message::cargo_json::{
    ArtifactProfile, BuildScriptExecuted, CompilerArtifact, CompilerMessage, Line, TargetObject,
};
use crate::message::rustc::{Level, Message};
use crate::message::text::{Styles, harmless, harmless_line};
use crate::plan::graph::{ActionIndex, ActionKind, OutputRole, Outputs};
use crate::unit::graph::{Mode, Unit};

/// What has been said of one action.
#[derive(Debug, Default)]
struct Said {
    warnings: usize,
    errors: usize,
    /// Warnings that another action had said already.
    duplicates: usize,
}

/// Shows a build on a [`Shell`].
pub(super) struct BuildView<'a> {
    shell: &'a Shell,
    planned: &'a Planned,
    format: MessageFormat,
    /// Below which each artifact is handed out.
    destination: PathBuf,
    announced: BTreeSet<(bool, String)>,
    /// What was shown of warnings and errors, so that what several targets have in common is shown once.
    shown: BTreeSet<String>,
    said: BTreeMap<ActionIndex, Said>,
    /// What actions that failed were denied.
    explained: BTreeMap<ActionIndex, String>,
    running: Vec<ActionIndex>,
    finished: usize,
    /// Whether something failed.
    failed: bool,
}

impl<'a> BuildView<'a> {
    /// A view of the build of `planned`, whose artifacts go below `destination`.
    pub(super) fn new(
        shell: &'a Shell,
        planned: &'a Planned,
        format: MessageFormat,
        destination: PathBuf,
    ) -> Self {
        Self {
            shell,
            planned,
            format,
            destination,
            announced: BTreeSet::new(),
            shown: BTreeSet::new(),
            said: BTreeMap::new(),
            explained: BTreeMap::new(),
            running: Vec::new(),
            finished: 0,
            failed: false,
        }
    }

    fn unit(&self, action: ActionIndex) -> &'a Unit {
        let planned = self.planned;
        planned.units.unit(planned.graph.action(action).unit)
    }

    /// `serde v1.0.219`, with the path of a package of the workspace.
    fn package(&self, unit: &Unit) -> String {
        let package = &self.planned.packages[&unit.package];
        if unit.package.source().is_path() {
            format!("{} ({})", unit.package, package.root().display())
        } else {
            unit.package.to_string()
        }
    }

    fn announce(&mut self, verb: &str, action: ActionIndex) {
        let unit = self.unit(action);
        let package = self.package(unit);
        if unit.mode != Mode::RunCustomBuild
            && self
                .announced
                .insert((unit.mode == Mode::Doc, package.clone()))
        {
            self.shell.status(verb, &package);
        }
    }

    /// Shows a line of rustc's standard error.
    fn line(&mut self, action: ActionIndex, line: &[u8]) {
        match Message::parse(line) {
            Message::Diagnostic(diagnostic) => {
                let summary = diagnostic.is_summary();
                let said = self.said.entry(action).or_default();
                match diagnostic.level {
                    Level::Error | Level::InternalError if !summary => said.errors += 1,
                    Level::Warning if !summary => said.warnings += 1,
                    _ => {}
                }
                let unit = self.unit(action);
                let package = &self.planned.packages[&unit.package];
                let prefix = format!("{}/", self.planned.layout.prefix());
                let diagnostic = diagnostic.with_paths(&|path| {
                    let place = self.planned.host_path(path)?;
                    path.starts_with(&prefix)
                        .then(|| place.display().to_string())
                });
                // kiln counts for itself, as cargo does.
                if summary {
                    return;
                }
                if let MessageFormat::Json {
                    render_diagnostics: false,
                    ansi,
                    ..
                } = self.format
                {
                    let message = CompilerMessage {
                        package_id: self.planned.package_id_spec(&unit.package),
                        manifest_path: package.manifest_path.display().to_string(),
                        target: TargetObject::from(&*unit.target),
                        message: diagnostic.cargo_json(ansi),
                    };
                    self.shell.line(&Line::CompilerMessage(message).to_json());
                } else if self.shell.verbosity() > Verbosity::Quiet || self.said[&action].errors > 0
                {
                    let shown = diagnostic.shown(self.shell.has_colors());
                    let is_warning = diagnostic.level == Level::Warning;
                    if self.shown.insert(shown.clone()) {
                        self.shell.rendered(&format!("{shown}\n"));
                    } else if is_warning && let Some(said) = self.said.get_mut(&action) {
                        said.duplicates += 1;
                    }
                }
            }
            Message::Text(text) => self
                .shell
                .rendered(&harmless(text.as_bytes(), Styles::Strip)),
            Message::Artifact { .. }
            | Message::FutureIncompat(_)
            | Message::UnusedExtern { .. }
            | Message::Other(_) => {}
        }
    }

    /// The line that counts an action's warnings.
    fn summary_of_warnings(&self, action: ActionIndex) {
        let Some(said) = self.said.get(&action) else {
            return;
        };
        if said.warnings > 0 && said.errors == 0 && self.format.renders_diagnostics() {
            let unit = self.unit(action);
            let count = if said.warnings == 1 {
                "1 warning".to_owned()
            } else {
                format!("{} warnings", said.warnings)
            };
            let duplicates = match said.duplicates {
                0 => String::new(),
                1 => " (1 duplicate)".to_owned(),
                count => format!(" ({count} duplicates)"),
            };
            self.shell.warning(&format!(
                "`{}` ({}) generated {count}{duplicates}",
                unit.package.name(),
                target_name(unit)
            ));
        }
    }

    fn build_script_warnings(&self, unit: &Unit, outcome: &Outcome) {
        let Some(directives) = &outcome.directives else {
            return;
        };
        if !unit.package.source().is_path() && self.shell.verbosity() < Verbosity::VeryVerbose {
            return;
        }
        for warning in directives.warnings() {
            self.shell.warning(&format!(
                "{}@{}: {}",
                unit.package.name(),
                unit.package.version(),
                harmless_line(warning)
            ));
        }
    }

    fn json_artifact(&self, action: ActionIndex, outcome: &Outcome, source: Source) {
        let unit = self.unit(action);
        let planned = self.planned.graph.action(action);
        let package_id = self.planned.package_id_spec(&unit.package);
        let line = match (&planned.outputs, &outcome.directives) {
            (Outputs::OutDir, Some(directives)) => Line::BuildScriptExecuted(BuildScriptExecuted {
                package_id,
                linked_libs: directives.library_links.clone(),
                linked_paths: directives.library_paths.clone(),
                cfgs: directives.cfgs.clone(),
                env: directives.env.clone(),
                out_dir: self.planned.out_dir_for_user(outcome).display().to_string(),
            }),
            (Outputs::Files(files), _) => {
                // Of what is for debuggers nobody is told, as under cargo.
                let is_told = |name: &str| {
                    let file = files.iter().find(|file| file.name == name);
                    file.is_none_or(|file| file.role != OutputRole::DebugInfo)
                };
                let artifacts: Vec<_> = self
                    .planned
                    .graph
                    .artifacts
                    .iter()
                    .filter(|artifact| artifact.action == action && is_told(&artifact.output))
                    .collect();
                let place = |artifact: &crate::plan::graph::Artifact| {
                    self.planned
                        .artifact_path(&self.destination, artifact)
                        .display()
                        .to_string()
                };
                let filenames = if artifacts.is_empty() {
                    let mut paths = self.planned.output_paths_for_user(outcome);
                    paths.retain(|path| is_told(path.rsplit('/').next().unwrap_or(path)));
                    paths
                } else {
                    artifacts.iter().map(|artifact| place(artifact)).collect()
                };
                Line::CompilerArtifact(CompilerArtifact {
                    package_id,
                    manifest_path: self.planned.packages[&unit.package]
                        .manifest_path
                        .display()
                        .to_string(),
                    target: TargetObject::from(&*unit.target),
                    profile: ArtifactProfile::new(&unit.profile, unit.mode),
                    features: unit.features.iter().map(ToString::to_string).collect(),
                    filenames,
                    executable: artifacts
                        .iter()
                        .find(|artifact| artifact.executable)
                        .map(|artifact| place(artifact)),
                    fresh: source == Source::Cache,
                })
            }
            _ => return,
        };
        self.shell.line(&line.to_json());
    }

    /// What an action may have wanted in vain, and how to grant it.
    fn hints(&self, unit: &Unit, failure: &ActionFailure) -> Option<String> {
        let ActionFailure::Process(process) = failure else {
            return None;
        };
        let printed = [&process.stdout, &process.stderr]
            .map(|bytes| harmless(bytes, Styles::Strip))
            .concat();
        let mut hints = self.planned.missing_surroundings(&unit.package, &printed);
        if unit.mode == Mode::RunCustomBuild {
            hints.extend(self.planned.policy.hints(&unit.package, &printed));
        }
        let hints: Vec<String> = hints.iter().map(ToString::to_string).collect();
        (!hints.is_empty()).then(|| hints.join("\n"))
    }

    /// Says how the build ended, where JSON is asked for.
    pub(super) fn end(&self, success: bool) {
        self.shell.clear_progress();
        if self.format.is_json() {
            self.shell.line(&Line::BuildFinished { success }.to_json());
        }
    }
}

impl Observer for BuildView<'_> {
    fn started(&mut self, action: ActionIndex) {
        let unit = self.unit(action);
        let verb = match unit.mode {
            Mode::Check { .. } => "Checking",
            Mode::Doc => "Documenting",
            _ => "Compiling",
        };
        self.announce(verb, action);
        if self.planned.graph.action(action).kind == ActionKind::RunBuildScript {
            self.shell
                .verbose_status("Running", &self.planned.graph.action(action).label);
        }
        self.running.push(action);
    }

    fn event(&mut self, action: ActionIndex, event: ActionEvent) {
        match event {
            ActionEvent::Line(line) => self.line(action, &line),
            ActionEvent::Explained(explained) => {
                self.explained.insert(action, explained.text);
            }
        }
    }

    fn finished(&mut self, action: ActionIndex, outcome: &Outcome, source: Source) {
        self.finished += 1;
        self.running.retain(|running| *running != action);
        let unit = self.unit(action);
        if source == Source::Cache {
            if self.shell.verbosity() > Verbosity::Normal {
                self.announce("Fresh", action);
            }
            // What it warned about when it ran is as true as it was then.
            if let Some(stderr) = outcome.stderr
                && self.planned.graph.action(action).kind == ActionKind::Rustc
                && let Some(lines) = self.planned.stored_output(&stderr)
            {
                lines
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty())
                    .for_each(|line| {
                        self.line(action, line);
                    });
            }
        }
        self.build_script_warnings(unit, outcome);
        self.summary_of_warnings(action);
        if self.format.is_json() {
            self.json_artifact(action, outcome, source);
        }
    }

    fn failed(&mut self, action: ActionIndex, failure: &ActionFailure, still_running: usize) {
        self.running.retain(|running| *running != action);
        let unit = self.unit(action);
        let mut report = crate::diag::Report::new("", failure).with_help(failure.help());
        report.causes.clear();
        if unit.mode == Mode::RunCustomBuild {
            report.message = format!("the build script of `{}` failed", unit.package);
            report.causes.push(describe(failure));
        } else {
            let said = self.said.entry(action).or_default();
            let counted = |count: usize, word: &str| match count {
                1 => format!("1 {word}"),
                count => format!("{count} {word}s"),
            };
            let mut message = format!(
                "could not compile `{}` ({})",
                unit.package.name(),
                target_name(unit)
            );
            if said.errors > 0 {
                message.push_str(&format!(
                    " due to {}",
                    counted(said.errors, "previous error")
                ));
            }
            if said.warnings > 0 {
                message.push_str(&format!("; {} emitted", counted(said.warnings, "warning")));
            }
            report.message = message;
            if said.errors == 0 {
                report.causes.push(describe(failure));
            }
        }
        report.help = report
            .help
            .or_else(|| self.explained.remove(&action))
            .or_else(|| self.hints(self.unit(action), failure));
        self.shell.report(&report);
        if !self.failed && still_running > 0 {
            self.shell
                .warning("build failed, waiting for other jobs to finish...");
        }
        self.failed = true;
    }

    fn progress(&mut self, running: usize, _queued: usize) {
        if running == 0 {
            return;
        }
        let names: Vec<String> = self
            .running
            .iter()
            .map(|action| self.unit(*action).target.crate_name())
            .collect();
        let total = self.planned.graph.actions.len() as u64;
        self.shell
            .progress("Building", self.finished as u64, total, &names.join(", "));
    }
}

/// A failure and its causes in one text, what the process printed included and made harmless.
pub(super) fn describe(failure: &ActionFailure) -> String {
    let mut text = chain(failure);
    match failure {
        ActionFailure::Process(process) => {
            for (name, bytes) in [("stdout", &process.stdout), ("stderr", &process.stderr)] {
                let shown = harmless(bytes, Styles::Strip);
                if !shown.trim().is_empty() {
                    text.push_str(&format!("\n--- {name}\n{}", shown.trim_end()));
                }
            }
        }
        ActionFailure::ScriptErrors { errors } => {
            for error in errors {
                text.push_str(&format!("\n{}", harmless_line(error)));
            }
        }
        _ => {}
    }
    text
}

/// As cargo names a target in its summaries: `lib`, `bin "name"`, `lib test`.
fn target_name(unit: &Unit) -> String {
    use crate::manifest::model::TargetKind;
    let name = &unit.target.name;
    let base = match &unit.target.kind {
        TargetKind::Lib(_) => "lib".to_owned(),
        TargetKind::Bin => format!("bin \"{name}\""),
        TargetKind::Test => format!("test \"{name}\""),
        TargetKind::Bench => format!("bench \"{name}\""),
        TargetKind::ExampleBin | TargetKind::ExampleLib(_) => format!("example \"{name}\""),
        TargetKind::CustomBuild => "build script".to_owned(),
    };
    match unit.mode {
        Mode::Test | Mode::Check { test: true }
            if !(unit.target.is_test() || unit.target.is_bench()) =>
        {
            format!("{base} test")
        }
        Mode::Doc => format!("{base} doc"),
        _ => base,
    }
}
