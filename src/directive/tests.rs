use super::super::split_search_path;
use super::*;

fn subject() -> Subject {
    Subject {
        package: "demo v1.0.0".to_owned(),
        library: Some("demo".to_owned()),
        bins: BTreeSet::from(["one".to_owned(), "two".to_owned()]),
        has_cdylib: true,
        has_tests: true,
        has_benches: true,
        has_examples: true,
        ..Subject::default()
    }
}

fn check(stdout: &str) -> Result<BuildScriptOutput, DirectiveError> {
    parse(stdout.as_bytes(), &subject(), &Bootstrap::default())
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

#[test]
fn both_syntaxes_say_the_same() {
    let old = "\
noise
cargo:rustc-link-lib=static=foo
 \tcargo:rustc-link-search=native=/a b/c  \r
cargo:rustc-flags=-l dylib=x -L/p -lz\t-L  native=/q
cargo:rustc-cfg=feature=\"a=b\"
cargo:rustc-check-cfg=cfg(a, values(\"x\"))
cargo:rustc-env=A=1=2
cargo:rustc-env=EMPTY=
cargo:warning=be careful
cargo:rerun-if-changed=src/x.c
cargo:rerun-if-env-changed=CC
cargo:rustc-link-arg=-all
cargo:rustc-link-arg-bins=-bins
cargo:rustc-link-arg-bin=two=-z=1
cargo:rustc-link-arg-tests=-t
cargo:rustc-link-arg-benches=-b
cargo:rustc-link-arg-examples=-e
cargo:rustc-link-arg-cdylib=-c1
cargo:rustc-cdylib-link-arg=-c2
";
    let output = check(old).unwrap();
    assert_eq!(output, check(&old.replace("cargo:", "cargo::")).unwrap());
    let arg = |target, argument: &str| LinkArg {
        target,
        argument: argument.to_owned(),
    };
    assert_eq!(
        output,
        BuildScriptOutput {
            link_args: vec![
                arg(LinkArgTarget::All, "-all"),
                arg(LinkArgTarget::Bins, "-bins"),
                arg(LinkArgTarget::Bin("two".into()), "-z=1"),
                arg(LinkArgTarget::Tests, "-t"),
                arg(LinkArgTarget::Benches, "-b"),
                arg(LinkArgTarget::Examples, "-e"),
                arg(LinkArgTarget::Cdylib, "-c1"),
                arg(LinkArgTarget::Cdylib, "-c2"),
            ],
            library_links: strings(&["static=foo", "dylib=x", "z"]),
            library_paths: strings(&["native=/a b/c", "/p", "native=/q"]),
            cfgs: strings(&["feature=\"a=b\""]),
            check_cfgs: strings(&["cfg(a, values(\"x\"))"]),
            env: pairs(&[("A", "1=2"), ("EMPTY", "")]),
            metadata: vec![],
            rerun_if_changed: strings(&["src/x.c"]),
            rerun_if_env_changed: strings(&["CC"]),
            log_messages: vec![LogMessage {
                severity: Severity::Warning,
                text: "be careful".into()
            }],
        }
    );
    assert_eq!(split_search_path(&output.library_paths[0]).1, "/a b/c");
}

#[test]
fn metadata_in_both_syntaxes() {
    for (line, expected) in [
        ("cargo:include=/usr/include", ("include", "/usr/include")),
        ("cargo:root=a=b", ("root", "a=b")),
        (
            "cargo:error=not an error here",
            ("error", "not an error here"),
        ),
        ("cargo:metadata=x=y", ("metadata", "x=y")),
        ("cargo: spaced =x", (" spaced ", "x")),
        ("cargo:rustc-unheard-of=1", ("rustc-unheard-of", "1")),
        ("cargo:=", ("", "")),
        (
            "cargo::metadata=include=/usr/include",
            ("include", "/usr/include"),
        ),
        ("cargo::metadata=k=", ("k", "")),
    ] {
        assert_eq!(check(line).unwrap().metadata, pairs(&[expected]), "{line}");
    }
}

#[test]
fn what_is_not_a_directive_is_passed_over() {
    for line in [
        "",
        "cargo",
        "Cargo:x=y",
        "x cargo:a=b",
        "cargo-x: y",
        "warning=1",
    ] {
        assert_eq!(check(line).unwrap(), BuildScriptOutput::default(), "{line}");
    }
    let bytes = b"cargo:a=\xff\ncargo:b=1\n\xfe\xfe\n";
    let output = parse(bytes, &subject(), &Bootstrap::default()).unwrap();
    assert_eq!(output.metadata, pairs(&[("b", "1")]));
}

#[test]
fn what_cargo_refuses() {
    for (line, word) in [
        ("cargo:novalue", "cargo:KEY=VALUE"),
        ("cargo:rustc-cfg", "cargo:KEY=VALUE"),
        ("cargo:", "cargo:KEY=VALUE"),
        ("cargo::novalue", "cargo::KEY=VALUE"),
        ("cargo::metadata=key", "cargo::metadata=KEY=VALUE"),
        ("cargo::unheard-of=1", "no directive `unheard-of`"),
        ("cargo:: rustc-cfg=1", "no directive ` rustc-cfg`"),
        ("cargo:::a=1", "no directive `:a`"),
        ("cargo:rustc-flags=-C opt-level=3", "neither `-l` nor `-L`"),
        ("cargo:rustc-flags=-l", "has no value"),
        ("cargo:rustc-flags='-l a'", "neither `-l` nor `-L`"),
        ("cargo:rustc-env=A", "rustc-env=NAME=VALUE"),
        ("cargo:rustc-env==1", "no name"),
        ("cargo:rustc-env=A=\0", "NUL"),
        ("cargo:a=\0", "NUL"),
        ("cargo:rustc-link-arg-bin=one", "rustc-link-arg-bin=BIN=ARG"),
        (
            "cargo:rustc-link-arg-bin=three=x",
            "bin target named `three`",
        ),
        ("cargo:rustc-env=RUSTC_BOOTSTRAP=1", "stability"),
    ] {
        let error = check(line).unwrap_err();
        assert!(error.to_string().contains(word), "{line}: {error}");
        assert!(error.to_string().contains("`demo v1.0.0`"), "{error}");
        assert!(error.help().is_some());
    }
}

#[test]
fn targets_have_to_exist() {
    let bare = Subject {
        package: "demo v1.0.0".to_owned(),
        ..Subject::default()
    };
    for key in ["bins", "bin", "tests", "benches", "examples"] {
        let line = format!("cargo::rustc-link-arg-{key}=one=x");
        assert!(
            matches!(
                parse(line.as_bytes(), &bare, &Bootstrap::default()),
                Err(DirectiveError::NoSuchTarget { .. })
            ),
            "{key}"
        );
    }
    for key in ["rustc-link-arg-cdylib", "rustc-cdylib-link-arg"] {
        let line = format!("cargo:{key}=x");
        let output = parse(line.as_bytes(), &bare, &Bootstrap::default()).unwrap();
        assert_eq!(output.warnings().count(), 1);
        assert_eq!(output.link_args.len(), 1);
    }
}

#[test]
fn the_new_syntax_needs_rust_1_77() {
    for (rust_version, accepted) in [
        ("1.76", false),
        ("1.76.9", false),
        ("1", false),
        ("1.77", true),
        ("1.77.0", true),
        ("1.90", true),
    ] {
        let subject = Subject {
            rust_version: Some(rust_version.parse().unwrap()),
            ..subject()
        };
        let parse = |line: &str| parse(line.as_bytes(), &subject, &Bootstrap::default());
        assert_eq!(
            parse("cargo::rustc-cfg=a").is_ok(),
            accepted,
            "{rust_version}"
        );
        assert!(parse("cargo:rustc-cfg=a").is_ok());
        if !accepted {
            let help = |line| parse(line).unwrap_err().help().unwrap();
            assert!(help("cargo::rustc-cfg=a").contains("`cargo:rustc-cfg=a`"));
            assert!(help("cargo::metadata=a=b").contains("`cargo:a=b`"));
            assert!(!help("cargo::whatever=b").contains("one colon"));
        }
    }
}

#[test]
fn rustc_bootstrap_is_the_users_to_allow() {
    let line = b"cargo:rustc-env=RUSTC_BOOTSTRAP=1";
    for (nightly, variable, library, accepted) in [
        (false, None, Some("demo"), false),
        (true, None, Some("demo"), true),
        (true, None, None, true),
        (false, Some("demo"), Some("demo"), true),
        (false, Some("a,demo"), Some("demo"), true),
        (false, Some("demo_"), Some("demo"), false),
        (false, Some("demo"), None, false),
    ] {
        let bootstrap = Bootstrap {
            nightly,
            variable: variable.map(str::to_owned),
        };
        let subject = Subject {
            library: library.map(str::to_owned),
            ..subject()
        };
        match parse(line, &subject, &bootstrap) {
            Ok(output) => {
                assert!(accepted);
                assert!(output.env.is_empty());
                assert_eq!(output.warnings().count(), 1);
            }
            Err(error) => {
                assert!(!accepted, "{error}");
                assert!(matches!(error, DirectiveError::Bootstrap { .. }));
            }
        }
    }
}

#[test]
fn an_error_leaves_only_messages() {
    let output =
        check("cargo:rustc-cfg=a\ncargo:warning=w\ncargo::error=e\ncargo::unknown=1\n").unwrap();
    assert_eq!(output.errors().collect::<Vec<_>>(), ["e"]);
    assert_eq!(output.warnings().collect::<Vec<_>>(), ["w"]);
    assert!(output.cfgs.is_empty());
    // Indented, it is seen only after everything else was parsed.
    let output = check("  cargo::error=late\ncargo:rustc-cfg=a\n").unwrap();
    assert_eq!(output.errors().collect::<Vec<_>>(), ["late"]);
    assert_eq!(
        log_messages(b"cargo:warning=\xff\r\n cargo::error=no\ncargo:error=no\ncargo::error=yes"),
        [
            LogMessage {
                severity: Severity::Warning,
                text: "\u{fffd}".into()
            },
            LogMessage {
                severity: Severity::Error,
                text: "yes".into()
            }
        ]
    );
}

#[test]
fn output_is_bounded_and_quoted_harmlessly() {
    let long = format!("cargo:a={}", "x".repeat(MAX_LINE_BYTES));
    assert!(matches!(check(&long), Err(DirectiveError::TooMuch { .. })));
    let many = "cargo:a=b\n".repeat(MAX_DIRECTIVES + 1);
    assert!(matches!(check(&many), Err(DirectiveError::TooMuch { .. })));
    let noise = "x".repeat(MAX_LINE_BYTES + 1);
    assert!(check(&noise).is_ok());
    let error = check(&format!("cargo::\u{1b}]0;owned\u{7}{}=1", "x".repeat(9999))).unwrap_err();
    assert!(error.to_string().len() < 1000);
    assert!(!error.to_string().contains('\u{1b}'));
}
