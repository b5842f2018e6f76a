//! Requests for one token.

use std::collections::HashMap;

use pool::{
    Allocation, BatchContext, Command, IdempotencyKey, IdempotencyKeys, KeyUse, Ledger, Note,
    Observer, Outcome, Plan, Policy, PoolId, PoolWanted, Refusal, Remembered, ServerId, Ticket,
    WhenFull,
};
use uuid::Uuid;

use super::{
    CLEAR, POLICY, allocate, asked, decide, default, granted, hold, id, ledger, next, patient,
    queued, refused, second, seconds, token,
};

const WAIT: Policy = Policy { when_full: WhenFull::Wait, ..POLICY };

/// An allocation of the token with this number.
fn of(number: u128, token_number: u128) -> Allocation {
    Allocation { token: Some(token(token_number).id), ..asked(number) }
}

fn got(outcome: Outcome) -> u128 {
    granted(outcome).lease.token_id.0.as_u128()
}

fn release(ledger: &mut Ledger, number: u128) {
    decide(ledger, second(1), &Command::ReleaseLease { lease_id: id(number) });
}

/// Lease numbers of the tickets that are served next, in order.
fn served(ledger: &mut Ledger, asked: &[Allocation]) -> Vec<u128> {
    let mut batch = ledger.batch(second(1));
    let mut served = vec![];
    while let Some(lease_id) = next(&mut batch) {
        let asked = asked.iter().find(|asked| asked.lease_id == lease_id).unwrap();
        granted(batch.decide(&Command::Allocate(asked.clone())).unwrap());
        served.push(lease_id.0.as_u128());
    }
    served
}

#[test]
fn the_requested_token_is_granted_or_evicted_and_no_other() {
    let mut ledger = ledger(3, Policy { min_hold: seconds(10), ..POLICY });
    assert_eq!(got(allocate(&mut ledger, second(0), of(1, 2))), 2);
    let refusal = refused(allocate(&mut ledger, second(4), of(2, 2)));
    assert_eq!(refusal, Refusal::Full { position: 1, retry_after: seconds(6) });
    hold(&mut ledger, second(5), [3, 4]);
    let grant = granted(allocate(&mut ledger, second(15), of(5, 3)));
    assert_eq!(grant.evicted.map(|lease| lease.id), Some(id(4)), "not the oldest");
}

#[test]
fn a_pool_that_rejects_or_waits_does_so_for_the_requested_token() {
    let reject = Policy { when_full: WhenFull::Reject, ..POLICY };
    let mut ledger_ = ledger(2, reject);
    granted(allocate(&mut ledger_, second(0), of(1, 1)));
    let refusal = refused(allocate(&mut ledger_, second(20), of(2, 1)));
    assert_eq!(refusal, Refusal::Full { position: 1, retry_after: seconds(100) });
    granted(allocate(&mut ledger_, second(20), of(2, 2)));
    let mut ledger = ledger(2, WAIT);
    granted(allocate(&mut ledger, second(0), of(1, 1)));
    assert_eq!(queued(&allocate(&mut ledger, second(0), of(2, 1))), 1);
    assert_eq!(got(allocate(&mut ledger, second(0), asked(3))), 2);
}

#[test]
fn unknown_and_retired_tokens_are_refused() {
    let mut ledger = ledger(1, Policy { membership: pool::Membership::Open, ..WAIT });
    assert_eq!(refused(allocate(&mut ledger, second(0), of(1, 9))), Refusal::UnknownToken);
    let elsewhere = of(1, 1_000_001);
    assert_eq!(refused(allocate(&mut ledger, second(0), elsewhere)), Refusal::UnknownToken);
    hold(&mut ledger, second(0), [1]);
    queued(&allocate(&mut ledger, second(0), of(2, 1)));
    queued(&allocate(&mut ledger, second(0), patient(3, 60)));
    let name = default(&ledger).name().clone();
    let pool = PoolWanted { tokens: Some(vec![]), ..PoolWanted::new(name) };
    let plan = Plan { pools: vec![pool], prune: true, end_leases: false };
    let Outcome::Applied(changes, _) = decide(&mut ledger, second(1), &Command::Apply(plan)) else {
        panic!()
    };
    assert_eq!(
        changes[0],
        pool::Change::WaitGivenUp { lease_id: id(2) },
        "it waited for the token"
    );
    assert_eq!(refused(allocate(&mut ledger, second(1), of(4, 1))), Refusal::TokenRetired);
    assert_eq!(refused(allocate(&mut ledger, second(1), patient(3, 60))), Refusal::NoTokens);
}

#[test]
fn tickets_for_other_tokens_delay_no_ticket() {
    let mut ledger = ledger(3, WAIT);
    hold(&mut ledger, second(0), [1, 2, 3]);
    let asked = [of(4, 1), of(5, 2), of(6, 3), asked(7)];
    for (rank, asked) in asked.iter().enumerate() {
        assert_eq!(queued(&allocate(&mut ledger, second(0), asked.clone())), rank + 1);
    }
    release(&mut ledger, 3);
    assert_eq!(served(&mut ledger, &asked), [6]);
    release(&mut ledger, 2);
    assert_eq!(served(&mut ledger, &asked), [5]);
    release(&mut ledger, 6);
    assert_eq!(served(&mut ledger, &asked), [7], "any token will do");
    release(&mut ledger, 1);
    assert_eq!(served(&mut ledger, &asked), [4]);
}

#[test]
fn a_free_token_is_left_for_the_ticket_that_named_it() {
    let mut ledger = ledger(2, WAIT);
    hold(&mut ledger, second(0), [1, 2]);
    let kept =
        Allocation { key: IdempotencyKey::new("k").ok(), wait: Some(seconds(600)), ..of(3, 1) };
    queued(&allocate(&mut ledger, second(0), kept));
    let absent = |ticket: &Ticket| ticket.lease_id != id(3);
    queued(&allocate(&mut ledger, second(0), patient(4, 60)));
    release(&mut ledger, 1);
    let mut batch = ledger.batch(second(1));
    assert_eq!(batch.next_in_queue(absent), None, "token 1 is claimed");
    refused(
        batch
            .decide(&Command::Allocate(Allocation { wait: Some(seconds(0)), ..of(5, 1) }))
            .unwrap(),
    );
    assert!(batch.decide(&Command::ReleaseLease { lease_id: id(2) }).is_some());
    assert_eq!(batch.next_in_queue(absent).map(|ticket| ticket.lease_id), Some(id(4)));
    assert_eq!(got(batch.decide(&Command::Allocate(patient(4, 60))).unwrap()), 2);
}

#[test]
fn a_token_that_a_later_ticket_named_is_the_last_choice() {
    let mut ledger = ledger(2, WAIT);
    hold(&mut ledger, second(0), [1, 2]);
    queued(&allocate(&mut ledger, second(0), patient(3, 60)));
    queued(&allocate(&mut ledger, second(0), of(4, 1)));
    let mut batch = ledger.batch(second(1));
    assert!(batch.decide(&CLEAR).is_some());
    assert_eq!(got(batch.decide(&Command::Allocate(patient(3, 60))).unwrap()), 2);
    assert_eq!(got(batch.decide(&Command::Allocate(of(4, 1))).unwrap()), 1);
}

#[test]
fn an_earlier_ticket_for_any_token_comes_before_a_named_one() {
    let mut ledger = ledger(1, WAIT);
    hold(&mut ledger, second(0), [1]);
    let asked = [asked(2), of(3, 1)];
    for asked in &asked {
        queued(&allocate(&mut ledger, second(0), asked.clone()));
    }
    release(&mut ledger, 1);
    assert_eq!(served(&mut ledger, &asked), [2]);
    release(&mut ledger, 2);
    assert_eq!(served(&mut ledger, &asked), [3]);
}

#[test]
fn a_named_token_waits_for_the_next_batch_if_a_ticket_before_it_has_to() {
    let mut ledger = ledger(2, WAIT);
    hold(&mut ledger, second(0), [1]);
    let here = ServerId(Uuid::from_u128(1));
    let there = ServerId(Uuid::from_u128(2));
    let at = |server| BatchContext {
        observer: Observer::new(second(1), server, Some(second(1))),
        keys: IdempotencyKeys::default(),
    };
    hold(&mut ledger, second(0), [2]);
    queued(&ledger.batch(at(there)).decide(&Command::Allocate(asked(3))).unwrap());
    ledger.apply(&super::changed(POLICY)).unwrap();
    // The lease on token 2 is of this batch, and the other ticket may need it.
    let mut batch = ledger.batch(at(here));
    assert!(batch.decide(&Command::ReleaseLease { lease_id: id(2) }).is_some());
    granted(batch.decide(&Command::Allocate(of(4, 2))).unwrap());
    assert_eq!(batch.decide(&Command::Allocate(of(5, 1))), None);
    drop(batch);
    granted(ledger.batch(at(here)).decide(&Command::Allocate(of(5, 1))).unwrap());
}

#[test]
fn a_key_belongs_to_one_pool_token_and_note() {
    let mut ledger = ledger(2, WAIT);
    let key = IdempotencyKey::new("k").ok();
    let note = Note::new("PR 1234").ok();
    let first = Allocation { key: key.clone(), note: note.clone(), ..of(1, 2) };
    let mut batch = ledger.batch(second(0));
    let grant = granted(batch.decide(&Command::Allocate(first.clone())).unwrap());
    assert_eq!(grant.lease.note, note);
    let used = batch.finish().keys_used;
    assert!(matches!(&used[..], [KeyUse { asked_token: true, .. }]));
    let others = [
        Allocation { pool: PoolId(2), token: None, ..first.clone() },
        Allocation { token: None, ..first.clone() },
        Allocation { token: Some(token(1).id), ..first.clone() },
        Allocation { note: None, ..first.clone() },
    ];
    for waits in [false, true] {
        for other in others.iter().chain([&first]) {
            let remembered = Remembered {
                lease: grant.lease.clone(),
                value: grant.value.clone(),
                evicted: None,
                asked_lease: None,
                asked_wait: None,
                asked_token: true,
            };
            let found = first.user_key().map(|key| (key, remembered)).filter(|_| !waits);
            let keys = IdempotencyKeys { found: HashMap::from_iter(found), ..Default::default() };
            let observer = Observer::new(second(0), ServerId(Uuid::nil()), None);
            let mut ledger = ledger.clone();
            if waits {
                // The same for a ticket.
                queued(&allocate(&mut ledger, second(0), first.clone()));
            }
            let mut batch = ledger.batch(BatchContext { observer, keys });
            let outcome = batch.decide(&Command::Allocate(other.clone())).unwrap();
            if *other == first {
                assert!(matches!(outcome, Outcome::Allocated(_) | Outcome::Queued(_)));
            } else {
                assert_eq!(refused(outcome), Refusal::KeyReused, "{other:?}");
            }
        }
    }
}

#[test]
fn a_repetition_knows_the_value_of_a_token_that_left() {
    let mut ledger = ledger(1, POLICY);
    let key = IdempotencyKey::new("k").ok();
    let first = Allocation { pool: PoolId(7), key, ..asked(1) };
    let grant = granted(allocate(&mut ledger, second(0), first.clone()));
    let name = ledger.pool(PoolId(7)).unwrap().name().clone();
    let policy =
        pool::PolicyPatch { membership: Some(pool::Membership::Open), ..Default::default() };
    let open = PoolWanted { policy, ..PoolWanted::new(name.clone()) };
    let delete = PoolWanted { delete: true, ..PoolWanted::new(name) };
    for pool in [open, delete] {
        let plan = Plan { pools: vec![pool], prune: false, end_leases: true };
        let outcome = decide(&mut ledger, second(1), &Command::Apply(plan));
        assert!(matches!(outcome, Outcome::Applied(..)), "{outcome:?}");
    }
    let remembered = Remembered {
        lease: grant.lease,
        value: grant.value.clone(),
        evicted: None,
        asked_lease: None,
        asked_wait: None,
        asked_token: false,
    };
    let found = HashMap::from([(first.user_key().unwrap(), remembered)]);
    let keys = IdempotencyKeys { found, ..IdempotencyKeys::default() };
    let observer = Observer::new(second(2), ServerId(Uuid::nil()), None);
    let again = ledger.batch(BatchContext { observer, keys }).decide(&Command::Allocate(first));
    assert_eq!(granted(again.unwrap()).value, grant.value);
}
