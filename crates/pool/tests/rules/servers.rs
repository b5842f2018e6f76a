//! The queue of several servers that share a pool.

use pool::{
    Batch, BatchContext, Change, Command, IdempotencyKeys, LeaseId, Ledger, Observer, Policy,
    Refusal, SERVER_TIMEOUT, ServerId, Timestamp, WhenFull,
};
use uuid::Uuid;

use super::{
    POLICY, asked, changed, default, granted, hold, id, ledger, next, patient, queued, refused,
    second, seconds,
};

const WAIT: Policy = Policy { when_full: WhenFull::Wait, ..POLICY };
const HERE: ServerId = ServerId(Uuid::from_u128(1));
const THERE: ServerId = ServerId(Uuid::from_u128(2));

/// A batch, right after another server's.
fn batch(ledger: &mut Ledger, server: ServerId, now: Timestamp) -> Batch<'_> {
    batch_after(ledger, server, now, now)
}

/// A batch after an entry of the journal at `journal_at`.
fn batch_after(
    ledger: &mut Ledger,
    server: ServerId,
    journal_at: Timestamp,
    now: Timestamp,
) -> Batch<'_> {
    let journal_at = Some(journal_at);
    ledger.batch(BatchContext {
        observer: Observer { now, server, journal_at },
        keys: IdempotencyKeys::default(),
    })
}

/// A pool with two tokens, both held. One request waits at the other server, and one behind it here.
fn awaited() -> Ledger {
    let mut ledger = ledger(2, WAIT);
    hold(&mut ledger, second(0), [1, 2]);
    for (server, number) in [(THERE, 3), (HERE, 4)] {
        let allocation = Command::Allocate(patient(number, 60));
        queued(&batch(&mut ledger, server, second(0)).decide(&allocation).unwrap());
    }
    ledger
}

fn waiting(ledger: &Ledger) -> Vec<LeaseId> {
    ledger.tickets().map(|ticket| ticket.lease_id).collect()
}

#[test]
fn the_queue_is_one() {
    let mut ledger = awaited();
    let mut here = batch(&mut ledger, HERE, second(1));
    assert!(here.decide(&Command::ReleaseLease { lease_id: id(1) }).is_some());
    assert_eq!(next(&mut here), None, "the token is for the ticket of the other server");
    let plain = Command::Allocate(patient(5, 0));
    let refusal = refused(here.decide(&plain).unwrap());
    assert_eq!(refusal, Refusal::Full { position: 3, retry_after: seconds(119) });
    assert!(here.decide(&Command::ReleaseLease { lease_id: id(2) }).is_some());
    assert_eq!(next(&mut here), Some(id(4)), "the second token is for the one here");
    granted(here.decide(&Command::Allocate(patient(4, 60))).unwrap());
    refused(here.decide(&plain).unwrap());
    drop(here);
    assert_eq!(
        ledger.next_chance(&Observer::new(second(1), HERE, Some(second(1))), |_| true),
        None
    );
    assert_eq!(
        ledger.next_chance(&Observer::new(second(1), THERE, Some(second(1))), |_| true),
        Some(second(1))
    );
    assert_eq!(next(&mut batch(&mut ledger, THERE, second(1))), Some(id(3)));
}

#[test]
fn those_before_it_are_left_a_lease_to_evict() {
    let mut ledger = awaited();
    ledger.apply(&changed(Policy { min_hold: seconds(10), ..POLICY })).unwrap();
    let mut here = batch(&mut ledger, HERE, second(2));
    assert_eq!(next(&mut here), None);
    let refusal = refused(here.decide(&Command::Allocate(asked(5))).unwrap());
    assert_eq!(refusal, Refusal::Full { position: 3, retry_after: seconds(8) });
    drop(here);
    assert_eq!(
        ledger.next_chance(&Observer::new(second(2), HERE, Some(second(2))), |_| true),
        Some(second(10))
    );
    for (at, server) in [(4, HERE), (4, THERE), (8, HERE), (8, THERE)] {
        batch(&mut ledger, server, second(at)).decide(&Command::Heartbeat).unwrap();
    }
    let mut here = batch(&mut ledger, HERE, second(10));
    assert_eq!(next(&mut here), Some(id(4)), "two may be evicted, and one waits before it");
    granted(here.decide(&Command::Allocate(patient(4, 60))).unwrap());
    let refusal = refused(here.decide(&Command::Allocate(asked(5))).unwrap());
    assert_eq!(refusal, Refusal::Full { position: 2, retry_after: seconds(10) });
}

#[test]
fn tickets_of_a_server_that_fell_silent_are_removed() {
    let mut ledger = awaited();
    let silent = second(0).after(SERVER_TIMEOUT);
    let just_before = Timestamp::from_micros(silent.as_micros() - 1);
    assert_eq!(batch(&mut ledger, HERE, just_before).finish().changes, []);
    assert_eq!(ledger.waiting(&Observer::new(just_before, HERE, Some(just_before))), 2);
    assert_eq!(ledger.waiting(&Observer::new(silent, HERE, Some(silent))), 1);
    let changes = batch(&mut ledger, HERE, silent).finish().changes;
    assert_eq!(changes, [Change::WaitEnded { lease_id: id(3) }], "and only its tickets");
    assert_eq!(default(&ledger).rank(id(4)), Some(0));
}

#[test]
fn a_heartbeat_keeps_all_tickets_of_its_server() {
    let mut ledger = awaited();
    let mut there = batch(&mut ledger, THERE, second(4));
    queued(&there.decide(&Command::Allocate(patient(6, 60))).unwrap());
    there.decide(&Command::Heartbeat).unwrap();
    let heard = Change::ServerHeard { server: THERE, at: second(4) };
    assert_eq!(there.finish().changes.last(), Some(&heard));
    assert_eq!(batch(&mut ledger, HERE, second(8)).finish().changes, []);
    drop(batch(&mut ledger, HERE, second(9)));
    assert_eq!(waiting(&ledger), [id(4)]);
}

#[test]
fn a_server_without_tickets_writes_no_heartbeat() {
    let mut ledger = ledger(1, WAIT);
    let mut here = batch(&mut ledger, HERE, second(0));
    here.decide(&Command::Heartbeat).unwrap();
    assert_eq!(here.finish().changes, []);
}

#[test]
fn a_server_that_is_alone_needs_no_heartbeat_and_takes_over_no_plain_ticket() {
    let mut ledger = awaited();
    let alone = BatchContext {
        observer: Observer::new(second(1), HERE, None),
        keys: IdempotencyKeys::default(),
    };
    let changes = ledger.batch(alone).finish().changes;
    assert_eq!(changes, [Change::WaitEnded { lease_id: id(3) }], "it waited at one before");
    let alone = BatchContext {
        observer: Observer::new(second(59), HERE, None),
        keys: IdempotencyKeys::default(),
    };
    assert_eq!(ledger.batch(alone).finish().changes, []);
    assert_eq!(ledger.waiting(&Observer::new(second(59), HERE, None)), 1);
}

#[test]
fn time_in_which_no_server_reached_the_database_does_not_count_as_silence() {
    let mut ledger = awaited();
    // The other server's last sign of life was at 0, and the journal has nothing after second 1.
    let late = second(40);
    assert_eq!(ledger.waiting(&Observer::new(late, HERE, Some(second(1)))), 2);
    let changes = batch_after(&mut ledger, HERE, second(1), late).finish().changes;
    let heard = |server| Change::ServerHeard { server, at: second(37) };
    assert_eq!(
        changes,
        [heard(THERE), heard(HERE)],
        "three seconds of silence: 1 + MAX_COUNTED_GAP"
    );
    let silent = second(42);
    let just_before = Timestamp::from_micros(silent.as_micros() - 1);
    assert_eq!(batch_after(&mut ledger, HERE, late, just_before).finish().changes, []);
    let changes = batch(&mut ledger, HERE, silent).finish().changes;
    assert!(matches!(changes[..], [Change::WaitEnded { .. }]), "{changes:?}");
    // A server that starts only now concludes the same.
    let mut started = awaited();
    assert_eq!(
        started.waiting(&Observer::new(silent, ServerId(Uuid::from_u128(3)), Some(silent))),
        0
    );
    let third = ServerId(Uuid::from_u128(3));
    assert_eq!(batch_after(&mut started, third, second(4), second(6)).finish().changes.len(), 2);
}

#[test]
fn a_server_without_tickets_witnesses_that_another_is_silent() {
    let mut ledger = awaited();
    let third = ServerId(Uuid::from_u128(3));
    let beats = |ledger: &mut Ledger, journal_at, now| {
        let mut batch = batch_after(ledger, third, journal_at, now);
        batch.decide(&Command::Heartbeat).unwrap();
        batch.finish().changes
    };
    let just_before = Timestamp::from_micros(second(1).as_micros() - 1);
    assert!(!ledger.needs_witness(&Observer::new(just_before, third, Some(second(0)))));
    assert_eq!(beats(&mut ledger, second(0), just_before), []);
    assert!(ledger.needs_witness(&Observer::new(second(1), third, Some(second(0)))));
    let witness = |at| Change::ServerHeard { server: third, at };
    assert_eq!(beats(&mut ledger, second(0), second(1)), [witness(second(1))]);
    assert_eq!(beats(&mut ledger, second(1), second(1)), [], "one is enough");
    assert_eq!(
        ledger.next_death(&Observer::new(second(1), third, Some(second(1)))),
        Some(second(5))
    );
    for at in 2..5 {
        assert_eq!(beats(&mut ledger, second(at - 1), second(at)), [witness(second(at))]);
    }
    let changes = beats(&mut ledger, second(4), second(5));
    assert_eq!(changes.len(), 2, "both are dead, and nothing is left to witness: {changes:?}");
    assert_eq!(ledger.next_death(&Observer::new(second(5), third, Some(second(5)))), None);
}
