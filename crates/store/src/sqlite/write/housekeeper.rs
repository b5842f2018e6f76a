//! Deletes old rows in small steps between batches, on the thread that writes.

use std::sync::Arc;

use async_trait::async_trait;
use pool::{ApiKeyId, Fence, Timestamp};
use rusqlite::Connection;

use crate::sqlite::disk::failure::{failed, failed_commit};
use crate::sqlite::write::store::begin;
use crate::sqlite::write::writer::{Writer, Writing};
use crate::sqlite::write::{access, keys};
use crate::{Error, Housekeeper, Swept};

/// Number of leases examined in one step: about a millisecond, during which batches wait.
const STEP: u64 = 25;

/// Deletes old rows of a ledger in SQLite.
pub(crate) struct SqliteHousekeeper(pub(crate) Arc<Writer>);

impl SqliteHousekeeper {
    async fn run<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.0.run(move |writing| writing.without_sync(step)).await
    }
}

#[async_trait]
impl Housekeeper for SqliteHousekeeper {
    async fn prune(&mut self, before: Timestamp, keep: i64) -> Result<u64, Error> {
        self.run(move |connection| {
            let deleted = connection.execute(sql!("journal/prune"), (before.as_micros(), keep));
            deleted.map(|count| count as u64).map_err(failed("deleting old journal entries"))
        })
        .await
    }

    async fn forget_keys(&mut self, before: Timestamp) -> Result<u64, Error> {
        self.run(move |connection| keys::forget(connection, before)).await
    }

    async fn forget_keys_early(&mut self, before: Timestamp) -> Result<u64, Error> {
        self.run(move |connection| keys::forget_early(connection, before)).await
    }

    async fn key_count(&mut self) -> Result<u64, Error> {
        let count = |writing: &mut Writing| keys::usage(writing.connection()?, 0);
        self.0.run(count).await.map(|usage| usage.count)
    }

    async fn forget_acts(&mut self, keep: i64) -> Result<u64, Error> {
        self.run(move |connection| {
            let deleted = connection.execute(sql!("access/forget_acts"), (keep,));
            let failed = failed("deleting old entries of the audit log");
            deleted.map(|count| count as u64).map_err(failed)
        })
        .await
    }

    async fn forget_sessions(&mut self, now: Timestamp) -> Result<u64, Error> {
        self.run(move |connection| {
            let deleted = connection.execute(sql!("access/forget_sessions"), (now.as_micros(),));
            deleted.map(|count| count as u64).map_err(failed("deleting sessions"))
        })
        .await
    }

    async fn note_key_uses(&mut self, uses: &[(ApiKeyId, Timestamp)]) -> Result<(), Error> {
        let uses = uses.to_vec();
        self.run(move |connection| {
            let transaction = begin(connection)?;
            access::note_uses(&transaction, &uses)?;
            transaction.commit().map_err(failed_commit)
        })
        .await
    }

    async fn forget_leases(&mut self, before: Timestamp, after: Fence) -> Result<Swept, Error> {
        self.run(move |connection| forget(connection, before, after)).await
    }
}

/// Examines some leases above `after`, and deletes those that ended before that moment, unless a
/// token or an idempotency key refers to them.
fn forget(connection: &mut Connection, before: Timestamp, after: Fence) -> Result<Swept, Error> {
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
        let update = sql!("ledger/update_forgotten");
        transaction.execute(update, (newest,)).map_err(&failed)?;
        transaction.commit().map_err(failed_commit)?;
    }
    Ok(Swept { deleted: deleted.len() as u64, up_to: (count == STEP).then(|| Fence::new(newest)) })
}
