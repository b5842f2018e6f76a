//! Checks a recorded history of operations: whether some order of them, which keeps every operation
//! between its start and its end, explains all answers.
//!
//! The states of a token follow one another: lease 7 runs, lease 7 is over, lease 9 runs. An operation
//! that has ended sets a lower bound to what every later one may show, on any route of any server.

use std::collections::HashMap;

/// One operation of one client, with its times in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Operation {
    pub name: &'static str,
    pub start: u64,
    pub end: u64,
    /// Wall clock at the start, for operations that only read.
    pub clock: Option<i64>,
    pub facts: Vec<Fact>,
}

/// Fact in an answer. Times are in microseconds; fences identify leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The token's lease runs.
    Runs { token: String, fence: i64, expires_at: i64 },
    /// The lease was granted; it may be over.
    Granted { token: String, fence: i64 },
    /// The lease is over.
    Over { token: String, fence: i64, end: End },
    /// The token's latest lease is this one, and it is over.
    LatestOver { token: String, fence: i64, end: End },
    /// The token's lease was not over before this operation.
    Free { token: String },
    /// The pool is at this version of its journal.
    Version(i64),
}

pub type End = (i64, String);

#[derive(Clone, Debug, Default)]
struct Known {
    /// By token: twice the fence, and one more where the lease is over.
    states: HashMap<String, (i64, usize)>,
    /// By fence.
    deadlines: HashMap<i64, (i64, usize)>,
    version: (i64, usize),
}

/// Contradictions that no order of the operations explains.
pub fn violations(operations: &[Operation]) -> Vec<String> {
    let mut moments: Vec<(u64, bool, usize)> = Vec::with_capacity(operations.len() * 2);
    for (index, operation) in operations.iter().enumerate() {
        // At equal times starts come first, because the two operations overlap.
        moments.extend([(operation.start, false, index), (operation.end, true, index)]);
    }
    moments.sort_unstable();
    let mut check =
        Check { operations, known: Known::default(), ends: HashMap::new(), found: vec![] };
    let mut begun: HashMap<usize, Known> = HashMap::new();
    for (_, is_end, index) in moments {
        if is_end {
            let known = begun.remove(&index).unwrap_or_default();
            check.operation(index, &known);
        } else {
            begun.insert(index, check.known.clone());
        }
    }
    check.found
}

struct Check<'a> {
    operations: &'a [Operation],
    /// Shown by operations that have ended.
    known: Known,
    ends: HashMap<i64, (End, usize)>,
    found: Vec<String>,
}

impl Check<'_> {
    /// Checks an operation against the facts known at its start.
    fn operation(&mut self, index: usize, before: &Known) {
        let operation = &self.operations[index];
        for fact in &operation.facts {
            match fact {
                Fact::Runs { token, fence, expires_at } => {
                    self.exactly(index, before, token, 2 * fence, fact);
                    if let Some(&(known, by)) = before.deadlines.get(fence)
                        && known > *expires_at
                    {
                        self.report(index, by, fact, "takes a renewal back");
                    }
                    if operation.clock.is_some_and(|clock| clock >= *expires_at) {
                        self.report(index, index, fact, "is past its deadline");
                    }
                    let deadline = self.known.deadlines.entry(*fence).or_default();
                    *deadline = (*deadline).max((*expires_at, index));
                }
                Fact::Granted { token, fence } => self.at_least(index, token, 2 * fence),
                Fact::Over { token, fence, end } => {
                    self.at_least(index, token, 2 * fence + 1);
                    self.end(index, *fence, end, fact);
                }
                Fact::LatestOver { token, fence, end } => {
                    self.exactly(index, before, token, 2 * fence + 1, fact);
                    self.end(index, *fence, end, fact);
                }
                Fact::Free { token } => {
                    let (state, _) = before.states.get(token).copied().unwrap_or((1, 0));
                    self.at_least(index, token, state | 1);
                }
                Fact::Version(version) => {
                    let (known, by) = before.version;
                    if known > *version {
                        self.report(index, by, fact, "goes back");
                    }
                    self.known.version = self.known.version.max((*version, index));
                }
            }
        }
    }

    fn exactly(&mut self, index: usize, before: &Known, token: &str, state: i64, fact: &Fact) {
        if let Some(&(known, by)) = before.states.get(token)
            && known > state
        {
            self.report(index, by, fact, "goes back");
        }
        self.at_least(index, token, state);
    }

    fn at_least(&mut self, index: usize, token: &str, state: i64) {
        let known = self.known.states.entry(token.to_owned()).or_insert((state, index));
        if known.0 < state {
            *known = (state, index);
        }
    }

    /// The end of a lease never changes once it was shown.
    fn end(&mut self, index: usize, fence: i64, end: &End, fact: &Fact) {
        let (known, by) = self.ends.entry(fence).or_insert_with(|| (end.clone(), index)).clone();
        if known != *end {
            self.report(index, by, fact, "has another end");
        }
    }

    fn report(&mut self, index: usize, by: usize, fact: &Fact, what: &str) {
        let show = |index: usize| {
            let Operation { name, start, end, .. } = &self.operations[index];
            format!("{name} ({start} to {end})")
        };
        let known: Vec<&Fact> = self.operations[by].facts.iter().collect();
        let sentence =
            format!("{} shows {fact:?}, which {what}: {} {known:?}", show(index), show(by));
        self.found.push(sentence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: &str = "token";

    fn token() -> String {
        T.to_owned()
    }

    fn runs(fence: i64, expires_at: i64) -> Fact {
        Fact::Runs { token: token(), fence, expires_at }
    }

    fn end(reason: &str) -> End {
        (50, reason.to_owned())
    }

    fn over(fence: i64, reason: &str) -> Fact {
        Fact::Over { token: token(), fence, end: end(reason) }
    }

    /// Operations with these times and facts.
    fn found(all: impl IntoIterator<Item = (u64, u64, Fact)>) -> usize {
        let operation = |(start, end, fact)| Operation {
            name: "test",
            start,
            end,
            clock: None,
            facts: vec![fact],
        };
        violations(&all.into_iter().map(operation).collect::<Vec<_>>()).len()
    }

    #[test]
    fn detects_a_lease_that_runs_again() {
        assert_eq!(found([(0, 1, over(1, "expired")), (2, 3, runs(1, 90))]), 1);
        assert_eq!(found([(0, 2, over(1, "expired")), (1, 3, runs(1, 90))]), 0, "they overlap");
        assert_eq!(found([(0, 1, runs(1, 90)), (2, 3, over(1, "expired"))]), 0);
    }

    #[test]
    fn detects_a_free_token_whose_lease_runs() {
        let free = || Fact::Free { token: token() };
        assert_eq!(found([(0, 1, runs(1, 90)), (2, 3, free()), (4, 5, runs(1, 99))]), 1);
        assert_eq!(found([(0, 1, runs(1, 90)), (2, 3, free()), (4, 5, runs(2, 99))]), 0);
        assert_eq!(found([(0, 3, runs(1, 90)), (2, 3, free()), (4, 5, runs(1, 99))]), 0);
    }

    #[test]
    fn detects_fences_and_versions_that_go_back() {
        let granted = |fence| Fact::Granted { token: token(), fence };
        let latest = |fence| Fact::LatestOver { token: token(), fence, end: end("released") };
        assert_eq!(found([(0, 1, granted(7)), (2, 3, runs(6, 90))]), 1);
        assert_eq!(found([(0, 1, granted(7)), (2, 3, latest(6))]), 1);
        assert_eq!(found([(0, 1, granted(7)), (2, 3, latest(7)), (4, 5, runs(8, 90))]), 0);
        assert_eq!(found([(0, 1, Fact::Version(7)), (2, 3, Fact::Version(6))]), 1);
        assert_eq!(found([(0, 1, runs(7, 90)), (2, 3, over(6, "expired"))]), 0, "old news");
    }

    #[test]
    fn detects_two_holders_at_a_time() {
        assert_eq!(found([(0, 1, runs(1, 90)), (2, 3, runs(2, 90)), (4, 5, runs(1, 90))]), 1);
    }

    #[test]
    fn detects_a_lost_renewal() {
        assert_eq!(found([(0, 1, runs(1, 90)), (2, 3, runs(1, 80))]), 1);
        assert_eq!(found([(0, 1, runs(1, 80)), (2, 3, runs(1, 90))]), 0);
    }

    #[test]
    fn detects_a_changed_end_in_any_order() {
        assert_eq!(found([(0, 1, over(1, "expired")), (2, 3, over(1, "released"))]), 1);
        assert_eq!(found([(0, 9, over(1, "expired")), (2, 3, over(1, "released"))]), 1);
        assert_eq!(found([(0, 1, over(1, "expired")), (2, 3, over(1, "expired"))]), 0);
    }

    #[test]
    fn detects_a_lease_running_past_its_deadline() {
        let read = |clock| Operation {
            clock: Some(clock),
            facts: vec![runs(1, 90)],
            ..Default::default()
        };
        assert_eq!(violations(&[read(90)]).len(), 1);
        assert_eq!(violations(&[read(89)]).len(), 0);
    }
}
