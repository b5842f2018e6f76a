//! The indexes of users and of pools, which are written later than the leases.
//! Updating them in each batch would write a page for each lease (see the migrations). So leases are
//! collected by the thousand, sorted by user and by pool, and then added; deleted ones are removed
//! likewise from the index of users, and by a trigger from that of pools.
//! The writing thread does this between batches and in small steps; until then, a search reads the
//! newest leases one by one.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Row};

use crate::Error;
use crate::sqlite::disk::failure::{failed, failed_commit};
use crate::sqlite::write::store::begin;

/// Number of leases collected at once, and the backlog at which this begins in busy times.
const MANY: usize = 32_768;

/// Backlog at which this begins in quiet times.
const SOME: usize = 1_000;

/// Number of a pool's leases in a block of which each gets a row. For more of them, one row says that the
/// pool has leases in the block, which the search then reads through: 256 leases at most for each one
/// of the pool.
const FEW: usize = 64;

/// Maximum number collected or written in one step.
const STEP: usize = 1_000;

/// Maximum time of a step: writers wait for it.
const STEP_TIME: Duration = Duration::from_millis(1);

/// Time without a batch after which times count as quiet.
const QUIET: Duration = Duration::from_millis(100);

/// Pause after a step, for jobs of writers.
const PAUSE: Duration = Duration::from_millis(1);

/// Binary logarithm of the number of fences in a block of the index of pools.
pub(crate) const BLOCK_BITS: u32 = 14;

/// Pause after a failure.
const REST: Duration = Duration::from_secs(10);

const WHAT: &str = "indexing leases by user and pool";

/// State of the indexing.
pub(crate) struct Indexing {
    /// Maximum time of a step.
    step_time: Duration,
    behind: Behind,
    /// Number of leases that were started since `behind` was read.
    uncounted: usize,
    work: Option<Work>,
    rest_until: Option<Instant>,
}

/// Remaining work.
#[derive(Default)]
struct Behind {
    /// Newest fence up to which leases are indexed.
    indexed: i64,
    /// Number of leases that are not indexed.
    to_add: usize,
    /// Number of deleted leases that may still be indexed.
    to_remove: usize,
}

/// Work in progress.
struct Work {
    task: Task,
    /// User and fence of the leases, in the order of collection; then sorted.
    leases: Vec<([u8; 16], i64)>,
    /// Block, pool and fence of the leases to add, in the order of collection; then the rows to write.
    pools: Vec<(i64, i64, i64)>,
    /// Number of the last collected one.
    last: i64,
    /// How many rows are written, those of users first; `None` during collection.
    written: Option<usize>,
}

#[derive(Clone, Copy)]
enum Task {
    /// Numbers are fences.
    Add,
    /// Numbers are deletion numbers.
    Remove,
}

impl Default for Indexing {
    fn default() -> Self {
        Indexing::in_steps_of(STEP_TIME)
    }
}

impl Indexing {
    pub(crate) fn in_steps_of(step_time: Duration) -> Self {
        Indexing {
            step_time,
            behind: Behind::default(),
            uncounted: 0,
            work: None,
            rest_until: None,
        }
    }

    /// Notes that so many leases were started.
    pub(crate) fn wrote(&mut self, leases: usize) {
        self.uncounted += leases;
    }

    /// Whether so many leases were started that the backlog has to be read again.
    pub(crate) fn has_to_count(&self) -> bool {
        self.uncounted >= SOME
    }

    /// Whether a step is due right after a job: one of the work in progress, or of new work that
    /// can't wait for quiet times.
    pub(crate) fn is_due_after(&mut self, connection: &Connection) -> bool {
        // Without tables nothing is left to index.
        self.behind = Behind::read(connection).unwrap_or_default();
        self.uncounted = 0;
        !self.rests() && (self.work.is_some() || self.behind.most() >= MANY)
    }

    /// Whether a step is due between jobs, if the last batch was written that long ago.
    pub(crate) fn is_due(&self, quiet_for: Duration) -> bool {
        self.work.is_some() || self.behind.most() >= SOME && quiet_for >= QUIET
    }

    /// How long to wait for a job before that is so; `None` if there is nothing to do.
    pub(crate) fn wait(&self, quiet_for: Duration) -> Option<Duration> {
        if self.rests() {
            return None;
        }
        if self.work.is_some() {
            return Some(PAUSE);
        }
        (self.behind.most() >= SOME).then(|| QUIET.saturating_sub(quiet_for))
    }

    /// Does one step. After a failure, the work starts again later.
    pub(crate) fn step(&mut self, connection: &mut Connection) {
        if self.rests() {
            return;
        }
        if let Err(error) = self.try_step(connection) {
            self.failed(&error);
        }
    }

    /// Begins again after a pause.
    pub(crate) fn failed(&mut self, error: &Error) {
        tracing::warn!(%error, "leases could not be indexed by user and pool; searches look at each");
        self.work = None;
        self.behind = Behind::default();
        self.rest_until = Some(Instant::now() + REST);
    }

    fn rests(&self) -> bool {
        self.rest_until.is_some_and(|until| Instant::now() < until)
    }

    fn try_step(&mut self, connection: &mut Connection) -> Result<(), Error> {
        let work = self.work.get_or_insert_with(|| Work::begin(&self.behind));
        if work.step(connection, Instant::now() + self.step_time)? {
            self.work = None;
            self.behind = Behind::read(connection)?;
        }
        Ok(())
    }
}

impl Behind {
    fn read(connection: &Connection) -> Result<Self, Error> {
        let failed = failed(WHAT);
        let read = sql!("leases/unindexed");
        let mut read = connection.prepare_cached(read).map_err(&failed)?;
        let behind = read.query_row((), |row| {
            Ok(Behind { indexed: row.get(0)?, to_add: row.get(1)?, to_remove: row.get(2)? })
        });
        behind.map_err(&failed)
    }

    fn most(&self) -> usize {
        self.to_add.max(self.to_remove)
    }
}

impl Work {
    fn begin(behind: &Behind) -> Self {
        let (task, last) = if behind.to_add >= behind.to_remove {
            (Task::Add, behind.indexed)
        } else {
            (Task::Remove, 0)
        };
        Work { task, leases: Vec::new(), pools: Vec::new(), last, written: None }
    }

    /// Continues until then. Returns whether the work is done.
    fn step(&mut self, connection: &mut Connection, until: Instant) -> Result<bool, Error> {
        if let Some(from) = self.written {
            let to = self.write(connection, from, until)?;
            self.written = Some(to);
            return Ok(to == self.rows());
        }
        if self.gather(connection, until)? || self.leases.len() >= MANY {
            self.leases.sort_unstable();
            self.pools = pool_rows(std::mem::take(&mut self.pools));
            self.written = Some(0);
        }
        Ok(false)
    }

    /// Number of rows to write or remove.
    fn rows(&self) -> usize {
        self.leases.len() + self.pools.len()
    }

    /// Collects some more. Returns whether these were the last.
    fn gather(&mut self, connection: &Connection, until: Instant) -> Result<bool, Error> {
        let failed = failed(WHAT);
        let select = match self.task {
            Task::Add => sql!("leases/users_from"),
            Task::Remove => sql!("leases/forgotten_from"),
        };
        let mut select = connection.prepare_cached(select).map_err(&failed)?;
        let lease = |row: &Row<'_>| Ok(((row.get(0)?, row.get(1)?), row.get(2)?, row.get(3)?));
        let before = self.leases.len();
        for lease in select.query_map((self.last, STEP), lease).map_err(&failed)? {
            let (lease, number, pool) = lease.map_err(&failed)?;
            self.leases.push(lease);
            if let Task::Add = self.task {
                self.pools.push((number >> BLOCK_BITS, pool, number));
            }
            self.last = number;
            if Instant::now() >= until {
                return Ok(false);
            }
        }
        Ok(self.leases.len() - before < STEP)
    }

    /// Writes some of them, and with the last ones records that all are written. Returns how many
    /// are written.
    fn write(
        &self,
        connection: &mut Connection,
        from: usize,
        until: Instant,
    ) -> Result<usize, Error> {
        let failed = failed(WHAT);
        let (write, finish) = match self.task {
            Task::Add => (sql!("leases/insert_users_lease"), sql!("ledger/update_indexed")),
            Task::Remove => (sql!("leases/delete_users_lease"), sql!("leases/delete_forgotten")),
        };
        let transaction = begin(connection)?;
        let mut to = from;
        {
            let mut write = transaction.prepare_cached(write).map_err(&failed)?;
            let of_pool = sql!("leases/insert_pools_lease");
            let mut of_pool = transaction.prepare_cached(of_pool).map_err(&failed)?;
            for row in (from..self.rows()).take(STEP) {
                let written = match self.leases.get(row) {
                    Some(lease) => write.execute(*lease),
                    None => of_pool.execute(self.pools[row - self.leases.len()]),
                };
                written.map_err(&failed)?;
                to += 1;
                if Instant::now() >= until {
                    break;
                }
            }
        }
        if to == self.rows() {
            // They are sorted by user, so the index is only complete once all are written.
            transaction.execute(finish, (self.last,)).map_err(&failed)?;
        }
        transaction.commit().map_err(failed_commit)?;
        Ok(to)
    }
}

/// The rows of the index of pools for these leases, sorted.
fn pool_rows(mut leases: Vec<(i64, i64, i64)>) -> Vec<(i64, i64, i64)> {
    leases.sort_unstable();
    let mut rows = Vec::new();
    for of_pool in leases.chunk_by(|one, next| (one.0, one.1) == (next.0, next.1)) {
        match of_pool {
            [(block, pool, _), ..] if of_pool.len() > FEW => rows.push((*block, *pool, 0)),
            few => rows.extend_from_slice(few),
        }
    }
    rows
}
