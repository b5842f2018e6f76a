//! Random lists of commands, on several servers that share a pool, compared with a model that is too
//! slow to use and too simple to be wrong, and with the invariants of every history.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod history;
mod model;
mod silence;
mod world;

use std::time::Duration;

use pool::{Policy, WhenFull};
use proptest::prelude::*;

use crate::world::World;

/// Index of a granted or queued lease, counted back from the latest.
#[derive(Clone, Copy, Debug)]
struct Ago(usize);

#[derive(Clone, Debug)]
struct Asked {
    user: u8,
    lease: Option<Duration>,
    wait: Option<Duration>,
    key: Option<u8>,
}

#[derive(Clone, Debug)]
enum Step {
    Allocate(Asked),
    /// An earlier allocation with a key, repeated with the same key.
    AllocateAgain(Ago),
    /// The token at this position. A position past the pool's size is an unknown token.
    Release {
        place: usize,
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
    Clear,
}

/// A step of a test: a batch, or an event between batches.
#[derive(Clone, Debug)]
enum Event {
    Batch { server: usize, after: i64, steps: Vec<Step> },
    Restart { server: usize },
    ChangePolicy(Policy),
}

fn seconds(range: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_secs)
}

fn policy() -> impl Strategy<Value = Policy> {
    let when_full = prop::sample::select(WhenFull::ALL.to_vec());
    let longer = prop::option::of(seconds(0..=30));
    let rules = (seconds(5..=20), longer, when_full, 0..=2u32, prop::option::of(1..=3u32));
    rules.prop_map(|(lease, longer, when_full, hold, max_per_user)| {
        let max_lease = longer.map(|longer| lease + longer);
        Policy { lease, max_lease, when_full, min_hold: lease * hold / 2, max_per_user }
    })
}

fn ago() -> impl Strategy<Value = Ago> {
    (0..6usize).prop_map(Ago)
}

fn asked() -> impl Strategy<Value = Asked> {
    let lease = prop::option::weighted(0.3, seconds(1..=12));
    let wait = prop::option::weighted(0.4, prop_oneof![seconds(0..=60), seconds(61..=90_000)]);
    let key = prop::option::weighted(0.3, 0..4u8);
    (0..4u8, lease, wait, key).prop_map(|(user, lease, wait, key)| Asked { user, lease, wait, key })
}

fn step() -> impl Strategy<Value = Step> {
    let (lease, user) = (prop::option::of(ago()), prop::option::weighted(0.3, 0..4u8));
    prop_oneof![
        14 => asked().prop_map(Step::Allocate),
        4 => ago().prop_map(Step::AllocateAgain),
        2 => (0..6usize, lease, user)
            .prop_map(|(place, lease, user)| Step::Release { place, lease, user }),
        2 => ago().prop_map(Step::ReleaseLease),
        3 => ago().prop_map(Step::Renew),
        2 => ago().prop_map(Step::Withdraw),
        2 => ago().prop_map(Step::Leave),
        1 => ago().prop_map(Step::GiveUp),
        1 => ago().prop_map(Step::Lapse),
        2 => Just(Step::Heartbeat),
        1 => Just(Step::Clear),
    ]
}

fn event() -> impl Strategy<Value = Event> {
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
        1 => policy().prop_map(Event::ChangePolicy),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_is_what_the_model_says(
        size in prop_oneof![1 => Just(0), 15 => 1..5usize],
        servers in 1..=2usize,
        most_keys in 1..8u64,
        policy in policy(),
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut world = World::new(size, policy, servers, most_keys);
        for event in &events {
            match event {
                Event::Batch { server, after, steps } => {
                    world.pass(*after);
                    world.decide(server % servers, steps);
                }
                Event::Restart { server } => world.restart(server % servers),
                Event::ChangePolicy(policy) => world.change_policy(*policy),
            }
        }
    }
}
