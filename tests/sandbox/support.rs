//! What the tests share: the attacking program, files to attack, and one way to run it confined or not.

use crate::skip::skip;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use kiln::path::SandboxPath;
use kiln::sandbox::trace::{self, Depth, Trace};
use kiln::sandbox::{
    Access, Isolation, Limits, Mount, Network, Output, Request, Running, SandboxError,
    SandboxProfile, Status, Stream, spawn,
};

/// The variable that makes the tests trace what they run.
pub(crate) const TRACED: &str = "KILN_TESTS_TRACED";

pub(crate) const BOTH: [Isolation; 2] = [Isolation::Landlock, Isolation::Full];

/// Whether this machine lets this user make namespaces; if not, it is said aloud.
pub(crate) fn isolations() -> Vec<Isolation> {
    let mut all = BOTH.to_vec();
    let probe = Command::new("unshare").args(["-Urmpf", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        skip("full isolation is not tested, since this machine forbids user namespaces");
        all.retain(|isolation| *isolation != Isolation::Full);
    }
    all
}

/// The attacking program, compiled once per process.
pub(crate) fn attack_program() -> &'static Path {
    static PROGRAM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    &PROGRAM
        .get_or_init(|| {
            let directory = public_directory();
            let program = directory.path().join("attack");
            let source = directory.path().join("attack.c");
            for (name, text) in [
                ("attack.c", include_str!("attack.c")),
                ("more.h", include_str!("more.h")),
                ("races.h", include_str!("races.h")),
            ] {
                std::fs::write(directory.path().join(name), text).unwrap();
            }
            let output = Command::new("cc")
                .args(["-O1", "-w", "-pthread", "-o"])
                .args([&program, &source])
                .output()
                .expect("cc runs");
            assert!(output.status.success(), "{output:?}");
            (directory, program)
        })
        .1
}

/// A new directory that every user may enter. Not beneath `/tmp`, which is a private one in the sandbox.
pub(crate) fn public_directory() -> tempfile::TempDir {
    let directory = tempfile::Builder::new()
        .prefix("kiln-sandbox-")
        .tempdir_in("/var/tmp")
        .unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    directory
}

/// Files to attack: `secret` outside all mounts, `input/file` readable, `out` writable, `tmp` the private tmp.
pub(crate) struct Place {
    pub root: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let root = public_directory();
        for directory in ["input", "out", "tmp", "private"] {
            std::fs::create_dir(root.path().join(directory)).unwrap();
        }
        std::fs::write(root.path().join("secret"), "the secret").unwrap();
        std::fs::write(root.path().join("private/file"), "private").unwrap();
        std::fs::write(root.path().join("input/file"), "input").unwrap();
        std::fs::write(root.path().join("out/file"), "output").unwrap();
        Self { root }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.root.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.root.path().join(name)).unwrap()
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        std::fs::metadata(self.root.path().join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    }
}

pub(crate) fn sandbox_path(path: impl AsRef<Path>) -> SandboxPath {
    SandboxPath::new(path.as_ref().to_str().unwrap()).unwrap()
}

/// A mount at the place where it is on the host, so that it fits both isolations.
pub(crate) fn mount(path: impl AsRef<Path>, access: Access) -> Mount {
    Mount {
        host: path.as_ref().to_owned(),
        at: sandbox_path(path),
        access,
    }
}

/// The host's programs and libraries.
pub(crate) fn system() -> Vec<Mount> {
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc"]
        .into_iter()
        .filter(|path| Path::new(path).exists())
        .map(|path| mount(path, Access::Read))
        .collect()
}

/// The profile of build scripts, compiled once: that takes longer than many an attack.
fn build_script() -> &'static SandboxProfile {
    static PROFILE: OnceLock<SandboxProfile> = OnceLock::new();
    PROFILE.get_or_init(|| SandboxProfile::shipped("build-script").unwrap())
}

pub(crate) struct Run<'a> {
    pub isolation: Isolation,
    pub place: &'a Place,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub env: Vec<(OsString, OsString)>,
    pub mounts: Vec<Mount>,
    pub descriptors: Vec<(OwnedFd, i32)>,
    pub limits: Limits,
    pub network: Network,
    pub profile: SandboxProfile,
    pub private_tmp: bool,
}

impl<'a> Run<'a> {
    /// The attack `arguments`, with `place` mounted.
    pub(crate) fn attack(isolation: Isolation, place: &'a Place, arguments: &[&str]) -> Self {
        let program = attack_program().to_owned();
        let mut run = Self::program(isolation, place, program, arguments);
        run.mounts
            .push(mount(attack_program().parent().unwrap(), Access::Read));
        run
    }

    pub(crate) fn program(
        isolation: Isolation,
        place: &'a Place,
        program: impl Into<PathBuf>,
        arguments: &[&str],
    ) -> Self {
        let mut mounts = system();
        mounts.push(mount(place.path("input"), Access::Read));
        mounts.push(mount(place.path("out"), Access::Write));
        Self {
            isolation,
            place,
            program: program.into(),
            arguments: arguments.iter().map(|s| (*s).to_owned()).collect(),
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            mounts,
            descriptors: Vec::new(),
            limits: Limits::default(),
            network: Network::None,
            profile: build_script().clone(),
            private_tmp: true,
        }
    }

    pub(crate) fn spawn(self) -> Result<Running, SandboxError> {
        self.with_request(spawn)
    }

    fn with_request<R>(self, use_it: impl FnOnce(Request<'_>) -> R) -> R {
        let name = self.program.file_name().unwrap().to_owned();
        use_it(Request {
            isolation: self.isolation,
            profile: &self.profile,
            program: sandbox_path(&self.program),
            argv: std::iter::once(name)
                .chain(self.arguments.into_iter().map(OsString::from))
                .collect(),
            env: self.env,
            cwd: sandbox_path(self.place.path("out")),
            mounts: self.mounts,
            links: Vec::new(),
            directories: Vec::new(),
            tmp: self.private_tmp.then(|| self.place.path("tmp").into()),
            descriptors: self.descriptors,
            limits: self.limits,
            network: self.network,
            timeout: Some(std::time::Duration::from_secs(120)),
        })
    }

    /// Runs it with a tracer looking on.
    pub(crate) fn traced(self, depth: Depth) -> (Output, Trace) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (outcome, trace) = self
            .with_request(|request| {
                trace::run(
                    request,
                    depth,
                    |_| {},
                    |stream, bytes| match stream {
                        Stream::Stdout => stdout.extend_from_slice(bytes),
                        Stream::Stderr => stderr.extend_from_slice(bytes),
                    },
                )
            })
            .unwrap();
        let output = Output {
            outcome,
            stdout,
            stderr,
        };
        (output, trace)
    }

    pub(crate) fn output(self) -> Output {
        let what = format!("{:?} {:?}", self.isolation, self.arguments);
        // Set when all attacks are run once more, traced.
        match std::env::var(TRACED).as_deref() {
            Ok("paths") => return self.traced(Depth::Paths).0,
            Ok("everything") => return self.traced(Depth::Everything).0,
            _ => {}
        }
        match self.spawn() {
            Ok(running) => running.output().unwrap(),
            Err(error) => panic!(
                "{what}: {error}: {:?}",
                std::error::Error::source(&error).map(ToString::to_string)
            ),
        }
    }
}

/// What an attack says: whether it came through, and its words.
pub(crate) fn confined(
    isolation: Isolation,
    place: &Place,
    arguments: &[&str],
) -> (Status, String) {
    let output = Run::attack(isolation, place, arguments).output();
    (
        output.outcome.status,
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr),
    )
}

/// The same without a sandbox.
pub(crate) fn free(place: &Place, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(attack_program())
        .args(arguments)
        .current_dir(place.path("out"))
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
