//! Choice of a proxy: as curl chooses, except that requests to this machine never use one.

use std::net::IpAddr;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

use crate::server_url::without_password;

/// Supported proxy schemes.
const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// URL of a proxy, with its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy(Url);

impl Proxy {
    /// Returns the proxy that the environment names for a server, if any.
    ///
    /// As curl, it reads `http_proxy` only in lower case, because web servers set `HTTP_PROXY` from a
    /// request header for the programs that they start.
    ///
    /// # Errors
    ///
    /// The environment names an unusable proxy.
    pub fn of(server: &Url, env: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        if is_this_machine(server) {
            return Ok(None);
        }
        let own: &[&str] = match server.scheme() {
            "https" => &["https_proxy", "HTTPS_PROXY"],
            _ => &["http_proxy"],
        };
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let named = |name: &&'static str| Some((*name, set(name)?));
        let Some((variable, text)) = own.iter().chain(&["all_proxy", "ALL_PROXY"]).find_map(named)
        else {
            return Ok(None);
        };
        let without = set("no_proxy").or_else(|| set("NO_PROXY")).unwrap_or_default();
        let proxy = Proxy::read(&text).ok_or_else(|| {
            format!(
                "invalid proxy in the environment variable {variable}: expected a URL such as \
                 http://proxy.example:3128 or socks5h://localhost:1080"
            )
        })?;
        Ok((!is_without(server, &without)).then_some(proxy))
    }

    fn read(text: &str) -> Option<Self> {
        let with_scheme =
            if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&with_scheme).ok()?;
        (SCHEMES.contains(&url.scheme()) && url.has_host()).then_some(Proxy(url))
    }

    /// Returns the URL with credentials.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Returns the URL without a password, for messages.
    #[must_use]
    pub fn shown(&self) -> String {
        without_password(&self.0)
    }
}

/// Returns whether the list `without` (`no_proxy`) has this server.
fn is_without(server: &Url, without: &str) -> bool {
    let entries = without.split([',', ' ', '\t']).map(|entry| entry.trim_end_matches('.'));
    let entries: Vec<&str> = entries.filter(|entry| !entry.is_empty()).collect();
    let host = server.host_str().unwrap_or_default().trim_end_matches('.');
    let Ok(server) = format!("http://{host}").parse() else { return false };
    let matcher = Matcher::builder().all("http://proxy").no(entries.join(",")).build();
    entries.contains(&"*") || matcher.intercept(&server).is_none()
}

/// Returns whether a URL's host is this machine.
pub(crate) fn is_this_machine(server: &Url) -> bool {
    let host = server.host_str().unwrap_or_default().trim_end_matches('.');
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback() || ip.is_unspecified(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(server: &str, env: &[(&str, &str)]) -> Result<Option<String>, String> {
        let env = |name: &str| {
            let (_, value) = env.iter().find(|(variable, _)| *variable == name)?;
            Some((*value).to_owned())
        };
        Ok(Proxy::of(&Url::parse(server).unwrap(), env)?.map(|proxy| proxy.shown()))
    }

    #[test]
    fn requests_to_this_machine_use_no_proxy() {
        let env = [("http_proxy", "http://p:1"), ("all_proxy", "http://p:1")];
        for server in [
            "http://localhost:4000",
            "http://LOCALHOST",
            "http://localhost.",
            "http://tokens.localhost",
            "http://127.0.0.1:4000",
            "http://127.1",
            "http://127.8.8.8",
            "http://[::1]:4000",
            "http://[::ffff:127.0.0.1]",
            "http://0.0.0.0:4000",
            "https://localhost",
        ] {
            assert_eq!(proxy(server, &env), Ok(None), "{server}");
        }
        for server in ["http://localhost.example", "http://10.0.0.1", "http://[fd00::1]"] {
            assert_eq!(proxy(server, &env), Ok(Some("http://p:1".to_owned())), "{server}");
        }
    }

    #[test]
    fn variables_are_those_of_curl() {
        let some = |shown: &str| Ok(Some(shown.to_owned()));
        for (server, env, expected) in [
            ("http://h", [("http_proxy", "p:1"), ("all_proxy", "q:1")], some("http://p:1")),
            ("http://h", [("HTTP_PROXY", "p:1"), ("x", "")], Ok(None)),
            ("http://h", [("HTTP_PROXY", "p:1"), ("ALL_PROXY", "q:1")], some("http://q:1")),
            ("http://h", [("http_proxy", ""), ("all_proxy", "q:1")], some("http://q:1")),
            ("https://h", [("http_proxy", "p:1"), ("x", "")], Ok(None)),
            ("https://h", [("HTTPS_PROXY", "p:1"), ("https_proxy", "q:1")], some("http://q:1")),
            ("https://h", [("all_proxy", "socks5h://p:1"), ("x", "")], some("socks5h://p:1")),
            (
                "http://h",
                [("http_proxy", "http://me:secret@p:1"), ("x", "")],
                some("http://me@p:1"),
            ),
            ("http://h", [("no_proxy", "h"), ("http_proxy", "ftp://p")], Err(String::new())),
        ] {
            let found = proxy(server, &env).map_err(|why| {
                assert!(why.contains("http_proxy"), "{why}");
                String::new()
            });
            assert_eq!(found, expected, "{server} {env:?}");
        }
    }

    #[test]
    fn no_proxy_is_parsed_as_by_curl() {
        for (server, without, around) in [
            ("http://tokens.example", "*", true),
            ("http://10.0.0.1", "*", true),
            ("http://tokens.example", "example", true),
            ("http://tokens.example", ".example", true),
            ("http://tokens.example.", "tokens.example", true),
            ("http://tokens.example", "TOKENS.example.", true),
            ("http://tokens.example", "other, tokens.example", true),
            ("http://tokens.example", "other tokens.example", true),
            ("http://tokens.example", "kens.example", false),
            ("http://10.1.2.3", "10.0.0.0/8", true),
            ("http://11.1.2.3", "10.0.0.0/8", false),
            ("http://10.1.2.3", "10.1.2.3", true),
            ("http://[fd00::1]", "fd00::/8", true),
            ("http://tokens.example", "", false),
        ] {
            for name in ["no_proxy", "NO_PROXY"] {
                let found = proxy(server, &[("http_proxy", "p:1"), (name, without)]).unwrap();
                assert_eq!(found.is_none(), around, "{server} {name}={without}");
            }
        }
        let both = [("http_proxy", "p:1"), ("no_proxy", "h"), ("NO_PROXY", "other")];
        assert_eq!(proxy("http://h", &both), Ok(None), "lower case comes first");
    }
}
