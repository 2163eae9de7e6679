//! What source text refers to outside of its package: `include_str!("../../README.md")`, `#[path = "../common/mod.rs"]`,
//! `compile_protos(&["../proto/x.proto"])`.
//!
//! Text is not parsed. Whatever stands between quotes on one line and has a `..` among its components is taken for a
//! path, in comments, too: one input more than needed does no harm. Whether it is relative to the file, to the package or
//! to its `src` depends on who reads it, so it is taken in each way; what is not there is nobody's input.

use memchr::memmem::Finder;

/// Longer texts between quotes are no paths.
const LONGEST: usize = 1024;

/// The paths below the workspace's root that `text` may refer to. It is that of a file in the directory `directory` of
/// the package in `package`, both as components from the workspace's root.
pub(super) fn of_text(text: &[u8], directory: &[&str], package: &[&str]) -> Vec<String> {
    let finder = Finder::new("..");
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = finder.find(&text[from..]).map(|at| from + at) {
        from = at + 2;
        let Some((literal, end)) = quoted(text, at) else {
            continue;
        };
        from = from.max(end);
        let Some(parts) = parts(literal) else {
            continue;
        };
        let source: Vec<&str> = package.iter().copied().chain(["src"]).collect();
        for base in [directory, package, &source] {
            found.extend(resolve(base, &parts));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// What stands between quotes around `at`, and where it ends.
fn quoted(text: &[u8], at: usize) -> Option<(&str, usize)> {
    let before = &text[at.saturating_sub(LONGEST)..at];
    let start = memchr::memrchr2(b'"', b'\n', before)?;
    if before[start] != b'"' {
        return None;
    }
    let start = at - before.len() + start + 1;
    let after = &text[at..text.len().min(at + LONGEST)];
    let end = at + memchr::memchr2(b'"', b'\n', after)?;
    if text[end] != b'"' {
        return None;
    }
    Some((std::str::from_utf8(&text[start..end]).ok()?, end))
}

/// The components of a text that may be a path that leads up, as far as they are fixed.
fn parts(literal: &str) -> Option<Vec<&str>> {
    let implausible = |c: char| c.is_control() || matches!(c, '\\' | '<' | '>' | '|' | '`' | ';');
    if literal.contains(implausible) || literal.contains("://") {
        return None;
    }
    let open = |part: &&str| part.contains(['*', '?', '[', '{', '$', '%']);
    let parts: Vec<&str> = literal
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    // `$CARGO_MANIFEST_DIR/../x`, `{dir}/../x`: what comes first is the directory of something that is known.
    let first = parts.iter().take_while(|part| open(part)).count();
    let fixed: Vec<&str> = parts[first..]
        .iter()
        .take_while(|part| !open(part))
        .copied()
        .collect();
    fixed.contains(&"..").then_some(fixed)
}

/// `parts` from `base`, if that is below the root.
pub(super) fn resolve(base: &[&str], parts: &[&str]) -> Option<String> {
    let mut path: Vec<&str> = base.to_vec();
    for part in parts {
        if *part == ".." {
            path.pop()?;
        } else {
            path.push(part);
        }
    }
    (!path.is_empty()).then(|| path.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        of_text(
            text.as_bytes(),
            &["crates", "a", "src", "x"],
            &["crates", "a"],
        )
    }

    #[test]
    fn paths_are_found_wherever_they_may_start_from() {
        assert_eq!(
            found("#![doc = include_str!(\"../../../../README.md\")]"),
            ["README.md"]
        );
        assert_eq!(
            found("build(&[\"../../proto/x.proto\"])"),
            [
                "crates/a/proto/x.proto",
                "crates/proto/x.proto",
                "proto/x.proto"
            ]
        );
        assert_eq!(
            found("concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/../b/t.json\")"),
            [
                "crates/a/b/t.json",
                "crates/a/src/b/t.json",
                "crates/b/t.json"
            ]
        );
        assert!(found("include_dir!(\"$CARGO_MANIFEST_DIR/../../w\")").contains(&"w".to_owned()));
        assert!(found("format!(\"../../m/{n}.sql\")").contains(&"m".to_owned()));
        assert!(found(r##"r#"../../q"#"##).contains(&"q".to_owned()));
    }

    #[test]
    fn what_is_no_path_is_not_taken_for_one() {
        for text in [
            "let x = 1..2; // \"a\"",
            "\"a..b\"",
            "\"0..=9\"",
            "../../README.md",
            "\"https://example.com/../x\"",
            "\"unclosed ../..\n\"",
            "\"../../../../../../../above\"",
            "\"..\\\\x\"",
        ] {
            let found = found(text);
            assert_eq!(found, Vec::<String>::new(), "{text}");
        }
        // Any bytes at all.
        for bytes in [&b"\"\xff../x\""[..], b"..", b"\"..", b"..\"", b"\"..\""] {
            of_text(bytes, &["a"], &["a"]);
        }
    }
}
