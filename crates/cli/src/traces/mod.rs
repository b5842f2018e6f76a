//! Traces for OpenTelemetry: selects the requests to trace, and leads their spans from `tracing` to the
//! exporter.

mod export;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{SpanKind, TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    IdGenerator as _, RandomIdGenerator, Sampler, SamplingDecision, SdkTracerProvider,
    ShouldSample as _,
};
use reqwest::header::HeaderMap;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::{Layer, Registry};

use self::export::Losses;
use crate::settings::Settings;

/// Maximum number of links from a batch to its requests. Each request has a link to its batch.
const MAX_LINKS: u32 = 128;

/// Maximum length of a client's `tracestate`: the length that every tracing system has to pass on. Each span
/// of the request carries it, and each link to one.
const MAX_STATE: usize = 512;

/// Maximum time that a stopping server waits for the collector to accept the last spans.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// The layer of a subscriber that receives spans.
pub type Spans = Box<dyn Layer<Registry> + Send + Sync>;

/// The running export, if the settings name a collector.
pub struct Traces {
    requests: Option<Arc<dyn server::Traces>>,
    export: Option<(SdkTracerProvider, Arc<Losses>)>,
}

/// Starts the export of spans if the settings name a collector. Within a runtime.
///
/// # Errors
///
/// When an environment variable of the export is not valid.
pub fn start(settings: &Settings) -> anyhow::Result<(Traces, Option<Spans>)> {
    // With a share of 0, clients can't request a trace either.
    let endpoint = settings.otlp_endpoint.as_ref().filter(|_| settings.trace_sample > 0.0);
    let Some(endpoint) = endpoint else {
        return Ok((Traces { requests: None, export: None }, None));
    };
    let (processor, losses) = export::processor(endpoint, &resource())?;
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        // `Requests` samples before it makes a span.
        .with_sampler(Sampler::AlwaysOn)
        .with_max_links_per_span(MAX_LINKS)
        .build();
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("token-manager"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        // Not the spans of libraries, least of all of those that the export uses.
        .with_filter(Targets::new().with_target(engine::SPANS, LevelFilter::INFO))
        .boxed();
    let requests: Arc<dyn server::Traces> = Arc::new(Requests {
        sampler: Sampler::TraceIdRatioBased(settings.trace_sample),
        ids: RandomIdGenerator::default(),
        clients: TraceContextPropagator::new(),
    });
    let export = Some((provider, losses));
    Ok((Traces { requests: Some(requests), export }, Some(spans)))
}

/// Name and version of the traced service, unless `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` override them.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let named = Resource::builder().build();
    let resource = Resource::builder_empty().with_attribute(version);
    let name = KeyValue::new("service.name", "token-manager");
    let nameless = named.iter().any(|(key, value)| {
        key.as_str() == "service.name" && value.as_str().starts_with("unknown_service")
    });
    let given = named.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    resource.with_attributes(given).with_attributes(nameless.then_some(name)).build()
}

impl Traces {
    pub fn requests(&self) -> Option<Arc<dyn server::Traces>> {
        self.requests.clone()
    }

    /// Sends the queued spans, for at most [`STOP_LIMIT`].
    pub async fn finish(self) {
        let Some((provider, losses)) = self.export else { return };
        let stop = move || provider.shutdown_with_timeout(STOP_LIMIT);
        // Errors are among the losses.
        let _ = tokio::task::spawn_blocking(stop).await;
        losses.report_last();
    }
}

/// Selects the requests to trace, and the parents of their spans.
#[derive(Debug)]
struct Requests {
    sampler: Sampler,
    ids: RandomIdGenerator,
    clients: TraceContextPropagator,
}

impl server::Traces for Requests {
    fn span(&self, headers: &HeaderMap, make: &dyn Fn() -> Span) -> Span {
        let client = self.clients.extract_with_context(&Context::new(), &Sent::of(headers));
        let of_client = client.span().span_context().clone();
        if of_client.is_valid() {
            if !of_client.is_sampled() {
                return Span::none();
            }
            let span = make();
            // Fails only if no layer receives the span, and then it has no effect.
            let _ = span.set_parent(client);
            return span;
        }
        let chance = self.ids.new_trace_id();
        let drawn = self.sampler.should_sample(None, chance, "", &SpanKind::Server, &[], &[]);
        if drawn.decision == SamplingDecision::RecordAndSample { make() } else { Span::none() }
    }
}

/// The trace headers of a request, without values that are too long.
struct Sent<'a>(HeaderExtractor<'a>);

impl<'a> Sent<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        Sent(HeaderExtractor(headers))
    }
}

impl Extractor for Sent<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).filter(|value| value.len() <= MAX_STATE)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys()
    }
}

/// The id of the current span's trace, for the log.
pub fn current_trace_id() -> Option<String> {
    let span = Span::current();
    if span.is_none() {
        return None;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| context.trace_id().to_string())
}
