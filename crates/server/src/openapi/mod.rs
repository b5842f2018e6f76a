//! The API as an `OpenAPI` document: `GET /openapi.json`.
//!
//! Routes, parameters and answers are described beside their handlers, members beside their types.
//! Here they become one document, with [what every answer has](everywhere) and [what can go
//! wrong](problems) added. `docs/openapi.json` is a copy of it, which a test keeps up to date.

mod everywhere;
mod problems;
#[cfg(test)]
mod tests;
pub(crate) mod words;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use axum::http::header::{CACHE_CONTROL, ETAG};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};
use utoipa::openapi::OpenApi;
use utoipa::{PartialSchema, ToSchema};

use crate::answer;
use crate::events::text::{Ended, Resync, Row, Started};
use crate::pages::is_known;
use crate::problem::{self, Document};

/// The document as it is served, with its name.
struct Kept {
    text: Bytes,
    etag: HeaderValue,
}

static KEPT: OnceLock<Kept> = OnceLock::new();

/// Keeps the document for [`document`]. It is the same for all servers of a process.
pub(crate) fn keep(described: OpenApi) {
    KEPT.get_or_init(|| {
        let text = complete(described).to_string();
        let mut hash = DefaultHasher::new();
        text.hash(&mut hash);
        let etag = HeaderValue::try_from(format!("W/\"{:016x}\"", hash.finish()));
        Kept { text: text.into(), etag: etag.expect("hex digits may stand in a header") }
    });
}

/// Get this document
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "getOpenapi",
    tag = "Pages",
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of what is known")),
    responses(
        (status = 200, description = "The API, as OpenAPI 3.1", body = Object, headers(
            ("ETag" = String, description = "The name of this version"),
            ("Cache-Control" = String, description = "`no-cache`: to be asked about each time"),
        )),
        (status = 304, description = "Nothing has changed", headers(
            ("ETag" = String, description = "The name of this version"),
            ("Cache-Control" = String, description = "`no-cache`: to be asked about each time"),
        )),
    ),
    extensions(("x-problems" = json!(problem::door(&[])))),
)]
pub(crate) async fn document(headers: HeaderMap) -> Response {
    let Kept { text, etag } = KEPT.get().expect("the router keeps it before it has this route");
    let mut response = if is_known(&headers, etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        answer::body(text.clone())
    };
    response.headers_mut().insert(ETAG, etag.clone());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The document, of what was described.
pub(crate) fn complete(described: OpenApi) -> Value {
    let mut document = serde_json::to_value(described).expect("it has no keys that are not texts");
    document["info"] = json!({
        "title": "TokenManager",
        "version": env!("CARGO_PKG_VERSION"),
        "description": include_str!("introduction.md"),
        "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
    });
    document["servers"] = json!([{ "url": "/", "description": "The server that sent this" }]);
    document["tags"] =
        TAGS.map(|(name, description)| json!({ "name": name, "description": description })).into();
    let schemas = &mut document["components"]["schemas"];
    schemas["Problem"] = schema::<Document<'_>>();
    schemas["LeaseRenewed"] = schema::<Row<'_>>();
    for (name, more) in [("LeaseStarted", schema::<Started>()), ("LeaseEnded", schema::<Ended>())] {
        schemas[name] = json!({ "allOf": [{ "$ref": "#/components/schemas/LeaseRenewed" }, more] });
    }
    schemas["Resync"] = schema::<Resync>();
    for word in [words::ResyncReason::name()] {
        schemas[word.as_ref()] = schema::<words::ResyncReason>();
    }
    everywhere::add(&mut document);
    document
}

fn schema<T: PartialSchema>() -> Value {
    serde_json::to_value(T::schema()).expect("it has no keys that are not texts")
}

const TAGS: [(&str, &str); 6] = [
    ("Tokens", "The pool's tokens: who has which, and who had it."),
    ("Leases", "One lease at a time, and the history of all."),
    ("Pool", "How full the pool is, and its policy."),
    ("Events", "What happens to leases, as it happens."),
    ("Health", "For probes and load balancers."),
    ("Pages", "What people and browsers look at."),
];
