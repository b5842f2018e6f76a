//! Searching the history: a page at a time, with bounded work for each.

use std::time::{Duration, Instant};

use deadpool_postgres::Client;
use pool::{EndReason, Fence, Timestamp};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error as PgError, Row};

use super::rows::{self, Moment};
use crate::{Cursor, Found, LeaseRecord, Search};

/// How many leases are looked at for one page at most, give or take one statement's.
const MOST: i64 = 100_000;

/// How many are looked at where something was found already.
const ENOUGH: i64 = 20_000;

/// How long a page may take before it is handed out as it is.
const LONG: Duration = Duration::from_secs(3);

/// What a statement looked at.
struct Looked {
    found: Vec<LeaseRecord>,
    /// The last lease it looked at, with how many that were; None where it stopped before, or where
    /// there was none.
    last: Option<(Cursor, i64)>,
    /// Whether there may be others after that.
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
const FITS: usize = rows::LEASE + 1;

pub(super) async fn search(client: &Client, pool: i32, search: &Search) -> Result<Found, PgError> {
    let start = Instant::now();
    let from = oldest(client, pool, search).await?;
    let mut before = newest(search);
    let (mut found, mut looked_at) = (Vec::new(), 0);
    loop {
        // One more than is wanted shows whether there is more.
        let wanted = (search.limit - found.len()).saturating_add(1);
        let step = look(client, pool, search, (before, from, wanted)).await?;
        found.extend(step.found);
        if found.len() > search.limit {
            found.truncate(search.limit);
            let next = found.last().map(|record| Cursor::of(&record.lease));
            return Ok(Found { leases: found, next });
        }
        let Some((last, count)) = step.last.filter(|_| step.more) else {
            return Ok(Found { leases: found, next: None });
        };
        (before, looked_at) = (last, looked_at + count);
        let bound = if found.is_empty() { MOST } else { ENOUGH };
        if looked_at >= bound || start.elapsed() >= LONG {
            return Ok(Found { leases: found, next: Some(last) });
        }
    }
}

/// Before which place the leases are that may fit.
fn newest(search: &Search) -> Cursor {
    // Before everything that starts at `started_at`.
    let start_of = |started_at| Cursor { started_at, fence: Fence::new(i64::MIN) };
    let moment_after = |at: Timestamp| at.after(Duration::from_micros(1));
    let bounds = [search.after, search.to.map(start_of), search.at.map(moment_after).map(start_of)];
    let bounds = bounds.into_iter().flatten();
    let first = bounds.min_by_key(|place| (place.started_at, place.fence));
    first.unwrap_or(start_of(Timestamp::from_micros(i64::MAX)))
}

/// When the leases that may fit began at the earliest.
async fn oldest(client: &Client, pool: i32, search: &Search) -> Result<Timestamp, PgError> {
    let from = search.from.unwrap_or(Timestamp::MIN);
    let Some(at) = search.at else { return Ok(from) };
    let sql = client.prepare_cached(include_str!("sql/longest_lease.sql")).await?;
    let longest: i64 = client.query_one(&sql, &[&pool]).await?.try_get(0)?;
    Ok(from.max(Timestamp::from_micros(at.as_micros().saturating_sub(longest))))
}

/// Looks at some leases before a place, from a moment on, until so many that fit are found.
async fn look(
    client: &Client,
    pool: i32,
    search: &Search,
    (before, from, wanted): (Cursor, Timestamp, usize),
) -> Result<Looked, PgError> {
    let (started_at, fence) = (Moment::within_range(before.started_at), before.fence.get());
    let (from, now) = (Moment::within_range(from), Moment::within_range(search.now));
    let (reason, at) = (search.reason.map(EndReason::as_str), search.at.map(Moment::within_range));
    let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
    let (user, token) = (search.user.map(|user| user.0), search.token.map(|token| token.0));
    let mut parameters: Vec<&(dyn ToSql + Sync)> =
        vec![&pool, &started_at, &fence, &from, &now, &search.ended, &reason, &at, &wanted];
    // A user has fewer leases than a token, as a rule, and nothing else shortens the way as much.
    let sql = if user.is_some() {
        parameters.extend([&user as &(dyn ToSql + Sync), &token]);
        include_str!("sql/search_user.sql")
    } else if token.is_some() {
        parameters.push(&token);
        include_str!("sql/search_token.sql")
    } else {
        include_str!("sql/search_all.sql")
    };
    let sql = client.prepare_cached(sql).await?;
    Looked::read(&client.query(&sql, &parameters).await?)
}
