//! `install`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use crate::cli::args::InstallArgs;
use crate::cli::compile::{configure, features, interruption, isolation, jobs, layout};
use crate::cli::observe::BuildView;
use crate::cli::report::FetchView;
use crate::cli::shell::Shell;
use crate::driver::building::build;
use crate::driver::building::build::{ATTESTATION, BuildOptions};
use crate::driver::install::{CrateSpec, hand_over, lower, root};
use crate::driver::planning::{self, PlanOptions, PolicyFrom};
use crate::driver::{Context, DriverError};
use crate::message::MessageFormat;
use crate::policy::BuildMode;
use crate::store::Store;
use crate::unit::{BuildRequest, Intent, TargetNames};

/// `kiln install`.
pub(super) fn install(
    context: &Context,
    shell: &Shell,
    arguments: &InstallArgs,
) -> Result<ExitCode, DriverError> {
    let started = Instant::now();
    let spec = CrateSpec::parse(&arguments.krate, arguments.version.as_deref())?;
    let root = root(context, arguments.root.clone())?;
    let mut request = BuildRequest::new(Intent::Build);
    request.targets.bins = if arguments.bin.is_empty() {
        TargetNames::all()
    } else {
        TargetNames::named(arguments.bin.clone())
    };
    request.features = features(&arguments.features);
    let profile = if arguments.debug { "dev" } else { "release" };
    request.profile = Some(
        arguments
            .profile
            .clone()
            .unwrap_or_else(|| profile.to_owned()),
    );
    request.platforms.extend(arguments.target.clone());
    configure(context, &mut request);
    let isolation = isolation(&arguments.hermetic)?;
    let jobs = jobs(context, arguments.jobs.as_deref())?;
    let store = Arc::new(Store::open(&context.home)?);
    let mut view = FetchView::new(shell);
    let plan = lower(context, &store, &spec, &request, &mut view)?;
    view.end();
    let options = PlanOptions {
        layout: layout(context, shell, isolation)?,
        rustc_json: MessageFormat::Human.rustc_json(),
        isolation,
        caps_lints: true,
        policy: PolicyFrom::Kiln,
        mode: BuildMode::Hermetic,
        tests: None,
        clippy: None,
        private_items: false,
    };
    let planned =
        planning::plan_actions(context, &store, plan.lowered, &request, &options, &mut view)?;
    if planned.graph.artifacts.is_empty() {
        return Err(DriverError::Request {
            message: format!(
                "`{}` has no program to install with these features",
                plan.package
            ),
            help: Some(
                "name the features that its programs need, or add the crate as a dependency"
                    .to_owned(),
            ),
        });
    }
    let binaries = root.join("bin");
    if !arguments.force {
        for artifact in &planned.graph.artifacts {
            let place = binaries.join(artifact.path.as_str());
            if place.exists() {
                return Err(DriverError::Request {
                    message: format!("`{}` exists already", place.display()),
                    help: Some(
                        "overwrite it with `--force`, or install elsewhere with `--root`"
                            .to_owned(),
                    ),
                });
            }
        }
    }
    let interrupted = interruption()?;
    let work = store.work_dir()?;
    let destination = work.path().to_owned();
    let mut observer = BuildView::new(shell, &planned, MessageFormat::Human, destination.clone());
    let result = build::run(
        &planned,
        &mut observer,
        &BuildOptions {
            destination,
            jobs,
            keep_going: false,
            isolation,
            hermetic: true,
            audit: false,
            interrupted: &interrupted,
            parameters: serde_json::json!({
                "install": plan.package.name(),
                "version": plan.package.version().to_string(),
                "bins": arguments.bin,
                "features": request.features.features,
                "allFeatures": request.features.all_features,
                "noDefaultFeatures": request.features.no_default_features,
                "profile": request.profile_name(),
                "targets": request.platforms,
            }),
        },
    );
    observer.end(result.is_ok());
    let built = result?;
    shell.status(
        "Finished",
        &format!(
            "`{}` profile in {:.2}s: hermetic build, {} of {} actions run",
            request.profile_name(),
            started.elapsed().as_secs_f64(),
            built.executed,
            built.executed + built.cached
        ),
    );
    for (artifact, from) in &built.artifacts {
        let to = binaries.join(artifact.path.as_str());
        hand_over(from, &to)?;
        shell.status("Installed", &to.display().to_string());
    }
    if let Some(attestation) = &built.attestation {
        let package = format!("{}-{}", plan.package.name(), plan.package.version());
        let to = root.join("share/kiln").join(package).join(ATTESTATION);
        hand_over(attestation, &to)?;
        shell.status("Attested", &to.display().to_string());
    }
    let on_path = context
        .variables
        .get("PATH")
        .is_some_and(|path| std::env::split_paths(path).any(|directory| directory == binaries));
    if !on_path {
        shell.warning(&format!(
            "be sure to add `{}` to your PATH to be able to run it",
            binaries.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
