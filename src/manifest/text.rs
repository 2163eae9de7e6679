//! Where in a text something stands: what an error needs to point at a line.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A place in a file that was read: enough to name it as `path:line:column`, and to quote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Its whole text, as read.
    pub text: Arc<str>,
    /// The bytes of [`Place::text`] that are meant; within its bounds and on character boundaries.
    pub range: Range<usize>,
}

impl Place {
    /// The place `range` of the file `path` that holds `text`; a range that does not fit is cut to one that does.
    pub fn new(path: &Path, text: &str, range: Range<usize>) -> Self {
        let start = text.floor_char_boundary(range.start.min(text.len()));
        let end = text.ceil_char_boundary(range.end.clamp(start, text.len()));
        Self {
            path: path.to_owned(),
            text: text.into(),
            range: start..end,
        }
    }

    /// Line and column where it begins, both counted from 1; the column counts characters.
    pub fn line_column(&self) -> (usize, usize) {
        let before = &self.text[..self.range.start];
        let line = before.matches('\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (line, before[line_start..].chars().count() + 1)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_column();
        write!(f, "{}:{line}:{column}", self.path.display())
    }
}

/// Where the value stands that `keys` lead to in the TOML document `text`: the range of the innermost key that exists.
/// Array elements are led to by their index.
pub(crate) fn locate(text: &str, keys: &[String]) -> Option<Range<usize>> {
    let document = toml::de::DeTable::parse(text).ok()?;
    let mut found = None;
    let mut table = document.get_ref();
    let mut keys = keys.iter();
    while let Some(key) = keys.next() {
        let Some((name, value)) = table
            .iter()
            .find(|(name, _)| name.get_ref().as_ref() == key)
        else {
            break;
        };
        found = Some(name.span());
        let mut value = value;
        while let Some(array) = value.get_ref().as_array() {
            let Some(element) = keys
                .next()
                .and_then(|index| index.parse::<usize>().ok())
                .and_then(|index| array.get(index))
            else {
                return found;
            };
            found = Some(element.span());
            value = element;
        }
        match value.get_ref().as_table() {
            Some(inner) => table = inner,
            None => break,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_from_one() {
        let text = "a\nbç = 1\n";
        let cases = [
            (0..1, (1, 1)),
            (2..3, (2, 1)),
            (6..7, (2, 4)),
            (99..100, (3, 1)),
        ];
        for (range, expected) in cases {
            let place = Place::new(Path::new("x"), text, range.clone());
            assert_eq!(place.line_column(), expected, "{range:?}");
        }
    }

    #[test]
    fn keys_are_found_as_deep_as_they_go() {
        let text = "[features]\ndefault = []\n[[bin]]\nname = 'a'\n[[bin]]\nname = 'b'\n";
        let find = |keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            locate(text, &keys).map(|range| (range.start, &text[range]))
        };
        assert_eq!(find(&["features", "default"]), Some((11, "default")));
        assert_eq!(find(&["features", "missing"]), Some((1, "features")));
        assert_eq!(find(&["bin", "1", "name"]), Some((51, "name")));
        assert_eq!(find(&["nothing"]), None);
    }
}
