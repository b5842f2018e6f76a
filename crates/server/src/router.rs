//! The one table of routes. Everything that depends on a route is read from here: the handler, the
//! checks and limits of its kind, and the labels of metrics.

use ::pool::Rights;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter};
use engine::Handle;

use crate::api::{
    allocate, audit, bench, health, history, keys, leases, metrics, pages, pool, pools, queue,
    release, search, session, token_lists, tokens,
};
use crate::events;
use crate::http::access::Needs::{self, Everywhere, Identity, Nothing};
use crate::http::route::Kind::{self, CostlyRead, Document, Metrics, Probe, Read, Wait, Write};
use crate::http::route::{Route, Routes, Rule, wrong_method};
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
            .route("/bench/allocate", on(POST, Write, Needs::USE, bench::allocate()))
            .route("/bench/tokens", on(GET, Read, Needs::READ, bench::tokens()));
    }
    let templates: Vec<_> = table.rows.iter().map(|row| row.template).collect();
    let state = AppState::new(engine, settings, &templates);
    let routes = table.rows.into_iter().map(|row| row.with_state(&state)).collect();
    state.service(Routes::new(routes), settings)
}

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

struct Table {
    rows: Vec<Row>,
}

/// A route whose handlers have no state yet.
struct Row {
    template: &'static str,
    methods: Methods,
}

/// Methods of a route, each with its rule and its handler, so that neither lacks the other.
#[derive(Default)]
struct Methods {
    rules: Vec<Rule>,
    handlers: MethodRouter<AppState>,
}

/// A method of a route, as the first.
fn on<T: 'static>(
    method: Method,
    kind: Kind,
    needs: Needs,
    handler: impl Handler<T, AppState>,
) -> Methods {
    Methods::default().on(method, kind, needs, handler)
}

impl Methods {
    fn on<T: 'static>(
        mut self,
        method: Method,
        kind: Kind,
        needs: Needs,
        handler: impl Handler<T, AppState>,
    ) -> Self {
        let filter = MethodFilter::try_from(method.clone()).expect("the method has a filter");
        self.handlers = self.handlers.on(filter, handler);
        self.rules.push((method, kind, needs));
        self
    }
}

impl Table {
    #[rustfmt::skip]
    fn new() -> Self {
        const READ: Needs = Needs::READ;
        const USE: Needs = Needs::USE;
        const OPERATE: Needs = Needs::OPERATE;
        const ADMIN: Needs = Needs::ADMIN;
        Table { rows: Vec::new() }
            .route("/", on(GET, Read, Nothing, pages::home))
            .route("/pools", on(GET, Read, Nothing, pages::pools))
            .route("/pools/{pool}", on(GET, Read, Nothing, pages::pool))
            .route("/assets/{digest}/{*path}", on(GET, Read, Nothing, pages::asset))
            .route("/docs", on(GET, Read, Nothing, pages::docs))
            .route("/api/tokens", on(GET, Read, READ, token_lists::all))
            .route("/api/tokens/available", on(GET, Read, READ, token_lists::available))
            .route("/api/tokens/active", on(GET, Read, READ, token_lists::active))
            .route("/api/tokens/{id}", on(GET, Read, READ, tokens::show))
            .route("/api/tokens/{id}/history", on(GET, CostlyRead, READ, history::history))
            .route("/api/tokens/allocate", on(POST, Wait, USE, allocate::allocate))
            .route("/api/tokens/release/{id}", on(POST, Write, USE, release::release))
            .route("/api/tokens/clear-active", on(DELETE, Write, OPERATE, tokens::clear))
            .route("/api/leases/{id}", on(GET, Read, READ, leases::show))
            .route("/api/leases/{id}/renew", on(POST, Write, USE, leases::renew))
            .route("/api/leases/{id}/release", on(POST, Write, USE, leases::release))
            .route("/api/leases", on(GET, CostlyRead, READ, search::search))
            .route("/api/leases/export", on(GET, CostlyRead, READ, search::export))
            .route("/api/queue", on(GET, Read, READ, queue::list))
            .route("/api/queue/{ticket}", on(GET, Read, READ, queue::show).on(DELETE, Write, USE, queue::give_up))
            .route("/api/pool", on(GET, Read, READ, pool::show))
            .route("/api/pools", on(GET, Read, READ, pools::list).on(PUT, Document, ADMIN, pools::put_all))
            .route("/api/pools/{pool}", on(GET, Read, READ, pools::show).on(PUT, Document, ADMIN, pools::put).on(DELETE, Write, ADMIN, pools::delete))
            .route("/api/pools/{pool}/tokens", on(GET, Read, READ, pools::tokens::list).on(PUT, Document, ADMIN, pools::tokens::put).on(POST, Write, ADMIN, pools::tokens::post))
            .route("/api/pools/{pool}/tokens/{token}", on(GET, Read, READ, pools::tokens::show).on(PATCH, Write, ADMIN, pools::tokens::patch).on(DELETE, Write, ADMIN, pools::tokens::delete))
            .route("/api/pools/{pool}/tokens/{token}/taints", on(POST, Write, OPERATE, pools::taints::set))
            .route("/api/pools/{pool}/tokens/{token}/taints/{name}", on(DELETE, Write, OPERATE, pools::taints::remove))
            .route("/api/pools/{pool}/allocate", on(POST, Wait, USE, pools::allocate::allocate))
            .route("/api/pools/{pool}/clear", on(POST, Write, OPERATE, pools::clear))
            .route("/api/events", on(GET, CostlyRead, READ, events::events))
            .route("/api/session", on(GET, Read, Identity, session::show).on(POST, Write, Identity, session::sign_in).on(DELETE, Write, Identity, session::sign_out))
            .route("/api/session/code", on(POST, Write, READ, session::code))
            .route("/api/keys", on(GET, Read, ADMIN, keys::list).on(POST, Write, ADMIN, keys::create))
            .route("/api/keys/{key}", on(GET, Read, ADMIN, keys::show).on(DELETE, Write, ADMIN, keys::revoke))
            .route("/api/keys/{key}/rotate", on(POST, Write, ADMIN, keys::rotate))
            .route("/api/keys/{key}/sessions", on(DELETE, Write, ADMIN, keys::end_sessions))
            .route("/api/audit", on(GET, CostlyRead, ADMIN, audit::list))
            .route("/api/audit/export", on(GET, CostlyRead, ADMIN, audit::export))
            .route("/api/audit/refusals", on(GET, Read, ADMIN, audit::refusals))
            .route("/health/live", on(GET, Probe, Nothing, health::live))
            .route("/health/ready", on(GET, Probe, Nothing, health::ready))
            .route("/metrics", on(GET, Metrics, Everywhere(Rights::Read), metrics::metrics))
            .route("/openapi.json", on(GET, Read, Nothing, pages::openapi))
    }

    fn route(mut self, template: &'static str, methods: Methods) -> Self {
        self.rows.push(Row { template, methods });
        self
    }
}

impl Row {
    fn with_state(self, state: &AppState) -> Route {
        let Row { template, methods: Methods { rules, handlers } } = self;
        let handlers = handlers.fallback(wrong_method).with_state(state.clone());
        Route { template, methods: rules, handlers }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_openapi_document_has_the_rights_of_the_routes() {
        let document = include_str!("../../../docs/openapi.json");
        let document: serde_json::Value = serde_json::from_str(document).unwrap();
        for row in Table::new().rows {
            let operations = &document["paths"][row.template];
            for (method, _, needs) in row.methods.rules {
                let operation = &operations[method.as_str().to_lowercase()];
                let right = match needs {
                    Nothing | Identity => None,
                    Needs::Right(right) | Everywhere(right) => Some(right.as_str()),
                };
                let what = format!("{method} {}", row.template);
                assert_eq!(operation["x-right"].as_str(), right, "{what}");
                if !operation.is_null() {
                    let is_open = operation["security"] == serde_json::json!([]);
                    assert_eq!(is_open, needs == Nothing, "{what}");
                }
                for status in ["401", "403", "429"] {
                    let documented = operation["responses"].get(status).is_some();
                    assert_eq!(documented, needs != Nothing, "{status} of {what}");
                }
            }
        }
    }

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
        let pages = ["/", "/pools", "/pools/{pool}", "/assets/{digest}/{*path}", "/docs"];
        let table = Table::new().rows;
        let rows = table.iter().filter(|row| !pages.contains(&row.template));
        let listed = rows.flat_map(|row| {
            let methods = row.methods.rules.iter().map(|(method, ..)| method.to_string());
            methods.map(|method| (row.template.to_owned(), method))
        });
        assert_eq!(described, listed.collect());
    }
}
