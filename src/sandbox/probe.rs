//! What this machine offers: every layer really tried, and where one is missing, why and what to do.

use landlock::ABI;

use super::child::{self, Failure, View};
use super::error::{Layer, SandboxError};
use super::request::Isolation;
use super::ruleset;
use super::spawn;
use super::sys;

/// The oldest kernel that can have everything that Landlock isolation needs.
pub const OLDEST_KERNEL: &str = "5.13";

/// The newest Landlock ABI of which this program uses every right.
const NEWEST_ABI: ABI = ABI::V9;

/// What one layer is on this machine.
#[derive(Debug)]
pub struct LayerProbe {
    /// The layer.
    pub layer: Layer,
    /// What is there, in words; or why it is not.
    pub found: Result<String, SandboxError>,
    /// What would be better, where something is there but not all of it.
    pub advice: Option<String>,
}

/// What the machine offers.
#[derive(Debug)]
pub struct Probe {
    /// The kernel's release, as `uname -r` says it.
    pub kernel: String,
    /// Whether this program runs as root. It need not, and gives up all privileges for what it starts.
    pub root: bool,
    /// The layers, from the outside in.
    pub layers: Vec<LayerProbe>,
}

impl Probe {
    /// The strongest isolation that works here, if any does.
    pub fn best(&self) -> Option<Isolation> {
        let works = |layer| {
            self.layers
                .iter()
                .any(|probe| probe.layer == layer && probe.found.is_ok())
        };
        if !works(Layer::Landlock) || !works(Layer::Seccomp) {
            None
        } else if works(Layer::Namespaces) {
            Some(Isolation::Full)
        } else {
            Some(Isolation::Landlock)
        }
    }
}

/// Tries everything. Takes a few milliseconds and changes nothing.
pub fn probe() -> Probe {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map(|release| release.trim().to_owned())
        .unwrap_or_else(|_| "unknown".to_owned());
    Probe {
        kernel,
        root: sys::effective_ids().0 == 0,
        layers: vec![
            LayerProbe {
                layer: Layer::Namespaces,
                found: namespaces()
                    .map(|()| "user, mount, pid, network, ipc and uts namespaces".to_owned()),
                advice: None,
            },
            landlock(),
            LayerProbe {
                layer: Layer::Seccomp,
                found: seccomp().map(|()| "filters, and calls judged by a supervisor".to_owned()),
                advice: None,
            },
        ],
    }
}

/// The strongest isolation that works here: full if namespaces can be made, else Landlock, never less. An error says
/// which layer is missing.
pub fn best_isolation() -> Result<Isolation, SandboxError> {
    ruleset::kernel_abi()?;
    seccomp()?;
    Ok(match namespaces() {
        Ok(()) => Isolation::Full,
        Err(_) => Isolation::Landlock,
    })
}

/// That every layer works here, with nothing of it missing: namespaces, seccomp, and a Landlock that holds signals and
/// abstract sockets in. An error says which is not there.
pub fn require_everything() -> Result<(), SandboxError> {
    everything(ruleset::kernel_abi()?)?;
    seccomp()?;
    namespaces()
}

fn everything(abi: ABI) -> Result<(), SandboxError> {
    if ruleset::scopes_signals(abi) {
        return Ok(());
    }
    let lacks =
        format!("ABI {abi} does not hold signals and abstract sockets in, ABI 6 (Linux 6.12) does");
    Err(SandboxError::Layer {
        layer: Layer::Landlock,
        step: "requiring all of it".to_owned(),
        source: lacks.into(),
    })
}

/// What later kernels let Landlock hold in, the ABI and the kernel that it came with, and what stands in for it here.
const LATER: [(ABI, &str, &str, &str); 6] = [
    (
        ABI::V2,
        "5.19",
        "moving files between directories",
        "none can be moved",
    ),
    (
        ABI::V3,
        "6.2",
        "truncating files",
        "the filter refuses to truncate by path, or what is open for reading",
    ),
    (ABI::V4, "6.7", "TCP", "the filter alone refuses sockets"),
    (
        ABI::V5,
        "6.10",
        "talking to devices",
        "the filter alone refuses `ioctl`",
    ),
    (
        ABI::V6,
        "6.12",
        "signals and abstract sockets",
        "under Landlock isolation sending any signal is forbidden, and the filter alone refuses sockets",
    ),
    (
        ABI::V7,
        "6.15",
        "what its supervisor denies itself, out of the kernel's log",
        "it is logged",
    ),
];

/// What `abi` does not have yet.
fn lacks(abi: ABI) -> Option<String> {
    let missing: Vec<String> = LATER
        .iter()
        .filter(|(since, ..)| abi < *since)
        .map(|(since, kernel, what, instead)| {
            format!("{what} (ABI {since}, Linux {kernel}): without it, {instead}")
        })
        .collect();
    (!missing.is_empty())
        .then(|| format!("a later kernel's Landlock holds in {}", missing.join("; ")))
}

fn landlock() -> LayerProbe {
    let abi = ruleset::kernel_abi();
    let advice = abi.as_ref().ok().and_then(|abi| lacks(*abi));
    LayerProbe {
        layer: Layer::Landlock,
        found: abi.and_then(|abi| {
            // That it can be asked for its version does not mean that it lets itself be used.
            ruleset::build(abi, super::Network::None, [])?;
            Ok(match abi {
                NEWEST_ABI => format!("ABI {abi} or newer"),
                abi => format!("ABI {abi}"),
            })
        }),
        advice,
    }
}

fn seccomp() -> Result<(), SandboxError> {
    for (action, step) in [
        (libc::SECCOMP_RET_ERRNO, "asking for seccomp filters"),
        (
            libc::SECCOMP_RET_KILL_PROCESS,
            "asking for seccomp's KILL_PROCESS",
        ),
        (
            libc::SECCOMP_RET_USER_NOTIF,
            "asking for seccomp's USER_NOTIF",
        ),
    ] {
        sys::seccomp_action_available(action)
            .map_err(|errno| spawn::layer(Layer::Seccomp, step, errno))?;
    }
    Ok(())
}

/// Does what every process under full isolation does first, in a process that then ends.
fn namespaces() -> Result<(), SandboxError> {
    let view = spawn::new_view(super::view::system_steps()?, super::Network::None)?;
    match spawn::try_view(view)? {
        None => Ok(()),
        Some((failure, view)) => Err(explain(failure, &view)),
    }
}

fn explain(failure: Failure, view: &View) -> SandboxError {
    match failure.step {
        child::Step::View => spawn::explain_view(failure, &view.steps),
        _ => spawn::explain_namespace(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_landlock_is_not_everything() {
        assert!(everything(ABI::V5).is_err());
        assert!(everything(ABI::V6).is_ok());
    }

    #[test]
    fn what_an_old_landlock_lacks_is_named() {
        for (abi, named, not_named) in [
            (ABI::V1, "moving files", "no such thing"),
            (ABI::V2, "truncating", "moving files"),
            (ABI::V3, "TCP", "truncating"),
            (ABI::V4, "devices", "TCP"),
            (ABI::V5, "signals", "devices"),
            (ABI::V6, "log", "signals"),
        ] {
            let said = lacks(abi).unwrap();
            assert!(said.contains(named), "{abi}: {said}");
            assert!(!said.contains(not_named), "{abi}: {said}");
        }
        assert_eq!(lacks(ABI::V7), None);
        assert_eq!(lacks(NEWEST_ABI), None);
    }

    #[test]
    fn what_is_found_works() {
        let probe = probe();
        assert!(!probe.kernel.is_empty());
        assert_eq!(probe.best(), best_isolation().ok());
        for layer in &probe.layers {
            if let Err(error) = &layer.found {
                assert!(error.help().is_some(), "{error}");
            }
        }
    }
}
