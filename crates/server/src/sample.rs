//! Constants of the size of real answers, to compare the real routes with.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use bytes::Bytes;
use engine::Allocated;
use pool::{Fence, Lease, LeaseId, Timestamp, Token, TokenId, TokenValue, User};
use uuid::Uuid;

use crate::allocate::Request;
use crate::answer::{self, Granted, TokenRow};
use crate::app::App;
use crate::pages::{self, Page};

/// How many tokens the list shows.
const TOKENS: i64 = 100;

/// The paths of the routes that [`crate::Settings::benchmark_routes`] turns on.
pub(crate) const TEMPLATES: [&str; 2] = ["/bench/allocate", "/bench/tokens"];

pub(crate) fn routes() -> Router<App> {
    Router::new().route(TEMPLATES[0], allocate()).route(TEMPLATES[1], tokens())
}

/// Parses the request as a real allocation does, and answers as one on a full pool.
fn allocate() -> MethodRouter<App> {
    let (lease, evicted) = (lease(TOKENS + 1), Some(lease(1)));
    let at = lease.started_at;
    let granted = Allocated { lease, value: TokenValue(Uuid::nil()), evicted, at };
    let body: Bytes = answer::to_vec(&Granted::from(&granted), 1024).into();
    post(async move |_: Request| answer::body(body.clone()))
}

fn tokens() -> MethodRouter<App> {
    let at = Timestamp::from_micros(0);
    let token = Token { id: TokenId(Uuid::nil()), value: TokenValue(Uuid::nil()), inserted_at: at };
    let row = |(number, fence)| TokenRow::new(&token, number, Some(&lease(fence)), at);
    let rows: Vec<TokenRow> = (1..).zip(1..=TOKENS).map(row).collect();
    let etag = HeaderValue::from_static("W/\"3-00000000-1-1000000-0\"");
    let page = Page::new(pages::body(&rows).into(), etag, None);
    get(async move |headers: HeaderMap| -> Response { page.clone().response(&headers) })
}

/// A lease of two minutes.
pub(crate) fn lease(fence: i64) -> Lease {
    let started_at = Timestamp::from_micros(0);
    let expires_at = started_at.after(Duration::from_mins(2));
    Lease {
        id: LeaseId(Uuid::nil()),
        token_id: TokenId(Uuid::nil()),
        user: User { name: Arc::from("Edivan"), id: pool::UserId(Uuid::nil()) },
        fence: Fence::new(fence),
        previous_fence: Fence::NONE,
        started_at,
        granted_until: expires_at,
        expires_at,
        end: None,
    }
}
