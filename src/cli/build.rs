//! `build`, `check` and `plan`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::cli::args::{BuildArgs, CompileArgs, IsolationChoice, PlanArgs, PlanFormat, PlanMode};
use crate::cli::cache::describe;
use crate::cli::observe::BuildView;
use crate::cli::report::FetchView;
use crate::cli::shell::{Shell, Verbosity};
use crate::driver::planning::{self, PlanOptions};
use crate::driver::repetition::Question;
use crate::driver::{Context, DriverError, build as driver_build};
use crate::manifest::model::RequestedFeatures;
use crate::message::MessageFormat;
use crate::path::SandboxPath;
use crate::plan::layout::{CANONICAL_PREFIX, Layout};
use crate::plan::print;
use crate::policy::BuildMode;
use crate::sandbox::{Isolation, Limits};
use crate::store::Store;
use crate::unit::{BuildRequest, Intent, PackageSelection, TargetNames, TargetSelection};

/// `kiln build` and `kiln check`.
pub(super) fn build(
    context: &Context,
    shell: &Shell,
    arguments: &BuildArgs,
    check: bool,
) -> Result<ExitCode, DriverError> {
    let started = Instant::now();
    let intent = if check {
        Intent::Check { test: false }
    } else {
        Intent::Build
    };
    let request = request(context, arguments, intent)?;
    let format = message_format(&arguments.message_format)?;
    let isolation = isolation(arguments.hermetic.isolation)?;
    let hermetic = arguments.hermetic.hermetic;
    let jobs = jobs(context, arguments.compile.jobs.as_deref())?;
    let store = Arc::new(Store::open(&context.home)?);
    let options = PlanOptions {
        layout: layout(context, shell, isolation)?,
        rustc_json: format.rustc_json(),
        isolation,
        caps_lints: false,
        mode: if hermetic {
            BuildMode::Hermetic
        } else {
            BuildMode::Development
        },
    };
    // What else is printed names every action, or files in the store: then each action is looked at.
    let repeatable = format.renders_diagnostics() && shell.verbosity() <= Verbosity::Normal;
    let question = repeatable.then(|| {
        let shown = if shell.has_colors() {
            "colours"
        } else {
            "plain"
        };
        Question::ask(context, &store, &request.platforms, &options, shown)
    });
    if let Some((_, Some(repeated))) = &question {
        shell.tell_again(&repeated.told);
        let finished = Finished {
            started,
            request: &request,
            hermetic,
            isolation,
            executed: 0,
            actions: repeated.actions,
        };
        finished.show(shell, repeated.attestation.as_deref());
        return Ok(ExitCode::SUCCESS);
    }
    let mut view = FetchView::new(shell);
    let lowered = planning::lower(context, &store, &request, &mut view)?;
    view.end();
    let planned = planning::plan_actions(context, &store, lowered, &request, &options, &mut view)?;
    let target = target_directory(context, &arguments.compile, &planned.workspace().root);
    let destination = target.join("kiln");
    prepare_target(&target)?;
    let interrupted = interruption()?;
    let mut observer = BuildView::new(shell, &planned, format, destination.clone());
    let result = driver_build::run(
        &planned,
        &mut observer,
        &driver_build::BuildOptions {
            destination,
            jobs,
            keep_going: arguments.compile.keep_going,
            isolation,
            hermetic,
            limits: Limits::default(),
            interrupted: &interrupted,
            parameters: parameters(arguments, &request),
        },
    );
    observer.end(result.is_ok());
    for event in store.take_events() {
        shell.warning(&format!(
            "discarded from the store, and made again when it is needed: {}",
            describe(&event)
        ));
    }
    let built = result?;
    if let Some((question, _)) = question {
        let told = shell.told();
        question.answer(
            context,
            &request.platforms,
            &options,
            &planned,
            &built,
            told,
        );
    }
    let finished = Finished {
        started,
        request: &request,
        hermetic,
        isolation,
        executed: built.executed,
        actions: built.executed + built.cached,
    };
    finished.show(shell, built.attestation.as_deref());
    Ok(ExitCode::SUCCESS)
}

/// How a build ended.
struct Finished<'a> {
    started: Instant,
    request: &'a BuildRequest,
    hermetic: bool,
    isolation: Isolation,
    executed: usize,
    actions: usize,
}

impl Finished<'_> {
    fn show(&self, shell: &Shell, attestation: Option<&std::path::Path>) {
        let kind = if self.hermetic { "hermetic" } else { "daily" };
        let how = match self.isolation {
            Isolation::Full => "full isolation",
            Isolation::Landlock => "Landlock + seccomp isolation",
        };
        shell.status(
            "Finished",
            &format!(
                "`{}` profile in {:.2}s: {kind} build, {how}, {} of {} actions run",
                self.request.profile_name(),
                self.started.elapsed().as_secs_f64(),
                self.executed,
                self.actions,
            ),
        );
        if let Some(attestation) = attestation {
            shell.status("Attested", &attestation.display().to_string());
        }
    }
}

/// `kiln plan`.
pub(super) fn plan(
    context: &Context,
    shell: &Shell,
    arguments: &PlanArgs,
) -> Result<ExitCode, DriverError> {
    let intent = match arguments.mode {
        PlanMode::Build => Intent::Build,
        PlanMode::Check => Intent::Check { test: false },
        PlanMode::Test => Intent::Test,
        PlanMode::Bench => Intent::Bench,
        PlanMode::Doc => Intent::Doc { dependencies: true },
    };
    let request = request(context, &arguments.build, intent)?;
    let format = message_format(&arguments.build.message_format)?;
    let store = Arc::new(Store::open(&context.home)?);
    let mut view = FetchView::new(shell);
    let lowered = planning::lower(context, &store, &request, &mut view)?;
    view.end();
    if arguments.format == PlanFormat::UnitGraph {
        let json = crate::unit::json::unit_graph_json(&lowered.units).map_err(|error| {
            DriverError::Request {
                message: format!("the unit graph has no JSON form: {error}"),
                help: Some("rename files whose names are not UTF-8".to_owned()),
            }
        })?;
        shell.line(&json);
        return Ok(ExitCode::SUCCESS);
    }
    let isolation = isolation(arguments.build.hermetic.isolation)?;
    let options = PlanOptions {
        layout: layout(context, shell, isolation)?,
        rustc_json: format.rustc_json(),
        isolation,
        caps_lints: false,
        mode: if arguments.build.hermetic.hermetic {
            BuildMode::Hermetic
        } else {
            BuildMode::Development
        },
    };
    let planned = planning::plan_actions(context, &store, lowered, &request, &options, &mut view)?;
    let text = match arguments.format {
        PlanFormat::Dot => print::dot(&planned.graph),
        PlanFormat::Json | PlanFormat::UnitGraph => print::json(&planned.graph),
    };
    shell.line(text.trim_end());
    Ok(ExitCode::SUCCESS)
}

/// `--target-dir`, `CARGO_TARGET_DIR`, `build.target-dir`, or `target` in the workspace.
pub(super) fn target_directory(context: &Context, arguments: &CompileArgs, root: &Path) -> PathBuf {
    match (&arguments.target_dir, &context.config.target_dir) {
        (Some(directory), _) => context.directory.join(directory),
        (None, Some(directory)) => directory.clone(),
        (None, None) => root.join("target"),
    }
}

/// What configuration says of every build.
pub(super) fn configure(context: &Context, request: &mut BuildRequest) {
    let config = &context.config;
    if request.platforms.is_empty() {
        request.platforms.clone_from(&config.build_targets);
    }
    request.config_profiles.clone_from(&config.profiles);
    request.incremental = config.incremental;
}

/// What the flags ask for, and where they are silent the configuration.
pub(super) fn request(
    context: &Context,
    arguments: &BuildArgs,
    intent: Intent,
) -> Result<BuildRequest, DriverError> {
    let targets = &arguments.targets;
    let names = |all: bool, names: &[String]| TargetNames {
        all,
        names: names.to_vec(),
    };
    let mut request = BuildRequest::new(intent);
    request.packages = PackageSelection::from_flags(
        arguments.packages.workspace,
        arguments.packages.exclude.clone(),
        arguments.packages.package.clone(),
    )?;
    request.targets = TargetSelection {
        all_targets: targets.all_targets,
        lib: targets.lib,
        bins: names(targets.bins, &targets.bin),
        examples: names(targets.examples, &targets.example),
        tests: names(targets.tests, &targets.test),
        benches: names(targets.benches, &targets.bench),
    };
    request.features = features(&arguments.features);
    request.profile = match (arguments.compile.release, &arguments.compile.profile) {
        (true, _) => Some("release".to_owned()),
        (false, profile) => profile.clone(),
    };
    if matches!(intent, Intent::Check { .. }) && request.profile.as_deref() == Some("test") {
        request.intent = Intent::Check { test: true };
    }
    request.platforms.clone_from(&arguments.compile.target);
    configure(context, &mut request);
    Ok(request)
}

/// `--features`, split as cargo splits it.
pub(super) fn features(arguments: &crate::cli::args::FeatureArgs) -> RequestedFeatures {
    let split = |text: &String| -> Vec<String> {
        text.split([' ', ','])
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    };
    RequestedFeatures {
        features: arguments
            .features
            .iter()
            .flat_map(split)
            .collect::<BTreeSet<_>>(),
        all_features: arguments.all_features,
        no_default_features: arguments.no_default_features,
    }
}

fn message_format(given: &[String]) -> Result<MessageFormat, DriverError> {
    MessageFormat::parse(given.iter().map(String::as_str)).map_err(|error| DriverError::Request {
        message: error.to_string(),
        help: error.help(),
    })
}

/// The layers that the choice comes to on this machine.
pub(super) fn isolation(choice: IsolationChoice) -> Result<Isolation, DriverError> {
    Ok(match choice {
        IsolationChoice::Full => Isolation::Full,
        IsolationChoice::Landlock => Isolation::Landlock,
        IsolationChoice::Auto => crate::sandbox::best_isolation()?,
    })
}

/// Where actions see things under `isolation` on this machine: with namespaces wherever we like, without them beneath
/// a real `/kiln` that belongs to the user, and failing that beneath the store, which is not canonical.
pub(super) fn layout(
    context: &Context,
    shell: &Shell,
    isolation: Isolation,
) -> Result<Layout, DriverError> {
    use std::os::unix::fs::MetadataExt as _;
    if isolation == Isolation::Full {
        return Ok(Layout::default());
    }
    let owner = nix::unistd::geteuid().as_raw();
    let is_ours = std::fs::symlink_metadata(CANONICAL_PREFIX)
        .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == owner);
    let prefix = if is_ours {
        CANONICAL_PREFIX.to_owned()
    } else {
        shell.warning(&format!(
            "without namespaces paths are canonical only beneath a real `{CANONICAL_PREFIX}`, which this machine does \
             not have: what is built is not comparable with other machines (`sudo install -d -o $USER \
             {CANONICAL_PREFIX}` makes one)"
        ));
        context.home.join("kiln").to_string_lossy().into_owned()
    };
    let prefix = SandboxPath::new(prefix).map_err(|error| DriverError::Request {
        message: format!("the store cannot be used without namespaces: {error}"),
        help: Some("set `KILN_HOME` to another directory".to_owned()),
    })?;
    Ok(Layout::real(prefix))
}

/// How many jobs: `-j`, `build.jobs`, or the processors.
pub(super) fn jobs(context: &Context, given: Option<&str>) -> Result<usize, DriverError> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let configured = context.config.jobs.as_deref();
    let Some(text) = given.or(configured) else {
        return Ok(processors);
    };
    let wrong = |why: &str| DriverError::Request {
        message: format!("`{text}` is not a number of jobs: {why}"),
        help: Some(
            "give a positive number, a negative one (so many less than processors), or `default`"
                .to_owned(),
        ),
    };
    if text == "default" {
        return Ok(processors);
    }
    match text.parse::<i64>() {
        Ok(0) => Err(wrong("it is zero")),
        Ok(count) if count > 0 => usize::try_from(count).map_err(|_| wrong("it is too large")),
        Ok(count) => {
            let less = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
            Ok(processors.saturating_sub(less).max(1))
        }
        Err(_) => Err(wrong("it is no whole number")),
    }
}

/// Makes the target directory, marked for backup programs as cargo marks it.
pub(super) fn prepare_target(target: &std::path::Path) -> Result<(), DriverError> {
    let tag = target.join("CACHEDIR.TAG");
    let failed = |source| DriverError::File {
        path: target.to_owned(),
        verb: "written",
        source,
    };
    if !target.exists() {
        std::fs::create_dir_all(target).map_err(failed)?;
        let text = "Signature: 8a477f597d28d172789f06886806bc55\n\
            # This file marks a directory of build results; see the Cache Directory Tagging Specification.\n";
        std::fs::write(tag, text).map_err(failed)?;
    }
    Ok(())
}

/// A flag that SIGINT and SIGTERM set; a second one ends kiln at once.
pub(super) fn interruption() -> Result<Arc<AtomicBool>, DriverError> {
    let flag = Arc::new(AtomicBool::new(false));
    let failed = |source| DriverError::File {
        path: "signal handlers".into(),
        verb: "written",
        source,
    };
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, flag.clone())
            .map_err(failed)?;
        signal_hook::flag::register(signal, flag.clone()).map_err(failed)?;
    }
    Ok(flag)
}

/// What the user asked for, for the attestation; nothing of the machine.
fn parameters(arguments: &BuildArgs, request: &BuildRequest) -> serde_json::Value {
    serde_json::json!({
        "packages": arguments.packages.package,
        "workspace": arguments.packages.workspace,
        "exclude": arguments.packages.exclude,
        "features": request.features.features,
        "allFeatures": request.features.all_features,
        "noDefaultFeatures": request.features.no_default_features,
        "profile": request.profile_name(),
        "targets": request.platforms,
        "messageFormat": arguments.message_format,
        "targetSelection": {
            "allTargets": request.targets.all_targets,
            "lib": request.targets.lib,
            "bins": selection(&request.targets.bins),
            "examples": selection(&request.targets.examples),
            "tests": selection(&request.targets.tests),
            "benches": selection(&request.targets.benches),
        },
    })
}

fn selection(names: &TargetNames) -> serde_json::Value {
    if names.all {
        serde_json::json!("all")
    } else {
        serde_json::json!(names.names)
    }
}
