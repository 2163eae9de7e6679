use super::*;

const WARNING: &str = r#"{"$message_type":"diagnostic","message":"unused variable: `x`","code":{"code":"unused_variables","explanation":null},"level":"warning","spans":[{"file_name":"src/lib.rs","line_start":1,"expansion":{"span":{"file_name":"/kiln/src/dep-1.0.0/src/lib.rs"}}}],"children":[{"message":"m","spans":[{"suggestion_applicability":"MachineApplicable"}]}],"rendered":"\u001b[1m\u001b[93mwarning\u001b[0m: x\n \u001b[94m--> \u001b[0msrc/lib.rs:1:5\n  ::: /kiln/src/dep-1.0.0/src/lib.rs:7:1\n a/src/lib.rs:9 src/lib.rs:x\n\n"}"#;

fn warning() -> Diagnostic {
    match Message::parse(WARNING.as_bytes()) {
        Message::Diagnostic(diagnostic) => diagnostic,
        other => panic!("{other:?}"),
    }
}

#[test]
fn lines_of_each_kind() {
    let diagnostic = warning();
    assert_eq!(diagnostic.level, Level::Warning);
    assert_eq!(diagnostic.code.as_deref(), Some("unused_variables"));
    assert!(diagnostic.machine_applicable);
    assert!(!diagnostic.is_summary());
    assert_eq!(diagnostic.json().get(), WARNING);

    for (line, expected) in [
        (
            r#"{"$message_type":"artifact","artifact":"/o/libx.rmeta","emit":"metadata"}"#,
            Message::Artifact {
                path: "/o/libx.rmeta".into(),
                emit: "metadata".into(),
            },
        ),
        (
            r#"{"lint_level":"deny","unused_extern_names":["a","b"]}"#,
            Message::UnusedExtern {
                lint_level: "deny".into(),
                names: vec!["a".into(), "b".into()],
            },
        ),
        (
            r#"{"$message_type":"section_timing","event":"start"}"#,
            Message::Other(r#"{"$message_type":"section_timing","event":"start"}"#.into()),
        ),
        ("{not json", Message::Text("{not json".into())),
        ("warning: plain", Message::Text("warning: plain".into())),
        ("", Message::Text(String::new())),
        ("[1]", Message::Text("[1]".into())),
    ] {
        assert_eq!(Message::parse(line.as_bytes()), expected, "{line}");
    }
    assert_eq!(
        Message::parse(b"{\"a\":\"\xff\"}"),
        Message::Text("{\"a\":\"\u{fffd}\"}".into())
    );

    let report = format!(
        r#"{{"$message_type":"future_incompat","future_incompat_report":[{{"diagnostic":{WARNING}}}]}}"#
    );
    assert_eq!(
        Message::parse(report.as_bytes()),
        Message::FutureIncompat(vec![diagnostic])
    );
}

#[test]
fn summaries_are_known() {
    for (message, summary) in [
        ("aborting due to 2 previous errors", true),
        ("1 warning emitted", true),
        ("12 warnings emitted", true),
        ("cannot find value `x`", false),
    ] {
        let line = format!(r#"{{"message":"{message}","level":"error"}}"#);
        let Message::Diagnostic(diagnostic) = Message::parse(line.as_bytes()) else {
            panic!("{line}");
        };
        assert_eq!(diagnostic.is_summary(), summary, "{message}");
        assert_eq!(diagnostic.shown(false), message);
    }
}

#[test]
fn what_is_shown_is_harmless() {
    let line = r#"{"message":"m","level":"error","rendered":"\u001b[91mred\u001b[0m \u001b[8mx \u009b1m \u202e\rend\n"}"#;
    let Message::Diagnostic(diagnostic) = Message::parse(line.as_bytes()) else {
        panic!("{line}");
    };
    assert_eq!(
        diagnostic.shown(true),
        "\u{1b}[91mred\u{1b}[0m ^[[8mx \\u{9b}1m \\u{202e}^Mend"
    );
    assert_eq!(
        diagnostic.shown(false),
        "red ^[[8mx \\u{9b}1m \\u{202e}^Mend"
    );
    for ansi in [true, false] {
        let json = diagnostic.cargo_json(ansi);
        assert!(!json.get().contains('\u{9b}'));
        assert!(json.get().contains("^[[8mx"));
    }
}

#[test]
fn cargo_keeps_or_strips_colours() {
    let diagnostic = warning();
    assert_eq!(diagnostic.cargo_json(true).get(), WARNING);
    let plain = diagnostic.cargo_json(false);
    assert!(
        plain.get().starts_with(r#"{"rendered":"warning: x\n "#),
        "{plain}"
    );
    assert!(
        plain
            .get()
            .ends_with(r#""code":{"code":"unused_variables","explanation":null}}"#),
        "{plain}"
    );
    let keys: Vec<String> = serde_json::from_str::<serde_json::Map<String, Value>>(plain.get())
        .unwrap()
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(
        keys,
        [
            "rendered",
            "$message_type",
            "children",
            "level",
            "message",
            "spans",
            "code"
        ]
    );
}

#[test]
fn paths_are_mapped_in_spans_and_rendering() {
    let mapped = warning().with_paths(&|path| {
        path.strip_prefix("/kiln/src/")
            .map(|rest| format!("/home/u/{rest}"))
            .or_else(|| (path == "src/lib.rs").then(|| "member/src/lib.rs".to_owned()))
    });
    let object: Value = serde_json::from_str(mapped.json().get()).unwrap();
    let span = &object["spans"][0];
    assert_eq!(span["file_name"], "member/src/lib.rs");
    assert_eq!(
        span["expansion"]["span"]["file_name"],
        "/home/u/dep-1.0.0/src/lib.rs"
    );
    assert_eq!(
        mapped.shown(false),
        "warning: x\n --> member/src/lib.rs:1:5\n  ::: /home/u/dep-1.0.0/src/lib.rs:7:1\n \
         a/src/lib.rs:9 src/lib.rs:x\n"
    );
    assert_eq!(object["rendered"], mapped.rendered.clone().unwrap());
}

#[test]
fn a_stream_is_cut_into_lines_wherever_it_breaks() {
    let stream = format!("{WARNING}\nplain\r\n\nlast");
    for size in [1, 7, stream.len()] {
        let mut reader = Reader::default();
        let mut messages = Vec::new();
        for chunk in stream.as_bytes().chunks(size) {
            messages.extend(reader.push(chunk));
        }
        messages.extend(reader.finish());
        assert_eq!(
            messages,
            [
                Message::Diagnostic(warning()),
                Message::Text("plain".into()),
                Message::Text(String::new()),
                Message::Text("last".into()),
            ]
        );
        assert!(reader.finish().is_empty());
    }
}

#[test]
fn streams_and_lines_are_bounded() {
    let mut reader = Reader::default();
    let mut count = 0;
    for _ in 0..6 {
        count += reader.push(&b"\n".repeat(100_000)).len();
    }
    assert_eq!(count, MAX_MESSAGES + 1);

    let mut reader = Reader::default();
    let mut line = b"{\"artifact\":\"".to_vec();
    line.resize(MAX_LINE_BYTES + 10, b'x');
    reader.push(&line);
    reader.push(&line);
    match &reader.push(b"\"}\n")[..] {
        [Message::Text(text)] => assert_eq!(text.len(), MAX_LINE_BYTES),
        other => panic!("{} messages", other.len()),
    }

    let deep = format!(
        r#"{{"message":"m","level":"error","rendered":"\u001b[91mr","spans":{}{}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    // Beyond the depth that is read at all: kept as text, not an overflow of the stack.
    assert!(matches!(
        Message::parse(deep.as_bytes()),
        Message::Text(_) | Message::Diagnostic(_)
    ));
}
