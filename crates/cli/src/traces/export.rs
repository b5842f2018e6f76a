//! Sends spans to a collector, without ever keeping anybody waiting: what does not fit into a bounded
//! queue is lost, and so is what the collector does not take. The log says how much, once in a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter as _, SpanProcessor};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::warn;

/// How many spans wait at most.
const QUEUE: usize = 8192;

/// How many spans are sent together at most.
const TOGETHER: usize = 1024;

/// How long a span waits for others to be sent with.
const GATHER: Duration = Duration::from_secs(1);

/// How long the collector may take for what is sent together.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a stopping server waits for the collector to take the last spans.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How often the log tells of lost spans.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// Why spans are lost that nobody tried to send.
const FULL: &str = "too many waited to be sent";

/// The running export.
pub struct Export {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    counts: Arc<Counts>,
}

/// What became of spans so far.
#[derive(Debug, Default)]
struct Counts {
    /// Those that wait to be sent, or for the collector's word.
    waiting: AtomicU64,
    /// Those that were lost since the log last told of them.
    lost: AtomicU64,
}

impl Export {
    /// Begins; the processor takes the spans.
    pub fn start(endpoint: &str, resource: &Resource) -> anyhow::Result<(Self, Processor)> {
        let url = endpoint.parse().context("traces can't be exported")?;
        let builder = || reqwest::Client::builder().timeout(TIMEOUT);
        // Headers may hold credentials, which must not reach the target of a redirect.
        let (client, _) = client::http_client(&url, builder)
            .map_err(|why| anyhow!("traces can't be exported: {why}"))?;
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .with_timeout(TIMEOUT)
            .build()
            .context("traces can't be exported")?;
        exporter.set_resource(resource);
        let counts = Arc::<Counts>::default();
        let (spans, queue) = mpsc::channel(QUEUE);
        let (stop, stopped) = oneshot::channel();
        let losses = Losses { counts: Arc::clone(&counts), why: FULL.to_owned(), told: None };
        let task = tokio::spawn(send_all(queue, exporter, stopped, losses));
        Ok((Export { stop, task, counts: Arc::clone(&counts) }, Processor { spans, counts }))
    }

    /// Sends what waits, for as long as a stopping server can wait for that.
    pub async fn finish(self) {
        // It may have died.
        let _ = self.stop.send(());
        let task = self.task.abort_handle();
        if timeout(LAST_WORDS, self.task).await.is_err() {
            task.abort();
            let Counts { waiting, lost } = &*self.counts;
            let lost = waiting.load(Ordering::Relaxed) + lost.load(Ordering::Relaxed);
            warn!(lost, "the collector did not take the last spans in time");
        }
    }
}

/// Puts spans that have ended into the queue.
#[derive(Debug)]
pub struct Processor {
    spans: mpsc::Sender<SpanData>,
    counts: Arc<Counts>,
}

impl SpanProcessor for Processor {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        // Before anybody can count it as sent.
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        if self.spans.try_send(span).is_err() {
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    // That is for `Export::finish`, which can wait without blocking a thread.
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

async fn send_all(
    mut queue: mpsc::Receiver<SpanData>,
    exporter: SpanExporter,
    mut stopped: oneshot::Receiver<()>,
    mut losses: Losses,
) {
    let mut spans = Vec::new();
    loop {
        tokio::select! {
            _ = &mut stopped, if !queue.is_closed() => {
                queue.close();
                continue;
            }
            () = gather(&mut queue, &mut spans) => {}
        }
        if spans.is_empty() {
            break;
        }
        let count = spans.len() as u64;
        let sent = exporter.export(std::mem::take(&mut spans)).await;
        losses.counts.waiting.fetch_sub(count, Ordering::Relaxed);
        if let Err(error) = sent {
            losses.add(count, error.to_string());
        }
        if losses.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            losses.tell();
        }
    }
    losses.tell();
}

/// Returns when there are enough spans to be sent, or the first has waited long enough; with none
/// when there will be no more.
async fn gather(queue: &mut mpsc::Receiver<SpanData>, spans: &mut Vec<SpanData>) {
    if spans.is_empty() && queue.recv_many(spans, TOGETHER).await == 0 {
        return;
    }
    let more = async {
        while spans.len() < TOGETHER {
            let room = TOGETHER - spans.len();
            if queue.recv_many(spans, room).await == 0 {
                return;
            }
        }
    };
    // That there are no more is no error.
    let _ = timeout(GATHER, more).await;
}

/// Tells of the spans that were lost.
struct Losses {
    counts: Arc<Counts>,
    why: String,
    told: Option<Instant>,
}

impl Losses {
    fn add(&mut self, count: u64, why: String) {
        self.counts.lost.fetch_add(count, Ordering::Relaxed);
        self.why = why;
    }

    fn tell(&mut self) {
        let lost = self.counts.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.told = Some(Instant::now());
            warn!(lost, why = self.why, "spans of traces were lost");
            FULL.clone_into(&mut self.why);
        }
    }
}
