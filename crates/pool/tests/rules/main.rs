//! Each rule by itself, at its edges.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod facts;
mod full;
mod kept;
mod keys;
mod named;
mod plans;
mod release;
mod renewal;
mod restored;
mod servers;
mod taints;
mod waiting;

use std::collections::HashMap;
use std::time::Duration;

use pool::{
    Allocation, Batch, Change, Command, Counters, Fence, Grant, Inconsistent, Labels, Lease,
    LeaseId, Ledger, Outcome, Policy, Pool, PoolId, PoolName, PoolRecord, Refusal, Restoring,
    Taints, Timestamp, Token, TokenId, TokenName, TokenValue, User, WhenFull,
};
use uuid::Uuid;

const LEASE: Duration = Duration::from_mins(2);
const POLICY: Policy = Policy::of_lease(LEASE);
const CLEAR: Command = Command::Clear { pool: PoolId::DEFAULT };

fn second(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn id(number: u128) -> LeaseId {
    LeaseId(Uuid::from_u128(number))
}

/// Token of the pool `default`, from number 1.
fn token(number: u128) -> Token {
    token_of(PoolId::DEFAULT, number)
}

/// Token of a pool, with a number from 1 that is unique in the ledger.
fn token_of(pool: PoolId, number: u128) -> Token {
    let position = u32::try_from(number - 1).unwrap();
    Token {
        id: TokenId(Uuid::from_u128(number)),
        pool,
        position,
        name: TokenName::of_position(position),
        value: TokenValue::of_uuid(Uuid::from_u128(number + 1_000)),
        labels: Labels::default(),
        taints: Taints::default(),
        inserted_at: second(0),
        retired_at: None,
    }
}

fn tokens(size: usize) -> Vec<Token> {
    (1..=size as u128).map(token).collect()
}

fn record(id: PoolId, name: &str, policy: Policy) -> PoolRecord {
    PoolRecord::new(id, PoolName::new(name).unwrap(), policy, second(0))
}

fn default_record(policy: Policy) -> PoolRecord {
    record(PoolId::DEFAULT, "default", policy)
}

/// A ledger with these facts about the pool `default`.
fn restored(
    policy: Policy,
    tokens: impl IntoIterator<Item = Token>,
    latest: impl IntoIterator<Item = Lease>,
    fence: Fence,
) -> Result<Ledger, Inconsistent> {
    let counters = Counters { fence, ..Counters::default() };
    restore(counters, [default_record(policy)], tokens, latest)
}

/// A ledger with these tokens, each with its latest lease, if it has one.
fn restore(
    counters: Counters,
    pools: impl IntoIterator<Item = PoolRecord>,
    tokens: impl IntoIterator<Item = Token>,
    latest: impl IntoIterator<Item = Lease>,
) -> Result<Ledger, Inconsistent> {
    let mut leases: HashMap<TokenId, Lease> =
        latest.into_iter().map(|lease| (lease.token_id, lease)).collect();
    let mut ledger = Restoring::new(counters, pools)?;
    for token in tokens {
        let latest = leases.remove(&token.id);
        ledger.add(token, latest)?;
    }
    ledger.finish()
}

/// A ledger with tokens in the pool `default`. Beside it are other pools with free tokens, which no test
/// that names only the pool `default` notices.
fn ledger(size: usize, policy: Policy) -> Ledger {
    let policies =
        [policy.check().unwrap(), Policy { when_full: WhenFull::Wait, ..POLICY }, POLICY];
    let records = [
        default_record(policies[0]),
        record(PoolId(2), "beside", policies[1]),
        record(PoolId(7), "far", policies[2]),
    ];
    let others = [(2, 1_000_001), (2, 1_000_002), (7, 2_000_001)];
    let others = others.map(|(pool, number)| token_of(PoolId(pool), number));
    let tokens = tokens(size).into_iter().chain(others);
    restore(Counters::default(), records, tokens, []).unwrap()
}

/// The pool `default`.
fn default(ledger: &Ledger) -> &Pool {
    ledger.pool(PoolId::DEFAULT).unwrap()
}

/// The owner's change of the policy of the pool `default`.
fn changed(policy: Policy) -> Change {
    Change::PoolChanged(default_record(policy))
}

/// An allocation by `Ada` with this lease number.
fn asked(number: u128) -> Allocation {
    Allocation::new(id(number), User::new("Ada").unwrap())
}

/// An allocation that waits.
fn patient(number: u128, seconds: u64) -> Allocation {
    Allocation { wait: Some(Duration::from_secs(seconds)), ..asked(number) }
}

/// Decides the command in a batch of its own.
fn decide(ledger: &mut Ledger, at: Timestamp, command: &Command) -> Outcome {
    ledger.batch(at).decide(command).expect("the first command of a batch is always decided")
}

fn allocate(ledger: &mut Ledger, at: Timestamp, allocation: Allocation) -> Outcome {
    decide(ledger, at, &Command::Allocate(allocation))
}

/// Grants leases with these numbers.
fn hold(ledger: &mut Ledger, at: Timestamp, numbers: impl IntoIterator<Item = u128>) {
    for number in numbers {
        granted(allocate(ledger, at, asked(number)));
    }
}

#[track_caller]
fn granted(outcome: Outcome) -> Grant {
    match outcome {
        Outcome::Allocated(grant) => grant,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::NotAllocated(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn queued(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Queued(waiting) => waiting.position,
        other => panic!("{other:?}"),
    }
}

/// The next ticket to serve, if all clients are connected.
fn next(batch: &mut Batch<'_>) -> Option<LeaseId> {
    batch.next_in_queue(|_| true).map(|ticket| ticket.lease_id)
}

fn lease(ledger: &Ledger, number: u128) -> &Lease {
    ledger.lease(id(number)).unwrap()
}
