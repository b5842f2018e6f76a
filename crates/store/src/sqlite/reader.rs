use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use pool::{Fence, Lease, LeaseId, Timestamp, TokenId};
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::blocking;
use super::files::Files;
use super::refusal::failed;
use super::rows;
use crate::{Clock, Entry, Error, Found, LeaseRecord, News, Position, Reader, Search};

/// How many connections read at the same time; more readers wait for one.
const CONNECTIONS: usize = 4;

/// Held by readers while they read, and by the writer to keep them out. Behind it are their
/// connections that rest, until the writer stops: then it is `None`, and nobody reads any more.
pub(super) type Gate = RwLock<Option<Mutex<Vec<Connection>>>>;

/// The side that reads.
pub(super) struct SqliteReader {
    clock: Arc<dyn Clock>,
    permits: Arc<Semaphore>,
    shared: Arc<Shared>,
}

struct Shared {
    files: Files,
    gate: Arc<Gate>,
}

impl SqliteReader {
    pub(super) fn new(clock: Arc<dyn Clock>, files: Files, gate: Arc<Gate>) -> Self {
        let shared = Arc::new(Shared { files, gate });
        SqliteReader { clock, permits: Arc::new(Semaphore::new(CONNECTIONS)), shared }
    }
}

#[async_trait]
impl Reader for SqliteReader {
    fn shared(&self) -> bool {
        false
    }

    async fn news(&self, _known: &Position) -> Result<(Timestamp, News), Error> {
        Ok((self.clock.now(), News::Entries(Vec::new())))
    }

    fn now(&self) -> Option<Timestamp> {
        Some(self.clock.now())
    }

    async fn history(
        &self,
        token: TokenId,
        before: Option<Fence>,
        limit: usize,
    ) -> Result<Vec<LeaseRecord>, Error> {
        let permits = Arc::clone(&self.permits);
        let permit = permits.acquire_owned().await.expect("the semaphore is never closed");
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            // Kept until the reading is over, even if nobody waits for it any more.
            let _permit = permit;
            shared.read(|connection| history(connection, token, before, limit))
        })
        .await
        .map(|leases| {
            leases.into_iter().map(|lease| LeaseRecord { lease, evicted_by: None }).collect()
        })
    }

    async fn lease(&self, _id: LeaseId) -> Result<Option<LeaseRecord>, Error> {
        todo!()
    }

    async fn leases(&self, _ids: &[LeaseId]) -> Result<Vec<Lease>, Error> {
        todo!()
    }

    async fn search(&self, _search: &Search) -> Result<Found, Error> {
        todo!()
    }

    async fn journal(
        &self,
        _epoch: i64,
        _version: i64,
        _limit: usize,
    ) -> Result<Option<Vec<Entry>>, Error> {
        todo!()
    }
}

impl Shared {
    fn read<T>(&self, read: impl Fn(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        let gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        let idle = gate.as_ref().ok_or_else(stopped)?;
        let idle = || idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        let connection = kept.map_or_else(|| self.files.open_to_read(), Ok)?;
        let result = read(&connection)?;
        idle().push(connection);
        Ok(result)
    }
}

fn stopped() -> Error {
    Error::TryAgain { what: "reading", cause: "the server is stopping".into() }
}

fn history(
    connection: &Connection,
    token: TokenId,
    before: Option<Fence>,
    limit: usize,
) -> Result<Vec<Lease>, Error> {
    let failed = failed("reading a token's history");
    let mut select = connection.prepare_cached(include_str!("sql/history.sql")).map_err(&failed)?;
    let before = before.map_or(i64::MAX, Fence::get);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    select
        .query_map((token.0.as_bytes(), before, limit), rows::lease)
        .and_then(Iterator::collect)
        .map_err(&failed)
}
