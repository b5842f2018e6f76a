//! What is remembered: a pool's tokens, its leases (the state) and the journal of its batches (the
//! order in which they were decided).
//!
//! There is one trait for the side that writes, [`Store`], and one for the side that reads,
//! [`Reader`], each with two implementations: SQLite and PostgreSQL. Both pass the same conformance
//! suite. A store never decides which token anyone gets, and knows nothing of HTTP. SQL and the
//! system's clock may not be used outside this crate.

mod clock;
mod creation;
mod durability;
mod error;
mod finding;
mod hints;
mod journal;
mod keys;
mod net;
mod postgres;
mod restored;
mod search;
mod sqlite;
mod url;
mod wanted;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pool::{Fence, Lease, LeaseId, Pool, Remembered, Timestamp, TokenId, UserId, UserKey};

pub use clock::{Clock, ManualClock, SystemClock, Uptime, clock_refusal};
pub use creation::{ImportedPool, LeaseSource, NewPool};
pub use durability::Durability;
pub use error::Error;
pub use finding::{Finding, Level};
pub use hints::Hints;
pub use journal::{BatchId, Entry, Position};
pub use net::Net;
pub use pool::ServerId;
pub use restored::{NewEpoch, epoch_gap};
pub use search::{Cursor, Found, LeaseRecord, Search};
pub use url::{DatabaseUrl, InvalidUrl};
pub use wanted::Wanted;

/// The most tokens that a pool may have.
pub const MAX_POOL_SIZE: usize = 1_000_000;

/// The least by which fence and version are raised when a new epoch begins, so that nothing granted
/// in the time that was lost is granted again; see [`epoch_gap`].
pub const EPOCH_GAP: i64 = 1_000_000;

/// How far the clock may be behind the journal's newest entry before it is taken to be wrong.
pub const MOST_CLOCK_BEHIND: Duration = Duration::from_hours(1);

/// A database that holds, or will hold, a pool.
#[async_trait]
pub trait Database: Send + Sync {
    /// Brings the schema up to date, under a lock, so that several servers may start at once.
    /// Returns the names of the migrations that were applied now.
    ///
    /// # Errors
    ///
    /// [`Error::TryAgain`] when the database can't be reached; [`Error::Operator`] when it is newer
    /// than this program, not in UTF-8, behind a proxy that pools transactions, in use by another
    /// server (SQLite), or otherwise can't be used until somebody does something.
    async fn migrate(&self) -> Result<Vec<String>, Error>;

    /// Migrates, makes the pool if there is none, and otherwise compares it with what is wanted;
    /// then opens both sides of it.
    ///
    /// # Errors
    ///
    /// As [`Database::migrate`], and [`Error::Operator`] when the pool is not the one wanted.
    async fn open(&self, wanted: Wanted) -> Result<Opened, Error>;

    /// Makes the pool out of one taken over from elsewhere: all of it or nothing. `Operator` when
    /// there is a pool already.
    ///
    /// # Errors
    ///
    /// As [`Database::migrate`].
    async fn import(&self, pool: ImportedPool<'_>) -> Result<(), Error>;

    /// Looks for what must never be there (overlapping leases, an open lease that has a
    /// successor, fences that don't rise along a chain, journal rows that are missing) and describes
    /// each kind of fault found in a sentence. Empty when all is well.
    ///
    /// # Errors
    ///
    /// As [`Database::migrate`]; nothing is changed.
    async fn audit(&self) -> Result<Vec<String>, Error>;

    /// Facts about the database for a person: pairs of a name and a value, such as the server's
    /// version, the schema's version, size on disk, difference of the clocks. Never a secret.
    ///
    /// # Errors
    ///
    /// As [`Database::migrate`]; nothing is changed.
    async fn describe(&self) -> Result<Vec<(String, String)>, Error>;

    /// Checks everything for which a server that wants this pool refuses to start, waits, or can't
    /// keep its promises, as far as [`Database::describe`] and [`Database::audit`] don't.
    /// `allow_clock_behind`: the operator said that the clock is right.
    ///
    /// # Errors
    ///
    /// As [`Database::migrate`]; nothing is changed.
    async fn check(
        &self,
        _wanted: &Wanted,
        _allow_clock_behind: bool,
    ) -> Result<Vec<Finding>, Error> {
        Ok(Vec::new())
    }

    /// Begins a new epoch because the database was restored from a backup, so that no fence and no
    /// version is given again that was given after the backup was made. Each call begins another.
    ///
    /// # Errors
    ///
    /// As [`Database::migrate`], and [`Error::Operator`] when there is no pool, its schema is not
    /// this program's, or servers use it: they may have given such fences already. Also when the
    /// clock is behind by more than [`MOST_CLOCK_BEHIND`], unless it may be: the raise goes by it.
    /// After [`Error::Unknown`] it may have begun; calling again does no harm.
    async fn begin_epoch(&self, clock_may_be_behind: bool) -> Result<NewEpoch, Error>;

    /// Copies the database as it is at one moment into a new file, also while a server uses it.
    /// A file that is there is replaced only where that is said.
    ///
    /// # Errors
    ///
    /// [`Error::Operator`] when the copy can't be written, or the database has means of its own
    /// for this (PostgreSQL). There is no file by that name then, or the one that was there.
    async fn backup(&self, to: &Path, replace: bool) -> Result<Backup, Error>;
}

/// A copy that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The newest journal entry in it.
    pub position: Position,
    /// The pool's time of that entry.
    pub at: Timestamp,
    /// The last fence that had been given.
    pub fence: Fence,
    /// How large the file is.
    pub bytes: u64,
}

/// Opens nothing yet: chooses the implementation that the URL asks for.
#[must_use]
pub fn database(url: &DatabaseUrl, clock: Arc<dyn Clock>) -> Box<dyn Database> {
    match url {
        DatabaseUrl::Sqlite(path) => Box::new(sqlite::Sqlite::new(path.clone(), clock)),
        DatabaseUrl::Postgres(config) => Box::new(postgres::Postgres::new(config.clone())),
    }
}

/// Both sides of an open pool.
pub struct Opened {
    /// The side that writes. There is one for each server.
    pub store: Box<dyn Store>,
    /// The side that reads.
    pub reader: Arc<dyn Reader>,
    /// The pool as it stood when it was opened.
    pub snapshot: Snapshot,
    /// The time by the database's clock (SQLite: by the machine's) when it was opened.
    pub now: Timestamp,
    /// Word from and to other servers that share the pool.
    pub hints: Hints,
    /// What the database's settings promise, as long as the pool is open.
    pub durability: Durability,
}

/// All of a pool that decides anything: everything but its history.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Where in the journal this is.
    pub position: Position,
    /// The pool's time of that journal entry.
    pub at: Timestamp,
    /// The pool.
    pub pool: Pool,
}

/// What the journal has that a copy has not.
#[derive(Debug)]
pub enum News {
    /// The copy lacks just these entries, oldest first; it is current when there are none.
    Entries(Vec<Entry>),
    /// The copy is of another history, or lacks entries that are no longer there: take this
    /// instead.
    Whole(Box<Snapshot>),
}

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

/// The size of a write-ahead log that the server itself has to empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSize {
    /// Its size in bytes.
    pub bytes: u64,
    /// The size above which it is emptied.
    pub limit: u64,
    /// How many attempts to empty it have failed since the start.
    pub failures: u64,
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

/// The side that reads.
#[async_trait]
pub trait Reader: Send + Sync {
    /// Whether other servers may write too, so that a copy has to ask for news before it answers.
    fn shared(&self) -> bool;

    /// The time by the database's clock, and what changed since `known`. Of the batches that these news
    /// lack, at most one was decided before that time: the one that was in flight. With SQLite there
    /// never are news: no one else writes.
    ///
    /// # Errors
    ///
    /// [`Error::TryAgain`] when the database can't be reached.
    async fn news(&self, known: &Position) -> Result<(Timestamp, News), Error>;

    /// As [`Reader::news`], but first waits for the batches in flight, of all servers, and returns another
    /// time: each batch that `known` lacks with these news is decided at that time or later.
    ///
    /// # Errors
    ///
    /// [`Error::TryAgain`] also when a batch is still in flight after about a second.
    async fn settled_news(&self, known: &Position) -> Result<(Timestamp, News), Error> {
        self.news(known).await
    }

    /// The time, where it can be told without asking anyone: SQLite, whose time is the machine's.
    fn now(&self) -> Option<Timestamp>;

    /// Reads a little, to check that reading works.
    ///
    /// # Errors
    ///
    /// As [`Reader::history`].
    async fn probe(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The size of the write-ahead log, where the server itself has to empty one.
    fn log_size(&self) -> Option<LogSize> {
        None
    }

    /// The version of the newest journal entry that any answer of this reader may be based on, where
    /// copies don't ask for news before each read: SQLite. The database shows a batch to readers before
    /// [`Store::commit`] returns.
    fn version_read(&self) -> Option<i64> {
        None
    }

    /// The token's leases with a fence smaller than `before` (all of them for `None`), newest
    /// first, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::TryAgain`] when the database can't be reached.
    async fn history(
        &self,
        token: TokenId,
        before: Option<Fence>,
        limit: usize,
    ) -> Result<Vec<LeaseRecord>, Error>;

    /// The lease with that id, whoever's and however old; None when there is none.
    ///
    /// # Errors
    ///
    /// As [`Reader::history`].
    async fn lease(&self, id: LeaseId) -> Result<Option<LeaseRecord>, Error>;

    /// Those of the leases that there are, in any order. At most a few thousand are asked for.
    ///
    /// # Errors
    ///
    /// As [`Reader::history`].
    async fn leases(&self, ids: &[LeaseId]) -> Result<Vec<Lease>, Error>;

    /// A page of the leases that are asked for.
    ///
    /// # Errors
    ///
    /// As [`Reader::history`].
    async fn search(&self, search: &Search) -> Result<Found, Error>;

    /// The journal from that version of that epoch on, which is the first of the entries, oldest
    /// first, at most `limit` (1 at least). None where the journal has no such entry (any more), or
    /// one that this program can't read.
    ///
    /// # Errors
    ///
    /// As [`Reader::history`].
    async fn journal(
        &self,
        epoch: i64,
        version: i64,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, Error>;
}
