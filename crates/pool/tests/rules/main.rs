//! Each rule by itself, at its edges.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod facts;
mod full;
mod kept;
mod keys;
mod release;
mod renewal;
mod servers;
mod waiting;

use std::time::Duration;

use pool::{
    Allocation, Batch, Command, Fence, Grant, Lease, LeaseId, Outcome, Policy, Pool, Refusal,
    Timestamp, Token, TokenId, TokenValue, User,
};
use uuid::Uuid;

const LEASE: Duration = Duration::from_mins(2);
const POLICY: Policy = Policy::of_lease(LEASE);

fn second(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn id(number: u128) -> LeaseId {
    LeaseId(Uuid::from_u128(number))
}

fn token(number: u128) -> Token {
    Token {
        id: TokenId(Uuid::from_u128(number)),
        value: TokenValue(Uuid::from_u128(number + 1_000)),
        inserted_at: second(0),
    }
}

fn tokens(size: usize) -> Vec<Token> {
    (1..=size as u128).map(token).collect()
}

fn pool(size: usize, policy: Policy) -> Pool {
    Pool::restore(policy.check().unwrap(), tokens(size), [], Fence::NONE).unwrap()
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
fn decide(pool: &mut Pool, at: Timestamp, command: &Command) -> Outcome {
    pool.batch(at).decide(command).expect("the first command of a batch is always decided")
}

fn allocate(pool: &mut Pool, at: Timestamp, allocation: Allocation) -> Outcome {
    decide(pool, at, &Command::Allocate(allocation))
}

/// Grants leases with these numbers.
fn hold(pool: &mut Pool, at: Timestamp, numbers: impl IntoIterator<Item = u128>) {
    for number in numbers {
        granted(allocate(pool, at, asked(number)));
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
fn next(batch: &Batch<'_>) -> Option<LeaseId> {
    batch.next_in_queue(|_| true).map(|ticket| ticket.lease_id)
}

fn lease(pool: &Pool, number: u128) -> &Lease {
    pool.lease(id(number)).unwrap()
}
