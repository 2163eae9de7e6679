//! A `Cargo.toml` never panics the reader, neither as a dependency's manifest nor as that of a workspace without
//! members, and its errors are harmless to print.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use kiln::manifest::{ManifestContext, read_package};
use kiln::package::{SourceId, SourceKind};
use libfuzzer_sys::fuzz_target;

/// One package for all runs: targets for the search to find, and a manifest that each run writes anew.
static PACKAGE: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = tempfile::tempdir().expect("a directory").keep();
    for file in [
        "src/lib.rs",
        "src/main.rs",
        "src/bin/a.rs",
        "examples/b.rs",
        "tests/c/main.rs",
        "benches/d.rs",
        "build.rs",
        "README.md",
    ] {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, "").expect("a file");
    }
    root
});

fuzz_target!(|text: &str| {
    let manifest = PACKAGE.join("Cargo.toml");
    fs::write(&manifest, text).expect("the manifest can be written");
    let context = ManifestContext {
        barriers: vec![PACKAGE.clone()],
        ..ManifestContext::default()
    };
    let source = SourceId::new(SourceKind::Path(PACKAGE.clone()));
    match read_package(&manifest, &source, &context) {
        Ok(package) => {
            // Whatever is asked of it later has an answer.
            for target in &package.targets {
                target.crate_types();
                assert!(target.src_path.is_absolute());
            }
            package.library();
            package.build_script();
        }
        Err(error) => {
            let _ = format!("{error} {:?} {:?}", error.help(), error.place());
        }
    }
});
