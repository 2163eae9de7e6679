//! `install`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::Args;

use crate::cli::args::{FeatureArgs, HermeticArgs, RefusedArgs, WorkArgs};
use crate::cli::compile::{
    configure, features, interruption, isolation, jobs, layout, message_format, unsupported,
};
use crate::cli::observe::BuildView;
use crate::cli::report::FetchView;
use crate::cli::shell::Shell;
use crate::cli::target::OWN;
use crate::driver::building::build;
use crate::driver::building::build::{ATTESTATION, BuildOptions, Built};
use crate::driver::install::{self, Candidate, CrateSpec, Origin, hand_over};
use crate::driver::installed::{Build, Installed, Replaced};
use crate::driver::planning::{self, PlanOptions};
use crate::driver::supply::registries::Registries;
use crate::driver::{Context, DriverError};
use crate::message::text::harmless_line;
use crate::package::{GitReference, PackageId, SourceId, SourceKind};
use crate::policy::BuildMode;
use crate::store::Store;
use crate::unit::{self, BuildRequest, Intent, PackageSelection, TargetNames};

/// Flags of `install`.
#[derive(Debug, Clone, Args)]
pub struct InstallArgs {
    /// Crates, with a version if it matters: `ripgrep`, `ripgrep@15.1.0`
    #[arg(value_name = "CRATE[@VERSION]")]
    pub crates: Vec<String>,
    /// The version, if it is not part of the name
    #[arg(long, value_name = "VERSION", visible_alias = "vers")]
    pub version: Option<String>,
    /// A registry of the configuration to install from
    #[arg(long, value_name = "NAME", conflicts_with_all = ["git", "path"], help_heading = "Source")]
    pub registry: Option<String>,
    #[arg(long, hide = true, value_name = "URL")]
    index: Option<String>,
    /// A git repository to install from
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "path",
        help_heading = "Source"
    )]
    pub git: Option<String>,
    /// A branch of it
    #[arg(long, value_name = "BRANCH", requires = "git", conflicts_with_all = ["tag", "rev"], help_heading = "Source")]
    pub branch: Option<String>,
    /// A tag of it
    #[arg(
        long,
        value_name = "TAG",
        requires = "git",
        conflicts_with = "rev",
        help_heading = "Source"
    )]
    pub tag: Option<String>,
    /// A commit of it
    #[arg(long, value_name = "SHA", requires = "git", help_heading = "Source")]
    pub rev: Option<String>,
    /// The directory of a package to install
    #[arg(long, value_name = "PATH", help_heading = "Source")]
    pub path: Option<PathBuf>,
    /// Where programs go: `<DIR>/bin` (default: cargo's)
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Print what is installed, and by which package
    #[arg(long)]
    pub list: bool,
    /// Overwrite programs that something else installed, and build what is there already
    #[arg(short, long)]
    pub force: bool,
    /// Do not note what is installed
    #[arg(long)]
    pub no_track: bool,
    /// Only this program
    #[arg(long, value_name = "NAME", help_heading = "Targets")]
    pub bin: Vec<String>,
    /// All programs
    #[arg(long, help_heading = "Targets")]
    pub bins: bool,
    /// This example
    #[arg(long, value_name = "NAME", help_heading = "Targets")]
    pub example: Vec<String>,
    /// All examples
    #[arg(long, help_heading = "Targets")]
    pub examples: bool,
    /// Which features.
    #[command(flatten)]
    pub features: FeatureArgs,
    /// Build without optimisations: the `dev` profile
    #[arg(long, conflicts_with = "profile", help_heading = "Compilation")]
    pub debug: bool,
    /// Build with this profile
    #[arg(long, value_name = "NAME", help_heading = "Compilation")]
    pub profile: Option<String>,
    /// For which platforms, where to, how many at once.
    #[command(flatten)]
    pub work: WorkArgs,
    /// The toolchain, as rustup names it
    #[arg(long, value_name = "NAME", help_heading = "Compilation")]
    pub toolchain: Option<String>,
    /// Do not mind what packages say of the rustc that they need
    #[arg(long, help_heading = "Compilation")]
    pub ignore_rust_version: bool,
    /// What is promised.
    #[command(flatten)]
    pub hermetic: HermeticArgs,
    /// How diagnostics are printed (see `build`)
    #[arg(long, value_name = "FORMAT")]
    pub message_format: Vec<String>,
    #[arg(short = 'n', long, hide = true)]
    dry_run: bool,
    /// What kiln does not do.
    #[command(flatten)]
    pub refused: RefusedArgs,
}

/// `kiln install`.
pub(super) fn install(
    context: &Context,
    shell: &Shell,
    arguments: &InstallArgs,
) -> Result<ExitCode, DriverError> {
    if let Some((flag, help)) = arguments.refused.first() {
        return Err(unsupported(&flag, help));
    }
    if arguments.index.is_some() {
        let help = "give it a name: `--config 'registries.NAME.index=\"URL\"' --registry NAME`";
        return Err(unsupported("--index", help));
    }
    if arguments.dry_run {
        let help = "cargo has it on nightly only; leave it out";
        return Err(unsupported("--dry-run", help));
    }
    let root = install::root(context, arguments.root.clone())?;
    if arguments.list {
        return list(shell, &root, arguments);
    }
    let origins = origins(context, arguments)?;
    let work = Work {
        context,
        shell,
        arguments,
        root,
        store: Arc::new(Store::open(&context.home)?),
        interrupted: interruption()?,
    };
    if let [origin] = &origins[..] {
        work.install(origin)?;
        work.mind_path();
        return Ok(ExitCode::SUCCESS);
    }
    let (mut succeeded, mut failed) = (Vec::new(), Vec::new());
    for (origin, name) in origins.iter().zip(&arguments.crates) {
        match work.install(origin) {
            Ok(()) => succeeded.push(name.as_str()),
            Err(error) => {
                shell.report(&error.report());
                failed.push(name.as_str());
            }
        }
    }
    let mut summary = Vec::new();
    if !succeeded.is_empty() {
        summary.push(format!("Successfully installed {}!", succeeded.join(", ")));
    }
    if !failed.is_empty() {
        let failed = failed.join(", ");
        summary.push(format!("Failed to install {failed} (see error(s) above)."));
    }
    shell.status("Summary", &summary.join(" "));
    if !succeeded.is_empty() {
        work.mind_path();
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(DriverError::Request {
        message: "some crates failed to install".to_owned(),
        help: None,
    })
}

fn list(
    shell: &Shell,
    root: &std::path::Path,
    arguments: &InstallArgs,
) -> Result<ExitCode, DriverError> {
    if !arguments.crates.is_empty() || arguments.git.is_some() || arguments.path.is_some() {
        return Err(DriverError::Request {
            message: "`--list` shows all that is installed".to_owned(),
            help: Some("leave the names of crates and their source out".to_owned()),
        });
    }
    for (package, programs) in Installed::read(root)?.packages() {
        shell.line(&format!("{}:", harmless_line(&package)));
        for program in programs {
            shell.line(&format!("    {}", harmless_line(program)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is to be installed, in the order of the names.
fn origins(context: &Context, arguments: &InstallArgs) -> Result<Vec<Origin>, DriverError> {
    let request = |message: String, help: &str| DriverError::Request {
        message,
        help: Some(help.to_owned()),
    };
    let names = &arguments.crates;
    if arguments.version.is_some() && (names.len() > 1 || arguments.path.is_some()) {
        return Err(request(
            "`--version` is about one crate of a registry".to_owned(),
            "give each its own: `NAME@VERSION`",
        ));
    }
    if let Some(path) = &arguments.path {
        if let Some(name) = names.first() {
            return Err(request(
                format!("`--path` says what to install, and so does `{name}`"),
                "leave one of the two out",
            ));
        }
        return Ok(vec![Origin::Directory(context.directory.join(path))]);
    }
    if let Some(url) = &arguments.git {
        let reference = match (&arguments.branch, &arguments.tag, &arguments.rev) {
            (Some(branch), ..) => GitReference::Branch(branch.clone()),
            (_, Some(tag), _) => GitReference::Tag(tag.clone()),
            (.., Some(rev)) => GitReference::Rev(rev.clone()),
            _ => GitReference::DefaultBranch,
        };
        let source = SourceId::new(SourceKind::Git {
            url: url.clone(),
            reference,
            precise: None,
        });
        if names.is_empty() {
            return Ok(vec![Origin::Repository(source, None)]);
        }
        let named = |name: &String| {
            let name = CrateSpec::parse(name, None)?.name;
            Ok(Origin::Repository(source.clone(), Some(name)))
        };
        return names.iter().map(named).collect();
    }
    if names.is_empty() {
        return Err(request(
            "nothing says what to install".to_owned(),
            "name a crate, or use `--path .` for the package here and `--git URL` for one of a repository",
        ));
    }
    let named = arguments.registry.as_ref();
    let source = match named.or(context.config.default_registry.as_ref()) {
        Some(name) => install::registry(context, name)?,
        None => SourceId::default_registry(),
    };
    let spec = |name: &String| {
        if name == "." {
            return Err(request(
                "`.` is no crate".to_owned(),
                "use `kiln install --path .`",
            ));
        }
        let spec = CrateSpec::parse(name, arguments.version.as_deref())?;
        Ok(Origin::Registry(source.clone(), spec))
    };
    names.iter().map(spec).collect()
}

/// What installing each crate takes.
struct Work<'a> {
    context: &'a Context,
    shell: &'a Shell,
    arguments: &'a InstallArgs,
    root: PathBuf,
    store: Arc<Store>,
    interrupted: Arc<AtomicBool>,
}

impl Work<'_> {
    fn request(&self, member: &PackageId) -> BuildRequest {
        let arguments = self.arguments;
        let mut request = BuildRequest::new(Intent::Build);
        request.packages = PackageSelection::Packages(vec![unit::package_id_spec(member)]);
        let chosen = |all: bool, names: &[String]| TargetNames {
            all,
            names: names.to_vec(),
        };
        request.targets.bins = chosen(arguments.bins, &arguments.bin);
        request.targets.examples = chosen(arguments.examples, &arguments.example);
        if request.targets == Default::default() {
            request.targets.bins = TargetNames::all();
        }
        request.features = features(&arguments.features);
        let profile = arguments.profile.clone();
        request.profile = Some(profile.unwrap_or_else(|| match arguments.debug {
            true => "dev".to_owned(),
            false => "release".to_owned(),
        }));
        request.platforms.clone_from(&arguments.work.target);
        configure(self.context, &mut request);
        request
    }

    fn install(&self, origin: &Origin) -> Result<(), DriverError> {
        let (context, arguments, shell) = (self.context, self.arguments, self.shell);
        let started = Instant::now();
        let mut view = FetchView::new(shell);
        let mut registries = Registries::new(context, &self.store, &mut view)?;
        let candidate = install::find(context, &self.store, origin, &mut registries)?;
        let request = self.request(&candidate.member);
        let all = candidate.programs(&unit::TargetSelection {
            bins: TargetNames::all(),
            examples: TargetNames::all(),
            ..Default::default()
        });
        let chosen = candidate.programs(&request.targets);
        if chosen.is_empty() {
            return Err(nothing_to_install(&candidate));
        }
        let mut build = Build {
            version_req: match origin {
                Origin::Registry(_, spec) => spec.version.as_ref().map(ToString::to_string),
                _ => None,
            },
            bins: chosen.clone(),
            features: request.features.features.iter().cloned().collect(),
            all_features: request.features.all_features,
            no_default_features: request.features.no_default_features,
            profile: request.profile_name().to_owned(),
            ..Build::default()
        };
        let package = candidate.package.clone();
        let policy = candidate.policy();
        let isolation = isolation(&arguments.hermetic)?;
        // Looked at before anything is built, and again when it is put there.
        let rust = install::toolchain(context, &self.store, &candidate, &request)?;
        build.target = Some(match &request.platforms[..] {
            [triple] => triple.clone(),
            _ => rust.version.host.clone(),
        });
        build.rustc = Some(rust.version.verbose.clone());
        let before = Installed::read(&self.root)?;
        let replaced = before.present(&chosen);
        if !arguments.force {
            if !arguments.no_track && before.is_current(&package, &build, &replaced) {
                shell.status(
                    "Ignored",
                    &format!("package `{package}` is already installed, use --force to override"),
                );
                return Ok(());
            }
            self.refuse_others(&package, &replaced)?;
        }
        registries
            .reporter()
            .status("Installing", &package.to_string());
        let lowered = install::lower(
            context,
            &self.store,
            candidate,
            rust,
            &request,
            &mut registries,
        )?;
        view.end();
        let format = message_format(&arguments.message_format)?;
        let hermetic = arguments.hermetic.hermetic;
        let options = PlanOptions {
            layout: layout(context, shell, isolation)?,
            rustc_json: format.rustc_json(),
            isolation,
            caps_lints: !package.source().is_path(),
            policy,
            mode: BuildMode::of(hermetic),
            tests: None,
            clippy: None,
            private_items: false,
        };
        let planned =
            planning::plan_actions(context, &self.store, lowered, &request, &options, &mut view)?;
        let directory = self.store.work_dir()?;
        let destination = match &arguments.work.target_dir {
            Some(target) => context.directory.join(target).join(OWN),
            None => directory.path().to_owned(),
        };
        let mut observer = BuildView::new(shell, &planned, format, destination.clone());
        let result = build::run(
            &planned,
            &mut observer,
            &BuildOptions {
                destination,
                jobs: jobs(context, arguments.work.jobs.as_deref())?,
                keep_going: arguments.work.keep_going,
                isolation,
                hermetic,
                audit: false,
                interrupted: &self.interrupted,
                parameters: serde_json::json!({
                    "install": package.name(),
                    "version": package.version().to_string(),
                    "programs": chosen,
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
                "`{}` profile in {:.2}s: {}{} of {} actions run",
                request.profile_name(),
                started.elapsed().as_secs_f64(),
                if hermetic { "hermetic build, " } else { "" },
                built.executed,
                built.executed + built.cached
            ),
        );
        self.hand_over(&package, build, &built, &all)
    }

    /// Programs of others are not overwritten.
    fn refuse_others(&self, package: &PackageId, replaced: &Replaced) -> Result<(), DriverError> {
        let own = format!("{} ", package.name());
        let other = replaced.iter().find(|(_, owner)| {
            self.arguments.no_track || !owner.as_ref().is_some_and(|owner| owner.starts_with(&own))
        });
        let Some((program, owner)) = other else {
            return Ok(());
        };
        let place = self.root.join("bin").join(program);
        let owner = owner.as_ref().map_or(String::new(), |owner| {
            format!(" as part of `{}`", harmless_line(owner))
        });
        Err(DriverError::Request {
            message: format!("`{}` exists already{owner}", place.display()),
            help: Some(
                "overwrite it with `--force`, or install elsewhere with `--root`".to_owned(),
            ),
        })
    }

    /// Puts what was built where the user gets it, and notes it.
    fn hand_over(
        &self,
        package: &PackageId,
        mut build: Build,
        built: &Built,
        all: &BTreeSet<String>,
    ) -> Result<(), DriverError> {
        let binaries = self.root.join("bin");
        let programs: Vec<(String, &PathBuf)> = built
            .artifacts
            .iter()
            .filter(|(artifact, _)| artifact.executable)
            .filter_map(|(artifact, from)| {
                Some((artifact.path.as_str().rsplit('/').next()?.to_owned(), from))
            })
            .collect();
        build.bins = programs.iter().map(|(name, _)| name.clone()).collect();
        if build.bins.is_empty() {
            return Err(DriverError::Request {
                message: format!("`{package}` has no program to install with these features"),
                help: Some("name the features that its programs need with `--features`".to_owned()),
            });
        }
        let mut installed = match self.arguments.no_track {
            true => Installed::read(&self.root)?,
            false => Installed::open(&self.root)?,
        };
        let replaced = installed.present(&build.bins);
        if !self.arguments.force {
            self.refuse_others(package, &replaced)?;
        }
        for (name, from) in &programs {
            let to = binaries.join(name);
            hand_over(from, &to)?;
            let verb = match replaced.contains_key(name) {
                true => "Replaced",
                false => "Installed",
            };
            self.shell.status(verb, &to.display().to_string());
        }
        if !self.arguments.no_track {
            for name in installed.note(package, build, &replaced, all) {
                let orphan = binaries.join(&name);
                if std::fs::remove_file(&orphan).is_ok() {
                    let orphan = orphan.display();
                    let message = format!("`{orphan}`, which an earlier version installed");
                    self.shell.status("Removing", &harmless_line(&message));
                }
            }
            installed.save()?;
        }
        if let Some(attestation) = &built.attestation {
            let package = format!("{}-{}", package.name(), package.version());
            let to = self.root.join("share/kiln").join(package).join(ATTESTATION);
            hand_over(attestation, &to)?;
            self.shell.status("Attested", &to.display().to_string());
        }
        Ok(())
    }

    fn mind_path(&self) {
        let binaries = self.root.join("bin");
        let path = self.context.variables.get("PATH");
        if !path.is_some_and(|path| std::env::split_paths(path).any(|one| one == binaries)) {
            self.shell.warning(&format!(
                "be sure to add `{}` to your PATH to be able to run the installed binaries",
                binaries.display()
            ));
        }
    }
}

fn nothing_to_install(candidate: &Candidate) -> DriverError {
    DriverError::Request {
        message: format!(
            "there is nothing to install in `{}`, because it has no such programs",
            candidate.package
        ),
        help: Some(
            "`install` is for programs; to use a library, add it to the dependencies of a package"
                .to_owned(),
        ),
    }
}
