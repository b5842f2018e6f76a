//! The writing connection: two flights of statements for each batch, or one if the next batch is
//! begun together with the commit. The journal's row comes last; if another server wrote that
//! version first, the database refuses it and with it the whole batch.

use crate::postgres::connect::locks::LEDGER_LOCK;
use crate::postgres::connect::locks::WRITER_LOCK;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use pool::{Timestamp, UserKey};
use tokio::task::JoinHandle;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error as PgError, Row};
use uuid::Uuid;

use crate::postgres::connect::failure::{Remedy, data, remedy, running};
use crate::postgres::connect::flight::{Step, flight};
use crate::postgres::connect::holders::{self, holders};
use crate::postgres::connect::session::{Access, Purpose, Session};
use crate::postgres::connect::watch::Watch;
use crate::postgres::read::keys as remembered;
use crate::postgres::read::news;
use crate::postgres::read::rows;
use crate::postgres::read::snapshot;
use crate::postgres::write::parameters::Parameters;
use crate::postgres::write::statements::Statements;
use crate::{Begun, Entry, Error, KeysFound, NetChanges, News, Position, Uptime};

/// Why nothing is committed.
pub(crate) const NO_BATCH: &str = "there is no batch to commit";

/// A connection, ready for batches.
pub(crate) struct Writing {
    pub(crate) session: Arc<Session>,
    pub(crate) statements: Arc<Statements>,
    /// Whether a batch has begun. A commit without it would be written, but not atomically.
    begun: bool,
    /// The batch that was begun together with the last commit. It belongs to this connection: lock
    /// and transaction end with it.
    ahead: Option<Ahead>,
    /// The epoch of the journal's newest entry, as `begin` found it.
    epoch: i64,
    watch: Arc<Watch>,
    /// Whether an entry of this run of the cluster was written with weak durability.
    weak: bool,
    /// No idempotency key with a number below this one is left. Starting from there skips the entries of
    /// deleted rows that an index still holds.
    pub(crate) oldest_key: i64,
}

/// A batch that is being begun.
struct Ahead {
    /// The copy whose news it brings.
    known: Position,
    rows: JoinHandle<Result<Reading, Error>>,
}

/// The rows of `news.sql`, and when they were requested and arrived.
pub(crate) struct Reading {
    rows: Vec<Row>,
    asked: Uptime,
    answered: Uptime,
}

/// Begins a batch. In separate statements and in this order: a statement that waited for the lock
/// would return the time and the rows from before the wait.
async fn begin(client: &Client, statements: &Statements, version: i64) -> Result<Reading, Error> {
    let asked = Uptime::now();
    let steps: [Step<'_>; 3] = [
        (&statements.begin, Vec::new()),
        (&statements.lock, vec![&LEDGER_LOCK.0, &LEDGER_LOCK.1]),
        (&statements.news, vec![&version, &news::ROWS]),
    ];
    let whats = ["beginning", "waiting for another server's batch", "reading the journal"];
    let mut rows = Vec::new();
    for (answer, what) in flight(client, &steps).await.into_iter().zip(whats) {
        match answer {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                return Err(not_free(client, statements, error).await);
            }
            answer => rows = answer.map_err(running(what))?,
        }
    }
    Ok(Reading { rows, asked, answered: Uptime::now() })
}

/// The error for a lock that was not free in time, with the session that holds it.
async fn not_free(client: &Client, statements: &Statements, error: PgError) -> Error {
    let found = match client.query(&statements.rollback, &[]).await {
        Ok(_) => holders(client, LEDGER_LOCK).await,
        Err(error) => Err(error),
    };
    let Ok(found) = found else { return running("waiting for the pool's lock")(error) };
    let (words, mut remedy) = (holders::in_words(&found), String::new());
    if found.iter().any(|holder| !holder.is_own) {
        remedy = format!("; {}", holders::REMEDY);
    }
    let cause = format!("the ledger's advisory lock is not free: {words}{remedy}").into();
    Error::TryAgain { what: "waiting for the pool's lock", cause }
}

impl Ahead {
    async fn rows(self) -> Result<Reading, Error> {
        let failed = |cause| Error::TryAgain { what: "beginning", cause: Box::new(cause) };
        self.rows.await.map_err(failed)?
    }
}

impl Writing {
    pub(crate) async fn open(access: &Access) -> Result<Self, Error> {
        const WHAT: &str = "connecting";
        let session = access.session(Purpose::Write).await.map_err(|error| match error {
            // A running server keeps retrying: a setup that worked before may work again.
            Error::Operator(sentence) => Error::TryAgain { what: WHAT, cause: sentence.into() },
            other => other,
        })?;
        let statements = Statements::prepare(&session.client).await.map_err(running(WHAT))?;
        let mark = sql!("session/lock_shared");
        let marked = session.client.query(mark, &[&WRITER_LOCK.0, &WRITER_LOCK.1]).await;
        marked.map_err(running(WHAT))?;
        let (session, statements) = (Arc::new(session), Arc::new(statements));
        Ok(Writing {
            session,
            statements,
            begun: false,
            ahead: None,
            epoch: 0,
            watch: Arc::clone(&access.watch),
            weak: false,
            oldest_key: 0,
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.session.client.is_closed()
    }

    /// Takes the ledger's lock and reads what came after `known`.
    pub(crate) async fn begin(&mut self, known: &Position) -> Result<Reading, Error> {
        match self.ahead.take() {
            Some(ahead) if ahead.known == *known => ahead.rows().await,
            other => {
                self.ahead = other;
                if self.ahead.is_some() {
                    self.rollback().await?;
                }
                let Writing { session, statements, .. } = &*self;
                begin(&session.client, statements, known.version).await
            }
        }
    }

    /// The batch that began with this reading. Loads the whole ledger if the journal does not lead from `known`.
    pub(crate) async fn begun(
        &mut self,
        known: &Position,
        reading: Reading,
    ) -> Result<Begun, Error> {
        let Reading { rows, mut asked, mut answered } = reading;
        let session = &self.session;
        let failed = running("reading the journal");
        let answer = news::read(known, &rows).map_err(&failed)?;
        let (now, news, newest, timeline) = if let Some(found) = answer.news {
            (answer.now, News::Entries(found.entries), found.newest, found.timeline)
        } else {
            asked = Uptime::now();
            let (newest, whole) = snapshot::load(&*session.client, &failed).await?;
            answered = Uptime::now();
            (newest.now, News::Whole(Box::new(whole)), newest.position, newest.timeline)
        };
        (self.begun, self.epoch) = (true, newest.epoch);
        let lineage = &self.session.lineage;
        self.weak |= self.watch.is_weak() || lineage.was_weak(&timeline);
        let new_epoch = lineage.may_have_lost(&timeline, self.weak);
        Ok(Begun { now, asked, answered, news, new_epoch })
    }

    pub(crate) async fn read_clock(&self) -> Result<Timestamp, Error> {
        let row = self.session.client.query_one(&self.statements.now, &[]).await;
        row.and_then(|row| rows::moment(&row, 0)).map_err(running("reading the clock"))
    }

    /// Sends the batch, and with it, if `then_begin`, the beginning of the next one. That has its
    /// own task, so that the caller of the commit does not also wait for the lock.
    pub(crate) async fn commit(&mut self, entry: &Entry, then_begin: bool) -> Result<(), Error> {
        if self.is_closed() {
            let cause = "the connection was lost before the batch was sent".into();
            return Err(Error::TryAgain { what: "committing", cause });
        }
        if !std::mem::take(&mut self.begun) {
            return Err(Error::TryAgain { what: "committing", cause: NO_BATCH.into() });
        }
        let Writing { session, statements, ahead, epoch, weak, .. } = self;
        let position = entry.position;
        let net = NetChanges::of(&entry.changes);
        let lineage = session.lineage.record(*weak);
        let parameters = Parameters::of(entry, &net, &lineage);
        let mut steps = parameters.steps(statements, position.epoch != *epoch);
        steps.push((&statements.commit, Vec::new()));
        let mut commit = pin!(flight(&session.client, &steps));
        // The first poll sends it.
        let sent = poll_fn(|context| Poll::Ready(commit.as_mut().poll(context))).await;
        *ahead = then_begin.then(|| {
            let (session, statements) = (Arc::clone(session), Arc::clone(statements));
            let version = position.version;
            let rows = async move { begin(&session.client, &statements, version).await };
            Ahead { known: position, rows: tokio::spawn(rows) }
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

    /// Ends a batch that has begun or is being begun, without any change.
    pub(crate) async fn rollback(&mut self) -> Result<(), Error> {
        if let Some(ahead) = self.ahead.take() {
            // The beginning must finish before the end is sent. Its result does not matter.
            drop(ahead.rows().await);
        }
        self.begun = false;
        let ended = self.session.client.query(&self.statements.rollback, &[]).await;
        ended.map(drop).map_err(running("ending a batch"))
    }

    pub(crate) async fn has(&self, entry: &Position) -> Result<Option<bool>, Error> {
        let failed = running("looking for a batch in the journal");
        let parameters: [&(dyn ToSql + Sync); 2] = [&entry.batch.0, &entry.version];
        let row = self.session.client.query_one(&self.statements.has, &parameters).await;
        row.and_then(|row| row.try_get(0)).map_err(failed)
    }

    /// Looks up these keys.
    pub(crate) async fn keys(&mut self, keys: &[UserKey]) -> Result<KeysFound, Error> {
        let failed = running("looking for idempotency keys");
        let asked: (Vec<&str>, Vec<Uuid>) =
            keys.iter().map(|UserKey { user, key }| (key.as_str(), user.0)).unzip();
        let parameters: [&(dyn ToSql + Sync); 3] = [&self.oldest_key, &asked.0, &asked.1];
        let rows = self.session.client.query(&self.statements.keys, &parameters).await;
        let rows = rows.map_err(&failed)?;
        let (oldest, found) = remembered::read(&rows).map_err(&failed)?;
        self.oldest_key = self.oldest_key.max(oldest);
        Ok(found)
    }
}

/// Classifies the failure of a statement before the commit.
fn refused(error: PgError) -> Error {
    match remedy(&error) {
        Remedy::OtherData => data(&error),
        // Reported by the server: the transaction failed, and the commit rolled it back.
        _ if error.as_db_error().is_some() => running("committing")(error),
        // No answer at all: the statements may all have arrived.
        _ => Error::Unknown(Box::new(error)),
    }
}

/// Classifies the failure of the commit itself.
fn commit_failed(error: PgError) -> Error {
    let ended = |severity| matches!(severity, Severity::Fatal | Severity::Panic);
    match error.as_db_error().map(|error| error.parsed_severity().is_none_or(ended)) {
        // The transaction was rolled back, the session goes on.
        Some(false) => refused(error),
        // The connection or the session ended, maybe after the commit became durable.
        _ => Error::Unknown(Box::new(error)),
    }
}
