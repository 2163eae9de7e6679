//! Where a repository is: which addresses are taken, and what a submodule may name.

use std::path::PathBuf;

use url::Url;

use super::error::GitError;
use crate::registry::{PlainHttp, SchemePolicy, shown};

/// A repository's address, checked.
#[derive(Debug, Clone)]
pub(super) enum Address {
    /// A directory of this machine.
    Local { url: Url, path: PathBuf },
    /// A server.
    Server { url: Url, policy: SchemePolicy },
}

impl Address {
    /// Checks `text`.
    pub(super) fn new(text: &str) -> Result<Self, GitError> {
        let fail = |url: String, why, help| GitError::Address { url, why, help };
        let Ok(mut url) = Url::parse(text) else {
            let shown: String = super::error::printable(text, 200);
            return Err(fail(
                shown.rsplit('@').next().unwrap_or_default().to_owned(),
                "it is not an address",
                "write `https://…`; the short form of ssh, `git@host:path`, is not an address",
            ));
        };
        url.set_fragment(None);
        url.set_query(None);
        match url.scheme() {
            "file" => match url.to_file_path() {
                Ok(path) => Ok(Self::Local { url, path }),
                Err(()) => Err(fail(
                    shown(&url),
                    "it does not name a directory of this machine",
                    "write `file:///` and the path of the directory",
                )),
            },
            "http" | "https" => match SchemePolicy::of_index(&url, PlainHttp::OnLoopback) {
                Ok(policy) if url.host_str().is_some() => Ok(Self::Server { url, policy }),
                _ => Err(fail(
                    shown(&url),
                    "what http carries can be changed on its way",
                    "use the `https` address of the repository",
                )),
            },
            "ssh" | "git+ssh" | "ssh+git" => Err(fail(
                shown(&url),
                "ssh would have to run a program, with the user's keys at its disposal",
                "use the `https` address of the repository, or a clone of it by a `file` address or `path`",
            )),
            _ => Err(fail(
                shown(&url),
                "its protocol is neither `https` nor `file`",
                "use the `https` address of the repository",
            )),
        }
    }

    /// The address of a submodule that a commit of this repository names as `text`. A repository may send nobody to
    /// places that are nearer than itself: files of this machine, servers on it.
    pub(super) fn submodule(&self, text: &str) -> Result<Self, GitError> {
        let address = if text.starts_with("./") || text.starts_with("../") {
            let mut base = self.url().clone();
            if !base.path().ends_with('/') {
                let path = format!("{}/", base.path());
                base.set_path(&path);
            }
            match base.join(text) {
                Ok(url) => Self::new(url.as_str())?,
                Err(_) => Self::new(text)?,
            }
        } else {
            Self::new(text)?
        };
        if address.distance() < self.distance() {
            return Err(GitError::Address {
                url: address.shown(),
                why: "a repository from elsewhere names it as its submodule, but it is on this machine",
                help: "look at `.gitmodules` of the repository, and tell its authors",
            });
        }
        Ok(address)
    }

    fn distance(&self) -> u8 {
        match self {
            Self::Local { .. } => 0,
            Self::Server { policy, .. } => match policy {
                SchemePolicy::Loopback => 1,
                SchemePolicy::Https | SchemePolicy::Any => 2,
            },
        }
    }

    /// The address.
    pub(super) fn url(&self) -> &Url {
        match self {
            Self::Local { url, .. } | Self::Server { url, .. } => url,
        }
    }

    /// The address for a message.
    pub(super) fn shown(&self) -> String {
        shown(self.url())
    }

    /// A name for people and a hash of the canonical address, without credentials: for directories.
    pub(super) fn directory_name(&self) -> String {
        directory_name(&self.shown())
    }
}

/// The last part of `url` that is safe as a name, and eight digits of a hash of all of it.
pub(crate) fn directory_name(url: &str) -> String {
    let canonical = crate::package::canonical_url(url);
    let last: String = canonical
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        .take(64)
        .collect();
    let last = last.trim_start_matches('.');
    let name = if last.is_empty() { "repository" } else { last };
    let hash = blake3::hash(canonical.as_bytes()).to_hex();
    format!("{name}-{}", &hash[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_addresses_are_taken() {
        for good in [
            "https://example.com/a/b.git",
            "http://127.0.0.1:8000/a",
            "file:///srv/a",
        ] {
            assert!(Address::new(good).is_ok(), "{good}");
        }
        for bad in [
            "http://example.com/a",
            "ssh://git@example.com/a",
            "git://example.com/a",
            "git@example.com:a/b",
            "ext::sh -c true",
            "",
        ] {
            assert!(Address::new(bad).is_err(), "{bad}");
        }
        let error = Address::new("ssh://user:secret@example.com/a").expect_err("ssh");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn submodules_lead_nowhere_nearer() {
        for (parent, text, expected) in [
            (
                "https://example.com/a/b",
                "../c",
                Some("https://example.com/a/c"),
            ),
            (
                "https://example.com/a/b/",
                "./c",
                Some("https://example.com/a/b/c"),
            ),
            (
                "https://example.com/a/b.git",
                "https://example.org/c",
                Some("https://example.org/c"),
            ),
            ("https://example.com/a", "file:///srv/private", None),
            ("https://example.com/a", "http://127.0.0.1/x", None),
            ("http://127.0.0.1/a", "file:///srv/private", None),
            (
                "http://127.0.0.1/a",
                "http://localhost/x",
                Some("http://localhost/x"),
            ),
            ("file:///srv/a", "../b", Some("file:///srv/b")),
            (
                "file:///srv/a",
                "https://example.com/b",
                Some("https://example.com/b"),
            ),
            ("https://example.com/a", "git@example.com:x/y", None),
        ] {
            let found = Address::new(parent).expect("taken").submodule(text);
            assert_eq!(
                found
                    .ok()
                    .map(|address| address.url().to_string())
                    .as_deref(),
                expected,
                "{parent} {text}"
            );
        }
    }
}
