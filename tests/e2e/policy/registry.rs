//! A registry on loopback that answers in the place of the default one, so that crates count as published.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kiln::digest::Sha256;

use crate::registry::{Reply, Server, pack};
use crate::support::{Kiln, Workspace, directory};

/// One version of a crate.
#[derive(Clone, Default)]
pub(crate) struct Crate {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// What its manifest says after `[package]`, which has name, version and edition.
    pub(crate) manifest: String,
    pub(crate) files: Vec<(&'static str, String)>,
    /// Names and kinds (`normal`, `build`) of what it depends on, any version.
    pub(crate) dependencies: Vec<(&'static str, &'static str)>,
    pub(crate) yanked: bool,
}

impl Crate {
    pub(crate) fn new(name: &'static str, version: &'static str) -> Self {
        Self {
            name,
            version,
            ..Self::default()
        }
        .file("src/lib.rs", "pub fn text() -> &'static str { \"good\" }\n")
    }

    pub(crate) fn file(mut self, path: &'static str, text: &str) -> Self {
        self.files.retain(|(known, _)| *known != path);
        self.files.push((path, text.to_owned()));
        self
    }

    pub(crate) fn manifest(mut self, text: &str) -> Self {
        text.clone_into(&mut self.manifest);
        self
    }

    pub(crate) fn needs(mut self, name: &'static str, kind: &'static str) -> Self {
        self.dependencies.push((name, kind));
        self
    }

    fn archive(&self) -> Vec<u8> {
        let root = format!("{}-{}", self.name, self.version);
        let mut manifest = format!(
            "[package]\nname = \"{}\"\nversion = \"{}\"\nedition = \"2021\"\n{}\n",
            self.name, self.version, self.manifest
        );
        for (name, kind) in &self.dependencies {
            let table = match *kind {
                "build" => "build-dependencies",
                _ => "dependencies",
            };
            manifest.push_str(&format!("[{table}.{name}]\nversion = \"*\"\n"));
        }
        let mut files = vec![(format!("{root}/Cargo.toml"), manifest)];
        for (path, text) in &self.files {
            files.push((format!("{root}/{path}"), text.clone()));
        }
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_bytes()))
            .collect();
        pack(&files)
    }

    fn line(&self) -> String {
        let dependencies: Vec<serde_json::Value> = self
            .dependencies
            .iter()
            .map(|(name, kind)| {
                serde_json::json!({
                    "name": name, "req": "*", "features": [], "optional": false, "default_features": true,
                    "target": null, "kind": kind,
                })
            })
            .collect();
        let line = serde_json::json!({
            "name": self.name, "vers": self.version, "deps": dependencies, "features": {},
            "cksum": Sha256::of(&self.archive()).to_string(), "yanked": self.yanked,
        });
        format!("{line}\n")
    }
}

fn index_path(name: &str) -> String {
    match name.len() {
        1 => format!("/1/{name}"),
        2 => format!("/2/{name}"),
        3 => format!("/3/{}/{name}", &name[..1]),
        _ => format!("/{}/{}/{name}", &name[..2], &name[2..4]),
    }
}

/// The registry, which can be given other crates while it runs.
pub(crate) struct Registry {
    server: Arc<Server>,
    crates: Arc<Mutex<Vec<Crate>>>,
}

impl Registry {
    pub(crate) fn new(crates: &[Crate]) -> Self {
        let crates = Arc::new(Mutex::new(crates.to_vec()));
        let shared = crates.clone();
        let server = Server::start(move |server, request, _| {
            let crates = shared.lock().expect("no panic");
            let path = request.path.as_str();
            if path == "/config.json" {
                return Reply::ok(format!("{{\"dl\":\"{}/dl\"}}", server.address));
            }
            let archive = crates
                .iter()
                .find(|one| path == format!("/dl/{}/{}/download", one.name, one.version));
            if let Some(archive) = archive {
                return Reply::ok(archive.archive());
            }
            let lines: String = crates
                .iter()
                .filter(|one| index_path(one.name) == path)
                .map(Crate::line)
                .collect();
            if lines.is_empty() {
                Reply::status(404)
            } else {
                Reply::ok(lines)
            }
        });
        Self { server, crates }
    }

    /// Somebody publishes, yanks or replaces.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Vec<Crate>)) {
        change(&mut self.crates.lock().expect("no panic"));
    }

    /// A program that depends on these crates, any version of each.
    pub(crate) fn workspace(&self, name: &str, needs: &[&str], main: &str) -> UserOf {
        let workspace = Workspace::new(&[
            (".cargo/config.toml", &self.config()),
            ("src/main.rs", main),
        ]);
        let mut manifest = crate::support::manifest(name, "[dependencies]");
        for need in needs {
            manifest.push_str(&format!("{need} = \"*\"\n"));
        }
        workspace.write("Cargo.toml", &manifest);
        UserOf {
            workspace,
            home: directory(),
        }
    }

    fn config(&self) -> String {
        format!(
            "[source.crates-io]\nreplace-with = \"near\"\n[source.near]\nregistry = \"sparse+{}/\"\n",
            self.server.address
        )
    }
}

/// Somebody whose program is built from the registry, with a home and a store of his own.
pub(crate) struct UserOf {
    pub(crate) workspace: Workspace,
    pub(crate) home: tempfile::TempDir,
}

impl UserOf {
    fn with_home(&self, kiln: Kiln) -> Kiln {
        let rustup = std::env::var("RUSTUP_HOME")
            .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.rustup")));
        kiln.env("HOME", self.home.path())
            .env("CARGO_HOME", self.home.path().join(".cargo"))
            .env("RUSTUP_HOME", rustup.unwrap_or_default())
    }

    pub(crate) fn kiln<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Kiln {
        self.with_home(self.workspace.kiln(arguments))
            .env("KILN_HOME", self.home.path().join("store"))
    }

    pub(crate) fn cargo<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Kiln {
        self.with_home(self.workspace.cargo(arguments))
    }

    pub(crate) fn text(&self, path: &str) -> String {
        String::from_utf8(self.workspace.read(path)).expect("UTF-8")
    }
}

/// What the program is called in JSON.
pub(crate) fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Things by a key of each.
pub(crate) fn by<'a>(
    list: &'a serde_json::Value,
    key: &str,
) -> BTreeMap<&'a str, &'a serde_json::Value> {
    list.as_array()
        .expect("a list")
        .iter()
        .map(|one| (one[key].as_str().expect("a text"), one))
        .collect()
}
