//! One token, and the end of all leases.

use axum::response::Response;
use engine::{Scope, View};
use pool::TokenId;
use wire::{ClearResult, Cleared};

use super::release_checks::ClearRequest;
use crate::http::access::Acting;
use crate::http::ids::PathId;
use crate::http::respond::{json, unknown_token};
use crate::json::{count, token};
use crate::problem::Problem;

/// End all leases
///
/// The body and the query are ignored, unless they name a condition or a part of the pool.
pub(crate) async fn clear(acting: Acting, _: ClearRequest) -> Result<Response, Problem> {
    let pool = acting.default_pool()?;
    let ended = count(acting.engine.clear(pool).await?);
    let result =
        ClearResult { message: Cleared::ALL, tokens_cleared: ended, usages_updated: ended };
    Ok(json(&result, 128))
}

/// Show a token and its holder
pub(crate) async fn show(
    acting: Acting,
    PathId { id, .. }: PathId<TokenId>,
) -> Result<Response, Problem> {
    let (of, with_value) = (acting.default_pool()?, acting.shows_values());
    let look = |view: View<'_>| {
        let pool = view.pool(of)?;
        Some(token::details(pool, pool.token(id)?, view.now, with_value))
    };
    let details = acting.engine.read_of(Scope::Token(id), look).await?.ok_or_else(unknown_token)?;
    Ok(json(&details, 1024))
}
