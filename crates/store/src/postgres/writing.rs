//! The connection that writes: two flights of statements for each batch, which become one where the
//! next batch is begun together with the commit. The journal's row, which comes last, is refused when
//! another server was there first, and the whole batch with it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::join_all;
use pool::{Change, Timestamp};
use tokio::task::JoinHandle;
use tokio_postgres::error::Severity;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error as PgError, Row, Statement};
use uuid::Uuid;

use super::failure::{Remedy, data, remedy, running};
use super::rows::{LeaseColumns, Moment};
use super::session::{Access, Purpose, Session};
use super::{POOL_LOCKS, news, snapshot};
use crate::journal::encode;
use crate::{Begun, Entry, Error, Net, News, Position};

/// How many journal entries are looked at by one [`Writing::prune`].
const STEP: i64 = 500;

/// A statement with its parameters.
type Step<'a> = (&'a Statement, &'a [&'a (dyn ToSql + Sync)]);

/// A connection, ready for batches of one pool.
pub(super) struct Writing {
    session: Arc<Session>,
    statements: Statements,
    pool: i32,
    /// The batch that was begun together with the last commit. It is of this connection: without
    /// it, neither its lock nor its transaction is there.
    ahead: Option<Ahead>,
    /// The epoch of the journal's newest entry, as `begin` found it.
    epoch: i64,
    /// No entry before this version is left. Asking from here on saves walking over what the
    /// index still holds of deleted ones.
    pruned_to: i64,
}

/// A batch that is being begun.
struct Ahead {
    /// The copy whose news it brings.
    known: Position,
    rows: JoinHandle<Result<Vec<Row>, Error>>,
}

#[derive(Clone)]
struct Statements {
    begin: Statement,
    lock: Statement,
    news: Statement,
    write_batch: Statement,
    update_pool: Statement,
    commit: Statement,
    rollback: Statement,
    has: Statement,
    prune: Statement,
}

impl Statements {
    async fn prepare(client: &Client) -> Result<Self, PgError> {
        let prepare = |sql| client.prepare(sql);
        Ok(Statements {
            begin: prepare(include_str!("sql/begin.sql")).await?,
            lock: prepare(include_str!("sql/lock.sql")).await?,
            news: prepare(include_str!("sql/news.sql")).await?,
            write_batch: prepare(include_str!("sql/write_batch.sql")).await?,
            update_pool: prepare(include_str!("sql/update_pool.sql")).await?,
            commit: prepare(include_str!("sql/commit.sql")).await?,
            rollback: prepare(include_str!("sql/rollback.sql")).await?,
            has: prepare(include_str!("sql/has.sql")).await?,
            prune: prepare(include_str!("sql/prune.sql")).await?,
        })
    }
}

/// Sends all statements at once, in this order, and waits for all answers.
async fn flight(client: &Client, steps: &[Step<'_>]) -> Vec<Result<Vec<Row>, PgError>> {
    // A query is sent when it is first polled, and these are first polled in their order.
    join_all(steps.iter().map(|&(statement, parameters)| client.query(statement, parameters))).await
}

/// Begins a batch. Apart and in this order: a statement that waited for the lock would show the time
/// and the rows from before the wait.
async fn begin(
    client: &Client,
    statements: &Statements,
    pool: i32,
    version: i64,
) -> Result<Vec<Row>, Error> {
    let steps: [Step<'_>; 3] = [
        (&statements.begin, &[]),
        (&statements.lock, &[&POOL_LOCKS, &pool]),
        (&statements.news, &[&pool, &version, &news::ROWS]),
    ];
    let whats = ["beginning", "waiting for another server's batch", "reading the journal"];
    let mut rows = Vec::new();
    for (answer, what) in flight(client, &steps).await.into_iter().zip(whats) {
        rows = answer.map_err(running(what))?;
    }
    Ok(rows)
}

impl Ahead {
    async fn rows(self) -> Result<Vec<Row>, Error> {
        let failed = |cause| Error::TryAgain { what: "beginning", cause: Box::new(cause) };
        self.rows.await.map_err(failed)?
    }
}

impl Writing {
    pub(super) async fn open(access: &Access, pool: i32) -> Result<Self, Error> {
        const WHAT: &str = "connecting";
        let session = access.session(Purpose::Write).await.map_err(|error| match error {
            // A server that has run so far goes on trying: what was right may become right again.
            Error::Operator(sentence) => Error::TryAgain { what: WHAT, cause: sentence.into() },
            other => other,
        })?;
        let statements = Statements::prepare(&session.client).await.map_err(running(WHAT))?;
        let session = Arc::new(session);
        Ok(Writing { session, statements, pool, ahead: None, epoch: 0, pruned_to: 0 })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.session.client.is_closed()
    }

    pub(super) async fn begin(&mut self, known: &Position) -> Result<Begun, Error> {
        let rows = match self.ahead.take() {
            Some(ahead) if ahead.known == *known => ahead.rows().await?,
            other => {
                self.ahead = other;
                if self.ahead.is_some() {
                    self.rollback().await?;
                }
                let Writing { session, statements, pool, .. } = &*self;
                begin(&session.client, statements, *pool, known.version).await?
            }
        };
        let session = &self.session;
        let failed = running("reading the journal");
        let answer = news::read(known, &rows).map_err(&failed)?;
        let (now, news, newest, timeline) = if let Some(found) = answer.news {
            (answer.now, News::Entries(found.entries), found.newest, found.timeline)
        } else {
            let (newest, whole) = snapshot::load(&*session.client, &failed).await?;
            (newest.now, News::Whole(Box::new(whole)), newest.position, newest.timeline)
        };
        self.epoch = newest.epoch;
        Ok(Begun { now, news, new_epoch: timeline != self.session.timeline })
    }

    /// Sends the batch, and with it, if `then_begin`, the beginning of the next one. That has its own
    /// task, so that whoever waits for the commit does not also wait for the lock.
    pub(super) async fn commit(&mut self, entry: &Entry, then_begin: bool) -> Result<(), Error> {
        if self.is_closed() {
            let cause = "the connection was lost before the batch was sent".into();
            return Err(Error::TryAgain { what: "committing", cause });
        }
        let Writing { session, statements, pool: pool_id, ahead, epoch: known_epoch, .. } = self;
        let pool_id = &*pool_id;
        let Entry { position, server, at, fence, changes, keys: _ } = entry;
        let net = Net::of(changes);
        let ids: Vec<Uuid> = net.closed.iter().map(|(id, ..)| id.0).collect();
        let fences: Vec<i64> = net.closed.iter().map(|(_, fence, _)| fence.get()).collect();
        let ends: Vec<Moment> = net.closed.iter().map(|(.., end)| Moment(end.at)).collect();
        let reasons: Vec<&str> = net.closed.iter().map(|(.., end)| end.reason.as_str()).collect();
        let leases = LeaseColumns::of(net.over.iter().chain(&net.running));
        let (batch, at, changed) = (position.batch.0, Moment(*at), encode(changes));
        let (version, epoch, fence) = (position.version, position.epoch, fence.get());
        let timeline = &session.timeline;
        let mut written: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(23);
        written.extend(leases.parameters(pool_id));
        let ended: [&(dyn ToSql + Sync); 4] = [&ids, &fences, &ends, &reasons];
        written.extend(ended);
        let journal: [&(dyn ToSql + Sync); 8] =
            [&version, &batch, &server.0, &at, &epoch, &fence, timeline, &changed];
        written.extend(journal);
        let lease = changes.iter().rev().find_map(|change| match change {
            Change::PolicyChanged(policy) => i64::try_from(policy.lease.as_micros()).ok(),
            _ => None,
        });
        let pool: [&(dyn ToSql + Sync); 3] = [pool_id, &epoch, &lease];

        let mut steps: Vec<Step<'_>> = Vec::with_capacity(3);
        steps.push((&statements.write_batch, &written));
        if epoch != *known_epoch || lease.is_some() {
            steps.push((&statements.update_pool, &pool));
        }
        steps.push((&statements.commit, &[]));
        let mut commit = pin!(flight(&session.client, &steps));
        // The first poll sends it.
        let sent = poll_fn(|context| Poll::Ready(commit.as_mut().poll(context))).await;
        *ahead = then_begin.then(|| {
            let (session, statements) = (Arc::clone(session), statements.clone());
            let (known, pool) = (*position, *pool_id);
            let rows =
                async move { begin(&session.client, &statements, pool, known.version).await };
            Ahead { known, rows: tokio::spawn(rows) }
        });
        let mut answers = match sent {
            Poll::Ready(answers) => answers,
            Poll::Pending => commit.await,
        };
        // A commit after a failed statement rolls back and answers without an error, so each
        // answer counts.
        let committed = answers.pop().expect("the commit is part of the flight");
        match answers.into_iter().find_map(Result::err) {
            Some(error) => Err(refused(error)),
            None => committed.map(drop).map_err(commit_failed),
        }
    }

    /// Ends a batch that has begun or is being begun, nothing done.
    pub(super) async fn rollback(&mut self) -> Result<(), Error> {
        if let Some(ahead) = self.ahead.take() {
            // It has to come before its end. Whether it went well does not matter.
            drop(ahead.rows().await);
        }
        let ended = self.session.client.query(&self.statements.rollback, &[]).await;
        ended.map(drop).map_err(running("ending a batch"))
    }

    pub(super) async fn has(&self, entry: &Position) -> Result<Option<bool>, Error> {
        let failed = running("looking for a batch in the journal");
        let parameters: [&(dyn ToSql + Sync); 3] = [&self.pool, &entry.batch.0, &entry.version];
        let row = self.session.client.query_one(&self.statements.has, &parameters).await;
        row.and_then(|row| row.try_get(0)).map_err(failed)
    }

    pub(super) async fn prune(&mut self, before: Timestamp, keep: i64) -> Result<u64, Error> {
        let failed = running("deleting old journal entries");
        // PostgreSQL's time begins later than ours; no entry is older than this.
        let before = Moment(before.max(Timestamp::from_micros(0)));
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&self.pool, &self.pruned_to, &before, &keep, &STEP];
        let rows = self.session.client.query(&self.statements.prune, &parameters).await;
        let rows = rows.map_err(&failed)?;
        for row in &rows {
            let version: i64 = row.try_get(0).map_err(&failed)?;
            self.pruned_to = self.pruned_to.max(version + 1);
        }
        Ok(rows.len() as u64)
    }
}

/// What the failure of a statement before the commit means.
fn refused(error: PgError) -> Error {
    match remedy(&error) {
        Remedy::OtherData => data(&error),
        // The server's own word: the transaction failed, and the commit rolled it back.
        _ if error.as_db_error().is_some() => running("committing")(error),
        // No answer at all: the statements may all have arrived.
        _ => Error::Unknown(Box::new(error)),
    }
}

/// What the failure of the commit itself means.
fn commit_failed(error: PgError) -> Error {
    let ended = |severity| matches!(severity, Severity::Fatal | Severity::Panic);
    match error.as_db_error().map(|error| error.parsed_severity().is_none_or(ended)) {
        // The transaction was rolled back, the session goes on.
        Some(false) => refused(error),
        // The connection or the session ended, maybe after the commit became durable.
        _ => Error::Unknown(Box::new(error)),
    }
}
