//! What rustc writes to standard error with `--error-format=json`: one JSON object per line, taken apart.
//!
//! A compiler that works on hostile source is not to be believed more than the source: lines are bounded, whatever is
//! not understood is kept as text, and the text in a [`Diagnostic`] reaches a terminal only through
//! [`Diagnostic::shown`]. Deeply nested JSON (macro expansions) is not built in memory: the object is kept as it was
//! written and only the outermost fields are read.
//!
//! Source: "JSON Output" in the rustc book, cargo 1.95 (`compiler/mod.rs`, `on_stderr_line`).

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::text::{Styles, harmless};

/// The longest line that is read as JSON, in bytes. A longer one is kept as text, cut there.
pub const MAX_LINE_BYTES: usize = 32 << 20;
/// The most messages that one [`Reader`] gives out.
pub const MAX_MESSAGES: usize = 500_000;

/// How grave a diagnostic is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// `error: internal compiler error`
    InternalError,
    /// `error`
    Error,
    /// `warning`
    Warning,
    /// `failure-note`: what rustc adds after an error.
    FailureNote,
    /// `note`
    Note,
    /// `help`
    Help,
    /// Something that this rustc's documentation does not mention.
    Other(String),
}

impl From<String> for Level {
    fn from(level: String) -> Self {
        match level.as_str() {
            "error: internal compiler error" => Level::InternalError,
            "error" => Level::Error,
            "warning" => Level::Warning,
            "failure-note" => Level::FailureNote,
            "note" => Level::Note,
            "help" => Level::Help,
            _ => Level::Other(level),
        }
    }
}

/// One diagnostic.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// How grave it is.
    pub level: Level,
    /// The message without its place. Untrusted.
    pub message: String,
    /// The error code or the lint's name (`E0308`, `unused_variables`).
    pub code: Option<String>,
    /// As rustc would have printed it, with colours. Untrusted: see [`Diagnostic::shown`].
    pub rendered: Option<String>,
    /// Whether it holds a suggestion that can be applied by machine.
    pub machine_applicable: bool,
    /// The object as rustc wrote it.
    json: Box<RawValue>,
}

impl PartialEq for Diagnostic {
    fn eq(&self, other: &Self) -> bool {
        self.json.get() == other.json.get()
    }
}

impl Diagnostic {
    /// Whether it only counts the others (`aborting due to 2 previous errors`, `1 warning emitted`): cargo shows its
    /// own summary instead.
    pub fn is_summary(&self) -> bool {
        self.message.starts_with("aborting due to")
            || self.message.ends_with("warning emitted")
            || self.message.ends_with("warnings emitted")
    }

    /// What to print of it: rustc's rendering made harmless, with or without its colours, no line feed at the end.
    pub fn shown(&self, colours: bool) -> String {
        let styles = if colours { Styles::Keep } else { Styles::Strip };
        let rendered = self.rendered.as_deref().unwrap_or(&self.message);
        harmless(
            rendered.strip_suffix('\n').unwrap_or(rendered).as_bytes(),
            styles,
        )
    }

    /// The object as rustc wrote it.
    pub fn json(&self) -> &RawValue {
        &self.json
    }

    /// The object for the `message` field of cargo's `compiler-message`. `ansi` keeps the colours of `rendered` and the
    /// order of the fields; without it, the fields are in the order in which cargo writes them then. Either way
    /// `rendered` is made harmless, since the tools that read it tend to print it.
    pub fn cargo_json(&self, ansi: bool) -> Box<RawValue> {
        let Some(rendered) = &self.rendered else {
            return self.json.clone();
        };
        let styles = if ansi { Styles::Keep } else { Styles::Strip };
        let shown = harmless(rendered.as_bytes(), styles);
        if ansi && shown == *rendered {
            return self.json.clone();
        }
        self.rewritten(|object| {
            if ansi {
                object["rendered"] = Value::String(shown);
                return;
            }
            let (mut first, mut last) = (serde_json::Map::new(), serde_json::Map::new());
            first.insert("rendered".to_owned(), Value::String(shown));
            if let Value::Object(fields) = object {
                let mut fields = std::mem::take(fields);
                fields.remove("rendered");
                if let Some(mut code) = fields.shift_remove("code") {
                    code.sort_all_objects();
                    last.insert("code".to_owned(), code);
                }
                fields.sort_keys();
                for value in fields.values_mut() {
                    value.sort_all_objects();
                }
                first.append(&mut fields);
                first.append(&mut last);
            }
            *object = Value::Object(first);
        })
    }

    /// The same diagnostic with the paths of files replaced where `map` gives another: in every span, and wherever
    /// the rendering names one with a line number.
    #[must_use]
    pub fn with_paths(&self, map: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut replaced: Vec<(String, String)> = Vec::new();
        let mut rendered = self.rendered.clone();
        let json = self.rewritten(|object| {
            map_file_names(object, map, &mut replaced);
            // The longest first, so that a path is not taken for the end of another.
            replaced.sort_by_key(|(old, _)| std::cmp::Reverse(old.len()));
            if let Some(text) = &mut rendered {
                *text = replace_places(text, &replaced);
                object["rendered"] = Value::String(text.clone());
            }
        });
        Self {
            rendered,
            json,
            ..self.clone()
        }
    }

    /// The object after `change`, or as it was where it is nested too deeply to be read.
    fn rewritten(&self, change: impl FnOnce(&mut Value)) -> Box<RawValue> {
        let Ok(mut object) = serde_json::from_str::<Value>(self.json.get()) else {
            return self.json.clone();
        };
        change(&mut object);
        serde_json::value::to_raw_value(&object).unwrap_or_else(|_| self.json.clone())
    }
}

/// Depth is bounded by serde_json's own limit (128), which the value has passed.
fn map_file_names(
    value: &mut Value,
    map: &dyn Fn(&str) -> Option<String>,
    replaced: &mut Vec<(String, String)>,
) {
    match value {
        Value::Array(items) => {
            for item in items {
                map_file_names(item, map, replaced);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                match field {
                    Value::String(name) if key == "file_name" => {
                        if let Some(new) = map(name) {
                            let old = std::mem::replace(name, new.clone());
                            if !replaced.iter().any(|(known, _)| *known == old) {
                                replaced.push((old, new));
                            }
                        }
                    }
                    _ => map_file_names(field, map, replaced),
                }
            }
        }
        _ => {}
    }
}

/// Replaces `old:DIGIT` for every pair, wherever it does not continue a longer path.
fn replace_places(text: &str, pairs: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before: Option<char> = None;
    'text: while let Some(c) = rest.chars().next() {
        let starts = before
            .is_none_or(|b| !(b.is_alphanumeric() || matches!(b, '/' | '.' | '_' | '-')))
            || out.ends_with("\u{1b}[0m");
        if starts {
            for (old, new) in pairs {
                if let Some(after) = rest.strip_prefix(old.as_str())
                    && after
                        .strip_prefix(':')
                        .is_some_and(|a| a.starts_with(|d: char| d.is_ascii_digit()))
                {
                    out.push_str(new);
                    before = old.chars().next_back();
                    rest = after;
                    continue 'text;
                }
            }
        }
        out.push(c);
        before = Some(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// One line of rustc's standard error.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A warning or an error, or something that belongs to one.
    Diagnostic(Diagnostic),
    /// A file is complete.
    Artifact {
        /// Its path as rustc sees it.
        path: String,
        /// What it is: `link`, `metadata`, `dep-info`, …
        emit: String,
    },
    /// Uses of what a future rustc will refuse; reported at the end of a build, if asked for.
    FutureIncompat(Vec<Diagnostic>),
    /// Dependencies that the crate was given and does not use.
    UnusedExtern {
        /// The level of the lint.
        lint_level: String,
        /// Their names.
        names: Vec<String>,
    },
    /// JSON that is none of these; kept as it was written.
    Other(String),
    /// Anything else: a panic of the compiler, a log line, the output of a tool that rustc runs. Untrusted.
    Text(String),
}

impl Message {
    /// Reads one line, without its line feed.
    pub fn parse(line: &[u8]) -> Self {
        let text = || {
            Message::Text(
                String::from_utf8_lossy(&line[..line.len().min(MAX_LINE_BYTES)]).into_owned(),
            )
        };
        if line.len() > MAX_LINE_BYTES || !line.starts_with(b"{") {
            return text();
        }
        let Ok(line) = std::str::from_utf8(line) else {
            return text();
        };
        let Ok(json) = serde_json::from_str::<Box<RawValue>>(line) else {
            return text();
        };
        // By its fields and not by `$message_type`, which only newer compilers write.
        if let Ok(report) = serde_json::from_str::<WireReport>(line) {
            let diagnostics = report
                .future_incompat_report
                .iter()
                .filter_map(|item| diagnostic(&item.diagnostic))
                .collect();
            return Message::FutureIncompat(diagnostics);
        }
        if let Ok(artifact) = serde_json::from_str::<WireArtifact>(line) {
            return Message::Artifact {
                path: artifact.artifact,
                emit: artifact.emit,
            };
        }
        if let Ok(unused) = serde_json::from_str::<WireUnusedExtern>(line) {
            return Message::UnusedExtern {
                lint_level: unused.lint_level,
                names: unused.unused_extern_names,
            };
        }
        match diagnostic(&json) {
            Some(diagnostic) => Message::Diagnostic(diagnostic),
            None => Message::Other(line.to_owned()),
        }
    }
}

fn diagnostic(json: &RawValue) -> Option<Diagnostic> {
    let wire: WireDiagnostic = serde_json::from_str(json.get()).ok()?;
    Some(Diagnostic {
        machine_applicable: wire.children.iter().any(|child| {
            child
                .spans
                .iter()
                .any(|span| span.suggestion_applicability.as_deref() == Some("MachineApplicable"))
        }),
        level: wire.level.into(),
        message: wire.message,
        code: wire.code.map(|code| code.code),
        rendered: wire.rendered,
        json: json.to_owned(),
    })
}

#[derive(Deserialize)]
struct WireDiagnostic {
    message: String,
    level: String,
    code: Option<WireCode>,
    rendered: Option<String>,
    #[serde(default)]
    children: Vec<WireChild>,
}

#[derive(Deserialize)]
struct WireCode {
    code: String,
}

#[derive(Deserialize)]
struct WireChild {
    #[serde(default)]
    spans: Vec<WireSpan>,
}

#[derive(Deserialize)]
struct WireSpan {
    suggestion_applicability: Option<String>,
}

#[derive(Deserialize)]
struct WireArtifact {
    artifact: String,
    emit: String,
}

#[derive(Deserialize)]
struct WireReport {
    future_incompat_report: Vec<WireReportItem>,
}

#[derive(Deserialize)]
struct WireReportItem {
    diagnostic: Box<RawValue>,
}

#[derive(Deserialize)]
struct WireUnusedExtern {
    lint_level: String,
    unused_extern_names: Vec<String>,
}

/// Cuts a stream into lines and reads each: fed as the bytes come, so that a dependent can start once the metadata's
/// artifact was announced. What is beyond the bounds is dropped and said so once.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    given: usize,
}

impl Reader {
    /// Takes the next bytes of the stream, gives the messages that they complete.
    pub fn push(&mut self, mut bytes: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.extend(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.complete(&mut messages);
        }
        self.extend(bytes);
        messages
    }

    /// The stream has ended: gives the last message, if a line without line feed is left.
    pub fn finish(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        if !self.line.is_empty() {
            self.complete(&mut messages);
        }
        messages
    }

    fn extend(&mut self, bytes: &[u8]) {
        // One byte more than a line may have: enough to know that it is too long.
        let room = (MAX_LINE_BYTES + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn complete(&mut self, messages: &mut Vec<Message>) {
        let line = std::mem::take(&mut self.line);
        self.given = self.given.saturating_add(1);
        if self.given <= MAX_MESSAGES {
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            messages.push(Message::parse(line));
        } else if self.given == MAX_MESSAGES + 1 {
            messages.push(Message::Text(format!(
                "more than {MAX_MESSAGES} messages: the rest is not shown"
            )));
        }
    }
}

#[cfg(test)]
#[path = "rustc_tests.rs"]
mod tests;
