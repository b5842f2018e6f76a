//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use axum::routing::get;
use engine::{Handle, Scope, View};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer::{Shown, json};
use crate::app::{App, Inside, SentId, unknown_token};
use crate::conditions::Everything;
use crate::openapi::words;
use crate::problem::{self, Code, Problem};
use crate::{
    Door, Settings, allocate, dashboard, events, health, history, leases, lists, metrics, policy,
    queue, release, sample, search,
};

/// Where requests may lead, as [`metrics`] tell them apart. Whatever [`router`] always has is here.
pub(crate) const TEMPLATES: &[&str] = &[
    PAGES[0],
    PAGES[1],
    PAGES[2],
    "/api/tokens",
    "/api/tokens/available",
    "/api/tokens/active",
    "/api/tokens/{id}",
    "/api/tokens/{id}/history",
    allocate::PATH,
    "/api/tokens/release/{id}",
    "/api/tokens/clear-active",
    "/api/leases",
    "/api/leases/export",
    "/api/leases/{id}",
    "/api/leases/{id}/release",
    "/api/leases/{id}/renew",
    "/api/queue",
    "/api/queue/{ticket}",
    "/api/pool",
    "/api/events",
    "/health/live",
    "/health/ready",
    metrics::PATH,
    PAGES[3],
];

/// The whole service: every route behind the one [`Door`].
#[must_use]
pub fn router(engine: Handle, settings: &Settings) -> Door {
    if !settings.loopback {
        let usual = ["localhost".to_owned(), "IP addresses".to_owned()];
        let hosts = [&usual, &settings.allowed_hosts[..]].concat().join(", ");
        tracing::info!(
            hosts,
            "requests are accepted for these hosts only; allowed-host adds names"
        );
    }
    let app = Inside::new(engine, settings);
    let (routes, _) = routes().split_for_parts();
    let pages = Router::new()
        .route(PAGES[0], get(dashboard::page))
        .route(PAGES[1], get(dashboard::asset))
        .route(PAGES[2], get(dashboard::docs))
        .route(PAGES[3], get(dashboard::openapi))
        .with_state(settings.assets);
    let mut routes = routes.merge(pages);
    if settings.benchmark_routes {
        routes = routes.merge(sample::routes());
    }
    let routes = routes
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Arc::clone(&app));
    Door::new(routes, settings, app)
}

/// Files that the server sends as they are: pages for browsers and the OpenAPI document.
pub(crate) const PAGES: [&str; 4] = ["/", "/assets/{digest}/{*path}", "/docs", "/openapi.json"];

/// Every route of the API, with what is said of it. Its path stands beside its handler.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(lists::all))
        .routes(routes!(lists::available))
        .routes(routes!(lists::active))
        .routes(routes!(show))
        .routes(routes!(history::history))
        .routes(routes!(allocate::allocate))
        .routes(routes!(release::release))
        .routes(routes!(clear))
        .routes(routes!(leases::show))
        .routes(routes!(leases::renew))
        .routes(routes!(leases::release))
        .routes(routes!(search::search))
        .routes(routes!(search::export))
        .routes(routes!(queue::list))
        .routes(routes!(queue::show, queue::give_up))
        .routes(routes!(policy::show))
        .routes(routes!(events::events))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::metrics))
}

/// How many leases were ended.
#[derive(Serialize, ToSchema)]
#[schema(as = Cleared)]
struct AllCleared {
    #[schema(schema_with = words::cleared)]
    message: &'static str,
    tokens_cleared: usize,
    /// The same number.
    usages_updated: usize,
}

/// End all leases
///
/// A body and a query are ignored, unless they name a condition or a part of the pool.
#[utoipa::path(
    delete,
    path = "/api/tokens/clear-active",
    operation_id = "clearActiveTokens",
    tag = "Tokens",
    responses((status = 200, description = "No token has a lease", body = AllCleared)),
    extensions(("x-problems" = json!(problem::write(&[Code::InvalidParameter])))),
)]
async fn clear(State(app): State<App>, _: Everything) -> Result<Response, Problem> {
    let ended = app.engine.clear().await?;
    let message = "All active tokens cleared";
    Ok(json(&AllCleared { message, tokens_cleared: ended, usages_updated: ended }, 128))
}

/// Show a token and its holder
#[utoipa::path(
    get,
    path = "/api/tokens/{id}",
    operation_id = "getToken",
    tag = "Tokens",
    params(("id" = Uuid, Path, description = "The token's id")),
    responses((status = 200, description = "The token", body = Shown)),
    extensions(("x-problems" = json!(problem::read(&[Code::InvalidTokenId, Code::UnknownToken])))),
)]
async fn show(State(app): State<App>, id: SentId) -> Result<Response, Problem> {
    let look = |view: View<'_>| view.pool.token(id.token()).map(|token| Shown::of(token, view.now));
    let scope = Scope::Token(id.token());
    let shown = app.engine.read_of(scope, look).await?.ok_or_else(unknown_token)?;
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
