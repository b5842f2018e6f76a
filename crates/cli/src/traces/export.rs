//! Export of spans to a collector. The server never waits for it: spans beyond a bounded queue are lost, and
//! so are spans that the collector does not accept. The log reports their number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter as _, SpanProcessor,
};
use tokio::runtime::Handle;
use tracing::warn;

/// Maximum number of spans in the queue, including those being sent.
const QUEUE: u16 = 8192;

/// Maximum number of spans in one request.
const BATCH: usize = 1024;

/// Time that a span waits for others to share a request.
const DELAY: Duration = Duration::from_secs(1);

/// Maximum time for the collector to answer a request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Shortest time between two reports of lost spans.
const REPORT_EVERY: Duration = Duration::from_mins(1);

const NO_EXPORT: &str = "can't export traces";

/// Makes the processor that sends spans to the collector at `endpoint`. Within a runtime, on which the
/// requests run.
pub fn processor(endpoint: &str, resource: &Resource) -> anyhow::Result<(Bounded, Arc<Losses>)> {
    let url = endpoint.parse().context(NO_EXPORT)?;
    let builder = || reqwest::Client::builder().timeout(TIMEOUT);
    // Redirects are not followed: headers may contain credentials, which the target must not get.
    let (client, _) =
        client::http_client(&url, builder).map_err(|why| anyhow!("{NO_EXPORT}: {why}"))?;
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .with_timeout(TIMEOUT)
        .build()
        .context(NO_EXPORT)?;
    exporter.set_resource(resource);
    let losses = Arc::<Losses>::default();
    let (runtime, exporter) = (Handle::current(), Arc::new(exporter));
    let exporter = Reporting { exporter, runtime, losses: Arc::clone(&losses) };
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(usize::from(QUEUE))
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(DELAY);
    let batches = BatchSpanProcessor::builder(exporter).with_batch_config(config.build()).build();
    Ok((Bounded { batches, losses: Arc::clone(&losses) }, losses))
}

/// The SDK's batch processor. It does not publish the number of spans that it drops, so this never fills
/// its queue and counts the spans that do not fit.
#[derive(Debug)]
pub struct Bounded {
    batches: BatchSpanProcessor,
    losses: Arc<Losses>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if self.losses.queued.fetch_add(1, Ordering::Relaxed) < QUEUE.into() {
            self.batches.on_end(span);
        } else {
            self.losses.queued.fetch_sub(1, Ordering::Relaxed);
            self.losses.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }
}

/// An exporter that counts lost spans. The processor calls it on a thread without a runtime, which the
/// HTTP client needs.
#[derive(Debug)]
struct Reporting {
    exporter: Arc<SpanExporter>,
    runtime: Handle,
    losses: Arc<Losses>,
}

impl opentelemetry_sdk::trace::SpanExporter for Reporting {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        let count = spans.len() as u64;
        let exporter = Arc::clone(&self.exporter);
        let sent = self.runtime.spawn(async move { exporter.export(spans).await }).await;
        // The runtime has ended, after `report_last`.
        let Ok(sent) = sent else { return Err(OTelSdkError::AlreadyShutdown) };
        self.losses.queued.fetch_sub(count, Ordering::Relaxed);
        if sent.is_err() {
            self.losses.lost.fetch_add(count, Ordering::Relaxed);
        }
        self.losses.report(sent.as_ref().err());
        sent
    }
}

/// Counts and reports lost spans.
#[derive(Debug, Default)]
pub struct Losses {
    queued: AtomicU64,
    /// Lost spans since the last report.
    lost: AtomicU64,
    report: Mutex<Report>,
}

#[derive(Debug, Default)]
struct Report {
    last: Option<Instant>,
    /// The collector's last error since then.
    error: Option<String>,
}

impl Losses {
    /// Logs the number of lost spans, unless the last report is recent.
    fn report(&self, error: Option<&OTelSdkError>) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.error = error.map(ToString::to_string).or(report.error.take());
        if report.last.is_none_or(|last| last.elapsed() >= REPORT_EVERY) {
            self.write(&mut report, 0);
        }
    }

    /// Logs the number of lost spans at the end, including those still queued.
    pub fn report_last(&self) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let queued = self.queued.swap(0, Ordering::Relaxed);
        if queued > 0 {
            report.error =
                Some("the collector did not answer before the server stopped".to_owned());
        }
        self.write(&mut report, queued);
    }

    fn write(&self, report: &mut Report, more: u64) {
        let lost = self.lost.swap(0, Ordering::Relaxed) + more;
        if lost > 0 {
            report.last = Some(Instant::now());
            let why = report.error.take().unwrap_or_else(|| "queue full".to_owned());
            warn!(lost, why, "trace spans lost");
        }
    }
}
