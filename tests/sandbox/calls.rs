//! What a profile says that it refuses is refused: one process for each system call, generated from the profile's data.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use kiln::sandbox::profile::{Machine, SHIPPED};
use kiln::sandbox::{Isolation, SandboxProfile, Status};

use crate::support::{Place, Run, isolations, mount, public_directory};

#[derive(serde::Deserialize)]
struct Profile {
    #[serde(default)]
    allow: Vec<Entry>,
    #[serde(default)]
    refuse: Vec<Entry>,
}

#[derive(serde::Deserialize)]
struct Entry {
    syscalls: Vec<String>,
    arch: Option<Machine>,
    #[serde(default)]
    namespaces: bool,
    answer: Option<String>,
}

fn text(name: &str) -> Profile {
    let (_, text) = SHIPPED.iter().find(|(n, _)| *n == name).unwrap();
    toml::from_str(text).unwrap()
}

/// What each refused call has to answer, for this machine.
fn refused() -> BTreeMap<String, i32> {
    let here = |entry: &Entry| entry.arch.is_none_or(|arch| arch == Machine::HOST);
    let mut refused = BTreeMap::new();
    for entry in text("base").refuse.into_iter().filter(here) {
        let errno = match entry.answer.as_deref() {
            None => nix::libc::EPERM,
            Some("EOPNOTSUPP") => nix::libc::EOPNOTSUPP,
            Some("NOTHING") => 0,
            Some(other) => panic!("no answer is called {other}"),
        };
        for name in entry.syscalls {
            refused.insert(name, errno);
        }
    }
    refused
}

/// A program that makes the call that it is told, with arguments that make no sense, and prints the error number. In it
/// are the numbers that the C library's headers know.
fn caller(names: impl Iterator<Item = String>) -> tempfile::TempDir {
    let mut source = String::from(
        "#define _GNU_SOURCE\n#include <errno.h>\n#include <stdio.h>\n#include <string.h>\n#include <sys/syscall.h>\n\
         #include <unistd.h>\nint main(int n, char **v) {\n",
    );
    for name in names {
        writeln!(
            source,
            "#ifdef SYS_{name}\nif (strcmp(v[1], \"{name}\") == 0) {{ long r = syscall(SYS_{name}, -1L, -1L, -1L, -1L, \
             -1L, -1L); printf(\"%d\\n\", r == -1 ? errno : 0); return 0; }}\n#endif"
        )
        .unwrap();
    }
    source.push_str("return 3; }\n");
    let directory = public_directory();
    let (program, file) = (
        directory.path().join("call"),
        directory.path().join("call.c"),
    );
    std::fs::write(&file, source).unwrap();
    let output = Command::new("cc")
        .args(["-w", "-o"])
        .args([&program, &file])
        .output()
        .expect("cc runs");
    assert!(output.status.success(), "{output:?}");
    directory
}

fn answer(
    isolation: Isolation,
    profile: &SandboxProfile,
    caller: &tempfile::TempDir,
    name: &str,
) -> String {
    let place = Place::new();
    let mut run = Run::program(isolation, &place, caller.path().join("call"), &[name]);
    run.mounts
        .push(mount(caller.path(), kiln::sandbox::Access::Read));
    run.profile = profile.clone();
    let output = run.output();
    match output.outcome.status {
        Status::Exited(0) => String::from_utf8(output.stdout).unwrap().trim().to_owned(),
        Status::Exited(3) => "unknown".to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn what_a_profile_refuses_is_refused() {
    let refused = refused();
    let caller = caller(refused.keys().cloned());
    let held: Vec<String> = text("test")
        .allow
        .into_iter()
        .filter(|entry| entry.namespaces)
        .flat_map(|entry| entry.syscalls)
        .collect();
    let profiles =
        ["build-script", "rustc", "test"].map(|name| SandboxProfile::shipped(name).unwrap());
    let (mut differs, mut unknown) = (0, 0);
    for (name, errno) in &refused {
        for isolation in isolations() {
            for profile in &profiles {
                if profile.name == "test" && isolation == Isolation::Full && held.contains(name) {
                    continue;
                }
                let said = answer(isolation, profile, &caller, name);
                if said == "unknown" {
                    unknown += 1;
                    continue;
                }
                assert_eq!(
                    said,
                    errno.to_string(),
                    "{isolation:?} {} {name}",
                    profile.name
                );
            }
        }
        // As root this one would have an effect.
        if name != "vhangup" {
            let output = Command::new(caller.path().join("call"))
                .arg(name)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            differs += usize::from(said != errno.to_string());
        }
    }
    // The control: without the filter the kernel has other things to say of most of them.
    assert!(
        differs > refused.len() / 2,
        "{differs} of {}",
        refused.len()
    );
    assert!(unknown < refused.len(), "the headers know too few calls");
}

/// What no profile names answers as on a kernel that does not have it.
#[test]
fn what_nobody_names_is_not_there() {
    let names = [
        "openat2",
        "landlock_create_ruleset",
        "set_mempolicy",
        "clone3",
        "mlockall",
    ];
    let caller = caller(names.iter().map(|name| (*name).to_owned()));
    let profile = SandboxProfile::shipped("rustc").unwrap();
    for name in names {
        for isolation in isolations() {
            let said = answer(isolation, &profile, &caller, name);
            assert_eq!(said, nix::libc::ENOSYS.to_string(), "{isolation:?} {name}");
        }
    }
}
