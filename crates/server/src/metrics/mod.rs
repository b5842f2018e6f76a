//! What there is to be known of a server by numbers: `GET /metrics`, for Prometheus and what reads
//! the same formats. What the engine counts is registered by the engine.
//!
//! Nothing here is about anyone in particular: no user, no id, no token; and all labels come from
//! lists that are fixed, whatever is sent.

mod encoder;
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
use crate::budget::Budget;
use crate::problem::{self, Code, Problem};
use crate::{Settings, routes, sample};
use encoder::Encoder;
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
    /// Whose turn it is to have all of it written down.
    turn: Arc<Semaphore>,
    /// Where it is written down. None where the system had no thread.
    encoder: Option<Encoder>,
    pub(crate) http: Arc<Http>,
    /// By the address that is listened to.
    pub(crate) connections: Family<[(&'static str, String); 1], Gauge>,
    /// By [`Code`].
    refusals: Vec<Counter>,
}

impl Metrics {
    pub(crate) fn new(engine: &Handle, settings: &Settings, rooms: Rooms, counts: Counts) -> Self {
        let benchmark = settings.benchmark_routes.then_some(sample::TEMPLATES);
        let templates = routes::TEMPLATES.iter().copied().chain(benchmark.into_iter().flatten());
        let http = Arc::new(Http::new(templates));
        let connections = Family::default();
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
        registry.register("event_resyncs", help, counts.resyncs);
        let help = "Connections that are open, by the address that they came to";
        registry.register("connections", help, connections.clone());
        let limit = ConstGauge::new(settings.connections);
        registry.register(
            "connections_limit",
            "How many may be open, all addresses together",
            limit,
        );
        let help = "Connections that were closed or refused to protect others, by reason";
        registry.register("connections_dropped", help, counts.dropped);
        registry.register_collector(Box::new(AnswerBytes(counts.budget)));
        registry.register_collector(Box::new(rooms));
        registry.register_collector(Box::new(Arc::clone(&http)));
        all.register_collector(Box::new(process::Process));
        let turn = Arc::new(Semaphore::new(1));
        let encoder = Encoder::start();
        Metrics { registry: all, turn, encoder, http, connections, refusals: refusals_by_code }
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

/// What other parts of the server count.
pub(crate) struct Counts {
    pub(crate) resyncs: Counters,
    pub(crate) dropped: Counters,
    pub(crate) budget: Arc<Budget>,
}

/// Memory of answers that wait for their clients.
#[derive(Debug)]
struct AnswerBytes(Arc<Budget>);

impl Collector for AnswerBytes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, value: usize| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        let help = "Memory of answers that wait for their clients, in bytes.";
        gauge("answer_memory_bytes", help, self.0.used())?;
        let help = "From how much on new answers are refused.";
        gauge("answer_memory_limit_bytes", help, self.0.most())
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
    // Also where the client leaves meanwhile.
    let turn = Arc::clone(&app.metrics.turn).acquire_owned().await;
    let encoded = encoder::encode(&app, turn.expect("the semaphore is never closed")).await;
    let Some(text) = encoded else {
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
    accepted.flat_map(|accept| accept.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(OPEN_METRICS));
        let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        // What has no quality has the full one.
        named
            && quality.is_none_or(|quality| quality.parse().is_ok_and(|quality: f32| quality > 0.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Inside;

    #[tokio::test]
    async fn one_is_written_down_at_a_time() {
        let url = "sqlite:nowhere".parse().unwrap();
        let database = store::database(&url, Arc::new(store::SystemClock));
        let (engine, _) =
            engine::start(database, store::Wanted::default(), engine::Settings::default());
        let app = Inside::new(engine, &Settings::default());
        let turn = Arc::clone(&app.metrics.turn).acquire_owned().await.unwrap();
        let mut scraped = std::pin::pin!(metrics(State(app), HeaderMap::new()));
        let waits = tokio::time::timeout(Duration::from_millis(50), &mut scraped).await;
        assert!(waits.is_err(), "it is another's turn");
        drop(turn);
        assert_eq!(scraped.await.unwrap().status(), 200);
    }

    #[test]
    fn open_metrics_is_for_those_who_want_it() {
        for (accept, wanted) in [
            ("application/openmetrics-text", true),
            ("text/plain, application/openmetrics-text;version=1.0.0;q=0.1", true),
            ("Application/OpenMetrics-Text; Q=1", true),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text; version=1.0.0; q=0.000, text/plain", false),
            ("text/plain;of=application/openmetrics-text", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(takes_open_metrics(&headers), wanted, "{accept}");
        }
    }
}
