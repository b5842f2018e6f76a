//! Random steps.

use std::time::Duration;

use pool::{Effect, Membership, Policy, WhenFull};
use proptest::prelude::*;

/// Index of a granted or queued lease, counted back from the latest.
#[derive(Clone, Copy, Debug)]
pub struct Ago(pub usize);

/// Index of a pool, of all that were ever created, and one more.
#[derive(Clone, Copy, Debug)]
pub struct AnyPool(pub usize);

/// Index of a token, of all that were ever created, counted back from the latest, and one more.
#[derive(Clone, Copy, Debug)]
pub struct AnyToken(pub usize);

#[derive(Clone, Debug)]
pub struct Asked {
    pub pool: AnyPool,
    /// Index of a token in the pool.
    pub token: Option<usize>,
    pub user: u8,
    pub lease: Option<Duration>,
    pub wait: Option<Duration>,
    pub key: Option<u8>,
    pub note: bool,
}

#[derive(Clone, Debug)]
pub enum Step {
    Allocate(Asked),
    /// An earlier allocation with a key, repeated with the same key.
    AllocateAgain(Ago),
    /// The token at this index of the pool. An index past the pool's size is an unknown token.
    Release {
        pool: AnyPool,
        token: usize,
        lease: Option<Ago>,
        user: Option<u8>,
    },
    ReleaseLease(Ago),
    Renew(Ago),
    Withdraw(Ago),
    /// The client of a queued request has left, and its server has not noticed yet.
    Leave(Ago),
    GiveUp(Ago),
    Lapse(Ago),
    Heartbeat,
    Clear(AnyPool),
    Apply(Planned),
    Taint {
        pool: AnyPool,
        token: usize,
        name: u8,
        effect: Effect,
        lasts: Option<Duration>,
    },
    Untaint {
        pool: AnyPool,
        token: usize,
        name: u8,
    },
}

#[derive(Clone, Debug)]
pub struct Planned {
    pub pools: Vec<PlannedPool>,
    pub prune: bool,
    pub end_leases: bool,
}

#[derive(Clone, Debug)]
pub struct PlannedPool {
    pub name: usize,
    pub policy: Option<Policy>,
    pub tokens: Option<Vec<PlannedToken>>,
    pub delete: bool,
    pub keep_other_tokens: bool,
}

#[derive(Clone, Debug)]
pub struct PlannedToken {
    pub intent: u8,
    pub token: AnyToken,
    pub name: Option<u8>,
    pub value: Option<u8>,
    pub label: Option<u8>,
}

/// A step of a test: a batch, or an event between batches.
#[derive(Clone, Debug)]
pub enum Event {
    Batch { server: usize, after: i64, steps: Vec<Step> },
    Restart { server: usize },
}

fn seconds(range: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_secs)
}

pub fn policy() -> impl Strategy<Value = Policy> {
    let when_full = prop::sample::select(WhenFull::ALL.to_vec());
    let membership = prop_oneof![1 => Just(Membership::Fixed), 7 => Just(Membership::Open)];
    let longer = prop::option::of(seconds(0..=30));
    let limit = prop::option::of(1..=3u32);
    let rules = (seconds(5..=20), longer, when_full, 0..=2u32, limit, membership);
    rules.prop_map(|(lease, longer, when_full, hold, max_per_user, membership)| {
        let max_lease = longer.map(|longer| lease + longer);
        let min_hold = lease * hold / 2;
        Policy { lease, max_lease, when_full, min_hold, max_per_user, membership, ..Policy::OTHER }
    })
}

fn ago() -> impl Strategy<Value = Ago> {
    (0..6usize).prop_map(Ago)
}

fn pool() -> impl Strategy<Value = AnyPool> {
    prop_oneof![8 => 0..3usize, 1 => 0..7usize].prop_map(AnyPool)
}

fn asked() -> impl Strategy<Value = Asked> {
    let lease = prop::option::weighted(0.3, seconds(1..=12));
    let wait = prop::option::weighted(0.4, prop_oneof![seconds(0..=60), seconds(61..=90_000)]);
    let key = prop::option::weighted(0.3, 0..4u8);
    let token = prop::option::weighted(0.3, 0..4usize);
    let note = prop::bool::weighted(0.1);
    (pool(), token, 0..4u8, lease, wait, key, note).prop_map(
        |(pool, token, user, lease, wait, key, note)| Asked {
            pool,
            token,
            user,
            lease,
            wait,
            key,
            note,
        },
    )
}

fn planned_token() -> impl Strategy<Value = PlannedToken> {
    let intent = prop_oneof![4 => Just(0u8), 1 => 1..4u8];
    let token = (0..8usize).prop_map(AnyToken);
    let name = prop::option::weighted(0.7, 0..5u8);
    let value = prop::option::of(0..3u8);
    let label = prop::option::weighted(0.2, 0..2u8);
    (intent, token, name, value, label).prop_map(|(intent, token, name, value, label)| {
        PlannedToken { intent, token, name, value, label }
    })
}

fn planned_pool() -> impl Strategy<Value = PlannedPool> {
    let policy = prop::option::weighted(0.3, policy());
    let tokens = prop::option::weighted(0.8, prop::collection::vec(planned_token(), 0..4));
    let (delete, keep) = (prop::bool::weighted(0.15), prop::bool::weighted(0.1));
    (0..5usize, policy, tokens, delete, keep).prop_map(
        |(name, policy, tokens, delete, keep_other_tokens)| PlannedPool {
            name,
            policy,
            tokens,
            delete,
            keep_other_tokens,
        },
    )
}

fn planned() -> impl Strategy<Value = Planned> {
    let pools = prop::collection::vec(planned_pool(), 1..3);
    (pools, prop::bool::weighted(0.3), any::<bool>())
        .prop_map(|(pools, prune, end_leases)| Planned { pools, prune, end_leases })
}

fn step() -> impl Strategy<Value = Step> {
    let (lease, user) = (prop::option::of(ago()), prop::option::weighted(0.3, 0..4u8));
    let effect = prop::sample::select(Effect::ALL.to_vec());
    let lasts = prop::option::of(seconds(0..=10));
    prop_oneof![
        18 => asked().prop_map(Step::Allocate),
        4 => ago().prop_map(Step::AllocateAgain),
        2 => (pool(), 0..5usize, lease, user)
            .prop_map(|(pool, token, lease, user)| Step::Release { pool, token, lease, user }),
        2 => ago().prop_map(Step::ReleaseLease),
        3 => ago().prop_map(Step::Renew),
        2 => ago().prop_map(Step::Withdraw),
        2 => ago().prop_map(Step::Leave),
        1 => ago().prop_map(Step::GiveUp),
        1 => ago().prop_map(Step::Lapse),
        2 => Just(Step::Heartbeat),
        1 => pool().prop_map(Step::Clear),
        2 => planned().prop_map(Step::Apply),
        2 => (pool(), 0..5usize, 0..2u8, effect, lasts).prop_map(
            |(pool, token, name, effect, lasts)| Step::Taint { pool, token, name, effect, lasts }
        ),
        1 => (pool(), 0..5usize, 0..2u8)
            .prop_map(|(pool, token, name)| Step::Untaint { pool, token, name }),
    ]
}

pub fn event() -> impl Strategy<Value = Event> {
    let micros = 1_000_000;
    let after = prop_oneof![
        2 => Just(0),
        4 => (0..4i64).prop_map(move |seconds| seconds * micros),
        1 => 0..25 * micros,
    ];
    prop_oneof![
        20 => (0..2usize, after, prop::collection::vec(step(), 0..12))
            .prop_map(|(server, after, steps)| Event::Batch { server, after, steps }),
        1 => (0..2usize).prop_map(|server| Event::Restart { server }),
    ]
}
