//! Ids of leases, tokens, batches and servers; the only module that makes them.

use std::time::Duration;

use pool::{LeaseId, PlainKey, TokenId, TokenName, TokenValue, TokenWanted};
use store::{BatchId, ServerId};
use uuid::Uuid;

/// Returns an id for a new lease. Later ids sort later, which keeps the store's index compact.
#[expect(clippy::disallowed_methods, reason = "ids are made here")]
pub(crate) fn lease() -> LeaseId {
    LeaseId(Uuid::now_v7())
}

/// Returns an entry of a plan for a token with this name, if any, with nothing else wanted. If that
/// is a new token, it gets an id that sorts after those of earlier calls, and a random value.
#[expect(clippy::disallowed_methods, reason = "ids are made here")]
#[must_use]
pub fn wanted_token(name: Option<TokenName>) -> TokenWanted {
    let value = TokenValue::of_uuid(Uuid::new_v4());
    TokenWanted::new(name, TokenId(Uuid::now_v7()), value)
}

/// Returns an id for a token of a plan, if that is a new one. It sorts after those of earlier calls.
#[expect(clippy::disallowed_methods, reason = "ids are made here")]
#[must_use]
pub fn token_id() -> Uuid {
    Uuid::now_v7()
}

/// Returns a random value for a new token.
#[expect(clippy::disallowed_methods, reason = "ids are made here")]
#[must_use]
pub fn token_value() -> Uuid {
    Uuid::new_v4()
}

/// Returns a new API key, of random bytes of the operating system.
///
/// # Panics
///
/// If the operating system has no random bytes.
#[must_use]
pub fn plain_key() -> PlainKey {
    let mut bytes = [0; PlainKey::RANDOM_BYTES];
    let mut next = bytes.len();
    PlainKey::generate(|| {
        if next == bytes.len() {
            getrandom::fill(&mut bytes).expect("the operating system has random bytes");
            next = 0;
        }
        next += 1;
        bytes[next - 1]
    })
}

/// Returns a new secret of 256 random bits of the operating system, for the cookie of a session.
///
/// # Panics
///
/// If the operating system has no random bytes.
#[must_use]
pub fn secret() -> String {
    use std::fmt::Write as _;
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String never fails");
        text
    })
}

/// Returns an id for a new batch.
#[expect(clippy::disallowed_methods, reason = "ids are made here")]
pub(crate) fn batch() -> BatchId {
    BatchId(Uuid::now_v7())
}

/// Returns an id for this server, new at each start.
#[expect(clippy::disallowed_methods, reason = "ids are made here")]
pub(crate) fn server() -> ServerId {
    ServerId(Uuid::new_v4())
}

/// Returns a share of `most` that differs from server to server, so that they don't all act at
/// once.
pub(crate) fn jitter(server: ServerId, most: Duration) -> Duration {
    most.mul_f64(f64::from(server.0.as_fields().1) / f64::from(u16::MAX))
}
