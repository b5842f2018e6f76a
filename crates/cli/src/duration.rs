//! Durations on the command line.

use std::time::Duration;

use client::MAX_WAIT;
use pool::{HumanDuration, InvalidDuration};

/// Parses a duration, such as `90s`, `10m`, `8h` or `1h30m`.
///
/// # Errors
///
/// The expected form.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    text.parse().map(|HumanDuration(duration)| duration)
}

/// Parses the time to wait for a token.
///
/// # Errors
///
/// As [`parse`], and if the time exceeds the servers' limit.
pub fn wait(text: &str) -> Result<Duration, String> {
    let wait = parse(text).map_err(|error| error.to_string())?;
    if wait > MAX_WAIT {
        let [wait, longest] = [wait, MAX_WAIT].map(HumanDuration);
        return Err(format!("{wait} is too long: a request waits {longest} at most"));
    }
    Ok(wait)
}
