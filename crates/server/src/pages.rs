//! The lists of tokens, in pages: kept serialized until the pool changes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LINK};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use engine::{Stamp, View};

use crate::MAX_ROWS;
use crate::answer::{self, TokenRow};
use crate::encode::Shared;
use crate::parameters::number;
use crate::problem::Problem;
use crate::wishes::{self, Route};

/// The client may keep the answer, but has to ask each time whether it is still true. Shared caches may
/// not: it has tokens' values.
const NO_CACHE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// About how long a token is in JSON.
const BYTES_PER_TOKEN: usize = 480;

/// How many pages are kept.
const MAX_KEPT: usize = 16;

/// Which tokens are listed.
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

    fn has(self, active: bool) -> bool {
        match self {
            List::All => true,
            List::Available => !active,
            List::Active => active,
        }
    }
}

/// The part of a list that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    list: List,
    limit: usize,
    /// The place in the pool at which it begins.
    from: usize,
}

impl Part {
    pub(crate) fn parse(list: List, query: Option<&str>) -> Result<Self, Problem> {
        let (mut limit, mut from) = (usize::from(MAX_ROWS), 0);
        if let Some(text) = query {
            wishes::refuse_in_query(Route::List, text)?;
            let index = |number| usize::try_from(number).unwrap_or(usize::MAX);
            limit = number(query, "limit", 1..=MAX_ROWS.into())?.map_or(limit, index);
            // The cursor is the place of the last token that the caller has.
            from = number(query, "after", 0..=i64::from(u32::MAX))?.map_or(0, |at| index(at + 1));
        }
        Ok(Part { list, limit, from })
    }

    /// The tokens of this part, and the place of the last of them if there are more.
    pub(crate) fn rows(self, view: View<'_>) -> (Vec<TokenRow>, Option<usize>) {
        let mut tokens = view
            .pool
            .tokens(self.from)
            .filter(|token| self.list.has(token.running(view.now).is_some()));
        let mut last = None;
        let rows = tokens.by_ref().take(self.limit).map(|token| {
            last = Some(token.place);
            TokenRow::of(token, view.now)
        });
        let rows = rows.collect();
        (rows, last.filter(|_| tokens.next().is_some()))
    }

    /// Where the part after this one is found, as a `Link` header.
    pub(crate) fn next(self, last: usize) -> HeaderValue {
        let path = self.list.path();
        let limit = match self.limit {
            limit if limit == usize::from(MAX_ROWS) => String::new(),
            limit => format!("limit={limit}&"),
        };
        let link = format!("<{path}?{limit}after={last}>; rel=\"next\"");
        HeaderValue::try_from(link).expect("paths and numbers may stand in a header")
    }
}

/// The body of a page.
pub(crate) fn body(rows: &[TokenRow]) -> Vec<u8> {
    answer::to_vec(&rows, 2 + rows.len() * BYTES_PER_TOKEN)
}

/// An answer that can be given again.
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

    /// The answer, to a request with these headers.
    pub(crate) fn response(self, headers: &HeaderMap) -> Response {
        let mut response = Response::default();
        if is_known(headers, &self.etag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *response.body_mut() = Body::from(self.body.plain());
            response.extensions_mut().insert(self.body);
            response.headers_mut().insert(CONTENT_TYPE, answer::JSON);
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

/// The pages that were made of one state of the pool.
#[derive(Default)]
pub(crate) struct Pages(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    made_of: Option<Stamp>,
    pages: Vec<(Part, Page)>,
}

impl Pages {
    pub(crate) fn find(&self, stamp: Stamp, part: Part) -> Option<Page> {
        let kept = self.lock();
        let mut pages = kept.pages.iter().filter(|_| kept.made_of == Some(stamp));
        pages.find(|(of, _)| *of == part).map(|(_, page)| page.clone())
    }

    /// Keeps a page, unless another request has just kept the same: returns the one that is kept.
    pub(crate) fn keep(&self, stamp: Stamp, part: Part, page: Page) -> Page {
        if let Some(kept) = self.find(stamp, part) {
            return kept;
        }
        let mut kept = self.lock();
        if kept.made_of != Some(stamp) || kept.pages.len() == MAX_KEPT {
            kept.pages.clear();
        }
        kept.made_of = Some(stamp);
        kept.pages.push((part, page.clone()));
        page
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the client says that it has what goes by this name.
pub(crate) fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let known = headers.get_all(IF_NONE_MATCH).iter();
    known.flat_map(|tags| tags.as_bytes().split(|&byte| byte == b',')).any(|tag| {
        let tag = tag.trim_ascii();
        tag == b"*" || weak(tag) == weak(etag.as_bytes())
    })
}

fn weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        let etag = HeaderValue::from_static("W/\"1-a\"");
        let known = |sent: &'static str| {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(sent))]);
            is_known(&headers, &etag)
        };
        for sent in ["W/\"1-a\"", "\"1-a\"", "*", "\"x\", W/\"1-a\" ,\"y\""] {
            assert!(known(sent), "{sent}");
        }
        for sent in ["", "1-a", "\"1-b\"", "W/\"1-\"", "w/\"1-a\""] {
            assert!(!known(sent), "{sent}");
        }
        assert!(!is_known(&HeaderMap::new(), &etag));
    }
}
