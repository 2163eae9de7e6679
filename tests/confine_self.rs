//! A process that confines itself: it has to have one thread, so this test brings its own harness. Each attempt runs in
//! a process of its own, first free as a control and then confined.

#![allow(clippy::print_stderr, reason = "a test without a harness")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use kiln::sandbox::{Limits, SandboxProfile, confine_self};

/// An attempt: its name, whether it is to come through when confined, and what it does in the place.
type Attempt = (&'static str, bool, fn(&Path) -> std::io::Result<()>);

const ATTEMPTS: [Attempt; 19] = [
    ("fill", true, |place| {
        let own = place.join("own");
        fs::create_dir_all(own.join("a/b"))?;
        fs::write(own.join("a/b/c"), "text")?;
        fs::rename(own.join("a/b/c"), own.join("a/d"))?;
        std::os::unix::fs::symlink("d", own.join("a/l"))?;
        let file = fs::File::open(own.join("a/d"))?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        assert_eq!(fs::read_to_string(own.join("a/l"))?, "text");
        fs::remove_dir_all(own.join("a"))
    }),
    ("read", false, |place| {
        fs::read(place.join("secret")).map(drop)
    }),
    ("write", false, |place| fs::write(place.join("secret"), "x")),
    ("create", false, |place| fs::write(place.join("new"), "x")),
    ("list", false, |place| fs::read_dir(place).map(drop)),
    ("through a link", false, |place| {
        let link = place.join("own/link");
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(place.join("secret"), &link)?;
        fs::read(link).map(drop)
    }),
    ("chmod", false, |place| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(place.join("secret"), mode)
    }),
    ("link", false, |place| {
        let _ = fs::remove_file(place.join("own/hard"));
        fs::hard_link(place.join("secret"), place.join("own/hard"))
    }),
    ("move out", false, |place| {
        fs::write(place.join("own/moving"), "x")?;
        fs::rename(place.join("own/moving"), place.join("moved"))
    }),
    ("socket", false, |_| {
        std::net::UdpSocket::bind("127.0.0.1:0").map(drop)
    }),
    ("listen on TCP", false, |_| {
        std::net::TcpListener::bind("127.0.0.1:0").map(drop)
    }),
    ("a pair of unix sockets", false, |_| {
        std::os::unix::net::UnixStream::pair().map(drop)
    }),
    ("make a directory", false, |place| {
        fs::create_dir(place.join("directory"))
    }),
    ("write through a link", false, |place| {
        let link = place.join("own/out");
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(place.join("secret"), &link)?;
        fs::OpenOptions::new().append(true).open(link).map(drop)
    }),
    ("read /etc/passwd", false, |_| {
        fs::read("/etc/passwd").map(drop)
    }),
    ("remove", false, |place| {
        fs::remove_file(place.join("secret"))
    }),
    ("program", false, |_| {
        Command::new("/bin/true").status().map(drop)
    }),
    ("fork and run what it made", false, |place| {
        let program = place.join("own/program");
        fs::copy("/bin/true", &program)?;
        Command::new(program).status().map(drop)
    }),
    ("read /proc", false, |_| {
        fs::read("/proc/self/environ").map(drop)
    }),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, how, place, number] = &arguments[..]
        && how.starts_with("--attempt-")
    {
        return attempt(how == "--attempt-confined", Path::new(place), number);
    }
    let program = std::env::current_exe().expect("this program has a path");
    let mut failed = false;
    for (number, (name, expected, _)) in ATTEMPTS.iter().enumerate() {
        for (how, expected) in [("--attempt-free", true), ("--attempt-confined", *expected)] {
            let place = tempfile::tempdir().expect("a directory can be made");
            fs::create_dir(place.path().join("own")).expect("a directory can be made");
            fs::write(place.path().join("secret"), "secret").expect("a file can be written");
            let status = Command::new(&program)
                .arg(how)
                .arg(PathBuf::from(place.path()))
                .arg(number.to_string())
                .status()
                .expect("this program runs");
            let right = status.code() == Some(if expected { 0 } else { 1 });
            eprintln!(
                "{name} {how}: {status} {}",
                if right { "ok" } else { "FAILED" }
            );
            failed |= !right;
        }
    }
    ExitCode::from(u8::from(failed))
}

fn attempt(confined: bool, place: &Path, number: &str) -> ExitCode {
    let number: usize = number.parse().expect("a number");
    if confined {
        let profile = SandboxProfile::shipped("unpack").expect("a shipped profile is right");
        match confine_self(&place.join("own"), &profile, &Limits::default()) {
            Ok(enforced) => assert_eq!(enforced.seccomp_profile(), "unpack"),
            Err(error) => {
                eprintln!("{error}: {:?}", std::error::Error::source(&error));
                return ExitCode::from(3);
            }
        }
    }
    match ATTEMPTS[number].2(place) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("  {error}");
            ExitCode::from(1)
        }
    }
}
