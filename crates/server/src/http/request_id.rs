//! Ids of requests, in responses and log lines.

use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Maximum length of an id that a client sends.
pub(crate) const MAX_LENGTH: usize = 200;

tokio::task_local! {
    static CURRENT: HeaderValue;
}

/// Returns the id of the current request, for the log.
#[must_use]
pub fn current_request_id() -> Option<String> {
    current()?.to_str().ok().map(str::to_owned)
}

pub(crate) fn current() -> Option<HeaderValue> {
    CURRENT.try_with(HeaderValue::clone).ok()
}

/// Runs `future` as part of the request with this id. Returns its output and the id.
pub(crate) async fn within<T>(
    id: HeaderValue,
    future: impl Future<Output = T>,
) -> (T, HeaderValue) {
    let mut scope = pin!(CURRENT.scope(id, future));
    let output = scope.as_mut().await;
    (output, scope.take_value().expect("the future has ended, and the value is taken once"))
}

/// Generator of ids that are unique in this process, and very likely among processes.
pub(crate) struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        // The keys of a `RandomState` come from the operating system.
        RequestIds { process: RandomState::new().hash_one(()), next: AtomicU64::new(0) }
    }

    /// Returns the id that the client sent, or a new one.
    pub(crate) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        let sent = headers.get(REQUEST_ID).filter(|value| is_valid(value));
        sent.cloned().unwrap_or_else(|| self.make())
    }

    fn make(&self) -> HeaderValue {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let number = u128::from(self.process) << 64 | u128::from(count);
        let mut text = [0; 32];
        for (index, digit) in text.iter_mut().rev().enumerate() {
            *digit = DIGITS[(number >> (4 * index)) as usize & 0xf];
        }
        HeaderValue::from_bytes(&text).expect("hex digits are valid in headers")
    }
}

fn is_valid(value: &HeaderValue) -> bool {
    (1..=MAX_LENGTH).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sent: &[u8]) -> HeaderValue {
        let sent = HeaderValue::from_bytes(sent).unwrap();
        RequestIds::new().of(&HeaderMap::from_iter([(REQUEST_ID, sent)]))
    }

    #[test]
    fn a_valid_id_is_kept() {
        assert_eq!(of(b"a-1"), "a-1");
        assert_eq!(of(&[b'x'; MAX_LENGTH]).len(), MAX_LENGTH);
    }

    #[test]
    fn invalid_ids_are_replaced() {
        for sent in [&b""[..], b"two words", &[b'x'; MAX_LENGTH + 1], b"\xc3\xa9", b"a\tb"] {
            let made = of(sent);
            assert!(made.len() == 32 && is_valid(&made) && made != sent, "{made:?}");
        }
    }

    #[test]
    fn generated_ids_differ() {
        let ids = RequestIds::new();
        assert_ne!(ids.make(), ids.make());
        assert_ne!(ids.make(), RequestIds::new().make());
    }
}
