//! Metrics of the server, for Prometheus. The engine registers its own.
//!
//! Metrics never contain users, ids or tokens, and all labels have fixed sets of values.

pub(crate) mod counters;
mod encoder;
mod http;
mod process;
pub(crate) mod text;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::response::Response;
use engine::Handle;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Code;
use crate::settings::Settings;
use crate::tls::Tls;
pub(crate) use counters::Limits;
use counters::{Counters, counters};
use encoder::Encoder;
use http::Http;
pub(crate) use http::{METHODS, method, method_name};

/// Prefix of the program's own metrics.
const PREFIX: &str = "token_manager";

/// All metrics of a server.
pub(crate) struct Metrics {
    registry: Registry,
    /// Permit to encode all metrics.
    turn: Arc<Semaphore>,
    /// Thread that encodes. None if the system refused to start one.
    encoder: Option<Encoder>,
    http: Arc<Http>,
    /// Open connections, by the address of the listener.
    pub(crate) connections: Family<[(&'static str, String); 1], Gauge>,
    /// By [`Code`].
    refusals: Vec<Counter>,
}

impl Metrics {
    /// Creates the metrics; `templates` are the paths of the routes.
    pub(crate) fn new(
        engine: &Handle,
        settings: &Settings,
        templates: &[&'static str],
        counts: Counts,
    ) -> Self {
        let http = Arc::new(Http::new(templates));
        let connections = Family::default();
        let mut all = Registry::default();
        let registry = all.sub_registry_with_prefix(PREFIX);
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the program", version);
        engine.register_metrics(registry);
        let refusals = counters("code", Code::ALL.iter().map(|code| code.as_str()));
        let counter = |code: Code| refusals.get_or_create(&[("code", code.as_str())]).clone();
        let refusals_by_code = Code::ALL.iter().copied().map(counter).collect();
        let help = "Requests that were refused or failed, by error code";
        registry.register("refusals", help, refusals);
        let help = "Resync events sent in event streams. too-slow and too-much are about speed, the other reasons about the position from which a stream continues";
        registry.register("event_resyncs", help, counts.resyncs);
        let help = "Open connections, by the address of the listener";
        registry.register("connections", help, connections.clone());
        let limit = ConstGauge::new(settings.connections);
        let help = "Maximum number of open connections, all addresses together";
        registry.register("connections_limit", help, limit);
        let help = "Connections closed or limited to protect others: idle (closed for a new one), reserved (beyond the limit, only health and metrics are served), refused (beyond that), unread (closed because responses were left unread)";
        registry.register("connections_dropped", help, counts.dropped);
        registry.register_collector(counts.memory);
        registry.register_collector(Box::new(counts.limits));
        let dropped = Arc::clone(&settings.dropped_log_lines);
        registry.register_collector(Box::new(DroppedLogLines(dropped)));
        if let Some(tls) = &settings.tls {
            registry.register_collector(Box::new(CertificateExpiry(tls.clone())));
        }
        registry.register_collector(Box::new(Arc::clone(&http)));
        all.register_collector(Box::new(process::Process));
        let turn = Arc::new(Semaphore::new(1));
        let encoder = Encoder::start();
        Metrics { registry: all, turn, encoder, http, connections, refusals: refusals_by_code }
    }

    /// Counts a response of the route with this index.
    pub(crate) fn answered(
        &self,
        route: usize,
        method: usize,
        response: &Response,
        took: Duration,
    ) {
        self.http.count(route, method, response.status(), took);
        if let Some(code) = response.extensions().get::<Code>() {
            self.refusals[*code as usize].inc();
        }
    }

    /// Waits for the permit to encode all metrics.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turn).acquire_owned().await.ok()
    }

    /// Returns all metrics as `OpenMetrics` text. The permit is held until they are encoded, even if
    /// the client leaves.
    pub(crate) async fn text(self: Arc<Self>, turn: OwnedSemaphorePermit) -> Option<String> {
        encoder::encode(self, turn).await
    }

    fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(64 * 1024);
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Metrics that other parts of the server keep.
pub(crate) struct Counts {
    pub(crate) resyncs: Counters,
    pub(crate) dropped: Counters,
    pub(crate) memory: Box<dyn Collector>,
    pub(crate) limits: Limits,
}

/// Counter of dropped log lines, which the log itself keeps.
#[derive(Debug)]
struct DroppedLogLines(Arc<AtomicU64>);

impl Collector for DroppedLogLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counter = ConstCounter::new(self.0.load(Ordering::Relaxed));
        let help = "Log lines dropped because the log was not read or could not be written.";
        counter.encode(encoder.encode_descriptor(
            "log_lines_dropped",
            help,
            None,
            counter.metric_type(),
        )?)
    }
}

/// End of the certificate in use.
#[derive(Debug)]
struct CertificateExpiry(Tls);

impl Collector for CertificateExpiry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauge = ConstGauge::new(self.0.expires().as_micros() / 1_000_000);
        let help = "When the TLS certificate in use expires, in Unix time. Only with TLS.";
        gauge.encode(encoder.encode_descriptor(
            "tls_certificate_expiry_timestamp_seconds",
            help,
            None,
            gauge.metric_type(),
        )?)
    }
}
