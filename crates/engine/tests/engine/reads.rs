//! Reads while a batch is in flight: they wait if it affects their result, and never go back.

use std::time::Duration;

use crate::faulty::{Fault, FaultyDatabase, Gate, Plan};
use crate::support::{TestDb, TestEngine, default, user_named};
use engine::{Error, Handle, Health, LeaseOutcome, LeaseQuery, LeaseStatus, Scope, Settings};
use pool::{HolderCondition, Lease, LeaseId, Policy, PoolId};
use store::{Clock as _, SystemClock};
use testbed::{Cluster, eventually, on_both};
use tokio::task::{JoinHandle, JoinSet};

/// Twice this is less than PostgreSQL leaves a held batch open.
const SHORT: Duration = Duration::from_millis(900);
const LONG: Duration = Duration::from_mins(2);

/// An engine for one token, whose leases are short and can be renewed, and the faults of its
/// database.
async fn engine(db: &TestDb, timeout: Duration) -> (TestEngine, Plan) {
    let plan = Plan::default();
    let database = FaultyDatabase::new(db.database(), &plan);
    let policy = Policy { max_lease: Some(LONG), ..Policy::of_lease(SHORT) };
    let settings = Settings { timeout, ..Settings::default() };
    let wanted = store::Wanted { size: Some(1), policy: policy.into(), update_policy: false };
    let running = TestEngine::of(engine::start(Box::new(database), wanted, settings));
    running.ready().await;
    (running, plan)
}

const PATIENCE: Duration = Duration::from_secs(5);

/// State of a lease in every kind of read: the reason of its end, or "runs".
fn read_all(
    handle: &Handle,
    lease: &Lease,
) -> JoinSet<(&'static str, Result<&'static str, Error>)> {
    let mut reads = JoinSet::new();
    let (id, token) = (lease.id, lease.token_id);
    let said = |lease: &Lease| lease.end.map_or("runs", |end| end.reason.as_str());
    let of = move |leases: Vec<store::LeaseRecord>, id: LeaseId| {
        leases.iter().find(|record| record.lease.id == id).map_or("none", |r| said(&r.lease))
    };
    let one = handle.clone();
    reads.spawn(async move {
        let found = one.lease(id).await.map(|found| said(&found.unwrap().lease));
        ("lease", found)
    });
    let token_of = handle.clone();
    reads.spawn(async move {
        let look = |view: engine::View<'_>| {
            said(&default(view).token(token).unwrap().latest.unwrap().clone().seen_at(view.now))
        };
        ("token", token_of.read_of(Scope::Token(token), look).await)
    });
    let list = handle.clone();
    reads.spawn(async move {
        let look = |view: engine::View<'_>| {
            let latest = default(view).tokens(0).next().unwrap().latest.unwrap().clone();
            assert_eq!(default(view).active(view.now), usize::from(latest.is_running(view.now)));
            said(&latest.seen_at(view.now))
        };
        ("list", list.read_of(Scope::Pool(PoolId::DEFAULT), look).await)
    });
    let history = handle.clone();
    reads.spawn(async move {
        let found = history.history(PoolId::DEFAULT, token, None, 10).await;
        ("history", found.map(|page| of(page.unwrap().leases, id)))
    });
    for (name, status) in [
        ("search", None),
        ("running", Some(LeaseStatus::Running)),
        ("ended", Some(LeaseStatus::Ended)),
    ] {
        let search = handle.clone();
        reads.spawn(async move {
            let question = LeaseQuery { status, ..LeaseQuery::default() };
            (name, search.search(&question, 10).await.map(|page| of(page.leases, id)))
        });
    }
    reads
}

/// A command is decided shortly before the deadline of `lease`, and its commit is held until reads of
/// every kind have begun after the deadline. Returns their answers.
async fn decided_before(
    engine: &TestEngine,
    plan: &Plan,
    lease: &Lease,
    command: impl Future<Output = ()> + Send + 'static,
) -> Vec<(&'static str, Result<&'static str, Error>)> {
    let left = || lease.expires_at.since(SystemClock.now());
    eventually("the deadline is near", || async { left() < SHORT * 2 / 3 }).await;
    let gate = Gate::new();
    plan.lock().unwrap().push(Fault::Held(gate));
    let command = tokio::spawn(command);
    eventually("the batch is in flight", || async { gate.is_reached() }).await;
    assert!(SystemClock.now() < lease.expires_at, "this machine is too slow for the test");
    eventually("the deadline has passed", || async { SystemClock.now() > lease.expires_at }).await;
    let mut reads = read_all(&engine.handle, lease);
    let early = tokio::time::timeout(Duration::from_millis(50), reads.join_next()).await;
    assert!(early.is_err(), "it did not wait for the batch: {early:?}");
    gate.open();
    let said = reads.join_all().await;
    command.await.unwrap();
    said
}

fn expect(said: Vec<(&str, Result<&str, Error>)>, state: &str) {
    for (name, said) in said {
        let shown = match name {
            "running" => state == "runs",
            "ended" => state != "runs",
            _ => true,
        };
        assert_eq!(said, Ok(if shown { state } else { "none" }), "{name}");
    }
}

#[on_both]
async fn a_renewal_in_flight_is_waited_for(db: TestDb) {
    let (engine, plan) = engine(&db, PATIENCE).await;
    let lease = engine.allocate("holder").await.lease;
    let (handle, id) = (engine.handle.clone(), lease.id);
    let renewal = async move {
        let renewed = handle.renew(id).await.unwrap();
        assert!(matches!(renewed, LeaseOutcome::Done { .. }), "{renewed:?}");
    };
    expect(decided_before(&engine, &plan, &lease, renewal).await, "runs");
    engine.stop().await;
}

#[on_both]
async fn a_release_in_flight_is_waited_for(db: TestDb) {
    let (engine, plan) = engine(&db, PATIENCE).await;
    let lease = engine.allocate("holder").await.lease;
    let (handle, token) = (engine.handle.clone(), lease.token_id);
    let release = async move {
        drop(handle.release(PoolId::DEFAULT, token, HolderCondition::default()).await.unwrap());
    };
    expect(decided_before(&engine, &plan, &lease, release).await, "released");
    engine.stop().await;
}

#[on_both]
async fn a_clear_in_flight_is_waited_for(db: TestDb) {
    let (engine, plan) = engine(&db, PATIENCE).await;
    let lease = engine.allocate("holder").await.lease;
    let handle = engine.handle.clone();
    let clear = async move { assert_eq!(handle.clear(PoolId::DEFAULT).await, Ok(1)) };
    expect(decided_before(&engine, &plan, &lease, clear).await, "cleared");
    engine.stop().await;
}

#[on_both]
async fn an_eviction_in_flight_is_waited_for(db: TestDb) {
    let (engine, plan) = engine(&db, PATIENCE).await;
    let lease = engine.allocate("holder").await.lease;
    let handle = engine.handle.clone();
    let evict = async move { drop(handle.allocate(user_named("next")).await.unwrap().unwrap()) };
    let said = decided_before(&engine, &plan, &lease, evict).await;
    let at_token = |name: &&str| ["token", "list"].contains(name);
    for (name, said) in said.iter().filter(|(name, _)| !at_token(name) && *name != "running") {
        assert_eq!(*said, Ok("evicted"), "{name}");
    }
    assert!(said.iter().filter(|(name, _)| at_token(name)).all(|(_, said)| *said == Ok("runs")));
    engine.stop().await;
}

#[on_both]
async fn a_batch_that_fails_lets_the_deadline_pass(db: TestDb) {
    let (engine, plan) = engine(&db, PATIENCE).await;
    let lease = engine.allocate("holder").await.lease;
    plan.lock().unwrap().push(Fault::TryAgain);
    let (handle, id) = (engine.handle.clone(), lease.id);
    let renewal = async move {
        let renewed = handle.renew(id).await.unwrap();
        assert!(matches!(renewed, LeaseOutcome::Over { .. }), "{renewed:?}");
    };
    expect(decided_before(&engine, &plan, &lease, renewal).await, "expired");
    engine.stop().await;
}

#[on_both]
async fn a_batch_whose_outcome_is_unknown_is_waited_for(db: TestDb) {
    for (fault, state) in [(Fault::DoneUnsaid, "runs"), (Fault::UndoneUnsaid, "expired")] {
        let (engine, plan) = engine(&db, PATIENCE).await;
        let lease = engine.allocate("holder").await.lease;
        plan.lock().unwrap().push(fault);
        let (handle, id) = (engine.handle.clone(), lease.id);
        let renewal = async move { drop(handle.renew(id).await.unwrap()) };
        expect(decided_before(&engine, &plan, &lease, renewal).await, state);
        engine.handle.clear(PoolId::DEFAULT).await.unwrap();
        engine.stop().await;
    }
}

/// An unsettled batch delays only the reads that it may affect, and not forever.
#[on_both]
async fn reads_that_no_deadline_decides_go_on(db: TestDb) {
    let (engine, plan) = engine(&db, SHORT).await;
    let lease = engine.allocate("holder").await.lease;
    let gate = Gate::new();
    plan.lock().unwrap().push(Fault::Held(gate));
    let handle = engine.handle.clone();
    let clear = tokio::spawn(async move { handle.clear(PoolId::DEFAULT).await });
    eventually("the batch is in flight", || async { gate.is_reached() }).await;
    expect(read_all(&engine.handle, &lease).join_all().await, "runs");
    eventually("the deadline has passed", || async { SystemClock.now() > lease.expires_at }).await;
    for (name, said) in read_all(&engine.handle, &lease).join_all().await {
        assert!(matches!(said, Err(Error::NotDone { .. })), "{name}: {said:?}");
    }
    let version = |view: engine::View<'_>| view.stamp.version;
    engine.handle.read_of(Scope::Timeless, version).await.unwrap();
    assert_eq!(engine.handle.lease(LeaseId(uuid::Uuid::nil())).await, Ok(None));
    gate.open();
    drop(clear.await.unwrap());
    engine.stop().await;
}

/// The database shows a batch before the copy has it. Data from there is returned only when the
/// copy shows the same.
#[on_both]
async fn no_answer_is_ahead_of_the_copy(db: TestDb) {
    let (engine, plan) = engine(&db, PATIENCE).await;
    let first = engine.allocate("first").await.lease;
    let stamp = engine.handle.read(|view| view.stamp).await.unwrap();
    let (token, handle) = (first.token_id, &engine.handle);
    for kind in ["history", "search", "journal"] {
        let gate = Gate::new();
        plan.lock().unwrap().push(Fault::DoneHeld(gate));
        let evicting = engine.ask(user_named("next").into());
        eventually("the batch is durable", || async { gate.is_reached() }).await;
        let reading = {
            let handle = handle.clone();
            tokio::spawn(async move {
                match kind {
                    "history" => {
                        let page =
                            handle.history(PoolId::DEFAULT, token, None, 1).await.unwrap().unwrap();
                        page.leases[0].lease.fence
                    }
                    "search" => {
                        let page = handle.search(&LeaseQuery::default(), 1).await.unwrap();
                        page.leases[0].lease.fence
                    }
                    _ => {
                        let read = handle.journal(stamp.epoch, stamp.version, 1_000).await;
                        let read = read.unwrap().unwrap();
                        let events = read.iter().filter_map(|batch| match &batch.happened {
                            engine::BatchEvents::Events(events) => Some(events),
                            engine::BatchEvents::Unknown => None,
                        });
                        let leases = events.flatten().filter_map(engine::Event::of_lease);
                        let fences = leases.map(|event| event.lease.fence);
                        fences.max().unwrap()
                    }
                }
            })
        };
        // Time for the database's reply, then for the batch.
        let opening = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            gate.open();
        });
        let shown = reading.await.unwrap();
        let latest =
            |view: engine::View<'_>| default(view).token(token).unwrap().latest.unwrap().fence;
        let latest = handle.read_of(Scope::Timeless, latest).await.unwrap();
        assert!(latest >= shown, "{kind} showed {shown:?}, and then there was {latest:?}");
        opening.await.unwrap();
        evicting.await.unwrap().unwrap().unwrap();
    }
    engine.stop().await;
}

/// SQL that delays a server's writes, in a session of its own, until its time is over.
async fn hold_up(db: &TestDb, how: &str, seconds: f64) -> JoinHandle<()> {
    let url = db.at.clone();
    let sql = format!("begin; {how}; select pg_sleep({seconds}); commit");
    let held = format!(
        "do $$ begin
            for attempt in 1..1000 loop
                perform from pg_stat_activity
                    where datname = current_database() and query like '%pg_sleep({seconds})%'
                        and wait_event = 'PgSleep' and pid <> pg_backend_pid();
                if found then return; end if;
                perform pg_sleep(0.005);
                perform pg_stat_clear_snapshot();
            end loop;
            raise 'nothing is held up';
        end $$"
    );
    let holding = {
        let url = url.clone();
        tokio::spawn(async move { Cluster::shared().execute(&url, &sql).await.unwrap() })
    };
    Cluster::shared().execute(&url, &held).await.unwrap();
    holding
}

/// A renewal of one server is in flight, since another session holds a table it needs, while the
/// deadline passes. Neither server shows the lease as ended before.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_in_flight_on_another_server_is_waited_for() {
    let db = TestDb::from(testbed::TestDb::postgres().await);
    let policy = Policy { max_lease: Some(LONG), ..Policy::of_lease(SHORT) };
    let one = db.start_policy(1, policy).await;
    let two = db.start_policy(1, policy).await;
    let lease = one.allocate("holder").await.lease;
    let left = || lease.expires_at.since(SystemClock.now());
    eventually("the deadline is near", || async { left() < SHORT * 2 / 3 }).await;
    let lock = "lock table token_manager.batches in exclusive mode";
    let holding = hold_up(&db, lock, 0.7).await;
    let (handle, id) = (one.handle.clone(), lease.id);
    let renewal = tokio::spawn(async move { handle.renew(id).await.unwrap() });
    eventually("the deadline has passed", || async { SystemClock.now() > lease.expires_at }).await;
    for server in [&two, &one] {
        expect(read_all(&server.handle, &lease).join_all().await, "runs");
    }
    let renewed = renewal.await.unwrap();
    assert!(matches!(renewed, LeaseOutcome::Done { .. }), "{renewed:?}");
    holding.await.unwrap();
    one.stop().await;
    two.stop().await;
}

/// Another program holds the lock that puts batches in order. It has no batch in flight, so reads go
/// on, deadlines pass, and the server says that it can't write.
#[tokio::test(flavor = "multi_thread")]
async fn reads_go_on_while_another_program_holds_the_lock() {
    let db = TestDb::from(testbed::TestDb::postgres().await);
    let settings = Settings { timeout: Duration::from_secs(2), ..Settings::default() };
    let engine = db.start_with(db.database(), 2, SHORT, settings).await;
    let lease = engine.allocate("holder").await.lease;
    let holding = hold_up(&db, "select pg_advisory_xact_lock(1953459045, 1)", 8.0).await;
    expect(read_all(&engine.handle, &lease).join_all().await, "runs");
    let refused = engine.handle.allocate(user_named("next")).await;
    assert!(refused.is_err(), "{refused:?}");
    eventually("it says that it can't write", || async {
        engine.handle.health() == Health::Blocked
    })
    .await;
    while !holding.is_finished() {
        expect(read_all(&engine.handle, &lease).join_all().await, "expired");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    engine.ready().await;
    engine.allocate("next").await;
    engine.stop().await;
    db.audit().await;
}

/// Another program holds a table that batches need. Reads that no deadline affects continue.
#[tokio::test(flavor = "multi_thread")]
async fn reads_go_on_while_another_program_holds_a_table() {
    let db = TestDb::from(testbed::TestDb::postgres().await);
    let settings = Settings { timeout: Duration::from_secs(1), ..Settings::default() };
    let engine = db.start_with(db.database(), 2, LONG, settings).await;
    let lease = engine.allocate("holder").await.lease;
    let lock = "lock table token_manager.batches in exclusive mode";
    let holding = hold_up(&db, lock, 7.0).await;
    let refused = engine.handle.allocate(user_named("next")).await;
    assert!(refused.is_err(), "{refused:?}");
    while !holding.is_finished() {
        expect(read_all(&engine.handle, &lease).join_all().await, "runs");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    engine.ready().await;
    engine.allocate("next").await;
    engine.stop().await;
}
