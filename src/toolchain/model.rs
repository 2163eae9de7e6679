//! Toolchains as values: what planning needs to know of the Rust and the C toolchain.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cargo_platform::Cfg;
use semver::Version;

use crate::digest::TreeDigest;
use crate::path::SandboxPath;

/// What `rustc -vV` prints.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RustcVersion {
    /// The whole text.
    pub verbose: String,
    /// `release:`
    pub release: Version,
    /// `commit-hash:`
    pub commit_hash: Option<String>,
    /// `host:`
    pub host: String,
}

/// What rustc knows of one target triple.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetInfo {
    /// The triple.
    pub triple: String,
    /// `--print cfg`, in rustc's order.
    pub cfg: Vec<Cfg>,
    /// For each crate type that the target supports: prefix and suffix of the file's name
    /// (`--print file-names`): `lib` → (`lib`, `.rlib`).
    pub file_names: BTreeMap<String, (String, String)>,
    /// Whether the standard library of the target is installed.
    pub has_std: bool,
    /// The `split-debuginfo` kinds that are stable there (`--print split-debuginfo`).
    pub split_debuginfo: Vec<String>,
}

/// The Rust toolchain, its tree digested.
#[derive(Debug, Clone)]
pub struct RustToolchain {
    /// Its directory on the host (the sysroot), never a rustup proxy.
    pub root: PathBuf,
    /// What it says of itself.
    pub version: RustcVersion,
    /// Digest of what actions may see of it: the tree that holds [`RustToolchain::visible`].
    pub tree: TreeDigest,
    /// Number of bytes of the canonical directory that [`RustToolchain::tree`] digests.
    pub tree_size_bytes: u64,
    /// The entries of the root that actions see (`bin`, `lib`), read-only.
    pub visible: Vec<String>,
    /// How it was chosen, for messages: `rust-toolchain.toml`, `RUSTUP_TOOLCHAIN`, the default, `RUSTC`.
    pub chosen_by: String,
    /// The host's target as units for the host see it: with their flags, if configuration has some.
    pub host: TargetInfo,
    /// The host's target, and each that was asked for, as units for them see it.
    pub targets: BTreeMap<String, TargetInfo>,
}

impl RustToolchain {
    /// The target of units for the host.
    pub fn host(&self) -> &TargetInfo {
        &self.host
    }
}

/// A read-only root with programs of the machine and everything that they need: a snapshot in the store whose layout
/// is the host's (`usr/bin/cc`, `usr/lib/…`, `lib64/ld-linux-x86-64.so.2`), so that programs find their parts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SystemTree {
    /// The snapshot's directory on the host.
    pub root: PathBuf,
    /// Its digest.
    pub tree: TreeDigest,
    /// Number of bytes of the canonical directory that [`SystemTree::tree`] digests.
    pub tree_size_bytes: u64,
    /// The directories and files at its top (`usr`, `lib64`, …) in order.
    pub entries: Vec<String>,
    /// The symbolic links at its top (`bin` → `usr/bin`).
    pub links: Vec<(String, String)>,
    /// The host's own files and directories of which the snapshot is a copy, and nothing besides: what has to be
    /// readable where there is no view of one's own ([`Isolation::Landlock`](crate::sandbox::request::Isolation)).
    pub cover: Vec<String>,
}

/// The C toolchain: the linker driver that rustc calls, and the tree that holds it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CToolchain {
    /// `cc` as actions see it.
    pub cc: SandboxPath,
    /// The C++ compiler, if one is installed.
    pub cxx: Option<SandboxPath>,
    /// The archiver, if one is installed.
    pub ar: Option<SandboxPath>,
    /// The value of `PATH` with which the compiler finds its assembler and linker, and actions their programs.
    pub path: String,
    /// The triple that it compiles for (`-dumpmachine`).
    pub machine: String,
    /// What `cc --version` says in its first line.
    pub version: String,
    /// The tree that holds the compiler, the linker, libc's start files, headers and the libraries they run with.
    pub system: SystemTree,
}
