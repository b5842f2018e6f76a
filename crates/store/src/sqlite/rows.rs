//! How rows are written and read.

use pool::{
    Change, End, EndReason, Fence, Lease, LeaseId, Policy, Timestamp, Token, TokenId, TokenValue,
    User, UserId,
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
    pub(super) policy: Option<Policy>,
}

impl From<&Entry> for Written {
    fn from(entry: &Entry) -> Self {
        let policy = entry.changes.iter().rev().find_map(|change| match change {
            Change::PolicyChanged(policy) => Some(*policy),
            _ => None,
        });
        let Entry { position, server, at, fence, .. } = *entry;
        let net = Net::of(&entry.changes);
        Written { position, server, at, fence, changes: encode(&entry.changes), net, policy }
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
    ))
}

/// Reads `history.sql` and `latest_leases.sql`.
pub(super) fn lease(row: &Row<'_>) -> rusqlite::Result<Lease> {
    let reason = match row.get_ref(9)?.as_str_or_null()? {
        None => None,
        Some(word) => Some(EndReason::from_word(word).ok_or_else(|| unreadable(9, Type::Text))?),
    };
    let ended_at: Option<i64> = row.get(8)?;
    Ok(Lease {
        id: LeaseId(uuid(row, 0)?),
        token_id: TokenId(uuid(row, 1)?),
        user: User { id: UserId(uuid(row, 2)?), name: row.get_ref(3)?.as_str()?.into() },
        fence: Fence::new(row.get(4)?),
        previous_fence: Fence::new(row.get(5)?),
        started_at: Timestamp::from_micros(row.get(6)?),
        granted_until: Timestamp::from_micros(row.get(7)?),
        expires_at: Timestamp::from_micros(row.get(7)?),
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

fn uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    row.get(column).map(Uuid::from_bytes)
}

fn unreadable(column: usize, kind: Type) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(FromSqlError::InvalidType))
}
