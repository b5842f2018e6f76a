//! Traces of requests, for OpenTelemetry: which requests are traced, as a part of what, and how their
//! spans get from `tracing` to the one who exports them.

mod export;

use std::sync::Arc;

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
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::log::Spans;
use crate::settings::Settings;
use crate::traces::export::Export;

/// How many of the requests that a batch serves it has links to. Each of them has one to the batch.
const MOST_LINKS: u32 = 128;

/// How long a client's `tracestate` may be: what any tracing system has to pass on. All spans of a
/// request have it, and all links to them.
const LONGEST_STATE: usize = 512;

/// What traces, if anything does.
pub struct Traces {
    requests: Option<Arc<dyn server::Traces>>,
    export: Option<Export>,
}

/// Begins to export spans, if the settings say where to, and makes what has to be told of them.
/// Within a runtime.
///
/// # Errors
///
/// When the environment says of the export what makes no sense.
pub fn start(settings: &Settings) -> anyhow::Result<(Traces, Option<Spans>)> {
    // With a share of none, no client gets a trace either.
    let endpoint = settings.otlp_endpoint.as_ref().filter(|_| settings.trace_sample > 0.0);
    let Some(endpoint) = endpoint else {
        return Ok((Traces { requests: None, export: None }, None));
    };
    let (export, processor) = Export::start(endpoint, &resource())?;
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        // Which requests are traced is decided before they get a span.
        .with_sampler(Sampler::AlwaysOn)
        .with_max_links_per_span(MOST_LINKS)
        .build();
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("token-manager"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        // Not what libraries do, least of all those that the export itself uses.
        .with_filter(Targets::new().with_target(engine::SPANS, LevelFilter::INFO))
        .boxed();
    let requests: Arc<dyn server::Traces> = Arc::new(Requests {
        sampler: Sampler::TraceIdRatioBased(settings.trace_sample),
        ids: RandomIdGenerator::default(),
        clients: TraceContextPropagator::new(),
    });
    Ok((Traces { requests: Some(requests), export: Some(export) }, Some(spans)))
}

/// Who it is that is traced, unless `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say otherwise.
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

    /// Exports what is still to be exported, within a bound.
    pub async fn finish(self) {
        if let Some(export) = self.export {
            export.finish().await;
        }
    }
}

/// Which requests are traced, and as a part of what.
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
            // Fails only where nobody traces the span, and then it does not matter.
            let _ = span.set_parent(client);
            return span;
        }
        let chance = self.ids.new_trace_id();
        let drawn = self.sampler.should_sample(None, chance, "", &SpanKind::Server, &[], &[]);
        if drawn.decision == SamplingDecision::RecordAndSample { make() } else { Span::none() }
    }
}

/// What a client sent of its trace, without what is too long.
struct Sent<'a>(HeaderExtractor<'a>);

impl<'a> Sent<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        Sent(HeaderExtractor(headers))
    }
}

impl Extractor for Sent<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).filter(|value| value.len() <= LONGEST_STATE)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys()
    }
}

/// The id of the trace that is written where this is called: for the log.
pub fn current_trace_id() -> Option<String> {
    let span = Span::current();
    if span.is_none() {
        return None;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| context.trace_id().to_string())
}
