//! Shrinks a failing scenario: fewer steps and faults, which still break the same promise.

use crate::scenario::Scenario;
use crate::{Outcome, run};

/// The kind of a broken promise: the text before the colon.
fn kind(outcome: &Outcome) -> Option<&str> {
    outcome.failure.as_deref().map(|failure| failure.split(':').next().unwrap_or(failure))
}

/// A smaller scenario that breaks the same promise, found with at most `runs` runs.
#[must_use]
pub fn shrink(scenario: &Scenario, mut runs: usize) -> Scenario {
    let outcome = run(scenario);
    let Some(broken) = kind(&outcome) else { return scenario.clone() };
    let mut best = scenario.clone();
    let mut fails = |candidate: &Scenario| {
        runs = runs.saturating_sub(1);
        runs > 0 && kind(&run(candidate)) == Some(broken)
    };
    let mut size = best.steps.len().max(best.faults.len()).max(1);
    while size > 0 {
        let mut changed = false;
        let mut at = 0;
        while at < best.steps.len() {
            let mut candidate = best.clone();
            candidate.steps.drain(at..(at + size).min(candidate.steps.len()));
            if fails(&candidate) {
                (best, changed) = (candidate, true);
            } else {
                at += size;
            }
        }
        at = 0;
        while at < best.faults.len() {
            let mut candidate = best.clone();
            candidate.faults.drain(at..(at + size).min(candidate.faults.len()));
            if fails(&candidate) {
                (best, changed) = (candidate, true);
            } else {
                at += size;
            }
        }
        if !changed || size > 1 {
            size /= 2;
        }
    }
    best
}
