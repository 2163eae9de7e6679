//! One line of a sparse index is one version of a package: JSON in, [`Summary`] out. Pure.
//!
//! As in cargo, a line that cannot be read is skipped, and a line that says of itself that it is of a later schema is
//! set aside, so that a registry may grow new kinds of entries. Both are kept as [`Entry::Unusable`] where they at
//! least state their version, since "it exists, but" explains more than "there is no such version".
//! Source: the Cargo book, "Registry Index", and the types of `cargo-util-schemas`.

use std::collections::BTreeMap;

use cargo_util_schemas::index::{IndexPackage, RegistryDependency};
use memchr::memmem;
use semver::{Version, VersionReq};

use crate::digest::{Claimed, Sha256};
use crate::manifest::features::feature_map;
use crate::package::{
    Dependency, DependencyKind, FeatureName, PackageId, PackageName, SourceId, SourceKind, Summary,
    default_registry_in_lock, default_sparse_index,
};

/// The newest schema (`v`) of an entry that kiln understands: 2 has `features2`.
const NEWEST_SCHEMA: u32 = 2;

/// What one line of an index file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A version that may be used (or is yanked, which its summary says).
    Usable {
        /// What resolution needs to know of it.
        summary: Summary,
        /// When it was published, in seconds since 1970, where the index says so.
        published_unix_seconds: Option<i64>,
    },
    /// A version that exists, but that kiln does not understand.
    Unusable(Unusable),
}

/// A version that exists in the index and cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// The package's name, as the line spells it.
    pub name: String,
    /// The version.
    pub version: Version,
    /// Why it cannot be used.
    pub why: String,
}

/// A line that says not even which version it is about.
#[derive(Debug, thiserror::Error)]
#[error("a line of the index is not an entry")]
pub struct EntryError(#[source] serde_json::Error);

#[derive(serde::Deserialize)]
struct Minimum {
    name: String,
    vers: Version,
}

#[derive(serde::Deserialize)]
struct Schema {
    v: Option<u32>,
}

/// Reads one line. `source` is the registry that the index belongs to.
pub fn parse(line: &[u8], source: &SourceId) -> Result<Entry, EntryError> {
    let schema = |line| {
        serde_json::from_slice::<Schema>(line)
            .ok()
            .and_then(|schema| schema.v)
    };
    let unusable = |why: Result<String, serde_json::Error>| {
        let Minimum { name, vers } = match (serde_json::from_slice(line), &why) {
            (Ok(minimum), _) => minimum,
            (Err(error), _) => return Err(EntryError(error)),
        };
        let why = match schema(line) {
            Some(schema) if schema > NEWEST_SCHEMA => unknown_schema(schema),
            _ => why.unwrap_or_else(|error| error.to_string()),
        };
        Ok(Entry::Unusable(Unusable {
            name,
            version: vers,
            why,
        }))
    };
    let package: IndexPackage<'_> = match serde_json::from_slice(line) {
        Ok(package) => package,
        Err(error) => return unusable(Err(error)),
    };
    if let Some(schema) = package.v.filter(|schema| *schema > NEWEST_SCHEMA) {
        return unusable(Ok(unknown_schema(schema)));
    }
    let published_unix_seconds = package.pubtime.map(|time| time.as_second());
    match summary(package, source) {
        Ok(summary) => Ok(Entry::Usable {
            summary,
            published_unix_seconds,
        }),
        Err(why) => unusable(Ok(why)),
    }
}

fn unknown_schema(schema: u32) -> String {
    format!("its entry is of schema {schema}, and this kiln knows none after {NEWEST_SCHEMA}")
}

/// The error is a sentence: it explains to a person why one version of many is left out, and nothing branches on it.
fn summary(package: IndexPackage<'_>, source: &SourceId) -> Result<Summary, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let name = PackageName::new(&package.name).map_err(|error| text(&error))?;
    let dependencies = package
        .deps
        .into_iter()
        .map(|each| dependency(each, source))
        .collect::<Result<Vec<_>, _>>()?;
    let mut lists: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (feature, values) in package
        .features
        .iter()
        .chain(package.features2.iter().flatten())
    {
        let list = lists.entry(feature).or_default();
        list.extend(values.iter().map(|value| value.as_ref().to_owned()));
    }
    let lists = lists.iter().map(|(name, values)| (*name, &values[..]));
    let features = feature_map(lists, &dependencies).map_err(|error| text(&error))?;
    let checksum: Sha256 = package.cksum.parse().map_err(|error| text(&error))?;
    Ok(Summary {
        id: PackageId::new(name, package.vers, source.clone()),
        dependencies,
        features,
        links: package.links.map(|links| links.into_owned()),
        checksum: Some(Claimed(checksum)),
        rust_version: package.rust_version,
        yanked: package.yanked.unwrap_or(false),
    })
}

fn dependency(entry: RegistryDependency<'_>, own: &SourceId) -> Result<Dependency, String> {
    let key = PackageName::new(&entry.name).map_err(|error| error.to_string())?;
    if entry.artifact.is_some() {
        return Err(format!(
            "its dependency `{key}` is an artifact dependency, which stable cargo does not support either"
        ));
    }
    let (package, renamed) = match &entry.package {
        Some(package) => (
            PackageName::new(package).map_err(|error| error.to_string())?,
            Some(key),
        ),
        None => (key, None),
    };
    let requirement = VersionReq::parse(&entry.req).map_err(|error| {
        format!(
            "the requirement `{}` of its dependency `{package}` is none: {error}",
            entry.req
        )
    })?;
    let platform = match entry.target.as_deref() {
        Some(target) => Some(target.parse().map_err(|error| {
            format!("the target of its dependency `{package}` cannot be read: {error}")
        })?),
        None => None,
    };
    Ok(Dependency {
        requirement,
        has_version: true,
        source: match entry.registry.as_deref() {
            Some(address) => registry_source(address)?,
            None => own.clone(),
        },
        kind: match entry.kind.as_deref() {
            Some("dev") => DependencyKind::Development,
            Some("build") => DependencyKind::Build,
            _ => DependencyKind::Normal,
        },
        optional: entry.optional,
        default_features: entry.default_features,
        // Old entries hold empty names, which mean nothing.
        features: entry
            .features
            .iter()
            .filter(|feature| !feature.is_empty())
            .map(|feature| FeatureName::new(feature).map_err(|error| error.to_string()))
            .collect::<Result<_, _>>()?,
        platform,
        public: entry.public.unwrap_or(false),
        package,
        renamed,
    })
}

/// The source that the index address of a registry stands for (`sparse+https://…`, or the default registry's).
pub fn registry_source(address: &str) -> Result<SourceId, String> {
    if address == default_registry_in_lock() {
        return Ok(SourceId::default_registry());
    }
    match address.strip_prefix("sparse+") {
        Some(address) if address == default_sparse_index() => Ok(SourceId::default_registry()),
        Some(address) => Ok(SourceId::new(SourceKind::Registry {
            is_crates_io: false,
            url: address.to_owned(),
        })),
        None => Err(format!(
            "the registry `{address}` has a git index, and kiln reads sparse ones only"
        )),
    }
}

/// The lines of an index file.
pub fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr::memchr_iter(b'\n', file)
        .chain(std::iter::once(file.len()))
        .map(move |end| {
            let line = &file[start.min(end)..end];
            start = end + 1;
            line
        })
        .filter(|line| !line.trim_ascii().is_empty())
}

/// The entry of one version, found without reading the others. Of several lines about it the last counts, as in
/// cargo. `None` if the file has no such line.
pub fn find(
    file: &[u8],
    name: &PackageName,
    version: &Version,
    source: &SourceId,
) -> Option<Entry> {
    let about = |line: &[u8]| {
        let entry = parse(line, source).ok()?;
        let (entry_name, entry_version) = match &entry {
            Entry::Usable { summary, .. } => (summary.id.name().as_str(), summary.id.version()),
            Entry::Unusable(unusable) => (unusable.name.as_str(), &unusable.version),
        };
        (entry_name == name.as_str() && entry_version == version).then_some(entry)
    };
    // The version in quotes: registries differ in the spaces before it. A line that has it elsewhere is about another
    // version, which reading it tells; a version spelled with escapes is found by reading the file in full below.
    let needle = format!("\"{version}\"");
    // Searching forwards is several times as fast as backwards, and almost always there is one match.
    let matches: Vec<usize> = memmem::find_iter(file, needle.as_bytes()).collect();
    for at in matches.into_iter().rev() {
        let start = memchr::memrchr(b'\n', &file[..at]).map_or(0, |newline| newline + 1);
        let end = memchr::memchr(b'\n', &file[at..]).map_or(file.len(), |length| at + length);
        if let Some(entry) = about(&file[start..end]) {
            return Some(entry);
        }
    }
    lines(file).filter_map(about).last()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::FeatureValue;

    const SUM: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn line(rest: &str) -> String {
        format!(r#"{{"name":"a","vers":"1.0.0","cksum":"{SUM}","yanked":false,{rest}}}"#)
    }

    fn usable(text: &str) -> Summary {
        match parse(text.as_bytes(), &SourceId::default_registry()) {
            Ok(Entry::Usable { summary, .. }) => summary,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_whole_entry() {
        let summary = usable(&line(
            r#""deps":[
            {"name":"short","package":"long-name","req":"^1.2","features":["","x"],"optional":true,
             "default_features":false,"target":"cfg(unix)","kind":"normal","public":true},
            {"name":"b","req":"*","features":[],"optional":false,"default_features":true,"target":null,"kind":"build",
             "registry":"sparse+https://registry.example.com/index/"},
            {"name":"d","req":"1","kind":"dev"}],
            "features":{"default":["short"]},"features2":{"default":["short?/x"],"extra":["dep:short"]},
            "links":"z","rust_version":"1.70","v":2,"pubtime":"2025-11-12T19:30:12Z","new-key":[1]"#,
        )
        .replace('\n', " ")
        .replace(r#""default":["short"]"#, r#""default":["extra"]"#));
        assert_eq!(summary.id.to_string(), "a v1.0.0");
        assert_eq!(summary.links.as_deref(), Some("z"));
        assert_eq!(
            summary.rust_version.as_ref().map(ToString::to_string),
            Some("1.70".to_owned())
        );
        let [short, b, d] = &summary.dependencies[..] else {
            panic!("{:?}", summary.dependencies)
        };
        assert_eq!(short.package, "long-name");
        assert_eq!(short.name_in_manifest(), &"short");
        assert!(short.optional && !short.default_features && short.public);
        assert_eq!(short.features.len(), 1);
        assert_eq!(
            short.platform.as_ref().map(ToString::to_string),
            Some("cfg(unix)".to_owned())
        );
        assert_eq!(
            (b.kind, d.kind),
            (DependencyKind::Build, DependencyKind::Development)
        );
        assert!(
            matches!(b.source.kind(), SourceKind::Registry { is_crates_io: false, url }
            if url == "https://registry.example.com/index/")
        );
        assert!(d.source.is_crates_io() && d.default_features);
        let lists: Vec<(&str, usize)> = summary
            .features
            .iter()
            .map(|(name, values)| (name.as_str(), values.len()))
            .collect();
        assert_eq!(
            lists,
            [("default", 2), ("extra", 1)],
            "no implicit feature `short`"
        );
    }

    #[test]
    fn optional_dependencies_imply_features() {
        let summary = usable(&line(
            r#""deps":[{"name":"x","req":"1","optional":true},{"name":"y","req":"1","optional":true}],"features":{"y":["x/std"]}"#,
        ).replace(r#""y":["x/std"]"#, r#""z":["y/std"]"#));
        let names: Vec<_> = summary.features.keys().map(FeatureName::as_str).collect();
        assert_eq!(names, ["x", "y", "z"]);
        assert!(
            matches!(&summary.features["x"][..], [FeatureValue::Dependency(name)] if *name == "x")
        );
    }

    #[test]
    fn what_is_left_out_and_why() {
        let registry = SourceId::default_registry();
        for (rest, why) in [
            (r#""deps":[],"features":{},"v":3"#, "schema 3"),
            (r#""deps":{"from":"the future"},"v":9"#, "schema 9"),
            (r#""deps":[{"name":"b","req":"not one"}]"#, "not one"),
            (
                r#""deps":[{"name":"b","req":"1","target":"cfg("}]"#,
                "target",
            ),
            (
                r#""deps":[{"name":"b","req":"1","registry":"https://example.com/index"}]"#,
                "git index",
            ),
            (
                r#""deps":[{"name":"b","req":"1","artifact":["bin"]}]"#,
                "artifact",
            ),
            (r#""deps":[],"features":{"f":["nothing"]}"#, "neither"),
            (
                r#""deps":[],"features":{"f":["dep:nothing"]}"#,
                "not a dependency",
            ),
            (
                r#""deps":[{"name":"b","req":"1"}],"features":{"f":["b?/x"]}"#,
                "not optional",
            ),
            (
                r#""deps":[{"name":"b","req":"1"}],"features":{"f":["b"]}"#,
                "not optional",
            ),
            (
                r#""deps":[{"name":"b","req":"1","optional":true}],"features":{"f":["dep:b/x"]}"#,
                "`dep:` and `/`",
            ),
            (
                r#""deps":[{"name":"b","req":"1","optional":true}],"features":{"b":[]}"#,
                "no feature enables",
            ),
            (
                r#""deps":[{"name":"b","req":"1","optional":true,"kind":"dev"}]"#,
                "dev-dependency",
            ),
            (r#""deps":[],"features":{"a b":[]}"#, "a b"),
        ] {
            match parse(line(rest).as_bytes(), &registry) {
                Ok(Entry::Unusable(unusable)) => {
                    assert!(unusable.why.contains(why), "{rest}: {}", unusable.why);
                    assert_eq!(unusable.version, Version::new(1, 0, 0));
                }
                other => panic!("{rest}: {other:?}"),
            }
        }
        for garbage in [
            "",
            "{}",
            "null",
            r#"{"name":"a","vers":"one"}"#,
            "{\"name\":\"a\"",
        ] {
            assert!(parse(garbage.as_bytes(), &registry).is_err(), "{garbage}");
        }
        let bad_sum = line(r#""deps":[]"#).replace(SUM, "abc");
        assert!(matches!(
            parse(bad_sum.as_bytes(), &registry),
            Ok(Entry::Unusable(_))
        ));
    }

    #[test]
    fn finds_one_version_among_many() {
        let entry = |version: &str, links: &str| {
            line(&format!(r#""deps":[],"links":"{links}""#)).replacen("1.0.0", version, 1)
        };
        let versions = ["0.9.0", "1.0.0", "1.0.0+b", "1.0.0-rc.1", "11.0.0"];
        let mut file: String = versions
            .iter()
            .map(|version| entry(version, version) + "\n")
            .collect();
        file.push_str("garbage \"vers\":\"7.0.0\"\n");
        file.push_str(&entry("0.9.0", "again"));
        let spaced = file.replace("\"vers\":", "\"vers\" : ");
        for file in [&file, &spaced] {
            for version in versions {
                let wanted: Version = version.parse().expect("a version");
                let found = find(
                    file.as_bytes(),
                    &PackageName::new("a").expect("a name"),
                    &wanted,
                    &SourceId::default_registry(),
                );
                let Some(Entry::Usable { summary, .. }) = found else {
                    panic!("{version}: {found:?}")
                };
                let expected = if version == "0.9.0" { "again" } else { version };
                assert_eq!(summary.links.as_deref(), Some(expected));
            }
            for (name, version) in [("a", "7.0.0"), ("a", "1.0.1"), ("A", "1.0.0")] {
                assert_eq!(
                    find(
                        file.as_bytes(),
                        &PackageName::new(name).expect("a name"),
                        &version.parse().expect("a version"),
                        &SourceId::default_registry(),
                    ),
                    None
                );
            }
        }
    }

    #[test]
    fn no_line_makes_it_panic() {
        let good = line(
            r#""deps":[{"name":"short","package":"long-name","req":"^1.2","features":["x"],"optional":true,
             "target":"cfg(all(unix, not(target_os = \"é\")))","kind":"dev","registry":"sparse+https://example.com/"}],
            "features":{"default":["short?/x","dep:short"]},"links":"z","rust_version":"1.70","v":2"#,
        );
        let source = SourceId::default_registry();
        let mut state = 1u32;
        let mut random = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        for _ in 0..3000 {
            let mut bytes = good.clone().into_bytes();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                match random(4) {
                    0 => bytes[at] = random(256) as u8,
                    1 => bytes[at] = b"\"{}[]:,/?-_0"[random(12)],
                    2 => drop(bytes.remove(at)),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            let _ = parse(&bytes, &source);
        }
    }

    #[test]
    fn lines_of_a_file() {
        for (file, expected) in [
            ("", vec![]),
            ("\n", vec![]),
            ("a", vec!["a"]),
            ("a\n", vec!["a"]),
            ("a\n\nb\r\n", vec!["a", "b\r"]),
        ] {
            let found: Vec<_> = lines(file.as_bytes())
                .map(String::from_utf8_lossy)
                .collect();
            assert_eq!(found, expected, "{file:?}");
        }
    }
}
