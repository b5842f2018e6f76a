use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use pool::{Fence, Timestamp};

use crate::{
    Clock, DatabaseUrl, Durability, Error, Finding, Housekeeper, ImportedPool, NewEpoch, Notifier,
    Position, Reader, Snapshot, Store, Wanted, postgres, sqlite,
};

/// A database that holds, or will hold, a ledger.
#[async_trait]
pub trait Database: Send + Sync {
    /// Brings the schema up to date, under a lock, so that several servers may start at once.
    /// Returns the names of the migrations that were applied now.
    ///
    /// # Errors
    /// [`Error::TryAgain`] when the database can't be reached; [`Error::Operator`] when it is newer
    /// than this program, not in UTF-8, behind a proxy that pools transactions, in use by another
    /// server (SQLite), or otherwise unusable until an operator acts.
    async fn migrate(&self) -> Result<Vec<String>, Error>;

    /// Migrates, creates the pool `default` in an empty database, and otherwise compares it with the
    /// requested one; then opens both sides of the ledger.
    ///
    /// # Errors
    /// As [`Database::migrate`], and [`Error::Operator`] when the pool differs from the requested
    /// one.
    async fn open(&self, wanted: Wanted) -> Result<Opened, Error>;

    /// Creates the pool `default` from one of another system, all or nothing. `Operator` if the database
    /// has a ledger already.
    ///
    /// # Errors
    ///
    /// As [`Database::migrate`].
    async fn import(&self, pool: ImportedPool<'_>) -> Result<(), Error>;

    /// Looks for inconsistencies (overlapping leases, an open lease that has a successor, fences
    /// that don't rise along a chain, missing journal rows) and describes each kind of fault found
    /// in a sentence. Empty for a consistent database.
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

    /// Checks for every reason why a server of this ledger would refuse to start, wait, or break its
    /// promises, except those that [`Database::describe`] and [`Database::audit`] cover.
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

    /// Begins a new epoch after a restore from a backup, so that no fence and no version granted
    /// after the backup is granted twice. Each call begins another epoch.
    ///
    /// # Errors
    /// As [`Database::migrate`], and [`Error::Operator`] when the database has no ledger, its schema
    /// is not this program's, or servers use it: they may have granted such fences already. Also
    /// when the clock is behind by more than [`MOST_CLOCK_BEHIND`](crate::MOST_CLOCK_BEHIND), unless `clock_may_be_behind`:
    /// the raise depends on the clock. After [`Error::Unknown`] the epoch may have begun; calling
    /// again is safe.
    async fn begin_epoch(&self, clock_may_be_behind: bool) -> Result<NewEpoch, Error>;

    /// Copies the database, as of one moment, into a new file, also while a server uses it. An
    /// existing file is replaced only if `replace` is set.
    ///
    /// # Errors
    /// [`Error::Operator`] when the copy can't be written, or the database has means of its own for
    /// this (PostgreSQL). The path is then unchanged: no file, or the previous one.
    async fn backup(&self, to: &Path, replace: bool) -> Result<Backup, Error>;
}

/// Facts about a finished copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The newest journal entry in it.
    pub position: Position,
    /// The ledger's time of that entry.
    pub at: Timestamp,
    /// The newest fence.
    pub fence: Fence,
    /// Size of the file.
    pub bytes: u64,
}

/// Chooses the implementation for the URL. Opens nothing yet.
#[must_use]
pub fn database(url: &DatabaseUrl, clock: Arc<dyn Clock>) -> Box<dyn Database> {
    match url {
        DatabaseUrl::Sqlite(path) => Box::new(sqlite::Sqlite::new(path.clone(), clock)),
        DatabaseUrl::Postgres(config) => Box::new(postgres::Postgres::new(config.clone())),
    }
}

/// Both sides of an open ledger.
pub struct Opened {
    /// The writing side. Each server has one.
    pub store: Box<dyn Store>,
    /// The side that deletes old rows, while the writing side is in use.
    pub housekeeper: Box<dyn Housekeeper>,
    /// The side that reads.
    pub reader: Arc<dyn Reader>,
    /// The ledger as it stood when it was opened.
    pub snapshot: Snapshot,
    /// The time by the database's clock (SQLite: by the machine's) when it was opened.
    pub now: Timestamp,
    /// Wake-ups from and to other servers that share the ledger.
    pub notifier: Notifier,
    /// Durability of the database's settings, kept current while the ledger is open.
    pub durability: Durability,
}
