//! Idempotency keys.

use pool::{EndReason, IdempotencyKey, Lease, Remembered, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::refusal::failed;
use super::rows;
use crate::{Error, KeysFound};

/// What is remembered of these keys.
pub(super) fn find(connection: &Connection, keys: &[IdempotencyKey]) -> Result<KeysFound, Error> {
    let failed = failed("looking for idempotency keys");
    let mut select = connection.prepare_cached(include_str!("sql/key.sql")).map_err(&failed)?;
    let mut found = KeysFound::default();
    for key in keys {
        let remembered = select.query_row((key.as_str(),), |row| {
            let lease = rows::lease(row)?;
            let (asked_lease, asked_wait) = rows::asked(row)?;
            let evicted = evicted_for(connection, &lease)?;
            Ok(Remembered { lease, evicted, asked_lease, asked_wait })
        });
        if let Some(remembered) = remembered.optional().map_err(&failed)? {
            found.remembered.insert(key.clone(), remembered);
        }
    }
    let mut count =
        connection.prepare_cached(include_str!("sql/count_keys.sql")).map_err(&failed)?;
    found.count = count.query_row((), |row| row.get(0)).map_err(&failed)?;
    Ok(found)
}

/// The lease that ended so that this one could start.
fn evicted_for(connection: &Connection, lease: &Lease) -> rusqlite::Result<Option<Lease>> {
    let mut before = connection.prepare_cached(include_str!("sql/lease_of_fence.sql"))?;
    let before = before.query_row((lease.previous_fence.get(),), rows::lease).optional()?;
    Ok(before.filter(|before| before.end.is_some_and(|end| end.reason == EndReason::Evicted)))
}

/// Deletes some of those that were used before that moment.
pub(super) fn forget(connection: &Connection, before: Timestamp) -> Result<u64, Error> {
    let forget = include_str!("sql/forget_keys.sql");
    let deleted = connection.execute(forget, (before.as_micros(),));
    deleted.map(|count| count as u64).map_err(failed("forgetting idempotency keys"))
}
