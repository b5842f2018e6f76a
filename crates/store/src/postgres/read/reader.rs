//! Reading side: a few connections, shared by all callers.

use crate::postgres::connect::locks::LEDGER_LOCK;
use crate::postgres::connect::locks::WRITER_LOCK;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{
    Client, Connect, Manager, ManagerConfig, Object, Pool, Runtime, Transaction,
};
use pool::{ApiKeyId, Fence, Lease, LeaseId, PoolId, PoolName, Timestamp, TokenId, TokenName};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client as PgClient, Error as PgError, IsolationLevel, Row};
use uuid::Uuid;

use crate::postgres::connect::failure::running;
use crate::postgres::connect::flight::{Step, flight};
use crate::postgres::connect::session::{Access, Purpose};
use crate::postgres::read::access;
use crate::postgres::read::news;
use crate::postgres::read::rows;
use crate::postgres::read::search;
use crate::postgres::read::snapshot;
use crate::{
    AuditEntry, AuditQuery, Entry, Error, LeasePage, LeaseQuery, LeaseRecord, News, Position,
    Reader,
};

/// Maximum number of concurrent reads.
const CONNECTIONS: usize = 8;

/// Maximum number of concurrent searches of the history: these can take long, and other reads must
/// not wait for them.
const SEARCHES: usize = 3;

/// Maximum wait of a read for a connection.
const WAIT: Duration = Duration::from_secs(3);

/// Timeout of making a connection.
const CREATE: Duration = Duration::from_secs(8);

/// Timeout of a read. Longer than the server's own limit; it matters only when the server has
/// stopped answering.
const READ: Duration = Duration::from_secs(15);

/// Reading side of a ledger in PostgreSQL.
pub(crate) struct PostgresReader {
    connections: Pool,
    searches: Semaphore,
    /// Whether another program held the ledger's lock when batches were last waited for.
    is_held_up: AtomicBool,
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

/// A lent connection. If it is not returned, because its query failed or the caller has left, it is
/// closed: a query still running on it would delay other reads.
struct Lent(Option<Client>);

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}

impl PostgresReader {
    pub(crate) fn new(access: Access) -> Self {
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
        let searches = Semaphore::new(SEARCHES);
        PostgresReader { connections, searches, is_held_up: AtomicBool::new(false) }
    }

    /// Waits for the batch in flight, and returns the time after it and the news. `None` if a
    /// server's batch does not end within about a second. Does not wait for another program that
    /// holds the ledger's lock: it has no batch.
    async fn settled(
        &self,
        client: &Client,
        known: &Position,
    ) -> Result<Option<(Timestamp, Vec<Row>)>, PgError> {
        let pass = client.prepare_cached(sql!("session/pass_batches")).await?;
        let look = client.prepare_cached(sql!("session/no_batch")).await?;
        let news = client.prepare_cached(sql!("journal/news")).await?;
        let news: Step<'_> = (&news, vec![&known.version, &news::ROWS]);
        if !self.is_held_up.load(Ordering::Relaxed) {
            let pass: Step<'_> = (&pass, vec![&LEDGER_LOCK.0, &LEDGER_LOCK.1]);
            let mut answers = flight(client, &[pass, (news.0, news.1.clone())]).await.into_iter();
            let (passed, found) = (answers.next().transpose(), answers.next().transpose()?);
            match passed {
                Ok(rows) => {
                    let row = rows.as_ref().and_then(|rows| rows.first());
                    let settled = row.map_or(Ok(Timestamp::MIN), |row| rows::moment(row, 2))?;
                    return Ok(found.map(|found| (settled, found)));
                }
                Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {}
                Err(error) => return Err(error),
            }
        }
        let look: Step<'_> = (&look, vec![&LEDGER_LOCK.0, &LEDGER_LOCK.1, &WRITER_LOCK.0]);
        let mut answers = flight(client, &[look, news]).await.into_iter();
        let (looked, found) = (answers.next().transpose()?, answers.next().transpose()?);
        let (Some(looked), Some(found)) = (looked, found) else { return Ok(None) };
        let Some(row) = looked.first() else { return Ok(None) };
        let no_batch: bool = row.try_get(1)?;
        // The next time, too, this is quicker than waiting until the lock times out.
        self.is_held_up.store(no_batch, Ordering::Relaxed);
        Ok(if no_batch { Some((rows::moment(row, 0)?, found)) } else { None })
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

/// A transaction whose statements all see the database as it is at one moment.
async fn one_moment(client: &mut Client) -> Result<Transaction<'_>, PgError> {
    let builder = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
    builder.read_only(true).start().await
}

/// The news of an answer; the whole ledger if it has none.
async fn entries_or_whole(
    client: &mut Client,
    answer: news::Answer,
    failed: impl Fn(PgError) -> Error,
) -> Result<News, Error> {
    if let Some(found) = answer.news {
        return Ok(News::Entries(found.entries));
    }
    let transaction = one_moment(client).await.map_err(&failed)?;
    let (_, whole) = snapshot::load(&*transaction, &failed).await?;
    transaction.commit().await.map_err(&failed)?;
    Ok(News::Whole(Box::new(whole)))
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
            let sql = client.prepare_cached(sql!("journal/news")).await.map_err(&failed)?;
            let rows = client.query(&sql, &[&known.version, &news::ROWS]).await;
            let answer = news::read(known, &rows.map_err(&failed)?).map_err(&failed)?;
            // The earlier time: a later one could be after a batch that these news lack.
            let begun = answer.begun;
            Ok((begun, entries_or_whole(client, answer, failed).await?))
        })
        .await
    }

    async fn settled_news(&self, known: &Position) -> Result<(Timestamp, News), Error> {
        const WHAT: &str = "waiting for batches in flight";
        let failed = running(WHAT);
        let settled = self.with(WHAT, async |client| {
            let Some((settled, rows)) = self.settled(client, known).await.map_err(&failed)? else {
                return Ok(None);
            };
            let answer = news::read(known, &rows).map_err(&failed)?;
            Ok(Some((settled, entries_or_whole(client, answer, failed).await?)))
        });
        let still = || Error::TryAgain { what: WHAT, cause: "one still is".into() };
        settled.await?.ok_or_else(still)
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
            let sql = sql!("leases/history");
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
            let sql = client.prepare_cached(sql!("leases/lease")).await.map_err(&failed)?;
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
            let sql = client.prepare_cached(sql!("leases/leases")).await.map_err(&failed)?;
            let found = client.query(&sql, &[&ids]).await.map_err(&failed)?;
            rows::leases(&found).map_err(&failed)
        })
        .await
    }

    async fn pool_named(&self, name: &str) -> Result<Option<PoolId>, Error> {
        const WHAT: &str = "looking for a pool";
        let failed = running(WHAT);
        self.with(WHAT, async |client| {
            let sql = client.prepare_cached(sql!("pools/pool_named")).await.map_err(&failed)?;
            let found = client.query_opt(&sql, &[&name]).await.map_err(&failed)?;
            found.map(|row| row.try_get(0).map(PoolId)).transpose().map_err(&failed)
        })
        .await
    }

    async fn token_named(&self, pool: PoolId, name: &str) -> Result<Option<TokenId>, Error> {
        const WHAT: &str = "looking for a token";
        let failed = running(WHAT);
        self.with(WHAT, async |client| {
            let sql = client.prepare_cached(sql!("tokens/token_named")).await.map_err(&failed)?;
            let found = client.query_opt(&sql, &[&pool.0, &name]).await.map_err(&failed)?;
            found.map(|row| row.try_get(0).map(TokenId)).transpose().map_err(&failed)
        })
        .await
    }

    async fn pool_names(&self, ids: &[PoolId]) -> Result<Vec<(PoolId, PoolName)>, Error> {
        const WHAT: &str = "looking for pools";
        let failed = running(WHAT);
        let ids: Vec<i32> = ids.iter().map(|id| id.0).collect();
        self.with(WHAT, async |client| {
            let sql = client.prepare_cached(sql!("pools/pool_names")).await.map_err(&failed)?;
            let found = client.query(&sql, &[&ids]).await.map_err(&failed)?;
            found.iter().map(rows::pool_name).collect::<Result<_, _>>().map_err(&failed)
        })
        .await
    }

    async fn token_names(
        &self,
        ids: &[TokenId],
    ) -> Result<Vec<(TokenId, PoolId, TokenName)>, Error> {
        const WHAT: &str = "looking for tokens";
        let failed = running(WHAT);
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        self.with(WHAT, async |client| {
            let sql = client.prepare_cached(sql!("tokens/token_names")).await.map_err(&failed)?;
            let found = client.query(&sql, &[&ids]).await.map_err(&failed)?;
            found.iter().map(rows::token_name).collect::<Result<_, _>>().map_err(&failed)
        })
        .await
    }

    async fn search(
        &self,
        query: &LeaseQuery,
        now: Timestamp,
        limit: usize,
    ) -> Result<LeasePage, Error> {
        const WHAT: &str = "searching the history";
        let turn = tokio::time::timeout(WAIT, self.searches.acquire()).await;
        let _turn = turn.map_err(|cause| Error::TryAgain { what: WHAT, cause: Box::new(cause) })?;
        let failed = running(WHAT);
        self.with(WHAT, async |client| {
            let transaction = one_moment(client).await.map_err(&failed)?;
            let found = search::search(&transaction, query, now, limit);
            let found = found.await.map_err(&failed)?;
            transaction.commit().await.map_err(&failed)?;
            Ok(found)
        })
        .await
    }

    async fn audit(&self, query: &AuditQuery, limit: usize) -> Result<Vec<AuditEntry>, Error> {
        const WHAT: &str = "reading the audit log";
        let turn = tokio::time::timeout(WAIT, self.searches.acquire()).await;
        let _turn = turn.map_err(|cause| Error::TryAgain { what: WHAT, cause: Box::new(cause) })?;
        let read = async |client: &mut Client| {
            access::audit(client, query, limit).await.map_err(running(WHAT))
        };
        self.with(WHAT, read).await
    }

    async fn key_uses(&self, keys: &[ApiKeyId]) -> Result<Vec<(ApiKeyId, Timestamp)>, Error> {
        const WHAT: &str = "reading when API keys were used";
        let read =
            async |client: &mut Client| access::key_uses(client, keys).await.map_err(running(WHAT));
        self.with(WHAT, read).await
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
            let sql = sql!("journal/journal");
            let sql = client.prepare_cached(sql).await.map_err(&failed)?;
            let found = client.query(&sql, &[&version, &epoch, &limit]).await;
            news::read_journal(&found.map_err(&failed)?).map_err(&failed)
        })
        .await
    }
}
