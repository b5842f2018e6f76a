use async_trait::async_trait;
use pool::{ApiKeyId, Fence, Lease, LeaseId, PoolId, PoolName, TokenId, TokenName};
use store::{AuditEntry, AuditQuery, LeasePage, LeaseQuery, LeaseRecord};

use std::sync::atomic::Ordering::SeqCst;

use store::{Entry, News};

use super::*;

/// Readers that answer a probe, or fail it. Tests call nothing else.
struct Probed(Arc<AtomicBool>);

#[async_trait]
impl Reader for Probed {
    fn shared(&self) -> bool {
        false
    }
    async fn probe(&self) -> Result<(), store::Error> {
        if self.0.load(SeqCst) { Ok(()) } else { std::future::pending().await }
    }
    async fn news(&self, _: &Position) -> Result<(Timestamp, News), store::Error> {
        unimplemented!()
    }
    fn now(&self) -> Option<Timestamp> {
        None
    }
    async fn history(
        &self,
        _: TokenId,
        _: Option<Fence>,
        _: usize,
    ) -> Result<Vec<LeaseRecord>, store::Error> {
        unimplemented!()
    }
    async fn lease(&self, _: LeaseId) -> Result<Option<LeaseRecord>, store::Error> {
        unimplemented!()
    }
    async fn leases(&self, _: &[LeaseId]) -> Result<Vec<Lease>, store::Error> {
        unimplemented!()
    }
    async fn search(
        &self,
        _: &LeaseQuery,
        _: Timestamp,
        _: usize,
    ) -> Result<LeasePage, store::Error> {
        unimplemented!()
    }
    async fn pool_named(&self, _: &str) -> Result<Option<PoolId>, store::Error> {
        unimplemented!()
    }
    async fn token_named(&self, _: PoolId, _: &str) -> Result<Option<TokenId>, store::Error> {
        unimplemented!()
    }
    async fn pool_names(&self, _: &[PoolId]) -> Result<Vec<(PoolId, PoolName)>, store::Error> {
        unimplemented!()
    }
    async fn token_names(
        &self,
        _: &[TokenId],
    ) -> Result<Vec<(TokenId, PoolId, TokenName)>, store::Error> {
        unimplemented!()
    }
    async fn audit(&self, _: &AuditQuery, _: usize) -> Result<Vec<AuditEntry>, store::Error> {
        unimplemented!()
    }
    async fn key_uses(&self, _: &[ApiKeyId]) -> Result<Vec<(ApiKeyId, Timestamp)>, store::Error> {
        unimplemented!()
    }
    async fn journal(&self, _: i64, _: i64, _: usize) -> Result<Option<Vec<Entry>>, store::Error> {
        unimplemented!()
    }
}

#[tokio::test]
async fn readers_that_do_not_answer_show() {
    let (shared, _news, _settlements) = Shared::new(Duration::from_millis(10), Machine::this());
    let answers = Arc::new(AtomicBool::new(true));
    assert!(shared.reader.set(Arc::new(Probed(Arc::clone(&answers)))).is_ok());
    let until = async |readable: bool| {
        while shared.is_readable() != readable {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let change = async {
        answers.store(false, SeqCst);
        until(false).await;
        answers.store(true, SeqCst);
        until(true).await;
    };
    tokio::select! {
        () = shared.probe() => unreachable!("it has no end"),
        () = change => {}
        () = tokio::time::sleep(Duration::from_secs(30)) => panic!("it did not show"),
    }
}
