//! Text forms of times, durations and counts.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pool::{HumanDuration, InvalidDuration};

use crate::duration;

/// Formats a duration in its two largest units: `45s`, `3m20s`, `3h5m`, `2d4h`.
pub fn span(seconds: u64) -> String {
    HumanDuration::rough(Duration::from_secs(seconds)).to_string()
}

/// Formats a past time: `12s ago`.
pub fn ago(now: Timestamp, then: Timestamp) -> String {
    match u64::try_from(now.duration_since(then).as_secs()) {
        Ok(0) | Err(_) => "just now".to_owned(),
        Ok(seconds) => format!("{} ago", span(seconds)),
    }
}

/// Formats a future time: `in 80s`.
pub fn until(now: Timestamp, then: Timestamp) -> String {
    match left(now, then) {
        0 => "now".to_owned(),
        seconds => format!("in {}", span(seconds)),
    }
}

/// Returns the remaining seconds, rounded up.
pub fn left(now: Timestamp, then: Timestamp) -> u64 {
    let left = then.duration_since(now);
    let begun = i64::from(left.subsec_nanos() > 0);
    u64::try_from(left.as_secs() + begun).unwrap_or(0)
}

/// Formats the length of a period.
pub fn lasted(from: Timestamp, to: Timestamp) -> String {
    let lasted = to.duration_since(from);
    if lasted < SignedDuration::from_secs(1) {
        return "less than 1s".to_owned();
    }
    span(lasted.as_secs().unsigned_abs())
}

/// Formats a time to the second, in UTC.
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Time on the command line: in RFC 3339, or as a duration before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    At(Timestamp),
    /// Before the server's time.
    Ago(Duration),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let not_a_duration = match duration::parse(text) {
            Ok(ago) => return Ok(When::Ago(ago)),
            Err(why) => why,
        };
        text.parse().map(When::At).map_err(|_| {
            if not_a_duration != InvalidDuration::Form {
                return not_a_duration.to_string();
            }
            "expected a time such as 2026-11-22T15:36:02Z, or how long ago, such as 2h or 30m"
                .to_owned()
        })
    }
}

/// Formats a count, such as `1 token` or `2 tokens`.
pub fn count<N: Copy + Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    format!("{count} {what}{}", if count == N::from(1) { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_time_is_rounded_up() {
        let now: Timestamp = "2026-11-22T15:36:00Z".parse().unwrap();
        let at = |millis| now + SignedDuration::from_millis(millis);
        assert_eq!(until(now, at(79_001)), "in 80s");
        assert_eq!(until(now, at(1)), "in 1s");
        assert_eq!(until(now, at(0)), "now");
        assert_eq!(until(now, at(-5_000)), "now");
        assert_eq!(ago(now, at(-12_900)), "12s ago");
        assert_eq!(ago(now, at(-900)), "just now");
        assert_eq!(ago(now, at(900)), "just now");
        assert_eq!(lasted(at(0), at(999)), "less than 1s");
        assert_eq!(lasted(at(0), at(61_999)), "61s");
    }

    #[test]
    fn times_are_absolute_or_relative() {
        assert_eq!("2h".parse(), Ok(When::Ago(Duration::from_hours(2))));
        let at: Timestamp = "2026-11-22T14:36:02Z".parse().unwrap();
        assert_eq!("2026-11-22T15:36:02+01:00".parse(), Ok(When::At(at)));
        for wrong in ["yesterday", "2026-11-22", "2026-11-22T15:36:02", "", "12"] {
            assert!(wrong.parse::<When>().is_err(), "{wrong}");
        }
    }
}
