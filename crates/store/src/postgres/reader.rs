//! The side that reads: a few connections, shared by all who ask.

use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{Client, Connect, Manager, ManagerConfig, Object, Pool, Runtime};
use pool::{Fence, Lease, LeaseId, Timestamp, TokenId};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_postgres::{Client as PgClient, Error as PgError, IsolationLevel};
use uuid::Uuid;

use super::failure::running;
use super::session::{Access, Purpose};
use super::{news, rows, search, snapshot};
use crate::{Entry, Error, Found, LeaseRecord, News, Position, Reader, Search};

/// How many reads run at the same time.
const CONNECTIONS: usize = 8;

/// How many of them may search the history: that can take long, and nobody else is to wait for it.
const SEARCHES: usize = 3;

/// How long a read waits for one of the connections.
const WAIT: Duration = Duration::from_secs(3);

/// How long making a connection may take.
const CREATE: Duration = Duration::from_secs(8);

/// How long a read may take; it is longer than the server's own limit and matters only when the
/// server has stopped answering.
const READ: Duration = Duration::from_secs(15);

/// The side that reads.
pub(super) struct PostgresReader {
    connections: Pool,
    searches: Semaphore,
    pool: i32,
}

struct Connector(Access);

impl Connect for Connector {
    fn connect(
        &self,
        _: &tokio_postgres::Config,
    ) -> Pin<Box<dyn Future<Output = Result<(PgClient, JoinHandle<()>), PgError>> + Send + '_>>
    {
        Box::pin(self.0.connect(Purpose::Read))
    }
}

/// A connection that is lent. Where it is not taken back, because what it was asked failed or nobody
/// waits for the answer any more, it is closed: what it is still busy with would be in others' way.
struct Lent(Option<Client>);

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}

impl PostgresReader {
    pub(super) fn new(access: Access, pool: i32) -> Self {
        // The connector has a configuration of its own.
        let (unused, how) = (tokio_postgres::Config::new(), ManagerConfig::default());
        let manager = Manager::from_connect(unused, Connector(access), how);
        let connections = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(CREATE))
            .recycle_timeout(Some(WAIT))
            .runtime(Runtime::Tokio1)
            .build()
            .expect("time-outs have their runtime");
        PostgresReader { connections, searches: Semaphore::new(SEARCHES), pool }
    }

    /// Lends a connection to `ask`. One that failed is not used again.
    async fn with<T>(
        &self,
        what: &'static str,
        ask: impl AsyncFnOnce(&mut Client) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let connection = self.connections.get().await;
        let connection =
            connection.map_err(|cause| Error::TryAgain { what, cause: Box::new(cause) })?;
        let mut lent = Lent(Some(connection));
        let client = lent.0.as_mut().expect("it is taken back below only");
        let answer = tokio::time::timeout(READ, ask(client)).await;
        let answer =
            answer.unwrap_or_else(|cause| Err(Error::TryAgain { what, cause: Box::new(cause) }));
        if answer.is_ok() {
            drop(lent.0.take());
        }
        answer
    }
}

#[async_trait]
impl Reader for PostgresReader {
    fn shared(&self) -> bool {
        true
    }

    async fn news(&self, known: &Position) -> Result<(Timestamp, News), Error> {
        const WHAT: &str = "asking for news";
        let failed = running(WHAT);
        self.with(WHAT, async |client| {
            let sql = client.prepare_cached(include_str!("sql/news.sql")).await.map_err(&failed)?;
            let rows = client.query(&sql, &[&self.pool, &known.version, &news::ROWS]).await;
            let answer = news::read(known, &rows.map_err(&failed)?).map_err(&failed)?;
            if let Some(found) = answer.news {
                return Ok((answer.now, News::Entries(found.entries)));
            }
            let one_moment = client.build_transaction();
            let one_moment = one_moment.isolation_level(IsolationLevel::RepeatableRead);
            let transaction = one_moment.read_only(true).start().await.map_err(&failed)?;
            let (newest, whole) = snapshot::load(&*transaction, &failed).await?;
            transaction.commit().await.map_err(&failed)?;
            Ok((newest.now, News::Whole(Box::new(whole))))
        })
        .await
    }

    fn now(&self) -> Option<Timestamp> {
        None
    }

    async fn history(
        &self,
        token: TokenId,
        before: Option<Fence>,
        limit: usize,
    ) -> Result<Vec<LeaseRecord>, Error> {
        const WHAT: &str = "reading the history";
        let failed = running(WHAT);
        let before = before.map_or(i64::MAX, Fence::get);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.with(WHAT, async |client| {
            let sql = include_str!("sql/history.sql");
            let sql = client.prepare_cached(sql).await.map_err(&failed)?;
            let found = client.query(&sql, &[&token.0, &before, &limit]).await.map_err(&failed)?;
            let records = found.iter().filter_map(|row| rows::record(row).transpose());
            records.collect::<Result<_, _>>().map_err(&failed)
        })
        .await
    }

    async fn lease(&self, id: LeaseId) -> Result<Option<LeaseRecord>, Error> {
        const WHAT: &str = "reading a lease";
        let failed = running(WHAT);
        self.with(WHAT, async |client| {
            let sql =
                client.prepare_cached(include_str!("sql/lease.sql")).await.map_err(&failed)?;
            let found = client.query_opt(&sql, &[&id.0]).await.map_err(&failed)?;
            found.map_or(Ok(None), |row| rows::record(&row)).map_err(&failed)
        })
        .await
    }

    async fn leases(&self, ids: &[LeaseId]) -> Result<Vec<Lease>, Error> {
        const WHAT: &str = "reading leases";
        let failed = running(WHAT);
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        self.with(WHAT, async |client| {
            let sql =
                client.prepare_cached(include_str!("sql/leases.sql")).await.map_err(&failed)?;
            let found = client.query(&sql, &[&ids]).await.map_err(&failed)?;
            rows::leases(&found).map_err(&failed)
        })
        .await
    }

    async fn search(&self, search: &Search) -> Result<Found, Error> {
        const WHAT: &str = "searching the history";
        let turn = tokio::time::timeout(WAIT, self.searches.acquire()).await;
        let _turn = turn.map_err(|cause| Error::TryAgain { what: WHAT, cause: Box::new(cause) })?;
        self.with(WHAT, async |client| {
            search::search(client, self.pool, search).await.map_err(running(WHAT))
        })
        .await
    }

    async fn journal(
        &self,
        epoch: i64,
        version: i64,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, Error> {
        const WHAT: &str = "reading the journal";
        let failed = running(WHAT);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.with(WHAT, async |client| {
            let sql = include_str!("sql/journal.sql");
            let sql = client.prepare_cached(sql).await.map_err(&failed)?;
            let found = client.query(&sql, &[&self.pool, &version, &epoch, &limit]).await;
            news::read_journal(&found.map_err(&failed)?).map_err(&failed)
        })
        .await
    }
}
