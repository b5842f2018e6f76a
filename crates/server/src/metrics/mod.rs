//! What there is to be known of a server by numbers: `GET /metrics`, for Prometheus and what reads
//! the same formats. What the engine counts is registered by the engine.
//!
//! Nothing here is about anyone in particular: no user, no id, no token; and all labels come from
//! lists that are fixed, whatever is sent.

mod http;
mod process;
mod text;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use engine::Handle;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;

use crate::app::App;
use crate::problem::{self, Code, Problem};
use crate::{Settings, routes, sample};
use http::Http;
pub(crate) use http::{METHODS, Route, method};

pub(crate) const PATH: &str = "/metrics";

/// What all names of the program's own begin with.
const PREFIX: &str = "token_manager";

const OPEN_METRICS: &str = "application/openmetrics-text";

/// Counters of one kind that differ by one label.
pub(crate) type Counters = Family<[(&'static str, &'static str); 1], Counter>;

/// Counters for each of these values of the label, so that they are to be seen before they count.
pub(crate) fn counters<const N: usize>(label: &'static str, values: [&'static str; N]) -> Counters {
    let counters = Counters::default();
    for value in values {
        drop(counters.get_or_create(&[(label, value)]));
    }
    counters
}

/// All that is counted and measured by the server itself.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) http: Arc<Http>,
    pub(crate) connections: Gauge,
    /// By [`Code`].
    refusals: Vec<Counter>,
}

impl Metrics {
    pub(crate) fn new(
        engine: &Handle,
        settings: &Settings,
        rooms: Rooms,
        resyncs: Counters,
    ) -> Self {
        let benchmark = settings.benchmark_routes.then_some(sample::TEMPLATES);
        let templates = routes::TEMPLATES.iter().copied().chain(benchmark.into_iter().flatten());
        let http = Arc::new(Http::new(templates));
        let connections = Gauge::default();
        let mut all = Registry::default();
        let registry = all.sub_registry_with_prefix(PREFIX);
        registry.register(
            "build",
            "The program",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        engine.register_metrics(registry);
        let refusals = counters("code", Code::ALL.map(Code::as_str));
        let counter = |code: Code| refusals.get_or_create(&[("code", code.as_str())]).clone();
        let refusals_by_code = Code::ALL.map(counter).into();
        let help = "Requests that were refused or failed, by the code of the problem";
        registry.register("refusals", help, refusals);
        let help = "How often an event stream had to say that something is missing, by reason";
        registry.register("event_resyncs", help, resyncs);
        let help = "Connections that are open, at all addresses together";
        registry.register("connections", help, connections.clone());
        let limit = ConstGauge::new(settings.connections);
        registry.register("connections_limit", "How many may be open at each address", limit);
        registry.register_collector(Box::new(rooms));
        registry.register_collector(Box::new(Arc::clone(&http)));
        all.register_collector(Box::new(process::Process));
        Metrics { registry: all, http, connections, refusals: refusals_by_code }
    }

    /// Notes an answer, and how long it took.
    pub(crate) fn answered(
        &self,
        route: Route,
        method: usize,
        response: &Response,
        took: Duration,
    ) {
        let known = self.http.is_known(route);
        debug_assert!(known || !response.status().is_success(), "a route has no template");
        self.http.count(route, method, response.status(), took);
        if let Some(code) = response.extensions().get::<Code>() {
            self.refusals[*code as usize].inc();
        }
    }

    /// All of it, as `OpenMetrics` text.
    fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(64 * 1024);
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Something of which there may be so many.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) free: Arc<Semaphore>,
    pub(crate) most: usize,
}

impl Room {
    pub(crate) fn new(most: usize) -> Self {
        Room { free: Arc::new(Semaphore::new(most)), most }
    }
}

/// What there may be so many of, and how many there are.
#[derive(Debug)]
pub(crate) struct Rooms {
    pub(crate) streams: Room,
    pub(crate) exports: Room,
}

impl Collector for Rooms {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, value: usize| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        let mut show = |names: [&str; 2], help: [&str; 2], room: &Room| {
            gauge(names[0], help[0], room.most - room.free.available_permits())?;
            gauge(names[1], help[1], room.most)
        };
        let help = ["Event streams that are open.", "How many event streams may be open."];
        show(["event_streams", "event_streams_limit"], help, &self.streams)?;
        let help = ["Exports that are under way.", "How many exports may be under way."];
        show(["exports", "exports_limit"], help, &self.exports)
    }
}

/// Tell by numbers how the server is doing
///
/// For Prometheus: `OpenMetrics` where `Accept` names it, else the older text format.
#[utoipa::path(
    get,
    path = PATH,
    operation_id = "getMetrics",
    tag = "Health",
    responses((status = 200, description = "The metrics", content(
        (String = "text/plain"),
        (String = "application/openmetrics-text"),
    ), headers(
        ("Cache-Control" = String, description = "`no-store`"),
        ("Vary" = String, description = "`accept`"),
    ))),
    extensions(("x-problems" = json!(problem::door(&[])))),
)]
pub(crate) async fn metrics(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // Looking at the process takes long where that has many files open.
    let encoded = tokio::task::spawn_blocking(move || app.metrics.encode()).await;
    let Ok(Ok(text)) = encoded else {
        return Err(Problem::new(Code::Internal, "The metrics could not be written down."));
    };
    let mut response = if takes_open_metrics(&headers) {
        const VERSION: HeaderValue =
            HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        ([(CONTENT_TYPE, VERSION)], text).into_response()
    } else {
        const VERSION: HeaderValue =
            HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        ([(CONTENT_TYPE, VERSION)], text::classic(&text)).into_response()
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

fn takes_open_metrics(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    accepted.flat_map(|accept| accept.split([',', ';'])).any(|part| part.trim() == OPEN_METRICS)
}
