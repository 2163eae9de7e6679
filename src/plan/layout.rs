//! Where an action sees things: canonical paths.
//!
//! Every path is a pure function of what a unit *is*, never of content, of the user or of the checkout, because
//! paths reach outputs: through `env!("OUT_DIR")`, `file!()`, debug information and the names that C builds derive
//! from them.
//!
//! ```text
//! <prefix>/toolchain                         the Rust toolchain
//! <prefix>/workspace[/<member>]              packages beneath the workspace's root; the working directory of their rustc
//! <prefix>/src/<name>-<version>              packages of the default registry
//! <prefix>/src/<name>-<version>-<source>     packages of other sources; <source> is 8 digits of a hash of its address
//! <prefix>/git/<name>-<source>[/<package>]   a repository's commit, and the packages in it; <source> is of its address and commit
//! <prefix>/out/<name>-<unit>                 what a unit writes; <unit> is the unit's 16-digit identity
//! <prefix>/out/<name>-<unit>/target/<profile>/build/<name>/out   a build script's `OUT_DIR`
//! <prefix>/target/[<triple>/]<profile>/…     tests only: what the user gets, laid out as in `target`
//! <prefix>/target/tmp                        tests only: `CARGO_TARGET_TMPDIR`
//! ```
//!
//! The prefix is `/kiln`. Where a process cannot be given a root of its own and the machine has no `/kiln`, it is a
//! directory of the store; the paths are then not canonical, and the attestation says so.

use crate::package::{PackageId, SourceId, SourceKind};
use crate::path::{RelPath, SandboxPath};

/// The prefix that makes paths canonical.
pub const CANONICAL_PREFIX: &str = "/kiln";

/// How many directories deep a build script's `OUT_DIR` is in what is its own.
const SCRIPT_OUT_DEPTH: usize = 5;

/// The roots of an action's view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    prefix: SandboxPath,
    is_real: bool,
}

impl Default for Layout {
    fn default() -> Self {
        let prefix = SandboxPath::new(CANONICAL_PREFIX).expect("the prefix is absolute and normal");
        Self {
            prefix,
            is_real: false,
        }
    }
}

impl Layout {
    /// A layout beneath a directory that is really there on the host.
    pub fn real(prefix: SandboxPath) -> Self {
        Self {
            prefix,
            is_real: true,
        }
    }

    /// Whether actions see the host's own files at these paths. Then a directory cannot look one way to one action and
    /// another way to the next, and each has to be told where its temporary files may be.
    pub fn is_real(&self) -> bool {
        self.is_real
    }

    /// Where a unit of package `name` may put temporary files.
    pub fn temporary(&self, name: &str, identity: &str) -> SandboxPath {
        if self.is_real {
            self.below(&format!("tmp/{name}-{identity}"))
        } else {
            SandboxPath::new("/tmp").expect("`/tmp` is absolute and normal")
        }
    }

    /// The prefix itself.
    pub fn prefix(&self) -> &SandboxPath {
        &self.prefix
    }

    /// Whether the paths are the same on every machine.
    pub fn is_canonical(&self) -> bool {
        self.prefix.as_str() == CANONICAL_PREFIX
    }

    fn below(&self, rest: &str) -> SandboxPath {
        let rest =
            RelPath::new(rest).expect("roots are made of names that are safe as path components");
        self.prefix.join(&rest)
    }

    /// The Rust toolchain.
    pub fn toolchain(&self) -> SandboxPath {
        self.below("toolchain")
    }

    /// The root of the workspace.
    pub fn workspace(&self) -> SandboxPath {
        self.below("workspace")
    }

    /// The directory of a package that lies `relative` to the workspace's root (`None`: it is the root).
    pub fn member(&self, relative: Option<&RelPath>) -> SandboxPath {
        let root = self.workspace();
        relative.map_or(root.clone(), |relative| root.join(relative))
    }

    /// The directory of a package that does not lie in the workspace.
    pub fn source(&self, package: &PackageId) -> SandboxPath {
        let name = format!("{}-{}", package.name(), package.version());
        match source_suffix(package.source()) {
            None => self.below(&format!("src/{name}")),
            Some(suffix) => self.below(&format!("src/{name}-{suffix}")),
        }
    }

    /// The directory of all files of a git source's commit, in which its packages lie.
    pub fn repository(&self, source: &SourceId) -> SandboxPath {
        let name: String = source
            .canonical_address()
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
            .take(64)
            .collect();
        let suffix = source_suffix(source).unwrap_or_default();
        self.below(&format!("git/{name}-{suffix}"))
    }

    /// clippy's driver.
    pub fn clippy(&self) -> SandboxPath {
        self.below("clippy")
    }

    /// clippy's configuration, where a package has none of its own and the workspace has one.
    pub fn clippy_configuration(&self) -> SandboxPath {
        self.below("clippy-configuration")
    }

    /// The directory of what the user gets, as tests see it; `directory` is `[<triple>/]<profile>`.
    pub fn target(&self, directory: &RelPath) -> SandboxPath {
        self.below("target").join(directory)
    }

    /// `CARGO_TARGET_TMPDIR`: where integration tests and benchmarks may put files.
    pub fn target_tmpdir(&self) -> SandboxPath {
        self.below("target/tmp")
    }

    /// The directory that a unit of package `name` writes; `identity` is 16 hexadecimal digits.
    pub fn out(&self, name: &str, identity: &str) -> SandboxPath {
        self.below(&format!("out/{name}-{identity}"))
    }

    /// What a run of a build script takes for its `OUT_DIR`, below what [`Layout::out`] gives for it: as deep in directories
    /// of its own as cargo's is in `target`, since many count (`../../..`) or look for `profile` on the way up.
    pub fn script_out(name: &str, profile: &str) -> RelPath {
        RelPath::new(format!("target/{profile}/build/{name}/out"))
            .expect("names of packages are safe as path components")
    }
}

/// The directory of a build script's own that its `OUT_DIR` lies in.
pub fn around_script_out(out_dir: &SandboxPath) -> Option<SandboxPath> {
    let around = out_dir.as_str().rsplitn(SCRIPT_OUT_DEPTH + 1, '/').last()?;
    SandboxPath::new(around).ok()
}

/// Eight digits that tell sources other than the default registry apart; nothing of the machine is in them.
fn source_suffix(source: &SourceId) -> Option<String> {
    let address = match source.kind() {
        SourceKind::Registry {
            is_crates_io: true, ..
        } => return None,
        SourceKind::Registry { url, .. } => url.clone(),
        SourceKind::Git { precise, .. } => {
            let commit = precise.as_deref().unwrap_or("");
            format!("{}#{commit}", source.canonical_address())
        }
        SourceKind::Path(_) => "path".to_owned(),
    };
    Some(blake3::hash(address.as_bytes()).to_hex()[..8].to_owned())
}
