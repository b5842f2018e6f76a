//! Several pools side by side, on both databases and on several servers.

use std::time::Duration;

use crate::support::{TestDb, TestEngine, user_named};
use engine::{
    AllocateRequest, BatchEvents, Error, Event, EventBatch, EventKind, LeaseQuery, PoolEvent,
    ReleaseOutcome, Scope, TaintOutcome, TokenEvent, UntaintOutcome, wanted_token,
};
use pool::{
    Change, Effect, EndReason, Grant, HolderCondition, IdempotencyKey, Intent, Labels, Note, Plan,
    PlanRule, Policy, PolicyPatch, PoolId, PoolName, PoolWanted, Refusal, Taint, TaintName,
    TokenId, TokenName, TokenValue, WhenFull,
};
use testbed::{eventually, on_both};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_mins(2);

fn pool_name(name: &str) -> PoolName {
    PoolName::new(name).unwrap()
}

fn token_name(name: &str) -> TokenName {
    TokenName::new(name).unwrap()
}

/// A plan of one pool with these tokens, which waits when it is full.
fn plan(name: &str, tokens: &[&str]) -> Plan {
    let policy = PolicyPatch { when_full: Some(WhenFull::Wait), ..PolicyPatch::NONE };
    let tokens = tokens.iter().map(|token| wanted_token(Some(token_name(token)))).collect();
    let pool = PoolWanted { policy, tokens: Some(tokens), ..PoolWanted::new(pool_name(name)) };
    Plan { pools: vec![pool], ..Plan::default() }
}

fn deletion(name: &str, end_leases: bool) -> Plan {
    let pool = PoolWanted { delete: true, ..PoolWanted::new(pool_name(name)) };
    Plan { pools: vec![pool], prune: false, end_leases }
}

async fn apply(engine: &TestEngine, plan: Plan) -> Vec<Change> {
    engine.handle.apply(plan).await.unwrap().unwrap()
}

/// Number of the pool.
async fn id(engine: &TestEngine, name: &str) -> PoolId {
    let look = |view: engine::View<'_>| view.ledger.pool_named(name).map(pool::Pool::id);
    engine.handle.read(look).await.unwrap().unwrap()
}

/// Creates a pool and returns its number.
async fn create(engine: &TestEngine, name: &str, tokens: &[&str]) -> PoolId {
    apply(engine, plan(name, tokens)).await;
    id(engine, name).await
}

fn asked(pool: PoolId, user: &str) -> AllocateRequest {
    AllocateRequest { pool, ..AllocateRequest::from(user_named(user)) }
}

async fn allocate(engine: &TestEngine, pool: PoolId, user: &str) -> Grant {
    engine.handle.allocate(asked(pool, user)).await.unwrap().unwrap().grant
}

type Waiting = JoinHandle<Result<Result<Grant, Refusal>, Error>>;

/// Starts an allocation that waits; returns once it is in the queue.
async fn queue(engine: &TestEngine, asked: AllocateRequest) -> Waiting {
    let before = waiting(engine, asked.pool).await;
    let pool = asked.pool;
    let request = engine.ask(AllocateRequest { wait: Some(Duration::from_mins(1)), ..asked });
    eventually("it waits", || async { waiting(engine, pool).await > before }).await;
    request
}

async fn waiting(engine: &TestEngine, pool: PoolId) -> usize {
    let look = |view: engine::View<'_>| view.pool(pool).map_or(0, |pool| view.waiting(pool));
    engine.handle.read_of(Scope::Pool(pool), look).await.unwrap()
}

/// Names of the tokens of a pool, in order.
async fn tokens(engine: &TestEngine, pool: PoolId) -> Vec<String> {
    let look = |view: engine::View<'_>| {
        let tokens = view.pool(pool).into_iter().flat_map(|pool| pool.tokens(0));
        tokens.map(|view| view.token.name.to_string()).collect()
    };
    engine.handle.read_of(Scope::Pool(pool), look).await.unwrap()
}

async fn token(engine: &TestEngine, pool: PoolId, name: &str) -> TokenId {
    let look = |view: engine::View<'_>| {
        view.pool(pool).and_then(|pool| pool.token_named(name)).map(|view| view.token.id)
    };
    engine.handle.read_of(Scope::Pool(pool), look).await.unwrap().unwrap()
}

#[on_both]
async fn a_full_pool_does_not_touch_another(db: TestDb) {
    let engine = db.start(1, LONG).await;
    let other = create(&engine, "other", &["a", "b"]).await;
    let first = engine.allocate("first").await.lease;
    let theirs = allocate(&engine, other, "theirs").await;
    assert_eq!((first.pool, theirs.lease.pool), (PoolId::DEFAULT, other));
    assert_eq!(theirs.evicted, None);
    // The pool `default` evicts, and only its own leases.
    let second = engine.allocate("second").await;
    assert_eq!(second.evicted.map(|lease| lease.id), Some(first.id));
    assert!(engine.handle.lease(theirs.lease.id).await.unwrap().unwrap().lease.end.is_none());
    // A queue in one, a free token in the other.
    allocate(&engine, other, "theirs").await;
    let waits = queue(&engine, asked(other, "waits")).await;
    engine.release(first.token_id).await;
    let third = engine.allocate("third").await;
    assert_eq!(third.evicted, None);
    assert!(!waits.is_finished());
    assert_eq!((waiting(&engine, other).await, engine.waiting().await), (1, 0));
    // Clearing one leaves the leases of the other.
    assert_eq!(engine.handle.clear(PoolId::DEFAULT).await, Ok(1));
    assert!(!waits.is_finished());
    assert_eq!(engine.handle.clear(other).await, Ok(2));
    let served = waits.await.unwrap().unwrap().unwrap();
    assert_eq!(served.lease.pool, other);
    assert!(engine.running().await.is_empty());
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn tokens_and_leases_belong_to_one_pool(db: TestDb) {
    let engine = db.start(1, LONG).await;
    let other = create(&engine, "other", &["a"]).await;
    let theirs = allocate(&engine, other, "theirs").await.lease;
    let handle = &engine.handle;
    let any = HolderCondition::default();
    let released = handle.release(PoolId::DEFAULT, theirs.token_id, any).await.unwrap();
    assert_eq!(released, ReleaseOutcome::UnknownToken);
    let history = async |pool| handle.history(pool, theirs.token_id, None, 10).await.unwrap();
    assert_eq!(history(PoolId::DEFAULT).await, None);
    let page = history(other).await.unwrap();
    let [record] = &page.leases[..] else { panic!("{page:?}") };
    assert_eq!((&record.pool_name[..], &record.token_name[..]), ("other", "a"));
    let shown = handle.lease(theirs.id).await.unwrap().unwrap();
    assert_eq!((&shown.pool_name[..], &shown.token_name[..]), ("other", "a"));
    let ours = engine.allocate("ours").await.lease;
    for status in [None, Some(engine::LeaseStatus::Running)] {
        let found = async |pool| {
            let query = LeaseQuery { pool, status, ..LeaseQuery::default() };
            let page = handle.search(&query, 10).await.unwrap();
            page.leases.iter().map(|record| record.lease.id).collect::<Vec<_>>()
        };
        assert_eq!(found(None).await, [ours.id, theirs.id]);
        assert_eq!(found(Some(other)).await, [theirs.id]);
        assert_eq!(found(Some(PoolId::DEFAULT)).await, [ours.id]);
        assert_eq!(found(Some(PoolId(99))).await, []);
    }
    let nowhere = PoolId(99);
    let refused = handle.allocate(asked(nowhere, "u")).await;
    assert_eq!(refused, Err(Error::UnknownPool));
    assert_eq!(handle.clear(nowhere).await, Err(Error::UnknownPool));
    let released = handle.release(nowhere, ours.token_id, any).await;
    assert_eq!(released, Err(Error::UnknownPool));
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_plan_is_applied_as_its_dry_run_says(db: TestDb) {
    let engine = db.start(2, LONG).await;
    let plans = [
        plan("one", &["a", "b"]),
        Plan {
            pools: [plan("one", &["b", "c"]).pools, plan("two", &["a"]).pools].concat(),
            prune: true,
            end_leases: false,
        },
        deletion("two", false),
    ];
    let held = create(&engine, "held", &["x"]).await;
    allocate(&engine, held, "holder").await;
    // Times of the decision differ.
    let alike = |changes: &[Change]| {
        let timeless = |change: &Change| match change.clone() {
            Change::PoolCreated(record) => format!("{:?} {:?}", record.id, record.policy),
            Change::TokenAdded(token) => {
                format!("{:?} {:?} {:?}", token.id, token.pool, token.name)
            }
            Change::TokenRetired { token_id, .. } => format!("{token_id:?} retired"),
            Change::PoolDeleted { pool, .. } => format!("{pool:?} deleted"),
            other => format!("{other:?}"),
        };
        changes.iter().map(timeless).collect::<Vec<_>>()
    };
    for plan in plans {
        let dry = engine.handle.plan(&plan).await.unwrap().unwrap();
        assert!(!dry.is_empty());
        let version = async || engine.handle.read(|view| view.stamp.version).await.unwrap();
        let before = version().await;
        let done = apply(&engine, plan.clone()).await;
        assert_eq!(alike(&dry), alike(&done));
        assert_eq!(version().await, before + 1);
        if plan.pools.iter().all(|pool| !pool.delete) {
            // The ids of new tokens are not used the second time.
            assert_eq!(engine.handle.plan(&plan).await.unwrap(), Ok(Vec::new()), "as planned");
            assert_eq!(apply(&engine, plan).await, []);
            assert_eq!(version().await, before + 1, "nothing was written");
        }
    }
    let one = id(&engine, "one").await;
    assert_eq!(tokens(&engine, one).await, ["b", "c"]);
    for refused in [deletion("held", false), deletion("nowhere", false), plan("default", &["new"])]
    {
        let dry = engine.handle.plan(&refused).await.unwrap().unwrap_err();
        assert_eq!(engine.handle.apply(refused).await.unwrap().unwrap_err(), dry);
    }
    let refusal = engine.handle.plan(&deletion("held", false)).await.unwrap().unwrap_err();
    assert_eq!(refusal.rule, PlanRule::InUse { running: 1 });
    engine.stop().await;
    db.audit().await;
    // Everything is there after a restart.
    let engine = db.start(2, LONG).await;
    assert_eq!(tokens(&engine, one).await, ["b", "c"]);
    assert_eq!(engine.handle.plan(&plan("held", &["x"])).await.unwrap(), Ok(Vec::new()));
    assert_eq!(engine.handle.clear(held).await, Ok(1));
    let next = create(&engine, "next", &[]).await;
    assert!(next > one.max(held), "numbers are not used again");
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_token_retired_while_it_is_leased_stays_until_its_lease_ends(db: TestDb) {
    let engine = db.start(1, LONG).await;
    let pool = create(&engine, "pool", &["a", "b"]).await;
    let lease = allocate(&engine, pool, "holder").await.lease;
    let retire = |id| {
        let entry = pool::TokenWanted { intent: Intent::Retire(id), ..wanted_token(None) };
        let wanted = PoolWanted { tokens: Some(vec![entry]), ..PoolWanted::new(pool_name("pool")) };
        Plan { pools: vec![wanted], ..Plan::default() }
    };
    let changes = apply(&engine, retire(lease.token_id)).await;
    assert!(matches!(changes[..], [Change::TokenRetired { .. }]), "{changes:?}");
    let waits = {
        let other = allocate(&engine, pool, "other").await.lease;
        assert_ne!(other.token_id, lease.token_id);
        let waits = queue(&engine, asked(pool, "waits")).await;
        engine.stop().await;
        waits
    };
    assert!(matches!(waits.await.unwrap(), Err(Error::Stopping)));
    let engine = db.start(1, LONG).await;
    assert_eq!(tokens(&engine, pool).await, ["a", "b"]);
    let ended = engine.handle.release_lease(lease.id).await.unwrap();
    assert!(matches!(ended, engine::LeaseOutcome::Done { .. }), "{ended:?}");
    assert_eq!(tokens(&engine, pool).await, ["b"]);
    // Its history remains, with its name.
    let shown = engine.handle.lease(lease.id).await.unwrap().unwrap();
    assert_eq!(shown.lease.end.map(|end| end.reason), Some(EndReason::Released));
    assert_eq!(&shown.token_name[..], "a");
    let again = engine.handle.release_lease(lease.id).await.unwrap();
    assert!(matches!(again, engine::LeaseOutcome::Done { .. }), "{again:?}");
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_request_for_a_pool_that_is_deleted_is_given_up(db: TestDb) {
    let engine = db.start(1, LONG).await;
    let pool = create(&engine, "gone", &["a"]).await;
    let lease = allocate(&engine, pool, "holder").await.lease;
    let plain = queue(&engine, asked(pool, "plain")).await;
    let key = IdempotencyKey::new("job").ok();
    let hold = Some(Duration::from_mins(1));
    let keyed = queue(&engine, AllocateRequest { key, hold, ..asked(pool, "keyed") }).await;
    apply(&engine, deletion("gone", true)).await;
    for request in [plain, keyed] {
        assert_eq!(request.await.unwrap().unwrap().unwrap_err(), Refusal::GivenUp);
    }
    assert_eq!(engine.handle.allocate(asked(pool, "late")).await, Err(Error::UnknownPool));
    let shown = engine.handle.lease(lease.id).await.unwrap().unwrap();
    assert_eq!(shown.lease.end.map(|end| end.reason), Some(EndReason::Cleared));
    assert_eq!(&shown.pool_name[..], "gone");
    let query = LeaseQuery { pool: Some(pool), ..LeaseQuery::default() };
    assert_eq!(engine.handle.search(&query, 10).await.unwrap().leases.len(), 1);
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_key_is_of_one_pool(db: TestDb) {
    let engine = db.start(2, LONG).await;
    let other = create(&engine, "other", &["a", "b"]).await;
    let keyed = |pool, token, note: Option<&str>| {
        let key = IdempotencyKey::new("job").ok();
        let note = note.map(|note| Note::new(note).unwrap());
        AllocateRequest { key, token, note, ..asked(pool, "Ada") }
    };
    let first = keyed(other, None, Some("PR 1"));
    let granted = engine.handle.allocate(first.clone()).await.unwrap().unwrap().grant;
    assert_eq!(granted.lease.note.as_deref(), Some("PR 1"));
    assert_eq!(engine.handle.allocate(first).await.unwrap().unwrap().grant, granted);
    for reused in [
        keyed(PoolId::DEFAULT, None, Some("PR 1")),
        keyed(other, Some(granted.lease.token_id), Some("PR 1")),
        keyed(other, None, Some("PR 2")),
        keyed(other, None, None),
    ] {
        let refused = engine.handle.allocate(reused).await.unwrap().unwrap_err();
        assert_eq!(refused, Refusal::KeyReused);
    }
    assert!(engine.running().await.is_empty());
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_named_token_is_waited_for(db: TestDb) {
    let engine = db.start(1, LONG).await;
    let pool = create(&engine, "pool", &["a", "b"]).await;
    let a = token(&engine, pool, "a").await;
    let named = |user| AllocateRequest { token: Some(a), ..asked(pool, user) };
    let held = engine.handle.allocate(named("holder")).await.unwrap().unwrap().grant.lease;
    assert_eq!(held.token_id, a);
    let waits = queue(&engine, named("waits")).await;
    let other = allocate(&engine, pool, "other").await.lease;
    assert_ne!(other.token_id, a);
    engine.handle.release_lease(held.id).await.unwrap();
    assert_eq!(waits.await.unwrap().unwrap().unwrap().lease.token_id, a);
    let unknown = AllocateRequest { token: Some(TokenId(uuid::Uuid::nil())), ..asked(pool, "u") };
    let refused = engine.handle.allocate(unknown).await.unwrap().unwrap_err();
    assert_eq!(refused, Refusal::UnknownToken);
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_tainted_token_is_not_granted_until_the_taint_is_over(db: TestDb) {
    let engine = db.start(1, LONG).await;
    let pool = create(&engine, "pool", &["a"]).await;
    let a = token(&engine, pool, "a").await;
    let lease = allocate(&engine, pool, "holder").await.lease;
    let handle = &engine.handle;
    let now = handle.read(|view| view.now).await.unwrap();
    let taint = |name: &str, effect, until| Taint {
        name: TaintName::new(name).unwrap(),
        effect,
        reason: Note::new("cable").unwrap(),
        by: Some(user_named("operator")),
        since: now,
        until,
    };
    let done = handle.taint(pool, a, taint("repair", Effect::EndLease, None)).await.unwrap();
    let TaintOutcome::Done { token, ended: Some(ended) } = done else { panic!("{done:?}") };
    assert_eq!((token.taints.len(), ended.id), (1, lease.id));
    assert_eq!(ended.end.map(|end| end.reason), Some(EndReason::Drained));
    let waits = queue(&engine, asked(pool, "waits")).await;
    let soon = Some(handle.read(|view| view.now).await.unwrap().after(Duration::from_millis(500)));
    let short = taint("short", Effect::NoNewLeases, soon);
    handle.taint(pool, a, short).await.unwrap();
    let name = TaintName::new("repair").unwrap();
    let removed = handle.untaint(pool, a, name.clone()).await.unwrap();
    assert!(matches!(removed, UntaintOutcome::Done { removed: Some(_), .. }), "{removed:?}");
    let removed = handle.untaint(pool, a, name).await.unwrap();
    assert!(matches!(removed, UntaintOutcome::Done { removed: None, .. }), "{removed:?}");
    let served = waits.await.unwrap().unwrap().unwrap().lease;
    assert!(Some(served.started_at) >= soon, "{served:?} before {soon:?}");
    let over = taint("over", Effect::Note, Some(now));
    assert!(matches!(handle.taint(pool, a, over).await.unwrap(), TaintOutcome::Refused(_)));
    let note = taint("n", Effect::Note, None);
    let unknown = handle.taint(PoolId::DEFAULT, a, note.clone()).await.unwrap();
    assert_eq!(unknown, TaintOutcome::UnknownToken);
    assert_eq!(handle.taint(PoolId(99), a, note).await, Err(Error::UnknownPool));
    engine.stop().await;
    db.audit().await;
}

/// What an event is about, without its values.
fn told(event: &Event) -> String {
    let what = match &event.what {
        EventKind::Lease(lease) => format!("{:?} {}", lease.what, &*lease.token_name),
        EventKind::Pool(PoolEvent::Created(_)) => "created".to_owned(),
        EventKind::Pool(PoolEvent::Changed(record)) => format!("changed {:?}", record.policy.lease),
        EventKind::Pool(PoolEvent::Deleted) => "deleted".to_owned(),
        EventKind::Token(TokenEvent::Added(token)) => format!("added {}", &*token.name),
        EventKind::Token(TokenEvent::Changed(token)) => {
            format!("changed {} {:?}", &*token.name, token.labels.get("size"))
        }
        EventKind::Token(TokenEvent::Tainted(token)) => {
            format!("tainted {} {:?}", &*token.name, token.taints.len())
        }
        EventKind::Token(TokenEvent::Retired { name, .. }) => format!("retired {}", &**name),
    };
    format!("{} {what}", &*event.pool_name)
}

fn happened(batch: &EventBatch) -> Vec<Event> {
    match &batch.happened {
        BatchEvents::Events(events) => events.clone(),
        BatchEvents::Unknown => panic!("{batch:?}"),
    }
}

#[on_both]
async fn changes_of_pools_and_tokens_are_events_without_values(db: TestDb) {
    let engine = db.start(1, LONG).await;
    let stamp = engine.handle.read(|view| view.stamp).await.unwrap();
    let mut feed = engine.handle.events();
    let secret = Some(TokenValue::new("a secret").unwrap());
    let mut with_secret = plan("pool", &["a", "b"]);
    for token in with_secret.pools[0].tokens.iter_mut().flatten() {
        token.value.clone_from(&secret);
    }
    apply(&engine, with_secret).await;
    let pool = id(&engine, "pool").await;
    allocate(&engine, pool, "holder").await;
    let mut changed = plan("pool", &["a"]);
    changed.pools[0].policy.lease = Some(Duration::from_secs(77));
    let labels = Labels::new([("size", "large")]).unwrap();
    changed.pools[0].tokens.as_mut().unwrap()[0].labels = Some(labels);
    changed.prune = true;
    apply(&engine, changed).await;
    apply(&engine, deletion("pool", true)).await;
    engine.allocate("ours").await;
    let expected = [
        "pool created",
        "pool added a",
        "pool added b",
        "pool Started a",
        "pool changed 77s",
        "pool retired b",
        "pool changed a Some(\"large\")",
        "pool Ended a",
        "pool deleted",
        "default Started 1",
    ];
    let (mut events, mut batches) = (Vec::new(), Vec::new());
    while events.len() < expected.len() {
        let batch = feed.recv().await.unwrap();
        events.extend(happened(&batch));
        batches.push((*batch).clone());
    }
    assert_eq!(events.iter().map(told).collect::<Vec<_>>(), expected);
    assert!(!format!("{events:?}").contains("a secret"));
    // The journal has the same, although pool and tokens are gone.
    let journal = engine.handle.journal(stamp.epoch, stamp.version + 1, 1_000).await;
    assert_eq!(journal.unwrap().unwrap(), batches);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_of_one_server_are_seen_by_another() {
    let db = TestDb::from(testbed::TestDb::postgres().await);
    let (one, two) = (db.start(1, LONG).await, db.start(1, LONG).await);
    let pool = create(&one, "shared", &["a"]).await;
    assert_eq!(id(&two, "shared").await, pool);
    let lease = allocate(&two, pool, "holder").await.lease;
    let waits = queue(&one, asked(pool, "waits")).await;
    two.handle.release_lease(lease.id).await.unwrap();
    let served = waits.await.unwrap().unwrap().unwrap().lease;
    assert_eq!(served.previous_fence, lease.fence);
    // Deleted at one server while a request waits at the other.
    let waits = queue(&two, asked(pool, "waits")).await;
    apply(&one, deletion("shared", true)).await;
    assert_eq!(waits.await.unwrap().unwrap().unwrap_err(), Refusal::GivenUp);
    assert_eq!(two.handle.allocate(asked(pool, "late")).await, Err(Error::UnknownPool));
    // Both create a pool at the same time.
    let plans = [plan("same", &["a"]), plan("same", &["a"])];
    let [first, second] = plans;
    let (first, second) = tokio::join!(one.handle.apply(first), two.handle.apply(second));
    let counts = [first.unwrap().unwrap().len(), second.unwrap().unwrap().len()];
    assert_eq!(counts.iter().sum::<usize>(), 2, "one of them created it: {counts:?}");
    assert_eq!(id(&one, "same").await, id(&two, "same").await);
    one.stop().await;
    two.stop().await;
    db.audit().await;
}

/// Deadlines in another pool do not delay the reads of a pool.
#[on_both]
async fn a_read_of_one_pool_waits_only_for_its_deadlines(db: TestDb) {
    use crate::faulty::{Fault, FaultyDatabase, Gate};
    use store::{Clock as _, SystemClock};

    let faults = crate::faulty::Plan::default();
    let database = Box::new(FaultyDatabase::new(db.database(), &faults));
    let policy = Policy::of_lease(Duration::from_millis(900));
    let engine = db.start_policy_on(database, 1, policy).await;
    let other = create(&engine, "other", &["a"]).await;
    let theirs = allocate(&engine, other, "theirs").await.lease;
    let lease = engine.allocate("ours").await.lease;
    let gate = Gate::new();
    faults.lock().unwrap().push(Fault::Held(gate));
    let handle = engine.handle.clone();
    let clear = tokio::spawn(async move { handle.clear(PoolId::DEFAULT).await });
    eventually("the batch is in flight", || async { gate.is_reached() }).await;
    assert!(SystemClock.now() < lease.expires_at, "this machine is too slow for the test");
    eventually("the deadline has passed", || async { SystemClock.now() > lease.expires_at }).await;
    let active = async |scope, pool| {
        let look = |view: engine::View<'_>| view.pool(pool).unwrap().active(view.now);
        let read = engine.handle.read_of(scope, look);
        tokio::time::timeout(Duration::from_millis(100), read).await.map(Result::unwrap)
    };
    for scope in [Scope::Pool(other), Scope::Token(theirs.token_id), Scope::Lease(theirs.id)] {
        assert_eq!(active(scope, other).await, Ok(1), "{scope:?}");
    }
    for scope in [Scope::Pool(PoolId::DEFAULT), Scope::Token(lease.token_id), Scope::Ledger] {
        assert!(active(scope, PoolId::DEFAULT).await.is_err(), "{scope:?}");
    }
    gate.open();
    assert_eq!(clear.await.unwrap(), Ok(1));
    assert_eq!(active(Scope::Ledger, PoolId::DEFAULT).await, Ok(0));
    engine.stop().await;
}
