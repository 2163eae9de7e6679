//! What must not be possible.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::process::{Child, Command};

use kiln::sandbox::{Isolation, Status};

use crate::support::{BOTH, Place, Run, confined, free, is_root, isolations};

/// An attack, and what has to be true of it outside the sandbox.
pub(crate) struct Attack {
    arguments: Vec<String>,
    control: Control,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Control {
    /// Comes through outside, whoever runs it.
    ComesThrough,
    /// Comes through outside only for some users or on some machines.
    Unsure,
}

pub(crate) fn attack(arguments: &[&str], control: Control) -> Attack {
    Attack {
        arguments: arguments.iter().map(|s| (*s).to_owned()).collect(),
        control,
    }
}

/// Runs each attack confined, where it has to be denied, and then free, where it has to come through.
pub(crate) fn all_denied(
    make: impl Fn(&Place) -> Vec<Attack>,
    mut check: impl FnMut(&Place, &str),
) {
    for isolation in isolations() {
        let count = make(&Place::new()).len();
        for i in 0..count {
            let place = Place::new();
            let Attack { arguments, control } = make(&place).swap_remove(i);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let (status, said) = confined(isolation, &place, &arguments);
            // Another entry to the kernel is not answered but ends the process.
            let denied = [Status::Exited(1), Status::Signaled(nix::libc::SIGSYS)];
            assert!(
                denied.contains(&status),
                "{isolation:?} {arguments:?}: {status:?} {said}"
            );
            check(&place, &format!("{isolation:?} {arguments:?}"));
            let (code, said) = free(&place, &arguments);
            if control == Control::ComesThrough {
                assert_eq!(code, Some(0), "control of {arguments:?}: {said}");
            } else if code != Some(0) {
                eprintln!(
                    "no control here for {arguments:?}: {code:?} {}",
                    said.trim()
                );
            }
        }
    }
}

use Control::{ComesThrough, Unsure};

#[test]
fn files_outside_are_out_of_reach() {
    all_denied(
        |place| {
            let p = |name: &str| place.path(name);
            let (secret, out) = (p("secret"), p("out/new"));
            vec![
                attack(&["read", &secret], ComesThrough),
                attack(&["through-link", &secret, &out], ComesThrough),
                attack(&["overwrite", &secret], ComesThrough),
                attack(&["append", &secret], ComesThrough),
                attack(&["open-truncate", &secret], ComesThrough),
                attack(&["truncate", &secret], ComesThrough),
                attack(&["create", &p("new")], ComesThrough),
                attack(&["create", "/tmp/kiln-sandbox-attack/new"], Unsure),
                attack(&["mkdir", &p("new")], ComesThrough),
                attack(&["unlink", &secret], ComesThrough),
                attack(&["rename", &secret, &out], ComesThrough),
                attack(&["rename", &p("out/file"), &p("moved")], ComesThrough),
                attack(&["link", &secret, &out], ComesThrough),
                attack(&["link", &p("out/file"), &p("linked")], ComesThrough),
                attack(&["list", &p("private")], ComesThrough),
                attack(&["chmod", &secret], ComesThrough),
                attack(&["fchmod", &secret], ComesThrough),
                attack(&["fchmodat-directory", &secret], ComesThrough),
                attack(&["chmod-through-link", &secret, &out], ComesThrough),
                attack(&["chmod-dotdot", &secret, &p("out")], ComesThrough),
                attack(&["chmod-proc", &secret], ComesThrough),
                attack(&["utimes", &secret], ComesThrough),
                attack(&["futimens", &secret], ComesThrough),
                attack(&["setxattr", &secret], Unsure),
                attack(&["open-handle", &secret], Unsure),
                attack(
                    &["read", "/etc/../proc/sys/kernel/random/boot_id"],
                    ComesThrough,
                ),
                attack(
                    &["read", "/sys/kernel/mm/transparent_hugepage/enabled"],
                    Unsure,
                ),
                attack(&["read", "/dev/tty"], Unsure),
                attack(&["read", "/dev/mem"], Unsure),
            ]
        },
        |place, what| {
            assert_eq!(place.read("secret"), "the secret", "{what}");
            assert_eq!(place.mode("secret"), 0o644, "{what}");
            assert!(!place.root.path().join("moved").exists(), "{what}");
            assert!(!place.root.path().join("linked").exists(), "{what}");
        },
    );
}

#[test]
fn inputs_are_read_only() {
    all_denied(
        |place| {
            let p = |name: &str| place.path(name);
            let (file, out) = (p("input/file"), p("out/new"));
            vec![
                attack(&["overwrite", &file], ComesThrough),
                attack(&["append", &file], ComesThrough),
                attack(&["open-truncate", &file], ComesThrough),
                attack(&["truncate", &file], ComesThrough),
                attack(&["create", &p("input/new")], ComesThrough),
                attack(&["unlink", &file], ComesThrough),
                attack(&["rename", &file, &out], ComesThrough),
                attack(&["rename", &p("out/file"), &file], ComesThrough),
                // A second name in a writable place would make the file writable.
                attack(&["link", &file, &out], ComesThrough),
                attack(&["chmod", &file], ComesThrough),
                attack(&["fchmod", &file], ComesThrough),
                attack(&["fchmodat-directory", &file], ComesThrough),
                attack(&["chmod-through-link", &file, &out], ComesThrough),
                attack(&["chmod-dotdot", &file, &p("out")], ComesThrough),
                attack(&["chmod-proc", &file], ComesThrough),
                attack(&["utimes", &file], ComesThrough),
                attack(&["futimens", &file], ComesThrough),
                attack(&["setxattr", &file], Unsure),
            ]
        },
        |place, what| {
            assert_eq!(place.read("input/file"), "input", "{what}");
            assert_eq!(place.mode("input/file"), 0o644, "{what}");
        },
    );
}

#[test]
fn outputs_are_ordinary_files() {
    all_denied(
        |place| {
            let p = |name: &str| place.path(name);
            vec![
                attack(&["chmod-setuid", &p("out/file")], ComesThrough),
                attack(&["create-setuid", &p("out/new")], ComesThrough),
                attack(&["mknod-device", &p("out/new")], Unsure),
                attack(&["socket-file", &p("out/new")], ComesThrough),
            ]
        },
        |place, what| assert_eq!(place.mode("out/file") & 0o6000, 0, "{what}"),
    );
}

#[test]
fn there_is_no_network() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let directory = crate::support::public_directory();
    let stream_path = directory.path().join("stream");
    let datagram_path = directory.path().join("datagram");
    let _stream = UnixListener::bind(&stream_path).unwrap();
    let datagram = UnixDatagram::bind(&datagram_path).unwrap();
    let name = format!("kiln-sandbox-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _abstract = UnixListener::bind_addr(&address).unwrap();
    let tcp_port = tcp.local_addr().unwrap().port().to_string();
    let udp_port = udp.local_addr().unwrap().port().to_string();
    udp.set_nonblocking(true).unwrap();
    datagram.set_nonblocking(true).unwrap();

    let mut expected = [false; 2];
    all_denied(
        |_| {
            vec![
                attack(&["tcp", &tcp_port], ComesThrough),
                attack(&["udp", &udp_port], ComesThrough),
                attack(&["unix", stream_path.to_str().unwrap()], ComesThrough),
                attack(&["abstract", &name], ComesThrough),
                attack(
                    &["unix-datagram-pair", datagram_path.to_str().unwrap()],
                    ComesThrough,
                ),
                attack(&["netlink"], ComesThrough),
                attack(&["packet"], Unsure),
                attack(&["vsock"], Unsure),
            ]
        },
        |_, what| {
            let mut buffer = [0; 8];
            // The control's own messages came before.
            let arrived = [
                udp.recv(&mut buffer).is_ok(),
                datagram.recv(&mut buffer).is_ok(),
            ];
            assert_eq!(arrived, std::mem::take(&mut expected), "{what}");
            expected = [what.contains("\"udp\""), what.contains("datagram-pair")];
        },
    );
}

#[test]
fn an_address_on_a_connected_pair_reaches_nobody() {
    let directory = crate::support::public_directory();
    let path = directory.path().join("datagram");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    for isolation in isolations() {
        let place = Place::new();
        confined(
            isolation,
            &place,
            &["unix-stream-pair-to", path.to_str().unwrap()],
        );
        assert!(socket.recv(&mut [0; 8]).is_err(), "{isolation:?}");
    }
}

pub(crate) struct Victim(Child);

impl Victim {
    pub(crate) fn new() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    pub(crate) fn id(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn other_processes_are_out_of_reach() {
    let mut victim = Victim::new();
    let id = victim.id();
    all_denied(
        |_| {
            vec![
                attack(&["ptrace", &id], Unsure),
                attack(&["read-memory", &id, "0x1000"], Unsure),
                attack(&["proc-memory", &id], Unsure),
                attack(&["proc-environ", &id], ComesThrough),
                attack(&["pidfd", &id], ComesThrough),
                attack(&["prlimit", &id], ComesThrough),
                attack(&["priority", &id], ComesThrough),
                attack(&["affinity", &id], ComesThrough),
                attack(&["set-owner", &id], ComesThrough),
                attack(&["kill", &std::process::id().to_string()], Unsure),
            ]
            .into_iter()
            // The control would end this test.
            .filter(|attack| attack.arguments[0] != "kill")
            .collect()
        },
        |_, _| {},
    );
    for isolation in isolations() {
        let (status, said) = confined(isolation, &Place::new(), &["kill", &id]);
        assert_eq!(status, Status::Exited(1), "{isolation:?}: {said}");
        assert!(victim.0.try_wait().unwrap().is_none(), "{isolation:?}");
    }
    assert_eq!(free(&Place::new(), &["kill", &id]).0, Some(0));
}

#[test]
fn the_kernel_is_out_of_reach() {
    all_denied(
        |place| {
            let out = place.path("out");
            let mut attacks = vec![
                attack(&["unshare-user"], ComesThrough),
                attack(&["clone-user"], ComesThrough),
                attack(&["clone3"], ComesThrough),
                attack(&["setns"], Unsure),
                attack(&["mount", &out], Unsure),
                attack(&["remount", "/"], Unsure),
                attack(&["chroot", &out], Unsure),
                attack(&["io-uring"], Unsure),
                attack(&["bpf"], Unsure),
                attack(&["perf"], Unsure),
                attack(&["userfaultfd"], ComesThrough),
                attack(&["keyctl"], Unsure),
                attack(&["add-key"], Unsure),
                attack(&["personality"], ComesThrough),
                attack(&["seccomp"], ComesThrough),
                attack(&["set-mm"], Unsure),
                attack(&["shm", "12345"], Unsure),
                attack(&["capabilities"], Unsure),
            ];
            if cfg!(target_arch = "x86_64") {
                attacks.extend([
                    attack(&["int80"], Unsure),
                    attack(&["x32"], Unsure),
                    attack(&["x32-ptrace"], Unsure),
                ]);
            }
            attacks
        },
        |_, _| {},
    );
}

/// Changing owners answers success, for tar and others that root runs, and does nothing.
#[test]
fn owners_stay() {
    use std::os::unix::fs::MetadataExt;
    for isolation in isolations() {
        let place = Place::new();
        for name in ["out/file", "input/file", "secret"] {
            let before = std::fs::metadata(place.path(name)).unwrap();
            let (status, said) = confined(isolation, &place, &["chown", &place.path(name), "1"]);
            let after = std::fs::metadata(place.path(name)).unwrap();
            assert_eq!(status, Status::Exited(0), "{isolation:?} {name}: {said}");
            assert_eq!(after.uid(), before.uid(), "{isolation:?} {name}");
            assert_eq!(
                after.ctime_nsec(),
                before.ctime_nsec(),
                "{isolation:?} {name}"
            );
        }
    }
    let place = Place::new();
    let (code, said) = free(&place, &["chown", &place.path("secret"), "1"]);
    let expected = if is_root() { 0 } else { 1 };
    assert_eq!(code, Some(expected), "control: {said}");
}

/// Attacks that would change this machine outside a sandbox.
#[test]
fn the_machine_cannot_be_changed() {
    for isolation in isolations() {
        for arguments in [
            &["umount", "/usr"][..],
            &["umount", "/proc"],
            &["sethostname"],
        ] {
            let (status, said) = confined(isolation, &Place::new(), arguments);
            assert_eq!(
                status,
                Status::Exited(1),
                "{isolation:?} {arguments:?}: {said}"
            );
        }
    }
}

#[test]
fn terminals_cannot_be_typed_into() {
    for isolation in isolations() {
        for name in ["tiocsti", "tiocsti-high", "tioclinux"] {
            let terminal = nix::pty::openpty(None, None).unwrap();
            let place = Place::new();
            let mut run = Run::attack(isolation, &place, &[name, "5"]);
            run.descriptors.push((terminal.slave, 5));
            let output = run.output();
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(
                output.outcome.status,
                Status::Exited(1),
                "{isolation:?} {name}: {said}"
            );
            assert!(said.contains("Operation not permitted"), "{said}");
        }
    }
    if is_root() {
        let terminal = nix::pty::openpty(None, None).unwrap();
        let slave = terminal.slave.as_fd();
        nix::fcntl::fcntl(
            slave,
            nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
        )
        .unwrap();
        let number = slave.as_raw_fd().to_string();
        let (code, said) = free(&Place::new(), &["tiocsti", &number]);
        assert_eq!(code, Some(0), "control: {said}");
    }
}

#[test]
fn descriptors_are_not_inherited() {
    let place = Place::new();
    let secret: OwnedFd = std::fs::File::open(place.path("secret")).unwrap().into();
    // As a library might open it: not close-on-exec.
    nix::fcntl::fcntl(
        secret.as_fd(),
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .unwrap();
    let number = secret.as_raw_fd().to_string();
    for isolation in isolations() {
        let (status, said) = confined(isolation, &place, &["descriptor", &number]);
        assert_eq!(status, Status::Exited(1), "{isolation:?}: {said}");
        let (_, said) = confined(isolation, &place, &["descriptors"]);
        assert_eq!(said.trim(), "0 1 2", "{isolation:?}");
    }
    let (code, said) = free(&place, &["descriptor", &number]);
    assert_eq!(code, Some(0), "control");
    assert!(said.contains("the secret"));
}

#[test]
fn the_environment_is_not_inherited() {
    for isolation in isolations() {
        let (status, said) = confined(isolation, &Place::new(), &["environment", "HOME"]);
        assert_eq!(status, Status::Exited(1), "{isolation:?}: {said}");
    }
    assert_eq!(
        free(&Place::new(), &["environment", "HOME"]).0,
        Some(0),
        "control"
    );
}

#[test]
fn programs_are_granted_one_by_one() {
    for isolation in BOTH.into_iter().filter(|i| isolations().contains(i)) {
        let place = Place::new();
        std::fs::copy(
            crate::support::attack_program(),
            place.path("private/program"),
        )
        .unwrap();
        let program = place.path("private/program");
        let (status, said) = confined(isolation, &place, &["exec", &program]);
        assert_eq!(status, Status::Exited(1), "{isolation:?}: {said}");
        // What an action makes in its own output it may run.
        std::fs::copy(crate::support::attack_program(), place.path("out/program")).unwrap();
        let (status, said) = confined(isolation, &place, &["exec", &place.path("out/program")]);
        assert_eq!(status, Status::Exited(2), "{isolation:?}: {said}");
    }
}

#[test]
fn leftovers_end_with_the_main_process() {
    for isolation in isolations() {
        for name in ["daemon", "run-away"] {
            let place = Place::new();
            let started = std::time::Instant::now();
            let (status, said) = confined(isolation, &place, &[name, &place.path("out/daemon")]);
            let took = started.elapsed();
            assert_eq!(status, Status::Exited(0), "{isolation:?} {name}: {said}");
            assert!(
                took.as_secs_f64() < 4.0,
                "{isolation:?} {name}: it held the pipes for {took:?}"
            );
            let size = || std::fs::metadata(place.path("out/daemon")).map_or(0, |m| m.len());
            let at_end = size();
            std::thread::sleep(std::time::Duration::from_millis(150));
            assert_eq!(size(), at_end, "{isolation:?} {name}: something lives on");
        }
    }
    let place = Place::new();
    let (code, _) = free(&place, &["daemon", &place.path("out/daemon")]);
    assert_eq!(code, Some(0));
    let size = || std::fs::metadata(place.path("out/daemon")).unwrap().len();
    let at_end = size();
    assert!(
        at_end > 20,
        "control: the daemon goes on, and holds the pipes until it ends"
    );
}

#[test]
fn the_user_is_nobody_in_particular() {
    for isolation in isolations() {
        let place = Place::new();
        let script = "id -u; id -G; hostname; cat /proc/sys/kernel/hostname || :";
        let output = Run::program(isolation, &place, "/bin/sh", &["-c", script]).output();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        if isolation == Isolation::Full {
            assert_eq!(lines[0], "1000", "{said}");
            assert_eq!(lines[2], "kiln", "{said}");
        }
        if is_root() {
            assert_eq!(
                lines[1].split(' ').count(),
                1,
                "supplementary groups: {said}"
            );
        }
        assert_eq!(lines.len(), 3, "{said}");
    }
}

/// Everything above once more as an ordinary user, if this is root.
#[test]
fn all_of_it_as_an_ordinary_user() {
    if !is_root() {
        return;
    }
    // Root's own directories may be closed to others: the test's program goes where it can be read.
    let directory = crate::support::public_directory();
    let program = directory.path().join("sandbox-tests");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
        ])
        .arg(&program)
        .args([
            "--skip",
            "all_of_it_as_an_ordinary_user",
            "--test-threads=2",
        ])
        .env("HOME", "/")
        .env("TMPDIR", "/tmp")
        // It may not reach this user's rustc; where it has to is said by the tests themselves.
        .env_remove("CI")
        .current_dir("/")
        .output()
        .expect("setpriv runs");

    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
