//! Durations as people read and write them.

use std::fmt;
use std::time::Duration;

/// Up to here, a duration is written in one unit: `90s`, not `1m30s`.
const ONE_UNIT: Duration = Duration::from_mins(2);

const DAY: u64 = 86_400;

/// A duration in the form that settings and the command line take: `90s`, `10m`, `8h`, `1h30m`,
/// `1500ms`. Exact, and read back as the same duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HumanDuration(pub Duration);

impl HumanDuration {
    /// The duration without the parts that matter little beside the rest: whole seconds, and the two
    /// largest units only.
    #[must_use]
    pub fn rough(duration: Duration) -> Self {
        let seconds = duration.as_secs();
        let step = if seconds < 3_600 {
            1
        } else if seconds < DAY {
            60
        } else {
            3_600
        };
        HumanDuration(Duration::from_secs(seconds - seconds % step))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), u128::from(self.0.subsec_nanos()));
        let whole_minutes = nanos == 0 && seconds > 0 && seconds.is_multiple_of(60);
        if self.0 < ONE_UNIT && !whole_minutes {
            let all = self.0.as_nanos();
            let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")];
            let exact = units.into_iter().find(|(unit, _)| all.is_multiple_of(*unit));
            let (unit, name) = exact.expect("every duration is a multiple of a nanosecond");
            return write!(f, "{}{name}", all / unit);
        }
        let parts = [
            (u128::from(seconds / DAY), "d"),
            (u128::from(seconds % DAY / 3_600), "h"),
            (u128::from(seconds % 3_600 / 60), "m"),
            (u128::from(seconds % 60), "s"),
            (nanos / 1_000_000, "ms"),
            (nanos / 1_000 % 1_000, "us"),
            (nanos % 1_000, "ns"),
        ];
        parts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .try_for_each(|(count, unit)| write!(f, "{count}{unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_they_are_typed() {
        for (millis, written) in [
            (0, "0s"),
            (1, "1ms"),
            (1_500, "1500ms"),
            (60_000, "1m"),
            (90_000, "90s"),
            (119_999, "119999ms"),
            (120_000, "2m"),
            (200_000, "3m20s"),
            (600_000, "10m"),
            (600_500, "10m500ms"),
            (5_400_000, "1h30m"),
            (28_800_000, "8h"),
            (86_400_000, "1d"),
            (187_205_000, "2d4h5s"),
            (3_153_600_000_000, "36500d"),
        ] {
            assert_eq!(HumanDuration(Duration::from_millis(millis)).to_string(), written);
        }
        assert_eq!(HumanDuration(Duration::from_nanos(1_001)).to_string(), "1001ns");
        assert_eq!(HumanDuration(Duration::from_micros(250)).to_string(), "250us");
    }

    #[test]
    fn rough_durations_have_two_units() {
        for (millis, written) in [
            (999, "0s"),
            (80_900, "80s"),
            (3_599_000, "59m59s"),
            (3_605_000, "1h"),
            (11_100_000, "3h5m"),
            (187_205_000, "2d4h"),
        ] {
            assert_eq!(HumanDuration::rough(Duration::from_millis(millis)).to_string(), written);
        }
    }
}
