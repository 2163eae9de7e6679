//! `package`.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::cli::args::{
    BuildArgs, CommonArgs, CompileArgs, FeatureArgs, HermeticArgs, IsolationChoice, PackageArgs,
    WorkArgs,
};
use crate::cli::compile::{Compilation, prepare_target, request, unsupported};
use crate::cli::report::FetchView;
use crate::cli::shell::Shell;
use crate::cli::target::{OWN, target_directory};
use crate::driver::packaging::{self, Created, FileList, Packaging, PackagingOptions};
use crate::driver::supply::registries::Registries;
use crate::driver::{Context, DriverError, resolution, toolchains};
use crate::manifest::model::{Package, Workspace};
use crate::message::text::harmless_line;
use crate::package::PackageId;
use crate::policy::FILE_NAME;
use crate::store::Store;
use crate::unit::{self, Intent, PackageSelection};

/// Flags of `package`.
#[derive(Debug, Clone, Default, Args)]
pub struct PackagingArgs {
    /// Which packages.
    #[command(flatten)]
    pub packages: PackageArgs,
    /// Only print the names of the files
    #[arg(short, long)]
    pub list: bool,
    /// Do not build what is in the archive
    #[arg(long)]
    pub no_verify: bool,
    /// Do not complain of a manifest that says little to people
    #[arg(long)]
    pub no_metadata: bool,
    /// Files may differ from what is committed
    #[arg(long)]
    pub allow_dirty: bool,
    /// Leave `Cargo.lock` out
    #[arg(long)]
    pub exclude_lockfile: bool,
    /// Which features it is built with, to see that it can be.
    #[command(flatten)]
    pub features: FeatureArgs,
    /// For which platforms, where to, how many at once.
    #[command(flatten)]
    pub work: WorkArgs,
    /// The layers of the sandbox: `full` (namespaces, Landlock, seccomp), `landlock` (without namespaces), `auto`
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t)]
    pub isolation: IsolationChoice,
    #[arg(long, hide = true, value_name = "NAME")]
    registry: Option<String>,
    #[arg(long, hide = true, value_name = "URL")]
    index: Option<String>,
    #[arg(long, hide = true, value_name = "FMT")]
    message_format: Option<String>,
}

impl PackagingArgs {
    /// The first flag that kiln does not have, and what to do instead.
    fn refused(&self) -> Option<(&'static str, &'static str)> {
        if self.registry.is_some() || self.index.is_some() {
            let flag = if self.registry.is_some() {
                "--registry"
            } else {
                "--index"
            };
            return Some((flag, "name the registry in `package.publish`"));
        }
        let text = self.message_format.as_deref();
        text.filter(|format| *format != "human")
            .map(|_| ("--message-format", "`--list` prints a name in each line"))
    }
}

/// `kiln package`.
pub(super) fn package(
    context: &Context,
    shell: &Shell,
    arguments: &PackagingArgs,
) -> Result<ExitCode, DriverError> {
    if let Some((flag, help)) = arguments.refused() {
        return Err(unsupported(flag, help));
    }
    let workspace = resolution::load(context)?;
    for warning in &workspace.warnings {
        shell.warning(warning);
    }
    let selection = PackageSelection::from_flags(
        arguments.packages.workspace,
        arguments.packages.exclude.clone(),
        arguments.packages.package.clone(),
    )?;
    let selected = unit::selected_members(&workspace, &selection)?;
    let packages: Vec<&Package> = selected.iter().map(|id| &**workspace.package(id)).collect();
    let options = PackagingOptions {
        allow_dirty: arguments.allow_dirty,
        exclude_lockfile: arguments.exclude_lockfile,
    };
    let mut making = if arguments.list {
        None
    } else {
        Some(Making::new(
            context, shell, arguments, &workspace, &packages,
        )?)
    };
    for package in packaging::in_order(&packages) {
        if !arguments.no_metadata {
            check_metadata(package, shell);
        }
        let list = packaging::list(package, &workspace.root_manifest, options)?;
        for warning in &list.warnings {
            shell.warning(warning);
        }
        match &mut making {
            None => list
                .files
                .iter()
                .for_each(|file| shell.line(&harmless_line(&file.path))),
            Some(making) => making.create(package, &list)?,
        }
    }
    if let Some(making) = making
        && !arguments.no_verify
    {
        making.verify()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Archives that are being made.
struct Making<'a> {
    shell: &'a Shell,
    arguments: &'a PackagingArgs,
    packaging: Packaging<'a>,
    made: Vec<(PackageId, Created)>,
}

impl<'a> Making<'a> {
    fn new(
        context: &Context,
        shell: &'a Shell,
        arguments: &'a PackagingArgs,
        workspace: &'a Workspace,
        packages: &[&Package],
    ) -> Result<Self, DriverError> {
        let store = Arc::new(Store::open(&context.home)?);
        if workspace.lock_path().exists() && !arguments.exclude_lockfile {
            // What is packaged keeps what the workspace's lock says, which has to fit.
            let mut view = FetchView::new(shell);
            let rust = toolchains::rust_toolchain(context, &store, &workspace.root, &[])?;
            let mut registries = Registries::new(context, &store, &mut view)?;
            let release = &rust.version.release;
            resolution::resolve(context, workspace.clone(), release, &mut registries)?;
            view.end();
        }
        let target = target_directory(context, workspace, arguments.work.target_dir.as_deref());
        prepare_target(&target)?;
        let destination = target.join(OWN).join("package");
        std::fs::create_dir_all(&destination).map_err(|source| DriverError::File {
            path: destination.clone(),
            verb: "written",
            source,
        })?;
        Ok(Self {
            shell,
            arguments,
            packaging: Packaging {
                context: context.clone(),
                store,
                workspace,
                registry: packaging::registry_of(packages, context)?,
                destination,
            },
            made: Vec::new(),
        })
    }

    fn create(&mut self, package: &Package, list: &FileList) -> Result<(), DriverError> {
        self.shell.status("Packaging", &package.id().to_string());
        for file in &list.files {
            self.shell
                .verbose_status("Archiving", &harmless_line(&file.path));
        }
        let mut view = FetchView::new(self.shell);
        let created = self.packaging.create(package, list, &mut view)?;
        view.end();
        self.shell.status(
            "Packaged",
            &format!(
                "{} files, {} ({} compressed)",
                list.files.len(),
                indicatif::BinaryBytes(created.bytes),
                indicatif::BinaryBytes(created.archive_bytes)
            ),
        );
        self.made.push((package.id().clone(), created));
        Ok(())
    }

    /// Builds each of the packages as it was packed.
    fn verify(self) -> Result<(), DriverError> {
        let Packaging {
            context,
            workspace,
            destination,
            ..
        } = self.packaging;
        let target = destination.join("verified");
        for (id, created) in self.made {
            self.shell.status("Verifying", &id.to_string());
            // What the user grants, he grants to what he packs; the archive is made and has it not.
            let policy = workspace.root.join(FILE_NAME);
            let own = created.directory.join(FILE_NAME);
            if policy.is_file() && !own.exists() {
                let failed = |source| DriverError::File {
                    path: own.clone(),
                    verb: "written",
                    source,
                };
                std::fs::copy(&policy, &own).map_err(failed)?;
            }
            let context = Context {
                manifest_path: Some(created.directory.join("Cargo.toml")),
                directory: created.directory.clone(),
                // It is a package of its own, whatever workspace its directory lies in.
                alone: true,
                ..context.clone()
            };
            let arguments = BuildArgs {
                common: CommonArgs {
                    features: self.arguments.features.clone(),
                    compile: CompileArgs {
                        work: WorkArgs {
                            target_dir: Some(target.clone()),
                            ..self.arguments.work.clone()
                        },
                        ..CompileArgs::default()
                    },
                    hermetic: HermeticArgs {
                        isolation: self.arguments.isolation,
                        ..HermeticArgs::default()
                    },
                    ..CommonArgs::default()
                },
                ..BuildArgs::default()
            };
            let request = request(&context, &arguments, Intent::Build)?;
            Compilation::new(&context, self.shell, &arguments, request)?.run()?;
        }
        // Nobody asked for these.
        let _ = std::fs::remove_dir_all(&target);
        Ok(())
    }
}

/// Says what people would want to know of the package, and the manifest does not tell.
fn check_metadata(package: &Package, shell: &Shell) {
    let metadata = &package.metadata;
    let has = |field: &Option<String>| field.as_ref().is_some_and(|text| !text.is_empty());
    let mut missing = Vec::new();
    if !has(&metadata.description) {
        missing.push("description");
    }
    if !has(&metadata.license) && !has(&metadata.license_file) {
        missing.extend(["license", "license-file"]);
    }
    if !has(&metadata.documentation) && !has(&metadata.homepage) && !has(&metadata.repository) {
        missing.extend(["documentation", "homepage", "repository"]);
    }
    if let Some((last, others)) = missing.split_last() {
        let or = if others.is_empty() { "" } else { " or " };
        shell.warning(&format!("manifest has no {}{or}{last}", others.join(", ")));
    }
}
