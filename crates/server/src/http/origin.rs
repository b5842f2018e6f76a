//! Protection against web pages of other sites.
//!
//! Every page in a browser on the same machine can reach a server on loopback. A page may send forms
//! and requests without a body, and with a name of its own that resolves to 127.0.0.1 (DNS
//! rebinding) it could even read the responses. Browsers report the host and the page of a
//! request correctly, so both are checked. Other clients send neither `Origin` nor `Sec-Fetch-Site`
//! and are not affected.
//!
//! The same holds on other addresses, where a page may reach a server in its network or a published
//! port of a container, except that requests for any IP address are accepted: scrapers and probes send
//! them, and a page that uses an address was not rebound by a name.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, Uri};

use super::route::Kind;
use crate::problem::{Code, Problem};

const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Check of a request's host and origin.
pub(crate) struct OriginCheck {
    loopback: bool,
    allowed_hosts: Vec<String>,
}

impl OriginCheck {
    /// Accepts requests for the local hosts and `allowed_hosts`; with `loopback` false, also for any
    /// IP address.
    pub(crate) fn new(loopback: bool, allowed_hosts: &[String]) -> Self {
        OriginCheck { loopback, allowed_hosts: allowed_hosts.to_vec() }
    }

    pub(crate) fn check(&self, kind: Kind, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let host = host_of(uri, headers);
        if kind.checks_host() && !host.is_some_and(|host| self.is_own(host)) {
            let detail = if self.loopback {
                "This server listens on loopback and accepts only localhost, 127.0.0.1 and [::1] as \
                 host. Start it with --allowed-host to add the host you used."
            } else {
                "This server accepts only localhost, IP addresses and the values of --allowed-host \
                 as host. Start it with --allowed-host to add the host you used."
            };
            return Err(Problem::new(Code::HostNotAllowed, detail));
        }
        if kind.checks_origin() && is_cross_origin(host, headers) {
            let detail = "Cross-origin requests can't change data, search or export leases, or follow \
                          events.";
            return Err(Problem::new(Code::CrossOrigin, detail));
        }
        Ok(())
    }

    fn is_own(&self, host: Host<'_>) -> bool {
        host.is_local()
            || !self.loopback && host.is_address()
            || self.allowed_hosts.iter().filter_map(|text| Host::parse(text)).any(|allowed| {
                let same_port = allowed.port.is_none() || allowed.port == host.port;
                same_port && host.name.eq_ignore_ascii_case(allowed.name)
            })
    }
}

/// Whether the host of a request is the machine of its client.
pub(crate) fn is_local(uri: &Uri, headers: &HeaderMap) -> bool {
    host_of(uri, headers).is_some_and(Host::is_local)
}

/// Whether a browser says that a request comes from a page of this server. Other clients say nothing.
pub(crate) fn is_from_here(uri: &Uri, headers: &HeaderMap) -> bool {
    let says = headers.contains_key("sec-fetch-site") || headers.contains_key(ORIGIN);
    says && !is_cross_origin(host_of(uri, headers), headers)
}

/// A host in a `Host` header, an HTTP/2 request or an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Host<'a> {
    name: &'a str,
    port: Option<u16>,
}

impl<'a> Host<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        // Colons within the brackets of an IPv6 address do not begin a port.
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

    fn is_local(self) -> bool {
        LOCAL.iter().any(|local| self.name.eq_ignore_ascii_case(local))
    }

    fn is_address(self) -> bool {
        let v6 = self.name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        v6.map_or_else(
            || self.name.parse::<Ipv4Addr>().is_ok(),
            |name| name.parse::<Ipv6Addr>().is_ok(),
        )
    }
}

/// Returns the host of the request. An absolute target and HTTP/2's `:authority` take precedence over
/// the header.
fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<Host<'a>> {
    if let Some(authority) = uri.authority() {
        return Host::parse(authority.as_str());
    }
    Host::parse(single(headers, HOST)?)
}

fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

fn is_cross_origin(host: Option<Host<'_>>, headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    if site.is_some_and(|site| site == "cross-site" || site == "same-site") {
        return true;
    }
    if !headers.contains_key(ORIGIN) {
        return false;
    }
    let same = || {
        // `null`, the origin of sandboxed pages and files, has no scheme.
        let (scheme, origin) = single(headers, ORIGIN)?.split_once("://")?;
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

    fn check(own: &OriginCheck, kind: Kind, uri: &str, headers: &[(&str, &str)]) -> Option<Code> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, value.parse().unwrap());
        }
        own.check(kind, &uri.parse().unwrap(), &map).err().map(|problem| problem.code())
    }

    fn local() -> OriginCheck {
        OriginCheck::new(true, &["Tokens.example".to_owned(), "other:81".to_owned()])
    }

    fn get(host: &str) -> Option<Code> {
        check(&local(), Kind::Read, "/", &[("host", host)])
    }

    fn post(host: &str, origin: &str) -> Option<Code> {
        check(&local(), Kind::Write, "/", &[("host", host), ("origin", origin)])
    }

    #[test]
    fn local_and_allowed_hosts_are_accepted_on_any_port() {
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
    fn other_hosts_are_refused() {
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
            assert_eq!(get(host), Some(Code::HostNotAllowed), "{host}");
        }
    }

    #[test]
    fn a_request_must_have_one_host() {
        let (own, get) = (local(), Kind::Read);
        assert_eq!(check(&own, get, "/", &[]), Some(Code::HostNotAllowed));
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(check(&own, get, "/", &two), Some(Code::HostNotAllowed));
    }

    #[test]
    fn the_target_takes_precedence_over_the_header() {
        let (own, get) = (local(), Kind::Read);
        assert_eq!(check(&own, get, "http://localhost:4000/", &[]), None);
        let header = [("host", "localhost")];
        let code = check(&own, get, "http://evil.example/", &header);
        assert_eq!(code, Some(Code::HostNotAllowed));
    }

    #[test]
    fn on_other_addresses_names_must_be_allowed() {
        let own = OriginCheck::new(false, &[]);
        for headers in [&[("host", "evil.example:4000")][..], &[("host", "token-manager")], &[]] {
            assert_eq!(check(&own, Kind::Read, "/", headers), Some(Code::HostNotAllowed));
        }
        // A page that was rebound has the name as its origin, too.
        let rebound = [("host", "evil.example:4000"), ("origin", "http://evil.example:4000")];
        assert_eq!(check(&own, Kind::Write, "/", &rebound), Some(Code::HostNotAllowed));
        for host in ["localhost:4000", "127.0.0.1", "10.1.2.3:4000", "[fd00::1]:4000"] {
            assert_eq!(check(&own, Kind::Read, "/", &[("host", host)]), None, "{host}");
        }
    }

    #[test]
    fn on_other_addresses_only_listed_names_are_accepted() {
        let own = OriginCheck::new(false, &["tokens.example".to_owned()]);
        let get = |host| check(&own, Kind::Read, "/", &[("host", host)]);
        for host in ["tokens.example:4000", "localhost:4000", "127.0.0.1"] {
            assert_eq!(get(host), None, "{host}");
        }
        assert_eq!(get("evil.example:4000"), Some(Code::HostNotAllowed));
    }

    #[test]
    fn on_other_addresses_every_ip_address_is_accepted() {
        let own = OriginCheck::new(false, &["tokens.example".to_owned()]);
        let get = |host| check(&own, Kind::Read, "/metrics", &[("host", host)]);
        for host in ["10.1.2.3", "10.1.2.3:4000", "[fd00::1]", "[fd00::1]:4000"] {
            assert_eq!(get(host), None, "{host}");
        }
        for host in ["10.1.2.3.evil.example", "10.1.2", "10.1.2.3.", "fd00", "[evil]", "[fd00::1"] {
            assert_eq!(get(host), Some(Code::HostNotAllowed), "{host}");
        }
        let foreign = [("host", "10.1.2.3:4000"), ("origin", "http://10.1.2.4:4000")];
        assert_eq!(check(&own, Kind::Write, "/", &foreign), Some(Code::CrossOrigin));
    }

    #[test]
    fn probes_are_accepted_for_any_host() {
        for check_of in [local(), OriginCheck::new(false, &["tokens.example".to_owned()])] {
            for headers in [&[("host", "10.1.2.3:4000")][..], &[("host", "pod.example")], &[]] {
                assert_eq!(check(&check_of, Kind::Probe, "/health/live", headers), None);
            }
            for kind in [Kind::Write, Kind::Metrics, Kind::Read] {
                let code = check(&check_of, kind, "/", &[("host", "pod.example")]);
                assert_eq!(code, Some(Code::HostNotAllowed), "{kind:?}");
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
    fn a_page_of_another_origin_may_not_write() {
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
            assert_eq!(post(host, origin), Some(Code::CrossOrigin), "{host} {origin}");
        }
        let two = [
            ("host", "localhost"),
            ("origin", "http://localhost"),
            ("origin", "http://evil.example"),
        ];
        assert_eq!(check(&local(), Kind::Write, "/", &two), Some(Code::CrossOrigin));
    }

    #[test]
    fn the_site_that_a_browser_reports_is_checked() {
        let with = |kind, site| {
            check(&local(), kind, "/", &[("host", "localhost"), ("sec-fetch-site", site)])
        };
        for kind in [Kind::Write, Kind::Wait, Kind::CostlyRead] {
            assert_eq!(with(kind, "cross-site"), Some(Code::CrossOrigin));
            assert_eq!(with(kind, "same-site"), Some(Code::CrossOrigin));
            assert_eq!(with(kind, "same-origin"), None);
            assert_eq!(with(kind, "none"), None);
        }
        assert_eq!(with(Kind::Read, "cross-site"), None);
    }
}
