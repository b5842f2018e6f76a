//! What the trace of a request shows of it, where requests are traced. How traces leave the process,
//! and how clients say what a request is part of, is not known here.

use std::fmt;

use axum::http::{HeaderMap, HeaderValue, Method, Request};
use axum::response::Response;
use engine::SPANS;
use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::metrics::METHODS;
use crate::problem::Code;

/// Who traces requests.
pub trait Traces: fmt::Debug + Send + Sync {
    /// The span of a request with these headers: what `make` makes, as a part of what the headers
    /// say it is part of; or none, where the request is not to be traced.
    fn span(&self, headers: &HeaderMap, make: &dyn Fn() -> Span) -> Span;
}

/// The span of a request whose path leads to that route.
pub(crate) fn span<B>(
    traces: Option<&dyn Traces>,
    request: &Request<B>,
    route: Option<&'static str>,
) -> Span {
    let Some(traces) = traces else { return Span::none() };
    traces.span(request.headers(), &|| {
        let method = method(request.method());
        info_span!(
            target: SPANS,
            parent: None,
            "request",
            otel.name = format!("{method} {}", route.unwrap_or_default()).trim_end(),
            otel.kind = "server",
            otel.status_code = Empty,
            "error.type" = Empty,
            http.request.method = method,
            http.route = route,
            http.response.status_code = Empty,
            request_id = Empty,
        )
    })
}

/// Notes in the current span what the answer is.
pub(crate) fn answered(response: &Response, request_id: &HeaderValue) {
    let (span, status) = (Span::current(), response.status());
    // An unsigned number would be exported as text.
    span.record("http.response.status_code", i64::from(status.as_u16()));
    span.record("request_id", request_id.to_str().unwrap_or_default());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
        let code = response.extensions().get::<Code>();
        span.record("error.type", code.map_or(status.as_str(), |code| code.as_str()));
    }
}

/// A method as it is shown here and in the log.
pub(crate) fn method(method: &Method) -> &str {
    if METHODS.contains(method) { method.as_str() } else { "_OTHER" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_methods_that_mean_something_are_shown() {
        assert_eq!(method(&Method::GET), "GET");
        assert_eq!(method(&Method::from_bytes(b"ALICE").unwrap()), "_OTHER");
    }
}
