use std::sync::Arc;

use async_trait::async_trait;
use pool::{ApiKeyId, Timestamp, UserKey};
use rusqlite::{Connection, Params, Transaction, TransactionBehavior};
use uuid::Uuid;

use crate::net_changes::NetChanges;
use crate::sqlite::disk::failure::{failed, failed_commit};
use crate::sqlite::read::rows::{self, Written};
use crate::sqlite::read::snapshot;
use crate::sqlite::write::access;
use crate::sqlite::write::keys;
use crate::sqlite::write::members;
use crate::sqlite::write::writer::{Writer, Writing};
use crate::{Begun, Clock, Entry, Error, KeyUsage, KeysFound, News, Position, Store, Uptime};

/// Writing side of a ledger in SQLite. The only writer, so its last entry is the newest.
pub(crate) struct SqliteStore {
    pub(crate) writer: Arc<Writer>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The journal's newest entry; `None` when it is in doubt.
    pub(crate) newest: Option<Position>,
}

#[async_trait]
impl Store for SqliteStore {
    async fn begin(&mut self, known: &Position) -> Result<Begun, Error> {
        let news = if self.newest == Some(*known) && !self.writer.watch.is_lost() {
            News::Entries(Vec::new())
        } else {
            let known = *known;
            let read = move |writing: &mut Writing| snapshot::news(writing.connection()?, &known);
            let (newest, news) = self.writer.run(read).await?;
            self.newest = Some(newest);
            news
        };
        let (asked, now) = (Uptime::now(), self.clock.now());
        Ok(Begun { now, asked, answered: Uptime::now(), news, new_epoch: false })
    }

    async fn read_clock(&mut self) -> Result<Timestamp, Error> {
        Ok(self.clock.now())
    }

    async fn commit(&mut self, entry: &Entry) -> Result<(), Error> {
        let written = Written::from(entry);
        let commit = |writing: &mut Writing| {
            let result = commit(writing.connection()?, &written);
            if matches!(result, Err(Error::Unknown(_))) {
                writing.close();
            }
            result?;
            writing.wrote(written.net.over.len() + written.net.running.len());
            // In a file that is not at its path the commit is durable only if the file comes back.
            writing.verify_commit().map_err(|lost| Error::Unknown(Box::new(lost)))
        };
        let before = self.newest.take();
        let result = self.writer.run_here(commit);
        self.newest = match result {
            Ok(()) => Some(entry.position),
            Err(Error::Unknown(_)) => None,
            Err(_) => before,
        };
        result
    }

    async fn abandon(&mut self) {}

    async fn check(&mut self) -> Result<(), Error> {
        self.writer.run(Writing::verify_all).await
    }

    async fn has(&mut self, entry: &Position) -> Result<Option<bool>, Error> {
        let entry = *entry;
        let has = move |writing: &mut Writing| {
            let has = sql!("journal/has");
            let found = writing.connection()?.query_row(
                has,
                (entry.batch.0.as_bytes(), entry.version),
                |r| r.get(0),
            );
            found.map_err(failed("looking for a batch"))
        };
        self.writer.run(has).await
    }

    async fn keys(&mut self, keys: &[UserKey]) -> Result<KeysFound, Error> {
        self.writer.run_here(|writing| keys::find(writing.connection()?, keys))
    }

    async fn key_usage(&mut self, sample: u64) -> Result<KeyUsage, Error> {
        self.writer.run(move |writing| keys::usage(writing.connection()?, sample)).await
    }
}

fn commit(connection: &mut Connection, written: &Written) -> Result<(), Error> {
    let transaction = begin(connection)?;
    write(&transaction, written)?;
    transaction.commit().map_err(failed_commit)
}

/// Begins a transaction that writes. It is rolled back when it is dropped without a commit.
pub(crate) fn begin(connection: &mut Connection) -> Result<Transaction<'_>, Error> {
    connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed("beginning a transaction"))
}

/// Writes a journal entry and its changes, within a transaction.
pub(crate) fn write(connection: &Connection, written: &Written) -> Result<(), Error> {
    let failed = failed("writing a batch");
    let net = &written.net;
    // First, since leases and tickets refer to them.
    members::write(connection, &net.members)?;
    let renewed = net
        .renewed
        .iter()
        .map(|(id, fence, until)| (id.0, (id.0.into_bytes(), fence.get(), until.as_micros())));
    each(connection, sql!("leases/renew_lease"), renewed)?;
    let closed = net.closed.iter().map(|(id, fence, end)| {
        let (at, reason) = (end.at.as_micros(), end.reason.as_str());
        let by = end.by.as_ref().map(ApiKeyId::as_str);
        (id.0, (id.0.into_bytes(), fence.get(), at, reason, by))
    });
    each(connection, sql!("leases/end_lease"), closed)?;
    let insert = sql!("leases/insert_lease");
    let mut insert = connection.prepare_cached(insert).map_err(&failed)?;
    for lease in net.over.iter().chain(&net.running) {
        rows::insert_lease(&mut insert, lease).map_err(&failed)?;
    }
    let started = net.over.iter().chain(&net.running);
    if let Some(first) = started.map(|lease| lease.fence).min() {
        let latest = sql!("leases/update_latest");
        let mut latest = connection.prepare_cached(latest).map_err(&failed)?;
        latest.execute((first.get(),)).map_err(&failed)?;
    }
    members::note_retiring(connection, &net.members)?;
    write_queue(connection, net)?;
    let insert = sql!("keys/insert_key");
    let mut insert = connection.prepare_cached(insert).map_err(&failed)?;
    for used in &written.keys {
        rows::insert_key(&mut insert, used, written.at).map_err(&failed)?;
    }
    let position = written.position;
    access::write(connection, &net.access, (written.at, position.version))?;
    let epoch = sql!("ledger/update_epoch");
    let mut epoch = connection.prepare_cached(epoch).map_err(&failed)?;
    epoch.execute((position.epoch,)).map_err(&failed)?;
    let append = sql!("journal/insert_batch");
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

/// Runs a statement with each of these parameters; each run must change exactly one row.
fn each<P: Params>(
    connection: &Connection,
    sql: &str,
    rows: impl Iterator<Item = (Uuid, P)>,
) -> Result<(), Error> {
    let failed = failed("writing a batch");
    let mut statement = connection.prepare_cached(sql).map_err(&failed)?;
    for (id, parameters) in rows {
        if statement.execute(parameters).map_err(&failed)? != 1 {
            return Err(Error::Data(
                format!("lease {id} does not run, or is not waited for").into(),
            ));
        }
    }
    Ok(())
}

fn write_queue(connection: &Connection, net: &NetChanges) -> Result<(), Error> {
    let failed = failed("writing a batch");
    let left = net.left.iter().map(|id| (id.0, (id.0.into_bytes(),)));
    each(connection, sql!("tickets/delete_ticket"), left)?;
    // Before the new tickets, which contain their servers' last heartbeat.
    let hear = sql!("tickets/hear_server");
    let mut hear = connection.prepare_cached(hear).map_err(&failed)?;
    for (server, at) in &net.heard {
        hear.execute((server.0.as_bytes(), at.as_micros())).map_err(&failed)?;
    }
    let moved = net.moved.iter().map(|(id, (server, at))| {
        (id.0, (id.0.into_bytes(), server.0.into_bytes(), at.as_micros()))
    });
    each(connection, sql!("tickets/move_ticket"), moved)?;
    let insert = sql!("tickets/insert_ticket");
    let mut insert = connection.prepare_cached(insert).map_err(&failed)?;
    for ticket in &net.queued {
        rows::insert_ticket(&mut insert, ticket).map_err(&failed)?;
    }
    Ok(())
}
