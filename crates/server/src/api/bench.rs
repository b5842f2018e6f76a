//! Constants of the size of real responses, for comparison with the real routes.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use engine::Allocated;
use pool::{
    Fence, Grant, Labels, Lease, LeaseId, Taints, Timestamp, Token, TokenId, TokenName, TokenValue,
    User,
};
use uuid::Uuid;

use super::DEFAULT;
use super::allocate::Request;
use super::token_pages::{self, Page};
use crate::http::respond;
use crate::json;
use crate::json::token;

/// Number of tokens in the list.
const TOKENS: i64 = 100;

/// Parses the request like a real allocation, and responds like one on a full pool.
pub(crate) fn allocate() -> impl Fn(Request) -> std::future::Ready<Response> + Clone {
    let (lease, evicted) = (lease(TOKENS + 1), Some(lease(1)));
    let at = lease.started_at;
    let (name, labels) = (Some(TokenName::of_position(0)), Labels::default());
    let value = TokenValue::of_uuid(Uuid::nil());
    let grant = Grant { lease, value, name, labels, evicted };
    let granted = Allocated { grant, at };
    let body: Bytes = json::to_vec(&token::allocation(&granted), 1024).into();
    move |_: Request| std::future::ready(respond::body(body.clone()))
}

/// Responds like a list of tokens from the cache.
pub(crate) fn tokens() -> impl Fn(HeaderMap) -> std::future::Ready<Response> + Clone {
    let at = Timestamp::from_micros(0);
    let token = |position| Token {
        id: TokenId(Uuid::nil()),
        pool: DEFAULT,
        position,
        name: TokenName::of_position(position),
        value: TokenValue::of_uuid(Uuid::nil()),
        labels: Labels::default(),
        taints: Taints::default(),
        inserted_at: at,
        retired_at: None,
    };
    let row = |(position, fence)| token::with_lease(&token(position), Some(&lease(fence)), at);
    let rows: Vec<wire::Token> = (0..).zip(1..=TOKENS).map(row).collect();
    let etag = HeaderValue::from_static("W/\"3-00000000-1-1000000-0\"");
    let page = Page::new(token_pages::body(&rows).into(), etag, None);
    move |headers: HeaderMap| std::future::ready(page.clone().response(&headers))
}

/// A lease of two minutes.
pub(crate) fn lease(fence: i64) -> Lease {
    let started_at = Timestamp::from_micros(0);
    let expires_at = started_at.after(Duration::from_mins(2));
    let (id, token_id) = (LeaseId(Uuid::nil()), TokenId(Uuid::nil()));
    let user = User { name: Arc::from("Edivan"), id: pool::UserId(Uuid::nil()) };
    Lease::granted(id, token_id, user, Fence::new(fence), started_at, expires_at)
}
