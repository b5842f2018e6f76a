//! Allocations that wait for a token, on both databases and on several servers.

use std::collections::HashSet;
use std::time::Duration;

use crate::faulty::{Fault, FaultyDatabase, Plan};
use crate::support::{TestDb, TestEngine, user_named};
use engine::{AllocateRequest, Error};
use futures_util::future::join_all;
use pool::{EndReason, Grant, Policy, PoolId, Refusal, WhenFull};
use testbed::{eventually, on_both};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_mins(2);
const WAIT: Policy = Policy { when_full: WhenFull::Wait, ..Policy::of_lease(LONG) };

type Waiting = JoinHandle<Result<Result<Grant, Refusal>, Error>>;

fn asked(user: &str, wait: Duration) -> AllocateRequest {
    AllocateRequest { wait: Some(wait), ..AllocateRequest::from(user_named(user)) }
}

/// Starts one more allocation that waits; returns once it is in the queue.
async fn queue(engine: &TestEngine, user: &str) -> Waiting {
    let before = engine.waiting().await;
    let waiting = engine.ask(asked(user, Duration::from_mins(1)));
    eventually("it has a place", || async { engine.waiting().await > before }).await;
    waiting
}

async fn granted(waiting: Waiting) -> Grant {
    waiting.await.unwrap().unwrap().unwrap()
}

#[on_both]
async fn first_come_first_served(db: TestDb) {
    let engine = db.start_policy(1, WAIT).await;
    let token = engine.allocate("holder").await.lease.token_id;
    let mut waiting = Vec::new();
    for number in 0..12 {
        waiting.push(queue(&engine, &format!("user {number}")).await);
    }
    let mut fences = Vec::new();
    for one in waiting {
        assert!(engine.release(token).await.is_some());
        let granted = granted(one).await;
        assert_eq!(granted.lease.token_id, token);
        assert_eq!(granted.evicted, None);
        fences.push(granted.lease.fence);
    }
    assert!(fences.is_sorted());
    assert_eq!(engine.waiting().await, 0);
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_plain_allocation_goes_behind_the_waiting_ones(db: TestDb) {
    let policy = Policy { min_hold: LONG, ..Policy::of_lease(LONG) };
    let engine = db.start_policy(1, policy).await;
    let token = engine.allocate("holder").await.lease.token_id;
    let first = queue(&engine, "first").await;
    // The request does not ask to wait, and the policy does not say so.
    let plain = engine.handle.allocate(user_named("plain")).await.unwrap();
    let Err(Refusal::Full { position, .. }) = plain else { panic!("{plain:?}") };
    assert_eq!(position, 2);
    engine.release(token).await;
    let first = granted(first).await;
    assert_eq!(&*first.lease.user.name, "first");
    engine.stop().await;
}

#[on_both]
async fn a_wait_ends_when_its_time_is_up(db: TestDb) {
    let engine = db.start_policy(1, WAIT).await;
    let holder = engine.allocate("holder").await.lease;
    let _first = queue(&engine, "first").await;
    let second = engine.handle.allocate(asked("second", Duration::from_millis(120)));
    let second = second.await.unwrap();
    let Err(Refusal::Full { position, retry_after }) = second else { panic!("{second:?}") };
    assert_eq!(position, 2);
    assert!(retry_after > Duration::from_mins(1) && retry_after <= LONG, "{retry_after:?}");
    let at_once = engine.handle.allocate(asked("third", Duration::ZERO)).await.unwrap();
    assert!(matches!(at_once, Err(Refusal::Full { position: 2, .. })), "{at_once:?}");
    eventually("its place is given up", || async { engine.waiting().await == 1 }).await;
    assert_eq!(engine.running().await.len(), 1);
    assert_eq!(engine.running().await[0].id, holder.id);
    engine.stop().await;
}

#[on_both]
async fn a_client_that_leaves_is_removed_from_the_queue_and_takes_no_token(db: TestDb) {
    let engine = db.start_policy(1, WAIT).await;
    let holder = engine.allocate("holder").await.lease;
    let gone = queue(&engine, "gone").await;
    let stays = queue(&engine, "stays").await;
    gone.abort();
    eventually("the place is given up", || async { engine.waiting().await == 1 }).await;
    engine.release(holder.token_id).await;
    let granted = granted(stays).await;
    assert_eq!(granted.lease.previous_fence, holder.fence, "no lease in between");
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn of_two_hundred_half_leave(db: TestDb) {
    let engine = db.start_policy(5, WAIT).await;
    let holders = engine.allocate_at_once(5).await;
    let mut waiting: Vec<_> = (0..200)
        .map(|number| engine.ask(asked(&format!("user {number}"), Duration::from_mins(1))))
        .collect();
    eventually("all wait", || async { engine.waiting().await == 200 }).await;
    let stay = waiting.split_off(100);
    for holder in holders {
        engine.release(holder.grant.lease.token_id).await;
    }
    waiting.iter().for_each(JoinHandle::abort);
    for one in waiting {
        // Some had their response already, and keep their lease.
        if let Ok(answer) = one.await {
            engine.release(answer.unwrap().unwrap().lease.token_id).await;
        }
    }
    // Each client that is served passes the token on.
    let passing = stay.into_iter().map(async |one| {
        let granted = granted(one).await;
        engine.release(granted.lease.token_id).await;
        granted.lease.user.name.to_string()
    });
    let users: HashSet<String> = join_all(passing).await.into_iter().collect();
    assert_eq!(users.len(), 100);
    eventually("an empty queue", || async { engine.waiting().await == 0 }).await;
    eventually("nothing leaked", || async { engine.running().await.is_empty() }).await;
    engine.whole_history().await;
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn an_expiry_serves_the_next(db: TestDb) {
    let lease = Duration::from_millis(150);
    let policy = Policy { lease, ..WAIT };
    let engine = db.start_policy(1, policy).await;
    let holder = engine.allocate("holder").await.lease;
    let waiting = engine.ask(asked("next", Duration::from_secs(30)));
    let next = granted(waiting).await.lease;
    assert!(next.started_at >= holder.expires_at);
    assert_eq!(next.previous_fence, holder.fence);
    let end = engine.history(next.token_id).await[1].end.unwrap();
    assert_eq!((end.at, end.reason), (holder.expires_at, EndReason::Expired));
    engine.stop().await;
}

#[on_both]
async fn a_clear_serves_as_many_as_there_are_tokens(db: TestDb) {
    let engine = db.start_policy(3, WAIT).await;
    engine.allocate_at_once(3).await;
    let mut waiting = Vec::new();
    for number in 0..4 {
        waiting.push(queue(&engine, &format!("user {number}")).await);
    }
    assert_eq!(engine.handle.clear(PoolId::DEFAULT).await.unwrap(), 3);
    let last = waiting.pop().unwrap();
    let mut tokens = HashSet::new();
    for one in waiting {
        tokens.insert(granted(one).await.lease.token_id);
    }
    assert_eq!(tokens.len(), 3);
    assert_eq!(engine.waiting().await, 1);
    assert!(!last.is_finished());
    engine.stop().await;
}

#[on_both]
async fn a_lease_is_evicted_for_a_waiting_request_once_it_is_old_enough(db: TestDb) {
    let min_hold = Duration::from_millis(300);
    let engine = db.start_policy(1, Policy { min_hold, ..Policy::of_lease(LONG) }).await;
    let young = engine.allocate("young").await.lease;
    let refused = engine.handle.allocate(user_named("hasty")).await.unwrap();
    let Err(Refusal::Full { retry_after, .. }) = refused else { panic!("{refused:?}") };
    assert!(retry_after <= min_hold, "{retry_after:?}");
    let granted = granted(engine.ask(asked("patient", Duration::from_secs(30)))).await;
    let evicted = granted.evicted.unwrap();
    assert_eq!(evicted.id, young.id);
    assert!(evicted.end.unwrap().at.since(young.started_at) >= min_hold);
    engine.stop().await;
}

#[on_both]
async fn a_full_pool_that_rejects_says_when_to_come_back(db: TestDb) {
    let policy = Policy { when_full: WhenFull::Reject, ..Policy::of_lease(LONG) };
    let engine = db.start_policy(1, policy).await;
    engine.allocate("holder").await;
    let refused = engine.handle.allocate(user_named("other")).await.unwrap();
    let Err(Refusal::Full { retry_after, .. }) = refused else { panic!("{refused:?}") };
    assert!(retry_after > Duration::from_mins(1) && retry_after <= LONG, "{retry_after:?}");
    let refused = engine.handle.allocate(asked("other", Duration::from_secs(1))).await.unwrap();
    assert_eq!(refused.unwrap_err(), Refusal::WaitNotOffered);
    engine.stop().await;
}

#[on_both]
async fn a_stopping_server_refuses_the_waiting_requests(db: TestDb) {
    let engine = db.start_policy(1, WAIT).await;
    engine.allocate("holder").await;
    let waiting = queue(&engine, "waiting").await;
    engine.stop().await;
    assert_eq!(waiting.await.unwrap(), Err(Error::Stopping));
    let engine = db.start_policy(1, WAIT).await;
    assert_eq!(engine.handle.read(|view| view.ledger.tickets().count()).await.unwrap(), 0);
    engine.stop().await;
}

#[on_both]
async fn a_user_at_the_limit_is_refused_also_after_waiting(db: TestDb) {
    let policy = Policy { max_per_user: Some(1), ..WAIT };
    let engine = db.start_policy(2, policy).await;
    let other = engine.allocate("other").await.lease;
    let another = engine.allocate("another").await.lease;
    let refused = engine.handle.allocate(user_named("other")).await.unwrap();
    assert_eq!(refused.unwrap_err(), Refusal::UserLimit { limit: 1 });
    let (first, second) = (queue(&engine, "same").await, queue(&engine, "same").await);
    engine.release(other.token_id).await;
    engine.release(another.token_id).await;
    granted(first).await;
    assert_eq!(second.await.unwrap().unwrap(), Err(Refusal::UserLimit { limit: 1 }));
    assert_eq!(engine.waiting().await, 0);
    engine.stop().await;
}

#[on_both]
async fn a_brief_loss_of_the_database_keeps_the_order_of_the_queue(db: TestDb) {
    let plan = Plan::default();
    let database = FaultyDatabase::new(db.database(), &plan);
    let engine = db.start_policy_on(Box::new(database), 1, WAIT).await;
    let token = engine.allocate("holder").await.lease.token_id;
    let first = queue(&engine, "first").await;
    let second = queue(&engine, "second").await;
    let faults = [Fault::TryAgain, Fault::DoneUnsaid, Fault::UndoneUnsaid, Fault::TryAgain];
    plan.lock().unwrap().extend(faults);
    engine.release(token).await;
    let first = granted(first).await.lease;
    plan.lock().unwrap().extend(faults);
    engine.release(token).await;
    let second = granted(second).await.lease;
    assert_eq!(second.previous_fence, first.fence);
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_token_that_is_freed_in_the_batch_that_queues_one_is_handed_out_in_it(db: TestDb) {
    let plan = Plan::default();
    let database = FaultyDatabase::new(db.database(), &plan);
    let engine = db.start_policy_on(Box::new(database), 1, WAIT).await;
    let holder = engine.allocate("holder").await.lease;
    let version = async || engine.handle.read(|view| view.stamp.version).await.unwrap();
    let before = version().await;
    // The failed command waits until the database is tried again; meanwhile the other arrives.
    plan.lock().unwrap().push(Fault::TryAgain);
    let waiting = engine.ask(asked("next", Duration::from_mins(1)));
    eventually("it was not done", || async { plan.lock().unwrap().is_empty() }).await;
    engine.release(holder.token_id).await;
    let next = granted(waiting).await.lease;
    assert_eq!(next.previous_fence, holder.fence);
    assert_eq!(version().await, before + 1, "both in one batch");
    assert_eq!(engine.waiting().await, 0);
    engine.stop().await;
    db.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_is_over_in_time_also_where_another_server_says_so() {
    let db = TestDb::from(testbed::TestDb::postgres().await);
    let policy = Policy { max_lease: Some(LONG * 2), ..WAIT };
    let engines = [db.start_policy(1, policy).await, db.start_policy(1, policy).await];
    let holder = engines[1].allocate("holder").await.lease;
    let wait = Duration::from_millis(300);
    let since = tokio::time::Instant::now();
    let waiting: Vec<_> = (0..20).map(|_| engines[0].ask(asked("waiting", wait))).collect();
    while !waiting.iter().all(JoinHandle::is_finished) && since.elapsed() < wait * 20 {
        // Batch after batch, one of which is the first after the wait's end.
        engines[1].handle.renew(holder.id).await.unwrap();
    }
    for one in waiting {
        let answer = one.await.unwrap().unwrap();
        assert!(matches!(answer, Err(Refusal::Full { .. })), "{answer:?}");
    }
    assert!(since.elapsed() < wait * 5, "{:?}", since.elapsed());
    let [one, other] = engines;
    one.stop().await;
    other.stop().await;
    db.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_of_two_servers_is_one() {
    let db = TestDb::from(testbed::TestDb::postgres().await);
    let engines = [db.start_policy(1, WAIT).await, db.start_policy(1, WAIT).await];
    let token = engines[0].allocate("holder").await.lease.token_id;
    let mut waiting = Vec::new();
    for number in 0..10 {
        waiting.push(queue(&engines[number % 2], &format!("user {number}")).await);
    }
    let mut before = None;
    for (number, one) in waiting.into_iter().enumerate() {
        // At the server where it does not wait.
        engines[(number + 1) % 2].release(token).await;
        let lease = granted(one).await.lease;
        assert!(before < Some(lease.fence), "first come first served");
        before = Some(lease.fence);
    }
    let [one, other] = engines;
    assert_eq!(one.waiting().await, 0);
    one.stop().await;
    other.stop().await;
    db.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_waited_at_a_dead_server_are_skipped() {
    let db = TestDb::from(testbed::TestDb::postgres().await);
    let (dying, living) = (db.start_policy(1, WAIT).await, db.start_policy(1, WAIT).await);
    let token = living.allocate("holder").await.lease.token_id;
    let _lost = queue(&dying, "lost").await;
    let waiting = queue(&living, "waiting").await;
    dying.die();
    let since = tokio::time::Instant::now();
    living.release(token).await;
    let lease = granted(waiting).await.lease;
    assert!(since.elapsed() < pool::SERVER_TIMEOUT * 3, "{:?}", since.elapsed());
    assert_eq!(&*lease.user.name, "waiting");
    let history = living.history(token).await;
    assert_eq!(history.len(), 2, "the dead one's user never had it: {history:?}");
    living.stop().await;
    db.audit().await;
}
