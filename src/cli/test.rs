//! `test` and `bench`: builds in the sandbox, then runs each program in a sandbox of its own.

use std::collections::BTreeMap;
use std::process::ExitCode;

use crate::cli::FAILURE;
use crate::cli::args::{BenchArgs, BuildArgs, TestArgs};
use crate::cli::compile::{Compilation, Compiled, request, unsupported};
use crate::cli::run::{quoted, shown};
use crate::cli::shell::{Shell, Verbosity};
use crate::cli::untrusted::Output;
use crate::diag::Report;
use crate::driver::building::repetition::Remembered;
use crate::driver::building::testing::{self, TestEnd, TestObserver, TestOptions};
use crate::driver::{Context, DriverError};
use crate::manifest::model::TargetKind;
use crate::plan::Tests;
use crate::plan::graph::PlannedAction;
use crate::sandbox::{Status, Stream};
use crate::unit::graph::{Mode, Unit};
use crate::unit::{BuildRequest, Intent, PackageSelection, TargetNames};

/// The user's variables that tests get without being told: they decide how tests are run and told, and name no secret.
const PASSED_ON: [&str; 6] = [
    "CI",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLUMNS",
    "NO_COLOR",
    "TERM",
];
/// The same, by how they begin.
const PASSED_ON_BEGINNINGS: [&str; 8] = [
    "CRITERION_",
    "INSTA_",
    "PROPTEST_",
    "QUICKCHECK_",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "RUST_LOG",
    "RUST_TEST_",
];

/// What `test` and `bench` have in common.
struct Kind<'a> {
    build: &'a BuildArgs,
    intent: Intent,
    name: Option<&'a String>,
    arguments: &'a [String],
    /// Arguments after the user's.
    last: &'static [&'static str],
    env: &'a [String],
    no_run: bool,
    no_fail_fast: bool,
    /// `test`, `bench`.
    word: &'static str,
    /// What programs of libraries and binaries are called with `--no-run`.
    executable: &'static str,
}

/// `kiln test`.
pub(super) fn test(
    context: &Context,
    shell: &Shell,
    arguments: &TestArgs,
) -> Result<ExitCode, DriverError> {
    let kind = Kind {
        build: &arguments.build,
        intent: if arguments.doc {
            Intent::Doctest
        } else {
            Intent::Test
        },
        name: arguments.name.as_ref(),
        arguments: &arguments.arguments,
        last: &[],
        env: &arguments.env,
        no_run: arguments.no_run,
        no_fail_fast: arguments.no_fail_fast,
        word: "test",
        executable: "unittests",
    };
    let mut request = kind.request(context)?;
    let is_specific = request.targets.is_specific();
    if arguments.doc {
        let conflict = |message: &str, help: &str| DriverError::Request {
            message: message.to_owned(),
            help: Some(help.to_owned()),
        };
        if is_specific {
            return Err(conflict(
                "can't mix --doc with other target selecting options",
                "leave out one or the other",
            ));
        }
        if arguments.no_run {
            return Err(conflict(
                "can't skip running doc tests with --no-run",
                "leave out one or the other: they are compiled when they are run",
            ));
        }
    } else if arguments.name.is_some() && !is_specific {
        request.targets.lib_if_any = true;
        request.targets.tests = TargetNames::all();
    }
    kind.run(context, shell, request)
}

/// `kiln bench`.
pub(super) fn bench(
    context: &Context,
    shell: &Shell,
    arguments: &BenchArgs,
) -> Result<ExitCode, DriverError> {
    if arguments.build.common.compile.release {
        return Err(unsupported(
            "--release",
            "the `bench` profile is an optimised one; name another with `--profile`",
        ));
    }
    let kind = Kind {
        build: &arguments.build,
        intent: Intent::Bench,
        name: arguments.name.as_ref(),
        arguments: &arguments.arguments,
        last: &["--bench"],
        env: &arguments.env,
        no_run: arguments.no_run,
        no_fail_fast: arguments.no_fail_fast,
        word: "bench",
        executable: "benches",
    };
    let request = kind.request(context)?;
    kind.run(context, shell, request)
}

impl Kind<'_> {
    fn request(&self, context: &Context) -> Result<BuildRequest, DriverError> {
        if self.build.common.compile.work.keep_going {
            return Err(unsupported(
                "--keep-going",
                "to run as many tests as possible, use `--no-fail-fast`",
            ));
        }
        request(context, self.build, self.intent)
    }

    fn run(
        &self,
        context: &Context,
        shell: &Shell,
        request: BuildRequest,
    ) -> Result<ExitCode, DriverError> {
        let arguments: Vec<String> = self
            .name
            .into_iter()
            .chain(self.arguments)
            .cloned()
            .chain(self.last.iter().map(|&argument| argument.to_owned()))
            .collect();
        let selection = request.packages.clone();
        let mut compilation = Compilation::new(context, shell, self.build, request)?;
        compilation.options.tests = Some(Tests {
            arguments: arguments.clone(),
            quiet: shell.verbosity() == Verbosity::Quiet,
            color: if shell.has_colors() { "auto" } else { "never" },
            environment: self.environment(context)?,
            workspace: None,
        });
        let isolation = compilation.isolation;
        let prints_json = compilation.format.is_json();
        if self.no_run {
            let executables = compilation.run_or_recall(&context.arguments, |compiled| {
                let runs = &compiled.planned.graph.runs;
                let all: Vec<String> = runs
                    .iter()
                    .map(|run| executable(context, compiled, run, self.executable))
                    .collect();
                Ok(Remembered::new(all))
            })?;
            if !prints_json {
                for what in &executables {
                    shell.status("Executable", what);
                }
            }
            return Ok(ExitCode::SUCCESS);
        }
        let compiled = compilation.run()?;
        let mut view = View {
            context,
            shell,
            compiled: &compiled,
            kind: self,
            selection: &selection,
            capturing: !arguments
                .iter()
                .any(|argument| argument == "--nocapture" || argument == "--no-capture"),
            stdout: Output::stdout(shell.has_colors()),
            stderr: Output::stderr(shell.has_colors()),
            failed: Vec::new(),
        };
        testing::run(
            &compiled.planned,
            &compiled.built,
            &mut view,
            &TestOptions {
                isolation,
                hermetic: self.build.common.hermetic.hermetic,
                interrupted: &compiled.interrupted,
            },
        )?;
        Ok(view.end())
    }

    /// What tests get of the user's environment.
    fn environment(&self, context: &Context) -> Result<BTreeMap<String, String>, DriverError> {
        let mut environment: BTreeMap<String, String> = context
            .variables
            .iter()
            .filter(|(name, _)| {
                PASSED_ON.contains(&name.as_str())
                    || PASSED_ON_BEGINNINGS
                        .iter()
                        .any(|beginning| name.starts_with(beginning))
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        for given in self.env {
            let (name, value) = match given.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (given.as_str(), context.variables.get(given).cloned()),
            };
            if name.is_empty() || given.contains('\0') {
                return Err(DriverError::Request {
                    message: format!("`--env {given}` names no variable"),
                    help: Some("say `--env NAME` or `--env NAME=VALUE`".to_owned()),
                });
            }
            if let Some(value) = value {
                environment.insert(name.to_owned(), value);
            }
        }
        Ok(environment)
    }
}

/// `unittests src/lib.rs (target/kiln/debug/deps/…)`
fn executable(context: &Context, compiled: &Compiled, run: &PlannedAction, kind: &str) -> String {
    let planned = &compiled.planned;
    let unit = planned.units.unit(run.unit);
    let root = planned.packages[&unit.package].root();
    let source = unit
        .target
        .src_path
        .strip_prefix(root)
        .unwrap_or(&unit.target.src_path)
        .display();
    let path = planned
        .graph
        .artifacts
        .iter()
        .find(|artifact| planned.graph.action(artifact.action).unit == run.unit)
        .map(|artifact| planned.artifact_path(&compiled.destination, artifact))
        .unwrap_or_default();
    let path = path
        .strip_prefix(&context.directory)
        .unwrap_or(&path)
        .display();
    match unit.target.kind {
        TargetKind::Test | TargetKind::Bench => format!("{source} ({path})"),
        _ => format!("{kind} {source} ({path})"),
    }
}

/// Shows tests as cargo does.
struct View<'a> {
    context: &'a Context,
    shell: &'a Shell,
    compiled: &'a Compiled,
    kind: &'a Kind<'a>,
    selection: &'a PackageSelection,
    /// Whether the test harness keeps to itself what passing tests print.
    capturing: bool,
    stdout: Output,
    stderr: Output,
    /// The flags that run each target that failed, and its status where it ended by itself.
    failed: Vec<(String, Option<u8>)>,
}

impl View<'_> {
    fn unit(&self, run: &PlannedAction) -> &Unit {
        self.compiled.planned.units.unit(run.unit)
    }

    /// The flags that select the unit alone.
    fn flags(&self, unit: &Unit) -> String {
        let workspace = self.compiled.planned.workspace();
        let one_of_many = match self.selection {
            PackageSelection::Default => workspace.default_members.len() > 1,
            PackageSelection::Workspace(_) => workspace.members.len() > 1,
            PackageSelection::Packages(_) | PackageSelection::Exclude(_) => true,
        };
        let package = if one_of_many {
            format!("-p {} ", unit.package.name())
        } else {
            String::new()
        };
        let name = &unit.target.name;
        let target = match (&unit.mode, &unit.target.kind) {
            (Mode::Doctest, _) => "--doc".to_owned(),
            (_, TargetKind::Lib(_)) => "--lib".to_owned(),
            (_, TargetKind::Bin) => format!("--bin {name}"),
            (_, TargetKind::Test) => format!("--test {name}"),
            (_, TargetKind::Bench) => format!("--bench {name}"),
            (_, TargetKind::ExampleBin | TargetKind::ExampleLib(_)) => format!("--example {name}"),
            (_, TargetKind::CustomBuild) => String::new(),
        };
        format!("{package}{target}")
    }

    /// cargo's exit status, with its last words where all tests were run.
    fn end(&self) -> ExitCode {
        let [(_, code), ..] = self.failed.as_slice() else {
            return ExitCode::SUCCESS;
        };
        if !self.kind.no_fail_fast {
            return ExitCode::from(code.unwrap_or(FAILURE));
        }
        let flags: Vec<String> = self
            .failed
            .iter()
            .map(|(flags, _)| format!("    `{flags}`"))
            .collect();
        let message = match flags.len() {
            1 => format!("1 target failed:\n{}", flags.join("\n")),
            count => format!("{count} targets failed:\n{}", flags.join("\n")),
        };
        self.shell.report(&Report::new("", &Words(message)));
        ExitCode::from(FAILURE)
    }
}

/// A message that is no error of anybody's.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Words(String);

impl TestObserver for View<'_> {
    fn started(&mut self, run: &PlannedAction) {
        let unit = self.unit(run);
        if unit.mode == Mode::Doctest {
            self.shell.status("Doc-tests", &unit.target.name);
        } else if self.shell.verbosity() > Verbosity::Normal {
            let words = run.arguments.iter().filter_map(|argument| match argument {
                crate::plan::graph::Argument::Text(text) => Some(quoted(text)),
                _ => None,
            });
            let program = shown(run.program.as_str().as_ref(), &self.context.directory);
            let command: Vec<String> = std::iter::once(program.display().to_string())
                .chain(words)
                .collect();
            self.shell
                .status("Running", &format!("`{}`", command.join(" ")));
        } else {
            let what = executable(self.context, self.compiled, run, "unittests");
            self.shell.status("Running", &what);
        }
        self.shell.clear_progress();
    }

    fn printed(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Stdout => self.stdout.write(bytes),
            Stream::Stderr => self.stderr.write(bytes),
        }
    }

    fn ended(&mut self, run: &PlannedAction, end: &TestEnd) -> bool {
        self.stdout.end();
        self.stderr.end();
        if end.success() {
            return true;
        }
        let unit = self.unit(run);
        let flags = self.flags(unit);
        let what = if unit.mode == Mode::Doctest {
            "doctest"
        } else {
            self.kind.word
        };
        let words = Words(format!("{what} failed, to rerun pass `{flags}`"));
        let mut report = Report::new("", &words);
        let code = match end {
            TestEnd::Ended(Status::Exited(code)) => u8::try_from(*code).ok(),
            _ => None,
        };
        match end {
            // What the test harness gives where a test fails.
            TestEnd::Ended(Status::Exited(101)) => {}
            TestEnd::Ended(status) => report.causes.push(format!(
                "process didn't exit successfully: `{}` ({})",
                run.program,
                crate::execute::failure::describe_status(*status)
            )),
            TestEnd::Stopped(failure) => {
                report.causes.push(crate::cli::observe::describe(failure));
                report.help = failure.help();
            }
        }
        self.shell.report(&report);
        if code.is_some_and(|code| code != FAILURE) && unit.target.harness && self.capturing {
            self.shell.note(
                "test exited abnormally; to see the full output pass --no-capture to the harness.",
            );
        }
        self.failed.push((flags, code));
        self.kind.no_fail_fast
    }
}
