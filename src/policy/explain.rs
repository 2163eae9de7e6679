//! Denials explain themselves: what was denied to whom, and the one line that would grant it, or why there is none.

use super::decide::{BuildMode, Policy};
use super::file::{AppliesTo, FILE_NAME};
use crate::package::PackageId;
use crate::path::is_within;

/// What an action wanted and was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied<'a> {
    /// A program, by name or path.
    Exec(&'a str),
    /// A program that the machine does not have.
    AbsentProgram(&'a str),
    /// A file or directory that it wanted to read.
    Read(&'a str),
    /// A file or directory of the workspace outside of its package, by its path from the workspace's root.
    Workspace(&'a str),
    /// The directory of the repository that the workspace is in.
    Repository,
    /// A file or directory that it wanted to write.
    Write(&'a str),
    /// A library of the system, by its name in pkg-config.
    Library(&'a str),
    /// Such a library that is not installed.
    AbsentLibrary(&'a str),
    /// A library of the system, by its name for the linker.
    Link(&'a str),
    /// What a bundle holds.
    Bundle(&'a str),
    /// Its own sources, which it wanted to write to: at this path below the package, if that is known.
    WriteSource(&'a str),
    /// A variable of the environment.
    Env(&'a str),
    /// A socket, or a name to be resolved.
    Network,
    /// Another system call, by name.
    Syscall(&'a str),
}

/// What a user is told about a denial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What was denied to whom, in one sentence.
    pub what: String,
    /// What else there is to know: why nothing grants it, or who does already.
    pub note: Option<String>,
    /// The text to add to `kiln.toml` that would grant it; `None` if nothing grants such a thing.
    pub grant: Option<String>,
    /// The command that adds it.
    pub command: Option<String>,
}

/// Where files are that no build has business with.
const PRIVATE: [&str; 9] = [
    "/root",
    "/home",
    "/etc/shadow",
    "/etc/ssh",
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var/run",
];

/// Directories whose programs go by their name alone.
const PROGRAM_DIRECTORIES: [&str; 6] = [
    "/usr/bin/",
    "/bin/",
    "/usr/local/bin/",
    "/usr/sbin/",
    "/sbin/",
    "/usr/local/sbin/",
];

/// The name of a program that goes by its name alone.
pub(super) fn program_name(path: &str) -> Option<&str> {
    PROGRAM_DIRECTORIES
        .iter()
        .find_map(|directory| path.strip_prefix(directory))
        .filter(|name| !name.is_empty() && !name.contains('/'))
}

impl Policy {
    /// Explains a denial.
    pub fn explain(&self, package: &PackageId, denied: Denied<'_>) -> Advice {
        let who = format!("`{package}`");
        let name = package.name();
        let line = |key: &str, value: &str| {
            let value = toml::Value::String(value.to_owned());
            Some(format!("[crate.{name}]\n{key} = [{value}]\n"))
        };
        let command = |what: &str| Some(format!("kiln policy grant {name} {what}"));
        let with = |flag: &str, value: &str| command(&format!("{flag} {}", typed(value)?));
        let mut advice = match denied {
            Denied::Exec(program) => {
                let short = program_name(program).unwrap_or(program);
                let granted = self
                    .grants_for(package, [], BuildMode::Development)
                    .exec
                    .contains_key(short);
                Advice {
                    what: format!("{who} wanted to run the program `{program}`"),
                    note: self.note_about_program(package, short, granted),
                    grant: match self.bundle_with(short) {
                        _ if granted => None,
                        Some(bundle) => line("use", bundle),
                        None => line("exec", short),
                    },
                    command: match self.bundle_with(short) {
                        Some(bundle) => with("--bundle", bundle),
                        None => with("--exec", short),
                    },
                }
            }
            Denied::Read(path) => {
                let private = PRIVATE
                    .iter()
                    .any(|prefix| is_within(path, prefix));
                Advice {
                    what: format!("{who} wanted to read `{path}`"),
                    note: private.then(|| {
                        "no build needs a file from there: find out what the crate does before you trust it"
                            .to_owned()
                    }),
                    grant: if private { None } else { line("read", path) },
                    command: with("--read", path),
                }
            }
            Denied::Workspace(path) => Advice {
                what: format!("{who} wanted `{path}` of the workspace, it seems"),
                note: Some(
                    "a member sees its own directory; `[workspace] references = true` shows members whatever of the \
                     workspace their source names whole"
                        .to_owned(),
                ),
                grant: line("workspace", path),
                command: with("--workspace", path),
            },
            Denied::Repository => Advice {
                what: format!("{who} wanted the repository that the workspace is in (`.git`)"),
                note: Some(
                    "no action sees that: each commit would build everything anew, and it may hold secrets. What a build is to \
                     know of it can be given by a variable (`set-env` or `env` in `kiln.toml`), as most such crates allow"
                        .to_owned(),
                ),
                grant: None,
                command: None,
            },
            Denied::Write(path) => Advice {
                what: format!("{who} wanted to write `{path}`"),
                note: Some(
                    "an action writes to its own `OUT_DIR` and temporary directory; nothing grants more"
                        .to_owned(),
                ),
                grant: None,
                command: None,
            },
            Denied::Library(library) => Advice {
                what: format!("{who} looked for the system's library `{library}` by pkg-config"),
                note: Some("it has to be installed with its headers (`-dev` packages)".to_owned()),
                grant: line("pkg-config", library),
                command: with("--bundle", &format!("pkg-config:{library}")),
            },
            Denied::AbsentLibrary(library) => Advice {
                what: format!("{who} looked for the system's library `{library}` by pkg-config"),
                note: Some(
                    "pkg-config does not know it here: install it with its headers (a `-dev` package), then build again"
                        .to_owned(),
                ),
                grant: None,
                command: None,
            },
            Denied::Link(library) => Advice {
                what: format!("{who} wanted to link the system's library `{library}`"),
                note: None,
                grant: line("link", library),
                command: with("--link", library),
            },
            Denied::AbsentProgram(program) => Advice {
                what: format!("{who} wanted to run the program `{program}`"),
                note: Some(
                    "this machine does not have it where programs are looked for (`/usr/local/bin`, `/usr/bin`, …): \
                     install it, then build again"
                        .to_owned(),
                ),
                grant: None,
                command: None,
            },
            Denied::Bundle(bundle) => Advice {
                what: format!("{who} wanted `{bundle}`"),
                note: Some(match bundle {
                    "git-metadata" => {
                        "of the repository it shows commits, tags and the branch, no credentials and no hooks".to_owned()
                    }
                    _ => "it has to be installed".to_owned(),
                }),
                grant: line("use", bundle),
                command: with("--bundle", bundle),
            },
            Denied::WriteSource(path) => Advice {
                what: match path {
                    "" => format!("{who} wanted to write to its own sources, it seems"),
                    path => format!("{who} wanted to write to its own sources, at `{path}`"),
                },
                note: Some(
                    "sources are inputs and stay as they are; the grant gives it a copy to write to, which is thrown \
                     away (name a directory instead of `.` if you know which)"
                        .to_owned(),
                ),
                grant: line("write", "."),
                command: command("--write"),
            },
            Denied::Env(variable) => Advice {
                what: format!("{who} wanted the environment variable `{variable}`"),
                note: Some(
                    "its value becomes part of the action's key and of the attestation: grant no secrets"
                        .to_owned(),
                ),
                grant: line("env", variable),
                command: with("--env", variable),
            },
            Denied::Network => Advice {
                what: format!("{who} wanted to use the network"),
                note: Some(
                    "no action has a network: what is to be downloaded is a dependency, or a file of the package"
                        .to_owned(),
                ),
                grant: None,
                command: None,
            },
            Denied::Syscall(syscall) => Advice {
                what: format!("{who} made the system call `{syscall}`, which the sandbox refuses"),
                note: None,
                grant: None,
                command: None,
            },
        };
        if advice
            .grant
            .as_deref()
            .is_some_and(|text| self.is_refused(text))
        {
            advice.grant = None;
            advice.note.get_or_insert_with(|| {
                format!("`{FILE_NAME}` cannot grant it: it is more than any one crate can need")
            });
        }
        if advice.grant.is_none() {
            advice.command = None;
        }
        advice
    }

    /// Whether a text is no valid policy.
    fn is_refused(&self, text: &str) -> bool {
        super::file::PolicyFile::parse(FILE_NAME, text).is_err()
    }

    /// The smallest bundle, other than the general ones, that has the program.
    fn bundle_with(&self, program: &str) -> Option<&str> {
        let holds = |name: &str| {
            self.bundle(name).is_some_and(|bundle| {
                bundle
                    .exec
                    .iter()
                    .chain(&bundle.exec_if_present)
                    .any(|one| one == program)
            })
        };
        self.bundles()
            .into_iter()
            .filter(|name| *name != "shell" && holds(name))
            .min_by_key(|name| {
                self.bundle(name).map_or(usize::MAX, |bundle| {
                    bundle.r#use.len() * 100 + bundle.exec.len() + bundle.exec_if_present.len()
                })
            })
    }

    fn note_about_program(
        &self,
        package: &PackageId,
        program: &str,
        granted: bool,
    ) -> Option<String> {
        if granted {
            return Some(format!(
                "`{program}` is granted: it is not installed, or needs another file"
            ));
        }
        let name = package.name().as_str();
        let shipped = self.shipped.iter().any(|file| {
            file.crates
                .get(name)
                .is_some_and(|all| all.iter().any(|one| one.applies_to == AppliesTo::Itself))
        });
        (shipped && !super::decide::defaults_apply(package)).then(|| {
            format!(
                "what kiln grants by default goes to the `{name}` of the default registry; this one comes from elsewhere"
            )
        })
    }
}

/// `text` as it is typed at a shell; `None` if that is nothing to be typed.
fn typed(text: &str) -> Option<String> {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "-_./+@:=,".contains(c);
    if !text.is_empty() && text.chars().all(is_bare) {
        return Some(text.to_owned());
    }
    let is_quotable = !text.is_empty() && !text.contains(|c: char| c.is_control() || c == '\'');
    is_quotable.then(|| format!("'{text}'"))
}

impl std::fmt::Display for Advice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        if let Some(note) = &self.note {
            write!(f, "; {note}")?;
        }
        match (&self.command, &self.grant) {
            (Some(command), _) => write!(f, "\nto grant it: {command}")?,
            (None, Some(grant)) => write!(f, "\nto grant it, add to `{FILE_NAME}`:\n{grant}")?,
            (None, None) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::decide::tests::package;
    use super::*;

    #[test]
    fn every_line_that_is_advised_grants_what_was_denied() {
        let policy = Policy::parse("").unwrap();
        let id = package("app", "1.0.0", false);
        for (denied, expected) in [
            (
                Denied::Exec("/usr/bin/curl"),
                Some("[crate.app]\nexec = [\"curl\"]\n"),
            ),
            (
                Denied::Exec("cmake"),
                Some("[crate.app]\nuse = [\"cmake\"]\n"),
            ),
            (
                Denied::Exec("/usr/bin/sed"),
                Some("[crate.app]\nexec = [\"sed\"]\n"),
            ),
            (
                Denied::Exec("/opt/x/bin/tool"),
                Some("[crate.app]\nexec = [\"/opt/x/bin/tool\"]\n"),
            ),
            (
                Denied::Read("/usr/share/proto"),
                Some("[crate.app]\nread = [\"/usr/share/proto\"]\n"),
            ),
            (
                Denied::Env("DATABASE_URL"),
                Some("[crate.app]\nenv = [\"DATABASE_URL\"]\n"),
            ),
            (
                Denied::Workspace("proto"),
                Some("[crate.app]\nworkspace = [\"proto\"]\n"),
            ),
            (Denied::Workspace("../x"), None),
            (Denied::Env("LD_PRELOAD"), None),
            (Denied::Read("/etc"), None),
            (Denied::Read("/root/.ssh/id_ed25519"), None),
            (Denied::Read("/proc/1/environ"), None),
            (Denied::Write("/usr/lib/x"), None),
            (Denied::Network, None),
            (Denied::Syscall("ptrace"), None),
        ] {
            let advice = policy.explain(&id, denied);
            assert_eq!(advice.grant.as_deref(), expected, "{denied:?}");
            if let Some(text) = expected {
                let grants = Policy::parse(text)
                    .unwrap()
                    .grants_for(&id, [], BuildMode::Hermetic);
                assert!(!grants.is_empty());
            } else {
                assert!(
                    advice.note.is_some() || matches!(denied, Denied::Syscall(_)),
                    "{denied:?}"
                );
            }
        }
    }

    #[test]
    fn a_namesake_from_elsewhere_is_told_apart() {
        let policy = Policy::parse("").unwrap();
        let id = package("tikv-jemalloc-sys", "0.6.0", false);
        let note = policy.explain(&id, Denied::Exec("make")).note.unwrap();
        assert!(note.contains("elsewhere"), "{note}");
        let id = package("tikv-jemalloc-sys", "0.6.0", true);
        let note = policy.explain(&id, Denied::Exec("make")).note.unwrap();
        assert!(note.contains("not installed"), "{note}");
    }
}
