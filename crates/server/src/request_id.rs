//! A name for each request, which its answer and its line in the log bear.

use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest name that is taken from a client.
const MAX_LENGTH: usize = 200;

tokio::task_local! {
    static CURRENT: HeaderValue;
}

/// The name of the request that is being answered where this is called: for the log.
#[must_use]
pub fn current_request_id() -> Option<String> {
    current()?.to_str().ok().map(str::to_owned)
}

pub(crate) fn current() -> Option<HeaderValue> {
    CURRENT.try_with(HeaderValue::clone).ok()
}

/// What comes of answering the request of that name, and the name.
pub(crate) async fn within<T>(
    name: HeaderValue,
    answer: impl Future<Output = T>,
) -> (T, HeaderValue) {
    let mut scope = pin!(CURRENT.scope(name, answer));
    let answer = scope.as_mut().await;
    (answer, scope.take_value().expect("it is taken once, when nobody is within any more"))
}

/// Makes names that differ within this process, and most likely from those of others.
pub(crate) struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        // The keys of a `RandomState` come from the operating system.
        RequestIds { process: RandomState::new().hash_one(()), next: AtomicU64::new(0) }
    }

    /// The name that the client gave the request, or a new one.
    pub(crate) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        let sent = headers.get(REQUEST_ID).filter(|value| is_sane(value));
        sent.cloned().unwrap_or_else(|| self.make())
    }

    fn make(&self) -> HeaderValue {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let number = u128::from(self.process) << 64 | u128::from(count);
        let mut text = [0; 32];
        for (place, digit) in text.iter_mut().rev().enumerate() {
            *digit = DIGITS[(number >> (4 * place)) as usize & 0xf];
        }
        HeaderValue::from_bytes(&text).expect("hex digits may stand in a header")
    }
}

fn is_sane(value: &HeaderValue) -> bool {
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
    fn a_sane_one_is_kept() {
        assert_eq!(of(b"a-1"), "a-1");
        assert_eq!(of(&[b'x'; MAX_LENGTH]).len(), MAX_LENGTH);
    }

    #[test]
    fn others_are_replaced() {
        for sent in [&b""[..], b"two words", &[b'x'; MAX_LENGTH + 1], b"\xc3\xa9", b"a\tb"] {
            let made = of(sent);
            assert!(made.len() == 32 && is_sane(&made) && made != sent, "{made:?}");
        }
    }

    #[test]
    fn no_two_are_alike() {
        let ids = RequestIds::new();
        assert_ne!(ids.make(), ids.make());
        assert_ne!(ids.make(), RequestIds::new().make());
    }
}
