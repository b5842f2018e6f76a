//! Taints: tokens that are not handed out, for a time.

use pool::{
    Change, Command, Effect, EndReason, Ledger, Note, Outcome, Policy, PoolId, Refusal, Taint,
    TaintName, TaintRefusal, Taints, Timestamp, Token, User, WhenFull,
};

use super::{
    POLICY, allocate, asked, decide, default, granted, hold, id, lease, ledger, next, patient,
    queued, refused, second, seconds, token,
};

fn taint(name: &str, effect: Effect, until: Option<i64>) -> Taint {
    Taint {
        name: TaintName::new(name).unwrap(),
        effect,
        reason: Note::new("broken screen").unwrap(),
        by: User::new("Ops").ok(),
        since: second(0),
        until: until.map(second),
    }
}

fn set(ledger: &mut Ledger, at: Timestamp, number: u128, taint: Taint) -> Outcome {
    let (pool, token) = (PoolId::DEFAULT, token(number).id);
    decide(ledger, at, &Command::Taint { pool, token, taint })
}

#[track_caller]
fn tainted(outcome: Outcome) -> Token {
    match outcome {
        Outcome::Tainted { token, .. } => token,
        other => panic!("{other:?}"),
    }
}

fn cordon(ledger: &mut Ledger, at: Timestamp, number: u128, until: Option<i64>) {
    tainted(set(ledger, at, number, taint("cordon", Effect::NoNewLeases, until)));
}

fn remove(ledger: &mut Ledger, at: Timestamp, number: u128, name: &str) -> Outcome {
    let (pool, token) = (PoolId::DEFAULT, token(number).id);
    let name = TaintName::new(name).unwrap();
    decide(ledger, at, &Command::Untaint { pool, token, name })
}

#[test]
fn a_cordoned_token_keeps_its_lease_and_gets_no_other() {
    let mut ledger = ledger(2, POLICY);
    hold(&mut ledger, second(0), [1, 2]);
    cordon(&mut ledger, second(1), 1, None);
    assert!(lease(&ledger, 1).is_running(second(1)));
    let evicted = granted(allocate(&mut ledger, second(2), asked(3))).evicted;
    assert_eq!(evicted.map(|lease| lease.id), Some(id(2)), "the oldest whose token is available");
    decide(&mut ledger, second(3), &Command::ReleaseLease { lease_id: id(1) });
    let pool = default(&ledger);
    assert_eq!((pool.free(), pool.active(second(3)), pool.size()), (0, 1, 2));
    let Outcome::Untainted { removed, .. } = remove(&mut ledger, second(4), 1, "cordon") else {
        panic!()
    };
    assert!(removed.is_some());
    assert_eq!(granted(allocate(&mut ledger, second(4), asked(4))).lease.token_id, token(1).id);
}

#[test]
fn a_drained_token_ends_its_lease() {
    let mut ledger = ledger(1, Policy { when_full: WhenFull::Reject, ..POLICY });
    hold(&mut ledger, second(0), [1]);
    let drain = taint("drain", Effect::EndLease, None);
    let Outcome::Tainted { ended, .. } = set(&mut ledger, second(5), 1, drain.clone()) else {
        panic!()
    };
    let end = ended.unwrap().end.unwrap();
    assert_eq!((end.at, end.reason), (second(5), EndReason::Drained));
    let refusal = refused(allocate(&mut ledger, second(6), asked(2)));
    assert_eq!(refusal, Refusal::Full { position: 1, retry_after: seconds(0) }, "not known when");
    let Outcome::Tainted { ended: None, token } = set(&mut ledger, second(7), 1, drain) else {
        panic!()
    };
    assert_eq!(
        token.taints.iter().next().unwrap().since,
        second(5),
        "setting it twice is idempotent"
    );
}

#[test]
fn a_note_is_only_displayed() {
    let mut ledger = ledger(1, POLICY);
    tainted(set(&mut ledger, second(0), 1, taint("note", Effect::Note, None)));
    granted(allocate(&mut ledger, second(0), asked(1)));
}

#[test]
fn a_taint_is_removed_exactly_at_its_time() {
    let mut ledger = ledger(1, Policy { when_full: WhenFull::Wait, ..POLICY });
    cordon(&mut ledger, second(0), 1, Some(10));
    assert_eq!(ledger.next_deadline(), Some(second(10)));
    let refusal = refused(allocate(&mut ledger, second(4), patient(1, 0)));
    assert_eq!(refusal, Refusal::Full { position: 1, retry_after: seconds(6) });
    queued(&allocate(&mut ledger, second(5), asked(2)));
    let just_before = Timestamp::from_micros(second(10).as_micros() - 1);
    assert_eq!(ledger.batch(just_before).finish().changes, []);
    assert_eq!((ledger.overdue(just_before), ledger.overdue(second(10))), (0, 1));
    let mut batch = ledger.batch(second(10));
    assert_eq!(next(&mut batch), Some(id(2)));
    let changes = batch.finish().changes;
    assert!(matches!(&changes[..], [Change::TokenTainted(token)] if token.taints.is_empty()));
    assert_eq!(ledger.next_deadline(), None);
}

#[test]
fn several_taints_apply_each_by_itself() {
    let mut ledger = ledger(1, Policy { when_full: WhenFull::Reject, ..POLICY });
    for (name, until) in [("a", Some(10)), ("b", Some(20)), ("c", None)] {
        let token =
            tainted(set(&mut ledger, second(1), 1, taint(name, Effect::NoNewLeases, until)));
        assert_eq!(token.taints.iter().last().unwrap().since, second(1));
    }
    let names = |ledger: &Ledger| {
        let token = ledger.token(token(1).id).unwrap().token;
        token.taints.iter().map(|taint| taint.name.to_string()).collect::<Vec<_>>()
    };
    drop(ledger.batch(second(20)));
    assert_eq!(names(&ledger), ["c"]);
    let longer = taint("c", Effect::NoNewLeases, Some(30));
    assert_eq!(tainted(set(&mut ledger, second(21), 1, longer)).taints.len(), 1, "replaced");
    refused(allocate(&mut ledger, second(29), asked(1)));
    granted(allocate(&mut ledger, second(30), asked(2)));
    let gone = remove(&mut ledger, second(31), 1, "c");
    assert!(matches!(gone, Outcome::Untainted { removed: None, .. }), "idempotent");
}

#[test]
fn taints_are_few_and_not_over_yet() {
    let mut ledger = ledger(1, POLICY);
    for number in 0..Taints::MAX {
        tainted(set(&mut ledger, second(0), 1, taint(&number.to_string(), Effect::Note, None)));
    }
    let one_more = set(&mut ledger, second(0), 1, taint("more", Effect::Note, None));
    assert_eq!(one_more, Outcome::NotTainted(TaintRefusal::TooMany));
    tainted(set(&mut ledger, second(0), 1, taint("3", Effect::NoNewLeases, None)));
    let over = set(&mut ledger, second(5), 1, taint("3", Effect::Note, Some(5)));
    assert_eq!(over, Outcome::NotTainted(TaintRefusal::Over));
    assert_eq!(
        set(&mut ledger, second(5), 9, taint("a", Effect::Note, None)),
        Outcome::UnknownToken
    );
    let (pool, token, name) = (PoolId(5), token(1).id, TaintName::new("3").unwrap());
    let unknown = decide(&mut ledger, second(5), &Command::Untaint { pool, token, name });
    assert_eq!(unknown, Outcome::UnknownPool);
}

#[test]
fn a_lease_on_a_cordoned_token_may_be_renewed_and_cleared() {
    let mut ledger = ledger(2, Policy { max_lease: Some(seconds(600)), ..POLICY });
    hold(&mut ledger, second(0), [1, 2]);
    cordon(&mut ledger, second(1), 1, None);
    let renewed = decide(&mut ledger, second(2), &Command::Renew { lease_id: id(1) });
    assert!(matches!(renewed, Outcome::Renewed(lease) if lease.expires_at == second(122)));
    assert_eq!(default(&ledger).oldest(second(2)).map(|lease| lease.id), Some(id(1)));
    let cleared = decide(&mut ledger, second(3), &super::CLEAR);
    assert_eq!(cleared, Outcome::Cleared { ended: 2 });
}
