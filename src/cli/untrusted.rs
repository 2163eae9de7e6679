//! The output of programs that are run in a sandbox: to a terminal only what is harmless there, to anything else as it
//! is.

use std::io::{IsTerminal as _, Write};

use crate::message::text::{Styles, harmless};

/// The longest end of a piece that is held back because it may go on: a character, an escape sequence.
const MOST_HELD: usize = 40;

/// One of the two streams.
pub(super) struct Output {
    stream: Box<dyn Write>,
    /// `None`: not a terminal.
    styles: Option<Styles>,
    /// What came last and may not be complete.
    held: Vec<u8>,
}

impl Output {
    /// Standard output.
    pub(super) fn stdout(colors: bool) -> Self {
        Self::new(std::io::stdout(), std::io::stdout().is_terminal(), colors)
    }

    /// Standard error.
    pub(super) fn stderr(colors: bool) -> Self {
        Self::new(std::io::stderr(), std::io::stderr().is_terminal(), colors)
    }

    fn new(stream: impl Write + 'static, is_terminal: bool, colors: bool) -> Self {
        let styles = if colors { Styles::Keep } else { Styles::Strip };
        Self {
            stream: Box::new(stream),
            styles: is_terminal.then_some(styles),
            held: Vec::new(),
        }
    }

    /// Shows the next piece.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        let Some(styles) = self.styles else {
            self.put(bytes);
            return;
        };
        self.held.extend_from_slice(bytes);
        let complete = self.held.len() - incomplete_end(&self.held);
        let text = harmless(&self.held[..complete], styles);
        self.held.drain(..complete);
        self.put(text.as_bytes());
    }

    /// Shows what was held back.
    pub(super) fn end(&mut self) {
        if let Some(styles) = self.styles {
            let text = harmless(&std::mem::take(&mut self.held), styles);
            self.put(text.as_bytes());
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        // Nobody may be reading any more; the program that prints is to end by itself all the same.
        let _ = self.stream.write_all(bytes);
        let _ = self.stream.flush();
    }
}

/// How many bytes at the end of `bytes` may be the beginning of something longer.
fn incomplete_end(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(MOST_HELD)..];
    if let Some(escape) = tail.iter().rposition(|byte| *byte == 0x1b)
        && tail[escape..]
            .iter()
            .skip(1)
            .all(|byte| *byte == b'[' || *byte == b';' || byte.is_ascii_digit())
    {
        return tail.len() - escape;
    }
    if tail.last() == Some(&b'\r') {
        return 1;
    }
    match std::str::from_utf8(tail) {
        Err(error) if error.error_len().is_none() => tail.len() - error.valid_up_to(),
        Ok(_) | Err(_) => {
            // An error in the middle hides the end.
            let last = tail.utf8_chunks().last();
            last.map_or(0, |chunk| {
                let invalid = chunk.invalid();
                let may_go_on =
                    std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
                if may_go_on { invalid.len() } else { 0 }
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_go_on_is_held_back() {
        for (bytes, held) in [
            (&b"test a ... "[..], 0),
            (b"ok\n", 0),
            (b"\x1b[3", 3),
            (b"\x1b", 1),
            (b"\x1b[32m", 0),
            (b"a\r", 1),
            ("é".as_bytes(), 0),
            (&"é".as_bytes()[..1], 1),
            (b"\xff\xe2\x82", 2),
            (b"\xff", 0),
        ] {
            assert_eq!(incomplete_end(bytes), held, "{bytes:?}");
        }
    }
}
