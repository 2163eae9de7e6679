//! Which Rust toolchain a directory is to be built with: rustup's rules, read from rustup's files, without running
//! rustup or one of its proxies.
//!
//! The order is rustup's: `+toolchain`, `RUSTUP_TOOLCHAIN`, then upward from the working directory whichever comes
//! first of a directory override (`settings.toml`) and a toolchain file (`rust-toolchain`, `rust-toolchain.toml`),
//! then the default. Deliberately absent: installing what is missing (an error says how), and a toolchain file with
//! `path = …` unless the caller allows it, since a workspace could then choose the program that builds it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::ToolchainError;

/// What the choice depends on, as values.
#[derive(Debug, Clone)]
pub struct RustRequest {
    /// The environment that the user started kiln with: `HOME`, `RUSTUP_HOME`, `RUSTUP_TOOLCHAIN`, `PATH` are read.
    pub env: BTreeMap<OsString, OsString>,
    /// Where the search for toolchain files and overrides starts: the workspace root, or where the user stands.
    pub cwd: PathBuf,
    /// `+NAME` of the command line, without the plus.
    pub toolchain_override: Option<String>,
    /// A rustc that the user named (`RUSTC`, or the configuration); one of rustup's proxies counts as none.
    pub rustc: Option<PathBuf>,
    /// Whether `path = …` in a toolchain file is followed.
    pub allow_toolchain_path: bool,
}

/// The toolchain that was chosen, and what the choice demands of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The sysroot that holds `bin/rustc`, symbolic links resolved.
    pub root: PathBuf,
    /// The name to give to `rustup … --toolchain`.
    pub name: String,
    /// What chose it, for messages.
    pub chosen_by: String,
    /// `components = […]` of the toolchain file.
    pub components: Vec<String>,
    /// `targets = […]` of the toolchain file.
    pub targets: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Settings {
    default_toolchain: Option<String>,
    default_host_triple: Option<String>,
    #[serde(default)]
    overrides: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolchainFile {
    toolchain: ToolchainSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolchainSection {
    channel: Option<String>,
    path: Option<PathBuf>,
    #[serde(default)]
    components: Vec<String>,
    #[serde(default)]
    targets: Vec<String>,
    profile: Option<String>,
}

/// What a toolchain file or an override says.
struct Wish {
    name: Option<String>,
    path: Option<PathBuf>,
    chosen_by: String,
    components: Vec<String>,
    targets: Vec<String>,
    profile: Option<String>,
}

impl Wish {
    fn named(name: impl Into<String>, chosen_by: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            path: None,
            chosen_by: chosen_by.into(),
            components: Vec::new(),
            targets: Vec::new(),
            profile: None,
        }
    }

    /// The command that installs it, with what it demands besides.
    fn install_command(&self, name: &str) -> String {
        let mut command = format!("rustup toolchain install {name}");
        if let Some(profile) = &self.profile {
            command.push_str(&format!(" --profile {profile}"));
        }
        for (option, values) in [
            ("--component", &self.components),
            ("--target", &self.targets),
        ] {
            for value in values {
                command.push_str(&format!(" {option} {value}"));
            }
        }
        command
    }
}

/// Chooses the toolchain for `request`.
///
/// # Errors
/// If what is named is not installed, a file is invalid, or there is nothing to choose from.
pub fn choose(request: &RustRequest) -> Result<Choice, ToolchainError> {
    let path = variable(&request.env, "PATH").unwrap_or_default();
    if let Some(rustc) = &request.rustc {
        // As for a shell: a bare name is looked for on `PATH`, anything else is a path from where the user stands.
        let rustc = if rustc.components().count() == 1 && !rustc.is_absolute() {
            std::env::split_paths(&path)
                .map(|directory| directory.join(rustc))
                .find(|path| path.is_absolute() && path.is_file())
                .ok_or_else(|| ToolchainError::NoToolchain {
                    why: format!(
                        "`RUSTC` names `{}`, which is not on `PATH`",
                        rustc.display()
                    ),
                })?
        } else {
            request.cwd.join(rustc)
        };
        if !is_rustup_proxy(&rustc) {
            return from_rustc(&rustc, "RUSTC");
        }
    }
    if let Some(home) = rustup_home(&request.env) {
        return from_rustup(request, &home);
    }
    for directory in std::env::split_paths(&path) {
        let rustc = directory.join("rustc");
        if directory.is_absolute() && rustc.is_file() && !is_rustup_proxy(&rustc) {
            return from_rustc(&rustc, "the `rustc` on `PATH`");
        }
    }
    Err(ToolchainError::NoToolchain {
        why: "there is neither a rustup home with toolchains nor a `rustc` on `PATH`".to_owned(),
    })
}

/// The value of a variable that is set and not empty.
fn variable(env: &BTreeMap<OsString, OsString>, name: &str) -> Option<OsString> {
    env.get::<OsStr>(name.as_ref())
        .filter(|value| !value.is_empty())
        .cloned()
}

/// rustup's directory, if it holds toolchains or settings.
fn rustup_home(env: &BTreeMap<OsString, OsString>) -> Option<PathBuf> {
    let home = match variable(env, "RUSTUP_HOME") {
        Some(home) => PathBuf::from(home),
        None => Path::new(&variable(env, "HOME")?).join(".rustup"),
    };
    (home.join("settings.toml").is_file() || home.join("toolchains").is_dir()).then_some(home)
}

/// Whether `rustc` is rustup itself under another name.
fn is_rustup_proxy(rustc: &Path) -> bool {
    let resolved = fs::canonicalize(rustc).unwrap_or_else(|_| rustc.to_owned());
    if resolved.file_name().is_some_and(|name| name == "rustup") {
        return true;
    }
    // Installed as hard links, proxies are the same file as the `rustup` beside them.
    use std::os::unix::fs::MetadataExt as _;
    let sibling = resolved.with_file_name("rustup");
    match (fs::metadata(&resolved), fs::metadata(sibling)) {
        (Ok(rustc), Ok(rustup)) => rustc.ino() == rustup.ino() && rustc.dev() == rustup.dev(),
        _ => false,
    }
}

/// The toolchain of a rustc that is no proxy: its sysroot, which for a compiler that is installed somewhere below a
/// prefix is that prefix, and which only it knows for sure.
fn from_rustc(rustc: &Path, chosen_by: &str) -> Result<Choice, ToolchainError> {
    let args = ["--print", "sysroot"];
    let answer = super::ask::ask(rustc, &args)?;
    let root = fs::canonicalize(answer.line())
        .map_err(ToolchainError::io("open", Path::new(answer.line())))?;
    if !root.join("bin/rustc").is_file() {
        return Err(super::ask::odd_answer(
            rustc,
            &args,
            format!("names `{}`, which holds no `bin/rustc`", root.display()),
        ));
    }
    Ok(Choice {
        name: root.display().to_string(),
        root,
        chosen_by: chosen_by.to_owned(),
        components: Vec::new(),
        targets: Vec::new(),
    })
}

fn read_toml<T: serde::de::DeserializeOwned>(file: &Path) -> Result<Option<T>, ToolchainError> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ToolchainError::io("read", file)(error)),
    };
    toml::from_str(&text)
        .map(Some)
        .map_err(|error| ToolchainError::InvalidFile {
            file: file.to_owned(),
            why: toml_error(&text, &error),
        })
}

/// What is wrong with a TOML file, and in which line.
fn toml_error(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| {
        text.as_bytes()[..span.start.min(text.len())]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1
    });
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    }
}

fn from_rustup(request: &RustRequest, home: &Path) -> Result<Choice, ToolchainError> {
    let settings: Settings = read_toml(&home.join("settings.toml"))?.unwrap_or_default();
    let fallback: Option<Settings> = match settings.default_toolchain {
        Some(_) => None,
        None => read_toml(Path::new("/etc/rustup/settings.toml"))?,
    };
    let default = settings
        .default_toolchain
        .clone()
        .or_else(|| fallback.and_then(|settings| settings.default_toolchain))
        .filter(|name| name != "none");
    let from_variable =
        variable(&request.env, "RUSTUP_TOOLCHAIN").and_then(|value| value.into_string().ok());
    let mut wish = if let Some(name) = &request.toolchain_override {
        Wish::named(name, format!("`+{name}`"))
    } else if let Some(name) = from_variable {
        Wish::named(name, "`RUSTUP_TOOLCHAIN`")
    } else if let Some(wish) = walk_up(request, &settings)? {
        wish
    } else {
        let name = default.clone().ok_or_else(|| ToolchainError::NoToolchain {
            why: "rustup has no default toolchain, and nothing names another".to_owned(),
        })?;
        Wish::named(name, "rustup's default")
    };
    let toolchains = home.join("toolchains");
    let host = settings
        .default_host_triple
        .clone()
        .unwrap_or_else(|| format!("{}-unknown-linux-gnu", std::env::consts::ARCH));
    if wish.path.is_none() && wish.name.is_none() {
        // A toolchain file that only lists components: they are wanted of the default toolchain.
        wish.name = default;
    }
    let (name, directory) = match (&wish.path, &wish.name) {
        (Some(path), _) => (path.display().to_string(), path.clone()),
        (None, Some(name)) if name.starts_with('/') => (name.clone(), PathBuf::from(name)),
        (None, Some(name)) => {
            let full = installed_name(&toolchains, name, &host).ok_or_else(|| {
                ToolchainError::NotInstalled {
                    name: name.clone(),
                    chosen_by: wish.chosen_by.clone(),
                    command: wish.install_command(name),
                }
            })?;
            let directory = toolchains.join(&full);
            (full, directory)
        }
        (None, None) => {
            return Err(ToolchainError::NoToolchain {
                why: format!("{} names none, and rustup has no default", wish.chosen_by),
            });
        }
    };
    let root = fs::canonicalize(&directory)
        .ok()
        .filter(|root| root.join("bin/rustc").is_file())
        .ok_or_else(|| ToolchainError::NotInstalled {
            name: name.clone(),
            chosen_by: wish.chosen_by.clone(),
            command: wish.install_command(&name),
        })?;
    Ok(Choice {
        root,
        name,
        chosen_by: wish.chosen_by,
        components: wish.components,
        targets: wish.targets,
    })
}

/// The nearest override or toolchain file, upward from the working directory.
fn walk_up(request: &RustRequest, settings: &Settings) -> Result<Option<Wish>, ToolchainError> {
    let start = fs::canonicalize(&request.cwd).unwrap_or_else(|_| request.cwd.clone());
    for directory in start.ancestors() {
        if let Some(name) = directory
            .to_str()
            .and_then(|key| settings.overrides.get(key))
        {
            let chosen_by = format!("rustup's override for `{}`", directory.display());
            return Ok(Some(Wish::named(name, chosen_by)));
        }
        for (file, legacy) in [("rust-toolchain", true), ("rust-toolchain.toml", false)] {
            let file = directory.join(file);
            let text = match fs::read_to_string(&file) {
                Ok(text) => text,
                Err(error) if file.is_file() => {
                    return Err(ToolchainError::io("read", &file)(error));
                }
                Err(_) => continue,
            };
            return toolchain_file(&file, &text, legacy, request.allow_toolchain_path).map(Some);
        }
    }
    Ok(None)
}

fn toolchain_file(
    file: &Path,
    text: &str,
    legacy: bool,
    allow_path: bool,
) -> Result<Wish, ToolchainError> {
    let invalid = |why: String| ToolchainError::InvalidFile {
        file: file.to_owned(),
        why,
    };
    let chosen_by = format!("`{}`", file.display());
    let words: Vec<&str> = text.split_whitespace().collect();
    if legacy && let [name] = words[..] {
        return checked_name(name)
            .map(|()| Wish::named(name, chosen_by))
            .map_err(invalid);
    }
    let section = toml::from_str::<ToolchainFile>(text)
        .map_err(|error| invalid(toml_error(text, &error)))?
        .toolchain;
    if let Some(path) = &section.path {
        if section.channel.is_some() {
            return Err(invalid("it has both `channel` and `path`".to_owned()));
        }
        let path = file.parent().unwrap_or(Path::new("/")).join(path);
        if !allow_path {
            return Err(ToolchainError::PathRefused {
                file: file.to_owned(),
                path,
            });
        }
        return Ok(Wish {
            path: Some(path),
            ..Wish::named("", chosen_by)
        });
    }
    for name in section
        .channel
        .iter()
        .chain(&section.components)
        .chain(&section.targets)
        .chain(&section.profile)
    {
        checked_name(name).map_err(invalid)?;
    }
    if section.channel.is_none()
        && section.components.is_empty()
        && section.targets.is_empty()
        && section.profile.is_none()
    {
        return Err(invalid("its `[toolchain]` says nothing".to_owned()));
    }
    Ok(Wish {
        name: section.channel,
        path: None,
        chosen_by,
        components: section.components,
        targets: section.targets,
        profile: section.profile,
    })
}

/// A toolchain, component or target name from a file is one path component that no shell reads as something else.
fn checked_name(name: &str) -> Result<(), String> {
    let fine = !name.is_empty()
        && name.len() <= 200
        && !name.starts_with(['-', '.'])
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte));
    if fine {
        Ok(())
    } else {
        Err(format!(
            "`{}` is no name",
            name.chars().take(100).collect::<String>().escape_default()
        ))
    }
}

/// The parts of an official toolchain name: channel with date, and what narrows the host.
fn split_official(name: &str) -> Option<(String, Vec<&str>)> {
    let mut parts = name.split('-').peekable();
    let channel = parts.next()?;
    let numbered = channel.split('.').count() <= 3
        && channel
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if !(numbered || matches!(channel, "stable" | "beta" | "nightly")) {
        return None;
    }
    let mut base = channel.to_owned();
    if numbered && let Some(beta) = parts.next_if(|part| part.split('.').next() == Some("beta")) {
        base = format!("{base}-{beta}");
    }
    let rest: Vec<&str> = parts.collect();
    if let [year, month, day, ..] = rest[..]
        && [(year, 4), (month, 2), (day, 2)]
            .iter()
            .all(|(part, len)| part.len() == *len && part.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Some((format!("{base}-{year}-{month}-{day}"), rest[3..].to_vec()));
    }
    Some((base, rest))
}

/// The directory below `toolchains` that `name` means: itself (a custom toolchain, or an official one with its whole
/// triple), or an official name completed with the host's triple.
fn installed_name(toolchains: &Path, name: &str, host: &str) -> Option<String> {
    let installed = |name: &str| toolchains.join(name).join("bin").is_dir();
    if checked_name(name).is_err() {
        return None;
    }
    if installed(name) {
        return Some(name.to_owned());
    }
    let (base, given) = split_official(name)?;
    if given.len() > 2 {
        return None;
    }
    let completed = match given[..] {
        [] => host.to_owned(),
        [_] | [_, _] => {
            // `stable-x86_64`, `stable-gnu`, `stable-x86_64-musl`: the host's triple with these parts replaced.
            let mut triple: Vec<&str> = host.split('-').collect();
            let environments = ["gnu", "musl", "msvc"];
            for part in &given {
                let slot = if environments.contains(part) {
                    triple.len().checked_sub(1)?
                } else {
                    0
                };
                triple[slot] = part;
            }
            triple.join("-")
        }
        _ => return None,
    };
    let full = format!("{base}-{completed}");
    installed(&full).then_some(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "x86_64-unknown-linux-gnu";

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new(installed: &[&str], settings: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for name in installed {
                let bin = dir.path().join("rustup/toolchains").join(name).join("bin");
                fs::create_dir_all(&bin).unwrap();
                fs::write(bin.join("rustc"), "").unwrap();
            }
            fs::create_dir_all(dir.path().join("rustup")).unwrap();
            fs::create_dir_all(dir.path().join("ws/member")).unwrap();
            let ws = fs::canonicalize(dir.path().join("ws")).unwrap();
            let settings = settings.replace("$WS", ws.to_str().unwrap());
            let settings = format!("default_host_triple = \"{HOST}\"\n{settings}");
            fs::write(dir.path().join("rustup/settings.toml"), settings).unwrap();
            Self(dir)
        }

        fn choose(
            &self,
            plus: Option<&str>,
            variable: Option<&str>,
        ) -> Result<Choice, ToolchainError> {
            let mut env: BTreeMap<OsString, OsString> = BTreeMap::new();
            env.insert("RUSTUP_HOME".into(), self.0.path().join("rustup").into());
            if let Some(value) = variable {
                env.insert("RUSTUP_TOOLCHAIN".into(), value.into());
            }
            choose(&RustRequest {
                env,
                cwd: self.0.path().join("ws/member"),
                toolchain_override: plus.map(str::to_owned),
                rustc: None,
                allow_toolchain_path: false,
            })
        }
    }

    #[test]
    fn the_order_is_rustups() {
        let names = ["a", "b", "c", "d", "stable-x86_64-unknown-linux-gnu"];
        let machine = Machine::new(
            &names,
            "default_toolchain = \"stable\"\n[overrides]\n\"$WS\" = \"c\"\n",
        );
        let chosen = |plus, variable| {
            let choice = machine.choose(plus, variable).unwrap();
            choice
                .root
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(chosen(Some("a"), Some("b")), "a");
        assert_eq!(chosen(None, Some("b")), "b");
        assert_eq!(chosen(None, None), "c");
        // A file beside an override loses; one that is nearer wins.
        let ws = machine.0.path().join("ws");
        fs::write(
            ws.join("rust-toolchain.toml"),
            "[toolchain]\nchannel = \"d\"\n",
        )
        .unwrap();
        assert_eq!(chosen(None, None), "c");
        fs::write(ws.join("member/rust-toolchain"), "d\n").unwrap();
        assert_eq!(chosen(None, None), "d");
        let plain = Machine::new(&names, "default_toolchain = \"stable\"\n");
        assert_eq!(
            plain.choose(None, None).unwrap().name,
            "stable-x86_64-unknown-linux-gnu"
        );
    }

    #[test]
    fn a_rustc_that_is_named_wins_unless_it_is_a_proxy() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let machine = Machine::new(&["own"], "default_toolchain = \"own\"\n");
        let root = fs::canonicalize(machine.0.path()).unwrap();
        let bin = root.join("prefix/bin");
        fs::create_dir_all(&bin).unwrap();
        let script = format!("#!/bin/sh\necho {}/prefix\n", root.display());
        fs::write(bin.join("rustc"), script).unwrap();
        fs::set_permissions(bin.join("rustc"), fs::Permissions::from_mode(0o755)).unwrap();
        let proxies = root.join("proxies");
        fs::create_dir_all(&proxies).unwrap();
        fs::write(proxies.join("rustup"), "").unwrap();
        symlink("rustup", proxies.join("rustc")).unwrap();
        fs::hard_link(proxies.join("rustup"), proxies.join("rustc-linked")).unwrap();
        let chosen = |rustc: &Path, path: &Path, home: &str| {
            let env = [("RUSTUP_HOME", root.join(home)), ("PATH", path.to_owned())];
            choose(&RustRequest {
                env: env.map(|(name, value)| (name.into(), value.into())).into(),
                cwd: root.join("ws"),
                toolchain_override: None,
                rustc: (rustc != Path::new("")).then(|| rustc.to_owned()),
                allow_toolchain_path: false,
            })
        };
        let (none, nowhere) = (Path::new(""), Path::new("/nowhere"));
        for (rustc, path, home, expected) in [
            (bin.join("rustc").as_path(), nowhere, "rustup", "prefix"),
            (Path::new("rustc"), bin.as_path(), "rustup", "prefix"),
            (
                Path::new("../prefix/bin/rustc"),
                nowhere,
                "rustup",
                "prefix",
            ),
            (proxies.join("rustc").as_path(), nowhere, "rustup", "own"),
            (
                proxies.join("rustc-linked").as_path(),
                nowhere,
                "rustup",
                "own",
            ),
            (none, bin.as_path(), "rustup", "own"),
            (none, bin.as_path(), "absent", "prefix"),
        ] {
            let choice = chosen(rustc, path, home).unwrap();
            assert!(
                choice.root.ends_with(expected),
                "{rustc:?} {path:?} {choice:?}"
            );
        }
        for (rustc, path) in [
            (none, nowhere),
            (none, proxies.as_path()),
            (Path::new("rustc"), nowhere),
        ] {
            let error = chosen(rustc, path, "absent").unwrap_err();
            assert!(
                matches!(error, ToolchainError::NoToolchain { .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn names_are_completed_with_the_host() {
        let names = [
            "stable-x86_64-unknown-linux-gnu",
            "stable-x86_64-unknown-linux-musl",
            "nightly-2026-01-02-x86_64-unknown-linux-gnu",
            "1.95.0-x86_64-unknown-linux-gnu",
            "my-own",
        ];
        let machine = Machine::new(&names, "");
        for (name, full) in [
            ("stable", Some(names[0])),
            ("stable-musl", Some(names[1])),
            ("stable-x86_64-musl", Some(names[1])),
            ("stable-x86_64", Some(names[0])),
            ("stable-x86_64-unknown-linux-musl", Some(names[1])),
            ("nightly-2026-01-02", Some(names[2])),
            ("1.95.0", Some(names[3])),
            ("my-own", Some("my-own")),
            ("1.95", None),
            ("nightly", None),
            ("other", None),
            ("../toolchains/my-own", None),
        ] {
            match (machine.choose(Some(name), None), full) {
                (Ok(choice), Some(full)) => assert_eq!(choice.name, full, "{name}"),
                (Err(ToolchainError::NotInstalled { .. }), None) => {}
                (other, _) => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn toolchain_files_are_read_strictly() {
        let file = Path::new("/ws/rust-toolchain.toml");
        let parse = |text, legacy, allow| toolchain_file(file, text, legacy, allow);
        let wish = parse(
            "[toolchain]\nchannel = \"1.95\"\ncomponents = [\"clippy\"]\ntargets = [\"wasm32-wasip1\"]\nprofile = \"minimal\"",
            false,
            false,
        )
        .ok()
        .unwrap();
        assert_eq!(
            wish.install_command("1.95"),
            "rustup toolchain install 1.95 --profile minimal --component clippy --target wasm32-wasip1"
        );
        assert!(parse("stable\n", true, false).is_ok());
        for (text, legacy) in [
            ("stable\n", false),
            ("[toolchain]\n", false),
            ("[toolchain]\nchannel = \"a\"\nunknown = 1", false),
            ("[toolchain]\nchannel = \"../../x\"", false),
            ("[toolchain]\nchannel = \"/opt/x\"", false),
            (
                "[toolchain]\nchannel = \"a\"\ncomponents = [\"; rm\"]",
                false,
            ),
            ("[toolchain]\nchannel = \"a\"\npath = \"b\"", false),
            ("", true),
            ("../x", true),
        ] {
            assert!(
                matches!(
                    parse(text, legacy, true),
                    Err(ToolchainError::InvalidFile { .. })
                ),
                "{text:?}"
            );
        }
        let text = "[toolchain]\npath = \"evil\"";
        assert!(
            matches!(parse(text, false, false), Err(ToolchainError::PathRefused { path, .. }) if path == Path::new("/ws/evil"))
        );
        assert_eq!(
            parse(text, false, true).ok().unwrap().path,
            Some(PathBuf::from("/ws/evil"))
        );
    }
}
