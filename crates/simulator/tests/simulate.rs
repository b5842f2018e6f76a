//! Bounded runs of the simulator, and the kept seeds.

use std::fs;

use simulator::{Scenario, run};

/// Number of seeds that every test run tries; `scripts/simulate` tries more.
const SEEDS: u64 = 60;

#[test]
fn no_seed_breaks_a_promise() {
    for seed in 0..SEEDS {
        let outcome = run(&Scenario::of(seed));
        assert_eq!(outcome.failure, None, "scripts/simulate --seed {seed}");
        assert!(outcome.requests > 0 && outcome.entries > 0);
    }
}

#[test]
fn a_seed_has_one_trace() {
    for seed in 0..8 {
        let scenario = Scenario::of(seed);
        let (first, second) = (run(&scenario).trace, run(&scenario).trace);
        for (one, other) in first.iter().zip(&second) {
            assert_eq!(one, other, "seed {seed}");
        }
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

#[test]
fn kept_seeds_break_no_promise() {
    let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/seeds")).unwrap();
    for file in files.map(|file| file.unwrap().path()) {
        let scenario: Scenario = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(run(&scenario).failure, None, "scripts/simulate --replay {}", file.display());
    }
}
