use async_trait::async_trait;
use pool::{Fence, Lease, LeaseId, Pool, Timestamp, TokenId};

use crate::{Entry, Error, LeasePage, LeaseQuery, LeaseRecord, Position};

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
    async fn search(&self, search: &LeaseQuery) -> Result<LeasePage, Error>;

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
