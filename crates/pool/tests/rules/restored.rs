//! A ledger from its stored facts, and facts about pools and tokens that contradict them.

use std::collections::BTreeMap;

use pool::{
    Change, Command, Counters, End, EndReason, Fence, Inconsistent, Lease, Ledger, Outcome, Plan,
    Policy, PoolId, PoolName, PoolRecord, PoolWanted, Token, TokenId, TokenName, TokenValue,
    TokenWanted, User,
};
use uuid::Uuid;

use super::{
    POLICY, allocate, asked, decide, granted, hold, id, ledger, record, restore, second, token_of,
};

fn retired(number: u128) -> Token {
    Token { retired_at: Some(second(1)), ..token_of(PoolId(3), number) }
}

fn lease(fence: i64, number: u128, token: &Token, end: Option<i64>) -> Lease {
    let (user, fence) = (User::new("Ada").unwrap(), Fence::new(fence));
    let granted = Lease::granted(id(number), token.id, user, fence, second(0), second(120));
    let end = end.map(|at| End::new(second(at), EndReason::Released));
    Lease { pool: token.pool, end, ..granted }
}

fn restored(
    tokens: impl IntoIterator<Item = Token>,
    latest: impl IntoIterator<Item = Lease>,
) -> Result<Ledger, Inconsistent> {
    let positions = BTreeMap::from([(PoolId(2), 9), (PoolId(3), 7)]);
    let (fence, last_pool) = (Fence::new(50), Some(PoolId(8)));
    let counters = Counters { fence, last_pool, positions };
    restore(counters, [record(PoolId(3), "phones", Policy::OTHER)], tokens, latest)
}

#[test]
fn a_retired_token_is_there_while_its_lease_runs() {
    let tokens = [retired(1), retired(2), retired(3), token_of(PoolId(3), 4)];
    let running = lease(1, 1, &tokens[0], None);
    let over = lease(2, 2, &tokens[1], Some(9));
    let mut ledger = restored(tokens, [running, over]).unwrap();
    let pool = ledger.pool(PoolId(3)).unwrap();
    assert_eq!((pool.size(), pool.retiring(), ledger.size()), (2, 1, 2));
    assert_eq!((ledger.lease(id(2)), ledger.next_deadline()), (None, Some(second(120))));
    drop(ledger.batch(second(120)));
    assert_eq!((ledger.size(), ledger.next_deadline()), (1, None));
}

#[test]
fn numbers_and_positions_of_before_are_not_given_again() {
    let mut ledger = restored([token_of(PoolId(3), 1)], []).unwrap();
    let new = |name: &str, number| {
        let uuid = Uuid::from_u128(number);
        let token = TokenWanted::new(None, TokenId(uuid), TokenValue::of_uuid(uuid));
        let tokens = Some(vec![TokenWanted { intent: pool::Intent::Create, ..token }]);
        PoolWanted { tokens, ..PoolWanted::new(PoolName::new(name).unwrap()) }
    };
    let plan = Plan { pools: vec![new("phones", 70), new("late", 71)], ..Plan::default() };
    assert!(matches!(decide(&mut ledger, second(0), &Command::Apply(plan)), Outcome::Applied(..)));
    assert_eq!(ledger.pool_named("late").map(pool::Pool::id), Some(PoolId(9)));
    let position = ledger.token(TokenId(Uuid::from_u128(70))).map(|view| view.token.position);
    assert_eq!(position, Some(7));
    let asked = pool::Allocation { pool: PoolId(9), ..asked(1) };
    assert_eq!(granted(allocate(&mut ledger, second(0), asked)).lease.fence, Fence::new(51));
}

#[test]
fn tokens_and_leases_that_contradict_each_other_are_refused() {
    let token = || token_of(PoolId(3), 1);
    let other = Token { id: TokenId(Uuid::from_u128(5)), ..token() };
    let named = Token { position: 4, ..other.clone() };
    assert!(restored([token(), other], []).is_err(), "the same position");
    assert!(restored([token(), named.clone()], []).is_err(), "the same name");
    let retired = Token { retired_at: Some(second(0)), ..named };
    assert!(restored([token(), retired], []).is_ok(), "its name is free");
    assert!(restored([token_of(PoolId(2), 1)], []).is_err(), "no such pool");
    let elsewhere = Lease { pool: PoolId(2), ..lease(1, 1, &token(), None) };
    assert!(restored([token()], [elsewhere]).is_err(), "a lease in no pool");
    let two = [token(), token_of(PoolId(3), 2)];
    let same = [lease(1, 1, &two[0], None), lease(1, 2, &two[1], None)];
    assert!(restored(two, same).is_err(), "a fence twice");
}

#[test]
fn changes_that_do_not_fit_change_nothing() {
    let mut ledger = ledger(2, POLICY);
    hold(&mut ledger, second(0), [1]);
    let token = || super::token(2);
    let at = second(1);
    let contradictions = [
        Change::PoolCreated(record(PoolId(9), "beside", POLICY)),
        Change::PoolCreated(record(PoolId(7), "new", POLICY)),
        Change::PoolChanged(record(PoolId(9), "beside", POLICY)),
        Change::PoolChanged(PoolRecord {
            name: PoolName::new("x").unwrap(),
            ..record(PoolId(7), "far", POLICY)
        }),
        Change::PoolDeleted { pool: PoolId::DEFAULT, at },
        Change::PoolDeleted { pool: PoolId(9), at },
        Change::TokenAdded(token()),
        Change::TokenAdded(Token { id: TokenId(Uuid::from_u128(9)), ..token() }),
        Change::TokenAdded(Token { id: TokenId(Uuid::from_u128(9)), position: 9, ..token() }),
        Change::TokenChanged(Token { position: 9, ..token() }),
        Change::TokenChanged(Token { pool: PoolId(7), ..token() }),
        Change::TokenChanged(Token { name: TokenName::of_position(0), ..token() }),
        Change::TokenRetired { token_id: TokenId(Uuid::from_u128(9)), at },
    ];
    for change in contradictions {
        assert!(ledger.apply(&change).is_err(), "{change:?}");
    }
    let pool = super::default(&ledger);
    let tokens: Vec<_> = pool.tokens(0).map(|view| view.token.clone()).collect();
    assert_eq!((tokens, ledger.pools().len()), (super::tokens(2), 3));
    let retired = Change::TokenRetired { token_id: super::token(1).id, at };
    assert!(ledger.apply(&retired).is_ok() && ledger.apply(&retired).is_err(), "retired twice");
}
