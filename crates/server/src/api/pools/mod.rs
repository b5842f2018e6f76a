//! Pools: lists, documents, deletion, and the end of all leases of one.

pub(crate) mod allocate;
pub(crate) mod apply;
pub(crate) mod taints;
pub(crate) mod tokens;

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::ETAG;
use axum::response::Response;
use engine::View;
use pool::{Expected, Plan, Pool, PoolName, PoolWanted};
use wire::{MAX_ROWS, PoolCleared, PoolPage};

use self::apply::{ApplyQuery, DeleteQuery};
use crate::http::access::Acting;
use crate::http::ids::PathTexts;
use crate::http::json_body::JsonBody;
use crate::http::query::{Parameters, Query, Values, invalid};
use crate::http::respond::{link_next, uncached, unknown_pool};
use crate::http::unsupported::EmptyBody;
use crate::json::count;
use crate::json::lease;
use crate::json::pools::{POOL_BYTES, details, status};
use crate::problem::Problem;

/// List pools
pub(crate) async fn list(
    acting: Acting,
    Query(PoolsQuery { limit, after }): Query<PoolsQuery>,
) -> Result<Response, Problem> {
    let look = |view: View<'_>| {
        let from = view.ledger.pools_by_name(&after);
        let visible = |pool: &&Pool| acting.caller.has_pool(pool.name());
        let mut pools = from.filter(|pool| pool.name().as_str() != after).filter(visible);
        let page: Vec<_> = pools.by_ref().take(limit).map(|pool| details(pool, &view)).collect();
        let last = page.last().filter(|_| pools.next().is_some());
        let next = last.map(|last| format!("/api/pools?limit={limit}&after={}", last.name));
        let (epoch, version) = (view.stamp.epoch, view.stamp.version);
        PoolPage { pools: page, next, epoch, version }
    };
    let page = acting.engine.read(look).await?;
    let response = uncached(&page, 64 + page.pools.len() * POOL_BYTES);
    Ok(link_next(response, page.next.as_deref()))
}

/// Parameters of a list of pools.
pub(crate) struct PoolsQuery {
    limit: usize,
    /// Name of the last pool on the previous page.
    after: String,
}

impl Parameters for PoolsQuery {
    const NAMES: &'static [&'static str] = &["limit", "after"];

    fn read(values: &Values<'_>) -> Result<Self, Problem> {
        let limit = values.limit()?.unwrap_or(MAX_ROWS).into();
        Ok(PoolsQuery { limit, after: values.text("after").unwrap_or_default().to_owned() })
    }
}

/// Create, change and delete pools
///
/// Applies a document as a whole or not at all.
pub(crate) async fn put_all(
    acting: Acting,
    Query(query): Query<ApplyQuery>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    if apply::has_condition(&headers) {
        let detail = "If-Match and If-None-Match apply to one pool. Send the document of each pool to \
                      /api/pools/{pool}.";
        return Err(invalid(detail));
    }
    let plan = apply::plan_of_pools(body, query.options()).await?;
    apply::run(&acting, plan, query.dry_run).await
}

/// Show a pool
pub(crate) async fn show(
    acting: Acting,
    PathTexts([name]): PathTexts<1>,
    Query(()): Query<()>,
) -> Result<Response, Problem> {
    let look = |view: View<'_>| {
        let pool = acting.find(view, &name)?;
        Some((status(pool, &view), apply::etag(pool.record())))
    };
    let (status, etag) = acting.engine.read(look).await?.ok_or_else(unknown_pool)?;
    let mut response = uncached(&status, POOL_BYTES + lease::BYTES);
    response.headers_mut().insert(ETAG, etag);
    Ok(response)
}

/// Create or change a pool
pub(crate) async fn put(
    acting: Acting,
    PathTexts([name]): PathTexts<1>,
    Query(query): Query<ApplyQuery>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let expected = apply::expected(&acting, &headers, &name).await?;
    let plan = apply::plan_of_pool(body, name, query.options()).await?;
    apply::run(&acting, apply::expecting(plan, &expected), query.dry_run).await
}

/// Delete a pool
pub(crate) async fn delete(
    acting: Acting,
    PathTexts([name]): PathTexts<1>,
    Query(DeleteQuery { dry_run, end_leases }): Query<DeleteQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let expected = apply::expected(&acting, &headers, &name).await?;
    let name = PoolName::new(&name).map_err(|_| unknown_pool())?;
    let wanted = PoolWanted { delete: true, expected, ..PoolWanted::new(name) };
    let plan = Plan { pools: vec![wanted], prune: false, end_leases };
    apply::run(&acting, plan, dry_run).await
}

/// End all leases of a pool
pub(crate) async fn clear(
    acting: Acting,
    PathTexts([name]): PathTexts<1>,
    EmptyBody: EmptyBody,
) -> Result<Response, Problem> {
    let pool = tokens::id(&acting, &name).await?;
    let leases_ended = count(acting.engine.clear(pool).await?);
    Ok(uncached(&PoolCleared { pool: Arc::from(name), leases_ended }, 128))
}

/// The plan for a pool with this condition that must exist.
fn present(expected: Expected) -> Expected {
    if expected == Expected::Any { Expected::Present } else { expected }
}
