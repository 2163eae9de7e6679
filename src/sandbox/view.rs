//! The root that a process sees under full isolation: from mounts to the list of steps that makes it.
//!
//! ```text
//! /            tmpfs, read-only in the end; holds only mount points, links and directories
//! /.old-root   the host, while the steps run
//! /dev         null zero full random urandom (the host's, each bound by itself), fd, stdin, stdout, stderr, shm -> /tmp
//! /proc        of the action's own pid namespace, processes only, read-only
//! /tmp         a tmpfs, or the request's own directory
//! ...          the request's mounts, links and directories
//! ```
//!
//! Every path is resolved within the new root, so that no symbolic link in a mount leads a later mount outside. The
//! parent resolves the host's paths and remembers which file they were; the child checks that it binds that one.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::child::{OLD_ROOT, ViewStep};
use super::error::SandboxError;
use super::request::{Access, Mount, Request};
use super::ruleset::Grant;
use super::sys;
use crate::path::SandboxPath;

/// A mount whose host side was opened and looked at.
#[derive(Debug)]
pub(super) struct Opened {
    /// The host's path, without symbolic links.
    pub(super) host: PathBuf,
    /// The file itself, as a path only.
    pub(super) fd: OwnedFd,
    /// Device and inode.
    pub(super) identity: (u64, u64),
    /// Whether it is a directory.
    pub(super) directory: bool,
    /// Where it is seen.
    pub(super) at: SandboxPath,
    /// What may be done.
    pub(super) access: Access,
}

impl Opened {
    /// Opens what `mount` names.
    pub(super) fn new(mount: &Mount) -> Result<Self, SandboxError> {
        Self::open(&mount.host, mount.at.clone(), mount.access)
    }

    /// Opens `path` for the place `at`.
    pub(super) fn open(path: &Path, at: SandboxPath, access: Access) -> Result<Self, SandboxError> {
        let failed = |source| SandboxError::Path {
            path: path.to_owned(),
            source,
        };
        let host = path.canonicalize().map_err(failed)?;
        let fd = sys::open(
            &c_path(&host)?,
            libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC,
            0,
        )
        .map_err(|errno| failed(errno.into()))?;
        let identity = sys::identity(fd.as_fd()).map_err(|errno| failed(errno.into()))?;
        // Through the descriptor, so that it is the same file that is asked about.
        let kind = sys::kind(fd.as_fd()).map_err(|errno| failed(errno.into()))?;
        if !matches!(kind, libc::S_IFDIR | libc::S_IFREG) {
            return Err(SandboxError::Request {
                why: format!("`{}` is neither a directory nor a file", host.display()),
            });
        }
        Ok(Self {
            directory: kind == libc::S_IFDIR,
            host,
            fd,
            identity,
            at,
            access,
        })
    }

    /// What Landlock is to grant on it.
    pub(super) fn grant(&self) -> Grant {
        match self.directory {
            true => Grant::Directory(self.access),
            false => Grant::File(self.access),
        }
    }
}

/// The devices that every process sees.
pub(super) const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// A device node of the host, opened as a path.
pub(super) fn open_device(name: &str) -> Result<(PathBuf, OwnedFd, (u64, u64)), SandboxError> {
    let path = Path::new("/dev").join(name);
    let open = || {
        let fd = sys::open(
            &c_string(path.as_os_str().as_bytes()),
            libc::O_PATH | libc::O_NOFOLLOW,
            0,
        )?;
        let identity = sys::identity(fd.as_fd())?;
        match sys::kind(fd.as_fd())? {
            libc::S_IFCHR => Ok((fd, identity)),
            _ => Err(sys::Errno(libc::ENODEV)),
        }
    };
    match open() {
        Ok((fd, identity)) => Ok((path, fd, identity)),
        Err(errno) => Err(SandboxError::Path {
            path,
            source: errno.into(),
        }),
    }
}

/// A path of the host for a system call.
pub(super) fn c_path(path: &Path) -> Result<CString, SandboxError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| SandboxError::Request {
        why: format!("`{}` contains a NUL byte", path.display()),
    })
}

/// A string of which it is known that it holds no NUL: cut off at one, which then does not name what was meant.
pub(super) fn c_string(bytes: &[u8]) -> CString {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_default()
}

/// The steps that every root begins with: `/proc`, `/dev` and a tmpfs at `/tmp`.
pub(super) fn system_steps() -> Result<Vec<ViewStep>, SandboxError> {
    let devices = DEVICES
        .iter()
        .map(|name| open_device(name))
        .collect::<Result<Vec<_>, _>>()?;
    let mut builder = Builder::new();
    builder.system(&devices);
    builder.own_tmp(None)?;
    Ok(builder.steps)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    Directory,
    File,
    Link,
}

/// Collects the steps, knowing what the new root holds so far.
struct Builder<'a> {
    steps: Vec<ViewStep>,
    /// What was made on a tmpfs, by path.
    made: BTreeMap<String, Made>,
    /// What was mounted, in order.
    mounted: Vec<&'a Opened>,
}

/// The steps that make the root of `request`. `mounts` are the request's, opened, and `tmp` its own `/tmp`.
pub(super) fn steps(
    request: &Request<'_>,
    mounts: &[Opened],
    tmp: Option<&Opened>,
    devices: &[(PathBuf, OwnedFd, (u64, u64))],
    tmp_bytes: Option<u64>,
) -> Result<Vec<ViewStep>, SandboxError> {
    let mut builder = Builder::new();
    builder.system(devices);
    match tmp {
        Some(tmp) => {
            builder.directory("/tmp")?;
            builder.bind(tmp)?;
        }
        None => builder.own_tmp(tmp_bytes)?,
    }
    for (at, target) in &request.links {
        builder.link(at.as_str(), target)?;
    }
    for mount in mounts {
        builder.mount_point(mount)?;
        builder.bind(mount)?;
    }
    for directory in &request.directories {
        builder.directory(directory.as_str())?;
    }
    Ok(builder.steps)
}

impl<'a> Builder<'a> {
    fn new() -> Self {
        Self {
            steps: Vec::new(),
            made: BTreeMap::new(),
            mounted: Vec::new(),
        }
    }

    /// A tmpfs at `/tmp`, of so many bytes at most.
    fn own_tmp(&mut self, most: Option<u64>) -> Result<(), SandboxError> {
        // Files take memory, too, when they are empty.
        let size = most.map_or_else(String::new, |most| format!(",size={most}"));
        let options = format!("mode=1777,nr_inodes=1m{size}");
        self.directory("/tmp")?;
        self.steps.push(ViewStep::Filesystem {
            kind: c"tmpfs".to_owned(),
            at: c"/tmp".to_owned(),
            flags: libc::MS_NOSUID | libc::MS_NODEV,
            options: c_string(options.as_bytes()),
        });
        Ok(())
    }

    /// `/proc` and `/dev`.
    fn system(&mut self, devices: &[(PathBuf, OwnedFd, (u64, u64))]) {
        for path in ["/proc", "/dev"] {
            self.push(path, Made::Directory);
        }
        self.steps.push(ViewStep::Filesystem {
            kind: c"proc".to_owned(),
            at: c"/proc".to_owned(),
            flags: libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RDONLY,
            options: c"subset=pid".to_owned(),
        });
        for (host, _, identity) in devices {
            let at = host.to_string_lossy().into_owned();
            self.push(&at, Made::File);
            self.steps.push(ViewStep::Bind {
                source: beneath_old_root(host),
                at: c_string(at.as_bytes()),
                identity: *identity,
                // Read-only is about the node, not about what is written to the device.
                attributes: libc::MOUNT_ATTR_NOSUID
                    | libc::MOUNT_ATTR_NOEXEC
                    | libc::MOUNT_ATTR_RDONLY,
            });
        }
        for (at, target) in [
            ("/dev/fd", "/proc/self/fd"),
            ("/dev/stdin", "/proc/self/fd/0"),
            ("/dev/stdout", "/proc/self/fd/1"),
            ("/dev/stderr", "/proc/self/fd/2"),
            ("/dev/shm", "/tmp"),
        ] {
            self.made.insert(at.to_owned(), Made::Link);
            self.steps.push(ViewStep::Link {
                at: c_string(at.as_bytes()),
                target: c_string(target.as_bytes()),
            });
        }
    }

    fn push(&mut self, path: &str, made: Made) {
        self.made.insert(path.to_owned(), made);
        let path = c_string(path.as_bytes());
        self.steps.push(match made {
            Made::Directory => ViewStep::Directory(path),
            _ => ViewStep::File(path),
        });
    }

    fn bind(&mut self, opened: &'a Opened) -> Result<(), SandboxError> {
        let read_only = match opened.access {
            Access::Read => libc::MOUNT_ATTR_RDONLY,
            Access::Write => 0,
        };
        self.steps.push(ViewStep::Bind {
            source: beneath_old_root(&opened.host),
            at: c_string(opened.at.as_str().as_bytes()),
            identity: opened.identity,
            attributes: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | read_only,
        });
        self.mounted.push(opened);
        Ok(())
    }

    fn link(&mut self, at: &str, target: &str) -> Result<(), SandboxError> {
        if target.is_empty() || target.contains('\0') {
            return wrong(format!("the link `{at}` leads nowhere"));
        }
        if self.made.contains_key(at) || at == "/" {
            return wrong(format!("`{at}` is to be a link and something else"));
        }
        self.parents(at)?;
        self.made.insert(at.to_owned(), Made::Link);
        self.steps.push(ViewStep::Link {
            at: c_string(at.as_bytes()),
            target: c_string(target.as_bytes()),
        });
        Ok(())
    }

    fn mount_point(&mut self, mount: &Opened) -> Result<(), SandboxError> {
        let at = mount.at.as_str();
        let reserved = ["/", "/proc", "/dev", OLD_ROOT];
        if reserved.contains(&at)
            || at.starts_with("/proc/")
            || self.mounted.iter().any(|m| m.at == mount.at)
        {
            return wrong(format!("nothing can be mounted at `{at}`"));
        }
        match mount.directory {
            true => self.directory(at),
            false => self.file(at),
        }
    }

    fn directory(&mut self, at: &str) -> Result<(), SandboxError> {
        if at == "/" {
            return Ok(());
        }
        self.parents(at)?;
        self.place(at, Made::Directory)
    }

    fn file(&mut self, at: &str) -> Result<(), SandboxError> {
        self.parents(at)?;
        self.place(at, Made::File)
    }

    fn parents(&mut self, at: &str) -> Result<(), SandboxError> {
        for (i, _) in at.match_indices('/').skip(1) {
            self.place(&at[..i], Made::Directory)?;
        }
        Ok(())
    }

    /// Sees to it that `at` is there, in a directory that is there already.
    fn place(&mut self, at: &str, wanted: Made) -> Result<(), SandboxError> {
        let outer = self
            .mounted
            .iter()
            .rev()
            .find_map(|m| Some((*m, beneath(at, m.at.as_str())?)));
        let Some((outer, rest)) = outer else {
            return match self.made.get(at) {
                Some(made) if *made == wanted => Ok(()),
                Some(_) => wrong(format!("`{at}` is to be two things at once")),
                None => {
                    self.push(at, wanted);
                    Ok(())
                }
            };
        };
        if rest.is_empty() {
            return match (outer.directory, wanted) {
                (true, Made::Directory) | (false, Made::File) => Ok(()),
                _ => wrong(format!("`{at}` is to be two things at once")),
            };
        }
        match std::fs::symlink_metadata(outer.host.join(rest)) {
            Ok(found) if found.is_dir() && wanted == Made::Directory => Ok(()),
            Ok(found) if found.is_file() && wanted == Made::File => Ok(()),
            Ok(_) => wrong(format!(
                "`{at}` is of another kind in `{}` already",
                outer.host.display()
            )),
            Err(_) if outer.access == Access::Write => {
                let path = c_string(at.as_bytes());
                self.steps.push(match wanted {
                    Made::Directory => ViewStep::Directory(path),
                    _ => ViewStep::File(path),
                });
                Ok(())
            }
            Err(_) => wrong(format!(
                "`{at}` is beneath `{}`, which is read-only and does not have it",
                outer.at
            )),
        }
    }
}

fn wrong<T>(why: String) -> Result<T, SandboxError> {
    Err(SandboxError::Request { why })
}

/// What of `path` is beneath `root`: empty if it is `root` itself.
fn beneath<'p>(path: &'p str, root: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(root)?;
    if rest.is_empty() {
        Some(rest)
    } else {
        rest.strip_prefix('/')
    }
}

fn beneath_old_root(host: &Path) -> CString {
    let mut path = OLD_ROOT.as_bytes().to_vec();
    path.extend(host.as_os_str().as_bytes());
    c_string(&path)
}
