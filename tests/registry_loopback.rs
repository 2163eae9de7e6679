//! The sparse protocol and downloads against a server on loopback that misbehaves on demand.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln::digest::{Claimed, Sha256};
use kiln::package::{PackageId, PackageName, SourceId, SourceKind};
use kiln::registry::{
    Client, Event, Network, NetworkConfig, PlainHttp, Proxies, Quiet, Registry, RegistryError,
    Token,
};
use kiln::source::{Registries, SourceError, Sources, Wanted, Worker};
use kiln::store::Store;
use support::{Reply, Request, Server, entry, pack, worker};

fn quick() -> NetworkConfig {
    NetworkConfig {
        timeout: Duration::from_secs(10),
        retry_base: Duration::from_millis(5),
        ..NetworkConfig::default()
    }
}

fn source(server: &Server) -> SourceId {
    SourceId::new(SourceKind::Registry {
        is_crates_io: false,
        url: format!("{}/", server.address),
    })
}

fn registry(server: &Server) -> Registry {
    Registry::of_source(&source(server)).expect("a registry")
}

fn client_with(server: &Server, home: &Path, config: NetworkConfig) -> Client {
    let network = Network::new(config).expect("an event loop");
    Client::new(Arc::new(network), registry(server), home).expect("a client")
}

fn client(server: &Server, home: &Path) -> Client {
    client_with(server, home, quick())
}

fn offline(server: &Server, home: &Path) -> Client {
    client_with(
        server,
        home,
        NetworkConfig {
            offline: true,
            ..quick()
        },
    )
}

fn name(name: &str) -> PackageName {
    PackageName::new(name).expect("a name")
}

fn locked(name_and_version: &str) -> (PackageName, semver::Version) {
    let (package, version) = name_and_version.split_once(' ').expect("two words");
    (name(package), version.parse().expect("a version"))
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn config(server: &Server) -> Reply {
    Reply::ok(format!("{{\"dl\":\"{}/dl\"}}", server.address))
}

fn nothing() -> Sha256 {
    Sha256::of(b"")
}

#[test]
fn what_is_unchanged_is_not_sent_again() {
    for (header, condition) in [
        ("etag", "if-none-match"),
        ("last-modified", "if-modified-since"),
    ] {
        let server = Server::start(move |server, request, _| {
            let body = match request.path.as_str() {
                "/config.json" => return config(server),
                "/1/a" => entry("a", "1.0.0", &nothing()),
                "/3/a/abc" => {
                    entry("abc", "1.0.0", &nothing()) + &entry("abc", "2.0.0", &nothing())
                }
                _ => return Reply::status(404),
            };
            let tag = format!("\"tag of {}\"", request.path);
            if request.header(condition) == Some(&tag) {
                return Reply::status(304);
            }
            Reply::Full(200, vec![(header, tag)], body.into_bytes())
        });
        let home = home();
        let names = [name("a"), name("abc"), name("none")];
        let first = client(&server, home.path())
            .summaries(&names, &mut Quiet)
            .expect("fetched");
        assert_eq!(first[&names[1]].offers.len(), 2);
        assert!(first[&names[0]].exists && !first[&names[2]].exists);

        let mut unchanged = Vec::new();
        let mut again = client(&server, home.path());
        let second = again
            .summaries(&names, &mut |event| {
                if let Event::IndexFetched {
                    name,
                    unchanged: true,
                } = event
                {
                    unchanged.push(name.to_string());
                }
            })
            .expect("fetched");
        unchanged.sort();
        assert_eq!(unchanged, ["a", "abc"]);
        assert_eq!(format!("{first:?}"), format!("{second:?}"));

        // One client asks for each name once.
        server.forget();
        again.summaries(&names, &mut Quiet).expect("known");
        assert_eq!(server.paths(), Vec::<String>::new());

        // Offline, what is there is enough, and what is not is named.
        let mut offline = offline(&server, home.path());
        assert_eq!(
            offline
                .summaries(&names[..2], &mut Quiet)
                .expect("cached")
                .len(),
            2
        );
        let error = offline
            .summaries(
                &[name("abc"), name("missing-1"), name("missing-2")],
                &mut Quiet,
            )
            .expect_err("two are missing");
        assert_eq!(
            error.to_string(),
            format!(
                "offline, and not in the cache: `index of missing-1`, `index of missing-2`; needed from `{}/`",
                server.address
            )
        );
        assert!(error.help().expect("help").contains("without `--offline`"));
        assert_eq!(server.paths(), Vec::<String>::new());
    }
}

#[test]
fn locked_entries_come_from_the_cache() {
    let server = Server::start(|server, request, _| match request.path.as_str() {
        "/config.json" => config(server),
        "/1/a" => Reply::ok(entry("a", "1.0.0", &nothing()) + &entry("a", "1.1.0", &nothing())),
        "/1/b" => Reply::ok(entry("b", "1.0.0", &nothing())),
        "/fo/o_/foo_bar" => Reply::ok(entry("Foo_bar", "1.0.0", &nothing())),
        _ => Reply::status(404),
    });
    let home = home();
    let wanted = [locked("b 1.0.0"), locked("a 1.1.0"), locked("a 1.0.0")];
    let ids = |client: &mut Client| -> Vec<String> {
        let summaries = client.locked(&wanted, &mut Quiet).expect("there");
        summaries
            .iter()
            .map(|summary| summary.id.to_string())
            .collect()
    };
    let expected = ["b v1.0.0", "a v1.1.0", "a v1.0.0"];
    assert_eq!(ids(&mut client(&server, home.path())), expected);
    assert_eq!(server.paths(), ["/1/a", "/1/b", "/config.json"]);
    server.forget();
    assert_eq!(ids(&mut client(&server, home.path())), expected);
    assert_eq!(ids(&mut offline(&server, home.path())), expected);
    assert_eq!(server.paths(), Vec::<String>::new());

    let address = format!("{}/", server.address);
    for (package, message) in [
        (
            "a 9.0.0",
            format!("no version `9.0.0` of package `a` in the registry `{address}`"),
        ),
        (
            "none 1.0.0",
            format!("no package `none` in the registry `{address}`"),
        ),
        (
            "foo-bar 1.0.0",
            format!("no package `foo-bar` in the registry `{address}`; there is `Foo_bar`"),
        ),
    ] {
        let error = client(&server, home.path())
            .locked(&[locked("a 1.0.0"), locked(package)], &mut Quiet)
            .expect_err(package);
        assert_eq!(error.to_string(), message);
        assert!(error.help().is_some());
    }
    let error = offline(&server, home.path())
        .locked(&[locked("a 9.0.0"), locked("c 1.0.0")], &mut Quiet)
        .expect_err("missing");
    assert!(
        error
            .to_string()
            .contains("`index entry of a 9.0.0`, `index entry of c 1.0.0`"),
        "{error}"
    );
}

#[test]
fn failures_in_passing_are_tried_again() {
    let server = Server::start(
        |server, request, before| match (request.path.as_str(), before) {
            ("/config.json", _) => config(server),
            ("/1/a", 0) => {
                Reply::Full(503, vec![("retry-after", "1".to_owned())], b"busy".to_vec())
            }
            ("/1/b", 0) => Reply::Full(429, vec![("retry-after", "86400".to_owned())], Vec::new()),
            ("/1/c", 0 | 1) => Reply::Cut(200, Vec::new(), 1000, b"{".to_vec()),
            ("/1/d", _) => Reply::Full(500, Vec::new(), b"\x1b[31mno\nluck".to_vec()),
            ("/1/e", _) => Reply::status(400),
            (path, _) => Reply::ok(entry(&path[3..], "1.0.0", &nothing())),
        },
    );
    let home = home();
    let retries = |package: &str| {
        let mut waits = Vec::new();
        let start = Instant::now();
        let result = client(&server, home.path())
            .summaries(&[name(package)], &mut |event| {
                if let Event::Retrying { wait, .. } = event {
                    waits.push(wait);
                }
            })
            .map(|found| found.values().next().map(|index| index.offers.len()));
        (result, waits, start.elapsed())
    };
    let (result, waits, took) = retries("a");
    assert_eq!(result.ok(), Some(Some(1)));
    assert_eq!(waits, [Duration::from_secs(1)]);
    assert!(took >= Duration::from_secs(1), "{took:?}");

    let (result, waits, _) = retries("c");
    assert_eq!(result.ok(), Some(Some(1)));
    assert_eq!(waits.len(), 2);

    let (result, waits, _) = retries("d");
    let error = result.expect_err("it never works");
    assert_eq!(
        error.to_string(),
        format!(
            "`{}/1/d` answered with status 500: \u{fffd}[31mno luck",
            server.address
        )
    );
    assert_eq!(waits.len(), 3);

    let (result, waits, _) = retries("e");
    assert!(matches!(
        result,
        Err(RegistryError::Status { status: 400, .. })
    ));
    assert_eq!(waits, []);
}

#[test]
fn a_stalled_transfer_and_a_closed_port_end() {
    let server = Server::start(|server, request, _| match request.path.as_str() {
        "/config.json" => config(server),
        _ => Reply::Silence(1000),
    });
    let home = home();
    let impatient = NetworkConfig {
        timeout: Duration::from_millis(1200),
        retries: 0,
        ..quick()
    };
    let start = Instant::now();
    let error = client_with(&server, home.path(), impatient.clone())
        .summaries(&[name("a")], &mut Quiet)
        .expect_err("nothing comes");
    assert!(matches!(error, RegistryError::Stalled { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));

    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        listener.local_addr().expect("bound")
    };
    let mut registry = registry(&server);
    registry.index = format!("http://{closed}/");
    let network = Arc::new(Network::new(impatient).expect("an event loop"));
    let error = Client::new(network, registry, home.path())
        .and_then(|mut client| client.summaries(&[name("a")], &mut Quiet))
        .expect_err("nobody listens");
    assert!(matches!(error, RegistryError::Transport { .. }), "{error}");
    assert!(error.help().expect("help").contains("proxy"));
}

#[test]
fn compressed_index_files() {
    let server = Server::start(|server, request, _| match request.path.as_str() {
        "/config.json" => config(server),
        _ => {
            assert_eq!(request.header("accept-encoding"), Some("gzip"));
            assert_eq!(request.header("cargo-protocol"), Some("version=1"));
            assert!(
                request
                    .header("user-agent")
                    .is_some_and(|agent| agent.starts_with("kiln/"))
            );
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, entry("a", "1.0.0", &nothing()).as_bytes())
                .expect("in memory");
            let body = encoder.finish().expect("in memory");
            Reply::Full(200, vec![("content-encoding", "gzip".to_owned())], body)
        }
    });
    let found = client(&server, home().path())
        .summaries(&[name("a")], &mut Quiet)
        .expect("fetched");
    assert_eq!(found[&name("a")].offers.len(), 1);
}

#[test]
fn tokens_go_to_the_registry_and_nowhere_else() {
    let elsewhere = Server::start(|_, _, _| Reply::ok(entry("a", "1.0.0", &nothing())));
    let address = elsewhere.address.clone();
    let server = Server::start(move |server, request, _| {
        let authorized = request.header("authorization") == Some("sesame");
        match request.path.as_str() {
            _ if !authorized => Reply::status(401),
            "/config.json" => Reply::ok(format!(
                "{{\"dl\":\"{}/dl\",\"auth-required\":true}}",
                server.address
            )),
            "/1/a" => Reply::Full(
                302,
                vec![("location", format!("{address}/moved"))],
                Vec::new(),
            ),
            path => Reply::ok(entry(&path[3..], "1.0.0", &nothing())),
        }
    });
    let home = home();
    let with = |token: Option<&str>| {
        let mut registry = registry(&server);
        registry.token = token.map(Token::new);
        let network = Arc::new(Network::new(quick()).expect("an event loop"));
        let mut client = Client::new(network, registry, home.path()).expect("a client");
        client.summaries(&[name("a"), name("b")], &mut Quiet)
    };
    for (token, message) in [
        (None, "wants a token, and none is configured"),
        (Some("wrong"), "did not accept the token"),
    ] {
        let error = with(token).expect_err("not authorized");
        assert!(error.to_string().ends_with(message), "{error}");
        assert!(error.help().expect("help").contains("cargo login"));
    }
    assert_eq!(with(Some("sesame")).expect("authorized").len(), 2);
    let seen = elsewhere.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), None);
}

#[test]
fn redirections_end_and_stay_where_they_may_go() {
    let server = Server::start(|server, request, _| {
        let to = |location: String| Reply::Full(301, vec![("location", location)], Vec::new());
        match request.path.as_str() {
            "/config.json" => config(server),
            "/1/a" => to("/1/a".to_owned()),
            "/1/b" => to("http://registry.example.com/1/b".to_owned()),
            "/1/c" => to("file:///etc/passwd".to_owned()),
            "/1/d" => Reply::status(302),
            "/1/e" => to("../moved/e".to_owned()),
            _ => Reply::ok(entry("e", "1.0.0", &nothing())),
        }
    });
    let home = home();
    for (package, part) in [
        ("a", "more than 10"),
        ("b", "is not https, and `http://127.0.0.1"),
        ("c", "`file:///etc/passwd`"),
        ("d", "does not say where to"),
    ] {
        let error = client(&server, home.path())
            .summaries(&[name(package)], &mut Quiet)
            .expect_err(package);
        assert!(error.to_string().contains(part), "{error}");
    }
    let found = client(&server, home.path()).summaries(&[name("e")], &mut Quiet);
    assert!(found.expect("redirected")[&name("e")].exists);

    let mut plain = registry(&server);
    plain.index = "http://registry.example.com/".to_owned();
    let network = Arc::new(Network::new(quick()).expect("an event loop"));
    let error = Client::new(network.clone(), plain.clone(), home.path()).expect_err("plain http");
    assert!(matches!(error, RegistryError::Insecure { .. }), "{error}");
    plain.plain_http = PlainHttp::NamedByUser;
    assert!(Client::new(network, plain, home.path()).is_ok());
}

#[test]
fn proxies_serve_what_they_are_configured_for() {
    let proxy = Server::start(|_, request, _| match request.path.as_str() {
        "http://registry.example.com/config.json" => {
            Reply::ok(r#"{"dl":"https://registry.example.com/"}"#)
        }
        "http://registry.example.com/1/a" => Reply::ok(entry("a", "1.0.0", &nothing())),
        _ => Reply::status(404),
    });
    let home = home();
    let bare = proxy.address.strip_prefix("http://").expect("an address");
    let ask = |variables: &[(&str, &str)]| {
        let mut registry = registry(&proxy);
        registry.index = "http://registry.example.com/".to_owned();
        registry.plain_http = PlainHttp::NamedByUser;
        let network = Network::new(NetworkConfig {
            proxies: Proxies::from_variables(None, |name| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            }),
            retries: 0,
            timeout: Duration::from_secs(2),
            ..quick()
        })
        .expect("an event loop");
        Client::new(Arc::new(network), registry, home.path())
            .and_then(|mut client| client.summaries(&[name("a")], &mut Quiet))
            .is_ok_and(|found| found[&name("a")].exists)
    };
    assert!(ask(&[("http_proxy", bare)]));
    assert!(ask(&[
        ("all_proxy", &proxy.address),
        ("no_proxy", "localhost")
    ]));
    assert!(!ask(&[("http_proxy", bare), ("no_proxy", "example.com")]));
    assert!(!ask(&[("https_proxy", bare)]));
}

#[test]
fn resolution_asks_several_registries() {
    use kiln::resolve::Versions as _;

    let first = Server::start(|server, request, _| match request.path.as_str() {
        "/config.json" => config(server),
        "/1/a" => Reply::ok(entry("a", "1.0.0", &nothing()) + &entry("a", "1.1.0", &nothing())),
        "/3/a/a_b" => Reply::ok(entry("a_b", "1.0.0", &nothing())),
        _ => Reply::status(404),
    });
    let second = Server::start(|server, request, _| match request.path.as_str() {
        "/config.json" => config(server),
        "/1/b" => Reply::status(400),
        _ => Reply::ok(entry("a", "7.0.0", &nothing())),
    });
    let home = home();
    let mut clients: BTreeMap<_, _> = [&first, &second]
        .map(|server| (source(server), client(server, home.path())))
        .into();
    let mut quiet = Quiet;
    let mut registries = Registries::new(&mut clients, &mut quiet);
    registries.prefetch(&[
        (name("a"), source(&first)),
        (name("a-b"), source(&first)),
        (name("a"), source(&second)),
    ]);
    let asked = first.paths();
    let mut versions = |package: &str, source: &SourceId| -> Vec<String> {
        let found = registries
            .versions(&name(package), source)
            .expect("an answer");
        found.iter().map(|offer| offer.id().to_string()).collect()
    };
    assert_eq!(versions("a", &source(&first)), ["a v1.0.0", "a v1.1.0"]);
    assert_eq!(versions("a", &source(&second)), ["a v7.0.0"]);
    assert_eq!(versions("a-b", &source(&first)), Vec::<String>::new());
    assert_eq!(first.paths(), asked, "it was fetched ahead");
    assert_eq!(
        registries.similar_names(&name("a-b"), &source(&first)),
        [name("a_b")]
    );
    registries.prefetch(&[(name("b"), source(&second))]);
    let error = registries
        .versions(&name("b"), &source(&second))
        .expect_err("status 400");
    assert_eq!(error.to_string(), "the versions of `b` cannot be had");
    let elsewhere = SourceId::default_registry();
    assert!(registries.versions(&name("a"), &elsewhere).is_err());
}

/// A crate on a server, and what fetching it takes.
struct Case {
    home: tempfile::TempDir,
    archive: Vec<u8>,
}

const URL: &str = "/dl/a/1.0.0/download";

impl Case {
    fn new(archive: Vec<u8>) -> Self {
        Self {
            home: home(),
            archive,
        }
    }

    /// A crate that does not compress, so that it can be cut.
    fn sound() -> Self {
        let noise: Vec<u8> = (0..4000u32)
            .flat_map(|n| Sha256::of(&n.to_le_bytes()).as_bytes()[..8].to_vec())
            .collect();
        Self::new(pack(&[
            ("a-1.0.0/Cargo.toml", b"[package]"),
            ("a-1.0.0/src/lib.rs", &noise),
        ]))
    }

    fn sum(&self) -> Sha256 {
        Sha256::of(&self.archive)
    }

    fn wanted(&self, server: &Server, sum: Sha256) -> Wanted {
        let (name, version) = locked("a 1.0.0");
        Wanted {
            id: PackageId::new(name, version, source(server)),
            locked: Some((Claimed(sum), "Cargo.lock:7".to_owned())),
            indexed: Some(Claimed(sum)),
        }
    }

    fn store(&self) -> Arc<Store> {
        Arc::new(Store::open(self.home.path()).expect("a store"))
    }

    /// The names of the trees in the store.
    fn trees(&self) -> Vec<String> {
        names(&self.home.path().join("trees"))
    }

    fn sources(&self, worker: Worker) -> Sources {
        Sources::new(self.store(), worker)
    }

    fn fetch_with(
        &self,
        server: &Server,
        client: Client,
        wanted: Wanted,
        worker: Worker,
    ) -> Result<Vec<Event>, SourceError> {
        let mut events = Vec::new();
        let mut clients = BTreeMap::from([(source(server), client)]);
        let fetched = self
            .sources(worker)
            .fetch(&mut clients, &[wanted], &mut |event| {
                events.push(event);
            })?;
        let path = self.store().materialize(&fetched[0].tree).expect("stored");
        assert_eq!(
            std::fs::read(path.join("Cargo.toml")).expect("unpacked"),
            b"[package]"
        );
        assert!(
            self.sources(support::worker())
                .archive(&self.sum())
                .is_some()
        );
        Ok(events)
    }

    fn fetch(&self, server: &Server) -> Result<Vec<Event>, SourceError> {
        let wanted = self.wanted(server, self.sum());
        self.fetch_with(server, client(server, self.home.path()), wanted, worker())
    }

    fn archives(&self) -> Vec<String> {
        names(&self.home.path().join("archives"))
    }

    fn lose_trees(&self) {
        for tree in self.trees() {
            let tree = self.home.path().join("trees").join(tree);
            std::fs::remove_dir_all(tree).expect("can remove");
        }
    }
}

/// The sorted names of what is in a directory; none if it is not there.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .map(|entry| {
            entry
                .expect("can read")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

/// Serves `archive` as a server that knows ranges does.
fn ranged(archive: &[u8], request: &Request) -> Reply {
    let start = request
        .header("range")
        .and_then(|range| range.strip_prefix("bytes="))
        .and_then(|range| range.strip_suffix('-'))
        .and_then(|start| start.parse::<usize>().ok());
    match start {
        None => Reply::ok(archive),
        Some(start) if start >= archive.len() => Reply::status(416),
        Some(start) => {
            let range = format!("bytes {start}-{}/{}", archive.len() - 1, archive.len());
            Reply::Full(
                206,
                vec![("content-range", range)],
                archive[start..].to_vec(),
            )
        }
    }
}

fn serve(
    archive: &[u8],
    answer: impl Fn(&[u8], &Request, usize) -> Reply + Send + Sync + 'static,
) -> Arc<Server> {
    let archive = archive.to_vec();
    Server::start(move |server, request, before| match request.path.as_str() {
        "/config.json" => config(server),
        URL => answer(&archive, request, before),
        _ => Reply::status(404),
    })
}

#[test]
fn a_crate_is_downloaded_and_unpacked_once() {
    let case = Case::sound();
    let server = serve(&case.archive, |archive, request, _| {
        ranged(archive, request)
    });
    let events = case.fetch(&server).expect("fetched");
    let bytes: u64 = events
        .iter()
        .map(|event| match event {
            Event::DownloadProgress { bytes, .. } => *bytes,
            _ => 0,
        })
        .sum();
    assert_eq!(bytes, case.archive.len() as u64);
    assert!(matches!(events.last(), Some(Event::Unpacked { .. })));
    assert_eq!(server.paths(), ["/config.json", URL]);
    assert_eq!(case.archives(), [format!("{}.crate", case.sum())]);
    server.forget();

    // A second run asks nobody and runs nothing: not even the worker is needed.
    let nobody = Worker {
        program: "/nonexistent".into(),
        arguments: Vec::new(),
    };
    let wanted = case.wanted(&server, case.sum());
    let client = offline(&server, case.home.path());
    let events = case
        .fetch_with(&server, client, wanted.clone(), nobody)
        .expect("recorded");
    assert_eq!(events, []);

    // A lost tree is unpacked from the kept archive.
    case.lose_trees();
    let client = offline(&server, case.home.path());
    case.fetch_with(&server, client, wanted.clone(), worker())
        .expect("kept");
    assert_eq!(server.paths(), Vec::<String>::new());

    // A damaged archive is discarded and fetched again, or missed if that is not possible.
    case.lose_trees();
    let path = case.sources(worker()).archive(&case.sum()).expect("kept");
    std::fs::write(&path, b"damaged").expect("can write");
    case.fetch(&server).expect("fetched again");
    assert_eq!(server.paths(), [URL]);
    case.lose_trees();
    std::fs::write(&path, b"damaged").expect("can write");
    let client = offline(&server, case.home.path());
    let error = case
        .fetch_with(&server, client, wanted, worker())
        .expect_err("offline");
    assert_eq!(
        error.to_string(),
        "offline, and not downloaded before: `a 1.0.0`"
    );
}

#[test]
fn a_cut_transfer_goes_on_where_it_stopped() {
    let case = Case::sound();
    let half = case.archive.len() / 2;
    let server = serve(
        &case.archive,
        move |archive, request, before| match before {
            0 => Reply::Cut(200, Vec::new(), archive.len(), archive[..half].to_vec()),
            _ => ranged(archive, request),
        },
    );
    let events = case.fetch(&server).expect("fetched");
    let seen = server.requests();
    assert_eq!(seen.len(), 3);
    let resumed: u64 = seen[2]
        .header("range")
        .and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse()
                .ok()
        })
        .expect("a range");
    assert!(resumed > 0 && resumed <= half as u64, "{resumed}");
    assert!(events.iter().any(|event| matches!(
        event,
        Event::DownloadStarted { resumed_bytes, .. } if *resumed_bytes == resumed
    )));
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::Retrying { .. }))
    );
}

#[test]
fn what_earlier_runs_left_is_used_or_dropped() {
    let whole = Case::sound().archive;
    let half = whole.len() / 2;
    type Answer = fn(&[u8], &Request, usize) -> Reply;
    let ignores_ranges: Answer = |archive, _, _| Reply::ok(archive);
    let knows_ranges: Answer = |archive, request, _| ranged(archive, request);
    let wrong_range: Answer = |archive, request, _| match request.header("range") {
        Some(_) => Reply::Full(
            206,
            vec![("content-range", "bytes 1-2/3".to_owned())],
            vec![1, 2],
        ),
        None => Reply::ok(archive),
    };
    let garbage = vec![7; whole.len() + 100];
    for (left, answer, requests) in [
        (&whole[..half], knows_ranges, 1),
        (&whole[..half], ignores_ranges, 1),
        (&whole[..half], wrong_range, 2),
        (&whole[..], knows_ranges, 0),
        (&garbage[..half], knows_ranges, 2),
        (&garbage[..], knows_ranges, 2),
        (&garbage[..], ignores_ranges, 1),
    ] {
        let case = Case::sound();
        let server = serve(&case.archive, answer);
        let directory = case.home.path().join("archives");
        std::fs::create_dir_all(&directory).expect("can create");
        std::fs::write(directory.join(format!("{}.part", case.sum())), left).expect("can write");
        case.fetch(&server).expect("fetched");
        let asked = server.paths().iter().filter(|path| *path == URL).count();
        assert_eq!(asked, requests);
        assert_eq!(case.archives(), [format!("{}.crate", case.sum())]);
    }
}

#[test]
fn an_archive_that_is_not_the_locked_one() {
    let case = Case::sound();
    let server = serve(&case.archive, |archive, _, _| Reply::ok(archive));
    let other = Sha256::of(b"another");
    let wanted = case.wanted(&server, other);
    let client_of = || client(&server, case.home.path());
    let error = case
        .fetch_with(&server, client_of(), wanted.clone(), worker())
        .expect_err("another digest");
    let report = error.report();
    assert_eq!(report.code, "source::checksum");
    assert_eq!(
        report.message,
        "archive of `a 1.0.0` does not match the lock file"
    );
    assert_eq!(
        report.places,
        [
            "`Cargo.lock:7`".to_owned(),
            format!("downloaded from `{}{URL}`", server.address)
        ]
    );
    assert_eq!(
        report.causes,
        [format!(
            "locked sha256 `{other}`, received `{}`; nothing was stored",
            case.sum()
        )]
    );
    assert!(
        report
            .help
            .expect("help")
            .starts_with("fetch again; if it persists")
    );
    assert_eq!(case.archives(), Vec::<String>::new());
    assert_eq!(case.trees(), Vec::<String>::new());

    server.forget();
    let disagreeing = Wanted {
        indexed: Some(Claimed(case.sum())),
        ..wanted.clone()
    };
    let error = case
        .fetch_with(&server, client_of(), disagreeing, worker())
        .expect_err("two digests");
    assert!(error.report().causes[0].ends_with("nothing was downloaded"));
    let unstated = Wanted {
        locked: None,
        indexed: None,
        ..wanted
    };
    let error = case
        .fetch_with(&server, client_of(), unstated, worker())
        .expect_err("no digest");
    assert!(matches!(error, SourceError::NoChecksum { .. }), "{error}");
    assert_eq!(server.paths(), Vec::<String>::new());
}

#[test]
fn a_registry_that_moved_its_archives() {
    let case = Case::sound();
    let archive = case.archive.clone();
    let server = Server::start(move |server, request, before| match request.path.as_str() {
        "/config.json" if before == 0 => config(server),
        "/config.json" => Reply::ok(format!("{{\"dl\":\"{}/new/{{crate}}\"}}", server.address)),
        "/1/a" => Reply::ok(entry("a", "1.0.0", &nothing())),
        "/new/a" => Reply::ok(&archive[..]),
        _ => Reply::status(404),
    });
    // The first client caches the old configuration.
    client(&server, case.home.path())
        .summaries(&[name("a")], &mut Quiet)
        .expect("fetched");
    case.fetch(&server).expect("found at the new address");

    let nowhere = Case::sound();
    let server = serve(&nowhere.archive, |_, _, _| Reply::status(404));
    let error = nowhere.fetch(&server).expect_err("nowhere");
    assert!(
        matches!(
            &error,
            SourceError::Download {
                source: RegistryError::Status { status: 404, .. },
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_hostile_archive_is_refused_by_name() {
    for (path, why) in [
        ("a-1.0.0/../../escape", "has a `..` component"),
        ("/tmp/escape", "is an absolute path"),
        ("b-1.0.0/x", "is not beneath `a-1.0.0`"),
    ] {
        let case = Case::new(pack(&[("a-1.0.0/Cargo.toml", b"[package]"), (path, b"x")]));
        let server = serve(&case.archive, |archive, _, _| Reply::ok(archive));
        let error = case.fetch(&server).expect_err(path);
        assert_eq!(
            error.to_string(),
            format!("archive of `a 1.0.0` is refused: entry `{path}` {why}; nothing was stored")
        );
        assert_eq!(case.trees(), Vec::<String>::new());
        assert!(!case.home.path().join("crates").exists());
    }
    let mut cut = Case::sound();
    cut.archive.truncate(2000);
    let server = serve(&cut.archive, |archive, _, _| Reply::ok(archive));
    let error = cut.fetch(&server).expect_err("damaged");
    assert!(matches!(error, SourceError::Damaged { .. }), "{error}");
}

#[test]
fn the_worker_does_not_depend_on_the_users_umask_and_may_not_fail_silently() {
    let shell = |script: &str| Worker {
        program: "/bin/sh".into(),
        arguments: vec![
            "-c".into(),
            script.into(),
            env!("CARGO_BIN_EXE_kiln").into(),
        ],
    };
    let mut trees = Vec::new();
    for umask in ["000", "022", "077"] {
        let case = Case::sound();
        let server = serve(&case.archive, |archive, _, _| Reply::ok(archive));
        let client = client(&server, case.home.path());
        let script = format!("umask {umask}; exec \"$0\" unpack-worker \"$@\"");
        let wanted = case.wanted(&server, case.sum());
        case.fetch_with(&server, client, wanted, shell(&script))
            .expect("fetched");
        trees.push(case.trees());
    }
    assert_eq!(trees[0].len(), 1);
    assert!(trees.iter().all(|each| *each == trees[0]), "{trees:?}");

    for (script, why) in [
        ("exit 0", "without a report"),
        ("exit 1", "without a report"),
        ("kill -9 $$", "without a report"),
        (
            "echo '{\"done\":{\"files\":1,\"bytes\":1}}'; exit 3",
            "without a report",
        ),
        (
            "echo '{\"failed\":{\"why\":\"no room\"}}'; exit 1",
            "no room",
        ),
        (
            "while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done",
            "talked too much",
        ),
    ] {
        let case = Case::sound();
        let server = serve(&case.archive, |archive, _, _| Reply::ok(archive));
        let client = client(&server, case.home.path());
        let wanted = case.wanted(&server, case.sum());
        let error = case
            .fetch_with(&server, client, wanted, shell(script))
            .expect_err(script);
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(case.trees(), Vec::<String>::new());
    }
}

#[test]
fn many_clients_share_one_home() {
    let case = Case::sound();
    let server = serve(&case.archive, |archive, _, _| Reply::ok(archive));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| case.fetch(&server).expect("fetched")))
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
    });
    assert_eq!(case.archives().len(), 1, "{:?}", case.archives());
}
