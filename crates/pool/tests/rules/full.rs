//! Allocations while all tokens are in use, and requests above the limits.

use pool::{Command, EndReason, Policy, Refusal, User, WhenFull};

use super::{
    LEASE, POLICY, allocate, asked, decide, default, granted, hold, id, ledger, patient, refused,
    second, seconds,
};

#[test]
fn a_batch_ends_before_it_would_evict_its_own_lease() {
    let mut ledger = ledger(2, POLICY);
    let mut batch = ledger.batch(second(1));
    let command = |number| Command::Allocate(asked(number));
    assert!(batch.decide(&command(1)).is_some());
    assert!(batch.decide(&command(2)).is_some());
    assert_eq!(batch.decide(&command(3)), None);
    assert_eq!(batch.finish().changes.len(), 2, "and does nothing for it");
    let evicted = granted(allocate(&mut ledger, second(1), asked(3))).evicted.unwrap();
    assert_eq!(evicted.id, id(1));
    assert_eq!(evicted.end.map(|end| end.reason), Some(EndReason::Evicted));
}

#[test]
fn an_expiry_of_an_old_lease_leaves_the_new_one_alone() {
    let mut ledger = ledger(1, POLICY);
    hold(&mut ledger, second(0), [1]);
    decide(&mut ledger, second(60), &Command::ReleaseLease { lease_id: id(1) });
    hold(&mut ledger, second(61), [2]);
    assert_eq!(ledger.batch(second(120)).finish().changes, [], "the first deadline ends nothing");
    assert!(ledger.lease(id(2)).unwrap().is_running(second(180)));
    drop(ledger.batch(second(500)));
    let end = ledger.lease(id(2)).unwrap().end.unwrap();
    assert_eq!((end.at, end.reason), (second(181), EndReason::Expired), "at its own deadline");
}

#[test]
fn a_pool_that_rejects_tells_how_long_it_is_to_the_next_deadline() {
    let mut ledger = ledger(2, Policy { when_full: WhenFull::Reject, ..POLICY });
    hold(&mut ledger, second(0), [1]);
    hold(&mut ledger, second(5), [2]);
    let refusal = refused(allocate(&mut ledger, second(20), asked(3)));
    assert_eq!(refusal, Refusal::Full { position: 1, retry_after: seconds(100) });
    granted(allocate(&mut ledger, second(120), asked(3)));
}

#[test]
fn a_pool_that_rejects_offers_no_wait_even_while_tokens_are_free() {
    let mut ledger = ledger(1, Policy { when_full: WhenFull::Reject, ..POLICY });
    for wait in [0, 5] {
        let refusal = refused(allocate(&mut ledger, second(0), patient(1, wait)));
        assert_eq!(refusal, Refusal::WaitNotOffered);
    }
}

#[test]
fn a_lease_is_not_evicted_before_it_was_held_long_enough() {
    let mut ledger = ledger(2, Policy { min_hold: seconds(10), ..POLICY });
    hold(&mut ledger, second(0), [1]);
    hold(&mut ledger, second(4), [2]);
    let refusal = refused(allocate(&mut ledger, second(7), asked(3)));
    assert_eq!(refusal, Refusal::Full { position: 1, retry_after: seconds(3) });
    let evicted = granted(allocate(&mut ledger, second(10), asked(3))).evicted;
    assert_eq!(evicted.map(|lease| lease.id), Some(id(1)));
    let refusal = refused(allocate(&mut ledger, second(10), asked(4)));
    assert_eq!(refusal, Refusal::Full { position: 1, retry_after: seconds(4) });
}

#[test]
fn a_deadline_that_comes_first_is_what_there_is_to_wait_for() {
    let mut ledger = ledger(1, Policy { min_hold: seconds(100), ..POLICY });
    let short = pool::Allocation { lease: Some(seconds(30)), ..asked(1) };
    granted(allocate(&mut ledger, second(0), short));
    let refusal = refused(allocate(&mut ledger, second(10), asked(2)));
    assert_eq!(refusal, Refusal::Full { position: 1, retry_after: seconds(20) });
}

#[test]
fn the_next_end_is_still_to_come() {
    let mut ledger = ledger(2, Policy { min_hold: seconds(100), ..POLICY });
    assert_eq!(default(&ledger).next_end(second(0)), None);
    hold(&mut ledger, second(0), [1]);
    hold(&mut ledger, second(15), [2]);
    for (now, next) in [(0, 100), (100, 115), (115, 120), (120, 135)] {
        assert_eq!(default(&ledger).next_end(second(now)), Some(second(next)), "at {now}");
    }
    assert_eq!(
        default(&ledger).next_end(second(135)),
        None,
        "all is over, if not written down yet"
    );
}

#[test]
fn a_lease_may_be_shorter_than_the_policy_says_but_not_longer() {
    let mut ledger = ledger(1, POLICY);
    let of = |lease| pool::Allocation { lease: Some(lease), ..asked(1) };
    let refusal = refused(allocate(&mut ledger, second(0), of(seconds(121))));
    assert_eq!(refusal, Refusal::LeaseTooLong { longest: LEASE });
    let grant = granted(allocate(&mut ledger, second(0), of(seconds(7))));
    assert_eq!((grant.lease.expires_at, grant.lease.length()), (second(7), seconds(7)));
}

#[test]
fn a_user_has_no_more_leases_than_the_policy_allows() {
    let mut ledger = ledger(3, Policy { max_per_user: Some(2), ..POLICY });
    hold(&mut ledger, second(0), [1, 2]);
    let limit = Refusal::UserLimit { limit: 2 };
    assert_eq!(refused(allocate(&mut ledger, second(1), asked(3))), limit);
    let bob = pool::Allocation { user: User::new("Bob").unwrap(), ..asked(4) };
    granted(allocate(&mut ledger, second(1), bob));
    assert_eq!(refused(allocate(&mut ledger, second(1), asked(3))), limit, "nor by eviction");
    decide(&mut ledger, second(2), &Command::ReleaseLease { lease_id: id(1) });
    granted(allocate(&mut ledger, second(2), asked(3)));
    granted(allocate(&mut ledger, second(120), asked(5)));
}

#[test]
fn a_user_is_the_same_in_any_spelling() {
    let mut ledger = ledger(2, Policy { max_per_user: Some(1), ..POLICY });
    let by =
        |number, name: &str| pool::Allocation { user: User::new(name).unwrap(), ..asked(number) };
    let name = "0198c1b2-7a43-7cc0-8f0e-0123456789ab";
    granted(allocate(&mut ledger, second(0), by(1, name)));
    let refusal = refused(allocate(&mut ledger, second(0), by(2, &name.to_uppercase())));
    assert_eq!(refusal, Refusal::UserLimit { limit: 1 });
}

#[test]
fn a_pool_without_tokens_says_so_whatever_is_asked() {
    for when_full in WhenFull::ALL {
        let mut ledger = ledger(0, Policy { when_full, ..POLICY });
        for allocation in [asked(1), patient(2, 9)] {
            assert_eq!(refused(allocate(&mut ledger, second(0), allocation)), Refusal::NoTokens);
        }
    }
}
