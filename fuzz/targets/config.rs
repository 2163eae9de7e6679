//! A `.cargo/config.toml` never panics the reader, nor whoever asks what it says, and its errors are harmless to print.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use kiln::manifest::config::{Config, ConfigInputs};
use kiln::package::SourceId;
use libfuzzer_sys::fuzz_target;

/// One directory for all runs, whose configuration each run writes anew.
static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = tempfile::tempdir().expect("a directory").keep();
    fs::create_dir(root.join(".cargo")).expect("a directory");
    fs::write(root.join(".cargo/included.toml"), "[env]\nA = 'b'\n").expect("a file");
    root
});

fuzz_target!(|text: &str| {
    let file = DIRECTORY.join(".cargo/config.toml");
    fs::write(&file, text).expect("the configuration can be written");
    let inputs = ConfigInputs {
        start: DIRECTORY.clone(),
        ..ConfigInputs::default()
    };
    let config = match Config::load(&inputs) {
        Ok(config) => config,
        Err(error) => {
            let _ = format!("{error} {:?} {:?}", error.help(), error.place());
            return;
        }
    };
    let triple = "x86_64-unknown-linux-gnu";
    let cfg = ["unix".parse().expect("a cfg")];
    let _ = config.rustc();
    let _ = config.rustc_wrapper();
    let _ = config.linker(triple, &cfg);
    let _ = config.runner(triple, &cfg);
    let _ = config.rustflags(triple, &cfg);
    let _ = config.environment();
    let _ = config.links_overrides(triple);
    let _ = config.replacement_of(&SourceId::default_registry());
    let _ = config.registry_access(&SourceId::default_registry());
    let _ = config.manifest_context(Vec::new());
    for name in config.aliases() {
        let _ = config.alias(&name);
    }
});
