//! Conversion of rows.

use std::time::Duration;

use pool::{
    ApiKeyId, End, EndReason, Fence, IdempotencyKey, KeyUse, Lease, LeaseId, Note, Policy, PoolId,
    PoolName, PoolRecord, Remembered, Ticket, Timestamp, Token, TokenId, TokenName, TokenValue,
    User, UserId,
};
use rusqlite::types::{FromSqlError, Type, ValueRef};
use rusqlite::{Row, Statement};
use uuid::Uuid;

use crate::document::{self, TokenDocuments};
use crate::journal::{decode, encode};
use crate::net_changes::NetChanges;
use crate::sqlite::columns::LEASE_COLUMNS;
use crate::{BatchId, Entry, Position, ServerId};

/// A journal entry, ready to be written.
pub(crate) struct Written {
    pub(crate) position: Position,
    pub(crate) server: ServerId,
    pub(crate) at: Timestamp,
    pub(crate) fence: Fence,
    pub(crate) changes: Vec<u8>,
    pub(crate) net: NetChanges,
    pub(crate) keys: Vec<KeyUse>,
}

impl From<&Entry> for Written {
    fn from(entry: &Entry) -> Self {
        let Entry { position, server, at, fence, .. } = *entry;
        let net = NetChanges::of(&entry.changes);
        let (changes, keys) = (encode(&entry.changes), entry.keys.clone());
        Written { position, server, at, fence, changes, net, keys }
    }
}

/// Runs `insert_lease.sql`.
pub(crate) fn insert_lease(insert: &mut Statement<'_>, lease: &Lease) -> rusqlite::Result<usize> {
    insert.execute((
        lease.id.0.as_bytes(),
        lease.pool.0,
        lease.token_id.0.as_bytes(),
        lease.user.id.0.as_bytes(),
        &*lease.user.name,
        lease.fence.get(),
        lease.previous_fence.get(),
        lease.started_at.as_micros(),
        Some(lease.granted_until)
            .filter(|until| *until != lease.expires_at)
            .map(Timestamp::as_micros),
        lease.expires_at.as_micros(),
        lease.end.map(|end| end.at.as_micros()),
        lease.end.map(|end| end.reason.as_str()),
        lease.note.as_ref().map(Note::as_str),
        lease.by.as_ref().map(ApiKeyId::as_str),
        lease.end.as_ref().and_then(|end| end.by.as_ref()).map(ApiKeyId::as_str),
    ))
}

/// Runs `insert_ticket.sql`.
pub(crate) fn insert_ticket(
    insert: &mut Statement<'_>,
    ticket: &Ticket,
) -> rusqlite::Result<usize> {
    insert.execute((
        ticket.number,
        ticket.lease_id.0.as_bytes(),
        ticket.server.0.as_bytes(),
        ticket.heard_at.as_micros(),
        ticket.since.as_micros(),
        ticket.until.as_micros(),
        &*ticket.user.name,
        ticket.key.as_ref().map(IdempotencyKey::as_str),
        ticket.asked_lease.map(micros),
        ticket.asked_wait.map(micros),
        ticket.pool.0,
        ticket.token.as_ref().map(|token| token.0.as_bytes()),
        ticket.note.as_ref().map(Note::as_str),
    ))
}

/// Runs `insert_key.sql`.
pub(crate) fn insert_key(
    insert: &mut Statement<'_>,
    used: &KeyUse,
    at: Timestamp,
) -> rusqlite::Result<usize> {
    insert.execute((
        used.key.user.0.as_bytes(),
        used.key.key.as_str(),
        used.lease_id.0.as_bytes(),
        used.asked_lease.map(micros),
        used.asked_wait.map(micros),
        used.asked_token,
        at.as_micros(),
    ))
}

/// Runs `insert_token.sql`.
pub(crate) fn insert_token(insert: &mut Statement<'_>, token: &Token) -> rusqlite::Result<usize> {
    insert.execute((
        token.id.0.as_bytes(),
        token.pool.0,
        token.position,
        token.name.as_str(),
        token.value.as_str(),
        document::of(&token.labels),
        document::of(&token.taints),
        token.inserted_at.as_micros(),
        token.retired_at.map(Timestamp::as_micros),
    ))
}

/// Reads `pool.sql`: the size and the policy.
pub(crate) fn pool(row: &Row<'_>) -> rusqlite::Result<(usize, Policy)> {
    Ok((row.get(0)?, policy(row, 1)?))
}

fn policy(row: &Row<'_>, column: usize) -> rusqlite::Result<Policy> {
    text(row, column, document::policy)
}

/// Reads `pools.sql`: a pool, and the number of positions that it has given.
pub(crate) fn record(row: &Row<'_>) -> rusqlite::Result<(PoolRecord, u32)> {
    let record = PoolRecord {
        id: PoolId(row.get(0)?),
        name: text(row, 1, PoolName::new)?,
        description: text(row, 2, Note::new)?,
        policy: policy(row, 3)?,
        created_at: Timestamp::from_micros(row.get(4)?),
    };
    Ok((record, row.get(5)?))
}

/// Reads a text.
pub(crate) fn text<T, E>(
    row: &Row<'_>,
    column: usize,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> rusqlite::Result<T> {
    read(row.get_ref(column)?.as_str()?).map_err(|_| unreadable(column, Type::Text))
}

/// Reads a text that may be missing.
pub(crate) fn text_or_null<T, E>(
    row: &Row<'_>,
    column: usize,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> rusqlite::Result<Option<T>> {
    let text = row.get_ref(column)?.as_str_or_null()?;
    text.map(read).transpose().map_err(|_| unreadable(column, Type::Text))
}

/// Reads `tickets.sql`.
pub(crate) fn ticket(row: &Row<'_>) -> rusqlite::Result<Ticket> {
    let token: Option<[u8; 16]> = row.get(11)?;
    let length = |column| row.get::<_, Option<_>>(column).map(|micros| micros.map(duration));
    Ok(Ticket {
        number: row.get(0)?,
        lease_id: LeaseId(uuid(row, 1)?),
        server: ServerId(uuid(row, 2)?),
        heard_at: Timestamp::from_micros(row.get(3)?),
        since: Timestamp::from_micros(row.get(4)?),
        until: Timestamp::from_micros(row.get(5)?),
        user: text(row, 6, User::new)?,
        key: text_or_null(row, 7, IdempotencyKey::new)?,
        asked_lease: length(8)?,
        asked_wait: length(9)?,
        pool: PoolId(row.get(10)?),
        token: token.map(|id| TokenId(Uuid::from_bytes(id))),
        note: text_or_null(row, 12, Note::new)?,
    })
}

/// Reads `key.sql`, without the lease that was evicted.
pub(crate) fn remembered(row: &Row<'_>) -> rusqlite::Result<Remembered> {
    const AFTER: usize = LEASE_COLUMNS.len();
    let asked = |column| row.get::<_, Option<_>>(column).map(|asked| asked.map(duration));
    Ok(Remembered {
        lease: lease(row)?,
        value: text(row, AFTER + 3, TokenValue::new)?,
        evicted: None,
        asked_lease: asked(AFTER)?,
        asked_wait: asked(AFTER + 1)?,
        asked_token: row.get(AFTER + 2)?,
    })
}

/// Reads `pool_name.sql`.
pub(crate) fn pool_name(row: &Row<'_>) -> rusqlite::Result<PoolName> {
    text(row, 0, PoolName::new)
}

/// Reads `token_name.sql`.
pub(crate) fn token_name(row: &Row<'_>) -> rusqlite::Result<(PoolId, TokenName)> {
    Ok((PoolId(row.get(0)?), text(row, 1, TokenName::new)?))
}

/// Reads `names.sql`: the names of a pool and a token.
pub(crate) fn names(row: &Row<'_>) -> rusqlite::Result<(PoolName, TokenName)> {
    Ok((text(row, 0, PoolName::new)?, text(row, 1, TokenName::new)?))
}

/// Reads every statement that begins with the columns of a lease, [`LEASE_COLUMNS`].
pub(crate) fn lease(row: &Row<'_>) -> rusqlite::Result<Lease> {
    lease_at(row, 0)
}

/// Reads [`LEASE_COLUMNS`] from column `first` on.
fn lease_at(row: &Row<'_>, first: usize) -> rusqlite::Result<Lease> {
    let mut columns = first..;
    let mut next = || columns.next().expect("the range has no end");
    let (id, pool) = (uuid(row, next())?, PoolId(row.get(next())?));
    let (token_id, user_id) = (uuid(row, next())?, uuid(row, next())?);
    let name = row.get_ref(next())?.as_str()?.into();
    let (fence, previous_fence) = (row.get(next())?, row.get(next())?);
    let started_at = row.get(next())?;
    let granted_until: Option<i64> = row.get(next())?;
    let expires_at = row.get(next())?;
    let ended_at: Option<i64> = row.get(next())?;
    let reason = text_or_null(row, next(), |word| EndReason::from_word(word).ok_or(()))?;
    let note = text_or_null(row, next(), Note::new)?;
    let by = text_or_null(row, next(), ApiKeyId::new)?;
    let ended_by = text_or_null(row, next(), ApiKeyId::new)?;
    let end = ended_at.zip(reason).map(|(at, reason)| End {
        at: Timestamp::from_micros(at),
        reason,
        by: ended_by,
    });
    Ok(Lease {
        id: LeaseId(id),
        pool,
        token_id: TokenId(token_id),
        user: User { id: UserId(user_id), name },
        fence: Fence::new(fence),
        previous_fence: Fence::new(previous_fence),
        started_at: Timestamp::from_micros(started_at),
        granted_until: Timestamp::from_micros(granted_until.unwrap_or(expires_at)),
        expires_at: Timestamp::from_micros(expires_at),
        end,
        note,
        by,
    })
}

/// Reads `tokens.sql`: a token and its latest lease.
pub(crate) fn token(
    row: &Row<'_>,
    documents: &mut TokenDocuments,
) -> rusqlite::Result<(Token, Option<Lease>)> {
    const LEASE: usize = 9;
    let lease = match row.get_ref(LEASE)? {
        ValueRef::Null => None,
        _ => Some(lease_at(row, LEASE)?),
    };
    let token = Token {
        id: TokenId(uuid(row, 0)?),
        pool: PoolId(row.get(1)?),
        position: row.get(2)?,
        name: text(row, 3, TokenName::new)?,
        value: text(row, 4, TokenValue::new)?,
        labels: text(row, 5, |text| documents.labels.read(text))?,
        taints: text(row, 6, |text| documents.taints.read(text))?,
        inserted_at: Timestamp::from_micros(row.get(7)?),
        retired_at: row.get::<_, Option<_>>(8)?.map(Timestamp::from_micros),
    };
    Ok((token, lease))
}

/// Reads the first three columns of `newest_entry.sql` and `entries_from.sql`.
pub(crate) fn position(row: &Row<'_>) -> rusqlite::Result<Position> {
    Ok(Position { epoch: row.get(0)?, version: row.get(1)?, batch: BatchId(uuid(row, 2)?) })
}

/// Reads `entries_from.sql`; `None` for one that a newer server wrote.
pub(crate) fn entry(row: &Row<'_>) -> rusqlite::Result<Option<Entry>> {
    let Some(changes) = decode(row.get_ref(6)?.as_blob()?) else {
        return Ok(None);
    };
    Ok(Some(Entry {
        position: position(row)?,
        server: ServerId(uuid(row, 3)?),
        at: Timestamp::from_micros(row.get(4)?),
        fence: Fence::new(row.get(5)?),
        changes,
        keys: Vec::new(),
    }))
}

/// The id in a column.
pub(crate) fn uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    row.get(column).map(Uuid::from_bytes)
}

pub(crate) fn micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

fn duration(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

fn unreadable(column: usize, kind: Type) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(FromSqlError::InvalidType))
}
