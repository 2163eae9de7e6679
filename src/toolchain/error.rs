//! What can go wrong with a toolchain, sorted by who can do something about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a toolchain (or a tree of granted programs) cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolchainError {
    /// A toolchain was named (by a file, a variable, the command line) and is not installed.
    #[error("the Rust toolchain `{name}` is not installed (chosen by {chosen_by})")]
    NotInstalled {
        /// The name, as it was written.
        name: String,
        /// What named it.
        chosen_by: String,
        /// The command that installs it.
        command: String,
    },
    /// The chosen toolchain lacks a component that `rust-toolchain.toml` demands.
    #[error(
        "the Rust toolchain `{toolchain}` lacks the component `{component}` that {chosen_by} demands"
    )]
    MissingComponent {
        /// The toolchain's directory name.
        toolchain: String,
        /// The component, as it was written.
        component: String,
        /// Which file demands it.
        chosen_by: String,
    },
    /// The standard library of a target is not installed.
    #[error(
        "the Rust toolchain `{toolchain}` has no standard library for the target `{target}` ({demanded_by})"
    )]
    MissingTarget {
        /// The toolchain's directory name.
        toolchain: String,
        /// The triple.
        target: String,
        /// Who demands it.
        demanded_by: String,
    },
    /// A target that the compiler does not know.
    #[error("the Rust toolchain `{toolchain}` knows no target `{target}`")]
    UnknownTarget {
        /// The toolchain's directory.
        toolchain: String,
        /// The triple, as it was written.
        target: String,
    },
    /// `rust-toolchain.toml` names a directory instead of a channel.
    #[error("`{}` chooses the toolchain in the directory `{}`: a workspace may not choose the program that builds it", file.display(), path.display())]
    PathRefused {
        /// The toolchain file.
        file: PathBuf,
        /// The directory that it names.
        path: PathBuf,
    },
    /// A toolchain file or rustup's settings that make no sense.
    #[error("`{}` is not valid: {why}", file.display())]
    InvalidFile {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing names a toolchain, and none is found.
    #[error("no Rust toolchain was found: {why}")]
    NoToolchain {
        /// Where was looked.
        why: String,
    },
    /// No C compiler where one was looked for.
    #[error("no C compiler was found: looked for {} in {}", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "), searched.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", "))]
    NoCompiler {
        /// The names that were tried.
        names: Vec<String>,
        /// The directories that were searched.
        searched: Vec<PathBuf>,
    },
    /// The C compiler is there, and a part without which nothing links is not.
    #[error("the C compiler `{}` has no `{part}`: nothing can be linked", compiler.display())]
    IncompleteCompiler {
        /// The compiler.
        compiler: PathBuf,
        /// What it lacks (`crt1.o`, `ld`, …).
        part: String,
    },
    /// A program or file that policy grants is not there.
    #[error(
        "{what} `{name}` is granted by policy and not found{}",
        searched_text(searched)
    )]
    GrantMissing {
        /// `the program`, `the path`, `the pkg-config library`, `the library`.
        what: &'static str,
        /// Its name.
        name: String,
        /// The directories that were searched, if it is no path.
        searched: Vec<PathBuf>,
    },
    /// A program needs a shared library that the loader does not find.
    #[error("`{}` needs the shared library `{library}`, which the dynamic loader does not find", program.display())]
    MissingLibrary {
        /// The program.
        program: PathBuf,
        /// The library's name.
        library: String,
    },
    /// A name that no canonical tree can hold (not UTF-8, a newline, a cycle of symbolic links).
    #[error("`{}` cannot be part of a tree: {why}", path.display())]
    UnsupportedPath {
        /// The path.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A program of the toolchain failed, or said something that is not understood.
    #[error("`{command}` {why}")]
    Probe {
        /// The command line.
        command: String,
        /// What happened, with what it printed to stderr.
        why: String,
    },
    /// The toolchain differs from what `kiln.toml` pins.
    #[error("the {which} toolchain's digest is `{found}`; `kiln.toml` pins `{pinned}`")]
    PinMismatch {
        /// `Rust` or `C`.
        which: &'static str,
        /// The digest of what is installed.
        found: String,
        /// The digest that is pinned.
        pinned: String,
    },
    /// The store refused a tree.
    #[error("a toolchain's tree cannot be kept in the store")]
    Store(#[from] crate::store::StoreError),
    /// The operating system refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// A verb: `read`, `copy`.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Its answer.
        #[source]
        source: io::Error,
    },
}

fn searched_text(searched: &[PathBuf]) -> String {
    if searched.is_empty() {
        return String::new();
    }
    let list: Vec<String> = searched
        .iter()
        .map(|path| format!("`{}`", path.display()))
        .collect();
    format!(" in {}", list.join(", "))
}

impl ToolchainError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::NotInstalled { command, .. } => format!("run `{command}`"),
            Self::MissingComponent {
                toolchain,
                component,
                ..
            } => format!("run `rustup component add {component} --toolchain {toolchain}`"),
            Self::MissingTarget {
                toolchain, target, ..
            } => format!("run `rustup target add {target} --toolchain {toolchain}`"),
            Self::UnknownTarget { .. } => {
                "`rustc --print target-list` lists the targets; look for a typo".to_owned()
            }
            Self::InvalidFile { file, .. } => format!("correct or remove `{}`", file.display()),
            Self::Probe { .. } => {
                "run the command by hand; if it fails there too, the toolchain is broken: install it anew".to_owned()
            }
            Self::PathRefused { path, .. } => format!(
                "if you trust it, choose it yourself: set `RUSTUP_TOOLCHAIN={}`",
                path.display()
            ),
            Self::NoToolchain { .. } => {
                "install one with rustup (`rustup default stable`), or set `RUSTC` to a compiler's path"
                    .to_owned()
            }
            Self::NoCompiler { .. } | Self::IncompleteCompiler { .. } => {
                "install a C toolchain: `apt install gcc libc6-dev` (Debian, Ubuntu), \
                 `dnf install gcc glibc-devel` (Fedora), `apk add gcc musl-dev` (Alpine), `pacman -S gcc` (Arch)"
                    .to_owned()
            }
            Self::GrantMissing { what, name, .. } => match *what {
                "the program" => format!("install `{name}`, or take it out of the grants in `kiln.toml`"),
                "the path" => format!("correct or remove `{name}` in `kiln.toml`"),
                _ => format!("install the development package of `{name}`, or remove it from `kiln.toml`"),
            },
            Self::MissingLibrary { library, .. } => {
                format!("install the package that holds `{library}`")
            }
            Self::PinMismatch { which, found, .. } => format!(
                "install the toolchain that is pinned, or review the change and write `{}-digest = \"{found}\"` in `kiln.toml`",
                if *which == "Rust" { "rust" } else { "c" }
            ),
            Self::Store(error) => return error.help(),
            Self::UnsupportedPath { .. } | Self::Io { .. } => return None,
        })
    }
}
