//! Renewal.

use std::time::Duration;

use pool::{Allocation, Command, EndReason, Lease, Ledger, Outcome, Policy, Timestamp};

use super::{
    POLICY, allocate, asked, changed, decide, granted, hold, id, lease, ledger, second, seconds,
};

const RENEWABLE: Policy = Policy { max_lease: Some(Duration::from_mins(5)), ..POLICY };

fn renew(ledger: &mut Ledger, at: Timestamp) -> Outcome {
    decide(ledger, at, &Command::Renew { lease_id: id(1) })
}

#[track_caller]
fn renewed(outcome: Outcome) -> Lease {
    match outcome {
        Outcome::Renewed(lease) => lease,
        other => panic!("{other:?}"),
    }
}

#[test]
fn by_default_there_is_nothing_to_renew() {
    let mut ledger = ledger(1, POLICY);
    hold(&mut ledger, second(0), [1]);
    let Outcome::NotRenewable(lease) = renew(&mut ledger, second(60)) else { panic!() };
    assert_eq!(lease.expires_at, second(120));
}

#[test]
fn a_renewal_lasts_as_long_as_was_granted_but_not_beyond_the_limit() {
    let mut ledger = ledger(1, RENEWABLE);
    hold(&mut ledger, second(0), [1]);
    for (at, until) in [(1, 121), (100, 220), (179, 299), (180, 300)] {
        let lease = renewed(renew(&mut ledger, second(at)));
        assert_eq!((lease.expires_at, lease.granted_until), (second(until), second(120)));
    }
    assert!(matches!(renew(&mut ledger, second(200)), Outcome::NotRenewable(_)));
    drop(ledger.batch(second(400)));
    let end = lease(&ledger, 1).end.unwrap();
    assert_eq!((end.at, end.reason), (second(300), EndReason::Expired), "the new deadline holds");
}

#[test]
fn a_shorter_lease_is_renewed_by_its_own_length() {
    let mut ledger = ledger(1, POLICY);
    let short = Allocation { lease: Some(seconds(30)), ..asked(1) };
    granted(allocate(&mut ledger, second(0), short));
    assert_eq!(renewed(renew(&mut ledger, second(20))).expires_at, second(50));
    assert_eq!(renewed(renew(&mut ledger, second(45))).expires_at, second(75));
    assert_eq!(renewed(renew(&mut ledger, second(74))).expires_at, second(104));
    assert_eq!(renewed(renew(&mut ledger, second(100))).expires_at, second(120));
}

#[test]
fn a_renewal_at_the_same_moment_changes_nothing() {
    let mut ledger = ledger(1, RENEWABLE);
    hold(&mut ledger, second(0), [1]);
    let mut batch = ledger.batch(second(9));
    for _ in 0..2 {
        let lease = renewed(batch.decide(&Command::Renew { lease_id: id(1) }).unwrap());
        assert_eq!(lease.expires_at, second(129));
    }
    assert_eq!(batch.finish().changes.len(), 1);
}

#[test]
fn a_stricter_policy_takes_nothing_back() {
    let mut ledger = ledger(1, RENEWABLE);
    hold(&mut ledger, second(0), [1]);
    renewed(renew(&mut ledger, second(100)));
    ledger.apply(&changed(POLICY)).unwrap();
    let Outcome::NotRenewable(lease) = renew(&mut ledger, second(110)) else { panic!() };
    assert_eq!(lease.expires_at, second(220));
}

#[test]
fn an_ended_lease_is_never_revived() {
    let mut ledger = ledger(1, RENEWABLE);
    hold(&mut ledger, second(0), [1]);
    let Outcome::LeaseOver(lease) = renew(&mut ledger, second(120)) else { panic!() };
    assert_eq!(lease.end.map(|end| end.reason), Some(EndReason::Expired), "not on its deadline");
    hold(&mut ledger, second(121), [2]);
    assert_eq!(renew(&mut ledger, second(121)), Outcome::NotLatest, "its token is another's");
    assert_eq!(super::lease(&ledger, 2).expires_at, second(241));
}
