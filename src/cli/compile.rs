//! What all commands that compile have in common: from flags to a request, from a request to what was built.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::args::{BuildArgs, HermeticArgs, IsolationChoice, RequiredIsolation};
use crate::cli::cache::describe;
use crate::cli::observe::BuildView;
use crate::cli::report::FetchView;
use crate::cli::shell::{Shell, Verbosity};
use crate::cli::target::target_directory;
use crate::driver::building::build as driver_build;
use crate::driver::building::build::{Audit, Built};
use crate::driver::building::repetition::{Question, Remembered};
use crate::driver::cleaning;
use crate::driver::planning::{self, Lowered, PlanOptions, PolicyFrom};
use crate::driver::{Context, DriverError, Planned};
use crate::manifest::model::RequestedFeatures;
use crate::message::MessageFormat;
use crate::message::text::harmless_line;
use crate::path::SandboxPath;
use crate::plan::layout::{CANONICAL_PREFIX, Layout};
use crate::policy::BuildMode;
use crate::sandbox::Isolation;
use crate::store::{Store, StoreError};
use crate::unit::{BuildRequest, Intent, PackageSelection, TargetNames, TargetSelection};

/// One compilation, from the command line on.
pub(super) struct Compilation<'a> {
    pub(super) context: &'a Context,
    pub(super) shell: &'a Shell,
    pub(super) arguments: &'a BuildArgs,
    pub(super) request: BuildRequest,
    pub(super) format: MessageFormat,
    pub(super) isolation: Isolation,
    pub(super) store: Arc<Store>,
    /// How actions are to be planned; a command may change it before anything is planned.
    pub(super) options: PlanOptions,
    started: Instant,
}

/// What came of one.
pub(super) struct Compiled {
    pub(super) planned: Planned,
    pub(super) built: Built,
    /// `target/kiln`.
    pub(super) destination: PathBuf,
    /// Set when the user interrupts.
    pub(super) interrupted: Arc<AtomicBool>,
    /// What was said besides status lines.
    told: Vec<String>,
}

impl<'a> Compilation<'a> {
    /// What `arguments` say about how to compile `request`.
    pub(super) fn new(
        context: &'a Context,
        shell: &'a Shell,
        arguments: &'a BuildArgs,
        request: BuildRequest,
    ) -> Result<Self, DriverError> {
        let started = Instant::now();
        let format = message_format(&arguments.common.message_format)?;
        let isolation = isolation(&arguments.common.hermetic)?;
        let store = Arc::new(Store::open(&context.home)?);
        let options = PlanOptions {
            layout: layout(context, shell, isolation)?,
            rustc_json: format.rustc_json(),
            isolation,
            caps_lints: false,
            policy: PolicyFrom::Workspace,
            mode: BuildMode::of(arguments.common.hermetic.hermetic),
            tests: None,
            clippy: None,
            private_items: false,
        };
        Ok(Self {
            context,
            shell,
            arguments,
            request,
            format,
            isolation,
            store,
            options,
            started,
        })
    }

    /// Resolves the workspace and makes its units.
    pub(super) fn lower(&self) -> Result<Lowered, DriverError> {
        lower(self.context, self.shell, &self.store, &self.request)
    }

    /// Lowers and builds.
    pub(super) fn run(&self) -> Result<Compiled, DriverError> {
        self.build(self.lower()?)
    }

    /// Lowers and builds, unless the same was built by the same words and nothing has changed since.
    pub(super) fn run_unless_repeated(&self) -> Result<(), DriverError> {
        self.run_or_recall(&self.context.arguments, |_| Ok(Remembered::new(())))
    }

    /// The same for a command that needs something of what was built, which `finish` finds. `words` are those of the
    /// command line that say anything of the build.
    pub(super) fn run_or_recall<T: Serialize + DeserializeOwned>(
        &self,
        words: &[String],
        finish: impl FnOnce(&Compiled) -> Result<Remembered<T>, DriverError>,
    ) -> Result<T, DriverError> {
        // What else is printed names every action, or files in the store: then each action is looked at.
        let repeatable = self.format.renders_diagnostics()
            && self.shell.verbosity() <= Verbosity::Normal
            && !self.arguments.audit;
        let platforms = &self.request.platforms;
        let question = repeatable.then(|| {
            let shown = if self.shell.has_colors() {
                "colours"
            } else {
                "plain"
            };
            Question::ask(
                self.context,
                &self.store,
                platforms,
                &self.options,
                shown,
                words,
            )
        });
        if let Some((_, Some(repeated))) = &question
            && let Ok(outcome) = T::deserialize(&repeated.outcome)
        {
            self.shell.tell_again(&repeated.told);
            self.finished(0, repeated.actions, repeated.attestation.as_deref());
            return Ok(outcome);
        }
        let compiled = self.run()?;
        let remembered = finish(&compiled)?;
        if let Some((question, _)) = question {
            question.answer(
                &compiled.planned,
                &compiled.built,
                compiled.told,
                &remembered,
            );
        }
        Ok(remembered.outcome)
    }

    /// Plans the actions of what was lowered.
    pub(super) fn plan(&self, lowered: Lowered) -> Result<Planned, DriverError> {
        let mut view = FetchView::new(self.shell);
        planning::plan_actions(
            self.context,
            &self.store,
            lowered,
            &self.request,
            &self.options,
            &mut view,
        )
    }

    /// Builds what was lowered.
    pub(super) fn build(&self, lowered: Lowered) -> Result<Compiled, DriverError> {
        let jobs = jobs(
            self.context,
            self.arguments.common.compile.work.jobs.as_deref(),
        )?;
        let planned = self.plan(lowered)?;
        let target = target_directory(
            self.context,
            planned.workspace(),
            self.arguments.common.compile.work.target_dir.as_deref(),
        );
        let destination = target.join("kiln");
        prepare_target(&target)?;
        let interrupted = interruption()?;
        let mut observer = BuildView::new(self.shell, &planned, self.format, destination.clone());
        let result = driver_build::run(
            &planned,
            &mut observer,
            &driver_build::BuildOptions {
                destination: destination.clone(),
                jobs,
                keep_going: self.arguments.common.compile.work.keep_going,
                isolation: self.isolation,
                hermetic: self.is_hermetic(),
                audit: self.arguments.audit,
                interrupted: &interrupted,
                parameters: parameters(self.arguments, &self.request),
            },
        );
        observer.end(result.is_ok());
        // What happened to the store happened once, and is not told again.
        let told = self.shell.told();
        for event in self.store.take_events() {
            self.shell.warning(&format!(
                "discarded from the store, and made again when it is needed: {}",
                describe(&event)
            ));
        }
        let built = result?;
        if let Some(audit) = &built.audit {
            self.audited(audit);
        }
        self.finished(
            built.executed,
            built.executed + built.cached,
            built.attestation.as_deref(),
        );
        Ok(Compiled {
            planned,
            built,
            destination,
            interrupted,
            told,
        })
    }

    fn is_hermetic(&self) -> bool {
        self.arguments.common.hermetic.hermetic
    }

    /// Says what came of an audit.
    fn audited(&self, audit: &Audit) {
        for (label, what) in &audit.undeclared {
            self.shell.warning(&format!(
                "`{}` {}, which nothing declares",
                harmless_line(label),
                harmless_line(what)
            ));
        }
        let seen = match audit.seen {
            0 => String::new(),
            count => format!(
                "; {count} paths outside of it were looked at, which nothing hides without namespaces"
            ),
        };
        self.shell.status(
            "Audited",
            &format!(
                "{} actions: {} of what they used was not declared{seen}",
                audit.actions,
                match audit.undeclared.len() {
                    0 => "nothing".to_owned(),
                    count => count.to_string(),
                }
            ),
        );
    }

    /// Says how it ended.
    fn finished(&self, executed: usize, actions: usize, attestation: Option<&Path>) {
        let kind = if self.is_hermetic() {
            "hermetic"
        } else {
            "daily"
        };
        let how = match self.isolation {
            Isolation::Full => "full isolation",
            Isolation::Landlock => "Landlock + seccomp isolation",
        };
        self.shell.status(
            "Finished",
            &format!(
                "`{}` profile in {:.2}s: {kind} build, {how}, {executed} of {actions} actions run",
                self.request.profile_name(),
                self.started.elapsed().as_secs_f64(),
            ),
        );
        if let Some(attestation) = attestation {
            self.shell
                .status("Attested", &attestation.display().to_string());
        }
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
    request.overridden_links = config.overridden_links();
}

/// What the flags ask for, and where they are silent the configuration.
pub(super) fn request(
    context: &Context,
    arguments: &BuildArgs,
    intent: Intent,
) -> Result<BuildRequest, DriverError> {
    if let Some((flag, help)) = arguments.common.refused.first() {
        return Err(unsupported(&flag, help));
    }
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
        lib_if_any: false,
        bins: names(targets.bins, &targets.bin),
        examples: names(targets.examples, &targets.example),
        tests: names(targets.tests, &targets.test),
        benches: names(targets.benches, &targets.bench),
    };
    request.features = features(&arguments.common.features);
    request.profile = match (
        arguments.common.compile.release,
        &arguments.common.compile.profile,
    ) {
        (true, _) => Some("release".to_owned()),
        (false, profile) => profile.clone(),
    };
    if matches!(intent, Intent::Check { .. }) && request.profile.as_deref() == Some("test") {
        request.intent = Intent::Check { test: true };
    }
    request
        .platforms
        .clone_from(&arguments.common.compile.work.target);
    request.ignore_rust_version = arguments.common.compile.ignore_rust_version;
    configure(context, &mut request);
    Ok(request)
}

/// The error for a flag of cargo's that kiln does not have.
pub(super) fn unsupported(flag: &str, help: &str) -> DriverError {
    DriverError::Request {
        message: format!("`{flag}` is not supported"),
        help: Some(help.to_owned()),
    }
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

pub(super) fn message_format(given: &[String]) -> Result<MessageFormat, DriverError> {
    MessageFormat::parse(given.iter().map(String::as_str)).map_err(|error| DriverError::Request {
        message: error.to_string(),
        help: error.help(),
    })
}

/// The layers that the choice comes to on this machine; an error if they are not those that are required.
pub(super) fn isolation(arguments: &HermeticArgs) -> Result<Isolation, DriverError> {
    if arguments.require_isolation == Some(RequiredIsolation::Full) {
        if arguments.isolation == IsolationChoice::Landlock {
            return Err(DriverError::Request {
                message: "`--isolation landlock` is less than `--require-isolation full`"
                    .to_owned(),
                help: Some("leave one of the two out".to_owned()),
            });
        }
        crate::sandbox::require_everything()?;
        return Ok(Isolation::Full);
    }
    Ok(match arguments.isolation {
        IsolationChoice::Full => Isolation::Full,
        IsolationChoice::Landlock => Isolation::Landlock,
        IsolationChoice::Auto => crate::sandbox::best_isolation()?,
    })
}

/// Resolves the workspace and makes the units of `request`, telling what is fetched for it.
pub(super) fn lower(
    context: &Context,
    shell: &Shell,
    store: &Arc<Store>,
    request: &BuildRequest,
) -> Result<Lowered, DriverError> {
    let mut view = FetchView::new(shell);
    let lowered = planning::lower(context, store, request, &mut view)?;
    view.end();
    Ok(lowered)
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
    // A directory that was there before is the user's; the one below it is kiln's in any case.
    let own = target.join(crate::cli::target::OWN);
    let failed = |error| DriverError::HandOut {
        path: own.clone(),
        source: StoreError::io("write", &own, error),
    };
    let is_new = !target.exists();
    std::fs::create_dir_all(&own).map_err(failed)?;
    let marked = is_new.then_some(target).into_iter().chain([&*own]);
    for tag in marked.map(|directory| directory.join(cleaning::TAG)) {
        if !tag.exists() {
            let text = format!(
                "{}\n# This file marks a directory of build results; see the Cache Directory Tagging Specification.\n",
                cleaning::TAG_SIGNATURE
            );
            std::fs::write(tag, text).map_err(failed)?;
        }
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
        "messageFormat": arguments.common.message_format,
        "configuredProfiles": request.config_profiles,
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
