//! One token, and the end of all leases.

use axum::extract::State;
use axum::response::Response;
use engine::{Handle, Scope, View};
use pool::TokenId;
use wire::{ClearResult, Cleared};

use super::DEFAULT;
use super::release_checks::ClearRequest;
use crate::http::ids::PathId;
use crate::http::respond::{json, unknown_token};
use crate::json::{count, token};
use crate::problem::Problem;

/// End all leases
///
/// The body and the query are ignored, unless they name a condition or a part of the pool.
pub(crate) async fn clear(
    State(engine): State<Handle>,
    _: ClearRequest,
) -> Result<Response, Problem> {
    let ended = count(engine.clear(DEFAULT).await?);
    let result =
        ClearResult { message: Cleared::ALL, tokens_cleared: ended, usages_updated: ended };
    Ok(json(&result, 128))
}

/// Show a token and its holder
pub(crate) async fn show(
    State(engine): State<Handle>,
    PathId { id, .. }: PathId<TokenId>,
) -> Result<Response, Problem> {
    let look = |view: View<'_>| {
        let pool = view.pool(DEFAULT)?;
        Some(token::details(pool, pool.token(id)?, view.now))
    };
    let details = engine.read_of(Scope::Token(id), look).await?.ok_or_else(unknown_token)?;
    Ok(json(&details, 1024))
}
