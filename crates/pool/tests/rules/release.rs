//! Release of a token, with and without a condition, and release of one lease.

use pool::{Command, EndReason, HolderCondition, Ledger, Outcome, PoolId, Timestamp, User, UserId};

use super::{CLEAR, POLICY, decide, hold, id, ledger, second, token};

fn release(ledger: &mut Ledger, at: Timestamp, if_held: HolderCondition) -> Outcome {
    let pool = PoolId::DEFAULT;
    decide(ledger, at, &Command::Release { pool, token_id: token(1).id, if_held })
}

fn release_lease(ledger: &mut Ledger, at: Timestamp, number: u128) -> Outcome {
    decide(ledger, at, &Command::ReleaseLease { lease_id: id(number) })
}

fn by(number: u128) -> HolderCondition {
    HolderCondition { lease_id: Some(id(number)), user: None }
}

fn user(name: &str) -> UserId {
    User::new(name).unwrap().id
}

fn ended(outcome: &Outcome) -> Option<u128> {
    match outcome {
        Outcome::Released { ended } => ended.as_ref().map(|lease| lease.id.0.as_u128()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_a_condition_whatever_holds_the_token_ends() {
    let mut ledger = ledger(1, POLICY);
    assert_eq!(ended(&release(&mut ledger, second(0), HolderCondition::default())), None);
    hold(&mut ledger, second(0), [1]);
    assert_eq!(ended(&release(&mut ledger, second(5), HolderCondition::default())), Some(1));
    let end = super::lease(&ledger, 1).end.unwrap();
    assert_eq!((end.at, end.reason), (second(5), EndReason::Released));
    let unknown = Command::Release {
        pool: PoolId::DEFAULT,
        token_id: token(2).id,
        if_held: HolderCondition::default(),
    };
    assert_eq!(decide(&mut ledger, second(5), &unknown), Outcome::UnknownToken);
}

#[test]
fn a_late_release_does_not_free_the_token_of_another_holder() {
    let mut ledger = ledger(1, POLICY);
    hold(&mut ledger, second(0), [1]);
    hold(&mut ledger, second(130), [2]);
    let Outcome::HolderMismatch { latest } = release(&mut ledger, second(131), by(1)) else {
        panic!()
    };
    assert_eq!(latest.map(|lease| lease.id), Some(id(2)));
    assert_eq!(release_lease(&mut ledger, second(131), 1), Outcome::NotLatest);
    assert!(super::lease(&ledger, 2).is_running(second(131)));
    assert_eq!(ended(&release(&mut ledger, second(131), by(2))), Some(2));
}

#[test]
fn a_user_is_expected_by_identity_and_all_that_is_expected_has_to_be_so() {
    let mut ledger = ledger(1, POLICY);
    hold(&mut ledger, second(0), [1]);
    let wrong = [
        HolderCondition { lease_id: None, user: Some(user("Bob")) },
        HolderCondition { user: Some(user("Bob")), ..by(1) },
        HolderCondition { user: Some(user("Ada")), ..by(2) },
    ];
    for if_held in wrong {
        let outcome = release(&mut ledger, second(1), if_held);
        assert!(matches!(outcome, Outcome::HolderMismatch { latest: Some(_) }), "{outcome:?}");
    }
    let right = HolderCondition { user: Some(user("Ada")), ..by(1) };
    assert_eq!(ended(&release(&mut ledger, second(1), right)), Some(1));
}

#[test]
fn a_token_never_held_is_not_held_as_expected() {
    let mut ledger = ledger(1, POLICY);
    let outcome = release(&mut ledger, second(0), by(1));
    assert_eq!(outcome, Outcome::HolderMismatch { latest: None });
}

#[test]
fn releasing_twice_is_idempotent_but_a_lost_lease_can_not_be_released() {
    let mut ledger = ledger(1, POLICY);
    hold(&mut ledger, second(0), [1]);
    for at in [5, 6] {
        let Outcome::LeaseReleased(lease) = release_lease(&mut ledger, second(at), 1) else {
            panic!()
        };
        assert_eq!(lease.end.map(|end| end.at), Some(second(5)));
    }
    assert_eq!(ended(&release(&mut ledger, second(7), by(1))), None);
    hold(&mut ledger, second(10), [2]);
    // At its deadline a lease has expired, and a release comes too late.
    let Outcome::LeaseOver(lease) = release_lease(&mut ledger, second(130), 2) else { panic!() };
    assert_eq!(lease.end.map(|end| end.reason), Some(EndReason::Expired));
    let Outcome::HolderMismatch { latest } = release(&mut ledger, second(131), by(2)) else {
        panic!()
    };
    assert_eq!(latest.and_then(|lease| lease.end).map(|end| end.at), Some(second(130)));
}

#[test]
fn an_evicted_or_cleared_lease_was_not_released() {
    let mut ledger = ledger(1, POLICY);
    hold(&mut ledger, second(0), [1]);
    decide(&mut ledger, second(1), &CLEAR);
    assert!(matches!(release_lease(&mut ledger, second(2), 1), Outcome::LeaseOver(_)));
    hold(&mut ledger, second(3), [2, 3]);
    assert_eq!(release_lease(&mut ledger, second(4), 2), Outcome::NotLatest);
}
