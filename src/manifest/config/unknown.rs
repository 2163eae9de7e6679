//! Keys that cargo does not know: it warns of them in the tables whose keys it can list, and so does kiln. Tables whose
//! keys are anybody's (`[env]`, `[alias]`), and whole tables that nobody knows, are passed over, as in cargo.
//! Source: the types that cargo 1.95 reads its configuration into.

use super::layers::Layers;
use super::value::Origin;

/// Tables, and the keys that they can have.
const TABLES: [(&[&str], &[&str]); 10] = [
    (
        &["build"],
        &[
            "pipelining",
            "dep-info-basedir",
            "target-dir",
            "build-dir",
            "incremental",
            "target",
            "jobs",
            "rustflags",
            "rustdocflags",
            "rustc-wrapper",
            "rustc-workspace-wrapper",
            "rustc",
            "rustdoc",
            "artifact-dir",
            "warnings",
            "sbom",
            "analysis",
        ],
    ),
    (
        &["http"],
        &[
            "proxy",
            "low-speed-limit",
            "timeout",
            "cainfo",
            "proxy-cainfo",
            "check-revoke",
            "user-agent",
            "debug",
            "multiplexing",
            "ssl-version",
        ],
    ),
    (&["net"], &["retry", "offline", "git-fetch-with-cli", "ssh"]),
    (&["net", "ssh"], &["known-hosts"]),
    (
        &["term"],
        &[
            "verbose",
            "quiet",
            "color",
            "hyperlinks",
            "unicode",
            "progress",
        ],
    ),
    (
        &["term", "progress"],
        &["when", "width", "term-integration"],
    ),
    (
        &["resolver"],
        &[
            "incompatible-rust-versions",
            "feature-unification",
            "lockfile-path",
        ],
    ),
    (&["future-incompat-report"], &["frequency"]),
    (
        &["registry"],
        &[
            "index",
            "token",
            "credential-provider",
            "secret-key",
            "secret-key-subject",
            "default",
            "global-credential-providers",
        ],
    ),
    (&["cargo-new"], &["name", "email", "vcs"]),
];

/// The keys of `[source.NAME]`.
const SOURCE: [&str; 8] = [
    "replace-with",
    "directory",
    "registry",
    "local-registry",
    "git",
    "branch",
    "tag",
    "rev",
];

/// The keys of `[registries.NAME]`.
const REGISTRY: [&str; 6] = [
    "index",
    "token",
    "credential-provider",
    "secret-key",
    "secret-key-subject",
    "protocol",
];

/// The keys of a profile; those of a package in it or of `build-override` are fewer, but cargo reads all alike.
const PROFILE: [&str; 19] = [
    "opt-level",
    "lto",
    "codegen-backend",
    "codegen-units",
    "debug",
    "split-debuginfo",
    "debug-assertions",
    "rpath",
    "panic",
    "overflow-checks",
    "incremental",
    "dir-name",
    "inherits",
    "strip",
    "rustflags",
    "package",
    "build-override",
    "trim-paths",
    "hint-mostly-unused",
];

/// The keys of `[target.'cfg(…)']`.
const TARGET: [&str; 3] = ["runner", "rustflags", "linker"];

/// A warning for each key that cargo would not know.
pub(super) fn warnings(layers: &Layers) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut look = |table: &[&str], known: &[&str]| {
        for key in layers.keys(table) {
            let path = [table, &[&key]].concat();
            if !known.contains(&key.as_str())
                && let Some(value) = layers.find(&path)
            {
                let place = match value.origin() {
                    Origin::File(path) | Origin::Override(Some(path)) => path.display().to_string(),
                    Origin::Override(None) => "--config cli option".to_owned(),
                    Origin::Environment(name) => format!("environment variable `{name}`"),
                };
                let path = path.join(".");
                warnings.push(format!("unused config key `{path}` in `{place}`"));
            }
        }
    };
    for (table, known) in TABLES {
        look(table, known);
    }
    for name in layers.keys(&["source"]) {
        look(&["source", &name], &SOURCE);
    }
    for name in layers.keys(&["registries"]) {
        look(&["registries", &name], &REGISTRY);
    }
    for name in layers.keys(&["profile"]) {
        look(&["profile", &name], &PROFILE);
        look(&["profile", &name, "build-override"], &PROFILE);
        for package in layers.keys(&["profile", &name, "package"]) {
            look(&["profile", &name, "package", &package], &PROFILE);
        }
    }
    for target in layers.keys(&["target"]) {
        if !target.starts_with("cfg(") {
            continue;
        }
        for key in layers.keys(&["target", &target]) {
            if !TARGET.contains(&key.as_str()) {
                warnings.push(format!(
                    "unused key `{key}` in [target] config table `{target}`"
                ));
            }
        }
    }
    warnings
}
