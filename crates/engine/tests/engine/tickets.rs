//! Tickets with a key, which keep their position between requests, on both databases and on several
//! servers.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{TestDb, TestEngine, default, user_named};
use engine::{AllocateOutcome, AllocateRequest, Error, GiveUpOutcome};
use pool::{
    Fence, Grant, IdempotencyKey, LeaseId, Policy, Refusal, TICKET_GRACE, Waiting, WhenFull,
};
use testbed::{eventually, on_both};
use tokio::sync::RwLock;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const LONG: Duration = Duration::from_mins(2);
const WAIT: Policy = Policy { when_full: WhenFull::Wait, ..Policy::of_lease(LONG) };
const HOUR: Duration = Duration::from_hours(1);

fn keyed(user: &str, hold: Duration) -> AllocateRequest {
    let key = IdempotencyKey::new("job").ok();
    AllocateRequest {
        wait: Some(HOUR),
        key,
        hold: Some(hold),
        ..AllocateRequest::from(user_named(user))
    }
}

/// One request of a client that repeats it; answered at once.
async fn look(engine: &TestEngine, user: &str) -> AllocateOutcome {
    engine.handle.ask(keyed(user, Duration::ZERO)).await.unwrap()
}

#[track_caller]
fn waiting(answered: AllocateOutcome) -> Waiting {
    match answered {
        AllocateOutcome::Waiting(waiting) => waiting,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn granted(answered: AllocateOutcome) -> Grant {
    match answered {
        AllocateOutcome::Granted(allocated) => allocated.grant,
        other => panic!("{other:?}"),
    }
}

/// A request that is held.
fn hold(engine: &TestEngine, user: &str) -> JoinHandle<Result<AllocateOutcome, Error>> {
    let (handle, asked) = (engine.handle.clone(), keyed(user, HOUR));
    tokio::spawn(async move { handle.ask(asked).await })
}

/// A request without a key that waits; returns once it is in the queue.
async fn queue(
    engine: &TestEngine,
    user: &str,
) -> JoinHandle<Result<Result<Grant, Refusal>, Error>> {
    let before = engine.waiting().await;
    let wait = Some(Duration::from_mins(1));
    let waiting = engine.ask(AllocateRequest { wait, ..AllocateRequest::from(user_named(user)) });
    eventually("it has a place", || async { engine.waiting().await > before }).await;
    waiting
}

#[on_both]
async fn repeated_requests_are_served_in_the_order_of_their_arrival(db: TestDb) {
    let engine = db.start_policy(1, WAIT).await;
    let token = engine.allocate("holder").await.lease.token_id;
    let first = waiting(look(&engine, "first").await);
    let short = queue(&engine, "short").await;
    let third = waiting(look(&engine, "third").await);
    assert_eq!((first.position, third.position), (1, 3));
    for _ in 0..3 {
        assert_eq!(waiting(look(&engine, "third").await), third);
        assert_eq!(waiting(look(&engine, "first").await), first);
    }
    engine.release(token).await;
    let lease = granted(look(&engine, "first").await).lease;
    assert_eq!(lease.id, first.ticket, "the ticket becomes the lease");
    assert_eq!(granted(look(&engine, "first").await).lease, lease, "and is asked for again");
    engine.release(token).await;
    assert_eq!(&*short.await.unwrap().unwrap().unwrap().lease.user.name, "short");
    assert_eq!(waiting(look(&engine, "third").await).position, 1);
    engine.release(token).await;
    assert_eq!(granted(look(&engine, "third").await).lease.id, third.ticket);
    engine.whole_history().await;
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_token_waits_for_the_client_of_the_first_ticket(db: TestDb) {
    let engine = db.start_policy(2, WAIT).await;
    let [one, other] = [engine.allocate("a").await.lease, engine.allocate("b").await.lease];
    let first = waiting(look(&engine, "first").await);
    let second = queue(&engine, "second").await;
    engine.release(one.token_id).await;
    let plain = AllocateRequest {
        wait: Some(Duration::ZERO),
        ..AllocateRequest::from(user_named("plain"))
    };
    let refused = engine.handle.allocate(plain).await.unwrap();
    assert!(matches!(refused, Err(Refusal::Full { position: 3, .. })), "{refused:?}");
    assert!(!second.is_finished());
    engine.release(other.token_id).await;
    assert_eq!(second.await.unwrap().unwrap().unwrap().lease.token_id, one.token_id);
    assert_eq!(granted(look(&engine, "first").await).lease.id, first.ticket);
    engine.stop().await;
}

#[on_both]
async fn a_client_that_is_cut_off_keeps_its_place(db: TestDb) {
    let engine = db.start_policy(1, WAIT).await;
    let token = engine.allocate("holder").await.lease.token_id;
    let request = hold(&engine, "first");
    eventually("it waits", || async { engine.waiting().await == 1 }).await;
    let second = queue(&engine, "second").await;
    request.abort();
    // Its client is gone when the token is released, so that it is not served.
    assert!(request.await.unwrap_err().is_cancelled());
    engine.release(token).await;
    let again = hold(&engine, "first");
    let lease = granted(again.await.unwrap().unwrap()).lease;
    assert_eq!(&*lease.user.name, "first");
    assert!(!second.is_finished());
    engine.release(token).await;
    second.await.unwrap().unwrap().unwrap();
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_ticket_outlives_the_server(db: TestDb) {
    let engine = db.start_policy(1, WAIT).await;
    let token = engine.allocate("holder").await.lease.token_id;
    let held = hold(&engine, "first");
    eventually("it waits", || async { engine.waiting().await == 1 }).await;
    let second = waiting(look(&engine, "second").await);
    engine.stop().await;
    assert_eq!(held.await.unwrap(), Err(Error::Stopping));
    let engine = db.start_policy(1, WAIT).await;
    assert_eq!(waiting(look(&engine, "second").await), second, "it comes back first");
    let first = waiting(look(&engine, "first").await);
    assert_eq!(first.position, 1);
    engine.die();
    let engine = db.start_policy(1, WAIT).await;
    assert_eq!(waiting(look(&engine, "first").await), first);
    engine.release(token).await;
    assert_eq!(granted(look(&engine, "first").await).lease.id, first.ticket);
    assert_eq!(waiting(look(&engine, "second").await).position, 1);
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_silent_ticket_lapses_after_15_seconds_and_not_earlier(db: TestDb) {
    let engine = db.start_policy(1, WAIT).await;
    engine.allocate("holder").await;
    let silent = waiting(look(&engine, "silent").await);
    let since = Instant::now();
    let alive = hold(&engine, "alive");
    eventually("both wait", || async { engine.waiting().await == 2 }).await;
    tokio::time::sleep(Duration::from_secs(3).saturating_sub(since.elapsed())).await;
    assert_eq!(engine.waiting().await, 2);
    // Requested again in time, it is kept for the same time again.
    assert_eq!(waiting(look(&engine, "silent").await), silent);
    let since = Instant::now();
    eventually("it has lapsed", || async { engine.waiting().await == 1 }).await;
    let lapsed = since.elapsed();
    assert!(lapsed >= TICKET_GRACE && lapsed < TICKET_GRACE + Duration::from_secs(6), "{lapsed:?}");
    assert!(!alive.is_finished(), "one that is held is not silent");
    let again = waiting(look(&engine, "silent").await);
    assert_eq!(again.position, 2);
    assert_ne!(again.ticket, silent.ticket);
    engine.stop().await;
}

#[on_both]
async fn a_wait_ends_when_its_time_is_up_however_often_it_is_asked_for(db: TestDb) {
    let engine = db.start_policy(1, WAIT).await;
    engine.allocate("holder").await;
    let wait = Some(Duration::from_millis(400));
    let asked = || AllocateRequest { wait, ..keyed("hasty", Duration::ZERO) };
    let began = Instant::now();
    waiting(engine.handle.ask(asked()).await.unwrap());
    let held = AllocateRequest { hold: None, ..asked() };
    let refused = engine.handle.ask(held).await.unwrap();
    assert!(
        matches!(refused, AllocateOutcome::Refused(Refusal::Full { position: 1, .. })),
        "{refused:?}"
    );
    waiting(engine.handle.ask(asked()).await.unwrap());
    tokio::time::sleep(Duration::from_millis(450)).await;
    let refused = engine.handle.ask(asked()).await.unwrap();
    assert!(matches!(refused, AllocateOutcome::Refused(Refusal::Full { .. })), "{refused:?}");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(850) && took < Duration::from_secs(4), "{took:?}");
    eventually("its place is given up", || async { engine.waiting().await == 0 }).await;
    engine.stop().await;
}

#[on_both]
async fn a_ticket_is_given_up(db: TestDb) {
    let engine = db.start_policy(1, WAIT).await;
    engine.allocate("holder").await;
    let held = hold(&engine, "first");
    eventually("it waits", || async { engine.waiting().await == 1 }).await;
    let ticket = waiting(look(&engine, "first").await).ticket;
    let second = waiting(look(&engine, "second").await);
    assert_eq!(engine.handle.give_up(ticket).await.unwrap(), GiveUpOutcome::Done);
    assert_eq!(held.await.unwrap().unwrap(), AllocateOutcome::Refused(Refusal::GivenUp));
    assert_eq!(engine.handle.give_up(ticket).await.unwrap(), GiveUpOutcome::Unknown);
    assert_eq!(waiting(look(&engine, "second").await), Waiting { position: 1, ..second });
    assert_eq!(waiting(look(&engine, "first").await).position, 2, "a new wait");
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_ticket_that_was_served_is_not_given_up(db: TestDb) {
    let engine = db.start_policy(2, WAIT).await;
    let [one, other] = [engine.allocate("a").await.lease, engine.allocate("b").await.lease];
    let ticket = waiting(look(&engine, "first").await).ticket;
    engine.release(one.token_id).await;
    granted(look(&engine, "first").await);
    let served = async || match engine.handle.give_up(ticket).await.unwrap() {
        GiveUpOutcome::Served(lease) => (lease.id, lease.end.is_some()),
        other => panic!("{other:?}"),
    };
    assert_eq!(served().await, (ticket, false));
    // Its token has another lease by now.
    engine.release(one.token_id).await;
    engine.allocate("c").await;
    assert_eq!(served().await, (ticket, true));
    assert_eq!(
        engine.handle.give_up(LeaseId(other.token_id.0)).await.unwrap(),
        GiveUpOutcome::Unknown
    );
    engine.stop().await;
}

#[on_both]
async fn two_requests_with_one_key_wait_with_one_ticket(db: TestDb) {
    let engine = db.start_policy(1, WAIT).await;
    let token = engine.allocate("holder").await.lease.token_id;
    let held = [hold(&engine, "same"), hold(&engine, "same"), hold(&engine, "same")];
    eventually("it waits", || async { engine.waiting().await == 1 }).await;
    assert_eq!(waiting(look(&engine, "same").await).position, 1);
    let [gone, one, other] = held;
    gone.abort();
    engine.release(token).await;
    let [one, other] = [one.await.unwrap().unwrap(), other.await.unwrap().unwrap()];
    assert_eq!(granted(one).lease, granted(other).lease);
    assert_eq!((engine.waiting().await, engine.running().await.len()), (0, 1));
    engine.stop().await;
}

#[on_both]
async fn a_position_is_told_after_the_hold(db: TestDb) {
    let engine = db.start_policy(1, WAIT).await;
    let token = engine.allocate("holder").await.lease.token_id;
    let first = waiting(look(&engine, "first").await);
    let ask = keyed("second", Duration::from_millis(300));
    let (handle, began) = (engine.handle.clone(), Instant::now());
    let second = tokio::spawn(async move { handle.ask(ask).await.unwrap() });
    eventually("both wait", || async { engine.waiting().await == 2 }).await;
    engine.handle.give_up(first.ticket).await.unwrap();
    assert_eq!(waiting(second.await.unwrap()).position, 1, "as it is by then");
    assert!(began.elapsed() >= Duration::from_millis(300));
    engine.release(token).await;
    granted(look(&engine, "second").await);
    engine.stop().await;
}

#[on_both]
async fn keys_of_different_users_are_apart(db: TestDb) {
    let engine = db.start_policy(2, WAIT).await;
    let [ann, bob] = [granted(look(&engine, "ann").await), granted(look(&engine, "bob").await)];
    assert_ne!(ann.lease.id, bob.lease.id);
    assert_eq!(granted(look(&engine, "ann").await).lease, ann.lease);
    let (cleo, dora) = (look(&engine, "cleo").await, look(&engine, "dora").await);
    assert_eq!((waiting(cleo).position, waiting(dora).position), (1, 2));
    engine.stop().await;
}

/// A client that repeats its request until it has its lease, in any manner: at any server, held for
/// any time, and cut off now and then. Passes its token on, and returns the lease's fence.
async fn insist(engines: Arc<RwLock<Vec<TestEngine>>>, user: String, seed: u64) -> Fence {
    let mut seed = seed;
    let mut random = move |most: u64| {
        // A linear congruential generator.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % most
    };
    loop {
        let place = random(2);
        let asked = keyed(&user, Duration::from_millis(random(300)));
        let timeout = Duration::from_millis(50 + random(400));
        let handle = {
            let engines = engines.read().await;
            engines[usize::try_from(place).unwrap() % engines.len()].handle.clone()
        };
        // Cut off, it repeats the request at once; the same if the server has just stopped.
        let answered = tokio::time::timeout(timeout, handle.ask(asked)).await;
        match answered {
            Ok(Ok(AllocateOutcome::Granted(allocated))) => {
                let lease = allocated.grant.lease;
                // Its own server may have been stopped by then.
                while let Err(error) = engines.read().await[0].handle.release_lease(lease.id).await
                {
                    assert_ne!(error, Error::OutcomeUnknown);
                }
                return lease.fence;
            }
            Ok(Ok(AllocateOutcome::Refused(refusal))) => panic!("{refusal:?}"),
            Ok(Ok(AllocateOutcome::Waiting(_)) | Err(_)) | Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(random(100))).await;
    }
}

#[on_both]
async fn order_of_arrival_holds_whatever_clients_and_servers_do(db: TestDb) {
    const CLIENTS: u64 = 24;
    let shared = db.at.starts_with("postgres");
    let mut engines = vec![db.start_policy(1, WAIT).await];
    if shared {
        engines.push(db.start_policy(1, WAIT).await);
    }
    let holder = engines[0].allocate("holder").await.lease;
    let users: Vec<String> = (0..CLIENTS).map(|number| format!("user {number}")).collect();
    for (user, number) in users.iter().zip(1..) {
        let engine = &engines[number % engines.len()];
        assert_eq!(waiting(look(engine, user).await).position, number);
    }
    let engines = Arc::new(RwLock::new(engines));
    let clients: Vec<_> = users
        .into_iter()
        .zip(1..)
        .map(|(user, seed)| tokio::spawn(insist(Arc::clone(&engines), user, seed)))
        .collect();
    engines.read().await[0].handle.release_lease(holder.id).await.unwrap();
    for number in 0..4 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let mut engines = engines.write().await;
        let engine = engines.pop().unwrap();
        if number % 2 == 0 {
            engine.stop().await;
        } else {
            engine.die();
        }
        engines.push(db.start_policy(1, WAIT).await);
    }
    let mut fences = Vec::new();
    for client in clients {
        fences.push(client.await.unwrap());
    }
    assert!(fences.is_sorted(), "{fences:?}");
    let mut engines = std::mem::take(&mut *engines.write().await);
    assert_eq!(engines[0].waiting().await, 0);
    let history = engines[0].history(holder.token_id).await;
    assert_eq!(history.len(), fences.len() + 1, "each has had one lease");
    while let Some(engine) = engines.pop() {
        engine.stop().await;
    }
    db.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_change_servers_keep_their_order() {
    let db = TestDb::from(testbed::TestDb::postgres().await);
    let engines = [db.start_policy(1, WAIT).await, db.start_policy(1, WAIT).await];
    let token = engines[0].allocate("holder").await.lease.token_id;
    let users: Vec<String> = (0..8).map(|number| format!("user {number}")).collect();
    let mut tickets = Vec::new();
    for (number, user) in users.iter().enumerate() {
        let ticket = waiting(look(&engines[number % 2], user).await);
        assert_eq!(ticket.position, number + 1);
        tickets.push(ticket.ticket);
    }
    for (number, user) in users.iter().enumerate() {
        // At the other one, in any order.
        assert_eq!(waiting(look(&engines[(number + 1) % 2], user).await).position, number + 1);
    }
    let mut fences = Vec::new();
    for (number, user) in users.iter().enumerate() {
        engines[number % 2].release(token).await;
        let (here, there) = (&engines[number / 2 % 2], &engines[(number / 2 + 1) % 2]);
        if let Some(next) = users.get(number + 1) {
            assert_eq!(waiting(look(there, next).await).ticket, tickets[number + 1]);
        }
        let lease = granted(look(here, user).await).lease;
        assert_eq!(lease.id, tickets[number]);
        fences.push(lease.fence);
    }
    assert!(fences.is_sorted());
    let [one, other] = engines;
    one.whole_history().await;
    one.stop().await;
    other.stop().await;
    db.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_outlives_the_death_of_its_server_also_while_others_write() {
    let db = TestDb::from(testbed::TestDb::postgres().await);
    let policy = Policy { max_lease: Some(HOUR), ..WAIT };
    let (dying, living) = (db.start_policy(1, policy).await, db.start_policy(1, policy).await);
    let holder = living.allocate("holder").await.lease;
    let kept = waiting(look(&dying, "kept").await);
    let _bound = queue(&dying, "bound").await;
    let after = queue(&living, "after").await;
    dying.die();
    let died = Instant::now();
    while living.waiting().await == 3 {
        assert!(died.elapsed() < TICKET_GRACE, "those without a key lapse");
        living.handle.renew(holder.id).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    living.release(holder.token_id).await;
    assert_eq!(granted(look(&living, "kept").await).lease.id, kept.ticket);
    living.release(holder.token_id).await;
    after.await.unwrap().unwrap().unwrap();
    living.stop().await;
    db.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_held_is_served_also_where_its_client_asked_at_another_server() {
    let db = TestDb::from(testbed::TestDb::postgres().await);
    let (here, there) = (db.start_policy(1, WAIT).await, db.start_policy(1, WAIT).await);
    let token = here.allocate("holder").await.lease.token_id;
    let held = hold(&here, "first");
    eventually("it waits", || async { there.waiting().await == 1 }).await;
    let ticket = waiting(look(&there, "first").await).ticket;
    there.release(token).await;
    assert_eq!(granted(held.await.unwrap().unwrap()).lease.id, ticket);
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_at_another_server_learns_that_its_ticket_was_given_up() {
    let db = TestDb::from(testbed::TestDb::postgres().await);
    let (here, there) = (db.start_policy(1, WAIT).await, db.start_policy(1, WAIT).await);
    here.allocate("holder").await;
    let held = hold(&here, "first");
    eventually("it waits", || async { there.waiting().await == 1 }).await;
    let ticket =
        there.handle.read(|view| view.queue(default(view)).next().unwrap().lease_id).await.unwrap();
    assert_eq!(there.handle.give_up(ticket).await.unwrap(), GiveUpOutcome::Done);
    assert_eq!(held.await.unwrap().unwrap(), AllocateOutcome::Refused(Refusal::GivenUp));
    here.stop().await;
    there.stop().await;
}
