//! The jobserver: a pipe of tokens that the scheduler, rustc, make and `cc` share, so that all of them together run no
//! more jobs than the user allows.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;

/// The reading and the writing end of `client`'s pipe, opened anew for a process to inherit. A fresh open, not a
/// duplicate: what an action does to the flags of its descriptors stays its own.
///
/// # Errors
/// The client is not a pipe of this process, or no descriptor is left.
pub(super) fn descriptors(client: &jobserver::Client) -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = numbers(client)
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "the jobserver is not a pipe"))?;
    let read = File::open(format!("/proc/self/fd/{read}"))?;
    let write = OpenOptions::new()
        .write(true)
        .open(format!("/proc/self/fd/{write}"))?;
    Ok((read.into(), write.into()))
}

/// The numbers of the pipe's descriptors, as the client states them to a `make` that it would start.
fn numbers(client: &jobserver::Client) -> Option<(i32, i32)> {
    let mut command = Command::new("make");
    client.configure_make(&mut command);
    let flags = command
        .get_envs()
        .find_map(|(name, value)| (name == "MAKEFLAGS").then_some(value)?)?;
    let auth = flags
        .to_str()?
        .split_whitespace()
        .find_map(|flag| flag.strip_prefix("--jobserver-auth="))?;
    let (read, write) = auth.split_once(',')?;
    Some((read.parse().ok()?, write.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn the_ends_are_those_of_the_client() {
        let client = jobserver::Client::new(1).unwrap();
        let (read, write) = descriptors(&client).unwrap();
        let mut token = [0];
        File::from(read).read_exact(&mut token).unwrap();
        assert_eq!(client.available().unwrap(), 0);
        File::from(write).write_all(&token).unwrap();
        assert_eq!(client.available().unwrap(), 1);
    }
}
