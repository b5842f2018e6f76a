//! Real failures: lost connections, full disks, clocks that jump, several servers.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::faulty::{Fault, FaultyDatabase};
use crate::proxy::Proxy;
use crate::support::{TestDb, TestEngine, default, user_named};
use engine::{Error, Handle, Health, Settings};
use pool::{EndReason, LeaseId, PolicyPatch};
use prometheus_client::registry::Registry;
use store::{Clock as _, SystemClock, Wanted};
use testbed::{Cluster, Stop, eventually, on_both};

const LONG: Duration = Duration::from_mins(2);

#[on_both]
async fn a_commit_whose_reply_was_lost_is_answered_by_the_journal(db: TestDb) {
    let plan = crate::faulty::Plan::default();
    let database = FaultyDatabase::new(db.database(), &plan);
    let engine = db.start_with(Box::new(database), 10, LONG, Settings::default()).await;
    let mut granted = HashSet::new();
    for fault in [Fault::DoneUnsaid, Fault::UndoneUnsaid, Fault::TryAgain] {
        for _ in 0..3 {
            plan.lock().unwrap().push(fault);
            let lease = engine.allocate("u").await.lease;
            assert!(granted.insert(lease.fence), "{fault:?}");
        }
    }
    plan.lock().unwrap().extend([Fault::UndoneUnsaid, Fault::DoneUnsaid, Fault::TryAgain]);
    engine.allocate_at_once(1).await;
    let history = engine.whole_history().await;
    assert_eq!(history.values().map(Vec::len).sum::<usize>(), 10, "each was granted once");
    assert_eq!(engine.running().await.len(), 10);
    let metrics = metrics(&engine.handle);
    for line in [
        "allocations_total{pool=\"default\"} 10",
        "unknown_outcomes_total{fate=\"durable\"} 4",
        "unknown_outcomes_total{fate=\"lost\"} 3",
        "unknown_outcomes_total{fate=\"unknown\"} 0",
        "database_failures_total 11",
        "commit_duration_seconds_count 6",
        "batch_commands_sum 10.0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in {metrics}");
    }
    engine.stop().await;
    db.audit().await;
}

/// The database can be read, as when the disk is full, and no client waits for a write any more.
#[on_both]
async fn a_database_that_takes_no_writes_is_away_until_it_does(db: TestDb) {
    let plan = crate::faulty::Plan::default();
    let database = FaultyDatabase::new(db.database(), &plan);
    // Six attempts take longer, by the pauses between them; one commit does not, on a busy machine.
    let settings = Settings { timeout: Duration::from_millis(500), ..Settings::default() };
    let engine = db.start_with(Box::new(database), 3, LONG, settings).await;
    plan.lock().unwrap().extend([Fault::TryAgain; 6]);
    let refused = engine.handle.allocate(user_named("u")).await;
    assert!(matches!(refused, Err(Error::NotDone { .. })), "{refused:?}");
    eventually("it serves again", || async { engine.handle.health() == Health::Ready }).await;
    assert_eq!(*plan.lock().unwrap(), [], "it was tried until it could be written");
    engine.allocate("u").await;
    assert_eq!(engine.running().await.len(), 1);
    engine.stop().await;
    db.audit().await;
}

/// The next batch is begun with the commit, so its time is read then; the server continues only
/// later.
#[on_both]
async fn commands_sent_during_a_stall_are_decided_after_they_were_sent(db: TestDb) {
    let plan = crate::faulty::Plan::default();
    let database = FaultyDatabase::new(db.database(), &plan);
    let engine = db.start_with(Box::new(database), 100, LONG, Settings::default()).await;
    engine.allocate("first").await;
    for _ in 0..3 {
        plan.lock().unwrap().push(Fault::Stalled);
        let stalled = engine.allocate_at_once(5);
        let late = async {
            tokio::time::sleep(crate::faulty::STALL / 4).await;
            // PostgreSQL's clock is this machine's, too.
            let sent = SystemClock.now();
            (sent, engine.allocate_at_once(3).await, SystemClock.now())
        };
        let (_, (sent, granted, received)) = tokio::join!(stalled, late);
        for granted in granted {
            let start = granted.grant.lease.started_at;
            assert!(start >= sent, "{:?} before it was sent", sent.since(start));
            assert!(start <= received, "{:?} after the response", start.since(received));
            assert_eq!(granted.at, start);
        }
    }
    engine.stop().await;
    db.audit().await;
}

/// The bounds of the clock are narrow enough for nearly all batches that are begun ahead.
#[tokio::test(flavor = "multi_thread")]
async fn under_load_the_clock_is_hardly_ever_read_again() {
    let db = TestDb::from(testbed::TestDb::postgres().await);
    let plan = crate::faulty::Plan::default();
    let database = FaultyDatabase::new(db.database(), &plan);
    let clock_reads = Arc::clone(&database.clock_reads);
    let engine = db.start_with(Box::new(database), 100, LONG, Settings::default()).await;
    let before = clock_reads.load(Ordering::SeqCst);
    let load = (0..12).map(|_| async {
        for _ in 0..40 {
            let sent = SystemClock.now();
            let lease = engine.allocate("u").await.lease;
            assert!((sent..=SystemClock.now()).contains(&lease.started_at));
        }
    });
    futures_util::future::join_all(load).await;
    let reads = clock_reads.load(Ordering::SeqCst) - before;
    let metrics = metrics(&engine.handle);
    let count =
        metrics.lines().find_map(|line| line.strip_prefix("commit_duration_seconds_count "));
    let batches: usize = count.unwrap().parse().unwrap();
    assert!(batches > 30 && reads * 3 <= batches, "{reads} reads for {batches} batches");
    engine.stop().await;
}

#[on_both]
async fn every_end_is_measured(db: TestDb) {
    let plan = crate::faulty::Plan::default();
    let database = FaultyDatabase::new(db.database(), &plan);
    let engine = db.start_with(Box::new(database), 1, LONG, Settings::default()).await;
    for faults in [&[][..], &[Fault::DoneUnsaid], &[Fault::DoneUnsaidLongAgo], &[Fault::TryAgain]] {
        plan.lock().unwrap().extend(faults);
        engine.allocate("u").await;
    }
    let metrics = metrics(&engine.handle);
    for line in
        ["lease_ends_total{pool=\"default\",reason=\"evicted\"} 3", "lease_hold_seconds_count 3"]
    {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in {metrics}");
    }
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn what_does_not_fit_is_not_away(db: TestDb) {
    let plan = crate::faulty::Plan::default();
    let database = FaultyDatabase::new(db.database(), &plan);
    let lease = Duration::from_millis(300);
    let engine = db.start_with(Box::new(database), 1, lease, Settings::default()).await;
    plan.lock().unwrap().push(Fault::Misfit);
    engine.allocate("u").await;
    // The expiry, first by the current copy, then by one that was loaded again.
    plan.lock().unwrap().extend([Fault::Refused; 3]);
    eventually("the expiry is written down", || async {
        assert_eq!(engine.handle.health(), Health::Ready);
        plan.lock().unwrap().is_empty()
            && metrics(&engine.handle)
                .contains("lease_ends_total{pool=\"default\",reason=\"expired\"} 1")
    })
    .await;
    let metrics = metrics(&engine.handle);
    for line in [
        "database_mismatches_total{of=\"news\"} 1",
        "database_mismatches_total{of=\"batch\"} 1",
        "database_mismatches_total{of=\"ends\"} 2",
        // The only temporary refusal.
        "database_failures_total 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in {metrics}");
    }
    engine.stop().await;
    db.audit().await;
}

fn metrics(engine: &Handle) -> String {
    let (mut registry, mut text) = (Registry::default(), String::new());
    engine.register_metrics(&mut registry);
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}

/// A user ends a lease at the SQL prompt, behind the engine's back.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_changed_by_hand_is_loaded_again_and_no_request_is_refused() {
    let url = Cluster::shared().database().await.unwrap();
    let db = TestDb::from(testbed::TestDb::at(url.clone()));
    let engine = db.start(1, Duration::from_millis(1500)).await;
    let by_hand = "update token_manager.leases set ended_at = started_at, end_reason = 'released' \
                   where ended_at is null";
    for with_request in [true, false] {
        let lease = engine.allocate("before").await.lease;
        Cluster::shared().execute(&url, by_hand).await.unwrap();
        if with_request {
            let granted = engine.allocate("after").await;
            assert_eq!(granted.evicted, None, "it was free");
            assert_eq!(granted.lease.previous_fence, lease.fence);
        }
        eventually("ends are written down again", || async {
            let over = |view: engine::View<'_>| {
                default(view).tokens(0).all(|t| t.latest.is_some_and(|lease| lease.end.is_some()))
            };
            engine.handle.read(over).await.is_ok_and(|over| over)
        })
        .await;
    }
    engine.stop().await;
}

/// Allocates from several tasks until told to stop; returns the acknowledged leases.
fn load(handles: &[Handle], stop: &Arc<AtomicBool>) -> tokio::task::JoinSet<Vec<LeaseId>> {
    let mut tasks = tokio::task::JoinSet::new();
    for (number, handle) in handles.iter().cycle().take(12).cloned().enumerate() {
        let stop = Arc::clone(stop);
        tasks.spawn(async move {
            let mut acknowledged = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                match handle.allocate(user_named(&format!("client {number}"))).await {
                    Ok(granted) => acknowledged.push(granted.unwrap().grant.lease.id),
                    Err(Error::NotDone { .. } | Error::OutcomeUnknown | Error::Busy { .. }) => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            acknowledged
        });
    }
    tasks
}

pub async fn check_acknowledged(engine: &TestEngine, acknowledged: &[Vec<LeaseId>]) {
    let history = engine.whole_history().await;
    let known: HashSet<_> = history.values().flatten().map(|lease| lease.id).collect();
    for id in acknowledged.iter().flatten() {
        assert!(known.contains(id), "{id:?} was acknowledged and is lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_stopped_and_started_under_load() {
    let cluster = Cluster::start().unwrap();
    let db = TestDb::from(testbed::TestDb::at(cluster.database().await.unwrap()));
    let settings = Settings { timeout: Duration::from_secs(2), ..Settings::default() };
    let engine = db.start_with(db.database(), 20, LONG, settings).await;
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = load(std::slice::from_ref(&engine.handle), &stop);
    for how in [Stop::Fast, Stop::Immediate] {
        tokio::time::sleep(Duration::from_millis(300)).await;
        tokio::task::block_in_place(|| cluster.stop(how)).unwrap();
        eventually("it says that the database is away", || async {
            engine.handle.health() == Health::Away
        })
        .await;
        let read = engine.handle.read(|_| ()).await;
        assert!(matches!(read, Err(Error::NotDone { .. })), "{read:?}");
        let refused = engine.handle.allocate(user_named("meanwhile")).await;
        assert!(matches!(refused, Err(Error::NotDone { .. })), "{refused:?}");
        tokio::task::block_in_place(|| cluster.start_again()).unwrap();
        engine.ready().await;
        eventually("it grants again", || async {
            engine.handle.allocate(user_named("again")).await.is_ok()
        })
        .await;
    }
    stop.store(true, Ordering::SeqCst);
    let acknowledged = tasks.join_all().await;
    assert!(acknowledged.iter().map(Vec::len).sum::<usize>() > 100);
    check_acknowledged(&engine, &acknowledged).await;
    engine.stop().await;
    db.audit().await;
}

/// The database is reported away about as soon as clients give up, although the engine waits longer
/// for the statements that it sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_stalls_is_noticed_in_time() {
    const PATIENCE: Duration = Duration::from_millis(800);
    let settings = Settings { timeout: PATIENCE, ..Settings::default() };
    let stall = async |ways: crate::proxy::Ways| {
        let proxy = Proxy::to(&Cluster::shared().database().await.unwrap()).await;
        let db = TestDb::from(testbed::TestDb::at(proxy.url.clone()));
        let engine = db.start_with(db.database(), 3, LONG, settings).await;
        engine.allocate("before").await;
        proxy.hold(ways);
        let asked = engine.ask(user_named("meanwhile").into());
        let start = tokio::time::Instant::now();
        eventually("it is away", || async { engine.handle.health() == Health::Away }).await;
        assert!(start.elapsed() < PATIENCE + Duration::from_secs(2), "{:?}", start.elapsed());
        assert!(asked.await.unwrap().is_err(), "no server answers");
        proxy.hold([false, false]);
        let start = tokio::time::Instant::now();
        engine.ready().await;
        eventually("it grants again", || async {
            engine.handle.allocate(user_named("after")).await.is_ok()
        })
        .await;
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        engine.stop().await;
    };
    tokio::join!(stall([true, false]), stall([false, true]), stall([true, true]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_waits_for_a_database_that_is_not_up_yet() {
    let cluster = Cluster::start().unwrap();
    let db = TestDb::from(testbed::TestDb::at(cluster.database().await.unwrap()));
    tokio::task::block_in_place(|| cluster.stop(Stop::Fast)).unwrap();
    let wanted = Wanted { size: Some(3), policy: PolicyPatch::default(), update_policy: false };
    let settings = Settings { timeout: Duration::from_millis(300), ..Settings::default() };
    let engine = TestEngine::of(engine::start(db.database(), wanted, settings));
    for _ in 0..3 {
        let refused = engine.handle.allocate(user_named("early")).await;
        assert!(matches!(refused, Err(Error::NotDone { .. })), "{refused:?}");
        assert!(engine.handle.read(|_| ()).await.is_err());
    }
    assert_eq!(engine.handle.health(), Health::Starting);
    tokio::task::block_in_place(|| cluster.start_again()).unwrap();
    engine.ready().await;
    engine.allocate("u").await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_were_given_up_leave_the_mailbox_while_nothing_can_be_decided() {
    const ASKED: usize = 10;
    let cluster = Cluster::start().unwrap();
    let db = TestDb::from(testbed::TestDb::at(cluster.database().await.unwrap()));
    let settings = Settings { batch: 2, timeout: Duration::from_secs(2), ..Settings::default() };
    let wanted = Wanted { size: Some(3), policy: PolicyPatch::default(), update_policy: false };
    let engine = TestEngine::of(engine::start(db.database(), wanted, settings));
    engine.ready().await;
    let shown = |engine: &TestEngine, requests: usize| {
        metrics(&engine.handle).contains(&format!("\nmailbox_requests {requests}\n"))
    };
    let outage = async |engine: &TestEngine| {
        let asked: Vec<_> =
            (0..ASKED).map(|n| engine.ask(user_named(&format!("u{n}")).into())).collect();
        eventually("all are shown to wait", || async { shown(engine, ASKED) }).await;
        for asked in asked {
            let answer = asked.await.unwrap();
            assert!(matches!(answer, Err(Error::NotDone { .. })), "{answer:?}");
        }
        eventually("none is shown any more", || async { shown(engine, 0) }).await;
    };
    tokio::task::block_in_place(|| cluster.stop(Stop::Immediate)).unwrap();
    eventually("it is away", || async { engine.handle.health() == Health::Away }).await;
    outage(&engine).await;
    engine.die();
    let engine = TestEngine::of(engine::start(db.database(), wanted, settings));
    outage(&engine).await;
    tokio::task::block_in_place(|| cluster.start_again()).unwrap();
    engine.ready().await;
    engine.allocate("u").await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_are_as_exact_as_one() {
    let db = TestDb::from(testbed::TestDb::postgres().await);
    let engines = [db.start(50, LONG).await, db.start(50, LONG).await, db.start(50, LONG).await];
    let handles: Vec<_> = engines.iter().map(|engine| engine.handle.clone()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = load(&handles, &stop);
    // Meanwhile: a read on one server right after a write on another sees it.
    for round in 0..60 {
        let (writer, reader) = (&engines[round % 3], &engines[(round + 1) % 3]);
        let lease = writer.allocate("seen elsewhere").await.lease;
        let seen = reader.handle.read(|view| {
            let latest = default(view).token(lease.token_id).unwrap().latest.cloned();
            latest.is_some_and(|latest| latest.fence >= lease.fence)
        });
        assert!(seen.await.unwrap(), "round {round}");
        let history = reader.history(lease.token_id).await;
        assert!(history.iter().any(|row| row.id == lease.id), "round {round}");
    }
    stop.store(true, Ordering::SeqCst);
    let acknowledged = tasks.join_all().await;
    check_acknowledged(&engines[0], &acknowledged).await;
    let history = engines[1].whole_history().await;
    let mut all: Vec<_> = history.into_values().flatten().collect();
    all.sort_by_key(|lease| lease.fence);
    // Exact across servers: each evicted lease was the oldest running one.
    let evicted: Vec<_> = all
        .iter()
        .filter(|lease| lease.end.is_some_and(|end| end.reason == EndReason::Evicted))
        .map(|lease| lease.fence)
        .collect();
    assert_eq!(evicted, all[..evicted.len()].iter().map(|l| l.fence).collect::<Vec<_>>());
    assert_eq!(all.len() - evicted.len(), 50);
    for engine in engines {
        engine.stop().await;
    }
    db.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leases_of_a_dead_server_are_ended_by_the_others() {
    let db = TestDb::from(testbed::TestDb::postgres().await);
    let dead = db.start(5, Duration::from_millis(700)).await;
    let other = db.start(5, Duration::from_millis(700)).await;
    let lease = dead.allocate("u").await.lease;
    dead.stop().await;
    eventually("the expiry was written down", || async {
        let look = |view: engine::View<'_>| default(view).token(lease.token_id)?.latest?.end;
        other.handle.read(look).await.unwrap().is_some()
    })
    .await;
    let end = other.history(lease.token_id).await[0].end.unwrap();
    assert_eq!((end.at, end.reason), (lease.expires_at, EndReason::Expired));
    other.stop().await;
}
