//! `doc`.

use std::process::ExitCode;

use crate::cli::args::DocArgs;
use crate::cli::compile::{Compilation, request};
use crate::cli::shell::{Shell, Verbosity};
use crate::driver::building::repetition::Remembered;
use crate::driver::building::{documentation, programs};
use crate::driver::{Context, DriverError};
use crate::unit::Intent;

/// `kiln doc`.
pub(super) fn doc(
    context: &Context,
    shell: &Shell,
    arguments: &DocArgs,
) -> Result<ExitCode, DriverError> {
    let build = arguments.to_build();
    let intent = Intent::Doc {
        dependencies: !arguments.no_deps,
    };
    let request = request(context, &build, intent)?;
    let mut compilation = Compilation::new(context, shell, &build, request)?;
    compilation.options.private_items = arguments.document_private_items;
    let pages = compilation.run_or_recall(&context.arguments, |compiled| {
        let handed_out =
            documentation::hand_out(&compiled.planned, &compiled.built, &compiled.destination)?;
        Ok(Remembered {
            files: [handed_out.marks, handed_out.pages.clone()].concat(),
            outcome: handed_out.pages,
            present: Vec::new(),
        })
    })?;
    let Some(first) = pages.first() else {
        if arguments.open {
            return Err(DriverError::Request {
                message: "cannot open specified crate's documentation: no documentation generated"
                    .to_owned(),
                help: Some("name a package that has a library or a program".to_owned()),
            });
        }
        return Ok(ExitCode::SUCCESS);
    };
    if arguments.open {
        shell.status("Opening", &first.display().to_string());
        programs::open(context, first)?;
    } else if shell.verbosity() > Verbosity::Normal {
        for page in &pages {
            shell.status("Generated", &page.display().to_string());
        }
    } else {
        let others = match pages.len() - 1 {
            0 => String::new(),
            1 => " and 1 other file".to_owned(),
            count => format!(" and {count} other files"),
        };
        shell.status("Generated", &format!("{}{others}", first.display()));
    }
    Ok(ExitCode::SUCCESS)
}
