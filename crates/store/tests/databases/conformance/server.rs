use std::sync::Arc;
use std::time::Duration;

use pool::{
    Allocation, BatchContext, Command, Fence, Finished, HolderCondition, IdempotencyKeys, Lease,
    LeaseId, Observer, Outcome, Policy, PolicyPatch, Pool, Timestamp, Token, TokenId, User,
    UserKey,
};
use store::{
    BatchId, Entry, Error, Housekeeper, KeysFound, LeaseRecord, News, Opened, Position, Reader,
    ServerId, Snapshot, Store, Wanted,
};
use uuid::Uuid;

use super::AnyDb;

/// Accepts any pool.
pub const ANY: Wanted = Wanted { size: None, policy: PolicyPatch::NONE, update_policy: false };

pub const MINUTE: Policy = Policy::of_lease(Duration::from_mins(1));

/// A pool of `size` tokens, whose leases last a minute.
pub fn tokens(size: usize) -> Wanted {
    under(MINUTE, size)
}

/// A pool of `size` tokens under that policy.
pub fn under(policy: Policy, size: usize) -> Wanted {
    Wanted { size: Some(size), policy: policy.into(), update_policy: false }
}

/// A new id, larger than those before.
#[expect(clippy::disallowed_methods, reason = "tests make their ids here")]
pub fn id() -> Uuid {
    Uuid::now_v7()
}

/// A server without an engine: decides and commits one batch at a time.
pub struct Server {
    pub store: Box<dyn Store>,
    pub housekeeper: Box<dyn Housekeeper>,
    pub reader: Arc<dyn Reader>,
    pub position: Position,
    pub pool: Pool,
    /// When the newest entry was decided.
    pub at: Timestamp,
    pub id: ServerId,
    /// How far its pool's time is ahead of the database's.
    ahead: Duration,
}

impl Server {
    pub async fn start(db: &dyn AnyDb, wanted: Wanted) -> Self {
        Server::of(db.database().open(wanted).await.unwrap())
    }

    pub fn of(opened: Opened) -> Self {
        let Opened { store, housekeeper, reader, snapshot, now, .. } = opened;
        let Snapshot { position, at, pool } = snapshot;
        let ahead = at.since(now);
        Server { store, housekeeper, reader, position, pool, at, id: ServerId(id()), ahead }
    }

    /// Stops this server and starts another.
    pub async fn restart(self, db: &dyn AnyDb) -> Self {
        drop(self);
        Server::start(db, ANY).await
    }

    /// Advances the pool's time by `time`.
    pub fn wait(&mut self, time: Duration) {
        self.ahead += time;
    }

    /// Decides the commands as one batch, and commits it.
    pub async fn run(&mut self, commands: &[Command]) -> (Entry, Vec<Outcome>) {
        let (entry, outcomes) = self.decide(commands).await;
        self.commit(&entry).await.unwrap();
        (entry, outcomes)
    }

    /// Decides the commands as one batch, which has begun, and does not commit it.
    pub async fn decide(&mut self, commands: &[Command]) -> (Entry, Vec<Outcome>) {
        let begun = self.store.begin(&self.position).await.unwrap();
        match begun.news {
            News::Entries(entries) => assert_eq!(entries, [], "no other server writes here"),
            News::Whole(_) => panic!("the copy is current"),
        }
        let at = self.at.max(begun.now.after(self.ahead));
        let server = self.id;
        let journal_at = self.reader.shared().then_some(self.at);
        let keys: Vec<_> = commands.iter().filter_map(key_of).collect();
        let found = self.store.keys(&keys).await.unwrap().remembered;
        let keys = IdempotencyKeys { found, ..IdempotencyKeys::default() };
        let mut pool = self.pool.clone();
        let mut batch =
            pool.batch(BatchContext { observer: Observer { now: at, server, journal_at }, keys });
        let outcomes = commands.iter().map(|c| batch.decide(c).unwrap()).collect();
        let Finished { changes, keys_used: keys, .. } = batch.finish();
        let Position { epoch, version, .. } = self.position;
        let position = Position { epoch, version: version + 1, batch: BatchId(id()) };
        (Entry { position, server, at, fence: pool.fence(), changes, keys }, outcomes)
    }

    pub async fn commit(&mut self, entry: &Entry) -> Result<(), Error> {
        self.store.commit(entry).await?;
        for change in &entry.changes {
            self.pool.apply(change).unwrap();
        }
        (self.position, self.at) = (entry.position, entry.at);
        Ok(())
    }

    /// Allocates for `user`, in a batch of its own.
    pub async fn allocate(&mut self, user: &str) -> Lease {
        let (_, outcomes) = self.run(&[allocate(user)]).await;
        lease(&outcomes[0])
    }

    pub async fn release(&mut self, token_id: TokenId) -> Entry {
        self.run(&[release(token_id)]).await.0
    }

    /// Looks up the keys, as within a batch.
    pub async fn keys(&mut self, keys: &[UserKey]) -> KeysFound {
        self.store.begin(&self.position).await.unwrap();
        let found = self.store.keys(keys).await.unwrap();
        self.store.abandon().await;
        found
    }

    pub async fn history(&self, token: TokenId) -> Vec<Lease> {
        self.records(token).await.into_iter().map(|record| record.lease).collect()
    }

    pub async fn records(&self, token: TokenId) -> Vec<LeaseRecord> {
        self.reader.history(token, None, 1000).await.unwrap()
    }

    /// All observable facts about the pool.
    pub fn facts(&self) -> Facts {
        facts(&self.pool, self.position, self.at)
    }
}

/// Facts that are equal for equal copies of a pool.
#[derive(Debug, PartialEq)]
pub struct Facts {
    position: Position,
    at: Timestamp,
    policy: Policy,
    fence: Fence,
    tokens: Vec<(Token, Option<Lease>)>,
}

pub fn facts(pool: &Pool, position: Position, at: Timestamp) -> Facts {
    let tokens = pool.tokens(0).map(|view| (view.token.clone(), view.latest.cloned())).collect();
    Facts { position, at, policy: pool.policy(), fence: pool.fence(), tokens }
}

pub fn allocate(user: &str) -> Command {
    Command::Allocate(allocation(user))
}

pub fn allocation(user: &str) -> Allocation {
    Allocation::new(LeaseId(id()), User::new(user).unwrap())
}

pub fn release(token_id: TokenId) -> Command {
    Command::Release { token_id, if_held: HolderCondition::default() }
}

fn key_of(command: &Command) -> Option<UserKey> {
    match command {
        Command::Allocate(allocation) => allocation.user_key(),
        _ => None,
    }
}

/// The lease that was granted.
pub fn lease(outcome: &Outcome) -> Lease {
    match outcome {
        Outcome::Allocated(grant) => grant.lease.clone(),
        other => panic!("{other:?} is not a lease"),
    }
}

/// The sentence for the operator.
pub fn refusal<T>(result: Result<T, Error>) -> String {
    match result.err().expect("refused") {
        Error::Operator(sentence) => sentence,
        other => panic!("{other:?} does not state a remedy"),
    }
}

/// Asserts that the database itself refused the data.
pub fn assert_data<T: std::fmt::Debug>(result: Result<T, Error>) {
    match result {
        Err(Error::Data(_)) => {}
        other => panic!("{other:?}"),
    }
}
