use async_trait::async_trait;
use pool::{ApiKeyId, Fence, Timestamp};

use crate::Error;

/// Result of [`Housekeeper::forget_leases`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Number of deleted leases.
    pub deleted: u64,
    /// Newest fence that it examined; `None` if no lease is left that is old enough.
    pub up_to: Option<Fence>,
}

/// Deletes old rows in small steps, while batches are written. No step is durable by itself: after a
/// crash it may have to be repeated. Every method reconnects or reopens by itself if needed, and tries
/// once. Futures may be dropped: PostgreSQL gets a new connection, SQLite ends the step on its thread.
#[async_trait]
pub trait Housekeeper: Send {
    /// Deletes some journal entries, the oldest first, that are older than `before` or not among the
    /// `keep` entries before the newest; never the newest. Returns how many.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`](crate::Store::begin).
    async fn prune(&mut self, before: Timestamp, keep: i64) -> Result<u64, Error>;

    /// Deletes some idempotency keys, the oldest first, that were used before that moment. Returns
    /// how many.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`](crate::Store::begin).
    async fn forget_keys(&mut self, before: Timestamp) -> Result<u64, Error>;

    /// As [`Housekeeper::forget_keys`], but deletes only keys whose leases ended before that moment,
    /// too. The others among the oldest keys become the newest: so the keys after them get their
    /// turn, and the numbers still give the count.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`](crate::Store::begin).
    async fn forget_keys_early(&mut self, before: Timestamp) -> Result<u64, Error>;

    /// Number of remembered keys. Never too low; too high by the keys deleted out of order.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`](crate::Store::begin).
    async fn key_count(&mut self) -> Result<u64, Error>;

    /// Examines some leases, the oldest first, with a fence above `after`, and deletes those that
    /// ended before that moment; but never a token's latest, and none that a remembered idempotency
    /// key refers to.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`](crate::Store::begin).
    async fn forget_leases(&mut self, before: Timestamp, after: Fence) -> Result<Swept, Error>;

    /// Deletes some entries of the audit log, the oldest first, except the `keep` newest. Returns how many.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`](crate::Store::begin).
    async fn forget_acts(&mut self, keep: i64) -> Result<u64, Error>;

    /// Deletes some sessions and codes that ended at `now` or earlier. Returns how many.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`](crate::Store::begin).
    async fn forget_sessions(&mut self, now: Timestamp) -> Result<u64, Error>;

    /// Writes when API keys were last used, unless a later use is known. Called with about a hundred at most.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`](crate::Store::begin).
    async fn note_key_uses(&mut self, uses: &[(ApiKeyId, Timestamp)]) -> Result<(), Error>;

    /// Adds some leases to the index of pools, where that is not done with the batches. Returns whether
    /// more may be waiting.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`](crate::Store::begin).
    async fn index_leases(&mut self) -> Result<bool, Error> {
        Ok(false)
    }
}
