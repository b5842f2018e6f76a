//! Spans of requests. The [`Traces`] implementation knows how they are exported.

use axum::http::{HeaderValue, Method, Request};
use axum::response::Response;
use engine::SPANS;
use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::metrics::METHODS;
use crate::problem::Code;
use crate::settings::Traces;

/// Creates the span of a request.
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

/// Records the response in the current span.
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

/// A method as it appears in spans and in the log.
pub(crate) fn method(method: &Method) -> &str {
    if METHODS.contains(method) { method.as_str() } else { "_OTHER" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_methods_are_replaced() {
        assert_eq!(method(&Method::GET), "GET");
        assert_eq!(method(&Method::from_bytes(b"ALICE").unwrap()), "_OTHER");
    }
}
