//! Tiny workspaces, and kiln run on them: each test names its packages after itself, so that one store serves all.

use crate::skip::skip;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Where everything that this process makes is: removed by the next run, since a test binary has no end of its own.
fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        let prefix = "kiln-e2e-";
        let base = fs::canonicalize(std::env::temp_dir()).expect("a directory for temporary files");
        for entry in fs::read_dir(&base).expect("readable").flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            let pid = name.strip_prefix(prefix);
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let own = base.join(format!("{prefix}{}", std::process::id()));
        fs::create_dir_all(&own).expect("made");
        own
    })
}

/// A fresh directory.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(scratch()).expect("a directory")
}

/// The store that the tests share.
pub(crate) fn store() -> PathBuf {
    scratch().join("store")
}

/// A workspace on disk.
pub(crate) struct Workspace {
    directory: tempfile::TempDir,
}

impl Workspace {
    /// The files by path.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let workspace = Self {
            directory: directory(),
        };
        for (path, text) in files {
            workspace.write(path, text);
        }
        workspace
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("workspace")
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }

    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The same files in another directory.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new(&[]);
        for path in self.files() {
            let to = copy.root().join(&path);
            fs::create_dir_all(to.parent().expect("a parent")).expect("made");
            fs::copy(self.root().join(&path), to).expect("copied");
        }
        copy
    }

    /// Every file but those of `target`, by path.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = walkdir::WalkDir::new(self.root())
            .into_iter()
            .filter_entry(|entry| entry.file_name() != "target")
            .map(|entry| entry.expect("readable"))
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| {
                let relative = entry.path().strip_prefix(self.root()).expect("below");
                relative.to_str().expect("UTF-8").to_owned()
            })
            .collect();
        files.sort();
        files
    }

    /// kiln in this workspace.
    pub(crate) fn kiln<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Kiln {
        Kiln::new(&self.root(), env!("CARGO_BIN_EXE_kiln"), arguments)
    }

    /// The installed cargo in this workspace.
    pub(crate) fn cargo<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Kiln {
        Kiln::new(&self.root(), "cargo", arguments)
    }

    /// Runs a program that was built.
    pub(crate) fn run(&self, path: &str) -> String {
        let output = Command::new(self.root().join(path))
            .output()
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(output.status.success(), "{path}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

/// A package without anything special about it.
pub(crate) fn manifest(name: &str, rest: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{rest}\n")
}

/// A command line of kiln's.
pub(crate) struct Kiln {
    pub(crate) command: Command,
}

impl Kiln {
    pub(crate) fn new<'a>(
        directory: &Path,
        program: &str,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut command = Command::new(program);
        command.current_dir(directory).args(arguments).env_clear();
        for (name, value) in environment() {
            command.env(name, value);
        }
        command.env("KILN_HOME", store());
        Self { command }
    }

    /// Wraps the command: `sh -c SCRIPT sh kiln …`, where the script ends in `exec "$@"`.
    pub(crate) fn through(self, wrapper: &[&str]) -> Self {
        let mut command = Command::new(wrapper[0]);
        command
            .args(&wrapper[1..])
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .env_clear();
        if let Some(directory) = self.command.get_current_dir() {
            command.current_dir(directory);
        }
        for (name, value) in self.command.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        Self { command }
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn run(mut self) -> Run {
        let shown = format!("{:?}", self.command.get_args());
        let started = std::time::Instant::now();
        let output = self.command.output().expect("started");
        // Shown where a test fails, or with `--nocapture`.
        eprintln!("{shown}: {:.1} s", started.elapsed().as_secs_f64());
        Run::new(shown, output)
    }

    /// Runs it; it has to succeed.
    pub(crate) fn ok(self) -> Run {
        let run = self.run();
        assert_eq!(run.code, Some(0), "{run}");
        run
    }
}

/// What a user's environment holds that a build needs; nothing of the cargo that runs these tests.
fn environment() -> BTreeMap<String, String> {
    let variable = |name: &str| std::env::var(name).ok();
    let home = variable("HOME").unwrap_or_else(|| "/".to_owned());
    let or = |name: &str, default: &str| variable(name).unwrap_or_else(|| default.to_owned());
    BTreeMap::from(
        [
            ("PATH", or("PATH", "/usr/local/bin:/usr/bin:/bin")),
            ("RUSTUP_HOME", or("RUSTUP_HOME", &format!("{home}/.rustup"))),
            ("CARGO_HOME", or("CARGO_HOME", &format!("{home}/.cargo"))),
            ("HOME", home),
            ("TERM", "dumb".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    )
}

/// What a command did.
pub(crate) struct Run {
    what: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) signal: Option<i32>,
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Run {
            what,
            code,
            signal,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "{what}: status {code:?}, signal {signal:?}\n--- stdout\n{stdout}--- stderr\n{stderr}"
        )
    }
}

impl Run {
    pub(crate) fn new(what: String, output: Output) -> Self {
        Self {
            what,
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: String::from_utf8(output.stdout).expect("kiln prints UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("kiln prints UTF-8"),
        }
    }

    /// How many actions ran, and how many there are.
    pub(crate) fn actions(&self) -> (usize, usize) {
        let line = self
            .stderr
            .lines()
            .find(|line| line.contains("Finished"))
            .unwrap_or_else(|| panic!("no summary: {self}"));
        let words: Vec<&str> = line.split(' ').collect();
        let of = words.iter().position(|word| *word == "of").expect("`of`");
        let number = |index: usize| words[index].parse().expect("a number");
        (number(of - 1), number(of + 1))
    }

    /// Standard error has each of `texts`.
    pub(crate) fn says(&self, texts: &[&str]) -> &Self {
        for text in texts {
            assert!(self.stderr.contains(text), "`{text}` is missing: {self}");
        }
        self
    }

    /// kiln stopped as cargo stops, and said each of `texts`, with a way out.
    pub(crate) fn refuses(&self, texts: &[&str]) -> &Self {
        assert_eq!(self.code, Some(101), "{self}");
        self.says(&["error"]).says(&["  help:"]).says(texts);
        assert!(!self.stderr.contains("panicked"), "{self}");
        self
    }
}

/// A command that runs the rest of its arguments after `script`, with mounts of its own; `None`, said loudly, where the
/// machine does not allow that.
pub(crate) fn with_mounts(kiln: Kiln, script: &str) -> Option<Kiln> {
    let script = format!("{script}\nexec \"$@\"");
    for flags in ["-m", "-rm"] {
        let works = Command::new("unshare")
            .args([flags, "sh", "-c", "mount -t tmpfs none /mnt"])
            .output()
            .is_ok_and(|output| output.status.success());
        if works {
            return Some(kiln.through(&["unshare", flags, "sh", "-ec", &script, "sh"]));
        }
    }
    skip("this machine gives no mount namespace");
    None
}
