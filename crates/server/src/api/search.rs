//! Search of leases, and their export.

use axum::extract::{RawQuery, State};
use axum::http::header::{ACCEPT, VARY};
use axum::http::{HeaderMap, HeaderValue, Version};
use axum::response::Response;
use engine::{Cursor, LeaseQuery, LeaseRecord};
use pool::TokenId;
use wire::{LeasePage, MAX_ROWS};

use super::export::{self, Exports};
use super::search_query::{CursorText, ExportQuery, Pools, SearchQuery};
use crate::http::accept::weight;
use crate::http::access::Acting;
use crate::http::ids::uuid;
use crate::http::query::{Query, invalid, next_page};
use crate::http::respond::{link_next, uncached, unknown_token_name};
use crate::json::lease::{BYTES, lease, named};
use crate::problem::Problem;

const PATH: &str = "/api/leases";

/// Search leases
///
/// Leases that match all parameters, newest first. `end_reason` can't be combined with the status
/// `running`. Each parameter may be given once. With `format=csv`, or an `Accept` that
/// prefers `text/csv`, the response is that of `/api/leases/export`.
pub(crate) async fn search(
    acting: Acting,
    State(exports): State<Exports>,
    RawQuery(text): RawQuery,
    Query(query): Query<SearchQuery>,
    version: Version,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut response = if query.csv.unwrap_or_else(|| prefers_csv(&headers)) {
        if query.limit.is_some() {
            return Err(invalid("limit must be left out: an export contains all matching leases."));
        }
        let leases =
            named_leases(&acting, query.leases, query.pools.as_ref(), query.token.as_deref())
                .await?;
        export::export(acting, &exports, leases, query.pools.is_some(), version).await?
    } else {
        page(&acting, text.as_deref().unwrap_or_default(), &query).await?
    };
    response.headers_mut().insert(VARY, HeaderValue::from(ACCEPT));
    Ok(response)
}

/// Export leases as CSV
///
/// All leases that match all parameters, newest first, as one file with a header row (RFC 4180).
pub(crate) async fn export(
    acting: Acting,
    State(exports): State<Exports>,
    Query(ExportQuery { leases, pools, token }): Query<ExportQuery>,
    version: Version,
) -> Result<Response, Problem> {
    let leases = named_leases(&acting, leases, pools.as_ref(), token.as_deref()).await?;
    export::export(acting, &exports, leases, pools.is_some(), version).await
}

/// The query, of the pools and the token that the request names.
async fn named_leases(
    acting: &Acting,
    leases: LeaseQuery,
    pools: Option<&Pools>,
    token: Option<&str>,
) -> Result<LeaseQuery, Problem> {
    let pool = match pools {
        None => Some(acting.default_pool()?),
        Some(Pools::All) => None,
        Some(Pools::Named(name)) => Some(acting.pool_named(name).await?),
    };
    let token = match (token, pool) {
        (Some(name), Some(pool)) => {
            let found = acting.engine.token_called(pool, name, uuid(name).map(TokenId)).await?;
            Some(found.ok_or_else(unknown_token_name)?)
        }
        _ => leases.token,
    };
    Ok(LeaseQuery { pool, token, ..leases })
}

async fn page(acting: &Acting, text: &str, query: &SearchQuery) -> Result<Response, Problem> {
    let limit = query.limit.unwrap_or(MAX_ROWS);
    let leases =
        named_leases(acting, query.leases, query.pools.as_ref(), query.token.as_deref()).await?;
    let page = acting.engine.search(&leases, limit.into()).await?;
    let next = page.next.map(|next| path_after(text, next));
    let visible = |record: &&LeaseRecord| acting.caller.has_pool(&record.pool_name);
    let rows = page.leases.iter().filter(visible).map(|record| {
        let row = lease(&record.lease, record.evicted_by, page.now);
        if query.pools.is_some() { named(row, record) } else { row }
    });
    let answer = LeasePage { leases: rows.collect(), next };
    let response = uncached(&answer, 256 + page.leases.len() * BYTES);
    Ok(link_next(response, answer.next.as_deref()))
}

fn path_after(query: &str, next: Cursor) -> String {
    next_page(PATH, query, "after", &CursorText(next).to_string())
}

/// Whether the client prefers CSV to JSON. Wildcards do not count.
fn prefers_csv(headers: &HeaderMap) -> bool {
    weight(headers, ACCEPT, "text/csv") > weight(headers, ACCEPT, "application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_must_be_named_and_preferred() {
        let prefers = |accept: &'static str| {
            prefers_csv(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]))
        };
        for accept in [
            "text/csv",
            "Text/CSV;header=present",
            "application/json;q=0.5, text/csv",
            "text/csv, */*",
        ] {
            assert!(prefers(accept), "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/*",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "text/csv;q=0",
            "text/csv; q=0.4, application/json; q=0.5",
            "text/csv, application/json",
        ] {
            assert!(!prefers(accept), "{accept}");
        }
        assert!(!prefers_csv(&HeaderMap::new()));
    }

    #[test]
    fn the_next_page_has_the_same_parameters() {
        let cursor = "1769860800000000.7".parse::<CursorText>().unwrap().0;
        let query = "user=A+%26+b&limit=5&after=1.1&from=2026-01-31T12:00:00%2B01:00&&to";
        let path = path_after(query, cursor);
        let expected = "/api/leases?user=A%20%26%20b&limit=5&from=2026-01-31T12:00:00%2B01:00&to=&\
                        after=1769860800000000.7";
        assert_eq!(path, expected);
        assert_eq!(path_after("", cursor), "/api/leases?after=1769860800000000.7");
    }
}
