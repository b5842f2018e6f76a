//! How rows are written and read.

use std::time::Duration;

use pool::{
    End, EndReason, Fence, IdempotencyKey, KeyUse, Lease, LeaseId, Policy, Ticket, Timestamp,
    Token, TokenId, TokenValue, User, UserId, WhenFull,
};
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Row, Statement};
use uuid::Uuid;

use crate::journal::{decode, encode};
use crate::net::Net;
use crate::{BatchId, Entry, Position, ServerId};

/// A journal entry, ready to be written.
pub(super) struct Written {
    pub(super) position: Position,
    pub(super) server: ServerId,
    pub(super) at: Timestamp,
    pub(super) fence: Fence,
    pub(super) changes: Vec<u8>,
    pub(super) net: Net,
    pub(super) keys: Vec<KeyUse>,
}

impl From<&Entry> for Written {
    fn from(entry: &Entry) -> Self {
        let Entry { position, server, at, fence, .. } = *entry;
        let net = Net::of(&entry.changes);
        let (changes, keys) = (encode(&entry.changes), entry.keys.clone());
        Written { position, server, at, fence, changes, net, keys }
    }
}

/// Runs `insert_lease.sql`.
pub(super) fn insert_lease(insert: &mut Statement<'_>, lease: &Lease) -> rusqlite::Result<usize> {
    insert.execute((
        lease.id.0.as_bytes(),
        lease.token_id.0.as_bytes(),
        lease.user.id.0.as_bytes(),
        &*lease.user.name,
        lease.fence.get(),
        lease.previous_fence.get(),
        lease.started_at.as_micros(),
        lease.expires_at.as_micros(),
        lease.end.map(|end| end.at.as_micros()),
        lease.end.map(|end| end.reason.as_str()),
        Some(lease.granted_until)
            .filter(|until| *until != lease.expires_at)
            .map(Timestamp::as_micros),
    ))
}

/// Runs `insert_ticket.sql`.
pub(super) fn insert_ticket(
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
pub(super) fn insert_key(
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

/// What `update_policy.sql` takes, and `insert_pool.sql` after the size.
pub(super) type PolicyColumns = (i64, Option<i64>, &'static str, i64, Option<u32>);

pub(super) fn policy_columns(policy: &Policy) -> PolicyColumns {
    (
        micros(policy.lease),
        policy.max_lease.map(micros),
        policy.when_full.as_str(),
        micros(policy.min_hold),
        policy.max_per_user,
    )
}

/// Reads `pool.sql`: the size and the policy.
pub(super) fn pool(row: &Row<'_>) -> rusqlite::Result<(usize, Policy)> {
    let when_full = WhenFull::from_word(row.get_ref(3)?.as_str()?);
    let policy = Policy {
        lease: duration(row.get(1)?),
        max_lease: row.get::<_, Option<_>>(2)?.map(duration),
        when_full: when_full.ok_or_else(|| unreadable(3, Type::Text))?,
        min_hold: duration(row.get(4)?),
        max_per_user: row.get(5)?,
    };
    Ok((row.get(0)?, policy))
}

/// Reads `tickets.sql`.
pub(super) fn ticket(row: &Row<'_>) -> rusqlite::Result<Ticket> {
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

/// Reads what `key.sql` has after the lease: the length and the wait that were asked for.
pub(super) fn asked(row: &Row<'_>) -> rusqlite::Result<(Option<Duration>, Option<Duration>)> {
    let asked = |column| row.get::<_, Option<_>>(column).map(|asked| asked.map(duration));
    Ok((asked(11)?, asked(12)?))
}

/// Reads every statement that begins with the columns of a lease.
pub(super) fn lease(row: &Row<'_>) -> rusqlite::Result<Lease> {
    let reason = match row.get_ref(9)?.as_str_or_null()? {
        None => None,
        Some(word) => Some(EndReason::from_word(word).ok_or_else(|| unreadable(9, Type::Text))?),
    };
    let ended_at: Option<i64> = row.get(8)?;
    let expires_at = row.get(7)?;
    let granted_until = row.get::<_, Option<_>>(10)?.unwrap_or(expires_at);
    Ok(Lease {
        id: LeaseId(uuid(row, 0)?),
        token_id: TokenId(uuid(row, 1)?),
        user: User { id: UserId(uuid(row, 2)?), name: row.get_ref(3)?.as_str()?.into() },
        fence: Fence::new(row.get(4)?),
        previous_fence: Fence::new(row.get(5)?),
        started_at: Timestamp::from_micros(row.get(6)?),
        granted_until: Timestamp::from_micros(granted_until),
        expires_at: Timestamp::from_micros(expires_at),
        end: ended_at
            .zip(reason)
            .map(|(at, reason)| End { at: Timestamp::from_micros(at), reason }),
    })
}

/// Reads `tokens.sql`.
pub(super) fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    Ok(Token {
        id: TokenId(uuid(row, 0)?),
        value: TokenValue(uuid(row, 1)?),
        inserted_at: Timestamp::from_micros(row.get(2)?),
    })
}

/// Reads the first three columns of `newest_entry.sql` and `entries_from.sql`.
pub(super) fn position(row: &Row<'_>) -> rusqlite::Result<Position> {
    Ok(Position { epoch: row.get(0)?, version: row.get(1)?, batch: BatchId(uuid(row, 2)?) })
}

/// Reads `entries_from.sql`; `None` for one that a newer server wrote.
pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Option<Entry>> {
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
pub(super) fn uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
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
