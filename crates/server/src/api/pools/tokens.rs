//! Tokens of a pool.

use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use engine::{Scope, View};
use pool::{Expected, Intent, Plan, Pool, PoolName, PoolWanted, TokenId, TokenView};
use wire::{MAX_ROWS, PoolToken, PoolTokenPage};

use super::apply::{self, DryRun};
use super::present;
use crate::http::access::Acting;
use crate::http::ids::{PathTexts, uuid};
use crate::http::json_body::JsonBody;
use crate::http::query::{Parameters, Query, Values};
use crate::http::respond::{link_next, uncached, unknown_pool, unknown_token_name};
use crate::json::pools::{TOKEN_BYTES, token};
use crate::problem::Problem;

/// List the tokens of a pool
pub(crate) async fn list(
    acting: Acting,
    PathTexts([name]): PathTexts<1>,
    Query(TokensQuery { limit, from }): Query<TokensQuery>,
) -> Result<Response, Problem> {
    let pool = id(&acting, &name).await?;
    let with_values = acting.shows_values();
    let look = |view: View<'_>| {
        let pool = view.pool(pool)?;
        let mut tokens = pool.tokens(from);
        let row = |token_view| token(pool, token_view, view.now, with_values);
        let page: Vec<_> = tokens.by_ref().take(limit).map(row).collect();
        let last = page.last().filter(|_| tokens.next().is_some());
        let next = last
            .map(|last| format!("/api/pools/{name}/tokens?limit={limit}&after={}", last.number));
        Some(PoolTokenPage { tokens: page, next })
    };
    let page = acting.engine.read_of(Scope::Pool(pool), look).await?.ok_or_else(unknown_pool)?;
    let response = uncached(&page, 64 + page.tokens.len() * TOKEN_BYTES);
    Ok(link_next(response, page.next.as_deref()))
}

/// Parameters of a list of tokens.
pub(crate) struct TokensQuery {
    limit: usize,
    /// Position of the first token.
    from: u32,
}

impl Parameters for TokensQuery {
    const NAMES: &'static [&'static str] = &["limit", "after"];

    fn read(values: &Values<'_>) -> Result<Self, Problem> {
        let limit = values.limit()?.unwrap_or(MAX_ROWS).into();
        // The number of the last token on the previous page, which is the position after it.
        let after = values.number("after", 0..=i64::from(u32::MAX))?.unwrap_or(0);
        Ok(TokensQuery { limit, from: u32::try_from(after).unwrap_or(u32::MAX) })
    }
}

/// Add, change and retire tokens
pub(crate) async fn put(
    acting: Acting,
    PathTexts([name]): PathTexts<1>,
    Query(TokensPut { dry_run, prune }): Query<TokensPut>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let expected = condition(&acting, &headers, &name).await?;
    let options = documents::Options { prune, end_leases: false };
    let plan = apply::plan_of_tokens(body, name, options).await?;
    apply::run(&acting, apply::expecting(plan, &expected), dry_run).await
}

/// Parameters of a list of wanted tokens.
pub(crate) struct TokensPut {
    dry_run: bool,
    prune: bool,
}

impl Parameters for TokensPut {
    const NAMES: &'static [&'static str] = &["dry_run", "prune"];

    fn read(values: &Values<'_>) -> Result<Self, Problem> {
        Ok(TokensPut { dry_run: values.flag("dry_run")?, prune: values.flag("prune")? })
    }
}

/// Add a token
pub(crate) async fn post(
    acting: Acting,
    PathTexts([name]): PathTexts<1>,
    Query(()): Query<()>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let expected = condition(&acting, &headers, &name).await?;
    let plan = apply::plan_of_token(body, name.clone()).await?;
    let mut plan = apply::expecting(plan, &expected);
    let wanted = plan.pools.iter_mut().flat_map(|pool| pool.tokens.iter_mut().flatten()).next();
    let id = wanted.map(|wanted| {
        wanted.intent = Intent::Create;
        wanted.fresh_id
    });
    apply::change(&acting, plan).await?;
    let id = id.ok_or_else(unknown_token_name)?;
    let token = shown(&acting, id).await?;
    let mut response = uncached(&token, TOKEN_BYTES);
    *response.status_mut() = StatusCode::CREATED;
    let location = HeaderValue::try_from(format!("/api/pools/{name}/tokens/{}", token.name));
    let location = location.expect("names are valid in headers");
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// Show a token of a pool
pub(crate) async fn show(
    acting: Acting,
    PathTexts([pool, name]): PathTexts<2>,
    Query(()): Query<()>,
) -> Result<Response, Problem> {
    let id = find(&acting, &pool, &name).await?;
    Ok(uncached(&shown(&acting, id).await?, TOKEN_BYTES))
}

/// Change a token
pub(crate) async fn patch(
    acting: Acting,
    PathTexts([pool, name]): PathTexts<2>,
    Query(()): Query<()>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let expected = condition(&acting, &headers, &pool).await?;
    let id = find(&acting, &pool, &name).await?;
    let plan = apply::plan_of_token(body, pool).await?;
    let mut plan = apply::expecting(plan, &expected);
    for wanted in plan.pools.iter_mut().flat_map(|pool| pool.tokens.iter_mut().flatten()) {
        wanted.intent = Intent::Change(id);
    }
    apply::change(&acting, plan).await?;
    Ok(uncached(&shown(&acting, id).await?, TOKEN_BYTES))
}

/// Retire a token
///
/// Its running lease continues.
pub(crate) async fn delete(
    acting: Acting,
    PathTexts([pool, name]): PathTexts<2>,
    Query(DryRun(dry_run)): Query<DryRun>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let expected = condition(&acting, &headers, &pool).await?;
    let id = find(&acting, &pool, &name).await?;
    let mut wanted = engine::wanted_token(None);
    wanted.intent = Intent::Retire(id);
    let name = PoolName::new(&pool).map_err(|_| unknown_pool())?;
    let pool = PoolWanted { tokens: Some(vec![wanted]), expected, ..PoolWanted::new(name) };
    let plan = Plan { pools: vec![pool], ..Plan::default() };
    apply::run(&acting, plan, dry_run).await
}

/// The condition of a request that is about an existing pool.
async fn condition(acting: &Acting, headers: &HeaderMap, name: &str) -> Result<Expected, Problem> {
    id(acting, name).await?;
    apply::expected(acting, headers, name).await.map(present)
}

/// Finds a pool by its name.
pub(super) async fn id(acting: &Acting, name: &str) -> Result<pool::PoolId, Problem> {
    let look = |view: View<'_>| acting.find(view, name).map(Pool::id);
    acting.engine.read_of(Scope::Timeless, look).await?.ok_or_else(unknown_pool)
}

/// Finds a token of a pool by its name or id.
pub(super) async fn find(acting: &Acting, pool: &str, token: &str) -> Result<TokenId, Problem> {
    let look = |view: View<'_>| {
        let pool = acting.find(view, pool).ok_or_else(unknown_pool)?;
        let by_id = || pool.token(TokenId(uuid(token)?));
        let found = pool.token_named(token).or_else(by_id);
        found.map(|view| view.token.id).ok_or_else(unknown_token_name)
    };
    acting.engine.read_of(Scope::Timeless, look).await?
}

/// A token as it is now.
pub(super) async fn shown(acting: &Acting, id: TokenId) -> Result<PoolToken, Problem> {
    let look = |view: View<'_>| {
        let found: TokenView<'_> = view.ledger.token(id)?;
        let pool = acting.pool(view, found.token.pool)?;
        Some(token(pool, found, view.now, acting.shows_values()))
    };
    acting.engine.read_of(Scope::Token(id), look).await?.ok_or_else(unknown_token_name)
}
