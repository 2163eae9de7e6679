//! What an index file has to say, version by version: a table that is kept beside the file, so that what is looked at
//! of a package is read and nothing else. Making the table reads every line in full, once for each change of the file.
//!
//! ```text
//! kiln-entries 1 0.1.0                 rules by which lines were judged: those of this program, or the table is made anew
//! n serde                              the versions of this name, ascending
//! 0 1.0.0 - -                          where its line begins, version, `y` if it is withdrawn, Rust version
//! 812 1.0.1 y 1.56
//! x 1644                               a line that states a version, and cannot be used
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use cargo_util_schemas::manifest::RustVersion;
use semver::Version;

use super::cache::Cached;
use super::entry::{self, Entry, Unusable};
use crate::package::{Offer, PackageId, PackageName, Reader, SourceId};

/// First words of a table. What [`entry::parse`] takes decides what is in it, so this changes with that.
const RULES: &str = concat!("kiln-entries 1 ", env!("CARGO_PKG_VERSION"));

/// All that a registry's index says of one name.
#[derive(Debug, Clone, Default)]
pub struct PackageIndex {
    /// Whether the registry has a file for the name.
    pub exists: bool,
    /// The versions that may be considered, ascending, withdrawn ones included.
    pub offers: Arc<[Offer]>,
    /// Versions that exist and cannot be used, with the reason.
    pub unusable: Vec<Unusable>,
    /// The package's own spelling, where it differs from the name that was asked for (`-`, `_`, upper case).
    pub spelled: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    place: usize,
    version: Version,
    yanked: bool,
    rust_version: Option<RustVersion>,
}

/// See the module.
#[derive(Debug, Default, PartialEq, Eq)]
struct Listing {
    names: Vec<(String, Vec<Row>)>,
    unusable: Vec<usize>,
}

impl Listing {
    /// Reads `file` in full. What a line says does not depend on whose it is, so neither does the table.
    fn of(file: &[u8]) -> Self {
        let source = SourceId::default_registry();
        // Of several lines about one version the last counts.
        let mut entries: BTreeMap<(String, Version), Result<Row, usize>> = BTreeMap::new();
        for line in entry::lines(file) {
            let place = line.as_ptr() as usize - file.as_ptr() as usize;
            match entry::parse(line, &source) {
                Ok(Entry::Usable { summary, .. }) => {
                    let row = Row {
                        place,
                        version: summary.id.version().clone(),
                        yanked: summary.yanked,
                        rust_version: summary.rust_version,
                    };
                    let key = (summary.id.name().to_string(), row.version.clone());
                    entries.insert(key, Ok(row));
                }
                Ok(Entry::Unusable(unusable)) => {
                    entries.insert((unusable.name, unusable.version), Err(place));
                }
                Err(_) => {}
            }
        }
        let mut listing = Self::default();
        for ((name, _), entry) in entries {
            match (entry, listing.names.last_mut()) {
                (Err(place), _) => listing.unusable.push(place),
                (Ok(row), Some((last, rows))) if *last == name => rows.push(row),
                (Ok(row), _) => listing.names.push((name, vec![row])),
            }
        }
        listing
    }

    fn encode(&self) -> Vec<u8> {
        let mut text = format!("{RULES}\n");
        for (name, rows) in &self.names {
            text.push_str(&format!("n {name}\n"));
            for row in rows {
                let yanked = if row.yanked { "y" } else { "-" };
                text.push_str(&format!("{} {} {yanked} ", row.place, row.version));
                match &row.rust_version {
                    Some(version) => text.push_str(&format!("{version}\n")),
                    None => text.push_str("-\n"),
                }
            }
        }
        for place in &self.unusable {
            text.push_str(&format!("x {place}\n"));
        }
        text.into_bytes()
    }

    /// The table, if it was made by the rules of this program.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(bytes).ok()?.lines();
        if lines.next()? != RULES {
            return None;
        }
        let mut listing = Self::default();
        for line in lines {
            let (first, rest) = line.split_once(' ')?;
            match first {
                "n" => listing.names.push((rest.to_owned(), Vec::new())),
                "x" => listing.unusable.push(rest.parse().ok()?),
                place => {
                    let mut words = rest.split(' ');
                    let row = Row {
                        place: place.parse().ok()?,
                        version: Version::parse(words.next()?).ok()?,
                        yanked: words.next()? == "y",
                        rust_version: match words.next()? {
                            "-" => None,
                            version => Some(version.parse().ok()?),
                        },
                    };
                    listing.names.last_mut()?.1.push(row);
                }
            }
        }
        Some(listing)
    }
}

/// The table of an index file, as it is kept beside it.
pub(super) fn table(file: &[u8]) -> Vec<u8> {
    Listing::of(file).encode()
}

/// The line that begins at `place`.
fn line(file: &[u8], place: usize) -> &[u8] {
    let rest = file.get(place..).unwrap_or_default();
    let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    &rest[..end]
}

impl PackageIndex {
    /// What `file` says of `name`, whose versions are of `source`.
    pub(super) fn new(file: &Cached, name: &PackageName, source: &SourceId) -> Self {
        let listing = Listing::decode(file.table()).unwrap_or_else(|| Listing::of(file.body()));
        let mut index = Self {
            exists: true,
            ..Self::default()
        };
        let foreign = |spelled: &str| Some(spelled.chars().take(100).collect());
        let reader: Reader = {
            let (file, source) = (file.clone(), source.clone());
            Arc::new(
                move |place| match entry::parse(line(file.body(), place), &source) {
                    Ok(Entry::Usable { summary, .. }) => Some(summary),
                    Ok(Entry::Unusable(_)) | Err(_) => None,
                },
            )
        };
        for (spelled, rows) in listing.names {
            if spelled != name.as_str() {
                index.spelled = foreign(&spelled);
                continue;
            }
            let offer = |row: Row| {
                let id = PackageId::new(name.clone(), row.version, source.clone());
                Offer::unread(id, row.yanked, row.rust_version, reader.clone(), row.place)
            };
            index.offers = rows.into_iter().map(offer).collect();
        }
        for place in listing.unusable {
            if let Ok(Entry::Unusable(unusable)) = entry::parse(line(file.body(), place), source) {
                if unusable.name == name.as_str() {
                    index.unusable.push(unusable);
                } else {
                    index.spelled = foreign(&unusable.name);
                }
            }
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn entry(name: &str, version: &str, rest: &str) -> String {
        format!(
            r#"{{"name":"{name}","vers":"{version}","deps":[],"features":{{}},"cksum":"{SUM}"{rest}}}"#
        ) + "\n"
    }

    fn file() -> String {
        [
            entry("a", "2.0.0", ""),
            entry("a", "1.0.0", ""),
            "garbage\n".to_owned(),
            entry("a", "3.0.0", r#","v":7"#),
            entry("a", "1.0.0", r#","yanked":true,"rust_version":"1.60""#),
            entry("a", "1.0.0+b", ""),
            entry("a", "0.9.0", ""),
            entry("a", "0.9.0", r#","v":9"#),
            entry("A", "1.5.0", ""),
            entry("a\\nn b", "1.5.0", ""),
        ]
        .concat()
    }

    #[test]
    fn an_index_file_with_lines_to_skip() {
        let name = PackageName::new("a").expect("a name");
        let body = file().into_bytes();
        for table in [table(&body), b"kiln-entries of another time\n".to_vec()] {
            let cached = Cached::new(super::super::cache::Validator::None, &table, &body);
            let index = PackageIndex::new(&cached, &name, &SourceId::default_registry());
            let versions: Vec<_> = index
                .offers
                .iter()
                .map(|offer| {
                    assert!(!offer.is_lost());
                    assert_eq!(offer.summary().yanked, offer.yanked());
                    assert_eq!(offer.summary().rust_version.as_ref(), offer.rust_version());
                    format!(
                        "{} {} {}",
                        offer.version(),
                        offer.yanked(),
                        offer
                            .rust_version()
                            .map_or(String::new(), ToString::to_string)
                    )
                })
                .collect();
            assert_eq!(
                versions,
                ["1.0.0 true 1.60", "1.0.0+b false ", "2.0.0 false "]
            );
            assert_eq!(index.unusable.len(), 2);
            assert!(index.spelled.is_some());
        }
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let listing = Listing::of(file().as_bytes());
        assert_eq!(listing.names.len(), 2);
        assert_eq!(Listing::decode(&listing.encode()), Some(listing));
        for broken in [
            "",
            "kiln-entries 0 0\nn a\n",
            &format!("{RULES}\n1 1.0.0 - -\n"),
            &format!("{RULES}\nn a\n1 x - -\n"),
            &format!("{RULES}\nn a\n99999999999999999999999 1.0.0 - -\n"),
        ] {
            assert_eq!(Listing::decode(broken.as_bytes()), None, "{broken}");
        }
        assert_eq!(line(b"a\nb", 9), b"");
    }
}
