//! Replaces `mod.rs` in a program built without traces.

use std::sync::Arc;

use tracing_subscriber::{Layer, Registry};

use crate::settings::Settings;

pub type Spans = Box<dyn Layer<Registry> + Send + Sync>;

pub struct Traces;

#[expect(clippy::unnecessary_wraps, reason = "the export of traces may fail")]
pub fn start(settings: &Settings) -> anyhow::Result<(Traces, Option<Spans>)> {
    // Reading the setting has refused an endpoint.
    let _ = (&settings.otlp_endpoint, settings.trace_sample);
    Ok((Traces, None))
}

impl Traces {
    #[expect(clippy::unused_self, reason = "the export of traces has state")]
    pub fn requests(&self) -> Option<Arc<dyn server::Traces>> {
        None
    }

    #[expect(clippy::unused_async, reason = "the export of traces takes time to finish")]
    pub async fn finish(self) {}
}

pub fn current_trace_id() -> Option<String> {
    None
}
