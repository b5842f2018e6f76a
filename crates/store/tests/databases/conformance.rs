//! Behaviour of every database. Each case runs on SQLite and on PostgreSQL.

mod access;
mod batches;
mod history;
pub mod imports;
mod journal;
mod keys;
mod many_keys;
mod opening;
mod policies;
mod pools;
mod queue;
mod renewals;
mod restoring;
pub mod search;
pub mod server;
mod sweeping;
mod views;

use store::Database;
use testbed::TestDb;

use crate::postgres::Fresh;
use crate::sqlite::Directory;

/// Location of a database, which need not exist yet. Dropping it deletes the database.
pub trait AnyDb: Send + Sync {
    /// The database as a server that starts now finds it. Each call acts like another program: the
    /// results share nothing but the database itself.
    fn database(&self) -> Box<dyn Database>;

    /// Runs the database's background maintenance now, if it has any.
    fn catch_up(&self) {}
}

/// An empty database of either kind.
pub enum EmptyDb {
    Sqlite(Directory),
    Postgres(Fresh),
}

impl From<TestDb> for EmptyDb {
    fn from(db: TestDb) -> Self {
        if db.url().starts_with("sqlite:") {
            EmptyDb::Sqlite(Directory::of(db))
        } else {
            EmptyDb::Postgres(Fresh(db.url().to_owned()))
        }
    }
}

impl AnyDb for EmptyDb {
    fn database(&self) -> Box<dyn Database> {
        match self {
            EmptyDb::Sqlite(directory) => directory.database(),
            EmptyDb::Postgres(fresh) => fresh.database(),
        }
    }

    fn catch_up(&self) {
        if let EmptyDb::Sqlite(directory) = self {
            directory.catch_up();
        }
    }
}

impl EmptyDb {
    /// Lets the clock of servers be the one that views ask.
    fn follow_the_clock(&self) {
        if let EmptyDb::Sqlite(directory) = self {
            directory.follow_the_clock();
        }
    }

    /// The first column of a query as of a person at a SQL prompt.
    async fn read(&self, sql: &str) -> Vec<String> {
        match self {
            EmptyDb::Sqlite(directory) => directory.read(sql),
            EmptyDb::Postgres(fresh) => fresh.read(sql).await,
        }
    }
}
