//! Landlock: which files may be read, run and written, whatever mounts say; no TCP; signals and abstract sockets held in.
//!
//! Everything that the kernel's ABI knows is handled, that is denied, and what the mounts declare is granted back. The
//! parent makes the ruleset; the child adds files that exist only in its own root, and enforces it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};

use super::error::{Layer, SandboxError};
use super::request::{Access, Network};
use super::sys;

/// What may be done beneath a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grant {
    /// A directory.
    Directory(Access),
    /// A single file.
    File(Access),
    /// A device to be read and written, without ioctl.
    Device,
    /// A directory to be filled with files, directories and symbolic links, of which none is run.
    Fill,
}

impl Grant {
    /// The rights, of those that `abi` knows, and sockets that have names where they are held in.
    pub(super) fn rights_with(self, abi: ABI, network: Network) -> BitFlags<AccessFs> {
        let sockets = AccessFs::from_all(abi) & (AccessFs::MakeSock | AccessFs::ResolveUnix);
        match (self, network) {
            (Grant::Directory(Access::Write), Network::Loopback) => self.rights(abi) | sockets,
            _ => self.rights(abi),
        }
    }

    /// The rights, of those that `abi` knows.
    pub(super) fn rights(self, abi: ABI) -> BitFlags<AccessFs> {
        let read = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
        // No devices, no sockets, no talking to devices.
        let never = AccessFs::MakeChar
            | AccessFs::MakeBlock
            | AccessFs::MakeSock
            | AccessFs::IoctlDev
            | AccessFs::ResolveUnix;
        let write = AccessFs::from_all(abi) & !never;
        match self {
            Grant::Directory(Access::Read) => read,
            Grant::Directory(Access::Write) => write,
            Grant::File(Access::Read) => read & AccessFs::from_file(abi),
            Grant::File(Access::Write) => write & AccessFs::from_file(abi),
            Grant::Device => AccessFs::ReadFile | AccessFs::WriteFile,
            Grant::Fill => write & !(AccessFs::Execute | AccessFs::MakeFifo),
        }
    }
}

/// The kernel's ABI, as far as the landlock crate knows it; an error if there is no Landlock.
pub(super) fn kernel_abi() -> Result<ABI, SandboxError> {
    match sys::landlock_abi() {
        Ok(abi) => Ok(ABI::from(i32::try_from(abi).unwrap_or(i32::MAX))),
        Err(errno) => Err(SandboxError::Layer {
            layer: Layer::Landlock,
            step: "asking for the ABI version".to_owned(),
            source: Box::new(std::io::Error::from(errno)),
        }),
    }
}

/// Whether signals are held in: nothing outside the sandbox can be reached by one.
pub(super) fn scopes_signals(abi: ABI) -> bool {
    abi >= ABI::V6
}

/// A ruleset for `abi` that grants `grants` and nothing else. TCP is left to the network namespace where there is a
/// `network`.
pub(super) fn build<'a>(
    abi: ABI,
    network: Network,
    grants: impl IntoIterator<Item = (BorrowedFd<'a>, Grant)>,
) -> Result<OwnedFd, SandboxError> {
    let failed = |source: RulesetError| SandboxError::Layer {
        layer: Layer::Landlock,
        step: format!("building a ruleset for ABI {abi}"),
        source: Box::new(source),
    };
    let mut ruleset = handled(abi, network).map_err(failed)?;
    for (fd, grant) in grants {
        let rule = PathBeneath::new(fd, grant.rights_with(abi, network))
            .set_compatibility(CompatLevel::HardRequirement);
        ruleset = ruleset.add_rule(rule).map_err(failed)?;
    }
    Option::<OwnedFd>::from(ruleset).ok_or_else(|| SandboxError::Layer {
        layer: Layer::Landlock,
        step: "making a ruleset".to_owned(),
        source: Box::new(std::io::Error::from_raw_os_error(libc::ENOSYS)),
    })
}

fn handled(abi: ABI, network: Network) -> Result<RulesetCreated, RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))?;
    if abi >= ABI::V4 && network == Network::None {
        ruleset = ruleset.handle_access(AccessNet::from_all(abi))?;
    }
    if abi >= ABI::V6 {
        ruleset = ruleset.scope(Scope::from_all(abi))?;
    }
    ruleset.create()
}

/// A ruleset that restricts no file and holds signals in: what the supervisor puts around itself and the action, so that
/// a signal to everybody reaches nobody else.
pub(super) fn signals_only() -> Result<OwnedFd, SandboxError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| SandboxError::Layer {
        layer: Layer::Supervisor,
        step: "building a ruleset for signals".to_owned(),
        source,
    };
    // Every ruleset forbids moving files between directories unless it says otherwise.
    let root = PathFd::new("/").map_err(|error| failed(error.into()))?;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .scope(Scope::Signal)
        .and_then(|ruleset| ruleset.handle_access(AccessFs::Refer))
        .and_then(Ruleset::create)
        .and_then(|ruleset| ruleset.add_rule(PathBeneath::new(root, AccessFs::Refer)))
        .map_err(|error| failed(error.into()))?;
    Option::<OwnedFd>::from(ruleset).ok_or(SandboxError::SupervisorLost)
}

/// A grant on an open file.
pub(super) fn grant(fd: &OwnedFd, grant: Grant) -> (BorrowedFd<'_>, Grant) {
    (fd.as_fd(), grant)
}

/// Every version that brought something.
#[cfg(test)]
pub(super) const ABIS: [ABI; 8] = [
    ABI::V1,
    ABI::V2,
    ABI::V3,
    ABI::V4,
    ABI::V5,
    ABI::V6,
    ABI::V7,
    ABI::V9,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_fit_every_abi() {
        for abi in ABIS {
            for grant in [
                Grant::Directory(Access::Read),
                Grant::Directory(Access::Write),
                Grant::File(Access::Read),
                Grant::File(Access::Write),
                Grant::Device,
                Grant::Fill,
            ] {
                let rights = grant.rights(abi);
                assert!(AccessFs::from_all(abi).contains(rights), "{abi} {grant:?}");
                for never in [AccessFs::MakeChar, AccessFs::MakeSock, AccessFs::IoctlDev] {
                    assert!(!rights.contains(never), "{abi} {grant:?}");
                }
                let writes = rights.contains(AccessFs::WriteFile);
                let read_only = matches!(
                    grant,
                    Grant::Directory(Access::Read) | Grant::File(Access::Read)
                );
                assert_eq!(writes, !read_only, "{abi} {grant:?}");
            }
        }
    }

    #[test]
    fn a_ruleset_is_a_descriptor() {
        let abi = kernel_abi().unwrap();
        let root = OwnedFd::from(std::fs::File::open("/").unwrap());
        let ruleset = build(
            abi,
            Network::None,
            [grant(&root, Grant::Directory(Access::Read))],
        )
        .unwrap();
        assert!(sys::identity(ruleset.as_fd()).is_ok());
    }
}
