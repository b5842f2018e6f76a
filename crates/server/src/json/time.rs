//! Times in JSON.

use std::fmt;

use jiff::fmt::StdFmtWrite;
use jiff::fmt::temporal::DateTimePrinter;
use pool::Timestamp;
use serde::{Serialize, Serializer};

/// A time in RFC 3339, UTC, with exactly six fractional digits: `2026-01-31T12:00:00.000000Z`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time(pub(crate) Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
        let micros = self.0.as_micros();
        let outermost = if micros < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        let moment = jiff::Timestamp::from_microsecond(micros).unwrap_or(outermost);
        PRINTER.print_timestamp(&moment, StdFmtWrite(f)).map_err(|_| fmt::Error)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(micros: i64) -> String {
        Time(Timestamp::from_micros(micros)).to_string()
    }

    #[test]
    fn times_have_six_digits_and_a_z() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(text(1_769_860_800_000_120), "2026-01-31T12:00:00.000120Z");
    }

    #[test]
    fn times_outside_the_calendar_are_clamped() {
        assert_eq!(text(i64::MAX), "9999-12-30T22:00:00.999999Z");
        assert_eq!(text(i64::MIN), "-009999-01-02T01:59:59.000000Z");
    }
}
