//! A token's past: `GET /api/tokens/{id}/history`.

use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::LINK;
use axum::response::Response;
use pool::Fence;
use serde::Serialize;

use crate::MAX_ROWS;
use crate::answer::{Usage, json};
use crate::app::{App, SentId, unknown_token};
use crate::parameters::number;
use crate::problem::Problem;

/// About how long a row is in JSON.
const BYTES_PER_ROW: usize = 600;

#[derive(Serialize)]
struct Answer<'a> {
    token_id: &'a str,
    history: Vec<Usage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
}

pub(crate) async fn history(
    State(app): State<App>,
    id: SentId,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
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
