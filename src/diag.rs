//! What an error has to tell a person: what went wrong, where, why, and what to do about it.
//!
//! Modules have error types of their own; [`Report`] is what becomes of any of them on the way to the terminal. Only
//! `cli` renders it.

use std::error::Error;
use std::ops::Range;
use std::path::PathBuf;

/// An excerpt of a text file that an error points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// The file.
    pub path: PathBuf,
    /// Its whole text.
    pub text: String,
    /// The bytes that are meant.
    pub range: Range<usize>,
    /// What is wrong with them.
    pub label: String,
}

/// An error and its causes in one line, for where only text can go.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

/// An error on its way to a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// A stable name, such as `source::checksum`.
    pub code: String,
    /// What went wrong.
    pub message: String,
    /// Where: files and addresses.
    pub places: Vec<String>,
    /// Why, from the nearest cause to the root.
    pub causes: Vec<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// The text that is meant.
    pub snippet: Option<Snippet>,
}

impl Report {
    /// The report of `error`, its chain of causes included.
    pub fn new(code: impl Into<String>, error: &(dyn Error + 'static)) -> Self {
        let mut causes = Vec::new();
        let mut next = error.source();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        Self {
            code: code.into(),
            message: error.to_string(),
            causes,
            ..Self::default()
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// Adds where it happened.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.places.push(place.into());
        self
    }
}
