//! What goes wrong in earnest: lost connections, full disks, clocks that jump, several servers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test file has faults of its own")]
#[path = "support/faulty.rs"]
mod faulty;
#[path = "support/proxy.rs"]
mod proxy;
#[expect(dead_code, reason = "each test file uses a part of it")]
mod support;

use std::collections::HashSet;
use std::io::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::{Error, Handle, Health, Settings};
use faulty::{Fault, FaultyDatabase};
use pool::{EndReason, LeaseId, Policy, Timestamp};
use prometheus_client::registry::Registry;
use proxy::Proxy;
use store::{Clock as _, ManualClock, SystemClock, Wanted, WantedPolicy};
use support::{Home, Running, on_both, until, user_named};
use testbed::{Cluster, Stop};

const LONG: Duration = Duration::from_mins(2);

on_both! {
    a_commit_whose_word_was_lost_is_answered_by_the_journal,
    a_database_that_takes_no_writes_is_away_until_it_does,
    commands_sent_during_a_stall_are_decided_after_they_were_sent,
    every_end_is_measured,
    what_does_not_fit_is_not_away,
}

async fn a_commit_whose_word_was_lost_is_answered_by_the_journal(home: Home) {
    let plan = faulty::Plan::default();
    let database = FaultyDatabase { real: home.database(), plan: Arc::clone(&plan) };
    let engine = home.start_with(Box::new(database), 10, LONG, Settings::default()).await;
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
        "allocations_total 10",
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
    home.audit().await;
}

/// It can be read, as where the disk is full, and nobody waits for a write any more.
async fn a_database_that_takes_no_writes_is_away_until_it_does(home: Home) {
    let plan = faulty::Plan::default();
    let database = FaultyDatabase { real: home.database(), plan: Arc::clone(&plan) };
    let settings = Settings { timeout: Duration::from_millis(100), ..Settings::default() };
    let engine = home.start_with(Box::new(database), 3, LONG, settings).await;
    plan.lock().unwrap().extend([Fault::TryAgain; 6]);
    let refused = engine.handle.allocate(user_named("u")).await;
    assert!(matches!(refused, Err(Error::NotDone { .. })), "{refused:?}");
    until("it serves again", || async { engine.handle.health() == Health::Ready }).await;
    assert_eq!(*plan.lock().unwrap(), [], "it was tried until it could be written");
    engine.allocate("u").await;
    assert_eq!(engine.running().await.len(), 1);
    engine.stop().await;
    home.audit().await;
}

/// The next batch is begun with the commit, and so its time is read; the server goes on only later.
async fn commands_sent_during_a_stall_are_decided_after_they_were_sent(home: Home) {
    let plan = faulty::Plan::default();
    let database = FaultyDatabase { real: home.database(), plan: Arc::clone(&plan) };
    let engine = home.start_with(Box::new(database), 100, LONG, Settings::default()).await;
    engine.allocate("first").await;
    for _ in 0..3 {
        plan.lock().unwrap().push(Fault::Stalled);
        let stalled = engine.allocate_at_once(5);
        let late = async {
            tokio::time::sleep(faulty::STALL / 4).await;
            // PostgreSQL's clock is this machine's, too.
            let sent = SystemClock.now();
            (sent, engine.allocate_at_once(3).await, SystemClock.now())
        };
        let (_, (sent, granted, received)) = tokio::join!(stalled, late);
        for granted in granted {
            let start = granted.lease.started_at;
            assert!(start >= sent, "{:?} before it was sent", sent.since(start));
            assert!(start <= received, "{:?} after the response", start.since(received));
            assert_eq!(granted.at, start);
        }
    }
    engine.stop().await;
    home.audit().await;
}

/// What is known of the clock is enough for nearly all batches that are begun ahead.
#[tokio::test(flavor = "multi_thread")]
async fn under_load_the_clock_is_hardly_ever_read_again() {
    let home = Home::postgres().await;
    let plan = faulty::Plan::default();
    let database = FaultyDatabase { real: home.database(), plan: Arc::clone(&plan) };
    let engine = home.start_with(Box::new(database), 100, LONG, Settings::default()).await;
    let before = faulty::CLOCK_READS.load(Ordering::SeqCst);
    let load = (0..12).map(|_| async {
        for _ in 0..40 {
            let sent = SystemClock.now();
            let lease = engine.allocate("u").await.lease;
            assert!((sent..=SystemClock.now()).contains(&lease.started_at));
        }
    });
    futures_util::future::join_all(load).await;
    let reads = faulty::CLOCK_READS.load(Ordering::SeqCst) - before;
    let metrics = metrics(&engine.handle);
    let count =
        metrics.lines().find_map(|line| line.strip_prefix("commit_duration_seconds_count "));
    let batches: usize = count.unwrap().parse().unwrap();
    assert!(batches > 30 && reads * 3 <= batches, "{reads} reads for {batches} batches");
    engine.stop().await;
}

async fn every_end_is_measured(home: Home) {
    let plan = faulty::Plan::default();
    let database = FaultyDatabase { real: home.database(), plan: Arc::clone(&plan) };
    let engine = home.start_with(Box::new(database), 1, LONG, Settings::default()).await;
    for faults in [&[][..], &[Fault::DoneUnsaid], &[Fault::DoneUnsaidLongAgo], &[Fault::TryAgain]] {
        plan.lock().unwrap().extend(faults);
        engine.allocate("u").await;
    }
    let metrics = metrics(&engine.handle);
    for line in ["lease_ends_total{reason=\"evicted\"} 3", "lease_hold_seconds_count 3"] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in {metrics}");
    }
    engine.stop().await;
    home.audit().await;
}

async fn what_does_not_fit_is_not_away(home: Home) {
    let plan = faulty::Plan::default();
    let database = FaultyDatabase { real: home.database(), plan: Arc::clone(&plan) };
    let lease = Duration::from_millis(300);
    let engine = home.start_with(Box::new(database), 1, lease, Settings::default()).await;
    plan.lock().unwrap().push(Fault::Misfit);
    engine.allocate("u").await;
    // The expiry, by the copy as it is and as it was loaded anew.
    plan.lock().unwrap().extend([Fault::Refused; 3]);
    until("the expiry is written down", || async {
        assert_eq!(engine.handle.health(), Health::Ready);
        plan.lock().unwrap().is_empty()
            && metrics(&engine.handle).contains("lease_ends_total{reason=\"expired\"} 1")
    })
    .await;
    let metrics = metrics(&engine.handle);
    for line in [
        "database_mismatches_total{of=\"news\"} 1",
        "database_mismatches_total{of=\"batch\"} 1",
        "database_mismatches_total{of=\"ends\"} 2",
        // The one refusal that was for now.
        "database_failures_total 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in {metrics}");
    }
    engine.stop().await;
    home.audit().await;
}

fn metrics(engine: &Handle) -> String {
    let (mut registry, mut text) = (Registry::default(), String::new());
    engine.register_metrics(&mut registry);
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}

/// Somebody ends a lease at the SQL prompt, behind the engine's back.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_changed_by_hand_is_loaded_anew_and_nobody_is_refused_for_it() {
    let url = Cluster::shared().database().await.unwrap();
    let home = Home::at(&url);
    let engine = home.start(1, Duration::from_millis(1500)).await;
    let by_hand = "update token_manager.leases set ended_at = started_at, end_reason = 'released' \
                   where ended_at is null";
    for somebody_asks in [true, false] {
        let lease = engine.allocate("before").await.lease;
        Cluster::shared().execute(&url, by_hand).await.unwrap();
        if somebody_asks {
            let granted = engine.allocate("after").await;
            assert_eq!(granted.evicted, None, "it was free");
            assert_eq!(granted.lease.previous_fence, lease.fence);
        }
        until("ends are written down again", || async {
            let over = |view: engine::View<'_>| {
                view.pool.tokens(0).all(|t| t.latest.is_some_and(|lease| lease.end.is_some()))
            };
            engine.handle.read(over).await.is_ok_and(|over| over)
        })
        .await;
    }
    engine.stop().await;
}

/// Allocates from several tasks until told to stop; returns what was acknowledged.
fn load(handles: &[Handle], stop: &Arc<AtomicBool>) -> tokio::task::JoinSet<Vec<LeaseId>> {
    let mut tasks = tokio::task::JoinSet::new();
    for (number, handle) in handles.iter().cycle().take(12).cloned().enumerate() {
        let stop = Arc::clone(stop);
        tasks.spawn(async move {
            let mut acknowledged = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                match handle.allocate(user_named(&format!("client {number}"))).await {
                    Ok(granted) => acknowledged.push(granted.unwrap().lease.id),
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

async fn check_acknowledged(engine: &Running, acknowledged: &[Vec<LeaseId>]) {
    let history = engine.whole_history().await;
    let known: HashSet<_> = history.values().flatten().map(|lease| lease.id).collect();
    for id in acknowledged.iter().flatten() {
        assert!(known.contains(id), "{id:?} was acknowledged and is lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_stopped_and_started_under_load() {
    let cluster = Cluster::start().unwrap();
    let home = Home::at(&cluster.database().await.unwrap());
    let settings = Settings { timeout: Duration::from_secs(2), ..Settings::default() };
    let engine = home.start_with(home.database(), 20, LONG, settings).await;
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = load(std::slice::from_ref(&engine.handle), &stop);
    for how in [Stop::Fast, Stop::Immediate] {
        tokio::time::sleep(Duration::from_millis(300)).await;
        tokio::task::block_in_place(|| cluster.stop(how)).unwrap();
        until("it says that the database is away", || async {
            engine.handle.health() == Health::Away
        })
        .await;
        let read = engine.handle.read(|_| ()).await;
        assert!(matches!(read, Err(Error::NotDone { .. })), "{read:?}");
        let refused = engine.handle.allocate(user_named("meanwhile")).await;
        assert!(matches!(refused, Err(Error::NotDone { .. })), "{refused:?}");
        tokio::task::block_in_place(|| cluster.start_again()).unwrap();
        engine.ready().await;
        until("it grants again", || async {
            engine.handle.allocate(user_named("again")).await.is_ok()
        })
        .await;
    }
    stop.store(true, Ordering::SeqCst);
    let acknowledged = tasks.join_all().await;
    assert!(acknowledged.iter().map(Vec::len).sum::<usize>() > 100);
    check_acknowledged(&engine, &acknowledged).await;
    engine.stop().await;
    home.audit().await;
}

/// The database is seen to be away about as soon as clients give up, although what was sent to it
/// is waited for longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_stalls_is_noticed_in_time() {
    const PATIENCE: Duration = Duration::from_millis(800);
    let settings = Settings { timeout: PATIENCE, ..Settings::default() };
    let stall = async |ways: proxy::Ways| {
        let proxy = Proxy::to(&Cluster::shared().database().await.unwrap()).await;
        let home = Home::at(&proxy.url);
        let engine = home.start_with(home.database(), 3, LONG, settings).await;
        engine.allocate("before").await;
        proxy.hold(ways);
        let asked = engine.ask(user_named("meanwhile").into());
        let start = tokio::time::Instant::now();
        until("it is away", || async { engine.handle.health() == Health::Away }).await;
        assert!(start.elapsed() < PATIENCE + Duration::from_secs(2), "{:?}", start.elapsed());
        assert!(asked.await.unwrap().is_err(), "nobody answers");
        proxy.hold([false, false]);
        let start = tokio::time::Instant::now();
        engine.ready().await;
        until("it grants again", || async {
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
    let home = Home::at(&cluster.database().await.unwrap());
    tokio::task::block_in_place(|| cluster.stop(Stop::Fast)).unwrap();
    let wanted = Wanted { size: Some(3), policy: WantedPolicy::default(), update_policy: false };
    let settings = Settings { timeout: Duration::from_millis(300), ..Settings::default() };
    let engine = Running::of(engine::start(home.database(), wanted, settings));
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
    let home = Home::at(&cluster.database().await.unwrap());
    let settings = Settings { batch: 2, timeout: Duration::from_secs(2), ..Settings::default() };
    let wanted = Wanted { size: Some(3), policy: WantedPolicy::default(), update_policy: false };
    let engine = Running::of(engine::start(home.database(), wanted, settings));
    engine.ready().await;
    let shown = |engine: &Running, requests: usize| {
        metrics(&engine.handle).contains(&format!("\nmailbox_requests {requests}\n"))
    };
    let outage = async |engine: &Running| {
        let asked: Vec<_> =
            (0..ASKED).map(|n| engine.ask(user_named(&format!("u{n}")).into())).collect();
        until("all are shown to wait", || async { shown(engine, ASKED) }).await;
        for asked in asked {
            let answer = asked.await.unwrap();
            assert!(matches!(answer, Err(Error::NotDone { .. })), "{answer:?}");
        }
        until("none is shown any more", || async { shown(engine, 0) }).await;
    };
    tokio::task::block_in_place(|| cluster.stop(Stop::Immediate)).unwrap();
    until("it is away", || async { engine.handle.health() == Health::Away }).await;
    outage(&engine).await;
    engine.die();
    let engine = Running::of(engine::start(home.database(), wanted, settings));
    outage(&engine).await;
    tokio::task::block_in_place(|| cluster.start_again()).unwrap();
    engine.ready().await;
    engine.allocate("u").await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_are_as_exact_as_one() {
    let home = Home::postgres().await;
    let engines =
        [home.start(50, LONG).await, home.start(50, LONG).await, home.start(50, LONG).await];
    let handles: Vec<_> = engines.iter().map(|engine| engine.handle.clone()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = load(&handles, &stop);
    // Meanwhile: a read on one server right after a write on another sees it.
    for round in 0..60 {
        let (writer, reader) = (&engines[round % 3], &engines[(round + 1) % 3]);
        let lease = writer.allocate("seen elsewhere").await.lease;
        let seen = reader.handle.read(|view| {
            let latest = view.pool.token(lease.token_id).unwrap().latest.cloned();
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
    // Exact across servers: whoever was evicted was the oldest of those who ran.
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
    home.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leases_of_a_dead_server_are_ended_by_the_others() {
    let home = Home::postgres().await;
    let dead = home.start(5, Duration::from_millis(700)).await;
    let other = home.start(5, Duration::from_millis(700)).await;
    let lease = dead.allocate("u").await.lease;
    dead.stop().await;
    until("the expiry was written down", || async {
        let look = |view: engine::View<'_>| view.pool.token(lease.token_id)?.latest?.end;
        other.handle.read(look).await.unwrap().is_some()
    })
    .await;
    let end = other.history(lease.token_id).await[0].end.unwrap();
    assert_eq!((end.at, end.reason), (lease.expires_at, EndReason::Expired));
    other.stop().await;
}

const HOUR: i64 = 3_600 * 1_000_000;
const YEAR: i64 = 365 * 24 * HOUR;
const START: i64 = 1_800_000_000_000_000;

/// The clock jumps by `micros` while the server is down.
async fn after_a_jump(micros: i64, allow_clock_behind: bool) -> (Home, Result<Running, String>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(START)));
    let home = Home::sqlite().with_clock(Arc::clone(&clock) as _);
    let engine = home.start(3, LONG).await;
    engine.allocate("before").await;
    engine.stop().await;
    clock.set(Timestamp::from_micros(START + micros));
    let wanted = Wanted { size: None, policy: WantedPolicy::default(), update_policy: false };
    let settings = Settings { allow_clock_behind, ..Settings::default() };
    let engine = Running::of(engine::start(home.database(), wanted, settings));
    until("it is ready or gave up", || async { engine.handle.health() != Health::Starting }).await;
    let started = match engine.handle.health() {
        Health::Ready => Ok(engine),
        _ => Err(engine.fatal().await),
    };
    (home, started)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_an_hour() {
    let (home, engine) = after_a_jump(-HOUR, false).await;
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
    home.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_forward_a_year_and_back_again() {
    let (home, engine) = after_a_jump(YEAR, false).await;
    let engine = engine.unwrap();
    assert!(engine.running().await.is_empty(), "all are over");
    let lease = engine.allocate("in a year").await.lease;
    assert!(lease.started_at >= Timestamp::from_micros(START + YEAR));
    engine.stop().await;
    home.audit().await;
    // Now the clock is right again, a year behind the journal.
    let right = home.with_clock(Arc::new(ManualClock::new(Timestamp::from_micros(START))));
    let wanted = Wanted { size: None, policy: Policy::of_lease(LONG).into(), update_policy: false };
    let refused = engine::start(right.database(), wanted, Settings::default());
    let sentence = Running::of(refused).fatal().await;
    assert!(sentence.contains("--allow-clock-behind"), "{sentence}");
    let settings = Settings { allow_clock_behind: true, ..Settings::default() };
    let engine = Running::of(engine::start(right.database(), wanted, settings));
    engine.ready().await;
    assert_eq!(
        engine.running().await,
        std::slice::from_ref(&lease),
        "it lives out its two minutes"
    );
    let next = engine.allocate("after").await.lease;
    assert!(next.expires_at <= lease.started_at.after(LONG * 2), "no lease lives for ever");
    engine.stop().await;
    right.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_runs_on_while_the_clock_stands_behind() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(START)));
    let home = Home::sqlite().with_clock(Arc::clone(&clock) as _);
    let engine = home.start(3, Duration::from_millis(400)).await;
    let lease = engine.allocate("u").await.lease;
    clock.set(Timestamp::from_micros(START - 10 * HOUR));
    until("the lease is over all the same", || async { engine.running().await.is_empty() }).await;
    let end = engine.history(lease.token_id).await[0].end.unwrap();
    assert_eq!((end.at, end.reason), (lease.expires_at, EndReason::Expired));
    engine.stop().await;
    home.audit().await;
}

/// Runs the test of that name, which is ignored otherwise, where `/mnt` is a small file system of its
/// own that nobody else sees.
fn on_a_small_file_system(test: &str) {
    let script = "mount -t tmpfs -o size=1536k tmpfs /mnt && exec \"$0\" \"$@\"";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{errors}");
}

#[test]
fn a_full_disk() {
    on_a_small_file_system("on_a_full_disk");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test a_full_disk, on a small file system"]
async fn on_a_full_disk() {
    let home = Home::at("sqlite:/mnt/pool.db");
    let settings = Settings { timeout: Duration::from_millis(500), ..Settings::default() };
    let engine = home.start_with(home.database(), 10, LONG, settings).await;
    let acknowledged = Mutex::new(vec![engine.allocate("u").await.lease.id]);
    std::fs::write("/mnt/ballast", vec![0; 512 * 1024]).unwrap();
    until("the disk is full", || async {
        match engine.handle.allocate(user_named(&"u".repeat(200))).await {
            Ok(granted) => acknowledged.lock().unwrap().push(granted.unwrap().lease.id),
            Err(Error::NotDone { .. }) => return true,
            Err(other) => panic!("{other}"),
        }
        false
    })
    .await;
    assert_eq!(engine.running().await.len(), acknowledged.lock().unwrap().len().min(10));
    // To the last page, so that not even a smaller batch fits.
    let mut rest = std::fs::File::create("/mnt/rest").unwrap();
    while rest.write_all(&[0; 4096]).is_ok() {}
    let refused = engine.handle.clear().await;
    assert!(matches!(refused, Err(Error::NotDone { .. })), "{refused:?}");
    std::fs::remove_file("/mnt/ballast").unwrap();
    std::fs::remove_file("/mnt/rest").unwrap();
    until("there is room, and service", || async {
        engine.handle.allocate(user_named("again")).await.is_ok()
    })
    .await;
    let acknowledged = [acknowledged.into_inner().unwrap()];
    check_acknowledged(&engine, &acknowledged).await;
    let history = engine.whole_history().await;
    let granted = history.values().map(Vec::len).sum::<usize>();
    assert_eq!(granted, acknowledged[0].len() + 1, "what was refused left nothing behind");
    engine.stop().await;
    home.audit().await;
}
