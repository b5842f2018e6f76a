//! Database wrapper for tests: delays commits' answers or journal reads, or fails searches.

use std::sync::Arc;

use async_trait::async_trait;
use pool::{
    ApiKeyId, Fence, Lease, LeaseId, PoolId, PoolName, Timestamp, TokenId, TokenName, UserKey,
};
use store::{
    AuditEntry, AuditQuery, Begun, Database, Entry, Error, ImportedPool, KeyUsage, KeysFound,
    LeasePage, LeaseQuery, LeaseRecord, News, Opened, Position, Reader, Store, Wanted,
};
use tokio::sync::{Semaphore, watch};

/// Controls of such a database.
pub struct Obstacle {
    /// Whether answers of commits are held back.
    closed: watch::Sender<bool>,
    /// Number of commits held back.
    kept_back: watch::Sender<usize>,
    /// Number of further searches that succeed.
    searches: Semaphore,
    /// Number of further reads of the journal that may start.
    journal: Semaphore,
}

impl Obstacle {
    /// Wraps `inner`; nothing is held up yet.
    pub fn before(inner: Box<dyn Database>) -> (Box<dyn Database>, Arc<Self>) {
        let (closed, kept_back) = Default::default();
        let [searches, journal] = [(); 2].map(|()| Semaphore::new(Semaphore::MAX_PERMITS));
        let obstacle = Arc::new(Obstacle { closed, kept_back, searches, journal });
        (Box::new(Behind(inner, Arc::clone(&obstacle))), obstacle)
    }

    /// Holds back the answers of further commits, which are durable.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Waits until a commit is held back.
    pub async fn committed(&self) {
        self.kept_back.subscribe().wait_for(|count| *count > 0).await.unwrap();
    }

    pub fn open(&self) {
        self.closed.send_replace(false);
    }

    /// Lets `count` further searches succeed.
    pub fn allow_searches(&self, count: usize) {
        self.searches.forget_permits(Semaphore::MAX_PERMITS);
        self.searches.add_permits(count);
    }

    /// Lets `count` further reads of the journal start; the others wait.
    pub fn allow_journal(&self, count: usize) {
        self.journal.forget_permits(Semaphore::MAX_PERMITS);
        self.journal.add_permits(count);
    }

    /// Number of further reads that may start.
    pub fn journal_allowed(&self) -> usize {
        self.journal.available_permits()
    }

    async fn pass(&self) {
        self.kept_back.send_modify(|count| *count += 1);
        self.closed.subscribe().wait_for(|closed| !closed).await.unwrap();
        self.kept_back.send_modify(|count| *count -= 1);
    }
}

struct Behind<T: ?Sized>(Box<T>, Arc<Obstacle>);

#[async_trait]
impl Database for Behind<dyn Database> {
    async fn migrate(&self) -> Result<Vec<String>, Error> {
        self.0.migrate().await
    }

    async fn open(&self, wanted: Wanted) -> Result<Opened, Error> {
        let opened = self.0.open(wanted).await?;
        let store = Box::new(Behind(opened.store, Arc::clone(&self.1)));
        let reader = Arc::new(ReaderBehind(opened.reader, Arc::clone(&self.1)));
        Ok(Opened { store, reader, ..opened })
    }

    async fn import(&self, pool: ImportedPool<'_>) -> Result<(), Error> {
        self.0.import(pool).await
    }

    async fn audit(&self) -> Result<Vec<String>, Error> {
        self.0.audit().await
    }

    async fn describe(&self) -> Result<Vec<(String, String)>, Error> {
        self.0.describe().await
    }

    async fn begin_epoch(&self, behind: bool) -> Result<store::NewEpoch, Error> {
        self.0.begin_epoch(behind).await
    }

    async fn backup(&self, to: &std::path::Path, replace: bool) -> Result<store::Backup, Error> {
        self.0.backup(to, replace).await
    }
}

#[async_trait]
impl Store for Behind<dyn Store> {
    async fn begin(&mut self, known: &Position) -> Result<Begun, Error> {
        self.0.begin(known).await
    }

    async fn commit(&mut self, entry: &Entry) -> Result<(), Error> {
        let committed = self.0.commit(entry).await;
        self.1.pass().await;
        committed
    }

    async fn read_clock(&mut self) -> Result<Timestamp, Error> {
        self.0.read_clock().await
    }
    async fn abandon(&mut self) {
        self.0.abandon().await;
    }

    async fn has(&mut self, entry: &Position) -> Result<Option<bool>, Error> {
        self.0.has(entry).await
    }

    async fn keys(&mut self, keys: &[UserKey]) -> Result<KeysFound, Error> {
        self.0.keys(keys).await
    }

    async fn key_usage(&mut self, sample: u64) -> Result<KeyUsage, Error> {
        self.0.key_usage(sample).await
    }
}

struct ReaderBehind(Arc<dyn Reader>, Arc<Obstacle>);

#[async_trait]
impl Reader for ReaderBehind {
    fn shared(&self) -> bool {
        self.0.shared()
    }

    async fn news(&self, known: &Position) -> Result<(Timestamp, News), Error> {
        self.0.news(known).await
    }

    fn now(&self) -> Option<Timestamp> {
        self.0.now()
    }

    async fn history(
        &self,
        token: TokenId,
        before: Option<Fence>,
        limit: usize,
    ) -> Result<Vec<LeaseRecord>, Error> {
        self.0.history(token, before, limit).await
    }

    async fn lease(&self, id: LeaseId) -> Result<Option<LeaseRecord>, Error> {
        self.0.lease(id).await
    }

    async fn leases(&self, ids: &[LeaseId]) -> Result<Vec<Lease>, Error> {
        self.0.leases(ids).await
    }

    async fn search(
        &self,
        query: &LeaseQuery,
        now: Timestamp,
        limit: usize,
    ) -> Result<LeasePage, Error> {
        match self.1.searches.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(error) => {
                return Err(Error::TryAgain { what: "a test is", cause: error.into() });
            }
        }
        self.0.search(query, now, limit).await
    }

    async fn pool_named(&self, name: &str) -> Result<Option<PoolId>, Error> {
        self.0.pool_named(name).await
    }

    async fn token_named(&self, pool: PoolId, name: &str) -> Result<Option<TokenId>, Error> {
        self.0.token_named(pool, name).await
    }

    async fn pool_names(&self, ids: &[PoolId]) -> Result<Vec<(PoolId, PoolName)>, Error> {
        self.0.pool_names(ids).await
    }

    async fn token_names(
        &self,
        ids: &[TokenId],
    ) -> Result<Vec<(TokenId, PoolId, TokenName)>, Error> {
        self.0.token_names(ids).await
    }

    async fn audit(&self, query: &AuditQuery, limit: usize) -> Result<Vec<AuditEntry>, Error> {
        self.0.audit(query, limit).await
    }

    async fn key_uses(&self, keys: &[ApiKeyId]) -> Result<Vec<(ApiKeyId, Timestamp)>, Error> {
        self.0.key_uses(keys).await
    }

    async fn journal(
        &self,
        epoch: i64,
        version: i64,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, Error> {
        self.1.journal.acquire().await.unwrap().forget();
        self.0.journal(epoch, version, limit).await
    }
}
