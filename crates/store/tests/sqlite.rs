//! SQLite: the cases that hold for every database, and what is SQLite's own.

#[macro_use]
mod conformance;

use std::path::PathBuf;
use std::sync::Arc;

use pool::Timestamp;
use store::{Database, DatabaseUrl, ManualClock, database};
use tempfile::TempDir;

/// A directory with a database file in it.
struct Directory {
    directory: TempDir,
    clock: Arc<ManualClock>,
}

impl Directory {
    fn file(&self) -> PathBuf {
        self.directory.path().join("pool.db")
    }

    fn at(&self, path: impl Into<PathBuf>) -> Box<dyn Database> {
        database(&DatabaseUrl::Sqlite(path.into()), self.clock.clone())
    }
}

impl conformance::Place for Directory {
    fn database(&self) -> Box<dyn Database> {
        self.at(self.file())
    }
}

async fn fresh() -> Directory {
    let clock = ManualClock::new(Timestamp::from_micros(1_790_000_000_123_457));
    Directory { directory: tempfile::tempdir().unwrap(), clock: Arc::new(clock) }
}

conformance!(fresh);
