//! Idempotency keys: the same allocation gets the same lease.

use std::collections::HashMap;

use pool::{
    Allocation, BatchContext, Command, EndReason, Finished, IdempotencyKey, IdempotencyKeys,
    KeyUse, Ledger, Observer, Outcome, Policy, Refusal, Remembered, ServerId, Timestamp, User,
    UserKey, WhenFull,
};
use uuid::Uuid;

use super::{
    CLEAR, POLICY, asked, decide, granted, hold, id, lease, ledger, next, patient, queued, refused,
    second, seconds, token,
};

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).unwrap()
}

fn user_key(user: &str, text: &str) -> UserKey {
    key(text).of(User::new(user).unwrap().id)
}

fn keyed(number: u128) -> Allocation {
    Allocation { key: Some(key("k")), ..asked(number) }
}

/// A store's record of the key `k`, used for the lease with this number in its current state.
fn remembered(ledger: &Ledger, number: u128) -> IdempotencyKeys {
    let lease = lease(ledger, number).clone();
    let value = ledger.token(lease.token_id).unwrap().token.value.clone();
    let remembered = Remembered {
        lease,
        value,
        evicted: None,
        asked_lease: None,
        asked_wait: None,
        asked_token: false,
    };
    IdempotencyKeys {
        found: HashMap::from([(user_key("Ada", "k"), remembered)]),
        room: 0,
        ..IdempotencyKeys::default()
    }
}

fn with(keys: IdempotencyKeys, now: Timestamp) -> BatchContext {
    BatchContext {
        observer: Observer { now, server: ServerId(Uuid::nil()), journal_at: None },
        keys,
    }
}

#[test]
fn a_repetition_in_the_same_batch_gets_the_same_lease() {
    let mut ledger = ledger(2, POLICY);
    let mut batch = ledger.batch(second(0));
    let first = granted(batch.decide(&Command::Allocate(keyed(1))).unwrap());
    let again = granted(batch.decide(&Command::Allocate(keyed(2))).unwrap());
    assert_eq!(first, again);
    let Finished { changes, keys_used: used, .. } = batch.finish();
    let (asked_lease, asked_wait, asked_token) = (None, None, false);
    assert_eq!(
        used,
        [KeyUse {
            key: user_key("Ada", "k"),
            lease_id: id(1),
            asked_lease,
            asked_wait,
            asked_token
        }]
    );
    assert_eq!(changes.len(), 1);
}

#[test]
fn a_later_repetition_gets_the_lease_as_it_is_by_then() {
    let mut ledger = ledger(2, Policy { max_lease: Some(seconds(600)), ..POLICY });
    let first = granted(decide(&mut ledger, second(0), &Command::Allocate(keyed(1))));
    let keys = remembered(&ledger, 1);
    decide(&mut ledger, second(60), &Command::Renew { lease_id: id(1) });
    let mut batch = ledger.batch(with(keys, second(70)));
    let again = granted(batch.decide(&Command::Allocate(keyed(2))).unwrap());
    assert_eq!((again.lease.id, again.value), (id(1), first.value));
    assert_eq!(again.lease.expires_at, second(180));
    let Finished { changes, keys_used, .. } = batch.finish();
    assert_eq!((keys_used, changes), (vec![], vec![]), "nothing is changed");
}

#[test]
fn a_repetition_after_the_end_gets_the_lease_with_its_end() {
    let mut ledger = ledger(1, POLICY);
    decide(&mut ledger, second(0), &Command::Allocate(keyed(1)));
    let keys = remembered(&ledger, 1);
    // The lease expires, is replaced, and is returned, all in one batch.
    let mut batch = ledger.batch(with(keys, second(200)));
    granted(batch.decide(&Command::Allocate(asked(2))).unwrap());
    let again = granted(batch.decide(&Command::Allocate(keyed(3))).unwrap());
    let end = again.lease.end.unwrap();
    assert_eq!((again.lease.id, end.at, end.reason), (id(1), second(120), EndReason::Expired));
    drop(batch);
    // Long after, the token has another lease, and only the store knows the old one.
    let mut stored = remembered(&ledger, 2);
    stored.found.get_mut(&user_key("Ada", "k")).unwrap().lease = again.lease.clone();
    let mut batch = ledger.batch(with(stored, second(210)));
    let repeated = granted(batch.decide(&Command::Allocate(keyed(4))).unwrap());
    assert_eq!(repeated, again);
}

#[test]
fn a_repetition_knows_the_end_of_the_lease_in_its_own_batch() {
    let mut ledger = ledger(1, Policy { max_lease: Some(seconds(600)), ..POLICY });
    decide(&mut ledger, second(0), &Command::Allocate(keyed(1)));
    let keys = remembered(&ledger, 1);
    let mut batch = ledger.batch(with(keys, second(60)));
    assert!(batch.decide(&Command::Renew { lease_id: id(1) }).is_some());
    granted(batch.decide(&Command::Allocate(asked(2))).unwrap());
    let again = granted(batch.decide(&Command::Allocate(keyed(3))).unwrap()).lease;
    let end = again.end.unwrap();
    assert_eq!((end.at, end.reason), (second(60), EndReason::Evicted));
    assert_eq!((again.id, again.expires_at), (id(1), second(180)));
}

#[test]
fn a_repetition_tells_who_was_evicted_for_the_lease() {
    let mut ledger = ledger(1, POLICY);
    hold(&mut ledger, second(0), [1]);
    let mut batch = ledger.batch(second(5));
    let first = granted(batch.decide(&Command::Allocate(keyed(2))).unwrap());
    assert_eq!(first.evicted.as_ref().map(|lease| lease.id), Some(id(1)));
    assert_eq!(granted(batch.decide(&Command::Allocate(keyed(3))).unwrap()), first);
}

#[test]
fn a_key_belongs_to_one_request() {
    let mut ledger = ledger(2, POLICY);
    decide(&mut ledger, second(0), &Command::Allocate(keyed(1)));
    let others = [
        Allocation { lease: Some(seconds(5)), ..keyed(2) },
        Allocation { wait: Some(seconds(5)), ..keyed(2) },
    ];
    for other in others {
        let mut batch = ledger.batch(with(remembered(&ledger, 1), second(1)));
        let outcome = batch.decide(&Command::Allocate(other)).unwrap();
        assert_eq!(refused(outcome), Refusal::KeyReused);
        assert_eq!(batch.finish().changes, []);
    }
}

#[test]
fn the_same_key_of_another_user_is_another_key() {
    let mut ledger = ledger(2, POLICY);
    decide(&mut ledger, second(0), &Command::Allocate(keyed(1)));
    let bob = || Allocation { user: User::new("Bob").unwrap(), ..keyed(2) };
    let keys = IdempotencyKeys { room: 9, ..remembered(&ledger, 1) };
    let mut batch = ledger.batch(with(keys, second(1)));
    assert_eq!(granted(batch.decide(&Command::Allocate(bob())).unwrap()).lease.id, id(2));
    let again = Allocation { lease_id: id(3), ..bob() };
    assert_eq!(granted(batch.decide(&Command::Allocate(again)).unwrap()).lease.id, id(2));
    assert_eq!(granted(batch.decide(&Command::Allocate(keyed(4))).unwrap()).lease.id, id(1));
    let used: Vec<_> = batch.finish().keys_used.into_iter().map(|used| used.key).collect();
    assert_eq!(used, [user_key("Bob", "k")]);
}

#[test]
fn a_repetition_is_no_further_lease_of_its_user() {
    let mut ledger = ledger(2, Policy { max_per_user: Some(1), ..POLICY });
    decide(&mut ledger, second(0), &Command::Allocate(keyed(1)));
    let keys = remembered(&ledger, 1);
    let again = ledger.batch(with(keys, second(1))).decide(&Command::Allocate(keyed(2)));
    assert_eq!(granted(again.unwrap()).lease.id, id(1));
}

#[test]
fn only_successes_are_remembered() {
    let mut ledger = ledger(1, Policy { when_full: WhenFull::Reject, ..POLICY });
    hold(&mut ledger, second(0), [1]);
    let mut batch = ledger.batch(second(1));
    refused(batch.decide(&Command::Allocate(keyed(2))).unwrap());
    assert_eq!(batch.granted_with_keys(), []);
    assert!(batch.decide(&CLEAR).is_some());
    assert_eq!(granted(batch.decide(&Command::Allocate(keyed(3))).unwrap()).lease.id, id(3));
}

#[test]
fn a_new_key_needs_room_and_a_known_one_does_not() {
    let mut ledger = ledger(3, POLICY);
    let next_forgotten_in = seconds(7);
    let keys = IdempotencyKeys { room: 1, next_forgotten_in, ..IdempotencyKeys::default() };
    let mut batch = ledger.batch(with(keys, second(0)));
    granted(batch.decide(&Command::Allocate(keyed(1))).unwrap());
    let other = Allocation { key: Some(key("other")), ..asked(2) };
    let refusal = refused(batch.decide(&Command::Allocate(other)).unwrap());
    assert_eq!(refusal, Refusal::KeysFull { retry_after: seconds(7) });
    assert_eq!(granted(batch.decide(&Command::Allocate(keyed(3))).unwrap()).lease.id, id(1));
    granted(batch.decide(&Command::Allocate(asked(4))).unwrap());
}

#[test]
fn a_user_with_its_share_of_the_keys_gets_no_more_and_others_do() {
    let mut ledger = ledger(5, POLICY);
    let ada = keyed(1).user.id;
    let keys = IdempotencyKeys {
        room: 9,
        room_of_users: HashMap::from([(ada, 1)]),
        most_of_user: 4,
        next_forgotten_in: seconds(7),
        ..IdempotencyKeys::default()
    };
    let mut batch = ledger.batch(with(keys, second(0)));
    granted(batch.decide(&Command::Allocate(keyed(1))).unwrap());
    let other = Allocation { key: Some(key("other")), ..asked(2) };
    let refusal = refused(batch.decide(&Command::Allocate(other.clone())).unwrap());
    assert_eq!(refusal, Refusal::UserKeysFull { limit: 4, retry_after: seconds(7) });
    let bob = Allocation { user: User::new("Bob").unwrap(), ..other };
    granted(batch.decide(&Command::Allocate(bob)).unwrap());
    assert_eq!(granted(batch.decide(&Command::Allocate(keyed(3))).unwrap()).lease.id, id(1));
    granted(batch.decide(&Command::Allocate(asked(4))).unwrap());
}

#[test]
fn two_requests_that_wait_with_one_key_get_the_same_lease() {
    let mut ledger = ledger(1, Policy { when_full: WhenFull::Wait, ..POLICY });
    hold(&mut ledger, second(0), [1]);
    let mut batch = ledger.batch(second(0));
    for number in [2, 3] {
        queued(&batch.decide(&Command::Allocate(keyed(number))).unwrap());
    }
    assert!(batch.decide(&CLEAR).is_some());
    assert_eq!(next(&mut batch), Some(id(2)));
    let first = granted(batch.decide(&Command::Allocate(keyed(2))).unwrap());
    let second = granted(batch.decide(&Command::Allocate(keyed(3))).unwrap());
    assert_eq!((first.lease.id, &first), (id(2), &second));
    drop(batch);
    assert_eq!(ledger.tickets().count(), 0);
}

#[test]
fn a_ticket_whose_key_was_used_for_something_else_leaves_the_queue() {
    let mut ledger = ledger(1, Policy { when_full: WhenFull::Wait, ..POLICY });
    hold(&mut ledger, second(0), [1]);
    let waits = Command::Allocate(Allocation { key: Some(key("k")), ..patient(2, 60) });
    let mut batch = ledger.batch(second(0));
    queued(&batch.decide(&waits).unwrap());
    assert!(batch.decide(&CLEAR).is_some());
    drop(batch);
    let lease = ledger.token(token(1).id).unwrap().latest.unwrap().id;
    let used = remembered(&ledger, lease.0.as_u128()).found.into_values().next().unwrap();
    let keys = IdempotencyKeys {
        found: HashMap::from([(user_key("Ada", "k"), used)]),
        room: 9,
        ..IdempotencyKeys::default()
    };
    let mut batch = ledger.batch(with(keys, second(1)));
    assert_eq!(next(&mut batch), Some(id(2)));
    let outcome = batch.decide(&waits);
    assert_eq!(outcome, Some(Outcome::NotAllocated(Refusal::KeyReused)));
    assert_eq!(next(&mut batch), None);
}
