//! Successful responses, and problems that several handlers return.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LINK};
use axum::response::Response;
use pool::User;
use serde::Serialize;

use crate::json::{self, JSON};
use crate::problem::{Code, Problem};

/// Responds with JSON; `size` is the expected number of bytes.
pub(crate) fn json(value: &impl Serialize, size: usize) -> Response {
    body(json::to_vec(value, size))
}

/// Responds with JSON that no cache may store, because it describes this moment.
pub(crate) fn uncached(value: &impl Serialize, size: usize) -> Response {
    const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
    let mut response = json(value, size);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// Responds with serialized JSON.
pub(crate) fn body(bytes: impl Into<Body>) -> Response {
    let mut response = Response::new(bytes.into());
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// Adds a `Link` to the next page, if there is one.
pub(crate) fn link_next(mut response: Response, next: Option<&str>) -> Response {
    if let Some(next) = next {
        let link = HeaderValue::try_from(format!("<{next}>; rel=\"next\""));
        let link = link.expect("paths and encoded queries are valid in headers");
        response.headers_mut().insert(LINK, link);
    }
    response
}

/// User of a request, in the extensions of its response, for the access log.
#[derive(Clone)]
pub(crate) struct LoggedUser(pub(crate) Arc<str>);

/// Names the user of a request in the access log.
pub(crate) fn log_user(mut response: Response, user: &User) -> Response {
    response.extensions_mut().insert(LoggedUser(Arc::clone(&user.name)));
    response
}

/// The problem of a request whose caller has lost its rights meanwhile.
pub(crate) fn revoked() -> Problem {
    let detail = "The API key was revoked or has expired, or its session has ended.";
    Problem::new(Code::Unauthenticated, detail)
}

pub(crate) fn unknown_pool() -> Problem {
    Problem::new(Code::UnknownPool, "No pool has this name. See GET /api/pools.")
}

pub(crate) fn unknown_key() -> Problem {
    Problem::new(Code::UnknownKey, "No API key has this id or name. See GET /api/keys.")
}

pub(crate) fn unknown_token() -> Problem {
    Problem::new(Code::UnknownToken, "The pool has no token with this id.")
}

pub(crate) fn unknown_token_name() -> Problem {
    Problem::new(Code::UnknownToken, "The pool has no token with this name or id.")
}

pub(crate) fn unknown_lease() -> Problem {
    let detail = "No lease has this id, or it was deleted after its retention time.";
    Problem::new(Code::UnknownLease, detail)
}

pub(crate) fn too_many_answers() -> Problem {
    let detail = "Unread responses use all memory reserved for responses. Try again after the time \
                  in Retry-After.";
    Problem::new(Code::TooManyAnswers, detail)
}
