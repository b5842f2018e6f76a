//! Credentials in requests, and cookies in responses.

use std::time::Duration;

use axum::http::header::{AUTHORIZATION, COOKIE, ORIGIN};
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pool::PlainKey;

/// Maximum length of a session of a browser.
pub(crate) const SESSION_LENGTH: Duration = Duration::from_hours(12);

/// Name of cookies that browsers send over HTTPS only, and that only this host can set.
const SECURE: &str = "__Host-token-manager";

/// Name of cookies of browsers that use `http://localhost`.
const LOCAL: &str = "token-manager";

/// How a browser reaches this server, as far as cookies are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// HTTPS, perhaps to a proxy in front of this server.
    Https,
    /// HTTP to its own machine.
    Local,
    /// HTTP over a network.
    Http,
}

impl Scheme {
    /// `tls`: the connection is TLS. `local`: the request's host is the browser's machine. Pages can't set `Origin` and
    /// `Host`, so both tell what the browser does, whatever is between it and this server.
    pub(crate) fn of(headers: &HeaderMap, tls: bool, local: bool) -> Self {
        let origin = headers.get(ORIGIN).map(HeaderValue::as_bytes).unwrap_or_default();
        match () {
            () if tls || origin.starts_with(b"https://") => Scheme::Https,
            () if local => Scheme::Local,
            () => Scheme::Http,
        }
    }

    const fn cookie(self) -> (&'static str, &'static str) {
        match self {
            Scheme::Https => (SECURE, "; Secure"),
            Scheme::Local | Scheme::Http => (LOCAL, ""),
        }
    }
}

/// Credentials of a request.
#[derive(Debug)]
pub(crate) enum Credentials {
    /// None that are meant for this server.
    Nothing,
    /// What should be an API key, but is none.
    Malformed,
    Key(PlainKey),
    /// The secret in a cookie.
    Cookie(String),
}

impl Credentials {
    /// The credentials in these headers; a key takes precedence over a cookie. The cookie of a local browser counts only if
    /// the request's host is `local`.
    ///
    /// Other texts in `Authorization` belong to a proxy in front of this server, which passes them on.
    pub(crate) fn of(headers: &HeaderMap, local: bool) -> Self {
        let mut keys = headers.get_all(AUTHORIZATION).iter().filter_map(key);
        match (keys.next(), keys.next()) {
            (None, _) => cookie(headers, local).map_or(Credentials::Nothing, Credentials::Cookie),
            (Some(key), None) => {
                PlainKey::parse(&key).map_or(Credentials::Malformed, Credentials::Key)
            }
            (Some(_), Some(_)) => Credentials::Malformed,
        }
    }
}

/// The text of an API key in a header, which may be malformed.
fn key(header: &HeaderValue) -> Option<String> {
    let (scheme, rest) = header.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    let key = if scheme.eq_ignore_ascii_case("bearer") {
        rest.to_owned()
    } else if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(BASE64_STANDARD.decode(rest).ok()?).ok()?;
        decoded.split_once(':')?.1.to_owned()
    } else {
        return None;
    };
    key.starts_with(PlainKey::PREFIX).then_some(key)
}

fn cookie(headers: &HeaderMap, local: bool) -> Option<String> {
    let mut found = (None, None);
    for header in headers.get_all(COOKIE) {
        for pair in header.to_str().unwrap_or_default().split(';') {
            let (name, value) = pair.split_once('=').unwrap_or_default();
            let place = match name.trim() {
                SECURE => &mut found.0,
                LOCAL if local => &mut found.1,
                _ => continue,
            };
            // Of two cookies with the same name, one was set by another program on this host.
            *place =
                Some(value.trim().to_owned()).filter(|_| place.is_none()).or(Some(String::new()));
        }
    }
    found.0.or(found.1).filter(|secret| !secret.is_empty())
}

/// A cookie with this secret.
pub(crate) fn session_cookie(secret: &str, scheme: Scheme) -> HeaderValue {
    set(secret, SESSION_LENGTH, scheme)
}

/// The end of a cookie.
pub(crate) fn expired_cookie(scheme: Scheme) -> HeaderValue {
    set("", Duration::ZERO, scheme)
}

fn set(secret: &str, length: Duration, scheme: Scheme) -> HeaderValue {
    let ((name, secure), seconds) = (scheme.cookie(), length.as_secs());
    let text =
        format!("{name}={secret}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut value = HeaderValue::try_from(text).expect("secrets are letters and digits");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "tm_0123456789ab_cdef";

    fn of(headers: &[(&'static str, &str)], local: bool) -> String {
        let pair = |(name, value): &(&'static str, &str)| {
            (axum::http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let mut all = HeaderMap::new();
        for (name, value) in headers.iter().map(pair) {
            all.append(name, value);
        }
        match Credentials::of(&all, local) {
            Credentials::Cookie(secret) => secret,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_key_is_in_a_bearer_or_basic_header() {
        let plain = PlainKey::generate(|| 1);
        let text = plain.reveal();
        let shown = format!("Key({plain:?})");
        let basic =
            |user: &str| format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{text}")));
        for header in [format!("Bearer {text}"), format!("bEARER  {text} "), basic("x"), basic("")]
        {
            assert_eq!(of(&[("authorization", &header)], false), shown, "{header}");
        }
        let two = [("authorization", &*format!("Bearer {text}")), ("authorization", &basic("a"))];
        assert_eq!(of(&two, false), "Malformed");
        let cookie = [("authorization", &*format!("Bearer {KEY}")), ("cookie", "token-manager=a")];
        assert_eq!(of(&cookie, true), "Malformed", "a wrong key is not replaced by a cookie");
    }

    #[test]
    fn credentials_of_proxies_are_ignored() {
        for header in
            ["", "Bearer", "Bearer eyJhbGciOi", "Basic YTpi", "Basic %", "Digest tm_1_2_3", KEY]
        {
            assert_eq!(of(&[("authorization", header)], true), "Nothing", "{header}");
        }
    }

    #[test]
    fn cookies_count_as_browsers_send_them() {
        for (header, local, secret) in [
            ("token-manager=a", true, "a"),
            ("token-manager=a", false, "Nothing"),
            ("x=1; __Host-token-manager=b;token-manager=a", true, "b"),
            ("__Host-token-manager=b", false, "b"),
            ("token-manager=a; token-manager=b", true, "Nothing"),
            ("token-manager=", true, "Nothing"),
            ("xtoken-manager=a; token-managerx=b; =; c", true, "Nothing"),
            ("__host-token-manager=b", false, "Nothing"),
        ] {
            assert_eq!(of(&[("cookie", header)], local), secret, "{header}");
        }
    }

    #[test]
    fn cookies_are_for_this_server_only() {
        let https = session_cookie("s", Scheme::Https);
        let expected =
            "__Host-token-manager=s; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure";
        assert_eq!(https, expected);
        let expected = "token-manager=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict";
        assert_eq!(expired_cookie(Scheme::Local), expected);
        assert_eq!(format!("{https:?}"), "Sensitive");
    }
}
