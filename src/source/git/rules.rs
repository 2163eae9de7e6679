//! Lists of patterns in the manner of `.gitignore`, as `package.include` and `package.exclude` are.

use gix::bstr::ByteSlice as _;
use gix::glob::pattern::Case;

/// The patterns of one list.
pub struct Rules {
    search: gix::ignore::Search,
}

impl Rules {
    /// The list of `lines`; of several that match, the last counts.
    pub fn new(lines: &[String]) -> Self {
        let mut search = gix::ignore::Search::default();
        let text = lines.join("\n");
        // Without a root no path is looked at, so that nothing can fail.
        let _ = search.add_patterns_buffer(
            text.as_bytes(),
            "Cargo.toml",
            None,
            gix::ignore::search::Ignore::default(),
        );
        Self { search }
    }

    /// Whether a pattern matches the file at `path`, or else a directory above it; the nearest one that is matched
    /// decides, and one that is matched by a pattern with `!` is not.
    pub fn matches(&self, path: &str) -> bool {
        let mut at = path;
        let mut is_directory = false;
        loop {
            let found = self.search.pattern_matching_relative_path(
                at.as_bytes().as_bstr(),
                Some(is_directory),
                Case::Sensitive,
            );
            if let Some(found) = found {
                return !found.pattern.is_negative();
            }
            match at.rsplit_once('/') {
                Some((above, _)) => at = above,
                None => return false,
            }
            is_directory = true;
        }
    }
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (lines, path, expected) in [
            (&["*.md"][..], "a/b.md", true),
            (&["/*.md"], "a/b.md", false),
            (&["a"], "a/b/c", true),
            (&["a/"], "a", false),
            (&["/a/b"], "x/a/b", false),
            (&["a/**"], "a/b/c", true),
            (&["*", "!keep"], "keep", false),
            (&["a", "!a/keep"], "a/keep", false),
            (&["a", "!a/keep"], "a/other", true),
            (&[], "a", false),
            (&["# no"], "# no", false),
        ] {
            let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            assert_eq!(
                Rules::new(&lines).matches(path),
                expected,
                "{lines:?} {path}"
            );
        }
    }
}
