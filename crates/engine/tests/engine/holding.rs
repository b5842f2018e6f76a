//! Holding a lease: checking it, renewing it, releasing exactly it, receiving its events.

use std::time::Duration;

use crate::support::{TestDb, TestEngine, user_named};
use engine::{
    AllocateRequest, BatchEvents, Event, EventBatch, LeaseChange, LeaseEvent, LeaseOutcome,
    LeaseQuery, LeaseStatus,
};
use pool::{EndReason, HolderCondition, LeaseId, Policy, PoolId};
use testbed::{eventually, on_both};
use tokio::sync::broadcast::Receiver;
use uuid::Uuid;

const LONG: Duration = Duration::from_mins(2);

fn over(answer: &LeaseOutcome) -> EndReason {
    let LeaseOutcome::Over { lease, .. } = answer else { panic!("{answer:?}") };
    lease.end.unwrap().reason
}

#[on_both]
async fn a_stale_release_changes_nothing(db: TestDb) {
    let engine = db.start(1, LONG).await;
    let first = engine.allocate("first").await.lease;
    let second = engine.allocate("second").await.lease;
    let stale = engine.handle.release_lease(first.id).await.unwrap();
    assert_eq!(over(&stale), EndReason::Evicted);
    let LeaseOutcome::Over { evicted_by, .. } = stale else { panic!() };
    assert_eq!(evicted_by, Some(second.id));
    assert_eq!(engine.running().await, [second]);
    let unknown = LeaseId(Uuid::from_u128(1));
    assert_eq!(engine.handle.release_lease(unknown).await.unwrap(), LeaseOutcome::Unknown);
    assert_eq!(engine.handle.renew(unknown).await.unwrap(), LeaseOutcome::Unknown);
    assert_eq!(engine.handle.lease(unknown).await.unwrap(), None);
    engine.stop().await;
}

#[on_both]
async fn releasing_twice_is_idempotent(db: TestDb) {
    let engine = db.start(1, LONG).await;
    let lease = engine.allocate("holder").await.lease;
    let released = |answer: LeaseOutcome| match answer {
        LeaseOutcome::Done { lease, .. } => lease.end.unwrap(),
        other => panic!("{other:?}"),
    };
    let end = released(engine.handle.release_lease(lease.id).await.unwrap());
    assert_eq!(released(engine.handle.release_lease(lease.id).await.unwrap()), end);
    engine.allocate("next").await;
    // Also after the token has gone to another user.
    assert_eq!(released(engine.handle.release_lease(lease.id).await.unwrap()), end);
    assert_eq!(engine.running().await.len(), 1);
    engine.stop().await;
}

#[on_both]
async fn a_release_on_a_condition(db: TestDb) {
    use engine::ReleaseOutcome::{Free, HolderMismatch};
    let engine = db.start(1, LONG).await;
    let first = engine.allocate("first").await.lease;
    let second = engine.allocate("second").await.lease;
    let release = async |if_held| {
        engine.handle.release(PoolId::DEFAULT, first.token_id, if_held).await.unwrap()
    };
    let of_lease = |lease_id| HolderCondition { lease_id: Some(lease_id), user: None };
    let of_user = |user: &str| HolderCondition { lease_id: None, user: Some(user_named(user).id) };
    for stale in [of_lease(first.id), of_user("first")] {
        let HolderMismatch { latest } = release(stale).await else { panic!("{stale:?}") };
        assert_eq!(latest, Some(second.clone()));
    }
    let Free { ended: Some(ended) } = release(of_user("second")).await else { panic!() };
    assert_eq!(ended.id, second.id);
    assert_eq!(release(of_lease(second.id)).await, Free { ended: None }, "already released");
    engine.stop().await;
}

#[on_both]
async fn a_lease_can_be_asked_for(db: TestDb) {
    let engine = db.start(1, LONG).await;
    let first = engine.allocate("first").await.lease;
    let seen = engine.handle.lease(first.id).await.unwrap().unwrap();
    assert_eq!((seen.lease, seen.evicted_by, seen.current), (first.clone(), None, None));
    let second = engine.allocate("second").await.lease;
    let seen = engine.handle.lease(first.id).await.unwrap().unwrap();
    assert_eq!(seen.lease.end.map(|end| end.reason), Some(EndReason::Evicted));
    assert_eq!((seen.evicted_by, seen.current), (Some(second.id), Some(second)));
    engine.stop().await;
}

#[on_both]
async fn a_renewal_moves_the_deadline_up_to_the_limit(db: TestDb) {
    let (lease, limit) = (Duration::from_secs(2), Duration::from_secs(3));
    let policy = Policy { max_lease: Some(limit), ..Policy::of_lease(lease) };
    let engine = db.start_policy(1, policy).await;
    let granted = engine.allocate("holder").await.lease;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let renewed = engine.handle.renew(granted.id).await.unwrap();
    let LeaseOutcome::Done { lease: renewed, at } = renewed else { panic!("{renewed:?}") };
    assert_eq!(renewed.expires_at, at.after(lease));
    assert_eq!((renewed.id, renewed.fence), (granted.id, granted.fence));
    let last = granted.started_at.after(limit);
    eventually("the limit is reached", || async {
        match engine.handle.renew(granted.id).await.unwrap() {
            LeaseOutcome::Done { lease, .. } => {
                assert!(lease.expires_at <= last);
                false
            }
            LeaseOutcome::AtLimit { lease, .. } => {
                assert_eq!(lease.expires_at, last);
                true
            }
            other => panic!("{other:?}"),
        }
    })
    .await;
    engine.stop().await;
    // The limit is kept over a restart, and so is the length.
    let engine = db.start_policy(1, policy).await;
    eventually("it is over", || async { engine.running().await.is_empty() }).await;
    let kept = engine.history(granted.token_id).await.remove(0);
    assert_eq!((kept.expires_at, kept.granted_until), (last, granted.granted_until));
    assert_eq!(kept.end.map(|end| (end.at, end.reason)), Some((last, EndReason::Expired)));
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn by_default_nothing_can_be_renewed(db: TestDb) {
    let engine = db.start(1, LONG).await;
    let lease = engine.allocate("holder").await.lease;
    let answer = engine.handle.renew(lease.id).await.unwrap();
    assert!(
        matches!(&answer, LeaseOutcome::AtLimit { lease: same, .. } if *same == lease),
        "{answer:?}"
    );
    engine.release(lease.token_id).await;
    assert_eq!(over(&engine.handle.renew(lease.id).await.unwrap()), EndReason::Released);
    engine.stop().await;
}

#[on_both]
async fn a_renewal_races_with_the_expiry(db: TestDb) {
    let lease = Duration::from_millis(40);
    let policy = Policy { max_lease: Some(LONG), ..Policy::of_lease(lease) };
    let engine = db.start_policy(1, policy).await;
    let (mut renewed, mut expired) = (0, 0);
    for round in 0..60_u64 {
        let granted = engine.allocate("holder").await.lease;
        // Around the deadline, slightly earlier or later each time.
        tokio::time::sleep(Duration::from_micros(33_000 + round % 20 * 500)).await;
        match engine.handle.renew(granted.id).await.unwrap() {
            LeaseOutcome::Done { lease: now, at } => {
                assert!(at < granted.expires_at, "an ended lease is never revived");
                assert_eq!(now.expires_at, at.after(lease).max(granted.expires_at));
                renewed += 1;
                // None on a busy machine, on which it has expired by then.
                let released = engine.release(granted.token_id).await;
                assert!(released.is_none_or(|lease| lease.id == granted.id));
            }
            LeaseOutcome::Over { lease, .. } => {
                let end = lease.end.unwrap();
                assert_eq!((end.at, end.reason), (granted.expires_at, EndReason::Expired));
                expired += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(renewed + expired, 60);
    engine.whole_history().await;
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_release_races_with_expiry_and_eviction(db: TestDb) {
    let engine = db.start(1, Duration::from_millis(40)).await;
    for round in 0..60_u64 {
        let granted = engine.allocate("holder").await.lease;
        tokio::time::sleep(Duration::from_micros(round % 20 * 2_200)).await;
        let evictor = engine.ask(AllocateRequest::from(user_named("evictor")));
        let answer = engine.handle.release_lease(granted.id).await.unwrap();
        let evictor = evictor.await.unwrap().unwrap().unwrap();
        let evicted = evictor.evicted.map(|lease| lease.id) == Some(granted.id);
        match answer {
            LeaseOutcome::Done { .. } => assert!(!evicted, "released before it could be evicted"),
            other if evicted => assert_eq!(over(&other), EndReason::Evicted),
            other => assert_eq!(over(&other), EndReason::Expired),
        }
        // With either outcome, the other's lease is untouched.
        let seen = engine.handle.lease(evictor.lease.id).await.unwrap().unwrap().lease;
        assert!(seen.end.is_none_or(|end| end.reason == EndReason::Expired), "{seen:?}");
        engine.release(granted.token_id).await;
    }
    engine.whole_history().await;
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_shorter_lease_may_be_asked_for(db: TestDb) {
    let engine = db.start(2, LONG).await;
    let asked = |lease| AllocateRequest {
        lease: Some(lease),
        ..AllocateRequest::from(user_named("holder"))
    };
    let short = Duration::from_millis(1_500);
    let granted = engine.handle.allocate(asked(short)).await.unwrap().unwrap().grant.lease;
    assert_eq!(granted.expires_at, granted.started_at.after(short));
    let long = engine.handle.allocate(asked(LONG + Duration::from_micros(1))).await.unwrap();
    assert_eq!(long.unwrap_err(), pool::Refusal::LeaseTooLong { longest: LONG });
    engine.stop().await;
}

/// The events of the next batches, up to a number of events.
async fn events(feed: &mut Receiver<std::sync::Arc<EventBatch>>, count: usize) -> Vec<LeaseEvent> {
    let mut events = Vec::new();
    while events.len() < count {
        let published = feed.recv().await.unwrap();
        let BatchEvents::Events(more) = &published.happened else { panic!("{published:?}") };
        events.extend(more.iter().filter_map(Event::of_lease).cloned());
    }
    events
}

/// A start, an eviction, a renewal, a release, an expiry.
async fn live(engine: &TestEngine) {
    let first = engine.allocate("first").await.lease;
    let second = engine.allocate("second").await.lease;
    assert_eq!(first.token_id, second.token_id);
    tokio::time::sleep(Duration::from_millis(5)).await;
    engine.handle.renew(second.id).await.unwrap();
    engine.handle.release_lease(second.id).await.unwrap();
    let short = Some(Duration::from_millis(20));
    let third = AllocateRequest { lease: short, ..AllocateRequest::from(user_named("third")) };
    engine.handle.allocate(third).await.unwrap().unwrap();
    eventually("it is over", || async { engine.running().await.is_empty() }).await;
}

const RENEWABLE: Policy =
    Policy { max_lease: Some(LONG.saturating_mul(2)), ..Policy::of_lease(LONG) };

#[on_both]
async fn everything_that_happens_is_told_in_order(db: TestDb) {
    let engine = db.start_policy(1, RENEWABLE).await;
    let mut feed = engine.handle.events();
    live(&engine).await;
    let told = events(&mut feed, 7).await;
    let names: Vec<_> = told
        .iter()
        .map(|event| {
            let reason = event.lease.end.map(|end| end.reason);
            (event.what, &*event.lease.user.name, reason)
        })
        .collect();
    assert_eq!(
        names,
        [
            (LeaseChange::Started, "first", None),
            (LeaseChange::Ended, "first", Some(EndReason::Evicted)),
            (LeaseChange::Started, "second", None),
            (LeaseChange::Renewed, "second", None),
            (LeaseChange::Ended, "second", Some(EndReason::Released)),
            (LeaseChange::Started, "third", None),
            (LeaseChange::Ended, "third", Some(EndReason::Expired)),
        ]
    );
    assert_eq!(told[1].other, Some(told[2].lease.id));
    assert_eq!(told[2].other, Some(told[1].lease.id));
    assert!(told[3].lease.expires_at > told[2].lease.expires_at);
    engine.stop().await;
}

#[on_both]
async fn the_journal_tells_the_same_as_the_feed(db: TestDb) {
    let engine = db.start_policy(1, RENEWABLE).await;
    let stamp = engine.handle.read(|view| view.stamp).await.unwrap();
    let mut feed = engine.handle.events();
    live(&engine).await;
    let mut told: Vec<EventBatch> = Vec::new();
    // The last event is the end of the last lease.
    let is_end = |event: &Event| {
        event.of_lease().unwrap().lease.end.is_some_and(|end| end.reason == EndReason::Expired)
    };
    while !told
        .iter()
        .any(|t| matches!(&t.happened, BatchEvents::Events(all) if all.iter().any(is_end)))
    {
        told.push((*feed.recv().await.unwrap()).clone());
    }
    let newest = told.last().unwrap().version;
    let journal = engine.handle.journal(stamp.epoch, stamp.version, 1_000).await.unwrap().unwrap();
    assert_eq!(journal[0].version, stamp.version);
    assert_eq!(journal[1..], told);
    let page = engine.handle.journal(stamp.epoch, stamp.version + 1, 2).await.unwrap().unwrap();
    assert_eq!(page, told[..2]);
    let other_epoch = engine.handle.journal(stamp.epoch + 1, stamp.version, 10).await.unwrap();
    assert_eq!(other_epoch, None);
    let not_yet = engine.handle.journal(stamp.epoch, newest + 1, 10).await.unwrap();
    assert_eq!(not_yet, None);
    engine.stop().await;
}

#[on_both]
async fn running_leases_are_found_in_memory(db: TestDb) {
    let engine = db.start(5, LONG).await;
    let mut granted = Vec::new();
    for user in ["a", "b", "a", "a"] {
        granted.push(engine.allocate(user).await.lease);
    }
    let user = Some(user_named("a").id);
    let question = LeaseQuery { user, status: Some(LeaseStatus::Running), ..LeaseQuery::default() };
    let page = engine.handle.search(&question, 2).await.unwrap();
    let found = |page: &engine::Page<engine::Cursor>| {
        page.leases.iter().map(|record| record.lease.id).collect::<Vec<_>>()
    };
    assert_eq!(found(&page), [granted[3].id, granted[2].id]);
    let page = engine.handle.search(&LeaseQuery { after: page.next, ..question }, 2).await.unwrap();
    assert_eq!((found(&page), page.next), (vec![granted[0].id], None));
    engine.release(granted[3].token_id).await;
    let ended = LeaseQuery { status: Some(LeaseStatus::Ended), ..question };
    assert_eq!(found(&engine.handle.search(&ended, 10).await.unwrap()), [granted[3].id]);
    let all = LeaseQuery { status: None, ..question };
    assert_eq!(found(&engine.handle.search(&all, 10).await.unwrap()).len(), 3);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_only_listens_for_long_misses_nothing_when_it_writes() {
    let db = TestDb::from(testbed::TestDb::postgres().await);
    let (busy, quiet) = (db.start(1, LONG).await, db.start(1, LONG).await);
    quiet.allocate("first").await;
    let mut feed = quiet.handle.events();
    let versions = |server: &TestEngine| {
        let handle = server.handle.clone();
        async move { handle.read(|view| view.stamp.version).await.unwrap() }
    };
    let before = versions(&quiet).await;
    let mut batches = 0;
    while batches < 1_500 {
        busy.allocate("busy").await;
        batches += 1;
        if batches % 200 == 0 {
            versions(&quiet).await;
        }
    }
    quiet.allocate("last").await;
    let last = versions(&quiet).await;
    for version in before + 1..=last {
        let published = feed.recv().await.unwrap();
        assert_eq!(published.version, version);
        assert!(matches!(published.happened, BatchEvents::Events(_)), "{published:?}");
    }
    busy.stop().await;
    quiet.stop().await;
}
