//! A token's past: `GET /api/tokens/{id}/history`.

use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::LINK;
use axum::response::Response;
use pool::Fence;
use serde::Serialize;
use utoipa::ToSchema;

use crate::MAX_ROWS;
use crate::answer::{Usage, json};
use crate::app::{App, SentId, unknown_token};
use crate::openapi::words;
use crate::parameters::number;
use crate::problem::{self, Code, Problem};
use crate::wishes::{self, Route};

/// About how long a row is in JSON.
const BYTES_PER_ROW: usize = 600;

/// A token's leases, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = History)]
struct Answer<'a> {
    /// As it was sent.
    #[schema(format = "uuid")]
    token_id: &'a str,
    history: Vec<Usage<'a>>,
    /// Only where nobody has had the token yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = words::no_history)]
    message: Option<&'static str>,
    /// The path of the rows before, while there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<&'a str>,
}

/// Show who had a token, and when
#[utoipa::path(
    get,
    path = "/api/tokens/{id}/history",
    operation_id = "getTokenHistory",
    tag = "Tokens",
    params(
        ("id" = Uuid, Path, description = "The token's id"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000,
            description = "How many rows at most; 1000 when left out"),
        ("before" = Option<i64>, Query, minimum = 1,
            description = "Only leases with a smaller fence; it comes with `next`"),
    ),
    responses((status = 200, description = "The token's leases, newest first", body = Answer<'_>, headers(
        ("Link" = String, description = "Where there are more: `<PATH>; rel=\"next\"`"),
    ))),
    extensions(("x-problems" = json!(problem::read(&[Code::ForeignPage, Code::InvalidTokenId, Code::InvalidParameter, Code::UnknownToken])))),
)]
pub(crate) async fn history(
    State(app): State<App>,
    id: SentId,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    wishes::refuse_in_query(Route::History, query.as_deref().unwrap_or_default())?;
    let limit = number(query.as_deref(), "limit", 1..=MAX_ROWS.into())?;
    let before = number(query.as_deref(), "before", 1..=i64::MAX)?.map(Fence::new);
    let rows = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MAX_ROWS.into());
    let page = app.engine.history(id.token(), before, rows).await?.ok_or_else(unknown_token)?;
    let next = page.next.map(|fence| {
        let limit = limit.map_or(String::new(), |limit| format!("limit={limit}&"));
        format!("/api/tokens/{}/history?{limit}before={}", id.sent, fence.get())
    });
    let never_used = page.leases.is_empty() && before.is_none();
    let answer = Answer {
        token_id: &id.sent,
        history: page.leases.iter().map(Usage::from).collect(),
        message: never_used.then_some("No usage history found"),
        next: next.as_deref(),
    };
    let mut response = json(&answer, 256 + page.leases.len() * BYTES_PER_ROW);
    if let Some(next) = &next {
        let link = HeaderValue::try_from(format!("<{next}>; rel=\"next\""));
        let link = link.expect("paths, ids and numbers may stand in a header");
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}
