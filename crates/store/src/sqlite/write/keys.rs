//! Idempotency keys.

use pool::{EndReason, Lease, Remembered, Timestamp, UserId, UserKey};
use rusqlite::{Connection, OptionalExtension};

use crate::key_sample::sampled;
use crate::sqlite::disk::failure::{failed, failed_commit};
use crate::sqlite::read::rows;
use crate::sqlite::write::store::begin;
use crate::{Error, KeyUsage, KeysFound};

/// Looks up these keys.
pub(crate) fn find(connection: &Connection, keys: &[UserKey]) -> Result<KeysFound, Error> {
    let failed = failed("looking for idempotency keys");
    let mut select = connection.prepare_cached(sql!("keys/key")).map_err(&failed)?;
    let mut found = KeysFound::default();
    for key in keys {
        let remembered = select.query_row((key.key.as_str(), key.user.0.as_bytes()), |row| {
            let remembered = rows::remembered(row)?;
            let evicted = evicted_for(connection, &remembered.lease)?;
            Ok(Remembered { evicted, ..remembered })
        });
        if let Some(remembered) = remembered.optional().map_err(&failed)? {
            found.remembered.insert(key.clone(), remembered);
        }
    }
    let mut count = connection.prepare_cached(sql!("keys/count_keys")).map_err(&failed)?;
    found.count = count.query_row((), |row| row.get(0)).map_err(&failed)?;
    Ok(found)
}

/// The lease that ended so that this one could start.
fn evicted_for(connection: &Connection, lease: &Lease) -> rusqlite::Result<Option<Lease>> {
    let mut before = connection.prepare_cached(sql!("leases/lease_of_fence"))?;
    let before = before.query_row((lease.previous_fence.get(),), rows::lease).optional()?;
    Ok(before.filter(|before| before.end.is_some_and(|end| end.reason == EndReason::Evicted)))
}

/// Deletes some of the keys that were used before that moment.
pub(crate) fn forget(connection: &Connection, before: Timestamp) -> Result<u64, Error> {
    let forget = sql!("keys/forget_keys");
    let deleted = connection.execute(forget, (before.as_micros(),));
    deleted.map(|count| count as u64).map_err(failed("forgetting idempotency keys"))
}

/// Deletes some that were used before that moment and whose leases ended before it. The others become
/// the newest.
pub(crate) fn forget_early(connection: &mut Connection, before: Timestamp) -> Result<u64, Error> {
    let failed = failed("forgetting idempotency keys early");
    let transaction = begin(connection)?;
    let oldest: Vec<(i64, bool, bool)> = {
        let oldest = sql!("keys/oldest_keys");
        let mut oldest = transaction.prepare_cached(oldest).map_err(&failed)?;
        let rows = oldest
            .query_map((before.as_micros(),), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        rows.and_then(Iterator::collect).map_err(&failed)?
    };
    let mut deleted = 0;
    let (delete, spare) = (sql!("keys/delete_key"), sql!("keys/move_key"));
    // Up to the first younger key: numbers stay dense.
    for (number, _, over) in oldest.into_iter().take_while(|(_, old, _)| *old) {
        let change = if over { delete } else { spare };
        let mut change = transaction.prepare_cached(change).map_err(&failed)?;
        change.execute((number,)).map_err(&failed)?;
        deleted += u64::from(over);
    }
    transaction.commit().map_err(failed_commit)?;
    Ok(deleted)
}

pub(crate) fn usage(connection: &Connection, sample: u64) -> Result<KeyUsage, Error> {
    let failed = failed("counting idempotency keys");
    let ends = sql!("keys/key_ends");
    let mut ends = connection.prepare_cached(ends).map_err(&failed)?;
    let ends = ends.query_map((), |row| {
        let moment = |column| row.get(column).map(Timestamp::from_micros);
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(3)?, (moment(1)?, moment(2)?)))
    });
    let ends: Vec<_> = ends.and_then(Iterator::collect).map_err(&failed)?;
    let Some(&(first, last, _)) = ends.first() else { return Ok(KeyUsage::default()) };
    let oldest = ends.into_iter().map(|(.., moments)| moments).collect();
    let mut user = connection.prepare_cached(sql!("keys/key_user")).map_err(&failed)?;
    let mut users = Vec::new();
    for number in sampled(first, last, sample) {
        let found = user.query_row((number,), |row| rows::uuid(row, 0)).optional();
        users.extend(found.map_err(&failed)?.map(UserId));
    }
    Ok(KeyUsage { count: last.abs_diff(first) + 1, oldest, sample: users })
}
