use std::fmt::Display;

use pool::{Policy, Timestamp};

use crate::{Wanted, clock_refusal, wanted};

/// The result of one check of a database, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How serious it is.
    pub level: Level,
    /// The thing that was checked.
    pub what: String,
    /// Its state and, unless that is [`Level::Ok`], the remedy. Never a secret.
    pub text: String,
}

/// How serious a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing has to be done.
    Ok,
    /// Something may go wrong.
    Warning,
    /// A server can't serve, or a promise does not hold.
    Problem,
}

impl Finding {
    pub(crate) fn new(level: Level, what: &str, text: impl Display) -> Self {
        Finding { level, what: what.to_owned(), text: text.to_string() }
    }
}

/// Why a server with these settings would refuse the existing pool `default`, of `size` tokens under
/// `policy`, in a ledger whose newest entry is of the moment `at`.
pub(crate) fn refusals(
    wanted: &Wanted,
    (size, policy): (usize, Policy),
    (clock, at): (Timestamp, Timestamp),
    allow_clock_behind: bool,
) -> Vec<Finding> {
    let clock = clock_refusal(clock, at, allow_clock_behind);
    let pool = wanted::compare(size, policy, wanted).err();
    let clock = clock.map(|text| Finding::new(Level::Problem, "clock", text));
    let pool = pool.map(|error| Finding::new(Level::Problem, "pool default", error));
    clock.into_iter().chain(pool).collect()
}
