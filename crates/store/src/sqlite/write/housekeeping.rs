//! Deletion of old leases.

use pool::{Fence, Timestamp};
use rusqlite::Connection;

use crate::sqlite::disk::failure::{failed, failed_commit};
use crate::sqlite::write::store::begin;
use crate::{Error, Swept};

/// Number of leases examined in one step: about five milliseconds, during which writers wait.
const STEP: u64 = 200;

/// Examines some leases above `after`, and deletes those that ended before that moment, unless a
/// token or an idempotency key refers to them.
pub(crate) fn forget(
    connection: &mut Connection,
    before: Timestamp,
    after: Fence,
) -> Result<Swept, Error> {
    let failed = failed("deleting old leases");
    let transaction = begin(connection)?;
    let those = (before.as_micros(), after.get(), STEP);
    let forgettable = sql!("leases/forgettable");
    let (count, newest) = transaction
        .query_row(forgettable, those, |row| Ok((row.get::<_, u64>(0)?, row.get(1)?)))
        .map_err(&failed)?;
    if count == 0 {
        return Ok(Swept { deleted: 0, up_to: None });
    }
    let deleted: Vec<i64> = {
        let forget = sql!("leases/forget_leases");
        let mut forget = transaction.prepare_cached(forget).map_err(&failed)?;
        let fences = forget.query_map(those, |row| row.get(0));
        fences.and_then(Iterator::collect).map_err(&failed)?
    };
    if let Some(newest) = deleted.iter().max() {
        let update = sql!("pools/update_forgotten");
        transaction.execute(update, (newest,)).map_err(&failed)?;
        transaction.commit().map_err(failed_commit)?;
    }
    Ok(Swept { deleted: deleted.len() as u64, up_to: (count == STEP).then(|| Fence::new(newest)) })
}
