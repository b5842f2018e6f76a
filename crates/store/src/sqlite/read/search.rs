//! Search of the history.
//! Fences rise with the time of the start, so that binary search finds a moment among them, and
//! falling fences mean newest first. Each index is walked in that order until the page is full or
//! the work limit is reached; conditions that the index lacks are checked on the lease.

use std::ops::ControlFlow;
use std::time::Duration;

use pool::{Fence, Lease, PoolId, Timestamp, TokenId};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row};

use crate::sqlite::disk::failure::failed;
use crate::sqlite::read::chain::{Chain, record};
use crate::sqlite::read::rows;
use crate::sqlite::write::user_index::BLOCK_BITS;
use crate::{Cursor, Error, LeasePage, LeaseQuery, MAX_EXAMINED};

/// Maximum number of leases examined for one page.
const MOST: usize = MAX_EXAMINED as usize;

/// The same for a page that has a lease.
const ENOUGH: usize = 10_000;

/// Maximum number of a token's leases skipped on the way to the requested ones.
const PASSED: usize = 1_000;

/// Number of fences then searched for them, for one page.
const REACH: i64 = 100_000;

/// Number of fences passed by a statement that cost as much work as one lease.
const PASSED_A_LOOK: usize = 16;

const WHAT: &str = "searching the history";

/// A page of at most `limit` of the leases that match at `now`.
pub(crate) fn search(
    connection: &Connection,
    query: &LeaseQuery,
    now: Timestamp,
    limit: usize,
) -> Result<LeasePage, Error> {
    let index = Index::read(connection)?;
    let (from, below) = bounds(connection, query, index.longest_lease)?;
    let mut page =
        Page { query, now, limit, leases: Vec::new(), looked: 0, last: None, more: false };
    let down = sql!("leases/leases_down");
    if let Some(user) = query.user {
        let unindexed = Fence::new(index.fence + 1);
        let newest = (below.get(), from.max(unindexed).get());
        if page.walk(connection, down, newest)?.is_continue() {
            let down = sql!("leases/users_leases_down");
            let indexed = (below.min(unindexed).get(), from.get(), user.0.into_bytes());
            let _ = page.walk(connection, down, indexed)?;
        }
    } else if let Some(token) = query.token {
        page.walk_chain(connection, token, from, below)?;
    } else if let Some(pool) = query.pool {
        page.walk_pool(connection, pool, from, below, index.fence)?;
    } else {
        let _ = page.walk(connection, down, (below.get(), from.get()))?;
    }
    page.found(connection)
}

/// The page so far.
struct Page<'q> {
    query: &'q LeaseQuery,
    now: Timestamp,
    /// Maximum number of leases in the page.
    limit: usize,
    leases: Vec<Lease>,
    looked: usize,
    last: Option<Cursor>,
    /// Whether an unexamined lease is left.
    more: bool,
}

impl Page<'_> {
    /// Adds the lease if it matches; breaks if the work limit is reached.
    fn look(&mut self, lease: Lease) -> ControlFlow<()> {
        let found = self.leases.len();
        if found >= self.limit || self.looked >= self.enough() {
            self.more = true;
            return ControlFlow::Break(());
        }
        self.looked += 1;
        self.last = Some(Cursor::of(&lease));
        if self.query.fits(&lease, self.now) {
            self.leases.push(lease);
        }
        ControlFlow::Continue(())
    }

    /// Examines the leases of a statement.
    fn walk(
        &mut self,
        connection: &Connection,
        sql: &str,
        parameters: impl Params,
    ) -> Result<ControlFlow<()>, Error> {
        walk(connection, sql, parameters, |lease| self.look(lease))
    }

    /// Examines a token's leases from `from` up to `below` (exclusive).
    fn walk_chain(
        &mut self,
        connection: &Connection,
        token: TokenId,
        from: Fence,
        below: Fence,
    ) -> Result<(), Error> {
        let mut chain = Chain::before(connection, token, below)?;
        let mut next = chain.next()?;
        for _ in 0..PASSED {
            if next.as_ref().is_none_or(|lease| lease.fence < below) {
                break;
            }
            next = chain.next()?;
        }
        if next.as_ref().is_some_and(|lease| lease.fence >= below) {
            // The token has many leases, so one of them is near among those of all tokens.
            let Some(newest) = newest_below(connection, below)? else { return Ok(()) };
            let lowest = from.max(Fence::new(newest.get() + 1 - REACH));
            if !chain.jump(below, lowest)? && lowest > from {
                let first = first_at(connection, lowest)?;
                let started_at = first.map_or(self.now, |(_, started_at)| started_at);
                (self.last, self.more) = (Some(Cursor { started_at, fence: lowest }), true);
            }
            next = chain.next()?;
        }
        while let Some(lease) = next.filter(|lease| lease.fence >= from) {
            if self.look(lease).is_break() {
                break;
            }
            next = chain.next()?;
        }
        Ok(())
    }

    /// Examines a pool's leases from `from` up to `below` (exclusive), block by block. Leases above
    /// `indexed` are not in the index.
    fn walk_pool(
        &mut self,
        connection: &Connection,
        pool: PoolId,
        from: Fence,
        below: Fence,
        indexed: i64,
    ) -> Result<(), Error> {
        let mut blocks = Blocks::new(connection, pool, indexed)?;
        let mut below = below;
        while below > from {
            if self.looked >= self.enough() {
                return self.pause(connection, below);
            }
            self.looked += 1;
            let Some(block) = blocks.next(below)? else { return Ok(()) };
            let down_to = from.max(block.first);
            below = below.min(block.below);
            match block.leases {
                Leases::Among => {
                    let down = sql!("leases/pools_leases_down");
                    let bounds = (below.get(), down_to.get(), pool.0);
                    if self.walk(connection, down, bounds)?.is_break() {
                        return Ok(());
                    }
                    let passed = usize::try_from(below.get() - down_to.get()).unwrap_or(0);
                    self.looked += passed / PASSED_A_LOOK;
                }
                Leases::Are(fences) => {
                    let fits = |fence: &&i64| (down_to.get()..below.get()).contains(*fence);
                    for fence in fences.iter().rev().filter(fits) {
                        let one = sql!("leases/lease_of_fence");
                        if self.walk(connection, one, (fence,))?.is_break() {
                            return Ok(());
                        }
                    }
                }
                Leases::None => {}
            }
            below = down_to;
        }
        Ok(())
    }

    /// The work limit of this page.
    fn enough(&self) -> usize {
        if self.leases.is_empty() { MOST } else { ENOUGH }
    }

    /// Ends the page between two leases: the next one begins with the newest below that fence.
    fn pause(&mut self, connection: &Connection, below: Fence) -> Result<(), Error> {
        if let Some((fence, started_at)) = first_at(connection, below)? {
            (self.last, self.more) = (Some(Cursor { started_at, fence }), true);
        }
        Ok(())
    }

    fn found(self, connection: &Connection) -> Result<LeasePage, Error> {
        let next = self.last.filter(|_| self.more);
        let records = self.leases.into_iter().map(|lease| record(connection, lease));
        Ok(LeasePage { leases: records.collect::<Result<_, _>>()?, next })
    }
}

/// The blocks of fences that may have leases of a pool, from the newest down.
struct Blocks<'c> {
    connection: &'c Connection,
    pool: PoolId,
    /// Newest fence of the index.
    indexed: i64,
    down: CachedStatement<'c>,
    fences: CachedStatement<'c>,
}

/// A part of a block: the fences from `first` up to `below` (exclusive).
struct Block {
    first: Fence,
    below: Fence,
    leases: Leases,
}

/// The pool's leases in a part of a block.
enum Leases {
    None,
    /// Those with these fences, in rising order. Some may have been deleted.
    Are(Vec<i64>),
    /// Any of those there.
    Among,
}

impl<'c> Blocks<'c> {
    fn new(connection: &'c Connection, pool: PoolId, indexed: i64) -> Result<Self, Error> {
        let prepare = |sql| connection.prepare_cached(sql).map_err(failed(WHAT));
        let down = prepare(sql!("leases/pools_block_down"))?;
        Ok(Blocks {
            connection,
            pool,
            indexed,
            down,
            fences: prepare(sql!("leases/pools_fences"))?,
        })
    }

    /// The newest part below that fence; `None` after the last lease of the pool.
    fn next(&mut self, below: Fence) -> Result<Option<Block>, Error> {
        let failed = failed(WHAT);
        let first_of = |block: i64| Fence::new(block << BLOCK_BITS);
        let Some(newest) = newest_below(self.connection, below)? else { return Ok(None) };
        let newest_block = newest.get() >> BLOCK_BITS;
        if newest.get() > self.indexed {
            let first = first_of(newest_block).max(Fence::new(self.indexed + 1));
            return Ok(Some(Block { first, below: newest.plus(1), leases: Leases::Among }));
        }
        let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i32>(1)?));
        let found = self.down.query_row((newest_block, self.pool.0), row).optional();
        let Some((block, pool)) = found.map_err(&failed)? else { return Ok(None) };
        let (first, below) = (first_of(block), first_of(block + 1));
        if pool != self.pool.0 {
            // A larger number is of an older block, where this pool's has to be looked up again.
            let first = if pool > self.pool.0 { below } else { first };
            return Ok(Some(Block { first, below: first, leases: Leases::None }));
        }
        let fences = self.fences.query_map((block, self.pool.0), |row| row.get(0));
        let fences: Vec<i64> = fences.and_then(Iterator::collect).map_err(&failed)?;
        let leases = if fences.first() == Some(&0) { Leases::Among } else { Leases::Are(fences) };
        Ok(Some(Block { first, below, leases }))
    }
}

/// The query for a token's leases below a fence.
pub(crate) fn of_token(token: TokenId, before: Option<Fence>) -> LeaseQuery {
    let after = before.map(|fence| Cursor { started_at: Timestamp::MIN, fence });
    LeaseQuery { token: Some(token), after, ..LeaseQuery::default() }
}

/// Passes on the leases of a statement, until its end or a break.
fn walk(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    mut look: impl FnMut(Lease) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Error> {
    let failed = failed(WHAT);
    let mut statement = connection.prepare_cached(sql).map_err(&failed)?;
    let leases = statement.query_map(parameters, rows::lease).map_err(&failed)?;
    for lease in leases {
        if look(lease.map_err(&failed)?).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Facts about the leases, from the ledger's row.
struct Index {
    /// Newest fence up to which they are indexed by user.
    fence: i64,
    /// Maximum length of a lease.
    longest_lease: Duration,
}

impl Index {
    fn read(connection: &Connection) -> Result<Self, Error> {
        let read = sql!("ledger/index");
        let index = connection.query_row(read, (), |row| {
            let longest_lease = Duration::from_micros(row.get(1)?);
            Ok(Index { fence: row.get(0)?, longest_lease })
        });
        index.map_err(failed(WHAT))
    }
}

/// Range of the leases' fences: from the first up to the second (exclusive).
fn bounds(
    connection: &Connection,
    query: &LeaseQuery,
    longest_lease: Duration,
) -> Result<(Fence, Fence), Error> {
    let mut from = Fence::NONE;
    let mut below = query.after.map_or(Fence::new(i64::MAX), |after| after.fence);
    if let Some(start) = query.from {
        from = first_from(connection, start)?;
    }
    if let Some(to) = query.to {
        below = below.min(first_from(connection, to)?);
    }
    if let Some(at) = query.at {
        let longest_lease = i64::try_from(longest_lease.as_micros()).unwrap_or(i64::MAX);
        let earliest = Timestamp::from_micros(at.as_micros().saturating_sub(longest_lease));
        from = from.max(first_from(connection, earliest)?);
        below = below.min(first_from(connection, at.after(Duration::from_micros(1)))?);
    }
    Ok((from, below))
}

/// The fence that divides the leases: from it on they started at that moment or later, below it
/// earlier.
fn first_from(connection: &Connection, moment: Timestamp) -> Result<Fence, Error> {
    let (mut low, mut high) = (0, i64::MAX);
    while low < high {
        let middle = low + (high - low) / 2;
        match first_at(connection, Fence::new(middle))? {
            Some((fence, started_at)) if started_at < moment => low = fence.get() + 1,
            _ => high = middle,
        }
    }
    Ok(Fence::new(low))
}

/// The fence of the newest lease below that one; that may be far below, where an epoch began.
fn newest_below(connection: &Connection, fence: Fence) -> Result<Option<Fence>, Error> {
    let failed = failed(WHAT);
    let newest = sql!("leases/newest_below");
    let mut newest = connection.prepare_cached(newest).map_err(&failed)?;
    let newest = newest.query_row((fence.get(),), |row| row.get(0).map(Fence::new));
    newest.optional().map_err(&failed)
}

/// The fence of the first lease from that one on, and when it started.
fn first_at(connection: &Connection, fence: Fence) -> Result<Option<(Fence, Timestamp)>, Error> {
    let failed = failed(WHAT);
    let first = sql!("leases/lease_from");
    let mut first = connection.prepare_cached(first).map_err(&failed)?;
    let first = first.query_row((fence.get(),), |row| {
        Ok((Fence::new(row.get(0)?), Timestamp::from_micros(row.get(1)?)))
    });
    first.optional().map_err(&failed)
}
