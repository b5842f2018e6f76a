//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use axum::routing::{delete, get, post};
use engine::{Handle, View};
use serde::Serialize;

use crate::answer::{Granted, Shown, TokenRow, json};
use crate::app::{App, Inside, SentId, unknown_token};
use crate::events::Streams;
use crate::pages::Pages;
use crate::problem::{Code, Problem};
use crate::user_field::Asker;
use crate::{Door, Settings, events, health, history, lists, sample};

/// The whole service: every route behind the one [`Door`].
#[must_use]
pub fn router(engine: Handle, settings: &Settings) -> Door {
    let streams = Arc::new(Streams::new(&engine, settings));
    let app = Arc::new(Inside { engine, pages: Pages::default(), streams: Arc::clone(&streams) });
    let mut routes = Router::new()
        .route("/api/tokens", get(lists::all))
        .route("/api/tokens/available", get(lists::available))
        .route("/api/tokens/active", get(lists::active))
        .route("/api/tokens/{id}", get(show))
        .route("/api/tokens/{id}/history", get(history::history))
        .route("/api/tokens/allocate", post(allocate))
        .route("/api/tokens/release/{id}", post(release))
        .route("/api/tokens/clear-active", delete(clear))
        .route("/api/events", get(events::events))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready));
    if settings.benchmark_routes {
        routes = routes.merge(sample::routes());
    }
    let routes =
        routes.fallback(unknown_path).method_not_allowed_fallback(wrong_method).with_state(app);
    Door::new(routes, settings, streams)
}

async fn allocate(State(app): State<App>, Asker(user): Asker) -> Result<Response, Problem> {
    let granted = app.engine.allocate(user).await?.map_err(|_| {
        Problem::new(Code::NoTokens, "The pool has no token at all, so there never will be one.")
    })?;
    Ok(Granted::new(&granted.lease, granted.value.0).response())
}

#[derive(Serialize)]
struct Released<'a> {
    status: &'static str,
    token_id: &'a str,
}

async fn release(State(app): State<App>, id: SentId) -> Result<Response, Problem> {
    let released = app.engine.release(id.token, pool::HeldBy::default()).await?;
    if released == engine::Released::UnknownToken {
        return Err(unknown_token());
    }
    Ok(json(&Released { status: "released", token_id: &id.sent }, 96))
}

#[derive(Serialize)]
struct AllCleared {
    message: &'static str,
    tokens_cleared: usize,
    usages_updated: usize,
}

async fn clear(State(app): State<App>) -> Result<Response, Problem> {
    let ended = app.engine.clear().await?;
    let message = "All active tokens cleared";
    Ok(json(&AllCleared { message, tokens_cleared: ended, usages_updated: ended }, 128))
}

async fn show(State(app): State<App>, id: SentId) -> Result<Response, Problem> {
    let look =
        |view: View<'_>| view.pool.token(id.token).map(|token| TokenRow::of(token, view.now));
    let row = app.engine.read(look).await?.ok_or_else(unknown_token)?;
    Ok(json(&Shown::from(row), 512))
}

async fn unknown_path() -> Problem {
    Problem::new(Code::UnknownPath, "There is nothing at this path; see /api/tokens.")
}

async fn wrong_method(method: Method) -> Problem {
    let detail = format!("{method} is not for this path; the header Allow names what is.");
    Problem::new(Code::WrongMethod, detail)
}
