//! Writing side: keeps a connection, bounds every wait, and replaces the connection after any
//! failure that leaves its state unknown.

use std::time::Duration;

use async_trait::async_trait;
use pool::{Timestamp, UserKey};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::postgres::connect::session::Access;
use crate::postgres::write::key_usage;
use crate::postgres::write::writer::{NO_BATCH, Writing};
use crate::{Begun, Entry, Error, KeyUsage, KeysFound, Position, Store};

/// Timeout of a whole operation. Longer than the server's own limits; it matters only when the
/// server has stopped answering: a commit, for example, obeys none of the server's limits.
const ANSWER: Duration = Duration::from_secs(20);

/// Timeout of a step that may load the whole ledger. Shorter ones would never succeed with a large ledger on a
/// slow machine.
const LOAD: Duration = Duration::from_mins(10);

/// Writing side of a ledger in PostgreSQL.
pub(crate) struct Writer {
    access: Access,
    /// `None` until it is needed, and after a failure: a new one has no open transaction.
    writing: Option<Writing>,
}

impl Writer {
    pub(crate) fn new(access: Access) -> Self {
        Writer { access, writing: None }
    }

    /// The connection; a new one if it is missing or was lost. Callers put it back only if its
    /// state is known.
    async fn take(&mut self) -> Result<Writing, Error> {
        match self.writing.take().filter(|writing| !writing.is_closed()) {
            Some(writing) => Ok(writing),
            None => within(Writing::open(&self.access)).await,
        }
    }

    async fn send(&mut self, entry: &Entry, then_begin: bool) -> Result<(), Error> {
        let Some(mut writing) = self.writing.take() else {
            return Err(Error::TryAgain { what: "committing", cause: NO_BATCH.into() });
        };
        let committed = match timeout(ANSWER, writing.commit(entry, then_begin)).await {
            Ok(committed) => committed,
            Err(elapsed) => Err(Error::Unknown(Box::new(elapsed))),
        };
        match committed {
            Ok(()) => self.writing = Some(writing),
            Err(Error::Data(_)) if within(writing.rollback()).await.is_ok() => {
                self.writing = Some(writing);
            }
            Err(_) => {}
        }
        committed
    }
}

/// The result, if it comes in time.
pub(crate) fn within<T>(
    answer: impl Future<Output = Result<T, Error>>,
) -> impl Future<Output = Result<T, Error>> {
    within_time(ANSWER, answer)
}

async fn within_time<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let too_slow = |cause: Elapsed| Error::TryAgain {
        what: "waiting for PostgreSQL to answer",
        cause: Box::new(cause),
    };
    timeout(limit, answer).await.map_err(too_slow)?
}

#[async_trait]
impl Store for Writer {
    async fn begin(&mut self, known: &Position) -> Result<Begun, Error> {
        let mut writing = self.take().await?;
        let reading = within(writing.begin(known)).await?;
        let begun = within_time(LOAD, writing.begun(known, reading)).await?;
        self.writing = Some(writing);
        Ok(begun)
    }

    async fn commit(&mut self, entry: &Entry) -> Result<(), Error> {
        self.send(entry, false).await
    }

    async fn commit_and_begin(&mut self, entry: &Entry) -> Result<(), Error> {
        self.send(entry, true).await
    }

    async fn read_clock(&mut self) -> Result<Timestamp, Error> {
        let Some(writing) = self.writing.take() else {
            let cause = "there is no connection".into();
            return Err(Error::TryAgain { what: "reading the clock", cause });
        };
        let now = within(writing.read_clock()).await?;
        self.writing = Some(writing);
        Ok(now)
    }

    async fn abandon(&mut self) {
        if let Some(mut writing) = self.writing.take()
            && within(writing.rollback()).await.is_ok()
        {
            self.writing = Some(writing);
        }
    }

    async fn has(&mut self, entry: &Position) -> Result<Option<bool>, Error> {
        let Some(writing) = self.writing.take() else {
            let cause = "there is no connection".into();
            return Err(Error::TryAgain { what: "looking for a batch in the journal", cause });
        };
        let found = within(writing.has(entry)).await?;
        self.writing = Some(writing);
        Ok(found)
    }

    async fn keys(&mut self, keys: &[UserKey]) -> Result<KeysFound, Error> {
        let Some(mut writing) = self.writing.take() else {
            let cause = "there is no connection".into();
            return Err(Error::TryAgain { what: "looking for idempotency keys", cause });
        };
        let found = within(writing.keys(keys)).await?;
        self.writing = Some(writing);
        Ok(found)
    }

    async fn key_usage(&mut self, sample: u64) -> Result<KeyUsage, Error> {
        let mut writing = self.take().await?;
        let Writing { session, statements, oldest_key, .. } = &mut writing;
        let usage = key_usage::with_sample(&session.client, statements, oldest_key, sample);
        let usage = within(usage).await?;
        self.writing = Some(writing);
        Ok(usage)
    }
}
