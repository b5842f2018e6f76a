//! Entity tags.

use axum::http::header::IF_NONE_MATCH;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// Whether the client already has the response with this tag.
pub(crate) fn matches(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    is_named(headers, IF_NONE_MATCH, etag)
}

/// Whether the condition `name` names this tag, or any. Tags are compared weakly, because proxies that
/// compress a response make its tag weak.
pub(crate) fn is_named(headers: &HeaderMap, name: HeaderName, etag: &HeaderValue) -> bool {
    tags(headers, name).any(|tag| tag == b"*" || opaque(tag) == opaque(etag.as_bytes()))
}

/// Whether the condition `name` is `*`.
pub(crate) fn is_any(headers: &HeaderMap, name: HeaderName) -> bool {
    tags(headers, name).all(|tag| tag == b"*")
}

fn tags(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(name).iter();
    lines.flat_map(|tags| tags.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        let etag = HeaderValue::from_static("W/\"1-a\"");
        let matches = |sent: &'static str| {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(sent))]);
            matches(&headers, &etag)
        };
        for sent in ["W/\"1-a\"", "\"1-a\"", "*", "\"x\", W/\"1-a\" ,\"y\""] {
            assert!(matches(sent), "{sent}");
        }
        for sent in ["", "1-a", "\"1-b\"", "W/\"1-\"", "w/\"1-a\""] {
            assert!(!matches(sent), "{sent}");
        }
        assert!(!super::matches(&HeaderMap::new(), &etag));
    }
}
