//! Facts that can't all be true of one pool.

use pool::{Change, Fence, IdempotencyKey, Lease, Ledger, PoolId, ServerId, Ticket, Token, User};
use uuid::Uuid;

use super::{POLICY, hold, id, ledger, restored, second, token, tokens};

fn lease(fence: i64, previous: i64) -> Lease {
    let (user, fence) = (User::new("u").unwrap(), Fence::new(fence));
    let granted = Lease::granted(id(7), token(1).id, user, fence, second(0), second(9));
    Lease { previous_fence: Fence::new(previous), ..granted }
}

fn ticket(number: i64, lease: u128) -> Ticket {
    let server = ServerId(Uuid::nil());
    Ticket {
        lease_id: id(lease),
        number,
        server,
        heard_at: second(0),
        since: second(0),
        until: second(9),
        user: User::new("u").unwrap(),
        key: None,
        asked_lease: None,
        asked_wait: None,
        pool: PoolId::DEFAULT,
        token: None,
        note: None,
    }
}

#[test]
fn leases_have_to_follow_one_another() {
    let mut ledger = ledger(2, POLICY);
    let start = |lease| Change::LeaseStarted(lease);
    assert!(ledger.apply(&start(lease(1, 3))).is_err(), "follows nothing known");
    assert!(ledger.apply(&start(lease(1, 0))).is_ok());
    assert!(ledger.apply(&start(lease(2, 1))).is_err(), "overlaps");
    assert!(ledger.apply(&start(lease(1, 0))).is_err(), "fence given before");
    let elsewhere = Lease { token_id: token(2).id, ..lease(2, 0) };
    assert!(ledger.apply(&start(elsewhere)).is_err(), "the same lease on another token");
    let found = ledger.lease(id(7)).map(|lease| lease.token_id);
    assert_eq!(found, Some(token(1).id), "what is refused changes nothing");
}

#[test]
fn only_what_runs_ends_or_is_renewed() {
    let mut ledger = ledger(1, POLICY);
    let (lease_id, fence, at) = (id(7), Fence::new(1), second(5));
    let end = pool::End::new(at, pool::EndReason::Released);
    let ended = Change::LeaseEnded { lease_id, fence, end };
    let renewed = Change::LeaseRenewed { lease_id, fence, expires_at: second(20) };
    assert!(ledger.apply(&ended).is_err() && ledger.apply(&renewed).is_err());
    ledger.apply(&Change::LeaseStarted(lease(1, 0))).unwrap();
    ledger.apply(&renewed).unwrap();
    assert_eq!(ledger.next_deadline(), Some(second(20)));
    ledger.apply(&ended).unwrap();
    assert!(ledger.apply(&ended).is_err() && ledger.apply(&renewed).is_err());
}

#[test]
fn a_pool_is_not_restored_from_contradictions() {
    let newer = restored(POLICY, tokens(1), [lease(5, 0)], Fence::new(4));
    assert!(newer.is_err(), "newer than the newest fence");
    let twice = restored(POLICY, [token(1), token(1)], [], Fence::NONE);
    assert!(twice.is_err(), "two tokens of one id");
    let [one, other] = [token(1), token(2)];
    for like in [
        Token { name: one.name.clone(), ..other.clone() },
        Token { position: one.position, ..other.clone() },
    ] {
        assert!(restored(POLICY, [one.clone(), like], [], Fence::NONE).is_err());
    }
    let same_fence = Lease { id: id(8), token_id: other.id, ..lease(1, 0) };
    let both = |tokens| restored(POLICY, tokens, [lease(1, 0), same_fence.clone()], Fence::new(1));
    assert!(both([one.clone(), other.clone()]).is_err());
    let retired = Token { retired_at: Some(second(0)), ..other };
    assert!(both([one, retired]).is_err(), "though only one token may get a new lease");
}

#[test]
fn a_queue_has_each_number_and_each_lease_once() {
    let of = |tickets: [Ticket; 3]| ledger(1, POLICY).with_queue(tickets);
    let queue = of([ticket(3, 1), ticket(1, 2), ticket(2, 3)]).unwrap();
    let order: Vec<_> = queue.tickets().map(|ticket| ticket.lease_id).collect();
    assert_eq!(order, [id(2), id(3), id(1)], "in whatever order they are read");
    assert!(of([ticket(1, 1), ticket(2, 2), ticket(1, 3)]).is_err());
    assert!(of([ticket(1, 1), ticket(2, 2), ticket(3, 1)]).is_err());
    let keyed = |ticket| Ticket { key: IdempotencyKey::new("k").ok(), ..ticket };
    assert!(of([ticket(1, 1), keyed(ticket(2, 2)), ticket(3, 3)]).is_ok());
    assert!(of([keyed(ticket(1, 1)), keyed(ticket(2, 2)), ticket(3, 3)]).is_err());
    let other = Ticket { user: User::new("v").unwrap(), ..keyed(ticket(2, 2)) };
    assert!(of([keyed(ticket(1, 1)), other, ticket(3, 3)]).is_ok(), "keys are apart by user");
}

#[test]
fn a_queue_grows_at_its_end_and_only_loses_what_it_has() {
    let mut ledger = ledger(1, POLICY);
    ledger.apply(&Change::WaitStarted(ticket(5, 1))).unwrap();
    assert!(ledger.apply(&Change::WaitStarted(ticket(4, 2))).is_err());
    assert!(ledger.apply(&Change::WaitEnded { lease_id: id(2) }).is_err());
    assert_eq!(ledger.tickets().count(), 1);
}

#[test]
fn skipped_fences_are_never_given() {
    let mut ledger = ledger(2, POLICY);
    hold(&mut ledger, second(0), [1]);
    ledger.skip_fences(100);
    hold(&mut ledger, second(0), [2]);
    assert_eq!(super::lease(&ledger, 2).fence, Fence::new(102));
}

#[test]
fn copies_share_the_pools_in_which_neither_changed() {
    let mut ledger = ledger(2, POLICY);
    hold(&mut ledger, second(1), [1]);
    let copy = ledger.clone();
    let shares =
        |ledger: &Ledger, pool| std::ptr::eq(copy.pool(pool).unwrap(), ledger.pool(pool).unwrap());
    assert!(shares(&ledger, PoolId::DEFAULT));
    hold(&mut ledger, second(2), [2]);
    assert!(!shares(&ledger, PoolId::DEFAULT) && shares(&ledger, PoolId(2)));
    assert_eq!([&ledger, &copy].map(|ledger| ledger.active(second(3))), [2, 1]);
    // The other one of two that were equal.
    let mut other = copy.clone();
    hold(&mut other, second(2), [3]);
    assert!(copy.lease(id(3)).is_none() && other.lease(id(2)).is_none());
}
