//! The history of a token.

use axum::response::Response;
use pool::{Fence, TokenId};
use wire::{History, MAX_ROWS, NoHistory};

use crate::http::access::Acting;
use crate::http::ids::PathId;
use crate::http::query::{Parameters, Query, Values};
use crate::http::respond::{json, link_next, unknown_token};
use crate::http::unsupported::{self, Context};
use crate::json::token;
use crate::problem::Problem;

/// Approximate size of a row in JSON.
const BYTES_PER_ROW: usize = 600;

/// Show the history of a token
pub(crate) async fn history(
    acting: Acting,
    PathId { id, sent }: PathId<TokenId>,
    Query(HistoryQuery { limit, before }): Query<HistoryQuery>,
) -> Result<Response, Problem> {
    let pool = acting.default_pool()?;
    let page = acting.engine.history(pool, id, before, limit.unwrap_or(MAX_ROWS).into()).await?;
    let page = page.ok_or_else(unknown_token)?;
    let next = page.next.map(|fence| {
        let limit = limit.map_or(String::new(), |limit| format!("limit={limit}&"));
        format!("/api/tokens/{sent}/history?{limit}before={}", fence.get())
    });
    let never_used = page.leases.is_empty() && before.is_none();
    let answer = History {
        token_id: sent,
        history: page.leases.iter().map(token::history_entry).collect(),
        message: never_used.then_some(NoHistory::NONE),
        next,
    };
    let response = json(&answer, 256 + page.leases.len() * BYTES_PER_ROW);
    Ok(link_next(response, answer.next.as_deref()))
}

/// Parameters of a history.
pub(crate) struct HistoryQuery {
    limit: Option<u16>,
    before: Option<Fence>,
}

impl Parameters for HistoryQuery {
    const NAMES: &'static [&'static str] = &["limit", "before"];
    const STRICT: bool = false;

    fn read(values: &Values<'_>) -> Result<Self, Problem> {
        unsupported::refuse_in_query(Context::History, values.query)?;
        let before = values.number("before", 1..=i64::MAX)?.map(Fence::new);
        Ok(HistoryQuery { limit: values.limit()?, before })
    }
}
