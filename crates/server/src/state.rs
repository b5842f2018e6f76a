//! State of a server. Each handler extracts the part that it needs.

use std::sync::Arc;

use axum::extract::FromRef;
use engine::Handle;

use crate::api::export::Exports;
use crate::api::token_pages::Pages;
use crate::events::Streams;
use crate::http::access::{Engine, Guard};
use crate::http::route::Routes;
use crate::http::service::Service;
use crate::metrics::{Counts, Limits, Metrics};
use crate::net::connections::Connections;
use crate::net::memory::{MemoryMetrics, ResponseMemory};
use crate::net::shutdown::Shutdown;
use crate::settings::{Assets, Settings};

/// State of a server. Clones share everything.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Parts>);

macro_rules! parts {
    ($($name:ident: $type:ty,)*) => {
        struct Parts { $($name: $type,)* }

        $(impl FromRef<AppState> for $type {
            fn from_ref(AppState(parts): &AppState) -> Self {
                parts.$name.clone()
            }
        })*
    };
}

parts! {
    engine: Engine,
    assets: Assets,
    pages: Arc<Pages>,
    streams: Arc<Streams>,
    exports: Exports,
    metrics: Arc<Metrics>,
    connections: Arc<Connections>,
    shutdown: Shutdown,
    guard: Arc<Guard>,
}

impl AppState {
    /// Creates the state; `templates` are the paths that metrics tell apart.
    pub(crate) fn new(engine: Handle, settings: &Settings, templates: &[&'static str]) -> Self {
        let (pages, exports, shutdown): (_, Exports, _) = Default::default();
        let guard = Arc::new(Guard::new(engine.clone(), settings));
        let streams = Arc::new(Streams::new(&engine, settings));
        let memory = ResponseMemory::new(settings.answer_bytes);
        let (limit, per_address) = (settings.connections, settings.connections_per_address);
        let connections = Connections::new(limit, per_address, Arc::clone(&memory));
        let counts = Counts {
            resyncs: streams.resyncs.clone(),
            dropped: connections.dropped.clone(),
            memory: Box::new(MemoryMetrics(memory)),
            limits: Limits { streams: streams.limit.clone(), exports: exports.0.clone() },
        };
        let metrics = Arc::new(Metrics::new(&engine, settings, templates, counts));
        let assets = settings.assets;
        AppState(Arc::new(Parts {
            engine: Engine(engine),
            assets,
            pages,
            streams,
            exports,
            metrics,
            connections,
            shutdown,
            guard,
        }))
    }

    /// Creates the service with these routes.
    pub(crate) fn service(&self, routes: Routes, settings: &Settings) -> Service {
        let Parts { guard, metrics, connections, .. } = &*self.0;
        let (metrics, connections) = (Arc::clone(metrics), Arc::clone(connections));
        let guard = Arc::clone(guard);
        let state = self.clone();
        Service::new(routes, settings, guard, metrics, connections, move || state.stop())
    }

    /// Ends event streams and waits for a token, which would go on for long.
    fn stop(&self) {
        self.0.streams.stop();
        self.0.shutdown.begin();
    }
}
