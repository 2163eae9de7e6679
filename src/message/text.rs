//! Makes untrusted bytes harmless for a terminal and for the eye.
//!
//! A terminal obeys control characters: they move the cursor over what was said before, change its title, answer into
//! its input. Some characters only deceive the reader: they reverse the direction of text or cannot be seen. All of
//! them are replaced by a notation that can be read: `^[` for ESC and the other C0 controls, `\u{202e}` for characters
//! beyond, `\x9b` for a C1 control as a raw byte, U+FFFD for other bytes that are not UTF-8. A line feed and a tab stay;
//! a carriage return stays nowhere (before a line feed it is dropped).
//!
//! rustc's rendered diagnostics come with colours, and with hostile source text in between. [`Styles`] says what
//! becomes of SGR sequences (`ESC [ … m`). Only attributes that rustc uses are let through: a sequence with any other
//! (concealed text, backgrounds, black on black) is made visible like every other escape sequence.

use std::fmt::Write as _;

/// What becomes of a well-formed SGR sequence that holds only harmless attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Styles {
    /// It is made visible like any other escape sequence: for text that has no business with colours.
    Show,
    /// It is passed through, and whatever is on at the end is switched off: rustc's diagnostics on a colour terminal.
    Keep,
    /// It is removed: rustc's diagnostics where there are no colours.
    Strip,
}

/// How a character or byte is replaced.
enum Replacement {
    Caret(u8),
    Unicode(char),
}

impl Replacement {
    fn write(&self, out: &mut String) {
        match self {
            Replacement::Caret(byte) => {
                out.push('^');
                out.push(char::from(byte ^ 0x40));
            }
            Replacement::Unicode(c) => {
                // Writing to a `String` cannot fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(*c));
            }
        }
    }
}

/// Whether `c` cannot be seen, or changes how its neighbours are seen.
fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{00ad}'                      // soft hyphen
        | '\u{034f}'                    // combining grapheme joiner
        | '\u{061c}'                    // Arabic letter mark
        | '\u{115f}'..='\u{1160}'       // Hangul fillers
        | '\u{17b4}'..='\u{17b5}'       // Khmer inherent vowels
        | '\u{180b}'..='\u{180f}'       // Mongolian selectors and separator
        | '\u{200b}'..='\u{200f}'       // zero-width space, joiners, direction marks
        | '\u{2028}'..='\u{202e}'       // line and paragraph separator, embeddings and overrides
        | '\u{2060}'..='\u{206f}'       // word joiner, invisible operators, isolates, deprecated controls
        | '\u{2800}'                    // blank Braille pattern
        | '\u{3164}' | '\u{ffa0}'       // Hangul fillers
        | '\u{fe00}'..='\u{fe0d}'       // variation selectors that no text needs
        | '\u{feff}'                    // byte order mark
        | '\u{fff0}'..='\u{fffb}'       // unassigned, interlinear annotation
        | '\u{1bca0}'..='\u{1bca3}'     // shorthand format controls
        | '\u{1d173}'..='\u{1d17a}'     // musical format controls
        | '\u{e0000}'..='\u{e0fff}'     // tags and further variation selectors
    )
}

fn replacement(c: char, previous: Option<char>) -> Option<Replacement> {
    match c {
        '\n' | '\t' => None,
        '\0'..='\u{1f}' | '\u{7f}' => Some(Replacement::Caret(c as u8)),
        '\u{80}'..='\u{9f}' => Some(Replacement::Unicode(c)),
        // Text or emoji presentation of the symbol before; nothing to choose after anything else.
        '\u{fe0e}' | '\u{fe0f}' => {
            let symbol = previous
                .is_some_and(|p| p > '\u{a0}' && !('\u{fe00}'..='\u{fe0f}').contains(&p))
                || previous.is_some_and(|p| p.is_ascii_digit() || p == '#' || p == '*');
            (!symbol).then_some(Replacement::Unicode(c))
        }
        _ if is_deceptive(c) => Some(Replacement::Unicode(c)),
        _ => None,
    }
}

/// The longest SGR sequence that is let through, in bytes.
const MAX_SGR_BYTES: usize = 32;

/// If `text` begins with an SGR sequence of harmless attributes only: its length, and whether it leaves a style on.
fn harmless_sgr(text: &str) -> Option<(usize, bool)> {
    let body = text.strip_prefix("\u{1b}[")?;
    let end = body
        .bytes()
        .take(MAX_SGR_BYTES)
        .position(|byte| !(byte.is_ascii_digit() || byte == b';'))?;
    if body.as_bytes()[end] != b'm' {
        return None;
    }
    let mut on = false;
    let mut parameters = body[..end].split(';');
    while let Some(parameter) = parameters.next() {
        // An empty parameter is 0; anything longer than three digits is no attribute.
        match parameter.len() {
            0 => {
                on = false;
                continue;
            }
            1..=3 => {}
            _ => return None,
        }
        match parameter.parse::<u16>().ok()? {
            0 => on = false,
            // Bold, italic, underlined; red to cyan, plain and bright.
            1 | 3 | 4 | 31..=36 | 91..=96 => on = true,
            // The same switched off, and the default colour.
            22..=24 | 39 => {}
            38 => {
                let (Some("5"), Some(colour)) = (parameters.next(), parameters.next()) else {
                    return None;
                };
                if !matches!(
                    colour,
                    "1" | "2" | "3" | "4" | "5" | "6" | "9" | "10" | "11" | "12" | "13" | "14"
                ) {
                    return None;
                }
                on = true;
            }
            _ => return None,
        }
    }
    Some((2 + end + 1, on))
}

/// `bytes` as text without any power: what to print of whatever an action wrote.
pub fn harmless(bytes: &[u8], styles: Styles) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut styled = false;
    for chunk in bytes.utf8_chunks() {
        push_valid(&mut out, chunk.valid(), styles, &mut styled);
        let invalid = chunk.invalid();
        if !invalid.is_empty() {
            match invalid {
                [byte @ 0x80..=0x9f] => {
                    let _ = write!(out, "\\x{byte:02x}");
                }
                _ => out.push(char::REPLACEMENT_CHARACTER),
            }
        }
    }
    if styled {
        out.push_str("\u{1b}[0m");
    }
    out
}

fn push_valid(out: &mut String, text: &str, styles: Styles, styled: &mut bool) {
    let mut rest = text;
    let mut previous = None;
    while let Some(c) = rest.chars().next() {
        if c == '\u{1b}'
            && styles != Styles::Show
            && let Some((length, on)) = harmless_sgr(rest)
        {
            if styles == Styles::Keep {
                out.push_str(&rest[..length]);
                *styled = on
                    || (*styled
                        && !rest[..length].ends_with("[0m")
                        && !rest[..length].ends_with("[m"));
            }
            rest = &rest[length..];
            continue;
        }
        let after = &rest[c.len_utf8()..];
        if c == '\r' && after.starts_with('\n') {
            rest = after;
            continue;
        }
        match replacement(c, previous) {
            Some(replacement) => replacement.write(out),
            None => out.push(c),
        }
        previous = Some(c);
        rest = after;
    }
}

/// `text` on one line and without any power: line feeds and tabs are made visible as well. For names and values
/// that appear within a sentence.
pub fn harmless_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut previous = None;
    for c in text.chars() {
        match replacement(c, previous) {
            Some(replacement) => replacement.write(&mut out),
            None if c == '\n' => out.push_str("\\n"),
            None if c == '\t' => out.push_str("\\t"),
            None => out.push(c),
        }
        previous = Some(c);
    }
    out
}

/// The most characters of an untrusted value that an error message quotes.
const MAX_EXCERPT_CHARS: usize = 200;

/// [`harmless_line`] of the beginning of `text`, with `…` where something was left out: for quoting untrusted values
/// in errors.
pub fn excerpt(text: &str) -> String {
    match text.char_indices().nth(MAX_EXCERPT_CHARS) {
        None => harmless_line(text),
        Some((end, _)) => format!("{}…", harmless_line(&text[..end])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacks_become_visible() {
        for (attack, expected) in [
            (&b"\x1b]0;title\x07"[..], "^[]0;title^G"),
            (
                b"\x1b]8;;http://example.com\x1b\\x\x1b]8;;\x1b\\",
                "^[]8;;http://example.com^[\\x^[]8;;^[\\",
            ),
            (b"\x1b]52;c;AAAA\x07", "^[]52;c;AAAA^G"),
            (b"\x1b[2J\x1b[H", "^[[2J^[[H"),
            (b"\x1b[1A\x1b[2Kok", "^[[1A^[[2Kok"),
            (b"\x1b[6n", "^[[6n"),
            (b"\x1bc", "^[c"),
            (b"\x1bP+q544e\x1b\\", "^[P+q544e^[\\"),
            (b"\x1b_apc\x1b\\ \x1b^pm\x1b\\", "^[_apc^[\\ ^[^pm^[\\"),
            (b"error\rwarning", "error^Mwarning"),
            (b"windows\r\n", "windows\n"),
            (b"a\r\r\n", "a^M\n"),
            (b"a\x08\x08b", "a^H^Hb"),
            (b"\0\x01\x7f", "^@^A^?"),
            (b"\x0e\x0f", "^N^O"),
            (b"\x0b\x0c", "^K^L"),
            (b"\x9b31m", "\\x9b31m"),
            (b"\x9d0;t\x9c", "\\x9d0;t\\x9c"),
            (b"\xc2\x9b31m", "\\u{9b}31m"),
            (b"\xc2\x85\xc2\x90", "\\u{85}\\u{90}"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
            (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\\x80"),
            (b"\xe2\x80", "\u{fffd}"),
            (
                "a\u{202e}b\u{2066}c\u{2069}\u{200f}".as_bytes(),
                "a\\u{202e}b\\u{2066}c\\u{2069}\\u{200f}",
            ),
            (
                "z\u{200b}w\u{feff}\u{2060}\u{ad}".as_bytes(),
                "z\\u{200b}w\\u{feff}\\u{2060}\\u{ad}",
            ),
            ("l\u{2028}p\u{2029}".as_bytes(), "l\\u{2028}p\\u{2029}"),
            ("\u{e0041}\u{e0100}".as_bytes(), "\\u{e0041}\\u{e0100}"),
            (
                "a\u{fe0f}\u{26a0}\u{fe0f}\u{fe0f}".as_bytes(),
                "a\\u{fe0f}\u{26a0}\u{fe0f}\\u{fe0f}",
            ),
        ] {
            for styles in [Styles::Show, Styles::Keep, Styles::Strip] {
                assert_eq!(
                    harmless(attack, styles),
                    expected,
                    "{:?}",
                    attack.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in [
            "",
            "a\tb\nc\n",
            "Grüße, 世界, עברית, \u{26a0}\u{fe0f} é e\u{301}",
            "^[ \\u{1b}",
        ] {
            assert_eq!(harmless(text.as_bytes(), Styles::Show), text);
        }
    }

    #[test]
    fn colours_are_kept_stripped_or_shown() {
        let red = b"\x1b[1m\x1b[38;5;9merror\x1b[0m: x\n";
        assert_eq!(
            harmless(red, Styles::Keep),
            "\u{1b}[1m\u{1b}[38;5;9merror\u{1b}[0m: x\n"
        );
        assert_eq!(harmless(red, Styles::Strip), "error: x\n");
        assert_eq!(
            harmless(red, Styles::Show),
            "^[[1m^[[38;5;9merror^[[0m: x\n"
        );
    }

    #[test]
    fn a_style_never_outlives_its_text() {
        for (text, expected) in [
            ("\u{1b}[91mred", "\u{1b}[91mred\u{1b}[0m"),
            ("\u{1b}[91mred\u{1b}[0m", "\u{1b}[91mred\u{1b}[0m"),
            ("\u{1b}[1m\u{1b}[39mx", "\u{1b}[1m\u{1b}[39mx\u{1b}[0m"),
            ("\u{1b}[1;mx", "\u{1b}[1;mx"),
            ("\u{1b}[0;1mx", "\u{1b}[0;1mx\u{1b}[0m"),
        ] {
            assert_eq!(harmless(text.as_bytes(), Styles::Keep), expected);
        }
    }

    #[test]
    fn only_harmless_attributes_are_colours() {
        for sequence in [
            "\u{1b}[8m",           // concealed
            "\u{1b}[5m",           // blinking
            "\u{1b}[7m",           // reversed
            "\u{1b}[30m",          // black
            "\u{1b}[37m",          // white
            "\u{1b}[40m",          // background
            "\u{1b}[1;41m",        // background among others
            "\u{1b}[38;5;0m",      // black, indexed
            "\u{1b}[38;5;232m",    // nearly black
            "\u{1b}[38;2;0;0;0m",  // black, direct
            "\u{1b}[48;5;1m",      // background, indexed
            "\u{1b}[38m",          // unfinished
            "\u{1b}[38;5m",        // unfinished
            "\u{1b}[4:3m",         // sub-parameters
            "\u{1b}[?1m",          // private
            "\u{1b}[>4;1m",        // key modifiers
            "\u{1b}[ 1m",          // intermediate byte
            "\u{1b}[1",            // no end
            "\u{1b}[1\nm",         // a control inside
            "\u{1b}[99999999999m", // no attribute
            "\u{1b}[0001m",        // no attribute rustc writes
            "\u{1b}[0;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0m",
            "\u{1b}\u{1b}[",
        ] {
            for styles in [Styles::Keep, Styles::Strip] {
                let shown = harmless(sequence.as_bytes(), styles);
                assert!(!shown.contains('\u{1b}'), "{sequence:?} became {shown:?}");
                assert!(shown.starts_with("^["), "{sequence:?} became {shown:?}");
            }
        }
        // What is left after a sequence was removed is not looked at as one again.
        assert_eq!(harmless(b"\x1b\x1b[1m[2J", Styles::Strip), "^[[2J");
    }

    #[test]
    fn nothing_powerful_survives_any_two_bytes() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let out = harmless(&[b'a', first, second, b'n'], Styles::Keep);
                assert!(
                    out.chars()
                        .all(|c| c == '\n' || c == '\t' || !c.is_control()),
                    "{first:02x} {second:02x}: {out:?}"
                );
            }
        }
    }

    #[test]
    fn values_stay_on_one_line() {
        assert_eq!(harmless_line("a\nb\tc\r\n\u{1b}"), "a\\nb\\tc^M\\n^[");
        assert_eq!(excerpt("short"), "short");
        let long = excerpt(&"ä".repeat(1000));
        assert_eq!(long.chars().count(), MAX_EXCERPT_CHARS + 1);
        assert!(long.ends_with('…'));
    }
}
