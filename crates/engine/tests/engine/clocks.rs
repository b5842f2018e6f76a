//! Clocks that jump, and clocks that stay behind.

use std::sync::Arc;
use std::time::Duration;

use engine::{Health, Settings};
use pool::{EndReason, Policy, PolicyPatch, Timestamp};
use store::{ManualClock, Wanted};
use testbed::eventually;

use crate::support::{TestDb, TestEngine};

const LONG: Duration = Duration::from_mins(2);

const HOUR: i64 = 3_600 * 1_000_000;
const YEAR: i64 = 365 * 24 * HOUR;
const START: i64 = 1_800_000_000_000_000;

/// The clock jumps by `micros` while the server is down.
async fn after_a_jump(
    micros: i64,
    allow_clock_behind: bool,
) -> (TestDb, Result<TestEngine, String>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(START)));
    let db = TestDb::with_clock(Arc::clone(&clock) as _);
    let engine = db.start(3, LONG).await;
    engine.allocate("before").await;
    engine.stop().await;
    clock.set(Timestamp::from_micros(START + micros));
    let wanted = Wanted { size: None, policy: PolicyPatch::default(), update_policy: false };
    let settings = Settings { allow_clock_behind, ..Settings::default() };
    let engine = TestEngine::of(engine::start(db.database(), wanted, settings));
    eventually("it is ready or gave up", || async { engine.handle.health() != Health::Starting })
        .await;
    let started = match engine.handle.health() {
        Health::Ready => Ok(engine),
        _ => Err(engine.fatal().await),
    };
    (db, started)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_an_hour() {
    let (db, engine) = after_a_jump(-HOUR, false).await;
    let engine = engine.unwrap();
    let before = engine.running().await;
    assert_eq!(before.len(), 1, "its two minutes are not over");
    let after = engine.allocate("after").await.lease;
    assert!(after.started_at >= before[0].started_at, "time does not run backwards");
    assert!(
        after.expires_at <= Timestamp::from_micros(START).after(LONG + Duration::from_mins(1)),
        "no lease lives longer for it"
    );
    engine.stop().await;
    db.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_forward_a_year_and_back_again() {
    let (db, engine) = after_a_jump(YEAR, false).await;
    let engine = engine.unwrap();
    assert!(engine.running().await.is_empty(), "all are over");
    let lease = engine.allocate("in a year").await.lease;
    assert!(lease.started_at >= Timestamp::from_micros(START + YEAR));
    engine.stop().await;
    db.audit().await;
    // Now the clock is right again, a year behind the journal.
    let right = db.reclocked(Arc::new(ManualClock::new(Timestamp::from_micros(START))));
    let wanted = Wanted { size: None, policy: Policy::of_lease(LONG).into(), update_policy: false };
    let refused = engine::start(right.database(), wanted, Settings::default());
    let sentence = TestEngine::of(refused).fatal().await;
    assert!(sentence.contains("--allow-clock-behind"), "{sentence}");
    let settings = Settings { allow_clock_behind: true, ..Settings::default() };
    let engine = TestEngine::of(engine::start(right.database(), wanted, settings));
    engine.ready().await;
    assert_eq!(
        engine.running().await,
        std::slice::from_ref(&lease),
        "it lives out its two minutes"
    );
    let next = engine.allocate("after").await.lease;
    assert!(next.expires_at <= lease.started_at.after(LONG * 2), "every lease ends");
    engine.stop().await;
    right.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_runs_on_while_the_clock_stands_behind() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(START)));
    let db = TestDb::with_clock(Arc::clone(&clock) as _);
    let engine = db.start(3, Duration::from_millis(400)).await;
    let lease = engine.allocate("u").await.lease;
    clock.set(Timestamp::from_micros(START - 10 * HOUR));
    eventually("the lease is over all the same", || async { engine.running().await.is_empty() })
        .await;
    let end = engine.history(lease.token_id).await[0].end.unwrap();
    assert_eq!((end.at, end.reason), (lease.expires_at, EndReason::Expired));
    engine.stop().await;
    db.audit().await;
}
