//! Durations as people read and write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SpanRelativeTo;
use jiff::fmt::friendly::SpanParser;

/// Shorter durations are written in one unit, unless they are whole minutes: `90s`, not `1m30s`.
const ONE_UNIT: Duration = Duration::from_mins(2);

const DAY: u64 = 86_400;

/// A duration in the form of settings and the command line: `90s`, `10m`, `8h`, `1h30m`, `1500ms`.
/// The written form is exact: parsing it yields the same duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HumanDuration(pub Duration);

/// A text that is not a duration. Each message states the expected form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// A number without a unit.
    #[error("a unit is missing, as in {0}s")]
    NoUnit(u64),
    /// A negative duration.
    #[error("a duration can't be negative")]
    Negative,
    /// More than [`HumanDuration::MAX`].
    #[error("the limit is {}", HumanDuration(HumanDuration::MAX))]
    TooLong,
    /// Anything else.
    #[error("a duration looks like 90s, 10m, 8h or 1h30m")]
    Form,
}

impl FromStr for HumanDuration {
    type Err = InvalidDuration;

    /// Accepts units from nanoseconds to weeks, with short or long names and optional spaces. Rejects
    /// months and years, which have no fixed length.
    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        if let Ok(number) = text.parse::<i64>() {
            let unsigned = u64::try_from(number).map_err(|_| InvalidDuration::Negative)?;
            return Err(InvalidDuration::NoUnit(unsigned));
        }
        let parser = SpanParser::new();
        let span = parser.parse_span(text).map_err(|_| {
            // With other digits it is a duration, so the parser can't hold the number.
            let zeros = text.replace(|c: char| c.is_ascii_digit(), "0");
            match parser.parse_span(&zeros) {
                Ok(_) => InvalidDuration::TooLong,
                Err(_) => InvalidDuration::Form,
            }
        })?;
        if span.is_negative() {
            return Err(InvalidDuration::Negative);
        }
        let duration = span.to_duration(SpanRelativeTo::days_are_24_hours());
        let duration = duration.ok().and_then(|duration| Duration::try_from(duration).ok());
        let duration = duration.ok_or(InvalidDuration::Form)?;
        if duration > HumanDuration::MAX {
            return Err(InvalidDuration::TooLong);
        }
        Ok(HumanDuration(duration))
    }
}

/// Durations in documents: texts in the form of [`HumanDuration`].
pub(crate) mod document {
    use std::borrow::Cow;
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::HumanDuration;

    pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&HumanDuration(*duration))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        let HumanDuration(duration) = text.parse().map_err(D::Error::custom)?;
        Ok(duration)
    }

    /// As above, or null.
    pub mod optional {
        use super::{Cow, Deserialize, Deserializer, Duration, Error, HumanDuration, Serializer};

        #[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
        pub fn serialize<S: Serializer>(
            duration: &Option<Duration>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            match duration {
                Some(duration) => to.serialize_some(&HumanDuration(*duration).to_string()),
                None => to.serialize_none(),
            }
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<Duration>, D::Error> {
            let text = Option::<Cow<'_, str>>::deserialize(from)?;
            let duration = text.map(|text| text.parse()).transpose().map_err(D::Error::custom)?;
            Ok(duration.map(|HumanDuration(duration)| duration))
        }
    }
}

impl HumanDuration {
    /// Longest accepted duration. Longer ones can't be added to every clock.
    pub const MAX: Duration = Duration::from_hours(24 * 36_500);

    /// The duration rounded down to its two largest units, and to whole seconds.
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
    fn other_spellings_are_read() {
        for (text, written) in [
            ("1h 30m", "1h30m"),
            ("90days", "90d"),
            ("2 minutes", "2m"),
            ("5400s", "1h30m"),
            ("1w", "7d"),
            ("1.5h", "1h30m"),
        ] {
            assert_eq!(text.parse::<HumanDuration>().unwrap().to_string(), written);
        }
        for (text, why) in [
            ("90", InvalidDuration::NoUnit(90)),
            ("-90", InvalidDuration::Negative),
            ("-5s", InvalidDuration::Negative),
            ("36501d", InvalidDuration::TooLong),
            ("9000000days", InvalidDuration::TooLong),
            ("500000000000weeks", InvalidDuration::TooLong),
            ("", InvalidDuration::Form),
            ("soon", InvalidDuration::Form),
            ("--wait", InvalidDuration::Form),
            ("1y", InvalidDuration::Form),
        ] {
            assert_eq!(text.parse::<HumanDuration>(), Err(why), "{text}");
        }
    }

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
            let duration = HumanDuration(Duration::from_millis(millis));
            assert_eq!(duration.to_string(), written);
            assert_eq!(written.parse(), Ok(duration));
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
