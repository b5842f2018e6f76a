use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Allocation, Lease, LeaseId, Refusal, UserId};

/// A text by which a caller makes a repeated allocation recognisable: the one of the same user that
/// bears the same key is the same allocation, and gets the same lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdempotencyKey(Arc<str>);

/// A key and the user who uses it: what others do with the same text has nothing to do with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserKey {
    /// The user.
    pub user: UserId,
    /// The key.
    pub key: IdempotencyKey,
}

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

    /// How long a key is remembered after its lease was granted, as long as keys are not short.
    pub const RETENTION: Duration = Duration::from_hours(24);

    /// How long a key is remembered in any case: after its lease was granted, and after that ended.
    /// Clients that get no answer repeat a request for seconds, some for minutes.
    pub const MIN_RETENTION: Duration = Duration::from_mins(10);

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

    /// This key as that user uses it.
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

/// That an allocation with a key was granted; made durable together with its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The key, and who uses it.
    pub key: UserKey,
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
        self.asked_lease == allocation.lease && self.asked_wait == allocation.wait
    }
}

/// Remembered idempotency keys.
#[derive(Debug)]
pub struct IdempotencyKeys {
    /// Those of them that were used.
    pub found: HashMap<UserKey, Remembered>,
    /// How many more may be remembered.
    pub room: u64,
    /// How many may be remembered of one user.
    pub most_of_user: u64,
    /// How many more may be remembered of these users; of all others, that many.
    pub room_of_users: HashMap<UserId, u64>,
    /// When the next are forgotten.
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
    /// Adds what is remembered of further keys, after `used` keys were used in the batch.
    pub(crate) fn learn(&mut self, keys: IdempotencyKeys, used: usize) {
        // What the batch granted itself is newer.
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

    /// Takes note of a key that is used for the first time.
    pub(crate) fn remember(&mut self, key: UserKey, remembered: Remembered) {
        self.room = self.room.saturating_sub(1);
        if self.most_of_user < u64::MAX {
            let room = self.room_of_users.entry(key.user).or_insert(self.most_of_user);
            *room = room.saturating_sub(1);
        }
        self.found.insert(key, remembered);
    }

    /// Why this user can't use a new key.
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
