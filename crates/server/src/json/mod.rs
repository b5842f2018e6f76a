//! JSON of responses: rows of tokens and leases, times, durations and fixed words.

pub(crate) mod lease;
pub(crate) mod resync;
pub(crate) mod seconds;
pub(crate) mod time;
pub(crate) mod token;

use axum::http::HeaderValue;
use serde::Serialize;

/// Content type of JSON responses.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Serializes `value`; `size` is the expected number of bytes.
pub(crate) fn to_vec(value: &impl Serialize, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size);
    serde_json::to_writer(&mut bytes, value)
        .expect("responses have only string keys, and writing to a Vec never fails");
    bytes
}
