use std::sync::Arc;
use std::time::Duration;

use crate::{Allocation, Lease, LeaseId};

/// A text by which a caller makes a repeated allocation recognisable: the one that bears the same
/// key is the same allocation, and gets the same lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// It is empty.
    #[error("must not be empty")]
    Empty,
    /// It has more than [`IdempotencyKey::MAX_CHARS`] characters.
    #[error("must have at most {} characters", IdempotencyKey::MAX_CHARS)]
    TooLong,
    /// It has other characters than visible ASCII ones and spaces.
    #[error("must be of printable ASCII characters")]
    NotPrintable,
}

impl IdempotencyKey {
    /// The longest key, in characters.
    pub const MAX_CHARS: usize = 255;

    /// For how long a key is remembered after its lease was granted, at least.
    pub const KEPT: Duration = Duration::from_hours(24);

    /// The key that is this text.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] when it is empty, too long, or not of printable ASCII characters.
    pub fn new(text: &str) -> Result<Self, InvalidKey> {
        if text.is_empty() {
            return Err(InvalidKey::Empty);
        }
        if text.len() > Self::MAX_CHARS {
            return Err(InvalidKey::TooLong);
        }
        if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(InvalidKey::NotPrintable);
        }
        Ok(IdempotencyKey(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// That an allocation with a key was granted; made durable together with its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The key.
    pub key: IdempotencyKey,
    /// The lease that was granted.
    pub lease_id: LeaseId,
    /// The length that was asked for, if any.
    pub asked_lease: Option<Duration>,
    /// The wait that was asked for, if any.
    pub asked_wait: Option<Duration>,
}

/// What is remembered of an allocation with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The lease that was granted, as it is stored.
    pub lease: Lease,
    /// The lease that was evicted for it.
    pub evicted: Option<Lease>,
    /// The length that was asked for, if any.
    pub asked_lease: Option<Duration>,
    /// The wait that was asked for, if any.
    pub asked_wait: Option<Duration>,
}

impl Remembered {
    /// Whether `allocation` asks for the same as the one that is remembered.
    pub(crate) fn is_of(&self, allocation: &Allocation) -> bool {
        self.lease.user.name == allocation.user.name
            && self.asked_lease == allocation.lease
            && self.asked_wait == allocation.wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_short_printable_texts() {
        let longest = "k".repeat(IdempotencyKey::MAX_CHARS);
        assert_eq!(IdempotencyKey::new(&longest).map(|key| key.as_str().len()), Ok(255));
        assert_eq!(IdempotencyKey::new(&format!("{longest}k")), Err(InvalidKey::TooLong));
        assert_eq!(IdempotencyKey::new(""), Err(InvalidKey::Empty));
        for text in ["a\0", "a\tb", "é", "\u{7f}"] {
            assert_eq!(IdempotencyKey::new(text), Err(InvalidKey::NotPrintable), "{text:?}");
        }
    }
}
