//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use axum::routing::{delete, get, post};
use engine::{Handle, View};
use serde::Serialize;

use crate::answer::{Shown, json};
use crate::app::{App, Inside, SentId, unknown_token};
use crate::problem::{Code, Problem};
use crate::{
    Door, Settings, allocate, dashboard, events, health, history, leases, lists, metrics, policy,
    release, sample, search,
};

/// Where requests may lead, as [`metrics`] tell them apart. Whatever [`router`] always has is here.
pub(crate) const TEMPLATES: &[&str] = &[
    "/",
    "/assets/{digest}/{*path}",
    "/api/tokens",
    "/api/tokens/available",
    "/api/tokens/active",
    "/api/tokens/{id}",
    "/api/tokens/{id}/history",
    allocate::PATH,
    "/api/tokens/release/{id}",
    "/api/tokens/clear-active",
    "/api/leases",
    "/api/leases/{id}",
    "/api/leases/{id}/release",
    "/api/leases/{id}/renew",
    "/api/pool",
    "/api/events",
    "/health/live",
    "/health/ready",
    metrics::PATH,
];

/// The whole service: every route behind the one [`Door`].
#[must_use]
pub fn router(engine: Handle, settings: &Settings) -> Door {
    let app = Inside::new(engine, settings);
    let mut routes = Router::new()
        .route("/", get(dashboard::page))
        .route("/assets/{digest}/{*path}", get(dashboard::asset))
        .route("/api/tokens", get(lists::all))
        .route("/api/tokens/available", get(lists::available))
        .route("/api/tokens/active", get(lists::active))
        .route("/api/tokens/{id}", get(show))
        .route("/api/tokens/{id}/history", get(history::history))
        .route(allocate::PATH, post(allocate::allocate))
        .route("/api/tokens/release/{id}", post(release::release))
        .route("/api/tokens/clear-active", delete(clear))
        .route("/api/leases", get(search::search))
        .route("/api/leases/{id}", get(leases::show))
        .route("/api/leases/{id}/release", post(leases::release))
        .route("/api/leases/{id}/renew", post(leases::renew))
        .route("/api/pool", get(policy::show))
        .route("/api/events", get(events::events))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route(metrics::PATH, get(metrics::metrics));
    if settings.benchmark_routes {
        routes = routes.merge(sample::routes());
    }
    let routes = routes
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Arc::clone(&app));
    Door::new(routes, settings, app)
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
    let look = |view: View<'_>| view.pool.token(id.token()).map(|token| Shown::of(token, view.now));
    let shown = app.engine.read(look).await?.ok_or_else(unknown_token)?;
    Ok(json(&shown, 1024))
}

async fn unknown_path() -> Problem {
    Problem::new(
        Code::UnknownPath,
        "There is nothing at this path. The dashboard is at /, and what programs need below /api.",
    )
}

async fn wrong_method(method: Method) -> Problem {
    let detail = format!("{method} is not for this path; the header Allow names what is.");
    Problem::new(Code::WrongMethod, detail)
}
