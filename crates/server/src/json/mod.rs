//! JSON of responses: conversions to the types of [`wire`].

pub(crate) mod keys;
pub(crate) mod lease;
pub(crate) mod pools;
pub(crate) mod token;

use axum::http::HeaderValue;
use pool::Timestamp;
use serde::Serialize;
use wire::Time;

/// Content type of JSON responses.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Serializes `value`; `size` is the expected number of bytes.
pub(crate) fn to_vec(value: &impl Serialize, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size);
    serde_json::to_writer(&mut bytes, value)
        .expect("responses have only string keys, and writing to a Vec never fails");
    bytes
}

pub(crate) fn time(at: Timestamp) -> Time {
    Time::from_micros(at.as_micros())
}

pub(crate) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
