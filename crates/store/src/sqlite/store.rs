use std::sync::Arc;

use async_trait::async_trait;
use pool::{Fence, IdempotencyKey, Timestamp};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::refusal::{failed, failed_commit};
use super::rows::{self, Written};
use super::snapshot;
use super::writer::{Writer, Writing};
use crate::{Begun, Clock, Entry, Error, KeysFound, News, Position, Store, Swept};

/// The side that writes. No one else does, so what it wrote last is what there is.
pub(super) struct SqliteStore {
    pub(super) writer: Writer,
    pub(super) clock: Arc<dyn Clock>,
    /// The journal's newest entry; `None` when it is in doubt.
    pub(super) newest: Option<Position>,
}

#[async_trait]
impl Store for SqliteStore {
    async fn begin(&mut self, known: &Position) -> Result<Begun, Error> {
        let news = if self.newest == Some(*known) {
            News::Entries(Vec::new())
        } else {
            let known = *known;
            let read = move |writing: &mut Writing| snapshot::news(writing.connection()?, &known);
            let (newest, news) = self.writer.run(read).await?;
            self.newest = Some(newest);
            news
        };
        Ok(Begun { now: self.clock.now(), news, new_epoch: false })
    }

    async fn commit(&mut self, entry: &Entry) -> Result<(), Error> {
        let written = Written::from(entry);
        let commit = move |writing: &mut Writing| {
            let result = commit(writing.connection()?, &written);
            if matches!(result, Err(Error::Unknown(_))) {
                writing.close();
            }
            result
        };
        let before = self.newest.take();
        let result = self.writer.run(commit).await;
        self.newest = match result {
            Ok(()) => Some(entry.position),
            Err(Error::Unknown(_)) => None,
            Err(_) => before,
        };
        result
    }

    async fn abandon(&mut self) {}

    async fn has(&mut self, entry: &Position) -> Result<Option<bool>, Error> {
        let entry = *entry;
        let has = move |writing: &mut Writing| {
            let has = include_str!("sql/has.sql");
            let found = writing.connection()?.query_row(
                has,
                (entry.batch.0.as_bytes(), entry.version),
                |r| r.get(0),
            );
            found.map_err(failed("looking for a batch"))
        };
        self.writer.run(has).await
    }

    async fn keys(&mut self, _keys: &[IdempotencyKey]) -> Result<KeysFound, Error> {
        todo!()
    }

    async fn forget_keys(&mut self, _before: Timestamp) -> Result<u64, Error> {
        Ok(0)
    }

    async fn forget_leases(&mut self, _before: Timestamp, _after: Fence) -> Result<Swept, Error> {
        Ok(Swept { deleted: 0, up_to: None })
    }

    async fn prune(&mut self, before: Timestamp, keep: i64) -> Result<u64, Error> {
        let prune = move |writing: &mut Writing| {
            let prune = include_str!("sql/prune.sql");
            let deleted = writing.connection()?.execute(prune, (before.as_micros(), keep));
            deleted.map(|count| count as u64).map_err(failed("deleting old journal entries"))
        };
        self.writer.run(prune).await
    }
}

fn commit(connection: &mut Connection, written: &Written) -> Result<(), Error> {
    let transaction = begin(connection)?;
    write(&transaction, written)?;
    transaction.commit().map_err(failed_commit)
}

/// Begins a transaction that writes. It is rolled back when it is dropped without a commit.
pub(super) fn begin(connection: &mut Connection) -> Result<Transaction<'_>, Error> {
    connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed("beginning a transaction"))
}

/// Writes all that a journal entry says, within a transaction.
pub(super) fn write(connection: &Connection, written: &Written) -> Result<(), Error> {
    let failed = failed("writing a batch");
    let mut end = connection.prepare_cached(include_str!("sql/end_lease.sql")).map_err(&failed)?;
    for (id, fence, over) in &written.net.closed {
        let word = over.reason.as_str();
        let changed = end
            .execute((id.0.as_bytes(), fence.get(), over.at.as_micros(), word))
            .map_err(&failed)?;
        if changed != 1 {
            return Err(Error::Data(format!("lease {} was not open", id.0).into()));
        }
    }
    let insert = include_str!("sql/insert_lease.sql");
    let mut insert = connection.prepare_cached(insert).map_err(&failed)?;
    for lease in written.net.over.iter().chain(&written.net.running) {
        rows::insert_lease(&mut insert, lease).map_err(&failed)?;
    }
    if let Some(policy) = written.policy {
        let lease = i64::try_from(policy.lease.as_micros()).unwrap_or(i64::MAX);
        connection.execute(include_str!("sql/update_policy.sql"), (lease,)).map_err(&failed)?;
    }
    let position = written.position;
    let epoch = include_str!("sql/update_epoch.sql");
    let mut epoch = connection.prepare_cached(epoch).map_err(&failed)?;
    epoch.execute((position.epoch,)).map_err(&failed)?;
    let append = include_str!("sql/insert_batch.sql");
    let mut append = connection.prepare_cached(append).map_err(&failed)?;
    append
        .execute((
            position.version,
            position.batch.0.as_bytes(),
            written.server.0.as_bytes(),
            written.at.as_micros(),
            position.epoch,
            written.fence.get(),
            &written.changes,
        ))
        .map_err(&failed)?;
    Ok(())
}
