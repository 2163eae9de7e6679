//! Further ways to what must not be possible: around the paths, the descriptors and the calls that `attacks` tries.

use std::os::unix::fs::PermissionsExt;

use kiln::sandbox::{Isolation, Status};

use crate::attacks::Control::{ComesThrough, Unsure};
use crate::attacks::{Attack, Victim, all_denied, attack};
use crate::support::{Place, Run, attack_program, confined, free, isolations};

/// By other names, by descriptors that are only a path, by files without a name.
#[test]
fn no_other_way_to_a_file() {
    all_denied(
        |place| {
            let p = |name: &str| place.path(name);
            let root = place.root.path().to_str().unwrap();
            let (secret, out) = (p("secret"), p("out/new"));
            vec![
                attack(&["reopen", &secret], ComesThrough),
                attack(&["reopen-write", &secret], ComesThrough),
                attack(&["read-relative", "secret", root], ComesThrough),
                attack(&["read-relative", "../secret", &p("out")], ComesThrough),
                attack(&["link-descriptor", &secret, &out], Unsure),
                attack(&["exchange", &secret, &p("out/file")], ComesThrough),
                attack(&["symlink", &p("planted")], ComesThrough),
                attack(&["rmdir", &p("tmp")], ComesThrough),
                // Its own output directory is not its to take away.
                attack(&["unlink", &p("out")], Unsure),
                attack(&["rename", &p("out"), &p("planted")], ComesThrough),
                attack(&["rename", &p("out"), "../planted"], ComesThrough),
                attack(&["tmpfile", root], ComesThrough),
                attack(&["tmpfile", &p("input")], ComesThrough),
                attack(&["tmpfile-link", &p("out"), &p("planted")], ComesThrough),
                attack(&["fchmodat2-empty", &secret], Unsure),
                attack(&["utimes-empty", &secret], ComesThrough),
                attack(&["utimes-old", &secret], Unsure),
                attack(&["lutimes", &secret], ComesThrough),
                attack(&["attributes", &secret], Unsure),
                attack(&["fallocate", &secret], Unsure),
                attack(&["lease", &p("input/file")], ComesThrough),
                attack(&["notify", &p("input")], ComesThrough),
                attack(&["inotify", &p("input")], ComesThrough),
            ]
        },
        |place, what| {
            assert_eq!(place.read("secret"), "the secret", "{what}");
            assert_eq!(place.mode("secret"), 0o644, "{what}");
            assert!(
                place
                    .root
                    .path()
                    .join("planted")
                    .symlink_metadata()
                    .is_err(),
                "{what}"
            );
        },
    );
}

#[test]
fn no_other_way_to_an_input() {
    all_denied(
        |place| {
            let p = |name: &str| place.path(name);
            let file = p("input/file");
            vec![
                attack(&["reopen-write", &file], ComesThrough),
                attack(&["exchange", &file, &p("out/file")], ComesThrough),
                attack(&["tmpfile-link", &p("out"), &p("input/new")], ComesThrough),
                attack(&["fchmodat2-empty", &file], Unsure),
                attack(&["utimes-empty", &file], ComesThrough),
                attack(&["utimes-old", &file], Unsure),
                attack(&["lutimes", &file], ComesThrough),
                attack(&["attributes", &file], Unsure),
                attack(&["fallocate", &file], Unsure),
                attack(&["utimes", &p("input")], ComesThrough),
                attack(&["chmod", &p("input")], ComesThrough),
            ]
        },
        |place, what| {
            let data = std::fs::metadata(place.path("input/file")).unwrap();
            assert_eq!(data.len(), 5, "{what}");
            assert_eq!(data.permissions().mode() & 0o7777, 0o644, "{what}");
            let since = data.modified().unwrap().elapsed().unwrap_or_default();
            assert!(since.as_secs() < 3600, "{what}: its time was set");
        },
    );
}

/// What the supervisor looked at is no longer what is meant when it acts.
#[test]
fn judging_cannot_be_raced() {
    all_denied(
        |place| {
            let (own, secret) = (place.path("out/file"), place.path("secret"));
            ["memory", "link", "directory", "descriptor"]
                .map(|how| attack(&[&format!("race-{how}"), &own, &secret], ComesThrough))
                .into()
        },
        |place, what| {
            assert_eq!(place.mode("secret"), 0o644, "{what}");
            let data = std::fs::metadata(place.path("secret")).unwrap();
            let since = data.modified().unwrap().elapsed().unwrap_or_default();
            assert!(since.as_secs() < 3600, "{what}: its time was set");
        },
    );
}

/// Programs that were not declared, run by way of what was.
#[test]
fn no_other_way_to_run_a_program() {
    all_denied(
        |place| {
            let program = place.path("private/program");
            std::fs::copy(attack_program(), &program).unwrap();
            let mut attacks = vec![
                attack(
                    &["exec-script", &program, &place.path("out/script")],
                    ComesThrough,
                ),
                attack(&["exec-descriptor", &program], ComesThrough),
                attack(&["exec-memory", &program], ComesThrough),
                attack(
                    &["exec-memory", attack_program().to_str().unwrap()],
                    ComesThrough,
                ),
                attack(&["gain"], ComesThrough),
            ];
            if cfg!(target_arch = "x86_64") {
                attacks.push(attack(&["exec-loader", &program], ComesThrough));
            }
            attacks
        },
        |_, _| {},
    );
}

#[test]
fn no_other_way_to_a_process() {
    let victim = Victim::new();
    let id = victim.id();
    all_denied(
        |place| {
            let secret = place.path("secret");
            let mut attacks: Vec<Attack> = Vec::new();
            for who in [id.as_str(), "parent"] {
                for file in ["environ", "cmdline", "maps", "status", "stat", "mountinfo"] {
                    attacks.push(attack(&["proc-read", who, file], ComesThrough));
                }
                for link in ["exe", "cwd", "root", "fd/0", "ns/net"] {
                    attacks.push(attack(&["proc-link", who, link], ComesThrough));
                }
                attacks.push(attack(
                    &["proc-read", who, &format!("root{secret}")],
                    ComesThrough,
                ));
                attacks.push(attack(&["proc-write", who, "oom_score_adj"], Unsure));
                attacks.push(attack(&["proc-write", who, "comm"], Unsure));
            }
            attacks.extend([
                attack(&["proc-read", "1", "environ"], Unsure),
                attack(&["signal-parent"], ComesThrough),
                attack(&["signal-thread", &id], ComesThrough),
                attack(&["signal-queue", &id], ComesThrough),
                attack(&["signal-by-proc", &id], ComesThrough),
                attack(&["own-async"], ComesThrough),
                attack(&["set-signal"], ComesThrough),
                attack(&["scheduler", &id], ComesThrough),
                attack(&["io-priority", &id], ComesThrough),
                attack(&["shm-make"], ComesThrough),
                attack(&["sem-make"], ComesThrough),
                attack(&["msg-make"], ComesThrough),
                attack(&["mq-make"], ComesThrough),
                attack(&["pair-datagram"], ComesThrough),
            ]);
            attacks
        },
        |_, _| {},
    );
}

/// `AF_*`, `SOCK_*`, protocol.
#[test]
fn no_socket_of_any_family() {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port().to_string();
    all_denied(
        |_| {
            let mut attacks = vec![
                attack(&["socket", "1 1 0"], ComesThrough),
                attack(&["socket", "1 2 0"], ComesThrough),
                attack(&["socket", "2 1 0"], ComesThrough),
                attack(&["socket", "2 2 0"], ComesThrough),
                attack(&["socket", "10 1 0"], ComesThrough),
                attack(&["socket", "10 2 0"], ComesThrough),
                attack(&["fast-open", &port], Unsure),
            ];
            for other in [
                "2 1 262",  // Multipath TCP
                "2 2 1",    // ping
                "2 3 1",    // raw
                "2 5 132",  // SCTP
                "2 1 256",  // SMC
                "16 3 0",   // netlink: routes
                "16 3 4",   // netlink: sockets
                "16 3 15",  // netlink: devices
                "17 3 768", // packets
                "38 5 0",   // the kernel's ciphers
                "40 1 0",   // machines' host
                "15 3 2",   // keys of IPsec
                "29 3 1",   // CAN
                "30 5 0",   // TIPC
                "31 1 3",   // Bluetooth
                "21 5 0",   // RDS
                "44 3 0",   // XDP
                "43 1 0",   // SMC
                "41 2 0",   // KCM
            ] {
                attacks.push(attack(&["socket", other], Unsure));
            }
            attacks
        },
        |_, _| {},
    );
}

#[test]
fn no_namespace_and_no_old_entry() {
    all_denied(
        |_| {
            let mut attacks = vec![
                attack(&["clone-high"], Unsure),
                attack(&["fsopen"], Unsure),
                attack(&["open-tree", "/usr"], Unsure),
                attack(&["set-time"], ComesThrough),
                attack(&["landlock"], ComesThrough),
                attack(&["process-keyring"], Unsure),
                attack(&["request-key"], Unsure),
                attack(&["memory-secret"], Unsure),
                attack(&["quota", "/"], Unsure),
            ];
            // User, mount, pid, network, uts, ipc, cgroup, time.
            for kind in [
                "0x10000000",
                "0x20000",
                "0x20000000",
                "0x40000000",
                "0x4000000",
                "0x8000000",
                "0x2000000",
                "0x80",
                "0x7e020000",
            ] {
                attacks.push(attack(&["unshare", kind], Unsure));
                if kind != "0x80" {
                    attacks.push(attack(&["clone", kind], Unsure));
                }
            }
            // Somebody else's children.
            attacks.push(attack(&["clone", "0x8000"], Unsure));
            attacks.push(attack(&["clone", "0x2000"], Unsure));
            // Who may trace it, who takes its orphans, its memory map, its bits, kept capabilities, its filter.
            for option in ["0x59616d61", "36", "35", "28", "8", "22", "59", "62", "47"] {
                attacks.push(attack(&["prctl", option, "1"], Unsure));
            }
            // To be told of its parent's end by less than death, or not at all.
            for signal in ["0", "15", "0x100000009"] {
                attacks.push(attack(&["prctl", "1", signal], Unsure));
            }
            // Every call since the tables of all machines are one, also those that no header here knows.
            attacks.push(attack(&["numbers"], ComesThrough));
            if cfg!(target_arch = "x86_64") {
                attacks.push(attack(&["modify-ldt"], ComesThrough));
                attacks.push(attack(&["io-ports"], Unsure));
                // ptrace, socketcall, mount, unshare, getpid of the 32-bit table.
                for call in ["26", "102", "21", "310", "20"] {
                    attacks.push(attack(&["int80-call", call], Unsure));
                }
                // execve, ptrace, process_vm_readv, socket, getpid.
                for call in ["520", "521", "539", "41", "39"] {
                    attacks.push(attack(&["x32-call", call], Unsure));
                }
            }
            attacks
        },
        |_, _| {},
    );
}

/// The host's shared memory is not the action's: without namespaces it is denied, with them it is another one.
#[test]
fn shared_memory_is_its_own() {
    let name = format!("/dev/shm/kiln-attack-{}", std::process::id());
    for isolation in isolations() {
        let (status, said) = confined(isolation, &Place::new(), &["create", &name]);
        let expected = match isolation {
            Isolation::Landlock => 1,
            Isolation::Full => 0,
        };
        assert_eq!(status, Status::Exited(expected), "{isolation:?} {said}");
        assert!(!std::path::Path::new(&name).exists(), "{isolation:?}");
    }
    let (code, said) = free(&Place::new(), &["create", &name]);
    assert_eq!(code, Some(0), "control: {said}");
    std::fs::remove_file(name).unwrap();
}

/// A program with a set-user-ID bit gains nothing.
#[test]
fn set_user_id_programs_gain_nothing() {
    if !crate::support::is_root() {
        return;
    }
    for isolation in isolations() {
        let place = Place::new();
        let program = place.path("input/gains");
        std::fs::copy(attack_program(), &program).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o6755)).unwrap();
        let output = Run::program(isolation, &place, &program, &["capabilities"]).output();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(
            output.outcome.status,
            Status::Exited(1),
            "{isolation:?} {said}"
        );
    }
}
