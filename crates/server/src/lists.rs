//! The lists of tokens: `GET /api/tokens`, `/available` and `/active`.

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use engine::{Stamp, View};

use crate::answer::TokenRow;
use crate::app::App;
use crate::door::too_many_answers;
use crate::pages::{self, List, Page, Part};
use crate::problem::{self, Code, Problem};

/// Raised whenever the same state of a pool is written down differently than by earlier releases.
const FORM: u32 = 3;

/// List all tokens
///
/// Send the `ETag` back as `If-None-Match`, and the answer is an empty 304 until something has changed.
#[utoipa::path(
    get,
    path = "/api/tokens",
    operation_id = "listTokens",
    tag = "Tokens",
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000,
            description = "How many tokens at most; 1000 when left out"),
        ("after" = Option<i64>, Query, minimum = 0, maximum = 4_294_967_295i64,
            description = "Where to go on; it comes with the header Link"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what is known"),
    ),
    responses(
        (status = 200, description = "The tokens, in the pool's order", body = Vec<TokenRow>, headers(
            ("ETag" = String, description = "The name of this state of the pool"),
            ("Cache-Control" = String, description = "`private, no-cache`: to be asked about each time"),
            ("Link" = String, description = "Where there are more: `<PATH>; rel=\"next\"`"),
        )),
        (status = 304, description = "Nothing has changed", headers(
            ("ETag" = String, description = "The name of this state of the pool"),
            ("Cache-Control" = String, description = "`private, no-cache`: to be asked about each time"),
            ("Link" = String, description = "Where there are more: `<PATH>; rel=\"next\"`"),
        )),
    ),
    extensions(("x-problems" = json!(problem::read(&[Code::InvalidParameter])))),
)]
pub(crate) async fn all(app: State<App>, query: RawQuery, headers: HeaderMap) -> Answer {
    list(List::All, app, query, headers).await
}

/// List the tokens without a holder
///
/// Send the `ETag` back as `If-None-Match`, and the answer is an empty 304 until something has changed.
#[utoipa::path(
    get,
    path = "/api/tokens/available",
    operation_id = "listAvailableTokens",
    tag = "Tokens",
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000,
            description = "How many tokens at most; 1000 when left out"),
        ("after" = Option<i64>, Query, minimum = 0, maximum = 4_294_967_295i64,
            description = "Where to go on; it comes with the header Link"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what is known"),
    ),
    responses(
        (status = 200, description = "The tokens, in the pool's order", body = Vec<TokenRow>, headers(
            ("ETag" = String, description = "The name of this state of the pool"),
            ("Cache-Control" = String, description = "`private, no-cache`: to be asked about each time"),
            ("Link" = String, description = "Where there are more: `<PATH>; rel=\"next\"`"),
        )),
        (status = 304, description = "Nothing has changed", headers(
            ("ETag" = String, description = "The name of this state of the pool"),
            ("Cache-Control" = String, description = "`private, no-cache`: to be asked about each time"),
            ("Link" = String, description = "Where there are more: `<PATH>; rel=\"next\"`"),
        )),
    ),
    extensions(("x-problems" = json!(problem::read(&[Code::InvalidParameter])))),
)]
pub(crate) async fn available(app: State<App>, query: RawQuery, headers: HeaderMap) -> Answer {
    list(List::Available, app, query, headers).await
}

/// List the tokens with a holder
///
/// Send the `ETag` back as `If-None-Match`, and the answer is an empty 304 until something has changed.
#[utoipa::path(
    get,
    path = "/api/tokens/active",
    operation_id = "listActiveTokens",
    tag = "Tokens",
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000,
            description = "How many tokens at most; 1000 when left out"),
        ("after" = Option<i64>, Query, minimum = 0, maximum = 4_294_967_295i64,
            description = "Where to go on; it comes with the header Link"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what is known"),
    ),
    responses(
        (status = 200, description = "The tokens, in the pool's order", body = Vec<TokenRow>, headers(
            ("ETag" = String, description = "The name of this state of the pool"),
            ("Cache-Control" = String, description = "`private, no-cache`: to be asked about each time"),
            ("Link" = String, description = "Where there are more: `<PATH>; rel=\"next\"`"),
        )),
        (status = 304, description = "Nothing has changed", headers(
            ("ETag" = String, description = "The name of this state of the pool"),
            ("Cache-Control" = String, description = "`private, no-cache`: to be asked about each time"),
            ("Link" = String, description = "Where there are more: `<PATH>; rel=\"next\"`"),
        )),
    ),
    extensions(("x-problems" = json!(problem::read(&[Code::InvalidParameter])))),
)]
pub(crate) async fn active(app: State<App>, query: RawQuery, headers: HeaderMap) -> Answer {
    list(List::Active, app, query, headers).await
}

type Answer = Result<Response, Problem>;

async fn list(
    list: List,
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let part = Part::parse(list, query.as_deref())?;
    let look = |view: View<'_>| {
        let kept = app.pages.find(view.stamp, part);
        kept.ok_or_else(|| (view.stamp, etag(view), part.rows(view)))
    };
    let page = match app.engine.read(look).await? {
        Ok(kept) => kept,
        Err((stamp, etag, (rows, more_after))) => {
            let next = more_after.map(|last| part.next(last));
            let body = pages::body(&rows);
            let Some(charge) = app.budget.try_charge(body.len()) else {
                app.crowd.cut_most_neglectful();
                return Err(too_many_answers());
            };
            app.pages.keep(stamp, part, Page::new(charge.hold(body), etag, next))
        }
    };
    Ok(page.response(&headers))
}

/// The name of a state of a pool. The pool itself goes by the id of its first token, so that
/// another one, in a database made anew, has other names.
fn etag(view: View<'_>) -> HeaderValue {
    let Stamp { epoch, version, overdue } = view.stamp;
    let pool = view.pool.tokens(0).next().map_or(0, |first| first.token.id.0.as_fields().0);
    let etag = format!("W/\"{FORM}-{pool:08x}-{epoch}-{version}-{overdue}\"");
    HeaderValue::try_from(etag).expect("numbers may stand in a header")
}
