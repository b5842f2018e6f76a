//! Conversion of rows.

use std::error::Error as Cause;
use std::time::Duration;

use pool::{
    End, EndReason, Fence, IdempotencyKey, Lease, LeaseId, Policy, ServerId, Ticket, Timestamp,
    Token, TokenId, TokenValue, User, UserId,
};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use tokio_postgres::{Error as PgError, Row};
use uuid::Uuid;

use crate::postgres::columns::LEASE_COLUMNS;
use crate::{BatchId, LeaseRecord, Position, policy};

/// 2000-01-01T00:00:00Z, from which PostgreSQL counts, in microseconds since 1970.
const EPOCH: i64 = 946_684_800_000_000;

/// The earliest moment that PostgreSQL can store: 4714-11-24 BC. Its latest is later than ours.
const EARLIEST: Timestamp = Timestamp::from_micros(EPOCH - 211_813_488_000_000_000);

/// A `timestamptz`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl Moment {
    /// The moment, or the earliest that PostgreSQL can store: for comparisons.
    pub(crate) fn within_range(at: Timestamp) -> Self {
        Moment(at.max(EARLIEST))
    }
}

impl ToSql for Moment {
    /// Never fails: within a flight, the following statements would be sent nevertheless. A moment
    /// too early for PostgreSQL becomes another one, which it refuses (but not its smallest number,
    /// which means minus infinity).
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
pub(crate) fn moment(row: &Row, column: usize) -> Result<Timestamp, PgError> {
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
pub(crate) fn position(row: &Row, columns: [usize; 3]) -> Result<Position, PgError> {
    let [version, batch, epoch] = columns;
    Ok(Position {
        epoch: row.try_get(epoch)?,
        version: row.try_get(version)?,
        batch: BatchId(row.try_get(batch)?),
    })
}

/// Number of columns of a lease.
pub(crate) const LEASE: usize = LEASE_COLUMNS.len();

/// Reads [`LEASE_COLUMNS`] from column `first` on. `None` if the id is null.
pub(crate) fn lease_or_none(row: &Row, first: usize) -> Result<Option<Lease>, PgError> {
    let mut columns = first..;
    let mut next = || columns.next().expect("the range has no end");
    let Some(id) = row.try_get::<_, Option<Uuid>>(next())? else {
        return Ok(None);
    };
    let (token_id, user_id) = (row.try_get(next())?, row.try_get(next())?);
    let name = row.try_get::<_, &str>(next())?.into();
    let (fence, previous_fence) = (row.try_get(next())?, row.try_get(next())?);
    let started_at = moment(row, next())?;
    let granted_until: Option<Moment> = row.try_get(next())?;
    let expires_at = moment(row, next())?;
    let ended_at: Option<Moment> = row.try_get(next())?;
    let reason: Option<Reason> = row.try_get(next())?;
    Ok(Some(Lease {
        id: LeaseId(id),
        token_id: TokenId(token_id),
        user: User { id: UserId(user_id), name },
        fence: Fence::new(fence),
        previous_fence: Fence::new(previous_fence),
        started_at,
        granted_until: granted_until.map_or(expires_at, |Moment(at)| at),
        expires_at,
        end: ended_at.zip(reason).map(|(Moment(at), Reason(reason))| End { at, reason }),
    }))
}

/// The leases of rows that begin with the columns of one.
pub(crate) fn leases(rows: &[Row]) -> Result<Vec<Lease>, PgError> {
    rows.iter().filter_map(|row| lease_or_none(row, 0).transpose()).collect()
}

/// The columns of a lease, and then the lease for which it was evicted.
pub(crate) fn record(row: &Row) -> Result<Option<LeaseRecord>, PgError> {
    let Some(lease) = lease_or_none(row, 0)? else { return Ok(None) };
    let evicted_by: Option<Uuid> = row.try_get(LEASE)?;
    Ok(Some(LeaseRecord { lease, evicted_by: evicted_by.map(LeaseId) }))
}

/// Reads the rows of `tickets.sql`; `None` for an invalid row.
pub(crate) fn ticket(row: &Row) -> Result<Option<Ticket>, PgError> {
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

/// A duration in microseconds.
pub(crate) fn length(micros: i64) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}

/// In whole microseconds.
pub(crate) fn micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

/// A policy document.
struct Document(Policy);

impl<'a> FromSql<'a> for Document {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Cause + Sync + Send>> {
        Ok(Document(policy::read(<&str>::from_sql(kind, raw)?)?))
    }

    accepts!(TEXT);
}

/// The policy in a column.
pub(crate) fn policy(row: &Row, column: usize) -> Result<Policy, PgError> {
    row.try_get(column).map(|Document(policy)| policy)
}

/// The first three columns: id, value, time of making.
pub(crate) fn token(row: &Row) -> Result<Token, PgError> {
    Ok(Token {
        id: TokenId(row.try_get(0)?),
        value: TokenValue(row.try_get(1)?),
        inserted_at: moment(row, 2)?,
    })
}
