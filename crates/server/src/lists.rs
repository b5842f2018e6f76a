//! The lists of tokens: `GET /api/tokens`, `/available` and `/active`.

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use engine::{Stamp, View};

use crate::app::App;
use crate::pages::{List, Page, Part};
use crate::problem::Problem;

/// Raised whenever the same state of a pool is written down differently than by earlier releases.
const FORM: u32 = 2;

pub(crate) async fn all(app: State<App>, query: RawQuery, headers: HeaderMap) -> Answer {
    list(List::All, app, query, headers).await
}

pub(crate) async fn available(app: State<App>, query: RawQuery, headers: HeaderMap) -> Answer {
    list(List::Available, app, query, headers).await
}

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
            let page = Page::new(&rows, etag, next);
            app.pages.keep(stamp, part, page.clone());
            page
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
