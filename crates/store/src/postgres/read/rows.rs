//! Conversion of rows.

use std::error::Error as Cause;
use std::time::Duration;

use pool::{
    Action, ApiKeyId, End, EndReason, Fence, IdempotencyKey, KeyName, Labels, Lease, LeaseId, Note,
    Patterns, Policy, PoolId, PoolName, PoolRecord, Rights, Secrets, ServerId, SessionKind, Taints,
    Ticket, Timestamp, Token, TokenId, TokenName, TokenValue, User, UserId,
};
use serde::de::DeserializeOwned;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use tokio_postgres::{Error as PgError, Row};
use uuid::Uuid;

use crate::document::{SharedReader, TokenDocuments};
use crate::postgres::columns::LEASE_COLUMNS;
use crate::{BatchId, LeaseRecord, Position, api_key, document};

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
    let pool = PoolId(row.try_get(next())?);
    let (token_id, user_id) = (row.try_get(next())?, row.try_get(next())?);
    let name = row.try_get::<_, &str>(next())?.into();
    let (fence, previous_fence) = (row.try_get(next())?, row.try_get(next())?);
    let started_at = moment(row, next())?;
    let granted_until: Option<Moment> = row.try_get(next())?;
    let expires_at = moment(row, next())?;
    let ended_at: Option<Moment> = row.try_get(next())?;
    let reason: Option<Reason> = row.try_get(next())?;
    let note: Option<Read<Note>> = row.try_get(next())?;
    let by: Option<Read<ApiKeyId>> = row.try_get(next())?;
    let ended_by: Option<Read<ApiKeyId>> = row.try_get(next())?;
    let end = ended_at.zip(reason).map(|(Moment(at), Reason(reason))| End {
        at,
        reason,
        by: ended_by.map(|Read(by)| by),
    });
    Ok(Some(Lease {
        id: LeaseId(id),
        pool,
        token_id: TokenId(token_id),
        user: User { id: UserId(user_id), name },
        fence: Fence::new(fence),
        previous_fence: Fence::new(previous_fence),
        started_at,
        granted_until: granted_until.map_or(expires_at, |Moment(at)| at),
        expires_at,
        end,
        note: note.map(|Read(note)| note),
        by: by.map(|Read(by)| by),
    }))
}

/// The leases of rows that begin with the columns of one.
pub(crate) fn leases(rows: &[Row]) -> Result<Vec<Lease>, PgError> {
    rows.iter().filter_map(|row| lease_or_none(row, 0).transpose()).collect()
}

/// Number of columns of the fragment `record`.
pub(crate) const RECORD: usize = LEASE + 3;

/// The columns of the fragment `record`: a lease, the lease for which it was evicted, and the names of
/// its pool and token.
pub(crate) fn record(row: &Row) -> Result<Option<LeaseRecord>, PgError> {
    let Some(lease) = lease_or_none(row, 0)? else { return Ok(None) };
    let evicted_by: Option<Uuid> = row.try_get(LEASE)?;
    let (Read(pool_name), Read(token_name)) = (row.try_get(LEASE + 1)?, row.try_get(LEASE + 2)?);
    Ok(Some(LeaseRecord { lease, evicted_by: evicted_by.map(LeaseId), pool_name, token_name }))
}

/// Reads a row of `pool_names.sql`.
pub(crate) fn pool_name(row: &Row) -> Result<(PoolId, PoolName), PgError> {
    let Read(name) = row.try_get(1)?;
    Ok((PoolId(row.try_get(0)?), name))
}

/// Reads a row of `token_names.sql`.
pub(crate) fn token_name(row: &Row) -> Result<(TokenId, PoolId, TokenName), PgError> {
    let Read(name) = row.try_get(2)?;
    Ok((TokenId(row.try_get(0)?), PoolId(row.try_get(1)?), name))
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
        pool: PoolId(row.try_get(10)?),
        token: row.try_get::<_, Option<Uuid>>(11)?.map(TokenId),
        note: row.try_get::<_, Option<Read<Note>>>(12)?.map(|Read(note)| note),
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

const UNKNOWN_WORD: &str = "a word this program does not know";

/// A text that passes the check of its type.
pub(crate) struct Read<T>(pub(crate) T);

/// Declares how a type is read from a text.
macro_rules! read_texts {
    ($($name:ty: $read:expr;)+) => {$(
        impl<'a> FromSql<'a> for Read<$name> {
            fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Cause + Sync + Send>> {
                Ok(Read($read(<&str>::from_sql(kind, raw)?)?))
            }

            accepts!(TEXT);
        }
    )+};
}

read_texts! {
    Action: |word| Action::from_word(word).ok_or(UNKNOWN_WORD);
    ApiKeyId: ApiKeyId::new;
    Secrets: api_key::secrets;
    KeyName: KeyName::new;
    Labels: document::read;
    Note: Note::new;
    Patterns: document::read;
    Policy: document::policy;
    PoolName: PoolName::new;
    Rights: |word| Rights::from_word(word).ok_or(UNKNOWN_WORD);
    SessionKind: |word| SessionKind::from_word(word).ok_or(UNKNOWN_WORD);
    Taints: document::read;
    TokenName: TokenName::new;
    TokenValue: TokenValue::new;
}

/// Reads `pool.sql`: size and policy of the pool `default`.
pub(crate) fn pool(row: &Row) -> Result<(usize, Policy), PgError> {
    let (size, Read(policy)): (i64, _) = (row.try_get(0)?, row.try_get(1)?);
    Ok((usize::try_from(size).unwrap_or(usize::MAX), policy))
}

/// Reads `pools.sql`: a pool, and the number of positions that it has given.
pub(crate) fn pool_record(row: &Row) -> Result<(PoolRecord, u32), PgError> {
    let (Read(name), Read(description)) = (row.try_get(1)?, row.try_get(2)?);
    let Read(policy) = row.try_get(3)?;
    let (id, created_at) = (PoolId(row.try_get(0)?), moment(row, 4)?);
    Ok((PoolRecord { id, name, description, policy, created_at }, place(row, 5)?))
}

/// A position of a token, or their number.
fn place(row: &Row, column: usize) -> Result<u32, PgError> {
    // The rules give none that is larger.
    row.try_get::<_, i64>(column).map(|place| u32::try_from(place).unwrap_or(u32::MAX))
}

/// Reads a document that other rows have, too.
pub(crate) fn shared<T: DeserializeOwned + Clone>(
    row: &Row,
    column: usize,
    reader: &mut SharedReader<T>,
) -> Result<T, PgError>
where
    Read<T>: for<'a> FromSql<'a>,
{
    match reader.read(row.try_get(column)?) {
        Ok(value) => Ok(value),
        // Reads it again, for the error of this library.
        Err(_) => row.try_get(column).map(|Read(value)| value),
    }
}

/// Number of columns of a token.
pub(crate) const TOKEN: usize = 9;

/// The columns of a token, the first of `latest_leases.sql`.
pub(crate) fn token(row: &Row, documents: &mut TokenDocuments) -> Result<Token, PgError> {
    let (Read(name), Read(value)) = (row.try_get(3)?, row.try_get(4)?);
    let labels = shared(row, 5, &mut documents.labels)?;
    let taints = shared(row, 6, &mut documents.taints)?;
    Ok(Token {
        id: TokenId(row.try_get(0)?),
        pool: PoolId(row.try_get(1)?),
        position: place(row, 2)?,
        name,
        value,
        labels,
        taints,
        inserted_at: moment(row, 7)?,
        retired_at: row.try_get::<_, Option<Moment>>(8)?.map(|Moment(at)| at),
    })
}
