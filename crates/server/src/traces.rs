//! What the trace of a request shows of it, where requests are traced. How traces leave the process,
//! and how clients say what a request is part of, is not known here.

use std::borrow::Cow;
use std::fmt;

use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use engine::SPANS;
use tracing::field::Empty;
use tracing::{Span, info_span};

/// Who traces requests.
pub trait Traces: fmt::Debug + Send + Sync {
    /// The span of a request with these headers: what `make` makes, as a part of what the headers
    /// say it is part of; or none, where the request is not to be traced.
    fn span(&self, headers: &HeaderMap, make: &dyn Fn() -> Span) -> Span;
}

/// The span of a request.
pub(crate) fn span<B>(traces: Option<&dyn Traces>, request: &Request<B>) -> Span {
    let Some(traces) = traces else { return Span::none() };
    traces.span(request.headers(), &|| {
        let method = method(request.method());
        let route = route(request.uri().path());
        info_span!(
            target: SPANS,
            parent: None,
            "request",
            otel.name = format!("{method} {}", route.as_deref().unwrap_or_default()).trim_end(),
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method,
            http.route = route.as_deref(),
            http.response.status_code = Empty,
            request_id = Empty,
        )
    })
}

/// Notes in the current span what the answer is.
pub(crate) fn answered(status: StatusCode, request_id: &HeaderValue) {
    let span = Span::current();
    span.record("http.response.status_code", status.as_u16());
    span.record("request_id", request_id.to_str().unwrap_or_default());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// A method is whatever the client says, so only those that mean something are shown, here and in the
/// log.
pub(crate) fn method(method: &Method) -> &str {
    use Method as M;
    let known = [M::GET, M::HEAD, M::POST, M::PUT, M::PATCH, M::DELETE, M::OPTIONS];
    if known.contains(method) { method.as_str() } else { "_OTHER" }
}

/// The path without what differs from request to request: ids, and the values of tokens where
/// somebody took one for an id. None where it leads nowhere.
fn route(path: &str) -> Option<Cow<'_, str>> {
    const WORDS: [&str; 16] = [
        "",
        "active",
        "allocate",
        "api",
        "available",
        "clear-active",
        "events",
        "health",
        "history",
        "leases",
        "live",
        "pool",
        "ready",
        "release",
        "renew",
        "tokens",
    ];
    /// The longest is `/api/tokens/{id}/history`.
    const MOST_SEGMENTS: usize = 5;
    let known = |segment: &str| WORDS.contains(&segment);
    let segments = || path.split('/');
    if path.starts_with("/assets/") {
        return Some("/assets/{digest}/{*path}".into());
    }
    if !segments().nth(1).is_some_and(known) || segments().count() > MOST_SEGMENTS {
        return None;
    }
    if segments().all(known) {
        return Some(path.into());
    }
    let shown = |segment| if known(segment) { segment } else { "{id}" };
    Some(segments().map(shown).collect::<Vec<_>>().join("/").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_shows_nothing_that_differs() {
        let id = "01234567-89ab-cdef-0123-456789abcdef";
        for (path, expected) in [
            ("/", Some("/")),
            ("/api/tokens/allocate", Some("/api/tokens/allocate")),
            (&format!("/api/tokens/{id}/history"), Some("/api/tokens/{id}/history")),
            (&format!("/api/leases/{id}"), Some("/api/leases/{id}")),
            ("/api/tokens/alice", Some("/api/tokens/{id}")),
            ("/assets/0123/view/words.js", Some("/assets/{digest}/{*path}")),
            ("/alice", None),
            ("/api/a/b/c/d/e", None),
        ] {
            assert_eq!(route(path).as_deref(), expected, "{path}");
        }
        assert_eq!(method(&Method::GET), "GET");
        assert_eq!(method(&Method::from_bytes(b"ALICE").unwrap()), "_OTHER");
    }
}
