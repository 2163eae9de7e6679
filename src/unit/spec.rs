//! Package id specifications: the names by which users, profiles and cargo's JSON refer to packages.
//!
//! Parsing and printing are `cargo_util_schemas`'; here is how one meets a [`PackageId`].

use cargo_util_schemas::core::PackageIdSpec;

use crate::package::{GitReference, PackageId, SourceId, SourceKind};
use crate::unit::UnitError;
use crate::unit::suggest;

/// The specification that names `id` completely, as `cargo metadata` and `--unit-graph` print it:
/// `path+file:///dir/name#0.1.0`, `registry+https://index.example.com/#name@1.0.0`.
pub fn package_id_spec(id: &PackageId) -> String {
    let written = format!("{}#{}@{}", source_url(id.source()), id.name(), id.version());
    // cargo leaves the name out where it is the last part of the address; its own printer knows when.
    match PackageIdSpec::parse(&written) {
        Ok(spec) => spec.to_string(),
        Err(_) => written,
    }
}

/// Whether `spec` means `id`. Source: cargo's `PackageIdSpecQuery::matches`.
pub fn spec_matches(spec: &PackageIdSpec, id: &PackageId) -> bool {
    if spec.name() != id.name().as_str() {
        return false;
    }
    if let Some(version) = spec.partial_version()
        && !version.matches(id.version())
    {
        return false;
    }
    if spec.url().is_none() && spec.kind().is_none() {
        return true;
    }
    let Ok(whole) = PackageIdSpec::parse(&package_id_spec(id)) else {
        return false;
    };
    (spec.url().is_none() || spec.url() == whole.url())
        && (spec.kind().is_none() || spec.kind() == whole.kind())
}

/// The one package of `ids` that `spec` means.
///
/// # Errors
/// If it is no specification, or means no package or more than one.
pub fn find_package<'i>(
    spec: &str,
    ids: impl IntoIterator<Item = &'i PackageId>,
) -> Result<&'i PackageId, UnitError> {
    let ids: Vec<&PackageId> = ids.into_iter().collect();
    let parsed = PackageIdSpec::parse(spec).map_err(|source| UnitError::InvalidSpec {
        spec: spec.to_owned(),
        source,
    })?;
    let matching: Vec<&PackageId> = ids
        .iter()
        .copied()
        .filter(|id| spec_matches(&parsed, id))
        .collect();
    match matching.as_slice() {
        [one] => Ok(one),
        [] => Err(UnitError::NoSuchPackage {
            spec: spec.to_owned(),
            suggestion: suggestion(parsed.name(), &ids),
        }),
        several => Err(UnitError::AmbiguousPackage {
            spec: spec.to_owned(),
            candidates: telling_apart(several),
        }),
    }
}

/// What may have been meant by a specification of the package `name` that none of `ids` answers to.
pub(super) fn suggestion(name: &str, ids: &[&PackageId]) -> Option<String> {
    let same_name: Vec<&PackageId> = ids
        .iter()
        .copied()
        .filter(|id| id.name().as_str() == name)
        .collect();
    if same_name.is_empty() {
        return suggest::similar(name, ids.iter().map(|id| id.name().as_str()), "package");
    }
    let specs: Vec<String> = telling_apart(&same_name)
        .into_iter()
        .map(|spec| format!("`{spec}`"))
        .collect();
    Some(format!(
        "there are similar package specifications: {}",
        specs.join(", ")
    ))
}

/// For each package, the shortest specification that tells it from the others, which have the same name.
pub(super) fn telling_apart(packages: &[&PackageId]) -> Vec<String> {
    packages
        .iter()
        .map(|id| {
            let alike = packages
                .iter()
                .filter(|other| other.version() == id.version())
                .count();
            if alike == 1 {
                format!("{}@{}", id.name(), id.version())
            } else {
                package_id_spec(id)
            }
        })
        .collect()
}

/// The address of a source with the protocol that cargo puts in front.
fn source_url(source: &SourceId) -> String {
    match source.kind() {
        SourceKind::Path(_) => format!("path+{}", source.canonical_address()),
        SourceKind::Registry {
            is_crates_io: true,
            url,
        } => format!("registry+{url}"),
        SourceKind::Registry { url, .. } => format!("sparse+{url}"),
        SourceKind::Git { url, reference, .. } => {
            let (key, value) = match reference {
                GitReference::DefaultBranch => return format!("git+{url}"),
                GitReference::Branch(value) => ("branch", value),
                GitReference::Tag(value) => ("tag", value),
                GitReference::Rev(value) => ("rev", value),
            };
            let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
            format!("git+{url}?{key}={value}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::PackageName;

    fn id(name: &str, version: &str, source: SourceKind) -> PackageId {
        PackageId::new(
            PackageName::new(name).expect("a name"),
            version.parse().expect("a version"),
            SourceId::new(source),
        )
    }

    fn sparse(url: &str) -> SourceKind {
        SourceKind::Registry {
            is_crates_io: false,
            url: url.to_owned(),
        }
    }

    fn git(reference: GitReference) -> SourceKind {
        SourceKind::Git {
            url: "https://example.com/r/foo".to_owned(),
            reference,
            precise: None,
        }
    }

    #[test]
    fn specs_are_printed_as_cargo_prints_them() {
        for (id, expected) in [
            (
                id("foo", "0.1.0", SourceKind::Path("/tmp/foo".into())),
                "path+file:///tmp/foo#0.1.0",
            ),
            (
                id("foo", "0.1.0", SourceKind::Path("/tmp/a b/é#".into())),
                "path+file:///tmp/a%20b/%C3%A9%23#foo@0.1.0",
            ),
            (
                id("foo", "1.2.3+x", sparse("https://index.example.com/")),
                "sparse+https://index.example.com/#foo@1.2.3+x",
            ),
            (
                id("foo", "1.0.0", git(GitReference::Branch("a/b".to_owned()))),
                "git+https://example.com/r/foo?branch=a%2Fb#1.0.0",
            ),
            (
                id("bar", "1.0.0", git(GitReference::DefaultBranch)),
                "git+https://example.com/r/foo#bar@1.0.0",
            ),
        ] {
            assert_eq!(package_id_spec(&id), expected);
        }
        let id = PackageId::new(
            PackageName::new("foo").expect("a name"),
            "1.0.0".parse().expect("a version"),
            SourceId::default_registry(),
        );
        let expected = format!(
            "registry+{}#foo@1.0.0",
            crate::package::default_registry_in_lock()
        );
        assert_eq!(package_id_spec(&id), expected);
    }

    #[test]
    fn specs_match_by_the_parts_they_have() {
        let id = id("foo", "1.2.3", sparse("https://example.com/index/"));
        for (spec, expected) in [
            ("foo", true),
            ("bar", false),
            ("foo@1.2.3", true),
            ("foo:1.2.3", true),
            ("foo@1.2", true),
            ("foo@1", true),
            ("foo@1.3", false),
            ("sparse+https://example.com/index/#foo@1.2", true),
            ("sparse+https://example.com/other/#foo@1.2", false),
            ("registry+https://example.com/index/#foo@1.2", false),
        ] {
            let parsed = PackageIdSpec::parse(spec).expect("a specification");
            assert_eq!(spec_matches(&parsed, &id), expected, "{spec}");
        }
    }
}
