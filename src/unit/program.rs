//! Which one program `run` means. Source: cargo's `run` command and `cargo_run.rs`.

use std::sync::Arc;

use crate::manifest::model::{Package, Target, TargetKind, Workspace};
use crate::unit::UnitError;
use crate::unit::request::{BuildRequest, PackageSelection, TargetNames, TargetSelection};
use crate::unit::selection::{is_glob, select};

/// Narrows `request` to the one program that is to run: the one named by `--bin` or `--example`, by `default-run`, or
/// the only one that there is. Its required features then have to be on.
///
/// # Errors
/// If there is no such program, or more than one.
pub fn choose_program(workspace: &Workspace, request: &mut BuildRequest) -> Result<(), UnitError> {
    let targets = &request.targets;
    let named = targets.bins.names.iter().chain(&targets.examples.names);
    if let Some(pattern) = named.clone().find(|name| is_glob(name)) {
        return Err(UnitError::PatternForProgram {
            what: "target",
            pattern: pattern.clone(),
        });
    }
    if let PackageSelection::Packages(packages) = &request.packages
        && let Some(pattern) = packages.iter().find(|package| is_glob(package))
    {
        return Err(UnitError::PatternForProgram {
            what: "package",
            pattern: pattern.clone(),
        });
    }
    if request.platforms.len() > 1 {
        return Err(UnitError::SeveralPlatforms);
    }
    let packages = selected_members(workspace, &request.packages)?;
    let is_specific = named.count() > 0;
    if !is_specific {
        let defaults: Vec<&String> = packages
            .iter()
            .filter_map(|package| package.default_run.as_ref())
            .collect();
        if let [default] = defaults.as_slice() {
            request.targets.bins = TargetNames::named([(*default).clone()]);
            return Ok(());
        }
    }
    let is_meant = |target: &Target| match is_specific {
        false => target.is_bin(),
        true => {
            (target.is_bin() && request.targets.bins.names.contains(&target.name))
                || (target.is_example() && request.targets.examples.names.contains(&target.name))
        }
    };
    let programs: Vec<(&Package, &Target)> = packages
        .iter()
        .flat_map(|package| {
            package
                .targets
                .iter()
                .map(move |target| (&***package, &**target))
        })
        .filter(|(_, target)| is_meant(target))
        .collect();
    match programs.as_slice() {
        // A name that nothing has: lowering says so, with what there is instead.
        [] if is_specific => Ok(()),
        [] => Err(UnitError::NoProgram),
        [(_, target)] if matches!(target.kind, TargetKind::ExampleLib(_)) => {
            Err(UnitError::ExampleIsLibrary {
                name: target.name.clone(),
            })
        }
        [_] if is_specific => Ok(()),
        [(_, target)] => {
            request.targets = TargetSelection {
                lib_if_any: true,
                bins: TargetNames::named([target.name.clone()]),
                ..TargetSelection::default()
            };
            Ok(())
        }
        several if is_specific => Err(UnitError::SeveralPrograms {
            available: several
                .iter()
                .map(|(package, target)| {
                    let kind = if target.is_bin() { "bin" } else { "example" };
                    format!(
                        "{kind} `{}` in package `{}`",
                        target.name,
                        package.id().name()
                    )
                })
                .collect(),
        }),
        several => {
            let mut available: Vec<String> = several
                .iter()
                .map(|(_, target)| target.name.clone())
                .collect();
            available.sort();
            Err(UnitError::WhichProgram { available })
        }
    }
}

/// The members that `selection` means.
fn selected_members<'a>(
    workspace: &'a Workspace,
    selection: &PackageSelection,
) -> Result<Vec<&'a Arc<Package>>, UnitError> {
    let selected = select(workspace, selection)?;
    Ok(workspace
        .members
        .iter()
        .filter(|member| selected.selectors.iter().any(|one| one.matches(member)))
        .map(|member| workspace.package(member))
        .collect())
}
