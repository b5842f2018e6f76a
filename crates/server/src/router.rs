//! The one table of routes. Everything that depends on a route is read from here: the handler, the
//! checks and limits of its kind, and the labels of metrics.

use axum::http::Method;
use axum::routing::{MethodRouter, delete, get, post};
use engine::Handle;

use crate::api::{
    allocate, bench, health, history, leases, metrics, pages, pool, pools, queue, release, search,
    token_lists, tokens,
};
use crate::events;
use crate::http::route::Kind::{self, CostlyRead, Document, Metrics, Probe, Read, Wait, Write};
use crate::http::route::{Route, Routes, wrong_method};
use crate::http::service::Service;
use crate::settings::Settings;
use crate::state::AppState;

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
            .route("/bench/allocate", [(Method::POST, Write)], post(bench::allocate()))
            .route("/bench/tokens", [(Method::GET, Read)], get(bench::tokens()));
    }
    let templates: Vec<_> = table.rows.iter().map(|row| row.template).collect();
    let state = AppState::new(engine, settings, &templates);
    let routes = table.rows.into_iter().map(|row| row.with_state(&state)).collect();
    state.service(Routes::new(routes), settings)
}

struct Table {
    rows: Vec<Row>,
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
        const PUT: Method = Method::PUT;
        const PATCH: Method = Method::PATCH;
        const DELETE: Method = Method::DELETE;
        Table { rows: Vec::new() }
            .route("/", [(GET, Read)], get(pages::home))
            .route("/pools/{pool}", [(GET, Read)], get(pages::pool))
            .route("/assets/{digest}/{*path}", [(GET, Read)], get(pages::asset))
            .route("/docs", [(GET, Read)], get(pages::docs))
            .route("/api/tokens", [(GET, Read)], get(token_lists::all))
            .route("/api/tokens/available", [(GET, Read)], get(token_lists::available))
            .route("/api/tokens/active", [(GET, Read)], get(token_lists::active))
            .route("/api/tokens/{id}", [(GET, Read)], get(tokens::show))
            .route("/api/tokens/{id}/history", [(GET, CostlyRead)], get(history::history))
            .route("/api/tokens/allocate", [(POST, Wait)], post(allocate::allocate))
            .route("/api/tokens/release/{id}", [(POST, Write)], post(release::release))
            .route("/api/tokens/clear-active", [(DELETE, Write)], delete(tokens::clear))
            .route("/api/leases/{id}", [(GET, Read)], get(leases::show))
            .route("/api/leases/{id}/renew", [(POST, Write)], post(leases::renew))
            .route("/api/leases/{id}/release", [(POST, Write)], post(leases::release))
            .route("/api/leases", [(GET, CostlyRead)], get(search::search))
            .route("/api/leases/export", [(GET, CostlyRead)], get(search::export))
            .route("/api/queue", [(GET, Read)], get(queue::list))
            .route("/api/queue/{ticket}", [(GET, Read), (DELETE, Write)], get(queue::show).delete(queue::give_up))
            .route("/api/pool", [(GET, Read)], get(pool::show))
            .route("/api/pools", [(GET, Read), (PUT, Document)], get(pools::list).put(pools::put_all))
            .route("/api/pools/{pool}", [(GET, Read), (PUT, Document), (DELETE, Write)], get(pools::show).put(pools::put).delete(pools::delete))
            .route("/api/pools/{pool}/tokens", [(GET, Read), (PUT, Document), (POST, Write)], get(pools::tokens::list).put(pools::tokens::put).post(pools::tokens::post))
            .route("/api/pools/{pool}/tokens/{token}", [(GET, Read), (PATCH, Write), (DELETE, Write)], get(pools::tokens::show).patch(pools::tokens::patch).delete(pools::tokens::delete))
            .route("/api/pools/{pool}/tokens/{token}/taints", [(POST, Write)], post(pools::taints::set))
            .route("/api/pools/{pool}/tokens/{token}/taints/{name}", [(DELETE, Write)], delete(pools::taints::remove))
            .route("/api/pools/{pool}/allocate", [(POST, Wait)], post(pools::allocate::allocate))
            .route("/api/pools/{pool}/clear", [(POST, Write)], post(pools::clear))
            .route("/api/events", [(GET, CostlyRead)], get(events::events))
            .route("/health/live", [(GET, Probe)], get(health::live))
            .route("/health/ready", [(GET, Probe)], get(health::ready))
            .route("/metrics", [(GET, Metrics)], get(metrics::metrics))
            .route("/openapi.json", [(GET, Read)], get(pages::openapi))
    }

    fn route<const N: usize>(
        mut self,
        template: &'static str,
        methods: [(Method, Kind); N],
        handlers: MethodRouter<AppState>,
    ) -> Self {
        self.rows.push(Row { template, methods: methods.into(), handlers });
        self
    }
}

impl Row {
    fn with_state(self, state: &AppState) -> Route {
        let Row { template, methods, handlers } = self;
        let handlers = handlers.fallback(wrong_method).with_state(state.clone());
        Route { template, methods, handlers }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_openapi_document_has_every_route() {
        let document = include_str!("../../../docs/openapi.json");
        let document: serde_json::Value = serde_json::from_str(document).unwrap();
        let mut described = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys() {
                described.insert((path.clone(), method.to_uppercase()));
            }
        }
        let pages = ["/", "/pools/{pool}", "/assets/{digest}/{*path}", "/docs"];
        let table = Table::new().rows;
        let rows = table.iter().filter(|row| !pages.contains(&row.template));
        let listed = rows.flat_map(|row| {
            let methods = row.methods.iter().map(|(method, _)| method.to_string());
            methods.map(|method| (row.template.to_owned(), method))
        });
        assert_eq!(described, listed.collect());
    }
}
