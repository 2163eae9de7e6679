//! A registry's own configuration (`config.json`), the addresses that follow from it, and what may be sent where.

use reqwest::Url;
use semver::Version;

use super::RegistryError;
use crate::digest::{Claimed, Sha256};
use crate::package::PackageName;

/// What authorizes requests to a registry; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token as the registry gave it out (the whole value of the `Authorization` header).
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The value of the header.
    pub(crate) fn header(&self) -> Result<reqwest::header::HeaderValue, RegistryError> {
        let mut value = reqwest::header::HeaderValue::from_str(&self.0).map_err(|_| {
            RegistryError::Setting {
                what: "the registry's token",
                value: "…".to_owned(),
                why: "it has characters that a header cannot hold".to_owned(),
            }
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Where plain http is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PlainHttp {
    /// From this machine, by a registry whose own address is one of this machine.
    #[default]
    OnLoopback,
    /// Also from a registry that the user's own configuration (not the workspace's) names by a http address.
    NamedByUser,
}

/// Which schemes the addresses of one registry may have; decided by the address of its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SchemePolicy {
    Https,
    /// http on this machine.
    Loopback,
    /// http anywhere.
    Any,
}

impl SchemePolicy {
    /// The policy of a registry, or an error if its address itself may not be used.
    pub(crate) fn of_index(index: &Url, plain_http: PlainHttp) -> Result<Self, RegistryError> {
        match index.scheme() {
            "https" => Ok(Self::Https),
            "http" if is_loopback(index) => Ok(Self::Loopback),
            "http" if plain_http == PlainHttp::NamedByUser => Ok(Self::Any),
            _ => Err(RegistryError::Insecure {
                url: shown(index),
                from: None,
            }),
        }
    }

    /// Whether `url` may be fetched, coming from `from` if that led there: never from https to anything less.
    pub(crate) fn check(self, url: &Url, from: Option<&Url>) -> Result<(), RegistryError> {
        let allowed = match url.scheme() {
            "https" => true,
            "http" => {
                from.is_none_or(|from| from.scheme() != "https")
                    && match self {
                        Self::Https => false,
                        Self::Loopback => is_loopback(url),
                        Self::Any => true,
                    }
            }
            _ => false,
        };
        if allowed && url.host_str().is_some() {
            return Ok(());
        }
        Err(RegistryError::Insecure {
            url: shown(url),
            from: from.map(shown),
        })
    }
}

/// Whether the host is this machine, by its name or address and without asking anybody.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    host == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// `url` for a message: without credentials and query, which may hold a signature.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// Reads an index address: absolute, with a slash at the end, without credentials, query or fragment.
pub(crate) fn index_url(text: &str) -> Result<Url, RegistryError> {
    let fail = |why: String| RegistryError::Setting {
        what: "the registry's index address",
        value: text
            .split_once('@')
            .map_or(text, |(_, rest)| rest)
            .to_owned(),
        why,
    };
    let bare = text.strip_prefix("sparse+").unwrap_or(text);
    let url = Url::parse(bare).map_err(|error| fail(error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(fail("it holds credentials; use a token".to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() || url.host_str().is_none() {
        return Err(fail("it is not the address of a directory".to_owned()));
    }
    if !url.path().ends_with('/') {
        return Err(fail("it does not end with a slash".to_owned()));
    }
    Ok(url)
}

/// Whether a registry could hold the name at all; others are never asked for.
pub(crate) fn is_registry_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// The directory of a name in an index: `1`, `2`, `3/a`, `ab/cd`. The name is one of [`is_registry_name`].
fn prefix(name: &str) -> String {
    match name.len() {
        1 => "1".to_owned(),
        2 => "2".to_owned(),
        3 => format!("3/{}", &name[..1]),
        _ => format!("{}/{}", &name[..2], &name[2..4]),
    }
}

/// The path of a name's file in an index.
pub(crate) fn index_path(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    format!("{}/{name}", prefix(&name))
}

/// `config.json`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RegistryConfig {
    /// The template of an archive's address.
    pub(crate) dl: String,
    /// Whether every request has to be authorized.
    #[serde(default)]
    pub(crate) auth_required: bool,
}

impl RegistryConfig {
    /// The address of an archive.
    pub(crate) fn download_url(
        &self,
        name: &PackageName,
        version: &Version,
        checksum: &Claimed<Sha256>,
    ) -> Result<Url, RegistryError> {
        const MARKERS: [&str; 5] = [
            "{crate}",
            "{version}",
            "{prefix}",
            "{lowerprefix}",
            "{sha256-checksum}",
        ];
        let fail = |why: String| RegistryError::Setting {
            what: "`dl` of the registry's `config.json`",
            value: self.dl.clone(),
            why,
        };
        if !is_registry_name(name.as_str()) {
            return Err(fail(format!("no registry has a package `{name}`")));
        }
        let text = if MARKERS.iter().any(|marker| self.dl.contains(marker)) {
            let prefix = prefix(name.as_str());
            self.dl
                .replace("{crate}", name.as_str())
                .replace("{version}", &version.to_string())
                .replace("{prefix}", &prefix)
                .replace("{lowerprefix}", &prefix.to_ascii_lowercase())
                .replace("{sha256-checksum}", &checksum.0.to_hex())
        } else {
            format!("{}/{name}/{version}/download", self.dl)
        };
        Url::parse(&text).map_err(|error| fail(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn templates() {
        let sum: Sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
            .parse()
            .expect("a digest");
        for (dl, name, expected) in [
            (
                "https://example.com/api",
                "Abcd",
                "https://example.com/api/Abcd/1.0.0+b/download",
            ),
            (
                "https://example.com/{crate}-{version}.crate",
                "Abcd",
                "https://example.com/Abcd-1.0.0+b.crate",
            ),
            (
                "https://example.com/{prefix}/{lowerprefix}/{crate}",
                "AbCdE",
                "https://example.com/Ab/Cd/ab/cd/AbCdE",
            ),
            (
                "https://example.com/{prefix}/x",
                "Abc",
                "https://example.com/3/A/x",
            ),
            (
                "https://example.com/{prefix}/x",
                "a",
                "https://example.com/1/x",
            ),
            (
                "https://example.com/{prefix}/x",
                "ab",
                "https://example.com/2/x",
            ),
            (
                "https://example.com/{sha256-checksum}",
                "a",
                "https://example.com/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
        ] {
            let config = RegistryConfig {
                dl: dl.to_owned(),
                auth_required: false,
            };
            let made = config
                .download_url(
                    &PackageName::new(name).expect("a name"),
                    &"1.0.0+b".parse().expect("a version"),
                    &Claimed(sum),
                )
                .expect("a URL");
            assert_eq!(made.as_str(), expected);
        }
    }

    #[test]
    fn paths_in_an_index() {
        for (name, path) in [
            ("a", "1/a"),
            ("AB", "2/ab"),
            ("abc", "3/a/abc"),
            ("Serde_JSON", "se/rd/serde_json"),
        ] {
            assert_eq!(index_path(name), path);
        }
        for name in ["", "é", "a/b", "..", "a b"] {
            assert!(!is_registry_name(name), "{name}");
        }
    }

    #[test]
    fn which_addresses_are_taken() {
        use SchemePolicy::{Any, Https, Loopback};
        for (policy, from, to, allowed) in [
            (Https, None, "https://example.com/", true),
            (Https, None, "http://example.com/", false),
            (Https, None, "http://127.0.0.1/", false),
            (Https, None, "file:///etc/passwd", false),
            (Loopback, None, "http://127.0.0.1:8000/", true),
            (Loopback, None, "http://localhost:8000/", true),
            (Loopback, None, "http://[::1]/", true),
            (Loopback, None, "http://example.com/", false),
            (Loopback, None, "http://127.0.0.1.example.com/", false),
            (
                Loopback,
                Some("http://127.0.0.1/"),
                "https://example.com/",
                true,
            ),
            (
                Loopback,
                Some("https://example.com/"),
                "http://127.0.0.1/",
                false,
            ),
            (Any, None, "http://example.com/", true),
            (
                Any,
                Some("http://example.com/"),
                "http://example.org/",
                true,
            ),
            (
                Any,
                Some("https://example.com/"),
                "http://example.com/",
                false,
            ),
            (Any, None, "ftp://example.com/", false),
        ] {
            assert_eq!(
                policy.check(&url(to), from.map(url).as_ref()).is_ok(),
                allowed,
                "{policy:?} {from:?} {to}"
            );
        }
        for (index, plain_http, expected) in [
            ("https://example.com/", PlainHttp::OnLoopback, Some(Https)),
            ("http://127.0.0.1/", PlainHttp::OnLoopback, Some(Loopback)),
            ("http://example.com/", PlainHttp::OnLoopback, None),
            ("http://example.com/", PlainHttp::NamedByUser, Some(Any)),
            ("ftp://example.com/", PlainHttp::NamedByUser, None),
        ] {
            assert_eq!(
                SchemePolicy::of_index(&url(index), plain_http).ok(),
                expected,
                "{index}"
            );
        }
    }

    #[test]
    fn index_addresses() {
        for good in ["https://example.com/", "sparse+https://example.com/index/"] {
            assert!(index_url(good).is_ok(), "{good}");
        }
        for bad in [
            "https://example.com",
            "https://example.com/index",
            "https://user:pass@example.com/",
            "https://example.com/?a/",
            "example.com/",
            "",
        ] {
            // `https://example.com` is the same URL as the one with a slash.
            if bad == "https://example.com" {
                assert!(index_url(bad).is_ok());
                continue;
            }
            let error = index_url(bad).expect_err(bad).to_string();
            assert!(!error.contains("pass"), "{error}");
        }
        assert_eq!(
            shown(&url("https://user:pass@example.com/a?token=x#y")),
            "https://example.com/a"
        );
        assert_eq!(format!("{:?}", Token::new("secret")), "Token(…)");
    }
}
