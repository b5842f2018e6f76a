//! Tickets with a key, which keep their place between requests.

use pool::{
    Allocation, Batch, BatchContext, Change, Command, HEARTBEAT_INTERVAL, IdempotencyKey,
    IdempotencyKeys, LeaseId, Ledger, MAX_COUNTED_GAP, Observer, Outcome, Policy, Refusal,
    ServerId, TICKET_GRACE, Ticket, Timestamp, User, Waiting, WhenFull,
};
use uuid::Uuid;

use super::{
    CLEAR, POLICY, allocate, decide, granted, hold, id, ledger, next, patient, queued, refused,
    second, seconds,
};

const WAIT: Policy = Policy { when_full: WhenFull::Wait, ..POLICY };
const HERE: ServerId = ServerId(Uuid::from_u128(1));
const THERE: ServerId = ServerId(Uuid::from_u128(2));

fn keyed(number: u128, key: &str) -> Allocation {
    Allocation { key: IdempotencyKey::new(key).ok(), ..patient(number, 3_600) }
}

fn at(server: ServerId, now: Timestamp) -> BatchContext {
    BatchContext {
        observer: Observer { now, server, journal_at: Some(now) },
        keys: IdempotencyKeys::default(),
    }
}

fn alone(server: ServerId, now: Timestamp) -> BatchContext {
    BatchContext { observer: Observer::new(now, server, None), keys: IdempotencyKeys::default() }
}

#[track_caller]
fn told(batch: &mut Batch<'_>, allocation: Allocation) -> Waiting {
    match batch.decide(&Command::Allocate(allocation)) {
        Some(Outcome::Queued(waiting)) => waiting,
        other => panic!("{other:?}"),
    }
}

/// A pool with one token, which is held. A client waits at `THERE` with the key `k`, and another behind
/// it at `HERE` with the key `l`.
fn awaited() -> Ledger {
    let mut ledger = ledger(1, WAIT);
    hold(&mut ledger, second(0), [1]);
    told(&mut ledger.batch(at(THERE, second(0))), keyed(2, "k"));
    told(&mut ledger.batch(at(HERE, second(0))), keyed(3, "l"));
    ledger
}

fn waiting(ledger: &Ledger) -> Vec<LeaseId> {
    ledger.tickets().map(|ticket| ticket.lease_id).collect()
}

#[test]
fn asking_again_with_the_key_finds_the_ticket() {
    let mut ledger = awaited();
    let again = told(&mut ledger.batch(at(THERE, second(9))), keyed(4, "k"));
    let (since, until) = (second(0), second(3_600));
    assert_eq!(again, Waiting { ticket: id(2), position: 1, since, until });
    assert_eq!(waiting(&ledger), [id(2), id(3)]);
    let mut batch = ledger.batch(at(THERE, second(10)));
    batch.decide(&CLEAR).unwrap();
    assert_eq!(next(&mut batch), Some(id(2)));
    let grant = granted(batch.decide(&Command::Allocate(keyed(5, "k"))).unwrap());
    assert_eq!(grant.lease.id, id(2), "the ticket becomes the lease");
    assert_eq!(batch.granted_with_keys()[0], id(2));
    drop(batch);
    assert_eq!(waiting(&ledger), [id(3)]);
}

#[test]
fn the_client_may_ask_at_another_server() {
    let mut ledger = awaited();
    let mut batch = ledger.batch(at(HERE, second(3)));
    assert_eq!(told(&mut batch, keyed(4, "k")).position, 1);
    let moved = Change::WaitMoved { lease_id: id(2), server: HERE, at: second(3) };
    assert_eq!(batch.finish().changes, [moved]);
    let mut batch = ledger.batch(at(HERE, second(4)));
    batch.decide(&CLEAR).unwrap();
    assert_eq!(next(&mut batch), Some(id(2)), "and is served there");
    drop(batch);
    assert_eq!(next(&mut ledger.batch(at(THERE, second(4)))), None);
}

#[test]
fn a_token_is_left_for_a_ticket_whose_client_is_not_connected() {
    let mut ledger = ledger(2, WAIT);
    hold(&mut ledger, second(0), [1, 2]);
    told(&mut ledger.batch(at(HERE, second(0))), keyed(3, "k"));
    told(&mut ledger.batch(at(HERE, second(0))), patient(4, 60));
    let connected = |ticket: &Ticket| ticket.lease_id != id(3);
    let mut batch = ledger.batch(at(HERE, second(1)));
    batch.decide(&Command::ReleaseLease { lease_id: id(1) }).unwrap();
    assert_eq!(batch.next_in_queue(connected), None);
    refused(batch.decide(&Command::Allocate(patient(5, 0))).unwrap());
    batch.decide(&Command::ReleaseLease { lease_id: id(2) }).unwrap();
    assert_eq!(batch.next_in_queue(connected).map(|ticket| ticket.lease_id), Some(id(4)));
    drop(batch);
    let chance = |it_is: bool| {
        ledger.next_chance(&Observer::new(second(1), HERE, Some(second(1))), |_| it_is)
    };
    assert_eq!((chance(false), chance(true)), (None, Some(second(1))));
}

#[test]
fn a_key_belongs_to_one_user_and_one_request() {
    let mut ledger = awaited();
    let other_wait = Allocation { wait: Some(seconds(9)), ..keyed(4, "k") };
    let other_lease = Allocation { lease: Some(seconds(9)), ..keyed(4, "k") };
    for other in [other_wait, other_lease] {
        assert_eq!(refused(allocate(&mut ledger, second(0), other)), Refusal::KeyReused);
    }
    assert_eq!(waiting(&ledger), [id(2), id(3)], "the ticket stays");
    let bob = Allocation { user: User::new("Bob").unwrap(), ..keyed(4, "k") };
    assert_eq!(
        queued(&ledger.batch(at(HERE, second(1))).decide(&Command::Allocate(bob)).unwrap()),
        3
    );
}

#[test]
fn a_wait_with_a_key_lasts_a_day_at_most() {
    let mut ledger = ledger(1, WAIT);
    hold(&mut ledger, second(0), [1]);
    let day = Allocation::MAX_KEPT_WAIT;
    let longer = Allocation { wait: Some(day * 2), ..keyed(2, "k") };
    queued(&allocate(&mut ledger, second(0), longer));
    assert_eq!(ledger.ticket(id(2)).map(|ticket| ticket.until), Some(second(0).after(day)));
}

#[test]
fn a_kept_ticket_outlives_its_server_by_its_own_time() {
    let mut ledger = awaited();
    let lapsed = second(0).after(TICKET_GRACE + HEARTBEAT_INTERVAL + MAX_COUNTED_GAP);
    let just_before = Timestamp::from_micros(lapsed.as_micros() - 1);
    drop(ledger.batch(at(HERE, just_before)));
    assert_eq!(waiting(&ledger), [id(2), id(3)]);
    assert_eq!(
        ledger.next_death(&Observer::new(just_before, HERE, Some(just_before))),
        Some(lapsed)
    );
    let changes = ledger.batch(at(HERE, lapsed)).finish().changes;
    assert_eq!(changes, [Change::WaitEnded { lease_id: id(2) }]);
}

#[test]
fn a_server_that_is_alone_takes_over_the_kept_tickets_of_the_one_before() {
    let mut ledger = awaited();
    let third = ServerId(Uuid::from_u128(3));
    let long_after = second(1_000);
    assert_eq!(
        ledger.next_death(&Observer::new(second(50), third, None)),
        Some(second(50)),
        "at once"
    );
    let changes = ledger.batch(alone(third, long_after)).finish().changes;
    let moved = |lease_id| Change::WaitMoved { lease_id, server: third, at: long_after };
    // The lease has expired meanwhile.
    assert_eq!(changes[1..], [moved(id(2)), moved(id(3))]);
    assert_eq!(ledger.next_death(&Observer::new(long_after, third, None)), None);
}

#[test]
fn a_lapse_is_the_word_of_the_server_that_has_the_ticket() {
    let mut ledger = awaited();
    let lapse = Command::Lapse { lease_id: id(2) };
    ledger.batch(at(HERE, second(1))).decide(&lapse).unwrap();
    assert_eq!(waiting(&ledger), [id(2), id(3)]);
    ledger.batch(at(THERE, second(1))).decide(&lapse).unwrap();
    assert_eq!(waiting(&ledger), [id(3)]);
    // Served by then: the lease goes on.
    let mut batch = ledger.batch(at(HERE, second(2)));
    batch.decide(&CLEAR).unwrap();
    granted(batch.decide(&Command::Allocate(keyed(3, "l"))).unwrap());
    batch.decide(&Command::Lapse { lease_id: id(3) }).unwrap();
    drop(batch);
    assert!(ledger.lease(id(3)).unwrap().is_running(second(2)));
}

#[test]
fn requests_that_wait_with_a_given_up_ticket_are_refused() {
    let mut ledger = awaited();
    for number in [2, 3] {
        let give_up = Command::GiveUp { lease_id: id(number) };
        assert_eq!(decide(&mut ledger, second(1), &give_up), Outcome::GaveUp);
        assert_eq!(decide(&mut ledger, second(1), &give_up), Outcome::UnknownTicket);
        // The command of a server for a request that still waits.
        let key = if number == 2 { "k" } else { "l" };
        let waits = Allocation { until: Some(second(9)), ..keyed(number, key) };
        assert_eq!(refused(allocate(&mut ledger, second(1), waits)), Refusal::GivenUp);
    }
    assert_eq!(waiting(&ledger), []);
    // A new request may wait with the key, and an old one does not disturb it.
    queued(&allocate(&mut ledger, second(2), keyed(5, "k")));
    let old = Allocation { until: Some(second(9)), wait: Some(seconds(5)), ..keyed(2, "k") };
    assert_eq!(refused(allocate(&mut ledger, second(2), old)), Refusal::GivenUp);
    assert_eq!(waiting(&ledger), [id(5)]);
    let served = decide(&mut ledger, second(2), &Command::GiveUp { lease_id: id(1) });
    assert!(matches!(served, Outcome::Served(lease) if lease.id == id(1)));
}

#[test]
fn a_client_learns_that_its_wait_was_over_when_it_asks_next() {
    let mut ledger = ledger(1, WAIT);
    hold(&mut ledger, second(0), [1]);
    let asked = |number, user: &str| {
        let user = User::new(user).unwrap();
        Allocation { user, wait: Some(seconds(5)), ..keyed(number, "k") }
    };
    for (number, user) in [(2, "Bob"), (3, "Cleo"), (4, "Dora")] {
        queued(&allocate(&mut ledger, second(0), asked(number, user)));
    }
    let over = ledger.batch(second(5)).finish().changes;
    assert_eq!(over[0], Change::WaitTimedOut { lease_id: id(2), at: second(5) });
    assert_eq!((over.len(), waiting(&ledger)), (3, vec![]));
    let refusal = refused(allocate(&mut ledger, second(6), asked(5, "Bob")));
    assert_eq!(refusal, Refusal::Full { position: 1, retry_after: seconds(114) });
    assert_eq!(queued(&allocate(&mut ledger, second(6), asked(6, "Bob"))), 1, "a new wait");
    // Delivered by the response to a request that was held.
    let key = asked(7, "Cleo").user_key().unwrap();
    decide(&mut ledger, second(6), &Command::TimeoutDelivered { key });
    assert_eq!(queued(&allocate(&mut ledger, second(6), asked(7, "Cleo"))), 2);
    // A server that does not know of the timeout queues the client again.
    let ticket = ledger.ticket(id(7)).unwrap().clone();
    let dora = Ticket {
        lease_id: id(9),
        number: ticket.number + 1,
        user: User::new("Dora").unwrap(),
        ..ticket
    };
    let mut other = ledger.clone();
    other.apply(&Change::WaitStarted(dora)).unwrap();
    assert_eq!(queued(&allocate(&mut other, second(7), asked(8, "Dora"))), 3);
    let late = second(5).after(TICKET_GRACE + MAX_COUNTED_GAP);
    assert_eq!(queued(&allocate(&mut ledger, late, asked(8, "Dora"))), 1);
}

#[test]
fn a_limit_counts_when_it_is_the_tickets_turn() {
    let mut ledger = ledger(2, Policy { max_per_user: Some(1), ..WAIT });
    let bob = |number| Allocation { user: User::new("Bob").unwrap(), ..patient(number, 60) };
    hold(&mut ledger, second(0), [1]);
    granted(allocate(&mut ledger, second(0), bob(2)));
    assert_eq!(
        refused(allocate(&mut ledger, second(0), keyed(3, "k"))),
        Refusal::UserLimit { limit: 1 }
    );
    decide(&mut ledger, second(0), &Command::ReleaseLease { lease_id: id(1) });
    let cleo = Allocation { user: User::new("Cleo").unwrap(), ..patient(4, 60) };
    granted(allocate(&mut ledger, second(0), cleo));
    for number in [5, 6] {
        queued(&allocate(&mut ledger, second(0), keyed(number, &number.to_string())));
    }
    decide(&mut ledger, second(1), &Command::ReleaseLease { lease_id: id(4) });
    granted(allocate(&mut ledger, second(1), keyed(7, "5")));
    // The ticket stays if the request is repeated while the user has a lease.
    assert_eq!(queued(&allocate(&mut ledger, second(2), keyed(8, "6"))), 1);
    decide(&mut ledger, second(3), &Command::ReleaseLease { lease_id: id(2) });
    assert_eq!(
        refused(allocate(&mut ledger, second(3), keyed(9, "6"))),
        Refusal::UserLimit { limit: 1 }
    );
}

#[test]
fn a_request_whose_ticket_lapsed_waits_at_the_end_for_the_rest_of_its_time() {
    let mut ledger = awaited();
    ledger.batch(at(HERE, second(20))).decide(&Command::Heartbeat).unwrap();
    assert_eq!(waiting(&ledger), [id(3)]);
    let again = Allocation { until: Some(second(90)), ..keyed(2, "k") };
    let again = told(&mut ledger.batch(at(THERE, second(20))), again);
    assert_eq!((again.position, again.until), (2, second(90)));
}
