//! Counters and response times of HTTP requests.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;

/// Label for values that are not in a list.
const OTHER: &str = "other";

/// Methods that are counted by name. Clients may send any text as a method.
pub(crate) const METHODS: [Method; 7] = [
    Method::GET,
    Method::POST,
    Method::DELETE,
    Method::HEAD,
    Method::PUT,
    Method::PATCH,
    Method::OPTIONS,
];

/// Statuses that the server sends.
const STATUSES: [u16; 23] = [
    200, 201, 202, 204, 304, 400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 421, 422, 429, 500,
    501, 503, 504, 505,
];

/// Upper bounds of the response times, in microseconds.
const MICROS: [u64; 13] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000,
];

/// Counts responses by route, method and status. Every request passes here, so all possible counters
/// exist from the start, and a response costs three additions: no lock, no allocation.
pub(crate) struct Http {
    /// In the order of the routes, and the last one for unknown paths.
    routes: Vec<Counts>,
}

struct Counts {
    template: &'static str,
    answers: [[AtomicU64; STATUSES.len() + 1]; METHODS.len() + 1],
    took: [AtomicU64; MICROS.len() + 1],
    took_micros: AtomicU64,
}

impl Counts {
    fn new(template: &'static str) -> Self {
        let (answers, took, took_micros) = Default::default();
        Counts { template, answers, took, took_micros }
    }
}

impl Http {
    pub(crate) fn new(templates: &[&'static str]) -> Self {
        let routes = templates.iter().copied().chain([OTHER]).map(Counts::new).collect();
        Http { routes }
    }

    /// Counts a response of the route with this index.
    pub(crate) fn count(&self, route: usize, method: usize, status: StatusCode, took: Duration) {
        let counts = &self.routes[route.min(self.routes.len() - 1)];
        let status = index_of(&STATUSES, &status.as_u16());
        counts.answers[method][status].fetch_add(1, Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = MICROS.iter().position(|bound| micros <= *bound).unwrap_or(MICROS.len());
        counts.took[bucket].fetch_add(1, Relaxed);
        counts.took_micros.fetch_add(micros, Relaxed);
    }

    fn encode_answers(&self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        for Counts { template, answers, .. } in &self.routes {
            let words = METHODS.iter().map(Method::as_str).chain([OTHER]);
            for (method, answers) in words.zip(answers) {
                let statuses = STATUSES.iter().map(u16::to_string).chain([OTHER.to_owned()]);
                for (status, count) in statuses.zip(answers) {
                    let count = count.load(Relaxed);
                    // Most combinations never occur.
                    if count > 0 {
                        let labels =
                            [("route", *template), ("method", method), ("status", &status)];
                        ConstCounter::new(count).encode(encoder.encode_family(&labels)?)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn encode_times(&self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        for Counts { template, took, took_micros, .. } in &self.routes {
            let counts = took.iter().map(|count| count.load(Relaxed));
            let bounds = MICROS.iter().map(|micros| seconds(*micros)).chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let sum = seconds(took_micros.load(Relaxed));
            let labels = [("route", *template)];
            let mut histogram = encoder.encode_family(&labels)?;
            histogram.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

/// Index of a method by which responses are counted.
pub(crate) fn method(method: &Method) -> usize {
    index_of(&METHODS, method)
}

/// Name of the method with this index.
pub(crate) fn method_name(method: usize) -> &'static str {
    const NAMES: [&str; METHODS.len()] =
        ["GET", "POST", "DELETE", "HEAD", "PUT", "PATCH", "OPTIONS"];
    NAMES.get(method).copied().unwrap_or(OTHER)
}

/// Index of the item in the list; the length of the list if it is not in there.
fn index_of<T: PartialEq>(list: &[T], item: &T) -> usize {
    list.iter().position(|listed| listed == item).unwrap_or(list.len())
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

impl Collector for Http {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Responses.";
        let kind = MetricType::Counter;
        self.encode_answers(&mut encoder.encode_descriptor("http_requests", help, None, kind)?)?;
        let (name, help) = ("http_request_duration", "Time until responses began.");
        let (unit, kind) = (Some(&Unit::Seconds), MetricType::Histogram);
        self.encode_times(&mut encoder.encode_descriptor(name, help, unit, kind)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Code;

    #[test]
    fn methods_have_their_names() {
        for (index, method) in METHODS.iter().enumerate() {
            assert_eq!(method_name(index), method.as_str());
        }
    }

    #[test]
    fn every_problem_has_its_status() {
        for code in Code::ALL {
            assert!(STATUSES.contains(&code.status()), "{code:?}");
        }
    }

    #[test]
    fn what_is_described_is_told_apart() {
        let document = include_str!("../../../../docs/openapi.json");
        let document: serde_json::Value = serde_json::from_str(document).unwrap();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let known = METHODS.iter().any(|known| known.as_str().eq_ignore_ascii_case(method));
                assert!(known, "{method} {path}");
                for status in operation["responses"].as_object().unwrap().keys() {
                    assert!(STATUSES.contains(&status.parse().unwrap()), "{status} of {path}");
                }
            }
        }
    }
}
