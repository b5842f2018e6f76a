//! How rows are written and read.

use std::error::Error as Cause;
use std::time::Duration;

use pool::{
    End, EndReason, Fence, IdempotencyKey, Lease, LeaseId, Policy, ServerId, Ticket, Timestamp,
    Token, TokenId, TokenValue, User, UserId, WhenFull,
};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use tokio_postgres::{Error as PgError, Row};
use uuid::Uuid;

use crate::{BatchId, LeaseRecord, Position};

/// 2000-01-01T00:00:00Z, from which PostgreSQL counts, in microseconds since 1970.
const EPOCH: i64 = 946_684_800_000_000;

/// The earliest moment that PostgreSQL can write down: 4714-11-24 BC. The latest is later than ours.
const EARLIEST: Timestamp = Timestamp::from_micros(EPOCH - 211_813_488_000_000_000);

/// A `timestamptz`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) Timestamp);

impl Moment {
    /// The moment, or the earliest that PostgreSQL can write down: for comparisons.
    pub(super) fn within_range(at: Timestamp) -> Self {
        Moment(at.max(EARLIEST))
    }
}

impl ToSql for Moment {
    /// Never fails: within a flight, what follows would be sent nevertheless. A moment too early
    /// for PostgreSQL becomes another one, which it refuses (but not its smallest number, which means
    /// minus infinity).
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Cause + Sync + Send>> {
        let micros = self.0.as_micros().saturating_sub(EPOCH).max(i64::MIN + 1);
        out.extend_from_slice(&micros.to_be_bytes());
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Moment {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Cause + Sync + Send>> {
        let micros = i64::from_be_bytes(raw.try_into()?).saturating_add(EPOCH);
        Ok(Moment(Timestamp::from_micros(micros)))
    }

    accepts!(TIMESTAMPTZ);
}

/// The moment in a column.
pub(super) fn moment(row: &Row, column: usize) -> Result<Timestamp, PgError> {
    row.try_get(column).map(|Moment(at)| at)
}

/// An end reason's word.
struct Reason(EndReason);

impl<'a> FromSql<'a> for Reason {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Cause + Sync + Send>> {
        let word = <&str>::from_sql(kind, raw)?;
        Ok(Reason(EndReason::from_word(word).ok_or("a reason this program does not know")?))
    }

    accepts!(TEXT);
}

/// Three columns: version, batch id, epoch.
pub(super) fn position(row: &Row, columns: [usize; 3]) -> Result<Position, PgError> {
    let [version, batch, epoch] = columns;
    Ok(Position {
        epoch: row.try_get(epoch)?,
        version: row.try_get(version)?,
        batch: BatchId(row.try_get(batch)?),
    })
}

/// How many columns a lease has.
pub(super) const LEASE: usize = 11;

/// The columns from `first` on: id, token, user id, user name, fence, previous fence, start, deadline it
/// was granted with (null for the deadline), deadline, end, reason. `None` where the id is null.
pub(super) fn lease_or_none(row: &Row, first: usize) -> Result<Option<Lease>, PgError> {
    let Some(id) = row.try_get::<_, Option<Uuid>>(first)? else {
        return Ok(None);
    };
    let expires_at = moment(row, first + 8)?;
    let granted_until: Option<Moment> = row.try_get(first + 7)?;
    let ended_at: Option<Moment> = row.try_get(first + 9)?;
    let reason: Option<Reason> = row.try_get(first + 10)?;
    Ok(Some(Lease {
        id: LeaseId(id),
        token_id: TokenId(row.try_get(first + 1)?),
        user: User {
            id: UserId(row.try_get(first + 2)?),
            name: row.try_get::<_, &str>(first + 3)?.into(),
        },
        fence: Fence::new(row.try_get(first + 4)?),
        previous_fence: Fence::new(row.try_get(first + 5)?),
        started_at: moment(row, first + 6)?,
        granted_until: granted_until.map_or(expires_at, |Moment(at)| at),
        expires_at,
        end: ended_at.zip(reason).map(|(Moment(at), Reason(reason))| End { at, reason }),
    }))
}

/// The leases of rows that begin with the columns of one.
pub(super) fn leases(rows: &[Row]) -> Result<Vec<Lease>, PgError> {
    rows.iter().filter_map(|row| lease_or_none(row, 0).transpose()).collect()
}

/// The columns of a lease, and then the lease for which it was evicted.
pub(super) fn record(row: &Row) -> Result<Option<LeaseRecord>, PgError> {
    let Some(lease) = lease_or_none(row, 0)? else { return Ok(None) };
    let evicted_by: Option<Uuid> = row.try_get(LEASE)?;
    Ok(Some(LeaseRecord { lease, evicted_by: evicted_by.map(LeaseId) }))
}

/// Reads the rows of `tickets.sql`; None for one that is no ticket.
pub(super) fn ticket(row: &Row) -> Result<Option<Ticket>, PgError> {
    let Ok(user) = User::new(row.try_get(6)?) else { return Ok(None) };
    let key: Option<&str> = row.try_get(7)?;
    let asked = |column| row.try_get::<_, Option<i64>>(column).map(|micros| micros.map(length));
    Ok(Some(Ticket {
        lease_id: LeaseId(row.try_get(0)?),
        number: row.try_get(1)?,
        server: ServerId(row.try_get(2)?),
        heard_at: moment(row, 3)?,
        since: moment(row, 4)?,
        until: moment(row, 5)?,
        user,
        key: key.and_then(|key| IdempotencyKey::new(key).ok()),
        asked_lease: asked(8)?,
        asked_wait: asked(9)?,
    }))
}

/// What happens while every token is held, as a word.
struct Choice(WhenFull);

impl<'a> FromSql<'a> for Choice {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Cause + Sync + Send>> {
        let word = <&str>::from_sql(kind, raw)?;
        Ok(Choice(WhenFull::from_word(word).ok_or("a policy this program does not know")?))
    }

    accepts!(TEXT);
}

/// So many microseconds.
pub(super) fn length(micros: i64) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}

/// In whole microseconds.
pub(super) fn micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

/// The columns from `first` on: length of a lease, the longest, what happens when full, shortest hold,
/// leases for each user.
pub(super) fn policy(row: &Row, first: usize) -> Result<Policy, PgError> {
    let (lease, max_lease): (i64, Option<i64>) = (row.try_get(first)?, row.try_get(first + 1)?);
    let Choice(when_full) = row.try_get(first + 2)?;
    let (min_hold, per_user): (i64, Option<i64>) =
        (row.try_get(first + 3)?, row.try_get(first + 4)?);
    Ok(Policy {
        lease: length(lease),
        max_lease: max_lease.map(length),
        when_full,
        min_hold: length(min_hold),
        max_per_user: per_user.map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
    })
}

/// A policy's columns, in the order of [`policy`].
pub(super) struct PolicyColumns {
    lease: i64,
    max_lease: Option<i64>,
    when_full: &'static str,
    min_hold: i64,
    max_per_user: Option<i64>,
}

impl PolicyColumns {
    pub(super) fn of(policy: &Policy) -> Self {
        PolicyColumns {
            lease: micros(policy.lease),
            max_lease: policy.max_lease.map(micros),
            when_full: policy.when_full.as_str(),
            min_hold: micros(policy.min_hold),
            max_per_user: policy.max_per_user.map(i64::from),
        }
    }

    /// What `update_policy.sql` takes after the pool, and `insert_pool.sql` after the size.
    pub(super) fn after<'p>(&'p self, first: &'p i32) -> [&'p (dyn ToSql + Sync); 6] {
        let PolicyColumns { lease, max_lease, when_full, min_hold, max_per_user } = self;
        [first, lease, max_lease, when_full, min_hold, max_per_user]
    }
}

/// The first three columns: id, value, time of making.
pub(super) fn token(row: &Row) -> Result<Token, PgError> {
    Ok(Token {
        id: TokenId(row.try_get(0)?),
        value: TokenValue(row.try_get(1)?),
        inserted_at: moment(row, 2)?,
    })
}
