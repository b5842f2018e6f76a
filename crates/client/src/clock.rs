//! Monotonic clock that includes the time a machine sleeps.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
/// Includes sleep on some other systems; the rest have no clock that does.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;

/// Longest single timer, because timers stand still while the machine sleeps.
const MAX_TIMER: Duration = Duration::from_secs(1);

/// Point in time of a clock that is never set. Leases are timed with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// Reads the clock.
    ///
    /// # Panics
    ///
    /// If the system has no monotonic clock.
    #[must_use]
    pub fn now() -> Self {
        Moment(clock_gettime(CLOCK).expect("every system has this clock").into())
    }

    /// Creates a moment from its distance to the clock's zero, for tests.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Moment(Duration::from_millis(millis))
    }

    /// Adds a duration.
    #[must_use]
    pub const fn after(self, time: Duration) -> Self {
        Moment(self.0.saturating_add(time))
    }

    /// Subtracts a duration.
    #[must_use]
    pub const fn before(self, time: Duration) -> Self {
        Moment(self.0.saturating_sub(time))
    }

    /// Returns the time since an earlier moment; zero if that is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Waits until this moment; up to one second longer if the machine slept.
    pub async fn reached(self) {
        loop {
            let left = self.since(Moment::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(MAX_TIMER)).await;
        }
    }
}
