//! Trace collector: accepts spans by OTLP over HTTP, and keeps them.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
pub use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use testbed::poll;

/// Requests received so far.
#[derive(Default)]
struct Taken {
    spans: Vec<Span>,
    resources: Vec<KeyValue>,
    headers: HeaderMap,
    /// All received bytes, as text.
    text: String,
}

pub struct Collector {
    pub url: String,
    taken: Arc<Mutex<Taken>>,
}

impl Collector {
    pub async fn start() -> Self {
        let taken = Arc::<Mutex<Taken>>::default();
        let to = Arc::clone(&taken);
        let take = async move |headers: HeaderMap, body: Bytes| {
            let Ok(sent) = ExportTraceServiceRequest::decode(body) else {
                return StatusCode::BAD_REQUEST;
            };
            let mut taken = to.lock().unwrap();
            writeln!(taken.text, "{sent:?}").unwrap();
            taken.headers = headers;
            for of_resource in sent.resource_spans {
                taken.resources.extend(of_resource.resource.unwrap_or_default().attributes);
                let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                taken.spans.extend(spans);
            }
            StatusCode::OK
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/v1/traces", post(take));
        // Ends with the test's runtime.
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Collector { url, taken }
    }

    pub fn spans(&self) -> Vec<Span> {
        self.taken.lock().unwrap().spans.clone()
    }

    pub fn text(&self) -> String {
        self.taken.lock().unwrap().text.clone()
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let taken = self.taken.lock().unwrap();
        Some(taken.headers.get(name)?.to_str().unwrap().to_owned())
    }

    /// Resource attribute of the sender.
    pub fn resource(&self, name: &str) -> Option<String> {
        text(&self.taken.lock().unwrap().resources, name)
    }

    /// The span with this name that meets the condition, once received.
    pub fn span(&self, name: &str, is_it: impl Fn(&Span) -> bool) -> Span {
        poll(&format!("the span {name}"), || {
            self.spans().into_iter().find(|span| span.name == name && is_it(span))
        })
    }

    /// The child span with this name.
    pub fn child(&self, of: &Span, name: &str) -> Span {
        self.span(name, |span| span.parent_span_id == of.span_id && span.trace_id == of.trace_id)
    }
}

/// An attribute, as text.
pub fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == name)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Whether one span has a link to another.
pub fn links(from: &Span, to: &Span) -> bool {
    from.links.iter().any(|link| link.trace_id == to.trace_id && link.span_id == to.span_id)
}
