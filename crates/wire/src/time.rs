//! Times and durations.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::StdFmtWrite;
use jiff::fmt::temporal::DateTimePrinter;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time in RFC 3339, UTC, with exactly six fractional digits: `2026-01-31T12:00:00.000000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    test,
    derive(schemars::JsonSchema),
    schemars(extend("format" = "date-time", "examples" = ["2026-11-22T15:36:01.813887Z"]))
)]
pub struct Time(#[cfg_attr(test, schemars(with = "String"))] pub Timestamp);

impl Time {
    /// The time this number of microseconds after 1970; the nearest possible one if the calendar ends
    /// before.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        let outermost = if micros < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Time(Timestamp::from_microsecond(micros).unwrap_or(outermost))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
        PRINTER.print_timestamp(&self.0, StdFmtWrite(f)).map_err(|_| fmt::Error)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::from_str(&text).map(Time).map_err(D::Error::custom)
    }
}

/// A duration as a number of seconds. Whole numbers have no fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    test,
    derive(schemars::JsonSchema),
    schemars(extend("minimum" = 0, "examples" = [120]))
)]
pub struct Seconds(#[cfg_attr(test, schemars(with = "f64"))] pub Duration);

impl Seconds {
    /// The duration in whole milliseconds, rounded down.
    #[must_use]
    pub fn whole_millis(duration: Duration) -> Self {
        Seconds(Duration::new(duration.as_secs(), duration.subsec_millis() * 1_000_000))
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

impl<'de> Deserialize<'de> for Seconds {
    /// Reads a number that is not a duration, such as a negative one, as zero.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Ok(Seconds(Duration::try_from_secs_f64(seconds).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_six_digits_and_a_z() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_769_860_800_000_120, "2026-01-31T12:00:00.000120Z"),
        ] {
            let time = Time::from_micros(micros);
            let json = serde_json::to_string(&time).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Time>(&json).unwrap(), time);
        }
    }

    #[test]
    fn times_beyond_the_calendar_are_its_ends() {
        assert_eq!(Time::from_micros(i64::MAX).to_string(), "9999-12-30T22:00:00.999999Z");
        assert_eq!(Time::from_micros(i64::MIN).to_string(), "-009999-01-02T01:59:59.000000Z");
    }

    fn written(seconds: Seconds) -> String {
        let json = serde_json::to_string(&seconds).unwrap();
        assert_eq!(json, seconds.to_string());
        assert_eq!(serde_json::from_str::<Seconds>(&json).unwrap(), seconds);
        json
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        for (micros, text) in [(0, "0"), (120_000_000, "120"), (1_500_000, "1.5"), (100_000, "0.1")]
        {
            assert_eq!(written(Seconds(Duration::from_micros(micros))), text);
        }
        let century = Duration::from_hours(24 * 365 * 100) + Duration::from_millis(1);
        assert_eq!(serde_json::to_string(&Seconds(century)).unwrap(), "3153600000.001");
    }

    #[test]
    fn milliseconds_are_rounded_down() {
        for (micros, text) in [(120_000_000, "120"), (119_999_999, "119.999"), (999, "0")] {
            assert_eq!(written(Seconds::whole_millis(Duration::from_micros(micros))), text);
        }
    }

    #[test]
    fn numbers_that_are_no_durations_are_zero() {
        for text in ["-1", "1e300"] {
            assert_eq!(serde_json::from_str::<Seconds>(text).unwrap(), Seconds::default());
        }
    }
}
