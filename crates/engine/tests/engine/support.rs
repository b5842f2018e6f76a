//! Engines for tests: on either database, several on one, stopped and started again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use engine::{
    AllocateRequest, Allocated, Engine, Fatal, Handle, Health, ReleaseOutcome, Settings, View,
};
use pool::{Grant, HolderCondition, Lease, Policy, Pool, PoolId, Refusal, TokenId, User};
use store::{Clock, Database, DatabaseUrl, SystemClock, Wanted};
use testbed::eventually;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A test's database, and the clock of its servers.
pub struct TestDb {
    pub url: DatabaseUrl,
    /// The URL as text.
    pub at: String,
    clock: Arc<dyn Clock>,
    _db: testbed::TestDb,
}

impl From<testbed::TestDb> for TestDb {
    fn from(db: testbed::TestDb) -> Self {
        let at = db.url().to_owned();
        TestDb { url: at.parse().unwrap(), at, clock: Arc::new(SystemClock), _db: db }
    }
}

impl TestDb {
    /// An SQLite file whose clock the test sets.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        TestDb { clock, ..testbed::TestDb::sqlite().into() }
    }

    /// The same database with another clock.
    pub fn reclocked(self, clock: Arc<dyn Clock>) -> Self {
        TestDb { clock, ..self }
    }

    pub fn database(&self) -> Box<dyn Database> {
        store::database(&self.url, Arc::clone(&self.clock))
    }

    /// Starts an engine for a pool of `size` tokens with leases of that length.
    pub async fn start(&self, size: usize, lease: Duration) -> TestEngine {
        self.start_with(self.database(), size, lease, Settings::default()).await
    }

    pub async fn start_with(
        &self,
        database: Box<dyn Database>,
        size: usize,
        lease: Duration,
        settings: Settings,
    ) -> TestEngine {
        self.start_under(database, size, Policy::of_lease(lease), settings).await
    }

    /// Starts an engine for a pool of `size` tokens with that policy.
    pub async fn start_policy(&self, size: usize, policy: Policy) -> TestEngine {
        self.start_under(self.database(), size, policy, Settings::default()).await
    }

    pub async fn start_policy_on(
        &self,
        database: Box<dyn Database>,
        size: usize,
        policy: Policy,
    ) -> TestEngine {
        self.start_under(database, size, policy, Settings::default()).await
    }

    async fn start_under(
        &self,
        database: Box<dyn Database>,
        size: usize,
        policy: Policy,
        settings: Settings,
    ) -> TestEngine {
        let wanted = Wanted { size: Some(size), policy: policy.into(), update_policy: false };
        let running = TestEngine::of(engine::start(database, wanted, settings));
        running.ready().await;
        running
    }

    /// Fails if the database violates an invariant.
    pub async fn audit(&self) {
        assert_eq!(self.database().audit().await.unwrap(), Vec::<String>::new());
    }
}

/// A running engine.
pub struct TestEngine {
    pub handle: Handle,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Fatal>>,
}

impl TestEngine {
    pub fn of((handle, engine): (Handle, Engine)) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(engine.run(async move { drop(stopped.await) }));
        TestEngine { handle, stop, task }
    }

    pub async fn ready(&self) {
        eventually("the engine is ready", || async { self.handle.health() == Health::Ready }).await;
    }

    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.unwrap().unwrap();
    }

    /// Ends the engine at once, as if its process were killed.
    pub fn die(self) {
        self.task.abort();
    }

    /// Why the engine stopped by itself.
    pub async fn fatal(self) -> String {
        self.task.await.unwrap().unwrap_err().to_string()
    }

    pub async fn allocate(&self, user: &str) -> Grant {
        self.handle.allocate(user_named(user)).await.unwrap().unwrap().grant
    }

    /// Starts an allocation.
    pub fn ask(
        &self,
        asked: AllocateRequest,
    ) -> JoinHandle<Result<Result<Grant, Refusal>, engine::Error>> {
        let handle = self.handle.clone();
        let granted = |allocated: Allocated| allocated.grant;
        tokio::spawn(async move { Ok(handle.allocate(asked).await?.map(granted)) })
    }

    /// Releases the token and returns the lease that ended for it.
    pub async fn release(&self, token: TokenId) -> Option<Lease> {
        match self.handle.release(PoolId::DEFAULT, token, HolderCondition::default()).await.unwrap()
        {
            ReleaseOutcome::Free { ended } => ended,
            other => panic!("{other:?}"),
        }
    }

    pub async fn waiting(&self) -> usize {
        self.handle.read(|view| view.waiting(default(view))).await.unwrap()
    }

    /// Starts `count` allocations at the same time.
    pub async fn allocate_at_once(&self, count: usize) -> Vec<Allocated> {
        let tasks: Vec<_> = (0..count)
            .map(|number| {
                let handle = self.handle.clone();
                tokio::spawn(
                    async move { handle.allocate(user_named(&format!("user {number}"))).await },
                )
            })
            .collect();
        let mut granted = Vec::new();
        for task in tasks {
            granted.push(task.await.unwrap().unwrap().unwrap());
        }
        granted
    }

    pub async fn running(&self) -> Vec<Lease> {
        let look = |view: engine::View<'_>| {
            default(view).tokens(0).filter_map(|token| token.running(view.now).cloned()).collect()
        };
        self.handle.read(look).await.unwrap()
    }

    pub async fn history(&self, token: TokenId) -> Vec<Lease> {
        let page =
            self.handle.history(PoolId::DEFAULT, token, None, 1_000_000).await.unwrap().unwrap();
        page.leases.into_iter().map(|record| record.lease).collect()
    }

    /// Returns the history of every token, checked: no overlaps, one chain, fences distinct.
    pub async fn whole_history(&self) -> HashMap<TokenId, Vec<Lease>> {
        let look = |view: engine::View<'_>| {
            default(view).tokens(0).map(|token| token.token.id).collect::<Vec<_>>()
        };
        let mut all = HashMap::new();
        let mut fences = HashSet::new();
        for token in self.handle.read(look).await.unwrap() {
            let history = self.history(token).await;
            for pair in history.windows(2) {
                let (later, earlier) = (&pair[0], &pair[1]);
                let end = earlier.end.expect("only the latest lease may be running");
                assert!(end.at <= later.started_at, "{earlier:?} overlaps {later:?}");
                assert_eq!(later.previous_fence, earlier.fence);
            }
            for lease in &history {
                assert!(fences.insert(lease.fence), "{:?} was given twice", lease.fence);
            }
            all.insert(token, history);
        }
        all
    }
}

/// The pool `default`.
pub fn default(view: View<'_>) -> &Pool {
    view.pool(PoolId::DEFAULT).unwrap()
}

pub fn user_named(name: &str) -> User {
    User::new(name).unwrap()
}
