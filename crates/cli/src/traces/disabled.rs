//! Stands for `traces.rs` in a program built without traces.

use std::sync::Arc;

use crate::log::Spans;
use crate::settings::Settings;

pub struct Traces;

#[expect(clippy::unnecessary_wraps, reason = "with traces it may fail")]
pub fn start(_: &Settings) -> anyhow::Result<(Traces, Option<Spans>)> {
    Ok((Traces, None))
}

impl Traces {
    #[expect(clippy::unused_self, reason = "with traces it is asked for something")]
    pub fn requests(&self) -> Option<Arc<dyn server::Traces>> {
        None
    }

    #[expect(clippy::unused_async, reason = "with traces there is something to wait for")]
    pub async fn finish(self) {}
}

pub fn current_trace_id() -> Option<String> {
    None
}
