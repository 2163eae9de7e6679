//! The jobserver: a pipe of tokens that the scheduler, rustc, make and `cc` share, so that all of them together run no
//! more jobs than the user allows.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;

/// The reading and the writing end of `client`'s pipe, opened anew for a process to inherit. A fresh open, not a
/// duplicate: what an action does to the flags of its descriptors stays its own.
///
/// # Errors
/// The client is not a pipe of this process, or no descriptor is left.
pub(super) fn descriptors(client: &jobserver::Client) -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = numbers(client).ok_or_else(not_a_pipe)?;
    let read = File::open(format!("/proc/self/fd/{read}"))?;
    let write = OpenOptions::new()
        .write(true)
        .open(format!("/proc/self/fd/{write}"))?;
    Ok((read.into(), write.into()))
}

/// The scheduler's own way to the pipe, which never waits: an action can fill the pipe or empty it, and may stall what
/// shares it, but not the scheduler.
pub(super) struct Pipe<'a> {
    client: &'a jobserver::Client,
    read: File,
    write: File,
    /// How many tokens there are.
    tokens: usize,
}

impl<'a> Pipe<'a> {
    /// The pipe of `client`, which nobody has taken a token from yet.
    ///
    /// # Errors
    /// The client is not a pipe of this process, or no descriptor is left.
    pub(super) fn of(client: &'a jobserver::Client) -> io::Result<Self> {
        let (read, write) = numbers(client).ok_or_else(not_a_pipe)?;
        let open = |number: i32, writes: bool| {
            OpenOptions::new()
                .read(!writes)
                .write(writes)
                .custom_flags(libc::O_NONBLOCK)
                .open(format!("/proc/self/fd/{number}"))
        };
        Ok(Self {
            read: open(read, false)?,
            write: open(write, true)?,
            tokens: client.available()?,
            client,
        })
    }

    /// Gives a token back. If the pipe is full there are more tokens in it than there ever were.
    pub(super) fn give_back(&self, token: jobserver::Acquired) {
        token.drop_without_releasing();
        let _ = (&self.write).write(b"|");
    }

    /// Takes out what somebody has put in besides tokens; `held` of them are the scheduler's. Who gives one back would
    /// wait forever at a pipe that is full.
    pub(super) fn take_surplus(&self, held: usize) {
        let rightful = self.tokens.saturating_sub(held);
        let surplus = self
            .client
            .available()
            .unwrap_or_default()
            .saturating_sub(rightful);
        if surplus > 0 {
            let _ = (&self.read).read(&mut vec![0; surplus]);
        }
    }
}

fn not_a_pipe() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "the jobserver is not a pipe")
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
    fn a_full_pipe_is_emptied_to_what_was_in_it_and_stalls_nobody() {
        let client = jobserver::Client::new(2).unwrap();
        let pipe = Pipe::of(&client).unwrap();
        let token = client.acquire().unwrap();
        let (_, write) = descriptors(&client).unwrap();
        let mut write = File::from(write);
        let filler = std::thread::spawn(move || while write.write_all(&[0; 4096]).is_ok() {});
        while client.available().unwrap() < 32768 {
            std::thread::yield_now();
        }
        pipe.give_back(token);
        pipe.take_surplus(0);
        assert!(!filler.is_finished(), "it goes on filling");
        let other = jobserver::Client::new(3).unwrap();
        let pipe = Pipe::of(&other).unwrap();
        let (_, write) = descriptors(&other).unwrap();
        File::from(write).write_all(&[0; 5]).unwrap();
        pipe.take_surplus(1);
        assert_eq!(other.available().unwrap(), 2);
        pipe.take_surplus(1);
        assert_eq!(other.available().unwrap(), 2);
    }

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
