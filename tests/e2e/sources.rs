//! Sources other than the default registry: alternate registries with and without tokens, mirrors, local registries,
//! vendored directories. Locks are compared with the installed cargo's.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use kiln::digest::Sha256;

use crate::registry::{Reply, Request, Server, pack};
use crate::support::{Kiln, Workspace, directory, manifest};

/// A crate: its name, version, what it says, and its dependencies as the index states them.
struct Crate {
    name: &'static str,
    version: &'static str,
    text: &'static str,
    dependencies: &'static [&'static str],
}

impl Crate {
    fn archive(&self) -> Vec<u8> {
        let Crate {
            name,
            version,
            text,
            dependencies,
        } = self;
        let mut manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n[dependencies]\n"
        );
        let mut body = format!("{text:?}.to_owned()");
        for dependency in *dependencies {
            manifest.push_str(&format!("{dependency} = \"1\"\n"));
            body.push_str(&format!(" + \" \" + &{dependency}::text()"));
        }
        let root = format!("{name}-{version}");
        pack(&[
            (&format!("{root}/Cargo.toml"), manifest.as_bytes()),
            (
                &format!("{root}/src/lib.rs"),
                format!("pub fn text() -> String {{ {body} }}\n").as_bytes(),
            ),
            (&format!("{root}/.gitignore"), b"target\n"),
        ])
    }

    fn line(&self) -> String {
        let dependencies: Vec<String> = self
            .dependencies
            .iter()
            .map(|name| {
                format!(
                    "{{\"name\":\"{name}\",\"req\":\"^1\",\"features\":[],\"optional\":false,\"default_features\":true,\
                     \"target\":null,\"kind\":\"normal\",\"registry\":null}}"
                )
            })
            .collect();
        format!(
            "{{\"name\":\"{}\",\"vers\":\"{}\",\"deps\":[{}],\"features\":{{}},\"cksum\":\"{}\",\"yanked\":false}}\n",
            self.name,
            self.version,
            dependencies.join(","),
            Sha256::of(&self.archive()),
        )
    }

    fn index_path(&self) -> String {
        let name = self.name;
        format!("{}/{}/{name}", &name[..2], &name[2..4])
    }
}

const CRATES: [Crate; 3] = [
    Crate {
        name: "outerone",
        version: "1.2.0",
        text: "outer",
        dependencies: &["innerone"],
    },
    Crate {
        name: "innerone",
        version: "1.0.1",
        text: "inner",
        dependencies: &[],
    },
    Crate {
        name: "innerone",
        version: "2.0.0",
        text: "newer",
        dependencies: &[],
    },
];

/// The files of the index by path.
fn index() -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for each in &CRATES {
        files
            .entry(each.index_path())
            .or_default()
            .push_str(&each.line());
    }
    files
}

/// A sparse registry with [`CRATES`]; with a token nothing is answered without it.
fn registry(token: Option<&'static str>) -> Arc<Server> {
    let index = index();
    Server::start(move |server, request, _| {
        if token.is_some_and(|token| request.header("authorization") != Some(token)) {
            return Reply::status(401);
        }
        answer(&index, server, request, token.is_some())
    })
}

fn answer(
    index: &BTreeMap<String, String>,
    server: &Server,
    request: &Request,
    auth_required: bool,
) -> Reply {
    let path = request.path.trim_start_matches('/');
    if path == "config.json" {
        return Reply::ok(format!(
            "{{\"dl\":\"{}/dl\",\"auth-required\":{auth_required}}}",
            server.address
        ));
    }
    if let Some(file) = index.get(path) {
        return Reply::ok(file.clone());
    }
    let found = CRATES
        .iter()
        .find(|each| path == format!("dl/{}/{}/download", each.name, each.version));
    match found {
        Some(found) => Reply::ok(found.archive()),
        None => Reply::status(404),
    }
}

/// A program that needs `outerone` and, of another version, `innerone`; `source` ends each of its dependencies.
fn program(name: &str, source: &str, config: &str) -> Workspace {
    Workspace::new(&[
        (
            "Cargo.toml",
            &manifest(
                name,
                &format!(
                    "[dependencies]\nouterone = {{ version = \"1\"{source} }}\n\
                     innerone = {{ version = \"2\"{source} }}\n"
                ),
            ),
        ),
        (
            "src/main.rs",
            "fn main() { println!(\"{} {}\", outerone::text(), innerone::text()); }\n",
        ),
        (".cargo/config.toml", config),
    ])
}

/// `program` in cargo's own home, so that no test depends on what the machine has fetched.
fn cargo(workspace: &Workspace, home: &Path, arguments: &[&str]) -> Kiln {
    workspace
        .cargo(arguments.iter().copied())
        .env("CARGO_HOME", home)
}

/// Both make the same lock of `workspace`, with these variables.
fn same_lock(workspace: &Workspace, variables: &[(&str, &str)]) -> String {
    let home = directory();
    let copy = workspace.copy();
    let set = |mut kiln: Kiln| {
        for (name, value) in variables {
            kiln = kiln.env(name, value);
        }
        kiln
    };
    set(cargo(&copy, home.path(), &["generate-lockfile"])).ok();
    set(workspace.kiln(["generate-lockfile"])).ok();
    let read =
        |workspace: &Workspace| String::from_utf8(workspace.read("Cargo.lock")).expect("UTF-8");
    assert_eq!(read(workspace), read(&copy));
    read(workspace)
}

/// It builds, and the program says what it should.
fn builds(workspace: &Workspace, name: &str) {
    workspace.kiln(["build", "--locked"]).ok();
    assert_eq!(
        workspace.run(&format!("target/kiln/debug/{name}")),
        "outer inner newer\n"
    );
}

#[test]
fn alternate_registries() {
    let server = registry(None);
    let address = &server.address;
    let config = format!("[registries.own]\nindex = \"sparse+{address}/\"\n");
    let named = program("altnamed", ", registry = \"own\"", &config);
    let lock = same_lock(&named, &[]);
    assert!(
        lock.contains(&format!("source = \"sparse+{address}/\"")),
        "{lock}"
    );
    builds(&named, "altnamed");
    // Nobody asked for a token, so none was sent.
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.header("authorization").is_none())
    );

    let by_address = program(
        "altaddress",
        &format!(", registry-index = \"sparse+{address}/\""),
        "",
    );
    assert_eq!(
        same_lock(&by_address, &[]).replace("altaddress", "altnamed"),
        lock
    );
    builds(&by_address, "altaddress");

    let by_variable = program("altvariable", ", registry = \"own\"", "");
    let index = format!("sparse+{address}/");
    same_lock(&by_variable, &[("CARGO_REGISTRIES_OWN_INDEX", &index)]);

    program("altnowhere", ", registry = \"nowhere\"", &config)
        .kiln(["generate-lockfile"])
        .run()
        .refuses(&["nowhere", ".cargo/config.toml"]);
    // One that kiln cannot use hurts nobody who does not use it.
    let both = format!("{config}[registries.other]\nindex = \"https://example.com/index\"\n");
    same_lock(&program("altnamed", ", registry = \"own\"", &both), &[]);
    program(
        "altgit",
        ", registry = \"own\"",
        "[registries.own]\nindex = \"https://example.com/index\"\n",
    )
    .kiln(["generate-lockfile"])
    .run()
    .says(&["git repository"]);
}

#[test]
fn registries_that_need_the_default_one() {
    // `outerone` is of the one registry and needs `innerone` of the default one, which is mirrored by the other.
    let default = registry(None);
    let outer = index()["ou/te/outerone"].replace(
        "\"registry\":null",
        &format!(
            "\"registry\":\"{}\"",
            kiln::package::default_registry_in_lock()
        ),
    );
    let start = || {
        let outer = outer.clone();
        Server::start(move |server, request, _| match request.path.as_str() {
            "/ou/te/outerone" => Reply::ok(outer.clone()),
            path if path.starts_with("/in") => Reply::status(404),
            _ => answer(&BTreeMap::new(), server, request, false),
        })
    };
    let (own, other) = (start(), start());
    let config = format!(
        "[registries.own]\nindex = \"sparse+{}/\"\n[source.crates-io]\nreplace-with = \"near\"\n\
         [source.near]\nregistry = \"sparse+{}/\"\n",
        own.address, default.address
    );
    let workspace = program("altdefault", "", &config);
    let text = String::from_utf8(workspace.read("Cargo.toml")).expect("UTF-8");
    workspace.write(
        "Cargo.toml",
        &text.replace(
            "outerone = { version = \"1\"",
            "outerone = { registry = \"own\", version = \"1\"",
        ),
    );
    let lock = same_lock(&workspace, &[]);
    assert_eq!(lock.matches("sparse+").count(), 1, "{lock}");
    builds(&workspace, "altdefault");
    // Another registry may take the place of such a one, too.
    let config = format!(
        "{config}[source.own]\nregistry = \"sparse+{}/\"\nreplace-with = \"moved\"\n\
         [source.moved]\nregistry = \"sparse+{}/\"\n",
        own.address, other.address
    );
    workspace.write(".cargo/config.toml", &config);
    own.forget();
    let home = directory();
    workspace
        .kiln(["fetch", "--locked"])
        .env("KILN_HOME", home.path())
        .ok();
    assert!(own.requests().is_empty());
    assert!(!other.requests().is_empty());
}

#[test]
fn registries_that_demand_tokens() {
    let server = registry(Some("the-secret"));
    let address = &server.address;
    let config = format!("[registries.own]\nindex = \"sparse+{address}/\"\n");
    let source = ", registry = \"own\"";
    let variable = [("CARGO_REGISTRIES_OWN_TOKEN", "the-secret")];
    let workspace = program("tokenvariable", source, &config);
    // cargo has to be told that the plain provider is meant.
    let with_provider = [
        variable[0],
        ("CARGO_REGISTRY_GLOBAL_CREDENTIAL_PROVIDERS", "cargo:token"),
    ];
    same_lock(&workspace, &with_provider);
    workspace
        .kiln(["build", "--locked"])
        .env("CARGO_REGISTRIES_OWN_TOKEN", "the-secret")
        .ok();

    // From `credentials.toml`, and from configuration.
    let home = directory();
    fs::write(
        home.path().join("credentials.toml"),
        "[registries.own]\ntoken = \"the-secret\"\n",
    )
    .expect("written");
    program("tokenfile", source, &config)
        .kiln(["fetch"])
        .env("CARGO_HOME", home.path())
        .ok();
    program(
        "tokenconfig",
        source,
        &format!("{config}token = \"the-secret\"\n"),
    )
    .kiln(["fetch"])
    .ok();

    for (name, variables, rest, text) in [
        ("tokennone", &[][..], "", "token"),
        (
            "tokenwrong",
            &[("CARGO_REGISTRIES_OWN_TOKEN", "wrong-one")],
            "",
            "token",
        ),
        (
            "tokenprogram",
            &[],
            "credential-provider = [\"/bin/steal\", \"--all\"]\n",
            "runs no programs",
        ),
        (
            "tokenbroken",
            &[("CARGO_REGISTRIES_OWN_TOKEN", "wrong\none")],
            "",
            "characters",
        ),
    ] {
        let other = directory();
        let workspace = program(name, source, &format!("{config}{rest}"));
        let mut kiln = workspace
            .kiln(["generate-lockfile"])
            .env("KILN_HOME", other.path());
        for (name, value) in variables {
            kiln = kiln.env(name, value);
        }
        let run = kiln.run();
        assert_eq!(run.code, Some(101), "{run}");
        run.says(&[text]);
        assert!(!run.stderr.contains("wrong"), "{run}");
    }
}

#[test]
fn tokens_stay_with_their_registry() {
    let stranger = Server::start(|server, request, _| answer(&index(), server, request, false));
    let elsewhere = stranger.address.clone();
    let index = index();
    // The registry sends everybody elsewhere: for its index by redirections, for archives by its configuration.
    let server = Server::start(move |_, request, _| {
        if request.header("authorization") != Some("the-secret") {
            return Reply::status(401);
        }
        if request.path == "/config.json" {
            return Reply::ok(format!(
                "{{\"dl\":\"{elsewhere}/dl\",\"auth-required\":true}}"
            ));
        }
        if index.contains_key(request.path.trim_start_matches('/')) {
            let to = format!("{elsewhere}{}", request.path);
            return Reply::Full(302, vec![("location", to)], Vec::new());
        }
        Reply::status(404)
    });
    let workspace = program(
        "tokenmoved",
        ", registry = \"own\"",
        &format!("[registries.own]\nindex = \"sparse+{}/\"\n", server.address),
    );
    workspace
        .kiln(["generate-lockfile"])
        .env("CARGO_REGISTRIES_OWN_TOKEN", "the-secret")
        .ok();
    let asked = stranger.requests();
    assert!(!asked.is_empty());
    for request in asked {
        assert_eq!(request.header("authorization"), None, "{}", request.path);
    }
}

#[test]
fn addresses_without_encryption_are_for_those_whom_the_user_names() {
    let config = "[registries.own]\nindex = \"sparse+http://registry.example.com/\"\n";
    // A checkout may not lower the guard.
    program("plainhttp", ", registry = \"own\"", config)
        .kiln(["generate-lockfile"])
        .run()
        .refuses(&["not https"]);
    program(
        "plainhttpaddress",
        ", registry-index = \"sparse+http://registry.example.com/\"",
        "",
    )
    .kiln(["generate-lockfile"])
    .run()
    .refuses(&["not https"]);
}

#[test]
fn mirrors_of_the_default_registry() {
    let server = registry(None);
    let config = format!(
        "[source.crates-io]\nreplace-with = \"near\"\n[source.near]\nregistry = \"sparse+{}/\"\n",
        server.address
    );
    let workspace = program("mirrored", "", &config);
    let lock = same_lock(&workspace, &[]);
    assert!(!lock.contains(&server.address), "{lock}");
    builds(&workspace, "mirrored");

    // By the name of a registry, and through another source.
    let config = format!(
        "[source.crates-io]\nreplace-with = \"first\"\n\
         [source.first]\nregistry = \"sparse+https://registry.example.com/\"\nreplace-with = \"own\"\n\
         [registries.own]\nindex = \"sparse+{}/\"\n",
        server.address
    );
    assert_eq!(same_lock(&program("mirrored", "", &config), &[]), lock);

    for (config, text) in [
        (
            "[source.crates-io]\nreplace-with = \"nothing\"\n",
            "nothing",
        ),
        (
            "[source.crates-io]\nreplace-with = \"a\"\n\
             [source.a]\ndirectory = \"x\"\nreplace-with = \"crates-io\"\n",
            "circle",
        ),
        (
            "[source.crates-io]\nreplace-with = \"a\"\n[source.a]\ngit = \"https://example.com/a\"\n",
            "cannot take the place",
        ),
        (
            "[source.crates-io]\nreplace-with = \"a\"\n[source.a]\ndirectory = \"absent\"\n",
            "absent",
        ),
        (
            "[source.crates-io]\nreplace-with = \"a\"\n[source.a]\nlocal-registry = \"absent\"\n",
            "absent",
        ),
    ] {
        let run = program("mirrorwrong", "", config)
            .kiln(["generate-lockfile"])
            .run();
        assert_eq!(run.code, Some(101), "{run}");
        run.says(&[text]);
    }
}

#[test]
fn local_registries() {
    let local = directory();
    for (path, text) in index() {
        let path = local.path().join("index").join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }
    let archive = |each: &Crate| {
        local
            .path()
            .join(format!("{}-{}.crate", each.name, each.version))
    };
    for each in &CRATES {
        fs::write(archive(each), each.archive()).expect("written");
    }
    let config = format!(
        "[source.crates-io]\nreplace-with = \"local\"\n[source.local]\nlocal-registry = {:?}\n",
        local.path().to_str().expect("UTF-8")
    );
    let workspace = program("localregistry", "", &config);
    same_lock(&workspace, &[]);
    let home = directory();
    let fresh = |arguments: &[&'static str]| {
        workspace
            .kiln(arguments.iter().copied())
            .env("KILN_HOME", home.path())
    };
    // An archive that is not what the index says.
    fs::write(archive(&CRATES[0]), b"nonsense").expect("written");
    fresh(&["build", "--locked", "--offline"])
        .run()
        .refuses(&["outerone", "sha256"]);
    fs::write(archive(&CRATES[0]), CRATES[0].archive()).expect("written");
    fresh(&["build", "--locked", "--offline"]).ok();
    assert_eq!(
        workspace.run("target/kiln/debug/localregistry"),
        "outer inner newer\n"
    );
}

#[test]
fn vendoring_as_cargo_does_and_building_from_it() {
    let server = registry(None);
    let mirror = format!(
        "[source.crates-io]\nreplace-with = \"near\"\n[source.near]\nregistry = \"sparse+{}/\"\n",
        server.address
    );
    let workspace = program("vendored", "", &mirror);
    same_lock(&workspace, &[]);
    let reference = workspace.copy();
    let home = directory();
    for rest in [
        &["--respect-source-config"][..],
        &[
            "--respect-source-config",
            "--versioned-dirs",
            "third party/vendor",
        ],
    ] {
        let arguments = [&["vendor"][..], rest].concat();
        for each in [&workspace, &reference] {
            let name = rest.get(2).unwrap_or(&"vendor");
            each.write(&format!("{name}/left-over/file"), "x");
            each.write(&format!("{name}/.kept"), "x");
        }
        let ours = workspace.kiln(arguments.iter().copied()).ok();
        let cargos = cargo(&reference, home.path(), &arguments).ok();
        assert_eq!(ours.stdout, cargos.stdout);
        assert_eq!(workspace.files(), reference.files());
        for path in workspace.files() {
            assert!(workspace.read(&path) == reference.read(&path), "{path}");
        }
    }
    assert!(
        workspace
            .files()
            .contains(&"vendor/innerone-1.0.1/Cargo.toml".to_owned())
    );
    assert!(
        workspace
            .files()
            .contains(&"vendor/innerone/Cargo.toml".to_owned())
    );

    // Now from there, without any registry.
    let config = "[source.crates-io]\nreplace-with = \"vendored-sources\"\n\
                  [source.vendored-sources]\ndirectory = \"vendor\"\n";
    workspace.write(".cargo/config.toml", config);
    let lock = workspace.read("Cargo.lock");
    server.forget();
    let other = directory();
    let fresh = |arguments: &[&'static str]| {
        workspace
            .kiln(arguments.iter().copied())
            .env("KILN_HOME", other.path())
    };
    fresh(&["generate-lockfile", "--offline"]).ok();
    assert!(workspace.read("Cargo.lock") == lock);
    fresh(&["build", "--hermetic"]).ok();
    assert_eq!(
        workspace.run("target/kiln/debug/vendored"),
        "outer inner newer\n"
    );
    assert_eq!(fresh(&["build", "--hermetic"]).ok().actions().0, 0);
    assert!(server.requests().is_empty());

    // A changed file is no crate of the registry, whether the build would have had anything to do or not.
    let path = "vendor/innerone-1.0.1/src/lib.rs";
    let original = String::from_utf8(workspace.read(path)).expect("UTF-8");
    workspace.write(path, &original.replace("inner", "wrong"));
    fresh(&["build", "--hermetic"])
        .run()
        .refuses(&[path, "checksum"]);
    workspace.write(path, &original);
    // Nor is one whose archive is another than the lock's.
    let checksums = "vendor/innerone/.cargo-checksum.json";
    let text = String::from_utf8(workspace.read(checksums)).expect("UTF-8");
    let package = text.find("\"package\":\"").expect("there") + 11;
    let wrong = format!(
        "{}{}{}",
        &text[..package],
        "0".repeat(64),
        &text[package + 64..]
    );
    workspace.write(checksums, &wrong);
    let run = fresh(&["build", "--hermetic"]).run();
    assert_eq!(run.code, Some(101), "{run}");
    run.says(&["innerone", "checksum"]);
    for (text, expected) in [
        ("{", "cannot be used"),
        ("{\"files\":{},\"package\":\"no\"}", "SHA-256"),
        (
            "{\"files\":{\"../../Cargo.toml\":\"0\"},\"package\":null}",
            "checksum",
        ),
    ] {
        workspace.write(checksums, text);
        let run = fresh(&["build"]).run();
        assert_eq!(run.code, Some(101), "{run}");
        run.says(&[expected]);
    }
}

#[test]
fn nothing_to_vendor() {
    let workspace = Workspace::new(&[
        ("Cargo.toml", &manifest("vendornothing", "")),
        ("src/lib.rs", ""),
    ]);
    workspace
        .kiln(["vendor"])
        .ok()
        .says(&["There is no dependency to vendor"]);
    assert!(!workspace.root().join("vendor").exists());
}
