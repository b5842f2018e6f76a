//! Durations in JSON.

use std::fmt;
use std::time::Duration;

use pool::{Lease, Timestamp};
use serde::{Serialize, Serializer};

/// A number of seconds. Whole numbers have no fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seconds(Duration);

impl Seconds {
    /// A duration, to the microsecond.
    pub(crate) fn of(length: Duration) -> Self {
        Seconds(length)
    }

    /// Remaining time of a lease whose end is filled in, rounded down to milliseconds, so that a holder
    /// never relies on a lease that has ended.
    pub(crate) fn left(lease: &Lease, now: Timestamp) -> Self {
        let left = match lease.end {
            None => lease.expires_at.since(now),
            Some(_) => Duration::ZERO,
        };
        Seconds(Duration::new(left.as_secs(), left.subsec_millis() * 1_000_000))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_nanos() {
            0 => self.0.as_secs().fmt(f),
            _ => self.0.as_secs_f64().fmt(f),
        }
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.subsec_nanos() {
            0 => serializer.serialize_u64(self.0.as_secs()),
            _ => serializer.serialize_f64(self.0.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(seconds: Seconds) -> String {
        let json = serde_json::to_string(&seconds).unwrap();
        assert_eq!(json, seconds.to_string());
        json
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        for (micros, text) in [(0, "0"), (120_000_000, "120"), (1_500_000, "1.5"), (100_000, "0.1")]
        {
            assert_eq!(written(Seconds::of(Duration::from_micros(micros))), text);
        }
        let century = Duration::from_hours(24 * 365 * 100) + Duration::from_millis(1);
        assert_eq!(written(Seconds::of(century)), "3153600000.001");
    }

    #[test]
    fn the_remaining_time_is_rounded_down() {
        let mut lease = crate::api::bench::lease(1);
        let until = lease.expires_at.as_micros();
        let left = |lease: &Lease, micros| {
            written(Seconds::left(lease, Timestamp::from_micros(until - micros)))
        };
        for (micros, text) in
            [(120_000_000, "120"), (119_999_999, "119.999"), (999, "0"), (-5, "0")]
        {
            assert_eq!(left(&lease, micros), text);
        }
        let at = Timestamp::from_micros(until - 5_000_000);
        lease.end = Some(pool::End { at, reason: pool::EndReason::Released });
        assert_eq!(left(&lease, 5_000_000), "0");
    }
}
