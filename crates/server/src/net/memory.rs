//! Memory limit for responses that wait for their clients, shared by all connections.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

/// Bytes in use, and their limit.
#[derive(Debug)]
pub(crate) struct ResponseMemory {
    used: AtomicUsize,
    limit: usize,
}

impl ResponseMemory {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(ResponseMemory { used: AtomicUsize::new(0), limit })
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// Whether the limit is reached, so that not even small responses fit.
    pub(crate) fn is_full(&self) -> bool {
        self.used() >= self.limit
    }

    /// Charges a large response. A quarter of the memory is reserved for small ones.
    pub(crate) fn try_charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let limit = self.limit - self.limit / 4;
        let grow = |used: usize| used.checked_add(bytes).filter(|used| *used <= limit);
        self.used.fetch_update(Relaxed, Relaxed, grow).ok()?;
        Some(Charge { memory: Arc::clone(self), bytes })
    }

    /// Charges memory that is allocated already.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.used.fetch_add(bytes, Relaxed);
        Charge { memory: Arc::clone(self), bytes }
    }
}

/// A part of the memory, in use until this is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    memory: Arc<ResponseMemory>,
    bytes: usize,
}

impl Charge {
    /// Returns the bytes, charged until their last clone is dropped.
    pub(crate) fn hold(self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Charged { bytes, _charge: self })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Relaxed);
    }
}

struct Charged {
    bytes: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Metrics of the memory.
#[derive(Debug)]
pub(crate) struct MemoryMetrics(pub(crate) Arc<ResponseMemory>);

impl Collector for MemoryMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, value: usize| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        let help = "Memory of responses that wait for their clients, in bytes.";
        gauge("answer_memory_bytes", help, self.0.used())?;
        let help = "Memory use at which new responses are refused, in bytes.";
        gauge("answer_memory_limit_bytes", help, self.0.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_lasts_as_long_as_its_bytes() {
        let memory = ResponseMemory::new(400);
        assert!(memory.try_charge(301).is_none(), "a quarter is for small responses");
        let bytes = memory.try_charge(300).unwrap().hold(vec![0; 300]);
        assert!(memory.try_charge(1).is_none() && !memory.is_full());
        let small = memory.charge(100);
        assert!(memory.is_full());
        let part = bytes.slice(..1);
        drop((small, bytes));
        assert_eq!(memory.used(), 300);
        drop(part);
        assert_eq!(memory.used(), 0);
    }
}
