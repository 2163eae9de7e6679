//! "Did you mean": the name nearest to one that does not exist, by edit distance without regard to case.

/// How many edits a suggestion may be away, as in cargo.
const LIMIT: usize = 3;

/// Whether two names are near enough for a suggestion, and how far apart they are: the fewest insertions, deletions,
/// substitutions and swaps of neighbours.
pub(crate) fn distance(a: &str, b: &str) -> Option<usize> {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    if a.len().abs_diff(b.len()) > LIMIT {
        return None;
    }
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let substituted = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = substituted.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    Some(last[b.len()]).filter(|&distance| distance <= LIMIT)
}

/// The first of the candidates that are nearest to `wanted`, if any is near.
pub(crate) fn closest<'a>(
    wanted: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .filter_map(|candidate| Some((distance(wanted, candidate)?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// [`closest`] as a sentence; `kind` is what is being named (`package`, `target`, `feature`).
pub(crate) fn similar<'a>(
    wanted: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    kind: &str,
) -> Option<String> {
    closest(wanted, candidates).map(|name| format!("a {kind} with a similar name exists: `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits_up_to_the_limit() {
        for (a, b, expected) in [
            ("serde", "serde", Some(0)),
            ("Serde", "serde", Some(0)),
            ("sedre", "serde", Some(1)),
            ("serd", "serde", Some(1)),
            ("derive", "drive", Some(1)),
            ("", "abc", Some(3)),
            ("", "abcd", None),
            ("tokio", "serde", None),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn closest_prefers_the_nearest_then_the_first() {
        assert_eq!(closest("foo", ["fooo", "foo1", "fo"]), Some("fooo"));
        assert_eq!(closest("foo", ["barbar", "f0o"]), Some("f0o"));
        assert_eq!(closest("foo", ["quux-quux"]), None);
    }
}
