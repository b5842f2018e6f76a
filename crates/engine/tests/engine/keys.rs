//! Repeated requests, on both databases and on several servers.

use std::sync::Arc;
use std::time::Duration;

use crate::faulty::{Fault, FaultyDatabase, Plan};
use crate::support::{TestDb, TestEngine, user_named};
use engine::{AllocateRequest, Settings};
use pool::{EndReason, Grant, IdempotencyKey, Policy, Refusal, WhenFull};
use prometheus_client::registry::Registry;
use store::{Clock, ManualClock, SystemClock};
use testbed::{eventually, on_both};

const LONG: Duration = Duration::from_mins(2);

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).unwrap()
}

fn asked(user: &str, text: &str) -> AllocateRequest {
    AllocateRequest { key: Some(key(text)), ..AllocateRequest::from(user_named(user)) }
}

async fn allocate(engine: &TestEngine, user: &str, text: &str) -> Grant {
    engine.handle.allocate(asked(user, text)).await.unwrap().unwrap().grant
}

#[on_both]
async fn the_same_key_gets_the_same_lease(db: TestDb) {
    let engine = db.start(1, LONG).await;
    let before = engine.allocate("before").await.lease;
    let first = allocate(&engine, "Ada", "a key").await;
    assert_eq!(first.evicted.as_ref().map(|lease| lease.id), Some(before.id));
    let again = allocate(&engine, "Ada", "a key").await;
    assert_eq!((&again.lease, again.value), (&first.lease, first.value));
    assert_eq!(again.evicted.map(|lease| lease.id), Some(before.id), "as the first time");
    let other = allocate(&engine, "Ada", "another key").await;
    assert_ne!(other.lease.id, first.lease.id);
    let over = allocate(&engine, "Ada", "a key").await.lease;
    assert_eq!(over.id, first.lease.id);
    assert_eq!(over.end.map(|end| end.reason), Some(EndReason::Evicted));
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn the_same_key_with_another_request_is_refused(db: TestDb) {
    let engine = db.start(3, LONG).await;
    let first = allocate(&engine, "Ada", "k").await.lease;
    let others = [
        AllocateRequest { lease: Some(Duration::from_secs(5)), ..asked("Ada", "k") },
        AllocateRequest { wait: Some(Duration::from_secs(5)), ..asked("Ada", "k") },
    ];
    for other in others {
        let answer = engine.handle.allocate(other).await.unwrap();
        assert_eq!(answer.unwrap_err(), Refusal::KeyReused);
    }
    assert_eq!(engine.running().await, [first]);
    engine.stop().await;
}

#[on_both]
async fn a_key_outlives_a_restart_and_its_lease(db: TestDb) {
    let engine = db.start(2, LONG).await;
    let first = allocate(&engine, "Ada", "k").await;
    engine.stop().await;
    let engine = db.start(2, LONG).await;
    let again = allocate(&engine, "Ada", "k").await;
    assert_eq!((&again.lease, again.value), (&first.lease, first.value));
    engine.release(first.lease.token_id).await;
    for user in ["Bea", "Cleo"] {
        engine.allocate(user).await;
    }
    let over = allocate(&engine, "Ada", "k").await.lease;
    assert_eq!(over.id, first.lease.id, "never granted again");
    assert_eq!(over.end.map(|end| end.reason), Some(EndReason::Released));
    assert_eq!(engine.running().await.len(), 2);
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_lost_answer_is_given_again(db: TestDb) {
    let plan = Plan::default();
    let database = FaultyDatabase::new(db.database(), &plan);
    let engine = db.start_with(Box::new(database), 5, LONG, Settings::default()).await;
    for (number, fault) in
        [Fault::DoneUnsaid, Fault::UndoneUnsaid, Fault::TryAgain].into_iter().enumerate()
    {
        let text = number.to_string();
        plan.lock().unwrap().push(fault);
        let first = allocate(&engine, "Ada", &text).await.lease;
        assert_eq!(allocate(&engine, "Ada", &text).await.lease, first, "{fault:?}");
    }
    assert_eq!(engine.running().await.len(), 3);
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_client_that_left_finds_its_lease_again(db: TestDb) {
    let engine = db.start(50, LONG).await;
    for round in 0..40_u64 {
        let text = format!("key {round}");
        let left = engine.ask(asked("Ada", &text));
        // At any moment: before it is received, while it is decided, after it is durable.
        tokio::time::sleep(Duration::from_micros(round * 150)).await;
        left.abort();
        let found = allocate(&engine, "Ada", &text).await.lease;
        let again = allocate(&engine, "Ada", &text).await.lease;
        assert_eq!(again, found, "it was not withdrawn: {round}");
        assert_eq!(again.end, None);
    }
    assert_eq!(engine.running().await.len(), 40, "none was granted twice");
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn above_the_bound_new_keys_are_refused(db: TestDb) {
    let settings = Settings { keys: 3, ..Settings::default() };
    let engine = db.start_with(db.database(), 50, LONG, settings).await;
    let tasks: Vec<_> = (0..10).map(|n| engine.ask(asked("Ada", &format!("k{n}")))).collect();
    let mut refused = 0;
    for task in tasks {
        match task.await.unwrap().unwrap() {
            Ok(_) => {}
            Err(Refusal::KeysFull { retry_after }) => {
                // After the end of the oldest lease, or of one that is only granted with this batch.
                let least = IdempotencyKey::MIN_RETENTION;
                assert!((least..=least + LONG).contains(&retry_after), "{retry_after:?}");
                refused += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, 7);
    assert_eq!(engine.running().await.len(), 3);
    engine.allocate("without a key").await;
    engine.stop().await;
}

#[on_both]
async fn a_user_has_a_share_once_keys_are_short(db: TestDb) {
    let settings = Settings { keys: 250, keys_of_user: 100, ..Settings::default() };
    let engine = db.start_with(db.database(), 300, LONG, settings).await;
    let many = async |user: &str, keys: std::ops::Range<u32>| {
        let tasks: Vec<_> = keys.map(|n| engine.ask(asked(user, &format!("{user} {n}")))).collect();
        let (mut granted, mut refused) = (0, Vec::new());
        for task in tasks {
            match task.await.unwrap().unwrap() {
                Ok(_) => granted += 1,
                Err(refusal) => refused.push(refusal),
            }
        }
        (granted, refused)
    };
    assert_eq!(many("Ada", 0..126).await.0, 126, "as many as there are, up to half");
    let (granted, refused) = many("Ada", 200..203).await;
    assert_eq!((granted, refused.len()), (0, 3));
    for refusal in refused {
        assert!(matches!(refusal, Refusal::UserKeysFull { limit: 100, .. }), "{refusal:?}");
    }
    // Known keys are answered, and other requests are not delayed.
    assert_eq!(many("Ada", 0..3).await.0, 3);
    let (granted, refused) = many("Bea", 0..110).await;
    assert_eq!((granted, refused.len()), (100, 10));
    engine.stop().await;
}

/// Two keys at once, and then time passes.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_leases_long_over_are_forgotten_early_where_keys_are_short() {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let db = TestDb::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let pass = |time| clock.set(clock.now().after(time));
    let settings = Settings { keys: 3, ..Settings::default() };
    let policy_lease = Duration::from_hours(1);
    let engine = db.start_with(db.database(), 5, policy_lease, settings).await;
    let running = allocate(&engine, "Ada", "running").await.lease;
    let over = allocate(&engine, "Ada", "over").await.lease;
    pass(Duration::from_mins(1));
    engine.release(over.token_id).await;
    pass(Duration::from_mins(1));
    allocate(&engine, "Ada", "later").await;
    pass(IdempotencyKey::MIN_RETENTION.saturating_sub(Duration::from_mins(1)));
    // Housekeeping has to look, which it does within some seconds. If it looks just before the lease
    // has been over for long enough, it puts the key behind the newest, so the wait is told again.
    eventually("there is room", || async {
        match engine.handle.allocate(asked("Ada", "new")).await.unwrap() {
            Ok(_) => true,
            Err(Refusal::KeysFull { retry_after }) => {
                assert!(retry_after <= Duration::from_mins(1), "{retry_after:?}");
                pass(retry_after + Duration::from_millis(1));
                false
            }
            Err(other) => panic!("{other:?}"),
        }
    })
    .await;
    let again = allocate(&engine, "Ada", "running").await.lease;
    assert_eq!(again.id, running.id, "a key whose lease runs is not forgotten");
    // Counted every ten seconds.
    let metrics = || {
        let (mut registry, mut text) = (Registry::default(), String::new());
        engine.handle.register_metrics(&mut registry);
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    };
    assert!(metrics().lines().any(|line| line == "idempotency_keys_limit 3"), "{}", metrics());
    assert!(metrics().contains("\nidempotency_keys "), "{}", metrics());
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn one_key_asked_for_many_times_at_once_is_one_lease(db: TestDb) {
    let engine = db.start(50, LONG).await;
    let tasks: Vec<_> = (0..30).map(|_| engine.ask(asked("Ada", "k"))).collect();
    let mut ids = std::collections::HashSet::new();
    for task in tasks {
        ids.insert(task.await.unwrap().unwrap().unwrap().lease.id);
    }
    assert_eq!(ids.len(), 1);
    assert_eq!(engine.running().await.len(), 1);
    engine.stop().await;
}

#[on_both]
async fn one_key_waiting_twice_is_one_lease(db: TestDb) {
    let policy = Policy { when_full: WhenFull::Wait, ..Policy::of_lease(LONG) };
    let engine = db.start_policy(1, policy).await;
    let holder = engine.allocate("holder").await.lease;
    let tasks = [engine.ask(asked("Ada", "k")), engine.ask(asked("Ada", "k"))];
    eventually("it waits", || async { engine.waiting().await == 1 }).await;
    engine.release(holder.token_id).await;
    let [one, two] = tasks;
    let one = one.await.unwrap().unwrap().unwrap().lease;
    assert_eq!(two.await.unwrap().unwrap().unwrap().lease, one);
    assert_eq!(engine.running().await, [one]);
    assert_eq!(engine.waiting().await, 0);
    engine.stop().await;
}

#[on_both]
async fn what_was_refused_is_not_remembered(db: TestDb) {
    let policy = Policy { when_full: WhenFull::Reject, ..Policy::of_lease(LONG) };
    let engine = db.start_policy(1, policy).await;
    let holder = engine.allocate("holder").await.lease;
    let refused = engine.handle.allocate(asked("Ada", "k")).await.unwrap();
    assert!(matches!(refused, Err(Refusal::Full { .. })), "{refused:?}");
    engine.release(holder.token_id).await;
    allocate(&engine, "Ada", "k").await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_asked_for_one_key_at_the_same_moment_give_one_lease() {
    let db = TestDb::from(testbed::TestDb::postgres().await);
    let engines = [db.start(100, LONG).await, db.start(100, LONG).await];
    for round in 0..40 {
        let text = format!("key {round}");
        let tasks = [0, 1, 0, 1].map(|server| engines[server].ask(asked("Ada", &text)));
        let mut leases = Vec::new();
        for task in tasks {
            leases.push(task.await.unwrap().unwrap().unwrap().lease.id);
        }
        leases.dedup();
        assert_eq!(leases.len(), 1, "round {round}");
    }
    let [one, other] = engines;
    assert_eq!(one.running().await.len(), 40);
    one.stop().await;
    other.stop().await;
    db.audit().await;
}
