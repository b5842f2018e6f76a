use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
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

#[cfg(any(target_os = "linux", target_os = "android"))]
const UPTIME: ClockId = ClockId::CLOCK_BOOTTIME;
/// Elsewhere this clock counts the time of a suspension, or no clock does.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const UPTIME: ClockId = ClockId::CLOCK_MONOTONIC;

/// The time since this machine started, suspensions included. No clock adjustment moves it, so it orders
/// and measures what happens here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uptime(Duration);

impl Uptime {
    /// The current uptime.
    ///
    /// # Panics
    ///
    /// Where the system lacks this clock, which every supported system has.
    #[must_use]
    pub fn now() -> Self {
        Uptime(clock_gettime(UPTIME).expect("every system has this clock").into())
    }

    /// The uptime of `micros` microseconds.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Uptime(Duration::from_micros(micros))
    }

    /// In whole microseconds, rounded down.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX)
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
            "the clock is {minutes} minutes behind the ledger's last change, so it is probably wrong. \
             Set the clock, or start with --allow-clock-behind to let the ledger's time run on from \
             its last change"
        )
    })
}
