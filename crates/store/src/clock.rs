use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use pool::Timestamp;

use crate::MOST_CLOCK_BEHIND;

/// The machine's time of day.
pub trait Clock: Send + Sync {
    /// The time now. It may jump, also backwards.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until it is set: for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        ManualClock(AtomicI64::new(now.as_micros()))
    }

    /// Sets the clock, forward or back.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Why no server may start now, since its clock is too far behind the newest journal entry; `None`
/// if it may. `allowed`: the operator said that the clock is right.
#[must_use]
pub fn clock_refusal(clock: Timestamp, journal: Timestamp, allowed: bool) -> Option<String> {
    let behind = journal.since(clock);
    (behind > MOST_CLOCK_BEHIND && !allowed).then(|| {
        let minutes = behind.as_secs() / 60;
        format!(
            "the clock is {minutes} minutes behind the pool's last change, so it is probably wrong. \
             Set the clock, or start with --allow-clock-behind to let the pool's time run on from \
             its last change"
        )
    })
}
