use std::sync::Arc;
use std::time::Duration;

use pool::{
    Allocation, ApiKeyId, BatchContext, Command, Fence, Finished, HolderCondition, IdempotencyKeys,
    LONGEST_LEASE, Lease, LeaseId, Ledger, Note, Observer, Outcome, Plan, Policy, PolicyPatch,
    Pool, PoolId, PoolName, PoolRecord, PoolWanted, Ticket, Timestamp, Token, TokenId, TokenWanted,
    User, UserKey,
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

/// Number of journal entries by which [`Server::start`] adds the pools beside that of the tests.
pub const BESIDE: u64 = 2;

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
    pub ledger: Ledger,
    /// When the newest entry was decided.
    pub at: Timestamp,
    pub id: ServerId,
    /// How far its ledger's time is ahead of the database's.
    ahead: Duration,
}

impl Server {
    /// Starts a server. In a new ledger, the pool of the tests is one of three: a leak from the others, or
    /// into them, changes what tests compare.
    pub async fn start(db: &dyn AnyDb, wanted: Wanted) -> Self {
        let mut server = Server::alone(db, wanted).await;
        if server.position.version == 1 {
            server.add_neighbours().await;
        }
        server
    }

    /// Starts a server. A new ledger has only the pool of the tests.
    pub async fn alone(db: &dyn AnyDb, wanted: Wanted) -> Self {
        Server::of(db.database().open(wanted).await.unwrap())
    }

    /// Adds two pools whose tokens have the names and the values of the first ones of `default`, and
    /// are held by users of the tests, for as long as a lease can last.
    async fn add_neighbours(&mut self) {
        let first: Vec<_> = self.pool().tokens(0).take(4).map(|view| view.token.clone()).collect();
        let token = |token: &Token| TokenWanted {
            value: Some(token.value.clone()),
            ..TokenWanted::new(Some(token.name.clone()), TokenId(id()), token.value.clone())
        };
        let pool = |name| PoolWanted {
            policy: PolicyPatch { lease: Some(LONGEST_LEASE), ..PolicyPatch::default() },
            tokens: Some(first.iter().map(token).collect()),
            ..PoolWanted::new(PoolName::new(name).unwrap())
        };
        let pools = ["a-neighbour", "z-neighbour"].map(pool).into();
        let (_, outcomes) = self.run(&[Command::Apply(Plan { pools, ..Plan::default() })]).await;
        assert!(matches!(&outcomes[..], [Outcome::Applied(..)]), "{outcomes:?}");
        let neighbours: Vec<_> = self.neighbours().map(|(record, ..)| record.id).collect();
        let users = ["Ada", "Bea"].iter().take(first.len());
        let of = |pool: PoolId| {
            let note = Note::new("neighbour").ok();
            let held = users.clone().map(move |user| Allocation { pool, ..allocation(user) });
            held.map(move |held| Command::Allocate(Allocation { note: note.clone(), ..held }))
        };
        self.run(&neighbours.into_iter().flat_map(of).collect::<Vec<_>>()).await;
    }

    /// Number of leases in the pools other than `default`: the fence before the first of a test.
    pub fn held_beside(&self) -> i64 {
        let tokens = self.neighbours().flat_map(|(_, tokens, _)| tokens);
        i64::try_from(tokens.filter(|(_, latest)| latest.is_some()).count()).unwrap()
    }

    /// The pools other than `default`.
    fn neighbours(&self) -> impl Iterator<Item = PoolFacts> {
        self.ledger.pools().filter(|pool| pool.id() != PoolId::DEFAULT).map(pool_facts)
    }

    pub fn of(opened: Opened) -> Self {
        let Opened { store, housekeeper, reader, snapshot, now, .. } = opened;
        let Snapshot { position, at, ledger } = snapshot;
        let ahead = at.since(now);
        Server { store, housekeeper, reader, position, ledger, at, id: ServerId(id()), ahead }
    }

    /// Stops this server and starts another.
    pub async fn restart(self, db: &dyn AnyDb) -> Self {
        let neighbours: Vec<_> = self.neighbours().collect();
        drop(self);
        let server = Server::alone(db, ANY).await;
        assert!(server.neighbours().eq(neighbours), "other pools are as they were");
        server
    }

    /// Advances the ledger's time by `time`.
    pub fn wait(&mut self, time: Duration) {
        self.ahead += time;
    }

    /// Decides the commands as one batch, and commits it.
    pub async fn run(&mut self, commands: &[Command]) -> (Entry, Vec<Outcome>) {
        let (entry, outcomes) = self.decide(commands).await;
        self.commit(&entry).await.unwrap();
        (entry, outcomes)
    }

    /// As [`Server::run`], with the commands of an API key.
    pub async fn run_for(
        &mut self,
        key: Option<ApiKeyId>,
        commands: &[Command],
    ) -> (Entry, Vec<Outcome>) {
        let (entry, outcomes) = self.decide_for(key, commands).await;
        self.commit(&entry).await.unwrap();
        (entry, outcomes)
    }

    /// Decides the commands as one batch, which has begun, and does not commit it.
    pub async fn decide(&mut self, commands: &[Command]) -> (Entry, Vec<Outcome>) {
        self.decide_for(None, commands).await
    }

    async fn decide_for(
        &mut self,
        key: Option<ApiKeyId>,
        commands: &[Command],
    ) -> (Entry, Vec<Outcome>) {
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
        let mut ledger = self.ledger.clone();
        let mut batch =
            ledger.batch(BatchContext { observer: Observer { now: at, server, journal_at }, keys });
        let outcomes = commands.iter().map(|c| batch.decide_for(key, c).unwrap()).collect();
        let Finished { changes, keys_used: keys, .. } = batch.finish();
        let Position { epoch, version, .. } = self.position;
        let position = Position { epoch, version: version + 1, batch: BatchId(id()) };
        (Entry { position, server, at, fence: ledger.fence(), changes, keys }, outcomes)
    }

    pub async fn commit(&mut self, entry: &Entry) -> Result<(), Error> {
        self.store.commit(entry).await?;
        for change in &entry.changes {
            self.ledger.apply(change).unwrap();
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

    /// The pool `default`.
    pub fn pool(&self) -> &Pool {
        self.ledger.pool(PoolId::DEFAULT).unwrap()
    }

    /// All observable facts about the ledger.
    pub fn facts(&self) -> Facts {
        facts(&self.ledger, self.position, self.at)
    }
}

/// Facts that are equal for equal copies of a ledger.
#[derive(Debug, PartialEq)]
pub struct Facts {
    position: Position,
    at: Timestamp,
    fence: Fence,
    last_pool: Option<PoolId>,
    pools: Vec<PoolFacts>,
}

type PoolFacts = (PoolRecord, Vec<(Token, Option<Lease>)>, Vec<Ticket>);

pub fn facts(ledger: &Ledger, position: Position, at: Timestamp) -> Facts {
    let (fence, last_pool) = (ledger.fence(), ledger.last_pool());
    Facts { position, at, fence, last_pool, pools: ledger.pools().map(pool_facts).collect() }
}

fn pool_facts(pool: &Pool) -> PoolFacts {
    let tokens = pool.tokens(0).map(|view| (view.token.clone(), view.latest.cloned()));
    (pool.record().clone(), tokens.collect(), pool.tickets().cloned().collect())
}

pub fn allocate(user: &str) -> Command {
    Command::Allocate(allocation(user))
}

pub fn allocation(user: &str) -> Allocation {
    Allocation::new(LeaseId(id()), User::new(user).unwrap())
}

pub fn release(token_id: TokenId) -> Command {
    Command::Release { pool: PoolId::DEFAULT, token_id, if_held: HolderCondition::default() }
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
