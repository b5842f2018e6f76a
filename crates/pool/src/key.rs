use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Allocation, Lease, LeaseId, Refusal, TokenValue, UserId};

/// Idempotency key of an allocation. Requests of the same user with the same key are the same
/// allocation, and get the same lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdempotencyKey(Arc<str>);

/// A key and its user. Keys of different users are independent, even if their texts are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserKey {
    /// The user.
    pub user: UserId,
    /// The key.
    pub key: IdempotencyKey,
}

/// Reason why a text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The text is empty.
    #[error("must not be empty")]
    Empty,
    /// The text has more than [`IdempotencyKey::MAX_CHARS`] characters.
    #[error("must have at most {} characters", IdempotencyKey::MAX_CHARS)]
    TooLong,
    /// The text has characters other than visible ASCII ones and spaces.
    #[error("must be of printable ASCII characters")]
    NotPrintable,
}

impl IdempotencyKey {
    /// Maximum length of a key, in characters.
    pub const MAX_CHARS: usize = 255;

    /// Time for which a key is remembered after its lease was granted, unless the limit of keys is
    /// near.
    pub const RETENTION: Duration = Duration::from_hours(24);

    /// Minimum time for which a key is remembered after its lease was granted, and after the lease
    /// ended. Clients that get no response repeat a request for seconds, some for minutes.
    pub const MIN_RETENTION: Duration = Duration::from_mins(10);

    /// Checks a text and makes it a key.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] if the text is empty, too long, or not of printable ASCII characters.
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

    /// The key together with its user.
    #[must_use]
    pub fn of(&self, user: UserId) -> UserKey {
        UserKey { user, key: self.clone() }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// First use of a key: an allocation with the key was granted. Durable together with its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The key and its user.
    pub key: UserKey,
    /// The lease that was granted.
    pub lease_id: LeaseId,
    /// Requested length of the lease, if any.
    pub asked_lease: Option<Duration>,
    /// Requested wait, if any.
    pub asked_wait: Option<Duration>,
    /// Whether the request named the token.
    pub asked_token: bool,
}

/// Record of a granted allocation with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The granted lease, as stored.
    pub lease: Lease,
    /// The value of its token, as stored, in case the token has left the pool.
    pub value: TokenValue,
    /// The lease that was evicted for it.
    pub evicted: Option<Lease>,
    /// Requested length of the lease, if any.
    pub asked_lease: Option<Duration>,
    /// Requested wait, if any.
    pub asked_wait: Option<Duration>,
    /// Whether the request named the token.
    pub asked_token: bool,
}

impl Remembered {
    /// Whether `allocation` has the same parameters as the remembered one.
    pub(crate) fn is_of(&self, allocation: &Allocation) -> bool {
        let Lease { pool, token_id, note, .. } = &self.lease;
        let limits = self.asked_lease == allocation.lease && self.asked_wait == allocation.wait;
        let of_same = *pool == allocation.pool
            && self.asked_token == allocation.token.is_some()
            && allocation.token.is_none_or(|token| token == *token_id);
        limits && of_same && *note == allocation.note
    }
}

/// Remembered idempotency keys.
#[derive(Debug)]
pub struct IdempotencyKeys {
    /// Keys that were used.
    pub found: HashMap<UserKey, Remembered>,
    /// Number of further keys that may be remembered.
    pub room: u64,
    /// Maximum number of keys of one user.
    pub most_of_user: u64,
    /// Number of further keys that may be remembered of each user; `most_of_user` for others.
    pub room_of_users: HashMap<UserId, u64>,
    /// Time until the next keys are forgotten.
    pub next_forgotten_in: Duration,
}

impl Default for IdempotencyKeys {
    fn default() -> Self {
        IdempotencyKeys {
            found: HashMap::new(),
            room: u64::MAX,
            room_of_users: HashMap::new(),
            most_of_user: u64::MAX,
            next_forgotten_in: Duration::ZERO,
        }
    }
}

impl IdempotencyKeys {
    /// Adds further remembered keys, after `used` keys were used in the batch.
    pub(crate) fn learn(&mut self, keys: IdempotencyKeys, used: usize) {
        // Records of this batch's own grants are newer.
        for (key, remembered) in keys.found {
            self.found.entry(key).or_insert(remembered);
        }
        let used = u64::try_from(used).unwrap_or(u64::MAX);
        self.room = self.room.min(keys.room.saturating_sub(used));
        for (user, room) in keys.room_of_users {
            self.room_of_users.entry(user).or_insert(room);
        }
        self.most_of_user = self.most_of_user.min(keys.most_of_user);
        self.next_forgotten_in = self.next_forgotten_in.max(keys.next_forgotten_in);
    }

    /// Records the first use of a key.
    pub(crate) fn remember(&mut self, key: UserKey, remembered: Remembered) {
        self.room = self.room.saturating_sub(1);
        if self.most_of_user < u64::MAX {
            let room = self.room_of_users.entry(key.user).or_insert(self.most_of_user);
            *room = room.saturating_sub(1);
        }
        self.found.insert(key, remembered);
    }

    /// Reason why this user can't use a new key, if any.
    pub(crate) fn refusal(&self, user: UserId) -> Option<Refusal> {
        let (limit, retry_after) = (self.most_of_user, self.next_forgotten_in);
        if self.room == 0 {
            return Some(Refusal::KeysFull { retry_after });
        }
        let left = *self.room_of_users.get(&user).unwrap_or(&limit);
        (left == 0).then_some(Refusal::UserKeysFull { limit, retry_after })
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
