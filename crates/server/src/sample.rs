//! Constants of the size of real answers, to compare the real routes with.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use bytes::Bytes;
use pool::{Fence, Lease, LeaseId, Timestamp, Token, TokenId, TokenValue, User};
use uuid::Uuid;

use crate::answer::{self, Granted, TokenRow};
use crate::app::App;
use crate::pages::Page;
use crate::user_field::Asker;

/// How many tokens the list shows.
const TOKENS: usize = 100;

/// The routes that [`crate::Settings::benchmark_routes`] turns on.
pub(crate) fn routes() -> Router<App> {
    Router::new().route("/bench/allocate", allocate()).route("/bench/tokens", tokens())
}

/// Parses the request as a real allocation does.
fn allocate() -> MethodRouter<App> {
    let lease = lease();
    let body: Bytes = answer::to_vec(&Granted::new(&lease, Uuid::nil()), 256).into();
    post(async move |_: Asker| answer::body(body.clone()))
}

fn tokens() -> MethodRouter<App> {
    let at = Timestamp::from_micros(0);
    let token = Token { id: TokenId(Uuid::nil()), value: TokenValue(Uuid::nil()), inserted_at: at };
    let row = TokenRow::new(&token, Some(&lease()), at);
    let etag = HeaderValue::from_static("W/\"1-00000000-1-1000000-0\"");
    let page = Page::new(&[row; TOKENS], etag, None);
    get(async move |headers: HeaderMap| -> Response { page.clone().response(&headers) })
}

fn lease() -> Lease {
    let at = Timestamp::from_micros(0);
    Lease {
        id: LeaseId(Uuid::nil()),
        token_id: TokenId(Uuid::nil()),
        user: User { name: Arc::from("Edivan"), id: pool::UserId(Uuid::nil()) },
        fence: Fence::new(1),
        previous_fence: Fence::NONE,
        started_at: at,
        granted_until: at,
        expires_at: at,
        end: None,
    }
}
