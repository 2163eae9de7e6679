use std::str::FromStr;

use cargo_platform::Cfg;

use super::*;

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// Files by path below a temporary directory; `home` is cargo's home, `w/p` is where the user is.
fn load(
    files: Pairs<'_>,
    environment: Pairs<'_>,
    overrides: &[&str],
) -> (PathBuf, Result<Config, ConfigError>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path().canonicalize().expect("it exists");
    std::fs::create_dir_all(root.join("w/p")).expect("a directory");
    for (path, text) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("below the root")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    let inputs = ConfigInputs {
        start: root.join("w/p"),
        home: Some(root.join("home")),
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        overrides: &overrides,
    };
    (root.clone(), Config::load(&inputs))
}

#[test]
fn the_nearer_file_goes_over_the_farther() {
    let (root, config) = load(
        &[
            (
                "home/config.toml",
                "build.target = ['far']\nbuild.target-dir = 'far'\nnet.offline = true\nbuild.rustflags = ['-A']",
            ),
            (
                "w/.cargo/config.toml",
                "build.target-dir = 'mid'\nbuild.rustflags = ['-B']\nregistry.default = 'r'",
            ),
            (
                "w/p/.cargo/config.toml",
                "build.rustflags = ['-C']\nbuild.jobs = -1",
            ),
        ],
        &[],
        &[],
    );
    let config = config.expect("valid");
    assert_eq!(config.build_targets, ["far"]);
    assert_eq!(config.target_dir, Some(root.join("w/mid")));
    assert!(config.network.offline);
    assert_eq!(config.jobs, Some("-1".to_owned()));
    assert_eq!(config.default_registry.as_deref(), Some("r"));
    assert_eq!(
        config.rustflags("x", &[]).expect("valid"),
        ["-A", "-B", "-C"]
    );
    assert_eq!(config.files.len(), 3);
    assert!(config.files[0].starts_with(root.join("w/p")));
}

#[test]
fn variables_go_over_files_and_arguments_over_both() {
    let file = [(
        "w/.cargo/config.toml",
        "build.target-dir = 'a'\nnet.offline = false\nbuild.target = 'x'",
    )];
    let environment = [
        ("CARGO_TARGET_DIR", "b"),
        ("CARGO_NET_OFFLINE", "true"),
        (
            "CARGO_REGISTRIES_MY_REG_INDEX",
            "sparse+https://registry.example.com/i/",
        ),
        ("CARGO_PROFILE_RELEASE_LTO", "thin"),
        ("CARGO_PROFILE_DEV_OPT_LEVEL", "1"),
    ];
    let (root, config) = load(&file, &environment, &[]);
    let config = config.expect("valid");
    assert_eq!(config.target_dir, Some(root.join("w/p/b")));
    assert!(config.network.offline);
    assert!(config.registries.contains_key("my-reg"));
    assert_eq!(config.profiles.len(), 2);

    let arguments = [
        "build.target-dir='c'",
        "net.offline=false",
        "profile.release.lto=true",
    ];
    let (root, config) = load(&file, &environment, &arguments);
    let config = config.expect("valid");
    // This one variable is not `CARGO_BUILD_TARGET_DIR`, and goes over all.
    assert_eq!(config.target_dir, Some(root.join("w/p/b")));
    assert!(!config.network.offline);
    assert_eq!(
        config.profiles["release"].lto,
        Some(cargo_util_schemas::manifest::StringOrBool::Bool(true))
    );
}

#[test]
fn the_first_place_that_has_rustflags_counts() {
    let file = [(
        "w/.cargo/config.toml",
        "build.rustflags = '-b -c'\n[target.x86_64-unknown-linux-gnu]\nrustflags = ['-t']\n[target.'cfg(unix)']\nrustflags = ['-u']\n",
    )];
    let unix = [Cfg::from_str("unix").expect("a cfg")];
    let (_, config) = load(&file, &[], &[]);
    let config = config.expect("valid");
    assert_eq!(
        config
            .rustflags("x86_64-unknown-linux-gnu", &unix)
            .expect("valid"),
        ["-t", "-u"]
    );
    assert_eq!(config.rustflags("other", &[]).expect("valid"), ["-b", "-c"]);

    let cases: [(Pairs<'_>, &[&str]); 4] = [
        (
            &[("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-v")],
            &["-t", "-v", "-u"],
        ),
        (&[("RUSTFLAGS", " -e  -f ")], &["-e", "-f"]),
        (
            &[
                ("RUSTFLAGS", "-e"),
                ("CARGO_ENCODED_RUSTFLAGS", "-g h\x1f-i"),
            ],
            &["-g h", "-i"],
        ),
        (&[("CARGO_ENCODED_RUSTFLAGS", "")], &[]),
    ];
    for (environment, expected) in cases {
        let (_, config) = load(&file, environment, &[]);
        assert_eq!(
            config
                .expect("valid")
                .rustflags("x86_64-unknown-linux-gnu", &unix)
                .expect("valid"),
            expected
        );
    }
}

#[test]
fn sources_are_followed_to_what_replaces_them() {
    let text = "[source.crates-io]\nreplace-with = 'a'\n[source.a]\nregistry = 'sparse+https://a.example.com/'\nreplace-with = 'vendored'\n\
                [source.vendored]\ndirectory = 'vendor'\n[source.x]\nreplace-with = 'y'\n[source.y]\nreplace-with = 'x'\n[source.z]\nreplace-with = 'none'\n";
    let (root, config) = load(&[("w/.cargo/config.toml", text)], &[], &[]);
    let config = config.expect("valid");
    assert_eq!(
        config.replacement("crates-io").expect("it ends"),
        Some(ConfiguredSourceKind::Directory(root.join("w/vendor")))
    );
    assert_eq!(config.replacement("vendored").expect("it ends"), None);
    assert!(config.replacement("x").is_err());
    assert!(config.replacement("z").is_err());
}

#[test]
fn files_include_files() {
    let (_, config) = load(
        &[
            (
                "w/.cargo/config.toml",
                "include = ['one.toml', { path = 'none.toml', optional = true }]\nnet.offline = false\n",
            ),
            (
                "w/.cargo/one.toml",
                "net.offline = true\nregistry.default = 'one'\n",
            ),
        ],
        &[],
        &[],
    );
    let config = config.expect("valid");
    assert!(!config.network.offline);
    assert_eq!(config.default_registry.as_deref(), Some("one"));
}

#[test]
fn programs_and_variables() {
    let unix = [Cfg::from_str("unix").expect("a cfg")];
    let text = "build.rustc-wrapper = 'x'\n[env]\nB = { value = 'rel', relative = true, force = true }\nA = 'b'\n\
                [target.t]\nlinker = 'l'\nrunner = 'r -a'\n[target.u]\nlinker = 'tools/l'\n\
                [target.'cfg(unix)']\nlinker = 'm'\nrunner = ['n', 'two words']\n\
                [target.u.z]\nrustc-link-lib = ['z', 'y']\nrustc-env = { V = 'w' }\nroot = '/z'\n";
    let (root, config) = load(
        &[
            ("w/.cargo/config.toml", text),
            ("home/config.toml", "[target.v]\nlinker = 'h'"),
        ],
        &[("CARGO_TARGET_T_RUNNER", "e -b"), ("RUSTC_WRAPPER", "")],
        &[],
    );
    let config = config.expect("valid");
    let linker = |triple: &str, cfg: &[Cfg]| {
        config
            .linker(triple, cfg)
            .expect("valid")
            .map(|linker| linker.program)
    };
    assert_eq!(linker("t", &unix), Some(ProgramName::Name("l".to_owned())));
    assert_eq!(
        linker("u", &unix),
        Some(ProgramName::Path(root.join("w/tools/l")))
    );
    assert_eq!(linker("x", &unix), Some(ProgramName::Name("m".to_owned())));
    assert_eq!(linker("x", &[]), None);
    let by = |triple: &str| {
        config
            .linker(triple, &[])
            .expect("valid")
            .map(|linker| linker.by_checkout)
    };
    assert_eq!((by("t"), by("v")), (Some(true), Some(false)));
    assert_eq!(config.rustc_wrapper().expect("valid"), None);
    let runner = |triple: &str| {
        let runner = config.runner(triple, &unix).expect("valid").expect("one");
        (runner.program.program.to_string(), runner.arguments)
    };
    assert_eq!(runner("t"), ("e".to_owned(), vec!["-b".to_owned()]));
    assert_eq!(runner("x"), ("n".to_owned(), vec!["two words".to_owned()]));
    let variables = config.environment().expect("valid");
    let shown: Vec<_> = variables
        .iter()
        .map(|variable| {
            (
                variable.name.as_str(),
                variable.value.as_str(),
                variable.force,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("A", "b", false),
            ("B", root.join("w/rel").to_str().expect("UTF-8"), true)
        ]
    );
    let overrides = config.links_overrides("u").expect("valid");
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        overrides,
        [LinksOverride {
            links: "z".to_owned(),
            directives: vec![
                pair("metadata", "root=/z"),
                pair("rustc-env", "V=w"),
                pair("rustc-link-lib", "z"),
                pair("rustc-link-lib", "y")
            ]
        }]
    );
}

#[test]
fn what_kiln_cannot_use_is_an_error_where_it_is_used() {
    let text = "[registries.a]\nindex = 'https://example.com/index'\n\
                [source.b]\nregistry = 'https://example.com/index'\n\
                [source.crates-io]\nreplace-with = 'b'\n";
    let (_, config) = load(&[("w/.cargo/config.toml", text)], &[], &[]);
    let config = config.expect("valid as such");
    assert!(config.unusable_registries["a"].contains("git repository"));
    let error = config
        .replacement_of(&crate::package::SourceId::default_registry())
        .expect_err("used");
    assert!(error.to_string().contains("git repository"), "{error}");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let cases: [(&str, Pairs<'_>, &[&str], &str); 10] = [
        ("paths = ['x']", &[], &[], "`paths`"),
        ("x = [", &[], &[], "config.toml:1:6"),
        (
            "net.offline = 'yes'",
            &[],
            &[],
            "`net.offline`: it is a string",
        ),
        ("build.rustflags = [1]", &[], &[], "no string"),
        (
            "",
            &[("CARGO_NET_OFFLINE", "x")],
            &[],
            "the variable `CARGO_NET_OFFLINE`",
        ),
        (
            "[registries.a]\nindex = 1",
            &[],
            &[],
            "`registries.a.index`: it is an integer",
        ),
        ("[profile.dev]\npanic = 'x'", &[], &[], "`profile.dev`"),
        ("", &[], &["nonsense"], "--config nonsense"),
        ("", &[], &["a.b=1\nc=2"], "exactly one key"),
        ("include = ['config.toml']", &[], &[], "include each other"),
    ];
    for (text, environment, overrides, expected) in cases {
        let (_, config) = load(&[("w/.cargo/config.toml", text)], environment, overrides);
        let error = config.expect_err(text).to_string();
        assert!(error.contains(expected), "{error} for {text}");
    }
}
