//! Which proxy serves which address, as curl and so cargo decide it.

use super::RegistryError;

/// Proxies by the scheme of the address that is fetched. Each is an address, `host:port` meaning http.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http:` addresses.
    pub http: Option<String>,
    /// For `https:` addresses.
    pub https: Option<String>,
    /// Hosts that are reached without one: a comma-separated list of names, domains, addresses, or `*`.
    pub no_proxy: Option<String>,
}

impl Proxies {
    /// What cargo would use: `configured` is `http.proxy` (also `CARGO_HTTP_PROXY`), which wins; then curl's variables,
    /// which `variable` looks up. `HTTP_PROXY` in capitals is not one of them, since a CGI server sets it from a
    /// request's header.
    pub fn from_variables(
        configured: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let first = |names: &[&str]| {
            names
                .iter()
                .filter_map(|name| variable(name))
                .find(|value| !value.is_empty())
        };
        let no_proxy = first(&["no_proxy", "NO_PROXY"]);
        if let Some(configured) = configured.filter(|value| !value.is_empty()) {
            return Self {
                http: Some(configured.to_owned()),
                https: Some(configured.to_owned()),
                no_proxy,
            };
        }
        Self {
            http: first(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            no_proxy,
        }
    }

    /// The same for `reqwest`.
    pub(crate) fn build(&self) -> Result<Vec<reqwest::Proxy>, RegistryError> {
        let no_proxy = self
            .no_proxy
            .as_deref()
            .and_then(reqwest::NoProxy::from_string);
        let make = |address: &str, scheme: fn(String) -> reqwest::Result<reqwest::Proxy>| {
            let whole = if address.contains("://") {
                address.to_owned()
            } else {
                format!("http://{address}")
            };
            scheme(whole)
                .map(|proxy| proxy.no_proxy(no_proxy.clone()))
                .map_err(|error| RegistryError::Setting {
                    what: "the proxy",
                    value: without_credentials(address),
                    why: error.without_url().to_string(),
                })
        };
        let mut built = Vec::new();
        if let Some(address) = &self.http {
            built.push(make(address, reqwest::Proxy::http)?);
        }
        if let Some(address) = &self.https {
            built.push(make(address, reqwest::Proxy::https)?);
        }
        Ok(built)
    }
}

/// `address` without what stands before its last `@`.
fn without_credentials(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_in_curls_order() {
        let some = |text: &str| Some(text.to_owned());
        for (configured, variables, http, https) in [
            (None, &[][..], None, None),
            (None, &[("HTTP_PROXY", "cgi:1")][..], None, None),
            (None, &[("http_proxy", "h:1")][..], some("h:1"), None),
            (
                None,
                &[("https_proxy", "l:1"), ("HTTPS_PROXY", "u:1")][..],
                None,
                some("l:1"),
            ),
            (
                None,
                &[("https_proxy", ""), ("HTTPS_PROXY", "u:1")][..],
                None,
                some("u:1"),
            ),
            (
                None,
                &[("ALL_PROXY", "a:1"), ("http_proxy", "h:1")][..],
                some("h:1"),
                some("a:1"),
            ),
            (
                Some("c:1"),
                &[("https_proxy", "l:1")][..],
                some("c:1"),
                some("c:1"),
            ),
            (Some(""), &[("https_proxy", "l:1")][..], None, some("l:1")),
        ] {
            let proxies = Proxies::from_variables(configured, |name| {
                variables
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            });
            assert_eq!(
                (proxies.http, proxies.https),
                (http, https),
                "{variables:?}"
            );
        }
    }

    #[test]
    fn addresses_that_are_none_are_refused_without_their_password() {
        let proxies = Proxies {
            https: Some("http://user:secret@[".to_owned()),
            ..Proxies::default()
        };
        let error = proxies.build().expect_err("not an address").to_string();
        assert!(!error.contains("secret"), "{error}");
        for good in ["proxy:3128", "http://proxy:3128", "socks5h://proxy"] {
            let proxies = Proxies {
                http: Some(good.to_owned()),
                https: Some(good.to_owned()),
                no_proxy: Some("localhost,.example.com".to_owned()),
            };
            assert_eq!(proxies.build().map(|built| built.len()).ok(), Some(2));
        }
    }
}
