//! `GET /api/leases`: questions to the history.

use axum::extract::{RawQuery, State};
use axum::http::header::{ACCEPT, LINK, VARY};
use axum::http::{HeaderMap, HeaderValue, Version};
use axum::response::Response;
use engine::Cursor;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::fleeting;
use crate::app::App;
use crate::lease_row::LeaseRow;
use crate::openapi::words;
use crate::parameters::{decode, encode, pairs};
use crate::problem::{self, Code, Problem};
use crate::question::{Asked, Place};
use crate::{MAX_ROWS, export};

const PATH: &str = "/api/leases";

/// A page of the history.
#[derive(Serialize, ToSchema)]
#[schema(as = LeasePage)]
struct Answer<'a> {
    /// Newest first. They may be fewer than `limit`, even none, although there is a next page.
    leases: Vec<LeaseRow<'a>>,
    /// The path of the next page, with all that was asked for; null when there is no more.
    #[schema(required = true)]
    next: Option<&'a str>,
}

/// Search the history
///
/// The leases that fit all that is asked for, newest first. `end_reason` can't be asked for together
/// with the status `running`. No parameter may be given twice. With `format=csv`, or an `Accept` that
/// prefers `text/csv`, the response is that of `/api/leases/export`.
#[utoipa::path(
    get,
    path = "/api/leases",
    operation_id = "searchLeases",
    tag = "Leases",
    params(
        ("user" = Option<String>, Query, min_length = 1, max_length = 255, pattern = "^[^\\u0000]*$",
            description = "Of this user, who is named as in an allocation"),
        ("token_id" = Option<Uuid>, Query, description = "Of this token"),
        ("status" = Option<words::SearchedStatus>, Query, description = "Running, or over"),
        ("end_reason" = Option<words::EndReason>, Query, description = "That ended so"),
        ("from" = Option<String>, Query, format = DateTime, description = "Begun then or later"),
        ("to" = Option<String>, Query, format = DateTime, description = "Begun before"),
        ("at" = Option<String>, Query, format = DateTime, description = "Held then: begun then or before, and over later"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000,
            description = "How many leases at most; 1000 when left out"),
        ("after" = Option<String>, Query, pattern = "^-?[0-9]{1,18}\\.[0-9]{1,18}$",
            description = "Where to go on; it comes with `next`"),
    ),
    responses((status = 200, description = "The leases", body = Answer<'_>, headers(
        ("Cache-Control" = String, description = "`no-store`"),
        ("Vary" = String, description = "`accept`"),
        ("Link" = String, description = "Where there are more: `<PATH>; rel=\"next\"`"),
    ))),
    extensions(("x-problems" = json!(problem::read(&[Code::ForeignPage, Code::InvalidParameter])))),
)]
pub(crate) async fn search(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    version: Version,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = query.as_deref().unwrap_or("");
    let asked = Asked::parse(query)?;
    let mut response = if asked.csv.unwrap_or_else(|| prefers_csv(&headers)) {
        if asked.limit.is_some() {
            let detail =
                "limit must be left out here: an export has all leases that are asked for.";
            return Err(Problem::new(Code::InvalidParameter, detail));
        }
        export::export(app, asked.question, version).await?
    } else {
        page(&app, query, &asked).await?
    };
    response.headers_mut().insert(VARY, HeaderValue::from(ACCEPT));
    Ok(response)
}

/// Export the history as CSV
///
/// All leases that fit all that is asked for, newest first, as one file with a header row (RFC 4180).
#[utoipa::path(
    get,
    path = "/api/leases/export",
    operation_id = "exportLeases",
    tag = "Leases",
    params(
        ("user" = Option<String>, Query, min_length = 1, max_length = 255, pattern = "^[^\\u0000]*$",
            description = "Of this user, who is named as in an allocation"),
        ("token_id" = Option<Uuid>, Query, description = "Of this token"),
        ("status" = Option<words::SearchedStatus>, Query, description = "Running, or over"),
        ("end_reason" = Option<words::EndReason>, Query, description = "That ended so"),
        ("from" = Option<String>, Query, format = DateTime, description = "Begun then or later"),
        ("to" = Option<String>, Query, format = DateTime, description = "Begun before"),
        ("at" = Option<String>, Query, format = DateTime, description = "Held then: begun then or before, and over later"),
        ("after" = Option<String>, Query, pattern = "^-?[0-9]{1,18}\\.[0-9]{1,18}$",
            description = "Where to go on, as `next` of a search has it"),
    ),
    responses((status = 200, description = "The leases", body = String, content_type = "text/csv", headers(
        ("Cache-Control" = String, description = "`no-store`"),
        ("Content-Disposition" = String, description = "The file's name"),
    ))),
    extensions(("x-problems" = json!(problem::read(&[
        Code::ForeignPage, Code::InvalidParameter, Code::TooManyExports, Code::HttpVersion,
    ])))),
)]
pub(crate) async fn export(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    version: Version,
) -> Result<Response, Problem> {
    let asked = Asked::parse_export(query.as_deref().unwrap_or_default())?;
    export::export(app, asked.question, version).await
}

async fn page(app: &App, query: &str, asked: &Asked) -> Result<Response, Problem> {
    let limit = asked.limit.unwrap_or(MAX_ROWS);
    let page = app.engine.search(&asked.question, limit.into()).await?;
    let next = page.next.map(|next| path_after(query, next));
    let rows = page.leases.iter();
    let rows = rows.map(|record| LeaseRow::new(&record.lease, record.evicted_by, page.now));
    let answer = Answer { leases: rows.collect(), next: next.as_deref() };
    let mut response = fleeting(&answer, 256 + page.leases.len() * LeaseRow::BYTES);
    if let Some(next) = &next {
        let link = HeaderValue::try_from(format!("<{next}>; rel=\"next\""));
        let link = link.expect("what was encoded for a query may stand in a header");
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// Where the page after this one is found: what was asked for, from another place on.
fn path_after(query: &str, next: Cursor) -> String {
    let mut path = format!("{PATH}?");
    for pair in pairs(query) {
        // It was parsed before, so there is nothing malformed.
        let Ok((name, value)) = pair else { continue };
        let Ok(value) = decode(value) else { continue };
        if name != "after" {
            encode(&name, &mut path);
            path.push('=');
            encode(&value, &mut path);
            path.push('&');
        }
    }
    path.push_str("after=");
    encode(&Place(next).to_string(), &mut path);
    path
}

/// Whether the client would rather have CSV than JSON. What it names only by a wildcard does not
/// count.
fn prefers_csv(headers: &HeaderMap) -> bool {
    let quality = |wanted: &str| {
        let of = |range: &str| {
            let mut parts = range.split(';').map(str::trim);
            let same = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
            let q = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
            same.then(|| q.map_or(Some(1.0), |q| q.parse().ok())).flatten()
        };
        let accepted = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
        accepted.flat_map(|accept| accept.split(',')).filter_map(of).fold(0.0, f32::max)
    };
    quality("text/csv") > quality("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_what_is_named_and_preferred() {
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
    fn the_next_page_asks_for_the_same() {
        let cursor = "1769860800000000.7".parse::<Place>().unwrap().0;
        let query = "user=A+%26+b&limit=5&after=1.1&from=2026-01-31T12:00:00%2B01:00&&to";
        let path = path_after(query, cursor);
        let expected = "/api/leases?user=A%20%26%20b&limit=5&from=2026-01-31T12:00:00%2B01:00&to=&\
                        after=1769860800000000.7";
        assert_eq!(path, expected);
        assert_eq!(path_after("", cursor), "/api/leases?after=1769860800000000.7");
    }
}
