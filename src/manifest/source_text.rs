//! Sources as `Cargo.lock` and `cargo metadata` write them: `registry+URL`, `sparse+URL`, `git+URL?branch=b#commit`.

use std::fmt::Write as _;

use url::Url;

use crate::package::{
    GitReference, SourceId, SourceKind, canonical_url, default_registry_in_lock,
    default_sparse_index,
};

/// How the reference of a git source is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UrlEncoding {
    /// As it is (lock versions 1 to 3, `cargo metadata`).
    Plain,
    /// As a URL's query demands (lock version 4).
    Encoded,
}

/// Why a text names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceTextError {
    /// It has no protocol that is known.
    #[error(
        "`{0}` is not a source: `registry+`, `sparse+`, `git+` or `path+` and an address are expected"
    )]
    Protocol(String),
    /// What follows the protocol is not a URL.
    #[error("`{url}` is not an address: {why}")]
    Url {
        /// The text.
        url: String,
        /// What the URL parser says.
        why: String,
    },
    /// The index of the registry is a git repository.
    #[error("the index of the registry `{0}` is a git repository, which is not supported")]
    GitIndex(String),
}

impl SourceTextError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::GitIndex(_) => Some(
                "name the registry's sparse index instead: `index = \"sparse+https://…\"`"
                    .to_owned(),
            ),
            Self::Url { url, .. } if url.starts_with("git@") => {
                Some(format!("write `ssh://{}`", url.replacen(':', "/", 1)))
            }
            _ => None,
        }
    }
}

/// Parses `text` as cargo does an address.
pub(crate) fn parse_url(text: &str) -> Result<Url, SourceTextError> {
    let fail = |why: String| SourceTextError::Url {
        url: text.chars().take(300).collect(),
        why,
    };
    let url = Url::parse(text).map_err(|error| fail(error.to_string()))?;
    if url.cannot_be_a_base() {
        return Err(fail("it cannot be the base of other addresses".to_owned()));
    }
    Ok(url)
}

/// The registry whose index is at `index`, as a configuration file or `registry-index` names it (`sparse+https://…`).
pub fn registry_from_index(index: &str) -> Result<SourceId, SourceTextError> {
    let is_default = |url: &str| {
        let url = canonical_url(url);
        url == canonical_url(&default_registry_in_lock())
            || url == canonical_url(&default_sparse_index())
    };
    match index.strip_prefix("sparse+") {
        Some(url) if is_default(url) => Ok(SourceId::default_registry()),
        Some(url) => Ok(SourceId::new(SourceKind::Registry {
            is_crates_io: false,
            url: parse_url(url)?.into(),
        })),
        None if is_default(index) => Ok(SourceId::default_registry()),
        None => {
            parse_url(index)?;
            Err(SourceTextError::GitIndex(index.to_owned()))
        }
    }
}

/// The git repository at `url` (without reference or commit in it), at `reference`.
pub fn git_source(url: &str, reference: GitReference) -> Result<SourceId, SourceTextError> {
    Ok(SourceId::new(SourceKind::Git {
        url: parse_url(url)?.into(),
        reference,
        precise: None,
    }))
}

/// Parses a source as [`source_text`] writes it, in either encoding.
pub fn source_from_text(text: &str) -> Result<SourceId, SourceTextError> {
    let protocol_error = || SourceTextError::Protocol(text.chars().take(300).collect());
    let (protocol, url) = text.split_once('+').ok_or_else(protocol_error)?;
    match protocol {
        "registry" => registry_from_index(url),
        "sparse" => registry_from_index(text),
        "git" => {
            let mut url = parse_url(url)?;
            let mut reference = GitReference::DefaultBranch;
            for (key, value) in url.query_pairs() {
                let value = value.into_owned();
                match &*key {
                    "branch" | "ref" => reference = GitReference::Branch(value),
                    "rev" => reference = GitReference::Rev(value),
                    "tag" => reference = GitReference::Tag(value),
                    _ => {}
                }
            }
            let precise = url.fragment().map(str::to_owned);
            url.set_fragment(None);
            url.set_query(None);
            Ok(SourceId::new(SourceKind::Git {
                url: url.into(),
                reference,
                precise,
            }))
        }
        "path" => {
            let path = parse_url(url)?
                .to_file_path()
                .map_err(|()| protocol_error())?;
            Ok(SourceId::new(SourceKind::Path(path)))
        }
        _ => Err(protocol_error()),
    }
}

/// `source` as text, with its commit if it has one. `Cargo.lock` writes this for every source but paths.
pub fn source_text(source: &SourceId, encoding: UrlEncoding) -> String {
    match source.kind() {
        SourceKind::Path(_) => format!("path+{}", source.canonical_address()),
        SourceKind::Registry {
            is_crates_io: true,
            url,
        } => format!("registry+{url}"),
        SourceKind::Registry {
            is_crates_io: false,
            url,
        } => format!("sparse+{url}"),
        SourceKind::Git {
            url,
            reference,
            precise,
        } => {
            let mut text = format!("git+{url}");
            if let Some((key, value)) = match reference {
                GitReference::DefaultBranch => None,
                GitReference::Branch(value) => Some(("branch", value)),
                GitReference::Tag(value) => Some(("tag", value)),
                GitReference::Rev(value) => Some(("rev", value)),
            } {
                text.push('?');
                text.push_str(key);
                text.push('=');
                match encoding {
                    UrlEncoding::Plain => text.push_str(value),
                    UrlEncoding::Encoded => {
                        text.extend(url::form_urlencoded::byte_serialize(value.as_bytes()));
                    }
                }
            }
            if let Some(commit) = precise {
                let _ = write!(text, "#{commit}");
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        let commit = "0123456789012345678901234567890123456789";
        let cases = [
            format!("registry+{}", default_registry_in_lock()),
            "sparse+https://registry.example.com/index/".to_owned(),
            format!("git+https://example.com/a/b.git#{commit}"),
            format!("git+https://example.com/a/b?branch=c%2Fd+e#{commit}"),
            "git+ssh://git@example.com/a/b?tag=v1.0".to_owned(),
            "git+https://example.com/a?rev=refs%2Fpull%2F1%2Fhead".to_owned(),
            "path+file:///a/b%20c".to_owned(),
        ];
        for text in cases {
            let source = source_from_text(&text).expect(&text);
            assert_eq!(source_text(&source, UrlEncoding::Encoded), text);
        }
    }

    #[test]
    fn references_are_encoded_only_where_asked() {
        let text = "git+https://example.com/a?branch=b/c";
        let source = source_from_text(text).expect("valid");
        assert_eq!(source_text(&source, UrlEncoding::Plain), text);
        assert_eq!(
            source_text(&source, UrlEncoding::Encoded),
            "git+https://example.com/a?branch=b%2Fc"
        );
    }

    #[test]
    fn the_default_registry_has_one_identity() {
        for index in [
            default_registry_in_lock(),
            format!("sparse+{}", default_sparse_index()),
        ] {
            assert_eq!(
                registry_from_index(&index),
                Ok(SourceId::default_registry())
            );
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "https://example.com",
            "hg+https://example.com/a",
            "git+not a url",
            "registry+https://example.com/git-index",
            "path+https://example.com/a",
            "git+mailto:someone",
        ] {
            assert!(source_from_text(text).is_err(), "{text}");
        }
    }
}
