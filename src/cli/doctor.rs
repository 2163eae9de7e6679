//! `doctor`: what this machine offers, layer by layer, and what to do about what is missing.

use std::process::ExitCode;
use std::sync::Arc;

use crate::cli::shell::Shell;
use crate::diag::chain;
use crate::driver::{Context, DriverError, toolchains};
use crate::sandbox::probe::probe;
use crate::store::Store;

/// `kiln doctor`: exits with an error if nothing could be built here.
pub(super) fn doctor(context: &Context, shell: &Shell) -> Result<ExitCode, DriverError> {
    let probe = probe();
    let mut works = true;
    let line =
        |mark: &str, what: &str, found: &str| shell.line(&format!("{mark:<5} {what:<18} {found}"));
    let hint = |text: &str| shell.line(&format!("{:<24} help: {text}", ""));
    line(
        "",
        "kernel",
        &format!(
            "{}{}",
            probe.kernel,
            if probe.root { ", running as root" } else { "" }
        ),
    );
    for layer in &probe.layers {
        match &layer.found {
            Ok(found) => line("ok", &layer.layer.to_string(), found),
            Err(error) => {
                line("MISS", &layer.layer.to_string(), &chain(error));
                if let Some(help) = error.help() {
                    hint(&help);
                }
            }
        }
        if let Some(advice) = &layer.advice {
            hint(advice);
        }
    }
    match probe.best() {
        Some(isolation) => line(
            "ok",
            "isolation",
            &format!(
                "`--isolation {}` is the best that works here",
                isolation.as_str()
            ),
        ),
        None => {
            works = false;
            line(
                "MISS",
                "isolation",
                "no sandbox can be set up here, so nothing is built",
            );
        }
    }
    let mut show = |what: &str, found: Result<String, DriverError>| match found {
        Ok(found) => line("ok", what, &found),
        Err(error) => {
            works = false;
            let report = error.report();
            line(
                "MISS",
                what,
                &std::iter::once(report.message)
                    .chain(report.causes)
                    .collect::<Vec<_>>()
                    .join(": "),
            );
            if let Some(help) = report.help {
                hint(&help);
            }
        }
    };
    let store = match Store::open(&context.home) {
        Ok(store) => {
            show("store", Ok(context.home.display().to_string()));
            Some(Arc::new(store))
        }
        Err(error) => {
            show("store", Err(error.into()));
            None
        }
    };
    if let Some(store) = store {
        let rust = toolchains::rust_toolchain(context, &store, &context.directory, &[]);
        match rust {
            Ok(rust) => {
                show(
                    "Rust toolchain",
                    Ok(format!(
                        "{} {} at `{}`, chosen by {}, tree {}",
                        rust.version.release,
                        rust.version.host,
                        rust.root.display(),
                        rust.chosen_by,
                        rust.tree
                    )),
                );
                let c = toolchains::c_toolchain(&store, &rust);
                show(
                    "C toolchain",
                    c.map(|c| format!("{}, tree {}", c.version, c.system.tree)),
                );
            }
            Err(error) => show("Rust toolchain", Err(error)),
        }
    }
    Ok(if works {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(super::FAILURE)
    })
}
