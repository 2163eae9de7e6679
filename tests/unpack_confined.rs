//! What the unpacking process can still do once it is confined, tried from inside; and the same attempts without
//! confinement, which succeed.

#![expect(clippy::print_stdout, reason = "the worker of the test reports so")]

use std::path::Path;
use std::process::Command;

const ROLE: &str = "KILN_TEST_CONFINED";

/// What is tried: a name, and whether it worked.
fn attempts(outside: &Path, port: u16) -> Vec<(&'static str, bool)> {
    let file = outside.join("file");
    vec![
        ("read outside", std::fs::read(&file).is_ok()),
        ("list outside", std::fs::read_dir(outside).is_ok()),
        (
            "create outside",
            std::fs::write(outside.join("new"), "x").is_ok(),
        ),
        (
            "make a directory outside",
            std::fs::create_dir(outside.join("directory")).is_ok(),
        ),
        ("write by way of a link", {
            let made = std::os::unix::fs::symlink(&file, "link").is_ok();
            made && std::fs::OpenOptions::new()
                .append(true)
                .open("link")
                .is_ok()
        }),
        (
            "take a file from outside",
            std::fs::hard_link(&file, "taken").is_ok(),
        ),
        ("put a file outside", {
            std::fs::write("mine", "x").is_ok()
                && std::fs::rename("mine", outside.join("theirs")).is_ok()
        }),
        ("read /etc/passwd", std::fs::read("/etc/passwd").is_ok()),
        (
            "read /proc/self/environ",
            std::fs::read("/proc/self/environ").is_ok(),
        ),
        ("run a program", Command::new("/bin/true").status().is_ok()),
        (
            "connect by TCP",
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(),
        ),
        (
            "listen on TCP",
            std::net::TcpListener::bind("127.0.0.1:0").is_ok(),
        ),
        ("send by UDP", {
            std::net::UdpSocket::bind("127.0.0.1:0")
                .and_then(|socket| socket.send_to(b"x", ("127.0.0.1", port)))
                .is_ok()
        }),
        (
            "make a unix socket",
            std::os::unix::net::UnixStream::pair().is_ok(),
        ),
        ("work inside", {
            std::fs::create_dir("d").is_ok()
                && std::fs::write("d/f", "x").is_ok()
                && std::os::unix::fs::symlink("d/f", "l").is_ok()
                && std::fs::read("l").is_ok_and(|content| content == b"x")
        }),
    ]
}

/// Not a test of its own: what the child processes of the next one run.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let mut words = role.splitn(3, ' ');
    let confined = words.next() == Some("confined");
    let port = words
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    let outside = Path::new(words.next().expect("a directory"));
    if confined {
        let inside = std::env::current_dir().expect("a directory");
        kiln::source::confine_to(&inside).expect("the kernel confines");
    }
    for (name, worked) in attempts(outside, port) {
        println!("{name}: {worked}");
    }
}

#[test]
fn a_confined_process_works_inside_only() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    let run = |role: &str| -> Vec<(String, bool)> {
        let root = tempfile::tempdir().expect("a temporary directory");
        let (inside, outside) = (root.path().join("inside"), root.path().join("outside"));
        std::fs::create_dir(&inside).expect("can create");
        std::fs::create_dir(&outside).expect("can create");
        std::fs::write(outside.join("file"), "x").expect("can write");
        let output = Command::new(std::env::current_exe().expect("this program"))
            .args(["child", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, format!("{role} {port} {}", outside.display()))
            .current_dir(&inside)
            .output()
            .expect("it runs");
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| {
                let (name, worked) = line.rsplit_once(": ")?;
                let name = name.rsplit(" ... ").next()?;
                Some((name.to_owned(), worked.parse().ok()?))
            })
            .collect()
    };
    let free = run("free");
    assert!(free.len() > 10, "{free:?}");
    assert!(free.iter().all(|(_, worked)| *worked), "{free:?}");
    let worked: Vec<_> = run("confined")
        .into_iter()
        .filter(|(_, worked)| *worked)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(worked, ["work inside"]);
}
