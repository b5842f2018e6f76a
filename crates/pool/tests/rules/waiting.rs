//! The queue of one server.

use pool::{
    Allocation, Batch, Change, Command, LeaseId, Ledger, MAX_TICKETS, Observer, Outcome, Policy,
    Refusal, ServerId, Timestamp, User, WhenFull,
};
use uuid::Uuid;

use super::{
    CLEAR, LEASE, POLICY, allocate, asked, changed, decide, default, granted, hold, id, ledger,
    next, patient, queued, refused, second, seconds,
};

const WAIT: Policy = Policy { when_full: WhenFull::Wait, ..POLICY };
/// Server of a context that is only a time.
const SERVER: ServerId = ServerId(Uuid::nil());

/// Serves the queued requests, all by Ada, until no token is available for the next one. Returns the
/// outcomes.
fn serve(batch: &mut Batch<'_>) -> Vec<(LeaseId, Outcome)> {
    let mut served = vec![];
    while let Some(lease_id) = next(batch) {
        let command = Command::Allocate(Allocation { lease_id, ..asked(0) });
        served.push((lease_id, batch.decide(&command).unwrap()));
    }
    served
}

fn served(ledger: &mut Ledger, at: Timestamp) -> Vec<LeaseId> {
    let served = serve(&mut ledger.batch(at)).into_iter();
    served.map(|(lease_id, outcome)| (lease_id, granted(outcome)).0).collect()
}

fn waiting(ledger: &Ledger) -> Vec<LeaseId> {
    ledger.tickets().map(|ticket| ticket.lease_id).collect()
}

#[test]
fn first_come_first_served() {
    let mut ledger = ledger(2, WAIT);
    hold(&mut ledger, second(0), [1, 2]);
    for (number, position) in [(3, 1), (4, 2), (5, 3)] {
        assert_eq!(queued(&allocate(&mut ledger, second(1), asked(number))), position);
    }
    assert_eq!(served(&mut ledger, second(2)), []);
    let mut batch = ledger.batch(second(3));
    assert!(batch.decide(&CLEAR).is_some());
    let served: Vec<_> = serve(&mut batch).into_iter().map(|(lease_id, _)| lease_id).collect();
    assert_eq!(served, [id(3), id(4)]);
    assert_eq!((waiting(&ledger), default(&ledger).rank(id(5))), (vec![id(5)], Some(0)));
}

#[test]
fn a_plain_allocation_goes_behind_queued_requests() {
    let mut ledger = ledger(2, WAIT);
    hold(&mut ledger, second(0), [1, 2]);
    queued(&allocate(&mut ledger, second(0), asked(3)));
    let mut batch = ledger.batch(second(1));
    assert!(batch.decide(&Command::ReleaseLease { lease_id: id(1) }).is_some());
    let plain = patient(4, 0);
    let refusal = refused(batch.decide(&Command::Allocate(plain.clone())).unwrap());
    assert_eq!(refusal, Refusal::Full { position: 2, retry_after: seconds(119) });
    assert!(batch.decide(&Command::ReleaseLease { lease_id: id(2) }).is_some());
    granted(batch.decide(&Command::Allocate(plain)).unwrap());
    let served = serve(&mut batch);
    assert_eq!(served.len(), 1, "what the plain one got was the second token: {served:?}");
}

#[test]
fn a_wait_lasts_30_seconds_or_as_requested_but_a_minute_at_most() {
    let mut ledger = ledger(1, WAIT);
    hold(&mut ledger, second(0), [1]);
    let waits = [(asked(2), 30), (patient(3, 7), 7), (patient(4, 999), 60)];
    for (allocation, lasts) in waits {
        let lease_id = allocation.lease_id;
        queued(&allocate(&mut ledger, second(0), allocation));
        assert_eq!(ledger.ticket(lease_id).map(|ticket| ticket.until), Some(second(lasts)));
    }
    let none = Allocation { wait: Some(std::time::Duration::from_nanos(999)), ..asked(5) };
    for allocation in [patient(6, 0), none] {
        let refusal = refused(allocate(&mut ledger, second(0), allocation));
        assert_eq!(refusal, Refusal::Full { position: 4, retry_after: LEASE });
    }
}

#[test]
fn when_the_time_is_up_the_place_is_given_up() {
    let mut ledger = ledger(1, WAIT);
    hold(&mut ledger, second(0), [1]);
    queued(&allocate(&mut ledger, second(0), patient(2, 5)));
    queued(&allocate(&mut ledger, second(0), patient(3, 9)));
    assert_eq!(
        ledger.waiting(&Observer::new(second(5), SERVER, None)),
        1,
        "also before it is written down"
    );
    drop(ledger.batch(Timestamp::from_micros(4_999_999)));
    assert_eq!(waiting(&ledger), [id(2), id(3)]);
    let changes = ledger.batch(second(5)).finish().changes;
    assert_eq!(changes, [Change::WaitEnded { lease_id: id(2) }]);
    assert_eq!(waiting(&ledger), [id(3)]);
}

#[test]
fn a_client_that_leaves_loses_its_place_at_once() {
    let mut ledger = ledger(1, WAIT);
    hold(&mut ledger, second(0), [1]);
    queued(&allocate(&mut ledger, second(0), asked(2)));
    queued(&allocate(&mut ledger, second(0), asked(3)));
    let withdraw = Command::Withdraw { lease_id: id(2) };
    assert_eq!(decide(&mut ledger, second(1), &withdraw), Outcome::Withdrawn { ended: false });
    assert_eq!(waiting(&ledger), [id(3)]);
    let withdraw = Command::Withdraw { lease_id: id(1) };
    assert_eq!(decide(&mut ledger, second(1), &withdraw), Outcome::Withdrawn { ended: true });
    assert_eq!(served(&mut ledger, second(1)), [id(3)]);
}

#[test]
fn a_client_that_left_comes_back_behind_all_others_with_a_new_number() {
    let mut ledger = ledger(1, WAIT);
    hold(&mut ledger, second(0), [1]);
    for number in [2, 3] {
        queued(&allocate(&mut ledger, second(0), asked(number)));
    }
    let before: Vec<i64> = ledger.tickets().map(|ticket| ticket.number).collect();
    let mut batch = ledger.batch(second(1));
    for number in [3, 2] {
        assert!(batch.decide(&Command::Withdraw { lease_id: id(number) }).is_some());
    }
    for (number, position) in [(3, 1), (2, 2)] {
        let outcome = batch.decide(&Command::Allocate(asked(number)));
        assert_eq!(queued(&outcome.unwrap()), position);
    }
    drop(batch);
    assert_eq!(waiting(&ledger), [id(3), id(2)]);
    assert!(ledger.tickets().all(|ticket| !before.contains(&ticket.number)));
}

#[test]
fn asking_again_while_waiting_keeps_the_place_and_its_time() {
    let mut ledger = ledger(1, WAIT);
    hold(&mut ledger, second(0), [1]);
    queued(&allocate(&mut ledger, second(0), asked(2)));
    queued(&allocate(&mut ledger, second(0), asked(3)));
    let before: Vec<_> = ledger.tickets().cloned().collect();
    assert_eq!(queued(&allocate(&mut ledger, second(9), asked(2))), 1);
    assert_eq!(ledger.tickets().cloned().collect::<Vec<_>>(), before);
}

#[test]
fn at_most_10_000_wait() {
    let mut ledger = ledger(1, WAIT);
    hold(&mut ledger, second(0), [1]);
    let mut batch = ledger.batch(second(0));
    for number in 0..MAX_TICKETS {
        let outcome = batch.decide(&Command::Allocate(asked(number as u128 + 2)));
        assert_eq!(queued(&outcome.unwrap()), number + 1);
    }
    let one_more = Command::Allocate(asked(99_999));
    assert_eq!(refused(batch.decide(&one_more).unwrap()), Refusal::QueueFull);
    assert!(batch.decide(&Command::Withdraw { lease_id: id(77) }).is_some());
    assert_eq!(queued(&batch.decide(&one_more).unwrap()), MAX_TICKETS);
}

#[test]
fn a_request_may_wait_until_the_oldest_may_be_evicted() {
    let mut ledger = ledger(2, Policy { min_hold: seconds(10), ..POLICY });
    hold(&mut ledger, second(0), [1]);
    hold(&mut ledger, second(4), [2]);
    refused(allocate(&mut ledger, second(5), asked(3)));
    queued(&allocate(&mut ledger, second(5), patient(4, 60)));
    queued(&allocate(&mut ledger, second(5), patient(5, 60)));
    let next_chance = |ledger: &Ledger, now| {
        ledger.next_chance(&Observer::new(second(now), SERVER, None), |_| true)
    };
    assert_eq!(next_chance(&ledger, 5), Some(second(10)));
    assert_eq!(served(&mut ledger, Timestamp::from_micros(9_999_999)), []);
    assert_eq!(next_chance(&ledger, 10), Some(second(10)));
    assert_eq!(served(&mut ledger, second(10)), [id(4)]);
    assert_eq!(next_chance(&ledger, 10), Some(second(14)));
    assert_eq!(served(&mut ledger, second(14)), [id(5)]);
    assert_eq!(next_chance(&ledger, 14), None, "the queue is empty");
}

#[test]
fn only_the_end_of_a_lease_helps_where_nothing_is_evicted() {
    let mut ledger = ledger(1, WAIT);
    hold(&mut ledger, second(0), [1]);
    queued(&allocate(&mut ledger, second(0), asked(2)));
    assert_eq!(ledger.next_chance(&Observer::new(second(1), SERVER, None), |_| true), None);
    let released = Command::ReleaseLease { lease_id: id(1) };
    decide(&mut ledger, second(2), &released);
    assert_eq!(
        ledger.next_chance(&Observer::new(second(2), SERVER, None), |_| true),
        Some(second(2))
    );
}

#[test]
fn queued_requests_do_not_evict_leases_of_the_same_batch() {
    let mut ledger = ledger(1, WAIT);
    hold(&mut ledger, second(0), [1]);
    queued(&allocate(&mut ledger, second(0), asked(2)));
    queued(&allocate(&mut ledger, second(0), asked(3)));
    ledger.apply(&changed(POLICY)).unwrap();
    assert_eq!(served(&mut ledger, second(1)), [id(2)]);
    assert_eq!(
        ledger.next_chance(&Observer::new(second(1), SERVER, None), |_| true),
        Some(second(1)),
        "but in the next"
    );
    assert_eq!(served(&mut ledger, second(1)), [id(3)]);
}

#[test]
fn tickets_from_before_the_policy_stay_in_the_queue() {
    let mut ledger = ledger(1, WAIT);
    hold(&mut ledger, second(0), [1]);
    queued(&allocate(&mut ledger, second(0), patient(2, 60)));
    let reject = Policy { when_full: WhenFull::Reject, ..POLICY };
    ledger.apply(&changed(reject)).unwrap();
    refused(allocate(&mut ledger, second(1), asked(3)));
    let mut batch = ledger.batch(second(2));
    assert!(batch.decide(&CLEAR).is_some());
    assert_eq!(next(&mut batch), Some(id(2)));
    granted(batch.decide(&Command::Allocate(patient(2, 60))).unwrap());
}

#[test]
fn a_user_at_the_limit_by_then_leaves_the_turn_to_the_next() {
    let mut ledger = ledger(1, Policy { max_per_user: Some(1), ..WAIT });
    let bob = |number| Allocation { user: User::new("Bob").unwrap(), ..asked(number) };
    granted(allocate(&mut ledger, second(0), bob(1)));
    for number in [2, 3, 4] {
        queued(&allocate(&mut ledger, second(0), asked(number)));
    }
    refused(allocate(&mut ledger, second(0), bob(5)));
    ledger.apply(&changed(Policy { max_per_user: Some(1), ..POLICY })).unwrap();
    let first = granted(serve(&mut ledger.batch(second(1))).remove(0).1);
    assert_eq!(first.evicted.map(|lease| lease.id), Some(id(1)));
    let others = serve(&mut ledger.batch(second(1)));
    let limit = Outcome::NotAllocated(Refusal::UserLimit { limit: 1 });
    assert_eq!(others, [(id(3), limit.clone()), (id(4), limit)]);
    assert_eq!(waiting(&ledger), []);
}

#[test]
fn a_token_that_becomes_free_later_in_the_batch_is_for_the_queue() {
    let mut ledger = ledger(1, WAIT);
    hold(&mut ledger, second(0), [1]);
    queued(&allocate(&mut ledger, second(0), asked(2)));
    let mut batch = ledger.batch(second(1));
    assert_eq!(next(&mut batch), None);
    assert!(batch.decide(&Command::ReleaseLease { lease_id: id(1) }).is_some());
    assert_eq!(next(&mut batch), Some(id(2)));
}
