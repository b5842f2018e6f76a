//! The one table of routes. Everything that depends on a route is read from here: the handler, the checks
//! and limits of its kind, the labels of metrics, and the API's description.

use axum::http::Method;
use axum::routing::{MethodRouter, get, post};
use engine::Handle;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::api::{
    allocate, bench, health, history, leases, metrics, pages, pool, queue, release, search,
    token_lists, tokens,
};
use crate::http::route::Kind::{self, CostlyRead, Metrics, Probe, Read, Wait, Write};
use crate::http::route::{Route, Routes, wrong_method};
use crate::http::service::Service;
use crate::settings::Settings;
use crate::state::AppState;
use crate::{events, openapi};

/// Creates the service with all routes.
#[must_use]
pub fn router(engine: Handle, settings: &Settings) -> Service {
    if !settings.loopback {
        let usual = ["localhost".to_owned(), "IP addresses".to_owned()];
        let hosts = [&usual, &settings.allowed_hosts[..]].concat().join(", ");
        tracing::info!(
            hosts,
            "requests are accepted for these hosts only; allowed-host adds names"
        );
    }
    let mut table = Table::new();
    if settings.benchmark_routes {
        table = table
            .page("/bench/allocate", [(Method::POST, Write)], post(bench::allocate()))
            .page("/bench/tokens", [(Method::GET, Read)], get(bench::tokens()));
    }
    let templates: Vec<_> = table.rows.iter().map(|row| row.template).collect();
    let state = AppState::new(engine, settings, &templates);
    openapi::keep(table.api.into_openapi());
    let routes = table.rows.into_iter().map(|row| row.with_state(&state)).collect();
    state.service(Routes::new(routes), settings)
}

/// Description of the API, as the handlers give it.
#[cfg(test)]
pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Table::new().api.into_openapi()
}

struct Table {
    rows: Vec<Row>,
    api: OpenApiRouter<AppState>,
}

/// A route whose handlers have no state yet.
struct Row {
    template: &'static str,
    methods: Vec<(Method, Kind)>,
    handlers: MethodRouter<AppState>,
}

impl Table {
    #[rustfmt::skip]
    fn new() -> Self {
        const GET: Method = Method::GET;
        const POST: Method = Method::POST;
        const DELETE: Method = Method::DELETE;
        Table { rows: Vec::new(), api: OpenApiRouter::new() }
            .page("/", [(GET, Read)], get(pages::page))
            .page("/assets/{digest}/{*path}", [(GET, Read)], get(pages::asset))
            .page("/docs", [(GET, Read)], get(pages::docs))
            .api("/api/tokens", [(GET, Read)], routes!(token_lists::all))
            .api("/api/tokens/available", [(GET, Read)], routes!(token_lists::available))
            .api("/api/tokens/active", [(GET, Read)], routes!(token_lists::active))
            .api("/api/tokens/{id}", [(GET, Read)], routes!(tokens::show))
            .api("/api/tokens/{id}/history", [(GET, CostlyRead)], routes!(history::history))
            .api("/api/tokens/allocate", [(POST, Wait)], routes!(allocate::allocate))
            .api("/api/tokens/release/{id}", [(POST, Write)], routes!(release::release))
            .api("/api/tokens/clear-active", [(DELETE, Write)], routes!(tokens::clear))
            .api("/api/leases/{id}", [(GET, Read)], routes!(leases::show))
            .api("/api/leases/{id}/renew", [(POST, Write)], routes!(leases::renew))
            .api("/api/leases/{id}/release", [(POST, Write)], routes!(leases::release))
            .api("/api/leases", [(GET, CostlyRead)], routes!(search::search))
            .api("/api/leases/export", [(GET, CostlyRead)], routes!(search::export))
            .api("/api/queue", [(GET, Read)], routes!(queue::list))
            .api("/api/queue/{ticket}", [(GET, Read), (DELETE, Write)], routes!(queue::show, queue::give_up))
            .api("/api/pool", [(GET, Read)], routes!(pool::show))
            .api("/api/events", [(GET, CostlyRead)], routes!(events::events))
            .api("/health/live", [(GET, Probe)], routes!(health::live))
            .api("/health/ready", [(GET, Probe)], routes!(health::ready))
            .api("/metrics", [(GET, Metrics)], routes!(metrics::metrics))
            .api("/openapi.json", [(GET, Read)], routes!(openapi::document))
    }

    /// Adds a route that the API's description omits.
    fn page<const N: usize>(
        mut self,
        template: &'static str,
        methods: [(Method, Kind); N],
        handlers: MethodRouter<AppState>,
    ) -> Self {
        self.rows.push(Row { template, methods: methods.into(), handlers });
        self
    }

    /// Adds a route of the API.
    ///
    /// # Panics
    ///
    /// If the handlers describe another path or other methods.
    fn api<const N: usize>(
        mut self,
        template: &'static str,
        methods: [(Method, Kind); N],
        described: UtoipaMethodRouter<AppState>,
    ) -> Self {
        let named = described.1.paths.iter().flat_map(|(path, item)| {
            let methods = [(&item.get, "GET"), (&item.post, "POST"), (&item.delete, "DELETE")];
            let methods = methods.into_iter().filter(|(operation, _)| operation.is_some());
            methods.map(move |(_, method)| (path.as_str(), method))
        });
        let listed = methods.iter().map(|(method, _)| (template, method.as_str()));
        assert!(named.eq(listed), "{template}: the handlers describe another path or method");
        let handlers = described.2.clone();
        self.api = self.api.routes(described);
        self.page(template, methods, handlers)
    }
}

impl Row {
    fn with_state(self, state: &AppState) -> Route {
        let Row { template, methods, handlers } = self;
        let handlers = handlers.fallback(wrong_method).with_state(state.clone());
        Route { template, methods, handlers }
    }
}
