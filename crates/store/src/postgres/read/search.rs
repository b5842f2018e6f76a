//! Search of the history: a page at a time, with bounded work for each.

use std::time::{Duration, Instant};

use deadpool_postgres::Transaction;
use pool::{EndReason, Fence, Timestamp};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error as PgError, Row};

use crate::postgres::read::rows::{self, Moment};
use crate::{Cursor, LeasePage, LeaseQuery, LeaseRecord, MAX_EXAMINED};

/// Maximum number of leases examined for one page.
const MOST: i64 = MAX_EXAMINED as i64;

/// The same for a page that has a lease already.
const ENOUGH: i64 = 20_000;

/// Time after which a page is returned as it is.
const LONG: Duration = Duration::from_secs(3);

/// Number of fences that one statement searches for the leases of a user or pool. That takes a thousand
/// steps in the index, with or without leases.
const FENCES: i64 = GROUP * 1_000;

/// Number of fences in a group of the index of users' leases, and in a block of that of pools.
const GROUP: i64 = 1 << BLOCK_BITS;

/// Its binary logarithm.
pub(crate) const BLOCK_BITS: u32 = 14;

/// Number of fences that cost as much work as one lease.
const FENCES_A_LEASE: i64 = 2_048;

/// Range that a statement examined.
struct Looked {
    found: Vec<LeaseRecord>,
    /// The last lease it examined, and their number; `None` if it stopped before the first, or
    /// found none.
    last: Option<(Cursor, i64)>,
    /// Whether more leases may follow.
    more: bool,
}

impl Looked {
    fn read(rows: &[Row]) -> Result<Self, PgError> {
        let mut looked = Looked { found: Vec::new(), last: None, more: false };
        for row in rows {
            let Some(record) = rows::record(row)? else { continue };
            let (fits, is_last): (bool, bool) = (row.try_get(FITS)?, row.try_get(FITS + 1)?);
            if is_last {
                looked.last = Some((Cursor::of(&record.lease), row.try_get(FITS + 2)?));
                looked.more = row.try_get(FITS + 3)?;
            }
            if fits {
                looked.found.push(record);
            }
        }
        Ok(looked)
    }
}

/// The column that says whether a lease fits: the one after those of a record.
const FITS: usize = rows::RECORD;

/// A search under way.
struct Searching<'a> {
    client: &'a Transaction<'a>,
    query: &'a LeaseQuery,
    now: Timestamp,
    /// Maximum number of leases in the page.
    limit: usize,
    /// Matching leases started at this moment or later,
    from: Timestamp,
    /// have this fence or a larger one,
    oldest: i64,
    /// and come before this position.
    before: Cursor,
    /// Newest block of the index of pools.
    indexed_block: i64,
    /// The last examined lease.
    last: Option<Cursor>,
    found: Vec<LeaseRecord>,
    looked_at: i64,
    /// Whether the search has just skipped unused fences and seen no lease behind them, so that it
    /// has no position to stop at.
    leapt: bool,
}

/// A page of at most `limit` of the leases that match at `now`. The transaction has one snapshot for all its statements.
pub(crate) async fn search(
    client: &Transaction<'_>,
    query: &LeaseQuery,
    now: Timestamp,
    limit: usize,
) -> Result<LeasePage, PgError> {
    let start = Instant::now();
    let mut searching = Searching {
        client,
        query,
        now,
        limit,
        from: earliest(client, query).await?,
        oldest: 0,
        indexed_block: -1,
        before: latest(query),
        last: None,
        found: Vec::new(),
        looked_at: 0,
        leapt: false,
    };
    let mut more = searching.find_fences().await?;
    while more {
        more = searching.step().await?;
        if searching.found.len() > limit {
            searching.found.truncate(limit);
            let next = searching.found.last().map(|record| Cursor::of(&record.lease));
            return Ok(LeasePage { leases: searching.found, next });
        }
        let bound = if searching.found.is_empty() { MOST } else { ENOUGH };
        let enough = searching.looked_at >= bound || start.elapsed() >= LONG;
        if more && enough && !searching.leapt {
            let next = searching.place().await?;
            return Ok(LeasePage { leases: searching.found, next: Some(next) });
        }
    }
    Ok(LeasePage { leases: searching.found, next: None })
}

/// Position before which matching leases are.
fn latest(query: &LeaseQuery) -> Cursor {
    // Before everything that starts at `started_at`.
    let start_of = |started_at| Cursor { started_at, fence: Fence::new(i64::MIN) };
    let moment_after = |at: Timestamp| at.after(Duration::from_micros(1));
    let bounds = [query.after, query.to.map(start_of), query.at.map(moment_after).map(start_of)];
    let bounds = bounds.into_iter().flatten();
    let first = bounds.min_by_key(|place| (place.started_at, place.fence));
    first.unwrap_or(start_of(Timestamp::from_micros(i64::MAX)))
}

/// Earliest start of matching leases.
async fn earliest(client: &Transaction<'_>, query: &LeaseQuery) -> Result<Timestamp, PgError> {
    let from = query.from.unwrap_or(Timestamp::MIN);
    let Some(at) = query.at else { return Ok(from) };
    let sql = client.prepare_cached(sql!("ledger/longest_lease")).await?;
    let longest: i64 = client.query_one(&sql, &[]).await?.try_get(0)?;
    Ok(from.max(Timestamp::from_micros(at.as_micros().saturating_sub(longest))))
}

impl Searching<'_> {
    /// Finds the range of fences, for a search by fences. False if it is empty.
    async fn find_fences(&mut self) -> Result<bool, PgError> {
        let LeaseQuery { user, token, pool, .. } = self.query;
        if user.is_none() && token.is_none() && pool.is_none() {
            return Ok(true);
        }
        let sql = self.client.prepare_cached(sql!("leases/search_bounds")).await?;
        let (before, from) = (self.before, Moment::within_range(self.from));
        let (started_at, fence) = (Moment::within_range(before.started_at), before.fence.get());
        let row = self.client.query_one(&sql, &[&started_at, &fence, &from]).await?;
        let (newest, oldest): (Option<i64>, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
        self.indexed_block = row.try_get(2)?;
        let Some((newest, oldest)) = newest.zip(oldest) else { return Ok(false) };
        (self.before.fence, self.oldest) = (Fence::new(newest).plus(1), oldest);
        Ok(oldest <= newest)
    }

    /// Examines some leases. False when none are left.
    async fn step(&mut self) -> Result<bool, PgError> {
        let Searching { query, from, before, .. } = *self;
        // `from`, `to` and `after` are bounds; the others are conditions, too.
        let LeaseQuery { user, token, status: _, reason, from: _, to: _, at, pool, after: _ } =
            *query;
        self.leapt = false;
        let (now, from) = (Moment::within_range(self.now), Moment::within_range(from));
        let ended = query.ended();
        let reason = reason.map(EndReason::as_str);
        let at = at.map(Moment::within_range);
        // One more than the page holds shows whether another page follows.
        let wanted = (self.limit - self.found.len()).saturating_add(1);
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        let (user, token) = (user.map(|user| user.0), token.map(|token| token.0));
        let (started_at, fence) = (Moment::within_range(before.started_at), before.fence.get());
        let pool = pool.map(|pool| pool.0);
        // The newest leases are not in the index.
        let is_indexed = fence.saturating_sub(1) >> BLOCK_BITS <= self.indexed_block;
        let by_pool = user.is_none() && token.is_none() && pool.is_some() && is_indexed;
        let oldest = if user.is_some() || by_pool {
            self.oldest.max(fence.saturating_sub(FENCES))
        } else {
            self.oldest
        };
        // A user has fewer leases than a token, as a rule.
        let (sql, bounds): (_, [&(dyn ToSql + Sync); 3]) = if user.is_some() {
            (sql!("leases/search_user"), [&user, &fence, &oldest])
        } else if token.is_some() {
            (sql!("leases/search_token"), [&token, &fence, &oldest])
        } else if by_pool {
            (sql!("leases/search_pool"), [&pool, &fence, &oldest])
        } else {
            (sql!("leases/search_all"), [&started_at, &fence, &from])
        };
        // Those of fits.sql.
        let conditions: [&(dyn ToSql + Sync); 6] = [&now, &ended, &reason, &at, &token, &pool];
        let first: [&(dyn ToSql + Sync); 1] = [&wanted];
        let parameters = [&first[..], &bounds, &conditions].concat();
        let sql = self.client.prepare_cached(sql).await?;
        let looked = Looked::read(&self.client.query(&sql, &parameters).await?)?;
        self.found.extend(looked.found);
        if let Some((last, count)) = looked.last {
            (self.before, self.last) = (last, Some(last));
            self.looked_at += count;
        }
        if looked.more || oldest == self.oldest {
            return Ok(looked.more);
        }
        self.before.fence = Fence::new(oldest);
        self.looked_at += FENCES / FENCES_A_LEASE;
        if looked.last.is_none() {
            return self.leap(oldest).await;
        }
        Ok(true)
    }

    /// Skips to the next leases: a new epoch leaves out fences, maybe billions. False if no lease
    /// is left.
    async fn leap(&mut self, below: i64) -> Result<bool, PgError> {
        let sql = self.client.prepare_cached(sql!("leases/search_group")).await?;
        let Some(row) = self.client.query_opt(&sql, &[&below]).await? else { return Ok(false) };
        let group: i64 = row.try_get(0)?;
        let end = (group + 1) * GROUP;
        self.leapt = end < below;
        self.before.fence = Fence::new(end.min(below));
        Ok(true)
    }

    /// Position before which no lease has been examined.
    async fn place(&self) -> Result<Cursor, PgError> {
        if let Some(last) = self.last.filter(|last| last.fence == self.before.fence) {
            return Ok(last);
        }
        // It stopped between two leases of the user or pool: any other lease there marks the position.
        let sql = self.client.prepare_cached(sql!("leases/search_place")).await?;
        let row = self.client.query_opt(&sql, &[&self.before.fence.get()]).await?;
        let mut place = self.last.unwrap_or(self.before);
        if let Some(row) = row {
            let (started_at, fence) = (rows::moment(&row, 0)?, Fence::new(row.try_get(1)?));
            if self.last.is_none_or(|last| fence < last.fence) {
                place = Cursor { started_at, fence };
            }
        }
        Ok(place)
    }
}
