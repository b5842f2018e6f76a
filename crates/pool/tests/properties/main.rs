//! Random lists of commands, on several servers that share a ledger of pools, compared with a model that is too
//! slow to use and too simple to be wrong, and with the invariants of every history.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod allocations;
mod decisions;
mod history;
mod model;
mod plans;
mod requests;
mod silence;
mod steps;
mod world;

use proptest::prelude::*;

use crate::steps::{Event, event, policy};
use crate::world::World;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_is_what_the_model_says(
        pools in prop::collection::vec((prop_oneof![1 => Just(0), 15 => 1..4usize], policy()), 2..=4),
        servers in 1..=2usize,
        most_keys in 1..8u64,
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut world = World::new(&pools, servers, most_keys);
        for event in &events {
            match event {
                Event::Batch { server, after, steps } => {
                    world.pass(*after);
                    world.decide(server % servers, steps);
                }
                Event::Restart { server } => world.restart(server % servers),
            }
        }
    }
}
