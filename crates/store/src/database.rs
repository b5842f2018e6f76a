use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use pool::{Fence, Timestamp};

use crate::{
    Clock, DatabaseUrl, Durability, Error, Finding, ImportedPool, NewEpoch, Notifier, Position,
    Reader, Snapshot, Store, Wanted, postgres, sqlite,
};

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
    pub notifier: Notifier,
    /// What the database's settings promise, as long as the pool is open.
    pub durability: Durability,
}
