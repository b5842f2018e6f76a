//! Durations on the command line, in settings and in output: one form, `90s`, `10m`, `8h`, `1h30m`.

use std::time::Duration;

use client::MAX_WAIT;
use pool::HumanDuration;

/// Maximum duration. Longer ones can't be added to every clock.
pub const LONGEST: Duration = Duration::from_hours(24 * 36_500);

/// Error message for a text that is not a duration.
pub const FORM: &str = "a duration looks like 90s, 10m, 8h or 1h30m";

/// Parses a duration. Also accepts spaces between its parts, and long names of units.
///
/// # Errors
///
/// The reason, as the end of a sentence.
pub fn parse(text: &str) -> Result<Duration, String> {
    let number = text.strip_prefix('-').unwrap_or(text);
    if number != text && number.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("a duration can't be negative".to_owned());
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("a unit is missing, as in {text}s"));
    }
    let parsed = text.parse::<HumanDuration>().map_err(|error| error.to_string())?.0;
    if parsed > LONGEST {
        return Err(format!("the limit is {}", HumanDuration(LONGEST)));
    }
    Ok(parsed)
}

/// Parses the time to wait for a token.
///
/// # Errors
///
/// As [`parse`], and if the time exceeds the servers' limit.
pub fn wait(text: &str) -> Result<Duration, String> {
    let wait = parse(text)?;
    if wait > MAX_WAIT {
        let [wait, longest] = [wait, MAX_WAIT].map(HumanDuration);
        return Err(format!("{wait} is too long: a request waits {longest} at most"));
    }
    Ok(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_durations_are_read_back() {
        for text in
            ["0s", "1ms", "1500ms", "1m", "90s", "2m", "3m20s", "10m", "1h30m", "8h", "1d", "2d4h"]
        {
            assert_eq!(HumanDuration(parse(text).unwrap()).to_string(), text);
        }
        for (text, written) in
            [("1h 30m", "1h30m"), ("90days", "90d"), ("2 minutes", "2m"), ("5400s", "1h30m")]
        {
            assert_eq!(HumanDuration(parse(text).unwrap()).to_string(), written);
        }
    }

    #[test]
    fn errors_state_the_reason() {
        for (text, why) in [
            ("90", "a unit is missing, as in 90s"),
            ("-90", "can't be negative"),
            ("-5s", "can't be negative"),
            ("", "looks like 90s"),
            ("soon", "looks like 90s"),
            ("--wait", "looks like 90s"),
            ("36501d", "the limit is 36500d"),
            ("500000000000weeks", "looks like 90s"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
