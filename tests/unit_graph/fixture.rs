//! Small workspaces written by hand.

use std::path::{Path, PathBuf};

/// Writes `files` (path, content) below `directory`.
pub(crate) fn write(directory: &Path, files: &[(&str, &str)]) -> PathBuf {
    for (path, content) in files {
        let path = directory.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, content).expect("a file");
    }
    directory.to_owned()
}

/// A program and libraries of every crate type, a build script and a procedural macro.
pub(crate) const MIXED: &[(&str, &str)] = &[
    (
        "Cargo.toml",
        r#"
[package]
name = "app"
version = "0.1.0"
edition = "2021"

[dependencies]
both = { path = "both" }
macros = { path = "macros" }
shared = { path = "shared" }
other-name = { path = "renamed", package = "renamed" }

[build-dependencies]
shared = { path = "shared" }

[dev-dependencies]
dev-only = { path = "dev-only" }

[features]
extra = ["shared/extra"]

[workspace]
members = ["archive"]
resolver = "2"

[profile.release]
debug = "line-tables-only"
"#,
    ),
    ("build.rs", "fn main() {}"),
    ("src/lib.rs", ""),
    ("src/main.rs", "fn main() {}"),
    ("tests/it.rs", ""),
    ("examples/show.rs", "fn main() {}"),
    (
        "archive/Cargo.toml",
        "[package]\nname = \"archive\"\nversion = \"0.1.0\"\n[lib]\ncrate-type = [\"staticlib\", \"cdylib\"]\n\
         [dependencies]\nshared = { path = \"../shared\" }\nboth = { path = \"../both\" }\n",
    ),
    ("archive/src/lib.rs", ""),
    (
        "both/Cargo.toml",
        "[package]\nname = \"both\"\nversion = \"0.1.0\"\n[lib]\ncrate-type = [\"rlib\", \"cdylib\"]\n\
         [dependencies]\nshared = { path = \"../shared\" }\n",
    ),
    ("both/src/lib.rs", ""),
    (
        "macros/Cargo.toml",
        "[package]\nname = \"macros\"\nversion = \"0.1.0\"\n[lib]\nproc-macro = true\n\
         [dependencies]\nshared = { path = \"../shared\" }\n",
    ),
    ("macros/src/lib.rs", ""),
    (
        "shared/Cargo.toml",
        "[package]\nname = \"shared\"\nversion = \"0.1.0\"\n[features]\nextra = []\n",
    ),
    ("shared/src/lib.rs", ""),
    (
        "renamed/Cargo.toml",
        "[package]\nname = \"renamed\"\nversion = \"0.1.0\"\n",
    ),
    ("renamed/src/lib.rs", ""),
    (
        "dev-only/Cargo.toml",
        "[package]\nname = \"dev-only\"\nversion = \"0.1.0\"\n",
    ),
    ("dev-only/src/lib.rs", ""),
];
