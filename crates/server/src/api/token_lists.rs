//! Lists of tokens.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use engine::{Scope, Stamp, View};
use pool::Pool;

use super::pool_of;
use super::token_pages::{self, List, ListQuery, Page, Pages, Part};
use crate::http::access::{Acting, Engine};
use crate::http::query::Query;
use crate::http::respond::too_many_answers;
use crate::net::connections::Connections;
use crate::problem::Problem;

/// Version of the lists' JSON, a part of their `ETag`. Raise it whenever the JSON of the same state of a
/// pool changes.
const FORMAT: u32 = 3;

/// List all tokens
///
/// Send the `ETag` as `If-None-Match` to get an empty 304 while nothing has changed.
pub(crate) async fn all(request: ListRequest) -> Result<Response, Problem> {
    list(List::All, request).await
}

/// List available tokens
///
/// Send the `ETag` as `If-None-Match` to get an empty 304 while nothing has changed.
pub(crate) async fn available(request: ListRequest) -> Result<Response, Problem> {
    list(List::Available, request).await
}

/// List tokens in use
///
/// Send the `ETag` as `If-None-Match` to get an empty 304 while nothing has changed.
pub(crate) async fn active(request: ListRequest) -> Result<Response, Problem> {
    list(List::Active, request).await
}

/// A request for a list, with the state that it needs.
pub(crate) struct ListRequest {
    acting: Acting,
    pages: Arc<Pages>,
    connections: Arc<Connections>,
    query: ListQuery,
    headers: HeaderMap,
}

impl<S: Sync> FromRequestParts<S> for ListRequest
where
    Engine: FromRef<S>,
    Arc<Pages>: FromRef<S>,
    Arc<Connections>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::from_request_parts(parts, state).await?;
        Ok(ListRequest {
            acting: Acting::from_request_parts(parts, state).await?,
            pages: FromRef::from_ref(state),
            connections: FromRef::from_ref(state),
            query,
            headers: std::mem::take(&mut parts.headers),
        })
    }
}

async fn list(list: List, request: ListRequest) -> Result<Response, Problem> {
    let ListRequest { acting, pages, connections, query, headers } = request;
    let (id, with_values) = (acting.default_pool()?, acting.shows_values());
    let part = Part::new(list, query, with_values);
    let look = |view: View<'_>| {
        let pool = pool_of(view, id)?;
        let cached = pages.find(view.stamp, part);
        let fresh = || (view.stamp, etag(pool, view.stamp, with_values), part.rows(pool, view.now));
        Ok::<_, Problem>(cached.ok_or_else(fresh))
    };
    let page = match acting.engine.read_of(Scope::Pool(id), look).await?? {
        Ok(cached) => cached,
        Err((stamp, etag, (rows, more_after))) => {
            let next = more_after.map(|last| part.next(last));
            let body = token_pages::body(&rows);
            let charge = connections.try_charge(body.len()).ok_or_else(too_many_answers)?;
            pages.keep(stamp, part, Page::new(charge.hold(body), etag, next))
        }
    };
    Ok(page.response(&headers))
}

/// Returns the `ETag` of a state of a pool. The first token's id identifies the pool, so that a pool
/// in a new database has other tags.
fn etag(pool: &Pool, stamp: Stamp, with_values: bool) -> HeaderValue {
    let Stamp { epoch, version, overdue } = stamp;
    let pool = pool.tokens(0).next().map_or(0, |first| first.token.id.0.as_fields().0);
    let values = if with_values { "" } else { "-r" };
    let etag = format!("W/\"{FORMAT}-{pool:08x}-{epoch}-{version}-{overdue}{values}\"");
    HeaderValue::try_from(etag).expect("numbers are valid in headers")
}
