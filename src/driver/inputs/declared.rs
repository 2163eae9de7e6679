//! What configuration brings into a build from the machine: linkers, wrappers of rustc, variables, paths in flags.
//!
//! All of it is made an input: programs are found in the system's directories and added to what linking sees, paths of
//! the checkout become those that actions see, values stand in the action. A daily build takes what configuration
//! names. What ships is built from what was declared, so that a hermetic build stops at whatever neither the toolchains
//! hold nor `[toolchain]` of `kiln.toml` names, and says the line that would declare it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::directive::split_search_path;
use crate::driver::{Context, DriverError, Reporter};
use crate::manifest::config::{ConfiguredProgram, ProgramName};
use crate::manifest::model::Workspace;
use crate::plan::layout::Layout;
use crate::plan::settings::{PlatformSettings, Settings};
use crate::policy::{BuildMode, FILE_NAME, Policy};
use crate::toolchain::model::{CToolchain, RustToolchain, TargetInfo};

/// Variables of `[env]` that are kiln's own in every action.
const NOT_HEEDED: [&str; 2] = ["PATH", "TMPDIR"];

/// What linking sees beside the C toolchain.
#[derive(Debug, Default)]
pub(in crate::driver) struct Declared {
    /// Programs that have to be there.
    pub(in crate::driver) programs: BTreeSet<String>,
    /// Programs that are wanted if they are there.
    pub(in crate::driver) programs_if_present: BTreeSet<String>,
    /// Files and directories.
    pub(in crate::driver) paths: BTreeSet<String>,
}

/// By what configuration is judged.
pub(in crate::driver) struct Judge<'a> {
    pub(in crate::driver) context: &'a Context,
    pub(in crate::driver) workspace: &'a Workspace,
    pub(in crate::driver) layout: &'a Layout,
    pub(in crate::driver) policy: &'a Policy,
    pub(in crate::driver) rust: &'a RustToolchain,
    pub(in crate::driver) c: &'a CToolchain,
    pub(in crate::driver) search: &'a [PathBuf],
    pub(in crate::driver) mode: BuildMode,
}

impl Judge<'_> {
    /// Completes `settings`, whose flags are known, and says what linking has to see for it.
    pub(in crate::driver) fn complete(
        &self,
        settings: &mut Settings,
        reporter: &mut dyn Reporter,
    ) -> Result<Declared, DriverError> {
        let mut declared = Declared {
            programs: self.policy.toolchain_programs().iter().cloned().collect(),
            paths: self.policy.toolchain_paths().iter().cloned().collect(),
            ..Declared::default()
        };
        let host = self.rust.version.host.clone();
        self.platform(
            &host,
            &self.rust.host().cfg,
            &mut settings.host,
            &mut declared,
        )?;
        for (triple, platform) in &mut settings.targets {
            let cfg = self
                .rust
                .targets
                .get(triple)
                .map_or(&[][..], |info| &info.cfg);
            self.platform(triple, cfg, platform, &mut declared)?;
        }
        let config = &self.context.config;
        settings.wrapper = self.wrapper(config.rustc_wrapper()?, reporter)?;
        settings.workspace_wrapper = self.wrapper(config.rustc_workspace_wrapper()?, reporter)?;
        self.environment(settings, reporter)?;
        Ok(declared)
    }

    /// What runs programs under test. It runs in the sandbox with them, so it has to be seen there as a linker has.
    pub(in crate::driver) fn runners(
        &self,
        settings: &mut Settings,
        declared: &mut Declared,
    ) -> Result<(), DriverError> {
        settings.host.runner = self.runner(self.rust.host(), declared)?;
        for (triple, platform) in &mut settings.targets {
            if let Some(info) = self.rust.targets.get(triple) {
                platform.runner = self.runner(info, declared)?;
            }
        }
        Ok(())
    }

    fn runner(
        &self,
        info: &TargetInfo,
        declared: &mut Declared,
    ) -> Result<Vec<String>, DriverError> {
        let Some(runner) = self.context.config.runner(&info.triple, &info.cfg)? else {
            return Ok(Vec::new());
        };
        let key = format!("`{}` in `{}`", runner.program.key, runner.program.origin);
        let program = &runner.program.program;
        let place = match program {
            // Tests see the workspace.
            ProgramName::Path(path) if path.starts_with(&self.workspace.root) => {
                self.as_seen(&path.to_string_lossy())
            }
            ProgramName::Path(_) => self.program(program, &key, declared)?,
            ProgramName::Name(name) => {
                self.program(program, &key, declared)?;
                let found = self.search.iter().map(|directory| directory.join(name));
                match found.into_iter().find(|path| path.is_file()) {
                    Some(path) => path.display().to_string(),
                    None => {
                        return Err(DriverError::Request {
                            message: format!("{key} names the program `{name}`, which is not there"),
                            help: Some(
                                "install it in a directory of the system, or name it by its whole path"
                                    .to_owned(),
                            ),
                        });
                    }
                }
            }
        };
        let arguments = runner
            .arguments
            .iter()
            .map(|argument| self.as_seen(argument));
        Ok(std::iter::once(place).chain(arguments).collect())
    }

    fn is_hermetic(&self) -> bool {
        self.mode == BuildMode::Hermetic
    }

    fn platform(
        &self,
        triple: &str,
        cfg: &[cargo_platform::Cfg],
        settings: &mut PlatformSettings,
        declared: &mut Declared,
    ) -> Result<(), DriverError> {
        if let Some(linker) = self.context.config.linker(triple, cfg)? {
            let key = format!("`{}` in `{}`", linker.key, linker.origin);
            settings.linker = Some(self.program(&linker.program, &key, declared)?);
        }
        for (links, output) in &settings.overrides {
            let key = format!("`target.{triple}.{links}`");
            for path in &output.library_paths {
                let (_, path) = split_search_path(path);
                self.paths(&key, path)?;
                if !self.is_hermetic() && self.is_foreign(path) {
                    declared.paths.insert(path.to_owned());
                }
            }
        }
        for (name, flags) in [
            ("rustflags", &mut settings.rustflags),
            ("rustdocflags", &mut settings.rustdocflags),
        ] {
            for flag in flags.iter_mut() {
                *flag = self.as_seen(flag);
            }
            self.flags(&format!("`{name}` for `{triple}`"), flags, declared)?;
        }
        Ok(())
    }

    /// The program as actions name it; it is added to what they see where that is allowed.
    fn program(
        &self,
        program: &ProgramName,
        key: &str,
        declared: &mut Declared,
    ) -> Result<String, DriverError> {
        let name = program.to_string();
        if let ProgramName::Path(path) = program
            && path.starts_with(&self.workspace.root)
        {
            return Err(DriverError::Request {
                message: format!("{key} names a program of the checkout, `{name}`, which no action sees"),
                help: Some(
                    "name a program that is installed on the machine, or put what the script does into flags".to_owned(),
                ),
            });
        }
        if !self.is_there(program) && !self.is_declared(program) {
            if self.is_hermetic() {
                return Err(self.undeclared(key, "the program", &name, "programs"));
            }
            declared.programs.insert(name.clone());
        }
        Ok(name)
    }

    /// Whether the toolchains hold the program.
    fn is_there(&self, program: &ProgramName) -> bool {
        let inside = |path: &Path| {
            path.strip_prefix("/")
                .is_ok_and(|path| self.c.system.root.join(path).exists())
        };
        match program {
            ProgramName::Path(path) => inside(path),
            ProgramName::Name(name) => {
                let tools = self
                    .rust
                    .root
                    .join("lib/rustlib")
                    .join(&self.rust.version.host)
                    .join("bin");
                tools.join(name).exists()
                    || self
                        .c
                        .path
                        .split(':')
                        .any(|directory| inside(&Path::new(directory).join(name)))
            }
        }
    }

    fn is_declared(&self, program: &ProgramName) -> bool {
        let name = program.to_string();
        self.policy.toolchain_programs().iter().any(|declared| {
            *declared == name
                || matches!(program, ProgramName::Name(_))
                    && Path::new(declared)
                        .file_name()
                        .is_some_and(|file| *file == *name)
        })
    }

    fn undeclared(&self, key: &str, what: &str, name: &str, list: &str) -> DriverError {
        DriverError::Request {
            message: format!(
                "{key} names {what} `{name}`, which is no part of the toolchains that are declared"
            ),
            help: Some(format!(
                "declare it in `{FILE_NAME}`, so that its content is an input of the build:\n\
                 [toolchain]\n{list} = [\"{name}\"]\n\
                 or build without `--hermetic`"
            )),
        }
    }

    /// Looks for programs, paths and this machine's processor in flags.
    fn flags(
        &self,
        key: &str,
        flags: &[String],
        declared: &mut Declared,
    ) -> Result<(), DriverError> {
        for option in codegen_options(flags) {
            match option.split_once('=') {
                Some(("target-cpu", "native")) if self.is_hermetic() => {
                    return Err(DriverError::Request {
                        message: format!(
                            "{key} have `target-cpu=native`: what is built then depends on this machine's processor"
                        ),
                        help: Some("name a processor, such as `-C target-cpu=x86-64-v3`, or build without `--hermetic`".to_owned()),
                    });
                }
                Some(("linker", linker)) => {
                    let program = if linker.contains('/') {
                        ProgramName::Path(PathBuf::from(linker))
                    } else {
                        ProgramName::Name(linker.to_owned())
                    };
                    self.program(&program, key, declared)?;
                }
                Some(("link-arg", argument)) => self.link_argument(key, argument, declared)?,
                Some(("link-args", arguments)) => {
                    for argument in arguments.split_whitespace() {
                        self.link_argument(key, argument, declared)?;
                    }
                }
                _ => {}
            }
        }
        for flag in flags {
            self.paths(key, flag)?;
        }
        Ok(())
    }

    /// `-fuse-ld=NAME`, which has the linker driver look for `ld.NAME`, and `--ld-path=PROGRAM`.
    fn link_argument(
        &self,
        key: &str,
        argument: &str,
        declared: &mut Declared,
    ) -> Result<(), DriverError> {
        if let Some(name) = argument.strip_prefix("-fuse-ld=") {
            let file = if name.contains('/') {
                name.to_owned()
            } else {
                format!("ld.{name}")
            };
            let program = if name.contains('/') {
                ProgramName::Path(PathBuf::from(&file))
            } else {
                ProgramName::Name(file.clone())
            };
            let plain = ProgramName::Name(name.to_owned());
            if !self.is_there(&program) && !self.is_declared(&program) && !self.is_declared(&plain)
            {
                if self.is_hermetic() {
                    return Err(self.undeclared(key, "the linker", &file, "programs"));
                }
                // The driver says best what it looked for.
                declared.programs_if_present.insert(file);
            }
        } else if let Some(path) = argument.strip_prefix("--ld-path=") {
            let program = if path.contains('/') {
                ProgramName::Path(PathBuf::from(path))
            } else {
                ProgramName::Name(path.to_owned())
            };
            self.program(&program, key, declared)?;
        }
        Ok(())
    }

    /// Refuses absolute paths of this machine that nothing declares, where that matters.
    fn paths(&self, key: &str, text: &str) -> Result<(), DriverError> {
        if !self.is_hermetic() {
            return Ok(());
        }
        match absolute_paths(text).find(|path| self.is_foreign(path)) {
            None => Ok(()),
            Some(path) => Err(self.undeclared(key, "the path", path, "read")),
        }
    }

    /// Whether there is such a file on this machine, and none that an action would see.
    fn is_foreign(&self, path: &str) -> bool {
        let below = |whole: &str| Path::new(path).starts_with(whole);
        let host = Path::new(path);
        host.exists()
            && host.parent().is_some()
            && !below(self.layout.prefix().as_str())
            && !["/tmp", "/dev", "/proc"].iter().any(|own| below(own))
            && !self
                .c
                .system
                .cover
                .iter()
                .any(|covered| below(covered) || Path::new(covered).starts_with(path))
            && !self
                .policy
                .toolchain_paths()
                .iter()
                .any(|declared| below(declared))
            && !self
                .policy
                .toolchain_programs()
                .iter()
                .any(|declared| declared == path)
    }

    /// `text` with the checkout's paths as actions see them.
    fn as_seen(&self, text: &str) -> String {
        let Some(root) = self.workspace.root.to_str().filter(|root| root.len() > 1) else {
            return text.to_owned();
        };
        let workspace = self.layout.workspace();
        let mut seen = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(root) {
            let (before, after) = rest.split_at(at);
            let after = &after[root.len()..];
            // Only whole components: `/work` is no part of `/workshop`.
            let starts = before.chars().next_back().is_none_or(|c| !is_of_name(c));
            let ends = after.chars().next().is_none_or(|c| !is_of_name(c));
            seen.push_str(before);
            seen.push_str(if starts && ends {
                workspace.as_str()
            } else {
                root
            });
            rest = after;
        }
        seen + rest
    }

    /// Where the wrapper is, if it is to be run. One that nobody declared is not: most are caches, which the sandbox keeps
    /// from their servers and directories, and kiln has one of its own.
    fn wrapper(
        &self,
        wrapper: Option<ConfiguredProgram>,
        reporter: &mut dyn Reporter,
    ) -> Result<Option<String>, DriverError> {
        let Some(wrapper) = wrapper else {
            return Ok(None);
        };
        let key = format!("`{}` in `{}`", wrapper.key, wrapper.origin);
        let name = wrapper.program.to_string();
        if self.is_declared(&wrapper.program) {
            let place = match &wrapper.program {
                ProgramName::Path(path) => Some(path.clone()),
                ProgramName::Name(name) => self
                    .search
                    .iter()
                    .map(|directory| directory.join(name))
                    .find(|path| path.is_file()),
            };
            return match place {
                Some(path) => Ok(Some(path.display().to_string())),
                None => Err(DriverError::Request {
                    message: format!("{key} names the program `{name}`, which is not there"),
                    help: Some("install it, or unset it with `RUSTC_WRAPPER=` or `--config build.rustc-wrapper=''`".to_owned()),
                }),
            };
        }
        if self.is_hermetic() {
            return Err(DriverError::Request {
                message: format!(
                    "{key} names the program `{name}` to run every rustc through, and nothing declares it"
                ),
                help: Some(format!(
                    "unset it with `--config {}=''`, or declare it in `{FILE_NAME}` to have it run in the sandbox:\n\
                     [toolchain]\nprograms = [\"{name}\"]",
                    wrapper.key
                )),
            });
        }
        reporter.warning(&format!(
            "{key} names `{name}` to run every rustc through; it is not run, since kiln keeps results itself \
             (`[toolchain] programs = [\"{name}\"]` in `{FILE_NAME}` has it run in the sandbox)"
        ));
        Ok(None)
    }

    fn environment(
        &self,
        settings: &mut Settings,
        reporter: &mut dyn Reporter,
    ) -> Result<(), DriverError> {
        for variable in self.context.config.environment()? {
            let key = format!("`env.{}` in `{}`", variable.name, variable.origin);
            if NOT_HEEDED.contains(&variable.name.as_str()) {
                reporter.warning(&format!(
                    "{key} is not heeded: it is kiln's own in every action"
                ));
                continue;
            }
            let users = self.context.variables.get(&variable.name);
            let value = match users {
                // As in cargo, but what ships does not depend on who builds it.
                Some(value) if !variable.force && !self.is_hermetic() => value,
                _ => &variable.value,
            };
            let value = self.as_seen(value);
            self.paths(&key, &value)?;
            settings.environment.insert(variable.name, value);
        }
        Ok(())
    }
}

/// The values of `-C`, `--codegen` and the like.
fn codegen_options(flags: &[String]) -> Vec<&str> {
    let mut options = Vec::new();
    let mut words = flags.iter();
    while let Some(word) = words.next() {
        if word == "-C" || word == "--codegen" {
            options.extend(words.next().map(String::as_str));
        } else if let Some(option) = word
            .strip_prefix("-C")
            .or_else(|| word.strip_prefix("--codegen="))
        {
            options.push(option);
        }
    }
    options
}

/// Whether a character belongs to the name of a file rather than ending it.
fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '@' | '~')
}

/// The absolute paths in a flag or a value: at its beginning, or after what separates the parts of either.
fn absolute_paths(text: &str) -> impl Iterator<Item = &str> {
    text.split(['=', ',', ':', ';', ' ', '\t', '\n', '"', '\''])
        .map(|part| {
            part.strip_prefix("-L")
                .or_else(|| part.strip_prefix("-I"))
                .unwrap_or(part)
        })
        .map(|part| part.strip_prefix("-T").unwrap_or(part))
        .filter(|part| part.starts_with('/') && part.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_where_flags_have_them() {
        for (text, expected) in [
            ("-L/opt/lib", &["/opt/lib"] as &[&str]),
            ("link-arg=-Wl,-rpath,/opt/lib", &["/opt/lib"]),
            ("native=/a:/b", &["/a", "/b"]),
            ("a/b", &[]),
            ("https://example.com/", &["//example.com/"]),
            ("/", &[]),
        ] {
            assert_eq!(absolute_paths(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn options_in_all_spellings() {
        let flags = [
            "-C",
            "a=1",
            "-Cb",
            "--codegen",
            "c",
            "--codegen=d",
            "-g",
            "-C",
        ]
        .map(str::to_owned);
        assert_eq!(codegen_options(&flags), ["a=1", "b", "c", "d"]);
    }
}
