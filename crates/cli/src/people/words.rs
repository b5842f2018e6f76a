//! Times as people read and write them.

use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A length of time in its two largest units: `45s`, `1m 20s`, `3h 5m`, `2d 4h`.
pub fn span(seconds: u64) -> String {
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];
    let first = units.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(units.len() - 1);
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, name) in &units[first..units.len().min(first + 2)] {
        if rest >= *unit || parts.is_empty() {
            parts.push(format!("{}{name}", rest / unit));
        }
        rest %= unit;
    }
    parts.join(" ")
}

/// How long ago something was: `12s ago`.
pub fn ago(now: Timestamp, then: Timestamp) -> String {
    match u64::try_from(now.duration_since(then).as_secs()) {
        Ok(0) | Err(_) => "just now".to_owned(),
        Ok(seconds) => format!("{} ago", span(seconds)),
    }
}

/// In how long something will be: `in 1m 20s`.
pub fn until(now: Timestamp, then: Timestamp) -> String {
    match left(now, then) {
        0 => "now".to_owned(),
        seconds => format!("in {}", span(seconds)),
    }
}

/// How many seconds are left, the one that has begun included.
pub fn left(now: Timestamp, then: Timestamp) -> u64 {
    let left = then.duration_since(now);
    let begun = i64::from(left.subsec_nanos() > 0);
    u64::try_from(left.as_secs() + begun).unwrap_or(0)
}

/// How long something lasted.
pub fn lasted(from: Timestamp, to: Timestamp) -> String {
    let lasted = to.duration_since(from);
    if lasted < SignedDuration::from_secs(1) {
        return "less than 1s".to_owned();
    }
    span(lasted.as_secs().unsigned_abs())
}

/// A number of seconds that was set, to the letter: `2m`, `1s 500ms`.
pub fn exactly(seconds: f64) -> String {
    // Longer than that is nothing that anybody can set.
    Duration::try_from_secs_f64(seconds).map_or_else(
        |_| format!("{seconds}s"),
        |length| humantime::format_duration(length).to_string(),
    )
}

/// A time to the second, in UTC.
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A moment on the command line: as RFC 3339 has it, or how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// That moment.
    At(Timestamp),
    /// So long before the server's now.
    Ago(Duration),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ago) = humantime::parse_duration(text) {
            return Ok(When::Ago(ago));
        }
        text.parse().map(When::At).map_err(|_| {
            "it is a time such as 2026-11-22T15:36:02Z, or how long ago, such as 2h or 30m"
                .to_owned()
        })
    }
}

/// A length of time on the command line.
///
/// # Errors
///
/// What would be one.
pub fn length(text: &str) -> Result<Duration, String> {
    let length = humantime::parse_duration(text).map_err(|_| {
        "it is a length of time with its unit, such as 90s, 2m or 1500ms".to_owned()
    })?;
    if length > LONGEST {
        return Err("it is 36500days at most".to_owned());
    }
    Ok(length)
}

/// Longer times can't be added to a clock's everywhere.
const LONGEST: Duration = Duration::from_hours(24 * 36_500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_told_in_two_units() {
        for (seconds, told) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (80, "1m 20s"),
            (3_600, "1h"),
            (3_605, "1h"),
            (11_100, "3h 5m"),
            (187_200, "2d 4h"),
        ] {
            assert_eq!(span(seconds), told);
        }
    }

    #[test]
    fn what_is_left_is_never_told_as_less() {
        let now: Timestamp = "2026-11-22T15:36:00Z".parse().unwrap();
        let at = |millis| now + SignedDuration::from_millis(millis);
        assert_eq!(until(now, at(79_001)), "in 1m 20s");
        assert_eq!(until(now, at(1)), "in 1s");
        assert_eq!(until(now, at(0)), "now");
        assert_eq!(until(now, at(-5_000)), "now");
        assert_eq!(ago(now, at(-12_900)), "12s ago");
        assert_eq!(ago(now, at(-900)), "just now");
        assert_eq!(ago(now, at(900)), "just now");
        assert_eq!(lasted(at(0), at(999)), "less than 1s");
        assert_eq!(lasted(at(0), at(61_999)), "1m 1s");
        assert_eq!(exactly(120.0), "2m");
        assert_eq!(exactly(1.5), "1s 500ms");
    }

    #[test]
    fn moments_are_times_or_how_long_ago() {
        assert_eq!("2h".parse(), Ok(When::Ago(Duration::from_hours(2))));
        let at: Timestamp = "2026-11-22T14:36:02Z".parse().unwrap();
        assert_eq!("2026-11-22T15:36:02+01:00".parse(), Ok(When::At(at)));
        for wrong in ["yesterday", "2026-11-22", "2026-11-22T15:36:02", "", "12"] {
            assert!(wrong.parse::<When>().is_err(), "{wrong}");
        }
    }
}
