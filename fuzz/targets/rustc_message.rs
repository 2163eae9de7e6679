//! What a compiler prints never panics the reader, is read the same however it is cut, and is harmless when shown.

#![no_main]

use kiln::message::rustc::{Message, Reader};
use kiln::message::text::{Styles, harmless};
use libfuzzer_sys::fuzz_target;

/// Nothing but text, line feeds, tabs and whole SGR sequences.
fn check(shown: &str, colours: bool) {
    let mut rest = shown;
    while let Some(at) = rest.find(|c: char| c.is_control() && c != '\n' && c != '\t') {
        let sequence = &rest[at..];
        assert!(colours && sequence.starts_with("\u{1b}["), "{shown:?}");
        let end = sequence[2..]
            .find(|c: char| !c.is_ascii_digit() && c != ';')
            .expect("a sequence has an end");
        assert_eq!(&sequence[2 + end..3 + end], "m", "{shown:?}");
        rest = &sequence[3 + end..];
    }
}

fuzz_target!(|bytes: &[u8]| {
    for styles in [Styles::Show, Styles::Keep, Styles::Strip] {
        let shown = harmless(bytes, styles);
        check(&shown, styles == Styles::Keep);
        if styles == Styles::Show {
            assert_eq!(harmless(shown.as_bytes(), styles), shown);
        }
    }

    let mut whole = Reader::default();
    let mut messages = whole.push(bytes);
    messages.extend(whole.finish());
    let mut cut = Reader::default();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let mut again = cut.push(first);
    again.extend(cut.push(second));
    again.extend(cut.finish());
    assert_eq!(messages, again);

    for message in &messages {
        let diagnostics = match message {
            Message::Diagnostic(diagnostic) => std::slice::from_ref(diagnostic),
            Message::FutureIncompat(diagnostics) => diagnostics,
            _ => &[],
        };
        for diagnostic in diagnostics {
            for colours in [true, false] {
                check(&diagnostic.shown(colours), colours);
                diagnostic.cargo_json(colours);
            }
            let _ = diagnostic.with_paths(&|path| Some(format!("/mapped/{path}")));
        }
    }
});
