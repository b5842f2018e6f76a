use std::collections::HashMap;

use async_trait::async_trait;
use pool::{Remembered, Timestamp, UserId, UserKey};

use crate::{Entry, Error, News, Position, Uptime};

/// Result of [`Store::begin`].
#[derive(Debug)]
pub struct Begun {
    /// The time by the database's clock (SQLite: by the machine's), read after the lock was taken.
    pub now: Timestamp,
    /// When the reading of `now` was requested: the clock showed it later than that. If the batch
    /// was begun ahead, this is before the call of `begin`.
    pub asked: Uptime,
    /// When the reading arrived: the clock showed it before that.
    pub answered: Uptime,
    /// Changes by other servers since the copy.
    pub news: News,
    /// Entries may have been lost after the newest one: by a failover, a restore, or a crash with
    /// weak durability. The next one must begin a new epoch, with version and fence raised by
    /// [`epoch_gap`](crate::epoch_gap) at least.
    pub new_epoch: bool,
}

/// Result of [`Store::keys`].
#[derive(Debug, Default)]
pub struct KeysFound {
    /// Records of the requested keys that were used before.
    pub remembered: HashMap<UserKey, Remembered>,
    /// Total number of remembered keys. Never too low; too high by the keys deleted out of order.
    pub count: u64,
}

/// Result of [`Store::key_usage`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUsage {
    /// Number of remembered keys. Never too low; too high by the keys deleted out of order.
    pub count: u64,
    /// When the oldest of them (at most a hundred) were used, and when their leases ended or will end.
    pub oldest: Vec<(Timestamp, Timestamp)>,
    /// The users of a sample of the keys, evenly spaced from the oldest to the newest.
    pub sample: Vec<UserId>,
}

/// Writing side of a ledger: `begin`, then `commit` or `abandon`, repeatedly.
/// Every method reconnects or reopens by itself if needed, tries once, and reports failure without
/// waiting; the caller decides when to retry. A future must be run to its end.
#[async_trait]
pub trait Store: Send {
    /// Takes the ledger's lock, so that no other server writes before `commit` or `abandon`, and
    /// returns the changes since `known`.
    ///
    /// # Errors
    /// [`Error::TryAgain`] when the database can't be reached or the lock was not available in
    /// time: nothing has been done. [`Error::Operator`] when retrying can't succeed.
    async fn begin(&mut self, known: &Position) -> Result<Begun, Error>;

    /// Makes the entry durable, all of it or nothing, and releases the lock.
    ///
    /// # Errors
    ///
    /// [`Error::TryAgain`] (a full disk, a lost connection before the commit was sent): certainly
    /// nothing was done. [`Error::Data`]: the database refused the data, nothing was done, and the
    /// same entry would be refused again. [`Error::Unknown`]: it may or may not have become durable;
    /// `begin` again and ask [`Store::has`].
    async fn commit(&mut self, entry: &Entry) -> Result<(), Error>;

    /// As [`Store::commit`]; on success the next `begin` starts at once, in the same round trip if
    /// the database allows it. For use while more commands are expected: `begin` (whose answer then
    /// comes sooner) or `abandon` must follow without delay, since the lock is held.
    ///
    /// # Errors
    /// As [`Store::commit`]; no `begin` has started then.
    async fn commit_and_begin(&mut self, entry: &Entry) -> Result<(), Error> {
        self.commit(entry).await
    }

    /// Reads the database's clock (SQLite: the machine's). Called between `begin` and `commit` or
    /// `abandon`.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    async fn read_clock(&mut self) -> Result<Timestamp, Error>;

    /// Releases the lock without any change.
    async fn abandon(&mut self);

    /// Checks that later readers would find new writes: with SQLite, that the database's files are
    /// in their place. Called now and then while no batch is written, not within one.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    async fn check(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Whether the journal holds the batch that was sent as `entry`; None when it does not, but no
    /// longer reaches back that far either. Called between `begin` and `commit` or `abandon`, so
    /// that no commit is still in flight.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    async fn has(&mut self, entry: &Position) -> Result<Option<bool>, Error>;

    /// Looks up these idempotency keys. Called between `begin` and `commit` or `abandon`, so that
    /// no other server uses one of them meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    async fn keys(&mut self, keys: &[UserKey]) -> Result<KeysFound, Error>;

    /// Counts the remembered keys, and returns the users of at most `sample` of them. Within a
    /// batch, or not.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    async fn key_usage(&mut self, sample: u64) -> Result<KeyUsage, Error>;
}
