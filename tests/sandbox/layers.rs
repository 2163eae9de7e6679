//! Which layer stops what: the attacks once more, behind a filter that allows whatever the shipped one refuses. What is
//! stopped then is stopped by namespaces or by Landlock; what comes through has seccomp alone against it, and the table
//! in `SECURITY.md` says so.

use std::collections::BTreeMap;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use kiln::sandbox::profile::SHIPPED;
use kiln::sandbox::{Isolation, SandboxProfile, Status};

use crate::attacks::Victim;
use crate::support::{Place, Run, free, isolations};

/// What the base allows on conditions.
const WITHOUT_CONDITIONS: [&str; 5] = [
    "sendto",
    "socketpair",
    "fcntl",
    "ioctl",
    "sched_setaffinity",
];

/// A profile that refuses nothing of what `base` refuses.
fn without_refusals() -> SandboxProfile {
    let (_, base) = SHIPPED.iter().find(|(name, _)| *name == "base").unwrap();
    let mut base: toml::Table = toml::from_str(base).unwrap();
    let mut allow: Vec<toml::Value> = Vec::new();
    for list in ["allow", "refuse"] {
        for mut entry in base.remove(list).unwrap().as_array().unwrap().clone() {
            let entry_table = entry.as_table_mut().unwrap();
            entry_table.remove("answer");
            let calls = entry_table["syscalls"].as_array_mut().unwrap();
            calls.retain(|name| !WITHOUT_CONDITIONS.contains(&name.as_str().unwrap()));
            if !calls.is_empty() {
                allow.push(entry);
            }
        }
    }
    let mut more = toml::Table::new();
    more.insert("syscalls".into(), WITHOUT_CONDITIONS.to_vec().into());
    allow.push(more.into());
    base.insert("allow".into(), allow.into());
    let own = BTreeMap::from([("open".to_owned(), toml::to_string(&base).unwrap())]);
    SandboxProfile::named("open", &own).unwrap()
}

/// Who stops it when seccomp does not.
#[derive(Clone, Copy, PartialEq)]
enum By {
    /// Landlock, and namespaces where there are any.
    Both,
    /// Landlock from this ABI on, and namespaces.
    BothFrom(u32),
    /// Namespaces only.
    Namespaces,
    /// Nobody: seccomp is the only layer.
    Nobody,
}

#[test]
fn landlock_and_namespaces_stand_without_the_filter() {
    let profile = without_refusals();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let directory = crate::support::public_directory();
    let path = directory.path().join("stream");
    let _stream = UnixListener::bind(&path).unwrap();
    let name = format!("kiln-layers-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap());
    let victim = Victim::new();
    let (tcp, udp) = (
        tcp.local_addr().unwrap().port().to_string(),
        udp.local_addr().unwrap().port().to_string(),
    );
    let (path, id) = (path.to_str().unwrap(), victim.id());
    let place = Place::new();
    let p = |name: &str| place.path(name);
    let (secret, program) = (p("secret"), p("private/program"));
    std::fs::copy(crate::support::attack_program(), &program).unwrap();
    for (attack, by) in [
        (vec!["read", &secret], By::Both),
        (vec!["overwrite", &secret], By::Both),
        (vec!["create", &p("new")], By::Both),
        (vec!["link", &secret, &p("out/new")], By::Both),
        (vec!["overwrite", &p("input/file")], By::Both),
        (vec!["truncate", &p("input/file")], By::BothFrom(3)),
        (vec!["exec-loader", &program], By::Both),
        (vec!["proc-environ", &id], By::Both),
        (vec!["tcp", &tcp], By::BothFrom(4)),
        (vec!["abstract", &name], By::BothFrom(6)),
        (vec!["signal-queue", &id], By::BothFrom(6)),
        (vec!["udp", &udp], By::Namespaces),
        (vec!["unix", path], By::Namespaces),
        (vec!["pidfd", &id], By::Namespaces),
        (vec!["notify", &p("input")], By::Nobody),
        (vec!["sem-make"], By::Nobody),
        (vec!["memory-file"], By::Nobody),
    ] {
        for isolation in isolations() {
            let mut run = Run::attack(isolation, &place, &attack);
            run.profile = profile.clone();
            let output = run.output();
            let abi = output.outcome.enforced.landlock_abi();
            let stopped = match by {
                By::Both => true,
                By::BothFrom(first) => isolation == Isolation::Full || abi >= first,
                By::Namespaces => isolation == Isolation::Full,
                By::Nobody => false,
            };
            // From ABI 9 on Landlock knows of sockets with a path, too.
            if attack[0] == "unix" && abi >= 9 {
                continue;
            }
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(
                output.outcome.status,
                Status::Exited(i32::from(stopped)),
                "{isolation:?} {attack:?}: {said}"
            );
        }
        if attack[0] != "overwrite" && attack[0] != "truncate" && attack[0] != "link" {
            let (code, said) = free(&place, &attack);
            assert_eq!(code, Some(0), "control of {attack:?}: {said}");
        }
    }
}
