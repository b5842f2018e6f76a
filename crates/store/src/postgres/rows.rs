//! How rows are written and read.

use std::error::Error as Cause;

use pool::{
    End, EndReason, Fence, Lease, LeaseId, Timestamp, Token, TokenId, TokenValue, User, UserId,
};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use tokio_postgres::{Error as PgError, Row};
use uuid::Uuid;

use crate::{BatchId, Position};

/// 2000-01-01T00:00:00Z, from which PostgreSQL counts, in microseconds since 1970.
const EPOCH: i64 = 946_684_800_000_000;

/// A `timestamptz`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) Timestamp);

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

/// The columns from `first` on: id, user id, user name, fence, previous fence, start, deadline, end,
/// reason. `None` where the id is null.
pub(super) fn lease(row: &Row, token: TokenId, first: usize) -> Result<Option<Lease>, PgError> {
    let Some(id) = row.try_get::<_, Option<Uuid>>(first)? else {
        return Ok(None);
    };
    let ended_at: Option<Moment> = row.try_get(first + 7)?;
    let reason: Option<Reason> = row.try_get(first + 8)?;
    Ok(Some(Lease {
        id: LeaseId(id),
        token_id: token,
        user: User {
            id: UserId(row.try_get(first + 1)?),
            name: row.try_get::<_, &str>(first + 2)?.into(),
        },
        fence: Fence::new(row.try_get(first + 3)?),
        previous_fence: Fence::new(row.try_get(first + 4)?),
        started_at: moment(row, first + 5)?,
        granted_until: moment(row, first + 6)?,
        expires_at: moment(row, first + 6)?,
        end: ended_at.zip(reason).map(|(Moment(at), Reason(reason))| End { at, reason }),
    }))
}

/// The first three columns: id, value, time of making.
pub(super) fn token(row: &Row) -> Result<Token, PgError> {
    Ok(Token {
        id: TokenId(row.try_get(0)?),
        value: TokenValue(row.try_get(1)?),
        inserted_at: moment(row, 2)?,
    })
}

/// Leases column by column, as `insert_leases.sql` and `write_batch.sql` take them after the pool.
#[derive(Default)]
pub(super) struct LeaseColumns<'a> {
    ids: Vec<Uuid>,
    tokens: Vec<Uuid>,
    users: Vec<Uuid>,
    names: Vec<&'a str>,
    fences: Vec<i64>,
    previous: Vec<i64>,
    starts: Vec<Moment>,
    deadlines: Vec<Moment>,
    ends: Vec<Option<Moment>>,
    reasons: Vec<Option<&'static str>>,
}

impl<'a> LeaseColumns<'a> {
    pub(super) fn of(leases: impl IntoIterator<Item = &'a Lease>) -> Self {
        let mut columns = LeaseColumns::default();
        for lease in leases {
            columns.ids.push(lease.id.0);
            columns.tokens.push(lease.token_id.0);
            columns.users.push(lease.user.id.0);
            columns.names.push(&lease.user.name);
            columns.fences.push(lease.fence.get());
            columns.previous.push(lease.previous_fence.get());
            columns.starts.push(Moment(lease.started_at));
            columns.deadlines.push(Moment(lease.expires_at));
            columns.ends.push(lease.end.map(|end| Moment(end.at)));
            columns.reasons.push(lease.end.map(|end| end.reason.as_str()));
        }
        columns
    }

    pub(super) fn parameters<'p>(&'p self, pool: &'p i32) -> [&'p (dyn ToSql + Sync); 11] {
        [
            pool,
            &self.ids,
            &self.tokens,
            &self.users,
            &self.names,
            &self.fences,
            &self.previous,
            &self.starts,
            &self.deadlines,
            &self.ends,
            &self.reasons,
        ]
    }
}
