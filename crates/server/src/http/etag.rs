//! Entity tags.

use axum::http::header::IF_NONE_MATCH;
use axum::http::{HeaderMap, HeaderValue};

/// Whether the client already has the response with this tag.
pub(crate) fn matches(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let known = headers.get_all(IF_NONE_MATCH).iter();
    known.flat_map(|tags| tags.as_bytes().split(|&byte| byte == b',')).any(|tag| {
        let tag = tag.trim_ascii();
        tag == b"*" || opaque(tag) == opaque(etag.as_bytes())
    })
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
