//! Pages of the lists of tokens, cached as JSON until the pool changes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LINK};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use engine::Stamp;
use pool::{Pool, Timestamp, TokenView};
use wire::MAX_ROWS;

use crate::http::compress::Shared;
use crate::http::etag;
use crate::http::query::{Parameters, Values};
use crate::http::unsupported::{self, Context};
use crate::json::{self, JSON, token};
use crate::problem::Problem;

/// Clients may store the response, but must revalidate it each time. Shared caches may not store it,
/// because it contains values of tokens.
const NO_CACHE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Approximate size of a token in JSON.
const BYTES_PER_TOKEN: usize = 480;

/// Maximum number of cached pages.
const MAX_PAGES: usize = 16;

/// A list of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    All,
    Available,
    Active,
}

impl List {
    const fn path(self) -> &'static str {
        match self {
            List::All => "/api/tokens",
            List::Available => "/api/tokens/available",
            List::Active => "/api/tokens/active",
        }
    }

    fn has(self, token: &TokenView<'_>, now: Timestamp) -> bool {
        match self {
            List::All => true,
            List::Available => token.is_free(now),
            List::Active => token.running(now).is_some(),
        }
    }
}

/// Parameters of a list.
pub(crate) struct ListQuery {
    limit: usize,
    from: u32,
}

impl Parameters for ListQuery {
    const NAMES: &'static [&'static str] = &["limit", "after"];
    const STRICT: bool = false;

    fn read(values: &Values<'_>) -> Result<Self, Problem> {
        unsupported::refuse_in_query(Context::List, values.query)?;
        let limit = values.limit()?.unwrap_or(MAX_ROWS).into();
        // The cursor is the position of the last token on the previous page.
        let after = values.number("after", 0..=i64::from(u32::MAX))?;
        let from = after.map_or(0, |after| u32::try_from(after + 1).unwrap_or(u32::MAX));
        Ok(ListQuery { limit, from })
    }
}

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    list: List,
    limit: usize,
    /// Position in the pool of the first token.
    from: u32,
    /// Whether the values of tokens are part of it, if the pool shows them to everyone.
    with_values: bool,
}

impl Part {
    pub(crate) fn new(list: List, ListQuery { limit, from }: ListQuery, with_values: bool) -> Self {
        Part { list, limit, from, with_values }
    }

    /// Returns the tokens of this part, and the position of the last of them if more follow.
    pub(crate) fn rows(self, pool: &Pool, now: Timestamp) -> (Vec<wire::Token>, Option<u32>) {
        let has = |token: &TokenView<'_>| self.list.has(token, now);
        let mut tokens = pool.tokens(self.from).filter(has);
        let mut last = None;
        let rows = tokens.by_ref().take(self.limit).map(|token| {
            last = Some(token.token.position);
            token::token(pool, token, now, self.with_values)
        });
        let rows = rows.collect();
        (rows, last.filter(|_| tokens.next().is_some()))
    }

    /// Returns the `Link` to the next part.
    pub(crate) fn next(self, last: u32) -> HeaderValue {
        let path = self.list.path();
        let limit = match self.limit {
            limit if limit == usize::from(MAX_ROWS) => String::new(),
            limit => format!("limit={limit}&"),
        };
        let link = format!("<{path}?{limit}after={last}>; rel=\"next\"");
        HeaderValue::try_from(link).expect("paths and numbers are valid in headers")
    }
}

/// Serializes a page.
pub(crate) fn body(rows: &[wire::Token]) -> Vec<u8> {
    json::to_vec(&rows, 2 + rows.len() * BYTES_PER_TOKEN)
}

/// A cached page.
#[derive(Clone)]
pub(crate) struct Page {
    body: Shared,
    etag: HeaderValue,
    next: Option<HeaderValue>,
}

impl Page {
    pub(crate) fn new(body: Bytes, etag: HeaderValue, next: Option<HeaderValue>) -> Self {
        Page { body: Shared::new(body), etag, next }
    }

    /// Responds to a request with these headers.
    pub(crate) fn response(self, headers: &HeaderMap) -> Response {
        let mut response = Response::default();
        if etag::matches(headers, &self.etag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *response.body_mut() = Body::from(self.body.plain());
            self.body.mark(&mut response);
            response.headers_mut().insert(CONTENT_TYPE, JSON);
        }
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, NO_CACHE);
        headers.insert(ETAG, self.etag);
        if let Some(next) = self.next {
            headers.insert(LINK, next);
        }
        response
    }
}

/// Cached pages of one state of the pool.
#[derive(Default)]
pub(crate) struct Pages(Mutex<Cached>);

#[derive(Default)]
struct Cached {
    stamp: Option<Stamp>,
    pages: Vec<(Part, Page)>,
}

impl Pages {
    pub(crate) fn find(&self, stamp: Stamp, part: Part) -> Option<Page> {
        let kept = self.lock();
        let mut pages = kept.pages.iter().filter(|_| kept.stamp == Some(stamp));
        pages.find(|(of, _)| *of == part).map(|(_, page)| page.clone())
    }

    /// Caches a page, unless another request has just cached the same one. Returns the cached page.
    pub(crate) fn keep(&self, stamp: Stamp, part: Part, page: Page) -> Page {
        if let Some(kept) = self.find(stamp, part) {
            return kept;
        }
        let mut kept = self.lock();
        if kept.stamp != Some(stamp) || kept.pages.len() == MAX_PAGES {
            kept.pages.clear();
        }
        kept.stamp = Some(stamp);
        kept.pages.push((part, page.clone()));
        page
    }

    fn lock(&self) -> MutexGuard<'_, Cached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
