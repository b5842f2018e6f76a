//! Checkpoints: empties a large write-ahead log into the database.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::LogSize;
use crate::sqlite::disk::files::BUSY;

/// Above this size of the write-ahead log, new readers wait while it is emptied.
pub(crate) const WAL_LIMIT: u64 = 64 << 20;

/// How long emptying it may wait for readers in other programs, and how often that is tried.
const CHECKPOINT_WAIT: Duration = Duration::from_millis(50);
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// Held by readers while they read, and by the writer to keep them out. Guards their idle
/// connections; `None` once the writer stops: reads fail from then on.
pub(crate) type Gate = RwLock<Option<Mutex<Vec<Connection>>>>;

/// Measurements of the log.
#[derive(Default)]
pub(crate) struct Measured {
    bytes: AtomicU64,
    failures: AtomicU64,
}

impl Measured {
    pub(crate) fn get(&self) -> LogSize {
        let [bytes, failures] = [&self.bytes, &self.failures].map(|value| value.load(Relaxed));
        LogSize { bytes, limit: WAL_LIMIT, failures }
    }
}

#[derive(Default)]
pub(crate) struct Checkpoints {
    pub(crate) measured: Arc<Measured>,
    tried: Option<Instant>,
    /// Whether the last attempt failed.
    stuck: bool,
}

impl Checkpoints {
    /// Whether a log of that size has to be emptied now.
    pub(crate) fn is_due(&self, size: u64) -> bool {
        size > WAL_LIMIT && self.tried.is_none_or(|tried| tried.elapsed() >= CHECKPOINT_EVERY)
    }

    /// Empties the log if its `size` is above the limit, at most once a second. Logs when that
    /// begins to fail, and when it works again.
    pub(crate) fn tend(&mut self, connection: &Connection, gate: &Gate, size: u64) {
        self.measured.bytes.store(size, Relaxed);
        if !self.is_due(size) {
            return;
        }
        self.tried = Some(Instant::now());
        let emptied = {
            let _readers_wait = gate.write().unwrap_or_else(PoisonError::into_inner);
            empty_log(connection)
        };
        let failed = match emptied {
            Ok(true) => None,
            Ok(false) => Some("another program reads the database".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        let stuck = failed.is_some();
        if let Some(reason) = failed {
            self.measured.failures.fetch_add(1, Relaxed);
            if !self.stuck {
                tracing::warn!(
                    reason,
                    size,
                    limit = WAL_LIMIT,
                    "the write-ahead log can't be emptied and grows; `token-manager doctor` shows \
                     which programs use the database"
                );
            }
        } else {
            self.measured.bytes.store(0, Relaxed);
            if self.stuck {
                tracing::info!(size, "the write-ahead log was emptied again");
            }
        }
        self.stuck = stuck;
    }
}

/// Empties the write-ahead log into the database. Returns false when a reader in another program
/// still needs it, which SQLite does not report as an error.
pub(crate) fn empty_log(connection: &Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(CHECKPOINT_WAIT)?;
    let busy = connection.query_row("pragma wal_checkpoint(truncate)", (), |row| row.get(0));
    connection.busy_timeout(BUSY)?;
    busy.map(|busy: bool| !busy)
}
