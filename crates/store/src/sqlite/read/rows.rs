//! Conversion of rows.

use std::time::Duration;

use pool::{
    End, EndReason, Fence, IdempotencyKey, KeyUse, Lease, LeaseId, Policy, Ticket, Timestamp,
    Token, TokenId, TokenValue, User, UserId,
};
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Row, Statement};
use uuid::Uuid;

use crate::journal::{decode, encode};
use crate::net_changes::NetChanges;
use crate::policy;
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
        at.as_micros(),
    ))
}

/// The document of a policy and its longest lease, as `update_policy.sql` takes them.
pub(crate) fn policy_columns(policy: &Policy) -> (String, i64) {
    (policy::document(policy), micros(policy.max_lease()))
}

/// Reads `pool.sql`: the size and the policy.
pub(crate) fn pool(row: &Row<'_>) -> rusqlite::Result<(usize, Policy)> {
    let policy = policy::read(row.get_ref(1)?.as_str()?).map_err(|_| unreadable(1, Type::Text))?;
    Ok((row.get(0)?, policy))
}

/// Reads `tickets.sql`.
pub(crate) fn ticket(row: &Row<'_>) -> rusqlite::Result<Ticket> {
    let user = User::new(row.get_ref(6)?.as_str()?).map_err(|_| unreadable(6, Type::Text))?;
    let key = row.get_ref(7)?.as_str_or_null()?.map(IdempotencyKey::new).transpose();
    let length = |column| row.get::<_, Option<_>>(column).map(|micros| micros.map(duration));
    Ok(Ticket {
        number: row.get(0)?,
        lease_id: LeaseId(uuid(row, 1)?),
        server: ServerId(uuid(row, 2)?),
        heard_at: Timestamp::from_micros(row.get(3)?),
        since: Timestamp::from_micros(row.get(4)?),
        until: Timestamp::from_micros(row.get(5)?),
        user,
        key: key.map_err(|_| unreadable(7, Type::Text))?,
        asked_lease: length(8)?,
        asked_wait: length(9)?,
    })
}

/// Reads the columns of `key.sql` after the lease: the requested length and wait.
pub(crate) fn asked(row: &Row<'_>) -> rusqlite::Result<(Option<Duration>, Option<Duration>)> {
    let asked = |column| row.get::<_, Option<_>>(column).map(|asked| asked.map(duration));
    Ok((asked(LEASE_COLUMNS.len())?, asked(LEASE_COLUMNS.len() + 1)?))
}

/// Reads every statement that begins with the columns of a lease, [`LEASE_COLUMNS`].
pub(crate) fn lease(row: &Row<'_>) -> rusqlite::Result<Lease> {
    let mut columns = 0..;
    let mut next = || columns.next().expect("the range has no end");
    let (id, token_id, user_id) = (uuid(row, next())?, uuid(row, next())?, uuid(row, next())?);
    let name = row.get_ref(next())?.as_str()?.into();
    let (fence, previous_fence) = (row.get(next())?, row.get(next())?);
    let started_at = row.get(next())?;
    let granted_until: Option<i64> = row.get(next())?;
    let expires_at = row.get(next())?;
    let ended_at: Option<i64> = row.get(next())?;
    let at = next();
    let reason = match row.get_ref(at)?.as_str_or_null()? {
        None => None,
        Some(word) => Some(EndReason::from_word(word).ok_or_else(|| unreadable(at, Type::Text))?),
    };
    Ok(Lease {
        id: LeaseId(id),
        token_id: TokenId(token_id),
        user: User { id: UserId(user_id), name },
        fence: Fence::new(fence),
        previous_fence: Fence::new(previous_fence),
        started_at: Timestamp::from_micros(started_at),
        granted_until: Timestamp::from_micros(granted_until.unwrap_or(expires_at)),
        expires_at: Timestamp::from_micros(expires_at),
        end: ended_at
            .zip(reason)
            .map(|(at, reason)| End { at: Timestamp::from_micros(at), reason }),
    })
}

/// Reads `tokens.sql`.
pub(crate) fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    Ok(Token {
        id: TokenId(uuid(row, 0)?),
        value: TokenValue(uuid(row, 1)?),
        inserted_at: Timestamp::from_micros(row.get(2)?),
    })
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

fn micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

fn duration(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

fn unreadable(column: usize, kind: Type) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(FromSqlError::InvalidType))
}
