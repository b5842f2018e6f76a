//! Keeps out the web pages of other sites.
//!
//! A server on loopback is within reach of every page in a browser on the same machine. A page may
//! send it forms and bodyless requests without asking, and by a name of its own that resolves to
//! 127.0.0.1 (DNS rebinding) it could even read the answers. Browsers do tell the truth about the
//! host and about the page a request comes from, so those are checked. Other clients send no
//! `Origin` and no `Sec-Fetch-Site` and are not concerned.
//!
//! The same holds beyond loopback, where a page may reach a server in its network or a published port
//! of a container, except that the server may be called by any address: scrapers and probes do so, and
//! a page that is reached by an address was not rebound by a name.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, Method, Uri};

use crate::problem::{Code, Problem};

const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Decides whether a request may come in.
pub(crate) struct Gate {
    loopback: bool,
    allowed_hosts: Vec<String>,
}

impl Gate {
    /// A gate that lets requests to the usual local hosts and `allowed_hosts` in; beyond loopback
    /// also those to any IP address.
    pub(crate) fn new(loopback: bool, allowed_hosts: &[String]) -> Self {
        Gate { loopback, allowed_hosts: allowed_hosts.to_vec() }
    }

    pub(crate) fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), Problem> {
        let host = host_of(uri, headers);
        let gets = method == Method::GET || method == Method::HEAD;
        let probes = gets && is_probe(uri);
        if !probes && !host.is_some_and(|host| self.is_own(host)) {
            let detail = if self.loopback {
                "This server listens on loopback and answers to localhost, 127.0.0.1 and [::1] only. \
                 Start it with --allowed-host to add the host you used."
            } else {
                "This server answers to localhost, IP addresses and the hosts of --allowed-host only. \
                 Start it with --allowed-host to add the host you used."
            };
            return Err(Problem::new(Code::WrongHost, detail));
        }
        let reads = gets && !is_costly(uri);
        if !reads && is_foreign(host, headers) {
            let detail = "Cross-origin requests may not change data, search or export leases, or \
                          follow events.";
            return Err(Problem::new(Code::ForeignPage, detail));
        }
        Ok(())
    }

    fn is_own(&self, host: Host<'_>) -> bool {
        let is_local = LOCAL.iter().any(|local| host.name.eq_ignore_ascii_case(local));
        is_local
            || !self.loopback && host.is_address()
            || self.allowed_hosts.iter().filter_map(|text| Host::parse(text)).any(|allowed| {
                let same_port = allowed.port.is_none() || allowed.port == host.port;
                same_port && host.name.eq_ignore_ascii_case(allowed.name)
            })
    }
}

/// Whether this asks how the server is. Probes call by whatever name or address they have, and the
/// answer is worth nothing to a page.
fn is_probe(uri: &Uri) -> bool {
    matches!(uri.path(), "/health/live" | "/health/ready")
}

/// Whether this leads to the event stream, a search, an export or a history. A browser shows no answer
/// to a page of another site, but these cost the server something all the same: a place for as long as
/// the page is open, or a look through the database.
fn is_costly(uri: &Uri) -> bool {
    let mut segments = uri.path().split('/').filter(|segment| !segment.is_empty());
    if segments.next() != Some("api") {
        return false;
    }
    match segments.next() {
        Some("events") => true,
        Some("leases") => matches!(segments.next(), None | Some("export")),
        Some("tokens") => segments.nth(1) == Some("history"),
        _ => false,
    }
}

/// A host as `Host` headers, HTTP/2 requests and origins name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Host<'a> {
    name: &'a str,
    port: Option<u16>,
}

impl<'a> Host<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        // The colons within the brackets of an IPv6 address begin no port.
        let end_of_address = text.find(']').map_or(0, |bracket| bracket + 1);
        let end = text[end_of_address..].find(':').map_or(text.len(), |at| end_of_address + at);
        let (name, port) = (&text[..end], text[end..].strip_prefix(':'));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_name) {
            return None;
        }
        match port {
            None | Some("") => Some(Host { name, port: None }),
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(Host { name, port: Some(digits.parse().ok()?) })
            }
            Some(_) => None,
        }
    }

    fn is_address(self) -> bool {
        let v6 = self.name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        v6.map_or_else(
            || self.name.parse::<Ipv4Addr>().is_ok(),
            |name| name.parse::<Ipv6Addr>().is_ok(),
        )
    }
}

/// The one host that the request is for. An absolute target and HTTP/2's `:authority` count more
/// than the header.
fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<Host<'a>> {
    if let Some(authority) = uri.authority() {
        return Host::parse(authority.as_str());
    }
    Host::parse(the_only(headers, HOST)?)
}

fn the_only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

fn is_foreign(host: Option<Host<'_>>, headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    if site.is_some_and(|site| site == "cross-site" || site == "same-site") {
        return true;
    }
    if !headers.contains_key(ORIGIN) {
        return false;
    }
    let same = || {
        // `null`, which sandboxed pages and files send, has no scheme.
        let (scheme, origin) = the_only(headers, ORIGIN)?.split_once("://")?;
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let (origin, host) = (Host::parse(origin)?, host?);
        let port = |host: Host<'_>| host.port.unwrap_or(default_port);
        let same_name = origin.name.eq_ignore_ascii_case(host.name);
        Some(same_name && port(origin) == port(host))
    };
    !same().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(gate: &Gate, method: &Method, uri: &str, headers: &[(&str, &str)]) -> Option<Code> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, value.parse().unwrap());
        }
        gate.check(method, &uri.parse().unwrap(), &map).err().map(|problem| problem.code())
    }

    fn local() -> Gate {
        Gate::new(true, &["Tokens.example".to_owned(), "other:81".to_owned()])
    }

    fn get(host: &str) -> Option<Code> {
        check(&local(), &Method::GET, "/", &[("host", host)])
    }

    fn post(host: &str, origin: &str) -> Option<Code> {
        check(&local(), &Method::POST, "/", &[("host", host), ("origin", origin)])
    }

    #[test]
    fn local_and_allowed_hosts_are_answered_on_any_port() {
        for host in [
            "localhost",
            "LocalHost:4000",
            "127.0.0.1",
            "127.0.0.1:4000",
            "[::1]",
            "[::1]:4000",
            "localhost:",
            "tokens.example",
            "TOKENS.EXAMPLE:99",
            "other:81",
        ] {
            assert_eq!(get(host), None, "{host}");
        }
    }

    #[test]
    fn other_hosts_are_not() {
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "evil.example:4000",
            "localhost@evil.example",
            "evil.example@localhost",
            "127.0.0.2",
            "::1",
            "[::1]x",
            "[::2]",
            "localhost:port",
            "localhost:+4000",
            "localhost:99999",
            "local host",
            "other",
            "other:82",
            "/localhost",
        ] {
            assert_eq!(get(host), Some(Code::WrongHost), "{host}");
        }
    }

    #[test]
    fn there_must_be_one_host() {
        let (gate, get) = (local(), Method::GET);
        assert_eq!(check(&gate, &get, "/", &[]), Some(Code::WrongHost));
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(check(&gate, &get, "/", &two), Some(Code::WrongHost));
    }

    #[test]
    fn the_target_counts_more_than_the_header() {
        let (gate, get) = (local(), Method::GET);
        assert_eq!(check(&gate, &get, "http://localhost:4000/", &[]), None);
        let header = [("host", "localhost")];
        let code = check(&gate, &get, "http://evil.example/", &header);
        assert_eq!(code, Some(Code::WrongHost));
    }

    #[test]
    fn beyond_loopback_names_have_to_be_allowed() {
        let gate = Gate::new(false, &[]);
        for headers in [&[("host", "evil.example:4000")][..], &[("host", "token-manager")], &[]] {
            assert_eq!(check(&gate, &Method::GET, "/", headers), Some(Code::WrongHost));
        }
        // A page that was rebound has the name as its origin, too.
        let rebound = [("host", "evil.example:4000"), ("origin", "http://evil.example:4000")];
        assert_eq!(check(&gate, &Method::POST, "/", &rebound), Some(Code::WrongHost));
        for host in ["localhost:4000", "127.0.0.1", "10.1.2.3:4000", "[fd00::1]:4000"] {
            assert_eq!(check(&gate, &Method::GET, "/", &[("host", host)]), None, "{host}");
        }
    }

    #[test]
    fn beyond_loopback_named_hosts_are_the_only_ones() {
        let gate = Gate::new(false, &["tokens.example".to_owned()]);
        let get = |host| check(&gate, &Method::GET, "/", &[("host", host)]);
        for host in ["tokens.example:4000", "localhost:4000", "127.0.0.1"] {
            assert_eq!(get(host), None, "{host}");
        }
        assert_eq!(get("evil.example:4000"), Some(Code::WrongHost));
    }

    #[test]
    fn beyond_loopback_every_address_is_answered() {
        let gate = Gate::new(false, &["tokens.example".to_owned()]);
        let get = |host| check(&gate, &Method::GET, "/metrics", &[("host", host)]);
        for host in ["10.1.2.3", "10.1.2.3:4000", "[fd00::1]", "[fd00::1]:4000"] {
            assert_eq!(get(host), None, "{host}");
        }
        for host in ["10.1.2.3.evil.example", "10.1.2", "10.1.2.3.", "fd00", "[evil]", "[fd00::1"] {
            assert_eq!(get(host), Some(Code::WrongHost), "{host}");
        }
        let foreign = [("host", "10.1.2.3:4000"), ("origin", "http://10.1.2.4:4000")];
        assert_eq!(check(&gate, &Method::POST, "/", &foreign), Some(Code::ForeignPage));
    }

    #[test]
    fn probes_are_answered_by_whatever_name() {
        for gate in [local(), Gate::new(false, &["tokens.example".to_owned()])] {
            for headers in [&[("host", "10.1.2.3:4000")][..], &[("host", "pod.example")], &[]] {
                for path in ["/health/live", "/health/ready"] {
                    assert_eq!(check(&gate, &Method::GET, path, headers), None);
                    assert_eq!(check(&gate, &Method::HEAD, path, headers), None);
                }
            }
            let elsewhere = [("host", "pod.example")];
            for (method, path) in [(&Method::POST, "/health/live"), (&Method::GET, "/metrics")] {
                let code = check(&gate, method, path, &elsewhere);
                assert_eq!(code, Some(Code::WrongHost), "{method} {path}");
            }
        }
    }

    #[test]
    fn a_page_of_the_same_origin_may_write() {
        assert_eq!(post("localhost:4000", "http://localhost:4000"), None);
        assert_eq!(post("LOCALHOST:4000", "http://localhost:4000"), None);
        assert_eq!(post("[::1]:4000", "http://[::1]:4000"), None);
        assert_eq!(post("localhost", "http://localhost"), None);
        assert_eq!(post("localhost:80", "http://localhost"), None);
        assert_eq!(post("localhost", "http://localhost:80"), None);
        assert_eq!(post("tokens.example", "https://tokens.example"), None);
        assert_eq!(post("tokens.example:443", "https://tokens.example"), None);
    }

    #[test]
    fn a_page_of_another_origin_may_not() {
        for (host, origin) in [
            ("localhost:4000", "http://localhost:3000"),
            ("localhost:4000", "http://localhost"),
            ("localhost:4000", "http://127.0.0.1:4000"),
            ("localhost:443", "http://localhost"),
            ("localhost:4000", "http://evil.example"),
            ("localhost:4000", "null"),
            ("localhost:4000", ""),
            ("localhost", "chrome-extension://localhost"),
            ("localhost:4000", "http://localhost:4000/path"),
        ] {
            assert_eq!(post(host, origin), Some(Code::ForeignPage), "{host} {origin}");
        }
        let two = [
            ("host", "localhost"),
            ("origin", "http://localhost"),
            ("origin", "http://evil.example"),
        ];
        assert_eq!(check(&local(), &Method::POST, "/", &two), Some(Code::ForeignPage));
    }

    #[test]
    fn what_the_browser_says_of_the_site_counts() {
        let with = |method: &Method, site| {
            check(&local(), method, "/", &[("host", "localhost"), ("sec-fetch-site", site)])
        };
        for method in [Method::POST, Method::DELETE, Method::OPTIONS, Method::PUT] {
            assert_eq!(with(&method, "cross-site"), Some(Code::ForeignPage));
            assert_eq!(with(&method, "same-site"), Some(Code::ForeignPage));
            assert_eq!(with(&method, "same-origin"), None);
            assert_eq!(with(&method, "none"), None);
        }
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(with(&method, "cross-site"), None);
        }
    }

    #[test]
    fn a_page_of_another_site_may_not_cause_work() {
        for path in [
            "/api/events",
            "//api//events/?user=a",
            "http://localhost/api/events",
            "/api/leases",
            "/api//leases/?format=csv",
            "/api/leases/export?user=a",
            "/api/tokens/01234567-89ab-cdef-0123-456789abcdef/history",
        ] {
            for foreign in [
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-site", "same-site"),
                ("origin", "http://evil.example"),
            ] {
                for method in [Method::GET, Method::HEAD] {
                    let code = check(&local(), &method, path, &[("host", "localhost"), foreign]);
                    assert_eq!(code, Some(Code::ForeignPage), "{path} {foreign:?}");
                }
            }
            let own = [("host", "localhost"), ("sec-fetch-site", "same-origin")];
            assert_eq!(check(&local(), &Method::GET, path, &own), None);
        }
        for path in ["/", "/api/tokens", "/api/leases/1", "/leases", "/api/tokens/history", "/api"]
        {
            let foreign = [("host", "localhost"), ("sec-fetch-site", "cross-site")];
            assert_eq!(check(&local(), &Method::GET, path, &foreign), None, "{path}");
        }
    }
}
