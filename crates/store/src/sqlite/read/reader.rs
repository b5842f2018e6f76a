use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use pool::{ApiKeyId, Fence, Lease, LeaseId, PoolId, PoolName, Timestamp, TokenId, TokenName};
use rusqlite::{Connection, OptionalExtension};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::sqlite::disk::checkpoint::{Gate, Measured};
use crate::sqlite::disk::failure::failed;
use crate::sqlite::disk::files::Files;
use crate::sqlite::disk::system_errors as trouble;
use crate::sqlite::disk::threads::Threads;
use crate::sqlite::disk::watch::{Misplaced, Watch};
use crate::sqlite::read::access;
use crate::sqlite::read::chain;
use crate::sqlite::read::rows;
use crate::sqlite::read::search;
use crate::sqlite::read::snapshot;
use crate::{
    AuditEntry, AuditQuery, Clock, Entry, Error, LeasePage, LeaseQuery, LeaseRecord, LogSize, News,
    Position, Reader,
};

/// Maximum number of reading connections; more readers wait for one.
const CONNECTIONS: usize = 4;

/// How many of them may search: a search takes long, and other readers must not wait for it.
pub(crate) const SEARCHING: u32 = 2;

/// Reading side of a ledger in SQLite.
pub(crate) struct SqliteReader {
    clock: Arc<dyn Clock>,
    permits: Arc<Semaphore>,
    pub(crate) searching: Arc<Semaphore>,
    /// One for each connection.
    threads: Threads,
    shared: Arc<Shared>,
}

struct Shared {
    files: Files,
    gate: Arc<Gate>,
    watch: Arc<Watch>,
    measured: Arc<Measured>,
    /// The largest version that a read has seen in the journal.
    version: AtomicI64,
}

impl SqliteReader {
    /// Starts the reading threads. Connections are opened on demand.
    pub(crate) fn start(
        clock: Arc<dyn Clock>,
        files: Files,
        gate: Arc<Gate>,
        watch: Arc<Watch>,
        measured: Arc<Measured>,
    ) -> Result<Self, Error> {
        let version = AtomicI64::new(0);
        let shared = Arc::new(Shared { files, gate, watch, measured, version });
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let searching = Arc::new(Semaphore::new(SEARCHING as usize));
        let threads = Threads::start("sqlite-reader", CONNECTIONS)?;
        Ok(SqliteReader { clock, permits, searching, threads, shared })
    }

    /// Reads on one of the connections, all of it as of one moment.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl Fn(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permits = Arc::clone(&self.permits);
        let permit = permits.acquire_owned().await.expect("the semaphore is never closed");
        let shared = Arc::clone(&self.shared);
        let read = move || {
            // Kept until the read ends, even if its caller has left.
            let _permit = permit;
            shared.read(read)
        };
        self.threads.run(read).await
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

    fn version_read(&self) -> Option<i64> {
        Some(self.shared.version.load(Ordering::SeqCst))
    }

    async fn history(
        &self,
        token: TokenId,
        before: Option<Fence>,
        limit: usize,
    ) -> Result<Vec<LeaseRecord>, Error> {
        let (mut query, mut records) = (search::of_token(token, before), Vec::new());
        // No lock is held between the parts of a long walk.
        loop {
            let left = limit - records.len();
            let read = move |connection: &Connection| {
                search::search(connection, &query, Timestamp::MIN, left)
            };
            let found = self.read(read).await?;
            records.extend(found.leases);
            query.after = found.next;
            if records.len() == limit || found.next.is_none() {
                return Ok(records);
            }
        }
    }

    async fn lease(&self, id: LeaseId) -> Result<Option<LeaseRecord>, Error> {
        let read = move |connection: &Connection| {
            let lease = leases(connection, &[id])?.pop();
            lease.map(|lease| chain::record(connection, lease)).transpose()
        };
        self.read(read).await
    }

    async fn leases(&self, ids: &[LeaseId]) -> Result<Vec<Lease>, Error> {
        let ids = ids.to_vec();
        self.read(move |connection| leases(connection, &ids)).await
    }

    async fn pool_named(&self, name: &str) -> Result<Option<PoolId>, Error> {
        let name = name.to_owned();
        let read = move |connection: &Connection| {
            let find = sql!("pools/pool_named");
            let mut find = connection.prepare_cached(find).map_err(failed("looking for a pool"))?;
            let found = find.query_row((&name,), |row| row.get(0).map(PoolId)).optional();
            found.map_err(failed("looking for a pool"))
        };
        self.read(read).await
    }

    async fn token_named(&self, pool: PoolId, name: &str) -> Result<Option<TokenId>, Error> {
        let name = name.to_owned();
        let read = move |connection: &Connection| {
            let failed = failed("looking for a token");
            let find = sql!("tokens/token_named");
            let mut find = connection.prepare_cached(find).map_err(&failed)?;
            let found: Option<[u8; 16]> =
                find.query_row((pool.0, &name), |row| row.get(0)).map_err(&failed)?;
            Ok(found.map(|id| TokenId(Uuid::from_bytes(id))))
        };
        self.read(read).await
    }

    async fn pool_names(&self, ids: &[PoolId]) -> Result<Vec<(PoolId, PoolName)>, Error> {
        let ids = ids.to_vec();
        let read = move |connection: &Connection| {
            let failed = failed("looking for pools");
            let mut find = connection.prepare_cached(sql!("pools/pool_name")).map_err(&failed)?;
            let mut name = |id: PoolId| {
                let name = find.query_row((id.0,), rows::pool_name).optional();
                name.map(|name| name.map(|name| (id, name))).map_err(&failed)
            };
            ids.iter().filter_map(|id| name(*id).transpose()).collect()
        };
        self.read(read).await
    }

    async fn token_names(
        &self,
        ids: &[TokenId],
    ) -> Result<Vec<(TokenId, PoolId, TokenName)>, Error> {
        let ids = ids.to_vec();
        let read = move |connection: &Connection| {
            let failed = failed("looking for tokens");
            let mut find = connection.prepare_cached(sql!("tokens/token_name")).map_err(&failed)?;
            let mut name = |id: TokenId| {
                let name = find.query_row((id.0.as_bytes(),), rows::token_name).optional();
                name.map(|name| name.map(|(pool, name)| (id, pool, name))).map_err(&failed)
            };
            ids.iter().filter_map(|id| name(*id).transpose()).collect()
        };
        self.read(read).await
    }

    async fn search(
        &self,
        query: &LeaseQuery,
        now: Timestamp,
        limit: usize,
    ) -> Result<LeasePage, Error> {
        let query = *query;
        let searching = Arc::clone(&self.searching);
        let permit = searching.acquire_owned().await.expect("the semaphore is never closed");
        let read = move |connection: &Connection| {
            let _until_it_is_over = &permit;
            search::search(connection, &query, now, limit)
        };
        self.read(read).await
    }

    async fn audit(&self, query: &AuditQuery, limit: usize) -> Result<Vec<AuditEntry>, Error> {
        let query = query.clone();
        let searching = Arc::clone(&self.searching);
        let permit = searching.acquire_owned().await.expect("the semaphore is never closed");
        let read = move |connection: &Connection| {
            let _until_it_is_over = &permit;
            access::audit(connection, &query, limit)
        };
        self.read(read).await
    }

    async fn key_uses(&self, keys: &[ApiKeyId]) -> Result<Vec<(ApiKeyId, Timestamp)>, Error> {
        let keys = keys.to_vec();
        self.read(move |connection| access::key_uses(connection, &keys)).await
    }

    async fn probe(&self) -> Result<(), Error> {
        self.read(|connection| snapshot::newest(connection).map(drop)).await
    }

    fn log_size(&self) -> Option<LogSize> {
        Some(self.shared.measured.get())
    }

    async fn journal(
        &self,
        epoch: i64,
        version: i64,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = move |connection: &Connection| {
            let entries = snapshot::entries_from(connection, version, limit)?;
            let begins = |entries: &Vec<Entry>| {
                entries.first().is_some_and(|entry| {
                    (entry.position.epoch, entry.position.version) == (epoch, version)
                })
            };
            Ok(entries.filter(begins))
        };
        self.read(read).await
    }
}

impl Shared {
    fn read<T>(&self, read: impl Fn(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        let gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        let idle = gate.as_ref().ok_or_else(stopped)?;
        let idle = || idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        // An error is better than a history without recent grants.
        self.watch.refuse_lost()?;
        let connection = kept.map_or_else(|| self.connect(), Ok)?;
        let transaction = connection.unchecked_transaction().map_err(failed("reading"))?;
        // In the same snapshot, and noted before the answer is used.
        let version = snapshot::newest(&transaction)?.position.version;
        let result = read(&transaction)?;
        self.version.fetch_max(version, Ordering::SeqCst);
        drop(transaction);
        idle().push(connection);
        Ok(result)
    }
}

impl Shared {
    /// A new connection, to the files that the writing thread has open, not to other files at their
    /// paths.
    fn connect(&self) -> Result<Connection, Error> {
        let in_place = || self.watch.written(&self.files).map_err(Misplaced::error);
        in_place()?;
        let connection = self.files.open_to_read();
        let connection = connection.map_err(|error| trouble::explain(&self.files, error))?;
        // Opens the files.
        connection
            .query_row("select 1 from sqlite_schema limit 1", (), |_| Ok(()))
            .map_err(failed("reading"))?;
        in_place()?;
        Ok(connection)
    }
}

fn stopped() -> Error {
    Error::TryAgain { what: "reading", cause: "the server is stopping".into() }
}

fn leases(connection: &Connection, ids: &[LeaseId]) -> Result<Vec<Lease>, Error> {
    let failed = failed("looking for leases");
    let mut select = connection.prepare_cached(sql!("leases/lease")).map_err(&failed)?;
    let mut leases = Vec::new();
    for id in ids {
        let lease = select.query_row((id.0.as_bytes(),), rows::lease).optional();
        leases.extend(lease.map_err(&failed)?);
    }
    Ok(leases)
}
