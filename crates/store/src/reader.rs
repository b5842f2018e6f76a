use async_trait::async_trait;
use pool::{
    ApiKeyId, Fence, Lease, LeaseId, Ledger, PoolId, PoolName, Timestamp, TokenId, TokenName,
};

use crate::{AuditEntry, AuditQuery, Entry, Error, LeasePage, LeaseQuery, LeaseRecord, Position};

/// State of a ledger that decisions depend on: everything but its history.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its position in the journal.
    pub position: Position,
    /// The ledger's time of that journal entry.
    pub at: Timestamp,
    /// The ledger.
    pub ledger: Ledger,
}

/// Difference between the journal and a copy.
#[derive(Debug)]
pub enum News {
    /// The copy lacks just these entries, oldest first; without entries it is current.
    Entries(Vec<Entry>),
    /// The copy is of another history, or lacks entries that were pruned: use this snapshot
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

/// Reading side of a ledger.
#[async_trait]
pub trait Reader: Send + Sync {
    /// Whether other servers may write too, so that a copy must fetch news before it answers.
    fn shared(&self) -> bool;

    /// The time by the database's clock, and the changes since `known`. Of the batches that these
    /// news lack, at most one was decided before that time: the one that was in flight. With SQLite
    /// the news are always empty: only this server writes.
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

    /// The time, if known without a query: SQLite, whose time is the machine's.
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
    /// [`Store::commit`](crate::Store::commit) returns.
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

    /// The lease with that id, of any user and any age; `None` if no lease has it.
    ///
    /// # Errors
    ///
    /// As [`Reader::history`].
    async fn lease(&self, id: LeaseId) -> Result<Option<LeaseRecord>, Error>;

    /// The existing leases among these ids, in any order. Called with at most a few thousand.
    ///
    /// # Errors
    ///
    /// As [`Reader::history`].
    async fn leases(&self, ids: &[LeaseId]) -> Result<Vec<Lease>, Error>;

    /// The pool with this name that was created last, whether or not it was deleted.
    ///
    /// # Errors
    ///
    /// As [`Reader::history`].
    async fn pool_named(&self, name: &str) -> Result<Option<PoolId>, Error>;

    /// The pool's token with this name or, if all such tokens are retired, the last of them.
    ///
    /// # Errors
    ///
    /// As [`Reader::history`].
    async fn token_named(&self, pool: PoolId, name: &str) -> Result<Option<TokenId>, Error>;

    /// The names of these pools, deleted ones too, in any order. Called with at most a few thousand.
    ///
    /// # Errors
    ///
    /// As [`Reader::history`].
    async fn pool_names(&self, ids: &[PoolId]) -> Result<Vec<(PoolId, PoolName)>, Error>;

    /// The pools and names of these tokens, retired ones too, in any order. Called with at most a few
    /// thousand.
    ///
    /// # Errors
    ///
    /// As [`Reader::history`].
    async fn token_names(
        &self,
        ids: &[TokenId],
    ) -> Result<Vec<(TokenId, PoolId, TokenName)>, Error>;

    /// A page of at most `limit` of the leases that match at `now`.
    ///
    /// # Errors
    ///
    /// As [`Reader::history`].
    async fn search(
        &self,
        query: &LeaseQuery,
        now: Timestamp,
        limit: usize,
    ) -> Result<LeasePage, Error>;

    /// At most `limit` of the matching entries of the audit log, in the order of the query.
    ///
    /// # Errors
    ///
    /// As [`Reader::history`].
    async fn audit(&self, query: &AuditQuery, limit: usize) -> Result<Vec<AuditEntry>, Error>;

    /// When these API keys were last used as far as [`Housekeeper::note_key_uses`] has written, in any
    /// order and without those that never were. Called with at most a few thousand.
    ///
    /// # Errors
    ///
    /// As [`Reader::history`].
    ///
    /// [`Housekeeper::note_key_uses`]: crate::Housekeeper::note_key_uses
    async fn key_uses(&self, keys: &[ApiKeyId]) -> Result<Vec<(ApiKeyId, Timestamp)>, Error>;

    /// At most `limit` (1 or more) journal entries, oldest first, beginning with exactly that version
    /// of that epoch. `None` if the journal no longer has that entry, or has one that
    /// this program can't read.
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
