//! Counters with one label, and capacity limits.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::Semaphore;

/// Counters of one kind that differ by one label.
pub(crate) type Counters = Family<[(&'static str, &'static str); 1], Counter>;

/// Counters for each of these values of the label, so that all are exported before they count.
pub(crate) fn counters(
    label: &'static str,
    values: impl IntoIterator<Item = &'static str>,
) -> Counters {
    let counters = Counters::default();
    for value in values {
        drop(counters.get_or_create(&[(label, value)]));
    }
    counters
}

/// A capacity limit: permits and their maximum.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    pub(crate) free: Arc<Semaphore>,
    pub(crate) max: usize,
}

impl Limit {
    pub(crate) fn new(max: usize) -> Self {
        Limit { free: Arc::new(Semaphore::new(max)), max }
    }
}

/// Metrics of the capacity limits.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) streams: Limit,
    pub(crate) exports: Limit,
}

impl Collector for Limits {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, value: usize| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        let mut show = |names: [&str; 2], help: [&str; 2], limit: &Limit| {
            gauge(names[0], help[0], limit.max - limit.free.available_permits())?;
            gauge(names[1], help[1], limit.max)
        };
        let help = ["Open event streams.", "Maximum number of open event streams."];
        show(["event_streams", "event_streams_limit"], help, &self.streams)?;
        let help = ["Exports in progress.", "Maximum number of exports in progress."];
        show(["exports", "exports_limit"], help, &self.exports)
    }
}
