//! The API as an `OpenAPI` document: `GET /openapi.json`.
//!
//! Routes, parameters and answers are described beside their handlers, members beside their types.
//! Here they become one document, with [what every answer has](everywhere) and [what can go
//! wrong](problems) added. `docs/openapi.json` is a copy of it, which a test keeps up to date.

mod everywhere;
mod problems;
#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use axum::http::header::{CACHE_CONTROL, ETAG};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use utoipa::PartialSchema;
use utoipa::openapi::OpenApi;

use crate::events::format::{OfEnd, OfStart, Resync, Row};
use crate::http::compress::Shared;
use crate::http::{etag, respond};
use crate::json::words;
use crate::problem;

/// Answers that were really given, by operation and type.
const ANSWERS: &str = include_str!("answers.json");

/// The document as it is served, with its name.
struct Kept {
    text: Shared,
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
        Kept {
            text: Shared::new(text.into()),
            etag: etag.expect("hex digits may stand in a header"),
        }
    });
}

/// Get this document
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "getOpenapi",
    tag = "Health",
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
    extensions(("x-problems" = json!(problem::any(&[])))),
)]
pub(crate) async fn document(headers: HeaderMap) -> Response {
    let Kept { text, etag: tag } =
        KEPT.get().expect("the router keeps it before it has this route");
    let mut response = if etag::matches(&headers, tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = respond::body(text.plain());
        text.clone().mark(&mut response);
        response
    };
    response.headers_mut().insert(ETAG, tag.clone());
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
    everywhere::object(schemas).append(&mut problems::schemas());
    schemas["LeaseRenewed"] = schema::<Row<'_>>();
    for (name, more) in [("LeaseStarted", schema::<OfStart>()), ("LeaseEnded", schema::<OfEnd>())] {
        schemas[name] = json!({ "allOf": [{ "$ref": "#/components/schemas/LeaseRenewed" }, more] });
    }
    schemas["Resync"] = schema::<Resync>();
    schemas["ResyncReason"] = schema::<words::ResyncReason>();
    schemas["SearchedStatus"] = schema::<words::SearchedStatus>();
    schemas["ServerSentEvent"] = server_sent_event();
    everywhere::add(&mut document);
    let answers: Value = serde_json::from_str(ANSWERS).expect("the file is well-formed");
    for operations in everywhere::object(&mut document["paths"]).values_mut() {
        for operation in everywhere::object(operations).values_mut() {
            let id = operation["operationId"].as_str().expect("every operation has one");
            let Some(examples) = answers.get(id).and_then(Value::as_object) else { continue };
            for (media_type, examples) in examples {
                operation["responses"]["200"]["content"][media_type]["examples"] = examples.clone();
            }
        }
    }
    document
}

/// One event of a stream. The stream itself is a text: a client can't read one event from it as JSON.
fn server_sent_event() -> Value {
    let data = ["LeaseStarted", "LeaseRenewed", "LeaseEnded", "Resync"];
    let data = data.map(|name| json!({ "$ref": format!("#/components/schemas/{name}") }));
    json!({
        "description": "An event, or only the id of the place at which a stream is.",
        "type": "object",
        "properties": {
            "event": { "enum": ["lease.started", "lease.renewed", "lease.ended", "resync"] },
            "id": {
                "description": "`EPOCH-VERSION-INDEX`, or `EPOCH-VERSION` for all of a batch",
                "type": "string",
                "pattern": "^[0-9]+-[0-9]+(-[0-9]+)?$",
            },
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": { "anyOf": data },
            },
            "retry": { "description": "Milliseconds", "type": "integer" },
        },
    })
}

pub(crate) fn schema<T: PartialSchema>() -> Value {
    serde_json::to_value(T::schema()).expect("it has no keys that are not texts")
}

const TAGS: [(&str, &str); 6] = [
    ("Tokens", "The pool's tokens: who has which, and who had it."),
    ("Leases", "One lease at a time, and the history of all."),
    ("Queue", "The allocations that wait for a token."),
    ("Pool", "How full the pool is, and its policy."),
    ("Events", "What happens to leases, as it happens."),
    ("Health", "Probes, metrics and this document."),
];
