//! The index of users, which is written behind the leases.
//!
//! Kept up with each batch it would make a batch write a page for each lease (see the migration). So
//! leases are gathered by the thousand, sorted by user, and then copied. All of that is done by the
//! thread that writes, between its jobs and in small steps; until it is done, a search looks at the
//! newest leases one by one.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Row};

use super::refusal::{failed, failed_commit};
use super::store::begin;
use crate::Error;

/// How many leases are gathered, and so many of them have come together before that is begun in busy
/// times.
const MANY: usize = 32_768;

/// How many have come together before it is begun in quiet times.
const SOME: usize = 1_000;

/// How many are gathered or copied in one step: a few milliseconds.
const STEP: usize = 1_000;

/// Times are quiet when there has been nothing to do for so long.
const QUIET: Duration = Duration::from_millis(100);

/// After a step, those who write come first for so long.
const PAUSE: Duration = Duration::from_millis(1);

/// How long nothing is tried after a failure.
const REST: Duration = Duration::from_secs(10);

const WHAT: &str = "indexing leases by user";

/// How far it is.
#[derive(Default)]
pub(super) struct Indexing {
    work: Work,
    /// How many leases are not indexed.
    behind: usize,
    rest_until: Option<Instant>,
}

/// A lease's user and fence.
type UsersLease = ([u8; 16], i64);

#[derive(Default)]
enum Work {
    #[default]
    None,
    /// Leases in fence order.
    Gathering(Vec<UsersLease>),
    /// The same sorted by user, those that are copied already included; and the last of their fences.
    Copying { leases: Vec<UsersLease>, copied: usize, up_to: i64 },
}

impl Indexing {
    /// After a job: goes on with what was begun, and begins where that can't wait.
    pub(super) fn after_job(&mut self, connection: &mut Connection) {
        // Where there are no tables yet there is nothing to index.
        self.behind = unindexed(connection).map_or(0, |(_, behind)| behind);
        if self.begun() || self.behind >= MANY {
            self.step(connection);
        }
    }

    /// How long to wait for a job before [`Indexing::step`] is due; for ever where it is not.
    pub(super) fn wait(&self) -> Option<Duration> {
        let resting = self.rest_until.is_some_and(|until| Instant::now() < until);
        if resting || (!self.begun() && self.behind < SOME) {
            return None;
        }
        Some(if self.begun() { PAUSE } else { QUIET })
    }

    /// One step on. What fails is begun anew later.
    pub(super) fn step(&mut self, connection: &mut Connection) {
        if self.rest_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.rest_until = None;
        if let Err(error) = self.try_step(connection) {
            tracing::warn!(%error, "leases could not be indexed by user; searches look at each");
            *self = Indexing { rest_until: Some(Instant::now() + REST), ..Indexing::default() };
        }
    }

    /// Leases up to that fence may have been deleted: they must not be copied any more.
    pub(super) fn forget(&mut self, up_to: i64) {
        let leases = match &self.work {
            Work::None => return,
            Work::Gathering(leases) | Work::Copying { leases, .. } => leases,
        };
        if leases.iter().any(|(_, fence)| *fence <= up_to) {
            self.work = Work::None;
        }
    }

    fn begun(&self) -> bool {
        !matches!(self.work, Work::None)
    }

    fn try_step(&mut self, connection: &mut Connection) -> Result<(), Error> {
        match &mut self.work {
            Work::None => {
                let mut leases = Vec::new();
                let (indexed, _) = unindexed(connection)?;
                gather(connection, indexed, &mut leases)?;
                self.work = Work::Gathering(leases);
            }
            Work::Gathering(leases) => {
                let last = leases.last().map_or(0, |(_, fence)| *fence);
                if leases.len() >= MANY || gather(connection, last, leases)? < STEP {
                    let mut leases = std::mem::take(leases);
                    let up_to = leases.last().map_or(0, |(_, fence)| *fence);
                    leases.sort_unstable();
                    self.work = Work::Copying { leases, copied: 0, up_to };
                }
            }
            Work::Copying { leases, copied, up_to } => {
                let end = leases.len().min(*copied + STEP);
                let up_to = (end == leases.len()).then_some(*up_to);
                copy(connection, &leases[*copied..end], up_to)?;
                *copied = end;
                if up_to.is_some() {
                    self.work = Work::None;
                    (_, self.behind) = unindexed(connection)?;
                }
            }
        }
        Ok(())
    }
}

/// Up to which fence leases are indexed, and how many fences were given since.
fn unindexed(connection: &Connection) -> Result<(i64, usize), Error> {
    let failed = failed(WHAT);
    let unindexed = include_str!("sql/unindexed.sql");
    let mut unindexed = connection.prepare_cached(unindexed).map_err(&failed)?;
    unindexed.query_row((), |row| Ok((row.get(0)?, row.get(1)?))).map_err(&failed)
}

/// Adds the next leases above that fence. Returns how many.
fn gather(
    connection: &Connection,
    after: i64,
    leases: &mut Vec<UsersLease>,
) -> Result<usize, Error> {
    let failed = failed(WHAT);
    let before = leases.len();
    let select = include_str!("sql/users_from.sql");
    let mut select = connection.prepare_cached(select).map_err(&failed)?;
    let lease = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    for lease in select.query_map((after, STEP), lease).map_err(&failed)? {
        leases.push(lease.map_err(&failed)?);
    }
    Ok(leases.len() - before)
}

/// Copies these, and writes down up to which fence all are copied now.
fn copy(
    connection: &mut Connection,
    leases: &[UsersLease],
    up_to: Option<i64>,
) -> Result<(), Error> {
    let failed = failed(WHAT);
    let transaction = begin(connection)?;
    {
        let insert = include_str!("sql/insert_users_lease.sql");
        let mut insert = transaction.prepare_cached(insert).map_err(&failed)?;
        for lease in leases {
            insert.execute(*lease).map_err(&failed)?;
        }
    }
    if let Some(up_to) = up_to {
        let update = include_str!("sql/update_indexed.sql");
        transaction.execute(update, (up_to,)).map_err(&failed)?;
    }
    transaction.commit().map_err(failed_commit)
}
