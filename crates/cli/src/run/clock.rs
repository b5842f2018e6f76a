//! The clock that deadlines are kept by: nobody sets it, and it goes on while the machine sleeps.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
/// Elsewhere this one counts a machine's sleep, or there is none that does.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;

/// Timers stand still while the machine sleeps, so none is set for longer.
const LOOK: Duration = Duration::from_secs(1);

/// A moment, as the length of time since one that stays the same as long as the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Moment(clock_gettime(CLOCK).expect("every system has this clock").into())
    }

    /// Later by this much.
    pub const fn after(self, time: Duration) -> Self {
        Moment(self.0.saturating_add(time))
    }

    /// Earlier by this much.
    pub const fn before(self, time: Duration) -> Self {
        Moment(self.0.saturating_sub(time))
    }

    /// How long after an earlier one; nothing when it was not earlier.
    pub const fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Waits for it, no more than a second too long when the machine slept.
    pub async fn reached(self) {
        loop {
            let left = self.since(Moment::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LOOK)).await;
        }
    }
}

#[cfg(test)]
impl Moment {
    /// The one so many milliseconds after the first.
    pub const fn at(millis: u64) -> Self {
        Moment(Duration::from_millis(millis))
    }
}
