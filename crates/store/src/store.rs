use std::collections::HashMap;

use async_trait::async_trait;
use pool::{Fence, Remembered, Timestamp, UserId, UserKey};

use crate::{Entry, Error, News, Position, Uptime};

/// What [`Store::begin`] found.
#[derive(Debug)]
pub struct Begun {
    /// The time by the database's clock (SQLite: by the machine's), read after the lock was taken.
    pub now: Timestamp,
    /// When the reading of `now` was requested: the clock showed it later than that. Where the batch was
    /// begun ahead, that is before `begin` was called.
    pub asked: Uptime,
    /// When the reading arrived: the clock showed it before that.
    pub answered: Uptime,
    /// What others did since the copy.
    pub news: News,
    /// Entries may have been lost after the newest one: by a failover, a restore, or a crash with
    /// weak durability. The next one must begin a new epoch, with version and fence raised by
    /// [`epoch_gap`] at least.
    pub new_epoch: bool,
}

/// What [`Store::keys`] found.
#[derive(Debug, Default)]
pub struct KeysFound {
    /// What is remembered of those of the keys that were used.
    pub remembered: HashMap<UserKey, Remembered>,
    /// How many keys are remembered in all; more by what was deleted out of turn, never less.
    pub count: u64,
}

/// What [`Store::key_usage`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUsage {
    /// Number of remembered keys; more by what was deleted out of turn, never less.
    pub count: u64,
    /// When the oldest of them (at most a hundred) were used, and when their leases ended or will end.
    pub oldest: Vec<(Timestamp, Timestamp)>,
    /// The users of a sample of the keys, evenly spaced from the oldest to the newest.
    pub sample: Vec<UserId>,
}

/// What [`Store::forget_leases`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// How many leases were deleted.
    pub deleted: u64,
    /// Up to which fence it looked; None when no lease is left to look at that is old enough.
    pub up_to: Option<Fence>,
}

/// The side that writes: `begin`, then `commit` or `abandon`, again and again.
///
/// Every method reconnects or reopens by itself where it has to, tries once, and reports failure
/// without waiting; when to try again is the caller's business. A future must be run to its end.
#[async_trait]
pub trait Store: Send {
    /// Takes the pool's lock, so that no other server writes before `commit` or `abandon`, and
    /// brings what changed since `known`.
    ///
    /// # Errors
    ///
    /// [`Error::TryAgain`] when the database can't be reached or the lock was not to be had in
    /// time: nothing has been done. [`Error::Operator`] when trying again is of no use.
    async fn begin(&mut self, known: &Position) -> Result<Begun, Error>;

    /// Makes the entry durable, all of it or nothing, and gives the lock back.
    ///
    /// # Errors
    ///
    /// [`Error::TryAgain`] (a full disk, a lost connection before the commit was sent): certainly
    /// nothing was done. [`Error::Data`]: the database refused the data, nothing was done, and the
    /// same entry would be refused again. [`Error::Unknown`]: it may or may not have become durable;
    /// `begin` again and ask [`Store::has`].
    async fn commit(&mut self, entry: &Entry) -> Result<(), Error>;

    /// As [`Store::commit`]; and where that succeeds, `begin` is under way at once, in the same
    /// breath where the database allows it. For when more commands are expected: `begin` (which then
    /// has its answer sooner) or `abandon` has to follow without delay, since the lock is held.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`]; nothing is under way then.
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

    /// Gives the lock back, nothing done.
    async fn abandon(&mut self);

    /// Checks that what is written would still be found: with SQLite, that the database's files are
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
    /// that nothing is still under way.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    async fn has(&mut self, entry: &Position) -> Result<Option<bool>, Error>;

    /// What is remembered of these idempotency keys. Called between `begin` and `commit` or
    /// `abandon`, so that nobody else uses one of them meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    async fn keys(&mut self, keys: &[UserKey]) -> Result<KeysFound, Error>;

    /// Deletes some idempotency keys (at most a few hundred, the oldest first) that were used
    /// before that moment. Returns how many. Not called within a batch.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    async fn forget_keys(&mut self, before: Timestamp) -> Result<u64, Error>;

    /// As [`Store::forget_keys`], but of the oldest keys that were used before that moment only those
    /// whose leases ended before it, too. The others among them become the newest: so those that
    /// follow them get their turn, and the numbers keep telling how many there are.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    async fn forget_keys_early(&mut self, before: Timestamp) -> Result<u64, Error>;

    /// Counts the remembered keys, and takes a sample of at most so many of them: of all, where there
    /// are no more. Within a batch, or not.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    async fn key_usage(&mut self, sample: u64) -> Result<KeyUsage, Error>;

    /// Looks at some leases (at most a few hundred, the oldest first) with a fence above `after`,
    /// and deletes those of them that ended before that moment; but never a token's latest, and
    /// none that a remembered idempotency key leads to. Not called within a batch.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    async fn forget_leases(&mut self, before: Timestamp, after: Fence) -> Result<Swept, Error>;

    /// Deletes some journal entries (at most a few hundred) that are older than `before` or more
    /// than `keep` versions behind the newest; never the newest. Returns how many. Not called
    /// within a batch.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    async fn prune(&mut self, before: Timestamp, keep: i64) -> Result<u64, Error>;
}
