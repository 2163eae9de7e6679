//! From bytes to [`BuildScriptOutput`].

use std::collections::BTreeSet;

use cargo_util_schemas::manifest::RustVersion;

use super::output::{BuildScriptOutput, LinkArg, LinkArgTarget, LogMessage, Severity};
use super::{MAX_DIRECTIVES, MAX_INPUT_BYTES, MAX_LINE_BYTES, MAX_TOTAL_BYTES};
use crate::manifest::model::{Package, Target};
use crate::message::text::excerpt;

/// What the rules of the directives depend on: the package whose build script it is.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// The package, for messages: `name v1.2.3`.
    pub package: String,
    /// The crate name of its library.
    pub library: Option<String>,
    /// `rust-version`: below 1.77 the package must not use the `cargo::` syntax.
    pub rust_version: Option<RustVersion>,
    /// The names of its binaries.
    pub bins: BTreeSet<String>,
    /// Whether it has a cdylib.
    pub has_cdylib: bool,
    /// Whether it has a `[[test]]`.
    pub has_tests: bool,
    /// Whether it has a `[[bench]]`.
    pub has_benches: bool,
    /// Whether it has an example.
    pub has_examples: bool,
}

impl From<&Package> for Subject {
    fn from(package: &Package) -> Self {
        let any = |test: fn(&Target) -> bool| package.targets.iter().any(|target| test(target));
        Self {
            package: package.id().to_string(),
            library: package.library().map(|library| library.crate_name()),
            rust_version: package.summary.rust_version,
            bins: package
                .targets
                .iter()
                .filter(|target| target.is_bin())
                .map(|target| target.name.clone())
                .collect(),
            has_cdylib: any(Target::is_cdylib),
            has_tests: any(Target::is_test),
            has_benches: any(Target::is_bench),
            has_examples: any(Target::is_example),
        }
    }
}

/// What decides whether a package that sets `RUSTC_BOOTSTRAP` for itself is only warned about.
#[derive(Debug, Clone, Default)]
pub struct Bootstrap {
    /// The toolchain is a nightly (or the user set `RUSTC_BOOTSTRAP=1`).
    pub nightly: bool,
    /// The user's own `RUSTC_BOOTSTRAP`: crate names, separated by commas.
    pub variable: Option<String>,
}

impl Bootstrap {
    fn allows(&self, library: Option<&str>) -> bool {
        self.nightly
            || library.is_some_and(|library| {
                self.variable
                    .as_deref()
                    .is_some_and(|list| list.split(',').any(|name| name == library))
            })
    }
}

/// Why the output of a build script is refused. Each names the package and quotes the line, made harmless.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectiveError {
    /// More was printed than anybody means to.
    #[error("the build script of `{package}` printed too much: more than {limit} {unit}")]
    TooMuch {
        /// Whose build script.
        package: String,
        /// The limit.
        limit: usize,
        /// What is counted.
        unit: &'static str,
    },
    /// `cargo::` in a package that promises to build with a cargo that does not know it.
    #[error(
        "the build script of `{package}` printed `{line}`, but `cargo::` is known only since Rust 1.77.0 and the \
         package says `rust-version = \"{rust_version}\"`"
    )]
    SyntaxTooNew {
        /// Whose build script.
        package: String,
        /// What it printed.
        line: String,
        /// What the package promises.
        rust_version: RustVersion,
        /// The same in the older syntax, where there is such a thing.
        older: Option<String>,
    },
    /// There is no `=`.
    #[error(
        "the build script of `{package}` printed `{line}`: there is no `=`, `{form}` is expected"
    )]
    NoEqualsSign {
        /// Whose build script.
        package: String,
        /// What it printed.
        line: String,
        /// What is expected.
        form: &'static str,
    },
    /// `cargo::KEY=` with a key that is not known.
    #[error("the build script of `{package}` printed `{line}`: there is no directive `{key}`")]
    UnknownKey {
        /// Whose build script.
        package: String,
        /// What it printed.
        line: String,
        /// The key.
        key: String,
    },
    /// A linker argument for a kind of target, or a binary, that the package does not have.
    #[error("the build script of `{package}` printed `{line}`, but the package has no {target}")]
    NoSuchTarget {
        /// Whose build script.
        package: String,
        /// What it printed.
        line: String,
        /// What it does not have.
        target: String,
    },
    /// `rustc-flags` with something other than `-l` and `-L`, or without its value.
    #[error("the build script of `{package}` printed `{line}`: {why}")]
    Flags {
        /// Whose build script.
        package: String,
        /// What it printed.
        line: String,
        /// What is wrong.
        why: String,
    },
    /// The package wants to unlock unstable features for itself.
    #[error(
        "the build script of `{package}` printed `{line}`: a package cannot set `RUSTC_BOOTSTRAP` for itself, that \
         would undo the promise of stability"
    )]
    Bootstrap {
        /// Whose build script.
        package: String,
        /// What it printed.
        line: String,
        /// The value to set by hand.
        allow: String,
    },
    /// A value that no process can be given: it holds a NUL byte, or names a variable without a name.
    #[error("the build script of `{package}` printed `{line}`: {why}")]
    Unusable {
        /// Whose build script.
        package: String,
        /// What it printed.
        line: String,
        /// What is wrong.
        why: &'static str,
    },
}

impl DirectiveError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            DirectiveError::TooMuch { .. } => {
                Some("look at what the build script prints; this is a defect of the package".to_owned())
            }
            DirectiveError::SyntaxTooNew { older: Some(older), .. } => Some(format!(
                "in the package, print `{older}` (one colon), or raise its `rust-version` to 1.77"
            )),
            DirectiveError::SyntaxTooNew { .. } => {
                Some("in the package, raise `rust-version` to 1.77".to_owned())
            }
            DirectiveError::Bootstrap { allow, .. } => Some(format!(
                "if you accept it, set `RUSTC_BOOTSTRAP={allow}` for the whole build"
            )),
            DirectiveError::NoEqualsSign { .. }
            | DirectiveError::UnknownKey { .. }
            | DirectiveError::NoSuchTarget { .. }
            | DirectiveError::Flags { .. }
            | DirectiveError::Unusable { .. } => Some(
                "this is a defect of the package; \"Outputs of the Build Script\" in the Cargo book lists the directives"
                    .to_owned(),
            ),
        }
    }
}

/// Directives that the one-colon syntax knows; anything else after `cargo:` is metadata.
const OLD_KEYS: &[&str] = &[
    "rustc-flags",
    "rustc-link-lib",
    "rustc-link-search",
    "rustc-link-arg-cdylib",
    "rustc-cdylib-link-arg",
    "rustc-link-arg-bins",
    "rustc-link-arg-bin",
    "rustc-link-arg-tests",
    "rustc-link-arg-benches",
    "rustc-link-arg-examples",
    "rustc-link-arg",
    "rustc-cfg",
    "rustc-check-cfg",
    "rustc-env",
    "warning",
    "rerun-if-changed",
    "rerun-if-env-changed",
];

fn is_old_directive(data: &str) -> bool {
    data.split_once('=')
        .is_some_and(|(key, _)| OLD_KEYS.contains(&key))
}

/// The warnings and errors alone, for a build script that failed: nothing else of its output counts then.
/// Bytes that are not UTF-8 are replaced, and whatever is beyond the bounds is left out.
pub fn log_messages(stdout: &[u8]) -> Vec<LogMessage> {
    let mut messages = Vec::new();
    let mut total = 0;
    for line in stdout.split(|byte| *byte == b'\n') {
        let (severity, rest) = if let Some(rest) = line.strip_prefix(b"cargo::error=") {
            (Severity::Error, rest)
        } else if let Some(rest) = line
            .strip_prefix(b"cargo::warning=")
            .or_else(|| line.strip_prefix(b"cargo:warning="))
        {
            (Severity::Warning, rest)
        } else {
            continue;
        };
        let rest = rest.strip_suffix(b"\r").unwrap_or(rest);
        let rest = &rest[..rest.len().min(MAX_LINE_BYTES)];
        total += rest.len();
        if messages.len() == MAX_DIRECTIVES || total > MAX_TOTAL_BYTES {
            break;
        }
        messages.push(LogMessage {
            severity,
            text: String::from_utf8_lossy(rest).into_owned(),
        });
    }
    messages
}

/// Parses the standard output of a build script that exited with success.
///
/// If it printed a `cargo::error`, only its messages are returned, as in cargo: the run counts as failed
/// ([`BuildScriptOutput::errors`]) and nothing else of it is used.
///
/// # Errors
/// What cargo refuses, and output beyond this module's bounds.
pub fn parse(
    stdout: &[u8],
    subject: &Subject,
    bootstrap: &Bootstrap,
) -> Result<BuildScriptOutput, DirectiveError> {
    let too_much = |limit, unit| {
        Err(DirectiveError::TooMuch {
            package: excerpt(&subject.package),
            limit,
            unit,
        })
    };
    if stdout.len() > MAX_INPUT_BYTES {
        return too_much(MAX_INPUT_BYTES, "bytes");
    }
    let messages = log_messages(stdout);
    if messages
        .iter()
        .any(|message| message.severity == Severity::Error)
    {
        return Ok(BuildScriptOutput {
            log_messages: messages,
            ..BuildScriptOutput::default()
        });
    }

    let mut parser = Parser {
        subject,
        bootstrap,
        output: BuildScriptOutput::default(),
    };
    let (mut count, mut total) = (0, 0);
    for line in stdout.split(|byte| *byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else {
            continue;
        };
        let line = line.trim();
        if !line.starts_with("cargo:") {
            continue;
        }
        count += 1;
        total += line.len();
        if line.len() > MAX_LINE_BYTES {
            return too_much(MAX_LINE_BYTES, "bytes in one directive");
        }
        if count > MAX_DIRECTIVES {
            return too_much(MAX_DIRECTIVES, "directives");
        }
        if total > MAX_TOTAL_BYTES {
            return too_much(MAX_TOTAL_BYTES, "bytes in its directives");
        }
        parser.line(line)?;
    }
    Ok(parser.output)
}

/// What the directives come to that configuration puts in the place of a build script: (key, value), as a script would
/// have printed them.
///
/// # Errors
/// What is refused of a build script, too.
pub fn of_override(directives: &[(String, String)]) -> Result<BuildScriptOutput, DirectiveError> {
    // Which targets the package has is not asked here, as in cargo.
    let subject = Subject {
        package: "the configuration".to_owned(),
        bins: BTreeSet::from([String::new()]),
        has_cdylib: true,
        has_tests: true,
        has_benches: true,
        has_examples: true,
        ..Subject::default()
    };
    let mut parser = Parser {
        subject: &subject,
        bootstrap: &Bootstrap::default(),
        output: BuildScriptOutput::default(),
    };
    for (key, value) in directives {
        let line = format!("{key}={value}");
        parser.check_nul(&line)?;
        parser.directive(&line, key, value)?;
    }
    Ok(parser.output)
}

struct Parser<'a> {
    subject: &'a Subject,
    bootstrap: &'a Bootstrap,
    output: BuildScriptOutput,
}

impl Parser<'_> {
    fn package(&self) -> String {
        excerpt(&self.subject.package)
    }

    fn line(&mut self, line: &str) -> Result<(), DirectiveError> {
        let (key, value) = if let Some(data) = line.strip_prefix("cargo::") {
            self.check_rust_version(line, data)?;
            self.key_and_value(line, data, "cargo::KEY=VALUE")?
        } else if let Some(data) = line.strip_prefix("cargo:") {
            if is_old_directive(data) {
                self.key_and_value(line, data, "cargo:KEY=VALUE")?
            } else {
                let (key, value) = self.key_and_value(line, data, "cargo:KEY=VALUE")?;
                return self.metadata(line, key, value);
            }
        } else {
            return Ok(());
        };
        if key != "warning" && key != "error" {
            self.check_nul(line)?;
        }
        self.directive(line, key, value)
    }

    fn directive(&mut self, line: &str, key: &str, value: &str) -> Result<(), DirectiveError> {
        let subject = self.subject;
        let output = &mut self.output;
        let owned = || value.to_owned();
        match key {
            "rustc-flags" => self.flags(line, value)?,
            "rustc-link-lib" => output.library_links.push(owned()),
            "rustc-link-search" => output.library_paths.push(owned()),
            "rustc-link-arg" => self.link_arg(LinkArgTarget::All, value),
            "rustc-link-arg-cdylib" | "rustc-cdylib-link-arg" => {
                if !subject.has_cdylib {
                    output.log_messages.push(LogMessage {
                        severity: Severity::Warning,
                        text: format!(
                            "the build script of {} printed `{key}`, but the package has no cdylib; that this is \
                             accepted at all is an old mistake of cargo's, and may end",
                            subject.package
                        ),
                    });
                }
                self.link_arg(LinkArgTarget::Cdylib, value);
            }
            "rustc-link-arg-bins" => {
                self.require(!subject.bins.is_empty(), line, "bin target")?;
                self.link_arg(LinkArgTarget::Bins, value);
            }
            "rustc-link-arg-bin" => {
                let Some((bin, argument)) = value.split_once('=') else {
                    return Err(DirectiveError::NoEqualsSign {
                        package: self.package(),
                        line: excerpt(line),
                        form: "rustc-link-arg-bin=BIN=ARG",
                    });
                };
                let what = format!("bin target named `{}`", excerpt(bin));
                self.require(subject.bins.contains(bin), line, &what)?;
                self.link_arg(LinkArgTarget::Bin(bin.to_owned()), argument);
            }
            "rustc-link-arg-tests" => {
                self.require(subject.has_tests, line, "test target")?;
                self.link_arg(LinkArgTarget::Tests, value);
            }
            "rustc-link-arg-benches" => {
                self.require(subject.has_benches, line, "benchmark target")?;
                self.link_arg(LinkArgTarget::Benches, value);
            }
            "rustc-link-arg-examples" => {
                self.require(subject.has_examples, line, "example target")?;
                self.link_arg(LinkArgTarget::Examples, value);
            }
            "rustc-cfg" => output.cfgs.push(owned()),
            "rustc-check-cfg" => output.check_cfgs.push(owned()),
            "rustc-env" => self.env(line, value)?,
            "warning" => self.log(Severity::Warning, value),
            "error" => self.log(Severity::Error, value),
            "rerun-if-changed" => output.rerun_if_changed.push(owned()),
            "rerun-if-env-changed" => output.rerun_if_env_changed.push(owned()),
            "metadata" => {
                let (key, value) = self.key_and_value(line, value, "cargo::metadata=KEY=VALUE")?;
                self.metadata(line, key, value)?;
            }
            _ => {
                return Err(DirectiveError::UnknownKey {
                    package: self.package(),
                    line: excerpt(line),
                    key: excerpt(key),
                });
            }
        }
        Ok(())
    }

    fn check_rust_version(&self, line: &str, data: &str) -> Result<(), DirectiveError> {
        let Some(rust_version) = self.subject.rust_version else {
            return Ok(());
        };
        if RustVersion::new(1, 77, 0).is_compatible_with(&rust_version.to_partial()) {
            return Ok(());
        }
        let older = if is_old_directive(data) {
            Some(format!("cargo:{data}"))
        } else {
            data.strip_prefix("metadata=")
                .map(|rest| format!("cargo:{rest}"))
        };
        Err(DirectiveError::SyntaxTooNew {
            package: self.package(),
            line: excerpt(line),
            rust_version,
            older: older.map(|older| excerpt(&older)),
        })
    }

    fn key_and_value<'a>(
        &self,
        line: &str,
        data: &'a str,
        form: &'static str,
    ) -> Result<(&'a str, &'a str), DirectiveError> {
        match data.split_once('=') {
            Some((key, value)) => Ok((key, value.trim_end())),
            None => Err(DirectiveError::NoEqualsSign {
                package: self.package(),
                line: excerpt(line),
                form,
            }),
        }
    }

    fn check_nul(&self, line: &str) -> Result<(), DirectiveError> {
        if line.contains('\0') {
            return Err(self.unusable(line, "it holds a NUL byte, which no process can be given"));
        }
        Ok(())
    }

    fn unusable(&self, line: &str, why: &'static str) -> DirectiveError {
        DirectiveError::Unusable {
            package: self.package(),
            line: excerpt(line),
            why,
        }
    }

    fn require(&self, present: bool, line: &str, target: &str) -> Result<(), DirectiveError> {
        if present {
            return Ok(());
        }
        Err(DirectiveError::NoSuchTarget {
            package: self.package(),
            line: excerpt(line),
            target: target.to_owned(),
        })
    }

    fn log(&mut self, severity: Severity, text: &str) {
        self.output.log_messages.push(LogMessage {
            severity,
            text: text.to_owned(),
        });
    }

    fn link_arg(&mut self, target: LinkArgTarget, argument: &str) {
        self.output.link_args.push(LinkArg {
            target,
            argument: argument.to_owned(),
        });
    }

    fn metadata(&mut self, line: &str, key: &str, value: &str) -> Result<(), DirectiveError> {
        self.check_nul(line)?;
        self.output
            .metadata
            .push((key.to_owned(), value.to_owned()));
        Ok(())
    }

    /// `-l NAME`, `-lNAME`, `-L PATH` and `-LPATH`, separated by white space; there is no quoting.
    fn flags(&mut self, line: &str, value: &str) -> Result<(), DirectiveError> {
        let fail = |why: String| {
            Err(DirectiveError::Flags {
                package: excerpt(&self.subject.package),
                line: excerpt(line),
                why,
            })
        };
        let mut words = value.split_whitespace();
        while let Some(word) = words.next() {
            let (list, name, rest) = if let Some(rest) = word.strip_prefix("-l") {
                (&mut self.output.library_links, "-l", rest)
            } else if let Some(rest) = word.strip_prefix("-L") {
                (&mut self.output.library_paths, "-L", rest)
            } else {
                return fail(format!(
                    "`{}` is neither `-l` nor `-L`, which are all that `rustc-flags` may hold",
                    excerpt(word)
                ));
            };
            let argument = if rest.is_empty() {
                match words.next() {
                    Some(argument) => argument,
                    None => return fail(format!("the last `{name}` has no value")),
                }
            } else {
                rest
            };
            list.push(argument.to_owned());
        }
        Ok(())
    }

    fn env(&mut self, line: &str, value: &str) -> Result<(), DirectiveError> {
        let Some((name, value)) = value.split_once('=') else {
            return Err(DirectiveError::NoEqualsSign {
                package: self.package(),
                line: excerpt(line),
                form: "rustc-env=NAME=VALUE",
            });
        };
        if name.is_empty() {
            return Err(self.unusable(line, "the variable has no name"));
        }
        if name != "RUSTC_BOOTSTRAP" {
            self.output.env.push((name.to_owned(), value.to_owned()));
            return Ok(());
        }
        let library = self.subject.library.as_deref();
        if !self.bootstrap.allows(library) {
            return Err(DirectiveError::Bootstrap {
                package: self.package(),
                line: excerpt(line),
                allow: excerpt(library.unwrap_or("1")),
            });
        }
        let text = format!(
            "`RUSTC_BOOTSTRAP={value}`, set by the build script of {}, has no effect: a package cannot set it for itself",
            self.subject.package
        );
        self.log(Severity::Warning, &text);
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
